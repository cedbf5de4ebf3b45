"""Devices that are told to stay awake: by an executor, through the border, whatever their backends raise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leo_runtime.backend import Holding
from leo_runtime.backend.guard import guarded
from leo_runtime.dispatch.driver import Computed
from leo_runtime.dispatch.events import FrameAdmitted
from leo_runtime.dispatch.executor import Executor
from leo_runtime.dispatch.holder import Holder, HoldFailure
from leo_runtime.dispatch.window_plan import make_window_plan
from leo_runtime.errors import BackendError
from leo_runtime.testing import FakeBackend
from leo_runtime.testing.playing import window_dispatcher
from window_pairs import placed, two_releases


class Holds(FakeBackend):
    """A backend that notes what it is told, and raises where it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.told: list[str] = []
        self.broken = fails

    def hold(self) -> None:
        self.told.append("hold")
        if self.broken:
            raise SystemExit("stuck")

    def release(self) -> None:
        self.told.append("release")


def test_a_device_is_held_and_released_in_turn_and_in_the_end() -> None:
    device = Holds()
    holder = Holder({"gpu": device})
    for tell in (holder.hold, holder.release, holder.hold):
        tell("gpu")
        tell("dsp")
    holder.close(10.0)
    assert device.told == ["hold", "release", "hold", "release"]
    assert holder.failures == {}
    holder.close(10.0)


def test_what_a_backend_raises_is_counted_and_nothing_else() -> None:
    device = Holds(fails=True)
    holder = Holder({"gpu": guarded(device, "kit")})  # type: ignore[dict-item]  # it holds, so its guard does
    holder.hold("gpu")
    holder.hold("gpu")
    holder.release("gpu")
    holder.close(10.0)
    assert device.told == ["hold", "hold", "release"]
    (failure,) = holder.failures.values()
    assert failure.count == 2
    assert "backend `fake` of package `kit` failed to hold its device (SystemExit: stuck)" in failure.last


def test_the_border_holds_only_what_can_be_held() -> None:
    assert isinstance(guarded(Holds()), Holding)
    assert not isinstance(guarded(FakeBackend()), Holding)
    device = guarded(Holds(fails=True))
    assert isinstance(device, Holding)
    with pytest.raises(BackendError, match="failed to hold"):
        device.hold()
    device.release()


def test_an_executor_holds_a_device_until_it_is_closed() -> None:
    """The next use is 10 s away, and nobody comes."""
    device = Holds()
    problem = two_releases()
    plan = make_window_plan(problem, placed(), at_hand=("detector0", "model0"))
    far = tuple(replace(s, held_until_us=10_000_000) if s.resource == "gpu" else s for s in plan.spans)
    driver = Executor(window_dispatcher(problem), {"dsp": 1, "gpu": 1}, lambda _: Computed(), devices={"gpu": device})
    driver.post(FrameAdmitted(0, 0, 0, replace(plan, spans=far), ("gpu",)))
    assert driver.drain(10.0)
    assert driver.dispatcher.held_until_us("gpu") == 10_000_000
    driver.close()
    assert device.told == ["hold", "release"]
    assert driver.hold_failures == {}


def test_an_executor_counts_what_goes_wrong() -> None:
    driver = Executor(
        window_dispatcher(two_releases()),
        {"dsp": 1, "gpu": 1},
        lambda _: Computed(),
        devices={"gpu": Holds(fails=True)},
    )
    driver._holder.hold("gpu")
    driver.close()
    assert driver.hold_failures == {"gpu": HoldFailure(1, "SystemExit: stuck")}

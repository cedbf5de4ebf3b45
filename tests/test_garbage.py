"""Frames, also those that fail, and changes leave nothing to the garbage collector, which may come by an hour later."""

from __future__ import annotations

import numpy as np
import pytest

from garbage import left_to_the_collector
from leo_runtime.errors import DeviceUnavailableError, KernelError
from leo_runtime.runtime import kernels
from test_change import backends, made, mean_graph, windows
from test_runtime import SAMPLES, loud_graph, workload


def test_what_holds_itself_is_found() -> None:
    def holds() -> None:
        try:
            raise KernelError("it is broken")
        except KernelError as error:
            kept = error
            assert kept

    with left_to_the_collector() as found:
        holds()
    assert found == ["KernelError", "a call of holds", "traceback"]


@pytest.mark.once
@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
@pytest.mark.parametrize("error", [None, KernelError, ValueError, SystemExit, DeviceUnavailableError])
def test_frames_leave_nothing(live: bool, error: type[BaseException] | None) -> None:
    given, outcomes = backends(), list[str]()

    def meets() -> None:
        if error is not None:
            raise error("it is broken")

    with made(workload(mean_graph("a")), live, given) as runtime:
        for one in given.values():
            one.meets["a-scores"] = meets
        with left_to_the_collector() as found:
            for _ in range(10):
                runtime.submit(runtime.now_us + 1000, windows(runtime, ["a"]), graphs=["a"])
                (result,) = runtime.drain()
                outcomes.append(result.graphs[0].outcome)
                for name in given:
                    runtime.restore(name)
            del result
    assert found == []
    assert outcomes == ["done" if error is None else "failed"] * 10


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
def test_an_error_that_is_raised_in_every_frame_holds_none_of_them(live: bool) -> None:
    given, error = backends(), KernelError("it is broken for good")

    def meets() -> None:
        raise error

    with made(workload(mean_graph("a")), live, given) as runtime:
        for one in given.values():
            one.meets["a-scores"] = meets
        for _ in range(10):
            runtime.submit(runtime.now_us + 1000, windows(runtime, ["a"]), graphs=["a"])
            runtime.drain()
    assert error.__traceback__ is None


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
def test_changes_leave_nothing(live: bool) -> None:
    with made(workload(loud_graph(), mean_graph("a")), live, backends()) as runtime, left_to_the_collector() as found:
        for number in range(1, 6):
            runtime.change(workload(loud_graph(), mean_graph("a", samples=SAMPLES + number)))
            runtime.submit(runtime.now_us + 1000, windows(runtime, ["loud", "a"]), graphs=["loud", "a"])
            runtime.drain()
    assert found == []


def test_what_cannot_be_handed_over_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(_value: np.ndarray) -> np.ndarray:
        raise MemoryError

    with made(workload(loud_graph(), mean_graph("a")), False, backends()) as runtime:
        monkeypatch.setattr(kernels, "frozen_copy", no_memory)
        with left_to_the_collector() as found:
            for number in range(3):
                runtime._now.kernels.begin(number, [], (), {"a": kernels.Job("a", (0,))})
                flight = runtime._now.kernels._flights[number]
                flight.values["a", 0] = np.zeros(1, np.float32)
                runtime._now.kernels.hand_over(number, "a", "fast")
                assert isinstance(flight.copies["a", 0, "fast"], MemoryError)
                runtime._now.kernels.end(number)
            del flight
    assert found == []

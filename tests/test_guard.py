"""No kernel can stop a runtime: whatever hangs is given up, other pipelines go on, and it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from leo_runtime.back_off import FIRST_WAIT_US
from leo_runtime.backend import Abandonable
from leo_runtime.dispatch.limits import RunLimit
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import DeviceUnavailableError, InputError, KernelError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.options import RuntimeOptions
from leo_runtime.runtime.processors import ProcessorNow
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve
from test_run_limits import go_on, wait_for
from test_runtime import (
    LOUD,
    QUIET,
    FakeBackend,
    bench,
    everything_on,
    fake_backends,
    loud_graph,
    one,
    other_graph,
    profile,
    simulated,
    workload,
)
from told_clock import ToldClock
from wrong_backends import Hanging

SECOND = 1_000_000


class Caching(Hanging):
    """One that gives the same kernel each time, as many a backend of today does where a lane is alone."""

    def __init__(self, times: int = 1) -> None:
        super().__init__(times)
        self.kernels: dict[str, Any] = {}

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        if stage.name not in self.kernels:
            self.kernels[stage.name] = super().load(stage, variant)
        return self.kernels[stage.name]


class _Worker:
    """A kernel whose run can be ended from outside."""

    def __init__(self, backend: Stoppable, kernel: Any) -> None:
        self.backend = backend
        self.kernel = kernel
        self.stopped = False

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        if inputs[0].any() and self.backend.times:
            self.backend.times -= 1
            self.backend.hang()
            if self.stopped:
                raise KernelError("its run was ended")
        return np.asarray(self.kernel(inputs))

    def abandon(self) -> None:
        self.stopped = True
        self.backend.let_go.set()


class Stoppable(Hanging):
    def hanging(self, kernel: Any) -> Any:
        made = _Worker(self, kernel)
        assert isinstance(made, Abandonable)
        return made


class Leaving(FakeBackend):
    """Its device is gone while it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False
        self.loads = 0

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        self.loads += 1
        kernel = super().load(stage, variant)

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            if self.gone:
                raise DeviceUnavailableError("its worker died")
            return kernel(inputs)

        return run


class Elsewhere(Leaving):
    """Its device can be asked whether it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        return FarKernel(self, super().load(stage, variant))


class FarKernel:
    """One of these."""

    def __init__(self, backend: Elsewhere, run: Callable[[Sequence[np.ndarray]], np.ndarray]) -> None:
        self._backend, self._run = backend, run

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        return self._run(inputs)

    def ask(self) -> None:
        self._backend.asked += 1
        if self._backend.gone:
            raise DeviceUnavailableError("no answer")


@contextmanager
def live(fast: FakeBackend, **options: Any) -> Iterator[tuple[Runtime, ToldClock]]:
    """A runtime with two pipelines, `scores` on `fast` and all else on `cpu`, and a limit of a second."""
    clock = ToldClock()
    options = {"solver": everything_on("fast"), "run_limit": RunLimit(least_us=SECOND), **options}
    runtime = Runtime.live(
        workload(loud_graph(), other_graph()),
        bench(),
        profile(),
        backends=fake_backends(fast=fast),
        clock=clock,
        **options,
    )
    try:
        yield runtime, clock
    finally:
        if isinstance(fast, Hanging):
            fast.let_go.set()
        runtime.close()


def fast_of(runtime: Runtime) -> ProcessorNow:
    return next(processor for processor in runtime.processors() if processor.processor == "fast")


def until(runtime: Runtime, happened: Callable[[ProcessorNow], bool]) -> ProcessorNow:
    """Until something that another thread does has happened to `fast`."""
    driver: Any = runtime._driver
    wait_for(driver, lambda: happened(fast_of(runtime)))
    return fast_of(runtime)


def pass_time(runtime: Runtime, clock: ToldClock, to_us: int) -> None:
    """As on a machine that does not stand still."""
    driver: Any = runtime._driver
    if driver is None:
        clock.to(to_us)
    else:
        go_on(driver, clock, to_us)


def where(result: FrameResult) -> list[tuple[str, str]]:
    return [(stage.resource, stage.outcome) for stage in result.stages if stage.stage == "scores"]


def run(runtime: Runtime, clock: ToldClock, at_us: int, graph: str = "loud") -> FrameResult:
    """A frame by itself."""
    pass_time(runtime, clock, at_us)
    runtime.submit(at_us, {"sound": LOUD}, graphs=(graph,))
    return one(runtime.results(60.0))


def test_what_hangs_is_given_up_and_comes_back_and_other_pipelines_never_wait() -> None:
    fast = Hanging()
    with live(fast) as (runtime, clock):
        assert fast_of(runtime) == ProcessorNow("fast", False, False, (), 0, 0, 0, 0, "")
        hung = runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        fast.hung.wait()
        for at_us in range(2_000, SECOND, 100_000):
            other = run(runtime, clock, at_us, "other")
            assert (other.graphs[0].outcome, other.graphs[0].missed) == ("done", False)
        assert fast_of(runtime).suspect
        pass_time(runtime, clock, SECOND)
        late = one(runtime.results(60.0))
        assert (late.frame, late.graphs[0].label) == (hung, "loud")
        assert where(late) == [("fast", "failed"), ("cpu", "done")]
        assert late.stages[-2].error == "stage `scores` was given up on `fast` after 1 s, its limit"
        now = fast_of(runtime)
        assert (now.given_up, now.abandoned, now.lanes_renewed, now.lost) == (1, 1, 1, False)
        assert [(one.stage, one.reason) for one in now.set_aside] == [("scores", late.stages[-2].error)]
        assert where(run(runtime, clock, SECOND + 2_000)) == [("cpu", "done")]
        clock.to(SECOND + FIRST_WAIT_US)
        now = until(runtime, lambda now: not now.set_aside)
        assert (now.probes, now.abandoned, now.last_reason) == (1, 1, late.stages[-2].error)
        assert fast.loads == 2
        assert where(run(runtime, clock, 2 * SECOND)) == [("fast", "done")]
        fast.let_go.set()
        until(runtime, lambda now: not now.abandoned)


def test_what_is_set_aside_is_not_planned_where_there_is_another_and_other_stages_stay() -> None:
    """As everything that is placed on `fast`: a solver that has the choice is asked without that mode."""
    fast, asked = Hanging(), []

    def solver(problem: Problem) -> Placement:
        asked.append({stage.name: {mode.resource for mode in stage.modes} for stage in problem.stages})
        return solve(problem, "heft")

    with live(fast, solver=solver) as (runtime, clock):
        runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        fast.hung.wait()
        pass_time(runtime, clock, SECOND)
        one(runtime.results(60.0))
        assert run(runtime, clock, SECOND + 2_000).graphs[0].outcome == "done"
        before, after = asked
        assert before["scores"] == {"cpu", "fast"} and after["scores"] == {"cpu"}
        assert {name: where for name, where in before.items() if name != "scores"} == {
            name: where for name, where in after.items() if name != "scores"
        }
        clock.to(SECOND + FIRST_WAIT_US)
        until(runtime, lambda now: not now.set_aside)
        assert where(run(runtime, clock, 2 * SECOND)) == [("fast", "done")]


def test_nobody_waits_for_what_was_abandoned() -> None:
    """Draining and closing would take as long as it hangs, or as long as they may."""
    fast = Hanging()
    with live(fast) as (runtime, clock):
        runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        fast.hung.wait()
        pass_time(runtime, clock, SECOND)
        assert one(runtime.drain(timeout_s=60.0)).graphs[0].outcome == "done"
        runtime.close(timeout_s=3_600.0)
        assert not fast.ended.is_set()


def test_a_backend_of_today_that_keeps_its_kernel_is_used_again_when_that_returns() -> None:
    fast = Caching()
    with live(fast) as (runtime, clock):
        runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        fast.hung.wait()
        pass_time(runtime, clock, SECOND)
        assert where(one(runtime.results(60.0))) == [("fast", "failed"), ("cpu", "done")]
        clock.to(SECOND + FIRST_WAIT_US)
        now = until(runtime, lambda now: now.probes == 1)
        assert "its backend gives the same kernel again; `load` makes a new kernel" in now.set_aside[0].reason
        fast.let_go.set()
        until(runtime, lambda now: not now.set_aside and not now.abandoned)
        assert where(run(runtime, clock, 2 * SECOND)) == [("fast", "done")]


def test_a_run_that_can_be_ended_is_and_its_lane_is_there_again_at_once() -> None:
    fast = Stoppable()
    with live(fast) as (runtime, clock):
        runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        fast.hung.wait()
        pass_time(runtime, clock, SECOND)
        assert where(one(runtime.results(60.0))) == [("fast", "failed"), ("cpu", "done")]
        now = until(runtime, lambda now: not now.set_aside and not now.abandoned)
        assert (now.given_up, now.probes) == (1, 1)
        assert where(run(runtime, clock, SECOND + 2_000)) == [("fast", "done")]


def test_a_device_that_is_gone_is_found_by_a_probe_with_fresh_kernels() -> None:
    fast = Leaving()
    with live(fast) as (runtime, clock):
        assert where(run(runtime, clock, 0)) == [("fast", "done")]
        fast.gone = True
        assert where(run(runtime, clock, 1_000)) == [("fast", "failed"), ("cpu", "done")]
        assert runtime.lost == ("fast",)
        assert where(run(runtime, clock, 2_000)) == [("cpu", "done")]
        clock.to(1_000 + FIRST_WAIT_US)
        now = until(runtime, lambda now: now.probes == 1)
        assert (now.lost, now.last_reason) == (True, "DeviceUnavailableError: its worker died")
        fast.gone, before = False, fast.loads
        clock.to(1_000 + 3 * FIRST_WAIT_US)
        until(runtime, lambda now: not now.lost)
        assert (runtime.lost, fast.loads - before) == ((), 1)
        assert where(run(runtime, clock, SECOND)) == [("fast", "done")]


def test_a_device_that_can_be_asked_is_and_keeps_its_kernels() -> None:
    fast = Elsewhere()
    with live(fast) as (runtime, clock):
        assert where(run(runtime, clock, 0)) == [("fast", "done")]
        fast.gone, before = True, fast.loads
        assert where(run(runtime, clock, 1_000)) == [("fast", "failed"), ("cpu", "done")]
        clock.to(1_000 + FIRST_WAIT_US)
        now = until(runtime, lambda now: now.probes == 1)
        assert (now.lost, now.last_reason) == (True, "DeviceUnavailableError: no answer")
        fast.gone = False
        clock.to(1_000 + 3 * FIRST_WAIT_US)
        until(runtime, lambda now: not now.lost)
        assert (fast.asked, fast.loads) == (2, before)
        assert where(run(runtime, clock, SECOND)) == [("fast", "done")]


def test_what_the_user_loses_stays_lost() -> None:
    fast = Leaving()
    with live(fast) as (runtime, clock):
        run(runtime, clock, 0)
        runtime.lose("fast")
        clock.to(100 * SECOND)
        assert where(run(runtime, clock, 200 * SECOND)) == [("cpu", "done")]
        assert (fast_of(runtime).lost, fast_of(runtime).probes) == (True, 0)
        runtime.restore("fast")
        assert where(run(runtime, clock, 300 * SECOND)) == [("fast", "done")]


def test_without_a_limit_everything_waits() -> None:
    fast = Hanging()
    with live(fast, run_limit=None) as (runtime, clock):
        runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        fast.hung.wait()
        clock.to(3_600 * SECOND)
        run(runtime, clock, 3_600 * SECOND, "other")
        fast.let_go.set()
        assert where(one(runtime.results(60.0))) == [("fast", "done")]


@pytest.mark.parametrize("compute", [True, False])
def test_in_virtual_time_other_pipelines_are_as_they_were(compute: bool) -> None:
    """`scores` hangs on `fast` for a minute in frames of the first two seconds."""
    found: list[dict[str, list[FrameResult]]] = []
    for hangs in (False, True):
        released: dict[int, int] = {}

        def noise(
            frame: int, stage: str, resource: str, us: int, hangs: bool = hangs, released: dict[int, int] = released
        ) -> int:
            hung = hangs and (stage, resource) == ("scores", "fast") and 20_000 <= released[frame] < 2 * SECOND
            return 60 * SECOND if hung else us

        runtime = simulated(loud_graph(), other_graph(), solver=everything_on("fast"), compute=compute, noise=noise)
        by_graph: dict[str, list[FrameResult]] = {"loud": [], "other": []}
        with runtime:
            for number, at_us in enumerate(range(0, 4 * SECOND, 10_000)):
                released[number] = at_us
                graph = "other" if at_us % 20_000 else "loud"
                windows = {"sound": LOUD} if compute else {}
                assert runtime.submit(at_us, windows, graphs=(graph,)) == number
            for result in runtime.drain():
                by_graph[result.graphs[0].graph].append(result)
            given_up = fast_of(runtime).given_up
        assert given_up == 0 if not hangs else 1 <= given_up <= 4
        found.append(by_graph)
    calm, hung = found
    assert [(r.release_us, r.graphs[0].outcome, r.graphs[0].end_us) for r in calm["other"]] == [
        (r.release_us, r.graphs[0].outcome, r.graphs[0].end_us) for r in hung["other"]
    ]
    assert all(not result.graphs[0].missed for result in hung["other"])
    late = [result for result in hung["loud"] if result.graphs[0].outcome != "done" or result.graphs[0].missed]
    assert late
    assert max(result.release_us for result in late) < 2 * SECOND + SECOND, "on time again within a second"
    assert len(hung["loud"]) == len(calm["loud"]) == 200


def test_in_virtual_time_a_device_comes_back_as_its_kernels_say() -> None:
    fast = Leaving()
    with simulated(solver=everything_on("fast"), backends=fake_backends(fast=fast)) as runtime:

        def run_at(at_us: int) -> list[tuple[str, str]]:
            runtime.submit(at_us, {"sound": LOUD})
            return where(one(runtime.drain()))

        assert run_at(0) == [("fast", "done")]
        fast.gone = True
        assert run_at(1_000) == [("fast", "failed"), ("cpu", "done")]
        assert run_at(SECOND) == [("cpu", "done")]
        assert fast_of(runtime).probes == 2
        fast.gone = False
        assert run_at(3 * SECOND) == [("fast", "done")]
        assert fast_of(runtime).probes == 3
        assert runtime.lost == ()


def test_a_profile_that_is_far_off_gives_nothing_up() -> None:
    """The first run, which warms a kernel up, says how long it takes."""
    slow = Slow()
    clock = ToldClock()
    runtime = Runtime.live(
        workload(loud_graph()),
        bench(),
        profile(),
        solver=everything_on("fast"),
        backends=fake_backends(fast=slow),
        clock=clock,
        run_limit=RunLimit(least_us=10, factor=10, deadlines=0),
    )
    with runtime:
        runtime.submit(0, {"sound": LOUD})
        runtime.drain(60.0)
        (order,) = [what for _, what in runtime.history(0) if getattr(what, "expected_us", None) == 20]
        limit_us: int = getattr(order, "limit_us", 0)
        assert limit_us > 200


class Slow(FakeBackend):
    """Its kernels count to a million as they are run first."""

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        kernel = super().load(stage, variant)

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            if not inputs[0].any():
                sum(range(100_000))
            return kernel(inputs)

        return run


def test_a_limit_is_one_or_none() -> None:
    assert RuntimeOptions().run_limit == RunLimit(least_us=SECOND // 2, factor=10, deadlines=1)
    with pytest.raises(InputError, match=r"`run_limit` is a RunLimit, got 3 \(int\)") as raised:
        RuntimeOptions(run_limit=3)  # type: ignore[arg-type]
    assert raised.value.hint == "such as RunLimit(least_us=2_000_000), or None for no limit"


def test_before_the_first_frame_processors_are_as_they_were_said_to_be() -> None:
    with simulated() as runtime:
        runtime.lose("fast")
        assert [(one.processor, one.lost) for one in runtime.processors()] == [("cpu", False), ("fast", True)]
        runtime.submit(0, {"sound": QUIET})
        runtime.drain()
        assert [(one.processor, one.lost) for one in runtime.processors()] == [("cpu", False), ("fast", True)]

"""Real threads: the same dispatcher, measured times, and a shutdown that always comes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from frames import answered, chain_problem, dispatcher_for, lanes_of, planned
from leo_runtime.clock import VirtualClock, WallClock
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Compute, Computed
from leo_runtime.dispatch.events import (
    Event,
    FrameAdmitted,
    FrameDone,
    Instruction,
    ProcessorFound,
    ProcessorLost,
    RunReport,
    RunStage,
)
from leo_runtime.dispatch.executor import Executor, HandOver
from leo_runtime.dispatch.plan import make_plan
from leo_runtime.documents.problem import Problem
from leo_runtime.errors import DeviceUnavailableError


def executor(problem: Problem, compute: Compute, *, hand_over: HandOver = lambda *_: None) -> Executor:
    return Executor(dispatcher_for(problem), lanes_of(problem), compute, hand_over=hand_over)


def finish(driver: Executor) -> tuple[FrameDone, ...]:
    driver.drain()
    found = driver.finished()
    driver.close()
    return found


def test_stages_run_after_their_inputs_and_are_measured() -> None:
    order: list[str] = []

    def compute(run: RunStage) -> Computed:
        order.append(run.stage)
        return Computed(RunReport(device_us=3))

    problem = chain_problem()
    driver = executor(problem, compute)
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    (finished,) = finish(driver)
    assert order == ["first", "second", "third"]
    assert [record.report and record.report.device_us for record in finished.stages] == [3, 3, 3]
    ends = [record.end_us for record in finished.stages]
    assert ends == sorted(ends)
    assert all(record.start_us <= record.end_us for record in finished.stages)


@pytest.mark.parametrize("seed", range(6))
def test_random_problems_with_many_frames_never_share_a_lane(seed: int) -> None:
    """Lanes really run at the same time; what runs on one never overlaps, and no frame is lost."""
    problem, placement = answered(seed, stages=8)
    problem = problem.model_copy(
        update={"stages": tuple(s.model_copy(update={"release_us": 0}) for s in problem.stages)}
    )
    made = make_plan(problem, placement)
    busy: set[tuple[str, int]] = set()
    clashes: list[RunStage] = []
    lock = threading.Lock()

    def compute(run: RunStage) -> Computed:
        with lock:
            if (run.resource, run.lane) in busy:
                clashes.append(run)
            busy.add((run.resource, run.lane))
        np.ones((20, 20)) @ np.ones((20, 20))
        with lock:
            busy.discard((run.resource, run.lane))
        return Computed()

    driver = Executor(
        dispatcher_for(problem.model_copy(update={"resources": free(problem)})), lanes_of(problem), compute
    )
    for frame in range(5):
        driver.post(FrameAdmitted(driver.clock.now_us(), frame, 0, made))
        with driver.locked():
            assert driver.dispatcher.broken_invariants() == ()
    finished = finish(driver)
    assert sorted(f.frame for f in finished) == list(range(5))
    assert clashes == []
    assert {record.outcome for f in finished for record in f.stages} == {"done"}


def free(problem: Problem) -> tuple[object, ...]:
    """The problem's resources with every lane free at once."""
    return tuple(r.model_copy(update={"ready_us": ()}) for r in problem.resources)


def test_a_kernel_that_raises_is_a_stage_that_failed() -> None:
    def compute(run: RunStage) -> Computed:
        if run.resource == "a":
            raise ValueError("not today")
        return Computed()

    handed: list[tuple[int, str, str]] = []
    problem = chain_problem()
    driver = executor(problem, compute, hand_over=lambda *what: handed.append(what))
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    (finished,) = finish(driver)
    first = finished.stages[0]
    assert (first.outcome, first.error) == ("failed", "ValueError: not today")
    assert [r.resource for r in finished.stages if r.outcome == "done"] == ["b", "b", "b"]
    # Each stage was still expected on `a` when the one before it ended on `b`; what moves to `b` finds it there.
    assert handed == [(0, "first", "a"), (0, "second", "a")]


def test_a_device_that_goes_away_is_a_lost_processor() -> None:
    def compute(run: RunStage) -> Computed:
        if run.resource == "a":
            raise DeviceUnavailableError("unplugged")
        return Computed()

    problem = chain_problem()
    driver = executor(problem, compute)
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    (finished,) = finish(driver)
    assert driver.dispatcher.lost == {"a"}
    assert "unplugged" in finished.stages[0].error
    assert len([r for r in finished.stages if r.outcome == "failed"]) == 1


def test_modelled_delays_are_waited_for_only_where_asked() -> None:
    problem = chain_problem(stages={"first": (), "second": ("first",)})
    stages = (
        problem.stages[0].model_copy(update={"modes": problem.stages[0].modes[:1]}),
        problem.stages[1].model_copy(update={"modes": problem.stages[1].modes[1:2]}),
    )
    problem = problem.model_copy(update={"stages": stages})
    made = planned(problem)
    for asked in (False, True):
        driver = Executor(dispatcher_for(problem), lanes_of(problem), lambda _: Computed(), modelled_delays=asked)
        driver.post(FrameAdmitted(0, 0, 0, made))
        (finished,) = finish(driver)
        (send,) = finished.sends
        assert (send.arrive_us - send.start_us >= 5) or not asked
        assert finished.stages[1].start_us >= send.arrive_us


def test_a_simulated_device_takes_its_own_time() -> None:
    problem = chain_problem()
    driver = Executor(
        dispatcher_for(problem), lanes_of(problem), lambda _: Computed(RunReport(device_us=400)), device_times=("a",)
    )
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    (finished,) = finish(driver)
    assert all(record.end_us - record.start_us >= 400 for record in finished.stages)


def test_closing_waits_for_what_runs_and_drops_the_rest() -> None:
    started, go_on = threading.Event(), threading.Event()

    def compute(_run: RunStage) -> Computed:
        started.set()
        go_on.wait()
        return Computed()

    problem = chain_problem()
    driver = executor(problem, compute)
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    started.wait()
    go_on.set()
    driver.close(why="enough")
    driver.close()
    assert driver.drain()
    (done,) = driver.finished()
    assert {(record.outcome, record.error) for record in done.stages} <= {("failed", "enough"), ("done", "")}
    assert done.stages[-1].outcome == "failed"
    driver.post(FrameAdmitted(0, 1, 0, planned(problem)))
    assert driver.dispatcher.frames == ()


class HungThread:
    """A thread that never ends: joining it takes all the time there is."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.waited_s: list[float] = []

    def join(self, timeout_s: float) -> None:
        self.waited_s.append(timeout_s)
        self.clock.wait_until_us(self.clock.now_us() + round(timeout_s * 1e6))


def test_closing_has_one_patience_for_all_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    driver = executor(chain_problem(), lambda _: Computed())
    hung = [HungThread(clock), HungThread(clock), HungThread(clock)]
    monkeypatch.setattr(driver, "_threads", [*hung, *driver._threads])
    monkeypatch.setattr("leo_runtime.dispatch.executor.WallClock", lambda: clock)
    driver.close(2.0)
    assert [thread.waited_s for thread in hung] == [[2.0], [0.0], [0.0]]


@pytest.mark.parametrize("failure", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
def test_whatever_a_kernel_throws_fails_its_stage_and_leaves_its_lane(failure: BaseException) -> None:
    def compute(run: RunStage) -> Computed:
        if run.resource == "a" and run.frame == 0:
            raise failure
        return Computed()

    problem = chain_problem()
    driver = executor(problem, compute)
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    driver.drain()
    driver.post(FrameAdmitted(0, 1, 0, planned(problem)))
    first, second = finish(driver)
    assert first.stages[0].error.startswith(type(failure).__name__)
    assert [(record.resource, record.outcome) for record in second.stages] == [("a", "done")] * 3


def test_a_stale_run_publishes_nothing_and_holds_its_lane_until_it_is_back() -> None:
    """`a` is lost and found while a kernel hangs there; the next frame on `a` begins when that kernel is back."""
    hangs, comes_back = threading.Event(), threading.Event()
    order: list[tuple[int, str, int]] = []

    def compute(run: RunStage) -> Computed:
        if (run.frame, run.attempt) == (0, 0):
            hangs.set()
            comes_back.wait()
        order.append((run.frame, run.resource, run.attempt))
        return Computed(outputs={0: np.full(1, run.attempt)})

    published: list[tuple[int, str, int]] = []
    problem = chain_problem(stages={"alone": ()})
    driver = Executor(
        dispatcher_for(problem),
        lanes_of(problem),
        compute,
        publish=lambda run, _: published.append((run.frame, run.resource, run.attempt)),
    )
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    hangs.wait()
    driver.post(ProcessorLost(driver.clock.now_us(), "a"))
    driver.drain()
    driver.post(ProcessorFound(driver.clock.now_us(), "a"))
    driver.post(FrameAdmitted(0, 1, 0, planned(problem)))
    assert not driver.drain(0)
    comes_back.set()
    first, second = finish(driver)
    assert [(r.resource, r.outcome) for r in first.stages] == [("a", "failed"), ("b", "done")]
    assert order == [(0, "b", 1), (0, "a", 0), (1, "a", 0)]
    assert published == [(0, "b", 1), (1, "a", 0)]
    assert [(r.resource, r.outcome) for r in second.stages] == [("a", "done")]


def test_a_run_begins_when_its_kernel_does() -> None:
    """What comes before, such as waiting for the other threads, is not of the stage."""
    clock = VirtualClock()

    def compute(_run: RunStage) -> Computed:
        clock.wait_until_us(1_000)
        started_us = clock.now_us()
        clock.wait_until_us(1_010)
        return Computed(RunReport(started_us=started_us))

    problem = chain_problem(stages={"alone": ()})
    driver = Executor(dispatcher_for(problem), lanes_of(problem), compute, clock=clock)
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    (done,) = finish(driver)
    assert (done.stages[0].start_us, done.stages[0].end_us) == (1_000, 1_010)


def test_what_goes_wrong_in_any_thread_is_raised_where_an_answer_is_waited_for() -> None:
    def hand_over(_frame: int, _stage: str, _target: str) -> None:
        raise MemoryError("no room for a copy")

    problem = chain_problem(stages={"first": (), "second": ("first",)})
    only = (
        problem.stages[0].model_copy(update={"modes": problem.stages[0].modes[:1]}),
        problem.stages[1].model_copy(update={"modes": problem.stages[1].modes[1:2]}),
    )
    problem = problem.model_copy(update={"stages": only})
    driver = executor(problem, lambda _: Computed(), hand_over=hand_over)
    driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    with pytest.raises(MemoryError, match="no room"):
        driver.drain()
    assert isinstance(driver.failure, MemoryError)
    assert driver.finished() == ()
    driver.close()


class Interrupted(Dispatcher):
    """Ctrl-C comes as it is told of something."""

    def handle(self, _event: Event) -> tuple[Instruction, ...]:
        raise KeyboardInterrupt


def test_the_users_interrupt_goes_on_its_way() -> None:
    """It comes to the main thread, wherever that is: here as it tells the dispatcher of a frame."""
    problem = chain_problem()
    driver = executor(problem, lambda _: Computed())
    driver.dispatcher = Interrupted(lanes_of(problem))
    with pytest.raises(KeyboardInterrupt):
        driver.post(FrameAdmitted(0, 0, 0, planned(problem)))
    assert isinstance(driver.failure, KeyboardInterrupt)
    driver.close()


def test_clocks_go_on_only_forwards() -> None:
    clock = VirtualClock(5)
    assert not clock.wait_until_us(3)
    assert clock.now_us() == 5
    stop = threading.Event()
    assert not clock.wait_until_us(9, stop)
    stop.set()
    assert clock.wait_until_us(20, stop)
    assert clock.now_us() == 9
    wall = WallClock(1_000_000)
    first = wall.now_us()
    assert first >= 1_000_000
    assert wall.wait_until_us(first + 10_000_000, stop)
    assert not wall.wait_until_us(first)
    assert not wall.wait_until_us(wall.now_us() + 50)
    assert wall.now_us() >= first + 50


def test_waiting_for_centuries_is_waiting_often() -> None:
    """The system refuses a wait that ends in 300 years: it was an OverflowError, and the end of a lane."""

    class Often(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None and timeout <= threading.TIMEOUT_MAX
            waits.append(timeout)
            if len(waits) == 3:
                self.set()
            return self.is_set()

    waits: list[float] = []
    assert WallClock().wait_until_us(10**22, Often())
    assert len(waits) == 3

"""Runs that do not end: given up at their limit, their lane goes on, and their mode comes back when a probe says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames import answered, asleep_in, chain_problem, lanes_of, planned
from interpreted import interpreted_dispatcher
from leo_runtime.back_off import FIRST_WAIT_US, LONGEST_WAIT_US
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Computed
from leo_runtime.dispatch.events import (
    Event,
    FrameAdmitted,
    FrameDone,
    Instruction,
    LaneRenewed,
    Probe,
    ProbeEnded,
    ProcessorFound,
    ProcessorLost,
    RenewLane,
    RunStage,
    StageEnded,
    StageOverdue,
)
from leo_runtime.dispatch.executor import LOOK_US, Executor
from leo_runtime.dispatch.health import MOST_ABANDONED
from leo_runtime.dispatch.limits import SEEN, Limits, RunLimit
from leo_runtime.dispatch.plan import Plan, make_plan
from leo_runtime.dispatch.simulator import Simulator
from leo_runtime.documents.problem import Problem
from leo_runtime.errors import DeviceUnavailableError, InputError
from leo_runtime.runtime.processors import processor_now
from test_dispatch import Shaker, outcomes
from told_clock import ToldClock

LIMIT = RunLimit(least_us=1_000, factor=10, deadlines=2)


def machine(problem: Problem, limit: RunLimit | None = LIMIT) -> Dispatcher:
    return Dispatcher(lanes_of(problem), limit=limit)


def alone(*names: str) -> tuple[Problem, Plan]:
    """Stages that read nothing, all planned on `a`, where they take 10 us."""
    problem = chain_problem(stages=dict.fromkeys(names, ()))
    only = [stage.model_copy(update={"modes": stage.modes[:1]}) for stage in problem.stages]
    plan = planned(problem.model_copy(update={"stages": tuple(only)}))
    there = make_plan(problem, plan.placement)
    assert {stage.resource for stage in there.stages.values()} == {"a"}
    return problem, there


def of_kind(kind: type[Any], orders: tuple[Instruction, ...]) -> list[Any]:
    return [order for order in orders if isinstance(order, kind)]


# The rule.


def test_the_limit_of_a_run_is_the_longest_of_three() -> None:
    problem, plan = alone("one")
    for rule, give_up_us, limit_us in (
        (LIMIT, None, 1_000),
        (LIMIT, 100 + 700, 1_400),
        (RunLimit(least_us=50, factor=7, deadlines=2), 100 + 1, 70),
        (None, 900, None),
    ):
        (run,) = machine(problem, rule).handle(FrameAdmitted(100, 0, 100, plan, (), give_up_us))
        assert isinstance(run, RunStage)
        assert run.limit_us == limit_us


def test_a_mode_that_turned_out_to_be_slow_has_longer() -> None:
    limits = Limits(LIMIT)
    mode = ("a", "one", "default")
    limits.observe(mode, 10, 100)
    assert (limits.slower, limits.expected_us(mode, 10)) == ({}, 10)
    limits.observe(mode, 10, 400)
    assert limits.expected_us(mode, 10) == 400
    limits.observe(mode, 10, 10)
    assert limits.expected_us(mode, 10) == 10, "one outlier moves nothing for long"
    for _ in range(SEEN):
        limits.observe(mode, 10, 300)
    assert limits.expected_us(mode, 20) == 600
    assert limits.expected_us(("a", "other", ""), 20) == 20


def test_a_run_that_was_slow_and_ended_makes_the_next_limit_longer() -> None:
    problem, plan = alone("one")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    dispatcher.handle(StageEnded(900, 0, "one", 0))
    (run,) = dispatcher.handle(FrameAdmitted(1_000, 1, 1_000, plan))
    assert isinstance(run, RunStage)
    assert run.limit_us == 9_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"least_us": 0}, "`least_us` is at least 1, got 0"),
        ({"factor": 1.5}, "`factor` is a whole number, got 1.5"),
        ({"deadlines": -1}, "`deadlines` is at least 0, got -1"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunLimit(**changes)


# What the dispatcher says.


def test_a_run_over_its_limit_goes_elsewhere_at_once_and_its_lane_goes_on() -> None:
    problem, plan = alone("one", "two")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    out = dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))
    assert of_kind(RenewLane, out) == [RenewLane("a", 0, "one", "default")]
    assert of_kind(Probe, out) == [Probe(1_000 + FIRST_WAIT_US, "a", "one", "default", 1)]
    assert [(run.stage, run.resource, run.attempt) for run in of_kind(RunStage, out)] == [("one", "b", 1)]
    assert dispatcher.holds_lane(0, "one", 1)
    (run,) = dispatcher.handle(LaneRenewed(1_001, "a", 0))
    assert isinstance(run, RunStage)
    assert (run.stage, run.resource) == ("two", "a")
    dispatcher.handle(StageEnded(1_030, 0, "one", 1))
    (done,) = of_kind(FrameDone, dispatcher.handle(StageEnded(1_031, 0, "two", 0)))
    first, second, _ = done.stages
    assert (first.outcome, first.error) == ("failed", "stage `one` was given up on `a` after 0.001 s, its limit")
    assert (second.outcome, second.resource) == ("done", "b")
    tally = dispatcher.health.of("a")
    assert (tally.given_up, tally.abandoned, tally.renewed, dispatcher.lost) == (1, 1, 1, frozenset())


def test_a_mode_that_is_set_aside_is_not_used_until_a_probe_says_so() -> None:
    problem, plan = alone("one")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    dispatcher.handle(FrameAdmitted(1, 1, 1, plan))
    out = dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))
    assert {(run.frame, run.resource) for run in of_kind(RunStage, out)} == {(0, "b")}, "frame 1 waits for it there"
    out = dispatcher.handle(LaneRenewed(1_000, "a", 0))
    assert out == ()
    assert dispatcher.handle(FrameAdmitted(1_001, 2, 1_001, plan)) == (), "so does frame 2"
    assert dispatcher.handle(ProbeEnded(300_000, "a", "one", "default", 7)) == (), "another probe"
    dispatcher.handle(ProbeEnded(300_000, "a", "one", "default", 1))
    (run,) = dispatcher.handle(FrameAdmitted(300_001, 3, 300_001, plan))
    assert isinstance(run, RunStage)
    assert run.resource == "a"


def test_where_there_is_no_other_processor_a_stage_fails_without_being_tried() -> None:
    problem, plan = alone("one", "two")
    problem = problem.model_copy(
        update={"stages": tuple(s.model_copy(update={"modes": s.modes[:1]}) for s in problem.stages)}
    )
    plan = make_plan(problem, plan.placement)
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))
    dispatcher.handle(LaneRenewed(1_000, "a", 0))
    (done,) = of_kind(FrameDone, dispatcher.handle(StageEnded(1_010, 0, "two", 0)))
    assert outcomes(done) == {"one": "failed", "two": "done"}
    dispatcher.handle(FrameAdmitted(2_000, 1, 2_000, plan))
    (done,) = of_kind(FrameDone, dispatcher.handle(StageEnded(2_010, 1, "two", 0)))
    assert outcomes(done) == {"one": "failed", "two": "done"}
    assert done.stages[0].error == "not tried: stage `one` was given up on `a` after 0.001 s, its limit"


def test_probes_wait_twice_as_long_each_time_up_to_a_minute() -> None:
    problem, plan = alone("one")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    now_us, waits = 1_000, []
    (probe,) = of_kind(Probe, dispatcher.handle(StageOverdue(now_us, 0, "one", 0, 1_000)))
    dispatcher.handle(LaneRenewed(now_us, "a", 0))
    for _ in range(12):
        waits.append(probe.at_us - now_us)
        now_us = probe.at_us
        (probe,) = dispatcher.handle(ProbeEnded(now_us, "a", "one", "default", probe.number, "no"))
    assert waits[:4] == [250_000, 500_000, 1_000_000, 2_000_000]
    assert waits[-4:] == [LONGEST_WAIT_US] * 4
    # What hangs again as soon as it is back has gained nothing; what worked for a while begins anew.
    dispatcher.handle(ProbeEnded(now_us, "a", "one", "default", probe.number))
    for wait_us, expected_us in ((10, LONGEST_WAIT_US), (LONGEST_WAIT_US + 1_001, FIRST_WAIT_US)):
        now_us += wait_us
        frame = now_us
        (run,) = dispatcher.handle(FrameAdmitted(now_us, frame, now_us, plan))
        assert isinstance(run, RunStage)
        now_us += 1_000
        (probe,) = of_kind(Probe, dispatcher.handle(StageOverdue(now_us, frame, "one", 0, 1_000)))
        assert probe.at_us - now_us == expected_us
        dispatcher.handle(LaneRenewed(now_us, "a", 0))
        dispatcher.handle(ProbeEnded(now_us, "a", "one", "default", probe.number))


def test_a_kernel_that_returns_after_all_is_probed_at_once_and_was_merely_slow() -> None:
    problem, plan = alone("one")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))
    dispatcher.handle(LaneRenewed(1_000, "a", 0))
    assert dispatcher.handle(StageEnded(5_000, 0, "one", 0)) == (Probe(5_000, "a", "one", "default", 2),)
    assert dispatcher.health.of("a").abandoned == 0
    assert dispatcher.handle(ProbeEnded(5_000, "a", "one", "default", 1, "the one before")) == ()
    assert dispatcher.handle(ProbeEnded(5_000, "a", "one", "default", 2)) == ()
    (run,) = dispatcher.handle(FrameAdmitted(6_000, 1, 6_000, plan))
    assert isinstance(run, RunStage)
    assert (run.resource, run.limit_us) == ("a", 50_000)


def test_a_processor_on_which_nothing_ends_is_lost_by_itself_and_found() -> None:
    problem, plan = alone("one", "two", "three")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))
    dispatcher.handle(LaneRenewed(1_000, "a", 0))
    out = dispatcher.handle(StageOverdue(2_000, 0, "two", 0, 1_000))
    assert dispatcher.lost == {"a"}
    probes = {(probe.stage, probe.at_us): probe for probe in of_kind(Probe, out)}
    assert set(probes) == {("two", 252_000), ("", 252_000)}
    assert dispatcher.health.of("a").last_reason == "nothing ends there: `one`, `two` hung"
    assert dispatcher.handle(LaneRenewed(2_000, "a", 0)) == ()
    dispatcher.handle(ProbeEnded(252_000, "a", "", "", probes["", 252_000].number))
    assert dispatcher.lost == frozenset()


def test_a_processor_on_which_others_end_is_not_lost() -> None:
    problem, plan = alone("one", "two", "three")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))
    dispatcher.handle(LaneRenewed(1_000, "a", 0))
    dispatcher.handle(StageEnded(1_010, 0, "two", 0))
    dispatcher.handle(StageOverdue(2_010, 0, "three", 0, 1_000))
    assert dispatcher.lost == frozenset()


def test_what_somebody_said_to_be_lost_is_not_probed() -> None:
    problem, plan = alone("one")
    dispatcher = machine(problem)
    assert of_kind(Probe, dispatcher.handle(ProcessorLost(0, "a", "as was said"))) == []
    assert of_kind(Probe, dispatcher.handle(ProcessorLost(1, "a", "unplugged", by_itself=True))) == []
    dispatcher.handle(ProcessorFound(2, "a"))
    (probe,) = of_kind(Probe, dispatcher.handle(ProcessorLost(3, "a", "unplugged", by_itself=True)))
    dispatcher.handle(ProcessorLost(4, "a", "as was said"))
    assert dispatcher.handle(ProbeEnded(5, "a", "", "", probe.number)) == ()
    assert dispatcher.lost == {"a"}
    dispatcher.handle(ProcessorFound(6, "a"))
    (run,) = dispatcher.handle(FrameAdmitted(7, 0, 7, plan))
    assert isinstance(run, RunStage)
    assert run.resource == "a"


def test_a_run_that_is_given_up_with_its_processor_has_its_limit_too() -> None:
    problem, plan = alone("one")
    dispatcher = machine(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    dispatcher.handle(ProcessorLost(10, "a"))
    dispatcher.handle(StageEnded(40, 0, "one", 1))
    dispatcher.handle(ProcessorFound(50, "a"))
    assert dispatcher.handle(FrameAdmitted(60, 1, 60, plan)) == (), "its lane is occupied"
    out = dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))
    assert of_kind(RenewLane, out) == [RenewLane("a", 0, "one", "default")]
    assert [(run.frame, run.resource) for run in of_kind(RunStage, out)] == [(1, "b")]
    assert dispatcher.handle(StageOverdue(1_001, 0, "one", 0, 1_000)) == ()


def test_while_many_runs_hang_no_mode_is_tried_again() -> None:
    """Each keeps a thread, and what works on zeros may hang on everything else."""
    problem, plan = alone("one")
    dispatcher = machine(problem)
    now_us, probes = 0, []
    for frame in range(MOST_ABANDONED):
        dispatcher.handle(FrameAdmitted(now_us, frame, now_us, plan))
        now_us += 1_000
        probes = of_kind(Probe, dispatcher.handle(StageOverdue(now_us, frame, "one", 0, 1_000)))
        dispatcher.handle(LaneRenewed(now_us, "a", 0))
        for probe in probes:
            now_us = probe.at_us
            dispatcher.handle(ProbeEnded(now_us, "a", "one", "default", probe.number))
        assert [one.probed for one in processor_now(dispatcher, "a", now_us).set_aside] == [False] * (not probes)
    assert probes == []
    assert dispatcher.health.of("a").abandoned == MOST_ABANDONED
    assert len(of_kind(Probe, dispatcher.handle(StageEnded(now_us, 3, "one", 0)))) == 1
    assert [one.probed for one in processor_now(dispatcher, "a", now_us).set_aside] == [True]


def test_what_is_not_tried_again_is_in_service_again_where_somebody_says_so() -> None:
    problem, plan = alone("one")
    dispatcher = machine(problem)
    dispatcher.health.of("a").abandoned = MOST_ABANDONED
    dispatcher.handle(FrameAdmitted(0, 0, 0, plan))
    assert of_kind(Probe, dispatcher.handle(StageOverdue(1_000, 0, "one", 0, 1_000))) == []
    dispatcher.handle(LaneRenewed(1_000, "a", 0))
    assert [one.probed for one in processor_now(dispatcher, "a", 1_000).set_aside] == [False]
    dispatcher.handle(ProcessorFound(2_000, "a"))
    assert processor_now(dispatcher, "a", 2_000).set_aside == ()
    assert of_kind(RunStage, dispatcher.handle(FrameAdmitted(2_000, 1, 2_000, plan)))


@dataclass
class Watching(Shaker):
    """Runs may go over their limits, lanes are renewed, and what is set aside is tried."""

    overdue: list[tuple[str, int]] = field(default_factory=list)
    """The lanes that are to be renewed."""

    def obey(self, order: Instruction) -> None:
        if isinstance(order, RenewLane):
            self.overdue.append((order.resource, order.lane))
            self.pending.append(LaneRenewed(0, order.resource, order.lane))
        elif isinstance(order, Probe):
            error = "no" if self.rng.randrange(3) else ""
            if self.rng.randrange(4):
                self.pending.append(ProbeEnded(0, order.resource, order.stage, order.variant, order.number, error))
        else:
            super().obey(order)

    def send(self, event: Event) -> None:
        if isinstance(event, LaneRenewed):
            lane = (event.resource, event.lane)
            self.overdue.remove(lane)
            self.busy.pop(lane, None)
        super().send(event)

    def miss(self) -> None:
        """Some run is over its limit; its end may still come."""
        runs = [(lane, what) for lane, what in self.busy.items() if "->" not in what[1] and lane not in self.overdue]
        if runs:
            _, (frame, stage, attempt) = self.rng.choice(runs)
            self.given_up.add((frame, stage, attempt))
            if self.rng.randrange(2):  # It hangs for good.
                self.pending = [
                    event
                    for event in self.pending
                    if (getattr(event, "frame", None), getattr(event, "stage", None), getattr(event, "attempt", None))
                    != (frame, stage, attempt)
                ]
            self.send(StageOverdue(self.now_us, frame, stage, attempt, 1))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 4))
def test_random_orders_with_runs_that_hang_lose_nothing(seed: int, frames: int) -> None:
    rng = Random(seed)
    problem, placement = answered(seed, stages=rng.randint(1, 9))
    made = make_plan(problem, placement)
    names = [stage.name for stage in problem.stages]
    kinds = (Dispatcher, interpreted_dispatcher())
    ready = {r.name: r.ready_us for r in problem.resources if r.ready_us}
    dispatcher, twin = (kind(lanes_of(problem), ready_us=ready, limit=LIMIT) for kind in kinds)
    shaker = Watching(dispatcher, rng, fails=frozenset(n for n in names if rng.randrange(5) == 0), twin=twin)
    for frame in range(frames):
        shaker.send(FrameAdmitted(shaker.now_us, frame, frame * 100, made, asleep_in(problem)))
        for _ in range(rng.randrange(6)):
            if shaker.pending:
                shaker.step()
            if rng.randrange(3) == 0:
                shaker.miss()
        if rng.randrange(5) == 0:
            lost = rng.choice(problem.resources[:-1] or problem.resources).name
            shaker.send(ProcessorLost(shaker.now_us, lost, by_itself=rng.randrange(2) == 0))
        if rng.randrange(4) == 0 and dispatcher.lost:
            shaker.send(ProcessorFound(shaker.now_us, rng.choice(sorted(dispatcher.lost))))
    shaker.run()
    assert sorted(shaker.done) == list(range(frames))
    for done in shaker.done.values():
        assert set(outcomes(done)) == set(names)
        for record in done.stages:
            assert (record.outcome == "failed") == bool(record.error)


# Virtual time.


def hanging(stages: dict[str, int], until_us: int = 10**18) -> Callable[[int, str, str, int], int]:
    """Stages that hang on `a` for so long, in frames that are released by number; everything else lasts as planned."""

    def noise(frame: int, stage: str, resource: str, duration_us: int) -> int:
        return stages[stage] if resource == "a" and stage in stages and frame < until_us else duration_us

    return noise


def test_in_virtual_time_what_hangs_is_given_up_and_nothing_else_is_touched() -> None:
    problem, plan = alone("one", "two")
    simulator = Simulator(machine(problem), noise=hanging({"one": 10**12}))
    simulator.post(FrameAdmitted(0, 0, 0, plan))
    assert simulator.drain()
    assert simulator.clock.now_us() == 1_020, "nobody waits for what hangs"
    (done,) = simulator.finished()
    assert [(r.stage, r.resource, r.outcome, r.end_us) for r in done.stages] == [
        ("one", "a", "failed", 1_000),
        ("one", "b", "done", 1_020),
        ("two", "a", "done", 1_010),
    ]


def test_in_virtual_time_the_mode_comes_back_by_a_probe_and_by_returning() -> None:
    problem, plan = alone("one")
    tried: list[tuple[str, str, str]] = []

    def probe(*target: str) -> None:
        tried.append((target[0], target[1], target[2]))
        if len(tried) == 1:
            raise DeviceUnavailableError("not yet")

    simulator = Simulator(machine(problem), noise=hanging({"one": 10_000_000}, until_us=1), probe=probe)

    def used(frame: int, at_us: int) -> str:
        simulator.reach(at_us)
        simulator.post(FrameAdmitted(at_us, frame, at_us, plan))
        simulator.drain()
        (done,) = simulator.finished()
        return done.stages[-1].resource

    assert used(0, 0) == "b"
    assert used(1, 200_000) == "b"
    assert tried == []
    assert used(2, 700_000) == "b"
    assert simulator.dispatcher.health.aside["a", "one", "default"].why == "DeviceUnavailableError: not yet"
    assert used(3, 800_000) == "a"
    assert tried == [("a", "one", "default")] * 2
    simulator.reach(10_000_000)
    assert simulator.dispatcher.health.of("a").abandoned == 0


def test_without_a_run_that_hangs_virtual_time_is_the_same_with_limits() -> None:
    for seed in range(20):
        problem, placement = answered(seed)
        plan = make_plan(problem, placement)
        found = []
        for limit in (None, RunLimit()):
            simulator = Simulator(machine(problem, limit))
            for frame in range(3):
                simulator.reach(frame * 100)
                simulator.post(
                    FrameAdmitted(frame * 100, frame, frame * 100, plan, asleep_in(problem), frame * 100 + 500)
                )
            simulator.drain()
            found.append((simulator.finished(), simulator.clock.now_us()))
        assert found[0] == found[1]


# Real time.


class Lane:
    """A kernel that hangs in the stages and attempts it is told to, until it is let go."""

    def __init__(self, *hangs: tuple[int, str]) -> None:
        self.hangs = set(hangs)
        self.hung = threading.Event()
        self.let_go = threading.Event()
        self.back = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, run: RunStage) -> Computed:
        if (run.frame, run.stage) in self.hangs and run.resource == "a":
            self.threads.append(threading.current_thread())
            self.hung.set()
            self.let_go.wait()
        return Computed()


class Recorder:
    """What an executor tells whoever has the kernels."""

    def __init__(self) -> None:
        self.abandoned: list[RenewLane] = []
        self.returned: list[RenewLane] = []
        self.tried: list[tuple[str, str, str]] = []
        self.has_tried = threading.Event()

    def probe(self, resource: str, stage: str, variant: str) -> None:
        self.tried.append((resource, stage, variant))
        self.has_tried.set()


def in_real_time(problem: Problem, compute: Any, clock: ToldClock, kernels: Recorder, **options: Any) -> Executor:
    return Executor(
        machine(problem, **options),
        lanes_of(problem),
        compute,
        clock=clock,
        abandon=kernels.abandoned.append,
        returned=kernels.returned.append,
        probe=kernels.probe,
    )


def wait_for(driver: Executor, happened: Callable[[], bool]) -> None:
    """Until something that another thread does has happened, of which nobody is told: it is looked at now and then."""
    with driver._idle:
        for _ in range(6_000):
            if happened():
                return
            driver._idle.wait(0.01)
    raise AssertionError("it does not happen")


def test_in_real_time_a_lane_goes_on_without_the_thread_that_hangs() -> None:
    problem, plan = alone("one", "two")
    clock, compute, kernels = ToldClock(), Lane((0, "one")), Recorder()
    driver = in_real_time(problem, compute, clock, kernels)
    driver.post(FrameAdmitted(0, 0, 0, plan))
    compute.hung.wait()
    clock.to(999)
    assert not driver.drain(0.0)
    clock.to(1_000)
    assert driver.drain(60.0)
    (done,) = driver.finished()
    assert [(r.stage, r.resource, r.outcome) for r in done.stages] == [
        ("one", "a", "failed"),
        ("one", "b", "done"),
        ("two", "a", "done"),
    ]
    assert kernels.abandoned == [RenewLane("a", 0, "one", "default")]
    assert (kernels.returned, kernels.tried) == ([], [])
    clock.to(1_000 + FIRST_WAIT_US)
    kernels.has_tried.wait()
    wait_for(driver, lambda: not driver.dispatcher.health.aside)
    driver.post(FrameAdmitted(300_000, 1, 300_000, plan))
    assert driver.drain(60.0)
    (done,) = driver.finished()
    assert {r.resource for r in done.stages} == {"a"}
    (thread,) = compute.threads
    driver.close()
    assert thread.is_alive(), "closing waits for nobody who was abandoned"
    compute.let_go.set()
    thread.join()
    assert kernels.returned == kernels.abandoned


def test_a_kernel_that_returns_late_is_told_of_and_leaves_nothing() -> None:
    problem, plan = alone("one")
    clock, compute, kernels = ToldClock(), Lane((0, "one")), Recorder()
    driver = in_real_time(problem, compute, clock, kernels)
    driver.post(FrameAdmitted(0, 0, 0, plan))
    compute.hung.wait()
    clock.to(1_000)
    assert driver.drain(60.0)
    compute.let_go.set()
    compute.threads[0].join()
    assert kernels.returned == kernels.abandoned
    kernels.has_tried.wait()
    wait_for(driver, lambda: not driver.dispatcher.health.aside)
    assert driver.dispatcher.health.of("a").abandoned == 0
    assert not compute.threads[0].is_alive()
    (done,) = driver.finished()
    assert outcomes(done) == {"one": "done"}
    driver.close()


def test_an_abandoned_device_that_is_gone_loses_no_processor() -> None:
    """It may have been replaced since."""
    problem, plan = alone("one")
    clock, let_go, hung, gone = ToldClock(), threading.Event(), threading.Event(), threading.Event()

    def compute(run: RunStage) -> Computed:
        if run.resource == "a":
            hung.set()
            let_go.wait()
            raise DeviceUnavailableError("its worker was ended")
        return Computed()

    def returned(_order: RenewLane) -> None:
        gone.set()

    driver = Executor(machine(problem), lanes_of(problem), compute, clock=clock, returned=returned)
    driver.post(FrameAdmitted(0, 0, 0, plan))
    hung.wait()
    clock.to(1_000)
    assert driver.drain(60.0)
    let_go.set()
    gone.wait()
    wait_for(driver, lambda: driver.dispatcher.health.of("a").abandoned == 0)
    assert driver.dispatcher.lost == frozenset()
    driver.close()


def test_a_device_that_is_gone_is_probed_and_found() -> None:
    problem, plan = alone("one")
    clock, kernels = ToldClock(), Recorder()

    def compute(run: RunStage) -> Computed:
        if run.resource == "a":
            raise DeviceUnavailableError("unplugged")
        return Computed()

    driver = in_real_time(problem, compute, clock, kernels)
    driver.post(FrameAdmitted(0, 0, 0, plan))
    assert driver.drain(60.0)
    assert driver.dispatcher.lost == {"a"}
    clock.to(FIRST_WAIT_US)
    wait_for(driver, lambda: not driver.dispatcher.lost)
    assert kernels.tried == [("a", "", "")]
    driver.close()


def test_a_probe_that_hangs_delays_nothing() -> None:
    problem, plan = alone("one")
    clock, trying, let_go = ToldClock(), threading.Event(), threading.Event()

    def probe(*_target: str) -> None:
        trying.set()
        let_go.wait()

    def compute(run: RunStage) -> Computed:
        if run.resource == "a":
            raise DeviceUnavailableError("unplugged")
        return Computed()

    driver = Executor(machine(problem), lanes_of(problem), compute, clock=clock, probe=probe)
    driver.post(FrameAdmitted(0, 0, 0, plan))
    assert driver.drain(60.0)
    clock.to(FIRST_WAIT_US)
    trying.wait()
    driver.post(FrameAdmitted(FIRST_WAIT_US, 1, FIRST_WAIT_US, plan))
    assert driver.drain(60.0)
    driver.close(0.0)
    let_go.set()


def test_time_in_which_nothing_could_run_counts_for_no_run() -> None:
    """The machine was suspended, the process stopped, or the clock leapt: the run has its limit from then on."""
    problem, plan = alone("one")
    clock, compute, kernels = ToldClock(), Lane((0, "one")), Recorder()
    driver = in_real_time(problem, compute, clock, kernels)
    driver.post(FrameAdmitted(0, 0, 0, plan))
    compute.hung.wait()
    clock.to(3_600_000_000)
    wait_for_look(driver, 3_600_000_000)
    assert driver.dispatcher.health.of("a").given_up == 0
    compute.let_go.set()
    assert driver.drain(60.0)
    (done,) = driver.finished()
    assert [(r.resource, r.outcome) for r in done.stages] == [("a", "done")]
    driver.close()


def test_a_stop_in_the_midst_of_a_run_counts_for_none() -> None:
    """Nobody looks at the limit while the process is stopped, and it goes on before that: its time is not the run's."""
    problem, plan = alone("one")
    clock, compute, kernels = ToldClock(), Lane((0, "one")), Recorder()
    driver = in_real_time(problem, compute, clock, kernels, limit=RunLimit(least_us=1_000_000))
    driver.post(FrameAdmitted(0, 0, 0, plan))
    compute.hung.wait()
    for now_us in (LOOK_US, 900_000, 1_100_000, 900_000 + LOOK_US, 900_000 + 2 * LOOK_US - 1):
        clock.to(now_us)
        wait_for_look(driver, now_us)
    assert driver.dispatcher.health.of("a").given_up == 0
    clock.to(900_000 + 2 * LOOK_US)
    assert driver.drain(60.0)
    assert driver.dispatcher.health.of("a").given_up == 1
    compute.let_go.set()
    driver.close()


def wait_for_look(driver: Executor, at_us: int) -> None:
    """Until the limits have been looked at, after that time, if anything runs that has one."""
    wait_for(driver, lambda: driver._look_us is None or driver._look_us > at_us)


def go_on(driver: Executor, clock: ToldClock, to_us: int) -> None:
    """Time passes up to there, and limits are looked at in time, as of no machine that stood still."""
    while (look_us := driver._look_us) is not None and look_us < to_us:
        clock.to(max(look_us, clock.now_us()))
        wait_for_look(driver, look_us)
    clock.to(to_us)
    wait_for_look(driver, to_us)


def test_where_the_system_has_no_thread_left_the_lane_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, plan = alone("one", "two")
    clock, compute, kernels = ToldClock(), Lane((0, "one")), Recorder()
    driver = in_real_time(problem, compute, clock, kernels)
    driver.post(FrameAdmitted(0, 0, 0, plan))
    compute.hung.wait()

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        clock.to(1_000)
        assert driver.drain(60.0)
    (done,) = driver.finished()
    assert {(r.stage, r.resource) for r in done.stages if r.outcome == "done"} == {("one", "b"), ("two", "b")}
    assert driver.dispatcher.health.of("a").last_reason == "RuntimeError: can't start new thread"
    compute.let_go.set()
    clock.to(1_000 + FIRST_WAIT_US)
    wait_for(driver, lambda: not driver.dispatcher.lost and not driver.dispatcher.health.aside)
    driver.post(FrameAdmitted(300_000, 1, 300_000, plan))
    assert driver.drain(60.0)
    (done,) = driver.finished()
    assert {r.resource for r in done.stages} == {"a"}
    driver.close()

"""The dispatcher under random orders of events, and each of its rules by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames import answered, asleep_in, chain_problem, dispatcher_for, planned, random_needs
from leo_runtime.dispatch import Dispatcher
from leo_runtime.events import (
    Arrived,
    CancelStage,
    Event,
    FrameAdmitted,
    FrameDone,
    Instruction,
    ProcessorFound,
    ProcessorLost,
    Remind,
    ResourceWoken,
    RunStage,
    SendEnded,
    SendOutput,
    StageEnded,
    StageFailed,
    TimePassed,
    Wake,
)
from leo_runtime.plan import Needs, Plan, make_plan
from leo_runtime.problem import AccuracyBudget


@dataclass
class Shaker:
    """A driver that answers instructions in random order, and keeps books of its own."""

    dispatcher: Dispatcher
    rng: Random
    closed: frozenset[str] = frozenset()
    fails: frozenset[str] = frozenset()
    nothing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """For whom a stage computes nothing."""
    now_us: int = 0
    pending: list[Event] = field(default_factory=list)
    busy: dict[tuple[str, int], tuple[int, str, int]] = field(default_factory=dict)
    there: set[tuple[int, str, str]] = field(default_factory=set)
    """(frame, stage, resource): where outputs are."""
    done: dict[int, FrameDone] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)

    def send(self, event: Event) -> None:
        if isinstance(event, FrameAdmitted):
            self.plans[event.frame] = event.plan
        for order in self.dispatcher.handle(event):
            self.obey(order)
        assert self.dispatcher.broken_invariants() == ()

    def obey(self, order: Instruction) -> None:
        match order:
            case RunStage():
                lane = (order.resource, order.lane)
                assert lane not in self.busy, "two stages on one lane"
                self.busy[lane] = (order.frame, order.stage, order.attempt)
                self.see_inputs(order)
                if order.stage in self.fails and order.attempt == 0:
                    self.pending.append(StageFailed(0, order.frame, order.stage, order.attempt, "broken"))
                else:
                    opened = order.stage not in self.closed
                    nothing = self.nothing.get(order.stage, frozenset())
                    self.pending.append(
                        StageEnded(0, order.frame, order.stage, order.attempt, opened, absent_for=nothing)
                    )
            case SendOutput():
                assert (order.frame, order.stage, order.source) in self.there, "sent before it was computed"
                if order.resource is not None and order.lane is not None and order.sending_us > 0:
                    assert (order.resource, order.lane) not in self.busy, "two transfers on one lane"
                    self.busy[order.resource, order.lane] = (order.frame, f"{order.stage}->{order.target}", 0)
                self.pending.append(SendEnded(0, order.frame, order.stage, order.target))
            case Wake():
                self.pending.append(ResourceWoken(0, order.resource))
            case Remind():
                self.pending.append(TimePassed(order.at_us))
            case CancelStage():
                self.busy.pop((order.resource, order.lane))
            case FrameDone():
                assert order.frame not in self.done, "a frame ended twice"
                self.done[order.frame] = order

    def see_inputs(self, order: RunStage) -> None:
        needs = self.plans[order.frame].stages[order.stage].needs
        reads = [
            (order.frame, name, order.resource) in self.there and order.stage not in self.nothing.get(name, ())
            for name in needs.reads
        ]
        assert all(reads) or (needs.takes_absent and any(reads)), "started before its inputs were there"
        if needs.gates:
            assert any((order.frame, name, order.resource) in self.there for name in needs.gates)
            assert any(name not in self.closed for name in needs.gates), "started behind closed gates"

    def step(self) -> None:
        """One of the things under way happens."""
        event = self.pending.pop(self.rng.randrange(len(self.pending)))
        self.now_us = max(self.now_us + self.rng.randrange(50), event.at_us)
        event = type(event)(**{**{n: getattr(event, n) for n in event.__slots__}, "at_us": self.now_us})
        if isinstance(event, StageEnded | StageFailed):
            lane = next(
                (lane for lane, what in self.busy.items() if what == (event.frame, event.stage, event.attempt)), None
            )
            if lane is not None:
                del self.busy[lane]
            if isinstance(event, StageEnded) and lane is not None:
                self.there.add((event.frame, event.stage, lane[0]))
        if isinstance(event, SendEnded):
            what = (event.frame, f"{event.stage}->{event.target}", 0)
            self.busy = {lane: job for lane, job in self.busy.items() if job != what}
            self.pending.append(Arrived(0, event.frame, event.stage, event.target))
        if isinstance(event, Arrived):
            self.there.add((event.frame, event.stage, event.target))
        self.send(event)

    def run(self) -> None:
        while self.pending:
            self.step()


def random_nothing(names: list[str], rng: Random) -> dict[str, frozenset[str]]:
    return {name: frozenset(other for other in names if rng.randrange(6) == 0) for name in names if rng.randrange(3)}


def outcomes(done: FrameDone) -> dict[str, str]:
    return {record.stage: record.outcome for record in done.stages}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 4))
def test_random_orders_lose_nothing(seed: int, frames: int) -> None:
    """Frames that overlap, gates that close and stages that fail: every frame ends, every stage once."""
    rng = Random(seed)
    problem, placement = answered(seed, stages=rng.randint(1, 9))
    made = make_plan(problem, placement, random_needs(problem, rng))
    names = [stage.name for stage in problem.stages]
    shaker = Shaker(
        dispatcher_for(problem),
        rng,
        closed=frozenset(name for name in names if rng.randrange(4) == 0),
        fails=frozenset(name for name in names if rng.randrange(5) == 0),
        nothing=random_nothing(names, rng),
    )
    for frame in range(frames):
        shaker.send(FrameAdmitted(shaker.now_us, frame, frame * 100, made, asleep_in(problem)))
        for _ in range(rng.randrange(6)):
            if shaker.pending:
                shaker.step()
        if rng.randrange(4) == 0:
            shaker.send(ProcessorLost(shaker.now_us, rng.choice(problem.resources[:-1] or problem.resources).name))
    shaker.run()
    assert sorted(shaker.done) == list(range(frames))
    for done in shaker.done.values():
        assert set(outcomes(done)) == set(names)
        for record in done.stages:
            assert record.end_us >= record.start_us >= 0
            assert (record.outcome == "failed") == bool(record.error)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_outcomes_do_not_depend_on_the_order(seed: int) -> None:
    rng = Random(seed)
    problem, placement = answered(seed, stages=rng.randint(2, 9))
    made = make_plan(problem, placement, random_needs(problem, rng))
    closed = frozenset(stage.name for stage in problem.stages if rng.randrange(3) == 0)
    nothing = random_nothing([stage.name for stage in problem.stages], rng)
    found = []
    for order in (1, 2):
        shaker = Shaker(dispatcher_for(problem), Random(order), closed=closed, nothing=nothing)
        shaker.send(FrameAdmitted(0, 0, 0, made, asleep_in(problem)))
        shaker.run()
        found.append(outcomes(shaker.done[0]))
    assert found[0] == found[1]


def drive(dispatcher: Dispatcher, made: Plan, **options: object) -> Shaker:
    shaker = Shaker(dispatcher, Random(0), **options)  # type: ignore[arg-type]  # the fields of a Shaker
    shaker.send(FrameAdmitted(0, 0, 0, made))
    shaker.run()
    return shaker


def test_a_closed_gate_cancels_what_hangs_on_it() -> None:
    problem = chain_problem(stages={"sound": (), "gate": ("sound",), "model": ("sound", "gate"), "after": ("model",)})
    made = planned(problem, needs={"model": Needs(("sound",), ("gate",))})
    done = drive(dispatcher_for(problem), made, closed=frozenset({"gate"})).done[0]
    assert outcomes(done) == {"sound": "done", "gate": "done", "model": "cancelled", "after": "cancelled"}


def test_gates_are_alternatives() -> None:
    problem = chain_problem(stages={"one": (), "two": (), "model": ("one", "two")})
    made = planned(problem, needs={"model": Needs((), ("one", "two"))})
    for closed, outcome in (((), "done"), (("one",), "done"), (("two",), "done"), (("one", "two"), "cancelled")):
        done = drive(dispatcher_for(problem), made, closed=frozenset(closed)).done[0]
        assert outcomes(done)["model"] == outcome


def test_absent_inputs_are_taken_as_long_as_one_is_there() -> None:
    graph = {"gate": (), "left": ("gate",), "right": (), "fuse": ("left", "right"), "strict": ("left", "right")}
    problem = chain_problem(stages=graph)
    needs = {"left": Needs((), ("gate",)), "fuse": Needs(("left", "right"), takes_absent=True)}
    done = drive(dispatcher_for(problem), planned(problem, needs=needs), closed=frozenset({"gate"})).done[0]
    assert outcomes(done)["left"] == "cancelled"
    assert outcomes(done)["fuse"] == "done"
    assert outcomes(done)["strict"] == "cancelled"


def test_what_computes_nothing_for_a_reader_cancels_it() -> None:
    problem = chain_problem(stages={"all": (), "one": ("all",), "two": ("all",), "after": ("two",)})
    done = drive(dispatcher_for(problem), planned(problem), nothing={"all": frozenset({"two"})}).done[0]
    assert outcomes(done) == {"all": "done", "one": "done", "two": "cancelled", "after": "cancelled"}


def test_a_failed_stage_runs_once_more_elsewhere() -> None:
    problem = chain_problem()
    done = drive(dispatcher_for(problem), planned(problem), fails=frozenset({"second"})).done[0]
    tries = [record for record in done.stages if record.stage == "second"]
    assert [record.outcome for record in tries] == ["failed", "done"]
    assert [record.resource for record in tries] == ["a", "b"], "the fastest other processor"
    assert tries[0].error == "broken"
    assert {(send.stage, send.target) for send in done.sends} == {("first", "b"), ("second", "a")}
    assert outcomes(done)["third"] == "done"


def test_a_stage_that_fails_twice_fails_what_depends_on_it() -> None:
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    shaker = Shaker(dispatcher, Random(0))
    shaker.send(FrameAdmitted(0, 0, 0, planned(problem)))
    for attempt in (0, 1):
        shaker.pending = [StageFailed(0, 0, "first", attempt, "broken")]
        shaker.step()
    assert outcomes(shaker.done[0]) == {"first": "failed", "second": "failed", "third": "failed"}
    assert [r.error for r in shaker.done[0].stages if r.stage == "second"] == ["its input first failed"]


def test_a_lost_processor_gives_its_work_away() -> None:
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    shaker = Shaker(dispatcher, Random(0))
    shaker.send(FrameAdmitted(0, 0, 0, planned(problem)))
    shaker.send(ProcessorLost(5, "a", "it hangs"))
    shaker.run()
    done = shaker.done[0]
    assert [r.resource for r in done.stages if r.outcome == "done"] == ["b", "b", "b"]
    assert done.stages[0].error == "processor `a` was lost (it hangs)"
    assert dispatcher.lost == {"a"}
    shaker.send(FrameAdmitted(100, 1, 100, planned(problem)))
    shaker.run()
    assert {r.resource for r in shaker.done[1].stages} == {"b"}
    shaker.send(ProcessorFound(200, "a"))
    shaker.send(FrameAdmitted(200, 2, 200, planned(problem)))
    shaker.run()
    assert {r.resource for r in shaker.done[2].stages} == {"a"}


def test_what_a_lost_processor_still_says_is_ignored() -> None:
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))
    dispatcher.handle(ProcessorLost(5, "a"))
    assert dispatcher.handle(StageEnded(6, 0, "first", 0)) == ()
    (order,) = dispatcher.handle(StageEnded(7, 0, "first", 1))
    assert isinstance(order, RunStage)
    assert (order.stage, order.resource) == ("second", "b")


def test_a_stage_moves_only_where_memory_and_accuracy_allow() -> None:
    problem = chain_problem(stages={"alone": ()})
    (stage,) = problem.stages
    a, b, c = stage.modes
    large = b.model_copy(update={"memory_bytes": 9})
    rough = b.model_copy(update={"accuracy_loss_ppm": 9})
    small = tuple(r.model_copy(update={"memory_bytes": 8}) for r in problem.resources)
    budget = (AccuracyBudget(stages=("alone",), loss_ppm_max=8),)
    for mode, changes in ((large, {"resources": small}), (rough, {"accuracy_budgets": budget}), (b, {})):
        stages = (stage.model_copy(update={"modes": (a, mode, c)}),)
        changed = problem.model_copy(update={"stages": stages, **changes})
        done = drive(dispatcher_for(changed), planned(changed), fails=frozenset({"alone"})).done[0]
        assert [r.resource for r in done.stages] == ["a", "b" if mode is b else "c"]


def test_nobody_is_left_to_run_it() -> None:
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    shaker = Shaker(dispatcher, Random(0))
    for resource in ("a", "b", "c"):
        shaker.send(ProcessorLost(0, resource))
    shaker.send(FrameAdmitted(0, 0, 0, planned(problem)))
    assert set(outcomes(shaker.done[0]).values()) == {"failed"}


def test_a_lane_never_takes_a_later_stage_first() -> None:
    """Two frames planned for the same lane: the second waits although its stage could start."""
    problem = chain_problem(stages={"alone": ()})
    dispatcher = dispatcher_for(problem)
    made = planned(problem)
    (first,) = dispatcher.handle(FrameAdmitted(0, 0, 0, made))
    assert isinstance(first, RunStage)
    assert dispatcher.handle(FrameAdmitted(1, 1, 1, made)) == ()
    assert dispatcher.lanes_ready_us("a", 5) == (20,)
    assert dispatcher.lanes_ready_us("b", 5) == (5,)
    done, second = dispatcher.handle(StageEnded(12, 0, "alone", 0))
    assert isinstance(done, FrameDone)
    assert isinstance(second, RunStage)
    assert second.frame == 1


def test_a_frame_too_late_to_be_of_use_is_skipped() -> None:
    problem = chain_problem(stages={"alone": ()})
    dispatcher = dispatcher_for(problem)
    made = planned(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, made))
    dispatcher.handle(FrameAdmitted(0, 1, 0, made, give_up_us=40))
    dispatcher.handle(FrameAdmitted(0, 2, 0, made, give_up_us=60))
    first, skipped, third = dispatcher.handle(StageEnded(50, 0, "alone", 0))
    assert isinstance(first, FrameDone)
    assert isinstance(skipped, FrameDone)
    assert skipped.skipped
    assert skipped.stages[0].error.startswith("skipped")
    assert isinstance(third, RunStage)
    assert third.frame == 2


def test_a_sleeping_processor_is_woken_and_waited_for() -> None:
    problem = chain_problem(stages={"alone": ()})
    dispatcher = dispatcher_for(problem)
    (wake,) = dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem), ("a", "b")))
    assert wake == Wake(0, "a", 0)
    (run,) = dispatcher.handle(ResourceWoken(30, "a"))
    assert isinstance(run, RunStage)


def test_the_story_of_a_frame_is_its_events_and_instructions() -> None:
    problem = chain_problem(stages={"alone": ()})
    shaker = drive(dispatcher_for(problem), planned(problem))
    kinds = [type(item).__name__ for _, item in shaker.dispatcher.story(0)]
    assert kinds == ["FrameAdmitted", "RunStage", "StageEnded", "FrameDone"]
    assert shaker.dispatcher.story(7) == ()


def test_a_frame_cannot_be_admitted_twice() -> None:
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))
    with pytest.raises(ValueError, match="frame 0 is in flight"):
        dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))

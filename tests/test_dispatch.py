"""The dispatcher under random orders of events, and each of its rules by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frames import answered, asleep_in, chain_problem, dispatcher_for, planned, random_needs
from interpreted import COMPILED, SOURCES, interpreted, interpreted_dispatcher
from leo_runtime.dispatch import inflight
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Computed
from leo_runtime.dispatch.events import (
    Arrived,
    CancelStage,
    Event,
    FrameAdmitted,
    FrameDone,
    FrameDropped,
    Hold,
    Instruction,
    LinkLost,
    ProcessorFound,
    ProcessorLost,
    Release,
    Remind,
    ResourceWoken,
    RunReport,
    RunStage,
    SendEnded,
    SendFailed,
    SendOutput,
    StageEnded,
    StageFailed,
    TimePassed,
    Wake,
)
from leo_runtime.dispatch.inflight import SUSPECT_FACTOR, SUSPECT_LEAST_US
from leo_runtime.dispatch.plan import Needs, Plan, Wait, make_plan
from leo_runtime.dispatch.simulator import Simulator, seeded_noise
from leo_runtime.dispatch.window_plan import make_window_plan
from leo_runtime.documents.problem import AccuracyBudget, Problem, Resource
from leo_runtime.documents.window import WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.solver.window import solve_window
from leo_runtime.testing.playing import window_dispatcher, without_lists
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window


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
    given_up: set[tuple[int, str, int]] = field(default_factory=set)
    """Runs that still occupy their lanes, and whose outputs are nobody's."""
    there: set[tuple[int, str, str]] = field(default_factory=set)
    """(frame, stage, resource): where outputs are."""
    done: dict[int, FrameDone] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    under_way: dict[tuple[int, int], SendOutput] = field(default_factory=dict)
    """Transfers that have not arrived, and are not lost, by frame and number."""
    twin: Dispatcher | None = None
    """One that is interpreted and looks at every lane after every event, and is to say the same."""

    def send(self, event: Event) -> None:
        if isinstance(event, FrameAdmitted):
            self.plans[event.frame] = event.plan
        orders = self.dispatcher.handle(event)
        if self.twin is not None:
            self.twin._everywhere = True
            assert self.twin.handle(event) == orders
        for order in orders:
            self.obey(order)
        broken = self.dispatcher.broken_invariants()
        assert broken == (), broken

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
                        StageEnded(0, order.frame, order.stage, order.attempt, RunReport(opened, nothing))
                    )
            case SendOutput():
                assert (order.frame, order.stage, order.source) in self.there, "sent before it was computed"
                if order.resource is not None and order.lane is not None and order.sending_us > 0:
                    assert (order.resource, order.lane) not in self.busy, "two transfers on one lane"
                    what = (order.frame, f"{order.stage}->{order.target}", order.number)
                    self.busy[order.resource, order.lane] = what
                self.under_way[order.frame, order.number] = order
                self.pending.append(SendEnded(0, order.frame, order.stage, order.target, order.number))
            case Wake():
                self.pending.append(ResourceWoken(0, order.resource))
            case Hold():
                assert order.resource not in self.held, "held twice"
                self.held.add(order.resource)
            case Release():
                self.held.remove(order.resource)
            case Remind():
                self.pending.append(TimePassed(order.at_us))
            case CancelStage():
                self.given_up.add((order.frame, order.stage, order.attempt))
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
            stale = (event.frame, event.stage, event.attempt) in self.given_up
            assert stale != self.dispatcher.is_running(event.frame, event.stage, event.attempt)
            if isinstance(event, StageEnded) and lane is not None and not stale:
                self.there.add((event.frame, event.stage, lane[0]))
        if isinstance(event, SendEnded):
            what = (event.frame, f"{event.stage}->{event.target}", event.number or 0)
            self.busy = {lane: job for lane, job in self.busy.items() if job != what}
            self.pending.append(Arrived(0, event.frame, event.stage, event.target, event.number))
        if isinstance(event, Arrived) and self.under_way.pop((event.frame, event.number or 0), None) is not None:
            self.there.add((event.frame, event.stage, event.target))
        self.send(event)

    def lose(self, event: LinkLost | ProcessorLost) -> None:
        """A link falls, or a server dies: what is under way there is lost, and what is there."""
        gone = [event.resource] if isinstance(event, ProcessorLost) else []
        for key, order in list(self.under_way.items()):
            ends = (order.source, order.target)
            fell = isinstance(event, LinkLost) and ends == (event.source, event.target)
            if fell or not set(gone).isdisjoint(ends):
                del self.under_way[key]
        self.there = {one for one in self.there if one[2] not in gone}
        self.send(event)

    def break_off(self, order: SendOutput) -> None:
        """A transfer fails by itself."""
        del self.under_way[order.frame, order.number]
        what = (order.frame, f"{order.stage}->{order.target}", order.number)
        self.busy = {lane: job for lane, job in self.busy.items() if job != what}
        self.send(SendFailed(self.now_us, order.frame, order.stage, order.target, "reset by peer", order.number))

    def run(self) -> None:
        while self.pending:
            self.step()


def test_the_interpreted_one_is_made_of_nothing_that_is_compiled() -> None:
    for source in SOURCES:
        assert str(interpreted(source).__file__).endswith(f"{source}.py")
    inflight, power = interpreted("inflight"), interpreted("power")
    assert interpreted("dispatcher").Stage is inflight.Stage
    assert power.FrameSpan is inflight.FrameSpan
    assert interpreted("dispatcher").Power is power.Power


@pytest.mark.skipif(not COMPILED, reason="dispatch is not compiled here")
def test_types_are_declared_in_the_order_of_the_fields() -> None:
    """What makes a compiled one takes its fields in the order of the types beside the source."""
    for name in ("Stage", "Send", "FrameSpan", "Supply", "GivenUp", "Lane"):
        compiled, plain = ([f.name for f in fields(getattr(m, name))] for m in (inflight, interpreted("inflight")))
        assert compiled == plain, name


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
    dispatcher = dispatcher_for(problem)
    shaker = Shaker(
        dispatcher,
        rng,
        closed=frozenset(name for name in names if rng.randrange(4) == 0),
        fails=frozenset(name for name in names if rng.randrange(5) == 0),
        nothing=random_nothing(names, rng),
        twin=dispatcher_for(problem, kind=interpreted_dispatcher()),
    )
    for frame in range(frames):
        give_up_us = frame * 100 + rng.randrange(200) if rng.randrange(4) == 0 else None
        shaker.send(FrameAdmitted(shaker.now_us, frame, frame * 100, made, asleep_in(problem), give_up_us))
        for _ in range(rng.randrange(6)):
            if shaker.pending:
                shaker.step()
        if rng.randrange(4) == 0:
            shaker.send(ProcessorLost(shaker.now_us, rng.choice(problem.resources[:-1] or problem.resources).name))
        if rng.randrange(4) == 0 and dispatcher.lost:
            shaker.send(ProcessorFound(shaker.now_us, rng.choice(sorted(dispatcher.lost))))
        if rng.randrange(6) == 0:
            shaker.send(FrameDropped(shaker.now_us, rng.randrange(frames), "enough"))
    shaker.run()
    assert sorted(shaker.done) == list(range(frames))
    for done in shaker.done.values():
        assert set(outcomes(done)) == set(names)
        for record in done.stages:
            assert record.end_us >= record.start_us >= 0
            assert (record.outcome == "failed") == bool(record.error)


@settings(max_examples=60, deadline=None)
@example(seed=216, frames=4)  # A transfer that a second plan added began when its frame had ended, and held its radio.
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 4))
def test_random_orders_of_windows_lose_nothing(seed: int, frames: int) -> None:
    """Spans, lists and holds as well, frames that are placed again, and parts of a window that are forecast."""
    rng = Random(seed)
    problem = sensing_window(seed, stages=rng.randint(4, 9))
    answer = solve_window(problem, "exact", limit_nodes=300)
    names = [stage.name for stage in problem.stages]
    first = [stage.name for stage in problem.stages if stage.release_us == 0]
    whole = make_window_plan(problem, answer)
    part = make_window_plan(problem, answer, at_hand=first) if rng.randrange(2) else whole
    dispatcher = window_dispatcher(problem)
    shaker = Shaker(
        dispatcher,
        rng,
        closed=frozenset(name for name in names if rng.randrange(4) == 0),
        fails=frozenset(name for name in names if rng.randrange(5) == 0),
        twin=window_dispatcher(problem, interpreted_dispatcher()),
    )
    asleep = tuple(r.name for r in problem.resources if not r.awake)
    for frame in range(frames):
        again: tuple[tuple[int, Plan], ...] = ()
        if frame and rng.randrange(2):
            later = make_window_plan(problem, without_lists(answer), at_hand=list(part.stages), after_us=100)
            again = ((frame - 1, later), (77, later))
        shaker.send(FrameAdmitted(shaker.now_us, frame, frame * 100, part, asleep, again=again))
        for _ in range(rng.randrange(9)):
            if shaker.pending:
                shaker.step()
        if rng.randrange(4) == 0:
            shaker.send(ProcessorLost(shaker.now_us, rng.choice(problem.resources).name))
        if rng.randrange(4) == 0 and dispatcher.lost:
            shaker.send(ProcessorFound(shaker.now_us, rng.choice(sorted(dispatcher.lost))))
        if rng.randrange(6) == 0:
            shaker.send(FrameDropped(shaker.now_us, rng.randrange(frames), "enough"))
    shaker.run()
    assert sorted(shaker.done) == list(range(frames))
    assert not shaker.held
    for done in shaker.done.values():
        assert set(outcomes(done)) == set(part.stages)
        for span in done.spans or ():
            assert span.from_us <= span.until_us


class Twins:
    """A dispatcher, and one that is interpreted and looks at every lane after every event: both are to say the same."""

    def __init__(self, problem: WindowProblem) -> None:
        self.one = window_dispatcher(problem)
        self.other = window_dispatcher(problem, interpreted_dispatcher())

    @property
    def frames(self) -> tuple[int, ...]:
        return self.one.frames

    def is_running(self, frame: int, stage: str, attempt: int) -> bool:
        return self.one.is_running(frame, stage, attempt)

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        self.other._everywhere = True
        orders = self.one.handle(event)
        assert self.other.handle(event) == orders
        return orders


@pytest.mark.parametrize("seed", range(60))
def test_looking_where_something_has_changed_misses_nothing(seed: int) -> None:
    """Windows that overlap, with lists, gates that close, runs that fail and last longer or shorter, and give up."""
    rng = Random(seed)
    if seed % 3:
        problem = sensing_window(seed, stages=rng.randint(4, 9))
    else:
        features = ("gates", "linger", "releases", "wake", "power", "cloud")
        problem = random_window(seed, stages=rng.randint(2, 6), processors=rng.randint(1, 3), features=features)
    try:
        plan = make_window_plan(problem, solve_window(problem, "exact", limit_nodes=300))
    except SolverError:
        return
    closed = {gate for stage in problem.stages for gate in stage.gates if rng.randrange(3) == 0}
    fails = {stage.name for stage in problem.stages if rng.randrange(9) == 0}

    def compute(order: RunStage) -> Computed:
        if order.stage in fails and order.frame % 2:
            raise ValueError("broken")
        return Computed(RunReport(opened=order.stage not in closed))

    simulator = Simulator(
        cast(Dispatcher, Twins(problem)),
        compute=compute,
        noise=seeded_noise(seed, 400_000) if seed % 2 else None,
    )
    asleep = tuple(resource.name for resource in problem.resources if not resource.awake)
    at_us, lasts_us = 0, max(run.end_us for run in plan.placement.stages)
    for frame in range(5):
        simulator.reach(at_us)
        simulator.post(FrameAdmitted(at_us, frame, at_us, plan, asleep, at_us + lasts_us // 2 if frame % 2 else None))
        at_us += rng.randrange(2 * lasts_us // 3 + 1)
    simulator.drain()
    assert len(simulator.finished()) == 5


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


def placed_on(problem: Problem, **resources: str) -> Problem:
    """The problem with modes of its stages on these resources alone."""
    stages = (
        stage.model_copy(update={"modes": tuple(m for m in stage.modes if m.resource == resources[stage.name])})
        for stage in problem.stages
    )
    return problem.model_copy(update={"stages": tuple(stages)})


def test_what_an_absent_input_lets_start_starts_at_once_on_whichever_lane() -> None:
    """Its lane has nothing to do with the gate's."""
    graph = {"gate": (), "left": ("gate",), "right": (), "fuse": ("left", "right")}
    problem = placed_on(chain_problem(stages=graph), gate="a", left="b", right="c", fuse="c")
    needs = {"left": Needs((), ("gate",)), "fuse": Needs(("left", "right"), takes_absent=True)}
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem, needs=needs)))
    assert dispatcher.handle(StageEnded(5, 0, "right", 0)) == ()
    (order,) = dispatcher.handle(StageEnded(10, 0, "gate", 0, RunReport(opened=False)))
    assert isinstance(order, RunStage)
    assert order.stage == "fuse"


def test_a_transfer_is_sent_when_the_gate_it_waits_for_opens_on_whichever_lane() -> None:
    problem = placed_on(chain_problem(stages={"gate": (), "made": (), "used": ("made",)}), gate="a", made="b", used="c")
    links = tuple(link.model_copy(update={"bytes_per_s": 100_000, "resource": "radio"}) for link in problem.links)
    problem = problem.model_copy(update={"resources": (*problem.resources, Resource(name="radio")), "links": links})
    made = planned(problem)
    sends = tuple(replace(send, wait=Wait(("gate",), 1_000, None)) for send in made.sends)
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, replace(made, sends=sends)))
    assert dispatcher.handle(StageEnded(5, 0, "made", 0)) == ()
    (order,) = dispatcher.handle(StageEnded(10, 0, "gate", 0))
    assert isinstance(order, SendOutput)


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


def test_the_history_of_a_frame_is_its_events_and_instructions() -> None:
    problem = chain_problem(stages={"alone": ()})
    shaker = drive(dispatcher_for(problem), planned(problem))
    kinds = [type(item).__name__ for _, item in shaker.dispatcher.history(0)]
    assert kinds == ["FrameAdmitted", "RunStage", "StageEnded", "FrameDone"]
    assert shaker.dispatcher.history(7) == ()


def test_a_frame_cannot_be_admitted_twice() -> None:
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))
    with pytest.raises(ValueError, match="frame 0 is in flight"):
        dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))


def test_a_run_that_was_given_up_occupies_its_lane_until_it_ends() -> None:
    problem = chain_problem(stages={"alone": ()})
    dispatcher = dispatcher_for(problem)
    made = planned(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, made))
    dispatcher.handle(ProcessorLost(4, "a"))
    dispatcher.handle(StageEnded(8, 0, "alone", 1))
    dispatcher.handle(ProcessorFound(8, "a"))
    assert dispatcher.frames == ()
    assert dispatcher.in_use("a")
    assert dispatcher.lanes_ready_us("a", 8) == (10,)
    assert dispatcher.lanes_ready_us("a", 30) == (50,)
    assert dispatcher.handle(FrameAdmitted(30, 1, 30, made)) == ()
    (order,) = dispatcher.handle(StageEnded(35, 0, "alone", 0))
    assert isinstance(order, RunStage)
    assert (order.frame, order.resource) == (1, "a")
    assert dispatcher.broken_invariants() == ()


def test_a_late_run_is_expected_to_be_late_again_as_long_and_is_suspect_in_the_end() -> None:
    problem = chain_problem(stages={"alone": ()})
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))
    assert [dispatcher.lanes_ready_us("a", now_us) for now_us in (9, 10, 11, 30)] == [(10,), (11,), (12,), (50,)]
    late_us = max(SUSPECT_LEAST_US, SUSPECT_FACTOR * 10)
    assert dispatcher.suspects(10 + late_us) == ()
    assert dispatcher.suspects(11 + late_us) == ("a",)
    dispatcher.handle(StageEnded(11 + late_us, 0, "alone", 0))
    assert dispatcher.suspects(11 + late_us) == ()


def test_a_stage_moves_to_what_hangs_only_where_there_is_nothing_else() -> None:
    problem = chain_problem(stages={"alone": ()})
    (stage,) = problem.stages
    a, b, c = stage.modes
    only_b = problem.model_copy(update={"stages": (stage.model_copy(update={"modes": (b,)}),)})
    for others, moves_to in (((a, b, c), "c"), ((a, b), "b")):
        changed = problem.model_copy(update={"stages": (stage.model_copy(update={"modes": others}),)})
        dispatcher = dispatcher_for(problem)
        dispatcher.handle(FrameAdmitted(0, 0, 0, planned(only_b)))  # Never ends.
        dispatcher.handle(FrameAdmitted(500_000, 1, 500_000, planned(changed)))
        dispatcher.handle(StageFailed(500_001, 1, "alone", 0, "broken"))
        moved = [type(job).__name__ for job in dispatcher.handle(FrameDropped(500_002, 0, "enough"))]
        assert moved == ["CancelStage", "FrameDone"]
        assert dispatcher.is_running(1, "alone", 1) == (moves_to == "c")


def test_a_dropped_frame_ends_with_what_it_has() -> None:
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))
    dispatcher.handle(StageEnded(10, 0, "first", 0))
    cancel, done = dispatcher.handle(FrameDropped(15, 0, "enough"))
    assert cancel == CancelStage(0, "second", "a", 0, 0)
    assert isinstance(done, FrameDone)
    assert [(r.outcome, r.error, r.end_us) for r in done.stages] == [
        ("done", "", 10),
        ("failed", "enough", 15),
        ("failed", "enough", 15),
    ]
    assert dispatcher.handle(FrameDropped(16, 0, "enough")) == ()
    assert dispatcher.broken_invariants() == ()


def two_frames() -> Dispatcher:
    """Frame 0 runs `first` on `a`, and `second` waits for it; frame 1 waits as a whole."""
    problem = chain_problem()
    dispatcher = dispatcher_for(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, planned(problem)))
    dispatcher.handle(FrameAdmitted(0, 1, 0, planned(problem)))
    assert dispatcher.broken_invariants() == ()
    return dispatcher


def lane_a(dispatcher: Dispatcher) -> Any:
    return dispatcher._lanes["a"][0]


def stage_of(dispatcher: Dispatcher, name: str) -> Any:
    return dispatcher._frames[0].stages[name]


def turn_the_queue_round(dispatcher: Dispatcher) -> None:
    lane_a(dispatcher).queue.reverse()


def leave_what_is_over_in_the_queue(dispatcher: Dispatcher) -> None:
    stage_of(dispatcher, "second").state = "cancelled"


def keep_the_lane_after_the_end(dispatcher: Dispatcher) -> None:
    stage_of(dispatcher, "first").state = "done"


def run_beside_what_was_given_up(dispatcher: Dispatcher) -> None:
    first = stage_of(dispatcher, "first")
    dispatcher._give_up(first)
    lane_a(dispatcher).busy = first


def forget_one_end(dispatcher: Dispatcher) -> None:
    dispatcher._frames[0].open -= 1


def drop_from_the_queue(dispatcher: Dispatcher) -> None:
    lane_a(dispatcher).remove(stage_of(dispatcher, "second"))


def run_where_something_else_runs(dispatcher: Dispatcher) -> None:
    stage_of(dispatcher, "second").state = "running"


def start_before_the_inputs(dispatcher: Dispatcher) -> None:
    lane_a(dispatcher).remove(stage_of(dispatcher, "second"))
    stage_of(dispatcher, "second").state = "done"


def wait_elsewhere_for_what_nobody_sends(dispatcher: Dispatcher) -> None:
    second = stage_of(dispatcher, "second")
    dispatcher._unqueue(second)
    second.resource = "b"
    dispatcher._queue(second)


def leave_the_span(dispatcher: Dispatcher) -> None:
    stage_of(dispatcher, "second").span = None


def start_before_the_span(dispatcher: Dispatcher) -> None:
    stage_of(dispatcher, "first").span.is_open = False


def forget_a_use(dispatcher: Dispatcher) -> None:
    stage_of(dispatcher, "second").span.jobs.popitem()


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (turn_the_queue_round, "the queue of a[0] is out of order"),
        (leave_what_is_over_in_the_queue, "a[0] has something queued that is cancelled"),
        (keep_the_lane_after_the_end, "a[0] is busy with something that is done"),
        (run_beside_what_was_given_up, "a[0] does something beside what was given up and has not ended"),
        (forget_one_end, "frame 0 has miscounted what is left of it"),
        (drop_from_the_queue, "stage second of frame 0 waits and is in no queue"),
        (run_where_something_else_runs, "stage second of frame 0 runs on a lane that does something else"),
        (start_before_the_inputs, "stage second of frame 0 started before its inputs were there"),
        (wait_elsewhere_for_what_nobody_sends, "stage second of frame 0 waits for first, which nobody sends"),
        (leave_the_span, "('second', None) of frame 0 lies in no span of a"),
        (start_before_the_span, "('first', None) of frame 0 started before its span"),
        (forget_a_use, "the spans of frame 0 have something in them that is over"),
    ],
)
def test_a_dispatcher_that_was_broken_says_what_is_wrong(break_it: Callable[[Dispatcher], None], says: str) -> None:
    dispatcher = two_frames()
    break_it(dispatcher)
    assert says in dispatcher.broken_invariants()


def test_a_transfer_of_a_dropped_frame_occupies_its_radio_until_it_is_sent() -> None:
    problem = chain_problem(stages={"first": (), "second": ("first",)})
    radio = Resource(name="radio")
    links = tuple(link.model_copy(update={"bytes_per_s": 100_000, "resource": "radio"}) for link in problem.links)
    first, second = problem.stages
    apart = (
        first.model_copy(update={"modes": first.modes[:1]}),
        second.model_copy(update={"modes": second.modes[1:2]}),
    )
    problem = problem.model_copy(update={"resources": (*problem.resources, radio), "links": links, "stages": apart})
    dispatcher = dispatcher_for(problem)
    made = planned(problem)
    for frame in (0, 1):
        dispatcher.handle(FrameAdmitted(0, frame, 0, made))
    sends = [job for job in dispatcher.handle(StageEnded(10, 0, "first", 0)) if isinstance(job, SendOutput)]
    assert [(send.frame, send.sending_us) for send in sends] == [(0, 80)]
    dispatcher.handle(FrameDropped(11, 0, "enough"))
    assert dispatcher.lanes_ready_us("radio", 11)[0] >= 90
    assert dispatcher.handle(StageEnded(20, 1, "first", 0)) == ()
    (send,) = dispatcher.handle(SendEnded(90, 0, "first", "b"))
    assert isinstance(send, SendOutput)
    assert send.frame == 1
    assert dispatcher.handle(Arrived(95, 0, "first", "b")) == ()

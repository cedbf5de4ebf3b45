"""Policies that decide as stages become ready: what they are told, that only what is legal starts, Band's four."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_workloads import profile_of
from frames import asleep_in, chain_problem, lanes_of, random_needs
from interpreted import interpreted_dispatcher
from leo_runtime import GiveUp, Hardware, Moment, Runtime, Start, Workload, check, event_driven, run_ledger
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import FrameAdmitted, FrameDone, FrameDropped, ProcessorFound, ProcessorLost
from leo_runtime.dispatch.open_plan import as_run, open_plan
from leo_runtime.dispatch.plan import Plan
from leo_runtime.dispatch.simulator import Simulator
from leo_runtime.documents.problem import Deadline, Mode, Problem, Resource, StageModes
from leo_runtime.errors import InputError, SolverError
from leo_runtime.frame.event_driven import WRONG, Decide, EventPolicy, Option, Ready
from leo_runtime.solver import EVENT_DRIVEN, solve
from leo_runtime.solver.event_policies import EVENT_POLICIES, event_heft, least_slack, round_robin
from leo_runtime.solver.event_policies import shortest_expected_latency as shortest
from leo_runtime.testing import FEATURES, random_problem
from test_dispatch import Shaker, random_nothing
from test_runtime import LOUD, bench, fake_backends, loud_graph, profile, workload


def policy_of(decide: Decide, name: str = "own") -> EventPolicy:
    return EventPolicy(name, lambda: decide)


def opened(problem: Problem, **more: Any) -> Plan:
    """Who lingers does so for ever: what sleeps is then said by the frame alone."""
    return open_plan(problem, "own", {resource.name: None for resource in problem.resources}, **more)


def drawn(seed: int, gives_up: int = 0, waits: int = 4, wrong: int = 0) -> Decide:
    """Decides at random; one time in so many it gives up, waits, or does something wrong (0: never)."""
    rng = Random(seed)

    def one_in(times: int) -> bool:
        return times > 0 and rng.randrange(times) == 0

    def decide(now: Moment) -> Any:
        stage = rng.choice(now.ready)
        option = rng.choice(stage.options)
        if one_in(waits):
            return None
        if one_in(gives_up):
            return GiveUp(stage)
        if one_in(wrong):
            elsewhere = Option(option.mode, 99, 1, 0, 0)
            return rng.choice([Start(stage, elsewhere), stage, Start(_other(stage), option)])
        lane = rng.randrange(len(now.free_us[option.resource]))
        return Start(stage, Option(option.mode, lane, option.expected_us, option.free_us, option.start_us))

    return decide


def made_up(what: Any, **changes: Any) -> Any:
    """The same but for that, whatever it is."""
    return replace(what, **changes)


def _other(stage: Ready) -> Ready:
    return Ready(99, "nothing", 0, 0, None, None, 0, stage.options)


def played(problem: Problem, plan: Plan, policy: EventPolicy, **more: Any) -> FrameDone:
    """One frame alone, in virtual time."""
    ready = {r.name: r.ready_us for r in problem.resources if r.ready_us}
    simulator = Simulator(Dispatcher(lanes_of(problem), ready_us=ready, policy=policy), **more)
    simulator.post(FrameAdmitted(0, 0, 0, plan, asleep_in(problem)))
    assert simulator.drain()
    return simulator.finished()[0]


def outcomes(done: FrameDone) -> dict[str, str]:
    return {run.stage: run.outcome for run in done.stages}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 4))
def test_random_decisions_in_random_orders_lose_nothing(seed: int, frames: int) -> None:
    """Gates that close, stages that fail, processors that vanish, a policy that waits, gives up and errs."""
    rng = Random(seed)
    problem = random_problem(rng, stages=rng.randint(1, 8), features=[f for f in FEATURES if rng.randrange(3) == 0])
    made = open_plan(
        problem,
        "own",
        {resource.name: rng.choice([None, 0, 40]) for resource in problem.resources},
        random_needs(problem, rng),
    )
    names = [stage.name for stage in problem.stages]

    def dispatcher(kind: type[Dispatcher]) -> Dispatcher:
        ready = {r.name: r.ready_us for r in problem.resources if r.ready_us}
        return kind(lanes_of(problem), ready_us=ready, policy=policy_of(drawn(seed, gives_up=30, wrong=30)))

    one = dispatcher(Dispatcher)
    shaker = Shaker(
        one,
        rng,
        closed=frozenset(name for name in names if rng.randrange(4) == 0),
        fails=frozenset(name for name in names if rng.randrange(5) == 0),
        nothing=random_nothing(names, rng),
        twin=dispatcher(interpreted_dispatcher()),
    )
    for frame in range(frames):
        give_up_us = frame * 100 + rng.randrange(200) if rng.randrange(4) == 0 else None
        shaker.send(FrameAdmitted(shaker.now_us, frame, frame * 100, made, asleep_in(problem), give_up_us))
        for _ in range(rng.randrange(6)):
            if shaker.pending:
                shaker.step()
        if rng.randrange(4) == 0:
            shaker.send(ProcessorLost(shaker.now_us, rng.choice(problem.resources[:-1] or problem.resources).name))
        if rng.randrange(4) == 0 and one.lost:
            shaker.send(ProcessorFound(shaker.now_us, rng.choice(sorted(one.lost))))
        if rng.randrange(6) == 0:
            shaker.send(FrameDropped(shaker.now_us, rng.randrange(frames), "enough"))
    shaker.run()
    assert sorted(shaker.done) == list(range(frames))
    for done in shaker.done.values():
        assert set(outcomes(done)) == set(names)
        for record in done.stages:
            assert (record.outcome == "failed") == bool(record.error)


DECIDES: dict[str, Callable[[int], EventPolicy]] = {
    "drawn": lambda seed: policy_of(drawn(seed)),
    **{name: lambda _, policy=policy: policy for name, policy in EVENT_POLICIES.items()},
}


@pytest.mark.parametrize("policy", DECIDES)
def test_what_ran_keeps_the_rules_by_the_judge(policy: str) -> None:
    """Links, lanes, radios, waking, memory and budgets: the schedule that was run answers the frame's question."""
    whole = 0
    for seed in range(60):
        rng = Random(seed)
        features = [feature for feature in FEATURES if feature != "limit" and rng.randrange(2)]
        problem = random_problem(rng, stages=rng.randint(2, 7), features=features)
        done = played(problem, opened(problem), DECIDES[policy](seed))
        if set(outcomes(done).values()) != {"done"}:
            continue  # A choice left no way to go on, or it could not be in time.
        whole += 1
        report = check(problem, as_run(opened(problem).placement, done, 0))
        assert report.violations == ()
    assert whole >= 15


def test_names_of_policies_are_known_without_them() -> None:
    assert tuple(EVENT_POLICIES) == EVENT_DRIVEN
    with pytest.raises(SolverError, match="event-driven policy, which decides as a run goes on"):
        solve(chain_problem(), "least-slack")


# What a policy is told.


def test_a_policy_is_told_what_is_ready_and_how_it_could_run() -> None:
    problem = chain_problem(stages={"first": (), "second": ("first",), "other": ()}).model_copy(
        update={"deadlines": (Deadline(stage="second", deadline_us=100),)}
    )
    told: list[Moment] = []

    def decide(now: Moment) -> Start:
        told.append(now)
        stage = now.ready[0]
        return Start(stage, next(option for option in stage.options if option.resource == "b"))

    done = played(problem, opened(problem), policy_of(decide))
    assert [[stage.stage for stage in now.ready] for now in told] == [["first", "other"], ["other"], ["second"]]
    first, other = told[0].ready
    assert (first.due_us, first.end_by_us, first.after_us) == (100, 90, 10)  # `second` takes 10 us on `a`.
    assert (other.due_us, other.end_by_us, other.after_us) == (None, None, 0)
    assert [(option.resource, option.end_us) for option in first.options] == [("a", 10), ("b", 20), ("c", 30)]
    assert told[1].free_us == {"a": (0,), "b": (20,), "c": (0,)}
    second = told[2].ready[0]
    assert (told[2].time_us, second.ready_us) == (20, 20)
    # `other` runs on `b` until 40; on `a` and `c` it takes 5 us until what it reads is there.
    assert [(option.start_us, option.end_us) for option in second.options] == [(25, 35), (40, 60), (25, 55)]
    assert {run.stage: (run.start_us, run.end_us) for run in done.stages} == {
        "first": (0, 20),
        "other": (20, 40),
        "second": (40, 60),
    }


def test_lanes_do_what_they_were_given_in_that_order() -> None:
    problem = chain_problem(stages=dict.fromkeys("wxyz", ()))

    def last(now: Moment) -> Start:
        return Start(now.ready[-1], now.ready[-1].options[0])

    starts = {run.stage: run.start_us for run in played(problem, opened(problem), policy_of(last)).stages}
    assert starts == {"z": 0, "y": 10, "x": 20, "w": 30}


def test_expected_durations_follow_what_runs_lasted() -> None:
    problem, seen = chain_problem(stages={"only": ()}), []

    def decide(now: Moment) -> Start:
        seen.append(now.ready[0].options[0].expected_us)
        return Start(now.ready[0], now.ready[0].options[0])

    dispatcher = Dispatcher(lanes_of(problem), policy=EventPolicy("own", lambda: decide, learns_ppm=100_000))
    simulator = Simulator(dispatcher, noise=lambda *_: 110)
    for frame in range(4):
        simulator.post(FrameAdmitted(simulator.clock.now_us(), frame, frame * 200, opened(problem)))
        assert simulator.drain()
    assert seen == [10, 20, 29, 37]


# What goes wrong.


WRONGS: dict[str, tuple[Callable[[Moment], Any], str]] = {
    "raises": (lambda _: 1 // 0, r"raised ZeroDivisionError: .* \(test_event_driven.py:\d+\)"),
    "no answer": (lambda _: "b", "gave a str, which is no Start, no GiveUp and not None"),
    "another stage": (lambda now: GiveUp(_other(now.ready[0])), "decided about `nothing` of frame 99, which is not"),
    "no lane": (
        lambda now: Start(now.ready[0], Option(now.ready[0].options[0].mode, 7, 1, 0, 0)),
        "chose `a`, lane 7, for stage `first` of frame 0, which could run on `a`, `b`, `c`",
    ),
    "no mode": (
        lambda now: Start(now.ready[0], Option(Mode(resource="d", duration_us=1, energy_nj=1), 0, 1, 0, 0)),
        "chose `d`, lane 0, for stage `first` of frame 0",
    ),
    "waits for ever": (lambda _: None, "lets it wait though nothing runs any more"),
    "no whole lane": (
        lambda now: Start(now.ready[0], made_up(now.ready[0].options[0], lane=0.0)),
        "chose `a`, lane 0.0, for stage `first` of frame 0",
    ),
    "no mode at all": (
        lambda now: Start(now.ready[0], made_up(now.ready[0].options[0], mode=None)),
        "chose an Option of no mode for stage `first` of frame 0",
    ),
    "no stage": (
        lambda now: made_up(GiveUp(now.ready[0]), stage=np.zeros(3)),
        "decided about ndarray, which is not among what is ready",
    ),
    "raises when it is compared": (
        lambda now: GiveUp(made_up(now.ready[0], stage=_Unlike())),
        r"raised ValueError: no \(test_event_driven.py:\d+\)",
    ),
    "changes what it was told": (lambda now: made_up(now).free_us.clear(), "raised AttributeError: 'mappingproxy'"),
}


class _Unlike:
    __hash__ = object.__hash__

    def __eq__(self, _: object) -> bool:
        raise ValueError("no")


@pytest.mark.parametrize("start_us", [None, 1.5, -5, 10**30])
def test_what_a_policy_makes_up_about_an_option_does_not_count(start_us: Any) -> None:
    problem = chain_problem()

    def decide(now: Moment) -> Start:
        option = now.ready[0].options[0]
        return Start(now.ready[0], made_up(option, lane=np.int64(0), expected_us=start_us, start_us=start_us))

    assert played(problem, opened(problem), policy_of(decide)) == played(
        problem, opened(problem), policy_of(lambda now: Start(now.ready[0], now.ready[0].options[0]))
    )


def test_a_lane_that_is_not_the_first_free_one_has_its_own_times() -> None:
    problem = chain_problem(lanes=2, stages={"first": (), "second": (), "third": ()})
    done = played(
        problem,
        opened(problem),
        policy_of(lambda now: Start(now.ready[0], replace(now.ready[0].options[0], lane=0))),
    )
    assert [(run.planned_start_us, run.start_us) for run in done.stages] == [(0, 0), (10, 10), (20, 20)]


def test_a_policy_may_be_an_object_or_a_partial_function_and_what_cannot_be_called_is_told() -> None:
    def first(_: str, now: Moment) -> Start:
        return Start(now.ready[0], now.ready[0].options[0])

    problem = chain_problem()
    policy = event_driven(partial(first, "of all"))
    assert policy.name == "partial"
    assert set(outcomes(played(problem, opened(problem), policy)).values()) == {"done"}
    with pytest.raises(InputError, match="is a function of a Moment, got str"):
        event_driven("least-slack")  # type: ignore[arg-type]  # That is what is tested.


def test_a_class_that_cannot_be_made_is_told() -> None:
    class Needs:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __call__(self, now: Moment) -> None:
            """It is never asked."""

    unmade: Any = Needs
    with pytest.raises(SolverError, match=r"Needs` cannot be made for a run: it raised TypeError: .*'factor'") as told:
        Dispatcher({"a": 1}, policy=event_driven(unmade))
    assert told.value.hint == "a class that is decorated is called without arguments"


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_a_policy_does_wrong_fails_its_stage_and_says_so(wrong: str) -> None:
    decide, says = WRONGS[wrong]
    problem = chain_problem()
    done = played(problem, opened(problem), policy_of(decide))
    assert outcomes(done) == dict.fromkeys(("first", "second", "third"), "failed")
    error = done.stages[0].error
    assert error.startswith(f"{WRONG}`own` ")
    assert re.search(says, error), error


def test_what_is_given_up_fails_and_what_needs_it() -> None:
    problem = chain_problem(stages={"first": (), "second": ("first",), "other": ()})

    def decide(now: Moment) -> Start | GiveUp:
        stage = now.ready[0]
        return GiveUp(stage, "no use") if stage.stage == "first" else Start(stage, stage.options[0])

    done = played(problem, opened(problem), policy_of(decide))
    assert {run.stage: run.error for run in done.stages} == {
        "first": "given up by the policy `own`: no use",
        "second": "its input first failed",
        "other": "",
    }


def test_a_stage_that_nothing_could_run_fails() -> None:
    problem = chain_problem()
    dispatcher = Dispatcher(lanes_of(problem), policy=policy_of(round_robin))
    for name in ("a", "b", "c"):
        dispatcher.handle(ProcessorLost(0, name))
    (done,) = dispatcher.handle(FrameAdmitted(0, 0, 0, opened(problem)))
    assert isinstance(done, FrameDone)
    assert "no processor is left" in done.stages[0].error


# Those of Band.


def stages_on(*stages: tuple[str, dict[str, int], int]) -> Problem:
    """Stages of a name, how long they take on processors, and a deadline."""
    names = dict.fromkeys(where for _, modes, _ in stages for where in modes)
    return Problem(
        format="leo-problem/1",
        name="bands",
        resources=tuple(Resource(name=name) for name in names),
        stages=tuple(
            StageModes(name=name, modes=tuple(Mode(resource=r, duration_us=us, energy_nj=1) for r, us in modes.items()))
            for name, modes, _ in stages
        ),
        deadlines=tuple(Deadline(stage=name, deadline_us=us) for name, _, us in stages),
    )


BANDS = stages_on(
    ("short", {"npu": 10, "cpu": 50}, 100),
    ("urgent", {"npu": 30, "cpu": 60}, 40),
    ("long", {"npu": 80, "cpu": 100}, 1000),
)


@pytest.mark.parametrize(
    ("decide", "expected"),
    [
        # By slack: `urgent` has 10 us left, `short` 60 behind it on the NPU; for `long` both end at 110 or 100.
        (least_slack, {"urgent": ("npu", 0), "short": ("npu", 30), "long": ("cpu", 0)}),
        # The longest first; `urgent` then ends first on the CPU. `short` would end there at 110, on the NPU at 90.
        (event_heft, {"long": ("npu", 0), "urgent": ("cpu", 0), "short": ("npu", 80)}),
        # In the order of the machine: each takes what comes first.
        (round_robin, {"short": ("npu", 0), "urgent": ("cpu", 0), "long": ("npu", 10)}),
        (shortest, {"long": ("npu", 0), "urgent": ("cpu", 0), "short": ("npu", 80)}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_bands_policies_by_hand(decide: Decide, expected: dict[str, tuple[str, int]]) -> None:
    done = played(BANDS, opened(BANDS), policy_of(decide))
    assert {run.stage: (run.resource, run.start_us) for run in done.stages} == expected


def test_least_slack_gives_up_what_cannot_be_in_time() -> None:
    problem = stages_on(("a", {"npu": 30}, 40), ("b", {"npu": 30}, 50))
    done = played(problem, opened(problem), policy_of(least_slack, "least-slack"))
    assert outcomes(done) == {"a": "done", "b": "failed"}
    assert done.stages[1].error == "given up by the policy `least-slack`: it could not be in time"


# In a runtime.


MACHINE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "m",
        "processors": [
            {
                "name": "npu",
                "backend": "none",
                "active_mw": 100,
                "awake_mw": 10,
                "asleep_mw": 1,
                "wake_latency_us": 200,
                "wake_energy_nj": 5_000,
                "idle_timeout_us": 1_000,
            },
            {"name": "cpu", "backend": "none", "active_mw": 300},
        ],
    }
)
ALONE = Workload.from_dict(
    {
        "format": "leo-workload/1",
        "name": "w",
        "graphs": [
            {
                "name": "g",
                "period_us": 20_000,
                "deadline_us": 10_000,
                "stages": [{"name": "s", "operator": "cost", "params": {"output_bytes": 1}}],
            }
        ],
    }
)
COSTS = profile_of({("s", "npu"): (1_000, 100_000), ("s", "cpu"): (3_000, 900_000)})


def simulated(solver: Any, **options: Any) -> Runtime:
    return Runtime.simulated(ALONE, MACHINE, COSTS, compute=False, solver=solver, **options)


def test_a_runtime_asks_a_policy_and_charges_what_it_causes() -> None:
    @event_driven
    def npu(now: Moment) -> Start:
        return Start(now.ready[0], next(o for o in now.ready[0].options if o.resource == "npu"))

    with simulated(npu) as runtime:
        for at_us in (20_000, 40_000):
            runtime.submit(at_us, {})
        results = runtime.drain()
        ledger = run_ledger(results, MACHINE, {"s": ("g",)}, end_us=60_000)
    assert [result.stages[0].start_us for result in results] == [20_200, 40_200]
    assert {result.placement.solver.rpartition(".")[2] for result in results} == {"npu"}
    assert results[0].solved is None
    assert [(run.resource, run.start_us, run.end_us) for run in results[0].placement.stages] == [("npu", 200, 1_200)]
    spans = results[0].spans
    assert spans is not None
    assert [(span.resource, span.from_us, span.until_us) for span in spans] == [("npu", 20_000, 21_200)]
    causes = {cause: sum(e.nj for e in ledger.entries if e.cause == cause) for cause in ("run", "wake-up", "awake")}
    assert causes == {"run": 200_000, "wake-up": 10_000, "awake": 2 * 1_200 * 10}


def test_a_class_is_made_anew_for_each_run() -> None:
    made = []

    @event_driven
    class Turns:
        def __init__(self) -> None:
            made.append(self)
            self.asked = 0

        def __call__(self, now: Moment) -> Start:
            self.asked += 1
            stage = now.ready[0]
            return Start(stage, stage.options[self.asked % len(stage.options)])

    for _ in range(2):
        with simulated(Turns) as runtime:
            for at_us in (20_000, 40_000):
                runtime.submit(at_us, {})
            assert [result.stages[0].resource for result in runtime.drain()] == ["cpu", "npu"]
    assert [one.asked for one in made] == [2, 2]


def test_what_runs_lasted_is_forgotten_where_a_stage_is_another_one() -> None:
    seen = []

    def decide(now: Moment) -> Start:
        seen.append(now.ready[0].options[0].expected_us)
        return Start(now.ready[0], now.ready[0].options[0])

    changed = Workload.from_json(ALONE.to_json().replace('"output_bytes": 1', '"output_bytes": 2'))
    assert changed != ALONE
    policy = EventPolicy("own", lambda: decide, learns_ppm=500_000)
    with simulated(policy, noise=lambda *_: 3_000) as runtime:
        for at_us in (20_000, 40_000, 60_000, 80_000):
            if at_us == 60_000:
                runtime.drain()
                runtime.change(changed)
            runtime.submit(at_us, {})
        runtime.drain()
    assert seen == [1_000, 2_000, 1_000, 2_000]


def test_a_policy_that_errs_fails_its_frames_and_not_the_run() -> None:
    @event_driven
    def errs(now: Moment) -> Start:
        assert now.time_us > 20_000
        return Start(now.ready[0], now.ready[0].options[0])

    with simulated(errs) as runtime:
        for at_us in (20_000, 40_000):
            runtime.submit(at_us, {})
        first, second = runtime.drain()
    assert first.graphs[0].outcome == "failed"
    assert first.reason.startswith(WRONG)
    assert second.graphs[0].outcome == "done"


@pytest.mark.parametrize(
    "options", [{"window_stages": 5}, {"limit_ms": 5}, {"limit_nodes": 5}, {"switching_nj": 5}], ids=str
)
def test_what_a_policy_has_no_use_for_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="event-driven policy `least-slack`"):
        simulated("least-slack", **options)


def test_batches_are_refused() -> None:
    with simulated("least-slack") as runtime, pytest.raises(SolverError, match="places no batches"):
        runtime.submit_batch([(20_000, {}), (40_000, {})])


@pytest.mark.parametrize("name", EVENT_DRIVEN)
def test_it_goes_in_real_time_as_well(name: str) -> None:
    with Runtime.live(
        workload(loud_graph(deadline_us=10_000_000)), bench(), profile(), solver=name, backends=fake_backends()
    ) as runtime:
        for at_us in (0, 1_000):
            runtime.submit(at_us, {"sound": LOUD})
        results = runtime.drain()
    assert [graph.outcome for result in results for graph in result.graphs] == ["done", "done"]
    assert {run.stage for run in results[0].stages} == {run.stage for run in results[1].placement.stages}

"""Every nanojoule once, with its cause."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from frames import answered, random_needs
from leo_runtime import Runtime, shipped
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Computed
from leo_runtime.dispatch.events import FrameAdmitted, RunReport
from leo_runtime.dispatch.plan import make_plan
from leo_runtime.dispatch.simulator import Simulator, seeded_noise
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Placement, Problem, StageRun, TransferRun
from leo_runtime.frame.ledger import Ledger, ledger, linger_us, run_ledger
from leo_runtime.frame.records import (
    FrameResult,
    GraphResult,
    Solved,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.testing.playing import frame_result


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_expected_ledger_adds_up_to_the_placements_energy(seed: int) -> None:
    problem, placement = answered(seed, stages=1 + seed % 9)
    assert placement.criteria is not None
    graphs = {stage.name: ["x", "y", "z"][: 1 + k % 3] for k, stage in enumerate(problem.stages)}
    made = ledger(problem, placement, graphs)
    assert made.total_nj == placement.criteria.energy
    for parts in (made.by_cause(), made.by_resource(), made.by_graph()):
        assert sum(parts.values()) == made.total_nj
    assert [entry.at_us for entry in made.entries] == sorted(entry.at_us for entry in made.entries)


def machine_of(problem: Problem) -> Hardware:
    """The machine of a problem whose sleeping resources really sleep."""
    radios = {link.resource for link in problem.links if link.resource}
    processors, tails = [], []
    for resource in problem.resources:
        part = {
            "name": resource.name,
            "lanes": resource.lanes,
            "awake_mw": resource.awake_mw,
            "wake_latency_us": resource.wake_latency_us,
            "wake_energy_nj": resource.wake_energy_nj,
        }
        if resource.name in radios:
            tails.append({**part, "tail_us": 700, "tail_mw": 5})
        else:
            sleeps = {} if resource.awake else {"idle_timeout_us": 900, "asleep_mw": 1}
            processors.append({**part, "backend": "cpu", **sleeps})
    links = [
        {"source": link.source, "target": link.target, "radio": link.resource}
        for link in problem.links
        if link.resource
    ]
    return Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "m", "processors": processors, "radios": tails, "links": links}
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_frame_costs_what_was_expected_besides_idling_and_sleep(seed: int) -> None:
    problem, placement = answered(seed, stages=1 + seed % 9)
    hardware = machine_of(problem)
    # A radio that the problem finds awake is woken by nobody before; such a frame is not the first of a run.
    radios = {radio.name for radio in hardware.radios}
    asleep = tuple(r.name for r in problem.resources if not r.awake or r.name in radios)
    problem = problem.model_copy(
        update={"resources": tuple(r.model_copy(update={"awake": r.name not in asleep}) for r in problem.resources)}
    )
    ready = {r.name: r.ready_us for r in problem.resources if r.ready_us}
    simulator = Simulator(Dispatcher({r.name: r.lanes for r in problem.resources}, ready_us=ready))
    simulator.post(FrameAdmitted(0, 0, 0, make_plan(problem, placement), asleep))
    simulator.drain()
    (finished,) = simulator.finished()
    costs = run_ledger([frame_result(finished, 0, placement)], hardware).by_cause()
    for cause in ("idle tail", "radio tail", "asleep"):
        costs.pop(cause, None)
    # The plan has everything it uses awake from 0 on; what sleeps is woken just in time.
    awake_mw = {r.name: r.awake_mw for r in problem.resources}
    saved_nj = sum(awake_mw[name] * at_us for name, at_us in finished.wakes)
    expected = ledger(problem, placement).by_cause()
    plan = make_plan(problem, placement)
    assert {name for name, _ in finished.wakes} == {name for name in plan.uses if name in asleep}
    assert costs.pop("awake", 0) == expected.pop("awake", 0) - saved_nj
    assert costs == expected


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 6))
def test_every_moment_of_a_run_is_charged_once(seed: int, frames: int) -> None:
    """With 1 mW awake, idle and asleep, each processor costs exactly the length of the run, however frames overlap."""
    rng = Random(seed)
    problem, placement = answered(seed, stages=1 + seed % 7)
    hardware = machine_of(problem)
    flat = {"awake_mw": 1, "asleep_mw": 1, "wake_energy_nj": 0}
    hardware = hardware.model_copy(update={"processors": tuple(p.model_copy(update=flat) for p in hardware.processors)})
    results = []
    simulator = Simulator(Dispatcher({r.name: r.lanes for r in problem.resources}))
    made = make_plan(problem, placement)
    releases = sorted(rng.randrange(60_000) for _ in range(frames))
    for frame, release_us in enumerate(releases):
        simulator.reach(release_us)
        simulator.post(FrameAdmitted(release_us, frame, release_us, made))
    simulator.drain()
    results = [frame_result(f, releases[f.frame], placement) for f in simulator.finished()]
    assert len(results) == frames
    causes = ("awake", "idle tail", "asleep")
    made_ledger = run_ledger(results, hardware, end_us=10_000_000)
    kept = Ledger(tuple(entry for entry in made_ledger.entries if entry.cause in causes)).by_resource()
    assert {p.name: kept[p.name] for p in hardware.processors} == {p.name: 10_000_000 for p in hardware.processors}


@settings(max_examples=60, deadline=None)
@example(seed=3974, frames=3)  # A radio waits for what a gate decides in the end not to send.
@example(seed=9070, frames=6)  # It is woken at the moment at which it falls asleep.
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 6))
def test_what_runs_is_awake_and_what_is_woken_sleeps(seed: int, frames: int) -> None:
    """The ledger knows only what was observed, and agrees with the dispatcher about who is awake when."""
    rng = Random(seed)
    problem, placement = answered(seed, stages=1 + seed % 7)
    flat = {"wake_energy_nj": 1, "awake": False, "awake_mw": 1}
    problem = problem.model_copy(update={"resources": tuple(r.model_copy(update=flat) for r in problem.resources)})
    hardware = machine_of(problem)
    hardware = hardware.model_copy(
        update={"radios": tuple(radio.model_copy(update={"tail_mw": 1}) for radio in hardware.radios)}
    )
    lingers = {name: linger or 0 for name, linger in linger_us(hardware).items()}
    gates = random_needs(problem, rng)
    closed = frozenset(stage.name for stage in problem.stages if rng.randrange(3) == 0)
    made = make_plan(problem, placement, gates)
    simulator = Simulator(
        Dispatcher({r.name: r.lanes for r in problem.resources}),
        compute=lambda order: Computed(RunReport(opened=order.stage not in closed)),
        noise=seeded_noise(seed, 200_000),
    )
    releases = sorted(rng.randrange(90_000) for _ in range(frames))
    for frame, release_us in enumerate(releases):
        simulator.reach(release_us)
        dispatcher = simulator.dispatcher
        asleep = [name for name, linger in lingers.items() if is_asleep(dispatcher, name, linger, release_us)]
        simulator.post(FrameAdmitted(release_us, frame, release_us, made, tuple(asleep)))
    simulator.drain()
    solved = Solved(problem, placement)
    finished = simulator.finished()
    results = [replace(frame_result(f, releases[f.frame], placement), solved=solved) for f in finished]
    entries = run_ledger(results, hardware).entries
    for name in lingers:
        spans = [(e.at_us, e.at_us + e.nj) for e in entries if e.resource == name and e.cause in KEPT_AWAKE]
        awake = {us for start_us, end_us in spans for us in range(start_us, end_us)}
        assert len(awake) == sum(end_us - start_us for start_us, end_us in spans), "a moment is charged twice"
        woken = [wake.at_us for result in results for wake in result.wakes if wake.resource == name]
        assert not any(start_us < at_us < end_us for start_us, end_us in spans for at_us in woken), "woken while awake"
        used = [(s.start_us, s.end_us) for r in results for s in r.stages if (s.resource, s.outcome) == (name, "done")]
        used += [(t.start_us, t.sent_us) for r in results for t in r.transfers if t.resource == name]
        for start_us, end_us in used:
            assert awake.issuperset((start_us, end_us - 1) if end_us > start_us else ()), "it ran asleep"


KEPT_AWAKE = ("awake", "idle tail", "radio tail")


def is_asleep(dispatcher: Dispatcher, resource: str, linger_us: int, now_us: int) -> bool:
    used_us = dispatcher.used_until_us(resource)
    idle = not dispatcher.in_use(resource) and (used_us is None or used_us + linger_us <= now_us)
    return dispatcher.sleeps(resource) or idle


def graph_result(frame: int, graph: str) -> GraphResult:
    return GraphResult(graph, frame, 0, 100, 50, "done", None, {})


def stage_seen(frame: int, stage: str, start_us: int, end_us: int, nj: int) -> StageObservation:
    return StageObservation(
        frame, stage, "dsp", "default", 0, "done", start_us, end_us, start_us, end_us, 1, 1, None, nj, "modelled"
    )


def placed(*stages: str, solve_us: int = 0) -> Placement:
    runs = tuple(StageRun(stage=stage, resource="dsp", lane=0, start_us=0, end_us=1) for stage in stages)
    return Placement(
        format="leo-placement/1", problem="p", solver="s", status="feasible", stages=runs, solve_us=solve_us
    )


MACHINE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "m",
        "processors": [
            {
                "name": "dsp",
                "backend": "dsp",
                "active_mw": 20,
                "awake_mw": 2,
                "asleep_mw": 1,
                "wake_energy_nj": 7,
                "idle_timeout_us": 10,
            },
            {"name": "far", "backend": "remote", "idle_timeout_us": 0},
        ],
        "radios": [{"name": "wifi", "awake_mw": 3, "wake_energy_nj": 11, "tail_us": 100, "tail_mw": 4}],
        "links": [{"source": "dsp", "target": "far", "radio": "wifi"}],
    }
)


def test_a_run_by_hand() -> None:
    """Awake 0-40, tail 40-50, asleep 50-100, awake 100-120, overlapped 110-130, tail 130-140."""
    first, second = WakeObservation(0, "dsp", 0), WakeObservation(1, "dsp", 100)
    frames = [
        FrameResult(0, 0, placed("a"), (stage_seen(0, "a", 5, 40, 300),), (), (graph_result(0, "g"),), (first,)),
        FrameResult(1, 90, placed("a"), (stage_seen(1, "a", 105, 120, 100),), (), (graph_result(1, "g"),), (second,)),
        FrameResult(2, 110, placed("a"), (stage_seen(2, "a", 120, 130, 50),), (), (graph_result(2, "h"),)),
    ]
    made = run_ledger(frames, MACHINE, {"a": ("g", "h")})
    assert made.by_cause() == {
        "run": 450,
        "awake": 2 * (40 + 20 + 10),
        "asleep": 50,
        "idle tail": 2 * (10 + 10),
        "wake-up": 14,
    }
    assert [(e.at_us, e.nj, e.frame) for e in made.entries if e.cause == "awake"] == [
        (0, 80, 0),
        (100, 40, 1),
        (120, 20, 2),
    ]
    assert made.by_graph() == {"g": 300 + 100 + 120 + 14 + 20, "h": 50 + 20 + 20, "": 50}
    assert made.total_nj == sum(made.by_graph().values())


def test_shared_stages_are_split_evenly_and_the_rest_goes_to_the_first() -> None:
    both = (graph_result(0, "g"), graph_result(0, "h"))
    frame = FrameResult(0, 0, placed(), (stage_seen(0, "a", 0, 1, 101),), (), both)
    made = run_ledger([frame], MACHINE, {"a": ("g", "h", "not triggered")})
    runs = Ledger(tuple(entry for entry in made.entries if entry.cause == "run"))
    assert runs.by_graph() == {"g": 51, "h": 50}


def test_a_radio_is_charged_with_its_tail_and_the_solver_with_its_time() -> None:
    send = TransferObservation(0, "a", "dsp", "far", 0, 0, 20, 90, 1000, "wifi", 60)
    planned = placed("a", solve_us=9).model_copy(
        update={"transfers": (TransferRun(stage="a", source="dsp", target="far", lane=0, start_us=0, arrive_us=1),)}
    )
    woken = (WakeObservation(0, "wifi", 0), WakeObservation(0, "dsp", 0))
    frame = FrameResult(0, 0, planned, (stage_seen(0, "a", 0, 20, 0),), (send,), (), woken)
    made = run_ledger([frame], MACHINE, solver="dsp")
    wifi = {e.cause: e.nj for e in made.entries if e.resource == "wifi"}
    assert wifi == {"transfer": 1000, "wake-up": 11, "awake": 3 * 60, "radio tail": 4 * 100}
    assert made.by_cause()["solver"] == 9 * 20


def test_a_processor_woken_in_vain_is_charged_and_one_left_asleep_is_not() -> None:
    """A gate closed at 30: what was planned on the processor did not run."""
    seen = StageObservation(0, "a", "dsp", "default", 0, "cancelled", 0, 1, 30, 30, 1, 1, None, 0, "modelled")
    woken = FrameResult(0, 0, placed("a"), (seen,), (), (), (WakeObservation(0, "dsp", 10),))
    costs = run_ledger([woken], MACHINE).by_cause()
    assert costs == {"asleep": 10, "awake": 2 * 20, "idle tail": 2 * 10, "wake-up": 7}
    left = FrameResult(0, 0, placed("a"), (seen,), (), ())
    assert run_ledger([left], MACHINE, end_us=40).by_cause() == {"asleep": 40}


def test_an_empty_run_sleeps() -> None:
    assert run_ledger([], MACHINE).entries == ()
    assert run_ledger([], MACHINE, begin_us=5, end_us=25).by_cause() == {"asleep": 20}


def test_an_infeasible_placement_has_no_ledger() -> None:
    problem, placement = answered(1)
    nothing = placement.model_copy(update={"stages": (), "transfers": (), "status": "infeasible"})
    assert ledger(problem, nothing).total_nj == 0


def test_a_run_is_split_among_the_graphs_of_its_workload() -> None:
    demo, phone = shipped.workload(), shipped.hardware("snapdragon-800")
    with Runtime.simulated(demo, phone, shipped.profile("snapdragon-800"), compute=False) as runtime:
        for release_us in (500_000, 1_000_000):
            runtime.submit(release_us, {})
        frames = runtime.drain()
    ran = {graph.graph for frame in frames for graph in frame.graphs}
    made = run_ledger(frames, phone, demo)
    assert set(made.by_graph()) == {*ran, ""}
    assert sum(made.by_graph().values()) == made.total_nj == run_ledger(frames, phone).total_nj
    assert all(entry.graphs for entry in made.entries if entry.cause in ("run", "transfer"))

"""The runtime on small workloads: virtual and real time, gates, faults, overload, drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend import DeviceRun
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.errors import ClosedError, GraphError, InputError, KernelError, SolverError
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators import NoParameters, Operator, Work, define
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve

SAMPLES = 16


def _same(_params: object, shapes: object) -> tuple[int, ...]:
    return shapes[0]  # type: ignore[index,no-any-return]  # a sequence of shapes


class Window(NoParameters):
    stream: str
    samples: int


SOURCE = define(
    Operator("test_source", "The samples as floats.", Window, _same, lambda _p, _s: Work(0, 0), (0, 0), is_source=True)
)
GATE = define(
    Operator(
        "test_gate",
        "1 where any sample is above 0.",
        NoParameters,
        lambda _p, _s: (1,),
        lambda _p, _s: Work(9, 9),
        is_gate=True,
    )
)
SCORES = define(
    Operator("test_scores", "Mean and its negative.", NoParameters, lambda _p, _s: (2,), lambda _p, _s: Work(1000, 10))
)
FUSE = define(
    Operator(
        "test_fuse",
        "The sum of all inputs.",
        NoParameters,
        _same,
        lambda _p, _s: Work(10, 10),
        (1, None),
        takes_absent=True,
    )
)


class FakeBackend:
    """Computes the operators above; `broken` makes every run of a stage fail."""

    name = "fake"
    simulated = False

    def __init__(self, broken: str = "", device_us: int | None = None) -> None:
        self.broken = broken
        self.device_us = device_us
        self.closed = 0
        self.runs = 0

    def supports(self, stage: BoundStage, _variant: str, /) -> bool:
        return stage.operator.name.startswith("test_")

    def load(self, stage: BoundStage, _variant: str, /) -> FakeKernel:
        kernel = FakeKernel if self.device_us is None else FakeTimedKernel
        return kernel(self, stage)

    def close(self) -> None:
        self.closed += 1


class FakeKernel:
    def __init__(self, backend: FakeBackend, stage: BoundStage) -> None:
        self.backend = backend
        self.stage = stage

    def __call__(self, inputs: object, /) -> np.ndarray:
        self.backend.runs += 1
        arrays: list[np.ndarray] = list(inputs)  # type: ignore[call-overload]  # a sequence of arrays
        if self.backend.broken == self.stage.name and arrays[0].any():
            raise KernelError("it is broken")
        match self.stage.operator.name:
            case "test_source":
                return arrays[0].astype(np.float32)
            case "test_gate":
                return np.array([float((arrays[0] > 0).any())], np.float32)
            case "test_scores":
                mean = float(arrays[0].mean())
                return np.array([mean, -mean], np.float32)
            case _:
                return np.asarray(np.sum(arrays, axis=0), np.float32)


class FakeTimedKernel(FakeKernel):
    def timed(self, inputs: object, /) -> DeviceRun:
        return DeviceRun(self(inputs), self.backend.device_us or 0, 77)


def loud_graph(period_us: int = 1000, deadline_us: int = 800) -> TaskGraph:
    graph = GraphBuilder("loud", period_us=period_us, deadline_us=deadline_us)
    sound = graph.stage("sound", "test_source", stream="mic", samples=SAMPLES)
    gate = graph.stage("gate", "test_gate", sound)
    scores = graph.stage("scores", "test_scores", sound, gate=gate)
    graph.decide(scores, ("loud", "quiet"), threshold=0.5, background="quiet")
    return graph.build()


def other_graph(period_us: int = 2000) -> TaskGraph:
    graph = GraphBuilder("other", period_us=period_us, deadline_us=800)
    sound = graph.stage("sound", "test_source", stream="mic", samples=SAMPLES)
    graph.stage("more", "test_fuse", sound)
    return graph.build()


def ungated_graph() -> TaskGraph:
    """Shares `scores` with `loud`, without its gate."""
    graph = GraphBuilder("always", period_us=1000, deadline_us=800)
    sound = graph.stage("sound", "test_source", stream="mic", samples=SAMPLES)
    graph.decide(graph.stage("scores", "test_scores", sound), ("up", "down"), threshold=-1.0)
    return graph.build()


def workload(*graphs: TaskGraph) -> Workload:
    return Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "test",
            "streams": [{"name": "mic", "kind": "audio", "rate_hz": 16_000}],
            "graphs": [graph.model_dump(mode="json") for graph in graphs],
            "objective": ["tardiness", "makespan", "energy"],
        }
    )


def bench(**changes: object) -> Hardware:
    fast: dict[str, object] = {"active_mw": 1000, "awake_mw": 10, "asleep_mw": 1, "wake_latency_us": 5}
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "bench",
            "processors": [
                {"name": "cpu", "backend": "fake", "active_mw": 100, "awake_mw": 3},
                {
                    "name": "fast",
                    "backend": "fake",
                    "wake_energy_nj": 50,
                    "idle_timeout_us": 300,
                    **fast,
                    **changes,
                },
            ],
            "links": [
                {"source": "cpu", "target": "fast", "latency_us": 2, "energy_nj": 5},
                {"source": "fast", "target": "cpu", "latency_us": 2, "energy_nj": 5},
            ],
        }
    )


def profile(fast_us: int = 20) -> Profile:
    return Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": "bench",
            "hardware": "bench",
            "costs": [
                {"processor": "cpu", "fixed_us": 100, "source": "modelled: a test"},
                {"processor": "fast", "operator": "test_scores", "fixed_us": fast_us, "source": "modelled: a test"},
            ],
        }
    )


def fake_backends(**of: FakeBackend) -> dict[str, FakeBackend]:
    return {"cpu": FakeBackend(), "fast": FakeBackend(), **of}


LOUD = np.full(SAMPLES, 9, np.int16)
QUIET = np.zeros(SAMPLES, np.int16)


def everything_on(name: str) -> Callable[[Problem], Placement]:
    def solver(problem: Problem) -> Placement:
        modes = {"cpu": 0, "fast": -1}
        kept = tuple(stage.model_copy(update={"modes": (stage.modes[modes[name]],)}) for stage in problem.stages)
        return solve(problem.model_copy(update={"stages": kept}), "heft")

    return solver


def simulated(
    *graphs: TaskGraph,
    solver: str | Callable[[Problem], Placement] = "heft",
    backends: Mapping[str, FakeBackend] | None = None,
    hardware: Hardware | None = None,
    **options: Any,
) -> Runtime:
    given = fake_backends() if backends is None else backends
    machine = bench() if hardware is None else hardware
    return Runtime.simulated(
        workload(*(graphs or (loud_graph(),))), machine, profile(), solver=solver, backends=given, **options
    )


def one(results: tuple[FrameResult, ...]) -> FrameResult:
    (result,) = results
    return result


def test_a_frame_comes_back_with_what_was_found_and_what_it_cost() -> None:
    with simulated(solver=everything_on("fast")) as runtime:
        runtime.submit(0, {"sound": LOUD})
        result = one(runtime.drain())
    assert [(s.stage, s.resource, s.outcome) for s in result.stages] == [
        ("sound", "cpu", "done"),
        ("gate", "cpu", "done"),
        ("scores", "fast", "done"),
    ]
    (graph,) = result.graphs
    assert (graph.label, graph.outcome, graph.missed) == ("loud", "done", False)
    assert graph.latency_us == 100 + 100 + 2 + 20
    assert np.array_equal(graph.outputs["scores"], [9, -9])
    assert [(s.start_us, s.end_us) for s in result.stages] == [
        (s.planned_start_us, s.planned_end_us) for s in result.stages
    ]
    assert [s.nj for s in result.stages] == [s.expected_nj for s in result.stages] == [10_000, 10_000, 20_000]
    assert {(t.stage, t.source, t.target, t.nj) for t in result.transfers} == {
        ("sound", "cpu", "fast", 5),
        ("gate", "cpu", "fast", 5),
    }
    costs = run_ledger([result], runtime.hardware).by_cause()
    costs.pop("idle tail"), costs.pop("asleep", 0)
    assert result.placement.criteria is not None
    (wake,) = result.wakes  # Just in time, where the plan has it awake from the start.
    assert (wake.resource, wake.at_us) == ("fast", 200 + 2 - 5)
    assert sum(costs.values()) == result.placement.criteria.energy - 10 * wake.at_us


def test_a_gate_that_closes_leaves_nothing_to_find() -> None:
    with simulated(solver=everything_on("fast")) as runtime:
        runtime.submit(0, {"sound": QUIET})
        result = one(runtime.drain())
    assert [s.outcome for s in result.stages] == ["done", "done", "cancelled"]
    (graph,) = result.graphs
    assert (graph.label, graph.outcome, graph.end_us, graph.missed) == (None, "cancelled", 200, False)


def test_a_processor_is_not_woken_for_what_a_gate_has_removed() -> None:
    for wake_latency_us, woken in ((2, []), (10, ["fast"])):
        machine = bench(wake_latency_us=wake_latency_us)
        with simulated(solver=everything_on("fast"), hardware=machine) as runtime:
            runtime.submit(0, {"sound": QUIET})
            assert [wake.resource for wake in one(runtime.drain()).wakes] == woken


def test_the_background_label_is_nothing_found() -> None:
    with simulated() as runtime:
        runtime.submit(0, {"sound": np.where(np.arange(SAMPLES) < 1, 3, -9).astype(np.int16)})
        (graph,) = one(runtime.drain()).graphs
    assert graph.label is None
    assert graph.outcome == "done"
    assert graph.outputs["scores"][1] > 0.5


def test_periods_and_offsets_say_who_runs() -> None:
    with simulated(loud_graph(), other_graph()) as runtime:
        assert runtime.triggered(0) == ("loud", "other")
        assert runtime.triggered(1000) == ("loud",)
        assert runtime.triggered(1) == ()
        assert [(s.stage, s.stream, s.samples) for s in runtime.sources(("other",))] == [("sound", "mic", SAMPLES)]
        runtime.submit(1000, {"sound": LOUD})
        runtime.submit(2000, {"sound": LOUD})
        first, second = runtime.drain()
    assert [g.graph for g in first.graphs] == ["loud"]
    assert [g.graph for g in second.graphs] == ["loud", "other"]
    assert sorted(s.stage for s in second.stages) == ["gate", "more", "scores", "sound"]


def test_a_graphs_own_gate_decides_its_answer_where_another_graph_runs_the_stage() -> None:
    with simulated(loud_graph(), ungated_graph()) as runtime:
        runtime.submit(0, {"sound": QUIET})
        result = one(runtime.drain())
    loud, always = result.graphs
    assert (loud.outcome, loud.label, loud.outputs) == ("cancelled", None, {})
    assert loud.end_us == next(s.end_us for s in result.stages if s.stage == "gate")
    assert (always.outcome, always.label) == ("done", "up")


def test_equal_questions_are_asked_once() -> None:
    asked: list[Problem] = []

    def solver(problem: Problem) -> Placement:
        asked.append(problem)
        return solve(problem, "heft")

    with simulated(solver=solver, hardware=bench(idle_timeout_us=None)) as runtime:
        for k in range(5):
            runtime.submit(k * 1000, {"sound": LOUD})
        results = runtime.drain()
    assert len(asked) == 1
    assert [result.placement.solve_us for result in results[1:]] == [0, 0, 0, 0]


def test_a_question_without_an_answer_is_asked_once_as_well() -> None:
    def solver(problem: Problem) -> Placement:
        return Placement(
            format="leo-placement/1", problem=problem.name, solver="s", status="infeasible", reason="so", solve_us=9
        )

    with simulated(solver=solver, hardware=bench(idle_timeout_us=None)) as runtime:
        for k in range(3):
            runtime.submit(k * 1000, {"sound": LOUD})
        assert [result.placement.solve_us for result in runtime.drain()] == [9, 0, 0]


def test_the_question_asked_last_is_forgotten_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_runtime.runtime.planner.MAX_PLANS", 2)
    asked: list[str] = []

    def solver(problem: Problem) -> Placement:
        asked.append(problem.name)
        return solve(problem, "heft")

    with simulated(loud_graph(), other_graph(), solver=solver, hardware=bench(idle_timeout_us=None)) as runtime:
        for k, graphs in enumerate([("loud",), ("other",), ("loud",), ("loud", "other"), ("loud",)]):
            runtime.submit(k * 5000, {"sound": LOUD}, graphs=graphs)
        runtime.drain()
    assert asked == ["loud", "other", "loud + other"]


def test_answers_found_from_the_last_one_are_as_good_as_from_scratch() -> None:
    def criteria(solver: str | Callable[[Problem], Placement]) -> list[object]:
        with simulated(loud_graph(), other_graph(), solver=solver, window_stages=0) as runtime:
            for release_us in (0, 40, 400, 1000, 1090, 2000, 9000):
                runtime.submit(release_us, {"sound": LOUD}, graphs=("loud", "other"))
            return [result.placement.criteria for result in runtime.drain()]

    assert criteria("exact") == criteria(lambda problem: solve(problem, "exact"))


def test_what_sleeps_and_what_is_busy_is_part_of_the_question() -> None:
    asked: list[Problem] = []

    def solver(problem: Problem) -> Placement:
        asked.append(problem)
        return everything_on("fast")(problem)

    with simulated(solver=solver) as runtime:
        for release_us in (0, 50, 400, 1000):
            runtime.submit(release_us, {"sound": LOUD}, graphs=("loud",))
        runtime.drain()
    fast = [next(r for r in problem.resources if r.name == "fast") for problem in asked]
    cpu = [next(r for r in problem.resources if r.name == "cpu") for problem in asked]
    # At 50, `fast` is to be woken later; the last frame finds what the first one found, and is not asked again.
    assert [r.awake for r in fast] == [False, False, True]
    assert [r.ready_us for r in cpu] == [(), (150,), ()]
    assert [r.awake for r in cpu] == [True] * 3


def test_links_hold_until_they_change() -> None:
    with simulated(solver="heft") as runtime:
        runtime.submit(0, {"sound": LOUD}, links={("cpu", "fast"): None})
        runtime.submit(1000, {"sound": LOUD})
        runtime.submit(2000, {"sound": LOUD}, links={})
        results = runtime.drain()
    assert [{s.resource for s in result.stages} for result in results] == [{"cpu"}, {"cpu"}, {"cpu", "fast"}]


def test_links_are_as_they_were_when_they_were_given() -> None:
    links: dict[tuple[str, str], tuple[int, int | None] | None] = {("cpu", "fast"): None}
    with simulated(solver="heft") as runtime:
        runtime.submit(0, {"sound": LOUD}, links=links)
        links.clear()
        runtime.submit(1000, {"sound": LOUD})
        results = runtime.drain()
    assert [{s.resource for s in result.stages} for result in results] == [{"cpu"}, {"cpu"}]


def test_a_broken_stage_moves_and_a_lost_processor_is_avoided() -> None:
    with simulated(solver=everything_on("fast"), backends=fake_backends(fast=FakeBackend(broken="scores"))) as runtime:
        runtime.submit(0, {"sound": LOUD})
        result = one(runtime.drain())
        assert [(s.resource, s.outcome) for s in result.stages if s.stage == "scores"] == [
            ("fast", "failed"),
            ("cpu", "done"),
        ]
        assert "KernelError: it is broken" in result.stages[2].error
        assert result.graphs[0].label == "loud"
        runtime.lose("fast")
        assert runtime.lost == ("fast",)
        runtime.submit(1000, {"sound": LOUD})
        assert {s.resource for s in one(runtime.drain()).stages} == {"cpu"}
        runtime.restore("fast")
        assert "fast" not in runtime.lost
        runtime.lose("cpu")
        runtime.submit(2000, {"sound": LOUD})
        result = one(runtime.drain())
        assert result.placement.status == "infeasible"
        assert result.graphs[0].outcome == "failed"
        assert result.graphs[0].missed


def test_a_processor_may_be_lost_and_found_before_the_first_frame() -> None:
    with simulated(solver="heft") as runtime:
        runtime.lose("fast")
        assert runtime.lost == ("fast",)
        runtime.submit(7000, {"sound": LOUD})
        assert {s.resource for s in one(runtime.drain()).stages} == {"cpu"}
    with simulated(solver="heft") as runtime:
        runtime.lose("fast")
        runtime.restore("fast")
        assert runtime.lost == ()


def test_a_closed_runtime_takes_no_frame() -> None:
    runtime = simulated()
    runtime.close()
    with pytest.raises(ClosedError, match="the runtime is closed"):
        runtime.submit(0, {"sound": LOUD})


def test_more_frames_than_fit_are_skipped_and_counted() -> None:
    with simulated(loud_graph(deadline_us=10_000), solver=everything_on("cpu"), max_in_flight=2) as runtime:
        for release_us in (0, 1, 2):
            runtime.submit(release_us, {"sound": LOUD}, graphs=("loud",))
        results = runtime.drain()
    assert runtime.skipped == 1
    assert results[2].placement.reason == "skipped: 2 frames are in flight"
    assert [one.skipped for one in results] == [False, False, True]
    assert [result.graphs[0].outcome for result in results] == ["done", "done", "failed"]


def test_a_frame_that_could_only_start_too_late_is_skipped() -> None:
    with simulated(loud_graph(deadline_us=250), solver=everything_on("cpu")) as runtime:
        for release_us in (0, 1, 100):
            runtime.submit(release_us, {"sound": LOUD}, graphs=("loud",))
        results = runtime.drain()
    assert runtime.skipped == 1
    assert [result.graphs[0].outcome for result in results] == ["done", "failed", "done"]
    assert "skipped" in results[1].stages[0].error
    assert [one.skipped for one in results] == [False, True, False]


def test_a_solver_that_never_had_an_answer_is_an_error_and_later_fails_the_frame() -> None:
    hard = True

    def solver(problem: Problem) -> Placement:
        if hard:
            raise SolverError("too hard")
        return solve(problem, "heft")

    with simulated(loud_graph(), other_graph(), solver=solver) as runtime:
        with pytest.raises(SolverError, match="too hard"):
            runtime.submit(0, {"sound": LOUD})
        hard = False
        runtime.submit(1000, {"sound": LOUD})
        hard = True
        runtime.submit(2000, {"sound": LOUD})
        good, bad = runtime.drain()
    assert good.graphs[0].outcome == "done"
    assert bad.placement.reason == "the solver found no placement (too hard)"
    assert bad.graphs[0].outcome == "failed"


def test_wrong_frames_are_refused() -> None:
    with simulated() as runtime:
        with pytest.raises(InputError, match=r"source `sound` needs 16 samples .*got nothing"):
            runtime.submit(0, {})
        with pytest.raises(InputError, match=r"got shape \(3,\)"):
            runtime.submit(0, {"sound": LOUD[:3]})
        with pytest.raises(InputError, match=r"as an array of shape \(16,\), got a list(?m:$)"):
            runtime.submit(0, {"sound": LOUD.tolist()})
        with pytest.raises(InputError, match=r"got shape \(16, 1\)") as error:
            runtime.submit(0, {"sound": LOUD[:, np.newaxis]})
        assert "samples[:, 0]" in error.value.hint
        with pytest.raises(InputError, match="no source is called `sund`") as error:
            runtime.submit(0, {"sund": LOUD})
        with pytest.raises(InputError, match="no source is called `noise`") as error:
            runtime.submit(0, {"sound": LOUD, "noise": LOUD})
        assert "sound" in error.value.hint
        with pytest.raises(InputError, match="no graph of workload `test` is called `nobody`"):
            runtime.submit(0, {}, graphs=("nobody",))
        runtime.submit(1000, {"sound": LOUD})
        with pytest.raises(InputError, match="released at 999 us, and the last one was at 1000 us"):
            runtime.submit(999, {"sound": LOUD})
    with pytest.raises(SolverError):
        simulated(solver="nobody")


def test_a_decision_needs_a_label_for_every_entry() -> None:
    graph = loud_graph()
    assert graph.decision is not None
    wrong = graph.model_copy(
        update={"decision": graph.decision.model_copy(update={"labels": ("one",), "background": None})}
    )
    with pytest.raises(GraphError, match=r"reads 1 labels from stage `scores`, whose output has 2 entries"):
        simulated(wrong)


def test_without_computing_every_gate_opens() -> None:
    with simulated(compute=False) as runtime:
        runtime.submit(0, {})
        result = one(runtime.drain())
    assert {s.outcome for s in result.stages} == {"done"}
    assert result.graphs[0].label is None


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> tuple[FrameResult, ...]:
        with simulated(noise=200_000, seed=seed, solver=everything_on("fast")) as runtime:
            for k in range(6):
                runtime.submit(k * 1000, {"sound": LOUD})
            return tuple(
                FrameResult(
                    r.frame,
                    r.release_us,
                    r.placement.model_copy(update={"solve_us": 0}),
                    r.stages,
                    r.transfers,
                    r.graphs,
                )
                for r in runtime.drain()
            )

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_drift_is_noticed_and_planned_with() -> None:
    """`fast` really takes ten times as long: after a few frames, it is not chosen any more."""

    def slow(_frame: int, _stage: str, resource: str, duration_us: int) -> int:
        return duration_us * (10 if resource == "fast" else 1)

    with simulated(noise=slow, adapt=True) as runtime:
        for k in range(8):
            runtime.submit(k * 1000, {"sound": LOUD})
        results = runtime.drain()
    used = [next(s.resource for s in result.stages if s.stage == "scores") for result in results]
    assert used == ["fast"] * 5 + ["cpu"] * 3
    (estimate,) = [e for e in runtime.drift() if e.resource == "fast"]
    assert (estimate.stage, estimate.ratio_ppm) == ("scores", 10_000_000)


def test_what_is_planned_with_drift_does_not_make_anything_slower() -> None:
    def slow(_frame: int, _stage: str, _resource: str, duration_us: int) -> int:
        return duration_us * 3 // 2

    with simulated(noise=slow, adapt=True, solver=everything_on("cpu")) as runtime:
        for k in range(20):
            runtime.submit(k * 1000, {"sound": LOUD})
        results = runtime.drain()
    lasted = {(s.stage, s.end_us - s.start_us) for result in results for s in result.stages}
    assert lasted == {("sound", 150), ("gate", 150), ("scores", 150)}
    assert [s.expected_us for s in results[-1].stages] == [150, 150, 150]


def test_live_runs_for_real() -> None:
    given = fake_backends()
    with Runtime.live(
        workload(loud_graph(), other_graph()), bench(), profile(), solver="heft", backends=given
    ) as runtime:
        for k in range(4):
            runtime.submit(k * 1000, {"sound": LOUD if k % 2 == 0 else QUIET}, graphs=("loud",))
        results = runtime.drain()
    assert [result.frame for result in results] == [0, 1, 2, 3]
    for k, result in enumerate(results):
        (graph,) = result.graphs
        if graph.outcome == "failed":  # This machine was too slow for a frame a millisecond: that, too, is counted.
            assert runtime.skipped
            continue
        assert graph.label == ("loud" if k % 2 == 0 else None)
        for stage in result.stages:
            assert stage.energy_from == "modelled"
            assert result.release_us <= stage.start_us <= stage.end_us


def test_a_device_with_a_counter_is_measured_and_a_simulated_one_is_not() -> None:
    for is_simulated in (False, True):
        device = FakeBackend(device_us=3)
        device.simulated = is_simulated
        with Runtime.live(
            workload(loud_graph(deadline_us=10_000_000)),
            bench(),
            profile(),
            solver=everything_on("fast"),
            backends=fake_backends(fast=device),
        ) as runtime:
            runtime.submit(0, {"sound": LOUD})
            stage = one(runtime.drain()).stages[2]
        assert stage.device_us == 3
        assert (stage.nj, stage.energy_from) == ((3_000, "modelled") if is_simulated else (77, "measured"))


def test_a_mode_whose_kernel_does_not_warm_up_is_left_out() -> None:
    class Cold(FakeBackend):
        def load(self, stage: BoundStage, variant: str, /) -> FakeKernel:
            raise KernelError("no room")

    given = fake_backends(fast=Cold())
    with Runtime.live(workload(loud_graph()), bench(), profile(), solver="heft", backends=given) as runtime:
        assert {mode.resource for mode in runtime.modes["scores"]} == {"cpu"}


def test_backends_that_were_given_are_not_closed() -> None:
    given = fake_backends()
    with simulated(backends=given):
        pass
    assert given["cpu"].closed == 0


class Answering(FakeBackend):
    """Says whether it supports a stage as often as there is a kind of question, and then fails to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[tuple[str, str]] = set()

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        if (stage.name, variant) in self.asked:
            raise RuntimeError("asked again")
        self.asked.add((stage.name, variant))
        return super().supports(stage, variant)


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
def test_what_a_backend_supports_is_asked_before_the_first_frame_alone(make: Callable[..., Runtime]) -> None:
    """It was asked again for every size of a batch, while results() and all else waited for its answer."""
    given = fake_backends(cpu=Answering(), fast=Answering())
    graph = loud_graph(deadline_us=10_000_000)
    with make(workload(graph), bench(), profile(), solver="heft", backends=given) as runtime:
        for count in (2, 3):
            runtime.submit_batch([(1000 * (10 * count + number), {"sound": LOUD}) for number in range(count)])
            assert [graph.outcome for graph in one(runtime.drain()).graphs] == ["done"] * count
        assert not runtime.missing

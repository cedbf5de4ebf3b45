"""A runtime that asks about windows: what it foresees, how often it asks, and what it carries out."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_workloads import profile_of, random_machine, random_profile, random_workload, workload_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import DocumentError, InputError, SolverError
from leo_runtime.frame.chances import GateHistories
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.gates_file import WRITTEN_EACH
from leo_runtime.runtime.planned import Investment
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.windows import Planning, slack_us
from leo_runtime.solver import solve
from leo_runtime.solver.context import RECENT, Context
from leo_runtime.solver.window import solve_window

HYPERPERIOD_US = 400_000


def graph(letter: str, period_us: int, offset_us: int = 0) -> TaskGraph:
    builder = GraphBuilder(letter, period_us=period_us, offset_us=offset_us, deadline_us=period_us)
    builder.stage(letter, "cost", output_bytes=1)
    return builder.build()


FOUR = (graph("a", 100_000), graph("b", 100_000, 50_000), graph("c", 200_000), graph("d", 400_000))


def two_processors(**gpu: int) -> Hardware:
    """A CPU that never sleeps, and a GPU of which it takes several releases to repay a wake-up."""
    usual = {"wake_latency_us": 500, "wake_energy_nj": 70_000_000, "idle_timeout_us": 150_000, "awake_mw": 30}
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "m",
            "processors": [
                {"name": "cpu", "backend": "none", "lanes": 2},
                {"name": "gpu", "backend": "none", **usual, **gpu},
            ],
            "links": [{"source": "cpu", "target": "gpu"}, {"source": "gpu", "target": "cpu"}],
        }
    )


COSTS = {
    **{(letter, "cpu"): (us, 1_200 * us) for letter, us in zip("abcd", (20_000, 20_000, 30_000, 40_000), strict=True)},
    **{(letter, "gpu"): (us, 3_000 * us) for letter, us in zip("abcd", (3_000, 3_000, 4_500, 6_000), strict=True)},
}


def four(hardware: Hardware | None = None, **options: Any) -> Runtime:
    options = {"window_stages": 9, **options}
    return Runtime.simulated(
        workload_of(*FOUR), hardware or two_processors(), profile_of(COSTS), compute=False, **options
    )


def periodic(runtime: Runtime, until_us: int, from_us: int = 0) -> tuple[FrameResult, ...]:
    times = {at_us for graph in runtime.merged.workload.graphs for at_us in graph.releases_us(until_us - 1)}
    for at_us in sorted(at_us for at_us in times if at_us >= from_us):
        runtime.submit(at_us, {})
    return runtime.drain()


def energy_nj(runtime: Runtime, frames: tuple[FrameResult, ...], until_us: int) -> int:
    return run_ledger(frames, runtime.hardware, end_us=until_us).total_nj


def without_times(frames: tuple[FrameResult, ...]) -> list[FrameResult]:
    return [replace(f, placement=f.placement.model_copy(update={"solve_us": 0})) for f in frames]


def test_without_windows_it_does_what_it_did() -> None:
    with four(window_stages=0, solver="heft") as none, four(window_stages=None, solver="heft") as usual:
        until_us = 2 * HYPERPERIOD_US
        assert without_times(periodic(none, until_us)) == without_times(periodic(usual, until_us))
        assert none.planning == Planning()


def test_the_exact_solver_is_asked_about_windows_where_nothing_else_is_said() -> None:
    with four(window_stages=None) as runtime:
        periodic(runtime, HYPERPERIOD_US)
        assert runtime.planning.asked == 8


def test_what_one_frame_cannot_repay_is_repaid_by_several() -> None:
    until_us = 10 * HYPERPERIOD_US
    with four(window_stages=0) as alone, four() as windows:
        frames = periodic(windows, until_us)
        assert energy_nj(windows, frames, until_us) < energy_nj(alone, periodic(alone, until_us), until_us) / 2
    assert all(not graph.missed for frame in frames for graph in frame.graphs)
    assert {run.resource for frame in frames[20:] for run in frame.stages} == {"gpu"}


def test_what_a_window_is_too_short_to_repay_is_repaid_by_a_steady_run() -> None:
    until_us = 30 * HYPERPERIOD_US
    with four(window_stages=3) as runtime:
        frames = periodic(runtime, until_us)
        bill_nj = energy_nj(runtime, frames, until_us)
        asked = runtime.planning.asked
    woken_us = [wake.at_us for frame in frames for wake in frame.wakes]
    assert len(woken_us) == 1
    # Until it had cost as much not to have it awake as waking it does, about 180 mJ a hyperperiod.
    assert 50_000 < woken_us[0] < 2 * HYPERPERIOD_US
    assert bill_nj < 30 * 150_000_000
    assert asked < 3 * 8


def test_what_falls_asleep_again_is_not_woken_again_and_again() -> None:
    """A run in which the question is always the same, and what was woken is never used."""
    with four(window_stages=3) as runtime:
        windows = runtime._now.horizon._windows  # type: ignore[union-attr]
        windows._invests = False
        runtime.submit(0, {})
        (planned,) = windows._plans.values()
        worth = Investment(("gpu",), 1_000, 100_000)
        woken = [
            at_us
            for at_us in range(0, 1_000_000, 500)
            if windows._invested(planned, worth, at_us, 0).plan.holds != planned.plan.holds
        ]
    assert woken == [1_000, 3_000, 7_000, 15_000, 31_000, 63_000, 127_000, 255_000, 511_000]


def test_a_steady_workload_is_planned_once_a_hyperperiod() -> None:
    with four() as runtime:
        periodic(runtime, 3 * HYPERPERIOD_US)
        asked = runtime.planning.asked
        periodic(runtime, 40 * HYPERPERIOD_US, 3 * HYPERPERIOD_US)
        assert runtime.planning.asked == asked <= 2 * 8, "all later releases find what an earlier one found"
        assert runtime.planning.looked_up == 40 * 8 - asked
        assert runtime.planning == Planning(looked_up=40 * 8 - asked, proved=asked)


def test_with_noise_most_plans_are_looked_up() -> None:
    with four(noise=50_000) as runtime:
        periodic(runtime, 100 * HYPERPERIOD_US)
        assert runtime.planning.looked_up > 0.9 * 100 * 8


def test_a_frame_that_comes_when_it_likes_is_placed_by_what_is_known() -> None:
    with four() as runtime:
        runtime.submit(0, {}, graphs=("a",))
        runtime.submit(12_345, {}, graphs=("b",))
        runtime.submit(99_999, {}, graphs=("a", "d"))
        frames = runtime.drain()
    assert [graph.outcome for frame in frames for graph in frame.graphs] == ["done"] * 4


def test_a_batch_is_placed_as_it_was() -> None:
    batch: list[tuple[int, dict[str, Any]]] = [(at_us, {}) for at_us in (0, 100_000, 200_000)]
    with four() as windows, four(window_stages=0) as alone:
        for runtime in (windows, alone):
            runtime.submit_batch(batch, graphs=("a",))
        assert without_times(windows.drain()) == without_times(alone.drain())
        assert windows.planning == Planning()


def test_results_tell_who_was_awake() -> None:
    with four() as runtime:
        frames = periodic(runtime, HYPERPERIOD_US)
    assert all(frame.spans is not None for frame in frames)
    assert any(span.resource == "gpu" for frame in frames for span in frame.spans or ())


def test_modes_that_are_adapted_are_asked_about_anew() -> None:
    with four(adapt=True, noise=lambda *_: 9_000) as runtime:
        periodic(runtime, 10 * HYPERPERIOD_US)
        assert runtime.planning.asked > 8
        assert runtime.drift()


@given(st.integers(0, 2**32), st.sampled_from((1, 4, 12)), st.booleans())
@settings(max_examples=40, deadline=None)
def test_whatever_is_run_every_frame_ends_and_nothing_is_broken(seed: int, window_stages: int, noisy: bool) -> None:
    rng = Random(seed)
    workload, hardware = random_workload(rng), random_machine(rng)
    profile = random_profile(rng, workload)
    with Runtime.simulated(
        workload,
        hardware,
        profile,
        solver="greedy",
        compute=False,
        window_stages=window_stages,
        noise=200_000 if noisy else None,
        seed=seed % 1000,
    ) as runtime:
        times = sorted({at_us for graph in workload.graphs for at_us in graph.releases_us(40_000)})
        for at_us in times:
            runtime.submit(at_us, {})
            assert runtime._driver is not None
            assert runtime._driver.dispatcher.broken_invariants() == ()
        frames = runtime.drain()
        assert len(frames) == len(times)
        if not noisy:
            assert runtime.planning.alone == 0
    for frame in frames:
        assert frame.skipped or all(graph.outcome != "failed" for graph in frame.graphs), frame.reason
    run_ledger(frames, hardware)


# Who answers.


@pytest.mark.parametrize("solver", ["exact", "greedy", "lns", "cpu-only"])
def test_named_solvers_answer_windows(solver: str) -> None:
    with four(solver=solver, limit_nodes=200) as runtime:
        frames = periodic(runtime, HYPERPERIOD_US)
    assert all(graph.outcome == "done" for frame in frames for graph in frame.graphs)
    assert {frame.placement.solver for frame in frames} == {solver}


def test_a_solver_of_ones_own_is_asked_about_windows_and_told_when() -> None:
    asked: list[tuple[str, Context]] = []

    def mine(problem: WindowProblem, context: Context) -> WindowPlacement:
        asked.append((problem.format, context))
        return solve_window(problem, "greedy")

    with four(solver=mine) as runtime:
        runtime.submit(100_000, {})
        runtime.drain()
    kind, context = asked[0]
    assert kind == "leo-problem/2"
    assert context.time_us == 100_000
    assert context.releases_us[:2] == (150_000, 200_000) and context.releases_us[-1] == 400_000


def test_a_solver_of_ones_own_may_be_asked_about_a_frame_and_told_when() -> None:
    told: list[Context] = []

    def mine(problem: Problem, context: Context) -> Placement:
        told.append(context)
        return solve(problem, "heft")

    with four(solver=mine, window_stages=0) as runtime:
        runtime.submit(100_000, {})
        runtime.drain()
    assert told == [Context(100_000)]


@pytest.mark.parametrize("stages", [0, 30])
def test_a_solver_that_takes_a_context_is_asked_at_every_release_and_told_what_was(stages: int) -> None:
    told: list[tuple[int, list[int]]] = []
    asked: list[str] = []

    def knowing(problem: Any, context: Context) -> Any:
        told.append((context.time_us, [frame.frame for frame in context.before]))
        return solve(problem, "greedy")

    def plain(problem: Any) -> Any:
        asked.append(problem.name)
        return solve(problem, "greedy")

    for solver in (knowing, plain):
        with four(solver=solver, window_stages=stages) as runtime:
            periodic(runtime, 2 * HYPERPERIOD_US)
    releases = sorted({at_us for at_us, _ in told})
    assert len(releases) > len(asked)
    ended = dict(told)
    assert ended[releases[0]] == []
    assert ended[releases[-1]][-3:] == [len(releases) - 4, len(releases) - 3, len(releases) - 2]
    assert max(map(len, ended.values())) <= RECENT


def test_an_answer_in_the_form_of_a_frame_is_completed() -> None:
    def mine(problem: WindowProblem) -> Placement:
        answer = solve_window(problem, "greedy")
        data = answer.model_dump(exclude={"spans", "transfers", "criteria", "bounds"})
        return Placement.model_validate({**data, "format": "leo-placement/1", "status": "feasible"})

    with four(solver=mine) as runtime:
        frames = periodic(runtime, HYPERPERIOD_US)
        assert runtime.planning.unproved == runtime.planning.asked > 0
    assert all(graph.outcome == "done" for frame in frames for graph in frame.graphs)


def of_short_windows_only(problem: WindowProblem | Problem) -> Any:
    if isinstance(problem, Problem):
        return solve(problem, "heft")
    if len(problem.stages) > 3:
        raise SolverError("too large")
    return solve_window(problem, "greedy")


def test_where_a_window_has_no_answer_a_shorter_one_is_asked_about() -> None:
    with four(solver=of_short_windows_only) as runtime:
        frames = periodic(runtime, HYPERPERIOD_US)
        planning = runtime.planning
    assert planning.shortened == 8
    assert all(graph.outcome == "done" for frame in frames for graph in frame.graphs)


def of_frames_only(problem: WindowProblem | Problem) -> Placement:
    if isinstance(problem, WindowProblem):
        raise SolverError("no window")
    return solve(problem, "heft")


def test_where_no_window_has_an_answer_the_frame_alone_is_asked_about() -> None:
    with four(solver=of_frames_only) as runtime:
        frames = periodic(runtime, HYPERPERIOD_US)
        assert runtime.planning == Planning(alone=8)
    assert all(graph.outcome == "done" for frame in frames for graph in frame.graphs)


def wrong(problem: WindowProblem | Problem) -> Any:
    if isinstance(problem, WindowProblem):
        return solve_window(problem, "greedy").model_copy(update={"stages": ()})
    return solve(problem, "heft")


@pytest.mark.parametrize("solver", [wrong, lambda _: None, lambda _: 1 / 0])
def test_a_wrong_answer_is_no_answer(solver: Any) -> None:
    def mine(problem: WindowProblem | Problem) -> Any:
        return solver(problem) if isinstance(problem, WindowProblem) else solve(problem, "heft")

    with four(solver=mine) as runtime:
        runtime.submit(0, {})
        assert all(graph.outcome == "done" for graph in runtime.drain()[0].graphs)
        assert runtime.planning == Planning(alone=1)
        assert runtime.planning.said, "why is told"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"window_stages": -1}, InputError, "`window_stages` is at least 0, got -1"),
        ({"window_stages": 1.5}, InputError, "`window_stages` is a whole number, got 1.5"),
        ({"window_stages": 10**6}, InputError, "`window_stages` is at most 1000, got 1000000"),
        ({"gates_file": 5}, InputError, "a file is named by a str or a Path, got int"),
        ({"gates_file": "gates.toml"}, InputError, "name it .json"),
        ({"gates_file": "gates\0.json"}, InputError, "a name that no file can have"),
        ({"gates_file": "/dev/null/gates.json"}, InputError, "cannot be written"),
    ],
)
def test_what_cannot_be_chosen_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        four(**options)


def test_staying_where_it_was_is_worth_what_moving_costs() -> None:
    """On the phone's terms: a GPU that is a little better awake, and not worth moving to."""
    costs = {("a", "cpu"): (20_000, 24_000), ("a", "gpu"): (3_000, 23_000)}
    hardware = two_processors(awake_mw=0, idle_timeout_us=1, wake_energy_nj=0)

    def places(switching_nj: int) -> list[str]:
        with Runtime.simulated(
            workload_of(FOUR[0]),
            hardware,
            profile_of(costs),
            compute=False,
            window_stages=3,
            switching_nj=switching_nj,
        ) as runtime:
            runtime.lose("gpu")
            runtime.submit(0, {})
            runtime.drain()
            runtime.restore("gpu")
            runtime.submit(100_000, {})
            return [run.resource for frame in runtime.drain() for run in frame.stages]

    assert places(0) == ["gpu"]
    assert places(5_000) == ["cpu"]


# Gates.


def listening(chance_ppm: int | None = None) -> TaskGraph:
    builder = GraphBuilder("listen", period_us=100_000, deadline_us=90_000)
    builder.stage("gate", "cost", output_bytes=1, chance_ppm=chance_ppm)
    builder.stage("model", "cost", "gate", gate="gate", output_bytes=1)
    return builder.build()


def listener(**options: Any) -> Runtime:
    costs = {("gate", "cpu"): (100, 100), ("model", "cpu"): (60_000, 72_000_000), ("model", "gpu"): (3_000, 9_000_000)}
    hardware = two_processors(wake_energy_nj=20_000_000, idle_timeout_us=1_000)
    return Runtime.simulated(
        workload_of(listening(200_000)), hardware, profile_of(costs), compute=False, window_stages=12, **options
    )


def test_a_processor_is_woken_for_gates_that_open_alone() -> None:
    with listener() as runtime:
        frames = periodic(runtime, 100 * 100_000)
    ran = sum(run.stage == "model" and run.outcome == "done" for frame in frames for run in frame.stages)
    assert 5 < ran < 50
    assert sum(len(frame.wakes) for frame in frames) == ran
    assert all(not graph.missed for frame in frames for graph in frame.graphs)
    assert sum(frame.waits_given_up for frame in frames) == 0


def test_the_chance_of_a_gate_is_learned_and_kept(tmp_path: Path) -> None:
    """Where nothing is computed, a gate of no stated chance opens in every frame."""
    streams = [{"name": "mic", "kind": "audio", "rate_hz": 16_000}]
    builder = GraphBuilder("listen", period_us=100_000, deadline_us=90_000)
    builder.stage("sound", "window", stream="mic", samples=16)
    builder.stage("gate", "energy_gate", "sound", threshold_dbfs=-40.0)
    builder.stage("model", "cost", "gate", gate="gate", output_bytes=1)
    workload = workload_of(builder.build())
    workload = type(workload).from_dict({**workload.model_dump(mode="json", exclude_defaults=True), "streams": streams})
    profile = profile_of({("model", "cpu"): (5, 5)})
    more = {"processor": "cpu", "fixed_us": 5, "source": "modelled"}
    profile = type(profile).from_dict(
        {
            **profile.model_dump(mode="json", exclude_defaults=True),
            "costs": [
                {"stage": "model", "processor": "cpu", "fixed_us": 5, "source": "modelled"},
                {"operator": "window", **more},
                {"operator": "energy_gate", **more},
            ],
        }
    )
    kept = tmp_path / "gates.json"
    for run in range(2):
        with Runtime.simulated(
            workload, two_processors(), profile, compute=False, window_stages=12, gates_file=kept
        ) as runtime:
            for k in range(20):
                runtime.submit(k * 100_000, {})
            runtime.drain()
        (gate,) = GateHistories.from_file(kept).gates
        assert (gate.name, gate.after_open.runs, gate.after_open.opened) == ("gate", 19 * (run + 1), 19 * (run + 1))
    with Runtime.simulated(
        workload, two_processors(), profile, compute=False, window_stages=12, gates_file=kept
    ) as runtime:
        for k in range(WRITTEN_EACH):
            runtime.submit(k * 100_000, {})
        runtime.drain()
        gates_file = runtime._now.horizon._gates_file  # type: ignore[union-attr]
        assert gates_file is not None and gates_file._writing.wait(60)
        (gate,) = GateHistories.from_file(kept).gates
        assert gate.after_open.opened > 38, "whoever is killed now has learned that"
    kept.write_text(kept.read_text().replace(f'"{workload.name}"', '"another"'))
    with pytest.raises(DocumentError, match=r"gates\.json: .* got those of \"another\", at \$\.workload") as no:
        Runtime.simulated(workload, two_processors(), profile, compute=False, window_stages=12, gates_file=kept)
    assert "of its own" in no.value.hint
    assert '"another"' in kept.read_text()
    kept.write_text("{")
    with pytest.raises(DocumentError, match=r"gates\.json"):
        Runtime.simulated(workload, two_processors(), profile, compute=False, window_stages=12, gates_file=kept)


def test_what_gates_of_another_workload_did_is_neither_used_nor_lost(tmp_path: Path) -> None:
    kept = tmp_path / "gates.json"
    other = GateHistories(format="leo-gates/1", workload="other")
    other.to_file(kept)
    with pytest.raises(DocumentError, match='did, got those of "other"'):
        four(gates_file=kept)
    assert GateHistories.from_file(kept) == other


# In real time.


def test_the_slack_is_what_is_left_when_all_runs_at_its_fastest() -> None:
    problem = Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "p",
            "resources": [{"name": "cpu"}],
            "stages": [
                {"name": "x", "modes": [{"resource": "cpu", "duration_us": 10, "energy_nj": 1}]},
                {"name": "y", "inputs": ["x"], "modes": [{"resource": "cpu", "duration_us": 20, "energy_nj": 1}]},
            ],
            "deadlines": [{"stage": "x", "deadline_us": 500}, {"stage": "y", "deadline_us": 90}],
        }
    )
    assert slack_us(problem) == 60
    assert slack_us(problem.model_copy(update={"deadlines": ()})) == 0


class Thinker:
    """A solver that has its proof only in the background, where it is given long enough."""

    def __init__(self, solve_us: int = 9_000) -> None:
        self.solve_us = solve_us
        self.limits: list[int | None] = []
        self.proved = threading.Event()

    def __call__(self, problem: WindowProblem | Problem, *, limit_ms: int | None = None) -> Any:
        if isinstance(problem, Problem):
            return solve(problem, "heft")
        self.limits.append(limit_ms)
        if limit_ms is not None and limit_ms < 1_000:
            answer = solve_window(problem, "greedy")
            unproved = {"status": "feasible", "bounds": (0,) * len(problem.objective), "solve_us": self.solve_us}
            return answer.model_copy(update=unproved)
        self.proved.set()
        return solve_window(problem, "exact")


def hurried(solver: Any, **options: Any) -> Runtime:
    """In virtual time, with questions that hurry as they do in real time."""
    runtime = four(solver=solver, **options)
    assert runtime._now.horizon is not None
    runtime._now.horizon._windows._hurries = True
    return runtime


def test_what_was_not_proved_in_time_is_proved_for_the_next_that_finds_the_same() -> None:
    thinker = Thinker()
    with hurried(thinker) as runtime:
        runtime.submit(0, {})
        runtime.drain()
        windows = runtime._now.horizon._windows  # type: ignore[union-attr]
        assert windows._proofs.wait(20)
        assert thinker.proved.is_set()
        planning = runtime.planning
        assert (planning.unproved, planning.proved_later, planning.proofs_failed) == (1, 1, 0)
        (plan,) = windows._plans.values()
        assert plan.plan.placement.status == "optimal"
    assert thinker.limits == [9, 2_000], "a tenth of the slack of 97 ms, then long enough"


def test_an_answer_that_time_did_not_cut_short_is_not_asked_for_again() -> None:
    """Whether it was proved or not: it is only asked what it would pay to have awake."""
    thinker = Thinker(solve_us=100)
    with hurried(thinker, hardware=two_processors(idle_timeout_us=1_000_000)) as runtime:
        runtime.submit(0, {})
        assert runtime._now.horizon._windows._proofs.wait(20)  # type: ignore[union-attr]
        assert (runtime.planning.unproved, runtime.planning.proved_later) == (1, 0)
    assert thinker.limits[0] == 9 and len(thinker.limits) <= 2


def test_a_proof_that_fails_is_not_tried_again_until_modes_change() -> None:
    proofs: list[int] = []

    def mine(problem: WindowProblem | Problem, *, limit_ms: int | None = None) -> Any:
        if isinstance(problem, Problem):
            return solve(problem, "heft")
        proofs.append(limit_ms or 0)
        raise SolverError("no answer to this")

    with hurried(mine) as runtime:
        windows = runtime._now.horizon._windows  # type: ignore[union-attr]
        windows._think_us = lambda *_: 0  # type: ignore[method-assign]
        for release_us in (0, 400_000, 800_000):
            runtime.submit(release_us, {}, graphs=("a", "c", "d"))
            runtime.drain()
            assert windows._proofs.wait(20)
        assert len(windows._in_vain) == len(proofs) < 3
        assert runtime.planning.said == "no answer to this"
        before = len(proofs)
        windows.use()
        runtime.submit(1_200_000, {}, graphs=("a", "c", "d"))
        assert windows._proofs.wait(20)
        assert len(proofs) == before + 1


def test_time_to_think_goes_by_the_modes_in_use() -> None:
    with hurried("greedy") as runtime:
        runtime.submit(0, {})
        windows = runtime._now.horizon._windows  # type: ignore[union-attr]
        assert windows._slack_us
        windows.use()
        assert not windows._slack_us


def test_a_proof_that_fails_is_counted() -> None:
    def mine(problem: WindowProblem | Problem, *, limit_ms: int | None = None) -> Any:
        if limit_ms is not None and limit_ms >= 1_000:
            raise SolverError("no proof")
        if isinstance(problem, Problem):
            return solve(problem, "heft")
        answer = solve_window(problem, "greedy")
        unproved = {"status": "feasible", "bounds": (0,) * len(problem.objective), "solve_us": 0}
        return answer.model_copy(update=unproved)

    with hurried(mine) as runtime:
        runtime.submit(0, {})
        runtime.drain()
        assert runtime._now.horizon._windows._proofs.wait(20)  # type: ignore[union-attr]
        assert runtime.planning.proofs_failed == 1


def test_without_time_to_think_the_frame_alone_is_asked_about_and_the_window_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from leo_runtime.runtime import windows

    monkeypatch.setattr(windows, "LEAST_THINK_US", 10**9)
    with hurried(Thinker()) as runtime:
        runtime.submit(0, {})
        runtime.drain()
        assert runtime._now.horizon._windows._proofs.wait(20)  # type: ignore[union-attr]
        assert (runtime.planning.alone, runtime.planning.proved_later) == (1, 1)


def test_the_thread_of_proofs_ends_with_the_runtime() -> None:
    with hurried(Thinker()) as runtime:
        runtime.submit(0, {})
        runtime.drain()
    names = Counter(thread.name for thread in threading.enumerate())
    assert names["leo-runtime proofs"] == 0

"""Where the exact answer would come too late a heuristic places the frame at once, and the exact one is used later."""

from __future__ import annotations

from typing import Any

import pytest

from leo_runtime.daemon.config import RuntimeConfig
from leo_runtime.documents.problem import Placement
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime import windows
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.windows import WindowPlanner
from leo_runtime.solver import compiled
from test_runtime import LOUD, bench, fake_backends, loud_graph, one, profile, workload
from test_windows import HYPERPERIOD_US, four, hurried, periodic, without_times

PATIENCE_S = 60


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver as where there was no compiler."""
    monkeypatch.setattr(compiled, "COMPILED", False)


def planner_of(runtime: Runtime) -> WindowPlanner:
    horizon = runtime._now.horizon
    assert horizon is not None
    return horizon._windows


def placed(frame: FrameResult) -> tuple[str, str]:
    return frame.placement.solver, frame.placement.status


@pytest.mark.usefixtures("interpreted")
def test_an_interpreted_daemon_answers_its_first_frame_in_time_and_proves_its_plan_for_the_next() -> None:
    usual = RuntimeConfig()  # What a daemon has where its config says nothing.
    graph = loud_graph(deadline_us=10_000_000)
    options: dict[str, Any] = {"solver": usual.solver, "limit_ms": usual.limit_ms, "adapt": usual.adapt}
    with Runtime.live(workload(graph), bench(), profile(), backends=fake_backends(), **options) as runtime:
        runtime.submit(0, {"sound": LOUD})
        first = one(runtime.drain())
        assert (first.graphs[0].label, first.graphs[0].missed) == ("loud", False)
        assert first.placement.solver == "heft"
        assert (runtime.planning.at_once, runtime.planning.asked) == (1, 1)
        planner = planner_of(runtime)
        assert planner._proofs.wait(PATIENCE_S)
        (known,) = planner._plans.values()
        assert (known.plan.placement.solver, known.plan.placement.status) == ("exact", "optimal")


@pytest.mark.usefixtures("interpreted")
def test_what_was_proved_meanwhile_is_used_from_then_on() -> None:
    with hurried("exact", window_stages=1) as runtime:
        frames = []
        for number in range(3):
            runtime.submit(number * HYPERPERIOD_US, {}, graphs=("a", "b", "c"))
            frames.append(one(runtime.drain()))
            assert planner_of(runtime)._proofs.wait(PATIENCE_S)
        assert frames[0].placement.solver == "heft"
        assert [placed(frame) for frame in frames[1:]] == [("exact", "optimal")] * 2
        planning = runtime.planning
        assert (planning.at_once, planning.proved_later, planning.looked_up, planning.proofs_failed) == (1, 1, 2, 0)


class Slow:
    """Answers with the solver's own, as if it took so much longer than it was given."""

    def __init__(self, planner: WindowPlanner, monkeypatch: pytest.MonkeyPatch, over_us: int) -> None:
        self._solver, self.over_us, self._now_ns = planner._solver, over_us, 0
        monkeypatch.setattr(planner, "_solver", self)
        monkeypatch.setattr(windows, "perf_counter_ns", lambda: self._now_ns)

    def __call__(self, problem: WindowProblem, context: Any, limit_ms: int | None) -> WindowPlacement:
        assert limit_ms is not None
        if limit_ms < windows.PROOF_MS:  # What is asked in the background takes no time here.
            self._now_ns += (limit_ms * 1000 + self.over_us) * 1000
        return self._solver(problem, context, None)


def first_of_new_questions(runtime: Runtime, number: int) -> FrameResult:
    """The frame of a release that nobody asked about before."""
    graphs = [("a",), ("b",), ("c",), ("d",), ("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    runtime.submit(number * HYPERPERIOD_US, {}, graphs=graphs[number])
    frame = one(runtime.drain())
    assert planner_of(runtime)._proofs.wait(PATIENCE_S)
    return frame


def test_after_an_answer_that_came_too_late_a_heuristic_answers_until_it_would_come_in_time_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with hurried("exact", window_stages=1) as runtime:
        slow = Slow(planner_of(runtime), monkeypatch, over_us=1_000_000)
        solvers = [placed(first_of_new_questions(runtime, 0))[0]]
        slow.over_us = 0
        solvers += [placed(first_of_new_questions(runtime, number))[0] for number in range(1, 10)]
        assert solvers == ["exact", *["heft"] * 8, "exact"]
        planning = runtime.planning
        assert (planning.at_once, planning.proved, planning.proved_later) == (8, 2, 8)


def test_answers_that_come_in_time_are_asked_for_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with hurried("exact") as runtime:
        Slow(planner_of(runtime), monkeypatch, over_us=5_000)
        for number in range(10):
            assert placed(first_of_new_questions(runtime, number))[0] == "exact"
        assert runtime.planning.at_once == 0


@pytest.mark.usefixtures("interpreted")
def test_where_the_heuristic_finds_nothing_the_solver_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*_: Any, **__: Any) -> Placement:
        raise SolverError("all that was tried broke a rule")

    monkeypatch.setattr("leo_runtime.solver.heft.solve", no_answer)
    with hurried("exact") as runtime:
        frame = first_of_new_questions(runtime, 0)
        assert placed(frame) == ("exact", "optimal")
        assert (runtime.planning.at_once, runtime.planning.alone) == (0, 1)


def test_in_virtual_time_nothing_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = {}
    for by_compiler in (compiled.COMPILED, False):
        monkeypatch.setattr(compiled, "COMPILED", by_compiler)
        with four(window_stages=4) as runtime:
            frames[by_compiler] = without_times(periodic(runtime, 2 * HYPERPERIOD_US))
            assert runtime.planning.at_once == 0
    assert len({str(found) for found in frames.values()}) == 1

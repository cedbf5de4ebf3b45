"""A wall-time limit covers all that a solve does; what it does past the limit is counted, not timed."""

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from leo_runtime.documents.problem import Problem
from leo_runtime.errors import SolverError
from leo_runtime.judge import check
from leo_runtime.solver import infeasible, limits, oracle, prove, solve
from leo_runtime.solver.compiled import Compiled, clause_search
from leo_runtime.testing import random_problem

LIMITED = ("exact", "lns", "heft", "greedy", "memetic", "single")


class Counted:
    """A search that learns, which notes how many nodes it searched."""

    def __init__(self, search: Any, noted: list[int]) -> None:
        self.counted, self.noted = search, noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self.counted, name)

    def search(self, limit_nodes: int) -> int:
        proved: int = self.counted.search(limit_nodes)
        self.noted.append(self.counted.nodes)
        return proved


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The nodes of every search for a proof."""
    noted: list[int] = []
    monkeypatch.setattr(prove, "clause_search", lambda kernel: Counted(clause_search(kernel), noted))
    return noted


class PassedTimer:
    """A timer that has run out the moment it is started."""

    def __init__(self, left_s: float, act: Callable[[], None]) -> None:
        self.start = act

    def cancel(self) -> None:
        """It has run out."""


def hard() -> Problem:
    """Fourteen stages with two modes on a processor of two lanes, and no time for all: long to search."""
    stages = [
        {
            "name": f"s{i}",
            "inputs": [f"s{i - 5}"] if i >= 5 else [],
            "modes": [
                {"resource": "cpu", "variant": "fp32", "duration_us": 37 + 13 * i % 29, "energy_nj": 60 + 17 * i % 31},
                {"resource": "cpu", "variant": "int8", "duration_us": 71 - 11 * i % 23, "energy_nj": 40 + 7 * i % 19},
                {"resource": "dsp", "duration_us": 50 + 5 * i % 13, "energy_nj": 45 + 3 * i % 17},
            ],
        }
        for i in range(14)
    ]
    return Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "hard",
            "resources": [{"name": "cpu", "lanes": 2}, {"name": "dsp"}],
            "links": [{"source": a, "target": b, "latency_us": 20} for a, b in (("cpu", "dsp"), ("dsp", "cpu"))],
            "stages": stages,
            "deadlines": [{"stage": f"s{i}", "deadline_us": 70 + 9 * i} for i in range(14)],
            "objective": ["tardiness", "energy"],
        }
    )


def wide(problem: Problem) -> Problem:
    """The same problem with numbers too large for 64 bits."""
    resources = [r.model_copy(update={"wake_energy_nj": r.wake_energy_nj + 10**18}) for r in problem.resources]
    changed = problem.model_copy(update={"resources": tuple(resources)})
    assert Compiled(changed).wide
    return changed


@pytest.mark.parametrize("solver", LIMITED)
@pytest.mark.parametrize("bits", ["64", "more"])
def test_past_the_limit_only_roots_are_looked_at(
    solver: str, bits: str, searches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = hard()
    problem = problem if bits == "64" else wide(problem)
    monkeypatch.setattr(limits, "Timer", PassedTimer)
    placement = solve(problem, solver, limit_ms=1)
    assert not check(problem, placement).violations
    assert placement.criteria is not None
    assert placement.bounds[0] <= placement.criteria.tardiness
    assert not searches


@pytest.mark.parametrize("solver", ["heft", "greedy"])
def test_without_a_limit_single_processors_are_searched(solver: str, searches: list[int]) -> None:
    """What the test above would count if the limit were not asked."""
    problem = hard()
    solve(problem, solver)
    assert max(searches) > 100


def test_the_reason_is_not_looked_for_past_the_limit(searches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The root proves that there is no answer; why is then said no more closely than it is known."""
    problem = random_problem(3, stages=14, features=["lanes"]).model_copy(update={"limits": {"makespan": 1}})
    for solver in ("exact", "heft", "cpu-only"):
        placement = solve(problem, solver)
        assert placement.reason == "rule 7: makespan cannot be as low as its limit of 1"
    monkeypatch.setattr(limits, "Timer", PassedTimer)
    searches.clear()
    for solver in ("exact", "lns", "heft", "greedy", "memetic", "cpu-only"):
        placement = solve(problem, solver, limit_ms=1)
        assert placement.status == "infeasible"
        assert placement.reason == infeasible.UNKNOWN
    assert not searches


def test_timers_act_in_turn_unless_cancelled() -> None:
    acted: list[str] = []
    done = Event()
    late = limits.Timer(0.05, done.set)
    never = limits.Timer(0.01, lambda: acted.append("never"))
    soon = limits.Timer(0.001, lambda: acted.append("soon"))
    for timer in (late, never, soon):
        timer.start()
    never.cancel()
    assert done.wait(10) and acted == ["soon"]
    # The thread waits for others to come.
    again = Event()
    limits.Timer(0, again.set).start()
    assert again.wait(10)


def test_a_stop_reaches_kernels_watched_before_and_after_it() -> None:
    problem = hard()
    stop = limits.Stop()
    kernels = [Compiled(problem).kernel() for _ in range(2)]
    stop.watch(kernels[0])
    assert not stop.passed
    stop.halt()
    stop.watch(kernels[1])
    assert stop.passed
    for kernel in kernels:
        search = clause_search(kernel)
        assert search.search(10_000) == 1 and search.nodes <= 4


def test_without_an_answer_at_the_limit_nothing_is_called_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least makespan there is, as a limit, with nothing searched: an answer, or none found, but none ruled out."""
    monkeypatch.setattr(limits, "Timer", PassedTimer)
    missed = 0
    for seed in range(12):
        problem = random_problem(seed, stages=10, features=("lanes", "wake"), objective=("makespan",))
        least = solve(problem)
        assert least.criteria is not None and least.status == "optimal"
        tight = problem.model_copy(update={"limits": {"makespan": least.criteria.makespan}})
        for solver in LIMITED:
            try:
                assert solve(tight, solver, limit_ms=1).status in ("optimal", "feasible")
            except SolverError:
                missed += 1
    assert missed > 0


def test_the_oracle_looks_for_a_reason_within_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    problem = hard().model_copy(update={"limits": {"makespan": 1}})
    given: list[tuple[int | None, int | None, bool]] = []
    make = oracle._solver

    def made(cp_model: Any, limit_ms: int | None, limit_nodes: int | None, seed: int, workers: int, begun: int) -> Any:
        given.append((limit_ms, limit_nodes, begun > 0))
        return make(cp_model, limit_ms, limit_nodes, seed, workers, begun)

    monkeypatch.setattr(oracle, "_solver", made)
    placement = solve(problem, "oracle", limit_ms=60_000, limit_nodes=70_000)
    assert placement.status == "infeasible" and placement.reason
    # One solve, and at least one to thin the reason out.
    assert len(given) >= 2 and set(given) == {(60_000, 70_000, True)}

"""The solver for large problems: valid, bounded, repeatable, never worse than one processor."""

import pytest

from leo_runtime.documents.problem import CRITERIA, Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.judge import check
from leo_runtime.solver import lns, solve
from leo_runtime.solver.compiled import Compiled
from leo_runtime.testing import random_problem


def reached(problem: Problem, placement: Placement) -> list[int]:
    """The criteria in the objective's order."""
    assert placement.criteria is not None
    return [getattr(placement.criteria, name) for name in problem.objective]


@pytest.mark.parametrize("seed", range(12))
def test_it_brackets_the_optimum(seed: int) -> None:
    problem = random_problem(seed, stages=10)
    best = solve(problem)
    try:
        found = solve(problem, "lns", limit_nodes=300, seed=seed)
    except SolverError:
        return
    assert not check(problem, found).violations
    if best.status == "infeasible":
        assert found.status == "infeasible"
        return
    values, optimum = reached(problem, found), reached(problem, best)
    assert values >= optimum
    assert found.bounds[0] <= optimum[0]
    assert (found.status == "optimal") == (list(found.bounds) == values)


def test_the_same_seed_gives_the_same_answer_and_a_large_problem_gets_one() -> None:
    problem = random_problem(2, stages=60, features=("lanes", "wake"), urgency="tight")
    first, second = (solve(problem, "lns", limit_nodes=200, seed=7) for _ in range(2))
    assert first.model_copy(update={"solve_us": 0}) == second.model_copy(update={"solve_us": 0})
    assert not check(problem, first).violations


@pytest.mark.parametrize("seed", range(4))
def test_it_is_no_worse_than_either_of_its_local_searches(seed: int) -> None:
    problem = random_problem(seed, stages=40, features=("lanes", "wake"), urgency="tight")
    placement = solve(problem, "lns", limit_nodes=0, seed=seed)
    assert not check(problem, placement).violations
    for number, (moves, _) in enumerate(lns.CLIMBS):
        kernel = Compiled(problem).kernel()
        kernel.climb(moves * 40, 2 * seed + number)
        assert reached(problem, placement) <= [kernel.best()[CRITERIA.index(name)] for name in problem.objective]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit_nodes", [0, 100, 1000])
def test_the_bounds_of_two_threads_hold(seed: int, limit_nodes: int) -> None:
    problem = random_problem(seed, stages=32, features=("wake", "variants", "cloud"), urgency="medium")
    best = solve(problem)
    assert best.status == "optimal"
    found = solve(problem, "lns", limit_nodes=limit_nodes)
    optimum, values = reached(problem, best), reached(problem, found)
    assert values >= optimum
    for k, bound in enumerate(found.bounds):
        if values[:k] == optimum[:k]:
            assert bound <= optimum[k]
    assert (found.status == "optimal") == (list(found.bounds) == values)


def test_one_thread_that_has_the_proof_ends_the_other() -> None:
    problem = random_problem(
        105, stages=40, features=("lanes", "wake"), urgency="medium", objective=("tardiness", "energy")
    )
    assert solve(problem, "lns", limit_nodes=1000).status == "optimal"
    placement = solve(problem, "lns", limit_ms=60_000)
    assert placement.status == "optimal"
    assert placement.solve_us < 20_000_000


@pytest.mark.parametrize("limit_ms", [1, 5, 40])
def test_it_keeps_to_its_time_and_answers_within_it(limit_ms: int) -> None:
    problem = random_problem(3, stages=30, features=("lanes", "wake"), urgency="tight")
    placement = solve(problem, "lns", limit_ms=limit_ms)
    assert not check(problem, placement).violations
    assert placement.solve_us < 1000 * limit_ms + 500_000

"""The solver for large problems: valid, bounded, repeatable, never worse than one processor."""

import pytest

from leo_runtime.check import check
from leo_runtime.errors import SolverError
from leo_runtime.solver import lns, solve
from leo_runtime.solver.compiled import Compiled
from leo_runtime.testing import random_problem


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
    assert found.criteria is not None and best.criteria is not None
    reached = [getattr(found.criteria, name) for name in problem.objective]
    optimum = [getattr(best.criteria, name) for name in problem.objective]
    assert reached >= optimum
    assert found.bounds[0] <= optimum[0]
    assert (found.status == "optimal") == (list(found.bounds) == reached)


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
    assert placement.criteria is not None
    reached = [getattr(placement.criteria, name) for name in problem.objective]
    order = ["tardiness", "energy", "makespan", "accuracy_loss"]
    for own_seed in (2 * seed, 2 * seed + 1):
        kernel = Compiled(problem).kernel()
        kernel.climb(lns.CLIMB_MOVES_PER_STAGE * 40, own_seed)
        assert reached <= [kernel.best()[order.index(name)] for name in problem.objective]


@pytest.mark.parametrize("limit_ms", [1, 5, 40])
def test_it_keeps_to_its_time_and_answers_within_it(limit_ms: int) -> None:
    problem = random_problem(3, stages=30, features=("lanes", "wake"), urgency="tight")
    placement = solve(problem, "lns", limit_ms=limit_ms)
    assert not check(problem, placement).violations
    assert placement.solve_us < 1000 * limit_ms + 500_000

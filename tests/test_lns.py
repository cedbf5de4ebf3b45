"""The solver for large problems: valid, bounded, repeatable, never worse than one processor."""

import pytest

from leo_runtime.check import check
from leo_runtime.errors import SolverError
from leo_runtime.solver import solve
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

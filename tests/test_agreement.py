"""Every solver on every problem: answers obey the rules, none is below the optimum, none worse than one processor."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.judge import check
from leo_runtime.solver import SOLVERS, solve
from leo_runtime.testing import problems, random_problem

PROBLEMS = sorted(
    path for path in (Path(__file__).parent / "problems").glob("*.json") if not path.name.endswith(".placement.json")
)
POLICIES = ("cpu-only", "dsp-first", "gpu-first")
"""They stand for what others do; only they may be worse than the best single processor."""
PROVING = ("exact", "exhaustive", "oracle")
HEURISTICS = tuple(name for name in SOLVERS if name not in PROVING)
LIMITS = {"memetic": 400, "lns": 300}
"""What keeps the suite fast: the limit in moves or nodes, where a solver would go on."""


def attempt(problem: Problem, solver: str) -> Placement | None:
    """The solver's checked answer; None where it says that it found none."""
    try:
        answer = solve(problem, solver, limit_nodes=LIMITS.get(solver, 1_000_000))
    except SolverError as error:
        assert solver not in ("exact", "oracle"), error
        assert error.hint
        return None
    report = check(problem, answer)
    assert report.ok, (solver, report)
    assert answer.solver == solver
    assert answer.problem == problem.name
    return answer


def value(problem: Problem, answer: Placement) -> tuple[int, ...]:
    assert answer.criteria is not None
    return tuple(getattr(answer.criteria, name) for name in problem.objective)


def assert_bounds_hold(problem: Problem, answer: Placement, optimum: tuple[int, ...]) -> None:
    """A bound holds for all answers that are no worse in the criteria before it: for the optimum, where it is."""
    for bound, reached, best in zip(answer.bounds, value(problem, answer), optimum, strict=True):
        assert bound <= best
        if best > reached:
            return


@pytest.fixture(params=PROBLEMS, ids=lambda path: path.stem)
def known(request: pytest.FixtureRequest) -> tuple[Problem, Placement]:
    """A problem of ours and the answer to it that was proved when it was made."""
    path: Path = request.param
    return Problem.from_file(path), Placement.from_file(path.with_suffix(".placement.json"))


def test_there_are_problems_with_proved_answers(known: tuple[Problem, Placement]) -> None:
    assert len(PROBLEMS) >= 12
    problem, proved = known
    assert proved.status in ("optimal", "infeasible")
    assert check(problem, proved).ok


@pytest.mark.parametrize("solver", HEURISTICS)
def test_a_heuristic_answers_within_the_rules(solver: str, known: tuple[Problem, Placement]) -> None:
    problem, proved = known
    answer = attempt(problem, solver)
    if answer is None:
        return
    if answer.status == "infeasible" or proved.status == "infeasible":
        assert answer.status == proved.status
        return
    assert value(problem, answer) >= value(problem, proved)
    single = attempt(problem, "single")
    if single is not None and single.criteria is not None and solver not in POLICIES:
        assert value(problem, answer) <= value(problem, single)


def test_exact_proves_the_known_optimum(known: tuple[Problem, Placement]) -> None:
    problem, proved = known
    answer = attempt(problem, "exact")
    assert answer is not None
    assert (answer.status, answer.bounds) == (proved.status, proved.bounds)


def test_the_oracle_repeats_itself() -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    path = next(path for path in PROBLEMS if path.name.startswith("haxconn"))
    problem, proved = Problem.from_file(path), Placement.from_file(path.with_suffix(".placement.json"))
    answer = attempt(problem, "oracle")
    assert answer is not None
    assert answer.bounds == proved.bounds == (2500,)


@settings(max_examples=60, deadline=None)
@given(problem=problems(5))
def test_all_agree_on_small_problems(problem: Problem) -> None:
    exact, exhaustive = attempt(problem, "exact"), attempt(problem, "exhaustive")
    assert exact is not None
    assert exhaustive is not None
    assert (exact.status, exact.bounds) == (exhaustive.status, exhaustive.bounds)
    if exact.criteria is not None and exhaustive.criteria is not None:
        assert value(problem, exact) == value(problem, exhaustive)
    single = attempt(problem, "single")
    single = None if single is None or single.criteria is None else single
    assert best_on_one(problem) == (None if single is None else value(problem, single))
    for name in HEURISTICS:
        answer = attempt(problem, name)
        if answer is not None and "infeasible" in (answer.status, exact.status):
            assert answer.status == exact.status
        elif answer is not None:
            assert value(problem, answer) >= exact.bounds
            assert_bounds_hold(problem, answer, exact.bounds)
            if single is not None and name not in POLICIES:
                assert value(problem, answer) <= value(problem, single)


def best_on_one(problem: Problem) -> tuple[int, ...] | None:
    """The optimum over placements that use one processor for every stage, found by trying everything."""
    values = []
    for resource in problem.resources:
        stages = [
            stage.model_copy(update={"modes": tuple(mode for mode in stage.modes if mode.resource == resource.name)})
            for stage in problem.stages
        ]
        if all(stage.modes for stage in stages):
            answer = attempt(problem.model_copy(update={"stages": tuple(stages)}), "exhaustive")
            if answer is not None and answer.criteria is not None:
                values.append(value(problem, answer))
    return min(values, default=None)


@pytest.mark.parametrize("seed", range(25))
def test_the_oracle_agrees(seed: int) -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    problem = random_problem(seed, stages=1 + seed % 8)
    exact, oracle = attempt(problem, "exact"), attempt(problem, "oracle")
    assert exact is not None
    assert oracle is not None
    assert (exact.status, exact.bounds) == (oracle.status, oracle.bounds)
    if oracle.status == "infeasible":
        assert oracle.reason is not None
        assert oracle.reason.startswith("rule ")


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name not in ("oracle", *POLICIES, "single")])
def test_an_empty_problem_has_an_answer(solver: str) -> None:
    problem = Problem(format="leo-problem/1", name="nothing", resources=(), stages=())
    answer = attempt(problem, solver)
    assert answer is not None
    assert answer.bounds == (0, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_limit_leaves_proved_bounds(seed: int) -> None:
    problem = random_problem(seed, stages=12)
    optimum = solve(problem, "exact")
    for limit in (0, 3, 50):
        try:
            answer = solve(problem, "exact", limit_nodes=limit)
        except SolverError:
            continue
        assert check(problem, answer).ok
        assert answer.status == optimum.status or answer.status == "feasible"
        if optimum.status == "optimal" and answer.bounds:
            assert answer.bounds[0] <= optimum.bounds[0]

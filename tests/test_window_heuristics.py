"""Every solver of windows on many windows: answers obey the rules, none is below the optimum, bounds hold."""

from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings

from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import InputError, SolverError
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.solver.window import WINDOW_SOLVERS, solve_window
from leo_runtime.solver.window_schedule import Window, arranged
from leo_runtime.solver.window_waits import improved, simple
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window, windows

PROBLEMS = Path(__file__).parent / "problems" / "window"
EXAMPLES = sorted(path for path in PROBLEMS.glob("*.json") if not path.name.endswith(".placement.json"))
POLICIES = ("cpu-only", "dsp-first", "gpu-first")
"""They stand for what others do; only they may be worse than the best single processor."""
HEURISTICS = tuple(name for name in WINDOW_SOLVERS if name not in ("exact", "exhaustive", "oracle"))
LIMITS = {"memetic": 200, "lns": 300}
STEPS = 20_000


def attempt(problem: WindowProblem, solver: str, limit_nodes: int | None = None) -> WindowPlacement | None:
    """The solver's judged answer; None where it says that it found none."""
    try:
        answer = solve_window(problem, solver, limit_nodes=limit_nodes or LIMITS.get(solver))
    except SolverError as error:
        assert error.hint
        return None
    report = check_window(problem, answer)
    assert report.ok, (solver, report, problem.to_json())
    assert (answer.solver, answer.problem) == (solver, problem.name)
    assert answer.status != "infeasible" or solver == "lns" or solver not in HEURISTICS
    return answer


def value(problem: WindowProblem, answer: WindowPlacement) -> tuple[int, ...]:
    assert answer.criteria is not None
    return tuple(getattr(answer.criteria, name) for name in problem.objective)


def assert_holds(problem: WindowProblem, optimum: tuple[int, ...] | None) -> None:
    """What every heuristic's answer may be, given the best there is (None: there is none)."""
    single = attempt(problem, "single")
    for name in HEURISTICS:
        answer = attempt(problem, name)
        if answer is None:
            assert single is None or name in POLICIES
            continue
        if answer.status == "infeasible" or optimum is None:
            assert (answer.status, optimum) == ("infeasible", None)
            continue
        reached = value(problem, answer)
        assert reached >= optimum
        if single is not None and name not in POLICIES:
            assert reached <= value(problem, single)
        for bound, best, mine in zip(answer.bounds, optimum, reached, strict=True):
            assert bound <= best
            if best > mine:
                break  # A later bound is for answers that are as good as this one before it.


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_heuristics_on_windows_of_known_optimum(path: Path) -> None:
    known = WindowPlacement.from_file(path.with_suffix(".placement.json"))
    assert_holds(WindowProblem.from_file(path), known.bounds)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_local_search_finds_the_known_optimum(path: Path) -> None:
    """It need not; that it does on all of these is what later changes are held to."""
    known = WindowPlacement.from_file(path.with_suffix(".placement.json"))
    problem = WindowProblem.from_file(path)
    assert value(problem, solve_window(problem, "lns")) == known.bounds


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_modes_and_order_of_an_optimum_are_enough(path: Path) -> None:
    known = WindowPlacement.from_file(path.with_suffix(".placement.json"))
    window = Window(WindowProblem.from_file(path))
    runs = {run.stage: run for run in known.stages}
    modes = [
        [(mode.resource, mode.variant) for mode in stage.modes].index(
            (runs[stage.name].resource, runs[stage.name].variant)
        )
        for stage in window.stages
    ]
    by_start = sorted(range(len(modes)), key=lambda i: runs[window.stages[i].name].start_us)
    schedule = simple(window, modes, arranged(by_start, window.inputs))
    assert schedule is not None
    assert improved(window, schedule).value == (0, *known.bounds)


@settings(max_examples=60, deadline=None)
@given(problem=windows(4))
@example(problem=random_window(6279, stages=2, processors=2))
@example(problem=random_window(65535, stages=4, processors=1))
def test_heuristics_are_never_better_than_trying_everything(problem: WindowProblem) -> None:
    best = attempt(problem, "exhaustive", STEPS)
    assume(best is not None and best.status != "feasible")
    assert best is not None
    assert_holds(problem, best.bounds if best.status == "optimal" else None)


@pytest.mark.parametrize("seed", range(4))
def test_large_windows_are_answered_within_the_rules_and_again_the_same(seed: int) -> None:
    problem = sensing_window(seed, stages=25 + 5 * seed) if seed % 2 else random_window(seed, stages=25)
    for name in HEURISTICS:
        answer, again = attempt(problem, name, 50), attempt(problem, name, 50)
        if answer is not None and again is not None:
            assert answer.criteria is not None
            assert answer.model_copy(update={"solve_us": 0}) == again.model_copy(update={"solve_us": 0})
        else:
            assert answer is again is None


@pytest.mark.parametrize("name", HEURISTICS)
def test_a_passed_limit_still_leaves_an_answer(name: str) -> None:
    problem = sensing_window(3, stages=40)
    assert check_window(problem, solve_window(problem, name, limit_ms=1)).ok


def test_one_door_answers_both_forms() -> None:
    problem = WindowProblem.from_file(EXAMPLES[0])
    answer = solve(problem, "greedy")
    assert isinstance(answer, WindowPlacement)
    assert answer.bounds == solve_window(problem, "greedy").bounds
    with pytest.raises(InputError, match="`limit_nodes` is a whole number"):
        solve_window(problem, "greedy", limit_nodes="many")  # type: ignore[arg-type]
    with pytest.raises(SolverError, match="no solver of windows is called"):
        solve_window(problem, None)  # type: ignore[arg-type]

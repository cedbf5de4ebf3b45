"""Who answers windows: two solvers that share no search agree, prove the known optima, and keep the laws."""

import contextlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Problem
from leo_runtime.documents.window import CERTAIN, WindowPlacement, WindowProblem, as_window
from leo_runtime.errors import DocumentError, SolverError
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve, window_exact, window_oracle
from leo_runtime.solver.compiled import COMPILED
from leo_runtime.solver.window import WINDOW_SOLVERS, solve_window
from leo_runtime.testing import problems
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window, windows

PROBLEMS = Path(__file__).parent / "problems" / "window"
EXAMPLES = sorted(path for path in PROBLEMS.glob("*.json") if not path.name.endswith(".placement.json"))
SMALL = ("mixed-004-plain-206", "gated-005-plain-102")
"""The examples for which trying everything takes less than a second."""
STEPS = 4_000


def answered(problem: WindowProblem, solver: str, limit_nodes: int | None = None) -> WindowPlacement:
    """The solver's judged answer."""
    answer = solve_window(problem, solver, limit_nodes=limit_nodes)
    assert check_window(problem, answer).ok, (problem.to_json(), answer.to_json())
    assert answer.solver == solver
    return answer


def optimum(problem: WindowProblem) -> tuple[int, ...] | None:
    """The proved criteria of the objective; None where there is no answer. Gives windows up that take too long."""
    try:
        answer = answered(problem, "exhaustive", STEPS)
    except SolverError:
        assume(False)
        raise
    assume(answer.status != "feasible")
    return answer.bounds if answer.status == "optimal" else None


def no_worse(better: tuple[int, ...] | None, than: tuple[int, ...] | None) -> bool:
    return than is None or (better is not None and better <= than)


def changed(problem: WindowProblem, **values: object) -> WindowProblem:
    return WindowProblem.from_dict({**json.loads(problem.model_dump_json(exclude_unset=True)), **values})


def rows(parts: Iterable[Any], **values: object) -> list[dict[str, Any]]:
    """The parts of a document, each with these values."""
    return [{**json.loads(part.model_dump_json(exclude_unset=True)), **values} for part in parts]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_oracle_proves_the_known_optimum(path: Path) -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    known = WindowPlacement.from_file(path.with_suffix(".placement.json"))
    problem = WindowProblem.from_file(path)
    answer = window_oracle.solve(problem, workers=2)  # one alone needs twenty times as long for some
    assert check_window(problem, answer).ok
    assert (answer.status, answer.bounds) == ("optimal", known.bounds)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_exact_proves_the_known_optimum(path: Path) -> None:
    known = WindowPlacement.from_file(path.with_suffix(".placement.json"))
    answer = answered(WindowProblem.from_file(path), "exact")
    assert (answer.status, answer.bounds) == ("optimal", known.bounds)


@pytest.mark.parametrize("name", SMALL)
def test_trying_everything_proves_the_known_optimum(name: str) -> None:
    known = WindowPlacement.from_file(PROBLEMS / f"{name}.placement.json")
    answer = answered(WindowProblem.from_file(PROBLEMS / f"{name}.json"), "exhaustive")
    assert (answer.status, answer.bounds) == ("optimal", known.bounds)


@settings(max_examples=150, deadline=None)
@given(problem=windows(4))
def test_exact_agrees_with_trying_everything(problem: WindowProblem) -> None:
    best = optimum(problem)
    exact = answered(problem, "exact")
    assert exact.status == ("infeasible" if best is None else "optimal")
    assert best is None or exact.bounds == best
    assert exact.status != "infeasible" or exact.reason


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), stages=st.integers(1, 9), limit=st.sampled_from([3, 40, None]))
def test_compiled_and_interpreted_do_the_same(seed: int, stages: int, limit: int | None) -> None:
    if not COMPILED:
        pytest.skip("the search is not compiled here")
    problem = sensing_window(seed, stages=stages) if seed % 2 else random_window(seed, stages=1 + stages % 5)
    answers = []
    for largest in (window_exact.LARGEST_NJ, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(window_exact, "LARGEST_NJ", largest)
            try:
                answer = answered(problem, "exact", limit).model_copy(update={"solve_us": 0})
            except SolverError as error:
                assert "no answer was found" in str(error)
                answers.append(str(error))
            else:
                answers.append(answer.to_json())
    assert answers[0] == answers[1]


def test_why_a_window_has_no_answer() -> None:
    problem = WindowProblem.from_file(PROBLEMS / "gated-005-plain-102.json")
    caps = {"energy": 2_218_650, "tardiness": 0}
    limited = changed(problem, limits=caps, resources=rows(problem.resources, memory_bytes=10**6))
    assert answered(limited, "exact").reason == "rule 7: energy cannot be as low as its limit of 2218650"
    late = changed(problem, limits={"makespan": 1, "energy": 10**12})
    assert answered(late, "exact").reason == "rule 7: makespan cannot be as low as its limit of 1"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), limit=st.integers(1, 300))
def test_bounds_hold_wherever_exact_is_stopped(seed: int, limit: int) -> None:
    problem = sensing_window(seed)
    best = answered(problem, "exact")
    with contextlib.suppress(SolverError):
        stopped = answered(problem, "exact", limit)
        assert stopped.bounds <= best.bounds
        assert stopped.status != "optimal" or stopped.bounds == best.bounds


@pytest.mark.parametrize("stages", [20, 120])
def test_exact_answers_also_where_it_is_stopped_at_once(stages: int) -> None:
    problem = sensing_window(3, stages=stages)
    for limits in ({"limit_ms": 0}, {"limit_nodes": 0}):
        answer = solve_window(problem, **limits)
        assert check_window(problem, answer).ok
        assert (answer.solver, answer.status) == ("exact", "feasible")


DRAWN = [random_window(seed, stages=1 + seed % 4, processors=1 + seed % 2) for seed in range(24)]
DRAWN += [sensing_window(seed, stages=4 + seed % 2) for seed in range(16)]


@pytest.mark.parametrize("problem", DRAWN, ids=lambda problem: problem.name)
def test_both_agree_on_small_windows(problem: WindowProblem) -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    exhaustive, oracle = answered(problem, "exhaustive"), answered(problem, "oracle")
    assert (exhaustive.status, exhaustive.bounds) == (oracle.status, oracle.bounds)
    if oracle.status == "infeasible":
        assert oracle.reason is not None
        assert re.match("rule [1457]", oracle.reason)


@settings(max_examples=40, deadline=None)
@given(problem=problems(3))
def test_a_problem_asked_as_a_window_has_the_same_optimum(problem: Problem) -> None:
    frame = solve(problem)
    best = frame.bounds if frame.status == "optimal" else None
    assert optimum(as_window(problem)) == best
    assert optimum(changed(as_window(problem), horizon_us=10**9)) == best


@settings(max_examples=40, deadline=None)
@given(problem=windows(3))
def test_chances_only_cost(problem: WindowProblem) -> None:
    """What never runs is cheapest; what always runs costs what it does without gates, since waiting never pays."""
    gated = [stage for stage in rows(problem.stages) if stage["gates"]]
    never = rows(problem.stages)
    for stage in never:
        stage["chance_ppm"] = 0 if stage in gated or stage["gates"] else CERTAIN
    best = optimum(problem)
    assert no_worse(optimum(changed(problem, stages=never)), best)
    certain = optimum(changed(problem, stages=rows(problem.stages, chance_ppm=CERTAIN)))
    assert no_worse(best, certain)
    assert certain == optimum(changed(problem, stages=rows(problem.stages, chance_ppm=CERTAIN, gates=[])))


@settings(max_examples=40, deadline=None)
@given(problem=windows(3))
def test_lingering_only_costs(problem: WindowProblem) -> None:
    """Who need not stay awake may be held, and what lies after the horizon is charged to nobody."""
    shorter = [
        {**resource, "linger_us": (resource.get("linger_us") or 0) // 2}
        if resource.get("linger_us", 0) is not None
        else resource
        for resource in rows(problem.resources)
    ]
    best = optimum(problem)
    assert no_worse(optimum(changed(problem, resources=shorter)), best)
    assert no_worse(best, optimum(changed(problem, horizon_us=2 * problem.horizon_us)))


@settings(max_examples=40, deadline=None)
@given(problem=windows(3))
def test_another_release_at_which_to_wake_never_hurts(problem: WindowProblem) -> None:
    assert no_worse(optimum(problem), optimum(changed(problem, releases_us=[0])))


@settings(max_examples=40, deadline=None)
@given(problem=windows(3))
def test_another_order_keeps_the_optimum(problem: WindowProblem) -> None:
    turned = {
        part: list(reversed(rows(getattr(problem, part)))) for part in ("resources", "links", "stages", "deadlines")
    }
    for stage in turned["stages"]:
        stage.update(inputs=stage["inputs"][::-1], gates=stage["gates"][::-1], modes=stage["modes"][::-1])
    assert optimum(changed(problem, **turned)) == optimum(problem)


@pytest.mark.parametrize("solver", WINDOW_SOLVERS)
def test_an_empty_window_has_an_answer(solver: str) -> None:
    if solver == "oracle":
        pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    problem = WindowProblem(format="leo-problem/2", name="nothing", horizon_us=1, resources=(), stages=())
    assert answered(problem, solver).bounds == (0, 0)


def test_a_limit_leaves_proved_bounds() -> None:
    problem = WindowProblem.from_file(PROBLEMS / "gated-005-plain-102.json")
    known = WindowPlacement.from_file(PROBLEMS / "gated-005-plain-102.placement.json")
    with pytest.raises(SolverError, match="no answer was found within the limit") as error:
        solve_window(problem, "exhaustive", limit_nodes=0)
    assert error.value.hint
    answers = [answered(problem, "exhaustive", limit) for limit in (20, 50, 100)]
    assert {answer.status for answer in answers} == {"feasible"}
    assert all(answer.bounds <= known.bounds for answer in answers)
    with pytest.raises(SolverError, match='no solver of windows is called "magic"') as error:
        solve_window(problem, "magic")
    assert "exhaustive" in error.value.hint


@pytest.mark.once
@pytest.mark.skipif(not COMPILED, reason="only compiled numbers overflow")
def test_what_never_starts_costs_no_less_than_nothing() -> None:
    """A span that ended at the end of all times had a negative cost, and was proved the best."""
    features: tuple[Any, ...] = ("gates", "linger", "releases", "tail", "rest", "wake", "power", "cloud")
    problem = random_window(1, stages=40, processors=3, features=features)
    assert answered(problem, "exact", 80_000).status == "feasible"


def test_what_is_too_large_to_be_searched_has_a_simple_answer() -> None:
    """More variables than the search holds; it crashed the process."""
    problem = random_window(1, stages=150, processors=3, features=("gates", "linger", "releases", "wake", "power"))
    assert answered(problem, "exact", 1).status == "feasible"


def test_what_is_too_large_for_the_oracle_is_said() -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    known = WindowProblem.from_file(PROBLEMS / "gated-005-plain-102.json")
    long = changed(known, resources=rows(known.resources, awake_mw=10**12))
    with pytest.raises(SolverError, match="its numbers are too large for CP-SAT") as error:
        solve_window(long, "oracle")
    assert error.value.hint == "use the solver `exhaustive`"
    gates = [{"name": f"g{i}", "modes": [{"resource": "dsp", "duration_us": 1, "energy_nj": 0}]} for i in range(14)]
    modes = [{"resource": "gpu", "duration_us": 1, "energy_nj": 0}]
    models = [
        {"name": f"m{i}", "inputs": [f"g{i}"], "gates": [f"g{i}"], "chance_ppm": 1, "modes": modes} for i in range(14)
    ]
    with pytest.raises(SolverError, match="more than 4096 lists of gates are too many for CP-SAT"):
        solve_window(changed(known, stages=[*gates, *models], deadlines=[]), "oracle")


NUMBERS = st.sampled_from([0, 1, 2, 10**6, 2**31, 2**53 + 1, 10**12, 10**15])


def numbers(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a number inside a JSON value."""
    here = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    found = [(value, key) for key, inner in here if isinstance(inner, int) and not isinstance(inner, bool)]
    return found + [place for _, inner in here for place in numbers(inner)]


@settings(max_examples=60, deadline=None)
@given(problem=windows(4), data=st.data())
def test_extreme_numbers_are_refused_or_answered_within_the_rules(problem: WindowProblem, data: st.DataObject) -> None:
    document = json.loads(problem.to_json())
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(numbers(document)))
        container[key] = data.draw(NUMBERS)
    try:
        extreme = WindowProblem.from_dict(document)
    except DocumentError as error:
        assert ", at $" in str(error)
        return
    with contextlib.suppress(SolverError):
        answered(extreme, "exact", 100)
    with contextlib.suppress(SolverError):
        answered(extreme, "exhaustive", STEPS)

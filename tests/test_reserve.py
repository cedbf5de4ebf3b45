"""A reserve of the deadlines: the plan is early, and what is said about it is true of the real deadlines."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Deadline, Mode, Placement, Problem, Resource, StageModes
from leo_runtime.documents.window import WindowPlacement, WindowProblem, as_window
from leo_runtime.judge import check
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.solver.reserve import solve_with_reserve, window_with_reserve
from leo_runtime.solver.window import solve_window
from leo_runtime.testing import random_problem


def exhaustive(problem: Problem) -> Placement:
    return solve(problem, "exhaustive")


def fast_or_frugal(**more: object) -> Problem:
    """One stage: 60 us for 9 nJ, or 100 us for 1 nJ, due after 100 us."""
    modes = (
        Mode(resource="cpu", duration_us=60, energy_nj=9),
        Mode(resource="cpu", variant="frugal", duration_us=100, energy_nj=1),
    )
    problem = Problem(
        format="leo-problem/1",
        name="one",
        resources=(Resource(name="cpu"),),
        stages=(StageModes(name="s", modes=modes),),
        deadlines=(Deadline(stage="s", deadline_us=100, weight=2),),
    )
    return problem.model_copy(update=more)


def test_the_answer_is_about_the_deadlines_that_were_asked_for() -> None:
    answer = solve_with_reserve(fast_or_frugal(), 50, exhaustive)
    assert answer.criteria is not None
    assert (answer.criteria.tardiness, answer.criteria.energy) == (0, 9)
    assert (answer.status, answer.bounds) == ("feasible", (0, 1))
    assert check(fast_or_frugal(), answer).ok


@pytest.mark.parametrize(
    ("percent", "more"), [(0, {}), (50, {"deadlines": ()}), (50, {"objective": ("energy", "makespan")})]
)
def test_what_earlier_deadlines_do_not_change_stays_proved(percent: int, more: dict[str, object]) -> None:
    answer = solve_with_reserve(fast_or_frugal(**more), percent, exhaustive)
    assert answer.status == "optimal"
    assert answer.stages[0].variant == "frugal"


def test_a_reserve_that_a_cap_on_lateness_forbids_is_given_up() -> None:
    problem = fast_or_frugal(limits={"tardiness": 0})
    answer = solve_with_reserve(problem, 50, exhaustive)
    assert (answer.status, answer.stages) == ("optimal", exhaustive(problem).stages)


def later(problem: Problem) -> WindowProblem:
    """The same stage as a window, and once more at 1,000 us."""
    window = as_window(problem)
    again = window.stages[0].model_copy(update={"name": "s@2", "release_us": 1_000})
    due = Deadline(stage="s@2", deadline_us=1_100)
    return window.model_copy(update={"stages": (*window.stages, again), "deadlines": (*window.deadlines, due)})


def test_in_a_window_the_reserve_is_of_the_time_from_each_release() -> None:
    asked: list[WindowProblem] = []

    def solver(problem: WindowProblem) -> WindowPlacement:
        asked.append(problem)
        return solve_window(problem, "exhaustive")

    window = later(fast_or_frugal())
    answer = window_with_reserve(window, 40, solver)
    assert [due.deadline_us for due in asked[0].deadlines] == [60, 1_060]
    assert {run.variant for run in answer.stages} == {"default"}
    assert check_window(window, answer).ok and answer.criteria is not None
    assert (answer.criteria.tardiness, answer.status) == (0, "feasible")


def test_without_a_reserve_a_window_is_asked_about_as_it_is() -> None:
    window = later(fast_or_frugal())
    answer = window_with_reserve(window, 0, lambda problem: solve_window(problem, "exhaustive"))
    assert (answer.status, {run.variant for run in answer.stages}) == ("optimal", {"frugal"})


SOLVERS: tuple[Callable[[Problem], Placement], ...] = (exhaustive, lambda problem: solve(problem, "exact"))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), percent=st.integers(1, 99), solver=st.sampled_from(SOLVERS), data=st.data())
def test_every_claim_holds_for_the_real_deadlines(
    seed: int, percent: int, solver: Callable[[Problem], Placement], data: st.DataObject
) -> None:
    problem = random_problem(seed, stages=4, features=("lanes", "wake", "variants", "limit"))
    objective = data.draw(st.permutations(problem.objective))
    problem = problem.model_copy(update={"objective": tuple(objective)})
    answer = solve_with_reserve(problem, percent, solver)
    assert check(problem, answer).ok
    best = exhaustive(problem)
    if answer.criteria is None or best.criteria is None:
        assert answer.status == best.status
        return
    for bound, name in zip(answer.bounds, problem.objective, strict=True):
        # A bound speaks of answers that are as good as this one in what comes before.
        assert bound <= getattr(best.criteria, name)
        if getattr(best.criteria, name) != getattr(answer.criteria, name):
            break
    assert answer.status != "optimal" or answer.criteria == best.criteria or answer.bounds == best.bounds

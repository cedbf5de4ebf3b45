"""Keeps a part of every deadline free in plans, so that a hitch in real time need not make a frame late.

The plan is made for deadlines that come earlier; the answer is about the question as it was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Answer, Criterion, Deadline, Placement, Problem, Question
from leo_runtime.documents.window import WindowPlacement, WindowProblem, WindowStage
from leo_runtime.judge import check
from leo_runtime.judge.frame import CheckReport
from leo_runtime.judge.memory import check_memory
from leo_runtime.judge.window import check_window
from leo_runtime.solver.gates import share

_Asked = TypeVar("_Asked", bound=Question)
_Placed = TypeVar("_Placed", Placement, WindowPlacement, MemoryPlacement)


def solve_with_reserve(problem: Problem, reserve_percent: int, solve: Callable[[Problem], Placement]) -> Placement:
    """Place a frame as if each of its deadlines came earlier by that part of it.

    Criteria, bounds and status are those of the problem given: the answer to the earlier deadlines need not be optimal
    for the real ones, and is then called `feasible`.
    """
    return _solved(problem, reserve_percent, solve, check)


def window_with_reserve(
    problem: WindowProblem, reserve_percent: int, solve: Callable[[WindowProblem], WindowPlacement]
) -> WindowPlacement:
    """The same of a window: each deadline comes earlier by that part of the time from its stage's release to it."""
    return _solved(problem, reserve_percent, solve, check_window)


def memory_with_reserve(
    problem: MemoryProblem, reserve_percent: int, solve: Callable[[MemoryProblem], MemoryPlacement]
) -> MemoryPlacement:
    """The same of a frame with weights."""
    return _solved(problem, reserve_percent, solve, check_memory)


def _solved(
    problem: _Asked, reserve_percent: int, solve: Callable[[_Asked], _Placed], judge: Callable[..., CheckReport]
) -> _Placed:
    released_us = {stage.name: stage.release_us if isinstance(stage, WindowStage) else 0 for stage in problem.stages}
    earlier = tuple(_earlier(due, released_us[due.stage], reserve_percent) for due in problem.deadlines)
    if earlier == problem.deadlines:
        return solve(problem)
    placement = solve(problem.model_copy(update={"deadlines": earlier}))
    if placement.status == "infeasible":
        # Earlier deadlines can only clash with a cap on lateness, which the real ones may well allow.
        return solve(problem) if "tardiness" in problem.limits else placement
    criteria = judge(problem, placement.model_copy(update={"criteria": None})).criteria
    assert criteria is not None, "a solver's answer obeys the rules, of which deadlines are none"
    moved_us = sum(
        due.weight * (due.deadline_us - early.deadline_us)
        for due, early in zip(problem.deadlines, earlier, strict=True)
    )
    bounds = _bounds(problem, placement, moved_us)
    proved = bounds == tuple(getattr(criteria, name) for name in problem.objective)
    status = "optimal" if proved else "feasible"
    return placement.model_copy(update={"criteria": criteria, "bounds": bounds, "status": status})


def _earlier(due: Deadline, released_us: int, reserve_percent: int) -> Deadline:
    left_us = max(0, due.deadline_us - released_us) * (100 - reserve_percent) // 100
    return due.model_copy(update={"deadline_us": min(due.deadline_us, released_us + left_us)})


def _bounds(problem: Question, placement: Answer, moved_us: int) -> tuple[int, ...]:
    """What still holds of bounds that were proved for deadlines that come earlier by `moved_us` in all, weighted.

    Up to the lateness, the same schedules are compared. No schedule's lateness shrinks by more than `moved_us` when
    the deadlines move back. What comes after was proved among schedules of another lateness, and nothing of it holds;
    nor does anything under a cap on lateness, which excluded schedules that are now allowed.
    """
    proved = dict(zip(problem.objective, placement.bounds, strict=False))
    if "tardiness" in problem.limits:
        proved.clear()
    found: list[int] = []
    for name in problem.objective:
        bound = proved.get(name, 0)
        if name == "tardiness":
            bound -= moved_us
            proved.clear()
        found.append(max(bound, _least(problem, name)))
    return tuple(found)


def _least(problem: Question, criterion: Criterion) -> int:
    """What no answer can be below: every stage in its best mode for this criterion alone."""
    if criterion == "energy":
        if isinstance(problem, WindowProblem):  # A stage may not run; what never sleeps and the like is left to others.
            return sum(share(min(mode.energy_nj for mode in stage.modes), stage.chance_ppm) for stage in problem.stages)
        return sum(min(mode.energy_nj for mode in stage.modes) for stage in problem.stages)
    if criterion == "accuracy_loss":
        return sum(min(mode.accuracy_loss_ppm for mode in stage.modes) for stage in problem.stages)
    if criterion == "makespan":
        ends = (stage.release_us + min(mode.duration_us for mode in stage.modes) for stage in problem.stages)
        return max(ends, default=0)
    return 0

"""Keeps a part of every deadline free in plans, so that a hitch in real time need not make a frame late.

The plan is made for deadlines that come earlier; the answer is about the question as it was asked.
"""

from __future__ import annotations

from collections.abc import Callable

from leo_runtime.documents.problem import Criterion, Placement, Problem
from leo_runtime.judge import check


def solve_with_reserve(problem: Problem, reserve_percent: int, solve: Callable[[Problem], Placement]) -> Placement:
    """Place a frame as if each of its deadlines came earlier by that part of it.

    Criteria, bounds and status are those of the problem given: the answer to the earlier deadlines need not be optimal
    for the real ones, and is then called `feasible`.
    """
    earlier = tuple(
        due.model_copy(update={"deadline_us": due.deadline_us * (100 - reserve_percent) // 100})
        for due in problem.deadlines
    )
    if earlier == problem.deadlines:
        return solve(problem)
    placement = solve(problem.model_copy(update={"deadlines": earlier}))
    if placement.status == "infeasible":
        # Earlier deadlines can only clash with a cap on lateness, which the real ones may well allow.
        return solve(problem) if "tardiness" in problem.limits else placement
    criteria = check(problem, placement.model_copy(update={"criteria": None})).criteria
    assert criteria is not None, "a solver's answer obeys the rules, of which deadlines are none"
    moved_us = sum(
        due.weight * (due.deadline_us - early.deadline_us)
        for due, early in zip(problem.deadlines, earlier, strict=True)
    )
    bounds = _bounds(problem, placement, moved_us)
    proved = bounds == tuple(getattr(criteria, name) for name in problem.objective)
    status = "optimal" if proved else "feasible"
    return placement.model_copy(update={"criteria": criteria, "bounds": bounds, "status": status})


def _bounds(problem: Problem, placement: Placement, moved_us: int) -> tuple[int, ...]:
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


def _least(problem: Problem, criterion: Criterion) -> int:
    """What no answer can be below: every stage in its best mode for this criterion alone."""
    if criterion == "energy":
        return sum(min(mode.energy_nj for mode in stage.modes) for stage in problem.stages)
    if criterion == "accuracy_loss":
        return sum(min(mode.accuracy_loss_ppm for mode in stage.modes) for stage in problem.stages)
    if criterion == "makespan":
        ends = (stage.release_us + min(mode.duration_us for mode in stage.modes) for stage in problem.stages)
        return max(ends, default=0)
    return 0

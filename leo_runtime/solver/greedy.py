"""Greedy: from the best simple answer, move one stage at a time to the mode that improves the objective most.

It starts from HEFT's answer or from everything on one processor, whichever is better, and goes through the stages by
upward rank until a whole pass changes nothing. A stage is tried in each of its modes, alone and together with those
that read it (which single moves cannot do where a transfer costs more than either move saves); the best so far is kept.
"""

from time import perf_counter_ns

from leo_runtime.problem import Placement, Problem
from leo_runtime.solver import heft
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.limits import limited
from leo_runtime.solver.lists import Lists, consider_single_processors

NAME = "greedy"


def solve(
    problem: Problem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,  # noqa: ARG001  # nothing is drawn
) -> Placement:
    """A local optimum; `limit_nodes` counts schedules made.

    Raises `SolverError` where it finds no placement that keeps every rule.
    """
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = Lists.of(Compiled(problem), stop)
        heft.run(lists)
        consider_single_processors(lists)
        improve(lists, limit_nodes)
        return lists.placement(NAME, began)


def improve(lists: Lists, limit_moves: int | None) -> None:
    """Improve the best schedule of `lists` until no move does, or until a limit bites."""
    readers = _readers(lists)
    before = None
    while lists.best != before:
        before = lists.best
        for i in lists.by_rank:
            if limit_moves is not None and lists.moves >= limit_moves:
                return
            if lists.stop.passed:
                return
            _move(lists, i, readers[i])


def _readers(lists: Lists) -> list[list[int]]:
    """For each stage the stages that read its output."""
    position = {name: i for i, name in enumerate(lists.compiled.names)}
    readers: list[list[int]] = [[] for _ in position]
    for i, stage in enumerate(lists.compiled.stages):
        for name in stage.inputs:
            readers[position[name]].append(i)
    return readers


def _move(lists: Lists, i: int, readers: list[int]) -> None:
    """Try stage i in every mode, alone and with its readers on the same resource, in both orders."""
    stages = lists.compiled.stages
    for g, mode in enumerate(stages[i].modes):
        alone = list(lists.best_modes)
        alone[i] = g
        together = list(alone)
        for j in readers:
            there = (h for h, other in enumerate(stages[j].modes) if other.resource == mode.resource)
            together[j] = next(there, together[j])
        for modes in (alone,) if together == alone else (alone, together):
            lists.consider(modes, lists.by_rank)
            if lists.by_due != lists.by_rank:
                lists.consider(modes, lists.by_due)

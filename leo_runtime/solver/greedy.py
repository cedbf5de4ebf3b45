"""Greedy: from the best simple answer, move stages to where the objective improves, until no move improves it.

It starts from HEFT's answer or from everything on one processor, whichever is better, and has four kinds of moves:

- a stage in each of its modes, alone and together with those that read it (which single moves cannot do where a
  transfer costs more than either move saves);
- everything to a processor, as far as it can run there;
- what is connected on one processor to another;
- a stage and all that depends on it to another processor.

Of each kind all are tried, the best answer so far is kept and moved on from; whenever a kind has improved it, the first
kind has its turn again. What a group cuts off from a link goes along (`groups`).
"""

from collections.abc import Iterator
from time import perf_counter_ns

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.solver import heft
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.groups import Groups
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
        compiled = Compiled(problem)
        lists = Lists.of(compiled, stop)
        heft.run(lists)
        consider_single_processors(lists)
        improve(lists, Groups(compiled), limit_nodes)
        return lists.placement(NAME, began)


def improve(lists: Lists, groups: Groups, limit_moves: int | None) -> None:
    """Improve the best schedule of `lists` until no move does, or until a limit bites."""
    tried: set[tuple[int, ...]] = set()  # since the best was found: kinds and passes repeat each other
    turn = 0
    while turn < len(KINDS):
        before = lists.best
        for modes in KINDS[turn](lists, groups):
            if lists.stop.passed or (limit_moves is not None and lists.moves >= limit_moves):
                return
            chosen = tuple(modes)
            if chosen in tried:
                continue
            best = lists.best
            lists.consider(modes, lists.by_rank)
            if lists.by_due != lists.by_rank:
                lists.consider(modes, lists.by_due)
            if lists.best is not best:
                tried.clear()
            tried.add(chosen)
        turn = turn + 1 if lists.best == before else 0


def _stages(lists: Lists, groups: Groups) -> Iterator[list[int]]:
    """Each stage in every mode, alone and with its readers on the same resource."""
    for i in lists.by_rank:
        for g, resource in enumerate(groups.places[i]):
            alone = list(lists.best_modes)
            alone[i] = g
            together = list(alone)
            for j in groups.readers[i]:
                if resource in groups.places[j]:
                    together[j] = groups.places[j].index(resource)
            yield alone
            if together != alone:
                yield together


def _everything(lists: Lists, groups: Groups) -> Iterator[list[int]]:
    """As much as can run there, on each resource."""
    for resource in groups.resources:
        yield from groups.moved(lists.best_modes, lists.by_rank, resource)


def _together(lists: Lists, groups: Groups) -> Iterator[list[int]]:
    """What is connected on one resource on each other."""
    known: set[int] = set()
    for i in lists.by_rank:
        if i not in known:
            group = groups.together(i, lists.best_modes)
            known.update(group)
            here = groups.places[i][lists.best_modes[i]]
            for resource in dict.fromkeys(place for j in group for place in groups.places[j]):
                if resource != here:
                    yield from groups.moved(lists.best_modes, group, resource)


def _following(lists: Lists, groups: Groups) -> Iterator[list[int]]:
    """Each stage on each other resource that it can run on, with as much as can of all that depends on it."""
    for i in lists.by_rank:
        group = groups.following(i)
        for resource in dict.fromkeys(groups.places[i]):
            if resource != groups.places[i][lists.best_modes[i]]:
                yield from groups.moved(lists.best_modes, group, resource)


KINDS = (_stages, _everything, _together, _following)
"""The kinds of moves; each changes the modes of the best schedule so far."""

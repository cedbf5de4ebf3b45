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

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.solver import heft
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.groups import Groups
from leo_runtime.solver.limits import limited
from leo_runtime.solver.lists import Lists, consider_single_processors
from leo_runtime.solver.protocols import Schedules
from leo_runtime.solver.window_lists import WindowLists
from leo_runtime.solver.window_schedule import Window

NAME = "greedy"
WINDOW_MOVES_PER_STAGE = 100
"""How many schedules are made for each stage of a window, where no limit is given."""


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


def solve_window(
    problem: WindowProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,  # noqa: ARG001  # nothing is drawn
) -> WindowPlacement:
    """The same for a window; whenever no move improves it, what the answer waits for is chosen anew."""
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        moves = WINDOW_MOVES_PER_STAGE * len(problem.stages) if limit_nodes is None else limit_nodes
        lists = WindowLists(problem, stop, moves)
        lists.begin()
        improve_window(lists, Groups(lists.window))
        return lists.placement(NAME, began)


def improve_window(lists: WindowLists, groups: Groups) -> None:
    """As `improve`, with one kind of move more; whenever none improves it, what it waits for is chosen anew."""

    def behind(lists: Schedules, groups: Groups) -> Iterator[list[int]]:
        return _behind(window, lists, groups)

    window, kinds = lists.window, (*KINDS, behind)
    improve(lists, groups, None, kinds)
    while lists.polish() and not lists.stopped:
        improve(lists, groups, None, kinds)


Kind = Callable[[Schedules, Groups], Iterator[list[int]]]
"""A kind of move: the modes to be tried, given the best so far."""


def improve(lists: Schedules, groups: Groups, limit_moves: int | None, kinds: Sequence[Kind] | None = None) -> None:
    """Improve the best schedule of `lists` until no move of these kinds (`KINDS`) does, or until a limit bites."""
    kinds = KINDS if kinds is None else kinds
    tried: set[tuple[int, ...]] = set()  # since the best was found: kinds and passes repeat each other
    turn = 0
    while turn < len(kinds):
        before = lists.best
        for modes in kinds[turn](lists, groups):
            if lists.stopped or (limit_moves is not None and lists.moves >= limit_moves):
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


def _stages(lists: Schedules, groups: Groups) -> Iterator[list[int]]:
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


def _everything(lists: Schedules, groups: Groups) -> Iterator[list[int]]:
    """As much as can run there, on each resource."""
    for resource in groups.resources:
        yield from groups.moved(lists.best_modes, lists.by_rank, resource)


def _together(lists: Schedules, groups: Groups) -> Iterator[list[int]]:
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


def _following(lists: Schedules, groups: Groups) -> Iterator[list[int]]:
    """Each stage on each other resource that it can run on, with as much as can of all that depends on it."""
    for i in lists.by_rank:
        group = groups.following(i)
        for resource in dict.fromkeys(groups.places[i]):
            if resource != groups.places[i][lists.best_modes[i]]:
                yield from groups.moved(lists.best_modes, group, resource)


def _behind(window: Window, lists: Schedules, groups: Groups) -> Iterator[list[int]]:
    """What is behind a gate on each resource to each other: one less, and the resource need not wake for that gate."""
    for gate in window.opens_ppm:
        for here in groups.resources:
            group = [
                i for i in lists.by_rank if gate in window.behind[i] and groups.places[i][lists.best_modes[i]] == here
            ]
            if len(group) > 1:
                for resource in groups.resources:
                    if resource != here:
                        yield from groups.moved(lists.best_modes, group, resource)


KINDS: tuple[Kind, ...] = (_stages, _everything, _together, _following)
"""The kinds of moves; each changes the modes of the best schedule so far."""

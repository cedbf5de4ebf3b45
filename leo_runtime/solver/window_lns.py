"""For windows whose optimum is out of reach: the search that learns for a while, then local search from its answer.

Modes, order and what is waited for are changed all at once. From the better one of the greedy answer and that of the
search that learns, random changes of one to a few stages are made, each kept unless it is worse than the answer so many
steps ago: late acceptance hill-climbing (Burke and Bykov, European Journal of Operational Research 258(1), 2017), which
needs no scale of what a criterion is worth. Whenever a round is over, what the best answer waits for is chosen anew,
and the next round starts from it. The bounds are those of the search that learns.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from time import perf_counter_ns

from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.solver import greedy, window_exact
from leo_runtime.solver.groups import Groups
from leo_runtime.solver.limits import limited
from leo_runtime.solver.memetic import varied
from leo_runtime.solver.window_bounds import least
from leo_runtime.solver.window_lists import WindowLists
from leo_runtime.solver.window_schedule import Choice, chosen, placement
from leo_runtime.solver.window_waits import drawn

NAME = "lns"
MOVES_PER_STAGE = 100
"""How many schedules are made for each stage, where no limit is given."""
ROUND_PER_STAGE = 30
NODES = 20_000
"""How far the search that learns goes where no limit is given."""
LEARNING_PERCENT = 40
"""Of a time limit, how much of it is for the search that learns."""
LATE = 40
"""How many steps ago the answer was that a new one is compared with."""
WAITS_ONE_IN, GATES_ONE_IN = 3, 12
"""One change in so many is of what is waited for; of the rest one in so many moves what is behind a gate from one
resource to another, and the others are the local moves of the memetic search."""


def solve(
    problem: WindowProblem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0
) -> WindowPlacement:
    """A good answer with proved bounds; `optimal` where they meet.

    `limit_nodes` counts the nodes of the search that learns, and once more the schedules of the local search, at most
    half of them for the greedy answer; with `limit_ms` alone it searches until then. Raises `SolverError` where it
    finds no answer that keeps every rule, and cannot rule out that there is one.
    """
    began = perf_counter_ns()
    rng = Random(seed)
    first = _learned(problem, limit_ms, limit_nodes, seed)
    if first is not None and first.status != "feasible":
        return first.model_copy(update={"solver": NAME, "solve_us": (perf_counter_ns() - began) // 1000})
    with limited(limit_ms, began) as stop:
        most = limit_nodes
        if limit_nodes is None and limit_ms is None:
            most = MOVES_PER_STAGE * len(problem.stages)
        lists = WindowLists(problem, stop, None if most is None else most // 2)
        if first is not None:
            schedule = lists.window.schedule(chosen(lists.window, first))
            if schedule is not None:
                lists.keep(lists.waiting(schedule))
        lists.begin()
        groups = Groups(lists.window)
        greedy.improve_window(lists, groups)
        lists.limit_moves = most
        while lists.schedule is not None and problem.stages and not lists.stopped:
            _round(lists, groups, ROUND_PER_STAGE * len(problem.stages), rng)
            lists.keep(lists.waiting(lists.schedule))
        return _better(problem, lists, first, began)


def _learned(
    problem: WindowProblem, limit_ms: int | None, limit_nodes: int | None, seed: int
) -> WindowPlacement | None:
    """The answer of the search that learns, in a share of the limits; None where it finds none."""
    ms = None if limit_ms is None else max(1, limit_ms * LEARNING_PERCENT // 100)
    nodes = NODES if limit_nodes is None and limit_ms is None else limit_nodes
    try:
        return window_exact.solve(problem, limit_ms=ms, limit_nodes=nodes, seed=seed)
    except SolverError:
        return None


def _better(
    problem: WindowProblem, lists: WindowLists, first: WindowPlacement | None, began_ns: int
) -> WindowPlacement:
    """The better one of the two answers, with all bounds that are proved for it."""
    solve_us = (perf_counter_ns() - began_ns) // 1000
    if first is None or first.criteria is None:
        return lists.placement(NAME, began_ns)
    theirs = tuple(getattr(first.criteria, name) for name in problem.objective)
    if lists.best is None or (0, *theirs) <= lists.best:
        return first.model_copy(update={"solver": NAME, "solve_us": solve_us})
    bounds = list(least(lists.window))
    for k, bound in enumerate(first.bounds):
        # A bound holds for answers that are as good as the one it was proved with in the criteria before it.
        if theirs[:k] == lists.best[1 : k + 1]:
            bounds[k] = max(bounds[k], bound)
    assert lists.schedule is not None, "it has a value"
    return placement(lists.window, lists.schedule, NAME, tuple(bounds), solve_us)


def _round(lists: WindowLists, groups: Groups, steps: int, rng: Random) -> None:
    """So many random changes from the best schedule."""
    assert lists.schedule is not None, "there is a schedule to start from"
    schedule = lists.schedule
    late = [schedule.value] * LATE
    for step in range(steps):
        if lists.stopped:
            return
        choice = _changed(lists, groups, schedule.choice, rng)
        found = lists.window.schedule(choice)
        if found is not None and (found.value <= schedule.value or found.value <= late[step % LATE]):
            schedule = found
            lists.keep(found)
        late[step % LATE] = schedule.value


def _changed(lists: WindowLists, groups: Groups, choice: Choice, rng: Random) -> Choice:
    """The choice with something else at random."""
    if rng.randrange(WAITS_ONE_IN) == 0:
        return drawn(lists.window, choice, rng).applied(choice)
    modes, order = list(choice.modes), list(choice.order)
    window = lists.window
    if window.opens_ppm and rng.randrange(GATES_ONE_IN) == 0:
        gate, there = rng.choice(list(window.opens_ppm)), rng.choice(groups.resources)
        here = rng.choice(groups.resources)
        group = [i for i, g in enumerate(modes) if gate in window.behind[i] and groups.places[i][g] == here]
        modes = rng.choice(list(groups.moved(modes, group, there)) or [modes])
    else:
        modes, order = varied(modes, order, groups, rng)
    return replace(choice, modes=tuple(modes), order=tuple(order))

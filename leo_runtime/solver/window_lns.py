"""Local search for windows whose optimum is out of reach: modes, order and what is waited for, all at once.

From the greedy answer, random changes of one to a few stages, each kept unless it is worse than the answer so many
steps ago: late acceptance hill-climbing (Burke and Bykov, European Journal of Operational Research 258(1), 2017), which
needs no scale of what a criterion is worth. Whenever a round is over, what the best answer waits for is chosen anew,
and the next round starts from it.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from time import perf_counter_ns

from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.solver import greedy
from leo_runtime.solver.groups import Groups
from leo_runtime.solver.limits import limited
from leo_runtime.solver.memetic import varied
from leo_runtime.solver.window_lists import WindowLists
from leo_runtime.solver.window_schedule import Choice
from leo_runtime.solver.window_waits import drawn

NAME = "lns"
MOVES_PER_STAGE = 150
"""How many schedules are made for each stage, where no limit is given."""
ROUND_PER_STAGE = 30
LATE = 40
"""How many steps ago the answer was that a new one is compared with."""
WAITS_ONE_IN, GATES_ONE_IN = 3, 12
"""One change in so many is of what is waited for; of the rest one in so many moves what is behind a gate from one
resource to another, and the others are the local moves of the memetic search."""


def solve(
    problem: WindowProblem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0
) -> WindowPlacement:
    """A good answer with weak proved bounds. `limit_nodes` counts schedules, at most half of them for the greedy one.

    With `limit_ms` alone it searches until then. Raises `SolverError` where it finds none that keeps every rule.
    """
    began = perf_counter_ns()
    rng = Random(seed)
    with limited(limit_ms, began) as stop:
        lists = WindowLists(problem, stop)
        lists.begin()
        groups = Groups(lists.window)
        greedy.improve_window(lists, groups, None if limit_nodes is None else limit_nodes // 2)
        moves = None if limit_nodes is None else limit_nodes - lists.moves
        if limit_nodes is None and limit_ms is None:
            moves = MOVES_PER_STAGE * len(problem.stages)
        while (
            lists.schedule is not None and len(problem.stages) > 0 and not stop.passed and (moves is None or moves > 0)
        ):
            steps = ROUND_PER_STAGE * len(problem.stages)
            _round(lists, groups, steps if moves is None else min(steps, moves), rng)
            lists.polish()
            if moves is not None:
                moves -= steps
        return lists.placement(NAME, began)


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

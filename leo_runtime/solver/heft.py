"""HEFT: stages by upward rank, each on the mode on which it ends first, in the earliest gap that fits.

As Topcuoglu, Hariri and Wu describe it (IEEE TPDS 13(3), 2002), with what our problems have besides: a transfer is
sent once to each target, may occupy a radio, and is put into the earliest gap there; processors have lanes, become
free late, and wake up. HEFT looks at nothing but times. Where its answer breaks a cap, a budget or a limit, it runs
again with stages fixed, one at a time, to the mode under which it breaks least; and where everything on one processor
is better in the objective, that is the answer.
HEFT leaves open which of two stages of equal rank comes first, and which of two modes that end at once is taken. Both
are broken both ways, the problem's order first, and the best of the four schedules is kept; the lane is the first.
"""

from time import perf_counter_ns

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.limits import limited
from leo_runtime.solver.lists import Lists

NAME = "heft"
SCHEDULES = 4
"""The first or the last of equal ranks, and the first or the last of equal ends."""


def solve(
    problem: Problem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,  # noqa: ARG001  # HEFT makes a fixed number of schedules
    seed: int = 0,  # noqa: ARG001  # nothing is drawn
) -> Placement:
    """HEFT's answer; `limit_ms` cuts short what follows its own schedules.

    Raises `SolverError` where it finds none that keeps every rule.
    """
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = Lists.of(Compiled(problem), stop)
        run(lists)
        return lists.placement(NAME, began)


def solve_prepared(lists: Lists, began_ns: int) -> Placement:
    """The same for a problem that is compiled and whose stages are ordered already (`Lists.of`), as often as wanted."""
    lists.best = None
    run(lists)
    return lists.placement(NAME, began_ns)


def run(lists: Lists) -> None:
    """Leave HEFT's best schedule in `lists`.

    Where nothing is tied, the other way to break ties would make the same schedule again: it counts, but is not made.
    """
    counted = lists.moves + SCHEDULES
    backward = lists.kernel.rank_order(True)
    for order in (lists.by_rank,) if backward == lists.by_rank else (lists.by_rank, backward):
        lists.consider([-1] * len(order), order)
        if lists.kernel.tied:
            lists.consider([-2] * len(order), order)
    lists.moves = counted
    if lists.best is not None and lists.best[0] > 0:
        _mend(lists)


def _mend(lists: Lists) -> None:
    """Fix stages, one after the other, to modes under which HEFT for the rest breaks the rules least."""
    modes = [-1] * len(lists.by_rank)
    for i in lists.by_rank:
        if lists.stop.passed:
            return
        values = []
        for g in range(len(lists.compiled.stages[i].modes)):
            modes[i] = g
            values.append((lists.consider(modes, lists.by_rank), g))
        modes[i] = min(values)[1]

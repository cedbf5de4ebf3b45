"""For problems beyond a few dozen stages, of which the proof is out of reach: the best answer that time allows.

Most of the time goes to local search, much longer than the exact solver's and from two seeds at once: stages change
places and modes, and groups of them are placed anew (`docs/solver.md`). Then the search that learns, in which each
stage has the mode of the best answer so far unless a dead end speaks against it. The bounds say how far off the answer
can be.
"""

from collections.abc import Callable
from threading import Thread
from time import perf_counter_ns
from typing import Any

from leo_runtime.problem import Placement, Problem
from leo_runtime.solver import exact
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.limits import limited

CLIMBERS = 2
"""How many local searches, each in a thread of its own. Some end in an answer from which no small change leads on."""
ALONE_UP_TO = 30
"""Up to so many stages one does, as the search that learns gets away from such an answer."""
CLIMB_MOVES_PER_STAGE = 500
"""How long each is; beyond that the search that learns finds more."""
CLIMB_PERCENT = 85
"""How much of the time there is local search may take."""
TRIAL_MOVES_PER_STAGE = 5
"""By how many moves it is found out how long one takes."""
TRIAL_PERCENT = 70
"""How long a move takes in the end, of what the trial says, in which there are the simple answers too."""
NODES = 6_000
"""How far everything is searched where no limit is given."""


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """A good placement with a proved bound for each criterion; `optimal` where they meet.

    `limit_nodes` is how many nodes the search may take after the local search (`NODES` without any limit); with
    `limit_ms` alone it searches until then. Raises `SolverError` when no answer is found within the limits.
    """
    began = perf_counter_ns()
    compiled = Compiled(problem)
    climbers = [compiled.kernel() for _ in range(CLIMBERS if len(compiled.stages) > ALONE_UP_TO else 1)]
    seeds = range(seed * CLIMBERS, seed * CLIMBERS + len(climbers))
    moves = CLIMB_MOVES_PER_STAGE * len(compiled.stages)
    if limit_ms is None:
        _all_at_once(lambda kernel, own_seed: kernel.climb(moves, own_seed), climbers, seeds)
    else:
        _climb_within(limit_ms, began, climbers, seeds, moves)
    kernel, *others = climbers
    for other in others:
        if other.found:
            kernel.follow(*other.course())
    return exact.answer(
        compiled,
        kernel,
        began,
        limit_ms=limit_ms,
        limit_nodes=NODES if limit_ms is None and limit_nodes is None else limit_nodes,
        seed=seed,
        climb_moves=0,
        solver="lns",
    )


def _climb_within(limit_ms: int, began_ns: int, climbers: list[Any], seeds: range, moves: int) -> None:
    """Climb for local search's share of the time: it cools down in so many moves, so it must know how many fit."""
    with limited(limit_ms, began_ns) as stop:
        for kernel in climbers:
            stop.watch(kernel)
        share_ns = limit_ms * 1_000_000 * CLIMB_PERCENT // 100
        few = TRIAL_MOVES_PER_STAGE * climbers[0].stages
        took_ns = _all_at_once(lambda kernel, seed: kernel.climb_once(few, seed), climbers, seeds)
        half = min(moves, few * share_ns * 100 // (max(took_ns, 1) * TRIAL_PERCENT)) // 2
        took_ns = _all_at_once(lambda kernel, seed: kernel.climb_once(half, seed), climbers, seeds)
        left_ns = max(share_ns - (perf_counter_ns() - began_ns), 0)
        rest = min(moves - half, half * left_ns // max(took_ns, 1))
        _all_at_once(lambda kernel, _: kernel.climb_again(rest), climbers, seeds)


def _all_at_once(climb: Callable[[Any, int], object], climbers: list[Any], seeds: range) -> int:
    """Let each climb, all but the first in threads of their own. Returns how long that took, in ns."""
    began_ns = perf_counter_ns()
    first, *others = zip(climbers, seeds, strict=True)
    threads = [Thread(target=climb, args=other, daemon=True) for other in others]
    for thread in threads:
        thread.start()
    climb(*first)
    for thread in threads:
        thread.join()
    return perf_counter_ns() - began_ns

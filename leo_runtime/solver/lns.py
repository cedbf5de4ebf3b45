"""For problems beyond a few dozen stages, of which the proof is out of reach: the best answer that time allows.

Most of the time goes to local search, much longer than the exact solver's: stages change places and modes, and groups
of them are placed anew (`docs/solver.md`). Then the search that learns, in which each stage has the mode of the
best answer so far unless a dead end speaks against it. The bounds say how far off the answer can be.
"""

from time import perf_counter_ns
from typing import Any

from leo_runtime.problem import Placement, Problem
from leo_runtime.solver import exact
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.limits import limited

CLIMB_MOVES_PER_STAGE = 500
"""How much local search; beyond that the search that learns finds more."""
CLIMB_PERCENT = 75
"""How much of the time there is local search may take."""
TRIAL_MOVES_PER_STAGE = 5
"""By how many moves it is found out how long one takes."""
NODES = 6_000
"""How far everything is searched where no limit is given."""


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """A good placement with a proved bound for each criterion; `optimal` where they meet.

    `limit_nodes` is how many nodes the search may take after the local search (`NODES` without any limit); with
    `limit_ms` alone it searches until then. Raises `SolverError` when no answer is found within the limits.
    """
    began = perf_counter_ns()
    compiled = Compiled(problem)
    kernel = compiled.kernel()
    moves = CLIMB_MOVES_PER_STAGE * len(compiled.stages)
    if limit_ms is not None:
        moves = min(moves, _moves_within(kernel, limit_ms, began, seed))
    return exact.answer(
        compiled,
        kernel,
        began,
        limit_ms=limit_ms,
        limit_nodes=NODES if limit_ms is None and limit_nodes is None else limit_nodes,
        seed=seed,
        climb_moves=moves,
        solver="lns",
    )


def _moves_within(kernel: Any, limit_ms: int, began_ns: int, seed: int) -> int:
    """How many moves fit into local search's share of the time: it cools down in so many, so it must know."""
    moves: int = TRIAL_MOVES_PER_STAGE * kernel.stages
    with limited(limit_ms, began_ns) as stop:
        stop.watch(kernel)
        tried_ns = perf_counter_ns()
        kernel.climb(moves, seed)
        took_ns = perf_counter_ns() - tried_ns
    return moves * limit_ms * (1_000_000 * CLIMB_PERCENT // 100) // max(took_ns, 1)

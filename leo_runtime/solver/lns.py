"""For problems beyond a few dozen stages, of which the proof is out of reach: the best answer that time allows.

Longer local search than the exact solver's. Then some neighbourhoods: a few stages are freed, and branch and bound
looks for anything better with the others' modes kept (Shaw, 1998). Last the search that learns, in which each stage has
the mode of the best answer so far unless a dead end speaks against it. The bounds say how far off the answer can be.
"""

from time import perf_counter_ns

from leo_runtime.problem import Placement, Problem
from leo_runtime.solver import exact
from leo_runtime.solver.compiled import Compiled

CLIMB_MOVES_PER_STAGE = 100
NEIGHBOURHOODS = 12
"""How many are searched for each criterion."""
NODES = 6_000
"""How far everything is searched where no limit is given."""


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """A good placement with a proved bound for each criterion; `optimal` where they meet.

    `limit_nodes` is how many nodes the search may take after the neighbourhoods (`NODES` without any limit); with
    `limit_ms` alone it searches until then. Raises `SolverError` when no answer is found within the limits.
    """
    began = perf_counter_ns()
    compiled = Compiled(problem)
    return exact.answer(
        compiled,
        compiled.kernel(),
        began,
        limit_ms=limit_ms,
        limit_nodes=NODES if limit_ms is None and limit_nodes is None else limit_nodes,
        seed=seed,
        climb_moves=CLIMB_MOVES_PER_STAGE * len(compiled.stages),
        neighbourhoods=NEIGHBOURHOODS,
        solver="lns",
    )

"""Large-neighbourhood search around the exact kernel, for problems beyond a few dozen stages.

First list scheduling and seeded local search, then, again and again, a few stages are freed and branch and bound looks
for anything better with the others' modes kept (Shaw, 1998). The root's bound says how far off the answer can be.
"""

from time import perf_counter_ns
from typing import Any

from leo_runtime.problem import CRITERIA, Placement, Problem
from leo_runtime.solver.compiled import Compiled, Status
from leo_runtime.solver.exact import first_answer
from leo_runtime.solver.infeasible import reason
from leo_runtime.solver.limits import Stop, limited
from leo_runtime.solver.lists import search_single_processors

CLIMB_MOVES_PER_STAGE = 100
NEIGHBOURHOOD_NODES = 60
"""How many nodes one neighbourhood may take; it grows while fewer are enough."""
NODES = 6_000
"""Nodes of all neighbourhoods of one criterion where no limit is given."""


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """A good placement with a proved bound for each criterion; `optimal` where they meet.

    `limit_nodes` is how many nodes the neighbourhoods of each criterion may take (`NODES` without any limit); with
    `limit_ms` alone it searches until then. Raises `SolverError` when no answer is found within the limits.
    """
    began = perf_counter_ns()
    compiled = Compiled(problem)
    kernel = compiled.kernel()
    nodes = (NODES if limit_ms is None else 1 << 40) if limit_nodes is None else limit_nodes
    with limited(limit_ms, began) as stop:
        stop.watch(kernel)
        kernel.climb(CLIMB_MOVES_PER_STAGE * len(compiled.stages), seed)
        search_single_processors(compiled, kernel, stop)
        if kernel.found or first_answer(kernel, 10 * nodes):
            kernel.refine(max(nodes // NEIGHBOURHOOD_NODES, 1), NEIGHBOURHOOD_NODES, seed)
        return answer(compiled, kernel, stop, began)


def answer(compiled: Compiled, kernel: Any, stop: Stop, began_ns: int) -> Placement:
    """The kernel's best answer, `optimal` where its bounds meet it; without one the problem is proved infeasible."""
    if not kernel.found:
        return compiled.infeasible("lns", reason(compiled.problem, stop), began_ns)
    best = kernel.best()
    bounds = tuple(kernel.bounds)
    objective = compiled.problem.objective
    reached = dict(zip(CRITERIA, best, strict=False))
    status: Status = "optimal" if list(bounds) == [reached[name] for name in objective] else "feasible"
    return compiled.placement(best, "lns", status, bounds, began_ns)

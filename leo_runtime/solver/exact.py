"""The exact solver: a first answer by local search, then search until nothing better can exist. Anytime, with bounds.

`docs/solver.md` says how it works and why its bounds hold.
"""

from time import perf_counter_ns

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.infeasible import reason
from leo_runtime.solver.limits import Stop, limited
from leo_runtime.solver.lists import search_single_processors
from leo_runtime.solver.protocols import SearchKernel
from leo_runtime.solver.prove import UNLIMITED, Learned, prove

CLIMB_MOVES_PER_STAGE = 12
"""Random changes tried before the search, for a good first answer."""
FEW_STAGES = 30
"""Up to so many stages the search that learns finds nearly everything. Beyond, more local search first is worth it."""
CLIMB_MOVES_PER_STAGE_OF_MANY = 50


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """The best placement, proved; or the best one found within the limits, with proved bounds.

    `limit_nodes` counts search nodes and gives the same answer every time; `limit_ms` does not, and is checked at
    every node: what comes after it is the work of one node, the root's bounds and the document. Raises `SolverError`
    when a limit bites before any answer is found or ruled out.
    """
    began = perf_counter_ns()
    compiled = Compiled(problem)
    return answer(compiled, compiled.kernel(), began, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)


def answer(
    compiled: Compiled,
    kernel: SearchKernel,
    began_ns: int,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
    climb_moves: int | None = None,
    learned: Learned | None = None,
) -> Placement:
    """Search with a kernel of `compiled` and write the answer down; see `solve`.

    The kernel may already hold an answer to start from; `climb_moves` says how much local search to add.
    """
    with limited(limit_ms, began_ns) as stop:
        stop.watch(kernel)
        if climb_moves is None:
            stages = len(compiled.stages)
            climb_moves = stages * (CLIMB_MOVES_PER_STAGE if stages <= FEW_STAGES else CLIMB_MOVES_PER_STAGE_OF_MANY)
        kernel.climb(climb_moves, seed)
        proved, _ = prove(kernel, UNLIMITED if limit_nodes is None else limit_nodes, learned)
        return finished(compiled, kernel, proved, tuple(kernel.bounds), stop, began_ns, "exact")


def finished(
    compiled: Compiled,
    kernel: SearchKernel,
    proved: bool,
    bounds: tuple[int, ...],
    stop: Stop,
    began_ns: int,
    solver: str,
) -> Placement:
    """Write down what a searched kernel has and proves, no worse than everything on one processor (see `solve`)."""
    if not proved:
        before = kernel.best()[:4] if kernel.found else None
        search_single_processors(compiled, kernel, stop)
        if kernel.found and kernel.best()[:4] != before:
            # The later bounds were for other values of the criteria before them.
            proved = kernel.root() == 2
            bounds = (max(bounds[0], kernel.bounds[0]), *kernel.bounds[1:])
    if kernel.found:
        return compiled.placement(kernel.best(), solver, "optimal" if proved else "feasible", bounds, began_ns)
    if not proved:
        raise SolverError(
            f"`{compiled.problem.name}`: no answer was found within the limit, and none was ruled out",
            hint="raise limit_ms or limit_nodes",
        )
    return compiled.infeasible(solver, reason(compiled.problem, stop), began_ns)

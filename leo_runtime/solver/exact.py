"""The exact solver: branch and bound over modes, then over the order of what shares a lane. Anytime, with bounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from time import perf_counter_ns
from typing import Any

from leo_runtime.errors import SolverError
from leo_runtime.problem import Placement, Problem
from leo_runtime.solver.compiled import Compiled

CLIMB_MOVES = 1000
"""Random changes tried before the search, for a good first answer."""


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """The best placement, proved; or the best one found within the limits, with proved bounds.

    `limit_nodes` counts search nodes and gives the same answer every time; `limit_ms` does not. Raises `SolverError`
    when a limit bites before any answer is found.
    """
    began = perf_counter_ns()
    compiled = Compiled(problem)
    return answer(compiled, compiled.kernel(), began, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)


def answer(
    compiled: Compiled, kernel: Any, began_ns: int, *, limit_ms: int | None, limit_nodes: int | None, seed: int
) -> Placement:
    """Search with a kernel of `compiled` and write the answer down; see `solve`."""
    if compiled.stages:
        kernel.climb(CLIMB_MOVES, seed)
    with _halting(kernel, limit_ms):
        proved = kernel.search((1 << 60) if limit_nodes is None else limit_nodes) == 2
    if kernel.found:
        status = "optimal" if proved else "feasible"
        return compiled.placement(kernel.best(), "exact", status, tuple(kernel.bounds), began_ns)  # type: ignore[arg-type]
    if not proved:
        raise SolverError(
            f"`{compiled.problem.name}`: no answer was found within the limit, and none was ruled out",
            hint="raise limit_ms or limit_nodes",
        )
    return compiled.infeasible("exact", "no placement satisfies all rules", began_ns)


@contextmanager
def _halting(kernel: Any, limit_ms: int | None) -> Iterator[None]:
    """Stop the kernel's search after so many milliseconds of wall time."""
    if limit_ms is None:
        yield
        return
    if limit_ms <= 0:
        kernel.halt()
    timer = Timer(limit_ms / 1000, kernel.halt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()

"""The solvers, one file each, and the one door to them: `solve`."""

from collections.abc import Callable
from importlib import import_module

from leo_runtime.errors import SolverError
from leo_runtime.problem import Placement, Problem

SOLVERS: dict[str, str] = {
    "exact": "leo_runtime.solver.exact:solve",
    "lns": "leo_runtime.solver.lns:solve",
    "single": "leo_runtime.solver.baselines:single",
    "cpu-only": "leo_runtime.solver.baselines:cpu_only",
    "dsp-first": "leo_runtime.solver.baselines:dsp_first",
    "gpu-first": "leo_runtime.solver.baselines:gpu_first",
    "greedy": "leo_runtime.solver.greedy:solve",
    "heft": "leo_runtime.solver.heft:solve",
    "memetic": "leo_runtime.solver.memetic:solve",
    "exhaustive": "leo_runtime.solver.exhaustive:solve",
    "oracle": "leo_runtime.solver.oracle:solve",
}
"""Name of each solver and where it is, as "module:function"; the module is imported when it is first asked for."""


def solve(
    problem: Problem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> Placement:
    """Answer one frame's question.

    `limit_nodes` bounds the search in nodes (or moves), repeatably; `limit_ms` in wall time, for which the answer is
    `feasible` with its proved bounds when it bites. `None` means until proved. Raises `SolverError` on an unknown
    name, or when this solver cannot answer this problem at all.
    """
    return named(solver)(problem, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)


def named(solver: str) -> Callable[..., Placement]:
    """The solver of that name, called as `f(problem, *, limit_ms, limit_nodes, seed)`. Raises `SolverError`."""
    place = SOLVERS.get(solver)
    if place is None:
        raise SolverError(f'no solver is called "{solver}"', hint=f"there are {', '.join(SOLVERS)}")
    module, function = place.split(":")
    found: Callable[..., Placement] = getattr(import_module(module), function)
    return found

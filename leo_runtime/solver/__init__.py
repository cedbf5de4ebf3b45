"""The solvers, one file each, and the one door to them: `solve`."""

from collections.abc import Callable
from typing import overload

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import InputError
from leo_runtime.solver.by_name import EVENT_DRIVEN as EVENT_DRIVEN
from leo_runtime.solver.by_name import by_name
from leo_runtime.solver.limits import plain_limits as plain_limits
from leo_runtime.solver.preferences import preferences

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
"""Name of each solver and where it is, as "module:function"; the module is imported when it is first asked for.

Besides them there is a policy for every list of processors (`preferences`)."""

COUNT_NODES = ("exact", "lns", "greedy", "memetic", "exhaustive")
"""Those that `limit_nodes` limits in steps that can be compared: decisions and dead ends of a search, or schedules
made. `oracle` counts CP-SAT's conflicts, and the others make a fixed number of schedules."""


@overload
def solve(
    problem: Problem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> Placement: ...


@overload
def solve(
    problem: WindowProblem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> WindowPlacement: ...


@overload
def solve(
    problem: MemoryProblem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> MemoryPlacement: ...


@overload
def solve(
    problem: Problem | WindowProblem | MemoryProblem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> Placement | WindowPlacement | MemoryPlacement: ...


def solve(
    problem: Problem | WindowProblem | MemoryProblem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> Placement | WindowPlacement | MemoryPlacement:
    """Answer the question of one frame, of a window, or of one frame with weights, in the form that it asks for.

    `limit_nodes` bounds the search in nodes (or moves), repeatably; `limit_ms` in wall time, for which the answer is
    `feasible` with its proved bounds when it bites. `None` means until proved. Raises `SolverError` on an unknown
    name, or when this solver cannot answer this problem at all, and `InputError` for what is no problem or no number.
    """
    if isinstance(problem, WindowProblem):
        from leo_runtime.solver.window import solve_window

        return solve_window(problem, solver, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)
    if isinstance(problem, MemoryProblem):
        from leo_runtime.solver.memory import solve_memory

        return solve_memory(problem, solver, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)
    if not isinstance(problem, Problem):
        raise InputError(
            f"the question is a Problem, got {type(problem).__name__}",
            hint="read it with Problem.from_file(path), or as a WindowProblem or MemoryProblem",
        )
    limit_ms, limit_nodes, seed = plain_limits(limit_ms, limit_nodes, seed)
    return named(solver)(problem, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)


def named(solver: str) -> Callable[..., Placement]:
    """The solver of that name, called as `f(problem, *, limit_ms, limit_nodes, seed)`. Raises `SolverError`."""
    preferred = preferences(solver)
    if preferred is not None:
        from leo_runtime.solver.baselines import preferring

        return preferring(solver, preferred)
    return by_name(solver, SOLVERS, "solver")

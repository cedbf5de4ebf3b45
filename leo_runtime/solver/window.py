"""The door to the solvers that answer windows: `solve_window`."""

from collections.abc import Callable

from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.solver.by_name import by_name
from leo_runtime.solver.limits import plain_limits
from leo_runtime.solver.preferences import preferences

WINDOW_SOLVERS: dict[str, str] = {
    "exact": "leo_runtime.solver.window_exact:solve",
    "exhaustive": "leo_runtime.solver.window_exhaustive:solve",
    "oracle": "leo_runtime.solver.window_oracle:solve",
    "lns": "leo_runtime.solver.window_lns:solve",
    "single": "leo_runtime.solver.window_policies:single",
    "cpu-only": "leo_runtime.solver.window_policies:cpu_only",
    "dsp-first": "leo_runtime.solver.window_policies:dsp_first",
    "gpu-first": "leo_runtime.solver.window_policies:gpu_first",
    "greedy": "leo_runtime.solver.greedy:solve_window",
    "heft": "leo_runtime.solver.window_policies:heft",
    "memetic": "leo_runtime.solver.memetic:solve_window",
}
"""Name of each solver and where it is, as "module:function"; the module is imported when it is first asked for."""


def solve_window(
    problem: WindowProblem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> WindowPlacement:
    """Answer a window's question; the arguments are those of `leo_runtime.solver.solve`.

    Raises `SolverError` on an unknown name, or when this solver cannot answer this question at all; `InputError` for
    what is no number.
    """
    limit_ms, limit_nodes, seed = plain_limits(limit_ms, limit_nodes, seed)
    return named(solver)(problem, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)


def named(solver: str) -> Callable[..., WindowPlacement]:
    """The solver of windows of that name, called as `f(problem, *, limit_ms, limit_nodes, seed)`.

    Raises `SolverError`.
    """
    preferred = preferences(solver)
    if preferred is not None:
        from leo_runtime.solver.window_policies import preferring

        return preferring(solver, preferred)
    return by_name(solver, WINDOW_SOLVERS, "solver of windows")

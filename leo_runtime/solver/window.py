"""The door to the solvers that answer windows: `solve_window`."""

from collections.abc import Callable
from importlib import import_module

from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError

WINDOW_SOLVERS: dict[str, str] = {
    "exact": "leo_runtime.solver.window_exact:solve",
    "exhaustive": "leo_runtime.solver.window_exhaustive:solve",
    "oracle": "leo_runtime.solver.window_oracle:solve",
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

    Raises `SolverError` on an unknown name, or when this solver cannot answer this question at all.
    """
    place = WINDOW_SOLVERS.get(solver)
    if place is None:
        raise SolverError(f'no solver of windows is called "{solver}"', hint=f"there are {', '.join(WINDOW_SOLVERS)}")
    module, function = place.split(":")
    found: Callable[..., WindowPlacement] = getattr(import_module(module), function)
    return found(problem, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)

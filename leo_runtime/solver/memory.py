"""The door to the solvers that answer questions with loads: `solve_memory`."""

from collections.abc import Callable

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.solver.by_name import by_name
from leo_runtime.solver.limits import plain_limits
from leo_runtime.solver.preferences import preferences

MEMORY_SOLVERS: dict[str, str] = {
    "exact": "leo_runtime.solver.memory_exact:solve",
    "greedy": "leo_runtime.solver.memory_greedy:solve",
    "single": "leo_runtime.solver.memory_policies:single",
    "cpu-only": "leo_runtime.solver.memory_policies:cpu_only",
    "dsp-first": "leo_runtime.solver.memory_policies:dsp_first",
    "gpu-first": "leo_runtime.solver.memory_policies:gpu_first",
    "exhaustive": "leo_runtime.solver.memory_exhaustive:solve",
    "oracle": "leo_runtime.solver.memory_oracle:solve",
}
"""Name of each solver and where it is, as "module:function"; the module is imported when it is first asked for."""

MEMORY_NODES = 300
"""How many questions of frames the exact solver asks for a question with weights, each of which it searches for as many
nodes, where no wall time is its limit: where many weights compete for little memory, its parts are many."""


def solve_memory(
    problem: MemoryProblem,
    solver: str = "exact",
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> MemoryPlacement:
    """Answer a question with loads; the arguments are those of `leo_runtime.solver.solve`.

    Raises `SolverError` on a name that answers no such questions, or when this solver cannot answer this question at
    all; `InputError` for what is no number.
    """
    limit_ms, limit_nodes, seed = plain_limits(limit_ms, limit_nodes, seed)
    return named(solver)(problem, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)


def named(solver: str) -> Callable[..., MemoryPlacement]:
    """The function of a solver of questions with loads. Raises `SolverError` on a name that answers none."""
    preferred = preferences(solver)
    if preferred is not None:
        from leo_runtime.solver.memory_policies import preferring

        return preferring(solver, preferred)
    return by_name(solver, MEMORY_SOLVERS, "solver of questions with weights")

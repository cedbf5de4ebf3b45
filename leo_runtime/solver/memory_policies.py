"""Fixed policies on questions with loads: the modes that they have in a frame, scheduled with what that has to load.

`single` is the best of everything on one processor, as far as it can be: what can run in one place alone stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem, MemoryStage
from leo_runtime.errors import SolverError
from leo_runtime.solver.baselines import POLICIES, preferred
from leo_runtime.solver.memory_answers import bounds_of, infeasible, placement, reason
from leo_runtime.solver.memory_frames import Memory
from leo_runtime.solver.memory_lists import Lists
from leo_runtime.solver.preferences import matching


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A question with its stages, inputs before their readers."""

    problem: MemoryProblem
    stages: tuple[MemoryStage, ...]


def _solve(problem: MemoryProblem, name: str, choices: Callable[[_Ordered], Iterator[list[int]]]) -> MemoryPlacement:
    """The best schedule of these choices of modes. Raises `SolverError` where none of them keeps every rule."""
    began = perf_counter_ns()
    memory = Memory(problem)
    if memory.whole() is None:
        return infeasible(problem, name, reason(memory, None), began)
    lists = Lists(memory)
    orders = lists.orders()
    ordered = _Ordered(problem, tuple(problem.stages[i] for i in orders[0]))
    for modes in choices(ordered):
        chosen = dict(zip(orders[0], modes, strict=True))
        for order in orders:
            lists.consider([chosen[i] for i in range(len(chosen))], order)
        if name != "single" and lists.best is not None and lists.best[0] == 0:
            break
    if lists.best is None or lists.best[0] > 0:
        raise SolverError(
            f"{problem.name}: the policy `{name}` has no placement that keeps every rule",
            hint="a policy does not look for another: the solver `exact` does",
        )
    found, criteria = lists.schedule(lists.best_modes, lists.best_order)[1:]
    return placement(problem, name, found, criteria, bounds_of(lists.best[1:], None), began)


def preferring(name: str, preferences: Sequence[str]) -> Callable[..., MemoryPlacement]:
    """The policy of that name, which prefers these processors, or all whose names are like these patterns."""

    def solve(
        problem: MemoryProblem,
        *,
        limit_ms: int | None = None,  # noqa: ARG001  # a policy searches for nothing
        limit_nodes: int | None = None,  # noqa: ARG001  # as above
        seed: int = 0,  # noqa: ARG001  # nothing is drawn
    ) -> MemoryPlacement:
        names = matching(preferences, [resource.name for resource in problem.resources])

        def choices(ordered: _Ordered) -> Iterator[list[int]]:
            for accurate in (False, True):
                yield preferred(ordered, names, accurate)

        return _solve(problem, name, choices)

    return solve


def _policy(name: str) -> Callable[..., MemoryPlacement]:
    solve = preferring(name, POLICIES[name])
    solve.__doc__ = f"The policy `{name}`: {' before '.join(POLICIES[name])}. Raises `SolverError`."
    return solve


def single(
    problem: MemoryProblem,
    *,
    limit_ms: int | None = None,  # noqa: ARG001  # as above
    limit_nodes: int | None = None,  # noqa: ARG001  # as above
    seed: int = 0,  # noqa: ARG001  # as above
) -> MemoryPlacement:
    """The best of everything on one processor. Raises `SolverError` where no processor can run it all."""

    def choices(ordered: _Ordered) -> Iterator[list[int]]:
        names: Sequence[str] = [resource.name for resource in ordered.problem.resources]
        for name in names:
            for accurate in (False, True):
                yield preferred(ordered, (name,), accurate)

    return _solve(problem, "single", choices)


cpu_only = _policy("cpu-only")
dsp_first = _policy("dsp-first")
gpu_first = _policy("gpu-first")

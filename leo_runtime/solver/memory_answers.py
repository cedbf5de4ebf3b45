"""Answers to questions with loads as documents, and what frames without memory prove of them."""

from collections.abc import Sequence
from time import perf_counter_ns

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Answer, Criteria, Criterion
from leo_runtime.solver.memory_frames import Found, Memory

Least = tuple[int, ...]
"""Values of the objective's criteria such that no answer's are before them in lexicographic order."""


def least_values(answer: Answer, objective: Sequence[Criterion]) -> Least:
    """What the bounds of an answer to a frame's question prove of all its answers."""
    assert answer.criteria is not None, "it is an answer"
    least: list[int] = []
    for name, bound in zip(objective, answer.bounds, strict=False):
        least.append(bound)
        if bound != getattr(answer.criteria, name):
            break  # Later bounds hold for this value alone.
    return (*least, *[0] * (len(objective) - len(least)))


def bounds_of(values: Sequence[int], least: Least | None) -> tuple[int, ...]:
    """For each criterion a proved bound, those before it being at these values."""
    bounds = [0] * len(values)
    if least is None:
        return tuple(bounds)
    for k, (value, bound) in enumerate(zip(values, least, strict=True)):
        bounds[k] = bound
        if value != bound:
            break
    return tuple(bounds)


def placement(
    problem: MemoryProblem, solver: str, found: Found, criteria: Criteria, bounds: tuple[int, ...], began_ns: int
) -> MemoryPlacement:
    """The document of an answer; optimal where the bounds prove it. `solve_us` runs from `began_ns`."""
    values = tuple(getattr(criteria, name) for name in problem.objective)
    return MemoryPlacement(
        format="leo-placement/3",
        problem=problem.name,
        solver=solver,
        status="optimal" if bounds == values else "feasible",
        criteria=criteria,
        bounds=bounds,
        stages=found.runs,
        transfers=found.transfers,
        loads=found.loads,
        solve_us=(perf_counter_ns() - began_ns) // 1000,
    )


def infeasible(problem: MemoryProblem, solver: str, reason: str, began_ns: int) -> MemoryPlacement:
    """The document that says that no answer exists, and why."""
    return MemoryPlacement(
        format="leo-placement/3",
        problem=problem.name,
        solver=solver,
        status="infeasible",
        reason=reason,
        solve_us=(perf_counter_ns() - began_ns) // 1000,
    )


def reason(memory: Memory, frame: str | None) -> str:
    """Why there is no answer: a stage that can run nowhere, else what a frame's solver says, else memory."""
    for stage in memory.problem.stages:
        if any(map(memory.possible, stage.modes)):
            continue
        needs: dict[str, int] = {}
        for mode in filter(memory.reachable, stage.modes):
            needed = memory.needed_bytes(mode)
            needs[mode.resource] = min(needs.get(mode.resource, needed), needed)
        if not needs:
            where = ", ".join(dict.fromkeys(f"`{mode.resource}`" for mode in stage.modes))
            return f"rule 8: no loader brings the weights of `{stage.name}` to where it can run ({where})"
        where = ", ".join(f"`{one}` ({needed} bytes for {memory.caps[one]})" for one, needed in needs.items())
        return f"rule 5: `{stage.name}` and its weights are more than there is memory on {where}"
    if frame is not None:
        return frame
    if memory.problem.limits or memory.problem.accuracy_budgets:
        return "rules 5 and 7: weights do not fit into memory in any way that keeps the accuracy budgets and limits"
    return "rule 5: in no choice of modes do the weights of every stage fit beside what all stages work with"

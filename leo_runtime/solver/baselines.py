"""Fixed policies to compare with: everything on one processor, or each stage on the first processor of a list.

A policy is a list of processor names in order of preference. A stage runs on the first of them on which it has a mode
and to which every input can be sent; on one of the others, in the problem's order, where there is none. Of several
variants there it takes the first in the problem, and if an accuracy budget is broken that way, the most accurate. Then
the stages are list-scheduled, by upward rank and by deadline, and the better schedule is the answer.

`single` is the best of everything on one processor: the answer that no other solver may be worse than. A policy makes
no such promise; its answer is what the policy says.
"""

from collections.abc import Callable, Sequence
from time import perf_counter_ns

from leo_runtime.documents.problem import Mode, Placement, Problem
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.limits import limited
from leo_runtime.solver.lists import Lists, consider_single_processors
from leo_runtime.solver.preferences import matching
from leo_runtime.solver.protocols import Ordered

POLICIES: dict[str, tuple[str, ...]] = {
    "cpu-only": ("cpu",),
    "dsp-first": ("dsp", "cpu", "gpu"),
    "gpu-first": ("gpu", "cpu", "dsp"),
}
"""Name of each policy that is a solver of its own, with its preferences."""


def prefer(
    problem: Problem, preferences: Sequence[str], name: str = "prefer", *, limit_ms: int | None = None
) -> Placement:
    """What a policy answers; `name` is given as its solver.

    `limit_ms` limits only the search for why there is no answer.

    Raises `SolverError` where the answer would break a rule (a link, a cap, a budget, a limit): a policy does not look
    for another.
    """
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = Lists.of(Compiled(problem), stop)
        for accurate in (False, True):
            modes = preferred(lists.compiled, preferences, accurate)
            lists.consider(modes, lists.by_rank)
            lists.consider(modes, lists.by_due)
            if lists.best is not None and lists.best[0] == 0:
                break
        return lists.placement(name, began, whole=False)


def preferred(question: Ordered, preferences: Sequence[str], accurate: bool) -> list[int]:
    """The mode of each stage under the policy, as its number within the stage."""
    problem, stages = question.problem, question.stages
    others = [resource.name for resource in problem.resources if resource.name not in preferences]
    rank = {name: k for k, name in enumerate([*preferences, *others])}
    linked = {(link.source, link.target) for link in problem.links}
    chosen: dict[str, Mode] = {}
    numbers: list[int] = []
    for stage in stages:
        sources = [chosen[name].resource for name in stage.inputs]
        costs = [
            (
                any(source != mode.resource and (source, mode.resource) not in linked for source in sources),
                rank[mode.resource],
                mode.accuracy_loss_ppm if accurate else 0,
                g,
            )
            for g, mode in enumerate(stage.modes)
        ]
        number = min(costs)[-1]
        chosen[stage.name] = stage.modes[number]
        numbers.append(number)
    return numbers


def single(
    problem: Problem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,  # noqa: ARG001  # each processor is searched for a fixed number
    seed: int = 0,  # noqa: ARG001  # nothing is drawn
) -> Placement:
    """The best of everything on one processor. Raises `SolverError` where no processor can run it all."""
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = Lists.of(Compiled(problem), stop)
        consider_single_processors(lists)
        return lists.placement("single", began)


def preferring(name: str, preferences: Sequence[str]) -> Callable[..., Placement]:
    """The policy of that name, which prefers these processors, or all whose names are like these patterns."""

    def solve(
        problem: Problem,
        *,
        limit_ms: int | None = None,
        limit_nodes: int | None = None,  # noqa: ARG001  # a policy searches no nodes
        seed: int = 0,  # noqa: ARG001  # nothing is drawn
    ) -> Placement:
        names = matching(preferences, [resource.name for resource in problem.resources])
        return prefer(problem, names, name, limit_ms=limit_ms)

    return solve


def _policy(name: str) -> Callable[..., Placement]:
    def solve(
        problem: Problem,
        *,
        limit_ms: int | None = None,
        limit_nodes: int | None = None,  # noqa: ARG001  # a policy searches no nodes
        seed: int = 0,  # noqa: ARG001  # nothing is drawn
    ) -> Placement:
        return prefer(problem, POLICIES[name], name, limit_ms=limit_ms)

    solve.__doc__ = f"The policy `{name}`: {' before '.join(POLICIES[name])}. Raises `SolverError` as `prefer` does."
    return solve


cpu_only = _policy("cpu-only")
dsp_first = _policy("dsp-first")
gpu_first = _policy("gpu-first")

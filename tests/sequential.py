"""Two ways to choose variant and processor one after the other, which the joint choice is held against."""

from leo_runtime.documents.problem import Placement, Problem, StageModes
from leo_runtime.solver import solve


def joint(problem: Problem, limit_ms: int | None = None) -> Placement:
    """Variant and processor together: the exact answer of the whole problem."""
    return solve(problem, limit_ms=limit_ms)


def variant_first(problem: Problem, limit_ms: int | None = None) -> Placement | None:
    """First the variants, then where they run.

    Processors unknown, a variant is as good as it computes little: its duration and energy on the resource where it
    has least. From the most accurate of every stage on, that exchange is made again and again that saves most energy
    for what is lost, as long as budgets hold. None: what is left has no placement.
    """
    chosen = {stage.name: _variants(stage)[0] for stage in problem.stages}
    while True:
        swaps = [
            (saved / max(1, lost), stage.name, variant)
            for stage in problem.stages
            for variant in _variants(stage)
            if (saved := _least_nj(stage, chosen[stage.name]) - _least_nj(stage, variant)) > 0
            and _fits(problem, {**chosen, stage.name: variant})
            and (lost := _loss(stage, variant) - _loss(stage, chosen[stage.name])) >= 0
        ]
        if not swaps:
            break
        _, name, variant = max(swaps, key=lambda swap: swap[0])
        chosen[name] = variant
    return _solved(problem, lambda stage, mode: mode.variant == chosen[stage.name], limit_ms)


def processor_first(problem: Problem, limit_ms: int | None = None) -> Placement | None:
    """First where each stage runs, in its most accurate variant, then which variant it is there. None: as above."""
    chosen = {stage.name: _variants(stage)[0] for stage in problem.stages}
    first = _solved(problem, lambda stage, mode: mode.variant == chosen[stage.name], limit_ms)
    if first is None:
        return None
    where = {run.stage: run.resource for run in first.stages}
    return _solved(problem, lambda stage, mode: mode.resource == where[stage.name], limit_ms)


def _solved(problem: Problem, keep, limit_ms: int | None) -> Placement | None:
    """The exact answer with these modes alone."""
    stages = []
    for stage in problem.stages:
        modes = tuple(mode for mode in stage.modes if keep(stage, mode))
        if not modes:
            return None
        stages.append(stage.model_copy(update={"modes": modes}))
    answer = solve(problem.model_copy(update={"stages": tuple(stages)}), limit_ms=limit_ms)
    return None if answer.criteria is None else answer


def _variants(stage: StageModes) -> list[str]:
    """The most accurate first."""
    names = dict.fromkeys(mode.variant for mode in stage.modes)
    return sorted(names, key=lambda name: _loss(stage, name))


def _loss(stage: StageModes, variant: str) -> int:
    return min(mode.accuracy_loss_ppm for mode in stage.modes if mode.variant == variant)


def _least_nj(stage: StageModes, variant: str) -> int:
    return min(mode.energy_nj for mode in stage.modes if mode.variant == variant)


def _fits(problem: Problem, chosen: dict[str, str]) -> bool:
    stages = {stage.name: stage for stage in problem.stages}
    return all(
        sum(_loss(stages[name], chosen[name]) for name in budget.stages) <= budget.loss_ppm_max
        for budget in problem.accuracy_budgets
    )

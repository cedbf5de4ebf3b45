"""Every placement, one after the other: slow and easily seen to be right, for tests of the other solvers.

Modes are chosen stage by stage; once all are chosen, stages and transfers are put on lanes in the order of their
starts. All criteria only grow as ends grow, so it is enough to try schedules in which nothing could start earlier
with the same order on every lane. What is left out is only what a bound without any competition for lanes already
shows to be no better than the best answer so far, or to break a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

from leo_runtime.documents.problem import (
    Criteria,
    Criterion,
    Link,
    Mode,
    Placement,
    Problem,
    Resource,
    StageModes,
    StageRun,
    TransferRun,
)
from leo_runtime.solver.exhaustive_ops import (
    Op,
    criteria,
    energy_nj,
    inputs_first,
    openings,
    propagate,
    ready_us,
    run_ends,
    sequence,
)
from leo_runtime.solver.exhaustive_steps import Steps, StoppedError

NAME = "exhaustive"


@dataclass(slots=True)
class _Search:
    problem: Problem
    steps: Steps
    resources: dict[str, Resource]
    links: dict[tuple[str, str], Link]
    placement: Placement | None = None


def solve(
    problem: Problem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = 1_000_000,
    seed: int = 0,  # noqa: ARG001  # every solver takes one; nothing is drawn here
) -> Placement:
    """The optimum, by trying everything.

    Where a limit bites, the answer is the best so far with weak bounds; raises `SolverError` where there is none yet.
    """
    begun = perf_counter_ns()
    search = _Search(
        problem,
        Steps.begin(problem, limit_ms, limit_nodes, begun),
        {resource.name: resource for resource in problem.resources},
        {(link.source, link.target): link for link in problem.links},
    )
    order = inputs_first(problem)
    stopped = False
    try:
        _choose(search, order, {})
    except StoppedError:
        stopped = True
    update: dict[str, object] = {"solve_us": (perf_counter_ns() - begun) // 1000}
    if search.placement is None:
        if stopped:
            raise search.steps.nothing_found()
        reason = search.steps.reason()
        return Placement(
            format="leo-placement/1", problem=problem.name, solver=NAME, status="infeasible", reason=reason
        ).model_copy(update=update)
    if stopped:
        bound = _relaxed(search, order, {})
        update |= {"status": "feasible", "bounds": tuple(bound[name] for name in problem.objective)}
    return search.placement.model_copy(update=update)


def _choose(search: _Search, order: list[str], modes: dict[str, Mode]) -> None:
    """Choose a mode for the first stage of `order` that has none yet, in every way."""
    search.steps.step()
    if len(modes) == len(order):
        _sequence(search, _ops(search, order, modes), modes)
        return
    stage = next(s for s in search.problem.stages if s.name == order[len(modes)])
    for mode in stage.modes:
        chosen = {**modes, stage.name: mode}
        if (cut := _broken(search, stage, chosen)) is not None:
            search.steps.cut(cut)
        elif search.steps.worth(_relaxed(search, order, chosen)):
            _choose(search, order, chosen)


def _broken(search: _Search, stage: StageModes, modes: dict[str, Mode]) -> str | None:
    """The rule that the chosen modes already break because of a stage, or None."""
    target = modes[stage.name].resource
    for source in stage.inputs:
        here = modes[source].resource
        if here != target and (here, target) not in search.links:
            return f"rule 4 (no link {here} -> {target} for {source} -> {stage.name})"
    for resource in search.problem.resources:
        held = sum(mode.memory_bytes for mode in modes.values() if mode.resource == resource.name)
        if resource.memory_bytes is not None and held > resource.memory_bytes:
            return f"rule 5 (memory of {resource.name})"
    for budget in search.problem.accuracy_budgets:
        if sum(modes[s].accuracy_loss_ppm for s in budget.stages if s in modes) > budget.loss_ppm_max:
            return f"rule 7 (accuracy budget over {', '.join(budget.stages)})"
    return None


def _relaxed(search: _Search, order: list[str], modes: dict[str, Mode]) -> dict[Criterion, int]:
    """A lower bound of every criterion under the modes chosen so far: the others are at their best, all lanes free."""
    stages = {stage.name: stage for stage in search.problem.stages}
    ops = _ops(search, order[: len(modes)], modes)
    starts = propagate(ops, {})
    ends = run_ends(ops, starts)
    for name in order[len(modes) :]:
        ready = max([stages[name].release_us, *(ends[i] for i in stages[name].inputs)])
        ends[name] = ready + min(mode.duration_us for mode in stages[name].modes)
    rest = [stages[name].modes for name in order[len(modes) :]]
    energy = energy_nj(search.resources, ops, starts) + sum(min(m.energy_nj for m in ms) for ms in rest)
    loss = sum(mode.accuracy_loss_ppm for mode in modes.values())
    loss += sum(min(m.accuracy_loss_ppm for m in ms) for ms in rest)
    return criteria(search.problem, ends, energy, loss)


def _ops(search: _Search, order: list[str], modes: dict[str, Mode]) -> list[Op]:
    """The stages of `order` and the transfers between them, each after what it waits for."""
    stages = {stage.name: stage for stage in search.problem.stages}
    ops: list[Op] = []
    index: dict[tuple[str, str | None], int] = {}
    for name in order:
        mode = modes[name]
        target = mode.resource
        after = []
        for source in stages[name].inputs:
            link = search.links.get((modes[source].resource, target))
            if link is None:
                after.append((index[source, None], 0))
                continue
            if (source, target) not in index:
                index[source, target] = len(ops)
                sent_bytes = modes[source].output_bytes
                lasts, energy = link.sending_us(sent_bytes), link.sending_nj(sent_bytes)
                earliest = 0 if link.resource is None else ready_us(search.resources[link.resource])
                ops.append(Op(source, target, link.resource, lasts, ((index[source, None], 0),), earliest, energy))
            after.append((index[source, target], link.latency_us))
        index[name, None] = len(ops)
        earliest = max(stages[name].release_us, ready_us(search.resources[target]))
        ops.append(Op(name, None, target, mode.duration_us, tuple(after), earliest, mode.energy_nj))
    return ops


def _sequence(search: _Search, ops: list[Op], modes: dict[str, Mode]) -> None:
    def take(starts: list[int], lanes: dict[int, int], reached: dict[Criterion, int]) -> None:
        search.placement = _placement(search, ops, modes, starts, lanes, reached)

    sequence(search.steps, search.resources, ops, modes, partial(openings, search.resources, ops), take)


def _placement(
    search: _Search,
    ops: list[Op],
    modes: dict[str, Mode],
    starts: list[int],
    lanes: dict[int, int],
    reached: dict[Criterion, int],
) -> Placement:
    problem = search.problem
    runs: dict[str, StageRun] = {}
    transfers: list[TransferRun] = []
    for i, (op, start) in enumerate(zip(ops, starts, strict=True)):
        lane = lanes.get(i)
        if lane is None and op.resource is not None:
            ready = search.resources[op.resource].ready_us or (0,)
            lane = ready.index(min(ready))
        mode = modes[op.name]
        if op.target is None:
            assert lane is not None, "a stage has a lane"
            runs[op.name] = StageRun(
                stage=op.name,
                resource=mode.resource,
                variant=mode.variant,
                lane=lane,
                start_us=start,
                end_us=start + op.duration_us,
            )
            continue
        arrive = start + op.duration_us + search.links[mode.resource, op.target].latency_us
        transfers.append(
            TransferRun(
                stage=op.name, source=mode.resource, target=op.target, lane=lane, start_us=start, arrive_us=arrive
            )
        )
    return Placement(
        format="leo-placement/1",
        problem=problem.name,
        solver=NAME,
        status="optimal",
        criteria=Criteria(**reached),
        bounds=tuple(reached[name] for name in problem.objective),
        stages=tuple(runs[stage.name] for stage in problem.stages),
        transfers=tuple(transfers),
    )

"""Every placement, one after the other: slow and easily seen to be right, for tests of the other solvers.

Modes are chosen stage by stage; once all are chosen, stages and transfers are put on lanes in the order of their
starts. All criteria only grow as ends grow, so it is enough to try schedules in which nothing could start earlier
with the same order on every lane. What is left out is only what a bound without any competition for lanes already
shows to be no better than the best answer so far, or to break a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter_ns

from leo_runtime.documents.problem import (
    Criteria,
    Criterion,
    Link,
    Mode,
    Placement,
    Problem,
    Resource,
    StageRun,
    TransferRun,
)
from leo_runtime.errors import SolverError
from leo_runtime.schema import find_cycle

NAME = "exhaustive"


@dataclass(frozen=True, slots=True)
class _Op:
    """A stage or a transfer under chosen modes. It starts `lag` us or more after the end of each `after` (op, lag)."""

    stage: str
    target: str | None
    """None for a stage; for a transfer, the resource it goes to."""
    resource: str | None
    duration_us: int
    after: tuple[tuple[int, int], ...]
    earliest_us: int

    @property
    def free(self) -> bool:
        """It competes with nothing, so it starts as soon as it may."""
        return self.resource is None or self.duration_us == 0


@dataclass(slots=True)
class _Search:
    problem: Problem
    limit_nodes: int | None
    stop_ns: int | None
    nodes: int = 0
    best: tuple[int, ...] | None = None
    placement: Placement | None = None
    cuts: dict[str, None] = field(default_factory=dict)
    """The rules that cut a branch, in the order they came up."""


class _StoppedError(Exception):
    pass


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
    search = _Search(problem, limit_nodes, None if limit_ms is None else begun + limit_ms * 1_000_000)
    order = _order(problem)
    stopped = False
    try:
        _choose(search, order, {})
    except _StoppedError:
        stopped = True
    update: dict[str, object] = {"solve_us": (perf_counter_ns() - begun) // 1000}
    if search.placement is None:
        if stopped:
            raise SolverError(
                f"{problem.name}: no answer was found within the limit",
                hint="give it more time, or use the solver `exact`",
            )
        reason = "every choice of modes breaks " + "; or ".join(search.cuts)
        return Placement(
            format="leo-placement/1", problem=problem.name, solver=NAME, status="infeasible", reason=reason
        ).model_copy(update=update)
    if stopped:
        bound = _relaxed(problem, order, {})
        update |= {"status": "feasible", "bounds": tuple(bound[name] for name in problem.objective)}
    return search.placement.model_copy(update=update)


def _order(problem: Problem) -> list[str]:
    """Stage names, each after its inputs."""
    inputs = {stage.name: list(stage.inputs) for stage in problem.stages}
    assert not find_cycle(inputs), "a Problem has no cycle"
    order: list[str] = []
    while len(order) < len(inputs):
        order += [name for name, needs in inputs.items() if name not in order and all(i in order for i in needs)]
    return order


def _step(search: _Search) -> None:
    search.nodes += 1
    if search.limit_nodes is not None and search.nodes > search.limit_nodes:
        raise _StoppedError
    if search.stop_ns is not None and perf_counter_ns() > search.stop_ns:
        raise _StoppedError


def _choose(search: _Search, order: list[str], modes: dict[str, Mode]) -> None:
    """Choose a mode for the first stage of `order` that has none yet, in every way."""
    _step(search)
    if len(modes) == len(order):
        _sequence(search, _ops(search.problem, order, modes), modes, [], {})
        return
    stage = next(s for s in search.problem.stages if s.name == order[len(modes)])
    for mode in stage.modes:
        chosen = {**modes, stage.name: mode}
        if (cut := _broken(search.problem, stage.name, chosen)) is not None:
            search.cuts[cut] = None
        elif _worth(search, _relaxed(search.problem, order, chosen)):
            _choose(search, order, chosen)


def _broken(problem: Problem, name: str, modes: dict[str, Mode]) -> str | None:
    """The rule that the chosen modes already break because of stage `name`, or None."""
    stage = next(s for s in problem.stages if s.name == name)
    target = modes[name].resource
    for source in stage.inputs:
        here = modes[source].resource
        if here != target and _link(problem, here, target) is None:
            return f"rule 4 (no link {here} -> {target} for {source} -> {name})"
    for resource in problem.resources:
        held = sum(mode.memory_bytes for mode in modes.values() if mode.resource == resource.name)
        if resource.memory_bytes is not None and held > resource.memory_bytes:
            return f"rule 5 (memory of {resource.name})"
    for budget in problem.accuracy_budgets:
        if sum(modes[s].accuracy_loss_ppm for s in budget.stages if s in modes) > budget.loss_ppm_max:
            return f"rule 7 (accuracy budget over {', '.join(budget.stages)})"
    return None


def _worth(search: _Search, bound: dict[Criterion, int]) -> bool:
    """Whether values of at least `bound` can keep every limit and be better than the best answer so far."""
    for name, limit in search.problem.limits.items():
        if bound[name] > limit:
            search.cuts[f"rule 7 (limit on {name})"] = None
            return False
    return search.best is None or tuple(bound[name] for name in search.problem.objective) < search.best


def _relaxed(problem: Problem, order: list[str], modes: dict[str, Mode]) -> dict[Criterion, int]:
    """A lower bound of every criterion under the modes chosen so far: the others are at their best, all lanes free."""
    stages = {stage.name: stage for stage in problem.stages}
    ops = _ops(problem, order[: len(modes)], modes)
    starts = _propagate(ops, {})
    ends = {op.stage: start + op.duration_us for op, start in zip(ops, starts, strict=True) if op.target is None}
    for name in order[len(modes) :]:
        ready = max([stages[name].release_us, *(ends[i] for i in stages[name].inputs)])
        ends[name] = ready + min(mode.duration_us for mode in stages[name].modes)
    rest = [stages[name].modes for name in order[len(modes) :]]
    return {
        "tardiness": sum(d.weight * max(0, ends[d.stage] - d.deadline_us) for d in problem.deadlines),
        "energy": _energy(problem, ops, starts, modes) + sum(min(m.energy_nj for m in ms) for ms in rest),
        "makespan": max(ends.values(), default=0),
        "accuracy_loss": sum(mode.accuracy_loss_ppm for mode in modes.values())
        + sum(min(m.accuracy_loss_ppm for m in ms) for ms in rest),
    }


def _ops(problem: Problem, order: list[str], modes: dict[str, Mode]) -> list[_Op]:
    """The stages of `order` and the transfers between them, each after what it waits for."""
    stages = {stage.name: stage for stage in problem.stages}
    ops: list[_Op] = []
    index: dict[tuple[str, str | None], int] = {}
    for name in order:
        target = modes[name].resource
        after = []
        for source in stages[name].inputs:
            link = _link(problem, modes[source].resource, target)
            if link is None:
                after.append((index[source, None], 0))
                continue
            if (source, target) not in index:
                index[source, target] = len(ops)
                sending = link.sending_us(modes[source].output_bytes)
                earliest = 0 if link.resource is None else _earliest(_resource(problem, link.resource))
                ops.append(_Op(source, target, link.resource, sending, ((index[source, None], 0),), earliest))
            after.append((index[source, target], link.latency_us))
        index[name, None] = len(ops)
        earliest = max(stages[name].release_us, _earliest(_resource(problem, target)))
        ops.append(_Op(name, None, target, modes[name].duration_us, tuple(after), earliest))
    return ops


def _earliest(resource: Resource) -> int:
    return max(min(resource.ready_us, default=0), 0 if resource.awake else resource.wake_latency_us)


def _propagate(ops: list[_Op], fixed: dict[int, int], earliest: int = 0) -> list[int]:
    """The earliest start of every op: fixed where it is, else after what it waits for and, on a lane, `earliest`."""
    starts: list[int] = []
    for i, op in enumerate(ops):
        after = max((starts[j] + ops[j].duration_us + lag for j, lag in op.after), default=0)
        starts.append(fixed[i] if i in fixed else max(op.earliest_us, after, 0 if op.free else earliest))
    return starts


def _energy(problem: Problem, ops: list[_Op], starts: list[int], modes: dict[str, Mode]) -> int:
    """Rules 2, 4 and 6, for the ops given."""
    energy = sum(mode.energy_nj for mode in modes.values())
    ends: dict[str, int] = {}
    for op, start in zip(ops, starts, strict=True):
        if op.target is not None:
            link = _link(problem, modes[op.stage].resource, op.target)
            assert link is not None, "a transfer takes a link"
            energy += link.sending_nj(modes[op.stage].output_bytes)
        if op.resource is not None:
            ends[op.resource] = max(ends.get(op.resource, 0), start + op.duration_us)
    for name, end in ends.items():
        resource = _resource(problem, name)
        energy += resource.awake_mw * end + (0 if resource.awake else resource.wake_energy_nj)
    return energy


def _values(problem: Problem, ops: list[_Op], starts: list[int], modes: dict[str, Mode]) -> dict[Criterion, int]:
    ends = {op.stage: start + op.duration_us for op, start in zip(ops, starts, strict=True) if op.target is None}
    return {
        "tardiness": sum(d.weight * max(0, ends[d.stage] - d.deadline_us) for d in problem.deadlines),
        "energy": _energy(problem, ops, starts, modes),
        "makespan": max(ends.values(), default=0),
        "accuracy_loss": sum(mode.accuracy_loss_ppm for mode in modes.values()),
    }


def _sequence(
    search: _Search, ops: list[_Op], modes: dict[str, Mode], fixed: list[tuple[int, int]], lanes: dict[int, int]
) -> None:
    """Put one more op on a lane, in every way; `fixed` holds (start, op) in the order they were put."""
    _step(search)
    last = fixed[-1] if fixed else (0, -1)
    starts = _propagate(ops, {i: start for start, i in fixed}, last[0])
    values = _values(search.problem, ops, starts, modes)
    if not _worth(search, values):
        return
    waiting = [i for i, op in enumerate(ops) if not op.free and i not in lanes]
    if not waiting:
        search.best = tuple(values[name] for name in search.problem.objective)
        search.placement = _placement(search, ops, modes, starts, lanes)
        return
    for i in waiting:
        if all(_settled(ops, j, lanes) for j, _ in ops[i].after):
            for lane, start in _openings(search.problem, ops, i, fixed, lanes):
                if (start, i) > last:
                    _sequence(search, ops, modes, [*fixed, (start, i)], {**lanes, i: lane})


def _settled(ops: list[_Op], i: int, lanes: dict[int, int]) -> bool:
    """Whether the start of an op can no longer change."""
    return i in lanes or (ops[i].free and all(_settled(ops, j, lanes) for j, _ in ops[i].after))


def _openings(
    problem: Problem, ops: list[_Op], i: int, fixed: list[tuple[int, int]], lanes: dict[int, int]
) -> Iterator[tuple[int, int]]:
    """The lanes for an op with its start on each; of lanes that become free at the same time only the first."""
    op = ops[i]
    assert op.resource is not None, "only an op that occupies a resource needs a lane"
    resource = _resource(problem, op.resource)
    # More lanes than there are ops are never needed; a document may name very many.
    free = list(resource.ready_us) or [0] * min(resource.lanes, len(ops))
    for start, j in fixed:
        if ops[j].resource == op.resource:
            free[lanes[j]] = start + ops[j].duration_us
    starts = _propagate(ops, {j: start for start, j in fixed})
    for lane, time in enumerate(free):
        if time not in free[:lane]:
            yield lane, max(starts[i], time)


def _placement(
    search: _Search, ops: list[_Op], modes: dict[str, Mode], starts: list[int], lanes: dict[int, int]
) -> Placement:
    problem = search.problem
    runs: dict[str, StageRun] = {}
    transfers: list[TransferRun] = []
    for i, (op, start) in enumerate(zip(ops, starts, strict=True)):
        lane = lanes.get(i)
        if lane is None and op.resource is not None:
            ready = _resource(problem, op.resource).ready_us or (0,)
            lane = ready.index(min(ready))
        mode = modes[op.stage]
        if op.target is None:
            assert lane is not None, "a stage has a lane"
            runs[op.stage] = StageRun(
                stage=op.stage,
                resource=mode.resource,
                variant=mode.variant,
                lane=lane,
                start_us=start,
                end_us=start + op.duration_us,
            )
            continue
        link = _link(problem, mode.resource, op.target)
        assert link is not None, "a transfer takes a link"
        arrive = start + op.duration_us + link.latency_us
        transfers.append(
            TransferRun(
                stage=op.stage, source=mode.resource, target=op.target, lane=lane, start_us=start, arrive_us=arrive
            )
        )
    values = _values(problem, ops, starts, modes)
    return Placement(
        format="leo-placement/1",
        problem=problem.name,
        solver=NAME,
        status="optimal",
        criteria=Criteria(**values),
        bounds=tuple(values[name] for name in problem.objective),
        stages=tuple(runs[stage.name] for stage in problem.stages),
        transfers=tuple(transfers),
    )


def _resource(problem: Problem, name: str) -> Resource:
    return next(resource for resource in problem.resources if resource.name == name)


def _link(problem: Problem, source: str, target: str) -> Link | None:
    return next((link for link in problem.links if (link.source, link.target) == (source, target)), None)

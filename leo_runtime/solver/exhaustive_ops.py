"""What is put on lanes one after the other when every schedule of a frame is tried, with weights or without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leo_runtime.documents.problem import Criterion, Mode, Question, Resource
from leo_runtime.schema import find_cycle
from leo_runtime.solver.exhaustive_steps import Steps


@dataclass(frozen=True, slots=True)
class Op:
    """What takes time under chosen modes. It starts `lag` us or more after the end of each `after` (op, lag)."""

    name: str
    """The stage that runs or sends, or the label that is loaded."""
    target: str | None
    """Where it is sent or loaded to; None for a run."""
    resource: str | None
    duration_us: int
    after: tuple[tuple[int, int], ...]
    earliest_us: int
    energy_nj: int

    @property
    def free(self) -> bool:
        """It competes with nothing, so it starts as soon as it may."""
        return self.resource is None or self.duration_us == 0


def inputs_first(problem: Question) -> list[str]:
    """Stage names, each after its inputs."""
    inputs = {stage.name: list(stage.inputs) for stage in problem.stages}
    assert not find_cycle(inputs), "a question has no cycle"
    order: list[str] = []
    while len(order) < len(inputs):
        order += [name for name, needs in inputs.items() if name not in order and all(i in order for i in needs)]
    return order


def ready_us(resource: Resource) -> int:
    """When the first thing on a resource can start."""
    return max(min(resource.ready_us, default=0), 0 if resource.awake else resource.wake_latency_us)


def propagate(ops: Sequence[Op], fixed: Mapping[int, int], earliest: int = 0) -> list[int]:
    """The earliest start of every op: fixed where it is, else after what it waits for and, on a lane, `earliest`."""
    starts: list[int] = []
    for i, op in enumerate(ops):
        after = max((starts[j] + ops[j].duration_us + lag for j, lag in op.after), default=0)
        starts.append(fixed[i] if i in fixed else max(op.earliest_us, after, 0 if op.free else earliest))
    return starts


def settled(ops: Sequence[Op], i: int, lanes: Mapping[int, int]) -> bool:
    """Whether the start of an op can no longer change."""
    return i in lanes or (ops[i].free and all(settled(ops, j, lanes) for j, _ in ops[i].after))


def openings(
    resources: Mapping[str, Resource],
    ops: Sequence[Op],
    i: int,
    fixed: Sequence[tuple[int, int]],
    lanes: Mapping[int, int],
) -> Iterator[tuple[int, int]]:
    """The lanes for an op with its start on each; of lanes that become free at the same time only the first.

    `fixed` holds (start, op) of what is on `lanes`.
    """
    name = ops[i].resource
    assert name is not None, "only an op that occupies a resource needs a lane"
    resource = resources[name]
    # More lanes than there are ops are never needed; a document may name very many.
    free = list(resource.ready_us) or [0] * min(resource.lanes, len(ops))
    for start, j in fixed:
        if ops[j].resource == name:
            free[lanes[j]] = start + ops[j].duration_us
    starts = propagate(ops, {j: start for start, j in fixed})
    for lane, time in enumerate(free):
        if time not in free[:lane]:
            yield lane, max(starts[i], time)


def sequence(
    steps: Steps,
    resources: Mapping[str, Resource],
    ops: Sequence[Op],
    modes: Mapping[str, Mode],
    places: Callable[[int, list[tuple[int, int]], dict[int, int]], Iterable[tuple[int, int]]],
    take: Callable[[list[int], dict[int, int], dict[Criterion, int]], None],
) -> None:
    """Put ops on lanes one after the other, in the order of their starts, in every way that may be better.

    `places(op, fixed, lanes)` are the lanes for one with its start on each; `fixed` holds (start, op) of what is on
    `lanes`. `take(starts, lanes, values)` is called with every answer that is better than all before.
    """

    def put(fixed: list[tuple[int, int]], lanes: dict[int, int]) -> None:
        steps.step()
        last = fixed[-1] if fixed else (0, -1)
        starts = propagate(ops, {i: start for start, i in fixed}, last[0])
        reached = values(steps.problem, resources, ops, starts, modes)
        if not steps.worth(reached):
            return
        waiting = [i for i, op in enumerate(ops) if not op.free and i not in lanes]
        if not waiting:
            steps.take(reached)
            take(starts, lanes, reached)
            return
        for i in waiting:
            if all(settled(ops, j, lanes) for j, _ in ops[i].after):
                for lane, start in places(i, fixed, lanes):
                    if (start, i) > last:
                        put([*fixed, (start, i)], {**lanes, i: lane})

    put([], {})


def run_ends(ops: Sequence[Op], starts: Sequence[int]) -> dict[str, int]:
    """When each stage ends."""
    return {op.name: start + op.duration_us for op, start in zip(ops, starts, strict=True) if op.target is None}


def energy_nj(resources: Mapping[str, Resource], ops: Sequence[Op], starts: Sequence[int]) -> int:
    """What the ops cost, and what it costs that the resources they use are awake."""
    energy = sum(op.energy_nj for op in ops)
    ends: dict[str, int] = {}
    for op, start in zip(ops, starts, strict=True):
        if op.resource is not None:
            ends[op.resource] = max(ends.get(op.resource, 0), start + op.duration_us)
    for name, end in ends.items():
        resource = resources[name]
        energy += resource.awake_mw * end + (0 if resource.awake else resource.wake_energy_nj)
    return energy


def criteria(problem: Question, ends: Mapping[str, int], energy: int, loss: int) -> dict[Criterion, int]:
    """Every criterion, of when stages end, energy in nJ and loss of accuracy in ppm."""
    return {
        "tardiness": sum(d.weight * max(0, ends[d.stage] - d.deadline_us) for d in problem.deadlines),
        "energy": energy,
        "makespan": max(ends.values(), default=0),
        "accuracy_loss": loss,
    }


def values(
    problem: Question,
    resources: Mapping[str, Resource],
    ops: Sequence[Op],
    starts: Sequence[int],
    modes: Mapping[str, Mode],
) -> dict[Criterion, int]:
    """Every criterion of all ops at these starts."""
    loss = sum(mode.accuracy_loss_ppm for mode in modes.values())
    return criteria(problem, run_ends(ops, starts), energy_nj(resources, ops, starts), loss)

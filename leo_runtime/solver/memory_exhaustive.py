"""Every placement with loads, one after the other: slow and easily seen to be right, for tests of the other solvers.

Modes are chosen stage by stage, then which runs each load of a label serves. Stages, transfers and loads are put on
lanes in the order of their starts; a load may also wait for the end of any run on its target, which may make room.
That is enough, as all criteria only grow as ends grow: of a schedule in which what is held at one time fits, every
start can become earlier until the lane, an input, or a run whose weights had to go before a load, holds it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from time import perf_counter_ns

from leo_runtime.documents.memory import Loader, LoadRun, MemoryMode, MemoryPlacement, MemoryProblem, MemoryResource
from leo_runtime.documents.problem import Criteria, Criterion, Link, StageRun, TransferRun
from leo_runtime.errors import SolverError

NAME = "exhaustive"


@dataclass(frozen=True, slots=True)
class _Op:
    """A run, a transfer or a load. It starts `lag` us or more after the end of each `after` (op, lag)."""

    name: str
    """The stage that runs or sends, or the label that is loaded."""
    target: str | None
    """Where it is sent or loaded to; None for a run."""
    resource: str | None
    duration_us: int
    after: tuple[tuple[int, int], ...]
    earliest_us: int
    energy_nj: int
    stay: int = -1
    """Of a load, which stay it begins."""

    @property
    def free(self) -> bool:
        """It competes with nothing, so it starts as soon as it may."""
        return self.stay < 0 and (self.resource is None or self.duration_us == 0)


@dataclass(frozen=True, slots=True)
class _Stay:
    """A label on a resource for the runs of some stages."""

    label: str
    resource: str
    resident: bool
    users: tuple[str, ...]


@dataclass(slots=True)
class _Search:
    problem: MemoryProblem
    limit_nodes: int | None
    stop_ns: int | None
    sizes: dict[str, int]
    resources: dict[str, MemoryResource]
    loaders: dict[str, Loader]
    links: dict[tuple[str, str], Link]
    nodes: int = 0
    best: tuple[int, ...] | None = None
    placement: MemoryPlacement | None = None
    cuts: dict[str, None] = field(default_factory=dict)
    """The rules that cut a branch, in the order they came up."""

    def step(self) -> None:
        self.nodes += 1
        if self.limit_nodes is not None and self.nodes > self.limit_nodes:
            raise _StoppedError
        if self.stop_ns is not None and perf_counter_ns() > self.stop_ns:
            raise _StoppedError

    def worth(self, bound: dict[Criterion, int]) -> bool:
        """Whether values of at least `bound` can keep every limit and be better than the best answer so far."""
        for name, limit in self.problem.limits.items():
            if bound[name] > limit:
                self.cuts[f"rule 7 (limit on {name})"] = None
                return False
        return self.best is None or tuple(bound[name] for name in self.problem.objective) < self.best


class _StoppedError(Exception):
    pass


def solve(
    problem: MemoryProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = 1_000_000,
    seed: int = 0,  # noqa: ARG001  # every solver takes one; nothing is drawn here
) -> MemoryPlacement:
    """The optimum, by trying everything.

    Where a limit bites, the answer is the best so far, with bounds of 0; raises `SolverError` where there is none yet.
    """
    begun = perf_counter_ns()
    search = _Search(
        problem,
        limit_nodes,
        None if limit_ms is None else begun + limit_ms * 1_000_000,
        {weights.label: weights.bytes for weights in problem.weights},
        {resource.name: resource for resource in problem.resources},
        {loader.target: loader for loader in problem.loaders},
        {(link.source, link.target): link for link in problem.links},
    )
    stopped = False
    try:
        _choose(search, _order(problem), {})
    except _StoppedError:
        stopped = True
    spent: dict[str, object] = {"solve_us": (perf_counter_ns() - begun) // 1000}
    if search.placement is not None:
        weak = {"status": "feasible", "bounds": (0,) * len(problem.objective)} if stopped else {}
        return search.placement.model_copy(update=spent | weak)
    if stopped:
        raise SolverError(
            f"{problem.name}: no answer was found within the limit",
            hint="give it more time, or use the solver `exact`",
        )
    return MemoryPlacement(
        format="leo-placement/3",
        problem=problem.name,
        solver=NAME,
        status="infeasible",
        reason="every choice of modes breaks " + "; or ".join(search.cuts),
    ).model_copy(update=spent)


def _order(problem: MemoryProblem) -> list[str]:
    """Stage names, each after its inputs."""
    inputs = {stage.name: stage.inputs for stage in problem.stages}
    order: list[str] = []
    while len(order) < len(inputs):
        order += [name for name, needs in inputs.items() if name not in order and all(i in order for i in needs)]
    return order


def _choose(search: _Search, order: list[str], modes: dict[str, MemoryMode]) -> None:
    """Choose a mode for the first stage of `order` that has none yet, in every way; then what loads serve."""
    search.step()
    if len(modes) == len(order):
        for stays in _ways_to_stay(search, modes):
            if _fits(search, modes, [stay for stay in stays if stay.resident]):
                _sequence(search, _ops(search, order, modes, stays), modes, stays, [], {})
            else:
                search.cuts["rule 5 (memory)"] = None
        return
    stage = next(s for s in search.problem.stages if s.name == order[len(modes)])
    for mode in stage.modes:
        chosen = {**modes, stage.name: mode}
        if (cut := _broken(search, stage.name, stage.inputs, chosen)) is not None:
            search.cuts[cut] = None
        elif search.worth(_least(search, order, chosen)):
            _choose(search, order, chosen)


def _broken(search: _Search, name: str, inputs: tuple[str, ...], modes: dict[str, MemoryMode]) -> str | None:
    """The rule that the chosen modes already break because of stage `name`, or None."""
    target = modes[name].resource
    for source in inputs:
        here = modes[source].resource
        if here != target and (here, target) not in search.links:
            return f"rule 4 (no link {here} -> {target} for {source} -> {name})"
    for label in modes[name].weights:
        if label not in search.resources[target].resident and target not in search.loaders:
            return f"rule 8 (no loader brings {label} to {target})"
    for mode in modes.values():
        if not _fits(search, modes, [_Stay(label, mode.resource, True, ()) for label in mode.weights]):
            return f"rule 5 (memory of {mode.resource})"
    for budget in search.problem.accuracy_budgets:
        if sum(modes[s].accuracy_loss_ppm for s in budget.stages if s in modes) > budget.loss_ppm_max:
            return f"rule 7 (accuracy budget over {', '.join(budget.stages)})"
    return None


def _fits(search: _Search, modes: dict[str, MemoryMode], held: list[_Stay]) -> bool:
    """Whether what is held at one time fits beside the working memory of the chosen modes, on every resource."""
    for resource in search.problem.resources:
        if resource.memory_bytes is not None:
            need = sum(mode.memory_bytes for mode in modes.values() if mode.resource == resource.name)
            need += sum(search.sizes[stay.label] for stay in held if stay.resource == resource.name)
            if need > resource.memory_bytes:
                return False
    return True


def _least(search: _Search, order: list[str], modes: dict[str, MemoryMode]) -> dict[Criterion, int]:
    """A lower bound of every criterion under the modes chosen so far: nothing is sent, loaded or waited for."""
    stages = {stage.name: stage for stage in search.problem.stages}
    ends: dict[str, int] = {}
    energy = loss = 0
    for name in order:
        choices = (modes[name],) if name in modes else stages[name].modes
        begin = max([stages[name].release_us, *(ends[i] for i in stages[name].inputs)])
        ends[name] = begin + min(mode.duration_us for mode in choices)
        energy += min(mode.energy_nj for mode in choices)
        loss += min(mode.accuracy_loss_ppm for mode in choices)
    return _criteria(search.problem, ends, energy, loss)


def _criteria(problem: MemoryProblem, ends: dict[str, int], energy: int, loss: int) -> dict[Criterion, int]:
    return {
        "tardiness": sum(d.weight * max(0, ends[d.stage] - d.deadline_us) for d in problem.deadlines),
        "energy": energy,
        "makespan": max(ends.values(), default=0),
        "accuracy_loss": loss,
    }


def _ways_to_stay(search: _Search, modes: dict[str, MemoryMode]) -> Iterator[list[_Stay]]:
    """Every way to share out the runs that need a label somewhere among its loads there and what is resident."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, mode in modes.items():
        for label in mode.weights:
            users.setdefault((label, mode.resource), []).append(name)
    ways: list[list[list[_Stay]]] = []
    for (label, resource), names in users.items():
        here = label in search.resources[resource].resident
        of_this: list[list[_Stay]] = []
        for blocks in _partitions(names):
            for first in range(-1, len(blocks) if here else 0):
                stays = [_Stay(label, resource, b == first, tuple(block)) for b, block in enumerate(blocks)]
                if resource in search.loaders or all(stay.resident for stay in stays):
                    of_this.append(stays)
        ways.append(of_this)
    for way in product(*ways):
        yield [stay for stays in way for stay in stays]


def _partitions(names: list[str]) -> Iterator[list[list[str]]]:
    """All ways to divide names into groups."""
    if not names:
        yield []
        return
    for rest in _partitions(names[1:]):
        yield [[names[0]], *rest]
        for b, block in enumerate(rest):
            yield [*rest[:b], [names[0], *block], *rest[b + 1 :]]


def _ops(search: _Search, order: list[str], modes: dict[str, MemoryMode], stays: list[_Stay]) -> list[_Op]:
    """The loads, then the stages of `order` and the transfers between them, each after what it waits for."""
    stages = {stage.name: stage for stage in search.problem.stages}
    ops: list[_Op] = []
    index: dict[tuple[str, str | None], int] = {}
    waits: dict[str, list[tuple[int, int]]] = {name: [] for name in order}
    for number, stay in enumerate(stays):
        if not stay.resident:
            loader, size = search.loaders[stay.resource], search.sizes[stay.label]
            for name in stay.users:
                waits[name].append((len(ops), loader.latency_us))
            lasts, earliest = loader.loading_us(size), _earliest(search.resources[loader.resource])
            energy = loader.loading_nj(size)
            ops.append(_Op(stay.label, stay.resource, loader.resource, lasts, (), earliest, energy, number))
    for name in order:
        mode = modes[name]
        after = waits[name]
        for source in stages[name].inputs:
            sender = modes[source]
            if sender.resource == mode.resource:
                after.append((index[source, None], 0))
                continue
            link = search.links[sender.resource, mode.resource]
            if (source, mode.resource) not in index:
                index[source, mode.resource] = len(ops)
                lasts, energy = link.sending_us(sender.output_bytes), link.sending_nj(sender.output_bytes)
                earliest = 0 if link.resource is None else _earliest(search.resources[link.resource])
                before = ((index[source, None], 0),)
                ops.append(_Op(source, mode.resource, link.resource, lasts, before, earliest, energy))
            after.append((index[source, mode.resource], link.latency_us))
        index[name, None] = len(ops)
        earliest = max(stages[name].release_us, _earliest(search.resources[mode.resource]))
        ops.append(_Op(name, None, mode.resource, mode.duration_us, tuple(after), earliest, mode.energy_nj))
    return ops


def _earliest(resource: MemoryResource) -> int:
    return max(min(resource.ready_us, default=0), 0 if resource.awake else resource.wake_latency_us)


def _propagate(ops: list[_Op], fixed: dict[int, int], earliest: int = 0) -> list[int]:
    """The earliest start of every op: fixed where it is, else after what it waits for and, on a lane, `earliest`."""
    starts: list[int] = []
    for i, op in enumerate(ops):
        after = max((starts[j] + ops[j].duration_us + lag for j, lag in op.after), default=0)
        starts.append(fixed[i] if i in fixed else max(op.earliest_us, after, 0 if op.free else earliest))
    return starts


def _values(search: _Search, ops: list[_Op], starts: list[int], modes: dict[str, MemoryMode]) -> dict[Criterion, int]:
    ends = {op.name: start + op.duration_us for op, start in zip(ops, starts, strict=True) if op.target is None}
    energy = sum(op.energy_nj for op in ops)
    used: dict[str, int] = {}
    for op, start in zip(ops, starts, strict=True):
        if op.resource is not None:
            used[op.resource] = max(used.get(op.resource, 0), start + op.duration_us)
    for name, end in used.items():
        resource = search.resources[name]
        energy += resource.awake_mw * end + (0 if resource.awake else resource.wake_energy_nj)
    return _criteria(search.problem, ends, energy, sum(mode.accuracy_loss_ppm for mode in modes.values()))


def _sequence(
    search: _Search,
    ops: list[_Op],
    modes: dict[str, MemoryMode],
    stays: list[_Stay],
    fixed: list[tuple[int, int]],
    lanes: dict[int, int],
) -> None:
    """Put one more op on a lane, in every way; `fixed` holds (start, op) in the order they were put."""
    search.step()
    last = fixed[-1] if fixed else (0, -1)
    starts = _propagate(ops, {i: start for start, i in fixed}, last[0])
    values = _values(search, ops, starts, modes)
    if not search.worth(values):
        return
    waiting = [i for i, op in enumerate(ops) if not op.free and i not in lanes]
    if not waiting:
        search.best = tuple(values[name] for name in search.problem.objective)
        search.placement = _placement(search, ops, modes, starts, lanes, values)
        return
    for i in waiting:
        if all(_settled(ops, j, lanes) for j, _ in ops[i].after):
            for lane, start in _openings(search, ops, i, fixed, lanes):
                if (start, i) > last and _has_room(search, ops, i, start, modes, stays, fixed):
                    _sequence(search, ops, modes, stays, [*fixed, (start, i)], {**lanes, i: lane})


def _settled(ops: list[_Op], i: int, lanes: dict[int, int]) -> bool:
    """Whether the start of an op can no longer change."""
    return i in lanes or (ops[i].free and all(_settled(ops, j, lanes) for j, _ in ops[i].after))


def _openings(
    search: _Search, ops: list[_Op], i: int, fixed: list[tuple[int, int]], lanes: dict[int, int]
) -> Iterator[tuple[int, int]]:
    """The lanes for an op with its starts on each; of lanes that become free at the same time only the first.

    A load may start when it can, or at any later end of a run on its target.
    """
    op = ops[i]
    assert op.resource is not None, "only an op that occupies a resource needs a lane"
    resource = search.resources[op.resource]
    free = list(resource.ready_us) or [0] * min(resource.lanes, len(ops))
    for start, j in fixed:
        if ops[j].resource == op.resource:
            free[lanes[j]] = start + ops[j].duration_us
    starts = _propagate(ops, {j: start for start, j in fixed})
    ends = sorted(
        {start + ops[j].duration_us for start, j in fixed if ops[j].target is None and ops[j].resource == op.target}
    )
    for lane, time in enumerate(free):
        if time not in free[:lane]:
            base = max(starts[i], time)
            yield lane, base
            if op.stay >= 0:
                yield from ((lane, end) for end in ends if end > base)


def _has_room(
    search: _Search,
    ops: list[_Op],
    i: int,
    time: int,
    modes: dict[str, MemoryMode],
    stays: list[_Stay],
    fixed: list[tuple[int, int]],
) -> bool:
    """Whether a load that starts at that time finds room, and its label gone; true of what is no load."""
    if ops[i].stay < 0:
        return True
    new = stays[ops[i].stay]
    begun = {ops[j].stay for _, j in fixed if ops[j].stay >= 0}
    ends = {ops[j].name: start + ops[j].duration_us for start, j in fixed if ops[j].target is None}
    held = [
        stay
        for number, stay in enumerate(stays)
        if (stay.resident or number in begun) and any(ends.get(user, time + 1) > time for user in stay.users)
    ]
    if any((stay.label, stay.resource) == (new.label, new.resource) for stay in held):
        return False
    return _fits(search, modes, [*held, new])


def _placement(
    search: _Search,
    ops: list[_Op],
    modes: dict[str, MemoryMode],
    starts: list[int],
    lanes: dict[int, int],
    values: dict[Criterion, int],
) -> MemoryPlacement:
    runs: dict[str, StageRun] = {}
    transfers: list[TransferRun] = []
    loads: list[LoadRun] = []
    for i, (op, start) in enumerate(zip(ops, starts, strict=True)):
        lane = lanes.get(i)
        if lane is None and op.resource is not None:
            ready = search.resources[op.resource].ready_us or (0,)
            lane = ready.index(min(ready))
        end = start + op.duration_us
        if op.target is None:
            assert lane is not None, "a stage has a lane"
            mode = modes[op.name]
            runs[op.name] = StageRun(
                stage=op.name, resource=mode.resource, variant=mode.variant, lane=lane, start_us=start, end_us=end
            )
        elif op.stay >= 0:
            assert lane is not None, "a load has a lane"
            arrive = end + search.loaders[op.target].latency_us
            loads.append(LoadRun(label=op.name, target=op.target, lane=lane, start_us=start, arrive_us=arrive))
        else:
            here = modes[op.name].resource
            arrive = end + search.links[here, op.target].latency_us
            transfers.append(
                TransferRun(stage=op.name, source=here, target=op.target, lane=lane, start_us=start, arrive_us=arrive)
            )
    return MemoryPlacement(
        format="leo-placement/3",
        problem=search.problem.name,
        solver=NAME,
        status="optimal",
        criteria=Criteria(**values),
        bounds=tuple(values[name] for name in search.problem.objective),
        stages=tuple(runs[stage.name] for stage in search.problem.stages),
        transfers=tuple(transfers),
        loads=tuple(sorted(loads, key=lambda load: load.start_us)),
    )

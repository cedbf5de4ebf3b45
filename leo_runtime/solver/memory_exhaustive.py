"""Every placement with loads, one after the other: slow and easily seen to be right, for tests of the other solvers.

Modes are chosen stage by stage, then which runs each load of a label serves. Stages, transfers and loads are put on
lanes in the order of their starts; a load may also wait for the end of any run on its target, which may make room.
That is enough, as all criteria only grow as ends grow: of a schedule in which what is held at one time fits, every
start can become earlier until the lane, an input, or a run whose weights had to go before a load, holds it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from time import perf_counter_ns

from leo_runtime.documents.memory import Loader, LoadRun, MemoryMode, MemoryPlacement, MemoryProblem, MemoryResource
from leo_runtime.documents.problem import Criteria, Criterion, Link, StageRun, TransferRun
from leo_runtime.solver.exhaustive_ops import (
    Op,
    criteria,
    inputs_first,
    openings,
    ready_us,
    sequence,
)
from leo_runtime.solver.exhaustive_steps import Steps, StoppedError
from leo_runtime.solver.memory_answers import infeasible

NAME = "exhaustive"


@dataclass(frozen=True, slots=True)
class _Op(Op):
    stay: int = -1
    """Of a load, which stay it begins."""


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
    steps: Steps
    sizes: dict[str, int]
    resources: dict[str, MemoryResource]
    loaders: dict[str, Loader]
    links: dict[tuple[str, str], Link]
    placement: MemoryPlacement | None = None


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
        Steps.begin(problem, limit_ms, limit_nodes, begun),
        {weights.label: weights.bytes for weights in problem.weights},
        {resource.name: resource for resource in problem.resources},
        {loader.target: loader for loader in problem.loaders},
        {(link.source, link.target): link for link in problem.links},
    )
    stopped = False
    try:
        _choose(search, inputs_first(problem), {})
    except StoppedError:
        stopped = True
    if search.placement is None:
        if stopped:
            raise search.steps.nothing_found()
        return infeasible(problem, NAME, search.steps.reason(), begun)
    update: dict[str, object] = {"solve_us": (perf_counter_ns() - begun) // 1000}
    if stopped:
        update |= {"status": "feasible", "bounds": (0,) * len(problem.objective)}
    return search.placement.model_copy(update=update)


def _choose(search: _Search, order: list[str], modes: dict[str, MemoryMode]) -> None:
    """Choose a mode for the first stage of `order` that has none yet, in every way; then what loads serve."""
    search.steps.step()
    if len(modes) == len(order):
        for stays in _ways_to_stay(search, modes):
            if _fits(search, modes, [stay for stay in stays if stay.resident]):
                _sequence(search, _ops(search, order, modes, stays), modes, stays)
            else:
                search.steps.cut("rule 5 (memory)")
        return
    stage = next(s for s in search.problem.stages if s.name == order[len(modes)])
    for mode in stage.modes:
        chosen = {**modes, stage.name: mode}
        if (cut := _broken(search, stage.name, stage.inputs, chosen)) is not None:
            search.steps.cut(cut)
        elif search.steps.worth(_least(search, order, chosen)):
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
    return criteria(search.problem, ends, energy, loss)


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
            lasts, earliest = loader.loading_us(size), ready_us(search.resources[loader.resource])
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
                earliest = 0 if link.resource is None else ready_us(search.resources[link.resource])
                before = ((index[source, None], 0),)
                ops.append(_Op(source, mode.resource, link.resource, lasts, before, earliest, energy))
            after.append((index[source, mode.resource], link.latency_us))
        index[name, None] = len(ops)
        earliest = max(stages[name].release_us, ready_us(search.resources[mode.resource]))
        ops.append(_Op(name, None, mode.resource, mode.duration_us, tuple(after), earliest, mode.energy_nj))
    return ops


def _sequence(search: _Search, ops: list[_Op], modes: dict[str, MemoryMode], stays: list[_Stay]) -> None:
    def places(i: int, fixed: list[tuple[int, int]], lanes: dict[int, int]) -> Iterator[tuple[int, int]]:
        for lane, start in _openings(search, ops, i, fixed, lanes):
            if _has_room(search, ops, i, start, modes, stays, fixed):
                yield lane, start

    def take(starts: list[int], lanes: dict[int, int], reached: dict[Criterion, int]) -> None:
        search.placement = _placement(search, ops, modes, starts, lanes, reached)

    sequence(search.steps, search.resources, ops, modes, places, take)


def _openings(
    search: _Search, ops: list[_Op], i: int, fixed: list[tuple[int, int]], lanes: dict[int, int]
) -> Iterator[tuple[int, int]]:
    """The openings for an op; a load may start when it can, or at any later end of a run on its target."""
    op = ops[i]
    ends = sorted(
        {start + ops[j].duration_us for start, j in fixed if ops[j].target is None and ops[j].resource == op.target}
    )
    for lane, base in openings(search.resources, ops, i, fixed, lanes):
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
    reached: dict[Criterion, int],
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
        criteria=Criteria(**reached),
        bounds=tuple(reached[name] for name in search.problem.objective),
        stages=tuple(runs[stage.name] for stage in search.problem.stages),
        transfers=tuple(transfers),
        loads=tuple(sorted(loads, key=lambda load: load.start_us)),
    )

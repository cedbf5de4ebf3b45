"""Every answer of a window, one after the other: slow and easily seen to be right, for tests of the other solvers.

Modes are chosen stage by stage, then the list of each transfer, then, resource by resource, the span of each use and
the list of each span; last, stages and transfers are put on lanes in the order of their starts. With all of this
chosen no criterion gets better by starting anything later, so it is enough to try schedules in which nothing could
start earlier. What is left out is only what a bound without any competition for lanes already shows to be no better
than the best answer so far, to break a limit, or to let a span begin before the one before it has lingered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise, permutations, product
from time import perf_counter_ns

from leo_runtime.documents.problem import Criteria, Criterion, Link, Mode, StageRun
from leo_runtime.documents.window import (
    CERTAIN,
    Span,
    WindowPlacement,
    WindowProblem,
    WindowResource,
    WindowStage,
    WindowTransfer,
)
from leo_runtime.solver.exhaustive_ops import inputs_first
from leo_runtime.solver.exhaustive_steps import Steps, StoppedError
from leo_runtime.solver.gates import Gates, share

NAME = "exhaustive"

Key = tuple[str, str | None]
"""A stage, and the target its output is sent to; None for its run."""


@dataclass(frozen=True, slots=True)
class _Op:
    """A stage or a transfer under chosen modes. It starts `lag` us or more after the end of each `after` (op, lag)."""

    resource: str | None
    duration_us: int
    after: tuple[tuple[Key, int], ...]
    earliest_us: int

    @property
    def free(self) -> bool:
        """It competes with nothing, so it starts as soon as it may."""
        return self.resource is None or self.duration_us == 0


@dataclass(frozen=True, slots=True)
class _Span:
    """A span as it is chosen: where it begins, what it waits for and what lies in it."""

    from_us: int
    wakes: bool
    after: tuple[str, ...]
    uses: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is chosen so far."""

    modes: Mapping[str, Mode]
    lists: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    """Of the transfers: what is not in it is not chosen yet, and costs nothing yet."""
    spans: Mapping[str, tuple[_Span, ...]] = field(default_factory=dict)
    """Of the resources: what is not in it is not chosen yet, and costs the least that it can."""


@dataclass(slots=True)
class _Search:
    problem: WindowProblem
    steps: Steps
    gates: Gates
    stages: dict[str, WindowStage]
    """In an order in which inputs come first."""
    resources: dict[str, WindowResource]
    links: dict[tuple[str, str], Link]
    placement: WindowPlacement | None = None


def solve(
    problem: WindowProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = 1_000_000,
    seed: int = 0,  # noqa: ARG001  # every solver takes one; nothing is drawn here
) -> WindowPlacement:
    """The optimum, by trying everything.

    Where a limit bites, the answer is the best so far with weak bounds; raises `SolverError` where there is none yet.
    """
    begun = perf_counter_ns()
    stages = {stage.name: stage for stage in problem.stages}
    search = _Search(
        problem,
        Steps.begin(problem, limit_ms, limit_nodes, begun),
        Gates.of(problem),
        {name: stages[name] for name in inputs_first(problem)},
        {resource.name: resource for resource in problem.resources},
        {(link.source, link.target): link for link in problem.links},
    )
    stopped = False
    try:
        _choose_modes(search, {})
    except StoppedError:
        stopped = True
    update: dict[str, object] = {"solve_us": (perf_counter_ns() - begun) // 1000}
    if search.placement is None:
        if stopped:
            raise search.steps.nothing_found()
        reason = search.steps.reason()
        return WindowPlacement(
            format="leo-placement/2", problem=problem.name, solver=NAME, status="infeasible", reason=reason
        ).model_copy(update=update)
    if stopped:
        bound = _relaxed(search, {})
        update |= {"status": "feasible", "bounds": tuple(bound[name] for name in problem.objective)}
    return search.placement.model_copy(update=update)


def _choose_modes(search: _Search, modes: dict[str, Mode]) -> None:
    """Choose a mode for the first stage that has none yet, in every way."""
    search.steps.step()
    if len(modes) == len(search.stages):
        _choose_lists(search, modes)
        return
    stage = next(stage for name, stage in search.stages.items() if name not in modes)
    options = []
    for mode in stage.modes:
        chosen = {**modes, stage.name: mode}
        if (cut := _broken(search, stage, chosen)) is not None:
            search.steps.cut(cut)
        else:
            bound = _relaxed(search, chosen)
            options.append((tuple(bound[name] for name in search.problem.objective), bound, chosen))
    # What looks best goes first, so that there is soon an answer that makes most others not worth trying.
    for _, bound, chosen in sorted(options, key=lambda option: option[0]):
        if search.steps.worth(bound):
            _choose_modes(search, chosen)


def _choose_lists(search: _Search, modes: dict[str, Mode]) -> None:
    """Choose the gates that each transfer waits for, in every way that can be worth it."""
    readers: dict[Key, list[str]] = {}
    for name, stage in search.stages.items():
        for source in stage.inputs:
            if modes[source].resource != modes[name].resource:
                readers.setdefault((source, modes[name].resource), []).append(name)
    for lists in product(*(search.gates.lists_for(names) for names in readers.values())):
        search.steps.step()
        choice = _Choice(modes, dict(zip(readers, lists, strict=True)))
        ops = _ops(search, choice)
        if ops is not None and _worth_going_on(search, choice, ops):
            _choose_spans(search, choice, ops)


def _choose_spans(search: _Search, choice: _Choice, ops: dict[Key, _Op]) -> None:
    """Choose the spans of the first resource that has none yet, in every way."""
    resource = next((r for name, r in search.resources.items() if name not in choice.spans), None)
    if resource is None:
        _sequence(search, choice, ops, [], {})
        return
    uses = [key for key, op in ops.items() if op.resource == resource.name]
    for spans in _spans(search, choice, resource, uses):
        search.steps.step()
        chosen = _Choice(choice.modes, choice.lists, {**choice.spans, resource.name: spans})
        waiting = _waiting(search, choice, resource, spans, ops)
        if _worth_going_on(search, chosen, waiting):
            _choose_spans(search, chosen, waiting)


def _spans(search: _Search, choice: _Choice, resource: WindowResource, uses: list[Key]) -> Iterator[tuple[_Span, ...]]:
    """Every way to lay the uses of a resource into spans, with every list that each of these can wait for."""
    first = _Span(0, wakes=False, after=(), uses=())
    if resource.linger_us is None:
        yield (_Span(0, wakes=False, after=(), uses=tuple(uses)),)
        return
    openings = [first] if resource.awake else []
    openings += [_Span(time, wakes=True, after=(), uses=()) for time in search.problem.releases_us]
    for homes in product(range(len(openings)), repeat=len(uses)):
        options: list[list[_Span]] = []
        for i, opening in enumerate(openings):
            mine = tuple(use for use, home in zip(uses, homes, strict=True) if home == i)
            if not opening.wakes:
                options.append([_Span(0, wakes=False, after=(), uses=mine)])
            elif mine:
                lists = _lists(search.gates, choice, mine)
                options.append([_Span(opening.from_us, wakes=True, after=after, uses=mine) for after in lists])
        yield from product(*options)


def _lists(gates: Gates, choice: _Choice, uses: tuple[Key, ...]) -> Iterator[tuple[str, ...]]:
    """Every list, in every order, that a span with these uses can wait for; the first is empty."""
    own = [gate for use in uses for gate in choice.lists.get(use, ())]
    known = {gate for use in uses for gate in gates.behind[use[0]]}.union(own, *(gates.behind[gate] for gate in own))
    some = [gate for gate in gates.opens_ppm if gate in known]
    for size in range(len(some) + 1):
        for after in permutations(some, size):
            if size == 0 or all(_may_wait(gates, choice, use, after) for use in uses):
                yield after


def _may_wait(gates: Gates, choice: _Choice, use: Key, after: tuple[str, ...]) -> bool:
    """Whether a use can lie in a span that waits for this list."""
    own = choice.lists.get(use, ())
    if own:
        return all(gate in after or gates.covers(after, gate) for gate in own)
    return gates.covers(after, use[0])


def _waiting(
    search: _Search, choice: _Choice, resource: WindowResource, spans: tuple[_Span, ...], ops: dict[Key, _Op]
) -> dict[Key, _Op]:
    """The ops, of which those in these spans wait until the resource has woken for them."""
    changed = dict(ops)
    for span in spans:
        for use in span.uses if span.wakes else ():
            waits = choice.lists.get(use, ())
            if not span.after:
                waits = ()
            elif not waits:
                waits = (next(gate for gate in span.after if gate in search.gates.behind[use[0]]),)
            op = ops[use]
            changed[use] = _Op(
                op.resource,
                op.duration_us,
                (*op.after, *(((gate, None), resource.wake_latency_us) for gate in waits)),
                max(op.earliest_us, span.from_us + resource.wake_latency_us),
            )
    return changed


def _broken(search: _Search, stage: WindowStage, modes: dict[str, Mode]) -> str | None:
    """The rule that the chosen modes already break because of a stage, or None."""
    target = search.resources[modes[stage.name].resource]
    for source in stage.inputs:
        here = modes[source].resource
        if here == target.name:
            continue
        link = search.links.get((here, target.name))
        if link is None:
            return f"rule 4 (no link {here} -> {target.name} for {source} -> {stage.name})"
    for resource in search.problem.resources:
        held = sum(mode.memory_bytes for mode in modes.values() if mode.resource == resource.name)
        if resource.memory_bytes is not None and held > resource.memory_bytes:
            return f"rule 5 (memory of {resource.name})"
    for budget in search.problem.accuracy_budgets:
        if sum(modes[s].accuracy_loss_ppm for s in budget.stages if s in modes) > budget.loss_ppm_max:
            return f"rule 7 (accuracy budget over {', '.join(budget.stages)})"
    return None


def _worth_going_on(search: _Search, choice: _Choice, ops: dict[Key, _Op]) -> bool:
    """Whether what is chosen can still be part of a better answer, all lanes being free."""
    ends = _ends(ops, _propagate(ops, {}))
    return _in_turn(search, choice, ends) and search.steps.worth(_values(search, choice, ends))


def _relaxed(search: _Search, modes: dict[str, Mode]) -> dict[Criterion, int]:
    """A lower bound of every criterion under the modes chosen so far: the others are at their best, all lanes free."""
    choice = _Choice(modes)
    ops = _ops(search, choice)
    assert ops is not None, "without lists nothing waits in a circle"
    ends = _ends(ops, _propagate(ops, {}))
    rest = [stage for name, stage in search.stages.items() if name not in modes]
    for stage in rest:
        ready = max([stage.release_us, *(ends[i, None] for i in stage.inputs)])
        ends[stage.name, None] = ready + min(mode.duration_us for mode in stage.modes)
    values = _values(search, choice, ends)
    values["energy"] += sum(min(share(m.energy_nj, stage.chance_ppm) for m in stage.modes) for stage in rest)
    values["accuracy_loss"] += sum(min(m.accuracy_loss_ppm for m in stage.modes) for stage in rest)
    return values


def _ops(search: _Search, choice: _Choice) -> dict[Key, _Op] | None:
    """The stages and transfers, each after what it waits for; None where they wait for each other."""
    ops: dict[Key, _Op] = {}
    modes = choice.modes
    for name, mode in modes.items():
        after: list[tuple[Key, int]] = []
        for source in search.stages[name].inputs:
            link = search.links.get((modes[source].resource, mode.resource))
            if modes[source].resource == mode.resource or link is None:
                after.append(((source, None), 0))
                continue
            key = (source, mode.resource)
            after.append((key, link.latency_us))
            earliest = 0 if link.resource is None else _ready_us(search.resources[link.resource])
            waits = tuple(((gate, None), 0) for gate in (source, *choice.lists.get(key, ())))
            ops[key] = _Op(link.resource, link.sending_us(modes[source].output_bytes), waits, earliest)
        earliest = max(search.stages[name].release_us, _ready_us(search.resources[mode.resource]))
        ops[name, None] = _Op(mode.resource, mode.duration_us, tuple(after), earliest)
    order: dict[Key, _Op] = {}
    while len(order) < len(ops):
        found = [key for key, op in ops.items() if key not in order and all(k in order for k, _ in op.after)]
        if not found:
            return None
        order |= {key: ops[key] for key in found}
    return order


def _ready_us(resource: WindowResource) -> int:
    return min(resource.ready_us, default=0)


def _propagate(ops: dict[Key, _Op], fixed: Mapping[Key, int], earliest: int = 0) -> dict[Key, int]:
    """The earliest start of every op: fixed where it is, else after what it waits for and, on a lane, `earliest`."""
    starts: dict[Key, int] = {}
    for key, op in ops.items():
        if key in fixed:
            starts[key] = fixed[key]
            continue
        start = op.earliest_us if op.free else max(op.earliest_us, earliest)
        for other, lag in op.after:
            start = max(start, starts[other] + ops[other].duration_us + lag)
        starts[key] = start
    return starts


def _ends(ops: dict[Key, _Op], starts: dict[Key, int]) -> dict[Key, int]:
    return {key: start + ops[key].duration_us for key, start in starts.items()}


def _over_us(resource: WindowResource, span: _Span, until_us: int) -> int:
    """When a span has lingered."""
    over = until_us + (resource.linger_us or 0)
    return over if span.wakes else max(resource.awake_until_us, over if span.uses else 0)


def _in_turn(search: _Search, choice: _Choice, ends: dict[Key, int]) -> bool:
    """Whether each span begins only when the one before it has lingered."""
    for name, spans in choice.spans.items():
        resource = search.resources[name]
        for before, span in pairwise(spans):
            if span.from_us < _over_us(resource, before, max((ends[use] for use in before.uses), default=0)):
                return False
    return True


def _values(search: _Search, choice: _Choice, ends: dict[Key, int]) -> dict[Criterion, int]:
    """The criteria of what is chosen."""
    modes = choice.modes
    energy = sum(share(mode.energy_nj, search.stages[name].chance_ppm) for name, mode in modes.items())
    for (source, target), after in choice.lists.items():
        assert target is not None, "only transfers have lists"
        link = search.links[modes[source].resource, target]
        likely = search.gates.likelihood_ppm(after) if after else search.stages[source].chance_ppm
        energy += share(link.sending_nj(modes[source].output_bytes), likely)
    for name, resource in search.resources.items():
        if name in choice.spans:
            energy += sum(_awake_nj(search, resource, span, ends) for span in choice.spans[name])
        else:
            energy += _least_nj(search, resource, modes)
    return {
        "tardiness": sum(d.weight * max(0, ends[d.stage, None] - d.deadline_us) for d in search.problem.deadlines),
        "energy": energy,
        "makespan": max((end for (_, target), end in ends.items() if target is None), default=0),
        "accuracy_loss": sum(mode.accuracy_loss_ppm for mode in modes.values()),
    }


def _awake_nj(search: _Search, resource: WindowResource, span: _Span, ends: dict[Key, int]) -> int:
    horizon_us = search.problem.horizon_us
    if resource.linger_us is None:
        return resource.awake_mw * horizon_us
    until = max((ends[use] for use in span.uses), default=0)
    cost = resource.wake_energy_nj if span.wakes else 0
    cost += resource.awake_mw * (until - span.from_us)
    cost += resource.lingering_mw * max(0, min(_over_us(resource, span, until), horizon_us) - until)
    return share(cost, search.gates.likelihood_ppm(span.after) if span.after else CERTAIN)


def _least_nj(search: _Search, resource: WindowResource, modes: Mapping[str, Mode]) -> int:
    """What the spans of a resource cost at least, whatever they are."""
    horizon_us = search.problem.horizon_us
    if resource.linger_us is None:
        return resource.awake_mw * horizon_us
    if resource.awake:
        return resource.lingering_mw * min(resource.awake_until_us, horizon_us)
    # It wakes for each stage on it, and is awake until that has run, at least as likely as the stage.
    return max(
        (
            share(
                resource.wake_energy_nj + resource.awake_mw * (resource.wake_latency_us + mode.duration_us),
                search.stages[name].chance_ppm,
            )
            for name, mode in modes.items()
            if mode.resource == resource.name
        ),
        default=0,
    )


def _sequence(
    search: _Search, choice: _Choice, ops: dict[Key, _Op], fixed: list[tuple[int, Key]], lanes: dict[Key, int]
) -> None:
    """Put one more op on a lane, in every way; `fixed` holds (start, op) in the order they were put."""
    search.steps.step()
    numbers = {key: number for number, key in enumerate(ops)}
    last = (fixed[-1][0], numbers[fixed[-1][1]]) if fixed else (0, -1)
    starts = _propagate(ops, {key: start for start, key in fixed}, last[0])
    ends = _ends(ops, starts)
    if not _in_turn(search, choice, ends):
        return
    values = _values(search, choice, ends)
    if not search.steps.worth(values):
        return
    waiting = [key for key, op in ops.items() if not op.free and key not in lanes]
    if not waiting:
        search.steps.take(values)
        search.placement = _placement(search, choice, ops, starts, lanes, values)
        return
    for key in waiting:
        if all(_settled(ops, other, lanes) for other, _ in ops[key].after):
            for lane, start in _openings(search, ops, key, fixed, lanes):
                if (start, numbers[key]) > last:
                    _sequence(search, choice, ops, [*fixed, (start, key)], {**lanes, key: lane})


def _settled(ops: dict[Key, _Op], key: Key, lanes: dict[Key, int]) -> bool:
    """Whether the start of an op can no longer change."""
    return key in lanes or (ops[key].free and all(_settled(ops, other, lanes) for other, _ in ops[key].after))


def _openings(
    search: _Search, ops: dict[Key, _Op], key: Key, fixed: list[tuple[int, Key]], lanes: dict[Key, int]
) -> Iterator[tuple[int, int]]:
    """The lanes for an op with its start on each; of lanes that become free at the same time only the first."""
    name = ops[key].resource
    assert name is not None, "only an op that occupies a resource needs a lane"
    resource = search.resources[name]
    # More lanes than there are ops are never needed; a document may name very many.
    free = list(resource.ready_us) or [0] * min(resource.lanes, len(ops))
    for start, other in fixed:
        if ops[other].resource == name:
            free[lanes[other]] = start + ops[other].duration_us
    starts = _propagate(ops, {other: start for start, other in fixed})
    for lane, time in enumerate(free):
        if time not in free[:lane]:
            yield lane, max(starts[key], time)


def _placement(
    search: _Search,
    choice: _Choice,
    ops: dict[Key, _Op],
    starts: dict[Key, int],
    lanes: dict[Key, int],
    values: dict[Criterion, int],
) -> WindowPlacement:
    problem = search.problem
    runs: dict[str, StageRun] = {}
    transfers: list[WindowTransfer] = []
    ends = _ends(ops, starts)
    for key, op in ops.items():
        name, target = key
        lane = lanes.get(key)
        if lane is None and op.resource is not None:
            ready = search.resources[op.resource].ready_us or (0,)
            lane = ready.index(min(ready))
        mode = choice.modes[name]
        if target is None:
            assert lane is not None, "a stage has a lane"
            runs[name] = StageRun(
                stage=name,
                resource=mode.resource,
                variant=mode.variant,
                lane=lane,
                start_us=starts[key],
                end_us=ends[key],
            )
            continue
        transfers.append(
            WindowTransfer(
                stage=name,
                source=mode.resource,
                target=target,
                lane=lane,
                start_us=starts[key],
                arrive_us=ends[key] + search.links[mode.resource, target].latency_us,
                after=choice.lists[key],
            )
        )
    spans = [
        Span(
            resource=resource.name,
            from_us=span.from_us,
            until_us=max((ends[use] for use in span.uses), default=0),
            after=span.after,
        )
        for resource in problem.resources
        for span in choice.spans[resource.name]
    ]
    return WindowPlacement(
        format="leo-placement/2",
        problem=problem.name,
        solver=NAME,
        status="optimal",
        criteria=Criteria(**values),
        bounds=tuple(values[name] for name in problem.objective),
        stages=tuple(runs[stage.name] for stage in problem.stages),
        transfers=tuple(transfers),
        spans=tuple(spans),
    )

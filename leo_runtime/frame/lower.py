"""From what to compute and what it costs to one frame's question.

`merge` is done once: equal stages of several graphs become one. `price` is done once for a machine: it gives every
merged stage its modes. `frame_problem` is done for every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from leo_runtime.documents.binding import BoundStage, bind, in_order
from leo_runtime.documents.hardware import Hardware, Processor, Radio, Store
from leo_runtime.documents.problem import (
    AccuracyBudget,
    Deadline,
    Link,
    Mode,
    Problem,
    Resource,
    StageModes,
)
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stage, TaskGraph, Workload
from leo_runtime.errors import GraphError, ProfileError, did_you_mean
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.cut import cut
from leo_runtime.frame.packing import with_packing
from leo_runtime.frozen import dataclass
from leo_runtime.schema import find_cycle

Supports = Callable[[str, BoundStage, str], bool]
"""Whether a processor, by name, can run a stage's variant."""


@dataclass(frozen=True, slots=True)
class MergedStage:
    """A stage that one or several graphs ask for."""

    name: str
    bound: BoundStage
    inputs: tuple[str, ...]
    asked: tuple[tuple[str, str | None], ...]
    """Who asks for it, as (graph, its gate or None)."""

    @property
    def graphs(self) -> tuple[str, ...]:
        """The graphs that ask for it."""
        return tuple(dict.fromkeys(graph for graph, _ in self.asked))

    def gates(self, triggered: Collection[str]) -> tuple[str, ...]:
        """It runs where any of these gates is open; always where there is none: one of the triggered asks without."""
        gates = dict.fromkeys(gate for graph, gate in self.asked if graph in triggered)
        return () if None in gates else tuple(gate for gate in gates if gate is not None)


@dataclass(frozen=True, slots=True)
class MergedWorkload:
    """All stages of a workload, each once, inputs before their readers."""

    workload: Workload
    stages: tuple[MergedStage, ...]
    names: Mapping[tuple[str, str], str]
    """The merged stage of (graph, stage)."""

    def stage(self, name: str) -> MergedStage:
        """The merged stage of that name. Raises `KeyError`."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def outputs(self, graph: TaskGraph) -> tuple[str, ...]:
        """The merged stages whose results are due for a graph."""
        return tuple(self.names[graph.name, stage] for stage in graph.outputs())

    def stages_of(self, graph: TaskGraph) -> tuple[str, ...]:
        """The merged stages of a graph."""
        return tuple(dict.fromkeys(name for (owner, _), name in self.names.items() if owner == graph.name))


def merge(workload: Workload) -> MergedWorkload:
    """Settle and merge the graphs of a workload. Raises `GraphError`.

    Two stages are one when operator, parameters, variants, stated chance and (merged) inputs are equal, and the names
    of those that only cost, as the profile knows them by these. A merged stage runs when any of the triggered graphs
    that ask for it would run it: their gates are alternatives, and none is needed where one of them asks without a
    gate.
    """
    known: dict[tuple[object, ...], str] = {}
    names: dict[tuple[str, str], str] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    bound: dict[str, BoundStage] = {}
    asked: dict[str, list[tuple[str, str | None]]] = {}
    for whole in workload.graphs:
        graph = cut(with_packing(whole, workload), workload)
        settled = bind(graph, workload)
        for stage in in_order(graph):
            reads = tuple(names[graph.name, name] for name in stage.inputs)
            key = _identity(stage, settled[stage.name], reads)
            if key not in known:
                known[key] = _new_name(stage.name, graph.name, asked)
            name = names[graph.name, stage.name] = known[key]
            inputs[name] = reads
            bound.setdefault(name, settled[stage.name])
            gate = None if stage.gate is None else names[graph.name, stage.gate]
            asked.setdefault(name, []).append((graph.name, gate))
    stages = tuple(MergedStage(name, bound[name], inputs[name], tuple(asked[name])) for name in bound)
    return MergedWorkload(workload, _gates_first(stages), names)


def require_computed(merged: MergedWorkload) -> None:
    """Raise `GraphError` where a stage only costs: in real time nothing would take that long."""
    for stage in merged.stages:
        if stage.bound.operator.only_costs:
            raise GraphError(
                f"stage `{stage.name}` of workload `{merged.workload.name}` is of operator "
                f"`{stage.bound.operator.name}`, which nothing computes: it runs in virtual time alone",
                hint="replay it with `--virtual` and a profile, or take `Runtime.simulated`",
            )


def price(
    merged: MergedWorkload, hardware: Hardware, profile: Profile, supports: Supports, frames: int = 1
) -> dict[str, tuple[Mode, ...]]:
    """Every way to run each merged stage, for so many frames at a time: where a backend can and the profile knows.

    A mode's memory is what the stage holds, keeps from run to run, and its output, of every frame (`share_weights` for
    equal weights).

    A window is taken where its stream's sensor is.

    Raises `ProfileError` when a stage has no mode at all, profile and hardware are of different machines, or the
    profile speaks of a processor that the hardware has not; `GraphError` when a stream is on one that it has not.
    """
    profile.require(hardware.name)
    _require_processors(profile, hardware)
    _require_sensors(merged.workload, hardware)
    modes: dict[str, tuple[Mode, ...]] = {}
    for stage in merged.stages:
        usable: list[Mode] = []
        can: list[str] = []
        senses = False
        for processor in hardware.processors:
            for variant in stage.bound.params:
                if not _has_sensor(processor, stage.bound, variant, merged.workload):
                    continue
                senses = True
                if not supports(processor.name, stage.bound, variant):
                    continue
                can.append(processor.name)
                cost = profile.cost(stage.bound, variant, processor.name)
                if cost is None:
                    continue
                duration_us = cost.duration_us(stage.bound.work(variant), frames)
                output_bytes = stage.bound.sent_bytes(variant) * frames
                held_bytes = stage.bound.weight_bytes(variant) + stage.bound.state_bytes(variant)
                usable.append(
                    Mode(
                        resource=processor.name,
                        variant=variant,
                        duration_us=duration_us,
                        energy_nj=cost.run_nj(duration_us, processor.active_mw, frames),
                        output_bytes=output_bytes,
                        memory_bytes=output_bytes + held_bytes,
                        accuracy_loss_ppm=stage.bound.accuracy_loss_ppm[variant],
                    )
                )
        if not usable and can and not all(stage.bound.work(variant).is_known for variant in stage.bound.params):
            raise ProfileError(
                f"profile `{profile.name}` has no cost for stage `{stage.name}` ({stage.bound.operator.name}): its "
                "work is not known, as it cannot be taken apart",
                hint="`leo-runtime calibrate --workload FILE` measures it on this machine",
            )
        if not usable and can:
            raise ProfileError(
                f"profile `{profile.name}` has no entry for stage `{stage.name}` ({stage.bound.operator.name}) on "
                f"{', '.join(dict.fromkeys(can))}",
                hint="add an entry with its name as `stage`"
                if stage.bound.operator.only_costs
                else "`leo-runtime calibrate --workload FILE` measures it or says why not; else add an entry for its "
                "operator",
            )
        if not senses:
            raise ProfileError(
                f"stage `{stage.name}` ({stage.bound.operator.name}) can be taken on no processor of `{hardware.name}`",
                hint="its stream's `on` names the processor that has the sensor; without, it is on all but remote ones",
            )
        if not usable:
            raise ProfileError(
                f"stage `{stage.name}` ({stage.bound.operator.name}) has no mode on any processor of `{hardware.name}`",
                hint="`leo-runtime backends` shows what is missing; or add a variant that one of them supports",
            )
        modes[stage.name] = tuple(usable)
    return modes


def share_weights(
    active: Sequence[MergedStage], modes: Mapping[str, tuple[Mode, ...]], hardware: Hardware
) -> dict[str, tuple[Mode, ...]]:
    """The modes of the stages that a frame has, with equal weights of several of them counted once on a processor.

    They count with the first of these stages that may run there, wherever it does. A stage for which there is no room
    with the weights counts them itself, so that it does not run there without.
    """
    holders: dict[tuple[object, ...], str] = {}
    room = {processor.name: processor.memory_bytes for processor in hardware.processors}

    def shared(stage: MergedStage, mode: Mode) -> Mode:
        weight_bytes = stage.bound.weight_bytes(mode.variant)
        if weight_bytes == 0:
            return mode
        room_bytes = room[mode.resource]
        fits = room_bytes is None or mode.memory_bytes <= room_bytes
        weights = (mode.resource, *_weights(stage.bound, mode.variant))
        if not fits or holders.setdefault(weights, stage.name) == stage.name:
            return mode
        return mode.model_copy(update={"memory_bytes": max(0, mode.memory_bytes - weight_bytes)})

    return {stage.name: tuple(shared(stage, mode) for mode in modes[stage.name]) for stage in active}


def frame_problem(
    merged: MergedWorkload,
    modes: Mapping[str, tuple[Mode, ...]],
    hardware: Hardware,
    conditions: Conditions,
    name: str,
) -> Problem:
    """The question of one frame."""
    active = active_stages(merged, conditions)
    # A gate's decision has to get to where it is waited for, so in the question it is an input like any other.
    names = {stage.name for stage in active}
    modes = share_weights(active, modes, hardware)
    stages = tuple(
        StageModes(
            name=stage.name,
            inputs=tuple(
                read for read in dict.fromkeys((*stage.inputs, *stage.gates(conditions.graphs))) if read in names
            ),
            modes=tuple(mode for mode in modes[stage.name] if mode.resource not in conditions.lost),
        )
        for stage in active
    )
    usual = Problem(
        format="leo-problem/1",
        name=name,
        resources=usual_resources(hardware, conditions),
        links=usual_links(hardware, conditions),
        stages=stages,
        deadlines=_deadlines(merged, conditions, names),
        accuracy_budgets=_budgets(merged, conditions, names),
        objective=merged.workload.objective,
    )
    return conditions.applied(usual)


def active_stages(merged: MergedWorkload, conditions: Conditions) -> tuple[MergedStage, ...]:
    """The stages a frame has to place: those of triggered graphs that no closed gate removes."""
    triggered = set(conditions.graphs)
    active: dict[str, MergedStage] = {}
    removed: set[str] = set()
    for stage in merged.stages:
        if not triggered.intersection(stage.graphs):
            continue
        gates = stage.gates(conditions.graphs)
        closed = bool(gates) and all(gate in conditions.closed_gates or gate in removed for gate in gates)
        missing_enough = all if stage.bound.operator.takes_absent else any
        starved = bool(stage.inputs) and missing_enough(read in removed for read in stage.inputs)
        if closed or starved:
            removed.add(stage.name)
        else:
            active[stage.name] = stage
    return tuple(active.values())


def _require_processors(profile: Profile, hardware: Hardware) -> None:
    """No entry may be of an unknown processor: a wrong name there would leave every stage to the others."""
    known = [processor.name for processor in hardware.processors]
    for number, cost in enumerate(profile.costs):
        if cost.processor not in known:
            raise ProfileError(
                f"profile `{profile.name}`: $.costs[{number}] ({cost.operator}) is of processor `{cost.processor}`, "
                f"which hardware `{hardware.name}` has not",
                hint=did_you_mean(cost.processor, known, "it has"),
            )


def _require_sensors(workload: Workload, hardware: Hardware) -> None:
    """Every stream is on a processor that is there."""
    known = [processor.name for processor in hardware.processors]
    for number, stream in enumerate(workload.streams):
        if stream.on is not None and stream.on not in known:
            raise GraphError(
                f"workload `{workload.name}`: $.streams[{number}] (`{stream.name}`) is on processor `{stream.on}`, "
                f"which hardware `{hardware.name}` has not",
                hint=did_you_mean(stream.on, known, "it has"),
            )


def _has_sensor(processor: Processor, stage: BoundStage, variant: str, workload: Workload) -> bool:
    """Whether a stage finds on a processor what it reads of a sensor; always where it reads none."""
    if not stage.operator.is_source:
        return True
    stream = workload.stream(stage.params[variant].stream)
    return not processor.remote if stream.on is None else processor.name == stream.on


def _new_name(stage: str, graph: str, taken: Collection[str]) -> str:
    """The stage's own name where nobody has it, else one that says whose it is."""
    name = stage
    while name in taken:
        name = f"{graph}.{name}"
    return name


def _identity(stage: Stage, bound: BoundStage, reads: tuple[str, ...]) -> tuple[object, ...]:
    variants = tuple(
        (v.name, bound.params[v.name].model_dump_json(), v.accuracy_loss_ppm, v.sent_bytes) for v in stage.variants
    )
    name = stage.name if bound.operator.only_costs else None
    return stage.operator, reads, variants, stage.chance_ppm, name


def _weights(bound: BoundStage, variant: str) -> tuple[object, ...]:
    """What equal weights are known by: not the shapes, which differ between the parts of a stage that is cut.

    Those of a stage that only costs are known by their labels.
    """
    if bound.operator.only_costs:
        return bound.operator.name, bound.weights(variant)
    if bound.operator.only_costs:  # By their labels, whatever else is said of the stage.
        return bound.operator.name, bound.params[variant].weights
    return bound.operator.name, bound.params[variant].model_dump_json(), bound.weight_bytes(variant)


def _gates_first(stages: tuple[MergedStage, ...]) -> tuple[MergedStage, ...]:
    """The same stages, each after its inputs and its gates; otherwise in the given order."""
    waits = {stage.name: [*stage.inputs, *(gate for _, gate in stage.asked if gate)] for stage in stages}
    if cycle := find_cycle(waits):
        raise GraphError(
            f"graphs that share stages gate each other: {' <- '.join([*cycle, cycle[0]])}",
            hint="give one of the shared stages another parameter, or one gate to all graphs that share it",
        )
    ordered: dict[str, MergedStage] = {}
    waiting = list(stages)
    while waiting:
        stage = next(s for s in waiting if all(name in ordered for name in waits[s.name]))
        waiting.remove(stage)
        ordered[stage.name] = stage
    return tuple(ordered.values())


def usual_resources(hardware: Hardware, conditions: Conditions) -> tuple[Resource, ...]:
    """The processors that are there, the radios and the stores, all of them free and awake."""

    def resource(part: Processor | Radio | Store, memory_bytes: int | None) -> Resource:
        return Resource(
            name=part.name,
            lanes=part.lanes,
            wake_latency_us=part.wake_latency_us,
            wake_energy_nj=part.wake_energy_nj,
            awake_mw=part.awake_mw,
            memory_bytes=memory_bytes,
        )

    processors = (part for part in hardware.processors if part.name not in conditions.lost)
    return (
        *(resource(processor, processor.memory_bytes) for processor in processors),
        *(resource(radio, None) for radio in hardware.radios),
        *(resource(store, None) for store in hardware.stores),
    )


def usual_links(hardware: Hardware, conditions: Conditions) -> tuple[Link, ...]:
    """The links between processors that are there, as the hardware has them."""
    return tuple(
        Link(
            source=link.source,
            target=link.target,
            latency_us=link.latency_us,
            bytes_per_s=link.bytes_per_s,
            energy_nj=link.energy_nj,
            energy_pj_per_byte=link.energy_pj_per_byte,
            resource=link.radio,
        )
        for link in hardware.links
        if link.source not in conditions.lost and link.target not in conditions.lost
    )


def _deadlines(merged: MergedWorkload, conditions: Conditions, active: set[str]) -> tuple[Deadline, ...]:
    return tuple(
        Deadline(stage=stage, deadline_us=graph.deadline_us, weight=graph.weight)
        for graph in merged.workload.graphs
        if graph.name in conditions.graphs
        for stage in merged.outputs(graph)
        if stage in active
    )


def _budgets(merged: MergedWorkload, conditions: Conditions, active: set[str]) -> tuple[AccuracyBudget, ...]:
    budgets = []
    for graph in merged.workload.graphs:
        if graph.accuracy_loss_ppm_max is None or graph.name not in conditions.graphs:
            continue
        stages = tuple(stage for stage in merged.stages_of(graph) if stage in active)
        budgets.append(AccuracyBudget(stages=stages, loss_ppm_max=graph.accuracy_loss_ppm_max))
    return tuple(budgets)

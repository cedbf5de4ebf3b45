"""Puts the stages that pack and unpack behind those whose output may be packed on its way.

What reads a stage with `pack` then reads `name.unpacked`, which reads `name.packed`, which reads the stage. Where these
two are placed, and in which form the second one packs, is chosen as of any other stage: on one processor they cost
little and lose nothing, as the first form is always one in which the output already is.
"""

from __future__ import annotations

from collections.abc import Mapping

from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.workload import Stage, TaskGraph, Variant, Workload, place_of
from leo_runtime.errors import GraphError
from leo_runtime.operators.packing import form_params

PACKED, UNPACKED = ".packed", ".unpacked"
"""Behind the name of a stage: those of the stages that pack what it gives, and unpack it."""
AS_IT_IS = {"int16": "pcm16", "uint8": "uint8"}
"""By the type in which a window is sent, the form that loses nothing of it; of any other `float32`."""


def with_packing(graph: TaskGraph, workload: Workload) -> TaskGraph:
    """The same graph with these stages. Raises `GraphError` where an output cannot be packed."""
    if not any(stage.pack for stage in graph.stages):
        return graph
    bound = bind(graph, workload)
    names = {stage.name for stage in graph.stages}
    behind = {stage.name: f"{stage.name}{UNPACKED}" for stage in graph.stages if stage.pack}
    stages: list[Stage] = []
    for stage in graph.stages:
        inputs = tuple(behind.get(name, name) for name in stage.inputs)
        stages.append(stage.model_copy(update={"inputs": inputs, "pack": ()}))
        if stage.pack:
            added = _added(stage, graph, bound)
            for one in added:
                if one.name in names:
                    raise GraphError(
                        f"{place_of(graph, stage)} is packed, and another stage has the name `{one.name}`",
                        hint=f"give `{one.name}` another name",
                    )
            stages += added
    return graph.model_copy(update={"stages": tuple(stages)})


def form_as_it_is(bound: BoundStage) -> str:
    """The form that loses nothing of what a stage gives, and takes no more than that."""
    return AS_IT_IS.get(bound.data_type, "float32") if bound.operator.is_source else "float32"


def why_not_packed(stage: Stage, graph: TaskGraph, bound: Mapping[str, BoundStage]) -> str:
    """Why a stage's output cannot be packed; nothing where it can be."""
    if len(bound[stage.name].outputs) > 1:
        return "it gives several arrays"
    if bound[stage.name].operator.name in ("pack", "unpack"):
        return f"its operator is `{bound[stage.name].operator.name}`"
    if not any(stage.name in reader.inputs for reader in graph.stages):
        return "nothing reads it"
    behind = [stage.name]
    for name in behind:
        readers = [reader.name for reader in graph.stages if name in reader.inputs]
        for reader in readers:
            if bound[reader].keeps_state:
                return f"`{reader}` goes on from what it kept, which takes to know what of its input is new"
        behind += [reader for reader in readers if reader not in behind]
    return ""


def _added(stage: Stage, graph: TaskGraph, bound: Mapping[str, BoundStage]) -> tuple[Stage, Stage]:
    why = why_not_packed(stage, graph, bound)
    if why:
        raise GraphError(f"{place_of(graph, stage)} cannot be packed: {why}", hint="leave out its `pack`")
    first = form_as_it_is(bound[stage.name])
    variants = [Variant(name=first, params=form_params(first))]
    for one in stage.pack:
        variant = Variant(
            name=one.form,
            params=form_params(one.form),
            accuracy_loss_ppm=one.accuracy_loss_ppm,
            sent_bytes=one.sent_bytes,
        )
        variants = [variant, *variants[1:]] if one.form == first else [*variants, variant]
    reads = dict.fromkeys(variant.params.get("compress", "none") for variant in variants)
    # It runs for whom it is made: where all that read it have one gate, it has that, too.
    gates = {reader.gate for reader in graph.stages if stage.name in reader.inputs}
    gate = gates.pop() if len(gates) == 1 else None
    pack = Stage(
        name=f"{stage.name}{PACKED}", operator="pack", inputs=(stage.name,), gate=gate, variants=tuple(variants)
    )
    params = {"shape": list(bound[stage.name].output_shape), "reads": list(reads)}
    unpack = Stage(name=f"{stage.name}{UNPACKED}", operator="unpack", inputs=(pack.name,), gate=gate, params=params)
    return pack, unpack

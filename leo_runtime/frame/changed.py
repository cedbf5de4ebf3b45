"""What stays of a workload when another takes its place: which stages are the same, and how they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.workload import Workload, file_parameters
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.operators import code_key

Keys = Mapping[str, Hashable]
"""By merged stage, what is equal of stages that compute the same from the same inputs (`stage_keys`)."""


def stage_keys(merged: MergedWorkload) -> dict[str, Hashable]:
    """The key of each merged stage: its operator, with its code, its parameters, with what is in their files, and the
    shapes of its inputs; of a source also its stream. Not what it reads."""
    digests: dict[str, str] = {}
    return {stage.name: _key(stage.bound, merged.workload, digests) for stage in merged.stages}


def same_stages(before: MergedWorkload, keys_before: Keys, now: MergedWorkload, keys: Keys) -> dict[str, str]:
    """The stages that compute the same as one did before, from the same down to the sources; with the names of those.

    It does not count who asks for them, nor how they are gated.
    """
    known: dict[Hashable, str] = {}
    for stage in before.stages:
        known.setdefault((keys_before[stage.name], stage.inputs), stage.name)
    same: dict[str, str] = {}
    for stage in now.stages:
        # Each once, whatever there is twice.
        found = known.pop((keys[stage.name], tuple([same.get(name) for name in stage.inputs])), None)
        if found is not None:
            same[stage.name] = found
    return same


def called_as_before(before: MergedWorkload, now: MergedWorkload, same: Mapping[str, str]) -> MergedWorkload:
    """The workload with the names of before: of stages that are the `same`, then of those of a graph that are called
    the same there."""
    called = dict(same)
    taken = set(called.values())
    for asked, name in now.names.items():
        wanted = before.names.get(asked)
        if name not in called and wanted is not None and wanted not in taken:
            called[name] = wanted
            taken.add(wanted)
    for (graph, own), name in now.names.items():
        if name not in called:
            new = own
            while new in taken:
                new = f"{graph}.{new}"
            called[name] = new
            taken.add(new)
    return _renamed(now, called)


def same_graphs(before: MergedWorkload, now: MergedWorkload, same: Mapping[str, str]) -> frozenset[str]:
    """The graphs that ask the same as before, of stages that are the `same` and in the same order.

    None where another order of stages, or another objective, makes other questions of them.
    """
    known = {graph.name: graph for graph in before.workload.graphs}
    found = [
        graph.name
        for graph in now.workload.graphs
        if known.get(graph.name) == graph
        and all(
            same.get(name) == before.names.get(asked) for asked, name in now.names.items() if asked[0] == graph.name
        )
    ]
    alike = now.workload.objective == before.workload.objective and _order(before, found) == _order(now, found)
    return frozenset(found) if alike else frozenset()


def _order(merged: MergedWorkload, graphs: list[str]) -> tuple[list[str], list[tuple[str, list[object]]]]:
    """The order of these graphs and of their stages, with who of them asks for each."""
    stages = [(stage.name, [one for one in stage.asked if one[0] in graphs]) for stage in merged.stages]
    return (
        [graph.name for graph in merged.workload.graphs if graph.name in graphs],
        [(name, list(asked)) for name, asked in stages if asked],
    )


def _key(bound: BoundStage, workload: Workload, digests: dict[str, str]) -> Hashable:
    operator = bound.operator
    files = file_parameters(operator)
    variants = []
    for name, params in bound.params.items():
        held = tuple(_digest(getattr(params, one), digests) for one in files)
        stream = workload.stream(params.stream) if operator.is_source else None
        variants.append((name, params.model_dump_json(), bound.accuracy_loss_ppm[name], held, stream))
    named = bound.name if operator.only_costs else None
    shapes = bound.input_shapes, bound.output_shape
    return code_key(operator), tuple(variants), shapes, bound.data_type, bound.chance_ppm, named


def _digest(path: Path | None, digests: dict[str, str]) -> str:
    """Of what a file holds; empty where it cannot be read, which is for who loads it to say."""
    if path is None:
        return ""
    if str(path) not in digests:
        try:
            with Path(path).open("rb") as file:
                digests[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            digests[str(path)] = ""
    return digests[str(path)]


def _renamed(merged: MergedWorkload, called: Mapping[str, str]) -> MergedWorkload:
    if all(name == new for name, new in called.items()):
        return merged
    stages = tuple(
        [
            replace(
                stage,
                name=called[stage.name],
                inputs=tuple([called[name] for name in stage.inputs]),
                asked=tuple([(graph, None if gate is None else called[gate]) for graph, gate in stage.asked]),
            )
            for stage in merged.stages
        ]
    )
    return MergedWorkload(merged.workload, stages, {asked: called[name] for asked, name in merged.names.items()})

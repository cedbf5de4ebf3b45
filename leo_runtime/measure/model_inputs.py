"""What a model of a workload is given on a recording: the values that a stage of it reads, release after release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from leo_runtime.backend import Kernel
from leo_runtime.backend.registry import create
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.lower import MergedStage, MergedWorkload, merge, require_computed
from leo_runtime.importers.model_file import open_model
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.measure.input_files import Runs, own_inputs
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.outputs import inputs_of
from leo_runtime.recordings.recording import Recording, check_streams


def model_inputs(workload: Workload, recording: Recording, file: Path, graph: LayerGraph, most: int) -> Runs:
    """What the first stage that reads a model's file from its start is given, of a graph of the workload that has one.

    `graph` is that file's; a copy of it elsewhere is the same. Stages before it are computed on the CPU, at every
    release of the recording, or so many spread over it; releases at which its gate is closed are left out. Raises
    `InputError` where no stage reads the model, or too few releases are left, `RecordingError` for streams that are not
    in the recording, and what a kernel raises.
    """
    check_streams(workload, recording)
    merged = merge(workload)
    require_computed(merged)
    stage = _reader(merged, file)
    owner = next(one for one in workload.graphs if one.name == stage.graphs[0])
    inputs = own_inputs(graph)
    backend = create(Processor(name="cpu", backend="cpu"))
    try:
        ahead = _ahead(merged, stage)
        kernels = {
            one.name: backend.load(one.bound, next(iter(one.bound.params)))
            for one in ahead
            if not one.bound.operator.is_source
        }
        seen = list(_seen(merged, stage, ahead, kernels, recording, releases_of(owner, ahead, recording, most)))
    finally:
        backend.close()
    arrays = tuple(np.stack([one[place] for one in seen]) if seen else np.zeros(0) for place in range(len(inputs)))
    source = f"{recording.manifest.name}, stage `{stage.name}`"
    return Runs(source, arrays, inputs).require_enough()


def _reader(merged: MergedWorkload, file: Path) -> MergedStage:
    wanted = open_model(file).sha256
    for stage in merged.stages:
        params = next(iter(stage.bound.params.values()))
        if isinstance(params, ModelParameters) and not params.first and open_model(params.model).sha256 == wanted:
            return stage
    raise InputError(
        f"workload `{merged.workload.name}` has no stage that reads the model {file}",
        hint="name a workload with it: `leo-runtime model graph` writes one",
    )


def _ahead(merged: MergedWorkload, stage: MergedStage) -> tuple[MergedStage, ...]:
    """The stages that it, or a gate of it, reads directly or indirectly, inputs before their readers."""
    wanted = {*stage.inputs, *stage.gates(stage.graphs)}
    for one in reversed(merged.stages):
        if one.name in wanted:
            wanted.update((*one.inputs, *one.gates(one.graphs)))
    return tuple(one for one in merged.stages if one.name in wanted)


def releases_of(graph: TaskGraph, ahead: tuple[MergedStage, ...], recording: Recording, most: int) -> range:
    """Ends of windows: multiples of the period, as far as the recording reaches."""
    streams = [next(iter(one.bound.params.values())).stream for one in ahead if one.bound.operator.is_source]
    count = recording.lasts_us(streams) // graph.period_us if streams else 0
    step = max(1, -(-count // max(1, most))) * graph.period_us
    return range(graph.period_us, count * graph.period_us + 1, step)


def _seen(
    merged: MergedWorkload,
    stage: MergedStage,
    ahead: tuple[MergedStage, ...],
    kernels: Mapping[str, Kernel],
    recording: Recording,
    releases: range,
) -> Iterator[tuple[np.ndarray, ...]]:
    for end_us in releases:
        values: dict[str, np.ndarray] = {}
        for one in ahead:
            if one.bound.operator.is_source:
                params = next(iter(one.bound.params.values()))
                values[one.name] = recording.window(params.stream, end_us, params.samples)
            elif runs_with(one, values):
                values[one.name] = kernels[one.name](given_to(one, merged, values))
        if runs_with(stage, values):
            yield tuple(given_to(stage, merged, values))


def runs_with(stage: MergedStage, values: Mapping[str, np.ndarray]) -> bool:
    """Whether its inputs are there, and a gate of it is open where it has one."""
    gates = stage.gates(stage.graphs)
    opened = not gates or any(gate in values and np.any(values[gate] > 0) for gate in gates)
    return opened and all(name in values for name in stage.inputs)


def given_to(stage: MergedStage, merged: MergedWorkload, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """What a stage is given of the values that others gave."""
    inputs: list[np.ndarray] = []
    for name in stage.inputs:
        several = merged.stage(name).bound.several
        value = values[name]
        inputs += inputs_of(value, several, stage.bound.takes[len(inputs) :]) if several else [value]
    return inputs

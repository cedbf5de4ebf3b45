"""Cuts of a graph: given what some of its stages gave elsewhere, what follows from it is computed in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from leo_runtime.backend.open_inference import Tensor
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import InputError
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.operators.definition import Output, shown
from leo_runtime.operators.outputs import arrays_of, inputs_of, one_value
from leo_runtime.serving.stages import PLATFORM, ServedStage, described, quoted

GRAPH = "graph:"
"""Before a graph's name: the model that is any cut of that graph."""
SAMPLES = ".samples"
"""Behind a source stage's name: the raw samples that it is given."""


class ServedGraph:
    """Any cut of a graph.

    What a stage gives is named as the stage (of one that gives several arrays, `stage.array`), in inputs and outputs.
    Inputs may also be the raw samples of a source stage, `stage.samples`. Computed is what the asked outputs need and
    no input gives. Gates decide nothing here: who wants to know asks for them. Each stage is in its first variant, and
    starts anew with every request.
    """

    version = "1"

    def __init__(self, graph: TaskGraph, merged: MergedWorkload, stages: Mapping[str, ServedStage]) -> None:
        """`stages` are the first variants, by their merged stages' names."""
        self.name = f"{GRAPH}{graph.name}"
        names = merged.stages_of(graph)
        self._stages = {stage.name: stages[stage.name] for stage in merged.stages if stage.name in names}
        self._reads = {stage.name: stage.inputs for stage in merged.stages if stage.name in self._stages}
        self._ends = [name for stage in merged.outputs(graph) for name in self._names(stage)]
        self._owner = {name: stage for stage in self._stages for name in self._names(stage)}
        self._sources = {f"{name}{SAMPLES}" for name, one in self._stages.items() if one.stage.operator.is_source}

    def metadata(self) -> dict[str, Any]:
        """The raw samples that it may begin with, and what it ends with."""
        sources = [name.removesuffix(SAMPLES) for name in self._stages if f"{name}{SAMPLES}" in self._sources]
        given = [self._stages[name].metadata()["inputs"][0] | {"name": f"{name}{SAMPLES}"} for name in sources]
        ends = dict.fromkeys(self._owner[name] for name in self._ends)
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": PLATFORM,
            "inputs": given,
            "outputs": [
                described(replace(output, name=name))
                for stage in ends
                for name, output in zip(self._names(stage), self._outputs(stage), strict=True)
            ],
            "parameters": {"stages": ",".join(self._stages)},
        }

    def infer(self, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        """What is asked for, or what the graph ends with. Raises `InputError`, `KernelError`."""
        given: dict[str, np.ndarray] = {}
        for tensor in inputs:
            if tensor.name not in self._owner and tensor.name not in self._sources:
                raise InputError(f"`{self.name}` has no input {quoted([tensor.name])}", hint=self._known())
            if tensor.name in given:
                raise InputError(f"the input `{tensor.name}` is given twice")
            given[tensor.name] = tensor.array
        wanted = outputs or self._ends
        for name in wanted:
            if name not in self._owner:
                raise InputError(f"`{self.name}` has no output {quoted([name])}", hint=self._known())
        values: dict[str, np.ndarray] = {}
        for stage in self._needed(wanted, given):
            values[stage] = self._value(stage, given, values)
        arrays = {
            name: array
            for stage in dict.fromkeys(self._owner[name] for name in wanted)
            for name, array in zip(self._names(stage), arrays_of(values[stage]), strict=True)
        }
        return tuple(Tensor(name, arrays[name]) for name in wanted)

    def _needed(self, wanted: Sequence[str], given: Mapping[str, np.ndarray]) -> list[str]:
        """The stages whose values are needed, inputs before their readers."""
        needed = {self._owner[name] for name in wanted}
        for stage in reversed(self._stages):
            if stage in needed and not self._is_given(stage, given):
                needed.update(self._reads[stage])
        return [stage for stage in self._stages if stage in needed]

    def _is_given(self, stage: str, given: Mapping[str, np.ndarray]) -> bool:
        return all(name in given for name in self._names(stage))

    def _value(self, name: str, given: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> np.ndarray:
        """What a stage gave, or gives now. Raises `InputError`, `KernelError`."""
        served = self._stages[name]
        if self._is_given(name, given):
            return self._told(name, given)
        if served.stage.operator.is_source:
            samples = given.get(f"{name}{SAMPLES}")
            if samples is None:
                raise InputError(
                    f"`{self.name}` needs `{name}` or `{name}{SAMPLES}`, and neither is given", hint=self._known()
                )
            return served.run([served.taken(0, samples)])
        arrays: list[np.ndarray] = []
        for reads in self._reads[name]:
            stage = self._stages[reads].stage
            if stage.several:
                arrays += inputs_of(values[reads], stage.several, served.stage.takes[len(arrays) :])
            else:
                arrays.append(values[reads])
        return served.run(arrays)

    def _told(self, name: str, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """What a stage gave elsewhere. Raises `InputError`."""
        arrays: list[np.ndarray] = []
        for full, output in zip(self._names(name), self._outputs(name), strict=True):
            array = given[full]
            wanted = np.dtype(output.data_type if self._stages[name].stage.several else "float32")
            if not output.allows(array.shape) or not np.can_cast(array.dtype, wanted, "safe"):
                raise InputError(
                    f"`{full}` is {wanted} of shape {shown(output.shape)}, got {array.dtype} of {shown(array.shape)}"
                )
            arrays.append(array.astype(wanted, copy=False))
        return one_value(arrays, [output.name for output in self._outputs(name)])

    def _outputs(self, stage: str) -> tuple[Output, ...]:
        return self._stages[stage].stage.outputs

    def _names(self, stage: str) -> list[str]:
        outputs = self._outputs(stage)
        return [stage] if len(outputs) == 1 else [f"{stage}.{output.name}" for output in outputs]

    def _known(self) -> str:
        return f"one of {', '.join([*sorted(self._sources), *self._owner])}"

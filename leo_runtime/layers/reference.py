"""A graph of layers computed by numpy: slow, and what every processor's results are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leo_runtime.layers.graph import LayerGraph
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import call_of


def run(graph: LayerGraph, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The outputs for the inputs, in the graph's order; of layers that `refusal` finds nothing against.

    From any thread.
    """
    values = values_of(graph, inputs)
    return tuple(values[number] for number in graph.outputs)


def values_of(graph: LayerGraph, inputs: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """What every tensor holds, by its number."""
    values = {number: tensor.data for number, tensor in enumerate(graph.tensors) if tensor.data is not None}
    values.update(zip(graph.inputs, inputs, strict=True))
    for layer in graph.layers:
        arrays = [None if number < 0 else values[number] for number in layer.inputs]
        values.update(zip(layer.outputs, KINDS[layer.kind].compute(call_of(graph, layer), arrays), strict=True))
    return values

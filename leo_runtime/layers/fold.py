"""What a model computes from constants and shapes alone, as constants."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from leo_runtime.layers.graph import Layer, LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS, refusal
from leo_runtime.layers.kinds.definition import call_of

_MOST_VALUES = 4096
"""What is computed for shapes and indices has few; more is left to whoever runs the model."""


def folded(graph: LayerGraph) -> LayerGraph:
    """The graph without the layers that give the same integers at every run, which are constants in it.

    Shapes are fixed, so SHAPE gives a constant, and so does what is computed from it. Tensors keep their numbers.
    """
    tensors, layers = list(graph.tensors), list[Layer]()
    given = set(graph.outputs)
    for layer in graph.layers:
        now = replace(graph, tensors=tuple(tensors)) if _may_fold(layer, tensors, given) else None
        if now is None or refusal(now, layer) is not None:
            layers.append(layer)
            continue
        call = call_of(now, layer)
        arrays = [None if tensor is None else _values(tensor) for tensor in call.inputs]
        for number, values in zip(layer.outputs, KINDS[layer.kind].compute(call, arrays), strict=True):
            array = np.ascontiguousarray(values, tensors[number].dtype).reshape(tensors[number].shape)
            array.flags.writeable = False
            tensors[number] = replace(tensors[number], data=array, stored_bytes=array.nbytes)
    if len(layers) == len(graph.layers):
        return graph
    return replace(graph, tensors=tuple(tensors), layers=tuple(layers))


def _may_fold(layer: Layer, tensors: list[Tensor], given: set[int]) -> bool:
    """Whether it gives a few integers, to other layers alone, that depend on nothing that is computed."""
    known = layer.kind == "SHAPE" or all(n >= 0 and tensors[n].data is not None for n in layer.inputs)
    return (
        known
        and layer.kind in KINDS
        and given.isdisjoint(layer.outputs)
        and all(tensors[n].dtype.kind == "i" and not tensors[n].scale for n in layer.outputs)
        and sum(math.prod(tensors[n].shape) for n in layer.outputs) <= _MOST_VALUES
    )


def _values(tensor: Tensor) -> np.ndarray:
    """Of a constant; of what only the shape is asked of, an array that takes no memory."""
    return np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape) if tensor.data is None else tensor.data

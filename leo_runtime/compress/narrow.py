"""Weights held in fewer bits, activations as they were: float16, and int8 with a scale for each output.

Interpreters unfold them once, as they load, and then compute with float32: what is saved is flash, the time to load,
and what is sent. (`int8` makes activations integers, too.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.rewrite import CONV, DENSE, DEPTHWISE, held_as, weighted, weights_of, with_weights
from leo_runtime.layers.graph import LayerGraph, Tensor

_ALL = (CONV, DENSE, DEPTHWISE)
_GREATEST_HALF = float(np.finfo(np.float16).max)


def float16_weights(graph: LayerGraph) -> LayerGraph:
    """Every layer's weights in float16, rounded to the nearest.

    Raises `CompressError` where there are none, or one is beyond what float16 holds, 65,504.
    """

    def narrow(tensor: Tensor, weights: np.ndarray, _axis: int) -> Tensor:
        if (most := float(np.abs(weights).max())) > _GREATEST_HALF:
            raise CompressError(f"{graph.name}: `{tensor.name}` has a weight of {most:g}, float16 ends at 65504")
        return held_as(tensor, weights.astype(np.float16))

    return _each(graph, narrow)


def int8_weights(graph: LayerGraph) -> LayerGraph:
    """Every layer's weights in int8, each output's with the scale that its greatest needs. Raises `CompressError`."""

    return _each(graph, _int8)


def _each(graph: LayerGraph, narrow: Callable[[Tensor, np.ndarray, int], Tensor]) -> LayerGraph:
    """The graph with every layer's weights held so, where that takes fewer bytes.

    `narrow` is given a constant, its values, and which of their axes is the output's.
    """
    changed = {}
    for number in weighted(graph, _ALL):
        layer, weights = graph.layers[number], weights_of(graph, number)
        place = layer.inputs[1]
        made = narrow(graph.tensors[place], weights, weights.ndim - 1 if layer.kind == DEPTHWISE else 0)
        if made.stored_bytes < graph.tensors[place].stored_bytes:
            changed[place] = made
    if not changed:
        raise CompressError(
            f"{graph.name}: has no float weights that would take fewer bytes",
            hint="a model that is int8 already is as small as these forms make it",
        )
    return with_weights(graph, changed)


def as_stored(graph: LayerGraph) -> LayerGraph:
    """A graph that was read from a file, its constants held again as the file had them.

    What is read is unfolded to float32; here what float16 or int8 stand for to the bit, in no more bytes than the file
    has, is held as that, so that layers that no form changes are written as small as they were.
    """
    changed = {}
    axes = {graph.layers[number].inputs[1]: graph.layers[number].kind for number in weighted(graph, _ALL)}
    for place, tensor in enumerate(graph.tensors):
        data = tensor.data
        if data is None or data.dtype != np.float32 or tensor.held is not None or tensor.stored_bytes >= data.nbytes:
            continue
        with np.errstate(over="ignore"):
            tries = [held_as(tensor, data), held_as(tensor, data.astype(np.float16))]
        if place in axes:
            axis = data.ndim - 1 if axes[place] == DEPTHWISE else 0
            tries.append(_int8(tensor, data, axis))
        same = [one for one in tries if one.data is not None and one.data.tobytes() == data.tobytes()]
        best = min(same, key=lambda one: one.stored_bytes)
        if best.held is not None:
            changed[place] = best
    return with_weights(graph, changed)


def _int8(tensor: Tensor, weights: np.ndarray, axis: int) -> Tensor:
    """A constant held in int8, with a scale for each index along an axis."""
    others = tuple(one for one in range(weights.ndim) if one != axis)
    most = np.abs(weights).max(axis=others)
    scales = np.where(most > 0, most / np.float32(127), np.float32(1)).astype(np.float32)
    along = [1] * weights.ndim
    along[axis] = -1
    whole = np.clip(np.rint(weights / scales.reshape(along)), -127, 127).astype(np.int8)
    return held_as(tensor, whole, tuple(map(float, scales)), axis)

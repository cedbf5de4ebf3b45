"""Activations done by the layer before them: the same values, in fewer layers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from leo_runtime.layers import cut
from leo_runtime.layers.graph import Layer, LayerGraph

_ACTIVATIONS = ("RELU", "RELU6")
_TAKING = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SUB")
"""Kinds that may have an activation fused, of reals and of int8."""


def fused(graph: LayerGraph) -> LayerGraph:
    """The graph without the activations that a layer before can do: where nobody else reads what that gives."""
    readers = Counter(number for layer in graph.layers for number in layer.inputs)
    readers.update(graph.outputs)
    layers: list[Layer] = []
    giver: dict[int, int] = {}
    for layer in graph.layers:
        at = giver.get(layer.inputs[0]) if layer.kind in _ACTIVATIONS and readers[layer.inputs[0]] == 1 else None
        if at is not None and _takes(layers[at]):
            options = {**layers[at].options, "fused_activation_function": layer.kind}
            layers[at] = replace(layers[at], options=options, outputs=layer.outputs)
        else:
            at = len(layers)
            layers.append(layer)
        giver.update(dict.fromkeys(layer.outputs, at))
    return without_unused(replace(graph, layers=tuple(layers)))


def without_unused(graph: LayerGraph) -> LayerGraph:
    """The graph without the tensors that nothing refers to."""
    (whole,) = cut.pieces(graph, [len(graph.layers)])
    return whole


def _takes(layer: Layer) -> bool:
    return layer.kind in _TAKING and layer.options["fused_activation_function"] == "NONE"

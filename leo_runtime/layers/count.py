"""What a graph of layers costs, whoever runs it."""

from __future__ import annotations

from leo_runtime.layers.graph import LayerGraph
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import call_of


def macs(graph: LayerGraph) -> int:
    """Multiply-accumulates of one run."""
    return sum(KINDS[layer.kind].macs(call_of(graph, layer)) for layer in graph.layers)


def is_int8(graph: LayerGraph) -> bool:
    """Whether it computes in int8: every layer but those at its doors, which make reals integers and back."""
    inside = [layer for layer in graph.layers if layer.kind not in ("QUANTIZE", "DEQUANTIZE")]
    return bool(inside) and all(graph.tensors[layer.inputs[0]].dtype.name == "int8" for layer in inside)


def weight_bytes(graph: LayerGraph) -> int:
    """What the file holds of the constants that its layers read, each counted once."""
    read = {number for layer in graph.layers for number in layer.inputs if number >= 0}
    return sum(graph.tensors[number].stored_bytes for number in read)


def state_bytes(graph: LayerGraph) -> int:
    """What it keeps from call to call."""
    return sum(state.first.nbytes for state in graph.states)


def moved_bytes(graph: LayerGraph) -> int:
    """What one run reads and writes where nothing between its layers leaves the processor: weights too."""
    return weight_bytes(graph) + sum(graph.tensors[number].bytes for number in (*graph.inputs, *graph.outputs))


def activation_bytes(graph: LayerGraph) -> int:
    """The most that values between layers take at once, inputs and outputs too, each let go when nobody needs it."""
    last = {number: index for index, layer in enumerate(graph.layers) for number in layer.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.layers))
    live = set(graph.inputs)
    most = held = sum(graph.tensors[number].bytes for number in live)
    for index, layer in enumerate(graph.layers):
        held += sum(graph.tensors[number].bytes for number in layer.outputs)
        live.update(layer.outputs)
        most = max(most, held)
        done = {
            number for number in (*layer.inputs, *layer.outputs) if number in live and last.get(number, -1) <= index
        }
        held -= sum(graph.tensors[number].bytes for number in done)
        live -= done
    return most

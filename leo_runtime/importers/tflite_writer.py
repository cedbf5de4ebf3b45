"""A graph of layers as a `.tflite` file, for an interpreter of such models.

A constant that is to be held in fewer bytes (`Tensor.held`) is written so, with the operators before all layers that
unfold it: DENSIFY of what is sparse, DEQUANTIZE of float16 and int8.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leo_runtime.importers.flatbuffer import OFFSET, Front, NewTable
from leo_runtime.importers.sparse import write_sparsity
from leo_runtime.importers.tflite import DTYPES, IDENTIFIER
from leo_runtime.importers.tflite_layers import DENSIFY
from leo_runtime.layers.graph import Layer, LayerGraph, Option, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import OptionField

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_DENSIFY = "DENSIFY"
_LAST_OLD_CODE = 127
"""The greatest number of an operator that its older field holds."""


def write_model(graph: LayerGraph) -> bytes:
    """The file of a graph: its tensors and layers by the same numbers, every constant as it is here, or held.

    States are inputs and outputs like others. Any thread.
    """
    graph = _with_held(graph)
    codes = list(dict.fromkeys((_code(layer.kind), layer.version) for layer in graph.layers))
    constants = [tensor for tensor in graph.tensors if tensor.data is not None]
    front = Front(IDENTIFIER)
    model = front.table({0: ("I", 3), 1: OFFSET, 2: OFFSET, 4: OFFSET})
    front.lead(0, model.start)
    for place, (code, version) in zip(_tables(front, model, 1, len(codes)), codes, strict=True):
        table = front.table({0: ("b", min(code, _LAST_OLD_CODE)), 2: ("i", version), 3: ("i", code)})
        front.lead(place, table.start)
    (place,) = _tables(front, model, 2, 1)
    _write_graph(front, place, graph, codes)
    # Buffer 0 is empty, and that of all that is no constant.
    buffers = _tables(front, model, 4, 1 + len(constants))
    front.lead(buffers[0], front.table({}).start)
    for place, tensor in zip(buffers[1:], constants, strict=True):
        assert tensor.data is not None
        buffer = front.table({0: OFFSET})
        front.lead(place, buffer.start)
        values = tensor.data[tensor.data != 0] if _is_sparse(tensor) else tensor.data
        front.data(buffer.fields[0], values.tobytes())
    return front.before(b"")


def _with_held(graph: LayerGraph) -> LayerGraph:
    """The graph with what unfolds constants written out: behind its tensors and before its layers."""
    tensors, unfolding = list(graph.tensors), list[Layer]()
    for number, tensor in enumerate(graph.tensors):
        held = tensor.held
        if held is None:
            continue
        zeros = (0,) * len(held.scale)
        kept = Tensor(
            f"{tensor.name} as held", tensor.shape, held.data.dtype, held.scale, zeros, held.axis, held.data, held=held
        )
        tensors[number] = replace(tensor, data=None, held=None)
        steps = [_DENSIFY] * held.sparse + ["DEQUANTIZE"] * (held.data.dtype != np.float32)
        source = len(tensors)
        tensors.append(kept)
        for kind in steps[:-1]:
            tensors.append(replace(kept, data=None, held=None))
            unfolding.append(Layer(kind, {}, (source,), (len(tensors) - 1,)))
            source = len(tensors) - 1
        unfolding.append(Layer(steps[-1], {}, (source,), (number,), version=1 + (steps[-1] != _DENSIFY)))
    return replace(graph, tensors=tuple(tensors), layers=(*unfolding, *graph.layers))


def _code(kind: str) -> int:
    """The number that the schema gives an operator."""
    return DENSIFY if kind == _DENSIFY else KINDS[kind].code


def _tables(front: Front, table: NewTable, field: int, count: int) -> list[int]:
    """Places for the offsets of so many tables, as a vector that a field leads to."""
    first = front.vector(table.fields[field], "I", [0] * count)
    return [first + 4 * index for index in range(count)]


def _write_graph(front: Front, place: int, graph: LayerGraph, codes: list[tuple[int, int]]) -> None:
    table = front.table({0: OFFSET, 1: OFFSET, 2: OFFSET, 3: OFFSET})
    front.lead(place, table.start)
    front.vector(table.fields[1], "i", graph.inputs)
    front.vector(table.fields[2], "i", graph.outputs)
    buffer = 0
    for at, tensor in zip(_tables(front, table, 0, len(graph.tensors)), graph.tensors, strict=True):
        buffer += tensor.data is not None
        _write_tensor(front, at, tensor, 0 if tensor.data is None else buffer)
    for at, layer in zip(_tables(front, table, 3, len(graph.layers)), graph.layers, strict=True):
        _write_layer(front, at, layer, codes.index((_code(layer.kind), layer.version)))


def _is_sparse(tensor: Tensor) -> bool:
    """Whether a constant's zeros are left out."""
    return tensor.held is not None and tensor.held.sparse and tensor.data is not None


def _write_tensor(front: Front, place: int, tensor: Tensor, buffer: int) -> None:
    quantised = {4: OFFSET} if tensor.scale else {}
    sparse = {6: OFFSET} if _is_sparse(tensor) else {}
    number = _NUMBERS[tensor.dtype.newbyteorder("<")]
    table = front.table({0: OFFSET, 1: ("b", number), 2: ("I", buffer), 3: OFFSET, **quantised, **sparse})
    front.lead(place, table.start)
    front.vector(table.fields[0], "i", tensor.shape)
    front.text(table.fields[3], tensor.name)
    if tensor.scale:
        scales = front.table({2: OFFSET, 3: OFFSET, 6: ("i", tensor.axis)})
        front.lead(table.fields[4], scales.start)
        front.vector(scales.fields[2], "f", tensor.scale)
        front.vector(scales.fields[3], "q", tensor.zero_point)
    if sparse and tensor.data is not None:
        write_sparsity(front, table.fields[6], tensor.data)


def _write_layer(front: Front, place: int, layer: Layer, code: int) -> None:
    kind = KINDS.get(layer.kind)  # None: DENSIFY, which has no options.
    has_options = {3: ("B", kind.options_table), 4: OFFSET} if kind is not None and kind.options_table else {}
    table = front.table({0: ("I", code), 1: OFFSET, 2: OFFSET, **has_options})
    front.lead(place, table.start)
    front.vector(table.fields[1], "i", layer.inputs)
    front.vector(table.fields[2], "i", layer.outputs)
    if kind is None or not kind.options_table:
        return
    written = [(field, layer.options[field.name]) for field in kind.options]
    options = front.table({field.field: _value(field, value) for field, value in written})
    front.lead(table.fields[4], options.start)
    for field, value in written:
        if isinstance(value, tuple):
            front.vector(options.fields[field.field], "i", value)


def _value(field: OptionField, value: Option) -> tuple[str, float]:
    """A field of the table of options, as `Front.table` takes it."""
    if isinstance(value, tuple):
        return OFFSET
    return field.form, field.choices.index(value) if isinstance(value, str) else value

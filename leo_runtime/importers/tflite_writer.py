"""A graph of layers as a `.tflite` file, for an interpreter of such models."""

from __future__ import annotations

from leo_runtime.importers.flatbuffer import OFFSET, Front, NewTable
from leo_runtime.importers.tflite import DTYPES, IDENTIFIER
from leo_runtime.layers.graph import Layer, LayerGraph, Option, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import OptionField

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_LAST_OLD_CODE = 127
"""The greatest number of an operator that its older field holds."""


def write_model(graph: LayerGraph) -> bytes:
    """The file of a graph: its tensors and layers by the same numbers, every constant as it is here.

    States are inputs and outputs like others. Any thread.
    """
    codes = list(dict.fromkeys((layer.kind, layer.version) for layer in graph.layers))
    constants = [tensor.data for tensor in graph.tensors if tensor.data is not None]
    front = Front(IDENTIFIER)
    model = front.table({0: ("I", 3), 1: OFFSET, 2: OFFSET, 4: OFFSET})
    front.lead(0, model.start)
    for place, (kind, version) in zip(_tables(front, model, 1, len(codes)), codes, strict=True):
        code = KINDS[kind].code
        table = front.table({0: ("b", min(code, _LAST_OLD_CODE)), 2: ("i", version), 3: ("i", code)})
        front.lead(place, table.start)
    (place,) = _tables(front, model, 2, 1)
    _write_graph(front, place, graph, codes)
    # Buffer 0 is empty, and that of all that is no constant.
    buffers = _tables(front, model, 4, 1 + len(constants))
    front.lead(buffers[0], front.table({}).start)
    for place, data in zip(buffers[1:], constants, strict=True):
        buffer = front.table({0: OFFSET})
        front.lead(place, buffer.start)
        front.data(buffer.fields[0], data.tobytes())
    return front.before(b"")


def _tables(front: Front, table: NewTable, field: int, count: int) -> list[int]:
    """Places for the offsets of so many tables, as a vector that a field leads to."""
    first = front.vector(table.fields[field], "I", [0] * count)
    return [first + 4 * index for index in range(count)]


def _write_graph(front: Front, place: int, graph: LayerGraph, codes: list[tuple[str, int]]) -> None:
    table = front.table({0: OFFSET, 1: OFFSET, 2: OFFSET, 3: OFFSET})
    front.lead(place, table.start)
    front.vector(table.fields[1], "i", graph.inputs)
    front.vector(table.fields[2], "i", graph.outputs)
    buffer = 0
    for at, tensor in zip(_tables(front, table, 0, len(graph.tensors)), graph.tensors, strict=True):
        buffer += tensor.data is not None
        _write_tensor(front, at, tensor, 0 if tensor.data is None else buffer)
    for at, layer in zip(_tables(front, table, 3, len(graph.layers)), graph.layers, strict=True):
        _write_layer(front, at, layer, codes.index((layer.kind, layer.version)))


def _write_tensor(front: Front, place: int, tensor: Tensor, buffer: int) -> None:
    quantised = {4: OFFSET} if tensor.scale else {}
    number = _NUMBERS[tensor.dtype.newbyteorder("<")]
    table = front.table({0: OFFSET, 1: ("b", number), 2: ("I", buffer), 3: OFFSET, **quantised})
    front.lead(place, table.start)
    front.vector(table.fields[0], "i", tensor.shape)
    front.text(table.fields[3], tensor.name)
    if tensor.scale:
        scales = front.table({2: OFFSET, 3: OFFSET, 6: ("i", tensor.axis)})
        front.lead(table.fields[4], scales.start)
        front.vector(scales.fields[2], "f", tensor.scale)
        front.vector(scales.fields[3], "q", tensor.zero_point)


def _write_layer(front: Front, place: int, layer: Layer, code: int) -> None:
    kind = KINDS[layer.kind]
    has_options = {3: ("B", kind.options_table), 4: OFFSET} if kind.options_table else {}
    table = front.table({0: ("I", code), 1: OFFSET, 2: OFFSET, **has_options})
    front.lead(place, table.start)
    front.vector(table.fields[1], "i", layer.inputs)
    front.vector(table.fields[2], "i", layer.outputs)
    if not kind.options_table:
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

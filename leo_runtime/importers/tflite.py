"""What is in a `.tflite` file: its tensors, operators and weights, and a copy of it whose state is explicit.

The fields of the tables are those of TensorFlow Lite's schema, version 3
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass

import numpy as np

from leo_runtime.errors import InputError
from leo_runtime.importers.flatbuffer import OFFSET, DamagedError, Front, Table, root
from leo_runtime.importers.sparse import index_bytes, unfolded

IDENTIFIER = b"TFL3"
VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE = 142, 143, 144, 129
"""Numbers of the operators that a streaming model keeps its state with."""
_LEAST = {VAR_HANDLE: (0, 1), READ_VARIABLE: (1, 1), ASSIGN_VARIABLE: (2, 0)}
"""How many inputs and outputs these have."""
DTYPES: dict[int, np.dtype[np.generic]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f2"),
    2: np.dtype("<i4"),
    3: np.dtype("u1"),
    4: np.dtype("<i8"),
    6: np.dtype("?"),
    7: np.dtype("<i2"),
    9: np.dtype("i1"),
    10: np.dtype("<f8"),
    12: np.dtype("<u8"),
    15: np.dtype("<u4"),
    16: np.dtype("<u2"),
}
"""Types of tensors that arrays have too, by the number of the schema."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it is stored."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    """Its shape with -1 for sizes that are open; as `shape` where none is."""
    type: int
    """The number that the schema gives it; `DTYPES` has those that arrays have."""
    buffer: int
    scale: tuple[float, ...]
    """Of its quantisation: one, or one for each index along `axis`; empty: it has none."""
    zero_point: tuple[int, ...]
    axis: int
    is_variable: bool
    sparsity: Table | None
    """How its values are stored, where that is not one after the other."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator applied to tensors, by their numbers; -1: one that is left out."""

    code: int
    custom: str
    """The name of a custom operator; "" of all others."""
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    """Its own table, whose fields depend on the operator."""


@dataclass(frozen=True, slots=True)
class SubGraph:
    """One graph of a model; the first is the one that is called."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operations: tuple[Operation, ...]
    table: Table


@dataclass(frozen=True, slots=True)
class Signature:
    """A way to call a model: a graph of it, and names for what goes in and comes out."""

    name: str
    graph: int
    inputs: tuple[tuple[str, int], ...]
    """A name, and the number of a tensor."""
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class TfliteFile:
    """A whole file. Weights are views into it."""

    name: str
    """For messages."""
    content: bytes
    graphs: tuple[SubGraph, ...]
    buffers: tuple[memoryview | None, ...]
    signatures: tuple[Signature, ...]
    table: Table

    def stored_bytes(self, tensor: Tensor) -> int:
        """How many bytes the file holds of a tensor's values; of a sparse one also of where they are."""
        data = self.buffers[tensor.buffer]
        if data is None:
            return 0
        return len(data) + (0 if tensor.sparsity is None else index_bytes(tensor.sparsity))

    def constant(self, tensor: Tensor) -> np.ndarray | None:
        """The values of a tensor that the file holds, read-only; None where it holds none, or of another type.

        Of one that is stored sparsely all of them, in an array of its own; others are views into the file. Raises
        `InputError` where the file is damaged, or sparse in a way that is not read.
        """
        data, dtype = self.buffers[tensor.buffer], DTYPES.get(tensor.type)
        if data is None or dtype is None:
            return None
        if tensor.sparsity is not None:
            return self._unfolded(tensor, tensor.sparsity, data, dtype)
        count = math.prod(tensor.shape)
        if len(data) != count * dtype.itemsize:
            raise InputError(
                f"{self.name}: damaged, tensor `{tensor.name}` of shape {tensor.shape} has {len(data)} bytes, "
                f"expected {count * dtype.itemsize}"
            )
        return np.frombuffer(data, dtype).reshape(tensor.shape)

    def _unfolded(self, tensor: Tensor, sparsity: Table, data: memoryview, dtype: np.dtype[np.generic]) -> np.ndarray:
        try:
            if len(data) % dtype.itemsize:
                raise DamagedError(f"{len(data)} bytes are no values of {dtype}")
            array = unfolded(sparsity, tensor.shape, np.frombuffer(data, dtype))
        except DamagedError as error:
            raise damaged(self.name, error) from None
        except NotImplementedError as error:
            raise InputError(f"{self.name}: tensor `{tensor.name}` {error}") from None
        array.flags.writeable = False
        return array


def parse_tflite(content: bytes, name: str) -> TfliteFile:
    """The file of that content; `name` is for messages. Raises `InputError` where it is damaged."""
    if content[4:8] != IDENTIFIER:
        what, hint = _what(content)
        raise InputError(f"{name}: is no TensorFlow Lite model: {what}", hint=hint)
    try:
        model = root(content, IDENTIFIER)
        codes = [_code(table) for table in model.tables(1)]
        buffers = tuple(_data(table) for table in model.tables(4))
        graphs = tuple(_graph(table, codes, len(buffers)) for table in model.tables(2))
        signatures = tuple(_signature(table, graphs) for table in model.tables(7))
    except DamagedError as error:
        raise damaged(name, error) from None
    if not graphs:
        raise InputError(f"{name}: has no graph")
    return TfliteFile(name, content, graphs, buffers, signatures, model)


_CONVERT = "a model of another format has to be converted first: what made it says how it becomes a `.tflite` file"
_AGAIN = "copy it again"
_FORMATS = {
    b"\x89HDF": ("it is HDF5, as Keras' `.h5` files are", _CONVERT),
    b"GGUF": ("it is GGUF", _CONVERT),
    b"\x1f\x8b": ("it is compressed by gzip", "unpack it first"),
    b"version https://git-lfs": ("it is the pointer that Git LFS keeps in its place", "`git lfs pull` brings the file"),
    **dict.fromkeys(
        (b"<!", b"<html", b"<HTML", b"<?xml"),
        ("it is a page of HTML or XML", "download the file itself, not the page that shows it"),
    ),
    **dict.fromkeys(
        (b"unsigned char", b"const unsigned", b"#include"),
        ("it is source text in C", "give the `.tflite` file that it was made of"),
    ),
    b"{": ("it is JSON", _CONVERT),
    b"\x08\x01\x12": ("it looks like a SavedModel of TensorFlow (`.pb`)", _CONVERT),
    b"\x80\x02": ("it is a pickle, as PyTorch's older files are", _CONVERT),
}
"""What else a model's file may be, by its first bytes behind blank ones, and what helps."""
_ZIP = b"PK\x03\x04"
_MOST_NAMED = 5
_ONNX_VERSIONS = range(1, 64)
"""What an ONNX file begins with, behind a byte of 8: the version of its format."""
_ONNX_NEXT = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
"""How the field behind it may begin: the producer's name, ..., the graph, the operator sets."""


def _what(content: bytes) -> tuple[str, str]:
    """What a file is that is no model, and what helps."""
    if not content:
        return "it is empty", _AGAIN
    if content.startswith(_ZIP):
        return _archive(content)
    begin = content[:256].lstrip(b" \t\r\n\xef\xbb\xbf")
    for first, known in _FORMATS.items():
        if begin.startswith(first):
            return known
    if b"Placeholder" in begin:
        return "it looks like a graph of TensorFlow (`.pb`)", _CONVERT
    if content[0] == 8 and len(content) > 2 and content[1] in _ONNX_VERSIONS and content[2] in _ONNX_NEXT:
        return "it looks like ONNX", _CONVERT
    return f"its bytes 4 to 7 are not {IDENTIFIER.decode()!r}", _CONVERT


def _archive(content: bytes) -> tuple[str, str]:
    """The same of a zip archive: which models are in it."""
    what = "it is a zip archive, as `.task`, `.keras` and `.pt` files are"
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return f"{what}, and damaged", _AGAIN
    models = [name for name in names if name.endswith(".tflite")]
    if not models:
        return what, _CONVERT
    more = f" and {len(models) - _MOST_NAMED} more" if len(models) > _MOST_NAMED else ""
    return f"{what}, and holds {', '.join(f'`{name}`' for name in models[:_MOST_NAMED])}{more}", "unzip it first"


def damaged(name: str, error: DamagedError) -> InputError:
    """What is wrong with a file of that name, in words for its user."""
    return InputError(f"{name}: is no TensorFlow Lite model, or damaged: {error}", hint=error.hint or _AGAIN)


def _code(table: Table) -> tuple[int, str, int]:
    """An operator's number, the name it has if it is a custom one, and its version.

    Numbers above 127 do not fit the older field, which then holds 127.
    """
    return max(table.scalar(0, "b", 0), table.scalar(3, "i", 0)), table.text(1), table.scalar(2, "i", 1)


def _data(table: Table) -> memoryview | None:
    """The bytes of a buffer; those of files above 2 GB lie behind all tables, at an offset from the file's start."""
    offset, size = table.scalar(1, "Q", 0), table.scalar(2, "Q", 0)
    if offset > 1:
        if offset + size > len(table.buffer):
            raise DamagedError(f"a buffer at byte {offset} leads out of {len(table.buffer)}")
        return table.buffer[offset : offset + size]
    return table.bytes(0) or None


def _graph(table: Table, codes: list[tuple[int, str, int]], buffers: int) -> SubGraph:
    tensors = tuple(_tensor(one, buffers) for one in table.tables(0))
    operations = tuple(_operation(one, codes, len(tensors)) for one in table.tables(3))
    inputs, outputs = (_known(table.numbers(field, "i"), len(tensors), 0) for field in (1, 2))
    return SubGraph(tensors, inputs, outputs, operations, table)


def _signature(table: Table, graphs: tuple[SubGraph, ...]) -> Signature:
    (graph,) = _known((table.scalar(4, "I", 0),), len(graphs), 0)
    tensors = len(graphs[graph].tensors)

    def named(field: int) -> tuple[tuple[str, int], ...]:
        maps = [(one.text(0), one.scalar(1, "I", 0)) for one in table.tables(field)]
        _known(tuple(number for _, number in maps), tensors, 0)
        return tuple(maps)

    return Signature(table.text(2), graph, named(0), named(1))


def _tensor(table: Table, buffers: int) -> Tensor:
    shape = table.numbers(0, "i")
    if any(size < 0 for size in shape):
        hint = "convert the model again: with fixed sizes, or open ones in `shape_signature` alone"
        raise DamagedError(f"tensor `{table.text(3)}` has the shape {shape}", hint=hint)
    (buffer,) = _known((table.scalar(2, "I", 0),), buffers, 0)
    quantised = table.table(4)
    return Tensor(
        name=table.text(3),
        shape=shape,
        signature=table.numbers(7, "i") or shape,
        type=table.scalar(1, "b", 0),
        buffer=buffer,
        scale=() if quantised is None else quantised.numbers(2, "f"),
        zero_point=() if quantised is None else quantised.numbers(3, "q"),
        axis=0 if quantised is None else quantised.scalar(6, "i", 0),
        is_variable=table.scalar(5, "?", False),
        sparsity=table.table(6),
    )


def _operation(table: Table, codes: list[tuple[int, str, int]], tensors: int) -> Operation:
    (index,) = _known((table.scalar(0, "I", 0),), len(codes), 0)
    inputs, outputs = (_known(table.numbers(field, "i"), tensors, -1) for field in (1, 2))
    least = _LEAST.get(codes[index][0], (0, 0))
    if len(inputs) < least[0] or len(outputs) < least[1]:
        raise DamagedError(f"operator {codes[index][0]} has {len(inputs)} inputs and {len(outputs)} outputs")
    return Operation(*codes[index], inputs, outputs, table.table(4))


def _known(numbers: tuple[int, ...], count: int, least: int) -> tuple[int, ...]:
    """The numbers, each of which is that of something there."""
    for number in numbers:
        if not least <= number < count:
            raise DamagedError(f"it names number {number} of {count}")
    return numbers


@dataclass(frozen=True, slots=True)
class State:
    """What a streaming model keeps from call to call: an array more in, and an array more out."""

    name: str
    input: int
    """The number of the model's input that takes it."""
    output: int
    """The number of the model's output that gives what the next call takes."""
    first: np.ndarray
    """What the first call takes, read-only, as the tensor holds it."""


def with_explicit_state(model: TfliteFile) -> tuple[bytes, tuple[State, ...]]:
    """The model with its resource variables as inputs and outputs behind its own, and what they are.

    A model that has none is given as it is. What the copy computes is equal, to the bit: its operators, tensors and
    weights are the old ones, which lie behind a new beginning of the file. Raises `InputError` for a model whose
    variables cannot be given so: one that is read after it was assigned, is never assigned or never read, or starts
    with no constant.
    """
    try:
        return _explicit(model)
    except DamagedError as error:
        raise damaged(model.name, error) from None


@dataclass(frozen=True, slots=True)
class Variable:
    """A resource variable of a graph: what it is read into, and what it is assigned, by the numbers of tensors."""

    name: str
    read: int
    assigned: int
    first: np.ndarray
    """Its value before the first call, read-only."""


def variables_of(model: TfliteFile, number: int = 0) -> tuple[tuple[Variable, ...], tuple[int, ...]]:
    """The variables of one graph of a model, and the numbers of its operators that have nothing to do with them.

    Raises `InputError` for variables that cannot be made explicit, as `with_explicit_state` does.
    """
    graph = model.graphs[number]
    handles = {op.outputs[0]: _variable(op) for op in graph.operations if op.code == VAR_HANDLE}
    if not handles:
        return (), tuple(range(len(graph.operations)))
    reads: dict[tuple[str, str], int] = {}
    assigned: dict[tuple[str, str], int] = {}
    kept: list[int] = []
    for index, op in enumerate(graph.operations):
        if op.code == READ_VARIABLE:
            variable = _handle(model, handles, op)
            if variable in assigned:
                raise _refused(model, variable, "is read after it was assigned")
            if variable in reads:
                raise _refused(model, variable, "is read twice")
            reads[variable] = op.outputs[0]
        elif op.code == ASSIGN_VARIABLE:
            variable = _handle(model, handles, op)
            if variable in assigned:
                raise _refused(model, variable, "is assigned twice")
            assigned[variable] = op.inputs[1]
        elif op.code not in (VAR_HANDLE, CALL_ONCE):
            kept.append(index)
    first = _first_values(model, number)
    for variable in reads:
        if variable not in assigned:
            raise _refused(model, variable, "is never assigned")
        if variable not in first:
            raise _refused(model, variable, "starts with no constant")
    for variable in assigned:
        if variable not in reads:
            raise _refused(model, variable, "is never read")
    found = [Variable(" ".join(filter(None, one)), reads[one], assigned[one], first[one]) for one in reads]
    return tuple(found), tuple(kept)


def _explicit(model: TfliteFile) -> tuple[bytes, tuple[State, ...]]:
    variables, kept = variables_of(model)
    if not variables:
        return model.content, ()
    if any(table.scalar(1, "Q", 0) > 1 for table in model.table.tables(4)):
        # They are counted from the file's start, which moves.
        raise _refused(model, ("", variables[0].name), "is of a model whose weights lie behind its tables")
    graph = model.graphs[0]
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    states: list[State] = []
    for variable in variables:
        states.append(State(variable.name, len(inputs), len(outputs), variable.first))
        inputs.append(variable.read)
        outputs.append(variable.assigned)
    return _rewritten(model, inputs, outputs, list(kept)), tuple(states)


def _variable(op: Operation) -> tuple[str, str]:
    """The container and name that a handle is of."""
    return ("", "") if op.options is None else (op.options.text(0), op.options.text(1))


def _handle(model: TfliteFile, handles: dict[int, tuple[str, str]], op: Operation) -> tuple[str, str]:
    if not op.inputs or op.inputs[0] not in handles:
        raise InputError(f"{model.name}: an operator reads a variable that no handle names")
    return handles[op.inputs[0]]


def _refused(model: TfliteFile, variable: tuple[str, str], why: str) -> InputError:
    return InputError(
        f"{model.name}: its state cannot be given from call to call: variable `{variable[1]}` {why}",
        hint="leave it to the interpreter: run the whole window each time, without state",
    )


def _first_values(model: TfliteFile, number: int) -> dict[tuple[str, str], np.ndarray]:
    """What graphs of the model other than this one, which are called once, assign to its variables."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for graph in (*model.graphs[:number], *model.graphs[number + 1 :]):
        handles = {op.outputs[0]: _variable(op) for op in graph.operations if op.code == VAR_HANDLE}
        for op in graph.operations:
            if op.code == ASSIGN_VARIABLE:
                value = model.constant(graph.tensors[op.inputs[1]])
                if value is not None:
                    found[_handle(model, handles, op)] = value
    return found


def _rewritten(model: TfliteFile, inputs: list[int], outputs: list[int], operations: list[int]) -> bytes:
    """The model's first graph alone, with other inputs and outputs and these of its operators."""
    old, graph = model.table, model.graphs[0].table
    places = graph.places(3)
    front = Front(IDENTIFIER)
    new_model = front.table({0: ("I", old.scalar(0, "I", 3)), 1: OFFSET, 2: OFFSET, 4: OFFSET})
    front.lead(0, new_model.start)
    front.lead_to_old(new_model.fields[1], _place(old, 1))
    front.lead_to_old(new_model.fields[4], _place(old, 4))
    graphs = front.vector(new_model.fields[2], "I", [0])
    new_graph = front.table({0: OFFSET, 1: OFFSET, 2: OFFSET, 3: OFFSET})
    front.lead(graphs, new_graph.start)
    front.lead_to_old(new_graph.fields[0], _place(graph, 0))
    front.vector(new_graph.fields[1], "i", inputs)
    front.vector(new_graph.fields[2], "i", outputs)
    first = front.vector(new_graph.fields[3], "I", [0] * len(operations))
    for index, number in enumerate(operations):
        front.lead_to_old(first + 4 * index, places[number])
    return front.before(model.content)


def _place(table: Table, field: int) -> int:
    place = table.place(field)
    assert place is not None, "what was read from it is there"
    return place

"""A `.tflite` file as a graph of layers, or why it cannot be one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.importers.flatbuffer import DamagedError, Table
from leo_runtime.importers.tflite import DTYPES, Operation, SubGraph, TfliteFile, damaged, variables_of
from leo_runtime.importers.tflite import Tensor as Stored
from leo_runtime.importers.tflite_names import operator_name
from leo_runtime.layers.fold import folded
from leo_runtime.layers.graph import Layer, LayerGraph, Option, State, Tensor
from leo_runtime.layers.kinds.catalogue import BY_CODE, refusal
from leo_runtime.layers.kinds.definition import OptionField

DEQUANTIZE, DENSIFY = 6, 124
"""Numbers of the operators that unfold constants."""
_MOST_UNFOLDED = 64
"""What is unfolded may have so many times the bytes of the file: of float16 it is twice, and few weights are zeros."""
_HINT = "if LiteRT runs it, it can still be one stage, whole, on the CPU"
_CUSTOM_HINTS = {
    "edgetpu": "it is compiled for the Edge TPU: take the file that it was compiled from; a processor that has one can "
    "still run it as one stage, whole",
    "Flex": "operators `Flex...` are TensorFlow's own, and LiteRT has none: convert the model without `SELECT_TF_OPS`; "
    "a processor that has them can still run it as one stage, whole",
}
"""What helps where LiteRT cannot run a model either, by how the names of its custom operators begin."""


class NotInLayersError(InputError):
    """A sound file that cannot be taken apart: it holds what is not read operator by operator."""


def read_layers(model: TfliteFile, signature: str | None = None) -> LayerGraph:
    """The graph of the model that this signature calls; of the first, that an interpreter calls, where it is None.

    Inputs and outputs are in the graph's own order, and have the names that the signature gives them. Raises
    `NotInLayersError`, which names the operator or the tensor, for a file that cannot be taken apart, and `InputError`
    for one that is damaged or has no such signature.
    """
    number = graph_number(model, signature)
    try:
        graph = _read(model, number, signature)
    except DamagedError as error:
        raise damaged(model.name, error) from None
    with np.errstate(all="ignore"):  # Of scales beyond all measure; what comes of them is refused.
        for layer in graph.layers:
            why = refusal(graph, layer)
            if why is not None:
                raise _refused(model, f"at `{graph.tensors[layer.outputs[0]].name}`, {why}")
    return graph


def graph_number(model: TfliteFile, signature: str | None) -> int:
    """The number of the graph that a signature calls. Raises `InputError` where there is none of that name."""
    if signature is None:
        return 0
    for one in model.signatures:
        if one.name == signature:
            return one.graph
    known = [one.name for one in model.signatures]
    hint = did_you_mean(signature, known, "it has") if known else "it has none: leave `signature` out"
    raise InputError(f"{model.name}: has no signature `{signature}`", hint=hint)


def names_of(model: TfliteFile, number: int, signature: str | None) -> dict[int, str]:
    """What a signature calls the tensors of a graph; without one, the first signature of that graph does."""
    for one in model.signatures:
        if one.graph == number and signature in (None, one.name):
            # A tensor that is given under two names has the first.
            return {tensor: name for name, tensor in reversed((*one.inputs, *one.outputs)) if name}
    return {}


def _refused(model: TfliteFile, why: str, hint: str = _HINT) -> NotInLayersError:
    return NotInLayersError(f"{model.name}: cannot be taken apart into layers: {why}", hint=hint)


def _hint_of(custom: Iterable[str]) -> str:
    """What helps with custom operators of these names."""
    known = (hint for begin, hint in _CUSTOM_HINTS.items() if any(name.startswith(begin) for name in custom))
    return next(known, _HINT)


def _read(model: TfliteFile, number: int, signature: str | None) -> LayerGraph:
    graph = model.graphs[number]
    try:
        variables, kept = variables_of(model, number)
    except DamagedError:
        raise
    except InputError as error:
        raise _refused(model, str(error).removeprefix(f"{model.name}: ")) from None
    _require_fixed(model, graph)
    constants = _Constants(model, graph)
    unknown = [graph.operations[index] for index in kept if graph.operations[index].code not in (*BY_CODE, DENSIFY)]
    if unknown:
        called = dict.fromkeys(operator_name(operation.code, operation.custom) for operation in unknown)
        why = f"it has the operator{'s' if len(called) > 1 else ''} {', '.join(called)}"
        raise _refused(model, why, _hint_of([operation.custom for operation in unknown]))
    operations = [graph.operations[index] for index in kept if not constants.unfold(graph.operations[index])]
    inputs = (*graph.inputs, *(variable.read for variable in variables))
    outputs = (*graph.outputs, *(variable.assigned for variable in variables))
    own = (len(graph.inputs), len(graph.outputs))
    states = tuple(State(v.name, own[0] + i, own[1] + i, v.first) for i, v in enumerate(variables))
    names = names_of(model, number, signature)
    once = constants.once(operations)
    operations = [replace(one, inputs=tuple(once.get(number, number) for number in one.inputs)) for one in operations]
    used = _used(operations, inputs, outputs)
    place = {old: new for new, old in enumerate(used)}
    found = LayerGraph(
        model.name,
        tuple(_tensor(model, old, graph.tensors[old], names, constants) for old in used),
        tuple(_layer(operation, lambda old: place.get(old, -1)) for operation in operations),
        tuple(place[old] for old in inputs),
        tuple(place[old] for old in outputs),
        states,
    )
    _require_order(model, found)
    return folded(found)


class _Constants:
    """The values of tensors that the file holds, as layers read them."""

    def __init__(self, model: TfliteFile, graph: SubGraph) -> None:
        self._model = model
        self._graph = graph
        self._unfolded: dict[int, tuple[np.ndarray, int]] = {}
        """Those that an operator unfolds, and how many bytes the file holds of them."""
        self._source: dict[int, int] = {}
        """Of those the tensor that the file holds."""
        self._left = _MOST_UNFOLDED * len(model.content)
        """How many bytes of them there may still be."""
        self._given = {*graph.inputs, *(number for one in graph.operations for number in one.outputs)}

    def of(self, number: int) -> tuple[np.ndarray | None, int]:
        """The values of a tensor, read-only, and its bytes in the file; None where it is no constant."""
        if number in self._unfolded:
            return self._unfolded[number]
        tensor = self._graph.tensors[number]
        values = self._model.constant(tensor)
        if values is None and 0 in tensor.shape and tensor.type in DTYPES and number not in self._given:
            # As the shape of a scalar is: the file holds no bytes.
            values = np.empty(tensor.shape, DTYPES[tensor.type])
            values.flags.writeable = False
        return values, 0 if values is None else self._model.stored_bytes(tensor)

    def once(self, operations: Iterable[Operation]) -> dict[int, int]:
        """Of the constants that operators read the one in whose place each is: converters write equal ones to one
        buffer, which the file holds once."""
        first: dict[tuple[object, ...], int] = {}
        found = {}
        for number in dict.fromkeys(number for one in operations for number in one.inputs if number >= 0):
            tensor = self._graph.tensors[self._source.get(number, number)]
            is_given = number in self._given and number not in self._source
            if is_given or tensor.sparsity is not None or self._model.buffers[tensor.buffer] is None:
                continue
            like = (
                number in self._source,
                tensor.buffer,
                tensor.type,
                tensor.shape,
                tensor.scale,
                tensor.zero_point,
                tensor.axis,
            )
            found[number] = first.setdefault(like, number)
        return found

    def unfold(self, operation: Operation) -> bool:
        """Whether it makes a constant of a constant, which is then known."""
        if operation.code not in (DEQUANTIZE, DENSIFY) or len(operation.inputs) != 1 or len(operation.outputs) != 1:
            return False
        (source,), (target,) = operation.inputs, operation.outputs
        if source < 0 or target < 0:
            return False
        sizes = self._graph.tensors[source].shape
        if self._model.buffers[self._graph.tensors[source].buffer] is not None:
            self._left -= 4 * math.prod(sizes)
            if self._left < 0:
                raise DamagedError("its constants, unfolded, have many times the bytes of the file")
        values, stored = self.of(source)
        if values is None:
            if operation.code == DENSIFY:
                raise _refused(self._model, "DENSIFY of what is no constant")
            return False
        if operation.code == DEQUANTIZE:
            values = _real(values, self._graph.tensors[source])
        if values.shape != self._graph.tensors[target].shape:
            raise DamagedError(f"tensor `{self._graph.tensors[target].name}` has another shape than it is made of")
        values.flags.writeable = False
        self._unfolded[target] = values, stored
        self._source[target] = self._source.get(source, source)
        return True


def _real(values: np.ndarray, tensor: Stored) -> np.ndarray:
    """The reals that stored values stand for, in float32; what is float itself is widened."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if not tensor.scale or len(tensor.zero_point) != len(tensor.scale):
        raise DamagedError(f"tensor `{tensor.name}` is dequantised and has no scale")
    along = [1] * values.ndim
    if len(tensor.scale) > 1:
        if values.shape[tensor.axis : tensor.axis + 1] != (len(tensor.scale),):
            raise DamagedError(f"tensor `{tensor.name}` has {len(tensor.scale)} scales for the shape {values.shape}")
        along[tensor.axis] = len(tensor.scale)
    zero = np.array(tensor.zero_point, np.float64).reshape(along)
    # A product of 8 or 16 bits and the 24 of a float32 is exact in float64: one rounding, as an interpreter has.
    real: np.ndarray = ((values - zero) * np.array(tensor.scale, np.float64).reshape(along)).astype(np.float32)
    return real.reshape(values.shape)


def _require_fixed(model: TfliteFile, graph: SubGraph) -> None:
    """Raise for an input of an open size, but for a batch that is stored as one."""
    for number in graph.inputs:
        tensor = graph.tensors[number]
        if len(tensor.signature) != len(tensor.shape):
            raise DamagedError(f"tensor `{tensor.name}` has the shape {tensor.shape}, and as open {tensor.signature}")
        open_axes = [axis for axis, size in enumerate(tensor.signature) if size < 0]
        if open_axes not in ([], [0]) or any(tensor.shape[axis] != 1 for axis in open_axes):
            shape = ", ".join("?" if size < 0 else str(size) for size in tensor.signature)
            raise _refused(model, f"its input `{tensor.name}` has the open shape ({shape})")
        if 0 in tensor.shape:
            raise _refused(model, f"its input `{tensor.name}` of shape {tensor.shape} has no values")


def _used(operations: Iterable[Operation], inputs: Iterable[int], outputs: Iterable[int]) -> list[int]:
    """The tensors that anything refers to, in the order of the file."""
    found = {*inputs, *outputs}
    for operation in operations:
        found.update(operation.inputs, operation.outputs)
    return sorted(number for number in found if number >= 0)


def _tensor(model: TfliteFile, number: int, stored: Stored, names: Mapping[int, str], constants: _Constants) -> Tensor:
    values, held = constants.of(number)
    dtype = DTYPES.get(stored.type)
    if stored.is_variable:
        raise _refused(model, f"its tensor `{stored.name}` is variable")
    if dtype is None:
        raise _refused(model, f"its tensor `{stored.name}` is of a type (number {stored.type}) that arrays do not have")
    if len(stored.zero_point) not in (0, len(stored.scale)):
        raise DamagedError(f"tensor `{stored.name}` has {len(stored.scale)} scales, {len(stored.zero_point)} zeros")
    if dtype.kind in "iu" and stored.zero_point and stored.scale:
        limits = np.iinfo(dtype.name)
        if not limits.min <= min(stored.zero_point) <= max(stored.zero_point) <= limits.max:
            zero = next(one for one in stored.zero_point if not limits.min <= one <= limits.max)
            raise DamagedError(f"tensor `{stored.name}` of {dtype.name} has the zero point {zero}")
    if not all(0 <= scale < np.inf for scale in stored.scale):
        raise DamagedError(f"tensor `{stored.name}` has a scale that is none: {min(stored.scale)}")
    if len(stored.scale) > 1 and stored.shape[stored.axis : stored.axis + 1] != (len(stored.scale),):
        raise DamagedError(f"tensor `{stored.name}` of shape {stored.shape} has {len(stored.scale)} scales")
    return Tensor(
        names.get(number, stored.name),
        stored.shape,
        dtype if values is None else values.dtype,
        stored.scale,
        stored.zero_point or (0,) * len(stored.scale),
        stored.axis,
        values,
        held,
    )


def _layer(operation: Operation, place: Callable[[int], int]) -> Layer:
    kind = BY_CODE[operation.code]
    if not operation.outputs or min(operation.outputs) < 0:
        raise DamagedError(f"an operator {kind.name} gives nothing")
    options = {field.name: _option(kind.name, field, operation.options) for field in kind.options}
    return Layer(
        kind.name,
        options,
        tuple(map(place, operation.inputs)),
        tuple(map(place, operation.outputs)),
        operation.version,
    )


def _option(kind: str, field: OptionField, table: Table | None) -> Option:
    if table is None:
        return field.default
    if field.form == "i*":
        return table.numbers(field.field, "i")
    if field.choices:
        number = table.scalar(field.field, field.form, 0)
        if not 0 <= number < len(field.choices):
            raise DamagedError(f"{kind} has {field.name} {number} of {len(field.choices)}")
        return field.choices[number]
    assert isinstance(field.default, bool | int | float)
    return table.scalar(field.field, field.form, field.default)


def _require_order(model: TfliteFile, graph: LayerGraph) -> None:
    """Raise where a layer reads what nothing gave before it, or gives what there is already."""
    tensors = graph.tensors
    there = {number for number, tensor in enumerate(tensors) if tensor.data is not None}
    for number in graph.inputs:
        if number in there:
            raise _refused(model, f"its input `{tensors[number].name}` is a constant, or is given twice")
        there.add(number)
    for layer in graph.layers:
        for number in layer.inputs:
            if number >= 0 and number not in there:
                raise DamagedError(f"{layer.kind} reads `{tensors[number].name}`, which nothing gives before it")
        for number in layer.outputs:
            if number in there:
                raise DamagedError(f"{layer.kind} gives `{tensors[number].name}`, which there is already")
            there.add(number)
    for number in graph.outputs:
        if number not in there:
            raise DamagedError(f"nothing gives the output `{tensors[number].name}`")

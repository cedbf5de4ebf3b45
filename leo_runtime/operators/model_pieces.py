"""What a stage that is a model, or some pieces of one, reads of its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path
from typing import cast, get_args

import numpy as np

from leo_runtime.errors import GraphError, InputError
from leo_runtime.importers.model_file import Cut, ModelFile, ends_of, open_model
from leo_runtime.importers.model_file import piece_of as piece_of_file
from leo_runtime.importers.tflite import DTYPES
from leo_runtime.importers.tflite_layers import graph_number, names_of
from leo_runtime.importers.tflite_names import operator_name
from leo_runtime.layers import count
from leo_runtime.layers.facts import GraphFacts, facts
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.operators.definition import DataType, Output, Shape, Work
from leo_runtime.operators.model_parameters import ModelParameters

_MOST_BYTES = 1 << 30
"""What is larger is of a damaged file: no model has so much cross."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What a stage runs of a model."""

    file: ModelFile
    graph: LayerGraph | None
    """Its layers; None: it cannot be taken apart, and the stage is the whole of it."""
    whole: bool
    takes: tuple[Output, ...]
    gives: tuple[Output, ...]


def piece_of(params: ModelParameters) -> Piece:
    """What a stage with these parameters runs. Raises `GraphError` for a file that is not there, or has no such piece.

    Files are read once, and again where they were changed. From any thread.
    """
    try:
        file = open_model(params.model, params.signature)
    except InputError as error:
        raise GraphError(str(error), hint=error.hint) from None
    if params.sha256 is not None and not file.sha256.startswith(params.sha256):
        raise GraphError(
            f"{params.model}: is another file than the one meant: its SHA-256 begins with "
            f"{file.sha256[: len(params.sha256)]}, not with {params.sha256}",
            hint="write the workload anew with `leo-runtime model graph`, or take `sha256` out",
        )
    if params.first is None:
        if params.last is not None:
            raise GraphError(f"{params.model}: `last` is {params.last}, and no `first` is said")
        return _checked(params, Piece(file, file.graph, True, *crossing_of(file, params.signature)))
    if file.why is not None:
        raise GraphError(str(file.why), hint=f"{file.why.hint}: leave `first` and `last` out")
    ends = ends_of(file, params.cut)
    last = params.first if params.last is None else params.last
    if not params.first <= last < len(ends):
        raise GraphError(
            f"{params.model}: has {len(ends)} {params.cut}, `first` is {params.first} and `last` {last}",
            hint=f"they are numbers from 0 to {len(ends) - 1}, the first not behind the last",
        )
    graph = piece_of_file(file, params.cut, params.first, last)
    return _checked(params, Piece(file, graph, False, *_crossing(graph)))


def _checked(params: ModelParameters, piece: Piece) -> Piece:
    if not piece.gives:
        raise GraphError(f"{params.model}: has no outputs, so nothing is told by it")
    if piece.graph is not None:
        return piece
    if params.streaming:
        raise GraphError(f"{params.model}: `streaming` gives it its state: {piece.file.why}")
    if graph_number(piece.file.file, params.signature) != 0:
        raise GraphError(f"{params.model}: signature `{params.signature}` calls no first graph: {piece.file.why}")
    return piece


def crossing_of(file: ModelFile, signature: str | None) -> tuple[tuple[Output, ...], tuple[Output, ...]]:
    """What a whole model takes and gives. Raises `GraphError` for tensors that are not sent between stages."""
    if file.graph is not None:
        return _crossing(file.graph)
    number = graph_number(file.file, signature)
    graph, names = file.file.graphs[number], names_of(file.file, number, signature)

    def outputs(numbers: Sequence[int]) -> tuple[Output, ...]:
        found = []
        for one in numbers:
            tensor = graph.tensors[one]
            if tensor.type not in DTYPES:
                raise GraphError(f"{file.file.name}: tensor `{tensor.name}` is of a type that arrays do not have")
            scales = (tensor.scale, tensor.zero_point)
            found.append((names.get(one, tensor.name), tensor.shape, DTYPES[tensor.type].name, *scales))
        return _named(found)

    return outputs(graph.inputs), outputs(graph.outputs)


def _crossing(graph: LayerGraph) -> tuple[tuple[Output, ...], tuple[Output, ...]]:
    """What it takes and gives, without its states."""

    def outputs(numbers: Sequence[int]) -> tuple[Output, ...]:
        tensors = [graph.tensors[number] for number in numbers]
        return _named([(one.name, one.shape, one.dtype.name, one.scale, one.zero_point) for one in tensors])

    own = len(graph.states)
    return outputs(graph.inputs[: len(graph.inputs) - own]), outputs(graph.outputs[: len(graph.outputs) - own])


def _named(found: Sequence[tuple[str, Shape, str, Sequence[float], Sequence[int]]]) -> tuple[Output, ...]:
    """Outputs of names that differ, none of them empty."""
    outputs: list[Output] = []
    own_names = {name for name, *_ in found}
    for name, shape, dtype, scale, zero in found:
        if dtype not in get_args(DataType):
            raise GraphError(f"a model's tensor `{name}` is of {dtype}, which is not sent between stages")
        if (size := math.prod(shape) * np.dtype(dtype).itemsize) > _MOST_BYTES:
            raise GraphError(f"a model's tensor `{name}` has {size:,} bytes, at most {_MOST_BYTES:,} cross")
        taken = {output.name for output in outputs}
        numbered = (f"{name or 'output'}:{number}" for number in count_from(len(outputs)))
        own = name if name and name not in taken else next(one for one in numbered if one not in own_names | taken)
        quantised = len(scale) == 1 and dtype != "float32"
        scaled = (scale[0], zero[0] if zero else 0) if quantised else (0.0, 0)
        outputs.append(Output(own, shape, cast(DataType, dtype), *scaled))
    return tuple(outputs)


@dataclass(frozen=True, slots=True)
class Described:
    """What is in a model's file."""

    file: str
    bytes: int
    sha256: str
    signatures: tuple[str, ...]
    takes: tuple[Output, ...]
    gives: tuple[Output, ...]
    operators: tuple[str, ...]
    """The names of its operators, in order, as the file has them."""
    layers: GraphFacts | None
    """None: it cannot be taken apart."""
    why: str
    """Why not; "" where it can."""
    hint: str


def described(path: Path, signature: str | None, by: Cut) -> Described:
    """What is in the file of a model, cut into blocks or layers.

    Raises `InputError` for one that cannot be read, is damaged, or has no such signature.
    """
    found = open_model(path, signature)
    file = found.file
    operations = file.graphs[graph_number(file, signature)].operations
    return Described(
        str(path),
        len(file.content),
        found.sha256,
        tuple(one.name for one in file.signatures),
        *crossing_of(found, signature),
        tuple(operator_name(one.code, one.custom) for one in operations),
        None if found.graph is None else facts(found.graph, ends_of(found, by)),
        "" if found.why is None else str(found.why),
        "" if found.why is None else found.why.hint,
    )


def count_of(file: ModelFile, by: Cut) -> int:
    """How many pieces there are of a model that can be taken apart."""
    return len(ends_of(file, by))


def work_of(piece: Piece) -> Work:
    """Its multiply-accumulates, where they are known, and the bytes it reads and writes."""
    if piece.graph is not None:
        return Work(count.macs(piece.graph), count.moved_bytes(piece.graph), is_int8=count.is_int8(piece.graph))
    moved = weight_bytes(piece) + sum(one.bytes for one in (*piece.takes, *piece.gives))
    return Work(0, moved, is_known=False)


def state_bytes(piece: Piece) -> int:
    """What it keeps from call to call; 0 also of one that cannot be taken apart."""
    return 0 if piece.graph is None else count.state_bytes(piece.graph)


def weight_bytes(piece: Piece) -> int:
    """What it holds in memory from run to run: constants as they are stored, or the file."""
    return len(piece.file.file.content) if piece.graph is None else count.weight_bytes(piece.graph)

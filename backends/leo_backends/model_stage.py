"""The program of a stage that is a model, or some pieces of one, by LiteRT on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from leo_backends.native_notes import without_notes
from leo_backends.piece import layers_of
from leo_backends.tflite import TRIALS
from leo_backends.tflite_package import installed
from leo_backends.tflite_pieces import PieceModel, piece_program
from leo_runtime.errors import MissingExtraError
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.operators.definition import Output
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.model_pieces import Piece
from leo_runtime.operators.outputs import one_value

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class ModelProgram:
    """Runs a piece of a model, from the state that it is given. Any thread."""

    first: Arrays
    """The state that the first call takes; (): it keeps none."""
    _run: Callable[[Sequence[np.ndarray]], Arrays]
    _names: tuple[str, ...]

    def call(self, inputs: Sequence[np.ndarray], state: Arrays) -> tuple[np.ndarray, Arrays]:
        """What it gives, as one value, and the state behind the call. Raises `KernelError`."""
        given = self._run([*inputs, *state])
        arrays = given[: len(self._names)]
        return one_value(arrays, self._names), given[len(arrays) :]


def model_program(params: ModelParameters) -> ModelProgram:
    """A program that runs the piece; the first run of all is in a process of its own.

    Raises `MissingExtraError` without a package, `KernelError` for a model that cannot be read or run.
    """
    package = installed()
    if package is None:
        raise MissingExtraError("the operator `model`", "tflite")
    piece = layers_of(params)
    model = _as_model(piece, str(params.model), package)
    TRIALS.require_sound(model)
    program = piece_program(model)
    # First runs are slow, and this one survives it: it was tried.
    with without_notes():
        program([np.zeros(one.shape, np.float32) for one in model.takes])
    first = () if piece.graph is None else tuple(state.first for state in piece.graph.states)
    return ModelProgram(first, program, tuple(one.name for one in piece.gives))


def _as_model(piece: Piece, name: str, package: str) -> PieceModel:
    if piece.graph is None:
        whole = tuple(range(len(piece.takes)))
        return PieceModel(name, piece.file.file.content, package, piece.takes, whole, tuple(range(len(piece.gives))))
    inside, into, gives = inside_of(piece.graph)
    return PieceModel(name, write_model(inside), package, (*piece.takes, *_states(piece.graph)), into, gives)


def _states(graph: LayerGraph) -> Iterator[Output]:
    """What a piece takes behind its own inputs."""
    for state in graph.states:
        tensor = graph.tensors[graph.inputs[state.input]]
        yield Output(state.name, tensor.shape, tensor.dtype.name)  # type: ignore[arg-type]  # no other reader has it


def inside_of(graph: LayerGraph) -> tuple[LayerGraph, tuple[int, ...], tuple[int, ...]]:
    """What of a piece an interpreter can run, and `PieceModel.into` and `gives`.

    What no layer reads is no input of it, and what goes through the piece is no output.
    """
    read = {number for layer in graph.layers for number in layer.inputs}
    into = tuple(index for index, number in enumerate(graph.inputs) if number in read)
    outputs = tuple(dict.fromkeys(number for number in graph.outputs if number not in graph.inputs))
    inside = replace(graph, inputs=tuple(graph.inputs[index] for index in into), outputs=outputs)
    gives = tuple(
        outputs.index(number) if number in outputs else -1 - graph.inputs.index(number) for number in graph.outputs
    )
    return inside, into, gives

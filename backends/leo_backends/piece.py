"""The layers of a stage that is a model, or some pieces of one, for backends that run them by kernels of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leo_backends.tflite_pieces import stored
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import GraphError, KernelError
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.operators.definition import Output
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.model_pieces import Piece, piece_of
from leo_runtime.operators.outputs import one_value


def layers_of(params: ModelParameters) -> Piece:
    """What a stage with these parameters runs. Raises `KernelError` for a model that cannot be read."""
    try:
        return piece_of(params)
    except GraphError as error:
        raise KernelError(str(error), hint=error.hint) from None


def graph_of(params: ModelParameters) -> LayerGraph:
    """The layers of a stage.

    Raises `KernelError` for a model that cannot be read or taken apart, or keeps a state.
    """
    piece = layers_of(params)
    if piece.graph is None:
        raise KernelError(str(piece.file.why), hint="place it on the CPU")
    if piece.graph.states:
        raise KernelError(f"{params.model}: keeps a state from call to call", hint="place it on the CPU")
    return piece.graph


def as_stored(arrays: Sequence[np.ndarray], takes: Sequence[Output]) -> tuple[np.ndarray, ...]:
    """What a stage is given, in the types of the piece's tensors."""
    return tuple(stored(array, output) for array, output in zip(arrays, takes, strict=True))


def as_one(stage: BoundStage, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """What a piece gives as one value."""
    return one_value(arrays, [output.name for output in stage.outputs])

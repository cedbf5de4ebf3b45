"""Neural networks from a user's file: the whole of one as a stage, or some of its pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import Keeping, Operator, Output, Shape, Work, shown
from leo_runtime.operators.model_parameters import ModelParameters

if TYPE_CHECKING:
    from leo_runtime.operators.model_pieces import Piece


def _piece(params: ModelParameters) -> Piece:
    from leo_runtime.operators.model_pieces import piece_of  # Reads files of models: most workloads have none.

    return piece_of(params)


def _shape(params: ModelParameters, shapes: Sequence[Shape]) -> Shape:
    gives = _outputs(params, shapes)
    return gives[0].shape if len(gives) == 1 else ()


def _outputs(params: ModelParameters, shapes: Sequence[Shape]) -> tuple[Output, ...]:
    piece = _piece(params)
    if [math.prod(shape) for shape in shapes] != [math.prod(one.shape) for one in piece.takes]:
        takes = ", ".join(f"`{one.name}` {shown(one.shape)}" for one in piece.takes) or "nothing"
        raise GraphError(
            f"{params.model}: takes {takes}, the stage gives it {', '.join(map(shown, shapes))}",
            hint="it is given as many arrays as it takes, in their order, each of as many values",
        )
    return piece.gives


def _takes(params: ModelParameters) -> tuple[Output, ...]:
    return _piece(params).takes


def _work(params: ModelParameters, _shapes: Sequence[Shape]) -> Work:
    from leo_runtime.operators.model_pieces import work_of  # As above.

    return work_of(_piece(params))


def _keeps(params: ModelParameters) -> Keeping | None:
    return Keeping(_state_bytes, _new_work) if params.streaming else None


def _state_bytes(params: ModelParameters, _shapes: Sequence[Shape]) -> int:
    from leo_runtime.operators.model_pieces import state_bytes  # As above.

    piece = _piece(params)
    return state_bytes(piece) + sum(output.bytes for output in piece.gives)


def _new_work(params: ModelParameters, shapes: Sequence[Shape], fresh: int) -> Work:
    return _work(params, shapes) if fresh else Work(0, 0)


def _weight_bytes(params: ModelParameters, _shapes: Sequence[Shape]) -> int:
    from leo_runtime.operators.model_pieces import weight_bytes  # As above.

    return weight_bytes(_piece(params))


def _weights(params: ModelParameters, shapes: Sequence[Shape]) -> tuple[tuple[str, int], ...]:
    """By the file's digest, and the pieces: whatever the file is called, and however its stages are."""
    file = _piece(params).file
    last = params.first if params.last is None else params.last
    pieces = "" if params.first is None else f" {params.cut} {params.first}-{last}"
    size = _weight_bytes(params, shapes)
    return ((f"model {file.sha256[:12]}{pieces}", size),) if size else ()


MODEL = Operator(
    name="model",
    summary="A neural network of a `.tflite` file, or some of its pieces: blocks or layers, one behind the other. Each "
    "input is reshaped to the model's of the same number; float32 that goes into a tensor of 8 or 16 bits is quantised "
    "with its scale, round(x / scale) + zero_point within the type's range. What pieces give each other crosses as the "
    "model has it. Output: the model's, or all that crosses the border behind the last piece, as several arrays.",
    parameters=ModelParameters,
    output_shape=_shape,
    work=_work,
    inputs=(1, None),
    outputs=_outputs,
    takes=_takes,
    weight_bytes=_weight_bytes,
    weights=_weights,
    keeps=_keeps,
)


OPERATORS = (MODEL,)

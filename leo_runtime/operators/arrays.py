"""Arrays as they are: the newest samples of a stream, rows of an array, arrays put together, weighed sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import Operator, Shape, Work, shown, values
from leo_runtime.schema import Name, Positive, Quantity, Value


class WindowParameters(Value):
    """What of a sensor stream one frame reads."""

    stream: Name
    """The stream's name in the workload."""
    samples: Positive
    """The newest so many samples of each channel."""


def _window_shape(params: WindowParameters, shapes: Sequence[Shape]) -> Shape:
    if shapes[0][0] != params.samples:
        raise GraphError(f"a window of {params.samples} samples was given {shapes[0][0]}")
    return shapes[0]


def _window_work(_params: WindowParameters, shapes: Sequence[Shape]) -> Work:
    return Work(values(shapes[0]), 6 * values(shapes[0]))


WINDOW = Operator(
    name="window",
    summary="The newest samples of a sensor stream. 16-bit audio is divided by 32768, into [-1, 1); anything else "
    "is given as it is, as float32. Output: (samples,), or (samples, channels) of more than one channel; of a camera "
    "(frames, height, width, channels).",
    parameters=WindowParameters,
    output_shape=_window_shape,
    work=_window_work,
    is_source=True,
)


class RowsParameters(Value):
    """Which rows of an array."""

    first: Quantity = 0
    count: Positive


def _rows_shape(params: RowsParameters, shapes: Sequence[Shape]) -> Shape:
    if params.first + params.count > shapes[0][0]:
        raise GraphError(
            f"`rows` asks for rows {params.first} to {params.first + params.count - 1} of {shown(shapes[0])}"
        )
    return (params.count, *shapes[0][1:])


def _rows_work(params: RowsParameters, shapes: Sequence[Shape]) -> Work:
    return Work(0, 8 * values(_rows_shape(params, shapes)))


ROWS = Operator(
    name="rows",
    summary="The rows `first` to `first + count - 1` of an array. Output: (count, ...).",
    parameters=RowsParameters,
    output_shape=_rows_shape,
    work=_rows_work,
)


class JoinParameters(Value):
    """How arrays are put together."""

    axis: Literal["rows", "columns"] = "columns"
    """One after the other along the first axis, or along the last."""


def _join_shape(params: JoinParameters, shapes: Sequence[Shape]) -> Shape:
    axis = 0 if params.axis == "rows" else len(shapes[0]) - 1
    if len({(*shape[:axis], 0, *shape[axis + 1 :]) for shape in shapes}) != 1:
        raise GraphError(f"`join` cannot put {', '.join(map(shown, shapes))} together along their {params.axis}")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _join_work(_params: JoinParameters, shapes: Sequence[Shape]) -> Work:
    return Work(0, 8 * values(*shapes))


JOIN = Operator(
    name="join",
    summary="Arrays one after the other, along their rows (first axis) or columns (last axis).",
    parameters=JoinParameters,
    output_shape=_join_shape,
    work=_join_work,
    inputs=(1, None),
)


class FuseParameters(Value):
    """How decisions are weighed."""

    weights: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    """One number an input; None: each counts 1 / (number of inputs)."""


def _fuse_shape(params: FuseParameters, shapes: Sequence[Shape]) -> Shape:
    if len(set(shapes)) != 1:
        raise GraphError(f"`fuse` takes inputs of one shape, got {', '.join(map(shown, shapes))}")
    if params.weights is not None and len(params.weights) != len(shapes):
        raise GraphError(f"`fuse` has {len(shapes)} inputs and {len(params.weights)} weights")
    return shapes[0]


def _fuse_work(_params: FuseParameters, shapes: Sequence[Shape]) -> Work:
    return Work(values(*shapes), 4 * values(*shapes, shapes[0]))


FUSE = Operator(
    name="fuse",
    summary="The weighted sum of its inputs, which have one shape; an input that a closed gate removed counts as "
    "zeros. Output: that shape.",
    parameters=FuseParameters,
    output_shape=_fuse_shape,
    work=_fuse_work,
    inputs=(1, None),
    takes_absent=True,
)


OPERATORS = (WINDOW, ROWS, JOIN, FUSE)

"""Classifiers: what reads a model from a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import (
    Keeping,
    Operator,
    Part,
    Shape,
    Work,
    shown,
    values,
    without_later_defaults,
)
from leo_runtime.schema import Name, Positive, Quantity, Value


def even_parts(count: int, parts: int, what: str) -> tuple[tuple[int, int], ...]:
    """(first, count) of each of so many parts, as even as can be. Raises `GraphError` when a part would be empty."""
    if parts > count:
        raise GraphError(f"{count} {what} cannot be cut into {parts} parts")
    edges = [count * part // parts for part in range(parts + 1)]
    return tuple((first, end - first) for first, end in pairwise(edges))


class GmmParameters(Value):
    """Gaussian mixtures with diagonal covariances, one a class."""

    classes: Positive
    """How many mixtures there are."""
    components: Positive
    """The Gaussians of each mixture."""
    dimensions: Positive
    """The values of a row that they read."""
    first_column: Quantity = 0
    """The mixtures read the columns `first_column` to `first_column + dimensions - 1` of the input."""
    average: bool = True
    """Whether the result is the mean over frames, (classes,), or every frame's, (frames, classes)."""
    first_class: Quantity = 0
    """The mixtures are the file's from here on."""
    classes_in_model: Positive | None = None
    """How many the file holds; None: `classes`."""
    model: Path
    """An `.npz` file with float32 arrays: `means` and `variances` (classes_in_model, components, dimensions), and
    `log_weights` (classes_in_model, components), natural logarithms of the components' weights."""


def _gmm_shape(params: GmmParameters, shapes: Sequence[Shape]) -> Shape:
    shape = shapes[0]
    if len(shape) != 2 or shape[1] < params.first_column + params.dimensions:
        needed = params.first_column + params.dimensions
        raise GraphError(f"`gmm` takes (frames, columns) with at least {needed} columns here, got {shown(shape)}")
    return (params.classes,) if params.average else (shape[0], params.classes)


def _gmm_cut(params: GmmParameters, _shapes: Sequence[Shape], parts: int) -> tuple[Part, ...]:
    """One task a class model, or a group of them (LEO, MobiCom 2016)."""
    in_model = params.classes if params.classes_in_model is None else params.classes_in_model
    return tuple(
        Part({"first_class": params.first_class + first, "classes": count, "classes_in_model": in_model})
        for first, count in even_parts(params.classes, parts, "classes")
    )


def _gmm_weight_bytes(params: GmmParameters, _shapes: Sequence[Shape]) -> int:
    return 4 * params.classes * params.components * (2 * params.dimensions + 1)


def _gmm_work(params: GmmParameters, shapes: Sequence[Shape]) -> Work:
    macs = shapes[0][0] * params.classes * params.components * (2 * params.dimensions + 1)
    moved = 4 * values((shapes[0][0], params.dimensions), _gmm_shape(params, shapes))
    return Work(macs, moved + _gmm_weight_bytes(params, shapes))


GMM = Operator(
    name="gmm",
    summary="Log-likelihoods of feature rows x under a Gaussian mixture a class: ln sum_m exp(log_weights[m] - "
    "0.5 sum_d (ln(2 pi variances[m, d]) + (x[d] - means[m, d])^2 / variances[m, d])). Output: "
    "(classes,), the mean over frames, or (frames, classes).",
    parameters=GmmParameters,
    output_shape=_gmm_shape,
    work=_gmm_work,
    weight_bytes=_gmm_weight_bytes,
    cut=_gmm_cut,
)


Sizes = Annotated[tuple[Positive, ...], Field(min_length=1)]


class DenseParameters(Value):
    """A fully connected network."""

    layers: Sizes
    """The number of outputs of each layer."""
    activation: Literal["relu", "sigmoid", "tanh", "linear"] = "relu"
    """Follows every layer but the last."""
    softmax: bool = False
    """Whether the last layer's outputs become probabilities: exp(y) / sum(exp(y))."""
    per_row: bool = False
    """Whether the network runs on each row of the input (rows, values), or once on the whole input as one row."""
    average: bool = False
    """With `per_row`: whether the result is the mean over rows (after softmax), (layers[-1],)."""
    model: Path
    """An `.npz` file with float32 arrays: for layer i from 0 on `weights_i` (inputs, outputs) and `bias_i`
    (outputs,); if it holds `mean` and `scale` (inputs,), the network reads (x - mean) / scale."""


def _dense_shape(params: DenseParameters, shapes: Sequence[Shape]) -> Shape:
    if params.per_row and len(shapes[0]) != 2:
        raise GraphError(f"`dense` with per_row takes an array (rows, values), got {shown(shapes[0])}")
    if params.average and not params.per_row:
        raise GraphError("`dense` can average over rows only with per_row")
    rows = params.per_row and not params.average
    return (shapes[0][0], params.layers[-1]) if rows else (params.layers[-1],)


def _dense_cut(params: DenseParameters, shapes: Sequence[Shape], parts: int) -> tuple[Part, ...]:
    if not params.per_row or params.average:
        raise GraphError("`dense` can be cut only with per_row and without average")
    return tuple(Part({}, first, count) for first, count in even_parts(shapes[0][0], parts, "rows"))


def dense_inputs(params: DenseParameters, shape: Shape) -> tuple[int, int]:
    """How many rows the network runs on, and how many values are in each, for an input of that shape."""
    return (shape[0], shape[1]) if params.per_row else (1, math.prod(shape))


def _dense_products(params: DenseParameters, inputs: int) -> int:
    return sum(a * b for a, b in pairwise((inputs, *params.layers)))


def _dense_weight_bytes(params: DenseParameters, shapes: Sequence[Shape]) -> int:
    _, inputs = dense_inputs(params, shapes[0])
    return 4 * (_dense_products(params, inputs) + sum(params.layers))


def _dense_work(params: DenseParameters, shapes: Sequence[Shape]) -> Work:
    rows, inputs = dense_inputs(params, shapes[0])
    moved = 4 * values(shapes[0], _dense_shape(params, shapes))
    return Work(rows * _dense_products(params, inputs), moved + _dense_weight_bytes(params, shapes))


DENSE = Operator(
    name="dense",
    summary="A fully connected network: each layer gives x @ weights + bias, then the activation (relu: max(y, "
    "0); sigmoid: 1 / (1 + exp(-y)); tanh; linear: y), the last layer without; softmax if asked for. "
    "Output: (layers[-1],), or (rows, layers[-1]).",
    parameters=DenseParameters,
    output_shape=_dense_shape,
    work=_dense_work,
    weight_bytes=_dense_weight_bytes,
    cut=_dense_cut,
)


class TfliteParameters(Value):
    """A TensorFlow Lite model: as many input tensors as the stage has inputs, and one of its outputs."""

    model: Path
    """The `.tflite` file."""
    output_shape: Sizes
    """The shape of the result; the model's output is reshaped to it, so the number of values must agree."""
    macs: Quantity = 0
    """Multiply-accumulates of one call of the model, for its cost; 0: not known."""
    rows_per_step: Positive | None = None
    """None: the model is called once, on the whole input. Otherwise the model is a streaming one: its state is reset,
    and it is called on each next `rows_per_step` rows of the input in turn; rows left over are not used."""
    average_steps: Positive = 1
    """For a streaming model: outputs are averaged over each so many consecutive calls, and the result is the
    greatest such average, value by value (all calls' average where there are fewer)."""
    output: Name | Quantity | None = None
    """Which output tensor is the result, by its name or its number from 0 on; None: the only one."""
    streaming: bool = False
    """With `rows_per_step`: whether the model's state is kept from run to run in the place of being reset, so that it
    is called on rows that are new alone. Rows left over wait for the next run."""
    greatest_of: Literal["window", "new"] = "window"
    """Of a `streaming` model: `window`: the result is the greatest average of the last calls, as many as a whole window
    has. `new`: of those that end with a new call, so that what was told once is not told again (the newest average,
    where no call is new)."""
    state_bytes: Quantity = 0
    """What such a model keeps from call to call, for what it costs to move it; 0: not known."""

    @model_serializer(mode="wrap")
    def _where_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what was not always there, so that profiles go on to know stages by it."""
        return without_later_defaults(self, dump(self), _LATER)


_LATER = ("streaming", "greatest_of", "state_bytes")
"""Parameters that stages of before do not have."""


def tflite_steps(params: TfliteParameters, shape: Shape) -> int:
    """How many times the model is called for an input of that shape."""
    if params.rows_per_step is None:
        return 1
    if shape[0] < params.rows_per_step:
        raise GraphError(f"{shape[0]} rows are less than one step of {params.rows_per_step}")
    return shape[0] // params.rows_per_step


def _tflite_shape(params: TfliteParameters, shapes: Sequence[Shape]) -> Shape:
    tflite_steps(params, shapes[0])
    if params.streaming and params.rows_per_step is None:
        raise GraphError(
            "`streaming` calls a model on rows that are new, and needs `rows_per_step`",
            hint="say on how many rows the model is called at a time",
        )
    return params.output_shape


def _tflite_weight_bytes(params: TfliteParameters, _shapes: Sequence[Shape]) -> int:
    """The size of the file; 0 where it is not there, which whoever loads it will say."""
    return params.model.stat().st_size if params.model.is_file() else 0


def _tflite_work(params: TfliteParameters, shapes: Sequence[Shape]) -> Work:
    return Work(tflite_steps(params, shapes[0]) * params.macs, 4 * values(*shapes, params.output_shape))


def _tflite_state_bytes(params: TfliteParameters, shapes: Sequence[Shape]) -> int:
    """Of rows that wait, of the outputs of calls, and of the model."""
    waiting = ((params.rows_per_step or 1) - 1, *shapes[0][1:])
    outputs = (tflite_kept_outputs(params, shapes[0]), *params.output_shape)
    return 4 * values(waiting, outputs) + params.state_bytes


def tflite_kept_outputs(params: TfliteParameters, shape: Shape) -> int:
    """Of how many last calls a streaming model's outputs are kept."""
    return tflite_steps(params, shape) if params.greatest_of == "window" else params.average_steps


def _tflite_new_work(params: TfliteParameters, shapes: Sequence[Shape], fresh: int) -> Work:
    steps = min(tflite_steps(params, shapes[0]), -(-fresh // (params.rows_per_step or 1)))
    return Work(steps * params.macs, 4 * values((fresh, *shapes[0][1:]), params.output_shape))


def _tflite_keeps(params: TfliteParameters) -> Keeping | None:
    return Keeping(_tflite_state_bytes, _tflite_new_work) if params.streaming else None


TFLITE = Operator(
    name="tflite",
    summary="A TensorFlow Lite model, in its first state at every run unless `streaming`. Each input is reshaped to "
    "the model's input tensor of the same number, whose open dimensions take the stage's sizes; where that is of 8 or "
    "16 bits, it is quantised with the tensor's scale and zero point, round(x / scale) + zero_point within "
    "the type's range, and the output is brought back. Output: `output_shape`.",
    parameters=TfliteParameters,
    output_shape=_tflite_shape,
    work=_tflite_work,
    inputs=(1, None),
    weight_bytes=_tflite_weight_bytes,
    keeps=_tflite_keeps,
)


OPERATORS = (GMM, DENSE, TFLITE)

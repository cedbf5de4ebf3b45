"""Classifiers: mixtures and networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from leo_backends.dsp.cycles import Loops
from leo_backends.dsp.fixed_point import (
    Ints,
    block,
    divided,
    exp2_q30,
    ln_q16,
    log2_q16,
    mantissas,
    narrowed,
    product,
    saturated16,
    saturated32,
    shifted,
    sigmoid_q15,
    softmax_q16,
    tanh_q15,
    to_q,
    to_q16,
)
from leo_backends.dsp.operators.definition import DspOperator, Message, loading, narrow, word
from leo_backends.models import read_dense, read_gmm
from leo_runtime.operators import Shape
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters, dense_inputs

SLOPE_RANGE = 128
"""The steepest slope of a mixture's component, in multiples of the gentlest: leaves 8 bits for that."""

BLOCK_ROWS = 8
"""Rows that go through all layers of a network together (`hexagon/program/dense.c`)."""

_ACTIVATIONS = ("relu", "sigmoid", "tanh", "linear")


@dataclass(frozen=True, slots=True, eq=False)
class GmmPlan:
    """Column d becomes z = (x - middle) >> shifts, then each component takes (z - mean) * slope, squares and adds."""

    frames: int
    first_column: int
    classes: int
    components: int
    dimensions: int
    average: bool
    middles_q16: Ints
    """(dimensions,), 32 bits."""
    shifts: Ints
    """(dimensions,), 0 to 31."""
    means: Ints
    """(classes, components, dimensions), 16 bits, in the units of z."""
    slopes: Ints
    """Of the same shape, 16 bits."""
    slope_shift: int
    """0 to 30: (z - mean) * slope >> this is the distance in Q8."""
    constants_q16: Ints
    """(classes, components), 32 bits: log2 of the component's weight and normaliser."""


def _plan_gmm(params: GmmParameters, shapes: Sequence[Shape]) -> GmmPlan:
    model = read_gmm(params)
    means, variances = model.means.astype(np.float64), model.variances.astype(np.float64)
    deviations = np.sqrt(variances)
    low, high = (means - 8 * deviations).min(axis=(0, 1)), (means + 8 * deviations).max(axis=(0, 1))
    middles = to_q16((low + high) / 2)
    # The unit of z: 16 bits must span all mixtures, and a 64th of the smallest deviation is fine enough.
    span = np.ceil(np.log2((high - low) * 2**15 / 32767))
    fine = np.floor(np.log2(deviations.min(axis=(0, 1)) * 2**16 / 64))
    shifts = np.clip(np.maximum(span, fine), 0, 31).astype(np.int64)
    units = 2.0 ** (shifts - 16)
    slopes = np.sqrt(0.5 * math.log2(math.e)) * units / deviations * 2**8
    # A component that hardly anything was learned from is so narrow that, beside its slope, those of all others would
    # have next to no bits left. It is far from any row that it does not hold, also with a slope that is less steep.
    slopes, slope_q = mantissas(np.minimum(slopes, SLOPE_RANGE * slopes.min()))
    constants = model.log_weights - 0.5 * np.log(2 * np.pi * variances).sum(axis=2)
    return GmmPlan(
        frames=shapes[0][0],
        first_column=params.first_column,
        classes=params.classes,
        components=params.components,
        dimensions=params.dimensions,
        average=params.average,
        middles_q16=middles,
        shifts=shifts,
        means=saturated16(to_q((means - middles / 2**16) / units, 0)),
        slopes=slopes,
        slope_shift=slope_q,
        constants_q16=to_q16(np.maximum(constants, -1e9) * math.log2(math.e)),
    )


def gmm(plan: GmmPlan, inputs: Sequence[Ints]) -> Ints:
    """Log-likelihoods, (classes,) or (frames, classes)."""
    columns = inputs[0][:, plan.first_column : plan.first_column + plan.dimensions]
    moved = saturated16(shifted(columns - plan.middles_q16, plan.shifts)).astype(np.int32)
    # A product of 16 bits and half a rounding step fit 32 bits, so numpy may compute with these: it is faster.
    means, slopes = plan.means.astype(np.int32), plan.slopes.astype(np.int32)
    half = np.int32((1 << plan.slope_shift) >> 1)
    logs = np.empty((plan.frames, plan.classes), np.int64)
    for frame, z in enumerate(moved):
        steps = np.clip(z - means, -32768, 32767)
        steps = np.clip((steps * slopes + half) >> plan.slope_shift, -32768, 32767)
        distances = (steps * steps).sum(axis=-1, dtype=np.int64)
        scores = saturated32(plan.constants_q16 - distances)
        logs[frame] = _log_sum_exp(scores)
    logs = ln_q16(logs)
    return divided(logs.sum(axis=0), plan.frames) if plan.average else logs


def _log_sum_exp(scores: Ints) -> Ints:
    """log2 of the sum of 2^score over the last axis, in Q16, saturated to 32 bits."""
    greatest = scores.max(axis=-1)
    total = exp2_q30(greatest[..., None] - scores).sum(axis=-1)
    return saturated32(greatest + log2_q16(total) - (30 << 16))


def _gmm_loops(plan: GmmPlan) -> Loops:
    components = plan.frames * plan.classes * plan.components
    return {
        "call": 1,
        "column": plan.frames * plan.dimensions,
        "distance": components * -(-plan.dimensions // 4),
        "component": components,
        "class": plan.frames * plan.classes,
        "vector_distance": plan.frames * plan.classes * -(-plan.components // 64) * plan.dimensions,
    }


def _gmm_load_loops(plan: GmmPlan) -> Loops:
    return {
        **loading(2 * plan.means.size + 2 * plan.constants_q16.size, plan.means.size),
        "vector_load_weight": plan.classes * -(-plan.components // 64) * 64 * plan.dimensions,
    }


def _gmm_passes(plan: GmmPlan) -> int:
    return plan.frames


def _gmm_message(plan: GmmPlan) -> Message:
    words = [plan.frames, plan.first_column, plan.classes, plan.components, plan.dimensions]
    words += [plan.average, plan.slope_shift]
    arrays = [word(plan.middles_q16), word(plan.shifts), narrow(plan.means), narrow(plan.slopes)]
    return Message(words, [*arrays, word(plan.constants_q16)])


def _gmm_shape(plan: GmmPlan, _inputs: Sequence[Ints]) -> Shape:
    return (plan.classes,) if plan.average else (plan.frames, plan.classes)


GMM = DspOperator(
    plan=_plan_gmm,
    run=gmm,
    input_q=16,
    program="gmm",
    message=_gmm_message,
    output_shape=_gmm_shape,
    loops=_gmm_loops,
    load_loops=_gmm_load_loops,
    passes=_gmm_passes,
)


@dataclass(frozen=True, slots=True, eq=False)
class DensePlan:
    """Weights are (inputs, outputs) of 16 bits, each layer in its own Q; biases are 32 bits in Q16."""

    rows: int
    sizes: tuple[int, ...]
    """Inputs, then each layer's outputs."""
    activation: Literal["relu", "sigmoid", "tanh", "linear"]
    softmax: bool
    average: bool
    """Whether the rows' results are averaged; also of a single row."""
    normalises: bool
    means_q16: Ints
    """(inputs,) 32 bits; empty where `normalises` is false, as are the next two."""
    slopes: Ints
    """(inputs,) 16 bits: (x - mean) * slope >> slope_shifts is in Q11."""
    slope_shifts: Ints
    """(inputs,), 0 to 46."""
    weights: tuple[Ints, ...]
    weights_q: tuple[int, ...]
    biases_q16: tuple[Ints, ...]


def _plan_dense(params: DenseParameters, shapes: Sequence[Shape]) -> DensePlan:
    rows, inputs = dense_inputs(params, shapes[0])
    model = read_dense(params, inputs)
    empty = np.zeros(0, np.int64)
    slopes, slope_shifts = empty, empty
    if model.scale is not None:
        # Each column's 1 / scale as a mantissa of 15 bits and a shift; x - mean is in Q16, the result in Q11.
        fractions, exponents = np.frexp(1 / model.scale.astype(np.float64))
        slope_shifts = np.clip(15 - exponents + 5, 0, 46).astype(np.int64)
        slopes = saturated16(to_q(fractions * 2.0 ** (exponents + slope_shifts - 5), 0))
    weights, weights_q = zip(*(mantissas(array, 20) for array in model.weights), strict=True)
    return DensePlan(
        rows=rows,
        sizes=(inputs, *params.layers),
        activation=params.activation,
        softmax=params.softmax,
        average=params.average or not params.per_row,
        normalises=model.scale is not None,
        means_q16=empty if model.mean is None else to_q16(model.mean),
        slopes=slopes,
        slope_shifts=slope_shifts,
        weights=weights,
        weights_q=weights_q,
        biases_q16=tuple(to_q16(bias) for bias in model.biases),
    )


def _dense_fits(params: DenseParameters, shapes: Sequence[Shape]) -> bool:
    return dense_inputs(params, shapes[0])[1] <= 2**20


def dense(plan: DensePlan, inputs: Sequence[Ints]) -> Ints:
    """The network's outputs, (outputs,) or (rows, outputs)."""
    x = inputs[0].reshape(plan.rows, plan.sizes[0])
    if plan.normalises:
        away = saturated32(x - plan.means_q16)
        values = saturated16(shifted(away * plan.slopes, plan.slope_shifts))
        q = np.full(plan.rows, 11, np.int64)
    else:
        values, q = block(x, 16)
    for layer, (weights, weights_q, bias) in enumerate(
        zip(plan.weights, plan.weights_q, plan.biases_q16, strict=True), 1
    ):
        q = q + weights_q
        sums = product(values, weights) + shifted(bias, 16 - q[:, None])
        if layer < len(plan.weights):
            values, q = _activated(plan.activation, sums, q)
    outputs = narrowed(sums, q[:, None] - 16)
    if plan.softmax:
        outputs = softmax_q16(outputs)
    return divided(outputs.sum(axis=0), plan.rows) if plan.average else outputs


def _activated(activation: str, sums: Ints, q: Ints) -> tuple[Ints, Ints]:
    if activation in ("sigmoid", "tanh"):
        curve = sigmoid_q15 if activation == "sigmoid" else tanh_q15
        return curve(narrowed(sums, q[:, None] - 12)), np.full(len(q), 15, np.int64)
    return block(np.maximum(sums, 0) if activation == "relu" else sums, q)


def _dense_loops(plan: DensePlan) -> Loops:
    """Products are in tiles of two rows by two outputs by four inputs; a single row goes with four outputs.

    The vector unit takes one row by 32 outputs by two inputs, and no more than 256 inputs in a row.
    """
    steps = [-(-inputs // 4) for inputs in plan.sizes[:-1]]
    layers = list(zip(plan.sizes[1:], steps, strict=True))
    pairs, single = divmod(plan.rows, 2)
    return {
        "call": 1,
        "input": 0 if plan.normalises else plan.rows * plan.sizes[0],
        "normalised": plan.rows * plan.sizes[0] if plan.normalises else 0,
        "tile": pairs * sum(-(-outputs // 2) for outputs, _ in layers),
        "tile_step": pairs * sum(-(-outputs // 2) * step for outputs, step in layers),
        "row": single * sum(-(-outputs // 4) for outputs, _ in layers),
        "row_step": single * sum(-(-outputs // 4) * step for outputs, step in layers),
        "vector": plan.rows * sum(-(-outputs // 32) * -(-step // 64) for outputs, step in layers),
        "vector_step": plan.rows * sum(-(-outputs // 32) * step for outputs, step in layers),
        "output": plan.rows * sum(plan.sizes[1:]),
        "layer": plan.rows * len(layers),
        "curve": plan.rows * sum(plan.sizes[1:-1]) if plan.activation in ("sigmoid", "tanh") else 0,
        "share": plan.rows * plan.sizes[-1] if plan.softmax else 0,
        "average": plan.rows * plan.sizes[-1] if plan.average else 0,
    }


def _dense_load_loops(plan: DensePlan) -> Loops:
    padded = [-(-inputs // 4) * 4 for inputs in plan.sizes[:-1]]
    layers = list(zip(plan.sizes[1:], padded, strict=True))
    return {
        **loading(sum(weights.size for weights in plan.weights), sum(a * b for a, b in layers)),
        "load_row": sum(plan.sizes[1:]),
        "vector_load_weight": sum(-(-outputs // 32) * 32 * inputs for outputs, inputs in layers),
    }


def _dense_passes(plan: DensePlan) -> int:
    return -(-plan.rows // BLOCK_ROWS)


def _dense_message(plan: DensePlan) -> Message:
    words = [plan.rows, plan.sizes[0], len(plan.weights), _ACTIVATIONS.index(plan.activation)]
    words += [plan.softmax, plan.average, plan.normalises]
    arrays = [word(plan.means_q16), narrow(plan.slopes), word(plan.slope_shifts)]
    for outputs, q, weights, bias in zip(plan.sizes[1:], plan.weights_q, plan.weights, plan.biases_q16, strict=True):
        words += [outputs, q]
        arrays += [narrow(weights), word(bias)]
    return Message(words, arrays)


def _dense_shape(plan: DensePlan, _inputs: Sequence[Ints]) -> Shape:
    return (plan.sizes[-1],) if plan.average else (plan.rows, plan.sizes[-1])


DENSE = DspOperator(
    plan=_plan_dense,
    fits=_dense_fits,
    run=dense,
    input_q=16,
    program="dense",
    message=_dense_message,
    output_shape=_dense_shape,
    loops=_dense_loops,
    load_loops=_dense_load_loops,
    passes=_dense_passes,
)

OPERATORS = {"gmm": GMM, "dense": DENSE}

"""Layers of one value each, and softmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leo_runtime.layers import law
from leo_runtime.layers.graph import Shape
from leo_runtime.layers.kinds.definition import BOTH, FLOAT, Arrays, Call, LayerKind, OptionField
from leo_runtime.layers.kinds.values import first_of, one_per_value, pair_of, require_one_type, same_shape


def _reals(call: Call, values: np.ndarray) -> np.ndarray:
    """What int8 values stand for, in float64."""
    tensor = call.input(0)
    return (values.astype(np.float64) - tensor.zero_point[0]) * tensor.scale[0]


def _stored(call: Call, reals: np.ndarray) -> np.ndarray:
    """Reals as the output's int8: to the nearest, halves away from 0."""
    tensor = call.outputs[0]
    scaled = reals / tensor.scale[0]
    return law.to_int8(np.trunc(scaled + np.copysign(0.5, scaled)), tensor.zero_point[0])


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), of which no step overflows."""
    small = np.exp(-np.abs(values))
    shares: np.ndarray = np.where(values >= 0, 1 / (1 + small), small / (1 + small))
    return shares


def logistic_table(call: Call) -> np.ndarray:
    """What an int8 LOGISTIC gives for -128, ..., 127."""
    return _stored(call, sigmoid(_reals(call, np.arange(-128, 128))))


def _logistic(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    values = first_of(arrays)
    if not call.quantised:
        return (sigmoid(values),)
    return (logistic_table(call)[values.astype(np.int16) + 128],)


def softmax(values: np.ndarray, beta: float) -> np.ndarray:
    """Along the last axis."""
    powers = np.exp((values - values.max(axis=-1, keepdims=True)) * values.dtype.type(beta))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def softmax_powers(call: Call) -> np.ndarray:
    """Of an int8 SOFTMAX, the powers of values that are 0, ..., 255 below the greatest, in 2^-23; int32."""
    below = -np.arange(256) * call.input(0).scale[0] * call.real("beta")
    powers: np.ndarray = np.rint(np.exp(below) * 2**23).astype(np.int32)
    return powers


def _softmax(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    """Of int8 in integers, so that every processor has the same: 256 times a share, to the nearest, halves upwards."""
    values, beta = first_of(arrays), call.real("beta")
    if not call.quantised:
        return (softmax(values, beta),)
    whole = values.astype(np.int64)
    powers = softmax_powers(call).astype(np.int64)[whole.max(axis=-1, keepdims=True) - whole]
    totals = powers.sum(axis=-1, keepdims=True)
    shares = np.minimum((512 * powers + totals) // (2 * totals), 255)
    return ((shares - 128).astype(np.int8),)


def _softmax_refuses(call: Call) -> str | None:
    out = call.outputs[0]
    if call.quantised and (out.scale, out.zero_point) != ((1 / 256,), (-128,)):
        return f"its output has the scale {out.scale[0]} and the zero point {out.zero_point[0]}"
    if call.real("beta") <= 0:
        return f"its beta is {call.real('beta')}"
    return None


def _prelu(_call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    values, slopes = pair_of(arrays)
    return (np.where(values >= 0, values, values * slopes),)


def _prelu_shape(call: Call) -> tuple[Shape, ...]:
    require_one_type(call)
    shape = call.input(0).shape
    if np.broadcast_shapes(shape, call.input(1).shape) != shape:
        raise ValueError(f"its slopes of {call.input(1).shape} do not fit {shape}")
    return (shape,)


def _leaky(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    values = first_of(arrays)
    return (np.where(values >= 0, values, values * np.float32(call.real("alpha"))),)


def _plain(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Call, Arrays], tuple[np.ndarray, ...]]:
    return lambda _call, arrays: (function(first_of(arrays)),)


def _hard_swish(values: np.ndarray) -> np.ndarray:
    swished: np.ndarray = values * np.clip(values + np.float32(3), np.float32(0), np.float32(6)) * np.float32(1 / 6)
    return swished


def _relu6(values: np.ndarray) -> np.ndarray:
    limited: np.ndarray = np.clip(values, np.float32(0), np.float32(6))
    return limited


def _relu(values: np.ndarray) -> np.ndarray:
    limited: np.ndarray = np.maximum(values, np.float32(0))
    return limited


KINDS = (
    LayerKind("LOGISTIC", 14, 0, (), (1, 1), BOTH, same_shape, _logistic, one_per_value),
    LayerKind(
        "SOFTMAX",
        25,
        9,
        (OptionField("beta", 0, "f", 0.0),),
        (1, 1),
        BOTH,
        same_shape,
        _softmax,
        one_per_value,
        _softmax_refuses,
    ),
    LayerKind("RELU", 19, 0, (), (1, 1), FLOAT, same_shape, _plain(_relu), one_per_value),
    LayerKind("RELU6", 21, 0, (), (1, 1), FLOAT, same_shape, _plain(_relu6), one_per_value),
    LayerKind("PRELU", 54, 0, (), (2, 2), FLOAT, _prelu_shape, _prelu, one_per_value),
    LayerKind(
        "LEAKY_RELU", 98, 75, (OptionField("alpha", 0, "f", 0.0),), (1, 1), FLOAT, same_shape, _leaky, one_per_value
    ),
    LayerKind("HARD_SWISH", 117, 91, (), (1, 1), FLOAT, same_shape, _plain(_hard_swish), one_per_value),
)

"""Layers of one value each, and softmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leo_runtime.layers import law
from leo_runtime.layers.graph import Shape
from leo_runtime.layers.kinds.clamping import LIMITS, stored_limit
from leo_runtime.layers.kinds.definition import BOTH, FLOAT, Arrays, Call, LayerKind, OptionField
from leo_runtime.layers.kinds.values import (
    first_of,
    one_per_value,
    pair_of,
    require_one_type,
    same_quantisation,
    same_shape,
)


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


def prelu_steps(call: Call) -> tuple[law.TwoSteps, law.TwoSteps]:
    """What an int8 PRELU multiplies values above its zero point by, and products with slopes. Raises `ValueError`."""
    source, slopes, out = call.input(0).scale[0], call.input(1).scale, call.outputs[0].scale[0]
    if len(slopes) != 1:
        raise ValueError(f"its slopes have {len(slopes)} scales")
    return law.two_steps(law.ratio(source, out=out)), law.two_steps(law.ratio(source, slopes[0], out=out))


def _prelu(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    values, slopes = pair_of(arrays)
    if not call.quantised:
        return (np.where(values >= 0, values, values * slopes),)
    above, below = prelu_steps(call)
    whole = values.astype(np.int64) - call.input(0).zero_point[0]
    sloped = law.scaled_in_two(whole * (slopes.astype(np.int64) - call.input(1).zero_point[0]), below)
    given = np.where(whole >= 0, law.scaled_in_two(whole, above), sloped)
    return (law.to_int8(given, call.outputs[0].zero_point[0]),)


def _prelu_refuses(call: Call) -> str | None:
    if call.quantised:
        prelu_steps(call)
    return None


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


def limits_of(call: Call) -> tuple[int, int]:
    """The least and the greatest int8 that RELU or RELU6 gives."""
    least, greatest = LIMITS[call.kind]
    return stored_limit(least, call.outputs[0]), stored_limit(greatest, call.outputs[0])


def _limited(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    least, greatest = limits_of(call) if call.quantised else map(np.float32, LIMITS[call.kind])
    return (np.clip(first_of(arrays), least, greatest),)


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
    LayerKind("RELU", 19, 0, (), (1, 1), BOTH, same_shape, _limited, one_per_value, same_quantisation),
    LayerKind("RELU6", 21, 0, (), (1, 1), BOTH, same_shape, _limited, one_per_value, same_quantisation),
    LayerKind("PRELU", 54, 0, (), (2, 2), BOTH, _prelu_shape, _prelu, one_per_value, _prelu_refuses),
    LayerKind(
        "LEAKY_RELU", 98, 75, (OptionField("alpha", 0, "f", 0.0),), (1, 1), FLOAT, same_shape, _leaky, one_per_value
    ),
    LayerKind("HARD_SWISH", 117, 91, (), (1, 1), FLOAT, same_shape, _plain(_hard_swish), one_per_value),
)

"""The one arithmetic of int8 layers, which every processor follows to the bit.

Products are summed in 32 bits without error; the sum is scaled and rounded once, to the nearest, halves upwards, in
integers. That is LiteRT's own result (of XNNPACK, which scales by a float32) but where its float32 is inexact: in 3 of
5.75 million values when tried, by 1. Sums of two tensors are XNNPACK's own to the bit
(https://github.com/google/XNNPACK/blob/master/src/microparams-init.c, `xnn_init_qs8_add_minmax_scalar_params`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Multiplier:
    """A positive real below 2^30 as `factor / 2^shift`: a sum times it is `(sum * factor + 2^(shift - 1)) >> shift`."""

    factor: int
    """Below 2^31; 0 for what rounds any sum to 0."""
    shift: int
    """1 to 62."""


def multiplier(scale: float) -> Multiplier:
    """The multiplier for a scale. Raises `ValueError` for one that is not above 0, or too great.

    A float32 is met exactly, since it has 24 bits of 31.
    """
    if not 0 < scale < 2.0**30:
        raise ValueError(f"its values would be scaled by {scale}")
    factor, exponent = _factor_and_exponent(scale)
    if exponent < -31:
        return Multiplier(0, 1)
    return Multiplier(factor, 31 - exponent)


def _factor_and_exponent(scale: float) -> tuple[int, int]:
    """A scale as `factor / 2^31 * 2^exponent`, with a factor of 2^30 to 2^31 - 1."""
    fraction, exponent = math.frexp(scale)
    factor = round(fraction * 2**31)
    # One that is rounded up to 2^31 is the next power of two.
    return (2**30, exponent + 1) if factor == 2**31 else (factor, exponent)


def ratio(*scales: float, out: float) -> float:
    """The product of scales by that of what comes out, as XNNPACK has it: every step in float32."""
    product = np.float32(1.0)
    for scale in scales:
        product = np.float32(product * np.float32(scale))
    return float(np.float32(product / np.float32(out)))


def ratios(scale: float, others: Sequence[float], out: float) -> np.ndarray:
    """`ratio(scale, other, out=out)` for each of the others; float64."""
    products = np.float32(scale) * np.array(others, np.float32)
    return (products / np.float32(out)).astype(np.float64)


def multipliers(scales: np.ndarray) -> tuple[Multiplier, ...]:
    """`multiplier` for each of many scales, at once. Raises `ValueError` as that does."""
    wrong = ~((scales > 0) & (scales < 2.0**30))
    if wrong.any():
        raise ValueError(f"its values would be scaled by {scales[wrong][0]}")
    fractions, exponents = np.frexp(scales)
    factors = np.rint(fractions * 2.0**31).astype(np.int64)
    # One that is rounded up to 2^31 is the next power of two.
    exponents = exponents + (factors == 2**31)
    factors = np.where(factors == 2**31, 2**30, factors)
    none = exponents < -31
    pairs = zip(np.where(none, 0, factors).tolist(), np.where(none, 1, 31 - exponents).tolist(), strict=True)
    return tuple(Multiplier(factor, shift) for factor, shift in pairs)


def scaled(sums: np.ndarray, by: Sequence[Multiplier]) -> np.ndarray:
    """Sums times one multiplier, or one for each index along the last axis, rounded once; int64."""
    factors = np.array([one.factor for one in by], np.int64)
    shifts = np.array([one.shift for one in by], np.int64)
    products = (sums.astype(np.int64) * factors + (np.int64(1) << (shifts - 1))) >> shifts
    return products.reshape(sums.shape)


@dataclass(frozen=True, slots=True)
class TwoSteps:
    """A positive real below 2^8 that is multiplied by in two rounded steps, as TensorFlow Lite's own kernels do.

    A value x becomes `y = ((x << left) * factor + 2^30) >> 31`, and then y / 2^right to the nearest, halves away from 0
    (https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/kernels/internal/common.h,
    `MultiplyByQuantizedMultiplier`).
    """

    factor: int
    """Of 2^30 to 2^31 - 1; 0 for what rounds any value to 0."""
    left: int
    right: int


def two_steps(scale: float) -> TwoSteps:
    """The two steps for a scale. Raises `ValueError` for one that is not above 0, or too great."""
    if not 0 < scale < 2.0**8:
        raise ValueError(f"its values would be scaled by {scale}")
    factor, exponent = _factor_and_exponent(scale)
    if exponent < -31:
        return TwoSteps(0, 0, 0)
    return TwoSteps(factor, max(exponent, 0), max(-exponent, 0))


def scaled_in_two(values: np.ndarray, by: TwoSteps) -> np.ndarray:
    """Values, each within 2^22 of 0, times a scale; int64."""
    doubled: np.ndarray = ((values.astype(np.int64) << by.left) * by.factor + (1 << 30)) >> 31
    if by.right:
        doubled = (doubled + (1 << (by.right - 1)) - (doubled < 0)) >> by.right
    return doubled


def to_int8(values: np.ndarray, zero_point: int, least: int = -128, greatest: int = 127) -> np.ndarray:
    """Integers about 0 as int8 about a zero point, no further than two limits."""
    stored: np.ndarray = np.clip(values + zero_point, least, greatest).astype(np.int8)
    return stored


@dataclass(frozen=True, slots=True)
class Addition:
    """How two int8 tensors are added: `((a * first + b * second + bias) >> shift) + zero point of what comes out`."""

    first: int
    second: int
    bias: int
    shift: int


def addition(first: float, second: float, zeros: tuple[int, int], *, subtracts: bool = False) -> Addition:
    """The addition of tensors whose scales are so many of the output's, in float32, with these zero points.

    With `subtracts` the second is taken from the first.

    Raises `ValueError` where one of them is not within [2^-10, 2^8), beyond which XNNPACK does not add either.
    """
    for one in (first, second):
        if not 2.0**-10 <= one < 2.0**8:
            raise ValueError(f"an input's values would be scaled by {one}")
    shift = 20 - (math.frexp(max(first, second))[1] - 1)
    a, b = round(math.ldexp(first, shift)), round(math.ldexp(second, shift)) * (-1 if subtracts else 1)
    return Addition(a, b, (1 << (shift - 1)) - a * zeros[0] - b * zeros[1], shift)

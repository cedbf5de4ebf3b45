"""Motion: what a window of it is summed up as."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leo_backends import tables
from leo_backends.dsp.cycles import Loops
from leo_backends.dsp.fixed_point import (
    Ints,
    block,
    divided,
    ln_q16,
    log2_q16,
    product,
    saturated16,
    saturated32,
    shifted,
    to_q,
)
from leo_backends.dsp.operators.definition import DspOperator, Message, loading, narrow, q16, wide, word
from leo_runtime.operators import Shape
from leo_runtime.operators.motion import MotionFeaturesParameters


@dataclass(frozen=True, slots=True, eq=False)
class MotionFeaturesPlan:
    """`band_of[k]` is the band of point k, -1 for none; `energy[k]` how often its power counts, 2, or 1 at the end."""

    samples: int
    channels: int
    bands: int
    cosines_q15: Ints
    """cos(2 pi i / samples), (samples,)."""
    sines_q15: Ints
    band_of: Ints
    energy: Ints
    floor_q32: int
    """In units of a squared value in Q16."""
    samples_log2_q16: int


def _plan_motion_features(params: MotionFeaturesParameters, shapes: Sequence[Shape]) -> MotionFeaturesPlan:
    samples = shapes[0][0]
    shares = tables.motion_bands(params, samples)
    angles = 2 * np.pi * np.arange(samples) / samples
    return MotionFeaturesPlan(
        samples=samples,
        channels=shapes[0][1] if len(shapes[0]) == 2 else 1,
        bands=shares.shape[1],
        cosines_q15=saturated16(to_q(np.cos(angles), 15)),
        sines_q15=saturated16(to_q(np.sin(angles), 15)),
        band_of=np.where(shares.any(axis=1), shares.argmax(axis=1), -1),
        energy=np.where(2 * np.arange(len(shares)) == samples, 1, 2),
        floor_q32=round(params.floor * 2.0**32),
        samples_log2_q16=q16(math.log2(samples)),
    )


def _motion_features_fits(params: MotionFeaturesParameters, shapes: Sequence[Shape]) -> bool:
    return shapes[0][0] <= 1024 and params.floor <= 256


def motion_features(plan: MotionFeaturesPlan, inputs: Sequence[Ints]) -> Ints:
    """Mean, ln of variance, ln of band energies: (channels, 2 + bands)."""
    x = inputs[0].reshape(plan.samples, plan.channels).T
    mean = divided(x.sum(axis=1), plan.samples)
    values, q = block(saturated32(x - mean[:, None]), 16)
    floor = shifted(np.full(plan.channels, plan.floor_q32), 32 - 2 * q)
    variance = _motion_ln((values * values).sum(axis=1) + floor * plan.samples, q, plan.samples_log2_q16)
    points = np.arange(len(plan.band_of))
    turns = np.outer(np.arange(plan.samples), points) % plan.samples
    real = shifted(product(values, plan.cosines_q15[turns]), 15)
    imaginary = shifted(product(values, plan.sines_q15[turns]), 15)
    powers = (real * real + imaginary * imaginary) * plan.energy
    features = [mean, variance]
    for band in range(plan.bands):
        energy = powers[:, plan.band_of == band].sum(axis=1) + floor * plan.samples * plan.samples
        features.append(_motion_ln(energy, q, 2 * plan.samples_log2_q16))
    return np.stack(features, axis=1)


def _motion_ln(energy: Ints, q: Ints, divisor_log2_q16: int) -> Ints:
    return saturated32(ln_q16(log2_q16(np.maximum(energy, 1)) - divisor_log2_q16 - ((2 * q) << 16)))


def _motion_features_loops(plan: MotionFeaturesPlan) -> Loops:
    points = int((plan.band_of >= 0).sum())
    return {
        "call": 1,
        "value": plan.channels * plan.samples,
        "turn": points * plan.samples,
        "product": plan.channels * points * -(-plan.samples // 4),
        "point": plan.channels * points,
        "band": plan.channels * (2 + plan.bands),
    }


def _motion_features_load_loops(plan: MotionFeaturesPlan) -> Loops:
    return loading(2 * plan.samples + 4 * len(plan.band_of))


def _motion_features_message(plan: MotionFeaturesPlan) -> Message:
    words = [plan.samples, plan.channels, plan.bands, plan.samples_log2_q16, *wide(plan.floor_q32)]
    arrays = [narrow(plan.cosines_q15), narrow(plan.sines_q15), word(plan.band_of), word(plan.energy)]
    return Message(words, arrays)


def _motion_features_shape(plan: MotionFeaturesPlan, _inputs: Sequence[Ints]) -> Shape:
    return (plan.channels, 2 + plan.bands)


MOTION_FEATURES = DspOperator(
    plan=_plan_motion_features,
    fits=_motion_features_fits,
    run=motion_features,
    input_q=16,
    program="motion_features",
    message=_motion_features_message,
    output_shape=_motion_features_shape,
    loops=_motion_features_loops,
    load_loops=_motion_features_load_loops,
)

OPERATORS = {"motion_features": MOTION_FEATURES}

"""The DSP's operators: for each a plan, what is made ready when a stage is loaded, and the function that computes it.

A plan holds nothing but integers and arrays of integers; it is made from real parameters and models by `plan`, once. A
function gets a plan and its inputs as integers, and gives 32-bit integers in Q16. All that happens
between is integer arithmetic of `fixed_point`, so that another implementation can be equal bit for bit. Signals come
in as 16 bits in Q15 (`to_q15`), all else as 32 bits in Q16 (`to_q16`).

Constants of 16 bits are held as int64 arrays of such values: numpy would otherwise compute products in 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from leo_backends import tables
from leo_backends.dsp.fixed_point import (
    Ints,
    bit_length,
    block,
    divided,
    exp2_q30,
    ln_q16,
    log2_q16,
    mantissas,
    narrowed,
    product,
    real_transform,
    saturated16,
    saturated32,
    shifted,
    sigmoid_q15,
    softmax_q16,
    tanh_q15,
    to_q,
    to_q15,
    to_q16,
    twiddles,
)
from leo_backends.models import read_dense, read_gmm
from leo_runtime.operators import Shape
from leo_runtime.operators.arrays import FuseParameters, WindowParameters
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters, dense_inputs
from leo_runtime.operators.motion import MotionFeaturesParameters
from leo_runtime.operators.sound import (
    EnergyGateParameters,
    LogMelParameters,
    MfccParameters,
    SpectrumParameters,
    VoiceGateParameters,
    frame_count,
)

LIMIT = 1 << 62

SLOPE_RANGE = 128
"""The steepest slope of a mixture's component, in multiples of the gentlest: leaves 8 bits for that."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowPlan:
    """A copy of so many values."""

    values: int


@dataclass(frozen=True, slots=True, eq=False)
class EnergyGatePlan:
    """`values`: of the whole input."""

    values: int
    floor: int
    """The least sum of squares that counts."""
    count_log2_q16: int
    decibels_q29: int
    threshold_q16: int


@dataclass(frozen=True, slots=True, eq=False)
class SpectrumPlan:
    """Frames of a signal and their power spectra."""

    frames: int
    frame_samples: int
    hop_samples: int
    points: int
    preemphasis_q15: int
    window_q15: Ints
    factors_q14: Ints
    """`twiddles(points)`."""

    @property
    def points_log2(self) -> int:
        """log2 of `points`."""
        return self.points.bit_length() - 1

    @property
    def q(self) -> int:
        """The Q of spectra; power is in twice that."""
        return 29 - self.points_log2


@dataclass(frozen=True, slots=True, eq=False)
class VoiceGatePlan:
    """`first` and `end` bound the speech band among the points."""

    spectrum: SpectrumPlan
    first: int
    end: int
    floor: int
    """The least power of a point that counts."""
    level_q16: int
    """log2 of the sum of the band's power must be above this."""
    contrast_q16: int
    """And log2 of its mean this much above the mean of log2."""
    count_log2_q16: int
    fraction_q16: int


@dataclass(frozen=True, slots=True, eq=False)
class LogMelPlan:
    """Band b weighs the points from first[b] on, count[b] of them, with the next so many of `weights`."""

    spectrum: SpectrumPlan
    bands: int
    first: Ints
    count: Ints
    weights: Ints
    """16 bits; their Q is in `offset_q16`."""
    floor: int
    offset_q16: int
    """What turns log2 of a weighed sum into log2 of the band's energy."""


@dataclass(frozen=True, slots=True, eq=False)
class MfccPlan:
    """`transform` (bands, cepstra) of 16 bits in Q `transform_q`, the lifter included."""

    log_mel: LogMelPlan
    cepstra: int
    transform: Ints
    transform_q: int
    normalise_mean: bool
    deltas: bool


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


@dataclass(frozen=True, slots=True, eq=False)
class FusePlan:
    """Weights are 16 bits in Q `weights_q`, one an input."""

    values: int
    weights: Ints
    weights_q: int


Plan = (
    WindowPlan
    | EnergyGatePlan
    | VoiceGatePlan
    | LogMelPlan
    | MfccPlan
    | GmmPlan
    | DensePlan
    | MotionFeaturesPlan
    | FusePlan
)


# ---- Making plans: real numbers become integers ----


def _plan_window(_params: WindowParameters, shapes: Sequence[Shape]) -> WindowPlan:
    return WindowPlan(math.prod(shapes[0]))


def _plan_energy_gate(params: EnergyGateParameters, shapes: Sequence[Shape]) -> EnergyGatePlan:
    values = math.prod(shapes[0])
    return EnergyGatePlan(
        values=values,
        floor=max(1, round(1e-10 * values * 2**30)),
        count_log2_q16=_q16(math.log2(values)),
        decibels_q29=round(10 * math.log10(2) * 2**29),
        threshold_q16=_q16(params.threshold_dbfs),
    )


def _plan_spectrum(params: SpectrumParameters, shapes: Sequence[Shape]) -> SpectrumPlan:
    return SpectrumPlan(
        frames=frame_count(shapes[0][0], params.frame_samples, params.hop_samples),
        frame_samples=params.frame_samples,
        hop_samples=params.hop_samples,
        points=params.fft_samples,
        preemphasis_q15=min(round(params.preemphasis * 2**15), 32767),
        window_q15=saturated16(to_q(tables.window(params), 15)),
        factors_q14=twiddles(params.fft_samples),
    )


def _plan_voice_gate(params: VoiceGateParameters, shapes: Sequence[Shape]) -> VoiceGatePlan:
    spectrum = _plan_spectrum(params, shapes)
    first, end = tables.speech_band(params)
    least_level = params.threshold_dbfs / 10 * math.log2(10) - math.log2(tables.speech_level_scale(params))
    gain_log2 = 2 * spectrum.q - 2 * math.log2(params.scale)
    return VoiceGatePlan(
        spectrum=spectrum,
        first=first,
        end=end,
        floor=max(1, round(min(2.0 ** (gain_log2 - 12 * math.log2(10)), LIMIT // (end - first)))),
        level_q16=_q16(least_level + gain_log2),
        contrast_q16=_q16(params.threshold_contrast * math.log2(math.e)),
        count_log2_q16=_q16(math.log2(end - first)),
        fraction_q16=_q16(params.fraction),
    )


def _plan_log_mel(params: LogMelParameters, shapes: Sequence[Shape]) -> LogMelPlan:
    spectrum = _plan_spectrum(params, shapes)
    filters = tables.mel_filters(params)
    weights, weights_q = mantissas(filters)
    used = [np.flatnonzero(column) for column in weights.T]
    first = np.array([points[0] if len(points) else 0 for points in used], np.int64)
    count = np.array([points[-1] - points[0] + 1 if len(points) else 0 for points in used], np.int64)
    scaled_q = 2 * spectrum.q + weights_q
    return LogMelPlan(
        spectrum=spectrum,
        bands=params.bands,
        first=first,
        count=count,
        weights=np.concatenate([weights[f : f + c, b] for b, (f, c) in enumerate(zip(first, count, strict=True))]),
        floor=min(round(params.floor / params.scale**2 * 2.0**scaled_q), LIMIT - 1),
        offset_q16=_q16(2 * math.log2(params.scale)) - (scaled_q << 16),
    )


def _plan_mfcc(params: MfccParameters, shapes: Sequence[Shape]) -> MfccPlan:
    transform, transform_q = mantissas(tables.cosine_transform(params))
    return MfccPlan(
        log_mel=_plan_log_mel(params, shapes),
        cepstra=params.cepstra,
        transform=transform,
        transform_q=transform_q,
        normalise_mean=params.normalise_mean,
        deltas=params.deltas,
    )


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
        samples_log2_q16=_q16(math.log2(samples)),
    )


def _plan_fuse(params: FuseParameters, shapes: Sequence[Shape]) -> FusePlan:
    weights, weights_q = mantissas(np.array(params.weights or (1 / len(shapes),) * len(shapes)))
    return FusePlan(math.prod(shapes[0]), weights, weights_q)


def _q16(value: float) -> int:
    return math.floor(value * 2**16 + 0.5)


def fits(params: Any, shapes: Sequence[Shape]) -> bool:
    """Whether the arithmetic's ranges hold for these parameters; where they do not, the DSP cannot run the stage."""
    match params:
        case SpectrumParameters():
            return 4 <= params.fft_samples <= 1024 and params.preemphasis < 1 and 2**-20 <= params.scale <= 2**20
        case MotionFeaturesParameters():
            return shapes[0][0] <= 1024 and params.floor <= 256
        case DenseParameters():
            return dense_inputs(params, shapes[0])[1] <= 2**20
        case EnergyGateParameters():
            return math.prod(shapes[0]) <= 2**24
        case _:
            return True


# ---- Running plans: integers only ----


def window(_plan: WindowPlan, inputs: Sequence[Ints]) -> Ints:
    """The samples as they are."""
    return inputs[0]


def energy_gate(plan: EnergyGatePlan, inputs: Sequence[Ints]) -> Ints:
    """Decibels above the threshold, (1,)."""
    total = np.maximum((inputs[0] * inputs[0]).sum(keepdims=True).reshape(1), plan.floor)
    mean_log2 = log2_q16(total) - plan.count_log2_q16 - (30 << 16)
    return saturated32(shifted(mean_log2 * plan.decibels_q29, 29) - plan.threshold_q16)


def power(plan: SpectrumPlan, signal: Ints) -> Ints:
    """The power spectra of a signal's frames, (frames, points / 2 + 1), below 2^61, in Q 2 `plan.q`."""
    before = np.concatenate([[0], signal[:-1]])
    emphasised = (signal << 15) - before * plan.preemphasis_q15
    # So far down that no sum of the transform can be above 2^30.
    scaled = shifted(emphasised, plan.points_log2 + 1)
    starts = np.arange(plan.frames)[:, None] * plan.hop_samples
    frames = scaled[starts + np.arange(plan.frame_samples)]
    padded = np.zeros((plan.frames, plan.points), np.int64)
    padded[:, : plan.frame_samples] = shifted(frames * plan.window_q15, 15)
    real, imaginary = real_transform(padded, plan.factors_q14)
    powers: Ints = real * real + imaginary * imaginary
    return powers


def voice_gate(plan: VoiceGatePlan, inputs: Sequence[Ints]) -> Ints:
    """The part of frames that hold a voice, minus `fraction`, (1,)."""
    band = np.maximum(power(plan.spectrum, inputs[0])[:, plan.first : plan.end], plan.floor)
    total_log2 = log2_q16(band.sum(axis=1))
    mean_of_logs = divided(log2_q16(band).sum(axis=1), plan.end - plan.first)
    contrast = total_log2 - plan.count_log2_q16 - mean_of_logs
    voiced = ((total_log2 > plan.level_q16) & (contrast > plan.contrast_q16)).sum(keepdims=True)
    return saturated32(divided(voiced << 16, plan.spectrum.frames) - plan.fraction_q16)


def log_mel(plan: LogMelPlan, inputs: Sequence[Ints]) -> Ints:
    """Natural logarithms of band energies, (frames, bands)."""
    powers = power(plan.spectrum, inputs[0])
    energies = np.zeros((len(powers), plan.bands), np.int64)
    bits = np.zeros_like(energies)
    at = 0
    for band, (first, count) in enumerate(zip(plan.first, plan.count, strict=True)):
        if count == 0:
            continue
        points = powers[:, first : first + count]
        # The band's greatest power gets 30 bits: its product with a weight then fits 45.
        bits[:, band] = np.maximum(bit_length(points.max(axis=1)) - 30, 0)
        energies[:, band] = (points >> bits[:, band, None]) @ plan.weights[at : at + count]
        at += count
    logs = log2_q16(np.maximum(energies + (plan.floor >> bits), 1)) + (bits << 16) + plan.offset_q16
    return saturated32(ln_q16(logs))


def mfcc(plan: MfccPlan, inputs: Sequence[Ints]) -> Ints:
    """Cepstra, (frames, cepstra), or three times as wide with differences."""
    logs = log_mel(plan.log_mel, inputs)
    cepstra = saturated32(shifted(product(logs, plan.transform), plan.transform_q))
    if plan.normalise_mean:
        cepstra = saturated32(cepstra - divided(cepstra.sum(axis=0), len(cepstra)))
    if not plan.deltas:
        return cepstra
    padded = np.concatenate([cepstra[:1]] * 3 + [cepstra] + [cepstra[-1:]] * 3)
    first = saturated32(padded[4:] - padded[:-4])
    return np.concatenate([cepstra, first[1:-1], saturated32(first[2:] - first[:-2])], axis=1)


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


def fuse(plan: FusePlan, inputs: Sequence[Ints]) -> Ints:
    """The weighted sum, of the inputs' shape."""
    total = np.zeros_like(inputs[0])
    for weight, array in zip(plan.weights, inputs, strict=True):
        total += array * weight
    return saturated32(shifted(total, plan.weights_q))


@dataclass(frozen=True, slots=True)
class DspOperator:
    """How one operator is made ready and run, and the Q its inputs and output are in."""

    plan: Callable[..., Plan]
    run: Callable[..., Ints]
    input_q: Literal[15, 16]
    """15: 16 bits in Q15; 16: 32 bits in Q16. The output is 32 bits in Q16 always."""


OPERATORS: dict[str, DspOperator] = {
    "window": DspOperator(_plan_window, window, 16),
    "energy_gate": DspOperator(_plan_energy_gate, energy_gate, 15),
    "voice_gate": DspOperator(_plan_voice_gate, voice_gate, 15),
    "log_mel": DspOperator(_plan_log_mel, log_mel, 15),
    "mfcc": DspOperator(_plan_mfcc, mfcc, 15),
    "gmm": DspOperator(_plan_gmm, gmm, 16),
    "dense": DspOperator(_plan_dense, dense, 16),
    "motion_features": DspOperator(_plan_motion_features, motion_features, 16),
    "fuse": DspOperator(_plan_fuse, fuse, 16),
}


def integers(array: np.ndarray, input_q: Literal[15, 16]) -> Ints:
    """What the DSP is handed for an array: 16-bit samples are in Q15 already."""
    if array.dtype == np.int16:
        return array.astype(np.int64) << (input_q - 15)
    return to_q15(array) if input_q == 15 else to_q16(array)


def real(output: Ints) -> np.ndarray:
    """An output in Q16 as float32."""
    return np.asarray(output / 2.0**16, np.float32)

"""Sound: gates, and features made of power spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leo_backends import tables
from leo_backends.dsp.cycles import Loops
from leo_backends.dsp.fixed_point import (
    Ints,
    bit_length,
    divided,
    ln_q16,
    log2_q16,
    mantissas,
    product,
    real_transform,
    saturated16,
    saturated32,
    shifted,
    to_q,
    twiddles,
)
from leo_backends.dsp.operators.definition import DspOperator, Message, loading, narrow, q16, wide, word
from leo_runtime.operators import Shape
from leo_runtime.operators.sound import (
    EnergyGateParameters,
    LogMelParameters,
    MfccParameters,
    SpectrumParameters,
    VoiceGateParameters,
    frame_count,
)

LIMIT = 1 << 62


@dataclass(frozen=True, slots=True, eq=False)
class EnergyGatePlan:
    """`values`: of the whole input."""

    values: int
    floor: int
    """The least sum of squares that counts."""
    count_log2_q16: int
    decibels_q29: int
    threshold_q16: int


def _plan_energy_gate(params: EnergyGateParameters, shapes: Sequence[Shape]) -> EnergyGatePlan:
    values = math.prod(shapes[0])
    return EnergyGatePlan(
        values=values,
        floor=max(1, round(1e-10 * values * 2**30)),
        count_log2_q16=q16(math.log2(values)),
        decibels_q29=round(10 * math.log10(2) * 2**29),
        threshold_q16=q16(params.threshold_dbfs),
    )


def _energy_gate_fits(_params: EnergyGateParameters, shapes: Sequence[Shape]) -> bool:
    return math.prod(shapes[0]) <= 2**24


def energy_gate(plan: EnergyGatePlan, inputs: Sequence[Ints]) -> Ints:
    """Decibels above the threshold, (1,)."""
    total = np.maximum((inputs[0] * inputs[0]).sum(keepdims=True).reshape(1), plan.floor)
    mean_log2 = log2_q16(total) - plan.count_log2_q16 - (30 << 16)
    return saturated32(shifted(mean_log2 * plan.decibels_q29, 29) - plan.threshold_q16)


def _energy_gate_loops(plan: EnergyGatePlan) -> Loops:
    return {"call": 1, "value": plan.values}


def _energy_gate_message(plan: EnergyGatePlan) -> Message:
    return Message(
        [plan.values, plan.count_log2_q16, *wide(plan.floor, plan.decibels_q29, plan.threshold_q16)],
        [],
    )


def _one_number(_plan: EnergyGatePlan | VoiceGatePlan, _inputs: Sequence[Ints]) -> Shape:
    return (1,)


ENERGY_GATE = DspOperator(
    plan=_plan_energy_gate,
    fits=_energy_gate_fits,
    run=energy_gate,
    input_q=15,
    program="energy_gate",
    message=_energy_gate_message,
    output_shape=_one_number,
    loops=_energy_gate_loops,
)


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


def _spectrum_fits(params: SpectrumParameters, _shapes: Sequence[Shape]) -> bool:
    return 4 <= params.fft_samples <= 1024 and params.preemphasis < 1 and 2**-20 <= params.scale <= 2**20


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


def _spectrum_loops(plan: SpectrumPlan) -> Loops:
    half = plan.points // 2
    return {
        "call": 1,
        "sample": (plan.frames - 1) * plan.hop_samples + plan.frame_samples,
        "frame": plan.frames,
        "frame_sample": plan.frames * plan.frame_samples,
        "butterfly": plan.frames * (half // 2) * (plan.points_log2 - 1),
        "point": plan.frames * (half + 1),
    }


def _spectrum_numbers(plan: SpectrumPlan) -> int:
    return len(plan.window_q15) + 2 * plan.factors_q14.size


def _spectrum_words(plan: SpectrumPlan) -> list[int]:
    words = [plan.frames, plan.frame_samples, plan.hop_samples, plan.points, plan.points_log2]
    return [*words, plan.preemphasis_q15]


def _spectrum_arrays(plan: SpectrumPlan) -> list[np.ndarray]:
    return [narrow(plan.window_q15), word(plan.factors_q14)]


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
        level_q16=q16(least_level + gain_log2),
        contrast_q16=q16(params.threshold_contrast * math.log2(math.e)),
        count_log2_q16=q16(math.log2(end - first)),
        fraction_q16=q16(params.fraction),
    )


def voice_gate(plan: VoiceGatePlan, inputs: Sequence[Ints]) -> Ints:
    """The part of frames that hold a voice, minus `fraction`, (1,)."""
    band = np.maximum(power(plan.spectrum, inputs[0])[:, plan.first : plan.end], plan.floor)
    total_log2 = log2_q16(band.sum(axis=1))
    mean_of_logs = divided(log2_q16(band).sum(axis=1), plan.end - plan.first)
    contrast = total_log2 - plan.count_log2_q16 - mean_of_logs
    voiced = ((total_log2 > plan.level_q16) & (contrast > plan.contrast_q16)).sum(keepdims=True)
    return saturated32(divided(voiced << 16, plan.spectrum.frames) - plan.fraction_q16)


def _voice_gate_loops(plan: VoiceGatePlan) -> Loops:
    return {**_spectrum_loops(plan.spectrum), "log2": plan.spectrum.frames * (plan.end - plan.first)}


def _voice_gate_load_loops(plan: VoiceGatePlan) -> Loops:
    return loading(_spectrum_numbers(plan.spectrum))


def _voice_gate_message(plan: VoiceGatePlan) -> Message:
    words = [*_spectrum_words(plan.spectrum), plan.first, plan.end, plan.count_log2_q16]
    words += wide(plan.floor, plan.level_q16, plan.contrast_q16, plan.fraction_q16)
    return Message(words, _spectrum_arrays(plan.spectrum))


VOICE_GATE = DspOperator(
    plan=_plan_voice_gate,
    fits=_spectrum_fits,
    run=voice_gate,
    input_q=15,
    program="voice_gate",
    message=_voice_gate_message,
    output_shape=_one_number,
    loops=_voice_gate_loops,
    load_loops=_voice_gate_load_loops,
)


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
class MelBands:
    """Band b weighs the points from first[b] on, count[b] of them, with the next so many of `weights`, in one Q."""

    first: Ints
    count: Ints
    weights: Ints
    weights_q: int


def mel_bands(filters: np.ndarray) -> MelBands:
    """From the weights of all points, (points, bands)."""
    weights, weights_q = mantissas(filters)
    used = [np.flatnonzero(column) for column in weights.T]
    first = np.array([points[0] if len(points) else 0 for points in used], np.int64)
    count = np.array([points[-1] - points[0] + 1 if len(points) else 0 for points in used], np.int64)
    kept = [weights[f : f + c, b] for b, (f, c) in enumerate(zip(first, count, strict=True))]
    return MelBands(first, count, np.concatenate(kept), weights_q)


def band_energies(spectrum: Ints, first: Ints, count: Ints, weights: Ints) -> tuple[Ints, Ints]:
    """The weighed sums of a spectrum (frames, points), and by how many bits each is shifted: twice (frames, bands)."""
    energies = np.zeros((len(spectrum), len(first)), np.int64)
    bits = np.zeros_like(energies)
    at = 0
    for band, (start, size) in enumerate(zip(first, count, strict=True)):
        if size == 0:
            continue
        points = spectrum[:, start : start + size]
        # The band's greatest point gets 30 bits: its product with a weight then fits 45.
        bits[:, band] = np.maximum(bit_length(points.max(axis=1)) - 30, 0)
        energies[:, band] = (points >> bits[:, band, None]) @ weights[at : at + size]
        at += size
    return energies, bits


def _plan_log_mel(params: LogMelParameters, shapes: Sequence[Shape]) -> LogMelPlan:
    spectrum = _plan_spectrum(params, shapes)
    bands = mel_bands(tables.mel_filters(params))
    scaled_q = 2 * spectrum.q + bands.weights_q
    return LogMelPlan(
        spectrum=spectrum,
        bands=params.bands,
        first=bands.first,
        count=bands.count,
        weights=bands.weights,
        floor=min(round(params.floor / params.scale**2 * 2.0**scaled_q), LIMIT - 1),
        offset_q16=q16(2 * math.log2(params.scale)) - (scaled_q << 16),
    )


def log_mel(plan: LogMelPlan, inputs: Sequence[Ints]) -> Ints:
    """Natural logarithms of band energies, (frames, bands)."""
    energies, bits = band_energies(power(plan.spectrum, inputs[0]), plan.first, plan.count, plan.weights)
    logs = log2_q16(np.maximum(energies + (plan.floor >> bits), 1)) + (bits << 16) + plan.offset_q16
    return saturated32(ln_q16(logs))


def _log_mel_loops(plan: LogMelPlan) -> Loops:
    frames = plan.spectrum.frames
    return {**_spectrum_loops(plan.spectrum), "weight": frames * len(plan.weights), "band": frames * plan.bands}


def _log_mel_numbers(plan: LogMelPlan) -> int:
    return _spectrum_numbers(plan.spectrum) + len(plan.weights) + 4 * plan.bands


def _log_mel_load_loops(plan: LogMelPlan) -> Loops:
    return loading(_log_mel_numbers(plan))


def _log_mel_message(plan: LogMelPlan) -> Message:
    return Message(
        [*_spectrum_words(plan.spectrum), plan.bands, *wide(plan.floor, plan.offset_q16)],
        [*_spectrum_arrays(plan.spectrum), word(plan.first), word(plan.count), narrow(plan.weights)],
    )


def _log_mel_shape(plan: LogMelPlan, _inputs: Sequence[Ints]) -> Shape:
    return (plan.spectrum.frames, plan.bands)


LOG_MEL = DspOperator(
    plan=_plan_log_mel,
    fits=_spectrum_fits,
    run=log_mel,
    input_q=15,
    program="log_mel",
    message=_log_mel_message,
    output_shape=_log_mel_shape,
    loops=_log_mel_loops,
    load_loops=_log_mel_load_loops,
)


@dataclass(frozen=True, slots=True, eq=False)
class MfccPlan:
    """`transform` (bands, cepstra) of 16 bits in Q `transform_q`, the lifter included."""

    log_mel: LogMelPlan
    cepstra: int
    transform: Ints
    transform_q: int
    normalise_mean: bool
    deltas: bool


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


def _mfcc_loops(plan: MfccPlan) -> Loops:
    cepstra = plan.log_mel.spectrum.frames * plan.cepstra
    return {
        **_log_mel_loops(plan.log_mel),
        "product": cepstra * plan.log_mel.bands,
        "cepstrum": cepstra,
        "mean": cepstra * plan.normalise_mean,
        "division": plan.cepstra * plan.normalise_mean,
        "delta": cepstra * plan.deltas,
    }


def _mfcc_load_loops(plan: MfccPlan) -> Loops:
    return loading(_log_mel_numbers(plan.log_mel), plan.transform.size)


def _mfcc_message(plan: MfccPlan) -> Message:
    words, arrays = _log_mel_message(plan.log_mel)
    words = [*words, plan.cepstra, plan.transform_q, plan.normalise_mean, plan.deltas]
    return Message(words, [*arrays, narrow(plan.transform)])


def _mfcc_shape(plan: MfccPlan, _inputs: Sequence[Ints]) -> Shape:
    return (plan.log_mel.spectrum.frames, plan.cepstra * (3 if plan.deltas else 1))


MFCC = DspOperator(
    plan=_plan_mfcc,
    fits=_spectrum_fits,
    run=mfcc,
    input_q=15,
    program="mfcc",
    message=_mfcc_message,
    output_shape=_mfcc_shape,
    loops=_mfcc_loops,
    load_loops=_mfcc_load_loops,
)

OPERATORS = {"energy_gate": ENERGY_GATE, "voice_gate": VOICE_GATE, "log_mel": LOG_MEL, "mfcc": MFCC}

"""Sound: is it loud, does it hold a voice, and the features that classifiers read.

An array of `n` samples cut into frames of `frame_samples`, one every `hop_samples`, has
`1 + (n - frame_samples) // hop_samples` whole frames; what is left at the end is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import AboveZero, NoParameters, NotNegative, Operator, Shape, Work, shown, values
from leo_runtime.schema import Positive, Quantity, Value


class EnergyGateParameters(Value):
    """When a signal is loud enough."""

    threshold_dbfs: float
    """Decibels relative to full scale: a mean square of 1 is 0 dBFS, so that a full-scale sine is at -3.01 dBFS."""


def _energy_gate_shape(_params: EnergyGateParameters, _shapes: Sequence[Shape]) -> Shape:
    return (1,)


def _energy_gate_work(_params: EnergyGateParameters, shapes: Sequence[Shape]) -> Work:
    return Work(values(shapes[0]), 4 * values(shapes[0], (1,)))


ENERGY_GATE = Operator(
    name="energy_gate",
    summary="A silence filter: 10 log10(max(mean(x^2), 1e-10)) - threshold_dbfs, in decibels, over all samples of "
    "all channels. Output: (1,), above 0 where the signal is louder than the threshold.",
    parameters=EnergyGateParameters,
    output_shape=_energy_gate_shape,
    work=_energy_gate_work,
    is_gate=True,
)


class SpectrumParameters(Value):
    """How a signal becomes power spectra: frames, window, discrete Fourier transform."""

    sample_rate_hz: Positive = 16_000
    frame_samples: Positive = 400
    hop_samples: Positive = 160
    fft_samples: Positive = 512
    """Points of the transform, a power of two, at least `frame_samples`; a frame is filled up with zeros."""
    window: Literal["hann", "hamming"] = "hann"
    """Symmetric: `a - (1 - a) cos(2 pi i / (frame_samples - 1))` with a = 0.5 (hann) or 0.54 (hamming)."""
    preemphasis: NotNegative = 0.0
    """y[i] = x[i] - preemphasis * x[i - 1] over the whole signal, x[-1] = 0, before frames are cut."""
    scale: AboveZero = 1.0
    """Samples are multiplied by this first; 32768 gives the integers of 16-bit audio back."""


def frame_count(samples: int, frame_samples: int, hop_samples: int) -> int:
    """Whole frames in so many samples. Raises `GraphError` when there is none."""
    if samples < frame_samples:
        raise GraphError(f"{samples} samples are less than one frame of {frame_samples}")
    return 1 + (samples - frame_samples) // hop_samples


def _signal(shapes: Sequence[Shape], operator: str) -> int:
    if len(shapes[0]) != 1:
        raise GraphError(f"`{operator}` takes one channel, an array (samples,), got {shown(shapes[0])}")
    return shapes[0][0]


def _check_spectrum(params: SpectrumParameters) -> None:
    if params.fft_samples < params.frame_samples or params.fft_samples & (params.fft_samples - 1):
        raise GraphError(
            f"fft_samples must be a power of two and at least frame_samples ({params.frame_samples}), "
            f"got {params.fft_samples}"
        )
    if params.frame_samples < 2:
        raise GraphError("frame_samples must be at least 2, got 1")


def _spectrum_macs(params: SpectrumParameters, frames: int) -> int:
    """Window and power: 1 and 2 a point; a real transform of N points: about N log2 N."""
    points = params.fft_samples
    return frames * (params.frame_samples + points * (points.bit_length() - 1) + points)


class VoiceGateParameters(SpectrumParameters):
    """When a signal holds a voice."""

    low_hz: NotNegative = 300.0
    """The speech band: the transform's points from here on,"""
    high_hz: AboveZero = 3400.0
    """up to and including here."""
    threshold_dbfs: float = -50.0
    """A frame whose level in the speech band is not above this holds no voice."""
    threshold_contrast: AboveZero = 1.6
    """A frame whose spectral contrast is not above this holds no voice; white noise has 0.58 (Euler's constant)."""
    fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """The gate opens when more than this part of the frames holds a voice."""


def _voice_gate_shape(params: VoiceGateParameters, shapes: Sequence[Shape]) -> Shape:
    _check_spectrum(params)
    _check_band(params)
    step_hz = params.sample_rate_hz / params.fft_samples
    if math.floor(params.high_hz / step_hz) - math.ceil(params.low_hz / step_hz) < 1:
        raise GraphError(f"fewer than two points of the transform lie from {params.low_hz:g} to {params.high_hz:g} Hz")
    frame_count(_signal(shapes, "voice_gate"), params.frame_samples, params.hop_samples)
    return (1,)


def _voice_gate_work(params: VoiceGateParameters, shapes: Sequence[Shape]) -> Work:
    frames = frame_count(shapes[0][0], params.frame_samples, params.hop_samples)
    band = int((params.high_hz - params.low_hz) * params.fft_samples / params.sample_rate_hz)
    return Work(_spectrum_macs(params, frames) + 2 * frames * band, 4 * values(shapes[0], (1,)))


VOICE_GATE = Operator(
    name="voice_gate",
    summary="A voice detector. With p the power spectrum of a frame at the points of the speech band: its level "
    "is 10 log10(2 sum(p) / (fft_samples sum(w^2))) with w the window (the mean square the band had "
    "before the window), its contrast is ln(mean(p)) - mean(ln(p)), the logarithm of one over the "
    "spectral flatness (J. D. Johnston, IEEE JSAC 6(2), 1988): a voice's harmonics and formants stand "
    "out, noise is flat. Points of no more than 1e-12 of full scale count as 1e-12. A frame holds a voice "
    "when both are above their thresholds. Output: (1,), the part of frames that hold a voice, minus "
    "`fraction`; above 0 where there is a voice.",
    parameters=VoiceGateParameters,
    output_shape=_voice_gate_shape,
    work=_voice_gate_work,
    is_gate=True,
)


class LogMelParameters(SpectrumParameters):
    """Log energies of mel bands."""

    bands: Positive = 40
    low_hz: NotNegative = 20.0
    """Where the first band begins,"""
    high_hz: AboveZero = 7600.0
    """and where the last one ends; at most half the sample rate."""
    round_to_bins: bool = False
    """Whether the bands' corners are rounded to points of the transform, as Sphinx does (`-round_filters`)."""
    unit_area: bool = False
    """Whether each band's triangle is divided by half its width in Hz, as Sphinx does (`-unit_area`)."""
    floor: AboveZero = 1e-6
    """Added to a band's energy before its logarithm, in the units of `scale` squared."""


def _check_band(params: VoiceGateParameters | LogMelParameters) -> None:
    if not params.low_hz < params.high_hz <= params.sample_rate_hz / 2:
        raise GraphError(
            f"expected low_hz < high_hz <= {params.sample_rate_hz / 2:g} (half the sample rate), "
            f"got {params.low_hz:g} and {params.high_hz:g}"
        )


def _log_mel_shape(params: LogMelParameters, shapes: Sequence[Shape]) -> Shape:
    _check_spectrum(params)
    _check_band(params)
    frames = frame_count(_signal(shapes, "log_mel"), params.frame_samples, params.hop_samples)
    return (frames, params.bands)


def _log_mel_work(params: LogMelParameters, shapes: Sequence[Shape]) -> Work:
    frames = frame_count(shapes[0][0], params.frame_samples, params.hop_samples)
    # Neighbouring triangles overlap by half: each point of the transform counts in two bands.
    macs = _spectrum_macs(params, frames) + frames * (params.fft_samples + params.bands)
    return Work(macs, 4 * values(shapes[0], (frames, params.bands), (params.fft_samples,)))


LOG_MEL = Operator(
    name="log_mel",
    summary="ln(e + floor) of the energies e of mel bands. The power spectrum of a frame is |X[k]|^2, k = 0 to "
    "fft_samples / 2. `bands` triangles of height 1, whose corners lie evenly from low_hz to high_hz in "
    "mel, 2595 log10(1 + f / 700) (D. O'Shaughnessy, Speech Communication, 1987), each reaching from the "
    "peak of the one before to the peak of the one after, weigh the points by their frequency. Output: "
    "(frames, bands).",
    parameters=LogMelParameters,
    output_shape=_log_mel_shape,
    work=_log_mel_work,
)


class MfccParameters(LogMelParameters):
    """Mel-frequency cepstral coefficients.

    The front end of pocketsphinx's en-us model, but for its noise removal, is: frame_samples 410, hop_samples 160,
    fft_samples 512, window hamming, preemphasis 0.97, scale 32768, bands 25, low_hz 130, high_hz 6800,
    round_to_bins true, unit_area true, floor 1e-4, cepstra 13, lifter 22, deltas true, normalise_mean true.
    """

    cepstra: Positive = 13
    """The first so many coefficients of the cosine transform, the zeroth (the frame's level) included."""
    lifter: Quantity = 0
    """L > 0 multiplies coefficient i by 1 + L / 2 * sin(i pi / L)."""
    normalise_mean: bool = False
    """Whether each coefficient's mean over the window's frames is subtracted (before deltas are taken)."""
    deltas: bool = False
    """Whether first and second differences follow the coefficients, so that a row is 3 x `cepstra` wide."""


def _mfcc_shape(params: MfccParameters, shapes: Sequence[Shape]) -> Shape:
    _check_spectrum(params)
    _check_band(params)
    if params.cepstra > params.bands:
        raise GraphError(f"{params.cepstra} cepstra cannot come from {params.bands} bands")
    frames = frame_count(_signal(shapes, "mfcc"), params.frame_samples, params.hop_samples)
    return (frames, params.cepstra * (3 if params.deltas else 1))


def _mfcc_work(params: MfccParameters, shapes: Sequence[Shape]) -> Work:
    frames, width = _mfcc_shape(params, shapes)
    mel = _log_mel_work(params, shapes)
    macs = mel.macs + frames * (params.bands * params.cepstra + 3 * width)
    tables = (params.fft_samples + params.bands * params.cepstra,)
    return Work(macs, 4 * values(shapes[0], (frames, width), tables))


MFCC = Operator(
    name="mfcc",
    summary="The orthonormal cosine transform (DCT-II) of `log_mel`: c[i] = s[i] sum_j m[j] cos(pi i (j + 0.5) / "
    "bands), s[0] = sqrt(1 / bands), s[i] = sqrt(2 / bands) (Davis and Mermelstein, IEEE TASSP 28(4), "
    "1980), then the lifter, mean normalisation, and differences d[t] = c[t + 2] - c[t - 2], dd[t] = d[t "
    "+ 1] - d[t - 1] as Sphinx takes them (`-feat 1s_c_d_dd`), the first and last row standing for those "
    "beyond the window. Output: (frames, cepstra), or (frames, 3 cepstra) with deltas.",
    parameters=MfccParameters,
    output_shape=_mfcc_shape,
    work=_mfcc_work,
)


MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES, MICRO_BANDS = 480, 160, 40


def _micro_features_shape(_params: NoParameters, shapes: Sequence[Shape]) -> Shape:
    return (
        frame_count(_signal(shapes, "micro_features"), MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES),
        MICRO_BANDS,
    )


def _micro_features_work(params: NoParameters, shapes: Sequence[Shape]) -> Work:
    frames, bands = _micro_features_shape(params, shapes)
    return Work(frames * (MICRO_FRAME_SAMPLES + 512 * 9 + 512 + 512), 4 * values(shapes[0], (frames, bands)))


MICRO_FEATURES = Operator(
    name="micro_features",
    summary="The features that TensorFlow Lite Micro's audio front end computes and microWakeWord's models read: "
    "40 bands every 10 ms from 30 ms of 16 kHz audio, with its noise reduction and automatic gain started "
    "afresh for every window. They are what the package pymicro-features gives. Output: (frames, 40).",
    parameters=NoParameters,
    output_shape=_micro_features_shape,
    work=_micro_features_work,
    sample_rate_hz=16_000,
)


OPERATORS = (ENERGY_GATE, VOICE_GATE, LOG_MEL, MFCC, MICRO_FEATURES)

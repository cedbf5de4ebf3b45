"""The constant arrays that the operators' formulas speak of, in float64: every backend starts from the same ones."""

from __future__ import annotations

import math

import numpy as np

from leo_runtime.errors import KernelError
from leo_runtime.operators.motion import MotionFeaturesParameters
from leo_runtime.operators.sound import (
    LogMelParameters,
    MfccParameters,
    SpectrumParameters,
    VoiceGateParameters,
    feature_frames,
)

LEAST = float(np.finfo(np.float32).tiny)
"""A floor below this would be 0 in single precision, and 0 has no logarithm."""


def window(params: SpectrumParameters) -> np.ndarray:
    """The window's weights, (frame_samples,); `scale` is not in them."""
    is_periodic = isinstance(params, LogMelParameters) and params.periodic_window
    angles = 2 * np.pi * np.arange(params.frame_samples) / (params.frame_samples - (0 if is_periodic else 1))
    match params.window:
        case "rectangular":
            return np.ones(params.frame_samples)
        case "blackman":
            return 0.42 - 0.5 * np.cos(angles) + 0.08 * np.cos(2 * angles)
        case "povey":
            return np.asarray((0.5 - 0.5 * np.cos(angles)) ** 0.85)
    offset = 0.5 if params.window == "hann" else 0.54
    return offset - (1 - offset) * np.cos(angles)


BEYOND = {"whole": 0, "filled": 0, "centred_zeros": 0, "centred_reflected": 1, "mirrored": 2}
"""What stands beyond a signal, by `edges`: zeros, its samples in reverse order without the last one, or with it."""


def places(params: LogMelParameters, samples: int) -> int:
    """How many places of a signal frames reach, from the first one's first on."""
    return (feature_frames(params, samples) - 1) * params.hop_samples + params.frame_samples


def sources(first: int, count: int, samples: int, beyond: int) -> np.ndarray:
    """Which sample of a signal stands at each of `count` places from `first` on, (count,); -1: a zero."""
    at = first + np.arange(count)
    if beyond == 0:
        return np.where((at < 0) | (at >= samples), -1, at)
    last = 2 * (samples - 1) if beyond == 1 else 2 * samples - 1
    at %= 2 * (samples - 1) if beyond == 1 else 2 * samples
    return np.minimum(at, last - at)


def speech_band(params: VoiceGateParameters) -> tuple[int, int]:
    """The first point of the transform in the speech band, and the one after its last."""
    step_hz = params.sample_rate_hz / params.fft_samples
    return math.ceil(params.low_hz / step_hz), math.floor(params.high_hz / step_hz) + 1


def speech_level_scale(params: VoiceGateParameters) -> float:
    """What turns the sum of the speech band's power into a mean square: 2 / (fft_samples sum(w^2))."""
    return float(2 / (params.fft_samples * np.sum(window(params) ** 2)))


def mel_filters(params: LogMelParameters) -> np.ndarray:
    """The bands' weights, (fft_samples / 2 + 1, bands).

    Raises `KernelError` when rounding the corners leaves a band without width.
    """
    step_hz = params.sample_rate_hz / params.fft_samples
    to_mel, to_hz = _MEL[params.mel]
    corners_hz = to_hz(np.linspace(to_mel(params.low_hz), to_mel(params.high_hz), params.bands + 2))
    if params.round_to_bins == "down":
        corners_hz = np.floor((params.fft_samples + 1) * corners_hz / params.sample_rate_hz) * step_hz
    elif params.round_to_bins:
        corners_hz = np.floor(corners_hz / step_hz + 0.5) * step_hz
    if np.any(np.diff(corners_hz) <= 0):
        raise KernelError(
            f"{params.bands} mel bands are too narrow for the {step_hz:g} Hz between points of the transform",
            hint="use fewer bands, a larger fft_samples, or round_to_bins = false",
        )
    points_hz = np.arange(params.fft_samples // 2 + 1)[:, None] * step_hz
    corners, points = corners_hz, points_hz
    if params.triangles_in == "mel":
        corners, points = to_mel(corners_hz), to_mel(points_hz)
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    weights: np.ndarray = np.maximum(0, np.minimum((points - left) / (peak - left), (right - points) / (right - peak)))
    return weights * 2 / (corners_hz[2:] - corners_hz[:-2]) if params.unit_area else weights


def cosine_transform(params: MfccParameters) -> np.ndarray:
    """From log energies to cepstra, the lifter included: (bands, cepstra)."""
    i = params.first_cepstrum + np.arange(params.cepstra)
    angles = np.pi * np.outer(np.arange(params.bands) + 0.5, i) / params.bands
    first = 1 if params.dct == "orthonormal" else 2
    scale = np.where(i == 0, math.sqrt(first / params.bands), math.sqrt(2 / params.bands))
    lifter = 1 + params.lifter / 2 * np.sin(i * np.pi / params.lifter) if params.lifter else np.ones(len(i))
    return np.cos(angles) * scale * lifter


def log_scale(params: LogMelParameters) -> float:
    """What a natural logarithm is multiplied by, before `log_gain`."""
    return {"ln": 1.0, "log10": 1 / math.log(10), "decibels": 10 / math.log(10)}[params.log]


def regression(params: MfccParameters) -> np.ndarray:
    """The weights of the rows -W to W in a delta: (2 W + 1,)."""
    offsets = np.arange(-params.delta_window, params.delta_window + 1)
    return offsets / np.sum(offsets**2)


def motion_bands(params: MotionFeaturesParameters, samples: int) -> np.ndarray:
    """What each point's |X[k]|^2 adds to each band's energy: (samples // 2 + 1, bands)."""
    k = np.arange(samples // 2 + 1)
    frequency_hz = (k * params.sample_rate_hz / samples)[:, None]
    edges_hz = np.array(params.band_edges_hz)
    inside = (edges_hz[:-1] <= frequency_hz) & (frequency_hz < edges_hz[1:]) & (k > 0)[:, None]
    share = np.where(2 * k == samples, 1, 2) / samples**2
    return inside * share[:, None]


def _htk_mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    return np.asarray(2595 * np.log10(1 + np.asarray(frequency_hz) / 700))


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


_SLANEY_STEP = math.log(6.4) / 27


def _slaney_mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    hz = np.asarray(frequency_hz, np.float64)
    return np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1000) / 1000) / _SLANEY_STEP)


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * _SLANEY_STEP))


_MEL = {"htk": (_htk_mel, _htk_hz), "slaney": (_slaney_mel, _slaney_hz)}
"""To mel and back to Hz."""

"""The constant arrays that the operators' formulas speak of, in float64: every backend starts from the same ones."""

from __future__ import annotations

import math

import numpy as np

from leo_runtime.errors import KernelError
from leo_runtime.operators.motion import MotionFeaturesParameters
from leo_runtime.operators.sound import LogMelParameters, MfccParameters, SpectrumParameters, VoiceGateParameters


def window(params: SpectrumParameters) -> np.ndarray:
    """The window's weights, (frame_samples,); `scale` is not in them."""
    offset = 0.5 if params.window == "hann" else 0.54
    angles = 2 * np.pi * np.arange(params.frame_samples) / (params.frame_samples - 1)
    return offset - (1 - offset) * np.cos(angles)


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
    corners_mel = np.linspace(_mel(params.low_hz), _mel(params.high_hz), params.bands + 2)
    corners_hz = 700 * (10 ** (corners_mel / 2595) - 1)
    if params.round_to_bins:
        corners_hz = np.floor(corners_hz / step_hz + 0.5) * step_hz
    if np.any(np.diff(corners_hz) <= 0):
        raise KernelError(
            f"{params.bands} mel bands are too narrow for the {step_hz:g} Hz between points of the transform",
            hint="use fewer bands, a larger fft_samples, or round_to_bins = false",
        )
    left, peak, right = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    points_hz = np.arange(params.fft_samples // 2 + 1)[:, None] * step_hz
    weights = np.maximum(0, np.minimum((points_hz - left) / (peak - left), (right - points_hz) / (right - peak)))
    return weights * 2 / (right - left) if params.unit_area else weights


def cosine_transform(params: MfccParameters) -> np.ndarray:
    """From log energies to cepstra, the lifter included: (bands, cepstra)."""
    i = np.arange(params.cepstra)
    angles = np.pi * np.outer(np.arange(params.bands) + 0.5, i) / params.bands
    scale = np.where(i == 0, math.sqrt(1 / params.bands), math.sqrt(2 / params.bands))
    lifter = 1 + params.lifter / 2 * np.sin(i * np.pi / params.lifter) if params.lifter else np.ones(len(i))
    return np.cos(angles) * scale * lifter


def motion_bands(params: MotionFeaturesParameters, samples: int) -> np.ndarray:
    """What each point's |X[k]|^2 adds to each band's energy: (samples // 2 + 1, bands)."""
    k = np.arange(samples // 2 + 1)
    frequency_hz = (k * params.sample_rate_hz / samples)[:, None]
    edges_hz = np.array(params.band_edges_hz)
    inside = (edges_hz[:-1] <= frequency_hz) & (frequency_hz < edges_hz[1:]) & (k > 0)[:, None]
    share = np.where(2 * k == samples, 1, 2) / samples**2
    return inside * share[:, None]


def _mel(frequency_hz: float) -> float:
    return 2595 * math.log10(1 + frequency_hz / 700)

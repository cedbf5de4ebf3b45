"""Front ends of the field as tables of the parameters of `log_mel` and `mfcc`: what `like` stands for, nothing more.

A value may be a function of the parameters that are settled before it, since most programs are told lengths in
milliseconds, and end their bands at half the sample rate. What each row was held to is in docs/front-ends.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Settled = Mapping[str, Any]
Preset = Mapping[str, Any]
"""Parameters by name, and functions that give them from those before."""

FLOAT_EPSILON = 2.0**-23
DOUBLE_EPSILON = 2.0**-52
SIXTEEN_BITS = 32768.0


def _milliseconds(count: int) -> Callable[[Settled], int]:
    return lambda settled: int(settled["sample_rate_hz"]) * count // 1000


def _rounded_milliseconds(count: int) -> Callable[[Settled], int]:
    return lambda settled: (int(settled["sample_rate_hz"]) * count + 500) // 1000


def _half_the_rate(settled: Settled) -> float:
    return float(settled["sample_rate_hz"] / 2)


def _power_of_two(settled: Settled) -> int:
    return 1 << max(1, int(settled["frame_samples"]) - 1).bit_length()


_SPEECH = {"frame_samples": _milliseconds(25), "hop_samples": _milliseconds(10), "fft_samples": _power_of_two}

LOG_MEL: Mapping[str, Preset] = {
    "htk": {
        **_SPEECH,
        "window": "hamming",
        "preemphasis": 0.97,
        "preemphasis_in": "frame",
        "scale": SIXTEEN_BITS,
        "bands": 23,
        "low_hz": 0.0,
        "high_hz": _half_the_rate,
        "triangles_in": "mel",
        "floor": 1.0,
        "floor_by": "clipping",
    },
    "kaldi": {
        **_SPEECH,
        "window": "povey",
        "remove_mean": True,
        "preemphasis": 0.97,
        "preemphasis_in": "frame",
        "scale": SIXTEEN_BITS,
        "bands": 23,
        "low_hz": 20.0,
        "high_hz": _half_the_rate,
        "triangles_in": "mel",
        "floor": FLOAT_EPSILON,
        "floor_by": "clipping",
    },
    "librosa": {
        "frame_samples": 2048,
        "hop_samples": 512,
        "fft_samples": 2048,
        "periodic_window": True,
        "edges": "centred_zeros",
        "bands": 128,
        "low_hz": 0.0,
        "high_hz": _half_the_rate,
        "mel": "slaney",
        "unit_area": True,
        "floor": 1e-10,
        "floor_by": "clipping",
        "log": "decibels",
        "log_range": 80.0,
    },
    "python_speech_features": {
        "frame_samples": _rounded_milliseconds(25),
        "hop_samples": _rounded_milliseconds(10),
        "fft_samples": 512,
        "window": "rectangular",
        "edges": "filled",
        "preemphasis": 0.97,
        "scale": SIXTEEN_BITS,
        "spectrum": "periodogram",
        "bands": 26,
        "low_hz": 0.0,
        "high_hz": _half_the_rate,
        "round_to_bins": "down",
        "floor": DOUBLE_EPSILON,
        "floor_by": "clipping",
    },
    "sphinx": {
        "frame_samples": 410,
        "hop_samples": 160,
        "fft_samples": 512,
        "window": "hamming",
        "preemphasis": 0.97,
        "scale": SIXTEEN_BITS,
        "bands": 25,
        "low_hz": 130.0,
        "high_hz": 6800.0,
        "round_to_bins": True,
        "unit_area": True,
        "floor": 1e-4,
    },
    "torchaudio": {
        "frame_samples": 400,
        "hop_samples": 200,
        "fft_samples": 400,
        "periodic_window": True,
        "edges": "centred_reflected",
        "bands": 128,
        "low_hz": 0.0,
        "high_hz": _half_the_rate,
        "floor": 1e-10,
        "floor_by": "clipping",
        "log": "decibels",
    },
    "whisper": {
        "frame_samples": 400,
        "hop_samples": 160,
        "fft_samples": 400,
        "periodic_window": True,
        "edges": "centred_reflected",
        "drop_last_frame": True,
        "bands": 80,
        "low_hz": 0.0,
        "high_hz": 8000.0,
        "mel": "slaney",
        "unit_area": True,
        "floor": 1e-10,
        "floor_by": "clipping",
        "log": "log10",
        "log_range": 8.0,
        "log_gain": 0.25,
        "log_offset": 1.0,
    },
}
"""Presets of `log_mel`, by name."""

MFCC: Mapping[str, Preset] = {
    "htk": {**LOG_MEL["htk"], "cepstra": 12, "first_cepstrum": 1, "dct": "htk", "lifter": 22, "delta_window": 2},
    "kaldi": {
        **LOG_MEL["kaldi"],
        "cepstra": 13,
        "lifter": 22,
        "energy": "raw",
        "energy_floor": FLOAT_EPSILON,
        "delta_window": 2,
    },
    "librosa": {**LOG_MEL["librosa"], "cepstra": 20, "delta_window": 4},
    "python_speech_features": {
        **LOG_MEL["python_speech_features"],
        "cepstra": 13,
        "lifter": 22,
        "energy": "spectrum",
        "energy_floor": DOUBLE_EPSILON,
        "delta_window": 2,
    },
    "sphinx": {**LOG_MEL["sphinx"], "cepstra": 13, "lifter": 22, "normalise_mean": True, "deltas": True},
    "torchaudio": {**LOG_MEL["torchaudio"], "cepstra": 40, "log_range": 80.0, "delta_window": 2},
}
"""Presets of `mfcc`, by name: those of its bands, and what it has besides."""


def expanded(given: Any, presets: Mapping[str, Preset]) -> Any:
    """Parameters with a preset's in the place of `like`; those that are given go before them.

    Whatever is no dictionary with a preset's name in it is given back as it is, for the model to refuse.
    """
    if not isinstance(given, Mapping) or not isinstance(given.get("like"), str) or given["like"] not in presets:
        return given
    settled: dict[str, Any] = {"sample_rate_hz": 16_000, **given}
    if not _is_count(settled["sample_rate_hz"]) or not _is_count(settled.get("frame_samples", 1)):
        return given
    for name, value in presets[settled.pop("like")].items():
        settled.setdefault(name, value(settled) if callable(value) else value)
    return settled


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0

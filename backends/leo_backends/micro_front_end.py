"""The audio front end of TensorFlow Lite Micro in numpy, whose state is an array: what anyone can keep, copy and move.

Step by step the integer arithmetic of `tensorflow/lite/experimental/microfrontend` (Apache-2.0) and of KISS FFT in 16
bits (BSD-3-Clause), with the settings of the package pymicro-features, whose features it gives bit for bit.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from leo_runtime.operators.sound import MICRO_BANDS, MICRO_FRAME_SAMPLES

_POINTS, _RATE_HZ = 512, 16_000
_WINDOW_BITS, _WEIGHT_BITS, _NOISE_BITS, _ESTIMATE_BITS = 12, 12, 14, 10
_LOW_HZ, _HIGH_HZ = 125.0, 7500.0
_GAIN_BITS, _STRENGTH, _OFFSET = 21, 0.95, 80.0
_SMOOTHING = np.where(np.arange(MICRO_BANDS) % 2, int(0.06 * 2**_NOISE_BITS), int(0.025 * 2**_NOISE_BITS))
_SNR_BITS, _SHRUNK_BITS = 12, 6
_CORRECTION_BITS = 3
"""What the transform's size and the weights' Q leave to be made up for: log2(512) - 12 / 2."""
_FEATURE_SCALE = np.float32(0.0390625)

_SINGLE = np.float32
"""The package's tables are computed in single precision, which a few of their numbers show."""

Ints = np.ndarray
"""Integers as int64: none that the arithmetic needs is wider than 53 bits."""


def first_estimate() -> np.ndarray:
    """What the noise reduction and the gain keep, before the first frame: (bands,), uint32."""
    return np.zeros(MICRO_BANDS, np.uint32)


def features(frames: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features of frames that follow each other, (frames, bands) float32, and the noise estimate behind them.

    `frames` are (frames, 480) of int16, one every 160 samples; `estimate` is what the frames before them left.
    """
    bands = _bands(frames.astype(np.int32))
    ups = (bands << _ESTIMATE_BITS) & 0xFFFFFFFF
    new, rest = ups * _SMOOTHING, (1 << _NOISE_BITS) - _SMOOTHING
    noise, noises = estimate.astype(np.int64), np.empty_like(ups)
    for number, share in enumerate(new):
        noise = (share + noise * rest) >> _NOISE_BITS
        noises[number] = noise
    quietened = (ups - np.minimum(noises, ups)) >> _ESTIMATE_BITS
    quietened = np.maximum(quietened, (bands * int(0.05 * 2**_NOISE_BITS)) >> _NOISE_BITS)
    ratio = ((quietened * _gains(noises)) >> (_GAIN_BITS - _CORRECTION_BITS - _SNR_BITS)) & 0xFFFFFFFF
    logs = _logarithms((_shrunk(ratio) << _CORRECTION_BITS) & 0xFFFFFFFF)
    return logs.astype(np.float32) * _FEATURE_SCALE, noise.astype(np.uint32)


def _bands(frames: Ints) -> Ints:
    """The square roots of the energies of mel bands: (frames, bands)."""
    windowed = ((frames * _WINDOW) >> _WINDOW_BITS).astype(np.int16)
    # In 16 bits the opposite of -32768 is -32768.
    greatest = np.abs(windowed).max(axis=1, initial=0)
    shift = 15 - _bit_length(greatest)
    padded = np.zeros((len(frames), _POINTS), np.int16)
    padded[:, :MICRO_FRAME_SAMPLES] = windowed << shift[:, None].astype(np.int16)
    real, imaginary = _real_transform(padded)
    energies = (real * real + imaginary * imaginary).astype(np.float64)
    bands: Ints = _root((energies @ _WEIGHTS).astype(np.int64)) >> shift[:, None]
    return bands


def _window() -> Ints:
    angles = _SINGLE(math.pi * 2 / MICRO_FRAME_SAMPLES) * (np.arange(MICRO_FRAME_SAMPLES, dtype=_SINGLE) + _SINGLE(0.5))
    halves = np.cos(angles.astype(np.float64)).astype(_SINGLE) * _SINGLE(0.5)
    weights: Ints = np.floor((_SINGLE(0.5) - halves) * _SINGLE(2**_WINDOW_BITS) + _SINGLE(0.5)).astype(np.int32)
    return weights


_WINDOW = _window()


def _mel(frequency_hz: float) -> np.float32:
    return _SINGLE(_SINGLE(1127) * np.log1p(_SINGLE(frequency_hz) / _SINGLE(700)))


def _weights() -> np.ndarray:
    """What each point of the spectrum adds to each band: (points, bands)."""
    step_hz = _RATE_HZ / _POINTS
    low, spacing = _mel(_LOW_HZ), (_mel(_HIGH_HZ) - _mel(_LOW_HZ)) / _SINGLE(MICRO_BANDS + 1)
    centres = [low + spacing * _SINGLE(channel + 1) for channel in range(MICRO_BANDS + 1)]
    weights = np.zeros((_POINTS // 2 + 1, MICRO_BANDS + 2))
    point = int(1.5 + _LOW_HZ / step_hz)
    for channel, (before, centre) in enumerate(pairwise([low, *centres])):
        while (mel := _mel(point * step_hz)) <= centre:
            weight = (centre - mel) / (centre - before)
            weights[point, channel] = np.floor(weight * _SINGLE(2**_WEIGHT_BITS) + _SINGLE(0.5))
            weights[point, channel + 1] = np.floor((_SINGLE(1) - weight) * _SINGLE(2**_WEIGHT_BITS) + _SINGLE(0.5))
            point += 1
    # Below the first centre, and above the last, half a triangle each: of neither is there a band.
    # Sums of energies that they weigh are below 2^53, so that products in double precision are exact.
    return weights[:, 1:-1]


_WEIGHTS = _weights()


_HALF = _POINTS // 2

Complex = tuple[np.ndarray, np.ndarray]
"""Real and imaginary parts: int16 between the steps of the transform, which wrap as theirs do, int32 within one."""


def _turns(phases: np.ndarray) -> Complex:
    cosines, sines = (np.floor(0.5 + 32767 * part(phases)).astype(np.int32) for part in (np.cos, np.sin))
    return cosines, sines


_OF_HALF = _turns(-2 * math.pi * np.arange(_HALF) / _HALF)
_OF_WHOLE = _turns(-math.pi * (np.arange(1, _HALF // 2 + 1) / _HALF + 0.5))


def _rounded(products: np.ndarray) -> np.ndarray:
    products += 1 << 14
    products >>= 15
    return products


def _divided(values: np.ndarray, by: int) -> np.ndarray:
    # Said of the product: numpy 1 gives that of an array and one number the array's type.
    return _rounded(np.multiply(values, 32767 // by, dtype=np.int32))


def _turned(real: np.ndarray, imaginary: np.ndarray, by: Complex) -> Complex:
    cosines, sines = by
    return _rounded(real * cosines - imaginary * sines), _rounded(real * sines + imaginary * cosines)


def _real_transform(signal: np.ndarray) -> Complex:
    """The points 0 to 256 of rows of 512 samples in int16, each a 512th of the sum: int32, (rows, 257)."""
    real, imaginary = _transform(signal[:, 0::2], signal[:, 1::2])
    near = slice(1, _HALF // 2 + 1)
    far = slice(_HALF - 1, _HALF // 2 - 1, -1)
    near_r, near_i = _divided(real[:, near], 2), _divided(imaginary[:, near], 2)
    far_r, far_i = _divided(real[:, far], 2), _divided(-imaginary[:, far], 2)
    turned_r, turned_i = _turned(near_r - far_r, near_i - far_i, _OF_WHOLE)
    points_r, points_i = np.zeros((2, len(signal), _HALF + 1), np.int32)
    first_r, first_i = _divided(real[:, 0], 2), _divided(imaginary[:, 0], 2)
    points_r[:, 0], points_r[:, _HALF] = first_r + first_i, first_r - first_i
    sum_r, sum_i = near_r + far_r, near_i + far_i
    points_r[:, near], points_i[:, near] = (sum_r + turned_r) >> 1, (sum_i + turned_i) >> 1
    points_r[:, far], points_i[:, far] = (sum_r - turned_r) >> 1, (turned_i - sum_i) >> 1
    return points_r, points_i


def _transform(real: np.ndarray, imaginary: np.ndarray) -> Complex:
    """Radix 4, decimation in time, each pass divided by 4: int16, (rows, points) twice."""
    rows, points = real.shape
    if points == 1:
        return real, imaginary
    part = points // 4
    # All four parts at once, as more rows: part i has every fourth point from i on.
    split = (x.reshape(rows, part, 4).transpose(0, 2, 1).reshape(rows * 4, part) for x in (real, imaginary))
    real, imaginary = (_divided(x.reshape(rows, 4, part), 4) for x in _transform(*split))
    at = np.arange(1, 4)[:, None] * np.arange(part) * (_HALF // points)
    turned_r, turned_i = _turned(real[:, 1:], imaginary[:, 1:], (_OF_HALF[0][at], _OF_HALF[1][at]))
    zero_r, zero_i = real[:, 0], imaginary[:, 0]
    one_r, two_r, three_r = turned_r[:, 0], turned_r[:, 1], turned_r[:, 2]
    one_i, two_i, three_i = turned_i[:, 0], turned_i[:, 1], turned_i[:, 2]
    out_r, out_i = np.empty((2, rows, 4, part), np.int16)
    even_r, even_i, odd_r, odd_i = zero_r + two_r, zero_i + two_i, zero_r - two_r, zero_i - two_i
    sum_r, sum_i, less_r, less_i = one_r + three_r, one_i + three_i, one_r - three_r, one_i - three_i
    out_r[:, 0], out_r[:, 1], out_r[:, 2], out_r[:, 3] = even_r + sum_r, odd_r + less_i, even_r - sum_r, odd_r - less_i
    out_i[:, 0], out_i[:, 1], out_i[:, 2], out_i[:, 3] = even_i + sum_i, odd_i - less_r, even_i - sum_i, odd_i + less_r
    return out_r.reshape(rows, points), out_i.reshape(rows, points)


def _root(values: Ints) -> Ints:
    """The square root, rounded to the nearest; of 32 bits it has 16."""
    roots = np.floor(np.sqrt(values.astype(np.float64))).astype(np.int64)
    up = (values - roots * roots > roots) & ((values >> 32 > 0) | (roots != 0xFFFF))
    nearest: Ints = roots + up
    return nearest


def _bit_length(values: Ints) -> Ints:
    lengths: Ints = np.frexp(np.maximum(values, 0).astype(np.float64))[1].astype(np.int64)
    return lengths


def _gain(estimate: float) -> int:
    value = 2.0**_GAIN_BITS * (estimate / 2 ** (_ESTIMATE_BITS - _CORRECTION_BITS) + _OFFSET) ** -_STRENGTH
    return 0x7FFF if value > 0x7FFF else int(value + 0.5)


def _gain_table() -> Ints:
    """For each number of bits a parabola: its value where they begin, its slope, its bend; and 0 to 2 themselves."""
    table = np.zeros((33, 3), np.int64)
    table[0, 0], table[1, 0] = _gain(0), _gain(1)
    for bits in range(2, 33):
        begin = 1 << (bits - 1)
        end = begin + (begin - 1) if bits == 32 else 2 * begin
        value, middle, last = _gain(begin), _gain(begin + (begin >> 1)), _gain(end)
        slope = 4 * (middle - value) - (last - value)
        table[bits] = value, slope, last - value - slope
    return table


_GAINS = _gain_table()


def _gains(estimates: Ints) -> Ints:
    bits = _bit_length(estimates)
    fraction = np.where(bits < 11, estimates << np.maximum(11 - bits, 0), estimates >> np.maximum(bits - 11, 0)) & 0x3FF
    value, slope, bend = np.moveaxis(_GAINS[bits], -1, 0)
    curve = (((((bend * fraction) >> 5) + (slope << 5)) * fraction) + (1 << 14)) >> 15
    gains: Ints = value + np.where(estimates <= 2, 0, curve)
    return gains


def _shrunk(ratio: Ints) -> Ints:
    squared = (ratio * ratio) >> (2 + 2 * _SNR_BITS - _SHRUNK_BITS)
    return np.where(ratio < 2 << _SNR_BITS, squared, (ratio >> (_SNR_BITS - _SHRUNK_BITS)) - (1 << _SHRUNK_BITS))


_SEGMENTS = np.arange(129) / 128
_BENDS = np.floor(65536 * (np.log2(1 + _SEGMENTS) - _SEGMENTS) + 0.5).astype(np.int64)
"""How far log2 lies above a straight line, at 128 places of an octave."""


def _logarithms(values: Ints) -> Ints:
    """64 times the natural logarithm, at most 65535; of 0 and 1: 0."""
    whole = np.maximum(_bit_length(values) - 1, 0)
    rest = values - (1 << whole)
    fraction = np.where(whole < 16, rest << np.maximum(16 - whole, 0), rest >> np.maximum(whole - 16, 0))
    segment = np.clip(fraction >> 9, 0, 127)
    bend = _BENDS[segment] + (((_BENDS[segment + 1] - _BENDS[segment]) * (fraction - (segment << 9))) >> 16)
    natural = (45426 * ((whole << 16) + fraction + bend) + 32768) >> 16
    return np.where(values > 1, np.minimum(((natural << 6) + 32768) >> 16, 0xFFFF), 0)

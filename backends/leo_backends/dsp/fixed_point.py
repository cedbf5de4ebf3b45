"""The DSP's arithmetic: integers, shifts that round, saturation, and four tables.

Everything here is exact integer arithmetic on int64 arrays, so that another implementation can be equal bit for bit.
A number "in Qn" is an integer that stands for itself divided by 2^n. `docs/dsp.md` says the same in words.
"""

from __future__ import annotations

import math

import numpy as np

Ints = np.ndarray
"""An array of integers."""

LN2_Q31 = round(math.log(2) * 2**31)
LOG2E_Q14 = round(math.log2(math.e) * 2**14)

LOG2_TABLE: Ints = np.array([round(math.log2(1 + i / 256) * 2**16) for i in range(257)], np.int64)
"""log2(1 + i / 256) in Q16."""

EXP2_TABLE: Ints = np.array([round(2 ** (-i / 256) * 2**30) for i in range(257)], np.int64)
"""2^(-i / 256) in Q30."""

TANH_TABLE: Ints = np.array([min(round(math.tanh(i / 64) * 2**15), 32767) for i in range(513)], np.int64)
"""tanh(i / 64) in Q15, up to 8."""


def saturated16(x: Ints) -> Ints:
    """The nearest values of 16 bits, still as int64."""
    kept: Ints = np.clip(x, -(1 << 15), (1 << 15) - 1)
    return kept


def saturated32(x: Ints) -> Ints:
    """The nearest values of 32 bits, still as int64."""
    kept: Ints = np.clip(x, -(1 << 31), (1 << 31) - 1)
    return kept


def shifted(x: Ints, bits: int | Ints) -> Ints:
    """x / 2^bits, halves rounded up: (x + 2^(bits - 1)) >> bits. For negative `bits`, x << -bits. Above 62 is as 62."""
    bits = np.minimum(np.asarray(bits, np.int64), 62)
    right, left = np.maximum(bits, 0), np.maximum(-bits, 0)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    moved: Ints = ((np.asarray(x, np.int64) << left) + half) >> right
    return moved


def narrowed(x: Ints, bits: int | Ints) -> Ints:
    """`saturated32(shifted(x, bits))` as if nothing overflowed between, however far to the left it goes."""
    left = np.minimum(np.maximum(-np.asarray(bits, np.int64), 0), 31)
    return saturated32(np.where(left > 0, saturated32(x) << left, shifted(x, np.maximum(bits, 0))))


def divided(x: Ints, divisor: int | Ints) -> Ints:
    """x / divisor for a divisor above 0, halves rounded away from 0: sign(x) * ((|x| + divisor // 2) // divisor)."""
    quotient: Ints = np.sign(x) * ((np.abs(x) + np.asarray(divisor) // 2) // divisor)
    return quotient


def bit_length(x: Ints) -> Ints:
    """How many bits x >= 0 has: 0 for 0, and n + 1 for 2^n to 2^(n + 1) - 1."""
    high = x >> 31
    part = np.where(high > 0, high, x).astype(np.float64)  # 32 bits at most, which a float64 holds exactly.
    bits: Ints = np.frexp(part)[1].astype(np.int64) + np.where(high > 0, 31, 0)
    return bits


def log2_q16(x: Ints) -> Ints:
    """log2 of x >= 1, in Q16: the table at the 8 bits after the leading one, the next 16 bits between its entries."""
    exponent = bit_length(x) - 1
    mantissa = np.where(exponent > 30, x >> np.maximum(exponent - 30, 0), x << np.maximum(30 - exponent, 0))
    entry, rest = (mantissa >> 22) & 255, (mantissa >> 6) & 0xFFFF
    low = LOG2_TABLE[entry]
    logs: Ints = (exponent << 16) + low + (((LOG2_TABLE[entry + 1] - low) * rest) >> 16)
    return logs


def exp2_q30(x: Ints) -> Ints:
    """2^-x for x >= 0 in Q16, in Q30; 0 where x >= 31."""
    whole = np.minimum(x >> 16, 31)
    entry, rest = (x >> 8) & 255, x & 255
    high = EXP2_TABLE[entry]
    powers: Ints = (high - (((high - EXP2_TABLE[entry + 1]) * rest) >> 8)) >> whole
    return np.where(whole >= 31, 0, powers)


def ln_q16(log2: Ints) -> Ints:
    """From log2 to natural logarithm, both in Q16."""
    return shifted(log2 * LN2_Q31, 31)


def tanh_q15(x: Ints) -> Ints:
    """tanh of x in Q12, in Q15."""
    size = np.minimum(np.abs(x), (8 << 12) - 1)
    entry, rest = size >> 6, size & 63
    low = TANH_TABLE[entry]
    value: Ints = np.sign(x) * (low + (((TANH_TABLE[entry + 1] - low) * rest) >> 6))
    return value


def sigmoid_q15(x: Ints) -> Ints:
    """1 / (1 + exp(-x)) of x in Q12, in Q15: (1 + tanh(x / 2)) / 2."""
    return (tanh_q15(shifted(x, 1)) + (1 << 15)) >> 1


BLOCK_Q_MAX = 24


def block(x: Ints, q: int | Ints) -> tuple[Ints, Ints]:
    """Each row of x (rows, values), in Q q, as 16 bits and the row's own Q: (values, q of each row).

    The row is shifted right just so far that its greatest magnitude has 15 bits, and at least to Q 24.
    """
    q = np.broadcast_to(np.asarray(q, np.int64), x.shape[:1])
    bits = np.maximum(np.maximum(bit_length(np.abs(x).max(axis=1)) - 15, 0), q - BLOCK_Q_MAX)
    return saturated16(shifted(x, bits[:, None])), q - bits


def product(a: Ints, b: Ints) -> Ints:
    """The exact matrix product of integers that stays below 2^53: float64 computes it, and is fast."""
    result: Ints = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    return result


def softmax_q16(x: Ints) -> Ints:
    """Shares of exp(x) in each row of x (rows, values) in Q16, in Q16."""
    below = shifted((x.max(axis=1, keepdims=True) - x) * LOG2E_Q14, 14)
    powers = exp2_q30(below)
    return divided(powers << 16, powers.sum(axis=1, keepdims=True))


def to_q(x: np.ndarray, q: int) -> Ints:
    """Real numbers to the nearest integers in Q q, halves up, not yet saturated to fewer than 62 bits; NaN is 0."""
    # Beyond 2^61 a float has no fraction to round and int64 no room: what follows saturates to 16 or 32 bits anyway.
    kept = np.clip(np.nan_to_num(np.asarray(x, np.float64)), -(2.0 ** (61 - q)), 2.0 ** (61 - q))
    return np.floor(kept * 2.0**q + 0.5).astype(np.int64)


def to_q15(x: np.ndarray) -> Ints:
    """A signal in [-1, 1) as the 16 bits it is sampled with; what is beyond saturates."""
    return saturated16(to_q(x, 15))


def to_q16(x: np.ndarray) -> Ints:
    """Any other values, as 32 bits in Q16; what is beyond 32768 saturates."""
    return saturated32(to_q(x, 16))


def mantissas(x: np.ndarray, q_max: int = 30) -> tuple[Ints, int]:
    """Constants as 16 bits and one Q for all: the greatest Q of 0 to `q_max` in which none saturates."""
    greatest = float(np.abs(x).max(initial=0.0))
    q = q_max
    while q > 0 and math.floor(greatest * 2.0**q + 0.5) > 32767:
        q -= 1
    return saturated16(to_q(x, q)), q


def twiddles(points: int) -> Ints:
    """cos and -sin of 2 pi k / points for k = 0 to points / 2, in Q14: (points / 2 + 1, 2)."""
    angles = 2 * np.pi * np.arange(points // 2 + 1) / points
    return to_q(np.stack([np.cos(angles), -np.sin(angles)], axis=1), 14)


def bit_reversed(points: int) -> Ints:
    """Where each point of a transform of `points` goes first: its index with the bits in reverse order."""
    bits = points.bit_length() - 1
    return np.array([int(f"{i:0{bits}b}"[::-1], 2) if bits else 0 for i in range(points)], np.int64)


def real_transform(x: Ints, factors: Ints) -> tuple[Ints, Ints]:
    """The Fourier transform of real rows x (rows, N), N a power of two from 4 on: real and imaginary (rows, N / 2 + 1).

    `factors` is `twiddles(N)`. Two neighbours make one complex point; N / 2 of these are transformed in place, radix
    2, decimation in time, without scaling; then the two interleaved spectra are taken apart. Where N |x| <= 2^30,
    every value between fits 32 bits.
    """
    half = x.shape[1] // 2
    order = bit_reversed(half)
    real, imaginary = x[:, 0::2][:, order], x[:, 1::2][:, order]
    size = 1
    while size < half:
        shape = (len(x), half // (2 * size), 2, size)
        r, i = real.reshape(shape), imaginary.reshape(shape)
        cos, sin = factors[: half : half // size].T
        turned_r = shifted(r[:, :, 1] * cos - i[:, :, 1] * sin, 14)
        turned_i = shifted(r[:, :, 1] * sin + i[:, :, 1] * cos, 14)
        real = np.stack([r[:, :, 0] + turned_r, r[:, :, 0] - turned_r], axis=2).reshape(len(x), half)
        imaginary = np.stack([i[:, :, 0] + turned_i, i[:, :, 0] - turned_i], axis=2).reshape(len(x), half)
        size *= 2
    here = np.arange(half + 1) % half
    there = (half - np.arange(half + 1)) % half
    even_r, even_i = real[:, here] + real[:, there], imaginary[:, here] - imaginary[:, there]
    odd_r, odd_i = real[:, here] - real[:, there], imaginary[:, here] + imaginary[:, there]
    cos, sin = factors.T
    return (
        shifted((even_r << 14) + odd_r * sin + odd_i * cos, 15),
        shifted((even_i << 14) - odd_r * cos + odd_i * sin, 15),
    )

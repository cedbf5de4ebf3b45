"""Axes: round numbers on them, and how times are written."""

from __future__ import annotations

import math


def ticks(until: float, most: int = 8) -> tuple[float, ...]:
    """Round numbers from 0 to `until`, at most `most` + 1 of them, 1, 2 or 5 times a power of ten apart."""
    if not (until > 0 and math.isfinite(until)):
        return (0.0,)
    apart = step(until / most)
    return tuple(apart * k for k in range(math.floor(until / apart + 1e-9) + 1))


def step(least: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below `least`, which is above 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def span_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round numbers from `low` to `high`, about `most`."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return (low,)
    apart = step((high - low) / most)
    first = math.ceil(low / apart - 1e-9)
    return tuple(apart * k for k in range(first, math.floor(high / apart + 1e-9) + 1))


def milliseconds(us: float) -> str:
    """A time in ms without its unit: to a microsecond below ten, else to a hundredth."""
    value = us / 1000
    decimals = 3 if abs(value) < 10 else 2 if abs(value) < 1000 else 1
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(us: float) -> str:
    """A time in s without its unit."""
    return f"{us / 1e6:,.3f}".rstrip("0").rstrip(".")

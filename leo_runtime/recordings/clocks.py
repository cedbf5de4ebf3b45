"""Times as loggers write them: their unit, and whether they count from 1970."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

TimeUnit = Literal["s", "ms", "us", "ns"]
_PER_US: dict[TimeUnit, tuple[int, int]] = {"s": (1_000_000, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}
"""A unit in us, as a fraction."""
_EPOCHS: tuple[tuple[TimeUnit, float], ...] = (("ns", 1e17), ("us", 1e14), ("ms", 1e11), ("s", 1e8))
"""Times since 1970 are at least so great, in each unit: from 1973 on."""
_UNIT_IN_NAME = re.compile(r"(?:_|[(\[]\s*)(ns|us|µs|μs|ms|s)\s*(?:[)\]]|$)", re.IGNORECASE)  # Both mus.


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """Times of samples."""

    since_us: np.ndarray
    """(samples,), float64: after the first of them."""
    first_us: float
    """The first, on their own clock."""
    epoch_us: int | None
    """The first, in us since 1970, where they count from there."""
    unit: TimeUnit


def times_of(numbers: np.ndarray, unit: TimeUnit | None) -> Times | None:
    """Times from what a column holds, int64 or float64, without losing precision; None: nobody can tell their unit.

    `unit` is what is known of it; without that, times since 1970 tell by their size.
    """
    first = numbers[0].item()
    found = unit or _by_size(first)
    if found is None:
        return None
    up, down = _PER_US[found]
    since_us = (numbers - numbers[0]).astype(np.float64) * (up / down)
    first_us = microseconds(first, found)
    return Times(since_us, first * up / down, first_us if is_epoch(first_us) else None, found)


def microseconds(time: float, unit: TimeUnit | None) -> int:
    """A time in us; without a unit, of seconds, or as its size tells where it counts from 1970."""
    up, down = _PER_US[unit or _by_size(time) or "s"]
    return time * up // down if isinstance(time, int) else round(time * up / down)


def is_epoch(time_us: int) -> bool:
    """Whether a time counts from 1970."""
    return time_us >= 10**14


def _by_size(time: float) -> TimeUnit | None:
    return next((name for name, least in _EPOCHS if abs(time) >= least), None)


def unit_of(name: str) -> TimeUnit | None:
    """The unit that a column's name says: `time_us`, `Time (s)`, `t [ms]`, `seconds_elapsed`."""
    if found := _UNIT_IN_NAME.search(name):
        said: TimeUnit = found[1].lower().replace("µ", "u").replace("μ", "u")  # type: ignore[assignment]  # Both mus.
        return said
    return "s" if name.lower().startswith("seconds") else None


def shown(epoch_us: int) -> str:
    """A time since 1970 for people: `2026-11-29 01:02:03.456 UTC`."""
    try:
        at = datetime.fromtimestamp(epoch_us // 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):  # Beyond the year 9999.
        return f"{epoch_us} us since 1970"
    return f"{at:%Y-%m-%d %H:%M:%S}.{epoch_us % 1_000_000 // 1000:03} UTC"

"""Windows of events: what came when it came, and how long ago that is."""

from __future__ import annotations

import numpy as np

from leo_runtime.recordings.grid import UnevenError

_MOST_US = 1e15
"""Thirty years: no time of a recording is beyond that."""
NEVER_S = -1.0
"""The age of an event that there was not yet."""


def in_order(times_us: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Events by their times, which become int64, and how many were before the one before them.

    Raises `UnevenError` for a time that cannot be.
    """
    beyond = ~(np.abs(times_us) < _MOST_US)
    if beyond.any():
        row = int(np.argmax(beyond))
        raise UnevenError(f"a time is beyond thirty years: {times_us[row] / 1e6:g} s", row, "correct its `time_unit`")
    order = np.argsort(times_us, kind="stable")
    back = int(np.count_nonzero(np.diff(times_us) < 0))
    return np.rint(times_us[order]).astype(np.int64), values[order], back


def newest(values: np.ndarray, times_us: np.ndarray, end_us: int, count: int) -> np.ndarray:
    """The last `count` events before a time, (count, channels + 1) float32, the newest last.

    Behind the channels of each is its age in seconds at that time. Where fewer came, rows of zeros of the age -1 stand
    before them. `values` are (events,) or (events, channels), `times_us` rise.
    """
    before = int(np.searchsorted(times_us, end_us))
    first = max(0, before - count)
    channels = 1 if values.ndim == 1 else values.shape[1]
    its = np.asarray(values[first:before], np.float32).reshape(before - first, channels)
    found = np.zeros((count, channels + 1), np.float32)
    found[:, -1] = NEVER_S
    if before > first:
        found[count - (before - first) :, :-1] = its
        found[count - (before - first) :, -1] = (end_us - times_us[first:before]) / 1e6
    return found

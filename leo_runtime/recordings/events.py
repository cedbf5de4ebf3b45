"""The times of events, which come when they come."""

from __future__ import annotations

import numpy as np

from leo_runtime.recordings.grid import UnevenError

_MOST_US = 1e15
"""Thirty years: no time of a recording is beyond that."""


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

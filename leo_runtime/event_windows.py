"""Windows of events: what came when it came, and how long ago that is."""

from __future__ import annotations

import numpy as np

NEVER_S = -1.0
"""The age of an event that there was not yet."""


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

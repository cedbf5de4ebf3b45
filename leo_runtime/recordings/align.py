"""Puts streams that tell when they began, by clocks since 1970, on one time 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings import clocks
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.samples import Samples, StoredSamples, kept
from leo_runtime.recordings.stream import Gap

_MOST_US = 86_400_000_000
"""Streams that begin farther apart are of different recordings, or their clocks are wrong."""


def on_one_clock(found: Mapping[str, StreamData]) -> tuple[dict[str, StreamData], int | None, tuple[str, ...]]:
    """The streams by name, time 0 in us since 1970 (None: no stream says it), and what was done.

    Time 0 is the start of the first of those that come at a rate. A later one begins later by the nearest number of
    whole samples, and zeros stand before it, a gap. A stream that does not say when it began begins at time 0. Raises
    `RecordingError` where two begin more than a day apart.
    """
    epochs_us = {name: data.epoch_us for name, data in found.items() if data.epoch_us is not None}
    even = {name: at_us for name, at_us in epochs_us.items() if found[name].times_us is None}
    if not epochs_us:
        return dict(found), None, ()
    first = min(even or epochs_us, key=lambda name: epochs_us[name])
    zero_us = epochs_us[first]
    moved, told = dict(found), []
    for name, at_us in epochs_us.items():
        late_us = at_us - zero_us
        if abs(late_us) > _MOST_US:
            raise RecordingError(
                f"stream `{name}` begins at {clocks.shown(at_us)}, `{first}` at {clocks.shown(zero_us)}",
                hint='they are of two recordings, or a clock is wrong: then give that stream `clock = "own"`',
            )
        moved[name] = data = _later(found[name], late_us)
        if late_us and data is not found[name]:
            told.append(f"{name}: begins {late_us / 1e6:.6g} s after {first}, by their clocks, and is put there")
    return moved, zero_us, tuple(told)


def _later(data: StreamData, by_us: int) -> StreamData:
    if data.times_us is not None:
        return replace(data, times_us=data.times_us + by_us)
    samples = round(by_us * data.rate_hz / 1e6)
    if samples == 0:
        return data
    shift_us = round(samples * 1e6 / data.rate_hz)
    gaps = tuple(Gap(gap.start_us + shift_us, gap.end_us + shift_us) for gap in data.gaps)
    return replace(data, samples=_behind_zeros(data.samples, samples), gaps=(Gap(0, shift_us), *gaps))


def _behind_zeros(values: Samples, count: int) -> Samples:
    """The samples behind so many zeros, neither of which is held in memory where they are long."""

    def read(first: int, last: int) -> np.ndarray:
        empty = np.zeros((max(0, min(last, count) - first), *values.shape[1:]), values.dtype)
        return np.concatenate([empty, values[max(0, first - count) : max(0, last - count)]])

    return kept(StoredSamples((count + len(values), *values.shape[1:]), values.dtype, read))

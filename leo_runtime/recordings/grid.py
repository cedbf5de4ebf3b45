"""Puts samples with times of their own on an even grid, by a stated method, and tells of everything it did.

The grid has a point at every k / rate from time 0 on. Where every sample is within a twentieth of a step of its point,
samples are taken as they are. Else a point between two samples less than two periods apart gets what the piecewise
cubic through the samples gives there that does not overshoot (PCHIP: Fritsch and Carlson 1980, slopes by weighted
harmonic means); a point outside, within half a period of a sample, gets that sample; any other is a gap, and zero.

A cubic spline would come nearer to smooth curves (of a walk at 50 Hz with 2 ms of jitter, 0.003 m/s^2 off where this is
0.029), but no nearer than a phone's own noise of 0.03 m/s^2 from 100 Hz on, and it swings at jumps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from leo_runtime.recordings.stream import Gap, Timing

_AS_THEY_ARE = 1 / 20
"""Of a step: so far from its point a sample is taken for what is there."""
_RATE_OFF = 1 / 10
"""Of the declared rate: so far off, the file is not of another rate."""
_MOST_BACK = 10
"""In steps: farther back is no trembling of the times, but a clock that began anew."""
_LEAST_SHARE = 1 / 10
"""Of the points of the grid, that samples must be there for."""
_GAP = 2
"""In steps: nothing is put between samples so far apart."""
_GAPS_TOLD = 3
_AT_A_TIME = 1 << 12
"""So many points are interpolated at a time: it takes ten times the room of what comes out."""


class UnevenError(Exception):
    """The samples cannot be put on the grid: why, and the row (from 0) where that shows, if it is one."""

    def __init__(self, why: str, row: int | None = None, hint: str = "") -> None:
        super().__init__(why)
        self.row = row
        self.hint = hint


@dataclass(frozen=True, slots=True, eq=False)
class Even:
    """Samples on the grid, (points, channels), with what was repaired and where nothing is."""

    values: np.ndarray
    repairs: tuple[str, ...]
    gaps: tuple[Gap, ...]
    timing: Timing | None = None
    """None of a single sample."""


def evenly(times_us: np.ndarray, values: np.ndarray, rate_hz: float) -> Even:
    """Samples (rows, channels) at float64 times, in the order of the file, on the grid of a rate.

    Raises `UnevenError` where times go far back, do not go on, are of another rate, or most of the grid is empty.
    """
    if not rate_hz:
        raise UnevenError("is declared as events, and is read at a rate", None, "give it its `kind` and `rate_hz`")
    step_us = 1e6 / rate_hz
    repairs: list[str] = []
    rows = np.arange(len(times_us))
    rows = rows[_not_repeated(times_us, values, repairs)]
    rows = rows[_in_order(times_us[rows], rows, step_us, repairs)]
    rows = rows[_not_before(times_us[rows], step_us, repairs)]
    times_us, values = times_us[rows], values[rows]
    steps_us = np.diff(times_us)
    if len(steps_us) and steps_us.min() <= step_us * 1e-6:
        first = int(np.argmax(steps_us <= step_us * 1e-6))
        row, at_us = int(rows[first + 1]), f"{times_us[first + 1]:.0f} us after {times_us[first]:.0f} us"
        raise UnevenError(
            f"time does not go on ({at_us})", row, 'if a packet\'s samples share a time, give `times = "first"`'
        )
    found_hz = _rate(steps_us, rate_hz) if len(steps_us) else rate_hz
    points = int(np.floor(times_us[-1] / step_us + 0.5)) + 1
    if len(times_us) < points * _LEAST_SHARE:
        raise UnevenError(
            f"holds {len(times_us)} samples up to {times_us[-1] / 1e6:g} s, where {points} are due at {rate_hz} Hz",
            None,
            'if its clock began before the recording, give `clock = "own"`; else cut it into recordings',
        )
    places, timing = times_us / step_us, _timing(steps_us)
    if points == len(places) and np.abs(places - np.arange(points)).max() <= _AS_THEY_ARE:
        return Even(values, tuple(repairs), (), timing)
    return replace(_put(places, values, points, step_us, found_hz, repairs), timing=timing)


def spread_us(times_us: np.ndarray, rate_hz: float, *, stamped_first: bool) -> np.ndarray:
    """Times of samples that came in packets, whose samples share the time of the first or of the last of them.

    Between two packets they are spread evenly; beside a gap, and at the end that has no neighbour, by the rate.
    """
    starts = np.flatnonzero(np.diff(times_us, prepend=np.nan) != 0)
    counts = np.diff(np.append(starts, len(times_us)))
    at_us = times_us[starts]
    due_us = counts * 1e6 / rate_hz
    apart_us = np.append(np.diff(at_us), np.nan) if stamped_first else np.insert(np.diff(at_us), 0, np.nan)
    lasts_us = np.where((apart_us > 0) & (apart_us < 2 * due_us), apart_us, due_us)
    within = np.arange(len(times_us)) - np.repeat(starts, counts)
    if not stamped_first:
        within = within - np.repeat(counts - 1, counts)
    spread: np.ndarray = np.repeat(at_us, counts) + within * np.repeat(lasts_us / counts, counts)
    return spread


def _not_repeated(times_us: np.ndarray, values: np.ndarray, repairs: list[str]) -> np.ndarray:
    """Which rows are not the row before once more."""
    same = np.zeros(len(times_us), bool)
    same[1:] = (np.diff(times_us) == 0) & (values[1:] == values[:-1]).all(axis=1)
    if same.any():
        repairs.append(f"rows that repeat the one before are left out: {np.count_nonzero(same)}")
    return ~same


def _in_order(times_us: np.ndarray, rows: np.ndarray, step_us: float, repairs: list[str]) -> np.ndarray:
    """The order of the rows by time."""
    back = np.diff(times_us) < 0
    behind_us = np.maximum.accumulate(times_us) - times_us
    if (behind_us > _MOST_BACK * step_us).any():
        first = int(np.argmax(behind_us > _MOST_BACK * step_us))
        raise UnevenError(
            f"time goes back by {behind_us[first] / 1e6:g} s",
            int(rows[first]),
            "its clock began anew there: cut it into recordings",
        )
    if back.any():
        repairs.append(f"rows whose time steps back are put in order: {np.count_nonzero(back)}")
    return np.argsort(times_us, kind="stable")


def _not_before(times_us: np.ndarray, step_us: float, repairs: list[str]) -> np.ndarray:
    """Which rows are not before the recording's start."""
    before = times_us < -step_us / 2
    if before.all():
        raise UnevenError("all its samples are before time 0", 0, 'give `clock = "own"` if its clock is its own')
    if before.any():
        repairs.append(f"rows before time 0 are left out: {np.count_nonzero(before)}")
    return ~before


def _timing(steps_us: np.ndarray) -> Timing | None:
    if len(steps_us) == 0:
        return None
    within_us = steps_us[steps_us <= 3 * np.median(steps_us)]
    return Timing(float(1e6 / within_us.mean()), float(within_us.std()))


def _rate(steps_us: np.ndarray, rate_hz: float) -> float:
    """The rate of the rows, by the median of their steps, or where they tremble by the mean of those that are no gaps.

    Refuses another rate than is declared: that wants a filter, or is a mistake.
    """
    median_us = float(np.median(steps_us))
    mean_us = float(steps_us[steps_us <= 3 * median_us].mean())
    found_hz = min((1e6 / median_us, 1e6 / mean_us), key=lambda each_hz: abs(each_hz - rate_hz))
    if abs(found_hz - rate_hz) > _RATE_OFF * rate_hz:
        raise UnevenError(
            f"is declared at {rate_hz} Hz, the file is at {found_hz:.6g} Hz",
            None,
            "resample the file, or correct the recording.toml",
        )
    return found_hz


def _put(
    places: np.ndarray, values: np.ndarray, points: int, step_us: float, found_hz: float, repairs: list[str]
) -> Even:
    """Samples at `places`, rising and counted in steps, on the points of the grid."""
    grid = np.arange(points, dtype=np.float64)
    after = np.clip(np.searchsorted(places, grid), None, len(places) - 1)
    before = np.clip(after - 1, 0, None)
    nearest = np.where(np.abs(grid - places[before]) <= np.abs(grid - places[after]), before, after)
    there = np.abs(grid - places[nearest]) <= 0.5
    put = np.where(there[:, None], values[nearest], 0.0)
    off = float(np.abs(places - np.rint(places)).max())
    if off > _AS_THEY_ARE:
        inside = (places[before] <= grid) & (grid <= places[after]) & (places[after] - places[before] < _GAP)
        inside &= after > before
        points_inside = np.flatnonzero(inside)
        for first in range(0, len(points_inside), _AT_A_TIME):
            part = points_inside[first : first + _AT_A_TIME]
            # With a neighbour on either side, of which the slopes are made.
            low, high = max(0, before[part[0]] - 1), before[part[-1]] + 3
            put[part] = _monotone_cubic(places[low:high], values[low:high], grid[part], before[part] - low)
        there |= inside
        repairs.append(
            f"rows come at about {found_hz:.6g} Hz, up to {off * step_us / 1e3:.3g} ms beside the points of an even "
            f"{1e6 / step_us:.10g} Hz: put on it by monotone cubic interpolation (PCHIP)"
        )
    gaps = _gaps(~there, step_us)
    if gaps:
        repairs.append(_told(gaps, int(np.count_nonzero(~there))))
    return Even(put, tuple(repairs), gaps)


def _monotone_cubic(x: np.ndarray, y: np.ndarray, at: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The piecewise cubic through (x, y) at points, each right of x[left]; what is beyond a gap does not bear on it."""
    h = np.diff(x)[:, None]
    rise = np.diff(y, axis=0) / h
    slopes = np.zeros_like(y)
    slopes[0], slopes[-1] = rise[0], rise[-1]
    h0, h1, rise0, rise1 = h[:-1], h[1:], rise[:-1], rise[1:]
    # The weighted harmonic mean; 0 where the samples have a summit or a valley.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mean = 3 * (h0 + h1) / ((2 * h1 + h0) / rise0 + (h1 + 2 * h0) / rise1)
    slopes[1:-1] = np.where(rise0 * rise1 > 0, mean, 0.0)
    slopes[1:-1] = np.where(h0 >= _GAP, rise1, np.where(h1 >= _GAP, rise0, slopes[1:-1]))
    width = h[left]
    t = (at[:, None] - x[left][:, None]) / width
    rest = 1 - t
    found: np.ndarray = (
        rest * rest * (1 + 2 * t) * y[left]
        + t * t * (1 + 2 * rest) * y[left + 1]
        + t * rest * width * (rest * slopes[left] - t * slopes[left + 1])
    )
    return found


def _gaps(missing: np.ndarray, step_us: float) -> tuple[Gap, ...]:
    """The stretches of points where nothing is; a point stands for half a step to either side."""
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False))
    return tuple(
        Gap(max(0, round((first - 0.5) * step_us)), round((end - 0.5) * step_us))
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """Which row each point of the grid has, -1 for none, with what is to be told of it."""

    rows: np.ndarray
    repairs: tuple[str, ...]
    gaps: tuple[Gap, ...]
    timing: Timing | None = None


def nearest(times_us: np.ndarray, rate_hz: float) -> Nearest:
    """The row nearest to each point of the grid, within half a period; times rise, and may come faster than the rate.

    For what cannot be interpolated, such as frames of a camera. Raises `UnevenError` where most points have none.
    """
    step_us = 1e6 / rate_hz
    places = times_us / step_us
    if len(places) > 1 and np.diff(places).min() <= 0:
        row = int(np.argmax(np.diff(places) <= 0)) + 1
        raise UnevenError(f"time does not go on ({times_us[row]:.0f} us after {times_us[row - 1]:.0f} us)", row)
    last = float(places[-1])
    if len(places) < (last + 1) * _LEAST_SHARE:
        raise UnevenError(
            f"holds {len(places)} frames up to {times_us[-1] / 1e6:g} s, where {last + 1:.0f} are due at {rate_hz} Hz",
            None,
            "correct the stream's rate_hz",
        )
    grid = np.arange(int(np.floor(last + 0.5)) + 1, dtype=np.float64)
    after = np.clip(np.searchsorted(places, grid), None, len(places) - 1)
    before = np.clip(after - 1, 0, None)
    rows = np.where(grid - places[before] <= places[after] - grid, before, after)
    there = np.abs(grid - places[rows]) <= 0.5
    repairs: list[str] = []
    if len(places) > 1:
        found_hz = 1e6 / float(np.median(np.diff(times_us)))
        off = float(np.abs(places[rows[there]] - grid[there]).max())
        if off > _AS_THEY_ARE:
            repairs.append(
                f"frames come at about {found_hz:.6g} Hz, up to {off * step_us / 1e3:.3g} ms beside the points of an "
                f"even {rate_hz:.10g} Hz: each point has the nearest one"
            )
        elif len(set(rows[there].tolist())) < len(places):
            repairs.append(f"frames come at about {found_hz:.6g} Hz: those at {rate_hz:.10g} Hz are taken")
    gaps = _gaps(~there, step_us)
    if gaps:
        repairs.append(_told(gaps, int(np.count_nonzero(~there))))
    return Nearest(np.where(there, rows, -1), tuple(repairs), gaps, _timing(np.diff(times_us)))


def _told(gaps: tuple[Gap, ...], samples: int) -> str:
    shown = ", ".join(f"{gap.start_us / 1e6:g} to {gap.end_us / 1e6:g} s" for gap in gaps[:_GAPS_TOLD])
    more = f" and {len(gaps) - _GAPS_TOLD} times more" if len(gaps) > _GAPS_TOLD else ""
    return f"nothing was recorded from {shown}{more}; zeros stand there: {samples} samples"

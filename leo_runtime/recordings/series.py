"""What loggers export, in one form: samples of each sensor with their times, before they are put on a grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from leo_runtime.recordings.files import Files
from leo_runtime.recordings.grid import Even, UnevenError, evenly
from leo_runtime.recordings.reader import StreamData

STANDARD_GRAVITY = 9.80665
"""m/s^2 in 1 g, as every logger takes it."""
_USUAL_HZ = (
    *(1, 2, 4, 5, 8, 10, 12.5, 16, 20, 25, 26, 30, 32, 40, 50, 52, 60, 62.5, 64, 75, 80, 100, 104, 120, 125, 128, 130),
    *(150, 160, 176, 200, 208, 240, 250, 256, 300, 320, 400, 416, 500, 512, 800, 833, 1000, 1024, 2000, 2048, 4000),
)
_NEAR = 1 / 50
"""Of a usual rate: so near to it a clock is one of that rate that is a little off."""
_LEAST_HZ, _GREATEST_HZ = 0.001, 1e6
_EVEN_STEPS = 0.9
"""So many of the steps are near the median where samples are even, and no events."""


Kind = Literal["motion", "other", "events"]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The samples of one sensor."""

    name: str
    kind: Kind
    file: str
    """The file of the export that they are from, as messages name it."""
    times_us: np.ndarray
    """(samples,), float64, from the export's time 0 on, in the order of the file."""
    values: np.ndarray
    """(samples, channels), float64."""
    columns: tuple[str, ...]
    """What the channels are called."""
    unit: str | None = None
    rate_hz: float | None = None
    """As the export says; None: it is measured."""
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody, or something, noted about a stretch of time."""

    start_us: int
    """From the export's time 0 on; before it is below 0."""
    end_us: int
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A file of sound of an export, which begins at the export's time 0."""

    name: str
    file: str
    read: Callable[[], StreamData]
    """Raises `RecordingError` and `MissingExtraError`."""


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """What a logger exported."""

    series: tuple[Series, ...]
    source: str
    """What recorded it, as far as it says."""
    marks: tuple[Mark, ...] = ()
    epoch_us: int | None = None
    """Its time 0, in us since 1970, where it is known."""
    time_zone: str | None = None
    """Where it was recorded, as the logger says: `Europe/Berlin`, or `UTC+01:00`."""
    repairs: tuple[str, ...] = ()
    """What was done to all of it, and what of it is not read."""
    sounds: tuple[Sound, ...] = ()


@dataclass(frozen=True, slots=True)
class Logger:
    """Reads what one logger exports."""

    name: str
    """Its format, as manifests name it."""
    title: str
    """What people call it, and the form of its exports."""
    recognises: Callable[[Files], bool]
    """Whether these are files of it, by their names and beginnings. Raises nothing."""
    read: Callable[[Files], Export]
    """Raises `RecordingError` where there is nothing that can be read."""


def measured_hz(times_us: np.ndarray) -> float:
    """The rate of samples, by the median of the steps between them, or where they tremble by their mean.

    Raises `UnevenError` where that is none.
    """
    steps_us = np.diff(np.sort(times_us))
    rising_us = steps_us[steps_us > 0]
    if len(rising_us) == 0:
        raise UnevenError("holds fewer than two samples", None, "record it again")
    median_us = float(np.median(rising_us))
    step_us = float(steps_us[steps_us <= 3 * median_us].mean())
    if abs(step_us - median_us) < _NEAR * median_us:
        step_us = median_us
    hz = 1e6 / step_us
    if not _LEAST_HZ <= hz <= _GREATEST_HZ:
        raise UnevenError(f"comes at {hz:.6g} Hz", None, "it cannot be the rate of a sensor")
    return hz


def usual_hz(rate_hz: float) -> float:
    """The usual rate that is within a fiftieth of a measured one, so that a workload can name it; else four digits."""
    near = min(_USUAL_HZ, key=lambda each_hz: abs(each_hz - rate_hz))
    return near if abs(near - rate_hz) <= _NEAR * near else float(f"{rate_hz:.4g}")


def is_even(times_us: np.ndarray) -> bool:
    """Whether samples come at a rate, and are no events."""
    steps_us = np.diff(times_us)
    steps_us = steps_us[steps_us > 0]
    if len(steps_us) < 3:
        return False
    median_us = np.median(steps_us)
    return bool(np.mean(np.abs(steps_us - median_us) <= median_us / 2) >= _EVEN_STEPS)


def kind_of(times_us: np.ndarray, *, is_motion: bool) -> Kind:
    """What samples are, whose logger does not say whether they come at a rate."""
    return "events" if not is_even(times_us) else "motion" if is_motion else "other"


def named_apart(series: Sequence[Series]) -> tuple[Series, ...]:
    """The series, of those that share a name the second and later ones numbered."""
    seen: dict[str, int] = {}
    found = []
    for one in series:
        seen[one.name] = seen.get(one.name, 0) + 1
        found.append(one if seen[one.name] == 1 else replace(one, name=f"{one.name}_{seen[one.name]}"))
    return tuple(found)


def left_out(count: int) -> tuple[str, ...]:
    """What is told of rows in which something is missing."""
    return (f"rows with a cell that holds nothing are left out: {count}",) if count else ()


def put(series: Series, zero_us: float, rate_hz: float) -> Even:
    """The samples of a series on the grid of a rate, whose time 0 is `zero_us` of the export. Raises `UnevenError`."""
    return evenly(series.times_us - zero_us, series.values, rate_hz)


def zero_us(export: Export) -> float:
    """The time 0 of a recording: the first sample, by the export's clock, that is not before the export's own.

    Sensors tell of things that were before: what a phone held ready, or a place found an hour ago. With sound, or
    without any series, it is the export's own.
    """
    if export.sounds:
        return 0.0
    series = export.series
    firsts = [_first(one.times_us) for one in series if one.kind != "events"] or [
        _first(one.times_us) for one in series
    ]
    return min([first for first in firsts if first >= 0] or firsts, default=0.0)


def _first(times_us: np.ndarray) -> float:
    at_or_after = times_us[times_us >= 0]
    return float(at_or_after.min() if len(at_or_after) else times_us.min())


def slug(text: str) -> str:
    """A stream's name from a file's or a column's: `TotalAcceleration` and `Total Acceleration` become the same."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_") or "samples"

"""Reads the activity recordings of WISDM (Kwapisz, Weiss, Moore 2010): `user,activity,time,x,y,z;`.

Times are ns of the phone's own clock, values in units of which 10 are about 1 g. As published, several records may
share a line, some end in `,;`, and some have no time (0): those are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.grid import UnevenError, evenly
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.series import Export, Logger, Mark, Series
from leo_runtime.recordings.stream import RecordedStream

_CELLS = 6
_FIRST = re.compile(r"\s*\d+,[A-Za-z]+,\d+,[-\d.]+,[-\d.]+,[-\d.]+\s*,?;")
_RATE_HZ = 20.0


@dataclass(slots=True)
class _Records:
    """The records of a file that have a time."""

    lines: list[int] = field(default_factory=list)
    activities: list[str] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    timeless: int = 0

    @property
    def times_us(self) -> np.ndarray:
        """From the first one on."""
        times_us: np.ndarray = (np.array(self.times_ns, np.int64) - self.times_ns[0]) / 1e3
        return times_us

    @property
    def told(self) -> tuple[str, ...]:
        """What was left out."""
        return (f"records without a time are left out: {self.timeless}",) if self.timeless else ()


def read_wisdm(path: Path, stream: RecordedStream) -> StreamData:
    """The three channels of a file, its first record at time 0.

    Raises `RecordingError` where the file cannot be read, a record is not of that form, or time goes back.
    """
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read as WISDM ({without_path(error)})") from None
    found = _records(str(path), raw)
    try:
        even = evenly(found.times_us, np.array(found.rows), stream.rate_hz)
    except UnevenError as error:
        where = f"{path}: stream `{stream.name}`" if error.row is None else f"{path}:{found.lines[error.row]}:"
        raise RecordingError(f"{where} {error}", hint=error.hint) from None
    return StreamData(even.values, stream.rate_hz, found.told + even.repairs, even.gaps, even.timing)


def _records(where: str, raw: bytes) -> _Records:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError(f"{where}: cannot be read as WISDM ({error})") from None
    found = _Records()
    for number, line in enumerate(re.split("\r\n|[\r\n]", text), 1):
        for record in line.split(";"):
            cells = [cell.strip() for cell in record.rstrip(", \r\t").split(",")]
            if cells == [""]:
                continue
            time_ns, row = _record(where, number, cells)
            if time_ns == 0:
                found.timeless += 1
                continue
            found.lines.append(number)
            found.activities.append(cells[1])
            found.times_ns.append(time_ns)
            found.rows.append(row)
    if not found.rows:
        raise RecordingError(f"{where}: holds no samples", hint="record it again")
    return found


def _record(where: str, line: int, cells: list[str]) -> tuple[int, list[float]]:
    """The time in ns and the values of one record."""
    if len(cells) != _CELLS:
        raise RecordingError(
            f"{where}:{line}: expected `user,activity,time,x,y,z;`, got {len(cells)} cells", hint="truncated?"
        )
    try:
        time_ns, row = int(cells[2]), [float(cell) for cell in cells[3:]]
    except ValueError as error:
        raise RecordingError(
            f"{where}:{line}: cannot be read as WISDM ({error})", hint="leave that record out"
        ) from None
    if not (0 <= time_ns < 10**18 and np.isfinite(row).all() and max(map(abs, row)) < 1e30):
        raise RecordingError(
            f"{where}:{line}: a value is not finite, or too great: {', '.join(cells[2:])}", hint="leave that record out"
        )
    return time_ns, row


def _file_of(files: Files) -> str | None:
    return next(
        (path for path in files.paths if path.lower().endswith(".txt") and _FIRST.match(files.begins(path))), None
    )


def _read(files: Files) -> Export:
    path = _file_of(files)
    assert path is not None, "only what was recognised is read"
    where = files.place(path)
    found = _records(where, files.read(path))
    # As the data set's own page says: 10 is 1 g, so they are m/s^2.
    values = np.array(found.rows)
    series = Series("acceleration", "motion", where, found.times_us, values, ("x", "y", "z"), "m/s^2", _RATE_HZ)
    marks = tuple(_marks(found.times_us.tolist(), found.activities))
    return Export((series,), "WISDM", marks, repairs=found.told)


def _marks(times_us: list[float], activities: list[str]) -> Iterable[Mark]:
    """What was done, each for as long as the records say so."""
    first = 0
    for last, activity in enumerate(activities):
        if last + 1 == len(activities) or activities[last + 1] != activity:
            start_us = round(times_us[first])
            yield Mark(start_us, max(start_us + 1, round(times_us[last] + 1e6 / _RATE_HZ)), activity)
            first = last + 1


WISDM = Logger("wisdm", "WISDM's activity recordings (.txt)", lambda files: _file_of(files) is not None, _read)

"""Reads the activity recordings of WISDM (Kwapisz, Weiss, Moore 2010): `user,activity,time,x,y,z;`.

Times are ns of the phone's own clock, values in units of which 10 are about 1 g. As published, several records may
share a line, some end in `,;`, and some have no time (0): those are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.grid import UnevenError, evenly
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.stream import RecordedStream

_CELLS = 6


def read_wisdm(path: Path, stream: RecordedStream) -> StreamData:
    """The three channels of a file, its first record at time 0.

    Raises `RecordingError` where the file cannot be read, a record is not of that form, or time goes back.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read as WISDM ({without_path(error)})") from None
    lines: list[int] = []
    times_ns: list[int] = []
    rows: list[list[float]] = []
    timeless = 0
    for number, line in enumerate(text.split("\n"), 1):
        for record in line.split(";"):
            cells = [cell.strip() for cell in record.rstrip(", \r\t").split(",")]
            if cells == [""]:
                continue
            time_ns, row = _record(path, number, cells)
            if time_ns == 0:
                timeless += 1
                continue
            lines.append(number)
            times_ns.append(time_ns)
            rows.append(row)
    if not rows:
        raise RecordingError(f"{path}: holds no samples", hint="record it again")
    times_us = (np.array(times_ns, np.int64) - times_ns[0]) / 1e3
    try:
        even = evenly(times_us, np.array(rows), stream.rate_hz)
    except UnevenError as error:
        where = f"{path}: stream `{stream.name}`" if error.row is None else f"{path}:{lines[error.row]}:"
        raise RecordingError(f"{where} {error}", hint=error.hint) from None
    told = (f"records without a time are left out: {timeless}",) if timeless else ()
    return StreamData(even.values, stream.rate_hz, told + even.repairs, even.gaps, even.timing)


def _record(path: Path, line: int, cells: list[str]) -> tuple[int, list[float]]:
    """The time in ns and the values of one record."""
    if len(cells) != _CELLS:
        raise RecordingError(
            f"{path}:{line}: expected `user,activity,time,x,y,z;`, got {len(cells)} cells", hint="truncated?"
        )
    try:
        time_ns, row = int(cells[2]), [float(cell) for cell in cells[3:]]
    except ValueError as error:
        raise RecordingError(
            f"{path}:{line}: cannot be read as WISDM ({error})", hint="leave that record out"
        ) from None
    if not (0 <= time_ns < 10**18 and np.isfinite(row).all() and max(map(abs, row)) < 1e30):
        raise RecordingError(
            f"{path}:{line}: a value is not finite, or too great: {', '.join(cells[2:])}", hint="leave that record out"
        )
    return time_ns, row

"""Reads what Physics Toolbox Sensor Suite exports: CSV with a time and, by their names, the columns of each sensor.

Accelerations are in g, rotation in rad/s, fields in uT. Times are seconds, or by a setting clock texts (`12:03:04.5`,
`12:03:04:500`); the file says no date. In some countries it is written with `;` and a decimal comma, and rows may be
shorter than the line of the names, where the last sensors have nothing yet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.series import STANDARD_GRAVITY, Export, Logger, Series, kind_of, left_out
from leo_runtime.recordings.table import Table, cells, numbers, read_table

_SENSORS: Mapping[str, tuple[tuple[str, ...], str, float]] = {
    "acceleration": (("gFx", "gFy", "gFz"), "m/s^2", STANDARD_GRAVITY),
    "linear_acceleration": (("ax", "ay", "az"), "m/s^2", 1.0),
    "gyroscope": (("wx", "wy", "wz"), "rad/s", 1.0),
    "magnetometer": (("Bx", "By", "Bz"), "uT", 1.0),
    "inclination": (("Azimuth", "Pitch", "Roll"), "deg", 1.0),
    "pressure": (("p",), "hPa", 1.0),
    "light": (("I",), "lx", 1.0),
    "location": (("Latitude", "Longitude"), "deg", 1.0),
}
"""Each stream's columns, the unit it gets, and what the file's values are multiplied by for it."""
_DAY_US = 86_400e6


def _recognises(files: Files) -> bool:
    return _table_of(files) is not None


def _table_of(files: Files) -> str | None:
    """The first file that begins with the names of its columns."""
    for path in files.paths:
        if "/" not in path and PurePosixPath(path).suffix.lower() in (".csv", ".txt"):
            first = files.begins(path).split("\n", 1)[0]
            names = [name.strip(' "\r') for name in re.split("[\t;,]", first)]
            if names[0].lower() == "time" and any(columns[0] in names for columns, _, _ in _SENSORS.values()):
                return path
    return None


def _read(files: Files) -> Export:
    path = _table_of(files)
    assert path is not None, "only what was recognised is read"
    table = read_table(files.place(path), files.read(path))
    found = []
    for name, (columns, unit, factor) in _SENSORS.items():
        if not all(column in table.names for column in columns):
            continue
        times_us, values, missing = _columns(table, [table.names.index(column) for column in columns])
        kind = "events" if name == "location" else kind_of(times_us, is_motion=len(columns) == 3)
        found.append(
            Series(name, kind, table.where, times_us, values * factor, columns, unit, repairs=left_out(missing))
        )
    return Export(tuple(found), "Physics Toolbox Sensor Suite")


def _columns(table: Table, columns: list[int]) -> tuple[np.ndarray, np.ndarray, int]:
    """The times in us, the values, and how many rows have none."""
    if ":" not in cells(table, 0)[0]:
        found = numbers(table, 0, columns, incomplete=True)
        return found.times * 1e6, found.values, len(found.left_out)
    # The first of the columns stands in for the time: a clock text is no number.
    found = numbers(table, columns[0], columns, incomplete=True)
    by_line = dict(zip((line for line, _ in table.rows()), cells(table, 0), strict=True))
    clock_us = np.array([_clock_us(table, line, by_line[line]) for line in found.lines.tolist()])
    # Past midnight it begins anew.
    days = np.cumsum(np.diff(clock_us, prepend=clock_us[0]) < -_DAY_US / 2)
    return clock_us + days * _DAY_US, found.values, len(found.left_out)


def _clock_us(table: Table, line: int, text: str) -> float:
    """`H:M:S.f`, `M:S.f` or `H:M:S:ms`."""
    parts = text.replace(",", ".").split(":")
    try:
        if not 2 <= len(parts) <= 4 or not text.isascii() or "_" in text:
            raise ValueError
        values = [float(part) for part in parts]
    except ValueError:
        raise RecordingError(
            f"{table.where}:{line}: `{text[:40]}` is no time of a clock", hint="leave that row out"
        ) from None
    thousandths = values.pop() if len(values) == 4 else 0.0
    seconds = 0.0
    for value in values:
        seconds = seconds * 60 + value
    if not 0 <= seconds < 1e6:
        raise RecordingError(f"{table.where}:{line}: `{text[:40]}` is no time of a clock", hint="leave that row out")
    return seconds * 1e6 + thousandths * 1e3


PHYSICS_TOOLBOX = Logger("physics-toolbox", "Physics Toolbox Sensor Suite (CSV)", _recognises, _read)

"""Reads what Empatica's E4 exports, as a zip or folder: `ACC.csv`, `BVP.csv`, `EDA.csv`, `TEMP.csv`, `HR.csv`.

Each begins with a line of the start in seconds since 1970 and one of the rate, once a column; `IBI.csv` has the start
and then, when and how long, each interval between two beats, which are events; `tags.csv` has the times at which the
button was pressed. Acceleration is in 1/64 g. No file has names of columns.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.series import STANDARD_GRAVITY, Export, Kind, Logger, Mark, Series

_SENSORS: Mapping[str, tuple[str, Kind, tuple[str, ...], str, float]] = {
    "ACC.csv": ("acc", "motion", ("x", "y", "z"), "m/s^2", STANDARD_GRAVITY / 64),
    "BVP.csv": ("bvp", "other", ("bvp",), "nW", 1.0),
    "EDA.csv": ("eda", "other", ("eda",), "uS", 1.0),
    "TEMP.csv": ("temp", "other", ("temp",), "degC", 1.0),
    "HR.csv": ("hr", "other", ("hr",), "1/min", 1.0),
}
"""Each file's stream, kind, columns, unit, and what its values are multiplied by for that."""
_FAR_US = 86_400e6
"""A file that begins so long after the first is of another recording, or damaged."""


def _recognises(files: Files) -> bool:
    names = [name for name in (*_SENSORS, "IBI.csv") if name in files.paths]
    return any(_begins_right(files, name) for name in names)


def _begins_right(files: Files, name: str) -> bool:
    try:
        return 1e8 <= float(files.begins(name, 100).split("\n", 1)[0].split(",")[0]) < 1e11
    except ValueError:
        return False


def _read(files: Files) -> Export:
    found: list[tuple[float, Series]] = []
    repairs: list[str] = []
    for name in (*_SENSORS, "IBI.csv"):
        if name not in files.paths:
            continue
        try:
            rows = _rows(files.place(name), files.read(name))
            # A sensor that gave nothing has an empty file, or its first lines alone.
            if rows:
                found += _intervals(files.place(name), rows) if name == "IBI.csv" else _even(files, name, rows)
        except RecordingError as error:
            repairs.append(f"not read: {error}")
    if not found:
        raise RecordingError(f"{files.where}: holds no samples", hint=repairs[0] if repairs else "record it again")
    zero_s = min(start_s for start_s, _ in found)
    series = []
    for start_s, one in found:
        late_us = (start_s - zero_s) * 1e6
        if late_us > _FAR_US:
            repairs.append(f"not read: {one.file}: begins {late_us / 1e6:.0f} s after the others")
        else:
            series.append(Series(one.name, one.kind, one.file, one.times_us + late_us, one.values, one.columns,
                                 one.unit, one.rate_hz, one.repairs))  # fmt: skip
    return Export(tuple(series), "Empatica E4", tuple(_tags(files, zero_s)), round(zero_s * 1e6), "UTC", tuple(repairs))


def _rows(where: str, raw: bytes) -> list[list[str]]:
    """The cells of each line, none of them empty."""
    try:
        return [row for row in csv.reader(raw.decode("utf-8-sig").splitlines()) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{where}: cannot be read as CSV ({error})", hint="copy it again") from None


def _even(files: Files, name: str, rows: list[list[str]]) -> Iterable[tuple[float, Series]]:
    stream, kind, columns, unit, factor = _SENSORS[name]
    where = files.place(name)
    if len(rows) < 3:
        return
    values = np.array([_numbers(where, line, row, len(columns)) for line, row in enumerate(rows[2:], 3)])
    start_s, rate_hz = (_numbers(where, line, rows[line - 1], len(columns))[0] for line in (1, 2))
    if not (1e8 <= start_s < 1e11 and 0.001 <= rate_hz <= 1e6):
        raise RecordingError(
            f"{where}:1: expected a start in seconds since 1970 and a rate below it, got {start_s:g} and {rate_hz:g}",
            hint="copy it again",
        )
    times_us = np.arange(len(values)) * (1e6 / rate_hz)
    yield start_s, Series(stream, kind, where, times_us, values * factor, columns, unit, rate_hz)


def _intervals(where: str, rows: list[list[str]]) -> Iterable[tuple[float, Series]]:
    """Each interval between two beats, in s, at its end."""
    if len(rows) < 2:
        return
    start_s = _numbers(where, 1, rows[0][:1], 1)[0]
    if not 1e8 <= start_s < 1e11:
        raise RecordingError(
            f"{where}:1: expected a start in seconds since 1970, got {start_s:g}", hint="copy it again"
        )
    values = np.array([_numbers(where, line, row, 2) for line, row in enumerate(rows[1:], 2)])
    if np.abs(values[:, 0]).max() > _FAR_US / 1e6 * 30:
        raise RecordingError(f"{where}: a beat is more than a month after its start", hint="copy it again")
    yield start_s, Series("ibi", "events", where, values[:, 0] * 1e6, values[:, 1:], ("ibi",), "s")


def _numbers(where: str, line: int, row: list[str], count: int) -> list[float]:
    try:
        if len(row) != count or not all(cell.isascii() and "_" not in cell for cell in row):
            raise ValueError
        found = [float(cell) for cell in row]
        if not all(math.isfinite(value) and abs(value) < 1e30 for value in found):
            raise ValueError
    except ValueError:
        shown = ",".join(row)
        raise RecordingError(
            f"{where}:{line}: expected {count} numbers, got `{shown[:40]}{'...' if len(shown) > 40 else ''}`",
            hint="truncated? leave that line out",
        ) from None
    return found


def _tags(files: Files, zero_s: float) -> Iterable[Mark]:
    if "tags.csv" not in files.paths:
        return
    for row in _rows(files.place("tags.csv"), files.read("tags.csv")):
        at_s = _numbers(files.place("tags.csv"), 1, row[:1], 1)[0]
        if abs(at_s - zero_s) < _FAR_US / 1e6 * 30:
            start_us = round((at_s - zero_s) * 1e6)
            yield Mark(start_us, start_us + 1, "tag")


EMPATICA_E4 = Logger("empatica-e4", "Empatica E4 (zip or folder)", _recognises, _read)

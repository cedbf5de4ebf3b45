"""Reads what phyphox exports: CSV in any of its five dialects, alone or as the zip that the phone gives, with `meta/`.

What a column is, its name says, with the unit in brackets; how they are called is the experiment's choice. A column of
times (`... (s)`) belongs to those behind it up to the next. Columns that are shorter than others end in `NaN`. Times
are seconds since the experiment was started, pauses left out; `meta/time.csv` says when that was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.series import Export, Logger, Series, kind_of, left_out, slug
from leo_runtime.recordings.table import Table, cells, numbers, read_table

_COLUMN = re.compile(r"'?(?P<name>.*?)\s*\((?P<unit>[^()]*)\)\s*$")
_TIME = re.compile(r"(time|zeit|t|temps|tiempo|tempo|czas)\b", re.IGNORECASE)
_AXIS = re.compile(r"(?P<sensor>.*?)[ _]*\b(?P<axis>[xyz])$", re.IGNORECASE)
_UNITS = {"m/s^2": "m/s^2", "m/s²": "m/s^2", "rad/s": "rad/s", "µT": "uT", "μT": "uT", "uT": "uT"}  # Both mus.


@dataclass(frozen=True, slots=True)
class _Column:
    place: int
    name: str
    unit: str

    @property
    def is_time(self) -> bool:
        return self.unit == "s" and _TIME.match(self.name) is not None


def _recognises(files: Files) -> bool:
    return "meta/time.csv" in files.paths or any(_is_set(files, path) for path in _sets(files))


def _sets(files: Files) -> list[str]:
    return [path for path in files.paths if "/" not in path and path.lower().endswith((".csv", ".txt"))]


def _is_set(files: Files, path: str) -> bool:
    """Whether it begins with a time in brackets, and goes on with something else with a unit."""
    first = files.begins(path).split("\n", 1)[0].strip()
    names = [name.strip(' "\r') for name in re.split("[\t;,]", first)]
    columns = [_column(0, name) for name in names]
    return len(columns) > 1 and columns[0].is_time and all(column.unit for column in columns[1:])


def _column(place: int, name: str) -> _Column:
    found = _COLUMN.match(name)
    return _Column(place, name, "") if found is None else _Column(place, found["name"].strip(), found["unit"].strip())


def _read(files: Files) -> Export:
    repairs: list[str] = []
    found: list[Series] = []
    for path in _sets(files):
        try:
            found += _series(path, read_table(files.place(path), files.read(path)))
        except RecordingError as error:
            repairs.append(f"not read: {error}")
    if not found:
        raise RecordingError(f"{files.where}: holds no samples", hint=repairs[0] if repairs else "record it again")
    epoch_us, time_zone = _clock(files, repairs)
    return Export(tuple(found), _source(files), (), epoch_us, time_zone, tuple(repairs))


def _series(path: str, table: Table) -> Iterable[Series]:
    columns = [_column(place, name) for place, name in enumerate(table.names)]
    if not any(column.is_time for column in columns):
        raise RecordingError(
            f"{table.where}:{table.header}: no column is a time in seconds, such as `Time (s)`",
            hint=f"it has {', '.join(table.names)}",
        )
    stem = path.rpartition(".")[0]
    time: _Column | None = None
    groups: dict[tuple[int, str], list[_Column]] = {}
    has_axes = any(_AXIS.match(column.name) for column in columns if column.unit)
    for column in columns:
        if column.is_time:
            time = column
        elif time is not None and column.name:
            axis = _AXIS.match(column.name)
            sensor = slug(axis["sensor"] if axis else column.name) if has_axes else slug(stem)
            groups.setdefault((time.place, sensor), []).append(column)
    for (time_place, sensor), its in groups.items():
        yield _one(table, sensor, time_place, its)


def _one(table: Table, sensor: str, time: int, columns: Sequence[_Column]) -> Series:
    found = numbers(table, time, [column.place for column in columns], incomplete=True)
    times_us = found.times * 1e6
    unit = columns[0].unit if len({column.unit for column in columns}) == 1 else None
    return Series(
        sensor,
        kind_of(times_us, is_motion=_AXIS.match(columns[0].name) is not None),
        table.where,
        times_us,
        found.values,
        tuple(column.name for column in columns),
        _UNITS.get(unit or "", unit or None),
        # What is missing at the end is there to fill up a shorter column.
        repairs=left_out(sum(line < found.lines[-1] for line in found.left_out)),
    )


def _clock(files: Files, repairs: list[str]) -> tuple[int | None, str | None]:
    """When its time 0 was, and the time zone of the phone, of the first event of `meta/time.csv`."""
    if "meta/time.csv" not in files.paths:
        return None, None
    try:
        table = read_table(files.place("meta/time.csv"), files.read("meta/time.csv"))
        events = [cell.upper() for cell in cells(table, 0)]
        told = numbers(table, table.names.index("experiment time"), [table.names.index("system time")], incomplete=True)
    except (RecordingError, ValueError) as error:
        repairs.append(f"not read: meta/time.csv ({error})")
        return None, None
    pauses = events.count("PAUSE") - (events[-1] == "PAUSE")
    if pauses > 0:
        repairs.append(f"it was paused {'once' if pauses == 1 else f'{pauses} times'}; times go on without the pause")
    text = cells(table, len(table.names) - 1)[0]
    zone = re.search(r"UTC[+-]\d\d:?\d\d|UTC$|GMT[+-]\d\d:?\d\d", text)
    epoch_us = round((float(told.values[0, 0]) - float(told.times[0])) * 1e6)
    return (epoch_us if 0 < epoch_us < 10**18 else None), zone[0] if zone else None


def _source(files: Files) -> str:
    if "meta/device.csv" not in files.paths:
        return "phyphox"
    try:
        table = read_table(files.place("meta/device.csv"), files.read("meta/device.csv"))
    except RecordingError:
        return "phyphox"
    said = dict(zip(cells(table, 0), cells(table, 1), strict=True))
    model = " ".join(said[key] for key in ("deviceBrand", "deviceModel") if said.get(key))
    return f"phyphox{f' on {model}' if model else ''}"


PHYPHOX = Logger("phyphox", "phyphox (zip or CSV)", _recognises, _read)

"""Reads what Polar Sensor Logger exports: a text file a sensor, `Phone timestamp;sensor timestamp [ns];...`.

The sensor's clock is the finer one, but is often unset (it then counts from 2000, or from nothing): it gives the times
within a file, and the phone's clock, local and without a zone, when that began. Beats of the heart are events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.grid import spread_us
from leo_runtime.recordings.series import STANDARD_GRAVITY, Export, Logger, Series, left_out, slug
from leo_runtime.recordings.table import Table, cells, is_number, numbers, read_table

_UNITS: Mapping[str, tuple[str, float]] = {
    "mg": ("m/s^2", STANDARD_GRAVITY / 1000),
    "g": ("m/s^2", STANDARD_GRAVITY),
    "dps": ("rad/s", np.pi / 180),
    "deg/sec": ("rad/s", np.pi / 180),
    "G": ("uT", 100.0),
    "Gauss": ("uT", 100.0),
}
"""What units become, and by what values are multiplied for that. Others stay as they are."""
_SENSORS = {"mg": "acceleration", "g": "acceleration", "dps": "gyroscope", "deg/sec": "gyroscope", "G": "magnetometer"}
_UNIT = re.compile(r"(.*?)\s*\[(.*)\]$")
_PHONE = "Phone timestamp"
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?")


def _recognises(files: Files) -> bool:
    return bool(_tables_of(files))


def _tables_of(files: Files) -> list[str]:
    return [
        path
        for path in files.paths
        if "/" not in path
        and PurePosixPath(path).suffix.lower() in (".txt", ".csv")
        and files.begins(path, 200).lstrip('"').startswith(_PHONE)
    ]


def _read(files: Files) -> Export:
    found: list[tuple[int | None, Series]] = []
    repairs: list[str] = []
    for path in _tables_of(files):
        try:
            found.append(_series(path, read_table(files.place(path), files.read(path))))
        except RecordingError as error:
            repairs.append(f"not read: {error}")
    if not found:
        raise RecordingError(f"{files.where}: holds no samples", hint=repairs[0] if repairs else "record it again")
    begins_us = [began_us for began_us, _ in found if began_us is not None]
    zero_us = min(begins_us, default=None)
    if zero_us is not None:
        repairs.append("its phone's clock says no time zone: it is taken for UTC")
    series = tuple(_later(one, (began_us or zero_us or 0) - (zero_us or 0)) for began_us, one in found)
    return Export(series, "Polar Sensor Logger", epoch_us=zero_us, repairs=tuple(repairs))


def _later(series: Series, by_us: int) -> Series:
    from dataclasses import replace

    return replace(series, times_us=series.times_us + by_us)


def _series(path: str, table: Table) -> tuple[int | None, Series]:
    """When the phone says that a file began, in us since 1970, and its samples from there on."""
    named = [_UNIT.match(name) for name in table.names]
    units = [found[2] if found else "" for found in named]
    first = next((row for _, row in table.rows()), [])
    columns = [
        place
        for place, name in enumerate(table.names)
        if "timestamp" not in name.lower() and name and place < len(first) and is_number(first[place])
    ]
    if not columns:
        raise RecordingError(f"{table.where}:{table.header}: names no column of samples", hint="export it again")
    phone_us = np.array([_date_us(cell) for cell in cells(table, 0)])
    lines = np.array([line for line, _ in table.rows()], np.int64)
    clock = next((place for place, name in enumerate(table.names) if name.lower().startswith("sensor timestamp")), None)
    found = numbers(table, columns[0] if clock is None else clock, columns, incomplete=True)
    its_phone_us = phone_us[np.searchsorted(lines, found.lines)]
    if np.isnan(its_phone_us[0]):
        raise RecordingError(f"{table.where}:{found.lines[0]}: its phone's time is no date", hint="export it again")
    begun_us = float(its_phone_us[0])
    unit = units[columns[0]] if len({units[place] for place in columns}) == 1 else ""
    its_unit, factor = _UNITS.get(unit, (unit or None, 1.0))
    heart = any("HR" in table.names[place] or "RR" in table.names[place] for place in columns)
    name = "heart_rate" if heart else _SENSORS.get(unit) or slug(_tail(path, table.names[columns[0]]))
    if clock is not None and found.times[-1] > found.times[0]:
        times_us = _of_packets((found.times - found.times[0]) / 1e3)
    else:
        times_us = its_phone_us - begun_us
        if np.isnan(times_us).any():
            row = int(np.argmax(np.isnan(times_us)))
            raise RecordingError(f"{table.where}:{found.lines[row]}: its phone's time is no date", hint="leave it out")
        times_us = times_us if heart else _of_packets(times_us)
    return round(begun_us), Series(
        name,
        "events" if heart else "motion" if unit in _SENSORS else "other",
        table.where,
        times_us,
        found.values * factor,
        tuple(table.names[place] for place in columns),
        its_unit,
        repairs=left_out(len(found.left_out)),
    )


def _of_packets(times_us: np.ndarray) -> np.ndarray:
    """Times of which most are those of the sample before: a packet's samples share the time of its last."""
    steps_us = np.diff(times_us)
    if np.count_nonzero(steps_us == 0) <= len(steps_us) / 2 or times_us[-1] <= times_us[0]:
        return times_us
    # What came after the first packet came since it.
    first = int(np.argmax(steps_us > 0)) + 1
    rate_hz = 1e6 * (len(times_us) - first) / (times_us[-1] - times_us[0])
    spread = spread_us(times_us, rate_hz, stamped_first=False)
    found: np.ndarray = spread - spread[0]
    return found


def _tail(path: str, column: str) -> str:
    """What a sensor is called that is not known by its unit: `ecg` of `ecg [uV]`, else the end of the file's name."""
    bare = _UNIT.match(column)
    return bare[1] if bare else PurePosixPath(path).stem.rpartition("_")[2]


def _date_us(text: str) -> float:
    """A date and time as us since 1970, taken for UTC; NaN for what is none."""
    found = _DATE.match(text.strip().strip('"'))
    if found is None:
        return float("nan")
    year, month, day, hour, minute, second = (int(found[k]) for k in range(1, 7))
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return float("nan")
    return at.timestamp() * 1e6 + float(f"0.{found[7] or 0}") * 1e6


POLAR = Logger("polar", "Polar Sensor Logger (text files)", _recognises, _read)

"""Reads what Sensor Logger (Kelvin Choi) exports: a file of CSV a sensor, as a zip or folder, or all of it as JSON.

Times are ns since 1970, columns z, y, x. By its own pages (UNITS, COORDINATES, CROSSPLATFORM), accelerations of an
iPhone have the other sign than Android's on all axes, and are in g where they are raw or a watch's, unless
`Metadata.csv` says `standardisation`; here they always are as Android has them, in m/s^2: a phone that lies flat feels
+9.81 on z.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.export_sound import read_sound
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.series import STANDARD_GRAVITY, Export, Logger, Mark, Series, Sound, kind_of, left_out, slug
from leo_runtime.recordings.table import Table, cells, is_number, numbers, read_table

_KNOWN_TIMES = ("time", "seconds_elapsed")
_PARTS: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "WristMotion": (
        ("wrist_acceleration", ("accelerationX", "accelerationY", "accelerationZ")),
        ("wrist_gravity", ("gravityX", "gravityY", "gravityZ")),
        ("wrist_rotation", ("rotationRateX", "rotationRateY", "rotationRateZ")),
        ("wrist_quaternion", ("quaternionW", "quaternionX", "quaternionY", "quaternionZ")),
    ),
    "Headphone": (
        ("headphone_acceleration", ("accelerationX", "accelerationY", "accelerationZ")),
        ("headphone_gravity", ("gravityX", "gravityY", "gravityZ")),
        ("headphone_rotation", ("rotationRateX", "rotationRateY", "rotationRateZ")),
        ("headphone_quaternion", ("quaternionW", "quaternionX", "quaternionY", "quaternionZ")),
    ),
    "Orientation": (("orientation", ("qw", "qx", "qy", "qz")), ("rotation_angles", ("roll", "pitch", "yaw"))),
}
"""Files that hold several sensors' columns, and what they become. All others are one stream."""
_UNITS = {
    "accelerometer": "m/s^2",
    "accelerometer_uncalibrated": "m/s^2",
    "total_acceleration": "m/s^2",
    "gravity": "m/s^2",
    "wrist_acceleration": "m/s^2",
    "wrist_gravity": "m/s^2",
    "headphone_acceleration": "m/s^2",
    "headphone_gravity": "m/s^2",
    "gyroscope": "rad/s",
    "gyroscope_uncalibrated": "rad/s",
    "wrist_rotation": "rad/s",
    "headphone_rotation": "rad/s",
    "rotation_angles": "rad",
    "magnetometer": "uT",
    "magnetometer_uncalibrated": "uT",
    "watch_magnetometer": "uT",
    "compass": "deg",
    "light": "lx",
    "heart_rate": "1/min",
}
_IN_G = ("accelerometer_uncalibrated", "wrist_acceleration", "wrist_gravity", "headphone_acceleration")
"""On iOS, unless standardised."""
_ACCELERATIONS = tuple(name for name, unit in _UNITS.items() if unit == "m/s^2")
_EVENTS = ("heart_rate", "location", "watch_location", "pedometer", "battery", "light", "brightness")
"""What comes when there is something new."""
_SOUND = (".mp4", ".m4a", ".caf", ".3gp", ".wav", ".aac")


@dataclass(frozen=True, slots=True)
class _Meta:
    """What `Metadata.csv` says."""

    platform: str = ""
    standardised: bool = False
    device: str = ""
    time_zone: str | None = None

    @property
    def is_apples_own(self) -> bool:
        """Whether signs and units are iOS's own."""
        return self.platform == "ios" and not self.standardised


def _recognises(files: Files) -> bool:
    return any(_is_sensor(files, path) for path in files.paths if "/" not in path)


def _is_sensor(files: Files, path: str) -> bool:
    lower = path.lower()
    if lower.endswith(".csv"):
        first = files.begins(path, 400).split("\n", 1)[0]
        return all(name in re.split(r"[,;\t\"\r ]+", first) for name in _KNOWN_TIMES)
    return lower.endswith(".json") and re.match(r'\s*\[\s*\{[^}]*"seconds_elapsed"', files.begins(path)) is not None


def _read(files: Files) -> Export:
    repairs: list[str] = []
    meta = _Meta()
    annotations: Table | None = None
    found: list[Series] = []
    zero_ns: int | None = None
    for sensor, table in _tables(files, repairs):
        if sensor == "Metadata":
            meta = _meta(table)
            continue
        if sensor == "Annotation":
            annotations = table
            continue
        try:
            zero_ns = _start_ns(table) if zero_ns is None else zero_ns
            series = list(_series(sensor, table, meta, zero_ns))
        except RecordingError as error:
            repairs.append(f"not read: {error}")
            continue
        if not series:
            repairs.append(f"not read: {sensor} (it holds no numbers)")
        found += series
    if zero_ns is None or not found:
        raise RecordingError(
            f"{files.where}: holds no sensor's samples", hint=repairs[0] if repairs else "record it again"
        )
    found += _total(found)
    if meta.is_apples_own and any(one.name in _ACCELERATIONS for one in found):
        repairs.append("an iPhone's accelerations have the other sign, raw ones in g: brought to Android's, in m/s^2")
    if not meta.platform:
        repairs.append("no Metadata.csv says which phone it was: signs and units are taken for Android's")
    elif meta.platform not in ("android", "ios"):
        repairs.append(f"Metadata.csv says platform `{meta.platform}`: signs and units are taken for Android's")
    source = " ".join(filter(None, ("Sensor Logger,", meta.device, meta.platform))).rstrip(",")
    marks = () if annotations is None else tuple(_marks(annotations, zero_ns))
    sounds = tuple(_sounds(files, {one.name for one in found}))
    return Export(tuple(found), source, marks, zero_ns // 1000, meta.time_zone, tuple(repairs), sounds)


def _sounds(files: Files, taken: set[str]) -> Iterable[Sound]:
    """The files of sound, that of the microphone as `mic`, under names of their own."""
    for path in files.paths:
        if "/" in path or not path.lower().endswith(_SOUND):
            continue
        stem = path.rpartition(".")[0]
        bare = "mic" if stem.lower() == "microphone" else slug(stem)
        number, name = 1, bare
        while name in taken:
            number, name = number + 1, f"{bare}_{number + 1}"
        taken.add(name)
        yield Sound(name, files.place(path), partial(read_sound, files, path))


def _tables(files: Files, repairs: list[str]) -> Iterable[tuple[str, Table]]:
    """The table of each sensor that has samples, by its name, one at a time; that which says how to read them first."""
    inside = [path for path in files.paths if "/" not in path]
    for path in sorted(inside, key=lambda path: path != "Metadata.csv"):
        stem, _, end = path.rpartition(".")
        if end.lower() == "json" and _is_sensor(files, path):
            yield from _from_json(files.place(path), files.read(path))
        elif end.lower() == "csv":
            raw = files.read(path)
            # A sensor that gave nothing has a line of names, or not even that.
            if not raw.strip().count(b"\n"):
                repairs.append(f"not read: {path} (it holds no samples)")
                continue
            try:
                yield stem, read_table(files.place(path), raw)
            except RecordingError as error:
                repairs.append(f"not read: {error}")


def _from_json(where: str, raw: bytes) -> Iterable[tuple[str, Table]]:
    """The tables of an export as one list of objects, whose values are texts."""
    try:
        rows = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{where}: cannot be read as JSON ({error})", hint="export it again, as a zip") from None
    found: dict[str, list[Mapping[str, object]]] = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            found.setdefault(str(row.get("sensor", "Metadata")), []).append(row)
    for sensor, its in sorted(found.items(), key=lambda item: item[0] != "Metadata"):
        names = [name for name in its[0] if name != "sensor"]
        lines = [",".join(names), *(",".join(_cell(row.get(name)) for name in names) for row in its)]
        if names:
            yield sensor, read_table(f"{where}: {sensor}", "\n".join(lines).encode("utf-8", "replace"))


def _cell(value: object) -> str:
    return '"' + ("" if value is None else str(value)).replace('"', '""') + '"'


def _meta(table: Table) -> _Meta:
    row = next((row for _, row in table.rows()), [])
    names = [name.strip().lower() for name in table.names]
    if len(row) > len(names) and "device name" in names:
        # Of what is in it a person names the phone alone, and iPhone13,2 has a comma.
        at, surplus = names.index("device name"), len(row) - len(names)
        row = [*row[:at], ",".join(row[at : at + surplus + 1]), *row[at + surplus + 1 :]]
    said = {name: value.strip() for name, value in zip(names, row, strict=False)}
    return _Meta(
        platform=said.get("platform", "").lower(),
        standardised=said.get("standardisation", "").lower() == "true",
        device=said.get("device name", ""),
        time_zone=said.get("recording timezone") or None,
    )


def _start_ns(table: Table) -> int:
    """When recording began, in ns since 1970: the time of the first row that has one, less what had elapsed then."""
    time, elapsed = _place(table, "time"), _place(table, "seconds_elapsed")
    for _, row in table.rows():
        if len(row) > max(time, elapsed) and re.fullmatch(r"[0-9]{1,19}", row[time].strip()):
            since_s = float(row[elapsed]) if re.fullmatch(r"-?[0-9]{1,6}(\.[0-9]*)?", row[elapsed].strip()) else 0.0
            return int(row[time]) - round(since_s * 1e9)
    raise RecordingError(f"{table.where}: its times are no whole numbers of ns", hint="export it again")


def _place(table: Table, name: str) -> int:
    if name not in table.names:
        raise RecordingError(f"{table.where}:{table.header}: has no column `{name}`", hint="export it again")
    return table.names.index(name)


def _series(sensor: str, table: Table, meta: _Meta, zero_ns: int) -> Iterable[Series]:
    time = _place(table, "time")
    for name, columns in _streams(sensor, table):
        found = numbers(table, time, [table.names.index(column) for column in columns], incomplete=True)
        if found.times.dtype != np.int64:
            raise RecordingError(f"{table.where}: its times are no whole numbers of ns", hint="export it again")
        times_us = (found.times - zero_ns) / 1e3
        values = found.values
        if meta.is_apples_own and name in _ACCELERATIONS:
            values = values * (-STANDARD_GRAVITY if name in _IN_G else -1.0)
        if name == "watch_barometer" and meta.is_apples_own and "pressure" in columns:
            values[:, columns.index("pressure")] *= 10.0  # kPa
        kind = "events" if name in _EVENTS else kind_of(times_us, is_motion=len(columns) in (3, 4))
        told = left_out(len(found.left_out))
        yield Series(name, kind, table.where, times_us, values, columns, _UNITS.get(name), repairs=told)


def _streams(sensor: str, table: Table) -> Iterable[tuple[str, tuple[str, ...]]]:
    """The streams of a file: the name and columns of each."""
    parts = [(name, columns) for name, columns in _PARTS.get(sensor, ()) if all(c in table.names for c in columns)]
    if parts:
        yield from parts
        return
    if all(axis in table.names for axis in "xyz"):
        yield slug(sensor), ("x", "y", "z")
        return
    row = next((row for _, row in table.rows()), [])
    named = zip(table.names, row, strict=False)
    columns = tuple(name for name, cell in named if name and name not in _KNOWN_TIMES and is_number(cell))
    if columns:
        yield slug(sensor), columns


def _total(found: Iterable[Series]) -> Iterable[Series]:
    """Acceleration with gravity, where the phone gives the two apart: their sum, but where gravity has a gap."""
    by_name = {one.name: one for one in found if one.columns == ("x", "y", "z")}
    free, gravity = by_name.get("accelerometer"), by_name.get("gravity")
    if free is None or gravity is None or "total_acceleration" in by_name:
        return
    order = np.argsort(gravity.times_us, kind="stable")
    at_us = gravity.times_us[order]
    period_us = float(np.median(np.diff(at_us))) if len(at_us) > 1 else 0.0
    after = np.searchsorted(at_us, free.times_us)
    left_us, right_us = np.take(at_us, after - 1, mode="clip"), np.take(at_us, after, mode="clip")
    near = (left_us <= free.times_us) & (free.times_us <= right_us) & (right_us - left_us < 2 * period_us)
    near |= np.minimum(np.abs(free.times_us - left_us), np.abs(right_us - free.times_us)) <= period_us / 2
    if not near.any():
        return
    times_us = free.times_us[near]
    its = [np.interp(times_us, at_us, gravity.values[order, axis]) for axis in range(3)]
    repairs = (*free.repairs, "made of Accelerometer and Gravity, added up")
    if missing := int(np.count_nonzero(~near)):
        repairs += (f"rows for which there is no gravity are left out: {missing}",)
    values = free.values[near] + np.stack(its, axis=1)
    yield replace(free, name="total_acceleration", times_us=times_us, values=values, repairs=repairs)


def _marks(table: Table, zero_ns: int) -> Iterable[Mark]:
    """Annotations, each as long as the button was held."""
    if "time" not in table.names or "text" not in table.names:
        return
    times, texts = cells(table, table.names.index("time")), cells(table, table.names.index("text"))
    held = "millisecond_press_duration"
    lengths = cells(table, table.names.index(held)) if held in table.names else [""] * len(times)
    for time, text, length in zip(times, texts, lengths, strict=True):
        if re.fullmatch(r"[0-9]{1,19}", time) and text:
            start_us = (int(time) - zero_ns) // 1000
            held_us = round(float(length) * 1e3) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", length) else 0
            yield Mark(start_us, start_us + max(1, held_us), text)


SENSOR_LOGGER = Logger("sensor-logger", "Sensor Logger (zip, folder, CSV or JSON)", _recognises, _read)

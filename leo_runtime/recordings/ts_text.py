"""Reads `.ts` of the UEA and UCR archives: cases of series, each with the label of its class.

A line below `@data` is a case: its dimensions apart by `:`, their values by `,`, the label last. Cases are laid one
behind the other, with one period empty between them. The file says no rate: the manifest does, as the stream's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.series import Export, Logger, Mark, Series, slug

_PERIOD_US = 1_000_000
"""How far apart samples are in the export, whose rate is not known."""


@dataclass(frozen=True, slots=True)
class _Header:
    problem: str
    has_times: bool
    has_labels: bool
    data_line: int


def _recognises(files: Files) -> bool:
    return _file_of(files) is not None


def _file_of(files: Files) -> str | None:
    """A file that ends in `.ts`, or begins as one does."""
    return next((path for path in files.paths if "/" not in path and _is_ts(files, path)), None)


def _is_ts(files: Files, path: str) -> bool:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".ts":
        return True
    first = (line for line in files.begins(path).splitlines() if line.strip() and not line.startswith("#"))
    return suffix == ".txt" and next(first, "").lower().startswith("@problemname")


def _read(files: Files) -> Export:
    path = _file_of(files)
    assert path is not None, "only what was recognised is read"
    where = files.place(path)
    try:
        lines = files.read(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RecordingError(f"{where}: cannot be read as .ts ({error})", hint="save it as UTF-8") from None
    header = _header(where, lines)
    places: list[np.ndarray] = []
    values: list[np.ndarray] = []
    marks: list[Mark] = []
    at = 0
    for line, case, label in _cases(where, lines, header):
        if values and case.shape[1] != values[0].shape[1]:
            raise RecordingError(
                f"{where}:{line}: expected {values[0].shape[1]} dimensions as in the first case, got {case.shape[1]}",
                hint="copy it again",
            )
        is_there = np.isfinite(case).all(axis=1)  # `?` stands for what is missing.
        places.append(at + np.flatnonzero(is_there))
        values.append(case[is_there])
        if label:
            marks.append(Mark(at * _PERIOD_US, (at + len(case)) * _PERIOD_US, label))
        at += len(case) + 1
    if not any(len(case) for case in values):
        raise RecordingError(f"{where}: holds no samples", hint="copy it again")
    times_us = np.concatenate(places) * float(_PERIOD_US)
    columns = tuple(f"dimension {k}" for k in range(values[0].shape[1]))
    series = Series(slug(header.problem), "other", where, times_us, np.concatenate(values), columns)
    return Export((series,), f"the data set {header.problem}", tuple(marks))


def _header(where: str, lines: list[str]) -> _Header:
    said: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        words = line.strip().split()
        if not words or not words[0].startswith("@"):
            continue
        said[words[0][1:].lower()] = words[1:]
        if words[0].lower() == "@data":
            if said.get("timestamps", ["false"])[:1] == ["true"]:
                raise RecordingError(f"{where}: has times of its own (@timeStamps true)", hint="convert it to CSV")
            labels = said.get("classlabel", ["false"])[:1] == ["true"] or said.get("targetlabel", [""])[:1] == ["true"]
            return _Header(" ".join(said.get("problemname", ["samples"])), False, labels, number)
    raise RecordingError(f"{where}: has no line `@data`", hint="copy it again")


def _cases(where: str, lines: list[str], header: _Header) -> Iterator[tuple[int, np.ndarray, str]]:
    """Each case with its line, as (samples, dimensions), and its label; NaN stands for what is missing."""
    for number, line in enumerate(lines[header.data_line :], header.data_line + 1):
        text = line.strip()
        if not text or text.startswith(("#", "%")):
            continue
        dimensions = text.split(":")
        label = dimensions.pop().strip() if header.has_labels else ""
        try:
            if (not text.isascii() and not label) or "_" in "".join(dimensions):
                raise ValueError
            series = [
                np.array([value.strip().replace("?", "nan") for value in one.split(",")], np.float64)
                for one in dimensions
            ]
            with np.errstate(over="ignore"):
                if any(np.isinf(one.astype(np.float32)).any() for one in series):
                    raise ValueError
        except ValueError:
            raise RecordingError(f"{where}:{number}: a value is no number", hint="copy it again") from None
        if not series:
            raise RecordingError(f"{where}:{number}: has no values", hint="copy it again")
        longest = max(len(one) for one in series)
        # Dimensions of one case may be of different lengths: what is missing at the end is missing.
        filled = [np.pad(one, (0, longest - len(one)), constant_values=np.nan) for one in series]
        yield number, np.stack(filled, axis=1), label


def at_rate(export: Export, rate_hz: float) -> Export:
    """The export of a data set whose rate is known."""
    by = 1e6 / rate_hz / _PERIOD_US
    series = tuple(replace(one, times_us=one.times_us * by) for one in export.series)
    marks = tuple(Mark(round(one.start_us * by), round(one.end_us * by), one.label) for one in export.marks)
    return replace(export, series=series, marks=marks)


TS = Logger("ts", "a .ts file of the UEA and UCR archives", _recognises, _read)

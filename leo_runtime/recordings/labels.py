"""What was really there, from files that people or loggers write: CSV, Audacity's label tracks, a logger's notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from leo_runtime.errors import RecordingError, did_you_mean
from leo_runtime.recordings import clocks
from leo_runtime.recordings.loggers import LOGGERS, epoch_us, read_export
from leo_runtime.recordings.reader import without_path
from leo_runtime.recordings.series import Mark, zero_us
from leo_runtime.recordings.table import read_table, shortened

FORMATS = ("csv", "audacity", *(logger.name for logger in LOGGERS))
_START = re.compile(r"(start|begin|onset|from|time|t)\b|(start|begin|onset)", re.IGNORECASE)
_END = re.compile(r"(end|stop|until|to)\b|(end|stop|offset)_?", re.IGNORECASE)
_LENGTH = re.compile(r"(duration|length)", re.IGNORECASE)
_LABEL = re.compile(r"(label|text|name|class|activity|event|annotation|tag)", re.IGNORECASE)


def read_labels(
    path: Path,
    form: str | None,
    *,
    unit: clocks.TimeUnit | None = None,
    start_epoch_us: int | None = None,
    rate_hz: float | None = None,
) -> list[Mark]:
    """What a file notes, in us from the recording's start on, in its order.

    `form` is one of `FORMATS`, None: by the end of its name, `.txt` for Audacity, else CSV. Times since 1970 are taken
    less `start_epoch_us`; `rate_hz` is that of a data set that says none. A note of no length is a microsecond long.
    Raises `RecordingError` with the line.
    """
    form = form or ("audacity" if path.suffix.lower() == ".txt" else "csv")
    for logger in LOGGERS:
        if logger.name == form:
            export = read_export(path, logger, rate_hz)
            zero = zero_us(export)
            its_us = epoch_us(export, zero)
            shift_us = 0 if start_epoch_us is None or its_us is None else its_us - start_epoch_us
            back_us = round(zero) - shift_us
            return [Mark(one.start_us - back_us, one.end_us - back_us, one.label) for one in export.marks]
    if form not in FORMATS:
        raise RecordingError(f"{path}: labels are declared as `{form}`", hint=did_you_mean(form, FORMATS))
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read ({without_path(error)})") from None
    if not raw.strip():
        return []
    return _audacity(path, raw) if form == "audacity" else _csv(path, raw, unit, start_epoch_us)


def _audacity(path: Path, raw: bytes) -> list[Mark]:
    """Start, end in seconds, and text, apart by tabs; lines that begin with a backslash tell of frequencies."""
    marks = []
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: is not UTF-8 (byte {error.start})", hint="save it as UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):
            continue
        cells = line.split("\t")
        if len(cells) < 2:
            raise RecordingError(
                f"{path}:{number}: expected start, end and label, apart by tabs, got `{shortened(line)}`",
                hint='if it is CSV, give `format = "csv"`',
            )
        label = cells[2].strip() if len(cells) > 2 else ""
        start_us, end_us = (_us(path, number, cell, "s", None) for cell in cells[:2])
        marks.append(_mark(path, number, start_us, end_us, label or "label"))
    return marks


def _csv(path: Path, raw: bytes, unit: clocks.TimeUnit | None, start_epoch_us: int | None) -> list[Mark]:
    """A line of names, of which one begins with `start`, one with `end` or `duration`, one with `label`, in any order.

    Without `end` a label lasts no time.
    """
    table = read_table(str(path), raw)
    start, label = _place(table.names, _START), _place(table.names, _LABEL)
    if start is None or label is None:
        raise RecordingError(
            f"{path}:{table.header}: expected columns `start`, `end` and `label`, got {', '.join(table.names)}",
            hint="times may be `start_us`, `start_ms`, `start (s)`, or seconds",
        )
    end, length = _place(table.names, _END), _place(table.names, _LENGTH)

    def its(column: int) -> clocks.TimeUnit | None:
        return unit or clocks.unit_of(table.names[column])

    marks = []
    for line, row in table.rows():
        if len(row) != len(table.names):
            raise RecordingError(
                f"{path}:{line}: expected {len(table.names)} columns, got {len(row)}", hint="truncated?"
            )
        start_us = _us(path, line, row[start], its(start), start_epoch_us)
        end_us = start_us
        if end is not None:
            end_us = _us(path, line, row[end], its(end), start_epoch_us)
        elif length is not None:
            end_us = start_us + _us(path, line, row[length], its(length) or its(start), 0)
        if row[label].strip():
            marks.append(_mark(path, line, start_us, end_us, row[label].strip()))
    return marks


def _place(names: Sequence[str], pattern: re.Pattern[str]) -> int | None:
    return next((place for place, name in enumerate(names) if pattern.match(name)), None)


def _us(path: Path, line: int, cell: str, unit: clocks.TimeUnit | None, start_epoch_us: int | None) -> int:
    """A time in us from the recording's start on; without a unit, of seconds, unless its size tells another."""
    text = cell.strip().replace(",", ".")
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        value: int | float = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else float(text)
        if not abs(value) < 1e18:
            raise ValueError
    except ValueError:
        raise RecordingError(f"{path}:{line}: `{shortened(cell)}` is no time", hint="leave that line out") from None
    found = clocks.microseconds(value, unit)
    if not clocks.is_epoch(found):
        return found
    if start_epoch_us is None:
        raise RecordingError(
            f"{path}:{line}: its times count from 1970, and no stream says when the recording began",
            hint="give the recording `start_epoch_us`, or the times from its start on",
        )
    return found - start_epoch_us


def _mark(path: Path, line: int, start_us: int, end_us: int, label: str) -> Mark:
    if end_us < start_us:
        raise RecordingError(f"{path}:{line}: `{label}` ends before it starts", hint="correct that line")
    return Mark(start_us, max(end_us, start_us + 1), label)

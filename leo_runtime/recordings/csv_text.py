"""Reads CSV as loggers write it: a line that names the columns, then a row a sample with its time.

Found out, not asked: the separator (tab, `;` or `,`), a decimal comma (beside the other separators), quotes, a mark of
the byte order, blank lines, comments (`#`), which column is the time, and its unit. What the manifest says goes first.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.grid import UnevenError, evenly, spread_us
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.stream import RecordedStream

_UNITS_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_EPOCHS = (("ns", 1e17), ("us", 1e14), ("ms", 1e11), ("s", 1e8))
"""Times since 1970 are at least so great, in each unit: from 1973 on."""
_TIME_NAME = re.compile(r"(time|timestamp|seconds|t)\b|time|seconds_elapsed", re.IGNORECASE)
_UNIT_IN_NAME = re.compile(r"(?:_|[(\[]\s*)(ns|us|µs|μs|ms|s)\s*(?:[)\]]|$)", re.IGNORECASE)  # Both mus.
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}$")
_ROWS = 4096
"""So many are text at a time."""
SHOWN_LENGTH = 40
"""How much of a cell a message shows."""


@dataclass(frozen=True, slots=True)
class _Table:
    """Some rows of a file as text, one after the other, and the lines they are from."""

    path: Path
    header: int
    """The line that names the columns."""
    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    decimal_comma: bool


def read_csv(path: Path, stream: RecordedStream) -> StreamData:
    """The samples of a stream, evenly spaced from the recording's start on.

    Raises `RecordingError` where the file cannot be read, holds anything but numbers where they are wanted, or cannot
    be put on an even grid of the rate that the manifest says.
    """
    found: list[np.ndarray] = []
    times: list[np.ndarray] = []
    lines: list[np.ndarray] = []
    for table in _tables(path):
        time = _time_column(table, stream)
        _expect_names(table)
        columns = _channels(table, stream, time)
        found.append(np.stack([_numbers(table, column) for column in columns], axis=1))
        times.append(_times(table, time))
        lines.append(np.array(table.lines, np.int64))
    repairs: list[str] = []
    values, row_lines = _joined(found), _joined(lines)
    times_us = _times_us(table, stream, time, _joined(times), repairs)
    if stream.times != "each":
        times_us = spread_us(times_us, stream.rate_hz, stamped_first=stream.times == "first")
        if stream.clock == "own":
            times_us = times_us - times_us[0]
        repairs.append("samples that share a packet's time are spread evenly over it")
    try:
        even = evenly(times_us, values, stream.rate_hz)
    except UnevenError as error:
        where = f"{path}" if error.row is None else f"{path}:{row_lines[error.row]}"
        whose = "" if error.row is not None else f"stream `{stream.name}` "
        raise RecordingError(f"{where}: {whose}{error}", hint=error.hint) from None
    return StreamData(even.values, stream.rate_hz, (*repairs, *even.repairs), even.gaps)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """The parts in one array; they are let go of."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _tables(path: Path) -> Iterator[_Table]:
    """All rows of a file, some thousands at a time: as text they take many times the room of their numbers."""
    try:
        # Spreadsheets put a mark of the byte order first.
        with path.open("rb") as raw, io.TextIOWrapper(raw, newline="", encoding="utf-8-sig") as file:
            try:
                yield from _tables_of(path, iter(file))
            except UnicodeDecodeError as error:
                at = raw.tell() - len(error.object) + error.start
                raise RecordingError(
                    f"{path}: cannot be read as CSV (it is not UTF-8: byte 0x{error.object[error.start]:02x} at {at})",
                    hint="save it as UTF-8",
                ) from None
    except (OSError, ValueError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read as CSV ({without_path(error)})") from None


def _tables_of(path: Path, lines: Iterator[str]) -> Iterator[_Table]:
    before: list[str] = []
    """Blank lines, comments, and the first line that says something."""
    for line in lines:
        before.append(line)
        if line.strip() and not line.startswith("#"):
            break
    separator = _separator(before)
    rows = _rows(path, chain(before, lines), separator)
    first = next(rows, None)
    if first is None:
        raise RecordingError(f"{path}: its first line must name the columns, `time_us` first", hint="it is empty")
    header, names = first
    ahead: list[tuple[int, list[str]]] = []
    if all(_is_number(cell) for cell in names if cell.strip()):
        # numpy writes the names of the columns as a comment.
        named = [line.lstrip("# ").rstrip() for line in before if line.startswith("#")]
        if not named:
            raise RecordingError(
                f"{path}:{header}: its first line must name the columns, `time_us` first", hint="write that line"
            )
        ahead, header = [first], len(before) - 1
        names = next(csv.reader([named[-1]], delimiter=separator))
    names = [name.strip() for name in names]
    count = 0
    for part in _parts(chain(ahead, rows)):
        count += len(part)
        yield _Table(path, header, tuple(names), [row for _, row in part], [at for at, _ in part], separator != ",")
    if count == 0:
        raise RecordingError(f"{path}: holds no samples", hint="record it again")


def _parts(rows: Iterator[tuple[int, list[str]]]) -> Iterator[list[tuple[int, list[str]]]]:
    while part := list(islice(rows, _ROWS)):
        yield part


def _expect_names(table: _Table) -> None:
    """Every column has a name, every row a cell for it."""
    if "" in table.names:
        raise RecordingError(
            f"{table.path}:{table.header}: column {table.names.index('') + 1} has no name",
            hint="a comma at the end of a line begins one more column; leave it out of every line",
        )
    for line, row in zip(table.lines, table.rows, strict=True):
        if len(row) != len(table.names):
            raise RecordingError(
                f"{table.path}:{line}: expected {len(table.names)} columns, got {len(row)}", hint="truncated?"
            )


def _separator(lines: Iterable[str]) -> str:
    """What the first line that says something separates its cells by."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    bare = re.sub(r'"[^"]*"', "", first)
    return "\t" if "\t" in bare else ";" if ";" in bare else ","


def _rows(path: Path, lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, each with its line, from 1."""
    reader = csv.reader(("\n" if line.startswith("#") else line for line in lines), delimiter=separator)
    for row in reader:
        if len(row) > 1 or any(cell.strip() for cell in row):
            # A disk that was full, or power that went, leaves zeros in place of what was written.
            if any("\0" in cell for cell in row):
                raise RecordingError(
                    f"{path}:{reader.line_num}: holds bytes of 0, which are no text",
                    hint="what was recorded there is lost; copy it again, or leave out what comes from that line on",
                )
            yield reader.line_num, row


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _column(table: _Table, stream: RecordedStream, name: str) -> int:
    if name in table.names:
        return table.names.index(name)
    raise RecordingError(
        f"{table.path}: stream `{stream.name}` reads column `{name}`, which the file has not",
        hint=f"it has {', '.join(table.names)}",
    )


def _time_column(table: _Table, stream: RecordedStream) -> int:
    if stream.time_column is not None:
        return _column(table, stream, stream.time_column)
    for column, name in enumerate(table.names):
        if _TIME_NAME.match(name):
            return column
    raise RecordingError(
        f"{table.path}: its first line must name the columns, `time_us` first; it names {', '.join(table.names)}",
        hint='give the stream the name of the column as `time_column`, or say what it is: `format = "wisdm"`',
    )


def _channels(table: _Table, stream: RecordedStream, time: int) -> list[int]:
    columns = [column for column in range(len(table.names)) if column != time]
    if stream.columns:
        columns = [_column(table, stream, name) for name in stream.columns]
    if not columns:
        raise RecordingError(f"{table.path}: has times and no other columns, so no samples", hint="record it again")
    if len(columns) != stream.channels:
        names = ", ".join(table.names[column] for column in columns)
        raise RecordingError(
            f"{table.path}: stream `{stream.name}` is declared with {stream.channels} channels, the file has "
            f"{len(columns)}: {names}",
            hint="name those that are meant in the stream's `columns`, or correct its `channels`",
        )
    return columns


def _numbers(table: _Table, column: int) -> np.ndarray:
    """A column as float64 that float32 has room for."""
    cells = [row[column] for row in table.rows]
    if table.decimal_comma:
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        if not _is_plain("".join(cells)):
            raise ValueError
        numbers = np.array(cells, dtype=np.float64)
    except ValueError:  # Cell by cell, for the place.
        numbers = np.array([_number(table, row, column, cell) for row, cell in enumerate(cells)], np.float64)
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(numbers.astype(np.float32))
    if bad.any():
        row = int(np.argmax(bad))
        raise RecordingError(
            f"{table.path}:{table.lines[row]}: a value is not finite, or too great: "
            f"{_shortened(table.rows[row][column])} (column `{table.names[column]}`)",
            hint="every sample needs a number for every channel; a row left out is a gap",
        )
    return numbers


def _number(table: _Table, row: int, column: int, cell: str) -> float:
    try:
        if not _is_plain(cell.strip()):
            raise ValueError
        return float(cell)
    except ValueError:
        found = table.rows[row][column]
        what = f"`{_shortened(found)}` is no number" if cell.strip() else "a cell is empty"
        raise RecordingError(
            f"{table.path}:{table.lines[row]}: {what} (column `{table.names[column]}`)",
            hint="every sample needs a number for every channel; a row left out is a gap",
        ) from None


def _is_plain(text: str) -> bool:
    """Nothing in it but what Python and everybody else read alike: it also takes 1_000, and digits of any script."""
    return "_" not in text and text.isascii()


def _shortened(cell: str) -> str:
    """A cell as a message shows it: of a damaged file it may be of any length."""
    return cell if len(cell) <= SHOWN_LENGTH else f"{cell[:SHOWN_LENGTH]}..."


def _times(table: _Table, column: int) -> np.ndarray:
    """The times as they are written: int64 where all are whole, since a float has no room for ns since 1970."""
    cells = [row[column] for row in table.rows]
    if all(_WHOLE.match(cell) for cell in cells):
        return np.array([int(cell) for cell in cells], np.int64)
    return _numbers(table, column)


def _times_us(table: _Table, stream: RecordedStream, column: int, times: np.ndarray, repairs: list[str]) -> np.ndarray:
    """Times as they are written in a column as float64, in us from the recording's start on."""
    first, since = float(times[0]), (times - times[0]).astype(np.float64)
    name = table.names[column]
    epoch = next((unit for unit, least in _EPOCHS if abs(first) >= least), None)
    unit = stream.time_unit or _unit_of(name) or epoch
    if unit is None:
        raise RecordingError(
            f"{table.path}: column `{name}` does not say the unit of its times, the first is {first:.10g}",
            hint='give the stream `time_unit = "s"`, or ms, us, ns',
        )
    is_epoch = first * _UNITS_US[unit] >= _EPOCHS[-1][1] * 1e6
    if stream.clock == "own" or (stream.clock is None and is_epoch):
        if stream.clock is None:
            repairs.append(f"its times count from 1970, in {unit}: its first sample is taken for the start")
        first = 0.0
    times_us: np.ndarray = (first + since) * _UNITS_US[unit]
    return times_us


def _unit_of(name: str) -> str | None:
    if found := _UNIT_IN_NAME.search(name):
        return found[1].lower().replace("µ", "u").replace("μ", "u")  # Both mus.
    return "s" if name.lower().startswith("seconds") else None

"""Tables as text: a line that names the columns, then rows of numbers, read block by block.

Found out, not asked: the separator (tab, `;` or `,`), a decimal comma (beside the other separators), quotes, a mark of
the byte order, blank lines, comments (`#`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.reader import without_path

SHOWN_LENGTH = 40
"""How much of a cell a message shows."""
_BLOCK_ROWS = 4096
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}$")
_MOST_WHOLE = 1 << 62
"""So that the difference of two fits into 64 bits; in ns since 1970, the year 2116."""
_NOTHING = ("", "nan", "null", "none", "na", "n/a")
"""What stands in a cell that holds nothing, where that is no mistake."""
_BEGINS_NUMBER = frozenset("0123456789+-.,")
_EVERY = 'every sample needs a number for every channel; with `missing = "gap"` the stream takes such a row for a gap'


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The names of the columns, and the rows below them as text."""

    where: str
    """The file, as messages name it."""
    header: int
    """The line that names the columns."""
    names: tuple[str, ...]
    separator: str
    is_headed: bool
    """Whether the first row names the columns; else a comment before it does."""
    source: Path | bytes

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows of samples, each with its line, from 1, as they are read. Raises `RecordingError` for no CSV."""
        rows = _rows(self.where, _lines(self.where, self.source), self.separator)
        yield from islice(rows, 1 if self.is_headed else 0, None)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Columns of a table as numbers."""

    values: np.ndarray
    """(rows, columns), float64 that float32 has room for."""
    times: np.ndarray
    """(rows,), int64 where all are whole numbers (a float has no room for nanoseconds since 1970), else float64."""
    lines: np.ndarray
    """(rows,), int64."""
    left_out: tuple[int, ...] = ()
    """The lines of the rows in which a cell holds nothing."""


def read_table(where: str, source: Path | bytes) -> Table:
    """The table of a file, or of what one holds; its rows are read when they are asked for.

    Raises `RecordingError` where it is no text or has no rows.
    """
    before: list[str] = []
    """Blank lines, comments, and the first line that says something."""
    lines = _lines(where, source)
    for line in lines:
        before.append(line)
        if line.strip() and not line.startswith("#"):
            break
    separator = _separator(before)
    first = next(_rows(where, chain(before, lines), separator), None)
    if first is None:
        raise RecordingError(f"{where}: its first line must name the columns, `time_us` first", hint="it is empty")
    header, names = first
    is_headed = not all(is_number(cell) for cell in names if cell.strip())
    if not is_headed:
        # numpy writes the names of the columns as a comment.
        named = [line.lstrip("# ").rstrip() for line in before if line.startswith("#")]
        if not named:
            raise RecordingError(
                f"{where}:{header}: its first line must name the columns, `time_us` first", hint="write that line"
            )
        header, names = len(before) - 1, next(csv.reader([named[-1]], delimiter=separator), [])
    table = Table(where, header, tuple(name.strip() for name in names), separator, is_headed, source)
    if next(table.rows(), None) is None:
        raise RecordingError(f"{where}: holds no samples", hint="record it again")
    return table


def numbers(table: Table, time: int, columns: Sequence[int], *, incomplete: bool = False) -> Numbers:
    """The columns at these places, beside that of the times.

    Rows in which one of them holds nothing are left out where `incomplete` allows it, a last row that was cut among
    them. Raises `RecordingError` with the line where a row is not as long as the line of the names, or a cell is no
    number.
    """
    values, times, lines, left_out = [], [], [], list[int]()
    rows = table.rows()
    while block := list(islice(rows, _BLOCK_ROWS)):
        kept = _whole_rows(table, block, [time, *columns], left_out, incomplete)
        if kept:
            values.append(np.stack([_column(table, kept, column) for column in columns], axis=1))
            times.append(_times(table, kept, time))
            lines.append(np.array([line for line, _ in kept], np.int64))
    if not values:
        raise RecordingError(f"{table.where}: holds no samples", hint="record it again")
    return Numbers(np.concatenate(values), _joined(times), np.concatenate(lines), tuple(left_out))


def cells(table: Table, column: int) -> list[str]:
    """A column as text; a row that is too short has nothing there."""
    return [row[column].strip() if column < len(row) else "" for _, row in table.rows()]


def is_number(cell: str) -> bool:
    """Whether a cell is a number, with a point or a comma."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def shortened(cell: str) -> str:
    """A cell as a message shows it: of a damaged file it may be of any length."""
    return cell if len(cell) <= SHOWN_LENGTH else f"{cell[:SHOWN_LENGTH]}..."


def _separator(lines: Iterable[str]) -> str:
    """What the first line that says something separates its cells by."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    bare = re.sub(r'"[^"]*"', "", first)
    return "\t" if "\t" in bare else ";" if ";" in bare else ","


def _lines(where: str, source: Path | bytes) -> Iterator[str]:
    """The lines of a file, each with its end, as they are read."""
    try:
        # Spreadsheets put a mark of the byte order first.
        with (
            source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as raw,
            io.TextIOWrapper(raw, "utf-8-sig", newline="") as file,
        ):
            try:
                yield from file
            except UnicodeDecodeError as error:
                at = raw.tell() - len(error.object) + error.start
                raise RecordingError(
                    f"{where}: cannot be read as CSV (it is not UTF-8: byte 0x{error.object[error.start]:02x} at {at})",
                    hint="save it as UTF-8",
                ) from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{where}: cannot be read as CSV ({without_path(error)})") from None


def _rows(where: str, lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, each with its line, from 1."""
    zeros: list[str] = []
    """Lines that hold bytes of 0: to look for them in each cell takes as long as all else."""

    def text() -> Iterator[str]:
        for line in lines:
            if "\0" in line:
                zeros.append(line)
            yield "\n" if line.startswith("#") else line

    reader = csv.reader(text(), delimiter=separator)
    try:
        for row in reader:
            if len(row) > 1 or any(cell.strip() for cell in row):
                if zeros:
                    _expect_text(where, reader.line_num, row)
                yield reader.line_num, row
    except csv.Error as error:
        raise RecordingError(f"{where}: cannot be read as CSV ({error})") from None


def _expect_text(where: str, line: int, row: Iterable[str]) -> None:
    """Nothing that a disk that was full, or power that went, left in place of what was written."""
    if any("\0" in cell for cell in row):
        raise RecordingError(
            f"{where}:{line}: holds bytes of 0, which are no text",
            hint="what was recorded there is lost; copy it again, or leave out what comes from that line on",
        )


def _whole_rows(
    table: Table,
    block: Sequence[tuple[int, list[str]]],
    columns: Sequence[int],
    left_out: list[int],
    incomplete: bool,
) -> list[tuple[int, list[str]]]:
    """The rows of a block that have something in each of these columns."""
    if all(len(row) == len(table.names) for _, row in block) and not (
        incomplete and any(not {row[column][:1] for _, row in block} <= _BEGINS_NUMBER for column in columns)
    ):
        return list(block)  # As nearly all blocks are.
    kept = []
    for line, row in block:
        if incomplete and any(column >= len(row) or row[column].strip().lower() in _NOTHING for column in columns):
            left_out.append(line)
            continue
        fits = len(row) == len(table.names) or (incomplete and not any(row[len(table.names) :]))
        if not fits:
            raise RecordingError(
                f"{table.where}:{line}: expected {len(table.names)} columns, got {len(row)}", hint="truncated?"
            )
        kept.append((line, row))
    return kept


def _column(table: Table, rows: Sequence[tuple[int, list[str]]], column: int) -> np.ndarray:
    """A column of some rows as float64 that float32 has room for."""
    cells = [row[column] for _, row in rows]
    if table.separator != ",":
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        if not _is_plain("".join(cells)):
            raise ValueError
        found = np.array(cells, dtype=np.float64)
    except ValueError:  # Cell by cell, for the place.
        found = np.array([_number(table, rows[i], column, cell) for i, cell in enumerate(cells)], np.float64)
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(found.astype(np.float32))
    if bad.any():
        line, row = rows[int(np.argmax(bad))]
        raise RecordingError(
            f"{table.where}:{line}: a value is not finite, or too great: {shortened(row[column])} "
            f"(column `{table.names[column]}`)",
            hint=_EVERY,
        )
    return found


def _number(table: Table, row: tuple[int, list[str]], column: int, cell: str) -> float:
    line, found = row[0], row[1][column]
    try:
        if not _is_plain(cell.strip()):
            raise ValueError
        return float(cell)
    except ValueError:
        what = f"`{shortened(found)}` is no number" if cell.strip() else "a cell is empty"
        raise RecordingError(f"{table.where}:{line}: {what} (column `{table.names[column]}`)", hint=_EVERY) from None


def _is_plain(text: str) -> bool:
    """Nothing in it but what Python and everybody else read alike: it also takes 1_000, and digits of any script."""
    return "_" not in text and text.isascii()


def _times(table: Table, rows: Sequence[tuple[int, list[str]]], column: int) -> np.ndarray:
    cells = [row[column] for _, row in rows]
    if all(_WHOLE.match(cell) for cell in cells):
        whole = [int(cell) for cell in cells]
        if max(map(abs, whole)) < _MOST_WHOLE:
            return np.array(whole, np.int64)
    return _column(table, rows, column)


def _joined(times: Sequence[np.ndarray]) -> np.ndarray:
    if all(part.dtype == np.int64 for part in times):
        return np.concatenate(times)
    return np.concatenate([part.astype(np.float64) for part in times])

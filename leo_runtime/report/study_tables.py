"""The rows of a study for other programs: CSV and Parquet, each with its table of times beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leo_runtime.errors import InputError
from leo_runtime.report.log_tables import pyarrow
from leo_runtime.schema import require_writable, write_content
from leo_runtime.study.rows import Row, columns_of

SUFFIXES = (".csv", ".parquet")
MOST = 2**63
"""What integers of such a table are below."""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as the name of the file says; the same rows give the same bytes, with the same pyarrow.

    Raises `InputError` for another suffix, or where it cannot be written, and `MissingExtraError`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: ends in none of {', '.join(SUFFIXES)}", hint="name a table by what it is to be")
    require_writable(path)
    columns = columns_of(rows)
    write_content(path, _csv(columns, rows) if suffix == ".csv" else _parquet(columns, rows))


def csv_text(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Lines with a header; what a row has not is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if (value := row.get(name)) is None else value for name in columns] for row in rows])
    return text.getvalue()


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    return csv_text(columns, rows).encode()


def _parquet(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    arrow, parquet = pyarrow()
    arrays, names = [], []
    for name in columns:
        values = _alike([row.get(name) for row in rows])
        arrays.append(arrow.array(values, _type(arrow, values)))
        names.append(name)
    file = io.BytesIO()
    parquet.write_table(arrow.table(arrays, names=names), file)
    return file.getvalue()


def _alike(values: Sequence[Any]) -> list[Any]:
    """Values of one type: texts where they are of several kinds, and floats where an integer is too large."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and any(type(value) is int and not -MOST <= value < MOST for value in values):
        return [None if value is None else float(value) for value in values]  # What is derived may be any number.
    if kinds <= {int, float} or (len(kinds) <= 1 and not kinds & {list, tuple}):
        return list(values)
    return [None if value is None else str(value) for value in values]


def _type(arrow: Any, values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    of: Mapping[frozenset[type], Any] = {
        frozenset({int}): arrow.int64(),
        frozenset({float}): arrow.float64(),
        frozenset({int, float}): arrow.float64(),
        frozenset({bool}): arrow.bool_(),
    }
    return of.get(frozenset(kinds), arrow.string())

"""Reads CSV: a first line that names the columns, `time_us` first, then a row a sample."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.reader import StreamData, expect, without_path
from leo_runtime.recordings.stream import RecordedStream


def read_csv(path: Path, stream: RecordedStream) -> StreamData:
    """The samples of a stream as float32.

    Raises `RecordingError` where the file cannot be read, holds anything but numbers, has a gap, or is of another rate
    or number of channels than the manifest says.
    """
    try:
        # Spreadsheets put a mark of the byte order before UTF-8.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read as CSV ({without_path(error)})") from None
    while rows and not any(cell.strip() for cell in rows[-1]) and len(rows[-1]) <= 1:
        rows.pop()
    if not rows or rows[0][:1] != ["time_us"]:
        raise RecordingError(f"{path}: its first line must name the columns, `time_us` first")
    if len(rows) == 1:
        raise RecordingError(f"{path}: holds no samples")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise RecordingError(f"{path}:{line}: expected {len(rows[0])} columns, got {len(row)}", hint="truncated?")
    table = _numbers(path, rows)
    steps_us = np.diff(table[:, 0])
    if len(steps_us) and steps_us.min() <= 0:
        raise RecordingError(f"{path}:{int(np.argmin(steps_us)) + 3}: time does not go on")
    rate_hz = round(1e6 / max(1e-6, float(np.median(steps_us)))) if len(steps_us) else stream.rate_hz
    expect(path, stream, rate_hz, table.shape[1] - 1)
    _expect_even(path, stream, table[:, 0])
    data = table[:, 1:].astype(np.float32)
    return StreamData(data if stream.channels > 1 else data[:, 0], stream.rate_hz)


def _numbers(path: Path, rows: Sequence[Sequence[str]]) -> np.ndarray:
    """The cells below the header, as float64 that float32 has room for."""
    try:
        table = np.array(rows[1:], dtype=np.float64)
    except ValueError:
        table = np.array(
            [
                [_number(path, line, name, cell) for name, cell in zip(rows[0], row, strict=True)]
                for line, row in enumerate(rows[1:], 2)
            ]
        )
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(table.astype(np.float32))
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        raise RecordingError(f"{path}:{row + 2}: a value is not finite, or too great: {rows[row + 1][column]}")
    return table


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        what = f"`{cell}` is no number" if cell.strip() else "a cell is empty"
        raise RecordingError(
            f"{path}:{line}: {what} (column `{column}`)", hint="every sample needs a number for every channel"
        ) from None


def _expect_even(path: Path, stream: RecordedStream, times_us: np.ndarray) -> None:
    """Every sample within half a step of where counting from 0 puts it."""
    step_us = 1e6 / stream.rate_hz
    places_us = np.arange(len(times_us)) * step_us
    off = np.abs(times_us - places_us) > step_us / 2
    if off.any():
        first = int(np.argmax(off))
        raise RecordingError(
            f"{path}:{first + 2}: this sample is at {times_us[first]:.0f} us, expected near {places_us[first]:.0f} us "
            f"(sample {first} at {stream.rate_hz} Hz)",
            hint=f"resample to an even {stream.rate_hz} Hz that begins at time_us 0, so that no gap is left",
        )

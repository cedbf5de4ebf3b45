"""Reads CSV as loggers write it: a line that names the columns, then a row a sample with its time.

Found out, not asked: how the text is written (`table`), which column is the time, and its unit. What the manifest says
goes first.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError, did_you_mean
from leo_runtime.recordings import clocks
from leo_runtime.recordings.events import in_order
from leo_runtime.recordings.grid import UnevenError, evenly, spread_us
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.recordings.table import Numbers, Table, numbers, read_table

_TIME_NAME = re.compile(r"(time|timestamp|seconds|t)\b|time|seconds_elapsed", re.IGNORECASE)


def read_csv(path: Path, stream: RecordedStream) -> StreamData:
    """The samples of a stream, evenly spaced from the recording's start on; of `events`, each with its own time.

    Raises `RecordingError` where the file cannot be read, holds anything but numbers where they are wanted, or cannot
    be put on an even grid of the rate that the manifest says.
    """
    table = read_table(str(path), path)
    time = _time_column(table, stream)
    if "" in table.names:
        raise RecordingError(
            f"{path}:{table.header}: column {table.names.index('') + 1} has no name",
            hint="a comma at the end of a line begins one more column; leave it out of every line",
        )
    found = numbers(table, time, _channels(table, stream, time), incomplete=stream.missing == "gap")
    repairs: list[str] = []
    if found.left_out:
        repairs.append(
            f"rows with a cell that holds nothing are left out: {len(found.left_out)}, the first is line "
            f"{found.left_out[0]}"
        )
    times_us, epoch_us = _times_us(table, stream, time, found, repairs)
    if stream.times != "each" and stream.kind != "events":
        times_us = spread_us(times_us, stream.rate_hz, stamped_first=stream.times == "first")
        if stream.clock == "own":
            times_us = times_us - times_us[0]
        repairs.append("samples that share a packet's time are spread evenly over it")
    try:
        if stream.kind == "events":
            at_us, values, back = in_order(times_us, found.values)
            if back:
                repairs.append(f"rows whose time steps back are put in order: {back}")
            return StreamData(values, 0, tuple(repairs), times_us=at_us, epoch_us=epoch_us)
        even = evenly(times_us, found.values, stream.rate_hz)
    except UnevenError as error:
        where = f"{path}" if error.row is None else f"{path}:{found.lines[error.row]}"
        whose = "" if error.row is not None else f"stream `{stream.name}` "
        raise RecordingError(f"{where}: {whose}{error}", hint=error.hint) from None
    told = (*repairs, *even.repairs)
    return StreamData(even.values, stream.rate_hz, told, even.gaps, even.timing, epoch_us=epoch_us)


def _column(table: Table, stream: RecordedStream, name: str) -> int:
    if table.names.count(name) > 1:
        raise RecordingError(
            f"{table.where}:{table.header}: stream `{stream.name}` reads column `{name}`, and "
            f"{table.names.count(name)} are called so",
            hint="give each its own name",
        )
    if name in table.names:
        return table.names.index(name)
    raise RecordingError(
        f"{table.where}: stream `{stream.name}` reads column `{name}`, which the file has not",
        hint=did_you_mean(name, table.names, "it has"),
    )


def _time_column(table: Table, stream: RecordedStream) -> int:
    if stream.time_column is not None:
        return _column(table, stream, stream.time_column)
    for column, name in enumerate(table.names):
        if _TIME_NAME.match(name):
            return column
    raise RecordingError(
        f"{table.where}: its first line must name the columns, `time_us` first; it names {', '.join(table.names)}",
        hint='give the stream the name of the column as `time_column`, or say what it is: `format = "wisdm"`',
    )


def _channels(table: Table, stream: RecordedStream, time: int) -> list[int]:
    columns = [column for column in range(len(table.names)) if column != time]
    if stream.columns:
        columns = [_column(table, stream, name) for name in stream.columns]
    if not columns:
        raise RecordingError(f"{table.where}: has times and no other columns, so no samples", hint="record it again")
    if len(columns) != stream.channels:
        names = ", ".join(table.names[column] for column in columns)
        raise RecordingError(
            f"{table.where}: stream `{stream.name}` is declared with {stream.channels} channels, the file has "
            f"{len(columns)}: {names}",
            hint="name those that are meant in the stream's `columns`, or correct its `channels`",
        )
    return columns


def _times_us(
    table: Table, stream: RecordedStream, column: int, found: Numbers, repairs: list[str]
) -> tuple[np.ndarray, int | None]:
    """The times as float64, in us from the recording's start on; and where they count from 1970, what time 0 then is.

    That is None where the manifest says what their clock is.
    """
    name = table.names[column]
    times = clocks.times_of(found.times, stream.time_unit or clocks.unit_of(name))
    if times is None:
        raise RecordingError(
            f"{table.where}: column `{name}` does not say the unit of its times, the first is {found.times[0]:.10g}",
            hint='give the stream `time_unit = "s"`, or ms, us, ns',
        )
    if stream.clock == "own":
        return times.since_us, None
    if stream.clock is None and times.epoch_us is not None:
        repairs.append(f"its times count from 1970, in {times.unit}: its first sample is taken for the start")
        return times.since_us, times.epoch_us
    return times.first_us + times.since_us, None

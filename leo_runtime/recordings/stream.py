"""What a manifest says of one stream of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from leo_runtime.schema import Name, Positive, Rate, Value


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a stream in which nothing was recorded, and zeros stand."""

    start_us: int
    end_us: int


class RecordedStream(Value):
    """One sensor's samples."""

    name: Name
    kind: Literal["audio", "motion", "other"] = "other"
    file: Name
    format: Name | None = None
    """The reader of the file, such as `wav` or `csv`. None: by the end of the file's name, else by `kind`."""
    rate_hz: Rate
    channels: Positive = 1
    columns: tuple[Name, ...] = ()
    """Of a table: the columns of the channels, in this order. Empty: all but the one of the times, in theirs."""
    time_column: Name | None = None
    """Of a table. None: the first whose name says that it is a time."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """None: as the column's name says, such as `time_us` or `Time (s)`; else by the size of times since 1970."""
    clock: Literal["recording", "own"] | None = None
    """`recording`: its times count from the recording's start; `own`: its first sample is the start. None: `own` where
    its times count from 1970, else `recording`."""
    times: Literal["each", "first", "last"] = "each"
    """`first`, `last`: samples came in packets, and share the time of their packet's first or last."""

"""What a manifest says of one stream of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import model_validator

from leo_runtime.schema import Name, Positive, Rate, Value, require_rate


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a stream in which nothing was recorded, and zeros stand."""

    start_us: int
    end_us: int


class RecordedStream(Value):
    """One sensor's samples."""

    name: Name
    kind: Literal["audio", "motion", "other", "events"] = "other"
    """`events`: what comes when it comes, such as heart beats or places, each with a time of its own."""
    file: Name
    format: Name | None = None
    """The reader of the file, such as `wav` or `csv`. None: by the end of the file's name, else by `kind`."""
    rate_hz: Rate = 0
    """0, and left out, of `events` alone."""
    channels: Positive = 1
    unit: Name | None = None
    """Of its values, such as `m/s^2`. It is told, and changes nothing."""
    sensor: Name | None = None
    """Of a logger's export: the stream that it is there. None: that of this name."""
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
    missing: Literal["refuse", "gap"] = "refuse"
    """Of a table: what a cell means that holds nothing, or NaN. `gap`: its row is as if it were not there."""

    @model_validator(mode="after")
    def _has_a_rate(self) -> Self:
        require_rate(self.kind, self.rate_hz)
        return self

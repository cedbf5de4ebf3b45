"""What a manifest says of one stream of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.schema import Name, Positive, Rate, Value, reject


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a stream in which nothing was recorded, and zeros stand."""

    start_us: int
    end_us: int


ChannelNumber = Annotated[int, Field(ge=0, le=65_535)]


class RecordedStream(Value):
    """One sensor's samples."""

    name: Name
    kind: Literal["audio", "motion", "other"] = "other"
    file: Name
    format: Name | None = None
    """The reader of the file, such as `wav` or `csv`. None: by the end of the file's name, else by `kind`."""
    rate_hz: Rate
    channels: Positive = 1
    take: tuple[ChannelNumber, ...] = ()
    """Of sound: which of the file's channels are read, counted from 0, in this order. Empty: all of them."""
    mix: bool = False
    """Of sound: whether the channels (all, or those that `take` names) are read as one, their mean."""
    resample: bool = False
    """Of sound: whether a file at another rate is converted to `rate_hz`. Else it is refused."""
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

    @model_validator(mode="after")
    def _sound_is_chosen_rightly(self) -> Self:
        for key, given in (("take", bool(self.take)), ("mix", self.mix), ("resample", self.resample)):
            if given and self.kind != "audio":
                reject(f"`{key}` is for streams of kind `audio`", f"$.{key}", getattr(self, key))
        gives = 1 if self.mix else len(self.take) or self.channels
        if gives != self.channels:
            how = "`mix` makes one channel" if self.mix else f"`take` names {gives}"
            reject(f"{how}, and the stream has {self.channels}", "$.channels", self.channels)
        return self

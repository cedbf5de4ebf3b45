"""What a manifest says of one stream of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.documents.workload import Stream
from leo_runtime.schema import Name, Positive, Quantity, Rate, Value, reject, require_rate

Pixels = Annotated[int, Field(ge=1, le=65_536)]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a stream in which nothing was recorded, and zeros stand."""

    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Timing:
    """How the samples of a stream came, by their own times."""

    rate_hz: float
    """Measured."""
    jitter_us: float
    """The standard deviation of the steps between them that are no gaps."""


ChannelNumber = Annotated[int, Field(ge=0, le=65_535)]


class StatedGap(Value):
    """A gap that the manifest tells of, since the stream's file has no way to."""

    start_us: Quantity
    end_us: Quantity


class RecordedStream(Value):
    """One sensor's samples."""

    name: Name
    kind: Literal["audio", "motion", "camera", "other", "events"] = "other"
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
    take: tuple[ChannelNumber, ...] = ()
    """Of sound: which of the file's channels are read, counted from 0, in this order. Empty: all of them."""
    mix: bool = False
    """Of sound: whether the channels (all, or those that `take` names) are read as one, their mean."""
    resample: bool = False
    """Of sound: whether a file at another rate is converted to `rate_hz`. Else it is refused."""
    height_px: Pixels | None = None
    """Of a camera: the rows of a frame."""
    width_px: Pixels | None = None
    """Of a camera: the columns of a frame, each of `channels` values: 1 grey, 3 red, green and blue."""
    gaps: tuple[StatedGap, ...] = ()
    """Where nothing was recorded, and zeros stand in the file."""
    topic: Name | None = None
    """Of messages (MCAP, ROS bags): the topic they are on. None: the only one that can be meant."""
    fields: tuple[Name, ...] = ()
    """Of messages: the numbers of the channels, in this order, such as `linear_acceleration.x`; a list counts as all
    its numbers. Empty: those that a known kind of message has, or every number of it."""
    time_field: Name | None = None
    """Of messages: their own time, such as `header.stamp`. None: `header.stamp` or `timestamp` where they have one,
    else when they were logged."""
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

    @classmethod
    def of(cls, stream: Stream, file: str) -> Self:
        """A stream of a workload whose samples are in this file."""
        alike = ("name", "kind", "rate_hz", "channels", "height_px", "width_px")
        said = {key: value for key in alike if (value := getattr(stream, key))}  # Events say no rate, not one of 0.
        return cls.model_validate({**said, "file": file})

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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sizes = [size for size in (self.height_px, self.width_px) if size is not None]
        if len(sizes) != (2 if self.kind == "camera" else 0):
            reject("a camera has `height_px` and `width_px`, and nothing else has them", "$.kind", self.kind)
        for i, gap in enumerate(self.gaps):
            if gap.end_us <= gap.start_us:
                reject(f"the gap ends at {gap.end_us}, not after its start", f"$.gaps[{i}].end_us", gap.end_us)
        require_rate(self.kind, self.rate_hz)
        return self

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of one sample: () of one channel, (channels,) of more, (height, width, channels) of a camera."""
        if self.height_px is not None and self.width_px is not None:
            return (self.height_px, self.width_px, self.channels)
        return () if self.channels == 1 else (self.channels,)

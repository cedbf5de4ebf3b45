"""What a manifest says of one stream of a recording."""

from __future__ import annotations

from typing import Literal

from leo_runtime.schema import Name, Positive, Rate, Value


class RecordedStream(Value):
    """One sensor's samples."""

    name: Name
    kind: Literal["audio", "motion", "other"] = "other"
    file: Name
    format: Name | None = None
    """The reader of the file, such as `wav` or `csv`. None: by the end of the file's name, else by `kind`."""
    rate_hz: Rate
    channels: Positive = 1

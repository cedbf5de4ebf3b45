"""Raw samples on standard input, such as `arecord -t raw -f S16_LE -r 16000` gives."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Literal

from leo_runtime.daemon.kinds import LOOKS_S, Feed, Site, SourceConfig
from leo_runtime.daemon.raw import RawSamples, RawType
from leo_runtime.daemon.waking import is_readable
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Stream, Workload


class StdinSource(SourceConfig):
    """Samples as they come on standard input."""

    kind: Literal["stdin"]
    data_type: RawType = "int16"
    """What each value is, little-endian; the channels of a sample follow each other."""

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """A stream at a rate."""
        (stream,) = streams = super().fed(workload)
        if not stream.rate_hz:
            raise InputError(f"stream `{stream.name}` is of events, and raw samples have no times")
        return streams

    def open(self, site: Site) -> Stdin:
        """Nothing is read yet. Raises `InputError`."""
        (stream,) = self.fed(site.workload)
        return Stdin(RawSamples(stream.sample_shape, self.data_type), sys.stdin.fileno())


class Stdin:
    """Reads a descriptor to its end."""

    def __init__(self, samples: RawSamples, fd: int) -> None:
        self._samples = samples
        self._fd = fd

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Feed what comes; ends with the input."""
        while not stop.is_set():
            if not is_readable(self._fd, LOOKS_S):
                continue
            piece = os.read(self._fd, 1 << 16)
            if not piece:
                return
            chunk = self._samples.take(piece)
            if len(chunk):
                feed(chunk)

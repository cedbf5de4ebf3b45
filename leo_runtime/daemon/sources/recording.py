"""A recording in real time, as if its sensors were here: once, or again and again."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from leo_runtime.clock import Clock, WallClock
from leo_runtime.daemon.kinds import Feed, Site, SourceConfig
from leo_runtime.errors import InputError
from leo_runtime.schema import PathName
from leo_runtime.values import lasting_us, samples_within

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.documents.workload import Stream, Workload
    from leo_runtime.recordings.samples import Samples

CHUNK_US = 100_000


class RecordingSource(SourceConfig):
    """A recording that is played."""

    kind: Literal["recording"]
    recording: PathName
    """One that ships, or a folder, an export, an MCAP, a bag or sound, as `leo-runtime replay` takes it."""
    rate: Annotated[float, Field(ge=0.01, le=1000)] = 1.0
    """How much faster than real time it is played."""
    loop: bool = False
    """Whether it begins again at its end."""

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """All streams of the workload, unless one is named."""
        return workload.streams if self.stream is None else super().fed(workload)

    def check(self, site: Site) -> None:
        """Whether it can be played."""
        self.open(site)

    def open(self, site: Site) -> Player:
        """Read the recording. Raises `InputError`, `MissingExtraError`."""
        from leo_runtime import shipped
        from leo_runtime.recordings.recording import check_streams

        path = site.path(self.recording)
        recording = shipped.recording(str(path) if path.exists() else self.recording)
        streams = self.fed(site.workload)
        check_streams(site.workload.model_copy(update={"streams": streams}), recording)
        if any(not stream.rate_hz for stream in streams):
            raise InputError(
                f"recording `{self.recording}`: events cannot be played", hint="name a stream that has a rate"
            )
        return Player(
            {stream.name: (stream.rate_hz, recording.samples[stream.name]) for stream in streams},
            rate=self.rate,
            loop=self.loop,
        )


class Player:
    """Plays samples of streams that began together."""

    def __init__(
        self,
        streams: Mapping[str, tuple[float, Samples]],
        *,
        rate: float = 1.0,
        loop: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """`streams` with their rates in Hz and their samples. `clock` None: the system's."""
        self._streams = dict(streams)
        self._rate = rate
        self._loop = loop
        self._clock = WallClock() if clock is None else clock
        self._lasts_us = min(lasting_us(rate_hz, len(samples)) for rate_hz, samples in streams.values())

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Feed a tenth of a second of each stream as soon as it is over, until the shortest stream ends."""
        began_us, number = self._clock.now_us(), 0
        fed = dict.fromkeys(self._streams, 0)
        while not stop.is_set():
            number += 1
            now_us = number * CHUNK_US
            if self._clock.wait_until_us(began_us + round(now_us / self._rate), stop):
                return
            for name, (rate_hz, samples) in self._streams.items():
                until = samples_within(rate_hz, now_us)
                most = samples_within(rate_hz, self._lasts_us)
                chunk = _span(samples, fed[name], until, most, self._loop)
                if len(chunk):
                    feed(chunk, stream=name)
                fed[name] = until
            if not self._loop and now_us >= self._lasts_us:
                return


def _span(samples: Samples, first: int, until: int, most: int, loop: bool) -> np.ndarray:
    """The samples from `first` to `until`, of which there are `most`, again and again where it loops."""
    if not loop:
        return samples[min(first, most) : min(until, most)]
    import numpy as np

    pieces = []
    while first < until:
        at = first % most
        count = min(until - first, most - at)
        pieces.append(samples[at : at + count])
        first += count
    return np.concatenate(pieces) if pieces else samples[:0]

r"""Samples that other programs send to a Unix socket: a line of JSON, then bytes, again and again.

    {"stream": "mic", "type": "int16", "bytes": 3200, "at_us": 81234567}\n
    <3200 bytes: little-endian, the channels of a sample after each other>

`stream` may be left out where there is one; `at_us`, on `CLOCK_MONOTONIC` or a clock of the sender's own, is when the
first sample was taken, and may be left out, too. Who has shut down its side is told how many samples were taken, as
`{"samples": 1600}`; who sends what cannot be taken, what is wrong, as `{"error": "...", "hint": "..."}`, and is hung up
on.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from leo_runtime.daemon.kinds import LOOKS_S, Feed, Site, SourceConfig
from leo_runtime.daemon.raw import RawSamples, RawType
from leo_runtime.daemon.reading import Reading
from leo_runtime.daemon.unix_socket import Listening, check, is_own, listen, own_place, place
from leo_runtime.daemon.waking import is_readable
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.schema import Document, Name, PathName

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Stream, Workload

MOST_SENDERS = 32
LONGEST_HEADER_BYTES = 4096
MOST_BYTES = 16 << 20


class SocketSource(SourceConfig):
    """A Unix socket that anybody of the daemon's user may send samples to."""

    kind: Literal["socket"]
    path: PathName = "samples.sock"
    """Where it is: a name alone is in the runtime directory; `systemd:NAME` is a socket that systemd opened."""

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """All streams at a rate, unless one is named."""
        named = workload.streams if self.stream is None else super().fed(workload)
        streams = tuple(stream for stream in named if stream.rate_hz)
        if not streams:
            raise InputError(
                "raw samples have no times, and what it feeds are events", hint="name a stream with a rate"
            )
        return streams

    def own_place(self, folder: Path) -> str:
        """The socket."""
        return own_place(self.path, folder)

    def check(self, site: Site) -> None:
        """Whether a socket can be there."""
        check(self.path, place(self.path, site.folder, site.runtime_dir))

    def open(self, site: Site) -> Receiver:
        """Listen. Raises `InputError`."""
        streams = {stream.name: stream for stream in self.fed(site.workload)}
        listening = listen(self.path, place(self.path, site.folder, site.runtime_dir), site.sockets)
        return Receiver(listening, streams, site.counts.other)


class SamplesHeader(Document):
    """What a line before samples says."""

    stream: Name | None = None
    type: RawType
    bytes: Annotated[int, Field(ge=0, le=MOST_BYTES)]
    at_us: Annotated[int, Field(ge=0, le=10**16)] | None = None


class Receiver:
    """Takes samples of whoever connects, each on a thread of its own."""

    def __init__(self, listening: Listening, streams: Mapping[str, Stream], count: Callable[[str], None]) -> None:
        """`count` is told of `senders`, `senders_refused` (what they sent could not be taken) and `peers_refused`."""
        self._listening = listening
        self._streams = dict(streams)
        self._count = count
        listening.socket.setblocking(False)

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Take samples until it is stopped."""
        senders: list[threading.Thread] = []
        while not stop.is_set():
            if not is_readable(self._listening.socket, LOOKS_S):
                continue
            try:
                one, _ = self._listening.socket.accept()
            except BlockingIOError:
                continue
            senders = [sender for sender in senders if sender.is_alive()]
            if not is_own(one) or len(senders) >= MOST_SENDERS:
                self._count("peers_refused")
                one.close()
                continue
            self._count("senders")
            sender = threading.Thread(target=self._hear, args=(one, feed, stop), name="leo sender", daemon=True)
            senders.append(sender)
            sender.start()
        for sender in senders:
            sender.join(2 * LOOKS_S)

    def close(self) -> None:
        """Listen no more."""
        self._listening.close()

    def _hear(self, one: socket.socket, feed: Feed, stop: threading.Event) -> None:
        taken = 0
        with one:
            one.settimeout(LOOKS_S)
            answer: dict[str, object]
            try:
                read = Reading(one, stop)
                while (header := read.line(LONGEST_HEADER_BYTES, "the line before samples")) is not None:
                    taken += self._take(header, read, feed)
                answer = {"samples": taken}
            except InputError as error:
                self._count("senders_refused")
                answer = {"error": str(error), "hint": error.hint}
            except OSError:  # It is gone.
                return
            with suppress(OSError):
                one.sendall((json.dumps(answer) + "\n").encode())
                one.shutdown(socket.SHUT_WR)
                left = MOST_BYTES
                while left > 0 and (piece := one.recv(1 << 16)):  # With bytes unread it would lose what it is told.
                    left -= len(piece)

    def _take(self, header: bytes, read: Reading, feed: Feed) -> int:
        said = SamplesHeader.from_json(header, "the line before samples")
        if said.stream is None and len(self._streams) != 1:
            raise InputError("the line before samples does not say of which stream", hint=self._known(""))
        stream = self._streams.get(said.stream or next(iter(self._streams)))
        if stream is None:
            raise InputError(f"no stream is called `{said.stream}`", hint=self._known(said.stream or ""))
        raw = RawSamples(stream.sample_shape, said.type)
        chunk = raw.take(read.bytes(said.bytes))
        if raw.rest:
            raise InputError(
                f"{said.bytes} bytes are no whole number of samples of stream `{stream.name}`",
                hint=f"a sample is {raw.sample_bytes} bytes of {said.type}",
            )
        if len(chunk):
            feed(chunk, said.at_us, stream=stream.name)
        return len(chunk)

    def _known(self, given: str) -> str:
        return did_you_mean(given, self._streams)

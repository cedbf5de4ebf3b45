"""Records what a program writes to a pipe or sends to a port: samples as in memory, interleaved, little-endian."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

import numpy as np

from leo_runtime.errors import InputError, RecordingError
from leo_runtime.recordings.recording import RecordingManifest
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.recordings.writer import RecordingWriter

_BLOCK_BYTES = 1 << 16
"""At most so much is read at a time; a pipe gives what is there."""
_MOMENT_S = 0.2
_DATAGRAMS_BYTES = 1 << 22
"""What the system is asked to hold of datagrams that are not yet read."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a program writes."""

    says: str
    dtype: np.dtype[Any]
    channels: int | None = None
    """Of a frame of a camera; None: no frames."""

    def stream(
        self,
        *,
        name: str,
        kind: Literal["motion", "other"],
        rate_hz: float,
        channels: int,
        width_px: int | None,
        height_px: int | None,
    ) -> RecordedStream:
        """What the manifest says of it. Raises `InputError` where something of it cannot be."""
        common: dict[str, Any] = {"name": name, "file": "-", "rate_hz": rate_hz}
        has_size = width_px is not None or height_px is not None
        if self.channels is None and has_size:
            raise InputError("only frames have a width and a height", hint="record them as rgb24 or gray")
        if self.channels is not None and (width_px is None or height_px is None):
            raise InputError("frames need a width and a height", hint="add `--width PIXELS --height PIXELS`")
        if self.channels is not None:
            return RecordedStream(
                **common, kind="camera", channels=self.channels, width_px=width_px, height_px=height_px
            )
        return RecordedStream(**common, kind="audio" if self.dtype == np.int16 else kind, channels=channels)


FORMATS = {
    "s16le": Form("sound of 16 bits", np.dtype("<i2")),
    "f32le": Form("floats of 32 bits", np.dtype("<f4")),
    "rgb24": Form("frames of three bytes a pixel", np.dtype(np.uint8), 3),
    "gray": Form("frames of one byte a pixel", np.dtype(np.uint8), 1),
}
"""By the name that ffmpeg has for them too."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of it."""

    samples: int
    told: tuple[str, ...]


class Pipe:
    """What comes through a pipe, until it ends. As a context it is ended by SIGINT and SIGTERM, and loses nothing.

    After a signal it gives what is still on its way: until nothing comes for a moment, the pipe ends, or a second
    signal. Entered by the main thread, or else without the signals.
    """

    def __init__(self, descriptor: int, called: str = "standard input", *, of_datagrams: bool = False) -> None:
        """`called` is its name in messages. Of datagrams an empty one does not end it; only a signal does."""
        self._descriptor = descriptor
        self._called = called
        self._of_datagrams = of_datagrams
        self.interrupted = 0
        """How many signals came."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """The pipe itself."""
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._signal) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Signals are again what they were."""
        for each, before in self._before.items():
            signal.signal(each, before)

    def _signal(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted += 1  # Nothing is raised: what was read and not yet written would be lost.

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of any length. Raises `InputError` where the pipe cannot be read."""
        try:
            while self.interrupted < 2:
                readable, _, _ = select.select([self._descriptor], [], [], _MOMENT_S)
                if not readable and self.interrupted:
                    return
                if readable:
                    piece = os.read(self._descriptor, _BLOCK_BYTES)
                    if not piece and not self._of_datagrams:
                        return
                    if piece:
                        yield piece
        except OSError as error:
            raise InputError(f"{self._called} cannot be read ({error.strerror or error})") from None


def open_port(url: str) -> socket.socket:
    """A socket that is connected to `tcp://HOST:PORT`, or takes what is sent to `udp://HOST:PORT` of this machine.

    Raises `InputError`.
    """
    found = re.fullmatch(r"(tcp|udp)://(?:\[([^\]]+)\]|([^:/\[\]]+)):([0-9]{1,5})", url)
    if found is None or not 0 < int(found[4]) < 1 << 16:
        raise InputError(f"`{url}` is no source", hint="give tcp://HOST:PORT or udp://HOST:PORT")
    host, port = found[2] or found[3], int(found[4])
    try:
        if found[1] == "tcp":
            return socket.create_connection((host, port))
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        taking = socket.socket(family, kind, protocol)
        try:
            taking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAMS_BYTES)
            taking.bind(address)
        except BaseException:
            taking.close()
            raise
        return taking
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"`{url}` cannot be opened ({getattr(error, 'strerror', None) or error})",
            hint="tcp:// connects to a program that listens there; udp:// is an address of this machine",
        ) from None


def record(
    source: Iterable[bytes],
    stream: RecordedStream,
    folder: Path,
    seconds: float | None = None,
    *,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> Recorded:
    """Record samples of one stream into a new folder until `source` ends, or `seconds` are over.

    When it began is that much before the first piece came (`now_us`, since 1970) as that piece is long.
    What came before a failure, such as a disk that is full, is kept. Raises `InputError`, and `RecordingError` where
    nothing came.
    """
    dtype = np.dtype(np.uint8) if stream.kind == "camera" else np.dtype("<i2" if stream.kind == "audio" else "<f4")
    shape = stream.sample_shape
    sample_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    most = None if seconds is None else round(seconds * stream.rate_hz)
    if most == 0:
        raise InputError("expected a length above 0 s")
    manifest = RecordingManifest(
        format="leo-recording/1",
        name=re.sub(r"[\x00-\x1f/\\]", "-", folder.name).lstrip(".")[:100] or "recording",
        source="recorded from a pipe",
        streams=(stream,),
    )
    writer = RecordingWriter(folder, manifest, {stream.name: dtype})
    samples, rest, bad = 0, bytearray(), 0
    start_epoch_us: int | None = None
    told: list[str] = []
    try:
        for piece in source:
            if start_epoch_us is None:
                start_epoch_us = max(0, now_us() - round(len(piece) / sample_bytes / stream.rate_hz * 1e6))
            rest += piece
            whole = len(rest) // sample_bytes
            if most is not None:
                whole = min(whole, most - samples)
            if whole == 0:
                continue
            values = np.frombuffer(bytes(rest[: whole * sample_bytes]), dtype).reshape(whole, *shape)
            if dtype.kind == "f":
                bad += int(np.count_nonzero(~np.isfinite(values)))
                values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
            writer.add(stream.name, values)
            samples += whole
            del rest[: whole * sample_bytes]
            if samples == most:
                rest.clear()
                break
    except InputError as error:
        told.append(f"{error}: what came before is kept")
        rest.clear()
    except BaseException:
        writer.discard()
        raise
    if samples == 0:
        writer.discard()
        raise RecordingError("no samples came", hint="; ".join(told) or "look at what the program before the pipe says")
    if rest:
        told.append(f"the last {len(rest)} bytes are no whole sample of {sample_bytes}: left out")
    if bad:
        told.append(f"values that are not finite are recorded as 0: {bad}")
    writer.finish(start_epoch_us=start_epoch_us)
    return Recorded(samples, tuple(told))

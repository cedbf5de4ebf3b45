"""Reads MP3, the sound of mp4, m4a and 3gp files (AAC, ALAC, AMR) and raw AAC, by FFmpeg (PyAV), block by block.

The delay of the encoder is taken off where the file tells it, as mp4 does, and MP3 by LAME and most others; an MP3
that does not is heard 1,105 samples late, and raw AAC (`.aac`), which has no place for it, 1,024 to 2,112. What the
encoder filled up the end with is taken off likewise. Where a packet of an mp4 is lost, zeros stand for it: what comes
after it stays at its time. An MP3 has no times: what comes after something that is lost may be heard too early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.samples import gathered
from leo_runtime.recordings.sound import EXTRA, as_int16, count_outside
from leo_runtime.recordings.stream import Gap, RecordedStream

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_MOST_LOST_S = 60
"""A gap between two packets that is longer is taken for a damaged time."""
_ZEROS_AT_A_TIME = 1 << 16
_TIMELESS = ("mp3", "aac")
_HEAD_BYTES = 1 << 18
"""Of an MP3: within are its tags, pictures and all, and what its encoder says of it."""
_FRAME = 2048
"""Samples: a packet of AAC has no more."""


@dataclass(slots=True)
class _Pass:
    """What was seen on one way through a file."""

    rate_hz: int = 0
    channels: int = 0
    samples: int = 0
    outside: int = 0
    broken: int = 0
    """Packets that cannot be decoded."""
    why: str = ""
    is_timeless: bool = False
    """Whether its packets have no times of their own."""
    promised: int | None = None
    """How many samples the container says that there are."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """First and last sample of each, the last not in it."""


def read_av_sound(path: Path, _stream: RecordedStream) -> StreamData:
    """The samples of the first stream of sound in a file, as int16, rounded where it has more bits.

    Raises `MissingExtraError`, and `RecordingError` where nothing of it can be read, or its rate changes.
    """
    seen = _Pass()

    def decode() -> Iterator[np.ndarray]:
        nonlocal seen
        seen = _Pass()
        with _opened(path) as container:
            yield from _blocks(path, container, seen)

    samples = gathered(path, decode)
    if samples is None:
        why = f"cannot be read ({seen.why})" if seen.why else "holds no samples"
        raise RecordingError(f"{path}: {why}", hint="copy or record it again")
    gaps = tuple(Gap(_us(first, seen.rate_hz), _us(last, seen.rate_hz)) for first, last in seen.gaps)
    return StreamData(samples, seen.rate_hz, tuple(_told(seen)), gaps)


def _opened(path: Path) -> InputContainer:
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"reading {path.suffix.removeprefix('.').upper() or 'this sound'}", EXTRA) from None
    try:
        with path.open("rb"):  # For the system's own words.
            pass
        container: InputContainer = av.open(str(path), "r", metadata_errors="ignore")
    except av.FFmpegError as error:
        raise RecordingError(
            f"{path}: cannot be read as sound ({error.strerror})",
            hint="a recorder that was stopped in the middle leaves such files; copy it again, or record WAV",
        ) from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read ({without_path(error)})") from None
    if not container.streams.audio:
        container.close()
        raise RecordingError(f"{path}: has no sound", hint="give the file that has, or leave the stream out")
    return container


def _blocks(path: Path, container: InputContainer, seen: _Pass) -> Iterator[np.ndarray]:
    """All samples as int16; of the last block not what the encoder filled it up with, where the container tells."""
    stream = container.streams.audio[0]
    before: np.ndarray | None = None
    for block in _decoded(path, container, stream, seen):
        if before is not None:
            yield before
        before = block
    if before is None:
        return
    seen.is_timeless = container.format.name in _TIMELESS
    seen.promised = _promised(path, container, stream, seen)
    filled = seen.samples - (seen.promised or seen.samples)
    if 0 < filled < len(before):
        seen.samples -= filled
        before = before[:-filled]
    yield before


def _decoded(path: Path, container: InputContainer, stream: AudioStream, seen: _Pass) -> Iterator[np.ndarray]:
    start: float | None = None
    for frame in _frames(container, stream, seen):
        if seen.rate_hz == 0:
            seen.rate_hz, seen.channels, start = frame.sample_rate, frame.layout.nb_channels, frame.time
        if (frame.sample_rate, frame.layout.nb_channels) != (seen.rate_hz, seen.channels):
            raise RecordingError(
                f"{path}: changes from {seen.rate_hz} Hz and {seen.channels} channels to {frame.sample_rate} Hz and "
                f"{frame.layout.nb_channels} at sample {seen.samples}",
                hint="cut it there, or convert it to WAV",
            )
        yield from _lost(frame, start, seen)
        block = _shaped(frame)
        seen.samples += len(block)
        seen.outside += count_outside(block)
        if len(block):
            yield as_int16(block)


def _frames(container: InputContainer, stream: AudioStream, seen: _Pass) -> Iterator[AudioFrame]:
    """All frames; packets that cannot be decoded are counted."""
    from av import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError as error:
            seen.why = error.strerror or str(error)
            seen.broken += 1
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except FFmpegError as error:
            seen.why = error.strerror or str(error)
            seen.broken += 1


def _promised(path: Path, container: InputContainer, stream: AudioStream, seen: _Pass) -> int | None:
    """How many samples the container says that there are; None where FFmpeg can only guess by the file's length."""
    if stream.duration is None or stream.time_base is None or container.format.name == "aac":
        return None
    if container.format.name == "mp3":
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if not any(tag in head for tag in (b"Xing", b"Info", b"VBRI")):
            return None
    return round(stream.duration * stream.time_base * seen.rate_hz)


def _lost(frame: AudioFrame, start: float | None, seen: _Pass) -> Iterator[np.ndarray]:
    """Zeros up to where a frame says that it begins."""
    if frame.time is None or start is None:
        return
    first, missing = seen.samples, round((frame.time - start) * seen.rate_hz) - seen.samples
    if not frame.samples // 2 < missing <= _MOST_LOST_S * seen.rate_hz:
        return
    shape = (seen.channels,) if seen.channels > 1 else ()
    for at in range(0, missing, _ZEROS_AT_A_TIME):
        yield np.zeros((min(_ZEROS_AT_A_TIME, missing - at), *shape), np.int16)
    seen.samples += missing
    seen.gaps.append((first, seen.samples))


def _shaped(frame: AudioFrame) -> np.ndarray:
    """(samples,) or (samples, channels): int16, int32, or real numbers."""
    values: np.ndarray[Any, Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype == np.uint8:
        values = (values.astype(np.int16) - 128) * np.int16(256)
    return np.ascontiguousarray(values) if channels > 1 else values[:, 0].copy()


def _told(seen: _Pass) -> Iterator[str]:
    if seen.broken:
        yield f"packets that cannot be decoded ({seen.why}): {seen.broken}"
    if seen.gaps:
        lost = sum(last - first for first, last in seen.gaps)
        yield f"{lost} samples are lost, the first at {seen.gaps[0][0] / seen.rate_hz:g} s; zeros stand there"
    if seen.promised is not None and seen.promised - seen.samples > _FRAME:
        early = "; what comes after something that is lost is heard too early" if seen.is_timeless else ""
        yield f"cut or damaged: it says it has {seen.promised} samples, and {seen.samples} can be read{early}"
    if seen.outside:
        yield f"values outside -1 to 1 are cut off there: {seen.outside}"


def _us(samples: int, rate_hz: int) -> int:
    return samples * 1_000_000 // rate_hz

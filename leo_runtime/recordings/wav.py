"""Reads WAV files of 16-bit PCM: nothing that such a file holds raises anything but `RecordingError`.

A file is a row of chunks: four letters, the length of what follows, and that, filled up to an even length. Chunks but
`fmt ` and `data` are passed over. Some programs leave the filling out; since it is a zero and letters are not, that is
seen. What stands behind the length that the file gives itself is no part of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError

_PCM, _EXTENSIBLE = 1, 0xFFFE
_PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
_WIDTH_BYTES = 2
_LEAST_BYTES = 44
"""Of a file with no samples."""
_COPY_AGAIN = "copy it again"


@dataclass(frozen=True, slots=True, eq=False)
class Wav:
    """What a file holds: int16 samples, of shape (samples,) or (samples, channels)."""

    rate_hz: int
    channels: int
    samples: np.ndarray


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    start: int
    """Where its content begins in the file."""
    length: int
    """As it says; the file may end before."""


def read_wav(path: Path) -> Wav:
    """Read a file. Raises `RecordingError` where it cannot be read, is cut, empty, or of another format."""
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RecordingError(f"{path}: cannot be read as WAV ({why})") from None
    if len(raw) < _LEAST_BYTES:
        raise _wrong(path, "its header is cut short")
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise RecordingError(
            f"{path}: cannot be read as WAV (it begins with {_shown(raw[:4])} and {_shown(raw[8:12])}, not `RIFF` and "
            "`WAVE`)",
            hint="convert it to WAV of 16-bit PCM",
        )
    found: dict[bytes, _Chunk] = {}
    for chunk in _chunks(path, raw):
        if chunk.name in (b"fmt ", b"data") and chunk.name not in found:
            found[chunk.name] = chunk
        if chunk.name == b"data" and b"fmt " not in found:
            raise _wrong(path, f"its samples begin at byte {chunk.start}, before its chunk `fmt ` says what they are")
        if chunk.name == b"data" and chunk.length == 0:
            break  # What follows may be samples all the same, of a file that was not closed.
    for name in (b"fmt ", b"data"):
        if name not in found:
            raise _wrong(path, f"it has no chunk `{name.decode()}`")
    rate_hz, channels = _format(path, raw, found[b"fmt "])
    return Wav(rate_hz, channels, _samples(path, raw, found[b"data"], channels))


def _chunks(path: Path, raw: bytes) -> Iterator[_Chunk]:
    """All chunks in their order. One that is longer than the file is the last one."""
    said = 8 + int.from_bytes(raw[4:8], "little")
    at = 12
    while at < len(raw):
        if len(raw) - at < 8:
            if at >= said:
                return
            raise _wrong(path, f"the last {len(raw) - at} bytes, from byte {at} on, are no chunk")
        name, length = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        if not _is_name(name):
            if at >= said:
                return
            raise _wrong(path, f"expected a chunk at byte {at}, got {_shown(name)}")
        chunk = _Chunk(name, at + 8, length)
        yield chunk
        at = chunk.start + length
        if length % 2 and raw[at : at + 1] == b"\0":
            at += 1


def _is_name(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii", "replace").isprintable()


def _format(path: Path, raw: bytes, chunk: _Chunk) -> tuple[int, int]:
    """Rate and channels of a file whose samples can be read."""
    content = raw[chunk.start : chunk.start + chunk.length]
    if len(content) < 16:
        raise _wrong(path, "its header is cut short")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE and content[24:40] == _PCM_GUID:
        tag = _PCM
    if tag != _PCM:
        raise RecordingError(f"{path}: expected 16-bit PCM, got WAV format {tag:#06x}", hint="convert it to 16-bit PCM")
    if bits != 8 * _WIDTH_BYTES:
        raise RecordingError(f"{path}: expected 16-bit PCM, got {bits}-bit", hint="convert it to 16-bit PCM")
    if channels < 1:
        raise _wrong(path, f"it says at byte {chunk.start + 2} that it has no channels")
    return rate_hz, channels


def _samples(path: Path, raw: bytes, chunk: _Chunk, channels: int) -> np.ndarray:
    frame_bytes = _WIDTH_BYTES * channels
    promised, held = chunk.length // frame_bytes, (len(raw) - chunk.start) // frame_bytes
    if chunk.length == 0:
        if held and not _is_name(raw[chunk.start : chunk.start + 4]):
            raise RecordingError(
                f"{path}: its header promises no samples, and there are bytes for {held} behind it",
                hint="the recorder did not come to close it; mend its header",
            )
        raise RecordingError(f"{path}: holds no samples", hint="record it again")
    if chunk.start + chunk.length > len(raw):
        raise RecordingError(
            f"{path}: truncated, its header promises {promised} samples and it holds {held}",
            hint=f"{_COPY_AGAIN}, or mend its header",
        )
    if chunk.length % frame_bytes:
        raise _wrong(path, f"its {chunk.length} bytes of samples are no whole number of {frame_bytes}")
    data = np.frombuffer(raw, "<i2", promised * channels, chunk.start)
    return data.reshape(-1, channels) if channels > 1 else data


def _wrong(path: Path, why: str) -> RecordingError:
    return RecordingError(f"{path}: cannot be read as WAV ({why})", hint=_COPY_AGAIN)


def _shown(name: bytes) -> str:
    text = name.decode("latin-1")
    return f"`{text}`" if text.isascii() and text.isprintable() else f"0x{name.hex()}"

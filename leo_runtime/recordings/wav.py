"""Reads WAV files, also RF64 and BW64: nothing that such a file holds raises anything but `RecordingError`.

A file is a row of chunks: four letters, the length of what follows, and that, filled up to an even length. Chunks but
`fmt ` and `data` are passed over. Some programs leave the filling out; since it is a zero and letters are not, that is
seen. What stands behind the length that the file gives itself is no part of it.

A recorder writes the lengths when it ends. One that is killed leaves 0, one that writes to a pipe says 2 or 4 GiB, and
some count wrong; then the samples go on to the end of the file, which is told as a repair. A file that is shorter than
it says in both places was cut, and is refused.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.samples import Samples, StoredSamples
from leo_runtime.recordings.stream import RecordedStream

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_OTHER_TAGS = {2: "ADPCM", 6: "A-law", 7: "u-law", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x55: "MP3", 0xFF: "AAC"}
_GUID_END = bytes.fromhex("000000001000800000aa00389b71")
"""Of the extensible form: behind the two bytes of the tag that it stands for."""
_WIDTHS_BYTES = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}
_PLACEHOLDER_BYTES = 0x7FFF_0000
"""From here on a length of 32 bits means that the recorder did not know it."""
_LEAST_BYTES = 44
"""Of a file with no samples."""
_COPY_AGAIN = "copy it again"
_CONVERT = "convert it to WAV of 16-bit PCM"


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    start: int
    """Where its content begins in the file."""
    length: int
    """As it says; the file may end before."""


@dataclass(frozen=True, slots=True)
class _Format:
    rate_hz: int
    channels: int
    tag: int
    width_bytes: int
    """Of one value."""


@dataclass(frozen=True, slots=True)
class _Lengths:
    """What a file says of itself before its chunks."""

    whole: int
    """Of all of it."""
    data: int | None
    """Of its samples, where 32 bits have no room for that (RF64)."""


class _Raw:
    """The bytes of an open file, by slices, read when they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._length = file.seek(0, io.SEEK_END)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, span: slice) -> bytes:
        start, end, _ = span.indices(self._length)
        self._file.seek(start)
        return self._file.read(max(0, end - start))


def read_wav(path: Path, _stream: RecordedStream) -> StreamData:
    """The samples of a file: PCM of 8, 16, 24 or 32 bits as int16, rounded; floats as they are.

    Spans are read when they are asked for. Raises `RecordingError` where it cannot be read, is cut, empty, or of
    another format.
    """
    repairs: list[str] = []
    try:
        with path.open("rb") as file:
            samples, form = _found(path, _Raw(file), repairs)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read as WAV ({without_path(error)})") from None
    return StreamData(samples, form.rate_hz, tuple(repairs))


def _found(path: Path, raw: _Raw, repairs: list[str]) -> tuple[Samples, _Format]:
    lengths = _lengths(path, raw)
    found: dict[bytes, _Chunk] = {}
    for chunk in _chunks(path, raw, lengths, repairs):
        if chunk.name in (b"fmt ", b"data") and chunk.name not in found:
            found[chunk.name] = chunk
        if chunk.name == b"data" and b"fmt " not in found:
            raise _wrong(path, f"its samples begin at byte {chunk.start}, before its chunk `fmt ` says what they are")
    for name in (b"fmt ", b"data"):
        if name not in found:
            raise _wrong(path, f"it has no chunk `{name.decode()}`")
    form = _format(path, raw, found[b"fmt "])
    count = _count(path, raw, found[b"data"], form, lengths, repairs)
    return _samples(path, found[b"data"].start, count, form), form


def _lengths(path: Path, raw: _Raw) -> _Lengths:
    if len(raw) < _LEAST_BYTES:
        raise _wrong(path, "its header is cut short")
    if raw[:4] not in (b"RIFF", b"RF64", b"BW64") or raw[8:12] != b"WAVE":
        raise RecordingError(
            f"{path}: cannot be read as WAV (it begins with {_shown(raw[:4])} and {_shown(raw[8:12])}, not `RIFF` and "
            "`WAVE`)",
            hint=_CONVERT,
        )
    whole = int.from_bytes(raw[4:8], "little")
    if raw[:4] == b"RIFF":
        return _Lengths(8 + whole, None)
    if raw[12:16] != b"ds64":
        raise _wrong(path, f"expected the chunk `ds64` at byte 12, got {_shown(raw[12:16])}")
    whole, data = struct.unpack("<QQ", raw[20:36])
    return _Lengths(8 + whole, data)


def _chunks(path: Path, raw: _Raw, lengths: _Lengths, repairs: list[str]) -> Iterator[_Chunk]:
    """All chunks in their order. One that is longer than the file is the last one, as are samples of no length."""
    at = 12
    while at < len(raw):
        name, length = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        is_chunk = len(raw) - at >= 8 and _is_name(name)
        if not is_chunk and at >= lengths.whole:
            repairs.append(f"{len(raw) - at} bytes behind its end, from byte {at} on, are left out")
            return
        if not is_chunk and len(raw) - at < 8:
            raise _wrong(path, f"the last {len(raw) - at} bytes, from byte {at} on, are no chunk")
        if not is_chunk:
            raise _wrong(path, f"expected a chunk at byte {at}, got {_shown(name)}")
        if name == b"data" and lengths.data is not None and length == 0xFFFF_FFFF:
            length = lengths.data
        chunk = _Chunk(name, at + 8, length)
        yield chunk
        if name == b"data" and length == 0 and not _goes_on_in_chunks(raw, chunk.start):
            return
        at = _behind(raw, chunk.start, length)


def _is_name(letters: bytes) -> bool:
    return letters.isascii() and letters.decode("ascii", "replace").isprintable()


def _goes_on_in_chunks(raw: _Raw, at: int) -> bool:
    """Whether what follows is chunks up to the very end, and no samples."""
    while at < len(raw):
        if not _is_name(raw[at : at + 4]):
            return False
        at = _behind(raw, at + 8, int.from_bytes(raw[at + 4 : at + 8], "little"))
    return at == len(raw)


def _behind(raw: _Raw, start: int, length: int) -> int:
    """Where what follows a chunk begins: its filling is left out by some programs."""
    end = start + length
    return end + 1 if length % 2 and raw[end : end + 1] == b"\0" else end


def _format(path: Path, raw: _Raw, chunk: _Chunk) -> _Format:
    """What the samples are. Raises `RecordingError` where they cannot be read."""
    content = raw[chunk.start : chunk.start + chunk.length]
    if len(content) < 16:
        raise _wrong(path, "its header is cut short")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE and content[26:40] == _GUID_END:
        tag = int.from_bytes(content[24:26], "little")
    if tag not in _WIDTHS_BYTES:
        what = f" ({_OTHER_TAGS[tag]})" if tag in _OTHER_TAGS else ""
        raise RecordingError(f"{path}: expected PCM or floats, got WAV format {tag:#06x}{what}", hint=_CONVERT)
    if bits % 8 or bits // 8 not in _WIDTHS_BYTES[tag]:
        known = "floats of 32 or 64 bits" if tag == _FLOAT else "PCM of 8, 16, 24 or 32 bits"
        raise RecordingError(f"{path}: expected {known}, got {bits} bits", hint=_CONVERT)
    if rate_hz < 1:
        raise _wrong(path, f"it says at byte {chunk.start + 4} that its rate is 0")
    if channels < 1:
        raise _wrong(path, f"it says at byte {chunk.start + 2} that it has no channels")
    if frame_bytes not in (0, channels * bits // 8):
        what = f"{channels} x {bits} bits in {frame_bytes} bytes"
        raise _wrong(path, f"it says at byte {chunk.start + 12} that it has {what}")
    return _Format(rate_hz, channels, tag, bits // 8)


def _count(path: Path, raw: _Raw, chunk: _Chunk, form: _Format, lengths: _Lengths, repairs: list[str]) -> int:
    """How many samples of all channels the file holds, as far as they are to be read."""
    frame_bytes = form.width_bytes * form.channels
    promised, rest_bytes = chunk.length // frame_bytes, len(raw) - chunk.start
    held = rest_bytes // frame_bytes
    unknown = chunk.length >= _PLACEHOLDER_BYTES and chunk.length > rest_bytes
    is_whole = lengths.whole <= len(raw)
    if rest_bytes == 0 or (chunk.length == 0 and _goes_on_in_chunks(raw, chunk.start)):
        raise RecordingError(f"{path}: holds no samples", hint="record it again")
    if chunk.length == 0 or unknown or (chunk.length > rest_bytes and is_whole):
        said = f"its header says {chunk.length} bytes of samples"
        if held == 0:
            raise _wrong(path, f"{said}, and {rest_bytes} are left, less than one of {frame_bytes}")
        left = f", but the last {rest_bytes % frame_bytes} bytes" if rest_bytes % frame_bytes else ""
        repairs.append(f"{said}; the {held} samples up to the end of the file are read{left}")
        return held
    if chunk.length > rest_bytes:
        raise RecordingError(
            f"{path}: truncated, its header promises {promised} samples and it holds {held}",
            hint=f"{_COPY_AGAIN}, or mend its header",
        )
    if chunk.length % frame_bytes:
        raise _wrong(path, f"its {chunk.length} bytes of samples are no whole number of {frame_bytes}")
    return promised


def _samples(path: Path, start: int, count: int, form: _Format) -> Samples:
    """So many samples from byte `start` on."""
    frame_bytes = form.width_bytes * form.channels

    def read(first: int, last: int) -> np.ndarray:
        try:
            with path.open("rb") as file:
                file.seek(start + first * frame_bytes)
                raw = file.read((last - first) * frame_bytes)
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read as WAV ({without_path(error)})") from None
        if len(raw) < (last - first) * frame_bytes:
            raise RecordingError(
                f"{path}: ends before sample {last}, and had {count} when it was opened",
                hint="leave the files of a recording as they are while it is used",
            )
        return _decoded(raw, form)

    shape = (count, form.channels) if form.channels > 1 else (count,)
    return StoredSamples(shape, f"<f{form.width_bytes}" if form.tag == _FLOAT else np.int16, read)


def _decoded(raw: bytes, form: _Format) -> np.ndarray:
    if form.tag == _FLOAT:
        data = np.frombuffer(raw, f"<f{form.width_bytes}")
    elif form.width_bytes == 1:
        data = (np.frombuffer(raw, np.uint8).astype(np.int16) - 128) * np.int16(256)
    elif form.width_bytes == 2:
        data = np.frombuffer(raw, "<i2")
    else:
        data = _rounded(np.frombuffer(raw, np.uint8).reshape(-1, form.width_bytes))
    return data.reshape(-1, form.channels) if form.channels > 1 else data


def _rounded(little_endian: np.ndarray) -> np.ndarray:
    """The upper two bytes of each row as int16, the greater by one where the bytes below are a half or more."""
    upper = np.ascontiguousarray(little_endian[:, -2:]).view("<i2")[:, 0]
    up = (little_endian[:, -3] >= 128) & (upper < 32_767)
    return upper + up.astype(np.int16)


def _wrong(path: Path, why: str) -> RecordingError:
    return RecordingError(f"{path}: cannot be read as WAV ({why})", hint=_COPY_AGAIN)


def _shown(name: bytes) -> str:
    text = name.decode("latin-1")
    return f"`{text}`" if text.isascii() and text.isprintable() else f"0x{name.hex()}"

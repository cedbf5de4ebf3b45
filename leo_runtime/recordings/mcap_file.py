"""Reads the records of an MCAP file, also of one that was cut or is damaged: what can be read is, the rest is told.

A file is a row of records: a byte that says what one is, its length in 8 bytes, and that. Messages are in chunks, each
compressed by itself and with a checksum, so that damage costs one chunk. Where the length of a record is wrong, reading
goes on at the next chunk that the index at the end of the file tells of; without one, what follows is lost. Schemas and
channels are in the first chunk that needs them, and again at the end.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from leo_runtime.errors import MissingExtraError, RecordingError, words
from leo_runtime.recordings.messages import EXTRA, Logged, Topic, decoder
from leo_runtime.recordings.reader import without_path

MAGIC = b"\x89MCAP0\r\n"
METADATA = "leo-recording"
"""The name of the metadata that `mcap_writer` keeps the manifest in."""
_FOOTER_BYTES = 1 + 8 + 20 + len(MAGIC)
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX = 1, 2, 3, 4, 5, 6, 8
_METADATA, _DATA_END = 0x0C, 0x0F
_MOST_CHUNK_BYTES = 1 << 28
"""Of a chunk, packed or unpacked. Writers make them of a few MiB."""
_MOST_RECORD_BYTES = 1 << 26
"""Of a schema, a channel, metadata, an index."""
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_TOLD = 5


@dataclass(frozen=True, slots=True)
class _Channel:
    topic: str
    encoding: str
    schema: int


@dataclass(frozen=True, slots=True)
class _Schema:
    name: str
    encoding: str
    data: bytes


class McapFile:
    """An MCAP file; `messages` may be called again and again."""

    def __init__(self, path: Path) -> None:
        """Looks through the file without unpacking more than it must. Raises `RecordingError`, `MissingExtraError`."""
        try:
            import mcap  # noqa: F401  # that it is there
            import zstandard  # noqa: F401
        except ImportError:
            raise MissingExtraError("reading MCAP", EXTRA) from None
        self.where = str(path)
        self.lost: list[str] = []
        self.metadata: dict[str, dict[str, str]] = {}
        """By name, what was written beside the messages."""
        self._path = path
        self._schemas: dict[int, _Schema] = {}
        self._channels: dict[int, _Channel] = {}
        self._broken_chunks: set[int] = set()
        self._first_ns: int | None = None
        try:
            self._length = path.stat().st_size
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise RecordingError(
                        f"{path}: cannot be read as MCAP (it does not begin as one)",
                        hint="copy it again, or convert it",
                    )
                self._chunk_starts = self._read_summary(file)
                for _ in self._records(file, look=True):
                    pass
        except (OSError, ValueError) as error:
            raise RecordingError(f"{path}: cannot be read as MCAP ({without_path(error)})") from None
        if not self._channels or self._first_ns is None:
            raise RecordingError(f"{path}: holds no messages", hint="; ".join(self.lost) or "record it again")
        self.start_ns = self._first_ns
        with suppress(KeyError, ValueError):  # What leo-runtime wrote says when it began, also where that is lost.
            self.start_ns = int(self.metadata[METADATA]["start_ns"])
        self.topics: Mapping[str, Topic] = {
            channel.topic: Topic(channel.topic, self._schema(channel).name)
            for _, channel in sorted(self._channels.items(), key=lambda each: each[1].topic)
        }
        # Of each channel: several may publish on one topic, each in its own way.
        self._decoders: dict[int, Callable[[bytes], Any]] = {
            number: self._decoder(channel) for number, channel in self._channels.items()
        }

    def _schema(self, channel: _Channel) -> _Schema:
        return self._schemas.get(channel.schema, _Schema("", "", b""))

    def _decoder(self, channel: _Channel) -> Callable[[bytes], Any]:
        schema = self._schema(channel)
        made: list[Any] = []

        def decode(raw: bytes) -> Any:
            if not made:  # When it is first needed: a schema of another topic may be damaged.
                made.append(
                    decoder(self.where, channel.topic, channel.encoding, schema.name, schema.encoding, schema.data)
                )
            return made[0](raw)

        return decode

    def messages(self, topics: Collection[str]) -> Iterator[Logged]:
        """The messages of these topics, in the order of the file. Raises `RecordingError`."""
        wanted = {number: channel.topic for number, channel in self._channels.items() if channel.topic in topics}
        try:
            with self._path.open("rb") as file:
                file.seek(len(MAGIC))
                for channel, log_ns, raw in self._records(file, look=False):
                    if channel in wanted:
                        yield Logged(wanted[channel], log_ns, bytes(raw), self._decoders[channel])
        except OSError as error:
            raise RecordingError(f"{self._path}: cannot be read as MCAP ({without_path(error)})") from None

    def _read_summary(self, file: BinaryIO) -> list[int]:
        """Schemas and channels from the end of the file, and where chunks begin; nothing of it need be there."""
        starts: list[int] = []
        with suppress(Exception):
            file.seek(self._length - _FOOTER_BYTES)
            tail = file.read(_FOOTER_BYTES)
            if tail.endswith(MAGIC) and tail[0] == _FOOTER:
                start = int.from_bytes(tail[9:17], "little")
                file.seek(start if 0 < start < self._length else self._length)
                while file.tell() < self._length - _FOOTER_BYTES:
                    kind, length = _RECORD.unpack(file.read(_RECORD.size))
                    record = file.read(min(length, _MOST_RECORD_BYTES))
                    if kind == _CHUNK_INDEX:
                        starts.append(struct.unpack_from("<Q", record, 16)[0])
                    self._keep(kind, record)
        file.seek(len(MAGIC))
        return sorted(set(starts))

    def _records(self, file: BinaryIO, *, look: bool) -> Iterator[tuple[int, int, memoryview]]:
        """Channel, time and content of every message; where it is to `look` only, what is lost and where it begins."""
        while True:
            start = file.tell()
            head = file.read(_RECORD.size)
            if len(head) < _RECORD.size:
                if look:
                    self._lose(f"it ends at byte {self._length} without its index: it was cut, or not closed")
                return
            kind, length = _RECORD.unpack(head)
            if kind in (_DATA_END, _FOOTER) and length <= 64:
                return
            is_known = 1 <= kind <= 0x0F or kind >= 0x80
            if not is_known or length > self._length - file.tell() or length > _most(kind):
                after = next((each for each in self._chunk_starts if each > start), None)
                if look:
                    rest = "what follows is lost" if after is None else f"what is before byte {after} is lost"
                    cut = length > self._length - file.tell() and is_known
                    why = "is longer than the file" if cut else "is none"
                    self._lose(f"the record at byte {start} {why}: {rest}")
                if after is None:
                    return
                file.seek(after)
                continue
            if kind == _CHUNK:
                yield from self._chunk(file, start, length, look)
            elif kind == _MESSAGE:
                record = file.read(length)
                if length >= _MESSAGE_HEAD.size:
                    channel, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(record)
                    self._begins(log_ns)
                    yield channel, log_ns, memoryview(record)[_MESSAGE_HEAD.size :]
            elif look and kind in (_SCHEMA, _CHANNEL, _METADATA):
                self._keep(kind, file.read(length))
            file.seek(start + _RECORD.size + length)

    def _chunk(self, file: BinaryIO, start: int, length: int, look: bool) -> Iterator[tuple[int, int, memoryview]]:
        if start in self._broken_chunks:
            return
        record = file.read(length)
        try:
            first_ns, last_ns = struct.unpack_from("<QQ", record)
            content = _unpacked(record)
            found = list(_within(content))
        except Exception as error:  # Codecs have their own; and anything may stand in damaged bytes.
            self._broken_chunks.add(start)
            span = ""
            with suppress(Exception):
                span = f", {(last_ns - first_ns) / 1e9:.6g} s of messages" if last_ns >= first_ns else ""
            self._lose(f"the chunk of {length} bytes at byte {start} is damaged ({words(error)[:120]}){span}")
            return
        for kind, record_of in found:
            if kind == _MESSAGE:
                channel, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(record_of)
                if look:
                    self._begins(log_ns)
                else:
                    yield channel, log_ns, record_of[_MESSAGE_HEAD.size :]
            elif look:
                self._keep(kind, bytes(record_of))

    def _begins(self, log_ns: int) -> None:
        self._first_ns = log_ns if self._first_ns is None else min(self._first_ns, log_ns)

    def _lose(self, what: str) -> None:
        if len(self.lost) < _TOLD:
            self.lost.append(what)
        elif len(self.lost) == _TOLD:
            self.lost.append("and more")

    def _keep(self, kind: int, record: bytes) -> None:
        """What is not a message, where it can be read."""
        with suppress(Exception):
            if kind == _SCHEMA:
                at, number = 2, int.from_bytes(record[:2], "little")
                name, at = _text(record, at)
                encoding, at = _text(record, at)
                length = int.from_bytes(record[at : at + 4], "little")
                self._schemas.setdefault(number, _Schema(name, encoding, record[at + 4 : at + 4 + length]))
            elif kind == _CHANNEL:
                number, schema = struct.unpack_from("<HH", record)
                topic, at = _text(record, 4)
                encoding, _ = _text(record, at)
                self._channels.setdefault(number, _Channel(topic, encoding, schema))
            elif kind == _METADATA:
                name, at = _text(record, 0)
                end = at + 4 + int.from_bytes(record[at : at + 4], "little")
                at += 4
                pairs: dict[str, str] = {}
                while at < min(end, len(record)):
                    key, at = _text(record, at)
                    pairs[key], at = _text(record, at)
                self.metadata.setdefault(name, pairs)


def _most(kind: int) -> int:
    if kind in (_SCHEMA, _CHANNEL, _METADATA, _CHUNK_INDEX, _HEADER):
        return _MOST_RECORD_BYTES
    return _MOST_CHUNK_BYTES if kind in (_CHUNK, _MESSAGE) else 1 << 62  # Others are passed over.


def _text(record: bytes, at: int) -> tuple[str, int]:
    """A text that its length stands before, and where it ends. Raises `ValueError`."""
    length = int.from_bytes(record[at : at + 4], "little")
    end = at + 4 + length
    if end > len(record):
        raise ValueError("it ends too soon")
    return record[at + 4 : end].decode(), end


def _unpacked(record: bytes) -> bytes:
    """The records of a chunk, checked against its checksum. Raises whatever codecs do."""
    size, crc = struct.unpack_from("<QI", record, 16)
    codec, at = _text(record, 28)
    length = int.from_bytes(record[at : at + 8], "little")
    packed = record[at + 8 : at + 8 + length]
    if len(packed) != length or size > _MOST_CHUNK_BYTES:
        raise ValueError("its lengths do not fit")
    if codec == "zstd":
        import zstandard

        content = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(io.BytesIO(packed)).read(size + 1)
    elif codec == "lz4":
        import lz4.frame

        content = lz4.frame.LZ4FrameDecompressor().decompress(packed, size + 1)
    elif codec == "":
        content = packed
    else:
        raise ValueError(f"it is packed by `{codec}`")
    if len(content) != size or (crc and zlib.crc32(content) != crc):
        raise ValueError("its checksum does not fit")
    return content


def _within(content: bytes) -> Iterator[tuple[int, memoryview]]:
    """The records of an unpacked chunk. Raises `ValueError` where one does not end in it."""
    view, at = memoryview(content), 0
    while at < len(view):
        if len(view) - at < _RECORD.size:
            raise ValueError("its last record is cut")
        kind, length = _RECORD.unpack_from(view, at)
        at += _RECORD.size
        if length > len(view) - at or (kind == _MESSAGE and length < _MESSAGE_HEAD.size):
            raise ValueError("a record in it does not end")
        if kind in (_MESSAGE, _SCHEMA, _CHANNEL):
            yield kind, view[at : at + length]
        at += length

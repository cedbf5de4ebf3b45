"""Writes recordings: a folder with a manifest and a file a stream, in blocks of any length, or an MCAP.

What is written stands under `NAME.part` until it is complete, and then takes its name, so that what stands under a name
is whole. Sound becomes WAV, anything else an array (`.npy`), events a table; all hold samples to the bit. A recorder
that is killed leaves its `.part`, a folder that can be read: the lengths in its files are mended then.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from leo_runtime.errors import InputError
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.samples import blocks
from leo_runtime.recordings.stream import Gap, RecordedStream, StatedGap

MANIFEST = "recording.toml"
_WAV_HEAD_BYTES = 12 + 8 + 28 + 8 + 16 + 8
_NPY_HEAD_BYTES = 192
_MOST_32 = 0xFFFF_FFFF


class _Sink(Protocol):
    """A file of one stream."""

    def add(self, samples: np.ndarray, times_us: np.ndarray | None, /) -> None:
        """Write more samples, of the type and shape that recordings hold; events with their times. Raises `OSError`."""
        ...

    def close(self) -> None:
        """Write what the file says of its length, and close it. Raises `OSError`."""
        ...


class _NewFile:
    """A file that is not there yet. Nothing waits in a buffer: what a full disk had no room for is not in it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._length = 0

    def add(self, content: bytes) -> None:
        """Write more behind what was written whole. Raises `OSError`."""
        self._put(self._length, content)
        self._length += len(content)

    def _put(self, at: int, content: bytes) -> None:
        self._file.seek(at)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self, *heads: tuple[int, bytes]) -> None:
        """Write the heads at their places, leave out what was written in part, and close it. Raises `OSError`."""
        with self._file as file:
            file.truncate(self._length)
            for at, content in heads:
                self._put(at, content)
            os.fsync(file.fileno())


class _Wav:
    """16-bit PCM. The lengths stay 0 until the end, which readers take for a recorder that was killed."""

    def __init__(self, path: Path, stream: RecordedStream) -> None:
        self._file = _NewFile(path)
        self._samples = 0
        self._frame_bytes = 2 * stream.channels
        rate_hz = int(stream.rate_hz)
        per_s = min(rate_hz * self._frame_bytes, _MOST_32)
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, stream.channels, rate_hz, per_s, self._frame_bytes, 16)
        # The chunk JUNK leaves room for the lengths of RF64 (EBU Tech 3306), where 32 bits have none for them.
        junk = struct.pack("<4sI4s4sI28s", b"RIFF", 0, b"WAVE", b"JUNK", 28, bytes(28))
        self._file.add(junk + form + struct.pack("<4sI", b"data", 0))

    def add(self, samples: np.ndarray, _times_us: np.ndarray | None) -> None:
        self._file.add(np.ascontiguousarray(samples, "<i2").tobytes())
        self._samples += len(samples)

    def close(self) -> None:
        data = self._samples * self._frame_bytes
        whole = _WAV_HEAD_BYTES - 8 + data
        if whole <= _MOST_32:
            self._file.close((4, struct.pack("<I", whole)), (_WAV_HEAD_BYTES - 4, struct.pack("<I", data)))
        else:
            lengths = struct.pack("<4sIQQQI", b"ds64", 28, whole, data, self._samples, 0)
            head = struct.pack("<4sI4s", b"RF64", _MOST_32, b"WAVE") + lengths
            self._file.close((0, head), (_WAV_HEAD_BYTES - 4, struct.pack("<I", _MOST_32)))


class _Npy:
    """Rows of an array; the header says 0 of them until the end."""

    def __init__(self, path: Path, stream: RecordedStream, dtype: np.dtype[Any]) -> None:
        self._file = _NewFile(path)
        self._dtype = dtype.newbyteorder("<")
        self._shape = stream.sample_shape
        self._rows = 0
        self._file.add(self._head())

    def _head(self) -> bytes:
        text = str({"descr": self._dtype.str, "fortran_order": False, "shape": (self._rows, *self._shape)})
        return (
            b"\x93NUMPY\x01\x00"
            + struct.pack("<H", _NPY_HEAD_BYTES - 10)
            + text.encode().ljust(_NPY_HEAD_BYTES - 11)
            + b"\n"
        )

    def add(self, samples: np.ndarray, _times_us: np.ndarray | None) -> None:
        self._file.add(np.ascontiguousarray(samples, self._dtype).tobytes())
        self._rows += len(samples)

    def close(self) -> None:
        self._file.close((0, self._head()))


class _Table:
    """Events, a row each with its time."""

    def __init__(self, path: Path, stream: RecordedStream) -> None:
        self._file = _NewFile(path)
        self._channels = stream.channels
        self._write([["time_us", *stream.columns]])

    def _write(self, rows: Iterable[list[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.add(text.getvalue().encode())

    def add(self, samples: np.ndarray, times_us: np.ndarray | None) -> None:
        assert times_us is not None, "events have times"
        # A float32 as the float64 that it is, whose shortest text is read back to the bit.
        values = np.asarray(samples, np.float64).reshape(-1, self._channels).tolist()
        self._write([at, *row] for at, row in zip(times_us.tolist(), values, strict=True))

    def close(self) -> None:
        self._file.close()


class RecordingWriter:
    """Writes a recording into a new folder as its samples come. Used by one thread.

    As a context it is complete at the end of the block; where that raises, what was written is thrown away. Whoever
    wants to keep it calls `finish` before.
    """

    def __init__(self, folder: Path, manifest: RecordingManifest, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        """`manifest` tells of the streams, whose files are named here; `dtypes` are those of their samples.

        Raises `InputError` where the folder is there already, or cannot be made.
        """
        require_new(folder)
        self.folder = folder
        self._part = folder.with_name(f"{folder.name}.part")
        self._manifest = manifest.model_copy(update={"streams": named_files(manifest.streams)})
        self._is_open = True
        self._sinks: dict[str, _Sink] = {}
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._part.mkdir()
        except FileExistsError:
            raise InputError(
                f"{self._part}: is there already",
                hint="another program writes it, or one was killed while it did: then rename or remove it",
            ) from None
        except OSError as error:
            raise self._failed(error) from None
        try:
            (self._part / MANIFEST).write_text(toml(self._manifest), encoding="utf-8")
            for stream in self._manifest.streams:
                self._sinks[stream.name] = _sink(self._part / stream.file, stream, dtypes.get(stream.name))
        except BaseException as error:  # An interrupt is one of them.
            self.discard()
            if isinstance(error, OSError):
                raise self._failed(error) from None
            raise

    @property
    def manifest(self) -> RecordingManifest:
        """What is written of the streams, with the names of their files."""
        return self._manifest

    def _failed(self, error: OSError) -> InputError:
        why = error.strerror or str(error)
        return InputError(f"{self.folder}: cannot be written ({why})", hint="name a folder where there is room")

    def add(self, stream: str, samples: np.ndarray, times_us: np.ndarray | None = None) -> None:
        """Write the next samples of a stream: int16 of audio, float32 or uint8 of others; of events with their times.

        Raises `InputError`.
        """
        try:
            self._sinks[stream].add(samples, times_us)
        except OSError as error:
            raise self._failed(error) from None

    def finish(self, **changed: object) -> None:
        """Complete it under its name; `changed` are fields of the manifest that were not known before.

        Raises `InputError`; what was written then stands in the `.part` folder.
        """
        self._is_open = False
        try:
            for sink in self._sinks.values():
                sink.close()
            if changed:
                manifest = self._manifest.model_copy(update=changed)
                (self._part / MANIFEST).write_text(toml(manifest), encoding="utf-8")
            require_new(self.folder)
            self._part.rename(self.folder)
        except OSError as error:
            raise self._failed(error) from None

    def discard(self) -> None:
        """Throw away what was written."""
        self._is_open = False
        for sink in self._sinks.values():
            with suppress(OSError):  # The disk may be full, or gone.
                sink.close()
        shutil.rmtree(self._part, ignore_errors=True)

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete it, or throw it away."""
        if not self._is_open:
            return
        if kind is None:
            self.finish()
        else:
            self.discard()


def _sink(path: Path, stream: RecordedStream, dtype: np.dtype[Any] | None) -> _Sink:
    if path.suffix == ".csv":
        return _Table(path, stream)
    return _Wav(path, stream) if path.suffix == ".wav" else _Npy(path, stream, dtype or np.dtype(np.float32))


def require_new(path: Path) -> None:
    """Raise `InputError` for what is there already: a recording is never written over."""
    if os.path.lexists(path):
        raise InputError(f"{path}: is there already", hint="name another, or remove it")


def named_files(streams: tuple[RecordedStream, ...]) -> tuple[RecordedStream, ...]:
    """The streams as a folder has them: each in a file that is named after it, and nothing said of how to read it."""
    taken: set[str] = {MANIFEST}
    found = []
    for stream in streams:
        end = ".csv" if stream.kind == "events" else ".wav" if _fits_wav(stream) else ".npy"
        bare = re.sub(r"[^A-Za-z0-9_-]+", "_", stream.name)[:80].strip("_") or "stream"
        names = (f"{bare}{'' if number == 1 else f'_{number}'}{end}" for number in range(1, len(streams) + 2))
        file = next(name for name in names if name.lower() not in taken)
        taken.add(file.lower())
        columns = {"columns": _column_names(stream)} if stream.kind == "events" else {}
        found.append(bare_stream(stream, file, **columns))
    return tuple(found)


def _column_names(stream: RecordedStream) -> tuple[str, ...]:
    """What the columns of a table of events are called: as they were, where that is clear."""
    own = stream.columns
    is_clear = len(own) == stream.channels == len(set(own)) and all(name == name.strip() for name in own)
    if is_clear and "time_us" not in own and not any(name[:1] in "#" or not name.isprintable() for name in own):
        return own
    return tuple(f"value_{number}" for number in range(1, stream.channels + 1))


def _fits_wav(stream: RecordedStream) -> bool:
    return (
        stream.kind == "audio"
        and float(stream.rate_hz).is_integer()
        and stream.rate_hz <= _MOST_32
        and stream.channels <= 0x7FFF
    )


KEPT = ("name", "kind", "rate_hz", "channels", "unit", "height_px", "width_px", "columns", "gaps")
"""What a manifest says of the samples of a stream, and not of how they are read from its file."""


def bare_stream(stream: RecordedStream, file: str, **more: Any) -> RecordedStream:
    """The stream as if its samples were in a plain file of that name."""
    defaults = {name: each.get_default() for name, each in RecordedStream.model_fields.items() if name not in KEPT}
    return stream.model_copy(update=defaults | {"file": file} | more)


def with_gaps(recording: Recording) -> RecordingManifest:
    """The manifest of a recording, which tells of the gaps that were found in its files."""
    streams = tuple(
        stream.model_copy(update={"gaps": stated(recording.gaps.get(stream.name, ()))})
        for stream in recording.manifest.streams
    )
    return recording.manifest.model_copy(update={"streams": streams})


def stated(gaps: tuple[Gap, ...]) -> tuple[StatedGap, ...]:
    """Gaps as manifests tell of them."""
    return tuple(StatedGap(start_us=gap.start_us, end_us=gap.end_us) for gap in gaps if gap.end_us > gap.start_us)


def write_folder(recording: Recording, folder: Path, progress: Progress = lambda *_: None) -> None:
    """Write a recording into a new folder, a block at a time. Raises `InputError`, `RecordingError`."""
    manifest = with_gaps(recording)
    dtypes = {name: samples.dtype for name, samples in recording.samples.items()}
    whole = sum(len(samples) for samples in recording.samples.values())
    done = 0
    with RecordingWriter(folder, manifest, dtypes) as writer:
        for stream in manifest.streams:
            times_us, first = recording.times_us.get(stream.name), 0
            for block in blocks(recording.samples[stream.name]):
                writer.add(stream.name, block, None if times_us is None else times_us[first : first + len(block)])
                first += len(block)
                done += len(block)
                progress(stream.name, done, whole)


def toml(manifest: RecordingManifest) -> str:
    """The manifest as TOML, what is at its default left out."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in manifest.model_dump(mode="json", exclude_defaults=True).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = "".join(f"    {_toml_value(row)},\n" for row in value)
            tables.append(f"{key} = [\n{rows}]\n")
        else:
            lines.append(f"{key} = {_toml_value(value)}\n")
    return "".join(lines + tables)


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # A text of JSON is one of TOML, but for the one control character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

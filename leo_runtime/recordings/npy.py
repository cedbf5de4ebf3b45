"""Reads arrays as numpy writes them (`.npy`), a span at a time: samples along the first axis, evenly spaced.

A recorder that is killed leaves the number of rows at 0 (`writer` begins with that): then the rows go on to the end of
the file, which is told as a repair. A file that holds less than it says was cut, and is refused.
"""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.errors import RecordingError, words
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.samples import StoredSamples
from leo_runtime.recordings.stream import RecordedStream

_HEADER_BYTES = 1 << 16
"""Of a file, that are looked at for its header; numpy's own end within 10,000."""


def read_npy(path: Path, stream: RecordedStream) -> StreamData:
    """Rows of a file: of a camera (frames, height, width, channels), or without the channels where there is one.

    Raises `RecordingError` where it cannot be read, is cut or empty, or holds other than real numbers.
    """
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read as npy ({without_path(error)})") from None
    shape, dtype, start = header_of(str(path), head)
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    if row_bytes == 0:
        raise RecordingError(f"{path}: holds no samples (its shape is {shape})", hint="record it again")
    held, rows = (length - start) // row_bytes, shape[0]
    repairs: tuple[str, ...] = ()
    if rows > held:
        raise RecordingError(
            f"{path}: truncated, its header promises {rows} samples and it holds {held}", hint="copy it again"
        )
    rest_bytes = length - start - rows * row_bytes
    if rows == 0 and held > 0:
        left = f", but the last {rest_bytes % row_bytes} bytes" if rest_bytes % row_bytes else ""
        rows, repairs = held, (f"its header says 0 samples; the {held} up to the end of the file are read{left}",)
    elif rest_bytes:
        repairs = (f"{rest_bytes} bytes behind its last sample are left out",)
    if rows == 0:
        raise RecordingError(f"{path}: holds no samples", hint="record it again")
    if stream.kind == "audio" and dtype.kind != "f" and dtype.newbyteorder("=") != np.int16:
        raise RecordingError(
            f"{path}: cannot be read as audio (it holds {dtype})", hint="write int16, or floats from -1 to 1"
        )
    inner = _inner_shape(path, shape[1:], stream)

    native = dtype.newbyteorder("=")

    def read(first: int, last: int) -> np.ndarray:
        try:
            with path.open("rb") as file:
                file.seek(start + first * row_bytes)
                raw = file.read((last - first) * row_bytes)
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read as npy ({without_path(error)})") from None
        if len(raw) != (last - first) * row_bytes:
            raise RecordingError(f"{path}: has become shorter while it was read", hint="copy it again")
        return np.frombuffer(raw, dtype).astype(native, copy=False).reshape(last - first, *inner)

    return StreamData(StoredSamples((rows, *inner), native, read), stream.rate_hz, repairs)


def header_of(where: str, head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """The shape, the type, and where the rows begin, of a file that begins so. Raises `RecordingError`."""
    wrong = f"{where}: cannot be read as npy"
    text = BytesIO(head)
    try:
        version = np.lib.format.read_magic(text)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(text)
    except Exception as error:  # It reads the header as Python, which raises whatever it likes.
        hint = "write it with numpy.save"
        raise RecordingError(f"{wrong} ({words(error).splitlines()[0][:200]})", hint=hint) from None
    if dtype.kind not in "iuf" or dtype.hasobject or dtype.itemsize > 8:
        raise RecordingError(f"{wrong} (it holds {dtype}, not real numbers)", hint="astype(numpy.float32)")
    if not shape or any(not 0 <= length < 2**48 for length in shape) or len(shape) > 4:
        raise RecordingError(f"{wrong} (its shape is {shape})", hint="one row a sample")
    if by_columns and len(shape) > 1:
        raise RecordingError(f"{wrong} (it lies column by column)", hint="numpy.save(path, numpy.ascontiguousarray(x))")
    return tuple(int(length) for length in shape), dtype, text.tell()


def _inner_shape(path: Path, inner: tuple[int, ...], stream: RecordedStream) -> tuple[int, ...]:
    """Of a row: that of the manifest's samples, where a channel of one may be left out of the file."""
    if stream.kind != "camera" and len(inner) > 1:
        raise RecordingError(
            f"{path}: holds an array of shape {inner} for each sample, stream `{stream.name}` is declared as "
            f"{stream.kind}",
            hint='give it kind = "camera", or one row a sample and one column a channel',
        )
    return stream.sample_shape if stream.kind == "camera" and inner == stream.sample_shape[:2] else inner

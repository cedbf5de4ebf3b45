"""Makes the samples of a stream from the messages of a topic: sound, pictures, or numbers with their times."""

from __future__ import annotations

import math
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.errors import LeoError, MissingExtraError, RecordingError, did_you_mean, words
from leo_runtime.recordings import cameras
from leo_runtime.recordings.clocks import is_epoch
from leo_runtime.recordings.grid import UnevenError, evenly, nearest
from leo_runtime.recordings.mcap_file import McapFile
from leo_runtime.recordings.messages import (
    FIELDS,
    PICTURES,
    SOUND,
    Logged,
    MessageFile,
    Topic,
    content,
    field,
    number_fields,
    numbers,
    own_time_ns,
)
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.ros_bag import RosBag
from leo_runtime.recordings.samples import StoredSamples
from leo_runtime.recordings.stream import Gap, RecordedStream

_OTHER_CLOCK_NS = 10 * 10**9
"""So far from when it was logged, a message's own time is on another clock."""
_WRONG_NS = 3600 * 10**9
"""Farther from when it was logged is no time of its own, but damage, or a clock that was set."""
_LONGEST_NS = 10**9 * 10**9
"""No recording is longer."""
_LEAST_SHARE = 1 / 10
"""Of the samples from the start to the end, that sound must be there for."""
_LATER_NS = 20 * 10**6
"""By so much more than the samples say a block of sound comes later, where some between are missing."""
_DELAY_NS = 10**9
"""Blocks are logged late by no longer than that."""
_DEPTHS = {"mono16": "u2", "16UC1": "u2", "16SC1": "i2", "32FC1": "f4", "32FC2": "f4", "32FC3": "f4", "32FC4": "f4"}
_COLOURS = {"rgb8": "RGB", "bgr8": "BGR", "mono8": "L", "8UC1": "L", "rgba8": "RGBA", "bgra8": "BGRA"}
"""Encodings of raw images of ROS and Foxglove, as Pillow calls the order of their bytes."""
_YUV = {"yuyv": (0, 1, 3), "yuv422_yuy2": (0, 1, 3), "uyvy": (1, 0, 2), "yuv422": (1, 0, 2)}
"""Encodings of two pixels in four bytes: where the first brightness, blue and red difference are. The second
brightness is two behind the first."""
BEGINS: dict[bytes, Callable[[Path], MessageFile]] = {
    b"\x89MCAP0\r\n": McapFile,
    b"#ROSBAG V": RosBag,
    b"SQLite form": RosBag,
}
"""What files of messages begin with."""


def is_message_file(path: Path) -> bool:
    """Whether it is an MCAP or a ROS bag, by its first bytes, or a folder by its metadata.yaml. Raises nothing."""
    return _opener(path) is not None


def _opener(path: Path) -> Callable[[Path], MessageFile] | None:
    try:
        if path.is_dir():
            return RosBag if (path / "metadata.yaml").is_file() or _storage(path) else None
        with path.open("rb") as file:
            begin = file.read(16)
    except (OSError, ValueError):
        return None
    return next((each for head, each in BEGINS.items() if begin.startswith(head)), None)


def open_messages(path: Path) -> MessageFile:
    """The file, looked through once for all its streams. Raises `RecordingError`, `MissingExtraError`."""
    try:
        state = path.stat()
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return _opened(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _opened(path: Path, _changed_ns: int, _bytes: int) -> MessageFile:
    found = _opener(path)
    if found is None:
        McapFile(path)  # Which says what is wrong with it.
        raise RecordingError(f"{path}: is neither MCAP nor a ROS bag", hint="copy it again, or convert it")
    # The one file of a folder is read without its metadata.yaml, which recorders that are killed do not write.
    inside = _storage(path) if path.is_dir() else []
    if len(inside) == 1:
        return McapFile(inside[0]) if inside[0].suffix == ".mcap" else RosBag(inside[0])
    return found(path)


def _storage(folder: Path) -> list[Path]:
    """The files of a ROS 2 bag; none where the folder is that of a recording of ours."""
    if (folder / "recording.toml").exists():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in (".mcap", ".db3"))


def read_messages(path: Path, stream: RecordedStream) -> StreamData:
    """The samples of a stream from a file of messages; time 0 is when the file's first message was logged.

    Raises `RecordingError` where there is no such topic, or nothing on it can be read; `MissingExtraError`.
    """
    file = open_messages(path)
    topic = _topic(file, stream)
    source = _Source(file, topic, stream)
    try:
        if stream.kind == "events":
            found = _events(source)
        elif stream.kind == "audio":
            found = _sound(source)
        elif stream.kind == "camera":
            found = _pictures(source)
        else:
            found = _numbers(source)
    except UnevenError as error:
        raise RecordingError(f"{file.where}: topic `{topic.name}` {error}", hint=error.hint) from None
    start_us = file.start_ns // 1000
    epoch_us = start_us if is_epoch(start_us) else None
    return replace(found, repairs=(*file.lost, *source.repairs, *found.repairs), epoch_us=epoch_us)


def _topic(file: MessageFile, stream: RecordedStream) -> Topic:
    """The one that the stream names, or is named after, or the only one of its kind."""
    known = ", ".join(f"{topic.name} ({topic.type or 'no type'})" for topic in file.topics.values())
    if stream.topic is not None:
        if stream.topic in file.topics:
            return file.topics[stream.topic]
        raise RecordingError(f"{file.where}: has no topic `{stream.topic}`", hint=f"it has {known}")
    for name in (stream.name, f"/{stream.name}"):
        if name in file.topics:
            return file.topics[name]
    kinds = {"audio": SOUND, "camera": PICTURES}.get(stream.kind, tuple(FIELDS))
    found = [topic for topic in file.topics.values() if topic.kind in kinds]
    if len(found) != 1:
        raise RecordingError(
            f"{file.where}: stream `{stream.name}` does not say which topic it is, and {len(found)} could be",
            hint=f"give it `topic`, one of {known}",
        )
    return found[0]


class _Source:
    """The messages of a topic, decoded, each with its time in ns after the file's start."""

    def __init__(self, file: MessageFile, topic: Topic, stream: RecordedStream) -> None:
        self.file = file
        self.topic = topic
        self.stream = stream
        self.where = f"{file.where}: topic `{topic.name}`"
        self.repairs: list[str] = []
        self._wrong = 0

    def messages(self, take: Callable[[int, Any], None]) -> None:
        """Call `take` with every message and its time; those for which it raises are left out, and that is told.

        Raises `RecordingError` where none is left.
        """
        taken, left_out, first_error = 0, 0, ""
        self._wrong = 0
        shift_ns: int | None = None
        for logged in self.file.messages((self.topic.name,)):
            message: Any = None
            try:
                message = logged.decode()
                time_ns, shift_ns = self._time_ns(logged, message, shift_ns)
                take(time_ns, message)
                taken += 1
            except LeoError:
                raise
            except Exception as error:  # A message may hold anything.
                left_out += 1
                first_error = first_error or _said(error, message if not taken else None)
        if not taken:
            raise RecordingError(
                f"{self.where} has no message that can be read" + (f" ({first_error})" if first_error else ""),
                hint="give the stream other `fields`" if first_error else "record it again",
            )
        if self._wrong:
            self.repairs.append(
                f"own times that are hours beside those that messages were logged at: {self._wrong}; they are put there"
            )
        if left_out:
            self.repairs.append(f"messages that cannot be read are left out: {left_out} (the first: {first_error})")

    def _time_ns(self, logged: Logged, message: Any, shift_ns: int | None) -> tuple[int, int | None]:
        log_ns = logged.log_ns - self.file.start_ns
        if not -_LONGEST_NS < log_ns < _LONGEST_NS:
            raise ValueError(f"it was logged at {logged.log_ns} ns")
        own_ns = own_time_ns(message, self.stream.time_field)
        if own_ns is None:
            return log_ns, shift_ns
        if shift_ns is None:
            apart_ns = logged.log_ns - own_ns
            shift_ns = apart_ns if abs(apart_ns) > _OTHER_CLOCK_NS else 0
            if shift_ns:
                self.repairs.append(
                    f"its messages' own times are {shift_ns / 1e9:.6g} s before those they were logged at: the first "
                    "is put there"
                )
        if abs(own_ns + shift_ns - logged.log_ns) > _WRONG_NS:
            self._wrong += 1
            return log_ns, shift_ns
        return own_ns + shift_ns - self.file.start_ns, shift_ns


def _said(error: Exception, message: Any) -> str:
    if isinstance(error, LookupError) and message is not None:
        fields = ", ".join(number_fields(message)[:20])
        return f"no field `{error.args[0] if error.args else ''}`; its numbers are {fields or 'none'}"
    return words(error)[:160]


# Numbers.


def _numbers(source: _Source) -> StreamData:
    """Motion and others: rows on the even grid of the stream's rate."""
    times_us, values = number_rows(source)
    even = evenly(times_us, values, source.stream.rate_hz)
    return StreamData(even.values, source.stream.rate_hz, even.repairs, even.gaps, even.timing)


def _events(source: _Source) -> StreamData:
    """What comes when it comes, by its times."""
    times_us, values = number_rows(source)
    order = np.argsort(times_us, kind="stable")
    return StreamData(values[order], 0, times_us=np.rint(times_us[order]).astype(np.int64))


def number_rows(source: _Source) -> tuple[np.ndarray, np.ndarray]:
    """Times in us, (rows,), and values, (rows, channels), in the order of the file."""
    stream = source.stream
    fields = list(stream.fields or FIELDS.get(source.topic.kind, ()))
    times, values = array("q"), array("d")

    def take(time_ns: int, message: Any) -> None:
        if not fields:
            fields.extend(number_fields(message))
        row = [number for path in fields for number in numbers(field(message, path))]
        if len(row) != stream.channels and not times:
            raise RecordingError(
                f"{source.where} has {len(row)} numbers a message, stream `{stream.name}` is declared with "
                f"{stream.channels} channels: {', '.join(fields)}",
                hint="name those that are meant in the stream's `fields`, or correct its `channels`",
            )
        if len(row) != stream.channels:
            raise ValueError(f"it has {len(row)} numbers")
        if not all(map(math.isfinite, row)):
            raise ValueError("a number is not finite")
        values.extend(row)
        times.append(time_ns)

    source.messages(take)
    return np.array(times, np.int64) / 1e3, np.array(values).reshape(len(times), stream.channels)


# Sound.


class _Spool:
    """What does not fit into memory, in a file that goes when this does."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `__del__` closes it
        self.length = 0

    def add(self, raw: bytes) -> int:
        """Where it is."""
        self._file.write(raw)
        self.length += len(raw)
        return self.length - len(raw)

    def read(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        return self._file.read(length)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


@dataclass(frozen=True, slots=True)
class _Block:
    """So many samples of all channels that were logged together."""

    time_ns: int
    at: int
    """In the spool, in bytes."""
    samples: int


def _sound(source: _Source) -> StreamData:
    spool, blocks = _Spool(), list[_Block]()
    form: list[tuple[float, int]] = []
    newest: tuple[int, bytes] = 0, b""
    repeated = 0

    def take(time_ns: int, message: Any) -> None:
        if source.topic.kind not in SOUND:
            raise RecordingError(
                f"{source.where} is of type {source.topic.type or 'none'}, which is no sound that is read",
                hint=f"sound is read from {', '.join(SOUND)}; give the stream another `topic`",
            )
        rate_hz, channels = float(field(message, "sample_rate")), int(field(message, "number_of_channels"))
        coded = str(field(message, "format"))
        if coded != "pcm-s16":
            raise RecordingError(f"{source.where} holds sound as `{coded[:40]}`", hint="pcm-s16 is read: convert it")
        if not form:
            if not 1e-3 <= rate_hz <= 1e9 or channels < 1:
                raise ValueError(f"it says {rate_hz:g} Hz, {channels} channels")
            form.append((rate_hz, channels))
        if (rate_hz, channels) != form[0]:
            raise ValueError(f"it is of {rate_hz:g} Hz and {channels} channels, unlike the first")
        raw = content(field(message, "data"))
        samples = len(raw) // (2 * channels)
        nonlocal newest, repeated
        if (time_ns, raw) == newest and any(raw):  # Silence at one time may be two blocks in a burst.
            repeated += 1
            return
        newest = time_ns, raw
        if samples:
            blocks.append(_Block(time_ns, spool.add(raw[: samples * 2 * channels]), samples))

    source.messages(take)
    if not blocks:
        raise RecordingError(f"{source.where} holds no samples", hint="record it again")
    rate_hz, channels = form[0]
    # Those with the same time are in their order in the file.
    blocks.sort(key=lambda block: block.time_ns)
    pieces, gaps = _in_a_row(blocks, rate_hz)
    if repeated:
        source.repairs.append(f"messages that repeat the one before are left out: {repeated}")
    repairs = (f"sound is missing {len(gaps)} times, {_seconds(gaps):g} s in all; zeros stand there",) if gaps else ()
    total, held = pieces[-1][0] + pieces[-1][1].samples, sum(block.samples for block in blocks)
    if held < total * _LEAST_SHARE:
        raise UnevenError(
            f"holds {held} samples of sound up to {total / rate_hz:g} s, where {total} are due at {rate_hz:g} Hz",
            None,
            "cut it into recordings",
        )
    starts = np.array([start for start, _ in pieces])
    shape = (total,) if channels == 1 else (total, channels)

    def read(first: int, last: int) -> np.ndarray:
        found = np.zeros((max(0, last - first), channels), np.int16)
        for start, block in pieces[max(0, int(np.searchsorted(starts, first, "right")) - 1) :]:
            if start >= last:
                break
            begin, end = max(first, start), min(last, start + block.samples)
            if begin < end:
                raw = spool.read(block.at + (begin - start) * 2 * channels, (end - begin) * 2 * channels)
                found[begin - first : end - first] = np.frombuffer(raw, "<i2").reshape(-1, channels)
        return found.reshape(len(found), *shape[1:])

    return StreamData(StoredSamples(shape, np.int16, read), rate_hz, repairs, gaps)


def _seconds(gaps: Sequence[Gap]) -> float:
    return sum(gap.end_us - gap.start_us for gap in gaps) / 1e6


def _in_a_row(blocks: Sequence[_Block], rate_hz: float) -> tuple[list[tuple[int, _Block]], tuple[Gap, ...]]:
    """At which sample each block begins, and what is missing between them.

    A block may be logged late, never early: how much is missing before one is told by the block of the next second that
    came with the least delay.
    """
    counted = np.cumsum([0, *(block.samples for block in blocks[:-1])])
    times = np.array([block.time_ns for block in blocks], np.int64)
    # Counted in seconds and the rest, whose product int64 has room for.
    whole = int(rate_hz) if rate_hz == int(rate_hz) else rate_hz
    delays = times - (counted // whole * 1_000_000_000 + counted % whole * 1_000_000_000 // whole).astype(np.int64)
    until = np.searchsorted(times, times + _DELAY_NS, "right")
    least = [int(delays[at:end].min()) for at, end in enumerate(until.tolist())]
    pieces: list[tuple[int, _Block]] = []
    gaps: list[Gap] = []
    start = max(0, round(least[0] * rate_hz / 1e9))
    if start:
        gaps.append(Gap(0, round(start * 1e6 / rate_hz)))
    for at, block in enumerate(blocks):
        more_ns = least[at] - least[at - 1] if at else 0
        if more_ns > _LATER_NS:
            missing = round(more_ns * rate_hz / 1e9)
            gaps.append(Gap(round(start * 1e6 / rate_hz), round((start + missing) * 1e6 / rate_hz)))
            start += missing
        pieces.append((start, block))
        start += block.samples
    return pieces, tuple(gaps)


# Pictures.


@dataclass(frozen=True, slots=True)
class _Picture:
    """One frame as it was logged."""

    time_ns: int
    at: int
    length: int
    raw: tuple[str, int, int, int, bool] | None
    """Encoding, width, height, bytes a row, big-endian; None: a file such as JPEG."""


def _pictures(source: _Source) -> StreamData:
    stream, spool, found = source.stream, _Spool(), list[_Picture]()

    def take(time_ns: int, message: Any) -> None:
        if source.topic.kind not in PICTURES:
            raise RecordingError(
                f"{source.where} is of type {source.topic.type or 'none'}, which are no pictures that are read",
                hint=f"pictures are read from {', '.join(PICTURES)}; give the stream another `topic`",
            )
        raw = None
        if source.topic.kind != "CompressedImage":
            encoding = str(field(message, "encoding"))
            if encoding not in _DEPTHS and encoding not in _COLOURS and encoding not in _YUV:
                raise RecordingError(
                    f"{source.where} holds pictures as `{encoding[:40]}`",
                    hint=f"one of {', '.join((*_COLOURS, *_YUV, *_DEPTHS))} is read: convert them",
                )
            width, height, step = (int(field(message, name)) for name in ("width", "height", "step"))
            cameras.require_pixels(source.where, width, height)
            big = bool(getattr(message, "is_bigendian", False))
            raw = (encoding, width, height, step, big)
        data = content(field(message, "data"))
        found.append(_Picture(time_ns, spool.add(data), len(data), raw))

    source.messages(take)
    found.sort(key=lambda picture: picture.time_ns)
    several = len(found)
    found = [one for at, one in enumerate(found) if at == 0 or one.time_ns > found[at - 1].time_ns]
    if several > len(found):
        source.repairs.append(f"pictures of the same time as the one before are left out: {several - len(found)}")
    times_us = np.array([picture.time_ns for picture in found]) / 1e3
    put = nearest(times_us, stream.rate_hz)
    deep = found[0].raw is not None and found[0].raw[0] in _DEPTHS
    show = _frames(source, spool, deep)
    show(found[0])
    told: tuple[str, ...] = ()
    if found[0].raw is not None and not deep:
        encoding, width, height, _, _ = found[0].raw
        told = tuple(cameras.converting(stream, width, height, len(_COLOURS.get(encoding, "RGB"))))
    dtype = np.dtype(np.float32 if deep else np.uint8)
    return cameras.gathered(lambda at: show(found[at]), put, stream, dtype, told)


def _frames(source: _Source, spool: _Spool, deep: bool) -> Callable[[_Picture], np.ndarray]:
    stream = source.stream

    def show(picture: _Picture) -> np.ndarray:
        where = f"{source.where} at {picture.time_ns / 1e9:.6g} s"
        data = spool.read(picture.at, picture.length)
        if picture.raw is None:
            return cameras.picture_reader(stream)(BytesIO(data), where)
        encoding, width, height, step, big = picture.raw
        if (encoding in _DEPTHS) != deep:
            raise RecordingError(f"{where}: is encoded as {encoding}, unlike the first", hint="cut it there")
        if deep:
            depth = np.dtype(_DEPTHS[encoding]).newbyteorder(">" if big else "<")
            channels = int(encoding[-1]) if encoding.startswith("32FC") else 1
        else:
            depth, channels = np.dtype(np.uint8), 2 if encoding in _YUV else len(_COLOURS[encoding])
        row_bytes = width * channels * depth.itemsize
        if step < row_bytes or len(data) < step * (height - 1) + row_bytes:
            raise RecordingError(f"{where}: holds {len(data)} bytes, less than {height} rows of {row_bytes}")
        data = data.ljust(step * height, b"\0")
        rows = np.frombuffer(data, np.uint8, step * height).reshape(height, step)[:, :row_bytes]
        frame = np.ascontiguousarray(rows).view(depth).reshape(height, width, channels)
        if deep:
            if frame.shape != stream.sample_shape:
                raise RecordingError(
                    f"{where}: is of shape {frame.shape}, stream `{stream.name}` of {stream.sample_shape}",
                    hint="correct the recording.toml: pictures of such values are not scaled",
                )
            return frame.astype(np.float32)
        order = _COLOURS.get(encoding, "RGB")
        if encoding in _YUV:
            frame = _rgb(frame, *_YUV[encoding])
        elif order.startswith("BGR"):
            frame = frame[..., [2, 1, 0, 3][:channels]]
        if frame.shape == stream.sample_shape:
            return np.ascontiguousarray(frame)
        return cameras.picture_reader(stream).of_array(where, frame)

    return show


def _rgb(pixels: np.ndarray, y: int, u: int, v: int) -> np.ndarray:
    """Red, green and blue (height, width, 3) of YUV 4:2:2 (height, width, 2), by ITU-R BT.601, brightness 16 to 235."""
    height, width = pixels.shape[:2]
    pairs = pixels.reshape(height, width // 2, 4).astype(np.float32)
    brightness = 1.164 * (pairs[..., [y, y + 2]] - 16)
    blue, red = pairs[..., u, None] - 128, pairs[..., v, None] - 128
    found = np.stack(
        [brightness + 1.596 * red, brightness - 0.392 * blue - 0.813 * red, brightness + 2.017 * blue], axis=-1
    )
    rgb: np.ndarray = np.clip(np.rint(found), 0, 255).astype(np.uint8)
    return rgb.reshape(height, width, 3)


def picture_form(topic: Topic, message: Any) -> tuple[int, int, int]:
    """Width, height and channels of a topic's pictures. Raises whatever comes of a message that lacks something."""
    if topic.kind == "CompressedImage":
        return cameras.form_of(topic.name, BytesIO(content(field(message, "data"))))
    encoding = str(field(message, "encoding"))
    if encoding in _YUV:
        return int(field(message, "width")), int(field(message, "height")), 3
    if encoding not in _COLOURS and encoding not in _DEPTHS:
        raise ValueError(f"it holds pictures as `{encoding[:40]}`")
    channels = len(_COLOURS[encoding]) if encoding in _COLOURS else int(encoding[-1]) if encoding[-2] == "C" else 1
    return int(field(message, "width")), int(field(message, "height")), channels


def messages_of(path: Path, topic: str) -> Iterator[tuple[int, int, Any]]:
    """When each message of a topic was logged, in ns after the file's start, that, and the message.

    It is None where it cannot be decoded.

    Raises `RecordingError`, `MissingExtraError`.
    """
    file = open_messages(path)
    if topic not in file.topics:
        raise RecordingError(f"{path}: has no topic `{topic}`", hint=did_you_mean(topic, file.topics, "it has"))
    for logged in file.messages((topic,)):
        try:
            message = logged.decode()
        except MissingExtraError:
            raise
        except Exception:  # A message may hold anything.
            message = None
        yield logged.log_ns - file.start_ns, file.start_ns, message

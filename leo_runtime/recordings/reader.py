"""The protocol of readers of recorded files, and finding them: those that ship, and others by their entry points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol

import numpy as np

from leo_runtime.errors import RecordingError, did_you_mean, in_words
from leo_runtime.recordings.samples import Samples, StoredSamples
from leo_runtime.recordings.stream import Gap, RecordedStream, Timing

ENTRY_POINTS = "leo_runtime.recordings"
"""The group of entry points by which other packages bring readers, each under the name of its format."""

SAME_RATE = 1e-6
"""Of a rate: so far off it is the same, written with fewer digits."""
_SOUND_OF = {"mp4": "m4a", "3gp": "m4a", "mov": "m4a", "oga": "ogg"}
"""The format of the sound in files that end so; of other kinds they may hold video."""


@dataclass(frozen=True, slots=True, eq=False)
class StreamData:
    """What a file holds of one stream."""

    samples: Samples
    """(samples,) or (samples, channels): int16, or real numbers (of audio from -1 to 1), evenly spaced from time 0; of
    a camera (frames, height, width, channels): uint8 or real numbers. An array, or what reads spans of the file when
    it is asked."""
    rate_hz: float
    repairs: tuple[str, ...] = ()
    """What was wrong with the file and is mended in `samples`, a sentence each; replay prints them."""
    gaps: tuple[Gap, ...] = ()
    """Where nothing was recorded, and zeros stand in `samples`."""
    timing: Timing | None = None
    """How they came, by their own times. None: the file has none."""
    times_us: np.ndarray | None = None
    """Of events: when each of them was, (samples,) int64, rising; `rate_hz` is then 0. None: they are even."""
    epoch_us: int | None = None
    """When its time 0 was, in us since 1970: streams that tell are put on one time 0. None: at the recording's."""


class Reader(Protocol):
    """Reads the files of one format. Called by one thread at a time."""

    def __call__(self, path: Path, stream: RecordedStream, /) -> StreamData:
        """The samples of a stream, whose manifest says what is expected of them.

        Raises `RecordingError` where the file cannot be read: what is wrong, the value and the place.
        """
        ...


def find_reader(path: Path, stream: RecordedStream, shipped: Mapping[str, Reader]) -> Reader:
    """The reader of a stream's file: by the stream's `format`, else by the end of the file's name, else by its kind.

    `shipped` are the readers by format that no other package can replace. Raises `RecordingError` where there is none
    of the format that is asked for, or where it cannot be imported.
    """
    others = _entry_points()
    known = [*shipped, *(name for name in others if name not in shipped)]
    name = stream.format
    if name is None:
        suffix = path.suffix.removeprefix(".").lower()
        if stream.kind == "audio":
            suffix = _SOUND_OF.get(suffix, suffix)
        by_kind = {"audio": "wav", "camera": "pictures" if _is_folder(path) else "video"}
        name = suffix if suffix in known else by_kind.get(stream.kind, "csv")
    if name in shipped:
        return shipped[name]
    if name not in others:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared as `{name}`, which no installed package reads",
            hint=did_you_mean(name, known),
        )
    package = _package(others[name])
    with in_words(
        f"{path}: reader `{name}` of package `{package}` cannot be imported",
        RecordingError,
        hint=f"reinstall {package}",
    ):
        reader: Reader = others[name].load()
    return _guarded(reader, name, package)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # A name that no file can have.
        return False


def _guarded(reader: Reader, name: str, package: str) -> Reader:
    """A reader of another package, which raises nothing but `LeoError`s and gives nothing but samples."""

    def read(path: Path, stream: RecordedStream, /) -> StreamData:
        who = f"{path}: reader `{name}` of package `{package}`"
        hint = f"it is a mistake of package `{package}`: tell its authors, or convert the file"
        with in_words(f"{who} failed", RecordingError, hint=hint):
            found = reader(path, stream)
            wrong = _wrong(found, stream)
        if wrong:
            raise RecordingError(f"{who} gave {wrong}", hint=hint)
        if isinstance(found.samples, np.ndarray):
            return found

        def span(first: int, last: int) -> np.ndarray:
            with in_words(f"{who} failed", RecordingError, hint=hint):
                return found.samples[first:last]

        return replace(found, samples=StoredSamples(found.samples.shape, found.samples.dtype, span))

    return read


def expect(path: Path, stream: RecordedStream, rate_hz: float, channels: int) -> None:
    """Raise `RecordingError` where a file is of another rate or number of channels than the manifest says."""
    if abs(rate_hz - stream.rate_hz) > SAME_RATE * stream.rate_hz:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared at {stream.rate_hz} Hz, the file is at {rate_hz:.10g} Hz",
            hint="in the recording.toml, `resample = true` of the stream converts it; or correct its `rate_hz`"
            if stream.kind == "audio"
            else "resample the file, or correct the recording.toml",
        )
    if channels != stream.channels:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared with {stream.channels} channels, the file has {channels}",
            hint="in the recording.toml, `take = [0]` reads one, `mix = true` with `channels = 1` their mean"
            if stream.kind == "audio"
            else "correct its `channels` in the recording.toml",
        )


def as_frames(path: Path, stream: RecordedStream, found: StreamData) -> StreamData:
    """Frames of a camera as they are kept: (frames, height, width, channels) of uint8 or float32.

    Raises `RecordingError` where the file is not what the manifest says; for a value that is no number, when it is
    read.
    """
    if abs(found.rate_hz - stream.rate_hz) > 1e-6 * stream.rate_hz:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared at {stream.rate_hz} Hz, not at {found.rate_hz:.10g} Hz",
            hint="correct its `rate_hz` in the recording.toml",
        )
    frames, shape = found.samples, (len(found.samples), *stream.sample_shape)
    if frames.shape != shape:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared with frames of shape {stream.sample_shape} (height, width, "
            f"channels), the file has {tuple(frames.shape[1:])}",
            hint="correct its height_px, width_px and channels in the recording.toml",
        )
    if frames.dtype == np.uint8:
        return found

    def numbers(first: int, last: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            read = frames[first:last].astype(np.float32)
        bad = ~np.isfinite(read)
        if bad.any():
            at = tuple(int(place) for place in np.argwhere(bad)[0])
            raise RecordingError(
                f"{path}: frame {first + at[0]}, at row {at[1]}, column {at[2]}, is not finite, or too great"
            )
        return read

    return replace(found, samples=StoredSamples(shape, np.float32, numbers))


def without_path(error: Exception) -> str:
    """What an error says, whose message names the file already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _wrong(found: object, stream: RecordedStream) -> str:
    """What is wrong with what a reader gave; empty: nothing."""
    if not isinstance(found, StreamData):
        return f"{type(found).__name__}, not StreamData"
    samples = found.samples
    if not isinstance(samples, Samples):
        return f"samples as {type(samples).__name__}, not as an array"
    if stream.kind == "camera":
        return "" if samples.dtype == np.uint8 or samples.dtype.kind == "f" else f"frames of type {samples.dtype}"
    if samples.dtype != np.int16 and samples.dtype.kind != "f":
        return f"samples of type {samples.dtype}, not int16 or real numbers"
    if len(samples.shape) not in (1, 2) or 0 in samples.shape:
        return f"samples of shape {samples.shape}, not (samples,) or (samples, channels)"
    return ""


def _entry_points() -> dict[str, EntryPoint]:
    """By name; of two equal names, the first package in alphabetical order has it."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, _package(entry))):
        found.setdefault(entry.name, entry)
    return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else ""

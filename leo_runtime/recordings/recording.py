"""Recorded sensor data: the document `leo-recording/1` and the samples it names, and link samples beside them.

A recording is a folder: a manifest (`recording.toml`) and a file a stream, audio as WAV (16-bit PCM), anything else
as CSV whose first column is `time_us` and whose others are the channels. Samples are evenly spaced from time 0 on:
where a row is not within half a step of its place, the file is refused, since everything after it would shift.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import RecordingError
from leo_runtime.recordings.wav import read_wav
from leo_runtime.schema import Document, FileName, Name, Positive, Quantity, Value, reject, unique

SHOWN_LENGTH = 40
"""How much of a cell a message shows."""


class RecordedStream(Value):
    """One sensor's samples."""

    name: Name
    kind: Literal["audio", "motion", "other"] = "other"
    file: Name
    rate_hz: Positive
    channels: Positive = 1


class Label(Value):
    """What was really there: the ground truth of an interval of a stream."""

    stream: Name
    start_us: Quantity
    end_us: Quantity
    label: Name


class LinkSample(Value):
    """What a link could do from `time_us` on."""

    time_us: Quantity
    source: Name
    target: Name
    latency_us: Quantity
    bytes_per_s: Positive | None = None
    """None here: the link is down."""


class RecordingManifest(Document):
    """What was recorded, from where, and under which licence."""

    format: Literal["leo-recording/1"]
    name: FileName
    licence: Name
    source: Name
    streams: Annotated[tuple[RecordedStream, ...], Field(min_length=1)]
    labels: tuple[Label, ...] = ()
    links: tuple[LinkSample, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique([stream.name for stream in self.streams], "$.streams[{}].name")
        streams = {stream.name for stream in self.streams}
        for i, label in enumerate(self.labels):
            if label.stream not in streams:
                reject(f'no stream is called "{label.stream}"', f"$.labels[{i}].stream", label.stream)
            if label.end_us <= label.start_us:
                reject(f"the label ends at {label.end_us}, not after its start", f"$.labels[{i}].end_us", label.end_us)
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recording in memory: audio as int16 (samples,) or (samples, channels), anything else as float32."""

    manifest: RecordingManifest
    samples: dict[str, np.ndarray]

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a manifest, or the `recording.toml` of a folder, and its streams.

        Raises `DocumentError` for the manifest, `RecordingError` for a stream that is missing, truncated, has a gap,
        or is of another rate or number of channels than the manifest says.
        """
        if Path(path).is_file() and Path(path).suffix not in (".toml", ".json"):
            raise RecordingError(f"{path}: is no recording", hint="give the folder that holds recording.toml")
        manifest_path = Path(path) / "recording.toml" if Path(path).is_dir() else Path(path)
        manifest = RecordingManifest.from_file(manifest_path)
        samples = {}
        for stream in manifest.streams:
            samples[stream.name] = read_stream(manifest_path.parent / stream.file, stream)
        return cls(manifest, samples)

    @property
    def duration_us(self) -> int:
        """How long every stream lasts at least."""
        return self.lasts_us([stream.name for stream in self.manifest.streams])

    def lasts_us(self, streams: Iterable[str]) -> int:
        """How long each of these streams, at least one, lasts at least. Raises `RecordingError`."""
        found = [self.stream(name) for name in streams]
        return min(len(self.samples[stream.name]) * 1_000_000 // stream.rate_hz for stream in found)

    def __post_init__(self) -> None:
        """Raise `RecordingError` for a stream without samples, and a label that begins where its stream is over."""
        for stream in self.manifest.streams:
            if stream.name not in self.samples:
                raise RecordingError(
                    f"recording `{self.manifest.name}` has no samples of its stream `{stream.name}`",
                    hint=f"it has those of {', '.join(self.samples) or 'none'}",
                )
        for i, label in enumerate(self.manifest.labels):
            lasts_us = self.lasts_us([label.stream])
            if label.start_us >= lasts_us:
                raise RecordingError(
                    f"recording `{self.manifest.name}`: label {i} (`{label.label}`) begins at {label.start_us} us, "
                    f"and its stream `{label.stream}` lasts {lasts_us} us",
                    hint="times of labels are in microseconds from the start of the recording",
                )

    def stream(self, name: str) -> RecordedStream:
        """What the manifest says of the stream of that name. Raises `RecordingError`."""
        for stream in self.manifest.streams:
            if stream.name == name:
                return stream
        names = ", ".join(stream.name for stream in self.manifest.streams)
        raise RecordingError(
            f"recording `{self.manifest.name}` has no stream `{name}`",
            hint=f"it has {names}; give another recording, or a workload that reads those",
        )

    def window(self, stream: str, end_us: int, samples: int) -> np.ndarray:
        """The last `samples` samples before `end_us`; zeros stand for what lies before the recording.

        Raises `RecordingError` when there is no such stream.
        """
        rate_hz = self.stream(stream).rate_hz
        data = self.samples[stream]
        end = min(end_us * rate_hz // 1_000_000, len(data))
        found = data[max(0, end - samples) : end]
        missing = samples - len(found)
        return np.concatenate([np.zeros((missing, *data.shape[1:]), data.dtype), found]) if missing else found


def read_stream(path: Path, stream: RecordedStream) -> np.ndarray:
    """The samples of a stream from its file. Raises `RecordingError` where the file is not what the manifest says."""
    return _read_wav(path, stream) if stream.kind == "audio" else _read_csv(path, stream)


def _read_wav(path: Path, stream: RecordedStream) -> np.ndarray:
    found = read_wav(path)
    _expect(path, stream, found.rate_hz, found.channels)
    return found.samples


def _read_csv(path: Path, stream: RecordedStream) -> np.ndarray:
    try:
        # Spreadsheets put a mark of the byte order before UTF-8.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise RecordingError(
            f"{path}: cannot be read as CSV (it is not UTF-8: byte 0x{byte:02x} at {error.start})",
            hint="save it as UTF-8",
        ) from None
    except (OSError, ValueError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read as CSV ({_without_path(error)})") from None
    _expect_text(path, rows)
    while rows and not any(cell.strip() for cell in rows[-1]) and len(rows[-1]) <= 1:
        rows.pop()
    _expect_names(path, rows)
    if len(rows) == 1:
        raise RecordingError(f"{path}: holds no samples")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise RecordingError(f"{path}:{line}: expected {len(rows[0])} columns, got {len(row)}", hint="truncated?")
    table = _numbers(path, rows)
    steps_us = np.diff(table[:, 0])
    if len(steps_us) and steps_us.min() <= 0:
        first = int(np.argmax(steps_us <= 0))
        raise RecordingError(
            f"{path}:{first + 3}: time does not go on ({table[first + 1, 0]:.0f} us after {table[first, 0]:.0f} us)",
            hint="every row is later than the one before it, and stands there once",
        )
    rate_hz = round(1e6 / max(1e-6, float(np.median(steps_us)))) if len(steps_us) else stream.rate_hz
    _expect(path, stream, rate_hz, table.shape[1] - 1)
    _expect_even(path, stream, table[:, 0])
    data = table[:, 1:].astype(np.float32)
    return data if stream.channels > 1 else data[:, 0]


def _expect_text(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Nothing that a disk that was full, or power that went, left in place of what was written."""
    for line, row in enumerate(rows, 1):
        if any("\0" in cell for cell in row):
            raise RecordingError(
                f"{path}:{line}: holds bytes of 0, which are no text",
                hint="what was recorded there is lost; copy it again, or leave out what comes from that line on",
            )


def _expect_names(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """The first line names the time, and every channel."""
    if not rows or rows[0][:1] != ["time_us"]:
        has = f", it begins with `{_shortened(rows[0][0])}`" if rows and rows[0] else ""
        raise RecordingError(
            f"{path}: its first line must name the columns, `time_us` first{has}",
            hint="times are in microseconds from 0 on, and commas are between the columns",
        )
    for number, name in enumerate(rows[0], 1):
        if not name.strip():
            raise RecordingError(
                f"{path}:1: column {number} has no name",
                hint="a comma at the end of a line begins one more column; leave it out of every line",
            )


def _numbers(path: Path, rows: Sequence[Sequence[str]]) -> np.ndarray:
    """The cells below the header, as float64 that float32 has room for."""
    try:
        if not all(map(_is_plain, map("".join, rows[1:]))):
            raise ValueError
        table = np.array(rows[1:], dtype=np.float64)
    except ValueError:  # Cell by cell, for the place.
        table = np.array(
            [
                [_number(path, line, name, cell) for name, cell in zip(rows[0], row, strict=True)]
                for line, row in enumerate(rows[1:], 2)
            ]
        )
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(table.astype(np.float32))
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        cell = _shortened(rows[row + 1][column])
        raise RecordingError(f"{path}:{row + 2}: a value is not finite, or too great: {cell}")
    return table


def _is_plain(text: str) -> bool:
    """Nothing in it but what Python and everybody else read alike: it also takes 1_000, and digits of any script."""
    return "_" not in text and text.isascii()


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        if not _is_plain(cell.strip()):
            raise ValueError
        return float(cell)
    except ValueError:
        what = f"`{_shortened(cell)}` is no number" if cell.strip() else "a cell is empty"
        raise RecordingError(
            f"{path}:{line}: {what} (column `{column}`)", hint="every sample needs a number for every channel"
        ) from None


def _shortened(cell: str) -> str:
    """A cell as a message shows it: of a damaged file it may be of any length."""
    return cell if len(cell) <= SHOWN_LENGTH else f"{cell[:SHOWN_LENGTH]}..."


def _without_path(error: Exception) -> str:
    """What an error says, whose message names the file already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _expect(path: Path, stream: RecordedStream, rate_hz: int, channels: int) -> None:
    if rate_hz != stream.rate_hz:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared at {stream.rate_hz} Hz, the file is at {rate_hz} Hz",
            hint="resample the file, or correct the manifest",
        )
    if channels != stream.channels:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared with {stream.channels} channels, the file has {channels}"
        )


def _expect_even(path: Path, stream: RecordedStream, times_us: np.ndarray) -> None:
    """Every sample within half a step of where counting from 0 puts it."""
    step_us = 1e6 / stream.rate_hz
    places_us = np.arange(len(times_us)) * step_us
    off = np.abs(times_us - places_us) > step_us / 2
    if off.any():
        first = int(np.argmax(off))
        raise RecordingError(
            f"{path}:{first + 2}: this sample is at {times_us[first]:.0f} us, expected near {places_us[first]:.0f} us "
            f"(sample {first} at {stream.rate_hz} Hz)",
            hint=f"resample to an even {stream.rate_hz} Hz that begins at time_us 0, so that no gap is left",
        )


def check_streams(workload: Workload, recording: Recording) -> None:
    """Raise `RecordingError` where a recording lacks a stream of the workload, or has it at another rate."""
    for stream in workload.streams:
        found = recording.stream(stream.name)
        for what in ("rate_hz", "channels", "kind"):
            wanted, given = getattr(stream, what), getattr(found, what)
            if wanted != given:
                raise RecordingError(
                    f"recording `{recording.manifest.name}` has stream `{stream.name}` with {what} {given}, "
                    f"workload `{workload.name}` reads {wanted}",
                    hint="resample the recording, or change the workload",
                )


def check_links(hardware: Hardware, recording: Recording) -> None:
    """Raise `RecordingError` where a recording tells of a link that the hardware has not."""
    known = {(link.source, link.target) for link in hardware.links}
    for sample in recording.manifest.links:
        if (sample.source, sample.target) not in known:
            raise RecordingError(
                f"recording `{recording.manifest.name}` tells of a link {sample.source} -> {sample.target}, which "
                f"hardware `{hardware.name}` has not",
                hint="replay it on hardware that has the link, or leave the link out of the recording",
            )

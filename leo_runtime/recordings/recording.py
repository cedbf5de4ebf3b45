"""Recorded sensor data: the document `leo-recording/1` and the samples it names, and link samples beside them.

A recording is a folder: a manifest (`recording.toml`) and a file a stream, such as WAV or CSV, each read by the reader
of its format. Samples are evenly spaced from time 0 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import RecordingError
from leo_runtime.recordings.av_sound import read_av_sound
from leo_runtime.recordings.cameras import read_folder, read_video
from leo_runtime.recordings.csv_text import read_csv
from leo_runtime.recordings.from_messages import read_messages
from leo_runtime.recordings.links import LinkFile, read_links
from leo_runtime.recordings.links import LinkSample as LinkSample
from leo_runtime.recordings.npy import read_npy
from leo_runtime.recordings.reader import SAME_RATE, Reader, StreamData, as_frames, expect, find_reader
from leo_runtime.recordings.samples import Samples, blocks, converted, kept
from leo_runtime.recordings.sndfile import read_sndfile
from leo_runtime.recordings.sound import as_int16, chosen_channels, resampled
from leo_runtime.recordings.stream import Gap, RecordedStream
from leo_runtime.recordings.wav import read_wav
from leo_runtime.recordings.wisdm import read_wisdm
from leo_runtime.schema import Document, FileName, Name, Quantity, Value, reject, unique
from leo_runtime.values import lasting_us, samples_within

SHIPPED: Mapping[str, Reader] = {
    "wav": read_wav,
    "csv": read_csv,
    "wisdm": read_wisdm,
    "flac": read_sndfile,
    "ogg": read_sndfile,
    "opus": read_sndfile,
    "mp3": read_av_sound,
    "m4a": read_av_sound,
    "aac": read_av_sound,
    "npy": read_npy,
    "pictures": read_folder,
    "video": read_video,
    "mcap": read_messages,
    "bag": read_messages,
    "db3": read_messages,
    "rosbag": read_messages,
}
"""The readers that ship, by format."""


class Label(Value):
    """What was really there: the ground truth of an interval of a stream."""

    stream: Name
    start_us: Quantity
    end_us: Quantity
    label: Name


class RecordingManifest(Document):
    """What was recorded, from where, and under which licence."""

    format: Literal["leo-recording/1"]
    name: FileName
    licence: Name
    source: Name
    streams: Annotated[tuple[RecordedStream, ...], Field(min_length=1)]
    labels: tuple[Label, ...] = ()
    links: tuple[LinkSample, ...] = ()
    link_files: tuple[LinkFile, ...] = ()
    """Network traces; when the recording is read, `links` has what they hold, and this is empty."""

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
    """A manifest and the samples of its streams."""

    manifest: RecordingManifest
    samples: Mapping[str, Samples]
    """By stream: audio as int16 (samples,) or (samples, channels), anything else as float32; of a camera (frames,
    height, width, channels), uint8 or float32. An array, but of a long stream what reads spans of its file: slices and
    `numpy.asarray` of it are arrays."""
    repairs: tuple[str, ...] = ()
    """What was wrong with the files and is mended in `samples`, a sentence each, with the file."""
    gaps: Mapping[str, tuple[Gap, ...]] = field(default_factory=dict)
    """By stream, where nothing was recorded and zeros stand in `samples`; streams without gaps are left out."""

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
        samples, repairs, gaps = {}, [], {}
        for stream in manifest.streams:
            found = read_stream(manifest_path.parent / stream.file, stream)
            samples[stream.name] = found.samples
            repairs += [f"{stream.file}: {repair}" for repair in found.repairs]
            if found.gaps:
                gaps[stream.name] = found.gaps
        if manifest.link_files:
            lasts_us = max(lasting_us(stream.rate_hz, len(samples[stream.name])) for stream in manifest.streams)
            links = list(manifest.links)
            for link in manifest.link_files:
                trace = read_links(manifest_path.parent / link.file, link, lasts_us)
                links += trace.samples
                repairs += [f"{link.file}: {repair}" for repair in trace.repairs]
            manifest = manifest.model_copy(update={"links": tuple(links), "link_files": ()})
        return cls(manifest, samples, tuple(repairs), gaps)

    @property
    def duration_us(self) -> int:
        """How long every stream lasts at least."""
        return self.lasts_us([stream.name for stream in self.manifest.streams])

    def lasts_us(self, streams: Iterable[str]) -> int:
        """How long each of these streams, at least one, lasts at least. Raises `RecordingError`."""
        found = [self.stream(name) for name in streams]
        return min(lasting_us(stream.rate_hz, len(self.samples[stream.name])) for stream in found)

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
        before = samples_within(self.stream(stream).rate_hz, end_us)
        data = self.samples[stream]
        end = min(before, len(data))
        found = data[max(0, end - samples) : end]
        missing = samples - len(found)
        return np.concatenate([np.zeros((missing, *data.shape[1:]), data.dtype), found]) if missing else found


def read_stream(path: Path, stream: RecordedStream) -> StreamData:
    """The samples of a stream from its file: audio as int16, anything else as float32.

    Raises `RecordingError` where the file is not what the manifest says.
    """
    found = find_reader(path, stream, SHIPPED)(path, stream)
    if stream.kind == "camera":
        return as_frames(path, stream, found)
    samples = chosen_channels(path, stream, found.samples)
    rate_hz = stream.rate_hz if stream.resample else found.rate_hz
    expect(path, stream, rate_hz, samples.shape[1] if len(samples.shape) > 1 else 1)
    cut = _count_outside(path, samples) if samples.dtype != np.int16 else 0
    is_audio = stream.kind == "audio"
    repairs: tuple[str, ...] = (f"values outside -1 to 1 are cut off there: {cut}",) if is_audio and cut else ()
    shape = (len(samples), stream.channels) if stream.channels > 1 else (len(samples),)

    def convert(span: np.ndarray) -> np.ndarray:
        span = span.reshape(len(span), *shape[1:])
        return as_int16(span) if is_audio else span.astype(np.float32, copy=False)

    as_wanted = converted(samples, shape, np.int16 if is_audio else np.float32, convert)
    if abs(rate_hz - found.rate_hz) > SAME_RATE * rate_hz:
        as_wanted, over = resampled(path, as_wanted, found.rate_hz, rate_hz)
        repairs += (f"its {found.rate_hz:.10g} Hz are made {rate_hz:.10g} Hz by soxr",)
        repairs += (f"samples that this took beyond the greatest value are cut off there: {over}",) if over else ()
    return replace(found, samples=kept(as_wanted), rate_hz=rate_hz, repairs=found.repairs + repairs)


def _count_outside(path: Path, samples: Samples) -> int:
    """How many values are outside -1 to 1. Raises `RecordingError` for one that is no finite float32."""
    first, outside = 0, 0
    for block in blocks(samples):
        values = block.reshape(len(block), -1)
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(values.astype(np.float32, copy=False))
        if bad.any():
            at, channel = (int(place) for place in np.argwhere(bad)[0])
            value = values[at, channel]
            raise RecordingError(
                f"{path}: sample {first + at}, channel {channel}, is not finite, or too great: {value:g}"
            )
        outside += int(np.count_nonzero((values < -1) | (values > 1)))
        first += len(block)
    return outside


def check_streams(workload: Workload, recording: Recording) -> None:
    """Raise `RecordingError` where a recording lacks a stream of the workload, or has it at another rate."""
    for stream in workload.streams:
        found = recording.stream(stream.name)
        for what in ("rate_hz", "channels", "kind", "height_px", "width_px"):
            wanted, given = getattr(stream, what), getattr(found, what)
            if wanted != given:
                raise RecordingError(
                    f"recording `{recording.manifest.name}` has stream `{stream.name}` with {what} {given}, "
                    f"workload `{workload.name}` reads {wanted}",
                    hint=_way_out(stream, found, what),
                )


def _way_out(wanted: Stream, found: RecordedStream, what: str) -> str:
    if found.kind == "audio" and what == "rate_hz":
        return (
            f"in the manifest's stream, `rate_hz = {wanted.rate_hz}` and `resample = true` convert it; or change the "
            "workload"
        )
    if found.kind == "audio" and what == "channels":
        return "the manifest's stream may `take` some of the file's channels, or `mix` them; or change the workload"
    return "resample the recording, or change the workload"


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

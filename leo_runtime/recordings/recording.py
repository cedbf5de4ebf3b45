"""Recorded sensor data: the document `leo-recording/1` and the samples it names, and link samples beside them.

A recording is a folder: a manifest (`recording.toml`) and a file a stream, such as WAV or CSV, each read by the reader
of its format. Samples are evenly spaced from time 0 on, but those of events, each of which has its time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import DocumentError, RecordingError, did_you_mean
from leo_runtime.event_windows import newest
from leo_runtime.recordings.align import on_one_clock
from leo_runtime.recordings.av_sound import read_av_sound
from leo_runtime.recordings.cameras import read_folder, read_video
from leo_runtime.recordings.clocks import TimeUnit
from leo_runtime.recordings.csv_text import read_csv
from leo_runtime.recordings.from_messages import read_messages
from leo_runtime.recordings.labels import read_labels
from leo_runtime.recordings.links import LinkFile, changed_links, read_links
from leo_runtime.recordings.links import LinkSample as LinkSample
from leo_runtime.recordings.loggers import READERS
from leo_runtime.recordings.message_labels import read_message_labels
from leo_runtime.recordings.npy import read_npy
from leo_runtime.recordings.panned import read_panned
from leo_runtime.recordings.reader import SAME_RATE, Reader, StreamData, as_frames, expect, find_reader
from leo_runtime.recordings.samples import Samples, blocks, converted, kept
from leo_runtime.recordings.sndfile import read_sndfile
from leo_runtime.recordings.sound import as_int16, chosen_channels, resampled
from leo_runtime.recordings.stream import Gap, RecordedStream, Timing
from leo_runtime.recordings.wav import read_wav
from leo_runtime.recordings.wisdm import read_wisdm
from leo_runtime.schema import Document, FileName, Name, Quantity, Value, reject, unique
from leo_runtime.values import lasting_us, samples_within

NOTHING_SECONDS = 60
"""How long a run lasts that needs no recording, where nothing else is said."""

SHIPPED: Mapping[str, Reader] = {
    "wav": read_wav,
    "csv": read_csv,
    **READERS,
    "wisdm": read_wisdm,
    "flac": read_sndfile,
    "ogg": read_sndfile,
    "opus": read_sndfile,
    "mp3": read_av_sound,
    "m4a": read_av_sound,
    "aac": read_av_sound,
    "npy": read_npy,
    "npz": read_panned,
    "pictures": read_folder,
    "video": read_video,
    "mcap": read_messages,
    "bag": read_messages,
    "db3": read_messages,
    "rosbag": read_messages,
}
"""The readers that ship, by format. That of WISDM takes files whatever they begin with."""

_FOLDER = "give the folder that holds recording.toml; exports, bags and sound are read by `shipped.recording(path)`"


class Label(Value):
    """What was really there: the ground truth of an interval."""

    stream: Name | None = None
    """The stream that it is heard or felt in. None: all of them."""
    start_us: Quantity
    end_us: Quantity
    label: Name


class LabelFile(Value):
    """A file that tells what was really there."""

    file: Name
    format: Name | None = None
    """`csv`, `audacity`, or a logger's. None: by the end of its name, `.txt` for Audacity, else CSV."""
    stream: Name | None = None
    """Of its labels, as of a label."""
    time_unit: TimeUnit | None = None
    """Of CSV. None: as a column's name says, else seconds; times since 1970 tell by their size."""
    topic: Name | None = None
    """Of an MCAP or a ROS bag: the topic whose messages they are."""
    text: Name | None = None
    """Of messages: the field of the label. None: the first of `label`, `text`, `name` and the like."""


class RecordingManifest(Document):
    """What was recorded, from where, and under which licence."""

    format: Literal["leo-recording/1"]
    name: FileName
    licence: Name = "not said"
    source: Name = "not said"
    streams: Annotated[tuple[RecordedStream, ...], Field(min_length=1)]
    labels: tuple[Label, ...] = ()
    label_files: tuple[LabelFile, ...] = ()
    """More labels; a recording that was read has them among its `labels`."""
    links: tuple[LinkSample, ...] = ()
    link_files: tuple[LinkFile, ...] = ()
    """Network traces; when the recording is read, `links` has what they hold, and this is empty."""
    start_epoch_us: Annotated[int, Field(ge=0, le=10**18)] | None = None
    """When time 0 was, in us since 1970. None: as the streams' own clocks say."""
    time_zone: Name | None = None
    """Where it was recorded, such as `Europe/Berlin` or `UTC+01:00`. It is told, and changes nothing."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique([stream.name for stream in self.streams], "$.streams[{}].name")
        streams = {stream.name for stream in self.streams}
        for i, file in enumerate(self.label_files):
            if file.stream is not None and file.stream not in streams:
                reject(f'no stream is called "{file.stream}"', f"$.label_files[{i}].stream", file.stream)
        for i, label in enumerate(self.labels):
            if label.stream is not None and label.stream not in streams:
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
    times_us: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By stream of events, when each of them was, (events,) int64, rising."""
    timings: Mapping[str, Timing] = field(default_factory=dict)
    """By stream, how its samples came by their own times; streams whose files have none are left out."""

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a manifest, or the `recording.toml` of a folder, and its streams.

        Raises `DocumentError` for the manifest, `RecordingError` for a stream that is missing, truncated, has a gap,
        or is of another rate or number of channels than the manifest says.
        """
        if Path(path).is_file() and Path(path).suffix not in (".toml", ".json"):
            raise RecordingError(f"{path}: is no recording", hint=_FOLDER)
        manifest_path = Path(path) / "recording.toml" if Path(path).is_dir() else Path(path)
        if Path(path).is_dir() and not manifest_path.exists():
            raise DocumentError(str(manifest_path), "cannot be read (No such file or directory)", hint=_FOLDER)
        return cls.of_manifest(RecordingManifest.from_file(manifest_path), manifest_path.parent)

    @classmethod
    def of_manifest(cls, manifest: RecordingManifest, folder: Path) -> Self:
        """Read the files that a manifest names, from a folder. Raises `RecordingError`, `MissingExtraError`."""
        read = {stream.name: read_stream(folder / stream.file, stream) for stream in manifest.streams}
        files = {stream.name: stream.file for stream in manifest.streams}
        repairs = [f"{files[name]}: {repair}" for name, data in read.items() for repair in data.repairs]
        found, epoch_us, told = on_one_clock(read)
        links, told_of_links = _links_of(manifest, folder, found)
        manifest, told_of_labels = _with_labels(manifest, folder, epoch_us)
        return cls(
            manifest.model_copy(update={"links": links, "link_files": ()}),
            {name: data.samples for name, data in found.items()},
            (*dict.fromkeys(repairs), *told, *told_of_links, *told_of_labels),
            {name: data.gaps for name, data in found.items() if data.gaps},
            {name: data.times_us for name, data in found.items() if data.times_us is not None},
            {name: data.timing for name, data in found.items() if data.timing is not None},
        )

    def with_changes(self, hardware: Hardware, changes: Sequence[str]) -> Self:
        """The same recording with what it says of links changed as `changed` has made `hardware` of another one.

        What a recording says goes before what the hardware says: without this, half the bandwidth would be none of it.
        Made-up traces last as long as any stream. Raises `InputError`.
        """
        lasts_us = max(self.lasts_us([stream.name]) for stream in self.manifest.streams)
        links = changed_links(self.manifest.links, hardware, changes, lasts_us)
        if links == self.manifest.links:
            return self
        return replace(self, manifest=self.manifest.model_copy(update={"links": links}))

    @classmethod
    def of_nothing(cls, name: str, lasts_us: int, streams: Sequence[Stream] = ()) -> Self:
        """A recording of zeros, for at least so long: of these streams, which take no memory, and one of its own.

        For workloads that read none, or whose stages are not computed. Of events there is one, at the end. What no
        file's name can have of the name is left out of it.
        """
        named = "".join("-" if c in "/\\" or not c.isprintable() else c for c in name).lstrip(".")[:100] or "run"
        recorded = [RecordedStream.of(stream, "nothing") for stream in streams]
        if "nothing" not in {stream.name for stream in streams}:
            recorded.append(RecordedStream(name="nothing", file="nothing", rate_hz=1))
        manifest = RecordingManifest(
            format="leo-recording/1", name=named, source="no recording", streams=tuple(recorded)
        )
        samples = {
            one.name: _zeros(one, max(1, math.ceil(lasts_us * one.rate_hz / 1_000_000)) if one.rate_hz else 1)
            for one in recorded
        }
        ends_us = np.array([max(0, lasts_us - 1)], np.int64)
        return cls(manifest, samples, times_us={one.name: ends_us for one in recorded if one.kind == "events"})

    @property
    def duration_us(self) -> int:
        """How long every stream lasts at least."""
        return self.lasts_us([stream.name for stream in self.manifest.streams])

    def lasts_us(self, streams: Iterable[str]) -> int:
        """How long each of these streams, at least one, lasts at least; of events alone, up to the last of them.

        Events that all came before time 0, such as a battery's, last 0 us. Raises `RecordingError`.
        """
        found = [self.stream(name) for name in streams]
        even = [stream for stream in found if stream.kind != "events"]
        if not even:
            return max(0, *(int(self.times_us[stream.name][-1]) + 1 for stream in found))
        return min(lasting_us(stream.rate_hz, len(self.samples[stream.name])) for stream in even)

    def labelled_us(self, label: Label) -> int:
        """How long what a label is of lasts: its stream, or the longest of all."""
        names = [stream.name for stream in self.manifest.streams] if label.stream is None else [label.stream]
        return max(self.lasts_us([name]) for name in names)

    def __post_init__(self) -> None:
        """Raise `RecordingError` for a stream without samples, and a label that begins where its stream is over."""
        for stream in self.manifest.streams:
            if stream.name not in self.samples:
                raise RecordingError(
                    f"recording `{self.manifest.name}` has no samples of its stream `{stream.name}`",
                    hint=f"it has those of {', '.join(self.samples) or 'none'}",
                )
            if stream.kind == "events" and stream.name not in self.times_us:
                raise RecordingError(
                    f"recording `{self.manifest.name}` has no times of its events `{stream.name}`",
                    hint="give them as its `times_us`",
                )
        for i, label in enumerate(self.manifest.labels):
            lasts_us = self.labelled_us(label)
            if label.start_us >= lasts_us:
                whose = "no stream" if label.stream is None else f"its stream `{label.stream}`"
                longer = " longer than" if label.stream is None else ""
                raise RecordingError(
                    f"recording `{self.manifest.name}`: label {i} (`{label.label}`) begins at {label.start_us} us, "
                    f"and {whose} lasts{longer} {lasts_us} us",
                    hint="times of labels are in microseconds from the start of the recording",
                )

    def stream(self, name: str) -> RecordedStream:
        """What the manifest says of the stream of that name. Raises `RecordingError`."""
        for stream in self.manifest.streams:
            if stream.name == name:
                return stream
        names = did_you_mean(name, [stream.name for stream in self.manifest.streams], "it has")
        raise RecordingError(
            f"recording `{self.manifest.name}` has no stream `{name}`",
            hint=f"{names}; give another recording, or a workload that reads those",
        )

    def window(self, stream: str, end_us: int, samples: int) -> np.ndarray:
        """The last `samples` samples before `end_us`; zeros stand for what lies before the recording.

        Of events, the last so many of them with their ages: (samples, channels + 1), see `event_windows.newest`. Raises
        `RecordingError` when there is no such stream, and for what is no whole number, or less than no sample.
        """
        _require_window(end_us, samples)
        if self.stream(stream).kind == "events":
            return newest(self.samples[stream][:], self.times_us[stream], end_us, samples)
        before = samples_within(self.stream(stream).rate_hz, end_us)
        data = self.samples[stream]
        end = min(before, len(data))
        found = data[max(0, end - samples) : end]
        missing = samples - len(found)
        return np.concatenate([np.zeros((missing, *data.shape[1:]), data.dtype), found]) if missing else found

    def window_gap_us(self, stream: str, end_us: int, samples: int) -> int:
        """How much of a window was not recorded: so long as those of its samples last that are within a gap.

        Of a stream that comes at a rate. Raises `RecordingError`.
        """
        rate_hz = self.stream(stream).rate_hz
        last = samples_within(rate_hz, end_us)
        missing = 0
        for gap in self.gaps.get(stream, ()):
            # The first sample at or after either end, which was rounded to a microsecond.
            begin, end = (-samples_within(rate_hz, 1 - at_us) for at_us in (gap.start_us, gap.end_us))
            missing += max(0, min(last, end) - max(0, last - samples, begin))
        return lasting_us(rate_hz, min(missing, samples))

    def unbroken(self, stream: str, end_us: int, samples: int) -> int:
        """How many samples at the end of a window were recorded, none missing between; those before the recording are
        taken to be.

        Of a stream that comes at a rate. Raises `RecordingError`.
        """
        rate_hz = self.stream(stream).rate_hz
        last = samples_within(rate_hz, end_us)
        found = samples
        for gap in self.gaps.get(stream, ()):
            begin, end = (-samples_within(rate_hz, 1 - at_us) for at_us in (gap.start_us, gap.end_us))
            if begin < min(last, end):
                found = min(found, max(0, last - end))
        return found

    def gap_us(self, stream: str, start_us: int, end_us: int) -> int:
        """For how long of a stretch nothing of a stream was recorded. Raises `RecordingError`."""
        gaps = self.gaps.get(self.stream(stream).name, ())
        return sum(max(0, min(end_us, gap.end_us) - max(start_us, gap.start_us)) for gap in gaps)


def _require_window(end_us: int, samples: int) -> None:
    named: dict[str, object] = {"end_us": end_us, "samples": samples}
    for what, given in named.items():
        if not isinstance(given, int | np.integer):
            raise RecordingError(
                f"a window's {what} is a whole number, got {given!r}", hint="times are in microseconds, not in seconds"
            )
    if samples < 0:
        raise RecordingError(f"a window has at least 0 samples, got {samples}")


def _links_of(
    manifest: RecordingManifest, folder: Path, found: Mapping[str, StreamData]
) -> tuple[tuple[LinkSample, ...], list[str]]:
    """The links of a manifest with what its network traces hold, for as long as any stream lasts, and what was done."""
    lasts_us = max((lasting_us(data.rate_hz, len(data.samples)) for data in found.values() if data.rate_hz), default=0)
    links, told = list(manifest.links), []
    for link in manifest.link_files:
        trace = read_links(folder / link.file, link, lasts_us)
        links += trace.samples
        told += [f"{link.file}: {repair}" for repair in trace.repairs]
    return tuple(links), told


def _with_labels(
    manifest: RecordingManifest, folder: Path, epoch_us: int | None
) -> tuple[RecordingManifest, list[str]]:
    """The manifest with what its label files say, and when the recording began; and what is left out of them."""
    start_us = manifest.start_epoch_us if manifest.start_epoch_us is not None else epoch_us
    labels: list[Label] = []
    told: list[str] = []
    for file in manifest.label_files:
        rates_hz = [one.rate_hz for one in manifest.streams if file.file == one.file or file.stream == one.name]
        if file.topic is not None:
            marks, left_out = read_message_labels(folder / file.file, file.topic, file.text)
            told += [f"{file.file}: {each}" for each in left_out]
        else:
            marks = read_labels(
                folder / file.file,
                file.format,
                unit=file.time_unit,
                start_epoch_us=start_us,
                rate_hz=next(iter(rates_hz), None),
            )
        within = [mark for mark in marks if mark.end_us > 0]
        if before := len(marks) - len(within):
            told.append(f"{file.file}: labels that end before the recording begins are left out: {before}")
        labels += [
            Label(stream=file.stream, start_us=max(0, mark.start_us), end_us=mark.end_us, label=mark.label)
            for mark in within
        ]
    changed = {"labels": (*manifest.labels, *labels), "label_files": (), "start_epoch_us": start_us}
    return manifest.model_copy(update=changed), told


def read_stream(path: Path, stream: RecordedStream) -> StreamData:
    """The samples of a stream from its file: audio as int16, anything else as float32.

    Raises `RecordingError` where the file is not what the manifest says.
    """
    found = find_reader(path, stream, SHIPPED)(path, stream)
    if stream.gaps:
        stated = tuple(Gap(gap.start_us, gap.end_us) for gap in stream.gaps)
        found = replace(found, gaps=tuple(sorted({*found.gaps, *stated}, key=lambda gap: gap.start_us)))
    if stream.kind == "camera":
        return as_frames(path, stream, found)
    if stream.kind == "events" and found.times_us is None:
        raise RecordingError(
            f"{path}: stream `{stream.name}` is declared as events, and the file has no times of them",
            hint="declare it as `motion` or `other`, with its `rate_hz`",
        )
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


def _zeros(stream: RecordedStream, samples: int) -> np.ndarray:
    """So many samples of a stream, or events, all of them one and the same zero."""
    zero = np.zeros(stream.sample_shape, np.int16 if stream.kind == "audio" else np.float32)
    return np.broadcast_to(zero, (samples, *stream.sample_shape))


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
            f"in a recording.toml, `rate_hz = {wanted.rate_hz}` and `resample = true` of the stream convert it; or "
            "change the workload"
        )
    if found.kind == "audio" and what == "channels":
        return "in a recording.toml, `mix = true` or `take = [...]` of the stream makes it so; or change the workload"
    given = getattr(found, what)
    shown = f'"{given}"' if isinstance(given, str) else given
    return f"`{what} = {shown}` of the workload's stream reads it as it is"


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

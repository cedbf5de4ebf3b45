"""Writes a recording as an MCAP that others read too: sound as Foxglove's RawAudio, frames as its RawImage, in JSON.

Samples of anything else are a message each, `{"values": [...]}`, whose floats are written so that they are read back to
the bit. The manifest is in the metadata `leo-recording`, so that what is read back is the same recording; labels are
on the topic `/labels` besides, for others.
"""

from __future__ import annotations

import base64
import heapq
import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.errors import InputError, MissingExtraError
from leo_runtime.progress import Progress
from leo_runtime.recordings.mcap_file import METADATA
from leo_runtime.recordings.messages import EXTRA
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.samples import BLOCK_BYTES, Samples, sample_bytes
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.recordings.writer import bare_stream, require_new, with_gaps

_CHUNK_BYTES = 1 << 18
"""What is packed together, and lost together where a byte of it is damaged."""
_BLOCKS_PER_S = 10
"""Of sound."""
_ENCODINGS = {("uint8", 1): "mono8", ("uint8", 3): "rgb8", ("uint8", 4): "rgba8"}
_TIME = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
_BYTES = {"type": "string", "contentEncoding": "base64"}
_WHOLE = {"type": "integer"}
_TEXT = {"type": "string"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "foxglove.RawAudio": {
        "timestamp": _TIME,
        "data": _BYTES,
        "format": _TEXT,
        "sample_rate": _WHOLE,
        "number_of_channels": _WHOLE,
    },
    "foxglove.RawImage": {
        "timestamp": _TIME,
        "frame_id": _TEXT,
        "width": _WHOLE,
        "height": _WHOLE,
        "encoding": _TEXT,
        "step": _WHOLE,
        "data": _BYTES,
    },
    "leo.Samples": {"values": {"type": "array", "items": {"type": "number"}}},
    "leo.Label": {"stream": _TEXT, "start_us": _WHOLE, "end_us": _WHOLE, "label": _TEXT},
}
"""Properties of the messages that are written, by type."""


def write_mcap(recording: Recording, path: Path, progress: Progress = lambda *_: None) -> None:
    """Write a recording into a new MCAP file, in the order of time. Raises `InputError`, `RecordingError`.

    Raises `MissingExtraError` without the package mcap.
    """
    try:
        from mcap.writer import Writer
    except ImportError:
        raise MissingExtraError("writing MCAP", EXTRA) from None
    require_new(path)
    manifest = _of_file(with_gaps(recording), path.name)
    part = path.with_name(f"{path.name}.part")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        with part.open("xb") as file:
            try:
                writer = Writer(file, chunk_size=_CHUNK_BYTES)
                writer.start("", "leo-runtime")
                _write(writer, recording, manifest, progress)
                writer.finish()  # type: ignore[no-untyped-call]  # mcap's
                file.flush()
                os.fsync(file.fileno())
                require_new(path)
                part.rename(path)
            except BaseException:  # An interrupt is one of them.
                part.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise InputError(
            f"{part}: is there already",
            hint="another program writes it, or one was killed while it did: remove it then",
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error})", hint="name a file where there is room"
        ) from None


def _of_file(manifest: RecordingManifest, file: str) -> RecordingManifest:
    """The manifest whose streams are topics of that file."""
    streams = tuple(
        bare_stream(
            stream,
            file,
            format="mcap",
            topic=f"/{stream.name}",
            fields=() if stream.kind in ("audio", "camera") else ("values",),
        )
        for stream in manifest.streams
    )
    return manifest.model_copy(update={"streams": streams})


def _write(writer: Any, recording: Recording, manifest: RecordingManifest, progress: Progress) -> None:
    first_us = min((int(times[0]) for times in recording.times_us.values() if len(times)), default=0)
    # Of MCAP no time is below 0; events may be from before the recording's start.
    start_ns = max((manifest.start_epoch_us or 0), -first_us) * 1000
    writer.add_metadata(METADATA, {"manifest": manifest.to_json(), "start_ns": str(start_ns)})
    schemas = {
        name: writer.register_schema(
            name, "jsonschema", json.dumps({"title": name, "type": "object", "properties": properties}).encode()
        )
        for name, properties in _SCHEMAS.items()
    }
    sources = []
    whole = sum(len(samples) for samples in recording.samples.values()) + len(manifest.labels)
    for number, stream in enumerate(manifest.streams):
        name = {"audio": "foxglove.RawAudio", "camera": "foxglove.RawImage"}.get(stream.kind, "leo.Samples")
        channel = writer.register_channel(f"/{stream.name}", "json", schemas[name])
        times_us = recording.times_us.get(stream.name)
        sources.append(_messages(recording.samples[stream.name], times_us, stream, start_ns, number, channel))
    if manifest.labels:
        names = {stream.name for stream in manifest.streams}
        topic = next(
            name for name in ("labels", *(f"labels_{k}" for k in range(2, len(names) + 3))) if name not in names
        )
        channel = writer.register_channel(f"/{topic}", "json", schemas["leo.Label"])
        labels = sorted(manifest.labels, key=lambda label: label.start_us)
        sources.append(
            (start_ns + label.start_us * 1000, len(sources), channel, label.model_dump(), 1) for label in labels
        )
    done = 0
    for at_ns, _, channel, message, samples in heapq.merge(*sources, key=lambda each: each[:2]):
        writer.add_message(channel, at_ns, json.dumps(message, separators=(",", ":")).encode(), at_ns)
        done += samples
        progress("", done, whole)


_Message = tuple[int, int, int, dict[str, Any], int]
"""When it is, the number of its source, its channel, itself, and how many samples it holds."""


def _messages(
    samples: Samples,
    times_us: np.ndarray | None,
    stream: RecordedStream,
    start_ns: int,
    number: int,
    channel: int,
) -> Iterator[_Message]:
    """Every message of a stream, in the order of time."""
    if times_us is not None:
        for at_us, value in zip(times_us.tolist(), samples[:], strict=True):
            yield start_ns + at_us * 1000, number, channel, _message(value, stream, 0), 1
        return
    rate_hz = Fraction(repr(stream.rate_hz))
    together = max(1, round(stream.rate_hz / _BLOCKS_PER_S)) if stream.kind == "audio" else 1
    # Many messages are read from a file at once.
    step = max(together, BLOCK_BYTES // max(1, sample_bytes(samples)) // together * together)
    for first in range(0, len(samples), step):
        block = samples[first : first + step]
        for at in range(0, len(block), together):
            part = block[at : at + together]
            at_ns = start_ns + round((first + at) * 1_000_000_000 / rate_hz)
            yield at_ns, number, channel, _message(part, stream, at_ns), len(part)


def _message(part: np.ndarray, stream: RecordedStream, at_ns: int) -> dict[str, Any]:
    if stream.kind not in ("audio", "camera"):
        return {"values": part.reshape(-1).astype(np.float64).tolist()}
    time = {"sec": at_ns // 1_000_000_000, "nsec": at_ns % 1_000_000_000}
    data = base64.b64encode(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data).decode()
    if stream.kind == "audio":
        return {
            "timestamp": time,
            "data": data,
            "format": "pcm-s16",
            "sample_rate": stream.rate_hz,
            "number_of_channels": stream.channels,
        }
    height, width, channels = stream.sample_shape
    return {
        "timestamp": time,
        "frame_id": stream.name,
        "width": width,
        "height": height,
        "encoding": _ENCODINGS.get((part.dtype.name, channels), f"32FC{channels}"),
        "step": width * channels * part.dtype.itemsize,
        "data": data,
    }

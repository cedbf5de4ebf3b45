"""Says what recording a file of messages holds: by the manifest that is in it, else of every topic that can be read."""

from __future__ import annotations

import re
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.errors import DocumentError, LeoError, MissingExtraError, RecordingError, words
from leo_runtime.recordings.from_messages import open_messages, picture_form
from leo_runtime.recordings.grid import UnevenError
from leo_runtime.recordings.mcap_file import METADATA, McapFile
from leo_runtime.recordings.message_labels import read_message_labels, text_of
from leo_runtime.recordings.messages import (
    FIELDS,
    PICTURES,
    SOUND,
    MessageFile,
    Topic,
    field,
    number_fields,
    numbers,
)
from leo_runtime.recordings.recording import Label, LabelFile, Recording, RecordingManifest, read_stream
from leo_runtime.recordings.series import kind_of, measured_hz, usual_hz
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.values import lasting_us

_MOST_CHANNELS = 256
"""Of a topic whose numbers nobody has named."""
_LABELS = re.compile(r"label|annotation|event|marker|activity", re.IGNORECASE)
"""In the name of a topic: texts on it are what was really there."""
_MOTION = ("Imu", "MagneticField", "AccelStamped", "Vector3Stamped")


def open_message_file(path: Path) -> Recording:
    """The recording of an MCAP or a ROS bag: by the manifest that is in it, else of every topic that can be read."""
    file = open_messages(path)
    damaged: tuple[str, ...] = ()
    try:
        manifest = _own_manifest(file, path.name)
    except DocumentError as error:
        manifest, damaged = None, (f"its manifest is damaged ({error}): streams are read as they seem to be",)
    told: list[str] = []
    if manifest is None:
        manifest, told = _made_manifest(file, path)
    try:
        recording = Recording.of_manifest(manifest, path.parent)
    except RecordingError:
        manifest, lost = _readable(manifest, path.parent)
        told += lost
        recording = Recording.of_manifest(manifest, path.parent)
    return replace(recording, repairs=(*damaged, *recording.repairs, *told))


def _own_manifest(file: MessageFile, name: str) -> RecordingManifest | None:
    """The manifest in an MCAP that was written by `mcap_writer`, whatever the file is called now. Raises
    `DocumentError`.
    """
    text = file.metadata.get(METADATA, {}).get("manifest") if isinstance(file, McapFile) else None
    if text is None:
        return None
    manifest = RecordingManifest.from_json(text, f"{file.where}: metadata `{METADATA}`")
    if any(stream.format != "mcap" for stream in manifest.streams) or manifest.link_files:
        raise DocumentError(f"{file.where}: metadata `{METADATA}`", "names other files than this one")
    streams = tuple(stream.model_copy(update={"file": name}) for stream in manifest.streams)
    return manifest.model_copy(update={"streams": streams})


def _made_manifest(file: MessageFile, path: Path) -> tuple[RecordingManifest, list[str]]:
    """A manifest of all topics that can be read, and what is told of the others."""
    times: dict[str, array[int]] = {name: array("q") for name in file.topics}
    firsts: dict[str, Any] = {}
    for logged in file.messages(tuple(file.topics)):
        times[logged.topic].append(max(-(2**63), min(2**63 - 1, logged.log_ns - file.start_ns)))
        if logged.topic not in firsts:
            try:
                firsts[logged.topic] = logged.decode()
            except MissingExtraError:
                raise
            except Exception:  # The next one may be whole.
                continue
    source = {"file": path.name, "format": "mcap" if isinstance(file, McapFile) and path.is_file() else "rosbag"}
    streams: list[RecordedStream] = []
    labels: list[LabelFile] = []
    told: list[str] = []
    for name, topic in file.topics.items():
        try:
            if name in firsts and _LABELS.search(name) and text_of(firsts[name]) is not None:
                labels.append(LabelFile(file=path.name, topic=name))
                continue
            if name not in firsts:
                raise ValueError("no message of it can be read")
            streams.append(_stream(topic, firsts[name], np.array(times[name], np.int64), source, streams))
        except (LeoError, UnevenError) as error:
            told.append(f"not read: topic `{name}` ({error})")
        except Exception as error:  # A message may hold anything.
            told.append(f"not read: topic `{name}` ({error if isinstance(error, ValueError) else words(error)})")
    if not streams:
        raise RecordingError(f"{path}: no topic of it can be read as a stream", hint="; ".join(told[:3]))
    bare = re.sub(r"[\x00-\x1f/\\]", "-", path.stem).lstrip(". ")[:100] or "messages"
    manifest = RecordingManifest(
        format="leo-recording/1",
        name=bare,
        source=path.name,
        streams=tuple(streams),
        label_files=tuple(labels),
    )
    return manifest, told


def _readable(manifest: RecordingManifest, folder: Path) -> tuple[RecordingManifest, list[str]]:
    """The manifest without what cannot be read after all: of a file that was cut, and topics nobody has asked for.

    Raises `RecordingError` where nothing is left.
    """
    told: list[str] = []
    lasts_us: dict[str | None, int] = {}
    for stream in manifest.streams:
        try:
            found = read_stream(folder / stream.file, stream)
        except RecordingError as error:
            told.append(f"not read: topic `{stream.topic}` ({error})")
            continue
        if found.times_us is not None:
            lasts_us[stream.name] = int(found.times_us[-1]) + 1
        else:
            lasts_us[stream.name] = lasting_us(found.rate_hz, len(found.samples))
    if not lasts_us:
        raise RecordingError(
            f"{folder / manifest.streams[0].file}: no topic of it can be read", hint="; ".join(told[:3])
        )
    streams = tuple(stream for stream in manifest.streams if stream.name in lasts_us)
    all_us = max(lasts_us.values())
    noticed, noted = list(manifest.labels), len(manifest.labels)
    for file in manifest.label_files:
        try:
            marks, left_out = read_message_labels(folder / file.file, file.topic or "", file.text)
        except RecordingError as error:
            told.append(f"not read: topic `{file.topic}` ({error})")
            continue
        told += left_out
        noted += len(marks)
        noticed += [
            Label(start_us=max(0, mark.start_us), end_us=mark.end_us, label=mark.label)
            for mark in marks
            if mark.end_us > 0
        ]
    labels = tuple(label for label in noticed if label.start_us < {None: all_us, **lasts_us}.get(label.stream, 0))
    if len(labels) < noted:
        told.append(f"labels outside of what can be read are left out: {noted - len(labels)}")
    return manifest.model_copy(update={"streams": streams, "labels": labels, "label_files": ()}), told


def _stream(
    topic: Topic, message: Any, times_ns: np.ndarray, source: dict[str, str], others: list[RecordedStream]
) -> RecordedStream:
    """What a topic's stream is. Raises whatever comes of a message that lacks something."""
    bare = re.sub(r"[^A-Za-z0-9_]+", "_", topic.name).strip("_") or "stream"
    taken = {stream.name for stream in others}
    name = next(each for each in (bare, *(f"{bare}_{k}" for k in range(2, len(others) + 3))) if each not in taken)
    common: dict[str, Any] = {"name": name, **source, "topic": topic.name}
    if topic.kind in SOUND:
        return RecordedStream(
            **common,
            kind="audio",
            rate_hz=float(field(message, "sample_rate")),
            channels=int(field(message, "number_of_channels")),
        )
    times_us = np.sort(times_ns) / 1e3
    if topic.kind in PICTURES:
        rate_hz = usual_hz(measured_hz(times_us))
        width, height, channels = picture_form(topic, message)
        return RecordedStream(
            **common, kind="camera", rate_hz=rate_hz, height_px=height, width_px=width, channels=channels
        )
    fields = FIELDS.get(topic.kind) or number_fields(message)
    channels = sum(len(numbers(field(message, path))) for path in fields)
    if not 0 < channels <= _MOST_CHANNELS:
        raise ValueError(f"{channels} numbers a message")
    kind = kind_of(times_us, is_motion=topic.kind in _MOTION)
    if kind != "events":
        common["rate_hz"] = usual_hz(measured_hz(times_us))
    return RecordedStream(**common, kind=kind, channels=channels, fields=fields)

"""A logger's export as a recording, without a manifest written by hand."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np

from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings import clocks
from leo_runtime.recordings.cameras import PICTURES
from leo_runtime.recordings.files import Files, open_files
from leo_runtime.recordings.grid import UnevenError
from leo_runtime.recordings.loggers import LOGGERS, epoch_us, logger_of, placed
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.recording import Label, Recording, RecordingManifest
from leo_runtime.recordings.series import Export, Logger, Series, measured_hz, named_apart, usual_hz, zero_us
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.recordings.ts_text import TS


def recognise(path: Path) -> str | None:
    """The format of an export, as manifests name it; None: no logger's that is known. Raises `RecordingError`."""
    found = _find(path)
    return None if found is None else found[0].name


def open_export(path: Path) -> Recording:
    """The recording that a folder, a zip or a file of a logger is.

    Each stream is put on the even grid of the usual rate that is nearest to its own; what comes at no rate is `events`.
    All begin at one time 0. Its manifest names the export as the file of its streams, so that, written beside it, it
    reads the same. Raises `RecordingError` where no logger is known that exports such files, or nothing of it can be
    read, and `MissingExtraError`.
    """
    found = _find(path)
    if found is None:
        raise RecordingError(
            f"{path}: is no recording, and no export of a logger that is known",
            hint=_manifest_of_ones_own(path)
            or f"known are {', '.join(logger.title for logger in LOGGERS)}, a file of "
            "sound, an MCAP, a ROS bag; anything else needs a recording.toml, in the folder that is given",
        )
    logger, files = found
    if logger is TS:
        raise RecordingError(
            f"{path}: a .ts file does not say its rate",
            hint='write a recording.toml whose stream has `format = "ts"`, its `rate_hz` and `channels`',
        )
    return _recording(path, logger, logger.read(files))


def manifest_of(path: Path) -> RecordingManifest:
    """The manifest that `open_export` makes; raises what that raises."""
    return open_export(path).manifest


def _manifest_of_ones_own(path: Path) -> str:
    """How to read a table or pictures of one's own, which do not say what they are; empty: it is neither."""
    # What JSON quotes, TOML reads.
    file = json.dumps(path.resolve().name, ensure_ascii=False)
    name = json.dumps(_name(path.resolve()), ensure_ascii=False)
    if path.is_dir() and any(inside.suffix.lower() in PICTURES for inside in path.iterdir()):
        shape = "height_px = 96, width_px = 128, channels = 3"
        stream = f'name = "eye", kind = "camera", file = {file}, rate_hz = 30, {shape}'
    elif path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        stream = f'name = {name}, format = "csv", file = {file}, rate_hz = 50, channels = 3'
    else:
        return ""
    return (
        f'write a recording.toml beside it, with its own numbers, and give their folder: `format = "leo-recording/1"`, '
        f"`name = {name}`, `streams = [{{ {stream} }}]`"
    )


def _find(path: Path) -> tuple[Logger, Files] | None:
    """The logger whose export it is, and its files, where they are all in one folder of it."""
    files = open_files(path)
    if logger := logger_of(files):
        return logger, files
    inside = [(folder, logger_of(files.inside(folder))) for folder in files.folders() if folder]
    known = [(folder, logger) for folder, logger in inside if logger is not None]
    if len(known) > 1:
        raise RecordingError(
            f"{path}: holds {len(known)} recordings: {', '.join(folder for folder, _ in known[:3])}"
            f"{'...' if len(known) > 3 else ''}",
            hint="unpack it, and give the folder of one",
        )
    return (known[0][1], files.inside(known[0][0])) if known else None


def _recording(path: Path, logger: Logger, export: Export) -> Recording:
    series = named_apart(export.series)
    zero = zero_us(export)
    streams: list[RecordedStream] = []
    found: dict[str, StreamData] = {}
    repairs = [*export.repairs, *_late(series, export, zero)]
    for one in series:
        try:
            rate_hz = 0 if one.kind == "events" else usual_hz(one.rate_hz or measured_hz(one.times_us))
            data = placed(one, zero, rate_hz)
        except UnevenError as error:
            repairs.append(f"not read: {one.name} of {one.file} {error}")
            continue
        if not len(data.samples):
            repairs.append(f"not read: {one.name} of {one.file} holds no samples")
            continue
        described = partial(
            RecordedStream,
            name=one.name,
            kind=one.kind,
            file=path.name or ".",
            format=logger.name,
            channels=one.values.shape[1],
            columns=one.columns,
            unit=one.unit,
        )
        streams.append(described(rate_hz=rate_hz) if rate_hz else described())
        found[one.name] = data
        repairs += [f"{one.name}: {repair}" for repair in data.repairs]
    for sound in export.sounds:
        try:
            heard = sound.read()
        except (RecordingError, MissingExtraError) as error:
            repairs.append(f"not read: {error}")
            continue
        shape = heard.samples.shape
        streams.append(
            RecordedStream(
                name=sound.name,
                kind="audio",
                file=path.name or ".",
                format=logger.name,
                rate_hz=heard.rate_hz,
                channels=shape[1] if len(shape) > 1 else 1,
            )
        )
        found[sound.name] = heard
        repairs.append(
            f"{sound.name}: {sound.file} does not say when it began, which is taken for the recording's start"
        )
        repairs += [f"{sound.name}: {repair}" for repair in heard.repairs]
    if not streams:
        raise RecordingError(f"{path}: holds no samples that can be read", hint=(repairs or ["record it again"])[-1])
    labels, told = _labels(export, zero, found)
    sounds = {sound.name for sound in export.sounds}
    manifest = RecordingManifest(
        format="leo-recording/1",
        name=_name(path),
        source=f"{export.source}, {path.name or path}",
        streams=tuple(streams),
        labels=labels,
        start_epoch_us=epoch_us(export, zero),
        time_zone=export.time_zone,
    )
    return Recording(
        manifest,
        {name: data.samples if name in sounds else _samples(data.samples[:]) for name, data in found.items()},
        tuple(repairs + told),
        {name: data.gaps for name, data in found.items() if data.gaps},
        {name: data.times_us for name, data in found.items() if data.times_us is not None},
        {name: data.timing for name, data in found.items() if data.timing is not None},
    )


def _samples(values: np.ndarray) -> np.ndarray:
    """As recordings hold what is no sound: float32, (samples,) of one channel."""
    kept = values.astype(np.float32)
    return kept if kept.shape[1] > 1 else kept[:, 0]


def _late(series: tuple[Series, ...], export: Export, zero: float) -> list[str]:
    """What is told of streams that begin later than others."""
    began = "" if export.epoch_us is None else f" ({clocks.shown(export.epoch_us + round(zero))})"
    late = [
        f"{one.name} {(one.times_us.min() - zero) / 1e6:.3g} s"
        for one in series
        if one.kind != "events" and one.times_us.min() - zero > 1e5
    ]
    return [f"time 0 is that of the first sample{began}; later begin {', '.join(late)}"] if late else []


def _labels(export: Export, zero: float, found: dict[str, StreamData]) -> tuple[tuple[Label, ...], list[str]]:
    """What was noted, as labels of all streams, as far as it is within the recording."""
    lasts_us = max(
        len(data.samples) / data.rate_hz * 1e6 if data.times_us is None else data.times_us[-1]
        for data in found.values()
    )
    labels = []
    for mark in export.marks:
        start_us, end_us = max(0, mark.start_us - round(zero)), mark.end_us - round(zero)
        if end_us > 0 and start_us < lasts_us:
            labels.append(Label(start_us=start_us, end_us=max(start_us + 1, end_us), label=mark.label))
    left = len(export.marks) - len(labels)
    return tuple(labels), [f"labels outside the recording are left out: {left}"] if left else []


def _name(path: Path) -> str:
    """What logs are named after."""
    bare = re.sub(r"[\x00-\x1f/\\]", "-", path.stem if path.is_file() else path.name).lstrip(". ")
    return bare[:100] or "export"

"""What is in a recording, in figures: rates, declared and measured, jitter, gaps, clipping, silence, labels, links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording
from leo_runtime.recordings.samples import BLOCK_BYTES, Samples, sample_bytes
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.values import lasting_us

SILENT_DBFS = -60
"""Root mean square of a tenth of a second of sound, below which it is silent."""
_SILENT_SQUARE = (32_768 * 10 ** (SILENT_DBFS / 20)) ** 2
_PER_S = 10
FULL_SCALE = 32_767
"""A sample of sound of that magnitude, or one more, was clipped, or is as loud as can be."""


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """One stream."""

    name: str
    kind: str
    channels: int
    height_px: int | None
    width_px: int | None
    rate_hz: float
    """As declared."""
    measured_hz: float | None
    """By the samples' own times; None: they have none."""
    jitter_us: float | None
    """The standard deviation of the steps between them that are no gaps."""
    samples: int
    lasts_us: int
    gaps: int
    gap_us: int
    """In all."""
    clipped: int | None
    """Of sound: how many values are at full scale."""
    silent_us: int | None
    """Of sound: tenths of a second below `SILENT_DBFS`, in all."""
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """All labels of one name."""

    label: str
    stream: str | None
    """None: of all streams."""
    count: int
    us: int
    """Of them all."""


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """The samples of one link."""

    source: str
    target: str
    samples: int
    least_bytes_per_s: int | None
    """Where it is up; None: it never is."""
    greatest_bytes_per_s: int | None
    down: int
    """Samples at which it is down."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A recording."""

    name: str
    licence: str
    source: str
    lasts_us: int
    """As long as all streams go on."""
    streams: tuple[StreamFigures, ...]
    labels: tuple[LabelFigures, ...]
    links: tuple[LinkFigures, ...]
    repairs: tuple[str, ...]
    start_epoch_us: int | None
    """When its time 0 was, in us since 1970, where it is known."""
    time_zone: str | None
    """Where it was recorded, as it says."""


def figures(recording: Recording, progress: Progress = lambda *_: None) -> Figures:
    """Look at every sample once, a block at a time. Raises `RecordingError`."""
    manifest = recording.manifest
    whole = sum(len(samples) for samples in recording.samples.values())
    done = 0

    def counted(stream: RecordedStream) -> Iterator[np.ndarray]:
        nonlocal done
        for block in _tenths(recording.samples[stream.name], stream):
            yield block
            done += len(block)
            progress(stream.name, done, whole)

    return Figures(
        name=manifest.name,
        licence=manifest.licence,
        source=manifest.source,
        lasts_us=recording.duration_us,
        streams=tuple(_stream(recording, stream, counted(stream)) for stream in manifest.streams),
        labels=_labels(recording),
        links=_links(recording),
        repairs=recording.repairs,
        start_epoch_us=manifest.start_epoch_us,
        time_zone=manifest.time_zone,
    )


def _tenths(samples: Samples, stream: RecordedStream) -> Iterator[np.ndarray]:
    """Blocks of whole tenths of a second; the last one is what is left."""
    tenth = max(1, round(stream.rate_hz / _PER_S))
    step = max(tenth, BLOCK_BYTES // max(1, sample_bytes(samples)) // tenth * tenth)
    for first in range(0, len(samples), step):
        yield samples[first : first + step]


def _stream(recording: Recording, stream: RecordedStream, blocks: Iterator[np.ndarray]) -> StreamFigures:
    is_sound = stream.kind == "audio"
    tenth = max(1, round(stream.rate_hz / _PER_S))
    least, greatest, clipped, silent = np.inf, -np.inf, 0, 0
    for block in blocks:
        least, greatest = min(least, float(block.min())), max(greatest, float(block.max()))
        if is_sound:
            clipped += int(np.count_nonzero((block >= FULL_SCALE) | (block <= -FULL_SCALE)))
            full = block[: len(block) // tenth * tenth].reshape(-1, tenth * stream.channels)
            squares = np.square(full, dtype=np.float32).mean(axis=1)
            silent += tenth * int(np.count_nonzero(squares < _SILENT_SQUARE))
    gaps = recording.gaps.get(stream.name, ())
    timing = recording.timings.get(stream.name)
    return StreamFigures(
        name=stream.name,
        kind=stream.kind,
        channels=stream.channels,
        height_px=stream.height_px,
        width_px=stream.width_px,
        rate_hz=stream.rate_hz,
        measured_hz=None if timing is None else timing.rate_hz,
        jitter_us=None if timing is None else timing.jitter_us,
        samples=len(recording.samples[stream.name]),
        lasts_us=recording.lasts_us([stream.name]),
        gaps=len(gaps),
        gap_us=sum(gap.end_us - gap.start_us for gap in gaps),
        clipped=clipped if is_sound else None,
        silent_us=lasting_us(stream.rate_hz, silent) if is_sound else None,
        least=least,
        greatest=greatest,
    )


def _labels(recording: Recording) -> tuple[LabelFigures, ...]:
    found: dict[tuple[str, str | None], tuple[int, int]] = {}
    for label in recording.manifest.labels:
        key = label.label, label.stream
        count, us = found.get(key, (0, 0))
        found[key] = count + 1, us + label.end_us - label.start_us
    return tuple(LabelFigures(*key, *found[key]) for key in sorted(found, key=lambda key: (key[0], key[1] or "")))


def _links(recording: Recording) -> tuple[LinkFigures, ...]:
    found: dict[tuple[str, str], list[int | None]] = {}
    for sample in recording.manifest.links:
        found.setdefault((sample.source, sample.target), []).append(sample.bytes_per_s)
    rows = []
    for (source, target), rates in sorted(found.items()):
        up = [rate for rate in rates if rate is not None]
        rows.append(
            LinkFigures(source, target, len(rates), min(up, default=None), max(up, default=None), len(rates) - len(up))
        )
    return tuple(rows)

"""Cuts a span out of a recording, without reading more of it than is asked for later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.recording import Recording
from leo_runtime.recordings.samples import Samples, StoredSamples
from leo_runtime.recordings.stream import Gap
from leo_runtime.values import lasting_us, samples_within


def cut(recording: Recording, start_us: int, end_us: int) -> Recording:
    """The recording from one time up to another, which becomes one that begins at 0.

    Each stream begins with its last sample at or before the start. Labels and gaps are cut with it; of links, what held
    at the start holds from 0 on. A stream that is over before the span is left out, and that is told. Raises
    `RecordingError` where nothing is left.
    """
    samples: dict[str, Samples] = {}
    told: list[str] = []
    times_us: dict[str, np.ndarray] = {}
    begins_us: dict[str, int] = {}
    """When the first sample was that is left of each, which becomes its time 0."""
    for stream in recording.manifest.streams:
        if stream.kind == "events":
            its_us = recording.times_us[stream.name]
            first, last = (int(at) for at in np.searchsorted(its_us, (start_us, end_us)))
            begins_us[stream.name] = start_us
            if first < last:
                times_us[stream.name] = its_us[first:last] - start_us
        else:
            first, last = (samples_within(stream.rate_hz, at_us) for at_us in (start_us, end_us))
            begins_us[stream.name] = lasting_us(stream.rate_hz, first)
        whole = recording.samples[stream.name]
        part = _part(whole, first, min(last, len(whole)))
        if len(part):
            samples[stream.name] = part
        else:
            told.append(f"stream `{stream.name}` has nothing from {start_us / 1e6:g} to {end_us / 1e6:g} s: left out")
    if not samples:
        raise RecordingError(
            f"recording `{recording.manifest.name}` has nothing from {start_us / 1e6:g} to {end_us / 1e6:g} s",
            hint=f"it lasts {recording.duration_us / 1e6:g} s",
        )
    manifest = recording.manifest
    streams = tuple(stream for stream in manifest.streams if stream.name in samples)
    lasts_us = {
        stream.name: (
            int(times_us[stream.name][-1]) + 1
            if stream.name in times_us
            else lasting_us(stream.rate_hz, len(samples[stream.name]))
        )
        for stream in streams
    }
    labels = tuple(
        label.model_copy(update={"start_us": begin_us, "end_us": min(label.end_us, end_us) - start_us})
        for label in manifest.labels
        if label.stream is None or label.stream in samples
        if start_us < label.end_us
        if (begin_us := max(0, label.start_us - start_us)) < min(end_us - start_us, _lasts_us(lasts_us, label.stream))
    )
    gaps = {name: found for name in samples if (found := _gaps(recording.gaps.get(name, ()), begins_us[name], end_us))}
    return replace(
        recording,
        manifest=manifest.model_copy(
            update={
                "streams": streams,
                "labels": labels,
                "links": _links(manifest.links, start_us, end_us),
                "start_epoch_us": None if manifest.start_epoch_us is None else manifest.start_epoch_us + start_us,
            }
        ),
        samples=samples,
        repairs=(*recording.repairs, *told),
        gaps=gaps,
        times_us=times_us,
    )


def _lasts_us(lasts_us: Mapping[str, int], stream: str | None) -> int:
    """How long what a label is of lasts: its stream, or the longest of all."""
    return max(lasts_us.values()) if stream is None else lasts_us[stream]


def _part(whole: Samples, first: int, last: int) -> Samples:
    if isinstance(whole, np.ndarray) or first >= last:
        return whole[first : max(first, last)]
    return StoredSamples((last - first, *whole.shape[1:]), whole.dtype, lambda a, b: whole[first + a : first + b])


def _gaps(gaps: tuple[Gap, ...], start_us: int, end_us: int) -> tuple[Gap, ...]:
    return tuple(
        Gap(max(0, gap.start_us - start_us), min(gap.end_us, end_us) - start_us)
        for gap in gaps
        if gap.end_us > start_us and gap.start_us < end_us
    )


def _links(links: tuple[LinkSample, ...], start_us: int, end_us: int) -> tuple[LinkSample, ...]:
    """Samples within the span, and before them the last one of each link that was there at its start."""
    at_start: dict[tuple[str, str], LinkSample] = {}
    within: list[LinkSample] = []
    for sample in sorted(links, key=lambda sample: sample.time_us):
        if sample.time_us <= start_us:
            at_start[sample.source, sample.target] = sample.model_copy(update={"time_us": 0})
        elif sample.time_us < end_us:
            within.append(sample.model_copy(update={"time_us": sample.time_us - start_us}))
    return (*at_start.values(), *within)

"""Digests of what a run reads besides its documents: a run that goes on has to read the same."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from leo_runtime.documents.workload import Workload, file_parameters
from leo_runtime.operators import find_operator
from leo_runtime.recordings.recording import Recording

DIGITS = 16
"""Hexadecimal digits of a SHA-256, of which a digest is the first."""
PARTS, PART_BYTES = 32, 1 << 19
"""So many parts of a stream are looked at, each of so many bytes: all of it up to 16 MB. Days of sound are not read for
it."""
PICTURES = 4
"""Of a camera so many pictures: each may have to be decoded from a long way before."""


def model_files(workload: Workload) -> Iterator[tuple[str, str, str]]:
    """The files that stages read, each with its stage and graph; one may come several times."""
    for graph in workload.graphs:
        for stage in graph.stages:
            for name in file_parameters(find_operator(stage.operator)):
                for params in (stage.params, *(variant.params for variant in stage.variants)):
                    path = params.get(name)
                    # What is no text is told of when the workload is bound.
                    if isinstance(path, str):
                        yield path, stage.name, graph.name


def model_digests(workload: Workload) -> dict[str, str]:
    """By path, of each file that stages read; one that cannot be read is left out."""
    found: dict[str, str] = {}
    for path in dict.fromkeys(path for path, *_ in model_files(workload)):
        with suppress(OSError, ValueError), Path(path).open("rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    return dict(sorted(found.items()))


def samples_digest(recording: Recording, workload: Workload) -> str:
    """Of what was recorded of the workload's streams: how much, when events were, and parts of the samples."""
    hashed = hashlib.sha256()
    for stream in recording.manifest.streams:
        if any(stream.name == asked.name for asked in workload.streams):
            samples = recording.samples[stream.name]
            hashed.update(f"{stream.name} {samples.dtype.str} {tuple(samples.shape)}".encode())
            for begin, end in _parts(tuple(samples.shape), samples.dtype.itemsize):
                hashed.update(np.asarray(samples[begin:end]).tobytes())
            if stream.name in recording.times_us:
                hashed.update(np.asarray(recording.times_us[stream.name]).tobytes())
    return hashed.hexdigest()[:DIGITS]


def _parts(shape: tuple[int, ...], item_bytes: int) -> Iterator[tuple[int, int]]:
    """Which samples are looked at: all of few, else as many parts as evenly over them as can be."""
    samples, is_pictures = shape[0], len(shape) > 2
    parts = PICTURES if is_pictures else PARTS
    each = 1 if is_pictures else max(1, PART_BYTES // (item_bytes * math.prod(shape[1:]) or 1))
    if samples <= parts * each:
        yield 0, samples
        return
    for part in range(parts):
        begin = part * (samples - each) // (parts - 1)
        yield begin, begin + each

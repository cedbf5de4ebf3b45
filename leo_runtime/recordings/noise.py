"""A recording of noise, for what has to be measured and not to be understood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leo_runtime.documents.workload import Stream
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream


def noise(streams: Sequence[tuple[Stream, float, float, int]], name: str, seed: int = 0) -> Recording:
    """Each stream from its least to its greatest value, evenly spread, so many samples of it.

    The same seed gives the same noise.
    """
    rng = np.random.default_rng(seed)
    recorded, values = [], {}
    for number, (stream, least, greatest, count) in enumerate(streams):
        recorded.append(RecordedStream.of(stream, f"{number}.npy"))
        values[stream.name] = rng.uniform(least, greatest, (count, *stream.sample_shape)).astype(np.float32)
    manifest = RecordingManifest(
        format="leo-recording/1", name=name, licence="none", source="noise", streams=tuple(recorded)
    )
    return Recording(manifest, values)

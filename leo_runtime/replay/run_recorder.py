"""Records what a run is given: the windows that a program submits become a recording that can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from leo_runtime.documents.workload import Stream
from leo_runtime.errors import InputError
from leo_runtime.recordings.recording import RecordingManifest
from leo_runtime.recordings.stream import Gap, RecordedStream
from leo_runtime.recordings.writer import RecordingWriter, stated
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.values import lasting_us, samples_within, whole

FULL_SCALE = 32_768.0
"""What sound of 1.0 is as 16 bits."""


class RunRecorder:
    """Writes the windows of a run into a new folder. Used by one thread.

    Windows overlap, and each sample is written once. What no window held is zeros, and a gap. As a context it is
    complete at the end of the block, also where that raises: what a run was given until then is what one wants to see.
    """

    def __init__(self, folder: str | Path, runtime: Runtime, *, begin_us: int = 0) -> None:
        """Time 0 of the recording is `begin_us` of the run, such as `runtime.now_us` where it begins in real time.

        Raises `InputError` where the folder is there already or cannot be made, and for streams of events, whose
        windows do not say where they follow each other.
        """
        workload = runtime.merged.workload
        graphs = [graph.name for graph in workload.graphs]
        self._begin_us = whole(begin_us, "begin_us")
        self._sources = {source.stage: source for source in runtime.sources(graphs)}
        names = {source.stream for source in self._sources.values()}
        self._streams = {stream.name: stream for stream in workload.streams if stream.name in names}
        for stream in self._streams.values():
            if stream.kind == "events":
                raise InputError(
                    f"stream `{stream.name}` is of events, whose windows do not say where they follow each other",
                    hint="record its events themselves, with `RecordingWriter` (docs/recordings.md)",
                )
        self._written = dict.fromkeys(self._streams, 0)
        self._gaps: dict[str, list[Gap]] = {name: [] for name in self._streams}
        manifest = RecordingManifest(
            format="leo-recording/1",
            name=Path(folder).name,
            source=f"the run of workload {workload.name}",
            # The writer names the files.
            streams=tuple(RecordedStream.of(stream, stream.name) for stream in self._streams.values()),
        )
        self._writer = RecordingWriter(
            Path(folder), manifest, {name: _dtype(stream) for name, stream in self._streams.items()}
        )

    def add(self, release_us: int, windows: Mapping[str, np.ndarray]) -> None:
        """The windows of a release, by stage, as `Runtime.submit` takes them; releases in order.

        Raises `InputError` for a stage that reads no stream, and where the disk is full.
        """
        for stage, window in windows.items():
            if stage not in self._sources:
                raise InputError(
                    f"`{stage}` is no stage that reads a stream", hint=f"these do: {', '.join(self._sources)}"
                )
            self._add(self._sources[stage].stream, release_us - self._begin_us, np.asarray(window))

    def _add(self, name: str, end_us: int, window: np.ndarray) -> None:
        stream, written = self._streams[name], self._written[name]
        end = samples_within(stream.rate_hz, max(end_us, 0))
        first = max(end - len(window), 0)
        if end <= written:
            return
        if first > written:
            missing = np.zeros((first - written, *window.shape[1:]), _dtype(stream))
            self._writer.add(name, missing)
            self._gaps[name].append(Gap(lasting_us(stream.rate_hz, written), lasting_us(stream.rate_hz, first)))
            written = first
        new = window[len(window) - (end - written) :]
        if stream.kind == "audio" and new.dtype.kind == "f":
            new = np.clip(np.rint(new * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
        self._writer.add(name, new.astype(_dtype(stream), copy=False))
        self._written[name] = end

    def finish(self) -> None:
        """Complete the recording under its name, of the streams of which there was anything.

        Raises `InputError` where there was nothing, and where the disk is full.
        """
        streams = tuple(
            stream.model_copy(update={"gaps": stated(tuple(self._gaps[stream.name]))})
            for stream in self._writer.manifest.streams
            if self._written[stream.name]
        )
        if not streams:
            self._writer.discard()
            raise InputError(f"{self._writer.folder}: nothing was recorded", hint="call `add` with what is submitted")
        self._writer.finish(streams=streams)

    def __enter__(self) -> Self:
        """The recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete it."""
        self.finish()


def _dtype(stream: Stream) -> np.dtype[np.generic]:
    """Of the samples that a recording holds."""
    return np.dtype({"audio": np.int16, "camera": np.uint8}.get(stream.kind, np.float32))

"""Runs a recording through a workload, in virtual or in real time, and tells of every frame as it ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import TaskGraph, Workload, file_parameters
from leo_runtime.errors import InputError, RecordingError
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators import find_operator
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording, check_links, check_streams
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.values import lasting_us

Time = Literal["virtual", "real"]


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a recording that is replayed. The run's clock starts at its start."""

    start_us: int
    end_us: int

    @classmethod
    def of(
        cls,
        recording: Recording,
        start_us: int = 0,
        length_us: int | None = None,
        streams: Collection[str] | None = None,
    ) -> Span:
        """So much of a recording from `start_us` on, as far as these streams go; None: all that is left, all streams.

        Raises `RecordingError` for nothing.
        """
        lasts_us = recording.lasts_us(streams) if streams else recording.duration_us
        end_us = lasts_us if length_us is None else min(lasts_us, start_us + length_us)
        if end_us <= start_us:
            raise RecordingError(
                f"recording `{recording.manifest.name}` lasts {lasts_us} us, nothing is left at {start_us}",
                hint="events alone last up to the last of them: read a stream with a rate, too"
                if streams and all(recording.stream(name).kind == "events" for name in streams)
                else f"begin before {lasts_us / 1e6:g} s",
            )
        return cls(start_us, end_us)


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording run through a workload on a machine under one policy."""

    policy: str
    time: Time
    workload: Workload
    hardware: Hardware
    profile: Profile
    recording: Recording
    span: Span
    merged: MergedWorkload
    frames: tuple[FrameResult, ...]
    solver_on: str | None = None
    """The processor whose power is charged for the time that placing each frame took; None: it is not charged."""
    batch: int = 1
    """How many frames were collected before they were placed as one."""
    changes: tuple[str, ...] = ()
    """What was changed of the documents before they were run, in order, as `changed` takes it."""


def window_lengths(replayed: Replay, graph: TaskGraph) -> dict[str, int]:
    """How long the window of each stream that a graph reads is, in us."""
    rates = {stream.name: stream.rate_hz for stream in replayed.workload.streams}
    # The last events may be of any time: what is decided about them is decided once a period.
    return {
        name: lasting_us(rates[name], samples) if rates[name] else graph.period_us
        for name, samples in _windows(replayed, graph).items()
    }


def _windows(replayed: Replay, graph: TaskGraph) -> dict[str, int]:
    """How many samples the longest window of each stream has that a graph reads."""
    found: dict[str, int] = {}
    for stage in graph.stages:
        bound = replayed.merged.stage(replayed.merged.names[graph.name, stage.name]).bound
        if bound.operator.is_source:
            params = next(iter(bound.params.values()))
            found[params.stream] = max(found.get(params.stream, 0), params.samples)
    return found


class FrameSink(Protocol):
    """Told of a replay as it goes on, by the thread that calls `replay`: `begin`, all else in turn, and `end`."""

    def begin(self, begun: Replay, /) -> None:
        """Nothing has run yet, so it has no frames."""
        ...

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        """A frame has ended. Nothing of any that ends later begins before `settled_us`, on the run's clock."""
        ...

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """These entries of the ledger are final; none that comes later begins before `settled_us`.

        All of a whole run are its ledger (`run_ledger`), where what one moment after the other is drawn by an idle or
        sleeping resource may be told in several pieces.
        """
        ...

    def end(self, ended: Replay, /) -> None:
        """All has been told. It is not called where the replay is interrupted, or fails."""
        ...


def streams_read(workload: Workload) -> tuple[str, ...]:
    """The streams of a workload that its stages read, each once, in its order.

    What else a stage names is told of when the workload is bound.
    """
    found: list[Any] = []
    for graph in workload.graphs:
        for stage in graph.stages:
            if find_operator(stage.operator).is_source:
                each = (stage.params, *(variant.params for variant in stage.variants))
                found += [params["stream"] for params in each if "stream" in params]
    return tuple(stream.name for stream in workload.streams if stream.name in found)


def check_files(workload: Workload) -> None:
    """Raise `InputError` for a model that is not there, before a frame fails for want of it."""
    for graph in workload.graphs:
        for stage in graph.stages:
            for name in file_parameters(find_operator(stage.operator)):
                for params in (stage.params, *(variant.params for variant in stage.variants)):
                    path = params.get(name)
                    # What is no text is told of when the workload is bound.
                    if isinstance(path, str) and not Path(path).is_file():
                        raise InputError(
                            f"{path}: cannot be read, stage `{stage.name}` of graph `{graph.name}` needs it"
                        )


def releases(workload: Workload, length_us: int) -> tuple[int, ...]:
    """When any graph of a workload runs, after the first sample and up to the last, in order."""
    times: set[int] = set()
    for graph in workload.graphs:
        times.update(graph.releases_us(length_us))
    return tuple(sorted(times - {0}))


def batches(runtime: Runtime, length_us: int, size: int) -> tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]:
    """The releases of every batch of so many frames, with their graphs, by the last release; at the end fewer.

    Of size 1 they are the frames themselves. In greater ones each period has batches of its own.
    """
    workload = runtime.merged.workload
    if size == 1:
        return tuple(((at_us,), runtime.triggered(at_us)) for at_us in releases(workload, length_us))
    found: list[tuple[tuple[int, ...], tuple[str, ...]]] = []
    for timing in dict.fromkeys(graph.timing for graph in workload.graphs):
        alike = [graph for graph in workload.graphs if graph.timing == timing]
        times = releases(workload.model_copy(update={"graphs": tuple(alike)}), length_us)
        names = tuple(graph.name for graph in alike)
        found += [(times[at : at + size], names) for at in range(0, len(times), size)]
    return tuple(sorted(found, key=lambda batch: batch[0][-1]))


def replay(
    runtime: Runtime,
    recording: Recording,
    span: Span,
    *,
    policy: str,
    time: Time,
    solver_on: str | None = None,
    batch: int = 1,
    changes: Sequence[str] = (),
    progress: Progress = lambda *_: None,
    sinks: Sequence[FrameSink] = (),
) -> Replay:
    """Submit every frame of a span of a recording to a runtime, and wait for the last answer.

    `solver_on` names the processor that solving is charged to. So many frames as `batch` says are collected and placed
    as one (`Runtime.submit_batch`). `changes` are told to the sinks: the runtime's documents are changed already.
    `sinks` are told of each frame when it has ended; where the replay is interrupted, also of those that had ended by
    then. Raises `RecordingError` where the recording does not fit the workload, or the span is over before any graph
    runs.
    """
    workload = runtime.merged.workload
    check_streams(workload, recording)
    check_links(runtime.hardware, recording)
    begun = Replay(
        policy,
        time,
        workload,
        runtime.hardware,
        runtime.profile,
        recording,
        span,
        runtime.merged,
        frames=(),
        solver_on=solver_on,
        batch=batch,
        changes=tuple(changes),
    )
    length_us = span.end_us - span.start_us
    if not releases(workload, length_us):
        first_us = min(graph.offset_us or graph.period_us for graph in workload.graphs)
        raise RecordingError(
            f"no graph of workload `{workload.name}` runs within {length_us} us of recording "
            f"`{recording.manifest.name}`, the first one would at {first_us}",
            hint="replay more of it, or another recording",
        )
    told = _Told(sinks)
    for sink in sinks:
        sink.begin(begun)
    try:
        _submit_all(runtime, begun, told, progress)
        told.ended(runtime.drain())
    except KeyboardInterrupt:
        with suppress(Exception):  # It may have come in the middle of anything.
            told.ended(runtime.results())
        raise
    ended = replace(begun, frames=tuple(sorted(told.frames, key=lambda frame: frame.frame)))
    graphs = {stage.name: stage.graphs for stage in runtime.merged.stages}
    entries = run_ledger(ended.frames, runtime.hardware, graphs, end_us=length_us, solver=solver_on).entries
    for sink in sinks:
        sink.energy(entries, max((entry.until_us for entry in entries), default=length_us))
        sink.end(ended)
    return ended


def _submit_all(runtime: Runtime, begun: Replay, told: _Told, progress: Progress) -> None:
    recording, start_us, length_us = begun.recording, begun.span.start_us, begun.span.end_us - begun.span.start_us
    links = sorted(recording.manifest.links, key=lambda sample: sample.time_us)
    now: dict[tuple[str, str], tuple[int, int | None] | None] = {}
    windows = {graph.name: _windows(begun, graph) for graph in begun.workload.graphs}
    periods_us = {graph.name: graph.period_us for graph in begun.workload.graphs}
    for releases_us, graphs in batches(runtime, length_us, begun.batch):
        while links and links[0].time_us <= start_us + releases_us[-1]:
            sample = links.pop(0)
            up = sample.bytes_per_s is not None
            now[sample.source, sample.target] = (sample.latency_us, sample.bytes_per_s) if up else None
        collected = [
            (
                release_us,
                {
                    source.stage: recording.window(source.stream, start_us + release_us, source.samples)
                    for source in runtime.sources(graphs)
                },
            )
            for release_us in releases_us
        ]
        number = runtime.submit_batch(collected, graphs=graphs, links=dict(now) if now else None)
        over = {
            (k, graph): _gap_us(recording, windows[graph], periods_us[graph], start_us + release_us)
            for k, release_us in enumerate(releases_us if recording.gaps else ())
            for graph in graphs
        }
        told.submitted(number, releases_us[-1], over)
        told.ended(runtime.results())
        progress(begun.policy, releases_us[-1], length_us)


def _gap_us(recording: Recording, windows: Mapping[str, int], period_us: int, end_us: int) -> int:
    """Of the windows of a graph that end then, by stream, how much at the most was not recorded; of events, of a
    period.
    """
    return max(
        (
            recording.window_gap_us(name, end_us, samples)
            if recording.stream(name).rate_hz
            else recording.gap_us(name, end_us - period_us, end_us)
            for name, samples in windows.items()
        ),
        default=0,
    )


class _Told:
    """The frames that have ended, each of which all sinks have been told of."""

    def __init__(self, sinks: Sequence[FrameSink]) -> None:
        self.frames: list[FrameResult] = []
        self._sinks = sinks
        self._running: dict[int, int] = {}
        """Releases of frames that have not ended, in order."""
        self._over: dict[int, Mapping[tuple[int, str], int]] = {}
        """Of frames that have not ended, how much of each graph's windows was not recorded, by number and graph."""
        self._last_us = 0

    def submitted(self, number: int, release_us: int, over: Mapping[tuple[int, str], int]) -> None:
        self._running[number] = release_us
        self._over[number] = over
        self._last_us = release_us

    def ended(self, frames: Sequence[FrameResult]) -> None:
        for frame in frames:
            self._running.pop(frame.frame, None)
            settled_us = next(iter(self._running.values()), self._last_us)
            marked = _marked(frame, self._over.pop(frame.frame, {}))
            self.frames.append(marked)
            for sink in self._sinks:
                sink.frame(marked, settled_us)


def _marked(frame: FrameResult, over: Mapping[tuple[int, str], int]) -> FrameResult:
    """The frame with what of its graphs' windows was not recorded."""
    if not any(over.values()):
        return frame
    graphs = tuple(replace(one, gap_us=over.get((one.number, one.graph), 0)) for one in frame.graphs)
    return replace(frame, graphs=graphs)

"""Runs a recording through a workload, in virtual or in real time, and tells of every frame as it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from leo_runtime.dispatch.alone import AloneTimes
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.errors import InputError, RecordingError
from leo_runtime.frame.conditions import LinkNow
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.frame.running_ledger import RunningLedger
from leo_runtime.operators import find_operator
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording, check_links, check_streams
from leo_runtime.replay.alone_frames import AloneFrames
from leo_runtime.replay.earlier_part import EarlierPart
from leo_runtime.replay.figures import Time as Time
from leo_runtime.replay.identity import Replay as Replay
from leo_runtime.replay.identity import Span as Span
from leo_runtime.replay.identity import window_samples
from leo_runtime.replay.inputs import model_files
from leo_runtime.replay.sinks import FrameSink as FrameSink
from leo_runtime.replay.summary import RunningSummary
from leo_runtime.runtime.arguments import SourceWindow
from leo_runtime.runtime.link_watch import LinkKnown
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.straight import KnownFrame, StraightPlan


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
    for path, stage, graph in model_files(workload):
        if not Path(path).is_file():
            raise InputError(f"{path}: cannot be read, stage `{stage}` of graph `{graph}` needs it")


def releases(workload: Workload, length_us: int, seed: int = 0) -> dict[int, tuple[str, ...]]:
    """When any graph of a workload runs, after the first sample and up to the last, in order, and which do then.

    What triggers draw goes by the seed.
    """
    times: dict[int, tuple[str, ...]] = {}
    # A day has 200,000 releases, and few of them are of other graphs.
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for graph in workload.graphs:
        for release_us in graph.releases_us(length_us, seed):
            if release_us:
                names = (*times.get(release_us, ()), graph.name)
                times[release_us] = known.setdefault(names, names)
    return dict(sorted(times.items()))


Batch = tuple[tuple[int, ...], tuple[str, ...]]
"""The releases of frames that are collected, and their graphs."""


def batches(runtime: Runtime, length_us: int, size: int) -> Iterator[Batch]:
    """The releases of every batch of so many frames, with their graphs, by the last release; at the end fewer.

    Of size 1 they are the frames themselves. In greater ones each period has batches of its own.
    """
    workload = runtime.merged.workload
    if size == 1:
        return (((at_us,), graphs) for at_us, graphs in releases(workload, length_us, runtime.seed).items())
    found: list[Batch] = []
    for alike in _alike(workload):
        times = tuple(releases(workload.model_copy(update={"graphs": tuple(alike)}), length_us, runtime.seed))
        names = tuple(graph.name for graph in alike)
        found += [(times[at : at + size], names) for at in range(0, len(times), size)]
    return iter(sorted(found, key=lambda batch: batch[0][-1]))


def _alike(workload: Workload) -> Iterator[list[TaskGraph]]:
    """The graphs that always run at the same times; each whose releases are drawn is by itself."""
    for timing in dict.fromkeys(graph.timing for graph in workload.graphs):
        graphs = [graph for graph in workload.graphs if graph.timing == timing]
        periodic = [graph for graph in graphs if not graph.trigger.is_drawn]
        if periodic:
            yield periodic
        yield from ([graph] for graph in graphs if graph.trigger.is_drawn)


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
    amended: Callable[[FrameResult], FrameResult] | None = None,
    earlier: EarlierPart | None = None,
    straight: bool = False,
) -> Replay:
    """Submit every frame of a span of a recording to a runtime, and wait for the last answer: its `summary` says what
    came of it. Frames are let go of when they have ended; a sink `KeptFrames` keeps them.

    `solver_on` names the processor that solving is charged to. So many frames as `batch` says are collected and placed
    as one (`Runtime.submit_batch`). `changes` are told to the sinks: the runtime's documents are changed already.
    `sinks` are told of each frame when it has ended; where a replay in real time is interrupted, also of those that had
    ended by then. `amended` gives frames what is known of them besides (`KnownFrames`). Of a run in real time that was
    interrupted there is an `earlier` part, of which all are told first. With `straight`, frames take the short way
    (`Runtime.submit_straight`) where they can, and nobody is told of each: all of the summary is the same but its
    busiest part, which is left out. Raises `RecordingError` where the recording does not fit the workload, or the span
    is over before any graph runs.
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
        solver_on=solver_on,
        batch=batch,
        changes=tuple(changes),
    )
    length_us = span.end_us - span.start_us
    planned = batches(runtime, length_us, batch)
    first_batch = next(planned, None)
    if first_batch is None:
        first_us = min(graph.offset_us or graph.period_us for graph in workload.graphs)
        drawn = any(graph.trigger.is_drawn for graph in workload.graphs)
        first = f"with the triggers of seed {runtime.seed}" if drawn else f"the first one would at {first_us}"
        raise RecordingError(
            f"no graph of workload `{workload.name}` runs within {length_us} us of recording "
            f"`{recording.manifest.name}`, {first}",
            hint="replay more of it, or another recording",
        )
    straight = straight and batch == 1 and not sinks and runtime.goes_straight and not recording.gaps
    told = _Told(begun, sinks, amended)
    for sink in sinks:
        sink.begin(begun)
    try:
        if earlier is not None:
            earlier.tell(told.frame)
        if straight:
            runtime.submit_straight(_known(begun, chain([first_batch], planned), progress), told)
        else:
            _submit_all(runtime, begun, chain([first_batch], planned), told, progress, earlier)
            told.ended(runtime.drain())
    except KeyboardInterrupt:
        # In virtual time they can be had again, and in the order in which a run in one piece tells of them. Where one
        # was told of in part, what follows would not add up: it is lost, as it is where the process is killed.
        if time == "real" and not told.is_telling:
            with suppress(Exception):  # It may have come in the middle of anything.
                told.ended(runtime.results())
        raise
    return told.whole(runtime.links())


class _Links:
    """What the links of a recording do, as time goes on."""

    def __init__(self, begun: Replay, *, said: bool = True) -> None:
        """`said`: to who submits; else the runtime itself has it."""
        samples = begun.recording.manifest.links if said else ()
        self._left = deque(sorted(samples, key=lambda sample: sample.time_us))
        self._start_us = begun.span.start_us
        self._now: dict[tuple[str, str], LinkNow] = {}

    def changed(self, at_us: int) -> dict[tuple[str, str], LinkNow] | None:
        """All that is known of them then; None: nothing has changed since this was last asked."""
        left, until_us = self._left, self._start_us + at_us
        if not left or left[0].time_us > until_us:
            return None
        while left and left[0].time_us <= until_us:
            sample = left.popleft()
            up = sample.bytes_per_s is not None
            self._now[sample.source, sample.target] = (sample.latency_us, sample.bytes_per_s) if up else None
        return dict(self._now)


def _known(begun: Replay, planned: Iterator[Batch], progress: Progress) -> Iterator[KnownFrame]:
    """The frames, each by itself: where nothing is computed, nothing of the recording is read but what links do."""
    links, length_us = _Links(begun), begun.length_us
    for (release_us,), graphs in planned:
        yield release_us, graphs, links.changed(release_us)
        progress(begun.policy, release_us, length_us)


def _submit_all(
    runtime: Runtime,
    begun: Replay,
    planned: Iterator[Batch],
    told: _Told,
    progress: Progress,
    earlier: EarlierPart | None = None,
) -> None:
    recording, start_us, length_us = begun.recording, begun.span.start_us, begun.length_us
    links = _Links(begun, said=not runtime.has_network)
    windows = {graph.name: window_samples(begun, graph) for graph in begun.workload.graphs}
    periods_us = {graph.name: graph.period_us for graph in begun.workload.graphs}
    sources: dict[tuple[str, ...], tuple[SourceWindow, ...]] = {}
    if earlier is not None:
        planned = _left(planned, earlier)
    for releases_us, graphs in planned:
        if graphs not in sources:
            sources[graphs] = runtime.sources(graphs)
        collected = [
            (
                release_us,
                {
                    source.stage: recording.window(source.stream, start_us + release_us, source.samples)
                    for source in sources[graphs]
                },
            )
            for release_us in releases_us
        ]
        unbroken = None
        if recording.gaps:
            unbroken = [
                {
                    source.stage: recording.unbroken(source.stream, start_us + release_us, source.samples)
                    for source in sources[graphs]
                    if recording.stream(source.stream).rate_hz
                }
                for release_us in releases_us
            ]
        number = runtime.submit_batch(
            collected, graphs=graphs, links=links.changed(releases_us[-1]), unbroken=unbroken, wait=True
        )
        over = {
            (k, graph): _gap_us(recording, windows[graph], periods_us[graph], start_us + release_us)
            for k, release_us in enumerate(releases_us if recording.gaps else ())
            for graph in graphs
        }
        told.submitted(number, releases_us[-1])
        told.lacks(number, over)
        told.ended(runtime.results())
        progress(begun.policy, releases_us[-1], length_us)


def _left(planned: Iterator[Batch], earlier: EarlierPart) -> Iterator[Batch]:
    """What is to be submitted after the earlier part of a run, which is told where that begins."""
    for before, first in enumerate(planned):
        if first[0][-1] > earlier.after_us:
            earlier.resumed(first[0][-1], before - earlier.frames_there)
            yield first
            break
    yield from planned


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
    """Tells all sinks, and the summary, of what has ended."""

    def __init__(
        self, begun: Replay, sinks: Sequence[FrameSink], amended: Callable[[FrameResult], FrameResult] | None
    ) -> None:
        self._begun = begun
        self._amended = amended
        self._sinks = sinks
        self._summary = RunningSummary(begun)
        graphs = {stage.name: stage.graphs for stage in begun.merged.stages}
        self._ledger = RunningLedger(begun.hardware, graphs, solver=begun.solver_on)
        self._alone = AloneFrames(self._summary, self._ledger)
        self._running: dict[int, int] = {}
        """Releases of frames that have not ended, in order."""
        self._over: dict[int, Mapping[tuple[int, str], int]] = {}
        """Of frames that have not ended, how much of each graph's windows was not recorded, by number and graph."""
        self._last_us = 0
        self.is_telling = False
        """Whether something has been told of in part: some have heard of it, others have not."""

    def submitted(self, number: int, release_us: int) -> None:
        self._running[number] = release_us
        self._last_us = release_us

    def lacks(self, number: int, over: Mapping[tuple[int, str], int]) -> None:
        """Of each graph of a frame that is submitted, how much of its windows was not recorded."""
        self._over[number] = over

    def alone(self, number: int, release_us: int, plan: StraightPlan, times: AloneTimes) -> None:
        """A frame had the machine to itself. There are no sinks."""
        self._last_us = release_us
        self._alone.add(number, release_us, plan, times)

    def ended(self, frames: Sequence[FrameResult]) -> None:
        for frame in frames:
            self._running.pop(frame.frame, None)
            settled_us = next(iter(self._running.values()), self._last_us)
            marked = _marked(frame, self._over.pop(frame.frame, {}))
            self.frame(marked if self._amended is None else self._amended(marked), settled_us)

    def frame(self, ended: FrameResult, settled_us: int) -> None:
        """Tell of a frame; nothing of those told of later begins before `settled_us`."""
        self.is_telling = True
        self._summary.frame(ended, settled_us)
        for sink in self._sinks:
            sink.frame(ended, settled_us)
        entries = self._ledger.add(ended)
        entries += self._ledger.settle(settled_us)
        if entries:
            self._energy(entries, self._ledger.settled_us if self._sinks else settled_us)
        self.is_telling = False

    def whole(self, links: tuple[LinkKnown, ...] = ()) -> Replay:
        """All has ended: tell what is left, and what was known of links."""
        self._alone.end()
        entries, end_us = self._ledger.end(self._begun.length_us)
        if entries:
            self._energy(entries, end_us)
        ended = replace(self._begun, summary=replace(self._summary.whole(end_us), links=links))
        for sink in self._sinks:
            sink.end(ended)
        return ended

    def _energy(self, entries: Sequence[Entry], settled_us: int) -> None:
        self._summary.energy(entries)
        for sink in self._sinks:
            sink.energy(entries, settled_us)


def _marked(frame: FrameResult, over: Mapping[tuple[int, str], int]) -> FrameResult:
    """The frame with what of its graphs' windows was not recorded."""
    if not any(over.values()):
        return frame
    graphs = tuple(replace(one, gap_us=over.get((one.number, one.graph), 0)) for one in frame.graphs)
    return replace(frame, graphs=graphs)

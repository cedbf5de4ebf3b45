"""What came of a replay: what each pipeline found and how late, what each processor did and what that cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.ledger import Ledger, run_ledger
from leo_runtime.frame.records import FrameResult, GraphResult
from leo_runtime.replay.replay import Replay, Span, Time, window_lengths


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What one task graph did in a replay. Times in us, over the frames that it answered (done, not cancelled)."""

    graph: str
    frames: int
    answered: int
    """The others were cancelled by a gate, or failed."""
    failed: int
    """Those that never had an answer."""
    detections: int
    right: int | None
    """Detections whose window holds that label; None where the recording has no labels of what the graph reads."""
    false: int | None
    """The other detections; None as above."""
    labels: int
    """Labels in the part replayed that this graph could have found."""
    missed: int
    """Those that no detection found."""
    latency_median_us: int
    latency_p95_us: int
    late: int
    """Answers that came after the deadline."""
    deadline_misses: int
    """Late or failed."""
    over_gaps: int
    """Frames that read a window of which something was not recorded."""


def pipelines(replayed: Replay) -> tuple[Pipeline, ...]:
    """A line a task graph."""
    results: dict[str, list[GraphResult]] = {graph.name: [] for graph in replayed.workload.graphs}
    for frame in replayed.frames:
        for result in frame.graphs:
            results[result.graph].append(result)
    return tuple(_pipeline(replayed, graph, results[graph.name]) for graph in replayed.workload.graphs)


def _pipeline(replayed: Replay, graph: TaskGraph, results: Sequence[GraphResult]) -> Pipeline:
    latencies = sorted(result.latency_us for result in results if result.outcome == "done")
    background = graph.decision.background if graph.decision else None
    detections = [result for result in results if result.label not in (None, background)]
    windows = window_lengths(replayed, graph)
    truths = [truth for truth in _truths(replayed) if truth.stream is None or truth.stream in windows]
    longest_us = max(windows.values(), default=0)
    hits = [
        [truth for truth in truths if _agree(result, truth, windows.get(truth.stream or "", longest_us))]
        for result in detections
    ]
    right = sum(bool(hit) for hit in hits) if truths else None
    wanted = [truth for truth in truths if _could_find(replayed, graph, truth)]
    found = {truth.index for hit in hits for truth in hit}
    return Pipeline(
        graph=graph.name,
        frames=len(results),
        answered=len(latencies),
        failed=sum(result.outcome == "failed" for result in results),
        detections=len(detections),
        right=right,
        false=None if right is None else len(detections) - right,
        labels=len(wanted),
        missed=sum(truth.index not in found for truth in wanted),
        latency_median_us=_quantile(latencies, 50),
        latency_p95_us=_quantile(latencies, 95),
        late=sum(result.missed and result.outcome != "failed" for result in results),
        deadline_misses=sum(result.missed for result in results),
        over_gaps=sum(result.gap_us > 0 for result in results),
    )


@dataclass(frozen=True, slots=True)
class _Truth:
    """A label of the recording, on the run's clock."""

    index: int
    stream: str | None
    """None: all of them."""
    label: str
    start_us: int
    end_us: int


def _truths(replayed: Replay) -> list[_Truth]:
    shift_us, recording = replayed.span.start_us, replayed.recording
    found = []
    for i, one in enumerate(recording.manifest.labels):
        end_us = min(one.end_us, recording.labelled_us(one))  # A label may be rounded up.
        found.append(_Truth(i, one.stream, one.label, one.start_us - shift_us, end_us - shift_us))
    return found


def _could_find(replayed: Replay, graph: TaskGraph, truth: _Truth) -> bool:
    """Whether a graph decides about such a label, and it lies wholly in the part that was replayed."""
    if graph.decision is None or truth.label == graph.decision.background:
        return False
    inside = truth.start_us >= 0 and truth.end_us <= replayed.span.end_us - replayed.span.start_us
    return inside and truth.label in graph.decision.labels


def _agree(result: GraphResult, truth: _Truth, length_us: int) -> bool:
    """Whether a detection names a label rightly: the same name, and half of the label or the window in common."""
    common_us = min(result.release_us, truth.end_us) - max(result.release_us - length_us, truth.start_us)
    return result.label == truth.label and 2 * common_us >= min(length_us, truth.end_us - truth.start_us)


def _quantile(ordered: Sequence[int], percent: int) -> int:
    """The value that `percent` of all are not above; 0 of none."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0


@dataclass(frozen=True, slots=True)
class ProcessorUse:
    """What one processor or radio did in a replay."""

    name: str
    runs: int
    """Stages, or sendings of a radio."""
    busy_us: int
    """Summed over its lanes."""
    wake_ups: int
    nj: dict[str, int]
    """Nanojoules by cause."""

    @property
    def total_nj(self) -> int:
        """All causes together."""
        return sum(self.nj.values())


def energy(replayed: Replay) -> Ledger:
    """Every nanojoule of a replay with its cause."""
    graphs = {stage.name: stage.graphs for stage in replayed.merged.stages}
    end_us = replayed.span.end_us - replayed.span.start_us
    return run_ledger(replayed.frames, replayed.hardware, graphs, end_us=end_us, solver=replayed.solver_on)


def processors(replayed: Replay, ledger: Ledger) -> tuple[ProcessorUse, ...]:
    """A line a processor, a radio, and a link that costs something and uses neither ("a -> b")."""
    names = [processor.name for processor in replayed.hardware.processors]
    names += [radio.name for radio in replayed.hardware.radios]
    names += [name for name in sorted(ledger.by_resource()) if name not in names]
    return tuple(_use(replayed, ledger, name) for name in names)


def _use(replayed: Replay, ledger: Ledger, name: str) -> ProcessorUse:
    ran = [run.end_us - run.start_us for frame in replayed.frames for run in frame.stages if run.resource == name]
    sent = [
        send.sent_us - send.start_us
        for frame in replayed.frames
        for send in frame.transfers
        if (send.resource or f"{send.source} -> {send.target}") == name
    ]
    nj: dict[str, int] = {}
    for entry in ledger.entries:
        if entry.resource == name:
            nj[entry.cause] = nj.get(entry.cause, 0) + entry.nj
    wake_ups = sum(entry.cause == "wake-up" and entry.resource == name for entry in ledger.entries)
    return ProcessorUse(name, len(ran) + len(sent), sum(ran) + sum(sent), wake_ups, nj)


@dataclass(frozen=True, slots=True)
class Total:
    """A replay in one line."""

    policy: str
    time: Time
    nj: int
    late: int
    """Answers that came after their deadlines."""
    deadline_misses: int
    """Late or failed."""
    failed: int
    """Answers that never came."""
    answers: int
    """How many answers were due: graphs times frames."""


def total(replayed: Replay, ledger: Ledger) -> Total:
    """A replay in one line, to be set beside another policy's."""
    results = [result for frame in replayed.frames for result in frame.graphs]
    return Total(
        replayed.policy,
        replayed.time,
        ledger.total_nj,
        sum(result.missed and result.outcome != "failed" for result in results),
        sum(result.missed for result in results),
        sum(result.outcome == "failed" for result in results),
        len(results),
    )


def ran_together(replayed: Replay) -> dict[str, int]:
    """How often a stage ran for all frames of a batch, by "stage on processor", the most frequent first."""
    counts: dict[str, int] = {}
    for frame in replayed.frames:
        for run in frame.stages:
            job = frame.jobs[run.stage]
            if run.outcome == "done" and len(job.frames) > 1:
                where = f"{job.stage} on {run.resource}"
                counts[where] = counts.get(where, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def busiest(replayed: Replay) -> Span:
    """The quarter of a second, for every frame of a batch, in which most was computed, on the run's clock."""
    quarter_us = 250_000 * replayed.batch
    busy_us: dict[int, int] = {}
    for frame in replayed.frames:
        for run in frame.stages:
            quarter = run.start_us // quarter_us
            busy_us[quarter] = busy_us.get(quarter, 0) + run.end_us - run.start_us
    most = max(busy_us, key=lambda at: (busy_us[at], -at), default=0)
    return Span(most * quarter_us, (most + 1) * quarter_us)


def waits_given_up(replayed: Replay) -> int:
    """How many transfers and wake-ups were planned to wait for a gate, and went on without it so as not to be late."""
    return sum(frame.waits_given_up for frame in replayed.frames)


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that failed, and how often: a stage on a processor, or a whole frame."""

    what: str
    """ "stage on processor", or "frame"."""
    why: str
    """What the first of them said: the others differ from it in numbers alone."""
    count: int
    is_overload: bool = False
    """Whether nothing is broken: the frames were skipped, since there was too much to do."""


def failures(replayed: Replay) -> tuple[Failure, ...]:
    """Every kind of failure once, the most frequent first."""
    found: dict[tuple[str, str, bool], Failure] = {}
    for frame in replayed.frames:
        for what, why in _reasons(frame):
            kind = (what, _NUMBER.sub("#", why), frame.skipped)
            first = found.get(kind, Failure(what, why, 0, frame.skipped))
            found[kind] = replace(first, count=first.count + 1)
    return tuple(sorted(found.values(), key=lambda one: (-one.count, one.what, one.why)))


_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


def _reasons(frame: FrameResult) -> list[tuple[str, str]]:
    """What failed in a frame, and why: of one that was skipped, or whose stages do not say, once for all of it."""
    if frame.placement.status == "infeasible":
        return [("frame", frame.placement.reason or "no placement")]
    if frame.skipped:
        return [("frame", frame.reason)]
    found = [(f"{frame.jobs[run.stage].stage} on {run.resource}", run.error) for run in frame.stages if run.error]
    if not found and any(result.outcome == "failed" for result in frame.graphs):
        return [("frame", "it failed, and no stage says why")]
    return found

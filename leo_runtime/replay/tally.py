"""What a log comes to: counts, latencies and energy, summed as its lines are read."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from leo_runtime.frame.entries import Entry
from leo_runtime.replay.log_lines import FrameLine
from leo_runtime.replay.log_reader import RunLog, frame_entries


@dataclass(slots=True)
class PipelineTally:
    """What one task graph did."""

    frames: int = 0
    answered: int = 0
    """Done; the others were cancelled by a gate, or failed."""
    failed: int = 0
    late: int = 0
    """Answers, and gates' decisions that there is none, that came after the deadline."""
    detections: int = 0
    """Answers with a label."""
    latencies_us: array[int] = field(default_factory=lambda: array("q"))
    """Of what was answered, in order once `Tally.close` was called."""

    def latency_us(self, percent: int) -> int:
        """The latency that `percent` of the answers are not above; 0 of none."""
        ordered = self.latencies_us
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0


@dataclass(slots=True)
class Tally:
    """Sums over a run."""

    frames: int = 0
    skipped: int = 0
    unplaced: int = 0
    pipelines: dict[str, PipelineTally] = field(default_factory=dict)
    nj: dict[tuple[str, str], int] = field(default_factory=dict)
    """By cause and resource."""
    graphs_nj: dict[str, int] = field(default_factory=dict)
    """By the task graph it is charged to; "" is what belongs to none."""

    def add(self, frame: FrameLine) -> None:
        """Count a frame, with what its runs and transfers cost."""
        self.frames += 1
        self.skipped += frame.skipped
        self.unplaced += frame.status == "unplaced"
        for seen in frame.graphs:
            line = self.pipelines.setdefault(seen.graph, PipelineTally())
            line.frames += 1
            line.failed += seen.outcome == "failed"
            line.late += seen.outcome != "failed" and seen.end_us > seen.deadline_us
            if seen.outcome == "done":
                line.answered += 1
                line.detections += seen.label is not None
                line.latencies_us.append(seen.end_us - seen.release_us)
        self.add_energy(frame_entries(frame))

    def add_energy(self, entries: Iterable[Entry]) -> None:
        """Count some energy."""
        for entry in entries:
            key = (entry.cause, entry.resource)
            self.nj[key] = self.nj.get(key, 0) + entry.nj
            for graph, nj in entry.shares():
                self.graphs_nj[graph] = self.graphs_nj.get(graph, 0) + nj

    def close(self) -> None:
        """Put what was counted in order."""
        for line in self.pipelines.values():
            line.latencies_us = array("q", sorted(line.latencies_us))

    @property
    def total_nj(self) -> int:
        """All energy."""
        return sum(self.nj.values())

    @property
    def late(self) -> int:
        """Answers that came after their deadlines."""
        return sum(line.late for line in self.pipelines.values())

    @property
    def failed(self) -> int:
        """Answers that never came."""
        return sum(line.failed for line in self.pipelines.values())

    def by_cause(self) -> dict[str, int]:
        """Nanojoules of each cause, the greatest first."""
        return _sums(((cause, nj) for (cause, _), nj in self.nj.items()))

    def by_resource(self) -> dict[str, int]:
        """Nanojoules of each processor, radio and link, the greatest first."""
        return _sums(((resource, nj) for (_, resource), nj in self.nj.items()))

    def by_graph(self) -> dict[str, int]:
        """Nanojoules of each task graph, the greatest first."""
        return _sums(self.graphs_nj.items())


def tally(log: RunLog) -> Tally:
    """The sums of a whole log. Raises `DocumentError` where it is damaged."""
    found = Tally()
    for frame in log.frames():
        found.add(frame)
    found.add_energy(log.standing_entries())
    log.require_sum(found.total_nj)
    found.close()
    return found


def worst(found: Sequence[tuple[int, int, str]], most: int) -> list[tuple[int, int, str]]:
    """The greatest of (how much, frame, graph), of equal ones the earliest."""
    return sorted(found, key=lambda one: (-one[0], one[1], one[2]))[:most]


def _sums(parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, nj in parts:
        sums[name] = sums.get(name, 0) + nj
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))

"""What a page tells of a whole run, summed as its log is read once; of each frame it keeps a few numbers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from leo_runtime.frame.energy_sums import EnergySums
from leo_runtime.frame.entries import Entry
from leo_runtime.replay.frame_facts import whys_failed
from leo_runtime.replay.log_lines import FrameLine
from leo_runtime.replay.log_reader import RunLog, frame_entries
from leo_runtime.replay.tally import Tally

BUCKETS = 160
"""Into how many parts of equal length a run is divided where something is drawn over its time."""
MOST_REASONS = 1000
"""How many different reasons why something failed are told apart."""


@dataclass(slots=True)
class Answers:
    """When one task graph answered, and by when it had to."""

    done_us: array[int] = field(default_factory=lambda: array("q"))
    """From the release to each answer."""
    closed_us: array[int] = field(default_factory=lambda: array("q"))
    """From the release until a gate had decided that there is nothing to answer."""
    deadline_us: int = 0
    """The longest that it was allowed."""


@dataclass(slots=True)
class Runs:
    """The runs of one stage on one resource, as one variant."""

    done: int = 0
    cancelled: int = 0
    failed: int = 0
    us: int = 0
    """How long those that are done took together,"""
    expected_us: int = 0
    """and would have by the profile."""
    nj: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """Why answers failed, how often, and in which frame (by position) for the first time."""

    why: str
    count: int
    position: int


class RunSums:
    """Everything but the charts of frames. Positions count frames in the order in which they ended, from 0."""

    def __init__(self, log: RunLog) -> None:
        """Read the log. Raises `DocumentError` where it is damaged."""
        self.tally = Tally()
        self.answers: dict[str, Answers] = {}
        self.runs: dict[tuple[str, str, str], Runs] = {}
        """By stage, resource and variant."""
        self.statuses: dict[str, int] = {}
        self.waits_given_up = 0
        self.from_nj: dict[str, tuple[int, int]] = {}
        """Of runs whose energy was measured and of those where it was modelled: how many, and nJ."""
        self.own_clocks = 0
        """Runs that a device's own clock timed, too."""
        self.failures: dict[str, Failed] = {}
        # Of each frame: when it began and was over, by how much its worst answer was late (below 0: in time) where it
        # had any, how many failed, the nJ of its runs and transfers, and what ran where, as a number.
        self.from_us: list[int] = []
        self.until_us: list[int] = []
        self.late_us: list[int] = []
        self.failed: list[int] = []
        self.nj: list[int] = []
        self.kind: list[int] = []
        self.end_us = _end_us(log)
        self.power_nj: dict[str, list[float]] = {}
        """By cause, what was used in each part of the run."""
        self.missed = [0] * BUCKETS
        """Answers, by the part of the run in which they were released, that came late or never."""
        self._sums = EnergySums()
        for frame in log.frames():
            self._add(frame)
        for entry in log.standing_entries():
            self.tally.add_energy((entry,))
            self._add_energy((entry,))
        log.require_sum(self.tally.total_nj)
        self.tally.close()
        self.by_resource = self._sums.by_resource()
        """nJ by resource and cause."""
        self.by_graph = self._sums.by_graph()
        """nJ by task graph and cause; "" is what belongs to none."""

    def _add(self, frame: FrameLine) -> None:
        self.tally.add(frame)
        entries = list(frame_entries(frame))
        self._add_energy(entries)
        self.statuses[frame.status] = self.statuses.get(frame.status, 0) + 1
        self.waits_given_up += frame.waits_given_up
        late_us, failed = NOTHING, whys_failed(frame)
        for seen in frame.graphs:
            answers = self.answers.setdefault(seen.graph, Answers())
            answers.deadline_us = max(answers.deadline_us, seen.deadline_us - seen.release_us)
            if seen.outcome != "failed":
                (answers.done_us if seen.outcome == "done" else answers.closed_us).append(seen.end_us - seen.release_us)
                late_us = max(late_us, seen.end_us - seen.deadline_us)
            if seen.outcome == "failed" or seen.end_us > seen.deadline_us:
                self.missed[self._bucket(seen.release_us)] += 1
        for why in failed:
            self._add_failed(why)
        for run in frame.stages:
            runs = self.runs.setdefault((run.of or run.stage, run.resource, run.variant), Runs())
            runs.nj += run.nj
            if run.outcome == "done":
                runs.done += 1
                runs.us += run.end_us - run.start_us
                runs.expected_us += run.expected_us
                number, nj = self.from_nj.get(run.energy_from, (0, 0))
                self.from_nj[run.energy_from] = number + 1, nj + run.nj
                self.own_clocks += run.device_us is not None
            elif run.outcome == "cancelled":
                runs.cancelled += 1
            else:
                runs.failed += 1
        begun_us = frame.release_us if frame.admitted_us is None else frame.admitted_us
        self.from_us.append(min([begun_us, *(run.start_us for run in frame.stages if run.end_us > run.start_us)]))
        self.until_us.append(
            max(
                [
                    begun_us,
                    *(run.end_us for run in frame.stages),
                    *(send.arrive_us for send in frame.transfers),
                    *(seen.end_us for seen in frame.graphs if seen.outcome != "failed"),
                ]
            )
        )
        self.late_us.append(late_us)
        self.failed.append(len(failed))
        self.nj.append(sum(entry.nj for entry in entries))
        self.kind.append(_kind(frame))

    def _add_failed(self, why: str) -> None:
        known = self.failures.get(why)
        if known is not None:
            self.failures[why] = Failed(why, known.count + 1, known.position)
        elif len(self.failures) < MOST_REASONS:
            self.failures[why] = Failed(why, 1, len(self.nj))

    def _bucket(self, at_us: int) -> int:
        return min(BUCKETS - 1, max(0, at_us * BUCKETS // self.end_us))

    def _add_energy(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        self._sums.add(entries)
        for entry in entries:
            parts = self.power_nj.setdefault(entry.cause, [0.0] * BUCKETS)
            first, last = self._bucket(entry.at_us), self._bucket(max(entry.at_us, entry.until_us - 1))
            if first == last:
                parts[first] += entry.nj
                continue
            each = entry.nj / (entry.until_us - entry.at_us)
            for part in range(first, last + 1):
                from_us = max(entry.at_us, self.end_us * part / BUCKETS)
                until_us = entry.until_us if part == last else self.end_us * (part + 1) / BUCKETS
                parts[part] += each * max(0.0, until_us - from_us)


NOTHING = -(1 << 62)
"""How late a frame is that has answered nothing."""


def _end_us(log: RunLog) -> int:
    """When the run was over, or how far it is known where it was interrupted; at least 1."""
    if log.end is not None:
        return max(1, log.end.end_us)
    return max(1, *log.releases_us) if log.releases_us else 1


def _kind(frame: FrameLine) -> int:
    """A number that frames share in which the same ran in the same places for the same pipelines."""
    told = blake2b(digest_size=8)
    for seen in frame.graphs:
        told.update(f"{seen.graph}\0{seen.outcome}\0".encode("utf-8", "replace"))
    for run in sorted(frame.stages, key=lambda run: run.stage):
        if run.outcome != "cancelled":
            told.update(f"{run.stage}\0{run.resource}\0{run.variant}\0{run.outcome}\0".encode("utf-8", "replace"))
    return int.from_bytes(told.digest(), "big")

"""What frames came to, counted as they end: latencies, energy by cause and graph, gates, how long processors ran.

Energy is that of the run's ledger (`frame.running_ledger`), idle tails and sleep too. Its entries become final as the
frames before them end, so the sums lag behind by the frames that are in flight.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from leo_runtime.errors import failure_text
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.running_ledger import RunningLedger
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.frame.lower import MergedWorkload
    from leo_runtime.frame.records import FrameResult

BUCKETS_US = (
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
)
"""Latencies are counted up to each of these, and beyond."""
MOST_MISSING = 256
"""So many frames may end before one that was taken before them; then that one is taken to be lost to the ledger."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of one graph's answers."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS_US) + 1)
    """How many took at most each of `BUCKETS_US`, those of the smaller ones included, and how many there are."""
    sum_us: int = 0


@dataclass(frozen=True, slots=True)
class Tallied:
    """All of it at one moment."""

    latencies: Mapping[str, Latencies]
    """By graph, of answers that are `done`."""
    answers: Mapping[str, int]
    """By graph, how often it has answered: `done`, or `cancelled` by a gate."""
    shed: Mapping[str, int]
    """By graph."""
    last_answer_us: Mapping[str, int]
    """By graph, when its last answer came, on the run's clock."""
    causes_nj: Mapping[str, int]
    """By cause (`frame.entries.Cause`)."""
    graphs_nj: Mapping[str, int]
    """By graph; "" is what belongs to none."""
    busy_us: Mapping[str, int]
    """By processor, all lanes added, and by radio."""
    gates: Mapping[tuple[str, bool], int]
    """By stage and whether it opened."""
    solve_us: int
    unmetered: int
    """Frames whose energy is in no sum."""

    @property
    def spent_nj(self) -> int:
        """All energy so far."""
        return sum(self.causes_nj.values())


class Tally:
    """Counts frames. `add` is for one thread at a time, `now` for any."""

    def __init__(self, hardware: Hardware) -> None:
        self._lock = threading.Lock()
        self._meter = _Meter(hardware)
        self._latencies: dict[str, list[int]] = {}
        self._sums_us: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._shed: Counter[str] = Counter()
        self._last_us: dict[str, int] = {}
        self._busy_us: Counter[str] = Counter()
        self._gates: Counter[tuple[str, bool]] = Counter()
        self._solve_us = 0

    def add(self, result: FrameResult, merged: MergedWorkload) -> None:
        """A frame has ended; `merged` is what the runtime runs now."""
        with self._lock:
            for one in result.graphs:
                if one.graph in result.shed:
                    self._shed[one.graph] += 1
                elif one.outcome != "failed":
                    self._answers[one.graph] += 1
                    self._last_us[one.graph] = max(one.end_us, self._last_us.get(one.graph, one.end_us))
                    if one.outcome == "done":
                        self._time(one.graph, one.latency_us)
            for run in result.stages:
                self._busy_us[run.resource] += run.end_us - run.start_us
                if run.opened is not None:
                    self._gates[result.jobs[run.stage].stage, run.opened] += 1
            for send in result.transfers:
                if send.resource is not None:
                    self._busy_us[send.resource] += max(0, send.sent_us - send.start_us)
            for load in result.loads:
                self._busy_us[load.resource] += load.loaded_us - load.start_us
            self._solve_us += result.placement.solve_us
            self._meter.add(result, merged)

    def _time(self, graph: str, latency_us: int) -> None:
        counts = self._latencies.setdefault(graph, [0] * (len(BUCKETS_US) + 1))
        counts[sum(latency_us > most_us for most_us in BUCKETS_US)] += 1
        self._sums_us[graph] += max(0, latency_us)

    def now(self) -> Tallied:
        """All of it at this moment. From any thread."""
        with self._lock:
            return Tallied(
                {name: Latencies(tuple(accumulate(one)), self._sums_us[name]) for name, one in self._latencies.items()},
                dict(self._answers),
                dict(self._shed),
                dict(self._last_us),
                dict(self._meter.causes_nj),
                dict(self._meter.graphs_nj),
                dict(self._busy_us),
                dict(self._gates),
                self._solve_us,
                self._meter.unmetered,
            )


class _Meter:
    """Sums the ledger of a run whose frames have numbers from 0 on, in the order of their releases."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._ledger: RunningLedger | None = None
        self._merged: MergedWorkload | None = None
        self._first: list[FrameResult] = []
        """Those that are not in the ledger yet: when that begins is known with the first that was taken."""
        self._next = 0
        """The first number of which no result has come."""
        self._ended: dict[int, int] = {}
        """Releases of frames that have ended, from there on, by number."""
        self._settled_us = 0
        self.unmetered = 0
        self.causes_nj: Counter[str] = Counter()
        self.graphs_nj: Counter[str] = Counter()

    def add(self, result: FrameResult, merged: MergedWorkload) -> None:
        """A frame has ended. Whatever goes wrong here costs no more than its energy."""
        try:
            self._add(result, merged)
        except Exception as error:  # A mistake of ours must not end the answers, which come on the same thread.
            self.unmetered += max(1, len(self._first))
            self._ledger, self._first = None, []
            self._next, self._ended = result.frame + 1, {}
            log.exception("the energy of a frame could not be told: %s", failure_text(error))

    def _add(self, result: FrameResult, merged: MergedWorkload) -> None:
        if result.frame < self._next:  # It was given up as lost.
            self.unmetered += 1
            return
        self._ended[result.frame] = result.release_us
        missing = self._next
        if len(self._ended) > MOST_MISSING:
            self._next = min(self._ended)
        while self._next in self._ended:
            self._settled_us = self._ended.pop(self._next)
            self._next += 1
        self._first.append(result)
        if self._ledger is None:
            if self._next == missing:
                return
            begin_us = min(one.release_us for one in self._first)
            self._ledger, self._merged = RunningLedger(self._hardware, {}, begin_us=begin_us), None
        if merged is not self._merged:
            self._merged = merged
            self._ledger.change({stage.name: stage.graphs for stage in merged.stages})
        told, self._first = self._first, []
        for one in told:
            self._count(self._ledger.add(one))
        self._count(self._ledger.settle(self._settled_us))

    def _count(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self.causes_nj[entry.cause] += entry.nj
            for graph, nj in entry.shares():
                self.graphs_nj[graph] += nj

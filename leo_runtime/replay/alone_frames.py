"""What frames come to that had the machine to themselves, counted from the times of their work alone.

Frames of one plan differ in how long their runs last, and in nothing else: whom these are charged to, and where they
are counted, is looked up once a plan. `Results`, `RunningLedger` and `RunningSummary` make the same of such a frame.
"""

from __future__ import annotations

from collections.abc import Mapping

from leo_runtime.dispatch.alone import AloneTimes
from leo_runtime.frame.energy_sums import Key
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import WakeObservation
from leo_runtime.frame.running_ledger import RunningLedger
from leo_runtime.frame.standby import StandbyMeter
from leo_runtime.frozen import dataclass
from leo_runtime.replay.summary import RunningPipeline, RunningSummary
from leo_runtime.runtime.results import Cost, energy_nj
from leo_runtime.runtime.straight import StraightPlan

SETTLED_EACH = 64
"""After so many frames what they are charged for staying awake is counted: nobody waits for it."""

_Sums = list[int]
"""Of entries: their energy, and how many leave 1, 2, ... nJ over when they are split."""


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Where the frames of one plan are counted."""

    plan: StraightPlan
    runs: tuple[tuple[int, list[int], Cost, _Sums], ...]
    """Of each run its place among all pieces of work, its processor's use, what it costs by the profile, its sums."""
    sends: tuple[tuple[int, list[int], int, _Sums], ...]
    """Of each transfer the same, but what it costs."""
    kept: tuple[tuple[StandbyMeter, int, tuple[str, ...]], ...]
    """Of each resource that the plan keeps awake its meter, its place among all, and who asked for what uses it."""
    users: Mapping[str, tuple[str, ...]]
    """Who asked for what is on each of them."""
    graphs: tuple[tuple[RunningPipeline, tuple[int, ...], int], ...]
    """Of each graph where it is counted, the pieces of work that give its answer, and its deadline."""


class AloneFrames:
    """Counts them into a summary and a ledger."""

    def __init__(self, summary: RunningSummary, ledger: RunningLedger) -> None:
        """There was none yet."""
        self._summary = summary
        self._ledger = ledger
        self._known: dict[int, _Counted] = {}
        """By the identity of a plan, which is kept for that."""
        self._sums: dict[Key, _Sums] = {}
        self._entries: list[Entry] = []
        """Charged, and not counted yet."""
        self._unsettled = 0

    def add(self, frame: int, release_us: int, plan: StraightPlan, times: AloneTimes) -> None:
        """Count a frame of that plan, of which everything happened then."""
        counted = self._known.get(id(plan))
        if counted is None:
            counted = self._known[id(plan)] = self._counted(plan)
        self._summary.alone(plan.placement.solve_us)
        lasts_us, ends_us, used_until_us = times.lasts_us, times.ends_us, times.used_until_us
        for at, use, cost, sums in counted.runs:
            lasted_us = lasts_us[at]
            use[0] += 1
            use[1] += lasted_us
            _add(sums, energy_nj(cost, lasted_us))
        for at, use, nj, sums in counted.sends:
            use[0] += 1
            use[1] += lasts_us[at]
            _add(sums, nj)
        for pipeline, outputs, deadline_us in counted.graphs:
            latency_us = max([ends_us[at] for at in outputs]) - release_us
            pipeline.answered(latency_us, latency_us > deadline_us)
        entries = self._entries
        for resource, at_us in times.woken:
            self._summary.woken(resource)
            entries += self._ledger.wake(WakeObservation(frame, resource, at_us), counted.users[resource])
        for meter, used, graphs in counted.kept:
            meter.keep_alone(frame, release_us, used_until_us[used], graphs, entries)
        self._unsettled += 1
        if self._unsettled >= SETTLED_EACH:
            self._settle(release_us)

    def end(self) -> None:
        """All have been told of."""
        self._summary.energy(self._entries)
        self._entries.clear()
        self._summary.energy_sums(self._sums)
        self._sums.clear()
        self._known.clear()

    def _settle(self, release_us: int) -> None:
        """Count what was charged since, also to what no frame uses."""
        self._unsettled = 0
        self._entries += self._ledger.settle(release_us)
        self._summary.energy(self._entries)
        self._entries.clear()

    def _counted(self, plan: StraightPlan) -> _Counted:
        summary, alone, placement = self._summary, plan.alone, plan.placement
        of, users = self._ledger.users(tuple([graph.name for graph in plan.graphs]), placement, plan.jobs)
        places = {resource: used for used, (resource, _) in enumerate(alone.uses)}
        runs = [
            (at, summary.use(resource), cost, self._sums_of(("run", resource, of.get(name, ()))))
            for (at, name, resource, _), cost in zip(alone.runs, plan.costs, strict=True)
        ]
        sends = []
        for send in alone.sends:
            where = send.link.resource or f"{send.link.source} -> {send.link.target}"
            sums = self._sums_of(("transfer", where, of.get(send.stage, ())))
            sends.append((send.at, summary.use(where), send.nj, sums))
        kept = [(self._ledger.meter(resource), places[resource], graphs) for resource, graphs in users.items()]
        graphs = [(summary.pipeline(graph.name), graph.outputs, graph.deadline_us) for graph in plan.graphs]
        return _Counted(plan, tuple(runs), tuple(sends), tuple(kept), users, tuple(graphs))

    def _sums_of(self, key: Key) -> _Sums:
        return self._sums.setdefault(key, [0] * max(1, len(key[2])))


def _add(sums: _Sums, nj: int) -> None:
    sums[0] += nj
    if len(sums) > 1 and (rest := nj % len(sums)):
        sums[rest] += 1

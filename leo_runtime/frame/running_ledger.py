"""The ledger of a run, told as the run goes on: each entry as soon as nothing can change it any more."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from functools import lru_cache

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem, stays
from leo_runtime.documents.problem import Placement
from leo_runtime.frame.batch import Job
from leo_runtime.frame.entries import Cause, Entry, all_graphs
from leo_runtime.frame.records import FrameResult, Solved, WakeObservation
from leo_runtime.frame.standby import FOREVER_US, LONGEST_IDLE_US, Kept, Standby, StandbyMeter
from leo_runtime.frozen import dataclass

Graphs = Mapping[str, tuple[str, ...]]
"""Of each stage of a frame, the graphs that asked for it."""

UsedBy = dict[str, dict[tuple[str, ...], None]]
"""By resource: of everything in a frame that uses it the graphs that asked for it, each once, in order."""

MOST_KINDS = 256
"""Of how many kinds of frames, and of how many plans, it is kept which graphs asked for what."""


def standbys(hardware: Hardware) -> dict[str, Standby]:
    """What each processor, store and radio draws when it does nothing."""
    processors = {
        p.name: Standby(p.awake_mw, p.asleep_mw, p.wake_energy_nj, p.idle_timeout_us, p.awake_mw, "idle tail")
        for p in hardware.idling
    }
    radios = {
        r.name: Standby(r.awake_mw, 0, r.wake_energy_nj, r.tail_us, r.tail_mw, "radio tail") for r in hardware.radios
    }
    return processors | radios


def linger_us(hardware: Hardware) -> dict[str, int | None]:
    """How long each processor, store and radio stays awake after its last use; None: it never sleeps."""
    return {name: power.linger_us for name, power in standbys(hardware).items()}


class RunningLedger:
    """Takes frames as they end, and gives entries as they become final; over the run exactly those of `run_ledger`.

    Only what is asleep or idle for very long is given in pieces instead, which are charged alike. Its memory is that of
    the frames that are in flight at one time.
    """

    def __init__(
        self, hardware: Hardware, graphs: Mapping[str, Sequence[str]], *, begin_us: int = 0, solver: str | None = None
    ) -> None:
        """`graphs` that ask for each stage of the workload. `solver`: the processor that placing is charged to."""
        self._meters = {name: StandbyMeter(name, standby, begin_us) for name, standby in standbys(hardware).items()}
        self._radios = {(link.source, link.target): link.radio for link in hardware.links}
        self._every_meter = tuple(self._meters.values())
        self._owners = _Owners(graphs, self._radios)
        self._solver = solver
        self._solver_mw = 0 if solver is None else hardware.processor(solver).active_mw
        self._admitted: list[tuple[int, int]] = []
        """When frames were admitted, and their numbers, as far as that may still end a hold."""
        self._holds: list[_Hold] = []
        """Those of which it is not known yet when they ended."""
        self._settled_us = begin_us

    def change(self, graphs: Mapping[str, Sequence[str]]) -> None:
        """Another workload has taken over: these graphs ask for its stages."""
        self._owners.change(graphs)

    @property
    def settled_us(self) -> int:
        """No entry that is given later begins before."""
        return min(self._settled_us, *[meter.now_us for meter in self._every_meter])

    def add(self, frame: FrameResult) -> list[Entry]:
        """A frame has ended: what ran, was sent and woken for it. `settle` gives what else it cost."""
        triggered = frame.let_in
        of = self._owners.of(triggered, frame.jobs)
        used_by = self._owners.planned(frame, of) if frame.spans is None else {}
        entries, until_us = observed(frame, of, used_by)
        if frame.placement.stages:
            insort(self._admitted, (admitted_us(frame), frame.frame))
        if frame.spans is not None:
            kept = self._kept_in_spans(frame, used_by)
        else:
            for radio, at_us in _given_up_us(frame, self._radios).items():
                until_us[radio] = max(at_us, until_us.get(radio, 0))
            kept = _kept_alone(frame, used_by, until_us)
        users: dict[str, tuple[str, ...]] = {}
        for resource, one in kept:
            self._meters[resource].keep(one)
            users[resource] = one.graphs
        for wake in frame.wakes:
            entries += self.wake(wake, users.get(wake.resource, ()))
        if self._solver is not None and frame.placement.solve_us:
            at_us, solve_us = frame.release_us, frame.placement.solve_us
            nj = solve_us * self._solver_mw
            if nj:
                entries.append(Entry(at_us, at_us + solve_us, nj, "solver", self._solver, frame.frame, "", triggered))
        return entries

    def users(
        self, triggered: tuple[str, ...], placement: Placement, jobs: Mapping[str, Job]
    ) -> tuple[Graphs, dict[str, tuple[str, ...]]]:
        """Of each run of a frame of these graphs that goes by that plan, and of each resource, who asked for it."""
        of = self._owners.of(triggered, jobs)
        used_by = _planned_users(placement, None, of, self._radios)
        return of, {resource: _united(tuple(users)) for resource, users in used_by.items()}

    def meter(self, resource: str) -> StandbyMeter:
        """What a resource is charged by: for who says of frames alone what they keep awake, and counts all else."""
        return self._meters[resource]

    def wake(self, wake: WakeObservation, graphs: tuple[str, ...]) -> list[Entry]:
        """What a frame keeps awake that had the machine to itself was woken for these."""
        entry = self._meters[wake.resource].wake(wake, graphs)
        return [entry] if entry.nj else []

    def settle(self, settled_us: int) -> list[Entry]:
        """Nothing of frames that end later begins before that time, which never goes back: what is final by that."""
        entries: list[Entry] = []
        self._settled_us = settled_us
        if self._holds:
            self._holds = [hold for hold in self._holds if not hold.is_over(self._admitted, settled_us)]
        del self._admitted[: bisect_left(self._admitted, (settled_us, 0))]
        for meter in self._every_meter:
            # Most have nothing to charge: they are not even asked.
            if meter.has_kept or settled_us - meter.now_us > LONGEST_IDLE_US:
                meter.settle(settled_us, entries)
        return entries

    def end(self, end_us: int) -> tuple[list[Entry], int]:
        """All frames have ended: all that is left, and when the run ends.

        That is when nothing is awake any more that will go to sleep, but not before `end_us`, before which all is
        settled that is.
        """
        entries = self.settle(FOREVER_US)
        last_us = max([end_us, *(meter.lasts_us for meter in self._meters.values())])
        for meter in self._meters.values():
            meter.end(last_us, entries)
        return entries, last_us

    def _kept_in_spans(self, frame: FrameResult, used_by: UsedBy) -> list[tuple[str, Kept]]:
        kept = kept_in_spans(frame, used_by)
        for span, (_, one) in zip(frame.spans or (), kept, strict=True):
            if span.held_until_us is not None:
                # A frame that was admitted ends the holds of those before, not its own.
                after = max((span.until_us, 0), (admitted_us(frame), frame.frame + 1))
                self._holds.append(_Hold(one, span.held_until_us, after))
                one.until_us = None
        return kept


@dataclass(frozen=True, slots=True)
class _Hold:
    """What is held until then, or until the first frame that is admitted `after`, a time and a number."""

    kept: Kept
    until_us: int
    after: tuple[int, int]

    def is_over(self, admitted: Sequence[tuple[int, int]], settled_us: int) -> bool:
        """Whether it is known when it ended, which is then said to what it keeps awake."""
        at = bisect_left(admitted, self.after)
        until_us = self.until_us if at == len(admitted) else min(self.until_us, admitted[at][0])
        if until_us > settled_us:
            return False  # A frame that has not ended may have been admitted before.
        self.kept.until_us = until_us
        return True


class _Owners:
    """Which graphs asked for each run, of frames of the last kinds: most are like those before them."""

    def __init__(self, graphs: Mapping[str, Sequence[str]], radios: Mapping[tuple[str, str], str | None]) -> None:
        self._graphs = {stage: tuple(names) for stage, names in graphs.items()}
        self._radios = radios
        self._known: dict[tuple[tuple[str, ...], int], tuple[Mapping[str, Job], Graphs]] = {}
        """By the graphs of a frame and the identity of its jobs, which are kept for that."""
        self._planned: dict[tuple[int, int, int], tuple[Placement, Solved | None, Graphs, UsedBy]] = {}
        """By the identities of a plan's placement, of what was solved, and of the owners, which are kept for that."""

    def change(self, graphs: Mapping[str, Sequence[str]]) -> None:
        """Stages of these names are asked for by these; others, of frames that have not ended, stay what they are."""
        self._graphs |= {stage: tuple(names) for stage, names in graphs.items()}
        self._known.clear()
        self._planned.clear()

    def of(self, triggered: tuple[str, ...], jobs: Mapping[str, Job]) -> Graphs:
        """Of each run of a frame of these graphs and jobs."""
        known = self._known.get((triggered, id(jobs)))
        if known is not None:
            return known[1]
        of = {stage: tuple([g for g in triggered if g in names]) for stage, names in self._graphs.items()}
        of |= {name: of.get(job.stage, ()) for name, job in jobs.items()}
        if len(self._known) >= MOST_KINDS:
            self._known.clear()
        self._known[triggered, id(jobs)] = (jobs, of)
        return of

    def planned(self, frame: FrameResult, of: Graphs) -> UsedBy:
        """Who uses what by a frame's plan, of which `of` are the owners: the caller's own, to be added to."""
        placement, solved = frame.placement, frame.solved
        key = id(placement), id(solved), id(of)
        known = self._planned.get(key)
        if known is None:
            if len(self._planned) >= MOST_KINDS:
                self._planned.clear()
            known = placement, solved, of, _planned_users(placement, solved, of, self._radios)
            self._planned[key] = known
        return {resource: users.copy() for resource, users in known[3].items()}


def admitted_us(frame: FrameResult) -> int:
    """When a frame began."""
    return frame.release_us if frame.admitted_us is None else frame.admitted_us


def observed(frame: FrameResult, of: Graphs, used_by: UsedBy) -> tuple[list[Entry], dict[str, int]]:
    """What ran, was sent and loaded in a frame, and until when each resource was used by that.

    `of`: the graphs of each stage. `used_by` is told who used it.
    """
    entries: list[Entry] = []
    until_us: dict[str, int] = {}
    number = frame.frame
    for run in frame.stages:
        stage, resource, end_us = run.stage, run.resource, run.end_us
        owners = of.get(stage, ())
        users = used_by.get(resource)
        if users is None:
            users = used_by[resource] = {}
        users[owners] = None
        if end_us > until_us.get(resource, 0):
            until_us[resource] = end_us
        if nj := run.nj:
            cause: Cause = "failed run" if run.outcome == "failed" else "run"
            # As Entry(...) does, in two thirds of the time: there is one for each stage that runs.
            values = (run.start_us, end_us, nj, cause, resource, number, stage, owners)
            entries.append(tuple.__new__(Entry, values))
    for send in frame.transfers:
        where, owners = send.resource, of.get(send.stage, ())
        if where is None:
            where = f"{send.source} -> {send.target}"
        else:
            used_by.setdefault(where, {})[owners] = None
            until_us[where] = max(send.sent_us, until_us.get(where, 0))
        if send.nj:
            over_us = max(send.start_us, send.sent_us)
            entries.append(Entry(send.start_us, over_us, send.nj, "transfer", where, number, send.stage, owners))
    for load in frame.loads:
        where, owners = load.resource, all_graphs(of.get(stage, ()) for stage in load.stages)
        used_by.setdefault(where, {})[owners] = None
        until_us[where] = max(load.loaded_us, until_us.get(where, 0))
        if load.nj:
            entries.append(Entry(load.start_us, load.loaded_us, load.nj, "load", where, number, load.label, owners))
    return entries, until_us


def kept_in_spans(frame: FrameResult, used_by: UsedBy) -> list[tuple[str, Kept]]:
    """From when to when each resource was awake for a frame of a window, for each span; what is held, to its end."""
    number, release_us = frame.frame, frame.release_us
    kept = []
    for span in frame.spans or ():
        until_us = span.until_us if span.held_until_us is None else span.held_until_us
        users = _united(tuple(used_by.get(span.resource, ())))
        one = Kept(number, release_us, span.from_us, until_us, span.used_us, users, is_span=True)
        kept.append((span.resource, one))
    return kept


@lru_cache(maxsize=512)
def _united(parts: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Graphs of several things, each once: the same for frame after frame."""
    return all_graphs(parts)


def _given_up_us(frame: FrameResult, radios: Mapping[tuple[str, str], str | None]) -> dict[str, int]:
    """When what was planned on each radio, and was not sent, was given up: its radio was awake for it until then.

    That is when the last of those that were to read it, or its stage itself, was cancelled or had failed.
    """
    sent = {(send.stage, send.source, send.target) for send in frame.transfers}
    given_up_us: dict[str, int] = {}
    for planned in frame.placement.transfers:
        radio = radios.get((planned.source, planned.target))
        if radio is None or frame.solved is None or (planned.stage, planned.source, planned.target) in sent:
            continue
        readers = {stage.name for stage in frame.solved.question.stages if planned.stage in stage.inputs}
        for seen in frame.stages:
            reads = seen.stage in readers and seen.resource == planned.target
            if seen.outcome != "done" and (reads or seen.stage == planned.stage):
                given_up_us[radio] = max(seen.end_us, given_up_us.get(radio, 0))
    return given_up_us


def _kept_alone(frame: FrameResult, used_by: UsedBy, until_us: Mapping[str, int]) -> list[tuple[str, Kept]]:
    """From when to when each resource is awake for a frame that was planned as if it were alone, one by resource."""
    number, release_us = frame.frame, frame.release_us
    kept = []
    for name, parts in used_by.items():
        over_us = max(release_us, until_us.get(name, release_us))
        kept.append((name, Kept(number, release_us, release_us, over_us, over_us, _united(tuple(parts)))))
    return kept


def _planned_users(
    placement: Placement, solved: Solved | None, of: Graphs, radios: Mapping[tuple[str, str], str | None]
) -> UsedBy:
    """Whom a plan has use what: what is planned on a resource keeps it awake, whatever becomes of it."""
    used_by: UsedBy = {}
    for run in placement.stages:
        used_by.setdefault(run.resource, {})[of.get(run.stage, ())] = None
    for planned in placement.transfers:
        if (name := radios.get((planned.source, planned.target))) is not None:
            used_by.setdefault(name, {})[of.get(planned.stage, ())] = None
    if solved is not None and isinstance(solved.question, MemoryProblem) and isinstance(solved.answer, MemoryPlacement):
        stores = {loader.target: loader.resource for loader in solved.question.loaders}
        for stay in stays(solved.question, solved.answer.stages, solved.answer.loads):
            if stay.load is not None:
                owners = all_graphs(of.get(stage, ()) for stage in stay.stages)
                used_by.setdefault(stores[stay.target], {})[owners] = None
    return used_by

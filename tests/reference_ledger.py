"""What `run_ledger` says, written down plainly: all frames at hand, and everything that happens sorted by time.

`leo_runtime.frame.running_ledger` has to say the same of frames that it sees once, in the order in which they end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from leo_runtime.documents.hardware import Hardware
from leo_runtime.frame.entries import Cause, Entry, Ledger, in_order
from leo_runtime.frame.records import FrameResult, WakeObservation
from leo_runtime.frame.standby import Standby


def reference_ledger(
    results: Iterable[FrameResult],
    hardware: Hardware,
    graphs: Mapping[str, Sequence[str]] | None = None,
    *,
    begin_us: int = 0,
    end_us: int = 0,
    solver: str | None = None,
) -> Ledger:
    """What frames really cost. `graphs`: the workload, or the graphs that ask for each of its stages.

    Without these nothing is any graph's. The run lasts from `begin_us` to `end_us`, or to the last moment anything is
    awake if that is later. `solver` names the processor that the solver runs on: each placement's `solve_us` is then
    charged at that processor's `active_mw`.
    Raises `InputError` for a processor that the hardware has not, and for what are no frames or no times.
    """
    entries: list[Entry] = []
    kept: dict[str, list[Kept]] = {}
    wakes: dict[str, list[WakeObservation]] = {}
    radios = {(link.source, link.target): link.radio for link in hardware.links}
    results = sorted(results, key=lambda result: (result.release_us, result.frame))
    # A frame that was admitted ends the holds of those before, not its own.
    admitted = sorted((_admitted_us(result), result.frame) for result in results if result.placement.stages)
    for result in results:
        out = {*result.shed, *result.unplaced}
        triggered = [name for name in dict.fromkeys(graph.graph for graph in result.graphs) if name not in out]
        of = {stage: tuple(g for g in triggered if g in names) for stage, names in (graphs or {}).items()}
        of |= {name: of.get(job.stage, ()) for name, job in result.jobs.items()}
        entries += observed_entries(result, of)
        if result.spans is None:
            for resource, one in _kept(result, of, radios).items():
                kept.setdefault(resource, []).append(one)
        else:
            for resource, spans in kept_in_spans(result, of, admitted).items():
                kept.setdefault(resource, []).extend(spans)
        for wake in result.wakes:
            wakes.setdefault(wake.resource, []).append(wake)
        if solver is not None and result.placement.solve_us:
            solve_us, at_us = result.placement.solve_us, result.release_us
            nj = solve_us * hardware.processor(solver).active_mw
            entries.append(Entry(at_us, at_us + solve_us, nj, "solver", solver, result.frame, "", tuple(triggered)))
    powers = _powers(hardware)
    last_us = max([end_us, *(one.lingers_until_us(powers[name]) for name, of_one in kept.items() for one in of_one)])
    for name, power in powers.items():
        begun = sorted(kept.get(name, []), key=lambda one: one.from_us)
        entries += _standby_entries(name, power, begun, wakes.get(name, []), begin_us, last_us)
    return in_order(entries)


@dataclass(slots=True)
class Kept:
    """A frame keeps a resource awake from `from_us`, if it is or gets awake, until `until_us`."""

    frame: int
    from_us: int
    until_us: int
    used_us: int
    """When its last use ended: lingering counts from there."""
    graphs: list[str] = field(default_factory=list)
    is_span: bool = False
    """It is known to be awake; otherwise it may have to be woken first."""

    def lingers_until_us(self, standby: Standby) -> int:
        """Until when it is awake, if nothing else uses it."""
        return max(self.until_us, self.used_us + (standby.linger_us or 0))


def _standby_entries(
    name: str,
    standby: Standby,
    kept: Sequence[Kept],
    wakes: Sequence[WakeObservation],
    now_us: int,
    last_us: int,
    *,
    awake_until_us: int | None = None,
) -> Iterator[Entry]:
    """Waking up, staying awake, idling and sleeping of one resource: every moment from `now_us` to `last_us` once.

    `kept` are in the order in which they begin; where they overlap, a moment belongs to the first. `awake_until_us`:
    until when it is awake at the start if nothing uses it; None: it sleeps.
    """
    awake_us = now_us if awake_until_us is None else awake_until_us
    awake_us = last_us if standby.linger_us is None else awake_us
    before: tuple[int | None, tuple[str, ...]] = (None, ())
    users: dict[int, tuple[str, ...]] = {}
    for one in kept:
        users[one.frame] = tuple(dict.fromkeys((*users.get(one.frame, ()), *one.graphs)))
    for wake in wakes:
        nj, shared = standby.wake_energy_nj, users.get(wake.frame, ())
        yield Entry(wake.at_us, wake.at_us, nj, "wake-up", name, wake.frame, "", shared)

    def idle(until_us: int) -> Iterator[Entry]:
        """From `now_us` to `until_us` without a frame: awake for a while, then asleep."""
        tail_us = min(max(awake_us, now_us), until_us)
        tail_nj = standby.linger_mw * (tail_us - now_us)
        yield Entry(now_us, tail_us, tail_nj, standby.tail, name, before[0], "", before[1])
        yield Entry(tail_us, until_us, standby.asleep_mw * (until_us - tail_us), "asleep", name)

    for one in kept:
        from_us: int | None = one.from_us
        if not one.is_span and standby.linger_us is not None and one.from_us >= awake_us:
            # It sleeps: nothing to keep awake before somebody wakes it.
            from_us = min((wake.at_us for wake in wakes if wake.at_us >= one.from_us), default=None)
        if from_us is None or from_us > one.until_us:
            continue
        if from_us > now_us:
            yield from idle(from_us)
            now_us = from_us
        if one.until_us > now_us:
            used_nj = standby.awake_mw * (one.until_us - now_us)
            yield Entry(now_us, one.until_us, used_nj, "awake", name, one.frame, "", users[one.frame])
            now_us = one.until_us
        if standby.linger_us is not None:
            awake_us = max(awake_us, one.lingers_until_us(standby))
        before = (one.frame, users[one.frame])
    yield from idle(max(now_us, last_us))


def observed_entries(result: FrameResult, of: Mapping[str, tuple[str, ...]]) -> Iterator[Entry]:
    """What ran and was sent in a frame. `of`: the graphs of each stage."""
    for run in result.stages:
        if run.nj:
            cause: Cause = "failed run" if run.outcome == "failed" else "run"
            shared = of.get(run.stage, ())
            yield Entry(run.start_us, run.end_us, run.nj, cause, run.resource, run.frame, run.stage, shared)
    for send in result.transfers:
        where = send.resource or f"{send.source} -> {send.target}"
        until_us, shared = max(send.start_us, send.sent_us), of.get(send.stage, ())
        yield Entry(send.start_us, until_us, send.nj, "transfer", where, send.frame, send.stage, shared)


def kept_in_spans(
    result: FrameResult, of: Mapping[str, tuple[str, ...]], admitted: Sequence[tuple[int, int]]
) -> dict[str, list[Kept]]:
    """From when to when each resource was awake for a frame of a window, by resource: its spans and holds.

    `admitted` are the times at which frames were admitted with their numbers, in order: each ends the holds of those
    before it.
    """
    graphs: dict[str, list[str]] = {}
    for seen in result.stages:
        graphs.setdefault(seen.resource, []).extend(of.get(seen.stage, ()))
    for send in result.transfers:
        if send.resource is not None:
            graphs.setdefault(send.resource, []).extend(of.get(send.stage, ()))
    kept: dict[str, list[Kept]] = {}
    for span in result.spans or ():
        until_us = span.until_us
        if span.held_until_us is not None:
            after = max(
                bisect_left(admitted, (span.until_us, 0)), bisect_right(admitted, (_admitted_us(result), result.frame))
            )
            until_us = min([span.held_until_us, *(at_us for at_us, _ in admitted[after : after + 1])])
        users = list(dict.fromkeys(graphs.get(span.resource, ())))
        one = Kept(result.frame, span.from_us, until_us, span.used_us, users, is_span=True)
        kept.setdefault(span.resource, []).append(one)
    return kept


def _admitted_us(result: FrameResult) -> int:
    return result.release_us if result.admitted_us is None else result.admitted_us


def _kept(
    result: FrameResult, of: Mapping[str, tuple[str, ...]], radios: Mapping[tuple[str, str], str | None]
) -> dict[str, Kept]:
    """From when to when each resource is awake for a frame, by resource."""
    kept: dict[str, Kept] = {}

    def keep(resource: str, until_us: int, stage: str) -> None:
        known = kept.setdefault(resource, Kept(result.frame, result.release_us, until_us, until_us))
        known.until_us = known.used_us = max(known.until_us, until_us)
        known.graphs += [graph for graph in of.get(stage, ()) if graph not in known.graphs]

    for run in result.placement.stages:
        keep(run.resource, result.release_us, run.stage)
    for planned in result.placement.transfers:
        if (name := radios.get((planned.source, planned.target))) is not None:
            keep(name, result.release_us, planned.stage)
    for seen in result.stages:
        keep(seen.resource, seen.end_us, seen.stage)
    # What was planned to be sent, and was not, kept its radio awake until nobody waited for it any more.
    sent = {(send.stage, send.source, send.target) for send in result.transfers}
    for planned in result.placement.transfers:
        name = radios.get((planned.source, planned.target))
        if name is None or result.solved is None or (planned.stage, planned.source, planned.target) in sent:
            continue
        readers = [stage.name for stage in result.solved.question.stages if planned.stage in stage.inputs]
        for seen in result.stages:
            reads = seen.stage in readers and seen.resource == planned.target
            if seen.outcome != "done" and (reads or seen.stage == planned.stage):
                keep(name, seen.end_us, planned.stage)
    for send in result.transfers:
        if send.resource is not None:
            keep(send.resource, send.sent_us, send.stage)
    return kept


def _powers(hardware: Hardware) -> dict[str, Standby]:
    processors = {
        p.name: Standby(p.awake_mw, p.asleep_mw, p.wake_energy_nj, p.idle_timeout_us, p.awake_mw, "idle tail")
        for p in hardware.processors
    }
    radios = {
        r.name: Standby(r.awake_mw, 0, r.wake_energy_nj, r.tail_us, r.tail_mw, "radio tail") for r in hardware.radios
    }
    return processors | radios

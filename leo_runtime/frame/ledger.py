"""Every nanojoule with its cause: of a placement as expected, and of frames as they went. The total is their sum.

**Of a placement**: what its rules charge (`docs/placement-problem.md`, rules 2, 4 and 6); the total is exactly the
placement's `energy`.

**Of a run**: stages, transfers and wake-ups cost what was observed; a run that failed, or was given up, is a cause of
its own, since nothing came of it. A processor or radio that a frame's plan uses is
kept awake from the frame's release, or from when it was woken, until the last thing of that frame on it has ended (or
was given up); it then stays awake for its idle timeout, a radio for its tail, and goes to sleep unless another frame
came first. Where frames overlap, a moment belongs to the frame that was released first: it is charged once. What never
sleeps is awake, and idle, from the start of the run to its end, and what sleeps draws its `asleep_mw` meanwhile. Since
a plan has its processors awake from the start of the frame, and they are woken just in time, a frame that goes as
planned costs at most what was expected, besides idling and sleep.

**By graph**: a stage that several graphs share is split evenly among those triggered in its frame (what does not
divide goes to the first ones). Staying awake and waking up are split among the graphs that used the resource in that
frame, idling and tails among those of the frame before. Idling before any frame, and sleep, belong to no graph: "".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import InputError
from leo_runtime.frame.records import FrameResult, WakeObservation
from leo_runtime.judge import check
from leo_runtime.values import whole

Cause = Literal["run", "failed run", "transfer", "wake-up", "awake", "idle tail", "radio tail", "asleep", "solver"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Some energy, and why it was used. `frame` and `stage` are None and "" where it belongs to none."""

    at_us: int
    nj: int
    cause: Cause
    resource: str
    frame: int | None = None
    stage: str = ""
    graphs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """All entries, in the order of time."""

    entries: tuple[Entry, ...]

    @property
    def total_nj(self) -> int:
        """The sum of all entries."""
        return sum(entry.nj for entry in self.entries)

    def by_cause(self) -> dict[str, int]:
        """Nanojoules of each cause, the greatest first."""
        return _sums((entry.cause, entry.nj) for entry in self.entries)

    def by_resource(self) -> dict[str, int]:
        """Nanojoules of each processor and radio, and of links that name neither ("a -> b"), the greatest first."""
        return _sums((entry.resource, entry.nj) for entry in self.entries)

    def by_graph(self) -> dict[str, int]:
        """Nanojoules of each graph, the greatest first; "" is what belongs to none."""
        return _sums(share for entry in self.entries for share in _shares(entry))


def ledger(problem: Problem, placement: Placement, graphs: Mapping[str, Sequence[str]] | None = None) -> Ledger:
    """What a placement is expected to cost. `graphs` of each stage; without, nothing belongs to a graph.

    Raises `InputError` where the placement breaks a rule of the problem.
    """
    if broken := check(problem, placement).violations:
        raise InputError(
            f"`{problem.name}`: the placement breaks a rule ({broken[0]})",
            hint="`leo_runtime.check(problem, placement)` names every broken rule",
        )
    modes = {(s.name, m.resource, m.variant): m for s in problem.stages for m in s.modes}
    links = {(link.source, link.target): link for link in problem.links}
    of = {stage: tuple(names) for stage, names in (graphs or {}).items()}
    runs = {run.stage: modes[run.stage, run.resource, run.variant] for run in placement.stages}
    entries: list[Entry] = []
    uses: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for run in placement.stages:
        shared = of.get(run.stage, ())
        entries.append(Entry(run.start_us, runs[run.stage].energy_nj, "run", run.resource, 0, run.stage, shared))
        uses.setdefault(run.resource, []).append((run.end_us, shared))
    for send in placement.transfers:
        link, shared, size = links[send.source, send.target], of.get(send.stage, ()), runs[send.stage].output_bytes
        where = link.resource or f"{send.source} -> {send.target}"
        entries.append(Entry(send.start_us, link.sending_nj(size), "transfer", where, 0, send.stage, shared))
        if link.resource is not None:
            uses.setdefault(link.resource, []).append((send.start_us + link.sending_us(size), shared))
    for resource in problem.resources:
        if resource.name not in uses:
            continue
        users = _all_graphs(shared for _, shared in uses[resource.name])
        last_us = max(end_us for end_us, _ in uses[resource.name])
        if not resource.awake:
            entries.append(Entry(0, resource.wake_energy_nj, "wake-up", resource.name, 0, "", users))
        entries.append(Entry(0, resource.awake_mw * last_us, "awake", resource.name, 0, "", users))
    return _ledger(entries)


@dataclass(frozen=True, slots=True)
class _Power:
    """What a processor or radio draws when it does nothing."""

    awake_mw: int
    asleep_mw: int
    wake_energy_nj: int
    linger_us: int | None
    """How long it stays awake after its last use; None: it never sleeps."""
    linger_mw: int
    tail: Cause


@dataclass(slots=True)
class _Hold:
    """A frame that is released at `from_us` keeps a resource awake, if it is or gets awake, until `until_us`."""

    frame: int
    from_us: int
    until_us: int
    graphs: list[str] = field(default_factory=list)


def linger_us(hardware: Hardware) -> dict[str, int | None]:
    """How long each processor and radio stays awake after its last use; None: it never sleeps."""
    return {name: power.linger_us for name, power in _powers(hardware).items()}


def run_ledger(
    results: Iterable[FrameResult],
    hardware: Hardware,
    graphs: Mapping[str, Sequence[str]] | None = None,
    *,
    begin_us: int = 0,
    end_us: int = 0,
    solver: str | None = None,
) -> Ledger:
    """What frames really cost. `graphs` are those that ask for each merged stage (`MergedStage.graphs`).

    The run lasts from `begin_us` to `end_us`, or to the last moment anything is awake if that is later. `solver` names
    the processor that the solver runs on: each placement's `solve_us` is then charged at that processor's `active_mw`.
    Raises `InputError` for a processor that the hardware has not, and for what are no frames or no times.
    """
    results = _of_this_machine(results, hardware, solver)
    begin_us, end_us = whole(begin_us, "begin_us"), whole(end_us, "end_us")
    entries: list[Entry] = []
    holds: dict[str, list[_Hold]] = {}
    wakes: dict[str, list[WakeObservation]] = {}
    radios = {(link.source, link.target): link.radio for link in hardware.links}
    for result in sorted(results, key=lambda result: (result.release_us, result.frame)):
        triggered = list(dict.fromkeys(graph.graph for graph in result.graphs))
        of = {stage: tuple(g for g in triggered if g in names) for stage, names in (graphs or {}).items()}
        of |= {name: of.get(job.stage, ()) for name, job in result.jobs.items()}
        entries += _observed(result, of)
        for resource, hold in _holds(result, of, radios).items():
            holds.setdefault(resource, []).append(hold)
        for wake in result.wakes:
            wakes.setdefault(wake.resource, []).append(wake)
        if solver is not None and result.placement.solve_us:
            nj = result.placement.solve_us * hardware.processor(solver).active_mw
            entries.append(Entry(result.release_us, nj, "solver", solver, result.frame, "", tuple(triggered)))
    powers = _powers(hardware)
    last_us = max(
        [end_us, *(h.until_us + (powers[name].linger_us or 0) for name, of_one in holds.items() for h in of_one)]
    )
    for name, power in powers.items():
        entries += _awake_and_asleep(name, power, holds.get(name, []), wakes.get(name, []), begin_us, last_us)
    return _ledger(entries)


def _of_this_machine(results: Iterable[FrameResult], hardware: Hardware, solver: str | None) -> tuple[FrameResult, ...]:
    """The frames, where they ran on the processors and radios of this hardware, and the solver, too."""
    if not isinstance(hardware, Hardware):
        raise InputError(f"`hardware` is a Hardware, got {type(hardware).__name__}")
    if not isinstance(results, Iterable):
        raise InputError(f"`results` are several frames, got {type(results).__name__}", hint="such as runtime.drain()")
    frames = tuple(results)
    known = {part.name for part in hardware.processors} | {radio.name for radio in hardware.radios}
    for result in frames:
        if not isinstance(result, FrameResult):
            raise InputError(f"`results` are frames that ended, got {type(result).__name__} among them")
        used = (*(run.resource for run in result.stages), *(run.resource for run in result.placement.stages))
        for name in (*used, *(wake.resource for wake in result.wakes)):
            if name not in known:
                raise InputError(
                    f"frame {result.frame} ran on `{name}`, which hardware `{hardware.name}` has not",
                    hint="give the hardware that the frames ran on",
                )
    if solver is not None and all(processor.name != solver for processor in hardware.processors):
        raise InputError(
            f"`solver` names `{solver}`, which is no processor of hardware `{hardware.name}`",
            hint=f"it has {', '.join(processor.name for processor in hardware.processors)}",
        )
    return frames


def _observed(result: FrameResult, of: Mapping[str, tuple[str, ...]]) -> Iterator[Entry]:
    for run in result.stages:
        if run.nj:
            cause: Cause = "failed run" if run.outcome == "failed" else "run"
            yield Entry(run.start_us, run.nj, cause, run.resource, run.frame, run.stage, of.get(run.stage, ()))
    for send in result.transfers:
        where = send.resource or f"{send.source} -> {send.target}"
        yield Entry(send.start_us, send.nj, "transfer", where, send.frame, send.stage, of.get(send.stage, ()))


def _holds(
    result: FrameResult, of: Mapping[str, tuple[str, ...]], radios: Mapping[tuple[str, str], str | None]
) -> dict[str, _Hold]:
    """From when to when each resource is awake for a frame, by resource."""
    holds: dict[str, _Hold] = {}

    def hold(resource: str, until_us: int, stage: str) -> None:
        known = holds.setdefault(resource, _Hold(result.frame, result.release_us, until_us))
        known.until_us = max(known.until_us, until_us)
        known.graphs += [graph for graph in of.get(stage, ()) if graph not in known.graphs]

    for run in result.placement.stages:
        hold(run.resource, result.release_us, run.stage)
    for planned in result.placement.transfers:
        if (name := radios.get((planned.source, planned.target))) is not None:
            hold(name, result.release_us, planned.stage)
    for seen in result.stages:
        hold(seen.resource, seen.end_us, seen.stage)
    for send in result.transfers:
        if send.resource is not None:
            hold(send.resource, send.sent_us, send.stage)
    return holds


def _awake_and_asleep(
    name: str, power: _Power, holds: list[_Hold], wakes: list[WakeObservation], now_us: int, last_us: int
) -> Iterator[Entry]:
    """Waking up, staying awake, idling and sleeping of one resource: every moment of the run once.

    All before `now_us` is charged. `holds` are in order of release.
    """
    awake_until_us = last_us if power.linger_us is None else now_us
    before: tuple[int | None, tuple[str, ...]] = (None, ())
    users = {hold.frame: tuple(hold.graphs) for hold in holds}
    for wake in wakes:
        yield Entry(wake.at_us, power.wake_energy_nj, "wake-up", name, wake.frame, "", users.get(wake.frame, ()))

    def idle(until_us: int) -> Iterator[Entry]:
        """From `now_us` to `until_us` without a frame: awake for a while, then asleep."""
        tail_us = min(max(awake_until_us, now_us), until_us)
        yield Entry(now_us, power.linger_mw * (tail_us - now_us), power.tail, name, before[0], "", before[1])
        yield Entry(tail_us, power.asleep_mw * (until_us - tail_us), "asleep", name)

    for hold in holds:
        from_us: int | None = hold.from_us
        if power.linger_us is not None and hold.from_us >= awake_until_us:
            # It sleeps: nothing to keep awake before somebody wakes it.
            from_us = min((wake.at_us for wake in wakes if wake.at_us >= hold.from_us), default=None)
        if from_us is None or from_us > hold.until_us:
            continue
        if from_us > now_us:
            yield from idle(from_us)
            now_us = from_us
        if hold.until_us > now_us:
            used_nj = power.awake_mw * (hold.until_us - now_us)
            yield Entry(now_us, used_nj, "awake", name, hold.frame, "", users[hold.frame])
            now_us = hold.until_us
        if power.linger_us is not None:
            awake_until_us = max(awake_until_us, hold.until_us + power.linger_us)
        before = (hold.frame, users[hold.frame])
    yield from idle(max(now_us, last_us))


def _powers(hardware: Hardware) -> dict[str, _Power]:
    processors = {
        p.name: _Power(p.awake_mw, p.asleep_mw, p.wake_energy_nj, p.idle_timeout_us, p.awake_mw, "idle tail")
        for p in hardware.processors
    }
    radios = {
        r.name: _Power(r.awake_mw, 0, r.wake_energy_nj, r.tail_us, r.tail_mw, "radio tail") for r in hardware.radios
    }
    return processors | radios


def _ledger(entries: Iterable[Entry]) -> Ledger:
    return Ledger(tuple(sorted((entry for entry in entries if entry.nj), key=lambda entry: entry.at_us)))


def _all_graphs(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(graph for part in parts for graph in part))


def _shares(entry: Entry) -> Iterator[tuple[str, int]]:
    """An entry's energy split evenly among its graphs."""
    graphs = entry.graphs or ("",)
    each, rest = divmod(entry.nj, len(graphs))
    for index, graph in enumerate(graphs):
        yield graph, each + (index < rest)


def _sums(parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, nj in parts:
        sums[name] = sums.get(name, 0) + nj
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))

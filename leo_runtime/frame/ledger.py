"""Every nanojoule with its cause: of a placement as expected, and of frames as they went. The total is their sum.

**Of a placement** (`leo_runtime.frame.expected`): what its rules charge; the total is exactly the placement's
`energy`.

**Of a run**: stages, transfers, loads and wake-ups cost what was observed; a run that failed, or was given up, is a
cause of its own, since nothing came of it. A processor, radio or store that a frame's plan uses is kept awake from the
frame's release, or from when it was woken, until the last thing of that frame on it has ended (or was given up); it
then stays awake for its idle timeout, a radio for its tail, and goes to sleep unless another frame came first. Where
frames overlap, a moment belongs to the frame that came first: it is charged once. What never sleeps is awake, and idle,
from the start of the run to its end, and what sleeps draws its `asleep_mw` meanwhile. Since a plan has its processors
awake from the start of the frame, and they are woken just in time, a frame that goes as planned costs at most what was
expected, besides idling and sleep.

A frame of a window says in which spans it kept what awake. A span without waking begins with the release, any other
when its resource was really woken; between its uses the resource is awake. What was held for a later release is awake
until the hold ended. What has lingered by then sleeps at once; otherwise it lingers for as long as is left.

**By graph**: a stage that several graphs share is split evenly among those triggered in its frame (what does not
divide goes to the first ones). Staying awake and waking up are split among the graphs that used the resource in that
frame, idling and tails among those of the frame before. Idling before any frame, and sleep, belong to no graph: "".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.window import WindowProblem
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.frame.entries import Cause, Entry, in_order
from leo_runtime.frame.entries import Ledger as Ledger
from leo_runtime.frame.expected import ledger as ledger
from leo_runtime.frame.lower import merge
from leo_runtime.frame.records import FrameResult
from leo_runtime.frame.running_ledger import RunningLedger, kept_in_spans, observed
from leo_runtime.frame.running_ledger import linger_us as linger_us
from leo_runtime.frame.standby import Standby, standby_entries
from leo_runtime.values import whole


def run_ledger(
    results: Iterable[FrameResult],
    hardware: Hardware,
    graphs: Workload | Mapping[str, Sequence[str]] | None = None,
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
    if isinstance(graphs, Workload):
        graphs = {stage.name: stage.graphs for stage in merge(graphs).stages}
    results = _of_this_machine(results, hardware, solver)
    begin_us, end_us = whole(begin_us, "begin_us"), whole(end_us, "end_us")
    running = RunningLedger(hardware, graphs or {}, begin_us=begin_us, solver=solver)
    entries: list[Entry] = []
    for result in sorted(results, key=lambda result: (result.release_us, result.frame)):
        entries += running.add(result)
    left, _ = running.end(end_us)
    return in_order(entries + left)


def window_ledger(problem: WindowProblem, result: FrameResult) -> Ledger:
    """What a window cost that was played, all of it as one frame that was released at 0.

    As rule 6 of `docs/window-problem.md` charges it: without what sleep draws, and no lingering after the horizon.
    """
    entries, _ = observed(result, {}, {})
    kept = kept_in_spans(result, {})
    radios = {link.resource for link in problem.links}
    for resource in problem.resources:
        name, horizon_us = resource.name, problem.horizon_us
        if resource.linger_us is None:
            entries.append(Entry(0, horizon_us, resource.awake_mw * horizon_us, "awake", name))
            continue
        tail: Cause = "radio tail" if name in radios else "idle tail"
        drawn = Standby(resource.awake_mw, 0, resource.wake_energy_nj, resource.linger_us, resource.lingering_mw, tail)
        begun = [one for where, one in kept if where == name]
        last_us = max([horizon_us, *(one.until_us or 0 for one in begun)])
        wakes = [(wake, ()) for wake in result.wakes if wake.resource == name]
        awake_until_us = resource.awake_until_us if resource.awake else 0
        for entry in standby_entries(name, drawn, begun, wakes, 0, last_us, awake_until_us=awake_until_us):
            if entry.cause == tail and entry.until_us > horizon_us:
                until_us = max(horizon_us, entry.at_us)
                entry = entry._replace(until_us=until_us, nj=resource.lingering_mw * (until_us - entry.at_us))
            entries.append(entry)
    return in_order(entries)


def _of_this_machine(results: Iterable[FrameResult], hardware: Hardware, solver: str | None) -> tuple[FrameResult, ...]:
    """The frames, where they ran on the processors and radios of this hardware, and the solver, too."""
    if not isinstance(hardware, Hardware):
        raise InputError(f"`hardware` is a Hardware, got {type(hardware).__name__}")
    if not isinstance(results, Iterable):
        raise InputError(f"`results` are several frames, got {type(results).__name__}", hint="such as runtime.drain()")
    frames = tuple(results)
    known = {one.name for one in hardware.resources}
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
            hint=did_you_mean(solver, [processor.name for processor in hardware.processors], "it has"),
        )
    return frames

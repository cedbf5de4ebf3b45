"""A run as tracks, slices, marks and counters of a trace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import (
    FrameResult,
    GraphResult,
    LoadObservation,
    StageObservation,
    TransferObservation,
    reason_of,
)
from leo_runtime.replay.replay import Replay
from leo_runtime.report.flows import Flows, GateDecisions, readers_of
from leo_runtime.report.packets import Form, Packets, Row
from leo_runtime.report.power import Drawn, Entered, PowerSteps, State, Step

_RUN = ("planned start us", "expected us", "nJ", "expected nJ")
_SENT = ("planned start us", "nJ")


class RunTracks:
    """Makes packets of a run's frames, and others of its energy: these are settled at other times."""

    def __init__(self, begun: Replay, frames: Packets, energy: Packets) -> None:
        """The tracks that are known now, and what is run."""
        self._packets, self._energy = frames, energy
        frames.sort_as_named()
        pipelines = frames.process("pipelines")
        self._graphs = {graph.name: Row(frames, graph.name, pipelines) for graph in begun.workload.graphs}
        self._batched = begun.batch > 1
        self.batch_us = (begun.batch - 1) * max(graph.period_us for graph in begun.workload.graphs)
        """How long before its batch a frame may have been released."""
        self._lanes: dict[tuple[str, int], int] = {}
        self._states: dict[str, int] = {}
        self._powers: dict[str, int] = {}
        lanes = {one.name: one.lanes for one in begun.hardware.resources}
        for name, number in lanes.items():
            process = frames.process(name)
            self._states[name] = frames.track(f"{name} state", process)
            self._powers[name] = frames.counter(f"{name} power", process, "mW")
            for lane in range(number):
                self._lanes[name, lane] = frames.thread(process, f"{name} lane {lane}")
        self._transfers = frames.process("transfers")
        self._links: dict[str, Row] = {}
        # The viewer shows as much time as there are marks: a deadline in a year would leave nothing of the run to see.
        self._shown_us = 2 * (begun.span.end_us - begun.span.start_us)
        self._changes = deque(_link_changes(begun))
        self._used = frames.process("energy")
        self._causes: dict[str, int] = {}
        self._settled_us = 0
        self._power = PowerSteps(begun.hardware)
        self._open: dict[str, State] = {}
        self._readers = readers_of(begun.merged)
        self._gates = GateDecisions(begun.merged)
        self._flows = 0
        self._forms: dict[object, Form] = {}
        frames.instant(frames.form(pipelines, "run", "run", texts=_identity(begun)), 0)

    def frame(self, ended: FrameResult, settled_us: int) -> None:
        """A frame has ended; nothing that comes later begins before `settled_us`."""
        self._power.take(ended)
        while self._changes and self._changes[0][0] < settled_us:
            self._link_changed(*self._changes.popleft())
        flows = Flows(ended, self._readers, self._flows)
        self._flows = flows.last
        decided = {} if self._batched else self._gates.of(ended)
        through, to, sends = flows.through, flows.to, flows.sends
        failures: dict[str, int] = {}
        for number, run in enumerate(ended.stages):
            attempt = failures.get(run.stage, 0) + 1 if failures else 1
            self._stage(run, attempt, decided.get(run.stage), through.get(number, ()), to.get(number, ()))
            # What is sent comes after what it is the output of, and before who reads it: also of one time.
            for send, flow, is_read in sends.get(number, ()):
                self._transfer(send, flow, is_read)
            if run.outcome == "failed":
                failures[run.stage] = attempt
        for send in flows.others:
            self._transfer(send, None, False)
        for load in ended.loads:
            self._load(load)
        for result in ended.graphs:
            self._answer(ended, result)

    def energy(self, entries: Iterable[Entry], settled_us: int) -> None:
        """These entries of the ledger are known; none that comes later begins before `settled_us`."""
        self._power.add(entries)
        self._settled_us = settled_us
        for step in self._power.settled(settled_us):
            self._show(step)

    def end(self) -> None:
        """All is known. What a resource does ends with the last entry."""
        while self._changes:
            self._link_changed(*self._changes.popleft())
        end_us = max(self._power.end_us, self._settled_us)
        for step in self._power.settled():
            if not (isinstance(step, Entered) and step.at_us >= end_us):
                self._show(step)
        for name in self._open:
            self._energy.end(self._states[name], end_us)
        self._open = {}

    def _stage(
        self, run: StageObservation, attempt: int, gate: str | None, flows: Sequence[int], ended: Sequence[int]
    ) -> None:
        key = (run.stage, run.resource, run.lane, run.variant, run.outcome, run.energy_from, gate, attempt)
        form = None if run.error else self._forms.get(key)
        if form is None:
            texts = [("variant", run.variant), ("energy", run.energy_from)]
            texts += [] if gate is None else [("gate", gate)]
            texts += [("error", run.error)] if run.error else []
            numbers = (*_RUN, "attempt") if attempt > 1 else _RUN
            category = "stage" if run.outcome == "done" else run.outcome
            track = self._lanes[run.resource, run.lane]
            form = self._packets.form(track, run.stage, category, numbers, tuple(texts), keep=not run.error)
            if not run.error:
                self._forms[key] = form
        told: tuple[int, ...] = (run.planned_start_us, run.expected_us, run.nj, run.expected_nj)
        if attempt > 1:
            told = (*told, attempt)
        self._packets.slice(form, run.start_us, run.end_us, run.frame, told, flows, ended)

    def _transfer(self, send: TransferObservation, flow: int | None, is_read: bool) -> None:
        packets, name, told = self._packets, f"output of {send.stage}", (send.planned_start_us, send.nj)
        track = self._link(f"{send.source} -> {send.target}").track(send.start_us, send.arrive_us)
        flows = () if flow is None else (flow,)
        form = packets.form(track, name, "transfer", _SENT)
        through, ended = (flows, ()) if is_read else ((), flows)
        packets.slice(form, send.start_us, send.arrive_us, send.frame, told, through, ended)
        if send.resource is not None and send.lane is not None:
            form = packets.form(self._lanes[send.resource, send.lane], name, "transfer", _SENT)
            packets.slice(form, send.start_us, send.sent_us, send.frame, told)

    def _load(self, load: LoadObservation) -> None:
        track, name = self._lanes[load.resource, load.lane], f"{load.label} to {load.target}"
        form = self._packets.form(track, name, "load", _SENT)
        told = (load.planned_start_us, load.nj)
        self._packets.slice(form, load.start_us, load.loaded_us, load.frame, told)

    def _answer(self, ended: FrameResult, result: GraphResult) -> None:
        """A frame of a graph: from release to answer, its deadline, and what was found."""
        packets, frame = self._packets, result.frame
        name = f"frame {frame}.{result.number}" if self._batched else f"frame {frame}"
        track = self._graphs[result.graph].track(result.release_us, result.end_us)
        category = "frame"
        if result.missed:
            category = "skipped" if ended.skipped else "failed" if result.outcome == "failed" else "late"
            name = f"{category} {name}"
        told: tuple[int, ...] = (result.end_us - result.deadline_us,)
        numbers: tuple[str, ...] = ("lateness us",)
        if result.gap_us:
            told, numbers = (*told, result.gap_us), (*numbers, "not recorded us")
        if ended.waits_given_up:
            told, numbers = (*told, ended.waits_given_up), (*numbers, "waits given up")
        texts: tuple[tuple[str, str], ...] = (("outcome", result.outcome),)
        if reason := reason_of(ended, result.graph) if result.outcome == "failed" else "":
            texts = (*texts, ("reason", reason))
        form = packets.form(track, "", category, numbers, texts, keep=not reason)
        packets.slice(form, result.release_us, result.end_us, frame, told, name=name)
        if result.deadline_us <= self._shown_us:
            packets.instant(packets.form(track, "deadline", "deadline"), result.deadline_us, frame)
        if result.label is not None:
            packets.instant(packets.form(track, result.label, "answer"), result.end_us, frame)

    def _link(self, name: str) -> Row:
        if name not in self._links:
            self._links[name] = Row(self._packets, name, self._transfers)
        return self._links[name]

    def _link_changed(self, at_us: int, link: str, latency_us: int, bytes_per_s: int | None) -> None:
        """A mark where what a link can do changes."""
        track, packets = self._link(link).first, self._packets
        if bytes_per_s is None:
            packets.instant(packets.form(track, "link is down", "link"), at_us)
            return
        form = packets.form(track, "link changes", "link", ("latency us", "bytes per s"))
        packets.instant(form, at_us, None, (latency_us, bytes_per_s))

    def _show(self, step: Step) -> None:
        energy = self._energy
        if isinstance(step, Drawn):
            if step.resource not in self._powers:  # A link that names no radio.
                self._powers[step.resource] = energy.counter(f"{step.resource} power", self._transfers, "mW")
            energy.count(self._powers[step.resource], step.at_us, step.mw)
        elif isinstance(step, Entered):
            track = self._states[step.resource]
            if step.resource in self._open:
                energy.end(track, step.at_us)
            energy.begin(energy.form(track, step.state, "state"), step.at_us)
            self._open[step.resource] = step.state
        else:
            if step.cause not in self._causes:
                self._causes[step.cause] = energy.counter(f"{step.cause} energy", self._used, "nJ")
            energy.count(self._causes[step.cause], step.at_us, step.nj)


def _link_changes(begun: Replay) -> list[tuple[int, str, int, int | None]]:
    """When links changed in the part that is replayed, which, and to what; None: it was down."""
    start_us, end_us = begun.span.start_us, begun.span.end_us
    first: dict[str, tuple[int, str, int, int | None]] = {}
    later: list[tuple[int, str, int, int | None]] = []
    for sample in sorted(begun.recording.manifest.links, key=lambda sample: sample.time_us):
        name = f"{sample.source} -> {sample.target}"
        change = (max(0, sample.time_us - start_us), name, sample.latency_us, sample.bytes_per_s)
        if sample.time_us <= start_us:
            first[name] = change
        elif sample.time_us <= end_us:
            later.append(change)
    return [*first.values(), *later]


def _identity(begun: Replay) -> tuple[tuple[str, str], ...]:
    """What was run."""
    return (
        ("policy", begun.policy),
        ("time", begun.time),
        ("workload", begun.workload.name),
        ("hardware", begun.hardware.name),
        ("profile", begun.profile.name),
        ("recording", begun.recording.manifest.name),
        ("part", f"{begun.span.start_us} us to {begun.span.end_us} us"),
        *(("changed", change) for change in begun.changes),
    )

"""What starts when: a state machine without clock or thread. Events go in, instructions come out.

The plan says where each stage runs and in which order a lane takes its work; *when* is decided here, by what really
happens. A lane starts the first of its queue as soon as its inputs are there, its gates have decided, its processor is
awake and the lane is free; it never takes a later one first.

**No deadlock.** The queue of every lane is sorted by the planned start, transfers before stages, then by frame. In a
valid plan an input starts before its readers, so in this one order over all lanes every piece of work comes after all
it waits for, and the first unfinished piece of all can always go on. A stage that moves to another processor keeps its
place in that order, and so do the transfers that its move needs.

**Gates.** A stage waits until all its gates have decided, and runs if any of them opened. Otherwise it is cancelled,
and with it what reads it; a stage whose operator takes absent inputs runs as long as one input is there. No decision
depends on the order in which events arrive.

**Waking.** A sleeping resource is woken so that it is awake when the plan first needs it, or as soon as something
could start on it, whichever is earlier; not at all if what was planned on it has been cancelled by then.

**Faults.** A stage that fails, or whose processor is lost, is moved once: to its fastest other mode on a processor
that is there, linked to where its inputs are and its readers run, and has the memory; accuracy budgets hold for it too.
Where there is none, or it fails again, it is `failed`, and so is what depends on it; the frame still ends. What a stage
has computed outlives its processor: outputs are handed to the host when it ends. A run that is given up still occupies
its lane until the driver says that it has ended, also where its processor is lost and found again.

**Late runs.** A lane whose run takes longer than planned is expected to take as long again as it is late already, and
is `suspect` when it is late by `SUSPECT_FACTOR` times the run's planned duration and `SUSPECT_LEAST_US`.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from leo_runtime.dispatch.events import (
    Arrived,
    CancelStage,
    Event,
    FrameAdmitted,
    FrameDone,
    FrameDropped,
    Instruction,
    ProcessorFound,
    ProcessorLost,
    Remind,
    ResourceWoken,
    RunReport,
    RunStage,
    SendEnded,
    SendOutput,
    SendRecord,
    StageEnded,
    StageFailed,
    StageRecord,
    TimePassed,
    Wake,
)
from leo_runtime.dispatch.plan import Plan, PlannedStage
from leo_runtime.documents.problem import Link, Mode
from leo_runtime.frame.records import Outcome

Key = tuple[int, int, int, int]
"""The place of a piece of work in the order of all: planned start, 0 for a transfer or 1, frame, index in the frame."""

Attempt = tuple[int, str, int]
"""One run of a stage: its frame, its name and the number of the attempt."""

SUSPECT_FACTOR = 4
"""A lane is suspect when its run is late by more than so many times what it was planned to take..."""
SUSPECT_LEAST_US = 100_000
"""...and by more than this: short stages are often late by a multiple, since threads have to wait for each other."""

_OVER = ("done", "cancelled", "failed")


@dataclass(slots=True, eq=False)
class _Frame:
    """A frame in flight."""

    number: int
    release_us: int
    give_up_us: int | None
    plan: Plan
    stages: dict[str, _Stage] = field(default_factory=dict)
    sends: dict[tuple[str, str], _Send] = field(default_factory=dict)
    """The transfers, by stage and target."""
    wakes: list[tuple[str, int]] = field(default_factory=list)
    past: list[StageRecord] = field(default_factory=list)
    """Attempts that failed."""
    open: int = 0
    """Stages that are not over, and transfers on their way."""
    reduced: bool = False
    """A gate closed, a stage failed or made nothing for some: every end may now decide what others come to."""
    started: bool = False
    skipped: bool = False
    serial: int = 0

    def add_send(self, stage: _Stage, target: str, lane: int | None, start_us: int) -> _Send:
        self.serial += 1
        key = (start_us, 0, self.number, self.serial)
        send = _Send(self, stage, self.plan.links[stage.resource, target], lane, key, start_us, stage.mode.output_bytes)
        self.sends[stage.name, target] = send
        return send


@dataclass(slots=True, eq=False)
class _Stage:
    """A stage of a frame in flight: where it is to run now, and what became of it."""

    frame: _Frame
    name: str
    planned: PlannedStage
    key: Key
    resource: str
    lane: int
    mode: Mode
    state: Literal["waiting", "running", "done", "cancelled", "failed"] = "waiting"
    attempt: int = 0
    moved: bool = False
    report: RunReport | None = None
    start_us: int = 0
    end_us: int = 0
    error: str = ""

    @property
    def opened(self) -> bool:
        return self.report is not None and self.report.opened

    def lasts_us(self) -> int:
        return self.mode.duration_us

    def record(self) -> StageRecord:
        release_us, run = self.frame.release_us, self.planned.run
        outcome: Outcome = "failed" if self.state == "failed" else "cancelled" if self.state == "cancelled" else "done"
        return StageRecord(
            stage=self.name,
            resource=self.resource,
            variant=self.mode.variant,
            lane=self.lane,
            attempt=self.attempt,
            outcome=outcome,
            mode=self.mode,
            planned_start_us=release_us + run.start_us,
            planned_end_us=release_us + run.end_us,
            start_us=self.start_us,
            end_us=self.end_us,
            error=self.error,
            report=self.report,
        )


@dataclass(slots=True, eq=False)
class _Send:
    """A transfer of a frame in flight. `dropped`: nobody waits for it any more."""

    frame: _Frame
    stage: _Stage
    link: Link
    lane: int | None
    key: Key
    planned_us: int
    bytes: int
    state: Literal["waiting", "sending", "travelling", "arrived", "dropped"] = "waiting"
    start_us: int = 0
    sent_us: int = 0
    arrive_us: int = 0

    def lasts_us(self) -> int:
        return self.link.sending_us(self.bytes)

    def record(self) -> SendRecord:
        return SendRecord(
            stage=self.stage.name,
            source=self.link.source,
            target=self.link.target,
            resource=self.link.resource,
            lane=self.lane,
            planned_start_us=self.planned_us,
            start_us=self.start_us,
            sent_us=self.sent_us,
            arrive_us=self.arrive_us,
            nj=self.link.sending_nj(self.bytes),
        )


_Job = _Stage | _Send


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """A run or transfer that nobody waits for any more, and that has not ended yet."""

    start_us: int
    planned_us: int


@dataclass(slots=True, eq=False)
class _Lane:
    """One lane of a resource: what it does, and what it does next."""

    resource: str
    index: int
    ready_us: int
    queue: list[tuple[Key, int, _Job]] = field(default_factory=list)
    busy: _Job | None = None
    given_up: _GivenUp | None = None

    @property
    def is_free(self) -> bool:
        return self.busy is None and self.given_up is None

    def remove(self, job: _Job) -> None:
        self.queue = [entry for entry in self.queue if entry[2] is not job]

    def free_us(self, now_us: int) -> int:
        """When it will have done all it has, if everything lasts as long as planned."""
        at_us = max(now_us, self.ready_us)
        if self.busy is not None:
            at_us = max(at_us, _expected_end_us(self.busy.start_us + self.busy.lasts_us(), now_us))
        if self.given_up is not None:
            at_us = max(at_us, _expected_end_us(self.given_up.start_us + self.given_up.planned_us, now_us))
        for key, _, job in self.queue:
            at_us = max(at_us, key[0]) + job.lasts_us()
        return at_us

    def is_suspect(self, now_us: int) -> bool:
        """Whether what it runs is so late that it may never end."""
        if self.given_up is not None:
            start_us, planned_us = self.given_up.start_us, self.given_up.planned_us
        elif isinstance(self.busy, _Stage):
            start_us, planned_us = self.busy.start_us, self.busy.lasts_us()
        else:
            return False
        return now_us - start_us - planned_us > max(SUSPECT_FACTOR * planned_us, SUSPECT_LEAST_US)


class Dispatcher:
    """Decides what starts when, on the lanes of a machine. `handle` is its one entry."""

    def __init__(
        self,
        lanes: Mapping[str, int],
        *,
        ready_us: Mapping[str, tuple[int, ...]] | None = None,
        remember: int = 4096,
    ) -> None:
        """`lanes` of every processor and radio; `ready_us`: lanes that something else occupies until then."""
        self._lanes: dict[str, list[_Lane]] = {}
        for resource, count in lanes.items():
            ready = (ready_us or {}).get(resource) or (0,) * count
            self._lanes[resource] = [_Lane(resource, index, ready[index]) for index in range(count)]
        self._every_lane = [lane for lanes in self._lanes.values() for lane in lanes]
        self._power: dict[str, Literal["awake", "waking", "asleep"]] = dict.fromkeys(lanes, "awake")
        self._lost: set[str] = set()
        self._used_us: dict[str, int] = {}
        self._frames: dict[int, _Frame] = {}
        self._loose: list[_Send] = []
        """Transfers that occupy no lane and whose output is there, but whose radio is not awake or not ready."""
        self._due: list[tuple[int, _Frame, str]] = []
        """Resources to be woken: when, for whom, which."""
        self._given_up: dict[tuple[int, str, int | str], _Lane] = {}
        """Runs, by attempt, and transfers, by target, that nobody waits for, and the lanes that they still occupy."""
        self._reminded: set[int] = set()
        self._out: list[Instruction] = []
        self._log: deque[tuple[int, Event | Instruction]] = deque(maxlen=remember)
        self._serial = 0
        self._now_us = 0

    # What others may ask.

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames in flight, in the order they were admitted."""
        return tuple(self._frames)

    def lanes_ready_us(self, resource: str, now_us: int) -> tuple[int, ...]:
        """When each lane of a resource will be free, if everything lasts as long as planned."""
        return tuple(lane.free_us(now_us) for lane in self._lanes[resource])

    def suspects(self, now_us: int) -> tuple[str, ...]:
        """The resources every lane of which runs something so late that it may never end."""
        return tuple(name for name, lanes in self._lanes.items() if all(lane.is_suspect(now_us) for lane in lanes))

    def is_running(self, frame: int, stage: str, attempt: int) -> bool:
        """Whether that attempt is the one that runs now; what any other gives is of no use."""
        return self._running(frame, stage, attempt) is not None

    @property
    def lost(self) -> frozenset[str]:
        """The processors that are gone."""
        return frozenset(self._lost)

    def in_use(self, resource: str) -> bool:
        """Whether anything runs on it, or waits to."""
        if any(lane.queue or not lane.is_free for lane in self._lanes[resource]):
            return True
        # What sends for 0 us is in no queue.
        return any(
            send.link.resource == resource and send.state in ("waiting", "sending")
            for frame in self._frames.values()
            for send in frame.sends.values()
        )

    def sleeps(self, resource: str) -> bool:
        """Whether it was said to be asleep, and has not been woken."""
        return self._power[resource] == "asleep"

    def used_until_us(self, resource: str) -> int | None:
        """Until when a resource was kept awake: by what ended on it or was given up, or a plan that uses it."""
        return self._used_us.get(resource)

    def history(self, frame: int) -> tuple[tuple[int, Event | Instruction], ...]:
        """What happened to a frame, as far as it is remembered: times with events and instructions, in order."""
        return tuple(entry for entry in self._log if getattr(entry[1], "frame", frame) == frame)

    def broken_invariants(self) -> tuple[str, ...]:
        """What must never be: empty unless there is a mistake in this file."""
        return tuple(self._broken())

    # The one entry.

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        """Take note of what happened and say what to do about it.

        Events about frames that have ended are ignored; of attempts that were given up, all but that they are over.
        """
        self._now_us = max(self._now_us, event.at_us)
        self._log.append((event.at_us, event))
        match event:
            case StageEnded():
                self._stage_ended(event)
            case StageFailed():
                self._stage_failed(event)
            case SendEnded():
                self._send_ended(event)
            case Arrived():
                self._arrived(event)
            case FrameAdmitted():
                self._admit(event)
            case ResourceWoken():
                self._power[event.resource] = "awake"
            case ProcessorLost():
                self._lose(event.resource, event.error)
            case ProcessorFound():
                self._lost.discard(event.resource)
            case FrameDropped():
                self._drop_frame(event)
            case TimePassed():
                self._reminded.discard(event.at_us)
        self._advance()
        out = tuple(self._out)
        self._out.clear()
        self._log.extend((self._now_us, instruction) for instruction in out)
        return out

    # Events.

    def _admit(self, event: FrameAdmitted) -> None:
        if event.frame in self._frames:
            raise ValueError(f"frame {event.frame} is in flight already")
        frame = _Frame(event.frame, event.release_us, event.give_up_us, event.plan)
        for index, (name, planned) in enumerate(event.plan.stages.items()):
            run = planned.run
            key = (event.release_us + run.start_us, 1, event.frame, index)
            frame.stages[name] = _Stage(frame, name, planned, key, run.resource, run.lane, planned.mode)
        frame.open = len(frame.stages)
        self._frames[event.frame] = frame
        for resource in event.asleep:
            if self._power[resource] == "awake" and not self.in_use(resource):
                self._power[resource] = "asleep"
        for span in frame.plan.spans:
            resource = span.resource
            if self._power[resource] == "asleep":
                needed_us = frame.release_us + next(iter(span.uses.values()))
                wake_us = max(frame.release_us, needed_us - frame.plan.wake_us[resource])
                self._due.append((wake_us, frame, resource))
                self._remind(wake_us)
            self._use(resource, frame.release_us)
        for stage in frame.stages.values():
            self._queue(stage, stage.resource, stage.lane)
            self._remind(frame.release_us + stage.planned.release_us)
        for row in frame.plan.sends:
            send = frame.add_send(frame.stages[row.stage], row.target, row.lane, frame.release_us + row.start_us)
            if _occupies(send):
                self._queue(send, send.link.resource, row.lane)
        for resource in (resource for resource in frame.plan.uses if resource in self._lost):
            self._lose(resource, "")
        self._finish(frame)

    def _stage_ended(self, event: StageEnded) -> None:
        stage = self._running(event.frame, event.stage, event.attempt)
        if stage is None:
            self._come_back(event.frame, event.stage, event.attempt)
            return
        report = event.report
        self._free(stage)
        stage.state = "done"
        stage.report = report
        stage.end_us = event.at_us
        stage.start_us = stage.start_us if report.started_us is None else report.started_us
        frame = stage.frame
        frame.open -= 1
        for reader in stage.planned.readers:
            send = frame.sends.get((stage.name, frame.stages[reader].resource))
            if send is not None and send.state == "waiting" and not _occupies(send) and send not in self._loose:
                self._loose.append(send)
        frame.reduced = frame.reduced or not report.opened or bool(report.absent_for)
        if frame.reduced:
            self._settle(frame)
        self._finish(frame)

    def _stage_failed(self, event: StageFailed) -> None:
        stage = self._running(event.frame, event.stage, event.attempt)
        if stage is None:
            self._come_back(event.frame, event.stage, event.attempt)
            return
        self._free(stage)
        stage.start_us = stage.start_us if event.started_us is None else event.started_us
        stage.end_us = event.at_us
        self._retry(stage, event.error)
        self._settle(stage.frame)
        self._finish(stage.frame)

    def _send_ended(self, event: SendEnded) -> None:
        send = self._on_its_way(event)
        if send is not None and send.state == "sending":
            send.state = "travelling"
            send.sent_us = event.at_us
            self._free(send)
        else:
            self._come_back(event.frame, event.stage, event.target)

    def _arrived(self, event: Arrived) -> None:
        send = self._on_its_way(event)
        if send is None:
            self._come_back(event.frame, event.stage, event.target)
            return
        if send.state == "sending":
            send.sent_us = event.at_us
            self._free(send)
        send.state = "arrived"
        send.arrive_us = event.at_us
        send.frame.open -= 1
        self._finish(send.frame)

    def _lose(self, resource: str, why: str) -> None:
        self._lost.add(resource)
        for frame in list(self._frames.values()):
            hit = [s for s in frame.stages.values() if s.resource == resource and s.state in ("waiting", "running")]
            for stage in hit:
                error = f"processor `{resource}` was lost" + (f" ({why})" if why else "")
                if stage.state == "running":
                    self._cancel(stage)
                    self._retry(stage, error)
                elif not self._move(stage):
                    self._end(stage, "failed", error)
            if hit:
                self._settle(frame)
                self._finish(frame)

    def _drop_frame(self, event: FrameDropped) -> None:
        frame = self._frames.get(event.frame)
        if frame is None:
            return
        for stage in frame.stages.values():
            if stage.state == "running":
                self._cancel(stage)
                stage.state = "failed"
                stage.error = event.error
                frame.open -= 1
            elif stage.state == "waiting":
                self._end(stage, "failed", event.error)
        for send in frame.sends.values():
            if send.state in ("sending", "travelling"):
                if send.state == "sending":
                    self._give_up(send)
                send.state = "dropped"
                frame.open -= 1
        self._drop_unneeded(frame)
        self._finish(frame)

    def _cancel(self, stage: _Stage) -> None:
        """Wait for a run no longer."""
        self._give_up(stage)
        stage.end_us = self._now_us
        self._out.append(CancelStage(stage.frame.number, stage.name, stage.resource, stage.lane, stage.attempt))

    def _give_up(self, job: _Job) -> None:
        """Wait no longer for what is under way. Its lane is occupied until it has ended all the same."""
        lane = next((lane for lane in self._every_lane if lane.busy is job), None)
        self._free(job)
        if lane is None:  # It is sent in no time.
            return
        lane.given_up = _GivenUp(job.start_us, job.lasts_us())
        if isinstance(job, _Stage):
            self._given_up[job.frame.number, job.name, job.attempt] = lane
        else:
            self._given_up[job.frame.number, job.stage.name, job.link.target] = lane

    def _come_back(self, frame: int, stage: str, which: int | str) -> None:
        """What was given up has ended: a run of that attempt, or a transfer to that target."""
        lane = self._given_up.pop((frame, stage, which), None)
        if lane is not None:
            lane.given_up = None
            self._use(lane.resource, self._now_us)

    # Faults, gates and the end of a frame.

    def _retry(self, stage: _Stage, error: str) -> None:
        """What ran has failed: record it, and move the stage or fail it."""
        stage.error = error
        stage.state = "failed"
        failed = stage.record()
        stage.state = "waiting"
        if self._move(stage):
            stage.frame.past.append(failed)
            stage.attempt += 1
            stage.error = ""
            return
        stage.state = "failed"
        stage.frame.open -= 1

    def _move(self, stage: _Stage) -> bool:
        """Take a waiting stage to its best other processor; False if it was moved before or there is none."""
        if stage.moved:
            return False
        suspects = self.suspects(self._now_us)
        others = sorted(stage.planned.others, key=lambda mode: mode.resource in suspects)
        mode = next((mode for mode in others if self._could_run(stage, mode)), None)
        if mode is None:
            return False
        frame = stage.frame
        self._unqueue(stage)
        stage.moved = True
        stage.resource = mode.resource
        stage.mode = mode
        stage.lane = self._shortest_lane(mode.resource)
        self._wake(frame, mode.resource)
        self._queue(stage, stage.resource, stage.lane)
        for (name, _), send in frame.sends.items():
            if name == stage.name:
                self._drop(send)  # None has started: the stage was not over.
        self._drop_unneeded(frame)
        for name in stage.planned.waits:
            self._ensure_send(frame.stages[name], stage.resource, stage.key[0])
        for name in stage.planned.readers:
            reader = frame.stages[name]
            if reader.state == "waiting" and reader.resource not in self._lost:
                self._ensure_send(stage, reader.resource, reader.key[0])
        return True

    def _could_run(self, stage: _Stage, mode: Mode) -> bool:
        frame, target = stage.frame, mode.resource
        if target in self._lost or target == stage.resource:
            return False
        cap = frame.plan.caps.get(target)
        held = sum(other.mode.memory_bytes for other in frame.stages.values() if other.resource == target)
        if cap is not None and held + mode.memory_bytes > cap:
            return False
        for budget in frame.plan.budgets:
            lost_ppm = sum(frame.stages[name].mode.accuracy_loss_ppm for name in budget.stages if name != stage.name)
            if stage.name in budget.stages and lost_ppm + mode.accuracy_loss_ppm > budget.loss_ppm_max:
                return False
        links = frame.plan.links
        inputs = (frame.stages[name] for name in stage.planned.waits)
        readers = (frame.stages[name] for name in stage.planned.readers)
        # A reader whose own processor is lost will move as well, or fail: its place now does not matter.
        return all(
            one.resource == target or (one.resource, target) in links
            for one in inputs
            if one.state not in ("cancelled", "failed")
        ) and all(
            one.resource == target or (target, one.resource) in links
            for one in readers
            if one.state == "waiting" and one.resource not in self._lost
        )

    def _ensure_send(self, stage: _Stage, target: str, start_us: int) -> None:
        """See to it that the output of a stage gets to a processor where it is now read."""
        frame = stage.frame
        if stage.resource == target or stage.state in ("cancelled", "failed"):
            return
        known = frame.sends.get((stage.name, target))
        if known is not None and known.state != "dropped":
            if known.state == "waiting" and _occupies(known) and known.key[0] > start_us:
                # Its first reader now comes earlier in the order of all work than it was planned for.
                self._unqueue(known)
                known.key = (start_us, *known.key[1:])
                self._queue(known, known.link.resource, known.lane)
            return
        radio = frame.plan.links[stage.resource, target].resource
        lane = None if radio is None else self._shortest_lane(radio)
        if radio is not None:
            self._wake(frame, radio)
        send = frame.add_send(stage, target, lane, start_us)
        if _occupies(send):
            self._queue(send, radio, lane)
        elif stage.state == "done":
            self._loose.append(send)

    def _settle(self, frame: _Frame) -> None:
        """Cancel or fail what can no longer run. Stages are in order, so one pass is enough."""
        frame.reduced = True
        for stage in frame.stages.values():
            if stage.state == "waiting" and (fate := _fate(stage)) is not None:
                self._end(stage, *fate)
        self._drop_unneeded(frame)

    def _end(self, stage: _Stage, state: Literal["cancelled", "failed"], error: str) -> None:
        """Give up a waiting stage."""
        self._unqueue(stage)
        self._use(stage.resource, self._now_us)
        stage.state = state
        stage.error = error
        stage.start_us = stage.end_us = self._now_us
        stage.frame.open -= 1

    def _drop_unneeded(self, frame: _Frame) -> None:
        for send in frame.sends.values():
            if send.state == "waiting" and not _is_needed(send):
                self._drop(send)

    def _drop(self, send: _Send) -> None:
        if send.state == "waiting":
            self._unqueue(send)
            send.state = "dropped"

    def _skip(self, frame: _Frame) -> None:
        frame.skipped = True
        for stage in frame.stages.values():
            if stage.state == "waiting":
                self._end(stage, "failed", "skipped: its deadline passed before it could start")
        self._drop_unneeded(frame)
        self._finish(frame)

    def _finish(self, frame: _Frame) -> None:
        if frame.open or self._frames.pop(frame.number, None) is None:
            return
        stages = [*frame.past, *(stage.record() for stage in frame.stages.values())]
        order = {name: index for index, name in enumerate(frame.stages)}
        stages.sort(key=lambda record: (order[record.stage], record.attempt))
        sends = tuple(send.record() for send in frame.sends.values() if send.state == "arrived")
        self._out.append(FrameDone(frame.number, self._now_us, frame.skipped, tuple(stages), sends, tuple(frame.wakes)))

    # Lanes.

    def _advance(self) -> None:
        """Start all that may start."""
        self._due = [entry for entry in self._due if not self._wake_due(*entry)]
        self._loose = [send for send in self._loose if not self._start_loose(send)]
        again = True
        while again:
            again = False
            for lane in self._every_lane:
                if not lane.queue or not lane.is_free:
                    continue
                job = lane.queue[0][2]
                if not self._may_start(job, lane):
                    continue
                frame = job.frame
                if not frame.started and frame.give_up_us is not None and self._now_us > frame.give_up_us:
                    self._skip(frame)
                    again = True
                    continue
                del lane.queue[0]
                lane.busy = job
                self._start(job)

    def _may_start(self, job: _Job, lane: _Lane) -> bool:
        if lane.ready_us > self._now_us:
            self._remind(lane.ready_us)
            return False
        if isinstance(job, _Send):
            ready = job.stage.state == "done"
        else:
            ready = self._now_us >= job.frame.release_us + job.planned.release_us and _is_fed(job)
        return ready and self._is_awake(job.frame, lane.resource)

    def _is_awake(self, frame: _Frame, resource: str) -> bool:
        """Whether something may start there; if it sleeps, it is woken."""
        self._wake(frame, resource)
        return self._power[resource] == "awake"

    def _start(self, job: _Job) -> None:
        job.start_us = self._now_us
        frame = job.frame
        if isinstance(job, _Stage):
            frame.started = True
            job.state = "running"
            self._out.append(
                RunStage(
                    frame.number, job.name, job.resource, job.mode.variant, job.lane, job.attempt, job.mode.duration_us
                )
            )
            return
        job.state = "sending"
        frame.open += 1
        link = job.link
        self._out.append(
            SendOutput(
                frame.number,
                job.stage.name,
                link.source,
                link.target,
                link.resource,
                job.lane,
                job.lasts_us(),
                link.latency_us,
            )
        )

    def _start_loose(self, send: _Send) -> bool:
        """Start a transfer that occupies no lane, if its radio lets it; True if it is off the list."""
        if send.state != "waiting":
            return True
        radio = send.link.resource
        if radio is not None:
            ready_us = self._lanes[radio][send.lane or 0].ready_us
            if ready_us > self._now_us:
                self._remind(ready_us)
                return False
            if not self._is_awake(send.frame, radio):
                return False
        self._start(send)
        return True

    def _queue(self, job: _Job, resource: str | None, lane: int | None) -> None:
        if resource is not None and lane is not None:
            self._serial += 1
            insort(self._lanes[resource][lane].queue, (job.key, self._serial, job))

    def _unqueue(self, job: _Job) -> None:
        resource = job.resource if isinstance(job, _Stage) else job.link.resource
        if resource is not None and job.lane is not None:
            self._lanes[resource][job.lane].remove(job)

    def _free(self, job: _Job) -> None:
        resource = job.resource if isinstance(job, _Stage) else job.link.resource
        if resource is not None:
            self._use(resource, self._now_us)
            if job.lane is not None and self._lanes[resource][job.lane].busy is job:
                self._lanes[resource][job.lane].busy = None

    def _use(self, resource: str, at_us: int) -> None:
        if self._power[resource] != "asleep":
            self._used_us[resource] = max(self._used_us.get(resource, 0), at_us)

    def _shortest_lane(self, resource: str) -> int:
        free = self.lanes_ready_us(resource, self._now_us)
        return free.index(min(free))

    def _wake(self, frame: _Frame, resource: str) -> None:
        if self._power[resource] == "asleep":
            self._power[resource] = "waking"
            self._use(resource, self._now_us)
            frame.wakes.append((resource, self._now_us))
            self._out.append(Wake(frame.number, resource, frame.plan.wake_us[resource]))

    def _wake_due(self, at_us: int, frame: _Frame, resource: str) -> bool:
        """Wake a resource if it is time to and the frame still needs it; True if that is settled."""
        if self._power[resource] != "asleep" or self._frames.get(frame.number) is not frame:
            return True
        if at_us > self._now_us:
            return False
        if any(stage.state == "waiting" and stage.resource == resource for stage in frame.stages.values()) or any(
            send.state == "waiting" and send.link.resource == resource for send in frame.sends.values()
        ):
            self._wake(frame, resource)
        return True

    def _remind(self, at_us: int) -> None:
        if at_us > self._now_us and at_us not in self._reminded:
            self._reminded.add(at_us)
            self._out.append(Remind(at_us))

    def _running(self, number: int, name: str, attempt: int) -> _Stage | None:
        frame = self._frames.get(number)
        stage = None if frame is None else frame.stages.get(name)
        return stage if stage is not None and (stage.state, stage.attempt) == ("running", attempt) else None

    def _on_its_way(self, event: SendEnded | Arrived) -> _Send | None:
        frame = self._frames.get(event.frame)
        send = None if frame is None else frame.sends.get((event.stage, event.target))
        return send if send is not None and send.state in ("sending", "travelling") else None

    def _broken(self) -> Iterator[str]:
        for lane in self._every_lane:
            where = f"{lane.resource}[{lane.index}]"
            if [entry[0] for entry in lane.queue] != sorted(entry[0] for entry in lane.queue):
                yield f"the queue of {where} is out of order"
            for _, _, job in lane.queue:
                if job.state != "waiting":
                    yield f"{where} has something queued that is {job.state}"
            if lane.busy is not None and lane.busy.state not in ("running", "sending"):
                yield f"{where} is busy with something that is {lane.busy.state}"
            if lane.busy is not None and lane.given_up is not None:
                yield f"{where} does something beside what was given up and has not ended"
        for frame in self._frames.values():
            stages = frame.stages.values()
            going = sum(send.state in ("sending", "travelling") for send in frame.sends.values())
            if frame.open != sum(stage.state not in _OVER for stage in stages) + going or not frame.open:
                yield f"frame {frame.number} has miscounted what is left of it"
            for stage in stages:
                where = f"stage {stage.name} of frame {frame.number}"
                lane = self._lanes[stage.resource][stage.lane]
                if stage.state == "waiting" and all(entry[2] is not stage for entry in lane.queue):
                    yield f"{where} waits and is in no queue"
                if stage.state == "running" and lane.busy is not stage:
                    yield f"{where} runs on a lane that does something else"
                if stage.state in ("running", "done") and not _is_fed(stage):
                    yield f"{where} started before its inputs were there"
                if stage.state == "waiting":
                    for name in stage.planned.waits:
                        source = frame.stages[name]
                        send = frame.sends.get((name, stage.resource))
                        lacks = send is None or send.state == "dropped"
                        if source.resource != stage.resource and source.state not in ("cancelled", "failed") and lacks:
                            yield f"{where} waits for {name}, which nobody sends"


def _expected_end_us(planned_us: int, now_us: int) -> int:
    """When a run that has not ended may end: as planned; once it is late, as late again as it is already."""
    return planned_us if planned_us > now_us else now_us + max(1, now_us - planned_us)


def _occupies(send: _Send) -> bool:
    """Whether it takes a lane for some time; what sends for 0 us overlaps nothing."""
    return send.link.resource is not None and send.lasts_us() > 0


def _is_fed(stage: _Stage) -> bool:
    """Whether all that a stage waits for has arrived, or is known never to."""
    frame = stage.frame
    for name in stage.planned.waits:
        source = frame.stages[name]
        if source.state == "done":
            if source.resource != stage.resource and frame.sends[name, stage.resource].state != "arrived":
                return False
        elif source.state not in ("cancelled", "failed"):
            return False
    return True


def _is_needed(send: _Send) -> bool:
    if send.stage.state in ("cancelled", "failed") or send.stage.resource != send.link.source:
        return False
    stages = send.frame.stages
    return any(
        stages[name].state == "waiting" and stages[name].resource == send.link.target
        for name in send.stage.planned.readers
    )


def _fate(stage: _Stage) -> tuple[Literal["cancelled", "failed"], str] | None:
    """What a waiting stage comes to without running; None while it may still run. Gates decide first."""
    stages, needs = stage.frame.stages, stage.planned.needs
    gates = [stages[name] for name in needs.gates]
    if any(gate.state not in _OVER for gate in gates):
        return None
    if gates and not any(gate.state == "done" and gate.opened for gate in gates):
        failed = [gate.name for gate in gates if gate.state == "failed"]
        return ("failed", f"its gate {failed[0]} failed") if failed else ("cancelled", "")
    reads = [stages[name] for name in needs.reads]
    failed = [read.name for read in reads if read.state == "failed"]
    if failed:
        return "failed", f"its input {failed[0]} failed"
    absent = sum(read.state == "cancelled" or _makes_nothing_for(read, stage.name) for read in reads)
    if absent and not (needs.takes_absent and absent < len(reads)):
        return "cancelled", ""
    return None


def _makes_nothing_for(stage: _Stage, reader: str) -> bool:
    return stage.report is not None and reader in stage.report.absent_for

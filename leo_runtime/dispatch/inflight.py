"""What is in flight: frames with their stages, transfers and spans, lanes, and what decides of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from leo_runtime.dispatch.events import EvictionRecord, LoadRecord, RunReport, SendRecord, SpanRecord, StageRecord
from leo_runtime.dispatch.memory import FrameMemory, Stay
from leo_runtime.dispatch.plan import Plan, PlannedSpan, PlannedStage, Use, Wait, load_use
from leo_runtime.documents.memory import Loader
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

OVER = ("done", "cancelled", "failed")


class Frame:
    """A frame in flight."""

    # No dataclass: compiled, one with factories imports `dataclasses` each time that it is made.

    def __init__(
        self, number: int, release_us: int, give_up_us: int | None, plan: Plan, windowed: bool, now_us: int
    ) -> None:
        """It is admitted now. `windowed`: its plan is that of a window."""
        self.number = number
        self.release_us = release_us
        self.give_up_us = give_up_us
        self.plan = plan
        self.stages: dict[str, Stage] = {}
        self.sends: dict[tuple[str, str], Send] = {}
        """The transfers, by stage and target."""
        self.spans: list[FrameSpan] = []
        """Those that are not over."""
        self.awake: list[SpanRecord] = []
        """Those that are, as far as anything was awake."""
        self.wakes: list[tuple[str, int]] = []
        self.waits_given_up = 0
        self.admitted_us = now_us
        self.gates: set[str] = set()
        """Those that transfers and wake-ups wait for."""
        self.windowed = windowed
        """Its plan is that of a window, or has become so."""
        self.past: list[StageRecord] = []
        """Attempts that failed."""
        self.sends_lost: list[SendRecord] = []
        self.open = 0
        """Stages that are not over, and transfers on their way."""
        self.reduced = False
        """A gate closed, a stage failed or made nothing for some: every end may now decide what others come to."""
        self.started = False
        self.skipped = False
        self.serial = 0
        self.limit_us: int | None = None
        """No run of it is given up before; None: none is."""
        self.memory: FrameMemory | None = None
        """What it has in memory; None: its machine has no loaders."""
        self.loads: dict[int, Load] = {}

    def job(self, use: Use) -> Job:
        """What a use of its plan is now."""
        name, target = use
        if not name and target is not None:
            return self.loads[int(target)]
        return self.stages[name] if target is None else self.sends[name, target]

    def records(self) -> tuple[StageRecord, ...]:
        """What became of its stages, in their order, each after its attempts that failed."""
        found = [stage.record() for stage in self.stages.values()]
        if self.past:
            order = {name: index for index, name in enumerate(self.stages)}
            found = sorted((*self.past, *found), key=lambda record: (order[record.stage], record.attempt))
        return tuple(found)

    def add_send(self, stage: Stage, target: str, lane: int | None, start_us: int) -> Send:
        """A new transfer, instead of any other of that output to that target."""
        self.serial += 1
        key = (start_us, 0, self.number, self.serial)
        link, size = self.plan.links[stage.resource, target], stage.mode.output_bytes
        send = Send(self, stage, link, lane, key, start_us, size, link.sending_us(size))
        self.sends[stage.name, target] = send
        return send


@dataclass(eq=False)
class Stage:
    """A stage of a frame in flight: where it is to run now, and what became of it."""

    frame: Frame
    name: str
    planned: PlannedStage
    key: Key
    resource: str
    """Empty: an event-driven policy has not decided about it yet, and `mode` is one that it could have."""
    lane: int
    mode: Mode
    variant: str
    """Of its mode, as the next."""
    duration_us: int
    release_us: int
    """No earlier does it start."""
    use: Use
    """What it is in a plan."""
    state: Literal["waiting", "running", "done", "cancelled", "failed"] = "waiting"
    attempt: int = 0
    moved: bool = False
    report: RunReport | None = None
    start_us: int = 0
    end_us: int = 0
    error: str = ""
    span: FrameSpan | None = None
    is_gone: bool = False
    """What it has computed was on a server that is lost."""

    def take(self, mode: Mode, lane: int) -> None:
        """It is to run in that mode, on that lane."""
        self.resource, self.lane = mode.resource, lane
        self.mode, self.variant, self.duration_us = mode, mode.variant, mode.duration_us

    @property
    def on(self) -> str | None:
        """The resource that it occupies."""
        return self.resource

    def in_mode(self, mode: Mode) -> tuple[str, str, str]:
        """A mode of it by processor, stage of the workload and variant, as it is known beyond this frame."""
        job = self.frame.plan.jobs.get(self.name)
        return mode.resource, self.name if job is None else job.stage, mode.variant

    @property
    def opened(self) -> bool:
        """Whether it is over and, if it is a gate, open."""
        return self.report is not None and self.report.opened

    def lasts_us(self) -> int:
        """How long it is planned to take."""
        return self.duration_us

    def record(self) -> StageRecord:
        """What became of it."""
        release_us, planned = self.frame.release_us, self.planned
        outcome: Outcome = "done"
        if self.state == "failed" or self.state == "cancelled":
            outcome = self.state
        # By position: by name it takes four times as long.
        return StageRecord(
            self.name,
            self.resource,
            self.variant,
            self.lane,
            self.attempt,
            outcome,
            self.mode,
            release_us + planned.start_us,
            release_us + planned.end_us,
            self.start_us,
            self.end_us,
            self.error,
            self.report,
        )


@dataclass(eq=False)
class Send:
    """A transfer of a frame in flight. `dropped`: nobody waits for it any more."""

    frame: Frame
    stage: Stage
    link: Link
    lane: int | None
    key: Key
    planned_us: int
    bytes: int
    sending_us: int
    """How long it takes."""
    wait: Wait | None = None
    """The gates it still waits for; times are from the frame's release."""
    state: Literal["waiting", "sending", "travelling", "arrived", "dropped"] = "waiting"
    start_us: int = 0
    sent_us: int = 0
    arrive_us: int = 0
    span: FrameSpan | None = None

    @property
    def use(self) -> Use:
        """What it is in a plan."""
        return self.stage.name, self.link.target

    @property
    def on(self) -> str | None:
        """The resource that it occupies, if any."""
        return self.link.resource

    def lasts_us(self) -> int:
        """How long it is planned to take."""
        return self.sending_us

    @property
    def number(self) -> int:
        """Of this sending, in its frame."""
        return int(self.key[3])

    def record(self) -> SendRecord:
        """What became of it."""
        link = self.link
        return SendRecord(
            self.stage.name,
            link.source,
            link.target,
            link.resource,
            self.lane,
            self.planned_us,
            self.start_us,
            self.sent_us,
            self.arrive_us,
            link.sending_nj(self.bytes),
        )

    def lost_record(self, now_us: int, error: str) -> SendRecord:
        """What became of it where it is lost now: the part that was sent took energy."""
        sent_us, sent_bytes = self.sent_us, self.bytes
        if self.state == "sending":
            sent_us = max(now_us, self.start_us)
            sent_bytes = self.bytes * min(sent_us - self.start_us, self.sending_us) // max(1, self.sending_us)
        arrive_us, nj = max(now_us, sent_us), self.link.sending_nj(sent_bytes)
        return replace(self.record(), sent_us=sent_us, arrive_us=arrive_us, nj=nj, error=error)


@dataclass(eq=False)
class Load:
    """A load of a frame in flight. `spared`: its label was there. `left`: its frame has ended before."""

    frame: Frame
    number: int
    stay: Stay
    """What it begins."""
    loader: Loader
    lane: int
    key: Key
    stages: tuple[str, ...]
    state: Literal["waiting", "loading", "travelling", "arrived", "spared", "dropped", "left"] = "waiting"
    start_us: int = 0
    loaded_us: int = 0
    arrive_us: int = 0
    span: FrameSpan | None = None

    @property
    def use(self) -> Use:
        """What it is in a plan."""
        return load_use(self.number)

    @property
    def on(self) -> str:
        """The resource that it occupies."""
        return self.loader.resource

    def lasts_us(self) -> int:
        """How long it occupies that."""
        return self.loader.loading_us(self.stay.bytes)

    def record(self) -> LoadRecord:
        """What became of it; of one that has not ended what was to come."""
        loaded_us = self.loaded_us if self.state in ("travelling", "arrived") else self.start_us + self.lasts_us()
        return LoadRecord(
            label=self.stay.label,
            target=self.stay.target,
            resource=self.on,
            lane=self.lane,
            bytes=self.stay.bytes,
            planned_start_us=self.stay.from_us,
            start_us=self.start_us,
            loaded_us=loaded_us,
            arrive_us=self.arrive_us if self.state == "arrived" else loaded_us + self.loader.latency_us,
            nj=self.loader.loading_nj(self.stay.bytes),
            stages=self.stages,
        )


Job = Stage | Send | Load


@dataclass(eq=False)
class FrameSpan:
    """A time in which a frame has a resource awake, and what of it is to be done then."""

    frame: Frame
    supply: Supply
    jobs: dict[Use, Job]
    """What of it is not over."""
    planned: PlannedSpan | None = None
    """None: it was not planned, but what is done in it has moved there. Its times are from the frame's release."""
    due_us: int | None = None
    """When it is woken in any case, where it sleeps though it should be awake. On the run's clock, as what follows."""
    hold_until_us: int | None = None
    """Until when it is to be held after its last use."""
    is_open: bool = False
    from_us: int | None = None
    """Since when it is awake for it; None: it is not."""


@dataclass(eq=False)
class GivenUp:
    """A run or transfer that nobody waits for any more, and that has not ended yet."""

    start_us: int
    planned_us: int
    mode: tuple[str, str, str] | None = None
    """Of a run: its processor, its stage of the workload, and the variant."""


@dataclass(eq=False)
class Supply:
    """Whether a resource is awake, and for whom."""

    resource: str
    lanes: list[Lane]
    used_us: int | None
    """Until when it was kept awake, as far as is known."""
    state: Literal["awake", "waking", "asleep"] = "awake"
    woken_us: int = 0
    """When it will be awake, where it is waking."""
    linger_us: int | None = None
    """How long it stays awake after its last use; None: for ever, or nobody said."""
    is_windowed: bool = False
    """The plan of a window said how long it lingers."""
    open: list[FrameSpan] = field(default_factory=list)
    held_until_us: int | None = None
    is_told: bool = False
    """It was told to be held."""

    def is_busy(self) -> bool:
        """Whether a lane of it is occupied."""
        for lane in self.lanes:  # noqa: SIM110  # Compiled, a generator takes ten times as long.
            if lane.busy is not None or lane.given_up is not None:
                return True
        return False


@dataclass(eq=False)
class Lane:
    """One lane of a resource: what it does, and what it does next."""

    resource: str
    index: int
    ready_us: int
    number: int
    """Among the lanes of all resources."""
    queue: list[Job] = field(default_factory=list)
    """In the order of their keys."""
    busy: Job | None = None
    given_up: GivenUp | None = None
    is_touched: bool = False
    """Something has changed for the first of its queue, so that it may start now."""
    ended_us: int = -1
    """When something last ended on it."""

    def remove(self, job: Job) -> None:
        """Take it out of the queue."""
        self.queue = [other for other in self.queue if other is not job]

    def free_us(self, now_us: int, without: Collection[int] = ()) -> int:
        """When it will have done all it has, if everything lasts as long as planned.

        What waits of the frames `without` is left out.
        """
        at_us = self.ready_us if self.ready_us > now_us else now_us
        if self.busy is not None:
            at_us = max(at_us, expected_end_us(self.busy.start_us + self.busy.lasts_us(), now_us))
        if self.given_up is not None:
            at_us = max(at_us, expected_end_us(self.given_up.start_us + self.given_up.planned_us, now_us))
        for job in self.queue:
            if job.frame.number not in without:
                at_us = max(at_us, job.key[0]) + job.lasts_us()
        return at_us

    def is_suspect(self, now_us: int) -> bool:
        """Whether what it runs is so late that it may never end."""
        if self.given_up is not None:
            start_us, planned_us = self.given_up.start_us, self.given_up.planned_us
        elif isinstance(self.busy, Stage):
            start_us, planned_us = self.busy.start_us, self.busy.lasts_us()
        else:
            return False
        return now_us - start_us - planned_us > max(SUSPECT_FACTOR * planned_us, SUSPECT_LEAST_US)


def planned_stage(frame: Frame, name: str, planned: PlannedStage, index: int) -> Stage:
    """A stage as it is planned, the frame's `index`th."""
    release_us, waits_us = frame.release_us, planned.release_us
    return Stage(
        frame,
        name,
        planned,
        (release_us + planned.start_us, 1, frame.number, index),
        planned.resource,
        planned.lane,
        planned.mode,
        planned.variant,
        planned.duration_us,
        release_us + waits_us if waits_us else release_us,
        planned.use,
    )


def loaded(frame: Frame) -> tuple[tuple[LoadRecord, ...], tuple[EvictionRecord, ...]]:
    """The loads of a frame that began, and what made room for it."""
    if frame.memory is None:
        return (), ()
    begun = ("loading", "travelling", "arrived", "left")
    return tuple(load.record() for load in frame.loads.values() if load.state in begun), tuple(frame.memory.evicted)


def has_decided(frame: Frame, gates: Sequence[str]) -> bool:
    """Whether one of several gates has opened, or all have closed, were cancelled or failed."""
    known = [frame.stages[name] for name in gates]
    return any(gate.state == "done" and gate.opened for gate in known) or all(gate.state in OVER for gate in known)


def expected_end_us(planned_us: int, now_us: int) -> int:
    """When a run that has not ended may end: as planned; once it is late, as late again as it is already."""
    return planned_us if planned_us > now_us else now_us + max(1, now_us - planned_us)


def occupies(send: Send) -> bool:
    """Whether it takes a lane for some time; what sends for 0 us overlaps nothing."""
    return send.sending_us > 0 and send.link.resource is not None


def is_fed(stage: Stage) -> bool:
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


def is_needed(send: Send) -> bool:
    """Whether something waits for a transfer at its target."""
    if send.stage.state in ("cancelled", "failed") or send.stage.resource != send.link.source:
        return False
    stages = send.frame.stages
    return any(
        stages[name].state == "waiting" and stages[name].resource == send.link.target
        for name in send.stage.planned.readers
    )


def fate_of(stage: Stage) -> tuple[Literal["cancelled", "failed"], str] | None:
    """What a waiting stage comes to without running; None while it may still run. Gates decide first."""
    stages, needs = stage.frame.stages, stage.planned.needs
    gates = [stages[name] for name in needs.gates]
    if any(gate.state not in OVER for gate in gates):
        return None
    if gates and not any(gate.state == "done" and gate.opened for gate in gates):
        failed = [gate.name for gate in gates if gate.state == "failed"]
        return ("failed", f"its gate {failed[0]} failed") if failed else ("cancelled", "")
    reads = [stages[name] for name in needs.reads]
    failed = [read.name for read in reads if read.state == "failed"]
    if failed:
        return "failed", f"its input {failed[0]} failed"
    absent = sum(read.state == "cancelled" or makes_nothing_for(read, stage.name) for read in reads)
    if absent and not (needs.takes_absent and absent < len(reads)):
        return "cancelled", ""
    return None


def makes_nothing_for(stage: Stage, reader: str) -> bool:
    """Whether a stage of a batch computed nothing for that reader."""
    return stage.report is not None and reader in stage.report.absent_for


def broken_lane(lane: Lane) -> Iterator[str]:
    """What must never be of a lane."""
    where = f"{lane.resource}[{lane.index}]"
    if [job.key for job in lane.queue] != sorted(job.key for job in lane.queue):
        yield f"the queue of {where} is out of order"
    for job in lane.queue:
        if job.state != "waiting":
            yield f"{where} has something queued that is {job.state}"
    if lane.busy is not None and lane.busy.state not in ("running", "sending", "loading"):
        yield f"{where} is busy with something that is {lane.busy.state}"
    if lane.busy is not None and lane.given_up is not None:
        yield f"{where} does something beside what was given up and has not ended"


def broken_frame(frame: Frame, lanes: Mapping[str, Sequence[Lane]]) -> Iterator[str]:
    """What must never be of a frame in flight."""
    stages = frame.stages.values()
    going = sum(send.state in ("sending", "travelling") for send in frame.sends.values())
    going += sum(load.state in ("loading", "travelling") for load in frame.loads.values())
    if frame.open != sum(stage.state not in OVER for stage in stages) + going or not frame.open:
        yield f"frame {frame.number} has miscounted what is left of it"
    for stage in stages:
        where = f"stage {stage.name} of frame {frame.number}"
        if not stage.resource:
            if stage.state != "waiting":
                yield f"{where} is {stage.state}, and nobody has decided about it"
            continue
        lane = lanes[stage.resource][stage.lane]
        if stage.state == "waiting" and all(job is not stage for job in lane.queue):
            yield f"{where} waits and is in no queue"
        if stage.state == "running" and lane.busy is not stage:
            yield f"{where} runs on a lane that does something else"
        # What it has read may be lost since, and computed once more.
        was_fed = stage.is_gone or any(frame.stages[name].attempt for name in stage.planned.waits)
        if stage.state in ("running", "done") and not was_fed and not is_fed(stage):
            yield f"{where} started before its inputs were there"
        if stage.state == "waiting":
            for name in stage.planned.waits:
                source = frame.stages[name]
                send = frame.sends.get((name, stage.resource))
                lacks = send is None or send.state == "dropped"
                if source.resource != stage.resource and source.state not in ("cancelled", "failed") and lacks:
                    yield f"{where} waits for {name}, which nobody sends"
    yield from _broken_spans(frame)


def _broken_spans(frame: Frame) -> Iterator[str]:
    jobs: list[Job] = [stage for stage in frame.stages.values() if stage.state not in OVER and stage.resource]
    jobs += [send for send in frame.sends.values() if send.state in ("waiting", "sending") and send.on is not None]
    jobs += [load for load in frame.loads.values() if load.state in ("waiting", "loading")]
    for job in jobs:
        span = job.span
        if span is None or span.jobs.get(job.use) is not job or span.supply.resource != job.on:
            yield f"{job.use} of frame {frame.number} lies in no span of {job.on}"
        elif job.state != "waiting" and not span.is_open:
            yield f"{job.use} of frame {frame.number} started before its span"
    if sum(len(span.jobs) for span in frame.spans) != len(jobs) or not all(span.jobs for span in frame.spans):
        yield f"the spans of frame {frame.number} have something in them that is over"

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

**Waking and waiting.** Who is awake when is `leo_runtime.dispatch.power`, how long a transfer or a wake-up waits for
gates `leo_runtime.dispatch.waits`. Such a wait breaks the order of all work nowhere: gates end before what waits for
them is planned, and a wait that nobody can decide any more is none.

**Faults.** A stage that fails, or whose processor is lost, is moved once: to its fastest other mode on a processor
that is there, linked to where its inputs are and its readers run, and has the memory; accuracy budgets hold for it too.
Where there is none, or it fails again, it is `failed`, and so is what depends on it; the frame still ends. What a stage
has computed outlives its processor: outputs are handed to the host when it ends. A run that is given up still occupies
its lane until the driver says that it has ended, or that it is over its limit, also where its processor is lost and
found again.

**Links and servers.** When a link falls, what is under way over it is lost (`_lose_link`), and so is what is sent to or
from a server, one of the `remote`, that is lost: its outputs go with it. A stage that lacks what it reads where it is
to run is taken to where that can be had; where it is no server's, what it reads is computed once more on this side
(`_rescue`), its own inputs first. That is of no stage's making, so that it does not count as its one move; it goes to
where it is expected to end first. A link is not used again as soon as it is back (`links`). A
server is waited for as long as its work can still be done on this side in time (`turning_back`).

**Late runs.** A lane whose run takes longer than planned is expected to take as long again as it is late already, and
is `suspect` when it is late by `SUSPECT_FACTOR` times the run's planned duration and `SUSPECT_LEAST_US` (`inflight`); a
resource all of whose lanes are is one of the `suspects`, and work moves there last. A run that has not ended within its
limit (`limits.RunLimit`) is given up as one that failed. Its lane is renewed, so that it occupies that no longer, and
its mode is set aside (`health`): stages that wait to run in it move, as they do where a processor is lost, until a
probe says that it works again. Where the kernels of several stages hang on a processor, one after the other, and
nothing ended there between, it is lost by itself, as it is where its device is gone, and probed as well. What somebody
said to be lost is not.

**Event-driven policies.** The stages of a plan that is `undecided` are in no queue. Whenever something has happened,
the policy is asked about those that are ready, one after the other (`asking`): one that it starts goes into the queue
of the lane that it chose, behind all that was decided before, and what it reads is sent; the processor is woken at
once. So the queues of all lanes are in the order of the decisions, and what is in them waits only for transfers whose
outputs are there. What fails moves as it does in any other plan.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count as count_up
from operator import attrgetter, itemgetter
from typing import Literal

from leo_runtime.dispatch.asking import Asking, Machine
from leo_runtime.dispatch.events import (
    Arrived,
    CancelSend,
    CancelStage,
    Event,
    Exit,
    FrameAdmitted,
    FrameDone,
    FrameDropped,
    Instruction,
    LaneRenewed,
    LinkFound,
    LinkLost,
    LoadArrived,
    LoadEnded,
    LoadWeights,
    ProbeEnded,
    ProcessorFound,
    ProcessorLost,
    Remind,
    RenewLane,
    ResourceWoken,
    RunStage,
    SendEnded,
    SendFailed,
    SendOutput,
    StageEnded,
    StageFailed,
    StageOverdue,
)
from leo_runtime.dispatch.health import STAGES_HUNG, Health, Target
from leo_runtime.dispatch.inflight import (
    OVER,
    Frame,
    GivenUp,
    Job,
    Lane,
    Load,
    Send,
    Stage,
    broken_frame,
    broken_lane,
    fate_of,
    has_decided,
    is_fed,
    is_needed,
    loaded,
    occupies,
    planned_stage,
)
from leo_runtime.dispatch.left import LeftOver, left_over
from leo_runtime.dispatch.limits import Limits, RunLimit
from leo_runtime.dispatch.links import Ends, Links
from leo_runtime.dispatch.memory import Found, FrameMemory, Memory, Room, labels_of
from leo_runtime.dispatch.open_plan import decided
from leo_runtime.dispatch.plan import Plan, PlannedMemory, PlannedSend, PlannedStay
from leo_runtime.dispatch.power import Power
from leo_runtime.dispatch.reach import Cut, could_run, lacking, stuck
from leo_runtime.dispatch.turning_back import awaited, latest_us
from leo_runtime.dispatch.waits import Patience
from leo_runtime.documents.problem import Mode
from leo_runtime.frame.event_driven import EventPolicy, Moment, Option, Start

_number, _key, _at = attrgetter("number"), attrgetter("key"), itemgetter(0)

MOST_PLANS = 256
"""Of so many plans it is kept how long servers are waited for."""

Which = int | tuple[str, int]
"""Of several runs of a stage in a frame, by attempt, and transfers of its output, by target and number."""


class Dispatcher:
    """Decides what starts when, on the lanes of a machine. `handle` is its one entry."""

    def __init__(
        self,
        lanes: Mapping[str, int],
        *,
        ready_us: Mapping[str, tuple[int, ...]] | None = None,
        used_us: Mapping[str, int] | None = None,
        limit: RunLimit | None = None,
        rooms: Mapping[str, Room] | None = None,
        policy: EventPolicy | None = None,
        remote: Collection[str] = (),
        remember: int = 1024,
    ) -> None:
        """`lanes` of every processor and radio; `ready_us`: lanes that something else occupies until then.

        `used_us`: until when resources were used before; what lingers stays awake for a while after that. `limit` says
        when a run is given up; None: never. `rooms` are the memories of the processors that weights are loaded to;
        `policy` decides about the stages of plans that are undecided. `remote` are the processors that are servers, and
        keep what they compute: it is gone with them.
        """
        self._lanes: dict[str, list[Lane]] = {}
        numbers = count_up()
        for resource, count in lanes.items():
            ready = (ready_us or {}).get(resource) or (0,) * count
            self._lanes[resource] = [Lane(resource, index, ready[index], next(numbers)) for index in range(count)]
        self._every_lane = [lane for lanes in self._lanes.values() for lane in lanes]
        self._touched: list[Lane] = []
        """The lanes that may start something, if `_everywhere` does not say that all may."""
        self._everywhere = False
        self._out: list[Instruction] = []
        self._patience = Patience()
        self._power = Power(
            self._lanes,
            self._patience,
            tell=self._out.append,
            remind=self._remind,
            touch=self._touch,
            used_us=used_us or {},
        )
        self._lost: set[str] = set()
        self._links = Links()
        self._exits: list[tuple[int, int, Exit]] = []
        """Of frames in flight, or that were, with their numbers, in the order of their times."""
        self._turns: list[tuple[int, int, str]] = []
        """When stages of frames, by number, are to have what they are to have from servers; in order."""
        self._latest: dict[int, tuple[Plan, Mapping[str, int], Mapping[str, int]]] = {}
        """These of plans, by their identities, with what was due; the plans are kept for that."""
        self._shunned: frozenset[str] = frozenset()
        self._remote = frozenset(remote)
        self._limits = None if limit is None else Limits(limit)
        self._asking = None if policy is None else Asking(policy)
        self._decisions = 0
        self._health = Health()
        self._memory = None if not rooms else Memory(rooms)
        self._hung = False
        """Whether runs hung on a processor, and nothing has ended there since."""
        self._frames: dict[int, Frame] = {}
        self._loose: list[Send] = []
        """Transfers that occupy no lane and whose output is there, but whose radio is not awake or not ready."""
        self._given_up: dict[tuple[int, str, Which], Lane] = {}
        """Runs, by attempt, and transfers, by target and number, that nobody waits for, and the lanes that they still
        occupy."""
        self._abandoned: dict[tuple[int, str, Which], GivenUp] = {}
        """Runs that did not end within their limit and have not since, by attempt; their lanes are renewed."""
        self._reminded: set[int] = set()
        self._next_us: int | None = None
        """The first of them."""
        self._log: deque[tuple[int, Event, int, tuple[Instruction, ...]]] = deque(maxlen=remember)
        """When each event happened, and when it was taken note of; what was said of it."""
        self._now_us = 0

    # What others may ask.

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames in flight, in the order they were admitted."""
        return tuple(self._frames)

    def lanes_ready_us(self, resource: str, now_us: int, without: Collection[int] = ()) -> tuple[int, ...]:
        """When each lane of a resource will be free, if everything lasts as long as planned.

        What waits of the frames `without` is left out.
        """
        return tuple([lane.free_us(now_us, without) for lane in self._lanes[resource]])

    def standing(
        self, resource: str, now_us: int, without: Collection[int] = ()
    ) -> tuple[tuple[int, ...], int | None, int | None, bool, bool]:
        """`lanes_ready_us`, `waking_until_us`, `used_until_us`, `sleeps` and `in_use` of a resource at once."""
        power = self._power
        return (
            self.lanes_ready_us(resource, now_us, without),
            power.waking_until_us(resource),
            power.used_until_us(resource),
            power.sleeps(resource),
            power.in_use(resource),
        )

    def left_over(self, release_us: int, now_us: int) -> tuple[LeftOver, ...]:
        """Of the frames that may be placed again, what they have left; the latest first. Times from `release_us` on."""
        found = (left_over(frame, release_us, now_us) for frame in reversed(self._frames.values()))
        return tuple(left for left in found if left is not None)

    def suspects(self, now_us: int) -> tuple[str, ...]:
        """The resources every lane of which runs something so late that it may never end."""
        return tuple([name for name, lanes in self._lanes.items() if _all_suspect(lanes, now_us)])

    def is_running(self, frame: int, stage: str, attempt: int) -> bool:
        """Whether that attempt is the one that runs now; what any other gives is of no use."""
        return self._running(frame, stage, attempt) is not None

    @property
    def lost(self) -> frozenset[str]:
        """The processors that are gone."""
        return frozenset(self._lost)

    @property
    def links(self) -> Links:
        """What links are down, and were; to be looked at."""
        return self._links

    @property
    def health(self) -> Health:
        """What is out of service by itself; to be looked at."""
        return self._health

    @property
    def limits(self) -> Limits | None:
        """By what runs are given up, and how much slower than planned some have been; None: none is."""
        return self._limits

    def memory_found(self, now_us: int) -> tuple[Found, ...]:
        """What the next frame finds in the memories of processors that weights are loaded to."""
        return () if self._memory is None else self._memory.found(now_us)

    @property
    def asking(self) -> Asking | None:
        """Who asks the event-driven policy; None: there is none."""
        return self._asking

    def holds_lane(self, frame: int, stage: str, attempt: int) -> bool:
        """Whether a run that has not ended occupies its lane, whether or not it is waited for."""
        return (frame, stage, attempt) in self._given_up or self.is_running(frame, stage, attempt)

    def in_use(self, resource: str) -> bool:
        """Whether anything runs on it, or it is kept awake for what waits to, or held for a later release."""
        return self._power.in_use(resource)

    def sleeps(self, resource: str) -> bool:
        """Whether it was said to be asleep, or has lingered, and has not been woken."""
        return self._power.sleeps(resource)

    def waking_until_us(self, resource: str) -> int | None:
        """When a resource that is waking will be awake; None: it is not waking."""
        return self._power.waking_until_us(resource)

    def held_until_us(self, resource: str) -> int | None:
        """Until when it is held for a later release, or until the next frame is admitted; None: it is not."""
        return self._power.held_until_us(resource)

    def used_until_us(self, resource: str) -> int | None:
        """Until when a resource was kept awake: by what ended on it or was given up, or a plan that uses it."""
        return self._power.used_until_us(resource)

    def history(self, frame: int) -> tuple[tuple[int, Event | Instruction], ...]:
        """What happened to a frame, as far as it is remembered: times with events and instructions, in order."""
        found: list[tuple[int, Event | Instruction]] = []
        for at_us, event, now_us, out in self._log:
            found += ((at_us, event), *((now_us, instruction) for instruction in out))
        return tuple(entry for entry in found if getattr(entry[1], "frame", frame) == frame)

    def sleepers(self, linger_us: Sequence[tuple[str, int | None]], release_us: int) -> tuple[str, ...] | None:
        """Who sleeps at a release that has the machine to itself; None: it has not, or something is out of service.

        `linger_us` of every processor, store and radio.
        """
        if self._frames or self._loose or self._given_up or self._abandoned or self._lost or self._hung:
            return None
        if self._health.aside or self._links.falls or self._memory is not None or self._asking is not None:
            return None
        return self._power.sleepers(linger_us, release_us)

    def pass_alone(
        self,
        asleep: Collection[str],
        woken: Sequence[tuple[str, int]],
        uses: Sequence[tuple[str, object]],
        used_until_us: Sequence[int],
    ) -> None:
        """Take note of a frame that had the machine to itself, and is over without having been admitted.

        `asleep` slept at its release; of these, and of the resources that it `uses`, who was woken, and until when each
        was used.
        """
        if asleep:
            self._power.put_to_sleep(asleep)
        for resource, at_us in woken:
            self._power.wake_alone(resource, at_us)
        for at, (resource, _) in enumerate(uses):
            self._power.use(resource, used_until_us[at])

    def broken_invariants(self) -> tuple[str, ...]:
        """What must never be: empty unless there is a mistake in this file."""
        frames = self._frames.values()
        return (
            *(text for lane in self._every_lane for text in broken_lane(lane)),
            *(text for frame in frames for text in broken_frame(frame, self._lanes)),
            *(() if self._memory is None else self._memory.broken()),
        )

    # The one entry.

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        """Take note of what happened and say what to do about it.

        Events about frames that have ended are ignored; of attempts that were given up, all but that they are over.
        """
        at_us = event.at_us
        if at_us > self._now_us:
            self._now_us = at_us
        if isinstance(event, StageEnded):
            self._stage_ended(event)
        elif isinstance(event, SendEnded):
            self._send_ended(event)
        elif isinstance(event, Arrived):
            self._arrived(event)
        else:
            self._everywhere = True
            self._handle_rare(event)
        if self._asking is not None and self._asking.undecided:
            self._decide(self._asking)
        self._advance()
        self._power.settle()
        out = tuple(self._out)
        self._out.clear()
        self._log.append((at_us, event, self._now_us, out))
        return out

    def _handle_rare(self, event: Event) -> None:
        # No `match`: only the newest compilers of these sources know it.
        if isinstance(event, FrameAdmitted):
            self._admit(event)
        elif isinstance(event, ResourceWoken):
            self._power.woken(event.resource, event.at_us)
        elif isinstance(event, StageFailed):
            self._stage_failed(event)
        elif isinstance(event, LoadEnded):
            self._load_ended(event)
        elif isinstance(event, LoadArrived):
            self._load_arrived(event)
        elif isinstance(event, ProcessorLost):
            self._lose_anew(event.resource, event.error, event.by_itself)
        elif isinstance(event, ProcessorFound):
            self._lost.discard(event.resource)
            self._health.forget(event.resource)
        elif isinstance(event, SendFailed):
            self._send_failed(event)
        elif isinstance(event, LinkLost):
            self._lose_link((event.source, event.target), event.error)
        elif isinstance(event, LinkFound):
            self._links.rise((event.source, event.target), self._now_us)
        elif isinstance(event, StageOverdue):
            self._overdue(event)
        elif isinstance(event, LaneRenewed):
            self._renewed(self._lanes[event.resource][event.lane])
        elif isinstance(event, ProbeEnded):
            self._probed(event)
        elif isinstance(event, FrameDropped):
            self._drop_frame(event)
        else:  # Time has passed: `_advance` looks at what else waited for that.
            self._turn_back()
            self._answer_early()

    # Events.

    def _admit(self, event: FrameAdmitted) -> None:
        if event.frame in self._frames:
            raise ValueError(f"frame {event.frame} is in flight already")
        plan = event.plan
        windowed = bool(plan.linger_us)
        frame = Frame(event.frame, event.release_us, event.give_up_us, plan, windowed, self._now_us)
        if self._limits is not None:
            deadline_us = 0 if event.give_up_us is None else event.give_up_us - event.release_us
            frame.limit_us = self._limits.of_frame_us(deadline_us)
        self._power.put_to_sleep(event.asleep)
        if self._remote and event.due_us:
            for name, at_us in self._latest_us(plan, event.due_us).items():
                insort(self._turns, (event.release_us + at_us, event.frame, name))
                self._remind(event.release_us + at_us)
        for one in event.exits:
            insort(self._exits, (one.at_us, event.frame, one), key=_at)
            self._remind(one.at_us)
        for number, again in event.again:
            self._place_again(number, again)
        for index, (name, planned) in enumerate(plan.stages.items()):
            stage = frame.stages[name] = planned_stage(frame, name, planned, index)
            if plan.undecided:
                self._leave_open(stage)
            else:
                self._queue(stage)
            self._remind(stage.release_us)
        frame.open = len(frame.stages)
        self._frames[event.frame] = frame
        for planned_send in plan.sends:
            self._add_send(frame.stages[planned_send.stage], planned_send)
        if plan.memory is not None:
            self._add_stays(frame, plan.memory)
        self._power.plan(frame, plan, None, self._now_us)
        self._power.hold_anew(frame, plan.holds, self._now_us)
        if self._lost:
            for resource in [resource for resource in plan.uses if resource in self._lost]:
                self._lose(resource, "")
        self._avoid(frame)
        if self._links.falls:
            self._reroute(frame)
        if plan.memory is not None and frame.open:  # It may have lost all that it was to run on.
            self._require_room(frame)
            self._require_weights(frame, plan.memory)
        self._finish(frame)

    def _place_again(self, number: int, plan: Plan) -> None:
        """Let what waits of an earlier frame go by another plan, unless it went another way since that was asked."""
        frame = self._frames.get(number)
        if frame is None or frame.past or any(stage.moved for stage in frame.stages.values()):
            return
        begun = [frame.stages[name] for name in plan.stages if frame.stages[name].state in ("running", "done")]
        if any(stage.resource != plan.stages[stage.name].resource for stage in begun):
            return
        # Since the frame was admitted, processors and links may have come back.
        frame.plan = replace(
            frame.plan,
            links={**frame.plan.links, **plan.links},
            wake_us={**frame.plan.wake_us, **plan.wake_us},
            caps={**frame.plan.caps, **plan.caps},
        )
        frame.windowed = True
        for span in frame.spans:
            span.hold_until_us = None
        names = [name for name in plan.stages if frame.stages[name].state == "waiting"]
        moved = {name: frame.stages[name] for name in names}
        for stage in moved.values():
            self._unqueue(stage)
            anew, was = plan.stages[stage.name], stage.planned
            stage.planned = replace(anew, needs=was.needs, waits=was.waits, readers=was.readers)
            stage.take(anew.mode, anew.lane)
            stage.key = (frame.release_us + anew.start_us, *stage.key[1:])
            stage.release_us = frame.release_us + anew.release_us
            self._queue(stage)
            self._remind(stage.release_us)
        jobs: list[Job] = list(moved.values())
        waiting = [send for send in frame.sends.values() if send.state == "waiting"]
        for send in waiting:
            self._unqueue(send)
            send.state = "dropped"
        for planned_send in plan.sends:
            stage = frame.stages[planned_send.stage]
            known = frame.sends.get((planned_send.stage, planned_send.target))
            there = stage.resource == planned_send.target or (known is not None and known.state != "dropped")
            if not there and stage.state not in ("cancelled", "failed") and not stage.is_gone:
                jobs.append(self._add_send(stage, planned_send))
        self._power.plan(frame, plan, jobs, self._now_us)
        for send in waiting:
            self._power.leave(send, self._now_us)
        for job in jobs:
            if job.on is not None and (job.span is None or job.span.supply.resource != job.on):
                self._power.move(job, job.on, self._now_us)
        for stage in frame.stages.values():
            if stage.state == "waiting":
                for name in stage.planned.waits:
                    self._ensure_send(frame.stages[name], stage.resource, stage.key[0])
        if self._lost:
            for resource in [resource for resource in plan.uses if resource in self._lost]:
                self._lose(resource, "")
        self._avoid(frame)
        if self._links.falls or self._remote:
            self._reroute(frame)
        self._finish(frame)

    def _add_send(self, stage: Stage, planned: PlannedSend) -> Send:
        """A transfer as it is planned."""
        frame = stage.frame
        send = frame.add_send(stage, planned.target, planned.lane, frame.release_us + planned.start_us)
        send.wait = planned.wait
        if planned.wait is not None:
            frame.gates.update(planned.wait.gates)
        self._enlist(send)
        return send

    def _add_stays(self, frame: Frame, planned: PlannedMemory) -> None:
        """What a frame is to have in memory, and its loads. What is resident may be gone (`_require_weights`)."""
        assert self._memory is not None, "its machine has loaders"
        frame.memory = FrameMemory(frame.number, frame.release_us)
        for stay in planned.stays:
            if stay.lane is not None:
                self._add_load(frame, stay, stay.lane)
            elif not stay.label or self._memory.is_there(stay.target, stay.label):
                self._add_stay(frame, stay)

    def _add_stay(self, frame: Frame, planned: PlannedStay) -> None:
        """What is to be in memory without a load."""
        assert self._memory is not None and frame.memory is not None, "its machine has loaders"
        key = (frame.release_us + planned.from_us, 0, frame.number, -1)
        self._memory.plan(frame.memory, planned, key, None)

    def _add_load(self, frame: Frame, planned: PlannedStay, lane: int) -> Load:
        """A load as it is planned."""
        assert self._memory is not None and frame.memory is not None, "its machine has loaders"
        frame.serial += 1
        key, number = (frame.release_us + planned.from_us, 0, frame.number, frame.serial), len(frame.loads)
        stay = self._memory.plan(frame.memory, planned, key, number)
        load = Load(frame, number, stay, self._memory.loader(planned.target), lane, key, planned.stages)
        frame.loads[number] = load
        self._queue(load)
        return load

    def _require_room(self, frame: Frame) -> None:
        """What has moved into a memory since a frame was asked about may leave it too little: then it does not stay."""
        assert self._memory is not None, "its machine has loaders"
        for resource in self._memory.crowded(self._now_us):
            for stage in [s for s in frame.stages.values() if s.resource == resource and s.state == "waiting"]:
                if not self._move(stage):
                    self._end(stage, "failed", f"there is no room for it on `{resource}` beside what has moved there")
            self._settle(frame)

    def _require_weights(self, frame: Frame, planned: PlannedMemory) -> None:
        """Weights that were there as a frame was planned, and are gone, are loaded again; or what needs them fails."""
        assert self._memory is not None and frame.memory is not None, "its machine has loaders"
        for stay in planned.stays:
            if not stay.label or stay.lane is not None or self._memory.is_there(stay.target, stay.label):
                continue
            names = tuple(
                name
                for name in stay.stages
                if frame.stages[name].state == "waiting" and frame.stages[name].resource == stay.target
            )
            if not names:
                continue
            if self._memory.has_room(stay.target, stay.bytes, self._now_us):
                first_us = min(frame.stages[name].key[0] for name in names) - frame.release_us
                lane = self._shortest_lane(self._memory.loader(stay.target).resource)
                load = self._add_load(frame, replace(stay, from_us=first_us, stages=names), lane)
                self._power.move(load, load.on, self._now_us)
                continue
            for name in names:
                if frame.stages[name].state == "waiting":
                    error = f"its weights `{stay.label}` are no longer on `{stay.target}`, and there is no room"
                    self._end(frame.stages[name], "failed", error)
            self._settle(frame)

    def _load_ended(self, event: LoadEnded) -> None:
        load = self._loading(event)
        if load is not None and load.state == "loading":
            load.state = "travelling"
            load.loaded_us = event.at_us
            self._free(load)
        else:
            self._come_back(event.frame, "", event.load)

    def _load_arrived(self, event: LoadArrived) -> None:
        assert self._memory is not None, "its machine has loaders"
        self._memory.arrived(event.frame, event.load)
        load = self._loading(event)
        if load is None:
            self._come_back(event.frame, "", event.load)
            return
        if load.state == "loading":
            load.loaded_us = event.at_us
            self._free(load)
        load.state = "arrived"
        load.arrive_us = event.at_us
        load.frame.open -= 1
        self._finish(load.frame)

    def _leave(self, stage: Stage, kept_by: object = None) -> None:
        """A stage is over, or goes elsewhere: it needs nothing in memory any more, but what `kept_by` says."""
        if self._memory is None or stage.frame.memory is None:
            return
        self._everywhere = True
        for stay in self._memory.leave(stage.frame.memory, stage.name, kept_by):
            load = None if stay.load is None else stage.frame.loads[stay.load]
            if load is not None and load.state == "waiting":
                self._drop_load(load, "dropped")

    def _drop_load(self, load: Load, state: Literal["dropped", "spared"]) -> None:
        """A load is not made."""
        self._unqueue(load)
        self._power.leave(load, self._now_us)
        load.state = state

    def _settle_memory(self) -> None:
        """Let begin what needs no load; what waits for memory may now start on any lane."""
        assert self._memory is not None, "its machine has loaders"
        if self._memory.waits():
            self._everywhere = True
            for stay in self._memory.settle(self._now_us):
                if stay.load is not None:
                    self._drop_load(self._frames[stay.of.frame].loads[stay.load], "spared")

    def _stage_ended(self, event: StageEnded) -> None:
        stage = self._running(event.frame, event.stage, event.attempt)
        if stage is None:
            self._come_back(event.frame, event.stage, event.attempt, well=True)
            return
        report = event.report
        self._free(stage)
        self._leave(stage)
        stage.state = "done"
        stage.report = report
        # A clock that was handed in may go back.
        if report.started_us is not None and report.started_us > stage.start_us:
            stage.start_us = report.started_us
        stage.end_us = max(event.at_us, stage.start_us)
        frame = stage.frame
        if self._limits is not None:
            lasted_us = event.at_us - stage.start_us
            if lasted_us > self._limits.noted_us or self._limits.slower:
                self._limits.observe(stage.in_mode(stage.mode), stage.duration_us, lasted_us)
            if self._hung:
                self._see_end(stage.resource)
        if self._asking is not None:
            self._asking.observe(stage, stage.end_us - stage.start_us)
        if self._patience.see(stage) or stage.name in frame.gates:
            self._everywhere = True
        for name in stage.planned.readers:
            reader = frame.stages[name]
            if reader.resource == stage.resource:
                self._touch(self._lanes[reader.resource][reader.lane])
                continue
            send = frame.sends.get((stage.name, reader.resource))
            if send is None or send.state != "waiting":
                continue
            if occupies(send):
                self._touch_on(send)
            elif send not in self._loose:
                self._loose.append(send)
        frame.open -= 1
        if frame.reduced or not report.opened or report.absent_for:
            self._settle(frame)
        if not frame.open:
            self._finish(frame)

    def _stage_failed(self, event: StageFailed) -> None:
        stage = self._running(event.frame, event.stage, event.attempt)
        if stage is None:
            self._come_back(event.frame, event.stage, event.attempt)
            return
        self._free(stage)
        if self._hung:
            self._see_end(stage.resource)
        if event.started_us is not None and event.started_us > stage.start_us:
            stage.start_us = event.started_us
        stage.end_us = max(event.at_us, stage.start_us)
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
            self._send_comes_back(event)

    def _arrived(self, event: Arrived) -> None:
        send = self._on_its_way(event)
        if send is None:
            self._send_comes_back(event)
            return
        if send.state == "sending":
            send.sent_us = event.at_us
            self._free(send)
        send.state = "arrived"
        send.arrive_us = event.at_us
        frame = send.frame
        for name in send.stage.planned.readers:
            reader = frame.stages[name]
            if reader.resource == send.link.target:
                self._touch(self._lanes[reader.resource][reader.lane])
        frame.open -= 1
        self._finish(frame)

    def _lose_anew(self, resource: str, why: str, by_itself: bool) -> None:
        """A processor is lost: somebody said so, or it was noticed."""
        if not by_itself:
            self._health.forget(resource)
        elif resource not in self._lost:
            self._out += self._health.set_aside((resource, "", ""), why, self._now_us)
        self._lose(resource, why)

    def _lose(self, resource: str, why: str) -> None:
        self._lost.add(resource)
        self._power.lose(resource)
        if self._memory is not None:
            self._memory.lose(resource)
        is_remote = resource in self._remote
        error = f"processor `{resource}` was lost" + (f" ({why})" if why else "")
        for frame in list(self._frames.values()):
            if is_remote:
                self._forget_server(frame, resource, error)
            hit = [s for s in frame.stages.values() if s.resource == resource and s.state in ("waiting", "running")]
            for stage in hit:
                if is_remote:
                    self._fetch_inputs(stage, error)
                if stage.state == "running":
                    self._cancel(stage)
                    self._retry(stage, error, anew=is_remote)
                elif not self._move(stage, anew=is_remote):
                    self._end(stage, "failed", error)
            if hit:
                self._settle(frame)
            if is_remote:
                self._reroute(frame)
            if hit or is_remote:
                self._finish(frame)

    def _forget_server(self, frame: Frame, resource: str, why: str) -> None:
        """A server is gone with what it has, and what is under way to it and from it."""
        for stage in frame.stages.values():
            if stage.resource == resource and stage.state == "done":
                stage.is_gone = True
        for send in frame.sends.values():
            if resource in (send.link.source, send.link.target):
                self._lose_send(send, why)
            if send.link.target == resource and send.state == "arrived":
                frame.sends_lost.append(send.record())  # It did arrive, and is there no more.
                send.state = "dropped"

    def _send_failed(self, event: SendFailed) -> None:
        """A transfer has broken off. Its link is not used for a while."""
        send = self._on_its_way(event)
        if send is None:
            self._send_comes_back(event)
            return
        if send.state == "sending":
            self._free(send)
        self._note_lost(send, event.error)
        self._links.fall((send.link.source, send.link.target), event.error, self._now_us, is_down=False)
        self._reroute_all()

    def _lose_link(self, ends: Ends, why: str) -> None:
        """A link has fallen."""
        if not self._links.fall(ends, why, self._now_us):
            return
        error = f"link `{ends[0]}` -> `{ends[1]}` fell" + (f" ({why})" if why else "")
        for frame in self._frames.values():
            for send in frame.sends.values():
                if (send.link.source, send.link.target) == ends:
                    self._lose_send(send, error)
        self._reroute_all()

    def _reroute_all(self) -> None:
        """As `_reroute`, of all frames: a link or a server is not there any more."""
        for frame in list(self._frames.values()):
            self._reroute(frame)
            self._finish(frame)

    def _lose_send(self, send: Send, why: str) -> None:
        """What is under way over a link is lost."""
        if send.state == "sending":
            frame, stage = send.frame, send.stage
            self._give_up(send)
            self._out.append(CancelSend(frame.number, stage.name, send.link.target, send.number))
        if send.state in ("sending", "travelling"):
            self._note_lost(send, why)

    def _note_lost(self, send: Send, why: str) -> None:
        """A transfer is under way no more, and has not arrived."""
        send.frame.sends_lost.append(send.lost_record(self._now_us, why))
        send.state = "dropped"
        send.frame.open -= 1

    def _cut(self) -> Cut:
        """What cannot be had now."""
        return Cut(self._links.out(self._now_us), self._remote, self._shunned)

    def _reroute(self, frame: Frame) -> None:
        """See to it that what waits can have what it reads, or fail it.

        What is taken elsewhere may be lacked where it was: that is looked at once more, as often as there are stages.
        """
        left = len(frame.stages)
        while self._reroute_once(frame, gives_up=left <= 0):
            left -= 1

    def _reroute_once(self, frame: Frame, *, gives_up: bool) -> bool:
        """Take each stage that lacks something to where it can have it, or that to it; `gives_up`: fail it. False where
        there was none."""
        cut, found = self._cut(), False
        for stage in tuple(frame.stages.values()):
            if stage.state != "waiting" or not stage.resource:
                continue
            if not (lacks := lacking(stage, cut)):
                self._send_anew(stage)
                continue
            found = True
            error = self._why_lacking(lacks[0], stage.resource)
            is_remote = stage.resource in self._remote
            if not gives_up and (is_remote or not self._remote):
                self._fetch_inputs(stage, error)
                if self._move(stage, anew=True):
                    continue
            if not gives_up and not is_remote:
                for one in lacks:
                    self._rescue(one, error)
            if lacking(stage, cut):
                self._end(stage, "failed", error)
        if found:
            self._settle(frame)
        return found

    def _send_anew(self, stage: Stage) -> None:
        """See to it that what a stage reads is sent to it, where that was lost on its way."""
        for name in stage.planned.waits:
            send = stage.frame.sends.get((name, stage.resource))
            if send is not None and send.state == "dropped":
                self._ensure_send(stage.frame.stages[name], stage.resource, stage.key[0])

    def _why_lacking(self, source: Stage, target: str) -> str:
        """Why an output cannot be had there."""
        here = source.resource
        if source.is_gone:
            return f"the output of `{source.name}` was lost with `{here}`"
        why = self._links.out(self._now_us).get((here, target), "")
        return f"the output of `{source.name}` cannot get from `{here}` to `{target}`" + (f" ({why})" if why else "")

    def _fetch_inputs(self, stage: Stage, why: str) -> None:
        """Compute once more what a stage reads, and could have nowhere else."""
        for one in stuck(stage, self._lost, self._cut()):
            self._rescue(one, why)

    def _rescue(self, stage: Stage, why: str) -> bool:
        """Have a stage run, once more if it has, where what it gives can be had; False where there is no such place."""
        self._fetch_inputs(stage, why)
        if stage.state == "waiting":
            return self._move(stage, anew=True)
        keeps_state = stage.report is not None and stage.report.state is not None
        if stage.state not in ("running", "done") or keeps_state or self._elsewhere(stage, anew=True) is None:
            return False
        if stage.state == "running":
            self._cancel(stage)
            self._retry(stage, why, anew=True)
            return True
        stage.frame.open += 1
        stage.is_gone = False
        self._retry(stage, why, anew=True)
        stage.report = None
        return True

    def _overdue(self, event: StageOverdue) -> None:
        """A run has not ended within its limit: its lane is to go on, and its mode is not used for now."""
        key, stage = (event.frame, event.stage, event.attempt), self._running(event.frame, event.stage, event.attempt)
        if stage is not None:
            self._cancel(stage)
        lane = self._given_up.pop(key, None)
        if lane is None or lane.given_up is None or lane.given_up.mode is None:
            return
        run, mode = lane.given_up, lane.given_up.mode
        resource, name, variant = mode
        self._abandoned[key] = run
        why = f"stage `{name}` was given up on `{resource}` after {event.limit_us / 1e6:g} s, its limit"
        tally = self._health.of(resource)
        tally.given_up += 1
        tally.abandoned += 1
        self._out.append(RenewLane(resource, lane.index, name, variant))
        self._out += self._health.set_aside(mode, why, self._now_us)
        if stage is not None:
            self._retry(stage, why)
            self._settle(stage.frame)
            self._finish(stage.frame)
        for frame in list(self._frames.values()):
            if self._avoid(frame):
                self._finish(frame)
        if all(other is lane or other.ended_us <= run.start_us for other in self._lanes[resource]):
            self._hung = True
            tally.hung.add(name)
            if len(tally.hung) >= STAGES_HUNG and resource not in self._lost:
                hung = ", ".join(f"`{one}`" for one in sorted(tally.hung))
                self._lose_anew(resource, f"nothing ends there: {hung} hung", by_itself=True)

    def _avoid(self, frame: Frame) -> bool:
        """Move what waits to run in a mode that is set aside, or fail it; True if there was any."""
        aside = self._health.aside
        if not aside:
            return False
        waiting = [s for s in frame.stages.values() if s.state == "waiting" and s.resource]
        found = [s for s in waiting if s.in_mode(s.mode) in aside]
        for stage in found:
            if not self._move(stage):
                self._end(stage, "failed", f"not tried: {aside[stage.in_mode(stage.mode)].why}")
        if found:
            self._settle(frame)
        return bool(found)

    def _renewed(self, lane: Lane) -> None:
        """A lane goes on without what hangs there."""
        if lane.given_up is not None:
            self._health.of(lane.resource).renewed += 1
            lane.given_up = None
            self._touch(lane)
            self._power.use(lane.resource, self._now_us)
            if self._memory is not None:
                self._memory.free(lane)
                self._everywhere = True

    def _see_end(self, resource: str) -> None:
        """Something has ended on a processor, which therefore does not hang."""
        self._health.of(resource).hung.clear()
        self._hung = any(tally.hung for tally in self._health.tallies.values())

    def _probed(self, event: ProbeEnded) -> None:
        """What was set aside has been tried."""
        target: Target = (event.resource, event.stage, event.variant)
        if self._health.awaits(target, event.number):
            self._out += self._health.probed(target, event.error, self._now_us)
            if not event.error and not event.stage:
                self._lost.discard(event.resource)

    def _latest_us(self, plan: Plan, due_us: Mapping[str, int]) -> Mapping[str, int]:
        """As `turning_back.latest_us`; many frames have the same plan."""
        known = self._latest.get(id(plan))
        if known is None or known[1] is not due_us:
            if len(self._latest) >= MOST_PLANS:
                self._latest.clear()
            known = self._latest[id(plan)] = (plan, due_us, latest_us(plan, due_us, self._remote))
        return known[2]

    def _turn_back(self) -> None:
        """Wait no longer for servers where what they compute can only just be computed here in time."""
        while self._turns and self._turns[0][0] <= self._now_us:
            _, number, name = self._turns.pop(0)
            frame = self._frames.get(number)
            stage = None if frame is None else frame.stages.get(name)
            if frame is None or stage is None:
                continue
            self._shunned = self._remote
            for one in awaited(stage, self._remote):
                self._rescue(one, f"`{one.resource}` has not answered in time to be waited for longer")
            self._shunned = frozenset()
            self._settle(frame)
            self._finish(frame)

    def _answer_early(self) -> None:
        """Give up what is not there by its deadline, where something else has answered in its place."""
        while self._exits and self._exits[0][0] <= self._now_us:
            _, number, one = self._exits.pop(0)
            frame = self._frames.get(number)
            if frame is None:
                continue
            found = [frame.stages[name] for name in one.answers if name in frame.stages]
            done = [stage.name for stage in found if stage.state == "done"]
            if not done:
                continue
            error = f"not there by its deadline, and not waited for: `{done[-1]}` answers"
            for name in one.gives_up:
                if name in frame.stages:
                    self._stop(frame.stages[name], error)
            for send in frame.sends.values():
                readers = [frame.stages[name] for name in send.stage.planned.readers]
                if all(reader.state in OVER for reader in readers if reader.resource == send.link.target):
                    self._lose_send(send, error)
            self._settle(frame)
            self._finish(frame)

    def _stop(self, stage: Stage, error: str) -> None:
        """Nobody waits for a stage any more."""
        if stage.state == "waiting":
            self._end(stage, "failed", error)
        elif stage.state == "running":
            self._cancel(stage)
            self._leave(stage)
            stage.state, stage.error = "failed", error
            stage.frame.open -= 1

    def _drop_frame(self, event: FrameDropped) -> None:
        frame = self._frames.get(event.frame)
        if frame is None:
            return
        for stage in frame.stages.values():
            if stage.state == "running":
                self._cancel(stage)
                stage.state = "failed"
                stage.error = event.error
                self._leave(stage)
                frame.open -= 1
            elif stage.state == "waiting":
                self._end(stage, "failed", event.error)
        for send in frame.sends.values():
            if send.state in ("sending", "travelling"):
                if send.state == "sending":
                    self._give_up(send)
                self._note_lost(send, event.error)
        for load in frame.loads.values():
            if load.state in ("loading", "travelling"):
                if load.state == "loading":
                    self._give_up(load)
                load.state = "left"
                frame.open -= 1
        self._drop_unneeded(frame)
        self._finish(frame)

    def _cancel(self, stage: Stage) -> None:
        """Wait for a run no longer."""
        self._give_up(stage)
        stage.end_us = self._now_us
        self._out.append(CancelStage(stage.frame.number, stage.name, stage.resource, stage.lane, stage.attempt))

    def _give_up(self, job: Job) -> None:
        """Wait no longer for what is under way. Its lane is occupied until it has ended all the same."""
        lane = next((lane for lane in self._every_lane if lane.busy is job), None)
        self._free(job)
        if lane is None:  # It is sent in no time.
            return
        lane.given_up = GivenUp(job.start_us, job.lasts_us())
        if isinstance(job, Stage):
            lane.given_up.mode = job.in_mode(job.mode)
            self._given_up[job.frame.number, job.name, job.attempt] = lane
            self._leave(job, kept_by=lane)
        elif isinstance(job, Load):
            self._given_up[job.frame.number, "", job.number] = lane
        else:
            self._given_up[job.frame.number, job.stage.name, (job.link.target, job.number)] = lane

    def _send_comes_back(self, event: SendEnded | Arrived | SendFailed) -> None:
        """A transfer that was given up has ended."""
        for frame, stage, which in self._given_up:
            if (frame, stage) != (event.frame, event.stage) or not isinstance(which, tuple):
                continue
            if which[0] == event.target and event.number in (None, which[1]):
                self._come_back(frame, stage, which)
                return

    def _come_back(self, frame: int, stage: str, which: Which, *, well: bool = False) -> None:
        """What was given up has ended: a run of that attempt, or a transfer to that target."""
        lane = self._given_up.pop((frame, stage, which), None)
        if lane is not None:
            lane.given_up = None
            self._touch(lane)
            self._power.use(lane.resource, self._now_us)
            if self._memory is not None:
                self._memory.free(lane)
                self._everywhere = True
        elif self._abandoned:
            self._return(frame, stage, which, well)

    def _return(self, frame: int, stage: str, which: Which, well: bool) -> None:
        """What was abandoned may have ended after all: if so, its fault is over; if `well`, it merely was slow."""
        run = self._abandoned.pop((frame, stage, which), None)
        if run is None or run.mode is None:
            return
        if self._limits is not None and well:
            self._limits.observe(run.mode, run.planned_us, self._now_us - run.start_us)
        self._out += self._health.returned(run.mode, self._now_us)

    # What an event-driven policy decides.

    def _leave_open(self, stage: Stage) -> None:
        """Nobody has decided about a stage."""
        assert self._asking is not None, "who decides about it was said as the dispatcher was made"
        stage.resource = ""
        self._asking.undecided.append(stage)

    def _decide(self, asking: Asking) -> None:
        """Ask the policy about what is ready, until it leaves all that is still waiting."""
        for frame in list(self._frames.values()):
            if not frame.started and frame.give_up_us is not None and self._now_us > frame.give_up_us:
                self._skip(frame)
        while waiting := asking.ready(self._now_us):
            machine = self._machine()
            told = [asking.told(stage, machine) for stage in waiting]
            homeless = next((stage for stage, one in zip(waiting, told, strict=True) if one is None), None)
            if homeless is not None:
                error = "no processor is left that could run it and is linked to what it reads"
                self._fetch_inputs(homeless, error)
                if all(homeless.frame.stages[name].state in OVER for name in homeless.planned.waits):
                    self._fail(homeless, error)
                continue
            moment = Moment(self._now_us, tuple([one for one in told if one is not None]), machine.free_us)
            answer = asking.ask(moment)
            if answer is None:
                if asking.goes_on(self._every_lane, self._frames.values(), self._now_us):
                    return
                answer = asking.left(moment.ready[0])
            stage = waiting[moment.ready.index(answer.stage)]
            if isinstance(answer, Start):
                self._take_up(stage, answer.option)
            else:
                self._fail(stage, answer.why)

    def _machine(self) -> Machine:
        """What a stage finds now."""
        now_us = self._now_us
        return Machine(
            now_us,
            {resource: self.lanes_ready_us(resource, now_us) for resource in self._lanes},
            lambda resource, wake_us: self._power.awake_us(resource, wake_us, now_us),
            self._lost,
            self._health.aside,
            self._cut(),
        )

    def _take_up(self, stage: Stage, option: Option) -> None:
        """It has been decided where a stage runs."""
        frame = stage.frame
        self._decisions += 1
        modes, start_us = frame.plan.undecided[stage.name].modes, option.start_us - frame.release_us
        stage.planned = decided(stage.planned, modes, option.mode, option.lane, start_us)
        stage.take(option.mode, option.lane)
        stage.key = (self._now_us, 1, self._decisions, 0)
        self._power.move(stage, stage.resource, self._now_us)
        self._queue(stage)
        for name in stage.planned.waits:
            self._ensure_send(frame.stages[name], stage.resource, self._now_us)

    def _fail(self, stage: Stage, error: str) -> None:
        """A stage that waits will not run."""
        self._end(stage, "failed", error)
        self._settle(stage.frame)
        self._finish(stage.frame)

    # Faults, gates and the end of a frame.

    def _retry(self, stage: Stage, error: str, *, anew: bool = False) -> None:
        """What ran has failed, or is lost: record it, and move the stage or fail it."""
        stage.error = error
        stage.state = "failed"
        failed = stage.record()
        stage.state = "waiting"
        if self._move(stage, anew=anew):
            stage.frame.past.append(failed)
            stage.attempt += 1
            stage.error = ""
            return
        stage.state = "failed"
        self._leave(stage)
        stage.frame.open -= 1

    def _elsewhere(self, stage: Stage, *, anew: bool) -> Mode | None:
        """The best mode on another processor. The fastest; `anew`, where it goes for no fault of its own, also if it
        has moved before: that which is expected to end first."""
        if stage.moved and not anew:
            return None
        suspects, cut = self.suspects(self._now_us), self._cut()
        if not anew:  # Nobody looks after readers on servers that cannot be reached.
            cut = replace(cut, remote=())
        others = sorted(stage.planned.others, key=lambda mode: mode.resource in suspects)
        if self._health.aside:
            others = [mode for mode in others if stage.in_mode(mode) not in self._health.aside]
        found = (m for m in others if could_run(stage, m, self._lost, cut) and self._has_room(stage, m))
        if not anew:
            return next(found, None)
        answered_us = self._answered_us(stage)
        ends_us = [(mode.resource in suspects, self._would_end_us(stage, mode), mode) for mode in found]
        if answered_us is not None:  # What would end after that would only keep others waiting.
            ends_us = [one for one in ends_us if one[1] <= answered_us]
        return min(ends_us, key=lambda one: one[:2], default=(False, 0, None))[2]

    def _answered_us(self, stage: Stage) -> int | None:
        """From when on nobody waits for a stage, as an exit answers that is there; None: it is waited for."""
        number, stages = stage.frame.number, stage.frame.stages
        for at_us, of, one in self._exits:
            if of != number or stage.name not in one.gives_up:
                continue
            if any(name in stages and stages[name].state == "done" for name in one.answers):
                return at_us
        return None

    def _would_end_us(self, stage: Stage, mode: Mode) -> int:
        """When a stage would end there, by its plan, if it went there now."""
        plan, target, now_us = stage.frame.plan, mode.resource, self._now_us
        start_us = self._power.awake_us(target, plan.wake_us[target], now_us)
        start_us = max(start_us, min(self.lanes_ready_us(target, now_us)))
        for name in stage.planned.waits:
            source = stage.frame.stages[name]
            if source.resource == target or source.state in ("cancelled", "failed"):
                continue
            send = stage.frame.sends.get((name, target))
            if send is None or send.state != "arrived":
                link = plan.links[source.resource, target]
                start_us = max(start_us, now_us + link.sending_us(source.mode.output_bytes) + link.latency_us)
        return start_us + mode.duration_us

    def _move(self, stage: Stage, *, anew: bool = False) -> bool:
        """Take a waiting stage to its best other processor; False if there is none, or it was moved before and it is
        not `anew`."""
        mode = self._elsewhere(stage, anew=anew)
        if mode is None:
            return False
        frame = stage.frame
        self._unqueue(stage)
        self._leave(stage)
        stage.moved = True
        stage.take(mode, self._shortest_lane(mode.resource))
        self._power.move(stage, mode.resource, self._now_us)
        self._queue(stage)
        if frame.memory is not None:
            self._add_own_stays(stage, mode)
        for (name, _), send in frame.sends.items():
            if name == stage.name:
                self._drop(send)  # None has started: the stage was not over.
        self._drop_unneeded(frame)
        for name in stage.planned.waits:
            self._ensure_send(frame.stages[name], stage.resource, stage.key[0])
        for name in stage.planned.readers:
            reader = frame.stages[name]
            if reader.state == "waiting" and reader.resource and reader.resource not in self._lost:
                self._ensure_send(stage, reader.resource, reader.key[0])
        return True

    def _has_room(self, stage: Stage, mode: Mode) -> bool:
        """Whether a stage and its weights fit into memory beside all that is planned, whenever it runs."""
        memory = stage.frame.plan.memory
        if self._memory is None or memory is None:
            return True
        held = mode.memory_bytes + sum([memory.bytes[label] for label in labels_of(mode)])
        return self._memory.has_room(mode.resource, held, self._now_us)

    def _add_own_stays(self, stage: Stage, mode: Mode) -> None:
        """What a stage that has moved is to have in memory, by itself."""
        frame = stage.frame
        memory = frame.plan.memory
        if self._memory is None or memory is None or not self._memory.manages(mode.resource):
            return
        self._memory.move(mode.resource)
        from_us = stage.key[0] - frame.release_us
        until_us, names = from_us + mode.duration_us, (stage.name,)
        for label in labels_of(mode):
            stay = PlannedStay(label, mode.resource, memory.bytes[label], from_us, until_us, names)
            if self._memory.is_there(mode.resource, label):
                self._add_stay(frame, stay)
            else:
                lane = self._shortest_lane(self._memory.loader(mode.resource).resource)
                load = self._add_load(frame, stay, lane)
                self._power.move(load, load.on, self._now_us)
        self._add_stay(frame, PlannedStay("", mode.resource, mode.memory_bytes, from_us, until_us, names))

    def _ensure_send(self, stage: Stage, target: str, start_us: int) -> None:
        """See to it that the output of a stage gets to a processor where it is now read."""
        frame = stage.frame
        if stage.resource == target or stage.state in ("cancelled", "failed") or stage.is_gone:
            return
        known = frame.sends.get((stage.name, target))
        if known is not None and known.state != "dropped":
            known.wait = None  # What now reads it may wait for none of those gates.
            if known.state == "waiting" and occupies(known) and known.key[0] > start_us:
                # Its first reader now comes earlier in the order of all work than it was planned for.
                self._unqueue(known)
                known.key = (start_us, *known.key[1:])
                self._queue(known)
            return
        radio = frame.plan.links[stage.resource, target].resource
        send = frame.add_send(stage, target, None if radio is None else self._shortest_lane(radio), start_us)
        if radio is not None:
            self._power.move(send, radio, self._now_us)
        self._enlist(send)

    def _settle(self, frame: Frame) -> None:
        """Cancel or fail what can no longer run. Stages are in order, so one pass is enough."""
        frame.reduced = self._everywhere = True
        for stage in frame.stages.values():
            if stage.state == "waiting" and (fate := fate_of(stage)) is not None:
                self._end(stage, *fate)
        self._drop_unneeded(frame)

    def _end(self, stage: Stage, state: Literal["cancelled", "failed"], error: str) -> None:
        """Give up a waiting stage."""
        if not stage.resource:  # Nobody has decided about it, nor will.
            stage.take(stage.mode, 0)
        self._unqueue(stage)
        if stage.span is not None and stage.span.is_open and not stage.frame.windowed:
            self._power.use(stage.resource, self._now_us)
        self._power.leave(stage, self._now_us)
        self._leave(stage)
        stage.state = state
        stage.error = error
        stage.start_us = stage.end_us = self._now_us
        stage.frame.open -= 1

    def _drop_unneeded(self, frame: Frame) -> None:
        for send in frame.sends.values():
            if send.state == "waiting" and not is_needed(send):
                self._drop(send)

    def _drop(self, send: Send) -> None:
        if send.state == "waiting":
            self._unqueue(send)
            self._power.leave(send, self._now_us)
            send.state = "dropped"

    def _skip(self, frame: Frame) -> None:
        frame.skipped = True
        for stage in frame.stages.values():
            if stage.state == "waiting":
                self._end(stage, "failed", "skipped: its deadline passed before it could start")
        self._drop_unneeded(frame)
        self._finish(frame)

    def _finish(self, frame: Frame) -> None:
        if frame.open or self._frames.pop(frame.number, None) is None:
            return
        # A plan made anew may have added some for stages that were over by then.
        for send in frame.sends.values():
            self._drop(send)
        sends = [send.record() for send in frame.sends.values() if send.state == "arrived"]
        self._out.append(
            FrameDone(
                frame.number,
                self._now_us,
                frame.skipped,
                frame.records(),
                (*sends, *frame.sends_lost),
                tuple(frame.wakes),
                tuple(frame.awake) if frame.windowed else None,
                frame.waits_given_up,
                frame.admitted_us,
                *loaded(frame),
            )
        )
        # They hold the frame, and it holds them: without this they would wait for the garbage collector.
        frame.stages.clear()
        frame.sends.clear()
        frame.loads.clear()

    # Lanes.

    def _advance(self) -> None:
        """Start all that may start."""
        if self._memory is not None:
            self._settle_memory()
        if self._next_us is not None and self._next_us <= self._now_us:
            self._everywhere = True
            self._reminded = {at_us for at_us in self._reminded if at_us > self._now_us}
            self._next_us = min(self._reminded, default=None)
        if self._everywhere:
            self._power.advance(self._now_us)
        if self._loose:
            self._loose = [send for send in self._loose if not self._start_loose(send)]
        lanes = self._every_lane if self._everywhere else self._touched
        if len(lanes) > 1 and not self._everywhere:
            lanes = sorted(lanes, key=_number)
        for lane in self._touched:
            lane.is_touched = False
        self._touched, self._everywhere = [], False
        going = True
        while going:
            going = self._start_first(lanes)
            if self._memory is not None and self._everywhere:
                # A load has begun, or a frame was skipped: what waited for that may follow.
                self._everywhere = False
                self._settle_memory()
                self._everywhere, going = False, True
            lanes = self._every_lane

    def _start_first(self, lanes: Sequence[Lane]) -> bool:
        """Start the first of the queue of each of these lanes, if it may; True if a frame was skipped instead.

        Others may then have become the first of theirs.
        """
        for lane in lanes:
            if not lane.queue or lane.busy is not None or lane.given_up is not None:
                continue
            job = lane.queue[0]
            if not self._may_start(job, lane):
                continue
            frame = job.frame
            if not frame.started and frame.give_up_us is not None and self._now_us > frame.give_up_us:
                self._skip(frame)
                self._start_first(self._every_lane[lane.number + 1 :])
                return True
            del lane.queue[0]
            lane.busy = job
            self._start(job)
        return False

    def _may_start(self, job: Job, lane: Lane) -> bool:
        if lane.ready_us > self._now_us:
            self._remind(lane.ready_us)
            return False
        if isinstance(job, Stage):
            ready = self._now_us >= job.release_us and is_fed(job)
            if ready and self._memory is not None:
                ready = self._memory.may_run(job.frame.memory, job.name)
        elif isinstance(job, Load):
            ready = self._memory is not None and self._memory.may_load(job.stay)
        else:
            ready = job.stage.state == "done" and self._has_waited(job)
        return ready and self._power.may_start(job, self._now_us)

    def _touch(self, lane: Lane) -> None:
        """Something has changed for the first of a lane's queue."""
        if not lane.is_touched:
            lane.is_touched = True
            self._touched.append(lane)

    def _touch_on(self, job: Job) -> None:
        """Something has changed for a job."""
        if job.on is not None and job.lane is not None:
            self._touch(self._lanes[job.on][job.lane])

    def _has_waited(self, send: Send) -> bool:
        """Whether a transfer waits for no gate any more."""
        if send.wait is None:
            return True
        if not self._patience.is_over(send.frame, send.wait, self._now_us):
            if (latest_us := self._patience.latest_us(send.frame, send.wait)) is not None:
                self._remind(latest_us)
            return False
        send.frame.waits_given_up += not has_decided(send.frame, send.wait.gates)
        send.wait = None
        return True

    def _start(self, job: Job) -> None:
        job.start_us = self._now_us
        frame = job.frame
        if isinstance(job, Stage):
            frame.started = True
            job.state = "running"
            limit_us = frame.limit_us
            if self._limits is not None and limit_us is not None:
                expected_us = job.duration_us
                if self._limits.slower:
                    expected_us = self._limits.expected_us(job.in_mode(job.mode), expected_us)
                limit_us = max(limit_us, self._limits.rule.factor * expected_us)
            self._out.append(
                RunStage(
                    frame.number,
                    job.name,
                    job.resource,
                    job.variant,
                    job.lane,
                    job.attempt,
                    job.duration_us,
                    limit_us,
                )
            )
            return
        if isinstance(job, Load):
            self._start_load(job)
            return
        job.state = "sending"
        frame.open += 1
        link, limit_us = job.link, frame.limit_us
        if self._limits is not None and limit_us is not None:
            limit_us = max(limit_us, self._limits.rule.factor * (job.lasts_us() + link.latency_us))
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
                job.bytes,
                job.number,
                limit_us,
            )
        )

    def _start_load(self, load: Load) -> None:
        assert self._memory is not None, "its machine has loaders"
        load.state = "loading"
        load.frame.open += 1
        load.frame.started = True
        gone = self._memory.begin(load.stay, self._now_us)
        self._everywhere = True
        loader = load.loader
        self._out.append(
            LoadWeights(
                load.frame.number,
                load.number,
                load.stay.label,
                load.stay.target,
                loader.resource,
                load.lane,
                load.stay.bytes,
                load.lasts_us(),
                loader.latency_us,
                gone,
            )
        )

    def _start_loose(self, send: Send) -> bool:
        """Start a transfer that occupies no lane, if its radio lets it; True if it is off the list."""
        if send.state != "waiting":
            return True
        radio = send.link.resource
        if radio is not None:
            ready_us = self._lanes[radio][send.lane or 0].ready_us
            if ready_us > self._now_us:
                self._remind(ready_us)
                return False
        if not self._has_waited(send) or not self._power.may_start(send, self._now_us):
            return False
        self._start(send)
        return True

    def _enlist(self, send: Send) -> None:
        """Let a transfer wait for its turn: on its lane, or for its output alone."""
        if occupies(send):
            self._queue(send)
        elif send.stage.state == "done":
            self._loose.append(send)

    def _queue(self, job: Job) -> None:
        resource, index = job.on, job.lane
        if resource is None or index is None:
            return
        lane = self._lanes[resource][index]
        if not lane.queue or lane.queue[-1].key <= job.key:
            lane.queue.append(job)
        else:
            insort(lane.queue, job, key=_key)
        self._touch(lane)

    def _unqueue(self, job: Job) -> None:
        if job.on is not None and job.lane is not None:
            lane = self._lanes[job.on][job.lane]
            lane.remove(job)
            self._touch(lane)

    def _free(self, job: Job) -> None:
        if job.on is None:
            return
        self._power.use(job.on, self._now_us)
        if job.lane is not None:
            lane = self._lanes[job.on][job.lane]
            if lane.busy is job:
                lane.busy = None
                lane.ended_us = self._now_us
                self._touch(lane)
        self._power.leave(job, self._now_us)

    def _shortest_lane(self, resource: str) -> int:
        free = self.lanes_ready_us(resource, self._now_us)
        return free.index(min(free))

    def _remind(self, at_us: int) -> None:
        if at_us > self._now_us and at_us not in self._reminded:
            self._reminded.add(at_us)
            self._next_us = at_us if self._next_us is None else min(self._next_us, at_us)
            self._out.append(Remind(at_us))

    def _running(self, number: int, name: str, attempt: int) -> Stage | None:
        frame = self._frames.get(number)
        stage = None if frame is None else frame.stages.get(name)
        return stage if stage is not None and stage.state == "running" and stage.attempt == attempt else None

    def _loading(self, event: LoadEnded | LoadArrived) -> Load | None:
        frame = self._frames.get(event.frame)
        load = None if frame is None else frame.loads.get(event.load)
        return load if load is not None and load.state in ("loading", "travelling") else None

    def _on_its_way(self, event: SendEnded | Arrived | SendFailed) -> Send | None:
        frame = self._frames.get(event.frame)
        send = None if frame is None else frame.sends.get((event.stage, event.target))
        if send is None or (event.number is not None and event.number != send.number):
            return None
        return send if send.state in ("sending", "travelling") else None


def _all_suspect(lanes: list[Lane], now_us: int) -> bool:
    for lane in lanes:  # noqa: SIM110  # Compiled, a generator takes ten times as long.
        if not lane.is_suspect(now_us):
            return False
    return True

"""Why an answer came when it did: the chain of what it waited for, from its end back to its frame's release.

The chain is made of steps without a gap: a run, a transfer, or a wait between them. Something starts when the last of
what it needs is there, so each step ends when the next one could begin:

- its inputs, and gates, which have to have decided: the step before is the run that made the last of them, or the
  transfer that brought it;
- its processor awake: before that is waking up;
- its lane free: what ran there before is looked up in the other frames of the log, back to the moment at which the lane
  had nothing queued. All of that is its *backlog*.

Of all steps the *cause* is the one that took most of the time that the frame itself does not need: a wait for what
other frames have on a lane, a retry, a late submission, or what a run or a transfer took longer than planned.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.window import WindowPlacement
from leo_runtime.errors import LeoError
from leo_runtime.frame.lower import MergedWorkload, merge
from leo_runtime.frame.records import reason_of
from leo_runtime.replay.log_lines import FrameLine, GraphLine, LoadLine, RunLine, StageLine, TransferLine
from leo_runtime.replay.log_reader import Question, RunLog

CAUSE_PART = 10
"""What explains less than one in so many parts of a lateness is not called its cause."""
MOST_FRAMES_BACK = 5000
"""How many frames are looked at to find where a backlog begins."""

StepKind = Literal["late start", "lane", "wake-up", "gate", "planned", "retry", "other", "run", "transfer", "load"]
"""What a step is. `late start`: the frame was submitted after its release. `gate`: a transfer, or waking up, waits for
a gate as its plan asks for. `load`: weights are loaded. `planned`: something was put off by its plan.
`other`: the log does not tell."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a backlog is made of: all runs of one stage, or sendings of its output."""

    stage: str
    graphs: tuple[str, ...]
    runs: int
    busy_us: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a lane had to do before a job could start."""

    ahead_us: int
    """How much work was still before it when it could have started."""
    others_us: int
    """How much of that is other frames'."""
    ahead: tuple[Share, ...]
    """That work by stage, the most first."""
    first_frame: int
    """The lane has had work queued without a break since that frame."""
    since_us: int
    """When that frame began."""
    frames: int
    """How many frames that work is of, the job's own included if it is one of them."""
    busy_us: int
    """How long it has worked since, until the job started."""
    over_us: int
    """How much of that its runs took longer than planned, in sum."""
    longest: tuple[int, str, int] | None
    """Of these the one that took longest beyond its plan: frame, stage, by how much; None: none did."""
    is_all: bool
    """False: it goes back further than was looked."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the way from the release to an answer. Times are on the run's clock."""

    kind: StepKind
    from_us: int
    until_us: int
    stage: str
    """Whose run, transfer or wait it is."""
    resource: str
    """Where; empty where it is nowhere, as of a transfer that occupies no radio."""
    lane: int | None = None
    planned_us: int | None = None
    """How long a run or a transfer was planned to take; None: not known, or a wait."""
    source: str = ""
    """Of a transfer: from where."""
    target: str = ""
    gate: str = ""
    """Which gate was waited for."""
    backlog: Backlog | None = None
    """Of a wait for a lane."""

    @property
    def lasted_us(self) -> int:
        """How long it took."""
        return self.until_us - self.from_us

    @property
    def needless_us(self) -> int:
        """How much of it is due to other frames, or to something that did not go as planned."""
        if self.kind in ("run", "transfer"):
            return 0 if self.planned_us is None else max(0, self.lasted_us - self.planned_us)
        if self.backlog is not None:
            return self.backlog.others_us
        return self.lasted_us if self.kind in ("late start", "retry") else 0


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many frames had not ended when another one was released."""

    frames: int
    oldest: int
    """The number of the one that was released first."""
    oldest_release_us: int


@dataclass(frozen=True, slots=True)
class Why:
    """Why an answer came when it did, or why none came."""

    graph: str
    number: int
    """Of the frame in its batch."""
    release_us: int
    deadline_us: int
    end_us: int
    outcome: str
    reason: str
    """Why it failed; empty where it did not."""
    steps: tuple[Step, ...]
    """From the release on; empty where nothing was placed, or the log does not tell."""
    cause: Step | None
    """The one that took most of what the frame itself does not need; None: there was nothing but its own work."""
    planned_end_us: int | None
    """When it was planned to end, as far as the log tells."""
    in_flight: InFlight | None = None
    """Of a frame that was never placed."""

    @property
    def late_us(self) -> int:
        """By how much it came after its deadline; negative: before."""
        return self.end_us - self.deadline_us


@dataclass(frozen=True, slots=True)
class _Job:
    """What occupied a lane: a run, or a sending."""

    end_us: int
    start_us: int
    frame: int
    stage: str
    planned_us: int | None
    graphs: tuple[str, ...]
    queued_us: int
    """Since when it may have been in the lane's queue: when its frame was admitted."""

    def __lt__(self, other: _Job) -> bool:
        return (self.end_us, self.start_us) < (other.end_us, other.start_us)


def needs_of(log: RunLog, frame: FrameLine, question: Question | None) -> dict[str, tuple[str, ...]]:
    """What each stage of a frame waits for: its inputs and gates, by the question, else by the workload.

    Empty where the log holds neither.
    """
    if question is not None:
        inputs = {stage.name: stage.inputs for stage in question.problem.stages}
        return {run.stage: inputs[run.stage] for run in frame.stages if run.stage in inputs}
    merged = _merged(log)
    if merged is None or log.batch > 1:
        return {}
    triggered = {seen.graph for seen in frame.graphs}.difference(frame.shed, frame.unplaced)
    known = {stage.name: tuple(dict.fromkeys((*stage.inputs, *stage.gates(triggered)))) for stage in merged.stages}
    return {run.stage: known[run.stage] for run in frame.stages if run.stage in known}


def _merged(log: RunLog) -> MergedWorkload | None:
    if not isinstance(log.head, RunLine):
        return None
    try:
        return merge(log.head.workload)
    except LeoError:  # Operators of one's own need not be here.
        return None


def whys(log: RunLog, number: int, *, everything: bool = False) -> tuple[Why, ...]:
    """Of each late or failed answer of a frame, or with `everything` of every one, why it came when it did.

    Raises `InputError` where there is no such frame, and `DocumentError` where the log is damaged.
    """
    position = log.position(number)
    frame = log.at(position)
    question = None if frame.question is None else log.question(frame.question)
    lanes = _Lanes(log, position)
    walk = _Walk(frame, question, needs_of(log, frame, question), lanes, _wakes_us(log))
    wanted = [seen for seen in frame.graphs if everything or seen.outcome == "failed" or seen.end_us > seen.deadline_us]
    return tuple(_why(log, frame, seen, walk) for seen in wanted)


def _wakes_us(log: RunLog) -> dict[str, int]:
    """How long each resource takes to wake up; empty where the log has no hardware."""
    if not isinstance(log.head, RunLine):
        return {}
    hardware: Hardware = log.head.hardware
    return {one.name: one.wake_latency_us for one in hardware.resources}


def _why(log: RunLog, frame: FrameLine, seen: GraphLine, walk: _Walk) -> Why:
    last = _last_run(frame, seen)
    steps: tuple[Step, ...] = ()
    planned_end_us = None
    if last is not None:
        steps = tuple(reversed([step for step in walk.back_from(last) if step.lasted_us > 0]))
        planned_end_us = last.planned_end_us
    worst = max(steps, key=lambda step: step.needless_us, default=None)
    reason = ""
    if seen.outcome == "failed":
        reason = frame.reason or (last.error if last is not None else "")
        if last is not None and last.outcome == "failed" and last.error:
            reason = last.error
        if seen.graph in frame.shed or seen.graph in frame.unplaced:
            reason = reason_of(frame, seen.graph)
    return Why(
        seen.graph,
        seen.number,
        seen.release_us,
        seen.deadline_us,
        seen.end_us,
        seen.outcome,
        reason,
        steps,
        worst if worst is not None and _is_cause(worst, seen) else None,
        planned_end_us,
        None if frame.stages else in_flight(log, frame),
    )


def _is_cause(step: Step, seen: GraphLine) -> bool:
    """Whether it matters: it is a tenth of the lateness at least, or of the way to what failed."""
    late_us = seen.end_us - (seen.release_us if seen.outcome == "failed" else seen.deadline_us)
    return step.needless_us > 0 and CAUSE_PART * step.needless_us >= late_us


def _last_run(frame: FrameLine, seen: GraphLine) -> StageLine | None:
    """The run that an answer waited for last: of a failed one the first that failed of its own."""
    own = [run for run in frame.stages if not run.graphs or seen.graph in run.graphs]
    if not own:
        return None
    if seen.outcome == "failed":
        failed = [run for run in own if run.outcome == "failed"]
        later = {(run.stage, run.start_us) for run in failed if run.error.startswith(("its input ", "its gate "))}
        first = [run for run in failed if (run.stage, run.start_us) not in later] or failed
        if first:
            return min(first, key=lambda run: (run.end_us, run.planned_start_us))
    if seen.outcome == "cancelled":
        # What a closed gate removes ends with the gate: it is the gate that took so long.
        gates = [run for run in own if run.outcome == "done" and run.end_us == seen.end_us]
        if gates:
            return gates[-1]
    ran = [run for run in own if run.outcome != "cancelled" and run.end_us <= seen.end_us] or own
    return max(ran, key=lambda run: (run.end_us, run.start_us))


def in_flight(log: RunLog, frame: FrameLine) -> InFlight | None:
    """The frames that had not ended when one was released; None: there were none."""
    at_us = frame.admitted_us if frame.admitted_us is not None else frame.release_us
    found = []
    before = [at for at, release_us in enumerate(log.releases_us) if release_us <= at_us]
    before.sort(key=lambda at: (-log.releases_us[at], -log.numbers[at]))
    for looked, position in enumerate(before):
        other = log.at(position)
        if other.frame == frame.frame or not other.stages:
            continue
        if end_us(other) > at_us:
            found.append(other)
        elif looked > len(found) + 1000:  # A frame in flight is not as old as that.
            break
    if not found:
        return None
    oldest = min(found, key=lambda other: (other.release_us, other.frame))
    return InFlight(len(found), oldest.frame, oldest.release_us)


def end_us(frame: FrameLine) -> int:
    """When the last of a frame was over."""
    ends = [run.end_us for run in frame.stages] + [send.arrive_us for send in frame.transfers]
    ends += [load.arrive_us for load in frame.loads]
    return max([frame.release_us, *ends, *(seen.end_us for seen in frame.graphs)])


def begin_us(frame: FrameLine) -> int:
    """When a frame was admitted."""
    return frame.release_us if frame.admitted_us is None else frame.admitted_us


class _Lanes:
    """What ran on each lane before: frames are read as far back as is asked for."""

    def __init__(self, log: RunLog, position: int) -> None:
        """Around the frame at that position."""
        self._log = log
        self._next = position
        """The position from which on all frames that end later have been read."""
        self._jobs: dict[tuple[str, int], list[_Job]] = {}
        self._least_end_us: int | None = None
        """When the frame that was read last had ended: those before it had ended by then."""
        self._read = 0
        last_us = end_us(log.at(position))
        for later in range(position + 1, len(log.numbers)):
            if log.releases_us[later] <= last_us:
                self._take(log.at(later))
        self._back()

    def before(self, where: tuple[str, int], at_us: int, since_us: int) -> _Job | None:
        """The last job of a lane that ended after `since_us` and by `at_us`; None: there is none."""
        while self._next >= 0 and self._read < MOST_FRAMES_BACK:
            if self._least_end_us is not None and self._least_end_us <= since_us:
                break
            self._back()
        jobs = self._jobs.get(where, [])
        at = bisect_right(jobs, at_us, key=lambda job: job.end_us)
        return jobs[at - 1] if at and jobs[at - 1].end_us > since_us else None

    @property
    def is_at_limit(self) -> bool:
        """Whether there is more that is not looked at."""
        return self._next >= 0 and self._read >= MOST_FRAMES_BACK

    def backlog(self, where: tuple[str, int], start_us: int, ready_us: int, frame: FrameLine) -> Backlog | None:
        """What a lane did before a job that starts then and could have started at `ready_us`."""
        last = self.before(where, start_us, ready_us)
        if last is None:
            return None
        jobs = [last]
        queued_us = min(begin_us(frame), last.queued_us)
        # Work was queued all the time as long as what ran next had been admitted when what ran before ended.
        while (before := self.before(where, jobs[-1].start_us, queued_us - 1)) is not None:
            jobs.append(before)
            queued_us = min(queued_us, before.queued_us)
        ahead = [job for job in jobs if job.end_us > ready_us]
        over = [(max(0, job.end_us - job.start_us - job.planned_us), job) for job in jobs if job.planned_us is not None]
        most_us, longest = max(over, key=lambda one: one[0], default=(0, last))
        first = min(jobs, key=lambda job: (job.queued_us, job.frame))
        return Backlog(
            ahead_us=sum(job.end_us - max(ready_us, job.start_us) for job in ahead),
            others_us=sum(job.end_us - max(ready_us, job.start_us) for job in ahead if job.frame != frame.frame),
            ahead=_shares(ahead, ready_us),
            first_frame=first.frame,
            since_us=first.queued_us,
            frames=len({job.frame for job in jobs}),
            busy_us=sum(job.end_us - job.start_us for job in jobs),
            over_us=sum(us for us, _ in over),
            longest=(longest.frame, longest.stage, most_us) if most_us else None,
            is_all=not self.is_at_limit,
        )

    def _back(self) -> None:
        if self._next >= 0:
            frame = self._log.at(self._next)
            self._take(frame)
            self._least_end_us = end_us(frame)
            self._next -= 1

    def _take(self, frame: FrameLine) -> None:
        self._read += 1
        begun_us = begin_us(frame)
        for run in frame.stages:
            if run.end_us > run.start_us:
                job = _Job(run.end_us, run.start_us, frame.frame, run.stage, run.expected_us, run.graphs, begun_us)
                insort(self._jobs.setdefault((run.resource, run.lane), []), job)
        for send in frame.transfers:
            if send.resource is not None and send.lane is not None and send.sent_us > send.start_us:
                job = _Job(send.sent_us, send.start_us, frame.frame, send.stage, None, send.graphs, begun_us)
                insort(self._jobs.setdefault((send.resource, send.lane), []), job)
        for load in frame.loads:
            if load.loaded_us > load.start_us:
                job = _Job(load.loaded_us, load.start_us, frame.frame, load.label, None, load.graphs, begun_us)
                insort(self._jobs.setdefault((load.resource, load.lane), []), job)


def _shares(jobs: Iterable[_Job], ready_us: int) -> tuple[Share, ...]:
    sums: dict[tuple[str, tuple[str, ...]], Share] = {}
    for job in jobs:
        key = (job.stage.partition("#")[0], job.graphs)
        known = sums.get(key, Share(*key, 0, 0))
        busy_us = job.end_us - max(ready_us, job.start_us)
        sums[key] = Share(*key, known.runs + 1, known.busy_us + busy_us)
    return tuple(sorted(sums.values(), key=lambda one: (-one.busy_us, one.stage)))


@dataclass(frozen=True, slots=True)
class _Ready:
    """When something that a job needs was there, and what it was."""

    at_us: int
    run: StageLine | None = None
    """The run that made it."""
    send: TransferLine | None = None
    """The transfer that brought it."""
    is_retry: bool = False
    """It is a first try that failed."""
    load: LoadLine | None = None
    """The load that brought its weights; `run` is what made room for that, if anything did as it began."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """The way back from the end of one frame."""

    frame: FrameLine
    question: Question | None
    needs: Mapping[str, tuple[str, ...]]
    lanes: _Lanes
    wake_us: Mapping[str, int]
    sending_us: dict[tuple[str, str], int] = field(default_factory=dict)

    def back_from(self, last: StageLine) -> Iterator[Step]:
        """The steps from the end of a run back to the frame's release, the latest first."""
        run: StageLine | None = last
        seen: set[tuple[str, int, int]] = set()
        while run is not None and (key := (run.stage, run.start_us, run.end_us)) not in seen:
            seen.add(key)
            yield self._ran(run)
            ready = self._ready(run)
            yield from self._waited(run, (run.resource, run.lane), ready.at_us)
            if ready.is_retry and ready.run is not None:
                failed = ready.run
                yield Step("retry", failed.start_us, failed.end_us, failed.stage, failed.resource, failed.lane)
                before = self._ready(failed)
                yield from self._waited(failed, (failed.resource, failed.lane), before.at_us)
                ready = before
            if ready.send is not None and ready.run is not None:
                send = ready.send
                yield self._sent(send)
                lane = None if send.resource is None or send.lane is None else (send.resource, send.lane)
                yield from self._waited(send, lane, ready.run.end_us)
            at_us = ready.at_us
            if (load := ready.load) is not None:
                yield Step("load", load.start_us, load.arrive_us, run.stage, load.resource, load.lane)
                at_us = load.start_us
                woken_us, awake_us = self._woke(load.resource, begin_us(self.frame), load.start_us)
                if ready.run is None and awake_us == load.start_us:
                    at_us = max(woken_us, begin_us(self.frame))
                    if awake_us > at_us:
                        yield Step("wake-up", at_us, awake_us, run.stage, load.resource, load.lane)
            if ready.run is None and at_us > self.frame.release_us:
                until_us = begin_us(self.frame)
                if at_us > until_us:
                    yield Step("planned", until_us, at_us, run.stage, run.resource, run.lane)
                if until_us > self.frame.release_us:
                    yield Step("late start", self.frame.release_us, until_us, run.stage, "")
            run = ready.run

    def _ran(self, run: StageLine) -> Step:
        return Step("run", run.start_us, run.end_us, run.stage, run.resource, run.lane, run.expected_us)

    def _sent(self, send: TransferLine) -> Step:
        return Step(
            "transfer",
            send.start_us,
            send.arrive_us,
            send.stage,
            send.resource or "",
            send.lane,
            self._planned_to_take_us(send),
            send.source,
            send.target,
        )

    def _planned_to_take_us(self, send: TransferLine) -> int | None:
        if self.question is None:
            return None
        for planned in self.question.placement.transfers:
            if (planned.stage, planned.source, planned.target) == (send.stage, send.source, send.target):
                return planned.arrive_us - planned.start_us
        return None

    def _ready(self, run: StageLine) -> _Ready:
        """The last of what a run needs, but for its lane and its waking."""
        found = [_Ready(max(begin_us(self.frame), self.frame.release_us + self._released_us(run.stage)))]
        tries = (other for other in self.frame.stages if other.stage == run.stage and other is not run)
        found += [_Ready(other.end_us, other, is_retry=True) for other in tries if other.end_us <= run.start_us]
        for name in self.needs.get(run.stage, ()):
            producer = self._last_try(name, run.start_us)
            if producer is None:
                continue
            send = next(
                (
                    send
                    for send in self.frame.transfers
                    if (send.stage, send.target) == (name, run.resource) and send.arrive_us <= run.start_us
                ),
                None,
            )
            if send is None:
                found.append(_Ready(producer.end_us, producer))
            else:
                found.append(_Ready(send.arrive_us, producer, send))
        for load in self.frame.loads:
            if run.stage in load.stages and load.target == run.resource and load.arrive_us <= run.start_us:
                room = [one for one in self.frame.stages if one.resource == load.target and one.end_us == load.start_us]
                found.append(_Ready(load.arrive_us, max(room, key=lambda one: one.stage, default=None), load=load))
        # Of two that were there at the same time, the one that was decided last: what waits for a release is rare.
        return max(found, key=lambda ready: (ready.at_us, ready.run is not None))

    def _last_try(self, stage: str, by_us: int) -> StageLine | None:
        tries = [run for run in self.frame.stages if run.stage == stage and run.end_us <= by_us]
        return max(tries, key=lambda run: run.end_us, default=None)

    def _released_us(self, stage: str) -> int:
        if self.question is None:
            return 0
        return next((one.release_us for one in self.question.problem.stages if one.name == stage), 0)

    def _waited(self, job: StageLine | TransferLine, lane: tuple[str, int] | None, ready_us: int) -> Iterator[Step]:
        """What stood between the moment at which all that a job needs was there and its start, the latest first."""
        where = (job.resource or "", None) if lane is None else lane
        gates = self._gates_of_transfer(job) if isinstance(job, TransferLine) else ()
        woken_us, awake_us = self._woke(where[0], ready_us, job.start_us)
        awake_us = max(ready_us, awake_us)
        backlog = None if lane is None else self.lanes.backlog(lane, job.start_us, awake_us, self.frame)
        if backlog is not None and lane is not None:
            last = self.lanes.before(lane, job.start_us, awake_us)
            assert last is not None, "a backlog has a last job"
            from_us = max(awake_us, backlog.since_us)
            yield from self._idle(job, where, last.end_us, job.start_us, gates)
            yield Step("lane", from_us, last.end_us, job.stage, where[0], where[1], backlog=backlog)
            yield from self._idle(job, where, awake_us, from_us, gates)
        else:
            yield from self._idle(job, where, awake_us, job.start_us, gates)
        if awake_us > ready_us:
            from_us = max(woken_us, ready_us)
            yield Step("wake-up", from_us, awake_us, job.stage, where[0], where[1])
            yield from self._idle(job, where, ready_us, from_us, (*gates, *self._gates_of_spans(where[0])))

    def _idle(
        self,
        job: StageLine | TransferLine,
        where: tuple[str, int | None],
        from_us: int,
        until_us: int,
        gates: Sequence[str],
    ) -> Iterator[Step]:
        """A time in which nothing was in the way but the plan, or gates that it waits for, the latest part first."""
        decided = [run for run in self.frame.stages if run.stage in gates and from_us < run.end_us <= until_us]
        last = max(decided, key=lambda run: run.end_us, default=None)
        at_us = from_us if last is None else last.end_us
        if until_us > at_us:
            kind: StepKind = "planned" if until_us <= job.planned_start_us else "other"
            yield Step(kind, at_us, until_us, job.stage, where[0], where[1])
        if last is not None:
            yield Step("gate", from_us, at_us, job.stage, where[0], where[1], gate=last.stage)

    def _gates_of_transfer(self, send: TransferLine) -> tuple[str, ...]:
        """The gates that a transfer waits for by its plan."""
        if self.question is None or not isinstance(self.question.placement, WindowPlacement):
            return ()
        planned = self.question.placement.transfers
        return next((one.after for one in planned if (one.stage, one.target) == (send.stage, send.target)), ())

    def _gates_of_spans(self, resource: str) -> tuple[str, ...]:
        """The gates that waking a resource up waits for by its plan."""
        if self.question is None or not isinstance(self.question.placement, WindowPlacement):
            return ()
        return tuple(gate for span in self.question.placement.spans if span.resource == resource for gate in span.after)

    def _woke(self, resource: str, ready_us: int, start_us: int) -> tuple[int, int]:
        """When a resource was woken for this frame, and when it was awake, where a job may have waited for that."""
        latency_us = self.wake_us.get(resource, 0)
        awake = [
            (wake.at_us, wake.at_us + latency_us)
            for wake in self.frame.wakes
            if wake.resource == resource and ready_us < wake.at_us + latency_us <= start_us
        ]
        return max(awake, default=(ready_us, ready_us))

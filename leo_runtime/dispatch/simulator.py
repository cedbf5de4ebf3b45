"""Drives the dispatcher in virtual time: a heap of (time, priority, number), and nothing that waits.

A stage lasts as long as its mode says, one that keeps state as long as what is new to it takes, or as a noise model
makes of that; where processors contend, longer by what runs beside it. Where kernels are handed in, values and the
decisions of gates are real all the same: a replay on the profile of a phone computes on this machine what the phone
would have computed, in the phone's time.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from leo_runtime.backend.transfers import Fate, TransferHeard, TransferSeen
from leo_runtime.clock import VirtualClock, WallClock
from leo_runtime.dispatch.contention import Contention
from leo_runtime.dispatch.driver import Compute, Computed, Outputs, Publish, Try, drained_in_kernel
from leo_runtime.dispatch.events import (
    Arrived,
    CancelSend,
    CancelStage,
    Event,
    FrameDone,
    FrameDropped,
    Hold,
    Instruction,
    LaneRenewed,
    LinkFound,
    LinkLost,
    LoadArrived,
    LoadEnded,
    LoadWeights,
    Probe,
    ProbeEnded,
    ProcessorLost,
    Release,
    Remind,
    RenewLane,
    ResourceWoken,
    RunReport,
    RunStage,
    SendEnded,
    SendOutput,
    StageEnded,
    StageFailed,
    StageOverdue,
    TimePassed,
    Wake,
)
from leo_runtime.dispatch.faults import GONE, NO_FAULTS, FaultPlan
from leo_runtime.errors import DeviceUnavailableError, failure_text, is_users_interrupt, once_more
from leo_runtime.frozen import dataclass
from leo_runtime.values import whole

if TYPE_CHECKING:
    from leo_runtime.dispatch.alone import AlonePlan, AloneTimes, Turn
    from leo_runtime.dispatch.dispatcher import Dispatcher
    from leo_runtime.dispatch.inflight import Attempt
    from leo_runtime.dispatch.links import Ends
    from leo_runtime.frame.link_course import LinkCourse, LinkCourses

Noise = Callable[[int, str, str, int], int]
"""How long a stage really lasts: from frame, stage, resource and the planned duration in us."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """A run among others is done, or over its limit, unless that has become another time meanwhile."""

    at_us: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class _Turn:
    """Something says that a link falls, or is back: its course, or a fault."""

    at_us: int
    ends: Ends
    falls: bool
    course: LinkCourse | None = None


_Happens = Event | Probe | _Settled | _Turn

_PRIORITY: Mapping[type[_Happens], int] = {
    StageEnded: 0,
    _Settled: 0,
    StageFailed: 0,
    SendEnded: 1,
    Arrived: 1,
    LoadEnded: 1,
    LoadArrived: 1,
    ResourceWoken: 2,
}
"""What comes first of what happens at the same time: ends, then arrivals, then the rest."""
_AFTER_ALL = 4
_NOTHING_TOLD = RunReport()


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a run failed. Not what was raised: that holds the calls it came through, and these would hold it."""

    why: str
    is_gone: bool
    """Whether its device is."""


def seeded_noise(seed: int, spread_ppm: int) -> Noise:
    """Log-normal noise around the planned duration; `spread_ppm` is the standard deviation of its logarithm.

    It depends on seed, frame, stage and resource alone, not on the order in which things happen.
    """

    def noise(frame: int, stage: str, resource: str, duration_us: int) -> int:
        return max(1, round(duration_us * noise_factor(seed, spread_ppm, frame, stage, resource)))

    return noise


def noise_factor(seed: int, spread_ppm: int, frame: int, stage: str, resource: str) -> float:
    """How many times as long a run lasts by `seeded_noise` as was planned."""
    return Random(f"{seed}/{frame}/{stage}/{resource}").lognormvariate(0.0, spread_ppm / 1e6)


@dataclass(slots=True)
class _Contended:
    """A run among others, and what becomes of it."""

    order: RunStage
    start_us: int
    report: RunReport
    failure: _Failed | None
    settles_us: int = -1
    """When the next is to happen to it."""
    is_abandoned: bool = False
    """Whether it is over its limit, and was told so."""


class Simulator:
    """Virtual time for a dispatcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        compute: Compute | None = None,
        publish: Publish = lambda *_: None,
        noise: Noise | None = None,
        device_times: Collection[str] = (),
        lasts_us: Callable[[RunStage], int] | None = None,
        probe: Try | None = None,
        slowdowns_ppm: Mapping[tuple[str, str], int] = MappingProxyType({}),
        courses: LinkCourses = MappingProxyType({}),
        heard: TransferHeard | None = None,
        faults: FaultPlan = NO_FAULTS,
    ) -> None:
        """Without `compute` nothing is computed or published, and every gate opens.

        `publish` is given the outputs of every run whose end was accepted, before anything reads them.

        On the processors of `device_times` a run lasts as long as its kernel says its device took: for devices that
        are simulated themselves. Any other kernel's own time is this machine's, and does not count.

        `lasts_us` says how long a run takes, before noise, where plans go by something else than the profile.

        `probe` tries what is out of service; without it, what is tried works. What nobody waits for, such as a probe or
        the end of a run that was abandoned, happens as time gets there, and is not waited for by `drain`.

        `slowdowns_ppm` say by victim and aggressor by how much longer a run takes while the aggressor is at work.

        `courses` say what links really do, whatever is planned; others do as planned. The dispatcher is told as one
        falls, and as it is back. `faults` are what else goes wrong. `heard` is told of each transfer
        over one of these as it begins: what it will have taken is known to nobody before that has passed.
        """
        self.dispatcher = dispatcher
        self.clock = VirtualClock()
        self.on_ended: Callable[[], None] = lambda: None
        self._compute = compute
        self._publish = publish
        self._noise = noise
        self._device_times = frozenset(device_times)
        self._lasts_us = lasts_us
        self._probe = probe
        self._contention: Contention[Attempt] | None = Contention(slowdowns_ppm) if slowdowns_ppm else None
        self._courses = courses
        self._heard = heard
        self._contended: dict[Attempt, _Contended] = {}
        """The runs that are at work, where processors contend."""
        self._heap: list[tuple[int, int, int, _Happens]] = []
        self._aside: list[tuple[int, int, int, _Happens]] = []
        """The same of what nobody waits for."""
        self._count = 0
        self._now_us = 0
        """Of the last thing that happened by itself: the clock is no earlier."""
        self._outputs: dict[Attempt, tuple[RunStage, Outputs]] = {}
        """Of the runs whose end is to come."""
        self._finished: deque[FrameDone] = deque()
        self._lock = threading.RLock()
        self._closed = False
        self._failure: BaseException | None = None
        self._computing: int | None = None
        """The thread that is within a kernel."""
        self._faults = faults
        self._down: dict[Ends, int] = {}
        """How many say of a link that it is down: its course, and faults."""
        for ends, course in courses.items():
            self._watch(ends, course, None)
        for fault in faults.links:
            for ends in fault.links:
                self._if_ever(_Turn(fault.from_us, ends, falls=True))
                self._if_ever(_Turn(fault.until_us, ends, falls=False))
        for fault in faults.deaths:
            self._if_ever(ProcessorLost(fault.from_us, fault.name, GONE, by_itself=True))

    @property
    def failure(self) -> BaseException | None:
        """What went wrong in the runtime itself. From any thread."""
        return self._failure

    def post(self, event: Event) -> None:
        """Something happens from outside, now: a frame is admitted, a processor is lost. From any thread."""
        with self._lock:
            if not self._closed:
                self._tell(event)

    def locked(self) -> AbstractContextManager[object]:
        """While it is held, nothing happens: for a consistent look at the dispatcher. From any thread."""
        return self._lock

    def reach(self, at_us: int) -> None:
        """Let everything happen up to and at that time. From any thread."""
        while self._step(at_us):
            pass
        self.clock.wait_until_us(at_us)

    def drain(self, timeout_s: float | None = None) -> bool:
        """Let everything happen; False where computing it takes longer, here or in another thread.

        Raises what went wrong in the runtime itself, and `InputError` within a kernel.
        """
        if self._computing == threading.get_ident():
            raise drained_in_kernel()
        patience = WallClock()
        going = True
        while going:
            left_s = None if timeout_s is None else max(0.0, timeout_s - patience.now_us() / 1e6)
            if not self._lock.acquire(timeout=-1 if left_s is None else left_s):
                return False
            try:
                going = self._step() and left_s != 0
            finally:
                self._lock.release()
        if self._failure is not None:
            raise once_more(self._failure)
        return self._closed or not self.dispatcher.frames

    @property
    def goes_by_plans(self) -> bool:
        """Whether what happens takes as long as it is planned to, but for noise."""
        is_planned = not self._courses and self._faults.is_empty
        return is_planned and self._lasts_us is None and self._contention is None

    def run_alone(
        self,
        plan: AlonePlan,
        frame: int,
        release_us: int,
        before_us: int | None,
        deadline_us: int,
        asleep: Collection[str],
        turns: Sequence[Turn] = (),
    ) -> AloneTimes | None:
        """Run a frame that has the machine to itself at its release: when all of it happens.

        None where it is not over when the next is released at `before_us` (None: there is no next one), or has a run
        that is to be given up, or a server that is turned back from: then nothing has happened, and it is to be posted.
        `deadline_us` is its longest, `asleep` are `Dispatcher.sleepers`, and every gate of it has to open. Nobody else
        may use the dispatcher meanwhile. Noise that is asked for it may be asked for once more.
        """
        if self._aside:
            return None
        lasts_us = plan.lasts_us if self._noise is None else plan.noisy_us(self._noise, frame)
        limits = self.dispatcher.limits
        if limits is not None and not plan.noted(limits, lasts_us):
            limits = None  # As mostly: they have nothing to say.
        if limits is not None and not plan.keeps(limits, deadline_us, lasts_us):
            return None
        times = plan.times(release_us, lasts_us, asleep)
        if times is None or (before_us is not None and times.last_us > before_us):
            return None
        if turns and not plan.waits_for_all(turns, release_us, times):
            return None
        if limits is not None:
            plan.note(limits, lasts_us)
        self.dispatcher.pass_alone(asleep, times.woken, plan.uses, times.used_until_us)
        return times

    def finished(self) -> tuple[FrameDone, ...]:
        """The frames that ended since this was last asked. From any thread, one at a time; it waits for no kernel."""
        found = []
        while self._finished:
            found.append(self._finished.popleft())
        return tuple(found)

    def close(self, timeout_s: float = 0.0, why: str = "the simulator was closed") -> None:
        """Let nothing happen any more: frames in flight are dropped, and say `why`. From any thread. Twice is fine.

        Where a kernel runs in another thread for longer than `timeout_s`, they are not told to have ended.
        """
        if not self._lock.acquire(timeout=timeout_s):
            self._closed = True
            return
        try:
            if not self._closed:
                for frame in self.dispatcher.frames:
                    self._tell(FrameDropped(self.clock.now_us(), frame, why))
            self._closed = True
            self._heap.clear()
            self._aside.clear()
            self._outputs.clear()
            self._contended.clear()
        finally:
            self._lock.release()

    def _step(self, until_us: int | None = None) -> bool:
        """Let one thing happen, unless it comes after `until_us`; False where there is none."""
        with self._lock:
            if self._contention is not None:
                self._drop_settled_otherwise()
            heap = self._heap
            if self._aside and (heap or until_us is not None) and (not heap or self._aside[0] < heap[0]):
                heap = self._aside
            if self._closed or not heap or (until_us is not None and heap[0][0] > until_us):
                return False
            at_us, _, _, event = heapq.heappop(heap)
            if at_us > self._now_us:
                self._now_us = at_us
                self.clock.wait_until_us(at_us)
            if isinstance(event, _Settled):
                self._settle(event)
            elif isinstance(event, _Turn):
                self._turn(event)
            else:
                self._tell(event)
            return True

    def _tell(self, event: Event | Probe) -> None:
        try:
            if isinstance(event, Probe):
                target = (event.resource, event.stage, event.variant)
                if not self.dispatcher.health.awaits(target, event.number):
                    return
                event = ProbeEnded(event.at_us, *target, event.number, self._tried(event))
            if self._compute is not None and isinstance(event, StageEnded):
                attempt = (event.frame, event.stage, event.attempt)
                order, outputs = self._outputs.pop(attempt)
                if self.dispatcher.is_running(*attempt):
                    self._publish(order, outputs)
            self._perform(self.dispatcher.handle(event))
        except BaseException as failure:
            self._failure = failure
            self._closed = True
            self._heap.clear()
            self.on_ended()
            raise

    def _watch(self, ends: Ends, course: LinkCourse, from_us: int | None) -> None:
        """Tell when a link falls next after that time, or is back; None: from the beginning."""
        was_down = from_us is not None and course.at(from_us) is None
        at_us = course.times_us[0] if from_us is None else course.next_us(from_us)
        while at_us is not None and (course.at(at_us) is None) == was_down:
            at_us = course.next_us(at_us)
        if at_us is not None:
            self._if_ever(_Turn(at_us, ends, falls=not was_down, course=course))

    def _turn(self, turn: _Turn) -> None:
        """A link falls or is back: told of several that say it is down by the first, and of those that say it is back
        by the last."""
        if turn.course is not None:
            self._watch(turn.ends, turn.course, turn.at_us)
        before = self._down.get(turn.ends, 0)
        self._down[turn.ends] = before + (1 if turn.falls else -1)
        if turn.falls and not before:
            self._tell(LinkLost(turn.at_us, *turn.ends))
        elif not turn.falls and before == 1:
            self._tell(LinkFound(turn.at_us, *turn.ends))

    def _tried(self, probe: Probe) -> str:
        """Try what is out of service: why it still is, or "" where it works."""
        if self._faults.is_dead(probe.resource, probe.at_us):
            return GONE
        if self._probe is None:
            return ""
        before, self._computing = self._computing, threading.get_ident()
        try:
            self._probe(probe.resource, probe.stage, probe.variant)
        except BaseException as error:  # As of any kernel.
            if is_users_interrupt(error):
                raise
            return failure_text(error.with_traceback(None))
        finally:
            self._computing = before
        return ""

    def _if_ever(self, event: _Happens) -> None:
        """It happens as time gets there; nobody waits for it."""
        self._count += 1
        heapq.heappush(self._aside, (event.at_us, _PRIORITY.get(type(event), 3), self._count, event))

    def _later(self, event: Event | _Settled, priority: int | None = None) -> None:
        self._count += 1
        priority = _PRIORITY.get(type(event), 3) if priority is None else priority
        heapq.heappush(self._heap, (event.at_us, priority, self._count, event))

    def _perform(self, instructions: tuple[Instruction, ...]) -> None:
        if not instructions:
            return
        now_us = self.clock.now_us()
        for order in instructions:
            if self._closed:  # By a kernel that ran just now, or while it did.
                return
            match order:
                case RunStage():
                    self._run(order, now_us)
                case SendOutput():
                    self._send(order, now_us)
                case LoadWeights():
                    loaded_us = now_us + order.loading_us
                    self._later(LoadEnded(loaded_us, order.frame, order.load))
                    self._later(LoadArrived(loaded_us + order.latency_us, order.frame, order.load))
                case Wake():
                    self._later(ResourceWoken(now_us + order.latency_us, order.resource))
                case Remind():
                    self._later(TimePassed(order.at_us))
                case Hold() | Release():
                    pass  # Nothing sleeps here but in the books.
                case CancelStage():
                    pass  # Its end is in the heap, and told all the same.
                case CancelSend():
                    self._later(SendEnded(now_us, order.frame, order.stage, order.target, order.number))
                case RenewLane():
                    self._later(LaneRenewed(now_us, order.resource, order.lane))
                case Probe():
                    self._if_ever(order)
                case FrameDone():
                    self._finished.append(order)
                    self.on_ended()

    def _send(self, order: SendOutput, now_us: int) -> None:
        """Send an output, by what the link really does where that is known. Its end comes later."""
        sent_us, latency_us = now_us + order.sending_us, order.latency_us
        course = self._courses.get((order.source, order.target))
        if course is not None:
            sent = course.sent(order.bytes, now_us)
            sent_us, latency_us = sent.over_us, sent.latency_us
            if self._heard is not None:
                back_us = 0 if sent.fell else self._latency_back_us(order, sent_us + latency_us)
                took_us = sent_us + latency_us + back_us - now_us
                fate: Fate = "lost" if sent.fell else "there"
                self._heard(TransferSeen(order.source, order.target, order.bytes, now_us, took_us, fate=fate))
            if sent.fell:  # That is told when it happens (`_watch`), and so is what is lost with it.
                self._later(TimePassed(sent_us))
                return
        what = (order.frame, order.stage, order.target, order.number)
        self._later(SendEnded(sent_us, *what))
        self._later(Arrived(sent_us + latency_us, *what))

    def _latency_back_us(self, order: SendOutput, there_us: int) -> int:
        """How long the other end's word takes that it is there."""
        course = self._courses.get((order.target, order.source))
        now = None if course is None else course.at(there_us)
        return order.latency_us if now is None else now[0]

    def _run(self, order: RunStage, now_us: int) -> None:
        """Compute a stage as it starts. Its end comes later."""
        lasts_us = order.expected_us if self._lasts_us is None else self._lasts_us(order)
        report, failure = _NOTHING_TOLD, None
        if self._compute is not None:
            computed = self._computed(self._compute, order)
            if self._closed:
                return
            if isinstance(computed, Computed):
                report = computed.report
                self._outputs[order.frame, order.stage, order.attempt] = order, computed.outputs
            else:
                failure = computed
            if report.expected_us is not None:
                lasts_us = report.expected_us
            if report.device_us is not None and order.resource in self._device_times:
                lasts_us = max(1, report.device_us)
        if self._noise is not None:
            noisy_us = self._noise(order.frame, order.stage, order.resource, lasts_us)
            lasts_us = whole(noisy_us, "noise")
        if self._faults is not NO_FAULTS:
            lasts_us = self._faults.end_us(order.resource, now_us, lasts_us) - now_us
        if self._contention is not None:
            self._contend(self._contention, _Contended(order, now_us, report, failure), lasts_us)
            return
        end_us = now_us + lasts_us
        limit_us = order.limit_us
        if limit_us is not None and lasts_us > limit_us:
            self._later(StageOverdue(now_us + limit_us, order.frame, order.stage, order.attempt, limit_us))
            self._if_ever(_end_of_abandoned(order, end_us, report, failure, now_us))
            return
        if failure is None:  # As nearly always: nothing else is made for it.
            self._later(StageEnded(end_us, order.frame, order.stage, order.attempt, report))
            return
        for event, priority in _ends(order, end_us, report, failure):
            self._later(event, priority)

    # Where processors contend.

    def _contend(self, contention: Contention[Attempt], run: _Contended, alone_us: int) -> None:
        """A run begins among others, that would take so long alone."""
        order = run.order
        attempt = (order.frame, order.stage, order.attempt)
        self._contended[attempt] = run
        for changed in contention.start(attempt, order.resource, alone_us, run.start_us):
            self._reschedule(contention, changed)

    def _reschedule(self, contention: Contention[Attempt], attempt: Attempt) -> None:
        """It is done at another time than was thought."""
        run, end_us = self._contended[attempt], contention.end_us(attempt)
        assert end_us is not None
        limit_us = run.order.limit_us
        if run.is_abandoned:
            run.settles_us = end_us
            self._if_ever(_Settled(end_us, attempt))
            return
        settles_us = end_us if limit_us is None else min(end_us, run.start_us + limit_us)
        if settles_us != run.settles_us:
            run.settles_us = settles_us
            self._later(_Settled(settles_us, attempt))

    def _is_settled_otherwise(self, event: _Happens) -> bool:
        if not isinstance(event, _Settled):
            return False
        run = self._contended.get(event.attempt)
        return run is None or run.settles_us != event.at_us

    def _drop_settled_otherwise(self) -> None:
        """What comes next is not the end of a run at a time that has become another one."""
        for heap in (self._heap, self._aside):
            while heap and self._is_settled_otherwise(heap[0][3]):
                heapq.heappop(heap)

    def _settle(self, event: _Settled) -> None:
        """A run among others is done, or over its limit."""
        contention, attempt = self._contention, event.attempt
        assert contention is not None
        run, now_us = self._contended[attempt], event.at_us
        order, end_us = run.order, contention.end_us(attempt)
        assert end_us is not None
        if end_us > now_us:
            assert order.limit_us is not None
            run.is_abandoned = True
            self._reschedule(contention, attempt)
            self._tell(StageOverdue(now_us, order.frame, order.stage, order.attempt, order.limit_us))
            return
        del self._contended[attempt]
        for changed in contention.end(attempt, now_us):
            self._reschedule(contention, changed)
        if run.is_abandoned:
            self._tell(_end_of_abandoned(order, now_us, run.report, run.failure, run.start_us))
            return
        first, *others = _ends(order, now_us, run.report, run.failure)
        for other, priority in others:
            self._later(other, priority)
        self._tell(first[0])

    def _computed(self, compute: Compute, order: RunStage) -> Computed | _Failed:
        """What came of a run, or why it failed."""
        before, self._computing = self._computing, threading.get_ident()
        try:
            return compute(order)
        except BaseException as error:  # Whatever a kernel raises is the failure of its stage.
            if is_users_interrupt(error):
                raise
            return _Failed(failure_text(error.with_traceback(None)), isinstance(error, DeviceUnavailableError))
        finally:
            self._computing = before


def _ends(order: RunStage, end_us: int, report: RunReport, failure: _Failed | None) -> list[tuple[Event, int | None]]:
    """How a run ends, in this order, each with its priority among what happens then; None: the usual one."""
    if failure is None:
        return [(StageEnded(end_us, order.frame, order.stage, order.attempt, report), None)]
    failed = StageFailed(end_us, order.frame, order.stage, order.attempt, failure.why)
    if not failure.is_gone:
        return [(failed, None)]
    return [(ProcessorLost(end_us, order.resource, failure.why, by_itself=True), None), (failed, _AFTER_ALL)]


def _end_of_abandoned(
    order: RunStage, end_us: int, report: RunReport, failure: _Failed | None, start_us: int
) -> StageEnded | StageFailed:
    """How a run ends that is over its limit."""
    # A device that is gone is noticed by the limit: what has been abandoned says nothing of it.
    if failure is None:
        return StageEnded(end_us, order.frame, order.stage, order.attempt, report)
    return StageFailed(end_us, order.frame, order.stage, order.attempt, failure.why, start_us)

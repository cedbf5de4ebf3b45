"""Drives the dispatcher in real time: a thread for every lane of every processor.

The dispatcher is a state machine behind one lock: whichever thread something happens in tells it, and does what it
says. A lane's thread is given a stage only when it has told the end of the last one, so no queue grows here; how many
frames may be in flight is the runtime's policy. Transfers are copies; what really goes elsewhere (`driver.Far`) has a
thread for as long as that takes, and occupies its radio's lane until then. The latencies that the hardware document
gives to links and wake-ups are not waited for, since this machine has its own, unless `modelled_delays` asks for it.

Kernels are not ours: whatever one raises is the failure of its stage, and its lane goes on. A kernel cannot be stopped,
unless it computes in another process (`backend.Abandonable`): where one hangs, its thread is abandoned, and its lane
goes on with another. When it returns after all, what it gives is dropped, and its thread ends; nobody waits for that.
What goes wrong in the runtime itself is kept in `failure`; then nothing happens any more, and whoever drains is told.

**Limits** go by the clock, and are looked at by the thread of the alarms, every so often while anything runs. Where
that comes late, the machine was suspended, the process stopped, or the clock has leapt: what runs then has so much
longer.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING

from leo_runtime.clock import Clock, VirtualClock, WallClock
from leo_runtime.dispatch.carriers import Carriers
from leo_runtime.dispatch.driver import Broken, Compute, Outputs, Publish, Try, drained_in_kernel
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
    RunStage,
    SendEnded,
    SendFailed,
    SendOutput,
    StageEnded,
    StageFailed,
    StageOverdue,
    TimePassed,
    Wake,
)
from leo_runtime.dispatch.holder import Holder, HoldFailure
from leo_runtime.errors import DeviceUnavailableError, InputError, failure_text, is_users_interrupt, once_more

if TYPE_CHECKING:
    from leo_runtime.backend import Holding
    from leo_runtime.dispatch.dispatcher import Dispatcher
    from leo_runtime.dispatch.driver import Far
    from leo_runtime.dispatch.health import Target

CLOSE_TIMEOUT_S = 5.0
"""How long closing waits for the kernels that are running, for all of them together."""

STALL_US = 250_000
"""When limits are looked at so much later than they should, the process did not run for all that time."""
LOOK_US = 250_000
"""At most so long after they were looked at limits are looked at again: a stop in between is not to go unnoticed."""
PROBE_TIMEOUT_S = 1.0
"""How long closing waits for probes, which may hang."""

HandOver = Callable[[int, str, str], None]
"""Gives an output to another processor: from frame, stage and target."""

Abandon = Callable[[RenewLane], None]
"""Is told of a kernel that hangs, which is not to be called again; or that it has returned."""

Lane = tuple[str, int]


class Executor:
    """Real time for a dispatcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        lanes: Mapping[str, int],
        compute: Compute,
        *,
        publish: Publish = lambda *_: None,
        hand_over: HandOver = lambda *_: None,
        clock: Clock | None = None,
        modelled_delays: bool = False,
        device_times: Collection[str] = (),
        devices: Mapping[str, Holding] | None = None,
        abandon: Abandon = lambda _: None,
        returned: Abandon = lambda _: None,
        probe: Try | None = None,
        far: Far | None = None,
    ) -> None:
        """`lanes` of every processor: each gets a thread.

        `publish` is given the outputs of every run whose end was accepted, before anything reads them; `hand_over`
        copies an output, unless `far` says that it really goes elsewhere, and sends it.

        On the processors of `device_times`, which are simulated, a run occupies its lane for as long as its kernel
        says the device takes. `devices`, by processor, can be told to stay awake.

        `abandon` is told of kernels that hang, and `returned` of those that have returned after all. `probe` tries what
        is out of service, on a thread of its own; without it, what is tried works. By a `VirtualClock`, which goes on
        as soon as anyone waits, nothing is ever late or tried.
        """
        self.dispatcher = dispatcher
        self.clock: Clock = WallClock() if clock is None else clock
        self.on_ended: Callable[[], None] = lambda: None
        self._compute = compute
        self._publish = publish
        self._hand_over = hand_over
        self._far = far
        self._carriers = Carriers()
        self._modelled_delays = modelled_delays
        self._device_times = frozenset(device_times)
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._finished: deque[FrameDone] = deque()
        self._alarms: list[tuple[int, int, Event | Probe]] = []
        self._count = 0
        self._alarm_set = threading.Event()
        self._closed = False
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._process = os.getpid()
        self._abandon, self._returned, self._probe = abandon, returned, probe
        self._watches = not isinstance(self.clock, VirtualClock)
        self._running: dict[Lane, tuple[int, RunStage]] = {}
        """The last run of each lane, and when it is over its limit."""
        self._look_us: int | None = None
        """When limits are looked at next."""
        self._abandoned: dict[threading.Thread, RenewLane] = {}
        """Threads in which a kernel hangs."""
        self._probing: list[threading.Thread] = []
        self._queues: dict[Lane, SimpleQueue[RunStage | None]] = {}
        self._threads: list[threading.Thread] = []
        self._thread_of: dict[Lane, threading.Thread] = {}
        for lane in [(resource, index) for resource, count in lanes.items() for index in range(count)]:
            self._add_thread(lane)
        self._holder = Holder(devices or {})
        self._threads.append(threading.Thread(target=self._ring, name="leo alarms", daemon=True))
        for thread in self._threads:
            thread.start()

    def _add_thread(self, lane: Lane) -> threading.Thread:
        """A thread for a lane, which is to be started."""
        queue: SimpleQueue[RunStage | None] = SimpleQueue()
        thread = threading.Thread(target=self._work, args=(queue,), name=f"leo {lane[0]}[{lane[1]}]", daemon=True)
        self._queues[lane], self._thread_of[lane] = queue, thread
        self._threads.append(thread)
        return thread

    @property
    def failure(self) -> BaseException | None:
        """What went wrong in the runtime itself. From any thread."""
        return self._failure

    @property
    def hold_failures(self) -> Mapping[str, HoldFailure]:
        """What went wrong when devices were to stay awake, by processor. From any thread."""
        return self._holder.failures

    def post(self, event: Event) -> None:
        """Something happened: tell the dispatcher and do what it says. From any thread."""
        self._happened(event)

    def _happened(self, event: Event, order: RunStage | None = None, outputs: Outputs = MappingProxyType({})) -> None:
        """`outputs` are published if `order`, whose end this is, is not stale."""
        with self._lock:
            if self._closed:
                return
            waiting = [event]
            try:
                if order is not None and self.dispatcher.is_running(order.frame, order.stage, order.attempt):
                    self._publish(order, outputs)
                while waiting:
                    waiting += self._perform(self.dispatcher.handle(waiting.pop(0)))
            except BaseException as failure:
                self._fail_all(failure)
                if is_users_interrupt(failure):
                    raise

    def _fail_all(self, failure: BaseException) -> None:
        """What goes wrong here, and in no kernel, in whichever thread: it is told where somebody waits."""
        with self._lock:
            self._failure = failure
            self._closed = True
            self._closing.set()
            self._idle.notify_all()
            self.on_ended()

    def locked(self) -> AbstractContextManager[object]:
        """While it is held, nothing happens: for a consistent look at the dispatcher. From any thread."""
        return self._lock

    def reach(self, at_us: int) -> None:
        """Wait until that time, or until somebody closes. From any thread. Raises `InputError` in a forked process."""
        self.require_threads()
        self.clock.wait_until_us(at_us, self._closing)

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until no frame is in flight; False where that takes longer. From any thread but a lane's.

        Raises what went wrong in the runtime itself, in whichever thread; `InputError` on a lane's thread, and in a
        forked process.
        """
        self.require_threads()
        here = threading.current_thread()
        if here in (*self._threads, *self._carriers.threads) or here in self._abandoned or here in self._probing:
            raise drained_in_kernel()
        with self._idle:
            idle = self._idle.wait_for(lambda: self._closed or not self.dispatcher.frames, timeout_s)
            if self._failure is not None:
                raise once_more(self._failure)
            return idle

    def finished(self) -> tuple[FrameDone, ...]:
        """The frames that ended since this was last asked. From any thread, one at a time: it takes no lock."""
        found = []
        while self._finished:
            found.append(self._finished.popleft())
        return tuple(found)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S, why: str = "the executor was closed") -> None:
        """Stop the threads, each after the stage it is running. From any thread. Twice is fine.

        Frames in flight are dropped, and say `why`. Kernels that do not come back within `timeout_s`, all together, are
        left to themselves; those that were abandoned are not waited for. In a forked process there is nothing to stop.
        """
        if not self.has_threads:  # Locks may be held here for ever.
            return
        with self._lock:
            if not self._closed:
                try:
                    for frame in self.dispatcher.frames:
                        self.post(FrameDropped(self.clock.now_us(), frame, why))
                except Exception as failure:  # The threads are to end all the same.
                    self._fail_all(failure)
            self._closed = True
            self._idle.notify_all()
            queues, threads, probing = (*self._queues.values(),), (*self._threads,), (*self._probing,)
        self._closing.set()
        self._alarm_set.set()
        for queue in queues:
            queue.put(None)
        self._carriers.close()
        patience = WallClock()
        for thread in (*threads, *self._carriers.threads):
            if thread is not threading.current_thread():
                thread.join(max(0.0, timeout_s - patience.now_us() / 1e6))
        for thread in probing:
            thread.join(max(0.0, min(timeout_s, PROBE_TIMEOUT_S) - patience.now_us() / 1e6))
        self._holder.close(max(0.0, timeout_s - patience.now_us() / 1e6))

    @property
    def has_threads(self) -> bool:
        """Whether this is the process that made it: a forked one has none of its threads. From any thread."""
        return os.getpid() == self._process

    def require_threads(self) -> None:
        """Raise `InputError` in a forked process. From any thread."""
        if os.getpid() != self._process:
            raise InputError(
                f"the runtime's threads are in process {self._process}, of which this one was forked",
                hint="make the Runtime in the process that uses it, or start that one by `spawn`",
            )

    def _perform(self, instructions: tuple[Instruction, ...]) -> list[Event]:
        """Do what was said; returns what happened at once."""
        now_us = self.clock.now_us()
        events: list[Event] = []
        for order in instructions:
            match order:
                case RunStage():
                    lane = (order.resource, order.lane)
                    if order.limit_us is not None and self._watches:
                        self._watch(lane, order, now_us, now_us + order.limit_us)
                    self._queues[lane].put(order)
                case SendOutput():
                    events += self._send(order, now_us)
                case LoadWeights():
                    events += self._load(order, now_us)
                case Wake():
                    latency_us = order.latency_us if self._modelled_delays else 0
                    events += self._after(latency_us, ResourceWoken(now_us + latency_us, order.resource))
                case Remind():
                    events += self._after(order.at_us - now_us, TimePassed(order.at_us))
                case Hold():
                    self._holder.hold(order.resource)
                case Release():
                    self._holder.release(order.resource)
                case CancelStage() | CancelSend():
                    pass  # A running kernel cannot be stopped, nor a copy; its end is told all the same.
                case RenewLane():
                    events.append(self._renew(order, now_us))
                case Probe():
                    if self._watches:
                        self._set_alarm(order)
                case FrameDone():
                    self._finished.append(order)
                    self._idle.notify_all()  # Nothing less wakes who waits in `drain`.
                    self.on_ended()
        return events

    def _send(self, order: SendOutput, now_us: int) -> list[Event]:
        if self._far is not None and self._far.goes_far(order):
            if self._carriers.carry(partial(self._cross, self._far, order)):
                return []
            return self._broken(order, Broken("", "the system has no thread left for it"), now_us)
        self._hand_over(order.frame, order.stage, order.target)
        sending_us, latency_us = (order.sending_us, order.latency_us) if self._modelled_delays else (0, 0)
        there_us = max(self.clock.now_us(), now_us + sending_us + latency_us)
        sent = SendEnded(there_us - latency_us, order.frame, order.stage, order.target, order.number)
        arrived = Arrived(there_us, order.frame, order.stage, order.target, order.number)
        return [*self._after(sending_us, sent), *self._after(sending_us + latency_us, arrived)]

    def _cross(self, far: Far, order: SendOutput) -> None:
        """The work of a carrier: a transfer that takes its time."""
        try:
            broken = far.cross(order, self.clock.now_us)
            with self._lock:
                now_us = self.clock.now_us()
                if broken is not None:
                    for event in self._broken(order, broken, now_us):
                        self.post(event)
                    return
                self.post(SendEnded(now_us, order.frame, order.stage, order.target, order.number))
                self.post(Arrived(now_us, order.frame, order.stage, order.target, order.number))
        except BaseException as failure:  # A mistake of ours, or a clock's.
            self._fail_all(failure)

    def _broken(self, order: SendOutput, broken: Broken, now_us: int) -> list[Event]:
        """What a transfer tells that came to nothing: first that a processor is lost, which is why."""
        failed = SendFailed(now_us, order.frame, order.stage, order.target, broken.error, order.number)
        if not broken.resource or broken.resource in self.dispatcher.lost:
            return [failed]
        return [ProcessorLost(now_us, broken.resource, broken.error, by_itself=True), failed]

    def _load(self, order: LoadWeights, now_us: int) -> list[Event]:
        """Nothing is loaded: kernels have their weights from the start. With modelled delays it takes as long."""
        loading_us, latency_us = (order.loading_us, order.latency_us) if self._modelled_delays else (0, 0)
        there_us = max(self.clock.now_us(), now_us + loading_us + latency_us)
        ended = LoadEnded(there_us - latency_us, order.frame, order.load)
        arrived = LoadArrived(there_us, order.frame, order.load)
        return [*self._after(loading_us, ended), *self._after(loading_us + latency_us, arrived)]

    def _after(self, delay_us: int, event: Event) -> list[Event]:
        """The event itself where there is nothing to wait for; otherwise an alarm is set for it."""
        if delay_us <= 0:
            return [event]
        self._set_alarm(event)
        return []

    def _set_alarm(self, event: Event | Probe) -> None:
        self._count += 1
        heapq.heappush(self._alarms, (event.at_us, self._count, event))
        self._alarm_set.set()

    def _ring(self) -> None:
        """The thread of the alarms."""
        try:
            self._ring_all()
        except BaseException as failure:  # A clock is handed in, too.
            self._fail_all(failure)

    def _ring_all(self) -> None:
        while not self._closed:
            with self._lock:
                self._alarm_set.clear()
                due = self._alarms[0] if self._alarms else None
                at_us = self._look_us
                if due is not None and (at_us is None or due[0] <= at_us):
                    at_us = due[0]
                else:
                    due = None
            if self._closed:
                return
            if at_us is None:
                self._alarm_set.wait()
            elif self.clock.wait_until_us(at_us, self._alarm_set):
                continue
            elif due is None:
                self._look(at_us)
            else:
                with self._lock:
                    self._alarms.remove(due)
                    heapq.heapify(self._alarms)
                if isinstance(due[2], Probe):
                    self._start_probe(due[2])
                else:
                    self.post(due[2])

    # Limits.

    def _watch(self, lane: Lane, order: RunStage, now_us: int, until_us: int) -> None:
        """Look at that time whether a run has ended."""
        self._running[lane] = until_us, order
        look_us = min(until_us, now_us + LOOK_US)
        if self._look_us is None or look_us < self._look_us:
            self._look_us = look_us
            self._alarm_set.set()

    def _look(self, at_us: int) -> None:
        """Tell which runs are over their limits. It is `at_us`, or later where nothing could run meanwhile."""
        with self._lock:
            now_us = self.clock.now_us()
            late_us = now_us - at_us
            stalled_us = late_us if late_us > STALL_US else 0
            overdue: list[RunStage] = []
            going: dict[Lane, tuple[int, RunStage]] = {}
            for lane, (until_us, order) in self._running.items():
                if self.dispatcher.holds_lane(order.frame, order.stage, order.attempt):
                    if stalled_us:  # After it everything is slow for a while.
                        until_us = max(until_us + stalled_us, now_us + STALL_US)
                    if until_us > now_us:
                        going[lane] = until_us, order
                    else:
                        overdue.append(order)
            self._running = going
            look_us = min((until_us for until_us, _ in going.values()), default=None)
            self._look_us = None if look_us is None else min(look_us, now_us + LOOK_US)
            for one in overdue:
                self.post(StageOverdue(now_us, one.frame, one.stage, one.attempt, one.limit_us or 0))

    def _renew(self, order: RenewLane, now_us: int) -> Event:
        """Abandon the thread of a lane, in which a kernel hangs, and let another go on."""
        lane = (order.resource, order.lane)
        self._abandon(order)
        hung, queue = self._thread_of[lane], self._queues[lane]
        thread = self._add_thread(lane)
        try:
            thread.start()
        except RuntimeError as error:  # The system has no thread left: the lane waits for what hangs.
            self._threads.remove(thread)
            self._queues[lane], self._thread_of[lane] = queue, hung
            return ProcessorLost(now_us, order.resource, failure_text(error), by_itself=True)
        finally:
            self._abandoned[hung] = order
        self._threads.remove(hung)
        queue.put(None)
        return LaneRenewed(now_us, order.resource, order.lane)

    def _is_back(self) -> None:
        """Whether or not this thread was abandoned, its kernel has returned."""
        here = threading.current_thread()
        with self._lock:
            order = self._abandoned.pop(here, None)
            if order is not None:
                self._returned(order)
                if self._thread_of[order.resource, order.lane] is here:
                    self.post(LaneRenewed(self.clock.now_us(), order.resource, order.lane))

    def _start_probe(self, probe: Probe) -> None:
        """Try what is out of service in a thread of its own: it may hang."""
        thread = threading.Thread(target=self._try, args=(probe,), name=f"leo probe {probe.resource}", daemon=True)
        with self._lock:
            if self._closed or not self.dispatcher.health.awaits(_target(probe), probe.number):
                return
            self._probing = [one for one in self._probing if one.is_alive()]
            try:
                thread.start()
            except RuntimeError as error:  # The system has no thread left.
                self.post(ProbeEnded(self.clock.now_us(), *_target(probe), probe.number, failure_text(error)))
            else:
                self._probing.append(thread)

    def _try(self, probe: Probe) -> None:
        """The thread of a probe."""
        error = ""
        try:
            if self._probe is not None:
                self._probe(*_target(probe))
        except BaseException as failure:  # As of any kernel.
            error = failure_text(failure.with_traceback(None))
        try:
            self.post(ProbeEnded(self.clock.now_us(), *_target(probe), probe.number, error))
        except BaseException as failure:  # No kernel's, but such as the clock's.
            self._fail_all(failure)

    def _work(self, queue: SimpleQueue[RunStage | None]) -> None:
        """The thread of a lane."""
        while (order := queue.get()) is not None:
            try:
                if not self._closed:
                    self._run(order)
            except BaseException as failure:  # No kernel's, but such as the clock's.
                self._fail_all(failure)
        self._is_back()  # It may have been abandoned just as its kernel returned.

    def _run(self, order: RunStage) -> None:
        """Run a stage and tell its end."""
        began_us = self.clock.now_us()
        try:
            try:
                computed = self._compute(order)
            finally:
                if self._abandoned:
                    self._is_back()
        except DeviceUnavailableError as failure:
            with self._lock:
                # Of what was abandoned the device may have been replaced.
                if self.dispatcher.holds_lane(order.frame, order.stage, order.attempt):
                    lost = ProcessorLost(self.clock.now_us(), order.resource, str(failure), by_itself=True)
                    self.post(lost)
                self._fail(order, began_us, failure)
            return
        except BaseException as failure:  # Whatever a kernel raises is the failure of its stage.
            self._fail(order, began_us, failure)
            return
        report = computed.report
        if report.started_us is None:
            report = replace(report, started_us=began_us)
        if report.device_us is not None and order.resource in self._device_times:
            self.clock.wait_until_us((report.started_us or 0) + report.device_us, self._closing)
        ended = StageEnded(self.clock.now_us(), order.frame, order.stage, order.attempt, report)
        self._happened(ended, order, computed.outputs)

    def _fail(self, order: RunStage, began_us: int, failure: BaseException) -> None:
        # An error that is raised again and again would hold all calls that it ever came through.
        why = failure_text(failure.with_traceback(None))
        self.post(StageFailed(self.clock.now_us(), order.frame, order.stage, order.attempt, why, began_us))


def _target(probe: Probe) -> Target:
    return probe.resource, probe.stage, probe.variant

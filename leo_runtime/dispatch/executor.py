"""Drives the dispatcher in real time: a thread for every lane of every processor.

The dispatcher is a state machine behind one lock: whichever thread something happens in tells it, and does what it
says. A lane's thread is given a stage only when it has told the end of the last one, so no queue grows here; how many
frames may be in flight is the runtime's policy. Transfers are copies. The latencies that the hardware document gives to
links and wake-ups are not waited for, since this machine has its own, unless `modelled_delays` asks for it.

Kernels are not ours: whatever one raises is the failure of its stage, and its lane goes on. What goes wrong in the
runtime itself is kept in `failure`; then nothing happens any more, and whoever drains is told.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from queue import SimpleQueue
from types import MappingProxyType

from leo_runtime.backend import Holding
from leo_runtime.clock import Clock, WallClock
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Compute, Outputs, Publish, drained_in_kernel
from leo_runtime.dispatch.events import (
    Arrived,
    CancelStage,
    Event,
    FrameDone,
    FrameDropped,
    Hold,
    Instruction,
    ProcessorLost,
    Release,
    Remind,
    ResourceWoken,
    RunStage,
    SendEnded,
    SendOutput,
    StageEnded,
    StageFailed,
    TimePassed,
    Wake,
)
from leo_runtime.dispatch.holder import Holder, HoldFailure
from leo_runtime.errors import DeviceUnavailableError, InputError, failure_text, is_users_interrupt, once_more

CLOSE_TIMEOUT_S = 5.0
"""How long closing waits for the kernels that are running, for all of them together."""

HandOver = Callable[[int, str, str], None]
"""Gives an output to another processor: from frame, stage and target."""


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
    ) -> None:
        """`lanes` of every processor: each gets a thread.

        `publish` is given the outputs of every run whose end was accepted, before anything reads them; `hand_over`
        copies an output.

        On the processors of `device_times`, which are simulated, a run occupies its lane for as long as its kernel
        says the device takes. `devices`, by processor, can be told to stay awake.
        """
        self.dispatcher = dispatcher
        self.clock: Clock = WallClock() if clock is None else clock
        self.on_ended: Callable[[], None] = lambda: None
        self._compute = compute
        self._publish = publish
        self._hand_over = hand_over
        self._modelled_delays = modelled_delays
        self._device_times = frozenset(device_times)
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._finished: list[FrameDone] = []
        self._alarms: list[tuple[int, int, Event]] = []
        self._count = 0
        self._alarm_set = threading.Event()
        self._closed = False
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._process = os.getpid()
        self._queues: dict[tuple[str, int], SimpleQueue[RunStage | None]] = {
            (resource, lane): SimpleQueue() for resource, count in lanes.items() for lane in range(count)
        }
        self._threads = [
            threading.Thread(target=self._work, args=(queue,), name=f"leo {resource}[{lane}]", daemon=True)
            for (resource, lane), queue in self._queues.items()
        ]
        self._holder = Holder(devices or {})
        self._threads.append(threading.Thread(target=self._ring, name="leo alarms", daemon=True))
        for thread in self._threads:
            thread.start()

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
        if threading.current_thread() in self._threads:
            raise drained_in_kernel()
        with self._idle:
            idle = self._idle.wait_for(lambda: self._closed or not self.dispatcher.frames, timeout_s)
            if self._failure is not None:
                raise once_more(self._failure)
            return idle

    def finished(self) -> tuple[FrameDone, ...]:
        """The frames that ended since this was last asked. From any thread."""
        with self._lock:
            found = tuple(self._finished)
            self._finished.clear()
            return found

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S, why: str = "the executor was closed") -> None:
        """Stop the threads, each after the stage it is running. From any thread. Twice is fine.

        Frames in flight are dropped, and say `why`. Kernels that do not come back within `timeout_s`, all together, are
        left to themselves. In a forked process there is nothing to stop.
        """
        if self._is_forked():
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
        self._closing.set()
        self._alarm_set.set()
        for queue in self._queues.values():
            queue.put(None)
        patience = WallClock()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, timeout_s - patience.now_us() / 1e6))
        self._holder.close(max(0.0, timeout_s - patience.now_us() / 1e6))

    def _is_forked(self) -> bool:
        """Whether this process was forked from the one that has the threads; locks may be held here for ever."""
        return os.getpid() != self._process

    def require_threads(self) -> None:
        """Raise `InputError` in a forked process. From any thread."""
        if self._is_forked():
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
                    self._queues[order.resource, order.lane].put(order)
                case SendOutput():
                    events += self._send(order, now_us)
                case Wake():
                    latency_us = order.latency_us if self._modelled_delays else 0
                    events += self._after(latency_us, ResourceWoken(now_us + latency_us, order.resource))
                case Remind():
                    events += self._after(order.at_us - now_us, TimePassed(order.at_us))
                case Hold():
                    self._holder.hold(order.resource)
                case Release():
                    self._holder.release(order.resource)
                case CancelStage():
                    pass  # A running kernel cannot be stopped; its end is told all the same.
                case FrameDone():
                    self._finished.append(order)
                    self._idle.notify_all()  # Nothing less wakes who waits in `drain`.
                    self.on_ended()
        return events

    def _send(self, order: SendOutput, now_us: int) -> list[Event]:
        self._hand_over(order.frame, order.stage, order.target)
        sending_us, latency_us = (order.sending_us, order.latency_us) if self._modelled_delays else (0, 0)
        there_us = max(self.clock.now_us(), now_us + sending_us + latency_us)
        sent = SendEnded(there_us - latency_us, order.frame, order.stage, order.target)
        arrived = Arrived(there_us, order.frame, order.stage, order.target)
        return [*self._after(sending_us, sent), *self._after(sending_us + latency_us, arrived)]

    def _after(self, delay_us: int, event: Event) -> list[Event]:
        """The event itself where there is nothing to wait for; otherwise an alarm is set for it."""
        if delay_us <= 0:
            return [event]
        self._count += 1
        heapq.heappush(self._alarms, (event.at_us, self._count, event))
        self._alarm_set.set()
        return []

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
            if self._closed:
                return
            if due is None:
                self._alarm_set.wait()
            elif not self.clock.wait_until_us(due[0], self._alarm_set):
                with self._lock:
                    self._alarms.remove(due)
                    heapq.heapify(self._alarms)
                self.post(due[2])

    def _work(self, queue: SimpleQueue[RunStage | None]) -> None:
        """The thread of a lane."""
        while (order := queue.get()) is not None:
            try:
                if not self._closed:
                    self._run(order)
            except BaseException as failure:  # No kernel's, but such as the clock's.
                self._fail_all(failure)

    def _run(self, order: RunStage) -> None:
        """Run a stage and tell its end."""
        began_us = self.clock.now_us()
        try:
            computed = self._compute(order)
        except DeviceUnavailableError as failure:
            with self._lock:
                self.post(ProcessorLost(self.clock.now_us(), order.resource, str(failure)))
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
        now_us = self.clock.now_us()
        self.post(StageFailed(now_us, order.frame, order.stage, order.attempt, failure_text(failure), began_us))

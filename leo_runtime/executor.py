"""Drives the dispatcher in real time: a thread for every lane of every processor.

The dispatcher is a state machine behind one lock: whichever thread something happens in tells it, and does what it
says. A lane's thread has at most one stage waiting for it, so no queue grows here; how many frames may be in flight is
the runtime's policy. Transfers are copies. The latencies that the hardware document gives to links and wake-ups are
not waited for, since this machine has its own, unless `modelled_delays` asks for it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from queue import SimpleQueue

from leo_runtime.clock import Clock, WallClock
from leo_runtime.computing import Compute, Finished, Ran
from leo_runtime.dispatch import Dispatcher
from leo_runtime.errors import DeviceUnavailableError
from leo_runtime.events import (
    Arrived,
    CancelStage,
    Event,
    FrameDone,
    Instruction,
    ProcessorLost,
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

PATIENCE_S = 5.0

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
        hand_over: HandOver | None = None,
        clock: Clock | None = None,
        modelled_delays: bool = False,
        device_times: Collection[str] = (),
    ) -> None:
        """`lanes` of every processor: each gets a thread. `hand_over` copies an output; None where there is no need.

        On the processors of `device_times`, which are simulated, a run occupies its lane for as long as its kernel
        says the device takes.
        """
        self.dispatcher = dispatcher
        self.clock: Clock = WallClock() if clock is None else clock
        self._compute = compute
        self._hand_over = hand_over
        self._modelled_delays = modelled_delays
        self._device_times = frozenset(device_times)
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._finished: list[Finished] = []
        self._ran: dict[int, dict[tuple[str, int], Ran]] = {}
        self._alarms: list[tuple[int, int, Event]] = []
        self._count = 0
        self._alarm_set = threading.Event()
        self._closed = False
        self._mistake: Exception | None = None
        self._queues: dict[tuple[str, int], SimpleQueue[RunStage | None]] = {
            (resource, lane): SimpleQueue() for resource, count in lanes.items() for lane in range(count)
        }
        self._threads = [
            threading.Thread(target=self._work, args=(queue,), name=f"leo {resource}[{lane}]", daemon=True)
            for (resource, lane), queue in self._queues.items()
        ]
        self._threads.append(threading.Thread(target=self._ring, name="leo alarms", daemon=True))
        for thread in self._threads:
            thread.start()

    def post(self, event: Event) -> None:
        """Something happened: tell the dispatcher and do what it says. From any thread."""
        with self._lock:
            if self._closed:
                return
            waiting = [event]
            try:
                while waiting:
                    waiting += self._perform(self.dispatcher.handle(waiting.pop(0)))
            except Exception as mistake:  # Ours, in whichever thread: it is raised where somebody waits for an answer.
                self._mistake = mistake
                self._closed = True
            self._idle.notify_all()

    def held(self) -> AbstractContextManager[object]:
        """While it is held, nothing happens: for a consistent look at the dispatcher."""
        return self._lock

    def reach(self, at_us: int) -> None:
        """Wait until that time."""
        self.clock.wait_until_us(at_us)

    def drain(self) -> None:
        """Wait until no frame is in flight. Raises what went wrong in any thread, except in a kernel."""
        with self._idle:
            self._idle.wait_for(lambda: self._closed or not self.dispatcher.frames)
            self._raise()

    def finished(self) -> tuple[Finished, ...]:
        """The frames that ended since this was last asked. Raises as `drain` does."""
        with self._lock:
            self._raise()
            found = tuple(self._finished)
            self._finished.clear()
            return found

    def close(self) -> None:
        """Stop the threads, each after the stage it is running. Frames in flight are abandoned. Twice is fine.

        A kernel that does not come back within `PATIENCE_S` is left to itself.
        """
        with self._lock:
            self._closed = True
            self._idle.notify_all()
        self._alarm_set.set()
        for queue in self._queues.values():
            queue.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE_S)

    def _raise(self) -> None:
        if self._mistake is not None:
            raise self._mistake

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
                case CancelStage():
                    pass  # A running kernel cannot be stopped; what it gives is ignored.
                case FrameDone():
                    self._finished.append(Finished(order, self._ran.pop(order.frame, {})))
        return events

    def _send(self, order: SendOutput, now_us: int) -> list[Event]:
        if self._hand_over is not None:
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
            started_us = self.clock.now_us()
            try:
                ran = self._compute(order)
            except DeviceUnavailableError as failure:
                self.post(ProcessorLost(self.clock.now_us(), order.resource, str(failure)))
                continue
            except Exception as failure:  # Whatever a kernel raises is the failure of its stage.
                self._fail(order, started_us, f"{type(failure).__name__}: {failure}")
                continue
            if ran.device_us is not None and order.resource in self._device_times:
                self.clock.wait_until_us(started_us + ran.device_us)
            ended_us = self.clock.now_us()
            with self._lock:
                if order.frame in self.dispatcher.frames:
                    self._ran.setdefault(order.frame, {})[order.stage, order.attempt] = ran
                self.post(
                    StageEnded(
                        ended_us, order.frame, order.stage, order.attempt, ran.opened, started_us, ran.absent_for
                    )
                )

    def _fail(self, order: RunStage, started_us: int, error: str) -> None:
        self.post(StageFailed(self.clock.now_us(), order.frame, order.stage, order.attempt, error, started_us))

"""Drives the dispatcher in virtual time: a heap of (time, priority, number), and nothing that waits.

A stage lasts as long as its mode says, or as a noise model makes of that. Where kernels are handed in, values and the
decisions of gates are real all the same: a replay on the profile of a phone computes on this machine what the phone
would have computed, in the phone's time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from random import Random

from leo_runtime.clock import VirtualClock
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

Noise = Callable[[int, str, str, int], int]
"""How long a stage really lasts: from frame, stage, resource and the planned duration in us."""

_PRIORITY: Mapping[type[Event], int] = {StageEnded: 0, StageFailed: 0, SendEnded: 1, Arrived: 1, ResourceWoken: 2}
"""What comes first of what happens at the same time: ends, then arrivals, then the rest."""


def seeded_noise(seed: int, spread_ppm: int) -> Noise:
    """Log-normal noise around the planned duration; `spread_ppm` is the standard deviation of its logarithm.

    It depends on seed, frame, stage and resource alone, not on the order in which things happen.
    """

    def noise(frame: int, stage: str, resource: str, duration_us: int) -> int:
        factor = Random(f"{seed}/{frame}/{stage}/{resource}").lognormvariate(0.0, spread_ppm / 1e6)
        return max(1, round(duration_us * factor))

    return noise


class Simulator:
    """Virtual time for a dispatcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        compute: Compute | None = None,
        noise: Noise | None = None,
        device_times: Collection[str] = (),
        lasts_us: Callable[[RunStage], int] | None = None,
    ) -> None:
        """Without `compute` nothing is computed and every gate opens.

        On the processors of `device_times` a run lasts as long as its kernel says its device took: for devices that
        are simulated themselves. Any other kernel's own time is this machine's, and does not count.

        `lasts_us` says how long a run takes, before noise, where plans go by something else than the profile.
        """
        self.dispatcher = dispatcher
        self.clock = VirtualClock()
        self._compute = compute
        self._noise = noise
        self._device_times = frozenset(device_times)
        self._lasts_us = lasts_us
        self._heap: list[tuple[int, int, int, Event]] = []
        self._count = 0
        self._ran: dict[int, dict[tuple[str, int], Ran]] = {}
        self._finished: list[Finished] = []

    def post(self, event: Event) -> None:
        """Something happens from outside, now: a frame is admitted, a processor is lost."""
        self._perform(self.dispatcher.handle(event))

    def held(self) -> AbstractContextManager[object]:
        """Nothing happens in virtual time while nobody lets it."""
        return nullcontext()

    def reach(self, at_us: int) -> None:
        """Let everything happen up to and at that time."""
        while self._heap and self._heap[0][0] <= at_us:
            self._step()
        self.clock.wait_until_us(at_us)

    def drain(self) -> None:
        """Let everything happen."""
        while self._heap:
            self._step()

    def finished(self) -> tuple[Finished, ...]:
        """The frames that ended since this was last asked."""
        found = tuple(self._finished)
        self._finished.clear()
        return found

    def close(self) -> None:
        """Nothing to let go of."""

    def _step(self) -> None:
        at_us, _, _, event = heapq.heappop(self._heap)
        self.clock.wait_until_us(at_us)
        self._perform(self.dispatcher.handle(event))

    def _later(self, event: Event) -> None:
        self._count += 1
        heapq.heappush(self._heap, (event.at_us, _PRIORITY.get(type(event), 3), self._count, event))

    def _perform(self, instructions: tuple[Instruction, ...]) -> None:
        now_us = self.clock.now_us()
        for order in instructions:
            match order:
                case RunStage():
                    self._later(self._run(order, now_us))
                case SendOutput():
                    sent_us = now_us + order.sending_us
                    self._later(SendEnded(sent_us, order.frame, order.stage, order.target))
                    self._later(Arrived(sent_us + order.latency_us, order.frame, order.stage, order.target))
                case Wake():
                    self._later(ResourceWoken(now_us + order.latency_us, order.resource))
                case Remind():
                    self._later(TimePassed(order.at_us))
                case CancelStage():
                    pass  # Its end is in the heap, and will be ignored.
                case FrameDone():
                    self._finished.append(Finished(order, self._ran.pop(order.frame, {})))

    def _run(self, order: RunStage, now_us: int) -> Event:
        """Compute a stage as it starts. Returns its end, which is later."""
        lasts_us = order.expected_us if self._lasts_us is None else self._lasts_us(order)
        ran, error, lost = Ran(), "", False
        if self._compute is not None:
            try:
                ran = self._compute(order)
            except Exception as failure:  # Whatever a kernel raises is the failure of its stage.
                error, lost = f"{type(failure).__name__}: {failure}", isinstance(failure, DeviceUnavailableError)
        if ran.expected_us is not None:
            lasts_us = ran.expected_us
        if ran.device_us is not None and order.resource in self._device_times:
            lasts_us = max(1, ran.device_us)
        if self._noise is not None:
            lasts_us = self._noise(order.frame, order.stage, order.resource, lasts_us)
        end_us = now_us + lasts_us
        if lost:
            return ProcessorLost(end_us, order.resource, error)
        if error:
            return StageFailed(end_us, order.frame, order.stage, order.attempt, error)
        self._ran.setdefault(order.frame, {})[order.stage, order.attempt] = ran
        return StageEnded(end_us, order.frame, order.stage, order.attempt, ran.opened, absent_for=ran.absent_for)

"""The frames in flight, each with its deployment, whose kernels compute it and whose profile prices it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from leo_runtime.dispatch.driver import Broken, Computed, Outputs

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.dispatch.events import RenewLane, RunStage, SendOutput
    from leo_runtime.frame.positions import WindowEnd
    from leo_runtime.runtime.deployment import Deployment
    from leo_runtime.runtime.kernels import Kernels
    from leo_runtime.runtime.results import Submitted

_NOTHING = Computed()


class Flights:
    """By number. What says so is called behind the runtime's lock; all else from any thread."""

    def __init__(self, newest: Deployment) -> None:
        self._flights: dict[int, tuple[Submitted, Deployment]] = {}
        self.newest = newest
        """Which frames are submitted to now."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._flights)

    def __iter__(self) -> Iterator[int]:
        """Their numbers."""
        return iter(self._flights)

    def get(self, frame: int) -> tuple[Submitted, Deployment] | None:
        """A frame and its deployment; None where it is not in flight."""
        return self._flights.get(frame)

    def graphs_of(self, deployment: Deployment) -> dict[int, tuple[str, ...]]:
        """The graphs of each frame of a deployment. Behind the lock."""
        if not self._flights:
            return {}
        return {
            frame: tuple([graph.name for graph in submitted.graphs])
            for frame, (submitted, own) in self._flights.items()
            if own is deployment
        }

    def begin(
        self,
        submitted: Submitted,
        deployment: Deployment,
        graphs: tuple[str, ...],
        windows: Sequence[Mapping[str, np.ndarray]],
        ends: Sequence[Mapping[str, WindowEnd]],
    ) -> None:
        """A frame of these graphs is to fly, with its windows by source stage: nobody may change them. Behind the lock.

        `ends` are as `Kernels.begin` takes them.
        """
        frame = submitted.frame
        if deployment.kernels is not None:  # First: a frame in flight has its arrays, whatever comes between.
            plan = submitted.plan
            deployment.kernels.begin(frame, windows, graphs, plan.jobs, submitted.releases_us, ends, plan)
        self._flights[frame] = submitted, deployment

    def end(self, frame: int) -> None:
        """Forget a frame. Behind the lock."""
        _, deployment = self._flights.pop(frame)
        if deployment.kernels is not None:
            deployment.kernels.end(frame)

    # For the driver, of the run that it starts or ends.

    def run(self, order: RunStage, now_us: Callable[[], int] | None = None) -> Computed:
        """As `Kernels.run`."""
        flight = self._flights.get(order.frame)
        if flight is None or flight[1].kernels is None:  # It has ended without it, or nothing computes it.
            return _NOTHING
        return flight[1].kernels.run(order, now_us)

    def publish(self, order: RunStage, outputs: Outputs) -> None:
        """As `Kernels.publish`."""
        flight = self._flights.get(order.frame)
        if flight is not None and flight[1].kernels is not None:
            flight[1].kernels.publish(order, outputs)

    def hand_over(self, frame: int, stage: str, target: str) -> None:
        """As `Kernels.hand_over`."""
        flight = self._flights.get(frame)
        if flight is not None and flight[1].kernels is not None:
            flight[1].kernels.hand_over(frame, stage, target)

    def goes_far(self, order: SendOutput) -> bool:
        """As `Kernels.goes_far`."""
        flight = self._flights.get(order.frame)
        return flight is not None and flight[1].kernels is not None and flight[1].kernels.goes_far(order)

    def cross(self, order: SendOutput, now_us: Callable[[], int]) -> Broken | None:
        """As `Kernels.cross`."""
        flight = self._flights.get(order.frame)
        if flight is None or flight[1].kernels is None:
            return None
        return flight[1].kernels.cross(order, now_us)

    def abandon(self, order: RenewLane) -> None:
        """As `Kernels.abandon`."""
        used = self._kernels()
        hung = [one.abandon(order.stage, order.resource, order.variant, order.lane) for one in used]
        for kernel in hung:
            if kernel is not None:
                for one in used:
                    one.forget(kernel)

    def returned(self, order: RenewLane) -> None:
        """As `Kernels.returned`."""
        # Once, although several may know of it.
        any(one.returned(order.stage, order.resource, order.variant, order.lane) for one in self._kernels())

    def probe(self, resource: str, stage: str, variant: str) -> None:
        """As `Kernels.probe`, with those of the newest deployment."""
        if self.newest.kernels is not None:
            self.newest.kernels.probe(resource, stage, variant)

    def _kernels(self) -> list[Kernels]:
        """Those that may be called: a kernel that hangs may be of a frame that has ended."""
        used = [self.newest, *(deployment for _, deployment in tuple(self._flights.values()))]
        return list({id(one.kernels): one.kernels for one in used if one.kernels is not None}.values())

    def profiled_us(self, order: RunStage) -> int:
        """How long a run takes by the profile."""
        flight = self._flights.get(order.frame)
        if flight is None:  # It was given up just now: what it still does counts for nothing.
            return order.expected_us
        submitted, deployment = flight
        job = submitted.plan.jobs[order.stage]
        return deployment.prices.mode(job.stage, order.variant, order.resource, len(job.frames)).duration_us

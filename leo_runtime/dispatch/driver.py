"""What lets a dispatcher's instructions happen: the simulator in virtual time, the executor in real time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from leo_runtime.backend.keeping import There
from leo_runtime.dispatch.events import Event, FrameDone, RunReport, RunStage, SendOutput, value
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from leo_runtime.clock import Clock
    from leo_runtime.dispatch.dispatcher import Dispatcher

Outputs = Mapping[int, np.ndarray | There]
"""What a run computed, by the frame's number in its batch."""


@value
class Computed:
    """What came of a run: its report and its outputs."""

    report: RunReport = field(default_factory=RunReport)
    outputs: Outputs = field(default_factory=dict)


Compute = Callable[[RunStage], Computed]
"""Runs a stage. Whatever it raises is the stage's failure."""

Publish = Callable[[RunStage, Outputs], None]
"""Makes the outputs of a run known to the stages that read them."""

Try = Callable[[str, str, str], None]
"""Tries a processor, or a mode of it (stage of the workload and variant, else ""), with fresh kernels. Whatever it
raises says that it does not work."""


@value
class Broken:
    """A transfer came to nothing."""

    resource: str
    """The processor that turned out not to be there; empty: none did."""
    error: str
    """Why."""


class Far(Protocol):
    """Transfers that take their time, since one end of them is elsewhere."""

    def goes_far(self, order: SendOutput) -> bool:
        """Whether this one does. Waits for nothing."""
        ...

    def cross(self, order: SendOutput, now_us: Callable[[], int]) -> Broken | None:
        """Carry it out, which may take a while; None: it is there."""
        ...


class Driver(Protocol):
    """A dispatcher in some time. Every method may be called from any thread."""

    dispatcher: Dispatcher
    on_ended: Callable[[], None]
    """Called when `finished` or `failure` has something new, by whichever thread and with the driver locked: it calls
    nothing that waits."""

    @property
    def clock(self) -> Clock:
        """The run's time."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What went wrong in the runtime itself, after which nothing happens any more."""
        ...

    def post(self, event: Event) -> None:
        """Something happens from outside."""
        ...

    def locked(self) -> AbstractContextManager[object]:
        """While it is held, nothing happens: for a consistent look at the dispatcher."""
        ...

    def reach(self, at_us: int) -> None:
        """Go on until that time, or until somebody closes."""
        ...

    def drain(self, timeout_s: float | None = None) -> bool:
        """Go on until no frame is in flight; False where that takes longer.

        Raises `failure`, and `InputError` within a kernel, whose own frame that would wait for.
        """
        ...

    def finished(self) -> tuple[FrameDone, ...]:
        """The frames that ended since this was last asked."""
        ...

    def close(self, timeout_s: float, why: str) -> None:
        """Stop: frames in flight are dropped, and say why. Waits at most so long for what runs. Twice is fine."""
        ...


def drained_in_kernel() -> InputError:
    """Why a kernel cannot drain."""
    return InputError(
        "drain is called from within a kernel, whose own frame it would wait for",
        hint="drain in the thread that submits; results() waits for nothing",
    )

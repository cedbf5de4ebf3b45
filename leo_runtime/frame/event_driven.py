"""What an event-driven policy is asked, and what it answers: which stage that is ready goes where, now.

A solver plans a frame as it is released. An event-driven policy is asked whenever something has happened, as long as a
stage is ready that nobody has decided about, and decides about one of them, or about none. Each answer is carried out
before it is asked again, so that what it is told is always so:

    @event_driven
    def first_free(now: Moment) -> Start | None:
        for stage in now.ready:
            for option in stage.options:
                if option.free_us <= now.time_us:
                    return Start(stage, option)
        return None

A class is made anew for each run, and may keep what it has seen. Whoever asks is one thread at a time, in real time
behind a lock for which all else waits: a policy is quick, waits for nothing, and calls nothing of the runtime. The same
moments are to have the same answers.

Where nothing runs, is sent or wakes up any more, what is ready has to go: if it is left waiting, it fails. That, what a
policy raises, and an answer that is none of the moment's fail the stage, which says `WRONG`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Any

from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.documents.problem import Mode

WRONG = "the event-driven policy "
"""How it begins what a stage failed of because its policy did something wrong."""


@dataclass(frozen=True, slots=True)
class Option:
    """A way to run a stage that is ready: a mode, on a lane of its processor. Times are on the run's clock, in us."""

    mode: Mode
    lane: int
    """The one of its processor that is free first."""
    expected_us: int
    """How long it is expected to run: as the profile says, or as it did lately (`EventPolicy.learns_ppm`)."""
    free_us: int
    """When the lane has done all that it has; now, where it has nothing to do."""
    start_us: int
    """When it could start there: the lane is free, what it reads has been sent, the processor is awake."""

    @property
    def resource(self) -> str:
        """The processor."""
        return self.mode.resource

    @property
    def end_us(self) -> int:
        """When it would end."""
        return self.start_us + self.expected_us


@dataclass(frozen=True, slots=True)
class Ready:
    """A stage that could run: it is released, its gates have opened, and what it reads is computed.

    Times are on the run's clock, in us.
    """

    frame: int
    stage: str
    ready_us: int
    """Since when."""
    release_us: int
    """Of its frame."""
    due_us: int | None
    """The first deadline that hangs on it, its own or that of a stage that needs it; None: there is none."""
    end_by_us: int | None
    """When it has to end, so that all these deadlines can be met if what follows runs in its fastest modes."""
    after_us: int
    """How long it takes from its end to the end of its frame, along the longest path and in the fastest modes."""
    options: tuple[Option, ...]
    """Every way to run it that keeps the rules: its processor is there, and is linked to what it reads; memory and
    accuracy budgets hold. In the order of the profile; there is one at least."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What an event-driven policy is told."""

    time_us: int
    """Since the run began."""
    ready: tuple[Ready, ...]
    """What is ready and undecided, first what has been so for longest; at least one."""
    free_us: Mapping[str, tuple[int, ...]]
    """Of each processor and radio, when each of its lanes has done all that it has, if that lasts as long as planned;
    now, where it has nothing to do."""


@dataclass(frozen=True, slots=True)
class Start:
    """The stage goes there, and starts as soon as the lane is free, what it reads is sent, and the processor is awake.

    Lanes do what they were given in the order in which they were given it.
    """

    stage: Ready
    option: Option


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The stage is not worth running: it fails, and so does all that needs it."""

    stage: Ready
    why: str = "it could not be in time"


Answer = Start | GiveUp | None
"""None: all that is ready waits until something happens."""

Decide = Callable[[Moment], Answer]


@plain_dataclass(frozen=True, slots=True)
class EventPolicy:
    """A policy that is asked as stages become ready, to be given wherever a solver is."""

    name: str
    make: Callable[[], Decide]
    """Called for each run: what it gives is asked, by one thread at a time."""
    learns_ppm: int = 0
    """How much of what an expected duration was off is taken over with each run, in millionths; 0: durations are those
    of the profile."""
    written: object = None
    """What somebody wrote, for whoever asks where that is."""


def event_driven(decide: Decide | Callable[[], Decide], /) -> EventPolicy:
    """Make a policy of a function of a `Moment`, or of a class of such functions, which is made anew for each run.

    Raises `InputError` for what cannot be called.
    """
    if not callable(decide):
        raise InputError(
            f"an event-driven policy is a function of a Moment, got {type(decide).__name__}",
            hint="decorate a function, or a class that has `__call__`",
        )
    make: Any = decide if inspect.isclass(decide) else lambda: decide
    # An object of a class, and a partial function, have no name of their own.
    return EventPolicy(getattr(decide, "__qualname__", type(decide).__name__), make, written=decide)

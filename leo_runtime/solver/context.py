"""What a solver may want to know besides the question: when it is asked, what is known to come, and what was.

A solver of the caller's own is a function of the question, or of the question and a `Context`. The runtime
(`leo_runtime.runtime`) makes the context and asks `takes_context` which of the two it is. One that takes a context is
asked for every release; any other once for equal questions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.frame.records import FrameResult

RECENT = 16
"""How many frames a context tells of."""


@dataclass(frozen=True, slots=True)
class Context:
    """When a question is asked. Times are microseconds since the run began."""

    time_us: int
    """The release at hand, which is time 0 of the question."""
    releases_us: tuple[int, ...] = ()
    """The releases known to follow, increasing, each later than `time_us`; also those after the question's horizon, as
    far as they are known. Empty where none is."""
    before: tuple[FrameResult, ...] = ()
    """The last frames that have ended, at most `RECENT`, in the order of their ends: where and how long their stages
    ran, what that cost, and who was late."""


class Past:
    """The last frames that have ended. One thread at a time adds to it; any may look at it."""

    __slots__ = ("frames",)

    def __init__(self) -> None:
        """None has."""
        self.frames: tuple[FrameResult, ...] = ()

    def add(self, frame: FrameResult) -> None:
        """A frame has ended."""
        self.frames = (*self.frames, frame)[-RECENT:]


def takes_context(solver: Callable[..., Any]) -> bool:
    """Whether a solver takes a second positional argument without a default, the context, after the question.

    A function whose arguments cannot be known takes none.
    """
    try:
        parameters = list(inspect.signature(solver).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [parameter for parameter in parameters if parameter.kind in positional]
    return len(needed) >= 2 and needed[1].default is inspect.Parameter.empty


def takes(solver: Callable[..., Any], keyword: str) -> bool:
    """Whether a function has a parameter of that name."""
    try:
        return keyword in inspect.signature(solver).parameters
    except (TypeError, ValueError):
        return False

"""Whether the daemon gets on: by what it does, not by the time. Pure."""

from __future__ import annotations

from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """What shows whether a daemon gets on, at one moment."""

    fed: int
    """How often sources have fed."""
    feeding: int
    """Sources that the runtime is just taking samples of."""
    ended: int
    """Frames that have ended and were told."""
    in_flight: int
    """Frames that have not."""


def gets_on(before: Progress, now: Progress) -> bool:
    """Whether it did since before: what it has at hand went on, or it has nothing at hand.

    Both ways count: a runtime that takes no samples any more does not get on, and neither does one that answers none.
    """
    feeds = now.fed != before.fed or not (now.feeding and before.feeding)
    answers = now.ended != before.ended or not (now.in_flight and before.in_flight)
    return feeds and answers

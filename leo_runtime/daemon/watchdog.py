"""Whether the daemon gets on: by what it does, not by the time. It is looked at from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

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
    turns: int = 0
    """How often the main thread has looked around."""
    changing: bool = False
    """Whether it reads the config again, or ends, which may take longer."""


def gets_on(before: Progress, now: Progress) -> bool:
    """Whether it did since before: what it has at hand went on, or it has nothing at hand.

    All of it counts: a runtime that takes no samples any more does not get on, and neither does one that answers none,
    or a main thread that hears no signals.
    """
    feeds = now.fed != before.fed or not (now.feeding and before.feeding)
    answers = now.ended != before.ended or not (now.in_flight and before.in_flight)
    listens = now.turns != before.turns or now.changing
    return feeds and answers and listens


class Watchdog:
    """Tells as long as the daemon gets on."""

    def __init__(self, every_s: float, progress: Callable[[], Progress], alive: Callable[[], None]) -> None:
        """`alive` is called every so often, where `progress` shows that it did."""
        self._every_s = every_s
        self._progress = progress
        self._alive = alive
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._go, name="leo watchdog", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End. It waits for nothing."""
        self._ends.set()

    def _go(self) -> None:
        before = self._progress()
        while not self._ends.wait(self._every_s):
            now = self._progress()
            if gets_on(before, now):
                self._alive()
            before = now

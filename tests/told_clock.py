"""A clock for runtimes in real time that goes on only when a test tells it to."""

from __future__ import annotations

import threading


class ToldClock:
    """Waits until `to` has come there. Waiting may also end with the interrupt, as of any clock."""

    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us
        self._changed = threading.Condition()
        self._waiting: list[threading.Event] = []

    def now_us(self) -> int:
        return self._now_us

    def to(self, now_us: int) -> None:
        """It is so late now."""
        with self._changed:
            self._now_us = now_us
            for waiting in self._waiting:
                waiting.set()

    def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
        """Whoever waits is woken with its own interrupt, which it takes for a reason to look again."""
        waiting = threading.Event() if interrupt is None else interrupt
        with self._changed:
            if at_us <= self._now_us or waiting.is_set():
                return waiting.is_set()
            self._waiting.append(waiting)
        waiting.wait()
        with self._changed:
            self._waiting.remove(waiting)
        return True

"""Several threads, one at a time, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Self


class Turns:
    """A queue of threads: who is first has its turn, all others wait. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Turn] = deque()

    def turn(self) -> Turn:
        """A turn of the calling thread, for a `with` block."""
        return Turn(self._changed, self._waiting)

    def mine(self) -> bool:
        """Whether the calling thread is in the queue, or has its turn: it would wait for itself."""
        me = threading.get_ident()
        with self._changed:
            return me in [turn.thread for turn in self._waiting]


class Turn:
    """One thread's place. Leaving the `with` block gives it up, whatever happens and however far it has come."""

    def __init__(self, changed: threading.Condition, waiting: deque[Turn]) -> None:
        self.thread = threading.get_ident()
        self._changed = changed
        self._waiting = waiting

    def queue(self) -> None:
        """Take a place at the end. Once."""
        with self._changed:
            self._waiting.append(self)

    def wait(self) -> None:
        """Wait to be the first."""
        with self._changed:
            while self._waiting[0] is not self:
                self._changed.wait()

    def __enter__(self) -> Self:
        """The turn itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one have it."""
        with self._changed:
            if self in self._waiting:
                self._waiting.remove(self)
                self._changed.notify_all()

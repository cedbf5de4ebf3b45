"""Several threads, one at a time, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Self


class Turns:
    """A queue of threads: who is first has its turn, all others wait. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Turn] = deque()

    def turn(self) -> Turn:
        """A turn of the calling thread, for a `with` block."""
        return Turn(self._lock, self._waiting)

    def mine(self) -> bool:
        """Whether the calling thread is in the queue, or has its turn: it would wait for itself."""
        if not self._waiting:
            return False
        me = threading.get_ident()
        with self._lock:
            return me in [turn.thread for turn in self._waiting]


class Turn:
    """One thread's place. Leaving the `with` block gives it up, whatever happens and however far it has come."""

    def __init__(self, lock: threading.Lock, waiting: deque[Turn]) -> None:
        self.thread = threading.get_ident()
        self._lock = lock
        self._waiting = waiting
        self._not_yet: threading.Lock | None = None
        """Held until it is the first, where it was not at once."""

    def queue(self) -> None:
        """Take a place at the end. Once."""
        with self._lock:
            if self._waiting:
                self._not_yet = threading.Lock()
                self._not_yet.acquire()
            self._waiting.append(self)

    def wait(self) -> None:
        """Wait to be the first."""
        if self._not_yet is not None:
            self._not_yet.acquire()

    def __enter__(self) -> Self:
        """The turn itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one have it."""
        with self._lock:
            if self not in self._waiting:
                return
            was_first = self._waiting[0] is self
            self._waiting.remove(self)
            if was_first and self._waiting:
                following = self._waiting[0]._not_yet
                assert following is not None  # It came when another was there.
                following.release()

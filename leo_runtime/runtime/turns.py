"""Several threads, one at a time, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A queue of threads: who is first has its turn, all others wait. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def ticket(self) -> object:
        """A place at the end of the queue, to be used once."""
        place = object()
        with self._changed:
            self._waiting.append(place)
        return place

    @contextmanager
    def turn(self, ticket: object) -> Iterator[None]:
        """Wait until the ticket is the first, and give its place up at the end, whatever happens."""
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting[0] is ticket)
            yield
        finally:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()

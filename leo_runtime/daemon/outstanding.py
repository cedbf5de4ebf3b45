"""Which frames' answers are still on their way to a sink."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Outstanding:
    """Counts the frames that all sinks are done with. Every method may be called from any thread."""

    def __init__(self, told: Callable[[int], None]) -> None:
        """`told` is told how many frames are answered to the last sink, each time that one more is."""
        self._told = told
        self._lock = threading.Lock()
        self._left: dict[int, int] = {}
        self._answered = 0

    @property
    def frames(self) -> int:
        """How many are on their way."""
        return len(self._left)

    def begin(self, frame: int, deliveries: int) -> None:
        """A frame's answers go out, so many in all; before any of them is done."""
        with self._lock:
            if deliveries:
                self._left[frame] = deliveries
                return
            self._answered += 1
            self._told(self._answered)

    def done(self, frame: int) -> None:
        """One of them is published, or dropped."""
        with self._lock:
            left = self._left.get(frame, 0) - 1
            if left > 0:
                self._left[frame] = left
            elif self._left.pop(frame, None) is not None:
                self._answered += 1
                self._told(self._answered)

"""What a server takes at most, and how many at once."""

from __future__ import annotations

import os
import threading

from leo_runtime.frozen import dataclass

LEAST_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes at most.

    It holds `kept_bytes` at most, and `max_bytes` times `workers` and `waiting`: twice that where the numbers do not
    come as they are, but as text or as samples.
    """

    max_bytes: int = LEAST_BODY_BYTES
    """Of a request's body, and of the numbers in it; a larger body is refused before it is read."""
    workers: int = max(1, os.cpu_count() or 1)
    """How many stages run at once."""
    waiting: int = 16
    """How many more requests may wait for one of these to end."""
    connections: int = 64
    """How many are open at once: where there are more, the one that has been idle longest is closed."""
    patience_s: float = 10.0
    """How long a client may take to send a whole request, from its first byte on, and to take the answer."""
    idle_s: float = 300.0
    """How long a connection may be idle."""
    look_s: float = 0.5
    """How often it is looked who has been waited for long enough."""
    kept_bytes: int = 64 << 20
    """How much is kept for clients between their requests, all together: then the oldest goes."""
    kept_s: float = 120.0
    """How long anything is kept that nobody forgets."""
    longest_wait_s: float = 30.0
    """How long a request waits for a worker where it does not say how long it may."""


class Room:
    """Lets some in, and of these some run: `workers` at once, others wait in turn. For any thread."""

    def __init__(self, limits: Limits) -> None:
        self._places = threading.BoundedSemaphore(limits.workers + limits.waiting)
        self._running = threading.BoundedSemaphore(limits.workers)

    def place(self) -> Held:
        """To hold one of the places in a `with`; False where there is none."""
        return Held(self._places)

    def turn(self, most_s: float) -> Held:
        """To wait in a `with` for a turn to run, so long at most; False where none came."""
        return Held(self._running, max(0.0, most_s))


class Held:
    """One of a semaphore's, for the time of a `with`, which gives whether there was one in time."""

    __slots__ = ("_is_held", "_most_s", "_of")

    def __init__(self, of: threading.Semaphore, most_s: float = 0.0) -> None:
        self._of, self._most_s, self._is_held = of, most_s, False

    def __enter__(self) -> bool:
        """Wait for it."""
        self._is_held = self._of.acquire(timeout=self._most_s) if self._most_s else self._of.acquire(blocking=False)
        return self._is_held

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        if self._is_held:
            self._of.release()

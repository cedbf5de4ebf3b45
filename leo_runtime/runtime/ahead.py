"""Frames that were taken before their release, and the thread that places and starts each of them at its release.

A frame leaves the queue once, behind the runtime's lock: as it starts, as it is withdrawn, or with the runtime. Who
takes it out owns its end; what placed it meanwhile then finds it gone (`NotWaiting`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from leo_runtime.errors import ClosedError, failure_text
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.clock import Clock
    from leo_runtime.frame.positions import WindowEnd
    from leo_runtime.runtime.deployment import Deployment
    from leo_runtime.runtime.feed import FedFrame
    from leo_runtime.runtime.planner import LinksNow

    Windows = Mapping[str, np.ndarray]

CLOSED = "the runtime was closed before it ended"
"""Why what is left at the end fails."""


def _nothing(_frame: int) -> None:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """A frame or batch that was found right at the door: its windows are the runtime's own."""

    releases_us: tuple[int, ...]
    windows: tuple[Windows, ...]
    graphs: tuple[str, ...]
    links: LinksNow | None
    together: tuple[str, ...] | None
    deployment: Deployment
    """What it was submitted to."""
    ends: tuple[Mapping[str, WindowEnd], ...] = ()
    """Of each frame where windows end in their streams, by source stage, where that is not what its release says."""
    fed: FedFrame | None = None
    """What else is known of a frame that is due by what was fed."""
    left: Callable[[int], None] = _nothing
    """Called once with its number, when it has been started or has ended without that. It calls nothing that waits."""

    @property
    def release_us(self) -> int:
        """When it is placed: at the last of its releases."""
        return self.releases_us[-1]


class NotWaiting(Exception):  # noqa: N818  # It is no error, and no caller's.
    """The frame was withdrawn, or ended with the runtime, while it was placed."""


class Ahead:
    """The frames that wait for their release, in the order in which they were taken.

    What says so is called behind the lock; all else from any thread without it.
    """

    def __init__(
        self,
        lock: threading.Lock,
        most: int,
        start: Callable[[Submission, Callable[[], int]], object],
        fail: Callable[[int, Submission, str], None],
    ) -> None:
        """At most so many frames wait.

        `start` places and starts a frame, whose number it is given behind the lock as it does so; `fail`, called behind
        the lock, ends one that was not started, and says why.
        """
        self._most = most
        self._start = start
        self._fail = fail
        self._lock = lock
        self._changed = threading.Condition(lock)
        self._look_again = threading.Event()
        """That the thread no longer waits for the release for which it waits."""
        self._waiting: dict[int, Submission] = {}
        self._clock: Clock | None = None
        self._thread: threading.Thread | None = None
        self._starting = False
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether no frame waits or is being started: then the next may be started by anybody. Behind the lock."""
        return not self._waiting and not self._starting

    @property
    def frames(self) -> tuple[int, ...]:
        """Their numbers. Behind the lock."""
        return tuple(self._waiting)

    def last_us(self, started_us: int) -> int:
        """The last release that was taken; `started_us` is that of what waits no longer. Behind the lock."""
        return next(reversed(self._waiting.values())).release_us if self._waiting else started_us

    def mine(self) -> bool:
        """Whether the calling thread is the one that places them: it would wait for itself."""
        return self._thread is not None and self._thread is threading.current_thread()

    def wait_for_room(self) -> None:
        """Wait until another frame may wait, or it is closed. Behind the lock, which others have meanwhile."""
        self._changed.wait_for(lambda: len(self._waiting) < self._most or self._closed)

    def wait_until_idle(self, timeout_s: float | None = None) -> bool:
        """Wait until it is idle or closed; False where that takes longer. Behind the lock, as `wait_for_room`."""
        return self._changed.wait_for(lambda: self.idle or self._closed, timeout_s)

    def wait_until_none_starts(self) -> None:
        """Wait until the thread places nothing, or it is closed. Behind the lock, as `wait_for_room`."""
        self._changed.wait_for(lambda: not self._starting or self._closed)

    def put(self, frame: int, submission: Submission, clock: Clock) -> None:
        """Have it started at its release by that clock. Behind the lock, after `wait_for_room`."""
        if self._thread is None:
            thread = threading.Thread(target=self._go, name="leo releases", daemon=True)
            thread.start()
            self._thread = thread
        self._waiting[frame] = submission
        self._clock = clock
        self._changed.notify_all()

    def begin(self, frame: int) -> int:
        """Take it out because it starts now; its number. Behind the lock. Raises `NotWaiting`."""
        if self._take_out(frame) is None:
            raise NotWaiting
        return frame

    def end(self, frame: int, why: str) -> bool:
        """Take it out and end it; False where it waits no longer. Behind the lock."""
        submission = self._take_out(frame)
        if submission is None:
            return False
        self._fail(frame, submission, why)
        submission.left(frame)
        return True

    def take_all(self) -> dict[int, Submission]:
        """Take out all that wait: who asks ends them. Behind the lock."""
        found, self._waiting = self._waiting, {}
        self._changed.notify_all()
        self._look_again.set()
        return found

    def close(self) -> dict[int, Submission]:
        """`take_all`, and end the thread when it has placed what it places now. Behind the lock. Twice is fine."""
        self._closed = True
        return self.take_all()

    def join(self, timeout_s: float) -> None:
        """Wait at most so long for the thread to end."""
        if self._thread is not None and not self.mine():
            self._thread.join(timeout_s)

    def _take_out(self, frame: int) -> Submission | None:
        submission = self._waiting.pop(frame, None)
        if submission is not None:
            self._look_again.set()
            self._changed.notify_all()
        return submission

    def _go(self) -> None:
        while True:
            with self._lock:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if self._closed:
                    return
                self._look_again.clear()
                frame, submission = next(iter(self._waiting.items()))
                clock = self._clock
            try:
                assert clock is not None
                if clock.wait_until_us(submission.release_us, self._look_again):
                    continue
                with self._lock:
                    if frame not in self._waiting:
                        continue
                    self._starting = True
                self._start(submission, partial(self.begin, frame))
                submission.left(frame)
            except NotWaiting:
                pass
            except BaseException as error:  # Of a solver, a clock or ourselves: nobody waits here whom it could reach.
                with self._lock:
                    self.end(frame, CLOSED if isinstance(error, ClosedError) else failure_text(error))
            finally:
                with self._lock:
                    self._starting = False
                    self._changed.notify_all()

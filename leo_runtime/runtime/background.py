"""Work that can wait, in one thread that ends with its owner."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable

FAILURES_KEPT = 8


class Background:
    """Does one piece of work after the other, in a thread of its own. Every method may be called from any thread."""

    def __init__(self, name: str, most: int) -> None:
        """At most so many pieces wait: beyond, the oldest is left undone. The thread begins with the first one."""
        self._name = name
        self._waiting: deque[tuple[Hashable, Callable[[], None]]] = deque(maxlen=most)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._busy = False
        self._doing: Hashable = None
        self._failed = 0
        self._failures: deque[BaseException] = deque(maxlen=FAILURES_KEPT)

    @property
    def failed(self) -> int:
        """How many pieces went wrong."""
        with self._changed:
            return self._failed

    @property
    def failures(self) -> tuple[BaseException, ...]:
        """What went wrong in the last few of them."""
        with self._changed:
            return tuple(self._failures)

    def put(self, work: Callable[[], None], key: Hashable = None) -> None:
        """Have something done when it is its turn; nothing where it is closed.

        Nor where a piece with the same `key`, if that is not None, waits or is being done. Where the system has no
        thread left, it has gone wrong.
        """
        with self._changed:
            if self._closed or (key is not None and (key == self._doing or any(key == k for k, _ in self._waiting))):
                return
            self._waiting.append((key, work))
            if self._thread is None:
                thread = threading.Thread(target=self._go, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as failure:  # The system has no thread left: perhaps it has with the next piece.
                    self._waiting.clear()
                    self._failed += 1
                    self._failures.append(failure)
                    return
                self._thread = thread
            self._changed.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all is done; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Leave undone what waits, and wait at most so long for what is being done. Twice is fine."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _go(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if self._closed:
                    return
                self._doing, work = self._waiting.popleft()
                self._busy = True
            try:
                work()
            except BaseException as failure:  # Whatever it is, the next piece is done all the same.
                with self._changed:
                    self._failed += 1
                    self._failures.append(failure)
            finally:
                with self._changed:
                    self._busy, self._doing = False, None
                    self._changed.notify_all()

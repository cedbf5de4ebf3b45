"""A process kept ready to be the next one: it has imported what takes a process longest to start, and waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from leo_backends.process import Worker
from leo_runtime.errors import KernelError


class Spare:
    """At most one process that nobody uses yet. From any thread."""

    def __init__(self, start: Callable[[], Worker]) -> None:
        """Nothing is started yet; `start` is to return before the process is ready."""
        self._start = start
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self.wanted = False
        """Whether there is to be one, and it has to be started. One that has died meanwhile is not replaced before it
        was needed: where memory has run out, that is as well."""
        self._closed = False

    def prepare(self) -> None:
        """Start it where it is wanted."""
        with self._lock:
            if self.wanted and not self._closed:
                self.wanted = False
                with suppress(KernelError):  # Whoever starts one to use it is told.
                    self._worker = self._start()

    def take(self) -> Worker | None:
        """It is the caller's from now on, and another one is wanted; None: there is none that is as a new one."""
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is None:
                return None
            self.wanted = True
            if worker.alive and worker.is_as_new:
                return worker
        _end(worker)
        return None

    def close(self) -> None:
        """End it; there is none from now on. Twice is fine."""
        with self._lock:
            worker, self._worker, self._closed = self._worker, None, True
        if worker is not None:
            _end(worker)


def _end(worker: Worker) -> None:
    worker.close(now=worker.alive)  # What is another process's, which forked this one, is not ended.

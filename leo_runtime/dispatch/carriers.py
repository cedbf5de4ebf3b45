"""Threads that wait for transfers: one for each that is under way, and no more than are needed at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]
"""Carries a transfer out, and tells what became of it. It raises nothing."""

MOST = 32
"""Threads. What else there is waits for one of them."""


class Carriers:
    """Give work to a thread that is free, or to a new one. For any thread."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._work: deque[Work] = deque()
        self._free = 0
        """Threads that wait for work, less what waits for them."""
        self._closed = False
        self._something = threading.Condition()

    def carry(self, work: Work) -> bool:
        """Have it done; False: the system has no thread left, and there was none before."""
        with self._something:
            if self._closed:
                return True
            if self._free <= len(self._work) and len(self.threads) < MOST:
                thread = threading.Thread(target=self._run, name=f"leo transfer {len(self.threads)}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    if not self.threads:
                        return False
                else:
                    self.threads.append(thread)
            self._work.append(work)
            self._something.notify()
        return True

    def close(self) -> None:
        """Have each thread end after what it carries out now; what waits is not done any more."""
        with self._something:
            self._closed = True
            self._work.clear()
            self._something.notify_all()

    def _run(self) -> None:
        while True:
            with self._something:
                self._free += 1
                while not self._work and not self._closed:
                    self._something.wait()
                self._free -= 1
                if self._closed:
                    return
                work = self._work.popleft()
            work()

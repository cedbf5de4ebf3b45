"""How many threads numpy's matrix products may use: a setting of the whole process, which several backends share."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any


class OneThread:
    """While anybody holds it, BLAS computes on the calling thread; after the last one, as it did before the first.

    Where threadpoolctl is not there to say so, matrix products take every core they find: results are the same, but a
    lane is then more than one core's time. From any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # A holder may be forgotten, and let go, while this thread has it.
        self._holders: set[object] = set()
        self._limit: Any = None

    def hold(self, holder: object) -> None:
        """Limit BLAS until this holder lets go."""
        with self._lock:
            self._holders.add(holder)
            threadpoolctl = _threadpoolctl() if self._limit is None else None
            if threadpoolctl is not None:
                self._limit = threadpoolctl.threadpool_limits(1, "blas")

    def let_go(self, holder: object) -> None:
        """This holder needs it no longer. Twice is fine."""
        with self._lock:
            self._holders.discard(holder)
            if not self._holders and self._limit is not None:
                self._limit.restore_original_limits()
                self._limit = None


ONE_THREAD = OneThread()


def _threadpoolctl() -> Any:
    return importlib.import_module("threadpoolctl") if importlib.util.find_spec("threadpoolctl") else None

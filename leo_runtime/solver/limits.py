"""The wall-time limit of a solve: one timer that stops every kernel the solve makes use of."""

from threading import Timer
from time import perf_counter_ns
from typing import Any, Self


class Stop:
    """Whether the limit has passed. Each kernel watched stops at its next node or move from then on.

    The limit passes only within a `with` statement.
    """

    def __init__(self, left_s: float | None = None) -> None:
        """Nothing is watched, and no limit has passed; one does so many seconds after entering, or never."""
        self.passed = False
        self._kernels: list[Any] = []
        self._timer = None if left_s is None else Timer(left_s, self.halt)

    def __enter__(self) -> Self:
        """Let the time run."""
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let it run no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def watch(self, kernel: Any) -> None:
        """Stop this kernel as well when the limit passes; at once if it has."""
        # Noted first and asked second, where `halt` does the reverse: however they interleave, none is missed.
        self._kernels.append(kernel)
        if self.passed:
            kernel.halt()

    def halt(self) -> None:
        """Let the limit pass now; may be called from another thread."""
        self.passed = True
        for kernel in tuple(self._kernels):
            kernel.halt()


def limited(limit_ms: int | None, began_ns: int) -> Stop:
    """A `Stop` that passes so many milliseconds after `began_ns` (of `perf_counter_ns`), or never."""
    if limit_ms is None:
        return Stop()
    return Stop(max(limit_ms / 1000 - (perf_counter_ns() - began_ns) / 1e9, 0))

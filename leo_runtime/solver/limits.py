"""The wall-time limit of a solve: one timer that stops every kernel the solve makes use of."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from time import perf_counter_ns
from typing import Any


class Stop:
    """Whether the limit has passed. Each kernel watched stops at its next node or move from then on."""

    def __init__(self) -> None:
        """Nothing is watched, and no limit has passed."""
        self.passed = False
        self._kernels: list[Any] = []

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


@contextmanager
def limited(limit_ms: int | None, began_ns: int) -> Iterator[Stop]:
    """A `Stop` that passes so many milliseconds after `began_ns` (of `perf_counter_ns`), or never."""
    stop = Stop()
    if limit_ms is None:
        yield stop
        return
    left_s = limit_ms / 1000 - (perf_counter_ns() - began_ns) / 1e9
    timer = Timer(max(left_s, 0), stop.halt)
    timer.start()
    try:
        yield stop
    finally:
        timer.cancel()
        timer.join()

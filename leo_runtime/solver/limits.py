"""The limits of a solve: what they may be, and one timer that stops every kernel the solve makes use of."""

import os
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from threading import TIMEOUT_MAX, Condition, Thread
from time import monotonic, perf_counter_ns
from typing import ClassVar, Self

from leo_runtime.schema import MAX_QUANTITY
from leo_runtime.solver.protocols import Halting
from leo_runtime.values import whole

MAX_SEED = 2**62
"""What compiled code has room for."""


class Timer:
    """Calls `act` so many seconds after it is started, unless it is cancelled before.

    All timers share one thread: to start one for every frame takes longer than many a frame is solved in.
    """

    _changed: ClassVar[Condition] = Condition()
    _due: ClassVar[list[tuple[float, int, "Timer"]]] = []
    _numbers: ClassVar["count[int]"] = count()
    _thread: ClassVar[Thread | None] = None
    _wakes: ClassVar[float] = inf
    """When the thread will look next."""

    def __init__(self, left_s: float, act: Callable[[], None]) -> None:
        """Nothing happens until it is started."""
        self._left_s = left_s
        self._act: Callable[[], None] | None = act

    def start(self) -> None:
        """Let the time run."""
        at = monotonic() + self._left_s
        with Timer._changed:
            heappush(Timer._due, (at, next(Timer._numbers), self))
            if Timer._thread is None or not Timer._thread.is_alive():
                Timer._thread = Thread(target=Timer._run, name="leo-runtime limits", daemon=True)
                Timer._thread.start()
            elif at < Timer._wakes:
                Timer._changed.notify_all()

    def cancel(self) -> None:
        """Do nothing from now on; if it is acting, wait until it has."""
        with Timer._changed:
            self._act = None

    @staticmethod
    def _begin_anew() -> None:
        """In a forked process: its threads, and what they had locked, are its parent's."""
        Timer._changed, Timer._due, Timer._thread, Timer._wakes = Condition(), [], None, inf

    @staticmethod
    def _run() -> None:
        with Timer._changed:
            while True:
                while Timer._due and Timer._due[0][0] <= monotonic():
                    act = heappop(Timer._due)[2]._act
                    if act is not None:
                        act()
                Timer._wakes = Timer._due[0][0] if Timer._due else inf
                left_s = min(Timer._wakes - monotonic(), TIMEOUT_MAX)
                Timer._changed.wait(None if Timer._wakes == inf else max(left_s, 0))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Timer._begin_anew)


class Stop:
    """Whether the limit has passed. Each kernel watched stops at its next node or move from then on.

    The limit passes only within a `with` statement.
    """

    def __init__(self, left_s: float | None = None) -> None:
        """Nothing is watched, and no limit has passed; one does so many seconds after entering, or never."""
        self.passed = False
        self._kernels: list[Halting] = []
        # Not left to the timer's thread where there is no time: that may come to it late.
        self._none_left = left_s is not None and left_s <= 0
        self._timer = None if left_s is None or self._none_left else Timer(left_s, self.halt)

    def __enter__(self) -> Self:
        """Let the time run."""
        if self._none_left:
            self.halt()
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let it run no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def watch(self, kernel: Halting) -> None:
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


def plain_limits(limit_ms: object, limit_nodes: object, seed: object) -> tuple[int | None, int | None, int]:
    """Limits and seed of a solver as plain numbers. Raises `InputError` for what is none, or out of range."""
    return (
        None if limit_ms is None else whole(limit_ms, "limit_ms", most=MAX_QUANTITY),
        None if limit_nodes is None else whole(limit_nodes, "limit_nodes", most=MAX_QUANTITY),
        whole(seed, "seed", most=MAX_SEED),
    )

"""The only file that reads or spends time. A clock is handed in, so that tests and replays need not wait."""

from __future__ import annotations

import threading
import time
from typing import Protocol

LONGEST_WAIT_S = 3600.0
"""Longer waits are made of several: the system refuses those that end in centuries."""


def since_boot_us() -> int:
    """Microseconds since the machine was started, with those for which it slept, which clocks of runs leave out."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1000


class Clock(Protocol):
    """Microseconds since the run began."""

    def now_us(self) -> int:
        """The time."""
        ...

    def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
        """Return when it is `at_us`; at once when that is past. True if `interrupt` was set before."""
        ...


class WallClock:
    """Real time. It never goes back."""

    def __init__(self, now_us: int = 0) -> None:
        """It is `now_us` now."""
        self._began_ns = time.monotonic_ns() - now_us * 1000

    def now_us(self) -> int:
        """The time, counted on from what it was made with."""
        return (time.monotonic_ns() - self._began_ns) // 1000

    def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
        """Sleep until then; True if `interrupt` was set before."""
        while (left_us := at_us - self.now_us()) > 0:
            wait_s = min(left_us / 1e6, LONGEST_WAIT_S)
            if interrupt is None:
                time.sleep(wait_s)
            elif interrupt.wait(wait_s):
                return True
        return interrupt is not None and interrupt.is_set()


class VirtualClock:
    """Time that goes on only when it is told to, from any thread: waiting is instant."""

    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """The time it was last set to."""
        return self._now_us

    def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
        """Make it `at_us`, unless that is past; True if `interrupt` is set, and then the time stays."""
        if interrupt is not None and interrupt.is_set():
            return True
        if at_us > self._now_us:
            with self._lock:
                self._now_us = max(self._now_us, at_us)
        return False

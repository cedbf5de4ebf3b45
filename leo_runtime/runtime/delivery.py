"""Results on their way out: each to every subscriber, and to one of those who ask.

A subscriber has a bounded queue of its own, of which the oldest are dropped and counted, so that one who is slow, hangs
or goes wrong holds up nobody: neither frames, nor other subscribers, nor whoever asks.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from leo_runtime.clock import WallClock
from leo_runtime.errors import ClosedError, failure_text, once_more

if TYPE_CHECKING:
    from leo_runtime.frame.records import FrameResult


class Bell:
    """Wakes those who wait for something to end. From any thread; `ring` never waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rung = self._waiting = 0

    @property
    def rung(self) -> int:
        """How often it was."""
        return self._rung

    def ring(self) -> None:
        """Something has ended."""
        with self._changed:
            self._rung += 1
            if self._waiting:
                self._changed.notify_all()

    def wait(self, rung: int, timeout_s: float | None = None) -> None:
        """Wait until it was rung more often than so, at most so long."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._rung > rung, timeout_s)
            finally:
                self._waiting -= 1


class Subscriber(Protocol):
    """Who is given every result. All of it is called behind the runtime's lock, and never waits."""

    @property
    def closed(self) -> bool:
        """Whether it wants none any more."""
        ...

    def give(self, result: FrameResult, /) -> bool:
        """One more; False where it wants none any more."""
        ...

    def end(self, error: BaseException | None, /) -> None:
        """No more come; of the runtime itself, what went wrong."""
        ...


class Subscription:
    """A function that is called with every result, in the order in which frames end, on a thread of its own.

    Attributes may be read, and `close` called, from any thread.
    """

    dropped: int
    """Results that were dropped since too many waited for the function."""
    failures: int
    """How often the function raised. The first time is told to `threading.excepthook`, as of any thread's failure."""
    last_failure: str
    """What it raised the last time, in words."""
    calling: int | None
    """The frame with whose result it is being called: one that stays the same is a function that hangs."""

    def __init__(self, call: Callable[[FrameResult], object], most: int) -> None:
        self.dropped = self.failures = 0
        self.last_failure = ""
        self.calling = None
        self._call = call
        self._most = most
        self._waiting: deque[FrameResult] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._thread = threading.Thread(target=self._go, name="leo subscriber", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many results wait for the function."""
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def mine(self) -> bool:
        """For the runtime: whether the calling thread is the one that calls the function."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Call it no more: what waits for it is let go of. Waits for no call that has begun. Twice is fine."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def give(self, result: FrameResult) -> bool:
        """For the runtime."""
        with self._changed:
            if self._closed:
                return False
            self._waiting.append(result)
            if len(self._waiting) > self._most:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.notify_all()
            return True

    def end(self, _error: BaseException | None) -> None:
        """For the runtime. The function is still called with what waits."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        """For the runtime: wait at most so long for the last call."""
        self._thread.join(timeout_s)

    def _go(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._ended or self._closed)
                if not self._waiting:
                    return
                result = self._waiting.popleft()
                self.calling = result.frame
            try:
                self._call(result)
            except BaseException as error:  # It is not ours, and the next result is not its.
                self.failures += 1
                self.last_failure = failure_text(error)
                if self.failures == 1:
                    with suppress(Exception):  # The hook may be anybody's.
                        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))
            self.calling = None


class Delivery:
    """The results of one runtime. What says so is called behind the runtime's lock; all else without it."""

    def __init__(self, lock: threading.Lock, most: int, collect: Callable[[], None]) -> None:
        """At most so many results wait for who asks. `collect`, called behind the lock, gives those that are new."""
        self.bell = Bell()
        """Rung where there may be something to collect, and at the end."""
        self.dropped = 0
        """Results that no subscriber had, and nobody asked for before there were too many."""
        self._lock = lock
        self._most = most
        self._collect = collect
        self._kept: deque[tuple[FrameResult, bool]] = deque()
        """With whether a subscriber has it."""
        self._subscribers: list[Callable[[], Subscriber | None]] = []
        """Each as long as it is there."""
        self._thread: threading.Thread | None = None
        self._ended = False
        self._error: BaseException | None = None

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The functions that are called. Behind the lock."""
        return tuple([one for known in self._subscribers if isinstance(one := known(), Subscription)])

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody is given every result."""
        return bool(self._subscribers)

    @property
    def has_thread(self) -> bool:
        """Whether a thread collects for subscribers."""
        return self._thread is not None and self._thread.is_alive()

    def add(self, subscriber: Callable[[], Subscriber | None]) -> None:
        """Give it all from now on, as long as it is there. Behind the lock."""
        there = [known for known in self._subscribers if (one := known()) and not one.closed]
        self._subscribers = [*there, subscriber]
        if self._thread is None:
            thread = threading.Thread(target=self._go, name="leo answers", daemon=True)
            thread.start()  # Where the system has no thread left, the next one tries again.
            self._thread = thread

    def give(self, result: FrameResult) -> None:
        """A frame has ended. Behind the lock."""
        self._subscribers = [known for known in self._subscribers if (one := known()) and one.give(result)]
        self._kept.append((result, bool(self._subscribers)))
        if len(self._kept) > self._most:
            _, had = self._kept.popleft()
            self.dropped += not had
        self.bell.ring()

    def take(self) -> tuple[FrameResult, ...]:
        """What nobody has asked for yet, by number. Behind the lock."""
        if not self._kept:
            return ()
        found = sorted([result for result, _ in self._kept], key=lambda result: result.frame)
        self._kept.clear()
        return tuple(found)

    def next(self, timeout_s: float | None, let_happen: Callable[[float | None], bool]) -> tuple[FrameResult, ...]:
        """What nobody has asked for yet; where there is nothing, what comes next, waiting at most so long for it.

        `let_happen` is asked before waiting, for at most so long; where it says True, it is looked again at once. Where
        no more come, and who asks would wait, raises what went wrong in the runtime itself, or `ClosedError`.
        """
        patience = None if timeout_s is None or timeout_s == 0 else WallClock()
        left_s = timeout_s
        while True:
            rung = self.bell.rung
            with self._lock:
                self._collect()
                found = self.take()
                if self._ended and not found and timeout_s != 0:
                    raise ClosedError("the runtime is closed") if self._error is None else once_more(self._error)
            if found or left_s == 0:
                return found
            if not let_happen(left_s):
                self.bell.wait(rung, left_s)
            if timeout_s is not None and patience is not None:
                left_s = max(0.0, timeout_s - patience.now_us() / 1e6)

    def end(self, error: BaseException | None = None) -> None:
        """No more come; of the runtime itself, what went wrong. Behind the lock. Only the first time counts."""
        if not self._ended:
            self._ended, self._error = True, error
            for known in self._subscribers:
                if one := known():
                    one.end(error)
        self.bell.ring()

    def join(self, timeout_s: float) -> None:
        """Wait for the last calls of all subscriptions, at most so long together.

        Within such a call it waits for none: another may wait for that one.
        """
        patience = WallClock()
        threads: list[Subscription | threading.Thread] = list(self.subscriptions)
        if any(one.mine() for one in self.subscriptions):
            return
        if self._thread is not None and self._thread is not threading.current_thread():
            threads.append(self._thread)
        for one in threads:
            one.join(max(0.0, timeout_s - patience.now_us() / 1e6))

    def _go(self) -> None:
        """The thread that collects for subscribers what nobody asks for."""
        while not self._ended:
            rung = self.bell.rung
            with self._lock:
                try:
                    self._collect()
                except BaseException as error:  # A mistake of ours: nobody is to wait for what does not come.
                    self.end(error)
            if not self._ended:
                self.bell.wait(rung)

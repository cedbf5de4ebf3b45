"""The runtime for asyncio: results as they end, and frames that are submitted off the event loop.

Nothing here waits in an event loop, or needs one to live on: one that was closed meanwhile is told nothing, and what
was on its way to it is let go of. Loops of several threads may be used at the same time.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, Self

from leo_runtime.errors import ClosedError, once_more
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.ahead import Submission


class Answers:
    """All results that end from when this was made, in that order: `async for result in runtime.answers()`.

    It ends after the last result of a runtime that was closed, or of itself (`close`); what went wrong in the runtime
    itself is raised there. A cancelled `async for` loses no result: the next one goes on with it. Who lets go of this
    is given nothing any more. Of several tasks that share one of these, in whichever event loops, each result goes to
    one. `dropped` may be read, and `close` called, from any thread.
    """

    dropped: int
    """Results that were dropped since too many waited to be asked for."""

    def __init__(self, most: int) -> None:
        self.dropped = 0
        self._most = most
        # Re-entrant, since a garbage collection in the middle may end a coroutine of anybody's.
        self._lock = threading.RLock()
        self._results: deque[FrameResult] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._ended = False
        self._error: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether it is given no more."""
        return self._ended

    def close(self) -> None:
        """End it after what it has been given so far. Twice is fine."""
        self.end(None)

    def give(self, result: FrameResult) -> bool:
        """For the runtime."""
        with self._lock:
            if self._ended:
                return False
            self._results.append(result)
            if len(self._results) > self._most:
                self._results.popleft()
                self.dropped += 1
            self._wake()
            return True

    def end(self, error: BaseException | None) -> None:
        """For the runtime. Only the first time counts."""
        with self._lock:
            if not self._ended:
                self._ended, self._error = True, error
                self._wake()

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> FrameResult:
        """The next result. Raises what went wrong in the runtime itself, after the last one."""
        while True:
            waiter = asyncio.get_running_loop().create_future()
            with self._lock:
                if self._results:
                    return self._results.popleft()
                if self._error is not None:
                    raise once_more(self._error)
                if self._ended:
                    raise StopAsyncIteration
                self._waiters = [one for one in self._waiters if not one.done()]
                self._waiters.append(waiter)
            await waiter

    def _wake(self) -> None:
        """Let all who wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _tell(waiter, None)


class _Job:
    """A frame on its way to be submitted, for a task that waits until it has started."""

    def __init__(self, submission: Submission) -> None:
        self.submission = replace(submission, left=self.left)
        self.started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.frame: int | None = None
        self.given_up = False

    def left(self, frame: int) -> None:
        _tell(self.started, frame)


class AsyncSubmits:
    """Submits for event loops, one frame after the other in the order of the calls, on a thread of its own."""

    def __init__(self, submit: Callable[[Submission], int], withdraw: Callable[[int], object]) -> None:
        self._submit = submit
        self._withdraw = withdraw
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def submit(self, submission: Submission) -> int:
        """Wait until it has started; its number. A task that is cancelled meanwhile withdraws it.

        Raises what submitting it raises.
        """
        job = _Job(submission)
        self._put(job)
        try:
            return await job.started
        except GeneratorExit:  # It is let go of with its loop, by a garbage collection amid anything: nothing waits.
            job.given_up = True
            self._jobs.put(job)
            raise
        except BaseException:
            job.given_up = job.frame is None or job.started.cancelled()
            if job.given_up and job.frame is not None:  # Otherwise the thread sees that it was given up.
                self._withdraw(job.frame)
            raise

    def close(self, timeout_s: float) -> None:
        """End the thread, when it has submitted what waits for it. From any thread; twice is fine."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._jobs.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise ClosedError("the runtime is closed")
            if self._thread is None:
                thread = threading.Thread(target=self._go, name="leo asubmit", daemon=True)
                thread.start()  # Where the system has no thread left, the next one tries again.
                self._thread = thread
            self._jobs.put(job)

    def _go(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.frame is None and not job.given_up and not job.started.get_loop().is_closed():
                try:
                    job.frame = self._submit(job.submission)
                except BaseException as error:
                    _tell(job.started, None, error)
            if job.given_up and job.frame is not None:
                self._withdraw(job.frame)


def _tell(waiter: asyncio.Future[Any], value: object, error: BaseException | None = None) -> None:
    """Give a future its value or error, in its loop; nothing where that is closed. From any thread."""

    def tell() -> None:
        if waiter.done():  # It was cancelled, or told already.
            return
        if error is None:
            waiter.set_result(value)
        else:
            waiter.set_exception(error)

    with suppress(RuntimeError):  # The loop is closed.
        waiter.get_loop().call_soon_threadsafe(tell)

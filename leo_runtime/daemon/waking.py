"""Wakes a thread from anywhere, also from a handler of a signal, which may hold no lock."""

from __future__ import annotations

import os
import select
import weakref
from contextlib import suppress
from typing import Protocol


class Readable(Protocol):
    """A socket, a pipe, a file."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...


def is_readable(one: int | Readable, timeout_s: float) -> bool:
    """Wait until there is something to be read of a descriptor of any number, at most so long; whether there is."""
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


class Waker:
    """`wake` may be called from any thread and any handler; `wait` by one thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Not before nobody has it any more: who wakes it late must not write to what has the number of the pipe then.
        for end in (self._read, self._write):
            weakref.finalize(self, os.close, end)

    def fileno(self) -> int:
        """What is readable when it was woken."""
        return self._read

    def wake(self) -> None:
        """Have `wait` return, now or the next time."""
        with suppress(BlockingIOError):  # A full pipe wakes as well.
            os.write(self._write, b"!")

    def wait(self, timeout_s: float) -> None:
        """Wait to be woken, at most so long."""
        if is_readable(self._read, timeout_s):
            with suppress(BlockingIOError):
                os.read(self._read, 4096)

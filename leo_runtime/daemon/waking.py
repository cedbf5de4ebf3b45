"""Wakes a thread from anywhere, also from a handler of a signal, which may hold no lock."""

from __future__ import annotations

import os
import select
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, TypeVar


class Readable(Protocol):
    """A socket, a pipe, a file."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...


_Descriptor = TypeVar("_Descriptor", bound=int | Readable)


def readable(these: Sequence[_Descriptor], timeout_s: float) -> list[_Descriptor]:
    """Wait until there is something to be read of any of these, at most so long; those of which there is.

    Their numbers may be any, where `select` knows them up to 1023 alone.
    """
    poll = select.poll()
    known = {one if isinstance(one, int) else one.fileno(): one for one in these}
    for fd in known:
        poll.register(fd, select.POLLIN)
    return [known[fd] for fd, _ in poll.poll(timeout_s * 1000)]


def is_readable(one: int | Readable, timeout_s: float) -> bool:
    """Wait until there is something to be read, at most so long; whether there is."""
    return bool(readable([one], timeout_s))


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

"""What is known of the last run of a daemon, also where it was killed: a page in a file that outlives the process.

The page is shared memory: what is noted there is in the file at once, without a call of the system. Only a machine that
loses its power may lose it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from pathlib import Path

from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

_PAGE = struct.Struct("<8s6Q")
_MAGIC = b"leo-run1"
_SIZE = 4096


@dataclass(frozen=True, slots=True)
class LastRun:
    """How the last run ended."""

    clean: bool
    """Whether it had stopped by itself: all that it had taken was answered."""
    lost_frames: int
    """Frames that it had taken and whose answers were not yet with every sink, at most."""
    frames: int
    """How many it had taken in all."""
    down_us: int
    """From its last sign of life to now."""


class RunState:
    """The state of this run, kept in a file. Every method may be called from any thread.

    `path` None, or one that cannot be written: nothing is kept, and `failure` says why. Before the first `note` the run
    has not begun: where it never does, the next one is still told of the run before.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises `InputError` where another daemon has the file."""
        self.last: LastRun | None = None
        """None where there was no run before."""
        self.failure = ""
        self._lock = threading.Lock()
        self._page: mmap.mmap | None = None
        self._fd = -1
        self._taken = self._answered = 0
        self._began_ns = time.time_ns()
        self._noted = False
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._claim(path)
            os.posix_fallocate(self._fd, 0, _SIZE)  # So that the disk cannot be full when a page is written.
            self._page = mmap.mmap(self._fd, _SIZE)
        except OSError as error:
            self.failure = f"{path}: cannot be written ({error.strerror or error})"
            self.close(clean=False)
            return
        self.last = _read(self._page)

    def _claim(self, path: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise InputError(
                f"{path}: another daemon runs with it", hint="stop that one, or give this one another `state_dir`"
            ) from None

    def note(self, *, taken: int | None = None, answered: int | None = None) -> None:
        """It is alive, and has so many frames taken, and answered, since it began."""
        with self._lock:
            self._taken = self._taken if taken is None else taken
            self._answered = self._answered if answered is None else answered
            self._noted = True
            self._write(clean=False)

    def close(self, *, clean: bool) -> None:
        """The run ends. Closing twice is fine."""
        with self._lock:
            if self._page is not None:
                if self._noted:
                    self._write(clean=clean)
                self._page.close()
                self._page = None
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _write(self, *, clean: bool) -> None:
        if self._page is not None:
            numbers = (os.getpid(), self._began_ns, time.time_ns(), self._taken, self._answered, clean)
            _PAGE.pack_into(self._page, 0, _MAGIC, *numbers)


def _read(page: mmap.mmap) -> LastRun | None:
    """What a page says; None where it is new, or not one of ours."""
    magic, _, _, alive_ns, taken, answered, clean = _PAGE.unpack_from(page)
    if magic != _MAGIC:
        return None
    down_us = max(0, time.time_ns() - alive_ns) // 1000
    return LastRun(bool(clean), max(0, taken - answered), taken, down_us)

"""A program that writes to a pipe for as long as it is read: it ends with who reads it, whatever ends that."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from leo_runtime.daemon.waking import is_readable, readable
from leo_runtime.errors import printable

ENDS_S = 1.0
"""How long it may take to end when it is asked to; then it is killed."""
MOST_SAID = 4096
"""Bytes of its messages that wait for the end of their line."""
LAST_PIECES = 64
"""So many more are read of what it has said, when it has ended: more than a pipe holds."""
LONGEST_LINE = 300
KEPT_LINES = 40

log = logging.getLogger(__name__)


class Child:
    """One program that runs. For the one thread that starts it, with which it ends at the latest."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        """Start it in that folder, by no shell. Raises `OSError`."""
        self.name = Path(command[0]).name
        with _pipes_that_end():
            self._process = subprocess.Popen(
                [*guard(), *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the daemon, which ends it; and what it starts is ended with it.
            )
        self.pid = self._process.pid
        assert self._process.stdout is not None and self._process.stderr is not None  # they are pipes
        self._out: IO[bytes] = self._process.stdout
        self._errors: IO[bytes] = self._process.stderr
        self._hears = [self._out, self._errors]
        self._said = b""
        self._closed = False
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        """What it said last of what is wrong."""

    def read(self, most: int, timeout_s: float) -> bytes | None:
        """What it has written, b"" where that has ended; None: nothing within that time."""
        ready = readable(self._hears, timeout_s)
        if self._errors in ready:
            self._hear()
        if self._out not in ready:
            return None
        piece = os.read(self._out.fileno(), most)
        self._closed = not piece
        return piece

    def end(self) -> int | None:
        """End it, and wait for that; the status it ended with by itself, below 0 a signal, None: it did not."""
        status = self._wait(ENDS_S if self._closed else 0)
        if status is None:
            self._signal(signal.SIGTERM)
            if self._wait(ENDS_S) is None:
                self._signal(signal.SIGKILL)
                self._process.wait()
        for _ in range(LAST_PIECES):  # What it has left running may write for ever.
            if self._errors not in self._hears or not is_readable(self._errors, 0):
                break
            self._hear()
        self._out.close()
        self._errors.close()
        return status

    def _wait(self, timeout_s: float) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _hear(self) -> None:
        """Log what it says, by lines."""
        piece = os.read(self._errors.fileno(), MOST_SAID)
        if not piece:
            self._hears.remove(self._errors)
        *lines, self._said = (self._said + piece).split(b"\n")
        if not piece or len(self._said) > MOST_SAID:
            lines.append(self._said)
            self._said = b""
        for line in lines:
            if said := printable(line.decode(errors="replace").strip())[:LONGEST_LINE]:
                self.lines.append(said)
                log.warning("`%s` says: %s", self.name, said)


@contextmanager
def _pipes_that_end() -> Iterator[None]:
    """What is started here ends when nobody reads it any more: it inherits which signals are blocked.

    Libraries of sound and of OpenCL leave SIGPIPE blocked; then a loop that writes would go on for ever.
    """
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def guard() -> tuple[str, ...]:
    """What to put before a command so that the system kills it with the thread that started it; () where nothing does.

    Without it, a program whose reader was killed ends when it writes the next time, by SIGPIPE. It is no `preexec_fn`:
    Python code between fork and exec may hang where there are threads.
    """
    program = shutil.which("setpriv")  # Of util-linux; that of busybox knows less.
    command = () if program is None else (program, "--pdeathsig", "KILL", "--")
    try:
        known = command and not subprocess.run([*command, "true"], capture_output=True, timeout=10).returncode
    except (OSError, subprocess.TimeoutExpired):
        known = False
    return command if known else ()

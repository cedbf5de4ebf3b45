"""Answers as lines of JSON: on standard output, or in a file that is begun anew when it is full."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from leo_runtime.daemon.answer import Answer, as_line
from leo_runtime.daemon.kinds import Sink, SinkConfig, SinkEndedError, Site
from leo_runtime.errors import InputError
from leo_runtime.schema import PathName, Positive


class LinesSink(SinkConfig):
    """Lines of JSON, one an answer."""

    kind: Literal["lines"]
    path: PathName = "-"
    """The file; `-`: standard output."""
    max_bytes: Positive = 10_000_000
    """A file that would be greater is put aside, and another one begun."""
    keep: Annotated[int, Field(ge=0, le=1000)] = 5
    """How many files that were put aside are kept, as `NAME.1` (the newest), `NAME.2` and so on."""

    def own_place(self, folder: Path) -> str | None:
        """The file."""
        return None if self.path == "-" else os.path.normpath(folder / Path(self.path).expanduser())

    def check(self, site: Site) -> None:
        """Whether the file can be added to."""
        if self.path != "-":
            _require_lines(site.path(self.path))

    def open(self, site: Site) -> Sink:
        """Nothing is opened to be written to before the first answer. Raises `InputError`."""
        if self.path == "-":
            return StandardOutput(sys.stdout.fileno())
        self.check(site)
        return RotatedFile(site.path(self.path), self.max_bytes, self.keep)


def _require_lines(path: Path) -> None:
    """Raise `InputError` where no file can be, or one that holds something else, which would be spoiled."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder", hint="name a file in it")
    if not path.is_file():
        return  # It is made; or it is a device, or a pipe.
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError:
        return  # It is tried again with the first answer.
    if first not in (b"", b"{"):
        raise InputError(f"{path}: holds something other than answers", hint="name another file, or take it away")


def _claim(fd: int, path: Path) -> None:
    """Have a file alone: two that put it aside would lose what the other one has written. Raises `OSError`."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(errno.EAGAIN, "another daemon writes there", str(path)) from None
    except OSError:  # Some file systems know of no locks.
        return


class StandardOutput:
    """Writes to a descriptor, past all that Python holds back: who does not read holds up nothing but this sink."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        """Of a line that could only be written in part."""

    def publish(self, answer: Answer) -> None:
        """Write one line. Raises `SinkEndedError` where nobody reads any more, and `OSError`: it then goes on there."""
        self._rest = self._rest or as_line(answer)
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except BrokenPipeError:
            raise SinkEndedError("nobody reads standard output any more") from None

    def close(self) -> None:
        """It is not ours to close."""


class RotatedFile:
    """Appends to a file, each line whole or not at all. For one thread at a time.

    Only the daemon's user may read it, and one daemon at a time writes it. Where somebody else has moved it away, as
    `logrotate` does, it is begun anew.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        """Nothing is opened yet."""
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fd: int | None = None

    def publish(self, answer: Answer) -> None:
        """Write one line. Raises `OSError`, and the file holds none of it then."""
        line = as_line(answer)
        fd = self._opened()
        end = os.fstat(fd).st_size
        if end and end + len(line) > self._max_bytes:
            self._put_aside()
            fd, end = self._opened(), 0
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(fd, rest) :]
        except OSError:
            with suppress(OSError):  # A pipe cannot be cut.
                os.ftruncate(fd, end)
            raise

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _opened(self) -> int:
        if self._fd is not None and not self._is_there(self._fd):
            self.close()
        if self._fd is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _claim(self._fd, self.path)
            except OSError:
                self.close()
                raise
            self._end_line(self._fd)
        return self._fd

    def _is_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(fd))
        except OSError:
            return False

    def _end_line(self, fd: int) -> None:
        """Cut off what a daemon that was killed wrote of its last line."""
        from leo_runtime.appending import whole_lines

        if not self.path.is_file():
            return
        with os.fdopen(os.dup(fd), "rb") as file:
            end = whole_lines(file)
        if end < os.fstat(fd).st_size:
            os.ftruncate(fd, end)

    def _put_aside(self) -> None:
        self.close()
        if not self._keep:
            self.path.unlink()
            return
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._aside(number).replace(self._aside(number + 1))
        self.path.replace(self._aside(1))

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

"""The file of a log: written by one process at a time, and written again where a run goes on that was interrupted."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from leo_runtime.appending import Appending, last_line, whole_lines
from leo_runtime.errors import DocumentError

_QUESTION = b'{"kind":"question",'


class LogFile(Appending):
    """A file that no other process writes to meanwhile, and that is still there at the end."""

    def start(self) -> None:
        """Make the file anew. Raises `DocumentError` where that cannot be done, or a run in progress writes to it.

        What such a run has written stays: nothing is taken out of the file before it is known to be nobody's.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._error(error) from None
        self.require_alone()
        with suppress(OSError):  # There is nothing to be taken out of a pipe.
            self._file.truncate(0)
        self._end = 0

    def require_alone(self) -> None:
        """Keep other processes from writing to it, until it is closed. Raises `DocumentError` where one does so."""
        assert self._file is not None
        try:
            from fcntl import LOCK_EX, LOCK_NB, flock
        except ImportError:  # Not everywhere can a file be locked.
            return
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            self.close()
            raise DocumentError(
                str(self.path), "is being written by a run that goes on", hint="wait for its end, or interrupt it"
            ) from None
        except OSError:  # Nor on every disk.
            return

    def require_there(self) -> None:
        """Raise `DocumentError` where the file has been removed, or is another one now: what is written is lost."""
        assert self._file is not None
        written = os.fstat(self._file.fileno())
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (written.st_dev, written.st_ino):
            raise DocumentError(
                str(self.path),
                "was removed while it was written",
                hint="leave a run's folder in its place until the run has ended",
            )


class ContinuedFile(LogFile):
    """A file that is written once more from its start: what is there has to be the same, what follows is added.

    Of a last line that is there in part alone, the rest is added, too.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        super().__init__(path)
        self.is_ahead = False
        """Whether all that was there has been met: what is written now is new."""
        self._there: BinaryIO | None = None
        self._known = 0
        """The end of the last line that was there, and is whole."""
        self._lines = 0

    def start(self) -> None:
        """Open it at its start. Raises `DocumentError`."""
        try:
            self._file = self.path.open("r+b", buffering=0)
            self._there = self.path.open("rb")
            begin, last = last_line(self._there)
            # A question is written together with the frame that it is for, and that is missing.
            self._known = begin if last.startswith(_QUESTION) else whole_lines(self._there)
            self._there.seek(0)
        except OSError as error:
            raise self._error(error) from None
        self.require_alone()

    def write(self, piece: bytes) -> None:
        """Hold a piece to what is there, and add what is not. Raises `DocumentError`, which names the line."""
        if not self.is_ahead:
            piece = self._beyond(piece)
        if piece:
            super().write(piece)

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        super().close()
        if self._there is not None:
            self._there.close()

    def _differs(self, line: int, begin: int) -> NoReturn:
        """Raise `DocumentError` for a line, which begins there and is not as it now comes to be."""
        assert self._there is not None
        self._there.seek(begin)
        try:
            json.loads(self._there.readline())
        except (ValueError, RecursionError):
            raise DocumentError(
                f"{self.path}:{line}",
                "the line is damaged, as a power cut or another program leaves it",
                hint=f"keep what stands before it, and go on with that: `head -n {line - 1} LOG > PART`"
                if line > 1
                else "replay it anew",
            ) from None
        raise DocumentError(
            f"{self.path}:{line}",
            "the run now comes to something else than this line says",
            hint="leo-runtime, a model or the recording has changed since: replay it anew, from its start",
        )

    def _beyond(self, piece: bytes) -> bytes:
        """What of a piece comes after all that is there."""
        assert self._there is not None
        assert self._file is not None
        try:
            there = self._there.read(min(len(piece), self._known - self._end))
            if there != piece[: len(there)]:
                same = next(at for at, (one, other) in enumerate(zip(there, piece, strict=False)) if one != other)
                begin = there.rfind(b"\n", 0, same) + 1
                self._differs(self._lines + there.count(b"\n", 0, same) + 1, self._end + begin)
            self._end += len(there)
            self._lines += there.count(b"\n")
            if self._end == self._known:
                self.is_ahead = True
                self._file.truncate(self._end)
                self._file.seek(self._end)
        except OSError as error:
            raise self._error(error) from None
        return piece[len(there) :]

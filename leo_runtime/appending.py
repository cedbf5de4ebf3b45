"""A file that is written piece by piece, each whole or not at all, so that what is there can be read at any time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from leo_runtime.errors import DocumentError

_BLOCK = 1 << 16


class Appending:
    """For one thread at a time. Every piece is handed to the operating system before `write` returns."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self.path = path
        self._file: BinaryIO | None = None
        self._end = 0
        """How long the file is: a pipe does not say."""

    def start(self) -> None:
        """Make the file, and its folder, anew. Raises `DocumentError` when that cannot be done."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("wb", buffering=0)
            self._end = 0
        except OSError as error:
            raise self._error(error) from None

    def go_on(self) -> None:
        """Open the file of lines, and add to the whole ones that it holds. Raises `DocumentError`."""
        try:
            self._file = self.path.open("r+b", buffering=0)
            self._end = whole_lines(self._file)
            self._file.truncate(self._end)
            self._file.seek(self._end)
        except OSError as error:
            raise self._error(error) from None

    def write(self, piece: bytes) -> None:
        """Write a piece. One that the disk takes in part alone is taken back. Raises `DocumentError`."""
        assert self._file is not None, "started before it is written to"
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException as error:
            # An interrupt is one of them. From a device or a pipe nothing can be taken back.
            with suppress(OSError):
                self._file.truncate(self._end)
                self._file.seek(self._end)
            if isinstance(error, OSError):
                raise self._error(error) from None
            raise
        self._end += len(piece)

    def close(self) -> None:
        """Close the file, if it was started. Closing twice is fine."""
        if self._file is not None:
            self._file.close()

    def _error(self, error: OSError) -> DocumentError:
        return DocumentError(str(self.path), f"cannot be written ({error.strerror or error})")


def whole_lines(file: BinaryIO) -> int:
    """Where the last whole line of a file ends. Raises `OSError`."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        at = file.read(end - begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def last_line(file: BinaryIO) -> tuple[int, bytes]:
    """Where the last whole line of a file begins, and what it says without its newline; nothing where there is none.

    Raises `OSError`.
    """
    end = whole_lines(file)
    length = 0
    while length < end:
        length = min(end, length + _BLOCK)
        file.seek(end - length)
        block = file.read(length)
        if (at := block.rfind(b"\n", 0, -1)) >= 0 or length == end:
            return end - length + at + 1, block[at + 1 : -1]
    return 0, b""

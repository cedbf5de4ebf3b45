"""How far something is, as it is told and as it is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TextIO

Progress = Callable[[str, int, int], None]
"""Told what comes next, how much is done, and how much there is to do; `ProgressBar` is one."""


def tell(stream: TextIO, text: str) -> None:
    """Write talk, on which nothing depends: where it cannot be written, it and all after it go nowhere."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class ProgressBar:
    """How far something is, on standard error: a bar that redraws itself on a terminal, else a line a tenth."""

    WIDTH = 30

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title = title
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._shown = -1

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show it, if that changes what is seen."""
        percent = 100 * done // max(1, of)
        if self._is_terminal:
            filled = self.WIDTH * percent // 100
            bar = "#" * filled + "-" * (self.WIDTH - filled)
            tell(self._stream, f"\r{self._title} [{bar}] {percent:3d}% {what:.30}\x1b[K")
        elif percent // 10 > self._shown:
            self._shown = percent // 10
            tell(self._stream, f"{self._title} {percent:3d}%\n")

    def __enter__(self) -> Self:
        """The bar itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the line to what comes next."""
        if self._is_terminal:
            tell(self._stream, "\r\x1b[K")

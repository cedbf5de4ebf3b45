"""How far something is, as it is told and as it is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self, TextIO

from leo_runtime.clock import Clock, WallClock
from leo_runtime.errors import printable
from leo_runtime.terminal import COLUMNS, columns, cut, is_redrawn, room

Progress = Callable[[str, int, int], None]
"""Told what comes next, how much is done, and how much there is to do; `ProgressBar` is one."""

REDRAWN_US = 100_000
"""A bar is drawn at most so often."""
LINE_US = 60_000_000
"""Where nothing can be drawn again there is a line at most so often."""
ESTIMATED_US = 2_000_000
"""How long something has gone on before the time left is told."""


def tell(stream: TextIO, text: str) -> None:
    """Write talk, on which nothing depends: where it cannot be written, it and all after it go nowhere."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Pace:
    """When a line was last written: several bars, one after the other, are as quiet as one."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Nothing has been written since now."""
        self.clock = WallClock() if clock is None else clock
        self.line_us = self.clock.now_us()


class ProgressBar:
    """How far something is, on standard error.

    On a terminal it is a bar with the time left, which redraws itself and is gone at the end; elsewhere, and on a dumb
    terminal, a line a minute. It is told by one thread.
    """

    WIDTH = 30

    def __init__(
        self,
        title: str,
        stream: TextIO | None = None,
        *,
        pace: Pace | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._title = printable(title)
        self._stream = sys.stderr if stream is None else stream
        self._environ = environ
        self._pace = Pace() if pace is None else pace
        self._is_redrawn = is_redrawn(self._stream, environ)
        self._first: tuple[int, int] | None = None
        """When it was told of first, and how much was done by then."""
        self._drawn_us: int | None = None

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show it, unless it was shown a moment ago."""
        now_us = self._pace.clock.now_us()
        if self._first is None:
            self._first = now_us, done
        if self._is_redrawn:
            if self._drawn_us is None or now_us - self._drawn_us >= REDRAWN_US or done >= of:
                self._drawn_us = now_us
                # The terminal is asked first: `COLUMNS` is what it was when it was exported, and a line that is longer
                # than the terminal is now cannot be drawn again. The last column stays free: to write there moves some
                # terminals to the next line.
                most = (columns(self._stream, {}) or columns(self._stream, self._environ) or COLUMNS) - 1
                tell(self._stream, f"\r{self._line(what, done, of, now_us, most)}\x1b[K")
        elif now_us - self._pace.line_us >= LINE_US:
            self._pace.line_us = now_us
            tell(self._stream, f"{self._title} {_percent(done, of)}{self._left(done, of, now_us)}\n")

    def _line(self, what: str, done: int, of: int, now_us: int, most: int) -> str:
        """The bar in so many columns: in fewer it gets shorter, what comes next is left out, and then the bar."""
        told = f"{_percent(done, of)}{self._left(done, of, now_us)}"
        spare = most - room(self._title) - 1 - room(told)
        if spare < 0:
            return f"{cut(self._title, most - room(told) - 1)} {told}" if most - room(told) > 8 else told[:most]
        width = min(self.WIDTH, spare - 3)
        if width < 10:
            return f"{self._title} {told}"
        filled = width * min(done, of) // max(1, of)
        line = f"{self._title} [{'#' * filled}{'-' * (width - filled)}] {told}"
        beside = most - room(line) - 1
        return f"{line} {cut(printable(what), beside)}" if what and beside >= 8 else line

    def _left(self, done: int, of: int, now_us: int) -> str:
        """The time left at the rate so far; nothing while there is none to speak of.

        It is the rate since the beginning: it moves little by little, where that of the last moments would jump.
        """
        first_us, first_done = self._first or (now_us, done)
        took_us, ahead = now_us - first_us, done - first_done
        if took_us < ESTIMATED_US or ahead <= 0 or done >= of:
            return ""
        return f", {hours(took_us * (of - done) // ahead)} left"

    def __enter__(self) -> Self:
        """The bar itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the line to what comes next."""
        if self._drawn_us is not None:
            tell(self._stream, "\r\x1b[K")


def hours(us: int) -> str:
    """A time as h:mm:ss."""
    minutes, seconds = divmod(round(us / 1e6), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _percent(done: int, of: int) -> str:
    return f"{100 * min(done, of) // max(1, of):3d}%"

"""The daemon's log: for people, or a JSON object a line; nothing floods it, and nothing in it spans lines.

What is logged again and again, by the same line of the code of the same thing (its first argument), is told at most
`MOST_A_MINUTE` times a minute; the next time it says how often it was left out.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal, TextIO

from leo_runtime.clock import Clock, WallClock
from leo_runtime.errors import printable
from leo_runtime.schema import Value

MOST_A_MINUTE = 5
MOST_KINDS = 256
"""Of messages that are told apart."""
LONGEST = 2_000
"""Characters of a message."""
_MINUTE_US = 60_000_000
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
"""Of syslog, as systemd reads them."""


class LogConfig(Value):
    """The table `[log]`."""

    form: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class TextFormatter(logging.Formatter):
    """A line for people. `for_journal`: with the priority before it, as systemd reads it, and no time, which it has."""

    def __init__(self, *, for_journal: bool = False) -> None:
        super().__init__()
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        said = f"{record.levelname.lower()}: {_message(record)}"
        if self._for_journal:
            return f"<{_priority(record.levelno)}>{said}"
        return f"{_at(record)} {said}"


class JsonFormatter(logging.Formatter):
    """An object a line: `at`, `level`, `logger`, `message`, and `error` where there was one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        told = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record, with_error=False),
        }
        if record.exc_info and record.exc_info[0] is not None:
            told["error"] = _cut(f"{record.exc_info[0].__name__}: {record.exc_info[1]}")
        left_out = getattr(record, "left_out", 0)
        return json.dumps(told | ({"left_out": left_out} if left_out else {}), ensure_ascii=False)


class NoFlood(logging.Filter):
    """Leaves out what was said too often of late, and says so the next time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: OrderedDict[tuple[str, int, str], list[int]] = OrderedDict()
        """Of each kind: since when it is counted, how often it was told since, and how often left out."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is told."""
        now_us = self._clock.now_us()
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        kind = (record.pathname, record.lineno, str(first)[:LONGEST])
        one = self._kinds.pop(kind, None)
        if one is None:
            while len(self._kinds) >= MOST_KINDS:
                self._kinds.popitem(last=False)
            one = [now_us, 0, 0]
        self._kinds[kind] = one
        if now_us - one[0] >= _MINUTE_US:
            one[0], one[1] = now_us, 0
        if one[1] >= MOST_A_MINUTE:
            one[2] += 1
            return False
        one[1] += 1
        record.left_out, one[2] = one[2], 0
        return True


@contextmanager
def logging_to(
    stream: TextIO | None, config: LogConfig, *, for_journal: bool = False, clock: Clock | None = None
) -> Iterator[Callable[[LogConfig], None]]:
    """Within it the log of leo_runtime goes to a stream (None: standard error), and nowhere else.

    It gives a function that has it go on by another config.
    """
    log = logging.getLogger(__name__.partition(".")[0])
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.addFilter(NoFlood(WallClock() if clock is None else clock))
    level, propagates = log.level, log.propagate

    def go_by(config: LogConfig) -> None:
        handler.setFormatter(JsonFormatter() if config.form == "json" else TextFormatter(for_journal=for_journal))
        log.setLevel(config.level.upper())

    go_by(config)
    log.addHandler(handler)
    log.propagate = False
    try:
        yield go_by
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


def _message(record: logging.LogRecord, *, with_error: bool = True) -> str:
    said = record.getMessage()
    if with_error and record.exc_info and record.exc_info[0] is not None:
        said = f"{said} ({record.exc_info[0].__name__}: {record.exc_info[1]})"
    left_out = getattr(record, "left_out", 0)
    return _cut(said) + (f" (and {left_out} times more that were not told)" if left_out and with_error else "")


def _cut(text: str) -> str:
    """On one line, without what a terminal obeys, and not endless."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 2]}.."


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)

"""How far something is, as people and logs see it. No test waits: the clock is the test's."""

import io
import os
import pty
import re
from itertools import pairwise

import pytest

from leo_runtime.command import shared
from leo_runtime.progress import Pace, ProgressBar, hours
from leo_runtime.terminal import room


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us

    def wait_until_us(self, at_us: int, interrupt: object = None) -> bool:
        raise AssertionError("nothing waits for it")


def drawn(out: io.StringIO) -> list[str]:
    """What stood on the line, one after the other."""
    return [line.removesuffix("\x1b[K") for line in out.getvalue().split("\r")[1:]]


def test_a_run_of_under_a_minute_says_nothing_off_a_terminal():
    out, clock = io.StringIO(), Clock()
    with ProgressBar("working", out, pace=Pace(clock)) as progress:
        for done in range(101):
            clock.us = done * 599_999
            progress("x", done, 100)
    assert out.getvalue() == ""


def test_off_a_terminal_there_is_a_line_a_minute_over_all_bars():
    out, clock = io.StringIO(), Clock()
    pace = Pace(clock)
    for title in ("one", "two", "three"):
        with ProgressBar(title, out, pace=pace) as progress:
            for done in range(1001):
                progress("x", done, 1000)
                clock.us += 100_000
    assert out.getvalue().splitlines() == [
        "one  60%, 0:00:40 left",
        "two  19%, 0:01:20 left",
        "two  79%, 0:00:20 left",
        "three  39%, 0:01:00 left",
        "three  99%, 0:00:00 left",
    ]


def test_a_dumb_terminal_gets_lines():
    out, clock = Terminal(), Clock()
    with ProgressBar("working", out, pace=Pace(clock), environ={"TERM": "dumb"}) as progress:
        progress("x", 0, 4)
        clock.us = 60_000_000
        progress("x", 1, 4)
    assert out.getvalue() == "working  25%, 0:03:00 left\n"


def test_on_a_terminal_one_line_is_redrawn_and_left_empty():
    out, clock = Terminal(), Clock()
    with ProgressBar("working", out, pace=Pace(clock), environ={"COLUMNS": "80"}) as progress:
        progress("stage one", 1, 4)
        clock.us = 3_000_000
        progress("stage two", 2, 4)
        progress("stage three", 4, 4)
    assert drawn(out) == [
        "working [#######-----------------------]  25% stage one",
        "working [###############---------------]  50%, 0:00:06 left stage two",
        "working [##############################] 100% stage three",
        "",
    ]
    assert "\n" not in out.getvalue()


def test_what_was_never_shown_needs_no_clearing():
    out = Terminal()
    with ProgressBar("working", out, environ={}):
        pass
    assert out.getvalue() == ""


def test_a_bar_is_not_drawn_more_often_than_anybody_can_see():
    out, clock = Terminal(), Clock()
    with ProgressBar("working", out, pace=Pace(clock), environ={}) as progress:
        for done in range(100_001):
            progress("x", done, 100_000)
            clock.us += 10
    assert len(drawn(out)) == 12  # At once, each tenth of a second, at the end, and the line cleared.


def test_the_time_left_does_not_jump():
    """A steady rate with a hiccup of a second in it: what is told goes down evenly, but for a moment."""
    out, clock = Terminal(), Clock()
    with ProgressBar("working", out, pace=Pace(clock), environ={}) as progress:
        for done in range(600):
            progress("x", done, 600)
            clock.us += 1_100_000 if done == 300 else 100_000
    told = [re.search(r", (\d):(\d\d):(\d\d) left", line) for line in drawn(out)]
    left = [3600 * int(one[1]) + 60 * int(one[2]) + int(one[3]) for one in told if one]
    assert left[0] == 58
    assert max(abs(b - a) for a, b in pairwise(left)) <= 1
    assert left[-1] == 0


def test_what_goes_on_from_the_middle_counts_from_there():
    out, clock = Terminal(), Clock()
    with ProgressBar("working", out, pace=Pace(clock), environ={}) as progress:
        progress("x", 900, 1000)
        clock.us = 10_000_000
        progress("x", 910, 1000)
    assert "91%, 0:01:30 left" in drawn(out)[1]


def test_a_bar_fits_every_terminal_also_one_that_changes():
    environ: dict[str, str] = {}
    for title in ("working", "beside it, a policy that has a name of many words", "\u65e5\u672c\u8a9e" * 9):
        out, clock = Terminal(), Clock()
        with ProgressBar(title, out, pace=Pace(clock), environ=environ) as progress:
            for step, wide in enumerate(range(150, 4, -1)):
                environ["COLUMNS"] = str(wide)
                clock.us = step * 100_000
                progress("a stage with a name of its own\x1b[2J", step, 150)
                assert room(drawn(out)[-1]) < wide
                assert "\x1b[2J" not in out.getvalue()
                if wide > 14:
                    assert "%" in drawn(out)[-1]


def test_a_bar_is_as_wide_as_the_terminal_whatever_was_exported(monkeypatch: pytest.MonkeyPatch):
    clock, wide = Clock(), 200
    main, beside = pty.openpty()
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((wide, 24)))
    with os.fdopen(beside, "w") as out, ProgressBar("w", out, pace=Pace(clock), environ={"COLUMNS": "150"}) as progress:
        progress("a stage of many words, and many more of them", 1, 2)
        wide, clock.us = 30, 100_000
        progress("a stage of many words, and many more of them", 1, 2)
        lines = os.read(main, 4096).decode().removesuffix("\x1b[K").split("\x1b[K\r")
    os.close(main)
    assert [room(line.strip()) < most for line, most in zip(lines, (200, 30), strict=True)] == [True, True]


def test_times_are_hours_minutes_seconds():
    assert [hours(us) for us in (0, 59_499_999, 3_600_000_000, 90_061_000_000)] == [
        "0:00:00",
        "0:00:59",
        "1:00:00",
        "25:01:01",
    ]


def test_a_quiet_command_shows_no_bar_and_no_talk_but_errors(capsys):
    shared.begin(quiet=True)
    with shared.bar("working") as progress:
        progress("x", 1, 2)
    shared.say("by the way")
    shared.complain("wrong")
    shared.begin(quiet=False)
    shared.say("again")
    assert capsys.readouterr().err == "wrong\nagain\n"

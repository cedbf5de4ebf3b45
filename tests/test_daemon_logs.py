"""The daemon's log: one line a message, as text or JSON, and no flood of any kind."""

import io
import json
import logging

import pytest

from leo_runtime.daemon.logs import MOST_A_MINUTE, MOST_KINDS, LogConfig, NoFlood, logging_to
from told_clock import ToldClock

log = logging.getLogger("leo_runtime.daemon.test")


def told(config: LogConfig, *, clock: ToldClock | None = None, for_journal: bool = False) -> "Told":
    return Told(config, clock or ToldClock(), for_journal)


class Told:
    def __init__(self, config: LogConfig, clock: ToldClock, for_journal: bool) -> None:
        self.clock, self.stream = clock, io.StringIO()
        self._to = logging_to(self.stream, config, for_journal=for_journal, clock=clock)

    def __enter__(self) -> "Told":
        self.go_by = self._to.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._to.__exit__(None, None, None)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_text_is_a_line_with_its_time_and_no_control_characters() -> None:
    with told(LogConfig()) as found:
        log.warning("sink `%s` went wrong: %s", "lines", "no room\n\x1b[31mleft")
        log.debug("not told")
    (line,) = found.lines
    assert line[10] == "T" and line.endswith(r" warning: sink `lines` went wrong: no room\n\x1b[31mleft")


def test_json_is_an_object_a_line_with_the_error_by_itself() -> None:
    with told(LogConfig(form="json", level="debug")) as found:
        log.debug("begin")
        try:
            raise ValueError("it's\nwrong")
        except ValueError:
            log.exception("a scrape failed")
    first, second = map(json.loads, found.lines)
    assert first.keys() == {"at", "level", "logger", "message"} and first["level"] == "debug"
    assert second["message"] == "a scrape failed" and second["error"] == r"ValueError: it's\nwrong"


def test_the_journal_gets_priorities_and_no_time() -> None:
    with told(LogConfig(), for_journal=True) as found:
        log.error("one")
        log.warning("two")
        log.info("three")
    assert found.lines == ["<3>error: one", "<4>warning: two", "<6>info: three"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_said_again_and_again_is_told_a_few_times_a_minute(form: str) -> None:
    with told(LogConfig(form=form)) as found:  # type: ignore[arg-type]  # one of them
        for number in range(100):
            log.warning("sink `%s` went wrong: %s", "lines", f"try {number}")
            log.warning("sink `%s` went wrong: %s", "other", f"try {number}") if number < 2 else None
        assert len(found.lines) == MOST_A_MINUTE + 2
        found.clock.to(60_000_000)
        log.warning("sink `%s` went wrong: %s", "lines", "try 100")
        log.info("another line of the code")
    # Not the same line as above, so nothing of it was left out.
    assert len(found.lines) == MOST_A_MINUTE + 4


def test_how_often_it_was_left_out_is_said_the_next_time() -> None:
    with told(LogConfig()) as found:
        for minute in range(2):
            found.clock.to(minute * 60_000_000)
            for _ in range(MOST_A_MINUTE + 3):
                log.warning("again")
    assert [line.rpartition("warning: ")[2] for line in found.lines[:2]] == ["again", "again"]
    assert found.lines[MOST_A_MINUTE].endswith("again (and 3 times more that were not told)")
    assert len(found.lines) == 2 * MOST_A_MINUTE


def test_kinds_are_bounded() -> None:
    clock = ToldClock()
    flood = NoFlood(clock)
    for number in range(3 * MOST_KINDS):
        record = logging.LogRecord("x", logging.INFO, "f.py", 1, "%s", (f"name {number}",), None)
        assert flood.filter(record)
    assert len(flood._kinds) == MOST_KINDS


def test_logging_is_as_it_was_afterwards() -> None:
    root = logging.getLogger("leo_runtime")
    before = (root.level, root.propagate, list(root.handlers))
    with told(LogConfig(level="error")) as found:
        log.warning("not told")
    assert (root.level, root.propagate, list(root.handlers)) == before and found.lines == []


def test_it_goes_on_by_another_config() -> None:
    with told(LogConfig(level="warning")) as found:
        log.info("not told")
        found.go_by(LogConfig(form="json", level="info"))
        log.info("told")
    (line,) = found.lines
    assert json.loads(line)["message"] == "told"

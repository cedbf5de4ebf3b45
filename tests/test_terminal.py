"""How wide a terminal is, whether it has colours, and how texts are cut and filled."""

import io
import os

import pytest

from leo_runtime.terminal import Look, columns, cut, cut_apart, fill, has_colours, is_redrawn, room


class Terminal(io.StringIO):
    """Says that it is one; how wide, only the environment can say."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(environ, shown):
    assert has_colours(Terminal(), environ) is shown
    assert has_colours(io.StringIO(), environ) is (shown and "FORCE_COLOR" in environ)


def test_a_dumb_terminal_draws_nothing_again():
    assert is_redrawn(Terminal(), {"TERM": "xterm"})
    assert not is_redrawn(Terminal(), {"TERM": "dumb"})
    assert not is_redrawn(io.StringIO(), {})


def test_text_is_as_wide_as_the_terminal_or_80_or_as_asked_for():
    assert Look.of(Terminal(), {"COLUMNS": "132"}) == Look(132, is_coloured=True)
    assert Look.of(Terminal(), {"COLUMNS": "20"}).columns == 40
    for odd in ("0", "-5", "many", "\u00b2"):
        assert Look.of(Terminal(), {"COLUMNS": odd}).columns == 80
    assert Look.of(io.StringIO(), {"COLUMNS": "132"}) == Look(80)
    assert Look.of(io.StringIO(), {}, 100) == Look(100)
    assert Look.of(Terminal(), {"COLUMNS": "132"}, 0).columns is None


def test_a_terminal_says_how_wide_it_is_as_often_as_it_is_asked():
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        for wide in (100, 61):
            termios.tcsetwinsize(follower, (24, wide))
            assert columns(stream, {}) == wide
        termios.tcsetwinsize(follower, (0, 0))
        assert columns(stream, {}) is None
    os.close(leader)


def test_a_closed_stream_is_no_terminal():
    closed = io.StringIO()
    closed.close()
    assert columns(closed, {"COLUMNS": "90"}) is None


def test_a_text_is_cut_in_the_middle_by_the_columns_it_takes():
    assert cut("conversation", 12) == "conversation"
    assert cut("conversations", 12) == "conve..tions"
    assert cut("\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e", 9) == "\u65e5\u672c..\u8a9e"
    assert cut("front_microphones -> signal_processor", 24) == "front..nes -> sign..ssor"
    assert room(cut("a -> b" * 9, 7)) <= 7
    assert cut("cpu -> signal_processor", 16) == "cpu -> sig..ssor"
    assert cut("ab" + "e\u0301" * 10, 7) == "abe\u0301..e\u0301e\u0301"


def test_no_two_texts_are_cut_to_the_same():
    texts = [f"front_{side}_microphone_array" for side in ("left", "right", "upper")]
    shown = cut_apart(dict.fromkeys(texts, 12))
    assert shown["front_left_microphone_array"] == "front..array"
    assert len(set(shown.values())) == 3
    assert cut_apart({"a..b": 4, "axxxb": 4}) == {"a..b": "a..b", "axxxb": "ax.."}


def test_lines_are_broken_at_spaces_or_where_a_word_has_no_room():
    assert fill("one two three", None) == "one two three"
    assert fill("one two three", 8, "  ") == "one two\n  three"
    assert fill("a " + "x" * 12, 8, "  ") == "a\n  xxxxxx\n  xxxxxx"
    assert [room(line) for line in fill("\u65e5\u672c\u8a9e" * 4, 8).splitlines()] == [8, 8, 8]

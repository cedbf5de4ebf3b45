"""Tables and progress as people see them."""

import io

import pytest

from leo_runtime.progress import ProgressBar
from leo_runtime.report.tables import duration, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_numbers_go_right_and_texts_left():
    assert table(("name", "runs", "note"), [("cpu", 5, "a"), ("opencl", 120, "")]) == (
        "name    runs  note\n------  ----  ----\ncpu        5  a\nopencl   120\n"
    )


def test_a_name_keeps_its_line_and_gives_no_orders_to_a_terminal():
    assert table(("name", "count"), [("two\nlines\x1b[2J", 1)]).splitlines()[2:] == ["two\\nlines\\x1b[2J      1"]


def test_a_table_of_nothing_has_its_header():
    assert table(("a", "bc"), []) == "a  bc\n-  --\n"


@pytest.mark.parametrize(
    ("microseconds", "shown"), [(0, "0 us"), (999, "999 us"), (1500, "1.5 ms"), (2_345_678, "2.35 s")]
)
def test_a_time_has_the_unit_that_suits_it(microseconds, shown):
    assert duration(microseconds) == shown


def test_progress_off_a_terminal_is_a_line_a_tenth():
    out = io.StringIO()
    with ProgressBar("working", out) as progress:
        for done in range(101):
            progress("x", done, 100)
    assert out.getvalue().splitlines() == [f"working {percent:3d}%" for percent in range(0, 101, 10)]


def test_progress_on_a_terminal_redraws_one_line_and_leaves_it_empty():
    out = Terminal()
    with ProgressBar("working", out) as progress:
        progress("stage one", 1, 4)
        progress("stage two", 4, 4)
    first, second, last = out.getvalue().split("\r")[1:]
    assert first.startswith("working [#######-----------------------]  25% stage one")
    assert second.startswith("working [##############################] 100% stage two")
    assert last == "\x1b[K"
    assert "\n" not in out.getvalue()

"""Tables as people see them."""

import random

import pytest

from leo_runtime.report.layout import duration, table
from leo_runtime.terminal import Look, room


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


LONG = ("a_pipeline_with_a_long_name_that_ends_in_left", "a_pipeline_with_a_long_name_that_ends_in_right")


def test_a_long_name_loses_its_middle_where_a_table_would_be_too_wide():
    rows = [(name, 5, "yes") for name in LONG]
    assert table(("name", "runs", "note"), rows, Look(40)).splitlines() == [
        "name                          runs  note",
        "----------------------------  ----  ----",
        "a_pipeline_wi.._ends_in_left     5  yes",
        "a_pipeline_wi..ends_in_right     5  yes",
    ]
    assert LONG[0] in table(("name", "runs", "note"), rows)


def test_no_two_rows_look_alike_that_are_not():
    names = [f"{'x' * 30}{n:02d}{'y' * 30}" for n in range(30)]
    lines = table(("name", "runs"), [(name, 1) for name in names], Look(40)).splitlines()[2:]
    assert len(set(lines)) == 30
    alike = table(("name", "runs"), [("z" * 60, 1), ("z" * 60, 1)], Look(40)).splitlines()[2:]
    assert alike[0] == alike[1]


def test_columns_that_have_no_room_follow_below_beside_the_names():
    header = ("name", *(f"column {c}" for c in range(12)))
    text = table(header, [("cpu", *range(12)), ("gpu", *range(12))], Look(60), totals=("all", *range(0, 24, 2)))
    blocks = text.split("\n\n")
    assert len(blocks) == 3
    assert [block.split()[0] for block in blocks] == ["name"] * 3
    assert max(map(len, text.splitlines())) <= 60
    assert blocks[0].splitlines()[-1] == "all          0         2         4         6"


def test_wide_characters_take_two_columns_and_marks_none():
    lines = table(("name", "n"), [("\u65e5\u672c", 1), ("e\u0301a", 22)]).splitlines()
    assert [room(line) for line in lines] == [8, 8, 8, 8]


def test_a_text_of_several_lines_goes_on_in_its_column():
    row = ("opencl", "no", "pyopencl is not installed, and neither is a driver for it")
    assert table(("backend", "here", "missing"), [row, ("cpu", "yes", "")], Look(44), wrapped=True).splitlines() == [
        "backend  here  missing",
        "-------  ----  -----------------------------",
        "opencl   no    pyopencl is not installed,",
        "               and neither is a driver for",
        "               it",
        "cpu      yes",
    ]


def test_what_is_late_is_red_where_there_are_colours():
    rows = [("a", 0, 3), ("b", 12, 3)]
    assert "\x1b" not in table(("name", "late", "runs"), rows, Look(80), red=("late",))
    lines = table(("name", "late", "runs"), rows, Look(80, is_coloured=True), red=("late",)).splitlines()
    assert lines[2:] == ["a        0     3", "b       \x1b[31m12\x1b[0m     3"]


@pytest.mark.parametrize("seed", range(30))
def test_random_tables_fit_and_keep_every_figure(seed):
    draw = random.Random(seed)
    letters = "abc\u65e5\u0301_ -"
    texts = ["".join(draw.choices(letters, k=draw.randint(1, 60))).strip() or "x" for _ in range(12)]
    header = ["name", *(f"f{c}" for c in range(draw.randint(1, 25)))]
    rows = [(text, *(draw.randint(0, 10 ** draw.randint(1, 9)) for _ in header[1:])) for text in texts]
    most = draw.randint(40, 120)
    text = table(header, rows, Look(most), totals=("all", *(1 for _ in header[1:])))
    assert max(map(room, text.splitlines())) <= most
    for row in rows:
        for figure in row[1:]:
            assert str(figure) in text

"""What is told of a study on a terminal and on its page, but for its tables over two axes."""

from __future__ import annotations

import re
from csv import DictReader
from pathlib import Path
from statistics import fmean

import pytest

import study_rows
from leo_runtime.cli import main
from leo_runtime.report.page.study_points import points
from leo_runtime.report.study_published import published
from leo_runtime.study.effects import effects, in_parts
from leo_runtime.study.shipped_studies import names
from small_studies import STUDY, write_study

DRAWN = STUDY.replace("values = [4_000, 20_000]", "range = { low = 4_000, high = 20_000, integer = true }").replace(
    "seconds = 1\n", "seconds = 0.1\n"
)


def test_cells_that_were_drawn_are_told_of_by_what_goes_with_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(write_study(tmp_path, DRAWN + '[sampling]\nkind = "latin"\ncells = 11\nseed = 2\n'))
    assert main(["study", "run", path, "--jobs", "0"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("energy_nj, mJ, of 11 cells that were drawn: ")
    lines = told.splitlines()
    assert any(line.startswith("solver ") and "exact: " in line and "greedy: " in line for line in lines)
    assert any(line.startswith("deadline ") and " to " in line for line in lines)
    assert sum(line.startswith("best energy_nj, mJ") for line in lines) == 1
    assert main(["study", "show", path, "--over", "deadline,solver", "--csv", "map.csv"]) == 0
    head, *rows = Path("map.csv").read_text().splitlines()
    assert head == "deadline,solver=exact,solver=greedy" or head == "deadline,solver=greedy,solver=exact"
    starts = [int(row.split(" to ")[0]) for row in rows]
    assert len(rows) == 5 and starts == sorted(starts)
    assert main(["study", "show", path, "--csv", "map.csv"]) == 2
    assert "--over A,B" in capsys.readouterr().err


def test_a_table_is_of_the_cells_where_axes_are_held_and_of_a_kind_as_of_a_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = '[[axes]]\nname = "dsp"\nvary = "slow dsp"\nvalues = [1, 2.5]\n'
    path = str(write_study(tmp_path, STUDY.replace("seconds = 1\n", "seconds = 0.1\n") + more))

    def told(*arguments: str) -> tuple[int, str, str]:
        status = main(["study", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    def csv(*arguments: str) -> list[str]:
        assert told("show", path, "--csv", "map.csv", *arguments)[0] == 0
        return Path("map.csv").read_text().splitlines()

    assert told("run", path, "--jobs", "0")[0] == 0
    assert told("export", path, "--to", "rows.csv")[0] == 0
    with Path("rows.csv").open(newline="") as file:
        rows = list(DictReader(file))
    # An axis that is held is none of those shown, however its value is written.
    status, out, _ = told("show", path, "--column", "energy_nj", "--where", "deadline=4e3")
    assert status == 0
    assert out.startswith("energy_nj, in mJ, the mean over repetitions, deadline=4e3\n\n")
    assert out.splitlines()[2].split() == ["solver", "dsp=1", "dsp=2.5"]
    held = ["--column", "energy_nj", "--where", "dsp=2.50", "--where", "solver=exact"]
    head, *lines = csv(*held)
    assert head == "deadline,energy_nj" and [line.split(",")[0] for line in lines] == ["4000", "20000"]
    for line in lines:
        at = {"axis.deadline": line.split(",")[0], "axis.dsp": "2.5", "axis.solver": "exact"}
        of = [int(row["energy_nj"]) for row in rows if at.items() <= row.items()]
        assert len(of) == 2 and fmean(of) == float(line.split(",")[1])
    both = told("show", path, "--column", "late", "--where", "solver=exact", "--where", "solver=greedy")[1]
    assert "the mean over dsp and repetitions, solver=exact or greedy\n" in both and "solver  deadline=4000" in both
    assert (
        "energy_nj, in mJ, the mean over solver, deadline and repetitions\n" in told("show", path, "--over", "dsp")[1]
    )
    # A line for each cause: together they are all energy.
    head, *lines = csv("--column", "cause_nj", "--where", "dsp=1")
    assert head == "cause_nj,solver=exact,solver=greedy" and any(line.startswith("run,") for line in lines)
    every = csv("--column", "energy_nj", "--over", "solver", "--where", "dsp=1")
    for number, line in enumerate(every[1:], 1):
        assert sum(float(one.split(",")[number]) for one in lines) == pytest.approx(float(line.split(",")[1]))
    assert any(line.startswith("nobody,") for line in csv("--column", "graph_nj"))
    for arguments, says, hint in (
        (["--where", "dsb=1"], "no axis is called `dsb`", "one of solver, deadline, dsp"),
        (["--where", "dsp=3"], "axis `dsp` has no value `3`", "one of 1, 2.5"),
        (["--where", "dsp"], "`dsp` holds no axis at a value", "`AXIS=VALUE`"),
        (["--over", "dsp,solver,deadline"], "a table is over two axes at most, got 3", "`--where deadline=VALUE`"),
        (
            ["--column", "cause_nj", "--over", "dsp,solver"],
            "which are told over one axis, got 2",
            "`--column 'cause_nj.",
        ),
        (["--column", "version"], "column `version.leo-runtime` holds no numbers", "energy_nj"),
    ):
        status, _, err = told("show", path, *arguments)
        assert status == 2 and says in err and hint in err


def test_a_check_counts_the_cells_that_cannot_be_run_and_says_how_a_limit_is_given_to_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = STUDY.replace("window = 0", "window = 0\nlimit_nodes = 9").replace('"greedy"', '"heft", "round-robin"')
    assert main(["study", "check", str(write_study(tmp_path, text))]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("blinks: 12 cells, 4 of them different, 8 cannot be run\n")
    assert said.err.count("an axis of choices") == 2


def test_a_value_that_is_there_anyway_is_worth_no_note_beside_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = '[[axes]]\nvary = "scale-deadlines"\nvalues = [1, 2]\n[[axes]]\nvary = "slow dsp"\nvalues = [1, 2]\n'
    path = write_study(tmp_path, STUDY + more)
    assert main(["study", "check", str(path)]) == 0
    assert not capsys.readouterr().err
    write_study(tmp_path, STUDY.replace("window = 0", 'window = 0\nchanges = ["slow dsp=1"]') + more)
    assert main(["study", "check", str(path)]) == 0
    assert capsys.readouterr().err == "note: `slow dsp=1` changes nothing: the profile says so already\n"


def test_a_correlation_is_that_of_ranks() -> None:
    rows = [{"axis.x": x, "axis.name": "ab"[x % 2], "axis.same": 1, "y": -(x**3)} for x in range(20)]
    by_x, by_name, by_same = effects(rows, "y", ["x", "name", "same"])
    assert by_x.correlation == pytest.approx(-1) and len(by_x.means) == 5
    assert by_name.correlation is None and [name for name, _ in by_name.means] == ["a", "b"]
    assert by_same.correlation is None
    tied = effects([{"axis.x": x, "y": y} for x, y in [(1, 1), (1, 2), (2, 2), (3, 5)]], "y", ["x"])[0]
    assert tied.correlation == pytest.approx(5 / 6)  # Ranks 1.5 1.5 3 4 and 1 2.5 2.5 4.


def test_many_numbers_are_cut_into_parts_of_as_many_values() -> None:
    told, names_ = in_parts([7.5, *range(100, 89, -1)])
    assert names_ == ["7.5 to 91", "92 to 93", "94 to 95", "96 to 97", "98 to 100"][: len(names_)] or len(names_) == 5
    assert told[0] == names_[0] and told[1] == names_[-1]
    assert in_parts(["b", "a", "b"]) == (["b", "a", "b"], ["b", "a"])


def test_published_figures_have_their_units_and_what_came_of_them_here() -> None:
    said = {
        "source": "Somebody, 2017",
        "figures": {"column": "energy_nj", "2, greedy, 0.5": 200_000_000, "of nobody": 1_500_000},
        "speeds": {"unit": "times", "of_one": 1.5, "all": [1, 2], "said": "more"},
        "counts": {"column": "no column", "a": 3},
    }
    study = study_rows.study(published=said)
    found = points(study_rows.rows(), [axis.column for axis in study.axes])
    assert published(study, found) == (
        ("source", "Somebody, 2017"),
        ("figures 2, greedy, 0.5", "200 mJ; here 210.5 mJ"),
        ("figures of nobody", "1.5 mJ"),
        ("speeds of one", "1.5 times"),
        ("speeds all", "1, 2 times"),
        ("speeds said", "more"),
        ("counts column", "no column"),
        ("counts a", "3"),
    )


def test_a_list_has_the_studies_that_ship_and_those_that_have_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "list"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n{name}, " in told for name in names()) and "HaX-CoNN, PPoPP 2024" in told
    assert f"no rows are kept in {tmp_path / 'out'}" in told
    assert main(["study", "run", "hax-conn", "--jobs", "0"]) == 0
    (tmp_path / "out" / "broken.study.sqlite").write_bytes(b"no rows")
    capsys.readouterr()
    assert main(["study", "list"]) == 0
    told, wrong = capsys.readouterr()
    assert f"rows are kept in {tmp_path / 'out'}:\n\nstudy     rows  failed\n" in told
    assert told.endswith("hax-conn    18       0\n")
    assert "broken.study.sqlite" in wrong and "cannot be used as the rows of a study" in wrong


AGAIN = """
from leo_runtime import solve

asked = []

def place(problem):
    asked.append(problem)
    found = solve(problem, "heft")
    if len(asked) < 2:
        return found
    stages = tuple(one.model_copy(update={"lane": 7}) for one in found.stages)
    return found.model_copy(update={"stages": stages})
"""


OFTEN = """
[[graphs]]
name = "often"
period_us = 10_000
deadline_us = 10_000
stages = [{ name = "look", operator = "cost", params = { output_bytes = 1_000 } }]
"""


def test_a_wrong_answer_later_in_a_run_is_told_with_its_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = STUDY.replace('["exact", "greedy"]', '["mine:place"]').replace("repetitions = 2", "repetitions = 1")
    path = str(write_study(tmp_path, text.replace("[4_000, 20_000]", "[4_000]")))
    (tmp_path / "mine.py").write_text(AGAIN)
    workload = tmp_path / "blinks.workload.toml"  # Every second release asks for one pipeline alone.
    workload.write_text(workload.read_text() + OFTEN)
    assert main(["study", "run", path, "--jobs", "0"]) == 1
    told = capsys.readouterr().err
    assert "is wrong: rule 1" in told and re.search(r"\(frame [1-9]\d*, released at [\d,]+ us\)", told)

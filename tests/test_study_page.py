"""The page of a study says what its rows say, and its figures for papers have their data beside them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

import study_rows
from leo_runtime.cli import main
from leo_runtime.report import study_plots
from leo_runtime.report.page.heat import CELLS, LEVELS, PARTS, heat_maps, levels
from leo_runtime.report.page.pareto import front, front_of
from leo_runtime.report.page.study_page import TABLE_CELLS, StudyRows, study_page
from leo_runtime.report.page.study_points import measures, points, short
from leo_runtime.study.document import Study
from leo_runtime.study.rows import better
from pages import Element, read, rows
from small_studies import STUDY, write_study
from test_run_page import ATTRIBUTES, HOSTILE

pytest.importorskip("jinja2")

AXES = ("dsp", "policy", "deadlines")


def page_of(study: Study | None = None, given: list[dict[str, object]] | None = None, **failed: str) -> Element:
    return read(text_of(study, given, **failed))


def text_of(study: Study | None = None, given: list[dict[str, object]] | None = None, **failed: str) -> str:
    study = study or study_rows.study()
    found = study_rows.rows(study) if given is None else given
    return study_page(StudyRows(study, found, study.count, failed), "made.study.toml")


def test_the_headline_has_the_best_of_each_measure_and_where_it_is() -> None:
    page = page_of()
    tiles = [tile.text for tile in page.one("ul", class_="tiles").all("li")]
    assert page.one("h1").text == "What does a made-up question cost?"
    assert "Study made: dsp (3) by policy (2) by deadlines (2), 2 repetitions" in page.text
    assert tiles[0].startswith("cells run 24 of 24")
    assert "100.5 mJ" in tiles[1]
    only = "of those that miss least (0 answers missed)"
    assert f"best at dsp 1, policy exact, deadlines 1, {only}; of all, 100.5 to 410.5 mJ" in tiles[1]
    assert tiles[2] == "answers missed 0 best, 6 of 12 points tie; worst 4"
    assert f"10 h best, 2 of 12 points tie, {only}; of all, 2.5 to 10 h" in tiles[3], (
        "of a battery's life more is better"
    )


def one_measure(column: str, values: Sequence[float], **also: Sequence[float]) -> list[dict[str, object]]:
    """Rows of the policies `a`, `b` and so on."""
    named = {column: values, **also}
    return [
        study_rows.row(k, 0, [("policy", "abcdef"[k])], **{name: of[k] for name, of in named.items()})
        for k in range(len(values))
    ]


def of_policies(**changed: object) -> Study:
    axes = [{"name": "policy", "vary": "solver", "values": ["a", "b", "c"]}]
    return study_rows.study(axes=axes, repetitions=1, **changed)


def first_tile(column: str, values: Sequence[float], **also: Sequence[float]) -> str:
    page = page_of(of_policies(show=[column]), one_measure(column, values, **also))
    return page.one("ul", class_="tiles").all("li")[1].text


def test_the_headline_says_best_worst_ties_and_nothing_where_nobody_can_say() -> None:
    score = [310_900, 997_200, 500_000]
    assert first_tile("xrbench_ppm", score) == "XRBench score 99.72 % best at policy b; worst 31.09 %"
    assert (
        first_tile("graph_p95_us.eyes", [5e3, 5e3, 6e3])
        == "95 % latency of eyes 5 ms best, 2 of 3 points tie; worst 6 ms"
    )
    assert first_tile("runs.gpu", [7, 5, 6]) == "runs of gpu 5 to 7"
    assert first_tile("own_figure", [7, 7, 7]) == "own figure 7 in all cells"


def test_the_least_energy_is_that_of_who_misses_least() -> None:
    energies = [50e6, 60e6, 70e6]
    told = "energy 60 mJ best at policy b, of those that miss least (1 answers missed); of all, 50 to 70 mJ"
    assert first_tile("energy_nj", energies, misses=[9, 1, 1]) == told
    told = "energy 50 mJ best at policy a (2 answers missed); worst 70 mJ"
    assert first_tile("energy_nj", energies, misses=[2, 2, 2]) == told


def heats_of(column: str, values: Sequence[float]) -> list[float]:
    page = page_of(of_policies(show=[column]), one_measure(column, values))
    table = page.one("figure", id="heat-0").one("table")
    assert ("neutral" in (table.attributes["class"] or "")) == (better(column) is None)
    assert ("nobody can say" in page.one("section", id="maps").one("p", class_="lead").text) == (better(column) is None)
    return [float((cell.attributes["style"] or "").removeprefix("--v:")) for cell in table.one("tbody").all("td")]


def test_the_best_is_the_bluest_whichever_way_a_measure_goes() -> None:
    assert heats_of("xrbench_ppm", [1, 3, 2]) == [1, 0, 0.5]
    assert heats_of("energy_nj", [1, 3, 2]) == [0, 1, 0.5]
    assert heats_of("runs.gpu", [1, 3, 2]) == [0, 1, 0.5]


def test_the_front_goes_the_way_of_its_measures_and_nowhere_where_nobody_can_say() -> None:
    def best(column: str) -> list[str]:
        given = one_measure(column, [1, 3, 2], energy_nj=[1e6, 2e6, 3e6])
        circles = page_of(of_policies(show=[column, "energy_nj"]), given).all("circle")
        return [circle.one("title").text for circle in circles if "best" in (circle.attributes["class"] or "")]

    assert best("xrbench_ppm") == ["policy a", "policy b"]
    assert best("graph_p95_us.eyes") == ["policy a"]
    found = points(one_measure("runs.gpu", [1, 3, 2], energy_nj=[1, 2, 3]), ["policy"])
    assert front_of(found, *measures(found, 2, ["runs.gpu", "energy_nj"])) == ([0, 1, 2], [])


def test_a_point_is_the_mean_of_its_repetitions() -> None:
    table = page_of().one("table", id="points-table")
    header = [head.text for head in table.one("thead").all("th")]
    assert header == [*AXES, "energy, mJ", "answers missed", "battery life, h", "repetitions", "energy's spread"]
    found = rows(table)
    assert len(found) == 12
    assert found[0] == ["1", "exact", "0.5", "100.5", "1", "10", "2", "± 0.5 %"]
    assert found[-1] == ["4", "greedy", "1", "410.5", "0", "2.5", "2", "± 0.12 %"]


def test_heat_maps_are_over_numbers_with_a_map_for_each_name() -> None:
    page = page_of()
    first = page.one("figure", id="heat-0")
    assert first.one("h3").text == "energy, mJ over dsp and deadlines"
    exact, greedy = first.all("table")
    assert exact.one("caption").text == "policy exact"
    assert rows(exact) == [["1", "100.5", "100.5"], ["2", "200.5", "200.5"], ["4", "400.5", "400.5"]]
    assert rows(greedy)[2] == ["4", "410.5", "410.5"]
    heats = [float((cell.attributes["style"] or "").removeprefix("--v:")) for cell in exact.one("tbody").all("td")]
    assert heats == [0, 0, 0.323, 0.323, 0.968, 0.968], "one scale for both maps"
    battery = next(one for one in page.all("figure", class_="heat") if one.one("h3").text.startswith("battery life"))
    (table, _) = battery.all("table")
    heats = [float((cell.attributes["style"] or "").removeprefix("--v:")) for cell in table.one("tbody").all("td")]
    assert (heats[0], heats[-1]) == (0, 1), "the longest life is the best"


def test_the_front_is_what_no_other_point_is_better_than() -> None:
    random = Random(5)
    for _ in range(200):
        pairs = [(random.randrange(6), random.randrange(6)) for _ in range(random.randrange(12))]
        plain = {
            k for k, (x, y) in enumerate(pairs) if not any((a <= x and b <= y) and (a < x or b < y) for a, b in pairs)
        }
        assert set(front(pairs)) == plain


def test_points_on_the_front_are_marked() -> None:
    drawing = page_of().one("svg", id="pareto")
    circles = drawing.all("circle")
    assert len(circles) == 12
    best = [circle.one("title").text for circle in circles if "best" in (circle.attributes["class"] or "")]
    assert best == ["dsp 1, policy exact, deadlines 1"]
    assert drawing.children[1].text == "12 points of energy, mJ and answers missed; 1 of them are on the front"


def test_what_was_asked_and_published_is_told() -> None:
    page = page_of()
    asked = {pair.one("dt").text: pair.one("dd").text for pair in page.one("section", id="asked").one("dl").all("div")}
    assert asked["axis dsp"] == "slow dsp: 1, 2, 4"
    assert asked["noise percent"] == "5"
    assert asked["windows, in stages at most"] == "exact - (0: each release alone)"
    assert asked["version of leo-runtime"] == "0.1.0"
    assert asked["length of each run"] == "20 s"
    published = page.one("section", id="published").text
    assert "gain least" in published
    assert "1.6" in published


def test_what_a_study_shows_comes_first_and_a_measure_that_is_nothing_everywhere_is_left_out() -> None:
    found = [row | {"energy_nj": 0} for row in study_rows.rows()]
    told = measures(points(found, AXES), 16, ["graph_p95_us.speech", "not there"])
    assert [one.column for one in told] == ["graph_p95_us.speech", "misses", "battery_s"]
    page = page_of(study_rows.study(show=["battery_s"]))
    assert page.one("span", **{"data-name": "across"}).text == "battery life, h"


def test_cells_that_are_missing_or_failed_are_told_of() -> None:
    page = page_of(None, study_rows.rows()[:-3], **{"23: dsp=4": "its policy <b>broke</b> a rule"})
    assert "2 of 24 cells have not been run yet" in page.text
    assert rows(page.one("table", id="failures-table")) == [["23: dsp=4", "its policy <b>broke</b> a rule"]]


def test_a_study_without_axes_or_rows_has_a_page() -> None:
    one = study_rows.study(axes=[], repetitions=1)
    page = page_of(one, [study_rows.row(0, 0, [], energy_nj=5)])
    assert rows(page.one("table", id="points-table")) == [["5"]]
    assert not page.all("svg", id="pareto")
    assert "24 of 24 cells have not been run yet" in page_of(None, []).text


@pytest.mark.parametrize("seed", range(30))
def test_whatever_a_row_says_there_is_a_page(seed: int) -> None:
    random = Random(seed)
    found = study_rows.rows()
    for _ in range(random.choice((1, 3, 20))):
        row = random.choice(found)
        column = random.choice([*row, "new", "energy_nj", "misses", "axis.dsp"])
        odd = [None, True, "", "<b>", [1, [2]], {"a": 1}, 10**400, float("nan"), float("inf"), -1e308, 0, -5, 1e-300]
        row[column] = random.choice(odd)
        if random.randrange(4) == 0:
            del row[random.choice(list(row))]
    page_of(None, found)


def test_an_axis_of_many_numbers_is_cut_into_parts() -> None:
    assert levels("a", [3, 1, 2, 1]).names == ("1", "2", "3")
    assert levels("a", [3, 1, 2, 1]).of == (2, 0, 1, 0)
    assert levels("a", ["b", "a"]).names == ("b", "a")
    many = levels("a", [k / 10 for k in range(LEVELS + 1)])
    assert len(many.names) == PARTS
    assert (many.of[0], many.of[-1]) == (0, PARTS - 1)
    assert levels("a", [str(k) for k in range(LEVELS + 1)]).of[-1] is None


def test_a_page_stays_small_however_large_the_study() -> None:
    random = Random(1)
    study = study_rows.study(
        repetitions=1,
        axes=[{"name": f"a{k}", "vary": f"graphs.a{k}.period_us", "range": {"low": 0, "high": 9}} for k in range(4)],
        sampling={"kind": "random", "cells": 2_000, "seed": 1},
    )
    found = [
        study_rows.row(
            k,
            0,
            [(f"a{axis}", random.random()) for axis in range(4)],
            energy_nj=random.randrange(10**9),
            misses=random.randrange(50),
            **{f"cause_nj.{cause}": random.randrange(10**9) for cause in range(12)},
        )
        for k in range(2_000)
    ]
    text = text_of(study, found)
    page = read(text)
    assert len(text.encode()) < 800_000
    assert len(page.one("table", id="points-table").all("td")) <= TABLE_CELLS
    (lead,) = page.one("section", id="trade").all("p", class_="lead")
    assert f"({len(page.all('circle'))} of 2000: those on the front" in lead.text
    every = points(found, [f"a{k}" for k in range(4)])
    drawn = heat_maps(every, [f"a{k}" for k in range(4)], measures(every, 16))
    first = sum(len(panel.spots) * len(panel.spots[0]) for panel in drawn[0].panels)
    assert sum(len(panel.spots) * len(panel.spots[0]) for one in drawn for panel in one.panels) <= CELLS + first


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_text_of_a_study_becomes_markup(evil: str) -> None:
    axes = [{"name": evil, "vary": "solver", "values": [evil, "b"]}, {"name": "n", "vary": "seed", "values": [1, 2]}]
    study = study_rows.study(title=evil, axes=axes, published={evil: [evil]}, base={"changes": [evil]}, repetitions=1)
    found = [
        study_rows.row(k, 0, [(evil, value), ("n", k)], energy_nj=k, misses=2 - k)
        | {f"graph_nj.{evil}": k, "solver": evil}
        for k, value in enumerate((evil, "b"))
    ]
    page = page_of(study, found, **{evil: evil})
    assert len(page.all("script")) == 1
    allowed = ATTRIBUTES | {"style", "cx", "cy", "r", "dy", "title", "colspan", "selected", "data-better", "data-way"}
    allowed |= {"data-name"}
    for name in ("svg", "td", "th", "option", "circle", "figure", "b", "img", "line", "text", "title", "p", "h1"):
        for element in page.all(name):
            assert set(element.attributes) <= allowed, element
    assert not page.all("img")
    assert not page.all("b")
    for cell in page.all("td"):
        assert (cell.attributes.get("style") or "--v:").startswith("--v:")
    assert "\x1b" not in page.text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (5, "5"), (1234.5, "1,234"), (0.5, "0.5"), (12.34567, "12.35"), (2e-7, "2e-07"), (-3.25, "-3.25")],
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert short(value) == text


def test_figures_for_papers_have_their_data_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="figures need the extra `report`")
    monkeypatch.setattr(study_plots, "MAPPED", 1)
    write_figures = study_plots.write_figures
    study = study_rows.study()
    found = [{key: value for key, value in row.items() if key != "battery_s"} for row in study_rows.rows()]
    written = write_figures(study, found, tmp_path / "figures")
    assert {path.suffix for path in written} == {".png", ".svg", ".csv"}
    heat = next(path for path in written if path.name == "heat-0-energy_nj.csv")
    with heat.open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["panel", "dsp", "deadlines", "energy_nj"]
    assert table[1] == ["policy exact", "1", "0.5", "100500000.0"]
    assert len(table) == 1 + 12
    with (tmp_path / "figures" / "front-energy_nj-misses.csv").open(encoding="utf-8", newline="") as file:
        points_told = list(csv.reader(file))
    assert [row[:3] for row in points_told if row[-1] == "True"] == [["1", "exact", "1"]]
    again = write_figures(study, found, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]
    svg = heat.with_suffix(".svg").read_text(encoding="utf-8")
    assert "policy exact" in svg, "letters stay letters"


def test_the_command_writes_the_page_beside_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, STUDY.replace("repetitions = 2", "repetitions = 1").replace("seconds = 1", "seconds = 0.1"))
    assert main(["report", "blinks.study.toml"]) == 2
    assert "hint: `leo-runtime study run STUDY` runs it" in capsys.readouterr().err
    assert main(["study", "run", "blinks.study.toml", "--jobs", "0"]) == 0
    capsys.readouterr()
    assert main(["report", "blinks.study.toml"]) == 0
    assert capsys.readouterr().out == f"written: {Path('out') / 'blinks.study.html'}\n"
    page = read((tmp_path / "out" / "blinks.study.html").read_text(encoding="utf-8"))
    assert len(rows(page.one("table", id="points-table"))) == 4
    assert main(["report", "blinks.study.toml", "--solver", "exact,heft", "--out", "two.html"]) == 0
    assert "2 of 4 cells have not been run yet" in (tmp_path / "two.html").read_text(encoding="utf-8")
    assert main(["report", "blinks.study.toml", "--solver", "exact,heft"]) == 0
    assert (tmp_path / "out" / "blinks.exact+heft.study.html").is_file()
    assert main(["report", "blinks.study.toml", "--where", "solver=exact"]) == 0
    page = read((tmp_path / "out" / "blinks.solver=exact.study.html").read_text(encoding="utf-8"))
    assert len(rows(page.one("table", id="points-table"))) == 2
    assert "deadline (2), solver=exact" in page.text or "solver (2) by deadline (2), solver=exact" in page.text
    assert main(["study", "run", "hax-conn", "--jobs", "0"]) == 0
    assert main(["report", "hax-conn"]) == 0
    assert (tmp_path / "out" / "hax-conn.study.html").is_file()
    for wrong in (
        ["--frame", "3"],
        ["--out", "blinks.study.toml"],
        ["--rows", "elsewhere"],
        ["--where", "solver=best"],
    ):
        assert main(["report", "blinks.study.toml", *wrong]) == 2
    with pytest.raises(SystemExit, match="2"):
        main(["report", "blinks.study.toml", "--solver", "exact,,heft"])
    assert 'expected names between commas, got "exact,,heft"' in capsys.readouterr().err


def test_a_search_has_its_front_and_the_best_of_what_is_within_bounds() -> None:
    asked = {"minimise": ["energy_nj"], "maximise": ["battery_s"], "at_most": {"misses": 0}}
    axes = [{**axis, "values": axis["values"]} for axis in study_rows.DOCUMENT["axes"]]
    study = study_rows.study(search=asked, axes=axes)
    found = [
        {**row, "energy_nj": row["energy_nj"] - (10**8 if row["axis.deadlines"] == 0.5 else 0)}
        for row in study_rows.rows()
    ]
    page = read(study_page(StudyRows(study, found, study.count, {}), "made.study.toml"))
    front = page.one("table", id="front-table")
    assert [line[:3] for line in rows(front)] == [["1", "exact", "1"]]
    tiles = page.one("ul", class_="tiles").text
    assert "on the front" in tiles and "6 points within bounds" in tiles
    assert "100.5" in tiles  # With half the deadlines it is less, and missed.
    assert len([one for one in page.all("circle") if "all" in (one.attributes["class"] or "").split()]) == 1


def test_maps_of_cells_that_were_drawn_are_cut_into_parts() -> None:
    drawn = {"sampling": {"kind": "latin", "cells": 12, "seed": 0}}
    axes = [{"name": name, "vary": f"slow {name}", "range": {"low": 0, "high": 1}} for name in ("dsp", "gpu")]
    study = study_rows.study(axes=axes, repetitions=1, **drawn)
    found = [
        study_rows.row(k, 0, [("dsp", k / 12), ("gpu", (5 * k % 12) / 12)], energy_nj=10**6 * (k + 1))
        for k in range(12)
    ]
    page = read(study_page(StudyRows(study, found, 12, {}), "made.study.toml"))
    table = page.one("figure", id="heat-0").one("table")
    assert len(rows(table)) == 5 and "0 to 0.1667" in table.text

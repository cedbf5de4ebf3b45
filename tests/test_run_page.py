"""The page of a run says what its log says, and nothing in a log can become markup."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import run_logs
import small_studies
from leo_runtime.cli import main
from leo_runtime.errors import InputError, MissingExtraError
from leo_runtime.replay.log_reader import read_log
from leo_runtime.report import study_plots
from leo_runtime.report.page import chosen, gantt, render, run_page
from pages import Element, read, rows
from run_logs import end, energy, entry, frame, head, run, seen, send

pytest.importorskip("jinja2")

FIRST = frame(
    0,
    0,
    [run("hear", "dsp", 0, 400_000), run("tell", "cpu[1]", 401_000, 421_000)],
    [send("hear", "dsp", "cpu", 400_000, 401_000)],
    wakes=[{"resource": "cpu", "at_us": 390_000}],
)
LATE = frame(
    1,
    1_000_000,
    [run("hear", "dsp", 1_000_000, 1_400_000), run("tell", "dsp", 1_400_000, 1_600_000, planned_end_us=1_500_000)],
)
LOST = frame(
    2,
    2_000_000,
    [run("hear", "dsp", 2_000_000, 2_100_000, outcome="failed", error="it broke", nj=5)],
    graphs=[seen(graph, 2_000_000, 2_100_000, outcome="failed") for graph in ("knock", "level")],
    reason="it broke",
)
REST = energy(
    entry("wake-up", "cpu", 390_000, 390_000, 7_000, frame=0, graphs=["knock"]),
    entry("awake", "cpu", 400_000, 421_000, 1_050_000, frame=0, graphs=["knock"]),
    entry("idle tail", "cpu", 421_000, 441_000, 1_000_000, frame=0, graphs=["knock", "level"]),
    entry("asleep", "dsp", 2_100_000, 10_000_000, 333),
)
WHOLE = (head(), FIRST, LATE, LOST, REST, end(3, 0))


def page_of(folder: Path, *parts: Any, frames: tuple[int, ...] = ()) -> Element:
    return read(text_of(folder, *parts, frames=frames))


def text_of(folder: Path, *parts: Any, frames: tuple[int, ...] = ()) -> str:
    with read_log(run_logs.write(folder, *parts)) as log:
        return run_page.run_page(log, folder.name, frames)


def test_the_headline_is_what_the_log_comes_to(tmp_path: Path) -> None:
    page = page_of(tmp_path, *WHOLE)
    (tiles,) = page.all("ul", class_="tiles")
    figures = {tile.all("span")[0].text: tile for tile in tiles.all("li")}
    nj = 900_000 + 800_000 + 1000 + 900_000 + 500 + 5 + 7_000 + 1_050_000 + 1_000_000 + 333
    assert figures["energy"].all("span")[1].text == f"{nj / 1e3:.1f} uJ"
    assert figures["energy"].all("span")[2].text == f"{nj / 10_000_000:,.4g} mW on average"
    assert figures["answered"].all("span")[1].text == "4 of 6"
    assert figures["late"].text.split()[:2] == ["late", "1"]
    assert "the worst by 100 ms" in figures["late"].text
    assert "bad" in (figures["late"].attributes["class"] or "")
    assert figures["failed"].text.split()[1] == "2"
    assert page.one("h1").text == "w on m"


def test_bars_are_where_the_runs_were(tmp_path: Path) -> None:
    page = page_of(tmp_path, *WHOLE)
    drawing = page.one("svg", id="frame-0-chart")
    with read_log(tmp_path) as log:
        from_us, until_us = gantt.span(log.at(0))
    bars = {bar.one("title").text.split(":")[0]: bar for bar in drawing.all("g") if bar.all("title")}
    assert {"hear", "tell", "output of hear", "cpu waking up", "cpu awake", "cpu idle, not yet asleep"} <= set(bars)
    tell = bars["tell"].one("rect").attributes
    assert float(tell["x"].rstrip("%")) == pytest.approx(100 * 401_000 / (until_us - from_us), abs=1e-3)
    assert float(tell["width"].rstrip("%")) == pytest.approx(100 * 20_000 / (until_us - from_us), abs=1e-3)
    assert "401 to 421 ms (20 ms) · cpu 1 · for knock" in bars["tell"].one("title").text
    waking = bars["cpu waking up"].one("rect").attributes
    assert float(waking["width"].rstrip("%")) == pytest.approx(100 * 10_000 / (until_us - from_us), abs=1e-3)
    assert len(drawing.all("g", class_="waking")) == 1, "the entry and the line tell of the same"
    names = [text.text for text in page.one("figure", id="frame-0").one("svg", class_="names").all("text")]
    assert names == ["dsp", "lane 0", "cpu", "lane 1", "dsp → cpu"]


def test_a_run_that_went_otherwise_than_planned_shows_both(tmp_path: Path) -> None:
    drawing = page_of(tmp_path, *WHOLE).one("svg", id="frame-1-chart")
    (planned,) = drawing.all("g", class_="planned")
    assert planned.one("title").text == "tell as planned: 400 to 500 ms (100 ms)"
    assert "as planned, where it went otherwise" in page_of(tmp_path, *WHOLE).text
    assert "as planned, where it went otherwise" not in page_of(tmp_path, head(), FIRST, end(1, 0)).text
    assert [due.one("text").text for due in drawing.all("g", class_="due")] == ["knock, level due"]
    assert drawing.all("g", class_="missed")


def test_the_table_beside_a_chart_has_the_same(tmp_path: Path) -> None:
    page = page_of(tmp_path, *WHOLE)
    assert rows(page.one("table", id="frame-0-work")) == [
        ["hear", "dsp 0", "done", "0", "400", "400", "0.9", "knock, level"],
        ["output of hear", "dsp → cpu", "sent", "400", "401", "1", "0.001", "knock"],
        ["tell", "cpu 1", "done", "401", "421", "20", "0.8", "knock"],
    ]
    assert rows(page.one("table", id="frame-1-answers")) == [
        ["knock", "answered", "", "600", "500", "-100"],
        ["level", "answered", "", "400", "500", "100"],
    ]
    assert rows(page.one("table", id="failures-table")) == [["2", "2", "it broke"]]


def test_energy_is_divided_as_the_log_divides_it(tmp_path: Path) -> None:
    page = page_of(tmp_path, *WHOLE)
    resources = page.one("table", id="energy-resources")
    header = [head.text for head in resources.one("thead").all("th")]
    assert header == ["energy uJ", "run", "failed run", "transfer", "wake-up", "awake", "idle tail", "asleep", "total"]
    assert rows(resources)[0] == ["cpu", "800.0", "-", "-", "7.0", "1050.0", "1000.0", "-", "2857.0"]
    keys = [float(row.children[-1].attributes["data-v"] or 0) for row in resources.one("tbody").all("tr")]
    assert sum(keys) == sum(
        float(row.children[-1].attributes["data-v"] or 0)
        for row in page.one("table", id="energy-pipelines").one("tbody").all("tr")
    )
    bars = page.one("svg", id="by-pipeline").all("title")
    assert "level, idle tail: 500.0 uJ" in [bar.text for bar in bars]


def test_power_over_time_is_all_the_energy(tmp_path: Path) -> None:
    table = page_of(tmp_path, *WHOLE).one("table", id="power-table")
    told = [float(row.children[-2].attributes["data-v"] or 0) for row in table.one("tbody").all("tr")]
    nj = 900_000 + 800_000 + 1000 + 900_000 + 500 + 5 + 7_000 + 1_050_000 + 1_000_000 + 333
    assert sum(told) * 10_000_000 / len(told) == pytest.approx(nj, rel=1e-9)
    missed = [(row[0], row[-1]) for row in rows(table) if row[-1] != "0"]
    assert missed == [("1", "1"), ("2", "2")]


def test_latencies_are_counted_and_those_after_the_deadline_stand_out(tmp_path: Path) -> None:
    page = page_of(tmp_path, *WHOLE)
    drawing = page.one("svg", id="latency-0")
    counted = [bar.text.partition(" answered")[0] for bar in drawing.all("title")[1:]]
    assert sum(map(int, counted)) == 2
    (late,) = drawing.all("rect", class_="late")
    assert late.one("title").text == "1 answered after 600 to 620 ms"
    assert "deadline 500 ms" in drawing.text


def test_what_was_asked_and_what_was_modelled_are_told(tmp_path: Path) -> None:
    text = page_of(tmp_path, head(noise_ppm=50_000, seed=7, changes=["slow dsp=3"]), FIRST, end(1, 0)).text
    assert "modelled: as the profile says, spread by 5 % from seed 7" in text
    assert "modelled for 2 (1.7 mJ)" in text.replace("1700.0 uJ", "1.7 mJ")
    assert "slow dsp=3" in text
    assert "knock every 1,000 ms within 500 ms" in text
    real = page_of(tmp_path, head(time="real"), FIRST, end(1, 0)).text
    assert "measured, as they ran" in real


HOSTILE = (
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "--><!--",
    "&lt;b&gt;\x1b[31m\u202e",
)


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_text_of_a_log_becomes_markup(tmp_path: Path, evil: str) -> None:
    told = head(policy=evil, changes=[evil], models={evil: "0123456789abcdef"}, version=evil)
    told["recording"] = {"name": evil, "given": evil, "digest": "0123456789abcdef"}
    for part in ("workload", "hardware", "profile"):
        text = json.dumps(told[part]).replace('"hear"', json.dumps(evil)).replace('"knock"', json.dumps(evil))
        told[part] = json.loads(text.replace('"dsp"', json.dumps(evil)))
    work = [
        {**run("hear", "dsp", 0, 400_000, variant=evil), "stage": evil, "resource": evil, "graphs": [evil]},
        run("tell", "cpu", 400_000, 450_000, outcome="failed", error=evil, graphs=[evil]),
    ]
    sent = {
        **send("hear", "dsp", "cpu", 1, 2, graphs=[evil]),
        "stage": evil,
        "source": evil,
        "resource": evil,
        "lane": 0,
    }
    answers = [{**seen("knock", 0, 600_000, label=evil), "graph": evil}, seen("level", 0, 1, outcome="failed")]
    parts = (
        told,
        frame(0, 0, work, [sent], graphs=answers, reason=evil, wakes=[{"resource": evil, "at_us": 5}]),
        energy(entry("awake", evil, 0, 9, 5, graphs=[evil])),
        end(1, 0),
    )
    page, plain = page_of(tmp_path / "evil", *parts), page_of(tmp_path / "plain", *WHOLE)
    assert len(page.all("script")) == 1
    assert page.one("script").text == plain.one("script").text
    for element in [one for name in _names(page) for one in page.all(name)]:
        assert not [name for name in element.attributes if name.startswith("on")], element.attributes
        assert set(element.attributes) <= ATTRIBUTES, element
    assert _names(page) <= _names(plain) | {"tspan"}
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


TOLD = """
id class x y x1 x2 y1 y2 dx rx d width height viewbox preserveaspectratio text-anchor role aria-label tabindex
aria-labelledby aria-hidden aria-live hidden href scope type name content charset http-equiv lang value data-v
data-us data-for data-step data-zoom data-first
"""
ATTRIBUTES = frozenset(TOLD.split())


def _names(element: Element) -> set[str]:
    found = {child.name for child in element.children}
    for child in element.children:
        found |= _names(child)
    return found


def test_the_script_that_runs_is_the_one_that_may() -> None:
    text = render.page("base.html", title="t", name="n", subtitle="s", warnings=["<b>"])
    assert "&lt;b&gt;" in text
    digest = text.partition("script-src '")[2].partition("'")[0]
    script = text.partition("<script>")[2].partition("</script>")[0]
    assert digest == "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in text


AGAIN = """
import sys
from pathlib import Path
from leo_runtime.replay.log_reader import read_log
from leo_runtime.report import study_plots
from leo_runtime.report.page.run_page import run_page
with read_log(sys.argv[1]) as log:
    sys.stdout.write(run_page(log, "run"))
"""


def test_a_run_has_the_same_page_each_time(tmp_path: Path) -> None:
    folder = run_logs.write(tmp_path, *WHOLE)
    with read_log(folder) as log:
        text = run_page.run_page(log, "run")
    read(text)
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(folder)],
        env={"PYTHONHASHSEED": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == text


def test_a_page_stays_small_however_long_the_run(tmp_path: Path) -> None:
    many = [
        frame(
            k,
            k * 1_000_000,
            [run(f"s{j % (k + 3)}#{j}", f"cpu[{j % 2}]", k * 1_000_000 + j * 1000, k * 1_000_000 + j * 1000 + 900)
             for j in range(600 if k < 5 else 3)],
        )
        for k in range(400)
    ]  # fmt: skip
    text = text_of(tmp_path, head(end_us=400_000_000), *many, end(400, 0, 400_000_000))
    assert len(text.encode()) < 600_000
    page = read(text)
    assert "200 bars are left out" in page.text.replace("1200", "200")
    assert "200 more frames are in the log" in page.text
    assert len(page.all("figure", class_="frame")) < chosen.FRAMES


def test_frames_with_charts_are_those_a_reader_would_ask_for(tmp_path: Path) -> None:
    page = page_of(tmp_path, *WHOLE)
    options = [option.text for option in page.one("select").all("option")]
    assert options == [
        "frame 0, 0 s: took most energy",
        "frame 1, 1 s: late",
        "frame 2, 2 s: failed",
    ]
    assert page.one("div", id="frames").attributes["data-first"] == "frame-1"


def test_frames_can_be_asked_for(tmp_path: Path) -> None:
    page = page_of(tmp_path, *WHOLE, frames=(2, 0))
    assert [figure.attributes["id"] for figure in page.all("figure", class_="frame")] == ["frame-0", "frame-2"]
    with pytest.raises(InputError, match="there is no frame 9"):
        text_of(tmp_path, *WHOLE, frames=(9,))


def test_what_else_was_worked_on_is_drawn_paler(tmp_path: Path) -> None:
    second = frame(1, 100_000, [run("hear", "dsp", 400_000, 500_000)])
    drawing = page_of(tmp_path, head(), FIRST, second, end(2, 0)).one("svg", id="frame-0-chart")
    (other,) = drawing.all("g", class_="other")
    assert other.one("title").text.endswith("of frame 1")


@pytest.mark.parametrize(
    "parts",
    [(head(),), (head(), frame(0, 0, status="unplaced", criteria=None, skipped=True, graphs=[])), (head(), FIRST)],
    ids=["no frame", "a skipped frame", "no end"],
)
def test_a_run_that_is_not_whole_has_a_page_that_says_so(tmp_path: Path, parts: tuple[Any, ...]) -> None:
    page = page_of(tmp_path, *parts)
    assert "The run is not whole" in page.one("p", class_="warning").text


def test_a_log_of_the_first_format_has_a_page(tmp_path: Path) -> None:
    names = {"workload": "w", "hardware": "h", "profile": "p", "recording": "r", "solver_on": "cpu"}
    first = {"format": "leo-log/1", "policy": "exact", "time": "virtual", "start_us": 0, "end_us": 1_000_000, **names}
    line = {key: value for key, value in FIRST.items() if key not in ("kind", "wakes")}
    for part in ("stages", "transfers"):
        line[part] = [{key: value for key, value in one.items() if key != "graphs"} for one in line[part]]
    (tmp_path / "log.jsonl").write_text(run_logs.lines(first, {**line, "solve_us": 5, "solver_nj": 40}))
    with read_log(tmp_path) as log:
        page = read(run_page.run_page(log, "old"))
    assert "does not hold the energy of waking up" in page.text
    assert page.one("h1").text == "w on h"
    assert page.all("svg", id="frame-0-chart")


def test_the_command_writes_the_page_beside_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_logs.write(tmp_path / "a run", *WHOLE)
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"written: {folder / 'report.html'}\n"
    page = read((folder / "report.html").read_text(encoding="utf-8"))
    assert page.one("p", class_="kicker").text == "leo-runtime · a run"
    assert main(["report", str(folder), "--out", str(folder / "log.jsonl")]) == 2
    assert "is what is read, and would be lost" in capsys.readouterr().err
    assert main(["report", str(folder), "--frame", "7"]) == 2
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "hint: such as" in capsys.readouterr().err


def test_without_jinja2_it_says_which_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match="making a page needs the extra `page`"):
        render.require_jinja2()
    folder = run_logs.write(tmp_path, *WHOLE)
    assert main(["report", str(folder)]) == 2
    assert not (folder / "report.html").exists()


def test_every_command_on_the_page_about_pages_works_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parent.parent / "docs" / "reports.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run_logs.write(tmp_path / "out" / "demo.virtual", head(), *(frame(k, k * 100_000) for k in range(41)), end(41, 0))
    short = small_studies.STUDY.replace("seconds = 1", "seconds = 0.1").replace("repetitions = 2", "repetitions = 1")
    small_studies.write_study(tmp_path, short.replace('name = "blinks"', 'name = "first"'), "first.study.toml")
    commands = [line.split("#")[0].split()[1:] for line in text.splitlines() if line.startswith("    leo-runtime ")]
    assert [command[0] for command in commands] == ["report", "report", "study", "report", "report"]
    if importlib.util.find_spec("matplotlib") is None:
        commands = [command for command in commands if "--figures" not in command]
    monkeypatch.setattr(study_plots, "MAPPED", 1)
    for command in commands:
        assert main([*command, "--jobs", "0"] if command[0] == "study" else command) == 0
    assert (tmp_path / "out" / "demo.virtual" / "report.html").is_file()
    assert (tmp_path / "out" / "first.study.html").is_file()
    assert len(read((tmp_path / "frames.html").read_text(encoding="utf-8")).all("figure", class_="frame")) == 2

"""Pages in a real browser: what is there, that it is silent, asks for nothing, sorts, zooms, gets dark, and prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import run_logs
import study_rows
from leo_runtime.cli import main
from leo_runtime.report.page.study_page import StudyRows, study_page
from pages import chromium
from test_run_page import WHOLE

pytest.importorskip("jinja2")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
pytestmark = pytest.mark.skipif(chromium() is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        # As root it starts without its sandbox alone, and it is our own page that it reads.
        started = running.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def run_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = run_logs.write(tmp_path_factory.mktemp("run"), *WHOLE)
    assert main(["report", str(folder)]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def of_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = study_rows.study()
    path = tmp_path_factory.mktemp("study") / "study.html"
    path.write_text(
        study_page(StudyRows(study, study_rows.rows(), study.count, {}), "made.study.toml"), encoding="utf-8"
    )
    return path


class Looked:
    """A page that is open, with all that it said and asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1200, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page.set_default_timeout(10_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        assert self.asked == [path.as_uri()]

    def __enter__(self) -> Looked:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert self.said == []
        assert len(self.asked) == 1

    def is_within_its_width(self) -> bool:
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def ground(self) -> tuple[int, ...]:
        """The colour behind everything."""
        colour = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return tuple(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


def test_one_frame_is_shown_and_others_can_be_chosen(browser: Any, run_page: Path) -> None:
    with Looked(browser, run_page) as looked:
        page = looked.page
        assert page.locator("figure.frame:visible").count() == 1
        assert page.locator("#frame-1").is_visible()
        page.get_by_label("Next frame").click()
        assert page.locator("#frame-2").is_visible()
        page.locator("select").select_option("frame-0")
        assert page.locator("#frame-0").is_visible()
        page.locator("#frames-table a[href='#frame-2']").click()
        assert page.locator("#frame-2").is_visible()
        assert page.locator("figure.frame:visible").count() == 1
        page.locator("#frame-2-chart g.failed rect").hover()
        assert "it broke" in page.locator("#frame-2 .told").inner_text()


def test_a_chart_is_made_wider_and_letters_keep_their_shape(browser: Any, run_page: Path) -> None:
    with Looked(browser, run_page, 600) as looked:
        page = looked.page
        page.locator("select").select_option("frame-0")
        chart = page.locator("#frame-0-chart")
        bar = chart.locator("g.b.h0 rect")
        before, marks = bar.bounding_box(), chart.locator(".grid text").count()
        assert not chart.get_by_text("tell", exact=True).is_visible()
        page.get_by_label("Wider").click(click_count=1)
        page.locator("#frame-0 .scroll").press("+")
        after = bar.bounding_box()
        assert after["width"] > 3 * before["width"]
        assert after["height"] == before["height"]
        assert chart.get_by_text("tell", exact=True).is_visible()
        assert chart.locator(".grid text").count() > marks
        assert looked.is_within_its_width()
        page.get_by_role("button", name="fit").click()
        assert bar.bounding_box()["width"] == pytest.approx(before["width"], abs=1)


def test_a_click_on_a_columns_name_sorts_by_it(browser: Any, run_page: Path) -> None:
    with Looked(browser, run_page) as looked:
        table = looked.page.locator("#stages-table")

        def column(number: int) -> list[str]:
            return table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()

        table.get_by_role("button", name="mean ms").click()
        assert column(7) == ["20", "200", "400"]
        assert table.locator("th[aria-sort=ascending]").inner_text().startswith("mean ms")
        table.get_by_role("button", name="mean ms").click()
        assert column(7) == ["400", "200", "20"]
        table.get_by_role("button", name="stage").click()
        assert column(1) == ["hear", "tell", "tell"]
        assert table.locator("th[aria-sort]").count() == 1


def test_it_is_dark_where_that_is_wanted(browser: Any, run_page: Path) -> None:
    with Looked(browser, run_page) as light, Looked(browser, run_page, scheme="dark") as dark:
        assert min(light.ground()) > 200
        assert max(dark.ground()) < 60


@pytest.mark.parametrize("which", ["run_page", "of_study"])
@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_phone_need_not_scroll_sideways(browser: Any, request: pytest.FixtureRequest, which: str, width: int) -> None:
    with Looked(browser, request.getfixturevalue(which), width) as looked:
        assert looked.is_within_its_width()
        looked.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        assert looked.is_within_its_width()


def test_it_prints_without_what_only_a_screen_needs(browser: Any, run_page: Path) -> None:
    with Looked(browser, run_page, scheme="dark") as looked:
        looked.page.get_by_label("Wider").click()
        assert looked.page.pdf(format="A4").startswith(b"%PDF")
        assert looked.page.locator("details.printed[open]").count() == 0, (
            "what was opened to be printed is closed again"
        )
        looked.page.emulate_media(media="print", color_scheme="dark")
        looked.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert "how long runs took" in looked.page.locator("#headline dl").inner_text()
        assert looked.ground() == (255, 255, 255)
        assert not looked.page.locator(".controls").is_visible()
        wide = looked.page.locator("#frame-1-chart").bounding_box()["width"]
        assert wide <= looked.page.locator("#frame-1").bounding_box()["width"]


def test_without_its_script_all_is_there(browser: Any, run_page: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(run_page.as_uri())
    assert page.locator("figure.frame:visible").count() == 3
    assert not page.locator(".controls").is_visible()
    page.close()


def test_nothing_that_was_smuggled_in_would_run(browser: Any, run_page: Path, tmp_path: Path) -> None:
    """Even where markup of a log were not escaped, the page's policy lets no other script run."""
    text = run_page.read_text(encoding="utf-8").replace("</main>", "<script>document.title = 'run'</script></main>")
    bad = tmp_path / "bad.html"
    bad.write_text(text, encoding="utf-8")
    page = browser.new_page()
    page.goto(bad.as_uri())
    assert page.title() == "w on m"
    page.close()


def test_heat_maps_are_chosen_by_name(browser: Any, of_study: Path) -> None:
    with Looked(browser, of_study) as looked:
        page = looked.page
        assert page.locator("figure.heat:visible").count() == 1
        best, worst = (page.locator("#heat-0 tbody td").nth(at) for at in (0, -1))
        assert best.evaluate(COLOUR) != worst.evaluate(COLOUR)
        page.locator("#maps select").select_option(label="answers missed over dsp and deadlines")
        assert page.locator("figure.heat:visible h3").inner_text() == "answers missed over dsp and deadlines"


COLOUR = "cell => getComputedStyle(cell).backgroundColor"


def test_points_of_any_two_measures_can_be_drawn(browser: Any, of_study: Path) -> None:
    with Looked(browser, of_study) as looked:
        page = looked.page
        drawing = page.locator("#pareto")

        def on_the_front() -> list[str]:
            titles = drawing.locator("circle.best > title").all_text_contents()
            return [title.partition(":")[0] for title in titles]

        # As the server had drawn it,
        assert on_the_front() == ["dsp 1, policy exact, deadlines 1"]
        # and with a measure of which more is better: both deadlines have the longest life and the least energy.
        page.locator("select[data-way=up]").select_option(label="battery life, h")
        assert on_the_front() == ["dsp 1, policy exact, deadlines 0.5", "dsp 1, policy exact, deadlines 1"]
        page.locator("select[data-way=across]").select_option(label="answers missed")
        assert len(on_the_front()) == 2
        assert page.locator("#trade h3").inner_text() == "battery life, h against answers missed"
        page.locator("#points-table").get_by_role("button", name="energy, mJ").click()
        page.locator("select[data-way=up]").select_option(label="energy, mJ")
        assert on_the_front() == ["dsp 1, policy exact, deadlines 1"], "sorting the table moves no point"
        drawing.locator("circle.best").hover()
        assert "energy, mJ 100.5" in page.locator("#pareto-figure .told").inner_text()


def test_the_front_of_a_score_is_the_other_way_round_and_of_runs_there_is_none(browser: Any, tmp_path: Path) -> None:
    study = study_rows.study(axes=[{"name": "n", "vary": "seed", "values": [1, 2, 3]}], repetitions=1)
    measured = [
        study_rows.row(k, 0, [("n", k + 1)], energy_nj=(k + 1) * 10**8, xrbench_ppm=[1, 3, 2][k], **{"runs.gpu": k})
        for k in range(3)
    ]
    path = tmp_path / "study.html"
    path.write_text(study_page(StudyRows(study, measured, 3, {}), "made.study.toml"), encoding="utf-8")
    with Looked(browser, path) as looked:
        page = looked.page
        front = page.locator("#pareto circle.best > title")
        page.locator("select[data-way=across]").select_option(label="energy, mJ")
        page.locator("select[data-way=up]").select_option(label="XRBench score, %")
        assert [title.partition(":")[0] for title in front.all_text_contents()] == ["n 1", "n 2"]
        page.locator("select[data-way=up]").select_option(label="runs of gpu")
        assert front.count() == 0

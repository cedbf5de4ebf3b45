"""What the pages show is true: their links lead somewhere, and their examples run."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from leo_runtime.documents import Document
from leo_runtime.graph import Workload
from leo_runtime.hardware import Hardware
from leo_runtime.problem import Placement, Problem
from leo_runtime.profiles import Profile
from leo_runtime.solver import solve
from leo_runtime.traces import RecordingManifest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "leo_runtime").rglob("*.md")])
MODELS: dict[str, type[Document]] = {
    "leo-problem/1": Problem,
    "leo-placement/1": Placement,
    "leo-workload/1": Workload,
    "leo-hardware/1": Hardware,
    "leo-profile/1": Profile,
    "leo-recording/1": RecordingManifest,
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def documents() -> list[Any]:
    """Every JSON or TOML block of a page that is a whole document."""
    found = []
    for page in PAGES:
        parsed = [*map(json.loads, blocks(page, "json")), *map(tomllib.loads, blocks(page, "toml"))]
        found += [pytest.param(data, id=f"{page.name}-{data['format']}") for data in parsed if "format" in data]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("data", documents())
def test_documents_on_a_page_are_valid(data: dict[str, Any]) -> None:
    MODELS[data["format"]].from_dict(data)


def test_the_problem_on_its_page_is_answered() -> None:
    page = ROOT / "docs" / "placement-problem.md"
    problem = Problem.from_json(blocks(page, "json")[0])
    answer = solve(problem)
    assert answer.status == "optimal"
    assert {run.stage: run.resource for run in answer.stages} == {"features": "dsp", "model": "gpu"}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_on_a_page_runs_and_prints_what_the_page_says(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {"__name__": "page"})
        for line in capsys.readouterr().out.splitlines():
            assert line in page.read_text(), f"{page.name} does not show what its example prints: {line}"

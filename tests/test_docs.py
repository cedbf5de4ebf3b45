"""What the pages show is true: their links lead somewhere, and their examples run."""

import json
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from leo_runtime.documents import Document
from leo_runtime.graph import Workload
from leo_runtime.hardware import Hardware
from leo_runtime.problem import Placement, Problem
from leo_runtime.profiles import Profile
from leo_runtime.solver import SOLVERS, solve
from leo_runtime.solver.baselines import POLICIES
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


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_found_from_the_readme(page: Path) -> None:
    more = (ROOT / "README.md").read_text().split("## More")[1]
    assert f"](docs/{page.name})" in more


@pytest.mark.parametrize("data", documents())
def test_documents_on_a_page_are_valid(data: dict[str, Any]) -> None:
    MODELS[data["format"]].from_dict(data)


def test_the_problem_on_its_page_is_answered() -> None:
    page = ROOT / "docs" / "placement-problem.md"
    problem = Problem.from_json(blocks(page, "json")[0])
    answer = solve(problem)
    assert answer.status == "optimal"
    assert {run.stage: run.resource for run in answer.stages} == {"features": "dsp", "model": "gpu"}


def test_the_problem_on_its_page_is_also_a_file() -> None:
    page = ROOT / "docs" / "placement-problem.md"
    assert Problem.from_file(ROOT / "docs" / "examples" / "frame.json") == Problem.from_json(blocks(page, "json")[0])


def test_every_solver_is_in_the_table_of_solvers() -> None:
    table = (ROOT / "docs" / "placement-problem.md").read_text().split("## Solvers and policies")[1]
    named = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(SOLVERS)
    for policy, preferences in POLICIES.items():
        order = ", then ".join(f"`{name}`" for name in preferences)
        assert f"| `{policy}` | the policy {order} |" in table


def test_a_policy_takes_what_is_there_where_its_own_processors_are_not() -> None:
    text = (ROOT / "docs" / "examples" / "frame.json").read_text()
    renamed = Problem.from_json(text.replace('"dsp"', '"left"').replace('"gpu"', '"right"'))
    for policy in POLICIES:
        assert {run.resource for run in solve(renamed, policy).stages} == {"left"}


def examples(page: Path) -> list[tuple[str, str]]:
    """Every piece of Python of a page, and what the page says that it prints: the indented lines below "prints"."""
    found = []
    for code, after in re.findall(
        r"^```python\n(.*?)^```$(.*?)(?=^```|\Z)", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        paragraph, *rest = after.strip("\n").split("\n\n")
        says = re.search(r"\bprints?\b", paragraph) is not None
        found.append((code, textwrap.dedent(rest[0]).strip("\n") if says else ""))
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.name)
def test_python_on_a_page_runs_and_prints_what_the_page_says(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    assert len(examples(page)) == len(blocks(page, "python"))
    for code, says in examples(page):
        exec(compile(code, page.name, "exec"), {"__name__": "page"})
        assert capsys.readouterr().out.strip("\n") == says

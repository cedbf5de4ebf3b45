"""What docs/questions.md asks about runs of the demo is answered as it says, to the letter."""

import importlib.util
import re
from pathlib import Path

import pytest

from leo_backends import tflite
from leo_runtime.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "questions.md"
FIRST = "## Where to look first"
"""The commands above it make the runs that the rest is about."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pymicro_features") is None or not tflite.is_available(), reason="needs the extra `demo`"
)


def consoles() -> list[tuple[str, str]]:
    """Every command that is shown with what it prints."""
    return re.findall(r"^```console\n\$ leo-runtime (.*)\n((?:.*\n)*?)```$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the runs of the page were made."""
    folder = tmp_path_factory.mktemp("questions")
    above = PAGE.read_text().split(FIRST)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in re.findall(r"^    leo-runtime (replay .*)$", above, re.MULTILINE):
            assert main(command.split()) == 0
    return folder


@pytest.mark.parametrize(("command", "says"), consoles(), ids=[command for command, _ in consoles()])
def test_a_question_is_answered_as_the_page_has_it(
    runs: Path, command: str, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    assert main(command.split()) == 0
    assert capsys.readouterr().out == says
    assert max(map(len, says.splitlines())) <= 80


def test_the_page_asks_every_kind_of_question() -> None:
    assert {command.split()[0] for command, _ in consoles()} == {"explain", "compare"}


def test_tables_are_written_and_read_as_the_page_says(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra `tables`", exc_type=ImportError)
    modules = {
        name: pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)
        for name in ("pandas", "duckdb")
    }
    monkeypatch.chdir(runs)
    page = PAGE.read_text()
    (export,) = re.findall(r"^    leo-runtime (export .*)$", page, re.MULTILINE)
    assert main(export.split()) == 0
    lines = re.findall(r"^    ((?:pandas|duckdb)\..*)$", page, re.MULTILINE)
    by_cause, by_graph = (eval(line, modules) for line in lines)
    sums = by_graph.fetchall()
    assert by_cause.sum() == sum(nj for _, nj in sums)
    capsys.readouterr()
    assert main(["compare", "out/demo.virtual", "out/demo.virtual", "--json"]) == 0
    assert f'"nj": {by_cause.sum()},' in capsys.readouterr().out

"""What docs/studies.md and docs/study-document.md show is so, to the letter."""

import re
import shutil
from pathlib import Path

import pytest

from leo_runtime.cli import main
from leo_runtime.study.rows import COLUMNS, TIMES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "studies.md"
REFERENCE = ROOT / "docs" / "study-document.md"
EXAMPLES = ROOT / "docs" / "examples"


def consoles() -> list[tuple[str, str]]:
    """Every command that is shown with what it prints, several of a block one after the other."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [shown for block in blocks for shown in re.findall(r"^\$ leo-runtime (.*)\n((?:(?!\$).*\n)*)", block, re.M)]


def test_the_first_study_goes_as_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first.study.toml", "cheapest.py", "earliest.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(consoles()) == 6
    for command, says in consoles():
        here = ["--jobs", "0"] if " run " in command else []
        assert main([*command.split(), *here]) == 0
        assert capsys.readouterr().out == says.rstrip("\n") + "\n"


def test_its_documents_are_the_examples() -> None:
    text = PAGE.read_text()
    assert f"```toml\n{(EXAMPLES / 'first.study.toml').read_text()}```" in text
    shown = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    for name, code in zip(("cheapest.py", "earliest.py"), shown, strict=True):
        own = (EXAMPLES / name).read_text()
        assert own.endswith("\n\n" + code)
        assert len(own.strip().splitlines()) <= 15


def test_every_column_is_told_of() -> None:
    told = re.findall(r"^\| `(.*)` \| (.*) \|$", REFERENCE.read_text().split("## Columns")[1], re.M)
    assert told == [*COLUMNS.items(), *TIMES.items()]


def test_its_lines_of_pandas_and_duckdb_read_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra `tables`", exc_type=ImportError)
    modules = {
        name: pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)
        for name in ("pandas", "duckdb")
    }
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / "first.study.toml").read_text().replace("seconds = 20", "seconds = 2")
    Path("first.study.toml").write_text(text)
    assert main(["study", "run", "first.study.toml", "--jobs", "0"]) == 0
    assert main(["study", "export", "first.study.toml", "--to", "rows.parquet"]) == 0
    lines = re.findall(r"^    ((?:pandas|duckdb)\..*)$", PAGE.read_text(), re.M)
    assert len(lines) == 2
    for line in lines:
        found = eval(line, dict(modules))  # The page's own line.
        assert len(found) == 3

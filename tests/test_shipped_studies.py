"""Studies that ship come to what is published, where that follows from what they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leo_runtime.cli import main
from leo_runtime.errors import InputError
from leo_runtime.study import running, workers
from leo_runtime.study.document import Study
from leo_runtime.study.shipped_studies import names, study_file
from leo_runtime.study.store import Store

DOCS = Path(__file__).parent.parent / "docs" / "studies.md"


def rows(name: str, folder: Path) -> tuple[Study, dict[tuple[str, ...], dict[str, Any]]]:
    """The study, and its rows by the values of its axes."""
    study = Study.from_file(study_file(name))
    planned = running.plan(study, study_file(name).parent)
    with Store(folder / "rows.sqlite") as store:
        running.run(planned, store, workers.run_here)
        found = running.rows(planned, store)
    assert len(found) == study.count
    return study, {tuple(row[f"axis.{axis.column}"] for axis in study.axes): row for row in found}


def test_two_networks_on_two_processors_are_done_as_published(tmp_path: Path) -> None:
    study, found = rows("hax-conn", tmp_path)
    figures = dict(study.published["figures"])
    column = figures.pop("column")
    assert len(figures) == 4
    for names_, figure in figures.items():
        assert found[tuple(names_.split(", "))][column] == figure
    assert all(row["questions_proved"] == row["questions"] == 1 for row in found.values())


def test_whole_audio_pipelines_are_as_fast_as_published(tmp_path: Path) -> None:
    study, found = rows("mobisys-2017", tmp_path)
    for pipeline, alone_us in (("gmm", 1_573_000), ("dnn", 501_000)):
        for where, published in study.published["speeds"][pipeline].items():
            speed = alone_us / found[(where,)][f"graph_p50_us.{pipeline}"]
            # The tuned GPU's network is published as slower than its parts: about 3 ms are not explained.
            within = 0.1 if (pipeline, where) == ("dnn", "a-GPU") else 0.02
            assert speed == pytest.approx(published, rel=within)


def test_every_one_that_ships_is_told_of_and_cites() -> None:
    assert names() == ("hax-conn", "mobisys-2017")
    for name in names():
        study = Study.from_file(study_file(name))
        assert study.name == name and f"| `{name}` |" in DOCS.read_text()
        assert {"source", "calibrated", "modelled", "held_out"} <= set(study.published)
    with pytest.raises(InputError, match="no study is called `hax`"):
        study_file("hax")


def test_one_command_runs_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "run", "hax-conn", "--jobs", "0"]) == 0
    out = capsys.readouterr().out
    assert "costs                    3510                      3840              2500\n" in out
    assert "published figures costs, layers: 2500\n" in out

"""Studies that ship come to what is published, where that follows from what they are made of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from leo_runtime import shipped
from leo_runtime.cli import main
from leo_runtime.errors import InputError
from leo_runtime.study import running, workers
from leo_runtime.study.cells import cells, with_solvers
from leo_runtime.study.document import Sampling, Study
from leo_runtime.study.search import Judging
from leo_runtime.study.shipped_studies import names, study_file
from leo_runtime.study.store import Store
from leo_runtime.study.xr_score import answer_score
from trunks import PUBLISHED_MB, counted, workload

DOCS = Path(__file__).parent.parent / "docs" / "studies.md"


def rows(name: str, folder: Path, **base: Any) -> tuple[Study, dict[tuple[str, ...], dict[str, Any]]]:
    """The study, and its rows by the values of its axes."""
    study = Study.from_file(study_file(name))
    study = study.model_copy(update={"base": study.base.model_copy(update=base)})
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
    whole = {machine: row[column] for (machine, placement), row in found.items() if placement == "whole networks"}
    # AlexNet's 1.79 ms on the GPU are beside GoogLeNet's 3.84 on the DLA: so much is lost of what it slows.
    for machine, slowdown in (("+10 %", 0.1), ("+25 %", 0.25), ("+50 %", 0.5)):
        assert 0 <= whole[machine] - (3_840 + 1_790 * slowdown) <= 18  # Each group ends in whole microseconds.
        assert found[machine, "GPU alone"][column] == 3_510
    layers = {machine: row[column] for (machine, placement), row in found.items() if placement == "layers"}
    assert layers["+10 %"] < layers["+25 %"] < 3_510 < layers["+50 %"] == layers["+50 %, known"]
    assert layers["DLA +50 %, known"] < layers["DLA +50 %"]
    told = (DOCS.parent / "studies" / "hax-conn.md").read_text()
    table = [line.split("|")[2:5] for line in told.splitlines() if line.startswith("|") and line[2:5] != "---"][1:]
    machines = [choice.name for choice in study.axes[0].choices or ()]
    placements = [choice.name for choice in study.axes[1].choices or ()]
    assert [[float(cell.strip(" *")) for cell in line] for line in table] == [
        [round(found[machine, placement][column] / 1_000, 2) for placement in placements] for machine in machines
    ]


def test_whole_audio_pipelines_are_as_fast_as_published(tmp_path: Path) -> None:
    study, found = rows("mobisys-2017", tmp_path)
    for pipeline, alone_us in (("gmm", 1_573_000), ("dnn", 501_000)):
        for where, published in study.published["speeds"][pipeline].items():
            speed = alone_us / found[(where,)][f"graph_p50_us.{pipeline}"]
            # The tuned GPU's network is published as slower than its parts: about 3 ms are not explained.
            within = 0.1 if (pipeline, where) == ("dnn", "a-GPU") else 0.02
            assert speed == pytest.approx(published, rel=within)


# XRBench (MLSys 2023): frames a second, and how likely speech is after a keyword, in ppm.
SCENARIOS: dict[str, dict[str, int]] = {
    "vr-gaming": {"eye-segmentation": 60, "gaze": 60, "hand-tracking": 45},
    "ar-gaming": {"hand-tracking": 45, "depth": 30, "plane-detection": 15},
    "social-a": {"eye-segmentation": 60, "gaze": 60, "depth-refinement": 30, "hand-tracking": 30},
    "social-b": {"eye-segmentation": 60, "gaze": 60, "action-segmentation": 30},
    "outdoor-a": {"keyword": 3, "speech": 3, "segmentation": 10, "object-detection": 30},
    "outdoor-b": {"keyword": 3, "speech": 3, "object-detection": 30},
    "ar-assistant": {
        "keyword": 3,
        "speech": 3,
        "segmentation": 10,
        "depth": 30,
        "plane-detection": 15,
        "object-detection": 10,
    },
}
CHANCES = {"outdoor-a": 200_000, "outdoor-b": 200_000, "ar-assistant": 500_000}


def test_the_scenarios_of_xrbench_are_the_published_ones(tmp_path: Path) -> None:
    path = study_file("xrbench")
    study = Study.from_file(path)
    short = study.model_copy(update={"base": study.base.model_copy(update={"seconds": 0.5})})
    planned = running.plan(with_solvers(short, ["exact"]), path.parent)
    with Store(tmp_path / "rows.sqlite") as store:
        running.run(planned, store, workers.run_here)
        found = {row["axis.scenario"]: row for row in running.rows(planned, store)}
    assert list(found) == list(SCENARIOS)
    for name, rates in SCENARIOS.items():
        workload = shipped.workload(str(path.parent / f"xrbench-{name}.workload.toml"))
        assert {graph.name: round(1e6 / graph.period_us) for graph in workload.graphs} == rates
        assert [graph.name for graph in workload.graphs] == list(rates)
        chances = [stage.chance_ppm for graph in workload.graphs for stage in graph.stages if stage.chance_ppm]
        assert chances == [chance for scenario, chance in CHANCES.items() if scenario == name]
        of = [
            found[name][f"graph_xrbench_ppm.{graph}"] for graph in rates if f"graph_xrbench_ppm.{graph}" in found[name]
        ]
        assert 0 < found[name]["xrbench_ppm"] < 1_000_000
        assert found[name]["xrbench_ppm"] == pytest.approx(sum(of) / len(of), abs=1)


def test_an_answer_of_xrbench_scores_as_its_formula_has_it() -> None:
    assert answer_score(0, 0) == 0.5
    assert answer_score(-1_000, 0) == pytest.approx(1 / (1 + math.exp(-15)))
    assert answer_score(500, 0) == pytest.approx(1 / (1 + math.exp(7.5))) and answer_score(10**9, 0) < 1e-300
    assert answer_score(-(10**6), 750e6) == 0.5
    assert answer_score(-(10**6), 1_500e6) == answer_score(-(10**6), 2_000e6) == 0


def test_every_one_that_ships_is_told_of_and_cites() -> None:
    assert {"hax-conn", "leo-2016", "mobisys-2017", "xrbench"} <= set(names())
    for name in names():
        study = Study.from_file(study_file(name))
        some = study
        if study.count > 1_000:  # Each value of each axis, and not each with every other.
            some = study.model_copy(update={"search": None, "sampling": Sampling(kind="latin", cells=30, seed=0)})
        assert running.plan(some, study_file(name).parent).wrong == {}
        assert study.name == name and f"| `{name}` |" in DOCS.read_text()
        assert {"source", "calibrated", "modelled", "held_out"} <= set(study.published)
    with pytest.raises(InputError, match="no study is called `hax`"):
        study_file("hax")


def test_every_page_of_one_is_in_the_index_and_says_its_command() -> None:
    pages = sorted((DOCS.parent / "studies").glob("*.md"))
    assert len(pages) >= 10
    for page in pages:
        assert page.stem in names() and f"    leo-runtime study run {page.stem}" in page.read_text()
        for index, link in ((DOCS, f"](studies/{page.name})"), (DOCS.parent / "README.md", f"](studies/{page.name})")):
            assert link in index.read_text(), f"{index.name} leads to no {page.name}"


def test_one_command_runs_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "run", "hax-conn", "--jobs", "0"]) == 0
    out = capsys.readouterr().out
    assert "published                       3510                      3840              2500\n" in out
    assert "published figures published, layers: 2.5 ms; here 2.5 ms\n" in out


def test_vision_models_run_in_less_memory_than_their_weights(tmp_path: Path) -> None:
    _, found = rows("deepeye", tmp_path)
    assert [found[memory, "whole"]["misses"] for memory in ("no limit", "4 MB", "3 MB", "2 MB")] == [0, 0, 24, 24]
    times = [found[memory, "in pieces"]["graph_p50_us.face"] for memory in ("no limit", "4 MB", "3 MB", "2 MB")]
    loads = [found[memory, "in pieces"]["runs.flash"] for memory in ("no limit", "4 MB", "3 MB", "2 MB")]
    assert times == sorted(times)
    assert loads == sorted(loads)
    assert loads[0] == 6
    serial_us = times[0] + 3_918_000 // 100 + 6 * 200
    assert all(times[0] <= us <= serial_us for us in times)
    told = (DOCS.parent / "memory-runs.md").read_text()
    for memory in ("no limit", "4 MB", "3 MB", "2 MB"):
        for column, scale in (("graph_p50_us.face", 1), ("energy_nj", 1e6), ("runs.flash", 1)):
            cells = [found[memory, models].get(column) for models in ("whole", "in pieces")]
            shown = ["-" if cell is None else f"{cell / scale:.6g}" for cell in cells]
            assert f"{memory:<8}  {shown[0]:>12}  {shown[1]:>16}" in told


def test_points_of_the_codesign_study_are_what_its_page_says(tmp_path: Path) -> None:
    path = study_file("codesign")
    study = Study.from_file(path)
    told = {  # By their numbers in the grid: mesh, iris, units, lanes, clock, memory, idle.
        "as it is, as it is, 128, 2, 800 MHz, 4300000, on": (0, 2_407, 8_297_600),
        "int8w, f16, 128, 1, 800 MHz, 2400000, on": (1_184, 3_480, 4_598_800),
        "as it is, int8, 128, 1, 800 MHz, 2400000, on": (9_760, 2_408, 4_598_800),
    }
    named = {", ".join(map(str, cell.values.values())): cell.number for cell in cells(study)}
    with Store(tmp_path / "rows.sqlite") as store:
        judging = Judging(study, path.parent, store, workers.run_here)
        found = judging([named[name] for name in told])
    assert [one.costs for one in found] == list(told.values())
    assert all(one.is_allowed for one in found)


def test_a_shared_trunk_saves_what_is_counted_where_features_are_at_hand(tmp_path: Path) -> None:
    _, found = rows("trunks", tmp_path, seconds=1)
    for nodes, (_, shared_mb, separate_mb) in PUBLISHED_MB.items():
        for networks, published_mb in (("shared", shared_mb), ("separate", separate_mb)):
            network = counted(workload(nodes, networks == "shared"))
            held = {row["derived.weight_bytes"] for key, row in found.items() if key[:2] == (str(nodes), networks)}
            assert held == {network.weight_bytes}
            assert network.weight_bytes / 1e6 == pytest.approx(published_mb, rel=0.03)
        for solver in ("cpu-only", "exact"):
            at_hand, computed = (
                found[(str(nodes), "separate", features, solver)]["derived.busy_us"]
                / found[(str(nodes), "shared", features, solver)]["derived.busy_us"]
                for features in ("at hand", "computed")
            )
            assert at_hand == pytest.approx(separate_mb / shared_mb, rel=0.03)
            assert 1 < computed < at_hand

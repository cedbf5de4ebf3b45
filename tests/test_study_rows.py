"""What a row of a study says, and that it says the same again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime.errors import DocumentError, InputError, SolverError
from leo_runtime.replay.regret import Best, best_plan, regret
from leo_runtime.replay.replay import replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.study import loading
from leo_runtime.study.cells import cells
from leo_runtime.study.document import Study
from leo_runtime.study.gaps import Gaps
from leo_runtime.study.loading import Loader
from leo_runtime.study.measure import measure
from leo_runtime.study.policies import policy
from leo_runtime.study.rows import (
    COLUMNS,
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    better,
    columns_of,
    derived,
    kind_of,
    row_bytes,
    whole_row,
)
from leo_runtime.study.shared import Kept, Shared
from leo_runtime.study.shipped_studies import names, study_file
from small_studies import STUDY, write_study


def rows_of(path: Path, shared: Shared | None = None) -> list[dict[str, object]]:
    study = Study.from_file(path)
    loader, shared = Loader(study, path.parent), shared or Shared()
    found = []
    for cell in cells(study):
        ready = loader.ready(cell)
        found.append(whole_row(study, cell, ready.inputs, measure(study, ready, shared).row))
    return found


def test_a_row_is_what_the_replay_comes_to(tmp_path: Path) -> None:
    path = write_study(
        tmp_path, STUDY.replace("repetitions = 2", 'measure = ["regret"]').replace("seconds = 1", "seconds = 0.3")
    )
    study = Study.from_file(path)
    loader = Loader(study, path.parent)
    for cell, row in zip(cells(study), rows_of(path), strict=True):
        ready = loader.ready(cell)
        case, placing, kept = ready.case, ready.placing, KeptFrames()
        with Runtime.simulated(
            *(case.workload, case.hardware, case.profile),
            solver=placing.solver("virtual"),
            window_stages=0,
            compute=False,
            noise=placing.noise_ppm,
            seed=placing.seed,
        ) as runtime:
            ended = replay(runtime, case.recording, case.span, policy=placing.policy, time="virtual", sinks=[kept])
            known = regret(
                *(kept.frames, runtime.merged, runtime.modes, case.hardware),
                end_us=ended.length_us,
                profile=case.profile,
            )
        eyes = ended.summary.pipelines[0]
        assert row["energy_nj"] == ended.total.nj > 0
        assert row["graph_p95_us.eyes"] == eyes.latency_p95_us
        assert (row["answers"], row["misses"]) == (eyes.frames, eyes.deadline_misses)
        assert row["regret_best_nj"] == known.best.nj
        assert row["battery_s"] == 10**12 * ended.summary.end_us // (ended.total.nj * 10**6)


def test_the_best_plan_of_a_run_is_looked_for_once_for_all_policies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counting(*told: Any, **options: Any) -> Best:
        asked.append(1)
        return best_plan(*told, **options)

    monkeypatch.setattr("leo_runtime.study.measure.best_plan", counting)
    text = STUDY.replace("repetitions = 2", 'measure = ["regret"]').replace("seconds = 1", "seconds = 0.3")
    found = rows_of(write_study(tmp_path, text))
    bests = {row["axis.deadline"]: row["regret_best_nj"] for row in found}
    assert len(found) == 4 and len(asked) == 2
    assert all(row["regret_best_nj"] == bests[row["axis.deadline"]] for row in found)


def test_every_part_of_the_energy_adds_up_and_every_column_is_told_of(tmp_path: Path) -> None:
    measured = 'measure = ["gap", "regret", "xrbench"]'
    text = STUDY.replace("repetitions = 2", measured).replace("seconds = 1", "seconds = 0.3")
    path = write_study(tmp_path, text + DERIVED)
    rows = rows_of(path)
    for row in rows:
        for kind in ("cause_nj", "graph_nj", "resource_nj"):
            assert sum(int(str(nj)) for name, nj in row.items() if kind_of(name) == kind) == row["energy_nj"]
        assert int(str(row["gap_ppm"])) >= 0
    assert {kind_of(name) for name in columns_of(rows)} == {kind_of(name) for name in COLUMNS}
    assert list(columns_of(rows))[:3] == ["study", "cell", "repetition"]


DERIVED = """
[[derived]]
name = "late_nj"
source = "assumed"
sum = [{ of = ["deadline", "misses"] }, { times = 0.5, of = ["energy_nj"] }, { times = 7 }]
[[derived]]
name = "of_nothing"
source = "assumed"
sum = [{ of = ["graph_p50_us.eyes", "battery_s", "gap_frames", "regret_ppm"] }, { of = ["solver"] }]
"""


def test_a_derived_figure_is_the_sum_of_its_terms_and_nothing_where_one_is_missing(tmp_path: Path) -> None:
    study = Study.from_file(write_study(tmp_path, STUDY + DERIVED))
    cell = cells(study)[1]
    found = derived(study, cell.numbers, {"misses": 3, "energy_nj": 1_001, "solver": "exact"})
    assert cell.numbers == {"deadline": 20_000}
    assert found == {"derived.late_nj": round(20_000 * 3 + 0.5 * 1_001 + 7), "derived.of_nothing": None}
    assert derived(study, {"deadline": 1e308}, {"misses": 3e9, "energy_nj": 1})["derived.late_nj"] is None
    assert (
        Loader(study, tmp_path).ready(cell).inputs
        == Loader(Study.from_file(write_study(tmp_path)), tmp_path).ready(cell).inputs
    )
    assert (better("derived.late_nj", study), better("derived.late_nj")) == ("lower", None)


def test_what_nothing_happened_of_is_0_in_a_row_and_not_missing(tmp_path: Path) -> None:
    text = STUDY.replace('"exact", "greedy"', '"cpu-only", "mine:on_the_dsp"').replace("seconds = 1", "seconds = 0.1")
    path = write_study(tmp_path, text.replace("repetitions = 2", "repetitions = 1"))
    (tmp_path / "mine.py").write_text(ON_THE_DSP)
    hardware = tmp_path / "band.hardware.toml"
    hardware.write_text(hardware.read_text().replace("latency_us = 100", "latency_us = 100\nenergy_nj = 1_000"))
    here, _, there, _ = rows = rows_of(path)
    assert len({frozenset(row) for row in rows}) == 1
    link = "cpu -> dsp"
    assert [here[f"{kind}.{link}"] for kind in ("resource_nj", "busy_us", "runs", "wake_ups")] == [0] * 4
    assert int(str(there[f"resource_nj.{link}"])) > 0 and int(str(there[f"runs.{link}"])) > 0
    assert here["runs.dsp"] == here["cause_nj.failed run"] == here["cause_nj.transfer"] == 0


def test_a_link_that_costs_nothing_has_no_figures(tmp_path: Path) -> None:
    """Nobody counts what it sent."""
    path = write_study(tmp_path, STUDY.replace("seconds = 1", "seconds = 0.1"))
    assert not [name for row in rows_of(path) for name in row if "->" in name]


ON_THE_DSP = """from leo_runtime import solve


def on_the_dsp(problem):
    stages = [
        stage.model_copy(
            update={"modes": tuple(m for m in stage.modes if m.resource == ("dsp" if stage.name != "look" else "cpu"))}
        )
        for stage in problem.stages
    ]
    return solve(problem.model_copy(update={"stages": tuple(stages)}), "heft")
"""


def test_the_same_cell_is_the_same_row_to_the_byte(tmp_path: Path) -> None:
    path, shared = write_study(tmp_path), Shared()
    first = [row_bytes(row) for row in rows_of(path, shared)]
    assert [row_bytes(row) for row in rows_of(path, shared)] == first  # What is remembered changes nothing,
    backwards = Study.from_file(path)
    loader = Loader(backwards, path.parent)
    again = [
        row_bytes(whole_row(backwards, cell, ready.inputs, measure(backwards, ready, Shared()).row))
        for cell in reversed(cells(backwards))
        for ready in [loader.ready(cell)]
    ]
    assert again[::-1] == first  # nor does the order,
    assert json.loads(first[0])["cell"] == 0


def test_cells_of_a_repetition_meet_the_same_noise_and_others_another(tmp_path: Path) -> None:
    rows = rows_of(write_study(tmp_path, STUDY.replace('["exact", "greedy"]', '["cpu-only"]')))
    energies = [row["energy_nj"] for row in rows]
    assert energies[0] == energies[1] and energies[2] == energies[3]  # A deadline changes nothing there.
    assert energies[0] != energies[2]
    assert [row["seed"] for row in rows] == [0, 0, 1, 1]


def test_inputs_are_the_same_where_all_that_counts_is(tmp_path: Path) -> None:
    def digests(text: str) -> list[str]:
        path = write_study(tmp_path, text)
        study = Study.from_file(path)
        return [Loader(study, path.parent).ready(cell).inputs for cell in cells(study)]

    first = digests(STUDY)
    assert len(set(first)) == 8
    assert digests(STUDY.replace('name = "deadline"', 'name = "due"').replace('"blinks"', '"other"')) == first
    assert digests(STUDY.replace("repetitions = 2", "repetitions = 3"))[:8] == first
    assert not set(digests(STUDY.replace("noise_percent = 5", "noise_percent = 6"))) & set(first)
    assert not set(digests(STUDY.replace("seconds = 1", "seconds = 2"))) & set(first)
    file = tmp_path / "band.profile.toml"
    study = Study.from_file(tmp_path / "blinks.study.toml")
    file.write_text(file.read_text().replace("9_000", "9_001"))
    changed = [Loader(study, tmp_path).ready(cell).inputs for cell in cells(study)]
    assert not set(changed) & set(first)


OWN = """from leo_runtime import solve

def all_on_the_cpu(problem):
    return solve(problem, "cpu-only")

def wrong(problem):
    answer = solve(problem, "cpu-only")
    runs = tuple(run.model_copy(update={"start_us": 0, "end_us": run.end_us - run.start_us}) for run in answer.stages)
    return answer.model_copy(update={"stages": runs})

def raises(problem):
    raise ValueError("no idea")
"""


def test_a_policy_of_ones_own_is_judged(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    path = write_study(tmp_path, STUDY.replace('["exact", "greedy"]', '["mine:all_on_the_cpu", "cpu-only"]'))
    rows = rows_of(path)
    assert rows[0]["energy_nj"] == rows[2]["energy_nj"]
    assert rows[0]["solver"] == "mine:all_on_the_cpu"
    study = Study.from_file(path)
    loader = Loader(study, tmp_path)
    cell = cells(study)[0]
    before = loader.ready(cell).inputs

    def with_solver(name: str) -> None:
        settings = cell.settings.model_copy(update={"solver": name})
        measure(study, loader.ready(replace(cell, settings=settings)), Shared())

    with pytest.raises(SolverError, match=r"the answer of the solver `mine:wrong` is wrong: rule "):
        with_solver("mine:wrong")
    with pytest.raises(SolverError, match="no idea"):
        with_solver("mine:raises")
    with pytest.raises(SolverError, match="is no function"):
        with_solver("mine:absent")
    with pytest.raises(InputError, match="cannot be imported"):
        with_solver("nowhere:at_all")
    (tmp_path / "ends.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(InputError, match=r"the solver `ends:it` cannot be imported \(SystemExit: 0\)"):
        with_solver("ends:it")
    with pytest.raises(SolverError, match="no solver is called"):
        with_solver("exactly")
    (tmp_path / "mine.py").write_text(OWN + "\n# another one\n")
    assert Loader(study, tmp_path).ready(cell).inputs != before


def test_an_installed_policy_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "installed"
    about = installed / "policies-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: policies\nVersion: 1\n")
    points = "cheap = installed_policies:all_on_the_cpu\nbroken = installed_policies:nothing\n"
    (about / "entry_points.txt").write_text(f"[leo_runtime.policies]\n{points}")
    (installed / "installed_policies.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(installed))
    rows = rows_of(write_study(tmp_path, STUDY.replace('["exact", "greedy"]', '["cheap", "cpu-only"]')))
    assert rows[0]["energy_nj"] == rows[2]["energy_nj"] and rows[0]["solver"] == "cheap"
    with pytest.raises(InputError, match="the solver `broken` cannot be imported"):
        rows_of(write_study(tmp_path, STUDY.replace('["exact", "greedy"]', '["broken"]')))


NAMED = """from functools import {how}

from leo_runtime import solve


def answer(problem, name="{solver}"):
    return solve(problem, name)


place = {made}
"""


@pytest.mark.parametrize(
    ("how", "made"),
    [("partial", "partial(answer)"), ("lru_cache", "lru_cache(answer)"), ("singledispatch", "singledispatch(answer)")],
)
def test_a_policy_that_is_wrapped_goes_by_the_file_that_names_it(tmp_path: Path, how: str, made: str) -> None:
    def digest(solver: str) -> str:
        (tmp_path / "mine.py").write_text(NAMED.format(how=how, solver=solver, made=made))
        return policy("mine:place", tmp_path).digest

    assert digest("heft") != digest("greedy")


def test_workloads_that_ship_go_by_their_names(tmp_path: Path) -> None:
    def named(name: str) -> str:
        base = {"workload": name, "recording": "camera"}
        study = Study.from_dict({"format": "leo-study/1", "name": "looks", "base": base})
        (cell,) = cells(study)
        return Loader(study, tmp_path).ready(cell).case.workload.name

    assert named("faces") == "faces"
    with pytest.raises(DocumentError, match="cannot be read"):
        named("face")


def test_recordings_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name, loudness in (("loud", 0.5), ("quiet", 0.0)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "mic.npy", np.full(32_000, loudness, np.float32))
        (tmp_path / name / "recording.toml").write_text(RECORDED)
    path = write_study(tmp_path, HEARD)
    (tmp_path / "ears.workload.toml").write_text(EARS)
    made = Study.from_file(path)
    loader = Loader(made, tmp_path)
    assert len({loader.ready(cell).inputs for cell in cells(made)}) == 2


RECORDED = """format = "leo-recording/1"
name = "walk"
source = "made up"
streams = [{ name = "mic", kind = "audio", file = "mic.npy", rate_hz = 16_000 }]
"""
EARS = """format = "leo-workload/1"
name = "ears"
streams = [{ name = "mic", kind = "audio", rate_hz = 16_000 }]

[[graphs]]
name = "ears"
period_us = 1_000_000
deadline_us = 400_000
stages = [{ name = "look", operator = "window", params = { stream = "mic", samples = 16_000 } }]
"""
HEARD = """format = "leo-study/1"
name = "heard"

[base]
workload = "ears.workload.toml"
hardware = "band.hardware.toml"
profile = "band.profile.toml"

[[axes]]
vary = "recording"
values = ["loud", "quiet"]
"""


def test_of_no_answer_there_is_no_latency_and_of_no_frame_no_gap(tmp_path: Path) -> None:
    """A map has no 0 there, which would be the best."""
    never = STUDY.replace('"exact", "greedy"', '"exact"').replace("4_000, 20_000", "20_000")
    path = write_study(tmp_path, never.replace("repetitions = 2", "repetitions = 1\nmeasure = ['gap', 'xrbench']"))
    workload = tmp_path / "blinks.workload.toml"
    workload.write_text(workload.read_text().replace("chance_ppm = 300_000", "chance_ppm = 0"))
    (row,) = rows_of(path)
    assert row["answered"] == 0
    assert [row[f"graph_p{part}_us.eyes"] for part in (50, 95, 99)] == [None] * 3
    assert row["xrbench_ppm"] is None
    assert Gaps(Kept()).columns()["gap_ppm"] is None


def test_other_versions_of_what_computes_are_other_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def inputs(compute: str, numpy: str) -> str:
        monkeypatch.setattr(loading, "versions", lambda: {"numpy": numpy})
        made = Study.from_file(write_study(tmp_path, f"compute = {compute}\n{STUDY}"))
        return Loader(made, tmp_path).ready(cells(made)[0]).inputs

    assert inputs("true", "2.0") != inputs("true", "2.1")
    assert inputs("false", "2.0") == inputs("false", "2.1")


NEITHER = {
    *("answers", "graph_answers", "frames", "end_us", "busy_us", "runs", "wake_ups", "questions", "length_us"),
    *("window_stages", "batch", "reserve_percent", "noise_ppm", "seed", "cell", "repetition", "axis"),
    *("gap_frames", "regret_best_nj", "regret_best_tardiness_us"),
    "derived",
    *("study", "inputs", "version", "workload", "hardware", "profile", "recording", "solver"),
}


def test_every_column_says_which_of_its_figures_are_better_or_that_nobody_can() -> None:
    kinds = set(map(kind_of, COLUMNS))
    said = {kind for kind in kinds if better(kind) is not None}
    assert said | NEITHER == kinds
    assert not said & NEITHER
    assert set(LOWER_IS_BETTER) | set(HIGHER_IS_BETTER) == said
    assert not set(LOWER_IS_BETTER) & set(HIGHER_IS_BETTER)
    assert (better("xrbench_ppm"), better("energy_nj"), better("mine")) == ("higher", "lower", None)


@pytest.mark.parametrize("name", names())
def test_of_what_a_shipped_study_shows_it_is_known_what_is_better(name: str) -> None:
    study = Study.from_file(study_file(name))
    assert all(better(column, study) or kind_of(column) == "runs" for column in study.show)
    assert better(study.show[0], study)


def test_an_answer_of_a_batch_scores_by_its_own_part_of_the_energy(tmp_path: Path) -> None:
    """XRBench's score does not change where frames are collected that are run as they would be alone."""
    text = STUDY.replace("repetitions = 2", 'measure = ["xrbench"]').replace("noise_percent = 5\n", "")
    text = text.replace("seconds = 1", 'seconds = 0.4\nchanges = ["graphs.eyes.stages.moved.chance_ppm=1000000"]')
    text = text.replace('vary = "solver"\nvalues = ["exact", "greedy"]', 'vary = "batch"\nvalues = [1, 4]')
    path = write_study(tmp_path, text.replace("[4_000, 20_000]", "[10_000_000]"))
    machine = tmp_path / "band.hardware.toml"
    machine.write_text(machine.read_text().replace("active_mw = ", "active_mw = 40_0"))
    alone, batched = rows_of(path)
    assert alone["answered"] == batched["answered"] == 20
    assert alone["xrbench_ppm"] == batched["xrbench_ppm"]
    assert 500_000 < int(str(alone["xrbench_ppm"])) < 990_000  # Energy is some of it.

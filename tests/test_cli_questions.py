"""Runs are asked about on the command line: `explain RUN`, `compare`, `export`."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import run_logs
from cost_workloads import profile_of, workload_of
from leo_runtime.cli import main
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware

needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs the extra `tables`")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which the GPU is asked for more than it can do: each frame takes 60 ms of it, one comes every 50 ms."""
    graph = GraphBuilder("scene", period_us=50_000, deadline_us=100_000)
    graph.stage("hear", "cost", output_bytes=1000)
    graph.stage("tell", "cost", "hear", output_bytes=4)
    level = GraphBuilder("level", period_us=100_000, deadline_us=100_000)
    level.stage("hear", "cost", output_bytes=1000)
    costs = {("hear", "dsp"): (1_000, 50_000), ("tell", "gpu"): (60_000, 900_000), ("tell", "dsp"): (400_000, 800_000)}
    machine = Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "m",
            "processors": [
                {"name": "dsp", "backend": "none", "lanes": 2, "awake_mw": 5},
                {"name": "gpu", "backend": "none", "awake_mw": 50, "wake_latency_us": 2_000, "idle_timeout_us": 9_000},
            ],
            "links": [
                {"source": "dsp", "target": "gpu", "latency_us": 500, "energy_nj": 100},
                {"source": "gpu", "target": "dsp", "latency_us": 500},
            ],
        }
    )
    folder = tmp_path_factory.mktemp("run")
    workload = workload_of(graph.build(), level.build())
    run_logs.replayed_into(folder, workload, machine, profile_of(costs), length_us=1_000_000, solver="greedy")
    return folder


def asked(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    assert main([str(word) for word in words]) == status
    out, err = capsys.readouterr()
    assert err == ""
    # What is to be typed stays on one line.
    told = [line for line in out.splitlines() if not line.startswith(("ask: ", "before: ", "after: "))]
    assert max(map(len, told)) <= 80 or words[-1] in ("--json", "--wide")
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, str]:
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    message, _, hint = err.rstrip("\n").partition("\nhint: ")
    return message, hint


def test_a_run_is_told_at_a_glance_with_what_to_ask_next(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, "explain", run)
    assert "placed by greedy" in " ".join(out.split())
    assert "scene was" in out and "late" in out
    assert f"leo-runtime explain {run} --frame 19\n" in out


def test_a_late_frame_is_led_back_to_its_backlog(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(asked(capsys, "explain", run, "--frame", 19, "--wide").split())
    assert "because of a backlog of" in out and "on the gpu" in out
    assert "It has had work without a break since frame 0 (0.05 s)" in out
    assert "tell waits for gpu[0]" in out
    assert "charged in mJ: scene" in out


def test_the_same_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(asked(capsys, "explain", run, "--frame", 19, "--json"))
    (why,) = told["why"]
    assert why["graph"] == "scene" and why["late_us"] > 0
    assert why["cause"]["kind"] == "lane" and why["cause"]["backlog"]["first_frame"] == 0
    assert sum(step["lasted_us"] for step in why["steps"]) == why["end_us"] - why["release_us"]
    assert {stage["run"]["stage"] for stage in told["explanation"]["stages"]} == {"hear", "tell"}
    assert sum(entry["nj"] for entry in told["energy"]) > 900_000
    overview = json.loads(asked(capsys, "explain", run, "--json"))
    assert overview["whole"] and overview["late"][0]["frame"] == 19


@pytest.mark.parametrize(
    "words", [("--frame", 3, "tell"), ("tell", "--frame", 3), ("--at", "0.2", "tell"), ("tell", "--at", 0.21)]
)
def test_a_stage_is_named_before_or_after_its_frame(
    run: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...]
) -> None:
    out = asked(capsys, "explain", run, *words)
    assert "frame 3 of" in out.replace("\n", " ")
    assert "tell on gpu:" in out and "on dsp as default: worse" in out
    assert "hear on" not in out


def test_other_modes_are_searched_no_further_than_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(capsys, "explain", run, "--frame", 3, "--limit-nodes", 1)


def test_mistakes_are_told_with_a_way_out(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message, hint = refused(capsys, "explain", run, "--frame", 99)
    assert (message, hint) == (f"{run}/log.jsonl: there is no frame 99", "its frames are 0 to 19")
    message, hint = refused(capsys, "explain", run, "--frame", 3, "nose")
    assert (message, hint) == ('frame 3 has no stage "nose"', "its stages are hear, tell")
    message, hint = refused(capsys, "explain", run, "--frame", 3, "scene")
    assert message == 'frame 3 has no stage "scene": that is a pipeline' and hint.startswith("leave it out")
    message, hint = refused(capsys, "explain", run, "tell")
    assert message == "`tell` is asked about without a frame" and "--frame N" in hint
    message, hint = refused(capsys, "explain", run, "--at", 7)
    assert message.endswith("nothing was released at 7 s") and hint == "the run lasted 1 s"
    message, _ = refused(capsys, "explain", run, "--frame", 3, "tell", "hear")
    assert message == "of a run one stage is named, got `tell` and `hear`"
    message, _ = refused(capsys, "explain", run, "--plot", tmp_path / "a.png")
    assert message.startswith("`--plot` draws the answer")
    message, hint = refused(capsys, "explain", tmp_path / "nothing", "--frame", 1)
    assert "no such folder or log" in message and hint
    message, hint = refused(capsys, "explain", tmp_path / "nothing")
    assert "is no run" in message and "PROBLEM PLACEMENT" in hint
    message, hint = refused(capsys, "compare", run, tmp_path)
    assert "holds no `log.jsonl`" in message and hint


@pytest.mark.parametrize("words", [("--frame", "-1"), ("--frame", "1", "--at", "2"), ("--at", "soon"), ("--frme", "1")])
def test_wrong_use_is_told(run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["explain", str(run), *words])
    assert raised.value.code == 2
    assert "leo-runtime" in capsys.readouterr().err


def test_a_log_that_was_cut_off_is_read_up_to_there(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (run / "log.jsonl").read_bytes()
    (tmp_path / "log.jsonl").write_bytes(text[: len(text) // 2])
    out = " ".join(asked(capsys, "explain", tmp_path).split())
    assert "read up to here: line" in out and "was cut off" in out
    message, _ = refused(capsys, "explain", tmp_path, "--frame", 19)
    assert message.endswith("there is no frame 19, as the run was interrupted")


def test_a_log_of_the_first_format_is_explained_as_far_as_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.log.jsonl").write_text(run_logs.LOG_1)
    out = " ".join(asked(capsys, "explain", tmp_path / "a.log.jsonl").split())
    assert "not in this log: the energy of waking up" in out
    out = " ".join(asked(capsys, "explain", tmp_path / "a.log.jsonl", "--frame", 0).split())
    assert "not in this log:" in out and "hear dsp[0] 0.00-400.00" in out


def test_two_runs_are_compared(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert "nothing differs: 30 answers" in asked(capsys, "compare", run, other, "--fail-on-change")
    lines = (run / "log.jsonl").read_text().replace('"policy":"greedy"', '"policy":"exact"').splitlines(keepends=True)
    frame = next(index for index, line in enumerate(lines) if line.startswith('{"kind":"frame","frame":7,'))
    lines[frame] = lines[frame].replace('"outcome":"done","label":null', '"outcome":"done","label":"tap"', 1)
    (other / "log.jsonl").write_text("".join(lines))
    out = asked(capsys, "compare", run, other)
    assert "no label -> tap" in out and "greedy" in out
    assert asked(capsys, "compare", run, other, "--fail-on-change", status=1) == out
    told: dict[str, Any] = json.loads(asked(capsys, "compare", run, other, "--json"))
    assert told["settings"] == [{"what": "policy", "before": "greedy", "after": "exact"}]
    assert told["changed"] == 1 and told["changes"][0]["after"]["label"] == "tap"
    assert told["before"]["nj"] == told["after"]["nj"]
    assert json.loads(asked(capsys, "compare", run, other, "--json", "--frames", 0))["changes"] == []


@needs_pyarrow
def test_a_run_is_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "tables")]) == 0
    names = ("frames", "graphs", "stages", "transfers", "loads", "energy")
    paths = [tmp_path / "tables" / f"{name}.parquet" for name in names]
    assert capsys.readouterr().out == "".join(f"written: {path}\n" for path in paths)
    assert all(path.is_file() for path in paths)

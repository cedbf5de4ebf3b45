"""Two runs are compared in their set-up, their sums, and answer by answer."""

from pathlib import Path
from typing import Any

import pytest

import run_logs
from cost_workloads import profile_of
from leo_runtime.documents.changes import changed
from leo_runtime.replay.differences import Differences, differences
from leo_runtime.replay.log_reader import read_log
from leo_runtime.replay.tally import tally
from leo_runtime.report.differences_text import differences_text

Parts = list[dict[str, Any]]


def compared(folder: Path, before: Parts, after: Parts, most: int = 10) -> Differences:
    paths = [run_logs.write(folder / name, *parts) for name, parts in (("a", before), ("b", after))]
    with read_log(paths[0]) as one, read_log(paths[1]) as other:
        return differences(one, other, most=most)


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    found = compared(tmp_path, run_logs.usual(), run_logs.usual())
    assert found.are_equal
    assert (found.compared, found.changed, found.settings, found.worst) == (6, 0, (), ())


def test_what_was_set_up_otherwise_is_named_by_its_path(tmp_path: Path) -> None:
    machine = run_logs.hardware().model_dump(mode="json", exclude_defaults=True)
    machine["processors"][1]["wake_energy_nj"] = 9
    machine["links"][0]["bytes_per_s"] = 500
    machine["processors"].append({"name": "gpu", "backend": "none"})
    other = run_logs.head(
        policy="greedy",
        changes=["knock=1"],
        hardware=machine,
        workload=run_logs.workload(400_000).model_dump(mode="json", exclude_defaults=True),
    )
    found = compared(tmp_path, run_logs.usual(), [other, *run_logs.usual()[1:]])
    assert not found.are_equal and not found.changed
    assert {one.what: (one.before, one.after) for one in found.settings} == {
        "policy": ("exact", "greedy"),
        "changes": ("none", "knock=1"),
        "graphs.knock.deadline_us": ("500000", "400000"),
        "graphs.level.deadline_us": ("500000", "400000"),
        "processors.cpu.wake_energy_nj": ("7000", "9"),
        "processors.gpu": ("-", "there"),
        "links.dsp->cpu.bytes_per_s": ("1000000", "500"),
    }


def test_what_was_set_up_otherwise_is_named_as_it_is_set(tmp_path: Path) -> None:
    changes = ["graphs.knock.deadline_us=400_000", "processors.cpu.lanes=1", "links.dsp->cpu.latency_us=7"]
    profile = profile_of(run_logs.COSTS)
    after = changed(run_logs.workload(), run_logs.hardware(), profile, changes)
    parts: dict[str, Any] = {
        "workload": after.workload.model_dump(mode="json", exclude_defaults=True),
        "hardware": after.hardware.model_dump(mode="json", exclude_defaults=True),
    }
    found = compared(tmp_path, run_logs.usual(), [run_logs.head(**parts), *run_logs.usual()[1:]])
    told = [f"{one.what}={one.after}" for one in found.settings]
    again = changed(run_logs.workload(), run_logs.hardware(), profile, told)
    assert (again.workload, again.hardware) == (after.workload, after.hardware)


def test_another_machine_is_told_in_one_line(tmp_path: Path) -> None:
    machine = {**run_logs.MACHINE, "name": "other", "processors": [{"name": "npu", "backend": "none"}], "links": []}
    found = compared(tmp_path, run_logs.usual(), [run_logs.head(hardware=machine), *run_logs.usual()[1:]])
    assert [(one.what, one.before, one.after) for one in found.settings] == [("hardware", "m", "other")]


def test_answers_that_differ_are_counted_by_what_differs(tmp_path: Path) -> None:
    after = run_logs.usual()
    moved, late, failed = (part for part in after if part.get("kind") == "frame")
    moved["stages"][1] |= {"resource": "dsp", "nj": 500}
    late["graphs"][0] |= {"end_us": late["graphs"][0]["end_us"] + 600_000, "label": "tap"}
    failed["graphs"][0] |= {"outcome": "failed"}
    found = compared(tmp_path, run_logs.usual(), after)
    assert found.counts == {
        ("placement", "knock"): 1,
        ("energy", "knock"): 1,
        ("late", "knock"): 1,
        ("label", "knock"): 1,
        ("latency", "knock"): 1,
        ("outcome", "knock"): 1,
    }
    assert found.changed == 3
    assert [change.kinds[0] for change in found.worst] == ["outcome", "late", "placement"], "the gravest first"
    assert found.worst[2].moved == (("tell", "cpu as default", "dsp as default"),)
    before, now = found.worst[2].before, found.worst[2].after
    assert before is not None and now is not None and now.nj - before.nj == 500 - 800_000


def test_of_many_changes_the_gravest_are_kept(tmp_path: Path) -> None:
    after = run_logs.usual(8)
    for n, part in enumerate(part for part in after if part.get("kind") == "frame"):
        part["graphs"][0]["end_us"] += 100_000 * n
    found = compared(tmp_path, run_logs.usual(8), after, most=2)
    assert [(change.after and change.after.frame) for change in found.worst] == [7, 6]
    assert found.changed == 7
    assert compared(tmp_path, run_logs.usual(8), after, most=0).worst == ()


def test_energy_that_is_no_answers_own_differs_in_sum(tmp_path: Path) -> None:
    after = run_logs.usual()
    after[-2]["entries"][0]["nj"] += 5
    found = compared(tmp_path, run_logs.usual(), after)
    assert not found.are_equal and not found.changed
    assert found.after.by_cause()["idle tail"] - found.before.by_cause()["idle tail"] == 5


def test_releases_that_one_run_has_not_are_told(tmp_path: Path) -> None:
    found = compared(tmp_path, run_logs.usual(3), run_logs.usual(5))
    assert found.compared == 6
    assert found.counts == {("only after", "knock"): 2, ("only after", "level"): 2}
    assert compared(tmp_path, run_logs.usual(5), run_logs.usual(3)).counts[("only before", "level")] == 2


def test_a_latency_of_no_answer_is_none(tmp_path: Path) -> None:
    asleep = [run_logs.seen("knock", 1_000_000, 1_001_600, outcome="cancelled")]
    before = run_logs.frame(0, 1_000_000, [run_logs.run("hear", "dsp", 1_000_000, 1_001_600)], graphs=asleep)
    after = run_logs.frame(0, 1_000_000, [run_logs.run("hear", "dsp", 1_000_000, 1_001_600)])
    found = compared(tmp_path, [run_logs.head(), before], [run_logs.head(), after])
    said = differences_text(found, ("a", "b"))
    assert "-->1.6" not in said and "- -> 1.6" in said and "0.0" not in said


def test_runs_that_begin_elsewhere_are_compared_where_the_recording_agrees(tmp_path: Path) -> None:
    """One begins 2 s later: its frame at 1 s is the other's at 3 s."""
    found = compared(tmp_path, run_logs.usual(3), [run_logs.head(start_us=2_000_000), *run_logs.usual(3)[1:]])
    assert found.compared == 2
    assert found.counts[("only before", "knock")] == 2


def test_a_batch_is_compared_with_its_frames_one_by_one(tmp_path: Path) -> None:
    """In a batch of two, each frame is charged half of what runs for both, and has its own of what does not."""
    at_us = (1_000_000, 2_000_000)
    hear = run_logs.run("hear#all", "dsp", 2_000_000, 2_400_000, of="hear", nj=900_001)
    tells = [
        run_logs.run(f"tell#{n}", f"cpu[{n}]", 2_402_000, 2_422_000, of="tell", variant=name)
        for n, name in ((0, "default"), (1, "coarse"))
    ]
    graphs = [
        run_logs.seen(graph, release_us, 2_422_000, number=n, deadline_us=3_000_000)
        for n, release_us in enumerate(at_us)
        for graph in ("knock", "level")
    ]
    batch = run_logs.frame(0, 2_000_000, [hear, *tells], graphs=graphs)
    parts = [run_logs.head(batch=2), batch]
    found = compared(tmp_path, run_logs.usual(2), parts)
    assert found.compared == 4
    assert {(change.graph, change.moved) for change in found.worst} == {
        ("knock", ()),
        ("knock", (("tell", "cpu as default", "cpu as coarse"),)),
        ("level", ()),
    }
    charged = [change.after.nj for change in found.worst if change.after is not None]
    assert sum(charged) == 900_001 + sum(run["nj"] for run in tells)


def test_the_first_format_is_compared_as_far_as_it_holds(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(run_logs.LOG_1)
    with read_log(tmp_path) as one, read_log(run_logs.write(tmp_path / "b", *run_logs.usual())) as other:
        found = differences(one, other)
    settings = {setting.what: (setting.before, setting.after) for setting in found.settings}
    assert settings == {"end_us": ("3000000", "10000000"), "charge_solver": ("cpu", "none")}
    assert found.compared == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_sums_of_real_runs_are_all_that_they_used(tmp_path: Path, seed: int) -> None:
    how: dict[str, Any] = [{}, {"solver": "greedy"}, {"noise": 300_000}, {"batch": 2}][seed % 4]
    folders = []
    for name, one in (("a", how), ("b", {**how, "window_stages": 0})):
        (tmp_path / name).mkdir()
        folders.append(run_logs.random_run(tmp_path / name, seed, **one)[0])
    with read_log(folders[0]) as one, read_log(folders[1]) as other:
        found = differences(one, other)
        for log, sums in ((one, found.before), (other, found.after)):
            assert log.end is not None
            assert sums.total_nj == log.end.nj == sum(sums.by_cause().values()) == sum(sums.by_graph().values())
            assert sums.by_resource() == tally(log).by_resource()
            assert sums.frames == log.end.frames
        assert found.compared == sum(line.frames for line in found.before.pipelines.values())

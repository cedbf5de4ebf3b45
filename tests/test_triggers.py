"""What triggers a graph besides its period: jitter, sporadic releases, releases that are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_workloads import profile_of, workload_of
from daemons import CONFIG, WORKLOAD, write
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.loading import load
from leo_runtime.documents.changes import changed
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.trigger import Trigger
from leo_runtime.documents.workload import Stream, TaskGraph, Workload
from leo_runtime.errors import DocumentError, InputError
from leo_runtime.frame.foresight import Foresight
from leo_runtime.frame.lower import merge
from leo_runtime.recordings.recording import Recording, check_streams
from leo_runtime.replay.replay import batches, releases
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.study.cells import cells
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from leo_runtime.study.measure import measure
from leo_runtime.study.shared import Shared
from small_studies import STUDY, write_study

HARDWARE = Hardware.from_dict(
    {"format": "leo-hardware/1", "name": "m", "processors": [{"name": "cpu", "backend": "none", "active_mw": 10}]}
)


def graph(name: str = "a", *, period_us: int = 1_000, offset_us: int = 0, **trigger: int) -> TaskGraph:
    builder = GraphBuilder(
        name, period_us=period_us, offset_us=offset_us, deadline_us=period_us, trigger=Trigger(**trigger)
    )
    builder.stage(name, "cost", output_bytes=1)
    return builder.build()


@given(st.integers(0, 999), st.integers(0, 5_000), st.integers(0, 10**9))
def test_jitter_comes_late_by_less_than_it_says(jitter_us: int, until_us: int, seed: int) -> None:
    found = list(graph(jitter_us=jitter_us).releases_us(until_us, seed))
    of = [int(at_us) // 1_000 for at_us in found]
    assert of == sorted(set(of))
    assert all(at_us % 1_000 <= jitter_us for at_us in found)
    assert len(found) >= until_us // 1_000
    assert all(at_us <= until_us for at_us in found)


@pytest.mark.parametrize("rate_hz", [44_100, 600_000])
def test_jitter_brings_no_two_releases_of_a_rate_together(rate_hz: int) -> None:
    """Its period is rounded up, and some of its releases are less than that apart."""
    of: dict[str, Any] = {"name": "a", "rate_hz": rate_hz, "deadline_us": 1_000, "stages": graph().stages}
    with pytest.raises(DocumentError, match="is not less than a period of"):
        TaskGraph(**{**of, "trigger": Trigger(jitter_us=1_000_000 // rate_hz)})
    found = list(TaskGraph(**{**of, "trigger": Trigger(jitter_us=1_000_000 // rate_hz - 1)}).releases_us(20_000, 1))
    assert found == sorted(set(found))


def test_sporadic_releases_are_a_period_apart_and_what_is_drawn() -> None:
    found = np.diff(list(graph(extra_us=500).releases_us(3_000_000, 7)))
    assert found.min() >= 1_000
    assert 1_470 < found.mean() < 1_530
    assert 470 < found.std() < 530  # Of an exponential, its mean.


def test_a_chance_takes_releases_out_and_moves_none() -> None:
    found = list(graph(chance_ppm=200_000).releases_us(10_000_000, 3))
    assert all(at_us % 1_000 == 0 for at_us in found)
    assert 1_880 < len(found) < 2_120
    assert not list(graph(chance_ppm=0).releases_us(10_000, 3))


def test_cells_with_other_figures_meet_the_same_draws() -> None:
    few = set(graph(chance_ppm=200_000).releases_us(1_000_000, 3))
    more = set(graph(chance_ppm=600_000).releases_us(1_000_000, 3))
    assert few < more
    late = np.array(list(graph(jitter_us=99).releases_us(100_000, 3))[:100]) % 1_000
    later = np.array(list(graph(jitter_us=199).releases_us(100_000, 3))[:100]) % 1_000
    assert all((later == 2 * late) | (later == 2 * late + 1))


def test_nothing_said_is_the_period_alone_and_left_out_of_the_document() -> None:
    plain = graph()
    assert not plain.trigger.is_drawn
    assert list(plain.releases_us(5_000, 3)) == [0, 1_000, 2_000, 3_000, 4_000, 5_000]
    assert "trigger" not in workload_of(plain).to_json()
    again = workload_of(graph(jitter_us=5, chance_ppm=9))
    assert Workload.from_dict(again.model_dump(mode="json", exclude_defaults=True)) == again


def test_another_seed_or_graph_draws_otherwise() -> None:
    found = {
        tuple(graph(name, jitter_us=999).releases_us(9_000, seed)) for name, seed in (("a", 0), ("a", 1), ("b", 0))
    }
    assert len(found) == 3


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        ({"jitter_us": 1_000}, r"a jitter of 1000 us is not less than a period of 1000 us, at \$.graphs\[0\].trigger"),
        ({"chance_ppm": 1_000_001}, r"at \$.graphs\[0\].trigger.chance_ppm"),
        ({"jitter": 5}, r"at \$.graphs\[0\].trigger.jitter"),
    ],
)
def test_what_no_trigger_can_be_is_told_with_its_place(trigger: dict[str, int], says: str) -> None:
    stages = [{"name": "s", "operator": "cost", "params": {"output_bytes": 1}}]
    of = {"name": "a", "period_us": 1_000, "deadline_us": 1_000, "stages": stages, "trigger": trigger}
    with pytest.raises(DocumentError, match=says):
        Workload.from_dict({"format": "leo-workload/1", "name": "w", "graphs": [of]})


def test_a_path_leads_to_it() -> None:
    workload, profile = workload_of(graph()), profile_of({("a", "cpu"): (10, 1)})
    done = changed(workload, HARDWARE, profile, ["graphs.a.trigger.jitter_us=7", "graphs.*.trigger.jitter_us*=3"])
    assert done.workload.graphs[0].trigger == Trigger(jitter_us=21)


def test_what_is_drawn_is_not_foreseen() -> None:
    seen = Foresight(merge(workload_of(graph(), graph("b", jitter_us=10))), 100)
    for at_us in (0, 1_000, 2_000):
        seen.note(at_us, ("a", "b"))
        assert {name for later in seen.outlook(at_us, ("a", "b")).later for name in later.graphs} == {"a"}


def test_releases_name_the_graphs_that_are_due() -> None:
    workload = workload_of(graph(), graph("b", period_us=2_000), graph("c", chance_ppm=0))
    assert releases(workload, 3_000) == {1_000: ("a",), 2_000: ("a", "b"), 3_000: ("a",)}


def test_batches_of_what_is_drawn_are_of_its_own() -> None:
    workload = workload_of(graph(), graph("b"), graph("c", jitter_us=900))
    profile = profile_of({(name, "cpu"): (10, 1) for name in "abc"})
    with Runtime.simulated(workload, HARDWARE, profile, compute=False, seed=4) as runtime:
        found = list(batches(runtime, 4_000, 2))
    assert {names for _, names in found} == {("a", "b"), ("c",)}
    own = [at_us for times, names in found for at_us in times if names == ("c",)]
    assert own == [at_us for at_us in graph("c", jitter_us=900).releases_us(4_000, 4) if at_us]


def test_who_submits_or_feeds_what_is_drawn_is_told_how() -> None:
    builder = GraphBuilder("a", period_us=1_000, deadline_us=1_000, trigger=Trigger(jitter_us=10))
    builder.stage("w", "window", stream="mic", samples=4)
    workload = Workload(
        format="leo-workload/1",
        name="w",
        streams=(Stream(name="mic", kind="audio", rate_hz=16_000),),
        graphs=(builder.build(),),
    )
    costs = [{"processor": "cpu", "operator": "window", "fixed_us": 5, "source": "modelled"}]
    profile = type(profile_of({})).from_dict({"format": "leo-profile/1", "name": "m", "hardware": "m", "costs": costs})
    with Runtime.simulated(workload, HARDWARE, profile, compute=False) as runtime:
        assert runtime.triggered(0) == ()
        with pytest.raises(InputError, match="none of workload `w` goes by its period alone") as told:
            runtime.submit(0, {})
        assert told.value.hint == 'say which graphs it is for: graphs=["a"]'
        with pytest.raises(InputError, match="graph `a` has a `trigger`"):
            runtime.feed("mic", np.zeros(16, np.int16))
        runtime.submit(0, {}, graphs=["a"])
        assert [result.graphs[0].outcome for result in runtime.drain()] == ["done"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    study = Study.from_file(path)
    loader, shared = Loader(study, path.parent), Shared()
    return [dict(measure(study, loader.ready(cell), shared).row) for cell in cells(study)]


def test_every_policy_meets_the_same_releases_and_the_same_again(tmp_path: Path) -> None:
    trigger = """
[[axes]]
name = "trigger"
choices = [
    { name = "periodic" },
    { name = "jitter", changes = ["graphs.eyes.trigger.jitter_us=19_000"] },
    { name = "sporadic", changes = ["graphs.eyes.trigger.extra_us=20_000"] },
    { name = "drawn", changes = ["graphs.eyes.trigger.chance_ppm=500_000"] },
]
"""
    path = write_study(tmp_path, STUDY[: STUDY.rindex("[[axes]]")] + trigger)
    found = rows_of(path)
    frames = {}
    for row, cell in zip(found, cells(Study.from_file(path)), strict=True):
        frames.setdefault((cell.values["trigger"], row["seed"]), set()).add((row["frames"], row["answered"]))
    assert all(len(of) == 1 for of in frames.values())
    counts = {key: next(iter(of))[0] for key, of in frames.items()}
    assert counts["periodic", 0] == counts["periodic", 1] == 50 == counts["jitter", 0]
    assert 15 < counts["sporadic", 0] < 35
    assert 15 < counts["drawn", 0] < 35
    assert counts["drawn", 0] != counts["drawn", 1] or counts["sporadic", 0] != counts["sporadic", 1]
    assert rows_of(path) == found


def test_a_study_of_streams_needs_no_recording_where_nothing_is_computed(tmp_path: Path) -> None:
    text = 'format = "leo-study/1"\nname = "s"\n[base]\nworkload = "demo"\nseconds = 4\nsolver = "greedy"\n'
    path = write_study(tmp_path, text, "s.study.toml")
    (row,) = rows_of(path)
    assert (row["recording"], row["answers"], row["length_us"]) == ("demo", 22, 4_000_000)
    path.write_text(text.replace('name = "s"', 'name = "s"\ncompute = true'))
    with pytest.raises(InputError, match="workload `demo` reads streams, and no recording is named"):
        rows_of(path)


def test_a_recording_of_nothing_has_every_kind_of_stream() -> None:
    streams = (
        Stream(name="mic", kind="audio", rate_hz=16_000, channels=2),
        Stream(name="eye", kind="camera", rate_hz=10, channels=3, height_px=4, width_px=5),
        Stream(name="beats", kind="events"),
        Stream(name="nothing", rate_hz=12.5, channels=3),
    )
    workload = Workload.from_dict(workload_of(graph()).model_dump(mode="json", exclude_defaults=True))
    recording = Recording.of_nothing("w", 2_500_000, streams)
    check_streams(workload.model_copy(update={"streams": streams}), recording)
    assert recording.lasts_us(["beats"]) == recording.duration_us == 2_500_000
    assert recording.window("eye", 1_000_000, 2).shape == (2, 4, 5, 3)
    assert recording.window("mic", 1_000_000, 160).shape == (160, 2)
    assert recording.window("beats", 1_000_000, 2).tolist() == [[0, -1], [0, -1]]
    assert not any(np.asarray(samples).any() for samples in recording.samples.values())


def test_a_daemon_refuses_a_trigger_before_it_runs(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    text = WORKLOAD.replace("period_us = 100_000", "period_us = 100_000\ntrigger = { jitter_us = 5 }")
    (tmp_path / "workload.toml").write_text(text)
    with pytest.raises(InputError, match="graph `loud` of workload `levels` has a `trigger`"):
        load(DaemonConfig.from_file(tmp_path / "leo.toml"), tmp_path)

"""Stages that only cost: priced by their names, run in virtual time, their gates drawn from the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, TaskGraph, Variant, Workload
from leo_runtime.errors import DocumentError, GraphError, InputError, ProfileError
from leo_runtime.frame.lower import merge, price
from leo_runtime.frame.records import FrameResult
from leo_runtime.measure import calibrate
from leo_runtime.replay.replay import batches
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.testing.fakes import FakeBackend
from recorded import load_all, write_all

PERIOD_US = 10_000
HARDWARE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "headset",
        "processors": [
            {"name": "cpu", "backend": "cpu", "active_mw": 100},
            {"name": "npu", "backend": "none", "active_mw": 50},
        ],
        "links": [
            {"source": "cpu", "target": "npu", "bytes_per_s": 100_000_000},
            {"source": "npu", "target": "cpu", "bytes_per_s": 100_000_000},
        ],
    }
)
COSTS = [
    {"processor": "cpu", "stage": "frame", "fixed_us": 10, "source": "modelled"},
    {"processor": "cpu", "stage": "moved", "fixed_us": 20, "power_mw": 30, "source": "modelled"},
    {"processor": "cpu", "stage": "gaze", "fixed_us": 900, "source": "modelled"},
    {"processor": "npu", "stage": "gaze", "fixed_us": 300, "energy_nj": 7_000, "source": "modelled"},
]


def profile(*more: dict[str, Any]) -> Profile:
    costs = [*COSTS, *more]
    return Profile.from_dict({"format": "leo-profile/1", "name": "p", "hardware": "headset", "costs": costs})


def eyes(*, chance_ppm: int | None = 300_000, gaze: dict[str, Any] | None = None) -> TaskGraph:
    """frame -> gate; frame -> gaze (gated)."""
    builder = GraphBuilder("eyes", period_us=PERIOD_US, deadline_us=5_000)
    frame = builder.stage("frame", "cost", output_bytes=1_000)
    moved = builder.stage("moved", "cost", frame, chance_ppm=chance_ppm, output_bytes=1)
    builder.stage("gaze", "cost", frame, gate=moved, **(gaze or {"output_bytes": 12, "data_type": "float32"}))
    return builder.build()


def workload(*graphs: TaskGraph, streams: tuple[Stream, ...] = ()) -> Workload:
    return Workload(format="leo-workload/1", name="w", streams=streams, graphs=graphs)


def run(count: int = 200, batch: int = 1, **options: Any) -> tuple[FrameResult, ...]:
    times = [number * PERIOD_US for number in range(1, count + 1)]
    with Runtime.simulated(workload(eyes()), HARDWARE, profile(), **options) as runtime:
        for at in range(0, count, batch):
            runtime.submit_batch([(time, {}) for time in times[at : at + batch]])
        return runtime.drain()


def opened(frames: tuple[FrameResult, ...]) -> list[int]:
    """The releases whose gate opened."""
    return [graph.release_us for frame in frames for graph in frame.graphs if graph.outcome == "done"]


def anywhere(_processor: str, _stage: object, _variant: str) -> bool:
    return True


def test_the_profile_says_by_the_stages_name_what_it_costs() -> None:
    modes = price(merge(workload(eyes())), HARDWARE, profile(), anywhere)
    found = {
        (name, mode.resource): (mode.duration_us, mode.energy_nj, mode.output_bytes)
        for name, each in modes.items()
        for mode in each
    }
    assert found == {
        ("frame", "cpu"): (10, 1_000, 1_000),
        ("moved", "cpu"): (20, 600, 1),
        ("gaze", "cpu"): (900, 90_000, 12),
        ("gaze", "npu"): (300, 7_000, 12),
    }
    together = price(merge(workload(eyes())), HARDWARE, profile(), anywhere, 3)
    assert [(mode.duration_us, mode.energy_nj) for mode in together["gaze"]] == [(2_700, 270_000), (900, 21_000)]


def test_no_entry_of_any_operator_holds_for_a_stage_that_only_costs() -> None:
    any_operator = {"processor": "npu", "fixed_us": 1, "source": "modelled"}
    modes = price(merge(workload(eyes())), HARDWARE, profile(any_operator), anywhere)
    assert [mode.resource for mode in modes["frame"]] == ["cpu"]
    nameless = GraphBuilder("g", period_us=1, deadline_us=1)
    nameless.stage("other", "cost", output_bytes=1)
    with pytest.raises(ProfileError, match="no entry for stage `other`") as caught:
        price(merge(workload(nameless.build())), HARDWARE, profile(any_operator), anywhere)
    assert caught.value.hint == "add an entry with its name as `stage`"


def test_each_variant_has_an_entry_of_its_own() -> None:
    builder = GraphBuilder("g", period_us=1, deadline_us=1)
    builder.stage("gaze", "cost", output_bytes=1, variants=(Variant(name="default"), Variant(name="small")))
    small = {"processor": "npu", "stage": "gaze", "variant": "small", "fixed_us": 5, "source": "modelled"}
    modes = price(merge(workload(builder.build())), HARDWARE, profile(small), anywhere)["gaze"]
    assert [(mode.resource, mode.variant) for mode in modes] == [
        ("cpu", "default"),
        ("npu", "default"),
        ("npu", "small"),
    ]


def test_a_variant_says_how_much_is_left_of_its_output_where_that_is_sent() -> None:
    def modes(sent_bytes: int) -> list[tuple[str, int, int]]:
        builder = GraphBuilder("g", period_us=1, deadline_us=1)
        packed = Variant(name="small", sent_bytes=sent_bytes, accuracy_loss_ppm=30)
        builder.stage("gaze", "cost", output_bytes=1_000, variants=(Variant(name="default"), packed))
        small = {"processor": "npu", "stage": "gaze", "variant": "small", "fixed_us": 5, "source": "modelled"}
        found = price(merge(workload(builder.build())), HARDWARE, profile(small), anywhere)["gaze"]
        return [(mode.variant, mode.output_bytes, mode.accuracy_loss_ppm) for mode in found]

    assert modes(250) == [("default", 1_000, 0), ("default", 1_000, 0), ("small", 250, 30)]
    with pytest.raises(GraphError, match="sent_bytes is 1001, and its form takes 1000 at the most"):
        modes(1_001)


@pytest.mark.parametrize("compute", [False, True])
def test_a_gate_opens_by_its_chance_drawn_from_the_seed(compute: bool) -> None:
    frames = run(compute=compute, seed=4)
    assert 40 <= len(opened(frames)) <= 80  # 60 on average, 6.5 the deviation
    assert {graph.outcome for frame in frames for graph in frame.graphs} == {"done", "cancelled"}
    assert opened(run(compute=compute, seed=4)) == opened(frames)
    assert opened(run(compute=compute, seed=5)) != opened(frames)


def test_every_policy_and_every_batch_meets_the_same_gates() -> None:
    gates = opened(run(compute=False))
    assert opened(run(compute=True)) == gates
    assert opened(run(compute=False, solver="cpu-only")) == gates
    assert opened(run(compute=False, noise=300_000)) == gates
    assert sorted(opened(run(compute=False, batch=4))) == gates
    assert sorted(opened(run(compute=True, batch=4))) == gates


def test_a_run_costs_what_the_profile_says_whether_anything_is_computed_or_not() -> None:
    bills = [[run.nj for frame in run(compute=compute) for run in frame.stages] for compute in (False, True)]
    assert bills[0] == bills[1]
    assert sum(bills[0]) == 200 * 1_600 + len(opened(run(compute=False))) * 7_000


@pytest.mark.parametrize(("chance_ppm", "answers"), [(0, 0), (1_000_000, 50)])
def test_a_gate_that_never_or_always_opens(chance_ppm: int, answers: int) -> None:
    with Runtime.simulated(workload(eyes(chance_ppm=chance_ppm)), HARDWARE, profile(), compute=False) as runtime:
        for number in range(50):
            runtime.submit(number * PERIOD_US, {})
        assert len(opened(runtime.drain())) == answers


def test_outputs_are_zeros_of_the_stated_type_and_none_where_nothing_is_computed() -> None:
    always = workload(eyes(chance_ppm=1_000_000))
    with Runtime.simulated(always, HARDWARE, profile()) as runtime:
        runtime.submit(0, {})
        (frame,) = runtime.drain()
    np.testing.assert_array_equal(frame.graphs[0].outputs["gaze"], np.zeros(3, np.float32))
    with Runtime.simulated(always, HARDWARE, profile(), compute=False) as runtime:
        runtime.submit(0, {})
        (frame,) = runtime.drain()
    assert frame.graphs[0].outputs == {}


def heard(chance_ppm: int | None) -> Workload:
    """A computed gate over a microphone, and a stage behind it that only costs."""
    builder = GraphBuilder("heard", period_us=PERIOD_US, deadline_us=5_000)
    sound = builder.stage("sound", "window", stream="mic", samples=16)
    loud = builder.stage("loud", "energy_gate", sound, chance_ppm=chance_ppm, threshold_dbfs=-40.0)
    builder.stage("gaze", "cost", sound, gate=loud, output_bytes=12)
    return workload(builder.build(), streams=(Stream(name="mic", kind="audio", rate_hz=16_000),))


@pytest.mark.parametrize(
    ("chance_ppm", "compute", "volume", "opens"),
    [
        (None, False, 0, True),  # As it was before a chance could be stated.
        (0, False, 30_000, False),
        (0, True, 30_000, True),  # What is computed decides.
        (1_000_000, True, 0, False),
    ],
)
def test_a_gate_that_is_computed_is_drawn_where_nothing_is(
    chance_ppm: int | None, compute: bool, volume: int, opens: bool
) -> None:
    computed = {"processor": "cpu", "fixed_us": 3, "source": "modelled"}
    with Runtime.simulated(heard(chance_ppm), HARDWARE, profile(computed), compute=compute) as runtime:
        runtime.submit(0, {"sound": np.full(16, volume, np.int16)})
        assert bool(opened(runtime.drain())) is opens


def test_what_runs_for_a_whole_batch_leaves_out_the_frames_whose_drawn_gate_is_closed() -> None:
    builder = GraphBuilder("heard", period_us=PERIOD_US, deadline_us=5_000)
    sound = builder.stage("sound", "window", stream="mic", samples=16)
    loud = builder.stage("loud", "energy_gate", sound, chance_ppm=500_000, threshold_dbfs=-40.0)
    builder.stage("sum", "fuse", sound, gate=loud)
    listens = workload(builder.build(), streams=(Stream(name="mic", kind="audio", rate_hz=16_000),))
    computed = {"processor": "cpu", "fixed_us": 400, "ps_per_byte": 1_000_000, "source": "modelled"}
    found = []
    for batch in (1, 8):
        with Runtime.simulated(listens, HARDWARE, profile(computed), compute=False) as runtime:
            for at in range(1, 33, batch):
                runtime.submit_batch([(time * PERIOD_US, {}) for time in range(at, at + batch)])
            frames = runtime.drain()
        found.append(opened(frames))
    assert found[0] == found[1]
    assert 0 < len(found[0]) < 32
    sums = [run for frame in frames for run in frame.stages if (run.stage, run.outcome) == ("sum#all", "done")]
    assert len(sums) == 3  # Of the first eight frames none is open.
    moved_bytes = 4 * 2 * 16
    assert sum(run.end_us - run.start_us for run in sums) == 3 * 400 + moved_bytes * len(found[0])


def test_stages_of_different_names_are_two_and_of_one_name_are_one() -> None:
    def graph(name: str, *stages: str) -> TaskGraph:
        builder = GraphBuilder(name, period_us=1, deadline_us=1)
        for stage in stages:
            builder.stage(stage, "cost", output_bytes=5)
        return builder.build()

    merged = merge(workload(graph("one", "a", "b"), graph("two", "a")))
    assert [(stage.name, stage.graphs) for stage in merged.stages] == [("a", ("one", "two")), ("b", ("one",))]


def test_gates_of_different_chances_are_two() -> None:
    one, two = eyes(chance_ppm=1), eyes(chance_ppm=2).model_copy(update={"name": "two"})
    assert {"moved", "two.moved"} <= {stage.name for stage in merge(workload(one, two)).stages}


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (
            {"gaze": {"output_bytes": 10, "data_type": "int32"}},
            r"10 bytes, which is no whole number of int32 \(4 each\)",
        ),
        ({"gaze": {"output_bytes": 0}}, "expected at least 1, got 0"),
        ({"chance_ppm": None}, "gated by `moved`, whose operator `cost` is no gate"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(graph: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        merge(workload(eyes(**graph)))


def test_a_chance_of_what_is_no_gate_is_refused() -> None:
    builder = GraphBuilder("g", period_us=1, deadline_us=1)
    builder.stage("frame", "cost", output_bytes=4)
    builder.stage("sum", "fuse", "frame", chance_ppm=5)
    with pytest.raises(GraphError, match="`sum` of graph `g` has chance_ppm 5, and its operator `fuse` is no gate"):
        merge(workload(builder.build()))


@pytest.mark.parametrize(
    ("entry", "path", "says"),
    [
        ({"operator": "cost"}, "$.costs[0].stage", "for one stage, by its name"),
        ({"operator": "dense", "stage": "gaze"}, "$.costs[0].operator", "is of operator `cost`"),
        ({"stage": "gaze", "ps_per_mac": 1}, "$.costs[0].ps_per_mac", "does nothing for stage `gaze`"),
        ({"stage": "gaze", "signature": "s"}, "$.costs[0].signature", "does nothing for stage `gaze`"),
        ({"stage": "gaze", "power_mw": 1, "energy_nj": 1}, "$.costs[0].energy_nj", "not both"),
        ({"operator": "dense", "energy_nj": 1}, "$.costs[0].energy_nj", "others have power_mw"),
    ],
)
def test_an_entry_that_would_do_nothing_is_refused(entry: dict[str, Any], path: str, says: str) -> None:
    costs = [{"processor": "cpu", "source": "modelled", **entry}]
    with pytest.raises(DocumentError, match=says) as caught:
        Profile.from_dict({"format": "leo-profile/1", "name": "p", "hardware": "headset", "costs": costs})
    assert caught.value.path == path


def test_two_entries_of_one_stage_are_refused_and_a_profile_comes_back_as_it_was() -> None:
    with pytest.raises(DocumentError, match="given twice"):
        profile(COSTS[0])
    assert Profile.from_json(profile().to_json()) == profile()


def test_in_real_time_it_is_refused(tmp_path: Path) -> None:
    says = "stage `frame` of workload `w` is of operator `cost`, which nothing computes"
    with pytest.raises(GraphError, match=says) as caught:
        Runtime.live(workload(eyes()), HARDWARE, profile(), backends={"cpu": FakeBackend()})
    assert "--virtual" in (caught.value.hint or "")
    write_all(tmp_path)
    with pytest.raises(GraphError, match=says):
        calibrate.calibrate(workload(eyes()), HARDWARE, load_all(tmp_path)[3])


def test_graphs_at_rates_share_the_frames_where_they_meet() -> None:
    """60, 45 and 30 a second over a second: 90 moments, each one question."""

    def at(rate_hz: int) -> TaskGraph:
        builder = GraphBuilder(f"at{rate_hz}", rate_hz=rate_hz, deadline_us=5_000)
        builder.stage("frame", "cost", output_bytes=1)
        return builder.build()

    shared = workload(at(60), at(45), at(30))
    with Runtime.simulated(shared, HARDWARE, profile(), compute=False) as runtime:
        for due, _ in batches(runtime, 1_000_000, 1):
            runtime.submit(due[0], {})
        frames = runtime.drain()
        assert [len(graphs) for _, graphs in batches(runtime, 1_000_000, 5)] == [1] * (12 + 9 + 6)
    assert len(frames) == 90
    assert sum(len(frame.graphs) for frame in frames) == 135
    assert sum(len(frame.stages) for frame in frames) == 90
    assert [graph.graph for graph in frames[-1].graphs] == ["at60", "at45", "at30"]


def test_a_release_at_a_rate_that_is_not_due_is_told_the_next() -> None:
    graph = eyes().model_copy(update={"period_us": 16_667, "rate_hz": 60})
    with Runtime.simulated(workload(graph), HARDWARE, profile(), compute=False) as runtime:
        runtime.submit(33_333, {})
        with pytest.raises(InputError, match="no graph is due at 33334 us; due next are, in us, `eyes` at 50000"):
            runtime.submit(33_334, {})

"""From graphs, hardware and profile to one frame's question."""

from typing import Any

import pytest

from leo_runtime import shipped
from leo_runtime.conditions import Conditions
from leo_runtime.errors import GraphError, ProfileError
from leo_runtime.graph import BoundStage, GraphBuilder, Stream, TaskGraph, Workload
from leo_runtime.hardware import Hardware
from leo_runtime.lower import MergedWorkload, frame_problem, merge, price
from leo_runtime.profiles import Profile

HARDWARE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "toy",
        "processors": [
            {"name": "cpu", "backend": "cpu", "active_mw": 1000, "lanes": 2},
            {"name": "dsp", "backend": "dsp", "active_mw": 50, "awake_mw": 5, "wake_latency_us": 70, "memory_bytes": 9},
        ],
        "radios": [{"name": "wifi", "wake_energy_nj": 3}],
        "links": [
            {"source": "cpu", "target": "dsp", "latency_us": 10, "bytes_per_s": 1_000_000},
            {"source": "dsp", "target": "cpu", "latency_us": 20, "radio": "wifi"},
        ],
    }
)
PROFILE = Profile.from_dict(
    {
        "format": "leo-profile/1",
        "name": "toy",
        "hardware": "toy",
        "costs": [
            {"processor": "cpu", "fixed_us": 10, "ps_per_byte": 1_000_000, "source": "modelled"},
            {"processor": "dsp", "operator": "energy_gate", "fixed_us": 7, "power_mw": 3, "source": "modelled"},
            {"processor": "dsp", "operator": "window", "fixed_us": 5, "source": "modelled"},
        ],
    }
)


def graph(name: str, *, gated: bool = True, threshold: float = -40.0, out: str = "out", **kwargs: Any) -> TaskGraph:
    """window -> gate; window -> features (gated) -> out."""
    builder = GraphBuilder(name, period_us=1000, deadline_us=500, **kwargs)
    sound = builder.stage("sound", "window", stream="mic", samples=64)
    gate = builder.stage("gate", "energy_gate", sound, threshold_dbfs=threshold)
    features = builder.stage("features", "energy_gate", sound, threshold_dbfs=0.0, gate=gate if gated else None)
    builder.stage(out, "fuse", features)
    return builder.build()


def workload(*graphs: TaskGraph) -> Workload:
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    return Workload(format="leo-workload/1", name="w", streams=streams, graphs=graphs)


def anywhere(_processor: str, _stage: BoundStage, _variant: str) -> bool:
    return True


def problem_of(merged: MergedWorkload, **state: Any) -> Any:
    modes = price(merged, HARDWARE, PROFILE, anywhere)
    graphs = tuple(g.name for g in merged.workload.graphs)
    return frame_problem(merged, modes, HARDWARE, Conditions(**{"graphs": graphs, **state}), "frame")


def test_stages_that_graphs_share_are_computed_once() -> None:
    merged = merge(workload(graph("one"), graph("two")))
    assert [stage.name for stage in merged.stages] == ["sound", "gate", "features", "out"]
    assert all(stage.graphs == ("one", "two") for stage in merged.stages)


def test_stages_that_differ_stay_apart_under_names_of_their_own() -> None:
    merged = merge(workload(graph("one"), graph("two", threshold=-20.0)))
    assert [stage.name for stage in merged.stages] == ["sound", "gate", "features", "out", "two.gate"] or (
        sorted(stage.name for stage in merged.stages) == ["features", "gate", "out", "sound", "two.gate"]
    )
    assert merged.stage("features").gates(("one", "two")) == ("gate", "two.gate")
    assert merged.stage("features").gates(("two",)) == ("two.gate",)
    assert merged.names["two", "gate"] == "two.gate"


def test_a_graph_that_asks_without_a_gate_frees_the_shared_stage_of_it() -> None:
    merged = merge(workload(graph("one"), graph("two", gated=False)))
    assert merged.stage("features").gates(("one", "two")) == ()
    assert merged.stage("features").gates(("one",)) == ("gate",)
    assert "features" not in {s.name for s in problem_of(merged, graphs=("one",), closed_gates=("gate",)).stages}
    assert "features" in {s.name for s in problem_of(merged, closed_gates=("gate",)).stages}


def test_prices_come_from_the_profile_and_the_hardware() -> None:
    modes = price(merge(workload(graph("one"))), HARDWARE, PROFILE, anywhere)
    cpu, dsp = modes["sound"]
    moved_bytes = 2 * 64 + 4 * 64  # 16-bit samples in, float32 out
    assert (cpu.resource, cpu.energy_nj) == ("cpu", cpu.duration_us * 1000)
    assert cpu.duration_us in {10 + moved_bytes, 10 + 8 * 64}
    assert (dsp.resource, dsp.duration_us, dsp.energy_nj, dsp.output_bytes) == ("dsp", 5, 250, 256)
    assert next(m for m in modes["gate"] if m.resource == "dsp").energy_nj == 21
    assert [mode.resource for mode in modes["out"]] == ["cpu"]


def test_a_frame_has_deadlines_links_and_resources_as_they_are_now() -> None:
    merged = merge(workload(graph("one", weight=3)))
    problem = problem_of(merged, ready_us=(("cpu", (4, 0)),), asleep=("dsp",), links=((("cpu", "dsp"), (99, 5)),))
    assert [(r.name, r.lanes, r.ready_us, r.awake) for r in problem.resources] == [
        ("cpu", 2, (4, 0), True),
        ("dsp", 1, (), False),
        ("wifi", 1, (), True),
    ]
    assert [(link.latency_us, link.bytes_per_s, link.resource) for link in problem.links] == [
        (99, 5, None),
        (20, None, "wifi"),
    ]
    assert [(d.stage, d.deadline_us, d.weight) for d in problem.deadlines] == [("out", 500, 3)]
    assert next(s for s in problem.stages if s.name == "features").inputs == ("sound", "gate")


def test_a_link_that_is_down_and_a_processor_that_is_lost_are_left_out() -> None:
    merged = merge(workload(graph("one")))
    assert [link.source for link in problem_of(merged, links=((("cpu", "dsp"), None),)).links] == ["dsp"]
    problem = problem_of(merged, lost=("dsp",))
    assert [r.name for r in problem.resources] == ["cpu", "wifi"]
    assert {mode.resource for stage in problem.stages for mode in stage.modes} == {"cpu"}
    assert problem.links == ()


def test_a_gate_that_closes_removes_what_hangs_on_it() -> None:
    merged = merge(workload(graph("one")))
    problem = problem_of(merged, closed_gates=("gate",))
    assert [stage.name for stage in problem.stages] == ["sound", "gate"]


def test_an_operator_that_takes_absent_inputs_stays_while_one_is_there() -> None:
    builder = GraphBuilder("g", period_us=1000, deadline_us=500)
    sound = builder.stage("sound", "window", stream="mic", samples=64)
    gate = builder.stage("gate", "energy_gate", sound, threshold_dbfs=-40.0)
    always = builder.stage("always", "energy_gate", sound, threshold_dbfs=-9.0)
    sometimes = builder.stage("sometimes", "energy_gate", sound, threshold_dbfs=-8.0, gate=gate)
    builder.stage("out", "fuse", always, sometimes)
    problem = problem_of(merge(workload(builder.build())), closed_gates=("gate",))
    assert problem.stages[-1].name == "out"
    assert problem.stages[-1].inputs == ("always",)


def test_only_what_triggered_graphs_need_is_placed() -> None:
    merged = merge(workload(graph("one"), graph("two", threshold=-20.0)))
    assert {s.name for s in problem_of(merged, graphs=("one",)).stages} == {"sound", "gate", "features", "out"}


def test_an_accuracy_budget_covers_the_stages_of_its_graph() -> None:
    problem = problem_of(merge(workload(graph("one", accuracy_loss_ppm_max=10))))
    assert problem.accuracy_budgets[0].loss_ppm_max == 10
    assert set(problem.accuracy_budgets[0].stages) == {"sound", "gate", "features", "out"}


def test_a_stage_without_a_cost_is_named() -> None:
    merged = merge(workload(graph("one")))
    with pytest.raises(ProfileError, match=r"no entry for stage `features`|no entry for stage `out`") as error:
        price(merged, HARDWARE, PROFILE, lambda processor, stage, _: processor == "dsp" or stage.name != "out")
    assert "calibrate" in error.value.hint or "backends" in error.value.hint


def test_a_stage_that_runs_nowhere_is_named() -> None:
    with pytest.raises(ProfileError, match=r"stage `sound` \(window\) has no mode on any processor of `toy`"):
        price(merge(workload(graph("one"))), HARDWARE, PROFILE, lambda *_: False)


def test_a_profile_of_other_hardware_is_refused() -> None:
    other = PROFILE.model_copy(update={"hardware": "phone"})
    with pytest.raises(ProfileError, match="is of hardware `phone`, not of `toy`"):
        price(merge(workload(graph("one"))), HARDWARE, other, anywhere)


def test_a_profile_of_a_processor_that_is_not_there_is_refused() -> None:
    costs = [*PROFILE.model_dump(mode="json")["costs"], {"processor": "cpuu", "operator": "fuse", "source": "modelled"}]
    slip = Profile.from_dict({"format": "leo-profile/1", "name": "toy", "hardware": "toy", "costs": costs})
    with pytest.raises(ProfileError) as error:
        price(merge(workload(graph("one"))), HARDWARE, slip, anywhere)
    assert str(error.value) == ("profile `toy`: $.costs[3] (fuse) is of processor `cpuu`, which hardware `toy` has not")
    assert error.value.hint == "it has cpu, dsp"


def test_shipped_profiles_speak_of_processors_that_are_there() -> None:
    assert shipped.names("profile")
    for name in shipped.names("profile"):
        profile = shipped.profile(name)
        modes = price(merge(workload(graph("one"))), shipped.hardware(profile.hardware), profile, anywhere)
        assert all(modes.values())


def test_graphs_that_gate_each_other_are_refused() -> None:
    def crossed(name: str, first: float, second: float) -> TaskGraph:
        builder = GraphBuilder(name, period_us=1, deadline_us=1)
        sound = builder.stage("sound", "window", stream="mic", samples=64)
        common = builder.stage("common", "energy_gate", sound, threshold_dbfs=-9.0)
        gate = builder.stage("a", "energy_gate", sound, threshold_dbfs=first, gate=common)
        builder.stage("b", "energy_gate", sound, threshold_dbfs=second, gate=gate)
        return builder.build()

    with pytest.raises(GraphError, match="graphs that share stages gate each other"):
        merge(workload(crossed("one", -1.0, -2.0), crossed("two", -2.0, -1.0)))

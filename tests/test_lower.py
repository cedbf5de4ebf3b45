"""From graphs, hardware and profile to one frame's question."""

from typing import Any

import pytest

from leo_runtime import shipped
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Cost, Profile
from leo_runtime.documents.workload import Stream, TaskGraph, Variant, Workload
from leo_runtime.errors import GraphError, ProfileError
from leo_runtime.frame.batch import batch_problem
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import MergedWorkload, frame_problem, merge, price, share_weights
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve

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
    assert (dsp.resource, dsp.duration_us, dsp.energy_nj, dsp.output_bytes) == ("dsp", 5, 250, 128)
    assert next(m for m in modes["gate"] if m.resource == "dsp").energy_nj == 21
    assert [mode.resource for mode in modes["out"]] == ["cpu"]


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        ({"kind": "audio"}, 2),  # 16-bit samples, as they come from the microphone
        ({"kind": "audio", "data_type": "float32"}, 4),
        ({"kind": "motion"}, 4),
        ({"kind": "other", "data_type": "uint8"}, 1),
    ],
)
def test_a_window_is_sent_and_held_as_its_stream_is(stream: dict[str, Any], size: int) -> None:
    streams = (Stream(name="mic", rate_hz=16_000, **stream),)
    merged = merge(workload(graph("one")).model_copy(update={"streams": streams}))
    modes = price(merged, HARDWARE, PROFILE, anywhere)
    assert {(mode.output_bytes, mode.memory_bytes) for mode in modes["sound"]} == {(size * 64, size * 64)}
    assert {mode.output_bytes for mode in modes["features"]} == {4}  # What is computed is float32.


def test_the_variants_of_a_window_have_one_data_type() -> None:
    builder = GraphBuilder("one", period_us=1000, deadline_us=500)
    variants = (Variant(name="near", params={"stream": "mic"}), Variant(name="far", params={"stream": "wide"}))
    builder.stage("sound", "window", samples=64, variants=variants)
    streams = (
        Stream(name="mic", kind="audio", rate_hz=16_000),
        Stream(name="wide", kind="audio", rate_hz=16_000, data_type="float32"),
    )
    two = Workload(format="leo-workload/1", name="w", streams=streams, graphs=(builder.build(),))
    with pytest.raises(GraphError, match="different data types: near int16, far float32"):
        merge(two)


def with_remote(*names: str) -> Hardware:
    """The toy, with these processors elsewhere."""
    parts = tuple(part.model_copy(update={"remote": part.name in names}) for part in HARDWARE.processors)
    return HARDWARE.model_copy(update={"processors": parts})


def heard_on(processor: str | None) -> MergedWorkload:
    """The toy's workload with a microphone there."""
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000, on=processor),)
    return merge(workload(graph("one")).model_copy(update={"streams": streams}))


@pytest.mark.parametrize(
    ("on", "remote", "where"),
    [
        (None, (), ["cpu", "dsp"]),  # As documents that say nothing of it have always meant.
        (None, ("dsp",), ["cpu"]),
        ("dsp", (), ["dsp"]),
        ("dsp", ("dsp",), ["dsp"]),  # Whoever says so has a sensor there.
    ],
)
def test_a_window_is_taken_where_the_sensor_is(on: str | None, remote: tuple[str, ...], where: list[str]) -> None:
    modes = price(heard_on(on), with_remote(*remote), PROFILE, anywhere)
    assert [mode.resource for mode in modes["sound"]] == where
    assert {mode.resource for mode in modes["gate"]} == {"cpu", "dsp"}  # What reads it may be anywhere.


def test_a_window_with_no_sensor_anywhere_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"`sound` \(window\) can be taken on no processor of `toy`") as caught:
        price(heard_on(None), with_remote("cpu", "dsp"), PROFILE, anywhere)
    assert "`on`" in (caught.value.hint or "")


def test_a_stream_on_an_unknown_processor_is_refused() -> None:
    with pytest.raises(
        GraphError, match=r"\$.streams\[0\] \(`mic`\) is on processor `npu`, which hardware `toy`"
    ) as caught:
        price(heard_on("npu"), HARDWARE, PROFILE, anywhere)
    assert caught.value.hint == "it has cpu, dsp"


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


ANY = PROFILE.model_copy(
    update={"costs": tuple(cost.model_copy(update={"operator": "*"}) for cost in (PROFILE.costs[0], PROFILE.costs[2]))}
)


def capped(memory_bytes: int | None) -> Hardware:
    """The toy with a cap on its DSP, and on its CPU: the same."""
    processors = tuple(p.model_copy(update={"memory_bytes": memory_bytes}) for p in HARDWARE.processors)
    return HARDWARE.model_copy(update={"processors": processors})


def networks(models: tuple[str, ...], layers: tuple[int, ...] = (8, 2), parts: int = 1) -> MergedWorkload:
    """Two channels as 32 rows of two values, through one network a model."""
    builder = GraphBuilder("nets", period_us=1000, deadline_us=500)
    moved = builder.stage("moved", "window", stream="wrist", samples=32)
    for number, model in enumerate(models):
        # Told apart by what they read alone.
        rows = builder.stage(f"rows{number}", "rows", moved, first=number, count=16)
        builder.stage(f"net{number}", "dense", rows, layers=layers, per_row=True, model=model, parts=parts)
    stream = Stream(name="wrist", kind="motion", rate_hz=10, channels=2)
    graphs = (builder.build(),)
    return merge(Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=graphs))


WEIGHTS = 4 * (2 * 8 + 8 + 8 * 2 + 2)
OUTPUT = 4 * 16 * 2


def memory(merged: MergedWorkload, modes: Any, memory_bytes: int | None = None) -> dict[str, list[int]]:
    """Of each stage, on the CPU and then on the DSP, where they have so much room."""
    shared = share_weights(merged.stages, modes, capped(memory_bytes))
    return {name: [mode.memory_bytes for mode in found] for name, found in shared.items()}


def test_a_stages_memory_is_its_weights_and_the_output_of_every_frame() -> None:
    merged = networks(("a.npz",))
    assert memory(merged, price(merged, HARDWARE, ANY, anywhere)) == {
        "moved": [4 * 64] * 2,
        "rows0": [4 * 32] * 2,
        "net0": [WEIGHTS + OUTPUT] * 2,
    }
    assert memory(merged, price(merged, HARDWARE, ANY, anywhere, frames=3))["net0"] == [WEIGHTS + 3 * OUTPUT] * 2


def test_equal_weights_are_there_once_with_the_first_stage_that_reads_them() -> None:
    merged = networks(("a.npz", "a.npz", "b.npz"))
    found = memory(merged, price(merged, HARDWARE, ANY, anywhere))
    assert found["net0"] == found["net2"] == [WEIGHTS + OUTPUT] * 2
    assert found["net1"] == [OUTPUT] * 2


@pytest.mark.parametrize(("names", "counted"), [(("left", "right"), [900, 900]), (("iris", "iris"), [900, 0])])
def test_stages_that_only_cost_share_weights_of_one_label(names: tuple[str, str], counted: list[int]) -> None:
    builder = GraphBuilder("eyes", period_us=1000, deadline_us=500)
    for number, name in enumerate(names):
        builder.stage(f"eye{number}", "cost", output_bytes=4 + number, weights=[{"label": name, "bytes": 900}])
    merged = merge(Workload(format="leo-workload/1", name="w", graphs=(builder.build(),)))
    costs = tuple(
        Cost(stage=f"eye{number}", processor=one.name, fixed_us=9, source="modelled")
        for number in range(2)
        for one in HARDWARE.processors
    )
    found = memory(merged, price(merged, HARDWARE, PROFILE.model_copy(update={"costs": costs}), anywhere))
    assert found == {f"eye{number}": [4 + number + held] * 2 for number, held in enumerate(counted)}


def test_weights_are_there_also_where_the_first_stage_that_reads_them_is_not_asked_for() -> None:
    def net(name: str) -> TaskGraph:
        builder = GraphBuilder(name, period_us=1000, deadline_us=500)
        rows = builder.stage(f"moved_{name}", "window", stream="wrist", samples=16)
        builder.stage(f"net_{name}", "dense", rows, layers=(8, 2), per_row=True, model="a.npz")
        return builder.build()

    stream = Stream(name="wrist", kind="motion", rate_hz=10, channels=2)
    graphs = (net("one"), net("two"))
    merged = merge(Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=graphs))
    modes = price(merged, HARDWARE, ANY, anywhere)

    def held(*asked: str) -> int:
        problem = frame_problem(merged, modes, HARDWARE, Conditions(asked), "frame")
        batch = batch_problem(
            merged, modes, modes, HARDWARE, Conditions(asked), frames=2, period_us=None, together=(), name="b"
        )
        sums = [
            sum(stage.modes[0].memory_bytes - stage.modes[0].output_bytes for stage in one.stages)
            for one in (problem, batch)
        ]
        assert sums[0] == sums[1]
        return sums[0]

    assert held("one") == held("two") == held("one", "two") == WEIGHTS


def test_the_parts_of_a_network_share_its_weights() -> None:
    merged = networks(("a.npz",), parts=3)
    found = memory(merged, price(merged, HARDWARE, ANY, anywhere))
    rows = [4 * count * 2 for count in (5, 5, 6)]
    assert [found[f"net0[{part}]"] for part in range(3)] == [[WEIGHTS + rows[0]] * 2, [rows[1]] * 2, [rows[2]] * 2]


def test_weights_for_which_there_is_no_room_count_with_each_that_reads_them() -> None:
    """The second ran where the weights that it shares with the first could not be."""
    merged = networks(("a.npz", "a.npz"))
    for cap, there in ((WEIGHTS + OUTPUT - 1, [WEIGHTS + OUTPUT] * 2), (WEIGHTS + OUTPUT, [WEIGHTS + OUTPUT, OUTPUT])):
        found = memory(merged, price(merged, HARDWARE, ANY, anywhere), cap)
        assert [found["net0"][1], found["net1"][1]] == there


def test_a_processor_on_which_the_first_cannot_run_has_the_weights_with_the_next() -> None:
    def only_the_second_on_the_dsp(processor: str, stage: BoundStage, _variant: str) -> bool:
        return processor == "cpu" or stage.name != "net0"

    merged = networks(("a.npz", "a.npz"))
    found = memory(merged, price(merged, HARDWARE, ANY, only_the_second_on_the_dsp))
    assert (found["net0"], found["net1"]) == ([WEIGHTS + OUTPUT], [OUTPUT, WEIGHTS + OUTPUT])


def test_a_cap_of_one_byte_leaves_no_answer_and_the_reason_is_memory() -> None:
    merged, hardware = networks(("a.npz",)), capped(1)
    modes = price(merged, hardware, ANY, anywhere)
    answer = solve(frame_problem(merged, modes, hardware, Conditions(("nets",)), "frame"))
    assert answer.status == "infeasible"
    assert answer.reason.startswith("rule 5: `moved` alone needs at least 256 bytes of memory"), answer.reason
    with Runtime.simulated(merged.workload, hardware, ANY, compute=False) as runtime:
        runtime.submit(0, {})
        (result,) = runtime.drain()
    assert result.graphs[0].outcome == "failed"
    assert result.placement.reason == answer.reason


def test_a_cap_sends_elsewhere_what_does_not_fit() -> None:
    merged = networks(("a.npz", "b.npz"))
    for cap, there in ((None, 5), (4 * 64 + 2 * 128 + 2 * (WEIGHTS + OUTPUT), 5), (4 * 64 + 2 * 128, 3)):
        processors = (HARDWARE.processors[0], HARDWARE.processors[1].model_copy(update={"memory_bytes": cap}))
        hardware = HARDWARE.model_copy(update={"processors": processors, "radios": (), "links": ()})
        links = tuple(link.model_copy(update={"radio": None}) for link in HARDWARE.links)
        hardware = hardware.model_copy(update={"links": links})
        modes = price(merged, hardware, ANY, anywhere)
        answer = solve(frame_problem(merged, modes, hardware, Conditions(("nets",)), "frame"))
        assert sum(run.resource == "dsp" for run in answer.stages) == there, (cap, answer)


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
    assert error.value.hint == "did you mean `cpu`? it has cpu, dsp"


def test_shipped_profiles_speak_of_processors_that_are_there() -> None:
    assert shipped.names("profile")
    for name in shipped.names("profile"):
        profile = shipped.profile(name)
        modes = price(merge(workload(graph("one"))), shipped.hardware(profile.hardware), profile, anywhere)
        assert all(modes.values())


def test_the_demo_fits_the_memory_of_every_shipped_machine() -> None:
    merged = merge(shipped.workload())
    graphs = tuple(g.name for g in merged.workload.graphs)
    for name in shipped.names("profile"):
        profile = shipped.profile(name)
        hardware = shipped.hardware(profile.hardware)
        problem = frame_problem(merged, price(merged, hardware, profile, anywhere), hardware, Conditions(graphs), name)
        assert solve(problem, "greedy").criteria is not None, name


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

"""Changes to documents by path: what each changes, that nothing else is, and what is said where one cannot be made."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leo_runtime
from cost_workloads import profile_of, random_machine, random_profile, random_workload, workload_of
from leo_runtime import shipped
from leo_runtime.documents.binding import bind
from leo_runtime.documents.changes import Changed, changed, changed_unmeasured
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import DocumentError, InputError, LeoError
from leo_runtime.recordings.links import LinkSample, changed_links

DEMO = shipped.workload()
PHONE = shipped.hardware("snapdragon-800")
COSTS = shipped.profile("snapdragon-800")


def demo(*changes: str) -> Changed:
    return changed(DEMO, PHONE, COSTS, changes)


def plain(document: Any) -> Any:
    return document.model_dump(mode="json")


def differences(before: Any, after: Any, path: str = "$") -> dict[str, tuple[Any, Any]]:
    """The values that are not the same in two documents, by place; what cites is left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        pairs = [(key, before.get(key), after.get(key)) for key in keys if key not in ("sources", "source")]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(number, *both) for number, both in enumerate(zip(before, after, strict=True))]
    else:
        return {} if before == after else {path: (before, after)}
    return {k: v for key, one, two in pairs for k, v in differences(one, two, f"{path}.{key}").items()}


def all_differences(after: Changed) -> dict[str, tuple[Any, Any]]:
    found = differences(plain(DEMO), plain(after.workload), "workload")
    found |= differences(plain(PHONE), plain(after.hardware), "hardware")
    return found | differences(plain(COSTS), plain(after.profile), "profile")


def stage_us(after: Changed, graph: str, stage: str, processor: str) -> int | None:
    bound = bind(next(one for one in after.workload.graphs if one.name == graph), after.workload)[stage]
    cost = after.profile.cost(bound, "default", processor)
    return None if cost is None else cost.duration_us(bound.work("default"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("graphs.speech.deadline_us=200_000", {"workload.graphs.1.deadline_us": (400_000, 200_000)}),
        ("graphs.speech.weight*=3", {"workload.graphs.1.weight": (2, 6)}),
        ("graphs.speech.decision.threshold=0.7", {"workload.graphs.1.decision.threshold": (0.5, 0.7)}),
        ("graphs.speech.stages.mfcc.params.bands=30", {"workload.graphs.1.stages.3.params.bands": (25, 30)}),
        (
            "graphs.speech.stages.mfcc.variants.default.accuracy_loss_ppm=5",
            {"workload.graphs.1.stages.3.variants.0.accuracy_loss_ppm": (0, 5)},
        ),
        ("streams.mic.on=dsp", {"workload.streams.0.on": (None, "dsp")}),
        ('objective=["energy"]', {"workload.objective": (["tardiness", "energy"], ["energy"])}),
        ("processors.gpu.wake_energy_nj=0", {"hardware.processors.1.wake_energy_nj": (2_373_560, 0)}),
        ("processors.dsp.lanes=2", {"hardware.processors.2.lanes": (3, 2)}),
        ("processors.gpu.idle_timeout_us=none", {"hardware.processors.1.idle_timeout_us": (80_000, None)}),
        ("processors.dsp.options.arithmetic=hexagon", {"hardware.processors.2.options.arithmetic": (None, "hexagon")}),
        ("links.cpu->gpu.latency_us=1", {"hardware.links.0.latency_us": (3000, 1)}),
        ("links.cpu:gpu.latency_us=1", {"hardware.links.0.latency_us": (3000, 1)}),
        ("links.cpu->dsp.bytes_per_s*=0.5", {"hardware.links.2.bytes_per_s": (500_000_000, 250_000_000)}),
        (
            "links.*->gpu.energy_nj*=1/3",
            {"hardware.links.0.energy_nj": (198_000, 66_000), "hardware.links.4.energy_nj": (211_200, 70_400)},
        ),
        ("battery_nj*=2", {"hardware.battery_nj": (31_464_000_000_000, 62_928_000_000_000)}),
    ],
)  # fmt: skip
def test_a_path_changes_that_value_and_no_other(change: str, expected: dict[str, tuple[Any, Any]]) -> None:
    after = demo(change)
    assert all_differences(after) == expected
    assert after.notes == ()


@pytest.mark.parametrize(
    ("change", "place", "value"),
    [
        ("graphs.speech.deadline_us=3e5", "workload.graphs.1.deadline_us", 300_000),
        ("graphs.speech.stages.mfcc.params.bands=3e1", "workload.graphs.1.stages.3.params.bands", 30),
        ("processors.gpu.lanes=2.0", "hardware.processors.1.lanes", 2),
        ("battery_nj=1e12", "hardware.battery_nj", 10**12),
        ("links.cpu->gpu.bytes_per_s=1.5e6", "hardware.links.0.bytes_per_s", 1_500_000),
        ("graphs.speech.decision.threshold=1e-1", "workload.graphs.1.decision.threshold", 0.1),
        ("processors.gpu.backend=1e3", "hardware.processors.1.backend", "1e3"),
        ("processors.gpu.backend=20161216", "hardware.processors.1.backend", "20161216"),
        ("processors.gpu.backend=0x1F", "hardware.processors.1.backend", "0x1F"),
        ("processors.gpu.backend=1_1_1", "hardware.processors.1.backend", "1_1_1"),
        ("processors.gpu.backend=true", "hardware.processors.1.backend", "true"),
        ("processors.gpu.backend=2026-01-01", "hardware.processors.1.backend", "2026-01-01"),
        ('processors.gpu.backend="none"', "hardware.processors.1.backend", "none"),
        ("processors.gpu.options.x=12:30:00", "hardware.processors.1.options.x", "12:30:00"),
        ("processors.gpu.options.x=2026-01-01T00:00:00Z", "hardware.processors.1.options.x", "2026-01-01T00:00:00Z"),
        ("processors.gpu.options.x=5#b", "hardware.processors.1.options.x", "5#b"),
        ("processors.gpu.options.x='5#b'", "hardware.processors.1.options.x", "5#b"),
        ("processors.gpu.options.x=1,2", "hardware.processors.1.options.x", "1,2"),
        ("processors.gpu.options.x=[1, 2]", "hardware.processors.1.options.x", [1, 2]),
        ("processors.gpu.options.x=a=b", "hardware.processors.1.options.x", "a=b"),
        ("processors.gpu.options.x=", "hardware.processors.1.options.x", ""),
    ],
)
def test_a_value_is_what_its_field_can_be(change: str, place: str, value: Any) -> None:
    found: Any = {"workload": plain(demo(change).workload), "hardware": plain(demo(change).hardware)}
    for key in place.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    assert (found, type(found)) == (value, type(value))


def test_a_cost_may_be_written_as_floats_are() -> None:
    assert stage_us(demo("profile.mfcc.gpu.duration_us=1e4"), "speech", "mfcc", "gpu") == 10_000


def test_a_star_is_all_of_them() -> None:
    after = demo("graphs.*.deadline_us*=2")
    assert [graph.deadline_us for graph in after.workload.graphs] == [2 * graph.deadline_us for graph in DEMO.graphs]
    assert demo("scale-deadlines 2") == after
    assert len(all_differences(after)) == len(DEMO.graphs)


def test_a_star_leaves_out_those_that_have_not_what_follows() -> None:
    after = demo("graphs.*.stages.*.params.lifter=20")
    assert set(all_differences(after).values()) == {(22, 20)}


def test_a_factor_multiplies_what_is_meant_where_nothing_is_said() -> None:
    graph = GraphBuilder("g", period_us=1_000_000, deadline_us=1_000_000)
    graph.stage("mel", "log_mel", graph.stage("sound", "window", stream="mic", samples=16_000))
    workload = Workload(
        format="leo-workload/1",
        name="w",
        streams=(Stream(name="mic", kind="audio", rate_hz=16_000),),
        graphs=(graph.build(),),
    )
    after = changed(workload, PHONE, COSTS, ["graphs.g.stages.mel.params.hop_samples*=2"])
    assert after.workload.graphs[0].stage("mel").params == {"hop_samples": 320}


def test_changes_are_made_in_their_order() -> None:
    assert demo("graphs.speech.weight=5", "graphs.speech.weight*=2").workload.graphs[1].weight == 10
    assert demo("graphs.speech.weight*=2", "graphs.speech.weight=5").workload.graphs[1].weight == 5


def test_a_graph_has_a_period_or_a_rate() -> None:
    by_rate = demo("graphs.speech.rate_hz=3").workload.graphs[1]
    assert (by_rate.rate_hz, by_rate.period_us) == (3, 333_333)
    by_period = demo("graphs.speech.rate_hz=3", "graphs.speech.period_us=7").workload.graphs[1]
    assert (by_period.rate_hz, by_period.period_us) == (None, 7)
    # One that says its period has no rate that could be multiplied; of one that says its rate both can be.
    of_both = changed(by_rate_too(), PHONE, COSTS, ["graphs.*.rate_hz*=2"])
    assert [(graph.rate_hz, graph.period_us) for graph in of_both.workload.graphs[:2]] == [
        (None, 500_000),
        (6, 166_667),
    ]
    assert "leaves" in of_both.notes[0]
    halved = changed(by_rate_too(), PHONE, COSTS, ["graphs.*.period_us*=0.5"])
    assert [graph.period_us for graph in halved.workload.graphs[:2]] == [250_000, 166_667]


def by_rate_too() -> Workload:
    """The demo, of which `speech` says its rate in place of its period."""
    return demo("graphs.speech.rate_hz=3").workload


def test_a_figure_that_was_changed_is_no_longer_its_sources() -> None:
    gpu = demo("processors.gpu.wake_energy_nj=0").hardware.processor("gpu")
    before = PHONE.processor("gpu").sources
    assert gpu.sources["wake_energy_nj"].startswith("modelled: `processors.gpu.wake_energy_nj=0` of: ")
    assert {**gpu.sources, "wake_energy_nj": ""} == {**before, "wake_energy_nj": ""}
    assert all(
        cost.source.startswith("modelled: `slow gpu=2` of: ") == (cost.processor == "gpu")
        for cost in demo("slow gpu=2").profile.costs
    )


def test_the_documents_given_stay_as_they_were() -> None:
    before = [plain(one) for one in (DEMO, PHONE, COSTS)]
    demo("processors.dsp.options.arithmetic=hexagon", "graphs.*.stages.*.params.bands*=2", "slow dsp=3", "without gpu")
    assert [plain(one) for one in (DEMO, PHONE, COSTS)] == before


def test_one_stage_alone_lasts_exactly_as_long_as_is_said() -> None:
    after = demo("profile.mfcc.dsp.duration_us=90_001")
    assert stage_us(after, "speech", "mfcc", "dsp") == 90_001
    assert stage_us(after, "speaker", "mfcc", "dsp") == 90_001  # It is the same stage.
    assert stage_us(after, "speech", "mfcc", "cpu") == stage_us(demo(), "speech", "mfcc", "cpu")
    assert stage_us(after, "scene", "log_mel", "dsp") == stage_us(demo(), "scene", "log_mel", "dsp")
    assert after.profile.costs[: len(COSTS.costs)] == COSTS.costs


def test_a_stage_may_be_named_with_its_graph() -> None:
    assert stage_us(demo("profile.speech.mfcc.dsp.duration_us=9"), "speech", "mfcc", "dsp") == 9
    assert stage_us(demo("profile.wake_word.score.cpu.duration_us*=2"), "wake_word", "score", "cpu") == 2 * (
        stage_us(demo(), "wake_word", "score", "cpu") or 0
    )


def test_a_batch_of_a_stage_that_was_changed_still_pays_its_fixed_part_once() -> None:
    bound = bind(DEMO.graphs[2], DEMO)["network"]
    work = bound.work("default")
    before, after = (
        one.profile.cost(bound, "default", "gpu") for one in (demo(), demo("profile.network.gpu.duration_us*=10"))
    )
    assert before is not None and after is not None
    assert after.duration_us(work, 8) < 8 * after.duration_us(work)
    assert after.duration_us(work, 8) == pytest.approx(10 * before.duration_us(work, 8), abs=10)


def test_what_a_stage_would_take_where_it_had_no_entry() -> None:
    assert stage_us(demo(), "wake_word", "features", "gpu") is None
    after = demo("profile.features.gpu.duration_us=1_000")
    assert stage_us(after, "wake_word", "features", "gpu") == 1_000
    with pytest.raises(InputError, match="nothing there to change"):
        demo("profile.features.gpu.duration_us*=2")


def test_slower_takes_the_same_power_for_longer() -> None:
    costs = {("a", "cpu"): (100, 3_000), ("a", "gpu"): (10, 7)}
    graph = GraphBuilder("g", period_us=1_000, deadline_us=1_000)
    graph.stage("a", "cost", output_bytes=1)
    workload, machine = workload_of(graph.build()), random_machine(Random(0))
    profile = profile_of(costs, machine.name)
    after = changed(workload, machine, profile, ["slow cpu=3"]).profile
    assert [(cost.fixed_us, cost.energy_nj) for cost in after.costs] == [(300, 9_000), (10, 7)]
    after = changed(workload, machine, profile, ["profile.a.cpu.duration_us*=3"]).profile
    assert [(cost.fixed_us, cost.energy_nj) for cost in after.costs] == [(300, 3_000), (10, 7)]
    after = changed(workload, machine, profile, ["profile.a.cpu.power_mw=5"]).profile
    assert [(cost.power_mw, cost.energy_nj) for cost in after.costs] == [(5, None), (None, 7)]
    after = changed(workload, machine, profile, ["profile.a.cpu.energy_nj*=2", "profile.a.gpu.energy_nj=1"]).profile
    assert [(cost.fixed_us, cost.energy_nj) for cost in after.costs] == [(100, 6_000), (10, 1)]


def test_what_was_measured_is_scaled_with_the_entry() -> None:
    entry = {"processor": "cpu", "operator": "mfcc", "fixed_us": 7, "source": "measured", "energy_from": "measured"}
    entry |= {"measurement": {"runs": 9, "median_us": 10, "p95_us": 12, "beside_us": 20}}
    profile = Profile.from_dict({"format": "leo-profile/1", "name": "p", "hardware": PHONE.name, "costs": [entry]})
    (cost,) = changed(DEMO, PHONE, profile, ["profile.*.cpu.duration_us*=2"]).profile.costs
    assert cost.measurement is not None
    assert (cost.fixed_us, cost.energy_from) == (14, "modelled")
    assert (cost.measurement.runs, cost.measurement.median_us, cost.measurement.beside_us) == (9, 20, 40)


def test_without_a_processor_go_its_links_and_costs() -> None:
    after = demo("without gpu")
    assert [one.name for one in after.hardware.processors] == ["cpu", "dsp"]
    assert [(one.source, one.target) for one in after.hardware.links] == [("cpu", "dsp"), ("dsp", "cpu")]
    assert after.profile.costs == tuple(cost for cost in COSTS.costs if cost.processor != "gpu")
    assert after.workload == DEMO
    assert demo("without processors.gpu") == after


def test_without_a_link_a_radio_or_a_graph() -> None:
    assert (
        len(demo("without cpu->gpu").hardware.links)
        == len(PHONE.links) - 1
        == len(demo("without cpu:gpu").hardware.links)
    )
    assert [graph.name for graph in demo("without speech").workload.graphs] == [
        "wake_word",
        "speaker",
        "scene",
        "activity",
    ]
    graph = GraphBuilder("g", period_us=1_000, deadline_us=1_000)
    graph.stage("a", "cost", output_bytes=1)
    machine = random_machine(Random(0))
    after = changed(workload_of(graph.build()), machine, profile_of({("a", "cpu"): (1, 1)}), ["without wifi"])
    assert (after.hardware.radios, len(after.hardware.links)) == ((), len(machine.links) - 1)
    assert after.notes == ("`without wifi`: with it go the links over it, dsp->cpu",)


def two_stages(**on: str) -> tuple[Workload, Profile]:
    """`a`, then `b`, each on one processor."""
    graph = GraphBuilder("g", period_us=1_000, deadline_us=1_000)
    graph.stage("b", "cost", graph.stage("a", "cost", output_bytes=1), output_bytes=1)
    other = GraphBuilder("h", period_us=1_000, deadline_us=1_000)
    other.stage("c", "cost", output_bytes=1)
    costs = dict.fromkeys({**on, "c": "dsp"}.items(), (1, 1))
    return workload_of(graph.build(), other.build()), profile_of(costs)


@pytest.mark.parametrize(
    ("change", "on", "stages"),
    [
        ("without gpu", {"a": "gpu", "b": "cpu"}, "`a` of `g`"),
        ("without gpu", {"a": "gpu", "b": "gpu"}, "`a` of `g`, `b` of `g`"),
        ("without gpu->cpu", {"a": "gpu", "b": "cpu"}, "`b` of `g`"),
        ("without wifi", {"a": "dsp", "b": "cpu"}, "`b` of `g`"),
    ],
)
def test_a_stage_that_is_left_with_nothing_to_run_on_is_named(change: str, on: dict[str, str], stages: str) -> None:
    workload, profile = two_stages(**on)
    with pytest.raises(InputError) as error:
        changed(workload, random_machine(Random(0)), profile, [change])
    assert str(error.value) == f"`{change}`: nothing is left that could run {stages}"
    assert "`without g`" in error.value.hint
    assert changed(workload, random_machine(Random(0)), profile, [change, "without g"])


@pytest.mark.parametrize(
    ("change", "says", "hint"),
    [
        ("grapsh.speech.weight=1", "no field is called `grapsh`", "did you mean `graphs`?"),
        ("graphs.speach.weight=1", "no graph is called `speach`", "did you mean `speech`? one of wake_word, speech"),
        ("graphs.speech.deadline=1", "no field of graph `speech` is called `deadline`", "did you mean `deadline_us`?"),
        ("graphs.speech.name=x", "no field of graph `speech` is called `name`", "one of period_us, rate_hz"),
        ("graphs.speech.stages.mfc.gate=x", "no stage is called `mfc`", "did you mean `mfcc`?"),
        ("graphs.speech.stages.mfcc.params.bandz=1", "no parameter of operator `mfcc` is called `bandz`", "`bands`?"),
        ("graphs.speech.stages.mfcc.params.bands=x", 'operator `mfcc`: expected an integer, got "x", at $.bands', ""),
        ("graphs.speech.deadline_us=soon", 'expected an integer, got "soon", at $.graphs[1].deadline_us', ""),
        ("graphs.speech.deadline_us=0", "expected at least 1, got 0, at $.graphs[1].deadline_us", ""),
        ("graphs.speech.deadline_us=1.5", "expected an integer, got 1.5, at $.graphs[1].deadline_us", ""),
        ("graphs.speech.deadline_us=true", "expected an integer, got true, at $.graphs[1].deadline_us", ""),
        ("graphs.speech.decision.threshold=nan", "expected a finite number, got nan", "1e300"),
        ("graphs.speech.decision.threshold=1e400", "expected a finite number, got inf", "1e300"),
        ("graphs.wake_word.stages.loud.params.threshold_dbfs=-inf", "expected a finite number, got -inf", "1e300"),
        ("processors.gpu.options.x={a=[nan]}", "got nan, at $.processors[1].options.x.a[0]", "1e300"),
        ("graphs.speech.decision.threshold=2026-01-01", "input should be a valid number", "values are as in TOML"),
        (
            "graphs.speech.deadline_us=400ms",
            'expected an integer, got "400ms"',
            "400_000 or 4e5 in the unit of the name",
        ),
        ("graphs.speech.deadline_us=400000#old", 'expected an integer, got "400000#old"', "values are as in TOML"),
        ("graphs.speech.deadline_us=400000 # old", 'expected an integer, got "400000 # old"', "values are as in TOML"),
        ("processors.gpu.remote=yes", 'got "yes"', "true"),
        ("processors.gpu.idle_timeout_us=None", 'got "None"', "none leaves a field out"),
        ("processors.gpu.lanes=true", "expected an integer, got true", ""),
        ("graphs.speech.deadline_us*=0", "expected at least 1, got 0, at $.graphs[1].deadline_us", ""),
        ("graphs.speech.deadline_us*=much", 'expected a factor of at least 0, got "much"', "such as 0.5"),
        ("graphs.speech.deadline_us*=1e99999999", 'expected a factor of at least 0, got "1e99999999"', "such as 0.5"),
        ("graphs.speech.deadline_us*=1e-9_999_999", "expected a factor of at least 0", "such as 0.5"),
        ("slow dsp=1E+99999999", "expected a factor of at least 0", "such as 0.5"),
        ("scale-deadlines 1e99999999", "expected a factor of at least 0", "such as 0.5"),
        ("graphs.speech.stages.mfcc.params.bands=-inf", "expected a finite number, got -inf", "1e300"),
        ("graphs.speech.deadline_us*=-1", 'expected a factor of at least 0, got "-1"', "such as 0.5"),
        ("graphs.speech.deadline_us", "no value is given", "`PATH=VALUE`"),
        ("graphs.speech.deadline_us.x=1", "nothing is in `deadline_us` but its value", "leave out `.x=1`"),
        ("graphs.speech=1", "does not name a field of graph `speech`", "go on with `.` and one of period_us"),
        ("graphs", "does not name one of `graphs`", "wake_word"),
        ("processors.dsp.backend*=2", '"dsp" is no number to multiply', "set it by `=`"),
        ("links.cpu-", "no link is called `cpu-`", "quote it: a shell takes `>` for itself"),
        ("links.cpu->dsp.radio=lte", 'no radio is called "lte", at $.links[2].radio', ""),
        ("profile.mfc.dsp.duration_us=1", "no stage is called `mfc`", "did you mean `mfcc`?"),
        ("profile.mfcc.dps.duration_us=1", "no processor is called `dps`", "did you mean `dsp`?"),
        ("profile.mfcc.dsp.duration=1", "and no variant, is called `duration`", "did you mean `duration_us`?"),
        ("profile.mfcc.dsp.duration_us=x", "expected an integer of at least 1", "`duration_us` says its unit"),
        ("profile.mfcc.dsp", "names no field of a stage's cost", "duration_us, power_mw, energy_nj"),
        ("profile.mfcc.dsp.energy_nj=1", "stage `mfcc` has a power", "change its `power_mw`"),
        ("profile.*.dsp.energy_nj*=2", "no entry of profile `snapdragon-800` for `dsp` has it", "have no `power_mw`"),
        ("profile", "no stage is called ``", "leo-runtime replay --set help"),
        ("without gup", "nothing is called `gup`", "did you mean `gpu`?"),
        ("without", "nothing is called ``", "one of wake_word"),
        ("slow dps=3", "hardware `snapdragon-800` has no processor `dps`", "did you mean `dsp`?"),
        ("slow dsp", "no factor is given", "`slow dsp=3`"),
        ("slow dsp=0", "a run lasts a while", "such as 0.01"),
        ("scale-deadlines two", 'expected a factor of at least 0, got "two"', "such as 0.5"),
        ("scale-deadlines 1e-9", "expected at least 1, got 0", ""),
        ("", "no field is called ``", "one of graphs, streams"),
        ("\ud800\x00=1", "no field is called", "one of graphs, streams"),
    ],
)
def test_what_is_wrong_with_a_change_is_said_with_the_way_out(change: str, says: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        demo(change)
    assert str(error.value).startswith(f"`{change}") or isinstance(error.value, DocumentError)
    assert says in str(error.value)
    assert hint in error.value.hint


def test_the_only_graph_and_a_sensors_processor_stay() -> None:
    with pytest.raises(InputError, match="it is the only graph"):
        demo(*(f"without {graph.name}" for graph in DEMO.graphs))
    with pytest.raises(InputError, match="the sensor of stream `mic` is on it") as error:
        demo("streams.mic.on=dsp", "without dsp")
    assert error.value.hint == "first move it: `streams.mic.on=PROCESSOR`"


def test_a_name_of_two_parts_is_to_be_said_with_its_list() -> None:
    graph = GraphBuilder("cpu", period_us=1_000, deadline_us=1_000)
    graph.stage("a", "cost", output_bytes=1)
    other = GraphBuilder("other", period_us=1_000, deadline_us=1_000)
    other.stage("a", "cost", output_bytes=1)
    case = workload_of(graph.build(), other.build()), random_machine(Random(0)), profile_of({("a", "dsp"): (1, 1)})
    with pytest.raises(InputError, match="several parts are called `cpu`") as error:
        changed(*case, ["without cpu"])
    assert error.value.hint == "say which: `without graphs.cpu`, `without processors.cpu`"
    assert len(changed(*case, ["without graphs.cpu"]).workload.graphs) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("graphs.speech.weight=2", "changes nothing: it is so already"),
        ("processors.*.lanes*=1", "changes nothing: it is so already"),
        ("processors.dsp.active_mw*=0.001", "to 0, at $.processors.2.active_mw: whole numbers alone are known there"),
        ('objective=["tardiness", "energy"]', "changes nothing: it is so already"),
        ("slow dsp=1", "changes nothing: the profile says so already"),
        ("links.cpu->gpu.bytes_per_s*=2", "changes nothing of the documents: there is no number to multiply"),
        ("processors.dsp.wake_energy_nj=3", "`dsp` never sleeps, as it has no `idle_timeout_us`"),
        ("links.*.bytes_per_s*=0.5", "leaves 2 of 6 as they are, which have no such number"),
    ],
)
def test_a_change_without_effect_is_told(change: str, says: str) -> None:
    (note,) = demo(change).notes
    assert note.startswith(f"`{change}` ")
    assert says in note


def test_powers_and_parameters_that_others_override_are_told() -> None:
    graph = GraphBuilder("g", period_us=1_000, deadline_us=1_000)
    variants = tuple(
        leo_runtime.Variant(name=name, params=params)
        for name, params in (("default", {}), ("coarse", {"output_bytes": 9}))
    )
    graph.stage("a", "cost", output_bytes=9, variants=variants)
    machine = random_machine(Random(0))
    case = workload_of(graph.build()), machine, profile_of({("a", "cpu"): (1, 1)})
    radio = machine.model_copy(update={"links": machine.links[1:]})
    told = [
        *changed(*case, ["processors.cpu.active_mw=5"]).notes,
        *changed(case[0], radio, case[2], ["radios.wifi.tail_us=5"]).notes,
    ]
    assert "leaves 1 of 1 entries of the profile as they are" in told[0]
    assert "no link goes over radio `wifi`" in told[1]
    with pytest.raises(InputError, match="variants of different output shapes"):
        changed(*case, ["graphs.g.stages.a.params.output_bytes=5"])
    changes = ["graphs.g.stages.a.params.data_type=int8", "graphs.g.stages.a.params.output_bytes=9"]
    assert changed(*case, changes).notes == (
        f"`{changes[1]}` changes nothing: it is so already",
        f"`{changes[1]}`: variants of stage `a` with a `output_bytes` of their own keep it: coarse",
    )


def test_names_with_dots_and_equals_signs_are_found() -> None:
    graph = GraphBuilder("g.x", period_us=1_000, deadline_us=1_000)
    graph.stage("s.1", "cost", output_bytes=1)
    other = GraphBuilder("g", period_us=1_000, deadline_us=1_000)
    other.stage("a=b", "cost", output_bytes=1)
    case = (
        workload_of(graph.build(), other.build()),
        random_machine(Random(0)),
        profile_of({("s.1", "cpu"): (1, 1), ("a=b", "cpu"): (1, 1)}),
    )
    after = changed(
        *case,
        ["graphs.g.x.deadline_us=5", "graphs.g.stages.a=b.params.output_bytes=7", "profile.s.1.cpu.duration_us=9"],
    )
    assert after.workload.graphs[0].deadline_us == 5
    assert after.workload.graphs[1].stages[0].params == {"output_bytes": 7}
    assert after.profile.costs[0].fixed_us == 9


def test_a_part_of_a_stage_that_is_cut_is_not_changed_alone() -> None:
    graph = GraphBuilder("g", period_us=1_000_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="mic", samples=16_000)
    graph.stage("net", "dense", graph.stage("mel", "log_mel", sound), parts=2, layers=[2], per_row=True, model="m.npz")
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    workload = Workload(format="leo-workload/1", name="w", streams=streams, graphs=(graph.build(),))
    with pytest.raises(InputError, match="stage `net` is cut into 2 parts"):
        changed(workload, PHONE, COSTS, ["profile.net.gpu.duration_us=1"])
    assert changed(workload, PHONE, COSTS, ["profile.*.gpu.duration_us=1", "without gpu"])


def test_before_a_profile_is_measured() -> None:
    changes = ["slow dsp=3", "profile.mfcc.dsp.duration_us=1", "graphs.speech.weight=9", "without gpu"]
    after = demo(*changes)
    assert changed_unmeasured(DEMO, PHONE, changes) == (after.workload, after.hardware)
    with pytest.raises(InputError, match="no processor is called"):
        changed_unmeasured(DEMO, PHONE, ["profile.mfcc.dps.duration_us=1"])


def test_one_text_is_not_several_changes() -> None:
    with pytest.raises(InputError, match="`changes` are several"):
        changed(DEMO, PHONE, COSTS, "without gpu")


def test_it_is_a_public_name() -> None:
    assert leo_runtime.changed is changed


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_no_change_gives_the_same_and_any_change_can_be_written_and_read(seed: int, tmp_path_factory: Any) -> None:
    rng = Random(seed)
    workload, machine = random_workload(rng), random_machine(rng)
    profile = random_profile(rng, workload)
    assert changed(workload, machine, profile, []) == Changed(workload, machine, profile)
    graph, processor, stage = (
        rng.choice(workload.graphs).name,
        rng.choice(machine.processors).name,
        rng.choice([stage.name for graph in workload.graphs for stage in graph.stages]),
    )
    possible = [
        f"graphs.{graph}.deadline_us={rng.randint(1, 9_999)}",
        f"graphs.{graph}.period_us*={rng.choice(('2', '0.5', '1/3'))}",
        f"processors.{processor}.lanes={rng.randint(1, 4)}",
        f"processors.*.wake_latency_us*={rng.random():.3f}",
        "links.*.bytes_per_s*=0.5",
        f"links.*->{processor}.latency_us={rng.randint(0, 99)}",
        "radios.wifi.tail_us*=3",
        f"slow {processor}={rng.randint(1, 5)}",
        f"profile.{stage}.*.duration_us*=2",
        f"profile.*.{processor}.duration_us=77",
        "scale-deadlines 1.5",
        f"without {processor}",
        "without wifi",
    ]
    try:
        after = changed(workload, machine, profile, rng.sample(possible, rng.randint(1, 4)))
    except InputError as error:
        # One of them needs what another took out, or what is not there.
        assert any(
            words in str(error) for words in ("nothing is left that could run", "to change", "called", "no processor")
        )
        return
    folder: Path = tmp_path_factory.mktemp("documents")
    for document in (after.workload, after.hardware, after.profile):
        document.to_file(folder / "document.json")
        assert type(document).from_file(folder / "document.json") == document


BEGINNINGS = (
    *("", "graphs.", "profile.", "links.", "radios.", "graphs.speech.deadline_us="),
    *("slow ", "without ", "network lte=", "network "),
)


@given(st.sampled_from(BEGINNINGS), st.text(max_size=40) | st.text("graphs.*=->:0129dpuc_ \x00\n\"'[]{}", max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_is_more_than_an_error(begin: str, rest: str) -> None:
    with suppress(LeoError):
        demo(begin + rest)


SAMPLES = (
    LinkSample(time_us=0, source="cpu", target="gpu", latency_us=100, bytes_per_s=1_001),
    LinkSample(time_us=5, source="cpu", target="gpu", latency_us=200, bytes_per_s=None),
    LinkSample(time_us=7, source="gpu", target="cpu", latency_us=300, bytes_per_s=50),
)


def figures(*changes: str) -> list[tuple[int, int | None]]:
    after = demo(*changes)
    return [(one.latency_us, one.bytes_per_s) for one in changed_links(SAMPLES, after.hardware, changes, 1)]


def test_what_a_recording_says_of_links_is_changed_alike() -> None:
    before = [(100, 1_001), (200, None), (300, 50)]
    assert figures() == figures("links.cpu->gpu.energy_nj=3", "graphs.speech.weight=3") == before
    assert figures("links.*.bytes_per_s*=0.5") == [(100, 501), (200, None), (300, 25)]
    assert figures("links.cpu->*.bytes_per_s=9") == figures("links.cpu:gpu.bytes_per_s=9") == [(100, 9), *before[1:]]
    assert figures("links.cpu:gpu.bytes_per_s=9e0")[0][1] == 9 and isinstance(
        figures("links.cpu:gpu.bytes_per_s=9e0")[0][1], int
    )
    assert figures("links.*->cpu.latency_us*=2", "links.gpu->cpu.latency_us*=2") == [*before[:2], (1_200, 50)]
    assert figures("without cpu->gpu") == before[2:]
    assert figures("without gpu") == []


def test_a_link_of_a_recording_keeps_some_bandwidth() -> None:
    with pytest.raises(InputError, match="is left with 0 bytes a second at 7 us"):
        figures("links.gpu->cpu.bytes_per_s*=0.001")
    with pytest.raises(InputError, match="which is some number"):
        figures("links.gpu->cpu.bytes_per_s=none")


def test_a_machine_of_one_processor_has_no_links_to_name() -> None:
    one = Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "m", "processors": [{"name": "cpu", "backend": "cpu"}]}
    )
    graph = GraphBuilder("g", period_us=1_000, deadline_us=1_000)
    graph.stage("a", "cost", output_bytes=1)
    case = workload_of(graph.build()), one, profile_of({("a", "cpu"): (1, 1)})
    for change in ("links.a->b.latency_us=1", "links.*.latency_us=1", "radios.*.lanes=1"):
        with pytest.raises(InputError):
            changed(*case, [change])

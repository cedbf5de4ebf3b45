"""From what a release finds and foresees to the question of a window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_workloads import profile_of, random_machine, random_profile, random_workload, workload_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Mode, Problem
from leo_runtime.documents.window import CERTAIN, WindowProblem, WindowStage, as_window
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.frame.chances import Chance, GateChances
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.foresight import Foresight, Outlook, Release
from leo_runtime.frame.lower import MergedWorkload, frame_problem, merge, price
from leo_runtime.frame.window import Earlier, Found, Left, There, Window, grid_us, round_safely, window_problem

HALF = Chance(500_000, 500_000, 500_000)


@dataclass(frozen=True)
class Case:
    """A workload on a machine."""

    merged: MergedWorkload
    hardware: Hardware
    modes: dict[str, tuple[Mode, ...]]

    @classmethod
    def of(cls, workload: Workload, hardware: Hardware, profile: Any) -> Case:
        merged = merge(workload)
        return cls(merged, hardware, price(merged, hardware, profile, lambda *_: True))

    @property
    def graphs(self) -> tuple[str, ...]:
        return tuple(graph.name for graph in self.merged.workload.graphs)

    def frame(self, now: Conditions) -> Problem:
        return frame_problem(self.merged, self.modes, self.hardware, now, "frame")

    def window(self, found: Found) -> Window:
        return window_problem(self.merged, self.modes, self.hardware, found, self.frame(found.now), "frame")


def drawn(seed: int, *, lingers: bool = True) -> tuple[Random, Case]:
    rng = Random(seed)
    workload = random_workload(rng)
    return rng, Case.of(workload, random_machine(rng, lingers=lingers), random_profile(rng, workload))


def found_in(rng: Random, case: Case) -> Found:
    """What a release of a random case may find."""
    foresight = Foresight(case.merged, rng.choice((0, 5, 20, 40)))
    graph = rng.choice(case.merged.workload.graphs)
    at_us = graph.release_us(rng.randrange(9))
    names = tuple(g.name for g in case.merged.workload.graphs if g.next_release_us(at_us) == at_us)
    foresight.note(at_us, names)
    processors = case.hardware.processors
    sleepers = [processor.name for processor in processors if processor.idle_timeout_us is not None]
    asleep = tuple(name for name in sleepers if rng.randrange(2))
    ready = tuple(
        (processor.name, tuple(rng.randrange(3_000) for _ in range(processor.lanes)))
        for processor in processors
        if processor.name not in asleep and rng.randrange(3) == 0
    )
    awake = tuple((name, rng.randrange(30_000)) for name in sleepers if name not in asleep)
    chances = GateChances(case.merged).chances() if rng.randrange(4) else None
    earlier = tuple(earlier_in(rng, case) for _ in range(rng.choice((0, 0, 1, 2))))
    return Found(Conditions(names, ready, asleep), foresight.outlook(at_us, names), awake, chances, earlier)


def earlier_in(rng: Random, case: Case) -> Earlier:
    """A frame whose first stages have run, by the order of the workload."""
    graph = rng.choice(case.merged.workload.graphs).name
    stages = [stage for stage in case.merged.stages if graph in stage.graphs]
    cut = rng.randrange(len(stages))
    waiting = tuple(stage.name for stage in stages[cut:])
    read = {name for stage in stages[cut:] for name in (*stage.inputs, *stage.gates((graph,)))}
    there = tuple(
        There(
            name,
            tuple(rng.sample(("dsp", "cpu", "gpu"), rng.randint(1, 2))),
            rng.randrange(2_000),
            64,
            rng.random() < 0.5,
        )
        for name in dict.fromkeys(read - set(waiting))
    )
    return Earlier(-rng.randrange(9_000), (graph,), waiting, there, ((graph, 300),))


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_every_window_is_a_valid_document_that_means_the_same_when_it_was_written_and_read(seed: int) -> None:
    rng, case = drawn(seed)
    problem = case.window(found_in(rng, case)).problem
    assert WindowProblem.from_json(problem.to_json()) == problem


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_one_release_of_which_nothing_lingers_and_all_is_certain_is_its_frame(seed: int) -> None:
    rng, case = drawn(seed, lingers=False)
    now = replace(found_in(rng, case).now, graphs=case.graphs)
    window = case.window(Found(now))
    assert window.problem.model_copy(update={"horizon_us": 1}) == as_window(case.frame(now))
    assert window.at_hand == tuple(stage.name for stage in window.problem.stages)


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_the_release_at_hand_is_in_every_window_as_in_its_frame(seed: int) -> None:
    rng, case = drawn(seed)
    found = found_in(rng, case)
    window, frame = case.window(found), case.frame(found.now)
    mine = {stage.name: stage for stage in window.problem.stages if stage.name in window.at_hand}
    assert [(s.name, s.inputs, s.modes) for s in mine.values()] == [(s.name, s.inputs, s.modes) for s in frame.stages]
    assert [due for due in window.problem.deadlines if due.stage in mine] == list(frame.deadlines)


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_window_holds_no_more_stages_than_it_may_and_ends_where_the_next_release_is(seed: int) -> None:
    _, case = drawn(seed)
    graph = case.merged.workload.graphs[0]
    at_us = graph.release_us(3)
    names = tuple(g.name for g in case.merged.workload.graphs if g.next_release_us(at_us) == at_us)
    foresight = Foresight(case.merged, 30)
    foresight.note(at_us, names)
    outlook = foresight.outlook(at_us, names)
    window = case.window(Found(Conditions(names), outlook)).problem
    assert len(window.stages) <= 30
    assert outlook.next_us is not None and window.horizon_us == outlook.next_us > window.releases_us[-1]
    assert {stage.release_us for stage in window.stages} == set(window.releases_us)


def renamed(workload: Workload, how: Any) -> Workload:
    graphs = []
    for graph in workload.graphs:
        stages = tuple(
            stage.model_copy(
                update={
                    "name": how(stage.name),
                    "inputs": tuple(how(name) for name in stage.inputs),
                    "gate": None if stage.gate is None else how(stage.gate),
                }
            )
            for stage in graph.stages
        )
        graphs.append(graph.model_copy(update={"stages": stages}))
    return workload.model_copy(update={"graphs": tuple(graphs)})


def without_names(problem: WindowProblem) -> dict[str, Any]:
    """The question with a number in place of the name of each stage and resource."""
    names = [stage.name for stage in problem.stages] + [resource.name for resource in problem.resources]
    number = {name: k for k, name in enumerate(names)}

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replaced(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [replaced(part) for part in value]
        return number.get(value, value) if isinstance(value, str) else value

    data: dict[str, Any] = replaced(problem.model_dump())
    return data


@given(st.integers(0, 2**32), st.sampled_from(("@", "@2", "@@1", "s0@-1", "at:")))
@settings(max_examples=100, deadline=None)
def test_the_names_of_stages_change_nothing(seed: int, by: str) -> None:
    rng = Random(seed)
    workload, machine = random_workload(rng), random_machine(rng)
    costs = random_profile(rng, workload)
    case = Case.of(workload, machine, costs)
    found = found_in(rng, case)

    def how(name: str) -> str:
        return name + by

    other_costs = tuple(
        cost.model_copy(update={"stage": None if cost.stage is None else how(cost.stage)}) for cost in costs.costs
    )
    other = Case.of(renamed(workload, how), machine, costs.model_copy(update={"costs": other_costs}))
    names = dict(zip((s.name for s in case.merged.stages), (s.name for s in other.merged.stages), strict=True))
    chances = None if found.chances is None else tuple((names[gate], chance) for gate, chance in found.chances)
    earlier = tuple(
        replace(
            one,
            waiting=tuple(names[name] for name in one.waiting),
            there=tuple(replace(output, stage=names[output.stage]) for output in one.there),
        )
        for one in found.earlier
    )
    again = other.window(replace(found, chances=chances, earlier=earlier)).problem
    assert without_names(again) == without_names(case.window(found).problem)


# What a window says, by hand.


def machine(**gpu: Any) -> Hardware:
    """A DSP that never sleeps, a CPU, a GPU, and a cloud behind a radio."""
    names = ("dsp", "cpu", "gpu")
    processors: list[dict[str, Any]] = [
        {"name": "dsp", "backend": "none", "awake_mw": 3, "asleep_mw": 1},
        {"name": "cpu", "backend": "none", "awake_mw": 20, "asleep_mw": 4, "idle_timeout_us": 50},
        {"name": "gpu", "backend": "none", "awake_mw": 80, "idle_timeout_us": 2_000, **gpu},
        {"name": "cloud", "backend": "none", "remote": True},
    ]
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "m",
            "processors": processors,
            "radios": [{"name": "wifi", "awake_mw": 100, "tail_us": 700, "tail_mw": 150, "wake_latency_us": 9}],
            "links": [
                *({"source": a, "target": b, "latency_us": 5} for a in names for b in names if a != b),
                {
                    "source": "cpu",
                    "target": "cloud",
                    "latency_us": 7,
                    "bytes_per_s": 1_000_000,
                    "energy_pj_per_byte": 90_000,
                    "radio": "wifi",
                },
            ],
        }
    )


def listening(name: str = "listen", *, period_us: int = 1_000, deadline_us: int = 800, **more: Any) -> TaskGraph:
    """sound -> gate; sound -> features (gated) -> model."""
    builder = GraphBuilder(name, period_us=period_us, deadline_us=deadline_us, **more)
    sound = builder.stage("sound", "cost", output_bytes=40)
    gate = builder.stage("gate", "cost", sound, chance_ppm=500_000, output_bytes=1)
    features = builder.stage("features", "cost", sound, gate=gate, output_bytes=10)
    builder.stage("model", "cost", features, output_bytes=1)
    return builder.build()


def listener(*graphs: TaskGraph, hardware: Hardware | None = None) -> Case:
    workload = workload_of(*(graphs or (listening(),)))
    names = dict.fromkeys(stage.name for graph in workload.graphs for stage in graph.stages)
    costs = {(name, where): (30, 900) for name in names for where in ("dsp", "cpu", "gpu")}
    return Case.of(workload, hardware or machine(), profile_of(costs))


def stages_of(window: Window) -> dict[str, WindowStage]:
    return {stage.name: stage for stage in window.problem.stages}


LATER = Outlook((Release(1_000, ("listen",)), Release(2_000, ("listen",))), 3_000)


def test_later_releases_have_stages_of_their_own() -> None:
    window = listener().window(Found(Conditions(("listen",)), LATER))
    stages = stages_of(window)
    assert window.at_hand == ("sound", "gate", "features", "model")
    assert [name for name in stages if name.startswith("model")] == ["model", "model@2", "model@3"]
    assert stages["model@3"].inputs == ("features@3",) and stages["model@3"].release_us == 2_000
    assert {due.stage: due.deadline_us for due in window.problem.deadlines} == {
        "model": 800,
        "model@2": 1_800,
        "model@3": 2_800,
    }
    assert (window.problem.releases_us, window.problem.horizon_us) == ((0, 1_000, 2_000), 3_000)


def test_what_reads_a_gated_stage_cannot_run_without_it_either() -> None:
    chances = (("gate", Chance(300_001, 900_000, 100_000)),)
    stages = stages_of(listener().window(Found(Conditions(("listen",)), LATER, chances=chances)))
    assert {name: (stage.gates, stage.chance_ppm) for name, stage in stages.items() if "@" not in name} == {
        "sound": ((), CERTAIN),
        "gate": ((), CERTAIN),
        "features": (("gate",), 300_001),
        "model": (("features",), 300_001),
    }
    # 0.300001 x 0.9 + 0.699999 x 0.1, and so on.
    assert (stages["model@2"].chance_ppm, stages["model@3"].chance_ppm) == (340_001, 372_001)


def test_of_two_reasons_not_to_run_the_less_likely_one_is_named() -> None:
    builder = GraphBuilder("two", period_us=1_000, deadline_us=800)
    for name, ppm in (("rare", 100_000), ("often", 800_000)):
        builder.stage(name, "cost", output_bytes=1, chance_ppm=ppm)
    builder.stage("features", "cost", gate="rare", output_bytes=1)
    builder.stage("model", "cost", "features", gate="often", output_bytes=1)
    case = listener(builder.build())
    stages = stages_of(case.window(Found(Conditions(("two",)), chances=GateChances(case.merged).chances())))
    assert (stages["model"].gates, stages["model"].chance_ppm) == (("features",), 100_000)
    assert stages["model"].inputs == ("features", "often")


def test_a_stage_that_two_graphs_gate_runs_if_any_gate_opens() -> None:
    def graph(name: str) -> TaskGraph:
        builder = GraphBuilder(name, period_us=1_000, deadline_us=800)
        builder.stage("sound", "cost", output_bytes=1)
        gate = builder.stage(f"gate {name}", "cost", "sound", output_bytes=1, chance_ppm=700_000)
        builder.stage("model", "cost", "sound", gate=gate, output_bytes=1)
        return builder.build()

    case = listener(graph("a"), graph("b"))
    chances = GateChances(case.merged).chances()
    both = stages_of(case.window(Found(Conditions(("a", "b")), chances=chances)))["model"]
    assert (both.gates, both.chance_ppm) == (("gate a", "gate b"), CERTAIN)
    shut = Conditions(("a", "b"), closed_gates=("gate a",))
    one = stages_of(case.window(Found(shut, chances=chances)))["model"]
    assert (one.gates, one.chance_ppm) == (("gate b",), 700_000)


def test_powers_are_above_those_of_sleep_and_a_radio_has_its_tail() -> None:
    awake = (("gpu", 900), ("wifi", 40))
    problem = listener().window(Found(Conditions(("listen",), asleep=("cpu",)), LATER, awake)).problem
    dsp, cpu, gpu, cloud, wifi = problem.resources
    assert (dsp.linger_us, dsp.awake_mw, cloud.linger_us) == (None, 3, None)
    assert (cpu.awake, cpu.linger_us, cpu.awake_mw, cpu.lingering_mw, cpu.awake_until_us) == (False, 50, 16, 16, 0)
    assert (gpu.awake, gpu.linger_us, gpu.awake_until_us) == (True, 2_000, 900)
    assert (wifi.awake_mw, wifi.lingering_mw, wifi.linger_us, wifi.awake_until_us) == (150, 150, 700, 40)
    # Sending is charged above the tail: 50 mW less for a microsecond a byte.
    assert problem.links[-1].energy_pj_per_byte == 90_000 - 50_000
    assert problem.releases_us == (0, 40, 900, 1_000, 2_000)


def test_weights_count_once_in_a_window() -> None:
    case = listener()
    heavy = tuple(mode.model_copy(update={"memory_bytes": 500}) for mode in case.modes["model"])
    case = replace(case, modes={**case.modes, "model": heavy})
    stages = stages_of(case.window(Found(Conditions(("listen",)), LATER)))
    held = [{mode.memory_bytes for mode in stages[name].modes} for name in ("model", "model@2", "model@3")]
    assert held == [{500}, {0}, {0}]


def test_what_earlier_frames_have_left_is_placed_again() -> None:
    chances = (("gate", HALF),)
    there = (
        There("sound", ("dsp", "cpu"), 0, 40),
        There("gate", ("dsp",), 21, 1),  # It runs.
    )
    earlier = Earlier(-300, ("listen",), ("features", "model"), there)
    window = listener().window(Found(Conditions(("listen",)), LATER, chances=chances, earlier=(earlier,)))
    stages = stages_of(window)
    assert window.earlier == (
        Left({"features@-1": "features", "model@-1": "model"}, {"sound@-1": "sound", "gate@-1": "gate"}),
    )
    assert (stages["features@-1"].inputs, stages["features@-1"].gates) == (("sound@-1", "gate@-1"), ("gate@-1",))
    assert stages["features@-1"].chance_ppm == stages["model@-1"].chance_ppm == 500_000
    assert stages["model@-1"].gates == ("features@-1",)
    assert (stages["gate@-1"].modes[0].resource, stages["gate@-1"].release_us) == ("at:dsp", 20)
    assert [due.deadline_us for due in window.problem.deadlines if due.stage == "model@-1"] == [500]
    links = {(link.source, link.target): link for link in window.problem.links}
    assert links["at:dsp,cpu", "cpu"].latency_us == 0 and links["at:dsp,cpu", "gpu"].latency_us == 5
    assert ("at:dsp,cpu", "cloud") not in links, "it was computed on the dsp, and has no link there from it"
    at = next(resource for resource in window.problem.resources if resource.name == "at:dsp,cpu")
    assert (at.awake, at.linger_us, at.awake_mw, at.lanes) == (True, None, 0, 1)


def test_a_gate_that_is_open_is_no_gate_any_more() -> None:
    there = (There("sound", ("dsp",), 0, 40), There("gate", ("dsp",), 0, 1, decides=False))
    earlier = Earlier(-300, ("listen",), ("features", "model"), there)
    found = Found(Conditions(("listen",)), chances=(("gate", HALF),), earlier=(earlier,))
    stages = stages_of(listener().window(found))
    assert (stages["features@-1"].gates, stages["features@-1"].chance_ppm) == ((), CERTAIN)
    assert stages["features@-1"].inputs == ("sound@-1", "gate@-1")


def test_a_deadline_that_has_passed_is_at_once() -> None:
    earlier = Earlier(-900, ("listen",), ("model",), (There("features", ("cpu",), 0, 10),))
    window = listener().window(Found(Conditions(("listen",)), earlier=(earlier,)))
    assert window.problem.deadlines[-1].deadline_us == 0


def test_without_a_next_release_the_horizon_is_after_all_that_lingers() -> None:
    problem = listener().window(Found(Conditions(("listen",)))).problem
    assert problem.horizon_us > 800 + 2_000


# Rounding.


def test_the_grid_is_a_hundredth_of_what_is_shortest() -> None:
    assert grid_us(workload_of(listening(), listening("other", period_us=600, deadline_us=900))) == 6
    assert grid_us(workload_of(listening(period_us=50, deadline_us=90))) == 1


@given(st.integers(0, 2**32), st.integers(1, 500))
@settings(max_examples=100, deadline=None)
def test_times_are_rounded_to_the_safe_side(seed: int, grid: int) -> None:
    rng, case = drawn(seed)
    found = found_in(rng, case)
    rounded = round_safely(found, grid)
    for (_, lanes), (_, before) in zip(rounded.now.ready_us, found.now.ready_us, strict=True):
        assert all(0 <= late - at_us < grid and late % grid == 0 for late, at_us in zip(lanes, before, strict=True))
    before_us = dict(found.awake_until_us)
    next_us = found.outlook.next_us
    for name, until_us in rounded.awake_until_us:
        assert until_us == next_us or (0 <= before_us[name] - until_us < grid and until_us % grid == 0)
    for one, other in zip(rounded.earlier, found.earlier, strict=True):
        assert all(late.at_us >= at.at_us for late, at in zip(one.there, other.there, strict=True))
    assert round_safely(rounded, grid) == rounded
    case.window(rounded)


def test_lingering_beyond_the_horizon_is_all_the_same() -> None:
    one, other = (
        round_safely(Found(Conditions(("listen",)), LATER, (("gpu", until_us),)), 8) for until_us in (3_500, 90_000)
    )
    assert one == other
    assert one.awake_until_us == (("gpu", 3_000),)


@pytest.mark.parametrize("until_us", [0, 7])
def test_what_hardly_lingers_is_left_out(until_us: int) -> None:
    assert round_safely(Found(Conditions(("listen",)), LATER, (("gpu", until_us),)), 8).awake_until_us == ()

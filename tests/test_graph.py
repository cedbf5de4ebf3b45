"""Task graphs: one meaning, two ways to write them, errors that name the place."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime import shipped
from leo_runtime.documents.binding import bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, TaskGraph, Variant, Workload
from leo_runtime.errors import DocumentError, GraphError
from leo_runtime.operators import define, find_operator, operator

TOML = """
format = "leo-workload/1"
name = "one"
streams = [{ name = "mic", kind = "audio", rate_hz = 16000 }]

[[graphs]]
name = "loudness"
period_us = 1000000
deadline_us = 200000
decision = { stage = "peak", labels = ["loud"] }

[[graphs.stages]]
name = "sound"
operator = "window"
params = { stream = "mic", samples = 16000 }

[[graphs.stages]]
name = "awake"
operator = "energy_gate"
inputs = ["sound"]
params = { threshold_dbfs = -40.0 }

[[graphs.stages]]
name = "peak"
operator = "test_graph:peak"
inputs = ["sound"]
gate = "awake"
variants = [{ name = "exact" }, { name = "rough", params = { step = 4 }, accuracy_loss_ppm = 900 }]
"""


@operator(output_shape=lambda _, **params: (1,), macs=lambda signal, step: signal[0] // step)
def peak(signal: np.ndarray, *, step: int = 1) -> np.ndarray:
    """The greatest absolute value of a signal, of every `step`-th sample."""
    return np.abs(signal[::step]).max(keepdims=True)


def built() -> Workload:
    graph = GraphBuilder("loudness", period_us=1_000_000, deadline_us=200_000)
    sound = graph.stage("sound", "window", stream="mic", samples=16_000)
    gate = graph.stage("awake", "energy_gate", sound, threshold_dbfs=-40.0)
    rough = Variant(name="rough", params={"step": 4}, accuracy_loss_ppm=900)
    graph.stage("peak", peak, sound, gate=gate, variants=(Variant(name="exact"), rough))
    graph.decide("peak", ("loud",))
    return Workload(
        format="leo-workload/1",
        name="one",
        streams=(Stream(name="mic", kind="audio", rate_hz=16_000),),
        graphs=(graph.build(),),
    )


def test_a_file_and_the_builder_give_equal_values(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(TOML)
    assert Workload.from_file(tmp_path / "w.toml") == built()
    built().to_file(tmp_path / "w.json")
    assert Workload.from_file(tmp_path / "w.json") == built()


def test_bind_gives_shapes_parameters_and_work() -> None:
    bound = bind(built().graphs[0], built())
    assert bound["sound"].output_shape == (16_000,)
    assert bound["peak"].input_shapes == ((16_000,),)
    assert bound["peak"].output_bytes() == 4
    assert bound["peak"].work("exact").macs == 16_000
    assert bound["peak"].work("rough").macs == 4_000
    assert bound["peak"].accuracy_loss_ppm == {"exact": 0, "rough": 900}
    assert bound["peak"].signature("exact") != bound["peak"].signature("rough")


def test_only_what_nothing_reads_is_an_output() -> None:
    assert built().graphs[0].outputs() == ("peak",)


def one_stage(**stage: object) -> Workload:
    data = {
        "format": "leo-workload/1",
        "name": "w",
        "streams": [{"name": "mic", "rate_hz": 16_000}],
        "graphs": [
            {
                "name": "g",
                "period_us": 1,
                "deadline_us": 1,
                "stages": [
                    {"name": "sound", "operator": "window", "params": {"stream": "mic", "samples": 100}},
                    {"name": "s", **stage},
                ],
            }
        ],
    }
    return Workload.from_dict(data, "w.toml")


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ({"operator": "fft"}, "no operator is called `fft`"),
        ({"operator": "no_such_module:fft"}, "the module of operator `no_such_module:fft` cannot be imported"),
        ({"operator": "test_graph:peak"}, "stage `s` of graph `g` has 0 inputs, `test_graph:peak` takes 1"),
        ({"operator": "window", "inputs": ["sound"]}, "reads a sensor stream and can have no inputs, got sound"),
        (
            {"operator": "window", "params": {"stream": "radar", "samples": 1}},
            "no stream of workload `w` is called `radar`",
        ),
        ({"operator": "window", "params": {"stream": "mic"}}, 'the key "samples" is missing, at $.samples'),
        (
            {"operator": "test_graph:peak", "inputs": ["sound"], "params": {"step": "2"}},
            'expected an integer, got "2", at $.step',
        ),
        ({"operator": "test_graph:peak", "inputs": ["sound"], "gate": "sound"}, "is no gate"),
    ],
)
def test_what_means_nothing_is_refused(stage: dict[str, object], says: str) -> None:
    workload = one_stage(**stage)
    with pytest.raises(GraphError) as error:
        bind(workload.graphs[0], workload)
    assert says in str(error.value)


def with_rate(rate_hz: int, **stage: object) -> Workload:
    data = one_stage(inputs=["sound"], **stage).model_dump(mode="json")
    data["streams"][0]["rate_hz"] = rate_hz
    data["graphs"][0]["stages"][0]["params"]["samples"] = 16_000
    return Workload.from_dict(data)


MOTION: dict[str, object] = {"sample_rate_hz": 100, "band_edges_hz": [1.0, 5.0]}


@pytest.mark.parametrize(
    ("rate_hz", "stage", "says"),
    [
        (50, {"operator": "motion_features", "params": MOTION}, "sample_rate_hz is 100, its stream `mic` has 50"),
        (8_000, {"operator": "log_mel"}, "sample_rate_hz is 16000, its stream `mic` has 8000"),
        (8_000, {"operator": "micro_features"}, "`micro_features` reads 16000 Hz, its stream `mic` has 8000"),
        (
            16_000,
            {"operator": "log_mel", "variants": [{"name": "a"}, {"name": "b", "params": {"sample_rate_hz": 44_100}}]},
            "sample_rate_hz is 44100, its stream `mic` has 16000",
        ),
    ],
)
def test_a_rate_that_is_not_the_streams_is_refused(rate_hz: int, stage: dict[str, object], says: str) -> None:
    workload = with_rate(rate_hz, **stage)
    with pytest.raises(GraphError) as error:
        bind(workload.graphs[0], workload)
    assert str(error.value) == f"stage `s` of graph `g`: {says}"
    assert error.value.hint


def test_the_streams_own_rate_is_taken() -> None:
    for rate_hz, stage in (
        (100, {"operator": "motion_features", "params": MOTION}),
        (16_000, {"operator": "log_mel"}),
        (16_000, {"operator": "micro_features"}),
        (8_000, {"operator": "energy_gate", "params": {"threshold_dbfs": -40.0}}),
    ):
        workload = with_rate(rate_hz, **stage)
        assert "s" in bind(workload.graphs[0], workload)


def test_an_operator_that_is_not_there_is_named_with_its_stage_also_from_a_file(tmp_path: Path) -> None:
    for operator_name, says, hint in (
        ("fft", "no operator is called `fft`", "package.module:function"),
        ("no_steps:peaks", "the module of operator `no_steps:peaks` cannot be imported", "PYTHONPATH"),
    ):
        workload = one_stage(operator=operator_name)
        workload.to_file(tmp_path / "w.json")
        with pytest.raises(GraphError, match=f"^stage `s` of graph `g`: {says}") as bound:
            bind(workload.graphs[0], workload)
        with pytest.raises(GraphError, match=f"^stage `s` of graph `g`: {says}") as read:
            Workload.from_file(tmp_path / "w.json")
        assert hint in bound.value.hint
        assert hint in read.value.hint


def test_a_cycle_is_refused_with_its_place() -> None:
    with pytest.raises(DocumentError, match=r"w\.toml: the stages wait for each other: s <- s"):
        one_stage(operator="window", inputs=["s"])


def test_the_builder_refuses_what_a_file_would() -> None:
    graph = GraphBuilder("g", period_us=1, deadline_us=1)
    graph.stage("a", "window", "b")
    with pytest.raises(GraphError, match=r'graph `g`: no stage of graph "g" is called "b"'):
        graph.build()


def test_variants_must_agree_on_the_shape() -> None:
    @operator(output_shape=lambda _, length: (length,))
    def cut(signal: np.ndarray, *, length: int) -> np.ndarray:
        return signal[:length]

    graph = GraphBuilder("g", period_us=1, deadline_us=1)
    sound = graph.stage("sound", "window", stream="mic", samples=100)
    variants = tuple(Variant(name=str(n), params={"length": n}) for n in (3, 4))
    graph.stage("cut", cut, sound, variants=variants)
    workload = built().model_copy(update={"graphs": (graph.build(),)})
    with pytest.raises(GraphError, match="variants of different output shapes"):
        bind(workload.graphs[0], workload)


def test_files_are_relative_to_the_workload(tmp_path: Path) -> None:
    workload = one_stage(
        operator="gmm",
        inputs=["sound"],
        params={"model": "models/m.npz", "classes": 2, "components": 4, "dimensions": 3},
    )
    workload.to_file(tmp_path / "w.json")
    stage = Workload.from_file(tmp_path / "w.json").graphs[0].stage("s")
    assert stage.params["model"] == str(tmp_path / "models/m.npz")


def test_a_built_in_operator_cannot_be_replaced_but_your_own_can() -> None:
    with pytest.raises(GraphError, match="an operator called `window` is already defined"):
        define(replace(peak, name="window"))
    again = replace(peak, name="test_graph:again")
    assert find_operator(define(again).name) is again
    corrected = replace(again, summary="corrected")
    assert find_operator(define(corrected).name) is corrected


def test_a_graph_needs_its_stages() -> None:
    with pytest.raises(ValueError, match=r"TaskGraph: expected at least one, got \[\], at \$\.stages"):
        TaskGraph(name="g", period_us=1, deadline_us=1, stages=())


def builder() -> GraphBuilder:
    graph = GraphBuilder("g", period_us=1, deadline_us=1)
    graph.stage("a", "window", stream="mic", samples=4)
    return graph


def test_the_builder_takes_lists() -> None:
    graph = builder()
    graph.stage("b", "energy_gate", "a", variants=[Variant(name="one"), Variant(name="two")])
    graph.decide("b", ["loud", "quiet"], background="quiet")
    built = graph.build()
    assert built.decision is not None and built.decision.labels == ("loud", "quiet")
    assert [variant.name for variant in built.stages[1].variants] == ["one", "two"]


STAGE = "stage `b` of graph `g`: "
DECISION = "decision of graph `g`: "


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda g: g.stage(5, "window"), "stage `5` of graph `g`: input should be a valid string, got 5, at $.name"),
        (lambda g: g.stage("b", 5), STAGE + "input should be a valid string, got 5, at $.operator"),
        (lambda g: g.stage("b", "window", ["a"]), STAGE + 'input should be a valid string, got ["a"], at $.inputs[0]'),
        (lambda g: g.stage("b", "window", gate=5), STAGE + "input should be a valid string, got 5, at $.gate"),
        (lambda g: g.stage("b", "window", parts=0), STAGE + "expected at least 1, got 0, at $.parts"),
        (lambda g: g.stage("b", "window", parts=1.5), STAGE + "expected an integer, got 1.5, at $.parts"),
        (lambda g: g.stage("b", "window", variants="v"), STAGE + 'expected a list, got "v"'),
        (lambda g: g.stage("b", "window", variants=()), STAGE + "expected at least one, got [], at $.variants"),
        (lambda g: g.decide("a", "xy"), DECISION + 'expected a list, got "xy", at $.labels'),
        (lambda g: g.decide("a", []), DECISION + "expected at least one, got [], at $.labels"),
        (lambda g: g.decide("a", [5]), DECISION + "input should be a valid string, got 5, at $.labels[0]"),
        (lambda g: g.decide("a", ["x"], threshold="1"), DECISION + 'input should be a valid number, got "1"'),
        (lambda g: g.decide("a", ["x"], threshold=float("nan")), DECISION + "expected a finite number, got nan"),
        (lambda g: g.decide("a", ["x"], threshold=float("-inf")), DECISION + "expected a finite number, got -inf"),
        (lambda g: g.decide("a", ["x"], background=5), DECISION + "input should be a valid string, got 5"),
        (
            lambda g: g.decide("a", ["x", "y"], background="quite"),
            DECISION + 'no label is called "quite", there are x, y',
        ),
        (lambda g: g.decide("a", ["x", "y", "x"]), DECISION + 'the label "x" is given twice, at $.labels[2]'),
        (lambda g: g.stage("b", abs, "a"), STAGE + "the function `abs` is no operator"),
        (lambda g: g.stage("b", builder, "a"), STAGE + "the function `builder` is no operator"),
        (lambda g: g.stage("b", "log_mell", "a"), STAGE + "no operator is called `log_mell`"),
        (lambda g: g.decide("nobody", ["x"]), 'no stage of graph "g" is called "nobody"'),
    ],
)
def test_the_builder_refuses_what_cannot_be_without_a_traceback(
    write: Callable[[GraphBuilder], object], says: str
) -> None:
    graph = builder()
    with pytest.raises(GraphError, match=re.escape(says)):
        write(graph)
        graph.build()


def at(rate_hz: int | None = None, **kwargs: Any) -> TaskGraph:
    builder = GraphBuilder("g", rate_hz=rate_hz, deadline_us=1, **kwargs)
    builder.stage("frame", "cost", output_bytes=1)
    return builder.build()


def test_rates_meet_where_they_should() -> None:
    minute_us = 60_000_000
    times = [set(at(rate_hz).releases_us(minute_us)) for rate_hz in (60, 45, 30)]
    assert [len(each) for each in times] == [3_601, 2_701, 1_801]
    sixty, forty_five, thirty = times
    assert thirty < sixty
    assert sixty & forty_five == set(at(15).releases_us(minute_us))
    assert len(sixty | forty_five | thirty) == 5_401
    # Whole microseconds as periods drift apart.
    assert len({time for period_us in (16_667, 22_222, 33_333) for time in range(0, minute_us, period_us)}) > 7_000


@pytest.mark.parametrize("rate_hz", [1, 3, 7, 30, 44, 60, 90, 999_983, 1_000_000])
def test_a_release_is_the_nearest_microsecond_however_late_it_is(rate_hz: int) -> None:
    graph = at(rate_hz, offset_us=11)
    for number in (0, 1, 2, 3, 59, 1_000_003, 10**12 + 1):
        time = graph.release_us(number)
        assert abs(Fraction(number * 1_000_000, rate_hz) - (time - 11)) <= Fraction(1, 2)
        assert graph.next_release_us(time) == time
        assert graph.next_release_us(time + 1) == graph.release_us(number + 1)
    assert graph.next_release_us(0) == graph.next_release_us(11) == 11


def test_a_period_means_what_it_meant() -> None:
    graph = at(period_us=700, offset_us=30)
    assert list(graph.releases_us(2_200)) == [30, 730, 1_430, 2_130]
    assert [graph.next_release_us(time) for time in (0, 30, 31, 730, 1_431)] == [30, 30, 730, 730, 2_130]
    assert (graph.timing, graph.rate_hz) == ((700, 30, None), None)
    assert at(50).timing == at(period_us=20_000).timing
    assert at(60).timing != at(period_us=16_667).timing


def test_a_graph_with_a_rate_comes_back_from_its_file(tmp_path: Path) -> None:
    workload = Workload(format="leo-workload/1", name="w", graphs=(at(60),))
    workload.to_file(tmp_path / "w.json")
    assert Workload.from_file(tmp_path / "w.json") == workload
    assert workload.graphs[0].period_us == 16_667


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, 'the key "period_us" is missing, or "rate_hz" in its place'),
        ({"rate_hz": 60, "period_us": 16_000}, "rate_hz 60 is not a period of 16000 us: a graph has one of them"),
        ({"rate_hz": 0}, "expected at least 1, got 0"),
        ({"rate_hz": 1_000_001}, "expected at most 1000000, got 1000001"),
        ({"period_us": 0}, "expected at least 1, got 0"),
        ({"rate_hz": 1.5}, "expected an integer"),
    ],
)
def test_a_graph_that_says_not_when_it_runs_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        at(**given)


def test_a_bare_function_is_told_how_it_becomes_an_operator() -> None:
    with pytest.raises(GraphError) as error:
        builder().stage("b", builder, "a")  # type: ignore[arg-type]
    assert error.value.hint.startswith("`@operator(output_shape=...)` above a function makes it one")


def test_a_builder_in_place_of_its_graph_is_told_to_build() -> None:
    streams = (Stream(name="mic", rate_hz=1),)
    with pytest.raises(DocumentError, match=r"got the GraphBuilder itself, at \$.graphs\[0\]") as error:
        Workload(format="leo-workload/1", name="w", streams=streams, graphs=(builder(),))  # type: ignore[arg-type]
    assert error.value.hint == "give what its .build() returns"


def test_graphs_are_put_into_a_workload_and_taken_out_of_it() -> None:
    demo = shipped.workload()
    names = [graph.name for graph in demo.graphs]
    first, second = demo.graphs[:2]
    less = demo.without(first.name)
    assert [graph.name for graph in less.graphs] == names[1:]
    assert [graph.name for graph in less.with_graphs(first).graphs] == [*names[1:], first.name]
    other = second.model_copy(update={"deadline_us": 1})
    changed = demo.with_graphs(other, streams=[Stream(name="extra", rate_hz=5)])
    assert changed.graphs[1] == other and [graph.name for graph in changed.graphs] == names
    assert [stream.name for stream in changed.streams] == [*(stream.name for stream in demo.streams), "extra"]
    with pytest.raises(GraphError, match=f"no graph of workload `demo` is called `{first.name}x`"):
        demo.without(f"{first.name}x")
    with pytest.raises(GraphError, match=r"workload `demo`: .*at \$\.graphs"):
        demo.without(*names)
    with pytest.raises(GraphError, match=r"workload `demo`: .*at \$\.graphs\[5\]"):
        demo.with_graphs(other, second)

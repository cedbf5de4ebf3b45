"""What the built-in operators accept, and the shapes and work they declare."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.documents.binding import bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, Workload, file_parameters
from leo_runtime.errors import GraphError
from leo_runtime.operators import Operator, Shape, Work, all_operators, define, find_operator, operator
from leo_runtime.operators.sound import frame_count
from leo_runtime.schema import Value, field_docs

MODEL = Path("model.npz")


def shape(name: str, *shapes: Shape, **params: Any) -> Shape:
    found = find_operator(name)
    return found.output_shape(found.parameters.model_validate(params), shapes)


def work(name: str, *shapes: Shape, **params: Any) -> tuple[int, int]:
    found = find_operator(name)
    done = found.work(found.parameters.model_validate(params), shapes)
    return done.macs, done.bytes


def test_nobody_has_to_import_the_built_in_operators() -> None:
    names = [found.name for found in all_operators() if ":" not in found.name and not found.name.startswith("test_")]
    assert set(names) >= {"window", "energy_gate", "voice_gate", "log_mel", "mfcc", "gmm", "dense", "motion_features"}
    assert set(names) >= {"tflite", "micro_features", "fuse"}


@pytest.mark.parametrize("name", ["window", "energy_gate", "voice_gate", "log_mel", "mfcc", "gmm", "dense", "fuse"])
def test_every_operator_says_what_it_means(name: str) -> None:
    found = find_operator(name)
    assert "Output:" in found.summary
    assert found.parameters.__doc__
    said = field_docs(found.parameters)
    assert all(said[name] for name, field in found.parameters.model_fields.items() if field.is_required())


def test_flags() -> None:
    flags = {found.name: (found.is_source, found.is_gate, found.takes_absent) for found in all_operators()}
    assert flags["window"] == (True, False, False)
    assert flags["energy_gate"] == flags["voice_gate"] == (False, True, False)
    assert flags["fuse"] == (False, False, True)
    assert flags["gmm"] == (False, False, False)


def test_shapes() -> None:
    assert shape("window", (800,), stream="mic", samples=800) == (800,)
    assert shape("window", (50, 6), stream="wrist", samples=50) == (50, 6)
    assert shape("energy_gate", (50, 6), threshold_dbfs=-40.0) == (1,)
    assert shape("voice_gate", (16_000,)) == (1,)
    assert shape("log_mel", (16_000,), bands=64) == (98, 64)
    assert shape("mfcc", (16_000,), cepstra=13) == (98, 13)
    assert shape("mfcc", (16_000,), cepstra=13, deltas=True) == (98, 39)
    mixtures = {"classes": 7, "components": 128, "dimensions": 13, "model": MODEL}
    assert shape("gmm", (98, 39), first_column=26, **mixtures) == (7,)
    assert shape("gmm", (98, 39), average=False, **mixtures) == (98, 7)
    assert shape("dense", (98, 39), layers=(64, 5), model=MODEL) == (5,)
    assert shape("dense", (98, 39), layers=(64, 5), per_row=True, model=MODEL) == (98, 5)
    assert shape("dense", (98, 39), layers=(64, 5), per_row=True, average=True, model=MODEL) == (5,)
    assert shape("motion_features", (100, 6), sample_rate_hz=10, band_edges_hz=(0.5, 1.0, 5.0)) == (6, 4)
    assert shape("motion_features", (100,), sample_rate_hz=10, band_edges_hz=(0.5, 1.0)) == (1, 3)
    assert shape("tflite", (98, 40), model=MODEL, output_shape=(1,), rows_per_step=3) == (1,)
    assert shape("micro_features", (16_000,)) == (98, 40)
    assert shape("fuse", (5,), (5,), (5,)) == (5,)


@pytest.mark.parametrize(
    ("name", "shapes", "params", "says"),
    [
        ("window", [(10,)], {"stream": "mic", "samples": 11}, "11 samples was given 10"),
        ("voice_gate", [(100, 2)], {}, r"one channel, an array \(samples,\), got \(100, 2\)"),
        ("log_mel", [(399,)], {}, "399 samples are less than one frame of 400"),
        ("voice_gate", [(400,)], {"fft_samples": 500}, "power of two"),
        ("log_mel", [(400,)], {"fft_samples": 256}, "at least frame_samples"),
        ("log_mel", [(400,)], {"high_hz": 8001.0}, "half the sample rate"),
        ("voice_gate", [(400,)], {"low_hz": 5000.0, "high_hz": 400.0}, "low_hz < high_hz"),
        ("voice_gate", [(400,)], {"low_hz": 320.0, "high_hz": 350.0}, "fewer than two points"),
        ("mfcc", [(400,)], {"bands": 12, "cepstra": 13}, "13 cepstra cannot come from 12 bands"),
        ("gmm", [(9, 12)], {"classes": 1, "components": 1, "dimensions": 13, "model": MODEL}, "at least 13 columns"),
        ("gmm", [(13,)], {"classes": 1, "components": 1, "dimensions": 13, "model": MODEL}, r"got \(13,\)"),
        ("dense", [(13,)], {"layers": (3,), "per_row": True, "model": MODEL}, "rows"),
        ("dense", [(13,)], {"layers": (3,), "average": True, "model": MODEL}, "only with per_row"),
        ("motion_features", [(9, 9, 9)], {"sample_rate_hz": 9, "band_edges_hz": (1.0, 2.0)}, "got"),
        ("motion_features", [(9,)], {"sample_rate_hz": 9, "band_edges_hz": (2.0, 2.0)}, "must rise"),
        ("tflite", [(2, 40)], {"model": MODEL, "output_shape": (1,), "rows_per_step": 3}, "2 rows are less"),
        ("micro_features", [(479,)], {}, "less than one frame of 480"),
        ("fuse", [(3,), (4,)], {}, "inputs of one shape"),
        ("fuse", [(3,), (3,)], {"weights": (1.0,)}, "2 inputs and 1 weights"),
    ],
)
def test_what_does_not_fit_is_said_plainly(name: str, shapes: list[Shape], params: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        shape(name, *shapes, **params)


def test_work_counts_weights_and_grows_with_frames() -> None:
    mixtures = {"classes": 2, "components": 3, "dimensions": 5, "model": MODEL}
    assert work("gmm", (10, 5), **mixtures) == (10 * 2 * 3 * 11, 4 * (10 * 5 + 2 * 3 * 11 + 2))
    assert work("gmm", (20, 5), **mixtures)[0] == 2 * work("gmm", (10, 5), **mixtures)[0]
    assert work("dense", (4, 5), layers=(6, 2), model=MODEL) == (20 * 6 + 6 * 2, 4 * (132 + 8 + 20 + 2))
    assert work("dense", (4, 5), layers=(6, 2), per_row=True, model=MODEL)[0] == 4 * (5 * 6 + 6 * 2)
    assert work("tflite", (98, 40), model=MODEL, output_shape=(1,), rows_per_step=3, macs=7)[0] == 32 * 7
    assert work("log_mel", (32_000,))[0] > 1.9 * work("log_mel", (16_000,))[0]
    for name, one in {
        "window": {"stream": "m", "samples": 9},
        "energy_gate": {"threshold_dbfs": 0.0},
        "fuse": {},
    }.items():
        assert min(work(name, (9,), **one)) > 0


def test_models_say_what_they_hold(tmp_path: Path) -> None:
    def held(name: str, *shapes: Shape, **params: Any) -> int:
        found = find_operator(name)
        assert found.weight_bytes is not None
        return found.weight_bytes(found.parameters.model_validate(params), shapes)

    mixtures = {"classes": 2, "components": 3, "dimensions": 5, "classes_in_model": 9, "model": MODEL}
    assert held("gmm", (10, 5), **mixtures) == 4 * 2 * 3 * 11
    assert held("dense", (4, 5), layers=(6, 2), per_row=True, model=MODEL) == 4 * (5 * 6 + 6 + 6 * 2 + 2)
    assert held("dense", (4, 5), layers=(6, 2), model=MODEL) == 4 * (20 * 6 + 6 + 6 * 2 + 2)
    (tmp_path / "m.tflite").write_bytes(bytes(123))
    assert held("tflite", (98, 40), model=tmp_path / "m.tflite", output_shape=(1,)) == 123
    assert held("tflite", (98, 40), model=tmp_path / "none.tflite", output_shape=(1,)) == 0
    assert find_operator("log_mel").weight_bytes is None


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 500))
def test_frames_are_whole_and_none_is_left_out(frame: int, hop: int, more: int) -> None:
    samples = frame + more
    count = frame_count(samples, frame, hop)
    assert (count - 1) * hop + frame <= samples < count * hop + frame


def test_models_are_files_relative_to_the_workload(tmp_path: Path) -> None:
    assert file_parameters(find_operator("gmm")) == file_parameters(find_operator("tflite")) == ("model",)
    graph = GraphBuilder("g", period_us=1, deadline_us=1)
    rows = graph.stage("rows", "window", stream="s", samples=4)
    graph.stage("net", "dense", rows, layers=[2], model="net.npz")
    stream = Stream(name="s", rate_hz=10, channels=3)
    workload = Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))
    placed = workload.with_files_in(tmp_path)
    bound = bind(placed.graphs[0], placed)["net"]
    assert bound.params["default"].model == tmp_path / "net.npz"
    assert bound.signature("default") == bind(graph.build(), workload)["net"].signature("default")


def test_two_operators_of_one_name_are_refused() -> None:
    gate = find_operator("energy_gate")
    other = Operator(gate.name, "another", gate.parameters, gate.output_shape, gate.work)
    with pytest.raises(GraphError, match="already defined"):
        define(other)


def test_unknown_operators_are_named_with_those_there_are() -> None:
    with pytest.raises(GraphError, match="no operator is called `fbank`") as raised:
        find_operator("fbank")
    assert "log_mel" in raised.value.hint
    with pytest.raises(GraphError, match="cannot be imported"):
        find_operator("no_such_module:peaks")


@operator(output_shape=lambda signal, *, keep: (keep,), macs=lambda signal, *, keep: keep * signal[0])
def loudest(signal: np.ndarray, *, keep: int = 3) -> np.ndarray:
    """The greatest samples."""
    return np.sort(signal)[-keep:]


def test_your_own_operator_says_what_it_holds() -> None:
    @operator(output_shape=lambda x, *, units: (units,), weight_bytes=lambda x, *, units: 4 * units * x[0])
    def layer(signal: np.ndarray, *, units: int) -> np.ndarray:
        return np.zeros(units, np.float32)

    params = layer.parameters.model_validate({"units": 3})
    assert layer.weight_bytes is not None
    assert layer.weight_bytes(params, [(8,)]) == 96
    assert layer.work(params, [(8,)]) == Work(0, 4 * (8 + 3) + 96)
    assert loudest.weight_bytes is not None
    assert loudest.weight_bytes(loudest.parameters(), [(8,)]) == 0


def test_a_function_becomes_an_operator() -> None:
    assert find_operator(f"{__name__}:loudest") is loudest
    assert isinstance(loudest.parameters(), Value)
    assert shape(loudest.name, (8,), keep=2) == (2,)
    assert work(loudest.name, (8,), keep=2) == (16, 4 * (8 + 2))
    assert loudest.summary == "The greatest samples."

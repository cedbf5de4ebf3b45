"""The demo's workload and models: they fit together, and are worth what `accuracy.json` says."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from leo_backends import tflite
from leo_backends.cpu import CpuBackend
from leo_backends.dsp import DspBackend
from leo_runtime.backend import Backend
from leo_runtime.demo import MODELS, RECORDINGS, WORKLOAD
from leo_runtime.demo.features import VOICES, Pipeline
from leo_runtime.demo.score import on_recording
from leo_runtime.demo.sources import ACTIVITIES, SCENES
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from leo_runtime.recordings.recording import Recording

SHORT = ("held_out_music", "held_out_speakers", "held_out_wake_words")
ACCURACY: dict[str, Any] = json.loads((MODELS / "accuracy.json").read_text())


@pytest.fixture(scope="module")
def workload() -> Workload:
    return Workload.from_file(WORKLOAD)


@pytest.fixture(scope="module")
def cpu() -> Iterator[Backend]:
    backend = CpuBackend(Processor(name="cpu", backend="cpu"))
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def dsp() -> Iterator[Backend]:
    backend = DspBackend(Processor(name="dsp", backend="dsp"))
    yield backend
    backend.close()


def test_graphs_share_what_they_have_in_common(workload: Workload) -> None:
    merged = merge(workload)
    written = sum(len(graph.stages) for graph in workload.graphs)
    # Three copies each of the window and its silence filter, two of the voice gate, one of the features.
    assert written - len(merged.stages) == 3 + 3 + 2 + 1


def test_decisions_are_in_the_order_that_models_were_trained_in(workload: Workload) -> None:
    labels = {graph.name: graph.decision.labels for graph in workload.graphs if graph.decision}
    assert labels["speaker"] == VOICES
    assert labels["scene"] == SCENES
    assert labels["activity"] == ACTIVITIES


@pytest.mark.parametrize("graph", ["speech", "speaker", "scene", "activity"])
@pytest.mark.parametrize("name", SHORT)
def test_models_are_worth_what_is_said_of_them(workload: Workload, cpu: Backend, name: str, graph: str) -> None:
    found = on_recording(workload, graph, Recording.from_file(RECORDINGS / name), cpu)
    said = ACCURACY["recordings"][name][graph]
    assert (found["inside"], found["outside"]) == (said["inside"], said["outside"])
    # One frame may fall on the other side of a threshold where sums are rounded otherwise.
    assert abs(found["right"] - said["right"]) <= 1
    assert abs(found["false_alarms"] - said["false_alarms"]) <= 1


@pytest.mark.parametrize("name", SHORT)
def test_the_wake_word_wakes(workload: Workload, cpu: Backend, name: str) -> None:
    pytest.importorskip("pymicro_features")
    if not tflite.is_available():
        pytest.skip("no package that runs .tflite models is installed")
    found = on_recording(workload, "wake_word", Recording.from_file(RECORDINGS / name), cpu)
    assert found == ACCURACY["recordings"][name]["wake_word"]
    assert found["detected"] == found["said"]


def test_a_closed_gate_leaves_the_pipeline_undecided(workload: Workload, cpu: Backend) -> None:
    label, outputs = Pipeline(workload, "speaker", cpu).decide(np.zeros(32_000, np.int16))
    assert label is None
    assert sorted(outputs) == ["loud", "sound"]
    assert float(outputs["loud"][0]) < 0


@pytest.mark.parametrize("graph", ["speaker", "scene", "activity"])
def test_fixed_point_decides_as_floating_point_does(workload: Workload, cpu: Backend, dsp: Backend, graph: str) -> None:
    recording = Recording.from_file(RECORDINGS / "held_out_speakers")
    exact, fixed = Pipeline(workload, graph, cpu), Pipeline(workload, graph, dsp)
    source = exact.graph.stages[0].params
    for end_us in (5_000_000, 12_000_000):
        window = recording.window(source["stream"], end_us, source["samples"])
        (label, values), (other, approximate) = exact.decide(window), fixed.decide(window)
        assert label is not None
        assert other == label
        assert exact.graph.decision is not None
        stage = exact.graph.decision.stage
        assert approximate[stage] == pytest.approx(values[stage], abs=0.01)


def test_held_out_accuracies_are_consistent_with_their_confusions() -> None:
    for name, score in ACCURACY.items():
        if isinstance(score, dict) and "confusion" in score:
            rows = score["confusion"].items()
            right = sum(row[score["labels"].index(label)] for label, row in rows)
            assert sum(sum(row) for _label, row in rows) == score["n"], name
            assert score["accuracy"] == round(right / score["n"], 4), name

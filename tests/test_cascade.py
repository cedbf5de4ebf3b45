"""The demo's cascade: a face, its mesh and its iris, on real images; the same on every processor."""

from collections.abc import Iterator

import numpy as np
import pytest

from leo_backends.tflite_package import is_available
from leo_runtime import Runtime, shipped
from leo_runtime.backend import registry
from leo_runtime.demo import camera
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators.outputs import arrays_of

FACE_FRAMES = range(*camera.FACE_S)
NETWORKS = ("detector", "mesh", "iris")

needs_tflite = pytest.mark.skipif(not is_available(), reason="needs the extra `tflite`")
needs_opencl = pytest.mark.skipif(
    not next(status.available for status in registry.available() if status.name == "opencl"), reason="no OpenCL here"
)


def frames(solver: str, *beside: str, count: int = camera.SECONDS) -> list[FrameResult]:
    """What becomes of the camera's first frames on the phone."""
    workload, recording = shipped.workload("faces", *beside), shipped.recording("camera")
    phone, costs = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    with Runtime.simulated(workload, phone, costs, solver=solver) as runtime:
        for second in range(1, count + 1):
            now_us = second * 1_000_000
            asked = runtime.sources([graph.name for graph in workload.graphs if graph.runs_at(now_us)])
            windows = {one.stage: recording.window(one.stream, now_us, one.samples) for one in asked}
            runtime.submit(now_us, windows)
        return list(runtime.drain())


@pytest.fixture(scope="module")
def on_cpu() -> list[FrameResult]:
    return frames("cpu-only")


def labels(results: list[FrameResult]) -> list[str | None]:
    return [next(graph.label for graph in result.graphs if graph.graph == "face") for result in results]


def ran_on(results: list[FrameResult], resource: str) -> Iterator[tuple[int, str]]:
    for number, result in enumerate(results):
        for run in result.stages:
            if run.outcome == "done" and run.resource == resource and run.stage in NETWORKS:
                yield number, run.stage


def require_an_iris_in_the_middle(result: FrameResult) -> None:
    """Of 64 x 64 pixels, by its middle and four points around it."""
    _eye, iris = arrays_of(result.graphs[0].outputs["iris"])
    middle, *edge = iris.reshape(5, 3)[:, :2]
    assert middle == pytest.approx([32, 30.5], abs=2)
    assert np.hypot(*(np.array(edge) - middle).T) == pytest.approx(np.full(4, 5.5), abs=0.7)


@needs_tflite
def test_the_gate_opens_while_there_is_a_face(on_cpu: list[FrameResult]) -> None:
    assert labels(on_cpu) == ["face" if number in FACE_FRAMES else None for number in range(camera.SECONDS)]
    assert len(FACE_FRAMES) == 16
    ran = list(ran_on(on_cpu, "cpu"))
    assert [number for number, stage in ran if stage == "detector"] == [*range(camera.SECONDS)]
    for behind in ("mesh", "iris"):
        assert [number for number, stage in ran if stage == behind] == [*FACE_FRAMES]


@needs_tflite
def test_the_iris_is_found_in_the_middle_of_its_eye(on_cpu: list[FrameResult]) -> None:
    """The parts are cut right: a wrong box would have no iris in its middle, and never one of one size."""
    for result in on_cpu[FACE_FRAMES.start : FACE_FRAMES.stop]:
        require_an_iris_in_the_middle(result)


@needs_tflite
@needs_opencl
def test_the_best_plan_uses_all_three_processors(on_cpu: list[FrameResult]) -> None:
    """The detector in int8 on the DSP: its boxes are others, by some pixels, and what it finds is the same."""
    found = frames("exact")
    assert [*ran_on(found, "dsp")] == [(number, "detector") for number in range(camera.SECONDS)]
    assert {stage for _number, stage in ran_on(found, "gpu")} == {"mesh", "iris"}
    assert labels(found) == labels(on_cpu)
    for result in found[FACE_FRAMES.start : FACE_FRAMES.stop]:
        require_an_iris_in_the_middle(result)


@needs_tflite
@needs_opencl
def test_networks_run_on_the_gpu_with_the_cpu_s_answers(on_cpu: list[FrameResult]) -> None:
    found = frames("gpu-first")
    ran = [*ran_on(found, "gpu")]
    assert {stage for _number, stage in ran} == set(NETWORKS)
    assert {number for number, stage in ran if stage == "mesh"} == {*FACE_FRAMES}
    assert labels(found) == labels(on_cpu)
    for result, reference in zip(found, on_cpu, strict=True):
        outputs, expected = (one.graphs[0].outputs for one in (result, reference))
        assert outputs.keys() == expected.keys()
        for name in outputs:
            for one, other in zip(arrays_of(outputs[name]), arrays_of(expected[name]), strict=True):
                assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


@needs_tflite
@needs_opencl
def test_beside_sound_and_motion_it_has_the_same_answers(on_cpu: list[FrameResult]) -> None:
    found = frames("greedy", "demo", count=6)
    assert {graph.graph for result in found for graph in result.graphs} > {"face", "speaker", "activity"}
    assert labels(found) == labels(on_cpu[:6])

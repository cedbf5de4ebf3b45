"""Frames enlarged patch by patch on the modelled phone: good enough, and fast for knowing what is hard."""

from contextlib import closing

import numpy as np
import pytest

from bench import patches as bench
from leo_backends.tflite_package import is_available
from leo_runtime import Runtime, shipped
from leo_runtime.backend import registry
from leo_runtime.demo import RECORDINGS, pictures, train_pictures
from leo_runtime.documents.hardware import Processor
from leo_runtime.frame.records import FrameResult

pytestmark = pytest.mark.skipif(not is_available(), reason="needs the extra `tflite`")
GROUPS = range(4)


@pytest.fixture(scope="module")
def truths() -> np.ndarray:
    with np.load(RECORDINGS / "stills" / "truth.npz") as held:
        return held["large"]


@pytest.fixture(scope="module")
def frames() -> list[FrameResult]:
    workload, recording = shipped.workload("patches"), shipped.recording("stills")
    phone, costs = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    with Runtime.simulated(workload, phone, costs, solver="greedy") as runtime:
        for second in (1, 2):
            runtime.submit(second * 1_000_000, {"eye": recording.window("eye", second * 1_000_000, 1)})
        return list(runtime.drain())


def through(result: FrameResult, network: str) -> list[int]:
    ran = {run.stage for run in result.stages if run.outcome == "done"}
    return [group for group in GROUPS if f"{network} {group}" in ran]


def test_every_group_goes_through_one_network_the_hardest_through_the_large_one(frames: list[FrameResult]) -> None:
    for result in frames:
        large = through(result, "large")
        assert large == [*range(len(large))]
        assert through(result, "small") == [*range(len(large), len(GROUPS))]
    # The threshold is another one for another frame.
    assert len({len(through(result, "large")) for result in frames}) == 2


def test_the_frames_are_better_than_interpolation(frames: list[FrameResult], truths: np.ndarray) -> None:
    for result, truth in zip(frames, truths, strict=True):
        image = result.graphs[0].outputs["enlarged"][..., 0]
        assert image.shape == truth.shape
        plain = train_pictures.errors(train_pictures.cut(pictures.halved(truth)), truth, None).mean()
        assert bench.db(bench.errors(image, truth, 48, 8).mean()) > bench.db(plain) + 0.4


def test_the_split_by_difficulty_is_the_faster_one_at_equal_quality(truths: np.ndarray) -> None:
    images = np.load(RECORDINGS / "stills" / "eye.npy").astype(np.float32)
    workers = bench.phone()
    with closing(registry.create(Processor(name="cpu", backend="cpu"))) as backend:
        enlarging = bench.Enlarging(backend)
        for name, image, truth in zip(pictures.HELD_OUT, images, truths, strict=True):
            found = bench.compared(enlarging.frame(name, image, truth), 0.8, workers)
            ratios, _ = found.row(workers)
            assert min(ratios) > 1
            assert found.known < found.in_rows

"""Parts of images, and the boxes that say which: what the operators of a cascade mean."""

from typing import Any

import numpy as np
import pytest

from leo_backends.cpu import CpuBackend
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import GraphError, KernelError
from leo_runtime.operators import find_operator
from leo_runtime.testing import example

FACE = {"cells": 2, "anchors": 1}, {"cells": 1, "anchors": 2}


def run(operator: str, *inputs: np.ndarray, **params: Any) -> np.ndarray:
    tried = example("tried", operator, inputs, **params)
    return CpuBackend(Processor(name="cpu", backend="cpu")).load(tried.stage, "default")(tried.inputs)


def box(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels)).astype(np.float32)


def test_a_crop_of_the_image_s_own_size_is_the_image() -> None:
    picture = image(7, 11)
    assert np.allclose(run("crop", picture, height_px=7, width_px=11, high=255.0), picture, atol=1e-4)
    assert np.allclose(run("crop", picture[None], height_px=7, width_px=11, high=255.0), picture, atol=1e-4)


def test_a_box_on_whole_pixels_is_a_slice() -> None:
    picture = image(10, 20)
    part = run("crop", picture, box(0.25, 0.6, 0.2, 0.4), height_px=4, width_px=4, high=255.0)
    assert np.allclose(part, picture[4:8, 3:7], atol=1e-3)


def test_a_crop_twice_as_fine_lies_between_pixels() -> None:
    ramp = np.broadcast_to(np.arange(4, dtype=np.float32)[None, :, None], (1, 4, 1))
    fine = run("crop", ramp, height_px=1, width_px=8, high=255.0)
    assert fine.ravel() == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], abs=1e-5)


def test_beyond_the_image_are_its_edges() -> None:
    picture = image(5, 5, 1)
    outside = run("crop", picture, box(-3, 0.5, 1, 1), height_px=5, width_px=4, high=255.0)
    assert np.allclose(outside, np.broadcast_to(picture[:, :1], (5, 4, 1)), atol=1e-3)
    alone = run("crop", picture[:1, :1], box(9, 9, 9, 9), height_px=2, width_px=2, high=255.0)
    assert np.allclose(alone, picture[0, 0])


def test_values_are_brought_between_low_and_high() -> None:
    ends = np.array([[[0.0], [255.0]]], np.float32)
    assert run("crop", ends, height_px=1, width_px=2, low=-1.0).ravel() == pytest.approx([-1, 1])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_nowhere_fails_in_words(number: float) -> None:
    with pytest.raises(KernelError, match="is nowhere"):
        run("crop", image(4, 4), box(0.5, number, 1, 1), height_px=2, width_px=2)


def test_the_gate_opens_by_the_greatest_score() -> None:
    scores, other = np.array([[[-3.0], [1.0]]], np.float32), np.full((1, 2, 4), 9, np.float32)
    assert run("score_gate", other, scores, array=1, threshold=0.5) == pytest.approx([1 / (1 + np.exp(-1)) - 0.5])
    assert run("score_gate", scores, threshold=0.5, logits=False) == pytest.approx([0.5])
    for huge, sure in ((-2e5, -0.5), (2e5, 0.5)):
        assert run("score_gate", np.full(3, huge, np.float32), threshold=0.5) == pytest.approx([sure])


def test_the_best_anchor_s_box_counts_from_the_middle_of_its_cell() -> None:
    boxes, scores = np.zeros((1, 6, 5), np.float32), np.zeros((1, 6, 1), np.float32)
    boxes[0, 2, :4] = (10, -5, 20, 40)  # The lower left of the first grid's four cells.
    boxes[0, 4, :4] = (0, 0, 10, 10)
    scores[0, 2] = 1
    found = run("anchor_box", boxes, scores, size_px=100.0, grids=FACE, scale=1.5, aspect=2.0)
    assert found == pytest.approx([0.25 + 0.1, 0.75 - 0.05, 0.3, 0.6])
    scores[0, 4:] = 2  # Of two equals, the first.
    assert run("anchor_box", boxes, scores, size_px=100.0, grids=FACE) == pytest.approx([0.5, 0.5, 0.1, 0.1])


def test_landmarks_are_found_again_in_the_whole_image() -> None:
    marks = np.array([[0, 0, 9, 50, 20, 9, 90, 40, 9]], np.float32)
    where = box(0.5, 0.25, 0.2, 0.4)
    found = run("landmark_box", marks, where, points=(2, 1), size_px=100.0, scale=2.0)
    # From (50, 20) to (90, 40) of 100: the middle is (70, 30).
    assert found == pytest.approx([0.5 + 0.2 * 0.2, 0.25 - 0.2 * 0.4, 2 * 0.08, 2 * 0.08])


def test_a_crop_of_a_box_has_its_landmarks_in_its_middle() -> None:
    """What `landmark_box` gives, `crop` cuts: a bright point is found in the middle of the part."""
    picture = np.zeros((1, 200, 200, 1), np.float32)
    picture[0, 120:124, 60:64] = 255
    where = box(0.4, 0.5, 0.5, 0.5)  # From (30, 50) to (130, 150).
    marks = np.array([(62 - 30 - 10) * 0.64, (122 - 50) * 0.64, (62 - 30 + 10) * 0.64, (122 - 50) * 0.64], np.float32)
    around = run("landmark_box", marks, where, points=(0, 1), size_px=64.0, dimensions=2, scale=1.0)
    part = run("crop", picture, around, height_px=20, width_px=20)
    assert np.argwhere(part[..., 0] > 0.5).mean(axis=0) == pytest.approx([9.5, 9.5])


@pytest.mark.parametrize(
    ("name", "shapes", "params", "says"),
    [
        ("crop", [(2, 8, 8, 3)], {"height_px": 4, "width_px": 4}, r"takes one image .* got \(2, 8, 8, 3\)"),
        ("crop", [(8, 8, 3), (5,)], {"height_px": 4, "width_px": 4}, r"one box \(4,\) or none"),
        ("score_gate", [(3,)], {"threshold": 0.5, "array": 1}, "given 1 arrays, `array` is 1"),
        ("anchor_box", [(1, 7, 16), (1, 7, 1)], {"size_px": 8.0, "grids": FACE}, "of 6 anchors"),
        ("anchor_box", [(1, 6, 3), (1, 6, 1)], {"size_px": 8.0, "grids": FACE}, "of 6 anchors"),
        ("anchor_box", [(1, 6, 4), (1, 6, 2)], {"size_px": 8.0, "grids": FACE}, "one score for each"),
        ("landmark_box", [(9,), (3,)], {"points": (0, 1), "size_px": 8.0}, "behind them the box"),
        ("landmark_box", [(9,), (4,)], {"points": (0, 3), "size_px": 8.0}, "reads landmark 3 of 3 numbers"),
        ("landmark_box", [(10,), (4,)], {"points": (0, 1), "size_px": 8.0}, "3 numbers each"),
    ],
)
def test_what_does_not_fit_is_said_plainly(name: str, shapes: Any, params: dict[str, Any], says: str) -> None:
    operator = find_operator(name)
    with pytest.raises(GraphError, match=says):
        operator.output_shape(operator.parameters.model_validate(params), shapes)

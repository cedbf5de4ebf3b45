"""Patches of an image: how hard they are, cut out, which need the better network, put together."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from leo_backends.cpu import CpuBackend
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import GraphError
from leo_runtime.operators import find_operator
from leo_runtime.operators.patches import few_enough, hardest_first
from leo_runtime.testing import example

CURVES = {"difficulty": (0.0, 1.0), "easy": (0.0, 0.8), "hard": (0.0, 0.4)}


def run(operator: str, *inputs: np.ndarray, **params: Any) -> np.ndarray:
    tried = example("tried", operator, inputs, **params)
    return CpuBackend(Processor(name="cpu", backend="cpu")).load(tried.stage, "default")(tried.inputs)


def image(height: int, width: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels)).astype(np.float32)


def test_what_changes_more_is_harder() -> None:
    picture = np.zeros((4, 8, 1), np.float32)
    picture[::2, 4:] = 255
    assert run("total_variation", picture, patch_px=4).tolist() == [2 / 16, 12 / 16]
    assert run("total_variation", picture[None], patch_px=2).shape == (8,)
    assert not run("total_variation", np.full((6, 6, 3), 9, np.float32), patch_px=3).any()


def test_patches_come_the_hardest_first_each_with_its_halo() -> None:
    picture, difficulties = image(4, 6), np.array([1, 3, 2, 3, 0, 1], np.float32)
    cut = run("patches", picture, difficulties, patch_px=2, halo_px=1, first=1, count=2)
    padded = np.pad(picture[..., 0], 1, mode="edge") / 255
    assert hardest_first(difficulties).tolist() == [1, 3, 2, 0, 5, 4]
    assert cut.shape == (1, 8, 4, 1)
    assert np.allclose(cut[0, :4, :, 0], padded[2:6, 0:4])
    assert np.allclose(cut[0, 4:, :, 0], padded[0:4, 4:8])


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_that_are_put_together_are_the_image(channels: int) -> None:
    picture = image(6, 8, channels)
    difficulties = run("total_variation", picture, patch_px=2)
    cut = [
        run("patches", picture, difficulties, patch_px=2, halo_px=3, first=first, count=4) for first in range(0, 12, 4)
    ]
    assert np.allclose(run("stitch", difficulties, *cut, columns=4, patch_px=2, halo_px=3), picture, atol=1e-3)
    twice = [part.repeat(2, axis=1).repeat(2, axis=2) for part in cut]
    large = run("stitch", difficulties, *twice, columns=4, patch_px=2, halo_px=3, scale=2)
    assert np.allclose(large, picture.repeat(2, axis=0).repeat(2, axis=1), atol=1e-3)


def test_of_two_networks_arrays_that_a_gate_removed_count_as_nothing() -> None:
    difficulties = np.array([1, 2], np.float32)
    none, light, dark = (np.full((1, 1, 1, 1), value, np.float32) for value in (0, 0.75, 0.25))
    found = run("stitch", difficulties, none, dark, light, none, columns=2, patch_px=1)
    assert found.ravel().tolist() == [0.25 * 255, 0.75 * 255]


def test_a_stitched_value_stays_a_pixel() -> None:
    beyond = np.array([-0.1, 1.2], np.float32).reshape(1, 2, 1, 1)
    assert run("stitch", np.array([1, 0], np.float32), beyond, columns=2, patch_px=1).ravel().tolist() == [0, 255]


@pytest.mark.parametrize(
    ("mean", "hard"), [(0.41, 0), (0.4, 0), (0.39, 1), (0.3, 1), (0.29, 2), (0.2, 3), (0.1, 4), (0.01, 4)]
)
def test_the_better_network_takes_no_more_than_the_floor_needs(mean: float, hard: int) -> None:
    # Errors of 0.8, 0.4, 0.4 and 0 through the one network, half of that through the other.
    difficulties = np.array([0.5, 1.0, 0.0, 0.5], np.float32)
    floor = -10 * np.log10(mean + 1e-9)
    assert run("hard_patches", difficulties, floor_db=floor, curves=CURVES) == [hard]


def test_sums_of_errors_are_those_of_every_choice() -> None:
    easy, hard = np.array([5, 3, 2]), np.array([1, 1, 1])
    assert few_enough(easy, hard, 6).tolist() == [False, True, True, True]
    assert few_enough(easy, hard, 2).tolist() == [False] * 4


@pytest.mark.parametrize(("needed", "open_to"), [(0, "easy"), (4, "easy"), (5, "hard"), (12, "hard")])
def test_a_group_goes_through_one_of_both_networks(needed: int, open_to: str) -> None:
    for side in ("hard", "easy"):
        gate = run("patch_gate", np.array([needed], np.float32), first=4, opens=side)
        assert (gate[0] > 0) == (side == open_to)


@pytest.mark.parametrize(
    ("operator", "shapes", "params", "says"),
    [
        ("total_variation", [(5, 4, 1)], {"patch_px": 2}, "cannot cut 5 x 4 pixels into patches of 2 x 2"),
        ("total_variation", [(4, 4)], {"patch_px": 2}, "takes one image"),
        ("patches", [(4, 4, 1), (3,)], {"patch_px": 2, "count": 1}, r"difficulties \(4,\) of its patches, got \(3,\)"),
        ("patches", [(4, 4, 1), (4,)], {"patch_px": 2, "first": 3, "count": 2}, "asks for patches 3 to 4 of 4"),
        ("stitch", [(4,), (1, 4, 2, 1), (1, 2, 2, 1)], {"columns": 2, "patch_px": 2}, "arrays of one shape"),
        ("stitch", [(4,), (1, 4, 2, 1)], {"columns": 2, "patch_px": 2}, "takes 4 patches of 2 x 2"),
        ("stitch", [(4,), (1, 1, 2, 1)], {"columns": 2, "patch_px": 2}, "takes 4 patches of 2 x 2"),
        ("stitch", [(4,), ()], {"columns": 2, "patch_px": 2}, "arrays of one shape"),
        ("stitch", [(4,), (1, 8, 2, 1)], {"columns": 3, "patch_px": 2}, "in 3 columns"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(operator: str, shapes: list, params: dict, says: str) -> None:
    found = find_operator(operator)
    with pytest.raises(GraphError, match=says):
        found.output_shape(found.parameters.model_validate(params), shapes)


@pytest.mark.parametrize("floor_db", [1e9, -1e9])
def test_a_floor_that_no_number_stands_for_is_refused(floor_db: float) -> None:
    with pytest.raises(ValidationError, match="floor_db"):
        find_operator("hard_patches").parameters.model_validate({"floor_db": floor_db, "curves": CURVES})


@pytest.mark.parametrize("curves", [{"easy": (1.0,)}, {"difficulty": (0.0, 0.0)}, {"difficulty": (1.0, 0.0)}])
def test_curves_that_are_none_are_refused(curves: dict) -> None:
    with pytest.raises(ValidationError, match="difficulty"):
        find_operator("hard_patches").parameters.model_validate({"floor_db": 30.0, "curves": {**CURVES, **curves}})

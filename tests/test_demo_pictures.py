"""The photographs that ship, and the networks that enlarge them: how they are made, learned and worth."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from leo_runtime import shipped
from leo_runtime.demo import MODELS, RECORDINGS, pictures, train_pictures
from leo_runtime.demo.super_resolution import (
    PATCH_PX,
    SEEN_PX,
    Enlarger,
    _gradients,
    as_graph,
    bicubic,
    convolved,
    enlarged,
    fit_enlarger,
    four_of_each,
)
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.reference import run

TINY = ((3, 2), (3, 4))


def some(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def waves(seed: int) -> np.ndarray:
    """A picture of edges: (128, 160) of uint8."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:128, 0:160]
    turns = sum(np.sin(rng.uniform(-0.5, 0.5) * down + rng.uniform(-0.5, 0.5) * across) for _ in range(3))
    return np.where(turns > 0, 200, 40).astype(np.uint8)


def test_the_two_of_least_digest_are_held_out() -> None:
    assert pictures.HELD_OUT == ("chelsea", "coffee")


def test_a_picture_at_half_its_size_keeps_what_is_even() -> None:
    assert (pictures.halved(np.full((8, 12), 77, np.uint8)) == 77).all()
    ramp = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8), (8, 24))
    assert pictures.halved(ramp)[0, 2:-2].tolist() == list(range(45, 205, 20))
    assert np.array_equal(pictures.halved(ramp.T), pictures.halved(ramp).T)


def test_enlarging_begins_with_bicubic_interpolation() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None], (8, 8))
    four = convolved(ramp[None, ..., None], bicubic())[0, 3, 3]
    assert four == pytest.approx([2.75, 2.75, 3.25, 3.25])


def test_four_pixels_of_each_are_the_picture() -> None:
    picture = np.arange(4 * 6).reshape(1, 4, 6)
    four = four_of_each(picture)
    assert four.shape == (1, 2, 3, 4)
    assert four[0, 1, 2].tolist() == [16, 17, 22, 23]


def test_gradients_are_what_small_changes_show() -> None:
    params = [some(1, 3, 3, 1, 2), some(2, 3, 3, 2, 4), some(3, 2), some(4, 4)]
    images, wanted = some(5, 2, 11, 11, 1), some(6, 2, 11, 11, 4)

    def loss(changed: list[np.ndarray]) -> float:
        network = Enlarger(tuple(changed[:2]), tuple(changed[2:]))
        errors = enlarged(network, images) - convolved(images, bicubic()) - wanted
        core = errors[:, 4:-4, 4:-4].astype(np.float64)
        return float((core**2).sum() / core.size / 2)

    found = _gradients(params, images, wanted)
    for number, place in ((0, (1, 2, 0, 1)), (1, (0, 1, 1, 3)), (2, (1,)), (3, (2,))):
        sides = []
        for step in (1e-2, -1e-2):
            changed = [one.copy() for one in params]
            changed[number][place] += step
            sides.append(loss(changed))
        assert found[number][place] == pytest.approx((sides[0] - sides[1]) / 2e-2, rel=2e-2, abs=1e-4)


def test_a_network_learns_what_interpolation_does_not_know() -> None:
    halves = [(pictures.halved(picture), picture) for picture in map(waves, (1, 2))]
    network = fit_enlarger(halves, ((3, 8), (3, 4)), steps=60, seed=4, rate=1e-2, batch=4)
    patch, wanted = pictures.halved(waves(3))[None, ..., None] / np.float32(255), four_of_each(waves(3)[None] / 255.0)
    learned, plain = (((one - wanted) ** 2).mean() for one in (enlarged(network, patch), convolved(patch, bicubic())))
    assert learned < 0.97 * plain


def test_the_same_seed_gives_the_same_network() -> None:
    halves = [(pictures.halved(waves(1)), waves(1))]
    one, again, other = (fit_enlarger(halves, TINY, steps=2, seed=seed, batch=1).kernels for seed in (1, 1, 2))
    assert all(np.array_equal(*both) for both in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_the_model_of_a_network_gives_what_the_network_does() -> None:
    network = Enlarger((some(1, 5, 5, 1, 3), some(2, 3, 3, 3, 4)), (some(3, 3), some(4, 4)))
    graph = as_graph("tried", network, 2)
    patches = np.random.default_rng(5).random((1, 2 * SEEN_PX, SEEN_PX, 1), np.float32)
    (found,) = run(graph, [patches])
    assert np.allclose(four_of_each(found[..., 0]), enlarged(network, patches), atol=1e-4)
    assert write_model(graph)[4:8] == b"TFL3"


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="needs the extra `demo-sources`")
def test_a_recording_is_made_of_the_held_out_photographs(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "scikit-image" / "skimage" / "data"
    folder.mkdir(parents=True)
    for name in pictures.HELD_OUT:
        colours = np.random.default_rng(2).integers(0, 256, (301, 391, 3)).astype(np.uint8)
        Image.fromarray(colours).save(folder / pictures.FILES[name])
    pictures.write(tmp_path, tmp_path / "made")
    frames = shipped.recording(str(tmp_path / "made")).samples["eye"]
    grey = Image.fromarray(colours).convert("L")
    with np.load(tmp_path / "made" / "truth.npz") as held:
        assert np.abs(held["large"][1] - np.asarray(grey, np.float64)[6:294, 3:387]).max() <= 1
    assert frames.shape == (2, pictures.HEIGHT_PX, pictures.WIDTH_PX, 1)


def test_the_shipped_frames_are_the_truth_at_half_its_size() -> None:
    frames = np.load(RECORDINGS / "stills" / "eye.npy")
    with np.load(RECORDINGS / "stills" / "truth.npz") as held:
        assert np.array_equal(frames[..., 0], np.stack([pictures.halved(large) for large in held["large"]]))
    assert (RECORDINGS / "stills" / "recording.toml").read_text() == pictures.manifest()


def test_the_workload_expects_what_training_found() -> None:
    found = json.loads((MODELS / "patches.json").read_text())
    stages = {stage.name: stage.params for stage in shipped.workload("patches").graphs[0].stages}
    assert stages["needed"]["curves"] == found["curves"]
    assert stages["patches 3"] == {"patch_px": PATCH_PX, "halo_px": 4, "first": 36, "count": train_pictures.TOGETHER}


def test_each_network_betters_the_one_before_it_on_what_is_held_out() -> None:
    found = json.loads((MODELS / "patches.json").read_text())["psnr_db"]
    for name in pictures.HELD_OUT:
        worth = found["held out"][name]
        assert worth["enlarge_large"] > worth["enlarge_small"] > worth["enlarge_small_int8"] > worth["bicubic"]

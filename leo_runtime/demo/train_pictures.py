"""Train the networks that enlarge patches: `python -m leo_runtime.demo.train_pictures CACHE`.

CACHE is the folder that `python -m leo_runtime.demo.fetch CACHE --only-download` fills, or its part scikit-image alone.
Networks are of three photographs and four textures, and how much either gets wrong by a patch's difficulty is of these
photographs. Of the two that are held out come the figures of `models/patches.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.compress.int8 import calibrated
from leo_runtime.demo import MODELS, pictures
from leo_runtime.demo.super_resolution import (
    HALO_PX,
    PATCH_PX,
    SEEN_PX,
    SIZES,
    as_graph,
    bicubic,
    convolved,
    fit_enlarger,
)
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.layers.reference import run
from leo_runtime.operators.patches import seen, variation

TOGETHER = 12
"""Patches that a model takes at once."""
STEPS = {"small": 2500, "large": 2500}
RATES = {"small": 3e-3, "large": 2.5e-3}
POINTS = 8
"""Of the curves of errors by difficulty: the patches in as many equal parts."""


def whole_patches(half: np.ndarray) -> np.ndarray:
    """What of a picture (height, width) of uint8 is in whole patches, as an image of float32."""
    height, width = (length // PATCH_PX * PATCH_PX for length in half.shape)
    return half[:height, :width, None].astype(np.float32)


def cut(half: np.ndarray) -> np.ndarray:
    """The whole patches of a picture (height, width) of uint8, (patches, SEEN_PX, SEEN_PX), from 0 to 1."""
    return seen(whole_patches(half), PATCH_PX, HALO_PX)[..., 0]


def errors(patches: np.ndarray, whole: np.ndarray, model: LayerGraph | None) -> np.ndarray:
    """The mean square error that a model leaves in each patch of a picture; None: bicubic interpolation."""
    size, halo = 2 * PATCH_PX, 2 * HALO_PX
    rows, columns = (length // size for length in whole.shape)
    wanted = whole[: rows * size, : columns * size].reshape(rows, size, columns, size).swapaxes(1, 2)
    found = np.concatenate([_larger(patches[at : at + TOGETHER], model) for at in range(0, len(patches), TOGETHER)])
    cores = np.clip(found[:, halo : halo + size, halo : halo + size], 0, 1)
    means: np.ndarray = ((cores - wanted.reshape(-1, size, size) / 255.0) ** 2).mean(axis=(1, 2))
    return means


def _larger(patches: np.ndarray, model: LayerGraph | None) -> np.ndarray:
    """Up to `TOGETHER` patches at twice their size."""
    if model is None:
        four = convolved(patches[..., None], bicubic()).reshape(len(patches), SEEN_PX, SEEN_PX, 2, 2)
        plain: np.ndarray = four.swapaxes(2, 3).reshape(len(patches), 2 * SEEN_PX, 2 * SEEN_PX)
        return plain
    (found,) = run(model, [column(patches)])
    large: np.ndarray = found.reshape(TOGETHER, 2 * SEEN_PX, 2 * SEEN_PX)
    return large[: len(patches)]


def column(patches: np.ndarray) -> np.ndarray:
    """Up to `TOGETHER` patches one below the other, as a model takes them; repeated where they are fewer."""
    return np.resize(patches, (TOGETHER, *patches.shape[1:])).reshape(1, -1, SEEN_PX, 1)


def psnr_db(mean_square: float) -> float:
    """The peak signal-to-noise ratio of values from 0 to 1."""
    return float(-10 * np.log10(mean_square))


Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Pictures by name, each at half its size and itself."""


def pairs(wholes: Mapping[str, np.ndarray]) -> Pairs:
    """Pictures with what they are at half their size."""
    return {name: (pictures.halved(whole), whole) for name, whole in wholes.items()}


def lessons(wholes: Mapping[str, np.ndarray]) -> Pairs:
    """What is learned from: pictures, and each of them at half its size."""
    return pairs({**wholes, **{f"{name}, halved": pictures.even(half) for name, (half, _) in pairs(wholes).items()}})


def train(taught: Pairs, seen_before: Pairs, seed: int) -> dict[str, LayerGraph]:
    """The models, by their names: either network, and the small one in int8, calibrated on the second of both."""
    made = {}
    for name, size in SIZES.items():
        network = fit_enlarger(list(taught.values()), size, steps=STEPS[name], seed=seed, rate=RATES[name])
        made[f"enlarge_{name}"] = as_graph(f"enlarge_{name}", network, TOGETHER)
    seen_patches = [cut(half) for half, _ in seen_before.values()]
    runs = [[column(some[at : at + TOGETHER])] for some in seen_patches for at in range(0, len(some), TOGETHER)]
    made["enlarge_small_int8"] = calibrated(made["enlarge_small"], runs)
    return made


def curves(halves: Pairs, easy: LayerGraph, hard: LayerGraph) -> dict[str, Any]:
    """What either model leaves by a patch's difficulty, as `patch_gate` takes it: the means of equal parts of all."""
    rows = []
    for half, whole in halves.values():
        patches = cut(half)
        rows.append(
            np.stack(
                [variation(whole_patches(half), PATCH_PX), errors(patches, whole, easy), errors(patches, whole, hard)]
            )
        )
    every = np.concatenate(rows, axis=1)
    parts = np.array_split(every[:, every[0].argsort(kind="stable")], POINTS, axis=1)
    means = [part.mean(axis=1) for part in parts]
    return {name: [float(f"{mean[i]:.4g}") for mean in means] for i, name in enumerate(("difficulty", "easy", "hard"))}


def worth(halves: Pairs, models: Mapping[str, LayerGraph]) -> dict[str, Any]:
    """The PSNR of each picture through each model, and through none, in dB."""
    found = {}
    for name, (half, whole) in halves.items():
        patches = cut(half)
        ways = {"bicubic": None, **models}
        found[name] = {way: round(psnr_db(errors(patches, whole, model).mean()), 3) for way, model in ways.items()}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, save, score."""
    parser = argparse.ArgumentParser(
        "python -m leo_runtime.demo.train_pictures",
        description="Train the networks that enlarge patches again.",
        allow_abbrev=False,
    )
    parser.add_argument("cache", type=Path, help="folder for the packages, as of leo_runtime.demo.fetch")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    known = pictures.photographs(options.cache, held_out=False)
    textures = {name: pictures.luminance(options.cache, file) for name, file in pictures.TEXTURES.items()}
    models = train(lessons({**known, **textures}), pairs(known), options.seed)
    for name, model in models.items():
        (MODELS / f"{name}.tflite").write_bytes(write_model(model))
    held_out = pictures.photographs(options.cache, held_out=True)
    report = {
        "seed": options.seed,
        "curves": curves(pairs(known), models["enlarge_small_int8"], models["enlarge_large"]),
        "psnr_db": {"trained on": worth(pairs(known), models), "held out": worth(pairs(held_out), models)},
    }
    (MODELS / "patches.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["psnr_db"], indent=1))


if __name__ == "__main__":
    main()

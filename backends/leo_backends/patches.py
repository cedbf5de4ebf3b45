"""The numpy programs of operators on patches of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from leo_runtime.operators import Shape
from leo_runtime.operators.patches import (
    HardPatchesParameters,
    PatchesParameters,
    PatchGateParameters,
    StitchParameters,
    TotalVariationParameters,
    few_enough,
    hardest_first,
    seen,
    variation,
)

Program = Callable[[Sequence[np.ndarray]], np.ndarray]


def total_variation(params: TotalVariationParameters, shapes: Sequence[Shape]) -> Program:
    """The program of `total_variation`."""
    return lambda inputs: variation(inputs[0].reshape(shapes[0][-3:]), params.patch_px)


def patches(params: PatchesParameters, shapes: Sequence[Shape]) -> Program:
    """The program of `patches`."""

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        every = seen(inputs[0].reshape(shapes[0][-3:]), params.patch_px, params.halo_px)
        wanted = hardest_first(inputs[1])[params.first : params.first + params.count]
        return np.concatenate(every[wanted])[None]

    return program


def hard_patches(params: HardPatchesParameters, _shapes: Sequence[Shape]) -> Program:
    """The program of `hard_patches`."""
    most = 10 ** (-params.floor_db / 10)

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        difficulties = inputs[0].reshape(-1)
        easy, hard = params.curves.errors(difficulties[hardest_first(difficulties)])
        enough = few_enough(easy, hard, most * len(easy))
        return np.array([enough.argmax() if enough.any() else len(easy)], np.float32)

    return program


def patch_gate(params: PatchGateParameters, _shapes: Sequence[Shape]) -> Program:
    """The program of `patch_gate`."""
    first = np.float32(params.first)
    if params.opens == "hard":
        return lambda inputs: inputs[0].reshape(-1)[:1] - first
    return lambda inputs: first + 1 - inputs[0].reshape(-1)[:1]


def stitch(params: StitchParameters, shapes: Sequence[Shape]) -> Program:
    """The program of `stitch`."""
    size, halo = params.patch_px * params.scale, params.halo_px * params.scale
    side, columns, channels = size + 2 * halo, params.columns, shapes[1][-1]
    rows = int(np.prod(shapes[0])) // columns

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        order = hardest_first(inputs[0].reshape(-1))
        given = np.concatenate([array.reshape(-1, side, side, channels) for array in inputs[1:]])
        cores = given[:, halo : halo + size, halo : halo + size].reshape(-1, len(order), size, size, channels)
        found = np.empty((len(order), size, size, channels), np.float32)
        found[order] = cores.sum(axis=0)
        image = found.reshape(rows, columns, size, size, channels).swapaxes(1, 2)
        return np.clip(image.reshape(rows * size, columns * size, channels), 0, 1) * np.float32(255)

    return program

"""Patches of an image, the hardest first: how hard each is, cut out, which need the better network, put together.

Patches are squares that cover an image (height, width, channels), or a window of one frame (1, height, width,
channels), row by row. Their order, the hardest first and of equals the one that comes first, is the same wherever it is
made anew of their difficulties, (patches,). Several are held in one array one below the other, each with its halo:
(1, count side, side, channels), as an image that any network can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import NotNegative, Operator, Shape, Work, shown, values
from leo_runtime.schema import Finite, Positive, Quantity, Value, reject


def hardest_first(difficulties: np.ndarray) -> np.ndarray:
    """The numbers of patches, (patches,), in the order of all operators here."""
    return np.argsort(-difficulties, kind="stable")


def variation(image: np.ndarray, patch_px: int) -> np.ndarray:
    """What `total_variation` gives for an image (height, width, channels) of float32, (patches,)."""
    height, width, channels = image.shape
    steps = np.zeros_like(image)
    steps[:, :-1] += np.abs(np.diff(image, axis=1))
    steps[:-1] += np.abs(np.diff(image, axis=0))
    cells = steps.reshape(height // patch_px, patch_px, width // patch_px, patch_px, channels)
    means: np.ndarray = cells.mean(axis=(1, 3, 4), dtype=np.float64) / 255
    return means.reshape(-1).astype(np.float32)


def seen(image: np.ndarray, patch_px: int, halo_px: int) -> np.ndarray:
    """All patches of an image (height, width, channels), row by row, each with its halo, (patches, side, side,
    channels): values divided by 255."""
    height, width, _ = image.shape
    side = patch_px + 2 * halo_px
    padded = np.pad(image, ((halo_px, halo_px), (halo_px, halo_px), (0, 0)), mode="edge") * np.float32(1 / 255)
    places = [(row, column) for row in range(0, height, patch_px) for column in range(0, width, patch_px)]
    return np.stack([padded[row : row + side, column : column + side] for row, column in places])


def few_enough(easy: np.ndarray, hard: np.ndarray, most: float) -> np.ndarray:
    """Whether the errors sum up to at most `most` where the better network takes the first 0, 1, 2, ... patches, and
    the other one the rest: (patches + 1,).

    `easy` and `hard` are the errors of either network, (patches,), in the order in which the better one takes patches.
    """
    through_hard, through_easy = np.cumsum([0, *hard]), np.cumsum([0, *easy[::-1]])[::-1]
    enough: np.ndarray = through_hard + through_easy <= most
    return enough


def _frame(name: str, shape: Shape, patch_px: int) -> tuple[int, int, int]:
    """Rows and columns of patches, and channels. Raises `GraphError`."""
    image = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    if len(image) != 3:
        raise GraphError(f"`{name}` takes one image (height, width, channels), got {shown(shape)}")
    if image[0] % patch_px or image[1] % patch_px:
        raise GraphError(
            f"`{name}` cannot cut {image[0]} x {image[1]} pixels into patches of {patch_px} x {patch_px}",
            hint="`patch_px` divides the height and the width",
        )
    return image[0] // patch_px, image[1] // patch_px, image[2]


class TotalVariationParameters(Value):
    """How large patches are."""

    patch_px: Positive


def _variation_shape(params: TotalVariationParameters, shapes: Sequence[Shape]) -> Shape:
    rows, columns, _ = _frame("total_variation", shapes[0], params.patch_px)
    return (rows * columns,)


def _variation_work(_params: TotalVariationParameters, shapes: Sequence[Shape]) -> Work:
    return Work(4 * values(shapes[0]), 4 * values(shapes[0]))


TOTAL_VARIATION = Operator(
    name="total_variation",
    summary="How hard each patch of an image is: the mean over its values x of |x_right - x| + |x_below - x|, divided "
    "by 255; beyond the image are its edges. Output: (patches,), row by row.",
    parameters=TotalVariationParameters,
    output_shape=_variation_shape,
    work=_variation_work,
)


class PatchesParameters(Value):
    """Which patches."""

    patch_px: Positive
    halo_px: Quantity = 0
    """What is seen of the image around each patch, on all four sides; beyond the image are its edges."""
    first: Quantity = 0
    """The first of them in the order of difficulty, from 0, the hardest, on."""
    count: Positive


def _patches_shape(params: PatchesParameters, shapes: Sequence[Shape]) -> Shape:
    rows, columns, channels = _frame("patches", shapes[0], params.patch_px)
    if len(shapes) != 2 or shapes[1] != (rows * columns,):
        given = ", ".join(map(shown, shapes[1:])) or "nothing"
        raise GraphError(
            f"`patches` takes an image and the difficulties ({rows * columns},) of its patches, got {given}"
        )
    if params.first + params.count > rows * columns:
        last = params.first + params.count - 1
        raise GraphError(f"`patches` asks for patches {params.first} to {last} of {rows * columns}")
    side = params.patch_px + 2 * params.halo_px
    return (1, params.count * side, side, channels)


def _patches_work(params: PatchesParameters, shapes: Sequence[Shape]) -> Work:
    made = values(_patches_shape(params, shapes))
    return Work(made, 8 * made + 4 * values(shapes[1]))


PATCHES = Operator(
    name="patches",
    summary="Some patches of an image, the hardest first, by their difficulties, each with its halo; values are "
    "divided by 255. Output: (1, count side, side, channels), one below the other, with side = patch_px + 2 halo_px.",
    parameters=PatchesParameters,
    output_shape=_patches_shape,
    work=_patches_work,
    inputs=(2, 2),
)


class ErrorCurves(Value):
    """The mean square error, of values from 0 to 1, that two networks leave in a patch by its difficulty.

    Linear between these points, beyond them that of the last.
    """

    difficulty: Annotated[tuple[Finite, ...], Field(min_length=1)]
    easy: tuple[NotNegative, ...]
    """Of the network for easy patches."""
    hard: tuple[NotNegative, ...]
    """Of that for hard ones."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not len(self.difficulty) == len(self.easy) == len(self.hard):
            counts = [len(self.difficulty), len(self.easy), len(self.hard)]
            reject(f"`difficulty`, `easy` and `hard` have a number for each point, got {counts} of them", "$", counts)
        if list(self.difficulty) != sorted(set(self.difficulty)):
            reject("`difficulty` goes up from point to point", "$.difficulty", list(self.difficulty))
        return self

    def errors(self, difficulties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What either network is expected to leave in patches of these difficulties."""
        easy, hard = (np.interp(difficulties, self.difficulty, curve) for curve in (self.easy, self.hard))
        return easy, hard


class HardPatchesParameters(Value):
    """What a frame is to be, and what is expected of two networks."""

    floor_db: Annotated[Finite, Field(ge=-300, le=300)]
    """The peak signal-to-noise ratio of a frame, -10 log10 of its mean square error of values from 0 to 1."""
    curves: ErrorCurves


def _one_number(_params: Value, _shapes: Sequence[Shape]) -> Shape:
    return (1,)


def _hard_patches_work(_params: HardPatchesParameters, shapes: Sequence[Shape]) -> Work:
    return Work(20 * values(shapes[0]), 4 * values(shapes[0]))


HARD_PATCHES = Operator(
    name="hard_patches",
    summary="How many patches of a frame, the hardest, the better of two networks has to take, by their difficulties: "
    "the fewest with which the mean of the errors that `curves` expects is within the floor; all of them where even "
    "that is not enough. Output: (1,).",
    parameters=HardPatchesParameters,
    output_shape=_one_number,
    work=_hard_patches_work,
)


class PatchGateParameters(Value):
    """Which patches are behind a gate."""

    first: Quantity
    """The first of them in the order of difficulty."""
    opens: Literal["hard", "easy"] = "hard"
    """For whom: the network for hard patches, or that for easy ones, which takes what the other does not."""


def _gate_work(_params: PatchGateParameters, shapes: Sequence[Shape]) -> Work:
    return Work(1, 4 * values(shapes[0]))


PATCH_GATE = Operator(
    name="patch_gate",
    summary="Whether some patches go through the better network, where its input n says how many do: if n is above "
    "`first`, or where it opens for easy ones if it is not. Output: (1,), n - first, or first - n + 1.",
    parameters=PatchGateParameters,
    output_shape=_one_number,
    work=_gate_work,
    is_gate=True,
)


class StitchParameters(Value):
    """How patches lie, and how large they have become."""

    columns: Positive
    """Patches side by side."""
    patch_px: Positive
    halo_px: Quantity = 0
    scale: Positive = 1
    """How many times as high and as wide patches are now: `patch_px` and `halo_px` are those of before."""


def _stitch_shape(params: StitchParameters, shapes: Sequence[Shape]) -> Shape:
    patches, side = values(shapes[0]), params.scale * (params.patch_px + 2 * params.halo_px)
    groups = set(shapes[1:])
    if len(groups) != 1 or len(shapes[1]) != 4 or patches % params.columns:
        raise GraphError(
            f"`stitch` takes the difficulties of patches in {params.columns} columns and arrays of one shape with "
            f"them, got {', '.join(map(shown, shapes))}"
        )
    _, height, _, channels = shapes[1]
    count = height // side
    if (
        shapes[1] != (1, count * side, side, channels)
        or not count
        or patches % count
        or (len(shapes) - 1) * count % patches
    ):
        raise GraphError(
            f"`stitch` takes {patches} patches of {side} x {side}, as many in each array, one below the other, got "
            f"{', '.join(map(shown, shapes[1:]))}",
            hint="give it all of them, the hardest first, once or several times",
        )
    size = params.patch_px * params.scale
    return (patches // params.columns * size, params.columns * size, channels)


def _stitch_work(params: StitchParameters, shapes: Sequence[Shape]) -> Work:
    return Work(values(*shapes[1:]), 4 * values(*shapes, _stitch_shape(params, shapes)))


STITCH = Operator(
    name="stitch",
    summary="An image of its patches: first their difficulties, then the patches as `patches` gives them, some in each "
    "array, the hardest first, without their halos. Arrays that follow when all patches are there are added, patch by "
    "patch; one that a closed gate removed counts as zeros. Values are brought to 0 to 255. Output: (height, width, "
    "channels).",
    parameters=StitchParameters,
    output_shape=_stitch_shape,
    work=_stitch_work,
    inputs=(2, None),
    takes_absent=True,
)


OPERATORS = (TOTAL_VARIATION, PATCHES, HARD_PATCHES, PATCH_GATE, STITCH)

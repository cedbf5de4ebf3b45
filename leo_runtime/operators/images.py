"""Images, and what detectors find in them: parts of an image, and boxes that say which part.

An image is (height, width, channels), or a window of one frame (1, height, width, channels). A box is (4,): the middle
of it (x, y), its width and its height, as fractions of the image's width and height, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import AboveZero, Operator, Shape, Work, shown, values
from leo_runtime.schema import Finite, Positive, Quantity, Value

BOX: Shape = (4,)


class CropParameters(Value):
    """What size a part of an image is brought to, and what its values become."""

    height_px: Positive
    width_px: Positive
    low: Finite = 0.0
    """What becomes of a value of 0."""
    high: Finite = 1.0
    """What becomes of a value of 255."""


def _crop_shape(params: CropParameters, shapes: Sequence[Shape]) -> Shape:
    image = shapes[0][1:] if len(shapes[0]) == 4 and shapes[0][0] == 1 else shapes[0]
    if len(image) != 3:
        raise GraphError(f"`crop` takes one image (height, width, channels), got {shown(shapes[0])}")
    if list(shapes[1:]) not in ([], [BOX]):
        raise GraphError(f"`crop` takes an image, and one box (4,) or none, got {', '.join(map(shown, shapes))}")
    return (params.height_px, params.width_px, image[2])


def _crop_work(params: CropParameters, shapes: Sequence[Shape]) -> Work:
    made = values(_crop_shape(params, shapes))
    return Work(4 * made, 4 * (5 * made + values(*shapes[1:])))


CROP = Operator(
    name="crop",
    summary="The part of an image that a box says, the whole of it without a box, brought to height_px x width_px: "
    "column i is taken at x = X (box_x + ((i + 1/2) / width_px - 1/2) box_width) - 1/2 of an image of X columns, rows "
    "likewise, by linear interpolation between the nearest two; beyond the image are its edges. Then "
    "low + (high - low) value / 255. Output: (height_px, width_px, channels).",
    parameters=CropParameters,
    output_shape=_crop_shape,
    work=_crop_work,
    inputs=(1, 2),
)


class ScoreGateParameters(Value):
    """When a detector is sure enough."""

    threshold: Finite
    logits: bool = True
    """Whether scores are logits; else they are probabilities."""
    array: Quantity = 0
    """Which of the arrays that it is given are the scores, from 0 on."""


def _score_gate_shape(params: ScoreGateParameters, shapes: Sequence[Shape]) -> Shape:
    if params.array >= len(shapes):
        raise GraphError(f"`score_gate` is given {len(shapes)} arrays, `array` is {params.array}")
    return (1,)


def _score_gate_work(params: ScoreGateParameters, shapes: Sequence[Shape]) -> Work:
    scores = values(shapes[params.array])
    return Work(scores, 4 * (scores + 1))


SCORE_GATE = Operator(
    name="score_gate",
    summary="Is there what a detector looks for: the greatest of its scores, as a probability 1 / (1 + exp(-x)) where "
    "they are logits, less the threshold. Output: (1,), above 0 where it is surer than the threshold.",
    parameters=ScoreGateParameters,
    output_shape=_score_gate_shape,
    work=_score_gate_work,
    inputs=(1, None),
    is_gate=True,
)


class AnchorGrid(Value):
    """Anchors that lie evenly, so many of them in the middle of every cell."""

    cells: Positive
    """Along each side."""
    anchors: Positive
    """In each cell."""


class AnchorBoxParameters(Value):
    """How a detector's anchors lie, and what is made of the best one's box."""

    size_px: AboveZero
    """The sides of the detector's image, whose pixels it counts offsets and sizes in."""
    grids: Annotated[tuple[AnchorGrid, ...], Field(min_length=1)]
    """One behind the other, each row by row."""
    scale: AboveZero = 1.0
    """How many times as large as the greater side of the box the sides of the square around it are."""
    aspect: AboveZero = 1.0
    """Width of the image in pixels over its height."""


def _anchor_box_shape(params: AnchorBoxParameters, shapes: Sequence[Shape]) -> Shape:
    count = sum(grid.cells**2 * grid.anchors for grid in params.grids)
    if len(shapes) != 2 or shapes[0][-2:-1] != (count,) or shapes[0][-1] < 4 or values(shapes[0][:-2]) != 1:
        raise GraphError(
            f"`anchor_box` takes the boxes (1, {count}, 4 or more) and scores (1, {count}, 1) of {count} anchors, got "
            f"{', '.join(map(shown, shapes))}",
            hint="`grids` says how many anchors there are",
        )
    if values(shapes[1]) != count:
        raise GraphError(f"`anchor_box` takes one score for each of {count} anchors, got {shown(shapes[1])}")
    return BOX


def _anchor_box_work(_params: AnchorBoxParameters, shapes: Sequence[Shape]) -> Work:
    return Work(values(shapes[1]), 4 * values(shapes[1], BOX, BOX))


ANCHOR_BOX = Operator(
    name="anchor_box",
    summary="Where a detector's best find is: of the anchor with the greatest score, the first of equals, the square "
    "around its box. A box begins with (x, y, width, height) in pixels of the detector's image, x and y from the "
    "anchor, which is in the middle of its cell. The square's sides are scale times the greater side of the box, in "
    "pixels of the image. Output: (4,), a box.",
    parameters=AnchorBoxParameters,
    output_shape=_anchor_box_shape,
    work=_anchor_box_work,
    inputs=(1, 2),
)


class LandmarkBoxParameters(Value):
    """Which landmarks a box is drawn around."""

    points: Annotated[tuple[Quantity, ...], Field(min_length=2)]
    """Their numbers, from 0 on."""
    size_px: AboveZero
    """The sides of the image that landmarks were found in, whose pixels they are in."""
    dimensions: Annotated[int, Field(ge=2, le=16)] = 3
    """Numbers of a landmark: x, y, and what is passed over."""
    scale: AboveZero = 1.0
    """How many times as large as the greater side of what holds the points the sides of the square around it are."""
    aspect: AboveZero = 1.0
    """Width of the image in pixels over its height."""


def _landmark_box_shape(params: LandmarkBoxParameters, shapes: Sequence[Shape]) -> Shape:
    if len(shapes) < 2 or shapes[-1] != BOX:
        raise GraphError(
            f"`landmark_box` takes landmarks, and behind them the box (4,) they were found in, got "
            f"{', '.join(map(shown, shapes))}"
        )
    count = values(shapes[0]) // params.dimensions
    if values(shapes[0]) % params.dimensions or max(params.points) >= count:
        raise GraphError(
            f"`landmark_box` reads landmark {max(params.points)} of {params.dimensions} numbers each, and is given "
            f"{shown(shapes[0])}"
        )
    return BOX


def _landmark_box_work(params: LandmarkBoxParameters, _shapes: Sequence[Shape]) -> Work:
    return Work(4 * len(params.points), 4 * (2 * len(params.points) + 8))


LANDMARK_BOX = Operator(
    name="landmark_box",
    summary="The square around some landmarks, which were found in the part of an image that a box says: first the "
    "landmarks (of a model with several outputs, its first), last that box. The square has the middle of the smallest "
    "upright rectangle that holds the points, and sides of scale times its greater one, in pixels of the image. "
    "Output: (4,), a box.",
    parameters=LandmarkBoxParameters,
    output_shape=_landmark_box_shape,
    work=_landmark_box_work,
    inputs=(2, 2),
)


OPERATORS = (CROP, SCORE_GATE, ANCHOR_BOX, LANDMARK_BOX)

"""The numpy programs of operators on images and boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from leo_runtime.errors import KernelError
from leo_runtime.operators import Shape
from leo_runtime.operators.images import (
    AnchorBoxParameters,
    AnchorGrid,
    CropParameters,
    LandmarkBoxParameters,
    ScoreGateParameters,
)

Program = Callable[[Sequence[np.ndarray]], np.ndarray]

WHOLE = np.array([0.5, 0.5, 1, 1], np.float32)


def crop(params: CropParameters, shapes: Sequence[Shape]) -> Program:
    """The program of `crop`."""
    height, width, channels = shapes[0][-3:]
    gain, low = np.float32((params.high - params.low) / 255), np.float32(params.low)

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        x, y, box_width, box_height = (inputs[1] if len(inputs) == 2 else WHOLE).astype(np.float64)
        if not np.isfinite([x, y, box_width, box_height]).all():
            raise KernelError(f"a box of x {x}, y {y}, width {box_width} and height {box_height} is nowhere")
        image = inputs[0].reshape(height, width, channels)
        upper, lower, down = _between(y, box_height, height, params.height_px)
        left, right, across = _between(x, box_width, width, params.width_px)
        rows = image[upper] * (1 - down)[:, None, None] + image[lower] * down[:, None, None]
        part: np.ndarray = rows[:, left] * (1 - across)[:, None] + rows[:, right] * across[:, None]
        return part * gain + low

    return program


def _between(middle: float, share: float, count: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along one axis: the two pixels that each wanted one lies between, and how near it is to the second."""
    at = count * (middle + ((np.arange(wanted) + 0.5) / wanted - 0.5) * share) - 0.5
    at = np.clip(at, 0, count - 1)
    first = np.floor(at).astype(np.intp)
    return first, np.minimum(first + 1, count - 1), (at - first).astype(np.float32)


def score_gate(params: ScoreGateParameters, _shapes: Sequence[Shape]) -> Program:
    """The program of `score_gate`."""

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        best = float(inputs[params.array].max())
        # As a tangent it does not overflow.
        sure = 0.5 + 0.5 * np.tanh(best / 2) if params.logits else best
        return np.array([sure - params.threshold], np.float32)

    return program


def anchor_box(params: AnchorBoxParameters, shapes: Sequence[Shape]) -> Program:
    """The program of `anchor_box`."""
    anchors = np.concatenate([_anchors(grid) for grid in params.grids])
    columns = shapes[0][-1]

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        best = int(inputs[1].reshape(-1).argmax())
        x, y, width, height = inputs[0].reshape(-1, columns)[best, :4].astype(np.float64) / params.size_px
        return _square(anchors[best, 0] + x, anchors[best, 1] + y, width, height, params.scale, params.aspect)

    return program


def _anchors(grid: AnchorGrid) -> np.ndarray:
    """The middles (x, y) of the cells, as fractions, each as often as it has anchors."""
    middles = (np.arange(grid.cells) + 0.5) / grid.cells
    x, y = np.meshgrid(middles, middles)
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), grid.anchors, axis=0)


def landmark_box(params: LandmarkBoxParameters, _shapes: Sequence[Shape]) -> Program:
    """The program of `landmark_box`."""
    wanted = list(params.points)

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        x, y, width, height = inputs[-1].astype(np.float64)
        points = inputs[0].reshape(-1, params.dimensions)[wanted, :2].astype(np.float64) / params.size_px - 0.5
        least, greatest = points.min(axis=0), points.max(axis=0)
        (across, down), (wide, high) = (least + greatest) / 2, greatest - least
        middle_x, middle_y = x + across * width, y + down * height
        return _square(middle_x, middle_y, wide * width, high * height, params.scale, params.aspect)

    return program


def _square(x: float, y: float, width: float, height: float, scale: float, aspect: float) -> np.ndarray:
    """The box that is square in the image's pixels."""
    side = scale * max(width, height / aspect)
    return np.array([x, y, side, side * aspect], np.float32)

"""Windows that slide over images of (batch, height, width, channels): their places, and how images are padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leo_runtime.layers.kinds.definition import Call


@dataclass(frozen=True, slots=True)
class Slide:
    """Windows along one axis."""

    length: int
    """Of the axis of the input."""
    taps: int
    """Values a window reads."""
    stride: int
    dilation: int
    count: int
    """How many windows there are."""
    before: int
    """Values of padding before the first of the input."""

    @property
    def after(self) -> int:
        """Values of padding behind the last of the input, as far as windows reach."""
        return max((self.count - 1) * self.stride + self.reach - self.before - self.length, 0)

    @property
    def reach(self) -> int:
        """Values from the first to the last that a window reads."""
        return (self.taps - 1) * self.dilation + 1


def slide(padding: str, length: int, taps: int, stride: int, dilation: int = 1) -> Slide:
    """The windows along an axis, as TensorFlow places them. Raises `ValueError` where there is none.

    SAME: as many as the input has strides, the padding as even as may be, the odd value behind. VALID: those that lie
    in the input.
    """
    if min(taps, stride, dilation) < 1:
        raise ValueError(f"its windows have {taps} values, a stride of {stride} and a dilation of {dilation}")
    reach = (taps - 1) * dilation + 1
    count = -(-length // stride) if padding == "SAME" else -(-(length - reach + 1) // stride)
    if count < 1:
        raise ValueError(f"a window of {reach} does not fit into {length}")
    before = max((count - 1) * stride + reach - length, 0) // 2 if padding == "SAME" else 0
    return Slide(length, taps, stride, dilation, count, before)


def slides(call: Call, taps: tuple[int, int], dilations: tuple[int, int] = (1, 1)) -> tuple[Slide, Slide]:
    """The windows of a layer down and across its first input."""
    shape = call.input(0).shape
    if len(shape) != 4:
        raise ValueError(f"its input has {len(shape)} axes, expected (batch, height, width, channels)")
    padding = call.choice("padding")
    strides = call.number("stride_h"), call.number("stride_w")
    down, across = (
        slide(padding, length, tap, stride, dilation)
        for length, tap, stride, dilation in zip(shape[1:3], taps, strides, dilations, strict=True)
    )
    return down, across


def windows(images: np.ndarray, down: Slide, across: Slide, fill: float) -> np.ndarray:
    """A view of (batch, windows down, windows across, taps down, taps across, channels) of images that are padded.

    Not by `sliding_window_view`: each call of it puts a word into the interpreter's table of interned strings.
    """
    padded = np.ascontiguousarray(
        np.pad(
            images,
            ((0, 0), (down.before, down.after), (across.before, across.after), (0, 0)),
            constant_values=fill,
        )
    )
    image, row, column, channel = padded.strides
    shape = (len(padded), down.count, across.count, down.taps, across.taps, padded.shape[3])
    steps = (row * down.stride, column * across.stride, row * down.dilation, column * across.dilation)
    return np.ndarray(shape, padded.dtype, padded, strides=(image, *steps, channel))

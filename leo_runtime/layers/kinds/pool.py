"""Layers that take the greatest, or the mean, of the values of a window, or along axes."""

from __future__ import annotations

import math

import numpy as np

from leo_runtime.layers import law
from leo_runtime.layers.graph import Shape
from leo_runtime.layers.kinds.clamping import activated, int8_limits, refused_activation
from leo_runtime.layers.kinds.definition import BOTH, PADDING, Arrays, Call, LayerKind, OptionField, fused
from leo_runtime.layers.kinds.padding import Slide, slides, windows
from leo_runtime.layers.kinds.values import constant, first_of, same_quantisation

_OPTIONS = (
    PADDING,
    OptionField("stride_w", 1, "i", 0),
    OptionField("stride_h", 2, "i", 0),
    OptionField("filter_width", 3, "i", 0),
    OptionField("filter_height", 4, "i", 0),
    fused(5),
)


def pool_slides(call: Call) -> tuple[Slide, Slide]:
    """The windows of a pooling layer, down and across."""
    return slides(call, (call.number("filter_height"), call.number("filter_width")))


def _pool_shape(call: Call) -> tuple[Shape, ...]:
    down, across = pool_slides(call)
    batch, _, _, channels = call.input(0).shape
    return ((batch, down.count, across.count, channels),)


def _limited(call: Call, values: np.ndarray) -> np.ndarray:
    return np.clip(values, *int8_limits(call)).astype(np.int8) if call.quantised else activated(call, values)


def _greatest(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    fill = -128 if call.quantised else -np.inf
    return (_limited(call, windows(first_of(arrays), *pool_slides(call), fill=fill).max(axis=(3, 4))),)


def _average(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    """The mean of what lies in the input; padding does not count. Of int8 values, rounded halves away from 0."""
    images, (down, across) = first_of(arrays), pool_slides(call)
    ones = np.ones((1, *images.shape[1:3], 1), np.int64)
    counts = windows(ones, down, across, fill=0).sum(axis=(3, 4))
    if not call.quantised:
        sums = windows(images, down, across, fill=0.0).sum(axis=(3, 4), dtype=np.float32)
        return (_limited(call, sums / counts.astype(np.float32)),)
    return (_limited(call, rounded_mean(windows(images.astype(np.int64), down, across, 0).sum(axis=(3, 4)), counts)),)


def rounded_mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Integers by counts, to the nearest, halves away from 0."""
    quotients: np.ndarray = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return quotients


def _refuses(call: Call) -> str | None:
    return same_quantisation(call) or refused_activation(call)


def mean_axes(call: Call) -> tuple[int, ...]:
    """The axes that a mean is taken along, from the first. Raises `ValueError` for one that is not there."""
    rank = len(call.input(0).shape)
    axes = {int(axis) for axis in constant(call, 1).reshape(-1)}
    if not all(-rank <= axis < rank for axis in axes):
        raise ValueError(f"it has axes {sorted(axes)} of {rank}")
    return tuple(sorted({axis % rank for axis in axes}))


def mean_extent(call: Call) -> tuple[int, int, int] | None:
    """How many values there are before, along and behind the axes of a mean; None where they do not follow each other.

    Raises `ValueError` as `mean_axes`.
    """
    axes, shape = mean_axes(call), call.input(0).shape
    if not axes or axes != tuple(range(axes[0], axes[-1] + 1)):
        return None
    return math.prod(shape[: axes[0]]), math.prod(shape[axes[0] : axes[-1] + 1]), math.prod(shape[axes[-1] + 1 :])


def mean_multiplier(call: Call) -> law.Multiplier:
    """What the sum of an int8 mean is scaled by. Raises `ValueError`."""
    count = math.prod(call.input(0).shape[axis] for axis in mean_axes(call))
    return law.multiplier(call.input(0).scale[0] / call.outputs[0].scale[0] / count)


def _mean_shape(call: Call) -> tuple[Shape, ...]:
    axes, shape = mean_axes(call), call.input(0).shape
    if call.options["keep_dims"]:
        return (tuple(1 if axis in axes else size for axis, size in enumerate(shape)),)
    return (tuple(size for axis, size in enumerate(shape) if axis not in axes),)


def _mean(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    values, axes, keep = first_of(arrays), mean_axes(call), bool(call.options["keep_dims"])
    if not call.quantised:
        return (values.mean(axis=axes, dtype=np.float32, keepdims=keep),)
    sums = (values.astype(np.int64) - call.input(0).zero_point[0]).sum(axis=axes, keepdims=keep)
    return (law.to_int8(law.scaled(sums, [mean_multiplier(call)]), call.outputs[0].zero_point[0]),)


def _mean_refuses(call: Call) -> str | None:
    if call.input(1).data is None:
        return "its axes are no constants"
    if call.quantised:
        mean_multiplier(call)
    return None


KINDS = (
    LayerKind(
        name="AVERAGE_POOL_2D",
        code=1,
        options_table=5,
        options=_OPTIONS,
        inputs=(1, 1),
        types=BOTH,
        shapes=_pool_shape,
        compute=_average,
        refuses=_refuses,
    ),
    LayerKind(
        name="MAX_POOL_2D",
        code=17,
        options_table=5,
        options=_OPTIONS,
        inputs=(1, 1),
        types=BOTH,
        shapes=_pool_shape,
        compute=_greatest,
        refuses=_refuses,
    ),
    LayerKind(
        name="MEAN",
        code=40,
        options_table=27,
        options=(OptionField("keep_dims", 0, "?", False),),
        inputs=(2, 2),
        types=BOTH,
        shapes=_mean_shape,
        compute=_mean,
        refuses=_mean_refuses,
    ),
)

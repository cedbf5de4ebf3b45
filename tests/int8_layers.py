"""Random int8 layers, of every kind that the DSP computes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from layer_graphs import fixed, one_layer, small
from leo_runtime.layers.graph import LayerGraph, Tensor

Rng = np.random.Generator


def _between(rng: Rng, low: int, high: int) -> int:
    """As likely small as large."""
    return round(low * (high / low) ** rng.random())


def _zero(rng: Rng) -> int:
    return int(rng.choice((-128, -5, 0, 7, 127)))


def _tensor(rng: Rng, *shape: int) -> Tensor:
    return small(shape, rng.uniform(0.01, 0.1), _zero(rng))


def _image(rng: Rng, most: int) -> Tensor:
    channels = _between(rng, 1, most) if rng.random() < 0.5 else 8 * _between(rng, 1, max(1, most // 8))
    return _tensor(rng, 1, _between(rng, 1, most), _between(rng, 1, most), channels)


def _windows(rng: Rng, source: Tensor, dilated: bool) -> tuple[tuple[int, int], dict[str, Any]]:
    _, height, width, _ = source.shape
    taps = tuple(min(int(rng.choice((1, 1, 2, 3, 3, 5))), size) for size in (height, width))
    dilation = 2 if dilated and rng.random() < 0.2 and 2 * max(taps) - 1 <= min(height, width) else 1
    stride = 1 if dilation > 1 else int(rng.integers(1, 3))
    options: dict[str, Any] = {"padding": str(rng.choice(("SAME", "VALID"))), "stride_h": stride, "stride_w": stride}
    if dilated:
        options |= {"dilation_h_factor": dilation, "dilation_w_factor": dilation}
    return (taps[0], taps[1]), options | {"fused_activation_function": str(rng.choice(("NONE", "RELU", "RELU6")))}


def _product(rng: Rng, kind: str, source: Tensor, shape: tuple[int, ...], **options: Any) -> LayerGraph:
    outputs, axis = (shape[3], 3) if kind == "DEPTHWISE_CONV_2D" else (shape[0], 0)
    scales = rng.uniform(0.002, 0.03, outputs)
    extreme = int(rng.integers(0, 4))
    weights = rng.integers(-128, 128, shape) if extreme else rng.choice((-128, 127), shape)
    bias = fixed(rng.integers(-20_000, 20_000, outputs).astype(np.int32), scales)
    # Sums are seldom scaled by a quarter and more, which the vector unit does not compute.
    out = small((), float(rng.uniform(0.02, 0.5) if rng.random() < 0.85 else 0.0005), _zero(rng))
    return one_layer(kind, [source, fixed(weights.astype(np.int8), scales, axis), bias], out, **options)


def _conv(rng: Rng, most: int) -> LayerGraph:
    source = _image(rng, most)
    taps, options = _windows(rng, source, True)
    return _product(rng, "CONV_2D", source, (_between(rng, 1, most), *taps, source.shape[3]), **options)


def _depthwise(rng: Rng, most: int) -> LayerGraph:
    source, each = _image(rng, most), int(rng.choice((1, 1, 1, 2)))
    taps, options = _windows(rng, source, True)
    shape = (1, *taps, each * source.shape[3])
    return _product(rng, "DEPTHWISE_CONV_2D", source, shape, depth_multiplier=each, **options)


def _dense(rng: Rng, most: int) -> LayerGraph:
    source = _tensor(rng, _between(rng, 1, 4), _between(rng, 1, most * most))
    return _product(rng, "FULLY_CONNECTED", source, (_between(rng, 1, 8 * most), source.shape[1]))


def _sum(rng: Rng, most: int) -> LayerGraph:
    source = _image(rng, most)
    return one_layer("ADD", [source, _tensor(rng, *source.shape)], small((), rng.uniform(0.02, 0.2), _zero(rng)))


def _difference(rng: Rng, most: int) -> LayerGraph:
    source = _image(rng, most)
    return one_layer("SUB", [source, _tensor(rng, *source.shape)], small((), rng.uniform(0.02, 0.2), _zero(rng)))


def _sloped(rng: Rng, most: int) -> LayerGraph:
    source = _image(rng, most)
    channels = source.shape[3] if rng.random() < 0.8 else 1
    values = rng.integers(-128, 128, (1, 1, channels)).astype(np.int8)
    slopes = dataclasses.replace(fixed(values, [rng.uniform(0.002, 0.02)]), zero_point=(_zero(rng),))
    return one_layer("PRELU", [source, slopes], small((), rng.uniform(0.005, 0.2), _zero(rng)))


def _resized(rng: Rng, most: int) -> LayerGraph:
    source = _image(rng, most)
    size = fixed(np.array([_between(rng, 1, most), _between(rng, 1, most)], np.int32))
    how = ((False, False), (False, True), (True, False))[int(rng.integers(0, 3))]
    return one_layer("RESIZE_BILINEAR", [source, size], align_corners=how[0], half_pixel_centers=how[1])


def _deep(rng: Rng, most: int) -> LayerGraph:
    block = int(rng.integers(1, 4))
    source = _tensor(rng, 1, _between(rng, 1, most), _between(rng, 1, most), block * block * _between(rng, 1, 9))
    return one_layer("DEPTH_TO_SPACE", [source], block_size=block)


def _pool(kind: str) -> Callable[[Rng, int], LayerGraph]:
    def of(rng: Rng, most: int) -> LayerGraph:
        source = _image(rng, most)
        taps, options = _windows(rng, source, False)
        return one_layer(kind, [source], **options, filter_height=taps[0], filter_width=taps[1])

    return of


def _mean(rng: Rng, most: int) -> LayerGraph:
    axes = fixed(np.array([1, 2] if rng.random() < 0.7 else [3], np.int32))
    return one_layer("MEAN", [_image(rng, most), axes], small((), rng.uniform(0.01, 0.1), _zero(rng)))


def _curve(kind: str, **options: Any) -> Callable[[Rng, int], LayerGraph]:
    def of(rng: Rng, most: int) -> LayerGraph:
        source = _tensor(rng, _between(rng, 1, most), _between(rng, 1, most))
        return one_layer(kind, [source], small((), 1 / 256, -128), **options)

    return of


def _requantised(rng: Rng, most: int) -> LayerGraph:
    return one_layer("QUANTIZE", [_image(rng, most)], small((), rng.uniform(0.01, 0.1), _zero(rng)))


def _concat(rng: Rng, most: int) -> LayerGraph:
    source = _image(rng, most)
    return one_layer("CONCATENATION", [source] * _between(rng, 1, 4), axis=int(rng.integers(1, 4)))


def _pad(rng: Rng, most: int) -> LayerGraph:
    pads = rng.integers(0, 3, (4, 2)) * [[0], [1], [1], [1]]
    return one_layer("PAD", [_image(rng, most), fixed(pads.astype(np.int32))])


def _slice(rng: Rng, most: int) -> LayerGraph:
    source = _image(rng, most)
    begins = [int(rng.integers(0, size)) for size in source.shape]
    parts = [fixed(np.array(array, np.int32)) for array in (begins, source.shape, (1, *rng.integers(1, 3, 3)))]
    return one_layer("STRIDED_SLICE", [source, *parts])


def _split(rng: Rng, most: int) -> LayerGraph:
    source, axis = _image(rng, most), int(rng.integers(1, 4))
    first = int(rng.integers(0, source.shape[axis] + 1))
    sizes, along = (fixed(np.array(array, np.int32)) for array in ([first, -1], [axis]))
    return one_layer("SPLIT_V", [source, sizes, along])


def _pack(rng: Rng, most: int) -> LayerGraph:
    return one_layer("PACK", [_tensor(rng, _between(rng, 1, most), 3)] * 3, axis=int(rng.integers(0, 3)))


KINDS: dict[str, Callable[[Rng, int], LayerGraph]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "ADD": _sum,
    "SUB": _difference,
    "RELU": lambda rng, most: one_layer("RELU", [_image(rng, most)]),
    "RELU6": lambda rng, most: one_layer("RELU6", [_image(rng, most)]),
    "PRELU": _sloped,
    "RESIZE_BILINEAR": _resized,
    "DEPTH_TO_SPACE": _deep,
    "AVERAGE_POOL_2D": _pool("AVERAGE_POOL_2D"),
    "MAX_POOL_2D": _pool("MAX_POOL_2D"),
    "MEAN": _mean,
    "LOGISTIC": _curve("LOGISTIC"),
    "SOFTMAX": _curve("SOFTMAX", beta=1.0),
    "QUANTIZE": _requantised,
    "CONCATENATION": _concat,
    "PACK": _pack,
    "PAD": _pad,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _slice,
    "RESHAPE": lambda rng, most: one_layer("RESHAPE", [_image(rng, most)], new_shape=(-1,)),
}
"""A random layer of each kind, with no axis longer than so many."""

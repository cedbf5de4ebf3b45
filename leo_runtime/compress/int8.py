"""A model of float32 as one of int8, its scales chosen by what values were seen to range over.

By TensorFlow Lite's quantisation specification
(https://ai.google.dev/edge/litert/models/quantization_spec): weights symmetric, of each output channel its own scale;
what moves between layers affine, of each tensor one scale; biases int32 of the products' scale. Layers that put values
elsewhere, or limit them, have one scale for what they read and what they give. Reals are quantised as they come in and
made again of what goes out, so that inputs and outputs are those of the float model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.fuse import fused, without_unused
from leo_runtime.compress.ranges import Range, observed, range_of
from leo_runtime.layers.graph import Layer, LayerGraph, Option, Tensor
from leo_runtime.layers.kinds.catalogue import refusal

_VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEPTH_TO_SPACE": 2,
    "FULLY_CONNECTED": 12,
    "LOGISTIC": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "PACK": 2,
    "PAD": 2,
    "PRELU": 1,
    "RELU": 2,
    "RELU6": 2,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 3,
    "SOFTMAX": 2,
    "SPLIT_V": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
}
"""The kinds that have a law of int8, and the version of each that an interpreter knows it by."""
_PRODUCTS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Kinds with weights, and the axis of those that has a scale for each index."""
_OWN = (*_PRODUCTS, "ADD", "LOGISTIC", "MEAN", "PRELU", "SOFTMAX", "SUB")
"""Kinds that give values of a scale of their own; others have one for all that they read and give."""
_SHARES = ("LOGISTIC", "SOFTMAX")
"""Kinds that give shares of 1, in 1/256."""
_MOST_BIAS = 1 << 30
"""A bias is held no greater, so that sums with it fit 32 bits."""


def calibrated(graph: LayerGraph, runs: Iterable[Sequence[np.ndarray]], percentile: float = 100.0) -> LayerGraph:
    """The graph in int8, with scales by what its values range over in these runs (`ranges.observed`).

    Raises `CompressError` for a model that has no int8 form, which names the layer, or runs that give no numbers.
    """
    require_int8_form(graph)
    less = fused(graph)
    return int8(less, observed(less, runs, percentile))


def require_int8_form(graph: LayerGraph) -> None:
    """Raise `CompressError` for a graph that is int8 already, keeps a state, or has a layer without a law of int8."""
    if any(tensor.scale for tensor in graph.tensors):
        raise CompressError(f"{graph.name}: is quantised already", hint="give the model of float32 that it was made of")
    if graph.states:
        raise CompressError(f"{graph.name}: has no int8 form: it keeps a state from call to call")
    without = dict.fromkeys(layer.kind for layer in graph.layers if _real(graph, layer) and layer.kind not in _VERSIONS)
    if without:
        raise CompressError(
            f"{graph.name}: has no int8 form: there is no law of int8 for {', '.join(without)}",
            hint="place it on the CPU or the GPU as it is, or cut it and calibrate the rest",
        )


def int8(graph: LayerGraph, ranges: Mapping[int, Range]) -> LayerGraph:
    """The graph in int8, of what `require_int8_form` takes, with the ranges of all its float32 tensors by number.

    Raises `CompressError` where scales are too far apart for the law of a layer.
    """
    made = _Made(graph, _quantisations(graph, ranges))
    for number in graph.inputs:
        if number in made.scales:
            made.layer("QUANTIZE", {}, (number,), (made.held(number),), 1)
    for layer in graph.layers:
        if _real(graph, layer):
            _OF.get(layer.kind, _plain)(made, layer)
        else:
            made.layers.append(layer)
    for number in dict.fromkeys(graph.outputs):
        if number in made.scales and number not in graph.inputs:
            made.layer("DEQUANTIZE", {}, (made.held(number),), (number,), 2)
    found = without_unused(replace(graph, tensors=tuple(made.tensors), layers=tuple(made.layers)))
    with np.errstate(all="ignore"):  # Of scales beyond all measure; what comes of them is refused.
        for layer in found.layers:
            if (why := refusal(found, layer)) is not None:
                at = found.tensors[layer.outputs[0]].name
                raise CompressError(f"{graph.name}: has no int8 form: at `{at}`, {layer.kind}: {why}")
    return found


def _real(graph: LayerGraph, layer: Layer) -> bool:
    return graph.tensors[layer.inputs[0]].dtype == np.float32


Scale = tuple[float, int]
"""A scale in float32, and a zero point."""


def scale_of(one: Range) -> Scale:
    """That of 256 values from a least to a greatest, of which one is 0; of a tensor that is always 0 any."""
    spread = (one.greatest - one.least) / 255 or 1 / 255
    scale = float(np.float32(spread)) or float(np.finfo(np.float32).tiny)
    return scale, int(np.clip(np.rint(-128 - one.least / scale), -128, 127))


def _quantisations(graph: LayerGraph, ranges: Mapping[int, Range]) -> dict[int, Scale]:
    """The scale of each tensor of float32 that layers pass on: those of one group have one."""
    root = {number: number for number in ranges}

    def found(number: int) -> int:
        while root[number] != number:
            number = root[number]
        return number

    fixed, every = set[int](), dict(ranges)
    for layer in graph.layers:
        if not _real(graph, layer):
            continue
        taken = layer.inputs if layer.kind in ("CONCATENATION", "PACK", "ADD", "SUB") else layer.inputs[:1]
        for number in taken:
            data = graph.tensors[number].data
            if data is not None:
                every[number], root[number] = range_of(data), root.get(number, number)
        if layer.kind in _SHARES:
            fixed.update(layer.outputs)
        if layer.kind not in _OWN:
            first, *others = (*taken, *layer.outputs)
            for number in others:
                root[found(number)] = found(first)
    together: dict[int, Range] = {}
    for number, one in every.items():
        group = found(number)
        together[group] = together[group].with_(one) if group in together else one
    shares = {found(number) for number in fixed}
    for group in shares:
        if not (together[group].least >= 0 and together[group].greatest <= 1):
            raise CompressError(
                f"{graph.name}: has no int8 form: shares of 1 are put together with other values at "
                f"`{graph.tensors[group].name}`"
            )
    return {
        number: (1 / 256, -128) if found(number) in shares else scale_of(together[found(number)]) for number in root
    }


class _Made:
    """The int8 graph as it grows: the old tensors by their numbers, and new ones behind them."""

    def __init__(self, graph: LayerGraph, scales: Mapping[int, Scale]) -> None:
        self.name = graph.name
        self.tensors = list(graph.tensors)
        self.layers: list[Layer] = []
        self.scales = scales
        self._held: dict[int, int] = {}

    def held(self, number: int) -> int:
        """The int8 tensor that stands for one of float32, a constant too."""
        if number not in self._held:
            old, (scale, zero) = self.tensors[number], self.scales[number]
            data = None if old.data is None else _stored(old.data, scale, zero)
            self._held[number] = self.add(replace(old, scale=(scale,), zero_point=(zero,)), np.dtype(np.int8), data)
        return self._held[number]

    def add(self, like: Tensor, dtype: np.dtype[np.generic], data: np.ndarray | None) -> int:
        """A tensor named and shaped as another. Returns its number."""
        if data is not None:
            data = np.ascontiguousarray(data.reshape(like.shape), dtype)
            data.flags.writeable = False
        stored = 0 if data is None else data.nbytes
        name = f"{like.name}/int8" if dtype == np.int8 else like.name
        self.tensors.append(replace(like, name=name, dtype=dtype, data=data, stored_bytes=stored))
        return len(self.tensors) - 1

    def layer(
        self, kind: str, options: Mapping[str, Option], inputs: Sequence[int], outputs: Sequence[int], version: int
    ) -> None:
        """A layer behind the others."""
        self.layers.append(Layer(kind, options, tuple(inputs), tuple(outputs), version))


def _stored(values: np.ndarray, scale: float, zero: int) -> np.ndarray:
    stored: np.ndarray = np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8)
    return stored


def _plain(made: _Made, layer: Layer) -> None:
    """A layer with int8 in the place of what is real of its inputs and outputs."""
    inputs = [made.held(number) if number in made.scales else number for number in layer.inputs]
    outputs = [made.held(number) for number in layer.outputs]
    made.layer(layer.kind, layer.options, inputs, outputs, _VERSIONS[layer.kind])


def _product(made: _Made, layer: Layer) -> None:
    axis, (source, target) = _PRODUCTS[layer.kind], (layer.inputs[0], layer.outputs[0])
    weights, biases = made.tensors[layer.inputs[1]], layer.inputs[2:3]
    bias = made.tensors[biases[0]] if biases and biases[0] >= 0 else None
    if weights.data is None or (bias is not None and bias.data is None):
        raise CompressError(f"{made.name}: has no int8 form: {layer.kind} has weights that are no constants")
    taken, given = made.scales[source][0], made.scales[target][0]
    others = tuple(other for other in range(weights.data.ndim) if other != axis)
    greatest = np.abs(weights.data, dtype=np.float64).max(axis=others, initial=0.0)
    # Weights that are all 0 have a scale that lets the bias be told as finely as what comes out.
    scales = np.where(greatest > 0, greatest / 127, given / taken)
    if bias is not None and bias.data is not None:
        scales = np.maximum(scales, np.abs(bias.data.reshape(-1).astype(np.float64)) / taken / _MOST_BIAS)
    scales = np.maximum(scales.astype(np.float32), np.finfo(np.float32).tiny).astype(np.float64)
    along = [-1 if other == axis else 1 for other in range(weights.data.ndim)]
    whole = np.clip(np.rint(weights.data / scales.reshape(along)), -127, 127)
    told, zeros = tuple(map(float, scales)), (0,) * len(scales)
    inputs = [
        made.held(source),
        made.add(replace(weights, scale=told, zero_point=zeros, axis=axis), np.dtype(np.int8), whole),
    ]
    if bias is not None and bias.data is not None:
        products = (np.float32(taken) * scales.astype(np.float32)).astype(np.float32)
        whole = np.rint(bias.data.reshape(-1) / products.astype(np.float64))
        like = replace(bias, scale=tuple(map(float, products)), zero_point=zeros, axis=0)
        inputs.append(made.add(like, np.dtype(np.int32), whole))
    made.layer(layer.kind, layer.options, inputs, (made.held(target),), _VERSIONS[layer.kind])


def _prelu(made: _Made, layer: Layer) -> None:
    slopes = made.tensors[layer.inputs[1]]
    if slopes.data is None:
        raise CompressError(f"{made.name}: has no int8 form: PRELU has slopes that are no constants")
    scale, zero = scale_of(range_of(slopes.data))
    held = made.add(
        replace(slopes, scale=(scale,), zero_point=(zero,)), np.dtype(np.int8), _stored(slopes.data, scale, zero)
    )
    made.layer(layer.kind, layer.options, (made.held(layer.inputs[0]), held), (made.held(layer.outputs[0]),), 1)


_OF = {"CONV_2D": _product, "DEPTHWISE_CONV_2D": _product, "FULLY_CONNECTED": _product, "PRELU": _prelu}

"""Runs layers of networks on OpenCL in a process of its own, so that a driver cannot end the tests.

python opencl_layers.py PLATFORM    every kernel: equal to the reference, float32 to 1e-5 and int8 to the bit
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from layer_graphs import fixed, one_layer, real, small, some_values
from leo_backends.opencl.layer_plans import lacks, plan_graph
from leo_backends.opencl.messages import Choice
from leo_backends.opencl.plans import Family
from leo_backends.opencl.tuning import Tuning
from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import refusal
from small_networks import Net, two_heads

if TYPE_CHECKING:
    from leo_backends.opencl.device import Device

RNG = np.random.default_rng(5)


def ints(*values: int) -> Tensor:
    return fixed(np.array(values, np.int32))


def skips(int8: bool, slopes: bool) -> LayerGraph:
    """Depthwise and pointwise layers with residuals, one of fewer channels, and what follows them in one launch."""
    net = Net(3, int8)
    image = net.value(1, 9, 10, 3, name="image")
    x = net.conv(image, 5, 3, 2, "RELU")
    deep = net.conv(net.depthwise(x), 5)
    y = net.layer("ADD", [deep, x], net.tensors[x].shape, fused_activation_function="RELU")
    wide = net.conv(net.depthwise(y), 9)
    pads = net.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 4]], np.int32))
    padded = net.layer("PAD", [y, pads], net.tensors[wide].shape)
    z = net.layer("ADD", [padded, wide], net.tensors[wide].shape)
    if slopes:
        z = net.layer(
            "PRELU", [z, net.constant(RNG.uniform(-1, 1, (1, 1, 9)).astype(np.float32))], net.tensors[z].shape
        )
    pads = net.constant(np.array([[0, 0], [1, 1], [0, 1], [0, 0]], np.int32))
    n, height, width, channels = net.tensors[z].shape
    space = net.layer("PAD", [z, pads], (n, height + 2, width + 1, channels))
    weights = net.weights(4, 3, 2, 9, axis=0)
    options = {"padding": "VALID", "stride_w": 1, "stride_h": 1}
    out = net.layer("CONV_2D", [space, weights, net.bias(4, weights)], (1, height, width, 4), **options)
    return net.graph((image,), (out, y, image))


def anchors(int8: bool) -> LayerGraph:
    """Two heads put one behind the other, as detectors do: one that lies densely by itself, and one that does not."""
    net = Net(7, int8)
    image = net.value(1, 4, 4, 6, name="image")
    many = net.layer("RESHAPE", [net.conv(image, 16)], (1, 64, 4), new_shape=(1, 64, 4))
    few = net.layer("RESHAPE", [net.conv(image, 2)], (1, 8, 4), new_shape=(1, 8, 4))
    return net.graph((image,), (net.layer("CONCATENATION", [many, few], (1, 72, 4), axis=1),))


def images(int8: bool) -> Iterator[LayerGraph]:
    """Single layers that windows slide over."""
    for taps, stride, dilation, padding in (((3, 2), 1, 2, "SAME"), ((1, 1), 2, 1, "VALID"), ((4, 3), 2, 1, "SAME")):
        options = {"padding": padding, "stride_h": stride, "stride_w": stride}
        dilated = {"dilation_h_factor": dilation, "dilation_w_factor": dilation}
        for kind, outputs, channels in (("CONV_2D", 7, 5), ("DEPTHWISE_CONV_2D", 5, 5), ("DEPTHWISE_CONV_2D", 6, 2)):
            if stride > 1 and dilation > 1:
                continue
            yield product(int8, kind, (1, 9, 11, channels), outputs, taps, {**options, **dilated})
        for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
            size = {"filter_height": taps[0], "filter_width": taps[1]}
            yield one_layer(kind, [source(int8, 1, 9, 11, 5)], **options, **size)


def source(int8: bool, *shape: int, scale: float = 0.05, zero: int = -7) -> Tensor:
    return small(shape, scale, zero) if int8 else real(*shape)


def product(
    int8: bool,
    kind: str,
    shape: tuple[int, ...],
    outputs: int,
    taps: tuple[int, int] = (1, 1),
    options: dict | None = None,
) -> LayerGraph:
    """A layer of products with random weights."""
    channels = shape[-1]
    sizes = {
        "CONV_2D": (outputs, *taps, channels),
        "DEPTHWISE_CONV_2D": (1, *taps, outputs),
        "FULLY_CONNECTED": (outputs, channels),
    }[kind]
    if kind == "DEPTHWISE_CONV_2D":
        options = {**(options or {}), "depth_multiplier": outputs // channels}
    if not int8:
        weights = fixed(RNG.normal(0, 1, sizes).astype(np.float32))
        bias = fixed(RNG.normal(0, 1, outputs).astype(np.float32))
        return one_layer(kind, [real(*shape), weights, bias], **(options or {}))
    scales = RNG.uniform(0.005, 0.02, outputs)
    weights = fixed(RNG.integers(-127, 128, sizes).astype(np.int8), scales, 3 if kind == "DEPTHWISE_CONV_2D" else 0)
    bias = fixed(RNG.integers(-5000, 5000, outputs).astype(np.int32), scales)
    reach = taps[0] * taps[1] * (1 if kind == "DEPTHWISE_CONV_2D" else channels)
    out = small((), 0.05 * float(np.sqrt(reach)), 9)
    return one_layer(kind, [source(True, *shape), weights, bias], out, **(options or {}))


def others(int8: bool) -> Iterator[LayerGraph]:
    """Kinds that both types have."""
    x, y = source(int8, 1, 4, 6, 4), source(int8, 1, 4, 6, 2)
    yield one_layer("PAD", [x, fixed(np.array([[0, 0], [1, 2], [0, 3], [2, 1]], np.int32))])
    yield one_layer("RESHAPE", [x, ints(2, -1, 8)])
    yield one_layer("CONCATENATION", [x, y, x], axis=-1)
    yield one_layer("CONCATENATION", [x, x], axis=1)
    yield one_layer("SPLIT_V", [x, ints(1, -1, 2), ints(2)])
    yield one_layer("PACK", [x, x, x], axis=2)
    yield one_layer("MEAN", [x, ints(1, 2)], small((), 0.03, 7) if int8 else None, keep_dims=True)
    yield one_layer("MEAN", [x, ints(3)])
    yield one_layer("STRIDED_SLICE", [x, ints(0, 1, 5, 0), ints(1, 4, 0, 9), ints(1, 2, -2, 1)])
    yield one_layer("STRIDED_SLICE", [x, ints(0, 1), ints(1, 2), ints(1, 1)], shrink_axis_mask=2)
    yield one_layer("ADD", [x, source(int8, 1, 4, 6, 4, scale=0.03, zero=5)], small((), 0.06, -1) if int8 else None)
    share = small((), 1 / 256, -128) if int8 else None
    yield one_layer("SOFTMAX", [source(int8, 3, 7)], share, beta=1.0)
    yield one_layer("LOGISTIC", [x], share)
    yield product(int8, "FULLY_CONNECTED", (1, 21), 19)
    yield product(int8, "FULLY_CONNECTED", (3, 21), 19)


def of_float() -> Iterator[LayerGraph]:
    x = real(1, 4, 6, 5)
    for kind in ("RELU", "RELU6", "HARD_SWISH"):
        yield one_layer(kind, [x])
    yield one_layer("LEAKY_RELU", [x], alpha=0.3)
    for shape in ((5,), (4, 6, 5)):
        yield one_layer("PRELU", [x, fixed(RNG.uniform(-1, 1, shape).astype(np.float32))])
    for kind, other in (("SUB", (1, 4, 6, 5)), ("MUL", (1, 4, 1, 5)), ("MAXIMUM", (1,)), ("ADD", (5,))):
        yield one_layer(kind, [x, real(*other)])
    yield one_layer("SUB", [fixed(np.float32([0.5])), x])
    yield one_layer("DEPTH_TO_SPACE", [real(1, 3, 4, 12)], block_size=2)
    for centred in (False, True):
        yield one_layer("RESIZE_BILINEAR", [x, ints(7, 3)], half_pixel_centers=centred)
    yield one_layer("QUANTIZE", [x], small((), 0.013, 3))


def of_int8() -> Iterator[LayerGraph]:
    x = small((1, 4, 6, 5), 0.02, 11)
    yield one_layer("QUANTIZE", [x], small((), 0.031, -3))
    yield one_layer("QUANTIZE", [x], Tensor("unsigned", (), np.dtype(np.uint8), (0.02,), (139,)))
    yield one_layer("DEQUANTIZE", [x], real())
    # Sums that float32 would not hold.
    yield product(True, "FULLY_CONNECTED", (1, 3000), 5)


def graphs() -> Iterator[LayerGraph]:
    for int8 in (False, True):
        yield from images(int8)
        yield from others(int8)
        yield skips(int8, slopes=not int8)
        yield two_heads(int8=int8)
        yield anchors(int8)
    yield from of_float()
    yield from of_int8()


def run(device: Device, graph: LayerGraph, inputs: Sequence[np.ndarray], half: bool = False) -> list[np.ndarray]:
    """What the device gives."""
    from leo_backends.opencl.device import LoadedSteps  # Where there is no OpenCL, graphs are still made.

    plan = plan_graph(graph, Family(Tuning(device.fingerprint), half=half))
    borders = (*plan.inputs, *plan.outputs)
    sides = [[border.buffer for border in side] for side in (plan.inputs, plan.outputs)]
    loaded = LoadedSteps(device, plan.steps, plan.buffers(), *sides)
    with loaded.file:
        values = np.frombuffer(mmap.mmap(loaded.file.fileno(), 0), np.uint8)
    arrays = [
        values[4 * first :][: border.tensor.bytes].view(border.tensor.dtype).reshape(border.tensor.shape)
        for first, border in zip(loaded.firsts, borders, strict=True)
    ]
    for array, given in zip(arrays, inputs, strict=False):
        array[...] = given
    loaded.run()
    return [array.copy() for array in arrays[len(inputs) :]]


def main(platform: str) -> None:
    from leo_backends.opencl.device import Device  # As above.

    device = Device.open(Choice(platform=platform, units=None))
    for number, graph in enumerate(graphs()):
        for layer in graph.layers:
            assert refusal(graph, layer) is None, (layer.kind, refusal(graph, layer))
        assert lacks(graph) is None, lacks(graph)
        inputs = [some_values(graph.tensors[place], RNG) for place in graph.inputs]
        for expected, got in zip(reference.run(graph, inputs), run(device, graph, inputs), strict=True):
            where = (number, [layer.kind for layer in graph.layers][:4], expected.shape)
            if expected.dtype.kind == "f":
                assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max(), where
            else:
                assert np.array_equal(got, expected), where
    halved(device)


def halved(device: Device) -> None:
    """Weights in half precision lose little, but lose; those of int8 lose nothing."""
    for int8 in (False, True):
        graph = skips(int8, slopes=False)
        inputs = [some_values(graph.tensors[place], RNG) for place in graph.inputs]
        expected, got = reference.run(graph, inputs)[0], run(device, graph, inputs, half=True)[0]
        lost = np.abs(got.astype(np.float64) - expected).max() / np.abs(expected.astype(np.float64)).max()
        assert lost == 0 if int8 else 1e-7 < lost < 5e-3, lost


if __name__ == "__main__":
    main(sys.argv[1])

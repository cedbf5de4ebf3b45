"""Small networks of random weights, as graphs of layers: with what cuts and readers stumble over."""

from itertools import zip_longest
from pathlib import Path

import numpy as np

from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.graph import Layer, LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS


class Net:
    """Writes a graph of layers, tensor by tensor."""

    def __init__(self, seed: int, int8: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.int8 = int8
        self.tensors: list[Tensor] = []
        self.layers: list[Layer] = []

    def value(self, *shape: int, name: str = "") -> int:
        """A tensor that is no constant."""
        dtype, scale, zero = (np.dtype("i1"), (0.05,), (3,)) if self.int8 else (np.dtype("<f4"), (), ())
        scale = tuple(float(np.float32(one)) for one in scale)
        self.tensors.append(Tensor(name or f"t{len(self.tensors)}", shape, dtype, scale, zero))
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray, scale: tuple[float, ...] = (), axis: int = 0) -> int:
        values.flags.writeable = False
        number = len(self.tensors)
        zeros = (0,) * len(scale)
        self.tensors.append(
            Tensor(f"c{number}", values.shape, values.dtype, scale, zeros, axis, values, stored_bytes=values.nbytes)
        )
        return number

    def weights(self, *shape: int, axis: int) -> int:
        if not self.int8:
            return self.constant(self.rng.normal(0, 0.5, shape).astype(np.float32))
        scales = self.rng.uniform(0.005, 0.02, shape[axis]).astype(np.float32)
        values = self.rng.integers(-127, 128, shape).astype(np.int8)
        return self.constant(values, tuple(map(float, scales)), axis)

    def bias(self, count: int, weights: int) -> int:
        if not self.int8:
            return self.constant(self.rng.normal(0, 0.1, count).astype(np.float32))
        scales = np.array(self.tensors[weights].scale, np.float32) * np.float32(0.05)
        return self.constant(self.rng.integers(-500, 500, count).astype(np.int32), tuple(map(float, scales)))

    def layer(self, kind: str, inputs: list[int], *shapes: tuple[int, ...], names: tuple[str, ...] = (), **options):
        """A layer of new tensors of these shapes; options that are not named are at their defaults. Their numbers."""
        outputs = tuple(self.value(*shape, name=name) for shape, name in zip_longest(shapes, names, fillvalue=""))
        defaults = {field.name: field.default for field in KINDS[kind].options}
        assert options.keys() <= defaults.keys()
        self.layers.append(Layer(kind, {**defaults, **options}, tuple(inputs), outputs))
        return outputs[0] if len(outputs) == 1 else outputs

    def conv(self, source: int, channels: int, size: int = 1, stride: int = 1, activation: str = "NONE") -> int:
        n, height, width, depth = self.tensors[source].shape
        weights = self.weights(channels, size, size, depth, axis=0)
        shape = (n, -(-height // stride), -(-width // stride), channels)
        options = {"stride_w": stride, "stride_h": stride, "fused_activation_function": activation}
        return self.layer("CONV_2D", [source, weights, self.bias(channels, weights)], shape, **options)

    def depthwise(self, source: int, size: int = 3) -> int:
        *_, depth = shape = self.tensors[source].shape
        weights = self.weights(1, size, size, depth, axis=3)
        options = {"stride_w": 1, "stride_h": 1, "depth_multiplier": 1}
        return self.layer("DEPTHWISE_CONV_2D", [source, weights, self.bias(depth, weights)], shape, **options)

    def graph(self, inputs: tuple[int, ...], outputs: tuple[int, ...], name: str = "small") -> LayerGraph:
        return LayerGraph(name, tuple(self.tensors), tuple(self.layers), inputs, outputs)


def saved(graph: LayerGraph, path: Path) -> Path:
    """The file of a network, written."""
    path.write_bytes(write_model(graph))
    return path


def two_heads(seed: int = 1, int8: bool = False) -> LayerGraph:
    """A network with two skips, of which one is over the other, and two outputs, of which one is given early."""
    net = Net(seed, int8)
    image = net.value(1, 8, 8, 3, name="image")
    first = net.conv(image, 8, 3, 2, "RELU")
    early = net.conv(first, 2)
    deep = net.conv(net.depthwise(first), 8)
    inner = net.layer("ADD", [net.conv(net.depthwise(deep), 8), deep], (1, 4, 4, 8))
    outer = net.layer("ADD", [inner, first], (1, 4, 4, 8), fused_activation_function="RELU")
    pooled = net.layer(
        "MAX_POOL_2D", [outer], (1, 2, 2, 8), padding="VALID", stride_w=2, stride_h=2, filter_width=2, filter_height=2
    )
    late = net.conv(pooled, 5)
    net.tensors[early], net.tensors[late] = (
        Tensor(name, t.shape, t.dtype, t.scale, t.zero_point)
        for name, t in (("early", net.tensors[early]), ("late", net.tensors[late]))
    )
    return net.graph((image,), (late, early), "two heads")


def classifier(seed: int = 1) -> LayerGraph:
    """Convolutions of odd strides and windows, and two dense layers behind them."""
    net = Net(seed)
    image = net.value(1, 9, 12, 3, name="image")
    found = net.conv(image, 16, 3, 2, "RELU")
    found = net.conv(net.depthwise(found), 24, 3, 1, "RELU6")
    flat = net.layer(
        "RESHAPE", [found, net.constant(np.array([1, 5 * 6 * 24], np.int32))], (1, 720), new_shape=(1, 720)
    )
    dense = net.weights(32, 720, axis=0)
    hidden = net.layer("FULLY_CONNECTED", [flat, dense, net.bias(32, dense)], (1, 32), fused_activation_function="RELU")
    last = net.weights(10, 32, axis=0)
    return net.graph((image,), (net.layer("FULLY_CONNECTED", [hidden, last, net.bias(10, last)], (1, 10)),))

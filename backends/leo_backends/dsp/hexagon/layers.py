"""Hands graphs of int8 layers to the Hexagon program (`program/layers.c`), which computes the same integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from leo_backends.dsp.hexagon.machine import Counted, HexagonMachine
from leo_runtime.layers.graph import Layer, LayerGraph, Shape, Tensor
from leo_runtime.layers.kinds import activation, convolution, elementwise, pool, quantise, shape
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.clamping import int8_limits
from leo_runtime.layers.kinds.definition import Call, call_of
from leo_runtime.layers.kinds.padding import Slide

PROGRAM = "layers"
_RECORD = 28
_PRODUCT, _DEPTHWISE, _SUM, _POOL, _MEAN, _LOOK_UP, _SOFTMAX, _REQUANTISE, _MOVE, _FILL, _SLOPE, _RESIZE = range(12)
"""Kinds of the program's own, in its order."""
_OF_SEVERAL = ("ADD", "CONCATENATION", "PACK", "SUB")
"""Kinds whose inputs are all values; of others those behind the first are weights and parameters."""
_SLACK = 16
"""Bytes behind each tensor that a loop may read."""


def lacks(graph: LayerGraph) -> str | None:
    """What of a graph that the DSP computes its program does not, as a clause."""
    for layer in graph.layers:
        call = call_of(graph, layer)
        source, out = call.input(0), call.outputs[0]
        if layer.kind not in _LAYERS and layer.kind != "DEQUANTIZE":
            return f"{layer.kind} is not in its program"
        if layer.kind in ("ADD", "SUB") and not source.shape == call.input(1).shape == out.shape:
            return f"{layer.kind} repeats an input"
        if layer.kind == "PRELU" and (call.input(1).data is None or _slopes(call) is None):
            return "PRELU has slopes that are not one for each channel, or for all of them"
        values = call.inputs if layer.kind in _OF_SEVERAL else call.inputs[:1]
        if any(tensor is not None and tensor.data is not None for tensor in values):
            return f"{layer.kind} reads a constant"
        if len(source.shape) > 4:
            return f"{layer.kind} has {len(source.shape)} axes"
        if layer.kind == "MEAN" and pool.mean_extent(call) is None:
            return f"MEAN has axes {pool.mean_axes(call)} that do not follow each other"
        if source.shape[:1] != (1,) and layer.kind in (
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "AVERAGE_POOL_2D",
            "MAX_POOL_2D",
            "RESIZE_BILINEAR",
            "DEPTH_TO_SPACE",
        ):
            return f"{layer.kind} has {source.shape[0]} images at once"
    return None


class HexagonLayers:
    """A graph in the program: the reference's own integers.

    Reals are quantised before it and made behind it, by the reference.
    """

    def __init__(self, machine: HexagonMachine, graph: LayerGraph) -> None:
        """Raises `KernelError` where the program refuses it."""
        self._graph = graph
        self._before = [layer for layer in graph.layers if _is_real(graph.tensors[layer.inputs[0]])]
        self._behind = [layer for layer in graph.layers if _is_real(graph.tensors[layer.outputs[0]])]
        inside = [layer for layer in graph.layers if layer not in self._before and layer not in self._behind]
        made = {number for layer in inside for number in layer.outputs}
        read = {number for layer in inside for number in layer.inputs if number >= 0}
        wanted = {*graph.outputs, *(layer.inputs[0] for layer in self._behind)}
        self._taken = sorted(n for n in read - made if graph.tensors[n].data is None)
        self._given = sorted(wanted & made)
        plan = _Message(graph, inside)
        borders = [plan.border(number) for number in (*self._taken, *self._given)]
        head = [len(plan.records) // _RECORD, plan.bytes, len(self._taken), len(self._given)]
        words = [*head, *(value for border in borders for value in border), *plan.records]
        self._model = machine.load(PROGRAM, words, [np.frombuffer(bytes(plan.constants) or bytes(8), np.uint8)])

    def counted(self, inputs: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...], Counted]:
        """The graph's outputs, and what the processor executed for them. Raises `KernelError`."""
        tensors = self._graph.tensors
        values = {number: data for number in self._graph.outputs if (data := tensors[number].data) is not None}
        values |= dict(zip(self._graph.inputs, inputs, strict=True))
        self._compute(self._before, values)
        joined = [_raised(values[number], tensors[number]).reshape(-1) for number in self._taken]
        run = self._model.run([np.concatenate(joined) if joined else np.zeros(0, np.uint8)])
        output, done = np.frombuffer(run.output, np.uint8), 0
        for number in self._given:
            size = tensors[number].size
            values[number] = _lowered(output[done : done + size], tensors[number])
            done += size
        self._compute(self._behind, values)
        return tuple(values[number] for number in self._graph.outputs), run

    def _compute(self, layers: Sequence[Layer], values: dict[int, np.ndarray]) -> None:
        for layer in layers:
            call = call_of(self._graph, layer)
            (values[layer.outputs[0]],) = KINDS[layer.kind].compute(call, [values[layer.inputs[0]]])


def _is_real(tensor: Tensor) -> bool:
    return tensor.dtype.kind == "f"


def _offset(tensor: Tensor) -> int:
    """What is added to a value to make it a byte above 0."""
    return 128 if tensor.dtype == np.int8 else 0


def _raised(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    return (values.astype(np.int16) + _offset(tensor)).astype(np.uint8)


def _lowered(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    return (values.astype(np.int16) - _offset(tensor)).astype(tensor.dtype).reshape(tensor.shape)


def _zero(tensor: Tensor) -> int:
    """The zero point of a tensor as the program holds it."""
    return tensor.zero_point[0] + _offset(tensor)


def _limits(call: Call) -> tuple[int, int]:
    """The limits of what a layer gives as the program holds it."""
    out = call.outputs[0]
    if "fused_activation_function" not in call.options or out.dtype != np.int8:
        return 0, 255
    least, most = int8_limits(call)
    return least + 128, most + 128


class _Message:
    """A graph as the program reads it."""

    def __init__(self, graph: LayerGraph, layers: Sequence[Layer]) -> None:
        self.graph = graph
        self.bytes = 0
        self.constants = bytearray()
        self.records: list[int] = []
        self._places: dict[int, int] = {}
        for layer in layers:
            _LAYERS[layer.kind](self, layer, call_of(graph, layer))

    def place(self, number: int) -> int:
        """Where a tensor is among all of them."""
        if number not in self._places:
            self._places[number] = self.bytes
            self.bytes += -(-(self.graph.tensors[number].bytes + _SLACK) // 8) * 8
        return self._places[number]

    def border(self, number: int) -> tuple[int, int]:
        """Where an input or output is, and its bytes."""
        return self.place(number), self.graph.tensors[number].bytes

    def alias(self, number: int, other: int) -> None:
        """Let a tensor lie where another does."""
        self._places[number] = self.place(other)

    def constant(self, array: np.ndarray) -> int:
        """Where a constant is among all of them."""
        self.constants += bytes(-len(self.constants) % 8)
        place = len(self.constants)
        self.constants += np.ascontiguousarray(array).tobytes() + bytes(8)
        return place

    def add(self, *words: int) -> None:
        """A layer of the program's."""
        self.records += [*words, *(0,) * (_RECORD - len(words))]

    def move(self, x: int, y: int, runs: Sequence[tuple[int, int, int]], length: int, inner: int = 1) -> None:
        """Runs of bytes, by how many there are along three axes, and how far apart in either place."""
        counts, xs, ys = zip(*runs, strict=True)
        self.add(_MOVE, x, y, *counts, *xs, *ys, length, inner)


def _window(call: Call, down: Slide, across: Slide, outputs: int) -> tuple[int, ...]:
    _, height, width, channels = call.input(0).shape
    sizes = (height, width, channels, down.count, across.count, outputs, down.taps, across.taps)
    return (*sizes, down.stride, across.stride, down.dilation, across.dilation, down.before, across.before)


def _scaling(message: _Message, call: Call, sums: np.ndarray) -> tuple[int, int, int, int]:
    """Where bias, factors, shifts and what is added before the shift are.

    `sums` are those of each output's weights, for the zero point.
    """
    outputs, bias = len(sums), call.optional(2)
    own = np.zeros(outputs, np.int64) if bias is None or bias.data is None else bias.data.astype(np.int64)
    folded = own - sums.astype(np.int64) * _zero(call.input(0))
    scales = convolution.multipliers(call)
    scales = scales if len(scales) == outputs else scales * outputs
    factors, shifts = ([getattr(one, name) for one in scales] for name in ("factor", "shift"))
    # The sum is what fits 32 bits, not each of its parts: they wrap around, and back.
    wrapped = folded.astype(np.uint32).view(np.int32)
    halves = message.constant(np.array([1 << (shift - 1) for shift in shifts], "<i8"))
    first, second, third = (message.constant(np.array(array, "<i4")) for array in (wrapped, factors, shifts))
    return first, second, third, halves


def _weights(call: Call) -> np.ndarray:
    data = call.input(1).data
    assert data is not None, "its weights are constants"
    return data


def _rows(weights: np.ndarray) -> np.ndarray:
    """Rows of whole eights, and an even number of them."""
    outputs, values = weights.shape
    return np.pad(weights, ((0, outputs % 2), (0, -values % 8)))


def _conv(message: _Message, layer: Layer, call: Call) -> None:
    down, across = convolution.conv_slides(call)
    _product(message, layer, call, _weights(call), _window(call, down, across, call.outputs[0].shape[3]))


def _dense(message: _Message, layer: Layer, call: Call) -> None:
    outputs, inputs = _weights(call).shape
    rows = call.input(0).size // inputs
    window = (rows, 1, inputs, rows, 1, outputs, 1, 1, 1, 1, 1, 1, 0, 0)
    _product(message, layer, call, _weights(call), window)


def _product(message: _Message, layer: Layer, call: Call, weights: np.ndarray, window: tuple[int, ...]) -> None:
    weights = weights.reshape(len(weights), -1)
    *scaling, halves = _scaling(message, call, weights.astype(np.int64).sum(axis=1))
    packed = message.constant(_rows(weights))
    # What one pixel holds is read where it lies, if eights of it are aligned.
    direct = int(window[6:8] == (1, 1) and window[2] % 8 == 0 and not any(window[12:]))
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    steps, out = -(-weights.shape[1] // 8), call.outputs[0]
    tail = (packed, *scaling, steps, _zero(out), *_limits(call), _zero(call.input(0)), direct, halves)
    message.add(_PRODUCT, x, y, *window, *tail)


def _depthwise(message: _Message, layer: Layer, call: Call) -> None:
    down, across = convolution.conv_slides(call)
    weights, outputs = _weights(call), call.outputs[0].shape[3]
    *scaling, halves = _scaling(message, call, weights.astype(np.int64).sum(axis=(0, 1, 2)))
    packed, each = message.constant(weights), outputs // call.input(0).shape[3]
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    tail = (packed, *scaling, each, _zero(call.outputs[0]), *_limits(call), _zero(call.input(0)), 0, halves)
    message.add(_DEPTHWISE, x, y, *_window(call, down, across, outputs), *tail)


def _sum(message: _Message, layer: Layer, call: Call) -> None:
    how = elementwise.int8_sum(call, (_zero(call.input(0)), _zero(call.input(1))))
    bias = int(np.array(how.bias).astype(np.uint32).view(np.int32))
    places = [message.place(number) for number in (*layer.inputs[:2], layer.outputs[0])]
    out = call.outputs[0]
    message.add(_SUM, *places, out.size, how.first, how.second, bias, how.shift, _zero(out), *_limits(call))


def _pool(message: _Message, layer: Layer, call: Call) -> None:
    down, across = pool.pool_slides(call)
    window = _window(call, down, across, call.input(0).shape[3])
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    average = int(call.kind == "AVERAGE_POOL_2D")
    message.add(_POOL, x, y, *window, average, _offset(call.outputs[0]), *_limits(call))


def _mean(message: _Message, layer: Layer, call: Call) -> None:
    around = pool.mean_extent(call)
    assert around is not None, "`lacks` refuses others"
    by, x, y = pool.mean_multiplier(call), message.place(layer.inputs[0]), message.place(layer.outputs[0])
    tail = (_zero(call.input(0)), by.factor, by.shift, _zero(call.outputs[0]), *_limits(call))
    message.add(_MEAN, x, y, *around, *tail)


def _logistic(message: _Message, layer: Layer, call: Call) -> None:
    table = message.constant(_raised(activation.logistic_table(call), call.outputs[0]))
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    message.add(_LOOK_UP, x, y, call.outputs[0].size, table)


def _limited(message: _Message, layer: Layer, call: Call) -> None:
    least, most = activation.limits_of(call)
    table = message.constant(np.clip(np.arange(256), least + 128, most + 128).astype(np.uint8))
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    message.add(_LOOK_UP, x, y, call.outputs[0].size, table)


def _slopes(call: Call) -> np.ndarray | None:
    """The slopes of a PRELU about 0, one for each channel; None where there are others."""
    slopes, channels = call.input(1), call.input(0).shape[-1]
    if slopes.data is None or slopes.size not in (1, channels) or slopes.shape[-1:] not in ((1,), (channels,)):
        return None
    return np.broadcast_to(slopes.data.reshape(-1).astype(np.int32) - slopes.zero_point[0], (channels,))


def _sloped(message: _Message, layer: Layer, call: Call) -> None:
    slopes, (above, below) = _slopes(call), activation.prelu_steps(call)
    assert slopes is not None, "`lacks` refuses others"
    x, y, at = message.place(layer.inputs[0]), message.place(layer.outputs[0]), message.constant(slopes.astype("<i4"))
    channels, source, out = len(slopes), call.input(0), call.outputs[0]
    steps = (above.factor, above.left, above.right, below.factor, below.left, below.right)
    message.add(_SLOPE, x, y, out.size // channels, channels, at, _zero(source), *steps, _zero(out))


def _resize(message: _Message, layer: Layer, call: Call) -> None:
    _, _, width, channels = call.input(0).shape
    _, lines, columns, _ = call.outputs[0].shape
    places = []
    for axis, far in ((1, width * channels), (2, channels)):
        first, second, weights = shape.resize_weights(call, axis)
        table = np.stack([first * far, second * far, weights], axis=1)
        places.append(message.constant(table.astype("<i4")))
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    message.add(_RESIZE, x, y, lines, columns, channels, *places)


def _deep_to_wide(message: _Message, layer: Layer, call: Call) -> None:
    """A run of bytes for each line within a block and each pixel."""
    block, (_, height, width, depth) = call.number("block_size"), call.input(0).shape
    x, y, run = message.place(layer.inputs[0]), message.place(layer.outputs[0]), depth // block
    runs = ((height, width * depth, block * width * run), (block, run, width * run), (width, depth, run))
    message.move(x, y, runs, run)


def _softmax(message: _Message, layer: Layer, call: Call) -> None:
    powers = message.constant(activation.softmax_powers(call).astype("<i4"))
    length = call.input(0).shape[-1]
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    message.add(_SOFTMAX, x, y, call.input(0).size // length, length, powers)


def _requantise(message: _Message, layer: Layer, call: Call) -> None:
    by, source, out = quantise.requantisation(call), call.input(0), call.outputs[0]
    x, y = message.place(layer.inputs[0]), message.place(layer.outputs[0])
    message.add(_REQUANTISE, x, y, out.size, _zero(source), by.factor, by.shift, _zero(out), *_limits(call))


def _reshape(message: _Message, layer: Layer, _call: Call) -> None:
    message.alias(layer.outputs[0], layer.inputs[0])


def _join(message: _Message, layer: Layer, axis: int) -> None:
    out = message.graph.tensors[layer.outputs[0]]
    outer, total = math.prod(out.shape[:axis]), math.prod(out.shape[axis:])
    y = message.place(layer.outputs[0])
    for number in layer.inputs:
        length = message.graph.tensors[number].size // outer
        message.move(message.place(number), y, ((1, 0, 0), (1, 0, 0), (outer, length, total)), length)
        y += length


def _concat(message: _Message, layer: Layer, call: Call) -> None:
    _join(message, layer, shape.concat_axis(call))


def _pack(message: _Message, layer: Layer, call: Call) -> None:
    _join(message, layer, shape.pack_axis(call))


def _split(message: _Message, layer: Layer, call: Call) -> None:
    axis, sizes = shape.split_parts(call)
    whole, x = call.input(0).shape, message.place(layer.inputs[0])
    outer, total = math.prod(whole[:axis]), math.prod(whole[axis:])
    for number, size in zip(layer.outputs, sizes, strict=True):
        length = size * total // whole[axis]
        message.move(x, message.place(number), ((1, 0, 0), (1, 0, 0), (outer, total, length)), length)
        x += length


def _slice(message: _Message, layer: Layer, call: Call) -> None:
    first, axes = shape.slice_places(call)
    x = message.place(layer.inputs[0]) + first
    counts = [count for count, _ in axes]
    runs = [(count, far, math.prod(counts[axis + 1 :])) for axis, (count, far) in enumerate(axes)]
    message.move(x, message.place(layer.outputs[0]), runs[:3], counts[3], axes[3][1])


def _pad(message: _Message, layer: Layer, call: Call) -> None:
    out, y = call.outputs[0], message.place(layer.outputs[0])
    message.add(_FILL, y, out.size, _zero(out))
    rank = len(out.shape)
    sizes: Shape = (1,) * (4 - rank) + call.input(0).shape
    around: Shape = (1,) * (4 - rank) + out.shape
    before = (0,) * (4 - rank) + tuple(first for first, _ in shape.pads(call))
    strides = [math.prod(around[axis + 1 :]) for axis in range(4)]
    y += sum(first * stride for first, stride in zip(before, strides, strict=True))
    runs = [(sizes[axis], math.prod(sizes[axis + 1 :]), strides[axis]) for axis in range(3)]
    message.move(message.place(layer.inputs[0]), y, runs, sizes[3])


_LAYERS: dict[str, Callable[[_Message, Layer, Call], None]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "ADD": _sum,
    "SUB": _sum,
    "RELU": _limited,
    "RELU6": _limited,
    "PRELU": _sloped,
    "RESIZE_BILINEAR": _resize,
    "DEPTH_TO_SPACE": _deep_to_wide,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "LOGISTIC": _logistic,
    "SOFTMAX": _softmax,
    "QUANTIZE": _requantise,
    "RESHAPE": _reshape,
    "CONCATENATION": _concat,
    "PACK": _pack,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _slice,
    "PAD": _pad,
}

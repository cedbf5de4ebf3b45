"""From a graph of layers to kernel launches, a function a kind. No device here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from leo_backends.opencl.layer_places import GraphPlan, Layout, Place, extent, zero_of
from leo_backends.opencl.layer_tails import epilogue, limits_of, tail_of, whole_numbers, widened
from leo_backends.opencl.plans import Buffer, Family, constant
from leo_backends.opencl.tuning import Shape as TiledShape
from leo_runtime.layers import law
from leo_runtime.layers.graph import LayerGraph, Shape
from leo_runtime.layers.kinds import activation, convolution, elementwise, pool, quantise, shape
from leo_runtime.layers.kinds.clamping import LIMITS
from leo_runtime.layers.kinds.definition import Call, call_of
from leo_runtime.layers.kinds.padding import Slide

_EXACT = 1 << 24
"""Whole numbers up to here are float32 without error."""
_PAIRS = {"ADD": 0, "SUB": 1, "MUL": 2, "MAXIMUM": 3, "PRELU": 4}


def lacks(graph: LayerGraph) -> str | None:
    """What of a graph there are no kernels for, as a clause; None where there are for all."""
    for number in (*graph.inputs, *graph.outputs):
        if graph.tensors[number].dtype.name not in ("float32", "int8", "uint8"):
            return f"{graph.tensors[number].name} is {graph.tensors[number].dtype.name}"
    for tensor in graph.tensors:
        if tensor.size == 0:
            return f"{tensor.name} has no values"
    for layer in graph.layers:
        call = call_of(graph, layer)
        if layer.kind not in KERNELS:
            return f"{layer.kind} has no kernel"
        if (why := _layer_lacks(call)) is not None:
            return f"{layer.kind}: {why}"
    return None


_REAL = ("DEPTH_TO_SPACE", "PRELU", "RELU", "RELU6", "RESIZE_BILINEAR", "SUB")
"""Kinds that have kernels for float32 alone."""
_WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "DEPTH_TO_SPACE")


def _layer_lacks(call: Call) -> str | None:
    source, out = call.input(0), call.outputs[0]
    if any(one.dtype.name not in ("float32", "int8", "uint8") for one in (source, out)):
        return f"it takes {source.dtype.name}"
    if call.kind in _REAL and source.dtype != np.float32:
        return f"it takes {source.dtype.name}"
    if call.kind in _WINDOWED and source.shape[0] != 1:
        return f"it has {source.shape[0]} images at once"
    if call.kind in _PAIRS and not all(_repeats(call.input(i).shape, out.shape) for i in (0, 1)):
        return "its inputs have different shapes"
    if call.kind == "STRIDED_SLICE" and len(source.shape) > 4:
        return f"it has {len(source.shape)} axes"
    if call.kind == "PAD" and (len(source.shape) != 4 or any(shape.pads(call)[0]) or source.shape[0] != 1):
        return "it pads no image"
    if call.kind == "MEAN" and pool.mean_extent(call) is None:
        return f"its axes {pool.mean_axes(call)} do not follow each other"
    return None


def _repeats(one: Shape, out: Shape) -> bool:
    """Whether a tensor, repeated along its axes of length 1, has lines, pixels and channels as the output has."""
    one = (1,) * (len(out) - len(one)) + one
    return all(a in (1, b) for a, b in zip(extent(one), extent(out), strict=True))


def plan_graph(graph: LayerGraph, family: Family) -> GraphPlan:
    """The launches of a graph for which `lacks` found nothing. Raises `KernelError` for weights half cannot hold."""
    layout = Layout(graph, family)
    for index, layer in enumerate(graph.layers):
        if index not in layout.done:
            KERNELS[layer.kind](layout, index, call_of(graph, layer))
    for number in graph.outputs:
        layout.plan.outputs.append(layout.given(number))
    return layout.plan


def _conv(layout: Layout, index: int, call: Call) -> None:
    down, across = convolution.conv_slides(call)
    weights = call.input(1).data
    assert weights is not None
    x = layout.windowed(_input(layout, index), down, across)
    _product(layout, index, call, weights.astype(np.float32), x, down, across)


def _depthwise(layout: Layout, index: int, call: Call) -> None:
    down, across = convolution.conv_slides(call)
    weights = call.input(1).data
    assert weights is not None
    channels, outputs = call.input(0).shape[3], weights.shape[3]
    if channels != outputs or (call.quantised and _greatest_sum(call, weights.transpose(3, 1, 2, 0)) >= _EXACT):
        # A convolution with zeros for the channels that an output does not read.
        full = np.zeros((outputs, *weights.shape[1:3], channels), np.float32)
        every = np.arange(outputs)
        full[every, :, :, every // (outputs // channels)] = weights[0].transpose(2, 0, 1)
        x = layout.windowed(_input(layout, index), down, across)
        _product(layout, index, call, full, x, down, across)
        return
    x = layout.windowed(_input(layout, index), down, across)
    tail = tail_of(layout, index, call)
    groups = -(-channels // layout.vec)
    packed = widened(weights[0].astype(np.float32), groups * layout.vec)
    packed = packed.reshape(down.taps, across.taps, groups, layout.vec).transpose(2, 0, 1, 3)
    options_behind, behind = epilogue(layout, tail, call, groups)
    y = layout.new_aligned(tail.number)
    rows = min(4, across.count)
    options = (
        f"ROWS={rows}",
        f"TAPS_H={down.taps}",
        f"TAPS_W={across.taps}",
        f"STRIDE={across.stride}",
        f"DILATION={across.dilation}",
        f"HALF={int(_half(layout, call))}",
        *options_behind,
    )
    last = (-(-across.count // rows) * rows - 1) * across.stride + across.reach
    reach = x.first + ((down.count - 1) * down.stride + down.reach - 1) * x.line
    x.buffer.need(reach + last * x.step + groups * layout.vec)
    each = groups if layout.is_cpu else 1
    layout.launch(
        "depthwise",
        options,
        (-(-groups // each), down.count),
        *(x.buffer, x.first, x.line * down.stride, x.step, x.line * down.dilation),
        *(constant(packed, _half(layout, call)), _bias(layout, call, groups)),
        *(*y.arguments, across.count, each, groups),
        *behind,
    )


def _dense_layer(layout: Layout, index: int, call: Call) -> None:
    weights = call.input(1).data
    assert weights is not None
    outputs, inputs = weights.shape
    rows = call.input(0).size // inputs
    source = layout.dense(_input(layout, index))
    x = Place(source.buffer, source.first, rows * inputs, inputs)
    one = Slide(1, 1, 1, 1, 1, 0)
    along = Slide(rows, 1, 1, 1, rows, 0)
    _product(layout, index, call, weights.astype(np.float32).reshape(outputs, 1, 1, inputs), x, one, along)


def _product(layout: Layout, index: int, call: Call, weights: np.ndarray, x: Place, down: Slide, across: Slide) -> None:
    """A convolution of any kind, weights as (outputs, down, across, inputs)."""
    tail = tail_of(layout, index, call)
    outputs, taps, taps_across, inputs = weights.shape
    vectors = -(-outputs // layout.vec)
    segments, length = taps_across, inputs
    if across.dilation == 1 and x.step == inputs:
        segments, length = 1, taps_across * inputs
    options_behind, behind = epilogue(layout, tail, call, vectors)
    y = layout.new_aligned(tail.number)
    lines, width = down.count, across.count
    places = [x, y, *([layout.aligned(tail.other)] if tail.other is not None else [])]
    pointwise = taps == taps_across == down.stride == across.stride == 1
    if pointwise and all(place.line == width * place.step for place in places):
        lines, width = 1, lines * width
    tile = layout.family.tuning.tile("conv", TiledShape(lines * width, taps * taps_across * inputs, outputs))
    rows, cols = min(tile.rows, width), next(n for n in range(tile.cols, 0, -1) if vectors % n == 0)
    tiles, groups = -(-width // rows), vectors // cols
    packed = np.zeros((vectors * layout.vec, taps, segments, length), np.float32)
    packed[:outputs] = weights.reshape(outputs, taps, segments, length)
    packed = packed.reshape(groups, cols * layout.vec, taps, segments, length).transpose(0, 2, 3, 4, 1)
    last = (tiles * rows - 1) * across.stride * x.step + (segments - 1) * across.dilation * x.step + length
    x.buffer.need(x.first + ((lines - 1) * down.stride + (taps - 1) * down.dilation) * x.line + last)
    wide = call.quantised and _greatest_sum(call, weights) >= _EXACT
    options = (
        f"ROWS={rows}",
        f"COLS={cols}",
        f"HALF={int(_half(layout, call))}",
        f"WIDE={int(wide)}",
        *options_behind,
    )
    # On a CPU a work-item takes its pixels to all outputs: they are still in its cache.
    each = groups if layout.is_cpu else 1
    layout.launch(
        "conv",
        options,
        (tiles * -(-groups // each), lines),
        *(x.buffer, x.first, x.line * down.stride, x.step * across.stride),
        *(x.line * down.dilation, x.step * across.dilation, taps, segments, length),
        *(constant(packed, _half(layout, call)), _bias(layout, call, vectors)),
        *(*y.arguments, width, groups, each),
        *behind,
    )


def _half(layout: Layout, call: Call) -> bool:
    """Whether weights are halved: those of int8 are exact as they are."""
    return layout.family.half and not call.quantised


def _bias(layout: Layout, call: Call, groups: int) -> Buffer:
    bias = call.optional(2)
    if call.quantised or bias is None or bias.data is None:
        return layout.none if call.quantised else constant(np.zeros(groups * layout.vec))
    return constant(widened(bias.data, groups * layout.vec))


def _input(layout: Layout, index: int, which: int = 0) -> int:
    return layout.graph.layers[index].inputs[which]


def _output(layout: Layout, index: int) -> int:
    return layout.graph.layers[index].outputs[0]


def _pair(layout: Layout, index: int, call: Call) -> None:
    out = call.outputs[0]
    lines, width, channels = extent(out.shape)
    numbers = [_input(layout, index, 0), _input(layout, index, 1)]
    # Both as they lie aligned: vectors of them have their channels at the same lanes.
    places = [_repeated(layout, number, out.shape) for number in numbers]
    splat = next((2 - i for i, number in enumerate(numbers) if _channels(layout, number) == 1 < channels), 0)
    least, most, times = *limits_of(call), (0, 0, 0)
    if call.quantised:
        how = elementwise.int8_addition(call)
        times = (how.first, how.second, how.shift)
    y = layout.new_aligned(_output(layout, index))
    options = (f"PAIRS={_PAIRS[call.kind]}", f"SPLAT={splat}", f"WHOLE={int(call.quantised)}")
    heads = (*places[0].arguments, *places[1].arguments, *y.arguments)
    groups = -(-channels // layout.vec)
    layout.launch("pairs", options, layout.pixels(width, lines), *heads, width, groups, channels, least, most, *times)


def _channels(layout: Layout, number: int) -> int:
    return extent(layout.graph.tensors[number].shape)[2]


def _repeated(layout: Layout, number: int, out: Shape) -> Place:
    """A place whose lines and pixels are repeated where a tensor has one of them."""
    place, own = layout.aligned(number), layout.graph.tensors[number].shape
    lines, width, _ = extent((1,) * (len(out) - len(own)) + own)
    # What has fewer axes than the output may be several of its lines.
    line = place.line if len(own) == len(out) else width * place.step
    return Place(place.buffer, place.first, line if lines > 1 else 0, place.step if width > 1 else 0)


def _alone(layout: Layout, index: int, call: Call) -> None:
    lines, width, channels = extent(call.outputs[0].shape)
    x = layout.anywhere(_input(layout, index))
    y = layout.new_aligned(_output(layout, index))
    how, slope, factor, shift, table, offset = 0, 0.0, 0, 1, layout.none, 0
    least, most = limits_of(call)
    source, out = call.input(0), call.outputs[0]
    match call.kind:
        case "RELU" | "RELU6":
            least, most = LIMITS[call.kind]
        case "LEAKY_RELU":
            how, slope = 1, call.real("alpha")
        case "LOGISTIC" if call.quantised:
            how, offset = 7, source.zero_point[0] + 128
            table = constant(activation.logistic_table(call).astype(np.float32) - out.zero_point[0])
        case "LOGISTIC":
            how = 2
        case "HARD_SWISH":
            how = 3
        case "DEQUANTIZE":
            how, slope = 4, float(np.float32(source.scale[0]))
        case "QUANTIZE" if source.scale:
            by = quantise.requantisation(call)
            how, factor, shift = 6, by.factor, by.shift
        case "QUANTIZE":
            how, slope = 5, float(np.float32(1) / np.float32(out.scale[0]))
    head = (*x.arguments, *y.arguments, width, channels, least, most, slope)
    layout.launch("alone", (f"ALONE={how}",), layout.pixels(width, lines), *head, table, offset, factor, shift)


def _pool(layout: Layout, index: int, call: Call) -> None:
    down, across = pool.pool_slides(call)
    x = layout.aligned(_input(layout, index))
    y = layout.new_aligned(_output(layout, index))
    average = call.kind == "AVERAGE_POOL_2D"
    taps = (down.length, across.length, down.taps, across.taps)
    windows = (*taps, down.stride, across.stride, down.before, across.before)
    options = (f"POOL={int(average)}", f"WHOLE={int(call.quantised)}")
    size = (-(-call.input(0).shape[3] // layout.vec), down.count)
    zero = zero_of(call.outputs[0])
    layout.launch("pool", options, size, *x.arguments, *windows, *y.arguments, across.count, *limits_of(call), zero)


def _mean(layout: Layout, index: int, call: Call) -> None:
    extents = pool.mean_extent(call)
    assert extents is not None, "`lacks` refuses others"
    outer, count, inner = extents
    x, y = layout.dense(_input(layout, index)), layout.new_dense(_output(layout, index))
    by = pool.mean_multiplier(call) if call.quantised else law.Multiplier(0, 1)
    tail = (count, inner, by.factor, by.shift, *limits_of(call))
    if x.first:
        x = layout.at_front(x, call.input(0).size)
    layout.launch("mean", (f"WHOLE={int(call.quantised)}",), (inner, outer), x.buffer, y.buffer, *tail)


def _softmax(layout: Layout, index: int, call: Call) -> None:
    x, y = layout.dense(_input(layout, index)), layout.new_dense(_output(layout, index))
    length = call.input(0).shape[-1]
    table = whole_numbers(activation.softmax_powers(call)) if call.quantised else layout.none
    if x.first:
        x = layout.at_front(x, call.input(0).size)
    size = (call.input(0).size // length, 1)
    options = (f"WHOLE={int(call.quantised)}",)
    layout.launch("softmax", options, size, x.buffer, y.buffer, length, call.real("beta"), table)


def _reshape(layout: Layout, index: int, _call: Call) -> None:
    source = layout.dense(_input(layout, index))
    layout.set_dense(_output(layout, index), source.buffer, source.first)


def _concat(layout: Layout, index: int, call: Call) -> None:
    layer = layout.graph.layers[index]
    axis = shape.concat_axis(call)
    if axis == 3 and call.outputs[0].shape[0] == 1 and len(call.outputs[0].shape) == 4:
        y, done = layout.new_aligned(_output(layout, index)), 0
        for number in layer.inputs:
            lines, width, channels = extent(layout.graph.tensors[number].shape)
            to = Place(y.buffer, y.first + done, y.line, y.step)
            layout.move_pixels(layout.anywhere(number), to, lines, width, channels)
            done += channels
    else:
        _join(layout, index, layer.inputs, axis)


def _pack(layout: Layout, index: int, call: Call) -> None:
    _join(layout, index, layout.graph.layers[index].inputs, shape.pack_axis(call))


def _join(layout: Layout, index: int, numbers: Sequence[int], axis: int) -> None:
    """Tensors put together along an axis of what comes out, densely."""
    out = layout.graph.tensors[_output(layout, index)]
    outer, total = math.prod(out.shape[:axis]), math.prod(out.shape[axis:])
    y, done = layout.new_dense(_output(layout, index)), 0
    for number in numbers:
        length = layout.graph.tensors[number].size // outer
        part = layout.dense(number)
        if part.buffer is not y.buffer:
            to = Place(y.buffer, done, 0, 0)
            layout.move(part, to, ((1, 0, 0), (1, 0, 0), (outer, length, total)), length)
        done += length


def _split(layout: Layout, index: int, call: Call) -> None:
    axis, sizes = shape.split_parts(call)
    x, whole = layout.dense(_input(layout, index)), call.input(0)
    outer, total, done = math.prod(whole.shape[:axis]), math.prod(whole.shape[axis:]), 0
    for number, size in zip(layout.graph.layers[index].outputs, sizes, strict=True):
        length = size * total // whole.shape[axis]
        source = Place(x.buffer, x.first + done, 0, 0)
        y = layout.new_dense(number)
        if length:
            layout.move(source, y, ((1, 0, 0), (1, 0, 0), (outer, total, length)), length)
        done += length


def _slice(layout: Layout, index: int, call: Call) -> None:
    first, axes = shape.slice_places(call)
    x, y = layout.dense(_input(layout, index)), layout.new_dense(_output(layout, index))
    counts = [count for count, _ in axes]
    steps = [math.prod(counts[axis + 1 :]) for axis in range(4)]
    runs = [(count, far, step) for (count, far), step in zip(axes, steps, strict=True)]
    if math.prod(counts):
        source = Place(x.buffer, x.first + first, 0, 0)
        layout.move(source, y, runs[:3], counts[3], (axes[3][1], 1))


def _depth_to_space(layout: Layout, index: int, call: Call) -> None:
    block, (_, height, width, depth) = call.number("block_size"), call.input(0).shape
    run = depth // block
    x, y = layout.dense(_input(layout, index)), layout.new_dense(_output(layout, index))
    runs = ((height, width * depth, block * width * run), (block, run, width * run), (width, depth, run))
    layout.move(x, y, runs, run)


def _resize(layout: Layout, index: int, call: Call) -> None:
    taps = [shape.resize_taps(call, axis) for axis in (1, 2)]
    x = layout.aligned(_input(layout, index))
    y = layout.new_aligned(_output(layout, index))
    tables: list[Buffer] = []
    for near, far, weights in taps:
        tables += [whole_numbers(np.stack([near, far], axis=1)), constant(weights)]
    lines, width, channels = extent(call.outputs[0].shape)
    size = layout.pixels(width, lines)
    layout.launch("resize", (), size, *x.arguments, *tables, *y.arguments, width, -(-channels // layout.vec))


def _greatest_sum(call: Call, weights: np.ndarray) -> float:
    """The most that a sum of an int8 layer's products comes to on the way."""
    zero = call.input(0).zero_point[0]
    return float(np.abs(weights).reshape(len(weights), -1).sum(axis=1).max() * max(127 - zero, zero + 128))


KERNELS: dict[str, Callable[[Layout, int, Call], None]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense_layer,
    **dict.fromkeys(_PAIRS, _pair),
    **dict.fromkeys(("LOGISTIC", "RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "QUANTIZE", "DEQUANTIZE"), _alone),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    "MEAN": _mean,
    "SOFTMAX": _softmax,
    "RESHAPE": _reshape,
    "CONCATENATION": _concat,
    "PACK": _pack,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _slice,
    "DEPTH_TO_SPACE": _depth_to_space,
    "RESIZE_BILINEAR": _resize,
    # It is the margin of what it reads, or written where it is first asked for.
    "PAD": lambda _layout, _index, _call: None,
}

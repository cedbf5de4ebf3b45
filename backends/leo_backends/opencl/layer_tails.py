"""What follows a product value by value, done before it is written: an activation, a residual, an activation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from leo_backends.opencl.layer_places import Layout, Place
from leo_backends.opencl.plans import Buffer, constant
from leo_runtime.layers.graph import Layer
from leo_runtime.layers.kinds import convolution, elementwise, shape
from leo_runtime.layers.kinds.clamping import LIMITS, int8_limits
from leo_runtime.layers.kinds.definition import Call, call_of

_UNLIMITED = (-math.inf, math.inf)
_NOTHING, _LIMITED, _SLOPED = 0, 1, 2
"""What is done to a sum, as the kernels number it."""


@dataclass(frozen=True, slots=True)
class Activation:
    """What is done to a value: limits, or a slope below 0."""

    how: int = _NOTHING
    limits: tuple[float, float] = _UNLIMITED
    slopes: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows a product in the same launch."""

    number: int
    """The tensor that is written."""
    before: Activation
    other: int | None = None
    """The tensor of the residual."""
    after: Activation = Activation()
    times: tuple[int, int, int] = (0, 0, 0)
    """Of int8: the sum's own factor, the residual's, and by how much their sum is shifted."""


def tail_of(layout: Layout, index: int, call: Call) -> Tail:
    """The layers behind a product that are done with it. They are then done."""
    number = layout.graph.layers[index].outputs[0]
    before, number = _with_activation(layout, number, _own_activation(call), call.quantised)
    reader = layout.only_reader(number)
    if reader is None or layout.graph.layers[reader].kind != "ADD":
        return Tail(number, before)
    add = layout.graph.layers[reader]
    other = add.inputs[1] if add.inputs[0] == number else add.inputs[0]
    tensors = layout.graph.tensors
    source = _residual_source(layout, other, reader)
    if other == number or source is None or tensors[other].shape != tensors[number].shape:
        return Tail(number, before)
    layout.done.add(reader)
    added = call_of(layout.graph, add)
    times = (0, 0, 0)
    if call.quantised:
        how = elementwise.int8_addition(added)
        first_is_own = add.inputs[0] == number
        times = (how.first, how.second, how.shift) if first_is_own else (how.second, how.first, how.shift)
    after, number = _with_activation(layout, add.outputs[0], _own_activation(added), call.quantised)
    return Tail(number, before, source, after, times)


def _residual_source(layout: Layout, other: int, reader: int) -> int | None:
    """The tensor that a residual is read from, which is there already; None where it is not.

    Channels of zeros behind those of another are not written: they are its padding.
    """
    layer = layout.pad_of(other)
    if layer is not None and layout.readers[other] == [reader] and other not in layout.graph.outputs:
        pads = shape.pads(call_of(layout.graph, layer))
        if not any(map(any, pads[:3])) and not pads[3][0] and layout.is_there(layer.inputs[0]):
            return layer.inputs[0]
    return other if layout.is_there(other) else None


def _with_activation(layout: Layout, number: int, own: Activation, quantised: bool) -> tuple[Activation, int]:
    """The activation that follows a layer's own, where that has none; and the tensor that is then given."""
    reader = layout.only_reader(number)
    if own.how != _NOTHING or quantised or reader is None:
        return own, number
    layer = layout.graph.layers[reader]
    found = _fusible(layout, layer, number)
    if found is None:
        return own, number
    layout.done.add(reader)
    return found, layer.outputs[0]


def _fusible(layout: Layout, layer: Layer, number: int) -> Activation | None:
    channels = layout.graph.tensors[number].shape[-1]
    call = call_of(layout.graph, layer)
    match layer.kind:
        case "RELU" | "RELU6":
            return Activation(_LIMITED, LIMITS[layer.kind])
        case "LEAKY_RELU":
            return Activation(_SLOPED, slopes=np.full(channels, call.real("alpha")))
        case "PRELU" if layer.inputs[0] == number:
            slopes = call.input(1).data
            if slopes is not None and slopes.size in (1, channels) and slopes.shape[-1:] == (slopes.size,):
                return Activation(_SLOPED, slopes=np.broadcast_to(slopes.reshape(-1), channels))
    return None


def epilogue(
    layout: Layout, tail: Tail, call: Call, groups: int
) -> tuple[tuple[str, ...], tuple[Buffer | int | float, ...]]:
    """The options of a launch for what follows its sums, and the arguments."""
    width = groups * layout.vec
    options = [f"BEFORE={tail.before.how}", f"AFTER={tail.after.how}", f"RESIDUAL={int(tail.other is not None)}"]
    arguments: list[Buffer | int | float] = []
    if call.quantised:
        options.append("WHOLE=1")
        channels = call.outputs[0].shape[-1]
        scales = convolution.multipliers(call)
        scales = scales if len(scales) == channels else scales * channels
        bias = call.optional(2)
        whole = np.zeros(channels, np.int32) if bias is None or bias.data is None else bias.data
        factors, shifts = np.array([[one.factor, one.shift] for one in scales], np.int32).T
        arguments += [whole_numbers(widened(whole, width)), whole_numbers(widened(factors, width))]
        arguments.append(whole_numbers(widened(shifts, width, 1)))
    other, groups_there = Place(layout.none, 0, 0, 0), 0
    if tail.other is not None:
        other = layout.aligned(tail.other)
        groups_there = -(-layout.graph.tensors[tail.other].shape[-1] // layout.vec)
    arguments += [_slopes(layout, tail.before, width), *tail.before.limits, *other.arguments, groups_there]
    arguments += [_slopes(layout, tail.after, width), *tail.after.limits, *tail.times]
    return tuple(options), tuple(arguments)


def _slopes(layout: Layout, activation: Activation, width: int) -> Buffer:
    return layout.none if activation.slopes is None else constant(widened(activation.slopes, width))


def _own_activation(call: Call) -> Activation:
    """The activation that a layer has fused; of int8 the range of its type, too."""
    limits = limits_of(call)
    return Activation(_NOTHING if limits == _UNLIMITED else _LIMITED, limits)


def limits_of(call: Call) -> tuple[float, float]:
    """The least and the greatest that a layer gives, of integers less their zero point."""
    out = call.outputs[0]
    fused = call.options.get("fused_activation_function", "NONE")
    assert isinstance(fused, str)
    if not out.scale:
        return LIMITS[fused]
    if out.dtype == np.uint8:
        least, most = 0, 255
    else:
        least, most = int8_limits(call) if "fused_activation_function" in call.options else (-128, 127)
    return float(least - out.zero_point[0]), float(most - out.zero_point[0])


def widened(array: np.ndarray, width: int, fill: float = 0) -> np.ndarray:
    """An array whose last axis is as long, filled up."""
    pads = [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])]
    return np.pad(array, pads, constant_values=fill)


def whole_numbers(array: np.ndarray) -> Buffer:
    """Constants of int32."""
    return Buffer(array.size, np.ascontiguousarray(array, np.int32))

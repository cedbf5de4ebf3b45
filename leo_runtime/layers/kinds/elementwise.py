"""Layers of two inputs, value by value; an axis of length 1 is repeated along the other input's."""

from __future__ import annotations

import numpy as np

from leo_runtime.layers import law
from leo_runtime.layers.graph import Shape
from leo_runtime.layers.kinds.clamping import activated, int8_limits, refused_activation
from leo_runtime.layers.kinds.definition import BOTH, FLOAT, Arrays, Call, LayerKind, OptionField, fused
from leo_runtime.layers.kinds.values import one_per_value, pair_of, require_one_type


def _shape(call: Call) -> tuple[Shape, ...]:
    require_one_type(call)
    return (np.broadcast_shapes(call.input(0).shape, call.input(1).shape),)


def int8_addition(call: Call) -> law.Addition:
    """How an int8 ADD or SUB adds. Raises `ValueError`."""
    return int8_sum(call, (call.input(0).zero_point[0], call.input(1).zero_point[0]))


def int8_sum(call: Call, zeros: tuple[int, int]) -> law.Addition:
    """The same of inputs that are held about these zero points. Raises `ValueError`."""
    out = call.outputs[0].scale[0]
    first, second = (law.ratio(call.input(index).scale[0], out=out) for index in (0, 1))
    return law.addition(first, second, zeros, subtracts=call.kind == "SUB")


def _sum(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    first, second = pair_of(arrays)
    if not call.quantised:
        return (activated(call, first + second if call.kind == "ADD" else first - second),)
    how = int8_addition(call)
    sums = first.astype(np.int64) * how.first + second.astype(np.int64) * how.second + how.bias
    return (law.to_int8(sums >> how.shift, call.outputs[0].zero_point[0], *int8_limits(call)),)


def _sum_refuses(call: Call) -> str | None:
    if call.quantised:
        int8_addition(call)
    return refused_activation(call)


def _multiply(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    first, second = pair_of(arrays)
    return (activated(call, first * second),)


def _maximum(_call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    return (np.maximum(*pair_of(arrays)),)


KINDS = (
    LayerKind(
        name="ADD",
        code=0,
        options_table=11,
        options=(fused(0), OptionField("pot_scale_int16", 1, "?", True)),
        inputs=(2, 2),
        types=BOTH,
        shapes=_shape,
        compute=_sum,
        macs=one_per_value,
        refuses=_sum_refuses,
    ),
    LayerKind(
        name="MUL",
        code=18,
        options_table=21,
        options=(fused(0),),
        inputs=(2, 2),
        types=FLOAT,
        shapes=_shape,
        compute=_multiply,
        macs=one_per_value,
        refuses=refused_activation,
    ),
    LayerKind(
        name="SUB",
        code=41,
        options_table=28,
        options=(fused(0), OptionField("pot_scale_int16", 1, "?", True)),
        inputs=(2, 2),
        types=BOTH,
        shapes=_shape,
        compute=_sum,
        macs=one_per_value,
        refuses=_sum_refuses,
    ),
    LayerKind(
        name="MAXIMUM",
        code=55,
        options_table=39,
        options=(),
        inputs=(2, 2),
        types=FLOAT,
        shapes=_shape,
        compute=_maximum,
        macs=one_per_value,
    ),
)

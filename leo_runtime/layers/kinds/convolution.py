"""Layers of products: convolutions, depthwise convolutions and dense layers.

Weights lie as in TensorFlow Lite: (outputs, height, width, inputs) of a convolution, (1, height, width, outputs) of a
depthwise one, (outputs, inputs) of a dense layer. Sums of float32 are the nearest there are: added in float64, then
rounded once.
"""

from __future__ import annotations

import math

import numpy as np

from leo_runtime.layers import law
from leo_runtime.layers.graph import Shape, Tensor
from leo_runtime.layers.kinds.clamping import activated, int8_limits, refused_activation
from leo_runtime.layers.kinds.definition import BOTH, PADDING, Arrays, Call, LayerKind, OptionField, fused
from leo_runtime.layers.kinds.padding import Slide, slides, windows
from leo_runtime.layers.kinds.values import pair_of

_STRIDES = (OptionField("stride_w", 1, "i", 0), OptionField("stride_h", 2, "i", 0))


def conv_slides(call: Call) -> tuple[Slide, Slide]:
    """The windows of a convolution, depthwise or not, down and across."""
    height, width = call.input(1).shape[1:3]
    return slides(call, (height, width), (call.number("dilation_h_factor"), call.number("dilation_w_factor")))


def multipliers(call: Call) -> tuple[law.Multiplier, ...]:
    """Those of an int8 layer of products: one, or one for each channel of its output. Raises `ValueError`."""
    (scale,), (out,) = call.input(0).scale, call.outputs[0].scale
    return law.multipliers(law.ratios(scale, call.input(1).scale, out))


def _refuses(call: Call) -> str | None:
    weights = call.input(1)
    if (bias := call.optional(2)) is not None and bias.data is None:
        return "its bias is no constant"
    if weights.data is None:
        return "its weights are no constants"
    outputs = weights.shape[3 if call.kind == "DEPTHWISE_CONV_2D" else 0]
    if weights.dtype != call.input(0).dtype:
        hybrid = ", as dynamic-range quantisation leaves them" if call.input(0).dtype == np.float32 else ""
        return f"its weights are of {weights.dtype.name} and its input is of {call.input(0).dtype.name}{hybrid}"
    if bias is not None and bias.dtype != (np.int32 if call.quantised else np.float32):
        return f"its bias is of {bias.dtype.name}"
    if bias is not None and bias.size != outputs:
        return f"its bias has {bias.size} values for {outputs} outputs"
    if not call.quantised:
        return "its weights are quantised and its output is not" if weights.scale else refused_activation(call)
    if any(weights.zero_point):
        return "the zero point of its weights is not 0"
    if len(weights.scale) not in (1, outputs):
        return f"it has {len(weights.scale)} scales for {outputs} outputs"
    if _greatest_sum(call) >= 2**31:
        return "its sums may not fit into 32 bits"
    multipliers(call)
    return refused_activation(call)


def _greatest_sum(call: Call) -> int:
    """The most that an int8 layer's sum of products and bias can come to, about 0."""
    weights, bias, zero = call.input(1).data, call.optional(2), call.input(0).zero_point[0]
    assert weights is not None
    others = (0, 1, 2) if call.kind == "DEPTHWISE_CONV_2D" else tuple(range(1, weights.ndim))
    sums = np.abs(weights, dtype=np.int64).sum(axis=others) * max(127 - zero, zero + 128)
    biases = 0 if bias is None or bias.data is None else np.abs(bias.data.reshape(-1).astype(np.int64))
    return int((sums + biases).max(initial=0))


def _finished(call: Call, sums: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """What a layer gives for the sums of its products in float64."""
    if not call.quantised:
        return (activated(call, (sums if bias is None else sums + bias).astype(np.float32)),)
    whole = sums.astype(np.int64) + (0 if bias is None else bias.astype(np.int64))
    return (law.to_int8(law.scaled(whole, multipliers(call)), call.outputs[0].zero_point[0], *int8_limits(call)),)


def _operand(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """Values about 0 in float64, which holds all sums of products of int8 exactly."""
    return values.astype(np.float64) - (tensor.zero_point[0] if tensor.scale else 0)


def _conv_shape(call: Call) -> tuple[Shape, ...]:
    down, across = conv_slides(call)
    images, weights = call.input(0).shape, call.input(1).shape
    if weights[3] != images[3]:
        raise ValueError(f"its weights are for {weights[3]} channels, its input has {images[3]}")
    return ((images[0], down.count, across.count, weights[0]),)


def _conv(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    images, weights = _pair(call, arrays)
    view = windows(images, *conv_slides(call), fill=0.0)
    sums = view.reshape(*view.shape[:3], -1) @ weights.reshape(weights.shape[0], -1).T
    return _finished(call, sums, _bias(arrays))


def _conv_macs(call: Call) -> int:
    return math.prod(call.outputs[0].shape) * math.prod(call.input(1).shape[1:])


def _depthwise_shape(call: Call) -> tuple[Shape, ...]:
    down, across = conv_slides(call)
    images, weights = call.input(0).shape, call.input(1).shape
    if weights[0] != 1 or images[3] < 1 or weights[3] % images[3]:
        raise ValueError(f"its weights of {weights} do not fit {images[3]} channels")
    return ((images[0], down.count, across.count, weights[3]),)


def _depthwise(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    images, weights = _pair(call, arrays)
    # Output channel c reads input channel c // depth multiplier.
    images = np.repeat(images, weights.shape[3] // images.shape[3], axis=3)
    sums = np.einsum("nyxhwc,hwc->nyxc", windows(images, *conv_slides(call), fill=0.0), weights[0])
    return _finished(call, sums, _bias(arrays))


def _depthwise_macs(call: Call) -> int:
    return math.prod(call.outputs[0].shape) * math.prod(call.input(1).shape[1:3])


def _dense_shape(call: Call) -> tuple[Shape, ...]:
    shape, (outputs, inputs) = call.input(0).shape, call.input(1).shape
    if call.options["keep_num_dims"]:
        if shape[-1] != inputs:
            raise ValueError(f"its weights are for {inputs} values, its input has {shape[-1]}")
        return ((*shape[:-1], outputs),)
    if inputs < 1 or math.prod(shape) % inputs:
        raise ValueError(f"its weights are for {inputs} values, its input has {math.prod(shape)}")
    return ((math.prod(shape) // inputs, outputs),)


def _dense(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    rows, weights = _pair(call, arrays)
    sums = rows.reshape(-1, weights.shape[1]) @ weights.T
    return _finished(call, sums.reshape(_dense_shape(call)[0]), _bias(arrays))


def _dense_macs(call: Call) -> int:
    return math.prod(call.outputs[0].shape) * call.input(1).shape[1]


def _dense_refuses(call: Call) -> str | None:
    if call.choice("weights_format") != "DEFAULT":
        return "its weights are shuffled"
    return _refuses(call)


def _pair(call: Call, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    first, second = pair_of(arrays)
    return _operand(call.input(0), first), second.astype(np.float64)


def _bias(arrays: Arrays) -> np.ndarray | None:
    return arrays[2] if len(arrays) > 2 else None


KINDS = (
    LayerKind(
        name="CONV_2D",
        code=3,
        options_table=1,
        options=(
            PADDING,
            *_STRIDES,
            fused(3),
            OptionField("dilation_w_factor", 4, "i", 1),
            OptionField("dilation_h_factor", 5, "i", 1),
        ),
        inputs=(2, 3),
        types=BOTH,
        shapes=_conv_shape,
        compute=_conv,
        macs=_conv_macs,
        refuses=_refuses,
        is_heavy=True,
    ),
    LayerKind(
        name="DEPTHWISE_CONV_2D",
        code=4,
        options_table=2,
        options=(
            PADDING,
            *_STRIDES,
            OptionField("depth_multiplier", 3, "i", 0),
            fused(4),
            OptionField("dilation_w_factor", 5, "i", 1),
            OptionField("dilation_h_factor", 6, "i", 1),
        ),
        inputs=(2, 3),
        types=BOTH,
        shapes=_depthwise_shape,
        compute=_depthwise,
        macs=_depthwise_macs,
        refuses=_refuses,
        is_heavy=True,
    ),
    LayerKind(
        name="FULLY_CONNECTED",
        code=9,
        options_table=8,
        options=(
            fused(0),
            OptionField("weights_format", 1, "b", "DEFAULT", ("DEFAULT", "SHUFFLED4x16INT8")),
            OptionField("keep_num_dims", 2, "?", False),
            OptionField("asymmetric_quantize_inputs", 3, "?", False),
        ),
        inputs=(2, 3),
        types=BOTH,
        shapes=_dense_shape,
        compute=_dense,
        macs=_dense_macs,
        refuses=_dense_refuses,
        is_heavy=True,
    ),
)

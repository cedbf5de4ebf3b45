"""Layers between reals and the integers that stand for them."""

from __future__ import annotations

import numpy as np

from leo_runtime.layers import law
from leo_runtime.layers.kinds.definition import Arrays, Call, LayerKind
from leo_runtime.layers.kinds.values import first_of, one_per_value, same_shape

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def requantisation(call: Call) -> law.Multiplier:
    """What integers are scaled by that get another scale: as XNNPACK has it, in 1/256. Raises `ValueError`.

    Beyond what that takes, as by an interpreter's own kernels (https://github.com/google/XNNPACK/blob/master/src/
    microparams-init.c, `xnn_init_qs8_cvt_scalar_params`).
    """
    ratio = law.ratio(call.input(0).scale[0], out=call.outputs[0].scale[0])
    return law.Multiplier(round(256 * ratio), 8) if 2.0**-8 <= ratio <= 2.0**7 else law.multiplier(ratio)


def _quantise(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    """Reals to the nearest, halves to even, as XNNPACK; integers of another scale rounded once, halves upwards."""
    values, out = first_of(arrays), call.outputs[0]
    if not call.input(0).scale:
        whole = np.rint(values * (np.float32(1) / np.float32(out.scale[0])))
    else:
        whole = law.scaled(values.astype(np.int64) - call.input(0).zero_point[0], [requantisation(call)])
    return (np.clip(whole + out.zero_point[0], *_RANGES[out.dtype.name]).astype(out.dtype),)


def _quantise_refuses(call: Call) -> str | None:
    source, out = call.input(0), call.outputs[0]
    if out.dtype.name not in _RANGES:
        return f"it gives {out.dtype.name}"
    if len(out.scale) != 1 or (source.dtype != np.float32 and len(source.scale) != 1):
        return "it has not one scale"
    if source.scale:
        requantisation(call)
    return None


def _dequantise(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    values, source = first_of(arrays), call.input(0)
    if not source.scale:
        return (values.astype(np.float32),)
    whole = values.astype(np.int32) - source.zero_point[0]
    return (whole.astype(np.float32) * np.float32(source.scale[0]),)


def _dequantise_refuses(call: Call) -> str | None:
    source, out = call.input(0), call.outputs[0]
    if out.dtype != np.float32:
        return f"it gives {out.dtype.name}"
    return None if len(source.scale) == (0 if source.dtype == np.float16 else 1) else "it has not one scale"


KINDS = (
    LayerKind(
        name="DEQUANTIZE",
        code=6,
        options_table=38,
        options=(),
        inputs=(1, 1),
        types=("int8", "uint8", "float16"),
        shapes=same_shape,
        compute=_dequantise,
        keeps_type=False,
        macs=one_per_value,
        refuses=_dequantise_refuses,
    ),
    LayerKind(
        name="QUANTIZE",
        code=114,
        options_table=89,
        options=(),
        inputs=(1, 1),
        types=("float32", "int8", "uint8"),
        shapes=same_shape,
        compute=_quantise,
        keeps_type=False,
        macs=one_per_value,
        refuses=_quantise_refuses,
    ),
)

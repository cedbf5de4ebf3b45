"""The activation that a layer has fused: limits of what it gives."""

from __future__ import annotations

import numpy as np

from leo_runtime.layers.graph import Tensor
from leo_runtime.layers.kinds.definition import Call

LIMITS: dict[str, tuple[float, float]] = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}
"""The least and the greatest value of the activations that are limits; the others are refused."""


def refused_activation(call: Call) -> str | None:
    """Why the activation of a layer is not computed; None where it is."""
    name = call.choice("fused_activation_function")
    return None if name in LIMITS else f"it has the activation {name}"


def activated(call: Call, values: np.ndarray) -> np.ndarray:
    """Values within the limits of the layer's activation."""
    least, greatest = LIMITS[call.choice("fused_activation_function")]
    return values if (least, greatest) == LIMITS["NONE"] else np.clip(values, np.float32(least), np.float32(greatest))


def int8_limits(call: Call) -> tuple[int, int]:
    """The limits of the layer's activation as values of its int8 output."""
    least, greatest = LIMITS[call.choice("fused_activation_function")]
    return stored_limit(least, call.outputs[0]), stored_limit(greatest, call.outputs[0])


def stored_limit(real: float, tensor: Tensor) -> int:
    """A limit, which may be infinite, as a value of an int8 tensor."""
    if np.isinf(real):
        return -128 if real < 0 else 127
    return int(np.clip(np.rint(np.float32(real) / np.float32(tensor.scale[0])) + tensor.zero_point[0], -128, 127))

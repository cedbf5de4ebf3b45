"""What several families ask of a layer's inputs and outputs."""

from __future__ import annotations

import numpy as np

from leo_runtime.layers.graph import Shape, Tensor
from leo_runtime.layers.kinds.definition import Arrays, Call


def first_of(arrays: Arrays) -> np.ndarray:
    """The values of the first input."""
    first = arrays[0]
    assert first is not None, "its kind has at least one input"
    return first


def pair_of(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """The values of the first two inputs."""
    first, second = arrays[:2]
    assert first is not None and second is not None, "its kind has at least two inputs"
    return first, second


def constant(call: Call, index: int) -> np.ndarray:
    """The values of an input that is a constant. Raises `ValueError` where it is none."""
    data = call.input(index).data
    if data is None:
        raise ValueError(f"its input {index} is no constant")
    return data


def same_shape(call: Call) -> tuple[Shape, ...]:
    """One output, of the shape of the first input."""
    return (call.input(0).shape,)


def one_per_value(call: Call) -> int:
    """The work of a layer that does one thing to each value that it gives."""
    return call.outputs[0].size


def require_one_type(call: Call) -> None:
    """Raise `ValueError` where inputs are of different types."""
    types = sorted({tensor.dtype.name for tensor in call.inputs if tensor is not None})
    if len(types) > 1:
        raise ValueError(f"its inputs are of {' and '.join(types)}")


def equally_quantised(first: Tensor, second: Tensor) -> bool:
    """Whether values of two tensors stand for the same reals."""
    return first.scale == second.scale and first.zero_point == second.zero_point


def same_quantisation(call: Call) -> str | None:
    """Why a layer that passes int8 values on as they are cannot: a scale of its inputs is not its outputs'."""
    for tensor in (*call.inputs, *call.outputs):
        if tensor is not None and tensor.dtype == np.int8 and not equally_quantised(tensor, call.outputs[0]):
            return "its inputs and outputs have different scales"
    return None

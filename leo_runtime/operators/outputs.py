"""What a stage gives, as one value: several arrays are one structured array, with a field for each.

So whoever copies, holds or counts a value needs not know how many arrays it is. `value["scores"]` is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leo_runtime.operators.definition import Output
from leo_runtime.operators.packing import packed_zeros

Given = np.ndarray | tuple[np.ndarray, ...]
"""What a kernel gives."""


def packed(arrays: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Arrays as one value, in a memory of its own: a structured array of shape ()."""
    fields = [(name, array.dtype, array.shape) for name, array in zip(names, arrays, strict=True)]
    value = np.zeros((), np.dtype(fields, align=True))
    for name, array in zip(names, arrays, strict=True):
        value[name] = array
    return value


def one_value(arrays: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Arrays as one value: a single one as it is, several packed."""
    return arrays[0] if len(arrays) == 1 else packed(arrays, names)


def as_value(given: Given) -> np.ndarray:
    """What a kernel gave, as one value: an array as it is, also in a tuple, several with their numbers as names."""
    if not isinstance(given, tuple):
        return given
    return given[0] if len(given) == 1 else packed(given, [str(number) for number in range(len(given))])


def arrays_of(value: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays of a value, as views."""
    names = value.dtype.names
    return (value,) if names is None else tuple(value[name] for name in names)


def flat(value: np.ndarray) -> np.ndarray:
    """All that a value holds, one number behind the other."""
    arrays = [array.reshape(-1) for array in arrays_of(value)]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def real(array: np.ndarray, output: Output) -> np.ndarray:
    """What an array stands for, in float32."""
    if output.scale == 0:
        return array if array.dtype == np.float32 else array.astype(np.float32)
    reals: np.ndarray = (array.astype(np.float32) - np.float32(output.zero_point)) * np.float32(output.scale)
    return reals


def reals_of(value: np.ndarray, outputs: Sequence[Output]) -> np.ndarray:
    """The value with all its arrays in float32."""
    arrays = [real(array, output) for array, output in zip(arrays_of(value), outputs, strict=True)]
    return arrays[0] if value.dtype.names is None else packed(arrays, value.dtype.names)


def inputs_of(value: np.ndarray, outputs: Sequence[Output], takes: Sequence[Output]) -> tuple[np.ndarray, ...]:
    """The arrays that a reader of the value is given: as they are where it takes what is stored so, else in float32.

    `takes` is what it reads from this value on; (): no array as it is stored.
    """
    return tuple(
        array if place < len(takes) and _stands_for(takes[place]) == _stands_for(output) else real(array, output)
        for place, (array, output) in enumerate(zip(arrays_of(value), outputs, strict=True))
    )


def are_as_stored(outputs: Sequence[Output], takes: Sequence[Output]) -> bool:
    """Whether `inputs_of` gives the arrays of such a value as they are."""
    return all(
        (place < len(takes) and _stands_for(takes[place]) == _stands_for(output)) or _is_real(output)
        for place, output in enumerate(outputs)
    )


def _is_real(output: Output) -> bool:
    return output.scale == 0 and output.data_type == "float32"


def _stands_for(output: Output) -> tuple[str, float, int]:
    return output.data_type, output.scale, output.zero_point


def filled(outputs: Sequence[Output], number: float = 0) -> np.ndarray:
    """The value whose arrays are all of one number, as they are stored; packed bytes are those of zeros."""
    arrays = [
        packed_zeros(output.shape[0]) if output.is_packed else np.full(output.shape, number, output.data_type)
        for output in outputs
    ]
    return one_value(arrays, [output.name for output in outputs])

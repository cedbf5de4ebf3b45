"""Constants that a `.tflite` file holds sparsely, unfolded.

The format is that of `SparsityParameters` in TensorFlow Lite's schema: each dimension is dense, or says where there are
values as compressed sparse rows do (https://arxiv.org/abs/1703.08975, TACO).
"""

from __future__ import annotations

import math

import numpy as np

from leo_runtime.importers.flatbuffer import DamagedError, Table

_INDEX_FORMS = {1: "i", 2: "H", 3: "B"}
"""Types of the vectors of indices, by the number of the schema's union."""
_LEAST_SHARE = 1000
"""What stores less than one value in so many is taken for damaged, lest a few bytes ask for all memory."""


def unfolded(sparsity: Table, shape: tuple[int, ...], values: np.ndarray) -> np.ndarray:
    """An array of that shape from the values that are stored, with zeros between them.

    Raises `DamagedError` where they do not fit, and `NotImplementedError` for an order or blocks that are not read.
    """
    if sparsity.numbers(0, "i") != tuple(range(len(shape))) or sparsity.numbers(1, "i"):
        raise NotImplementedError("is stored sparsely, in blocks or in another order than its axes")
    if math.prod(shape) > _LEAST_SHARE * (len(values) + 1):
        raise DamagedError(f"{len(values)} values are stored for the shape {shape}")
    dimensions = list(sparsity.tables(2))
    if len(dimensions) != len(shape):
        raise DamagedError(f"a shape of {len(shape)} axes is stored sparsely along {len(dimensions)}")
    places = np.zeros(1, np.int64)
    """Of each entry along the axes so far, its place in the array."""
    for size, dimension in zip(shape, dimensions, strict=True):
        if dimension.scalar(0, "b", 0):
            places = _sparse(dimension, places, size)
        elif dimension.scalar(1, "i", 0) == size:
            places = (places[:, None] * size + np.arange(size)).reshape(-1)
        else:
            raise DamagedError(f"an axis of {size} is stored as one of {dimension.scalar(1, 'i', 0)}")
    if len(places) != len(values):
        raise DamagedError(f"{len(values)} values are stored at {len(places)} places")
    array = np.zeros(math.prod(shape), values.dtype)
    array[places] = values
    return array.reshape(shape)


def _sparse(dimension: Table, places: np.ndarray, size: int) -> np.ndarray:
    segments, indices = _indices(dimension, 2), _indices(dimension, 4)
    lengths = np.diff(segments)
    if len(lengths) != len(places) or (len(segments) and segments[0] != 0) or (lengths < 0).any():
        raise DamagedError("a sparse axis has segments that do not follow each other")
    if lengths.sum() != len(indices) or (len(indices) and not 0 <= indices.min() <= indices.max() < size):
        raise DamagedError(f"a sparse axis of {size} names an index outside of it")
    found: np.ndarray = np.repeat(places, lengths) * size + indices
    return found


def _indices(dimension: Table, field: int) -> np.ndarray:
    form, vector = _INDEX_FORMS.get(dimension.scalar(field, "B", 0)), dimension.table(field + 1)
    if form is None or vector is None:
        raise DamagedError("a sparse axis has no indices")
    return np.array(vector.numbers(0, form), np.int64)

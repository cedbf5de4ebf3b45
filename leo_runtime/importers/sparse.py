"""Constants that a `.tflite` file holds sparsely, unfolded.

The format is that of `SparsityParameters` in TensorFlow Lite's schema: each dimension is dense, or says where there are
values as compressed sparse rows do (https://arxiv.org/abs/1703.08975, TACO).
"""

from __future__ import annotations

import math
import struct

import numpy as np

from leo_runtime.importers.flatbuffer import OFFSET, DamagedError, Front, Table

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


def index_bytes(sparsity: Table) -> int:
    """What the file holds to say where the values of a sparse constant are. Raises `DamagedError`."""
    total = 0
    for dimension in sparsity.tables(2):
        if dimension.scalar(0, "b", 0):
            total += sum(_index_bytes(dimension, field) for field in (2, 4))
    return total


def _index_bytes(dimension: Table, field: int) -> int:
    """Of one vector of indices."""
    form, vector = _INDEX_FORMS.get(dimension.scalar(field, "B", 0)), dimension.table(field + 1)
    if form is None or vector is None:
        raise DamagedError("a sparse axis has no indices")
    return len(vector.numbers(0, form)) * struct.calcsize(form)


def write_sparsity(front: Front, place: int, array: np.ndarray) -> None:
    """Say at a place of a new file where an array of one axis or more has values; the file holds them in their order.

    Rows, along the last axis, are compressed; all other axes are dense.
    """
    *outer, columns = array.shape
    filled = array.reshape(-1, columns) != 0
    segments = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    table = front.table({0: OFFSET, 2: OFFSET})
    front.lead(place, table.start)
    front.vector(table.fields[0], "i", range(array.ndim))
    first = front.vector(table.fields[2], "I", [0] * array.ndim)
    for axis, size in enumerate(outer):
        front.lead(first + 4 * axis, front.table({0: ("b", 0), 1: ("i", size)}).start)
    kinds = _narrowest(int(segments[-1])), _narrowest(columns)
    last = front.table({0: ("b", 1), 2: ("B", kinds[0]), 3: OFFSET, 4: ("B", kinds[1]), 5: OFFSET})
    front.lead(first + 4 * len(outer), last.start)
    for field, values, kind in zip((3, 5), (segments, np.nonzero(filled)[1]), kinds, strict=True):
        vector = front.table({0: OFFSET})
        front.lead(last.fields[field], vector.start)
        front.vector(vector.fields[0], _INDEX_FORMS[kind], values.tolist())


def sparse_bytes(array: np.ndarray) -> int:
    """What a file holds of an array that is written sparsely: its values, and where they are."""
    columns, count = array.shape[-1], int(np.count_nonzero(array))
    rows = array.size // max(1, columns)
    sizes = {kind: struct.calcsize(form) for kind, form in _INDEX_FORMS.items()}
    return int(count * (array.itemsize + sizes[_narrowest(columns)]) + (rows + 1) * sizes[_narrowest(count)])


def _narrowest(most: int) -> int:
    """The type of a vector whose indices are at most so many, by the number of the schema's union."""
    return 3 if most < 1 << 8 else 2 if most < 1 << 16 else 1


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

"""Layers as sums of filters of -1 and 1 that are generated and not loaded: W (m x n) as C (m x k) times B (k x n).

B is k of the Walsh-Hadamard codes, B[j, i] = (-1)^(number of bits that j and i have in common), as in deterministic
binary filters (Tseng et al., IJCAI 2018, https://arxiv.org/abs/1805.07941) and BinaryCmd (2018); those are taken of
which W has most, and C is the nearest by least squares. A device that has the k numbers makes B itself, and adds and
subtracts where others multiply. A `.tflite` file cannot say so: it holds B with a byte for each 1 or -1, and
`generated_bytes` tells how many of its bytes that is.
"""

from __future__ import annotations

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.low_rank import saving_rank, with_factors
from leo_runtime.compress.rewrite import CONV, DENSE, held_as, matrix_of, require_kind, share_of, weighted, with_weights
from leo_runtime.layers.graph import LayerGraph


def codes(length: int) -> np.ndarray:
    """All codes of a length, a row each, as float64: as many as the least power of 2 that is no less, and cut."""
    rows = np.ones((1, 1))
    while len(rows) < length:
        rows = np.block([[rows, rows], [rows, -rows]])
    return rows[:, :length]


def binary(graph: LayerGraph, number: int, count: int) -> LayerGraph:
    """The graph with a convolution or dense layer, by its number, made of `count` codes.

    Raises `CompressError` for another layer, and where that saves no weights.
    """
    require_kind(graph, number, (CONV, DENSE))
    matrix = matrix_of(graph, number)
    if not 1 <= count <= saving_rank(*matrix.shape):
        raise CompressError(
            f"{graph.name}: {count} codes save nothing of layer {number}, whose weights are "
            f"{' x '.join(map(str, matrix.shape))}"
        )
    every = codes(matrix.shape[1])
    energy = ((matrix @ every.T) ** 2).sum(axis=0)
    chosen = every[np.sort(np.argsort(-energy, kind="stable")[:count])]
    weights = np.linalg.lstsq(chosen.T, matrix.T, rcond=None)[0].T
    made = with_factors(graph, number, weights, chosen)
    place = made.layers[number].inputs[1]
    tensor = made.tensors[place]
    ones = (1.0,) * count
    return with_weights(made, {place: held_as(tensor, chosen.reshape(tensor.shape).astype(np.int8), ones)})


def binary_all(graph: LayerGraph, percent: int) -> LayerGraph:
    """Every convolution and dense layer made of as many codes as so many percent of its full rank, where that saves
    weights. Raises `CompressError` where it does in none."""
    made = graph
    for number in reversed(weighted(graph)):
        shape = matrix_of(graph, number).shape
        count = share_of(percent, min(shape))
        if count <= saving_rank(*shape):
            made = binary(made, number, count)
    if made is graph:
        raise CompressError(f"{graph.name}: codes for {percent} % of the rank save nothing in any of its layers")
    return made


def generated_bytes(graph: LayerGraph) -> int:
    """How many bytes of its constants are codes, which a device can make itself."""
    held = [tensor.held for tensor in graph.tensors if tensor.held is not None]
    return sum(
        one.data.nbytes for one in held if one.data.dtype == np.int8 and set(one.scale) == {1.0} and abs(one.data).all()
    )

"""Weights of small magnitude set to 0, and left out of the file; layers as two of which one is sparse.

What runs it may unfold the weights again, as LiteRT does: then it has fewer bytes to load and as much to compute.
"""

from __future__ import annotations

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.low_rank import factors, with_factors
from leo_runtime.compress.rewrite import (
    CONV,
    DENSE,
    DEPTHWISE,
    held_as,
    matrix_of,
    require_kind,
    share_of,
    weighted,
    weights_of,
    with_weights,
)
from leo_runtime.importers.sparse import sparse_bytes
from leo_runtime.layers.graph import LayerGraph

_ROUNDS, _STEPS = 8, 3
"""Of the two factors in turn, and of the thresholding in each; further ones change little."""


def pruned(graph: LayerGraph, number: int, percent: int) -> LayerGraph:
    """The graph with so many percent of a layer's weights, the smallest, 0.

    They are held sparsely where that takes fewer bytes. Raises `CompressError` for a layer without float weights.
    """
    require_kind(graph, number, (CONV, DENSE, DEPTHWISE))
    place = graph.layers[number].inputs[1]
    return with_weights(graph, {place: held_as(graph.tensors[place], kept(weights_of(graph, number), 100 - percent))})


def pruned_all(graph: LayerGraph, percent: int) -> LayerGraph:
    """The same of every convolution, depthwise or not, and dense layer. Raises `CompressError` where there is none."""
    numbers = weighted(graph, (CONV, DENSE, DEPTHWISE))
    if not numbers:
        raise CompressError(f"{graph.name}: has no float weights to prune")
    for number in numbers:
        graph = pruned(graph, number, percent)
    return graph


def sparse_factors(graph: LayerGraph, number: int, rank: int, percent: int) -> LayerGraph:
    """The graph with a convolution or dense layer W as S D: D (rank x inputs) a dictionary, S sparse codes of it.

    So many percent of S, the greatest, are kept: S is held sparsely, as in SparseSep (SenSys 2016), where fewer bytes
    allow a rank that whole factors would not. S and D are found in turn, no step leading away from W: D by least
    squares for the S there is, S by iterative hard thresholding (Blumensath and Davies, 2008).

    Raises `CompressError` for another layer, and where it saves no bytes.
    """
    require_kind(graph, number, (CONV, DENSE))
    matrix = matrix_of(graph, number)
    left, right = factors(matrix, rank)
    left = kept(left, percent)
    for _ in range(_ROUNDS):
        right = np.linalg.lstsq(left, matrix, rcond=None)[0]
        if not right.any():
            break  # Weights that are all 0: no step leads to anything nearer.
        lengths = np.linalg.norm(right, axis=1)
        lengths[lengths == 0] = 1
        left, right = left * lengths, right / lengths[:, None]
        step = 1 / np.linalg.norm(right, 2) ** 2
        for _ in range(_STEPS):
            left = kept(left + step * (matrix - left @ right) @ right.T, percent)
    right = np.linalg.lstsq(left, matrix, rcond=None)[0]
    if sparse_bytes(left.astype(np.float32)) + 4 * right.size >= 4 * matrix.size:
        shape = " x ".join(map(str, matrix.shape))
        raise CompressError(
            f"{graph.name}: {percent} % of a factor of rank {rank} save nothing of layer {number}, of {shape} weights"
        )
    made = with_factors(graph, number, left, right)
    place = made.layers[number + 1].inputs[1]
    return with_weights(made, {place: held_as(made.tensors[place], weights_of(made, number + 1))})


def sparse_factors_all(graph: LayerGraph, percent: int) -> LayerGraph:
    """Every convolution and dense layer as sparse codes, half of them, of a dictionary of so many percent of its full
    rank, where that saves bytes. Raises `CompressError` where it does in none."""
    made = graph
    for number in reversed(weighted(graph)):
        try:
            made = sparse_factors(made, number, share_of(percent, min(matrix_of(graph, number).shape)), 50)
        except CompressError:
            continue  # It stays as it is.
    if made is graph:
        raise CompressError(f"{graph.name}: sparse factors of {percent} % of the rank save nothing in any layer")
    return made


def kept(values: np.ndarray, percent: int) -> np.ndarray:
    """An array with so many percent of its values, the greatest by magnitude, and zeros; of equal ones the first."""
    count = values.size * percent // 100
    order = np.argsort(-np.abs(values.reshape(-1)), kind="stable")
    result = np.zeros_like(values)
    result.reshape(-1)[order[:count]] = values.reshape(-1)[order[:count]]
    return result

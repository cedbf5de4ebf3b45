"""Layers as two thinner ones: W (m x n) as U (m x k) times V (k x n), the nearest by singular values.

k(m + n) weights and multiplications take the place of mn, as in DeepX (Lane et al., IPSN 2016): a dense layer becomes
two; a convolution one with k outputs and behind it one of 1x1. The rest of a singular value decomposition is the least
that any product of rank k leaves of W (Eckart and Young, 1936).
"""

from __future__ import annotations

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.rewrite import CONV, DENSE, Rewriting, matrix_of, require_kind, share_of, weighted, zeros
from leo_runtime.layers.graph import LayerGraph


def low_rank(graph: LayerGraph, number: int, rank: int) -> LayerGraph:
    """The graph with a convolution or dense layer, by its number, of rank `rank`.

    Raises `CompressError` for a layer of another kind, and for a rank that saves nothing.
    """
    require_kind(graph, number, (CONV, DENSE))
    outputs, inputs = matrix_of(graph, number).shape
    most = saving_rank(outputs, inputs)
    if not 1 <= rank <= most:
        raise CompressError(
            f"{graph.name}: rank {rank} saves nothing of layer {number}, whose weights are {outputs} x {inputs}",
            hint=f"a rank from 1 to {most} does" if most else "no rank does: leave it as it is",
        )
    left, right = factors(matrix_of(graph, number), rank)
    return with_factors(graph, number, left, right)


def low_rank_all(graph: LayerGraph, percent: int) -> LayerGraph:
    """Every convolution and dense layer at so many percent of its full rank, where that saves anything.

    Raises `CompressError` where it does in none.
    """
    made = graph
    for number in reversed(weighted(graph)):  # From the end: what is before keeps its number.
        outputs, inputs = matrix_of(graph, number).shape
        rank = share_of(percent, min(outputs, inputs))
        if rank <= saving_rank(outputs, inputs):
            made = low_rank(made, number, rank)
    if made is graph:
        raise CompressError(f"{graph.name}: a rank of {percent} % saves nothing in any of its layers")
    return made


def saving_rank(outputs: int, inputs: int) -> int:
    """The greatest rank whose factors have fewer weights than the layer."""
    return (outputs * inputs - 1) // (outputs + inputs)


def factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The two factors of the nearest matrix of a rank, each with the roots of the singular values."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    roots = np.sqrt(values[:rank])
    return left[:, :rank] * roots, roots[:, None] * right[:rank]


def with_factors(graph: LayerGraph, number: int, left: np.ndarray, right: np.ndarray) -> LayerGraph:
    """The graph with two layers in the place of one: `right` (k, inputs) first, then `left` (outputs, k)."""
    made = Rewriting(graph, number)
    old, rank = made.old, len(right)
    source, weights, *rest = old.inputs
    shape = graph.tensors[old.outputs[0]].shape
    if old.kind == DENSE:
        thin = made.constant(right)
        first = {**old.options, "fused_activation_function": "NONE"}
        middle = made.layer(DENSE, (source, thin), (*shape[:-1], rank), **first)
        made.layer(DENSE, (middle, made.constant(left), *rest), None, **old.options)
        return made.done()
    kernel = graph.tensors[weights].shape[1:]
    thin = made.constant(right.reshape(rank, *kernel))
    first = {**old.options, "fused_activation_function": "NONE"}
    middle = made.layer(CONV, (source, thin, zeros(made, rank)), (*shape[:-1], rank), **first)
    point = {"stride_w": 1, "stride_h": 1, "dilation_w_factor": 1, "dilation_h_factor": 1}
    made.layer(CONV, (middle, made.constant(left.reshape(-1, 1, 1, rank)), *rest), None, **{**old.options, **point})
    return made.done()

"""A convolution as one down and one across: h x w weights as h and w.

W[o, y, x, i] is made the sum over k of A[k, y, i] B[o, x, k]: the first convolution has k outputs of windows h x 1, the
second reads those in windows of 1 x w. The nearest pair for a k are singular vectors of W as a matrix (y i) x (x o), as
in SparseSep (Bhattacharya and Lane, SenSys 2016) and https://arxiv.org/abs/1511.06067, scheme 2.
"""

from __future__ import annotations

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.low_rank import factors, saving_rank
from leo_runtime.compress.rewrite import CONV, Rewriting, require_kind, share_of, weighted, weights_of, zeros
from leo_runtime.layers.graph import LayerGraph


def separable(graph: LayerGraph, number: int, rank: int) -> LayerGraph:
    """The graph with a convolution, by its number, separated with `rank` channels between its two.

    Raises `CompressError` for another layer, one whose window is one row or column, and a rank that saves nothing.
    """
    require_kind(graph, number, (CONV,))
    outputs, height, width, inputs = weights_of(graph, number).shape
    if min(height, width) < 2:
        raise CompressError(f"{graph.name}: layer {number} has windows of {height} x {width}: nothing to separate")
    rows, columns = height * inputs, width * outputs
    if not 1 <= rank <= most_channels(graph, number):
        raise CompressError(
            f"{graph.name}: {rank} channels between save nothing of layer {number}, of {rows} x {columns} weights",
        )
    by_row = weights_of(graph, number).astype(np.float64).transpose(1, 3, 2, 0).reshape(rows, columns)
    left, right = factors(by_row, rank)
    made = Rewriting(graph, number)
    old = made.old
    source, _, *rest = old.inputs
    down = made.constant(left.reshape(height, 1, inputs, rank).transpose(3, 0, 1, 2))
    across = made.constant(right.reshape(rank, 1, width, outputs).transpose(3, 1, 2, 0))
    batch, tall, _, _ = graph.tensors[old.outputs[0]].shape
    middle_shape = (batch, tall, graph.tensors[source].shape[2], rank)
    first = {**old.options, "stride_w": 1, "dilation_w_factor": 1, "fused_activation_function": "NONE"}
    middle = made.layer(CONV, (source, down, zeros(made, rank)), middle_shape, **first)
    made.layer(CONV, (middle, across, *rest), None, **{**old.options, "stride_h": 1, "dilation_h_factor": 1})
    return made.done()


def separable_all(graph: LayerGraph, percent: int) -> LayerGraph:
    """Every convolution of windows of several rows and columns separated, at so many percent of its full rank, where
    that saves weights. Raises `CompressError` where it does in none."""
    made = graph
    for number in reversed(weighted(graph, (CONV,))):
        outputs, height, width, inputs = weights_of(graph, number).shape
        rank = share_of(percent, min(height * inputs, width * outputs))
        if min(height, width) > 1 and rank <= most_channels(graph, number):
            made = separable(made, number, rank)
    if made is graph:
        raise CompressError(f"{graph.name}: has no convolution that {percent} % of its rank, separated, makes smaller")
    return made


def most_channels(graph: LayerGraph, number: int) -> int:
    """The most channels between the two of a convolution with which they have fewer weights than it."""
    outputs, height, width, inputs = weights_of(graph, number).shape
    return saving_rank(height * inputs, width * outputs)

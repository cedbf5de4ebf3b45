"""A model as a graph of layers: what a reader of a file gives, and what everything that runs or cuts a model reads.

Kinds and options are called as in TensorFlow Lite's schema
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs): the kind
`CONV_2D` has `padding` ("SAME", "VALID"), `stride_w`, `stride_h`, `fused_activation_function` ("NONE", "RELU", ...),
`dilation_w_factor`, `dilation_h_factor`. Activations are (batch, height, width, channels).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]
Option = bool | int | float | str | tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """How a file holds a constant in fewer bytes than it is computed with: a file that is read has it unfolded."""

    data: np.ndarray
    """int8 with scales, float16 or float32, read-only."""
    scale: tuple[float, ...] = ()
    """Of int8: one for each index along `axis`, each a float32, about 0."""
    axis: int = 0
    sparse: bool = False
    """Zeros are left out: along the last axis it says where there are values, as compressed sparse rows do."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A value between layers, or a constant."""

    name: str
    shape: Shape
    """As stored; open sizes are 1."""
    dtype: np.dtype[np.generic]
    """Of a constant that the file holds in float16 or sparsely: that of `data`, which is unfolded."""
    scale: tuple[float, ...] = ()
    """Of a quantised tensor, real = scale * (stored - zero_point): one, or one for each index along `axis`, each a
    float32. (): it is not quantised."""
    zero_point: tuple[int, ...] = ()
    """As many as scales."""
    axis: int = 0
    data: np.ndarray | None = None
    """The values of a constant, read-only, of that shape and type; None: a layer or the caller gives them."""
    stored_bytes: int = 0
    """What the file holds of a constant: less than `bytes` where that is in float16 or sparse."""
    held: Held | None = None
    """How a file that is written holds this constant, float32; None: as it is."""

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What its values take where they are sent or held."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One operator of a model, applied to tensors, by their numbers in `LayerGraph.tensors`."""

    kind: str
    options: Mapping[str, Option]
    """All that its kind has, also those at their defaults."""
    inputs: tuple[int, ...]
    """In the schema's order (CONV_2D: input, filter, bias), constants too; -1: one that is left out."""
    outputs: tuple[int, ...]
    version: int = 1
    """Of the operator, as the file says: it tells an interpreter which of its options it may use."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What a model keeps from call to call: it takes it as one input more, and gives it as one output more."""

    name: str
    input: int
    """Where in the graph's inputs, behind those of the caller."""
    output: int
    """Where in the graph's outputs: what the next call takes."""
    first: np.ndarray
    """What the first call takes, read-only."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerGraph:
    """A whole model, or a piece of one: layers in an order in which each comes after what it reads.

    Constants have no layer of their own: what a file unfolds at run time (DEQUANTIZE of float16, DENSIFY) is unfolded
    here. Variables are explicit: `states`.
    """

    name: str
    """For messages."""
    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    states: tuple[State, ...] = ()

"""What forms have in common: which layers they change, and a graph with other layers in the place of one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.fuse import without_unused
from leo_runtime.importers.sparse import sparse_bytes
from leo_runtime.layers.graph import Held, Layer, LayerGraph, Option, Tensor

DENSE, CONV, DEPTHWISE = "FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"


def weighted(graph: LayerGraph, kinds: Sequence[str] = (CONV, DENSE)) -> tuple[int, ...]:
    """The numbers of the float layers of these kinds whose weights are constants, in order."""
    return tuple(
        number
        for number, layer in enumerate(graph.layers)
        if layer.kind in kinds
        and (data := graph.tensors[layer.inputs[1]].data) is not None
        and data.dtype == np.float32
        and data.size
        and graph.tensors[layer.outputs[0]].dtype == np.float32
    )


def largest(graph: LayerGraph, kinds: Sequence[str] = (CONV, DENSE)) -> int:
    """The layer with the most weights, the first of several. Raises `CompressError` where there is none."""
    numbers = weighted(graph, kinds)
    if not numbers:
        raise CompressError(
            f"{graph.name}: has no layer of float weights ({', '.join(kinds)})",
            hint="a model that is int8 already is as small as these forms make it",
        )
    return max(numbers, key=lambda number: (weights_of(graph, number).size, -number))


def weights_of(graph: LayerGraph, number: int) -> np.ndarray:
    """The weights of a layer that `weighted` names, as the graph has them."""
    data = graph.tensors[graph.layers[number].inputs[1]].data
    assert data is not None, "it is one of `weighted`"
    return data


def require_kind(graph: LayerGraph, number: int, kinds: tuple[str, ...]) -> None:
    """Raise `CompressError` for a layer of other kinds, or one whose weights are no float constants."""
    if number not in weighted(graph, kinds):
        raise CompressError(f"{graph.name}: layer {number} is none of float weights ({', '.join(kinds)})")
    require_numbers(graph, [number])


def require_numbers(graph: LayerGraph, numbers: Sequence[int]) -> None:
    """Raise `CompressError` where weights of these layers, of `weighted`, are NaN or infinite."""
    for number in numbers:
        wrong = np.count_nonzero(~np.isfinite(weights := weights_of(graph, number)))
        if wrong:
            name = graph.tensors[graph.layers[number].inputs[1]].name
            raise CompressError(
                f"{graph.name}: {wrong} of the {weights.size} weights in `{name}` are NaN or infinite",
                hint="such a model computes nothing: look at its training, and convert it again",
            )


def sharing(graph: LayerGraph, number: int) -> tuple[int, ...]:
    """The numbers of the layers of `weighted` that have their weights with this one in one constant, it among them."""
    place = graph.layers[number].inputs[1]
    return tuple(other for other in weighted(graph) if graph.layers[other].inputs[1] == place)


def with_equal_weights_once(graph: LayerGraph) -> LayerGraph:
    """The graph with weights that are equal, and held alike, in one constant, which several layers then read."""
    first: dict[tuple[object, ...], int] = {}
    places = dict.fromkeys(graph.layers[number].inputs[1] for number in _with_weights(graph))
    shared = {place: first.setdefault(_content(graph.tensors[place]), place) for place in places}
    layers = tuple(
        replace(layer, inputs=tuple(shared.get(place, place) for place in layer.inputs)) for layer in graph.layers
    )
    return without_unused(replace(graph, layers=layers))


def _with_weights(graph: LayerGraph) -> list[int]:
    """The numbers of the layers whose weights are constants, whatever their type."""
    return [
        number
        for number, layer in enumerate(graph.layers)
        if layer.kind in (CONV, DENSE, DEPTHWISE) and graph.tensors[layer.inputs[1]].data is not None
    ]


def _content(tensor: Tensor) -> tuple[object, ...]:
    """What is equal for two constants that can take each other's place."""
    data, held = tensor.data, tensor.held
    assert data is not None, "it is a constant"
    how = None if held is None else (held.data.dtype.str, held.scale, held.axis, held.sparse, _digest(held.data))
    return data.dtype.str, data.shape, tensor.scale, tensor.zero_point, tensor.axis, _digest(data), how


def _digest(values: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()


def matrix_of(graph: LayerGraph, number: int) -> np.ndarray:
    """The weights of a convolution or dense layer as a matrix: (outputs, all that an output reads), float64."""
    weights = weights_of(graph, number)
    return weights.reshape(weights.shape[0], -1).astype(np.float64)


@dataclass(slots=True)
class Rewriting:
    """New tensors and layers that take the place of one layer of a graph, written one after the other."""

    graph: LayerGraph
    number: int
    tensors: list[Tensor] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    @property
    def old(self) -> Layer:
        """The layer in whose place they are."""
        return self.graph.layers[self.number]

    def tensor(self, number: int) -> Tensor:
        """A tensor of the graph, or a new one."""
        count = len(self.graph.tensors)
        return self.graph.tensors[number] if number < count else self.tensors[number - count]

    def constant(self, values: np.ndarray, held: Held | None = None) -> int:
        """The number of a new constant, of float32, or held as that says."""
        self.tensors.append(constant(f"{self._name} {len(self.tensors)}", values, held))
        return len(self.graph.tensors) + len(self.tensors) - 1

    def layer(self, kind: str, inputs: Sequence[int], shape: Sequence[int] | None, **options: Option) -> int:
        """The number of what a new layer gives, of that shape; None: what the old one gave."""
        if shape is None:
            output = self.old.outputs[0]
        else:
            self.tensors.append(Tensor(f"{self._name} {len(self.tensors)}", tuple(shape), np.dtype(np.float32)))
            output = len(self.graph.tensors) + len(self.tensors) - 1
        version = self.old.version if kind == self.old.kind else 1
        self.layers.append(Layer(kind, options, tuple(inputs), (output,), version))
        return output

    def done(self) -> LayerGraph:
        """The graph with them in it."""
        layers = (*self.graph.layers[: self.number], *self.layers, *self.graph.layers[self.number + 1 :])
        return without_unused(replace(self.graph, tensors=(*self.graph.tensors, *self.tensors), layers=layers))

    @property
    def _name(self) -> str:
        return f"{self.graph.tensors[self.old.outputs[0]].name} part"


def zeros(made: Rewriting, count: int) -> int:
    """A bias of zeros, which interpreters want of a convolution."""
    return made.constant(np.zeros(count))


def constant(name: str, values: np.ndarray, held: Held | None = None) -> Tensor:
    """A constant tensor of float32, or of what `held` stands for, whose values then are that."""
    array = np.ascontiguousarray(values if held is None else unfolded(held), np.float32)
    array.flags.writeable = False
    return Tensor(name, array.shape, array.dtype, data=array, stored_bytes=_bytes(array, held), held=held)


def with_weights(graph: LayerGraph, changed: dict[int, Tensor]) -> LayerGraph:
    """The graph with other constants, by their numbers, each of the shape that it had."""
    tensors = tuple(changed.get(number, tensor) for number, tensor in enumerate(graph.tensors))
    return replace(graph, tensors=tensors)


def unfolded(held: Held) -> np.ndarray:
    """The float32 that a held constant stands for, as an interpreter computes it: one rounding."""
    if not held.scale:
        return held.data.astype(np.float32)
    along = [1] * held.data.ndim
    along[held.axis] = len(held.scale)
    reals: np.ndarray = (held.data * np.array(held.scale, np.float64).reshape(along)).astype(np.float32)
    return reals


def share_of(percent: int, whole: int) -> int:
    """So many percent of a whole, rounded down, at least 1."""
    return max(1, whole * percent // 100)


def held_as(tensor: Tensor, values: np.ndarray, scale: tuple[float, ...] = (), axis: int = 0) -> Tensor:
    """A constant in the place of one, held as these values, sparsely where that takes fewer bytes."""
    values = np.ascontiguousarray(values)
    values.flags.writeable = False
    sparse = bool(values.any()) and sparse_bytes(values) < values.nbytes  # A file has no buffer of no bytes.
    plain = not sparse and values.dtype == np.float32
    return constant(tensor.name, values, None if plain else Held(values, scale, axis, sparse))


def _bytes(array: np.ndarray, held: Held | None) -> int:
    """What a file holds of a constant, without its scales, as it is counted of one that was read."""
    if held is None:
        return array.nbytes
    return sparse_bytes(held.data) if held.sparse else held.data.nbytes

"""What there is to know of a graph of layers before it is placed, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from leo_runtime.layers import count
from leo_runtime.layers.cut import borders, pieces
from leo_runtime.layers.graph import LayerGraph, Shape, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import call_of


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor that goes in, comes out or crosses."""

    name: str
    shape: Shape
    data_type: str
    bytes: int


@dataclass(frozen=True, slots=True)
class KindFacts:
    """All layers of one kind and type."""

    kind: str
    data_type: str
    """Of their first inputs."""
    layers: int
    macs: int
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class BorderFacts:
    """A place to cut, and what crosses it."""

    after: int
    """How many layers are before it."""
    bytes: int
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PieceFacts:
    """A piece of a model, as a stage would be."""

    number: int
    layers: int
    kinds: tuple[tuple[str, int], ...]
    """The kinds of its layers and how many of each, in the order in which they come first."""
    macs: int
    weight_bytes: int
    activation_bytes: int
    """The most that values between its layers take at once."""
    state_bytes: int
    gives: tuple[TensorFacts, ...]
    """What crosses the border behind it."""


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """A whole model."""

    layers: int
    macs: int
    weight_bytes: int
    """As its file holds them."""
    activation_bytes: int
    state_bytes: int
    kinds: tuple[KindFacts, ...]
    """The most multiply-accumulates first."""
    borders: tuple[BorderFacts, ...]
    pieces: tuple[PieceFacts, ...]


def facts(graph: LayerGraph, ends: Sequence[int]) -> GraphFacts:
    """What is to be known of a graph that is cut after so many layers each."""
    return GraphFacts(
        layers=len(graph.layers),
        macs=count.macs(graph),
        weight_bytes=count.weight_bytes(graph),
        activation_bytes=count.activation_bytes(graph),
        state_bytes=count.state_bytes(graph),
        kinds=_kinds(graph),
        borders=tuple(
            BorderFacts(one.after, one.bytes, tuple(graph.tensors[number].name for number in one.tensors))
            for one in borders(graph)
        ),
        pieces=tuple(_piece(number, piece) for number, piece in enumerate(pieces(graph, ends))),
    )


def tensor_facts(tensor: Tensor) -> TensorFacts:
    """Of one tensor."""
    return TensorFacts(tensor.name, tensor.shape, tensor.dtype.name, tensor.bytes)


def _kinds(graph: LayerGraph) -> tuple[KindFacts, ...]:
    found: dict[tuple[str, str], list[int]] = {}
    for layer in graph.layers:
        key = layer.kind, graph.tensors[layer.inputs[0]].dtype.name
        sums = found.setdefault(key, [0, 0, 0])
        sums[0] += 1
        sums[1] += KINDS[layer.kind].macs(call_of(graph, layer))
        sums[2] += sum(graph.tensors[number].stored_bytes for number in layer.inputs if number >= 0)
    kinds = [KindFacts(kind, data_type, *sums) for (kind, data_type), sums in found.items()]
    return tuple(sorted(kinds, key=lambda one: (-one.macs, -one.layers, one.kind, one.data_type)))


def _piece(number: int, piece: LayerGraph) -> PieceFacts:
    own = len(piece.outputs) - len(piece.states)
    return PieceFacts(
        number=number,
        layers=len(piece.layers),
        kinds=tuple(Counter(layer.kind for layer in piece.layers).items()),
        macs=count.macs(piece),
        weight_bytes=count.weight_bytes(piece),
        activation_bytes=count.activation_bytes(piece),
        state_bytes=count.state_bytes(piece),
        gives=tuple(tensor_facts(piece.tensors[number]) for number in piece.outputs[:own]),
    )

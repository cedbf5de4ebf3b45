"""Where a graph of layers can be cut, and the pieces.

Layers are cut in the order they are in: a border is after so many of them, and what crosses it is every tensor that is
there by then and needed behind it: also one that skips over layers, and an output of the whole that is given early,
which goes along to the end. So pieces are a chain, and each reads nothing but what the one before it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from leo_runtime.layers.graph import Layer, LayerGraph, State
from leo_runtime.layers.kinds.catalogue import KINDS


@dataclass(frozen=True, slots=True)
class Border:
    """A place to cut."""

    after: int
    """How many layers are before it."""
    tensors: tuple[int, ...]
    """What crosses, by number."""
    bytes: int
    """Of all of them together, in the types that they have."""


def borders(graph: LayerGraph) -> tuple[Border, ...]:
    """Every place between two layers where the graph can be cut, in order.

    None is between the layers that read a state and the one that gives the next: a state stays in one piece.
    """
    given = _given(graph)
    needed = _needed(graph)
    states = {graph.inputs[state.input] for state in graph.states}
    together = [_reach(graph, state, given, needed) for state in graph.states]
    crossing = {number for number in given if number not in states and given[number] < 0 < needed.get(number, -1)}
    found = []
    for after, layer in enumerate(graph.layers[:-1], start=1):
        crossing.update(layer.outputs)
        touched = (*layer.inputs, *layer.outputs)
        crossing.difference_update(number for number in touched if needed.get(number, -1) < after)
        if any(first < after <= last for first, last in together):
            continue
        tensors = tuple(sorted(crossing))
        found.append(Border(after, tensors, sum(graph.tensors[number].bytes for number in tensors)))
    return tuple(found)


def blocks(graph: LayerGraph) -> tuple[int, ...]:
    """After how many layers each block ends; the last ends with the graph.

    Between two heavy layers (a convolution, or a dense one) a block ends where one tensor crosses and has the fewest
    bytes: of equal places at the last. Where none has one tensor, the block goes on.
    """
    ends: list[int] = []
    best: Border | None = None
    heavy = False
    single = {border.after: border for border in borders(graph) if len(border.tensors) == 1}
    for after, layer in enumerate(graph.layers, start=1):
        is_heavy = KINDS[layer.kind].is_heavy
        if is_heavy and heavy and best is not None:
            ends.append(best.after)
            best = None
        heavy = heavy or is_heavy
        border = single.get(after)
        if heavy and border is not None and (best is None or border.bytes <= best.bytes):
            best = border
    return (*ends, len(graph.layers))


def layers(graph: LayerGraph) -> tuple[int, ...]:
    """The same with a piece for every layer that can stand alone."""
    return (*(border.after for border in borders(graph)), len(graph.layers))


def pieces(graph: LayerGraph, ends: Sequence[int]) -> tuple[LayerGraph, ...]:
    """The graph cut after so many layers each: pieces whose inputs are the outputs of the piece before, in order.

    Raises `ValueError` for a place that is no border.
    """
    crossing = {border.after: border.tensors for border in borders(graph)}
    crossing[0] = graph.inputs[: len(graph.inputs) - len(graph.states)]
    crossing[len(graph.layers)] = graph.outputs[: len(graph.outputs) - len(graph.states)]
    for end in ends:
        if end not in crossing:
            raise ValueError(f"{graph.name}: cannot be cut after {end} of its {len(graph.layers)} layers")
    return tuple(
        _piece(graph, graph.layers[first:end], crossing[first], crossing[end]) for first, end in pairwise((0, *ends))
    )


def _piece(graph: LayerGraph, layers: tuple[Layer, ...], takes: tuple[int, ...], gives: tuple[int, ...]) -> LayerGraph:
    """Some layers with what crosses the borders before and behind them, and the states that they keep behind that.

    An output may be one of its inputs, as it came, and an input may be read by no layer.
    """
    read = {number for layer in layers for number in layer.inputs}
    kept = [state for state in graph.states if graph.inputs[state.input] in read]
    inputs = (*takes, *(graph.inputs[state.input] for state in kept))
    outputs = (*gives, *(graph.outputs[state.output] for state in kept))
    used = sorted({*inputs, *outputs, *read, *(number for layer in layers for number in layer.outputs)} - {-1})
    place = {old: new for new, old in enumerate(used)}
    return LayerGraph(
        graph.name,
        tuple(graph.tensors[number] for number in used),
        tuple(_renumbered(layer, place) for layer in layers),
        tuple(place[number] for number in inputs),
        tuple(place[number] for number in outputs),
        tuple(replace(state, input=len(takes) + i, output=len(gives) + i) for i, state in enumerate(kept)),
    )


def _given(graph: LayerGraph) -> dict[int, int]:
    """The layer that gives each tensor that is no constant; -1: the caller does."""
    given = dict.fromkeys(graph.inputs, -1)
    for index, layer in enumerate(graph.layers):
        given.update(dict.fromkeys(layer.outputs, index))
    return given


def _needed(graph: LayerGraph) -> dict[int, int]:
    """The last layer that reads each tensor; behind all of them for an output of the whole."""
    needed = {number: index for index, layer in enumerate(graph.layers) for number in layer.inputs}
    own = len(graph.outputs) - len(graph.states)
    return needed | dict.fromkeys(graph.outputs[:own], len(graph.layers))


def _reach(graph: LayerGraph, state: State, given: dict[int, int], needed: dict[int, int]) -> tuple[int, int]:
    """The first and the last layer that have to do with a state."""
    read, assigned = graph.inputs[state.input], graph.outputs[state.output]
    there = [index for index, layer in enumerate(graph.layers) if read in layer.inputs]
    there += [index for index in (needed.get(read, -1), given.get(assigned, -1)) if index >= 0]
    return min(there, default=0), max(there, default=0)


def _renumbered(layer: Layer, place: dict[int, int]) -> Layer:
    return replace(
        layer,
        inputs=tuple(place.get(number, -1) for number in layer.inputs),
        outputs=tuple(place[number] for number in layer.outputs),
    )

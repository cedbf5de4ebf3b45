"""Forms by their names, as they are asked for and as files and variants are called.

A name is words joined by `+`, made in their order: `f16` and `int8w` for weights in float16 and int8; `int8` for all
in int8, calibrated; `rank`, `separable`, `sparse`, `prune` and `binary` with percent behind them (`rank25`: all layers
at a quarter of their full rank; `prune75`: three quarters of the weights are 0), and `-one` behind those for the
layer with the most weights alone: `rank25-one+int8w`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.compress.binary import binary, binary_all
from leo_runtime.compress.int8 import calibrated
from leo_runtime.compress.low_rank import low_rank, low_rank_all
from leo_runtime.compress.narrow import as_stored, float16_weights, int8_weights
from leo_runtime.compress.prune import pruned, pruned_all, sparse_factors, sparse_factors_all
from leo_runtime.compress.rewrite import (
    CONV,
    DENSE,
    DEPTHWISE,
    largest,
    matrix_of,
    require_numbers,
    share_of,
    sharing,
    weighted,
    weights_of,
    with_equal_weights_once,
)
from leo_runtime.compress.separable import separable, separable_all
from leo_runtime.errors import InputError
from leo_runtime.layers.count import weight_bytes
from leo_runtime.layers.graph import LayerGraph

Runs = Sequence[Sequence[np.ndarray]]
"""Inputs of some runs, each in the graph's order."""
Form = Callable[[LayerGraph, Runs], LayerGraph]
"""Of a graph, and runs that it may be calibrated on."""

INT8 = "int8"
NARROW: dict[str, Callable[[LayerGraph], LayerGraph]] = {"f16": float16_weights, "int8w": int8_weights}
ALL: dict[str, Callable[[LayerGraph, int], LayerGraph]] = {
    "rank": low_rank_all,
    "separable": separable_all,
    "sparse": sparse_factors_all,
    "prune": pruned_all,
    "binary": binary_all,
}
_REPLACED: dict[str, Callable[[LayerGraph, int, int], LayerGraph]] = {
    "rank": low_rank,
    "separable": separable,
    "sparse": lambda graph, number, rank: sparse_factors(graph, number, rank, 50),
    "binary": binary,
}
"""Those that put others in the place of a layer: weights that something else reads as well stay beside theirs."""
DEFAULTS = (
    "f16",
    "int8w",
    INT8,
    "rank50",
    "rank25",
    "rank50-one",
    "rank25-one",
    "separable50",
    "sparse50",
    "sparse50-one",
    "prune50",
    "prune75",
    "binary50-one",
    "rank25-one+int8w",
    "prune50+f16",
)
_WORD = re.compile(r"(?P<name>[a-z]+?)(?P<percent>[0-9]{1,3})(?P<one>-one)?")


def form_of(name: str) -> Form:
    """The form of a name: a function that raises `CompressError` where a model has none. Raises `InputError`."""
    steps = [_step(name, word) for word in name.split("+")]
    narrows = any(word in (*NARROW, INT8) for word in name.split("+"))
    replaces = any(word.startswith(tuple(_REPLACED)) for word in name.split("+"))

    def made(graph: LayerGraph, runs: Runs) -> LayerGraph:
        stored = as_stored(graph)
        form = stored
        for step in steps:
            form = step(form, runs)
        # What is new is held as what was there, and what is made of one constant is one constant again.
        halved = not narrows and _is_half(stored) and not _is_half(form)
        form = with_equal_weights_once(float16_weights(form) if halved else form)
        before, after = weight_bytes(stored), weight_bytes(form)
        if replaces and after >= before:
            raise CompressError(f"{graph.name}: it saves nothing: {after:,} bytes of weights for {before:,}")
        return form

    return made


def _step(name: str, word: str) -> Form:
    if word in NARROW:
        return lambda graph, _runs: NARROW[word](graph)
    if word == INT8:
        return _int8
    found = _WORD.fullmatch(word)
    if found is None or found["name"] not in ALL or not 1 <= int(found["percent"]) <= 99:
        raise InputError(
            f'no form is called "{name}"',
            hint=f"{', '.join(NARROW)}, {INT8}, or one of {', '.join(ALL)} with 1 to 99 percent, such as rank25, "
            "rank25-one or prune50+f16",
        )
    kind, percent = found["name"], int(found["percent"])
    if found["one"]:
        return lambda graph, _runs: _of_largest(graph, kind, percent)
    return lambda graph, _runs: ALL[kind](graph, percent)


def _int8(graph: LayerGraph, runs: Runs) -> LayerGraph:
    """Calibrated on the runs. What is held in fewer bytes is not: it gets values of its own."""
    if not runs:
        raise CompressError(f"{graph.name}: has no int8 form without runs to calibrate it on")
    tensors = tuple(
        one if one.data is None else replace(one, held=None, stored_bytes=one.data.nbytes) for one in graph.tensors
    )
    return calibrated(replace(graph, tensors=tensors), runs)


def _of_largest(graph: LayerGraph, kind: str, percent: int) -> LayerGraph:
    """One layer alone: the one with the most weights of those that such a form may have, and those that share them."""
    number = largest(graph, (CONV,) if kind == "separable" else (CONV, DENSE))
    if kind == "prune":
        return pruned(graph, number, percent)
    if kind == "separable":
        outputs, height, width, inputs = weights_of(graph, number).shape
        rank = share_of(percent, min(height * inputs, width * outputs))
    else:
        rank = share_of(percent, min(matrix_of(graph, number).shape))
    for one in reversed(sharing(graph, number)):  # From the end: what is before keeps its number.
        graph = _REPLACED[kind](graph, one, rank)
    return graph


def _is_half(graph: LayerGraph) -> bool:
    """Whether its layers' weights are held in float16."""
    helds = [graph.tensors[graph.layers[number].inputs[1]].held for number in weighted(graph)]
    return bool(helds) and all(held is not None and held.data.dtype in (np.float16, np.int8) for held in helds)


def require_float(graph: LayerGraph) -> None:
    """Raise `CompressError` for a graph that no form changes: it has no float weights, or some that are no
    numbers, or keeps a state."""
    largest(graph)
    require_numbers(graph, weighted(graph, (CONV, DENSE, DEPTHWISE)))
    if graph.states:
        raise CompressError(
            f"{graph.name}: keeps a state from call to call: what a form loses is measured on runs that stand alone",
            hint="cut it, and give the pieces that keep none",
        )

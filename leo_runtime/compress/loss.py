"""What a smaller form of a model loses, on inputs that were recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph


@dataclass(frozen=True, slots=True)
class OutputLoss:
    """How far one output is from the model's own."""

    name: str
    magnitude: float
    """The greatest that the model's own output has, over all runs."""
    mean: float
    """The mean error, as part of that; NaN where the output is always 0."""
    greatest: float
    """The greatest error, as part of that."""
    runs: int
    decisions: int | None
    """In so many runs another of its values is the greatest, or with a threshold the greatest lies on the other side of
    it; None: it has one value, and there is no threshold."""


def loss(
    graph: LayerGraph,
    form: LayerGraph,
    runs: Iterable[Sequence[np.ndarray]],
    threshold: float | None = None,
) -> tuple[OutputLoss, ...]:
    """The loss of each output, by the reference of layers. Both give the same outputs in the same order. Any thread."""
    own = range(len(graph.outputs) - len(graph.states))
    sums = [_Sum(graph.tensors[graph.outputs[index]].name, threshold) for index in own]
    for inputs in runs:
        pairs = zip(reference.run(graph, inputs), reference.run(form, inputs), strict=True)
        for one, (expected, got) in zip(sums, pairs, strict=False):  # States come behind the outputs.
            one.add(expected.astype(np.float64), got.astype(np.float64))
    return tuple(one.told() for one in sums)


class _Sum:
    """Errors of one output so far."""

    def __init__(self, name: str, threshold: float | None) -> None:
        self._name, self._threshold = name, threshold
        self._total = self._greatest = self._magnitude = 0.0
        self._values = self._runs = self._changed = 0
        self._decides = threshold is not None

    def add(self, expected: np.ndarray, got: np.ndarray) -> None:
        errors = np.abs(got - expected)
        self._runs += 1
        self._values += errors.size
        self._total += float(errors.sum())
        self._greatest = max(self._greatest, float(errors.max(initial=0)))
        self._magnitude = max(self._magnitude, float(np.abs(expected).max(initial=0)))
        if expected.size == 0:
            return
        if self._threshold is not None:
            self._changed += bool((expected.max() > self._threshold) != (got.max() > self._threshold))
        elif expected.size > 1:
            self._decides = True
            # Of equal values, which a coarser scale makes, any may be the greatest.
            self._changed += bool(got.reshape(-1)[int(expected.argmax())] < got.max())

    def told(self) -> OutputLoss:
        magnitude = self._magnitude or float("nan")
        return OutputLoss(
            self._name,
            self._magnitude,
            self._total / max(1, self._values) / magnitude,
            self._greatest / magnitude,
            self._runs,
            self._changed if self._decides else None,
        )

"""What a smaller form of a model loses, output by output, by the reference of layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.measure.task_loss import Change, Task, decides, decides_otherwise


@dataclass(frozen=True, slots=True)
class OutputLoss:
    """How far one output is from the model's own."""

    name: str
    magnitude: float
    """The greatest that the model's own output has, over all runs."""
    change: float
    """As `measure.task_loss` has it."""
    mean: float
    """The mean error, as part of the greatest magnitude; NaN where the output is always 0, or an error no number."""
    greatest: float
    """The greatest error, as part of that."""
    runs: int
    decisions: int | None
    """In so many runs another decision, as `measure.task_loss` has it; None: it decides nothing."""


def output_losses(
    graph: LayerGraph, form: LayerGraph, runs: Iterable[Sequence[np.ndarray]], task: Task
) -> tuple[OutputLoss, ...]:
    """The loss of each output. Both give the same outputs in the same order. Any thread."""
    own = range(len(graph.outputs) - len(graph.states))
    sums = [_Sum(graph.tensors[graph.outputs[index]].name, task) for index in own]
    for inputs in runs:
        pairs = zip(reference.run(graph, inputs), reference.run(form, inputs), strict=True)
        for one, (expected, got) in zip(sums, pairs, strict=False):  # States come behind the outputs.
            one.add(expected.astype(np.float64), got.astype(np.float64))
    return tuple(one.told() for one in sums)


class _Sum:
    """Errors of one output so far."""

    def __init__(self, name: str, task: Task) -> None:
        self._name, self._task = name, task
        self._change = Change()
        self._total = self._greatest = self._magnitude = 0.0
        self._values = self._runs = self._changed = 0
        self._decides = False

    def add(self, expected: np.ndarray, got: np.ndarray) -> None:
        errors = np.abs(got - expected)
        self._change.add(expected, got)
        self._runs += 1
        self._values += errors.size
        self._total += float(errors.sum())
        self._greatest = float(np.maximum(self._greatest, errors.max(initial=0)))
        self._magnitude = float(np.maximum(self._magnitude, np.abs(expected).max(initial=0)))
        if decides(self._task, expected.size):
            self._decides = True
            self._changed += decides_otherwise(self._task, expected, got)

    def told(self) -> OutputLoss:
        magnitude = self._magnitude or float("nan")
        return OutputLoss(
            self._name,
            self._magnitude,
            self._change.part,
            self._total / max(1, self._values) / magnitude,
            self._greatest / magnitude,
            self._runs,
            self._changed if self._decides else None,
        )

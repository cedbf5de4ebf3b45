"""A model of float32 made one of int8, and what that loses, on runs that it was not calibrated on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from leo_runtime.compress.int8 import calibrated
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import count
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.measure.model_data import ModelRuns
from leo_runtime.measure.output_loss import OutputLoss, output_losses
from leo_runtime.measure.task_loss import Task
from leo_runtime.progress import Progress


@dataclass(frozen=True, slots=True)
class Int8Form:
    """A model of int8."""

    content: bytes
    """The file."""
    weight_bytes: tuple[int, int]
    """Of its constants, before and after."""
    calibrated_on: int
    """So many runs gave its ranges."""
    source: str
    """Of what the runs are."""
    outputs: tuple[OutputLoss, ...]
    """On as many others, by the reference of layers."""


def int8_form(
    graph: LayerGraph,
    runs: ModelRuns,
    task: Task,
    percentile: float = 100.0,
    progress: Progress = lambda *_: None,
) -> Int8Form:
    """Calibrate a model on the runs that are for it, and measure on the others what it loses by a task.

    Raises `CompressError` as `calibrated` does.
    """
    total, done = len(runs.calibrating) + len(runs.inputs), 0

    def told(some: Sequence[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
        nonlocal done
        for inputs in some:
            progress("runs", done, total)
            yield inputs
            done += 1

    form = calibrated(graph, told(runs.calibrating), percentile)
    losses = output_losses(graph, form, told(runs.inputs), task)
    progress("", total, total)
    sizes = count.weight_bytes(graph), count.weight_bytes(form)
    return Int8Form(write_model(form), sizes, len(runs.calibrating), runs.source, losses)

"""A model of float32 made one of int8, and what that loses, on runs that it was not calibrated on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leo_runtime.compress.int8 import calibrated
from leo_runtime.compress.loss import OutputLoss, loss
from leo_runtime.compress.recorded import Runs, halves
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import count
from leo_runtime.layers.graph import LayerGraph
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
    runs: Runs,
    percentile: float = 100.0,
    threshold: float | None = None,
    most: int = 100,
    progress: Progress = lambda *_: None,
) -> Int8Form:
    """Calibrate a model on every second of its runs, and measure its loss on the others, on `most` each at most.

    Raises `CompressError` as `calibrated` does.
    """
    first, second = halves(len(runs), most)
    total, done = len(first) + len(second), 0

    def told(numbers: range) -> Iterator[tuple[np.ndarray, ...]]:
        nonlocal done
        for inputs in runs.of(numbers):
            progress("runs", done, total)
            yield inputs
            done += 1

    form = calibrated(graph, told(first), percentile)
    losses = loss(graph, form, told(second), threshold)
    progress("", total, total)
    sizes = count.weight_bytes(graph), count.weight_bytes(form)
    return Int8Form(write_model(form), sizes, len(first), runs.source, losses)

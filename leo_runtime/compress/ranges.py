"""What the values of a model's tensors range over, as seen in runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from leo_runtime.compress import CompressError
from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph


@dataclass(frozen=True, slots=True)
class Range:
    """From a least to a greatest real; 0 lies in it, so that it can be stored exactly."""

    least: float
    greatest: float

    def with_(self, other: Range) -> Range:
        """The least range that holds both."""
        return Range(min(self.least, other.least), max(self.greatest, other.greatest))


def range_of(values: np.ndarray, percentile: float = 100.0) -> Range:
    """What values range over; with a percentile P, from their (100 - P)-th to their P-th: what is beyond is cut off."""
    if percentile >= 100:
        least, greatest = values.min(initial=0.0), values.max(initial=0.0)
    else:
        least, greatest = np.percentile(values, (100 - percentile, percentile)) if values.size else (0.0, 0.0)
    return Range(min(float(least), 0.0), max(float(greatest), 0.0))


def observed(graph: LayerGraph, runs: Iterable[Sequence[np.ndarray]], percentile: float = 100.0) -> Mapping[int, Range]:
    """What each tensor of float32 that is no constant ranges over in these runs, by its number.

    Each run's inputs are in the graph's order. Of several runs the least and the greatest of all. Raises
    `CompressError` where a run gives NaN or infinity. From any thread.
    """
    found: dict[int, Range] = {}
    moving = [n for n, tensor in enumerate(graph.tensors) if tensor.data is None and tensor.dtype == np.float32]
    for index, inputs in enumerate(runs):
        values = reference.values_of(graph, inputs)
        for number in moving:
            if number not in values:
                continue
            if not np.isfinite(values[number]).all():
                raise CompressError(
                    f"{graph.name}: run {index} of the data gives NaN or infinity at `{graph.tensors[number].name}`"
                )
            one = range_of(values[number], percentile)
            found[number] = found[number].with_(one) if number in found else one
    return found

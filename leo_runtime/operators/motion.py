"""Motion: what a window of it is summed up as."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import AboveZero, NotNegative, Operator, Shape, Work, shown, values
from leo_runtime.schema import Rate, Value


class MotionFeaturesParameters(Value):
    """What a window of motion is summed up as."""

    sample_rate_hz: Rate
    band_edges_hz: Annotated[tuple[NotNegative, ...], Field(min_length=2)]
    """Rising; band b holds the frequencies f with edges[b] <= f < edges[b + 1]."""
    floor: AboveZero = 1e-6
    """Added to a variance or an energy before its logarithm."""


def _motion_channels(shape: Shape) -> int:
    if len(shape) > 2:
        raise GraphError(f"`motion_features` takes (samples,) or (samples, channels), got {shown(shape)}")
    return shape[1] if len(shape) == 2 else 1


def _motion_features_shape(params: MotionFeaturesParameters, shapes: Sequence[Shape]) -> Shape:
    edges = params.band_edges_hz
    if any(b <= a for a, b in pairwise(edges)):
        raise GraphError(f"the edges of the bands must rise, got {list(edges)}")
    return (_motion_channels(shapes[0]), 1 + len(edges))


def _motion_features_work(params: MotionFeaturesParameters, shapes: Sequence[Shape]) -> Work:
    samples, channels = shapes[0][0], _motion_channels(shapes[0])
    transform = samples * max(1, samples.bit_length() - 1)
    return Work(channels * (3 * samples + transform), 4 * values(shapes[0], _motion_features_shape(params, shapes)))


MOTION_FEATURES = Operator(
    name="motion_features",
    summary="For each channel of n samples: its mean, the ln of its variance (plus floor), and for each band the "
    "ln of its energy (plus floor). With X the Fourier transform of the channel without its mean, point k "
    "at frequency f = k sample_rate_hz / n, k = 1 to n // 2, has the energy 2 |X[k]|^2 / n^2, half of "
    "that where k = n / 2: the energies of all points add up to the variance. Output: (channels, 2 + "
    "bands).",
    parameters=MotionFeaturesParameters,
    output_shape=_motion_features_shape,
    work=_motion_features_work,
)


OPERATORS = (MOTION_FEATURES,)

"""Arrays as they are: a window of samples, weighed sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leo_backends.dsp.cycles import Loops
from leo_backends.dsp.fixed_point import Ints, mantissas, saturated32, shifted
from leo_backends.dsp.operators.definition import DspOperator, Message, narrow
from leo_runtime.operators import Shape
from leo_runtime.operators.arrays import FuseParameters, WindowParameters


@dataclass(frozen=True, slots=True, eq=False)
class WindowPlan:
    """A copy of so many values."""

    values: int


def _plan_window(_params: WindowParameters, shapes: Sequence[Shape]) -> WindowPlan:
    return WindowPlan(math.prod(shapes[0]))


def window(_plan: WindowPlan, inputs: Sequence[Ints]) -> Ints:
    """The samples as they are."""
    return inputs[0]


def _window_loops(plan: WindowPlan) -> Loops:
    return {"call": 1, "value": plan.values}


def _window_message(_plan: WindowPlan) -> Message:
    return Message([], [])


def _shape_of_input(_plan: WindowPlan | FusePlan, inputs: Sequence[Ints]) -> Shape:
    return inputs[0].shape


WINDOW = DspOperator(
    plan=_plan_window,
    run=window,
    input_q=16,
    program="copy",
    message=_window_message,
    output_shape=_shape_of_input,
    loops=_window_loops,
)


@dataclass(frozen=True, slots=True, eq=False)
class FusePlan:
    """Weights are 16 bits in Q `weights_q`, one an input."""

    values: int
    weights: Ints
    weights_q: int


def _plan_fuse(params: FuseParameters, shapes: Sequence[Shape]) -> FusePlan:
    weights, weights_q = mantissas(np.array(params.weights or (1 / len(shapes),) * len(shapes)))
    return FusePlan(math.prod(shapes[0]), weights, weights_q)


def fuse(plan: FusePlan, inputs: Sequence[Ints]) -> Ints:
    """The weighted sum, of the inputs' shape."""
    total = np.zeros_like(inputs[0])
    for weight, array in zip(plan.weights, inputs, strict=True):
        total += array * weight
    return saturated32(shifted(total, plan.weights_q))


def _fuse_loops(plan: FusePlan) -> Loops:
    return {"call": 1, "product": plan.values * len(plan.weights), "value": plan.values}


def _fuse_message(plan: FusePlan) -> Message:
    return Message([len(plan.weights), plan.values, plan.weights_q], [narrow(plan.weights)])


FUSE = DspOperator(
    plan=_plan_fuse,
    run=fuse,
    input_q=16,
    program="fuse",
    message=_fuse_message,
    output_shape=_shape_of_input,
    loops=_fuse_loops,
)

OPERATORS = {"window": WINDOW, "fuse": FUSE}

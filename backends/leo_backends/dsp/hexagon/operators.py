"""Hands the plans of the fixed-point operators to the Hexagon program, whose functions compute the same integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leo_backends.dsp.fixed_point import Ints
from leo_backends.dsp.hexagon.machine import Counted, HexagonMachine, LoadedModel
from leo_backends.dsp.operators import DspOperator, Plan

INPUT_TYPES = {15: "<i2", 16: "<i4"}
"""What an operator's inputs are to the program, by their Q."""


@dataclass(slots=True)
class HexagonOperator:
    """A plan in the program: the same function of integers as the operator's own `run`."""

    model: LoadedModel
    operator: DspOperator
    plan: Plan

    def __call__(self, inputs: Sequence[Ints]) -> Ints:
        """Integers in, 32-bit integers out, as int64. Raises `KernelError`."""
        return self.counted(inputs)[0]

    def counted(self, inputs: Sequence[Ints]) -> tuple[Ints, Counted]:
        """The same, and what the processor executed for it."""
        joined = np.concatenate([array.reshape(-1) for array in inputs]).astype(INPUT_TYPES[self.operator.input_q])
        run = self.model.run([joined])
        output = np.frombuffer(run.output, "<i4").astype(np.int64)
        return output.reshape(self.operator.output_shape(self.plan, inputs)), run


def load(machine: HexagonMachine, operator: DspOperator, plan: Plan) -> HexagonOperator:
    """Put an operator's plan into the program. Raises `KernelError`."""
    words, arrays = operator.message(plan)
    return HexagonOperator(machine.load(operator.program, words, arrays), operator, plan)

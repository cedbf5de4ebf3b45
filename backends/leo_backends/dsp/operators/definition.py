"""What the DSP has for one operator: its arithmetic, its program's message, and how often the program's loops run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from leo_backends.dsp.cycles import Loops
from leo_backends.dsp.fixed_point import Ints, to_q15, to_q16
from leo_runtime.operators import Shape

Plan = Any
"""What is made ready when a stage is loaded: a dataclass of an operator's own, of integers and arrays of integers."""


class Message(NamedTuple):
    """A plan as the program reads it; the order of words and arrays is told at the top of each of its files."""

    words: list[int]
    arrays: list[np.ndarray]


def loading(numbers: int, weights: int = 0) -> Loops:
    """The loops of loading a plan of so many numbers that are copied and weights that are laid out."""
    return {"load": 1, "load_number": numbers, "load_weight": weights}


@dataclass(frozen=True, slots=True)
class DspOperator:
    """How one operator is made ready and run, and what its program in `hexagon/program` needs to compute the same."""

    plan: Callable[..., Plan]
    """From the operator's parameters and the shapes of its inputs. Raises `KernelError` for a model that is wrong."""
    run: Callable[..., Ints]
    """The output, from the plan and the inputs."""
    input_q: Literal[15, 16]
    """15: 16 bits in Q15; 16: 32 bits in Q16. The output is 32 bits in Q16 always."""
    program: str
    """What its functions in the program are called, before `_prepare` and `_run`."""
    message: Callable[[Any], Message]
    """A plan as those functions read it."""
    output_shape: Callable[[Any, Sequence[Ints]], Shape]
    """From the plan and the inputs."""
    loops: Callable[[Any], Loops]
    """How often each loop of a run goes round (`cycles`)."""
    load_loops: Callable[[Any], Loops] = lambda _plan: loading(0)
    """The same of loading the plan."""
    passes: Callable[[Any], int] = lambda _plan: 1
    """How often a run goes through the plan's weights."""
    fits: Callable[[Any, Sequence[Shape]], bool] = lambda _params, _shapes: True
    """Whether the arithmetic's ranges hold for these parameters; where they do not, the DSP cannot run the stage."""


def q16(value: float) -> int:
    """The nearest integer in Q16."""
    return math.floor(value * 2**16 + 0.5)


def integers(array: np.ndarray, input_q: Literal[15, 16]) -> Ints:
    """What the DSP is handed for an array: 16-bit samples are in Q15 already."""
    if array.dtype == np.int16:
        return array.astype(np.int64) << (input_q - 15)
    return to_q15(array) if input_q == 15 else to_q16(array)


def real(output: Ints) -> np.ndarray:
    """An output in Q16 as float32."""
    return np.asarray(output / 2.0**16, np.float32)


def narrow(values: Ints) -> np.ndarray:
    """An array of 16-bit numbers as the program reads it."""
    return values.astype("<i2")


def word(values: Ints) -> np.ndarray:
    """An array of 32-bit numbers as the program reads it."""
    return values.astype("<i4")


def wide(*values: int) -> list[int]:
    """Each value of 64 bits as two words, the low one first."""
    halves: list[int] = np.array(values, "<i8").view("<i4").tolist()
    return halves

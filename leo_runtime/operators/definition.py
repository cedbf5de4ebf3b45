"""What an operator is: its parameters, the shape of its output, its work, and what it holds in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from leo_runtime.frozen import dataclass
from leo_runtime.schema import Value

Shape = tuple[int, ...]
"""Lengths of an array's axes."""

DataType = Literal["int8", "uint8", "int16", "uint16", "int32", "int64", "bool", "float16", "float32", "float64"]
"""What each value of an output is where it is sent or held, by numpy's names."""

Function = Callable[..., np.ndarray]

NotNegative = Annotated[float, Field(ge=0.0)]
AboveZero = Annotated[float, Field(gt=0.0)]


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage has to do, whoever does it: multiply-accumulates, and bytes read and written (weights too)."""

    macs: int
    bytes: int
    is_int8: bool = False
    """Whether it multiplies integers of 8 bits."""
    is_known: bool = True
    """False: nobody knows the multiply-accumulates."""


@dataclass(frozen=True, slots=True)
class Output:
    """One array of what a stage gives, as it crosses from one processor to another."""

    name: str
    shape: Shape
    data_type: DataType = "float32"
    scale: float = 0.0
    """Above 0: a value stands for the real scale * (value - zero_point), which readers other than models are given."""
    zero_point: int = 0
    is_packed: bool = False
    """It is packed bytes (`operators.packing`), at most as many as `shape` says, which only `unpack` reads."""

    def allows(self, shape: Shape) -> bool:
        """Whether an array of it may have this shape."""
        return shape == self.shape or (self.is_packed and len(shape) == 1 and shape[0] <= self.shape[0])

    @property
    def bytes(self) -> int:
        """What it takes where it is sent or held."""
        return item_bytes(self.data_type) * math.prod(self.shape)

    def limits(self) -> tuple[float, float]:
        """The least and the greatest real that a quantised value stands for."""
        ends = np.iinfo(self.data_type)
        return self.scale * (int(ends.min) - self.zero_point), self.scale * (int(ends.max) - self.zero_point)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stage that is cut: the parameters it has of its own, and the rows of the input it reads."""

    params: dict[str, Any]
    first_row: int = 0
    rows: int | None = None
    """None: it reads the whole input."""


class NoParameters(Value):
    """The parameters of an operator that has none."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a stage keeps state from one run to the next; its functions get the parameters first."""

    state_bytes: Callable[[Any, Sequence[Shape]], int]
    """What its state holds, for inputs of these shapes: that moves where the stage moves."""
    work: Callable[[Any, Sequence[Shape], int], Work]
    """The work of a run to which so many entries, along the first axis of its first input, are new. A run that starts
    anew has `Operator.work`."""
    entries: Callable[[Any, int], int] | None = None
    """How many entries, along the first axis, its output has had in all when its first input has had so many since the
    start; None: every run gives a new output as a whole, and readers that keep state take it as such."""
    on_gap: Literal["reset", "tell"] = "reset"
    """What a run does to which entries are missing, since runs were left out for longer than its input reaches back, or
    samples were lost: it starts anew, or goes on and is told."""


@dataclass(frozen=True, slots=True)
class StepClass:
    """A user's own operator that keeps state: a class of which every instance is one state."""

    kind: type
    start_takes: tuple[str, ...] | None
    """The parameters of its `start`; None: it has none."""
    step_takes: tuple[str, ...]
    """Those of its `step`, without `news`."""
    wants_news: bool
    """Whether `step` has the keyword `news`."""
    resets: bool
    """Whether its own `reset` is called where entries are missing, and it goes on."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator. `output_shape`, `work` and `weight_bytes` get the parameters, then the shapes of the inputs."""

    name: str
    summary: str
    parameters: type[Value]
    output_shape: Callable[[Any, Sequence[Shape]], Shape]
    work: Callable[[Any, Sequence[Shape]], Work]
    inputs: tuple[int, int | None] = (1, 1)
    """The least and the greatest number of inputs; None is any number."""
    outputs: Callable[[Any, Sequence[Shape]], tuple[Output, ...]] | None = None
    """What it gives where that is not one array of float32, by parameters and shapes of inputs: `output_shape` is then
    that of the only one, or () of several."""
    takes: Callable[[Any], tuple[Output, ...]] | None = None
    """The arrays that it reads as they are stored: given those of the same type and scale, it gets them as they
    crossed. All others, and all that other operators are given, come in float32."""
    sent_bytes: Callable[[Any, Sequence[Shape]], int] | None = None
    """How many bytes its output has, by parameters and shapes of inputs, where that may be fewer than its shape says;
    the most, where it depends on the values."""
    is_gate: bool = False
    """Its output is one number: above 0 opens the gate, and lets the stages behind it run."""
    is_source: bool = False
    """It reads a sensor stream: its one input array is the window of raw samples, and it has no input stages."""
    only_costs: bool = False
    """Nothing computes it: a run in virtual time takes what the profile says by the stage's name, and gives zeros."""
    takes_absent: bool = False
    """An input that a closed gate removed is given as zeros; any other operator is then removed itself."""
    cut: Callable[[Any, Sequence[Shape], int], tuple[Part, ...]] | None = None
    """Cuts the stage into so many parts whose outputs, one after the other, are its output; None: it cannot be cut.
    Parts of parameters follow each other along the last axis, parts of rows along the first."""
    sample_rate_hz: int | None = None
    """The one rate of the samples it reads; None: any, or what its parameter `sample_rate_hz` says."""
    weight_bytes: Callable[[Any, Sequence[Shape]], int] | None = None
    """What it holds in memory from run to run (a model's weights), in bytes; None: nothing."""
    weights: Callable[[Any, Sequence[Shape]], tuple[tuple[str, int], ...]] | None = None
    """These by label, where they are loaded: labels that are equal are the same bytes. None: all of it is one label,
    which the operator, its parameters and its files make."""
    keeps: Callable[[Any], Keeping | None] | None = None
    """How it keeps state with these parameters; None, or a function that gives None: every run stands alone."""
    rows: Callable[[Any], Callable[[Any, int], int] | None] | None = None
    """Of one that keeps no state with these parameters, as `Keeping.entries`, where entries along the first axis are
    those of the window before that are in this one, too; None, or a function that gives None: its output is another as
    a whole."""
    function: Function | None = None
    """A user's own operator: what computes it, called with the input arrays and the parameters by keyword; of one that
    keeps state, its class."""
    step_class: StepClass | None = None
    """Of a user's own operator that keeps state, how its class is called."""


def without_later_defaults(params: Value, given: dict[str, Any], later: Collection[str]) -> dict[str, Any]:
    """What parameters are written as, which is `given`, without those that came `later` and are at their defaults.

    So stages of before are written as they were, and profiles go on to know them by it.
    """
    fields = type(params).model_fields
    return {name: value for name, value in given.items() if name not in later or value != fields[name].default}


def item_bytes(data_type: DataType) -> int:
    """The size of one value, in bytes."""
    return np.dtype(data_type).itemsize


def values(*shapes: Shape) -> int:
    """How many values arrays of these shapes hold together."""
    return sum(math.prod(shape) for shape in shapes)


def shown(shape: Shape) -> str:
    """A shape as messages show it: (800,) or (98, 40)."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"

"""What a kind of layer is, and a layer with its tensors at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from leo_runtime.layers.graph import Layer, LayerGraph, Option, Shape, Tensor

Arrays = Sequence[np.ndarray | None]
"""The values of a layer's inputs, constants among them; None: one that is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A layer with its tensors in the place of their numbers."""

    kind: str
    options: Mapping[str, Option]
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    def input(self, index: int) -> Tensor:
        """An input that is there. Raises `LookupError` where it is left out."""
        tensor = self.optional(index)
        if tensor is None:
            raise LookupError(f"{self.kind} has no input {index}")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """An input; None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def number(self, option: str) -> int:
        """An option that is a whole number."""
        value = self.options[option]
        assert isinstance(value, int)
        return value

    def real(self, option: str) -> float:
        """An option that is a number."""
        value = self.options[option]
        assert isinstance(value, int | float)
        return float(value)

    def choice(self, option: str) -> str:
        """An option that is one of several names."""
        value = self.options[option]
        assert isinstance(value, str)
        return value

    @property
    def quantised(self) -> bool:
        """Whether what it gives stands for reals by a scale."""
        return bool(self.outputs[0].scale)


def call_of(graph: LayerGraph, layer: Layer) -> Call:
    """A layer of a graph with its tensors."""
    return Call(
        layer.kind,
        layer.options,
        tuple(None if number < 0 else graph.tensors[number] for number in layer.inputs),
        tuple(graph.tensors[number] for number in layer.outputs),
    )


@dataclass(frozen=True, slots=True)
class OptionField:
    """An option of a kind of layer, and where a `.tflite` file has it."""

    name: str
    field: int
    """Its number in the table of the kind's options."""
    form: Literal["b", "i", "f", "?", "i*"]
    """Its type as `struct` calls it; "i*" is a vector of int32."""
    default: Option
    """What it is where the file does not say; of an enumeration a name."""
    choices: tuple[str, ...] = ()
    """The names of 0, 1, ... of an enumeration; empty: it is a number."""


@dataclass(frozen=True, slots=True)
class LayerKind:
    """A kind of layer: how a file says it, and what it means.

    Functions are pure; they get a call that `refusal` found nothing against, and may be called from any
    thread.
    """

    name: str
    """In TensorFlow Lite's schema."""
    code: int
    """Its number in the schema (`BuiltinOperator`)."""
    options_table: int
    """The number of its table of options in the schema (`BuiltinOptions`); 0: it has none."""
    options: tuple[OptionField, ...]
    inputs: tuple[int, int | None]
    """The least and the greatest number of inputs; None is any number."""
    types: tuple[str, ...]
    """What its first input may be, by numpy's names."""
    shapes: Callable[[Call], tuple[Shape, ...]]
    """The shapes of its outputs by those of its inputs, its constants and options. Raises `ValueError` for inputs that
    do not fit each other."""
    compute: Callable[[Call, Arrays], tuple[np.ndarray, ...]]
    """The reference: its outputs."""
    macs: Callable[[Call], int] = lambda _call: 0
    """Multiply-accumulates of one run."""
    refuses: Callable[[Call], str | None] = lambda _call: None
    """What is asked for that is not computed, as a clause: "its padding is ..."; None: nothing. It may raise
    `ValueError` with that clause as well."""
    keeps_type: bool = True
    """Its outputs are of the type of its first input, quantised where that is."""
    is_heavy: bool = False
    """A block of a model is made for one such layer: what else there is goes along with it."""


PADDING = OptionField("padding", 0, "b", "SAME", ("SAME", "VALID"))
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")


def fused(field: int) -> OptionField:
    """The activation that a layer has fused, by the number of its field."""
    return OptionField("fused_activation_function", field, "b", "NONE", ACTIVATIONS)


FLOAT = ("float32",)
BOTH = ("float32", "int8")

"""What each operator means: its parameters, the shape of its output, and its work.

An operator is a meaning, not a program: backends bring the programs. Values between stages are float32 arrays. The
text of `Operator.summary` and the docstring of its parameters are the one written meaning every backend is held to;
the CPU backend is the reference.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import create_model

from leo_runtime.documents import Value
from leo_runtime.errors import GraphError

Shape = tuple[int, ...]
"""Lengths of an array's axes."""

Function = Callable[..., np.ndarray]


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage has to do, whoever does it: multiply-accumulates, and bytes read and written (weights too)."""

    macs: int
    bytes: int


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
class Operator:
    """One operator. `output_shape` and `work` get the parameters, then the shapes of the inputs."""

    name: str
    summary: str
    parameters: type[Value]
    output_shape: Callable[[Any, Sequence[Shape]], Shape]
    work: Callable[[Any, Sequence[Shape]], Work]
    inputs: tuple[int, int | None] = (1, 1)
    """The least and the greatest number of inputs; None is any number."""
    is_gate: bool = False
    """Its output is one number: above 0 opens the gate, and lets the stages behind it run."""
    is_source: bool = False
    """It reads a sensor stream: its one input array is the window of raw samples, and it has no input stages."""
    takes_absent: bool = False
    """An input that a closed gate removed is given as zeros; any other operator is then removed itself."""
    cut: Callable[[Any, Sequence[Shape], int], tuple[Part, ...]] | None = None
    """Cuts the stage into so many parts whose outputs, one after the other, are its output; None: it cannot be cut.
    Parts of parameters follow each other along the last axis, parts of rows along the first."""
    sample_rate_hz: int | None = None
    """The one rate of the samples it reads; None: any, or what its parameter `sample_rate_hz` says."""
    weight_bytes: Callable[[Any, Sequence[Shape]], int] | None = None
    """What it holds in memory from run to run (a model's weights), in bytes; None: nothing."""
    function: Function | None = None
    """A user's own operator: what computes it, called with the input arrays and the parameters by keyword."""


_operators: dict[str, Operator] = {}


def define(operator: Operator) -> Operator:
    """Make an operator known by its name.

    One of your own (`module:function`) may be defined again, as a notebook does. Raises `GraphError` for the name of
    any other.
    """
    if ":" not in operator.name and operator.name in _operators:
        raise GraphError(f"an operator called `{operator.name}` is already defined", hint="give yours another name")
    _operators[operator.name] = operator
    return operator


def find_operator(name: str) -> Operator:
    """The operator of that name; `package.module:function` imports a user's own. Raises `GraphError`."""
    _define_built_in()
    if name not in _operators and ":" in name:
        module = name.partition(":")[0]
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise GraphError(
                f"the module of operator `{name}` cannot be imported ({error})",
                hint="install its package, or set PYTHONPATH to its folder",
            ) from None
    if name not in _operators:
        raise GraphError(
            f"no operator is called `{name}`",
            hint=f"one of {', '.join(sorted(_operators))}, or your own as `package.module:function`",
        )
    return _operators[name]


def all_operators() -> tuple[Operator, ...]:
    """Every operator known so far, by name."""
    _define_built_in()
    return tuple(_operators[name] for name in sorted(_operators))


def _define_built_in() -> None:
    """Make the operators that ship with leo-runtime known: their module needs this one, so it is imported late."""
    importlib.import_module("leo_runtime.builtin_operators")


def operator(
    *,
    output_shape: Callable[..., Shape],
    macs: Callable[..., int] | None = None,
    weight_bytes: Callable[..., int] | None = None,
    inputs: tuple[int, int | None] = (1, 1),
) -> Callable[[Function], Operator]:
    """Make a Python function an operator, known as `module:function`.

    The function gets the input arrays by position and its parameters by keyword (annotated, as in
    `def peaks(signal, *, height: float = 0.5)`), and returns an array of the shape that `output_shape` gives for the
    shapes of the inputs and the same keywords. `macs` (its work) and `weight_bytes` (what it holds in memory from run
    to run) are called in the same way; None is 0.
    """

    def decorate(function: Function) -> Operator:
        keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        fields: dict[str, Any] = {
            p.name: (Any if p.annotation is p.empty else p.annotation, ... if p.default is p.empty else p.default)
            for p in keywords
        }
        hints = inspect.get_annotations(function, eval_str=True)
        fields = {name: (hints.get(name, kind), default) for name, (kind, default) in fields.items()}

        def work(params: Value, shapes: Sequence[Shape]) -> Work:
            sizes = [*shapes, output_shape(*shapes, **params.model_dump())]
            moved = sum(4 * int(np.prod(shape)) for shape in sizes) + weights(params, shapes)
            return Work(macs(*shapes, **params.model_dump()) if macs else 0, moved)

        def weights(params: Value, shapes: Sequence[Shape]) -> int:
            return weight_bytes(*shapes, **params.model_dump()) if weight_bytes else 0

        return define(
            Operator(
                name=f"{function.__module__}:{function.__qualname__}",
                summary=inspect.getdoc(function) or "",
                parameters=create_model(f"{function.__name__}_parameters", __base__=Value, **fields),
                output_shape=lambda params, shapes: tuple(output_shape(*shapes, **params.model_dump())),
                work=work,
                inputs=inputs,
                weight_bytes=weights,
                function=function,
            )
        )

    return decorate

"""Makes a user's Python function an operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import create_model

from leo_runtime.documents import Value
from leo_runtime.operators.catalogue import define
from leo_runtime.operators.definition import Function, Operator, Shape, Work


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

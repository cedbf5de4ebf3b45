"""Makes a user's Python function an operator, or a class of which every instance is a state."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import index
from pathlib import Path
from types import CodeType
from typing import Any, Literal

from pydantic import create_model

from leo_runtime.errors import GraphError, words
from leo_runtime.operators.catalogue import define
from leo_runtime.operators.definition import Function, Keeping, Operator, Shape, StepClass, Work, shown, values
from leo_runtime.operators.modules import name_within
from leo_runtime.schema import MAX_QUANTITY, Value


def operator(
    *,
    output_shape: Callable[..., Shape],
    macs: Callable[..., int] | None = None,
    weight_bytes: Callable[..., int] | None = None,
    inputs: tuple[int, int | None] = (1, 1),
    state_bytes: Callable[..., int] | None = None,
    on_gap: Literal["reset", "tell"] = "reset",
    gate: bool = False,
) -> Callable[[Function | type], Operator]:
    """Make a Python function an operator, known as `module:function`, or a class one that keeps state.

    The function gets the input arrays by position and its parameters by keyword (annotated, as in
    `def peaks(signal, *, height: float = 0.5)`), and returns an array of the shape that `output_shape` gives for the
    shapes of the inputs and the same keywords. `macs` (its work) and `weight_bytes` (what it holds in memory from run
    to run) are called in the same way; None is 0. What one of them raises, or gives that is no shape or number, is a
    `GraphError` where the operator is used.

    Of a class every instance is one state: `step(self, signal, *, news, height: float = 0.5)` is called as such a
    function is, with `news` (`leo_runtime.backend.News`) where it asks for it, and may change the instance, of which
    the runtime makes a deep copy before. `start(self, signal, *, ...)`, which may be left out, gets the shapes of the
    inputs. `on_gap` says what is done where entries are missing: `reset` begins with a new instance, or calls
    `reset(self, news)` where the class has it and goes on; `tell` goes on, and `news.missed` says how many. What is to
    be met of the first input is `news.new(signal)`, whatever is missing.
    `state_bytes` is what an instance holds, called as `macs` is.

    Of a `gate` the output is one number: above 0 it opens, and lets the stages run that name it as theirs.

    `inputs` are the least and the greatest number of inputs; None is any number. Raises `GraphError` where they are
    not, where one of the functions is none or would have to be awaited, and for a class without `step`.
    """
    inputs = _input_counts(inputs)
    if on_gap not in ("reset", "tell"):
        raise GraphError(f"`on_gap` of an operator is `reset` or `tell`, got {on_gap!r}")
    asked_of = {"output_shape": output_shape, "macs": macs, "weight_bytes": weight_bytes, "state_bytes": state_bytes}
    for what, asked in asked_of.items():
        if not callable(asked) and (asked is not None or what == "output_shape"):
            raise GraphError(
                f"`{what}` of an operator is a function of the shapes of its inputs, got {asked!r}",
                hint=f"such as {what}=lambda shape: {'shape' if what == 'output_shape' else 'shape[0]'}",
            )

    def decorate(function: Function | type) -> Operator:
        steps = _step_class(function) if isinstance(function, type) else None
        if steps is None and (state_bytes is not None or on_gap != "reset"):
            raise GraphError(
                f"`{function.__qualname__}` keeps no state, so `state_bytes` and `on_gap` mean nothing",
                hint="a class with `start` and `step` keeps state",
            )
        _require_plain(function)
        fields = _parameters(function)
        name = f"{name_within(function.__module__)}:{function.__qualname__}"

        def called(what: str, asked: Callable[..., Any], params: Value, shapes: Sequence[Shape]) -> Any:
            try:
                return asked(*shapes, **params.model_dump())
            except GraphError:
                raise
            except (Exception, SystemExit) as error:
                given = ", ".join(["the shape of each input", *(f"{key}=..." for key in fields)])
                raise GraphError(
                    f"`{what}` of operator `{name}` failed: {failure(error, asked)}",
                    hint=f"it is called with {given}",
                ) from None

        def shape(params: Value, shapes: Sequence[Shape]) -> Shape:
            found = require_shape(name, called("output_shape", output_shape, params, shapes))
            if gate and values(found) != 1:
                raise GraphError(
                    f"operator `{name}` is a gate, and its `output_shape` gave {shown(found)}",
                    hint="the output of a gate is one number, as of output_shape=lambda *shapes: (1,)",
                )
            return found

        def amount(what: str, asked: Callable[..., int] | None, params: Value, shapes: Sequence[Shape]) -> int:
            return 0 if asked is None else require_amount(name, what, called(what, asked, params, shapes))

        def weights(params: Value, shapes: Sequence[Shape]) -> int:
            return amount("weight_bytes", weight_bytes, params, shapes)

        def work(params: Value, shapes: Sequence[Shape]) -> Work:
            moved = 4 * values(*shapes, shape(params, shapes)) + weights(params, shapes)
            return Work(amount("macs", macs, params, shapes), moved)

        keeping = Keeping(
            state_bytes=lambda params, shapes: amount("state_bytes", state_bytes, params, shapes),
            work=lambda params, shapes, _fresh: work(params, shapes),
            on_gap="tell" if steps is not None and steps.resets else on_gap,
        )
        return define(
            Operator(
                name=name,
                summary=inspect.getdoc(function) or "",
                parameters=create_model(f"{function.__name__}_parameters", __base__=Value, **fields),
                output_shape=shape,
                work=work,
                inputs=inputs,
                is_gate=gate,
                weight_bytes=weights,
                function=function,
                keeps=None if steps is None else lambda _params: keeping,
                step_class=None if steps is None else replace(steps, resets=steps.resets and on_gap == "reset"),
            )
        )

    return decorate


def _parameters(function: Function | type) -> dict[str, Any]:
    """The keywords of a function, or of a class's `start` and `step`, with their annotations and defaults."""
    if not isinstance(function, type):
        return _keywords(function)
    fields = {name: field for method in _methods(function) for name, field in _keywords(method).items()}
    fields.pop("news", None)
    return fields


def _require_plain(function: Function | type) -> None:
    """Raise `GraphError` for a function, or a method of a class, that gives no array when it is called."""
    for one in _methods(function) if isinstance(function, type) else [function]:
        code = inspect.unwrap(one)
        other = (
            "a coroutine function"
            if inspect.iscoroutinefunction(code)
            else "a generator function"
            if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
            else ""
        )
        if other:
            raise GraphError(
                f"`{one.__qualname__}` is {other}, and is to be an operator",
                hint="it is called on a lane's own thread, which may wait: a plain function that returns its output",
            )


def _methods(kind: type) -> list[Function]:
    return [method for name in ("start", "step") if (method := getattr(kind, name, None)) is not None]


def _keywords(function: Function) -> dict[str, Any]:
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    hints = inspect.get_annotations(function, eval_str=True)
    return {
        p.name: (
            hints.get(p.name, Any if p.annotation is p.empty else p.annotation),
            ... if p.default is p.empty else p.default,
        )
        for p in keywords
    }


def _step_class(kind: type) -> StepClass:
    """How a class is called. Raises `GraphError` where it cannot be."""
    for name in ("start", "step", "reset"):
        method = getattr(kind, name, None)
        if not callable(method) and (method is not None or name == "step"):
            raise GraphError(
                f"the class `{kind.__qualname__}` has no method `{name}`, and is to be an operator",
                hint="an operator that keeps state has step(self, *inputs, *, ...), which gives its output",
            )
    start, step = getattr(kind, "start", None), _keywords(kind.step)  # type: ignore[attr-defined]  # it has one
    return StepClass(
        kind=kind,
        start_takes=None if start is None else tuple(_keywords(start)),
        step_takes=tuple(name for name in step if name != "news"),
        wants_news="news" in step,
        resets=hasattr(kind, "reset"),
    )


def _input_counts(given: Any) -> tuple[int, int | None]:
    """The least and the greatest number of inputs. Raises `GraphError`."""
    counts = tuple(given) if isinstance(given, tuple | list) else ()
    if len(counts) == 2:
        least, most = counts
        if _is_count(least) and (most is None or (_is_count(most) and most >= least)):
            return least, most
    exactly = (
        f"inputs=({given}, {given}) where it takes {given}" if _is_count(given) else "inputs=(2, 2) where it takes 2"
    )
    raise GraphError(
        f"`inputs` of an operator are the least and the greatest number of its inputs, got {given!r}",
        hint=f"{exactly}; inputs=(1, None) where it takes any number",
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def failure(error: BaseException, function: Callable[..., Any] | None) -> str:
    """What a user's function raised, and where, as "KeyError: 'x' (steps.py:9)".

    The line is the last one in the function's own file, not in what that calls; its first where it was not entered.
    """
    said = words(error)
    code = None if function is None else _code(function)
    if code is None:
        return said
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == code.co_filename]
    return f"{said} ({Path(code.co_filename).name}:{lines[-1] if lines else code.co_firstlineno})"


def _code(function: Callable[..., Any]) -> CodeType | None:
    """What is written for a function, a method, a `partial` of one or an object that can be called; None: no Python."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


def require_shape(operator: str, given: Any) -> Shape:
    """What an operator's `output_shape` gave, as a shape. Raises `GraphError`."""
    try:
        shape = tuple(index(length) for length in given)
    except TypeError:
        shape = (-1,)
    if any(length < 0 for length in shape) or values(shape) > MAX_QUANTITY:
        raise GraphError(
            f"`output_shape` of operator `{operator}` gave {given!r}",
            hint=f"a shape is a tuple of integers of at least 0, such as (3,), of at most {MAX_QUANTITY:.0e} values",
        )
    return shape


def require_amount(operator: str, what: str, given: Any) -> int:
    """What an operator's `macs` or `weight_bytes` gave, as a number. Raises `GraphError`."""
    try:
        amount = index(given)
    except TypeError:
        amount = -1
    if not 0 <= amount <= MAX_QUANTITY:
        raise GraphError(
            f"`{what}` of operator `{operator}` gave {given!r}",
            hint=f"it is an integer from 0 to {MAX_QUANTITY:.0e}; round it by `int`",
        )
    return amount

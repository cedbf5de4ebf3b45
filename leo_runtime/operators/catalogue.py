"""Every operator by its name: those that ship, and users' own as soon as their module is imported."""

from __future__ import annotations

import importlib

from leo_runtime.errors import GraphError
from leo_runtime.operators import arrays, classifiers, motion, sound
from leo_runtime.operators.definition import Operator

BUILT_IN: tuple[Operator, ...] = tuple(
    sorted(
        (one for family in (arrays, classifiers, motion, sound) for one in family.OPERATORS), key=lambda one: one.name
    )
)
"""The operators that ship, by name."""

_operators: dict[str, Operator] = {one.name: one for one in BUILT_IN}


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
    return tuple(_operators[name] for name in sorted(_operators))

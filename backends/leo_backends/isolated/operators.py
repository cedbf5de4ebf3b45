"""How another process finds an operator: by its module, which it imports itself.

A user's function is compared by its code, so that what has the same name there, and is another one, is not run.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from leo_runtime.errors import KernelError
from leo_runtime.operators.catalogue import in_folder
from leo_runtime.operators.definition import Operator
from leo_runtime.operators.modules import folder_of, held


def findable_name(operator: Operator) -> str:
    """What another process finds the operator by. Raises `KernelError` where it cannot."""
    function = operator.function
    if function is None:
        return operator.name
    module = function.__module__
    if module == "__main__" or getattr(sys.modules.get(module), "__spec__", None) is None:
        where = "the script or notebook itself" if module == "__main__" else f"`{module}`, which no file is known of"
        raise KernelError(
            f"operator `{operator.name}` is defined in {where}: no other process can import it",
            hint="put it into a module beside the script, or leave it out of the processor's option `isolate`",
        )
    if "<locals>" in function.__qualname__:
        raise KernelError(
            f"operator `{operator.name}` is defined within a function: no other process can import it",
            hint="define it at the top of its module, or leave it out of the processor's option `isolate`",
        )
    folder = folder_of(module)
    return operator.name if folder is None else in_folder(folder, operator.name)


def digest(operator: Operator) -> bytes:
    """Of what a user's own operator computes, as it is written; empty for one that ships.

    Of what it calls only where its module lies in a workload's folder, and that does too.
    """
    if operator.function is None:
        return b""
    hashed = hashlib.blake2b(held(operator.function.__module__).encode(), digest_size=16)
    for code in _codes(operator.function):
        _add(code, hashed.update)
    return hashed.digest()


def _codes(function: Callable[..., Any], within: tuple[type, ...] = ()) -> list[CodeType]:
    """Of a function; of a class, of all its methods, and those of classes that it holds, which may hold it."""
    if isinstance(function, type):
        if function in within:
            return []
        members = [member for _, member in sorted(vars(function).items())]
        return [code for member in members for code in _codes(member, (*within, function)) if callable(member)]
    code = getattr(inspect.unwrap(function), "__code__", None)
    return [code] if isinstance(code, CodeType) else []


def _add(code: CodeType, update: Callable[[bytes], object]) -> None:
    update(code.co_code)
    update(repr((code.co_name, code.co_names, code.co_varnames, code.co_freevars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add(constant, update)
        else:  # The order in a set is another one in every process.
            update(repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode())

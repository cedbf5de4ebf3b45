"""Methods that threads may call for as long as somebody else has their object."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakMethod

_Given = ParamSpec("_Given")
_Gives = TypeVar("_Gives")


def while_there(method: Callable[_Given, _Gives], gone: Callable[[], _Gives]) -> Callable[_Given, _Gives]:
    """The method, which does not keep its object alive; once that is gone, what `gone` gives or raises."""
    known = WeakMethod(method)

    def call(*given: _Given.args, **named: _Given.kwargs) -> _Gives:
        there: Callable[_Given, _Gives] | None = known()
        return gone() if there is None else there(*given, **named)

    return call

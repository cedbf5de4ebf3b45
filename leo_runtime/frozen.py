"""Dataclasses with slots, mostly frozen, of which there are many: quickly made, and quick to make values of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, field, fields, make_dataclass
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

_Fields = ParamSpec("_Fields")
_Made = TypeVar("_Made")


def maker(kind: Callable[_Fields, _Made]) -> Callable[_Fields, _Made]:
    """A constructor of a frozen dataclass with slots that takes the same arguments, and about a third of the time.

    It fills a class of the same slots that is not frozen, and has that become the frozen one: what it gives differs in
    nothing from what the class itself does. Raises `TypeError` for a class that has no slots of its own alone, or that
    does something as it is made.
    """
    known = [(f.name, f.type, field(default=f.default, default_factory=f.default_factory)) for f in fields(kind)]  # type: ignore[arg-type]  # of a dataclass, which its type does not say
    name = getattr(kind, "__name__", "made")
    if hasattr(kind, "__post_init__") or tuple(name for name, *_ in known) != getattr(kind, "__slots__", None):
        raise TypeError(f"{name} has a `__post_init__`, or fields that are no slots of its own")

    def become(made: object) -> None:
        made.__class__ = kind  # type: ignore[assignment]  # both have the same slots

    # It is never seen: it needs nothing but a constructor.
    return make_dataclass(name, known, slots=True, repr=False, eq=False, namespace={"__post_init__": become})


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(kind=None, /, **how):
        """As `dataclasses.dataclass`, in a third of the time where it is one with slots, as most of ours are.

        Python writes and compiles each of a class's methods by itself, which takes as long as all else that importing
        `Runtime` does. Here they are compiled together, and those that can are shared. Python makes what is not plain:
        what inherits, has methods of its own in their place, no docstring, or fields that are only in some of them.
        """

        def make(kind):
            if how not in ({"slots": True}, _FROZEN, _FROZEN | {"eq": False}) or not _is_plain(kind):
                return dataclasses.dataclass(**how)(kind)
            made = dataclasses.dataclass(kind, init=False, repr=False, eq=False, slots=True)
            _complete(made, "frozen" in how, how.get("eq", True))
            return made

        return make if kind is None else make(kind)


_FROZEN = {"frozen": True, "slots": True}
_OWN = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__getstate__", "__setstate__"}


class _Factory:
    """In place of a default that is made anew each time."""

    def __repr__(self) -> str:
        return "<factory>"


def _is_plain(kind: type) -> bool:
    """Whether a class that is to be a dataclass has nothing that asks for more than the usual methods."""
    parts = [part for part in kind.__dict__.values() if isinstance(part, dataclasses.Field)]
    return (
        kind.__bases__ == (object,)
        and kind.__doc__ is not None
        and _OWN.isdisjoint(kind.__dict__)
        and not any("InitVar" in str(said) or "KW_ONLY" in str(said) for said in kind.__annotations__.values())
        and all(part.init and part.hash is None and part.kw_only is MISSING for part in parts)
    )


def _complete(kind: Any, frozen: bool, eq: bool) -> None:
    """Give a dataclass that has fields and slots its methods."""
    known = fields(kind)
    given: dict[str, Any] = {"_set": object.__setattr__, "_new": _Factory()}
    arguments, lines = [], []
    for part in known:
        name, value = part.name, part.name
        if part.default is not MISSING:
            given[f"_{name}"] = part.default
            arguments.append(f"{name}=_{name}")
        elif part.default_factory is not MISSING:
            given[f"_{name}"] = part.default_factory
            arguments.append(f"{name}=_new")
            value = f"_{name}() if {name} is _new else {name}"
        else:
            arguments.append(name)
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(kind, "__post_init__"):
        lines.append("self.__post_init__()")
    compared = [part.name for part in known if part.compare]
    mine, others = ("".join(f"{who}.{name}, " for name in compared) for who in ("self", "other"))
    code = f"def __init__(self, {', '.join(arguments)}):\n " + "\n ".join(lines or ["pass"])
    if eq:
        code += "\ndef __eq__(self, other):\n if other.__class__ is self.__class__:\n"
        code += f"  return ({mine}) == ({others})\n return NotImplemented"
        if frozen:
            code += f"\ndef __hash__(self):\n return hash(({mine}))"
    methods: dict[str, Any] = {}
    exec(code, given, methods)  # As `dataclasses` does.
    methods["__init__"].__annotations__ = {part.name: part.type for part in known} | {"return": None}
    methods["__repr__"] = _shown([part.name for part in known if part.repr])
    if eq and not frozen:
        kind.__hash__ = None
    for name, method in methods.items():
        method.__module__, method.__qualname__ = kind.__module__, f"{kind.__qualname__}.{name}"
        setattr(kind, name, method)
    if frozen:
        kind.__getstate__, kind.__setstate__ = _state, _restore
        kind.__setattr__, kind.__delattr__ = _assign, _delete
    how = kind.__dataclass_params__
    how.init, how.repr, how.eq, how.frozen = True, True, eq, frozen


def _shown(names: list[str]) -> Callable[[Any], str]:
    def shown(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    shown.__name__ = "__repr__"
    return recursive_repr()(shown)


def _state(self: Any) -> list[Any]:
    """What is stored of a frozen one; without it Python would set its fields one by one, which it does not let."""
    return [getattr(self, part.name) for part in fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for part, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, part.name, value)


def _assign(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")

"""Every operator by its name: those that ship, and users' own as soon as their module is imported."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Hashable, Iterable
from pathlib import Path

from leo_runtime.errors import GraphError, did_you_mean
from leo_runtime.operators import arrays, classifiers, costs, images, models, motion, packing, patches, sound
from leo_runtime.operators.definition import Operator
from leo_runtime.operators.modules import edited_in, folder_of, held, import_for, imported_anew, lies_in, name_in

_FAMILIES = (arrays, classifiers, costs, images, models, motion, packing, patches, sound)
BUILT_IN: tuple[Operator, ...] = tuple(
    sorted((one for family in _FAMILIES for one in family.OPERATORS), key=lambda one: one.name)
)
"""The operators that ship, by name."""

_operators: dict[str, Operator] = {one.name: one for one in BUILT_IN}
_importing = threading.RLock()


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
    """The operator of that name. Raises `GraphError`.

    `package.module:function` imports a user's own; `folder/module:function` one whose module lies in that folder.
    """
    found = _operators.get(name)
    if found is not None:
        return found
    place, _, function = name.rpartition(":")
    if not place:
        known = did_you_mean(name, [operator.name for operator in BUILT_IN])
        raise GraphError(f"no operator is called `{name}`", hint=f"{known}, or your own as `package.module:function`")
    folder, module = _split(place)
    with _importing:
        if folder is None:
            import_for(name, module)
        else:
            name = in_folder(folder, f"{module}:{function}")
            if name not in _operators:
                _import_in(folder, f"{module}:{function}")
        found = _operators.get(name)
    if found is None:
        raise GraphError(
            f"no operator is called `{module}:{function}`: its module defines none of that name",
            hint="an operator is a function under `@operator(output_shape=...)`",
        )
    return found


def refresh(names: Iterable[str]) -> None:
    """Import the modules of these operators anew that lie in a folder and were edited there, with what imports them.

    Of a folder all of them or none: raises what `find_operator` raises, and those are then what they were. From any
    thread.
    """
    folders: dict[Path, list[str]] = {}
    for name in names:
        folder, _ = _split(name.rpartition(":")[0])
        if folder is not None:
            folders.setdefault(folder, []).append(name)
    with _importing:
        for folder, wanted in folders.items():
            edited = edited_in(folder)
            if edited:
                _import_anew(folder, edited, wanted)


def _import_anew(folder: Path, edited: Collection[str], wanted: Iterable[str]) -> None:
    def defined() -> list[str]:
        return [name for name in tuple(_operators) if _lies_in(folder, name, edited)]

    before = {name: _operators.pop(name) for name in defined()}
    try:
        with imported_anew(edited):
            for name in wanted:
                find_operator(name)
    except BaseException:
        for name in defined():
            del _operators[name]
        _operators.update(before)
        raise


def _lies_in(folder: Path, operator: str, modules: Collection[str]) -> bool:
    """Whether an operator is of one of these modules of a folder."""
    own, module = _split(operator.rpartition(":")[0])
    return own == folder and name_in(folder, module) in modules


def code_key(operator: Operator) -> Hashable:
    """What is equal of operators of the same code: of one in a workload's folder that is the one its name is known by,
    what its module held, however often that was imported; else the operator itself."""
    module = "" if operator.function is None else operator.function.__module__
    folder = folder_of(module)
    with _importing:
        if folder is None or _operators.get(name := in_folder(folder, operator.name)) is not operator:
            return operator
        return (name, text) if (text := held(module)) else operator


def beside(folder: Path, name: str) -> str:
    """What an operator is called in a workload that lies in a folder: with the folder, where its module lies there."""
    module, colon, _ = name.rpartition(":")
    return in_folder(folder.resolve(), name) if colon and lies_in(folder, module) else name


def in_folder(folder: Path, name: str) -> str:
    """What `find_operator` knows an operator by whose module lies in a folder."""
    return str(folder / name)


def _split(place: str) -> tuple[Path | None, str]:
    """The folder and the module of `folder/module`; no folder where it is a module alone."""
    path = Path(place)
    return (None, place) if path.name == place else (path.parent.resolve(), path.name)


def _import_in(folder: Path, name: str) -> None:
    """Import the module of an operator from a folder; what it defines is known with the folder, and there alone."""
    before = dict(_operators)
    imported = False
    try:
        import_for(name, name_in(folder, name.rpartition(":")[0]))
        imported = True
    finally:
        defined = {known: one for known, one in _operators.items() if before.get(known) is not one}
        for known in defined:
            del _operators[known]
        _operators.update({known: before[known] for known in defined if known in before})
        for known, one in defined.items():
            module = known.rpartition(":")[0]
            if name_in(folder, module) in sys.modules:
                _operators[in_folder(folder, known)] = one
            elif imported or module in sys.modules:
                # What the module imports from elsewhere may define operators, too, and is there whatever it does.
                _operators[known] = one


def all_operators() -> tuple[Operator, ...]:
    """Every operator known so far, by name."""
    return tuple(_operators[name] for name in sorted(_operators))

"""Who places in a study: a solver by its name, a policy that is installed, or a function of a module of one's own.

A policy is a function as `RuntimeOptions.solver` takes it. A package brings one by an entry point:

    [project.entry-points."leo_runtime.policies"]
    cheapest = "my_package.policies:cheapest"
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from leo_runtime.errors import InputError, SolverError, did_you_mean
from leo_runtime.solver import SOLVERS

ENTRY_POINTS = "leo_runtime.policies"


@dataclass(frozen=True, slots=True)
class Policy:
    """Who places."""

    name: str
    function: Callable[..., Any] | None
    """None: a solver of that name."""
    digest: str = ""
    """Of the files that have the function and what names it, where there are any: other files make another cell."""


def policy(name: str, folder: Path) -> Policy:
    """The policy of that name; a module is looked for in the folder first. Raises `SolverError` or `InputError`."""
    if name in SOLVERS:
        return Policy(name, None)
    installed = _installed()
    if name in installed:
        return _of(name, _loaded(name, installed[name].load), sys.modules.get(installed[name].module))
    module, colon, function = name.partition(":")
    if not colon:
        hint = f"{did_you_mean(name, [*SOLVERS, *installed])}; a function of your own is named `module:function`"
        raise SolverError(f'no solver is called "{name}"', hint=hint)
    named_in = found = _loaded(name, lambda: _module(module, folder))
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise SolverError(
            f"the solver `{name}` is no function: `{module}` has nothing to call of the name `{function}`",
            hint="a solver is a function from a Problem to its Placement",
        )
    return _of(name, found, named_in)


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (Exception, SystemExit) as error:  # Foreign code: whatever it raises means that it cannot be used.
        raise InputError(
            f"the solver `{name}` cannot be imported ({type(error).__name__}: {error})",
            hint="its module lies beside the study, or is installed",
        ) from error


def _module(name: str, folder: Path) -> ModuleType:
    file = folder / f"{name.replace('.', '/')}.py"
    if not file.is_file():
        return import_module(name)
    # By a name of its own: what is beside a study is not to stand in for what is installed under that name.
    digest = hashlib.sha256(str(file.resolve()).encode() + file.read_bytes()).hexdigest()
    called = f"_leo_study_{digest[:16]}_{name.rpartition('.')[2]}"
    if called in sys.modules:
        return sys.modules[called]
    spec = spec_from_file_location(called, file)
    assert spec is not None and spec.loader is not None, "it is a file of Python"
    made = sys.modules[called] = module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[called]
        raise
    return made


def _of(name: str, function: Callable[..., Any], named_in: ModuleType | None) -> Policy:
    """The policy. A function that is wrapped, or comes from elsewhere, says little of the module that names it."""
    contents: dict[bytes, None] = {}
    for part in (named_in, function if inspect.isroutine(function) else type(function)):
        with suppress(TypeError, OSError):
            file = None if part is None else inspect.getsourcefile(part)
            if file is not None:
                contents[Path(file).read_bytes()] = None
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    return Policy(name, function, "/".join(digests))

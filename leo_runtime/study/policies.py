"""Who places in a study: a solver by its name, a policy that is installed, or a function of a module of one's own.

A policy is what `RuntimeOptions.solver` takes: a function, or an event-driven one (`leo_runtime.frame.event_driven`). A
package brings one by an entry point:

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
from leo_runtime.frame.event_driven import EventPolicy
from leo_runtime.solver import SOLVERS
from leo_runtime.solver.context import takes
from leo_runtime.solver.event_policies import EVENT_POLICIES
from leo_runtime.solver.preferences import preferences

ENTRY_POINTS = "leo_runtime.policies"


@dataclass(frozen=True, slots=True)
class Policy:
    """Who places."""

    name: str
    function: Callable[..., Any] | EventPolicy | None
    """None: a solver of that name."""
    digest: str = ""
    """Of the files that have the function and what names it, where there are any: other files make another cell."""


def policy(name: str, folder: Path) -> Policy:
    """The policy of that name; a module is looked for in the folder first. Raises `SolverError` or `InputError`."""
    if name in SOLVERS or preferences(name) is not None:
        return Policy(name, None)
    if name in EVENT_POLICIES:
        return Policy(name, EVENT_POLICIES[name])
    installed = _installed()
    if name in installed:
        return _of(name, _loaded(name, installed[name].load), sys.modules.get(installed[name].module))
    module, colon, function = name.partition(":")
    if not colon:
        known = did_you_mean(name, [*SOLVERS, *EVENT_POLICIES, *installed])
        hint = f"{known}; a function of your own is named `module:function`"
        raise SolverError(f'no solver is called "{name}"', hint=hint)
    named_in = found = _loaded(name, lambda: _module(module, folder))
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found) and not isinstance(found, EventPolicy):
        raise SolverError(
            f"the solver `{name}` is no function: `{module}` has nothing to call of the name `{function}`",
            hint="a solver is a function from a Problem to its Placement, or an event-driven policy",
        )
    return _of(name, found, named_in)


def require_takes_limit(one: Policy, limit_nodes: int | None) -> None:
    """Raise `InputError` for a limit that a function of one's own does not take."""
    assert callable(one.function), "it is a function"
    if limit_nodes is not None and not takes(one.function, "limit_nodes"):
        raise InputError(
            f"the solver `{one.name}` takes no `limit_nodes`, got {limit_nodes}",
            hint="give it a keyword of that name, or leave the limit out",
        )


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


def _of(name: str, function: Callable[..., Any] | EventPolicy, named_in: ModuleType | None) -> Policy:
    """The policy. A function that is wrapped, or comes from elsewhere, says little of the module that names it."""
    contents: dict[bytes, None] = {}
    written: Any = function.written if isinstance(function, EventPolicy) else function
    for part in (named_in, written if inspect.isroutine(written) or inspect.isclass(written) else type(written)):
        with suppress(TypeError, OSError):
            file = None if part is None else inspect.getsourcefile(part)
            if file is not None:
                contents[Path(file).read_bytes()] = None
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    return Policy(name, function, "/".join(digests))

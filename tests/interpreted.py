"""What is compiled besides the solver, as the interpreter runs it: above all the dispatcher."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import leo_runtime.dispatch.dispatcher
from leo_runtime.dispatch.dispatcher import Dispatcher

PACKAGE = "leo_runtime.dispatch"
SOURCES = ("inflight", "waits", "power", "dispatcher", "alone")
"""Those that have C types beside them; each is made of those before it."""
COMPILED = not str(leo_runtime.dispatch.dispatcher.__file__).endswith(".py")


def interpreted(source: str) -> ModuleType:
    """A source of the dispatcher, and all that it is made of, run by the interpreter."""
    return interpreted_source(PACKAGE, source, SOURCES[: SOURCES.index(source)])


@cache
def interpreted_source(package: str, source: str, made_of: tuple[str, ...] = ()) -> ModuleType:
    """A source of a package, and those of the dispatcher's that it is made of, run by the interpreter."""
    parts = {f"{PACKAGE}.{part}": interpreted(part) for part in made_of}
    name = f"{package}._interpreted_{source}"
    folder = Path(str(importlib.import_module(package).__file__)).parent
    spec = importlib.util.spec_from_file_location(name, folder / f"{source}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    usual = {part: sys.modules[part] for part in parts}
    sys.modules.update(parts)
    sys.modules[name] = module  # Where dataclasses look for what their annotations name.
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.update(usual)
    return module


def interpreted_dispatcher() -> type[Dispatcher]:
    """The class, of which everything is interpreted."""
    found: type[Dispatcher] = interpreted("dispatcher").Dispatcher
    return found

"""The dispatcher as the interpreter runs it, whether or not it was compiled as well."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import leo_runtime.dispatch.dispatcher
from leo_runtime.dispatch.dispatcher import Dispatcher

PACKAGE = "leo_runtime.dispatch"
SOURCES = ("inflight", "waits", "power", "dispatcher")
"""Those that have C types beside them; each is made of those before it."""
COMPILED = not str(leo_runtime.dispatch.dispatcher.__file__).endswith(".py")


@cache
def interpreted(source: str) -> ModuleType:
    """A source of the dispatcher, and all that it is made of, run by the interpreter."""
    parts = {f"{PACKAGE}.{part}": interpreted(part) for part in SOURCES[: SOURCES.index(source)]}
    name = f"{PACKAGE}._interpreted_{source}"
    folder = Path(str(sys.modules[PACKAGE].__file__)).parent
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

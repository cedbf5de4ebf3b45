"""Imports the modules of users' own operators, and says in words what is wrong with one.

A module that lies in a workload's folder is imported as part of a package that stands for that folder alone. So two
workloads may each have a `steps.py`, neither hides an installed module of that name, and `sys.path` stays as it is.
Such a module imports what lies beside it by `from . import other`.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from leo_runtime.errors import GraphError, words

_FOLDER = "leo_workload_"


def lies_in(folder: Path, module: str) -> bool:
    """Whether a module, or package, of that dotted name lies in a folder."""
    path = folder.joinpath(*module.split("."))
    return path.with_name(f"{path.name}.py").is_file() or (path / "__init__.py").is_file()


def name_within(module: str) -> str:
    """A module's name without the package that stands for its folder: the same wherever the folder is."""
    return module.partition(".")[2] if module.startswith(_FOLDER) else module


def folder_of(module: str) -> Path | None:
    """The folder of a module that was imported from a workload's folder; None for any other."""
    package = module.partition(".")[0]
    return Path(sys.modules[package].__path__[0]) if package.startswith(_FOLDER) else None


def name_in(folder: Path, module: str) -> str:
    """What a module that lies in a folder is imported as."""
    package = f"{_FOLDER}{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    if package not in sys.modules:
        stands_for = ModuleType(package)
        stands_for.__path__ = [str(folder)]
        sys.modules[package] = stands_for
    return f"{package}.{module}"


def import_for(operator: str, module: str) -> None:
    """Import the module of an operator of that name. Raises `GraphError`, whatever the module raises."""
    importlib.invalidate_caches()  # A file may have been written since its folder was last looked at.
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise GraphError(
            f"the module of operator `{operator}` cannot be imported ({_why(error, module)})",
            hint=_way_out(error, module),
        ) from None


def _why(error: BaseException, module: str) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename or '?').name}:{error.lineno})"
    if _is_absent(error, module):
        return f"no module named `{name_within(module)}`"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen importlib")]
    frames = [frame for frame in frames if Path(frame.filename) not in (Path(__file__), Path(importlib.__file__))]
    # What the module calls may lie anywhere; the last line in the user's own folder is where to look.
    own = [frame for frame in frames if Path(frame.filename).parent == Path(frames[0].filename).parent]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{words(error)}{place}"


def _way_out(error: BaseException, module: str) -> str:
    if _is_absent(error, module):
        return "put its file beside the workload, install its package, or set PYTHONPATH to its folder"
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = importlib.import_module(module.partition(".")[0]) if module.startswith(_FOLDER) else None
        if package is not None and lies_in(Path(package.__path__[0]), error.name):
            return f"modules beside a workload import each other by `from . import {error.name}`"
        return f"install `{error.name}`, which the module imports"
    return "mend the module"


def _is_absent(error: BaseException, module: str) -> bool:
    """Whether it is the module itself that is not there, or a package around it."""
    return isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")

"""Imports the modules of users' own operators, and says in words what is wrong with one.

A module that lies in a workload's folder is imported as part of a package that stands for that folder alone. So two
workloads may each have a `steps.py`, neither hides an installed module of that name, and `sys.path` stays as it is.
Such a module imports what lies beside it by `from . import other`.

Of each such module it is known what its file held as it was imported, so that one that was edited is found
(`edited_in`) and imported anew. What imports it does so as well: what it says by `import` and `from`, not what it finds
by other ways.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, ModuleType

from leo_runtime.errors import GraphError, words
from leo_runtime.frozen import dataclass

_FOLDER = "leo_workload_"


@dataclass(frozen=True, slots=True)
class _Read:
    """What a module was imported from."""

    path: str
    digest: str
    imports: frozenset[str]
    """The modules, and names within modules, that it imports; and the packages around it."""


_read: dict[str, _Read] = {}
"""By the names that modules are imported as."""


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
    package = _package(folder)
    if package not in sys.modules:
        stands_for = ModuleType(package)
        stands_for.__path__ = [str(folder)]
        sys.modules[package] = stands_for
        if _Beside not in sys.meta_path:
            sys.meta_path.insert(0, _Beside)
    return f"{package}.{module}"


def edited_in(folder: Path) -> tuple[str, ...]:
    """The modules of a folder whose files do not hold any more what they were imported from, and what imports them."""
    # Another thread may import something meanwhile.
    within = [name for name in tuple(sys.modules) if name.startswith(f"{_package(folder)}.") and name in _read]
    edited = {name for name in within if _digest(_read[name].path) != _read[name].digest}
    while more := {name for name in within if name not in edited and not edited.isdisjoint(_read[name].imports)}:
        edited |= more
    return tuple([name for name in within if name in edited])


def held(module: str) -> str:
    """A digest of what a module of a folder, and what it imports there, held as it was imported; empty of any other."""
    names: dict[str, None] = {}
    found = [module]
    while found:
        name = found.pop()
        if name in _read and name not in names:
            names[name] = None
            found += sorted(_read[name].imports)
    return " ".join([f"{name_within(name)}={_read[name].digest}" for name in sorted(names)])


@contextmanager
def imported_anew(names: Collection[str]) -> Iterator[None]:
    """Within the block these modules are not imported yet; where it raises, they are again what they were."""
    packages = {name.partition(".")[0] for name in names}
    before = {name: module for name, module in sys.modules.copy().items() if name.partition(".")[0] in packages}
    read = {name: _read[name] for name in before if name in _read}
    for name in names:
        _forget(name)
    try:
        yield
    except BaseException:
        for name in [
            name for name in tuple(sys.modules) if name.partition(".")[0] in packages and name not in packages
        ]:
            _forget(name)
        for name, module in before.items():
            sys.modules[name] = module
            parent, _, own = name.rpartition(".")
            if parent:
                setattr(before[parent], own, module)
        _read.update(read)
        raise


def _forget(name: str) -> None:
    parent, _, own = name.rpartition(".")
    sys.modules.pop(name, None)
    _read.pop(name, None)
    # `from . import other` would find it there.
    vars(sys.modules.get(parent, ModuleType(parent))).pop(own, None)


def _package(folder: Path) -> str:
    return f"{_FOLDER}{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


def _digest(path: str) -> str:
    """Of what a file holds; empty where it is not there."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


class _Beside:
    """Finds the modules that lie in folders of workloads."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is None or not name.startswith(_FOLDER):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Source(name, spec.origin)
        return spec


class _Source(SourceFileLoader):
    """Compiles what a file holds: what Python keeps of it may be of before an edit in the same second."""

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path)
        code: CodeType = self.source_to_code(text, self.path)
        digest = hashlib.sha256(text).hexdigest()
        _read[fullname] = _Read(self.path, digest, frozenset(_imports(text, fullname, self.is_package(fullname))))
        return code


def _imports(text: bytes, name: str, is_package: bool) -> Iterator[str]:
    around = package = name if is_package else name.rpartition(".")[0]
    while around:
        yield around
        around = around.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


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

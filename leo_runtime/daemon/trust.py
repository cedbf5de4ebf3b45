"""Whose code and models a config may use: those that ship, and what lies in folders that it names; and its commands.

An operator's module is code that runs as the daemon's user, and a model's file is read by libraries of others. So both
are looked at before anything is imported: where they lie, whether others could have written there, and, where the
config says so, what they hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import leo_runtime.demo
from leo_runtime.daemon.config import TrustedFolder
from leo_runtime.daemon.permissions import require_program, require_unwritable, trusted_users
from leo_runtime.documents.workload import Workload, file_parameters
from leo_runtime.errors import InputError
from leo_runtime.operators import find_operator
from leo_runtime.operators.modules import lies_in

SHIPS = leo_runtime.demo.FOLDER
"""The demo's own models need not be named."""


class Trust:
    """What a config's folders allow. It only reads."""

    def __init__(self, trusted: Sequence[TrustedFolder], folder: Path) -> None:
        """Relative folders begin in `folder`, that of the config. Raises `InputError` for one that is not there."""
        self._folder = folder
        self._folders: list[tuple[Path, TrustedFolder]] = []
        for index, one in enumerate(trusted):
            path = (folder / Path(one.folder).expanduser()).resolve()
            if not path.is_dir():
                raise InputError(f"the trusted folder {path} is not there, at $.trusted[{index}].folder")
            self._folders.append((path, one))

    def require_modules(self, workload: Workload, beside: Path) -> None:
        """Look at the modules of a workload's operators, before they are imported. Raises `InputError`."""
        for name in dict.fromkeys(stage.operator for graph in workload.graphs for stage in graph.stages):
            module, colon, _ = name.rpartition(":")
            if not colon:
                continue
            for path in _files_of(module, beside):
                self._require(path, f"operator `{name}`")

    def require_files(self, workload: Workload) -> None:
        """Look at the files that parameters of a workload name. Raises `InputError`, `GraphError`."""
        for graph in workload.graphs:
            for stage in graph.stages:
                keys = file_parameters(find_operator(stage.operator))
                for params in (stage.params, *(variant.params for variant in stage.variants)):
                    for key in keys:
                        if isinstance(params.get(key), str):
                            self._require(Path(params[key]), f"stage `{stage.name}` of graph `{graph.name}`")

    def require_program(self, program: Path, whose: str) -> None:
        """Look at a program that the config has run: of no folder of others, and what its hash says, if it has one.

        Raises `InputError`.
        """
        require_program(program, trusted_users(self._folder), whose)
        real = program.resolve()
        for folder, one in self._folders:
            if one.sha256 and real.is_relative_to(folder):
                _require_hash(real, str(real.relative_to(folder)), one, whose)
                return

    def _require(self, path: Path, whose: str) -> None:
        real = path.resolve()
        if real.is_relative_to(SHIPS):
            return
        for folder, one in self._folders:
            if real.is_relative_to(folder):
                require_unwritable(real, folder, whose)
                if one.sha256:
                    _require_hash(real, str(real.relative_to(folder)), one, whose)
                return
        raise InputError(
            f"{whose} uses {real}, which is in no trusted folder",
            hint=f'`[[trusted]]` with `folder = "{real.parent}"` in the config lets it',
        )


def _files_of(module: str, beside: Path) -> Iterator[Path]:
    """The source of a module as an operator names it, and all that it could import from its folder or package."""
    place = beside / module if lies_in(beside, module) else Path(module)
    top = place.name.partition(".")[0]
    if place != Path(place.name):  # It lies in a folder: that of the workload, or one that the operator names.
        package = place.parent / top
        yield from _sources(package if package.is_dir() else place.parent)
        return
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return  # It is not there, which is told as it is imported.
    if spec.submodule_search_locations:
        for location in spec.submodule_search_locations:
            yield from _sources(Path(location))
    elif spec.origin is not None:
        yield Path(spec.origin)


def _sources(folder: Path) -> Iterator[Path]:
    """What Python can import from a folder."""
    for pattern in ("*.py", "*.so", "*.pyc"):
        yield from sorted(path for path in folder.rglob(pattern) if path.parent.name != "__pycache__")


def _require_hash(path: Path, name: str, trusted: TrustedFolder, whose: str) -> None:
    wanted = trusted.sha256.get(name)
    held = hashlib.sha256(path.read_bytes()).hexdigest()
    if wanted is None:
        raise InputError(
            f"{whose} may use {path}, which has no hash in the config",
            hint=f'`sha256` of its trusted folder: "{name}" = "{held}"',
        )
    if wanted != held:
        raise InputError(f"{whose} uses {path}, which does not hold what the config says: its SHA-256 is {held}")

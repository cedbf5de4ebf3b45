"""Finds backends: by the entry points of installed packages, and in no other way."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from leo_runtime.backend import ENTRY_POINTS, Backend, Holding
from leo_runtime.backend.guard import GuardedBackend, guarded
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import BackendError, DeviceUnavailableError, LeoError, in_words, installing
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What became of one backend on this machine."""

    name: str
    package: str
    """The distribution it comes from."""
    available: bool
    missing: str = ""
    """What it lacks; a backend that is here may still lack what some operators need."""
    hint: str = ""
    """How to get that."""
    holds: bool = False
    """Whether it keeps its device awake when it is told to; otherwise that is modelled: charged, and not done."""


def create(processor: Processor) -> GuardedBackend:
    """The backend that serves a processor, behind the border to code of other packages.

    Raises `DeviceUnavailableError`, `MissingExtraError`, and `BackendError` for whatever else the backend raises.
    """
    found = _entry_points()
    if processor.backend not in found:
        known = f"installed backends: {', '.join(found)}" if found else _NOTHING_INSTALLED
        raise DeviceUnavailableError(
            f"processor `{processor.name}` wants backend `{processor.backend}`, which no installed package brings",
            hint=known,
        )
    return _made(found[processor.backend], processor)


def available() -> tuple[BackendStatus, ...]:
    """Every installed backend by name, tried out on a processor without options."""
    return tuple(_status(name, entry) for name, entry in _entry_points().items())


_NOTHING_INSTALLED = (
    "leo-runtime itself is not installed, only on the path: `pip install -e .` makes its backends known"
)


def entry_points(*, group: str) -> EntryPoints:
    """Those of installed packages. What reads them is imported when it is first needed, since it takes long."""
    from importlib.metadata import entry_points

    return entry_points(group=group)


def _entry_points() -> dict[str, EntryPoint]:
    """By name; of two equal names, the first package in alphabetical order has it."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, _package(entry))):
        found.setdefault(entry.name, entry)
    return found


def _status(name: str, entry: EntryPoint) -> BackendStatus:
    try:
        with closing(_made(entry, Processor(name=name, backend=name))) as backend:
            lacks, holds = backend.lacks, isinstance(backend, Holding)
    except LeoError as error:
        return BackendStatus(name, _package(entry), available=False, missing=str(error), hint=error.hint)
    return BackendStatus(
        name,
        _package(entry),
        available=True,
        missing="; ".join(str(error) for error in lacks),
        hint=installing(*(error.extra for error in lacks)) if lacks else "",
        holds=holds,
    )


def _made(entry: EntryPoint, processor: Processor) -> GuardedBackend:
    package = _package(entry)
    who = f"backend `{entry.name}` of package `{package}`"
    with in_words(f"{who} cannot be imported", hint=f"reinstall {package}"):
        factory = entry.load()
    with in_words(f"{who} cannot be opened", hint=f"look for an update of {package}"):
        backend = factory(processor)
    try:
        if not isinstance(backend, Backend):
            raise BackendError(
                f"{who} is no backend: its entry point gives {type(backend).__name__}",
                hint="a backend has a `name` and the methods `supports`, `load` and `close`",
            )
        return guarded(backend, package)
    except BaseException:
        with suppress(Exception):  # What is wrong with it is said already.
            backend.close()
        raise


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else ""

"""The files that a stage's parameters name: a process that loads it again must find what there was at first."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.workload import file_parameters
from leo_runtime.errors import KernelError

File = tuple[str, int, int]
"""Its path, its size in bytes, and the time of its last change in nanoseconds."""


def files_of(stage: BoundStage, variant: str) -> tuple[File, ...]:
    """Those that are there."""
    found = []
    for name in file_parameters(stage.operator):
        path = getattr(stage.params[variant], name)
        if path is not None:
            with suppress(OSError):  # Who reads it says so.
                state = Path(path).stat()
                found.append((str(path), state.st_size, state.st_mtime_ns))
    return tuple(found)


def require_unchanged(stage: BoundStage, variant: str, before: tuple[File, ...]) -> None:
    """Raise `KernelError` where a file is not what it was."""
    for path, *_ in sorted(set(before) ^ set(files_of(stage, variant))):
        raise KernelError(
            f"{path}: is not what it was when stage `{stage.name}` was loaded first, and its process has ended since",
            hint="read the workload again, or start the program again",
        )

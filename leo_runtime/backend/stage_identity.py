"""What tells whether a stage here and one on a server are the same: what they mean, and what their files hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.workload import file_parameters
from leo_runtime.errors import KernelError


def identity(stage: BoundStage, variant: str) -> str:
    """`signature@contents`: equal where operator, shapes, parameters, and what their files hold are.

    Paths are no part of it, since files lie elsewhere on another machine. Of an operator of one's own the module's file
    counts as one of its files, and what that imports does not. Raises `KernelError` for a file that cannot be read.
    """
    params = stage.params[variant]
    named = [getattr(params, name) for name in file_parameters(stage.operator)]
    files = [Path(path) for path in named if path is not None]
    digest = hashlib.sha256()
    for path in (*files, *_module_of(stage)):
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise KernelError(
                f"stage `{stage.name}` needs the file {path}, which cannot be read ({error.strerror or error})"
            ) from None
    return f"{stage.signature(variant)}@{digest.hexdigest()[:12]}"


def _module_of(stage: BoundStage) -> tuple[Path, ...]:
    """The file in which an operator of one's own is written; () where it is in none, as in a notebook."""
    function = stage.operator.function
    if isinstance(function, type):
        function = getattr(function, "step", None)
    code = getattr(function, "__code__", None)
    path = Path(code.co_filename) if code is not None else Path()
    return (path,) if path.is_file() else ()

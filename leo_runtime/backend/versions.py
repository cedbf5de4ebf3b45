"""Which versions of what computes are installed here."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, entry_points, version

from leo_runtime.backend import ENTRY_POINTS
from leo_runtime.version import VERSION

LIBRARIES = (
    "numpy",
    "pyopencl",
    "pocl-binary-distribution",
    "ai-edge-litert",
    "tflite-runtime",
    "pymicro-features",
)
"""Packages that kernels of the backends that ship call."""


def versions() -> dict[str, str]:
    """Of leo-runtime, Python ("python"), those of the `LIBRARIES` that are here, and packages that bring backends."""
    backends = {entry.dist.name for entry in entry_points(group=ENTRY_POINTS) if entry.dist is not None}
    found = {"leo-runtime": VERSION, "python": platform.python_version()}
    for name in (*LIBRARIES, *sorted(backends - {"leo-runtime"})):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

"""Starts the worker process, which alone talks to the driver: what it keeps, and where."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

from leo_backends.opencl.tuning import cache_folder
from leo_backends.process import Worker


def start_worker() -> Worker:
    """A new worker. Raises `KernelError` where it cannot be started."""
    caches, remove_caches = _caches()
    return Worker("the OpenCL worker", "leo_backends.opencl.worker", caches, remove_caches)


def _caches() -> tuple[dict[str, str], Callable[[], None]]:
    """Variables that say where PoCL, pyopencl and the worker keep what they compiled, and what removes that.

    Where the user's cache cannot be written it is a folder of the worker's own, for pyopencl fails without one. It is
    never one that is shared: what lies there is run.
    """
    folder = cache_folder() / "pocl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return {"POCL_CACHE_DIR": os.environ.get("POCL_CACHE_DIR", str(folder))}, lambda: None
    except OSError:
        own = tempfile.TemporaryDirectory(prefix="leo-runtime-opencl-")
        return {"POCL_CACHE_DIR": own.name, "XDG_CACHE_HOME": own.name}, own.cleanup

"""The arrays of one kernel, in memory that two processes map: a file without a name, which is gone when both are."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence

import numpy as np

from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import KernelError
from leo_runtime.operators.outputs import filled

_LINE_BYTES = 64
_VALUE_BYTES = 4
"""Of inputs: float32, the raw samples of a source, or what a piece of a model gives."""


def new_memory(stage: BoundStage) -> int:
    """The descriptor of memory for its arrays, which is the caller's to close. Raises `KernelError`."""
    size = _ends(stage)[-1]
    try:
        descriptor = nameless_file()
        try:
            # What is not there now would kill who writes to it later.
            os.posix_fallocate(descriptor, 0, size) if hasattr(os, "posix_fallocate") else os.truncate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise KernelError(f"there are no {size} bytes of memory to share with another process ({error})") from None
    return descriptor


class SharedArrays:
    """Inputs and output of a stage in shared memory."""

    def __init__(self, descriptor: int, stage: BoundStage) -> None:
        """Map what `new_memory` made of the stage. The descriptor stays open."""
        self._memory = mmap.mmap(descriptor, 0)
        self._shapes = stage.input_shapes
        self._starts = (0, *_ends(stage)[:-1])
        like = _output(stage)
        self.output: np.ndarray = np.ndarray(like.shape, like.dtype, self._memory, self._starts[-1])

    def inputs(self, types: Sequence[str]) -> list[np.ndarray]:
        """The inputs, of such types. Raises `KernelError` for types that do not fit."""
        if any(np.dtype(name).itemsize > _VALUE_BYTES or np.dtype(name).hasobject for name in types):
            raise KernelError(f"inputs of another process have values of 4 bytes at most, got {', '.join(types)}")
        return [
            np.ndarray(shape, name, self._memory, start)
            for shape, name, start in zip(self._shapes, types, self._starts[:-1], strict=True)
        ]


def _output(stage: BoundStage) -> np.ndarray:
    """A value as the stage gives it: float32, or what pieces of models give, several arrays as one."""
    return filled(stage.several) if stage.several else np.empty(stage.output_shape, np.float32)


def _ends(stage: BoundStage) -> list[int]:
    """Where each array ends, and the next may begin; none is of no bytes, since no memory is."""
    ends, end = [], 0
    for size in (*(math.prod(shape) * _VALUE_BYTES for shape in stage.input_shapes), _output(stage).nbytes):
        end += -(-max(1, size) // _LINE_BYTES) * _LINE_BYTES
        ends.append(end)
    return ends


def nameless_file() -> int:
    """The descriptor of a file in memory, where there are such files; it is the caller's to close. Raises `OSError`."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("leo-runtime")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

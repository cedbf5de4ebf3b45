"""Stages of a workload, each variant by itself, ready to run for whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from leo_runtime.backend import Backend, Kernel
from leo_runtime.backend.open_inference import NAMES, Tensor
from leo_runtime.backend.stage_identity import identity
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import InputError, KernelError, in_words
from leo_runtime.operators.definition import Output, shown
from leo_runtime.operators.outputs import arrays_of, as_value

PLATFORM = "leo-runtime"
FLOAT32 = np.dtype("float32")


class Served(Protocol):
    """A model, as the protocol calls what can be inferred. From any thread, several at once."""

    @property
    def name(self) -> str:
        """What it is called, and said to be in answers."""
        ...

    @property
    def version(self) -> str:
        """Which of its versions: of a stage its variant."""
        ...

    def metadata(self) -> dict[str, Any]:
        """What the protocol says of it."""
        ...

    def infer(self, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        """The outputs that are asked for, all where none is named.

        Raises `InputError` for what it cannot be asked, `KernelError` where a stage fails.
        """
        ...


class ServedStage:
    """A stage's variant, with as many kernels as run at once."""

    def __init__(self, stage: BoundStage, variant: str, backend: Backend) -> None:
        """Loads the first kernel. Raises `KernelError`, `MissingExtraError`."""
        self.stage, self.version, self.name = stage, variant, stage.name
        self.identity = identity(stage, variant)
        params = stage.params[variant]
        takes = () if stage.operator.takes is None else stage.operator.takes(params)
        self._types = tuple(
            np.dtype(
                stage.data_type if stage.operator.is_source else takes[n].data_type if n < len(takes) else "float32"
            )
            for n in range(len(stage.input_shapes))
        )
        self._backend, self._lock = backend, threading.Lock()
        self._free: list[Kernel] = [backend.load(stage, variant)]

    def metadata(self) -> dict[str, Any]:
        """Its arrays."""
        shapes = zip(self.stage.input_shapes, self._types, strict=True)
        return {
            "name": self.name,
            "versions": list(self.stage.params),
            "platform": PLATFORM,
            "inputs": [
                {"name": f"input_{n}", "datatype": NAMES[dtype], "shape": [-1] if self._is_packed(n) else list(shape)}
                for n, (shape, dtype) in enumerate(shapes)
            ],
            "outputs": [described(output) for output in self.stage.outputs],
            "parameters": {"operator": self.stage.operator.name, "variant": self.version, "identity": self.identity},
        }

    def _is_packed(self, number: int) -> bool:
        takes = self.stage.takes
        return number < len(takes) and takes[number].is_packed

    def infer(self, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        """The stage's arrays. Raises `InputError`, `KernelError`."""
        given = {tensor.name: tensor.array for tensor in inputs}
        wanted = [f"input_{n}" for n in range(len(self._types))]
        if sorted(given) != sorted(wanted) or len(inputs) != len(wanted):
            raise InputError(f"stage `{self.name}` has the inputs {', '.join(wanted)}, got {quoted(given)}")
        arrays = [self.taken(n, given[name]) for n, name in enumerate(wanted)]
        names = [output.name for output in self.stage.outputs]
        for name in outputs:
            if name not in names:
                raise InputError(f"stage `{self.name}` has the outputs {', '.join(names)}, not {name[:50]!r}")
        promised = zip(self.stage.outputs, arrays_of(self.run(arrays)), strict=True)
        found = {output.name: self._as_promised(array, output) for output, array in promised}
        return tuple(Tensor(name, found[name]) for name in outputs or names)

    def _as_promised(self, array: np.ndarray, output: Output) -> np.ndarray:
        """An output in the type that metadata promise, in which others take it up where it stays here."""
        wanted = np.dtype(output.data_type) if self.stage.several else FLOAT32
        if array.dtype == wanted or not np.can_cast(array.dtype, wanted, "same_kind"):
            return array
        return array.astype(wanted)

    def run(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """What a kernel gives, as one value. Raises `KernelError`."""
        with self._lock:
            kernel = self._free.pop() if self._free else None
        if kernel is None:
            kernel = self._backend.load(self.stage, self.version)
        try:
            with in_words(f"stage `{self.name}` failed", KernelError):
                return as_value(kernel(arrays))
        finally:
            with self._lock:
                self._free.append(kernel)

    def taken(self, number: int, array: np.ndarray) -> np.ndarray:
        """An input as the kernel takes it. Raises `InputError`."""
        shape, wanted = self.stage.input_shapes[number], self._types[number]
        if not self.stage.takes_shape(number, array.shape):
            raise InputError(f"input_{number} of stage `{self.name}` is {shown(shape)}, got {shown(array.shape)}")
        if array.dtype in (wanted, FLOAT32) or self.stage.operator.is_source:
            return array
        if not np.can_cast(array.dtype, wanted, "safe"):
            raise InputError(f"input_{number} of stage `{self.name}` is {NAMES[wanted]}, got {NAMES[array.dtype]}")
        return array.astype(wanted)


def described(output: Output) -> dict[str, Any]:
    """An output as metadata say it."""
    shape = [-1] if output.is_packed else list(output.shape)  # As the protocol says that it may be any.
    return {"name": output.name, "datatype": NAMES[np.dtype(output.data_type)], "shape": shape}


def quoted(names: Iterable[str]) -> str:
    """Names as messages show what came from outside."""
    return ", ".join(f"{name[:50]!r}" for name in names) or "none"

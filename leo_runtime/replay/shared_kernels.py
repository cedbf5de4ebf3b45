"""Values for replays under several policies: what a stage makes of a frame is computed once, whoever would have run it.

Where a stage may run is asked of the machine's own backends; what it computes comes from one reference for all of them.
So policies are compared in the time it takes to compute one of them, and differ in nothing but their placements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing

import numpy as np

from leo_runtime.backend import Backend, Kernel, StatefulKernel, registry
from leo_runtime.backend.machine import open_backends
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.operators import Shape
from leo_runtime.operators.outputs import as_value
from leo_runtime.runtime.kernels import frozen_copy

REFERENCE = "cpu"
"""The backend that all others are held to."""

_Computation = tuple[str, str, tuple[Shape, ...]]
"""Operator, parameters and shapes of the inputs: what two stages have in common that compute the same. Their names do
not count: two graphs may each have a stage of one name."""

REMEMBERED_BYTES = 32 << 20
"""How much is remembered: some minutes of the demo. What comes later in the recording is computed by every policy."""


class _Memory:
    """What was computed, by computation and digest of its inputs, up to a bound.

    The first values stay: each policy comes by all of them in one order, so those of the end would never be met again.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[_Computation, bytes], np.ndarray] = {}
        self._bytes = 0

    def get(self, key: tuple[_Computation, bytes]) -> np.ndarray | None:
        return self._values.get(key)

    def keep(self, key: tuple[_Computation, bytes], value: np.ndarray) -> None:
        if self._bytes + value.nbytes <= REMEMBERED_BYTES:
            self._values[key] = value
            self._bytes += value.nbytes


class SharedKernels:
    """The backends of a machine, by processor, for `Runtime.simulated`; closing it closes those it opened.

    Processors that no backend serves here are served by the reference, as a simulated runtime has it.
    """

    def __init__(self, hardware: Hardware) -> None:
        """Raises what making the reference raises."""
        memory = _Memory()
        with ExitStack() as undo:
            # What is not here is not said again: the run that others are compared with has said so.
            machine = undo.enter_context(open_backends(hardware))
            reference = undo.enter_context(closing(registry.create(Processor(name=REFERENCE, backend=REFERENCE))))
            self.backends: Mapping[str, Backend] = {
                processor.name: _Once(machine.backends.get(processor.name, reference), reference, memory)
                for processor in hardware.processors
            }
            self._opened = undo.pop_all()

    def close(self) -> None:
        """Let go of the backends. Closing twice is fine."""
        self._opened.close()


class _Once:
    """One processor's backend, computing by the reference."""

    def __init__(self, real: Backend, reference: Backend, memory: _Memory) -> None:
        self.name = real.name
        self._real = real
        self._reference = reference
        self._memory = memory
        self._kernels: dict[_Computation, Kernel] = {}

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        return self._real.supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        key = (stage.operator.name, stage.params[variant].model_dump_json(), tuple(stage.input_shapes))
        if key not in self._kernels:  # Every policy loads it anew.
            able = self._reference if self._reference.supports(stage, variant) else self._real
            kernel = able.load(stage, variant)
            # A copy of the samples is sooner made again than found; what a run with state gives is not of its inputs
            # alone.
            own = stage.operator.is_source or isinstance(kernel, StatefulKernel)
            self._kernels[key] = kernel if own else _OnceKernel(kernel, key, self._memory)
        return self._kernels[key]

    def close(self) -> None:
        """Nothing: whoever made it closes what it stands on."""


class _OnceKernel:
    def __init__(self, kernel: Kernel, computes: _Computation, memory: _Memory) -> None:
        self._kernel = kernel
        self._computes = computes
        self._memory = memory

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        digest = hashlib.blake2b(digest_size=16)
        for array in inputs:
            digest.update(np.ascontiguousarray(array).data)
        key = (self._computes, digest.digest())
        if (known := self._memory.get(key)) is not None:
            return known
        found = frozen_copy(as_value(self._kernel(inputs)))
        self._memory.keep(key, found)
        return found

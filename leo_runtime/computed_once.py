"""Values for replays under several policies: each stage of each frame is computed once, whoever would have run it.

Where a stage may run is asked of the machine's own backends; what it computes comes from one reference for all of them.
So policies are compared in the time it takes to compute one of them, and differ in nothing but their placements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from leo_runtime import registry
from leo_runtime.backend import Backend, Kernel
from leo_runtime.computing import frozen_copy
from leo_runtime.errors import LeoError
from leo_runtime.graph import BoundStage
from leo_runtime.hardware import Hardware, Processor

REFERENCE = "cpu"
"""The backend that all others are held to."""

_Memory = dict[tuple[str, str, bytes], np.ndarray]


class ComputedOnce:
    """The backends of a machine, by processor, for `Runtime.simulated`; closing it closes those it opened.

    Processors that no backend serves here are served by the reference, as a simulated runtime has it.
    """

    def __init__(self, hardware: Hardware) -> None:
        """Raises what making the reference raises."""
        memory: _Memory = {}
        self._reference = registry.create(Processor(name=REFERENCE, backend=REFERENCE))
        self._own: list[Backend] = [self._reference]
        self.backends: Mapping[str, Backend] = {
            processor.name: _Once(self._real(processor), self._reference, memory) for processor in hardware.processors
        }

    def _real(self, processor: Processor) -> Backend:
        with suppress(LeoError):  # Not here: the runtime has said so of the run that others are compared with.
            self._own.append(registry.create(processor))
            return self._own[-1]
        return self._reference

    def close(self) -> None:
        """Let go of the backends."""
        for backend in self._own:
            backend.close()


class _Once:
    """One processor's backend, computing by the reference."""

    def __init__(self, real: Backend, reference: Backend, memory: _Memory) -> None:
        self.name = real.name
        self._real = real
        self._reference = reference
        self._memory = memory

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        return self._real.supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        able = self._reference if self._reference.supports(stage, variant) else self._real
        return _OnceKernel(able.load(stage, variant), (stage.name, variant), self._memory)

    def close(self) -> None:
        """Nothing: whoever made it closes what it stands on."""


class _OnceKernel:
    def __init__(self, kernel: Kernel, stage: tuple[str, str], memory: _Memory) -> None:
        self._kernel = kernel
        self._stage = stage
        self._memory = memory

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        digest = hashlib.blake2b(digest_size=16)
        for array in inputs:
            digest.update(np.ascontiguousarray(array).data)
        key = (*self._stage, digest.digest())
        if key not in self._memory:
            self._memory[key] = frozen_copy(self._kernel(inputs))
        return self._memory[key]

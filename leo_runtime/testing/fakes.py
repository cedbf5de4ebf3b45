"""A backend for tests that need one and no result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from leo_runtime.backend import DeviceRun, Kernel
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import KernelError
from leo_runtime.operators.outputs import filled


class FakeBackend:
    """A backend that computes nothing: every stage's output is what `outputs` says for it, or zeros.

    It keeps a record of what was loaded and run, fails where it is told to, and says what its device's time is.
    """

    name = "fake"

    def __init__(
        self,
        *,
        operators: Sequence[str] | None = None,
        outputs: Mapping[str, float] | None = None,
        fails: Sequence[str] = (),
        device_us: int | None = None,
    ) -> None:
        """`operators` that it supports, all by default; `outputs` and `fails` by stage; `device_us` of each run."""
        self.operators = operators
        self.outputs = dict(outputs or {})
        self.fails = set(fails)
        self.device_us = device_us
        self.loaded: list[str] = []
        self.ran: list[str] = []
        self.closed = False

    def supports(self, stage: BoundStage, _variant: str, /) -> bool:
        """Whether the operator is one it was made for."""
        return self.operators is None or stage.operator.name in self.operators

    def load(self, stage: BoundStage, _variant: str, /) -> Kernel:
        """A kernel that gives the stage's output. Raises `KernelError` for what it does not support."""
        if not self.supports(stage, _variant):
            raise KernelError(f"stage `{stage.name}` cannot run on a fake of {', '.join(self.operators or ())}")
        self.loaded.append(stage.name)
        return _FakeKernel(self, stage) if self.device_us is None else _FakeTimedKernel(self, stage)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class _FakeKernel:
    def __init__(self, backend: FakeBackend, stage: BoundStage) -> None:
        self._backend = backend
        self._stage = stage

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        name = self._stage.name
        if tuple(array.shape for array in inputs) != tuple(self._stage.input_shapes):
            raise KernelError(f"stage `{name}` was given the wrong shapes")
        self._backend.ran.append(name)
        if name in self._backend.fails:
            raise KernelError(f"stage `{name}` was told to fail")
        given = self._backend.outputs.get(name, 0.0)
        if self._stage.several:
            return filled(self._stage.several, given)
        return np.full(self._stage.output_shape, given, np.float32)


class _FakeTimedKernel(_FakeKernel):
    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        return DeviceRun(self(inputs), self._backend.device_us or 0)

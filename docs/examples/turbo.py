"""A whole backend in one file: a made-up accelerator that computes dense networks, with weights rounded to 10 bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leo_runtime.errors import KernelError
from leo_runtime.graph import BoundStage
from leo_runtime.hardware import Processor
from leo_runtime.operators.classifiers import DenseParameters


class TurboBackend:
    """Runs dense relu networks of one layer or more, row by row."""

    name = "turbo"

    def __init__(self, processor: Processor) -> None:
        self.levels = int(processor.options.get("levels", 511))

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """Whether it can: dense networks with relu, and nothing else."""
        params = stage.params[variant]
        return stage.operator.name == "dense" and params.activation == "relu" and not params.softmax

    def load(self, stage: BoundStage, variant: str, /) -> TurboKernel:
        """Read the weights and round them."""
        if not self.supports(stage, variant):
            raise KernelError(f"stage `{stage.name}` is not what the turbo accelerator is for")
        return TurboKernel(stage, stage.params[variant], self.levels)

    def close(self) -> None:
        """There is no device to let go of."""


class TurboKernel:
    """One network."""

    def __init__(self, stage: BoundStage, params: DenseParameters, levels: int) -> None:
        self.stage = stage
        self.params = params
        try:
            with np.load(params.model) as file:
                self.arrays = {name: file[name] for name in file.files}
        except OSError as error:
            raise KernelError(f"{params.model}: cannot be read ({error})") from None
        for name in [name for name in self.arrays if name.startswith("weights")]:
            step = np.abs(self.arrays[name]).max() / levels
            self.arrays[name] = np.rint(self.arrays[name] / step) * step

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute it."""
        if [array.shape for array in inputs] != list(self.stage.input_shapes):
            raise KernelError(f"stage `{self.stage.name}` reads {self.stage.input_shapes}")
        values = inputs[0] if self.params.per_row else inputs[0].reshape(1, -1)
        if "scale" in self.arrays:
            values = (values - self.arrays["mean"]) / self.arrays["scale"]
        for layer in range(len(self.params.layers)):
            values = np.maximum(values, 0) if layer else values
            values = values @ self.arrays[f"weights_{layer}"] + self.arrays[f"bias_{layer}"]
        averaged = self.params.average or not self.params.per_row
        return (values.mean(axis=0) if averaged else values).astype(np.float32)

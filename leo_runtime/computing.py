"""Kernels, each loaded once, and the arrays of the frames in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from leo_runtime.backend import Backend, Kernel, TimedKernel
from leo_runtime.errors import KernelError
from leo_runtime.events import FrameDone, RunStage
from leo_runtime.lower import MergedStage, MergedWorkload


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of a stage told, besides its output."""

    opened: bool = True
    """The decision of a gate; True of any other stage."""
    device_us: int | None = None
    device_nj: int | None = None


Compute = Callable[[RunStage], Ran]
"""Runs a stage. Whatever it raises is the stage's failure."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A frame that ended, with what each run told, by stage and attempt."""

    done: FrameDone
    ran: Mapping[tuple[str, int], Ran]


@dataclass(frozen=True, slots=True)
class _Loaded:
    kernel: Kernel
    timed: TimedKernel | None
    """The same kernel, where it knows its device's time."""
    turn: threading.Lock


class Computing:
    """Runs the stages of a merged workload on backends, given by the name of the processor they serve.

    Stages may run at the same time in several threads. A kernel does not: its weights are on the processor once, and
    two frames that need it on two lanes take turns.
    """

    def __init__(self, merged: MergedWorkload, backends: Mapping[str, Backend]) -> None:
        self._stages = {stage.name: stage for stage in merged.stages}
        self._streams = {stream.name: stream for stream in merged.workload.streams}
        self._backends = backends
        self._kernels: dict[tuple[str, str, str], _Loaded] = {}
        self._loading = threading.Lock()
        self._values: dict[int, dict[str, np.ndarray]] = {}
        self._copies: dict[int, dict[tuple[str, str], np.ndarray]] = {}
        self._windows: dict[int, Mapping[str, np.ndarray]] = {}

    def begin(self, frame: int, windows: Mapping[str, np.ndarray]) -> None:
        """Take a frame's raw samples, by source stage."""
        self._windows[frame] = windows
        self._values[frame] = {}
        self._copies[frame] = {}

    def run(self, order: RunStage) -> Ran:
        """Compute a stage and keep its output until the frame ends.

        Raises `KernelError` on an output of another shape than the operator's, and whatever the kernel raises.
        """
        stage = self._stages[order.stage]
        loaded = self._load(order.stage, order.resource, order.variant)
        inputs = self._inputs(order.frame, stage, order.resource)
        with loaded.turn:
            if loaded.timed is None:
                output, device_us, device_nj = loaded.kernel(inputs), None, None
            else:
                run = loaded.timed.timed(inputs)
                output, device_us, device_nj = run.output, run.device_us, run.device_nj
        if output.shape != stage.bound.output_shape:
            raise KernelError(
                f"stage `{stage.name}` gave shape {output.shape} on `{order.resource}`, expected "
                f"{stage.bound.output_shape}"
            )
        values = self._values.get(order.frame)
        if values is not None:  # A run that was given up may end after its frame.
            values[order.stage] = output
        opened = not stage.bound.operator.is_gate or bool(output.reshape(-1)[0] > 0)
        return Ran(opened, device_us, device_nj)

    def hand_over(self, frame: int, stage: str, target: str) -> None:
        """Copy an output to where `target` reads it."""
        self._copies[frame][stage, target] = self._values[frame][stage].copy()

    def end(self, frame: int) -> dict[str, np.ndarray]:
        """Forget a frame. Returns the outputs of the stages that ran, by stage."""
        self._windows.pop(frame)
        self._copies.pop(frame)
        return self._values.pop(frame)

    def warm(self, stage: str, resource: str, variant: str) -> None:
        """Load a kernel and run it once on zeros: first runs are slow. Raises whatever loading or running it raises."""
        bound = self._stages[stage].bound
        source = bound.operator.is_source
        audio = source and self._streams[bound.params[variant].stream].kind == "audio"
        loaded = self._load(stage, resource, variant)
        loaded.kernel([np.zeros(shape, np.int16 if audio else np.float32) for shape in bound.input_shapes])

    def _load(self, stage: str, resource: str, variant: str) -> _Loaded:
        key = (stage, resource, variant)
        with self._loading:
            found = self._kernels.get(key)
            if found is None:
                kernel = self._backends[resource].load(self._stages[stage].bound, variant)
                timed = kernel if isinstance(kernel, TimedKernel) else None
                found = self._kernels[key] = _Loaded(kernel, timed, threading.Lock())
        return found

    def _inputs(self, frame: int, stage: MergedStage, resource: str) -> list[np.ndarray]:
        if stage.bound.operator.is_source:
            return [self._windows[frame][stage.name]]
        values, copies = self._values[frame], self._copies[frame]
        inputs = []
        for name, shape in zip(stage.inputs, stage.bound.input_shapes, strict=True):
            value = copies.get((name, resource))
            value = values.get(name) if value is None else value
            # A closed gate removed this input; only operators that take absent inputs come so far.
            inputs.append(np.zeros(shape, np.float32) if value is None else value)
        return inputs

"""Features that a device computes once although windows overlap: it is given the samples of the rows that are new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from leo_backends.checked import require_inputs
from leo_backends.streaming import Arrays, RowStream
from leo_runtime.backend import Abandonable, DeviceRun, News, State, Stepped, TimedKernel
from leo_runtime.documents.binding import BoundStage
from leo_runtime.operators.sound import LogMelParameters

KERNELS_MAX = 16
"""How many counts of rows a kernel is kept for, besides those of a whole window."""


def streams(stage: BoundStage, variant: str) -> bool:
    """Whether the stage keeps rows from run to run."""
    params = stage.params[variant]
    return isinstance(params, LogMelParameters) and params.streaming


def can_stream(stage: BoundStage, variant: str) -> bool:
    """Whether rows can be computed from their own samples alone, as devices do: no pre-emphasis reaches before them."""
    params = stage.params[variant]
    assert isinstance(params, LogMelParameters)
    return not params.preemphasis or params.preemphasis_in == "frame"


class DeviceStream:
    """A stage that keeps rows from run to run. Its state is that of the CPU's, which can go on from it, and it from
    the CPU's. A count of rows that is new to it takes as long to run as loading a stage does.
    """

    def __init__(
        self,
        stage: BoundStage,
        variant: str,
        load: Callable[[BoundStage], TimedKernel],
        *,
        least: DeviceRun,
        rows_at_once: int = 1,
    ) -> None:
        """`load` makes a stage of another length ready, which keeps nothing; `least` is a run that computes no row.

        Rows are computed in multiples of `rows_at_once`. Raises what `load` raises.
        """
        params = stage.params[variant]
        assert isinstance(params, LogMelParameters)
        self._stage = stage
        self._variant = variant
        self._load = load
        self._least = least
        self._rows_at_once = rows_at_once
        self._alone = params.model_copy(update={"streaming": False})
        frames, columns = stage.output_shape
        self._stream = RowStream(frames, columns, params.frame_samples, params.hop_samples)
        self._whole = self._kernel_for(frames)
        self._kernels: dict[int, TimedKernel] = {}

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """A run that starts anew, on the whole window. Raises `KernelError`."""
        return self.timed(inputs).output

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        """The same, and what the device itself measured. Raises `KernelError`."""
        run = self.step(inputs, self.start(), News(None, 0))
        assert run.device_us is not None
        return DeviceRun(run.output, run.device_us, run.device_nj)

    def start(self) -> Arrays:
        """The state before the first run."""
        return self._stream.start()

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        """Compute the rows that are new. Raises `KernelError`."""
        require_inputs(self._stage, inputs)
        assert isinstance(state, tuple)
        run = self._least

        def new_rows(samples: np.ndarray, left: Arrays) -> tuple[np.ndarray, Arrays]:
            nonlocal run
            run = self._computed(samples[1:])
            return run.output, left

        output, after = self._stream.step(inputs[0], state, None if news.whole else news.fresh, new_rows)
        return Stepped(output, after, run.device_us, run.device_nj)

    def abandon(self) -> None:
        """End the run at hand, where the device's own kernels can."""
        for kernel in (self._whole, *tuple(self._kernels.values())):
            if isinstance(kernel, Abandonable):
                kernel.abandon()

    def _computed(self, samples: np.ndarray) -> DeviceRun:
        stream = self._stream
        rows = stream.complete(len(samples))
        count = -(-rows // self._rows_at_once) * self._rows_at_once
        if rows <= stream.frames < count:
            count = stream.frames
        kernel = self._whole if count == stream.frames else self._kept(count)
        padded = np.pad(samples, (0, stream.reach(count) - len(samples)))
        run = kernel.timed([padded])
        return replace(run, output=run.output[:rows])

    def _kept(self, rows: int) -> TimedKernel:
        if rows not in self._kernels:
            if len(self._kernels) == KERNELS_MAX:
                del self._kernels[next(iter(self._kernels))]
            self._kernels[rows] = self._kernel_for(rows)
        return self._kernels[rows]

    def _kernel_for(self, rows: int) -> TimedKernel:
        stage, shapes = self._stage, ((self._stream.reach(rows),),)
        params = {self._variant: self._alone}
        shape = stage.operator.output_shape(self._alone, shapes)
        return self._load(replace(stage, params=params, input_shapes=shapes, output_shape=shape))

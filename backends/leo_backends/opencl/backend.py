"""The OpenCL backend, as the runtime sees it: nothing here imports pyopencl.

Options of its processor: `platform` and `device`, each a part of a name (the first device that is no CPU is taken
otherwise, else the first); `units`, how many of its compute units; `timeout_s` (30), how long a run may take;
`load_timeout_s` (120), the same for making a stage ready, which may compile.

Variants: `naive` takes the naive kernels, `fp16` half-precision weights (only where the device has cl_khr_fp16), any
other the tuned kernels.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Protocol

import numpy as np
from pydantic import Field

from leo_backends.checked import require_inputs
from leo_backends.device_stream import DeviceStream, can_stream, streams
from leo_backends.opencl.layer_plans import lacks
from leo_backends.opencl.messages import Choice, Forget, Load, Loaded, LoadedModel, LoadModel, Open, Opened, Ran, Run
from leo_backends.opencl.process import start_worker
from leo_backends.options import read_options
from leo_backends.piece import as_one, as_stored, graph_of, layers_of
from leo_backends.process import Worker, WorkerEndedError
from leo_runtime.backend import DeviceRun, ProcessEnds
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import BackendError, DeviceUnavailableError, KernelError, MissingExtraError
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.model_pieces import Piece
from leo_runtime.schema import Name, Positive, Value

OPERATORS = ("dense", "gmm", "log_mel", "mfcc")
HALF_OPERATORS = ("dense", "gmm")
ROWS_AT_ONCE = 16
"""Rows of a stream are computed in multiples of these, so that a worker holds few plans."""
NAIVE_VARIANT, HALF_VARIANT = "naive", "fp16"

Seconds = Annotated[float, Field(gt=0)]


class OpenClOptions(Value):
    """The options of a processor whose backend this is."""

    platform: Name | None = None
    device: Name | None = None
    units: Positive | None = None
    timeout_s: Seconds = 30.0
    load_timeout_s: Seconds = 120.0


class OpenClBackend:
    """Runs feature and model stages on an OpenCL device, in a worker process.

    Raises `MissingExtraError` without pyopencl, `DeviceUnavailableError` without a driver, a device that matches the
    options, or what the driver needs; `DocumentError` for options that are wrong.
    """

    name = "opencl"

    def __init__(self, processor: Processor) -> None:
        if importlib.util.find_spec("pyopencl") is None:
            raise MissingExtraError("the backend `opencl`", "opencl")
        self.options = read_options(processor, OpenClOptions)
        self.process_ends = ProcessEnds()
        """How often the worker has ended while, or before, it was asked for something."""
        self._worker: Worker | None = None
        self._device: Opened | None = None
        self._lock = threading.RLock()
        self._unused: deque[tuple[int, int]] = deque()
        """Stages that nobody runs any more, by the process of their worker and their key there."""
        try:
            self.worker()
        except KernelError as error:
            raise DeviceUnavailableError(f"{error} while it opened the device", hint="look at the driver") from None
        what = self.device().fingerprint
        self.driver = f"{what['name']}, {what['units']} units, {what['platform']} {what['driver']}"

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """Whether there are kernels for it; half precision only where the device has it."""
        params = stage.params[variant]
        if isinstance(params, ModelParameters):
            return self._lacks(params, variant) is None
        if stage.operator.name not in OPERATORS or (streams(stage, variant) and not can_stream(stage, variant)):
            return False
        if variant != HALF_VARIANT:
            return True
        try:
            return stage.operator.name in HALF_OPERATORS and self.device().has_half
        except BackendError:
            return False

    def _lacks(self, params: ModelParameters, variant: str) -> str | None:
        """Why pieces of a model are not run, as a clause; None where they are."""
        if variant == NAIVE_VARIANT:
            return "there are no naive kernels of layers"
        try:
            if variant == HALF_VARIANT and not self.device().has_half:
                return "the device has no half precision"
            return lacks(graph_of(params))
        except BackendError as error:
            return str(error)

    def load(self, stage: BoundStage, variant: str, /) -> OpenClKernel | DeviceStream:
        """Compile, copy the model to the device, run once. Raises `DeviceUnavailableError`, `KernelError`."""
        params = stage.params[variant]
        if isinstance(params, ModelParameters):
            piece = layers_of(params)
            if (why := self._lacks(params, variant)) is not None:
                raise KernelError(f"the OpenCL backend does not run the layers of stage `{stage.name}`: {why}")
            return OpenClKernel(self, stage, lambda worker: _Model(worker, stage, piece, variant, self.options))
        if not self.supports(stage, variant):
            what = f"`{stage.operator.name}`" + (" in half precision" if variant == HALF_VARIANT else "")
            raise KernelError(f"the OpenCL backend has no kernel for operator {what} of stage `{stage.name}`")
        if not streams(stage, variant):
            return self._rows(stage, variant)
        least = DeviceRun(np.zeros((0, stage.output_shape[1]), np.float32), 1)
        return DeviceStream(
            stage, variant, lambda some: self._rows(some, variant), least=least, rows_at_once=ROWS_AT_ONCE
        )

    def _rows(self, stage: BoundStage, variant: str) -> OpenClKernel:
        return OpenClKernel(self, stage, lambda worker: _Rows(worker, stage, variant, self.options))

    def device(self) -> Opened:
        """What the device is. Raises `DeviceUnavailableError`."""
        with self._lock:
            self.worker()
            assert self._device is not None
            return self._device

    def worker(self) -> Worker:
        """The worker process, started when there is none alive. Raises `DeviceUnavailableError`, `KernelError`."""
        with self._lock:
            if self._worker is None or not self._worker.alive:
                worker = start_worker()
                options = self.options
                try:
                    choice = Choice(options.platform, options.device, options.units)
                    opened = worker.ask(Open(choice), options.load_timeout_s)
                except BaseException:
                    worker.close(now=True)
                    raise
                self._worker, self._device = worker, opened
            return self._worker

    @contextmanager
    def counting_ends(self, stage: BoundStage) -> Iterator[None]:
        """It is asked for something of a stage within. Behind the lock."""
        try:
            yield
        except WorkerEndedError as error:
            self.process_ends = ProcessEnds(self.process_ends.count + 1, f"{error.how} (stage `{stage.name}`)")
            raise

    def forget_unused(self, worker: Worker) -> None:
        """Let go of what nobody runs any more. Behind the lock. Raises `KernelError`."""
        if self._unused:
            unused = [self._unused.popleft() for _ in range(len(self._unused))]
            keys = tuple([key for pid, key in unused if pid == worker.pid])
            if keys:
                worker.ask(Forget(keys), self.options.timeout_s)

    def close(self) -> None:
        """End the worker process, also where it is at work: who waits for that hears that it died.

        From any thread. Closing twice is fine; a kernel used after that starts it again.
        """
        worker = self._worker
        if self._lock.acquire(blocking=False):
            self._lock.release()
        elif worker is not None:
            worker.kill()
        with self._lock:
            if self._worker is not None:
                self._worker.close()
                self._worker = None


class OpenClKernel:
    """A stage on the device. When its worker has died, the next call loads it again in a new one."""

    def __init__(self, backend: OpenClBackend, stage: BoundStage, load: Callable[[Worker], _There]) -> None:
        self._backend = backend
        self._stage = stage
        self._load = load
        self._there: _There | None = None
        self._asked: Worker | None = None
        """Who is at a run of it."""
        self.span_ns = (0, 0)
        """When the device began and ended the last run, on the clock of `time.monotonic_ns`."""
        with backend._lock, backend.counting_ends(stage):
            self._ready()

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage. Raises `KernelError`."""
        return self.timed(inputs).output

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        """Compute the stage; the time is from the first kernel's start to the last one's end. Raises `KernelError`."""
        stage = self._stage
        require_inputs(stage, inputs)
        with self._backend._lock, self._backend.counting_ends(stage):
            there = self._ready()
            there.put(inputs)
            self._asked = there.worker
            try:
                ran: Ran = there.worker.ask(Run(there.key), self._backend.options.timeout_s)
            finally:
                self._asked = None
            output = there.output()
        self.span_ns = (ran.start_ns, ran.end_ns)
        return DeviceRun(output, max(1, (ran.end_ns - ran.start_ns + 500) // 1000))

    def abandon(self) -> None:
        """End the worker process if it is at a run of this stage."""
        worker = self._asked
        if worker is not None:
            worker.kill()

    def _ready(self) -> _There:
        worker = self._backend.worker()
        self._backend.forget_unused(worker)
        if self._there is None or self._there.worker is not worker:
            there = self._load(worker)
            place = worker.pid, there.key
            # From any thread, amid anything: it is only noted.
            weakref.finalize(there, self._backend._unused.append, place).atexit = False
            self._there = there
        return self._there


class _There(Protocol):
    """A stage in one worker, with the memory shared with it."""

    worker: Worker
    key: int

    def put(self, inputs: Sequence[np.ndarray]) -> None:
        """Hand over what the stage reads."""

    def output(self) -> np.ndarray:
        """A copy of what the last run gave."""


class _Rows:
    """A stage that makes rows of rows."""

    def __init__(self, worker: Worker, stage: BoundStage, variant: str, options: OpenClOptions) -> None:
        request = Load(
            stage.operator.name,
            stage.params[variant],
            tuple(stage.input_shapes[0]),
            naive=variant == NAIVE_VARIANT,
            half=variant == HALF_VARIANT,
        )
        self.worker = worker
        loaded: Loaded = worker.ask(request, options.load_timeout_s)
        self.key = loaded.key
        shared = _shared(worker).view(np.float32)
        self._shape = stage.output_shape
        self._input = shared[loaded.input_first :][: int(np.prod(stage.input_shapes[0]))]
        rows = shared[loaded.output_first :][: loaded.rows * loaded.pitch].reshape(loaded.rows, loaded.pitch)
        self._output = rows[:, : loaded.columns]

    def put(self, inputs: Sequence[np.ndarray]) -> None:
        self._input[...] = np.ravel(inputs[0])

    def output(self) -> np.ndarray:
        return self._output.reshape(self._shape).copy()


class _Model:
    """A stage that is a model, or pieces of one."""

    def __init__(self, worker: Worker, stage: BoundStage, piece: Piece, variant: str, options: OpenClOptions) -> None:
        params = stage.params[variant]
        self.worker = worker
        loaded: LoadedModel = worker.ask(LoadModel(params, variant == HALF_VARIANT), options.load_timeout_s)
        self.key = loaded.key
        shared = _shared(worker)
        crossing = (*piece.takes, *piece.gives)
        arrays = [
            shared[first : first + one.bytes].view(one.data_type).reshape(one.shape)
            for first, one in zip(loaded.firsts, crossing, strict=True)
        ]
        self._stage, self._takes = stage, piece.takes
        self._inputs, self._outputs = arrays[: len(piece.takes)], arrays[len(piece.takes) :]

    def put(self, inputs: Sequence[np.ndarray]) -> None:
        for place, array in zip(self._inputs, as_stored(inputs, self._takes), strict=True):
            place[...] = array

    def output(self) -> np.ndarray:
        return as_one(self._stage, [array.copy() for array in self._outputs])


def _shared(worker: Worker) -> np.ndarray:
    """The bytes of the file that a worker has just sent."""
    descriptor = worker.receive_file()
    try:
        return np.frombuffer(mmap.mmap(descriptor, 0), np.uint8)
    finally:
        os.close(descriptor)

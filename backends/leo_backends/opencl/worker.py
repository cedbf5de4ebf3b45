"""The worker process: opens the device, loads stages and runs them, as asked over a socket. One request at a time.

A driver that aborts or hangs takes this process with it, and nothing else.
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import TYPE_CHECKING, Any

from leo_backends.opencl.messages import Forget, Load, Loaded, LoadedModel, LoadModel, Open, Opened, Ran, Run
from leo_runtime.errors import BackendError, DeviceUnavailableError

if TYPE_CHECKING:
    from leo_backends.opencl.device import Device, LoadedSteps
    from leo_backends.opencl.tuning import Tuning


def main(descriptor: int) -> None:
    """Serve requests on a socket until it closes."""
    warnings.simplefilter("ignore")  # Nobody reads them here; what matters is answered.
    connection = Connection(descriptor)
    worker = _Worker(connection)
    with suppress(ConnectionError):  # Whoever asked may have gone before it is answered.
        while True:
            try:
                request = connection.recv()
            except EOFError:
                break
            try:
                worker.answer(request)
            except BackendError as error:
                connection.send(error)
    os._exit(0)  # A driver's own farewell may hang.


class _Worker:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._device: Device | None = None
        self._tuning: Tuning | None = None
        self._loaded: dict[int, LoadedSteps] = {}
        self._keys = count()

    def answer(self, request: Any) -> None:
        match request:
            case Open():
                self._open(request)
            case Load():
                self._load(request)
            case LoadModel():
                self._load_model(request)
            case Forget():
                for key in request.keys:
                    del self._loaded[key]
                self._connection.send(None)
            case Run():
                self._connection.send(Ran(*self._loaded[request.key].run()))

    def _open(self, request: Open) -> None:
        try:
            from leo_backends.opencl.device import Device
        except ImportError as error:
            raise DeviceUnavailableError(f"pyopencl cannot be imported ({error})") from None
        from leo_backends.opencl.tuning import Tuning

        self._device = Device.open(request.choice)
        self._tuning = Tuning.of_device(self._device.fingerprint)
        self._connection.send(Opened(self._device.fingerprint, self._device.has_half))

    def _load(self, request: Load) -> None:
        from leo_backends.opencl.device import LoadedPlan
        from leo_backends.opencl.plans import Family, plan_stage

        assert self._device is not None and self._tuning is not None
        family = Family(self._tuning, request.naive, request.half)
        plan = LoadedPlan(self._device, plan_stage(request.operator, request.params, request.input_shape, family))
        y = plan.output
        first = plan.output_first + y.first
        self._send(plan, Loaded(self._kept(plan), plan.lead, first, y.rows, y.columns, y.pitch))

    def _load_model(self, request: LoadModel) -> None:
        from leo_backends.opencl.device import LoadedSteps
        from leo_backends.opencl.layer_plans import plan_graph
        from leo_backends.opencl.plans import Family
        from leo_backends.piece import graph_of

        assert self._device is not None and self._tuning is not None
        plan = plan_graph(graph_of(request.params), Family(self._tuning, half=request.half))
        inputs, outputs = ([border.buffer for border in borders] for borders in (plan.inputs, plan.outputs))
        loaded = LoadedSteps(self._device, plan.steps, plan.buffers(), inputs, outputs)
        self._send(loaded, LoadedModel(self._kept(loaded), tuple(4 * first for first in loaded.firsts)))

    def _kept(self, steps: LoadedSteps) -> int:
        key = next(self._keys)
        self._loaded[key] = steps
        return key

    def _send(self, steps: LoadedSteps, answer: Loaded | LoadedModel) -> None:
        self._connection.send(answer)
        with steps.file:
            send_handle(self._connection, steps.file.fileno(), os.getppid())

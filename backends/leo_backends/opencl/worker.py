"""The worker process: opens the device, loads stages and runs them, as asked over a socket. One request at a time.

A driver that aborts or hangs takes this process with it, and nothing else.
"""

from __future__ import annotations

import os
import warnings
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import TYPE_CHECKING, Any

from leo_backends.opencl.messages import Forget, Load, Loaded, Open, Opened, Ran, Run
from leo_runtime.errors import BackendError, DeviceUnavailableError

if TYPE_CHECKING:
    from leo_backends.opencl.device import Device, LoadedPlan
    from leo_backends.opencl.tuning import Tuning


def main(descriptor: int) -> None:
    """Serve requests on a socket until it closes."""
    warnings.simplefilter("ignore")  # Nobody reads them here; what matters is answered.
    connection = Connection(descriptor)
    worker = _Worker(connection)
    while True:
        try:
            request = connection.recv()
        except (EOFError, ConnectionResetError):
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
        self._loaded: dict[int, LoadedPlan] = {}
        self._keys = count()

    def answer(self, request: Any) -> None:
        match request:
            case Open():
                self._open(request)
            case Load():
                self._load(request)
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
        key = next(self._keys)
        self._loaded[key] = plan
        y = plan.output
        first = plan.output_first + y.first
        self._connection.send(Loaded(key, plan.lead, first, y.rows, y.columns, y.pitch))
        with plan.file:
            send_handle(self._connection, plan.file.fileno(), os.getppid())

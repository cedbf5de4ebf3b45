"""The process: the CPU's own kernels, each in a thread of its own, which waits for its runs.

Of these threads as many are busy as lanes call. It ends with its program; what users' modules registered with `atexit`
is not called.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from io import TextIOWrapper
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from leo_backends import tflite
from leo_backends.cpu import CpuBackend
from leo_backends.isolated.files import require_unchanged
from leo_backends.isolated.memory import SharedArrays
from leo_backends.isolated.messages import DONE, RUN, Load, Loaded, Open, Start, Step, Types
from leo_backends.isolated.operators import digest
from leo_backends.isolated.states import sendable
from leo_backends.process import receive_files
from leo_runtime import errors
from leo_runtime.backend import StatefulKernel
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import GraphError, KernelError, LeoError, words
from leo_runtime.operators import find_operator, refresh
from leo_runtime.operators.own import failure

_IN_MEMORY = np.empty(0, np.float32)
"""In the place of an output."""


def main(descriptor: int) -> None:
    """Be what `Open` says, and take kernels until the socket closes."""
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, TextIOWrapper), "nothing has replaced it yet"
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    connection = Connection(descriptor)
    try:
        opened: Open = connection.recv()
    except (EOFError, OSError):  # It was a spare one that nobody needed.
        return
    tflite.TRIALS.leave_out()
    backend = CpuBackend(Processor(name=opened.processor, backend="cpu", options={"threads": opened.threads}))
    # Whoever wanted it may have gone meanwhile: then it ends like this without a word, too.
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as kernels:
        connection.send(None)
        (dump,) = receive_files(kernels, 1)
        faulthandler.enable(dump)
        while files := receive_files(kernels, 2):
            threading.Thread(target=_serve, args=(backend, *files), daemon=True).start()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # What users' modules have put there may be anything.
            stream.flush()
    os._exit(0)


def _serve(backend: CpuBackend, descriptor: int, memory: int) -> None:
    """The thread of one kernel."""
    kernel = _Kernel(backend, memory)
    with suppress(EOFError, OSError), Connection(descriptor) as connection:
        while True:
            request = connection.recv_bytes()
            try:
                if request == RUN:
                    kernel.run()
                    answer = DONE
                else:
                    answer = pickle.dumps(kernel.answer(pickle.loads(request)))
            except BaseException as error:  # Also SystemExit: nothing that a kernel raises ends its thread.
                answer = pickle.dumps(kernel.told(error))
            connection.send_bytes(answer)


class _Kernel:
    def __init__(self, backend: CpuBackend, memory: int) -> None:
        self._backend = backend
        self._descriptor = memory
        self._stage: BoundStage | None = None

    def answer(self, request: Any) -> Any:
        match request:
            case Load():
                return self._load(request)
            case Types():
                self._inputs = _read_only(self._shared.inputs(request.names))
                return None
            case Start():
                kernel, stage = self._stateful()
                return sendable(kernel.start(), stage)
            case Step():
                return self._step(request)
        raise KernelError(f"it was sent {type(request).__name__}, which it does not know")

    def run(self) -> None:
        self._shared.output[...] = self._kernel(self._inputs)

    def told(self, error: BaseException) -> LeoError:
        """An error as it is sent: one of ours, since the other side may not have what users' own are made of."""
        if isinstance(error, LeoError) and getattr(errors, type(error).__name__, None) is type(error):
            return error
        hint = error.hint if isinstance(error, LeoError) else ""
        if self._stage is None:
            return KernelError(f"a stage cannot be loaded: {words(error)}", hint=hint)
        why = failure(error, self._stage.operator.function)
        return KernelError(f"stage `{self._stage.name}` failed: {why}", hint=hint)

    def _load(self, request: Load) -> Loaded:
        try:
            refresh([request.operator])  # It may have been edited since, and imported anew in the program.
            operator = find_operator(request.operator)
        except GraphError as error:  # What could be imported in the program cannot be here.
            raise KernelError(
                f"the process of isolated stages has not found its operator: {error}", hint=error.hint
            ) from None
        if digest(operator) != request.digest:
            raise KernelError(
                f"operator `{operator.name}` is not what it was when its module was imported: the file has been "
                "changed, or something has the same name",
                hint="read the workload again, or start the program again",
            )
        values, given = pickle.loads(request.params)
        params = operator.parameters.model_construct(given, **values)
        stage = BoundStage(
            operator=operator,
            params={request.variant: params},
            accuracy_loss_ppm={request.variant: 0},
            **request.stage,
        )
        require_unchanged(stage, request.variant, request.files)
        self._kernel = self._backend.load(stage, request.variant)
        self._shared = SharedArrays(self._descriptor, stage)
        os.close(self._descriptor)
        self._inputs = _read_only(self._shared.inputs(["float32"] * len(stage.input_shapes)))
        self._stage = stage
        return Loaded(threading.get_ident(), isinstance(self._kernel, StatefulKernel))

    def _step(self, request: Step) -> Any:
        kernel, stage = self._stateful()
        stepped = kernel.step(self._inputs, request.state, request.news)
        self._shared.output[...] = stepped.output
        # The state it began from is still there, where it came from.
        return replace(stepped, output=_IN_MEMORY, state=sendable(stepped.state, stage), spent=False)

    def _stateful(self) -> tuple[StatefulKernel, BoundStage]:
        assert isinstance(self._kernel, StatefulKernel) and self._stage is not None
        return self._kernel, self._stage


def _read_only(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    for array in arrays:
        array.flags.writeable = False
    return list(arrays)

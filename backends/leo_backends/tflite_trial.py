"""The first run of each model, in a worker process: one that aborts its interpreter takes that process with it alone.

What came of it is remembered by the model's content and how it is called, so that a model is tried once a process.

A trial tells what a model does on zeros. `tflite_runtime`, unlike LiteRT, also reads a damaged file unchecked, and what
it does then may differ from process to process.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

from leo_backends.process import Worker, WorkerEndedError
from leo_backends.tflite_pieces import PieceModel
from leo_backends.tflite_session import Model
from leo_runtime.errors import BackendError, KernelError

Tried = Model | PieceModel
TIMEOUT_S = 60.0
"""How long a model's first run may take."""
MEMORY_BYTES = 4 << 30
"""What it may take: as much as a device has on which such models are run."""


class Trials:
    """Models that were tried, and the worker that tries them: started for the first, and ended by `close`.

    From any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._known: dict[Tried, BackendError | None] = {}
        self._left_out = False

    def leave_out(self) -> None:
        """Try nothing: this process is one that models may end."""
        self._left_out = True

    def require_sound(self, model: Tried) -> None:
        """Raise `KernelError` for a model that cannot be run, that does not fit its stage, or ends its process."""
        if self._left_out:
            return
        key = replace(model, content=hashlib.blake2b(model.content).digest())
        with self._lock:
            if key not in self._known:
                self._known[key] = self._tried(model)
            failure = self._known[key]
        if failure is not None:
            raise type(failure)(str(failure), hint=failure.hint)

    def close(self) -> None:
        """End the worker. The next model that nothing is known of starts another. Twice is fine."""
        with self._lock:
            if self._worker is not None:
                self._worker.close()
                self._worker = None

    def _tried(self, model: Tried) -> BackendError | None:
        if self._worker is None or not self._worker.alive:
            self._worker = Worker("the process of its first run", "leo_backends.tflite_trial")
        try:
            self._worker.ask(model, TIMEOUT_S)
        except WorkerEndedError as error:
            return KernelError(
                f"{model.name}: cannot be run, {error}",
                hint=f"the interpreter of {model.package} does not survive it: convert the model again, or with other "
                "options",
            )
        except BackendError as error:
            # Another one: this has the frames with it that it was raised through, and they have the whole model.
            return type(error)(str(error), hint=error.hint)
        return None


def _limit_memory() -> None:
    """Let a model that asks for all memory fail here, and not have the system end other programs."""
    try:
        import resource  # Not on every system.
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    with suppress(OSError, ValueError):  # Where there is less already.
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def main(descriptor: int) -> None:
    """The worker: run each model that it is sent once, until the socket closes."""
    _limit_memory()
    connection = Connection(descriptor)
    with suppress(ConnectionError):  # Whoever asked may have gone before it is answered.
        while True:
            try:
                model: Tried = connection.recv()
            except EOFError:
                return
            try:
                model.run_once()
            except BackendError as error:
                connection.send(error)
            else:
                connection.send(None)

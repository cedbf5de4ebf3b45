"""A kernel's way to one process: a socket for requests, and memory for arrays that both map."""

from __future__ import annotations

import os
import pickle
import select
import socket
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from leo_backends.isolated.life import Life
from leo_backends.isolated.memory import SharedArrays, new_memory
from leo_backends.isolated.messages import DONE, RUN, Loaded, Step, Types
from leo_backends.process import limit_waits, milliseconds
from leo_runtime.backend import Stepped
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import LeoError


class GoneError(Exception):
    """The process does not answer any more."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.channel = channel


class Channel:
    """A stage in one process. For one thread at a time."""

    def __init__(self, life: Life, stage: BoundStage, key: tuple[str, str, str], timeout_s: float) -> None:
        """`timeout_s` is how long a run may take. Raises `GoneError`, `KernelError`."""
        self.life = life
        self.stage = stage
        self.key = key
        """The stage's name, variant and signature."""
        self.loaded = Loaded(0, keeps_state=False)
        self._timeout_s = timeout_s
        memory = new_memory(stage)
        try:
            self._shared = SharedArrays(memory, stage)
            ours, theirs = socket.socketpair()
            self._connection = Connection(ours.detach())
            with theirs:
                try:
                    life.worker.send_files(theirs.fileno(), memory)
                except OSError:
                    raise GoneError(self) from None
        finally:
            os.close(memory)
        self._poll = select.poll()
        self._poll.register(self._connection.fileno(), select.POLLIN)
        self._types = ("float32",) * len(stage.input_shapes)
        self._inputs = self._shared.inputs(self._types)

    def load(self, request: bytes, timeout_s: float) -> None:
        """Make it ready, by a pickled `Load`. Raises `GoneError`, and what it raises there."""
        limit_waits(self._connection.fileno(), timeout_s)
        self.loaded = _opened(self._ask(request, timeout_s, runs=False))
        limit_waits(self._connection.fileno(), self._timeout_s)

    def run(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Compute it. Raises `GoneError`, and what it raises there."""
        self._put(inputs)
        answer = self._ask(RUN, self._timeout_s)
        if answer != DONE:
            _opened(answer)
        return self._shared.output.copy()

    def step(self, inputs: Sequence[np.ndarray], request: Step) -> Stepped:
        """Compute it from a state. Raises `GoneError`, and what it raises there."""
        self._put(inputs)
        stepped: Stepped = self.asked(request)
        return replace(stepped, output=self._shared.output.copy())

    def asked(self, request: Any) -> Any:
        """The answer to any request. Raises `GoneError`, and what it raises there."""
        return _opened(self._ask(pickle.dumps(request), self._timeout_s))

    def _put(self, inputs: Sequence[np.ndarray]) -> None:
        types = tuple([array.dtype.name for array in inputs])
        if types != self._types:
            self._inputs = self._shared.inputs(types)
            self.asked(Types(types))
            self._types = types
        for place, array in zip(self._inputs, inputs, strict=True):
            place[...] = array

    def _ask(self, request: bytes, timeout_s: float, *, runs: bool = True) -> bytes:
        at_hand = self.life.at_hand
        at_hand[self] = runs
        try:
            try:
                self._connection.send_bytes(request)
            except BlockingIOError:
                raise
            except OSError:  # It had ended before.
                at_hand.pop(self, None)
                raise GoneError(self) from None
            if not self._poll.poll(milliseconds(timeout_s)):
                raise BlockingIOError
            answer = self._connection.recv_bytes()
        except BlockingIOError:
            self.life.end(self, f"did not answer within {timeout_s:g} s and was ended")
            raise GoneError(self) from None
        except (EOFError, OSError):
            raise GoneError(self) from None
        except GoneError:
            raise
        except BaseException:
            at_hand.pop(self, None)
            raise
        at_hand.pop(self, None)
        return answer


def _opened(answer: bytes) -> Any:
    opened = pickle.loads(answer)
    if isinstance(opened, LeoError):
        try:
            raise opened
        finally:
            del opened  # It leads to this frame, and the frame must not lead back.
    return opened

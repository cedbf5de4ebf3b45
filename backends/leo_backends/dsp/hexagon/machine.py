"""A Hexagon program kept loaded under qemu-hexagon: weights go in once, then inputs in and outputs out over pipes."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_backends.dsp.fixed_point import EXP2_TABLE, LOG2_TABLE, TANH_TABLE
from leo_backends.dsp.hexagon.toolchain import INSTALL_HINT, build, find_toolchain
from leo_backends.dsp.operators import PROGRAMS
from leo_runtime.errors import DeviceUnavailableError, KernelError

_HEADER = struct.Struct("<4I")
_LOAD, _RUN = 1, 2
_STATUS = {
    1: "it cannot read the request",
    2: "it has no memory left",
    3: "it does not know the operator",
    4: "the stage is not loaded",
}
MODELS = 256
"""How many stages the program has room for (MODELS in program/start.c)."""


_OUT_OF_MEMORY = 2


class _NoMemoryError(KernelError):
    pass


@dataclass(frozen=True, slots=True)
class Counted:
    """A run: the bytes of its output, and what the processor executed for it."""

    output: bytes
    packets: int
    instructions: int


@dataclass(slots=True)
class LoadedModel:
    """A stage whose weights are in the program; after a crash it is loaded again on its next run."""

    machine: HexagonMachine
    payload: bytes
    slot: int
    generation: int
    load: Counted
    """What copying and preparing the weights took."""

    def run(self, inputs: Sequence[np.ndarray]) -> Counted:
        """Run it on arrays whose types are those the operator expects. Raises `KernelError`."""
        return self.machine.run(self, inputs)


class HexagonMachine:
    """One process of qemu-hexagon. It may be called from any thread; runs are one at a time.

    Raises `DeviceUnavailableError` when the tools are absent or the program cannot be built.
    """

    def __init__(self, target: str = "v5", *, timeout_s: float = 60.0, directory: Path | None = None) -> None:
        tools = find_toolchain()
        self.target = target
        self.program = build(tools, target, directory)
        self._command = [tools.qemu, str(self.program)]
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._generation = 0
        self._slots = 0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, or None before the first use and after a crash."""
        return self._process.pid if self._process is not None else None

    def load(self, program: str, params: Sequence[int], weights: Sequence[np.ndarray] = ()) -> LoadedModel:
        """Give the program a stage of one of `PROGRAMS` to keep. Raises `KernelError` when it refuses it."""
        words = np.array([PROGRAMS.index(program), *params], dtype="<i4")
        model = LoadedModel(self, _packed([words, *weights]), -1, -1, Counted(b"", 0, 0))
        with self._lock:
            self._load(model)
        return model

    def run(self, model: LoadedModel, inputs: Sequence[np.ndarray]) -> Counted:
        """Run a loaded stage. Raises `KernelError` when it crashes, refuses, or takes longer than the time-out."""
        with self._lock:
            if model.generation != self._generation or self._process is None:
                self._load(model)
            return self._ask(_RUN, model.slot, _packed(inputs))

    def close(self) -> None:
        """End the program, also where it runs a stage: who waits for that hears of it. Closing twice is fine."""
        process = self._process
        if self._lock.acquire(blocking=False):
            self._lock.release()
        elif process is not None:
            process.kill()
        with self._lock:
            self._closed = True
            self._stop()

    def _load(self, model: LoadedModel) -> None:
        """Load a stage; a full program is started anew, and every other stage is then loaded again when it runs."""
        self._start()
        if self._slots == MODELS:
            self._stop()
            self._start()
        try:
            model.load = self._ask(_LOAD, self._slots, model.payload)
        except _NoMemoryError:
            if self._slots == 1:
                raise
            self._stop()
            self._start()
            model.load = self._ask(_LOAD, self._slots, model.payload)
        model.slot, model.generation = self._slots, self._generation
        self._slots += 1

    def _start(self) -> None:
        if self._closed:
            raise KernelError("the Hexagon machine was closed")
        if self._process is not None:
            return
        try:
            # The program's own words (qemu's on a crash) are of no use to a caller; its end is what is reported.
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        except OSError as error:
            raise DeviceUnavailableError(f"{self._command[0]} cannot be run ({error})", hint=INSTALL_HINT) from None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._process = process
        self._generation += 1
        self._slots = 1
        self._finalizer = weakref.finalize(self, _end, process)
        self._ask(_LOAD, 0, _tables())

    def _stop(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        self._finalizer.detach()
        return _end(process)

    def _ask(self, command: int, slot: int, payload: bytes) -> Counted:
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        deadline = time.monotonic() + self.timeout_s
        out, back = self._process.stdin.fileno(), self._process.stdout.fileno()
        try:
            _send(out, _HEADER.pack(command, slot, len(payload), 0), deadline)
            _send(out, payload, deadline)
            status, packets, instructions, length = _HEADER.unpack(_receive(back, _HEADER.size, deadline))
            output = _receive(back, length, deadline)
        except TimeoutError:
            self._stop()
            raise KernelError(
                f"the Hexagon program did not answer within {self.timeout_s:g} s and was ended",
                hint="give it more time with the option `timeout_s`",
            ) from None
        except (BrokenPipeError, EOFError):
            code = self._stop()
            raise KernelError(
                f"the Hexagon program ended with {code} while it ran a stage",
                hint="it starts anew at the next run; if it ends again, please report the stage",
            ) from None
        except BaseException:
            # Such as KeyboardInterrupt: half a message is in the pipe, so this process cannot be asked again.
            self._stop()
            raise
        if status != 0:
            refused = _NoMemoryError if status == _OUT_OF_MEMORY else KernelError
            raise refused(f"the Hexagon program refuses the stage: {_STATUS.get(status, f'status {status}')}")
        return Counted(output, packets, instructions)


def _tables() -> bytes:
    """The first stage of every process: the tables of the functions, which the operators read."""
    tables = [table.astype("<i4") for table in (LOG2_TABLE, EXP2_TABLE, TANH_TABLE)]
    return _packed([np.array([PROGRAMS.index("tables")], "<i4"), *tables])


def _packed(arrays: Sequence[np.ndarray]) -> bytes:
    """How many arrays, the length of each in bytes, then each at the next multiple of 8."""
    parts = [np.ascontiguousarray(array).tobytes() for array in arrays]
    packed = bytearray(struct.pack(f"<{1 + len(parts)}I", len(parts), *map(len, parts)))
    for part in parts:
        packed += bytes(-len(packed) % 8)
        packed += part
    return bytes(packed)


def _send(pipe: int, data: bytes, deadline: float) -> None:
    view = memoryview(data)
    while view:
        _wait(pipe, select.POLLOUT, deadline)
        view = view[os.write(pipe, view) :]


def _receive(pipe: int, length: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < length:
        _wait(pipe, select.POLLIN, deadline)
        part = os.read(pipe, length - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _wait(pipe: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _end(process: subprocess.Popen[bytes]) -> int:
    """Close its input, which ends a healthy program; kill one that does not end by itself. Its exit code."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    try:
        return process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

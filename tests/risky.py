"""Operators of a user's own that end their process, hang, or write, on an input that begins with 13."""

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np

from leo_runtime.backend import News
from leo_runtime.errors import KernelError
from leo_runtime.operators import operator

BAD = 13
"""The first value of an input that brings it about."""


class OwnError(KernelError):
    """An error of a class that is the user's own."""


@operator(output_shape=lambda signal, **_: signal)
def risky(signal: np.ndarray, *, how: str = "", where: str = "") -> np.ndarray:
    """Twice the signal; at `where` lies a pipe in which it says that it has begun, or waits to be told to go on."""
    if signal.size and signal.flat[0] == BAD:
        _end(how, Path(where))
    if how == "pid":
        return np.full(signal.shape, os.getpid(), np.float32)
    return 2 * signal


def _end(how: str, pipe: Path) -> None:
    match how:
        case "abort":
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "exit once" if not pipe.exists():
            pipe.touch()
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "close":
            os.closerange(3, 256)
        case "hang":
            pipe.write_text("begun")
            threading.Event().wait()
        case "hang with the lock":
            pipe.write_text("begun")
            ctypes.PyDLL(None).pause()
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
            threading.Event().wait()  # It stops soon, but not at once.
        case "wait":
            pipe.read_text()
        case "raise":
            raise KeyError("nothing there")
        case "leave":
            raise SystemExit(4)
        case "own":
            raise OwnError("mine", hint="so it is")
        case "say":
            print("out loud", flush=True)
            print("a warning", file=sys.stderr, flush=True)


class Sum:
    """Part of a state."""

    def __init__(self) -> None:
        self.total = 0.0


@operator(output_shape=lambda signal, **_: (1,))
class Summed:
    """The sum of all that was new so far."""

    def start(self, shape: tuple[int, ...]) -> None:
        self.sum = Sum()

    def step(self, signal: np.ndarray, *, news: News, locked: bool = False) -> np.ndarray:
        fresh = len(signal) if news.fresh is None else news.fresh
        self.sum.total += float(signal[len(signal) - fresh :].sum())
        if locked:
            self.lock = threading.Lock()
        return np.array([self.sum.total], np.float32)


@operator(output_shape=lambda signal: signal)
def changed(signal: np.ndarray) -> np.ndarray:
    """Something else in every process but the first."""
    return -signal


if os.environ.get("LEO_TEST_CHANGED"):

    @operator(output_shape=lambda signal: signal)
    def changed(signal: np.ndarray) -> np.ndarray:
        """As if the file had been changed."""
        return signal


def made() -> object:
    """An operator that is defined within a function."""

    @operator(output_shape=lambda signal: signal)
    def inner(signal: np.ndarray) -> np.ndarray:
        return signal

    return inner

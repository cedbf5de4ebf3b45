"""The runtime's side of the worker process: starts it, asks it, and ends it when it does not answer.

It is started afresh, not forked (some drivers hang in a forked child), and not by `multiprocessing.Process`, which
would run the user's main script a second time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import IO, Any

from leo_backends.opencl.messages import Failed
from leo_backends.opencl.tuning import cache_folder
from leo_runtime.errors import KernelError

START = "import sys; from leo_backends.opencl.worker import main; main(int(sys.argv[1]))"
LAST_WORDS_BYTES = 400
GOODBYE_S = 5.0


class Worker:
    """A worker process that is alive until it dies, does not answer in time, or is closed."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        caches, remove_caches = _caches()
        with theirs:
            self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=_environment(caches),
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
            )
        self._connection = Connection(ours.detach())
        self._end = weakref.finalize(self, _end, self._process, self._connection, self._words, remove_caches)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._end.alive

    def ask(self, request: Any, timeout_s: float) -> Any:
        """The answer to a request. Raises what the worker raised, or `KernelError` when there is no answer."""
        try:
            self._connection.send(request)
            if not self._connection.poll(timeout_s):
                self.close(now=True)
                raise KernelError(
                    f"the OpenCL worker did not answer within {timeout_s:g} s and was ended",
                    hint="the next use starts a new one; raise the processor's option `timeout_s` if it is only slow",
                )
            answer = self._connection.recv()
        except (EOFError, OSError):
            died = self._how_it_died()
            self.close(now=True)
            raise KernelError(f"the OpenCL worker died{died}", hint="the next use starts a new one") from None
        if isinstance(answer, Failed):
            raise answer.error(answer.message, hint=answer.hint)
        return answer

    def receive_file(self) -> int:
        """The descriptor of the file that follows an answer; it is the caller's to close."""
        return recv_handle(self._connection)

    def close(self, *, now: bool = False) -> None:
        """End the process; `now` does not wait for what it is at. Closing twice is fine."""
        if now:
            self._process.kill()
        self._end()

    def _how_it_died(self) -> str:
        """The signal or exit code, and the end of what the driver wrote."""
        try:
            code = self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            return ""
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - LAST_WORDS_BYTES))
        said = " ".join(self._words.read().decode(errors="replace").split())
        return f" of {how}{': ' + said if said else ''}"


def _end(
    process: subprocess.Popen[bytes], connection: Connection, words: IO[bytes], remove_caches: Callable[[], None]
) -> None:
    with contextlib.suppress(OSError):
        connection.close()  # The worker ends at the end of its requests.
    try:
        process.wait(GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    words.close()
    remove_caches()


def _environment(caches: dict[str, str]) -> dict[str, str]:
    """This process's, with its import path."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment.pop("PYTHONWARNINGS", None)
    return environment | caches


def _caches() -> tuple[dict[str, str], Callable[[], None]]:
    """Variables that say where PoCL, pyopencl and the worker keep what they compiled, and what removes that.

    Where the user's cache cannot be written it is a folder of the worker's own, for pyopencl fails without one. It is
    never one that is shared: what lies there is run.
    """
    folder = cache_folder() / "pocl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return {"POCL_CACHE_DIR": os.environ.get("POCL_CACHE_DIR", str(folder))}, lambda: None
    except OSError:
        own = tempfile.TemporaryDirectory(prefix="leo-runtime-opencl-")
        return {"POCL_CACHE_DIR": own.name, "XDG_CACHE_HOME": own.name}, own.cleanup

"""Worker processes, for code that may end its process: the runtime's side starts one, asks it, and ends it when silent.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import IO, Any

from leo_runtime.errors import BackendError, KernelError

START = "import sys; from {module} import main; main(int(sys.argv[1]))"
LAST_WORDS_BYTES = 400
GOODBYE_S = 5.0


@dataclass(frozen=True, slots=True)
class Failed:
    """What a worker answers: the error that a request ended with."""

    error: type[BackendError]
    message: str
    hint: str


class WorkerEndedError(KernelError):
    """There is no answer: the worker died, or was ended since it took too long."""


class Worker:
    """A worker process that is alive until it dies, does not answer in time, or is closed. One thread at a time."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str] | None = None,
        when_ended: Callable[[], object] = lambda: None,
    ) -> None:
        """Start `main(descriptor)` of a module, with more of an environment than this process's.

        `name` is how errors call it; `when_ended` is called once, also where it cannot be started. Raises
        `KernelError` for that.
        """
        self._name = name
        self._owner = os.getpid()
        ours, theirs = socket.socketpair()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", START.format(module=module), str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    env=_environment() | dict(environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=self._words,
                    stderr=self._words,
                )
        except BaseException as error:
            ours.close()
            self._words.close()
            when_ended()
            if isinstance(error, OSError):
                raise KernelError(f"{name} cannot be started ({error})") from None
            raise
        self._connection = Connection(ours.detach())
        self._end = weakref.finalize(self, _end, self._owner, self._process, self._connection, self._words, when_ended)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked; a process forked from its own would take that one's answers."""
        return self._end.alive and self._owner == os.getpid()

    def ask(self, request: Any, timeout_s: float) -> Any:
        """The answer to a request. Raises what the worker raised, or `WorkerEndedError` when there is no answer."""
        try:
            self._connection.send(request)
            if not self._connection.poll(timeout_s):
                self.close(now=True)
                raise WorkerEndedError(
                    f"{self._name} did not answer within {timeout_s:g} s and was ended",
                    hint="the next use starts a new one; raise the processor's option `timeout_s` if it is only slow",
                )
            answer = self._connection.recv()
        except (EOFError, OSError):
            died = self._how_it_died()
            self.close(now=True)
            raise WorkerEndedError(f"{self._name} died{died}", hint="the next use starts a new one") from None
        except BaseException:  # Its answer would be taken for that to the next request.
            self.close(now=True)
            raise
        if isinstance(answer, Failed):
            raise answer.error(answer.message, hint=answer.hint)
        return answer

    def receive_file(self) -> int:
        """The descriptor of the file that follows an answer; it is the caller's to close."""
        return recv_handle(self._connection)

    def kill(self) -> None:
        """End the process whatever it is at, from any thread: whoever waits for its answer hears that it died."""
        self._process.kill()

    def close(self, *, now: bool = False) -> None:
        """End the process; `now` does not wait for what it is at. Closing twice is fine."""
        if now:
            self.kill()
        self._end()

    def _how_it_died(self) -> str:
        """The signal or exit code, and the end of what it wrote."""
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
    owner: int,
    process: subprocess.Popen[bytes],
    connection: Connection,
    words: IO[bytes],
    when_ended: Callable[[], object],
) -> None:
    with contextlib.suppress(OSError):
        connection.close()  # The worker ends at the end of its requests.
    if owner != os.getpid():  # Forked from the one that uses it.
        words.close()
        return
    try:
        process.wait(GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    words.close()
    when_ended()


def _environment() -> dict[str, str]:
    """This process's, with its import path."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment.pop("PYTHONWARNINGS", None)
    return environment

"""Worker processes, for code that may end its process: the runtime's side starts one, asks it, and ends it when silent.

It is started afresh, not forked (some drivers hang in a forked child), and not by `multiprocessing.Process`, which
would run the user's main script a second time.

Where this process ends, however it does, the kernel of Linux kills its workers: each is told by a pipe that nobody
writes to, whose end is a SIGKILL (`ends_with`). Its sockets alone would not do, since a worker that hangs does not look
at them. Processes forked from this one let go of both.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any

from leo_backends.worker_output import KeptOutput, WorkerOutput
from leo_runtime.errors import KernelError, LeoError

START = (
    "import sys; from leo_backends.process import ends_with; ends_with(int(sys.argv[2])); "
    "from {module} import main; main(int(sys.argv[1]))"
)
LAST_WORDS_BYTES = 400
GOODBYE_S = 5.0
FILES = b"f"
"""What comes with files that are sent."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended."""

    code: int | None
    """Its exit code, or minus the number of the signal; None: it has not ended."""
    said: str
    """The end of what it wrote."""

    def shown(self) -> tuple[str, str]:
        """As in "died of SIGABRT" and ": last words"."""
        if self.code is None:
            return "died", ""
        said = " ".join(self.said[-LAST_WORDS_BYTES:].split())
        return f"died of {self.how()}", f": {said}" if said else ""

    def how(self) -> str:
        """The signal or the exit code."""
        if self.code is not None and self.code < 0:
            with contextlib.suppress(ValueError):  # Signals of real time have no name.
                return signal.Signals(-self.code).name
            return f"signal {-self.code}"
        return f"exit code {self.code}"


class WorkerEndedError(KernelError):
    """There is no answer: the worker died, or was ended since it took too long."""

    def __init__(self, worker: str, how: str, *, said: str = "", hint: str = "") -> None:
        """`how` as in "died of SIGABRT"; `said` is the end of what it wrote."""
        super().__init__(f"{worker} {how}{said}", hint=hint)
        self.how = how


class NoPythonError(KernelError):
    """Workers cannot be started, since nothing is known that runs Python."""


class Worker:
    """A worker process that is alive until it dies, does not answer in time, or is closed. One thread at a time."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str] | None = None,
        when_ended: Callable[[], object] = lambda: None,
        output: Callable[[], WorkerOutput] = KeptOutput,
    ) -> None:
        """Start `main(descriptor)` of a module, with more of an environment than this process's.

        `name` is how errors call it; `when_ended` is called once, also where it cannot be started; `output` makes what
        becomes of its standard output and error. Raises `KernelError` where it cannot be started.
        """
        self._name = name
        self._owner = os.getpid()
        with contextlib.ExitStack() as opened:
            opened.callback(when_ended)
            executable = _python(name)
            self._surroundings = _surroundings()
            ours, theirs = socket.socketpair()
            opened.callback(ours.close)
            life, ours_life = os.pipe()
            opened.callback(os.close, ours_life)
            try:
                self._output = output()
                opened.callback(self._output.close)
                descriptors = (theirs.fileno(), life)
                self._process = subprocess.Popen(
                    [executable, "-P", "-c", START.format(module=module), *map(str, descriptors)],
                    pass_fds=descriptors,
                    env=self._surroundings[0] | dict(environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=self._output.stdout,
                    stderr=self._output.stderr,
                    process_group=0,  # A Ctrl-C is for the program alone.
                )
            except OSError as error:
                raise KernelError(f"{name} cannot be started ({error})") from None
            finally:
                theirs.close()
                os.close(life)
            opened.pop_all()
        self._output.begin()
        self._connection = Connection(ours.detach())
        self._limit_s = 0.0
        self._poll = select.poll()
        self._poll.register(self._connection.fileno(), select.POLLIN)
        self._end = weakref.finalize(
            self, _end, self._owner, self._process, self._connection, ours_life, self._output, when_ended
        )
        _all.add(self)

    @property
    def name(self) -> str:
        """How errors call it."""
        return self._name

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked; a process forked from its own would take that one's answers."""
        return self._end.alive and self._owner == os.getpid()

    @property
    def is_as_new(self) -> bool:
        """Whether one that is started now would find the same environment, import path and working directory."""
        return self._surroundings == _surroundings()

    def ends_within(self, timeout_s: float) -> bool:
        """Whether the process has ended by then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
            return True
        return False

    def ask(self, request: Any, timeout_s: float) -> Any:
        """The answer to a request. Raises one that is a `LeoError`, or `WorkerEndedError` when there is none."""
        try:
            if timeout_s != self._limit_s:
                limit_waits(self._connection.fileno(), timeout_s)
                self._limit_s = timeout_s
            self._connection.send(request)
            if not self._poll.poll(milliseconds(timeout_s)):
                raise BlockingIOError
            answer = self._connection.recv()
        except BlockingIOError:
            self.close(now=True)
            raise WorkerEndedError(
                self._name,
                f"did not answer within {timeout_s:g} s and was ended",
                hint="the next use starts a new one; raise the processor's option `timeout_s` if it is only slow",
            ) from None
        except (EOFError, OSError):
            death = self.death()
            self.close(now=True)
            how, said = death.shown()
            raise WorkerEndedError(self._name, how, said=said, hint="the next use starts a new one") from None
        except BaseException:  # Its answer would be taken for that to the next request.
            self.close(now=True)
            raise
        if isinstance(answer, LeoError):
            try:
                raise answer
            finally:
                del answer  # It leads to this frame, and the frame must not lead back.
        return answer

    def receive_file(self) -> int:
        """The descriptor of the file that follows an answer; it is the caller's to close."""
        return recv_handle(self._connection)

    def send_files(self, *descriptors: int) -> None:
        """Give it files, which it receives by `receive_files`. Raises `OSError` where it is not there."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as sending:
            socket.send_fds(sending, [FILES], descriptors)

    def kill(self) -> None:
        """End the process whatever it is at, from any thread: whoever waits for its answer hears that it died."""
        self._process.kill()

    def close(self, *, now: bool = False) -> None:
        """End the process; `now` does not wait for what it is at. Closing twice is fine."""
        if now:
            self.kill()
        self._end()

    def death(self) -> Death:
        """What it died of, which is waited for at most `GOODBYE_S`; from any thread."""
        try:
            code: int | None = self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            code = None
        return Death(code, self._output.last())

    def _leave(self) -> None:
        """In a forked process: let go of what tells the worker that this one lives."""
        if self._end.alive:
            self._end()


def milliseconds(timeout_s: float) -> float:
    """As `poll` takes them: at most 24 days."""
    return min(1000 * timeout_s, 2.0**31 - 1)


def limit_waits(descriptor: int, timeout_s: float) -> None:
    """Have a write to a socket, or a read, raise `BlockingIOError` after so long: who is stopped takes no more."""
    limit = struct.pack("@ll", *divmod(max(1, int(milliseconds(timeout_s))) * 1000, 1_000_000))
    with socket.socket(fileno=os.dup(descriptor)) as same:
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            same.setsockopt(socket.SOL_SOCKET, option, limit)


def ends_with(descriptor: int) -> None:
    """In a worker: be killed when the last one that can write to this pipe has ended, or has closed it."""
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | fcntl.FASYNC)
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        if ended.poll(0):  # Before it could be told.
            os._exit(0)


def receive_files(connection: socket.socket, most: int) -> list[int]:
    """In a worker: the descriptors of the files it is given next; none at the end."""
    return socket.recv_fds(connection, len(FILES), most)[1]


def _end(
    owner: int,
    process: subprocess.Popen[bytes],
    connection: Connection,
    life: int,
    output: WorkerOutput,
    when_ended: Callable[[], object],
) -> None:
    with contextlib.suppress(OSError):
        connection.close()  # The worker ends at the end of its requests.
    if owner == os.getpid():  # Else this process is forked from the one that uses it.
        try:
            process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    os.close(life)
    output.close()
    if owner == os.getpid():
        when_ended()


_all: weakref.WeakSet[Worker] = weakref.WeakSet()


def _leave_all() -> None:
    for worker in tuple(_all):
        worker._leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)


def _python(name: str) -> str:
    """The Python that runs workers. Raises `NoPythonError` where this process is none, but has one embedded."""
    try:
        from multiprocessing.spawn import get_executable

        executable = os.fsdecode(get_executable() or "")
    except TypeError:  # Of Python 3.11.2, for one, it cannot be imported where `sys.executable` is None.
        executable = ""
    if not executable or getattr(sys, "frozen", False):
        raise NoPythonError(
            f"{name} cannot be started, since this program is no Python itself, but has one embedded",
            hint="say which Python is to be started: multiprocessing.set_executable(path)",
        )
    return executable


def _surroundings() -> tuple[dict[str, str], str]:
    """What a process finds that is started now: this one's environment, with its import path, and working directory."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(path or os.curdir for path in sys.path)
    environment.pop("PYTHONWARNINGS", None)
    with contextlib.suppress(OSError):  # It may have been removed.
        return environment, str(Path.cwd())
    return environment, ""

"""A small daemon for tests, in this process or as one of its own: what it runs, and who talks to it."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.kinds import Site
from leo_runtime.daemon.service import Daemon
from leo_runtime.documents.workload import Workload

PATIENCE_S = 30.0
"""Nothing here takes long; a test that fails does not hang."""

STEPS = '''
import numpy as np
from leo_runtime.operators import operator

@operator(output_shape=lambda signal: (2,))
def level(signal):
    """How quiet it is, and how loud."""
    loud = float(np.abs(signal).mean())
    return np.array([1 - loud, loud], np.float32)
'''

WORKLOAD = """
format = "leo-workload/1"
name = "levels"
streams = [{ name = "s", kind = "other", rate_hz = 1000 }]

[[graphs]]
name = "loud"
period_us = 100_000
deadline_us = 2_000_000
stages = [
    { name = "signal", operator = "window", params = { stream = "s", samples = 100 } },
    { name = "level", operator = "steps:level", inputs = ["signal"] },
]
decision = { stage = "level", labels = ["quiet", "loud"], threshold = 0.5, background = "quiet" }
"""

MACHINE = """
format = "leo-hardware/1"
name = "this"
processors = [{ name = "cpu", backend = "cpu", lanes = 1, active_mw = 100 }]
"""

PROFILE = """
format = "leo-profile/1"
name = "this"
hardware = "this"
costs = [
    { processor = "cpu", operator = "window", fixed_us = 100, source = "modelled: a test" },
    { processor = "cpu", operator = "steps:level", fixed_us = 200, source = "modelled: a test" },
]
"""

CONFIG = """
format = "leo-daemon/1"
workload = "workload.toml"
machine = "machine.toml"
profile = "profile.toml"
state_dir = "state"
drain_s = 20

[runtime]
solver = "greedy"

[[trusted]]
folder = "."

[[sources]]
kind = "socket"
path = "./in.sock"

[[sinks]]
kind = "socket"
path = "./out.sock"
"""


def write(folder: Path, config: str = CONFIG, steps: str = STEPS) -> Path:
    """Write a config and all that it names into a folder; its path."""
    named = {"steps.py": steps, "workload.toml": WORKLOAD, "machine.toml": MACHINE, "profile.toml": PROFILE}
    for name, text in (named | {"leo.toml": config}).items():
        (folder / name).write_text(text)
    return folder / "leo.toml"


def some_answer(**fields: Any) -> Answer:
    """An answer that is all right."""
    usual: dict[str, Any] = {
        "graph": "loud",
        "stream": "s",
        "release_us": 1_000_000,
        "at_unix_ns": 1_700_000_000_000_000_000,
        "outcome": "done",
        "late": False,
        "latency_us": 300,
        "label": "loud",
        "score": 0.75,
        "fired": True,
        "values": (0.25, 0.75),
        "energy_nj": 30,
    }
    return Answer(**(usual | fields))


def a_site(folder: Path, counts: Counts | None = None) -> Site:
    """Where sources and sinks of tests are opened."""
    return Site(
        folder=folder,
        state_dir=folder / "state",
        runtime_dir=folder / "run",
        workload=Workload.from_toml(WORKLOAD),
        sockets={},
        counts=counts or Counts(),
        restart=lambda _: None,
    )


class Systemd:
    """Who is told how a daemon is doing: `NOTIFY_SOCKET`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path.unlink(missing_ok=True)
        self._socket.bind(str(self.path))
        self._socket.settimeout(PATIENCE_S)
        self.heard: list[str] = []

    def wait_for(self, what: str) -> str:
        """The next message that begins so."""
        while True:
            self.heard.append(self._socket.recv(65536).decode())
            if self.heard[-1].startswith(what):
                return self.heard[-1]

    def close(self) -> None:
        self._socket.close()


_open: list[Listener | Sender] = []
"""Who is connected, and hung up on as the daemon ends."""


class Listener:
    """Who reads a daemon's answers."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self.file = self._socket.makefile("rb")
        _open.append(self)

    def next(self) -> dict[str, Any] | None:
        """The next answer; None where there are no more."""
        line = self.file.readline()
        return json.loads(line) if line else None

    def try_next(self) -> dict[str, Any] | None:
        """An answer that is there already; None where there is none."""
        if not select.select([self._socket], [], [], 0)[0]:
            return None
        return self.next()

    def rest(self) -> list[dict[str, Any]]:
        """All to the end."""
        found = []
        while (one := self.next()) is not None:
            found.append(one)
        return found

    def close(self) -> None:
        self.file.close()
        self._socket.close()


class Sender:
    """Who gives a daemon samples."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self.samples = 0
        _open.append(self)

    def send(self, values: np.ndarray, **header: Any) -> None:
        """Samples of any type that is known."""
        said = {"type": str(values.dtype), "bytes": values.nbytes} | header
        self.raw(json.dumps(said).encode() + b"\n" + values.tobytes())
        self.samples += len(values)

    def raw(self, piece: bytes) -> None:
        self._socket.sendall(piece)

    def end(self) -> dict[str, Any]:
        """Give no more; what the daemon says of it."""
        self._socket.shutdown(socket.SHUT_WR)
        return self.told()

    def told(self) -> dict[str, Any]:
        """What the daemon says, until it hangs up."""
        with self._socket.makefile("rb") as file:
            said = file.read()
        self._socket.close()
        return json.loads(said) if said else {}

    def close(self) -> None:
        self._socket.close()


class Running:
    """A daemon on a thread of this process."""

    def __init__(self, folder: Path, path: Path, **environment: str) -> None:
        self.folder = folder
        self.systemd = Systemd(folder)
        environment = {"HOME": str(folder), "NOTIFY_SOCKET": str(self.systemd.path)} | environment
        self.daemon = Daemon(lambda: DaemonConfig.from_file(path), folder, name="leo", environment=environment)
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        try:
            self.daemon.run()
        except BaseException as error:
            self.failure = error

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the daemon did not end"
        self.systemd.close()
        if self.failure is not None:
            raise self.failure

    def end(self) -> None:
        """Stop it, and wait for that."""
        self.daemon.stop()
        self.join()


@contextmanager
def running(folder: Path, config: str = CONFIG, steps: str = STEPS, **environment: str) -> Iterator[Running]:
    """A daemon that is ready; stopped at the end, if it has not been."""
    one = Running(folder, write(folder, config, steps), **environment)
    one.systemd.wait_for("READY=1")
    try:
        yield one
    finally:
        one.daemon.stop()
        one.daemon.stop()
        one._thread.join(PATIENCE_S)
        one.systemd.close()
        while _open:
            _open.pop().close()


@contextmanager
def many_files() -> Iterator[None]:
    """Within it, what is opened has numbers above 1023, which the system's `select` does not know."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def quiet(samples: int = 100) -> np.ndarray:
    """So many that are not."""
    return np.zeros(samples, np.float32)


class Talk:
    """A sender and a listener, in turn."""

    def __init__(self, folder: Path) -> None:
        self.listener, self.sender = Listener(folder / "out.sock"), Sender(folder / "in.sock")
        # One less than a window: with it alone no release is due, wherever on the grid of releases it begins.
        self.sender.send(quiet(99))

    def ask(self, level: float) -> dict[str, Any]:
        """Feed two periods of a level; their second answer, whose window holds nothing else."""
        self.sender.send(np.full(200, level, np.float32))
        self.first, answer = self.listener.next(), self.listener.next()
        assert self.first is not None and answer is not None
        return answer


LOUD, QUIET = 0.75, 0.0

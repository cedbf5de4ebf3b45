"""Servers of stages for tests: in this process, on loopback, or as a process of their own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from leo_runtime.backend import Backend, registry
from leo_runtime.clock import WallClock
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from leo_runtime.serving.certificate import Certificate
from leo_runtime.serving.grpc_server import GrpcServer
from leo_runtime.serving.limits import Limits
from leo_runtime.serving.opening import open_workload
from leo_runtime.serving.server import Server
from leo_runtime.serving.service import Service

PATIENCE_S = 30.0

STEPS = '''
import os
import threading
from pathlib import Path
import numpy as np
from leo_runtime.operators import operator

waits = threading.Event()
waits.set()
runs = []

@operator(output_shape=lambda signal: (2,))
def level(signal):
    """How quiet it is, and how loud."""
    runs.append(1)
    waits.wait(20)
    loud = float(np.abs(signal).mean())
    if loud > 100:
        raise ValueError("much too loud")
    if abs(signal[0]) == 77 and "LEO_TEST_HOLDS" in os.environ:
        Path(os.environ["LEO_TEST_HOLDS"]).read_bytes()
    return np.array([1 - loud, loud], np.float32)

@operator(output_shape=lambda signal, *, by: signal)
def times(signal, *, by: float = 2.0):
    """The signal, louder."""
    return signal * np.float32(by)
'''

WORKLOAD = """
format = "leo-workload/1"
name = "levels"
streams = [{ name = "s", kind = "other", rate_hz = 1000 }]

[[graphs]]
name = "loud"
period_us = 100_000
deadline_us = 10_000_000
accuracy_loss_ppm_max = 100_000
stages = [
    { name = "signal", operator = "window", params = { stream = "s", samples = 100 } },
    { name = "louder", operator = "steps:times", inputs = ["signal"], variants = [
        { name = "twice", params = { by = 2.0 } },
        { name = "thrice", params = { by = 3.0 }, accuracy_loss_ppm = 1000 },
    ] },
    { name = "level", operator = "steps:level", inputs = ["louder"] },
]
decision = { stage = "level", labels = ["quiet", "loud"], threshold = 0.5, background = "quiet" }
"""


def write_workload(folder: Path, samples: int = 100, channels: int = 1) -> Path:
    """A small workload with operators of its own: `signal` is made `louder`, and `level` says how loud it is."""
    folder.mkdir(exist_ok=True)
    (folder / "steps.py").write_text(STEPS)
    path = folder / "workload.toml"
    text = WORKLOAD.replace("samples = 100", f"samples = {samples}")
    path.write_text(text.replace("rate_hz = 1000", f"rate_hz = 1000, channels = {channels}"))
    return path


def module_of(workload: Workload) -> ModuleType:
    """The module of that workload's operators: `runs` has an entry for each run of `level`, which waits for `waits`."""
    function = merge(workload).stage("level").bound.operator.function
    assert function is not None
    return sys.modules[function.__module__]


def remote(url: str, **options: object) -> Backend:
    """The backend of a processor that is this server."""
    return registry.create(Processor(name="cloud", backend="remote", remote=True, options={"url": url, **options}))


@dataclass(frozen=True)
class Serving:
    """A server in this process."""

    service: Service
    server: Server
    grpc: GrpcServer | None = None

    @property
    def grpc_url(self) -> str:
        assert self.grpc is not None
        return self.grpc.url

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.rpartition("/")[2].rpartition(":")
        return host, int(port)

    def refused(self) -> dict[str, int]:
        return dict(self.service.counts.now().refused)

    def answered(self) -> dict[int, int]:
        """Answers by status."""
        found: dict[int, int] = {}
        for (_, status), number in self.service.counts.now().answers.items():
            found[status] = found.get(status, 0) + number
        return found


@contextmanager
def serving(
    workload: Workload,
    *,
    token: str | Callable[[], str] = "",
    tls: tuple[Path, Path] | None = None,
    port: int = 0,
    grpc_port: int | None = None,
    **limits: float,
) -> Iterator[Serving]:
    """A server of all stages of a workload, on a port of loopback, a free one if none is given.

    With a `grpc_port`, of which 0 is a free one, by gRPC too.
    """
    clock = WallClock()
    with closing(registry.create(Processor(name="server", backend="cpu"))) as backend:
        opened = open_workload(workload, backend)
        assert opened.left_out == {}
        given = replace(Limits(workers=2), **limits)  # type: ignore[arg-type]  # the fields of a test
        said = (lambda: token) if isinstance(token, str) and token else token or None
        service = opened.service(given, clock, name=workload.name, token=said)
        grpc = None if grpc_port is None else GrpcServer(service, ("127.0.0.1", grpc_port), clock, tls)
        server = Server(service, ("127.0.0.1", port), clock, None if tls is None else Certificate(*tls))
        server.start()
        if grpc is not None:
            grpc.start()
        try:
            yield Serving(service, server, grpc)
        finally:
            assert grpc is None or grpc.stop(PATIENCE_S), "some calls do not end"
            assert server.stop(PATIENCE_S), "some requests do not end"


@contextmanager
def serving_process(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`leo-runtime serve` as a process with these variables, and its URL. It is killed at the end if it still runs."""
    command = [sys.executable, "-m", "leo_runtime", "serve", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", **variables}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            line = process.stdout.readline()
            found = re.search(r" at (https?://\S+?)(?: and \S+)?: ", line)
            assert found is not None, line + process.stderr.read()
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)


def until(true: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.005)):
        if true():
            return
        pause.wait(0.005)
    raise AssertionError("it does not come")


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def talk(address: tuple[str, int], sent: bytes, *, half_close: bool = True) -> bytes:
    """Everything that a server answers to these bytes until it hangs up."""
    with socket.create_connection(address, PATIENCE_S) as own:
        try:
            own.sendall(sent)
            if half_close:
                own.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := own.recv(1 << 16):
                answer += piece
        except ConnectionError:
            return b""
        return answer

"""`leo-runtime serve`: run stages of a workload for devices elsewhere, by the Open Inference Protocol v2."""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.command.shared import DONE, positive, put, say
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from leo_runtime.serving.token_file import TokenFile

EXAMPLE = "serve demo --bind 127.0.0.1:8080"
PORT = 8080


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    workload: str
    bind: tuple[str, int]
    grpc: tuple[str, int] | None
    token_file: Path | None
    no_token: bool
    tls_cert: Path | None
    tls_key: Path | None
    max_bytes: int | None
    workers: int | None
    waiting: int


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("workload", metavar="WORKLOAD", help="whose stages, a file or a shipped one such as demo")
    parser.add_argument(
        "--bind",
        type=_address,
        default=("127.0.0.1", PORT),
        metavar="HOST:PORT",
        help=f"where to listen; port 0: a free one, which is printed (default: 127.0.0.1:{PORT})",
    )
    parser.add_argument(
        "--grpc", type=_address, metavar="HOST:PORT", help="where to listen for gRPC besides, such as 127.0.0.1:8081"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds the token that clients must send as `Bearer TOKEN`"
    )
    parser.add_argument("--no-token", action="store_true", help="let anybody ask who can reach the address")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate and its chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--max-bytes", type=positive, metavar="N", help="the largest body that is taken (default: what a stage needs)"
    )
    parser.add_argument("--workers", type=positive, metavar="N", help="stages that run at once (default: a CPU each)")
    parser.add_argument(
        "--waiting", type=positive, default=16, metavar="N", help="further requests that may wait (default: 16)"
    )


def run(request: Request) -> int:
    """Serve until a signal ends it. Returns the exit status."""
    token = _token(request)
    if (request.tls_cert is None) != (request.tls_key is None):
        raise InputError("TLS needs a certificate and its key", hint="--tls-cert FILE --tls-key FILE")
    from leo_runtime import shipped
    from leo_runtime.backend import registry
    from leo_runtime.clock import WallClock
    from leo_runtime.documents.hardware import Processor
    from leo_runtime.serving.certificate import Certificate
    from leo_runtime.serving.limits import Limits
    from leo_runtime.serving.opening import open_workload
    from leo_runtime.serving.server import Server

    tls, files = None, None
    if request.tls_cert is not None and request.tls_key is not None:
        files = request.tls_cert, request.tls_key
        tls = Certificate(*files)
    workload = shipped.workload(request.workload)
    clock = WallClock()
    with closing(registry.create(Processor(name="server", backend="cpu"))) as backend, _stopping() as wait:
        opened = open_workload(workload, backend)
        for name, reason in opened.left_out.items():
            say(f"not served: {name}: {reason}")
        limits = Limits(
            max_bytes=request.max_bytes or opened.needed_bytes(),
            workers=request.workers or os.cpu_count() or 1,
            waiting=request.waiting,
        )
        service = opened.service(limits, clock, name=workload.name, token=token)
        servers: list[Server | GrpcServer] = []
        try:
            servers.append(Server(service, request.bind, clock, tls))
            if request.grpc is not None:
                from leo_runtime.serving.grpc_server import GrpcServer  # Memory is for those who ask.

                servers.append(GrpcServer(service, request.grpc, clock, files))
            for server in servers:
                server.start()
            held = ", ".join(
                f"{n} {what}{'s' * (n != 1)}"
                for n, what in ((len(opened.stages), "stage"), (len(opened.graphs), "graph"))
            )
            put(f"serving {workload.name} at {' and '.join(server.url for server in servers)}: {held}\n")
            if token is not None and tls is None and not all(map(_is_loopback, _hosts(request))):
                say("without TLS the token and all data can be read and changed on the way; give --tls-cert, --tls-key")
            wait()
        finally:
            all_ended = not [server for server in servers if not server.stop()]
    now = service.counts.now()
    refused = ", ".join(f"{number} {reason}" for reason, number in sorted(now.refused.items())) or "none"
    say(f"stopped: {sum(now.answers.values())} answers; refused: {refused}{'' if all_ended else '; some were cut off'}")
    return DONE


def _token(request: Request) -> TokenFile | None:
    """Where the token is; None: none is asked for. Raises `InputError`."""
    from leo_runtime.serving.token_file import TokenFile

    if request.token_file is None:
        host = next((host for host in _hosts(request) if not _is_loopback(host)), None)
        if not request.no_token and host is not None:
            raise InputError(
                f"others can reach {host}, and no token is asked of them",
                hint="--token-file FILE, such as one by `openssl rand -hex 32`; or --no-token",
            )
        return None
    token = TokenFile(request.token_file)
    if token.all_can_read():
        say(f"every user of this machine can read the token in {request.token_file}; chmod 600 it")
    return token


def _hosts(request: Request) -> list[str]:
    """Where it listens."""
    return [request.bind[0], *(() if request.grpc is None else (request.grpc[0],))]


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _stopping() -> Iterator[Callable[[], object]]:
    """Within it SIGTERM and SIGINT end nothing but the wait that it gives."""
    told, tells = os.pipe()
    before = {
        number: signal.signal(number, lambda *_: os.write(tells, b"x")) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: os.read(told, 1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)
        os.close(tells)

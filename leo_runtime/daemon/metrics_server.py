"""Shows the metrics to who asks: on a Unix socket for the daemon's own user, and on 127.0.0.1 where that is said.

Plain HTTP, `GET /metrics`: what Prometheus, `curl --unix-socket` and `leo-runtime top` speak. A scrape is answered on a
thread of its own, at most `MOST_AT_ONCE` at a time, and a client that is not done with asking and reading after
`PATIENCE_S` is hung up on.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from leo_runtime.daemon.metrics import Scrape, registry
from leo_runtime.daemon.unix_socket import Listening, is_own, listen, place
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from leo_runtime.daemon.kinds import Site
    from leo_runtime.daemon.metrics_config import MetricsConfig

PATIENCE_S = 5
PAUSE_S = 0.1
"""After somebody could not be let in."""
MOST_AT_ONCE = 4

log = logging.getLogger(__name__)


class MetricsServer:
    """Answers until it is closed; for one thread at a time."""

    def __init__(
        self, config: MetricsConfig, scrape: Scrape, site: Site, *, before: MetricsServer | None = None
    ) -> None:
        """`before` is one whose place it takes: they share the port, if it is the same. Raises `MissingExtraError`."""
        self._config, self._site, self._before = config, site, before
        self._registry = registry(scrape)
        self._listening: Listening | None = None
        self._servers: list[_Server] = []
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Listen. Raises `InputError` where that cannot be: nothing listens then."""
        given, site = self._config.path, self._site
        try:
            self._listening = listen(given, place(given, site.folder, site.runtime_dir), site.sockets)
            self._serve(_Server(self._listening.socket, self._registry, is_unix=True))
            if self._config.port is not None:
                self._serve(_Server(self._on_loopback(self._config.port), self._registry, is_unix=False))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop, and take the socket away. Closing twice is fine."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if self._listening is not None:
            self._listening.close()
        self._listening, self._servers, self._threads = None, [], []

    def _on_loopback(self, port: int) -> socket.socket:
        before, self._before = self._before, None
        for server in () if before is None else before._servers:
            if not server.is_unix and server.socket.getsockname()[1] == port:
                return server.socket.dup()
        return _loopback(port)

    def _serve(self, server: _Server) -> None:
        self._servers.append(server)
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="leo metrics", daemon=True
        )
        self._threads.append(thread)
        thread.start()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """On a socket that listens, of whichever kind."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, shown: CollectorRegistry, *, is_unix: bool) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        listening.setblocking(False)  # Who connects may be another's that shares the socket.
        self.socket = listening
        self.registry = shown
        self.is_unix = is_unix
        self._ends = threading.Event()
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)

    def shutdown(self) -> None:
        """End, without a pause."""
        self._ends.set()
        super().shutdown()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Who connects; on a Unix socket nobody has an address."""
        try:
            connection, address = self.socket.accept()
        except BlockingIOError:
            raise
        except OSError:  # As where there are too many files, with somebody who waits at the door all the while.
            self._ends.wait(PAUSE_S)
            raise
        return connection, ("unix", 0) if self.is_unix else address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  # of socketserver
        """Whether somebody may ask: on a Unix socket this user, and root."""
        return not self.is_unix or is_own(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer, if there is room; else hang up."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # As where there are too many threads.
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, on a thread of its own, within `PATIENCE_S`: who asks byte by byte keeps nobody out."""
        ends = threading.Timer(PATIENCE_S, _hang_up, (request,))
        ends.daemon = True
        with suppress(RuntimeError):  # Too many threads: then the patience is one with each byte.
            ends.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            ends.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # of socketserver
        """Whoever asked has gone, or something is wrong with our numbers: neither ends anything."""
        log.warning("a scrape of the metrics failed", exc_info=True)


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):  # It is gone already.
        one.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_S
    server: _Server
    server_version, sys_version = "leo-runtime", ""

    def do_GET(self) -> None:  # its name is http.server's
        """All metrics as text."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        # A page in a browser here may have a name of its own lead to 127.0.0.1.
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if not self.server.is_unix and host not in ("127.0.0.1", "localhost"):
            self.send_error(403)
            return
        if self.path.partition("?")[0] not in ("/", "/metrics"):
            self.send_error(404)
            return
        body = generate_latest(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Scrapes are not told."""


def _loopback(port: int) -> socket.socket:
    own = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(("127.0.0.1", port))
        own.listen(16)
    except OSError as error:
        own.close()
        raise InputError(
            f"metrics cannot be shown at 127.0.0.1:{port} ({error.strerror or error})",
            hint="name another `port` in [metrics]",
        ) from None
    return own

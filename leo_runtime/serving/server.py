"""The sockets of a server: who connects, TLS, threads, and how long anybody is waited for.

A connection has a thread of its own, of which there are `Limits.connections` at most. One more looks which of them have
been waited for long enough: a client that sends or reads byte by byte keeps nobody out.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from contextlib import suppress
from typing import BinaryIO, cast

from leo_runtime.clock import Clock
from leo_runtime.errors import InputError
from leo_runtime.serving.certificate import Certificate
from leo_runtime.serving.http_head import HeadTooLargeError, answer_head, read_head
from leo_runtime.serving.service import GoneError, RefusedError, Reply, Service, refusal

PAUSE_S = 0.1
"""After somebody could not be let in."""
BUFFER_BYTES = 1 << 16
PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
DRAINED_BYTES = 1 << 20
"""Of what a client still sends while it is refused."""

log = logging.getLogger(__name__)


class _Connection:
    """A client, and until when it is waited for."""

    def __init__(self, own: socket.socket) -> None:
        self.socket = own
        self.until_us: int | None = None
        """When it is hung up on; None: never, since it is our turn."""
        self.idle_since_us: int | None = None
        self.is_cut = False

    def cut(self) -> None:
        """Hang up, from any thread."""
        self.is_cut = True
        with suppress(OSError):  # It is gone already.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # That of TLS would speak first.

    def is_gone(self) -> bool:
        """Whether the client has hung up; one that only sends no more looks the same, and counts as gone."""
        try:
            return socket.socket.recv(self.socket, 1, PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class Server:
    """Listens until it is stopped."""

    def __init__(self, service: Service, bind: tuple[str, int], clock: Clock, tls: Certificate | None = None) -> None:
        """Listens from here on, and answers when it is started. Raises `InputError` where that cannot be."""
        self._service, self._clock, self._tls = service, clock, tls
        self._listening = _listening(*bind)
        self._wake, self._waker = socket.socketpair()
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._stops = threading.Event()
        self._threads = [
            threading.Thread(target=self._accept, name="leo serve", daemon=True),
            threading.Thread(target=self._look, name="leo serve patience", daemon=True),
        ]

    @property
    def url(self) -> str:
        """Where it is found."""
        host, port = self._listening.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{host}:{port}"

    def start(self) -> None:
        """Answer, on threads of its own."""
        for thread in self._threads:
            thread.start()

    def stop(self, most_s: float = 5.0) -> bool:
        """Let nobody in any more, and wait so long at most for answers that are being made. False: some are cut off.

        Stopping twice is fine.
        """
        self._service.is_stopping = True
        self._stops.set()
        with suppress(OSError):
            self._waker.send(b"x")
        with self._lock:
            for one in self._connections:
                if one.idle_since_us is not None:
                    one.cut()
            all_ended = self._ended.wait_for(lambda: not self._connections, most_s)
            for one in self._connections:
                one.cut()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for own in (self._listening, self._wake, self._waker):
            own.close()
        return all_ended

    def _accept(self) -> None:
        while not self._stops.is_set():
            select.select([self._listening, self._wake], [], [])
            if self._stops.is_set():
                return
            try:
                own, _ = self._listening.accept()
            except OSError:  # Who came has gone, or there are too many files.
                self._stops.wait(PAUSE_S)
                continue
            own.setblocking(True)
            self._let_in(_Connection(own))

    def _let_in(self, one: _Connection) -> None:
        limits = self._service.limits
        with self._lock:
            if len(self._connections) >= limits.connections:
                idle = [c for c in self._connections if c.idle_since_us is not None and not c.is_cut]
                if idle:
                    min(idle, key=lambda c: c.idle_since_us or 0).cut()
                if not idle or len(self._connections) >= 2 * limits.connections:
                    self._service.counts.refuse("connections")
                    one.socket.close()
                    return
            self._connections.add(one)
        self._service.counts.connected(1)
        try:
            threading.Thread(target=self._serve, args=(one,), name="leo serve client", daemon=True).start()
        except RuntimeError:  # There is no thread left.
            self._service.counts.refuse("connections")
            self._leave(one)
            self._stops.wait(PAUSE_S)

    def _leave(self, one: _Connection) -> None:
        with suppress(OSError):
            one.socket.close()
        self._service.counts.connected(-1)
        with self._lock:
            self._connections.discard(one)
            self._ended.notify_all()

    def _look(self) -> None:
        """Hang up on who has been waited for long enough, and let go of what has been kept for too long."""
        while not self._stops.wait(self._service.limits.look_s):
            now_us = self._clock.now_us()
            self._service.kept.forget_old()
            with self._lock:
                for one in self._connections:
                    if one.until_us is not None and one.until_us <= now_us and not one.is_cut:
                        if one.idle_since_us is None:
                            self._service.counts.refuse("slow")
                        one.cut()

    def _waits(self, one: _Connection, most_s: float) -> None:
        one.until_us = self._clock.now_us() + round(most_s * 1e6)

    def _serve(self, one: _Connection) -> None:
        """All requests of a connection."""
        try:
            self._waits(one, self._service.limits.patience_s)
            one.idle_since_us = self._clock.now_us()
            one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # Before the handshake, so that whoever is silent in it can be hung up on.
                one.socket = self._tls.context().wrap_socket(
                    one.socket, server_side=True, do_handshake_on_connect=False
                )
                if one.is_cut or self._stops.is_set():
                    return
                one.socket.do_handshake()
            with one.socket.makefile("rb", BUFFER_BYTES) as stream:
                while not self._stops.is_set() and self._serve_one(one, cast("BinaryIO", stream)):
                    pass
        except (OSError, GoneError):
            pass  # It went, or was cut off: that is counted where it was done.
        except Exception:
            log.exception("a connection ended by a mistake")
        finally:
            self._leave(one)

    def _serve_one(self, one: _Connection, stream: BinaryIO) -> bool:
        """The next request. False: it was the last one. Raises `OSError`, `GoneError`."""
        limits = self._service.limits
        self._waits(one, limits.idle_s)
        one.idle_since_us = self._clock.now_us()
        if self._stops.is_set() or not stream.peek(1):  # type: ignore[attr-defined]  # it is buffered
            return False
        one.idle_since_us = None
        self._waits(one, limits.patience_s)

        def read_body(length: int) -> bytes:
            try:
                if expects:
                    one.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = stream.read(length)
            except OSError:
                raise GoneError("the connection broke") from None
            if len(body) < length:
                raise GoneError("the body ends in the middle")
            one.until_us = None
            return body

        try:
            head = read_head(stream)
        except InputError as error:
            if one.is_cut:
                return False
            self._service.counts.refuse("malformed")
            status = 431 if isinstance(error, HeadTooLargeError) else 400
            self._send(one, refusal(RefusedError(status, "malformed", str(error)), closes=True), closes=True)
            return False
        if head is None:
            return False
        expects = head.headers.get("expect", "").lower() == "100-continue"
        reply = self._service.answer(head, read_body, one.is_gone)
        closes = reply.closes or not head.keeps_alive or self._stops.is_set()
        self._send(one, reply, closes=closes, only_head=head.method == "HEAD")
        return not closes

    def _send(self, one: _Connection, reply: Reply, *, closes: bool, only_head: bool = False) -> None:
        self._waits(one, self._service.limits.patience_s)
        headers = {**reply.headers, "Content-Length": reply.size, **({"Connection": "close"} if closes else {})}
        parts = () if only_head else reply.parts
        one.socket.sendall(b"".join((answer_head(reply.status, headers), *parts)))
        if reply.closes and self._tls is None:
            _drain(one.socket)


def _drain(own: socket.socket) -> None:
    """Take some of what still comes, so that the client reads why it is refused before its sending fails."""
    with suppress(OSError):
        own.shutdown(socket.SHUT_WR)
        own.settimeout(1.0)
        left = DRAINED_BYTES
        while left > 0 and (taken := len(own.recv(1 << 16))):
            left -= taken


def _listening(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        own = socket.socket(family, socket.SOCK_STREAM)
        try:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind(address)
            own.listen(128)
            own.setblocking(False)  # Who knocks may be gone as the door is opened.
        except BaseException:
            own.close()
            raise
    except (OSError, UnicodeError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"nothing can listen at {host}:{port} ({why})", hint="name another address or port: --bind HOST:PORT"
        ) from None
    return own

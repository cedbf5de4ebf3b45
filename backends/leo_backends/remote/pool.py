"""Connections to one server, kept and used again.

A request is sent a second time only where it was certainly not run: it had not been sent as a whole, or the server
remembers requests by their ids, and gives the first run's answer.
"""

from __future__ import annotations

import errno
import http.client
import os
import select
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from leo_backends.remote.answers import Answer, unavailable
from leo_backends.remote.calls import LONGEST_IDLE_US, SPARE_BYTES, Call, Calls
from leo_backends.remote.http_answer import Incoming, read_answer
from leo_backends.remote.lookup import Lookup
from leo_backends.remote.options import Place
from leo_runtime.clock import WallClock, since_boot_us
from leo_runtime.errors import KernelError

MOST_IDLE = 16
NEXT_ADDRESS_S = 0.25
"""How long an address is waited for before the next one of a name is tried as well (RFC 8305)."""
LAST_WORDS_US, HERE_US = 200_000, 1_000
"""How long a server that takes no more of a request is listened to, while there is time left; and without, since its
answer may be here already."""


class Pool:
    """The connections to a server. From any thread."""

    def __init__(
        self, place: Place, clock: WallClock | None = None, since_boot_us: Callable[[], int] = since_boot_us
    ) -> None:
        self.calls = Calls(place)
        self._clock, self._since_boot_us = clock or WallClock(), since_boot_us
        self._idle: list[socket.socket] = []
        self._idle_since_us: dict[socket.socket, int] = {}
        self._process, self._lookup = os.getpid(), Lookup()
        self._lock = threading.Lock()
        self.remembers = False
        """Whether the server gives a request that it knows by its id the first run's answer."""

    def ask(
        self,
        method: str,
        path: str,
        parts: Sequence[bytes | memoryview] = (),
        headers: Mapping[str, str] | None = None,
        *,
        most_bytes: int = SPARE_BYTES,
        call: Call | None = None,
        once: bool = False,
        most_us: int | None = None,
    ) -> Answer:
        """The server's answer, whatever its status. `once`: the request must not run twice.

        It takes `most_us` at most, and no longer than the server may take for any.

        Raises `DeviceUnavailableError` where the server is not there, hangs up or is silent, `KernelError` for an
        answer of more than `most_bytes`, or where the call was given up.
        """
        call = call or Call()
        until_us = self.calls.until_us(self._clock.now_us(), most_us)
        with self.calls.under_way(call):
            for attempt in (1, 2):
                connection, is_used = self._connection(call, until_us)
                try:
                    answer = self._exchange(connection, method, path, parts, headers or {}, most_bytes, until_us)
                except _FailedError as error:
                    failed = error
                except BaseException:
                    self._drop(connection, call)
                    raise
                else:
                    if answer.closes:
                        self._drop(connection, call)
                    else:
                        self._keep(connection, call)
                    return answer
                self._drop(connection, call)
                if call.is_given_up:  # What was silent by one connection may be so by the others.
                    self.forget_idle()
                    raise KernelError(f"the request to {self.calls.url} was given up")
                may = (self.remembers or not once) if failed.was_sent else is_used
                if attempt == 2 or not may or isinstance(failed.cause, TimeoutError):
                    raise unavailable(self.calls.place, failed.cause)
                self.forget_idle()
            raise AssertionError("the second attempt returns or raises")

    def close(self) -> None:
        """Hang up, also on requests that are under way. Closing twice is fine."""
        self.calls.close()
        self.forget_idle()

    def _connection(self, call: Call, until_us: int) -> tuple[socket.socket, bool]:
        """A connection, and whether it was used before. Raises `DeviceUnavailableError`."""
        if self._process != os.getpid():  # We were forked: by one connection two would read each other's answers.
            self._process, self._lookup = os.getpid(), Lookup()
            self.forget_idle()
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
                idle_us = self._since_boot_us() - self._idle_since_us.pop(connection)
            if idle_us <= LONGEST_IDLE_US and not _has_news(connection):
                call.begin(partial(_cut, connection))
                return connection, True
            connection.close()
        try:
            return self._connected(call, until_us), False
        except (OSError, UnicodeError) as error:
            call.end()
            if call.is_given_up:
                raise KernelError(f"the request to {self.calls.url} was given up") from None
            raise unavailable(self.calls.place, error) from None

    def _connected(self, call: Call, until_us: int) -> socket.socket:
        """A new connection, which may be given up as it comes about. Raises `OSError`, `UnicodeError`."""
        place = self.calls.place
        most_us = min(round(place.connect_timeout_s * 1e6), until_us - self._clock.now_us())
        left = self._lookup.addresses(place.host, place.port, most_us / 1e6, call.begin)
        while True:
            most_us = min(round(place.connect_timeout_s * 1e6), until_us - self._clock.now_us())
            own = self._first_connected(call, left, self._clock.now_us() + most_us)
            try:
                own.settimeout(max(1e-3, most_us / 1e6))
                return self._ready(call, own)
            except OSError:
                own.close()
                if not left or call.is_given_up:
                    raise
            except BaseException:
                own.close()
                raise

    def _first_connected(self, call: Call, left: list[Any], until_us: int) -> socket.socket:
        """The connection to whichever address is there first, of which those that were tried are no longer `left`.

        The next one is tried, too, where one is slow or fails: one that is silent, as of IPv6 that leads nowhere, keeps
        nobody waiting. Raises `OSError`.
        """
        failed = OSError("it has no address")
        tried: list[socket.socket] = []
        poll = select.poll()
        try:
            while left or tried:
                if call.is_given_up:
                    raise failed
                if left:
                    family, kind, protocol, _, address = left.pop(0)
                    own = socket.socket(family, kind, protocol)
                    tried.append(own)
                    try:
                        _begin_connecting(own, address)
                    except OSError as error:
                        failed = error
                        tried.remove(own)
                        own.close()
                        continue
                    poll.register(own, select.POLLOUT)
                    call.begin(partial(_cut_all, tuple(tried)))
                left_s = (until_us - self._clock.now_us()) / 1e6
                if left_s <= 0:
                    raise TimeoutError
                came = {number for number, _ in poll.poll(min(left_s, NEXT_ADDRESS_S if left else left_s) * 1e3)}
                for one in [one for one in tried if one.fileno() in came]:
                    tried.remove(one)
                    code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0 and not call.is_given_up:
                        call.begin(partial(_cut, one))
                        return one
                    failed = OSError(code, os.strerror(code))
                    poll.unregister(one)
                    one.close()
            raise failed
        finally:
            for one in tried:
                one.close()

    def _ready(self, call: Call, own: socket.socket) -> socket.socket:
        """A connection without Nagle's waiting, with TLS where it is to have that. Raises `OSError`."""
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        place = self.calls.place
        if place.tls is None:
            return own
        secret = place.tls.wrap_socket(own, server_hostname=place.name, do_handshake_on_connect=False)
        try:
            call.begin(partial(_cut, secret))
            secret.do_handshake()
        except BaseException:
            secret.close()
            raise
        return secret

    def _exchange(
        self,
        connection: socket.socket,
        method: str,
        path: str,
        parts: Sequence[bytes | memoryview],
        headers: Mapping[str, str],
        most_bytes: int,
        until_us: int,
    ) -> Answer:
        began_us = self._clock.now_us()
        left_us = until_us - began_us
        if left_us <= 0:
            raise _FailedError(TimeoutError(), was_sent=False)

        def received(until_us: int) -> Answer:
            incoming = Incoming(connection, self._clock, until_us)
            return read_answer(incoming, method, self.calls.url, most_bytes, began_us, self._clock.now_us)

        connection.settimeout(left_us / 1e6)
        try:
            # At once: in two pieces it would wake the server twice.
            connection.sendall(b"".join((self._head(method, path, headers, parts, left_us), *parts)))
        except OSError as error:
            with suppress(OSError, http.client.HTTPException, KernelError):  # It may have said why it takes no more.
                now_us = self._clock.now_us()
                last_us = now_us + min(LAST_WORDS_US, max(HERE_US, until_us - now_us))
                # To this server the next request would be the rest of this one.
                return replace(received(last_us), closes=True)
            raise _FailedError(error, was_sent=False) from None
        try:
            return received(until_us)
        except (OSError, http.client.HTTPException) as error:
            raise _FailedError(error, was_sent=True) from None

    def _head(
        self, method: str, path: str, headers: Mapping[str, str], parts: Sequence[bytes | memoryview], left_us: int
    ) -> bytes:
        place = self.calls.place
        host = f"[{place.name}]" if ":" in place.name else place.name
        lines = [f"{method} {place.path}{path} HTTP/1.1", f"Host: {host}:{place.port}", f"Leo-Timeout-Us: {left_us}"]
        lines += [f"{name}: {said}" for some in (place.headers, headers) for name, said in some.items()]
        if method == "POST":
            lines.append(f"Content-Length: {sum(map(len, parts))}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def _keep(self, connection: socket.socket, call: Call) -> None:
        call.end()
        with self._lock:
            if not call.is_given_up and not self.calls.is_closed:
                self._idle.append(connection)
                self._idle_since_us[connection] = self._since_boot_us()
                if len(self._idle) <= MOST_IDLE:
                    return
                connection = self._idle.pop(0)
                del self._idle_since_us[connection]
        connection.close()

    def _drop(self, connection: socket.socket, call: Call) -> None:
        call.end()
        with suppress(OSError):
            connection.close()

    def forget_idle(self) -> None:
        """Others that were idle are as stale, or as much out of step, as the one that failed."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._idle_since_us.clear()
        for connection in idle:
            connection.close()


class _FailedError(Exception):
    """A request failed on its way, and why."""

    def __init__(self, cause: Exception, *, was_sent: bool) -> None:
        """`was_sent`: all of it, so that nobody knows whether it ran."""
        super().__init__()
        self.cause, self.was_sent = cause, was_sent


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # It is gone already.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # That of TLS would speak first.


def _cut_all(connections: Sequence[socket.socket]) -> None:
    for one in connections:
        _cut(one)


def _begin_connecting(own: socket.socket, address: Any) -> None:
    """Have the system connect it. Raises `OSError`."""
    own.setblocking(False)
    code = own.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))


def _has_news(own: socket.socket) -> bool:
    """Whether a connection that is idle has something to read: it was closed, or is not in step any more."""
    poll = select.poll()
    poll.register(own, select.POLLIN)
    return bool(poll.poll(0))

"""Connections to one server, kept and used again.

A request is sent a second time only where it was certainly not run: it had not been sent as a whole, or the server
remembers requests by their ids, and gives the first run's answer.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from leo_backends.remote.lookup import Lookup
from leo_backends.remote.options import Place, with_token_of_now
from leo_runtime.backend.open_inference import JSON_LENGTH, read_json
from leo_runtime.backend.transfers import SilentError, StrangerError
from leo_runtime.clock import WallClock, since_boot_us
from leo_runtime.errors import DeviceUnavailableError, InputError, KernelError, LeoError, printable

MOST_IDLE = 16
LONGEST_IDLE_US = 60_000_000
"""Routers and balancers on the way forget a connection that is silent, the hastiest within minutes, as they do while
this machine sleeps; nobody is told, and what is sent by it is waited for in vain."""
NEXT_ADDRESS_S = 0.25
"""How long an address is waited for before the next one of a name is tried as well (RFC 8305)."""
GATEWAYS = frozenset((407, 502, 503, 504, 511, *range(300, 400), *range(520, 531)))
"""Statuses by which somebody else on the way answers, unless the body is the server's own JSON."""
LAST_WORDS_S = 0.2
"""How long a server that takes no more of a request is listened to."""
SPARE_BYTES = 1 << 16
"""More than the outputs that an answer may have, for its JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes
    json_length: int | None
    closes: bool
    """The connection ends behind it."""
    run_us: int | None
    """How long the server says that it took."""
    queued_us: int | None = None
    """And how long it waited for its turn."""
    took_us: int = 0
    """From its first byte on until the answer was here: not what a new connection took."""
    answered_us: int = 0
    """Of that, how long it was until the answer began."""


_OF_ANOTHER_TIME = (9, 10)
"""OpenSSL's codes for a certificate that does not hold yet, or no more."""


class Call:
    """A request that may be given up from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hang_up: Callable[[], object] | None = None
        self.is_given_up = False

    def begin(self, hang_up: Callable[[], object]) -> None:
        """It is under way, and this ends it; from any thread."""
        with self._lock:
            self._hang_up = hang_up
            if self.is_given_up:
                hang_up()

    def end(self) -> None:
        """It is under way no more."""
        with self._lock:
            self._hang_up = None

    def give_up(self) -> None:
        """Hang up. Waits for nothing, raises nothing."""
        with self._lock:
            self.is_given_up = True
            if self._hang_up is not None:
                self._hang_up()


class Pool:
    """The connections to a server. From any thread."""

    def __init__(
        self, place: Place, clock: WallClock | None = None, since_boot_us: Callable[[], int] = since_boot_us
    ) -> None:
        self._place, self._clock, self._since_boot_us = place, clock or WallClock(), since_boot_us
        self._idle: list[socket.socket] = []
        self._idle_since_us: dict[socket.socket, int] = {}
        self._process, self._lookup = os.getpid(), Lookup()
        self._calls: set[Call] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self.remembers = False
        """Whether the server gives a request that it knows by its id the first run's answer."""

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._place.url

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
        with self._lock:
            if self._is_closed:
                raise KernelError(f"the connections to {self.url} are closed")
            self._calls.add(call)
        timeout_us = round(self._place.timeout_s * 1e6)
        until_us = self._clock.now_us() + (timeout_us if most_us is None else min(timeout_us, most_us))
        try:
            for attempt in (1, 2):
                connection, is_used = self._connection(call, until_us)
                try:
                    began_us = self._clock.now_us()
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
                    took_us, answered_us = self._clock.now_us() - began_us, answer.answered_us - began_us
                    return replace(answer, took_us=took_us, answered_us=answered_us)
                self._drop(connection, call)
                if call.is_given_up:  # What was silent by one connection may be so by the others.
                    self.forget_idle()
                    raise KernelError(f"the request to {self.url} was given up")
                may = (self.remembers or not once) if failed.was_sent else is_used
                if attempt == 2 or not may or isinstance(failed.cause, TimeoutError):
                    raise unavailable(self._place, failed.cause)
                self.forget_idle()
            raise AssertionError("the second attempt returns or raises")
        finally:
            with self._lock:
                self._calls.discard(call)

    def close(self) -> None:
        """Hang up, also on requests that are under way. Closing twice is fine."""
        with self._lock:
            self._is_closed = True
            calls = list(self._calls)
        for call in calls:
            call.give_up()
        self.forget_idle()

    def renew_token(self, asked: Mapping[str, str]) -> bool:
        """Whether the token is another one now than the one that was sent with these headers."""
        self._place = with_token_of_now(self._place)
        return self._place.headers != asked

    @property
    def headers(self) -> Mapping[str, str]:
        """What is sent with every request."""
        return self._place.headers

    def refused(self, answer: Answer, what: str) -> LeoError:
        """Why the server did not do what it was asked for, in words."""
        return refused(self.url, answer, what)

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
                raise KernelError(f"the request to {self.url} was given up") from None
            raise unavailable(self._place, error) from None

    def _connected(self, call: Call, until_us: int) -> socket.socket:
        """A new connection, which may be given up as it comes about. Raises `OSError`, `UnicodeError`."""
        place = self._place
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
        place = self._place
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
        left_us = until_us - self._clock.now_us()
        if left_us <= 0:
            raise _FailedError(TimeoutError(), was_sent=False)
        connection.settimeout(left_us / 1e6)
        try:
            # At once: in two pieces it would wake the server twice.
            connection.sendall(b"".join((self._head(method, path, headers, parts, left_us), *parts)))
        except OSError as error:
            with suppress(OSError, http.client.HTTPException, KernelError):  # It may have said why it takes no more.
                until_us = self._clock.now_us() + round(LAST_WORDS_S * 1e6)
                # To this server the next request would be the rest of this one.
                return replace(self._received(connection, method, most_bytes, until_us), closes=True)
            raise _FailedError(error, was_sent=False) from None
        try:
            return self._received(connection, method, most_bytes, until_us)
        except (OSError, http.client.HTTPException) as error:
            raise _FailedError(error, was_sent=True) from None

    def _head(
        self, method: str, path: str, headers: Mapping[str, str], parts: Sequence[bytes | memoryview], left_us: int
    ) -> bytes:
        place = self._place
        host = f"[{place.name}]" if ":" in place.name else place.name
        lines = [f"{method} {place.path}{path} HTTP/1.1", f"Host: {host}:{place.port}", f"Leo-Timeout-Us: {left_us}"]
        lines += [f"{name}: {said}" for some in (place.headers, headers) for name, said in some.items()]
        if method == "POST":
            lines.append(f"Content-Length: {sum(map(len, parts))}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def _received(self, connection: socket.socket, method: str, most_bytes: int, until_us: int) -> Answer:
        """The answer. Raises `OSError`, `HTTPException`, and `KernelError` for one of more bytes."""
        stream = cast("socket.socket", _Until(connection, self._clock, until_us))  # It is asked for `makefile` alone.
        with closing(http.client.HTTPResponse(stream, method=method)) as response:
            response.begin()
            began_us = self._clock.now_us()
            if response.status < 200:
                raise KernelError(f"the server {self.url} answered {response.status} before the answer")
            length = response.length
            if length is not None and length > most_bytes:
                raise KernelError(f"the server {self.url} answered {length} bytes, {most_bytes} at most were expected")
            data = response.read(most_bytes + 1) if length is None else response.read()
            if len(data) > most_bytes:
                raise KernelError(f"the server {self.url} answered more than the {most_bytes} bytes that were expected")
            return Answer(
                response.status,
                data,
                number_of(response.headers.get(JSON_LENGTH)),
                response.will_close,
                number_of(response.headers.get("Leo-Run-Us")),
                number_of(response.headers.get("Leo-Wait-Us")),
                answered_us=began_us,
            )

    def _keep(self, connection: socket.socket, call: Call) -> None:
        call.end()
        with self._lock:
            if not call.is_given_up and not self._is_closed:
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


def is_of_another(answer: Answer) -> bool:
    """Whether somebody else on the way answered: a proxy whose server is gone, a network that asks for a login.

    All that a server says where it does what it is asked for is an object of JSON, with or without bytes behind it.
    """
    return answer.status in (200, *GATEWAYS) and answer.body.lstrip()[:1] != b"{"


def refused(url: str, answer: Answer, what: str) -> LeoError:
    """Why the server did not do what it was asked for, in words."""
    try:
        said = str(read_json(answer.body).get("error", ""))
    except InputError:
        said = answer.body[:300].decode("utf-8", "replace")
    reason = printable(said)[:500] or http.client.responses.get(answer.status, "no reason given")
    if is_of_another(answer):
        return StrangerError(
            f"{what}: what answered {answer.status} ({reason}) for {url} does not speak the Open Inference Protocol v2",
            hint="is that the right port? A proxy answers so whose server is gone, and a network that wants a login",
        )
    hint = {
        401: "name the server's token in the processor's options: token_file",
        403: "ask who runs the server whether this machine may use it",
        404: "let the server run the same workload, of the same version, or name the model in `models`",
        413: "let the server take more: --max-bytes",
        429: "let fewer lanes use the server, or give it more workers",
        503: "let fewer lanes use the server, or give it more workers",
        504: "give the processor a longer timeout_s, or the server more workers",
    }.get(answer.status, "")
    return KernelError(f"{what}: the server {url} answered {answer.status} ({reason})", hint=hint)


def unavailable(place: Place, error: BaseException) -> DeviceUnavailableError:
    """Why the server cannot be used now, in words."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return DeviceUnavailableError(
            f"no connection to the server {place.url} can be opened ({error.strerror})",
            hint="let this process have more files: ulimit -n",
        )
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OF_ANOTHER_TIME:
        return DeviceUnavailableError(
            f"the server {place.url} shows a certificate that does not hold now ({error.verify_message})",
            hint="is this machine's clock right? If so, the server needs a new certificate",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return StrangerError(
            f"the server {place.url} shows a certificate that is not trusted ({error.verify_message})",
            hint="name the certificate that signed it in the processor's options: ca_file",
        )
    if isinstance(error, ssl.SSLError):
        return DeviceUnavailableError(
            f"no TLS with the server {place.url} ({error.reason or error})",
            hint="does it speak TLS there? Without, its URL begins with http://",
        )
    if isinstance(error, TimeoutError):
        return SilentError(
            f"the server {place.url} was silent for too long (connect_timeout_s {place.connect_timeout_s:g}, "
            f"timeout_s {place.timeout_s:g})",
            hint="look at the network and at what the server does",
        )
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
        return StrangerError(f"what answers at {place.url} does not speak HTTP", hint="is that the right port?")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DeviceUnavailableError(
        f"the server {place.url} cannot be reached, or hung up ({printable(str(why))[:200]})",
        hint="is `leo-runtime serve` running there, and is the port open?",
    )


class _Until(io.RawIOBase):
    """What comes by a connection, all of it until one time: a server that sends byte by byte gains none."""

    def __init__(self, connection: socket.socket, clock: WallClock, until_us: int) -> None:
        super().__init__()
        self._connection, self._clock, self._until_us = connection, clock, until_us

    def makefile(self, _: str) -> io.BufferedReader:
        """It, buffered. Closing that leaves the connection open."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises `TimeoutError` when the time has come."""
        left_us = self._until_us - self._clock.now_us()
        if left_us <= 0:
            raise TimeoutError
        self._connection.settimeout(left_us / 1e6)
        return self._connection.recv_into(buffer)


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


def number_of(text: str | None) -> int | None:
    """A number that a server said; None where it is none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None

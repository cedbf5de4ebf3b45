"""The same service by gRPC: each call is told to it as the request of HTTP that it stands for.

So who may ask, how much, how long, and what is run once is decided in one place. What is different is who reads: the
sockets are grpcio's. A call is read only when its token is right, and one that sends, or takes its answer, byte by byte
is hung up on as by HTTP.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from leo_runtime.backend import inference_messages as messages
from leo_runtime.backend.open_inference import JSON_LENGTH
from leo_runtime.backend.protobuf_wire import Message, decode, encode
from leo_runtime.clock import Clock
from leo_runtime.errors import InputError, MissingExtraError
from leo_runtime.frozen import dataclass
from leo_runtime.serving.certificate import Certificate
from leo_runtime.serving.http_head import Head
from leo_runtime.serving.service import TIMEOUT, GoneError, RefusedError, Reply, Service, refusal

if TYPE_CHECKING:
    import grpc

EXTRA = "grpc"
QUESTIONS = 8
"""Calls at once beyond those that the service has places for: it is the service that refuses, and says so."""
MORE_BYTES = 1 << 16
"""Than a body of HTTP: what a message has around its tensors."""
LONGEST_DETAILS = 1_000
HEALTH = ("v2", "health")
ROOTS = {"ServerLive": HEALTH, "ServerReady": HEALTH}
"""With what the path begins that a call stands for, where it is not `v2` alone; that says whether a token is wanted.
Of these calls nothing is read, so that nobody without a token holds a place by sending nothing."""
CODES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call as a request of HTTP."""

    head: Head
    body: bytes
    message_of: Callable[[Reply], bytes]
    """The message that is answered, of what HTTP would answer."""


_Headers: TypeAlias = dict[str, str]
_Told: TypeAlias = Callable[[bytes, _Headers], _Asked]
"""What a call's message, and its metadata, ask for."""


class GrpcServer:
    """Listens until it is stopped."""

    def __init__(
        self,
        service: Service,
        bind: tuple[str, int],
        clock: Clock,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """Listens from here on, and answers when it is started. `tls` is a certificate and its key.

        Raises `InputError` where that cannot be, `MissingExtraError`.
        """
        try:
            import grpc
        except ImportError:
            raise MissingExtraError("serving by gRPC", EXTRA) from None
        self._grpc, self._service, self._clock = grpc, service, clock
        self._calls: dict[grpc.ServicerContext, int | None] = {}
        """Who is being answered, and until when he is waited for; None: as long as it is our turn."""
        self._lock = threading.Lock()
        self._stops = threading.Event()
        limits = service.limits
        at_once = limits.workers + limits.waiting + QUESTIONS
        self._threads = ThreadPoolExecutor(at_once, "leo serve grpc")
        self._looks = threading.Thread(target=self._look, name="leo serve grpc patience", daemon=True)
        self._server = grpc.server(
            self._threads,
            maximum_concurrent_rpcs=at_once,
            options=(
                ("grpc.max_receive_message_length", limits.max_bytes + MORE_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", at_once),
                ("grpc.max_allowed_incoming_connections", limits.connections),
                ("grpc.max_connection_idle_ms", round(limits.idle_s * 1e3)),
                ("grpc.http2.bdp_probe", 0),
                ("grpc.so_reuseport", 0),
                ("grpc.compression_enabled_algorithms_bitset", 1),  # None: small messages may not become large ones.
            ),
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self._is_tls = tls is not None
        self._host, self._port = bind[0], _listening(grpc, self._server, bind, tls)

    @property
    def url(self) -> str:
        """Where it is found."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'grpcs' if self._is_tls else 'grpc'}://{host}:{self._port}"

    def start(self) -> None:
        """Answer, on threads of its own."""
        self._server.start()
        self._looks.start()

    def stop(self, most_s: float = 5.0) -> bool:
        """Let nobody in any more, and wait so long at most for answers that are being made. False: some are cut off.

        Stopping twice is fine.
        """
        self._service.is_stopping = True
        self._stops.set()
        self._server.stop(most_s).wait()
        with self._lock:
            all_ended = not self._calls
        self._threads.shutdown(wait=all_ended)
        if self._looks.is_alive():
            self._looks.join()
        return all_ended

    def _handlers(self) -> grpc.GenericRpcHandler:
        answers: dict[str, _Told] = {
            "ServerLive": _asked_path((*HEALTH, "live"), messages.LIVE),
            "ServerReady": _asked_path((*HEALTH, "ready"), messages.READY),
            "ServerMetadata": _asked_path(("v2",), messages.SERVER),
            "ModelReady": _asked_model(("ready",), messages.READY),
            "ModelMetadata": _asked_model((), messages.METADATA),
            "RepositoryIndex": _asked_index,
            "ModelInfer": _asked_infer,
        }
        # As of streams, since of those nothing is read before we ask for it.
        handlers = {
            name: self._grpc.stream_unary_rpc_method_handler(
                lambda calls, context, name=name, told=told: self._answer(
                    calls, context, ROOTS.get(name, ("v2",)), told
                )
            )
            for name, told in answers.items()
        }
        return self._grpc.method_handlers_generic_handler(messages.SERVICE, handlers)

    def _answer(
        self,
        calls: Iterator[bytes],
        context: grpc.ServicerContext,
        root: tuple[str, ...],
        told: _Told,
    ) -> bytes:
        headers = _headers(context)
        counts = self._service.counts
        with self._waited_for(context):
            try:
                self._service.admit(Head("POST", root, headers, True, 0))
            except RefusedError as error:
                counts.refuse(error.reason)
                return self._told(context, refusal(error), None)
            try:
                data = b"" if root == HEALTH else next(calls, None)
            except self._grpc.RpcError:
                data = None
            if data is None:  # It went, was cut off, has nothing to say, or more than is taken: grpcio does not tell.
                if self._calls.get(context) is not None:  # Else it was counted as it was cut off.
                    counts.refuse("unread")
                return self._told(context, refusal(RefusedError(400, "unread", "the call has no message")), None)
            with self._lock:
                self._calls[context] = None
            left_s = context.time_remaining()
            if left_s is not None:
                headers[TIMEOUT.lower()] = str(min(int(left_s * 1e6), 10**14))
            try:
                asked = told(data, headers)
            except InputError as error:
                counts.refuse("malformed")
                return self._told(context, refusal(RefusedError(400, "malformed", str(error))), None)
            try:
                reply = self._service.answer(asked.head, lambda _: asked.body, lambda: not context.is_active())
            except GoneError:
                return b""
            return self._told(context, reply, asked.message_of)

    @contextmanager
    def _waited_for(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Within it, and until the answer is taken, somebody is waited for; not for ever."""

        def let_go() -> None:
            with self._lock:
                self._calls.pop(context, None)

        with self._lock:
            self._calls[context] = self._patience_us()
        self._service.counts.connected(1)
        try:
            yield
        finally:
            self._service.counts.connected(-1)
            with self._lock:
                self._calls[context] = self._patience_us()
            if not context.add_callback(let_go):
                let_go()

    def _patience_us(self) -> int:
        return self._clock.now_us() + round(self._service.limits.patience_s * 1e6)

    def _look(self) -> None:
        """Hang up on who has been waited for long enough."""
        while not self._stops.wait(self._service.limits.look_s):
            now_us = self._clock.now_us()
            with self._lock:
                late = [one for one, until_us in self._calls.items() if until_us is not None and until_us <= now_us]
                for one in late:
                    self._calls[one] = None
            for one in late:
                self._service.counts.refuse("slow")
                one.cancel()

    def _told(self, context: grpc.ServicerContext, reply: Reply, message_of: Callable[[Reply], bytes] | None) -> bytes:
        more = [(name.lower(), str(said)) for name, said in reply.headers.items() if name.startswith("Leo-")]
        context.set_trailing_metadata(((messages.STATUS, str(reply.status)), *more))
        if reply.status == 200 and message_of is not None:
            return message_of(reply)
        context.set_code(self._grpc.StatusCode[CODES.get(reply.status, "UNKNOWN")])
        context.set_details(str(json.loads(b"".join(reply.parts)).get("error", ""))[:LONGEST_DETAILS])
        return b""


def _headers(context: grpc.ServicerContext) -> dict[str, str]:
    """What of the call's metadata the service reads."""
    return {
        name: said
        for name, said in context.invocation_metadata()
        if isinstance(said, str) and (name == "authorization" or name.startswith("leo-"))
    }


def _message(message: Message) -> Callable[[Reply], bytes]:
    return lambda reply: encode(messages.only(json.loads(b"".join(reply.parts)), message), message)


def _asked_path(path: tuple[str, ...], message: Message) -> _Told:
    return lambda _, headers: _Asked(Head("GET", path, headers, True, 0), b"", _message(message))


def _asked_model(behind: tuple[str, ...], message: Message) -> _Told:
    def asked(data: bytes, headers: _Headers) -> _Asked:
        said = decode(data, messages.MODEL)
        path = (*_path(said.get("name", ""), said.get("version", "")), *behind)
        return _Asked(Head("GET", path, headers, True, 0), b"", _message(message))

    return asked


def _asked_index(_: bytes, headers: _Headers) -> _Asked:
    def message_of(reply: Reply) -> bytes:
        return _message(messages.INDEX)(Reply(200, (b'{"models":', *reply.parts, b"}"), {}))

    return _Asked(Head("POST", ("v2", "repository", "index"), headers, True, 0), b"", message_of)


def _asked_infer(data: bytes, headers: _Headers) -> _Asked:
    def message_of(reply: Reply) -> bytes:
        whole = memoryview(b"".join(reply.parts))
        length = int(reply.headers.get(JSON_LENGTH, len(whole)))
        return messages.answer_to_grpc(whole[:length], whole[length:])

    name, version, text, raw = messages.request_from_grpc(data)
    headers = headers | {JSON_LENGTH.lower(): str(len(text))}
    body = text + raw
    return _Asked(Head("POST", (*_path(name, version), "infer"), headers, True, len(body)), body, message_of)


def _path(name: str, version: str) -> tuple[str, ...]:
    return ("v2", "models", name, *(("versions", version) if version else ()))


def _credentials(grpc: Any, own: Certificate) -> Any:
    """What is shown to who connects: it is asked for as each does. Raises `InputError`."""

    def configuration() -> Any:
        certificate, key = own.pems()
        return grpc.ssl_server_certificate_configuration([(key, certificate)])

    return grpc.dynamic_ssl_server_credentials(configuration(), lambda: configuration() if own.renew() else None)


def _listening(grpc: Any, server: grpc.Server, bind: tuple[str, int], tls: tuple[Path, Path] | None) -> int:
    """The port at which it listens from here on. Raises `InputError`."""
    host, port = bind
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            found = server.add_insecure_port(address)
        else:
            found = server.add_secure_port(address, _credentials(grpc, Certificate(*tls)))
    except (RuntimeError, OSError):
        found = 0
    if not found:
        raise InputError(
            f"nothing can listen at {address} for gRPC", hint="name another address or port: --grpc HOST:PORT"
        )
    return int(found)

"""A server that is asked by gRPC, in the words in which one is asked by HTTP.

Calls share a connection. Nobody tells us whether one that failed had been sent, so it is made a second time only where
the server remembers requests by their ids, or where it may run twice; grpcio's own retries are off.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from leo_backends.remote.answers import Answer, number_of, too_large, unavailable
from leo_backends.remote.calls import LONGEST_IDLE_US, SPARE_BYTES, Call, Calls
from leo_backends.remote.options import AUTHORIZATION, Place
from leo_runtime.backend import inference_messages as messages
from leo_runtime.backend.protobuf_wire import decode, encode
from leo_runtime.backend.transfers import StrangerError
from leo_runtime.clock import WallClock, since_boot_us
from leo_runtime.errors import DeviceUnavailableError, InputError, KernelError, MissingExtraError

if TYPE_CHECKING:
    import grpc

EXTRA = "grpc"
LEAST_BYTES = 1 << 20
"""Of an answer that a connection lets in, whatever is expected: connections are few."""
STATUSES: Mapping[str, int] = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
}
"""What HTTP would say, where the server does not; anything else is 500."""


class GrpcPool:
    """The connection to a server. From any thread."""

    def __init__(
        self, place: Place, clock: WallClock | None = None, since_boot_us: Callable[[], int] = since_boot_us
    ) -> None:
        """Raises `MissingExtraError`."""
        try:
            import grpc
        except ImportError:
            raise MissingExtraError("a server that is asked by gRPC", EXTRA) from None
        self.calls = Calls(place)
        self._grpc, self._clock = grpc, clock or WallClock()
        self._since_boot_us = since_boot_us
        self._line: _Line | None = None
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
        """The server's answer, in the words of HTTP. Raises as `Pool.ask` does."""
        call = call or Call()
        name, message = _asked(f"{method} {path}", path, parts)
        metadata = [
            (name.lower(), said)
            for name, said in {**self.calls.place.headers, **(headers or {})}.items()
            if name == AUTHORIZATION or name.startswith("Leo-")
        ]
        until_us = self.calls.until_us(self._clock.now_us(), most_us)
        with self.calls.under_way(call):
            for attempt in (1, 2):
                began_us = self._clock.now_us()
                answer = self._exchange(name, message, metadata, most_bytes, call, until_us)
                if isinstance(answer, Answer):
                    took_us = self._clock.now_us() - began_us  # It is told when all of it is here.
                    return replace(answer, took_us=took_us, answered_us=took_us)
                if call.is_given_up:
                    raise KernelError(f"the request to {self.calls.url} was given up")
                may = self.remembers or not once
                if attempt == 2 or not may or isinstance(answer, TimeoutError):
                    raise self._unavailable(answer)
            raise AssertionError("the second attempt returns or raises")

    def forget_idle(self) -> None:
        """Have the next call go by another connection."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None and not line.users:
            line.channel.close()

    def close(self) -> None:
        """Hang up, also on requests that are under way. Closing twice is fine."""
        self.calls.close()
        self.forget_idle()

    def _line_for(self, most_bytes: int) -> _Line:
        """A connection that lets so large an answer in, with one user more. Raises `KernelError`."""
        with self._lock:
            self.calls.require_open()
            line = self._line
            is_old = line is not None and not line.users and self._since_boot_us() - line.used_us > LONGEST_IDLE_US
            if is_old and line is not None:
                line.channel.close()
            if line is None or is_old or line.most_bytes < most_bytes:  # The other ends with who uses it.
                line = self._line = _Line(self._grpc, self.calls.place, max(most_bytes, LEAST_BYTES))
            line.users += 1
            return line

    def _let_go(self, line: _Line, *, is_broken: bool) -> None:
        """One user less. What is broken may hang for longer than a new connection takes, so nobody uses it again."""
        with self._lock:
            line.users -= 1
            line.used_us = self._since_boot_us()
            if is_broken and self._line is line:
                self._line = None
            is_over = self._line is not line and not line.users
        if is_over:
            line.channel.close()

    def _exchange(
        self,
        name: str,
        message: bytes,
        metadata: Sequence[tuple[str, str]],
        most_bytes: int,
        call: Call,
        until_us: int,
    ) -> Answer | Exception:
        """The answer, or why there is none. Raises `KernelError`."""
        left_us = until_us - self._clock.now_us()
        if left_us <= 0:
            return TimeoutError()
        line = self._line_for(most_bytes)
        began_us = self._clock.now_us()
        is_broken = False
        try:
            asked = line.channel.unary_unary(f"/{messages.SERVICE}/{name}").future(
                message, timeout=left_us / 1e6, metadata=metadata
            )
            call.begin(asked.cancel)
            code = asked.code().name  # Waits for the answer.
            said = {key: value for key, value in asked.trailing_metadata() or () if isinstance(value, str)}
            status = number_of(said.get(messages.STATUS))
            if status is None and code in ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"):
                is_broken = not call.is_given_up
                return TimeoutError() if code == "DEADLINE_EXCEEDED" else ConnectionError(asked.details())
            run_us, queued_us = number_of(said.get("leo-run-us")), number_of(said.get("leo-wait-us"))
            took_us = self._clock.now_us() - began_us
            if code == "OK":
                body, json_length = self._read(name, asked.result(), most_bytes)
                return Answer(200, body, json_length, False, run_us, queued_us, took_us)
            details = asked.details() or ""
            if code == "RESOURCE_EXHAUSTED" and f"vs. {line.most_bytes})" in details:
                raise too_large(self.calls.url, most_bytes)
            status = status or (413 if "larger than max" in details else STATUSES.get(code, 500))
            body = json.dumps({"error": details}).encode()
            return Answer(status, body, None, False, run_us, queued_us, took_us)
        finally:
            call.end()
            self._let_go(line, is_broken=is_broken)

    def _read(self, name: str, data: bytes, most_bytes: int) -> tuple[bytes, int | None]:
        """A body as HTTP has it, and how much of it is JSON. Raises `KernelError`."""
        if len(data) > most_bytes:
            raise too_large(self.calls.url, most_bytes)
        try:
            if name == "ModelInfer":
                text, tensors = messages.answer_from_grpc(data)
                return text + tensors, len(text)
            said = decode(data, messages.SERVER if name == "ServerMetadata" else messages.METADATA)
        except InputError as error:
            raise KernelError(f"the server {self.calls.url} answered what is no answer ({error})") from None
        for tensor in said.get("inputs", ()):
            tensor.setdefault("shape", [])
        return json.dumps(said).encode(), None

    def _unavailable(self, error: Exception) -> DeviceUnavailableError:
        why = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in why:
            return StrangerError(
                f"the server {self.calls.url} shows a certificate that is not trusted",
                hint="name the certificate that signed it in the processor's options: ca_file",
            )
        return unavailable(self.calls.place, error)


class _Line:
    """A connection, which comes about with its first call."""

    def __init__(self, grpc: Any, place: Place, most_bytes: int) -> None:
        self.most_bytes, self.users = most_bytes, 0
        """How many calls go by it now."""
        self.used_us = 0
        """When the last one ended."""
        host = f"[{place.host}]" if ":" in place.host else place.host
        options = (
            ("grpc.max_receive_message_length", most_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.min_reconnect_backoff_ms", round(place.connect_timeout_s * 1e3)),  # How long a connection may take.
            ("grpc.compression_enabled_algorithms_bitset", 1),  # None: a small answer may not become a large one.
        )
        address = f"{host}:{place.port}"
        if place.tls is None:
            self.channel: grpc.Channel = grpc.insecure_channel(address, options)
        else:
            credentials = grpc.ssl_channel_credentials(place.roots or None)
            self.channel = grpc.secure_channel(address, credentials, options)


def _asked(what: str, path: str, parts: Sequence[bytes | memoryview]) -> tuple[str, bytes]:
    """The method's name and its message, for a request of HTTP. Raises `KernelError` for what gRPC has not."""
    match [unquote(part) for part in path.split("/")[1:]]:
        case ["v2"]:
            return "ServerMetadata", b""
        case ["v2", "models", name, *rest]:
            version = ""
            match rest:
                case ["versions", version, *rest]:
                    pass
            if not rest:
                return "ModelMetadata", encode({"name": name, "version": version}, messages.MODEL)
            if rest == ["infer"]:
                return "ModelInfer", messages.request_to_grpc(name, version, parts[0], parts[1:])
    raise KernelError(f"{what} cannot be asked by gRPC")

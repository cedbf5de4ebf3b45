"""What is answered to a request: the paths of the Open Inference Protocol v2, who may ask, how much, and how long.

Nothing here knows of sockets. Whatever is wrong with a request is a `RefusedError` with its status; whatever a stage
raises is an answer 500 in words.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from leo_runtime.backend.open_inference import (
    BINARY,
    JSON_LENGTH,
    KEPT,
    SAMPLES,
    KeptTensor,
    Message,
    Request,
    Tensor,
    answer_message,
    read_request,
)
from leo_runtime.clock import Clock
from leo_runtime.errors import InputError, LeoError, MissingExtraError, printable, words
from leo_runtime.frozen import dataclass
from leo_runtime.serving.counts import Counts
from leo_runtime.serving.http_head import Head
from leo_runtime.serving.kept import KeptTensors
from leo_runtime.serving.limits import Limits, Room
from leo_runtime.serving.remembered import Remembered
from leo_runtime.serving.stages import PLATFORM, Served
from leo_runtime.version import VERSION

STAGES = "leo_stages"
"""The extension by which stages are models under their identity too, answers say how long they took, `Leo-Timeout-Us`
says how long one is waited for, and a request with a `Leo-Request-Id` is run once however often it is sent."""
TIMEOUT, REQUEST, RUN_US, WAIT_US = "Leo-Timeout-Us", "Leo-Request-Id", "Leo-Run-Us", "Leo-Wait-Us"
REMEMBERED_BYTES = 4 << 20
LONGEST_ID = 100
MOST_QUESTION_BYTES = 1 << 12
"""Of a body that is no request to infer, for which no place is held."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    parts: tuple[bytes | memoryview, ...]
    headers: Mapping[str, str | int]
    closes: bool = False
    """The connection is closed behind it, since there may be more of the request."""
    model: str = ""

    @property
    def size(self) -> int:
        """Of its body, in bytes."""
        return sum(len(part) for part in self.parts)


class RefusedError(LeoError):
    """A request is not run: the HTTP status, and a word for the count of reasons."""

    def __init__(self, status: int, reason: str, message: str, *, hint: str = "", closes: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.status, self.reason, self.closes = status, reason, closes


class GoneError(LeoError):
    """Who asked has hung up."""


class Service:
    """Answers requests, from any thread, several at once."""

    def __init__(
        self,
        models: Sequence[Served],
        limits: Limits,
        clock: Clock,
        *,
        name: str = PLATFORM,
        aliases: Mapping[str, Served] | None = None,
        token: Callable[[], str] | None = None,
        metrics: Callable[[], tuple[bytes, str]] | None = None,
    ) -> None:
        """Of several models of one name the first is the one that is meant without a version.

        `aliases` are further names of models. `token` gives the one of now; without, anybody may ask. `metrics` gives
        their text and type.
        """
        self.limits, self.counts = limits, Counts()
        self.is_stopping = False
        self._clock, self._name, self._metrics = clock, name, metrics
        self._token = token
        self._room = Room(limits)
        self.kept = KeptTensors(limits.kept_bytes, round(limits.kept_s * 1e6), clock)
        self._remembered: Remembered[Reply] = Remembered(REMEMBERED_BYTES)
        self._models: dict[tuple[str, str], Served] = {}
        for model in models:
            self.add(model)
        for alias, model in (aliases or {}).items():
            self.add(model, alias)

    def add(self, model: Served, alias: str = "") -> None:
        """Another model, or another name for one; a name that is taken stays the one's that has it."""
        names = [(alias, "")] if alias else [(model.name, ""), (model.name, model.version)]
        for name in names:
            self._models.setdefault(name, model)

    def answer(self, head: Head, read_body: Callable[[int], bytes], is_gone: Callable[[], bool]) -> Reply:
        """The answer to a request. Raises `GoneError`, as `read_body` does too, and nothing else."""
        length, model = head.body_bytes, ""
        try:
            if "transfer-encoding" in head.headers:
                raise RefusedError(411, "malformed", "a request's body has a Content-Length here", closes=True)
            self.admit(head)
            reply = self._routed(head, length, read_body, is_gone)
            model = reply.model
        except RefusedError as error:
            self.counts.refuse(error.reason)
            reply = refusal(error, closes=error.closes or length > 0)
        except InputError as error:
            self.counts.refuse("malformed")
            reply = refusal(RefusedError(400, "malformed", str(error), hint=error.hint), closes=length > 0)
        except GoneError:
            raise
        except Exception as error:  # A mistake of ours is no reason to hang up without a word.
            reply = refusal(RefusedError(500, "failed", f"the server failed ({words(error)[:200]})"), closes=True)
        self.counts.answered(model, reply.status, length, reply.size)
        return reply

    def admit(self, head: Head) -> None:
        """Whether this may be asked at all, before any of its body is read. Raises `RefusedError`."""
        if "origin" in head.headers:
            raise RefusedError(403, "origin", "pages in a browser are not served")
        if head.path[:2] == ("v2", "health"):
            return
        said = head.headers.get("authorization", "").encode("latin-1")
        if self._token is not None and not hmac.compare_digest(said, f"Bearer {self._token()}".encode()):
            raise RefusedError(
                401, "token", "the token is missing or wrong", hint="send the header `Authorization: Bearer TOKEN`"
            )

    def _routed(self, head: Head, length: int, read_body: Callable[[int], bytes], is_gone: Callable[[], bool]) -> Reply:
        match head.method, head.path:
            case "POST", ("v2", "models", name, "infer"):
                return self._infer(self._model(name, ""), head, length, read_body, is_gone)
            case "POST", ("v2", "models", name, "versions", version, "infer"):
                return self._infer(self._model(name, version), head, length, read_body, is_gone)
            case "POST", ("v2", "kept"):
                return self._with_body(head, length, read_body, self._keep)
            case "POST", ("v2", "kept", "bring"):
                return self._with_body(head, length, read_body, self._bring)
            case "POST", ("v2", "repository", "index"):
                self._body(length, read_body, MOST_QUESTION_BYTES)
                seen = dict.fromkeys((one.name, one.version) for one in self._models.values())
                return _json([{"name": name, "version": version, "state": "READY"} for name, version in seen])
            case (("GET" | "HEAD"), path) if length == 0:
                return self._shown(path)
        if head.path[:1] == ("v2",) and head.method not in ("GET", "POST", "HEAD"):
            raise RefusedError(405, "unknown", f"nothing here is asked by {head.method}", closes=True)
        raise _unknown(head.path)

    def _shown(self, path: tuple[str, ...]) -> Reply:
        match path:
            case ("v2",) | ("v2", ""):
                extensions = [BINARY, STAGES, KEPT, SAMPLES]
                return _json({"name": self._name, "version": VERSION, "extensions": extensions})
            case ("v2", "health", "live"):
                return _json({"live": True})
            case ("v2", "health", "ready"):
                return _json({"ready": not self.is_stopping}, 503 if self.is_stopping else 200)
            case ("v2", "models", name):
                return _json(self._model(name, "").metadata())
            case ("v2", "models", name, "ready"):
                return _json({"name": self._model(name, "").name, "ready": True})
            case ("v2", "models", name, "versions", version):
                return _json(self._model(name, version).metadata())
            case ("v2", "models", name, "versions", version, "ready"):
                return _json({"name": self._model(name, version).name, "ready": True})
            case ("metrics",) if self._metrics is not None:
                try:
                    text, kind = self._metrics()
                except MissingExtraError as error:
                    raise RefusedError(501, "unknown", str(error), hint=error.hint) from None
                return Reply(200, (text,), {"Content-Type": kind})
        raise _unknown(path)

    def _model(self, name: str, version: str) -> Served:
        found = self._models.get((name, version))
        if found is None:
            what = f"{name[:200]!r}" + (f" of version {version[:50]!r}" if version else "")
            raise RefusedError(
                404, "unknown", f"no model is called {what} here", hint="POST /v2/repository/index lists all there are"
            )
        return found

    def _body(self, length: int, read_body: Callable[[int], bytes], most: int) -> bytes:
        if length > most:
            raise RefusedError(
                413,
                "size",
                f"a body of {length} bytes is more than {most}, which is all that is taken",
            )
        return read_body(length)

    def _infer(
        self,
        model: Served,
        head: Head,
        length: int,
        read_body: Callable[[int], bytes],
        is_gone: Callable[[], bool],
    ) -> Reply:
        until_us = self._until_us(head, self._clock.now_us())
        request = head.headers.get(REQUEST.lower(), "")
        if len(request) > LONGEST_ID:
            raise InputError(f"{REQUEST} is longer than {LONGEST_ID} characters")
        if self.is_stopping:
            raise RefusedError(503, "stopping", "the server is stopping")

        def run(body: bytes, json_length: int | None) -> Reply:
            if not request:
                return self._run(model, body, json_length, until_us, is_gone)
            return self._once(request, model, body, json_length, until_us, is_gone)

        return self._with_body(head, length, read_body, run, model.name)

    def _with_body(
        self,
        head: Head,
        length: int,
        read_body: Callable[[int], bytes],
        answer: Callable[[bytes, int | None], Reply],
        model: str = "",
    ) -> Reply:
        """The answer to a request with tensors, which is read where there is room for it."""
        json_length = head.length(JSON_LENGTH.lower())
        if head.headers.get("content-encoding", "identity") != "identity":
            raise RefusedError(415, "malformed", "a body is taken as it is, without Content-Encoding")
        with self._room.place() as held:
            if not held:
                raise RefusedError(503, "full", "as many requests as may wait are waiting already")
            body = self._body(length, read_body, self.limits.max_bytes)
            # From here on all of the request is read, and the connection goes on whatever comes of it.
            self.counts.begun(1)
            try:
                return answer(body, json_length)
            except RefusedError as error:
                self.counts.refuse(error.reason)
                return refusal(error, model=model)
            except InputError as error:
                self.counts.refuse("malformed")
                return refusal(RefusedError(400, "malformed", str(error), hint=error.hint), model=model)
            finally:
                self.counts.begun(-1)

    def _asked(self, body: bytes, json_length: int | None) -> Request:
        """What a body says. Raises `InputError`, and `RefusedError` where its numbers take more than is taken.

        As text, or as samples, they came in a quarter of the bytes that are held while it waits.
        """
        asked = read_request(body, json_length)
        size = sum([tensor.array.nbytes for tensor in asked.inputs if isinstance(tensor, Tensor)])
        if size > self.limits.max_bytes:
            most = self.limits.max_bytes
            raise RefusedError(413, "size", f"numbers of {size} bytes are more than {most}, which is all that is taken")
        return asked

    def _keep(self, body: bytes, json_length: int | None) -> Reply:
        """Tensors are to be kept, each by its name, and others to be forgotten."""
        asked = self._asked(body, json_length)
        self.kept.forget(asked.forget)
        arrays: dict[str, np.ndarray] = {}
        for tensor in asked.inputs:
            if isinstance(tensor, KeptTensor):
                raise InputError(f"the tensor `{tensor.name[:50]}` comes without numbers")
            if tensor.name in arrays:
                raise InputError(f"two tensors are to be kept as {tensor.name[:50]!r}")
            arrays[tensor.name] = tensor.array
        if not self.kept.fits(arrays.values()) or not all(self.kept.keep(*one) for one in arrays.items()):
            size = sum(array.nbytes for array in arrays.values())
            raise RefusedError(413, "size", f"{size} bytes are more than is kept ({self.limits.kept_bytes})")
        return _json({})

    def _bring(self, body: bytes, json_length: int | None) -> Reply:
        """Tensors that are kept are wanted."""
        asked = read_request(body, json_length)
        found = [Tensor(one.name, self._found(one.name)) for one in asked.outputs]
        size = sum(tensor.array.nbytes for tensor in found)
        if len(found) > 1 and size > self.limits.max_bytes:
            raise RefusedError(413, "size", f"{size} bytes are more than {self.limits.max_bytes}", hint="ask for fewer")
        self.kept.forget(asked.forget)
        return _message(answer_message("", "", found, [one.binary for one in asked.outputs], asked.request_id))

    def _found(self, name: str) -> np.ndarray:
        """What is kept under that id. Raises `RefusedError`."""
        array = self.kept.get(name)
        if array is None:
            raise RefusedError(410, "forgotten", f"nothing is kept as {name[:50]!r} any more", hint="send it again")
        return array

    def _whole(self, tensor: Tensor | KeptTensor) -> Tensor:
        """An input with its numbers. Raises `RefusedError`, and `InputError` where it is not as it is said to be."""
        if isinstance(tensor, Tensor):
            return tensor
        array = self._found(tensor.id)
        if array.dtype != tensor.dtype or array.shape != tensor.shape:
            raise InputError(
                f"the input `{tensor.name[:50]}` is kept as {array.dtype} of shape {array.shape}, "
                f"not as {tensor.dtype} of {tensor.shape}"
            )
        return Tensor(tensor.name, array)

    def _until_us(self, head: Head, came_us: int) -> int:
        """Until when an answer is of use. Raises `RefusedError` where that has passed."""
        text = head.headers.get(TIMEOUT.lower())
        if text is None:
            return came_us + round(self.limits.longest_wait_s * 1e6)
        if text.startswith("-") or text == "0":
            raise RefusedError(504, "late", "the deadline has passed already")
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise InputError(f"the header {TIMEOUT} is no number of microseconds: {text[:50]}")
        return came_us + int(text)

    def _once(
        self,
        request: str,
        model: Served,
        body: bytes,
        json_length: int | None,
        until_us: int,
        is_gone: Callable[[], bool],
    ) -> Reply:
        """As `_run`, but for a request that was here before: that is given the answer of before."""
        # All of it, since somebody else's may have the same id.
        key = request, model.name, model.version, json_length, hashlib.sha256(body).digest()
        while not self._remembered.begin(key):
            self.counts.refuse("again")
            try:
                was_run, answer = self._remembered.again(key, (until_us - self._clock.now_us()) / 1e6)
            except TimeoutError:
                raise RefusedError(
                    504, "late", "the deadline passed while the request ran that was sent first"
                ) from None
            if answer is not None:
                return answer
            if was_run:
                raise RefusedError(409, "forgotten", "this request was run before, and its answer is not kept any more")
        try:
            reply = self._run(model, body, json_length, until_us, is_gone)
        except BaseException:
            self._remembered.forget(key)
            raise
        # Bytes of its own, since views keep all of what they are views of: an array, or the request.
        reply = Reply(reply.status, (b"".join(reply.parts),), reply.headers, reply.closes, reply.model)
        self._remembered.end(key, reply, reply.size)
        return reply

    def _run(
        self, model: Served, body: bytes, json_length: int | None, until_us: int, is_gone: Callable[[], bool]
    ) -> Reply:
        asked = self._asked(body, json_length)
        self.kept.forget(asked.forget)
        for tensor in asked.inputs:  # What is not there is said at once: nobody needs to wait for a turn for that.
            self._whole(tensor)
        waits_us = self._clock.now_us()
        with self._room.turn((until_us - waits_us) / 1e6) as held:
            begins_us = self._clock.now_us()
            if not held or begins_us >= until_us:
                raise RefusedError(504, "late", "the deadline passed while the request waited for its turn")
            if is_gone():
                self.counts.refuse("gone")
                raise GoneError("who asked has hung up")
            # Anew: whoever waits would hold what others have pushed out of the room for what is kept.
            inputs = [self._whole(tensor) for tensor in asked.inputs]
            try:
                outputs = model.infer(inputs, [one.name for one in asked.outputs])
            except InputError:
                raise
            except LeoError as error:
                return refusal(RefusedError(500, "failed", str(error), hint=error.hint), model=model.name)
            run_us = self._clock.now_us() - begins_us
        self.counts.ran(model.name, run_us, begins_us - waits_us)
        given = self._kept(outputs, asked) if asked.outputs else outputs
        binary = [one.binary for one in asked.outputs] or [asked.all_binary] * len(outputs)
        message = answer_message(model.name, model.version, given, binary, asked.request_id)
        return _message(message, model.name, {RUN_US: run_us, WAIT_US: begins_us - waits_us})

    def _kept(self, outputs: Sequence[Tensor], asked: Request) -> list[Tensor | KeptTensor]:
        """What is answered: an output that is kept, and that is not wanted beside, by its id alone.

        One for which there is no room is answered itself, so that it is not lost, and so are all where they would push
        each other out; so is one that is not finite, since that may be a mistake.
        """
        given: list[Tensor | KeptTensor] = []
        fits = self.kept.fits([tensor.array for tensor, one in zip(outputs, asked.outputs, strict=True) if one.keep])
        for tensor, one in zip(outputs, asked.outputs, strict=True):
            is_kept = bool(one.keep) and fits and _is_finite(tensor.array) and self.kept.keep(one.keep, tensor.array)
            if is_kept and not one.bring:
                given.append(KeptTensor(tensor.name, one.keep, tensor.array.dtype, tensor.array.shape))
            else:
                given.append(tensor)
        return given


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def refusal(error: RefusedError, *, closes: bool = False, model: str = "") -> Reply:
    """The answer that says why a request is not run, or why it failed."""
    said = f"{error}; {error.hint}" if error.hint else str(error)
    body = json.dumps({"error": printable(said)}).encode()
    more = {"Retry-After": "1"} if error.status == 503 else {}
    more |= {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return Reply(error.status, (body,), {"Content-Type": "application/json", **more}, closes, model)


def _json(said: Any, status: int = 200) -> Reply:
    return Reply(status, (json.dumps(said).encode(),), {"Content-Type": "application/json"})


def _message(message: Message, model: str = "", more: Mapping[str, int] | None = None) -> Reply:
    headers: dict[str, str | int] = {**(more or {}), "Content-Type": "application/json"}
    if message.tensors:
        headers |= {"Content-Type": "application/octet-stream", JSON_LENGTH: len(message.json)}
    return Reply(200, (message.json, *message.tensors), headers, model=model)


def _unknown(path: tuple[str, ...]) -> RefusedError:
    return RefusedError(
        404, "unknown", f"there is nothing at /{'/'.join(path)[:200]}", hint="GET /v2 says what is here"
    )

"""A processor that is a server: its kernels send their inputs there, and get the outputs back."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any
from urllib.parse import quote

import numpy as np

from leo_backends.checked import require_inputs
from leo_backends.remote.answers import Answer, is_of_another, refused
from leo_backends.remote.calls import SPARE_BYTES, Call
from leo_backends.remote.grpc_pool import GrpcPool
from leo_backends.remote.options import options_of, place_of
from leo_backends.remote.pool import Pool
from leo_runtime.back_off import wait_us
from leo_runtime.backend import DeviceRun, Kernel
from leo_runtime.backend.keeping import ForgottenError, KeptArray, KeptRun, KeptValue, Passed
from leo_runtime.backend.open_inference import (
    BINARY,
    JSON_LENGTH,
    KEPT,
    MOST_FORGOTTEN,
    SAMPLES,
    TYPES,
    Asked,
    KeptTensor,
    Tensor,
    read_answer,
    read_json,
    request_message,
)
from leo_runtime.backend.stage_identity import identity
from leo_runtime.clock import WallClock
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import DeviceUnavailableError, InputError, KernelError, printable
from leo_runtime.operators.definition import shown
from leo_runtime.operators.outputs import one_value

STAGES = "leo_stages"
"""The extension of `leo-runtime serve`: stages by what they are, requests by ids, and how long runs took."""
FLOAT32 = np.dtype("float32")
UNAUTHORIZED, GONE = 401, 410
"""The statuses for a token that is wrong, and for an input that the server does not keep any more."""
MOST_UNNEEDED = 10_000
"""Of more the oldest are left to their age."""
JSON_BYTES_PER_VALUE = 32
MOST_METADATA_BYTES = 1 << 20
PATIENCES = 2
"""So many times as long as a connection may take."""
FIRST_WAIT_US, LONGEST_WAIT_US = 50_000, 2_000_000
"""Between attempts to find a server that is waited for."""


class RemoteBackend:
    """Runs stages on a server that speaks the Open Inference Protocol v2. From any thread."""

    name = "remote"

    def __init__(self, processor: Processor) -> None:
        """Asks the server what it is.

        Raises `DocumentError` for wrong options, `DeviceUnavailableError` where it is not there, `KernelError` where it
        answers no, `MissingExtraError` for one of gRPC where there is none.
        """
        options = options_of(processor)
        self._models: Mapping[str, str] = options.models
        place = place_of(options, processor.name)
        self._pool: Pool | GrpcPool = GrpcPool(place) if place.is_grpc else Pool(place)
        self._patience_us = round(PATIENCES * place.connect_timeout_s * 1e6)
        """How long it is waited for when it is asked whether it is there."""
        try:
            said = self._first_asked(f"processor `{processor.name}`", options.wait_s)
        except BaseException:
            self._pool.close()
            raise
        extensions = said.get("extensions")
        extensions = extensions if isinstance(extensions, list) else []
        self._knows_stages = self._pool.remembers = STAGES in extensions
        lists_bytes = place.is_grpc or BINARY in extensions
        self._binary = options.binary if options.binary is not None else lists_bytes
        self.keeps = KEPT in extensions and self._knows_stages and self._binary and not place.is_grpc
        self._takes_samples = SAMPLES in extensions and not place.is_grpc
        self._unneeded: deque[str] = deque(maxlen=MOST_UNNEEDED)
        """Ids of what the server keeps and nobody needs: it is told with the next request."""
        self.driver = printable(f"{said.get('name', 'server')} {said.get('version', '')}".strip()[:200])
        self._session, self._numbers = secrets.token_hex(8), count()

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """Whether a server can run it: what nobody computes it cannot, nor what keeps state, which would start anew.

        Whether this server has it turns out as it is loaded.
        """
        return not stage.operator.only_costs and stage.keeping(variant) is None

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        """Ask the server for the stage. Raises `KernelError`, `DeviceUnavailableError`."""
        if not self.supports(stage, variant):
            raise KernelError(f"no server can run stage `{stage.name}` of operator `{stage.operator.name}`")
        is_same = self._knows_stages and stage.name not in self._models
        if is_same:
            path = f"/v2/models/{quote(identity(stage, variant), safe='')}"
        else:
            name, slash, version = self._models.get(stage.name, stage.name).partition("/")
            path = f"/v2/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if slash else "")
        said = self.asked(path, f"stage `{stage.name}`")
        kind = KeepingRemoteKernel if self.keeps else TimedRemoteKernel if self._knows_stages else RemoteKernel
        return kind(self, stage, path, _inputs_of(said, stage, self._pool.calls.url, is_same=is_same))

    def close(self) -> None:
        """Hang up, also on runs that are under way. Closing twice is fine."""
        self._pool.close()

    def put(self, arrays: Sequence[np.ndarray], most_us: int | None, /) -> tuple[KeptValue, Passed]:
        """Have the server keep the arrays of a value. Raises `KernelError`, `DeviceUnavailableError`."""
        tensors = [Tensor(self.new_id(), array) for array in arrays]
        sent_bytes, answer, _ = self._said("/v2/kept", tensors, (), "a value cannot be sent", most_us=most_us)
        kept = KeptValue(tuple([KeptArray(one.name, one.array.dtype, one.array.shape) for one in tensors]))
        return kept, _passed(sent_bytes, answer)

    def fetch(self, kept: KeptValue, most_us: int | None, /) -> tuple[list[np.ndarray], Passed]:
        """The arrays of a value that the server keeps. Raises as `put`, and `ForgottenError`."""
        wanted = [Asked(one.id) for one in kept.arrays]
        size = sum(one.dtype.itemsize * prod(one.shape) for one in kept.arrays)
        what = "a value cannot be fetched"
        sent_bytes, answer, found = self._said("/v2/kept/bring", (), wanted, what, size, most_us=most_us)
        arrays = [one.array for one in found if isinstance(one, Tensor)]
        if [(array.dtype, array.shape) for array in arrays] != [(one.dtype, one.shape) for one in kept.arrays]:
            raise KernelError(f"{what}: the server {self._pool.calls.url} gave another one")
        return arrays, _passed(sent_bytes, answer)

    def forget(self, kept: Sequence[KeptValue], /) -> None:
        """Nobody needs these any more."""
        self._unneeded.extend([one.id for value in kept for one in value.arrays])

    def new_id(self) -> str:
        """What nobody else can guess: of a request, or of a tensor that is kept."""
        return f"{self._session}-{next(self._numbers)}"

    def infer(
        self,
        stage: BoundStage,
        path: str,
        inputs: Sequence[Tensor | KeptTensor],
        call: Call,
        outputs: Sequence[Asked] = (),
    ) -> tuple[int, Answer, tuple[Tensor | KeptTensor, ...]]:
        """The bytes that were sent, the answer, and the stage's outputs in it.

        Raises `KernelError`, `DeviceUnavailableError`, and `ForgottenError` for an input that is kept no longer.
        """
        size = stage.output_bytes() * (1 if self._binary else JSON_BYTES_PER_VALUE)
        return self._said(path, inputs, outputs, f"stage `{stage.name}` failed", size, call=call, once=True)

    def _said(
        self,
        path: str,
        inputs: Sequence[Tensor | KeptTensor],
        outputs: Sequence[Asked],
        what: str,
        most_bytes: int = 0,
        *,
        call: Call | None = None,
        once: bool = False,
        most_us: int | None = None,
    ) -> tuple[int, Answer, tuple[Tensor | KeptTensor, ...]]:
        """The bytes of a message with tensors, its answer, and the tensors in that. Raises as `infer` does."""
        # Models on servers of other makes put what they like into the id of an answer.
        request_id = self.new_id() if self._knows_stages else ""
        try:
            message = request_message(
                inputs,
                outputs,
                binary=self._binary,
                request_id=request_id,
                forget=self._no_longer_needed(),
                samples=self._takes_samples,
            )
        except InputError as error:
            raise KernelError(f"{what}: it cannot be sent ({error})", hint=error.hint) from None
        headers = {"Content-Type": "application/json"}
        if message.tensors:
            headers = {"Content-Type": "application/octet-stream", JSON_LENGTH: str(len(message.json))}
        if self._pool.remembers and once:
            headers["Leo-Request-Id"] = request_id
        answer = self._answer(
            "POST",
            path,
            (message.json, *message.tensors),
            headers,
            most_bytes=most_bytes + SPARE_BYTES,
            call=call,
            once=once,
            most_us=most_us,
        )
        if answer.status == GONE and self.keeps:
            raise ForgottenError(str(refused(self._pool.calls.url, answer, what)))
        if answer.status != 200 or is_of_another(answer):
            raise refused(self._pool.calls.url, answer, what)
        try:
            found = read_answer(answer.body, answer.json_length, request_id) if once or outputs else ()
        except InputError as error:
            self._pool.forget_idle()
            raise KernelError(f"{what}: {self._pool.calls.url} answered what is no answer ({error})") from None
        return message.size, answer, found

    def _answer(self, method: str, path: str, *more: Any, **options: Any) -> Answer:
        """As `Pool.ask`; where the token does not count any more, by the one that its file holds now."""
        asked = self._pool.calls.headers
        answer = self._pool.ask(method, path, *more, **options)
        if answer.status == UNAUTHORIZED and self._pool.calls.renew_token(asked):  # Nothing has run.
            answer = self._pool.ask(method, path, *more, **options)
        return answer

    def _no_longer_needed(self) -> list[str]:
        ids: list[str] = []
        with suppress(IndexError):
            while len(ids) < MOST_FORGOTTEN:
                ids.append(self._unneeded.popleft())
        return ids

    def value(self, stage: BoundStage, outputs: Sequence[Tensor]) -> np.ndarray:
        """What a stage gives, of the outputs in an answer. Raises `KernelError` where they are not as it promises."""
        promised, url = stage.outputs, self._pool.calls.url
        if len(outputs) != len(promised):
            raise KernelError(
                f"stage `{stage.name}` gives {len(promised)} arrays, the server {url} gave {len(outputs)}"
            )
        names = [output.name for output in promised]
        given = [tensor.name for tensor in outputs]
        if given != names and sorted(given) == sorted(names):  # Else they go by their order.
            outputs = sorted(outputs, key=lambda tensor: names.index(tensor.name))
        arrays = []
        for tensor, output in zip(outputs, promised, strict=True):
            wanted = np.dtype(output.data_type) if stage.several else FLOAT32
            array = tensor.array
            if array.dtype == wanted and array.shape == output.shape:
                arrays.append(array)
                continue
            is_same = _without_ones(array.shape) == _without_ones(output.shape)  # Others add an axis for batches.
            is_packed = not is_same and output.allows(array.shape)
            if not (is_same or is_packed) or not np.can_cast(array.dtype, wanted, "same_kind"):
                raise KernelError(
                    f"stage `{stage.name}` gives {wanted} of shape {shown(output.shape)}, the server {url} "
                    f"gave {array.dtype} of shape {shown(array.shape)}"
                )
            shape = array.shape if is_packed else output.shape
            arrays.append(array.astype(wanted, copy=False).reshape(shape))
        return one_value(arrays, names)

    def _first_asked(self, what: str, most_s: float) -> dict[str, Any]:
        """What the server says of itself, once it is there. Raises as `asked` does."""
        clock = WallClock()
        for in_vain in count():
            try:
                return self.asked("/v2", what)
            except DeviceUnavailableError:
                left_us = round(most_s * 1e6) - clock.now_us()
                if left_us <= 0:
                    raise
            clock.wait_until_us(clock.now_us() + min(left_us, wait_us(in_vain, FIRST_WAIT_US, LONGEST_WAIT_US)))
        raise AssertionError("it is asked until it answers, or long enough")

    def ask(self, path: str, what: str) -> None:
        """Whether the server is there and has that. Raises as `asked` does."""
        self._pool.forget_idle()  # Nobody knows whether connections that are there lead anywhere.
        self.asked(path, what, self._patience_us)

    def asked(self, path: str, what: str, most_us: int | None = None) -> dict[str, Any]:
        """What the server says there, in `most_us` at most.

        Raises `DeviceUnavailableError` where it is not there, `KernelError` where it answers no.
        """
        answer = self._answer("GET", path, most_bytes=MOST_METADATA_BYTES, most_us=most_us)
        if answer.status != 200 or is_of_another(answer):
            raise refused(self._pool.calls.url, answer, what)
        try:
            return read_json(answer.body)
        except InputError as error:
            raise KernelError(
                f"{what}: {self._pool.calls.url} does not speak the Open Inference Protocol v2 ({error})",
                hint="is that the right port?",
            ) from None


@dataclass(frozen=True, slots=True)
class _Input:
    """An input as the model takes it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None = None
    """The type of floats that it takes in place of float32."""

    def of(self, array: np.ndarray) -> np.ndarray:
        """An input so. What is shorter is packed."""
        if self.dtype is not None and array.dtype == np.float32:
            with np.errstate(over="ignore"):  # Infinite is what that number is there.
                array = array.astype(self.dtype)
        return array if array.size < prod(self.shape) else array.reshape(self.shape)


class RemoteKernel:
    """A stage on a server."""

    def __init__(self, backend: RemoteBackend, stage: BoundStage, path: str, inputs: Sequence[_Input]) -> None:
        self._backend, self._stage, self._path, self._inputs = backend, stage, path, inputs
        self._call: Call | None = None

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Have the stage computed. Raises `KernelError`, `DeviceUnavailableError`."""
        return self._infer(inputs)[0]

    def ask(self) -> None:
        """Whether the server is there and has the stage. Raises `KernelError`, `DeviceUnavailableError`."""
        self._backend.ask(self._path, f"stage `{self._stage.name}`")

    def abandon(self) -> None:
        """Hang up on the run at hand, which then raises `KernelError`."""
        call = self._call
        if call is not None:
            call.give_up()

    def _infer(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, Answer]:
        require_inputs(self._stage, inputs)
        _, answer, outputs = self._said(inputs)
        return self._backend.value(self._stage, _whole(outputs)), answer

    def _said(
        self, inputs: Sequence[np.ndarray | KeptArray], outputs: Sequence[Asked] = ()
    ) -> tuple[int, Answer, tuple[Tensor | KeptTensor, ...]]:
        tensors = [
            KeptTensor(taken.name, array.id, array.dtype, array.shape)
            if isinstance(array, KeptArray)
            else Tensor(taken.name, taken.of(array))
            for taken, array in zip(self._inputs, inputs, strict=True)
        ]
        self._call = call = Call()
        try:
            return self._backend.infer(self._stage, f"{self._path}/infer", tensors, call, outputs)
        finally:
            self._call = None


class TimedRemoteKernel(RemoteKernel):
    """A stage on a server that says how long it ran."""

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        """Have the stage computed; the device's time is the server's. Raises as a call does."""
        output, answer = self._infer(inputs)
        return DeviceRun(output, answer.run_us or 0)


class KeepingRemoteKernel(TimedRemoteKernel):
    """A stage on a server that keeps what its stages give each other."""

    def run(self, inputs: Sequence[np.ndarray | KeptArray], /, *, keep: bool, bring: bool) -> KeptRun:
        """Have the stage computed. Raises as a call does, and `ForgottenError`."""
        whole = [array for array in inputs if not isinstance(array, KeptArray)]
        if len(whole) == len(inputs):
            require_inputs(self._stage, whole)
        backend, stage = self._backend, self._stage
        names = [output.name for output in stage.outputs]
        asked = [Asked(name, keep=backend.new_id(), bring=bring) for name in names] if keep else ()
        sent_bytes, answer, outputs = self._said(inputs, asked)
        passed = _passed(sent_bytes, answer)
        there = tuple([KeptArray(one.id, one.dtype, one.shape) for one in outputs if isinstance(one, KeptTensor)])
        if not keep:
            return KeptRun(backend.value(stage, _whole(outputs)), None, answer.run_us or 0, passed)
        if bring:
            came = _whole(outputs)
            kept = [
                KeptArray(one.keep, got.array.dtype, got.array.shape) for one, got in zip(asked, came, strict=False)
            ]
            return KeptRun(backend.value(stage, came), KeptValue(tuple(kept)), answer.run_us or 0, passed)
        if len(there) == len(names):
            return KeptRun(None, KeptValue(there), answer.run_us or 0, passed)
        return KeptRun(backend.value(stage, self._brought(outputs)), None, answer.run_us or 0, passed)

    def _brought(self, outputs: Sequence[Tensor | KeptTensor]) -> list[Tensor]:
        """All outputs, of which only some could be kept for want of room."""
        there = KeptValue(
            tuple([KeptArray(one.id, one.dtype, one.shape) for one in outputs if isinstance(one, KeptTensor)])
        )
        try:
            arrays = iter(self._backend.fetch(there, None)[0] if there.arrays else [])
        finally:
            self._backend.forget([there])
        return [one if isinstance(one, Tensor) else Tensor(one.name, next(arrays)) for one in outputs]


def _passed(sent_bytes: int, answer: Answer) -> Passed:
    queued_us = answer.queued_us or 0
    server_us = queued_us + (answer.run_us or 0)
    return Passed(sent_bytes, len(answer.body), answer.took_us, server_us, queued_us, answer.answered_us)


def _whole(outputs: Sequence[Tensor | KeptTensor]) -> list[Tensor]:
    """Outputs, none of which is to stay there."""
    return [one for one in outputs if isinstance(one, Tensor)]


def _inputs_of(said: Mapping[str, Any], stage: BoundStage, url: str, *, is_same: bool) -> list[_Input]:
    """A model's inputs, in order: as the stage's, or with an axis of 1 before them, for batches.

    With `is_same` the model is this very stage, which takes whatever it does here. Where the server does not say, they
    are `input_0` and so on. Raises `KernelError` where they are not the stage's, or of a type that no float32 goes as.
    """
    listed = said.get("inputs") or [{"name": f"input_{n}", "shape": list(s)} for n, s in enumerate(stage.input_shapes)]
    found: list[_Input] = []
    if isinstance(listed, list) and len(listed) == len(stage.input_shapes):
        for one, shape in zip(listed, stage.input_shapes, strict=True):
            name, has = (one.get("name"), one.get("shape")) if isinstance(one, dict) else (None, None)
            taken = next((way for way in (tuple(shape), (1, *shape)) if _fits(way, has)), None)
            if isinstance(name, str) and taken is not None:
                floats = None if is_same else _other_floats(one, stage, len(found), url)
                found.append(_Input(name, taken, floats))
    if len(found) != len(stage.input_shapes):
        raise KernelError(
            f"stage `{stage.name}` has inputs of the shapes {', '.join(map(shown, stage.input_shapes))}, the model on "
            f"{url} is for others",
            hint="name the right one in the processor's options: models",
        )
    return found


def _other_floats(said: Mapping[str, Any], stage: BoundStage, place: int, url: str) -> np.dtype[Any] | None:
    """The type of floats that a model wants, where it is another than float32. Raises `KernelError`."""
    wanted = said.get("datatype")
    is_own = stage.operator.is_source or place < len(stage.takes)  # It may be stored otherwise than as float32.
    if is_own or not isinstance(wanted, str) or wanted == "FP32":
        return None
    if wanted in ("FP16", "FP64"):
        return TYPES[wanted].newbyteorder("=")
    raise KernelError(
        f"stage `{stage.name}` gives its model on {url} numbers of float32, which takes {printable(wanted)[:50]}",
        hint="name one in `models` that takes FP32, FP16 or FP64",
    )


def _fits(shape: Sequence[int], has: Any) -> bool:
    """Whether an array may be so by the model's own account, of which -1 is any length."""
    return (
        isinstance(has, list)
        and len(has) == len(shape)
        and all(wanted in (-1, length) for wanted, length in zip(has, shape, strict=True))
    )


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]

"""The Open Inference Protocol (v2) as bytes: tensors in requests and answers, also by the binary tensor extension.

A message is JSON; with the extension the tensors' bytes follow it, little-endian, in the order in which the JSON names
them, and the header `Inference-Header-Content-Length` says where they begin. Pure functions: who sends and who answers
are `leo_backends.remote` and `leo_runtime.serving`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from leo_runtime.backend.as_samples import STEPS, as_samples, from_samples
from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

JSON_LENGTH = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body are JSON."""
BINARY = "binary_tensor_data"
"""The extension's name, as servers list it."""
KEPT = "leo_kept"
"""The extension by which a server keeps tensors under ids that the client gives: those it is sent to keep, and outputs.
An input names one in place of data. It is also the parameter that does so; an output that is to be kept has `KEEP`."""
SAMPLES = "leo_samples"
"""The extension by which tensors of float32 go as the samples that they hold (`as_samples`), and their parameter."""
KEEP, BRING, FORGET = "leo_keep", "leo_bring", "leo_forget"

TYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"INT{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
"""The protocol's names of data types; its `BYTES` is of no use here."""
NAMES = {dtype.newbyteorder("="): name for name, dtype in TYPES.items()}

MOST_TENSORS, MOST_AXES, LONGEST_NAME = 256, 16, 1_000
LONGEST_ID = 100
"""Of a tensor that is kept."""
MOST_FORGOTTEN = 1_000
"""Ids in one request."""
MOST_VALUES = 1 << 48
"""Of a tensor, where an axis of length 0 counts as 1: numpy has no larger ones, not even empty ones."""
MOST_JSON_BYTES = 4 << 20
"""Numbers in JSON take some eight times as much memory as text: what is larger goes as binary."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array with its name."""

    name: str
    array: np.ndarray


@dataclass(frozen=True, slots=True)
class KeptTensor:
    """A tensor that the server keeps, by its id."""

    name: str
    id: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """An output that is asked for."""

    name: str
    binary: bool = True
    """Whether it is wanted as bytes."""
    keep: str = ""
    """The id under which it is to be kept; empty: it is not."""
    bring: bool = True
    """Whether it is wanted in the answer: of one that is kept also without."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: JSON, padded so that what follows it is aligned, and the bytes of tensors."""

    json: bytes
    tensors: tuple[memoryview, ...] = ()

    @property
    def size(self) -> int:
        """Of all of it, in bytes."""
        return len(self.json) + sum(len(part) for part in self.tensors)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks to have inferred."""

    inputs: tuple[Tensor | KeptTensor, ...]
    outputs: tuple[Asked, ...] = ()
    """(): all there are."""
    all_binary: bool = False
    """Whether these are wanted as bytes, where none is named."""
    request_id: str = ""
    forget: tuple[str, ...] = ()
    """The ids of what is to be kept no longer."""


def request_message(
    inputs: Sequence[Tensor | KeptTensor],
    outputs: Sequence[Asked] = (),
    *,
    binary: bool = True,
    request_id: str = "",
    forget: Sequence[str] = (),
    samples: bool = False,
) -> Message:
    """The request for these outputs, or for all; `samples`: what can go as recorded samples does.

    Raises `InputError` for a type that the protocol has not.
    """
    listed, parts = _listed(inputs, [binary] * len(inputs), samples=samples)
    said: dict[str, Any] = ({"id": request_id} if request_id else {}) | {"inputs": listed}
    parameters: dict[str, Any] = {FORGET: list(forget)} if forget else {}
    if outputs:
        said["outputs"] = [{"name": one.name, "parameters": _wishes(one)} for one in outputs]
    elif binary:
        parameters["binary_data_output"] = True
    return Message(_json(said | ({"parameters": parameters} if parameters else {})), parts)


def answer_message(
    model: str, version: str, outputs: Sequence[Tensor | KeptTensor], binary: Sequence[bool], request_id: str
) -> Message:
    """The answer with these outputs. Raises `InputError` for one that goes as JSON and holds NaN or infinity."""
    listed, parts = _listed(outputs, binary)
    said = {"model_name": model, "model_version": version, "outputs": listed}
    return Message(_json(said | ({"id": request_id} if request_id else {})), parts)


def read_request(body: bytes, json_length: int | None) -> Request:
    """What a request's body says. Raises `InputError` for whatever the protocol does not allow."""
    said, binary = _read(body, json_length)
    inputs = _tensors(said.get("inputs"), binary, "inputs")
    parameters = _parameters(said, "the request")
    asked = said.get("outputs") or []
    if not isinstance(asked, list) or len(asked) > MOST_TENSORS:
        raise InputError(f"`outputs` is no list of at most {MOST_TENSORS}")
    wanted: dict[str, Asked] = {}
    all_binary = parameters.get("binary_data_output") is True
    for number, output in enumerate(asked):
        where = f"outputs[{number}]"
        name, wishes = _name(output, where), _parameters(output, where)
        if name in wanted:
            raise InputError(f"the output {name[:50]!r} is asked for twice")
        keep = _id(wishes[KEEP], where) if KEEP in wishes else ""
        bring = not keep or wishes.get(BRING) is True
        wanted[name] = Asked(name, bool(wishes.get("binary_data", all_binary)), keep, bring)
    ids = [one.keep for one in wanted.values() if one.keep]
    if len(set(ids)) < len(ids):
        raise InputError("two outputs are to be kept under one id")
    request_id = said.get("id") or ""
    if not isinstance(request_id, str) or len(request_id) > LONGEST_NAME:
        raise InputError(f"`id` is no text of at most {LONGEST_NAME} characters")
    return Request(inputs, tuple(wanted.values()), all_binary, request_id, _forgotten(parameters.get(FORGET, [])))


def read_answer(body: bytes, json_length: int | None, request_id: str = "") -> tuple[Tensor | KeptTensor, ...]:
    """The outputs that an answer's body holds. Raises `InputError` for whatever the protocol does not allow.

    Nor may it be the answer to another request than that of `request_id`, where it says to which.
    """
    said, binary = _read(body, json_length)
    if request_id and (said.get("id") or request_id) != request_id:
        raise InputError(f"it is the answer to {said['id']!r:.100}, not to {request_id!r}")
    return _tensors(said.get("outputs"), binary, "outputs")


def read_json(text: bytes | memoryview) -> dict[str, Any]:
    """An object of JSON. Raises `InputError` for anything else."""
    if len(text) > MOST_JSON_BYTES:
        raise InputError(
            f"{len(text)} bytes of JSON are more than {MOST_JSON_BYTES}", hint="send tensors as binary data"
        )
    try:
        said = _DECODER.decode(str(text, json.detect_encoding(bytes(text[:4]))))
    except (ValueError, RecursionError) as error:
        raise InputError(f"that is no JSON ({str(error)[:200]})") from None
    if not isinstance(said, dict):
        raise InputError("that is no object of JSON")
    return said


def _read(body: bytes, json_length: int | None) -> tuple[dict[str, Any], memoryview]:
    length = len(body) if json_length is None else json_length
    if not 0 <= length <= len(body):
        raise InputError(f"{JSON_LENGTH} says {length}, and the body has {len(body)} bytes")
    whole = memoryview(body)
    return read_json(whole[:length]), whole[length:]


def _wishes(asked: Asked) -> dict[str, Any]:
    wishes: dict[str, Any] = {"binary_data": asked.binary}
    return wishes | ({KEEP: asked.keep, BRING: asked.bring} if asked.keep else {})


def _forgotten(ids: Any) -> tuple[str, ...]:
    if not isinstance(ids, list) or len(ids) > MOST_FORGOTTEN:
        raise InputError(f"`{FORGET}` is no list of at most {MOST_FORGOTTEN}")
    return tuple([_id(one, FORGET) for one in ids])


def _id(said: Any, where: str) -> str:
    if not isinstance(said, str) or not 0 < len(said) <= LONGEST_ID:
        raise InputError(f"{where} has no id of 1 to {LONGEST_ID} characters")
    return said


def _tensors(listed: Any, binary: memoryview, what: str) -> tuple[Tensor | KeptTensor, ...]:
    if not isinstance(listed, list) or len(listed) > MOST_TENSORS:
        raise InputError(f"`{what}` is no list of at most {MOST_TENSORS}")
    found: list[Tensor | KeptTensor] = []
    begin = 0
    for number, said in enumerate(listed):
        where = f"{what}[{number}]"
        name = _name(said, where)
        dtype, shape = _type(said, where), _shape(said, where)
        parameters = _parameters(said, where)
        if KEPT in parameters:
            found.append(KeptTensor(name, _id(parameters[KEPT], where), dtype.newbyteorder("="), shape))
            continue
        size = parameters.get("binary_data_size")
        if size is None:
            array = _from_json(said.get("data"), dtype, shape, where)
        else:
            wanted = dtype.itemsize * math.prod(shape)
            if size != wanted or isinstance(size, bool):
                raise InputError(f"{where} has binary_data_size {size!r:.50}, its type and shape take {wanted} bytes")
            if begin + wanted > len(binary):
                raise InputError(f"{where} ends at byte {begin + wanted} of the binary data, which has {len(binary)}")
            array = _from_bytes(binary[begin : begin + wanted], dtype, shape)
            begin += wanted
        if SAMPLES in parameters:
            if parameters[SAMPLES] is not True or array.dtype not in STEPS:
                raise InputError(f"{where} is no samples: these are UINT8 or INT16, with `{SAMPLES}` true")
            array = from_samples(array)
        found.append(Tensor(name, array))
    if begin != len(binary):
        raise InputError(f"the binary data has {len(binary)} bytes, of which tensors name {begin}")
    return tuple(found)


def _name(said: Any, where: str) -> str:
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(f"{where} has no `name` of 1 to {LONGEST_NAME} characters")
    return name


def _parameters(said: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = said.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InputError(f"`parameters` of {where} are no object")
    return parameters


def _type(said: dict[str, Any], where: str) -> np.dtype[Any]:
    name = said.get("datatype")
    if not isinstance(name, str) or name not in TYPES:
        raise InputError(f"{where} has datatype {name!r:.50}", hint=f"one of {', '.join(TYPES)}")
    return TYPES[name]


def _shape(said: dict[str, Any], where: str) -> tuple[int, ...]:
    shape = said.get("shape")
    if not isinstance(shape, list) or len(shape) > MOST_AXES:
        raise InputError(f"{where} has no `shape` of at most {MOST_AXES} axes")
    if not all(type(length) is int and 0 <= length < 1 << 32 for length in shape):
        raise InputError(f"{where} has the shape {shape!r:.100}", hint="lengths are whole numbers from 0 on")
    if math.prod(max(1, length) for length in shape) > MOST_VALUES:
        raise InputError(f"{where} has the shape {shape!r:.100}, which is larger than any array")
    return tuple(shape)


def _from_bytes(data: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    array: np.ndarray = np.frombuffer(data, dtype).reshape(shape) if len(data) else np.empty(shape, dtype)
    if not dtype.isnative:
        return array.astype(dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()


def _from_json(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], where: str) -> np.ndarray:
    if not isinstance(data, list):
        raise InputError(f"{where} has neither `data`, a list, nor binary data")
    if not _has_only_numbers(data):
        raise InputError(f"`data` of {where} is ragged, or not of numbers")
    try:
        array = np.array(data)
    except (ValueError, OverflowError):
        raise InputError(f"`data` of {where} is ragged, or not of numbers") from None
    if array.size == 0:
        array = array.astype(dtype)
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[dtype.kind]
    if array.dtype.kind not in kinds:
        raise InputError(f"`data` of {where} holds what {NAMES[dtype.newbyteorder('=')]} has not")
    if array.size != math.prod(shape) or (array.ndim > 1 and array.shape != shape):
        raise InputError(f"`data` of {where} has the shape {array.shape}, `shape` says {shape}")
    if dtype.kind in "iu" and array.size:
        ends = np.iinfo(dtype)
        if array.min() < ends.min or array.max() > ends.max:
            raise InputError(f"`data` of {where} holds a number outside of {ends.min} to {ends.max}")
    with np.errstate(over="ignore"):
        made = array.astype(dtype.newbyteorder("=")).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(made).all():
        raise InputError(f"`data` of {where} holds a number that is too great for its type")
    return made


def _has_only_numbers(data: list[Any]) -> bool:
    """Whether lists in lists hold numbers and truths alone: of texts numpy would make all as long as the longest."""
    for _ in range(MOST_AXES):
        kinds = set(map(type, data))
        if kinds != {list}:
            return kinds <= {int, float, bool}
        data = list(chain.from_iterable(data))
    return False


def _listed(
    tensors: Sequence[Tensor | KeptTensor], binary: Sequence[bool], *, samples: bool = False
) -> tuple[list[dict[str, Any]], tuple[memoryview, ...]]:
    listed: list[dict[str, Any]] = []
    parts: list[memoryview] = []
    for tensor, as_bytes in zip(tensors, binary, strict=True):
        if isinstance(tensor, KeptTensor):
            listed.append(
                {
                    "name": tensor.name,
                    "datatype": NAMES[tensor.dtype],
                    "shape": list(tensor.shape),
                    "parameters": {KEPT: tensor.id},
                }
            )
            continue
        array = tensor.array
        datatype = NAMES.get(array.dtype)
        if datatype is None:
            raise InputError(f"tensor `{tensor.name}` is of type {array.dtype}, which the protocol has not")
        said: dict[str, Any] = {"name": tensor.name, "datatype": datatype, "shape": list(array.shape)}
        if as_bytes:
            recorded = as_samples(array) if samples else None
            if recorded is not None:
                array, datatype = recorded, NAMES[recorded.dtype]
                said["datatype"] = datatype
            flat = np.ascontiguousarray(array, TYPES[datatype]).reshape(-1)
            said["parameters"] = {"binary_data_size": flat.nbytes} | ({} if recorded is None else {SAMPLES: True})
            parts.append(flat.view(np.uint8).data)
        else:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InputError(
                    f"tensor `{tensor.name}` holds NaN or infinity, which JSON cannot say",
                    hint='ask for it as binary data: "parameters": {"binary_data": true}',
                )
            said["data"] = array.reshape(-1).tolist()
        listed.append(said)
    return listed, tuple(parts)


def _json(said: dict[str, Any]) -> bytes:
    text = _ENCODER.encode(said).encode()
    return text + b" " * (-len(text) % 16)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


# Made once: to make one takes as long as what it is made for.
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_no_number)

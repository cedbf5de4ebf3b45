"""The Open Inference Protocol's gRPC messages, as what its HTTP says: JSON's objects, and the bytes of tensors behind.

Fields have the same names in both. So whoever answers or asks by HTTP, with the binary tensor extension, does so by
gRPC through these functions, and what is refused, bounded and counted is the same. Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from leo_runtime.backend.open_inference import MOST_TENSORS, TYPES
from leo_runtime.backend.protobuf_wire import Bytes, Field, Message, decode, encode
from leo_runtime.errors import InputError

SERVICE = "inference.GRPCInferenceService"
STATUS = "leo-status"
"""The metadata behind an answer that say the status which HTTP would have had; other servers do not."""

_PARAMETER: Message = {
    "bool_param": Field(1, "flag"),
    "int64_param": Field(2, "int"),
    "string_param": Field(3, "text"),
    "double_param": Field(4, "double"),
}
_PARAMETERS = {"key": Field(1, "text"), "value": Field(2, _PARAMETER)}
_CONTENTS: Message = {
    "bool_contents": Field(1, "bytes"),
    "int_contents": Field(2, "bytes"),
    "int64_contents": Field(3, "bytes"),
    "uint_contents": Field(4, "bytes"),
    "uint64_contents": Field(5, "bytes"),
    "fp32_contents": Field(6, "bytes"),
    "fp64_contents": Field(7, "bytes"),
}
"""Numbers that go together are bytes here: they become arrays, not lists."""
_TENSOR: Message = {
    "name": Field(1, "text"),
    "datatype": Field(2, "text"),
    "shape": Field(3, "int", is_list=True),
    "parameters": Field(4, _PARAMETERS, is_list=True),
    "contents": Field(5, _CONTENTS),
}
_WANTED: Message = {"name": Field(1, "text"), "parameters": Field(2, _PARAMETERS, is_list=True)}
_REQUEST: Message = {
    "model_name": Field(1, "text"),
    "model_version": Field(2, "text"),
    "id": Field(3, "text"),
    "parameters": Field(4, _PARAMETERS, is_list=True),
    "inputs": Field(5, _TENSOR, is_list=True),
    "outputs": Field(6, _WANTED, is_list=True),
    "raw_input_contents": Field(7, "bytes", is_list=True),
}
_ANSWER: Message = {
    "model_name": Field(1, "text"),
    "model_version": Field(2, "text"),
    "id": Field(3, "text"),
    "parameters": Field(4, _PARAMETERS, is_list=True),
    "outputs": Field(5, _TENSOR, is_list=True),
    "raw_output_contents": Field(6, "bytes", is_list=True),
}
_DESCRIBED: Message = {"name": Field(1, "text"), "datatype": Field(2, "text"), "shape": Field(3, "int", is_list=True)}

MODEL: Message = {"name": Field(1, "text"), "version": Field(2, "text")}
"""Which model is asked for."""
NOTHING: Message = {}
LIVE: Message = {"live": Field(1, "flag")}
READY: Message = {"ready": Field(1, "flag")}
SERVER: Message = {
    "name": Field(1, "text"),
    "version": Field(2, "text"),
    "extensions": Field(3, "text", is_list=True),
}
METADATA: Message = {
    "name": Field(1, "text"),
    "versions": Field(2, "text", is_list=True),
    "platform": Field(3, "text"),
    "inputs": Field(4, _DESCRIBED, is_list=True),
    "outputs": Field(5, _DESCRIBED, is_list=True),
}
INDEX: Message = {
    "models": Field(1, {"name": Field(1, "text"), "version": Field(2, "text"), "state": Field(3, "text")}, is_list=True)
}

_HELD: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""In which field numbers are that do not go as bytes, by data type; FP16 goes as bytes alone."""


def only(said: Mapping[str, Any], message: Message) -> dict[str, Any]:
    """What the message can say of it: JSON says more."""
    found: dict[str, Any] = {}
    for name, field in message.items():
        if name in said:
            one, kind = said[name], field.kind
            if isinstance(kind, Mapping):
                found[name] = [only(part, kind) for part in one] if field.is_list else only(one, kind)
            else:
                found[name] = one
    return found


def request_to_grpc(name: str, version: str, text: Bytes, tensors: Sequence[Bytes]) -> bytes:
    """The message of a request to a model, of which HTTP would say this text, and these tensors behind."""
    said = json.loads(bytes(text))
    outputs = [{"name": one["name"], **_said_parameters(one, "binary_data")} for one in said.get("outputs", ())]
    told = {"model_name": name, "model_version": version, **_id(said), **_said_parameters(said, "binary_data_output")}
    inputs, raw = _said_tensors(said["inputs"], tensors)
    return encode(told | {"inputs": inputs, "outputs": outputs, "raw_input_contents": raw}, _REQUEST)


def request_from_grpc(data: Bytes) -> tuple[str, str, bytes, bytes]:
    """Model, version, and the text and the tensors of a request as HTTP would have them. Raises `InputError`."""
    said = decode(data, _REQUEST)
    inputs, raw = _told_tensors(said, "inputs", "raw_input_contents")
    outputs = [{"name": one.get("name", ""), **_told_parameters(one)} for one in said.get("outputs", ())]
    parameters = _told_parameters(said).get("parameters", {}) | {"binary_data_output": True}
    text = _id(said) | {"inputs": inputs, "outputs": outputs, "parameters": parameters}
    return said.get("model_name", ""), said.get("model_version", ""), _json(text), raw


def answer_to_grpc(text: Bytes, tensors: Bytes) -> bytes:
    """The message of an answer of which HTTP would say this text, and these tensors behind."""
    said = json.loads(bytes(text))
    begin, parts = 0, []
    for one in said["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        if size is not None:
            parts.append(memoryview(tensors)[begin : begin + size])
            begin += size
    outputs, raw = _said_tensors(said["outputs"], parts)
    told = {"model_name": said["model_name"], "model_version": said["model_version"], **_id(said)}
    return encode(told | _said_parameters(said) | {"outputs": outputs, "raw_output_contents": raw}, _ANSWER)


def answer_from_grpc(data: Bytes) -> tuple[bytes, bytes]:
    """The text and the tensors of an answer as HTTP would have them. Raises `InputError`."""
    said = decode(data, _ANSWER)
    outputs, raw = _told_tensors(said, "outputs", "raw_output_contents")
    model = {name: said.get(name, "") for name in ("model_name", "model_version")}
    return _json(model | _id(said) | _told_parameters(said) | {"outputs": outputs}), raw


def _json(said: Mapping[str, Any]) -> bytes:
    text = json.dumps(said, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 16)


def _id(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": said["id"]} if said.get("id") else {}


def _said_parameters(said: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """`parameters` as the message has them, but for those that are of HTTP."""
    kinds: Mapping[type, str] = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    entries = [
        {"key": key, "value": {kinds[type(value)]: value}}
        for key, value in said.get("parameters", {}).items()
        if key not in without
    ]
    return {"parameters": entries} if entries else {}


def _told_parameters(said: Mapping[str, Any]) -> dict[str, Any]:
    """`parameters` as JSON has them; of what is given twice the last."""
    entries = said.get("parameters", ())
    found = {entry.get("key", ""): next(reversed(list(entry.get("value", {}).values())), None) for entry in entries}
    return {"parameters": found} if found else {}


def _said_tensors(
    listed: Sequence[dict[str, Any]], tensors: Sequence[Bytes]
) -> tuple[list[dict[str, Any]], list[Bytes]]:
    """Tensors as the message has them, and the bytes of each."""
    left = iter(tensors)
    raw = [next(left) if "binary_data_size" in one.get("parameters", {}) else b"" for one in listed]
    told = [
        {name: one[name] for name in ("name", "datatype", "shape") if name in one}
        | _said_parameters(one, "binary_data_size")
        for one in listed
    ]
    return told, raw


def _told_tensors(said: Mapping[str, Any], where: str, raw_name: str) -> tuple[list[dict[str, Any]], bytes]:
    """Tensors as JSON has them, and the bytes of all. Raises `InputError`."""
    listed, raw = said.get(where, []), said.get(raw_name, [])
    if len(listed) > MOST_TENSORS:
        raise InputError(f"`{where}` is no list of at most {MOST_TENSORS}")
    if raw and len(raw) != len(listed):
        raise InputError(f"there are {len(listed)} {where}, and bytes of {len(raw)} in `{raw_name}`")
    found, parts = [], []
    for number, one in enumerate(listed):
        part = raw[number] if raw else _numbers(one, f"{where}[{number}]")
        parameters = _told_parameters(one).get("parameters", {}) | {"binary_data_size": len(part)}
        told = {name: one[name] for name in ("name", "datatype") if name in one}
        found.append(told | {"shape": one.get("shape", []), "parameters": parameters})
        parts.append(part)
    return found, b"".join(parts)


def _numbers(tensor: Mapping[str, Any], where: str) -> Bytes:
    """The bytes of a tensor whose numbers are given one by one. Raises `InputError`."""
    datatype, contents = tensor.get("datatype", ""), tensor.get("contents", {})
    name = _HELD.get(datatype)
    if any(other != name for other in contents):
        raise InputError(f"{where} of datatype {datatype[:50]!r} has {', '.join(contents)}")
    if name is None or name not in contents:
        return b""
    wanted = TYPES[datatype]
    if wanted.kind == "f":
        return bytes(contents[name])
    numbers = _varints(np.frombuffer(contents[name], np.uint8), where)
    signed = numbers if wanted.kind == "u" else numbers.view(np.int64)
    made: np.ndarray = (numbers != 0) if wanted.kind == "b" else signed.astype(wanted)
    if wanted.kind != "b" and not np.array_equal(made, signed):
        raise InputError(f"{where} holds a number that {datatype} has not")
    return made.tobytes()


def _varints(data: np.ndarray, where: str) -> np.ndarray:
    """Numbers of 64 bits, as they are written together. Raises `InputError`."""
    ends = np.flatnonzero(data < 0x80)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        raise InputError(f"a number of {where} ends in the middle")
    if not len(data):
        return np.empty(0, np.uint64)
    begins = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - begins + 1
    if lengths.max() > 10:
        raise InputError(f"a number of {where} is longer than any")
    shifts = (7 * (np.arange(len(data)) - np.repeat(begins, lengths))).astype(np.uint64)
    return np.add.reduceat((data & np.uint8(0x7F)).astype(np.uint64) << shifts, begins)

"""The protocol's gRPC messages: as tritonclient's stubs read and write them, and whatever comes is read or refused."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.backend import inference_messages as messages
from leo_runtime.backend.open_inference import (
    MOST_TENSORS,
    TYPES,
    Asked,
    Tensor,
    answer_message,
    read_answer,
    read_request,
    request_message,
)
from leo_runtime.backend.protobuf_wire import MOST_REPEATED, Field, Message, decode, encode
from leo_runtime.errors import InputError


@pytest.fixture(scope="module")
def stubs() -> Any:
    """What a schema compiler made of the protocol."""
    pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
    return pytest.importorskip("tritonclient.grpc", reason="the extra `peers` is not installed").service_pb2


LONG = b"\x80" * 11 + b"\1"


def numbers(name: str) -> np.ndarray:
    """Of every type some, with the least and the greatest."""
    dtype = TYPES[name]
    if dtype.kind == "b":
        return np.array([True, False, True])
    ends = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([ends.min, 0, 1, ends.max], dtype)


def test_a_request_is_read_as_it_was_meant(stubs: Any) -> None:
    inputs = [Tensor(name, numbers(name)) for name in TYPES]
    message = request_message(inputs, [Asked("out")], request_id="7")
    data = messages.request_to_grpc("model", "2", message.json, message.tensors)
    said = stubs.ModelInferRequest.FromString(data)
    assert (said.model_name, said.model_version, said.id) == ("model", "2", "7")
    assert [(one.name, one.datatype, list(one.shape)) for one in said.inputs] == [
        (name, name, list(numbers(name).shape)) for name in TYPES
    ]
    assert list(said.raw_input_contents) == [numbers(name).tobytes() for name in TYPES]
    assert not said.parameters and not said.outputs[0].parameters, "these are words of HTTP"
    name, version, text, raw = messages.request_from_grpc(said.SerializeToString())
    assert (name, version) == ("model", "2")
    asked = read_request(text + raw, len(text))
    assert asked.outputs == (Asked("out", binary=True),) and asked.request_id == "7"
    for one, meant in zip(asked.inputs, inputs, strict=True):
        assert one.array.dtype == meant.array.dtype and np.array_equal(one.array, meant.array)


def test_numbers_may_come_one_by_one(stubs: Any) -> None:
    for name in TYPES.keys() - {"FP16"}:
        said = stubs.ModelInferRequest(model_name="m")
        one = said.inputs.add(name="x", datatype=name, shape=[len(numbers(name))])
        kind, size = TYPES[name].kind, 8 * TYPES[name].itemsize
        field = {"b": "bool", "f": f"fp{size}", "i": "int64" if size == 64 else "int"}.get(
            kind, "uint64" if size == 64 else "uint"
        )
        getattr(one.contents, f"{field}_contents").extend(numbers(name).tolist())
        _, _, text, raw = messages.request_from_grpc(said.SerializeToString())
        (read,) = read_request(text + raw, len(text)).inputs
        assert read.array.dtype == TYPES[name] and np.array_equal(read.array, numbers(name)), name


def test_an_answer_is_read_as_it_was_meant(stubs: Any) -> None:
    outputs = [Tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3)), Tensor("b", np.empty((0, 2), np.int8))]
    message = answer_message("model", "1", outputs, [True, True], "9")
    data = messages.answer_to_grpc(message.json, b"".join(message.tensors))
    said = stubs.ModelInferResponse.FromString(data)
    assert (said.model_name, said.model_version, said.id) == ("model", "1", "9")
    assert [len(part) for part in said.raw_output_contents] == [24, 0]
    text, raw = messages.answer_from_grpc(said.SerializeToString())
    for read, meant in zip(read_answer(text + raw, len(text), "9"), outputs, strict=True):
        assert read.name == meant.name and np.array_equal(read.array, meant.array)
        assert read.array.shape == meant.array.shape


def test_what_a_server_says_of_itself_and_of_models(stubs: Any) -> None:
    said = {"name": "n", "version": "1", "extensions": ["a", "b"], "more": 3}
    read = stubs.ServerMetadataResponse.FromString(encode(messages.only(said, messages.SERVER), messages.SERVER))
    assert (read.name, read.version, list(read.extensions)) == ("n", "1", ["a", "b"])
    model = stubs.ModelMetadataResponse(name="m", versions=["1"], platform="p")
    model.inputs.add(name="x", datatype="FP32", shape=[-1, 40])
    assert decode(model.SerializeToString(), messages.METADATA) == {
        "name": "m",
        "versions": ["1"],
        "platform": "p",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 40]}],
    }


def test_parameters_go_both_ways(stubs: Any) -> None:
    said = stubs.ModelInferRequest(model_name="m")
    for name, kind, value in (("a", "bool", True), ("b", "int64", -5), ("c", "string", "é"), ("d", "double", 0.5)):
        setattr(said.parameters[name], f"{kind}_param", value)
    _, _, text, raw = messages.request_from_grpc(said.SerializeToString())
    back = stubs.ModelInferRequest.FromString(messages.request_to_grpc("m", "", text, [raw]))
    assert back.parameters == said.parameters


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}], "raw_input_contents": [b"", b""]}, "bytes of 2"),
        ({"inputs": [{"name": str(n)} for n in range(MOST_TENSORS + 1)]}, "no list of at most"),
        ({"inputs": [{"name": "x", "shape": [1] * (MOST_REPEATED + 1)}]}, "`shape` is there more than"),
        (
            {"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "contents": {"int_contents": b"\x80\x01"}}]},
            "a number that INT8 has not",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "contents": {"fp32_contents": bytes(4)}}]},
            "of datatype 'INT8' has fp32_contents",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "contents": {"int_contents": b"\x80"}}]},
            "ends in the middle",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": LONG}}]},
            "longer than any",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        messages.request_from_grpc(encode(given, messages._REQUEST))


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (messages.request_from_grpc, messages.answer_from_grpc):
        try:
            read(data)
        except InputError as error:
            assert len(str(error)) < 300


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    message = request_message([Tensor("x", np.arange(4, dtype=np.int16)), Tensor("y", np.ones(2, np.float32))])
    whole = bytearray(messages.request_to_grpc("m", "1", message.json, message.tensors))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, _, text, raw = messages.request_from_grpc(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
        read_request(text + raw, len(text))
    except InputError:
        pass


TABLE: Message = {
    "flag": Field(1, "flag"),
    "number": Field(2, "int"),
    "ratio": Field(3, "double"),
    "text": Field(4, "text"),
    "data": Field(5, "bytes"),
    "numbers": Field(6, "int", is_list=True),
    "parts": Field(2_000, {"text": Field(1, "text", is_list=True)}, is_list=True),
}
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "flag": st.booleans(),
            "number": INT64,
            "ratio": st.floats(allow_nan=False),
            "text": st.text(max_size=300),
            "data": st.binary(max_size=300),
            "numbers": st.lists(INT64, min_size=1, max_size=9),
            "parts": st.lists(st.fixed_dictionaries({"text": st.lists(st.text(), min_size=1)}), min_size=1, max_size=3),
        },
    )
)
def test_what_is_written_is_read(said: dict[str, Any]) -> None:
    assert decode(encode(said, TABLE), TABLE) == said


def test_what_nobody_knows_is_skipped_and_of_what_is_twice_the_last_counts() -> None:
    more = encode({"ratio": math.pi, "text": "x"}, {"ratio": Field(9, "double"), "text": Field(8, "text")})
    data = encode({"number": 1}, TABLE) + more + b"\x75\0\0\0\0" + encode({"number": 2}, TABLE)
    assert decode(data, TABLE) == {"number": 2}
    assert decode(b"\x30\x01\x30\x02", TABLE) == {"numbers": [1, 2]}, "one by one, as old senders do"

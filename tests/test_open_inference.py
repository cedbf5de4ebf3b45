"""The Open Inference Protocol as bytes: what is written is read again, and what is wrong is said, whatever it is."""

import json
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend.open_inference import (
    TYPES,
    Asked,
    KeptTensor,
    Message,
    Tensor,
    answer_message,
    read_answer,
    read_json,
    read_request,
    request_message,
)
from leo_runtime.errors import InputError


def joined(message: Message) -> tuple[bytes, int | None]:
    return b"".join((message.json, *message.tensors)), len(message.json) if message.tensors else None


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = [
        rng.integers(0, 2, shape).astype(dtype.newbyteorder("="))
        for dtype in TYPES.values()
        for shape in ((), (0,), (3,), (2, 0, 4), (2, 3, 4))
    ]
    return [*found, rng.normal(size=(98, 40)).astype(np.float32)]


def array_of(tensor: Tensor | KeptTensor) -> np.ndarray:
    assert isinstance(tensor, Tensor)
    return tensor.array


@pytest.mark.parametrize("binary", [True, False])
def test_a_request_is_read_as_it_was_written(binary: bool) -> None:
    tensors = [Tensor(f"t{number}", array) for number, array in enumerate(arrays())]
    body, length = joined(request_message(tensors, [Asked("a", binary), Asked("b", binary)], binary=binary))
    asked = read_request(body, length)
    assert asked.outputs == (Asked("a", binary), Asked("b", binary))
    for sent, came in zip(tensors, asked.inputs, strict=True):
        assert isinstance(came, Tensor) and came.name == sent.name
        assert came.array.dtype == sent.array.dtype and came.array.shape == sent.array.shape
        assert np.array_equal(came.array, sent.array) and came.array.flags.aligned


def test_what_is_kept_goes_by_its_id() -> None:
    inputs = [KeptTensor("x", "a-1", np.dtype("float32"), (2, 3)), Tensor("y", np.ones(2, np.float32))]
    outputs = [Asked("p", keep="a-2", bring=False), Asked("q", keep="a-3"), Asked("r")]
    body, length = joined(request_message(inputs, outputs, forget=["a-0"]))
    asked = read_request(body, length)
    assert asked.inputs[0] == inputs[0] and isinstance(asked.inputs[1], Tensor)
    assert asked.outputs == tuple(outputs) and asked.forget == ("a-0",)
    given = KeptTensor("p", "a-2", np.dtype("int8"), ())
    body, length = joined(answer_message("m", "1", [given, Tensor("q", np.ones(2))], [True, True], ""))
    came = read_answer(body, length)
    assert came[0] == given and isinstance(came[1], Tensor)


@pytest.mark.parametrize(
    ("inputs", "more", "says"),
    [
        ({"leo_kept": ""}, {}, "has no id of 1 to 100 characters"),
        ({"leo_kept": "x" * 101}, {}, "has no id of 1 to 100 characters"),
        ({"leo_kept": 7}, {}, "has no id of 1 to 100 characters"),
        ({"leo_kept": "a"}, {"outputs": [{"name": "p", "parameters": {"leo_keep": []}}]}, "has no id of 1 to 100"),
        ({"leo_kept": "a"}, {"parameters": {"leo_forget": "a"}}, "`leo_forget` is no list of at most 1000"),
        ({"leo_kept": "a"}, {"parameters": {"leo_forget": ["a"] * 1_001}}, "`leo_forget` is no list of at most 1000"),
        ({"leo_kept": "a"}, {"parameters": {"leo_forget": [1]}}, "leo_forget has no id of 1 to 100 characters"),
    ],
)
def test_ids_that_are_none_are_refused(inputs: dict[str, Any], more: dict[str, Any], says: str) -> None:
    said = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "parameters": inputs}], **more}
    with pytest.raises(InputError, match=says):
        read_request(json.dumps(said).encode(), None)


def test_all_outputs_are_asked_for_as_bytes_at_once() -> None:
    body, length = joined(request_message([Tensor("x", np.ones(2, np.float32))]))
    asked = read_request(body, length)
    assert asked.all_binary and asked.outputs == ()


@pytest.mark.parametrize("binary", [True, False])
def test_an_answer_is_read_as_it_was_written(binary: bool) -> None:
    tensors = [Tensor(f"t{number}", array) for number, array in enumerate(arrays())]
    message = answer_message("m", "1", tensors, [binary] * len(tensors), "id")
    body, length = joined(message)
    for sent, came in zip(tensors, read_answer(body, length), strict=True):
        assert isinstance(came, Tensor)
        assert np.array_equal(came.array, sent.array) and came.array.dtype == sent.array.dtype
    assert json.loads(message.json)["id"] == "id"


def test_strided_and_foreign_arrays_are_sent_by_value() -> None:
    array = np.arange(24, dtype=">f4").reshape(4, 6)[::2, ::-1]
    body, length = joined(request_message([Tensor("x", array.astype(np.float32))]))
    assert np.array_equal(array_of(read_request(body, length).inputs[0]), array)


def test_nan_goes_as_bytes_and_never_as_json() -> None:
    tensor = Tensor("x", np.array([np.nan, np.inf], np.float32))
    body, length = joined(request_message([tensor]))
    assert np.isnan(array_of(read_request(body, length).inputs[0])[0])
    with pytest.raises(InputError, match="JSON cannot say"):
        request_message([tensor], binary=False)
    with pytest.raises(InputError, match="complex"):
        request_message([Tensor("x", np.zeros(1, np.complex64))])


ONE = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({}, "`inputs` is no list"),
        ({"inputs": {}}, "`inputs` is no list"),
        ({"inputs": [1]}, "no `name`"),
        ({"inputs": [ONE | {"name": ""}]}, "no `name`"),
        ({"inputs": [ONE | {"name": "x" * 1001}]}, "no `name`"),
        ({"inputs": [ONE | {"datatype": "BYTES"}]}, "datatype 'BYTES'"),
        ({"inputs": [ONE | {"datatype": ["FP32"]}]}, "datatype"),
        ({"inputs": [ONE | {"shape": "2"}]}, "no `shape`"),
        ({"inputs": [ONE | {"shape": [-1]}]}, "has the shape"),
        ({"inputs": [ONE | {"shape": [True]}]}, "has the shape"),
        ({"inputs": [ONE | {"shape": [2.0]}]}, "has the shape"),
        ({"inputs": [ONE | {"shape": [1] * 17}]}, "at most 16 axes"),
        ({"inputs": [ONE | {"shape": [3]}]}, "`shape` says"),
        ({"inputs": [ONE | {"data": None}]}, "neither `data`"),
        ({"inputs": [ONE | {"data": ["a", "b"]}]}, "not of numbers"),
        ({"inputs": [ONE | {"data": [True, False]}]}, "holds what FP32 has not"),
        ({"inputs": [ONE | {"data": [[1], [2, 3]]}]}, "ragged"),
        ({"inputs": [ONE | {"data": [10**400, 1]}]}, "holds what FP32 has not"),
        ({"inputs": [ONE | {"data": [1e300, 1]}]}, "too great"),
        ({"inputs": [ONE | {"datatype": "INT8", "data": [1, 200]}]}, "outside of -128 to 127"),
        ({"inputs": [ONE | {"datatype": "INT8", "data": [1, 1.5]}]}, "holds what INT8 has not"),
        ({"inputs": [ONE | {"parameters": []}]}, "`parameters`"),
        ({"inputs": [ONE | {"parameters": {"binary_data_size": 8}}]}, "ends at byte 8"),
        ({"inputs": [ONE | {"parameters": {"binary_data_size": 7}}]}, "take 8 bytes"),
        ({"inputs": [ONE | {"parameters": {"binary_data_size": -8}}]}, "take 8 bytes"),
        ({"inputs": [ONE | {"shape": [2**20, 2**20], "parameters": {"binary_data_size": 2**42}}]}, "ends at byte"),
        ({"inputs": [ONE], "outputs": {"a": 1}}, "`outputs` is no list"),
        ({"inputs": [ONE], "outputs": ["y"]}, "no `name`"),
        ({"inputs": [ONE], "id": 3}, "`id` is no text"),
        ({"inputs": [ONE] * 257}, "at most 256"),
    ],
)
def test_what_is_wrong_is_said(said: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_request(json.dumps(said).encode(), None)


@pytest.mark.parametrize("more", [{"parameters": {"binary_data_size": 0}}, {"data": []}])
@pytest.mark.parametrize("shape", [[0, (1 << 32) - 1, (1 << 32) - 1], [1 << 31, 0, 1 << 31, 4]])
def test_no_array_is_too_large_for_being_empty(shape: list[int], more: dict[str, Any]) -> None:
    said = {"name": "a", "datatype": "FP64", "shape": shape, **more}
    for kind, read in (("inputs", read_request), ("outputs", read_answer)):
        text = json.dumps({kind: [said]}).encode()
        with pytest.raises(InputError, match="which is larger than any array"):
            read(text, len(text))


def test_texts_are_refused_before_they_take_memory() -> None:
    """As an array all are as long as the longest: these would be 4 GB."""
    data = ["x" * 1_000_000] + [""] * 1_000
    for texts in (data, [data], [[1.0], ["a"]], [1, [2]], [None], [{}]):
        text = json.dumps({"inputs": [{"name": "a", "datatype": "FP32", "shape": [1001], "data": texts}]}).encode()
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match="is ragged, or not of numbers"):
                read_request(text, None)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


def test_an_output_is_asked_for_once() -> None:
    said = {"inputs": [], "outputs": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}
    with pytest.raises(InputError, match="the output 'a' is asked for twice"):
        read_request(json.dumps(said).encode(), None)


def test_null_is_as_if_it_were_not_there() -> None:
    said = {"id": None, "outputs": None, "parameters": None, "inputs": [ONE | {"parameters": None}]}
    assert array_of(read_request(json.dumps(said).encode(), None).inputs[0]).tolist() == [1, 2]


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"3", b"{", b"\xff", b'{"a": NaN}', b'{"a": ' + b"[" * 100_000, b" " * (1 << 23)],
    ids=["empty", "list", "number", "cut", "no text", "NaN", "deep", "long"],
)
def test_what_is_no_object_of_json_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        read_json(text)


def test_bytes_that_no_tensor_names_are_refused() -> None:
    body, length = joined(request_message([Tensor("x", np.ones(2, np.float32))]))
    with pytest.raises(InputError, match="has 9 bytes, of which tensors name 8"):
        read_request(body + b"!", length)
    for wrong in (-1, len(body) + 1):
        with pytest.raises(InputError, match="Inference-Header-Content-Length"):
            read_request(body, wrong)


def test_damaged_messages_are_read_or_refused_and_nothing_else() -> None:
    rng = random.Random(7)
    whole, length = joined(
        request_message([Tensor("x", np.ones((3, 4), np.float32)), Tensor("y", np.ones(2, np.int8))])
    )
    refused = 0
    for _ in range(3_000):
        body = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        cut = bytes(body[: rng.choice([len(body), rng.randrange(len(body))])])
        try:
            read_request(cut, rng.choice([length, None, rng.randrange(-2, 300)]))
        except InputError as error:
            assert str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 2_000

"""`.tflite` files read without their schema's generated code, and streaming models with their state made explicit."""

import random
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.errors import InputError
from leo_runtime.importers.tflite import DTYPES, TfliteFile, parse_tflite, with_explicit_state

MODELS = Path(__file__).parent / "models"
WAKE_WORD = Path(str(files("leo_runtime.demo"))) / "models" / "okay_nabu.tflite"
EVERY = (*sorted(MODELS.glob("*.tflite")), WAKE_WORD)


def read(path: Path) -> TfliteFile:
    return parse_tflite(path.read_bytes(), str(path))


def interpreter(content: bytes):
    for package in ("ai_edge_litert", "tflite_runtime"):
        try:
            module = __import__(f"{package}.interpreter", fromlist=["Interpreter"])
        except ImportError:
            continue
        made = module.Interpreter(model_content=content, num_threads=1)
        made.allocate_tensors()
        return made
    pytest.skip("no TensorFlow Lite interpreter is installed")


def call(made, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    for detail, array in zip(made.get_input_details(), inputs, strict=True):
        made.set_tensor(detail["index"], array)
    made.invoke()
    return [made.get_tensor(detail["index"]) for detail in made.get_output_details()]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_what_is_read_is_what_the_interpreter_has(path: Path) -> None:
    model = read(path)
    graph, made = model.graphs[0], interpreter(model.content)
    for numbers, details in ((graph.inputs, made.get_input_details()), (graph.outputs, made.get_output_details())):
        assert [graph.tensors[number].name for number in numbers] == [detail["name"] for detail in details]
        for number, detail in zip(numbers, details, strict=True):
            tensor = graph.tensors[number]
            assert tensor.signature == tuple(detail["shape_signature"])
            assert DTYPES[tensor.type] == np.dtype(detail["dtype"])
            assert tensor.scale == tuple(detail["quantization_parameters"]["scales"])
            assert tensor.zero_point == tuple(detail["quantization_parameters"]["zero_points"])


def test_weights_are_those_the_model_was_built_with() -> None:
    model = read(MODELS / "tiny.tflite")
    constants = [model.constant(tensor) for tensor in model.graphs[0].tensors]
    assert [None if array is None else array.tolist() for array in constants] == [
        None,
        [[1.0, -2.0, 0.5], [0.25, 4.0, -1.0]],
        [0.5, -0.25],
        None,
    ]


def test_a_streaming_model_computes_the_same_with_its_state_outside() -> None:
    model = read(WAKE_WORD)
    content, states = with_explicit_state(model)
    assert len(content) - len(model.content) < 1000
    assert sum(state.first.nbytes for state in states) == 3408
    assert {int(value) for state in states for value in np.unique(state.first)} == {-128}
    whole, stepped = interpreter(model.content), interpreter(content)
    rng, arrays = np.random.default_rng(7), [state.first for state in states]
    shape = whole.get_input_details()[0]["shape"]
    seen = set()
    for _ in range(200):
        features = rng.integers(-128, 128, size=shape).astype(np.int8)
        (expected,) = call(whole, [features])
        score, *arrays = call(stepped, [features, *arrays])
        assert np.array_equal(score, expected)
        seen.add(int(score.ravel()[0]))
    assert [state.output for state in states] == list(range(1, 1 + len(states)))


def test_a_model_without_state_is_given_as_it_is() -> None:
    model = read(MODELS / "tiny.tflite")
    assert with_explicit_state(model) == (model.content, ())


def test_what_is_no_model_is_refused_with_its_name() -> None:
    with pytest.raises(InputError, match="text: is no TensorFlow Lite model"):
        parse_tflite(b"a text, and a rather long one at that", "text")
    for short in range(12):
        with pytest.raises(InputError):
            parse_tflite(WAKE_WORD.read_bytes()[:short], "short")


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_damaged_files_are_refused_or_read_and_nothing_else(path: Path) -> None:
    content = path.read_bytes()
    draw = random.Random(path.stem)
    tables = range(min(len(content), 4096))
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            damaged[draw.choice((draw.randrange(len(content)), draw.choice(tables)))] = draw.randrange(256)
        if draw.random() < 0.2:
            del damaged[draw.randrange(len(damaged)) :]
        try:
            read_all(parse_tflite(bytes(damaged), "damaged"))
        except InputError as error:
            assert str(error).startswith("damaged: ")


def read_all(model: TfliteFile) -> None:
    for graph in model.graphs:
        for tensor in graph.tensors:
            model.constant(tensor)
    with_explicit_state(model)

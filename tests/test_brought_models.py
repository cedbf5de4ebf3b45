"""Models as people bring them to readers of `.tflite` files: taken apart as LiteRT runs them, or told what is in the
way; whole on the CPU in either case."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_backends import tflite
from leo_backends.cpu import CpuBackend
from leo_runtime import shipped
from leo_runtime.cli import main
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.model_workload import model_workload
from leo_runtime.errors import GraphError, InputError
from leo_runtime.importers.model_file import open_model
from leo_runtime.importers.tflite import parse_tflite, with_explicit_state
from leo_runtime.importers.tflite_layers import NotInLayersError, read_layers
from leo_runtime.layers import reference
from leo_runtime.operators.outputs import arrays_of
from leo_runtime.testing import example
from schema_files import Net, file_of, with_values_behind

needs_interpreter = pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
CPU = CpuBackend(Processor(name="cpu", backend="cpu"))
CONV = {"table": "Conv2DOptions", "padding": 0, "strideW": 1, "strideH": 1}
CONV |= {"dilationWFactor": 1, "dilationHFactor": 1}
DEPTHWISE = {**CONV, "table": "DepthwiseConv2DOptions", "depthMultiplier": 1}
DENSE = {"table": "FullyConnectedOptions"}
Made = Callable[[Net], None]


def some(*shape: int, dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(3)
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min + 1, limits.max, shape).astype(dtype)


def op(kind: str, shape: Any, out: Any, *more: Any, version: int = 1, types: tuple[str, str] | None = None, **options):
    """A net of one operator: of an input, constants, and an output. A constant is an array, or it and its scales."""
    given, gives = types or ("float32", "float32")
    scales: dict[str, dict[str, Any]] = {
        "int8": {"scale": 0.05, "zero": 3},
        "uint8": {"scale": 0.02, "zero": 128},
        "int16": {"scale": 0.001},
    }

    def make(net: Net) -> None:
        source = net.value(shape, given, name="x", **scales.get(given, {}))
        constants = []
        for one in more:
            array, quantised = one if isinstance(one, tuple) else (one, {})
            constants.append(-1 if array is None else net.constant(array, **quantised))
        net.outputs = [net.value(out, gives, name="y", **scales.get(gives, {}))]
        net.op(kind, [source, *constants], net.outputs, version, **options)
        net.inputs = [source]

    return make


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def resize(size: int, aligned: bool, centred: bool) -> Made:
    options = {"table": "ResizeBilinearOptions", "alignCorners": aligned, "halfPixelCenters": centred}
    return op("RESIZE_BILINEAR", (1, 4, 4, 2), (1, size, size, 2), ints(size, size), version=3, **options)


def sliced(begin: list, end: list, step: list, out: tuple, **masks: int) -> Made:
    places = [np.array(one, np.int32) for one in (begin, end, step)]
    return op("STRIDED_SLICE", (1, 6, 3), out, *places, table="StridedSliceOptions", **masks)


def reshaped(shape: tuple, out: tuple, *constant: np.ndarray, new: Any = None) -> Made:
    options = {} if new is None else {"table": "ReshapeOptions", "newShape": np.array(new, np.int32)}
    return op("RESHAPE", shape, out, *constant, **options)


def scalar_between(net: Net) -> None:
    """A scalar, whose shape is a constant without values: the file holds no bytes of it."""
    net.inputs, inner, net.outputs = [net.value((1, 1))], net.value(()), [net.value((1,))]
    net.op("RESHAPE", [*net.inputs, net.constant(np.zeros(0, np.int32))], [inner])
    net.op("RESHAPE", [inner, net.constant(ints(1))], net.outputs)


def scalar_factor(net: Net) -> None:
    """A constant whose shape the file leaves out."""
    net.inputs, net.outputs = [net.value((1, 4))], [net.value((1, 4))]
    factor = net.value(None, data=np.float32(2.5).tobytes())
    net.op("MUL", [*net.inputs, factor], net.outputs, table="MulOptions")


def relu(*gives: str) -> Made:
    """A RELU, and outputs among its input `x`, its output `y` and a constant `k`."""

    def make(net: Net) -> None:
        numbers = {"x": net.value((1, 8)), "y": net.value((1, 8)), "k": net.constant(some(1, 4))}
        net.op("RELU", [numbers["x"]], [numbers["y"]])
        unused = net.value((1, 3))
        net.inputs, net.outputs = [unused, numbers["x"]], [numbers[name] for name in gives]

    return make


TAKEN_APART: dict[str, Made] = {
    "reshape, its shape in the options": reshaped((1, 4, 4, 2), (1, 32), new=[1, 32]),
    "reshape, its shape a constant": reshaped((1, 4, 4, 2), (1, 32), ints(1, -1)),
    "reshape, its shape of two axes": reshaped((1, 4, 4, 2), (1, 32), ints([1, 32]), new=[1, 32]),
    "reshape to a scalar": scalar_between,
    "reshape to a scalar, as older files say it": reshaped((1, 1), (), new=[0]),
    "a mean that is a scalar": op("MEAN", (1, 4), (), ints(0, 1), table="ReducerOptions"),
    "a scalar input": op("ADD", (), (1, 4), some(1, 4), table="AddOptions"),
    "a scalar factor": scalar_factor,
    "an output that is an input, twice, and a constant": relu("y", "x", "y", "k"),
    "dense of four axes": op(
        "FULLY_CONNECTED", (1, 2, 3, 16), (1, 2, 3, 4), some(4, 16), some(4), version=5, keepNumDims=True, **DENSE
    ),
    "dense of four axes, made flat": op("FULLY_CONNECTED", (1, 2, 2, 4), (1, 4), some(4, 16), some(4), **DENSE),
    "dense without bias": op("FULLY_CONNECTED", (1, 16), (1, 4), some(4, 16), None, **DENSE),
    "dense int8 per channel": op(
        "FULLY_CONNECTED",
        (1, 16),
        (1, 4),
        (some(4, 16, dtype="int8"), {"scale": [0.001, 0.002, 0.003, 0.004]}),
        (ints(1, 2, 3, 4), {"scale": [0.00005, 0.0001, 0.00015, 0.0002]}),
        version=12,
        types=("int8", "int8"),
        **DENSE,
    ),
    "an activation of -1 to 1": op(
        "CONV_2D", (1, 8, 8, 3), (1, 8, 8, 4), some(4, 3, 3, 3), some(4), **CONV, fusedActivationFunction=2
    ),
    "resized, corners aligned": resize(7, True, False),
    "resized, half pixels": resize(3, False, True),
    "resized, to one": resize(1, True, False),
    "a slice backwards": sliced([0, 5, 0], [1, -7, 3], [1, -1, 1], (1, 6, 3)),
    "a slice backwards, masked": sliced([0, 0, 0], [0, 0, 0], [1, -2, 1], (1, 3, 3), beginMask=7, endMask=7),
    "a slice that drops an axis": sliced(
        [0, -1, 0], [0, 0, 0], [1, 1, 1], (1, 3), beginMask=5, endMask=5, shrinkAxisMask=2
    ),
    "a slice beyond the end": sliced([0, 2, 0], [9, 99, 9], [1, 1, 1], (1, 4, 3)),
}

EIGHT = {"scale": [0.01, 0.02, 0.03, 0.04]}
HYBRID = "its weights are of int8 and its input is of float32, as dynamic-range quantisation leaves them"
LEFT_WHOLE: dict[str, tuple[Made, str]] = {
    "dynamic-range convolution": (
        op(
            "CONV_2D",
            (1, 8, 8, 3),
            (1, 8, 8, 4),
            (some(4, 3, 3, 3, dtype="int8"), EIGHT),
            some(4),
            version=5,
            **CONV,
        ),
        HYBRID,
    ),
    "dynamic-range depthwise": (
        op(
            "DEPTHWISE_CONV_2D",
            (1, 8, 8, 4),
            (1, 8, 8, 4),
            (some(1, 3, 3, 4, dtype="int8"), {**EIGHT, "axis": 3}),
            some(4),
            version=6,
            **DEPTHWISE,
        ),
        HYBRID,
    ),
    "dynamic-range dense": (
        op("FULLY_CONNECTED", (1, 16), (1, 4), (some(4, 16, dtype="int8"), {"scale": 0.01}), version=9, **DENSE),
        HYBRID,
    ),
    "int16 and weights of int8": (
        op(
            "FULLY_CONNECTED",
            (1, 16),
            (1, 4),
            (some(4, 16, dtype="int8"), {"scale": 0.01}),
            (np.arange(4), {"scale": 0.00001}),
            version=7,
            types=("int16", "int16"),
            **DENSE,
        ),
        "it takes int16",
    ),
    "uint8 of old": (
        op(
            "CONV_2D",
            (1, 8, 8, 3),
            (1, 8, 8, 4),
            (some(4, 3, 3, 3, dtype="uint8"), {"scale": 0.01, "zero": 120}),
            (ints(1, 2, 3, 4), {"scale": 0.0002}),
            types=("uint8", "uint8"),
            **CONV,
        ),
        "it takes uint8",
    ),
    "weights about another zero": (
        op(
            "FULLY_CONNECTED",
            (1, 16),
            (1, 4),
            (some(4, 16, dtype="int8"), {"scale": 0.001, "zero": 6}),
            version=4,
            types=("int8", "int8"),
            **DENSE,
        ),
        "the zero point of its weights is not 0",
    ),
    "a grouped convolution": (
        op("CONV_2D", (1, 8, 8, 4), (1, 8, 8, 4), some(4, 3, 3, 2), some(4), **CONV),
        "its weights are for 2 channels, its input has 4",
    ),
    "resized, both ways": (resize(7, True, True), "it both aligns corners and has half pixel centers"),
    "joined, with an activation": (
        op(
            "CONCATENATION",
            (1, 4),
            (1, 8),
            some(1, 4),
            table="ConcatenationOptions",
            axis=1,
            fusedActivationFunction=1,
        ),
        "it has the activation RELU",
    ),
    "padding of another value": (
        op("PADV2", (1, 4), (1, 6), ints([0, 0], [1, 1]), np.float32(-1), table="PadV2Options"),
        "it has the operator `PADV2`",
    ),
    "a new axis": (
        sliced([0, 0, 0, 0], [0, 1, 6, 3], [1, 1, 1, 1], (1, 1, 6, 3), newAxisMask=1),
        "new_axis_mask 1",
    ),
}


def inputs_of(interpreter: Any) -> list[np.ndarray]:
    return [some(*one["shape"], dtype=np.dtype(one["dtype"]).name) for one in interpreter.get_input_details()]


def litert(content: bytes) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs, and what LiteRT gives for them."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    inputs = inputs_of(interpreter)
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return inputs, [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def made(make: Made) -> bytes:
    net = Net()
    make(net)
    return file_of(net)


def on_cpu(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    stage = example("stage", "model", inputs, model=path)
    return list(arrays_of(CPU.load(stage.stage, "default")(stage.inputs)))


@needs_interpreter
@pytest.mark.parametrize("name", TAKEN_APART)
def test_what_is_taken_apart_computes_what_litert_does(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(made(TAKEN_APART[name]))
    inputs, expected = litert(path.read_bytes())
    graph = open_model(path).graph
    assert graph is not None
    for found, wanted in zip(reference.run(graph, inputs), expected, strict=True):
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    for found, wanted in zip(on_cpu(path, inputs), expected, strict=True):
        assert np.array_equal(found, wanted)


@needs_interpreter
@pytest.mark.parametrize("name", LEFT_WHOLE)
def test_what_is_left_whole_says_why_and_runs(name: str, tmp_path: Path) -> None:
    make, why = LEFT_WHOLE[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(made(make))
    assert why in str(open_model(path).why)
    inputs, expected = litert(path.read_bytes())
    (found,) = on_cpu(path, inputs)
    assert np.array_equal(found, expected[0])


@needs_interpreter
@pytest.mark.parametrize(
    "names",
    [
        ("serving_default_input_1:0:0", "StatefulPartitionedCall:0"),
        ('a/b c/d;e/f["x"]=\'\\', "model/tf.nn.relu6/Relu6;" + "deep/" * 300),
        ("输入 é", "выход\n\ttab"),
        ("输入".encode("gbk"), b"caf\xe9"),
        (":0", "::"),
        (None, None),
        ("same", "same"),
        ("a\0b", "c\x1b[31m"),
    ],
    ids=["colons", "slashes", "letters", "bytes", "only colons", "none", "same", "control"],
)
def test_any_names_of_tensors_go_into_a_workload_and_run(names: tuple, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = Net()
    net.inputs, net.outputs = [net.value((1, 8))], [net.value((1, 8))]
    net.op("RELU", net.inputs, net.outputs)
    for tensor, name in zip(net.tensors, names, strict=True):
        tensor["name"] = name
    Path("net.tflite").write_bytes(file_of(net))
    assert main(["model", "graph", "net.tflite", "--out", "net.toml"]) == 0
    (stage,) = (one for one in shipped.workload("net.toml").graphs[0].stages if one.operator == "model")
    assert stage.params["first"] == 0
    values = some(1, 8)
    assert np.array_equal(on_cpu(tmp_path / "net.tflite", [values])[0], np.maximum(values, 0))


@pytest.mark.parametrize(
    "custom, hint", [("edgetpu-custom-op", "that it was compiled from"), ("FlexErf", "without `SELECT_TF_OPS`")]
)
def test_operators_that_litert_lacks_are_told_with_what_helps(custom: str, hint: str, tmp_path: Path) -> None:
    content = made(op(custom, (1, 8), (1, 8)))
    with pytest.raises(NotInLayersError, match=f"it has the operator `{custom}` .custom.") as told:
        read_layers(parse_tflite(content, "model.tflite"))
    assert hint in told.value.hint
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(GraphError) as refused:
        model_workload(path, name="net")
    assert refused.value.hint.endswith("it as one stage, whole: `--cut whole`")


def test_sizes_that_are_open_in_the_shape_itself_are_told_with_what_helps() -> None:
    """LiteRT runs no such file either: its elements "overflow"."""
    with pytest.raises(InputError, match=r"tensor `x` has the shape \(-1, 8\)") as told:
        parse_tflite(made(op("RELU", (-1, 8), (-1, 8))), "model.tflite")
    assert "with fixed sizes" in told.value.hint


def test_an_input_of_no_values_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(made(op("RELU", (0, 8), (0, 8))))
    assert r"its input `x` of shape (0, 8) has no values" in str(open_model(path).why)
    with pytest.raises(GraphError, match=r"input `x` of shape \(0, 8\) has no values") as told:
        model_workload(path, name="net", cut="whole")
    assert "fixed sizes" in told.value.hint


@needs_interpreter
def test_an_input_that_is_given_twice_leaves_the_model_whole(tmp_path: Path) -> None:
    net = Net()
    source, net.outputs = net.value((1, 8)), [net.value((1, 8))]
    net.op("RELU", [source], net.outputs)
    net.inputs = [source, source]
    path = tmp_path / "model.tflite"
    path.write_bytes(file_of(net))
    assert "is a constant, or is given twice" in str(open_model(path).why)
    inputs, expected = litert(path.read_bytes())
    assert np.array_equal(on_cpu(path, inputs)[0], expected[0])


@needs_interpreter
def test_an_encoder_and_a_decoder_are_two_signatures_of_one_file(tmp_path: Path) -> None:
    nets = (Net(), Net())
    for net, given, gives in zip(nets, (8, 4), (4, 8), strict=True):
        net.inputs, net.outputs = [net.value((1, given))], [net.value((1, gives))]
        net.op("FULLY_CONNECTED", [*net.inputs, net.constant(some(gives, given))], net.outputs, **DENSE)
    path = tmp_path / "model.tflite"
    path.write_bytes(file_of(*nets, signatures={"encode": 0, "decode": 1}))
    values = some(1, 8)
    for signature, shape in (("encode", (4, 8)), ("decode", (8, 4))):
        stage = example("stage", "model", [values], model=path, signature=signature)
        values = CPU.load(stage.stage, "default")(stage.inputs)
        assert values.shape == (1, shape[0])


WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"


@needs_interpreter
def test_values_behind_the_tables_are_found(tmp_path: Path) -> None:
    """As files above 2 GB have them. A copy with another beginning would move them away from where it says."""
    path = tmp_path / "model.tflite"
    content = made(TAKEN_APART["an activation of -1 to 1"])
    path.write_bytes(with_values_behind(content))
    inputs, expected = litert(content)
    assert np.array_equal(litert(path.read_bytes())[1][0], expected[0])
    assert np.array_equal(on_cpu(path, inputs)[0], expected[0])
    streaming = with_values_behind(WAKE_WORD.read_bytes())
    graph = read_layers(parse_tflite(streaming, "streaming"))
    assert len(graph.states) == len(read_layers(parse_tflite(WAKE_WORD.read_bytes(), "streaming")).states) > 0
    with pytest.raises(InputError, match="whose weights lie behind its tables"):
        with_explicit_state(parse_tflite(streaming, "streaming"))

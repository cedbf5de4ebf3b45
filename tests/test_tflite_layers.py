"""`.tflite` files as graphs of layers, and back: held to LiteRT's own schema and interpreter."""

import io
import random
import tracemalloc
import zipfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from layer_graphs import one_layer, real, small
from leo_runtime.compress.narrow import float16_weights
from leo_runtime.errors import InputError
from leo_runtime.importers.flatbuffer import OFFSET, DamagedError, Front, Table, root
from leo_runtime.importers.sparse import unfolded
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import NotInLayersError, read_layers
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import reference
from leo_runtime.layers.count import weight_bytes
from leo_runtime.layers.cut import blocks, borders, layers, pieces
from leo_runtime.layers.graph import Layer, LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS
from small_networks import Net, two_heads

MODELS = Path(__file__).parent / "models"
SHIPPED = sorted((Path(str(files("leo_runtime.demo"))) / "models").glob("*.tflite"))
READABLE = [*SHIPPED, MODELS / "tiny.tflite", MODELS / "two_inputs.tflite", MODELS / "two_outputs.tflite"]


def read(path: Path) -> LayerGraph:
    return read_layers(parse_tflite(path.read_bytes(), path.name))


def written(graph: LayerGraph) -> LayerGraph:
    return read_layers(parse_tflite(write_model(graph), graph.name))


def interpreter(content: bytes):
    made = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=content, num_threads=1)
    made.allocate_tensors()
    return made


def run(graph: LayerGraph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """LiteRT on a piece: what goes through it, and what none of its layers reads, stays outside."""
    read = {number for layer in graph.layers for number in layer.inputs}
    given = {number for layer in graph.layers for number in layer.outputs}
    inside = replace(
        graph,
        inputs=tuple(n for n in graph.inputs if n in read),
        outputs=tuple(dict.fromkeys(n for n in graph.outputs if n in given)),
        states=(),
    )
    values = {number: tensor.data for number, tensor in enumerate(graph.tensors)}
    values |= zip(graph.inputs, arrays, strict=True)
    made = interpreter(write_model(inside))
    for detail, number in zip(made.get_input_details(), inside.inputs, strict=True):
        made.set_tensor(detail["index"], values[number])
    made.invoke()
    for detail, number in zip(made.get_output_details(), inside.outputs, strict=True):
        values[number] = made.get_tensor(detail["index"])
    return [values[number] for number in graph.outputs]


def some(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    if tensor.dtype.kind == "f":
        return rng.uniform(-1, 1, tensor.shape).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max, tensor.shape, endpoint=True).astype(tensor.dtype)


def inputs_of(graph: LayerGraph, seed: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = [some(graph.tensors[number], rng) for number in graph.inputs]
    for state in graph.states:
        arrays[state.input] = state.first
    return arrays


def chained(parts: tuple[LayerGraph, ...], arrays: list[np.ndarray], own: int) -> list[np.ndarray]:
    """What pieces give one after the other; states are their own."""
    crossing = arrays[:own]
    for part in parts:
        states = [state.first for state in part.states]
        crossing = run(part, [*crossing, *states])
        crossing = crossing[: len(crossing) - len(states)]
    return crossing


GRAPHS = {
    **{path.stem: read(path) for path in READABLE},
    "two heads": two_heads(),
    "two heads in int8": two_heads(int8=True),
}


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.stem)
def test_what_is_read_is_what_the_schema_says(path: Path) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    content = path.read_bytes()
    there = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model = parse_tflite(content, path.name)
    assert len(there.subgraphs) == len(model.graphs)
    for graph, expected in zip(model.graphs, there.subgraphs, strict=True):
        for tensor, other in zip(graph.tensors, expected.tensors, strict=True):
            assert tensor.name.encode() == other.name
            assert list(tensor.shape) == list(() if other.shape is None else other.shape)
            assert (tensor.type, tensor.buffer, tensor.is_variable) == (other.type, other.buffer, other.isVariable)
            quantised = other.quantization
            if quantised is not None and quantised.scale is not None:
                assert np.array_equal(np.float32(tensor.scale), quantised.scale)
                assert np.array_equal(tensor.zero_point, quantised.zeroPoint)
                assert tensor.axis == quantised.quantizedDimension
            data = there.buffers[other.buffer].data
            held = model.buffers[tensor.buffer]
            assert (b"" if held is None else bytes(held)) == (b"" if data is None else data.tobytes())
        for op, other in zip(graph.operations, expected.operators, strict=True):
            code = there.operatorCodes[other.opcodeIndex]
            assert (op.code, op.version) == (max(code.deprecatedBuiltinCode, code.builtinCode), code.version)
            assert list(op.inputs) == list(() if other.inputs is None else other.inputs)
            assert list(op.outputs) == list(() if other.outputs is None else other.outputs)
    codes = {kind.code: kind for kind in KINDS.values()}
    expected_ops = [
        other
        for other in there.subgraphs[0].operators
        if codes.get(_code(there, other)) is not None and not _unfolds_a_constant(there, other)
    ]
    graph = read(path)
    assert [layer.kind for layer in graph.layers] == [codes[_code(there, other)].name for other in expected_ops]
    for layer, other in zip(graph.layers, expected_ops, strict=True):
        for name, value in layer.options.items():
            said = getattr(other.builtinOptions, _camel(name)) if other.builtinOptions is not None else None
            if said is None or isinstance(value, tuple):
                continue
            field = next(field for field in KINDS[layer.kind].options if field.name == name)
            assert value == (field.choices[said] if field.choices else said), (layer.kind, name)


def _code(there, operator) -> int:
    code = there.operatorCodes[operator.opcodeIndex]
    return max(code.deprecatedBuiltinCode, code.builtinCode)


def _unfolds_a_constant(there, operator) -> bool:
    """Weights in float16 are constants of the graph, unfolded, and no layer of it."""
    tensors = there.subgraphs[0].tensors
    held = [there.buffers[tensors[number].buffer].data is not None for number in operator.inputs]
    return _code(there, operator) == KINDS["DEQUANTIZE"].code and all(held)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_written_is_read_as_it_was(name: str) -> None:
    graph = GRAPHS[name]
    again = written(graph)
    assert (again.inputs, again.outputs) == (graph.inputs, graph.outputs)
    for tensor, other in zip(graph.tensors, again.tensors, strict=True):
        for field in ("name", "shape", "dtype", "scale", "zero_point", "axis"):
            assert getattr(tensor, field) == getattr(other, field)
        assert (tensor.data is None) == (other.data is None)
        assert tensor.data is None or np.array_equal(tensor.data, other.data)
    for layer, other in zip(graph.layers, again.layers, strict=True):
        for field in ("kind", "options", "inputs", "outputs", "version"):
            assert getattr(layer, field) == getattr(other, field)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_cut_computes_the_same_to_the_bit(name: str) -> None:
    """As two pieces at every place, as blocks, and as a piece a layer."""
    graph = GRAPHS[name]
    arrays = inputs_of(graph)
    own = len(graph.outputs) - len(graph.states)
    expected = run(graph, arrays)[:own]
    count = len(graph.layers)
    ways = [(border.after, count) for border in borders(graph)] + [blocks(graph), layers(graph)]
    for ends in ways:
        found = chained(pieces(graph, ends), arrays, len(graph.inputs) - len(graph.states))
        for array, other in zip(expected, found, strict=True):
            assert np.array_equal(array, other), ends


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_graph_of_a_file_computes_what_the_file_does(path: Path) -> None:
    model = parse_tflite(path.read_bytes(), path.name)
    graph = read(path)
    whole = interpreter(model.content)
    states = [state.first for state in graph.states]
    own = len(graph.outputs) - len(states)
    for seed in range(5):
        arrays = inputs_of(graph, seed)[: len(graph.inputs) - len(states)]
        for detail, array in zip(whole.get_input_details(), arrays, strict=True):
            whole.set_tensor(detail["index"], array)
        whole.invoke()
        given = run(graph, [*arrays, *states])
        states = given[own:]
        for detail, array in zip(whole.get_output_details(), given[:own], strict=True):
            assert np.array_equal(whole.get_tensor(detail["index"]), array)


def test_a_border_has_what_skips_over_it_and_what_is_given_early() -> None:
    graph = two_heads()
    named = [[graph.tensors[number].name for number in border.tensors] for border in borders(graph)]
    assert [len(names) for names in named] == [1, 2, 3, 3, 4, 4, 3, 2, 2]
    assert all("early" in names for names in named[1:])
    first = borders(graph)[1]
    assert first.bytes == 4 * (4 * 4 * 8 + 4 * 4 * 2)
    # One tensor crosses behind the first layer alone: all the rest is one block.
    assert blocks(graph) == (1, 10)


def test_a_block_ends_where_least_crosses() -> None:
    net = Net(5)
    image = net.value(1, 8, 8, 2)
    wide = net.conv(image, 4)
    padded = net.layer(
        "PAD", [wide, net.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))], (1, 10, 10, 4)
    )
    thin = net.conv(padded, 2)
    positive = net.layer("RELU", [thin], (1, 10, 10, 2))
    last = net.conv(positive, 1)
    graph = net.graph((image,), (last,))
    assert blocks(graph) == (1, 4, 5)


def test_a_place_that_is_no_border_is_refused() -> None:
    okay_nabu = GRAPHS["okay_nabu"]
    allowed = {border.after for border in borders(okay_nabu)}
    forbidden = next(after for after in range(1, len(okay_nabu.layers)) if after not in allowed)
    with pytest.raises(ValueError, match=f"okay_nabu.tflite: cannot be cut after {forbidden} of its 42 layers"):
        pieces(okay_nabu, (forbidden, len(okay_nabu.layers)))


def test_a_state_stays_in_one_piece() -> None:
    graph = GRAPHS["okay_nabu"]
    parts = pieces(graph, layers(graph))
    assert sorted(state.name for part in parts for state in part.states) == sorted(s.name for s in graph.states)
    assert len(graph.states) == 6
    assert all(np.array_equal(state.first, np.full_like(state.first, -128)) for state in graph.states)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("any_length", r"its input `.*` has the open shape \(1, \?\)"),
        ("recurrent", "it has the operator `.*RNN`|is variable"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_by_name(name: str, why: str) -> None:
    with pytest.raises(NotInLayersError, match=f"{name}.tflite: cannot be taken apart into layers: {why}") as refused:
        read(MODELS / f"{name}.tflite")
    assert "whole, on the CPU" in refused.value.hint


@pytest.mark.once
@pytest.mark.parametrize("name", [*GRAPHS])
def test_flipped_bytes_are_refused_or_read_and_nothing_else(name: str) -> None:
    """Each is refused with its name, or is a graph that can be cut and written; in bounded memory."""
    content = write_model(GRAPHS[name])
    draw = random.Random(name)
    beginning = range(min(len(content), 6000))
    count = 300 if len(content) < 100_000 else 40
    for number in range(count):
        if number == count - 20:  # It makes all of it slow.
            tracemalloc.start()
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            place = draw.choice((draw.randrange(len(content)), draw.choice(beginning)))
            damaged[place] = draw.choice((draw.randrange(256), 0, 255, damaged[place] ^ 1 << draw.randrange(8)))
        try:
            graph = read_layers(parse_tflite(bytes(damaged), "damaged"))
        except InputError as error:
            assert str(error).startswith("damaged: ")
            continue
        ends = blocks(graph)
        assert ends[-1] == len(graph.layers)
        assert len(write_model(graph)) < 3 * len(content) + 10_000
    assert tracemalloc.get_traced_memory()[1] < 20_000_000 + 4 * len(content)
    tracemalloc.stop()


def shared_shape(tensors: int, axes: int) -> bytes:
    """A file of so many tensors, all of which are one, whose shape has so many axes."""
    front = Front(b"TFL3")
    model = front.table({0: ("I", 3), 1: OFFSET, 2: OFFSET, 4: OFFSET})
    front.lead(0, model.start)
    graphs = front.vector(model.fields[2], "I", [0])
    graph = front.table(dict.fromkeys(range(4), OFFSET))
    front.lead(graphs, graph.start)
    buffers = front.vector(model.fields[4], "I", [0])
    front.lead(buffers, front.table({}).start)
    places = front.vector(graph.fields[0], "I", [0] * tensors)
    tensor = front.table({0: OFFSET})
    for number in range(tensors):
        front.lead(places + 4 * number, tensor.start)
    front.vector(tensor.fields[0], "i", [1] * axes)
    for table, field in ((model, 1), (graph, 1), (graph, 2), (graph, 3)):
        front.vector(table.fields[field], "I", [])
    return front.before(b"")


def test_parts_that_are_shared_take_no_memory_without_end() -> None:
    assert len(parse_tflite(shared_shape(3, 4), "few").graphs[0].tensors) == 3
    tracemalloc.start()
    with pytest.raises(InputError, match="many: is no TensorFlow Lite model, or damaged: its parts overlap"):
        parse_tflite(shared_shape(1000, 100_000), "many")
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


def test_what_is_unfolded_again_and_again_takes_no_memory_without_end() -> None:
    """A constant of float16 is widened for each layer that asks: more than the file has at first, within bounds."""
    half = replace(real(100_000), dtype=np.dtype(np.float16), data=np.zeros(100_000, np.float16))
    wide = tuple(replace(real(100_000), name=f"wide {number}") for number in range(1000))
    layers = tuple(Layer("DEQUANTIZE", {}, (0,), (number,)) for number in range(1, 1001))
    few, many = (LayerGraph("wide", (half, *wide), layers[:count], (), (1,)) for count in (20, 1000))
    assert read_layers(parse_tflite(write_model(few), "few")).layers == ()
    with pytest.raises(InputError, match=r"many: .*damaged: its constants, unfolded, have many times the bytes"):
        read_layers(parse_tflite(write_model(many), "many"))


@pytest.mark.parametrize("zero", [-129, 128, 2**40, -(2**63)])
def test_a_zero_point_that_no_byte_has_is_damaged(zero: int) -> None:
    content = write_model(one_layer("DEQUANTIZE", [small((1, 4), 0.5, zero)], real(1, 4)))
    with pytest.raises(InputError, match=f"damaged: tensor `small` of int8 has the zero point {zero}"):
        read_layers(parse_tflite(content, "far"))


def test_a_long_chain_is_cut_in_time() -> None:
    """Borders are found in one walk: 4,000 layers take no 16 million steps."""
    tensors = tuple(replace(real(1, 4), name=f"value {number}") for number in range(4001))
    chain = tuple(Layer("RELU", {}, (number,), (number + 1,)) for number in range(4000))
    graph = LayerGraph("chain", tensors, chain, (0,), (4000,))
    found = borders(graph)
    assert [border.tensors for border in found] == [(number,) for number in range(1, 4000)]


@pytest.mark.parametrize(
    "content, why, hint",
    [
        (b"", "it is empty", "copy it again"),
        (b"PK\x03\x04" + bytes(20), "it is a zip archive, as .* files are, and damaged", "copy it again"),
        (b"\x89HDF\r\n\x1a\n", "it is HDF5", "has to be converted"),
        (b"\x08\x07\x12\x07pytorch", "it looks like ONNX", "has to be converted"),
        (b"\x08\x08\x1a\x051.9.0", "it looks like ONNX", "has to be converted"),
        (b"\x08\x01\x12\xd3\x02\x12", "it looks like a SavedModel", "has to be converted"),
        (b"\n\x1a\n\x05input\x12\x0bPlaceholder*", "it looks like a graph of TensorFlow", "has to be converted"),
        (b"\x80\x02}q\x00X", "it is a pickle", "has to be converted"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is the pointer that Git LFS keeps", "git lfs pull"),
        (b"\n\n\n<!DOCTYPE html><html>", "it is a page of HTML", "not the page"),
        (b"#include <cstdint>\nalignas", "it is source text in C", "that it was made of"),
        (b"\x1c\0\0\0TFL2\0\0", "its bytes 4 to 7 are not 'TFL3'", "has to be converted"),
    ],
)
def test_files_of_other_formats_are_told_with_what_helps(content: bytes, why: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"other: is no TensorFlow Lite model: {why}") as told:
        parse_tflite(content, "other")
    assert hint in told.value.hint


def test_a_bundle_of_models_says_which_are_in_it() -> None:
    """As MediaPipe's `.task` files are. A model with labels behind it, which is a zip archive too, is a model."""
    model, bundle = (MODELS / "tiny.tflite").read_bytes(), io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        for name in ("face_detector.tflite", "config.pb", "landmarks.tflite"):
            archive.writestr(name, b"some")
    with pytest.raises(InputError, match=r"and holds `face_detector.tflite`, `landmarks.tflite`") as told:
        parse_tflite(bundle.getvalue(), "face.task")
    assert told.value.hint == "unzip it first"
    labelled = io.BytesIO(model)
    with zipfile.ZipFile(labelled, "a") as archive:
        archive.writestr("labels.txt", "yes\nno\n")
    assert len(read_layers(parse_tflite(labelled.getvalue(), "labelled")).layers) > 0
    rng = random.Random(5)
    for _ in range(300):
        damaged = bytearray(bundle.getvalue())
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(4, len(damaged))] = rng.randrange(256)
        with pytest.raises(InputError, match="is no TensorFlow Lite model"):
            parse_tflite(bytes(damaged), "face.task")


def sparse_table(segments: list[int], indices: list[int], rows: int) -> Table:
    """The sparsity of a matrix of so many rows whose columns are compressed."""
    front = Front(b"TEST")
    sparsity = front.table({0: OFFSET, 2: OFFSET})
    front.lead(0, sparsity.start)
    front.vector(sparsity.fields[0], "i", [0, 1])
    first = front.vector(sparsity.fields[2], "I", [0, 0])
    dense = front.table({0: ("b", 0), 1: ("i", rows)})
    front.lead(first, dense.start)
    compressed = front.table({0: ("b", 1), 2: ("B", 1), 3: OFFSET, 4: ("B", 3), 5: OFFSET})
    front.lead(first + 4, compressed.start)
    for field, form, values in ((3, "i", segments), (5, "B", indices)):
        vector = front.table({0: OFFSET})
        front.lead(compressed.fields[field], vector.start)
        front.vector(vector.fields[0], form, values)
    return root(front.before(b""), b"TEST")


@pytest.mark.parametrize("halved", [False, True])
def test_a_buffer_that_several_tensors_have_is_one_constant(halved: bool) -> None:
    net = Net(3)
    source = net.value(1, 8, name="in")
    values = net.rng.normal(size=(8, 8)).astype(np.float16).astype(np.float32)
    middle = net.layer("FULLY_CONNECTED", [source, net.constant(values)], (1, 8))
    graph = net.graph((source,), (net.layer("FULLY_CONNECTED", [middle, net.constant(values.copy())], (1, 8)),))
    file = parse_tflite(write_model(float16_weights(graph) if halved else graph), "twice")
    (stored,) = file.graphs
    (_, first), (_, second) = [(i, one) for i, one in enumerate(stored.tensors) if file.buffers[one.buffer]]
    tensors = tuple(replace(one, buffer=first.buffer) if one is second else one for one in stored.tensors)
    found = read_layers(replace(file, graphs=(replace(stored, tensors=tensors),)))
    assert found.layers[0].inputs[1] == found.layers[1].inputs[1]
    assert weight_bytes(found) == (128 if halved else 256)
    data = np.ones((1, 8), np.float32)
    assert np.array_equal(reference.run(found, [data])[0], reference.run(graph, [data])[0])


def test_sparse_values_are_unfolded() -> None:
    values = np.array([1.5, 2.5, -3.5], np.float16)
    array = unfolded(sparse_table([0, 1, 1, 3], [2, 0, 3], 3), (3, 4), values)
    assert array.tolist() == [[0, 0, 1.5, 0], [0, 0, 0, 0], [2.5, 0, 0, -3.5]]
    assert array.dtype == np.float16


@pytest.mark.parametrize(
    ("segments", "indices", "shape", "values"),
    [
        ([0, 1, 1, 3], [2, 0, 4], (3, 4), 3),  # a column beyond the last
        ([0, 1, 1, 3], [2, 0, 3], (3, 4), 4),  # a value too many
        ([0, 2, 1, 3], [2, 0, 3], (3, 4), 3),  # backwards
        ([0, 1, 3], [2, 0, 3], (3, 4), 3),  # a row too few
        ([1, 1, 1, 3], [2, 0, 3], (3, 4), 3),  # it does not begin
        ([0, 1, 1, 3], [2, 0, 3], (4, 4), 3),  # another shape
        ([0, 1, 1, 3], [2, 0, 3], (3, 4, 1), 3),  # an axis more
        ([0, 1, 1, 3], [2, 0, 3], (3, 2**30), 3),  # a few bytes that ask for all memory
    ],
)
def test_sparse_values_that_do_not_fit_are_damaged(segments, indices, shape, values) -> None:
    with pytest.raises((DamagedError, NotImplementedError)):
        unfolded(sparse_table(segments, indices, 3), shape, np.ones(values, np.float16))


def two_signatures(second: str = "two_inputs") -> bytes:
    """`tiny.tflite` and another as two graphs of one file, each with a signature that names its tensors."""
    schema, flatbuffers = pytest.importorskip("ai_edge_litert.schema_py_generated"), pytest.importorskip("flatbuffers")

    def loaded(name: str):
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs((MODELS / f"{name}.tflite").read_bytes(), 0))

    one, other = loaded("tiny"), loaded(second)
    for operator in other.subgraphs[0].operators:
        operator.opcodeIndex += len(one.operatorCodes)
    for tensor in other.subgraphs[0].tensors:
        tensor.buffer += len(one.buffers)
    one.operatorCodes += other.operatorCodes
    one.buffers += other.buffers
    one.subgraphs += other.subgraphs

    def named(tensors, letter: str) -> list:
        maps = []
        for index, number in enumerate(tensors):
            maps.append(schema.TensorMapT())
            maps[-1].name, maps[-1].tensorIndex = f"{letter}{index}", int(number)
        return maps

    one.signatureDefs = []
    for index, key in enumerate(("score", "mix")):
        graph, signature = one.subgraphs[index], schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, index
        signature.inputs, signature.outputs = named(graph.inputs, "in"), named(graph.outputs, "out")
        one.signatureDefs.append(signature)
    builder = flatbuffers.Builder()
    builder.Finish(one.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_signature_says_which_graph_is_called_and_what_its_tensors_are_called() -> None:
    model = parse_tflite(two_signatures(), "two.tflite")
    assert [signature.name for signature in model.signatures] == ["score", "mix"]
    for signature, inputs in ((None, ["in0"]), ("score", ["in0"]), ("mix", ["in0", "in1"])):
        graph = read_layers(model, signature)
        assert [graph.tensors[number].name for number in graph.inputs] == inputs
        assert [graph.tensors[number].name for number in graph.outputs] == ["out0"]
    runner = interpreter(model.content).get_signature_runner("mix")
    graph = read_layers(model, "mix")
    arrays = inputs_of(graph)
    (expected,) = runner(in0=arrays[0], in1=arrays[1]).values()
    assert np.array_equal(run(graph, arrays)[0], expected)
    with pytest.raises(InputError, match=r"two.tflite: has no signature `scor`") as refused:
        read_layers(model, "scor")
    assert "score" in refused.value.hint

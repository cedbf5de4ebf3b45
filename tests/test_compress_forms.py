"""Models in smaller forms: what each is, what it keeps, and that LiteRT runs its file as it is."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from layer_graphs import litert, some_values
from leo_runtime.compress import CompressError
from leo_runtime.compress.binary import binary, binary_all, codes, generated_bytes
from leo_runtime.compress.forms import DEFAULTS, form_of, require_float
from leo_runtime.compress.low_rank import low_rank, low_rank_all
from leo_runtime.compress.narrow import as_stored, float16_weights, int8_weights
from leo_runtime.compress.prune import kept, pruned, pruned_all, sparse_factors, sparse_factors_all
from leo_runtime.compress.rewrite import largest, matrix_of, weighted, weights_of
from leo_runtime.compress.separable import most_channels, separable, separable_all
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import read_layers
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.count import macs, weight_bytes
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.layers.kinds.catalogue import refusal
from leo_runtime.layers.reference import run
from small_networks import Net, classifier, two_heads

needs_litert = pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="needs ai-edge-litert")


def narrowed(form: Callable[[LayerGraph], LayerGraph]) -> Callable[[LayerGraph], LayerGraph]:
    return lambda graph: int8_weights(form(graph))


FORMS = {
    "rank": lambda graph: low_rank_all(graph, 40),
    "separable": lambda graph: separable_all(graph, 40),
    "pruned": lambda graph: pruned_all(graph, 70),
    "sparse": lambda graph: sparse_factors_all(graph, 60),
    "binary": lambda graph: binary_all(graph, 30),
    "float16": float16_weights,
    "int8": int8_weights,
    "rank, int8": narrowed(lambda graph: low_rank_all(graph, 40)),
    "pruned, int8": narrowed(lambda graph: pruned_all(graph, 90)),
    "pruned, float16": lambda graph: float16_weights(pruned_all(graph, 70)),
    "binary, int8": narrowed(lambda graph: binary_all(graph, 30)),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_takes_and_gives_what_the_model_does_in_fewer_bytes(name: str) -> None:
    graph = classifier()
    before = [tensor.data.tobytes() for tensor in graph.tensors if tensor.data is not None]
    made = FORMS[name](graph)
    for numbers, others in ((graph.inputs, made.inputs), (graph.outputs, made.outputs)):
        assert [(graph.tensors[n].name, graph.tensors[n].shape) for n in numbers] == [
            (made.tensors[n].name, made.tensors[n].shape) for n in others
        ]
    assert [refusal(made, layer) for layer in made.layers] == [None] * len(made.layers)
    assert weight_bytes(made) < weight_bytes(graph)
    assert macs(made) <= macs(graph)
    assert before == [tensor.data.tobytes() for tensor in graph.tensors if tensor.data is not None]


@pytest.mark.parametrize("name", FORMS)
def test_its_file_is_what_it_says(name: str) -> None:
    made = FORMS[name](classifier())
    content = write_model(made)
    again = read_layers(parse_tflite(content, name))
    assert weight_bytes(again) == weight_bytes(made)
    assert weight_bytes(made) < len(content) < weight_bytes(made) + 20_000
    values = some_values(made.tensors[made.inputs[0]], np.random.default_rng(3))
    assert np.array_equal(run(made, [values])[0], run(again, [values])[0])


@needs_litert
@pytest.mark.parametrize("name", FORMS)
def test_litert_runs_its_file(name: str) -> None:
    made = FORMS[name](classifier())
    values = some_values(made.tensors[made.inputs[0]], np.random.default_rng(4))
    (ours,), (theirs,) = run(made, [values]), litert(made, [values])
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(ours).max()


@pytest.mark.parametrize("number", [0, 2, 4, 5])
def test_a_low_rank_is_the_nearest(number: int) -> None:
    graph = classifier()
    matrix = matrix_of(graph, number)
    made = low_rank(graph, number, 3)
    product = matrix_of(made, number + 1) @ matrix_of(made, number)
    lost = np.linalg.norm(matrix - product)
    assert lost == pytest.approx(np.sqrt((np.linalg.svd(matrix)[1][3:] ** 2).sum()), rel=1e-5)
    assert macs(made) < macs(graph)


def test_a_separated_convolution_of_a_separable_one_is_equal() -> None:
    graph = classifier()
    down, across = np.random.default_rng(0).normal(size=(2, 3, 24))
    weights = np.einsum("yo,xo,i->oyxi", down, across, np.linspace(-1, 1, 16)).astype(np.float32)
    place = graph.layers[2].inputs[1]
    tensors = list(graph.tensors)
    tensors[place] = replace(tensors[place], data=weights)
    graph = replace(graph, tensors=tuple(tensors))
    made = separable(graph, 2, 3)
    values = some_values(graph.tensors[graph.inputs[0]], np.random.default_rng(3))
    assert np.allclose(run(graph, [values])[0], run(made, [values])[0], rtol=1e-4, atol=1e-3)
    assert [made.tensors[layer.inputs[1]].shape for layer in made.layers[2:4]] == [(3, 3, 1, 16), (24, 1, 3, 3)]


def test_strides_are_divided_between_down_and_across() -> None:
    graph = classifier()
    made = separable(graph, 0, most_channels(graph, 0))
    assert [(one.options["stride_h"], one.options["stride_w"]) for one in made.layers[:2]] == [(2, 1), (1, 2)]
    assert made.tensors[made.layers[0].outputs[0]].shape == (1, 5, 12, most_channels(graph, 0))


def test_pruning_keeps_the_greatest() -> None:
    assert kept(np.array([1.0, -3.0, 2.0, 2.0]), 50).tolist() == [0, -3, 2, 0]
    graph = classifier()
    made = pruned(graph, 4, 75)
    there = weights_of(made, 4)
    assert np.count_nonzero(there) == there.size // 4
    assert np.abs(there[there != 0]).min() >= np.abs(weights_of(graph, 4)[there == 0]).max()


def test_what_would_not_be_smaller_sparse_is_held_whole() -> None:
    graph = classifier()
    assert weight_bytes(pruned(graph, 4, 5)) == weight_bytes(graph)


def test_sparse_factors_have_more_rank_than_whole_ones_of_their_bytes() -> None:
    graph = classifier()
    number, rank = largest(graph), 30
    made = sparse_factors(graph, number, rank, 50)
    codes_of, dictionary = weights_of(made, number + 1), weights_of(made, number)
    assert np.count_nonzero(codes_of) <= codes_of.size // 2 and dictionary.shape[0] == rank
    # Found in turn, they are nearer than the singular vectors cut once.
    left, right = (np.linalg.svd(matrix_of(graph, number))[k] for k in (0, 2))
    values = np.linalg.svd(matrix_of(graph, number))[1][:rank]
    cut = kept(left[:, :rank] * np.sqrt(values), 50) @ (np.sqrt(values)[:, None] * right[:rank])
    found = codes_of.reshape(32, rank).astype(np.float64) @ dictionary.reshape(rank, -1)
    matrix = matrix_of(graph, number)
    assert np.linalg.norm(matrix - found) < np.linalg.norm(matrix - cut)


def test_codes_are_orthogonal_and_generated() -> None:
    every = codes(16)
    assert np.array_equal(every @ every.T, 16 * np.eye(16)) and set(every.reshape(-1)) == {-1.0, 1.0}
    bits = [[(-1.0) ** (i & j).bit_count() for i in range(16)] for j in range(16)]
    assert every.tolist() == bits
    assert codes(5).shape == (8, 5)
    graph = classifier()
    number = largest(graph)
    made = binary(graph, number, 20)
    assert set(weights_of(made, number).reshape(-1).tolist()) == {-1.0, 1.0}
    assert generated_bytes(made) == 20 * 720 and generated_bytes(graph) == generated_bytes(int8_weights(graph)) == 0


def test_a_layer_made_of_codes_needs_no_more_than_them() -> None:
    net = Net(1)
    source = net.value(1, 16, name="in")
    chosen = codes(16)[[3, 5]]
    weights = net.constant((np.random.default_rng(0).normal(size=(12, 2)) @ chosen).astype(np.float32))
    graph = net.graph((source,), (net.layer("FULLY_CONNECTED", [source, weights], (1, 12)),))
    made = binary(graph, 0, 2)
    assert np.array_equal(weights_of(made, 0), chosen)
    assert np.allclose(matrix_of(made, 1) @ chosen, matrix_of(graph, 0), atol=1e-6)


def test_int8_weights_are_within_half_a_step() -> None:
    graph = classifier()
    made = int8_weights(graph)
    for number in weighted(graph):
        held = made.tensors[made.layers[number].inputs[1]].held
        assert held is not None
        step = np.array(held.scale)[:, None] / 2
        assert (np.abs(matrix_of(graph, number) - matrix_of(made, number)) <= step * 1.001).all()


@pytest.mark.parametrize("name", FORMS)
def test_what_was_read_is_written_again_as_it_was(name: str) -> None:
    content = write_model(FORMS[name](classifier()))
    read = read_layers(parse_tflite(content, "again"))
    again = as_stored(read)
    if name != "binary, int8":  # Its codes are ones; a scale of 1/127 stands for some of them just as well.
        assert weight_bytes(again) == weight_bytes(FORMS[name](classifier()))
    values = some_values(read.tensors[read.inputs[0]], np.random.default_rng(3))
    assert np.array_equal(run(read, [values])[0], run(again, [values])[0])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda graph: low_rank(graph, 4, 31), "rank 31 saves nothing of layer 4, whose weights are 32 x 720"),
        (lambda graph: low_rank(graph, 1, 1), "layer 1 is none of float weights"),
        (lambda graph: separable(graph, 4, 1), "layer 4 is none of float weights"),
        (lambda graph: separable(graph, 2, 99), "99 channels between save nothing"),
        (lambda graph: binary(graph, 5, 99), "99 codes save nothing"),
        (lambda graph: sparse_factors(graph, 5, 10, 100), "save nothing of layer 5"),
        (lambda graph: low_rank_all(graph, 100), "a rank of 100 % saves nothing in any"),
        (lambda graph: largest(graph, ("CONV_3D",)), "has no layer of float weights"),
    ],
)
def test_what_cannot_be_made_is_refused(form: Callable[[LayerGraph], LayerGraph], said: str) -> None:
    with pytest.raises(CompressError, match=said):
        form(classifier())


@pytest.mark.parametrize("name", [*FORMS])
def test_a_model_of_int8_has_no_such_forms(name: str) -> None:
    with pytest.raises(CompressError):
        FORMS[name](two_heads(int8=True))


def test_a_weight_that_float16_does_not_hold_is_told() -> None:
    net = Net(1)
    source = net.value(1, 4, name="in")
    weights = net.constant(np.full((3, 4), 70_000, np.float32))
    graph = net.graph((source,), (net.layer("FULLY_CONNECTED", [source, weights], (1, 3)),))
    with pytest.raises(CompressError, match="has a weight of 70000, float16 ends at 65504"):
        float16_weights(graph)


def tied(readers: int = 2, elsewhere: bool = False) -> LayerGraph:
    """Dense layers that have one constant of weights, which another layer may read as well."""
    net = Net(7)
    value = source = net.value(1, 32, name="in")
    weights = net.weights(32, 32, axis=0)
    for _ in range(readers):
        value = net.layer("FULLY_CONNECTED", [value, weights, net.bias(32, weights)], (1, 32))
    if elsewhere:
        value = net.layer("ADD", [value, weights], (32, 32))
    return net.graph((source,), (value,), "tied")


@pytest.mark.parametrize("name", ["rank25", "rank25-one", "sparse25-one", "binary25", "binary25-one"])
def test_layers_that_share_weights_share_those_of_a_form(name: str) -> None:
    one, two = (form_of(name)(tied(readers), []) for readers in (1, 2))
    biases = 4 * 32
    assert weight_bytes(one) < weight_bytes(tied(1))
    assert weight_bytes(one) <= weight_bytes(two) <= weight_bytes(one) + biases
    assert macs(two) == 2 * macs(one)


def test_weights_that_are_shared_are_one_constant_of_int8() -> None:
    graph = tied()
    runs = [[some_values(graph.tensors[0], np.random.default_rng(seed))] for seed in range(3)]
    made = form_of("int8")(graph, runs)
    first, second = (layer.inputs for layer in made.layers if layer.kind == "FULLY_CONNECTED")
    assert first[1] == second[1] and first[2] != second[2]  # What biases are counted in is each layer's own.
    assert weight_bytes(made) == 32 * 32 + 2 * 4 * 32


@needs_litert
@pytest.mark.parametrize("name", ["rank25", "rank25-one+int8w", "sparse25", "int8"])
def test_litert_runs_layers_that_share_weights(name: str) -> None:
    graph = tied()
    runs = [[some_values(graph.tensors[0], np.random.default_rng(seed))] for seed in range(3)]
    made = form_of(name)(graph, runs)
    (ours,), (theirs,) = run(made, runs[0]), litert(made, runs[0])
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(ours).max())


def test_weights_that_another_layer_reads_as_well_stay_and_nothing_is_saved() -> None:
    with pytest.raises(CompressError, match="tied: it saves nothing: 6,400 bytes of weights for 4,352"):
        form_of("rank25")(tied(elsewhere=True), [])


@pytest.mark.parametrize("name", [name for name in DEFAULTS if "separable" not in name])
def test_weights_that_are_all_0_have_forms_that_lose_nothing(name: str) -> None:
    net = Net(1)
    source = net.value(1, 32, name="in")
    weights = net.constant(np.zeros((64, 32), np.float32))
    graph = net.graph((source,), (net.layer("FULLY_CONNECTED", [source, weights], (1, 64)),))
    runs = [[some_values(graph.tensors[source], np.random.default_rng(seed))] for seed in range(3)]
    assert not run(form_of(name)(graph, runs), runs[0])[0].any()


@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
def test_weights_that_are_no_numbers_are_told(wrong: float) -> None:
    net = Net(1)
    source = net.value(1, 32, name="in")
    weights = np.ones((64, 32), np.float32)
    weights[3, 4] = wrong
    graph = net.graph((source,), (net.layer("FULLY_CONNECTED", [source, net.constant(weights)], (1, 64)),))
    for refuses in (require_float, lambda graph: low_rank(graph, 0, 4)):
        with pytest.raises(CompressError, match="small: 1 of the 2048 weights in `c1` are NaN or infinite"):
            refuses(graph)

"""What layers mean: against LiteRT, with the kernels that it takes itself, one layer at a time."""

import dataclasses
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import int8_layers
from layer_graphs import alone, fixed, litert, one_layer, real, small, some_values
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import read_layers
from leo_runtime.layers import reference
from leo_runtime.layers.graph import Layer, LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import BY_CODE, KINDS, refusal

pytest.importorskip("ai_edge_litert", reason="the extra `tflite` is not installed")

WITHIN = 1e-5
"""Of the greatest magnitude that a layer gives."""
MODELS = sorted((Path(str(files("leo_runtime.demo"))) / "models").glob("*.tflite"))
zeros = st.sampled_from((-128, -127, -3, 0, 5, 127))
few = settings(max_examples=40, deadline=None)


def differences(graph: LayerGraph, seed: int = 0) -> tuple[float, int, int]:
    """The greatest error as part of the greatest magnitude of LiteRT's output; how many integers differ; by what."""
    assert refusal(graph, graph.layers[0]) is None
    rng = np.random.default_rng(seed)
    inputs = [some_values(graph.tensors[number], rng) for number in graph.inputs]
    worst, count, most = 0.0, 0, 0
    for expected, got in zip(litert(graph, inputs), reference.run(graph, inputs), strict=True):
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        errors = np.abs(expected.astype(np.float64) - got)
        if got.dtype.kind == "f":
            worst = max(worst, errors.max() / max(1e-30, np.abs(expected).max()))
        else:
            count, most = count + int((errors > 0).sum()), max(most, int(errors.max()))
    return float(worst), count, most


def equal(graph: LayerGraph, seed: int = 0) -> None:
    """LiteRT gives the same, float32 to 1e-5 and integers to the bit."""
    worst, count, _ = differences(graph, seed)
    assert worst < WITHIN and count == 0


@dataclasses.dataclass(frozen=True)
class Images:
    """How windows slide over images."""

    height: int
    width: int
    channels: int
    taps: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    padding: str
    activation: str

    @property
    def options(self) -> dict[str, Any]:
        return {
            "padding": self.padding,
            "stride_h": self.strides[0],
            "stride_w": self.strides[1],
            "fused_activation_function": self.activation,
        }


@st.composite
def images(draw: st.DrawFn, *, dilated: bool = True) -> Images:
    taps = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilations = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if dilated and draw(st.booleans()) else (1, 1)
    # LiteRT refuses strides where there is a dilation.
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if dilations == (1, 1) else (1, 1)
    least = [(tap - 1) * dilation + 1 for tap, dilation in zip(taps, dilations, strict=True)]
    return Images(
        draw(st.integers(least[0], 17)),
        draw(st.integers(least[1], 17)),
        draw(st.integers(1, 9)),
        taps,
        strides,
        dilations,
        draw(st.sampled_from(("SAME", "VALID"))),
        draw(st.sampled_from(("NONE", "RELU", "RELU6"))),
    )


def products(
    how: Images, kind: str, outputs: int, rng: np.random.Generator, zero: tuple[int, int] | None
) -> LayerGraph:
    """A convolution, depthwise or not, of float32, or of int8 with zero points for input and output."""
    depthwise = kind == "DEPTHWISE_CONV_2D"
    shape = (1, *how.taps, outputs) if depthwise else (outputs, *how.taps, how.channels)
    options = how.options | {"dilation_h_factor": how.dilations[0], "dilation_w_factor": how.dilations[1]}
    if depthwise:
        options["depth_multiplier"] = outputs // how.channels
    size = (1, how.height, how.width, how.channels)
    if zero is None:
        weights = fixed(rng.normal(0, 1, shape).astype(np.float32))
        return one_layer(kind, [real(*size), weights, fixed(rng.normal(0, 1, outputs).astype(np.float32))], **options)
    scales = rng.uniform(0.005, 0.02, outputs).astype(np.float32)
    reach = int(np.prod(how.taps)) * (1 if depthwise else how.channels)
    weights = fixed(rng.integers(-127, 128, shape).astype(np.int8), scales, 3 if depthwise else 0)
    bias = fixed(rng.integers(-5000, 5000, outputs).astype(np.int32), [0.05 * float(s) for s in scales])
    out = small((), 0.05 * float(np.sqrt(reach)) * rng.uniform(0.3, 1.0), zero[1])
    return one_layer(kind, [small(size, 0.05, zero[0]), weights, bias], out, 3, **options)


seeds = st.integers(0, 2**20)


@few
@given(images(), st.integers(1, 17), seeds)
def test_convolutions_are_litert_s(how: Images, outputs: int, seed: int) -> None:
    equal(products(how, "CONV_2D", outputs, np.random.default_rng(seed), None), seed)


@few
@given(images(), st.integers(1, 3), seeds)
def test_depthwise_convolutions_are_litert_s(how: Images, depth: int, seed: int) -> None:
    equal(products(how, "DEPTHWISE_CONV_2D", depth * how.channels, np.random.default_rng(seed), None), seed)


@few
@given(images(), st.integers(1, 17), seeds, zeros, zeros)
def test_int8_convolutions_are_litert_s_but_for_its_float32(
    how: Images, outputs: int, seed: int, zero: int, to: int
) -> None:
    """LiteRT scales in float32, which is inexact: when tried 2 values of 3.3 million differed, by 1."""
    graph = products(how, "CONV_2D", outputs, np.random.default_rng(seed), (zero, to))
    _, count, most = differences(graph, seed)
    assert count <= 1 and most <= 1


@few
@given(images(), st.integers(1, 3), seeds, zeros, zeros)
def test_int8_depthwise_convolutions_are_litert_s_but_for_its_float32(
    how: Images, depth: int, seed: int, zero: int, to: int
) -> None:
    graph = products(how, "DEPTHWISE_CONV_2D", depth * how.channels, np.random.default_rng(seed), (zero, to))
    _, count, most = differences(graph, seed)
    assert count <= 1 and most <= 1


def dense(rows: int, inputs: int, outputs: int, rng: np.random.Generator, **options: Any) -> LayerGraph:
    weights = fixed(rng.normal(0, 1, (outputs, inputs)).astype(np.float32))
    bias = fixed(rng.normal(0, 1, outputs).astype(np.float32))
    return one_layer("FULLY_CONNECTED", [real(rows, inputs), weights, bias], **options)


def int8_dense(inputs: int, outputs: int, zero: int, to: int, rng: np.random.Generator, per: int) -> LayerGraph:
    """A dense layer of int8 with so many scales."""
    scales = rng.uniform(0.005, 0.02, per)
    weights = fixed(rng.integers(-127, 128, (outputs, inputs)).astype(np.int8), scales)
    bias = fixed(rng.integers(-5000, 5000, outputs).astype(np.int32), [0.05 * float(np.float32(s)) for s in scales])
    out = small((), 0.05 * float(np.sqrt(inputs)), to)
    return one_layer("FULLY_CONNECTED", [small((1, inputs), 0.05, zero), weights, bias], out, 5 if per > 1 else 4)


sizes = st.integers(1, 70)


@few
@given(st.integers(1, 5), sizes, sizes, seeds, st.booleans(), st.sampled_from(("NONE", "RELU", "RELU6")))
def test_dense_layers_are_litert_s(
    rows: int, inputs: int, outputs: int, seed: int, keep: bool, activation: str
) -> None:
    rng = np.random.default_rng(seed)
    equal(dense(rows, inputs, outputs, rng, keep_num_dims=keep, fused_activation_function=activation), seed)


@few
@given(sizes, sizes, zeros, zeros, seeds, st.booleans())
def test_int8_dense_layers_are_litert_s(inputs: int, outputs: int, zero: int, to: int, seed: int, many: bool) -> None:
    graph = int8_dense(inputs, outputs, zero, to, np.random.default_rng(seed), outputs if many else 1)
    _, count, most = differences(graph, seed)
    assert count <= 1 and most <= 1


def test_a_dense_layer_flattens_what_it_reads_and_needs_no_bias() -> None:
    weights = fixed(np.random.default_rng(0).normal(0, 1, (5, 24)).astype(np.float32))
    equal(one_layer("FULLY_CONNECTED", [real(2, 3, 8), weights, None]))
    equal(one_layer("FULLY_CONNECTED", [real(2, 3, 24), weights, None], keep_num_dims=True))


@few
@given(images(dilated=False), seeds, st.sampled_from(("AVERAGE_POOL_2D", "MAX_POOL_2D")), st.booleans(), zeros)
def test_pools_are_litert_s(how: Images, seed: int, kind: str, whole: bool, zero: int) -> None:
    size = (1, how.height, how.width, how.channels)
    source = small(size, 0.05, zero) if whole else real(*size)
    options = how.options | {"filter_height": how.taps[0], "filter_width": how.taps[1]}
    graph = one_layer(kind, [source], version=2 if whole else 1, **options)
    worst, count, most = differences(graph, seed)
    # LiteRT may take the mean in float32 where the scale is one: halves are then its own.
    assert worst < WITHIN and most <= 1 and count <= (max(1, graph.tensors[1].dtype.itemsize) if whole else 0)


@few
@given(zeros, zeros, zeros, st.floats(0.1, 10), st.floats(0.1, 10), seeds)
def test_int8_sums_are_litert_s_to_the_bit(
    first: int, second: int, to: int, ratio: float, other: float, seed: int
) -> None:
    shape = (1, 5, 7, 8)
    out = small((), 0.02, to)
    equal(one_layer("ADD", [small(shape, 0.02 * ratio, first), small(shape, 0.02 * other, second)], out, 2), seed)


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "MAXIMUM"])
@pytest.mark.parametrize("other", [(1, 4, 5, 6), (6,), (1, 4, 1, 6), (1,)])
def test_layers_of_two_are_litert_s(kind: str, other: tuple[int, ...]) -> None:
    options = {"fused_activation_function": "RELU6"} if kind != "MAXIMUM" else {}
    equal(one_layer(kind, [real(1, 4, 5, 6), real(*other)], **options))
    constant = fixed(np.random.default_rng(1).normal(0, 1, other).astype(np.float32))
    equal(one_layer(kind, [real(1, 4, 5, 6), constant]))


@pytest.mark.parametrize("kind", ["LOGISTIC", "RELU", "RELU6", "HARD_SWISH", "SOFTMAX", "LEAKY_RELU"])
def test_activations_are_litert_s(kind: str) -> None:
    equal(one_layer(kind, [real(3, 50)], **{"SOFTMAX": {"beta": 1.0}, "LEAKY_RELU": {"alpha": 0.3}}.get(kind, {})))


def test_slopes_may_be_a_channel_s_or_a_place_s() -> None:
    for shape in ((6,), (1, 1, 6), (4, 5, 6)):
        slopes = fixed(np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32))
        equal(one_layer("PRELU", [real(1, 4, 5, 6), slopes]))


@few
@given(st.floats(0.001, 0.3), zeros, seeds)
def test_int8_logistic_and_softmax_are_litert_s(scale: float, zero: int, seed: int) -> None:
    """SOFTMAX of LiteRT is in float32: a half may be rounded to its other side."""
    out = small((), 1 / 256, -128)
    graph = one_layer("LOGISTIC", [small((1, 256), scale, zero)], out, 2)
    _, count, most = differences(graph, seed)
    assert count <= 1 and most <= 1
    _, count, most = differences(one_layer("SOFTMAX", [small((2, 12), scale, zero)], out, 2, beta=1.0), seed)
    assert count <= 1 and most <= 1


@pytest.mark.parametrize("align,centred", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("size", [(8, 10), (3, 17), (1, 1), (4, 5)])
def test_resizes_are_litert_s(align: bool, centred: bool, size: tuple[int, int]) -> None:
    to = fixed(np.array(size, np.int32))
    equal(one_layer("RESIZE_BILINEAR", [real(1, 4, 5, 3), to], align_corners=align, half_pixel_centers=centred))


def ints(*values: int) -> Tensor:
    return fixed(np.array(values, np.int32))


def source(whole: bool, *shape: int) -> Tensor:
    return small(shape, 0.05, -5) if whole else real(*shape)


@pytest.mark.parametrize("whole", [False, True])
def test_layers_that_move_values_are_litert_s(whole: bool) -> None:
    """Kinds that put values elsewhere, of float32 and int8."""
    x = source(whole, 1, 4, 6, 4)
    version = 2 if whole else 1
    equal(one_layer("PAD", [x, fixed(np.array([[0, 0], [1, 2], [0, 3], [0, 1]], np.int32))], version=version))
    equal(one_layer("RESHAPE", [x, ints(2, -1, 8)]))
    equal(one_layer("RESHAPE", [x], new_shape=(6, 16)))
    y = source(whole, 1, 4, 6, 2)
    equal(one_layer("CONCATENATION", [x, y, x], version=version, axis=-1))
    equal(one_layer("CONCATENATION", [x, x], version=version, axis=1))
    equal(one_layer("SPLIT_V", [x, ints(1, -1, 2), ints(2)], version=2, num_splits=3))
    equal(one_layer("PACK", [x, x, x], version=version, values_count=3, axis=2))
    equal(one_layer("MEAN", [x, ints(1, 2)], small((), 0.03, 7) if whole else None, 2, keep_dims=True))
    equal(one_layer("MEAN", [x, ints(-1, 1)], version=2))
    begin, end, step = ints(0, 1, 5, 0), ints(1, 4, 0, 9), ints(1, 2, -2, 1)
    equal(one_layer("STRIDED_SLICE", [x, begin, end, step], version=2))
    equal(one_layer("STRIDED_SLICE", [x, ints(0, 1), ints(1, 2), ints(1, 1)], version=2, shrink_axis_mask=2))
    equal(one_layer("STRIDED_SLICE", [x, begin, end, step], version=2, begin_mask=2, end_mask=4))


@pytest.mark.parametrize("masked", [1, 2, 3])
@pytest.mark.parametrize("shrunk", [0, 1, 2, 3])
def test_a_masked_begin_is_masked_where_the_axis_goes_too(masked: int, shrunk: int) -> None:
    slices = ints(2, -3), ints(3, 9), ints(1, 1)
    equal(one_layer("STRIDED_SLICE", [real(4, 5, 3), *slices], begin_mask=masked, shrink_axis_mask=shrunk))


def test_a_mean_of_everything_has_no_axes() -> None:
    for keeps in (False, True):
        whole = one_layer("MEAN", [small((2, 4), 0.05, -7), ints(0, 1)], small((), 0.03, 7), 2, keep_dims=keeps)
        equal(whole)


def test_depth_becomes_space_as_litert_s() -> None:
    equal(one_layer("DEPTH_TO_SPACE", [real(1, 3, 4, 12)], block_size=2))


def test_shapes_are_values() -> None:
    graph = one_layer("SHAPE", [real(1, 4, 7)], Tensor("shape", (), np.dtype(np.int32)), out_type=2)
    (shape,) = reference.run(graph, [np.zeros((1, 4, 7), np.float32)])
    assert shape.tolist() == [1, 4, 7] and shape.dtype == np.int32


@pytest.mark.parametrize("kind", ["SUB", "RELU", "RELU6", "PRELU", "RESIZE_BILINEAR", "DEPTH_TO_SPACE"])
@few
@given(seed=st.integers(0, 2**31))
def test_int8_slopes_limits_differences_and_sizes_are_litert_s_to_the_bit(kind: str, seed: int) -> None:
    equal(int8_layers.KINDS[kind](np.random.default_rng(seed), 9), seed)


def test_an_int8_prelu_has_slopes_of_one_scale() -> None:
    x, out = small((1, 2, 2, 3), 0.1, 0), small((), 0.2, 0)
    slopes = fixed(np.ones((1, 1, 3), np.int8), [0.1, 0.2, 0.3], axis=2)
    graph = one_layer("PRELU", [x, slopes], out)
    assert refusal(graph, graph.layers[0]) == "its slopes have 3 scales"


@pytest.mark.parametrize("zero", [-128, 3, 127])
def test_reals_are_quantised_as_litert_s(zero: int) -> None:
    equal(one_layer("QUANTIZE", [real(1, 500)], small((), 0.013, zero)))
    equal(one_layer("DEQUANTIZE", [small((1, 500), 0.013, zero)], real(), 2))
    unsigned = Tensor("unsigned", (), np.dtype(np.uint8), (0.013,), (zero + 128,))
    equal(one_layer("QUANTIZE", [small((1, 500), 0.013, zero)], unsigned, 2))


@few
@given(st.floats(0.004, 120), zeros, zeros)
def test_integers_get_another_scale_as_litert_s_to_the_bit(ratio: float, zero: int, to: int) -> None:
    """XNNPACK has the ratio of scales in 1/256 there."""
    equal(one_layer("QUANTIZE", [small((1, 999), 0.05 * ratio, zero)], small((), 0.05, to), 2))


@pytest.mark.parametrize("ratio", [0.001, 200.0])
def test_ratios_that_xnnpack_does_not_take_are_near(ratio: float) -> None:
    _, _, most = differences(one_layer("QUANTIZE", [small((1, 999), 0.05 * ratio, 3)], small((), 0.05, -7), 2))
    assert most <= 1


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_layers_of_models_that_ship_are_litert_s(path: Path) -> None:
    """Every layer alone, of random inputs; integers may differ in one of a million."""
    graph = read_layers(parse_tflite(path.read_bytes(), path.name))
    values = differing = 0
    for number, layer in enumerate(graph.layers):
        one = alone(graph, layer)
        worst, count, most = differences(one, number)
        assert worst < WITHIN and most <= 1, (number, layer.kind)
        values += sum(one.tensors[place].bytes for place in one.outputs)
        differing += count
    assert differing <= 1 + values // 1_000_000


def changed(graph: LayerGraph, number: int, **what: Any) -> LayerGraph:
    tensors = list(graph.tensors)
    tensors[number] = dataclasses.replace(tensors[number], **what)
    return dataclasses.replace(graph, tensors=tuple(tensors))


def with_option(graph: LayerGraph, **options: Any) -> LayerGraph:
    (layer,) = graph.layers
    return dataclasses.replace(graph, layers=(dataclasses.replace(layer, options={**layer.options, **options}),))


def test_what_is_not_computed_is_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    float_dense, whole_dense = dense(1, 4, 3, rng), int8_dense(4, 3, 0, 0, rng, 3)
    cases = {
        "it has the activation TANH": with_option(float_dense, fused_activation_function="TANH"),
        "its weights are no constants": changed(float_dense, 1, data=None),
        "it is said to give": changed(float_dense, 3, shape=(1, 4)),
        "the zero point of its weights is not 0": changed(whole_dense, 1, zero_point=(0, 1, 0)),
        "it takes int16": changed(whole_dense, 0, dtype=np.dtype(np.int16)),
        "it takes int8 and gives int16": changed(whole_dense, 3, dtype=np.dtype(np.int16)),
        "its values would be scaled by": changed(whole_dense, 3, scale=(1e-30,)),
        "its weights are shuffled": with_option(float_dense, weights_format="SHUFFLED4x16INT8"),
        "its inputs and outputs have different scales": changed(
            one_layer("RESHAPE", [small((4,), 0.1, 0)], new_shape=(2, 2)), 1, scale=(0.2,)
        ),
        "a window of 5 does not fit into 3": with_option(
            one_layer(
                "MAX_POOL_2D",
                [real(1, 3, 9, 1)],
                padding="SAME",
                stride_h=1,
                stride_w=1,
                filter_height=5,
                filter_width=1,
            ),
            padding="VALID",
        ),
    }
    cases |= {
        "its bias has 1 values for 3 outputs": changed(float_dense, 2, shape=(1,), data=np.zeros(1, np.float32)),
        "its bias is of int32": changed(float_dense, 2, dtype=np.dtype(np.int32)),
        "its weights are of float32": changed(whole_dense, 1, dtype=np.dtype(np.float32)),
        "it has 0 scales for 3 outputs": changed(whole_dense, 1, scale=(), zero_point=()),
        "its sums may not fit into 32 bits": changed(whole_dense, 2, data=np.full(3, 2**31 - 9, np.int32)),
        "its inputs are of float32 and int8": changed(
            one_layer("MAXIMUM", [real(4), real(4, 1)]), 1, dtype=np.dtype(np.int8)
        ),
        "its ends are offsets": with_option(
            one_layer("STRIDED_SLICE", [real(4), ints(1), ints(2), ints(1)]), offset=True
        ),
    }
    for why, graph in cases.items():
        said = refusal(graph, graph.layers[0])
        assert said is not None and said.startswith(why), (why, said)
    assert refusal(float_dense, Layer("CUMSUM", {}, (0,), (3,))) == "it is not computed"


def test_every_kind_has_one_number_and_reads_its_options_once() -> None:
    assert len(BY_CODE) == len(KINDS)
    for kind in KINDS.values():
        assert len({option.field for option in kind.options}) == len(kind.options), kind.name

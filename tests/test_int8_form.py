"""Models of float32 made models of int8: by the specification, valid for LiteRT, and the law's on every processor."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexagon_tools import needs_tools
from layer_graphs import alone, fixed, litert, one_layer, real
from leo_backends.dsp.hexagon import HexagonMachine
from leo_backends.dsp.hexagon import layers as programs
from leo_backends.dsp.layers import lacks
from leo_runtime.compress import CompressError
from leo_runtime.compress.fuse import fused
from leo_runtime.compress.int8 import _VERSIONS, calibrated, int8, require_int8_form, scale_of
from leo_runtime.compress.ranges import Range, observed, range_of
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import read_layers
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph, State
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.measure.output_loss import output_losses
from leo_runtime.measure.task_loss import Task, loss_of
from small_networks import Net, two_heads

Run = tuple[np.ndarray, ...]


def every_kind(seed: int = 0) -> LayerGraph:
    """A network with a layer of each kind that has a law of int8, but for those that move values between images."""
    net = Net(seed)
    image = net.value(1, 8, 8, 3, name="image")
    first = net.conv(image, 8, 3, 2)
    slopes = net.constant(net.rng.uniform(-0.2, 1.5, (1, 1, 8)).astype(np.float32))
    sloped = net.layer("PRELU", [first, slopes], (1, 4, 4, 8))
    deep = net.layer("RELU", [net.depthwise(sloped)], (1, 4, 4, 8))
    summed = net.layer("ADD", [deep, sloped], (1, 4, 4, 8))
    less = net.layer("SUB", [net.layer("RELU6", [summed], (1, 4, 4, 8)), first], (1, 4, 4, 8))
    pads = net.constant(np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
    padded = net.layer("PAD", [less, pads], (1, 5, 5, 8))
    size = net.constant(np.array([10, 10], np.int32))
    sized = net.layer("RESIZE_BILINEAR", [padded, size], (1, 10, 10, 8), half_pixel_centers=True)
    windows = {"padding": "SAME", "stride_w": 2, "stride_h": 2, "filter_width": 2, "filter_height": 2}
    pooled = net.layer("MAX_POOL_2D", [sized], (1, 5, 5, 8), **windows)
    averaged = net.layer("AVERAGE_POOL_2D", [sized], (1, 5, 5, 8), **windows)
    joined = net.layer("CONCATENATION", [pooled, averaged], (1, 5, 5, 16), axis=3)
    wide = net.layer("DEPTH_TO_SPACE", [joined], (1, 10, 10, 4), block_size=2)
    axes = net.constant(np.array([1, 2], np.int32))
    mean = net.layer("MEAN", [wide, axes], (1, 4))
    weights = net.weights(5, 4, axis=0)
    dense = net.layer("FULLY_CONNECTED", [mean, weights, net.bias(5, weights)], (1, 5))
    shares = net.layer("SOFTMAX", [dense], (1, 5), beta=1.0)
    odds = net.layer("LOGISTIC", [net.layer("RESHAPE", [dense], (5,), new_shape=(5,))], (5,))
    return net.graph((image,), (shares, odds, wide), "every kind")


def runs_of(graph: LayerGraph, count: int = 6, seed: int = 3) -> list[Run]:
    rng = np.random.default_rng(seed)
    return [
        tuple(rng.normal(0, 1, graph.tensors[number].shape).astype(np.float32) for number in graph.inputs)
        for _ in range(count)
    ]


def layer_by_layer(form: LayerGraph, inputs: Run, most: int) -> None:
    """Each layer's values are LiteRT's on what the reference gave it, but for so many, by 1."""
    values, differ = reference.values_of(form, inputs), 0
    for layer in form.layers:
        reads = [n for n in dict.fromkeys(layer.inputs) if n >= 0 and form.tensors[n].data is None]
        given = litert(alone(form, layer), [values[number] for number in reads])
        for number, expected in zip(layer.outputs, given, strict=True):
            if expected.dtype.kind == "f":
                np.testing.assert_array_equal(values[number], expected)
                continue
            off = np.abs(values[number].astype(int) - expected)
            assert off.max(initial=0) <= 1
            differ += int(off.sum())
    assert differ <= most


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [every_kind, two_heads])
def test_the_form_is_near_the_model_on_what_it_was_not_calibrated_on(make, seed: int) -> None:
    graph = make(seed)
    form = calibrated(graph, runs_of(graph, 20))
    for one in output_losses(graph, form, runs_of(graph, 10, seed=4), Task()):
        assert one.mean < 0.03, one


def test_the_form_has_the_model_s_inputs_and_outputs_and_int8_between() -> None:
    graph = every_kind()
    form = calibrated(graph, runs_of(graph))
    for numbers in ("inputs", "outputs"):
        pairs = zip(getattr(graph, numbers), getattr(form, numbers), strict=True)
        for one, other in ((graph.tensors[a], form.tensors[b]) for a, b in pairs):
            assert (one.name, one.shape, one.dtype) == (other.name, other.shape, other.dtype)
    inside = [layer for layer in form.layers if layer.kind not in ("QUANTIZE", "DEQUANTIZE")]
    assert {form.tensors[number].dtype.name for layer in inside for number in layer.outputs} == {"int8"}
    assert len(form.layers) - len(inside) == len(graph.inputs) + len(graph.outputs)


def test_scales_are_the_specification_s() -> None:
    """Weights symmetric, a scale each output; biases of the products' scale; shares in 1/256."""
    form = calibrated(every_kind(), runs_of(every_kind()))
    for layer in form.layers:
        tensors = [form.tensors[number] for number in layer.inputs]
        out = form.tensors[layer.outputs[0]]
        if layer.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            source, weights, bias = tensors
            axis = 3 if layer.kind == "DEPTHWISE_CONV_2D" else 0
            assert weights.axis == axis and len(weights.scale) == weights.shape[axis] and not any(weights.zero_point)
            others = tuple(other for other in range(weights.data.ndim) if other != axis)
            assert (np.abs(weights.data.astype(int)).max(axis=others) == 127).all(), "all 127 are used, -128 is not"
            products = np.float32(source.scale[0]) * np.array(weights.scale, np.float32)
            assert bias.dtype == np.int32 and bias.scale == tuple(map(float, products))
        if layer.kind in ("SOFTMAX", "LOGISTIC"):
            assert (out.scale, out.zero_point) == ((1 / 256,), (-128,))
        if layer.kind in ("PAD", "RESHAPE", "MAX_POOL_2D", "CONCATENATION", "RESIZE_BILINEAR", "DEPTH_TO_SPACE"):
            assert {one.scale for one in tensors if one.dtype == np.int8} == {out.scale}


def test_every_kind_that_takes_int8_has_a_form() -> None:
    """So that another kind with a law of int8 is not left out."""
    small = {name for name, kind in KINDS.items() if "int8" in kind.types and "float32" in kind.types}
    assert small - {"QUANTIZE", "SHAPE"} == set(_VERSIONS)


@pytest.mark.parametrize("make", [every_kind, two_heads])
def test_it_is_a_file_that_litert_runs_by_the_law(make) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra `tflite` is not installed")
    graph = make(5)
    form = calibrated(graph, runs_of(graph))
    read = read_layers(parse_tflite(write_model(form), "form"))
    inputs = runs_of(graph, 1, seed=9)[0]
    for expected, got in zip(reference.run(form, inputs), reference.run(read, inputs), strict=True):
        np.testing.assert_array_equal(expected, got)
    layer_by_layer(form, inputs, most=0)
    for expected, got in zip(litert(form, inputs), reference.run(form, inputs), strict=True):
        np.testing.assert_array_equal(expected, got)


@needs_tools
@pytest.mark.parametrize("target", ["v5", "v67-hvx"])
def test_the_dsp_takes_it_and_gives_the_same_bits(target: str) -> None:
    graph = every_kind(2)
    form = calibrated(graph, runs_of(graph))
    assert lacks(form) is None and programs.lacks(form) is None
    machine = HexagonMachine(target)
    try:
        program = programs.HexagonLayers(machine, form)
        for inputs in runs_of(graph, 2, seed=8):
            given, _ = program.counted(inputs)
            for expected, got in zip(reference.run(form, inputs), given, strict=True):
                np.testing.assert_array_equal(expected, got)
    finally:
        machine.close()


def test_an_activation_is_done_by_the_layer_before_where_nobody_else_reads_that() -> None:
    net = Net(1)
    image = net.value(1, 4, 4, 3)
    first = net.conv(image, 4)
    limited = net.layer("RELU", [first], (1, 4, 4, 4))
    second = net.conv(limited, 4)
    both = net.layer("ADD", [net.layer("RELU6", [second], (1, 4, 4, 4)), second], (1, 4, 4, 4))
    graph = net.graph((image,), (both,))
    less = fused(graph)
    assert [layer.kind for layer in less.layers] == ["CONV_2D", "CONV_2D", "RELU6", "ADD"]
    assert less.layers[0].options["fused_activation_function"] == "RELU"
    assert len(less.tensors) == len(graph.tensors) - 1
    inputs = runs_of(graph, 1)[0]
    np.testing.assert_array_equal(reference.run(graph, inputs)[0], reference.run(less, inputs)[0])


@settings(deadline=None)
@given(st.floats(-1e30, 0), st.floats(0, 1e30))
def test_a_scale_holds_its_range_and_zero(least: float, greatest: float) -> None:
    scale, zero = scale_of(Range(least, greatest))
    assert scale > 0 and -128 <= zero <= 127 and float(np.float32(scale)) == scale
    if max(greatest, -least) > 1e-35:
        assert (-128 - zero) * scale <= least + scale and (127 - zero) * scale >= greatest - scale


def test_ranges_are_of_all_runs_and_hold_0() -> None:
    graph = one_layer("RELU", [real(1, 4)])
    runs = [(np.array([[1, 2, 3, 4]], np.float32),), (np.array([[-2, 0, 0, 9]], np.float32),)]
    assert observed(graph, runs) == {0: Range(-2, 9), 1: Range(0, 9)}
    assert range_of(np.array([3.0, 5.0])) == Range(0, 5)
    assert range_of(np.arange(101.0), 99) == Range(0, 99)


def test_runs_that_give_no_numbers_are_refused() -> None:
    graph = one_layer("RELU", [real(1, 4)])
    with pytest.raises(CompressError, match="RELU: run 0 of the data gives NaN or infinity at `real`"):
        calibrated(graph, [(np.full((1, 4), np.nan, np.float32),)])


def test_outputs_that_all_runs_leave_at_0_are_fine() -> None:
    graph = two_heads()
    form = calibrated(graph, [(np.zeros((1, 8, 8, 3), np.float32),)])
    assert all(np.isfinite(one).all() for one in reference.run(form, [np.ones((1, 8, 8, 3), np.float32)]))


@pytest.mark.parametrize(("weight", "bias"), [(0.0, 7.0), (1e-9, 7.0), (1e-30, 1e-30), (1.0, 1e6)])
def test_biases_of_small_weights_fit_and_are_kept(weight: float, bias: float) -> None:
    weights = fixed(np.full((2, 1, 1, 3), weight, np.float32))
    graph = one_layer("CONV_2D", [real(1, 2, 2, 3), weights, fixed([bias, -bias])], stride_h=1, stride_w=1)
    tensors = tuple(
        dataclasses.replace(t, data=t.data.astype(np.float32), dtype=np.dtype("f4"))
        if t.size == 2 and t.data is not None
        else t
        for t in graph.tensors
    )
    graph = dataclasses.replace(graph, tensors=tensors)
    inputs = (np.ones((1, 2, 2, 3), np.float32),)
    (expected,), (got,) = reference.run(graph, inputs), reference.run(calibrated(graph, [inputs]), inputs)
    np.testing.assert_allclose(got, expected, atol=np.abs(expected).max() / 100)


def test_weights_that_two_layers_share_have_a_bias_for_each() -> None:
    net = Net(4)
    image = net.value(1, 4, 4, 4)
    first = net.conv(image, 4)
    layer = net.layers[0]
    second = net.layer("CONV_2D", [first, *layer.inputs[1:]], (1, 4, 4, 4), **dict(layer.options))
    graph = net.graph((image,), (second,))
    for one in output_losses(graph, calibrated(graph, runs_of(graph)), runs_of(graph), Task()):
        assert one.mean < 0.02


def test_an_input_may_go_through_and_an_output_come_twice() -> None:
    graph = one_layer("RELU", [real(1, 4)])
    graph = dataclasses.replace(graph, outputs=(1, 0, 1))
    inputs = (np.array([[-1, 0, 1, 2]], np.float32),)
    first, through, again = reference.run(calibrated(graph, [inputs]), inputs)
    np.testing.assert_array_equal(through, inputs[0])
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, [[0, 0, 1, 2]], atol=0.02)


def refused(graph: LayerGraph, runs: Sequence[Run] = ()) -> str:
    with pytest.raises(CompressError) as raised:
        calibrated(graph, runs or runs_of(graph, 1))
    return str(raised.value)


def test_what_has_no_form_is_said_by_name() -> None:
    assert refused(two_heads(int8=True)) == "two heads: is quantised already"
    swish = one_layer("HARD_SWISH", [real(1, 4)])
    assert refused(swish) == "HARD_SWISH: has no int8 form: there is no law of int8 for HARD_SWISH"
    state = State("kept", 0, 0, np.zeros((1, 4), np.float32))
    kept = dataclasses.replace(one_layer("RELU", [real(1, 4)]), states=(state,))
    with pytest.raises(CompressError, match="RELU: has no int8 form: it keeps a state from call to call"):
        require_int8_form(kept)


def test_sums_of_scales_too_far_apart_are_refused() -> None:
    graph = one_layer("ADD", [real(1, 4), real(1, 4)])
    far = {0: Range(0, 1), 1: Range(0, 1e6), 2: Range(0, 1e6)}
    with pytest.raises(CompressError, match=r"ADD: has no int8 form: at `out 0/int8`, ADD: an input's values would be"):
        int8(graph, far)


def test_shares_beside_other_values_are_refused() -> None:
    net = Net(1)
    image = net.value(1, 4)
    joined = net.layer("CONCATENATION", [net.layer("SOFTMAX", [image], (1, 4), beta=1.0), image], (1, 8), axis=1)
    graph = net.graph((image,), (joined,))
    assert "shares of 1 are put together with other values at" in refused(graph)


def test_decisions_are_counted() -> None:
    """Of a form that gives other values: the greatest elsewhere in one of two runs, a threshold crossed in both."""
    graph = one_layer("RELU", [real(1, 3)])
    other = one_layer("PRELU", [real(1, 3), fixed(np.array([[1.0, 1.0, 1.0]], np.float32))])
    runs = [(np.array([[-1, -2, -3]], np.float32),), (np.array([[1, 2, 3]], np.float32),)]
    (one,) = output_losses(graph, other, runs, Task("argmax"))
    assert (one.runs, one.decisions, one.magnitude, one.greatest) == (2, 0, 3.0, 1.0)
    (one,) = output_losses(other, graph, runs, Task("threshold", -0.5))
    assert one.decisions == 1
    single = one_layer("RELU", [real(1, 1)])
    (one,) = output_losses(single, single, [(np.ones((1, 1), np.float32),)], Task("argmax"))
    assert one.decisions is None


@pytest.mark.parametrize("task", [Task("argmax", output=0), Task("threshold", 0.5, output=0)])
def test_an_output_loses_what_a_task_says_that_it_loses(task: Task) -> None:
    graph = every_kind()
    form, runs = calibrated(graph, runs_of(graph)), runs_of(graph, 10, seed=4)
    one = output_losses(graph, form, runs, task)[0]
    whole = loss_of(task, [reference.run(graph, run) for run in runs], [reference.run(form, run) for run in runs])
    assert (one.runs, one.change, one.decisions) == (whole.runs, whole.change, whole.decisions)

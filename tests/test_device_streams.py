"""Features whose rows a device computes once: the DSP to the bit, OpenCL within the contract's tolerance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hexagon_tools import MISSING
from leo_backends.cpu import CpuBackend
from leo_backends.device_stream import KERNELS_MAX, DeviceStream
from leo_backends.dsp import DspBackend
from leo_backends.opencl import OpenClBackend
from leo_runtime.backend import News, StatefulKernel, Stepped, TimedKernel
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import BackendError, KernelError, MissingExtraError
from leo_runtime.testing import Tolerance, example

CPU = CpuBackend(Processor(name="cpu", backend="cpu"))
WINDOW, NEW = 4_000, 800

PARAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "log-mel": ("log_mel", {}),
    "cepstra": ("mfcc", {"lifter": 22}),
    "like Kaldi's": ("log_mel", {"like": "kaldi", "bands": 23}),
}


def dsp(memory_bytes: int | None = None, **options: Any) -> DspBackend:
    processor = Processor(name="dsp", backend="dsp", lanes=3, active_mw=50, memory_bytes=memory_bytes, options=options)
    return DspBackend(processor)


def opencl() -> OpenClBackend:
    try:
        return OpenClBackend(Processor(name="gpu", backend="opencl"))
    except (BackendError, MissingExtraError) as error:
        pytest.skip(f"no OpenCL device ({error})")


def voice(samples: int) -> np.ndarray:
    at = np.arange(samples)
    tone = np.sin(2 * np.pi * np.cumsum(150 + 60 * np.sin(at / 3000)) / 16_000)
    return (0.2 * tone**3 + np.random.default_rng(1).normal(0, 0.01, samples)).astype(np.float32)


def slid(kernel: Any, sound: np.ndarray, fresh: Sequence[int]) -> list[tuple[int, Stepped]]:
    """(end, run) of windows of which so many samples are new: the first one starts anew."""
    assert isinstance(kernel, StatefulKernel)
    end, state, found = WINDOW, kernel.start(), []
    for number, new in enumerate([0, *fresh]):
        end += new
        run = kernel.step([sound[end - WINDOW : end]], state, News(new if number else None, end))
        state = run.state
        found.append((end, run))
    return found


@pytest.mark.parametrize("arithmetic", ["numpy", "hexagon"])
@pytest.mark.parametrize(("operator", "params"), PARAMS.values(), ids=PARAMS)
def test_the_dsps_rows_of_a_stream_are_those_of_the_whole_sound(
    operator: str, params: dict[str, Any], arithmetic: str
) -> None:
    if arithmetic == "hexagon" and MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    fresh = [NEW, NEW, 37, 0, 2_500, NEW, WINDOW]
    sound = voice(WINDOW + sum(fresh))
    backend = dsp(arithmetic=arithmetic)
    whole = dsp().load(example("s", operator, [sound], **params).stage, DEFAULT_VARIANT)([sound])
    stage = example("s", operator, [sound[:WINDOW]], streaming=True, **params).stage
    for end, run in slid(backend.load(stage, DEFAULT_VARIANT), sound, fresh):
        total = example("s", operator, [sound[:end]], **params).stage.output_shape[0]
        assert np.array_equal(run.output, whole[total - len(run.output) : total]), f"at {end}"
    backend.close()


def test_the_dsp_counts_what_it_computes() -> None:
    sound = voice(WINDOW + 3 * NEW)
    stage = example("s", "log_mel", [sound[:WINDOW]], streaming=True).stage
    backend = dsp(call_us=30, clock_mhz=1)
    kernel = backend.load(stage, DEFAULT_VARIANT)
    runs = [run for _end, run in slid(kernel, sound, [NEW, 0, NEW, 1])]
    alone = example("s", "log_mel", [sound[: 4 * 160 + 400]]).stage
    five = dsp(call_us=30, clock_mhz=1).load(alone, DEFAULT_VARIANT)
    whole = dsp(call_us=30, clock_mhz=1).load(example("s", "log_mel", [sound[:WINDOW]]).stage, DEFAULT_VARIANT)
    assert isinstance(five, TimedKernel) and isinstance(whole, TimedKernel)
    five_us = five.timed([sound[: 4 * 160 + 400]]).device_us
    whole_us = whole.timed([sound[:WINDOW]]).device_us
    assert 4 * five_us < whole_us
    # 4,000 samples are 23 frames, and 80 left over of a hop.
    assert [run.device_us for run in runs] == [pytest.approx(whole_us, rel=0.01), five_us, 30, five_us, 30]
    assert all(run.device_nj == (run.device_us or 0) * 50 for run in runs)
    assert isinstance(kernel, TimedKernel)
    timed = kernel.timed([sound[:WINDOW]])
    assert timed.device_us == runs[0].device_us
    assert np.array_equal(timed.output, runs[0].output)


def test_shorter_runs_take_no_more_of_the_dsps_memory() -> None:
    sound = voice(WINDOW + 40 * NEW)
    stage = example("s", "log_mel", [sound[:WINDOW]], streaming=True).stage
    backend = dsp()
    kernel = backend.load(stage, DEFAULT_VARIANT)
    held = backend._loaded_bytes
    slid(kernel, sound, range(200, 200 + 40 * 17, 17))
    assert backend._loaded_bytes == held > 0
    assert isinstance(kernel, DeviceStream)
    assert len(kernel._kernels) <= KERNELS_MAX


def test_a_stream_goes_on_from_another_processor() -> None:
    """From the CPU to the DSP and back: the rows that each has computed are kept."""
    sound = voice(WINDOW + 2 * NEW)
    stage = example("s", "log_mel", [sound[:WINDOW]], streaming=True).stage
    kernels: list[Any] = [CPU.load(stage, DEFAULT_VARIANT), dsp().load(stage, DEFAULT_VARIANT)]
    here, there = kernels
    begun = here.step([sound[:WINDOW]], here.start(), News(None, 0))
    moved = there.step([sound[NEW : NEW + WINDOW]], begun.state, News(NEW, 1))
    back = here.step([sound[2 * NEW :]], moved.state, News(NEW, 2))
    alone = slid(here, sound, [NEW, NEW])[-1][1]
    assert np.array_equal(back.output[:13], alone.output[:13])
    assert np.array_equal(back.output[18:], alone.output[18:])
    assert not np.array_equal(back.output[13:18], alone.output[13:18])
    assert np.allclose(back.output, alone.output, atol=0.02)


@pytest.mark.parametrize("make", [dsp, opencl])
def test_what_reaches_before_a_frame_is_the_cpus(make: Any) -> None:
    backend = make()
    sound = voice(WINDOW)
    emphasised = example("s", "log_mel", [sound], streaming=True, preemphasis=0.97).stage
    assert CPU.supports(emphasised, DEFAULT_VARIANT)
    assert not backend.supports(emphasised, DEFAULT_VARIANT)
    with pytest.raises(KernelError):
        backend.load(emphasised, DEFAULT_VARIANT)
    kernel = backend.load(example("s", "log_mel", [sound], streaming=True).stage, DEFAULT_VARIANT)
    with pytest.raises(KernelError, match=r"was given the shapes \(\(3999,\),\)"):
        kernel([sound[1:]])
    backend.close()


@pytest.mark.parametrize("variant", [DEFAULT_VARIANT, "naive"])
@pytest.mark.parametrize(("operator", "params"), PARAMS.values(), ids=PARAMS)
def test_opencls_rows_of_a_stream_are_the_cpus(operator: str, params: dict[str, Any], variant: str) -> None:
    backend = opencl()
    fresh = [NEW, NEW, 37, 0, 2_500, WINDOW]
    sound = voice(WINDOW + sum(fresh))
    stage = example("s", operator, [sound[:WINDOW]], streaming=True, **params).stage
    object.__setattr__(stage, "params", {**stage.params, variant: stage.params[DEFAULT_VARIANT]})
    here = slid(CPU.load(stage, DEFAULT_VARIANT), sound, fresh)
    there = slid(backend.load(stage, variant), sound, fresh)
    for (end, expected), (_end, run) in zip(here, there, strict=True):
        assert Tolerance().excess(run.output, expected.output) <= 0, f"at {end}"
        assert run.device_us is not None and run.device_us > 0
    backend.close()

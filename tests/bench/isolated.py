"""What a call into the process of isolated stages costs, beside the same call in this process: in turn, in one run.

`python tests/bench/isolated.py`. The operator gives its input back, so that all there is to measure are the calls.
"""

import statistics
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil

from leo_backends.cpu import CpuBackend
from leo_backends.isolated.kernel import IsolatedKernel
from leo_runtime.backend import Kernel
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import KernelError
from leo_runtime.testing import example

SIZES = {"0 B": 0, "64 kB": 16_384, "1 MB": 262_144}
CALLS, ROUNDS = 200, 25


def main() -> None:
    """Print a line for each size, then memory and how long a start takes."""
    operator = f"{Path(__file__).parent}/echo:echo"
    here = CpuBackend(Processor(name="cpu", backend="cpu"))
    there = CpuBackend(Processor(name="cpu", backend="cpu", options={"isolate": ["own"]}))
    with closing(here), closing(there):
        print(f"{'size':>6}  {'here us':>8}  {'there us':>8}  {'p95':>6}  {'more us':>8}  {'times':>6}")
        for name, values in SIZES.items():
            array = np.zeros(values, np.float32)
            stage = example(name, operator, [array]).stage
            kernels = [backend.load(stage, DEFAULT_VARIANT) for backend in (here, there)]
            assert isinstance(kernels[1], IsolatedKernel)
            taken: list[list[float]] = [[], []]
            for _ in range(ROUNDS):
                for kernel, times in zip(kernels, taken, strict=True):
                    times += timed(kernel, array)
            ours, theirs = (statistics.median(times) for times in taken)
            p95 = statistics.quantiles(taken[1], n=20)[-1]
            print(f"{name:>6}  {ours:8.1f}  {theirs:8.1f}  {p95:6.1f}  {theirs - ours:8.1f}  {theirs / ours:6.1f}")
        assert there._isolated[""].pid is not None
        process = psutil.Process(there._isolated[""].pid)
        memory = process.memory_full_info()
        print(f"the process: {memory.rss / 1e6:.1f} MB resident, {memory.uss / 1e6:.1f} MB of them its own alone")
        kernel = kernels[1]
        assert isinstance(kernel, IsolatedKernel)
        print(f"from its end to the next answer: {restarts(there, kernel, array)}")
        kernel.fail_while_starting()
        print(f"the same with a spare process: {restarts(there, kernel, array)}")
        spare = there._isolated[""]._spare._worker
        assert spare is not None
        time.sleep(1.0)
        memory = psutil.Process(spare.pid).memory_full_info()
        print(f"the spare process: {memory.rss / 1e6:.1f} MB resident, {memory.uss / 1e6:.1f} MB of them its own alone")
        busy = sum(psutil.Process(there._isolated[""].pid).cpu_times()[:2])
        if "--idle" in sys.argv:
            time.sleep(10.0)
            spent = sum(psutil.Process(there._isolated[""].pid).cpu_times()[:2]) - busy
            print(f"idle for 10 s: {1000 * spent:.0f} ms of process time")


def restarts(backend: CpuBackend, kernel: Kernel, array: np.ndarray) -> str:
    """How long it takes from the process's end to the next answer: the median, the least and the most of 10."""
    times = []
    for _ in range(10):
        time.sleep(1.0)  # A spare process has come to rest.
        pid = backend._isolated[""].pid
        assert pid is not None
        process = psutil.Process(pid)
        began = time.perf_counter()
        process.kill()
        process.wait()
        while True:
            try:
                kernel([array])
                break
            except KernelError:  # It is being started.
                time.sleep(0.001)
        times.append(1000 * (time.perf_counter() - began))
    return f"{statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})"


def timed(kernel: Kernel, array: np.ndarray) -> list[float]:
    """How long calls took, in microseconds; the first ones are for the machine to find out."""
    times = []
    for _ in range(CALLS):
        began = time.perf_counter_ns()
        kernel([array])
        times.append((time.perf_counter_ns() - began) / 1000)
    return times[CALLS // 10 :]


if __name__ == "__main__":
    main()

"""How much tuned OpenCL kernels gain over naive ones, and how near dense layers come to numpy. Run by hand.

    python tests/bench/opencl_bars.py               the whole device against one thread of numpy
    taskset -c 0 python tests/bench/opencl_bars.py  core against core, where the device is the CPU

Every contender takes its turn in every round of one run; times are the device's own, numpy's are the clock's.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from leo_backends.opencl import OpenClBackend
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.measure.bench_audio import workload_stages
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters

ROWS, WIDTH = 500, 512


def main(rounds: int) -> None:
    backend = OpenClBackend(Processor(name="gpu", backend="opencl"))
    print(f"device: {backend.driver}")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        contest("GMM model, 128 x 39, 500 frames", backend, one_class(Path(folder)), rounds)
        stages = workload_stages(Path(folder))
        contest("GMM model, 16 x 128 x 39, 500 frames", backend, stages["gmm model"], rounds)
        contest("DNN model, 40-512-512-512-16, 500 rows", backend, stages["dnn model"], rounds)
        layer(backend, Path(folder), rounds)
    backend.close()


def contest(title: str, backend: OpenClBackend, stage: BoundStage, rounds: int) -> None:
    """Naive against tuned."""
    array = np.random.default_rng(0).standard_normal(stage.input_shapes[0], dtype=np.float32)
    kernels = {name: backend.load(stage, variant) for name, variant in (("naive", "naive"), ("tuned", "default"))}
    times = turns({name: lambda k=kernel: k.timed([array]).device_us for name, kernel in kernels.items()}, rounds)
    show(title, times)
    print(f"  tuned over naive: {times['naive'][0] / times['tuned'][0]:.1f}x")


def layer(backend: OpenClBackend, folder: Path, rounds: int) -> None:
    """One dense layer against numpy's product on one thread."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / WIDTH
    np.savez(folder / "layer.npz", weights_0=weights, bias_0=np.zeros(WIDTH, np.float32))
    params = DenseParameters(layers=(WIDTH,), per_row=True, model=folder / "layer.npz")
    base = workload_stages(folder)["dnn model"]
    stage = replace(base, params={"default": params}, input_shapes=((ROWS, WIDTH),), output_shape=(ROWS, WIDTH))
    array = rng.standard_normal((ROWS, WIDTH), dtype=np.float32)
    kernel = backend.load(stage, "default")

    def numpy_us() -> float:
        began = time.perf_counter()
        array @ weights
        return (time.perf_counter() - began) * 1e6

    times = turns({"tuned": lambda: kernel.timed([array]).device_us, "numpy, 1 thread": numpy_us}, 4 * rounds)
    show("one dense layer, 512 x 512, 500 rows", times)
    for name, (quartile, _) in times.items():
        print(f"  {name}: {2 * ROWS * WIDTH * WIDTH / quartile / 1000:.0f} GFLOP/s")


def one_class(folder: Path) -> BoundStage:
    stage = workload_stages(folder)["gmm model"]
    params = stage.params["default"]
    assert isinstance(params, GmmParameters)
    with np.load(params.model) as file:
        np.savez(folder / "one.npz", **{name: file[name][:1] for name in file.files})
    one = params.model_copy(update={"classes": 1, "model": folder / "one.npz"})
    return replace(stage, params=dict.fromkeys(stage.params, one), output_shape=(1,))


def turns(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, tuple[float, float]]:
    """Lower quartile and median of each, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(run())
    return {name: (statistics.quantiles(t, n=4)[0], statistics.median(t)) for name, t in times.items()}


def show(title: str, times: dict[str, tuple[float, float]]) -> None:
    print(title)
    for name, (quartile, median) in times.items():
        print(f"  {name:16} lower quartile {quartile:9.0f} us   median {median:9.0f} us")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    main(parser.parse_args().rounds)

"""How long layers of networks take on OpenCL, beside LiteRT on one thread. Run by hand.

    python tests/bench/layers.py MODEL.tflite ...            whole, and its blocks of 0.05 ms or more
    python tests/bench/layers.py --layers MODEL.tflite       every layer, too: what a launch alone costs

OpenCL's times are the device's own, from its first launch to its last end, on one unit (`--units`); LiteRT's are those
of `invoke`. Both take their turns in every round of one run, and the least of each counts: what else runs on the
machine only ever adds. The error is the greatest against numpy, of reals as part of the greatest magnitude.
"""

import argparse
import mmap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leo_backends.opencl.device import Device, LoadedSteps
from leo_backends.opencl.layer_plans import lacks, plan_graph
from leo_backends.opencl.messages import Choice
from leo_backends.opencl.plans import Family
from leo_backends.opencl.tuning import Tuning
from leo_runtime.errors import InputError
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import read_layers
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import count, reference
from leo_runtime.layers.cut import blocks, layers, pieces
from leo_runtime.layers.graph import LayerGraph

LEAST_US = 50
"""Shorter blocks are mostly launches."""
LAUNCH_US = 1.5
"""About what a launch in a chain costs on PoCL: 11 launches of a network of 0.06 MMAC take 17.6 us."""


@dataclass(frozen=True)
class Times:
    """Of a piece: least times in microseconds, and how many launches it takes."""

    opencl_us: float
    litert_us: float
    launches: int
    macs: int
    error: float

    def shown(self) -> str:
        share = 100 * LAUNCH_US * self.launches / self.opencl_us
        return (
            f"{self.macs / 1e6:8.2f} MMAC  OpenCL {self.opencl_us:8.1f} us  LiteRT {self.litert_us:8.1f} us  "
            f"{self.opencl_us / self.litert_us:5.2f}x  {self.launches:4} launches ({share:3.0f} %)  "
            f"error {self.error:.1e}"
        )


def main(paths: Sequence[Path], rounds: int, units: int, every_layer: bool) -> None:
    device = Device.open(Choice(platform="Portable", units=units))
    print(f"device: {device.fingerprint}; the least of {rounds} rounds")
    for path in paths:
        try:
            graph = read_layers(parse_tflite(path.read_bytes(), path.name))
        except InputError as error:
            print(f"{path.name}: {error}")
            continue
        if (why := lacks(graph)) is not None:
            print(f"{path.name}: {why}")
            continue
        print(f"{path.name}\n  whole      {timed(device, graph, rounds).shown()}")
        for number, block in enumerate(pieces(graph, blocks(graph))):
            if number_of_products(block) and (times := timed(device, block, rounds)).opencl_us >= LEAST_US:
                print(f"  block {number:3}  {times.shown()}")
        if every_layer:
            for number, layer in enumerate(pieces(graph, layers(graph))):
                kinds = ", ".join(one.kind for one in layer.layers)
                print(f"  layer {number:3}  {timed(device, layer, rounds).shown()}  {kinds}")


def number_of_products(graph: LayerGraph) -> int:
    return sum(layer.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") for layer in graph.layers)


def timed(device: Device, graph: LayerGraph, rounds: int) -> Times:
    """A piece on both, in turns."""
    rng = np.random.default_rng(0)
    inputs = [some_values(graph, number, rng) for number in graph.inputs]
    on_device, outputs, launches = on_opencl(device, graph, inputs)
    contenders = {"opencl": on_device, "litert": on_litert(graph, inputs)}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(run())
    opencl_us, litert_us = map(min, times.values())
    error = max(differences(reference.run(graph, inputs), outputs()), default=0.0)
    return Times(opencl_us, litert_us, launches, count.macs(graph), error)


def some_values(graph: LayerGraph, number: int, rng: np.random.Generator) -> np.ndarray:
    tensor = graph.tensors[number]
    if tensor.dtype.kind == "f":
        return rng.uniform(-1, 1, tensor.shape).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.dtype)


def differences(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> Iterator[float]:
    """Of reals, as part of the greatest magnitude; of integers, as they are."""
    for one, other in zip(expected, got, strict=True):
        worst = float(np.abs(one.astype(np.float64) - other).max())
        yield worst / max(1e-30, float(np.abs(one).max())) if one.dtype.kind == "f" else worst


def on_opencl(
    device: Device, graph: LayerGraph, inputs: Sequence[np.ndarray]
) -> tuple[Callable[[], float], Callable[[], list[np.ndarray]], int]:
    """A run, which tells its device time in microseconds; what it gave; and how many launches it is."""
    plan = plan_graph(graph, Family(Tuning.of_device(device.fingerprint)))
    sides = [[border.buffer for border in side] for side in (plan.inputs, plan.outputs)]
    loaded = LoadedSteps(device, plan.steps, plan.buffers(), *sides)
    with loaded.file:
        shared = np.frombuffer(mmap.mmap(loaded.file.fileno(), 0), np.uint8)
    arrays = [
        shared[4 * first :][: border.tensor.bytes].view(border.tensor.dtype).reshape(border.tensor.shape)
        for first, border in zip(loaded.firsts, (*plan.inputs, *plan.outputs), strict=True)
    ]
    for place, values in zip(arrays, inputs, strict=False):
        place[...] = values

    def run() -> float:
        start_ns, end_ns = loaded.run()
        return (end_ns - start_ns) / 1000

    return run, lambda: arrays[len(inputs) :], len(plan.steps)


def on_litert(graph: LayerGraph, inputs: Sequence[np.ndarray]) -> Callable[[], float]:
    """A run on one thread, which tells its time in microseconds."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=write_model(graph), num_threads=1)
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)

    def run() -> float:
        began = time.perf_counter()
        interpreter.invoke()
        return (time.perf_counter() - began) * 1e6

    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--units", type=int, default=1, help="compute units of the device (default: 1)")
    parser.add_argument("--layers", action="store_true", help="every layer, too")
    given = parser.parse_args()
    main(given.models, given.rounds, given.units, given.layers)

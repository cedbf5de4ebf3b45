"""Measures the table of Georgiev et al. (MobiSys 2017) on the machine at hand, beside the published one.

Two audio pipelines over five seconds of sound: MFCC features scored by Gaussian mixtures, and log-mel features through
a dense network. As in the paper, features stay on one CPU thread wherever the model runs on the CPU or the GPU, and run
on the DSP with the DSP's. Its shapes are not all published; ours are said at `GMM_CLASSES` and below.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from leo_runtime.backend import Kernel, TimedKernel, is_simulated
from leo_runtime.backend.machine import Machine, open_backends
from leo_runtime.clock import WallClock
from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.workload import Stream, Variant, Workload
from leo_runtime.errors import LeoError
from leo_runtime.progress import Progress

SAMPLES = 80_240
"""At 16 kHz; 500 frames of 25 ms, one every 10 ms."""
GMM_CLASSES, GMM_COMPONENTS, GMM_DIMENSIONS = 16, 128, 39
"""How many classes is our choice: it makes the model about as much heavier than its features as in the paper."""
DNN_LAYERS = (512, 512, 512, 16)
DNN_INPUTS = 40
ROUNDS = 15
SEED = 2017

COLUMNS = ("gmm_full_us", "gmm_model_us", "dnn_full_us", "dnn_model_us")
PUBLISHED: Mapping[str, tuple[float, float, float, float]] = {
    "CPU": (1.0, 1.0, 1.0, 1.0),
    "CPU-m": (3.0, 3.4, 2.8, 2.9),
    "n-GPU": (3.1, 3.6, 1.8, 1.8),
    "a-GPU": (8.2, 16.2, 13.5, 21.3),
    "DSP": (-8.8, -8.6, -4.5, -4.0),
    "DSP-m": (-3.2, -2.5, -2.1, -1.5),
}
"""P. Georgiev, N. D. Lane, C. Mascolo, D. Chu, MobiSys 2017, on a Snapdragon 800: times as fast as one CPU thread,
which took 1573, 1472, 501 and 490 ms; negative: so many times as slow."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell of the table came to."""

    median_us: int
    spread_percent: int
    """Half the distance between the quartiles, in percent of the median; 0 for a model's time."""
    runs: int


@dataclass(frozen=True, slots=True)
class Row:
    """One processor. `cells` follow `COLUMNS`; None: it cannot run here, and `notes` say why."""

    processor: str
    cells: tuple[Cell | None, ...]
    measured: bool
    """False for simulated times, and where nothing could be measured."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """What runs a row's features and model, with which variant."""

    features: Processor
    model: Processor
    variant: str = "default"


def places() -> dict[str, _Place]:
    """Every row's processors."""
    cpu = Processor(name="cpu", backend="cpu")
    all_cores = Processor(name="cpu-m", backend="cpu", options={"threads": len(os.sched_getaffinity(0))})
    gpu = Processor(name="gpu", backend="opencl")
    dsp = Processor(name="dsp", backend="dsp")
    dsp_threads = Processor(name="dsp-m", backend="dsp", options={"threads": 3})
    return {
        "CPU": _Place(cpu, cpu),
        "CPU-m": _Place(cpu, all_cores),
        "n-GPU": _Place(cpu, gpu, "naive"),
        "a-GPU": _Place(cpu, gpu),
        "DSP": _Place(dsp, dsp),
        "DSP-m": _Place(dsp_threads, dsp_threads),
    }


def _machine(used: Iterable[_Place]) -> Hardware:
    """The processors of all rows, each once."""
    processors = {processor.name: processor for place in used for processor in (place.features, place.model)}
    return Hardware(format="leo-hardware/1", name="bench", processors=tuple(processors.values()))


def bench(rounds: int = ROUNDS, progress: Progress = lambda *_: None) -> tuple[Row, ...]:
    """Measure all rows; every round runs every cell once, so that a busy moment of the machine hits all alike."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leo-bench-")))
        stages = workload_stages(folder)
        sound = _sound()
        machine = stack.enter_context(open_backends(_machine(places().values())))
        runners = {name: _Runner(place, machine, stages, sound) for name, place in places().items()}
        times_us: dict[tuple[str, str], list[int]] = {}
        for done in range(rounds):
            for name, runner in runners.items():
                for pipeline in runner.ready:
                    full_us, model_us = runner.run(pipeline)
                    times_us.setdefault((name, f"{pipeline}_full_us"), []).append(full_us)
                    times_us.setdefault((name, f"{pipeline}_model_us"), []).append(model_us)
            progress("", done + 1, rounds)
        return tuple(_row(name, runner, times_us) for name, runner in runners.items())


def as_json(rows: tuple[Row, ...]) -> dict[str, Any]:
    """The rows as the command prints them."""
    return {
        "rows": [
            {"processor": row.processor}
            | {name: None if cell is None else cell.median_us for name, cell in zip(COLUMNS, row.cells, strict=True)}
            | {"measured": row.measured}
            for row in rows
        ]
    }


def workload_stages(folder: Path) -> dict[str, BoundStage]:
    """The four stages, by `gmm features`, `gmm model` and so on; models with seeded random weights go to `folder`."""
    _write_models(folder)
    variants = (Variant(name="default"), Variant(name="naive"))
    stages: dict[str, BoundStage] = {}
    for pipeline in ("gmm", "dnn"):
        graph = GraphBuilder(pipeline, period_us=5_000_000, deadline_us=5_000_000)
        sound = graph.stage("sound", "window", stream="mic", samples=SAMPLES)
        if pipeline == "gmm":
            features = graph.stage("features", "mfcc", sound, deltas=True, normalise_mean=True, variants=variants)
            graph.stage(
                "model",
                "gmm",
                features,
                variants=variants,
                classes=GMM_CLASSES,
                components=GMM_COMPONENTS,
                dimensions=GMM_DIMENSIONS,
                model=str(folder / "gmm.npz"),
            )
        else:
            features = graph.stage("features", "log_mel", sound, bands=DNN_INPUTS, variants=variants)
            graph.stage(
                "model",
                "dense",
                features,
                variants=variants,
                layers=list(DNN_LAYERS),
                softmax=True,
                per_row=True,
                average=True,
                model=str(folder / "dnn.npz"),
            )
        workload = Workload(
            format="leo-workload/1",
            name=pipeline,
            streams=(Stream(name="mic", kind="audio", rate_hz=16_000),),
            graphs=(graph.build(),),
        )
        bound = bind(workload.graphs[0], workload)
        stages |= {f"{pipeline} {name}": bound[name] for name in ("features", "model")}
    return stages


class _Runner:
    """A row's kernels, loaded and warm."""

    def __init__(self, place: _Place, machine: Machine, stages: Mapping[str, BoundStage], sound: np.ndarray) -> None:
        self.notes: list[str] = []
        self.simulated = False
        self.ready: dict[str, tuple[Kernel, Kernel]] = {}
        self._sound = sound
        for pipeline in ("gmm", "dnn"):
            try:
                features_on, model_on = machine.backend(place.features.name), machine.backend(place.model.name)
                self.simulated = is_simulated(model_on)
                kernels = (
                    features_on.load(stages[f"{pipeline} features"], "default"),
                    model_on.load(stages[f"{pipeline} model"], place.variant),
                )
                kernels[1]([kernels[0]([sound])])  # Cold runs are no part of the table.
            except LeoError as error:
                self.notes.append(f"{pipeline}: {error}" + (f" ({error.hint})" if error.hint else ""))
            else:
                self.ready[pipeline] = kernels

    def run(self, pipeline: str) -> tuple[int, int]:
        """Microseconds of the full pipeline and of its model alone."""
        features, model = self.ready[pipeline]
        features_us, rows = self._timed(features, self._sound)
        model_us, _ = self._timed(model, rows)
        return features_us + model_us, model_us

    def _timed(self, kernel: Kernel, array: np.ndarray) -> tuple[int, np.ndarray]:
        if self.simulated and isinstance(kernel, TimedKernel):
            run = kernel.timed([array])
            return run.device_us, run.output
        clock = WallClock()
        began_us = clock.now_us()
        output = kernel([array])
        return max(1, clock.now_us() - began_us), output


def _row(name: str, runner: _Runner, times_us: Mapping[tuple[str, str], list[int]]) -> Row:
    cells = tuple(_cell(times_us[name, column]) if (name, column) in times_us else None for column in COLUMNS)
    measured = not runner.simulated and any(cell is not None for cell in cells)
    return Row(name, cells, measured, tuple(runner.notes))


def _cell(times_us: list[int]) -> Cell:
    middle = median(times_us)
    low, _, high = quantiles(times_us, n=4, method="inclusive") if len(times_us) > 1 else (middle,) * 3
    return Cell(round(middle), round(50 * (high - low) / middle), len(times_us))


def _sound() -> np.ndarray:
    """Five seconds of a gliding tone in noise, in [-1, 1)."""
    t = np.arange(SAMPLES) / 16_000
    noise = np.random.default_rng(SEED).normal(0, 0.01, SAMPLES)
    sound: np.ndarray = (0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t) + noise).astype(np.float32)
    return sound


def _write_models(folder: Path) -> None:
    """Random weights of the size such models have: what a weight is does not change how long it takes."""
    rng = np.random.default_rng(SEED)
    shape = (GMM_CLASSES, GMM_COMPONENTS, GMM_DIMENSIONS)
    np.savez(
        folder / "gmm.npz",
        means=rng.normal(0, 2, shape).astype(np.float32),
        variances=rng.uniform(1, 4, shape).astype(np.float32),
        log_weights=np.full(shape[:2], -np.log(GMM_COMPONENTS), np.float32),
    )
    sizes = (DNN_INPUTS, *DNN_LAYERS)
    arrays: dict[str, Any] = {"mean": np.full(DNN_INPUTS, -6, np.float32), "scale": np.full(DNN_INPUTS, 3, np.float32)}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        arrays[f"weights_{i}"] = rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(np.float32)
        arrays[f"bias_{i}"] = np.zeros(outputs, np.float32)
    np.savez(folder / "dnn.npz", **arrays)

"""Finds the tiles that are fastest on a device, shape by shape. Needs the extra `tune`; running tuned kernels does not.

`kernel_tuner` searches the parameters of `tuned.cl`. Its winners and the rule's tile then meet in one run, in turns,
and the one with the least lower quartile is kept: what else runs on the machine only ever adds to a time, and a single
lucky run wins nothing. A gain of less than `WORTHWHILE_PERCENT` is none.

Unlike the backend this works in the calling process: a driver that aborts ends it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from leo_backends.opencl.backend import OPERATORS
from leo_backends.opencl.layer_places import GraphPlan
from leo_backends.opencl.layer_plans import lacks, plan_graph
from leo_backends.opencl.messages import Choice
from leo_backends.opencl.plans import (
    ACTIVATIONS,
    Buffer,
    Family,
    Matrix,
    Plan,
    add_affine,
    add_gmm,
    add_power,
    plan_stage,
)
from leo_backends.opencl.tuning import (
    KernelName,
    Shape,
    Tile,
    TunedEntry,
    TunedTable,
    Tuning,
    cut,
    user_table_path,
    vector_width,
)
from leo_backends.piece import graph_of
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import MissingExtraError
from leo_runtime.layers.graph import Layer, LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.operators.model_parameters import ModelParameters

FINALISTS = 3
DUEL_ROUNDS = 25
WORTHWHILE_PERCENT = 5
SEED = 1
MOST_SUMS = 32
"""More vectors of sums than these are in no processor's registers."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Asked(Tuning):
    """A tuning that notes what it is asked for."""

    shapes: dict[tuple[KernelName, Shape], None] = field(default_factory=dict)

    def tile(self, kernel: KernelName, shape: Shape) -> Tile:
        self.shapes[kernel, shape] = None
        return self.rule(kernel, shape)


def tune(
    options: Mapping[str, Any],
    stages: Sequence[tuple[BoundStage, str]],
    *,
    tries: int,
    out: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Path:
    """Tune every kernel that these stages' variants use. Returns where the table is: `out`, or the user's cache.

    `options` are those of the processor, `tries` how many configurations are searched for each shape. `progress` gets
    a shape, and its nanoseconds with the rule's tile and with the winner.
    Raises `MissingExtraError`, `DeviceUnavailableError`, `KernelError`.
    """
    tuner = _needed("kernel_tuner", "tune")
    _needed("pyopencl", "opencl")
    from leo_backends.opencl.device import Device

    device = Device.open(Choice(options.get("platform"), options.get("device"), options.get("units")))
    asked = _Asked(device.fingerprint)
    for stage, variant in stages:
        params = stage.params[variant]
        if isinstance(params, ModelParameters):
            _ask_for_layers(params, Family(asked))
        elif stage.operator.name in OPERATORS:
            plan_stage(stage.operator.name, params, stage.input_shapes[0], Family(asked))
    entries = []
    for kernel, shape in asked.shapes:
        entry = _tuned(tuner, device, kernel, shape, tries)
        progress(f"{kernel} {shape.rows} x {shape.inputs} x {shape.outputs}", entry.before_ns, entry.after_ns)
        entries.append(entry)
    version = importlib.metadata.version("kernel_tuner")
    table = TunedTable(
        format="leo-tuned/1",
        device=device.fingerprint,
        tuner=f"kernel_tuner {version}, random sample of {tries}, then {DUEL_ROUNDS} rounds in turns",
        entries=tuple(entries),
    )
    path = out or user_table_path(device.fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_file(path)
    return path


def _ask_for_layers(params: ModelParameters, family: Family) -> None:
    """Plan a model's layers, where there are kernels for them."""
    graph = graph_of(params)
    if lacks(graph) is None:
        plan_graph(graph, family)


def _tuned(tuner: Any, device: Any, kernel: KernelName, shape: Shape, tries: int) -> TunedEntry:
    rule = Tuning(device.fingerprint).rule(kernel, shape)
    if kernel == "conv":
        found = conv_tiles(shape, device.fingerprint)[:tries]
    else:
        found = _search(tuner, device, kernel, shape, tries)
    quartiles_ns = _duel(device, kernel, shape, [rule, *(tile for tile in found if tile != rule)])
    best = min(quartiles_ns, key=lambda tile: quartiles_ns[tile])
    if 100 * quartiles_ns[best] > (100 - WORTHWHILE_PERCENT) * quartiles_ns[rule]:
        best = rule
    return TunedEntry(
        kernel=kernel,
        rows=shape.rows,
        inputs=shape.inputs,
        outputs=shape.outputs,
        tile=best,
        before_ns=quartiles_ns[rule],
        after_ns=quartiles_ns[best],
    )


def _needed(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError("tuning OpenCL kernels", extra) from None


def space(kernel: KernelName, shape: Shape, device: Mapping[str, str | int]) -> dict[str, list[int]]:
    """The values of each parameter that are worth trying for a shape.

    On a CPU a work-group is one work-item: the lanes of its vectors are what lies side by side.
    """
    width = int(device.get("vector_width", 1))
    is_cpu = device.get("type") == "cpu"
    return {
        "VEC": [v for v in (4, 8, 16) if width <= v <= 2 * width] or [1, 4],
        "COLS": [2, 4] if kernel == "power" else [1, 2, 3, 4, 8],
        "ROWS": [r for r in (1, 2, 3, 4, 5, 6, 8, 12) if r <= shape.rows],
        "LX": [1] if is_cpu else [8, 16, 32, 64],
        "ORDER": [0] if kernel == "gmm" else [0, 1],
        "STAGE": [0] if is_cpu or kernel == "gmm" else [0, 64],
    }


def is_sensible(kernel: KernelName, shape: Shape, tile: Tile) -> bool:
    """Whether it is neither cut down for the shape nor hopeless: too many sums, or staging for a single work-item."""
    if cut(tile, kernel, shape) != tile or (tile.stage and tile.lx == 1):
        return False
    sums = tile.rows * tile.cols * tile.vec
    return 16 <= sums <= 256 or shape.rows * shape.outputs < 64


def conv_tiles(shape: Shape, device: Mapping[str, str | int]) -> list[Tile]:
    """The tiles worth trying for a convolution, those with the most sums first. They are few: all of them meet."""
    vec = vector_width(device)
    vectors = -(-shape.outputs // vec)
    sizes = [
        (rows, cols)
        for rows in (1, 2, 4, 6, 8, 12, 16)
        for cols in (1, 2, 3, 4, 6, 8)
        if rows <= shape.rows and vectors % cols == 0 and rows * cols <= MOST_SUMS
    ]
    return [Tile(vec=vec, cols=cols, rows=rows) for rows, cols in sorted(sizes, key=lambda one: -one[0] * one[1])]


def _search(tuner: Any, device: Any, kernel: KernelName, shape: Shape, tries: int) -> list[Tile]:
    """The best few tiles that `kernel_tuner` finds."""
    import pyopencl as cl

    parameters = space(kernel, shape, device.fingerprint)
    # The order of dimensions decides which of them the work-items of a group lie along.
    parameters |= {"block_size_x": sorted({1, *parameters["LX"]}), "block_size_y": sorted({1, *parameters["LX"]})}

    def allowed(values: dict[str, int]) -> bool:
        tile = _tile(values)
        sizes = (1, tile.lx) if kernel != "gmm" and tile.order else (tile.lx, 1)
        return sizes == (values["block_size_x"], values["block_size_y"]) and is_sensible(kernel, shape, tile)

    def groups(values: dict[str, int]) -> tuple[int, int]:
        tile = _tile(values)
        width = tile.width // (2 if kernel == "power" else 1)
        along, tiles = -(-shape.outputs // width), -(-shape.rows // tile.rows)
        if kernel == "gmm":
            return tiles, 1
        return (tiles, along) if tile.order else (along, tiles)

    platforms = cl.get_platforms()
    names = [platform.name for platform in platforms]
    number = names.index(device.fingerprint["platform"])
    devices = [d.name.strip() for d in platforms[number].get_devices()]
    act = ACTIVATIONS["power" if kernel == "power" else "relu"]
    options = ["-DGMM" if kernel == "gmm" else "-DAFFINE", f"-DACT={act}", "-DHALF=0"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The tuner's and the compiler's own business.
        results, _ = tuner.tune_kernel(
            "gmm" if kernel == "gmm" else "affine",
            Path(__file__).with_name("tuned.cl").read_text(encoding="utf-8"),
            groups,
            _arguments(kernel, shape),
            parameters,
            grid_div_x=[],
            grid_div_y=[],
            restrictions=allowed,
            lang="OpenCL",
            platform=number,
            device=devices.index(device.fingerprint["name"]),
            compiler_options=options,
            iterations=9,
            strategy="random_sample",
            strategy_options={"max_fevals": tries},
            seed=SEED,
            objective="least_ms",
            objective_higher_is_better=False,
            metrics={"least_ms": lambda run: min(run["times"])},
            quiet=True,
        )
    timed = [run for run in results if isinstance(run.get("least_ms"), float)]
    return [_tile(run) for run in sorted(timed, key=lambda run: run["least_ms"])[:FINALISTS]]


def _tile(values: dict[str, int]) -> Tile:
    names: tuple[Literal["vec", "cols", "rows", "lx", "order", "stage"], ...]
    names = ("vec", "cols", "rows", "lx", "order", "stage")
    return Tile.model_validate({name: int(values[name.upper()]) for name in names})


def _arguments(kernel: KernelName, shape: Shape) -> list[Any]:
    """Arrays large enough for every tile's padding: what a weight is does not change how long it takes."""
    most = 512  # The widest tile and the tallest, with room.
    rng = np.random.default_rng(SEED)
    rows, outputs = shape.rows + 16, 2 * (shape.outputs + most)
    x = rng.standard_normal(rows * shape.inputs, dtype=np.float32)
    w = rng.standard_normal(2 * shape.inputs * outputs, dtype=np.float32)
    b = np.zeros(outputs, np.float32)
    y = np.zeros(rows * outputs, np.float32)
    head = [x, np.int32(0), np.int32(shape.inputs), w, b, y]
    if kernel == "gmm":
        return [*head, np.int32(1), np.int32(shape.outputs), np.int32(shape.inputs)]
    return [*head, np.int32(shape.inputs), np.int32(shape.outputs), np.float32(0)]


def _duel(device: Any, kernel: KernelName, shape: Shape, tiles: Sequence[Tile]) -> dict[Tile, int]:
    """The lower quartiles, in nanoseconds, of the times of tiles that take turns."""
    from leo_backends.opencl.device import LoadedPlan, LoadedSteps

    plans: list[tuple[Tile, LoadedSteps]] = []
    for tile in tiles:
        if kernel == "conv":
            steps = single_conv(shape, tile, device.fingerprint)
            borders = [[border.buffer for border in side] for side in (steps.inputs, steps.outputs)]
            plans.append((tile, LoadedSteps(device, steps.steps, steps.buffers(), *borders)))
        else:
            plans.append((tile, LoadedPlan(device, single_step(kernel, shape, tile))))
        plans[-1][1].file.close()
    times_ns: dict[Tile, list[int]] = {tile: [] for tile in tiles}
    for _, (tile, plan) in itertools.product(range(DUEL_ROUNDS), plans):
        start_ns, end_ns = plan.run()
        times_ns[tile].append(end_ns - start_ns)
    return {tile: round(statistics.quantiles(times, n=4)[0]) for tile, times in times_ns.items()}


def single_step(kernel: KernelName, shape: Shape, tile: Tile | None, *, naive: bool = False) -> Plan:
    """A plan of one launch with random weights, in a tile or naive."""
    rng = np.random.default_rng(SEED)
    family = Family(Tuning({}), naive=naive)
    plan = Plan(Buffer(shape.rows * shape.inputs))
    x = Matrix(plan.input, shape.rows, shape.inputs, shape.inputs)
    weights = rng.standard_normal((shape.inputs, shape.outputs)) / shape.inputs
    match kernel:
        case "affine":
            plan.output = add_affine(plan, x, weights, np.zeros(shape.outputs), "relu", family, tile=tile)
        case "power":
            plan.output = add_power(plan, x, weights, weights, family, tile)
        case "gmm":
            means = weights.T[None]
            plan.output = add_gmm(plan, x, means, 1 + means**2, np.zeros((1, shape.outputs)), family, tile)
    return plan


@dataclass(frozen=True, slots=True)
class _Fixed(Tuning):
    """A tuning that has one tile."""

    only: Tile = field(default_factory=Tile)

    def tile(self, _kernel: KernelName, _shape: Shape) -> Tile:
        return self.only


def single_conv(shape: Shape, tile: Tile, device: Mapping[str, str | int]) -> GraphPlan:
    """A plan of one convolution over pixels in a line, with random weights, in a tile."""
    rng = np.random.default_rng(SEED)
    real = np.dtype(np.float32)
    weights = rng.standard_normal((shape.outputs, 1, 1, shape.inputs), dtype=np.float32)
    tensors = (
        Tensor("pixels", (1, 1, shape.rows, shape.inputs), real),
        Tensor("weights", weights.shape, real, data=weights),
        Tensor("out", (1, 1, shape.rows, shape.outputs), real),
    )
    options = {option.name: option.default for option in KINDS["CONV_2D"].options}
    layer = Layer("CONV_2D", {**options, "stride_w": 1, "stride_h": 1}, (0, 1), (2,))
    return plan_graph(LayerGraph("tuned", tensors, (layer,), (0,), (2,)), Family(_Fixed(device, only=tile)))

"""From a stage to kernel launches: which kernels, how weights are laid out, how large every buffer is. No device here.

A plan is a list of steps over buffers. Rows are padded to whole tiles wherever a tuned kernel reads or writes, so a
buffer is as large as its greatest reader or writer says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from leo_backends import tables
from leo_backends.models import read_dense, read_gmm
from leo_backends.opencl.tuning import Shape, Tile, Tuning
from leo_runtime.errors import KernelError
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters, dense_inputs
from leo_runtime.operators.sound import (
    LogMelParameters,
    MfccParameters,
    feature_frames,
    first_sample,
    frame_count,
)
from leo_runtime.schema import Value

ACTIVATIONS = {"linear": 0, "relu": 1, "sigmoid": 2, "tanh": 3, "log": 4, "power": 5}
"""As the kernels number them."""
NO_COMPONENT = -1e30
"""The exponent of a component that is not there; finite, so that differences of two are."""
LOG2_E = math.log2(math.e)


@dataclass(eq=False, slots=True)
class Buffer:
    """Device memory of float32 (or half) values. `data` fills it once; otherwise it begins as zeros."""

    values: int = 0
    data: np.ndarray | None = None

    def need(self, values: int) -> None:
        """Make it at least so large."""
        self.values = max(self.values, values)


Argument = Buffer | int | float


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel launch; `size` in work-items and `group` (None: the driver's choice) are (first, second) dimension."""

    file: str
    kernel: str
    options: tuple[str, ...]
    size: tuple[int, int]
    group: tuple[int, int] | None
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of float32 values in a buffer: row r begins at `first + r * pitch`."""

    buffer: Buffer
    rows: int
    columns: int
    pitch: int
    first: int = 0


@dataclass(eq=False, slots=True)
class Plan:
    """All launches of one stage. The input's values go to the front of `input`, after `lead` zeros."""

    input: Buffer
    lead: int = 0
    steps: list[Step] = field(default_factory=list)
    output: Matrix | None = None

    def buffers(self) -> list[Buffer]:
        """Every buffer, in the order of first use."""
        seen: dict[int, Buffer] = {id(self.input): self.input}
        for step in self.steps:
            seen |= {id(a): a for a in step.arguments if isinstance(a, Buffer)}
        return list(seen.values())


@dataclass(frozen=True, slots=True)
class Family:
    """Which kernels a plan uses: the naive ones, or the tuned ones with the device's tiles."""

    tuning: Tuning
    naive: bool = False
    half: bool = False


def plan_stage(operator: str, params: Value, input_shape: Sequence[int], family: Family) -> Plan:
    """The launches of a stage. Raises `KernelError` when its model cannot be read."""
    match params:
        case MfccParameters() if operator == "mfcc":
            return _mfcc(params, input_shape, family)
        case LogMelParameters():
            return _log_mel(params, input_shape, family)
        case GmmParameters():
            return _gmm(params, input_shape, family)
        case DenseParameters():
            return _dense(params, input_shape, family)
    raise AssertionError(f"no plan for `{operator}`")


def _dense(params: DenseParameters, shape: Sequence[int], family: Family) -> Plan:
    rows, inputs = dense_inputs(params, tuple(shape))
    model = read_dense(params, inputs)
    weights = [w.astype(np.float64) for w in model.weights]
    biases = [b.astype(np.float64) for b in model.biases]
    if model.mean is not None and model.scale is not None:
        # (x - mean) / scale becomes part of the first layer.
        weights[0] /= model.scale.astype(np.float64)[:, None]
        biases[0] = biases[0] - model.mean.astype(np.float64) @ weights[0]
    plan = Plan(Buffer(rows * inputs))
    x = Matrix(plan.input, rows, inputs, inputs)
    last = len(weights) - 1
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = add_affine(plan, x, w, b, "linear" if i == last else params.activation, family)
    if params.softmax:
        x = _add_softmax(plan, x)
    plan.output = _add_mean(plan, x) if params.average else x
    return plan


def _gmm(params: GmmParameters, shape: Sequence[int], family: Family) -> Plan:
    model = read_gmm(params)
    rows, columns = shape
    variances = model.variances.astype(np.float64)
    offsets = model.log_weights - 0.5 * np.log(2 * np.pi * variances).sum(axis=2)
    offsets = np.maximum(offsets, NO_COMPONENT)
    plan = Plan(Buffer(rows * columns))
    x = Matrix(plan.input, rows, params.dimensions, columns, params.first_column)
    scores = add_gmm(plan, x, model.means.astype(np.float64), variances, offsets, family)
    plan.output = _add_mean(plan, scores) if params.average else scores
    return plan


def _log_mel(params: LogMelParameters, shape: Sequence[int], family: Family) -> Plan:
    """Frames overlap, so the signal itself is the matrix: a row begins every hop. The discrete Fourier transform of
    the points that any band weighs is a matrix product with window, scale and pre-emphasis folded into its weights.
    """
    if not params.is_plain:
        plan = Plan(Buffer(shape[0]))
        plan.output = _add_front_end(plan, params, shape[0], False, family).logs
        return plan
    frames = frame_count(shape[0], params.frame_samples, params.hop_samples)
    filters = tables.mel_filters(params)
    used = np.flatnonzero(filters.any(axis=1))
    used = np.arange(used[0], used[-1] + 1) if len(used) else np.arange(1)
    angles = 2 * np.pi * np.outer(np.arange(params.frame_samples), used) / params.fft_samples
    window = (tables.window(params) * params.scale)[:, None]
    real, imaginary = np.cos(angles) * window, -np.sin(angles) * window
    lead = 0
    if params.preemphasis:
        lead = 1  # The sample before the first: x[-1] = 0.
        real, imaginary = (_with_preemphasis(part, params.preemphasis) for part in (real, imaginary))
    plan = Plan(Buffer(lead + shape[0]), lead)
    signal = Matrix(plan.input, frames, len(real), params.hop_samples)
    power = add_power(plan, signal, real, imaginary, family)
    plan.output = add_affine(plan, power, filters[used], np.zeros(params.bands), "log", family, params.floor)
    return plan


def _with_preemphasis(weights: np.ndarray, preemphasis: float) -> np.ndarray:
    """Weights for samples i - 1 .. of what were weights for x[i] - preemphasis * x[i - 1]."""
    none = np.zeros((1, weights.shape[1]))
    combined: np.ndarray = np.concatenate([none, weights]) - preemphasis * np.concatenate([weights, none])
    return combined


@dataclass(frozen=True, slots=True)
class _FrontEnd:
    """What the steps of a front end that is not plain leave for those behind it: each is a matrix of a row a frame."""

    frames: Matrix
    spectrum: Matrix
    logs: Matrix


def _add_front_end(plan: Plan, params: LogMelParameters, samples: int, all_points: bool, family: Family) -> _FrontEnd:
    """As `_log_mel`, with a step for each parameter that no weights can be made of."""
    frames = _add_frames(plan, params, samples)
    filters = tables.mel_filters(params)
    used = np.flatnonzero(filters.any(axis=1))
    used = np.arange(used[0], used[-1] + 1) if len(used) else np.arange(1)
    if all_points:
        used = np.arange(len(filters))
    spectrum = add_power(plan, frames, *_frame_transform(params, used), family)
    if params.spectrum == "magnitude":
        spectrum = _add_rows(plan, "roots", spectrum)
    x = add_affine(plan, spectrum, filters[used], np.zeros(params.bands), "linear", family)
    floor, clips = max(params.floor, tables.LEAST), int(params.floor_by == "clipping")
    x = _add_rows(plan, "logarithms", x, (floor, clips, tables.log_scale(params)))
    if params.log_range or params.log_gain != 1 or params.log_offset:
        most = Buffer(x.columns)
        if params.log_range:
            arguments = (x.buffer, x.pitch, most, x.rows)
            plan.steps.append(Step("rows.cl", "greatest_row", (), (x.columns, 1), None, arguments))
        y = Matrix(Buffer(x.rows * x.columns), x.rows, x.columns, x.columns)
        head = (x.buffer, x.pitch, most, x.columns, y.buffer, y.pitch)
        how = (params.log_range, params.log_gain, params.log_offset)
        plan.steps.append(Step("rows.cl", "levels", (), (x.columns, x.rows), None, (*head, *map(float, how))))
        x = y
    return _FrontEnd(frames, spectrum, x)


def _add_frames(plan: Plan, params: LogMelParameters, samples: int) -> Matrix:
    """Frames overlap, so the signal itself is the matrix, with what stands beyond its ends."""
    rows = feature_frames(params, samples)
    of_signal = params.preemphasis if params.preemphasis_in == "signal" else 0.0
    signal = plan.input
    if params.edges != "whole" or of_signal:
        places = tables.places(params, samples)
        signal = Buffer(places)
        arguments = (plan.input, samples, signal, first_sample(params), tables.BEYOND[params.edges], of_signal)
        plan.steps.append(Step("rows.cl", "edges", (), (places, 1), None, arguments))
    return Matrix(signal, rows, params.frame_samples, params.hop_samples)


def _frame_transform(params: LogMelParameters, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From a frame as it is cut to the real and imaginary parts of points of its spectrum: all that is linear."""
    angles = 2 * np.pi * np.outer(np.arange(params.frame_samples), points) / params.fft_samples
    size = params.scale / (math.sqrt(params.fft_samples) if params.spectrum == "periodogram" else 1)
    window = (tables.window(params) * size)[:, None]
    real, imaginary = (_of_frame(part * window, params) for part in (np.cos(angles), -np.sin(angles)))
    return real, imaginary


def _of_frame(weights: np.ndarray, params: LogMelParameters) -> np.ndarray:
    """Weights for samples as they are cut, of what were weights for those without their mean, pre-emphasised."""
    if params.preemphasis_in == "frame":
        first = params.preemphasis * weights[0]
        weights = _with_preemphasis(weights, params.preemphasis)[1:]
        weights[0] -= first
    return weights - weights.mean(axis=0) if params.remove_mean else weights


def _add_rows(plan: Plan, kernel: str, x: Matrix, more: tuple[Argument, ...] = ()) -> Matrix:
    """A kernel that makes each value of its own."""
    y = Matrix(Buffer(x.rows * x.columns), x.rows, x.columns, x.columns)
    arguments = (x.buffer, x.pitch, y.buffer, y.pitch, *more)
    plan.steps.append(Step("rows.cl", kernel, (), (x.columns, x.rows), None, arguments))
    return y


def _add_energy(plan: Plan, x: Matrix, front_end: _FrontEnd, params: MfccParameters) -> Matrix:
    y = Matrix(Buffer(x.rows * params.columns), x.rows, params.columns, params.columns)
    at = 0 if params.energy_at == "first" else params.cepstra
    floor = max(params.energy_floor, tables.LEAST)
    tail = (floor, y.buffer, y.pitch, at)
    if params.energy == "spectrum":
        spectrum = front_end.spectrum
        arguments: tuple[Argument, ...] = (spectrum.buffer, spectrum.pitch, spectrum.columns, *tail)
        kernel = "with_spectrum_energy"
    else:
        windowed = params.energy == "windowed"
        weights = (tables.window(params) if windowed else np.ones(params.frame_samples)) * params.scale
        preemphasis = params.preemphasis if windowed and params.preemphasis_in == "frame" else 0.0
        frames = front_end.frames
        arguments = (frames.buffer, frames.pitch, frames.columns, constant(weights), int(params.remove_mean))
        arguments = (*arguments, preemphasis, *tail)
        kernel = "with_frame_energy"
    head = (x.buffer, x.pitch)
    plan.steps.append(Step("rows.cl", kernel, (), (y.columns, y.rows), None, (*head, *arguments)))
    return y


def _mfcc(params: MfccParameters, shape: Sequence[int], family: Family) -> Plan:
    front_end = None
    if params.is_plain:
        plan = _log_mel(params, shape, family)
        assert plan.output is not None
        logs = plan.output
    else:
        plan = Plan(Buffer(shape[0]))
        front_end = _add_front_end(plan, params, shape[0], params.energy == "spectrum", family)
        logs = front_end.logs
    none = np.zeros(params.cepstra)
    x = add_affine(plan, logs, tables.cosine_transform(params), none, "linear", family)
    if front_end is not None and params.energy != "none":
        x = _add_energy(plan, x, front_end, params)
    if params.normalise_mean or params.deltas:
        x = _add_deltas(plan, x, params)
    plan.output = x
    return plan


def _add_deltas(plan: Plan, x: Matrix, params: MfccParameters) -> Matrix:
    """The rows less their means, and what follows them."""
    count = params.columns
    means = _add_mean(plan, x).buffer if params.normalise_mean else Buffer(count)
    columns = count * (3 if params.deltas else 1)
    y = Matrix(Buffer(x.rows * columns), x.rows, columns, columns)
    head = (x.buffer, x.pitch, means, y.buffer, y.pitch, x.rows, count)
    kernel = "cepstra_slopes" if params.deltas and params.delta_window else "cepstra"
    more: tuple[Argument, ...] = (int(params.deltas),)
    if kernel == "cepstra_slopes":
        more = (params.delta_window, float(tables.regression(params)[-1] / params.delta_window))
    plan.steps.append(Step("rows.cl", kernel, (), (count, x.rows), None, (*head, *more)))
    return y


def add_affine(
    plan: Plan,
    x: Matrix,
    weights: np.ndarray,
    bias: np.ndarray,
    activation: str,
    family: Family,
    floor: float = 0.0,
    tile: Tile | None = None,
) -> Matrix:
    """activation(x @ weights + bias); weights are (inputs, outputs). `tile` overrules the tuning."""
    inputs, outputs = weights.shape
    if family.naive:
        y = Matrix(Buffer(x.rows * outputs), x.rows, outputs, outputs)
        head = (x.buffer, x.first, x.pitch, constant(weights), constant(bias), y.buffer)
        arguments = (*head, inputs, outputs, ACTIVATIONS[activation], float(floor))
        plan.steps.append(Step("naive.cl", "affine", (), (outputs, x.rows), None, arguments))
        return y
    tile = tile or family.tuning.tile("affine", Shape(x.rows, inputs, outputs))
    groups = -(-outputs // tile.width)
    packed = _pack_columns(weights, groups, tile)
    bias = np.pad(bias, (0, groups * tile.width - outputs))
    return _add_tiled_affine(plan, x, packed, bias, tile, activation, family, floor, outputs)


def add_power(
    plan: Plan, x: Matrix, real: np.ndarray, imaginary: np.ndarray, family: Family, tile: Tile | None = None
) -> Matrix:
    """(x @ real)^2 + (x @ imaginary)^2. Its weights are never halved: a spectrum spans more than that."""
    inputs, outputs = real.shape
    if family.naive:
        y = Matrix(Buffer(x.rows * outputs), x.rows, outputs, outputs)
        arguments = (x.buffer, x.first, x.pitch, constant(real), constant(imaginary), y.buffer, inputs, outputs)
        plan.steps.append(Step("naive.cl", "power", (), (outputs, x.rows), None, arguments))
        return y
    tile = tile or family.tuning.tile("power", Shape(x.rows, inputs, outputs))
    half_tile = tile.model_copy(update={"cols": tile.cols // 2})
    groups = -(-outputs // half_tile.width)
    parts = [
        _pack_columns(part, groups, half_tile).reshape(groups, inputs, half_tile.cols, 1, tile.lx, tile.vec)
        for part in (real, imaginary)
    ]
    packed = np.concatenate(parts, axis=3).reshape(groups, inputs, tile.cols, tile.lx, tile.vec)
    single = Family(family.tuning)
    return _add_tiled_affine(plan, x, packed, np.zeros(groups * tile.width), tile, "power", single, 0.0, outputs)


def _add_tiled_affine(
    plan: Plan,
    x: Matrix,
    packed: np.ndarray,
    bias: np.ndarray,
    tile: Tile,
    activation: str,
    family: Family,
    floor: float,
    outputs: int,
) -> Matrix:
    groups, inputs = packed.shape[:2]
    pitch = groups * tile.width // (2 if activation == "power" else 1)
    tiles = -(-x.rows // tile.rows)
    x.buffer.need(x.first + (tiles * tile.rows - 1) * x.pitch + inputs)
    y = Matrix(Buffer(tiles * tile.rows * pitch), x.rows, outputs, pitch)
    head = (x.buffer, x.first, x.pitch, constant(packed, family.half), constant(bias), y.buffer)
    size, group = (groups * tile.lx, tiles), (tile.lx, 1)
    if tile.order:
        size, group = size[::-1], group[::-1]
    options = ("-DAFFINE", *tile_options(tile, family.half), f"-DACT={ACTIVATIONS[activation]}")
    plan.steps.append(Step("tuned.cl", "affine", options, size, group, (*head, inputs, outputs, float(floor))))
    return y


def add_gmm(
    plan: Plan,
    x: Matrix,
    means: np.ndarray,
    variances: np.ndarray,
    offsets: np.ndarray,
    family: Family,
    tile: Tile | None = None,
) -> Matrix:
    """ln sum_m exp(offsets - 0.5 sum_d (x_d - means)^2 / variances): (rows, classes).

    `means` and `variances` are (classes, components, dimensions), `offsets` (classes, components).
    """
    classes, components, dimensions = means.shape
    if family.naive:
        y = Matrix(Buffer(x.rows * classes), x.rows, classes, classes)
        constants = (constant(means), constant(variances), constant(offsets))
        arguments = (x.buffer, x.first, x.pitch, *constants, y.buffer, classes, components, dimensions)
        plan.steps.append(Step("naive.cl", "gmm", (), (x.rows, classes), None, arguments))
        return y
    tile = tile or family.tuning.tile("gmm", Shape(x.rows, dimensions, components))
    per_class = -(-components // tile.width)
    scales = np.sqrt(0.5 * LOG2_E / variances)
    packed = np.stack([_pack_components(a, per_class, tile) for a in (scales, means * scales)], axis=3)
    padding = ((0, 0), (0, per_class * tile.width - components))
    exponents = np.pad(np.maximum(offsets * LOG2_E, NO_COMPONENT), padding, constant_values=NO_COMPONENT)
    tiles = -(-x.rows // tile.rows)
    x.buffer.need(x.first + (tiles * tile.rows - 1) * x.pitch + dimensions)
    y = Matrix(Buffer(tiles * tile.rows * classes), x.rows, classes, classes)
    head = (x.buffer, x.first, x.pitch, constant(packed, family.half), constant(exponents), y.buffer)
    options = ("-DGMM", *tile_options(tile, family.half))
    size, group = (tiles * tile.lx, classes), (tile.lx, 1)
    plan.steps.append(Step("tuned.cl", "gmm", options, size, group, (*head, classes, components, dimensions)))
    return y


def tile_options(tile: Tile, half: bool) -> tuple[str, ...]:
    """The compiler's options for a tile."""
    values = tile.model_dump() | {"half": int(half)}
    return tuple(f"-D{name.upper()}={value}" for name, value in values.items())


def _add_softmax(plan: Plan, x: Matrix) -> Matrix:
    y = Matrix(Buffer(x.rows * x.columns), x.rows, x.columns, x.columns)
    arguments = (x.buffer, x.pitch, y.buffer, y.pitch, x.columns)
    plan.steps.append(Step("rows.cl", "softmax", (), (x.columns, x.rows), None, arguments))
    return y


def _add_mean(plan: Plan, x: Matrix) -> Matrix:
    y = Matrix(Buffer(x.columns), 1, x.columns, x.columns)
    arguments = (x.buffer, x.pitch, y.buffer, x.rows)
    plan.steps.append(Step("rows.cl", "mean_rows", (), (x.columns, 1), None, arguments))
    return y


def _pack_columns(weights: np.ndarray, groups: int, tile: Tile) -> np.ndarray:
    """(inputs, outputs) to (groups, inputs, cols, lx, vec), zeros beyond the outputs."""
    inputs, outputs = weights.shape
    padded = np.pad(weights, ((0, 0), (0, groups * tile.width - outputs)))
    return padded.reshape(inputs, groups, tile.cols, tile.lx, tile.vec).transpose(1, 0, 2, 3, 4)


def _pack_components(array: np.ndarray, per_class: int, tile: Tile) -> np.ndarray:
    """(classes, components, dimensions) to (classes, per_class, dimensions, cols, lx, vec), zeros beyond components."""
    classes, components, dimensions = array.shape
    padded = np.pad(array, ((0, 0), (0, per_class * tile.width - components), (0, 0)))
    split = padded.reshape(classes, per_class, tile.cols, tile.lx, tile.vec, dimensions)
    return split.transpose(0, 1, 5, 2, 3, 4)


def constant(array: np.ndarray, half: bool = False) -> Buffer:
    """Device memory of these values, in single or half precision. Raises `KernelError` where half cannot hold one."""
    if half and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
        raise KernelError("a weight is too large for half precision", hint="place another variant of the stage")
    return Buffer(array.size, np.ascontiguousarray(array, np.float16 if half else np.float32))

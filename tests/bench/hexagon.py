"""What the DSP's programs are held to, at length: the same bits, and the packets that the cycle model foretells.

    python tests/bench/hexagon.py exactness [--cases 1000]    each operator and target: cases tried, mismatches
    python tests/bench/hexagon.py fit [--write]               packets of random shapes; fit on half, error on the rest
    python tests/bench/hexagon.py demo                        packets of the demo's stages: counted, and foretold

`--only NAME` tries or fits one operator. `--write` stores the fit where the cycle model reads it
(`backends/leo_backends/dsp/packets.json`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from fixed_plans import CASES, Draw
from leo_backends.dsp import cycles
from leo_backends.dsp.hexagon import HexagonMachine
from leo_backends.dsp.hexagon.operators import load
from leo_backends.dsp.hexagon.toolchain import TARGETS
from leo_backends.dsp.operators import OPERATORS, Plan, integers, name_of
from leo_backends.dsp.packets import FILE, PACKETS
from leo_runtime import shipped
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.frame.lower import merge
from leo_runtime.operators.arrays import FuseParameters, WindowParameters
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters
from leo_runtime.operators.motion import MotionFeaturesParameters
from leo_runtime.operators.sound import EnergyGateParameters, LogMelParameters, MfccParameters, VoiceGateParameters

SHAPES = 96
"""Random shapes an operator; every other one is held out of the fit."""


def exactness(cases: int, only: str | None) -> int:
    """Try random and extreme plans and inputs; print what was tried. Returns how many differed."""
    print(f"{'operator':<16} {'target':<8} {'cases':>6} {'values':>9} {'mismatches':>10}")
    wrong = 0
    for target in sorted(TARGETS):
        machine = HexagonMachine(target)
        for name, make in CASES.items():
            if only not in (None, name):
                continue
            draw = _drawn_from(np.random.default_rng(cases))
            values, mismatches = 0, 0
            for _ in range(cases):
                plan, inputs = make(draw)
                expected = OPERATORS[name].run(plan, inputs)
                computed = load(machine, OPERATORS[name], plan)(inputs)
                values += expected.size
                mismatches += int(np.count_nonzero(computed != expected))
            print(f"{name:<16} {target:<8} {cases:>6} {values:>9} {mismatches:>10}", flush=True)
            wrong += mismatches
        machine.close()
    return wrong


def _drawn_from(rng: np.random.Generator) -> Draw:
    return lambda low, high: int(rng.integers(low, high, endpoint=True))


@dataclass(frozen=True, slots=True)
class Counts:
    """What one shape took: its loops, and the packets of a run and of loading it."""

    loops: dict[str, int]
    packets: int
    load_loops: dict[str, int]
    load_packets: int


def fit(write: bool, only: str | None) -> None:
    """Count packets, fit on half of the shapes, print the errors on the other half."""
    table: dict[str, dict[str, dict[str, int]]] = {target: {} for target in TARGETS} if only is None else PACKETS
    print(f"{'target':<8} {'operator':<16} {'shapes':>6} {'fit':>15} {'held out':>15}   packets a loop")
    print(f"{'':<8} {'':<16} {'':>6} {'median':>7} {'worst':>7} {'median':>7} {'worst':>7}")
    for target in sorted(TARGETS):
        machine = HexagonMachine(target)
        for name in OPERATORS if only is None else [only]:
            counted = list(_counts(machine, name))
            runs = [(_of_target(target, one.loops), one.packets) for one in counted]
            loads = [(_of_target(target, one.load_loops), one.load_packets) for one in counted]
            table[target][name] = {**_report(target, name, runs), **_report(target, f"{name}, load", loads)}
        machine.close()
    if write:
        FILE.write_text(json.dumps(table, indent=1) + "\n")
        print(f"written: {FILE}")


SCALAR = ("distance", "tile", "tile_step", "row", "row_step", "load_row")
"""Loops whose work the vector unit does, where there is one."""


def _of_target(target: str, loops: dict[str, int]) -> dict[str, int]:
    if target.endswith("hvx"):
        return {name: count for name, count in loops.items() if name not in SCALAR}
    return {name: count for name, count in loops.items() if not name.startswith("vector")}


def _report(target: str, name: str, counted: list[tuple[dict[str, int], int]]) -> dict[str, int]:
    fitted, held_out = counted[::2], counted[1::2]
    costs = _fit(fitted)
    figures = [f"{figure:>6.1%}" for half in (fitted, held_out) for figure in _errors(costs, half)]
    shown = " ".join(f"{loop} {cost / 1000:g}" for loop, cost in costs.items())
    print(f"{target:<8} {name:<16} {len(counted):>6} {' '.join(f'{f:>7}' for f in figures)}   {shown}", flush=True)
    return costs


def _errors(costs: dict[str, int], counted: list[tuple[dict[str, int], int]]) -> tuple[float, float]:
    errors = [abs(cycles.packets(loops, costs) - packets) / packets for loops, packets in counted]
    return float(np.median(errors)), max(errors)


def _fit(counted: list[tuple[dict[str, int], int]]) -> dict[str, int]:
    """Thousandths of a packet a loop, none below 0, with the least squares of relative errors."""
    names = list(dict.fromkeys(name for loops, _ in counted for name in loops))
    packets = np.array([packets for _, packets in counted], float)
    features = np.array([[loops.get(name, 0) for name in names] for loops, _ in counted], float) / packets[:, None]
    scale = np.abs(features).max(axis=0)
    scale[scale == 0] = 1
    solution = _not_negative(features / scale, np.ones(len(packets))) / scale
    return {name: round(1000 * cost) for name, cost in zip(names, solution, strict=True)}


def _not_negative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Least squares with x >= 0 (C. L. Lawson, R. J. Hanson, Solving Least Squares Problems, 1974, chapter 23)."""
    x = np.zeros(a.shape[1])
    free = np.zeros(a.shape[1], bool)
    for _ in range(10 * a.shape[1]):
        gradient = a.T @ (b - a @ x)
        if free.all() or gradient[~free].max() < 1e-9:
            break
        free[np.where(free, -np.inf, gradient).argmax()] = True
        while True:
            step = np.zeros_like(x)
            step[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            if step[free].min() > 0:
                break
            shrinking = free & (step <= 0)
            x = x + (x[shrinking] / (x[shrinking] - step[shrinking])).min() * (step - x)
            free &= x > 1e-12
            x[~free] = 0
        x = step
    return x


def _counts(machine: HexagonMachine, name: str) -> Iterator[Counts]:
    rng = np.random.default_rng(sum(name.encode()))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(SHAPES):
            params, arrays = MAKERS[name](rng, Path(folder) / "model.npz")
            operator = OPERATORS[name]
            plan: Plan = operator.plan(params, [array.shape for array in arrays])
            program = load(machine, operator, plan)
            inputs = [integers(array, operator.input_q) for array in arrays]
            output, run = program.counted(inputs)
            assert np.array_equal(output, operator.run(plan, inputs))
            yield Counts(operator.loops(plan), run.packets, operator.load_loops(plan), program.model.load.packets)


def demo() -> None:
    """The demo's stages on its recording, a frame every ten seconds: packets of each target, and the model's error."""
    from dsp_error import _inputs, _kernels, _run, _windows

    recording = shipped.recording("demo")
    merged = merge(shipped.workload())
    kernels = _kernels(merged, "cpu")
    frames = []
    for end_us in range(4_000_000, recording.duration_us + 1, 10_000_000):
        windows = _windows(merged, recording, end_us)
        frames.append((windows, _run(merged, windows, kernels)))
    machines = {target: HexagonMachine(target) for target in TARGETS}
    print(f"{'stage':<16} {'operator':<16} {'values':>7}", *(f"{target:>9} {'foretold':>9}" for target in machines))
    for stage in merged.stages:
        bound, name = stage.bound, stage.bound.operator.name
        params = bound.params[DEFAULT_VARIANT]
        operator = OPERATORS.get(name_of(name, params))
        if operator is None or not operator.fits(params, bound.input_shapes):
            continue
        plan: Plan = operator.plan(params, bound.input_shapes)
        figures = []
        for target, machine in machines.items():
            program = load(machine, operator, plan)
            counted = [
                program.counted([integers(x, operator.input_q) for x in _inputs(merged, stage.name, *frame)])[1]
                for frame in frames
            ]
            mean = sum(run.packets for run in counted) / len(counted)
            foretold = cycles.packets(operator.loops(plan), PACKETS[target][name_of(name, params)])
            figures.append(f"{mean:>9.0f} {foretold / mean - 1:>+9.1%}")
        print(f"{stage.name:<16} {name:<16} {sum(map(math.prod, bound.input_shapes)):>7}", *figures, flush=True)
    for machine in machines.values():
        machine.close()


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """An integer, every order of magnitude as likely as another."""
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


Made = tuple[Any, list[np.ndarray]]


def _signal(rng: np.random.Generator, samples: int) -> np.ndarray:
    return np.clip(rng.normal(0, 10 ** rng.uniform(-3, -0.7), samples), -1, 0.9999).astype(np.float32)


def _window(rng: np.random.Generator, _model: Path) -> Made:
    samples = _between(rng, 10, 20_000)
    return WindowParameters(stream="any", samples=samples), [_signal(rng, samples)]


def _energy_gate(rng: np.random.Generator, _model: Path) -> Made:
    return EnergyGateParameters(threshold_dbfs=-40.0), [_signal(rng, _between(rng, 10, 20_000))]


def _spectrum(rng: np.random.Generator) -> tuple[dict[str, Any], np.ndarray]:
    points = 1 << int(rng.integers(7, 11))
    frame = int(rng.integers(points // 2, points + 1))
    hop = int(rng.integers(frame // 4, frame + 1))
    frames = _between(rng, 1, 40)
    shape: dict[str, Any] = {"fft_samples": points, "frame_samples": frame, "hop_samples": hop}
    return shape, _signal(rng, (frames - 1) * hop + frame)


def _voice_gate(rng: np.random.Generator, _model: Path) -> Made:
    shape, signal = _spectrum(rng)
    low = float(rng.uniform(0, 2000))
    return VoiceGateParameters(low_hz=low, high_hz=low + float(rng.uniform(500, 5000)), **shape), [signal]


def _log_mel(rng: np.random.Generator, _model: Path) -> Made:
    shape, signal = _spectrum(rng)
    return LogMelParameters(bands=int(rng.integers(8, 48)), **shape), [signal]


def _mfcc(rng: np.random.Generator, _model: Path) -> Made:
    shape, signal = _spectrum(rng)
    bands = int(rng.integers(13, 48))
    shape |= {"deltas": bool(rng.integers(2)), "normalise_mean": bool(rng.integers(2))}
    return MfccParameters(bands=bands, cepstra=int(rng.integers(6, 14)), **shape), [signal]


def _front_end(rng: np.random.Generator, _model: Path) -> Made:
    shape, signal = _spectrum(rng)
    bands = int(rng.integers(13, 80))
    if rng.integers(4) == 0:
        shape["fft_samples"] = shape["frame_samples"]  # As Whisper and torchaudio have it: no power of two.

    def one_of(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    shape |= {
        "edges": one_of("whole", "filled", "centred_zeros"),
        "remove_mean": one_of(True, False),
        "preemphasis": one_of(0.0, 0.97),
        "preemphasis_in": one_of("signal", "frame"),
        "spectrum": one_of("power", "periodogram", "magnitude"),
        "floor_by": "clipping",
        "log_range": one_of(0.0, 8.0),
        "energy": one_of("none", "raw", "windowed", "spectrum"),
        "energy_at": one_of("first", "last"),
        "normalise_mean": one_of(True, False),
        "deltas": one_of(True, False),
        "delta_window": one_of(0, 1, 4),
        "high_hz": 7600.0,
    }
    if shape["spectrum"] == "magnitude" and shape["energy"] == "spectrum":
        shape["energy"] = "raw"
    if rng.integers(3) == 0:
        plain = {name: value for name, value in shape.items() if name in LogMelParameters.model_fields}
        return LogMelParameters(bands=bands, **plain), [signal]
    return MfccParameters(bands=bands, cepstra=int(rng.integers(2, bands + 1)), **shape), [signal]


def _gmm(rng: np.random.Generator, model: Path) -> Made:
    classes, components, dimensions = int(rng.integers(1, 6)), _between(rng, 4, 160), int(rng.integers(4, 48))
    shape = (classes, components, dimensions)
    np.savez(
        model,
        means=rng.normal(0, 1, shape).astype(np.float32),
        variances=rng.uniform(0.3, 1.5, shape).astype(np.float32),
        log_weights=np.full(shape[:2], -np.log(components), np.float32),
    )
    rows = rng.normal(0, 1, (_between(rng, 1, 40), dimensions)).astype(np.float32)
    sizes: dict[str, Any] = {"classes": classes, "components": components, "dimensions": dimensions}
    return GmmParameters(model=model, average=bool(rng.integers(2)), **sizes), [rows]


def _dense(rng: np.random.Generator, model: Path) -> Made:
    sizes = [_between(rng, 8, 400) for _ in range(int(rng.integers(2, 5)))]
    arrays: dict[str, Any] = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        arrays[f"weights_{i}"] = rng.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32)
        arrays[f"bias_{i}"] = rng.normal(0, 0.1, outputs).astype(np.float32)
    if rng.integers(2):
        arrays |= {"mean": np.zeros(sizes[0], np.float32), "scale": np.ones(sizes[0], np.float32)}
    np.savez(model, **arrays)
    activation = ("relu", "sigmoid", "tanh", "linear")[rng.integers(4)]
    params = DenseParameters(
        layers=tuple(sizes[1:]), activation=activation, softmax=bool(rng.integers(2)), per_row=True, model=model
    )
    return params, [rng.normal(0, 1, (_between(rng, 1, 24), sizes[0])).astype(np.float32)]


def _motion_features(rng: np.random.Generator, _model: Path) -> Made:
    edges = np.sort(rng.choice(np.arange(1, 25), int(rng.integers(2, 6)), replace=False)).astype(float)
    params = MotionFeaturesParameters(sample_rate_hz=50, band_edges_hz=tuple(edges.tolist()))
    return params, [rng.normal(0, 3, (_between(rng, 16, 512), int(rng.integers(1, 10)))).astype(np.float32)]


def _fuse(rng: np.random.Generator, _model: Path) -> Made:
    values, inputs = _between(rng, 1, 400), int(rng.integers(1, 7))
    return FuseParameters(), [rng.normal(0, 1, values).astype(np.float32) for _ in range(inputs)]


MAKERS: dict[str, Callable[[np.random.Generator, Path], Made]] = {
    "window": _window,
    "energy_gate": _energy_gate,
    "voice_gate": _voice_gate,
    "log_mel": _log_mel,
    "mfcc": _mfcc,
    "front_end": _front_end,
    "gmm": _gmm,
    "dense": _dense,
    "motion_features": _motion_features,
    "fuse": _fuse,
}
"""Parameters and inputs as users have them, in random shapes."""


def main() -> int:
    """Run what is asked for; 1 when anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("exactness", "fit", "demo"))
    parser.add_argument("--cases", type=int, default=1000, help="cases an operator and target (default: 1000)")
    parser.add_argument("--only", choices=tuple(OPERATORS), help="the one operator to try or fit (default: all)")
    parser.add_argument("--write", action="store_true", help="store the fit")
    arguments = parser.parse_args()
    if arguments.what == "exactness":
        return 1 if exactness(arguments.cases, arguments.only) else 0
    if arguments.what == "fit":
        fit(arguments.write, arguments.only)
    else:
        demo()
    return 0


if __name__ == "__main__":
    sys.exit(main())

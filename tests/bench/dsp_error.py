"""How far the DSP's fixed-point arithmetic is from the CPU's, on the demo's own stages and recording.

    python tests/bench/dsp_error.py [--every SECONDS] [--recording NAME] [--presets]

Prints the table of docs/dsp.md; with `--presets` that of other programs' front ends on the recording's sound. "Stage":
the DSP is given the CPU's inputs, so that each error is the stage's own. "Chain": it is given its own outputs all the
way; only what it cannot run is the CPU's. Both count the decisions of the demo's pipelines that come out differently.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from leo_runtime import shipped
from leo_runtime.backend import Kernel, TimedKernel, registry
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT, Decision
from leo_runtime.frame.lower import MergedWorkload, merge
from leo_runtime.operators import presets
from leo_runtime.recordings.recording import Recording
from leo_runtime.testing import example


@dataclass(frozen=True, slots=True)
class StageError:
    """One stage's row of the table."""

    stage: str
    operator: str
    spread: float
    rms: float
    greatest: float
    differ: tuple[int, int] | None
    """Decisions that came out differently, by stage and by chain; None for a stage that decides nothing."""

    def row(self) -> str:
        """As a row of Markdown."""
        decisions = "" if self.differ is None else f"{self.differ[0]}, {self.differ[1]}"
        errors = f"{self.rms:.2g} | {self.greatest:.2g}"
        return f"| {self.stage} | {self.operator} | {self.spread:.3g} | {errors} | {decisions} |"


def main() -> None:
    """Run the recording, a frame every so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--recording", default="demo")
    parser.add_argument("--presets", action="store_true")
    asked = parser.parse_args()
    recording = shipped.recording(asked.recording)
    ends_us = range(4_000_000, recording.duration_us + 1, round(asked.every * 1e6))
    print(f"{len(ends_us)} frames of `{asked.recording}`\n")
    if asked.presets:
        print("| preset | operator | spread of the values | error, rms | error, greatest | a second of sound, ms |")
        print("| --- | --- | --- | --- | --- | --- |")
        for preset in measured_presets(recording, ends_us):
            print(preset.row())
        return
    print("| stage | operator | spread of the values | error, rms | error, greatest | other decisions: stage, chain |")
    print("| --- | --- | --- | --- | --- | --- |")
    for error in measured(recording, ends_us):
        print(error.row())


@dataclass(frozen=True, slots=True)
class PresetError:
    """One front end's row of the table."""

    preset: str
    operator: str
    spread: float
    rms: float
    greatest: float
    device_us: int

    def row(self) -> str:
        """As a row of Markdown."""
        errors = f"{self.spread:.3g} | {self.rms:.2g} | {self.greatest:.2g}"
        return f"| {self.preset} | {self.operator} | {errors} | {self.device_us / 1000:.1f} |"


def measured_presets(recording: Recording, ends_us: Iterable[int]) -> list[PresetError]:
    """The errors of every preset of `log_mel` and `mfcc`, over the seconds of sound that end at these times."""
    windows = [recording.window("mic", end_us, 16_000).astype(np.float32) / 32768 for end_us in ends_us]
    cpu, dsp = (registry.create(Processor(name=name, backend=name)) for name in ("cpu", "dsp"))
    found = []
    for operator, tables in (("log_mel", presets.LOG_MEL), ("mfcc", presets.MFCC)):
        for like in tables:
            stage = example(like, operator, [windows[0]], like=like).stage
            right, wrong = cpu.load(stage, DEFAULT_VARIANT), dsp.load(stage, DEFAULT_VARIANT)
            assert isinstance(wrong, TimedKernel)
            values = np.array([right([window]) for window in windows])
            runs = [wrong.timed([window]) for window in windows]
            errors = np.abs(np.array([run.output for run in runs], np.float64) - values)
            size = float(np.sqrt((errors**2).mean()))
            found.append(PresetError(like, operator, float(values.std()), size, float(errors.max()), runs[0].device_us))
    return found


def measured(recording: Recording, ends_us: Iterable[int]) -> list[StageError]:
    """The errors of every stage that the DSP can run, over frames that end at these times."""
    merged = merge(shipped.workload())
    cpu, dsp = _kernels(merged, "cpu"), _kernels(merged, "dsp")
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    values: dict[str, list[np.ndarray]] = defaultdict(list)
    differ: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for end_us in ends_us:
        windows = _windows(merged, recording, end_us)
        right = _run(merged, windows, cpu)
        chained = _run(merged, windows, {**cpu, **dsp})
        alone = {name: kernel(_inputs(merged, name, windows, right)) for name, kernel in dsp.items()}
        for name, output in alone.items():
            errors[name].append(np.abs(output.astype(np.float64) - right[name]).ravel())
            values[name].append(right[name].ravel())
        for name, decide in _deciders(merged):
            if name not in right:
                continue
            wanted = decide(right[name])
            differ[name].append((decide(alone.get(name, right[name])) != wanted, decide(chained[name]) != wanted))
    return [
        StageError(
            stage.name,
            stage.bound.operator.name,
            float(np.concatenate(values[stage.name]).std()),
            float(np.sqrt((np.concatenate(errors[stage.name]) ** 2).mean())),
            float(np.concatenate(errors[stage.name]).max()),
            (sum(a for a, _ in differ[stage.name]), sum(c for _, c in differ[stage.name]))
            if stage.name in differ
            else None,
        )
        for stage in merged.stages
        if stage.name in errors
    ]


def _windows(merged: MergedWorkload, recording: Recording, end_us: int) -> dict[str, np.ndarray]:
    params = {s.name: s.bound.params[DEFAULT_VARIANT] for s in merged.stages if s.bound.operator.is_source}
    return {name: recording.window(found.stream, end_us, found.samples) for name, found in params.items()}


def _deciders(merged: MergedWorkload) -> Iterator[tuple[str, Callable[[np.ndarray], object]]]:
    """The stages that decide something, gates and pipelines' ends, and how each output is read."""
    for stage in merged.stages:
        if stage.bound.operator.is_gate:
            yield stage.name, lambda output: bool(output[0] > 0)
    for graph in merged.workload.graphs:
        if graph.decision is not None:
            yield merged.names[graph.name, graph.decision.stage], partial(_decided, graph.decision)


def _kernels(merged: MergedWorkload, backend: str) -> dict[str, Kernel]:
    made = registry.create(Processor(name=backend, backend=backend))
    stages = {stage.name: stage.bound for stage in merged.stages}
    return {
        name: made.load(bound, DEFAULT_VARIANT)
        for name, bound in stages.items()
        if made.supports(bound, DEFAULT_VARIANT)
    }


def _run(
    merged: MergedWorkload, windows: Mapping[str, np.ndarray], kernels: Mapping[str, Kernel]
) -> dict[str, np.ndarray]:
    """Every stage's output, gates ignored; without that for which an extra is missing."""
    outputs: dict[str, np.ndarray] = {}
    for stage in merged.stages:
        if stage.name in kernels and all(name in outputs for name in stage.inputs):
            outputs[stage.name] = kernels[stage.name](_inputs(merged, stage.name, windows, outputs))
    return outputs


def _inputs(
    merged: MergedWorkload, stage: str, windows: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    return [windows[stage]] if stage in windows else [outputs[name] for name in merged.stage(stage).inputs]


def _decided(decision: Decision, output: np.ndarray) -> str:
    best = int(np.argmax(output))
    return decision.labels[best] if output.ravel()[best] >= decision.threshold else ""


if __name__ == "__main__":
    main()

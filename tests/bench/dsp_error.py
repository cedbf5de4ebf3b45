"""How far the DSP's fixed-point arithmetic is from the CPU's, on the demo's own stages and recording.

    python tests/bench/dsp_error.py [--every SECONDS] [--recording NAME]

Prints the table of docs/dsp.md. "Stage": the DSP is given the CPU's inputs, so that each error is the stage's own.
"Chain": it is given its own outputs all the way; only what it cannot run is the CPU's. Both count the decisions of the
demo's pipelines that come out differently.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from leo_runtime import registry, shipped
from leo_runtime.backend import Kernel
from leo_runtime.graph import DEFAULT_VARIANT, Decision
from leo_runtime.hardware import Processor
from leo_runtime.lower import MergedWorkload, merge


def main() -> None:
    """Run the recording, a frame every so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--recording", default="demo")
    asked = parser.parse_args()
    recording, merged = shipped.recording(asked.recording), merge(shipped.workload())
    cpu, dsp = _kernels(merged, "cpu"), _kernels(merged, "dsp")
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    values: dict[str, list[np.ndarray]] = defaultdict(list)
    differ: dict[tuple[str, str], int] = defaultdict(int)
    frames = 0
    for end_us in range(4_000_000, recording.duration_us + 1, round(asked.every * 1e6)):
        frames += 1
        windows = {}
        for stage in merged.stages:
            if stage.bound.operator.is_source:
                params = stage.bound.params[DEFAULT_VARIANT]
                windows[stage.name] = recording.window(params.stream, end_us, params.samples)
        right = _run(merged, windows, cpu, {})
        chained = _run(merged, windows, {**cpu, **dsp}, {})
        alone = {name: _run(merged, windows, {**cpu, name: kernel}, right)[name] for name, kernel in dsp.items()}
        for name, output in alone.items():
            errors[name].append(np.abs(output.astype(np.float64) - right[name]))
            values[name].append(right[name])
        for stage in merged.stages:
            if stage.bound.operator.is_gate:
                for way, outputs in (("stage", alone), ("chain", chained)):
                    differ[stage.name, way] += bool(outputs[stage.name][0] > 0) != bool(right[stage.name][0] > 0)
        for graph in merged.workload.graphs:
            if graph.decision is not None:
                name = merged.names[graph.name, graph.decision.stage]
                for way, outputs in (("stage", {**right, **alone}), ("chain", chained)):
                    same = _decided(graph.decision, outputs[name]) == _decided(graph.decision, right[name])
                    differ[name, way] += not same
    print(f"{frames} frames of `{asked.recording}`\n")
    print("| stage | operator | spread of the values | error, rms | error, greatest | other decisions: stage, chain |")
    print("| --- | --- | --- | --- | --- | --- |")
    for stage in merged.stages:
        if stage.name not in errors:
            continue
        error, value = (
            np.concatenate([e.ravel() for e in errors[stage.name]]),
            np.concatenate([v.ravel() for v in values[stage.name]]),
        )
        decisions = ", ".join(str(differ[stage.name, way]) for way in ("stage", "chain"))
        print(
            f"| {stage.name} | {stage.bound.operator.name} | {value.std():.3g} | {np.sqrt((error**2).mean()):.2g} | "
            f"{error.max():.2g} | {decisions if (stage.name, 'stage') in differ else ''} |"
        )


def _kernels(merged: MergedWorkload, backend: str) -> dict[str, Kernel]:
    made = registry.create(Processor(name=backend, backend=backend))
    stages = {stage.name: stage.bound for stage in merged.stages}
    return {
        name: made.load(bound, DEFAULT_VARIANT)
        for name, bound in stages.items()
        if made.supports(bound, DEFAULT_VARIANT)
    }


def _run(
    merged: MergedWorkload,
    windows: Mapping[str, np.ndarray],
    kernels: Mapping[str, Kernel],
    inputs: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Every stage's output, gates ignored; `inputs` are read instead of what was computed, where there are any."""
    outputs: dict[str, np.ndarray] = {}
    for stage in merged.stages:
        read = [windows[stage.name]] if stage.bound.operator.is_source else []
        read += [inputs.get(name, outputs.get(name)) for name in stage.inputs]  # type: ignore[misc]  # in order
        outputs[stage.name] = kernels[stage.name](read)
    return outputs


def _decided(decision: Decision, output: np.ndarray) -> str:
    best = int(np.argmax(output))
    return decision.labels[best] if output.ravel()[best] >= decision.threshold else ""


if __name__ == "__main__":
    main()

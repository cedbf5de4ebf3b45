"""Outputs of the demo in the forms in which they may be sent: how many bytes, how long, how far off, and what is lost.

    python tests/bench/packing.py [--runs N]

The first table is of one second of sound as log-mel (98 x 40 float32), over windows of the demo's own recording: bytes
and errors are exact, times are medians of runs in turns, so that a busy machine is so for all. The others are what
`leo-runtime pack` measures of the demo: loss is the part of frames in which a graph decides otherwise. At last the same
for pictures of the shipped camera, with LiteRT (extra `tflite`).

Exits with 1 where float16 is not half, int8 with zstd (or zlib, without the extra `packing`) is not a quarter and a
little less, a value is further off than half a step, or a form of 8 bits loses a decision in a hundred.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from time import perf_counter_ns

import numpy as np

from leo_backends import packing, tflite_package
from leo_runtime import shipped
from leo_runtime.backend import registry
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.frame.lower import merge
from leo_runtime.measure.packing import OutputMeasured, measure_packing
from leo_runtime.operators.packing import PackParameters, UnpackParameters, form_params, most_bytes
from leo_runtime.report import packing_text
from leo_runtime.report.layout import number, table

ZIP = "zlib" if packing.lacks("zstd") else "zstd"
FORMS = (
    "float32", f"float32+{ZIP}", "float16", f"float16+{ZIP}", "int8", "int8x256", "int8+zlib", f"int8+{ZIP}",
    "int8_band", f"int8_band+{ZIP}", "int4", f"int4+{ZIP}",
)  # fmt: skip
LEAST_TIMES = {"float16": 1.99, f"int8+{ZIP}": 4.1}
"""How many times as small as float32: what was published, or measured elsewhere, of these."""
MOST_LOSS_PPM = 10_000
RATE_BITS_PER_S = 2_000_000
"""Of the link of the last column: that of LTE in a car."""


def spectra(runs: int) -> list[np.ndarray]:
    """Log-mel of seconds of the demo, spread over it."""
    graph = GraphBuilder("ears", period_us=1_000_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="mic", samples=16_000)
    graph.stage("mel", "log_mel", sound)
    mic = Stream(name="mic", kind="audio", rate_hz=16_000)
    workload = Workload(format="leo-workload/1", name="ears", streams=(mic,), graphs=(graph.build(),))
    recording = shipped.recording("demo")
    backend = registry.create(Processor(name="cpu", backend="cpu"))
    try:
        kernels = [backend.load(stage.bound, "default") for stage in merge(workload).stages]
        ends = np.linspace(1_000_000, recording.lasts_us(["mic"]), runs).astype(int).tolist()
        return [
            np.asarray(kernels[1]([np.asarray(kernels[0]([recording.window("mic", end, 16_000)]))])) for end in ends
        ]
    finally:
        backend.close()


def of_spectra(arrays: list[np.ndarray]) -> tuple[str, list[str]]:
    """The table, and what is not as it should be."""
    shape = arrays[0].shape
    sizes: dict[str, list[int]] = {form: [] for form in FORMS}
    times: dict[str, tuple[list[int], list[int]]] = {form: ([], []) for form in FORMS}
    errors: dict[str, list[float]] = {form: [] for form in FORMS}
    wrong: list[str] = []
    programs = {}
    for form in FORMS:
        params = PackParameters.model_validate(form_params(form))
        reads = UnpackParameters(shape=shape, reads=("none", params.compress))
        programs[form] = (packing.pack(params, [shape]), packing.unpack(reads, [(most_bytes(shape),)]))
    for array in arrays:
        for form, (pack, unpack) in programs.items():
            began = perf_counter_ns()
            sent = pack([array])
            packed = perf_counter_ns()
            got = unpack([sent])
            ended = perf_counter_ns()
            sizes[form].append(sent.nbytes)
            times[form][0].append(packed - began)
            times[form][1].append(ended - packed)
            error = float(np.abs(got.astype(np.float64) - array).max())
            errors[form].append(error)
            if error > most_error(form, array):
                wrong.append(f"{form} is {error:g} off, {most_error(form, array):g} at most were promised")
    rows = []
    for form in FORMS:
        ratio = arrays[0].nbytes / median(sizes[form])
        if ratio < LEAST_TIMES.get(form, 0):
            wrong.append(f"{form} is {ratio:.2f} times as small, {LEAST_TIMES[form]} were claimed")
        us, back_us = (median(one) / 1000 for one in times[form])
        there_ms = (us + back_us + 8e6 * median(sizes[form]) / RATE_BITS_PER_S) / 1000
        rows.append(
            [
                form,
                round(median(sizes[form])),
                number(ratio, 2),
                number(us, 0),
                number(back_us, 0),
                f"{max(errors[form]):.2g}",
                number(there_ms, 1),
            ]
        )
    return table(["form", "bytes", "times", "us", "back us", "error", "ms at 2 Mbit/s"], rows), wrong


def most_error(form: str, array: np.ndarray) -> float:
    """Half a step of the widest block, with the rounding of float32."""
    params = PackParameters.model_validate(form_params(form))
    greatest = float(np.abs(array).max())
    if params.form == "float32":
        return 0.0
    if params.form == "float16":
        return greatest * 2.0**-11
    if params.form == "int8_band":
        span = float((array.max(axis=0) - array.min(axis=0)).max())
    else:
        flat = array.reshape(-1)
        blocks = np.array_split(flat, range(params.block_values, flat.size, params.block_values))
        span = max(float(block.max() - block.min()) for block in blocks)
    return span / (30 if params.form == "int4" else 510) * 1.0001 + greatest * 2.0**-22


def lossy(outputs: tuple[OutputMeasured, ...]) -> list[str]:
    """Forms of 8 bits and more of features that lose more than they may."""
    return [
        f"{form.form} of {output.stage} loses {form.loss.ppm:,} ppm"
        for output in outputs
        for form in output.forms
        if form.form.startswith(("float16", "int8")) and form.loss.ppm > MOST_LOSS_PPM
    ]


def main(runs: int) -> int:
    """Print the tables."""
    arrays = spectra(runs)
    shown, wrong = of_spectra(arrays)
    print(f"measured: one second as log-mel, {arrays[0].shape}, {arrays[0].nbytes:,} bytes, {runs} windows of the demo")
    print("(the last column: its bytes at that rate, modelled, and the measured times on this machine)\n")
    print(shown)
    demo = measure_packing(
        shipped.workload(), shipped.recording("demo"), stages=["log_mel", "mfcc", "phones"], most=runs
    )
    wrong += lossy(demo)
    print("measured: the demo's graphs, packed on the way\n")
    print(packing_text.text(demo, MOST_LOSS_PPM))
    if tflite_package.is_available():
        camera = measure_packing(
            shipped.workload("faces"), shipped.recording("camera"), stages=["eye"], most=min(runs, 20)
        )
        print("measured: the shipped camera's pictures\n")
        print(packing_text.text(camera, MOST_LOSS_PPM))
    for one in dict.fromkeys(wrong):
        print(f"NOT AS CLAIMED: {one}")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=80)
    sys.exit(main(parser.parse_args().runs))

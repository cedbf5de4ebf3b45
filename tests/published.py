"""The published speeds of a Snapdragon 800, and what placing the same pipelines by the shipped profile gives.

The profile is calibrated with these figures: that both agree shows that pricing, links and placement put them together
again, not that they are true of another pipeline.
"""

from dataclasses import dataclass
from pathlib import Path

from leo_runtime import solve
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Mode, Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, Variant, Workload
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import frame_problem, merge, price

SHIPPED = Path(__file__).parent.parent / "profiles"
PHONE = Hardware.from_file(SHIPPED / "snapdragon-800.hardware.toml")
PHONE_PROFILE = Profile.from_file(SHIPPED / "snapdragon-800.profile.toml")

# Georgiev, Lane, Mascolo, Chu, MobiSys 2017, speed against one CPU thread; negative: so many times slower.
# Row: where the model runs and in which variant, where the features run; full pipeline and model only, GMM and DNN.
TABLE: dict[str, tuple[str, str, str, tuple[float, float], tuple[float, float]]] = {
    "DSP": ("dsp", "default", "dsp", (-8.8, -8.6), (-4.5, -4.0)),
    "DSP-m": ("dsp", "threads", "dsp", (-3.2, -2.5), (-2.1, -1.5)),
    "CPU": ("cpu", "default", "cpu", (1.0, 1.0), (1.0, 1.0)),
    "CPU-m": ("cpu", "threads", "cpu", (3.0, 3.4), (2.8, 2.9)),
    "n-GPU": ("gpu", "naive", "cpu", (3.1, 3.6), (1.8, 1.8)),
    "a-GPU": ("gpu", "default", "cpu", (8.2, 16.2), (13.5, 21.3)),
}
CPU_MS = {"gmm": (1573, 1472), "dense": (501, 490)}
VARIANTS = tuple(Variant(name=name) for name in ("default", "threads", "naive"))


def audio_pipeline(model: str) -> Workload:
    """The pipeline whose shape the phone's profile assumes behind the published times."""
    graph = GraphBuilder(model, period_us=5_000_000, deadline_us=60_000_000)
    if model == "gmm":
        sound = graph.stage("sound", "window", stream="mic", samples=80_000)
        features = graph.stage("features", "mfcc", sound, deltas=True)
        sizes = {"classes": 23, "components": 128, "dimensions": 39}
    else:
        sound = graph.stage("sound", "window", stream="mic", samples=16_000)
        features = graph.stage("features", "log_mel", sound)
        sizes = {"layers": [512, 512, 512, 16], "per_row": True}
    graph.stage("model", model, features, variants=VARIANTS, model="model.npz", **sizes)
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    return Workload(format="leo-workload/1", name=model, streams=streams, graphs=(graph.build(),))


def pinned(model: str, processor: str, variant: str, features: str) -> Problem:
    """The pipeline's frame on an awake phone, with one mode left for each stage."""
    merged = merge(audio_pipeline(model))
    modes = price(merged, PHONE, PHONE_PROFILE, lambda *_: True)
    wanted = {"sound": (features, "default"), "features": (features, "default"), "model": (processor, variant)}

    def left(stage: str) -> tuple[Mode, ...]:
        return tuple(mode for mode in modes[stage] if (mode.resource, mode.variant) == wanted[stage])

    return frame_problem(merged, {name: left(name) for name in modes}, PHONE, Conditions((model,)), "table")


@dataclass(frozen=True, slots=True)
class Placed:
    """A row of the table as placement gives it. The table's pipelines begin with the sound in memory."""

    features_us: int
    model_us: int
    full_us: int
    """With what moving the features takes."""


def placed(model: str, row: str) -> Placed:
    """Place a row's pipeline with each stage where the row has it."""
    processor, variant, features, *_ = TABLE[row]
    placement = solve(pinned(model, processor, variant, features), solver="exhaustive")
    runs = {run.stage: run for run in placement.stages}
    features_us, model_us = (runs[stage].end_us - runs[stage].start_us for stage in ("features", "model"))
    return Placed(features_us, model_us, placement.criteria.makespan - runs["sound"].end_us)


def speedups(model: str, row: str) -> tuple[float, float]:
    """The speed against one CPU thread that placement gives a row: of the full pipeline, and of the model only."""
    full_ms, model_ms = CPU_MS[model]
    found = placed(model, row)
    return speedup(full_ms, found.full_us), speedup(model_ms, found.model_us)


def as_published(model: str, row: str) -> tuple[float, float]:
    """The same as the paper has it."""
    *_, gmm, dnn = TABLE[row]
    return gmm if model == "gmm" else dnn


def speedup(reference_ms: int, duration_us: int) -> float:
    """As the table gives it: below 1 it is the inverse, negative."""
    ratio = reference_ms * 1000 / duration_us
    return ratio if ratio >= 1 else -1 / ratio

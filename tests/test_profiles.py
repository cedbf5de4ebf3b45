"""Profiles: which entry holds; that the shipped ones say where their numbers come from, and keep what they promise."""

from pathlib import Path

import pytest

from leo_runtime import solve
from leo_runtime.errors import ProfileError
from leo_runtime.graph import BoundStage, GraphBuilder, Stream, Variant, Workload, bind
from leo_runtime.hardware import Hardware
from leo_runtime.lower import FrameState, frame_problem, merge, price
from leo_runtime.operators import Work
from leo_runtime.problem import Mode, Problem
from leo_runtime.profiles import Cost, Device, Profile

SHIPPED = Path(__file__).parent.parent / "profiles"
PHONE = Hardware.from_file(SHIPPED / "snapdragon-800.hardware.toml")
PHONE_PROFILE = Profile.from_file(SHIPPED / "snapdragon-800.profile.toml")

# Georgiev, Lane, Mascolo, Chu, MobiSys 2017, speed against one CPU thread; negative: so many times slower.
# Row: where the model runs and in which variant, where the features run; full pipeline and model only, GMM and DNN.
TABLE = {
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

    return frame_problem(merged, {name: left(name) for name in modes}, PHONE, FrameState((model,)), "table")


def speedup(reference_ms: int, duration_us: int) -> float:
    """As the table gives it: below 1 it is the inverse, negative."""
    ratio = reference_ms * 1000 / duration_us
    return ratio if ratio >= 1 else -1 / ratio


@pytest.mark.parametrize("model", ["gmm", "dense"])
@pytest.mark.parametrize("row", TABLE)
def test_the_phone_reproduces_the_published_table_through_placement(row, model):
    processor, variant, features, *published = TABLE[row]
    full, model_only = published[0] if model == "gmm" else published[1]
    placement = solve(pinned(model, processor, variant, features), solver="exhaustive")
    runs = {run.stage: run for run in placement.stages}
    # The table's pipelines begin with the sound in memory.
    took_us = placement.criteria.makespan - runs["sound"].end_us
    assert speedup(CPU_MS[model][0], took_us) == pytest.approx(full, rel=0.02)
    assert speedup(CPU_MS[model][1], runs["model"].end_us - runs["model"].start_us) == pytest.approx(
        model_only, rel=0.02
    )


def test_a_late_answer_goes_to_the_gpu_and_a_patient_one_to_the_dsp():
    merged = merge(audio_pipeline("gmm"))
    modes = price(merged, PHONE, PHONE_PROFILE, lambda *_: True)
    problem = frame_problem(merged, modes, PHONE, FrameState(("gmm",)), "choice")

    def where(deadline_us: int) -> str:
        deadline = problem.deadlines[0].model_copy(update={"deadline_us": deadline_us})
        placement = solve(problem.model_copy(update={"deadlines": (deadline,)}), solver="exhaustive")
        return {run.stage: run.resource for run in placement.stages}["model"]

    assert (where(300_000), where(60_000_000)) == ("gpu", "dsp")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.hardware.toml")), ids=lambda path: path.name)
def test_every_number_of_a_shipped_machine_has_its_source(path):
    hardware = Hardware.from_file(path)
    for part in (hardware, *hardware.processors, *hardware.radios, *hardware.links):
        numbers = {name for name in part.model_fields_set if type(getattr(part, name)) is int}
        assert numbers <= set(part.sources), f"{part} lacks a source for {sorted(numbers - set(part.sources))}"
        assert all(part.sources.values())


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.profile.toml")), ids=lambda path: path.name)
def test_a_shipped_profile_speaks_of_a_shipped_machine(path):
    profile = Profile.from_file(path)
    hardware = Hardware.from_file(SHIPPED / f"{profile.hardware}.hardware.toml")
    processors = {processor.name for processor in hardware.processors}
    for cost in profile.costs:
        assert cost.processor in processors
        # A made profile has published or modelled figures, a measured one those of its own device.
        assert (cost.source == "measured") == (profile.device is not None)


def features() -> BoundStage:
    workload = audio_pipeline("gmm")
    return bind(workload.graphs[0], workload)["features"]


def entry(**changed: object) -> Cost:
    return Cost(**{"processor": "cpu", "source": "modelled: for a test", **changed})


def test_the_most_particular_entry_holds():
    stage = features()
    costs = (
        entry(fixed_us=1),
        entry(operator="mfcc", fixed_us=2),
        entry(operator="mfcc", signature=stage.signature("default"), fixed_us=3),
    )
    for known in range(1, 4):
        profile = Profile(format="leo-profile/1", name="p", hardware="h", costs=costs[:known])
        assert profile.cost(stage, "default", "cpu").fixed_us == known
        assert profile.cost(stage, "default", "gpu") is None


def test_a_cost_is_a_line_rounded_up():
    cost = entry(fixed_us=10, ps_per_mac=3, ps_per_byte=500_000)
    assert cost.duration_us(Work(0, 0)) == 10
    assert cost.duration_us(Work(1, 1)) == 11
    assert cost.duration_us(Work(1_000_000, 4)) == 15
    assert entry().duration_us(Work(5, 5)) == 1


def test_a_profile_of_other_hardware_is_refused():
    with pytest.raises(ProfileError, match="profile `snapdragon-800` is of hardware `snapdragon-800`, not of `watch`"):
        PHONE_PROFILE.require("watch")


def profile(name: str, *costs: Cost, device: Device | None = None) -> Profile:
    return Profile(format="leo-profile/1", name=name, hardware="h", device=device, costs=costs)


def test_merging_takes_the_newer_of_two_entries():
    old = profile("old", entry(fixed_us=1), entry(operator="mfcc", fixed_us=2))
    new = profile("new", entry(operator="mfcc", fixed_us=5), entry(operator="gmm", fixed_us=6))
    merged = old.merged_with(new, "both")
    assert [(cost.operator, cost.fixed_us) for cost in merged.costs] == [("*", 1), ("mfcc", 5), ("gmm", 6)]
    assert merged.name == "both"


def test_profiles_of_other_machines_are_not_merged():
    here, there = (profile("p", device=Device(machine=machine)) for machine in ("x86_64", "aarch64"))
    with pytest.raises(ProfileError, match="were measured on different devices"):
        here.merged_with(there, "both")
    with pytest.raises(ProfileError, match="is of hardware `phone`, not of `h`"):
        here.merged_with(there.model_copy(update={"hardware": "phone"}), "both")


def test_differences_name_what_changed_what_came_and_what_went():
    old = profile("old", entry(fixed_us=1), entry(operator="mfcc", fixed_us=2), entry(operator="fuse"))
    new = profile("new", entry(fixed_us=1), entry(operator="mfcc", fixed_us=6), entry(operator="gmm"))
    changed, went, came = old.differences(new)
    assert changed.ratio(Work(0, 0)) == 3.0
    assert (went.after, came.before) == (None, None)
    assert came.ratio(Work(0, 0)) is None
    assert old.differences(old) == ()

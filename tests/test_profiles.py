"""Profiles: which entry holds; that the shipped ones say where their numbers come from, and keep what they promise."""

import pytest

from leo_runtime import solve
from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Cost, Device, Profile
from leo_runtime.errors import ProfileError
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import frame_problem, merge, price
from leo_runtime.operators import Work
from published import PHONE, PHONE_PROFILE, SHIPPED, TABLE, as_published, audio_pipeline, speedups


@pytest.mark.parametrize("model", ["gmm", "dense"])
@pytest.mark.parametrize("row", TABLE)
def test_the_phone_reproduces_the_published_table_through_placement(row, model):
    assert speedups(model, row) == pytest.approx(as_published(model, row), rel=0.02)


def test_a_late_answer_goes_to_the_gpu_and_a_patient_one_to_the_dsp():
    merged = merge(audio_pipeline("gmm"))
    modes = price(merged, PHONE, PHONE_PROFILE, lambda *_: True)
    problem = frame_problem(merged, modes, PHONE, Conditions(("gmm",)), "choice")

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


def test_a_phone_on_its_networks_is_the_phone_without():
    """What its documents say again of the chip is what the chip's own say."""
    nexus, costs = (
        Hardware.from_file(SHIPPED / "nexus-5.hardware.toml"),
        Profile.from_file(SHIPPED / "nexus-5.profile.toml"),
    )
    assert nexus.processors[:3] == PHONE.processors and nexus.battery_nj == PHONE.battery_nj
    assert nexus.links[: len(PHONE.links)] == PHONE.links
    assert all(one.remote for one in nexus.processors[3:])
    local = [cost for cost in costs.costs if not nexus.processor(cost.processor).remote]
    assert [cost.operator for cost in local if cost not in PHONE_PROFILE.costs] == ["join", "join"]


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

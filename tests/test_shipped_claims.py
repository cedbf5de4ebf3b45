"""Studies of published claims: what their cells come to where that can be said beforehand, and which way they point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leo_runtime import demo, shipped
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.model_pieces import piece_of
from leo_runtime.study.cells import cells
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from leo_runtime.study.measure import measure
from leo_runtime.study.shared import Shared
from leo_runtime.study.shipped_studies import study_file


def row(name: str, *changes: str, seconds: float | None = None, **values: Any) -> dict[str, Any]:
    """The row of the first cell of a study with these values of its axes; perhaps shorter, with more changes.

    What takes longest, such as regret, is left out.
    """
    study = Study.from_file(study_file(name))
    update: dict[str, Any] = {"changes": (*study.base.changes, *changes)}
    if seconds is not None:
        update["seconds"] = seconds
    short = study.model_copy(update={"base": study.base.model_copy(update=update), "measure": ()})
    cell = next(one for one in cells(short) if values.items() <= one.values.items())
    return dict(measure(short, Loader(short, study_file(name).parent).ready(cell), Shared()).row)


def test_a_cpu_that_samples_never_sleeps_and_draws_what_the_power_profile_says() -> None:
    found = row("leo-2016", seconds=10, placement="cpu-only", mix="light on Wi-Fi")
    causes = {name.removeprefix("cause_nj."): nj for name, nj in found.items() if name.startswith("cause_nj.") and nj}
    assert causes.pop("run") == 1_468 * found["busy_us.cpu"]
    assert sum(causes.values()) == 66 * found["end_us"] and set(causes) == {"awake", "idle tail"}


def test_what_leo_claims_of_offloading_and_of_a_general_purpose_scheduler_points_the_same_way_here() -> None:
    found = {
        placement: row("leo-2016", seconds=20, placement=placement, mix="medium on Wi-Fi")
        for placement in ("offloading", "all-cloud", "greedy", "exact", "windows")
    }
    energy = {placement: one["energy_nj"] for placement, one in found.items()}
    assert all(one["misses"] == 0 for one in found.values())
    assert energy["windows"] < energy["exact"] <= energy["greedy"] < energy["offloading"] < energy["all-cloud"]
    assert 1.6 < energy["offloading"] / energy["windows"] < 3


def test_lte_is_promoted_once_and_its_tail_never_ends_where_all_is_sent() -> None:
    found = row("leo-2016", seconds=10, placement="all-cloud", mix="light on LTE")
    assert found["wake_ups.lte"] == 1 and found["cause_nj.wake-up"] == 260_000 * 1_211
    # Between sendings it draws the tail's power, and after the last one for all of the tail.
    assert found["cause_nj.radio tail"] > 1_060 * 11_576_000
    assert found["cause_nj.radio tail"] == pytest.approx(1_060 * (found["end_us"] - found["busy_us.lte"]), rel=0.2)


def test_a_radio_is_awake_from_the_sending_to_the_answer_and_then_in_its_tail() -> None:
    found = row("gpu-vs-cloud", seconds=5, way="20 Mbit/s, 25 ms", buffered="1 s, 278 mW")
    assert found["wake_ups.wifi"] == 5 and found["busy_us.wifi"] == 5 * (12_800 + 26)  # 32,000 B, and 64 B back.
    awake_us = 5 * 12_500 + found["busy_us.cloud-wifi"] + found["busy_us.wifi"]
    assert found["resource_nj.wifi"] == 278 * awake_us + 5 * 119 * 238_000


@pytest.mark.parametrize(
    ("buffered", "gpu_wins"),
    [("1 s, busy CPU", (1, 2, 5, 10, 20)), ("10 s, busy CPU", (1, 2)), ("10 s, 278 mW", ()), ("10 s, by rate", ())],
)
def test_the_border_between_gpu_and_cloud_is_where_its_page_says(buffered: str, gpu_wins: tuple[int, ...]) -> None:
    gpu = row("gpu-vs-cloud", seconds=20, way="GPU", buffered=buffered)
    assert gpu["runs.gpu"] and not gpu["runs.cloud-wifi"]
    for mbit in (2, 20):
        cloud = row("gpu-vs-cloud", seconds=20, way=f"{mbit} Mbit/s, 25 ms", buffered=buffered)
        assert cloud["misses"] == 0 and not cloud.get("runs.gpu")
        assert (gpu["energy_nj"] < cloud["energy_nj"]) == (mbit in gpu_wins)


def test_a_naive_port_takes_what_its_runs_do_and_two_processors_that_wait() -> None:
    found = row("dsp-ear", seconds=15, placement="naive port", day="usual")
    assert found["energy_nj"] == 40 * found["busy_us.dsp"] + (8 + 12) * found["end_us"]
    assert found["misses"] == 0 and found["answered"] == found["answers"] == 15
    assert found["battery_s"] == 31_464_000_000_000 * found["end_us"] // (found["energy_nj"] * 1_000_000)


def test_filters_make_a_battery_last_longer_and_the_more_so_the_quieter_it_is() -> None:
    lasts_s = {
        day: {
            placement: row("dsp-ear", placement=placement, day=day)["battery_s"]
            for placement in ("cpu-only", "naive port", "joint")
        }
        for day in ("quiet", "noisy")
    }
    assert all(one["joint"] / one["cpu-only"] > 3 for one in lasts_s.values())
    gained = [one["joint"] / one["naive port"] for one in lasts_s.values()]
    assert 2 < gained[0] < 3 and 1 < gained[1] < 2


def mj_each_400_ms(case: str, placement: str, seconds: float = 4) -> float:
    found = row("windows", seconds=seconds, case=case, placement=placement)
    assert found["misses"] == 0
    return float(found["energy_nj"] / 1e6 * 0.4 / seconds)


def test_four_graphs_cost_alone_what_they_did_and_in_windows_what_they_cost_by_hand() -> None:
    study = Study.from_file(study_file("windows"))
    alone = study.published["each release alone"]
    a, c = "A: waking 70 mJ", "C: waking 12 mJ"
    assert mj_each_400_ms(a, "cpu-only") == study.published["CPU alone"] == alone["A"] == 312.0
    assert mj_each_400_ms(a, "exact, no window") == 312.0
    assert mj_each_400_ms(c, "exact, no window") == pytest.approx(alone["C"], abs=0.05)
    assert mj_each_400_ms(c, "exact, 16 stages") < study.published["all releases seen, by hand"]["C"]
    found = row("windows", seconds=4, case=a, placement="exact, 16 stages")
    assert found["wake_ups.gpu"] == 1 and found["cause_nj.run"] == 10 * 39_000 * 3_000


def test_a_scheduler_on_the_dsp_takes_its_runs_and_on_the_cpu_being_woken_too() -> None:
    found = {
        where: row("scheduling-energy", seconds=4, scheduler=f"greedy, {where}", every="1 s")
        for where in ("free", "on the CPU", "on the DSP")
    }
    extra = {where: one["energy_nj"] - found["free"]["energy_nj"] for where, one in found.items()}
    runs = {where: one["cause_nj.run"] - found["free"]["cause_nj.run"] for where, one in found.items()}
    longer_us = found["on the DSP"]["end_us"] - found["free"]["end_us"]
    assert runs["on the DSP"] == 4 * (48_400 - 1) * 40
    assert extra["on the DSP"] == runs["on the DSP"] + (8 + 12) * longer_us
    assert extra["on the CPU"] > 4 * (5_500 * 1_468 + 2_270_000)
    assert extra["on the CPU"] > 7 * extra["on the DSP"]


def test_a_pipeline_moves_from_the_device_to_the_server_by_way_of_a_cut_as_bandwidth_grows() -> None:
    study = Study.from_file(study_file("neurosurgeon"))
    rates = [choice.name for choice in study.axes[2].choices or ()]
    found = {
        (placement, mbit): row("neurosurgeon", pipeline="speech", placement=placement, mbit=mbit)
        for placement in ("device", "cloud", "cut for time", "cut for energy")
        for mbit in rates
    }
    there = {key: one.get("runs.cloud-wifi") or 0 for key, one in found.items()}
    assert [there["cut for time", mbit] for mbit in rates] == [0] * 5 + [5] * 2 + [6] * 3
    assert [there["cut for energy", mbit] for mbit in rates] == [0] + [5] * 9
    for mbit in rates:
        for column, placement in (("graph_p50_us.network", "cut for time"), ("energy_nj", "cut for energy")):
            alone = min(found[one, mbit][column] for one in ("device", "cloud"))
            assert found[placement, mbit][column] <= alone


def test_of_a_mesh_no_block_is_worth_a_cut_without_fewer_bits() -> None:
    for mbit in ("0.1", "5", "100"):
        found = row("neurosurgeon", pipeline="mesh", placement="cut for time", mbit=mbit)
        assert (found.get("runs.cloud-wifi") or 0) in (0, 16)


@pytest.mark.parametrize("pipeline", ["speech", "speaker", "scene"])
def test_what_a_pipeline_on_sound_may_send_is_as_large_as_what_the_demo_gives(pipeline: str) -> None:
    (graph,) = Workload.from_file(study_file("neurosurgeon").with_name(f"neurosurgeon-{pipeline}.workload.toml")).graphs
    given = {stage.name: stage.bound.output_bytes() for stage in merge(shipped.workload()).stages}
    pieces = {stage.name.removeprefix(f"{pipeline} "): stage.params["output_bytes"] for stage in graph.stages}
    assert pieces.pop("answer") == 1 and len(pieces) >= 3
    assert pieces == {name: given[name] for name in pieces}


def test_what_a_mesh_may_send_is_as_large_as_what_its_blocks_give() -> None:
    (graph,) = Workload.from_file(study_file("neurosurgeon").with_name("neurosurgeon-mesh.workload.toml")).graphs
    model = Path(demo.__file__).parent / "models" / "face_landmark.tflite"
    given = [
        sum(one.bytes for one in piece_of(ModelParameters(model=model, first=number)).gives) for number in range(16)
    ]
    assert [stage.params["output_bytes"] for stage in graph.stages] == [192 * 192 * 3, *given, 1]

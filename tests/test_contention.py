"""Runs that slow each other in virtual time: the document, its changes, what happens, what plans reckon with."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

import pytest

from cost_workloads import profile_of, workload_of
from leo_runtime.dispatch.contention import Contention as Contending
from leo_runtime.documents.changes import changed
from leo_runtime.documents.contention import Contention, Slowdown, SlowdownMeasured
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DocumentError, InputError, ProfileError
from leo_runtime.frame.records import FrameResult
from leo_runtime.report.tables import differences, profile_table
from leo_runtime.runtime.options import OptionChanges
from leo_runtime.runtime.runtime import Runtime

HARDWARE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "m",
        "processors": [{"name": name, "backend": "none"} for name in ("cpu", "gpu", "dsp")],
    }
)


def pairs(**slowdowns: int) -> Contention:
    """By `victim_aggressor`, in ppm."""
    return Contention(
        pairs=tuple(
            Slowdown(
                victim=name.split("_")[0], aggressor=name.split("_")[1], slowdown_ppm=ppm, source="modelled: a test"
            )
            for name, ppm in slowdowns.items()
        )
    )


def alone(*graphs: tuple[str, str, int], contention: Contention, **changes: Any) -> tuple[Workload, Profile]:
    """Each graph is a stage that can run in one place: its name, where, and how long it takes there alone."""
    built = []
    for name, _, _ in graphs:
        builder = GraphBuilder(name, period_us=100_000, deadline_us=100_000)
        builder.stage(name, "cost", output_bytes=1)
        built.append(builder.build())
    profile = profile_of({(name, where): (us, 1_000 * us) for name, where, us in graphs})
    return workload_of(*built), profile.model_copy(update={"contention": contention, **changes})


def frame(
    workload: Workload, profile: Profile, hardware: Hardware = HARDWARE, **options: Any
) -> tuple[FrameResult, dict[str, tuple[int, int, int]]]:
    """The result of a frame of all graphs, and of each stage its start, end and energy."""
    chosen: OptionChanges = {"solver": "heft", **options}
    with Runtime.simulated(workload, hardware, profile, compute=False, **chosen) as runtime:
        runtime.submit(0, {}, graphs=[graph.name for graph in workload.graphs])
        (result,) = runtime.drain()
    return result, {run.stage: (run.start_us, run.end_us, run.nj) for run in result.stages}


def test_a_run_is_slowed_for_as_long_as_there_is_one_beside_it() -> None:
    workload, profile = alone(("a", "cpu", 100), ("b", "gpu", 300), contention=pairs(cpu_gpu=500_000, gpu_cpu=100_000))
    _, runs = frame(workload, profile)
    # `a` takes 150 us beside `b`; of that, 150 / 1.1 are done then, and the rest takes no longer than it does.
    assert runs["a"] == (0, 150, 150_000)
    assert runs["b"] == (0, 150 + 164, 314_000)  # 300 - 136.36 = 163.64, rounded up.


def test_slowdowns_of_several_neighbours_add_up() -> None:
    workload, profile = alone(
        ("a", "cpu", 100), ("b", "gpu", 50), ("c", "dsp", 1_000), contention=pairs(cpu_gpu=500_000, cpu_dsp=250_000)
    )
    _, runs = frame(workload, profile)
    # For 50 us 1.75 times as slow: 28.571428 us of it are done. The rest takes 1.25 times as long.
    assert runs["a"] == (0, 50 + 90, 140_000)
    assert runs["b"][:2] == (0, 50) and runs["c"][:2] == (0, 1_000)


def test_lanes_of_one_processor_slow_each_other_where_that_is_said() -> None:
    processors = [{"name": "cpu", "backend": "none", "lanes": 3}]
    hardware = Hardware.from_dict({"format": "leo-hardware/1", "name": "m", "processors": processors})
    workload, profile = alone(
        ("a", "cpu", 100), ("b", "cpu", 200), ("c", "cpu", 400), contention=pairs(cpu_cpu=1_000_000)
    )
    _, runs = frame(workload, profile, hardware)
    # Twice as long while there is any other: the last 200 us of `c` it is alone.
    assert [runs[name][1] for name in "abc"] == [200, 400, 600]


def test_without_pairs_nothing_changes() -> None:
    workload, profile = alone(("a", "cpu", 100), ("b", "gpu", 300), contention=Contention())
    assert "contention" not in profile.to_json()
    _, runs = frame(workload, profile)
    assert (runs["a"][:2], runs["b"][:2]) == ((0, 100), (0, 300))
    none = profile.model_copy(update={"contention": pairs(cpu_gpu=0)})
    assert frame(workload, none)[0].stages == frame(workload, profile)[0].stages


def test_plans_can_reckon_with_it_and_what_happens_still_goes_by_who_is_busy() -> None:
    workload, profile = alone(("a", "cpu", 100), contention=pairs(cpu_gpu=500_000))
    result, runs = frame(workload, profile)
    assert result.placement.criteria.makespan == 100
    expecting = profile.model_copy(
        update={"contention": profile.contention.model_copy(update={"expected_percent": 40})}
    )
    result, runs = frame(workload, expecting)
    assert result.placement.criteria.makespan == 120
    assert runs["a"] == (0, 100, 100_000)


def test_a_plan_that_reckons_with_it_chooses_otherwise() -> None:
    builder = GraphBuilder("a", period_us=10_000, deadline_us=10_000)
    builder.stage("a", "cost", output_bytes=1)
    profile = profile_of({("a", "cpu"): (100, 1_000), ("a", "gpu"): (120, 1_000)})
    workload = workload_of(builder.build()).model_copy(update={"objective": ("makespan",)})
    done = changed(workload, HARDWARE, profile, ["contention.cpu.gpu.slowdown_ppm=500_000"])
    for expected, where in ((0, "cpu"), (100, "gpu")):
        one = changed(workload, HARDWARE, done.profile, [f"contention.expected_percent={expected}"]).profile
        result, _ = frame(workload, one, solver="exact")
        assert [run.resource for run in result.stages] == [where]


def test_a_run_that_is_slowed_beyond_its_limit_is_given_up_and_its_end_is_nobodys() -> None:
    contention = pairs(cpu_gpu=99_000_000)  # A hundred times as long.
    workload, profile = alone(("a", "cpu", 10_000), ("b", "gpu", 900_000), contention=contention)
    result, runs = frame(workload, profile)
    assert [one.outcome for one in result.graphs] == ["failed", "done"]
    (given_up,) = [run for run in result.stages if run.stage == "a"]
    assert given_up.outcome == "failed"
    assert given_up.end_us < 900_000 == runs["b"][1]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_is_what_fractions_say(seed: int) -> None:
    """Against exact fractions: never early, and late by less than a microsecond."""
    rng, names = Random(seed), ("cpu", "gpu", "dsp")
    slowdowns = {(a, b): rng.choice([0, 1, 333_333, 999_999, 2_000_000]) for a in names for b in names}
    contending = Contending(slowdowns)
    left: dict[int, Fraction] = {}
    where: dict[int, str] = {}
    now_us = 0

    def factor(run: int) -> Fraction:
        beside = [other for other in left if other != run]
        return 1 + sum(Fraction(slowdowns[where[run], name], 1_000_000) for name in {where[other] for other in beside})

    for number in range(60):
        ends = {run: contending.end_us(run) for run in left}
        first = min(ends, key=lambda run: (ends[run], run), default=None)
        begins_us = now_us + rng.choice([0, 1, 7, 500])
        goes = first is not None and (len(left) == 5 or ends[first] <= begins_us)
        at_us = ends[first] if goes else begins_us
        for run in left:
            left[run] -= (at_us - now_us) / factor(run)
        now_us = at_us
        if goes:
            assert first is not None and -1 < left[first] <= Fraction(60, 1_000_000)
            del left[first]
            contending.end(first, now_us)
        else:
            where[number], alone_us = rng.choice(names), rng.randrange(1, 2_000)
            left[number] = Fraction(alone_us)
            contending.start(number, where[number], alone_us, now_us)


def test_the_same_run_gives_the_same_again_whatever_else_there_is() -> None:
    contention = pairs(cpu_gpu=300_001, gpu_cpu=700_003, dsp_cpu=123_457)
    workload, profile = alone(("a", "cpu", 77), ("b", "gpu", 111), ("c", "dsp", 333), contention=contention)
    found = []
    for _ in range(2):
        with Runtime.simulated(
            workload, HARDWARE, profile, compute=False, solver="heft", noise=200_000, seed=5
        ) as runtime:
            for release_us in range(0, 2_000, 100):
                runtime.submit(release_us, {}, graphs=["a", "b", "c"])
            found.append([result.stages for result in runtime.drain()])
    assert found[0] == found[1]


def test_changes_set_scale_and_sweep_it() -> None:
    workload, profile = alone(("a", "cpu", 100), contention=pairs(cpu_gpu=200_000))

    def after(*changes: str) -> Contention:
        return changed(workload, HARDWARE, profile, changes).profile.contention

    assert after("contention.cpu.gpu.slowdown_ppm*=1.5").slowdowns_ppm() == {("cpu", "gpu"): 300_000}
    assert len(after("contention.*.*.slowdown_ppm=5").slowdowns_ppm()) == 6
    assert after("contention.dsp.*.slowdown_ppm=7").slowdowns_ppm() == {
        ("cpu", "gpu"): 200_000,
        ("dsp", "cpu"): 7,
        ("dsp", "gpu"): 7,
    }
    assert after("contention.cpu.cpu.slowdown_ppm=9").slowdowns_ppm()["cpu", "cpu"] == 9
    assert after("contention.expected_percent=50").expected_ppm() == {"cpu": 1_100_000}
    assert after("without gpu").pairs == ()
    assert after("contention.cpu.gpu.slowdown_ppm=1").pairs[0].source == (
        "modelled: `contention.cpu.gpu.slowdown_ppm=1` of: modelled: a test"
    )
    told = changed(workload, HARDWARE, profile, ["contention.cpu.gpu.slowdown_ppm=200_000"])
    assert told.notes and told.profile == profile


def test_a_processor_elsewhere_is_slowed_by_its_name_alone() -> None:
    processors = (*HARDWARE.processors, HARDWARE.processors[0].model_copy(update={"name": "cloud", "remote": True}))
    workload, profile = alone(("a", "cpu", 100), contention=Contention())
    hardware = HARDWARE.model_copy(update={"processors": processors})

    def slowed(change: str) -> set[tuple[str, str]]:
        return set(changed(workload, hardware, profile, [change]).profile.contention.slowdowns_ppm())

    assert not any("cloud" in pair for pair in slowed("contention.*.*.slowdown_ppm=5"))
    assert slowed("contention.cloud.*.slowdown_ppm=5") == {("cloud", name) for name in ("cpu", "gpu", "dsp")}
    assert slowed("contention.cloud.cloud.slowdown_ppm=5") == {("cloud", "cloud")}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("contention.npu.gpu.slowdown_ppm=1", "no processor is called `npu`"),
        ("contention.cpu=1", "names no slowdown"),
        ("contention.cpu.gpu.slow=1", "no field of a pair is called `slow`"),
        ("contention.cpu.gpu.slowdown_ppm=-1", "expected an integer from 0"),
        ("contention.cpu.gpu.slowdown_ppm=fast", "expected an integer from 0"),
        ("contention.expected_percent=101", "expected an integer from 0 to 100"),
        ("contention.dsp.cpu.slowdown_ppm*=2", "knows no such slowdown"),
        ("contention", "no processor is called"),
    ],
)
def test_a_change_that_cannot_be_is_told(change: str, says: str) -> None:
    workload, profile = alone(("a", "cpu", 100), contention=pairs(cpu_gpu=200_000))
    with pytest.raises(InputError, match=says):
        changed(workload, HARDWARE, profile, [change])


def test_what_no_contention_can_be_is_told_with_its_place() -> None:
    pair = {"victim": "cpu", "aggressor": "gpu", "slowdown_ppm": 1, "source": "modelled"}
    of = {"format": "leo-profile/1", "name": "m", "hardware": "m", "costs": []}
    with pytest.raises(DocumentError, match=r"at \$.contention.pairs\[1\]"):
        Profile.from_dict({**of, "contention": {"pairs": [pair, pair]}})
    with pytest.raises(DocumentError, match=r"at \$.contention.pairs\[0\].slowdown_ppm"):
        Profile.from_dict({**of, "contention": {"pairs": [{**pair, "slowdown_ppm": -1}]}})
    workload, profile = alone(("a", "cpu", 100), contention=pairs(cpu_npu=1))
    with pytest.raises(ProfileError, match=r"`npu`, which is no processor .* at \$.contention.pairs\[0\].aggressor"):
        frame(workload, profile)


def test_a_profile_is_shown_with_it() -> None:
    measured = SlowdownMeasured(stages=6, runs=84, low_ppm=-6_407, high_ppm=753_034)
    pair = Slowdown(victim="cpu", aggressor="gpu", slowdown_ppm=24_618, measurement=measured, source="measured")
    _, profile = alone(("a", "cpu", 100), contention=Contention(expected_percent=50, pairs=(pair,)))
    table = """
processor  beside  longer by  stages    half of them  source
---------  ------  ---------  ------  --------------  --------
cpu        gpu         2.5 %       6  -0.6 to 75.3 %  measured

plans reckon with 50 % of it
"""
    assert profile_table(profile).endswith(table)
    assert profile_table(profile.model_copy(update={"contention": Contention()})) in profile_table(profile)


def test_profiles_differ_in_it() -> None:
    _, before = alone(("a", "cpu", 100), contention=pairs(cpu_gpu=100_000, gpu_cpu=5_000))
    _, after = alone(("a", "cpu", 100), contention=pairs(cpu_gpu=120_000, gpu_cpu=5_000, dsp_cpu=7_000))
    assert differences(before, before) == "no entry differs\n"
    table = """no entry differs

processor  beside  before   after
---------  ------  ------  ------
cpu        gpu     10.0 %  12.0 %
dsp        cpu      0.0 %   0.7 %
"""
    assert differences(before, after) == table


def test_it_cannot_change_in_a_run() -> None:
    workload, profile = alone(("a", "cpu", 100), contention=pairs(cpu_gpu=1))
    none = profile.model_copy(update={"contention": Contention()})
    with (
        Runtime.simulated(workload, HARDWARE, profile, compute=False) as runtime,
        pytest.raises(InputError, match="tells of other contention"),
    ):
        runtime.change(workload, profile=none)


def test_profiles_of_one_machine_put_together_have_the_pairs_of_both() -> None:
    _, one = alone(("a", "cpu", 100), contention=pairs(cpu_gpu=1, gpu_cpu=2))
    _, other = alone(("b", "cpu", 100), contention=pairs(cpu_gpu=3))
    assert one.merged_with(other, "m").contention.slowdowns_ppm() == {("cpu", "gpu"): 3, ("gpu", "cpu"): 2}
    _, none = alone(("b", "cpu", 100), contention=Contention())
    assert one.merged_with(none, "m").contention == one.contention

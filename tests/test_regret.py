"""Regret of runs small enough to know the best plan by hand."""

import pytest

from cost_workloads import profile_of, workload_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.records import FrameResult
from leo_runtime.judge.window import check_window
from leo_runtime.replay.regret import Regret, best_plan, known_window, regret
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve

PERIOD_US = 1_000


def machine(**gpu: int) -> Hardware:
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "m",
            "processors": [
                {"name": "cpu", "backend": "none", "awake_mw": 2},
                {"name": "gpu", "backend": "none", "awake_mw": 5, "asleep_mw": 1, "idle_timeout_us": 100, **gpu},
            ],
            "links": [{"source": "cpu", "target": "gpu"}, {"source": "gpu", "target": "cpu"}],
        }
    )


def workload(chance_ppm: int | None = None) -> Workload:
    """A stage of 100 us, or one whose model runs or does not."""
    builder = GraphBuilder("g", period_us=PERIOD_US, deadline_us=500)
    builder.stage("model" if chance_ppm is None else "gate", "cost", chance_ppm=chance_ppm, output_bytes=1)
    if chance_ppm is not None:
        builder.stage("model", "cost", "gate", gate="gate", output_bytes=1)
    return workload_of(builder.build())


COSTS = {
    ("gate", "cpu"): (50, 100),
    ("model", "cpu"): (100, 9_000),
    ("model", "gpu"): (20, 200),
}


def run(
    what: Workload, hardware: Hardware, profile: Profile, releases: int, **options: object
) -> tuple[tuple[FrameResult, ...], Runtime]:
    with Runtime.simulated(what, hardware, profile, compute=False, **options) as runtime:  # type: ignore[arg-type]
        for k in range(releases):
            runtime.submit(k * PERIOD_US, {})
        return runtime.drain(), runtime


def regretted(what: Workload, hardware: Hardware, releases: int, *, most_stages: int = 8, **options: object) -> Regret:
    names = {stage.name for graph in what.graphs for stage in graph.stages}
    profile = profile_of({(stage, place): cost for (stage, place), cost in COSTS.items() if stage in names})
    frames, runtime = run(what, hardware, profile, releases, **options)
    best = best_plan(frames, runtime.merged, runtime.modes, hardware, most_stages=most_stages)
    return regret(frames, runtime.merged, runtime.modes, hardware, best=best)


def test_nothing_better_than_the_only_way_could_have_been_done() -> None:
    found = regretted(workload(), machine(wake_energy_nj=10**9), 5)
    assert found.nj == found.best.nj == 5 * 9_000 + (2 + 1) * found.best.lasts_us
    assert (found.percent, found.tardiness_us, found.best.tardiness_us) == (0.0, 0, 0)
    assert found.best.part_nj == found.best.part_bound_nj


def test_a_wake_up_that_many_releases_repay_is_regretted() -> None:
    """Waking costs more than a release saves, and holding little."""
    found = regretted(workload(), machine(wake_energy_nj=12_000), 40, solver="cpu-only")
    waking, held, tail = 12_000, (39 * PERIOD_US + 20) * 4, 100 * 4
    assert found.best.nj == waking + held + tail + 40 * 200 + (2 + 1) * found.best.lasts_us
    assert found.nj == 40 * 9_000 + (2 + 1) * found.best.lasts_us
    assert found.best.asked < found.best.parts


def test_what_pays_after_more_releases_than_a_part_has_is_found() -> None:
    hardware = machine(wake_energy_nj=100_000, wake_latency_us=2_500)
    names = {("model", place): cost for (stage, place), cost in COSTS.items() if stage == "model"}
    what, profile = workload(), profile_of(names)
    frames, runtime = run(what, hardware, profile, 200, solver="cpu-only")
    best = best_plan(frames, runtime.merged, runtime.modes, hardware, most_stages=4)
    found = regret(frames, runtime.merged, runtime.modes, hardware, best=best)
    assert found.best.part_stages == 4
    assert found.percent > 10
    assert found.best.tardiness_us == 0


@pytest.mark.parametrize(("chance_ppm", "ran"), [(0, 0), (1_000_000, 6)])
def test_what_a_gate_kept_from_running_is_left_out(chance_ppm: int, ran: int) -> None:
    hardware = machine(wake_energy_nj=10**9)
    what, profile = workload(chance_ppm), profile_of(COSTS)
    frames, runtime = run(what, hardware, profile, 6)
    problem = known_window(frames, runtime.merged, runtime.modes, hardware)
    assert len(problem.stages) == 6 + ran
    assert all(stage.chance_ppm == 1_000_000 and not stage.gates for stage in problem.stages)
    answer = solve(problem, "greedy")
    assert check_window(problem, answer).ok
    found = regret(frames, runtime.merged, runtime.modes, hardware)
    assert found.best.nj == 6 * 100 + ran * 9_000 + (2 + 1) * found.best.lasts_us
    assert found.percent == pytest.approx(0)


def test_lateness_is_told() -> None:
    builder = GraphBuilder("g", period_us=PERIOD_US, deadline_us=60, weight=3)
    builder.stage("model", "cost", output_bytes=1)
    found = regretted(workload_of(builder.build()), machine(), 2, solver="cpu-only")
    assert found.tardiness_us == 2 * 3 * 40
    assert found.best.tardiness_us == 0


def test_what_has_no_regret_is_said() -> None:
    what, hardware, profile = workload(), machine(), profile_of({("model", "cpu"): (100, 9_000)})
    with Runtime.simulated(what, hardware, profile, compute=False) as runtime:
        runtime.submit_batch([(0, {}), (PERIOD_US, {})])
        frames = runtime.drain()
    with pytest.raises(InputError, match="is a batch, of which no regret is known"):
        regret(frames, runtime.merged, runtime.modes, hardware)
    with pytest.raises(InputError, match="nothing ran") as error:
        regret((), runtime.merged, runtime.modes, hardware)
    assert error.value.hint

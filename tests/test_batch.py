"""Several frames as one problem: together where a fixed cost is worth saving, and only there."""

import pytest

from leo_runtime.batch import MAX_CANDIDATES, BatchAnswer, solve_batch
from leo_runtime.check import check
from leo_runtime.errors import SolverError
from leo_runtime.graph import GraphBuilder, Stream, Workload
from leo_runtime.hardware import Hardware
from leo_runtime.lower import FrameState, MergedWorkload, merge, price
from leo_runtime.profiles import Profile
from leo_runtime.solver import solve

HARDWARE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "phone",
        "processors": [
            {"name": "cpu", "backend": "cpu", "active_mw": 1000},
            {"name": "gpu", "backend": "opencl", "active_mw": 2000, "wake_energy_nj": 2_000_000},
        ],
        "links": [{"source": "cpu", "target": "gpu"}, {"source": "gpu", "target": "cpu"}],
    }
)
PROFILE = Profile.from_dict(
    {
        "format": "leo-profile/1",
        "name": "phone",
        "hardware": "phone",
        "costs": [
            {"processor": "cpu", "ps_per_byte": 1000, "source": "modelled"},
            {"processor": "cpu", "operator": "energy_gate", "ps_per_mac": 1_000_000, "source": "modelled"},
            {
                "processor": "gpu",
                "operator": "energy_gate",
                "fixed_us": 3_000,
                "ps_per_mac": 100_000,
                "source": "modelled",
            },
        ],
    }
)


def loudness(deadline_us: int) -> MergedWorkload:
    builder = GraphBuilder("loud", period_us=100_000, deadline_us=deadline_us)
    sound = builder.stage("sound", "window", stream="mic", samples=4000)
    builder.stage("level", "energy_gate", sound, threshold_dbfs=-40.0)
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    return merge(Workload(format="leo-workload/1", name="w", streams=streams, graphs=(builder.build(),)))


def answer(deadline_us: int, frames: int = 4, asleep: frozenset[str] = frozenset({"gpu"})) -> BatchAnswer:
    merged = loudness(deadline_us)

    def supports(processor: str, stage: object, _variant: str) -> bool:
        return processor == "cpu" or getattr(stage, "name", "") == "level"

    return solve_batch(
        merged,
        price(merged, HARDWARE, PROFILE, supports),
        price(merged, HARDWARE, PROFILE, supports, frames=frames),
        HARDWARE,
        FrameState(graphs=("loud",), asleep=asleep),
        frames=frames,
        period_us=100_000,
        candidates=("level",),
        solver=lambda problem: solve(problem, "exhaustive"),
    )


def test_frames_that_can_wait_go_to_the_gpu_together() -> None:
    found = answer(deadline_us=1_000_000)
    assert found.together == ("level",)
    assert {run.resource for run in found.placement.stages if run.stage == "level#all"} == {"gpu"}
    assert found.placement.status == "optimal"
    assert check(found.problem, found.placement).ok
    alone = found.alternatives[()].criteria
    assert alone is not None
    assert found.placement.criteria is not None
    assert found.placement.criteria.energy < alone.energy


def test_frames_that_are_due_at_once_run_one_by_one() -> None:
    found = answer(deadline_us=50_000)
    assert found.together == ()
    assert len(found.placement.stages) == 8
    late = found.alternatives["level",].criteria
    assert late is not None
    assert late.tardiness > 0


def test_one_frame_gains_nothing_by_being_a_batch() -> None:
    assert answer(deadline_us=1_000_000, frames=1).together == ()


def test_too_many_candidates_are_refused() -> None:
    merged = loudness(1)
    with pytest.raises(SolverError, match="at most 6 can be tried"):
        solve_batch(
            merged,
            {},
            {},
            HARDWARE,
            FrameState(graphs=("loud",)),
            frames=2,
            period_us=1,
            candidates=("level",) * (MAX_CANDIDATES + 1),
            solver=solve,
        )

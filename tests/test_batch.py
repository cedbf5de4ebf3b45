"""Several frames as one problem: together where a fixed cost is worth saving, and only there; and run as planned."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recorded
from leo_backends.cpu import CpuBackend
from leo_runtime.backend import Kernel
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import InputError, KernelError, SolverError
from leo_runtime.frame.batch import (
    MAX_CANDIDATES,
    BatchAnswer,
    FramePrices,
    batch_problem,
    may_batch,
    solve_batch,
    worth_batching,
)
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import MergedWorkload, merge, price
from leo_runtime.frame.records import FrameResult
from leo_runtime.judge import check
from leo_runtime.replay.replay import Replay, Span, replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime import kernels as computing
from leo_runtime.runtime.runtime import Runtime
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


def answer(deadline_us: int, frames: int = 4, asleep: tuple[str, ...] = ("gpu",)) -> BatchAnswer:
    merged = loudness(deadline_us)

    def supports(processor: str, stage: object, _variant: str) -> bool:
        return processor == "cpu" or getattr(stage, "name", "") == "level"

    return solve_batch(
        merged,
        price(merged, HARDWARE, PROFILE, supports),
        price(merged, HARDWARE, PROFILE, supports, frames=frames),
        HARDWARE,
        Conditions(graphs=("loud",), asleep=asleep),
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
    with pytest.raises(InputError, match="at most 6 can be tried"):
        solve_batch(
            merged,
            {},
            {},
            HARDWARE,
            Conditions(graphs=("loud",)),
            frames=2,
            period_us=1,
            candidates=[f"level{k}" for k in range(MAX_CANDIDATES + 1)],
            solver=solve,
        )


def anything(_processor: str, _stage: object, _variant: str) -> bool:
    return True


def test_budgets_hold_for_every_frame_and_collected_frames_have_more_time(folder: Path) -> None:
    workload, hardware, profile, _ = loaded(folder)
    (graph,) = workload.graphs
    graph = graph.model_copy(update={"accuracy_loss_ppm_max": 100})
    merged = merge(workload.model_copy(update={"graphs": (graph,)}))
    modes = price(merged, hardware, profile, anything)
    problem = batch_problem(
        merged,
        modes,
        price(merged, hardware, profile, anything, frames=3),
        hardware,
        Conditions(graphs=("beeps",)),
        frames=3,
        period_us=None,
        together=("features",),
        name="three",
    )
    assert [budget.stages for budget in problem.accuracy_budgets] == [
        (f"sound#{frame}", f"any#{frame}", "features#all", f"loudness#{frame}") for frame in range(3)
    ]
    assert [(due.stage, due.deadline_us) for due in problem.deadlines] == [
        (f"loudness#{frame}", 3 * graph.deadline_us) for frame in range(3)
    ]


def test_sources_and_gates_and_what_loses_accuracy_run_alone(folder: Path) -> None:
    workload, hardware, profile, _ = loaded(folder)
    merged = merge(workload)
    modes = price(merged, hardware, profile, anything)
    assert [stage.name for stage in merged.stages if may_batch(merged, stage.name, modes)] == ["features", "loudness"]
    batched = price(merged, hardware, profile, anything, frames=4)
    assert worth_batching(merged, ("beeps",), modes, batched, 4) == ("features",)
    with pytest.raises(InputError, match="stage `any` cannot run its frames together"):
        solve_batch(
            merged,
            modes,
            batched,
            hardware,
            Conditions(graphs=("beeps",)),
            frames=4,
            period_us=None,
            candidates=("any",),
            solver=solve,
        )
    losing = merge(workload.model_copy(update={"objective": ("tardiness", "accuracy_loss")}))
    lossy = {name: (found[0].model_copy(update={"accuracy_loss_ppm": 1}),) for name, found in modes.items()}
    assert not may_batch(losing, "features", lossy)


# What is planned so is run so. Of the four seconds of the recording a beep is in seconds 1 to 2 and 2.5 to 3; in the
# windows of half a second that end elsewhere the gate is closed.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorded.write_all(tmp_path)
    return tmp_path


def loaded(folder: Path) -> Any:
    """The recorded workload, on a machine whose DSP takes long to begin with a stage."""
    workload, hardware, profile, recording = recorded.load_all(folder)
    costs = [
        {"processor": "cpu", "fixed_us": 1000, "source": "modelled"},
        {"processor": "cpu", "operator": "motion_features", "fixed_us": 90_000, "source": "modelled"},
        {
            "processor": "dsp",
            "operator": "motion_features",
            "fixed_us": 150_000,
            "ps_per_mac": 20_000,
            "source": "modelled",
        },
    ]
    profile = Profile.from_dict({"format": "leo-profile/1", "name": "desk", "hardware": "desk", "costs": costs})
    return workload, hardware, profile, recording


def run(folder: Path, batch: int, **options: Any) -> tuple[Replay, tuple[FrameResult, ...]]:
    kept = KeptFrames()
    workload, hardware, profile, recording = loaded(folder)
    with Runtime.simulated(workload, hardware, profile, backends=recorded.cpus(hardware), **options) as runtime:
        policy, span = str(options.get("solver")), Span.of(recording)
        replayed = replay(runtime, recording, span, policy=policy, time="virtual", batch=batch, sinks=[kept])
    return replayed, kept.frames


def found(frames: tuple[FrameResult, ...]) -> list[tuple[int, str, str | None]]:
    return sorted((graph.release_us, graph.outcome, graph.label) for frame in frames for graph in frame.graphs)


@pytest.mark.parametrize("size", [2, 3, 4, 8, 20])
@pytest.mark.parametrize("solver", ["exact", "greedy"])
def test_a_batch_finds_what_its_frames_find_alone(folder: Path, size: int, solver: str) -> None:
    (_, alone), (_, together) = run(folder, 1, solver=solver), run(folder, size, solver=solver)
    assert found(together) == found(alone)
    assert len(together) == -(-8 // size)


def test_what_runs_together_is_charged_once_and_leaves_out_closed_gates(folder: Path) -> None:
    (alone, _), (collected, (frame,)) = run(folder, 1, solver="exact"), run(folder, 8, solver="exact")
    (features,) = [seen for seen in frame.stages if frame.jobs[seen.stage].stage == "features"]
    assert (features.stage, features.resource, features.outcome) == ("features#all", "dsp", "done")
    opened = sum(graph.outcome == "done" for graph in frame.graphs)
    assert opened == 3
    # As long as three frames take, not as the eight planned for.
    one_us = (features.expected_us - 150_000) // 8
    assert abs(features.end_us - features.start_us - (150_000 + opened * one_us)) <= opened
    silent = {seen.stage for seen in frame.stages if seen.outcome == "cancelled"}
    assert len(silent) == 8 - opened  # What only reads them does not run either.
    assert all(frame.jobs[stage].stage == "loudness" for stage in silent)
    assert all(graph.deadline_us == frame.release_us + 8 * 100_000 for graph in frame.graphs)
    assert not any(graph.missed for graph in frame.graphs)
    energy = collected.summary.energy
    assert set(energy.by_graph) <= {"beeps", ""}
    assert energy.by_cause["run"] == sum(seen.nj for seen in frame.stages)
    assert energy.by_cause["run"] < alone.summary.energy.by_cause["run"]


def test_a_batch_goes_on_without_a_lost_processor(folder: Path) -> None:
    workload, hardware, profile, recording = loaded(folder)
    with Runtime.simulated(workload, hardware, profile, backends=recorded.cpus(hardware)) as runtime:
        frames = [(at_us, {"sound": recording.window("mic", at_us, 8000)}) for at_us in (1_500_000, 2_000_000)]
        runtime.submit_batch(frames)
        runtime.lose("dsp")
        (lost,) = runtime.drain()
        later = [(at_us + 500_000, windows) for at_us, windows in frames]
        runtime.submit_batch(later)
        (after,) = runtime.drain()
    for result in (lost, after):
        assert [graph.label for graph in result.graphs] == ["loud", "loud"]
        assert {seen.resource for seen in result.stages if seen.outcome == "done"} == {"cpu"}


def test_a_batch_runs_in_real_time(folder: Path) -> None:
    workload, hardware, profile, recording = loaded(folder)
    hardware = hardware.model_copy(update={"processors": hardware.processors[:1], "links": ()})
    profile = profile.model_copy(update={"costs": profile.costs[:2]})
    (graph,) = workload.graphs
    patient = graph.model_copy(update={"deadline_us": 10_000_000})
    workload = workload.model_copy(update={"graphs": (patient,)})
    with Runtime.live(workload, hardware, profile, adapt=True) as runtime:
        frames = [(at_us, {"sound": recording.window("mic", at_us, 8000)}) for at_us in (500_000, 1_500_000)]
        runtime.submit_batch(frames)
        (result,) = runtime.drain()
    assert [(graph.outcome, graph.label) for graph in result.graphs] == [("cancelled", None), ("done", "loud")]
    assert result.release_us == 1_500_000


def test_a_batch_that_cannot_be_is_refused_and_one_too_many_is_skipped(folder: Path) -> None:
    workload, hardware, profile, _ = loaded(folder)
    window = {"sound": np.zeros(8000, np.int16)}
    without_releases: Any = [window, window]
    with Runtime.simulated(workload, hardware, profile, backends=recorded.cpus(hardware), max_in_flight=1) as runtime:
        with pytest.raises(InputError, match="a batch of no frames"):
            runtime.submit_batch([])
        with pytest.raises(InputError, match="one after the other, got 1000000, 500000 us"):
            runtime.submit_batch([(1_000_000, window), (500_000, window)])
        with pytest.raises(InputError, match="one after the other, got 0, 0 us"):
            runtime.submit_batch([(0, window), (0, window)])
        with pytest.raises(InputError, match="a release with its windows, got dict"):
            runtime.submit_batch(without_releases)
        with pytest.raises(InputError, match="`graphs` are several names, got the text `beeps`"):
            runtime.submit_batch([(0, window)], graphs="beeps")
        with pytest.raises(InputError, match="no stage is called `level`") as error:
            runtime.submit_batch([(0, window), (500_000, window)], together=["level"])
        assert error.value.hint == "these can: features, loudness"
        with pytest.raises(InputError, match="stage `any` cannot run its frames together"):
            runtime.submit_batch([(0, window), (500_000, window)], together=["any"])
        with pytest.raises(InputError, match="of the same graphs, got beeps at 0 us and none at 1 us"):
            runtime.submit_batch([(0, window), (1, window)])
        with pytest.raises(InputError, match="source `sound` needs 8000 samples"):
            runtime.submit_batch([(0, window), (500_000, {})])
        runtime.submit_batch([(0, window), (500_000, window)])
        runtime.submit_batch([(499_999, window), (500_000, window)], graphs=["beeps"])
        first, second = sorted(runtime.drain(), key=lambda result: result.frame)
    assert runtime.skipped == 2
    assert [graph.outcome for graph in first.graphs] == ["cancelled", "cancelled"]
    assert [graph.outcome for graph in second.graphs] == ["failed", "failed"]
    assert second.placement.reason == "skipped: 1 frames are in flight"
    assert second.skipped


BAD = 12_345


class Breaking:
    """The CPU's backend, on which one stage fails wherever the frame's first sample is `BAD`."""

    name = "cpu"
    simulated = False

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.cpu = CpuBackend(Processor(name="cpu", backend="cpu"))

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        return self.cpu.supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        kernel = self.cpu.load(stage, variant)

        def breaking(inputs: Sequence[np.ndarray], /) -> np.ndarray:
            if stage.name == self.stage and abs(float(inputs[0].reshape(-1)[0]) - BAD / 32768) < 1e-6:
                raise KernelError("it is broken")
            return kernel(inputs)

        return breaking

    def close(self) -> None:
        self.cpu.close()


@pytest.mark.parametrize("stage", ["any", "features"])
@pytest.mark.parametrize("output", ["features", "loudness"])
@pytest.mark.parametrize("together", [(), ("features",), ("features", "loudness")])
def test_what_fails_for_one_frame_fails_for_that_frame_alone(
    folder: Path, stage: str, output: str, together: tuple[str, ...]
) -> None:
    workload, hardware, profile, _ = loaded(folder)
    if output == "features":
        (graph,) = workload.graphs
        graph = graph.model_copy(update={"stages": graph.stages[:3], "decision": None})
        workload = workload.model_copy(update={"graphs": (graph,)})
        together = together[:1]
    windows = [np.full(8000, 9000, np.int16) for _ in range(3)]
    windows[1][0] = BAD
    hardware = hardware.model_copy(update={"processors": hardware.processors[:1], "links": ()})
    profile = profile.model_copy(update={"costs": profile.costs[:2]})
    with Runtime.simulated(workload, hardware, profile, backends={"cpu": Breaking(stage)}) as runtime:
        frames = [((number + 1) * 500_000, {"sound": window}) for number, window in enumerate(windows)]
        runtime.submit_batch(frames, together=together, graphs=["beeps"])
        (result,) = runtime.drain()
    assert [graph.outcome for graph in result.graphs] == ["done", "failed", "done"]
    assert [graph.number for graph in result.graphs] == [0, 1, 2]
    assert [set(graph.outputs) for graph in result.graphs] == [{output}, set(), {output}]
    assert any("KernelError: it is broken" in seen.error for seen in result.stages)


def test_a_reason_that_repeats_in_a_batch_is_said_once() -> None:
    assert computing._each_once(["left"] * 1000) == "left"
    assert computing._each_once(["left", "right", "left"]) == "left; right"
    assert computing._each_once([f"at {n}" for n in range(1000)]) == "at 0; at 1; at 2; and 997 more reasons"


def test_what_fails_for_every_frame_fails_and_gives_nothing(folder: Path) -> None:
    workload, hardware, profile, _ = loaded(folder)
    window = np.full(8000, 9000, np.int16)
    window[0] = BAD
    with Runtime.simulated(
        workload, hardware, profile, backends=dict.fromkeys(("cpu", "dsp"), Breaking("features"))
    ) as runtime:
        runtime.submit_batch([(500_000, {"sound": window}), (1_000_000, {"sound": window})], together=["features"])
        (result,) = runtime.drain()
    assert [graph.outcome for graph in result.graphs] == ["failed", "failed"]
    assert not any(graph.outputs for graph in result.graphs)


def test_a_limit_is_for_all_choices_and_one_without_an_answer_is_left_out() -> None:
    asked: list[Problem] = []

    def solver(problem: Problem) -> Placement:
        asked.append(problem)
        if len(asked) > 1:
            raise SolverError("not this one")
        return solve(problem)

    merged = loudness(1_000_000)
    modes = price(merged, HARDWARE, PROFILE, anything)

    def answered(solver: Callable[[Problem], Placement]) -> BatchAnswer:
        return solve_batch(
            merged,
            modes,
            modes,
            HARDWARE,
            Conditions(graphs=("loud",)),
            frames=2,
            period_us=None,
            candidates=("level",),
            solver=solver,
        )

    assert answered(solver).together == ()
    with pytest.raises(SolverError, match="not this one"):
        answered(solver)


def test_in_real_time_nothing_is_saved_by_running_together(folder: Path) -> None:
    """Kernels take one frame at a time there, and a plan knows."""
    workload, hardware, profile, recording = loaded(folder)
    with Runtime.live(workload, hardware, profile, backends=recorded.cpus(hardware)) as runtime:
        frames = [(at_us, {"sound": recording.window("mic", at_us, 8000)}) for at_us in (1_500_000, 2_000_000)]
        runtime.submit_batch(frames, together=["features"])
        (result,) = runtime.drain()
    features = [seen for seen in result.stages if result.jobs[seen.stage].stage == "features"]
    (alone,) = {mode.duration_us for mode in runtime.modes["features"] if mode.resource == features[0].resource}
    assert sum(seen.expected_us for seen in features) == 2 * alone


def test_a_batch_holds_weights_once_and_the_output_of_every_frame() -> None:
    builder = GraphBuilder("net", period_us=100_000, deadline_us=100_000)
    sound = builder.stage("sound", "window", stream="mic", samples=50)
    builder.stage("scores", "dense", sound, layers=[3], model="net.npz")
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    merged = merge(Workload(format="leo-workload/1", name="w", streams=streams, graphs=(builder.build(),)))
    costs = tuple(cost for cost in PROFILE.costs if cost.processor == "cpu")
    profile = PROFILE.model_copy(update={"costs": costs})
    weights, output = 4 * (50 * 3 + 3), 4 * 3

    def held(prices: FramePrices, together: tuple[str, ...], room_bytes: int | None = None) -> list[int]:
        state = Conditions(graphs=("net",))
        processors = tuple(p.model_copy(update={"memory_bytes": room_bytes}) for p in HARDWARE.processors)
        hardware = HARDWARE.model_copy(update={"processors": processors})
        problem = batch_problem(
            merged, prices.of(1), prices.of(3), hardware, state, frames=3, period_us=None, together=together, name="b"
        )
        return [s.modes[0].memory_bytes for s in problem.stages if s.name.startswith("scores")]

    for prices in (
        FramePrices(partial(price, merged, HARDWARE, profile, lambda *_: True)),
        FramePrices(partial(price, merged, HARDWARE, profile, lambda *_: True), unbatched=["cpu"]),
    ):
        assert held(prices, ()) == [weights + output, output, output]
        assert held(prices, ("scores",)) == [weights + 3 * output]
        assert held(prices, (), weights + output) == [weights + output, output, output]
        # The second frame ran where the weights of all could not be.
        assert held(prices, (), weights + output - 1) == [weights + output] * 3

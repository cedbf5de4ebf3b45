"""What the sinks of a replay are told, against what its tables say, over random runs."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, get_args

import numpy as np
import pytest

from cost_workloads import PROCESSORS, random_machine, random_profile, random_workload
from leo_runtime.backend import Kernel
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DeviceUnavailableError
from leo_runtime.frame.entries import Cause, Entry, Ledger
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult, StageObservation
from leo_runtime.frame.standby import LONGEST_IDLE_US
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.replay.figures import Pipeline
from leo_runtime.replay.replay import Replay, Span, replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.testing.fakes import FakeBackend

RUN_US = 60_000


class Told:
    """Keeps the entries that a sink is told of, and holds what it is told to its promises."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.settled_us = self.drawn_us = 0
        self.ended: Replay | None = None

    def begin(self, begun: Replay, /) -> None:
        assert begun.summary.frames == 0
        assert begun.total.nj == 0

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        assert self.settled_us <= settled_us
        seen = (*ended.stages, *ended.transfers)
        assert min((one.start_us for one in seen), default=self.settled_us) >= self.settled_us
        assert min((wake.at_us for wake in ended.wakes), default=self.settled_us) >= self.settled_us
        assert min((span.from_us for span in ended.spans or ()), default=self.settled_us) >= self.settled_us
        self.settled_us = settled_us

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        assert entries
        assert min(entry.at_us for entry in entries) >= self.drawn_us
        assert settled_us >= self.drawn_us
        self.drawn_us = settled_us
        self.entries += entries

    def end(self, ended: Replay, /) -> None:
        self.ended = ended


class GoneBackend(FakeBackend):
    """Loses its processor where the other one fails."""

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        kernel = super().load(stage, variant)

        def run(inputs: Sequence[np.ndarray], /) -> np.ndarray:
            if stage.name in self.fails:
                raise DeviceUnavailableError(f"stage `{stage.name}` lost its processor")
            return kernel(inputs)

        return run


def recording(seconds: int = 1) -> Recording:
    """A stream that nobody reads."""
    stream = RecordedStream(name="wrist", kind="motion", file="w.csv", rate_hz=1, channels=1)
    manifest = RecordingManifest(format="leo-recording/1", name="r", streams=(stream,))
    return Recording(manifest, {"wrist": np.zeros((seconds, 1), np.float32)})


def random_replay(seed: int) -> tuple[Replay, tuple[FrameResult, ...], Told]:
    """Any replay: with windows, batches, noise, gates that close, stages that fail, frames that are skipped."""
    rng = Random(seed)
    hardware, workload = random_machine(rng), random_workload(rng)
    powered = tuple(part.model_copy(update={"active_mw": rng.randrange(9)}) for part in hardware.processors)
    hardware = hardware.model_copy(update={"processors": powered})
    names = sorted({stage.name for graph in workload.graphs for stage in graph.stages})
    options: dict[str, Any] = {"compute": False}
    if rng.randrange(2):
        fails = [rng.sample(names, min(len(names), rng.randrange(3))) for _ in PROCESSORS]
        outputs = {name: float(rng.randrange(2)) for name in names}
        kinds = [rng.choice((FakeBackend, FakeBackend, GoneBackend)) for _ in PROCESSORS]
        made = zip(PROCESSORS, kinds, fails, strict=True)
        options = {"backends": {name: kind(outputs=outputs, fails=failing) for name, kind, failing in made}}
    kept, told = KeptFrames(), Told()
    with Runtime.simulated(
        workload,
        hardware,
        random_profile(rng, workload),
        window_stages=rng.choice((0, 1, 6, 14)),
        solver="greedy",
        limit_nodes=50,
        max_in_flight=rng.choice((1, 3, 1_000)),
        noise=rng.choice((None, 100_000)),
        **options,
    ) as runtime:
        replayed = replay(
            runtime,
            recording(),
            Span(0, RUN_US),
            policy="greedy",
            time="virtual",
            solver_on=rng.choice((None, *PROCESSORS)),
            batch=rng.choice((1, 1, 2, 3)),
            sinks=[kept, told],
        )
    return replayed, kept.frames, told


def greatest_first(parts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    sums = {name: sum(causes.values()) for name, causes in parts.items()}
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


@pytest.mark.parametrize("part", range(4))
def test_what_sinks_are_told_sums_to_the_tables_to_the_nanojoule(part: int) -> None:
    happened: Counter[str] = Counter()
    for seed in range(part, 160, 4):
        replayed, frames, told = random_replay(seed)
        summary, energy, ledger = replayed.summary, replayed.summary.energy, Ledger(tuple(told.entries))
        assert told.ended == replayed
        assert ledger.by_cause() == energy.by_cause
        assert ledger.by_resource() == greatest_first(energy.by_resource)
        assert {n: nj for n, nj in ledger.by_graph().items() if nj} == {
            n: nj for n, nj in greatest_first(energy.by_graph).items() if nj
        }
        assert ledger.total_nj == energy.total_nj == replayed.total.nj == sum(u.total_nj for u in summary.processors)
        for use in summary.processors:
            of_it = [entry for entry in told.entries if entry.resource == use.name]
            assert Ledger(tuple(of_it)).by_cause() == dict(sorted(use.nj.items(), key=lambda item: (-item[1], item[0])))
            assert use.wake_ups == sum(wake.resource == use.name for frame in frames for wake in frame.wakes)
        # A log has runs and transfers in its frames, and the other causes as entries.
        seen_nj = sum(seen.nj for frame in frames for seen in (*frame.stages, *frame.transfers))
        others_nj = sum(entry.nj for entry in told.entries if entry.cause not in ("run", "failed run", "transfer"))
        assert seen_nj + others_nj == energy.total_nj
        graphs = {stage.name: stage.graphs for stage in replayed.merged.stages}
        whole = run_ledger(frames, replayed.hardware, graphs, end_us=RUN_US, solver=replayed.solver_on)
        assert (whole.by_cause(), whole.by_resource()) == (ledger.by_cause(), ledger.by_resource())
        assert whole.by_graph() == ledger.by_graph()
        standby = [one.until_us for one in whole.entries if one.cause in ("awake", "asleep", "idle tail", "radio tail")]
        assert summary.end_us == max([RUN_US, *standby])
        assert summary.pipelines == tuple(counted(replayed, frames, line) for line in summary.pipelines)
        assert summary.frames == len(frames)
        happened.update(entry.cause for entry in told.entries)
        happened.update(skipped=sum(frame.skipped for frame in frames), batches=replayed.batch > 1)
        happened.update(failed=replayed.total.failed, late=replayed.total.late)
    # In virtual time a kernel fails at once, so that it costs nothing; machines that load are test_memory_runs'.
    missing = {*get_args(Cause), "skipped", "batches", "failed", "late"} - {name for name, n in happened.items() if n}
    assert missing == {"failed run", "load"}


def counted(replayed: Replay, frames: Sequence[FrameResult], line: Pipeline) -> Pipeline:
    """The same line from all frames at once, as far as it is about answers and times."""
    results = [result for frame in frames for result in frame.graphs if result.graph == line.graph]
    latencies = sorted(result.latency_us for result in results if result.outcome == "done")

    def quantile(percent: int) -> int:
        return latencies[max(0, -(-len(latencies) * percent // 100) - 1)] if latencies else 0

    return replace(
        line,
        frames=len(results),
        answered=len(latencies),
        failed=sum(result.outcome == "failed" for result in results),
        late=sum(result.missed and result.outcome != "failed" for result in results),
        deadline_misses=sum(result.missed for result in results),
        latency_median_us=quantile(50),
        latency_p95_us=quantile(95),
        latency_p99_us=quantile(99),
        latency_within_ppm=0,
    )


def test_the_energy_of_a_replay_is_told_of_before_its_end() -> None:
    """So that a log that is killed has it, and nobody keeps it until then."""

    class Counting(Told):
        held = 0

        def frame(self, ended: FrameResult, settled_us: int, /) -> None:
            super().frame(ended, settled_us)
            self.held = max(self.held, settled_us - self.drawn_us)

    told = Counting()
    simple_replay(100, [told])
    assert told.held <= LONGEST_IDLE_US + 1_000_000


def simple_replay(frames: int, sinks: Sequence[Any]) -> Replay:
    """One frame a second, of three stages."""
    builder = GraphBuilder("g", period_us=1_000_000, deadline_us=500_000)
    builder.stage("a", "cost", output_bytes=8)
    builder.stage("b", "cost", "a", gate=None, output_bytes=8)
    builder.stage("c", "cost", "b", output_bytes=8)
    workload = Workload(format="leo-workload/1", name="w", graphs=(builder.build(),))
    rng = Random(7)
    hardware: Hardware = random_machine(rng)
    with Runtime.simulated(
        workload, hardware, random_profile(rng, workload), compute=False, window_stages=6
    ) as runtime:
        span = Span(0, frames * 1_000_000)
        return replay(runtime, recording(frames), span, policy="exact", time="virtual", sinks=sinks)


@pytest.mark.once
def test_no_frame_is_kept_by_a_replay_and_its_summary_does_not_grow() -> None:
    class Alive(Told):
        """Counts what is there of frames that have ended, every tenth of the run."""

        def __init__(self) -> None:
            super().__init__()
            self.frames = 0
            self.alive: list[int] = []

        def frame(self, ended: FrameResult, settled_us: int, /) -> None:
            super().frame(ended, settled_us)
            self.frames += 1
            if self.frames % 50 == 0:
                self.alive.append(sum(isinstance(one, FrameResult | StageObservation) for one in gc.get_objects()))

        def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
            """Nothing of it is kept here."""

    told = Alive()
    long, short = simple_replay(500, [told]), simple_replay(50, [])
    assert len(told.alive) == 10
    assert max(told.alive[1:]) <= told.alive[1]
    assert len(repr(long.summary)) <= 1.1 * len(repr(short.summary))

"""Sources that are fed: what is due when, through drift, stalls, bursts, losses, and clocks that are set."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_backends import tflite
from leo_runtime import shipped
from leo_runtime.clock import VirtualClock
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.errors import ClosedError, InputError, SolverError
from leo_runtime.frame.records import FrameResult
from leo_runtime.recordings.recording import Recording
from leo_runtime.runtime.feed import FedFrame, Feeder
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.sample_clock import LATE_US
from leo_runtime.solver import solve
from leo_runtime.values import lasting_us, samples_within
from test_runtime import bench, fake_backends, profile

MIC_HZ, WATCH_HZ = 16_000, 10
SECOND_US = 1_000_000
WINDOW = 8_000
"""Half a second of sound."""
CHUNK_US = 20_000
FAULTS = ("silence", "burst", "slow", "told", "too much")


class Hands(VirtualClock):
    """A clock that is moved by hand: who waits for later waits until told to stop, and moves nothing."""

    def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
        if at_us <= self.now_us() or interrupt is None:
            return interrupt is not None and interrupt.is_set()
        return interrupt.wait()

    def set(self, now_us: int) -> None:
        self._now_us = now_us


def graph(name: str, *reads: tuple[str, int], period_us: int = SECOND_US, deadline_us: int = 200_000) -> TaskGraph:
    """A graph that adds up windows, each of a stream and so many samples."""
    made = GraphBuilder(name, period_us=period_us, deadline_us=deadline_us)
    for stream, samples in reads:
        sound = made.stage(f"{name}-{stream}", "test_source", stream=stream, samples=samples)
        made.stage(f"{name}-{stream}-sum", "test_fuse", sound)
    return made.build()


def ears(**changes: Any) -> TaskGraph:
    return graph("ears", ("mic", WINDOW), **changes)


def hands(**changes: Any) -> TaskGraph:
    return graph("hands", ("watch", 20), **changes)


def both() -> TaskGraph:
    return graph("both", ("mic", WINDOW), ("watch", 20))


def workload(*graphs: TaskGraph) -> Workload:
    streams = [
        {"name": "mic", "kind": "audio", "rate_hz": MIC_HZ},
        {"name": "watch", "kind": "motion", "rate_hz": WATCH_HZ, "channels": 3},
        {"name": "pulse", "kind": "events"},
    ]
    return Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "fed",
            "streams": streams,
            "graphs": [one.model_dump(mode="json") for one in graphs],
        }
    )


def simulated(*graphs: TaskGraph, **options: Any) -> Runtime:
    return Runtime.simulated(
        workload(*graphs), bench(), profile(), **{"solver": "cpu-only", "backends": fake_backends(), **options}
    )


def sound(samples: int, first: int = 0) -> np.ndarray:
    """Samples that tell their numbers."""
    return ((np.arange(first, first + samples) % 32_000) + 1).astype(np.int16)


def steps(samples: int) -> np.ndarray:
    return np.ones((samples, 3), np.float32)


class Bench:
    """A feeder on a clock that is moved by hand, or in virtual time, and the frames it made, with when it did."""

    def __init__(self, *graphs: TaskGraph, virtual: bool = False) -> None:
        self.clock = Hands()
        self.frames: list[FedFrame] = []
        self.made_us: list[int] = []
        self.runtime = simulated(*graphs)
        self.feeder = Feeder(
            self.runtime.merged, self.runtime.sources, lambda _at_us: None if virtual else self.clock, self._take
        )

    def _take(self, frame: FedFrame) -> int:
        assert not self.frames or frame.release_us >= self.frames[-1].release_us, "releases never go back"
        self.frames.append(frame)
        self.made_us.append(self.clock.now_us())
        return len(self.frames) - 1

    def late_us(self) -> list[int]:
        """How long after its release each frame was made."""
        return [made_us - frame.release_us for made_us, frame in zip(self.made_us, self.frames, strict=True)]

    def of(self, name: str) -> list[FedFrame]:
        return [frame for frame in self.frames if name in frame.graphs]


class Mic:
    """Feeds a bench with chunks as they are taken by a device of its own rate."""

    def __init__(self, bench: Bench, ppm: float = 0, seed: int | None = None, rate_hz: float = MIC_HZ) -> None:
        self.bench = bench
        self.rate_hz = rate_hz * (1 + ppm / 1e6)
        self.random = None if seed is None else random.Random(seed)
        self.taken = 0
        self.fed = 0
        self.stream = "mic" if rate_hz == MIC_HZ else "watch"

    def run(self, until_us: int, chunk_us: int = CHUNK_US) -> None:
        """Chunks come on time, or up to 15 ms late."""
        for at_us in range(self.bench.clock.now_us() + chunk_us, until_us + 1, chunk_us):
            self.bench.clock.set(at_us if self.random is None else at_us + self.random.randrange(15_000))
            self.hand_over(at_us)

    def hand_over(self, taken_by_us: int) -> None:
        taken = int(taken_by_us * self.rate_hz / 1e6)
        chunk = sound(taken - self.taken, self.fed) if self.stream == "mic" else steps(taken - self.taken)
        self.bench.feeder.feed(self.stream, chunk, None)
        self.fed += taken - self.taken
        self.taken = taken

    def lose(self, until_us: int) -> None:
        """Nothing is recorded until then."""
        self.bench.clock.set(until_us)
        self.taken = int(until_us * self.rate_hz / 1e6)


# The same as a replay.


def chunks_of(recording: Recording, end_us: int, rng: np.random.Generator) -> list[tuple[int, str, np.ndarray]]:
    """A recording in chunks of random sizes up to half a second, each with when it comes, in that order."""
    found = []
    for stream in recording.manifest.streams:
        first, total = 0, samples_within(stream.rate_hz, end_us)
        while first < total:
            last = min(total, first + int(rng.integers(1, max(2, stream.rate_hz // 2))))
            found.append((lasting_us(stream.rate_hz, last), stream.name, recording.samples[stream.name][first:last]))
            first = last
    return sorted(found, key=lambda one: one[:2])


def without_times(results: Sequence[FrameResult]) -> list[Any]:
    """All of the results, but for how long the solver really took and arrays that are not compared by ==."""
    return [
        (
            r.frame, r.release_us, r.stages, r.transfers, r.wakes, r.spans, r.placement.stages, r.skipped,
            [(g, {name: found.tobytes() for name, found in g.outputs.items()}) for g in r.graphs],
        )
        for r in results
    ]  # fmt: skip


@pytest.mark.parametrize(("seed", "told", "computed"), [(1, True, False), (2, False, False), (3, True, True)])
def test_the_demo_fed_in_chunks_of_any_size_is_the_demo_submitted(seed: int, told: bool, computed: bool) -> None:
    if computed:
        pytest.importorskip("pymicro_features", reason="needs the extra `audio`")
        if not tflite.is_available():
            pytest.skip("the extra `tflite` is not installed")
    machine = shipped.workload(), shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    recording, end_us = shipped.recording("demo"), 12 * SECOND_US
    full_us = {graph.name: 4_000_000 if graph.name == "activity" else 2_000_000 for graph in machine[0].graphs}
    with Runtime.simulated(*machine, compute=computed) as runtime:
        for at_us in range(2_000_000, end_us + 1, 500_000):
            names = [name for name in runtime.triggered(at_us) if at_us >= full_us[name]]
            windows = {s.stage: recording.window(s.stream, at_us, s.samples) for s in runtime.sources(names)}
            runtime.submit(at_us, windows, graphs=names)
        submitted, planned = runtime.drain(), runtime.planning
    with Runtime.simulated(*machine, compute=computed) as runtime:
        for at_us, name, chunk in chunks_of(recording, end_us, np.random.default_rng(seed)):
            runtime.feed(name, chunk, at_us=at_us if told else None)
        fed = runtime.drain()
        assert runtime.planning == planned
    assert len(fed) == 21
    assert without_times(fed) == without_times(submitted)
    assert fed[-1].graphs[0].outputs if computed else not fed[-1].graphs[0].outputs


def test_windows_are_those_of_the_recording_to_the_sample() -> None:
    """Of every stream, at every release, computed: what each graph found is the same."""
    graphs = (ears(period_us=250_000), hands(), both())
    rng = np.random.default_rng(5)
    samples = {"mic": sound(10 * MIC_HZ), "watch": rng.random((10 * WATCH_HZ, 3), np.float32)}
    events = [(int(at_us), "pulse", np.array([value])) for at_us, value in [(900_000, 1.0), (2_500_000, 2.0)]]
    chunks = [*events]
    for name, rate_hz in (("mic", MIC_HZ), ("watch", WATCH_HZ)):
        for first in range(0, 10 * rate_hz, rate_hz // 5):
            last = first + rate_hz // 5
            chunks.append((lasting_us(rate_hz, last), name, samples[name][first:last]))
    with simulated(*graphs, graph("pulses", ("pulse", 2)), allow_nonfinite=True) as runtime:
        for at_us, name, chunk in sorted(chunks, key=lambda one: one[:2]):
            runtime.feed(name, chunk, at_us=at_us)
        found = runtime.drain()
    for result in found:
        for one in result.graphs:
            for stage, output in one.outputs.items():
                name = stage.split("-")[1]
                if name == "pulse":
                    ages = [(one.release_us - at_us) / 1e6 for at_us, *_ in events if at_us < one.release_us]
                    assert output[:, 1].tolist() == pytest.approx([-1.0, -1.0, *ages][-2:])
                    continue
                end = samples_within(MIC_HZ if name == "mic" else WATCH_HZ, one.release_us)
                wanted = samples[name][end - len(output) : end].astype(np.float32)
                assert np.array_equal(output, wanted)
    assert [one.graph for result in found for one in result.graphs if result.release_us == 2_000_000] == [
        "ears", "hands", "both", "pulses",
    ]  # fmt: skip


def test_every_graph_starts_when_its_own_windows_are_full() -> None:
    bench = Bench(ears(period_us=100_000), graph("long", ("mic", 2 * WINDOW), period_us=100_000), virtual=True)
    for count in range(20):
        bench.feeder.feed("mic", sound(1_600, count * 1_600), None)
    assert bench.of("ears")[0].release_us == 500_000
    assert bench.of("long")[0].release_us == 1_000_000
    assert len(bench.frames) == 16


# Faults, each with what comes of it (docs/embedding.md).


@pytest.mark.once
@pytest.mark.parametrize("ppm", [-10_000, -50, 50, 10_000])
def test_a_device_at_a_rate_of_its_own_is_followed_for_an_hour(ppm: int) -> None:
    """Windows stay the same number of samples apart, and releases are as new as the samples."""
    bench = Bench(ears())
    Mic(bench, ppm, seed=1).run(3600 * SECOND_US, chunk_us=200_000)
    expected = 3600 * (1 + ppm / 1e6)
    assert len(bench.frames) == pytest.approx(expected, abs=1)
    ends = [int(frame.windows["ears-mic"][-1]) for frame in bench.frames]
    assert {(after - before) % 32_000 for before, after in pairwise(ends)} == {MIC_HZ}
    # At most what a chunk collects, its arrival, and the grid of releases.
    assert min(bench.late_us()) >= 0
    assert max(bench.late_us()) < 200_000 + 15_000 + 6_000
    assert not any(frame.gaps_us["ears"] for frame in bench.frames)
    (mic, *_) = bench.feeder.streams()
    assert mic.drift_ppm == pytest.approx(ppm, abs=5)
    assert mic.rate_hz == pytest.approx(MIC_HZ * (1 + ppm / 1e6), rel=5e-6)
    assert (mic.stalls, mic.gaps, mic.jumps) == (0, 0, 0)


def test_a_second_that_was_never_recorded_is_a_gap_and_nothing_after_it_is_late() -> None:
    bench = Bench(ears(period_us=250_000))
    mic = Mic(bench)
    mic.run(5 * SECOND_US)
    mic.lose(6 * SECOND_US)
    before = len(bench.frames)
    mic.run(10 * SECOND_US)
    assert max(bench.late_us()) <= CHUNK_US + 4_000
    gaps = [(frame.release_us, frame.gaps_us["ears"]) for frame in bench.frames if frame.gaps_us["ears"]]
    # Known a quarter of a second later, and for as long as windows reach back to it.
    assert all(6_250_000 < at_us < 6_520_000 for at_us, _ in gaps)
    assert [frame.release_us for frame in bench.frames[before:]][-14:] == list(range(6_750_000, 10_000_001, 250_000))
    (shown, *_) = bench.feeder.streams()
    assert (shown.stalls, shown.gaps, shown.lost) == (1, 1, MIC_HZ)
    assert len(bench.frames) + bench.feeder.unreleased()["ears"] == 10 * 4 - 1, "none is missing that is not counted"


@pytest.mark.parametrize("gone_us", [200_000, 400_000, 600_000, 60 * SECOND_US, 3600 * SECOND_US])
def test_releases_that_were_none_since_samples_were_lost_are_counted(gone_us: int) -> None:
    bench = Bench(ears(period_us=50_000))
    mic = Mic(bench)
    mic.run(5 * SECOND_US)
    assert bench.feeder.unreleased() == {"ears": 0}, "that the first window was not full is no loss"
    mic.lose(5 * SECOND_US + gone_us)
    mic.run(9 * SECOND_US + gone_us)
    (shown, *_) = bench.feeder.streams()
    assert (shown.gaps, shown.lost) == (1, gone_us * MIC_HZ // SECOND_US)
    ends_us = [frame.release_us for frame in bench.frames]
    assert bench.feeder.unreleased()["ears"] == (ends_us[-1] - ends_us[0]) // 50_000 + 1 - len(ends_us) > 0
    bench.feeder.restart("mic")
    mic.run(12 * SECOND_US + gone_us)
    assert len(bench.frames) > len(ends_us)
    assert bench.feeder.unreleased()["ears"] == (ends_us[-1] - ends_us[0]) // 50_000 + 1 - len(ends_us)


def test_a_burst_after_a_stall_is_taken_whole() -> None:
    bench = Bench(ears(period_us=250_000))
    mic = Mic(bench)
    mic.run(5 * SECOND_US)
    bench.clock.set(6 * SECOND_US)
    for at_us in range(5 * SECOND_US + CHUNK_US, 6 * SECOND_US + 1, CHUNK_US):
        mic.hand_over(at_us)
    mic.run(10 * SECOND_US)
    assert len(bench.frames) == 10 * 4 - 1
    assert not any(frame.gaps_us["ears"] for frame in bench.frames)
    ends = [int(frame.windows["ears-mic"][-1]) for frame in bench.frames]
    assert {(after - before) % 32_000 for before, after in pairwise(ends)} == {MIC_HZ // 4}
    assert max(bench.late_us()) <= CHUNK_US + 4_000, "what was kept is as new as it can be"
    (shown, *_) = bench.feeder.streams()
    assert (shown.stalls, shown.gaps, shown.jumps) == (1, 0, 0)


@pytest.mark.parametrize("by_us", [-3600 * SECOND_US, -SECOND_US, SECOND_US, 3600 * SECOND_US])
def test_a_clock_that_is_set_makes_nothing_late(by_us: int) -> None:
    """Of a device that tells when its samples were taken."""
    bench = Bench(ears(period_us=250_000))
    for count in range(1, 500):
        at_us = 4000 * SECOND_US + count * CHUNK_US
        bench.clock.set(at_us + 1_000)
        told_us = at_us + (by_us if count > 250 else 0)
        bench.feeder.feed("mic", sound(320), told_us)
    assert len(bench.frames) == pytest.approx(499 * CHUNK_US // 250_000, abs=2)
    assert max(bench.late_us()) <= CHUNK_US + 5_000
    (shown, *_) = bench.feeder.streams()
    assert (shown.jumps, shown.gaps) == (1, 0)


def test_the_runs_own_clock_may_leap_ahead_as_well() -> None:
    """As where the machine was suspended: whatever would have been recorded in that hour is lost."""
    bench = Bench(ears(period_us=250_000))
    for count in range(1, 500):
        bench.clock.set(4000 * SECOND_US + count * CHUNK_US + (3600 * SECOND_US if count > 250 else 0))
        bench.feeder.feed("mic", sound(320), None)
    assert max(bench.late_us()) <= CHUNK_US + 4_000
    assert not any(frame.gaps_us["ears"] for frame in bench.frames[-10:])
    (shown, *_) = bench.feeder.streams()
    assert (shown.gaps, shown.lost) == (1, 3600 * MIC_HZ)
    assert len(bench.frames) == pytest.approx(499 * CHUNK_US // 250_000, abs=5)


def test_a_device_with_a_clock_of_its_own_is_on_the_runs() -> None:
    """Its times count from its start, and the run's from another one: they are as good as any."""
    bench = Bench(ears())
    for count in range(1, 200):
        bench.clock.set(4000 * SECOND_US + count * CHUNK_US)
        bench.feeder.feed("mic", sound(320), 77 + count * CHUNK_US)
    assert max(bench.late_us()) <= CHUNK_US + 4_000
    assert len(bench.frames) == 3


def test_a_stream_that_never_comes_stops_only_those_that_read_it() -> None:
    bench = Bench(ears(), hands(), both())
    Mic(bench).run(10 * SECOND_US)
    assert [frame.graphs for frame in bench.frames] == [("ears",)] * 10
    assert max(bench.late_us()) <= CHUNK_US


def test_of_two_streams_one_stops_and_comes_back() -> None:
    bench = Bench(ears(), hands(), both())
    mic, watch = Mic(bench), Mic(bench, rate_hz=WATCH_HZ)

    def run(until_us: int, *devices: Mic) -> None:
        for at_us in range(bench.clock.now_us() + CHUNK_US, until_us + 1, CHUNK_US):
            bench.clock.set(at_us)
            for device in devices:
                device.hand_over(at_us)

    run(5 * SECOND_US, mic, watch)
    before = [frame.graphs for frame in bench.frames]
    assert before == [("ears",), ("ears", "hands", "both"), *[("ears", "hands", "both")] * 3]
    run(10 * SECOND_US, mic)
    alone = bench.frames[5:]
    assert [frame.graphs for frame in alone] == [("ears", "both")] * 5
    assert [frame.gaps_us["both"] for frame in alone] == [1_000_000, *[2_000_000] * 4]
    moved = [next(window for window in frame.windows.values() if window.ndim == 2) for frame in alone]
    assert [bool(window.any()) for window in moved] == [True, *[False] * 4]
    assert not any(frame.gaps_us["ears"] for frame in alone)
    # A tenth of the shortest deadline is waited, and soon nothing.
    assert max(bench.late_us()[5:7]) <= 20_000 + CHUNK_US
    assert max(bench.late_us()[7:]) <= CHUNK_US
    watch.lose(10 * SECOND_US)
    run(20 * SECOND_US, mic, watch)
    assert bench.frames[-1].graphs == ("ears", "hands", "both")
    assert bench.frames[-1].gaps_us == {"ears": 0, "hands": 0, "both": 0}
    assert len(bench.of("ears")) == 20


def test_a_stream_that_lags_has_frames_of_its_own_and_holds_up_nobody_for_long() -> None:
    """The watch collects a second, and tells when its samples were taken."""
    bench = Bench(ears(period_us=250_000), hands())
    mic = Mic(bench)
    for second in range(1, 20):
        mic.run(second * SECOND_US + 700_000)
        bench.feeder.feed("watch", steps(WATCH_HZ), second * SECOND_US)
    ears_late = [late for late, frame in zip(bench.late_us(), bench.frames, strict=True) if "ears" in frame.graphs]
    assert max(ears_late) <= 20_000 + CHUNK_US
    assert len(bench.of("ears")) == 4 * 19 + 1
    assert len(bench.of("hands")) == 18


def test_two_streams_whose_clocks_drift_apart_have_one_order() -> None:
    bench = Bench(ears(), hands())
    mic, watch = Mic(bench, ppm=9_000), Mic(bench, ppm=-9_000, rate_hz=WATCH_HZ)
    for at_us in range(CHUNK_US, 300 * SECOND_US, CHUNK_US):
        bench.clock.set(at_us)
        watch.hand_over(at_us)
        mic.hand_over(at_us)
    assert len(bench.of("ears")) == pytest.approx(300 * 1.009, abs=1)
    assert len(bench.of("hands")) == pytest.approx(300 * 0.991 - 1, abs=1)
    assert max(bench.late_us()) <= 100_000 + 20_000 + CHUNK_US


def test_frames_of_a_stalled_stream_go_on_while_nothing_else_is_fed() -> None:
    """What waits for another stream is released by whatever comes next, also nothing."""
    bench = Bench(ears(), hands())
    bench.feeder.feed("watch", steps(20), None)
    bench.feeder.feed("mic", sound(WINDOW), None)
    bench.clock.set(SECOND_US)
    bench.feeder.feed("mic", sound(MIC_HZ), None)
    assert bench.frames == [] or bench.frames[-1].release_us < SECOND_US
    bench.clock.set(SECOND_US + 20_000)
    bench.feeder.feed("mic", sound(0), None)
    assert bench.frames[-1].release_us == SECOND_US


# Chunks of any size and kind.


def test_chunks_of_one_and_of_none_and_greater_than_the_ring_are_the_same() -> None:
    whole, single = Bench(ears(), virtual=True), Bench(ears(), virtual=True)
    samples = sound(30 * MIC_HZ)
    whole.feeder.feed("mic", samples, None)
    for first in range(0, len(samples), 4_001):
        single.feeder.feed("mic", samples[first : first + 4_001], None)
        single.feeder.feed("mic", samples[:0], None)
    assert [frame.release_us for frame in whole.frames] == [SECOND_US * k for k in range(1, 31)]
    for one, other in zip(whole.frames, single.frames, strict=True):
        assert one.release_us == other.release_us
        assert np.array_equal(one.windows["ears-mic"], other.windows["ears-mic"])
    one_by_one = Bench(ears(period_us=500_000), virtual=True)
    for sample in samples[: MIC_HZ // 2 + 1]:
        one_by_one.feeder.feed("mic", np.array([sample]), None)
    assert np.array_equal(one_by_one.frames[0].windows["ears-mic"], samples[:WINDOW])


@pytest.mark.parametrize(
    ("stream", "chunk", "said", "hint"),
    [
        ("mik", sound(5), "no stream is called `mik`", "mic"),
        ("mic", [1, 2], "takes a chunk of samples as an array, got list", "asarray"),
        ("mic", b"12", "got bytes", "frombuffer"),
        ("mic", np.int16(4), "got int16", "asarray"),
        ("mic", np.array(4, np.int16), r"shape \(samples,\), got \(\)", ""),
        ("mic", np.zeros((5, 2), np.int16), r"shape \(samples,\), got \(5, 2\)", "one channel"),
        ("watch", np.zeros(6, np.float32), r"shape \(samples, 3\), got \(6,\)", "reshape"),
        ("mic", np.zeros(5, np.int32), "takes audio as int16", "16 bits in 32"),
        ("mic", np.full(5, 2.0), "from -1 to 1", "divide"),
        ("mic", np.zeros(5, np.float32), "was fed int16 so far, got float32", "alike"),
        ("watch", np.full((2, 3), np.nan), "is nan", "put a number"),
        ("watch", np.zeros((2, 3), complex), "real numbers", "astype"),
    ],
)
def test_what_cannot_be_fed_is_told_and_nothing_of_it_is_kept(stream: str, chunk: Any, said: str, hint: str) -> None:
    bench = Bench(ears(), hands())
    bench.feeder.feed("mic", sound(320), None)
    before = bench.feeder.streams()
    with pytest.raises(InputError, match=said) as told:
        bench.feeder.feed(stream, chunk, None)
    assert hint in told.value.hint
    assert bench.feeder.streams() == before


@pytest.mark.parametrize("at_us", [1.5, -1, 10**17, True, "now"])
def test_times_are_whole_microseconds(at_us: Any) -> None:
    with pytest.raises(InputError, match="at_us") as told:
        Bench(ears()).feeder.feed("mic", sound(320), at_us)
    assert "round(1e6 * seconds)" in told.value.hint, "an audio library's are seconds"


def test_events_in_virtual_time_say_when_they_were() -> None:
    with simulated(graph("pulses", ("pulse", 2))) as runtime, pytest.raises(InputError, match="virtual") as told:
        runtime.feed("pulse", np.ones(1))
    assert "at_us" in told.value.hint


def test_one_channel_may_be_a_column() -> None:
    bench = Bench(ears(), virtual=True)
    bench.feeder.feed("mic", sound(MIC_HZ)[:, None], None)
    assert np.array_equal(bench.frames[0].windows["ears-mic"], sound(MIC_HZ)[-WINDOW:])


# As a part of a runtime.


def test_a_gap_is_known_to_the_result() -> None:
    with simulated(ears(period_us=500_000)) as runtime:
        runtime.feed("mic", sound(MIC_HZ), at_us=SECOND_US)
        runtime.feed("mic", sound(MIC_HZ), at_us=2_250_000)  # A quarter of a second is missing.
        found = runtime.drain()
        assert [stream.lost for stream in runtime.streams()] == [4_000, 0, 0]
    assert [(result.release_us, result.graphs[0].gap_us) for result in found] == [
        (500_000, 0), (1_000_000, 0), (1_500_000, 250_000), (2_000_000, 0),
    ]  # fmt: skip
    (late,) = found[2].graphs[0].outputs.values()
    assert not late[:4_000].any() and late[4_000:].all()


def live(*graphs: TaskGraph, clock: Hands) -> Runtime:
    return Runtime.live(workload(*graphs), bench(), profile(), solver="cpu-only", backends=fake_backends(), clock=clock)


@pytest.mark.parametrize("told", ["", "by the run's clock", "by its own", "in samples"])
@pytest.mark.parametrize("rate", [1.0, 0.99, 1.01])
@pytest.mark.parametrize("fault", ["", "stall", "burst"])
def test_after_a_fault_nothing_is_skipped_and_all_is_in_time(fault: str, rate: float, told: str) -> None:
    """A second that was not recorded, or one that was kept and comes at once, of a device that is 1 % off or is not."""
    clock, found = Hands(), []
    taken = fed = 0
    with live(ears(period_us=250_000), clock=clock) as runtime:
        for at_us in range(CHUNK_US, 20 * SECOND_US, CHUNK_US):
            now = int(at_us * MIC_HZ * rate / 1e6)
            if 5 * SECOND_US < at_us <= 6 * SECOND_US and fault:
                taken = now if fault == "stall" else taken
                continue
            clock.set(at_us)
            fed += now - taken
            counted_us = lasting_us(MIC_HZ, fed)
            times = {"by the run's clock": at_us, "by its own": at_us + 10**15, "in samples": counted_us}
            runtime.feed("mic", sound(now - taken), at_us=times.get(told))
            taken = now
            found += runtime.drain(timeout_s=60)
    assert len(found) == pytest.approx((73 if fault == "stall" else 78) * rate, abs=2)
    assert [result.frame for result in found] == list(range(len(found)))
    late = [result.release_us for result in found if result.skipped or result.graphs[0].missed]
    if fault == "burst":
        # What is older than its deadline when it comes, as one chunk, is skipped as any late frame is.
        assert len(late) == pytest.approx(3, abs=1)
        assert late == [at_us for at_us in late if 5 * SECOND_US <= at_us < 6 * SECOND_US]
    elif fault == "stall" and told == "in samples":
        # By its samples nothing is lost and all is told late, until for a second nothing else has come.
        assert len(late) <= 5
        assert all(5 * SECOND_US <= at_us <= 6_250_000 for at_us in late)
    else:
        assert late == []


def test_two_threads_that_feed_make_every_frame_once_and_in_order() -> None:
    with Runtime.live(
        workload(ears(period_us=100_000), hands()), bench(), profile(), solver="cpu-only", backends=fake_backends()
    ) as runtime:
        numbers: list[int] = []

        def mic() -> None:
            for count in range(1, 200):
                numbers.extend(runtime.feed("mic", sound(160), at_us=count * 10_000))

        def watch() -> None:
            for count in range(1, 20):
                numbers.extend(runtime.feed("watch", steps(1), at_us=count * 100_000))

        at_once(mic, watch)
        found = runtime.drain(timeout_s=60)
    assert sorted(numbers) == list(range(len(numbers)))
    assert set(numbers) <= {result.frame for result in found}


def at_once(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_feeding_from_within_what_feeding_calls_is_told() -> None:
    said: list[str] = []

    def solver(problem: Any) -> Any:
        try:
            runtime.feed("mic", sound(320))
        except InputError as error:
            said.append(str(error))
        return solve(problem, "cpu-only")

    with simulated(ears(), solver=solver) as runtime:
        runtime.feed("mic", sound(MIC_HZ))
        (result,) = runtime.drain()
    assert result.graphs[0].outcome == "done"
    assert said == ["stream `mic` is fed by what its own feeding calls (a solver, kernel or noise)"]


def test_a_frame_that_cannot_be_placed_loses_no_samples() -> None:
    broken = [True]

    def solver(problem: Any) -> Any:
        if broken.pop():
            raise ValueError("it is broken")
        broken.append(False)
        return solve(problem, "cpu-only")

    with simulated(ears(), solver=solver) as runtime:
        with pytest.raises(SolverError):
            runtime.feed("mic", sound(MIC_HZ))
        broken.append(False)
        assert runtime.streams()[0].fed == MIC_HZ
        assert runtime.feed("mic", sound(MIC_HZ)) == (0,)


def test_a_closed_runtime_is_fed_no_more() -> None:
    runtime = simulated(ears())
    runtime.feed("mic", sound(MIC_HZ))
    runtime.close()
    with pytest.raises(ClosedError):
        runtime.feed("mic", sound(320))
    assert len(runtime.drain()) == 1


def test_what_waits_when_samples_are_lost_is_due_all_the_same() -> None:
    bench = Bench(ears(period_us=250_000), both(), virtual=True)
    bench.feeder.feed("mic", sound(MIC_HZ), SECOND_US)
    bench.feeder.feed("watch", steps(20), 2 * SECOND_US)
    bench.feeder.feed("mic", sound(5 * MIC_HZ // 2), 3_500_000)
    # Frames from 3 s on wait for the watch, as a tenth of a second is lost, and another, with all of 4 s.
    bench.feeder.feed("mic", sound(8_000 - 1_600), 4 * SECOND_US)
    bench.feeder.feed("mic", sound(8_000 - 3_200), 4_500_000)
    bench.feeder.feed("watch", steps(20), 4 * SECOND_US)
    bench.feeder.flush()
    assert [frame.release_us for frame in bench.frames] == [*range(500_000, 4_500_001, 250_000)]
    assert [frame.release_us for frame in bench.of("both")] == [2 * SECOND_US, 3 * SECOND_US, 4 * SECOND_US]


def test_what_waits_is_released_before_more_is_lost_than_is_held() -> None:
    bench = Bench(ears(period_us=250_000), both(), virtual=True)
    bench.feeder.feed("mic", sound(MIC_HZ), SECOND_US)
    bench.feeder.feed("watch", steps(20), 2 * SECOND_US)
    bench.feeder.feed("mic", sound(5 * MIC_HZ // 2, MIC_HZ), 3_500_000)
    assert bench.frames[-1].release_us < 3 * SECOND_US, "from there on they wait"
    bench.feeder.feed("mic", sound(MIC_HZ), 60 * SECOND_US)
    waited = [frame for frame in bench.of("ears") if 3 * SECOND_US <= frame.release_us <= 3_500_000]
    assert [frame.release_us for frame in waited] == [3 * SECOND_US, 3_250_000, 3_500_000]
    assert all(frame.windows["ears-mic"].all() for frame in waited)
    assert all(frame.gaps_us["ears"] == 0 for frame in waited)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("stalls", ["mic", "watch"])
def test_frames_gather_at_no_release_where_one_stream_is_ahead_and_one_stalls(every: int, stalls: str) -> None:
    """In virtual time, where a source that gives more than its rate allows is ahead of others: by 3 or 1.5 s here."""
    bench = Bench(ears(period_us=50_000), hands(period_us=250_000), virtual=True)
    kept = {"mic": 2 * MIC_HZ, "watch": 2 * WATCH_HZ}
    for step in range(100):
        kept["mic"] += MIC_HZ // 10
        kept["watch"] += 2 if step < 30 and step % every == 0 else 1
        for stream, samples in kept.items():
            if stream != stalls or not 40 <= step < 49:
                bench.feeder.feed(stream, sound(samples) if stream == "mic" else steps(samples), None)
                kept[stream] = 0
    together = Counter(frame.release_us for frame in bench.of("ears"))
    # Of the 0.9 s: what the one has kept comes at once, and without the other, which is ahead, time stands still.
    assert sum(count - 2 for count in together.values() if count > 2) <= 18


@pytest.mark.parametrize("lies", ["mic", "watch"])
@pytest.mark.parametrize("loses", ["mic", "watch"])
def test_in_virtual_time_a_stream_that_gave_too_much_is_not_ahead_of_others_ever_after(lies: str, loses: str) -> None:
    """Which tells its times: all of it that is due goes on at once after another, or itself, has lost samples."""
    bench = Bench(ears(period_us=50_000), hands(period_us=250_000), virtual=True)
    for step in range(1, 200):
        for stream, samples in (("mic", MIC_HZ // 10), ("watch", 1)):
            many = samples * (2 if stream == lies and 20 < step <= 60 else 1)
            if stream != loses or not 120 <= step < 129:
                chunk = sound(many) if stream == "mic" else steps(many)
                bench.feeder.feed(stream, chunk, step * SECOND_US // 10)
        newest_us = [stream.newest_us for stream in bench.feeder.streams()[:2]]
        assert all(at_us is not None and at_us <= step * SECOND_US // 10 + 50_000 for at_us in newest_us)
    together = Counter(frame.release_us for frame in bench.of("ears") if frame.release_us > 10 * SECOND_US)
    assert max(together.values()) <= 2
    assert bench.frames[-1].release_us > 19 * SECOND_US


def door(**changes: Any) -> TaskGraph:
    return graph("door", ("pulse", 3), **changes)


def test_events_of_another_clock_are_on_the_runs() -> None:
    """Also where that is set, and slow: a door whose clock was once wrong would be shut for ever."""
    bench = Bench(door(period_us=100_000))
    moment = np.ones((1, 1), np.float32)
    since_us = {2: 1_764_374_400_000_000, 8: 0, 20: 50 * SECOND_US, 30: -20 * SECOND_US}
    told_us = 0
    for second in range(2, 60):
        told_us = since_us.get(second, told_us)
        bench.clock.set(second * SECOND_US)
        bench.feeder.feed("pulse", moment, second * SECOND_US + told_us - 300 * (second - 2))
        newest_us = bench.feeder.streams()[2].newest_us
        assert newest_us is not None
        assert second * SECOND_US - 50_000 <= newest_us <= second * SECOND_US or second in (30,)
    assert bench.feeder.streams()[2].jumps == 3


def test_what_nobody_fed_for_an_hour_is_not_made_an_hour_later() -> None:
    """Of graphs of events, which the run's clock releases: 36,000 frames, all of them late."""
    bench = Bench(door(period_us=100_000))
    moment = np.ones((1, 1), np.float32)
    for now_us in (SECOND_US, 3_601 * SECOND_US):
        bench.clock.set(now_us)
        bench.feeder.feed("pulse", moment, None)
    assert [frame.release_us for frame in bench.frames] == [3_600_800_000, 3_600_900_000, 3_601_000_000]
    assert bench.feeder.unreleased() == {"door": 35_997}


def test_events_of_another_century_do_not_stop_a_run_in_virtual_time() -> None:
    bench = Bench(door(period_us=3600 * SECOND_US), virtual=True)
    moment = np.ones((1, 1), np.float32)
    for at_us in (SECOND_US, 10**16):
        bench.feeder.feed("pulse", moment, at_us)
    assert 24 <= len(bench.frames) <= 25  # Of a day.


def test_no_events_are_no_event() -> None:
    bench = Bench(door(period_us=100_000))
    bench.feeder.feed("pulse", np.ones((0, 1), np.float32), 10**15)
    bench.clock.set(SECOND_US)
    bench.feeder.feed("pulse", np.ones((1, 1), np.float32), SECOND_US)
    assert (bench.feeder.streams()[2].jumps, bench.feeder.streams()[2].newest_us) == (0, SECOND_US)


def test_draining_goes_on_with_what_waits_for_another_stream() -> None:
    with simulated(ears(), hands()) as runtime:
        runtime.feed("watch", steps(19))
        assert runtime.feed("mic", sound(2 * MIC_HZ)) == (0,)
        assert [result.release_us for result in runtime.drain()] == [SECOND_US, 2 * SECOND_US]


def test_frames_of_a_camera_are_fed_as_they_come() -> None:
    seen = graph("seen", ("eye", 3), period_us=100_000)
    streams = [{"name": "eye", "kind": "camera", "rate_hz": 30, "height_px": 480, "width_px": 640, "channels": 3}]
    eyes = Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "eyes",
            "streams": streams,
            "graphs": [seen.model_dump(mode="json")],
        }
    )
    with Runtime.simulated(eyes, bench(), profile(), solver="cpu-only", backends=fake_backends()) as runtime:
        for count in range(1, 13):
            runtime.feed("eye", np.full((1, 480, 640, 3), count, np.uint8))
        found = runtime.drain()
    assert [next(iter(one.graphs[0].outputs.values()))[:, 0, 0, 0].tolist() for one in found] == [
        [1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12],
    ]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 5_000_000)), max_size=6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_to_a_device_it_is_heard_again(faults: list[tuple[str, int]], seed: int) -> None:
    """Two seconds after the last fault every release comes, as new as its samples and without a gap.

    By less than `LATE_US` it may be off, which is not told from jitter; after more samples than there can be, and times
    that are no times, also its gaps.
    """
    bench = Bench(ears(period_us=250_000))
    mic = Mic(bench, seed=seed)
    mic.run(SECOND_US)
    for fault, us in faults:
        now_us = bench.clock.now_us()
        if fault == "silence":
            mic.lose(now_us + us)
        elif fault == "burst":
            bench.clock.set(now_us + us)
            mic.hand_over(now_us + us // 2)
            mic.hand_over(now_us + us)
        elif fault == "slow":
            mic.rate_hz = MIC_HZ * (1 - us / 5e8)
            mic.taken = int(now_us * mic.rate_hz / 1e6)
        elif fault == "told":
            bench.feeder.feed("mic", sound(320), us * 1000)
        else:
            bench.feeder.feed("mic", sound(us // 100), None)
        mic.run(bench.clock.now_us() + us // 2)
    # What came that nobody can have recorded is as if the clock was set; then it settles.
    mic.run(bench.clock.now_us() + 2 * SECOND_US)
    before = len(bench.frames)
    mic.run(bench.clock.now_us() + 4 * SECOND_US)
    assert len(bench.frames) - before == pytest.approx(16, abs=2)
    assert max(bench.late_us()[before:]) <= CHUNK_US + 15_000 + LATE_US + 4_000
    lied = any(fault in ("told", "too much") for fault, _ in faults)
    assert max(frame.gaps_us["ears"] for frame in bench.frames[before:]) <= (2 * LATE_US if lied else 0)


def test_drift_leaves_questions_as_they_are() -> None:
    """Of one device that is 50 ppm off: nothing is asked anew when its releases leave the grid of their periods."""
    machine = shipped.workload(), shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    heard = machine[0].model_copy(update={"graphs": machine[0].graphs[:4]})
    silence = np.zeros(8_000, np.int16)
    with Runtime.simulated(heard, *machine[1:], compute=False) as runtime:
        asked = []
        for count in range(1, 2 * 300):
            runtime.feed("mic", silence, at_us=round(count * 500_000 * 1.00005))
            runtime.results()
            asked.append(runtime.planning.asked)
        off_us = runtime.drain()[-1].release_us % 500_000
    assert 0 < off_us < 20_000, "the releases have left the grid"
    assert asked[-1] == asked[60]

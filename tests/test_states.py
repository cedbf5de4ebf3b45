"""Stages that keep state: every sample is met once, whatever is skipped, tried again, batched or in flight at once.

`total` adds up all it meets, and counts it: that it is right says its own output, whose sum is that of the last so many
samples of the stream.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Literal

import numpy as np
import pytest

from leo_runtime.backend import News, State, Stepped
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import KernelError
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators import Keeping, Operator, Shape, Work, define
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.states import StateNow
from leo_runtime.schema import Value
from told_clock import ToldClock

RATE_HZ = 1_000
SAMPLES = np.random.default_rng(19).integers(0, 9, 100_000).astype(np.float32)


class TotalParameters(Value):
    on_gap: Literal["reset", "tell"] = "reset"


class SumsParameters(Value):
    hop: int


def _work(_params: Any, shapes: Sequence[Shape]) -> Work:
    return Work(shapes[0][0], 4 * shapes[0][0])


def _fresh_work(_params: Any, _shapes: Sequence[Shape], fresh: int) -> Work:
    return Work(fresh, 4 * fresh)


define(
    Operator(
        name="states:total",
        summary="The sum of all entries so far, and how many they are.",
        parameters=TotalParameters,
        output_shape=lambda _params, _shapes: (2,),
        work=_work,
        keeps=lambda params: Keeping(lambda _params, _shapes: 16, _fresh_work, on_gap=params.on_gap),
    )
)
define(
    Operator(
        name="states:sums",
        summary="The sums of each `hop` samples, as rows.",
        parameters=SumsParameters,
        output_shape=lambda params, shapes: (shapes[0][0] // params.hop, 1),
        work=_work,
        keeps=lambda _params: Keeping(
            lambda params, shapes: 8 * (shapes[0][0] // params.hop),
            _fresh_work,
            entries=lambda params, entries: entries // params.hop,
        ),
    )
)


class Total:
    def __init__(self, backend: Stepping, stage: BoundStage, processor: str) -> None:
        self._backend = backend
        self._stage = stage
        self._processor = processor

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        return self.step(inputs, self.start(), News(None, 0)).output

    def start(self) -> State:
        return (np.zeros(2),)

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        assert isinstance(state, tuple)
        (kept,) = state
        assert news.fresh is None or self._backend.spends or not kept.flags.writeable
        array = inputs[0].reshape(len(inputs[0]), -1)
        fresh = len(array) if news.fresh is None else news.fresh
        new = array[len(array) - fresh :]
        after = kept if self._backend.spends else kept.copy()
        if self._backend.spends:
            after.flags.writeable = True
        after += [new.sum(), fresh]
        self._backend.met(self._stage.name, news)
        return Stepped(after.astype(np.float32), (after,), spent=self._backend.spends)


class Sums(Total):
    def start(self) -> State:
        return (np.zeros(self._stage.output_shape),)

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        assert isinstance(state, tuple)
        (kept,) = state
        hop = self._stage.params["default"].hop
        whole = inputs[0].reshape(-1, hop).sum(axis=1, keepdims=True)
        fresh = len(whole) if news.fresh is None or news.fresh % hop else news.fresh // hop
        after = np.concatenate([kept[fresh:], whole[len(whole) - fresh :]])
        assert np.array_equal(after, whole)
        self._backend.met(self._stage.name, news)
        return Stepped(after.astype(np.float32), (after,))


class Stepping:
    """A backend of these operators, which fails where it is told to, and remembers what its runs were told."""

    name = "stepping"

    def __init__(self, fails: Random | None = None, *, spends: bool = False) -> None:
        self.spends = spends
        self.told: list[tuple[str, News]] = []
        self.fails = fails
        self._lock = threading.Lock()

    def supports(self, _stage: BoundStage, _variant: str, /) -> bool:
        return True

    def load(self, stage: BoundStage, _variant: str, /) -> Any:
        if stage.operator.name == "window":
            return lambda inputs: inputs[0]
        return (Sums if stage.operator.name == "states:sums" else Total)(self, stage, self.name)

    def met(self, stage: str, news: News) -> None:
        """A run, which may have been all but at its end."""
        with self._lock:
            self.told.append((stage, news))
            if self.fails is not None and self.fails.randrange(4) == 0:
                raise KernelError("it was told to fail")

    def close(self) -> None:
        pass


def machine(*, lanes: int = 1) -> Hardware:
    processors = [{"name": name, "backend": "cpu", "active_mw": 100, "lanes": lanes} for name in ("first", "second")]
    links = [
        {"source": source, "target": target, "latency_us": 100, "bytes_per_s": 10_000_000}
        for source, target in (("first", "second"), ("second", "first"))
    ]
    return Hardware.from_dict({"format": "leo-hardware/1", "name": "bench", "processors": processors, "links": links})


def costs(fixed_us: int = 10, *, second_us: int | None = None) -> Profile:
    fixed = {"first": fixed_us, "second": 2 * fixed_us if second_us is None else second_us}
    return Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": "costs",
            "hardware": "bench",
            "costs": [
                {"operator": "*", "processor": name, "fixed_us": us, "source": "made up"} for name, us in fixed.items()
            ],
        }
    )


def listening(
    *, window: int = 100, period_us: int = 50_000, hop: int = 10, deadline_us: int = 1_000_000, **params: Any
) -> Workload:
    graph = GraphBuilder("g", period_us=period_us, deadline_us=deadline_us)
    sound = graph.stage("sound", "window", stream="wrist", samples=window)
    graph.stage("total", "states:total", sound, **params)
    sums = graph.stage("sums", "states:sums", sound, hop=hop)
    graph.stage("rows", "states:total", sums, **params)
    stream = Stream(name="wrist", kind="motion", rate_hz=RATE_HZ)
    return Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))


def window_at(release_us: int, window: int = 100) -> np.ndarray:
    end = release_us * RATE_HZ // 1_000_000
    return SAMPLES[end - window : end]


def require_exact(results: Sequence[FrameResult], hop: int = 10) -> dict[int, dict[str, int]]:
    """Every sum is that of the last so many samples; how many, by release and stage."""
    counts: dict[int, dict[str, int]] = {}
    for result in results:
        for graph in result.graphs:
            if graph.outcome != "done":
                continue
            end = graph.release_us * RATE_HZ // 1_000_000
            total, count = graph.outputs["total"]
            assert total == SAMPLES[end - int(count) : end].sum()
            of_rows, rows = graph.outputs["rows"]
            assert of_rows == SAMPLES[end - hop * int(rows) : end].sum()
            counts[graph.release_us] = {"total": int(count), "rows": int(rows)}
    return counts


def states_of(runtime: Runtime) -> Mapping[str, StateNow]:
    return {state.stage: state for state in runtime.states()}


def simulated(workload: Workload, backend: Stepping, profile: Profile | None = None, **options: Any) -> Runtime:
    hardware = machine(lanes=options.pop("lanes", 1))
    backends = {"first": backend, "second": backend}
    return Runtime.simulated(workload, hardware, profile or costs(), backends=backends, **options)


def test_frames_in_their_order_meet_every_sample_once() -> None:
    backend = Stepping()
    with simulated(listening(), backend) as runtime:
        for number in range(2, 40):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        counts = require_exact(runtime.drain())
        states = states_of(runtime)
    assert [count["total"] for count in counts.values()] == [50 * number for number in range(2, 40)]
    assert [count["rows"] for count in counts.values()] == [5 * number for number in range(2, 40)]
    assert states["total"] == StateNow("total", "first", 16, 38, {"first": 1})
    assert states["sums"] == StateNow("sums", "first", 80, 38, {"first": 1})
    assert {news.fresh for stage, news in backend.told if stage == "rows"} == {None, 5}


def test_a_skipped_frame_leaves_more_to_do_and_too_many_begin_anew() -> None:
    releases = [50_000 * number for number in (2, 4, 5, 8, 9, 12, 14)]
    with simulated(listening(), Stepping()) as runtime:
        for release_us in releases:
            runtime.submit(release_us, {"sound": window_at(release_us)})
        counts = require_exact(runtime.drain())
        assert [counts[release_us]["total"] for release_us in releases] == [100, 200, 250, 100, 150, 100, 200]
        assert states_of(runtime)["total"].anew == {"first": 1, "gap": 2}
        assert states_of(runtime)["rows"].anew == {"first": 1, "gap": 2}


def test_an_operator_may_go_on_and_be_told() -> None:
    backend = Stepping()
    with simulated(listening(on_gap="tell"), backend) as runtime:
        for number in (2, 4, 8):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        runtime.drain()
        assert states_of(runtime)["total"].anew == {"first": 1}
    assert [(news.fresh, news.missed) for stage, news in backend.told if stage == "total"] == [
        (None, 0),
        (100, 0),
        (100, 100),
    ]


@pytest.mark.parametrize("seed", range(30))
def test_every_sample_is_met_once_whatever_happens(seed: int) -> None:
    """Frames are skipped, in flight at once, tried again, batched and late; processors are lost and found."""
    random = Random(seed)
    backend = Stepping(random if seed % 3 else None, spends=seed % 5 == 4)
    window, hop = random.choice([(100, 10), (200, 20), (60, 20), (100, 50)])
    workload = listening(window=window, hop=hop, period_us=20_000, deadline_us=random.choice([30_000, 200_000]))
    profile = costs(random.choice([10, 15_000, 40_000]))
    lanes = random.choice([1, 2, 3])
    options = {"noise": 300_000, "seed": seed, "max_in_flight": random.choice([1, 4, 8]), "lanes": lanes}
    results: list[FrameResult] = []
    with simulated(workload, backend, profile, solver="greedy", **options) as runtime:
        at_us = 400_000
        for _ in range(60):
            at_us += 20_000 * random.choice([1, 1, 1, 1, 2, 3, 9])
            if random.randrange(6) == 0:
                batch = [at_us, at_us + 20_000, at_us + 40_000]
                at_us = batch[-1]
                runtime.submit_batch([(one, {"sound": window_at(one, window)}) for one in batch])
            else:
                runtime.submit(at_us, {"sound": window_at(at_us, window)})
            if random.randrange(15) == 0:
                runtime.lose("second")
            elif random.randrange(5) == 0:
                runtime.restore("second")
            results += runtime.results()
        results += runtime.drain()
        states = states_of(runtime)
    counts = require_exact(results, hop)
    assert counts
    for state in states.values():
        assert state.runs >= sum(state.anew.values())
        assert state.bytes <= 9 * 8 * window
    if seed % 3 == 0:
        assert max(count["total"] for count in counts.values()) > window


def test_frames_in_flight_at_once_each_do_all_that_is_new() -> None:
    """A frame that ends after a later one leaves nothing, and older states are held for as long as they are needed."""
    workload = listening(deadline_us=10_000_000)
    slow = {"lanes": 3, "noise": lambda frame, *_: 60_000 if frame == 3 else 10}
    with simulated(workload, Stepping(), costs(10), **slow) as runtime:
        for number in range(2, 30):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
            assert states_of(runtime)["total"].bytes <= 5 * 16
        counts = require_exact(runtime.drain())
        states = states_of(runtime)
    assert states["total"].bytes == 16
    assert states["total"].anew == {"first": 1}
    assert [count["total"] for count in counts.values()] == [50 * number for number in range(2, 30)]


def test_a_run_that_fails_feeds_nothing_twice() -> None:
    class FailsOnce(Random):
        runs = 0

        def randrange(self, *_: Any) -> int:
            self.runs += 1
            return 0 if self.runs in (9, 14) else 1

    with simulated(listening(), Stepping(FailsOnce())) as runtime:
        for number in range(2, 10):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        results = runtime.drain()
        states = states_of(runtime)
    assert sum(run.outcome == "failed" for result in results for run in result.stages) == 2
    counts = require_exact(results)
    assert [count["total"] for count in counts.values()] == [50 * number for number in range(2, 10)]
    assert sum(state.moves for state in states.values()) >= 2
    assert {reason for state in states.values() for reason in state.anew} == {"first"}


def test_a_frame_of_the_same_release_meets_nothing_again() -> None:
    with simulated(listening(), Stepping()) as runtime:
        for release_us in (100_000, 100_000, 150_000, 150_000):
            runtime.submit(release_us, {"sound": window_at(release_us)})
        results = runtime.drain()
        require_exact(results)
    assert [result.graphs[0].outputs["total"][1] for result in results] == [100, 100, 150, 150]


def test_what_reads_a_stage_that_began_anew_begins_anew() -> None:
    """Its input may be of another beginning, although no entry is missing."""

    runs = iter(range(100))

    class Loses(Stepping):
        def load(self, stage: BoundStage, variant: str, /) -> Any:
            kernel = super().load(stage, variant)
            if stage.name == "sums":
                kernel.step = _spending(kernel.step)
            return kernel

    def _spending(step: Any) -> Any:
        def spend(inputs: Sequence[np.ndarray], state: State, news: News) -> Stepped:
            stepped = step(inputs, state, news)
            if next(runs) == 3:
                raise KernelError("it broke, and its state with it")
            return Stepped(stepped.output, stepped.state, spent=True)

        return spend

    with simulated(listening(), Loses()) as runtime:
        for number in range(2, 10):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        require_exact(runtime.drain())
        states = states_of(runtime)
    assert states["sums"].anew == {"first": 2}
    assert states["rows"].anew == {"first": 1, "upstream": 1}
    assert states["total"].anew == {"first": 1}


def test_where_nothing_is_computed_positions_and_homes_are_the_same() -> None:
    found = []
    for compute in (True, False):
        backends = {"first": Stepping(), "second": Stepping()}
        with Runtime.simulated(
            listening(), machine(), costs(30_000), compute=compute, backends=backends, noise=500_000
        ) as runtime:
            for number in (2, 3, 4, 7, 8, 20, 21, 22):
                runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)} if compute else {})
            runtime.drain()
            found.append([(one.stage, one.home, one.runs, one.anew, one.moves) for one in runtime.states()])
    assert found[0] == found[1]


@pytest.mark.parametrize("fails", [False, True])
def test_in_real_time_every_sample_is_met_once(fails: bool) -> None:
    """Frames of the past, all at once on four lanes of two processors, of which some runs fail; nobody waits."""
    backend = Stepping()
    backends = {"first": backend, "second": backend}
    options: dict[str, Any] = {"clock": ToldClock(20_000_000), "max_in_flight": 64, "solver": "greedy"}
    with Runtime.live(
        listening(deadline_us=60_000_000), machine(lanes=4), costs(), backends=backends, **options
    ) as runtime:
        assert all(state.runs == 0 and state.home is None for state in runtime.states())
        backend.fails = Random(7) if fails else None
        for number in range(2, 200):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        results = runtime.drain()
        states = states_of(runtime)
    counts = require_exact(results)
    assert counts
    assert states["total"].bytes <= 16 * 64
    if not fails:
        assert len(counts) >= 64


def test_lost_samples_are_no_part_of_what_goes_on() -> None:
    """A stream that is fed loses some: the next windows hold zeros there, and what keeps state begins anew."""
    stream = SAMPLES.copy()
    with simulated(listening(window=2_000, period_us=500_000), Stepping()) as runtime:
        end = 0
        for number in range(1, 200):
            if number == 100:
                stream[end : end + 1_000] = 0
                end += 1_000
            runtime.feed("wrist", SAMPLES[end : end + 50], at_us=1_000 * (end + 50))
            end += 50
        results = runtime.drain()
        states = states_of(runtime)
    assert runtime.streams()[0].lost == 1_000
    for result in results:
        (graph,) = result.graphs
        total, count = graph.outputs["total"]
        at = graph.release_us // 1_000
        assert total == stream[at - int(count) : at].sum()
    assert states["total"].anew == {"first": 1, "gap": 1}
    assert states["rows"].anew == {"first": 1, "gap": 1}


def test_windows_that_do_not_begin_whole_entries_apart_are_met_anew() -> None:
    """Rows of 10 samples each 25 samples: those of the next window are others, and none of them was met."""
    with simulated(listening(period_us=25_000), Stepping()) as runtime:
        for number in range(4, 12):
            runtime.submit(25_000 * number, {"sound": window_at(25_000 * number)}, graphs=("g",))
        counts = require_exact(runtime.drain())
        states = states_of(runtime)
    assert states["rows"].anew == {"first": 1, "grid": 7}
    assert states["total"].anew == states["sums"].anew == {"first": 1}
    assert [count["rows"] for count in counts.values()] == [10] * 8


def test_features_with_state_are_those_without_whatever_is_skipped() -> None:
    """`log_mel` as it ships, in one frame beside the same without state: equal to the bit."""
    random = Random(3)
    graph = GraphBuilder("ears", period_us=100_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="mic", samples=8_000)
    graph.stage("kept", "log_mel", sound, streaming=True)
    graph.stage("anew", "log_mel", sound)
    stream = Stream(name="mic", kind="audio", rate_hz=16_000)
    workload = Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))
    samples = np.random.default_rng(4).integers(-9_000, 9_000, 400_000).astype(np.int16)
    with Runtime.simulated(workload, machine(lanes=2), costs(70_000), noise=400_000, max_in_flight=8) as runtime:
        number = 5
        while number < 150:
            number += random.choice([1, 1, 1, 2, 3, 7])
            batch = [number, number + 1] if random.randrange(5) == 0 else [number]
            number = batch[-1]
            ended = [(100_000 * n, {"sound": samples[1_600 * n - 8_000 : 1_600 * n]}) for n in batch]
            if len(batch) > 1:
                runtime.submit_batch(ended)
            else:
                runtime.submit(*ended[0])
        answers = [graph for result in runtime.drain() for graph in result.graphs]
        (state,) = runtime.states()
    assert len(answers) > 50
    for answer in answers:
        if answer.outcome == "done":
            assert np.array_equal(answer.outputs["kept"], answer.outputs["anew"])
    assert state.runs > state.anew["gap"] + state.anew["first"] > 1

"""What stages that keep state are told of samples that were lost, and meet of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend import News
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.positions import NO_CORRECTIONS, Corrections, Point
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators import Operator, operator
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import Gap, RecordedStream
from leo_runtime.replay.replay import Span, replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime.rings import SampleRing
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.states import StateNow
from test_feed import Hands
from test_own_states import COSTS, HARDWARE

HZ, WINDOW, CHUNK = 50, 100, 5
NUMBERS = np.arange(1, 4001, dtype=np.float32)
"""Samples that say which they are."""


def told(signal: np.ndarray, news: News) -> np.ndarray:
    """What a run was told, and what it is to meet."""
    new = news.new(signal)
    out = np.zeros(3 + WINDOW)
    out[:3] = -1 if news.fresh is None else news.fresh, news.missed, len(new)
    out[3 : 3 + len(new)] = new
    return out


@operator(output_shape=lambda signal: (3 + WINDOW,), on_gap="tell")
class Told:
    def step(self, signal: np.ndarray, *, news: News) -> np.ndarray:
        return told(signal, news)


@operator(output_shape=lambda signal: (3 + WINDOW,))
class Anew:
    def step(self, signal: np.ndarray, *, news: News) -> np.ndarray:
        return told(signal, news)


@operator(output_shape=lambda signal: (3 + WINDOW,))
class Resets:
    reset_with = -1

    def reset(self, news: News) -> None:
        self.reset_with = news.missed

    def step(self, signal: np.ndarray, *, news: News) -> np.ndarray:
        out = told(signal, news)
        out[1], self.reset_with = self.reset_with, -1
        return out


def workload(mine: Operator, period_us: int = 500_000) -> Workload:
    graph = GraphBuilder("g", period_us=period_us, deadline_us=period_us)
    graph.stage("mine", mine, graph.stage("motion", "window", stream="wrist", samples=WINDOW))
    stream = Stream(name="wrist", kind="motion", rate_hz=HZ)
    return Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))


def fed(
    mine: Operator, *, lost: tuple[int, int], period_us: int = 500_000, tells: bool = False
) -> tuple[list[np.ndarray], StateNow]:
    """What its runs gave where the samples from one number up to another are never fed."""
    clock, found = Hands(), []
    with Runtime.live(workload(mine, period_us), HARDWARE, COSTS, solver="cpu-only", clock=clock) as runtime:
        for taken in range(0, 700, CHUNK):
            clock.set((taken + CHUNK) * 20_000)
            if not lost[0] <= taken < lost[1]:
                at_us = (taken + CHUNK) * 20_000 + 777_000_000 if tells else None
                runtime.feed("wrist", NUMBERS[taken : taken + CHUNK], at_us=at_us)
                found += runtime.drain(timeout_s=60)
        (state,) = runtime.states()
    return [np.asarray(one.graphs[0].outputs["mine"]) for one in found if one.graphs[0].outcome == "done"], state


def met(outputs: Sequence[np.ndarray]) -> list[list[int]]:
    """The samples that each run was to meet."""
    return [out[3 : 3 + int(out[2])].astype(int).tolist() for out in outputs]


@pytest.mark.parametrize("tells", [False, True], ids=["found later", "told"])
@pytest.mark.parametrize("period_us", [100_000, 500_000])
@pytest.mark.parametrize("seconds", [0.4, 1.2, 5])
def test_every_sample_is_met_once_and_no_silence(tells: bool, period_us: int, seconds: float) -> None:
    """Without times of its own a loss is found when samples behind it were read already, by other numbers."""
    many = int(seconds * HZ)
    outputs, state = fed(Told, lost=(200, 200 + many), period_us=period_us, tells=tells)
    runs = met(outputs)
    every = [number for run in runs for number in run]
    assert 0 not in every
    assert every == sorted(set(every))
    assert state.anew == {"first": 1}
    missed = int(sum(out[1] for out in outputs))
    assert missed + len(every) == every[-1] - every[0] + 1
    # But for the lost ones only those are not met that came in one window with them, before.
    never = [(before, after) for before, after in pairwise(every) if after != before + 1]
    assert len(never) == 1
    ((before, after),) = never
    assert after == 201 + many
    assert 200 - period_us * HZ // 1_000_000 <= before <= 200
    assert state.gaps == 1


@pytest.mark.parametrize("tells", [False, True], ids=["found later", "told"])
def test_a_reset_sees_the_loss_once_and_then_what_came_behind_it(tells: bool) -> None:
    outputs, state = fed(Resets, lost=(200, 260), tells=tells)
    resets = [(int(out[1]), run) for out, run in zip(outputs, met(outputs), strict=True) if out[1] >= 0]
    ((missed, new),) = resets
    assert missed >= 60
    assert state.anew == {"first": 1}
    assert state.gaps == 1
    assert 0 not in new
    assert new == list(range(new[0], new[0] + len(new)))


@pytest.mark.parametrize("tells", [False, True], ids=["found later", "told"])
def test_what_begins_anew_does_so_once_and_knows_where_the_silence_ends(tells: bool) -> None:
    outputs, state = fed(Anew, lost=(200, 260), tells=tells)
    assert state.anew == {"first": 1, "gap": 1}
    assert state.gaps == 0
    anew = next(out for out in outputs[1:] if out[0] == -1)
    (new,) = met([anew])
    assert new[0] == 261
    assert anew[1] + anew[2] == WINDOW


def replayed(mine: Operator, *, lost: tuple[int, int], batch: int = 1) -> tuple[list[np.ndarray], StateNow]:
    """What its runs gave over a recording where these samples are missing."""
    samples = NUMBERS[:700].copy()
    samples[slice(*lost)] = 0
    stream = RecordedStream(name="wrist", file="wrist.npy", kind="motion", rate_hz=HZ)
    manifest = RecordingManifest(format="leo-recording/1", name="r", source="made up", streams=(stream,))
    gaps = {"wrist": (Gap(lost[0] * 20_000, lost[1] * 20_000),)}
    recording, kept = Recording(manifest, {"wrist": samples}, gaps=gaps), KeptFrames()
    with Runtime.simulated(workload(mine), HARDWARE, COSTS, solver="cpu-only") as runtime:
        replay(runtime, recording, Span.of(recording), policy="p", time="virtual", batch=batch, sinks=[kept])
        (state,) = runtime.states()
    return [np.asarray(one.outputs["mine"]) for frame in kept.frames for one in frame.graphs], state


@pytest.mark.parametrize("batch", [1, 4])
def test_a_gap_in_a_recording_is_told_as_one_in_what_is_fed(batch: int) -> None:
    """But for the frames within it, which a replay has and a feed has not: what is met is the same."""
    live, _ = fed(Told, lost=(200, 260), tells=True)
    outputs, state = replayed(Told, lost=(200, 260), batch=batch)
    every = [number for run in met(outputs) for number in run if number]
    assert every == [number for run in met(live) for number in run]
    assert sum(int(out[1]) for out in outputs) == sum(int(out[1]) for out in live) == 60
    assert 0 not in [number for run in met(outputs[4:]) for number in run]
    assert state.anew == {"first": 1}
    assert state.gaps == 3


def test_a_gap_in_a_recording_begins_anew_or_resets() -> None:
    outputs, state = replayed(Anew, lost=(205, 215))
    assert state.anew == {"first": 1, "gap": 1}
    (anew,) = [out for out in outputs[1:] if out[0] == -1]
    assert met([anew]) == [list(range(216, 226))]
    outputs, state = replayed(Resets, lost=(205, 215))
    assert state.anew == {"first": 1}
    assert [int(out[1]) for out in outputs if out[1] >= 0] == [15]


def test_a_program_that_cuts_its_own_windows_tells_of_what_was_lost() -> None:
    async def submitted(runtime: Runtime, release_us: int, unbroken: dict[str, int] | None) -> None:
        await runtime.asubmit(release_us, {"motion": samples}, unbroken=unbroken)

    samples = NUMBERS[:WINDOW]
    with Runtime.simulated(workload(Told), HARDWARE, COSTS, solver="cpu-only") as runtime:
        runtime.submit(2_000_000, {"motion": samples}, unbroken={"motion": 40})
        runtime.submit(2_500_000, {"motion": samples}, unbroken={"motion": WINDOW})
        runtime.submit(3_000_000, {"motion": samples}, unbroken={"motion": np.int32(10)})
        runtime.submit(3_500_000, {"motion": samples}, unbroken={"motion": 35})
        asyncio.run(submitted(runtime, 4_000_000, {"motion": 0}))
        asyncio.run(submitted(runtime, 4_500_000, None))
        runtime.submit_batch(
            [(5_000_000, {"motion": samples}), (5_500_000, {"motion": samples})], unbroken=[{}, {"motion": 5}]
        )
        outputs = [np.asarray(one.outputs["mine"]) for frame in runtime.drain() for one in frame.graphs]
        (state,) = runtime.states()
    assert [(int(out[0]), int(out[1])) for out in outputs] == [
        (-1, 60),
        (25, 0),
        (10, 15),
        (25, 0),
        (0, 25),
        (25, 0),
        (25, 0),
        (5, 20),
    ]
    assert state.gaps == 3


@pytest.mark.parametrize(
    ("unbroken", "says"),
    [
        ({"sound": 1}, "`unbroken` names `sound`, and no source is called so"),
        ({"motion": WINDOW + 1}, "`unbroken of motion` is at most 100, got 101"),
        ({"motion": -1}, "`unbroken of motion` is at least 0, got -1"),
        ({"motion": 0.5}, "`unbroken of motion` is a whole number, got 0.5"),
        (["motion"], "`unbroken` is given by source stage, got list"),
    ],
)
def test_what_cannot_have_been_lost_is_said(unbroken: Any, says: str) -> None:
    with Runtime.simulated(workload(Told), HARDWARE, COSTS) as runtime:
        with pytest.raises(InputError) as wrong:
            runtime.submit(2_000_000, {"motion": NUMBERS[:WINDOW]}, unbroken=unbroken)
        assert says in str(wrong.value)
        for several in (unbroken, [], [{}, {}], 3):
            with pytest.raises(InputError) as wrong:
                runtime.submit_batch([(2_000_000, {"motion": NUMBERS[:WINDOW]})], unbroken=several)  # type: ignore[arg-type]  # that is the point
            assert "unbroken" in str(wrong.value)
        assert runtime.drain() == ()


def test_a_stage_goes_on_in_the_numbers_of_its_stream() -> None:
    """Two losses were found since: one before what it met, and one behind."""
    corrections = NO_CORRECTIONS.more(40, 10).more(200, 5)
    before, now = Point(100, 0), Point(220, 0, lost=15, corrections=corrections)
    assert before.moved(corrections) == (Point(110, 0), 10)
    assert now.is_beyond(before)
    assert not before.is_beyond(now)
    assert Point(215, 0).is_beyond(Point(224, 0, lost=15, corrections=corrections))
    # What has not come moves nothing: it is not behind what was lost.
    assert Point(60, 0, late=20).moved(corrections) == (Point(60, 0, late=20), 0)


def test_a_thousand_losses_are_not_all_remembered() -> None:
    corrections = NO_CORRECTIONS
    for number in range(1_000):
        corrections = corrections.more(number, 1)
    assert len(corrections.newest) == Corrections.MOST
    assert corrections.since(NO_CORRECTIONS) == corrections.newest
    assert corrections.since(corrections) == ()


@pytest.mark.parametrize("seed", range(20))
def test_the_end_of_a_window_is_unbroken_up_to_the_last_loss(seed: int) -> None:
    random = Random(seed)
    ring, there = SampleRing(50, 0, (), np.dtype(np.int64)), np.zeros(0, bool)
    for _ in range(30):
        many = random.randrange(1, 12)
        if random.random() < 0.3:
            at = random.randrange(max(0, len(there) - 10), len(there) + 1)
            ring.lose(at, many)
            there = np.insert(there, at, [False] * many)
        ring.append(np.ones(many, np.int64))
        there = np.append(there, [True] * many)
        for end in range(len(there) - 20, len(there) + 1):
            if end >= 30:
                window = there[end - 30 : end]
                expected = int(np.argmin(window[::-1]))
                assert ring.unbroken(end, 30) == (None if window.all() else expected)


@operator(output_shape=lambda signal: signal)
def same(signal: np.ndarray) -> np.ndarray:
    return signal


@operator(output_shape=lambda rows: (4,), on_gap="tell")
class News4:
    def step(self, rows: np.ndarray, *, news: News) -> np.ndarray:
        return np.array([-1 if news.fresh is None else news.fresh, news.missed, news.whole, len(news.new(rows))])


def run(graph: GraphBuilder, windows: int, samples: int = 16_000) -> list[FrameResult]:
    stream = Stream(name="mic", kind="audio", rate_hz=16_000)
    made = Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))
    sound = np.random.default_rng(5).integers(-9_000, 9_000, 16_000 * 10).astype(np.int16)
    with Runtime.simulated(made, HARDWARE, COSTS) as runtime:
        for number in range(windows):
            end = samples + 4_000 * number
            runtime.submit(end * 1_000_000 // 16_000, {"sound": sound[end - samples : end]})
        return list(runtime.drain())


def test_a_reader_of_what_comes_whole_is_told_so() -> None:
    graph = GraphBuilder("g", period_us=250_000, deadline_us=250_000)
    sound = graph.stage("sound", "window", stream="mic", samples=16_000)
    graph.stage("mine", News4, graph.stage("same", same, sound))
    found = [result.graphs[0].outputs["mine"].tolist() for result in run(graph, 3)]
    assert found == [[-1, 0, 1, 16_000], [1, 0, 1, 16_000], [1, 0, 1, 16_000]]


@pytest.mark.parametrize("operator", ["log_mel", "mfcc"])
def test_nothing_else_of_a_graph_changes_where_features_are_computed_once(operator: str) -> None:
    answers: list[list[Any]] = []
    for streaming in (False, True):
        graph = GraphBuilder("g", period_us=250_000, deadline_us=250_000)
        sound = graph.stage("sound", "window", stream="mic", samples=16_000)
        params: dict[str, Any] = {"edges": "whole", "deltas": False} if operator == "mfcc" else {}
        graph.stage("mine", News4, graph.stage("rows", operator, sound, streaming=streaming, **params))
        answers.append([result.graphs[0].outputs["mine"].tolist() for result in run(graph, 6)])
    assert answers[0] == answers[1]
    assert answers[0][1] == [25, 0, 0, 25]

"""A stream that is restarted: nothing of what came before is in any window, or in what any stage keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import ClosedError, InputError
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators import Operator, operator
from leo_runtime.runtime.runtime import Runtime
from test_feed import Hands
from test_own_states import COSTS, HARDWARE

HZ, WINDOW, CHUNK = 50, 100, 5
"""Windows of two seconds, chunks of a tenth."""
CHUNK_US = 100_000
OLD, NEW = 1.0, 2.0


@operator(output_shape=lambda signal: (2,), on_gap="tell")
class Remembers:
    """The least and the greatest sample that it ever met, whatever was missing between."""

    def __init__(self) -> None:
        self.least, self.greatest = np.inf, -np.inf

    def step(self, signal: np.ndarray) -> np.ndarray:
        self.least, self.greatest = min(self.least, signal.min()), max(self.greatest, signal.max())
        return np.array([self.least, self.greatest])


@operator(output_shape=lambda signal: (1,))
def greatest(signal: np.ndarray) -> np.ndarray:
    """As it keeps nothing and is not cut from samples, what reads it counts its runs alone."""
    return signal.max(keepdims=True)


def workload(mine: Operator = Remembers, *, between: bool = False) -> Workload:
    graph = GraphBuilder("g", period_us=500_000, deadline_us=500_000)
    stage = graph.stage("motion", "window", stream="wrist", samples=WINDOW)
    graph.stage("mine", mine, graph.stage("greatest", greatest, stage) if between else stage)
    other = GraphBuilder("other", period_us=500_000, deadline_us=500_000)
    other.stage("leg-mine", mine, other.stage("leg", "window", stream="leg", samples=WINDOW))
    streams = (Stream(name="wrist", kind="motion", rate_hz=HZ), Stream(name="leg", kind="motion", rate_hz=HZ))
    return Workload(format="leo-workload/1", name="w", streams=streams, graphs=(graph.build(), other.build()))


class Run:
    """A runtime whose clock is moved by hand, or is virtual, and what it gave."""

    def __init__(self, *, live: bool, **changes: Any) -> None:
        self.clock = Hands()
        self.live = live
        given = workload(**changes), HARDWARE, COSTS
        if live:
            self.runtime = Runtime.live(*given, solver="cpu-only", clock=self.clock)
        else:
            self.runtime = Runtime.simulated(*given, solver="cpu-only")
        self.found: list[FrameResult] = []

    def feed(self, chunks: int, value: float, *, streams: tuple[str, ...] = ("wrist", "leg")) -> None:
        for _ in range(chunks):
            self.clock.set(self.clock.now_us() + CHUNK_US)
            for stream in streams:
                self.runtime.feed(stream, np.full(CHUNK, value, np.float32))
            if self.live:
                self.found += self.runtime.drain(timeout_s=60)

    def of(self, graph: str, stage: str) -> list[tuple[int, list[float]]]:
        """The releases of a graph, each with what a stage gave."""
        if not self.live:
            self.found += self.runtime.drain()
        return [
            (result.release_us, np.asarray(one.outputs[stage]).tolist())
            for result in self.found
            for one in result.graphs
            if one.graph == graph and one.outcome == "done"
        ]


@pytest.mark.parametrize("between", [False, True], ids=["of samples", "of what comes whole"])
@pytest.mark.parametrize("pause", [0, 3, 40], ids=["at once", "soon", "later"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "virtual"])
def test_nothing_of_before_is_met_again(live: bool, pause: int, between: bool) -> None:
    run = Run(live=live, between=between)
    with run.runtime:
        run.feed(34, OLD)
        run.runtime.restart("wrist")
        run.feed(pause, OLD, streams=("leg",))
        run.feed(34, NEW)
        found, (state, _) = run.of("g", "mine"), run.runtime.states()
        # In virtual time a stream that tells no times begins as it is restarted.
        begun_us = 3_400_000 + (pause * CHUNK_US if live else 0)
    before = [extremes for release_us, extremes in found if release_us <= begun_us]
    after = [(release_us, extremes) for release_us, extremes in found if release_us > begun_us]
    assert before == [[OLD, OLD]] * 3
    assert [extremes for _, extremes in after] == [[NEW, NEW]] * len(after)
    assert len(after) in (2, 3)
    assert after[0][0] >= begun_us + 2_000_000
    assert state.anew == {"first": 1, "restart": 1}


@pytest.mark.parametrize("live", [True, False], ids=["live", "virtual"])
def test_other_streams_go_on(live: bool) -> None:
    run = Run(live=live)
    with run.runtime:
        run.feed(34, OLD)
        run.runtime.restart("wrist")
        run.feed(34, NEW)
        found, (_, other) = run.of("other", "leg-mine"), run.runtime.states()
        (wrist, leg) = run.runtime.streams()
    assert [release_us for release_us, _ in found] == list(range(2_000_000, 6_500_001, 500_000))
    assert found[-1][1] == [OLD, NEW]
    assert other.anew == {"first": 1}
    assert (wrist.fed, leg.fed) == (68 * CHUNK, 68 * CHUNK)
    assert (wrist.held, leg.held) == (34 * CHUNK, leg.capacity)


def test_a_first_chunk_as_long_as_a_window_has_its_graphs_begin_at_once() -> None:
    run = Run(live=True)
    with run.runtime:
        run.feed(34, OLD, streams=("wrist",))
        run.runtime.restart("wrist")
        run.runtime.feed("wrist", np.zeros(WINDOW, np.float32))
        run.feed(6, NEW, streams=("wrist",))
        found = run.of("g", "mine")
    assert [release_us for release_us, _ in found[3:]] == [3_500_000, 4_000_000]
    assert found[-1][1] == [0.0, NEW]


def test_a_stream_may_be_restarted_before_it_came_and_twice_and_take_other_samples_then() -> None:
    run = Run(live=True)
    with run.runtime:
        run.runtime.restart("wrist")
        run.runtime.restart("wrist")
        run.feed(3, OLD)
        run.runtime.restart("wrist")
        run.runtime.feed("wrist", np.ones(CHUNK, np.float64))


def test_events_are_forgotten() -> None:
    graph = GraphBuilder("taps", period_us=500_000, deadline_us=500_000)
    graph.stage("mine", Remembers, graph.stage("tap", "window", stream="taps", samples=2))
    streams = (Stream(name="taps", kind="events"),)
    taps = Workload(format="leo-workload/1", name="w", streams=streams, graphs=(graph.build(),))
    clock = Hands()
    with Runtime.live(taps, HARDWARE, COSTS, solver="cpu-only", clock=clock) as runtime:
        runtime.feed("taps", np.array([7.0]))
        runtime.restart("taps")
        assert runtime.streams()[0].held == 0
        assert runtime.streams()[0].newest_us is None


def test_what_cannot_be_restarted_is_refused() -> None:
    run = Run(live=True)
    with run.runtime:
        with pytest.raises(InputError, match="no stream is called `wirst`") as refused:
            run.runtime.restart("wirst")
        assert "wrist" in str(refused.value.hint)
    with pytest.raises(ClosedError):
        run.runtime.restart("wrist")

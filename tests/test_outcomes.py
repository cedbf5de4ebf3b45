"""The written outcome of what goes wrong around a runtime: a test for each line of the table in docs/embedding.md.

What hangs, returns late or loses its device is in test_run_limits.py and test_guard.py.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime.appending import Appending
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import DocumentError
from leo_runtime.frame.chances import GateHistories
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.gates_file import WRITTEN_EACH
from leo_runtime.runtime.runtime import Runtime
from test_guard import fast_of, live, run, where
from test_runtime import (
    LOUD,
    SAMPLES,
    FakeBackend,
    bench,
    everything_on,
    fake_backends,
    loud_graph,
    one,
    other_graph,
    profile,
    simulated,
    workload,
)
from told_clock import ToldClock
from wrong_backends import Hanging, WrongScores, raising

SECOND = 1_000_000


GIVES: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (lambda: np.array([np.nan, 0.0], np.float32), "gave nan on `fast`, at [0] of its output"),
    "infinity": (lambda: np.array([0.0, np.inf], np.float32), "gave inf on `fast`, at [1] of its output"),
    "another shape": (lambda: np.zeros((3,), np.float32), "gave shape (3,) on `fast`, expected (2,)"),
    "another type": (lambda: np.zeros(2, np.complex64), "gave an array of complex64 on `fast`"),
    "nothing": (lambda: None, "gave nothing (None) on `fast`, expected (2,)"),
    "a list": (lambda: [0.0, 0.0], "gave a list on `fast`, expected (2,)"),
    "an exception": (raising(ZeroDivisionError("by zero")), "ZeroDivisionError: by zero"),
    "SystemExit": (raising(SystemExit(3)), "SystemExit: 3"),
    "no Exception": (raising(GeneratorExit("odd")), "GeneratorExit: odd"),
    "MemoryError": (raising(MemoryError()), "MemoryError"),
}


@pytest.mark.parametrize("kind", ["virtual", "real"])
@pytest.mark.parametrize("wrong", GIVES)
def test_a_kernel_that_goes_wrong_fails_its_stage_which_is_tried_elsewhere(wrong: str, kind: str) -> None:
    give, says = GIVES[wrong]
    parts = workload(loud_graph(), other_graph()), bench(), profile()
    made = Runtime.simulated if kind == "virtual" else Runtime.live
    options: dict[str, Any] = {} if kind == "virtual" else {"clock": ToldClock()}
    backends = fake_backends(fast=WrongScores(give))
    with made(*parts, solver=everything_on("fast"), backends=backends, **options) as runtime:
        runtime.submit(0, {"sound": LOUD}, graphs=("loud", "other"))
        result = one(runtime.drain(60.0))
        assert {graph.graph: graph.outcome for graph in result.graphs} == {"loud": "done", "other": "done"}
        assert where(result) == [("fast", "failed"), ("cpu", "done")]
        (failed,) = [stage for stage in result.stages if stage.outcome == "failed"]
        assert says in failed.error
        if kind == "real":
            options["clock"].to(2_000)
        runtime.submit(2_000, {"sound": LOUD}, graphs=("loud",))
        assert where(one(runtime.drain(60.0))) == [("fast", "done")]
        assert runtime.lost == ()


def test_ctrl_c_within_a_kernel_of_another_thread_is_its_failure() -> None:
    with live(WrongScores(raising(KeyboardInterrupt()))) as (runtime, clock):
        result = run(runtime, clock, 0)
        assert where(result) == [("fast", "failed"), ("cpu", "done")]
        assert where(run(runtime, clock, 1_000)) == [("fast", "done")]


def test_a_clock_that_leaps_ahead_gives_no_run_up() -> None:
    """As where the machine was suspended, or the process stopped for an hour."""
    fast = Hanging()
    with live(fast) as (runtime, clock):
        runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        fast.hung.wait()
        clock.to(3_600 * SECOND)
        other = run(runtime, clock, 3_600 * SECOND, "other")
        assert other.graphs[0].outcome == "done"
        fast.let_go.set()
        late = one(runtime.results(60.0))
        assert where(late) == [("fast", "done")]
        assert late.graphs[0].missed
        assert fast_of(runtime).given_up == 0
        assert run(runtime, clock, 3_601 * SECOND).graphs[0].outcome == "done"


def test_releases_that_passed_while_the_clock_leapt_start_at_once_or_are_skipped() -> None:
    with live(FakeBackend()) as (runtime, clock):
        run(runtime, clock, 0)
        for at_us in (1_000, 2_000, 3_000):
            runtime.submit(at_us, {"sound": LOUD}, graphs=("loud",))
        clock.to(3_500)
        results = {result.release_us: result for result in runtime.drain(60.0)}
        assert [results[at_us].skipped for at_us in (1_000, 2_000, 3_000)] == [True, True, False]
        assert results[3_000].graphs[0].outcome == "done"
        assert runtime.skipped == 2


def test_a_clock_that_goes_back_loses_no_frame_and_nothing_ends_before_it_began() -> None:
    clock = ToldClock()
    with Runtime.live(
        workload(loud_graph()),
        bench(),
        profile(),
        solver=everything_on("fast"),
        backends=fake_backends(),
        clock=clock,
    ) as runtime:
        found: list[FrameResult] = []
        for number, now_us in enumerate((0, 5 * SECOND, 1 * SECOND, 5 * SECOND, 6 * SECOND)):
            clock.to(now_us)
            release_us = (0, 5, 5, 5, 6)[number] * SECOND
            runtime.submit(release_us, {"sound": LOUD}, graphs=("loud",))
            if now_us == SECOND:  # It waits until the clock is there again.
                assert runtime.results() == ()
                continue
            found += runtime.drain(60.0)
        assert [result.frame for result in found] == [0, 1, 2, 3, 4]
        for result in found:
            assert result.graphs[0].outcome == "done"
            assert all(stage.end_us >= stage.start_us >= 0 for stage in result.stages)


class Turning(FakeBackend):
    """The clock goes back an hour as its kernels run."""

    def __init__(self, clock: ToldClock) -> None:
        super().__init__()
        self.clock = clock

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        kernel = super().load(stage, variant)

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            self.clock.to(max(0, self.clock.now_us() - 3_600 * SECOND))
            return kernel(inputs)

        return run


def test_a_clock_that_goes_back_within_a_run_is_not_a_run_that_ends_before_it_began() -> None:
    clock = ToldClock(4_000 * SECOND)
    with Runtime.live(
        workload(loud_graph()),
        bench(),
        profile(),
        solver=everything_on("fast"),
        backends=fake_backends(fast=Turning(clock)),
        clock=clock,
    ) as runtime:
        for _ in range(2):
            clock.to(4_000 * SECOND)
            runtime.submit(4_000 * SECOND, {"sound": LOUD}, graphs=("loud",))
            result = one(runtime.drain(60.0))
            assert result.graphs[0].outcome == "done"
            assert all(stage.end_us >= stage.start_us for stage in result.stages)
            assert all(stage.nj is None or stage.nj >= 0 for stage in result.stages)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_stops_no_frame_and_is_counted_where_answers_are_written_down() -> None:
    log = Appending(Path("/dev/full"))
    log.start()
    told: list[int] = []
    seen: list[Any] = []
    before, threading.excepthook = threading.excepthook, seen.append
    try:
        with simulated(loud_graph(), solver=everything_on("fast")) as runtime:
            writes = runtime.subscribe(lambda result: log.write(f"{result.frame}\n".encode()))
            runtime.subscribe(lambda result: told.append(result.frame))
            for frame in range(20):
                runtime.submit(frame * 1_000, {"sound": LOUD})
            assert [result.graphs[0].outcome for result in runtime.drain()] == ["done"] * 20
    finally:
        threading.excepthook = before
        log.close()
    assert told == list(range(20))
    assert (writes.failures, len(seen)) == (20, 1)
    assert writes.last_failure == "DocumentError: /dev/full: cannot be written (No space left on device), at $"


def test_a_full_disk_stops_no_frame_and_is_counted_where_it_is_kept_what_gates_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, to_file = tmp_path / "gates.json", GateHistories.to_file
    full = True

    def write(self: GateHistories, path: Path) -> None:
        if full:
            raise DocumentError(str(path), f"cannot be written ({os.strerror(errno.ENOSPC)})")
        to_file(self, path)

    monkeypatch.setattr(GateHistories, "to_file", write)
    with simulated(loud_graph(), solver="exact", gates_file=path) as runtime:
        assert runtime.gates_unwritten.count == 0
        for frame in range(WRITTEN_EACH):
            runtime.submit(frame * 1_000, {"sound": LOUD})
        assert len(runtime.drain()) == WRITTEN_EACH
        kept: Any = runtime._now.horizon._gates_file  # type: ignore[union-attr]
        assert kept._writing.wait(60.0)
        assert runtime.gates_unwritten.count == 1
        assert "cannot be written (No space left on device)" in runtime.gates_unwritten.last
        full = False
        runtime.submit(WRITTEN_EACH * 1_000, {"sound": LOUD})
        assert one(runtime.drain()).graphs[0].outcome == "done"
    (gate,) = GateHistories.from_file(path).gates
    assert gate.name == "gate"


def test_nan_passes_where_it_may() -> None:
    fast = WrongScores(GIVES["NaN"][0])
    with simulated(solver=everything_on("fast"), backends=fake_backends(fast=fast), allow_nonfinite=True) as runtime:
        runtime.submit(0, {"sound": np.full(SAMPLES, 9, np.int16)})
        assert np.isnan(one(runtime.drain()).graphs[0].outputs["scores"][0])

"""Frames submitted before their release: nobody sleeps for them, they start at it in order, and can be withdrawn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from leo_runtime.clock import VirtualClock
from leo_runtime.dispatch.events import Event, FrameAdmitted
from leo_runtime.dispatch.executor import Executor
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import ClosedError, DrainTimeoutError, InputError, SolverError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.options import RuntimeOptions
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve
from test_runtime import LOUD, QUIET, bench, fake_backends, loud_graph, one, profile, simulated, workload
from told_clock import ToldClock

LONG_US = 10_000_000


@contextmanager
def told(clock: Any = None, **options: Any) -> Iterator[tuple[Runtime, ToldClock]]:
    """A runtime in real time whose clock is told; its first frame has ended."""
    clock = ToldClock() if clock is None else clock
    given = {"solver": "cpu-only", "backends": fake_backends(), "clock": clock, **options}
    with Runtime.live(workload(loud_graph(deadline_us=LONG_US)), bench(), profile(), **given) as runtime:
        runtime.submit(0, {"sound": QUIET})
        assert one(runtime.results(None)).frame == 0
        yield runtime, clock


def submitted(runtime: Runtime, *releases_us: int, **options: Any) -> list[int]:
    return [runtime.submit(at_us, {"sound": LOUD}, **options) for at_us in releases_us]


def test_submit_sleeps_for_no_release_and_frames_start_at_theirs() -> None:
    with told() as (runtime, clock):
        assert submitted(runtime, 1000, 2000, 3000) == [1, 2, 3]
        assert runtime.results() == ()
        with pytest.raises(DrainTimeoutError, match=r"in flight: 1, 2, 3(?m:$)"):
            runtime.drain(timeout_s=0)
        clock.to(1000)
        first = one(runtime.results(None))
        assert (first.frame, first.release_us, first.graphs[0].label) == (1, 1000, "loud")
        assert min(run.start_us for run in first.stages) >= 1000
        clock.to(3000)
        assert [result.frame for result in runtime.drain()] == [2, 3]


def test_windows_are_copied_as_they_are_submitted() -> None:
    with told() as (runtime, clock):
        sound = np.array(LOUD)
        runtime.submit(1000, {"sound": sound})
        sound[:] = 0
        clock.to(1000)
        assert one(runtime.drain()).graphs[0].label == "loud"


def test_what_comes_after_a_frame_that_waits_starts_after_it() -> None:
    """Its release has come as well: it was not placed before that of the first, whose solver takes its time."""
    solving, solved = threading.Event(), threading.Event()
    order: list[int] = []

    def solver(problem: Problem) -> Placement:
        order.append(len(order))
        if len(order) == 2:
            solving.set()
            solved.wait()
        return solve(problem, "heft")

    with told(solver=solver) as (runtime, clock):
        runtime.lose("fast")  # Another question than the first.
        submitted(runtime, 1000)
        clock.to(1000)
        solving.wait()
        clock.to(2000)
        assert submitted(runtime, 2000) == [2], "it waits for no solver"
        solved.set()
        assert [result.frame for result in runtime.drain()] == [1, 2]


def test_a_frame_between_waiting_and_running_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever drained then had all results but its, and the next one was placed before it was there."""
    admitting, go_on = threading.Event(), threading.Event()
    post = Executor.post

    def slow(driver: Executor, event: Event) -> None:
        if isinstance(event, FrameAdmitted) and event.frame == 1:
            admitting.set()
            go_on.wait()
        post(driver, event)

    monkeypatch.setattr(Executor, "post", slow)
    with told() as (runtime, clock):
        submitted(runtime, 1000)
        clock.to(1000)
        admitting.wait()
        with pytest.raises(DrainTimeoutError):
            runtime.drain(timeout_s=0)
        submitted(runtime, 1000)
        assert runtime._ahead.frames == (2,)
        go_on.set()
        assert [result.frame for result in runtime.drain()] == [1, 2]


def test_a_batch_waits_for_its_last_release_as_well() -> None:
    with told() as (runtime, clock):
        assert runtime.submit_batch([(1000, {"sound": LOUD}), (2000, {"sound": QUIET})]) == 1
        clock.to(1999)
        assert runtime.results() == ()
        clock.to(2000)
        assert [graph.label for graph in one(runtime.drain()).graphs] == ["loud", None]


def test_a_withdrawn_frame_ends_at_once_and_never_runs() -> None:
    with told() as (runtime, clock):
        submitted(runtime, 1000, 2000)
        assert runtime.withdraw(1)
        withdrawn = one(runtime.results())
        assert (withdrawn.frame, withdrawn.reason, withdrawn.stages) == (1, "it was withdrawn before its release", ())
        assert withdrawn.graphs[0].outcome == "failed"
        assert not runtime.withdraw(1)
        clock.to(2000)
        assert one(runtime.drain()).frame == 2
        assert not runtime.withdraw(2), "it has ended"
        assert runtime.skipped == 0


def test_a_withdrawn_frame_does_not_keep_earlier_ones_waiting() -> None:
    """Whoever waited for its release waited on; and the releases before it were late for ever."""
    with told() as (runtime, clock):
        submitted(runtime, 1_000_000)
        with pytest.raises(InputError, match="the last one was at 1000000 us"):
            submitted(runtime, 1000)
        runtime.withdraw(1)
        submitted(runtime, 1000)
        clock.to(1000)
        assert [result.frame for result in runtime.drain()] == [1, 2]


def test_a_frame_is_withdrawn_while_it_is_placed() -> None:
    solving, solved = threading.Event(), threading.Event()

    def solver(problem: Problem) -> Placement:
        if withdraws:
            solving.set()
            solved.wait()
        return solve(problem, "heft")

    withdraws = False
    with told(solver=solver) as (runtime, clock):
        withdraws = True
        runtime.lose("fast")  # Another question than the first.
        submitted(runtime, 1000)
        clock.to(1000)
        solving.wait()
        assert runtime.withdraw(1)
        withdraws = False
        solved.set()
        submitted(runtime, 1000)
        assert [(result.frame, result.graphs[0].label) for result in runtime.drain()] == [(1, None), (2, "loud")]


@pytest.mark.parametrize("frame", [1, -1, 7, 1.0, None, "0", True])
def test_only_a_number_that_was_given_is_withdrawn(frame: Any) -> None:
    with told() as (runtime, _), pytest.raises(InputError, match="`frame` is"):
        runtime.withdraw(frame)


def test_before_the_first_frame_there_is_none_to_withdraw() -> None:
    with simulated() as runtime, pytest.raises(InputError, match="`frame` is at most -1"):
        runtime.withdraw(0)


def test_in_virtual_time_every_frame_has_started() -> None:
    with simulated() as runtime:
        frame = runtime.submit(5000, {"sound": LOUD})
        assert runtime.now_us == 5000
        assert not runtime.withdraw(frame)
        assert one(runtime.drain()).graphs[0].label == "loud"


def test_what_waits_when_the_runtime_is_closed_has_its_results() -> None:
    with told() as (runtime, _):
        submitted(runtime, 1000, 2000)
        runtime.close()
        reasons = [(result.frame, result.reason) for result in runtime.results()]
        assert reasons == [(frame, "the runtime was closed before it ended") for frame in (1, 2)]
        assert not runtime.withdraw(1)


def test_who_waits_with_submit_waits_for_those_before_it_and_its_release() -> None:
    with told(VirtualClock(), max_in_flight=100) as (runtime, clock):
        assert submitted(runtime, *range(1000, 50_000, 1000)) == list(range(1, 50))
        submitted(runtime, 60_000, wait=True)
        assert clock.now_us() >= 60_000
        assert runtime.history(50), "it has started"
        assert [result.frame for result in runtime.drain()] == list(range(1, 51))


def test_only_so_many_frames_wait_and_then_who_submits_does() -> None:
    with told(max_ahead=2) as (runtime, clock):
        submitted(runtime, 1000, 2000)
        third: list[int] = []
        submitting = threading.Thread(target=lambda: third.extend(submitted(runtime, 3000)))
        submitting.start()
        assert runtime.results() == ()
        clock.to(1000)
        submitting.join()
        assert third == [3]
        clock.to(3000)
        assert [result.frame for result in runtime.drain()] == [1, 2, 3]


def test_who_waits_for_room_hears_of_the_end() -> None:
    with told(max_ahead=1) as (runtime, _):
        submitted(runtime, 1000)
        errors: list[InputError] = []

        def submit() -> None:
            try:
                submitted(runtime, 2000)
            except InputError as error:
                errors.append(error)

        submitting = threading.Thread(target=submit)
        submitting.start()
        runtime.close()
        submitting.join()
        assert [type(error) for error in errors] == [ClosedError]
        assert one(runtime.results()).frame == 1


def test_a_solver_without_an_answer_fails_the_frame_that_waited_and_no_other() -> None:
    """Where it is placed by who submits it, that is raised there."""

    def solver(problem: Problem) -> Placement:
        if wrong:
            raise wrong[0]
        return solve(problem, "heft")

    wrong: list[BaseException] = []
    with told(solver=solver) as (runtime, clock):
        runtime.lose("fast")  # Another question than the first.
        for at_us, error in ((1000, ValueError("no idea")), (2000, SystemExit(3)), (3000, SolverError("none"))):
            wrong[:] = [error]
            submitted(runtime, at_us)
            clock.to(at_us)
            failed = one(runtime.drain())
            assert failed.graphs[0].outcome == "failed"
            assert str(error) in failed.reason
        wrong.clear()
        submitted(runtime, 4000)
        clock.to(4000)
        assert one(runtime.drain()).graphs[0].label == "loud"


def test_the_first_frame_of_all_says_what_its_solver_raised_where_it_is_submitted() -> None:
    def solver(_problem: Problem) -> Placement:
        raise ValueError("no idea")

    given = (workload(loud_graph()), bench(), profile())
    with Runtime.live(*given, solver=solver, backends=fake_backends()) as runtime:
        with pytest.raises(SolverError, match="no idea"):
            submitted(runtime, 10_000)
        assert runtime.results() == ()


def test_a_clock_that_breaks_fails_the_frames_that_wait_for_it() -> None:
    class Broken(VirtualClock):
        def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
            if at_us == 1000:
                raise ArithmeticError("it cannot count")
            return super().wait_until_us(at_us, interrupt)

    with told(Broken()) as (runtime, _):
        submitted(runtime, 1000, 2000)
        results = runtime.drain()
    assert [(result.frame, result.graphs[0].label) for result in results] == [(1, None), (2, "loud")]
    assert results[0].reason == "ArithmeticError: it cannot count"


def test_a_solver_that_submits_does_not_wait_for_itself_at_a_release_either() -> None:
    def solver(problem: Problem) -> Placement:
        if problem_of_a_frame_that_waited.is_set():
            with pytest.raises(InputError, match="submitted while another one is"):
                submitted(runtime, 9000)
        return solve(problem, "heft")

    problem_of_a_frame_that_waited = threading.Event()
    with told(solver=solver) as (runtime, clock):
        problem_of_a_frame_that_waited.set()
        runtime.lose("fast")  # Another question than the first.
        submitted(runtime, 1000)
        clock.to(1000)
        assert one(runtime.drain()).graphs[0].label == "loud"


def test_a_forked_process_takes_no_frame_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    with told() as (runtime, _), monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        with pytest.raises(InputError, match="threads are in process"):
            submitted(runtime, 1000)


def test_frames_withdrawn_by_many_threads_end_once() -> None:
    with told(VirtualClock(), max_in_flight=1000) as (runtime, _):
        results: list[FrameResult] = []
        taken: list[int] = []
        here = threading.Barrier(3)

        def submit() -> None:
            here.wait()
            taken.extend(submitted(runtime, *range(1000, 200_000, 1000)))

        def withdraw() -> None:
            here.wait()
            for _ in range(200):
                runtime.withdraw(runtime._count - 1)
                results.extend(runtime.results())

        threads = [threading.Thread(target=work) for work in (submit, withdraw, withdraw)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results.extend(runtime.drain())
        assert sorted(result.frame for result in results) == taken == list(range(1, 200))
        assert runtime._now.kernels is not None
        assert not runtime._now.kernels._flights


@pytest.mark.parametrize("most", [0, -1, 1.5])
def test_room_for_frames_that_wait_is_a_whole_number(most: Any) -> None:
    with pytest.raises(InputError, match="`max_ahead` is"):
        RuntimeOptions(max_ahead=most)

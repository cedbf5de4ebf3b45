"""Every frame that was taken ends in exactly one result: where kernels throw, hang, lanes are late, or nobody waits."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest

from leo_runtime import clock
from leo_runtime.backend import registry
from leo_runtime.clock import VirtualClock
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import Event, FrameAdmitted, FrameDone, Instruction, RunStage, StageEnded
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import (
    BackendError,
    ClosedError,
    DrainTimeoutError,
    GraphError,
    InputError,
    LeoError,
    ProfileError,
)
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.arguments import MAX_AHEAD_US
from leo_runtime.runtime.options import OptionChanges, RuntimeOptions
from leo_runtime.runtime.results import Results, Submitted
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve
from test_runtime import (
    LOUD,
    QUIET,
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
from wrong_backends import Hanging, Unloadable, WrongScores, raising

LONG_US = 10_000_000
EVERY_TIME = 1_000_000


def live(*, fast: FakeBackend, solver: Any = None, **options: Any) -> Runtime:
    return Runtime.live(
        workload(loud_graph(deadline_us=LONG_US)),
        bench(),
        profile(),
        solver=everything_on("fast") if solver is None else solver,
        backends=fake_backends(fast=fast),
        **options,
    )


@contextmanager
def hanging(**options: Any) -> Iterator[tuple[Runtime, Hanging]]:
    """A runtime with one frame, whose `scores` hangs on `fast`; let go in the end."""
    fast = Hanging(EVERY_TIME)
    runtime = live(fast=fast, **options)
    try:
        runtime.submit(0, {"sound": LOUD})
        fast.hung.wait()
        yield runtime, fast
    finally:
        fast.let_go.set()
        runtime.close()


def test_what_hangs_leaves_room_for_frames_of_other_graphs() -> None:
    """Each in frames of its own: `loud` hangs, and as many of it as may be are in flight."""
    fast, other, others = Hanging(EVERY_TIME), other_graph().model_copy(update={"deadline_us": LONG_US}), []
    graphs = workload(loud_graph(deadline_us=LONG_US), other)
    options: Any = {"solver": everything_on("fast"), "backends": fake_backends(fast=fast), "max_in_flight": 3}
    with Runtime.live(graphs, bench(), profile(), **options) as runtime:
        for _ in range(5):
            runtime.submit(0, {"sound": LOUD}, graphs=["loud"])
        fast.hung.wait()
        assert runtime.skipped == 2
        for _ in range(20):
            number = runtime.submit(0, {"sound": LOUD}, graphs=["other"])
            while number not in [result.frame for result in others]:
                others += runtime.results(None)
        assert runtime.skipped == 2
        fast.let_go.set()
    assert [result.graphs[0].outcome for result in others if result.graphs[0].graph == "other"] == ["done"] * 20


class SpeechlessError(BaseException):
    """Raises as it is printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


THROWN = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("odd"),
    AssertionError("no"),
    SpeechlessError(),
]


@pytest.mark.parametrize("error", THROWN, ids=lambda error: type(error).__name__)
def test_whatever_a_kernel_throws_is_the_failure_of_its_stage(error: BaseException) -> None:
    with live(fast=WrongScores(raising(error))) as runtime:
        for _ in range(2):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
            result = one(runtime.drain())
            assert result.graphs[0].label == "loud"
            used = [(run.resource, run.outcome) for run in result.stages if run.stage == "scores"]
            assert used in ([("fast", "failed"), ("cpu", "done")], [("fast", "done")])
        assert used == [("fast", "done")], "its lane goes on"


@pytest.mark.parametrize(
    "error", [SystemExit(3), GeneratorExit(), SpeechlessError()], ids=lambda error: type(error).__name__
)
def test_whatever_a_kernel_throws_in_virtual_time_is_the_failure_of_its_stage(error: BaseException) -> None:
    with simulated(solver=everything_on("fast"), backends=fake_backends(fast=WrongScores(raising(error)))) as runtime:
        runtime.submit(0, {"sound": LOUD})
        result = one(runtime.drain())
    (failed,) = [run for run in result.stages if run.outcome == "failed"]
    assert type(error).__name__ in failed.error
    assert result.graphs[0].label == "loud"


@pytest.mark.parametrize("make", [Runtime.live, Runtime.simulated])
@pytest.mark.parametrize("error", THROWN, ids=lambda error: type(error).__name__)
def test_a_kernel_that_throws_as_it_is_loaded_is_left_out(error: BaseException, make: Callable[..., Runtime]) -> None:
    def opened() -> Runtime:
        given = fake_backends(fast=Unloadable(error))
        return make(workload(loud_graph()), bench(), profile(), solver="heft", backends=given)

    if isinstance(error, KeyboardInterrupt) and make == Runtime.simulated:
        with pytest.raises(KeyboardInterrupt):  # This is the main thread: it may be the user's. In real time it is not.
            opened()
        return
    with opened() as runtime:
        assert {mode.resource for mode in runtime.modes["scores"]} == {"cpu"}
        assert type(error).__name__ in runtime.left_out["scores", "fast", "default"]


def test_the_users_own_interrupt_goes_on_its_way_and_the_frame_still_has_a_result() -> None:
    given = fake_backends(fast=WrongScores(raising(KeyboardInterrupt())))
    runtime = simulated(solver=everything_on("fast"), backends=given)
    runtime.submit(0, {"sound": LOUD})
    with pytest.raises(KeyboardInterrupt):
        runtime.drain()
    runtime.close()
    assert one(runtime.results()).reason.startswith("the runtime failed (KeyboardInterrupt")


def test_an_interrupt_raised_in_another_thread_is_the_kernels() -> None:
    given = fake_backends(fast=WrongScores(raising(KeyboardInterrupt())))
    found: list[str] = []

    def replay() -> None:
        with simulated(solver=everything_on("fast"), backends=given) as runtime:
            runtime.submit(0, {"sound": LOUD})
            found.extend(run.error for run in one(runtime.drain()).stages if run.outcome == "failed")

    thread = threading.Thread(target=replay)
    thread.start()
    thread.join()
    assert found == ["KeyboardInterrupt"]


@pytest.mark.parametrize("submits", [0, 1, 3])
def test_frames_in_flight_at_the_end_have_their_results(submits: int) -> None:
    with hanging() as (runtime, _):
        for _ in range(submits):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        runtime.close(timeout_s=0)
        results = runtime.results()
        runtime.close(timeout_s=0)
        assert runtime.results() == ()
        with pytest.raises(InputError, match="closed"):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
    assert [result.frame for result in results] == list(range(1 + submits))
    for result in results:
        assert result.graphs[0].outcome == "failed"
        assert result.reason == "the runtime was closed before it ended"
    done = [run.stage for run in results[0].stages if run.outcome == "done"]
    assert done == ["sound", "gate"], "what it cost so far is told"


def test_frames_in_flight_in_virtual_time_have_their_results() -> None:
    with simulated() as runtime:
        runtime.submit(0, {"sound": LOUD})
    assert one(runtime.results()).reason == "the runtime was closed before it ended"


def test_a_submit_that_waits_for_its_release_hears_of_the_end() -> None:
    errors: list[LeoError] = []
    runtime = live(fast=FakeBackend())
    runtime.submit(0, {"sound": QUIET})

    def submit() -> None:
        try:
            runtime.submit(10**10, {"sound": LOUD}, graphs=("loud",), wait=True)
        except LeoError as error:
            errors.append(error)

    waiting = threading.Thread(target=submit)
    waiting.start()
    assert len(runtime.drain()) == 1, "nobody waits for it"
    runtime.close()
    waiting.join()
    assert [(type(error), str(error)) for error in errors] == [(ClosedError, "the runtime is closed")]
    assert runtime.results() == ()


def test_draining_has_an_end() -> None:
    with hanging() as (runtime, fast):
        with pytest.raises(DrainTimeoutError, match=r"after 0 s, these are in flight: 0(?m:$)") as caught:
            runtime.drain(timeout_s=0)
        assert isinstance(caught.value, TimeoutError)
        assert "results()" in caught.value.hint
        fast.let_go.set()
        assert one(runtime.drain(timeout_s=600)).graphs[0].label == "loud"


def test_draining_in_virtual_time_has_an_end() -> None:
    with simulated() as runtime:
        runtime.submit(0, {"sound": LOUD})
        with pytest.raises(DrainTimeoutError):
            runtime.drain(timeout_s=0)
        assert one(runtime.drain(timeout_s=600)).graphs[0].outcome == "done"


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_a_kernel_that_drains_fails_its_stage_instead_of_waiting_for_itself(kind: str) -> None:
    class Draining(FakeBackend):
        def load(self, stage: BoundStage, variant: str, /) -> Any:
            kernel = super().load(stage, variant)

            def drain(inputs: Sequence[np.ndarray]) -> np.ndarray:
                if inputs[0].any():
                    runtime.drain()
                return kernel(inputs)

            return drain if stage.name == "scores" else kernel

    fast = Draining()
    virtual = partial(simulated, solver=everything_on("fast"), backends=fake_backends(fast=fast))
    with live(fast=fast) if kind == "real" else virtual() as runtime:
        runtime.submit(0, {"sound": LOUD})
        result = one(runtime.drain(timeout_s=600))
    (failed,) = [run for run in result.stages if run.outcome == "failed"]
    assert failed.error.startswith("InputError: drain is called from within a kernel")


def test_a_forked_process_is_told_that_the_threads_are_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with live(fast=FakeBackend()) as runtime:
        runtime.submit(0, {"sound": LOUD})
        runtime.drain()
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            with pytest.raises(InputError, match="the runtime's threads are in process"):
                runtime.drain()
            with pytest.raises(InputError, match="threads are in process"):
                runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        assert one(runtime.drain()).graphs[0].label == "loud"


def problems_of(asked: list[Problem], solver: str = "heft") -> Callable[[Problem], Placement]:
    def solving(problem: Problem) -> Placement:
        asked.append(problem)
        return solve(problem, solver)

    return solving


def used(runtime: Runtime, frame: int) -> set[str]:
    """Where `scores` of a frame was planned."""
    (found,) = [event for _, event in runtime.history(frame) if isinstance(event, FrameAdmitted)]
    return {run.resource for run in found.plan.placement.stages if run.stage == "scores"}


@pytest.mark.parametrize("solver", ["heft", everything_on("fast")], ids=["soonest", "cheapest"])
def test_a_lane_that_hangs_is_not_planned_on_beside_one_that_is_idle(solver: Any) -> None:
    """`scores` takes 20 us on `fast` and 100 on `cpu`, and has hung on `fast` for 790 ms."""
    clock = VirtualClock()
    with hanging(clock=clock, solver=solver) as (runtime, _):
        assert used(runtime, 0) == {"fast"}
        for frame in range(1, 5):
            runtime.submit(790_000 + frame, {"sound": LOUD}, graphs=("loud",), wait=True)
            assert used(runtime, frame) == {"cpu"}


def test_a_lane_that_hangs_is_planned_on_where_there_is_nothing_else() -> None:
    clock = VirtualClock()
    with hanging(clock=clock, solver="heft") as (runtime, _):
        runtime.lose("cpu")
        runtime.submit(790_000, {"sound": QUIET}, graphs=("loud",), wait=True)
        runtime.close(timeout_s=0)
        assert runtime.results()[1].reason == (
            "stage `sound` has no processor left that could run it, as `cpu` is lost; a mode on another one would let "
            "it run"
        )
    fast = Hanging(EVERY_TIME)
    costs = profile().model_copy(
        update={"costs": (*profile().costs, profile().costs[0].model_copy(update={"processor": "fast"}))}
    )
    given = fake_backends(fast=fast)
    runtime = Runtime.live(
        workload(loud_graph(deadline_us=LONG_US)), bench(), costs, solver="heft", backends=given, clock=VirtualClock()
    )
    try:
        runtime.lose("cpu")
        runtime.submit(0, {"sound": LOUD})
        fast.hung.wait()
        runtime.submit(790_000, {"sound": QUIET}, graphs=("loud",), wait=True)
        assert used(runtime, 1) == {"fast"}
    finally:
        fast.let_go.set()
        runtime.close()


def test_a_late_lane_is_asked_for_as_busy_as_it_is_late() -> None:
    clock = VirtualClock()
    asked: list[Problem] = []
    with hanging(clock=clock, solver=problems_of(asked)) as (runtime, _):
        runtime.submit(50_000, {"sound": QUIET}, graphs=("loud",), wait=True)
        (begun_us,) = [
            at_us for at_us, what in runtime.history(0) if isinstance(what, RunStage) and what.resource == "fast"
        ]
    (fast,) = [resource for resource in asked[1].resources if resource.name == "fast"]
    assert fast.ready_us == (50_000 - (begun_us + 20),)


def test_a_processor_lost_and_found_still_has_its_abandoned_run() -> None:
    with hanging() as (runtime, fast):
        runtime.lose("fast")
        first = one(runtime.drain())
        assert first.graphs[0].label == "loud"
        runtime.restore("fast")
        assert runtime.lost == ()
        runtime.submit(runtime.now_us, {"sound": QUIET}, graphs=("loud",))
        runtime.drain()
        runtime.submit(runtime.now_us, {"sound": LOUD}, graphs=("loud",))
        with pytest.raises(DrainTimeoutError):
            runtime.drain(timeout_s=0)
        fast.let_go.set()
        second = one(runtime.drain())
    assert second.graphs[0].label == "loud"
    (estimate,) = [e for e in runtime.drift() if (e.stage, e.resource) == ("scores", "fast")]
    assert estimate.runs == 1, "the abandoned run is nobody's"


class Wrong(Dispatcher):
    """Makes a mistake when the second stage ends."""

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        if isinstance(event, StageEnded) and event.stage == "gate":
            raise ArithmeticError("it cannot count")
        return super().handle(event)


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_where_the_runtime_itself_goes_wrong_every_frame_has_its_result(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leo_runtime.runtime.parts.Dispatcher", Wrong)
    graph = loud_graph(deadline_us=LONG_US)
    with simulated(graph) if kind == "virtual" else live(fast=FakeBackend()) as runtime:
        runtime.submit(0, {"sound": LOUD})
        with pytest.raises(ArithmeticError, match="it cannot count"):
            runtime.drain()
        assert one(runtime.results()).reason == "the runtime failed (ArithmeticError: it cannot count)"
        with pytest.raises(ArithmeticError):
            runtime.submit(1000, {"sound": LOUD})
    assert runtime.results() == ()


def test_results_that_nobody_asks_for_are_dropped_and_counted() -> None:
    with simulated(max_results=3) as runtime:
        for frame in range(8):
            runtime.submit(frame * 1000, {"sound": LOUD})
        results = runtime.drain()
        assert [result.frame for result in results] == [5, 6, 7]
        assert runtime.results_dropped == 5
        runtime.submit(9000, {"sound": LOUD})
        assert len(runtime.drain()) == 1
    assert runtime.results_dropped == 5


@pytest.mark.parametrize("name", ["max_results", "max_in_flight"])
def test_options_leave_room_for_something(name: str) -> None:
    with pytest.raises(InputError, match=f"`{name}` is at least 1, got 0"):
        simulated(**{name: 0})


def test_options_are_one_value_that_keywords_change() -> None:
    chosen = RuntimeOptions(solver="heft", max_results=1)
    given = fake_backends()
    runtime = Runtime.simulated(workload(loud_graph()), bench(), profile(), chosen, backends=given, max_in_flight=3)
    with runtime:
        for frame in range(2):
            runtime.submit(frame * 1000, {"sound": LOUD})
        assert len(runtime.drain()) == 1
    assert chosen == RuntimeOptions(solver="heft", max_results=1)
    with pytest.raises(TypeError, match="no option `patience` of a runtime; there are solver, limit_ms"):
        Runtime.live(workload(loud_graph()), bench(), profile(), patience=3)


def test_type_checkers_know_every_option() -> None:
    assert list(OptionChanges.__annotations__) == [field.name for field in fields(RuntimeOptions)]
    told = [kind.__forward_arg__ for kind in OptionChanges.__annotations__.values()]
    assert told == [field.type for field in fields(RuntimeOptions)]


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_backends_are_closed_where_what_follows_fails(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeBackend] = []

    def create(_processor: Processor) -> FakeBackend:
        made.append(FakeBackend())
        return made[-1]

    monkeypatch.setattr(registry, "create", create)
    make = Runtime.simulated if kind == "virtual" else Runtime.live
    wrong = loud_graph()
    assert wrong.decision is not None
    wrong = wrong.model_copy(
        update={"decision": wrong.decision.model_copy(update={"labels": ("one",), "background": None})}
    )
    costless = profile().model_copy(update={"costs": ()})
    for graph, costs, error in ((wrong, profile(), GraphError), (loud_graph(), costless, ProfileError)):
        made.clear()
        with pytest.raises(error):
            make(workload(graph), bench(), costs)
        assert [backend.closed for backend in made] == [1, 1]
    made.clear()
    with make(workload(loud_graph()), bench(), profile()):
        pass
    assert [backend.closed for backend in made] == [1, 1]


def test_a_backend_that_cannot_be_closed_does_not_keep_the_others_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeBackend] = []

    class Stuck(FakeBackend):
        def close(self) -> None:
            super().close()
            raise BackendError("it is stuck")

    def create(_processor: Processor) -> FakeBackend:
        made.append(Stuck())
        return made[-1]

    monkeypatch.setattr(registry, "create", create)
    runtime = Runtime.simulated(workload(loud_graph()), bench(), profile())
    with pytest.raises(BackendError, match="stuck"):
        runtime.close()
    assert [backend.closed for backend in made] == [1, 1]


class Breaking(VirtualClock):
    """Raises from the moment it is told to, in threads of these names."""

    def __init__(self, threads: str = "") -> None:
        super().__init__()
        self.threads = threads
        self.broken = False

    def now_us(self) -> int:
        if self.broken and threading.current_thread().name.startswith(self.threads):
            raise OSError("no time")
        return super().now_us()


@pytest.mark.parametrize("threads", ["leo fast", ""])
def test_a_clock_that_breaks_ends_no_lane_in_silence(threads: str) -> None:
    """The lane's thread was gone, and whoever drained waited for good."""
    clock = Breaking(threads)
    with hanging(clock=clock) as (runtime, fast):
        clock.broken = True
        fast.let_go.set()
        with pytest.raises(OSError, match="no time"):
            runtime.drain()
        assert one(runtime.results()).reason == "the runtime failed (OSError: no time)"
        assert runtime.results() == ()


def test_a_clock_that_breaks_before_the_end_keeps_no_thread_and_no_result() -> None:
    clock = Breaking()
    with hanging(clock=clock) as (runtime, fast):
        clock.broken = True
        runtime.close(0.0)
        assert one(runtime.results()).reason == "the runtime failed (OSError: no time)"
        fast.let_go.set()


def test_a_kernel_that_hangs_in_virtual_time_keeps_nobody_else() -> None:
    """Whoever drains for a while, or closes, waited for it for good."""
    fast = Hanging(EVERY_TIME)
    runtime = simulated(solver=everything_on("fast"), backends=fake_backends(fast=fast))
    runtime.submit(0, {"sound": LOUD})
    drained: list[object] = []
    thread = threading.Thread(target=lambda: drained.append(runtime.drain()))
    thread.start()
    fast.hung.wait()
    with pytest.raises(DrainTimeoutError):
        runtime.drain(timeout_s=0)
    runtime.close(0.0)
    assert one(runtime.results()).reason == "the runtime was closed before it ended"
    fast.let_go.set()
    thread.join()
    assert drained == [()]
    assert runtime.results() == ()


@pytest.mark.parametrize("release_us", [10**19, 1_764_374_400 * 10**9, 10**16 + 1])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("make", [simulated, lambda: live(fast=FakeBackend())])
def test_a_release_in_nanoseconds_is_refused_and_nothing_after_it(
    make: Callable[[], Runtime], batch: bool, release_us: int
) -> None:
    with make() as runtime:
        with pytest.raises(InputError, match=f"released at {release_us} us, which is after 1e\\+16") as error:
            if batch:
                runtime.submit_batch([(0, {"sound": LOUD}), (release_us, {"sound": LOUD})], graphs=["loud"])
            else:
                runtime.submit(release_us, {"sound": LOUD}, graphs=["loud"])
        assert error.value.hint == "releases are in microseconds: divide one in nanoseconds by 1000"
        assert runtime.submit(0, {"sound": LOUD}) == 0
        assert len(runtime.drain()) == 1


def test_in_real_time_no_frame_is_waited_for_longer_than_a_day() -> None:
    with live(fast=FakeBackend()) as runtime:
        first_us = 1_764_374_400 * 10**6  # Any time may be counted from, so the first frame is always now.
        runtime.submit(first_us, {"sound": QUIET}, graphs=["loud"])
        for wrong_us in (first_us + 2 * MAX_AHEAD_US, 1000 * first_us // 999):
            with pytest.raises(InputError, match=r"us from now, which is more than a day") as error:
                runtime.submit(wrong_us, {"sound": QUIET}, graphs=["loud"])
            assert "microseconds" in error.value.hint
        assert runtime.submit(first_us + 1, {"sound": QUIET}, graphs=["loud"]) == 1
        assert len(runtime.drain()) == 2


def test_a_frame_that_is_refused_in_its_turn_does_not_move_the_last_release() -> None:
    def fails_first(problem: Problem) -> Placement:
        asked.append(problem)
        if len(asked) == 1:
            raise ValueError("not yet")
        return solve(problem)

    asked: list[Problem] = []
    with simulated(solver=fails_first) as runtime:
        with pytest.raises(LeoError, match="not yet"):
            runtime.submit(2000, {"sound": LOUD}, graphs=["loud"])
        assert runtime.submit(1000, {"sound": LOUD}, graphs=["loud"]) == 0
        assert runtime.drain()[0].release_us == 1000


def test_a_frame_that_still_waits_does_not_move_the_last_release() -> None:
    """Who submits meanwhile waits for its turn, in which the time has come."""
    entered, go_on = threading.Event(), threading.Event()

    class Held(VirtualClock):
        def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
            if at_us == 2000 and threading.current_thread() is waiting:
                entered.set()
                go_on.wait()
            return super().wait_until_us(at_us, interrupt)

    numbers: list[int] = []
    with live(fast=FakeBackend(), clock=Held()) as runtime:
        runtime.submit(0, {"sound": QUIET}, graphs=["loud"])
        waiting = threading.Thread(
            target=lambda: numbers.append(runtime.submit(2000, {"sound": QUIET}, graphs=["loud"], wait=True))
        )
        waiting.start()
        entered.wait()
        assert runtime._last_release_us == 0
        go_on.set()
        waiting.join()
        assert (numbers, runtime._last_release_us) == ([1], 2000)


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
def test_an_interrupt_while_results_are_made_loses_none(
    make: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All frames that had ended were lost with the one at which it came."""
    made = (workload(loud_graph(deadline_us=LONG_US)), bench(), profile())
    # In real time the results of frames that have ended are made with the next submit.
    at = 2 if make == Runtime.live else 1
    with make(*made, solver="heft", backends=fake_backends()) as runtime:
        for _ in range(3):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        of, interrupts = Results.of, [KeyboardInterrupt()]

        def interrupted(self: Results, submitted: Submitted, done: FrameDone, values: Any) -> Any:
            if done.frame == at and interrupts:
                raise interrupts.pop()
            return of(self, submitted, done, values)

        monkeypatch.setattr(Results, "of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runtime.drain()
        assert sorted(result.frame for result in runtime.drain()) == [0, 1, 2]
        assert sum(estimate.runs for estimate in runtime.drift()) == 9, "each once"


def test_a_result_that_cannot_be_made_says_so_and_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Results.of

    def broken(self: Results, submitted: Submitted, done: FrameDone, values: Any) -> Any:
        if done.frame == 1:
            raise ValueError("odd")
        return of(self, submitted, done, values)

    monkeypatch.setattr(Results, "of", broken)
    with simulated(loud_graph(deadline_us=LONG_US)) as runtime:
        for _ in range(3):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        results = runtime.drain()
    assert [result.frame for result in results] == [0, 1, 2]
    assert [result.reason for result in results] == ["", "the runtime failed (ValueError: odd)", ""]


def test_all_that_close_waits_for_has_one_time_together(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = simulated(loud_graph(deadline_us=LONG_US), window_stages=8)
    runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
    assert runtime._driver is not None and runtime._now.horizon is not None
    now_ns = [0]
    waited_s: list[float] = []
    monkeypatch.setattr(clock.time, "monotonic_ns", lambda: now_ns[0])

    def kernel_that_hangs(timeout_s: float, why: str) -> None:
        waited_s.append(timeout_s)
        now_ns[0] += 3_000_000_000

    monkeypatch.setattr(runtime._driver, "close", kernel_that_hangs)
    monkeypatch.setattr(runtime._now.horizon, "close", waited_s.append)
    runtime.close(timeout_s=5)
    assert waited_s == [5, 2]


@pytest.mark.parametrize("make", [simulated, lambda: live(fast=FakeBackend())])
def test_a_closed_runtime_says_so_before_anything_else(make: Callable[[], Runtime]) -> None:
    """A thread that submits until it is told so met other errors for ever."""
    runtime = make()
    runtime.close()
    for release_us, windows in ((1, {}), (0, {}), ("soon", None)):
        with pytest.raises(ClosedError):
            runtime.submit(release_us, windows)  # type: ignore[arg-type]
        with pytest.raises(ClosedError):
            runtime.submit_batch([(release_us, windows)])  # type: ignore[list-item]


def let_go(make: Callable[[], Runtime], *, by_collector: bool = False) -> None:
    """Make a runtime, let go of it, and wait for the end of its threads, of which one may be the last to let go."""
    before = {*threading.enumerate()}
    runtimes = [make()]
    own = {*threading.enumerate()} - before
    assert own
    with pytest.warns(ResourceWarning, match="a Runtime of workload `test` was let go of and not closed"):
        if by_collector:
            runtimes.append(runtimes)  # type: ignore[arg-type]  # it holds itself
            del runtimes
            gc.collect()
        else:
            runtimes.clear()
        for thread in own:
            thread.join(timeout=60)
        for thread in {*threading.enumerate()} - before:
            thread.join(timeout=60)
    assert {*threading.enumerate()} <= before


@pytest.mark.parametrize("live_too", [False, True], ids=["virtual", "live"])
def test_a_runtime_that_is_let_go_of_closes_itself_and_warns(live_too: bool) -> None:
    """No thread of it is left, also none for subscribers, and every frame has its result."""
    ended: list[FrameResult] = []

    def made() -> Runtime:
        runtime = live(fast=FakeBackend()) if live_too else simulated(loud_graph(deadline_us=LONG_US))
        runtime.subscribe(ended.append)
        asyncio.run(asubmitted(runtime))
        runtime.drain()
        if live_too:
            runtime.submit(3_000_000_000, {"sound": LOUD}, graphs=("loud",))
        return runtime

    async def asubmitted(runtime: Runtime) -> None:
        await runtime.asubmit(0, {"sound": LOUD}, graphs=("loud",))

    gc.disable()
    try:
        let_go(made)
    finally:
        gc.enable()
    assert [frame.reason for frame in ended] == ["", *["the runtime was closed before it ended"] * live_too]


def test_a_runtime_that_the_collector_finds_closes_itself() -> None:
    ended: list[FrameResult] = []

    def made() -> Runtime:
        runtime = live(fast=FakeBackend())
        runtime.subscribe(ended.append)
        runtime.submit(0, {"sound": LOUD})
        runtime.drain()
        runtime.submit(3_000_000_000, {"sound": LOUD}, graphs=("loud",))
        return runtime

    let_go(made, by_collector=True)
    assert [frame.reason for frame in ended] == ["", "the runtime was closed before it ended"]


def test_a_runtime_without_threads_is_let_go_of_in_silence() -> None:
    for make in (lambda: live(fast=FakeBackend()), lambda: simulated(loud_graph(deadline_us=LONG_US))):
        make()
    with live(fast=FakeBackend()) as runtime:
        runtime.submit(0, {"sound": LOUD})
    del runtime
    gc.collect()

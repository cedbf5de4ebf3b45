"""Many threads at one runtime, and threads of Python that change at every chance: nothing is lost, nothing is twice."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import pytest

from leo_runtime.clock import VirtualClock
from leo_runtime.dispatch.executor import Executor
from leo_runtime.dispatch.simulator import Simulator
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import InputError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime import parts
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.turns import Turns
from leo_runtime.solver import solve
from test_runtime import LOUD, SAMPLES, FakeBackend, bench, fake_backends, loud_graph, profile, workload

SUBMITTING, COLLECTING, LOOKING = 3, 2, 1


@pytest.fixture(autouse=True)
def _threads_change_at_every_chance() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def graph() -> TaskGraph:
    return loud_graph(deadline_us=10**12)


def at_once(*works: Callable[[], None]) -> None:
    """Run all of them, each in a thread that begins when all are there. Raises what the first one raised."""
    errors: list[BaseException] = []
    all_there = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        try:
            all_there.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def runtime_of(kind: str, **options: Any) -> Runtime:
    made = Runtime.simulated if kind == "virtual" else Runtime.live
    return made(workload(graph()), bench(), profile(), solver="cpu-only", backends=fake_backends(), **options)


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "frames", "max_in_flight"),
    [("virtual", 350, 10_000), ("virtual", 350, 16), ("real", 350, 10_000), ("real", 1000, 16)],
)
def test_frames_of_many_threads_all_come_back_once(kind: str, frames: int, max_in_flight: int) -> None:
    """Each frame finds its own number, as the mean of its sound."""
    runtime = runtime_of(kind, max_in_flight=max_in_flight)
    numbers: dict[int, int] = {}
    collected: list[FrameResult] = []
    submitted, done = threading.Event(), threading.Semaphore(0)

    def submit(of: int) -> Callable[[], None]:
        def work() -> None:
            sound = np.zeros(SAMPLES, np.int16)
            for at in range(frames):
                value = 1 + of * frames + at
                sound[...] = value  # The same buffer every time.
                numbers[runtime.submit(0, {"sound": sound}, graphs=("loud",))] = value
            done.release()

        return work

    def collect() -> None:
        while not submitted.is_set():
            collected.extend(runtime.results())

    def look() -> None:
        for _ in range(100):
            assert runtime.now_us >= 0
            runtime.drift()
            runtime.history(len(numbers))
            assert runtime.lost in ((), ("fast",))
            runtime.lose("fast")
            runtime.restore("fast")

    def wait() -> None:
        for _ in range(SUBMITTING):
            done.acquire()
        submitted.set()

    works = [submit(of) for of in range(SUBMITTING)] + [collect] * COLLECTING + [look] * LOOKING + [wait]
    with runtime:
        at_once(*works)
        collected.extend(runtime.drain())
    collected.extend(runtime.results())
    assert Counter(result.frame for result in collected) == Counter(range(SUBMITTING * frames))
    assert sorted(numbers) == list(range(SUBMITTING * frames))
    assert runtime.results_dropped == 0
    for result in collected:
        (answer,) = result.graphs
        if answer.outcome == "done":
            assert answer.outputs["scores"][0] == numbers[result.frame]
    answered = sum(result.graphs[0].outcome == "done" for result in collected)
    assert answered + runtime.skipped == SUBMITTING * frames


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_one_driver_is_made_however_many_come_first(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class CountedExecutor(Executor):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(self)
            super().__init__(*args, **options)

    class CountedSimulator(Simulator):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(parts, "Executor", CountedExecutor)
    monkeypatch.setattr(parts, "Simulator", CountedSimulator)
    for _ in range(10):
        made.clear()
        with runtime_of(kind) as runtime:
            at_once(*[lambda: runtime.submit(0, {"sound": LOUD}, graphs=("loud",))] * 4, lambda: runtime.lose("fast"))
            assert len(made) == 1
            assert runtime.lost == ("fast",)
            assert len(runtime.drain()) == 4


def test_nobody_waits_for_who_waits_for_a_release_or_a_solver() -> None:
    """While one `submit` is in its solver and one behind it, all else answers."""
    solving, solved = threading.Event(), threading.Event()

    def solver(problem: Problem) -> Placement:
        if solving.is_set():
            return solve(problem, "heft")
        solving.set()
        solved.wait()
        return solve(problem, "heft")

    class Stopped(VirtualClock):
        """Stands still, and waits for an hour that comes only when it is let."""

        def wait_until_us(self, at_us: int, interrupt: threading.Event | None = None) -> bool:
            if at_us >= 3_600_000_000:
                waiting.set()
                hour.wait()
            return super().wait_until_us(at_us, interrupt)

    waiting, hour = threading.Event(), threading.Event()
    runtime = Runtime.live(
        workload(graph()), bench(), profile(), solver=solver, backends=fake_backends(), clock=Stopped()
    )
    frames: list[int] = []

    def submit(release_us: int) -> threading.Thread:
        def work() -> None:
            frames.append(runtime.submit(release_us, {"sound": LOUD}, graphs=("loud",), wait=True))

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def everything_else() -> None:
        assert runtime.results() == runtime.drain() == ()
        runtime.drift(), runtime.lost, runtime.history(0), runtime.now_us
        runtime.lose("fast"), runtime.restore("fast")

    with runtime:
        first = submit(0)
        solving.wait()
        everything_else()
        solved.set()
        first.join()
        assert [result.frame for result in runtime.drain()] == [0]
        second = submit(3_600_000_000)
        waiting.wait()
        everything_else()
        third = submit(3_600_000_000)
        hour.set()
        second.join()
        third.join()
        assert [result.frame for result in runtime.drain()] == [1, 2]
    assert frames == [0, 1, 2]


def test_who_closes_while_others_submit_loses_nothing() -> None:
    for _ in range(20):
        runtime = runtime_of("real")
        taken: list[int] = []

        def submit(runtime: Runtime = runtime, taken: list[int] = taken) -> None:
            for _ in range(50):
                try:
                    taken.append(runtime.submit(0, {"sound": LOUD}, graphs=("loud",)))
                except InputError:
                    return

        at_once(submit, submit, runtime.close, runtime.close)
        assert sorted(result.frame for result in runtime.results()) == sorted(taken)


def test_every_method_says_from_which_threads_it_may_be_called() -> None:
    for name, method in vars(Runtime).items():
        if name.startswith("_") or isinstance(method, classmethod):
            continue
        if callable(method) or isinstance(method, property):
            assert "any thread" in (method.__doc__ or "").lower(), name


def test_turns_are_had_in_the_order_of_the_tickets() -> None:
    turns = Turns()
    had: list[int] = []
    queued = [threading.Event() for _ in range(6)]

    def work(number: int) -> Callable[[], None]:
        def take() -> None:
            with turns.turn() as turn:
                if number:
                    queued[number - 1].wait()
                assert not turns.mine()
                turn.queue()
                queued[number].set()
                turn.wait()
                assert turns.mine()
                had.append(number)
                if number == 2:
                    raise KeyboardInterrupt

        return take

    with pytest.raises(KeyboardInterrupt):
        at_once(*[work(number) for number in (3, 1, 5, 0, 4, 2)])
    assert had == list(range(6))


def test_a_turn_that_nobody_waited_for_is_given_up() -> None:
    """A Ctrl-C may come between any two lines."""
    turns = Turns()
    with pytest.raises(KeyboardInterrupt), turns.turn() as turn:
        turn.queue()
        raise KeyboardInterrupt
    assert not turns.mine()
    with pytest.raises(KeyboardInterrupt), turns.turn():
        raise KeyboardInterrupt
    with turns.turn() as turn:
        turn.queue()
        turn.wait()


def test_who_leaves_the_queue_keeps_nobody_behind() -> None:
    """The first who leaves lets the next one go on, whoever has left between them."""
    turns = Turns()
    first, gone, third = turns.turn(), turns.turn(), turns.turn()
    had: list[str] = []
    with first:
        first.queue()
        first.wait()
        with gone:
            gone.queue()
            third.queue()
        waiting = threading.Thread(target=lambda: (third.wait(), had.append("third")))
        waiting.start()
        assert had == [], "it is not its turn"
    waiting.join()
    assert had == ["third"]
    with third:
        pass
    assert not turns.mine()


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_a_solver_that_submits_does_not_wait_for_itself(kind: str) -> None:
    def solver(problem: Problem) -> Placement:
        with pytest.raises(InputError, match="submitted while another one is"):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        asked.append(problem)
        return solve(problem, "heft")

    asked: list[Problem] = []
    make = Runtime.simulated if kind == "virtual" else Runtime.live
    with make(workload(graph()), bench(), profile(), solver=solver, backends=fake_backends()) as runtime:
        runtime.submit(0, {"sound": LOUD})
        assert [result.frame for result in runtime.drain()] == [0]
    assert len(asked) == 1


class Calling(FakeBackend):
    """Its `scores` calls the runtime once, where the sound is loud."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.calls = [call]

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        kernel = super().load(stage, variant)

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            if stage.name == "scores" and inputs[0].any() and self.calls:
                self.calls.pop()()
            return kernel(inputs)

        return run


@pytest.mark.parametrize("kind", ["virtual", "real"])
@pytest.mark.parametrize("what", ["submit", "drain", "drain for a while", "results", "lose", "restore", "close"])
def test_a_kernel_that_calls_the_runtime_does_not_wait_for_itself(kind: str, what: str) -> None:
    """Whatever comes of the call, every frame has one result."""

    def call() -> None:
        match what:
            case "submit":
                taken.append(runtime.submit(1000, {"sound": LOUD}))
            case "drain":
                runtime.drain()
            case "drain for a while":
                runtime.drain(0.0)
            case "results":
                collected.extend(runtime.results())
            case "lose":
                runtime.lose("fast")
            case "restore":
                runtime.restore("fast")
            case "close":
                runtime.close(0.0)

    collected: list[FrameResult] = []
    given: dict[str, Any] = {"backends": {name: Calling(call) for name in ("cpu", "fast")}, "solver": "cpu-only"}
    made = (workload(graph()), bench(), profile())
    runtime = Runtime.live(*made, **given) if kind == "real" else Runtime.simulated(*made, adapt=True, **given)
    taken: list[int] = []
    for release_us in (0, 1000):
        with suppress(InputError) if what == "close" else nullcontext():
            taken.append(runtime.submit(release_us, {"sound": LOUD}))
    collected.extend(runtime.drain())
    runtime.close()
    collected.extend(runtime.results())
    assert Counter(result.frame for result in collected) == Counter(taken)

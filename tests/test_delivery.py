"""Results as they end: functions that are called, who waits for the next, and who gets what."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import Event, Instruction, StageEnded
from leo_runtime.errors import ClosedError, InputError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.runtime import Runtime
from test_ahead import submitted, told
from test_ending import hanging
from test_runtime import LOUD, bench, fake_backends, loud_graph, one, profile, workload
from test_threads import at_once

KINDS = [Runtime.simulated, Runtime.live]


def made(make: Callable[..., Runtime], **options: Any) -> Runtime:
    given = {"solver": "cpu-only", "backends": fake_backends(), "max_in_flight": 1000, **options}
    return make(workload(loud_graph(deadline_us=10**12)), bench(), profile(), **given)


def frames_of(results: Any) -> list[int]:
    return [result.frame for result in results]


@pytest.mark.parametrize("make", KINDS)
def test_every_subscriber_gets_every_result_and_so_does_who_asks(make: Callable[..., Runtime]) -> None:
    first: list[FrameResult] = []
    second: list[FrameResult] = []
    with made(make) as runtime:
        early = one([runtime.subscribe(first.append)])
        submitted(runtime, *[0] * 50, graphs=["loud"])
        asked = list(runtime.drain())
        runtime.subscribe(second.append)
        submitted(runtime, *[0] * 50, graphs=["loud"])
        asked += runtime.drain()
    assert sorted(frames_of(first)) == frames_of(asked) == list(range(100))
    assert sorted(frames_of(second)) == list(range(50, 100)), "what ended before it came is not its"
    assert first[-50:] == second, "in the same order"
    assert (early.dropped, early.failures, early.calling, early.waiting) == (0, 0, None, 0)


@pytest.mark.parametrize("make", KINDS)
def test_a_function_is_called_though_nobody_asks(make: Callable[..., Runtime]) -> None:
    """Also of a frame that is never placed."""
    called = threading.Semaphore(0)
    results: list[FrameResult] = []

    def call(result: FrameResult) -> None:
        results.append(result)
        called.release()

    with made(make, max_in_flight=1, solver="heft") as runtime:
        runtime.subscribe(call)
        runtime.lose("fast")
        runtime.lose("cpu")
        submitted(runtime, 0)
        called.acquire()
        assert one(results).graphs[0].outcome == "failed"
        runtime.restore("cpu")
        submitted(runtime, 1000)
        if make == Runtime.simulated:  # Nothing comes there by itself.
            runtime.drain()
        called.acquire()
        assert results[1].graphs[0].label == "loud"


def test_a_function_is_called_in_a_thread_of_its_own() -> None:
    threads: list[threading.Thread] = []
    with made(Runtime.live) as runtime:
        for _ in range(2):
            runtime.subscribe(lambda _: threads.append(threading.current_thread()))
        submitted(runtime, 0, 1000)
        runtime.drain()
    assert len(threads) == 4
    assert len(set(threads)) == 2
    assert {thread.name for thread in threads} == {"leo subscriber"}


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_function_that_raises_stops_nothing_and_is_seen(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_of: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told_of.append)
    others: list[FrameResult] = []

    def call(_: FrameResult) -> None:
        raise error

    with made(Runtime.live) as runtime:
        wrong = runtime.subscribe(call)
        runtime.subscribe(others.append)
        submitted(runtime, 0, 1000, 2000)
        assert len(runtime.drain()) == 3
    assert len(others) == 3
    assert (wrong.failures, wrong.dropped) == (3, 0)
    assert wrong.last_failure.startswith(type(error).__name__)
    assert [args.exc_value for args in told_of] == [error], "the first time"
    assert told_of[0].thread.name == "leo subscriber"


def test_a_hook_that_raises_stops_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def hook(_: object) -> None:
        raise ValueError("no hook")

    monkeypatch.setattr(threading, "excepthook", hook)
    with made(Runtime.live) as runtime:
        wrong = runtime.subscribe(lambda _: 1 / 0)
        submitted(runtime, 0, 1000)
        runtime.drain()
    assert wrong.failures == 2


def test_a_function_that_hangs_stops_nothing_and_what_it_loses_is_counted() -> None:
    hangs, let_go = threading.Event(), threading.Event()
    others: list[FrameResult] = []
    late: list[FrameResult] = []

    def call(result: FrameResult) -> None:
        hangs.set()
        let_go.wait()
        late.append(result)

    runtime = made(Runtime.live)
    subscription = runtime.subscribe(call, max_results=3)
    other = runtime.subscribe(others.append)
    submitted(runtime, 0)
    hangs.wait()
    submitted(runtime, *range(1000, 11_000, 1000))
    assert len(runtime.drain()) == 11
    assert subscription.calling == 0
    assert (subscription.dropped, subscription.waiting) == (7, 3)
    runtime.close(timeout_s=0)
    let_go.set()
    for one_of_them in (subscription, other):
        one_of_them.join(60)
    assert len(others) == 11
    assert len(late) == 4, "the newest"
    assert late[-1].frame == others[-1].frame


def test_a_function_that_ends_its_subscription_is_called_no_more() -> None:
    called: list[FrameResult] = []

    def call(result: FrameResult) -> None:
        called.append(result)
        subscription.close()

    with made(Runtime.live) as runtime:
        subscription = runtime.subscribe(call)
        assert runtime.subscriptions == (subscription,)
        submitted(runtime, *[0] * 20, graphs=["loud"])
        runtime.drain()
        subscription.join(60)
        submitted(runtime, 0, graphs=["loud"])
        runtime.drain()
        assert runtime.subscriptions == ()
    assert len(called) == 1
    subscription.close()


def test_a_function_may_call_the_runtime() -> None:
    with made(Runtime.live) as runtime:
        ended = threading.Event()
        numbers: list[int] = []

        def call(result: FrameResult) -> None:
            if result.frame < 5:
                numbers.extend(submitted(runtime, result.release_us + 1000, wait=True))
                runtime.drain(60)
            else:
                runtime.close()
                ended.set()

        runtime.subscribe(call)
        submitted(runtime, 0)
        ended.wait()
    assert numbers == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("call", [None, 5, "print"])
def test_only_a_function_is_called(call: Any) -> None:
    with made(Runtime.simulated) as runtime, pytest.raises(InputError, match="results are given to a function, got"):
        runtime.subscribe(call)


def test_a_coroutine_function_is_refused_with_the_way_out() -> None:
    async def call(_: FrameResult) -> None:
        """Nobody would await it."""

    class Called:
        async def __call__(self, _: FrameResult) -> None:
            """Nor this."""

    with made(Runtime.simulated) as runtime:
        for wrong in (call, Called()):
            with pytest.raises(InputError, match="which nobody would await") as error:
                runtime.subscribe(wrong)
            assert "runtime.answers()" in error.value.hint


@pytest.mark.parametrize("most", [0, -1, 1.5, "x"])
def test_a_queue_has_room_for_something(most: Any) -> None:
    with made(Runtime.simulated) as runtime:
        for take in (runtime.answers, lambda **given: runtime.subscribe(print, **given)):
            with pytest.raises(InputError, match="`max_results` is"):
                take(max_results=most)


def test_a_closed_runtime_has_nothing_to_subscribe_to() -> None:
    runtime = made(Runtime.simulated)
    runtime.close()
    for take in (runtime.answers, lambda: runtime.subscribe(print)):
        with pytest.raises(ClosedError):
            take()


def test_closing_waits_for_the_last_call() -> None:
    with hanging() as (runtime, _):
        results: list[FrameResult] = []
        runtime.subscribe(results.append)
        runtime.close(timeout_s=0.0)
        runtime.subscriptions[0].join(60)
        assert one(results).reason == "the runtime was closed before it ended"


def test_what_subscribers_had_is_not_lost_where_nobody_asks() -> None:
    with made(Runtime.simulated, max_results=2) as runtime:
        submitted(runtime, 0, 1000, 2000, 3000)
        assert runtime.results_dropped == 1
        subscription = runtime.subscribe(lambda _: None, max_results=100)
        submitted(runtime, *range(4000, 14_000, 1000))
        assert len(runtime.drain()) == 2
    assert runtime.results_dropped == 3, "those that had ended before anybody subscribed"
    assert subscription.dropped == 0


# Who waits for the next.


def test_results_waits_for_the_next_frame() -> None:
    found: list[FrameResult] = []
    with told() as (runtime, clock):
        submitted(runtime, 1000)
        waiting = threading.Thread(target=lambda: found.extend(runtime.results(None)))
        waiting.start()
        clock.to(1000)
        waiting.join()
        assert one(found).frame == 1
        assert runtime.results() == ()


def test_results_waits_no_longer_than_it_is_told() -> None:
    with hanging() as (runtime, fast):
        assert runtime.results(timeout_s=0) == runtime.results(timeout_s=1e-9) == ()
        fast.let_go.set()
        assert one(runtime.results(timeout_s=600)).graphs[0].label == "loud"


def test_in_virtual_time_who_waits_lets_it_happen() -> None:
    with made(Runtime.simulated) as runtime:
        assert runtime.results(timeout_s=1e-9) == ()
        submitted(runtime, 0, 1000)
        assert frames_of(runtime.results(timeout_s=600)) == [0]
        assert frames_of(runtime.results(None)) == [1]
        submitted(runtime, 2000)
        assert frames_of(runtime.results(None)) == [2]


@pytest.mark.parametrize("make", KINDS)
def test_who_waits_for_what_cannot_come_is_told(make: Callable[..., Runtime]) -> None:
    runtime = made(make)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            runtime.results(None)
        except ClosedError as error:
            errors.append(error)

    at_once(wait, wait, runtime.close)
    assert len(errors) == 2
    assert runtime.results() == ()


def test_who_waits_when_it_is_closed_has_the_last_frames_first() -> None:
    with hanging() as (runtime, _):
        runtime.close(timeout_s=0)
        assert one(runtime.results(None)).frame == 0
        with pytest.raises(ClosedError):
            runtime.results(None)


def test_who_waits_while_it_is_closed_has_the_last_frames_first() -> None:
    """It was told of the end when that began, and the last frames came after."""
    for _ in range(10):
        with hanging() as (runtime, fast):
            found: list[FrameResult] = []

            def wait(runtime: Runtime = runtime, found: list[FrameResult] = found) -> None:
                with pytest.raises(ClosedError):
                    while True:
                        found += runtime.results(None)

            at_once(wait, runtime.close, fast.let_go.set)
            assert frames_of(found) == [0]


class Wrong(Dispatcher):
    """Makes a mistake when a gate ends."""

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        if isinstance(event, StageEnded) and event.stage == "gate":
            raise ArithmeticError("it cannot count")
        return super().handle(event)


@pytest.mark.parametrize("make", KINDS)
def test_where_the_runtime_goes_wrong_who_waits_has_the_frames_and_then_the_error(
    make: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leo_runtime.runtime.parts.Dispatcher", Wrong)
    results: list[FrameResult] = []
    with made(make) as runtime:
        runtime.subscribe(results.append)
        submitted(runtime, 0)
        with pytest.raises(ArithmeticError):
            runtime.drain()
        assert one(runtime.results(None)).reason == "the runtime failed (ArithmeticError: it cannot count)"
        with pytest.raises(ArithmeticError):
            runtime.results(None)
    assert frames_of(results) == [0]


@pytest.mark.parametrize("make", KINDS)
def test_an_error_that_is_raised_again_and_again_keeps_nothing_of_who_asked(
    make: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each raising adds to its traceback: a daemon that feeds on would fill the memory with its chunks."""
    monkeypatch.setattr("leo_runtime.runtime.parts.Dispatcher", Wrong)
    with made(make) as runtime:
        submitted(runtime, 0)
        with pytest.raises(ArithmeticError):
            runtime.drain()
        runtime.results()
        for ask in (lambda: runtime.submit(0, {}), lambda: runtime.results(None), runtime.drain):
            lengths = []
            for _ in range(3):
                with pytest.raises(ArithmeticError) as raised:
                    ask()
                lengths.append(len(raised.traceback))
            assert lengths[0] == lengths[1] == lengths[2]


def test_subscribers_that_close_the_runtime_do_not_wait_for_each_other() -> None:
    both = threading.Barrier(2)
    closed: list[int] = []

    def close(result: FrameResult) -> None:
        both.wait()
        runtime.close(timeout_s=threading.TIMEOUT_MAX)
        closed.append(result.frame)

    runtime = made(Runtime.live)
    for _ in range(2):
        runtime.subscribe(close)
    submitted(runtime, 0)
    runtime.close(timeout_s=threading.TIMEOUT_MAX)
    assert closed == [0, 0]


def test_who_comes_and_goes_leaves_nothing_though_no_frame_ends() -> None:
    with made(Runtime.live) as runtime:
        for _ in range(100):
            runtime.subscribe(print).close()
            runtime.answers().close()
        assert len(runtime._delivery._subscribers) <= 2


def test_a_mistake_in_what_collects_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the thread that collects for subscribers, and nobody heard anything any more."""
    ended = threading.Event()

    class Listening:
        closed = False

        def give(self, _result: FrameResult) -> bool:
            return True

        def end(self, error: BaseException | None) -> None:
            errors.append(error)
            ended.set()

    errors: list[BaseException | None] = []
    with made(Runtime.live) as runtime:

        def broken() -> None:
            raise ArithmeticError("it cannot count")

        monkeypatch.setattr(runtime._delivery, "_collect", broken)
        with runtime._lock:
            runtime._delivery.add(Listening)
        ended.wait()
    assert [str(error) for error in errors] == ["it cannot count"]


def test_many_who_wait_get_each_frame_once() -> None:
    collected: list[FrameResult] = []
    with made(Runtime.live) as runtime:

        def collect() -> None:
            try:
                while True:
                    collected.extend(runtime.results(None))
            except ClosedError:
                return

        def submit() -> None:
            submitted(runtime, *[0] * 300, graphs=["loud"])
            drained.extend(runtime.drain())
            runtime.close()

        drained: list[FrameResult] = []
        at_once(submit, collect, collect)
        drained.extend(runtime.results())
    assert sorted(frames_of([*collected, *drained])) == list(range(300))


def test_the_sound_of_a_result_is_the_same_for_all() -> None:
    """It cannot be changed, so that it need not be copied."""
    results: list[FrameResult] = []
    with made(Runtime.live) as runtime:
        runtime.subscribe(results.append)
        runtime.submit(0, {"sound": LOUD})
        asked = one(runtime.drain())
    assert one(results) is asked
    with pytest.raises(ValueError, match="read-only"):
        asked.graphs[0].outputs["scores"][0] = 5

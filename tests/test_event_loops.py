"""The runtime from asyncio: `async for` over answers and `await asubmit`, in loops that come and go."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import ClosedError, InputError, SolverError
from leo_runtime.runtime.event_loops import Answers
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve
from test_ahead import submitted, told
from test_delivery import KINDS, Wrong, frames_of, made
from test_ending import hanging
from test_runtime import LOUD, one
from test_threads import at_once


def in_a_loop(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run it, in the debug mode of asyncio, which finds calls from a wrong thread."""
    return asyncio.run(work(), debug=True)


async def all_of(answers: Answers) -> list[int]:
    return [answer.frame async for answer in answers]


@pytest.mark.parametrize("make", KINDS)
def test_answers_come_as_frames_end_and_end_with_the_runtime(make: Callable[..., Runtime]) -> None:
    async def work() -> list[list[int]]:
        runtime = made(make)
        listening = [asyncio.create_task(all_of(runtime.answers())) for _ in range(2)]
        for at_us in range(0, 20_000, 1000):
            await runtime.asubmit(at_us, {"sound": LOUD})
        await asyncio.to_thread(runtime.drain)
        await asyncio.to_thread(runtime.close)
        return await asyncio.gather(*listening)

    for frames in in_a_loop(work):
        assert sorted(frames) == list(range(20)), "each task has all"


def test_what_ended_before_somebody_listened_is_had_all_the_same() -> None:
    async def work() -> list[int]:
        with made(Runtime.live) as runtime:
            answers = runtime.answers()
            await runtime.asubmit(0, {"sound": LOUD})
            await asyncio.to_thread(runtime.drain)
        return await all_of(answers)

    assert in_a_loop(work) == [0]


def test_frames_in_flight_at_the_end_come_before_it() -> None:
    with hanging() as (runtime, _):

        async def work() -> list[int]:
            answers = runtime.answers()
            await asyncio.to_thread(runtime.close, 0)
            return await all_of(answers)

        assert in_a_loop(work) == [0]


def test_tasks_that_share_answers_get_each_once() -> None:
    async def work() -> list[list[int]]:
        with made(Runtime.live) as runtime:
            answers = runtime.answers()
            tasks = [asyncio.create_task(all_of(answers)) for _ in range(3)]
            await asyncio.gather(*[runtime.asubmit(0, {"sound": LOUD}, graphs=["loud"]) for _ in range(30)])
            await asyncio.to_thread(runtime.drain)
        return await asyncio.gather(*tasks)

    assert sorted(frame for frames in in_a_loop(work) for frame in frames) == list(range(30))


def test_answers_that_wait_too_long_are_dropped_and_counted() -> None:
    async def work() -> None:
        with made(Runtime.simulated) as runtime:
            answers = runtime.answers(max_results=3)
            submitted(runtime, *range(0, 10_000, 1000))
            runtime.drain()
        assert await all_of(answers) == [7, 8, 9]
        assert answers.dropped == 7

    in_a_loop(work)


def test_what_went_wrong_in_the_runtime_is_raised_after_the_last_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_runtime.runtime.parts.Dispatcher", Wrong)

    async def work() -> None:
        with made(Runtime.live) as runtime:
            answers = runtime.answers()
            await runtime.asubmit(0, {"sound": LOUD})
            assert (await anext(answers)).reason == "the runtime failed (ArithmeticError: it cannot count)"
            for _ in range(2):
                with pytest.raises(ArithmeticError, match="it cannot count"):
                    await all_of(answers)

    in_a_loop(work)


def test_a_cancelled_async_for_loses_nothing() -> None:
    async def work() -> None:
        heard: list[int] = []

        async def listen() -> None:
            async for answer in answers:
                heard.append(answer.frame)  # noqa: PERF401  # A cancelled comprehension has heard nothing.

        with made(Runtime.simulated) as runtime:
            answers = runtime.answers()
            for at_us in range(0, 5000, 1000):
                listening = asyncio.create_task(listen())
                await asyncio.sleep(0)  # It waits now.
                listening.cancel()
                submitted(runtime, at_us)
                runtime.drain()
                with pytest.raises(asyncio.CancelledError):
                    await listening
            assert len(answers._waiters) <= 1
        assert heard == [0, 1, 2, 3]
        assert await all_of(answers) == [4]

    in_a_loop(work)


def test_who_stops_listening_leaves_nothing_behind() -> None:
    """`break` ends no iterator: what nobody holds is found to be gone."""

    async def work() -> None:
        with made(Runtime.simulated) as runtime:
            submitted(runtime, 0)
            for at_us in range(1000, 4000, 1000):
                answers = runtime.answers()
                submitted(runtime, at_us)
                runtime.drain()
                async for _ in answers:
                    break
            assert len(runtime._delivery._subscribers) <= 2
            del answers
            gc.collect()
            submitted(runtime, 4000)
            runtime.drain()
            assert runtime._delivery._subscribers == []

    in_a_loop(work)


def test_answers_end_where_they_are_closed() -> None:
    async def work() -> None:
        with made(Runtime.simulated) as runtime:
            answers = runtime.answers()
            submitted(runtime, 0)
            runtime.drain()
            listening = asyncio.create_task(all_of(answers))
            threading.Thread(target=answers.close).start()
            assert await listening == [0]
            submitted(runtime, 1000)
            runtime.drain()
            assert await all_of(answers) == []
            assert runtime._delivery._subscribers == []

    in_a_loop(work)


def test_loops_of_other_threads_hear_as_well() -> None:
    heard: dict[int, list[int]] = {}
    with made(Runtime.live) as runtime:
        answers = [runtime.answers() for _ in range(3)]

        def listen(number: int) -> Callable[[], None]:
            def work() -> None:
                heard[number] = asyncio.run(all_of(answers[number]))

            return work

        def submit() -> None:
            async def work() -> None:
                for at_us in range(0, 20_000, 1000):
                    await runtime.asubmit(at_us, {"sound": LOUD})

            asyncio.run(work())
            runtime.drain()
            runtime.close()

        at_once(submit, *[listen(number) for number in range(3)])
    assert [sorted(heard[number]) for number in range(3)] == [list(range(20))] * 3


def test_a_loop_that_is_closed_meanwhile_stops_nothing() -> None:
    """Its tasks are let go of without a word: one listens, one waits for a release."""
    with told() as (runtime, clock):
        answers = runtime.answers()
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            tasks.append(asyncio.ensure_future(anext(answers)))
            tasks.append(asyncio.ensure_future(runtime.asubmit(1000, {"sound": LOUD})))
            while not runtime._ahead.frames:
                await asyncio.sleep(0)

        tasks: list[asyncio.Future[Any]] = []
        loop.run_until_complete(begin())
        loop.close()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # What is tested, not what is complained of.
        clock.to(1000)
        assert one(runtime.results(None)).frame == 1
        tasks.clear()
        del task
        gc.collect()
        submitted(runtime, 2000)
        clock.to(2000)
        runtime.drain()
        runtime.close()
        assert asyncio.run(all_of(answers)) == [1, 2]


def test_a_task_that_is_let_go_of_withdraws_its_frame() -> None:
    with told() as (runtime, _):
        loop = asyncio.new_event_loop()
        waits = runtime.asubmit(1000, {"sound": LOUD})

        async def begin() -> None:
            waits.send(None)
            while not runtime._ahead.frames:
                await asyncio.sleep(0)

        loop.run_until_complete(begin())
        loop.close()
        waits.close()
        assert one(runtime.results(None)).reason == "it was withdrawn before its release"


# Submitting.


def test_asubmit_waits_until_the_frame_has_started_and_the_loop_goes_on() -> None:
    with told() as (runtime, clock):

        async def work() -> None:
            first, second = [asyncio.create_task(runtime.asubmit(at_us, {"sound": LOUD})) for at_us in (1000, 2000)]
            while len(runtime._ahead.frames) < 2:
                await asyncio.sleep(0)
            assert not first.done()
            clock.to(1000)
            assert await first == 1
            assert runtime.history(1), "it has started"
            assert not second.done()
            clock.to(2000)
            assert await second == 2

        in_a_loop(work)
        assert frames_of(runtime.drain()) == [1, 2]


def test_no_solver_holds_up_the_loop() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def solver(problem: Problem) -> Placement:
        asked.set()
        go_on.wait()
        return solve(problem, "heft")

    async def work() -> None:
        with made(Runtime.simulated, solver=solver) as runtime:
            submitting = asyncio.create_task(runtime.asubmit(0, {"sound": LOUD}))
            await asyncio.to_thread(asked.wait)
            go_on.set()
            assert await submitting == 0
            assert len(await asyncio.to_thread(runtime.drain)) == 1

    in_a_loop(work)


def test_a_cancelled_task_withdraws_its_frame() -> None:
    with told() as (runtime, clock):

        async def work() -> None:
            waits = asyncio.create_task(runtime.asubmit(1000, {"sound": LOUD}))
            while not runtime._ahead.frames:
                await asyncio.sleep(0)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            assert one(runtime.results()).reason == "it was withdrawn before its release"
            clock.to(500)
            assert await runtime.asubmit(500, {"sound": LOUD}, graphs=["loud"]) == 2

        in_a_loop(work)
        assert one(runtime.drain()).graphs[0].label == "loud"


def test_a_task_that_is_cancelled_before_its_turn_submits_nothing() -> None:
    solving, solved = threading.Event(), threading.Event()

    def solver(problem: Problem) -> Placement:
        solving.set()
        solved.wait()
        return solve(problem, "heft")

    with made(Runtime.live, solver=solver) as runtime:

        async def work() -> None:
            first = asyncio.create_task(runtime.asubmit(0, {"sound": LOUD}))
            await asyncio.to_thread(solving.wait)
            second = asyncio.create_task(runtime.asubmit(0, {"sound": LOUD}))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            solved.set()
            assert await first == 0
            assert await runtime.asubmit(0, {"sound": LOUD}) == 1

        in_a_loop(work)
        assert frames_of(runtime.drain()) == [0, 1]


def test_a_frame_that_has_started_is_not_withdrawn() -> None:
    async def work() -> None:
        with hanging() as (runtime, fast):
            submitting = asyncio.create_task(runtime.asubmit(0, {"sound": LOUD}, graphs=["loud"]))
            while runtime._count < 2:
                await asyncio.sleep(0)
            submitting.cancel()
            with suppress(asyncio.CancelledError):
                await submitting
            fast.let_go.set()
            assert frames_of(runtime.drain()) == [0, 1]

    in_a_loop(work)


def test_the_order_of_the_calls_is_that_of_the_frames() -> None:
    async def work() -> list[int]:
        with made(Runtime.live) as runtime:
            return await asyncio.gather(*[runtime.asubmit(at_us, {"sound": LOUD}) for at_us in range(0, 50_000, 1000)])

    assert in_a_loop(work) == list(range(50))


def test_what_submitting_raises_is_raised_where_it_is_awaited() -> None:
    def solver(_problem: Problem) -> Placement:
        raise ValueError("no idea")

    async def work() -> None:
        runtime = made(Runtime.live, solver=solver)
        for release_us, windows, kind in (
            (1.5, {"sound": LOUD}, InputError),
            (0, {}, InputError),
            (0, {"sound": LOUD}, SolverError),
        ):
            with pytest.raises(kind):
                await runtime.asubmit(release_us, windows)  # type: ignore[arg-type]  # One of them is wrong.
        runtime.close()
        with pytest.raises(ClosedError):
            await runtime.asubmit(0, {"sound": LOUD})
        assert runtime.results() == ()

    in_a_loop(work)


def test_a_task_hears_of_the_end_while_it_waits() -> None:
    async def work() -> None:
        with told() as (runtime, _):
            waits = asyncio.create_task(runtime.asubmit(1000, {"sound": LOUD}))
            while not runtime._ahead.frames:
                await asyncio.sleep(0)
            runtime.close()
            assert await waits == 1, "it has a number, so it has a result"
            assert one(runtime.results()).reason == "the runtime was closed before it ended"

    in_a_loop(work)

"""What is tried again where the system had no thread left."""

from __future__ import annotations

import threading

import pytest

from leo_runtime.runtime.background import Background
from leo_runtime.runtime.runtime import Runtime
from test_delivery import made
from test_event_loops import in_a_loop
from test_runtime import LOUD

PATIENCE_S = 20


def no_thread_left(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_work_that_can_wait_is_done_when_there_is_a_thread_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    background, done = Background("late", 10), list[str]()
    with monkeypatch.context() as patched:
        no_thread_left(patched, "late")
        background.put(lambda: done.append("never"))
    assert background.failed == 1
    assert str(background.failures[0]) == "can't start new thread"
    background.put(lambda: done.append("then"))
    assert background.wait(PATIENCE_S)
    assert done == ["then"]
    background.close(PATIENCE_S)


def test_asubmit_goes_on_when_there_is_a_thread_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> int:
        with made(Runtime.live) as runtime:
            with monkeypatch.context() as patched:
                no_thread_left(patched, "leo asubmit")
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await runtime.asubmit(1_000, {"sound": LOUD})
            return await runtime.asubmit(1_000, {"sound": LOUD})

    assert in_a_loop(work) == 0


def test_subscribers_hear_when_there_is_a_thread_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = threading.Event()
    with made(Runtime.live) as runtime:
        with monkeypatch.context() as patched:
            no_thread_left(patched, "leo answers")
            with pytest.raises(RuntimeError, match="can't start new thread"):
                runtime.subscribe(lambda result: None)
        runtime.subscribe(lambda result: heard.set())
        runtime.submit(1_000, {"sound": LOUD})
        assert heard.wait(PATIENCE_S)

"""Work that can wait, in one thread that ends with its owner."""

from __future__ import annotations

import threading

from leo_runtime.runtime.background import Background

PATIENCE_S = 20


def test_what_is_put_is_done_in_order() -> None:
    done: list[int] = []
    background = Background("test", 10)
    for number in range(5):
        background.put(lambda number=number: done.append(number))  # type: ignore[misc]
    assert background.wait(PATIENCE_S)
    assert done == [0, 1, 2, 3, 4]
    background.close(PATIENCE_S)


def test_what_goes_wrong_is_counted_and_the_next_is_done() -> None:
    done: list[str] = []
    background = Background("test", 10)
    background.put(lambda: [][0])
    background.put(lambda: done.append("next"))
    assert background.wait(PATIENCE_S)
    assert done == ["next"]
    assert [type(failure) for failure in background.failures] == [IndexError]
    background.close(PATIENCE_S)


def test_of_what_goes_wrong_again_and_again_the_last_is_kept_and_all_is_counted() -> None:
    background = Background("test", 1_000)
    for number in range(100):
        background.put(lambda number=number: [][number])  # type: ignore[misc]
    assert background.wait(PATIENCE_S)
    assert (background.failed, len(background.failures)) == (100, 8)
    background.close(PATIENCE_S)


def test_what_waits_or_is_being_done_is_not_put_again() -> None:
    going, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        going.set()
        go_on.wait(PATIENCE_S)
        done.append("first")

    background = Background("test", 10)
    background.put(first, "a")
    assert going.wait(PATIENCE_S)
    for key in ("a", "b", "b", "a"):
        background.put(lambda key=key: done.append(key), key)  # type: ignore[misc]
    go_on.set()
    assert background.wait(PATIENCE_S)
    assert done == ["first", "b"]
    background.put(lambda: done.append("a"), "a")
    assert background.wait(PATIENCE_S)
    assert done == ["first", "b", "a"]
    background.close(PATIENCE_S)


def test_too_many_are_left_undone_the_oldest_first() -> None:
    going, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        going.set()
        go_on.wait(PATIENCE_S)

    background = Background("test", 2)
    background.put(first)
    assert going.wait(PATIENCE_S)
    for number in range(5):
        background.put(lambda number=number: done.append(number))  # type: ignore[misc]
    go_on.set()
    assert background.wait(PATIENCE_S)
    assert done == [3, 4]
    background.close(PATIENCE_S)


def test_closing_ends_the_thread_and_leaves_undone_what_waits() -> None:
    going, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        going.set()
        go_on.wait(PATIENCE_S)

    background = Background("test of closing", 5)
    background.put(first)
    background.put(lambda: done.append(1))
    assert going.wait(PATIENCE_S)
    background.close(0)
    go_on.set()
    background.close(PATIENCE_S)
    assert done == []
    assert all(thread.name != "test of closing" for thread in threading.enumerate())
    background.put(lambda: done.append(2))
    assert done == []


def test_without_work_there_is_no_thread() -> None:
    background = Background("test of nothing", 5)
    assert background.wait(0)
    assert all(thread.name != "test of nothing" for thread in threading.enumerate())
    background.close(0)

"""Calls of the runtime that are interrupted wherever they are, by a signal whose handler calls it or raises."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from inspect import CO_GENERATOR
from pathlib import Path
from typing import Any

import pytest

import leo_runtime
from leo_runtime.errors import ClosedError
from leo_runtime.runtime.runtime import Runtime
from test_delivery import KINDS, frames_of, made
from test_runtime import LOUD

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no such signals")
PATIENCE_S = 20
OURS = str(Path(leo_runtime.__file__).parent)
POINTS = 40
"""So many of the places at which a call may be interrupted are tried."""


@contextmanager
def handled(handler: Callable[[], object]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, lambda number, _: handler())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def interrupted_at(point: int, call: Callable[[], object]) -> int:
    """Have a signal come as a function of ours is called, or returns; at how many places it may.

    None comes within a generator, since Python drops what is raised where one is let go of, or within `threading`,
    whose conditions stay locked where something is raised just as they are left.
    """
    seen = 0

    def at(frame: Any, event: str, _: object) -> None:
        nonlocal seen
        code = frame.f_code
        ours = code.co_filename.startswith(OURS) and not code.co_flags & CO_GENERATOR
        if event in ("call", "return") and ours:
            seen += 1
            if seen == point:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGUSR1)

    sys.setprofile(at)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


def fed(runtime: Runtime) -> None:
    for at_us in (1_000, 2_000, 3_000):
        runtime.submit(at_us, {"sound": LOUD})
    runtime.results()


def places_of(make: Callable[..., Runtime]) -> range:
    for _ in range(2):  # The first time modules are imported, and more.
        with made(make) as runtime:
            places = interrupted_at(0, partial(fed, runtime))
    return range(1, places, places // POINTS)


@pytest.mark.parametrize("make", KINDS)
def test_a_handler_may_close_it_whatever_it_interrupts(make: Callable[..., Runtime]) -> None:
    for point in places_of(make):
        ended: list[Any] = []
        runtime = made(make)
        runtime.subscribe(ended.append)
        # What is interrupted goes on after the handler, and may hear of the end.
        with handled(runtime.close), suppress(ClosedError):
            interrupted_at(point, partial(fed, runtime))
        runtime.close(PATIENCE_S)
        assert sorted(frames_of(ended)) == [*range(len(ended))], point
        with pytest.raises(ClosedError):
            runtime.submit(4_000, {"sound": LOUD})


def test_a_second_signal_may_come_while_the_first_one_closes_it() -> None:
    with made(Runtime.live) as runtime:
        fed(runtime)
        places = interrupted_at(0, runtime.close)
    for point in range(1, places, max(1, places // POINTS)):
        runtime = made(Runtime.live)
        fed(runtime)
        with handled(runtime.close):
            interrupted_at(point, runtime.close)
        runtime.close(PATIENCE_S)


@pytest.mark.parametrize("make", KINDS)
def test_it_is_closed_whatever_ctrl_c_interrupts(make: Callable[..., Runtime]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    for point in places_of(make):
        runtime = made(make)
        with suppress(KeyboardInterrupt), handled(stop), runtime:
            runtime.subscribe(lambda result: None)
            interrupted_at(point, partial(fed, runtime))
        with pytest.raises(ClosedError):
            runtime.submit(4_000, {"sound": LOUD})


def test_what_nobody_calls_interrupts_nothing() -> None:
    """As what is registered with `atexit` has no caller."""
    code = "import atexit; from test_delivery import made, Runtime; atexit.register(made(Runtime.live).close)"
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tests, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

"""What hangs as it is made ready hangs nobody who makes or changes a runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from leo_runtime.dispatch.limits import RunLimit
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import InputError, KernelError
from leo_runtime.runtime.kernels import Kernels
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.warming import warm_within
from test_runtime import LOUD, FakeBackend, bench, fake_backends, loud_graph, one, other_graph, profile, workload

PATIENCE_S = 60
LIMIT = RunLimit(load_us=300_000)


class HangingFirst(FakeBackend):
    """Its `scores` hangs once as it is loaded, or in a first run, until it is let go."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.let_go = threading.Event()
        self.kernels: list[object] = []

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        kernel = super().load(stage, variant)
        if stage.name != "scores":
            return kernel
        if self.where == "load":
            self.hang()

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            if self.where == "run":
                self.hang()
            return np.asarray(kernel(inputs))

        self.kernels.append(run)
        return run

    def hang(self) -> None:
        self.where = ""
        assert self.let_go.wait(PATIENCE_S)


def end(*hanging: HangingFirst) -> None:
    """Let go, and wait until nobody makes anything ready any more."""
    for backend in hanging:
        backend.let_go.set()
    for thread in threading.enumerate():
        if thread.name == "leo warm-up":
            thread.join(PATIENCE_S)


@pytest.fixture(params=["load", "run"])
def where(request: pytest.FixtureRequest) -> str:
    place: str = request.param
    return place


def test_a_mode_that_hangs_as_it_is_made_ready_is_left_out(where: str) -> None:
    fast = HangingFirst(where)
    given, asked = fake_backends(fast=fast), workload(loud_graph(deadline_us=60_000_000))
    with Runtime.live(asked, bench(), profile(), backends=given, run_limit=LIMIT) as runtime:
        (said,) = [why for (_, resource, _), why in runtime.left_out.items() if resource == "fast"]
        assert "stage `scores` was not ready on `fast` after 0.3 s: it hangs as it is loaded" in said
        assert "RunLimit(load_us=...)" in said
        runtime.submit(0, {"sound": LOUD})
        assert one(runtime.drain(PATIENCE_S)).graphs[0].outcome == "done"
        end(fast)


def test_where_nothing_else_is_there_it_is_said_and_nothing_is_kept_open(where: str) -> None:
    given = {name: HangingFirst(where) for name in ("cpu", "fast")}
    with pytest.raises(KernelError, match=r"`scores` runs on no processor .*was not ready on `cpu` after 0\.3 s"):
        Runtime.live(workload(loud_graph()), bench(), profile(), backends=given, run_limit=LIMIT)
    end(*given.values())


def test_a_change_that_hangs_is_refused_and_the_next_one_has_fresh_kernels(where: str) -> None:
    """The frames of before go on meanwhile, and what comes to its end after all is not used."""
    given = {name: HangingFirst("") for name in ("cpu", "fast")}
    both = workload(other_graph(), loud_graph())
    with Runtime.live(workload(other_graph()), bench(), profile(), backends=given, run_limit=LIMIT) as runtime:
        for backend in given.values():
            backend.where = where
        with pytest.raises(KernelError, match="was not ready"):
            runtime.change(both)
        assert runtime.merged.workload == workload(other_graph())
        end(*given.values())
        before = [kernel for backend in given.values() for kernel in backend.kernels]
        runtime.change(both)
        assert runtime.left_out == {}
        kernels = runtime._now.kernels
        assert kernels is not None
        used = [loaded.kernel for key, loaded in kernels._kernels.items() if key[0] == "scores"]
        assert used and not any(kernel is old for kernel in used for old in before)
        assert kernels._hung == []


@pytest.mark.parametrize("raised", [None, ValueError, SystemExit])
def test_what_comes_to_its_end_as_it_is_given_up_has_come_back_after_that(raised: type[BaseException] | None) -> None:
    class Ending(Kernels):
        def __init__(self) -> None:
            self.let_go, self.happened = threading.Event(), list[str]()

        def warm(self, stage: str, resource: str, variant: str) -> None:
            self.warming = threading.current_thread()
            assert self.let_go.wait(PATIENCE_S)
            if raised is not None:
                raise raised

        def give_up(self, stage: str, resource: str, variant: str) -> None:
            self.let_go.set()
            self.warming.join(PATIENCE_S)
            self.happened.append("given up")

        def came_back(self, stage: str, resource: str, variant: str) -> None:
            self.happened.append("came back")

    kernels = Ending()
    with pytest.raises(KernelError, match="stage `scores` was not ready on `fast`"):
        warm_within(kernels, 100_000, "scores", "fast", "")
    assert kernels.happened == ["given up", "came back"]


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_it_raises_leaves_it_out_and_ends_nothing(raised: type[BaseException]) -> None:
    class Raising(FakeBackend):
        def load(self, stage: BoundStage, variant: str, /) -> Any:
            raise raised("no room")

    given = fake_backends(fast=Raising())
    with Runtime.live(workload(loud_graph()), bench(), profile(), backends=given) as runtime:
        assert {mode.resource for mode in runtime.modes["scores"]} == {"cpu"}
        assert all("no room" in why for why in runtime.left_out.values())


@pytest.mark.parametrize(("limit", "name"), [(RunLimit(), "leo warm-up"), (None, threading.main_thread().name)])
def test_without_a_limit_it_is_waited_for(limit: RunLimit | None, name: str) -> None:
    threads: set[str] = set()

    class Telling(FakeBackend):
        def load(self, stage: BoundStage, variant: str, /) -> Any:
            threads.add(threading.current_thread().name)
            return super().load(stage, variant)

    given = fake_backends(cpu=Telling(), fast=Telling())
    with Runtime.live(workload(loud_graph()), bench(), profile(), backends=given, run_limit=limit):
        assert threads == {name}


@pytest.mark.parametrize("wrong", [lambda: RunLimit(load_us=0), lambda: RunLimit(load_us=1.5)])  # type: ignore[arg-type]
def test_the_limit_is_a_whole_number_of_microseconds(wrong: Callable[[], RunLimit]) -> None:
    with pytest.raises(InputError, match="`load_us` is"):
        wrong()

"""A run in real time through faults that are drawn from a seed: worker processes are killed and stopped.

As `faults`, with the machine's own processors: the kernels of `fragile` run in two worker processes, those of `inner`
in this one, where they only hang, and those of `steady` on a processor that nothing is wrong with. A fault of one of
them makes nothing late of the others.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import numpy as np
import psutil

import fragile
from faults import SECOND_US, Deck, Episode, Judge, Kind, hanging_subscriber, lies_about_its_rate, loses_samples, stalls
from leo_backends.isolated.stages import IsolatedStages
from leo_runtime import Runtime
from leo_runtime.clock import WallClock
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.records import FrameResult

MIC_HZ = 8000
CHUNK_US = 20_000
QUIET_US = 5_000_000
LATE_US = 100_000
"""A machine that is so late makes frames late, whatever the runtime does; so does a process that takes so long to start
since no spare one is there."""


def pipelines() -> Workload:
    """Three of them, each ten times a second."""
    graphs = []
    for number, (name, operator) in enumerate(
        (("fragile", "fragile:fragile"), ("inner", "fragile:hanging"), ("steady", "energy_gate"))
    ):
        made = GraphBuilder(name, period_us=100_000, offset_us=20_000 * number, deadline_us=400_000)
        sound = made.stage(f"{name}-sound", "window", stream=name, samples=800)
        if operator == "energy_gate":
            made.stage(f"{name}-does", operator, sound, threshold_dbfs=-99.0)
        else:
            made.stage(f"{name}-does", operator, sound)
        graphs.append(made.build())
    return Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "live faults",
            "streams": [{"name": one.name, "kind": "audio", "rate_hz": MIC_HZ} for one in graphs],
            "graphs": [one.model_dump(mode="json") for one in graphs],
        }
    )


def machine() -> tuple[Hardware, Profile]:
    """Two processors whose stages run in processes of their own, one for what hangs here, and one for the rest."""
    isolated = {"isolate": ["own"]}
    where = {
        "first": ("fragile:fragile", isolated),
        "second": ("fragile:fragile", isolated),
        "inner": ("fragile:hanging", {}),
        "rest": ("energy_gate", {}),
    }
    hardware = Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "this",
            "processors": [
                {"name": name, "backend": "cpu", "active_mw": 100, "options": options}
                for name, (_, options) in where.items()
            ],
            "links": [
                {"source": one, "target": other, "latency_us": 1}
                for one, other in (("first", "second"), ("second", "first"))
            ],
        }
    )
    profile = Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": "this",
            "hardware": "this",
            "costs": [
                {"processor": name, "operator": operator, "fixed_us": 1000, "source": "modelled: a test"}
                for name, (own, _) in where.items()
                for operator in ("window", own)
            ],
        }
    )
    return hardware, profile


class Source(threading.Thread):
    """A device: samples of a value, fed in real time by a thread of its own, and what may be wrong with it."""

    def __init__(self, run: LiveRun, stream: str) -> None:
        super().__init__(name=f"source {stream}", daemon=True)
        self.run_ = run
        self.stream = stream
        self.value = 1
        self.records = True
        self.keeps = False
        self.ppm = 0
        self.start()

    def run(self) -> None:
        kept, last_us = 0.0, self.run_.clock.now_us()
        while not self.run_.clock.wait_until_us(last_us + CHUNK_US, self.run_.ends):
            now_us = self.run_.clock.now_us()
            if self.records:
                kept += (now_us - last_us) * MIC_HZ * (1 + self.ppm / 1e6) / 1e6
            last_us = now_us
            if kept >= 1 and not self.keeps:
                self.run_.feed(self.stream, np.full(int(kept), self.value, np.int16))
                kept -= int(kept)


class LiveJudge(Judge):
    """Frames that are late with the machine itself are told apart: those from half a second before it was late by a
    quarter of their deadlines, or before a process was being started, to a second after that."""

    def __init__(self) -> None:
        super().__init__(SECOND_US // 2)
        self.excused = 0
        self._late_ones: list[tuple[tuple[Episode, ...], FrameResult, Sequence[str]]] = []
        self._machines: list[Episode] = []

    def machine_is_late(self, begin_us: int, end_us: int, touches: frozenset[str] | None) -> None:
        """It was, or was starting processes for these graphs."""
        self._machines.append(Episode((), touches, begin_us, end_us))

    def finish(self, frames: int) -> int:
        """As of any; only now is it known when the machine was late."""
        for episodes, result, late in self._late_ones:
            if all(self._is_excused(result.release_us, name) for name in late):
                self.excused += 1
                continue
            self._episodes = episodes
            super()._late(result, late)
        return super().finish(frames)

    def _late(self, result: FrameResult, late: Sequence[str]) -> None:
        self._late_ones.append((self._episodes, result, late))

    def _is_excused(self, at_us: int, graph: str) -> bool:
        return any(
            one.begin_us - SECOND_US // 2 <= at_us <= (one.end_us or 0) + SECOND_US
            for one in self._machines
            if one.touches is None or graph in one.touches
        )


class LiveRun:
    """A runtime in real time, and what comes of it."""

    def __init__(self, seed: int, kinds: Sequence[str] = ()) -> None:
        """Only these kinds of faults; none: all."""
        self.kinds = [kind for kind in KINDS if not kinds or kind.name in kinds]
        self.random = Random(seed)
        self.judge = LiveJudge()
        self.ends = threading.Event()
        self.clock = WallClock()
        self.frames = 0
        self.longest_start_us = 0
        """How long a process took that was not there at once, at most."""
        self._lock = threading.Lock()
        hardware, profile = machine()
        self.runtime = Runtime.live(pipelines(), hardware, profile, clock=self.clock, solver="greedy", seed=seed)
        self.runtime.subscribe(self.judge.take)
        self.resident_bytes: list[int] = []

    def go(self, seconds: float) -> None:
        """For so long, and to the end of the last fault."""
        self.sources = {name: Source(self, name) for name in ("fragile", "inner", "steady")}
        watch = threading.Thread(target=self.watch, name="the machine", daemon=True)
        watch.start()
        until_us = self.clock.now_us() + round(seconds * 1e6)
        self.wait(QUIET_US)
        deck = Deck(self.kinds, self.random)
        while self.clock.now_us() < until_us:
            (kind,) = deck.draw(1)
            with self.judge.fault([kind], self.clock.now_us), kind.begin(self):
                self.wait(self.random.randrange(100_000, SECOND_US) if kind.lasts else 0)
            self.wait(QUIET_US)
            self.resident_bytes.append(psutil.Process().memory_info().rss)
        self.ends.set()
        for thread in (*self.sources.values(), watch):
            thread.join()
        self.runtime.drain(timeout_s=60)
        fragile.let_go.set()
        self.runtime.close()
        fragile.let_go.clear()
        self.frames = self.judge.finish(self.frames)

    def watch(self) -> None:
        """The machine's thread: it notes when that is late, and how long processes take that are not there in time."""
        due_us, starting_us = self.clock.now_us() + CHUNK_US, None
        while not self.clock.wait_until_us(due_us, self.ends):
            now_us = self.clock.now_us()
            if now_us - due_us > LATE_US:
                self.judge.machine_is_late(due_us, now_us, None)
            if any(stages.pid is None or stages.loads_again for stages in self.stages()):
                starting_us = now_us if starting_us is None else starting_us
            elif starting_us is not None:
                self.longest_start_us = max(self.longest_start_us, now_us - starting_us)
                if now_us - starting_us > LATE_US:
                    self.judge.machine_is_late(starting_us, now_us, frozenset(["fragile"]))
                starting_us = None
            due_us = now_us + CHUNK_US

    def wait(self, us: int) -> None:
        """In real time."""
        self.clock.wait_until_us(self.clock.now_us() + us)

    def feed(self, stream: str, chunk: np.ndarray) -> None:
        try:
            numbers = self.runtime.feed(stream, chunk)
        except BaseException as error:
            self.judge.problems.append(f"feeding `{stream}`: {error!r}")
            return
        with self._lock:
            self.frames = max([self.frames, *(number + 1 for number in numbers)])

    def stages(self) -> list[IsolatedStages]:
        """What keeps these processes, of either processor that has one."""
        backends: Any = self.runtime._site.machine.backends
        return [backends[name]._backend._isolated[""] for name in ("first", "second")]

    def workers(self) -> list[psutil.Process]:
        """The processes of this one, spare ones as well."""
        found = []
        for one in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # It may have ended meanwhile.
                if "leo_backends.isolated" in " ".join(one.cmdline()):
                    found.append(one)
        return found


KINDS: list[Kind] = []


def fault(
    *touches: str, lasts: bool = True
) -> Callable[[Callable[[LiveRun], Iterator[None]]], Callable[[LiveRun], Iterator[None]]]:
    """Make it a kind of fault, that may make these graphs late (none: all of them), and `lasts` for a while."""

    def decorate(does: Callable[[LiveRun], Iterator[None]]) -> Callable[[LiveRun], Iterator[None]]:
        KINDS.append(Kind(does.__name__.replace("_", " "), contextmanager(does), touches, lasts=lasts))
        return does

    return decorate


def _signals(run: LiveRun, number: int) -> list[psutil.Process]:
    workers = run.workers()
    if workers:
        workers = [run.random.choice(workers)]
    for one in workers:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(one.pid, number)
    return workers


@fault("fragile", lasts=False)
def a_worker_is_killed(run: LiveRun) -> Iterator[None]:
    _signals(run, signal.SIGKILL)
    yield


@fault("fragile", lasts=False)
def workers_are_killed_again_and_again(run: LiveRun) -> Iterator[None]:
    for _ in range(5):
        _signals(run, signal.SIGKILL)
        run.wait(100_000)
    yield


def _kill(pids: Iterable[int | None]) -> None:
    for pid in pids:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@fault("fragile", lasts=False)
def all_workers_at_work_are_killed(run: LiveRun) -> Iterator[None]:
    _kill([stages.pid for stages in run.stages()])
    yield


@fault("fragile", lasts=False)
def all_workers_are_killed_and_the_spare_ones(run: LiveRun) -> Iterator[None]:
    _kill([one.pid for one in run.workers()])
    yield


@fault("fragile")
def a_worker_is_stopped(run: LiveRun) -> Iterator[None]:
    """And goes on in the end, unless it was found out before."""
    stopped = _signals(run, signal.SIGSTOP)
    yield
    for one in stopped:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(one.pid, signal.SIGCONT)


def _heard(run: LiveRun, stream: str, value: int, once: bool = False) -> Iterator[None]:
    """A value that brings it about, `once` or as long as it lasts."""
    run.sources[stream].value = value
    if once:
        run.wait(CHUNK_US)
        run.sources[stream].value = 1
    yield
    run.sources[stream].value = 1
    run.wait(100_000)  # Until it is in no window any more.


@fault("fragile", lasts=False)
def a_worker_aborts(run: LiveRun) -> Iterator[None]:
    """Once: what ends its process again and again is tried more and more rarely."""
    yield from _heard(run, "fragile", fragile.ABORTS, once=True)


@fault("fragile")
def a_kernel_leaves(run: LiveRun) -> Iterator[None]:
    yield from _heard(run, "fragile", fragile.LEAVES)


@fault("fragile")
def a_kernel_gives_nan(run: LiveRun) -> Iterator[None]:
    yield from _heard(run, "fragile", fragile.NAN)


@fault("fragile")
def a_worker_hangs(run: LiveRun) -> Iterator[None]:
    yield from _heard(run, "fragile", fragile.HANGS)


@fault("fragile", lasts=False)
def a_worker_hangs_once(run: LiveRun) -> Iterator[None]:
    yield from _heard(run, "fragile", fragile.HANGS, once=True)


@fault("inner")
def a_thread_hangs(run: LiveRun) -> Iterator[None]:
    yield from _heard(run, "inner", fragile.HANGS)
    fragile.let_go.set()
    run.wait(20_000)
    fragile.let_go.clear()


@fault("fragile", "inner", "steady")
def a_source_stalls_and_hands_over_all_at_once(run: LiveRun) -> Iterator[None]:
    yield from stalls(run.random.choice(list(run.sources.values())))


@fault("fragile", "inner", "steady")
def a_source_loses_samples(run: LiveRun) -> Iterator[None]:
    yield from loses_samples(run.random.choice(list(run.sources.values())))


@fault("fragile", "inner", "steady")
def a_source_lies_about_its_rate(run: LiveRun) -> Iterator[None]:
    yield from lies_about_its_rate(run.random.choice(list(run.sources.values())), run.random)


@fault()
def a_subscriber_hangs(run: LiveRun) -> Iterator[None]:
    yield from hanging_subscriber(run.runtime)


@fault()
def nothing_is_wrong(_run: LiveRun) -> Iterator[None]:
    yield


@fault()
def pipelines_are_given_anew(run: LiveRun) -> Iterator[None]:
    run.runtime.change(pipelines())
    yield

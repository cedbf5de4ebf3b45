"""Runs that are split between this machine and a server, a process of its own, behind a link that is shaped and cut.

The server is killed and started again, and the link cut, at times drawn from a seed. What came of a run is set beside
the same run on this machine alone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np

from leo_runtime.clock import WallClock
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.frame.records import FrameResult, GraphResult
from leo_runtime.operators.outputs import arrays_of
from leo_runtime.runtime.runtime import Runtime
from servers import free_port, serving_process
from shaped_link import ShapedLink

SECOND_US = 1_000_000
NEAR, FAR = "cpu", "cloud"
Kind = Literal["kill", "reset", "silent"]
LOOK_US = 10_000
GIVEN_UP_US = 15 * SECOND_US
KINDS: tuple[Kind, ...] = ("kill", "reset", "silent")
"""The server is killed; the link is cut, and connections break, or nobody is told of it."""


def split(url: str = "", *, latency_us: int = 0, bytes_per_s: int | None = None, lanes: int = 2) -> Hardware:
    """This machine, with a server where there is one, and what its links are said to do.

    A CPU that is awake and waits draws nothing, so that plans send all that comes back in time.
    """
    near = {"name": NEAR, "backend": "cpu", "lanes": lanes, "active_mw": 6_000}
    far = {
        "name": FAR,
        "backend": "remote",
        "remote": True,
        "lanes": lanes,
        "options": {"url": url},
    }
    can = {"latency_us": latency_us, "bytes_per_s": bytes_per_s, "energy_pj_per_byte": 5_000}
    ways = [{"source": NEAR, "target": FAR}, {"source": FAR, "target": NEAR}]
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "split",
            "processors": [near, far] if url else [near],
            "links": [way | can for way in ways if url],
        }
    )


def as_fast_there(near: Profile) -> Profile:
    """The profile of a server that computes as fast as this machine, of which it is the profile."""
    there = [cost.model_copy(update={"processor": FAR}) for cost in near.costs]
    return near.model_copy(update={"costs": (*near.costs, *there)})


class ServerProcess:
    """`leo-runtime serve` on one address, which can be killed and started again."""

    def __init__(self, workload: str) -> None:
        self._workload, self.address = workload, ("127.0.0.1", free_port())
        self._stack = ExitStack()

    def start(self) -> None:
        """It is there as this returns."""
        host, port = self.address
        made = serving_process(self._workload, "--bind", f"{host}:{port}")
        self._process, _ = self._stack.enter_context(made)

    def kill(self) -> None:
        """At once."""
        self._process.send_signal(signal.SIGKILL)
        self._stack.close()

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Fault:
    """One that was, on the run's clock."""

    kind: Kind
    from_us: int
    until_us: int
    """When the server listened again, or the link was whole."""
    back_us: int | None
    """When the server and all its stages were in service after it, or `GIVEN_UP_US` later. None: the run ended."""

    @property
    def lasted_us(self) -> int:
        """So long."""
        return self.until_us - self.from_us

    def touches(self, from_us: int, until_us: int) -> bool:
        """Whether it may have made something late that took from then until then; also what came soon after it may."""
        return from_us <= (self.back_us or self.until_us) + SECOND_US and until_us >= self.from_us


class Faults:
    """A thread that breaks a link and kills its server, at times drawn from a seed, until it is to end."""

    def __init__(
        self,
        runtime: Runtime,
        server: ServerProcess,
        link: ShapedLink,
        random: Random,
        *,
        kinds: Sequence[Kind] = KINDS,
        quiet_us: tuple[int, int] = (2 * SECOND_US, 4 * SECOND_US),
        lasts_us: tuple[int, int] = (SECOND_US // 5, 3 * SECOND_US // 2),
    ) -> None:
        """Each kind comes as often as the others; so long is quiet before each, once the server is in service, and so
        long each lasts."""
        self.found: list[Fault] = []
        self._runtime, self._server, self._link, self._random = runtime, server, link, random
        self._kinds, self._quiet_us, self._lasts_us = kinds, quiet_us, lasts_us
        self._clock, self._ends = WallClock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults")

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        kinds: list[Kind] = []
        while not self._wait(self._random.randint(*self._quiet_us)):
            if not kinds:
                kinds = self._random.sample(self._kinds, len(self._kinds))
            self.found.append(self._fault(kinds.pop()))

    def _fault(self, kind: Kind) -> Fault:
        from_us, lasts_us = self._runtime.now_us, self._random.randint(*self._lasts_us)
        if kind == "kill":
            self._server.kill()
            self._wait(lasts_us)
            self._server.start()
        else:
            self._link.cut(kind)
            self._wait(lasts_us)
            self._link.mend()
        until_us = self._runtime.now_us
        return Fault(kind, from_us, until_us, self._back_us(until_us + GIVEN_UP_US))

    def _back_us(self, until_us: int) -> int | None:
        while (now_us := self._runtime.now_us) < until_us:
            (far,) = (one for one in self._runtime.processors() if one.processor == FAR)
            if not (far.lost or far.suspect or far.set_aside):
                return now_us
            if self._wait(LOOK_US):
                return None
        return now_us

    def _wait(self, us: int) -> bool:
        """Whether it is to end before that."""
        return self._clock.wait_until_us(self._clock.now_us() + us, self._ends)


class Watch:
    """A thread that sets what a run thinks of its links beside what they do, whenever it has seen more of one: bytes
    that took a tenth of the time of a round trip at least. Of fewer nobody asks what the rate is.
    """

    def __init__(self, runtime: Runtime, link: ShapedLink) -> None:
        """The link is whole, or nothing is seen of it."""
        self.rate_off: list[tuple[int, float]] = []
        """When an estimate was looked at, and by how much of it it was above the rate of then, or below."""
        self._runtime, self._link = runtime, link
        self._clock, self._ends = WallClock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        seen: dict[str, tuple[int, int]] = {}
        while not self._clock.wait_until_us(self._clock.now_us() + 10 * LOOK_US, self._ends):
            for known in self._runtime.links():
                way = self._link.up if known.target == FAR else self._link.down
                really = way.rates.at(self._link.now_us)
                there, carried_bytes = seen.get(known.target, (0, 0))
                takes_us = (way.carried_bytes - carried_bytes) * SECOND_US / (really or 1)
                if really is None or there == known.transfers - known.failed or 10 * takes_us < 2 * way.latency_us:
                    continue
                seen[known.target] = known.transfers - known.failed, way.carried_bytes
                self.rate_off.append((self._runtime.now_us, known.bytes_per_s / really - 1))


@dataclass(frozen=True)
class Came:
    """What came of a run, beside the local one."""

    answers: int
    lost: tuple[str, ...]
    """Answers that never came, and why."""
    skipped: int
    """Answers that never came since there was too much to do here: their frames could not start before they were due.
    What their graphs answered later is not compared: they may keep state."""
    late: int
    late_at_peace: int
    """Of these, those of frames that no fault can have made late."""
    other_labels: int
    other_bits: int
    """Answers whose arrays are not the local ones, bit by bit, though the same variants gave them."""
    farthest: float
    """By how much a number of an answer is another, at most, also where other variants gave it."""
    runs: int
    there: int
    """Of all runs of stages that ended well, those on the server."""
    given_up: int
    """Runs there that failed, of which each was tried here."""


def beside(local: Sequence[FrameResult], away: Sequence[FrameResult], faults: Sequence[Fault] = ()) -> Came:
    """A run beside the local one, in which every frame has all its answers."""
    expected = {(one.release_us, one.graph): (one, frame) for frame in local for one in frame.graphs}
    lost: list[str] = []
    skipped: list[str] = []
    late, at_peace, labels, bits, farthest = 0, 0, 0, 0, 0.0
    for frame in away:
        for one in frame.graphs:
            there, in_frame = expected.pop((one.release_us, one.graph))
            is_late = one.missed and one.outcome != "failed"
            late += is_late
            at_peace += is_late and not any(fault.touches(one.release_us, one.end_us) for fault in faults)
            if one.outcome == "failed" and frame.skipped:
                skipped.append(one.graph)
            elif one.outcome == "failed":
                lost.append(f"{one.graph} at {one.release_us} us: {frame.reason}")
            elif one.graph not in skipped:
                labels += (one.label, one.outcome) != (there.label, there.outcome)
                distance = _distance(one, there)
                bits += distance != 0 and _variants(frame) == _variants(in_frame)
                farthest = max(farthest, distance or 0.0)
    lost += [f"{graph} at {release_us} us: it was never released" for release_us, graph in expected]
    runs = [run for frame in away for run in frame.stages]
    done = [run for run in runs if run.outcome == "done"]
    return Came(
        answers=sum(len(frame.graphs) for frame in away),
        lost=tuple(lost),
        skipped=len(skipped),
        late=late,
        late_at_peace=at_peace,
        other_labels=labels,
        other_bits=bits,
        farthest=farthest,
        runs=len(done),
        there=sum(run.resource == FAR for run in done),
        given_up=sum(run.resource == FAR and run.outcome == "failed" for run in runs),
    )


def _variants(frame: FrameResult) -> dict[str, str]:
    return {run.stage: run.variant for run in frame.stages if run.outcome == "done"}


def _distance(one: GraphResult, other: GraphResult) -> float | None:
    """How far the farthest numbers of two answers are from each other; None where they are not the same arrays."""
    if one.outputs.keys() != other.outputs.keys():
        return None
    farthest = 0.0
    for name in one.outputs:
        ours, theirs = _numbers(one.outputs[name]), _numbers(other.outputs[name])
        if ours.shape != theirs.shape:
            return None
        farthest = max(farthest, float(np.abs(ours - theirs).max(initial=0.0)))
    return farthest


def _numbers(value: np.ndarray) -> np.ndarray:
    """All numbers of an output, also of one that is several arrays."""
    return np.concatenate([array.ravel().astype(np.float64) for array in arrays_of(value)])

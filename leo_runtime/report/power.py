"""What a run draws, as steps in time: of each resource its power and its state, and of each cause its energy."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from leo_runtime.documents.hardware import Hardware
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult

State = Literal["asleep", "idle", "tail", "awake", "held", "waking"]
"""`tail` is a radio's lingering, `idle` a processor's. `held` is kept awake for a later release."""

_RANKS: Mapping[str, int] = {
    "asleep": 1,
    "idle tail": 2,
    "radio tail": 2,
    "run": 3,
    "failed run": 3,
    "transfer": 3,
    "load": 3,
    "awake": 3,
    "held": 4,
    "wake-up": 5,
}
"""What a resource's energy is used for says in which state it is; of several at one time the highest."""


class Drawn(NamedTuple):
    """From `at_us` on a resource draws that power."""

    at_us: int
    resource: str
    mw: float


class Entered(NamedTuple):
    """From `at_us` on a resource is in that state."""

    at_us: int
    resource: str
    state: State


class Used(NamedTuple):
    """What has been used for a cause, of all that had ended by `at_us`."""

    at_us: int
    cause: str
    nj: int


Step = Drawn | Entered | Used

EACH_US = 100_000
"""What a cause has used is told at most so often."""


@dataclass(slots=True)
class _Part:
    """A resource, or a link that names none, as it is at the time that has been reached."""

    states: tuple[State, ...] = ()
    """By rank; the first is its state while it draws nothing. A link has none."""
    wake_us: int = 0
    wakes_free: bool = True
    """Whether waking up costs nothing."""
    mw: float = 0
    state: State | None = None
    active: list[tuple[int, float]] = field(default_factory=list)
    """Ranks and mW of what is drawn."""


class PowerSteps:
    """The entries of a ledger as steps. It keeps what is not settled and what is drawn at that time, nothing else.

    Power is exact where an entry's nanojoules are a multiple of its microseconds (1 mW is 1 nJ a us), else the nearest
    float, so that steps times their lengths are the ledger, to the nanojoule once rounded. What is used at once is
    drawn over the wake-up latency where it is a wake-up, over 1 us otherwise. What a cause uses counts when it ends; it
    is told at the first step of anything that is `EACH_US` after the last time, and at the end.
    """

    def __init__(self, hardware: Hardware) -> None:
        """Nothing is drawn yet; the run begins at 0."""
        self._parts: dict[str, _Part] = {}
        for one in hardware.idling:
            states = _states("idle" if one.idle_timeout_us is None else "asleep", "idle")
            self._parts[one.name] = _Part(states, one.wake_latency_us, not one.wake_energy_nj)
        for radio in hardware.radios:
            self._parts[radio.name] = _Part(_states("asleep", "tail"), radio.wake_latency_us, not radio.wake_energy_nj)
        self._holds: dict[tuple[str, int], list[int]] = {}
        """By resource and frame, when what it was used for had ended, and it was kept for a later release."""
        self._number = self._now_us = 0
        # When, a number that keeps the order, 1 to begin, -1 to end or 0 to look, where, the rank, mW, why and nJ.
        self._changes: list[tuple[int, int, int, str, int, float, str, int]] = []
        for name in self._parts:
            self._change(0, 0, name, 0)
        self._nj: dict[str, int] = {}
        self._untold: dict[str, None] = {}
        """Causes that have used more than was told."""
        self._told_us: dict[str, int] = {}
        self.end_us = 0
        """When the last of what has been added ends."""

    def take(self, frame: FrameResult) -> None:
        """Take what no entry tells, before the frame's entries are added: holds, and waking that costs nothing."""
        for wake in frame.wakes:
            part = self._parts[wake.resource]
            if part.wakes_free and part.wake_us:
                self._change(wake.at_us, 1, wake.resource, _RANKS["wake-up"])
                self._change(wake.at_us + part.wake_us, -1, wake.resource, _RANKS["wake-up"])
                self.end_us = max(self.end_us, wake.at_us + part.wake_us)
        for span in frame.spans or ():
            if span.held_until_us is not None and span.held_until_us > span.until_us:
                self._holds.setdefault((span.resource, frame.frame), []).append(span.until_us)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries, none of which begins before what has been settled."""
        changes, parts = self._changes, self._parts
        for entry in entries:
            at_us, until_us, nj, cause, resource, frame = entry[:6]
            if resource not in parts:
                parts[resource] = _Part()
            if until_us == at_us:
                until_us += max(1, parts[resource].wake_us if cause == "wake-up" else 1)
            mw, rest = divmod(nj, until_us - at_us)
            power: float = nj / (until_us - at_us) if rest else mw
            rank = _RANKS.get(cause, 0)
            self._number += 2
            changes.append((at_us, self._number, 1, resource, rank, power, cause, 0))
            changes.append((until_us, self._number + 1, -1, resource, rank, power, cause, nj))
            if self._holds and cause == "awake" and frame is not None:
                self._add_held(entry, frame)
            if until_us > self.end_us:
                self.end_us = until_us

    def settled(self, until_us: float = math.inf) -> list[Step]:
        """All steps before that time that have not been given yet, in order; without a time all that is left."""
        changes, parts = self._changes, self._parts
        changes.sort()
        count = bisect_left(changes, (until_us,))
        steps: list[Step] = []
        changed: dict[str, None] = {}
        now_us = changes[0][0] if count else self._now_us
        for at_us, _, way, resource, rank, mw, cause, nj in changes[:count]:
            if at_us != now_us:
                self._look(now_us, changed, steps)
                changed.clear()
                now_us = at_us
            changed[resource] = None
            if way > 0:
                parts[resource].active.append((rank, mw))
            elif way < 0:
                parts[resource].active.remove((rank, mw))
                if nj:
                    self._nj[cause] = self._nj.get(cause, 0) + nj
                    self._untold[cause] = None
        if changed:
            self._look(now_us, changed, steps)
        del changes[:count]
        self._now_us = now_us
        if until_us == math.inf:
            steps += [Used(now_us, cause, self._nj[cause]) for cause in self._untold]
            self._untold.clear()
        if self._holds:  # What no entry told of, since nothing is drawn for being awake.
            left = {key: [us for us in ended_us if us >= until_us] for key, ended_us in self._holds.items()}
            self._holds = {key: ended_us for key, ended_us in left.items() if ended_us}
        return steps

    def _look(self, at_us: int, resources: Iterable[str], steps: list[Step]) -> None:
        """Add a step for each of these resources that draws or is something else than before, and for energy."""
        for name in resources:
            part = self._parts[name]
            mw: float = 0
            highest = 0
            for rank, power in part.active:
                mw += power
                if rank > highest:
                    highest = rank
            if mw != part.mw:
                part.mw = mw
                steps.append(Drawn(at_us, name, mw))
            if part.states and part.states[highest] != part.state:
                part.state = part.states[highest]
                steps.append(Entered(at_us, name, part.state))
        if self._untold:
            for cause in [c for c in self._untold if at_us - self._told_us.get(c, -EACH_US) >= EACH_US]:
                steps.append(Used(at_us, cause, self._nj[cause]))
                self._told_us[cause] = at_us
                del self._untold[cause]

    def _add_held(self, entry: Entry, frame: int) -> None:
        """Of an entry for staying awake, tell what came after the last use."""
        untils_us = self._holds.get((entry.resource, frame), [])
        for used_us in [at_us for at_us in untils_us if entry.at_us <= at_us <= entry.until_us]:
            untils_us.remove(used_us)
            if used_us < entry.until_us:
                self._change(used_us, 1, entry.resource, _RANKS["held"])
                self._change(entry.until_us, -1, entry.resource, _RANKS["held"])

    def _change(self, at_us: int, way: int, resource: str, rank: int) -> None:
        """Something that draws nothing begins or ends."""
        self._number += 2
        self._changes.append((at_us, self._number, way, resource, rank, 0, "", 0))


def _states(rests: State, lingers: State) -> tuple[State, ...]:
    return rests, "asleep", lingers, "awake", "held", "waking"

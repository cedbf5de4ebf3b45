"""What a run draws, as steps in time: of each resource its power and its state, and of each cause its energy."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from leo_runtime.documents.hardware import Hardware
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult

State = Literal["asleep", "idle", "tail", "awake", "held", "waking"]
"""`tail` is a radio's lingering, `idle` a processor's. `held` is kept awake for a later release."""

_STATES: Mapping[str, tuple[int, State]] = {
    "asleep": (0, "asleep"),
    "idle tail": (1, "idle"),
    "radio tail": (1, "tail"),
    "run": (2, "awake"),
    "failed run": (2, "awake"),
    "transfer": (2, "awake"),
    "awake": (2, "awake"),
    "held": (3, "held"),
    "wake-up": (4, "waking"),
}
"""The state that a cause tells of; of several at one time the one with the highest number is shown."""


class Step(NamedTuple):
    """From `at_us` on a resource draws `mw`, or is in `state`."""

    at_us: int
    resource: str
    mw: float | None
    state: State | None


@dataclass(slots=True)
class _Part:
    """A resource, or a link that names none, as it is at the time that has been reached."""

    rests: State | None
    """Its state while it draws nothing; None: it is a link, which has none."""
    wake_us: int = 0
    mw: float = 0
    state: State | None = None


class PowerSteps:
    """The entries of a ledger as steps. It keeps what is not settled and what is drawn at that time, nothing else.

    Power is exact where an entry's nanojoules are a multiple of its microseconds (1 mW is 1 nJ a us), else the nearest
    float, so that steps times their lengths are the ledger, to the nanojoule once rounded. What is used at once is
    drawn over the wake-up latency where it is a wake-up, over 1 us otherwise.
    """

    def __init__(self, hardware: Hardware) -> None:
        """Nothing is drawn yet; the run begins at 0."""
        self._parts = {
            part.name: _Part("idle" if part.idle_timeout_us is None else "asleep", part.wake_latency_us)
            for part in hardware.processors
        } | {radio.name: _Part("asleep", radio.wake_latency_us) for radio in hardware.radios}
        self._active: dict[str, list[tuple[str, float]]] = {name: [] for name in self._parts}
        self._holds: dict[tuple[str, int], list[int]] = {}
        """By resource and frame, when what it was used for had ended, and it was kept for a later release."""
        self._number = 0
        # A change: when, a number that keeps the order, 1 to begin, -1 to end, 0 to look, where, why, its mW and nJ.
        self._changes: list[tuple[int, int, int, str, str, float, int]] = []
        for name in self._parts:
            self._change(0, 0, name, "", 0, 0)
        self.nj: dict[str, int] = {}
        """Energy of each cause that was used up by the last step."""
        self.end_us = 0
        """When the last of what has been added ends."""

    def hold(self, frame: FrameResult) -> None:
        """Remember what a frame held for later releases, before its entries are added."""
        for span in frame.spans or ():
            if span.held_until_us is not None and span.held_until_us > span.until_us:
                self._holds.setdefault((span.resource, frame.frame), []).append(span.until_us)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries, none of which begins before what has been settled."""
        for entry in entries:
            at_us, until_us, nj, cause, resource = entry[:5]
            if until_us == at_us:
                part = self._parts.get(resource)
                until_us += max(1, part.wake_us if part is not None and cause == "wake-up" else 1)
            mw, rest = divmod(nj, until_us - at_us)
            power: float = nj / (until_us - at_us) if rest else mw
            self._change(at_us, 1, resource, cause, power, 0)
            self._change(until_us, -1, resource, cause, power, nj)
            if self._holds and cause == "awake" and entry.frame is not None:
                self._add_held(entry, entry.frame)
            self.end_us = max(self.end_us, until_us)

    def settled(self, until_us: float = math.inf) -> list[Step]:
        """All steps before that time that have not been given yet, in order; without a time all that is left."""
        changes = self._changes
        changes.sort()
        count = bisect_left(changes, (until_us,))
        steps: list[Step] = []
        changed: dict[str, None] = {}
        now_us = changes[0][0] if changes else 0
        for at_us, _, way, resource, cause, mw, nj in changes[:count]:
            if at_us != now_us:
                self._look(now_us, changed, steps)
                changed.clear()
                now_us = at_us
            changed[resource] = None
            if way > 0:
                self._active.setdefault(resource, []).append((cause, mw))
            elif way < 0:
                self._active[resource].remove((cause, mw))
                if nj:
                    self.nj[cause] = self.nj.get(cause, 0) + nj
        if changed:
            self._look(now_us, changed, steps)
        del changes[:count]
        if self._holds:  # What no entry told of, since nothing is drawn for being awake.
            left = {key: [us for us in ended_us if us >= until_us] for key, ended_us in self._holds.items()}
            self._holds = {key: ended_us for key, ended_us in left.items() if ended_us}
        return steps

    def _look(self, at_us: int, resources: Iterable[str], steps: list[Step]) -> None:
        """Add a step for each of these resources that draws or is something else than before."""
        for name in resources:
            part = self._parts.get(name)
            if part is None:
                part = self._parts[name] = _Part(None)
            mw: float = 0
            shown: tuple[int, State | None] = (-1, part.rests)
            for cause, power in self._active[name]:
                mw += power
                shown = max(shown, _STATES.get(cause, shown))
            state = None if part.rests is None else shown[1]
            if mw != part.mw:
                part.mw = mw
                steps.append(Step(at_us, name, mw, None))
            if state != part.state:
                part.state = state
                steps.append(Step(at_us, name, None, state))

    def _add_held(self, entry: Entry, frame: int) -> None:
        """Of an entry for staying awake, tell what came after the last use."""
        untils_us = self._holds.get((entry.resource, frame), [])
        for used_us in [at_us for at_us in untils_us if entry.at_us <= at_us <= entry.until_us]:
            untils_us.remove(used_us)
            if used_us < entry.until_us:
                self._change(used_us, 1, entry.resource, "held", 0, 0)
                self._change(entry.until_us, -1, entry.resource, "held", 0, 0)

    def _change(self, at_us: int, way: int, resource: str, cause: str, mw: float, nj: int) -> None:
        self._number += 1
        self._changes.append((at_us, self._number, way, resource, cause, mw, nj))

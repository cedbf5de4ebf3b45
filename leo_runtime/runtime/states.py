"""What stages keep from run to run, and from which of it a run goes on.

**Snapshots.** A run goes on from the newest state that is not beyond its frame. What it leaves is kept only when its
end is accepted, and only where it is newer than what is there. So no order between frames has to be held: a run that is
tried again, or runs beside another frame's, does all that is new since the state that it starts from. Older states are
held for as long as a frame in flight may need them.

**Starting anew.** A run does where there is no state for it, where its stream was restarted, where entries are missing
(unless the operator wants to be told), where what it reads has started anew, where the state is of another variant or
cannot be moved, and where a run failed that was told of missing entries: any later one would be told of them, too, and
might fail for ever.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from itertools import count
from typing import Literal

import numpy as np

from leo_runtime.backend import News, State
from leo_runtime.documents.binding import BoundStage
from leo_runtime.frame.conditions import StateFound
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.positions import Point, Readings
from leo_runtime.frozen import dataclass

Anew = Literal["", "first", "changed", "restart", "gap", "grid", "upstream", "variant", "place", "behind", "failed"]
"""Why a run started anew: nothing was kept yet, or was used up; the stage was another before the workload was changed;
what was kept is of before its stream was restarted; entries were missing, or cut in other places; what it reads did;
the state was of another variant, or could not be moved; what was kept was of a later frame; the run before failed as it
was told of missing entries. Empty: it did not."""


_ANEW = -1
"""The number of a run that is to come, and starts anew."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run left. `state` is None where nothing is computed."""

    point: Point
    begun: int
    """The number of the run with which it started anew: what reads it starts anew when that changes."""
    above: tuple[int | None, ...]
    """The same of the stages that keep state and that it read; None of one that ran without."""
    home: str
    """The processor of the run."""
    variant: str
    state: State | None = None
    spends: bool = False
    """A run that goes on from it uses it up."""


@dataclass(frozen=True, slots=True)
class Start:
    """From what a run goes on."""

    kept: Kept | None
    news: News
    anew: Anew
    begun: int
    moved: bool
    """Whether its state comes from another processor."""


@dataclass(frozen=True, slots=True)
class StateNow:
    """What a stage keeps now, and how its runs came to it."""

    stage: str
    home: str | None
    """The processor where its state is; None: it keeps nothing yet."""
    bytes: int
    """What it keeps, with older states that frames in flight may need."""
    runs: int
    """Runs whose end was accepted."""
    anew: Mapping[Anew, int] = field(default_factory=dict)
    """How many of them started anew, by reason."""
    moves: int = 0
    """How many of them had their state from another processor."""
    gaps: int = 0
    """How many of them went on where entries were missing, and were told."""


class _History:
    """What one stage keeps, and how its runs came to it."""

    __slots__ = ("anew", "failed", "gaps", "kept", "moves", "runs")

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        """In the order of their positions."""
        self.runs = 0
        self.moves = 0
        self.gaps = 0
        self.anew: Counter[Anew] = Counter()
        self.failed = False
        """Whether what was kept went with a run that failed, and none has come to its end since."""


class States:
    """What the stages of one workload keep. For one thread at a time."""

    def __init__(self, merged: MergedWorkload, can_move: Callable[[str, str, Kept], bool]) -> None:
        """`can_move` says whether a state can be taken from one processor to another."""
        self.readings = Readings(merged)
        self._stages = {stage.name: stage.bound for stage in merged.stages if stage.name in self.readings.of}
        self._can_move = can_move
        self._of = {name: _History() for name in self._stages}
        self._numbers = count(1)
        self._changed: frozenset[str] = frozenset()
        """Stages of which others of their names kept something, which is no use to them."""

    def take_over(self, before: States, same: Collection[str]) -> None:
        """Go on from what stages keep that are the same elsewhere, and are called the same.

        From then on both keep one thing for them: frames that are in flight there leave their states here, too.
        """
        self._numbers = before._numbers
        for name in same:
            if name in self._of and name in before._of:
                self._of[name] = before._of[name]
        self._changed = frozenset(
            name for name in self._of if name not in same and name in before._of and before._of[name].runs
        )

    def newest(self, stage: str) -> Kept | None:
        """What a stage keeps now."""
        kept = self._of[stage].kept
        return kept[-1] if kept else None

    def start(self, stage: str, variant: str, resource: str, point: Point, above: tuple[int | None, ...]) -> Start:
        """From what a run goes on. A state that it uses up is there no more."""
        kept = self._of[stage].kept
        known = [one for one in kept if not one.point.is_beyond(point)]
        found = self.follow(known[-1] if known else None, stage, variant, resource, point, above)
        if found.kept is not None and found.kept.spends:
            self.spend(stage, found.kept)
        if found.anew == "first":
            return replace(found, anew=self._why_none(stage))
        return found

    def _why_none(self, stage: str) -> Anew:
        """Why there is nothing from which a run could go on."""
        history = self._of[stage]
        if history.kept:
            return "behind"
        if history.failed:
            return "failed"
        return "changed" if stage in self._changed and not history.runs else "first"

    def follow(
        self,
        kept: Kept | None,
        stage: str,
        variant: str,
        resource: str,
        point: Point,
        above: tuple[int | None, ...],
    ) -> Start:
        """How a run goes on from that, or starts anew."""
        anew, fresh, missed = self._judged(kept, stage, variant, resource, point, above)
        reading = self.readings.of[stage]
        if kept is None or anew:
            news = News(None, point.release_us, reading.broken(point), reading.cuts is None)
            return Start(None, news, anew, next(self._numbers), moved=False)
        news = News(fresh, point.release_us, missed, reading.cuts is None)
        return Start(kept, news, "", kept.begun, kept.home != resource)

    def found(self, points: Mapping[str, Point]) -> list[StateFound]:
        """From what the stages of a frame that has come so far would go on, each where its state is."""
        found: list[StateFound] = []
        begun: dict[str, int] = {}
        for name in self._stages:
            point, begun[name] = points[name], _ANEW
            kept = next((k for k in reversed(self._of[name].kept) if not k.point.is_beyond(point)), None)
            if kept is not None:
                above = tuple([begun.get(up) for up in self.readings.of[name].above])
                anew, fresh, _ = self._judged(kept, name, kept.variant, kept.home, point, above)
                if not anew:
                    begun[name] = kept.begun
                    found.append(StateFound(name, kept.home, kept.variant, fresh))
        return found

    def _judged(
        self,
        kept: Kept | None,
        stage: str,
        variant: str,
        resource: str,
        point: Point,
        above: tuple[int | None, ...],
    ) -> tuple[Anew, int, int]:
        """Why a run starts anew; else how many entries are new to it, and how many it missed."""
        reading, keeping = self.readings.of[stage], self._stages[stage].keeping(variant)
        tells, steps = keeping is not None and keeping.on_gap == "tell", self._stages[stage].operator.step_class
        # One that resets itself is told of missing entries, and of nothing else.
        goes_on = tells and not (steps is not None and steps.resets)
        anew: Anew = ""
        fresh, missed = 0, 0
        if kept is None:
            anew = "first"
        elif kept.point.restarts != point.restarts:
            anew = "restart"
        elif kept.variant != variant:
            anew = "variant"
        elif kept.home != resource and not self._can_move(kept.home, resource, kept):
            anew = "place"
        else:
            since = reading.since(kept.point, point)
            if since.came is None:
                return "grid", 0, 0
            fresh, missed = since.fresh, since.missed
            if (missed or since.lost) and not tells:
                anew = "gap"
            elif not goes_on and any(a != b for a, b in zip(kept.above, above, strict=True) if None not in (a, b)):
                anew = "upstream"
        return anew, fresh, missed

    def spend(self, stage: str, kept: Kept) -> None:
        """Forget a state that a run has used up."""
        history = self._of[stage]
        history.kept = [one for one in history.kept if one is not kept]

    def fail(self, stage: str, kept: Kept) -> None:
        """A run failed that went on from there over missing entries: forget that state, and all before it."""
        history = self._of[stage]
        history.kept = [one for one in history.kept if one.point.is_beyond(kept.point)]
        history.failed = True

    def commit(self, stage: str, kept: Kept | None, starts: Iterable[Start], waiting: Iterable[Point]) -> None:
        """A run's end was accepted: keep what it left, if that is newer than what is there.

        `starts` are those of the run, of each frame of a batch; `waiting` how far the stage has come in the frames in
        flight in which it may still run.
        """
        history, found = self._of[stage], tuple(starts)
        history.runs += 1
        history.failed = False
        history.moves += any(start.moved for start in found)
        history.gaps += any(start.kept is not None and start.news.missed for start in found)
        history.anew.update([start.anew for start in found if start.anew][:1])
        newest = self.newest(stage)
        if kept is not None and (newest is None or kept.point.is_beyond(newest.point)):
            history.kept.append(kept)
        self.prune(stage, waiting)

    def prune(self, stage: str, waiting: Iterable[Point]) -> None:
        """Forget the states that neither those frames nor later ones go on from."""
        kept = self._of[stage].kept
        if len(kept) > 1:
            wanted = {len(kept) - 1}
            for point in waiting:
                wanted.add(max((i for i, one in enumerate(kept) if not one.point.is_beyond(point)), default=0))
            self._of[stage].kept = [one for i, one in enumerate(kept) if i in wanted]

    def now(self) -> tuple[StateNow, ...]:
        """What each stage keeps."""
        return tuple([self._now(name) for name in self._stages])

    def _now(self, name: str) -> StateNow:
        newest, history = self.newest(name), self._of[name]
        return StateNow(
            name,
            None if newest is None else newest.home,
            sum(held_bytes(self._stages[name], one) for one in history.kept),
            history.runs,
            dict(sorted(history.anew.items())),
            history.moves,
            history.gaps,
        )


def held_bytes(stage: BoundStage, kept: Kept) -> int:
    """What a state holds: its arrays, or what its operator says, or else what can be seen of it."""
    arrays = arrays_of(kept.state)
    if arrays is None:
        return stage.state_bytes(kept.variant) or seen_bytes(kept.state)
    return sum(array.nbytes for array in arrays)


MOST_SEEN = 10_000
"""At so many values of a state one looks."""


def seen_bytes(state: State | None) -> int:
    """The arrays and bytes among what an object holds: its attributes, and what is in their lists, tuples, sets and
    dictionaries, each once."""
    seen: dict[int, object] = {}
    found: list[object] = [state]
    total = 0
    while found and len(seen) < MOST_SEEN:
        value = found.pop()
        if id(value) in seen or isinstance(value, type):
            continue
        seen[id(value)] = value
        if isinstance(value, np.ndarray):
            total += value.nbytes
        elif isinstance(value, bytes | bytearray):
            total += len(value)
        else:
            with suppress(Exception):  # It is a user's own, and may be anything.
                found += _held(value)
    return total


def _held(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    slots = getattr(type(value), "__slots__", ())
    names = (slots,) if isinstance(slots, str) else slots
    return [*getattr(value, "__dict__", {}).values(), *[getattr(value, name, None) for name in names]]


def arrays_of(state: State | None) -> tuple[np.ndarray, ...] | None:
    """The arrays of a state that is nothing else; None of any other."""
    if isinstance(state, tuple) and all(type(one) is np.ndarray for one in state):
        return state
    return None

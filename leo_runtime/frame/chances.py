"""How likely gates are to open, from what they did: after an opening as after a closing, since speech follows speech.

An estimate is the share of openings among the last some hundred releases that followed the same state, with `PRIOR_PPM`
counted as `PRIOR_RUNS` more of them, and is rounded up to one of few `LEVELS_PPM`. It moves only when the count of
releases has doubled, later every `SETTLES` of them: questions that ask the same stay equal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.documents.window import CERTAIN
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frozen import dataclass
from leo_runtime.schema import Document, Name, Quantity, Value, reject, unique

PRIOR_PPM = 500_000
"""How likely a gate is to open of which nothing is known. Below certain: waiting would never pay."""
PRIOR_RUNS = 2
"""How many releases the prior counts for."""
LEVELS_PPM = (15_625, 31_250, 62_500, *(k * 62_500 for k in range(2, 16)))
"""1/64, 1/32, and sixteenths up to 15/16: what estimates are rounded up to. Never 0, and never certain."""
SETTLES = 32
"""How many releases it takes for an estimate to move, once there were as many."""
REMEMBERED = 256
"""After so many releases that followed a state all are counted half: what was long ago is forgotten."""


@dataclass(frozen=True, slots=True)
class Chance:
    """How likely a gate is to open when it runs, in ppm: the next time, and after each that it did or did not."""

    next_ppm: int
    after_open_ppm: int
    after_closed_ppm: int

    def following(self, open_ppm: int) -> int:
        """How likely it is to open after a release in which that was so likely, in ppm, rounded up."""
        both = open_ppm * self.after_open_ppm + (CERTAIN - open_ppm) * self.after_closed_ppm
        return -(-both // CERTAIN)


Chances = tuple[tuple[str, Chance], ...]
"""Of every gate, by name."""


class _Count(Value):
    """Of the releases that followed one state: how many there were, and in how many of them the gate opened."""

    runs: Annotated[int, Field(ge=0, lt=REMEMBERED)] = 0
    opened: Quantity = 0
    level_ppm: Annotated[int, Field(ge=0, le=CERTAIN)] = PRIOR_PPM

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.opened > self.runs:
            reject(f"expected at most runs ({self.runs}), got {self.opened}", "$.opened", self.opened)
        return self


class GateHistory(Value):
    """What one gate did."""

    name: Name
    after_open: _Count = _Count.model_construct()
    after_closed: _Count = _Count.model_construct()


class GateHistories(Document):
    """What the gates of a workload did, as it is kept from run to run. Raises what `Document` raises."""

    format: Literal["leo-gates/1"]
    workload: Name
    gates: tuple[GateHistory, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique([gate.name for gate in self.gates], "$.gates[{}].name")
        return self


class GateChances:
    """Estimates of every gate of a workload. One thread at a time may use it."""

    def __init__(self, merged: MergedWorkload, known: GateHistories | None = None) -> None:
        """`known` is what a run before has learned; gates that the workload has not are left out."""
        used = {gate for stage in merged.stages for _, gate in stage.asked if gate is not None}
        self._workload = merged.workload.name
        self._stated = {
            stage.name: stage.bound.chance_ppm
            for stage in merged.stages
            if stage.name in used and stage.bound.chance_ppm is not None
        }
        learning = [stage.name for stage in merged.stages if stage.name in used and stage.name not in self._stated]
        before = {} if known is None else {history.name: history for history in known.gates}
        self._histories = {name: before.get(name) or GateHistory(name=name) for name in learning}
        self._last: dict[str, bool] = {}
        self._chances: Chances | None = None

    @property
    def gates(self) -> Collection[str]:
        """The gates that are learned of; the others' chances are stated."""
        return self._histories.keys()

    def take_over(self, before: GateChances, gates: Collection[str]) -> None:
        """Go on with what another has learned of these gates, as far as they are learned of here."""
        for name in gates:
            if name in self._histories and name in before._histories:
                self._histories[name] = before._histories[name]
                if name in before._last:
                    self._last[name] = before._last[name]
        self._chances = None

    def observe(self, opened: Mapping[str, bool]) -> None:
        """Take note of what the gates that ran in a release did; others in it are not learned of."""
        for name, did_open in opened.items():
            history = self._histories.get(name)
            if history is None:
                continue
            last = self._last.get(name)
            self._last[name] = did_open
            if last is not None:
                state = "after_open" if last else "after_closed"
                counted = _counted(getattr(history, state), did_open)
                self._histories[name] = history.model_copy(update={state: counted})
            if last != did_open or self._histories[name] is not history:
                self._chances = None

    def chances(self) -> Chances:
        """What is to be expected of every gate now, by name."""
        if self._chances is None:
            stated = {name: Chance(ppm, ppm, ppm) for name, ppm in self._stated.items()}
            learned = {name: self._chance(history) for name, history in self._histories.items()}
            self._chances = tuple(sorted((stated | learned).items(), key=lambda item: item[0]))
        return self._chances

    def _chance(self, history: GateHistory) -> Chance:
        after_open, after_closed = history.after_open.level_ppm, history.after_closed.level_ppm
        last = self._last.get(history.name)
        if last is None:
            return Chance(max(after_open, after_closed), after_open, after_closed)
        return Chance(after_open if last else after_closed, after_open, after_closed)

    def kept(self) -> GateHistories:
        """What was learned, for the next run."""
        return GateHistories(format="leo-gates/1", workload=self._workload, gates=tuple(self._histories.values()))


def _counted(count: _Count, opened: bool) -> _Count:
    runs, openings = count.runs + 1, count.opened + opened
    if runs % SETTLES and runs & (runs - 1):
        return count.model_copy(update={"runs": runs, "opened": openings})
    level_ppm = level((openings * CERTAIN + PRIOR_RUNS * PRIOR_PPM) // (runs + PRIOR_RUNS))
    if runs == REMEMBERED:
        runs, openings = runs // 2, openings // 2
    return _Count(runs=runs, opened=openings, level_ppm=level_ppm)


def level(ppm: int) -> int:
    """The least of the levels that is no less, or the greatest."""
    return LEVELS_PPM[min(bisect_left(LEVELS_PPM, ppm), len(LEVELS_PPM) - 1)]

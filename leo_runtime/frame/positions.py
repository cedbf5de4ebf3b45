"""How far the inputs of stages that keep state have come in a frame, and how much of them is new since another.

A source's window ends at a number of its stream: that is a stage's position. Behind a stage that keeps state
`Keeping.entries` says how many entries so many samples are. Its entries are cut from where a window begins, so they are
those of another window only where both begin a whole number of entries apart. Inputs that come whole with every run are
told apart by their release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leo_runtime.documents.workload import BoundStage
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frozen import dataclass
from leo_runtime.values import samples_within

EARLY_US = 1
"""What rounding may put a release before its last sample."""


@dataclass(frozen=True, slots=True)
class WindowEnd:
    """Where a source's window ends in its stream."""

    number: int
    """How many samples came before it, or were lost."""
    lost: int = 0
    """How many of them were lost."""


@dataclass(frozen=True, slots=True)
class Point:
    """How far a stage's input has come in a frame."""

    position: int
    """In samples of its source; of an input that comes whole, the frame's release."""
    release_us: int
    lost: int = 0
    """How many of the samples were lost; 0 of inputs that come whole."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a stage cuts its input into entries of its output."""

    entries: Callable[[int], int]
    """How many there have been in all, of so many entries of its input."""
    at: int
    """After so many of them one was just complete."""

    def new(self, entries: int) -> int | None:
        """How many entries more there are when so many came in; None: they do not fall on those of before."""
        after = self.entries(self.at + entries)
        return after - self.entries(self.at) if not entries or self.entries(self.at + entries - 1) < after else None

    def about(self, entries: int) -> int:
        """How many entries those are, wherever they fall."""
        return self.entries(self.at + entries) - self.entries(self.at)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a stage that keeps state meets its first input."""

    stage: str
    length: int
    """How many entries it sees in a run; 1 of an input that comes whole."""
    cuts: tuple[Cut, ...] | None
    """How samples become its entries; None: the input comes whole with every run."""
    source: str
    """The source stage whose samples count."""
    period_us: int
    """The shortest of the graphs that ask for it: an input that comes whole comes that often at most."""
    above: tuple[str, ...]
    """The stages that keep state and that it reads, also through others."""

    def point(self, release_us: int, ends: Mapping[str, WindowEnd]) -> Point:
        """How far it has come in a frame."""
        end = ends.get(self.source)
        if self.cuts is None or end is None:
            return Point(release_us, release_us)
        return Point(end.number, release_us, end.lost)

    def fresh(self, before: Point, now: Point) -> int | None:
        """How many entries came since, also those that this run does not see; None: they are others than before."""
        if self.cuts is None:
            after_us = now.release_us - before.release_us
            return max(1, (2 * after_us + self.period_us) // (2 * self.period_us)) if after_us else 0
        new: int | None = now.position - before.position
        for cut in self.cuts:
            new = None if new is None else cut.new(new)
        return new

    def lost(self, before: Point, now: Point) -> int:
        """How many entries were lost since; less than 0 where samples turned up."""
        lost = now.lost - before.lost
        for cut in self.cuts or ():
            lost = max(1, cut.about(lost)) if lost > 0 else lost
        return lost


class Readings:
    """How the stages of a workload that keep state meet their inputs. It keeps nothing."""

    def __init__(self, merged: MergedWorkload) -> None:
        stages = {stage.name: stage for stage in merged.stages}
        rates = {stream.name: stream.rate_hz for stream in merged.workload.streams}
        periods = {graph.name: graph.period_us for graph in merged.workload.graphs}
        self._rates = {
            name: rate_hz
            for name, stage in stages.items()
            if stage.bound.operator.is_source and (rate_hz := rates[_first(stage.bound).stream])
        }
        self.of: dict[str, Reading] = {}
        """By stage: those that keep state in any variant."""
        counted: dict[str, tuple[str, tuple[Cut, ...]]] = {name: (name, ()) for name in self._rates}
        above: dict[str, tuple[str, ...]] = {}
        for stage in merged.stages:
            name, keeps = stage.name, any(stage.bound.keeping(variant) for variant in stage.bound.params)
            read = tuple(dict.fromkeys(up for one in stage.inputs for up in ((one,) if one in self.of else above[one])))
            above[name] = read
            if not keeps or not stage.inputs:
                continue
            source, cuts = counted.get(stage.inputs[0], ("", None))
            length = 1 if cuts is None or not stage.bound.input_shapes[0] else stage.bound.input_shapes[0][0]
            shortest_us = min(periods[graph] for graph in stage.graphs)
            self.of[name] = Reading(name, length, cuts, source, shortest_us, read)
            keeping = next(found for variant in stage.bound.params if (found := stage.bound.keeping(variant)))
            if cuts is not None and keeping.entries is not None:
                counted[name] = (source, (*cuts, _cut(keeping.entries, _first(stage.bound), length)))

    def steady(self, name: str) -> int:
        """How many entries a period brings to a stage, as far as a run sees them."""
        reading = self.of[name]
        rate_hz = self._rates.get(reading.source)
        if reading.cuts is None or rate_hz is None:
            return 1
        new = samples_within(rate_hz, reading.period_us)
        for cut in reading.cuts:
            new = cut.about(new)
        return min(reading.length, new)

    def ends(self, release_us: int, known: Mapping[str, WindowEnd]) -> dict[str, WindowEnd]:
        """Where every source's window ends that nobody says more of: at the release, by its stream's rate."""
        return {
            name: known.get(name) or WindowEnd(samples_within(rate_hz, release_us + EARLY_US))
            for name, rate_hz in self._rates.items()
        }

    def points(self, release_us: int, known: Mapping[str, WindowEnd]) -> dict[str, Point]:
        """How far each of these stages has come in a frame."""
        ends = self.ends(release_us, known)
        return {name: reading.point(release_us, ends) for name, reading in self.of.items()}


def _first(stage: BoundStage) -> Any:
    """The parameters of its first variant: positions are the same in all."""
    return next(iter(stage.params.values()))


def _cut(entries: Callable[[Any, int], int], params: Any, length: int) -> Cut:
    """How a stage cuts an input of so many entries."""
    at = length
    while at > 1 and entries(params, at - 1) == entries(params, length):
        at -= 1
    return Cut(lambda count: entries(params, count), at)

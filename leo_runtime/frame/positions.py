"""How far the inputs of stages that keep state have come in a frame, and how much of them is new since another.

A source's window ends at a number of its stream: that is a stage's position. Behind a stage that keeps state
`Keeping.entries` says how many entries so many samples are. Its entries are cut from where a window begins, so they are
those of another window only where both begin a whole number of entries apart. Inputs that come whole with every run are
told apart by their release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from leo_runtime.documents.binding import BoundStage
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frozen import dataclass
from leo_runtime.values import samples_within

EARLY_US = 1
"""What rounding may put a release before its last sample."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Losses of a stream that were found after samples behind them had their numbers, which moved."""

    found: int = 0
    """How many there were so far."""
    newest: tuple[tuple[int, int], ...] = ()
    """Of the newest at most `MOST` from which number on, as it was then, samples moved, and by how many."""

    MOST: ClassVar[int] = 64

    def more(self, number: int, samples: int) -> Corrections:
        """With one more."""
        return Corrections(self.found + 1, (*self.newest, (number, samples))[-self.MOST :])

    def since(self, before: Corrections) -> tuple[tuple[int, int], ...]:
        """Those that were found since, as far as they are known."""
        later = self.found - before.found
        return self.newest[-later:] if later > 0 else ()


NO_CORRECTIONS = Corrections()


@dataclass(frozen=True, slots=True)
class WindowEnd:
    """Where a source's window ends in its stream."""

    number: int
    """How many samples came before it, or were lost."""
    lost: int = 0
    """How many of them were lost."""
    late: int = 0
    """How many of the last of these had not come by then."""
    unbroken: int | None = None
    """How many samples at its end came, none lost between; None: all of it."""
    corrections: Corrections = NO_CORRECTIONS
    """Of the stream by then."""
    restarts: int = 0
    """How often the stream was restarted by then: what it held before is no part of it."""


def end_at(rate_hz: float, release_us: int, unbroken: int | None = None) -> WindowEnd:
    """Where a window ends of which only its release is known, and how much at its end came, none lost between."""
    return WindowEnd(samples_within(rate_hz, release_us + EARLY_US), unbroken=unbroken)


@dataclass(frozen=True, slots=True)
class Point:
    """How far a stage's input has come in a frame."""

    position: int
    """In samples of its source; of an input that comes whole, the frame's release."""
    release_us: int
    lost: int = 0
    """How many of the samples were lost; 0 of inputs that come whole."""
    late: int = 0
    """As of its source's `WindowEnd`, and so are the others."""
    unbroken: int | None = None
    corrections: Corrections = NO_CORRECTIONS
    restarts: int = 0
    """How often the streams that it comes from were restarted, all together."""

    def moved(self, corrections: Corrections) -> tuple[Point, int]:
        """The same as samples are numbered after these, and how many lost ones were put in before it."""
        put_in = 0
        for number, samples in corrections.since(self.corrections):
            if self.position + put_in - self.late > number:
                put_in += samples
        return (replace(self, position=self.position + put_in) if put_in else self), put_in

    def is_beyond(self, other: Point) -> bool:
        """Whether it has come farther, however samples were numbered."""
        if self.restarts != other.restarts:
            return self.restarts > other.restarts
        return self.moved(other.corrections)[0].position > other.moved(self.corrections)[0].position


@dataclass(frozen=True, slots=True)
class Cut:
    """How a stage cuts its input into entries of its output."""

    entries: Callable[[int], int]
    """How many there have been in all, of so many entries of its input."""
    at: int
    """After so many of them one was just complete."""
    behind: int
    """So many entries of its input are behind that."""

    def new(self, entries: int) -> int | None:
        """How many entries more there are when so many came in; None: they do not fall on those of before."""
        after = self.entries(self.at + entries)
        return after - self.entries(self.at) if not entries or self.entries(self.at + entries - 1) < after else None

    def about(self, entries: int) -> int:
        """How many entries those are, wherever they fall."""
        return self.entries(self.at + entries) - self.entries(self.at)

    def within(self, entries: int) -> int:
        """How many are of nothing but the last so many entries of its input."""
        return self.entries(max(0, entries - self.behind))


@dataclass(frozen=True, slots=True)
class Since:
    """What has come to a stage since it last ran, in entries of its input."""

    came: int | None
    """With those that were lost, and those that this run does not see; None: they are others than before."""
    fresh: int
    """The last of them that this run sees, and that all came."""
    missed: int
    """The others, and those that were found to be lost before what it had met."""
    lost: int
    """How many of them were lost; less than 0 where samples turned up."""


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
    sources: tuple[str, ...] = ()
    """All source stages at a rate that it comes from."""

    def point(self, release_us: int, ends: Mapping[str, WindowEnd]) -> Point:
        """How far it has come in a frame."""
        restarts = sum(ends[name].restarts for name in self.sources if name in ends)
        end = ends.get(self.source)
        if self.cuts is None or end is None:
            return Point(release_us, release_us, restarts=restarts)
        return Point(end.number, release_us, end.lost, end.late, end.unbroken, end.corrections, restarts)

    def since(self, before: Point, now: Point) -> Since:
        """What has come since."""
        if self.cuts is None:
            after_us = now.release_us - before.release_us
            runs = max(1, (2 * after_us + self.period_us) // (2 * self.period_us)) if after_us else 0
            return Since(runs, min(runs, 1), max(0, runs - 1), 0)
        there, put_in = before.moved(now.corrections)
        # A run of a frame that was there before a loss was found, and goes on from one that was told of it.
        here, known = now.moved(before.corrections)
        came: int | None = here.position - there.position
        for cut in self.cuts:
            came = None if came is None else cut.new(came)
        lost = now.lost + known - before.lost
        if came is None:
            return Since(None, 0, 0, lost)
        fresh = min(came, self.length - self.broken(now))
        return Since(came, fresh, came - fresh + self._entries(put_in), self._entries(lost))

    def broken(self, now: Point) -> int:
        """How many entries of what it sees are there up to the last that was lost."""
        if self.cuts is None or now.unbroken is None:
            return 0
        unbroken = now.unbroken
        for cut in self.cuts:
            unbroken = cut.within(unbroken)
        return max(0, self.length - unbroken)

    def _entries(self, lost: int) -> int:
        """In how many entries samples are that were lost, about; less than 0 where they turned up."""
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
        sources: dict[str, tuple[str, ...]] = {}
        for stage in merged.stages:
            name = stage.name
            own = (name,) if name in self._rates else ()
            sources[name] = own + tuple(dict.fromkeys(source for one in stage.inputs for source in sources[one]))
            read = tuple(dict.fromkeys(up for one in stage.inputs for up in ((one,) if one in self.of else above[one])))
            above[name] = read
            if not stage.inputs:
                continue
            source, cuts = counted.get(stage.inputs[0], ("", None))
            length = 1 if cuts is None or not stage.bound.input_shapes[0] else stage.bound.input_shapes[0][0]
            entries = _entries(stage.bound)
            if cuts is not None and entries is not None:
                counted[name] = (source, (*cuts, _cut(entries, _first(stage.bound), length)))
            if not stage.bound.keeps_state:
                continue
            shortest_us = min(periods[graph] for graph in stage.graphs)
            self.of[name] = Reading(name, length, cuts, source, shortest_us, read, sources[name])

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
        return {name: known.get(name) or end_at(rate_hz, release_us) for name, rate_hz in self._rates.items()}

    def points(self, release_us: int, known: Mapping[str, WindowEnd]) -> dict[str, Point]:
        """How far each of these stages has come in a frame."""
        ends = self.ends(release_us, known)
        return {name: reading.point(release_us, ends) for name, reading in self.of.items()}


def _first(stage: BoundStage) -> Any:
    """The parameters of its first variant: positions are the same in all."""
    return next(iter(stage.params.values()))


def _entries(stage: BoundStage) -> Callable[[Any, int], int] | None:
    """How its input becomes entries of its output, whether it keeps them or computes them anew."""
    keeping = next((found for variant in stage.params if (found := stage.keeping(variant))), None)
    if keeping is not None:
        return keeping.entries
    rows = stage.operator.rows
    return None if rows is None else rows(_first(stage))


def _cut(entries: Callable[[Any, int], int], params: Any, length: int) -> Cut:
    """How a stage cuts an input of so many entries."""
    at = length
    while at > 1 and entries(params, at - 1) == entries(params, length):
        at -= 1
    return Cut(lambda count: entries(params, count), at, length - at)

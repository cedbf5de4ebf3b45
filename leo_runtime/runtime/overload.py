"""Who goes when not everything fits: the least weighty task graph, and its newest frames first.

**The rule.** Graphs that may run on one processor, directly or through others, are a group. Where a graph would be late
that would not be on a free machine, the least weighty graph of its group goes, if one there weighs more; of equal
weight the one that went least often so far, then the one that is written last. If all that is late weighs as little as
it, only its frame at hand goes. Otherwise it stays away until `FIRST_ROOM` of its releases in a row had room for it. If
it has to go again before as many of its releases were let in as it had waited for, it waits for twice as many, up to
`MOST_ROOM`.

So within a group nobody stays away while one that weighs less is let in, and where all weigh the same nobody goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from leo_runtime.frozen import dataclass

FIRST_ROOM = 16
MOST_ROOM = 1024


@dataclass(slots=True)
class _Kept:
    """What is known of a graph. `room`: how many releases in a row had room for it, while it stays away."""

    weight: int
    order: int
    group: frozenset[str]
    away: bool = False
    room: int = 0
    needs: int = FIRST_ROOM
    let_in: int = 0
    """How many of its releases were let in since it came back."""
    was_away: bool = False
    gone: int = 0


class Overload:
    """Who is let in. For one thread at a time."""

    def __init__(self, weights: Mapping[str, int], places: Mapping[str, Collection[str]]) -> None:
        """`weights` of the graphs, in the order in which they are written; `places` are where each may run."""
        groups = _groups(places)
        self._graphs = {
            name: _Kept(weight, order, groups[name]) for order, (name, weight) in enumerate(weights.items())
        }
        self.matters = any(weight != weights[other] for name, weight in weights.items() for other in groups[name])
        """Whether the rule can let anybody go at all."""
        self.is_calm = True
        """Whether nobody ever had to stay away: then nothing is known of how often anybody was let in."""

    def take_over(self, before: Overload) -> None:
        """Go on with what is known of graphs of the same names. One that weighs more than before is let in again."""
        self.is_calm = before.is_calm
        for name, one in self._graphs.items():
            known = before._graphs.get(name)
            if known is not None:
                away = known.away and one.weight <= known.weight
                self._graphs[name] = replace(known, weight=one.weight, order=one.order, group=one.group, away=away)

    @property
    def away(self) -> tuple[str, ...]:
        """Who stays away."""
        return tuple([name for name, one in self._graphs.items() if one.away])

    def let_in(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of a release's graphs that do not stay away."""
        return tuple([name for name in names if not self._graphs[name].away])

    def goes(self, late: Collection[str], here: Collection[str], out: Collection[str] = ()) -> str | None:
        """Who goes since these are late, of the release of the graphs `here`; None: nobody, all weigh the same.

        It may be one that is not `here`, but none that is `out`, and in nobody's way. `late` is not empty, and of those
        let in.
        """
        heaviest = max((self._graphs[name] for name in late), key=lambda one: one.weight)
        there = [name for name in heaviest.group if name not in out]
        present = {name: self._graphs[name] for name in there if not self._graphs[name].away}

        def first(name: str) -> tuple[int, int, int]:
            return present[name].weight, present[name].gone, -present[name].order

        least = min(present, key=first)
        if present[least].weight == heaviest.weight:
            # Only what is as light as any is late: a frame of those goes, and no later ones with it.
            here_too = [name for name in here if name in present and present[name].weight == heaviest.weight]
            if not here_too or heaviest.weight == max(self._graphs[name].weight for name in heaviest.group):
                return None
            least = min(here_too, key=first)
        else:
            self._send_away(present[least])
        present[least].gone += 1
        return least

    def _send_away(self, one: _Kept) -> None:
        self.is_calm = False
        again = one.was_away and one.let_in < one.needs
        one.needs, one.was_away = min(2 * one.needs, MOST_ROOM) if again else FIRST_ROOM, True
        one.away, one.room, one.let_in = True, 0, 0

    def may_return(self, names: Iterable[str]) -> str | None:
        """The weightiest of a release's graphs that stay away: whether there is room for it is to be told (`tried`)."""
        away = [name for name in names if self._graphs[name].away]
        return min(away, key=lambda name: (-self._graphs[name].weight, self._graphs[name].order), default=None)

    def tried(self, name: str, has_room: bool) -> bool:
        """A release of one that stays away had room for it, or not; True: it is let in from this release on."""
        one = self._graphs[name]
        if not has_room:
            # As long as there is none for it there is none for those that weigh less.
            for other in one.group:
                if self._graphs[other].weight <= one.weight:
                    self._graphs[other].room = 0
            return False
        one.room += 1
        if one.room < one.needs:
            return False
        for other in one.group:
            if self._graphs[other].weight > one.weight or other == name:
                self._graphs[other].away = False
        return True

    def count_in(self, names: Iterable[str]) -> None:
        """Take note of who is in a frame that is placed."""
        for name in names if not self.is_calm else ():
            self._graphs[name].let_in += 1


def _groups(places: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """The graphs that each one meets on a processor, directly or through others; itself too."""
    groups: list[tuple[set[str], set[str]]] = []
    for name, where in places.items():
        names, resources = {name}, set(where)
        apart = []
        for group in groups:
            if group[1] & resources:
                names |= group[0]
                resources |= group[1]
            else:
                apart.append(group)
        groups = [*apart, (names, resources)]
    return {name: frozenset(names) for names, _ in groups for name in names}

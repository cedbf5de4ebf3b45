"""Which stages cannot be placed for want of links, and which links would let them be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from leo_runtime.documents.problem import Question

TRIES = 5_000
"""How many places may be tried to tell whether stages can be placed."""
NAMED = 4
"""How many stages, and how many links, are named."""

Pair = tuple[str, str]
"""A link, by its source and its target."""


class Network:
    """Where the stages of a problem can run, what each reads, and which processors are linked."""

    def __init__(self, problem: Question) -> None:
        self.links = frozenset((link.source, link.target) for link in problem.links)
        self.places = {s.name: tuple(dict.fromkeys(mode.resource for mode in s.modes)) for s in problem.stages}
        self._reads = {s.name: tuple(name for name in s.inputs if name in self.places) for s in problem.stages}
        self._beside = {name: set(read) for name, read in self._reads.items()}
        for reader, read in self._reads.items():
            for name in read:
                self._beside[name].add(reader)

    def can_be_placed(self, stages: Collection[str], links: frozenset[Pair]) -> bool | None:
        """Whether these stages can be, each linked to those among them that it reads; None: `TRIES` were too few."""
        tries = iter(range(TRIES))

        def place(left: dict[str, Sequence[str]]) -> bool | None:
            if not left:
                return True
            name = min(left, key=lambda name: len(left[name]))
            for here in left[name]:
                if next(tries, None) is None:
                    return None
                others = {other: places for other, places in left.items() if other != name}
                for other in self._beside[name] & others.keys():
                    others[other] = [at for at in others[other] if self._agree(name, here, other, at, links)]
                if all(others.values()) and (found := place(others)) is not False:
                    return found
            return False

        return place({name: self.places[name] for name in stages})

    def _agree(self, name: str, here: str, other: str, there: str, links: frozenset[Pair]) -> bool:
        """Whether two stages that are there are linked, where one reads the other."""
        if here == there:
            return True
        forth = name not in self._reads[other] or (here, there) in links
        return forth and (other not in self._reads[name] or (there, here) in links)

    def clash(self) -> tuple[str, ...]:
        """Some stages that cannot be placed together, in their order; none where that was not found out."""
        left, found = list(self.places), list[str]()

        def clashes(count: int) -> bool:
            return self.can_be_placed([*found, *left[:count]], self.links) is False

        while True:
            # The last of the fewest with which those that were found cannot be placed is one of them.
            count = bisect_left(range(len(left) + 1), True, key=clashes)
            if count > len(left):
                return ()
            if count == 0:
                return tuple(name for name in self.places if name in found)
            found.append(left[count - 1])
            del left[count - 1 :]

    def missing(self, stages: Collection[str]) -> tuple[Pair, ...]:
        """The links that are not there, from a place of one of these stages to one of a stage that reads it."""
        found = (
            (here, there)
            for reader in stages
            for name in self._reads[reader]
            if name in stages
            for here in self.places[name]
            for there in self.places[reader]
            if here != there and (here, there) not in self.links
        )
        return tuple(dict.fromkeys(found))

    def remedies(self, missing: Sequence[Pair]) -> Iterator[Pair]:
        """Those of these links with any one of which all stages could be placed."""
        return (pair for pair in missing if self.can_be_placed(self.places, self.links | {pair}))


def unlinkable(problem: Question) -> str | None:
    """The stages that clash, where each can run, and what would help; None where that was not found out."""
    network = Network(problem)
    clash = network.clash()
    if not clash:
        return None
    stages = _some([f"`{name}` (on {' or '.join(f'`{at}`' for at in network.places[name])})" for name in clash])
    missing = network.missing(clash)
    remedies = [_shown(pair) for pair in islice(network.remedies(missing), NAMED)]
    lacks = f"a link {' or '.join(remedies)} would do"
    if not remedies:
        lacks = f"more than one is needed of the links {_some(map(_shown, missing))}"
    return f"rule 4: {stages} cannot be placed so that each has a link to those that read it; {lacks}"


def _shown(pair: Pair) -> str:
    return f"`{pair[0]}` -> `{pair[1]}`"


def _some(shown: Iterable[str]) -> str:
    names = list(shown)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")

"""Entries of a ledger: some energy with its cause, and their sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from leo_runtime.frozen import dataclass

Cause = Literal[
    "run", "failed run", "transfer", "load", "wake-up", "awake", "idle tail", "radio tail", "asleep", "solver"
]
"""Why energy was used."""


class Entry(NamedTuple):
    """Some energy, and why it was used. `frame` and `stage` are None and "" where it belongs to none.

    A tuple with names, since a run has one for each of its stages: it is made in a third of the time.
    """

    at_us: int
    until_us: int
    """It is drawn evenly from `at_us` until then; at once where both are equal, as a wake-up is."""
    nj: int
    cause: Cause
    resource: str
    """A processor, a radio, a store, or a link that names no radio ("a -> b")."""
    frame: int | None = None
    stage: str = ""
    graphs: tuple[str, ...] = ()

    def shares(self) -> tuple[tuple[str, int], ...]:
        """What each graph is charged, in nJ: the energy split evenly, what does not divide 1 nJ each to the first ones.

        What belongs to no graph is "" charged. They add up to `nj`.
        """
        if len(self.graphs) == 1:
            return ((self.graphs[0], self.nj),)
        graphs = self.graphs or ("",)
        each, rest = divmod(self.nj, len(graphs))
        return tuple((graph, each + (index < rest)) for index, graph in enumerate(graphs))


@dataclass(frozen=True, slots=True)
class Ledger:
    """All entries, in the order of time."""

    entries: tuple[Entry, ...]

    @property
    def total_nj(self) -> int:
        """The sum of all entries."""
        return sum(entry.nj for entry in self.entries)

    def by_cause(self) -> dict[str, int]:
        """Nanojoules of each cause, the greatest first."""
        return _sums((entry.cause, entry.nj) for entry in self.entries)

    def by_resource(self) -> dict[str, int]:
        """Nanojoules of each processor and radio, and of links that name neither ("a -> b"), the greatest first."""
        return _sums((entry.resource, entry.nj) for entry in self.entries)

    def by_graph(self) -> dict[str, int]:
        """Nanojoules of each graph, the greatest first; "" is what belongs to none."""
        return _sums(share for entry in self.entries for share in entry.shares())


def in_order(entries: Iterable[Entry]) -> Ledger:
    """A ledger of these entries, without those of nothing."""
    return Ledger(tuple(sorted((entry for entry in entries if entry.nj), key=lambda entry: entry.at_us)))


def all_graphs(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The graphs of several things, each once."""
    return tuple(dict.fromkeys(graph for part in parts for graph in part))


def _sums(parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, nj in parts:
        sums[name] = sums.get(name, 0) + nj
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))

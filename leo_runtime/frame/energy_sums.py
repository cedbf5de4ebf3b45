"""Sums of a ledger's entries, as these are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import get_args

from leo_runtime.frame.entries import Cause, Entry

Key = tuple[Cause, str, tuple[str, ...]]
"""Cause, resource and graphs: entries that have them in common are charged alike."""


class EnergySums:
    """The sums of a ledger whose entries are told one after the other, exact and of constant size."""

    def __init__(self) -> None:
        """Nothing was used yet."""
        self._of: dict[Key, list[int]] = {}
        """The energy of the entries, and how many of them leave 1, 2, ... nJ over when they are split among the
        graphs."""

    def add(self, entries: Iterable[Entry]) -> None:
        """Count these, too."""
        of = self._of
        for _, _, nj, cause, resource, _, _, graphs in entries:
            key = (cause, resource, graphs)
            sums = of.get(key)
            if sums is None:
                sums = of[key] = [0] * max(1, len(graphs))
            sums[0] += nj
            if len(graphs) > 1 and (rest := nj % len(graphs)):
                sums[rest] += 1

    def add_sums(self, sums: Mapping[Key, Sequence[int]]) -> None:
        """Count entries that were summed elsewhere: the energy of each kind, and how many leave 1, 2, ... nJ over."""
        for key, more in sums.items():
            if more[0]:
                known = self._of.get(key)
                self._of[key] = list(more) if known is None else [a + b for a, b in zip(known, more, strict=True)]

    def by_resource(self) -> dict[str, dict[str, int]]:
        """Nanojoules by processor, radio and link that names neither, and there by cause, both in order of `Cause`."""
        return self._by(lambda resource, _, sums: ((resource, sums[0]),))

    def by_graph(self) -> dict[str, dict[str, int]]:
        """Nanojoules by graph, and there by cause; "" is what belongs to none."""
        return self._by(lambda _, graphs, sums: _shares(graphs, sums))

    def _by(
        self, parts: Callable[[str, tuple[str, ...], Sequence[int]], Iterable[tuple[str, int]]]
    ) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for (cause, resource, graphs), sums in sorted(self._of.items(), key=lambda item: _RANK[item[0][0]]):
            for name, nj in parts(resource, graphs, sums):
                causes = found.setdefault(name, {})
                causes[cause] = causes.get(cause, 0) + nj
        return found


_RANK: dict[str, int] = {cause: rank for rank, cause in enumerate(get_args(Cause))}


def _shares(graphs: tuple[str, ...], sums: Sequence[int]) -> Iterator[tuple[str, int]]:
    """What entries of these graphs are charged to each, as `Entry.shares` of each of them says."""
    if len(graphs) < 2:
        yield (graphs[0] if graphs else ""), sums[0]
        return
    over = sums[1:]
    each = (sums[0] - sum(rest * count for rest, count in enumerate(over, 1))) // len(graphs)
    for index, graph in enumerate(graphs):
        yield graph, each + sum(over[index:])  # Of what leaves more than `index` over.

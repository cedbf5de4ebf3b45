"""What the gates of a window mean for a solver: who is behind which, and which lists can be worth waiting for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from leo_runtime.documents.window import CERTAIN, WindowProblem
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates of a window. Likelihoods are in parts per million."""

    behind: Mapping[str, frozenset[str]]
    """Stage -> all gates it is behind: each of its gates is that gate, or is behind it."""
    opens_ppm: Mapping[str, int]
    """Gate -> how likely it is to open, in the order in which stages name them."""

    @staticmethod
    def of(problem: WindowProblem) -> Gates:
        """The gates of a question."""
        gates = {stage.name: stage.gates for stage in problem.stages}
        # Largest sets first: what cannot be is taken away until nothing changes.
        behind = {name: frozenset(gates) if named else frozenset() for name, named in gates.items()}
        changed = True
        while changed:
            changed = False
            for name, named in gates.items():
                left = behind[name].intersection(*(behind[gate] | {gate} for gate in named))
                changed |= left != behind[name]
                behind[name] = left
        opens = dict.fromkeys((gate for named in gates.values() for gate in named), 0)
        for stage in problem.stages:
            for gate in behind[stage.name]:
                opens[gate] = max(opens[gate], stage.chance_ppm)
        return Gates(behind, opens)

    def likelihood_ppm(self, gates: Iterable[str]) -> int:
        """How likely one of the gates of a list is to open: the sum, at most certain."""
        return min(CERTAIN, sum(self.opens_ppm[gate] for gate in gates))

    def covers(self, gates: Collection[str], stage: str) -> bool:
        """Whether a stage is behind at least one of these gates."""
        return not self.behind[stage].isdisjoint(gates)

    def lists(self, gates: Collection[str]) -> Iterator[tuple[str, ...]]:
        """The empty list, and every list of these gates of which none is behind another, shorter ones first.

        Whoever is behind a gate is also behind all that this gate is behind, and these end earlier: beside one of them
        the gate would only make the list likelier. What a stage is behind is a chain, in which each gate is behind the
        next, so that it is behind one gate of such a list at most.
        """
        known = [gate for gate in self.opens_ppm if gate in gates]
        found: list[tuple[int, tuple[str, ...]]] = [(0, ())]
        for begin, after in found:
            yield after
            for i, gate in enumerate(known[begin:], begin + 1):
                if not self.covers(after, gate) and not any(gate in self.behind[other] for other in after):
                    found.append((i, (*after, gate)))

    def lists_for(self, readers: Collection[str]) -> list[tuple[str, ...]]:
        """The lists that a transfer to these readers can be worth waiting for; the first is empty.

        Each reader is behind a gate of the list, and no gate can be left out: a longer list waits longer, is likelier,
        and lies in fewer spans.
        """

        def serves(after: Collection[str]) -> bool:
            return all(self.covers(after, reader) for reader in readers)

        known = frozenset[str]().union(*(self.behind[reader] for reader in readers))
        return [
            after
            for after in self.lists(known)
            if not after or (serves(after) and not any(serves([g for g in after if g != gate]) for gate in after))
        ]


def share(energy_nj: int, chance_ppm: int) -> int:
    """An energy times its likelihood, rounded up."""
    return -(-energy_nj * chance_ppm // CERTAIN)

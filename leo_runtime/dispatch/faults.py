"""What goes wrong in virtual time, and when: what the simulator tells its dispatcher of it, and how runs go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leo_runtime.documents.faults import Fault

GONE = "it is gone, as the fault says that was asked for"


class FaultPlan:
    """All faults of a run."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        """In any order; those of one processor may overlap."""
        self.links = tuple(one for one in faults if one.links)
        self.deaths = tuple(one for one in faults if not one.links and one.how == "gone")
        self._slow: dict[str, list[Fault]] = {}
        for one in sorted(faults, key=lambda one: one.from_us):
            if one.how != "gone":
                self._slow.setdefault(one.name, []).append(one)

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes wrong."""
        return not (self.links or self.deaths or self._slow)

    def is_dead(self, processor: str, at_us: int) -> bool:
        """Whether it is gone then."""
        return any(one.name == processor and one.from_us <= at_us < one.until_us for one in self.deaths)

    def end_us(self, processor: str, start_us: int, lasts_us: int) -> int:
        """When a run is done that begins then and would last so long there."""
        slow = self._slow.get(processor)
        if slow is None:
            return start_us + lasts_us
        at_us, left_us = start_us, lasts_us
        for until_us, times in _paces(slow, start_us):
            if until_us is None:
                break
            # At that pace so much of it is done until the next pace begins; None: none of it.
            done_us = 0 if times is None else (until_us - at_us) // times
            if times is not None and done_us >= left_us:
                return at_us + left_us * times
            left_us -= done_us
            at_us = until_us
        return at_us + left_us


NO_FAULTS = FaultPlan()


def _paces(slow: Sequence[Fault], from_us: int) -> Iterator[tuple[int | None, int | None]]:
    """Until when a processor has which pace, as how many times as long runs take (None: they stand still), from then
    on; the last is as usual, and for ever. Of faults that overlap the worst counts."""
    edges = sorted({at_us for one in slow for at_us in (one.from_us, one.until_us) if at_us > from_us})
    before_us = from_us
    for edge_us in edges:
        now = [one for one in slow if one.from_us <= before_us < one.until_us]
        stands = any(one.how == "silent" for one in now)
        yield edge_us, None if stands else max([one.times for one in now], default=1)
        before_us = edge_us
    yield None, 1

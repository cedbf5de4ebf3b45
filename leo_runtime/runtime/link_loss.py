"""What share of a link's transfers do not get there, from those that were seen on it: a pure value, no clock.

Each transfer counts less the more came after it, and the longer it is over: some minutes later nothing is left of it.
Beside what was seen stand some transfers that got there, so that one that fails at once is not all there is, and of a
link that never lost any nothing is lost. How far that may be off is Wilson's interval, of as many as are left.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt

from leo_runtime.frozen import dataclass

LASTS_S = 60.0
"""After so long a transfer counts a third."""
MEMORY = 20
"""Of so many transfers the estimate is made, however many there were: each one more counts the others 1/20 less."""
PRIOR = 4.0
"""So many got there before any was seen: the first one that is lost makes it 20 %."""
_PER_S = 1e6


@dataclass(frozen=True, slots=True)
class LossEstimate:
    """Of one link, at a time."""

    at_us: int = 0
    lost: float = 0.0
    """Transfers that did not get there, by what each still counts."""
    there: float = 0.0
    """And those that did."""

    def at(self, now_us: int) -> LossEstimate:
        """The same at a later time: nearer to none, and wider."""
        passed_s = max(0, now_us - self.at_us) / _PER_S
        if not passed_s:
            return self
        stays = exp(-passed_s / LASTS_S)
        return replace(self, at_us=now_us, lost=stays * self.lost, there=stays * self.there)

    @property
    def share(self) -> float:
        """Of all transfers, those that are lost; below 1."""
        return self.lost / (self.lost + self.there + PRIOR)

    def within(self, deviations: float) -> tuple[float, float]:
        """From what to what it is, within so many standard deviations: of 1.28 that is so four times of five."""
        many, square = self.lost + self.there + PRIOR, deviations**2
        middle = (self.share + square / (2 * many)) / (1 + square / many)
        half = sqrt(self.share * (1 - self.share) * square / many + square**2 / (4 * many**2)) / (1 + square / many)
        return max(0.0, min(self.share, middle - half)), min(1.0, middle + half)


def counted(before: LossEstimate, is_lost: bool, at_us: int) -> LossEstimate:
    """The estimate with one more transfer."""
    now, stays = before.at(at_us), 1.0 - 1.0 / MEMORY
    return replace(now, lost=stays * now.lost + is_lost, there=stays * now.there + (not is_lost))

"""How soon something is tried again that ends in the same way each time."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_S = 60.0


@dataclass(slots=True)
class BackOff:
    """Counts ends in a row. After so many that are `free`, each is followed by a rest: 1 s, 2 s, 4 s, at most 60 s."""

    free: int
    ends: int = 0
    how: str = ""
    """The last end, as in "died of SIGABRT"."""
    until_s: float = 0.0

    def ended(self, now_s: float, how: str) -> None:
        """It has ended once more."""
        self.ends += 1
        self.how = how
        if self.ends > self.free:
            self.until_s = now_s + min(LONGEST_S, 2.0 ** min(self.ends - self.free - 1, 10))

    def rest_s(self, now_s: float) -> float:
        """How long it still rests; 0 where it may be tried."""
        return max(0.0, self.until_s - now_s)

"""How soon something is tried again that ends in the same way each time."""

from __future__ import annotations

from dataclasses import dataclass

from leo_runtime.back_off import wait_us

SOON_S = 2.0
"""An end counts as one more in a row when it comes so soon after the last one, or the rest after that."""


@dataclass(slots=True)
class BackOff:
    """Counts ends in a row. After so many that are `free`, each is followed by a rest, as long as `wait_us` says.

    Ends that lie apart are not in a row, whether or not it ran well between: it may not have been called.
    """

    free: int
    ends: int = 0
    how: str = ""
    """The last end, as in "died of SIGABRT"."""
    until_s: float = 0.0
    """When it may be tried again: at its last end, or when the rest after that is over."""

    def ended(self, now_s: float, how: str) -> None:
        """It has ended once more."""
        if now_s > self.until_s + SOON_S:
            self.ends = 0
        self.ends += 1
        self.how = how
        self.until_s = now_s
        if self.ends > self.free:
            self.until_s = now_s + wait_us(self.ends - self.free - 1) / 1e6

    def rest_s(self, now_s: float) -> float:
        """How long it still rests; 0 where it may be tried."""
        return max(0.0, self.until_s - now_s)

"""How soon something is tried again that ends in the same way each time."""

from __future__ import annotations

from dataclasses import dataclass

from leo_runtime.back_off import wait_us


@dataclass(slots=True)
class BackOff:
    """Counts ends in a row. After so many that are `free`, each is followed by a rest, as long as `wait_us` says."""

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
            self.until_s = now_s + wait_us(self.ends - self.free - 1) / 1e6

    def rest_s(self, now_s: float) -> float:
        """How long it still rests; 0 where it may be tried."""
        return max(0.0, self.until_s - now_s)

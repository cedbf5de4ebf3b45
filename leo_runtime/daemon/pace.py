"""How fast sound is taken that may come faster than it was recorded, as from a file. Pure."""

from __future__ import annotations

AHEAD_US = 500_000
"""So much may come at once."""
FASTER_PERCENT = 1
"""So much faster than by its rate it may always come: no device's clock is so far off, and none may fall behind for
ever by being held to a rate that is not its own."""
MOST_CREDIT_US = 10_000_000
"""What was kept on its way for up to so long may all come at once."""


class Pace:
    """Of one stretch of sound, which begins at a time."""

    def __init__(self, began_us: int) -> None:
        self._due_us = began_us
        """When what came so far would have come at the fastest."""

    def next_us(self, now_us: int, lasts_us: int) -> int:
        """When the next piece, which lasts so long, may be taken; it is taken to be, then."""
        at_us = self._due_us - AHEAD_US
        self._due_us = max(self._due_us, now_us - MOST_CREDIT_US) + lasts_us * (100 - FASTER_PERCENT) // 100
        return at_us

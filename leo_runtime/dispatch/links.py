"""Which links are down, and which are back and not used yet: one that comes and goes is waited for ever longer.

A link that falls is not used before `back_off` says, counted from its fall, whether or not it is back by then. One that
falls again before it has been in use for as long as it was waited for is waited for twice as long. So an outage that is
longer than the first wait costs nothing beside itself, and a link that flaps costs a frame's work ever more seldom.
"""

from __future__ import annotations

from dataclasses import dataclass

from leo_runtime.back_off import wait_us

LONGEST_WAIT_US = 10_000_000
"""Unlike a device that is gone, a link that flaps is mostly one that is moved, and soon elsewhere."""

Ends = tuple[str, str]
"""A link by its source and its target."""


@dataclass(slots=True)
class _Fallen:
    """A link that has fallen at least once."""

    why: str
    is_down: bool
    """Nobody has said that it is back."""
    fell_us: int
    until_us: int
    """It is not used before."""
    falls: int = 0
    """How often before, one soon after the other."""
    back_us: int = 0
    """When it last came back."""


class Links:
    """The links of a machine that cannot be used now, and why."""

    def __init__(self) -> None:
        self.falls: dict[Ends, int] = {}
        """How often each has fallen so far."""
        self._fallen: dict[Ends, _Fallen] = {}

    def fall(self, ends: Ends, why: str, now_us: int, *, is_down: bool = True) -> bool:
        """It has fallen; `is_down`: and is, until `rise`. False where that was known."""
        before = self._fallen.get(ends)
        if before is not None and before.is_down:
            return False
        in_a_row = 0
        if before is not None:
            used_since_us = max(before.until_us, before.back_us)
            in_a_row = before.falls + 1 if now_us - used_since_us < before.until_us - before.fell_us else 0
        waits_us = wait_us(in_a_row, longest_us=LONGEST_WAIT_US)
        self._fallen[ends] = _Fallen(why, is_down, now_us, now_us + waits_us, in_a_row, now_us)
        self.falls[ends] = self.falls.get(ends, 0) + 1
        return True

    def rise(self, ends: Ends, now_us: int) -> None:
        """It is back."""
        fallen = self._fallen.get(ends)
        if fallen is not None and fallen.is_down:
            fallen.is_down, fallen.back_us = False, now_us

    def out(self, now_us: int) -> dict[Ends, str]:
        """Those that are not used now, and why."""
        if not self._fallen:
            return {}
        return {ends: fallen.why for ends, fallen in self._fallen.items() if fallen.is_down or fallen.until_us > now_us}

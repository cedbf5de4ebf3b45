"""What a link really does over a run, in virtual time: what a transfer takes by it, however its rate changes meanwhile.

Plans know nothing of it but what has been seen so far.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from leo_runtime.frame.conditions import LinkNow
from leo_runtime.frozen import dataclass

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """How the sending of something went."""

    over_us: int
    """When its last byte had left, or the link fell."""
    latency_us: int
    """How long that byte then travels."""
    fell: bool = False
    """The link was down, or fell before the last byte: what was sent is lost."""


@dataclass(frozen=True, slots=True)
class LinkCourse:
    """What a link can do from when on, on the run's clock. The first also holds before, the last for ever."""

    times_us: tuple[int, ...]
    """Rising, at least one."""
    nows: tuple[LinkNow, ...]
    """For each of them."""

    def at(self, now_us: int) -> LinkNow:
        """What it can do then."""
        return self.nows[self._index(now_us)]

    def next_us(self, now_us: int) -> int | None:
        """When that changes next; None: never."""
        after = bisect_right(self.times_us, now_us)
        return self.times_us[after] if after < len(self.times_us) else None

    def sent(self, many_bytes: int, from_us: int) -> Sent:
        """The sending of so many bytes from then on, at whatever rate there is at each moment."""
        index, now_us = self._index(from_us), from_us
        left = many_bytes * _SECOND_US
        """In bytes per second times us, so that nothing is rounded where the rate changes."""
        while True:
            now = self.nows[index]
            if now is None:
                return Sent(now_us, 0, fell=True)
            latency_us, bytes_per_s = now
            if bytes_per_s is None:  # The size does not matter.
                return Sent(now_us, latency_us)
            over_us = now_us - (-left // bytes_per_s)
            index += 1
            if index == len(self.times_us) or over_us <= self.times_us[index]:
                return Sent(over_us, latency_us)
            left -= (self.times_us[index] - now_us) * bytes_per_s
            now_us = self.times_us[index]

    def _index(self, now_us: int) -> int:
        return max(0, bisect_right(self.times_us, now_us) - 1)


LinkCourses = Mapping[tuple[str, str], LinkCourse]
"""Of the links, by (source, target), that do not do what the hardware says."""


@dataclass(frozen=True, slots=True)
class Network:
    """What the links of a machine really do in virtual time, and whether plans know."""

    courses: LinkCourses
    is_known: bool = False
    """Plans know what each link does as their frame is released, though not what it will do; else what was seen of it
    so far, by the transfers that are over (`leo_runtime.runtime.link_watch`). That it is down now is always known, as a
    device knows that it has no carrier."""


NO_NETWORK = Network({})
"""Every link does what the hardware, or whoever submits, says."""

"""Times by a device's own clock on that of the run. Pure arithmetic; it reads no clock.

Most devices are told apart from the run's clock by nothing but when their times came: none of them is from later than
that, and the least that lies between them stays as it is. A clock that goes fast is moved back as its times would come
before they were; one that goes slow, or that is counted in samples of a device that is slow, is moved ahead when even
the most recent of its times have been older for a second. A time that fits neither is of a clock that was set.

In virtual time nothing else tells the time. A clock that goes on is believed there, also where its samples are more
than its rate allows, so that its stream stays beside those of other devices; one that goes back was set.
"""

from __future__ import annotations

from collections import deque

FUTURE_US = 20_000
"""So far ahead of the run's clock a time is believed to be now."""
BEHIND_US = 20_000
"""A clock that has fallen behind by less is left as it is."""
BELIEVED_US = 10_000_000
"""A first time that is so much older than now is by a clock of the device's own, that is not the run's."""
BLOCK_US = 250_000
"""Of each stretch of so long the least delay is kept."""
BLOCKS = 4
"""All of so many stretches say that a clock has fallen behind."""

DRIFTED_US = 100_000
"""A clock that has fallen behind by more, in so many stretches, does not go slow: it was set."""


def is_on_the_runs(told_us: int, now_us: int) -> bool:
    """Whether a device's first time may be by the run's clock, which is at `now_us`."""
    return now_us - BELIEVED_US <= told_us <= now_us + FUTURE_US


class DeviceTime:
    """The clock of one device. For one thread at a time."""

    def __init__(self, told_us: int, at_us: int, now_us: int | None) -> None:
        """It showed `told_us` at `at_us`, and told so at `now_us`; None: the run's time is virtual."""
        self.jumps = 0
        """How often it, or the run's clock, was set."""
        self.slow_us = 0
        """By how much it was moved ahead since it goes slow."""
        self._told_us = told_us
        self._set_us = at_us - told_us
        self._usual_us = 0 if now_us is None else max(0, now_us - at_us)
        """How old its times are when they are told: the least so far."""
        self._last_us = self._usual_us
        """The same of the last one that fitted."""
        self._least: deque[int] = deque(maxlen=BLOCKS)
        self._block_us = self._usual_us
        self._block_ends_us = 0 if now_us is None else now_us + BLOCK_US

    def at_us(self, told_us: int, now_us: int | None, *, least_us: int, expected_us: int, bearable_us: int) -> int:
        """A time of it on the run's clock, which is at `now_us`.

        One that would be before `least_us`, or later than `bearable_us` from now, is by a clock that was set: it is
        then `expected_us`, or about as old as the last one was. In virtual time, one that is before the last one.
        """
        at_us = told_us + self._set_us
        goes_on = now_us is None and told_us > self._told_us
        self._told_us = told_us
        if (at_us < least_us and not goes_on) or (now_us is not None and at_us > now_us + bearable_us):
            self.jumps += 1
            at_us = expected_us
            if now_us is not None:
                at_us = max(at_us, now_us - min(self._last_us, self._usual_us + BEHIND_US))
        if now_us is not None:
            at_us = min(at_us, now_us)
            self._last_us = now_us - at_us
        self._set_us = at_us - told_us
        return at_us

    def fell_behind_us(self, at_us: int, now_us: int) -> int:
        """How far it has fallen behind, by which it is moved ahead: 0 most of the time. After every `at_us`."""
        delay_us = max(0, now_us - at_us)
        self._usual_us = min(self._usual_us, delay_us)
        if now_us < self._block_ends_us:
            self._block_us = min(self._block_us, delay_us)
            return 0
        self._least.append(self._block_us)
        self._block_us, self._block_ends_us = delay_us, now_us + BLOCK_US
        behind_us = min(self._least) - self._usual_us
        if len(self._least) < BLOCKS or behind_us <= BEHIND_US:
            return 0
        self._set_us += behind_us
        if behind_us > DRIFTED_US:
            self.jumps += 1
        else:
            self.slow_us += behind_us
        self._least = deque([delay_us - behind_us for delay_us in self._least], BLOCKS)
        self._block_us -= behind_us
        return behind_us

"""From a device's sample numbers to the run's clock, by when its chunks came. Pure arithmetic; it reads no clock.

A chunk comes when its last sample has been taken, or later, never before: so the line beneath all arrivals is the
device's clock, and what is above it is jitter. The least arrivals of every second are kept for two minutes. The line's
slope is the median of the slopes between any two of them (Theil 1950, Sen 1968), and it lies as low as the lowest of
the last seconds.

A chunk far above the line comes after a stall. Until it is known why, its samples are taken to be as new as they can
be. If those that follow catch up, the device had only kept them; if they stay as late, as much as they are late was
never recorded: a `Loss`, whose samples are counted as if they had come. A chunk far beneath the line shows that a clock
was set: the line is moved.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from leo_runtime.frozen import dataclass
from leo_runtime.runtime.device_time import DeviceTime
from leo_runtime.values import lasting_us

BLOCK_US = 1_000_000
"""Of each stretch of so long the least arrival is kept."""
FIRST_BLOCK_US = 250_000
"""The first stretches are shorter, so that the rate is known soon: an eighth of what has been seen, from this on."""
BLOCKS = 120
RECENT = 4
"""Beneath so many of them, and what came since, the line lies: a slope that is not known yet does no harm for long."""
LEAST_POINTS = 3
"""Of fewer the slope is as it was."""
LEARNED_US = 10_000_000
"""A slope that has been seen for less is believed as much less."""
MOST_DRIFT = 0.02
"""No device's rate is farther off: what is beyond is told as gaps, or as a clock that is set."""
LATE_US = 100_000
"""Later than this is no jitter of arrivals, for a device whose samples are at most half as long."""
TOLD_LATE_US = 20_000
"""The same where the device tells when its samples were taken."""
SETTLE_US = 250_000
"""What comes late for so long, and does not catch up, will not."""
CATCH_UP_US = 20_000
"""Less than this, in that time, is no catching up."""


@dataclass(frozen=True, slots=True)
class Loss:
    """So many samples were never recorded, which would have come after `number` others."""

    number: int
    samples: int


@dataclass(slots=True)
class _Late:
    """Chunks that came too late, and nobody knows yet why."""

    number: int
    """Samples before the first of them."""
    since_us: int
    """When they last caught up."""
    late_us: int
    """How late they were then."""
    least_us: int


class SampleClock:
    """Of one device. `number` is always how many samples came, with those that were lost. For one thread at a time."""

    def __init__(
        self, rate_hz: float, number: int, at_us: int, *, told_us: int | None = None, now_us: int | None = None
    ) -> None:
        """The last of so many samples was taken at `at_us`, the others before it.

        `told_us`: when it was by the device's own clock, `now_us`: when that was told.
        """
        self.rate_hz = rate_hz
        self.stalls = 0
        """How often chunks came too late."""
        self._jumps = 0
        self._step_us = 1e6 / rate_hz
        self._slope = 0.0
        """How much longer a sample lasts than by `rate_hz`, as a share."""
        self._belief = 0.0
        """How well that is known, up to 1."""
        self._device = DeviceTime(at_us if told_us is None else told_us, at_us, now_us)
        self._least: deque[tuple[int, int]] = deque(maxlen=BLOCKS)
        self._late: _Late | None = None
        self._in_time_us = at_us - SETTLE_US
        """When the last stall was caught up with."""
        self._from_us = 0
        """The line is `_low_us` above what `rate_hz` says there, and rises by the slope."""
        self._low_us = 0.0
        self._laid_us = 0.0
        """As `_low_us` was when the line was laid: what came since has lowered it."""
        self._oldest_us = 0
        """From there on it lies beneath what came."""
        self._began_us = lasting_us(rate_hz, number)
        self._begin(self._began_us, at_us - self._began_us)

    @property
    def jumps(self) -> int:
        """How often a clock was set."""
        return self._jumps + self._device.jumps

    @property
    def drift_ppm(self) -> int:
        """How much faster the device is than its `rate_hz`."""
        return round((1 / self._lasts() - 1) * 1e6)

    @property
    def measured_hz(self) -> float:
        """The device's rate by the run's clock."""
        return self.rate_hz / self._lasts()

    def ahead_us(self, number: int) -> float:
        """How much later than by `rate_hz`, from 0 on, the last of so many samples was taken."""
        line_us = self._line_us(lasting_us(self.rate_hz, number))
        return line_us if self._late is None else max(line_us, float(self._late.least_us))

    def observe(self, number: int, samples: int, at_us: int, *, told: bool = False, now_us: int | None = None) -> None:
        """A chunk of so many samples came, with which there are `number`.

        `told`: `at_us` is when its last sample was taken by the device's clock; else, when it arrived. Nothing that is
        told is from after `now_us`, where there is one.
        """
        nominal_us = lasting_us(self.rate_hz, number)
        bearable_us = max(TOLD_LATE_US if told else LATE_US, round(2 * self._step_us))
        # By so much it may have drifted, for all that is known, since the line was laid.
        bearable_us += round(MOST_DRIFT * (1 - self._belief) * (nominal_us - self._oldest_us))
        if told:
            at_us = self._told(at_us, nominal_us, bearable_us, now_us)
        above_us = at_us - nominal_us
        late_us = above_us - self._line_us(nominal_us)
        if late_us > bearable_us:
            self._came_late(number - samples, above_us, at_us)
            return
        if above_us < self._least_us(nominal_us, bearable_us):
            self._jumps += 1
            self._begin(nominal_us, above_us)
        if self._late is not None:
            self._late, self._in_time_us = None, at_us
        self._came(nominal_us, above_us)

    def _told(self, told_us: int, nominal_us: int, bearable_us: int, now_us: int | None) -> int:
        """A time of the device's clock on that of the run: none is before that of samples that came earlier."""
        at_us = self._device.at_us(
            told_us,
            now_us,
            least_us=nominal_us + self._least_us(nominal_us, bearable_us),
            expected_us=nominal_us + round(self._line_us(nominal_us)),
            bearable_us=bearable_us,
        )
        behind_us = 0 if now_us is None else self._device.fell_behind_us(at_us, now_us)
        if behind_us:
            self._raise(behind_us)
        return at_us + behind_us

    def _least_us(self, nominal_us: int, bearable_us: int) -> int:
        """So far above what `rate_hz` says nothing can have been taken there, since the line was laid."""
        return math.ceil(self._laid_us + self._slope * (nominal_us - self._from_us)) - bearable_us

    def loss(self, at_us: int, *, told: bool = False) -> Loss | None:
        """What is known to be lost by now, once: from here on it counts among the samples that came."""
        late = self._late
        if late is None or (not told and at_us - late.since_us < SETTLE_US):
            return None
        self._late = None
        lost_us = late.least_us - self._line_us(lasting_us(self.rate_hz, late.number))
        samples = round(lost_us / self._step_us / (1 + self._slope))
        return Loss(late.number, samples) if samples > 0 else None

    def _lasts(self) -> float:
        """How long a sample lasts, in those by `rate_hz`."""
        return 1 + self._slope + self._device.slow_us / max(LEARNED_US, self._block[0] - self._began_us)

    def _line_us(self, nominal_us: int) -> float:
        return self._low_us + self._slope * (nominal_us - self._from_us)

    def _begin(self, nominal_us: int, above_us: int) -> None:
        """Forget the line, but not its slope."""
        self._least.clear()
        self._open(nominal_us, above_us)
        self._lie()

    def _open(self, nominal_us: int, above_us: int) -> None:
        self._block = (nominal_us, above_us)
        self._block_ends_us = nominal_us + min(BLOCK_US, max(FIRST_BLOCK_US, (nominal_us - self._began_us) // 8))

    def _came(self, nominal_us: int, above_us: int) -> None:
        if nominal_us >= self._block_ends_us:
            self._least.append(self._block)
            self._open(nominal_us, above_us)
            if len(self._least) >= LEAST_POINTS:
                self._belief = min(1.0, (nominal_us - self._began_us) / LEARNED_US)
                self._slope = _slope(self._least) * self._belief
            self._lie()
        elif above_us < self._line_us(nominal_us) or above_us < self._block[1]:
            self._block = min(self._block, (nominal_us, above_us), key=self._over)
            self._low_us = min(self._low_us, above_us - self._slope * (nominal_us - self._from_us))

    def _over(self, point: tuple[int, int]) -> float:
        return point[1] - self._slope * point[0]

    def _lie(self) -> None:
        """Lay the line beneath what came last."""
        self._from_us = self._block[0]
        recent = [self._least[at] for at in range(-min(RECENT, len(self._least)), 0)]
        self._low_us = min(
            above_us - self._slope * (nominal_us - self._from_us) for nominal_us, above_us in (*recent, self._block)
        )
        self._laid_us = self._low_us
        self._oldest_us = recent[0][0] if recent else self._from_us

    def _raise(self, by_us: int) -> None:
        """The device's own clock was moved ahead, and the line goes with it."""
        self._least = deque([(nominal_us, above_us + by_us) for nominal_us, above_us in self._least], BLOCKS)
        self._block = (self._block[0], self._block[1] + by_us)
        self._low_us += by_us
        self._laid_us += by_us

    def _came_late(self, number: int, above_us: int, at_us: int) -> None:
        late = self._late
        if late is None:
            if at_us - self._in_time_us > SETTLE_US:  # Otherwise it goes on.
                self.stalls += 1
            self._late = _Late(number, at_us, above_us, above_us)
            return
        if above_us < late.late_us - CATCH_UP_US:
            late.since_us, late.late_us = at_us, above_us
        late.least_us = min(late.least_us, above_us)


def _slope(points: Sequence[tuple[int, int]]) -> float:
    """The median of the slopes between any two points, which are several."""
    x, y = (np.array(points) - np.array(points[0])).T
    first, second = np.triu_indices(len(x), 1)
    slope = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    return max(-MOST_DRIFT, min(MOST_DRIFT, slope))

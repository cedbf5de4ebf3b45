"""What the way to a server and back can do now, from the transfers that were seen on it: pure values, no clock.

A transfer of n bytes takes a round trip and n bytes at the link's rate. Small ones tell the first, large ones the
second, and each tells of both by what share of it they were: an extended Kalman filter, in logarithms, since a rate is
wrong by so many percent and not by so many bytes. It follows the round trip, which both ways share, and of each way the
rate that it has in the long run, and how far it is from that just now. The last dies away in some ten seconds, as it
does in measured traces, and the second in some minutes, to what the hardware document says. So an estimate that nothing
renews goes back to what is usual, and its interval widens to what is usual: a link that was slow once is tried again,
without a probe.

What one transfer can move it by is bounded (Huber): one that hangs for a second moves it little, several move it there.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

from leo_runtime.backend.transfers import TransferSeen
from leo_runtime.frozen import dataclass

NOISE = 0.1
"""How far off one transfer's time is for reasons of its own, as a share of it."""
OUTLIER = 2.0
"""Of so many standard deviations: what is further off counts as this far."""
MISFIT_GAIN, MOST_MISFIT = 0.1, 9.0
"""How much of one transfer's is believed, and what counts at most."""
NEAR_S, NEAR_SPREAD = 10.0, 0.5
"""How long a rate stays off its long run, and how far it is off: in measured traces a rate's correlation with itself
is 0.75 after 1 s and 0.33 after 10 s, and its standard deviation 0.44 of its mean (docs/recordings.md)."""
LONG_S, LONG_SPREAD = 300.0, 1.0
"""How long the long run stays off what the document says, and how far: it may say a third of it, or three times."""
TRIP_S, TRIP_SPREAD = 300.0, 0.5
"""The same of the round trip."""

_LASTS_S = (TRIP_S, LONG_S, NEAR_S, LONG_S, NEAR_S)
_SPREADS = (TRIP_SPREAD, LONG_SPREAD, NEAR_SPREAD, LONG_SPREAD, NEAR_SPREAD)
_MANY = len(_LASTS_S)
_FIRST_OF_WAY = (1, 3)
"""Where the two of each way are."""
_PER_S = 1e6

Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PathEstimate:
    """A way to a server (0) and back (1) as it is thought to be, at a time."""

    usual_trip_us: float
    """The round trip that the document says, from which it is thought to be off."""
    usual_bytes_per_s: tuple[float, float]
    at_us: int
    """Up to when it is told."""
    off: Row = (0.0,) * _MANY
    """How far it is from that, as logarithms: the round trip, and of each way the rate in the long run, and beside that
    just now."""
    spread: tuple[Row, ...] = tuple(
        tuple(_SPREADS[row] ** 2 if row == column else 0.0 for column in range(_MANY)) for row in range(_MANY)
    )
    """Their covariances."""
    misfit: float = 1.0
    """How many times as much as by `spread` transfers were off of late, squared: some links are less steady than
    others, and their intervals wider."""
    seen: int = 0
    """How many transfers it is made of."""

    def at(self, now_us: int) -> PathEstimate:
        """The same at a later time: nearer to what is usual, and wider."""
        passed_s = max(0, now_us - self.at_us) / _PER_S
        if not passed_s:
            return self
        stays = [exp(-passed_s / lasts_s) for lasts_s in _LASTS_S]
        off = tuple([stay * one for stay, one in zip(stays, self.off, strict=True)])
        spread = []
        for row in range(_MANY):
            new = [stays[row] * stays[column] * self.spread[row][column] for column in range(_MANY)]
            new[row] += _SPREADS[row] ** 2 * (1.0 - stays[row] ** 2)
            spread.append(tuple(new))
        return replace(self, at_us=now_us, off=off, spread=tuple(spread))

    @property
    def trip_us(self) -> float:
        """The round trip, in the middle of what is likely."""
        return self.usual_trip_us * exp(self.off[0])

    @property
    def trip_spread(self) -> float:
        """The standard deviation of its logarithm: 0.1 is some 10 %."""
        return sqrt(max(0.0, self.misfit * self.spread[0][0]))

    def bytes_per_s(self, way: int) -> float:
        """The rate of a way, in the middle of what is likely."""
        first = _FIRST_OF_WAY[way]
        return self.usual_bytes_per_s[way] * exp(self.off[first] + self.off[first + 1])

    def rate_spread(self, way: int) -> float:
        """The standard deviation of its logarithm."""
        first, spread = _FIRST_OF_WAY[way], self.spread
        variance = spread[first][first] + 2 * spread[first][first + 1] + spread[first + 1][first + 1]
        return sqrt(max(0.0, self.misfit * variance))

    def rate_within(self, way: int, deviations: float) -> tuple[float, float]:
        """From what to what the rate is, within so many standard deviations: of 1.28 that is so four times of five."""
        off, middle = exp(deviations * self.rate_spread(way)), self.bytes_per_s(way)
        return middle / off, middle * off

    def took_us(self, way: int, many_bytes: int) -> float:
        """How long a transfer of so many bytes takes, with its round trip."""
        return self.trip_us + many_bytes * _PER_S / self.bytes_per_s(way)


def observe(before: PathEstimate, way: int, seen: TransferSeen) -> PathEstimate:
    """The estimate with one more transfer, of those that got there. The other end's own time is no time of the link."""
    now = before.at(seen.began_us + seen.took_us)
    expected_us = now.took_us(way, seen.bytes)
    took_us = max(1, seen.took_us - seen.server_us)
    first = _FIRST_OF_WAY[way]
    # By how much of itself the time changes with each that is followed. By the rate in the long run: by that of just
    # now the round trip would learn more of each time that is longer than of each that is shorter, and only grow.
    usually_us = seen.bytes * _PER_S / (now.usual_bytes_per_s[way] * exp(now.off[first]))
    share = now.trip_us / (now.trip_us + usually_us)
    slope = [0.0] * _MANY
    slope[0], slope[first], slope[first + 1] = share, share - 1.0, share - 1.0
    across = [row[0] * slope[0] + row[first] * slope[first] + row[first + 1] * slope[first + 1] for row in now.spread]
    variance = NOISE**2 + sum([slope[row] * across[row] for row in (0, first, first + 1)])
    surprise, bound = log(took_us / expected_us), OUTLIER * sqrt(now.misfit * variance)
    moved = max(-bound, min(bound, surprise)) / variance
    off = tuple([one + by * moved for one, by in zip(now.off, across, strict=True)])
    spread = tuple(
        [
            tuple([one - by * other / variance for one, other in zip(row, across, strict=True)])
            for row, by in zip(now.spread, across, strict=True)
        ]
    )
    # What says little of the rate, says little of how steady it is.
    gain = MISFIT_GAIN * (1.0 - share)
    misfit = max(1.0, now.misfit + gain * (min(MOST_MISFIT, surprise**2 / variance) - now.misfit))
    return replace(now, off=off, spread=spread, misfit=misfit, seen=now.seen + 1)

"""Latencies of a long run, in a memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Sequence

MOST_VALUES = 4_096
"""How many different latencies are told apart: half a megabyte."""


class Latencies:
    """Counts whole microseconds by value, so that quantiles are exact: in a long run they repeat.

    Where there are more than `MOST_VALUES` different ones, each is rounded up to as many significant bits as leave no
    more than that. What comes out does not depend on the order in which they came.
    """

    def __init__(self) -> None:
        """There is none yet."""
        self._counts: dict[int, int] = {}
        self._bits: int | None = None
        """How many significant bits are kept; None: all."""
        self.count = 0

    @property
    def within_ppm(self) -> int:
        """By how much a quantile is too high at most; 0: it is exact."""
        return 0 if self._bits is None else -(-1_000_000 // (1 << (self._bits - 1)))

    def add(self, latency_us: int) -> None:
        """Count one more, of at least 0."""
        self.count += 1
        value = latency_us if self._bits is None else _rounded_up(latency_us, self._bits)
        counts = self._counts
        if value in counts:
            counts[value] += 1
            return
        counts[value] = 1
        while len(self._counts) > MOST_VALUES:
            self._coarsen()

    def quantiles(self, percents: Sequence[int]) -> tuple[int, ...]:
        """For each, the value that so many percent of all are not above; 0 of none. The percents rise."""
        found: list[int] = []
        below = 0
        for value, count in sorted(self._counts.items()):
            below += count
            while len(found) < len(percents) and below * 100 >= self.count * percents[len(found)]:
                found.append(value)
        return tuple(found) if self.count else (0,) * len(percents)

    def _coarsen(self) -> None:
        """One bit less of each."""
        self._bits = (max(self._counts).bit_length() if self._bits is None else self._bits) - 1
        counts: dict[int, int] = {}
        for value, count in self._counts.items():
            rounded = _rounded_up(value, self._bits)
            counts[rounded] = counts.get(rounded, 0) + count
        self._counts = counts


def _rounded_up(value: int, bits: int) -> int:
    shift = max(0, value.bit_length() - bits)
    return -(-value >> shift) << shift

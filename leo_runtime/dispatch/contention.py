"""Runs that slow each other in virtual time: how much of each is left, and when it will be done as things are.

What is left of a run is counted in picoseconds that it would take alone, so that who starts and ends beside it costs no
more than that in rounding, and everything is whole numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from leo_runtime.frozen import dataclass

ALONE_PPM = 1_000_000
_PS = 1_000_000
"""Picoseconds of a microsecond."""

_Key = TypeVar("_Key", bound=Hashable)
"""What a run goes by."""


@dataclass(slots=True)
class _Run:
    resource: str
    left_ps: int
    """What it would take alone, as of `since_us`."""
    since_us: int
    factor_ppm: int
    """How many times as long it takes since then."""
    end_us: int


class Contention(Generic[_Key]):
    """The runs that are at work. Who starts or ends one is told of all whose end has changed."""

    def __init__(self, slowdowns_ppm: Mapping[tuple[str, str], int]) -> None:
        """By victim and aggressor, by how much longer a run takes while any other is at work on the aggressor."""
        self._by_victim: dict[str, list[tuple[str, int]]] = {}
        for (victim, aggressor), slowdown_ppm in slowdowns_ppm.items():
            self._by_victim.setdefault(victim, []).append((aggressor, slowdown_ppm))
        self._runs: dict[_Key, _Run] = {}
        self._busy: dict[str, int] = {}

    def end_us(self, run: _Key) -> int | None:
        """When it will be done as things are; None: it is not at work."""
        found = self._runs.get(run)
        return None if found is None else found.end_us

    def start(self, run: _Key, resource: str, alone_us: int, now_us: int) -> list[_Key]:
        """A run begins that would take so long alone: it, and all whose end is another one now."""
        self._busy[resource] = self._busy.get(resource, 0) + 1
        changed = [] if self._busy[resource] > 2 else list(self._retimed(now_us))
        factor_ppm = self._factor_ppm(resource)
        started = _Run(resource, alone_us * _PS, now_us, factor_ppm, 0)
        started.end_us = _end_us(started)
        self._runs[run] = started
        return [run, *changed]

    def end(self, run: _Key, now_us: int) -> list[_Key]:
        """It is done: all whose end is another one now."""
        ended = self._runs.pop(run)
        self._busy[ended.resource] -= 1
        return [] if self._busy[ended.resource] > 1 else list(self._retimed(now_us))

    def _retimed(self, now_us: int) -> Iterator[_Key]:
        for name, run in self._runs.items():
            factor_ppm = self._factor_ppm(run.resource)
            if factor_ppm != run.factor_ppm:
                done_ps = (now_us - run.since_us) * _PS * ALONE_PPM // run.factor_ppm
                run.left_ps = max(0, run.left_ps - done_ps)
                run.since_us, run.factor_ppm = now_us, factor_ppm
                run.end_us = _end_us(run)
                yield name

    def _factor_ppm(self, resource: str) -> int:
        """How many times as long a run takes there, beside who is at work; slowdowns add up."""
        busy = self._busy
        return ALONE_PPM + sum(
            [ppm for name, ppm in self._by_victim.get(resource, ()) if busy.get(name, 0) > (name == resource)]
        )


def _end_us(run: _Run) -> int:
    """Rounded up, so that nothing is left by then."""
    return run.since_us - (-run.left_ps * run.factor_ppm // (ALONE_PPM * _PS))

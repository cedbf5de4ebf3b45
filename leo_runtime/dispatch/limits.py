"""How long a run may take before it is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from leo_runtime.values import whole

SEEN = 15
"""Of so many runs of a mode the median counts: seven outliers in a row move nothing beyond the other values."""
ONE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimit:
    """A run is given up when it takes longer than each of the first three, and its lane goes on without it.

    They are generous, since a run that is merely slow, on a machine that is busy, is not to be given up: a limit finds
    what hangs. And they are short enough for what hung to be over within a second where deadlines are shorter than
    `least_us`: what is set aside is probed a quarter of a second after its limit.
    """

    least_us: int = 500_000
    """No run is given up before."""
    factor: int = 10
    """So many times what the run should take: by its plan, or, where runs of its mode that ended lately took longer, by
    the median of the last 15 of them (the one before the first frame, which warms the kernel up, is the first)."""
    deadlines: int = 1
    """So many times the longest deadline of its frame: what may still be in time is not given up."""
    load_us: int = 120_000_000
    """How long it may take to make a stage ready on a processor in real time, before any run for a frame: to load its
    kernels, and to run each once on zeros."""

    def __post_init__(self) -> None:
        """Raise `InputError` for what is no whole number of at least 1 (0 for `deadlines`)."""
        for name, least in (("least_us", 1), ("factor", 1), ("deadlines", 0), ("load_us", 1)):
            object.__setattr__(self, name, whole(getattr(self, name), name, least=least))


class Limits:
    """How much slower than planned modes have turned out to be, and what that makes of a rule."""

    def __init__(self, rule: RunLimit) -> None:
        self.rule = rule
        self.noted_us = rule.least_us // rule.factor
        """Shorter runs of a mode are far from any limit: they say nothing unless longer ones are known."""
        self.slower: dict[Hashable, deque[int]] = {}
        """Of modes that were noted, how many times as long as planned their last runs took, in ppm."""

    def of_frame_us(self, deadline_us: int) -> int:
        """What no run of a frame is given up before, by its longest deadline (0: it has none)."""
        return max(self.rule.least_us, self.rule.deadlines * deadline_us)

    def expected_us(self, mode: Hashable, planned_us: int) -> int:
        """How long a run should take that is planned to take so long."""
        slower = self.slower.get(mode)
        if slower is None:
            return planned_us
        return max(planned_us, planned_us * sorted(slower)[(len(slower) - 1) // 2] // ONE)

    def change(self, known: Callable[[Hashable], bool], warmed: Iterable[tuple[Hashable, int, int]]) -> None:
        """Forget all modes but those that are `known`; what `observe` takes is there of those that were `warmed`."""
        self.slower = {mode: slower for mode, slower in self.slower.items() if known(mode)}
        for mode, planned_us, lasted_us in warmed:
            self.observe(mode, planned_us, lasted_us)

    def observe(self, mode: Hashable, planned_us: int, lasted_us: int) -> None:
        """Take note of a run that ended, also of one that had been given up."""
        slower = self.slower.get(mode)
        if slower is None:
            if lasted_us <= self.noted_us:
                return
            slower = self.slower[mode] = deque(maxlen=SEEN)
        slower.append(lasted_us * ONE // max(1, planned_us))

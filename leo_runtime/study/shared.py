"""What several cells of a process have in common, and is looked for once: answers, noise, exact answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from leo_runtime.dispatch.simulator import Noise, noise_factor

MOST_ANSWERS = 4_096
MOST_FACTORS = 500_000
"""Of one seed and spread: some 50 MB."""

_Made = TypeVar("_Made")


class Kept:
    """What was made, by what it is made from; what was asked for longest ago is let go of. For one thread."""

    def __init__(self, most: int = MOST_ANSWERS) -> None:
        """Nothing is kept yet."""
        self._most = most
        self._known: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """What is kept by that key, made if it is not there."""
        if key in self._known:
            self._known.move_to_end(key)
            known: _Made = self._known[key]
            return known
        made = self._known[key] = make()
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return made


class Noises:
    """The noise of runs: cells of one repetition have the same, and it is drawn once. For one thread."""

    def __init__(self) -> None:
        """Nothing is drawn yet."""
        self._of: tuple[int, int] | None = None
        self._factors: dict[tuple[int, str, str], float] = {}

    def of(self, seed: int, spread_ppm: int) -> Noise:
        """As `seeded_noise` has it, to the microsecond."""
        if self._of != (seed, spread_ppm):
            self._of, self._factors = (seed, spread_ppm), {}
        factors = self._factors

        def noise(frame: int, stage: str, resource: str, duration_us: int) -> int:
            key = (frame, stage, resource)
            factor = factors.get(key)
            if factor is None:
                factor = noise_factor(seed, spread_ppm, frame, stage, resource)
                if len(factors) < MOST_FACTORS:
                    factors[key] = factor
            lasts_us = round(duration_us * factor)
            return lasts_us if lasts_us > 1 else 1

        return noise


class Shared:
    """All of it. For one thread."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.answers = Kept()
        """By the way of placing and the question: the answer, and its nodes."""
        self.exact = Kept()
        """By the question: the exact answer."""
        self.bests = Kept()
        """By the documents and the question of the whole run: the best plan that was found for it."""
        self.noises = Noises()

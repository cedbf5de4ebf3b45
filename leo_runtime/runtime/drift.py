"""How far stages really are from their profile: a running estimate that one outlier cannot poison.

The estimate is the median of the last `WINDOW` ratios of real to planned duration. Runtimes of this field often keep
a moving average instead (Band, MobiSys 2022, gives the newest value a weight of 0.1); there one run of a hundred times
the usual duration is still felt fifty runs later, here never.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from leo_runtime.frozen import dataclass

WINDOW = 15
"""Enough that seven outliers in a row move nothing beyond the other values."""

SETTLED = 5
"""How many runs it takes before an estimate may change a plan."""

STEP_PPM = 100_000
"""A plan changes only when its factor is off by more than this: plans that change all the time cannot be reused."""

Key = tuple[str, str, str]
"""Stage, variant, resource."""

ONE = 1_000_000
MAX_SLOWED_PPM = 1_000 * ONE
"""A processor is called at most so many times as slow as its profile."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a stage's mode really takes."""

    stage: str
    variant: str
    resource: str
    runs: int
    ratio_ppm: int
    """Real over planned duration, the median of the last runs; 1,000,000 is as planned. Where the processor is said to
    be slow (`Runtime.adjust`), that is planned."""


class Drift:
    """Estimates of every mode that has run, and the factors that plans use."""

    def __init__(self, expected_ppm: Mapping[str, int] = MappingProxyType({})) -> None:
        """`expected_ppm`: by processor, how many times as long runs are reckoned to take before any is seen."""
        self._expected_ppm = dict(expected_ppm)
        self._seen: dict[Key, _Seen] = {}
        self._factors: dict[Key, int] = {}
        self._slowed_ppm: dict[str, int] = {}

    @property
    def is_slowed(self) -> bool:
        """Whether a processor is said or reckoned to be slower than its profile."""
        return bool(self._slowed_ppm or self._expected_ppm)

    def slow(self, slowed_ppm: Mapping[str, int]) -> bool:
        """These processors, and no others, are so many times as slow as their profile; True if any was not before.

        What was seen on a processor of which that changes is forgotten.
        """
        said = {name: factor for name, factor in slowed_ppm.items() if factor != ONE}
        names = [*self._slowed_ppm, *said]
        changed = {name for name in names if said.get(name) != self._slowed_ppm.get(name)}
        self._slowed_ppm = said
        self._seen = {key: seen for key, seen in self._seen.items() if key[2] not in changed}
        self._factors = {key: factor for key, factor in self._factors.items() if key[2] not in changed}
        return bool(changed)

    def observe(self, key: Key, planned_us: int, real_us: int) -> None:
        """Take note of one run. `planned_us` is what the profile says, at least 1."""
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        seen.runs += 1
        slowed_ppm = self._slowed_ppm.get(key[2], ONE)
        seen.ratios_ppm.append(real_us * ONE * ONE // (planned_us * slowed_ppm))

    def kept(self, known: Callable[[Key], bool], expected_ppm: Mapping[str, int] = MappingProxyType({})) -> Drift:
        """What there is of modes that are `known`; what is reckoned with is given anew."""
        other = Drift(expected_ppm)
        other._seen = {key: seen for key, seen in self._seen.items() if known(key)}
        other._factors = {key: factor for key, factor in self._factors.items() if known(key)}
        other._slowed_ppm = dict(self._slowed_ppm)
        return other

    def estimates(self) -> tuple[Estimate, ...]:
        """Every mode that has run, by stage, variant and resource."""
        return tuple(Estimate(*key, seen.runs, seen.median_ppm()) for key, seen in sorted(self._seen.items()))

    def factor_ppm(self, key: Key) -> int:
        """What planned durations of a mode are to be multiplied with, as of the last `settle` and `slow`."""
        return self._factor(key) * self._slowed_ppm.get(key[2], ONE) // ONE

    def _factor(self, key: Key) -> int:
        """By what was seen of it, else what is reckoned with."""
        return self._factors.get(key) or self._expected_ppm.get(key[2], ONE)

    def settle(self) -> bool:
        """Bring the factors up to date where they are more than `STEP_PPM` off; True if any has changed."""
        changed = False
        for key, seen in self._seen.items():
            if seen.runs < SETTLED:
                continue
            ratio, factor = max(1, seen.median_ppm()), self._factor(key)
            if abs(ratio - factor) * ONE > STEP_PPM * factor:
                self._factors[key] = ratio
                changed = True
        return changed


class _Seen:
    """The runs of one mode."""

    __slots__ = ("ratios_ppm", "runs")

    def __init__(self) -> None:
        self.ratios_ppm: deque[int] = deque(maxlen=WINDOW)
        """Of the last of them."""
        self.runs = 0

    def median_ppm(self) -> int:
        """The middle ratio, the lower one of two."""
        return sorted(self.ratios_ppm)[(len(self.ratios_ppm) - 1) // 2]

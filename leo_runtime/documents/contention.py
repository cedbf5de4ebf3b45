"""How much processors slow each other while both are busy: a part of the profile.

A slowdown for each pair, the simplest model of the field: HaX-CoNN (PPoPP 2024) and PCCS (MICRO 2021) have one that
depends on the memory traffic of both besides. Those of several aggressors add up.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Self

from pydantic import Field, model_validator

from leo_runtime.errors import ProfileError, did_you_mean
from leo_runtime.schema import Name, Positive, Quantity, Value, unique

ALONE_PPM = 1_000_000
"""How long a run takes with nothing beside it, in parts of that."""


class SlowdownMeasured(Value):
    """How a slowdown was measured: the median over stages, each alone and beside the other in turns."""

    stages: Positive
    runs: Positive
    """Of all stages, beside the other."""
    low_ppm: Annotated[int, Field(ge=-ALONE_PPM)]
    """A quarter of the stages were slowed by less, or got faster, below 0."""
    high_ppm: Annotated[int, Field(ge=-ALONE_PPM)]
    """A quarter were slowed by more."""


class Slowdown(Value):
    """What one processor does to the runs of another, or a processor's lanes to each other."""

    victim: Name
    aggressor: Name
    slowdown_ppm: Quantity
    """By how much longer a run takes while anything else runs on the aggressor: 200,000 makes it 1.2 times as long."""
    measurement: SlowdownMeasured | None = None
    source: Name
    """A citation, `measured`, or a text that begins with `modelled`."""


class Contention(Value):
    """All slowdowns of a machine, and what plans make of them."""

    expected_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Plans reckon with every other processor being busy so much of the time; 0: with none. What really happens goes by
    who is busy when."""
    pairs: tuple[Slowdown, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique([f"{pair.victim} beside {pair.aggressor}" for pair in self.pairs], "$.pairs[{}]", "pair")
        return self

    def slowdowns_ppm(self) -> dict[tuple[str, str], int]:
        """By victim and aggressor, all that are more than none."""
        return {(pair.victim, pair.aggressor): pair.slowdown_ppm for pair in self.pairs if pair.slowdown_ppm}

    def expected_ppm(self) -> dict[str, int]:
        """By processor, how much longer plans take its runs to be, in ppm of what they take alone; all that are."""
        found: dict[str, int] = {}
        for (victim, aggressor), slowdown_ppm in self.slowdowns_ppm().items():
            if victim != aggressor and self.expected_percent:
                found[victim] = found.get(victim, 0) + slowdown_ppm
        return {victim: ALONE_PPM + ppm * self.expected_percent // 100 for victim, ppm in found.items()}

    def without(self, processor: str) -> Self:
        """The same with nothing of that processor."""
        left = tuple(pair for pair in self.pairs if processor not in (pair.victim, pair.aggressor))
        return self.model_copy(update={"pairs": left})

    def require(self, processors: Collection[str], profile: str, hardware: str) -> None:
        """Raise `ProfileError` where a pair names a processor that is none of these, which are the hardware's."""
        for number, pair in enumerate(self.pairs):
            for key in ("victim", "aggressor"):
                if (name := getattr(pair, key)) not in processors:
                    raise ProfileError(
                        f"profile `{profile}` tells of contention with `{name}`, which is no processor of "
                        f"hardware `{hardware}`, at $.contention.pairs[{number}].{key}",
                        hint=did_you_mean(name, tuple(processors), "it has"),
                    )

"""When a graph is triggered besides by its period alone: jitter, sporadic releases, and releases that are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from random import Random
from typing import Annotated

from pydantic import Field

from leo_runtime.schema import Quantity, Value

ALWAYS_PPM = 1_000_000


class Trigger(Value):
    """A model of what triggers a graph. All of it left out, or 0: its period alone.

    What is drawn goes by the run's seed, the graph's name and the release's number alone, so that every policy meets
    the same releases; and by the same draws whatever the figures are, so that cells with other figures stay paired.
    """

    jitter_us: Quantity = 0
    """Each release comes up to so much later than it would, evenly drawn; less than a period."""
    extra_us: Quantity = 0
    """Sporadic: between two releases lies the period at least, and what is drawn is added to it, exponentially, so much
    in the mean."""
    chance_ppm: Annotated[int, Field(ge=0, le=ALWAYS_PPM)] = ALWAYS_PPM
    """How often a release takes place at all; each is drawn by itself."""

    @property
    def is_drawn(self) -> bool:
        """Whether releases are at other times than the period says."""
        return bool(self.jitter_us or self.extra_us) or self.chance_ppm < ALWAYS_PPM

    def releases_us(self, graph: str, periodic_us: Iterable[int], until_us: int, seed: int) -> Iterator[int]:
        """The releases of a graph, rising, up to and at `until_us`; `periodic_us` are those by its period."""
        late_us = 0
        for number, at_us in enumerate(periodic_us):
            drawn = Random(f"{seed}/{graph}/{number}/trigger")
            happens, extra, jitter = drawn.random(), drawn.random(), drawn.random()
            late_us += round(-math.log(1.0 - extra) * self.extra_us)
            if at_us + late_us > until_us:
                return
            release_us = at_us + late_us + int(jitter * (self.jitter_us + 1))
            if happens * ALWAYS_PPM < self.chance_ppm and release_us <= until_us:
                yield release_us

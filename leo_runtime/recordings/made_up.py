"""Made-up network traces: what a link might do over time. None of it was measured.

A rate wanders between levels as a Markov chain, from each to its neighbours, as fading channels are modelled (Wang and
Moayeri, "Finite-state Markov channel", 1995), and is spread around its level, as in the synthetic traces of Mao et al.
(Pensieve, SIGCOMM 2017), but evenly where theirs is Gaussian. Apart from that the link is up or down, two more states
(Gilbert, 1960). How long a state lasts is drawn anew at every step, so that it is geometric. The figures are this
project's own, chosen to look like such links; the page on recordings has their statistics beside those of traces that
were measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from leo_runtime.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class RateModel:
    """What a made-up trace is drawn from."""

    levels_kbit_per_s: tuple[int, ...]
    """At least two, rising."""
    stays_ms: int
    """How long the rate stays at a level, in the mean."""
    spread_percent: int
    """How far the rate is from its level at most, evenly drawn for each step; below 100."""
    step_ms: int
    up_ms: int | None = None
    """How long the link is up, in the mean. None: always."""
    down_ms: int = 0


MODELS = {
    "lte-like": RateModel((3_000, 5_000, 8_000, 12_000, 16_000), 4_000, 30, 500, up_ms=300_000, down_ms=2_000),
    "outages": RateModel((1_000, 2_000, 4_000, 6_000), 4_000, 40, 500, up_ms=30_000, down_ms=8_000),
    "wifi-like": RateModel((8_000, 20_000, 32_000, 40_000), 8_000, 20, 500),
}
"""By the name that changes call them by: a phone that moves, one that moves where there are holes, one at home."""


def made_up(name: str) -> Iterator[tuple[int, int | None]]:
    """When the rate changes, in us from 0 on, and to how many bytes a second, None while the link is down; without end.

    `name` is one of `MODELS`, a colon behind it and a seed for another trace of its kind (0 if none is said): the same
    name is the same trace on every machine. Raises `InputError`, before anything is drawn.
    """
    kind, colon, seed = name.partition(":")
    if kind not in MODELS:
        raise InputError(
            f"no made-up trace is called `{kind}`",
            hint=f"{did_you_mean(kind, tuple(MODELS))}, or with a seed: `lte-like:7`",
        )
    if colon and not (seed.isascii() and seed.isdigit() and len(seed) <= 18):
        raise InputError(
            f"`{name}`: expected a seed, a whole number from 0 on, got `{seed}`", hint="such as `lte-like:7`"
        )
    return _drawn(MODELS[kind], Random(f"{kind}/{int(seed or 0)}"))


def _drawn(model: RateModel, random: Random) -> Iterator[tuple[int, int | None]]:
    levels = model.levels_kbit_per_s
    at, is_up, time_us = random.randrange(len(levels)), True, 0
    spread = model.spread_percent * 1_000
    while True:
        # kbit/s are 125 bytes/s, and the spread is in thousandths of a percent.
        rate = levels[at] * 125 * (100_000 + random.randrange(-spread, spread + 1)) // 100_000
        yield time_us, rate if is_up else None
        time_us += model.step_ms * 1_000
        if random.randrange(model.stays_ms) < model.step_ms:
            at += random.choice((-1, 1))
            at = 1 if at < 0 else len(levels) - 2 if at == len(levels) else at
        if model.up_ms is not None:
            ends = random.randrange(model.up_ms if is_up else model.down_ms) < model.step_ms
            is_up = is_up != ends

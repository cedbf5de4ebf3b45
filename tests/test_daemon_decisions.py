"""When an answer is to be acted on."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.daemon.decisions import Decision, DecisionConfig

SECOND_US = 1_000_000


def fired(found: str, **config: float) -> str:
    """What fires of answers a second apart that found something (`x`) or not (`.`)."""
    decision = Decision(DecisionConfig(graph="g", **config))
    return "".join("x" if decision.fires(c == "x", number * SECOND_US) else "." for number, c in enumerate(found))


@pytest.mark.parametrize(
    ("config", "found", "fires"),
    [
        ({}, ".xx.x", ".xx.x"),
        ({"after": 2}, "x.xxxx.xx", "...x.x..x"),
        ({"after": 3, "of": 5}, "x.x.xx.x", "....x..."),
        ({"after": 2, "of": 3}, "x.x.x.x", "..x...x"),
        ({"hold_off_s": 2.0}, "xxxxxx", "x.x.x."),
        ({"after": 2, "hold_off_s": 3.0}, "xxxxxxxx", ".x..x..x"),
    ],
)
def test_it_fires(config: dict[str, float], found: str, fires: str) -> None:
    assert fired(found, **config) == fires


@given(st.text("x.", max_size=60), st.integers(1, 5), st.integers(0, 5), st.integers(0, 10))
def test_laws(found: str, after: int, more: int, hold_off_s: int) -> None:
    fires = fired(found, after=after, of=after + more, hold_off_s=float(hold_off_s))
    at = [number for number, c in enumerate(fires) if c == "x"]
    assert all(found[number] == "x" for number in at)
    assert all(later - earlier >= max(hold_off_s, after) for earlier, later in pairwise(at))
    for number in at:
        window = found[max(0, number - after - more + 1) : number + 1]
        assert window.count("x") >= after

"""What share of a link's transfers is lost: how near the estimate is to what was drawn, and what becomes of it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.runtime.link_loss import PRIOR, LossEstimate, counted

SECOND = 1_000_000


def of(fates: list[bool], every_us: int = SECOND) -> LossEstimate:
    """Of transfers one after the other, of which these were lost."""
    found = LossEstimate()
    for number, is_lost in enumerate(fates):
        found = counted(found, is_lost, number * every_us)
    return found


def test_of_a_link_that_lost_nothing_nothing_is_lost() -> None:
    few, many = of([False] * 2), of([False] * 200)
    assert few.share == many.share == 0.0
    assert few.within(1.28)[0] == 0.0
    assert many.within(1.28)[1] < few.within(1.28)[1] < 0.25


def test_the_first_that_is_lost_is_not_all_there_is() -> None:
    assert of([True]).share == 1 / (1 + PRIOR)


def test_what_nothing_renews_is_over_in_some_minutes() -> None:
    lossy = of([False, True] * 20)
    assert lossy.share > 0.3
    later = lossy.at(lossy.at_us + 300 * SECOND)
    assert later.share < 0.02
    assert later.within(1.28)[1] > 0.2, "nobody knows it any more"
    assert lossy.at(0) == lossy, "time does not go back"


@pytest.mark.parametrize("really", [0.05, 0.2, 0.5])
def test_four_of_five_intervals_hold_what_is_drawn(really: float) -> None:
    random, held, shares, now = Random(7), 0, list[float](), LossEstimate()
    for number in range(3_000):
        now = counted(now, random.random() < really, number * SECOND)
        least, most = now.within(1.28)
        held += least <= really <= most
        shares.append(now.share)
    assert held / 3_000 > 0.7
    assert sum(shares) / 3_000 == pytest.approx(really, rel=0.3)


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 100 * SECOND))
def test_it_is_a_share_within_its_interval(fates: list[bool], every_us: int) -> None:
    found = of(fates, every_us)
    least, most = found.within(1.28)
    assert 0.0 <= least <= found.share <= most <= 1.0
    assert found.share < 1.0

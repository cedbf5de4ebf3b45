"""What is thought of a link, from the transfers that were seen."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.backend.transfers import TransferSeen
from leo_runtime.frame.link_course import LinkCourse
from leo_runtime.recordings.made_up import made_up
from leo_runtime.runtime.link_estimate import PathEstimate, observe

USUAL = PathEstimate(50_000, (500_000, 500_000), 0)


def seen(way: int, many: int, began_us: int, took_us: float, server_us: int = 0) -> TransferSeen:
    ends = ("cpu", "cloud") if way == 0 else ("cloud", "cpu")
    return TransferSeen(*ends, many, began_us, round(took_us), server_us)


def after(estimate: PathEstimate, sizes: list[int], trip_us: int, bytes_per_s: int) -> PathEstimate:
    """After transfers of these sizes up, one a second, over a link that is steady."""
    for number, many in enumerate(sizes):
        began_us = estimate.at_us + 1_000_000 * (number > 0)
        estimate = observe(estimate, 0, seen(0, many, began_us, trip_us + many * 1e6 / bytes_per_s))
    return estimate


def test_two_sizes_tell_round_trip_and_rate() -> None:
    found = after(USUAL, [100, 64_000] * 6, 80_000, 1_500_000)
    assert found.trip_us == pytest.approx(80_000, rel=0.05)
    assert found.bytes_per_s(0) == pytest.approx(1_500_000, rel=0.1)
    assert found.bytes_per_s(1) == pytest.approx(500_000), "nothing came back"


def test_the_answers_tell_the_round_trip_of_both_ways() -> None:
    found = USUAL
    for number in range(12):
        began_us = number * 1_000_000
        found = observe(found, 0, seen(0, 16_000, began_us, 120_000 + 16_000))
        found = observe(found, 1, seen(1, 40, began_us + 200_000, 120_000))
    assert found.trip_us == pytest.approx(120_000, rel=0.05)
    assert found.bytes_per_s(0) == pytest.approx(1_000_000, rel=0.2)


def test_what_the_server_needs_is_no_time_of_the_link() -> None:
    with_run = observe(USUAL, 0, seen(0, 16_000, 0, 50_000 + 32_000 + 300_000, server_us=300_000))
    assert with_run.took_us(0, 16_000) == pytest.approx(USUAL.took_us(0, 16_000), rel=0.02)


def test_one_that_hangs_moves_it_little_and_several_move_it_there() -> None:
    steady = after(USUAL, [64_000] * 10, 50_000, 500_000)
    hung = observe(steady, 0, seen(0, 64_000, steady.at_us, 1_000_000))
    assert hung.bytes_per_s(0) > 0.6 * steady.bytes_per_s(0), "of six times as long"
    slow = after(steady, [64_000] * 4, 50_000, 100_000)
    assert slow.bytes_per_s(0) == pytest.approx(100_000, rel=0.25)


def test_what_nothing_renews_widens_and_goes_back_to_what_is_usual() -> None:
    slow = after(USUAL, [64_000] * 20, 50_000, 50_000)
    later = [slow.at(slow.at_us + passed_s * 1_000_000) for passed_s in (0, 5, 30, 120, 3_000)]
    assert all(before.bytes_per_s(0) < one.bytes_per_s(0) for before, one in pairwise(later))
    assert all(before.rate_spread(0) < one.rate_spread(0) for before, one in pairwise(later))
    assert later[0].bytes_per_s(0) == pytest.approx(50_000, rel=0.1)
    assert later[-1].bytes_per_s(0) == pytest.approx(500_000, rel=0.01)
    assert later[-1].rate_spread(0) == pytest.approx(USUAL.rate_spread(0), rel=0.01)


def test_time_that_goes_back_changes_nothing() -> None:
    known = after(USUAL, [64_000] * 3, 50_000, 250_000)
    assert known.at(known.at_us - 5_000_000) == known


def played(trace: str, many: int, every_us: int, lasts_us: int = 200_000_000) -> tuple[list[float], float]:
    """By how much the rate was off what a made-up link did, and how often that was within four of five."""
    changes = []
    for time_us, rate in made_up(trace):
        if time_us > lasts_us:
            break
        changes.append((time_us, (25_000, rate) if rate else None))
    course = LinkCourse(tuple(at_us for at_us, _ in changes), tuple(now for _, now in changes))
    random, estimate, now_us = Random(trace), PathEstimate(60_000, (1_000_000, 1_000_000), 0), 0
    off, within = [], 0
    while now_us < lasts_us:
        sent = course.sent(many, now_us)
        if not sent.fell:
            sent_us = sent.over_us - now_us
            if estimate.seen:
                thought, really = estimate.at(now_us), many * 1e6 / sent_us
                off.append(abs(thought.bytes_per_s(0) - really) / really)
                least, most = thought.rate_within(0, 1.28)
                within += least <= really <= most
            # A jitter of 4 ms, and one transfer of thirty that hangs.
            late_us = random.expovariate(1 / 4_000) + (random.randrange(30) == 0) * random.uniform(1e5, 6e5)
            estimate = observe(estimate, 0, seen(0, many, now_us, sent_us + 50_000 + late_us))
            back_us = now_us + sent_us + 60_000
            estimate = observe(estimate, 1, seen(1, 200, back_us, 50_200 + random.expovariate(1 / 4_000)))
        now_us += every_us
    return off, within / len(off)


@pytest.mark.parametrize(
    ("trace", "bar", "least"), [("lte-like", 0.2, 0.7), ("wifi-like", 0.2, 0.7), ("outages", 0.3, 0.5)]
)
def test_it_is_near_what_made_up_links_do_and_its_interval_is_honest(trace: str, bar: float, least: float) -> None:
    """Of `outages` every half second is drawn anew, up to 40 % off: what comes next is known to nobody."""
    off, within = played(trace, 64_000, 500_000)
    assert sorted(off)[len(off) // 2] < bar
    assert least < within < 0.95


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 10**9),
            st.integers(0, 10**9),
            st.integers(0, 10**10),
            st.integers(0, 10**9),
        ),
        max_size=40,
    )
)
def test_whatever_is_told_it_stays_a_number(told: list[tuple[int, int, int, int, int]]) -> None:
    estimate = USUAL
    for way, many, began_us, took_us, server_us in told:
        estimate = observe(estimate, way, seen(way, many, began_us, took_us, server_us))
        values = (estimate.trip_us, estimate.bytes_per_s(0), estimate.bytes_per_s(1), *estimate.off)
        assert all(map(math.isfinite, values))
        assert min(values[:3]) > 0
        assert all(
            0 <= spread < 5 for spread in (estimate.trip_spread, estimate.rate_spread(0), estimate.rate_spread(1))
        )

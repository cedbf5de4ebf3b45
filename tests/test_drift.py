"""The running estimate: when it may change a plan, and that outliers do not."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.runtime.drift import SETTLED, WINDOW, Drift, Estimate

KEY = ("model", "default", "gpu")


def watched(*real_us: int, planned_us: int = 100) -> Drift:
    drift = Drift()
    for took_us in real_us:
        drift.observe(KEY, planned_us, took_us)
    return drift


def test_what_never_ran_is_as_planned() -> None:
    drift = Drift()
    assert not drift.settle()
    assert drift.factor_ppm(KEY) == 1_000_000
    assert drift.estimates() == ()


def test_few_runs_are_told_of_and_change_nothing_yet() -> None:
    drift = watched(*[300] * (SETTLED - 1))
    assert drift.estimates() == (Estimate(*KEY, SETTLED - 1, 3_000_000),)
    assert not drift.settle()
    assert drift.factor_ppm(KEY) == 1_000_000
    drift.observe(KEY, 100, 300)
    assert drift.settle()
    assert drift.factor_ppm(KEY) == 3_000_000


def test_a_factor_follows_only_what_is_more_than_a_tenth_off() -> None:
    drift = watched(*[110] * WINDOW)
    assert not drift.settle()
    for _ in range(WINDOW):
        drift.observe(KEY, 100, 111)
    assert drift.settle()
    assert drift.factor_ppm(KEY) == 1_110_000
    assert not drift.settle()


def test_what_became_as_planned_again_is_planned_so() -> None:
    drift = watched(*[300] * WINDOW)
    drift.settle()
    for _ in range(WINDOW):
        drift.observe(KEY, 100, 100)
    assert drift.settle()
    assert drift.factor_ppm(KEY) == 1_000_000


def test_modes_are_watched_apart_and_named_in_order() -> None:
    drift = watched(*[200] * SETTLED)
    other = ("features", "default", "cpu")
    drift.observe(other, 100, 100)
    assert drift.settle()
    assert drift.factor_ppm(other) == 1_000_000
    assert [estimate.stage for estimate in drift.estimates()] == ["features", "model"]


@given(st.lists(st.integers(0, 10**9), max_size=WINDOW // 2), st.randoms())
def test_fewer_than_half_the_window_in_outliers_move_nothing(outliers: list[int], order: Random) -> None:
    runs = [100] * (WINDOW - len(outliers)) + outliers
    order.shuffle(runs)
    drift = watched(*runs)
    assert not drift.settle()
    assert drift.estimates()[0].ratio_ppm == 1_000_000


def test_a_run_of_no_time_at_all_keeps_the_factor_positive() -> None:
    drift = watched(*[0] * SETTLED)
    assert drift.settle()
    assert drift.factor_ppm(KEY) == 1

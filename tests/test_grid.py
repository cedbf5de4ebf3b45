"""Uneven samples on an even grid: what is put where, and what is not."""

import numpy as np
import pytest

from leo_runtime.recordings.grid import UnevenError, evenly

RATE_HZ = 50
STEP_US = 20_000


def wave(times_us: np.ndarray) -> np.ndarray:
    return np.column_stack([np.sin(2 * np.pi * 3 * times_us / 1e6), times_us / 1e6])


def trembling(count: int, by_us: float) -> np.ndarray:
    """Times that rise, each beside its point by so much at most."""
    return np.sort(np.arange(count) * STEP_US + np.random.default_rng(1).uniform(-by_us, by_us, count))


def test_samples_near_their_points_are_taken_as_they_are() -> None:
    times_us = trembling(100, STEP_US / 20)
    found = evenly(times_us, wave(times_us), RATE_HZ)
    assert np.array_equal(found.values, wave(times_us))
    assert (found.repairs, found.gaps) == ((), ())


def test_trembling_times_are_interpolated_to_a_hundredth() -> None:
    """Taking them as they are is five times as far off."""
    times_us = trembling(500, 4000)
    found = evenly(times_us, wave(times_us), RATE_HZ)
    true = wave(np.arange(500.0) * STEP_US)
    inner = slice(2, -2)
    error = np.sqrt(np.mean((found.values - true)[inner, 0] ** 2))
    assert error < 0.01
    assert np.sqrt(np.mean((wave(times_us) - true)[inner, 0] ** 2)) > 5 * error
    assert found.gaps == ()
    assert "put on it by monotone cubic interpolation (PCHIP)" in found.repairs[0]


def test_a_straight_line_stays_one_and_nothing_overshoots() -> None:
    times_us = trembling(200, 9000)
    values = np.column_stack([times_us * 3e-6, np.random.default_rng(2).integers(0, 2, 200)])
    found = evenly(times_us, values, RATE_HZ)
    inner = slice(1, -1)
    assert np.allclose(found.values[inner, 0], (np.arange(200) * STEP_US * 3e-6)[inner])
    assert found.values[:, 1].min() >= 0 and found.values[:, 1].max() <= 1


@pytest.mark.parametrize("clock", [1.02, 0.98, 1 / 1.0044])
def test_a_clock_of_another_rate_keeps_its_times(clock: float) -> None:
    times_us = np.arange(500) * STEP_US * clock
    found = evenly(times_us, wave(times_us), RATE_HZ)
    assert len(found.values) == round(499 * clock) + 1
    assert np.allclose(found.values[5:-5, 1], np.arange(5, len(found.values) - 5) * STEP_US / 1e6)
    assert found.repairs[0].startswith(f"rows come at about {RATE_HZ / clock:.6g} Hz, up to ")


@pytest.mark.parametrize("periods", [2, 3, 50])
def test_nothing_is_put_across_two_periods_or_more(periods: int) -> None:
    times_us = trembling(100, 2000)
    times_us[50:] = times_us[50:] + (periods - 1) * STEP_US + 4000 - (times_us[50] - times_us[49] - STEP_US)
    found = evenly(times_us, np.ones((100, 1)), RATE_HZ)
    (gap,) = found.gaps
    empty = np.flatnonzero(found.values[:, 0] == 0)
    assert empty.tolist() == list(range(empty[0], empty[-1] + 1))
    assert periods - 2 <= len(empty) <= periods
    assert gap.end_us - gap.start_us == len(empty) * STEP_US
    assert times_us[49] < gap.end_us and gap.start_us < times_us[50]


def test_two_samples_and_one_are_enough() -> None:
    assert evenly(np.array([0.0]), np.ones((1, 2)), RATE_HZ).values.tolist() == [[1, 1]]
    assert len(evenly(np.array([3000.0, 22_500.0]), np.ones((2, 1)), RATE_HZ).values) == 2


@pytest.mark.parametrize(
    ("times_us", "says", "row"),
    [
        ([0, 20_000, 20_000], "time does not go on", 2),
        ([0, 5_000, 10_000], "is declared at 50 Hz, the file is at 200 Hz", None),
        ([0, 20_000, 40_000, 40_000_000], "holds 4 samples up to 40 s, where 2001 are due at 50 Hz", None),
        ([-60_000, -40_000], "all its samples are before time 0", 0),
        ([0, 20_000, 1_000_000, 20_000], "time goes back by 0.98 s", 3),
    ],
)
def test_what_cannot_be_put_on_a_grid_says_why_and_where(times_us: list[int], says: str, row: int | None) -> None:
    values = np.arange(float(len(times_us)))[:, None]
    with pytest.raises(UnevenError, match=says) as told:
        evenly(np.array(times_us, np.float64), values, RATE_HZ)
    assert told.value.row == row and told.value.hint

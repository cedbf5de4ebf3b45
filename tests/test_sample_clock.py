"""The clock of a device, from when its chunks came: jitter, drift, stalls, losses, and clocks that are set."""

from __future__ import annotations

import random

import pytest

from leo_runtime.runtime.sample_clock import LATE_US, SETTLE_US, Loss, SampleClock

RATE_HZ = 16_000
CHUNK = 800
CHUNK_US = 50_000
MINUTE_US = 60_000_000


class Device:
    """Samples at a rate of its own, handed over in chunks, each some time after its last sample."""

    def __init__(self, ppm: float = 0, jitter_us: int = 0, seed: int = 0) -> None:
        self.lasts_us = CHUNK_US / (1 + ppm / 1e6)
        self.jitter_us = jitter_us
        self.random = random.Random(seed)
        self.taken_us = self.lasts_us
        self.number = CHUNK
        self.clock = SampleClock(RATE_HZ, CHUNK, round(self.taken_us))

    def chunk(self, late_us: int = 0, *, lost: int = 0) -> int:
        """The next chunk, before which so many samples were lost; returns when it arrives."""
        self.taken_us += self.lasts_us * (1 + lost / CHUNK)
        self.number += CHUNK
        at_us = round(self.taken_us) + late_us + round(self.jitter_us * self.random.random() ** 2)
        self.clock.observe(self.number, CHUNK, at_us)
        return at_us

    def error_us(self) -> float:
        """How far the clock is from when the last sample was really taken."""
        return self.number * 1e6 / RATE_HZ + self.clock.ahead_us(self.number) - self.taken_us


def test_a_device_that_is_exact_is_shown_exactly() -> None:
    device = Device()
    for _ in range(1000):
        device.chunk()
        assert device.error_us() == 0
    assert (device.clock.drift_ppm, device.clock.measured_hz, device.clock.stalls) == (0, RATE_HZ, 0)


@pytest.mark.once
@pytest.mark.parametrize("ppm", [-10_000, -50, 50, 10_000])
def test_drift_is_learned_and_followed_for_an_hour_through_jitter(ppm: int) -> None:
    device = Device(ppm, jitter_us=20_000)
    worst_us = 0.0
    for count in range(3600 * 20):
        device.chunk()
        if count > 60 * 20:
            worst_us = max(worst_us, abs(device.error_us()))
    assert worst_us < 2000  # A tenth of the jitter.
    assert device.clock.drift_ppm == pytest.approx(ppm, abs=3)
    assert (device.clock.stalls, device.clock.jumps) == (0, 0)


@pytest.mark.parametrize("ppm", [-10_000, 10_000])
def test_a_device_one_percent_off_is_never_taken_for_one_that_stalls(ppm: int) -> None:
    device = Device(ppm)
    for _ in range(200):
        device.chunk()
        assert abs(device.error_us()) < 15_000
    assert device.clock.stalls == device.clock.jumps == 0


@pytest.mark.parametrize("ppm", [-10_000, 10_000])
def test_one_percent_off_is_no_loss_either_where_times_are_told(ppm: int) -> None:
    lasts_us = CHUNK_US / (1 + ppm / 1e6)
    clock = SampleClock(RATE_HZ, CHUNK, round(lasts_us), told_us=round(lasts_us))
    for count in range(2, 400):
        clock.observe(count * CHUNK, CHUNK, round(count * lasts_us), told=True)
        assert clock.loss(round(count * lasts_us), told=True) is None
    assert clock.jumps == 0
    assert clock.drift_ppm == pytest.approx(ppm, abs=2)


def test_jitter_of_arrivals_does_not_move_it() -> None:
    device = Device(jitter_us=90_000, seed=4)
    shown = []
    for count in range(40 * 20):
        device.chunk()
        if count > 10 * 20:
            shown.append(device.error_us())
    assert max(shown) - min(shown) < 2_000  # Of 90,000.


def test_what_a_device_kept_during_a_stall_catches_up_and_is_no_loss() -> None:
    device = Device()
    for _ in range(100):
        device.chunk()
    for kept in range(20):  # Everything of a second at once: the first chunk of it is the latest.
        at_us = device.chunk(late_us=(19 - kept) * CHUNK_US)
        assert device.clock.loss(at_us) is None
        assert at_us >= round(device.taken_us + device.error_us()), "no sample is from later than it came"
    for _ in range(100):
        assert device.clock.loss(device.chunk()) is None
        assert device.error_us() == 0
    assert (device.clock.stalls, device.clock.jumps) == (1, 0)


def test_what_catches_up_slowly_is_no_loss_either() -> None:
    device = Device()
    for _ in range(100):
        device.chunk()
    for late_us in range(1_000_000, 0, -30_000):
        assert device.clock.loss(device.chunk(late_us)) is None
    device.chunk()
    assert device.error_us() == 0


def test_what_catches_up_by_little_at_a_time_is_no_loss_either() -> None:
    """Twice as fast as it is taken, in chunks that make up for less than is told from jitter."""
    clock = SampleClock(RATE_HZ, 320, 20_000)
    for count in range(2, 1000):
        at_us = count * 20_000 + max(0, 5_000_000 - 10_000 * (count - 100)) * (count >= 100)
        clock.observe(count * 320, 320, at_us)
        assert clock.loss(at_us) is None
    assert (clock.stalls, clock.jumps, clock.ahead_us(999 * 320)) == (1, 0, 0)


def test_what_never_comes_is_lost_and_told_once_with_its_place() -> None:
    device = Device(ppm=50)
    for _ in range(100):
        device.chunk()
    before, lost = device.number, RATE_HZ
    told: list[Loss] = []
    waited = 0
    at_us = device.chunk(lost=lost)
    while not told:
        # As new as they can be, until it is known.
        assert at_us - 1000 <= device.number * 1e6 / RATE_HZ + device.clock.ahead_us(device.number) <= at_us + 1
        at_us, waited = device.chunk(), waited + 1
        if loss := device.clock.loss(at_us):
            told.append(loss)
            device.number += loss.samples
    assert waited == SETTLE_US // CHUNK_US + 1
    assert told == [Loss(before, pytest.approx(lost, abs=2))]  # type: ignore[arg-type]  # about so many
    for _ in range(1000):
        assert device.clock.loss(device.chunk()) is None
        assert abs(device.error_us()) < 100


def test_a_hundred_losses_are_a_hundred() -> None:
    device = Device(ppm=-30, jitter_us=5_000)
    found = 0
    for count in range(100 * 40):
        at_us = device.chunk(lost=RATE_HZ // 2 if count % 40 == 39 else 0)
        if loss := device.clock.loss(at_us):
            found += 1
            device.number += loss.samples
    assert found == 99  # Of the last one it is not known yet.
    assert abs(device.error_us()) < 2 * LATE_US


@pytest.mark.parametrize("by_us", [-10 * MINUTE_US, -200_000, 10 * MINUTE_US])
def test_a_device_whose_own_clock_is_set_goes_on(by_us: int) -> None:
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US, now_us=CHUNK_US)
    for count in range(2, 400):
        at_us = count * CHUNK_US
        clock.observe(count * CHUNK, CHUNK, at_us + (by_us if count > 200 else 0), told=True, now_us=at_us + 1000)
        assert clock.loss(at_us, told=True) is None
        assert clock.ahead_us(count * CHUNK) == 0
    assert clock.jumps == 1


def test_a_device_that_began_anew_after_an_outage_is_not_late_for_ever() -> None:
    """Its clock counts from 0 again, and five seconds are lost."""
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US, now_us=CHUNK_US)
    for count in range(2, 200):
        clock.observe(count * CHUNK, CHUNK, count * CHUNK_US, told=True, now_us=count * CHUNK_US + 1000)
    before = 199 * CHUNK
    at_us = 200 * CHUNK_US + 5_000_000
    clock.observe(before + CHUNK, CHUNK, CHUNK_US, told=True, now_us=at_us + 1000)
    assert clock.loss(at_us, told=True) == Loss(before, 5 * RATE_HZ)
    assert clock.ahead_us(before + CHUNK + 5 * RATE_HZ) == 0


def test_times_that_are_told_know_a_loss_at_once() -> None:
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US)
    clock.observe(2 * CHUNK, CHUNK, 3 * CHUNK_US, told=True)
    assert clock.loss(3 * CHUNK_US, told=True) == Loss(CHUNK, CHUNK)
    assert clock.loss(3 * CHUNK_US, told=True) is None


def test_arrivals_from_before_the_line_move_it() -> None:
    """The run's own clock was set back, or what was believed lost came after all."""
    device = Device()
    for _ in range(100):
        device.chunk()
    device.taken_us -= 1_000_000
    device.chunk()
    assert device.error_us() == 0
    assert device.clock.jumps == 1


def test_times_since_1970_are_as_exact() -> None:
    began_us = 1_764_374_400_000_000
    number = began_us // 1_000_000 * RATE_HZ
    clock = SampleClock(RATE_HZ, number, began_us)
    for count in range(1, 5000):
        clock.observe(number + count * CHUNK, CHUNK, began_us + count * CHUNK_US)
        assert clock.ahead_us(number + count * CHUNK) == 0


@pytest.mark.once
@pytest.mark.parametrize("ppm", [-10_000, -50, 50, 10_000])
def test_times_counted_in_samples_are_not_late_for_ever(ppm: int) -> None:
    """The device's clock is its samples: by it nothing is ever late."""
    lasts_us = CHUNK_US / (1 + ppm / 1e6)
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US, now_us=CHUNK_US)
    worst_us = 0.0
    for count in range(2, 3600 * 20):
        now_us = CHUNK_US + round((count - 1) * lasts_us)
        clock.observe(count * CHUNK, CHUNK, count * CHUNK_US, told=True, now_us=now_us)
        assert clock.loss(count * CHUNK_US, told=True) is None
        worst_us = max(worst_us, abs(count * CHUNK_US + clock.ahead_us(count * CHUNK) - now_us))
    assert worst_us < 80_000
    assert (clock.stalls, clock.jumps) == (0, 0)
    assert clock.drift_ppm == pytest.approx(ppm, rel=0.5)


def test_times_that_stand_still_are_of_a_clock_that_is_set() -> None:
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US, now_us=CHUNK_US)
    for count in range(2, 3600 * 20):
        number = count * CHUNK
        clock.observe(number, CHUNK, min(count * CHUNK_US, 1_000_000), told=True, now_us=count * CHUNK_US)
        clock.loss(0, told=True)
        assert abs(clock.ahead_us(number)) < 100_000
    assert clock.jumps > 3600


def test_no_sample_is_taken_after_it_was_told_of() -> None:
    """Times of a clock that is a little fast, and what catches up after a stall that was longer than a clock is."""
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US, now_us=CHUNK_US)
    fed, now_us = 1, CHUNK_US
    for step in range(2, 4000):
        now_us = step * CHUNK_US + 1000
        if 200 < step < 600:
            continue
        for _ in range(1 if fed >= step - 1 else 2):  # Twice as fast, after twenty seconds.
            fed += 1
            clock.observe(fed * CHUNK, CHUNK, fed * CHUNK_US + fed, told=True, now_us=now_us)
            clock.loss(now_us, told=True)
            assert fed * CHUNK_US + clock.ahead_us(fed * CHUNK) <= now_us + 1
    assert abs(fed * CHUNK_US + clock.ahead_us(fed * CHUNK) - now_us) < 20_000


def test_a_device_twice_as_fast_as_it_says_is_shown_as_one_whose_clock_is_set() -> None:
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US)
    for count in range(2, 1000):
        clock.observe(count * CHUNK, CHUNK, CHUNK_US + (count - 1) * CHUNK_US // 2)
        assert clock.loss(0) is None
    assert clock.jumps > 100


@pytest.mark.parametrize("faster", [1.04, 1.5, 2, 10])
def test_in_virtual_time_a_device_far_too_fast_is_no_further_than_its_own_clock(faster: float) -> None:
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US)
    for count in range(2, 2000):
        at_us = CHUNK_US + round((count - 1) * CHUNK_US / faster)
        clock.observe(count * CHUNK, CHUNK, at_us, told=True)
        assert clock.loss(at_us, told=True) is None
        assert abs(count * CHUNK_US + clock.ahead_us(count * CHUNK) - at_us) < CHUNK_US


def test_in_virtual_time_what_comes_at_once_after_a_stall_is_no_further_than_its_own_clock() -> None:
    """As of a recording that says when its chunks arrived."""
    clock, lost = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US), 0
    for count in range(2, 400):
        arrived_us = max(count * CHUNK_US, 150 * CHUNK_US + count) if 100 < count <= 150 else count * CHUNK_US
        clock.observe(count * CHUNK + lost, CHUNK, arrived_us, told=True)
        loss = clock.loss(arrived_us, told=True)
        lost += 0 if loss is None else loss.samples
        number = count * CHUNK + lost
        assert abs(number * 1_000_000 // RATE_HZ + clock.ahead_us(number) - arrived_us) < CHUNK_US
    assert abs(lost - 49 * CHUNK) < CHUNK


@pytest.mark.parametrize("by_us", [-10 * MINUTE_US, -200_000])
def test_in_virtual_time_a_clock_that_goes_back_was_set(by_us: int) -> None:
    clock = SampleClock(RATE_HZ, CHUNK, CHUNK_US, told_us=CHUNK_US)
    for count in range(2, 400):
        at_us = count * CHUNK_US + (by_us if count > 200 else 0)
        clock.observe(count * CHUNK, CHUNK, at_us, told=True)
        assert clock.loss(at_us, told=True) is None
        assert clock.ahead_us(count * CHUNK) == 0
    assert clock.jumps == 1


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("ppm", [-10_000, 10_000])
@pytest.mark.parametrize("second_tenths", [1, 5, 10, 50, 200])
def test_chunks_of_any_length_of_a_device_that_drifts_are_neither_late_nor_set(
    second_tenths: int, ppm: int, told: bool
) -> None:
    lasts_us, chunk = second_tenths * 100_000 / (1 + ppm / 1e6), second_tenths * RATE_HZ // 10
    clock = SampleClock(RATE_HZ, chunk, round(lasts_us), told_us=round(lasts_us) if told else None)
    for count in range(2, 300):
        clock.observe(count * chunk, chunk, round(count * lasts_us), told=told)
        assert clock.loss(round(count * lasts_us), told=told) is None
    assert (clock.stalls, clock.jumps) == (0, 0)
    assert clock.drift_ppm == pytest.approx(ppm, abs=3)


def test_months_are_as_exact() -> None:
    """Of a device that is 50 ppm slow, ten million seconds after its first sample, and after the run's own 10^16 us."""
    began_us = 10**16 - 10**13 - 10**9
    began = began_us // 1_000_000 * RATE_HZ
    clock = SampleClock(RATE_HZ, began, began_us)
    for second in range(2000):
        clock.observe(began + second * RATE_HZ, RATE_HZ, began_us + round(second * 1_000_050))
    # Nothing for months, as by a machine that was suspended: all of it is lost, once.
    number, later_us = began + 1999 * RATE_HZ, began_us + 10**13
    found = []
    for second in range(300):
        number += RATE_HZ
        at_us = later_us + round(second * 1_000_050)
        clock.observe(number, RATE_HZ, at_us)
        if loss := clock.loss(at_us):
            found.append(loss.samples)
            number += loss.samples
    assert len(found) == 1
    assert abs(number * 1_000_000 // RATE_HZ + clock.ahead_us(number) - at_us) < 1000
    assert clock.drift_ppm == pytest.approx(-50, abs=1)

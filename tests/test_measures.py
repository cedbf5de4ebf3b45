"""What is told of sound before it is trusted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.recordings.measures import sound_measures

RATE_HZ = 100
"""A stretch is ten samples."""


def test_of_a_tone_nothing_is_clipped_or_silent() -> None:
    tone = (20_000 * np.sin(np.arange(1000))).astype(np.int16)
    found = sound_measures([tone], RATE_HZ)
    assert (found.samples, found.clipped, found.silent_share) == (1000, 0, 0)
    assert found.peak == pytest.approx(20_000 / 32_767, abs=1e-3)
    assert abs(found.offset) < 1e-3


def test_values_at_a_limit_are_clipped_where_they_stand_together() -> None:
    """A single one may be the crest of a wave."""
    sound = np.zeros(40, np.int16)
    sound[5] = 32_767
    assert sound_measures([sound], RATE_HZ).clipped == 0
    sound[10:13] = 32_767
    sound[20:22] = -32_768
    sound[22] = 32_767
    assert sound_measures([sound], RATE_HZ).clipped == 5
    assert sound_measures([sound.reshape(20, 2)], RATE_HZ).clipped == 2  # Of each channel by itself.


def test_silence_is_counted_in_stretches_and_zeros_one_by_one() -> None:
    sound = np.full(45, 1000, np.int16)
    sound[10:20] = 0
    sound[20:30] = 32  # Nearly.
    sound[33] = 0
    sound[40:] = -5
    found = sound_measures([sound], RATE_HZ)
    assert found.silent_share == pytest.approx(25 / 45)
    assert found.zero_share == pytest.approx(11 / 45)


def test_an_offset_is_told() -> None:
    assert sound_measures([np.full(100, 3277, np.int16)], RATE_HZ).offset == pytest.approx(0.1, abs=1e-4)


def test_no_samples_measure_nothing() -> None:
    found = sound_measures([np.zeros(0, np.int16)], RATE_HZ)
    assert (found.samples, found.clipped, found.silent_share, found.offset, found.peak) == (0, 0, 0, 0, 0)


@given(
    st.lists(st.sampled_from([0, 0, 20, 5000, 32_767, 32_767, -32_768, -32_767]), min_size=1, max_size=80),
    st.lists(st.integers(0, 80), max_size=6),
    st.sampled_from([1, 2]),
)
def test_any_cut_into_blocks_gives_the_same(values: list[int], cuts: list[int], channels: int) -> None:
    sound = np.array(values * channels, np.int16).reshape(-1, channels)
    assert sound_measures(np.split(sound, sorted(cuts)), RATE_HZ) == sound_measures([sound], RATE_HZ)

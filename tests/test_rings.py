"""What a stream keeps of its newest samples, held against all samples that came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.event_windows import newest
from leo_runtime.runtime.rings import EventRing, SampleRing

CAPACITY = 12
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, CAPACITY), st.just(0)),
        st.tuples(st.just("lose"), st.integers(1, 40), st.integers(0, CAPACITY)),
    ),
    max_size=30,
)


@given(STEPS, st.integers(-50, 50), st.sampled_from([(), (3,), (2, 2, 1)]))
def test_windows_are_those_of_all_that_came_and_was_lost(
    steps: list[tuple[str, int, int]], begin: int, shape: tuple[int, ...]
) -> None:
    ring = SampleRing(CAPACITY, begin, shape, np.dtype(np.int16))
    everything: list[int] = []  # 0: lost
    for what, count, back in steps:
        if what == "append":
            new = list(range(len(everything) + 1, len(everything) + 1 + count))
            ring.append(np.array(new, np.int16).reshape(-1, *[1 for _ in shape]) * np.ones(shape, np.int16))
            everything += new
        else:
            place = max(0, len(everything) - back)
            ring.lose(begin + place, count)
            everything[place:place] = [0] * count
    assert ring.end == begin + len(everything)
    assert ring.held == min(CAPACITY, len(everything))
    for end in range(ring.end - ring.held, ring.end + 1):
        for samples in (1, 5, CAPACITY):
            last = end - begin
            wanted = [everything[at] if at >= max(0, len(everything) - CAPACITY) else 0 for at in range(last)]
            wanted = ([0] * samples + wanted)[-samples:]
            found = ring.window(end, samples)
            assert found.shape == (samples, *shape)
            assert found.reshape(samples, -1)[:, 0].tolist() == wanted
            assert ring.missing(end, samples) == wanted.count(0)


def test_a_window_is_full_when_it_is_there_and_again_after_as_much_was_lost() -> None:
    ring = SampleRing(CAPACITY, 100, (), np.dtype(np.float32))
    assert [ring.is_full(end, 4) for end in (103, 104, 105)] == [False, True, True]  # Also before it has come.
    ring.append(np.ones(6, np.float32))
    ring.lose(106, 3)
    assert ring.is_full(109, 4), "some of what was before is still in it"
    ring.lose(109, 4)
    assert [ring.is_full(end, 4) for end in (112, 113, 116, 117)] == [True, False, False, True]


def test_windows_are_copies() -> None:
    ring = SampleRing(CAPACITY, 0, (), np.dtype(np.float32))
    ring.append(np.ones(6, np.float32))
    ring.window(6, 3)[:] = 7
    assert ring.window(6, 6).tolist() == [1] * 6


@pytest.mark.parametrize("channels", [1, 2])
def test_events_are_those_of_a_recording(channels: int) -> None:
    times_us = np.array([5, 5, 40, 900, 901])
    values = np.arange(5 * channels, dtype=np.float32).reshape(5, channels)
    ring = EventRing(4, channels)
    for value, at_us in zip(values, times_us.tolist(), strict=True):
        ring.append(value[None], at_us)
    for at_us in (6, 901, 902, 2000):
        assert np.array_equal(ring.window(at_us, 3), newest(values[1:], times_us[1:], at_us, 3))
    assert (ring.held, ring.newest_us) == (4, 901)


def test_an_event_that_is_told_late_is_as_late_as_the_one_before() -> None:
    ring = EventRing(4, 1)
    ring.append(np.ones((1, 1)), 50)
    ring.append(np.ones((1, 1)), 20)
    assert ring.window(100, 2)[:, 1] == pytest.approx([50e-6, 50e-6])

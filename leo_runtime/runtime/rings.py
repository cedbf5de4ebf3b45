"""The newest samples of a stream, as its device numbered them, and the windows that end with any of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from leo_runtime.event_windows import newest


class SampleRing:
    """Samples that come at a rate, numbered from `begin` on; zeros stand where some were lost.

    For one thread at a time. What is asked for are the last samples before a number; `end` is that of the next one.
    """

    def __init__(self, capacity: int, begin: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """It holds `capacity` samples, of a shape each."""
        self.capacity = capacity
        self.dtype = dtype
        self.begin = begin
        self.end = begin
        # Written from the front; what is still held moves there when the end is reached, so a window is one slice.
        self._stored = np.zeros((2 * capacity, *shape), dtype)
        self._used = 0
        self._lost: deque[tuple[int, int]] = deque()
        """From and up to which number nothing was recorded, as far as it is held."""

    @property
    def held(self) -> int:
        """How many samples it holds, with zeros."""
        return min(self.capacity, self.end - self.begin)

    def resized(self, capacity: int) -> SampleRing:
        """One that holds so many, with what is held here. What is not has not come to it."""
        held = min(self.held, capacity)
        other = SampleRing(capacity, self.end - held, self._stored.shape[1:], self.dtype)
        other.append(self._stored[self._used - held : self._used])
        other._lost = deque([(max(at, other.begin), to) for at, to in self._lost if to > other.begin])
        return other

    def append(self, samples: np.ndarray) -> None:
        """More samples, at most `capacity`."""
        if self._used + len(samples) > len(self._stored):
            kept = self._stored[self._used - min(self._used, self.capacity) : self._used].copy()
            self._stored[: len(kept)] = kept
            self._used = len(kept)
        self._stored[self._used : self._used + len(samples)] = samples
        self._used += len(samples)
        self.end += len(samples)
        while self._lost and self._lost[0][1] <= self.end - self.capacity:
            self._lost.popleft()

    def lose(self, number: int, samples: int) -> None:
        """So many samples were lost, which would have come where now that of `number` is; those from there on move."""
        after = self._stored[self._used - min(self.end - number, self._used, self.capacity) : self._used].copy()
        self._used -= len(after)
        self.end -= len(after)
        zeros = min(samples, self.capacity)
        self.end += samples - zeros  # What is older than all that is held.
        self._lost = deque(_with_loss(self._lost, number, samples))
        self.append(np.zeros((zeros, *after.shape[1:]), after.dtype))
        self.append(after)

    def is_full(self, end: int, samples: int) -> bool:
        """Whether a window that ends before a number is there: since the stream began, and since it last lost as much.

        After a stretch that is as long as a window nothing from before it is in any, so it fills anew.
        """
        first = end - samples
        return first >= self.begin and not any(
            after - before >= samples and first < after <= end for before, after in self._lost
        )

    def window(self, end: int, samples: int) -> np.ndarray:
        """The last `samples` samples before a number up to `end`, a copy; zeros stand for what is not held."""
        last = self._used - (self.end - end)
        first = max(0, last - samples, self._used - self.held)
        found = np.zeros((samples, *self._stored.shape[1:]), self._stored.dtype)
        if first < last:
            found[samples - (last - first) :] = self._stored[first:last]
        return found

    def lost_after(self, end: int) -> int:
        """How many samples from a number on were lost, of those that are held."""
        return sum(max(0, after - max(end, before)) for before, after in self._lost)

    def unbroken(self, end: int, samples: int) -> int | None:
        """How many samples at the end of such a window are held, none lost between; None: all of it."""
        first = max([self.begin, self.end - self.held, *[min(end, to) for at, to in self._lost if at < end]])
        return None if first <= end - samples else end - first

    def missing(self, end: int, samples: int) -> int:
        """How many samples of such a window were lost, or are held no more."""
        first = end - samples
        gone = min(max(0, self.end - self.held - first), samples)
        return gone + sum(max(0, min(end, after) - max(first + gone, before)) for before, after in self._lost)


def _with_loss(lost: Iterable[tuple[int, int]], number: int, samples: int) -> list[tuple[int, int]]:
    """Stretches with one more, from a number on, which moves what is behind; those that touch become one."""
    found: list[tuple[int, int]] = []
    moved = [(at + samples if at >= number else at, to + samples if to > number else to) for at, to in lost]
    for at, to in sorted([*moved, (number, number + samples)]):
        if found and at <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], to))
        else:
            found.append((at, to))
    return found


class EventRing:
    """What comes when it comes, each with its time. For one thread at a time."""

    def __init__(self, capacity: int, channels: int) -> None:
        """It holds the last `capacity` events."""
        self.capacity = capacity
        self._values: deque[np.ndarray] = deque(maxlen=capacity)
        self._times_us: deque[int] = deque(maxlen=capacity)
        self._channels = channels

    def resized(self, capacity: int) -> EventRing:
        """One that holds so many, with what is held here."""
        other = EventRing(capacity, self._channels)
        other._values.extend(self._values)
        other._times_us.extend(self._times_us)
        return other

    @property
    def held(self) -> int:
        """How many events it holds."""
        return len(self._values)

    @property
    def newest_us(self) -> int | None:
        """When the last one was."""
        return self._times_us[-1] if self._times_us else None

    def append(self, values: np.ndarray, at_us: int) -> None:
        """Events, (events, channels), that all came then; none is before the last one."""
        if self._times_us:
            at_us = max(at_us, self._times_us[-1])
        self._values.extend(values.astype(np.float32))
        self._times_us.extend([at_us] * len(values))

    def window(self, end_us: int, samples: int) -> np.ndarray:
        """The last so many events before a time with their ages, as `event_windows.newest` has them."""
        values = np.array(self._values, np.float32).reshape(-1, self._channels)
        return newest(values, np.array(self._times_us, np.int64), end_us, samples)

"""One stream that is fed: its ring, its clock, and how far it has come. For one thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import prod

import numpy as np

from leo_runtime.documents.workload import Stream
from leo_runtime.errors import InputError
from leo_runtime.frame.positions import EARLY_US, NO_CORRECTIONS, WindowEnd
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.arguments import MAX_RELEASE_US, require_samples
from leo_runtime.runtime.device_time import BELIEVED_US, FUTURE_US, DeviceTime, is_on_the_runs
from leo_runtime.runtime.rings import EventRing, SampleRing
from leo_runtime.runtime.sample_clock import Loss, SampleClock
from leo_runtime.values import lasting_us, samples_within, whole

SLACK_US = 4_000_000
"""So much more than its longest window a ring holds,"""
SLACK_BYTES = 1 << 24
"""as long as that is no more memory than this."""
EVENTS_SLACK = 1_024
"""So many events are held beyond the longest window."""


@dataclass(frozen=True, slots=True)
class StreamNow:
    """How a stream that is fed is doing."""

    stream: str
    fed: int
    """Samples, or events."""
    rate_hz: float | None
    """Measured by the run's clock; None: it is one of events, or has not come yet."""
    drift_ppm: int
    """How much faster the device is than the workload says."""
    stalls: int
    """How often samples came too late."""
    jumps: int
    """How often the device's clock, or the one its arrivals are read from, was set."""
    gaps: int
    """How often samples were lost."""
    lost: int
    """Samples that were."""
    held: int
    """Samples or events in its ring."""
    capacity: int
    newest_us: int | None
    """When its last sample was taken, on the run's clock."""


def require_chunk(stream: Stream, chunk: object) -> np.ndarray:
    """Samples of a stream, (samples, ...) as one sample of it is shaped; one of one channel may be (samples, 1)."""
    shape = (stream.channels,) if stream.kind == "events" else stream.sample_shape
    if not isinstance(chunk, np.ndarray):
        raise InputError(
            f"stream `{stream.name}` takes a chunk of samples as an array, got {type(chunk).__name__}",
            hint="numpy.asarray(chunk); of bytes numpy.frombuffer(chunk, dtype)",
        )
    alike = {(), (1,)} if shape in ((), (1,)) else {shape}
    if chunk.ndim == 0 or chunk.shape[1:] not in alike:
        wanted = ", ".join(map(str, ("samples", *shape))) + ("" if shape else ",")
        raise InputError(
            f"stream `{stream.name}` takes chunks of shape ({wanted}), got {chunk.shape}",
            hint=_shape_hint(shape, chunk),
        )
    require_samples(f"stream `{stream.name}`", stream.kind, chunk)
    return chunk.reshape(len(chunk), *shape)


def _shape_hint(shape: tuple[int, ...], chunk: np.ndarray) -> str:
    if shape in ((), (1,)) and chunk.ndim == 2:
        return "one channel, as chunk[:, 0], or their mean: a sample a row"
    if len(shape) == 1:
        return "a sample a row, a channel a column: a flat array is chunk.reshape(-1, channels)"
    return ""


def require_at(at_us: object) -> int | None:
    """When a chunk's last sample was taken, or None."""
    if at_us is None:
        return None
    try:
        return whole(at_us, "at_us", most=MAX_RELEASE_US)
    except InputError as error:
        hint = "microseconds are round(1e6 * seconds), or nanoseconds // 1000"
        raise InputError(str(error), hint=hint) from None


class FedStream:
    """A stream that comes at a rate."""

    def __init__(self, stream: Stream, longest: int, step_us: int) -> None:
        """Of the windows that are read the longest is of so many samples; `step_us` is the grid of releases."""
        self.stream = stream
        self.shift_us = 0
        """What the run's clock shows where the stream has come to by its own rate, beyond that: a multiple of the
        grid, most of the time. It changes as slowly as the device drifts."""
        self._step_us = step_us
        self._longest = longest
        sample_bytes = 8 * prod(stream.sample_shape)
        self.slack = max(4, min(samples_within(stream.rate_hz, SLACK_US), SLACK_BYTES // sample_bytes))
        """How many samples it holds beyond the longest window."""
        self.ring: SampleRing | None = None
        self.clock: SampleClock | None = None
        self.came_us: int | None = None
        """The run's time as its last samples came. In virtual time that is by the stream that is ahead of all."""
        self._fed = 0
        self._gaps = 0
        self._lost = 0
        self._corrections = NO_CORRECTIONS
        self._restarts = 0
        self._restarted_us = 0

    def restart(self, now_us: int) -> None:
        """Forget all that came but the counts of it: the next chunk is the first one, and begins now at the least."""
        self.shift_us, self.ring, self.clock, self._corrections = 0, None, None, NO_CORRECTIONS
        self.came_us = None
        self._restarts += 1
        self._restarted_us = now_us

    def changed(self, longest: int, step_us: int) -> Callable[[], None]:
        """What makes it one whose longest window is another, and the grid of releases: it goes on with what it has."""
        same = self.ring is None or longest == self._longest
        ring = self.ring if self.ring is None or same else self.ring.resized(longest + self.slack)

        def change() -> None:
            self._longest, self._step_us, self.ring = longest, step_us, ring

        return change

    @property
    def end(self) -> int:
        """The number of the next sample to come."""
        return 0 if self.ring is None else self.ring.end

    @property
    def newest_us(self) -> int | None:
        """When its last sample was taken."""
        clock = self.clock
        return None if clock is None else lasting_us(self.stream.rate_hz, self.end) + round(clock.ahead_us(self.end))

    def number_at(self, at_us: int) -> int:
        """How many of its samples were taken by then, by its clock."""
        return samples_within(self.stream.rate_hz, at_us - self.shift_us)

    def require_alike(self, chunk: np.ndarray) -> None:
        """Raise `InputError` for samples of another kind than those before."""
        if self.ring is not None and chunk.dtype != self.ring.dtype:
            raise InputError(
                f"stream `{self.stream.name}` was fed {self.ring.dtype} so far, got {chunk.dtype}",
                hint=f"feed all of it alike: chunk.astype(numpy.{self.ring.dtype}), scaled where that is needed",
            )

    def came(self, chunk: np.ndarray, at_us: int | None, now_us: int | None, others: Collection[int]) -> Loss | None:
        """A chunk came, which is to be appended, after `lose` of what the clock finds now to have been lost.

        `at_us` is when its last sample was taken, if the device told; `now_us` is the run's time, None where that is
        virtual. `others` are the shifts of other streams, which are taken where they are as good as one's own.
        """
        if self.clock is None or self.ring is None:
            self._begin(chunk, at_us, now_us, others)
            return None
        samples, rate_hz, clock, ring = len(chunk), self.stream.rate_hz, self.clock, self.ring
        number = ring.end + samples
        told = at_us is not None
        if at_us is None:
            # In virtual time a device is in time, unless it tells otherwise.
            at_us = lasting_us(rate_hz, number) + round(clock.ahead_us(number)) if now_us is None else now_us
        clock.observe(number, samples, at_us, told=told, now_us=now_us)
        loss = clock.loss(at_us, told=told)
        self._move(number + (0 if loss is None else loss.samples), others)
        return loss

    def is_much(self, loss: Loss) -> bool:
        """Whether by such a loss samples are held no more that a frame may be waiting with."""
        return loss.samples > self.slack // 4

    def lose(self, loss: Loss) -> None:
        """Take note of what was lost."""
        assert self.ring is not None
        if loss.number < self.ring.end:
            self._corrections = self._corrections.more(loss.number, loss.samples)
        self.ring.lose(loss.number, loss.samples)
        self._gaps += 1
        self._lost += loss.samples

    def append(self, samples: np.ndarray) -> None:
        """Samples of a chunk that came."""
        assert self.ring is not None
        self.ring.append(samples)
        self._fed += len(samples)

    def is_full(self, number: int, samples: int) -> bool:
        """Whether a window that ends there is, or will be, there whole."""
        return self.ring is not None and self.ring.is_full(number, samples)

    def window(self, number: int, samples: int) -> np.ndarray:
        """The last so many samples before a number; where that has not come, the newest, if they are in the window."""
        assert self.ring is not None
        newest = self.ring.window(min(number, self.ring.end), samples)
        return newest if number - self.ring.end < samples else np.zeros_like(newest)

    def window_end(self, number: int, samples: int) -> WindowEnd:
        """Where the window ends that `window` gives; what has not come is lost to it."""
        assert self.ring is not None
        late = number - self.ring.end
        if late >= samples:
            return WindowEnd(number, self._lost + late, late, 0, self._corrections, self._restarts)
        end = min(number, self.ring.end)
        unbroken, lost = self.ring.unbroken(end, samples), self._lost - self.ring.lost_after(end)
        return WindowEnd(end, lost, unbroken=unbroken, corrections=self._corrections, restarts=self._restarts)

    def missing_us(self, number: int, samples: int) -> int:
        """How much of such a window was not recorded, or has not come."""
        assert self.ring is not None
        late = max(0, number - self.ring.end)
        missing = late + self.ring.missing(min(number, self.ring.end), samples)
        return lasting_us(self.stream.rate_hz, min(samples, missing))

    def now(self) -> StreamNow:
        """How it is doing."""
        clock, ring = self.clock, self.ring
        return StreamNow(
            self.stream.name,
            self._fed,
            None if clock is None else clock.measured_hz,
            0 if clock is None else clock.drift_ppm,
            0 if clock is None else clock.stalls,
            0 if clock is None else clock.jumps,
            self._gaps,
            self._lost,
            0 if ring is None else ring.held,
            self._longest + self.slack,
            self.newest_us,
        )

    def _begin(self, chunk: np.ndarray, at_us: int | None, now_us: int | None, others: Collection[int]) -> None:
        """The first chunk came."""
        samples, rate_hz = len(chunk), self.stream.rate_hz
        if now_us is None:
            begun_us = self._restarted_us + lasting_us(rate_hz, samples) if at_us is None else at_us
        else:
            begun_us = at_us if at_us is not None and is_on_the_runs(at_us, now_us) else now_us
        # Counted so that its samples fall where those of others do that come at the same time.
        number = samples_within(rate_hz, begun_us + lasting_us(rate_hz, 1) // 2)
        self.clock = SampleClock(rate_hz, number, begun_us, told_us=at_us, now_us=now_us)
        self.ring = SampleRing(self._longest + self.slack, number - samples, chunk.shape[1:], chunk.dtype)
        self._move(number, others)

    def _move(self, number: int, others: Collection[int]) -> None:
        """Let the shift follow the clock, and stay as long as it can: questions are equal as long as it does."""
        assert self.clock is not None
        ahead_us = self.clock.ahead_us(number) + EARLY_US
        if 0 <= ahead_us - self.shift_us <= 2 * self._step_us:
            return
        alike = [shift_us for shift_us in others if 0 <= ahead_us - shift_us <= self._step_us]
        self.shift_us = alike[0] if alike else int(ahead_us // self._step_us) * self._step_us


class FedEvents:
    """A stream of what comes when it comes."""

    def __init__(self, stream: Stream, longest: int) -> None:
        """Of the windows that are read the longest is of so many events."""
        self.stream = stream
        self.ring = EventRing(longest + EVENTS_SLACK, stream.channels)
        self._device: DeviceTime | None = None
        self._fed = 0

    def restart(self, _now_us: int) -> None:
        """Forget all that came but the count of it."""
        self.ring, self._device = EventRing(self.ring.capacity, self.stream.channels), None

    def changed(self, longest: int, _step_us: int) -> Callable[[], None]:
        """As of a stream at a rate."""
        ring = self.ring.resized(longest + EVENTS_SLACK)

        def change() -> None:
            self.ring = ring

        return change

    @property
    def newest_us(self) -> int | None:
        """When the last one was."""
        return self.ring.newest_us

    def came(self, at_us: int | None, now_us: int | None) -> int:
        """When events were that come now, by the run's clock: `at_us` if that was told, and now if it was not.

        One that is told to be to come, or from long before the last one, is by a clock of the device's own that was
        set. At least one of the two times is known; where `now_us` is None, time is virtual.
        """
        if at_us is None or now_us is None:
            when_us = now_us if at_us is None else at_us
            assert when_us is not None
            return when_us
        if self._device is None:
            self._device = DeviceTime(at_us, at_us if is_on_the_runs(at_us, now_us) else now_us, now_us)
        newest_us = self.newest_us
        least_us = 0 if newest_us is None else newest_us - BELIEVED_US
        when_us = self._device.at_us(at_us, now_us, least_us=least_us, expected_us=least_us, bearable_us=FUTURE_US)
        return when_us + self._device.fell_behind_us(when_us, now_us)

    def append(self, values: np.ndarray, at_us: int) -> None:
        """Events, (events, channels), that all were then."""
        self.ring.append(values, at_us)
        self._fed += len(values)

    def window(self, at_us: int, samples: int) -> np.ndarray:
        """The last so many before a time, with their ages."""
        return self.ring.window(at_us, samples)

    def now(self) -> StreamNow:
        """How it is doing."""
        ring = self.ring
        jumps = 0 if self._device is None else self._device.jumps
        return StreamNow(self.stream.name, self._fed, None, 0, 0, jumps, 0, 0, ring.held, ring.capacity, ring.newest_us)

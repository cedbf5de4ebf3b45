"""Accelerometers and other sensors of the board, by Linux's industrial I/O: polled, or read from their buffer.

A buffer has the times at which the sensor measured, and takes no turns of the processor to be asked; it has to be set
up, which root may, or who a rule of udev lets. Polling needs no more than to read files.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from leo_runtime.clock import Clock, WallClock
from leo_runtime.daemon.iio_device import TIMESTAMP, IioDevice, number, read
from leo_runtime.daemon.iio_format import Layout
from leo_runtime.daemon.kinds import LOOKS_S, Feed, Site, SourceConfig, SourceFailedError
from leo_runtime.daemon.waking import is_readable
from leo_runtime.errors import InputError, LeoError, failure_text
from leo_runtime.schema import Name, PathName
from leo_runtime.values import lasting_us

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Stream

SILENT_S = 5.0
"""A buffer that gives nothing for so long, and for ten samples, has gone wrong."""
MOST_SCANS = 256
"""That are read at once."""
G = 9.80665
"""m/s^2"""
_AXES = ("x", "y", "z")
_BY_CHANNELS = {3: ("accel",), 6: ("accel", "anglvel")}

log = logging.getLogger(__name__)


class IioSource(SourceConfig):
    """A sensor of the board."""

    kind: Literal["iio"]
    device: Name
    """Its name, as `lis3dh`, its label, as `accel-display`, or `iio:device0`."""
    channels: tuple[Name, ...] = ()
    """In the order of the stream's, as `accel_x`. None: acceleration of three axes, and the rate of turn of six."""
    buffer: bool | None = None
    """Whether it is read from its buffer (else: polled). None: if it has one that can be set up."""
    trigger: Name | None = None
    """What has the buffer filled. None: the one it has, or its own."""
    mount_matrix: bool = True
    """Whether axes are turned as the device says it is mounted."""
    acceleration: Literal["m/s2", "g"] = "m/s2"
    turning: Literal["rad/s", "deg/s"] = "rad/s"
    root: PathName = "/"
    """Where `sys` and `dev` are."""

    def check(self, site: Site) -> None:
        """Whether it can feed its stream; the device may come later."""
        self.open(site)

    def open(self, site: Site) -> Iio:
        """The device is looked for when it runs. Raises `InputError`."""
        (stream,) = self.fed(site.workload)
        if not stream.rate_hz or stream.kind not in ("motion", "other"):
            raise InputError(f"stream `{stream.name}` is of {stream.kind}", hint="a sensor feeds one of kind `motion`")
        names = self.channels or tuple(
            f"{kind}_{axis}" for kind in _BY_CHANNELS.get(stream.channels, ()) for axis in _AXES
        )
        if len(names) != stream.channels or len(set(names)) != len(names):
            raise InputError(
                f"stream `{stream.name}` has {stream.channels} channels, and the sensor is asked for "
                f"{', '.join(names) or 'none'}",
                hint='name as many, each once: channels = ["accel_x", "accel_y", "accel_z"]',
            )
        return Iio(self, names, stream, site.path(self.root))


class Iio:
    """Reads one sensor. For one thread at a time."""

    def __init__(
        self,
        config: IioSource,
        names: Sequence[str],
        stream: Stream,
        root: Path,
        *,
        clock: Clock | None = None,
        realtime_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`clock` shows the system's monotonic time, in us; None: the system's own. `realtime_ns`: of days."""
        self._config = config
        self._names = tuple(names)
        self._stream = stream
        self._root = root
        self._clock = WallClock(time.monotonic_ns() // 1000) if clock is None else clock
        self._realtime_ns = realtime_ns

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Feed until it is stopped. Raises `InputError`, `SourceFailedError`, `OSError` where the device is not as it
        has to be, or is gone."""
        device = IioDevice(self._config.device, self._root)
        device.require(self._names)
        try:
            rate_hz = device.set_rate(self._names, self._stream.rate_hz)
        except SourceFailedError as error:  # It may not be written: what it gives shows whether that matters.
            log.warning("%s: its rate stays as it is: %s", device.folder.name, failure_text(error))
            rate_hz = None
        wants = device.has_buffer if self._config.buffer is None else self._config.buffer
        if wants and not device.has_buffer:
            raise InputError(f"{device.folder.name} has no buffer", hint="leave `buffer` out: it is polled then")
        if wants and rate_hz is not None and abs(rate_hz - self._stream.rate_hz) > 0.02 * self._stream.rate_hz:
            says = f"{device.folder.name} measures {rate_hz:g} times a second, not {self._stream.rate_hz:g}"
            if self._config.buffer:
                raise InputError(says, hint="give the stream that rate, or buffer = false")
            log.warning("%s: it is polled", says)
            wants = False
        if wants:
            was_on = device.is_on()
            try:
                converted = Converted(device, self._names, self._config, self._names)
                layout = device.switch_on(self._names, self._config.trigger, self._stream.rate_hz)
                opened = os.open(device.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except (LeoError, OSError) as error:
                if self._config.buffer:
                    raise
                log.warning("%s is polled: its buffer cannot be used: %s", device.folder.name, failure_text(error))
            else:
                try:
                    self._read(device, opened, layout, converted, feed, stop)
                finally:
                    os.close(opened)
                    if not was_on:
                        with suppress(LeoError):  # It may be gone, which is told already.
                            device.switch_off()
                return
        self._poll(device, feed, stop)

    def _poll(self, device: IioDevice, feed: Feed, stop: threading.Event) -> None:
        """One sample at a time, at the stream's rate."""
        raw = [name for name in self._names if device.raw(name) is not None]
        converted = Converted(device, self._names, self._config, raw)
        files = [device.raw(name) or device.processed(name) for name in self._names]
        began_us, number_of = self._clock.now_us(), 0
        while not self._clock.wait_until_us(began_us + lasting_us(self._stream.rate_hz, number_of), stop):
            at_us = self._clock.now_us()
            sample = []
            for name, file in zip(self._names, files, strict=True):
                text = None if file is None else read(file)
                if file is None or text is None:
                    raise SourceFailedError(f"channel `{name}` of {device.folder.name} is gone")
                sample.append(number(text, file))
            feed(self._shaped(converted.samples([np.array([one]) for one in sample])), at_us)
            late = (self._clock.now_us() - began_us) * self._stream.rate_hz // 1_000_000
            number_of = max(number_of + 1, int(late))  # What was missed is missing: it cannot be measured afterwards.

    def _read(
        self, device: IioDevice, opened: int, layout: Layout, converted: Converted, feed: Feed, stop: threading.Event
    ) -> None:
        """Scans as the kernel has them."""
        for element in layout.elements:
            if element.name in self._names and element.type.repeat != 1:
                raise InputError(
                    f"`{element.name}` of {device.folder.name} is of {element.type.repeat} values, and no channel",
                    hint="name another one in `channels`",
                )
        timed = any(element.name == TIMESTAMP for element in layout.elements)
        clock = device.clock() if timed else None
        rest, silent_s, patience_s = b"", 0.0, max(SILENT_S, 10 / self._stream.rate_hz)
        while not stop.is_set():
            if not is_readable(opened, LOOKS_S):
                silent_s += LOOKS_S
                if silent_s >= patience_s:
                    raise SourceFailedError(
                        f"the buffer of {device.folder.name} has given nothing for {patience_s:g} s",
                        hint="is its trigger set to a rate? buffer = false polls it",
                    )
                continue
            try:
                piece = os.read(opened, MOST_SCANS * layout.scan_bytes - len(rest))
            except BlockingIOError:
                continue
            if not piece:
                raise OSError(errno.ENODEV, "it is gone", str(device.file))
            silent_s = 0.0
            scans = rest + piece
            rest = scans[len(scans) // layout.scan_bytes * layout.scan_bytes :]
            scans = scans[: len(scans) - len(rest)]
            if not scans:
                continue
            samples = self._shaped(converted.samples([layout.values(scans, name) for name in self._names]))
            times_us = self._times_us(layout.values(scans, TIMESTAMP), clock) if timed else None
            self._give(samples, times_us, feed)

    def _give(self, samples: np.ndarray, times_us: np.ndarray | None, feed: Feed) -> None:
        """Feed samples, apart where time has passed between them that none of them was measured in."""
        if times_us is None or not times_us[0]:
            feed(samples)
            return
        leaps = np.flatnonzero(np.abs(np.diff(times_us)) > 2_500_000 / self._stream.rate_hz) + 1
        for first, last in zip([0, *leaps], [*leaps, len(samples)], strict=True):
            feed(samples[first:last], int(times_us[first]))

    def _times_us(self, stamps_ns: np.ndarray, clock: str | None) -> np.ndarray | None:
        """On the monotonic clock; None: they are of a clock that nothing here knows."""
        if clock == "monotonic":
            return stamps_ns // 1000
        if clock in (None, "realtime"):  # Kernels that do not say have that one.
            return stamps_ns // 1000 - (self._realtime_ns() // 1000 - self._clock.now_us())
        return None

    def _shaped(self, samples: np.ndarray) -> np.ndarray:
        return samples.reshape(len(samples), *self._stream.sample_shape)


class Converted:
    """Channels in the units that are wanted, turned as the device is mounted."""

    def __init__(self, device: IioDevice, names: Sequence[str], config: IioSource, raw: Sequence[str]) -> None:
        """Reads scales, offsets and matrices, once; those not among `raw` have the ABI's units. Raises `InputError`."""
        self._of = [device.conversion(name) if name in raw else None for name in names]
        units = {"accel": 1 / G if config.acceleration == "g" else 1.0}
        units["anglvel"] = 180 / np.pi if config.turning == "deg/s" else 1.0
        self._units = [units.get(name.partition("_")[0], 1.0) for name in names]
        self._turned: list[tuple[list[int], np.ndarray]] = []
        for kind in dict.fromkeys(name.partition("_")[0] for name in names):
            axes = [f"{kind}_{axis}" for axis in _AXES]
            matrix = device.mount_matrix(kind) if config.mount_matrix and set(axes) <= set(names) else None
            if matrix is not None:
                self._turned.append(([list(names).index(axis) for axis in axes], matrix))

    def samples(self, channels: Sequence[np.ndarray]) -> np.ndarray:
        """(samples, channels) float32 from raw values (samples,) of each."""
        values = [
            (raw if of is None else of.apply(raw)) * unit
            for raw, of, unit in zip(channels, self._of, self._units, strict=True)
        ]
        made = np.column_stack(values)
        for axes, matrix in self._turned:
            made[:, axes] = made[:, axes] @ matrix.T
        return made.astype(np.float32)

"""Frames of a camera by V4L2, which FFmpeg reads (the package `av`): scaled, and made grey or colour, as the stream is.

A camera asked for the stream's rate may give another one: where it gives more frames than the stream has, those that
are nearest to the stream's times are taken. Times are the driver's, of the monotonic clock.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from leo_runtime.daemon.kinds import Feed, Site, SourceConfig, SourceFailedError, require_extra
from leo_runtime.errors import InputError, MissingExtraError, printable, words
from leo_runtime.schema import Name, PathName

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Stream, Workload

FORMATS = {1: "gray", 3: "rgb24", 4: "rgba"}
"""FFmpeg's names of what streams of so many channels have; as `recordings.cameras` reads video."""

MOST_SPOILED = 30
"""Frames that cannot be decoded, one after the other, of which the camera is taken to give no others."""

log = logging.getLogger(__name__)


class CameraSource(SourceConfig):
    """A camera."""

    kind: Literal["camera"]
    device: PathName = "/dev/video0"
    size: tuple[Annotated[int, Field(ge=1, le=16_384)], Annotated[int, Field(ge=1, le=16_384)]] | None = None
    """Width and height that the camera is asked for. None: its own; frames are scaled to the stream's either way."""
    input_format: Name | None = None
    """What the camera is asked for, by FFmpeg's names, as `mjpeg` or `yuyv422`. None: what it gives."""

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """A stream of frames."""
        (stream,) = streams = super().fed(workload)
        if stream.kind != "camera" or stream.channels not in FORMATS:
            raise InputError(
                f"stream `{stream.name}` of kind {stream.kind} and {stream.channels} channels takes no frames",
                hint='a camera feeds one of kind "camera", of 1 (grey), 3 (colour) or 4 channels',
            )
        return streams

    def check(self, site: Site) -> None:  # noqa: ARG002  # A device may come later.
        """Whether its extra is installed."""
        require_extra("av", "a source of kind `camera`", "recordings")

    def open(self, site: Site) -> Camera:
        """The device is opened when it runs. Raises `InputError`, `MissingExtraError`."""
        (stream,) = self.fed(site.workload)
        try:
            import av
        except ImportError:
            raise MissingExtraError("a source of kind `camera`", "recordings") from None
        options = {"framerate": f"{stream.rate_hz:g}"}
        if self.size is not None:
            options["video_size"] = f"{self.size[0]}x{self.size[1]}"
        if self.input_format is not None:
            options["input_format"] = self.input_format
        return Camera(
            lambda: av.open(self.device, format="v4l2", options=options), self.device, stream, site.counts.other
        )


class Camera:
    """Reads one camera. For one thread at a time."""

    def __init__(
        self, opened: Callable[[], Any], called: str, stream: Stream, count: Callable[[str], None] = lambda _what: None
    ) -> None:
        """`opened` gives a container of PyAV, whose first video stream is read. `count` is told of
        `camera_spoiled_frames`."""
        self._opened = opened
        self._called = called
        self._stream = stream
        self._count = count

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Feed frames until it is stopped. Raises `SourceFailedError` where the camera gives none, or none any more.

        It waits for a frame in FFmpeg, which nothing can interrupt: a camera that hangs is given up with the daemon.
        """
        try:
            with self._opened() as container:
                video = container.streams.video[0]
                self._look_at_rate(float(video.average_rate or 0))
                due = Due(self._stream.rate_hz)
                for frame, at_us in self._frames(container, video):
                    if stop.is_set():
                        return
                    if at_us is None or due.take(at_us):
                        feed(self._pixels(frame)[np.newaxis], at_us)
        except (OSError, IndexError, ValueError) as error:  # FFmpeg's errors are among them.
            said = printable(re.sub(r"^\[Errno -?\d+\] ", "", words(error).partition(": ")[2]) or words(error))
            hint = "`leo-runtime doctor` shows cameras, and whether they may be read"
            raise SourceFailedError(f"camera {self._called}: {said}", hint=hint) from None
        if not stop.is_set():
            raise SourceFailedError(f"camera {self._called} gives no more frames")

    def _frames(self, container: Any, video: Any) -> Iterator[tuple[Any, int | None]]:
        """Frames, with their times in us. One that a camera spoiled, as the first of many are, is passed over."""
        spoiled = 0
        for packet in container.demux(video):
            try:
                # An empty one without a time is FFmpeg's own, at the end, and asks for what is left.
                if not packet.size and packet.pts is not None:
                    raise ValueError("a frame is empty")
                decoded = packet.decode()
            except ValueError as error:  # Data that FFmpeg cannot decode is one.
                spoiled += 1
                self._count("camera_spoiled_frames")
                log.warning("camera %s: a frame was passed over: %s", self._called, printable(words(error)))
                if spoiled == MOST_SPOILED:
                    raise
                continue
            for frame in decoded:
                spoiled = 0
                yield frame, None if frame.pts is None else round(frame.pts * float(frame.time_base) * 1e6)

    def _look_at_rate(self, rate_hz: float) -> None:
        if rate_hz and rate_hz < 0.98 * self._stream.rate_hz:
            says = "camera %s gives %g frames a second, and stream `%s` has %g: windows will have gaps"
            log.warning(says, self._called, rate_hz, self._stream.name, self._stream.rate_hz)

    def _pixels(self, frame: Any) -> np.ndarray:
        """(height, width, channels) uint8, as the stream has them."""
        height, width, channels = self._stream.sample_shape
        made = frame.reformat(width=width, height=height, format=FORMATS[channels], interpolation="AREA")
        found: np.ndarray = made.to_ndarray()
        return found.reshape(height, width, channels)


class Due:
    """Which frames are taken of a camera that gives more than are wanted."""

    def __init__(self, rate_hz: float) -> None:
        self._step_us = 1e6 / rate_hz
        self._due_us: float | None = None

    def take(self, at_us: int) -> bool:
        """Whether the frame of that time is one: a quarter of a step before it is due, or later."""
        due_us = self._due_us
        if due_us is None or not -2 * self._step_us < at_us - due_us < 2 * self._step_us:  # Also a clock that was set.
            due_us = float(at_us)
        if at_us < due_us - self._step_us / 4:
            self._due_us = due_us
            return False
        self._due_us = due_us + self._step_us
        return True

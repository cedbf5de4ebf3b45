"""A microphone by PortAudio (the package `sounddevice`), which speaks to ALSA, and by it to PulseAudio and PipeWire.

When samples were taken is read from when they came: the times that PortAudio tells of them are, through a sound server,
off by tenths of a second (0.38 s with PulseAudio 16), and of a clock that can be set. What was lost is a gap in what
came, which the runtime finds; here it is counted, and told.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Literal

from pydantic import Field

from leo_runtime.daemon.fitting import Fitting
from leo_runtime.daemon.kinds import LOOKS_S, Feed, Site, SourceConfig, SourceFailedError, require_extra
from leo_runtime.daemon.raw import RawSamples
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import InputError, MissingExtraError, printable
from leo_runtime.schema import Name

SILENT_S = 3.0
"""A device that gives nothing for so long is gone: one that works gives samples of silence."""
BLOCK_S = 0.05
MOST_BLOCKS = 100
"""That wait to be fed; what comes beyond is lost, and counted."""

log = logging.getLogger(__name__)


class MicrophoneSource(SourceConfig):
    """A microphone."""

    kind: Literal["microphone"]
    device: Name | None = None
    """A part of its name, as `python -m sounddevice` lists them. None: the system's."""
    data_type: Literal["int16", "float32"] = "int16"
    channels: Annotated[int, Field(ge=1, le=32)] | None = None
    """How many it is asked for. None: the stream's. Of several, a stream of one channel gets the mean."""
    channel: Annotated[int, Field(ge=1, le=32)] | None = None
    """The only one of them that is listened to, counted from 1, as the one that an array of microphones has cleaned.
    None: all."""
    rate_hz: Annotated[int, Field(ge=1, le=768_000)] | None = None
    """The rate that it is asked for. None: the stream's. Another one is converted (soxr)."""

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """A stream of sound."""
        (stream,) = streams = super().fed(workload)
        if not stream.rate_hz or stream.height_px is not None:
            raise InputError(f"stream `{stream.name}` is of {stream.kind}", hint="a microphone feeds one of sound")
        return streams

    def check(self, site: Site) -> None:  # noqa: ARG002  # A device may come later.
        """Whether its extra is installed."""
        require_extra("sounddevice", "a source of kind `microphone`", "microphone")

    def open(self, site: Site) -> Microphone:
        """The device is opened when it runs. Raises `InputError`, `MissingExtraError`."""
        (stream,) = self.fed(site.workload)
        return Microphone(self, stream, _library(), site.counts.other)


class Microphone:
    """Listens to one device. For one thread at a time."""

    def __init__(
        self, config: MicrophoneSource, stream: Stream, library: Any, count: Callable[[str, int], None]
    ) -> None:
        """`library`: the module sounddevice. `count` is told of `microphone_overflows` and
        `microphone_lost_samples`. Raises `InputError` for what the stream cannot have."""
        self._config = config
        self._stream = stream
        self._library = library
        self._count = count
        self._has_run = False
        self._fitting()

    def _fitting(self) -> Fitting:
        config = self._config
        return Fitting(self._stream, config.channels, config.rate_hz, config.data_type, config.channel)

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Feed until it is stopped. Raises `SourceFailedError` where the device cannot be opened, or is gone."""
        heard = _Heard()
        fitting = self._fitting()
        raw = RawSamples(fitting.sample_shape, self._config.data_type)
        anew, self._has_run = self._has_run, True
        silent_s = 0.0
        try:
            with _opened(self._library, self._settings(heard), anew=anew):
                while not stop.is_set():
                    piece = heard.wait(LOOKS_S)
                    self._tell(heard, raw.sample_bytes)
                    silent_s = 0.0 if piece else silent_s + LOOKS_S
                    if silent_s >= SILENT_S:
                        raise SourceFailedError(f"{self._called()} has given nothing for {SILENT_S:g} s")
                    chunk = fitting.take(raw.take(piece))
                    if len(chunk):
                        feed(chunk)
        except (self._library.PortAudioError, ValueError) as error:  # A ValueError: no device has that name.
            raise SourceFailedError(f"{self._called()}: {printable(str(error))}", hint=self._hint()) from None

    def _settings(self, heard: _Heard) -> dict[str, Any]:
        rate_hz = self._config.rate_hz or self._stream.rate_hz
        return {
            "device": self._config.device,
            "samplerate": rate_hz,
            "channels": self._config.channels or self._stream.channels,
            "dtype": self._config.data_type,
            "blocksize": max(1, round(BLOCK_S * rate_hz)),
            "latency": BLOCK_S,
            "callback": heard,
        }

    def _tell(self, heard: _Heard, sample_bytes: int) -> None:
        overflows, lost_bytes = heard.lost()
        if overflows:
            self._count("microphone_overflows", overflows)
            log.warning("%s: samples were lost before they were read", self._called())
        if lost_bytes:
            self._count("microphone_lost_samples", lost_bytes // sample_bytes)
            log.warning("%s: %d samples were lost: the daemon is behind", self._called(), lost_bytes // sample_bytes)

    def _called(self) -> str:
        return "the system's microphone" if self._config.device is None else f"microphone `{self._config.device}`"

    def _hint(self) -> str:
        names: list[str] = []
        with suppress(self._library.PortAudioError):
            names = [str(one["name"]) for one in self._library.query_devices() if one["max_input_channels"]]
        if not names:
            return "there is none here: `leo-runtime doctor` says what is missing"
        return printable(f"there are {', '.join(names[:12])}")


class _Heard:
    """What PortAudio's own thread gives, until it is fed: it never waits there."""

    def __init__(self) -> None:
        self._blocks: queue.Queue[bytes] = queue.Queue(MOST_BLOCKS)
        self._lock = threading.Lock()
        self._overflows = self._lost_bytes = 0

    def __call__(self, block: Any, _frames: int, _times: Any, status: Any) -> None:
        """As PortAudio calls it: the block is its own, and is copied."""
        copied = bytes(block)
        try:
            self._blocks.put_nowait(copied)
            lost_bytes = 0
        except queue.Full:
            lost_bytes = len(copied)
        with self._lock:
            self._overflows += bool(status.input_overflow)
            self._lost_bytes += lost_bytes

    def wait(self, timeout_s: float) -> bytes:
        """All that waits, in order; b"" where nothing comes within that time."""
        pieces = []
        with suppress(queue.Empty):
            pieces.append(self._blocks.get(timeout=timeout_s))
            for _ in range(MOST_BLOCKS):
                pieces.append(self._blocks.get_nowait())  # noqa: PERF401  # It ends where there is none.
        return b"".join(pieces)

    def lost(self) -> tuple[int, int]:
        """How often the device lost samples, and how many bytes found no room, since it was asked last."""
        with self._lock:
            found = self._overflows, self._lost_bytes
            self._overflows = self._lost_bytes = 0
        return found


_opening = threading.Lock()
_open_streams = [0]
"""Of this process: PortAudio's devices may only be looked for anew where there are none."""


@contextmanager
def _opened(library: Any, settings: dict[str, Any], *, anew: bool) -> Iterator[None]:
    """A stream that gives samples. `anew`: devices are looked for again first, if nobody listens to one."""
    with _opening:
        if anew and not _open_streams[0]:
            # PortAudio looks for devices only as it begins; sounddevice has no public name for that.
            library._terminate()
            library._initialize()
        stream = library.RawInputStream(**settings)
        _open_streams[0] += 1
    try:
        stream.start()
        yield
    finally:
        with _opening:
            _open_streams[0] -= 1
            with suppress(library.PortAudioError):  # It may be gone.
                stream.close()


def _library() -> Any:
    """The module sounddevice. Raises `MissingExtraError`, and `InputError` where PortAudio itself is missing."""
    try:
        import sounddevice
    except ImportError:
        raise MissingExtraError("a source of kind `microphone`", "microphone") from None
    except OSError as error:  # It brings PortAudio with it on other systems than Linux.
        raise InputError(
            f"PortAudio cannot be loaded: {printable(str(error))}",
            hint='install libportaudio2 (Debian and its kin), or use kind = "pipe", program = "arecord"',
        ) from None
    return sounddevice

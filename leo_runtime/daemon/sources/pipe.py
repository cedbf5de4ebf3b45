"""What a command writes to its standard output: raw samples, of a microphone or of anything else.

The command is one of the config, by no shell. It is started anew where it ends, and ended with the daemon, also where
that is killed.
"""

from __future__ import annotations

import shlex
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.daemon.child import Child
from leo_runtime.daemon.fitting import Fitting
from leo_runtime.daemon.kinds import LOOKS_S, Feed, Site, SourceConfig, SourceFailedError
from leo_runtime.daemon.raw import RawSamples, RawType, taken_as
from leo_runtime.errors import InputError
from leo_runtime.schema import Name, reject

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Stream, Workload

MOST_BYTES = 1 << 16
"""That are read at once."""
LATENCY_MS = 50
"""What recorders collect before they pass it on."""
PACKAGES = {"arecord": "alsa-utils", "parec": "pulseaudio-utils"}
"""Of Debian and its kin."""
_FORMATS = {
    "arecord": {"int16": "S16_LE", "int24": "S24_3LE", "int32": "S32_LE", "float32": "FLOAT_LE"},
    "parec": {"int16": "s16le", "int24": "s24le", "int32": "s32le", "float32": "float32le"},
}

_CONVERTS = "name the device as `plughw:...`, which converts, or give what it has: `data_type`, `channels`, `rate_hz`"
_WAYS_OUT = {
    "resource busy": "another program has it: name a device that shares it, as `dsnoop:...` of `arecord -L`",
    "non available": _CONVERTS,
    "Unable to install hw params": _CONVERTS,
    "Connection refused": "a sound server is its user's alone: run the daemon as that user, or take `arecord`",
}
"""By what recorders say."""


class PipeSource(SourceConfig):
    """A command that writes raw samples, or a recorder that is known here."""

    kind: Literal["pipe"]
    command: tuple[Name, ...] = ()
    """The program and its arguments. It is looked for in `PATH`, or is a path."""
    program: Literal["arecord", "parec"] | None = None
    """In place of a command: ALSA's recorder or PulseAudio's (which PipeWire understands, too)."""
    device: Name | None = None
    """The recorder's, by its own names: `arecord -L`, `pactl list short sources`. None: its default."""
    data_type: RawType = "int16"
    """What each value is, little-endian; the channels of a sample follow each other."""
    channels: Annotated[int, Field(ge=1, le=32)] | None = None
    """How many it gives. None: the stream's. Of several, a stream of one channel gets the mean."""
    channel: Annotated[int, Field(ge=1, le=32)] | None = None
    """The only one of them that is listened to, counted from 1, as the one that an array of microphones has cleaned.
    None: all."""
    rate_hz: Annotated[int, Field(ge=1, le=768_000)] | None = None
    """The rate at which it gives sound. None: the stream's. Another one is converted (soxr)."""
    once: bool = False
    """Whether the source has ended where the command ends with status 0, and is not started anew."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.command) == (self.program is not None):
            hint = 'command = ["parec", "--raw"], or program = "parec"'
            reject("a pipe has either a `command` or a `program`", "$.command", None, hint=hint)
        if self.device is not None and self.program is None:
            reject("a `device` is of a `program`", "$.device", self.device, hint="a command names its own")
        if self.program is not None and self.data_type not in _FORMATS[self.program]:
            says = f"`{self.program}` is asked for {', '.join(_FORMATS[self.program])}"
            reject(says, "$.data_type", self.data_type, hint="give a `command` of your own")
        return self

    def argv(self, stream: Stream) -> tuple[str, ...]:
        """What is run. Raises `InputError` for a rate that no recorder takes."""
        if self.program is None:
            return self.command
        rate_hz, channels = self.rate_hz or stream.rate_hz, self.channels or stream.channels
        if rate_hz != int(rate_hz):
            raise InputError(
                f"`{self.program}` records at whole rates, and stream `{stream.name}` has {rate_hz} Hz",
                hint="name one that is converted: rate_hz = 48000",
            )
        form, rate, count = _FORMATS[self.program][self.data_type], f"{rate_hz:.0f}", str(channels)
        if self.program == "arecord":
            buffers = (f"--period-time={LATENCY_MS * 1000}", f"--buffer-time={LATENCY_MS * 10_000}")
            named: tuple[str, ...] = () if self.device is None else ("-D", self.device)
            return ("arecord", "-q", "-t", "raw", "-f", form, "-r", rate, "-c", count, *buffers, *named)
        given = (f"--format={form}", f"--rate={rate}", f"--channels={count}", f"--latency-msec={LATENCY_MS}")
        named = () if self.device is None else (f"--device={self.device}",)
        return ("parec", "--raw", "--client-name=leo-runtime", *given, *named)

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """A stream at a rate."""
        (stream,) = streams = super().fed(workload)
        if not stream.rate_hz:
            raise InputError(f"stream `{stream.name}` is of events, and raw samples have no times")
        return streams

    def runs(self, folder: Path) -> Path | None:
        """What is run."""
        name = self.command[0] if self.program is None else self.program
        found = shutil.which(folder / Path(name).expanduser() if "/" in name else name)
        return None if found is None else Path(found).absolute()

    def check(self, site: Site) -> None:
        """Whether it could be started; it is not."""
        self.open(site)

    def open(self, site: Site) -> Pipe:
        """Nothing is started yet. Raises `InputError`, also where there is no such program."""
        (stream,) = self.fed(site.workload)
        name, *arguments = self.argv(stream)
        program = self.runs(site.folder)
        if program is None:
            package = PACKAGES.get(name)
            hint = f"install {package}" if package else "name a program in PATH, or its path"
            raise InputError(f"there is no program `{name}` to run", hint=hint)
        self.fitting(stream)
        command = (str(program), *arguments)
        return Pipe(command, site.folder, lambda: self.fitting(stream), self.data_type, once=self.once)

    def fitting(self, stream: Stream) -> Fitting:
        """From what it gives to what the stream has. Raises `InputError`."""
        return Fitting(stream, self.channels, self.rate_hz, taken_as(self.data_type), self.channel)


class Pipe:
    """Reads a command that it starts. For one thread at a time."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        fitting: Callable[[], Fitting],
        data_type: RawType,
        *,
        once: bool = False,
    ) -> None:
        """`fitting` makes one; `once`: its end with status 0 is the source's."""
        self._command = tuple(command)
        self._folder = folder
        self._fitting = fitting
        self._data_type = data_type
        self._once = once

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Feed what the command writes. Raises `SourceFailedError` where it ends, `OSError` where it does not start."""
        fitting = self._fitting()
        raw = RawSamples(fitting.sample_shape, self._data_type)
        child = Child(self._command, self._folder)
        status = None
        try:
            while not stop.is_set():
                piece = child.read(MOST_BYTES, LOOKS_S)
                if piece == b"":
                    break
                if piece:
                    chunk = fitting.take(raw.take(piece))
                    if len(chunk):
                        feed(chunk)
        finally:
            status = child.end()
        if stop.is_set() or (self._once and status == 0):
            return
        said, hint = _way_out(tuple(child.lines))
        hint = hint or f"try it by hand: {shlex.join(self._command)}"
        raise SourceFailedError(_ended(child, status, said), hint=hint)


def _way_out(lines: Sequence[str]) -> tuple[str, str]:
    """Of what a command said, what tells most, and the way out where it is known."""
    for line in lines:
        for part, hint in _WAYS_OUT.items():
            if part in line:
                return line, hint
    return lines[-1] if lines else "", ""


def _ended(child: Child, status: int | None, said: str) -> str:
    how = "closed its output" if status is None else f"ended with status {status}"
    if status is not None and status < 0:
        how = f"was ended by signal {-status}"
    return f"`{child.name}` {how}" + (f": {said}" if said else "")

"""One IIO device by its files: which channels it has, their scales, how fast it measures, how its buffer is set up.

Files are looked for below a root, which a test can have of its own. What is already as it should be is not written: a
daemon that may write nothing there reads what somebody else has set up.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leo_runtime.daemon.iio_format import Element, Layout, layout, read_matrix, read_type
from leo_runtime.daemon.kinds import SourceFailedError
from leo_runtime.errors import InputError, did_you_mean, printable
from leo_runtime.frozen import dataclass

DEVICES = "sys/bus/iio/devices"
TIMESTAMP = "timestamp"
_MOST_BYTES = 4096
"""Of a file of sysfs, which is a page at most."""
MOST_VALUE, MOST_SCALE = 1e20, 1e9
"""Of a value, and of what it is scaled by: what is made of them fits float32."""
_BUFFER_SCANS = 128
"""Scans that the kernel keeps until they are read."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """From raw values to the ABI's units: (raw + offset) * scale, in m/s^2, rad/s, Gauss, kPa and so on."""

    scale: float
    offset: float

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """As float64."""
        return (raw.astype(np.float64) + self.offset) * self.scale


class IioDevice:
    """One device. For one thread at a time."""

    def __init__(self, name: str, root: Path) -> None:
        """`name` is what the device calls itself, its label, or `iio:device0`. Raises `InputError` where there is none,
        or several are called so."""
        self.folder = found = _find(name, root)
        self.file = root / "dev" / found.name
        """Where its buffer is read."""
        buffers = [found / "buffer", found / "buffer0"]
        self._buffer = next((folder for folder in buffers if (folder / "enable").exists()), None)
        scans = [found / "scan_elements", *buffers]
        self._scan = next((folder for folder in scans if any(folder.glob("in_*_type"))), None)

    @property
    def has_buffer(self) -> bool:
        """Whether its scans can be read from a buffer."""
        return self._buffer is not None and self._scan is not None

    def raw(self, channel: str) -> Path | None:
        """The file that a channel's raw value is read from."""
        file = self.folder / f"in_{channel}_raw"
        return file if file.exists() else None

    def processed(self, channel: str) -> Path | None:
        """The file that a channel's value in the ABI's units is read from."""
        file = self.folder / f"in_{channel}_input"
        return file if file.exists() else None

    def require(self, channels: Sequence[str]) -> None:
        """Raise `InputError` for a channel that it does not have."""
        for channel in channels:
            if self.raw(channel) is None and self.processed(channel) is None and channel not in self._elements():
                there = sorted({file.name[3:].rsplit("_", 1)[0] for file in self.folder.glob("in_*_raw")})
                raise InputError(
                    f"{self.folder.name} has no channel `{channel}`", hint=did_you_mean(channel, there, "it has")
                )

    def conversion(self, channel: str) -> Conversion:
        """Of a channel, or what it shares with others of its type. Raises `InputError` for what is no number."""
        return Conversion(self._number(channel, "scale", 1.0), self._number(channel, "offset", 0.0))

    def _number(self, channel: str, what: str, otherwise: float) -> float:
        for name in (f"in_{channel}_{what}", f"in_{_type(channel)}_{what}", f"in_{what}", what):
            if (text := read(self.folder / name)) is not None:
                return number(text, self.folder / name, MOST_SCALE)
        return otherwise

    def mount_matrix(self, kind: str) -> np.ndarray | None:
        """How it is mounted, where it says so. Raises `InputError`."""
        for name in (f"in_{kind}_mount_matrix", f"{kind}_mount_matrix", "in_mount_matrix", "mount_matrix"):
            if (text := read(self.folder / name)) is not None:
                return read_matrix(text)
        return None

    def set_rate(self, channels: Sequence[str], rate_hz: float) -> float | None:
        """Have it measure at that rate, or the next higher one that it can; its rate then, None: it does not say one.

        Raises `InputError` where it can only be slower.
        """
        kinds = dict.fromkeys(_type(channel) for channel in channels)
        for name in (*(f"in_{kind}_sampling_frequency" for kind in kinds), "sampling_frequency"):
            file = self.folder / name
            if (text := read(file)) is None:
                continue
            if _is(number(text, file), rate_hz):
                return rate_hz
            offered = self._rates(name)
            enough = [one for one in offered if one >= rate_hz * (1 - 1e-3)]
            if offered and not enough:
                raise InputError(
                    f"{self.folder.name} measures at most {max(offered):g} times a second, {rate_hz:g} are wanted",
                    hint="give the stream a rate of the device",
                )
            write(file, offered[min(enough)] if enough else _plain(rate_hz))
            return number(read(file) or "", file)
        return None

    def _rates(self, name: str) -> dict[float, str]:
        """Rates that are offered, one by one, as they are written; none where it is a range, `[least step most]`, or
        nothing is said. Some drivers offer for all what is set for a type alone."""
        for file in (self.folder / f"{name}_available", self.folder / "sampling_frequency_available"):
            if (text := read(file)) is not None:
                try:
                    return {float(part): part for part in text.split()}
                except ValueError:
                    return {}
        return {}

    # Its buffer.

    def _elements(self) -> dict[str, Path]:
        """The files of channels that a scan may hold, without the end of their names."""
        if self._scan is None:
            return {}
        return {file.name[3:-5]: file.with_name(file.name[:-5]) for file in sorted(self._scan.glob("in_*_type"))}

    def is_on(self) -> bool:
        """Whether its buffer is filled."""
        return self._buffer is not None and read(self._buffer / "enable") == "1"

    def switch_on(self, channels: Sequence[str], trigger: str | None, rate_hz: float) -> Layout:
        """Have its buffer filled with scans of these channels, and their times; what is on already stays as it is.

        A trigger that has a rate of its own, as a timer, gets `rate_hz`.

        Raises `InputError` for what is missing, `SourceFailedError`, `OSError` where it cannot be set up.
        """
        assert self._buffer is not None
        there = self._elements()
        if missing := [channel for channel in channels if channel not in there]:
            raise InputError(
                f"the buffer of {self.folder.name} has no `{missing[0]}`",
                hint=did_you_mean(missing[0], there, "it has") + "; or buffer = false",
            )
        if not self.is_on():
            for channel, start in there.items():
                write(Path(f"{start}_en"), str(int(channel in channels or channel == TIMESTAMP)))
            self._set_trigger(trigger, rate_hz)
            if read(self.folder / "current_timestamp_clock") is not None:
                write(self.folder / "current_timestamp_clock", "monotonic")
            write(self._buffer / "length", str(_BUFFER_SCANS))
            write(self._buffer / "enable", "1")
        enabled = {channel: start for channel, start in there.items() if read(Path(f"{start}_en")) == "1"}
        if missing := [channel for channel in channels if channel not in enabled]:
            raise InputError(
                f"the buffer of {self.folder.name} is on, without `{missing[0]}`",
                hint="another program uses it: switch that off, or buffer = false",
            )
        return layout([_element(channel, start) for channel, start in enabled.items()])

    def switch_off(self) -> None:
        """Have its buffer filled no more. Raises `OSError`, `SourceFailedError`."""
        assert self._buffer is not None
        write(self._buffer / "enable", "0")

    def clock(self) -> str | None:
        """The clock that times of its scans are read from."""
        return read(self.folder / "current_timestamp_clock")

    def _set_trigger(self, wanted: str | None, rate_hz: float) -> None:
        """Where it needs one, have it the one that is wanted, the one it has, or its own."""
        file = self.folder / "trigger" / "current_trigger"
        now = read(file)
        if now is None:
            return
        there = {read(one / "name") or "": one for one in sorted(self.folder.parent.glob("trigger*"))}
        own = f"dev{self.folder.name.removeprefix('iio:device')}"
        # Some have two of their own: `bmc150_accel-dev0`, and `-any-motion-dev0`, which is silent at rest.
        owns = sorted((name for name in there if name.endswith(f"-{own}")), key=len)
        name = wanted or now or next(iter(owns), None)
        if name is None:
            raise InputError(
                f"the buffer of {self.folder.name} needs a trigger, and has none",
                hint='make one (mkdir /sys/kernel/config/iio/triggers/hrtimer/leo) and name it: trigger = "leo"; '
                "or buffer = false",
            )
        if name in there and read(there[name] / "sampling_frequency") is not None:
            write(there[name] / "sampling_frequency", _plain(rate_hz))
        write(file, name)


def _element(channel: str, start: Path) -> Element:
    index = Path(f"{start}_index")
    text = read(index) or ""
    if not text.isdecimal():
        raise InputError(f"{index} holds `{text}`, and no index", hint="read it by polling: buffer = false")
    return Element(channel, int(text), read_type(read(Path(f"{start}_type")) or ""))


def read(file: Path) -> str | None:
    """What a file says, in a line; None where there is none. Raises `SourceFailedError` where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return printable(opened.read(_MOST_BYTES).decode(errors="replace").strip())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _failed(file, "read", error) from None


def write(file: Path, text: str) -> None:
    """Have it say that, if it does not. Raises `SourceFailedError`."""
    if read(file) == text:
        return
    try:
        with file.open("wb", buffering=0) as opened:
            opened.write(text.encode())
    except OSError as error:
        raise _failed(file, "written", error) from None


def number(text: str, file: Path, most: float = MOST_VALUE) -> float:
    """The number that a file says, at most so far from 0. Raises `InputError`."""
    try:
        found = float(text.split(" ")[0])  # Some say a unit behind it.
    except ValueError:
        found = float("nan")
    if not abs(found) <= most:
        raise InputError(f"{file} holds `{text[:60]}`, and no number", hint="its driver says so: is it the right one?")
    return found


def _failed(file: Path, what: str, error: OSError) -> SourceFailedError:
    hint = ""
    if isinstance(error, PermissionError):
        hint = "let the daemon's user write there (a rule of udev), set it up before, or buffer = false"
    elif error.errno == errno.EROFS:  # By systemd's ProtectKernelTunables.
        hint = "with ReadWritePaths=/sys/devices the unit lets it, as a rule of udev has to; or buffer = false"
    return SourceFailedError(f"{file} cannot be {what}: {os.strerror(error.errno or 0)}", hint=hint)


def _is(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-3 * other


def _plain(rate_hz: float) -> str:
    """As drivers read numbers: without an exponent, and without what is no part of it."""
    return f"{rate_hz:.6f}".rstrip("0").rstrip(".")


def _type(channel: str) -> str:
    """What a channel shares files by: `accel` of `accel_x`, `voltage` of `voltage0`, `voltage-voltage` of two."""
    return re.sub("[0-9]", "", channel.partition("_")[0])


def _find(name: str, root: Path) -> Path:
    """The folder of a device. Raises `InputError` as `IioDevice` does."""
    known = {device.name: device for device in sorted((root / DEVICES).glob("iio:device*"))}
    if name in known:
        return known[name]
    told = {
        folder: [text for what in ("name", "label") if (text := read(device / what))]
        for folder, device in known.items()
    }
    found = [folder for folder, texts in told.items() if name in texts]
    if len(found) > 1:
        said = ", ".join(f"{folder} ({', '.join(told[folder])})" for folder in found)
        raise InputError(f"several IIO devices are called `{name}`: {said}", hint="name it by its label or number")
    if not found:
        names = [*known, *dict.fromkeys(text for texts in told.values() for text in texts)]
        hint = did_you_mean(name, names, "there are") if names else "`leo-runtime doctor` lists sensors"
        raise InputError(f"there is no IIO device `{name}` in {root / DEVICES}", hint=hint)
    return known[found[0]]

"""Reads what energy the machine says it used, where it says anything.

Two kinds of source exist: a counter adds up joules (RAPL, hwmon's `energy*_input`, Android's rails), a gauge shows the
power of the moment (hwmon's `power*_input`, INA monitors' volts and amperes, a battery). A counter that stands at 0
counts as absent: some virtual machines show one. Each source is found below an injectable root, so it can be tested
on a made-up tree.

Formats: the kernel's Documentation/power/powercap, hwmon/sysfs-interface and ABI/testing/sysfs-class-power; Android's
on-device power rails (`energy_value` of an IIO device).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from leo_runtime.errors import BackendError

_RAIL = re.compile(r"CH\d+\(T=\d+\)\[(?P<rail>[^\]]+)\],\s*(?P<uws>\d+)")


@dataclass(frozen=True, slots=True)
class Counter:
    """Nanojoules used since some moment. `wraps_nj` is where it starts again from 0; 0: never."""

    name: str
    read_nj: Callable[[], int]
    wraps_nj: int = 0

    def used_nj(self, before_nj: int, after_nj: int) -> int:
        """What was used between two readings, less than one wrap apart. Raises `BackendError` if it ran backwards."""
        if after_nj >= before_nj:
            return after_nj - before_nj
        if self.wraps_nj == 0:
            raise BackendError(f"energy counter `{self.name}` went from {before_nj} nJ back to {after_nj} nJ")
        return after_nj + self.wraps_nj - before_nj


@dataclass(frozen=True, slots=True)
class Gauge:
    """Milliwatts drawn at this moment."""

    name: str
    read_mw: Callable[[], int]


Source = Counter | Gauge


@dataclass(slots=True)
class Meter:
    """Adds up what every source used over a time: start, sample as often as is convenient, stop.

    A gauge is integrated by the trapezoidal rule over its samples, so it is as good as they are dense.
    """

    sources: tuple[Source, ...]
    _last: dict[str, tuple[int, int]] = field(default_factory=dict)
    _used_nj: dict[str, int] = field(default_factory=dict)

    def start(self, now_us: int) -> None:
        """Begin to count at this moment."""
        self._last = {source.name: (now_us, _value(source)) for source in self.sources}
        self._used_nj = {source.name: 0 for source in self.sources}

    def sample(self, now_us: int) -> None:
        """Take every source's reading."""
        for source in self.sources:
            then_us, before = self._last[source.name]
            now = _value(source)
            if isinstance(source, Counter):
                self._used_nj[source.name] += source.used_nj(before, now)
            else:
                self._used_nj[source.name] += (before + now) * (now_us - then_us) // 2
            self._last[source.name] = now_us, now

    def stop(self, now_us: int) -> dict[str, int]:
        """Nanojoules by source, since `start`."""
        self.sample(now_us)
        return dict(self._used_nj)


def find_sources(root: Path = Path("/")) -> tuple[Source, ...]:
    """Every source there is below a root, by kind, then by name; none is an empty tuple, not an error."""
    return (*_rapl(root), *_hwmon(root), *_battery(root), *_android_rails(root))


def whole_machine(root: Path = Path("/")) -> tuple[Source, ...]:
    """The sources that together account for the machine: RAPL's packages, else Android's rails, else the battery.

    Chips of hwmon watch parts that only a person knows, so they are left out here.
    """
    for sources in (_rapl(root), _android_rails(root), _battery(root)):
        if sources:
            return tuple(sources)
    return ()


def _rapl(root: Path) -> list[Source]:
    """Packages only: their cores and memory (`intel-rapl:0:0`) are counted in them."""
    found: list[Source] = []
    for folder in sorted((root / "sys/class/powercap").glob("*-rapl:*")):
        if folder.name.count(":") != 1:
            continue
        wraps_uj = _number(folder / "max_energy_range_uj") or 0
        found += _counter(f"rapl {_text(folder / 'name') or folder.name}", folder / "energy_uj", 1000, 1000 * wraps_uj)
    return found


def _hwmon(root: Path) -> list[Source]:
    found: list[Source] = []
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        chip = _text(folder / "name") or folder.name
        for file in sorted(folder.glob("energy*_input")):
            found += _counter(_label(chip, file), file, 1000)
        for file in sorted(folder.glob("power*_input")):
            found += _gauge(_label(chip, file), (file,), lambda microwatts: microwatts // 1000)
        if any(folder.glob("power*_input")):
            continue  # The chip multiplies volts and amperes itself.
        for amperes in sorted(folder.glob("curr*_input")):
            volts = amperes.with_name(amperes.name.replace("curr", "in"))
            found += _gauge(_label(chip, amperes), (volts, amperes), lambda mv, ma: abs(mv * ma) // 1000)
    return found


def _battery(root: Path) -> list[Source]:
    """A discharging battery's current is negative with some vendors and positive with others: its size counts."""
    found: list[Source] = []
    for folder in sorted((root / "sys/class/power_supply").glob("*")):
        if _text(folder / "type") != "Battery":
            continue
        files = (folder / "voltage_now", folder / "current_now")
        found += _gauge(f"battery {folder.name}", files, _battery_mw)
    return found


def _battery_mw(microvolts: int, current: int) -> int:
    # Documented in microamperes, but some vendors give milliamperes: no awake device draws less than 5 mA.
    microamperes = abs(current) * (1000 if 0 < abs(current) < 5000 else 1)
    return microvolts * microamperes // 1_000_000_000


def _android_rails(root: Path) -> list[Source]:
    found: list[Source] = []
    for file in sorted((root / "sys/bus/iio/devices").glob("iio:device*/energy_value")):
        for match in _RAIL.finditer(_text(file) or ""):
            rail = match["rail"]
            if int(match["uws"]):
                found.append(Counter(f"rail {rail}", partial(_rail_nj, file, rail)))
    return found


def _rail_nj(file: Path, rail: str) -> int:
    for match in _RAIL.finditer(_text(file) or ""):
        if match["rail"] == rail:
            return 1000 * int(match["uws"])
    raise BackendError(f"{file}: rail `{rail}` is no longer there")


def _counter(name: str, file: Path, unit_nj: int, wraps_nj: int = 0) -> list[Source]:
    if not _number(file):
        return []
    return [Counter(name, lambda: unit_nj * _required(file), wraps_nj)]


def _gauge(name: str, files: tuple[Path, ...], milliwatts: Callable[..., int]) -> list[Source]:
    if any(_number(file) is None for file in files):
        return []
    return [Gauge(name, lambda: milliwatts(*(_required(file) for file in files)))]


def _value(source: Source) -> int:
    return source.read_nj() if isinstance(source, Counter) else source.read_mw()


def _label(chip: str, file: Path) -> str:
    label = _text(file.with_name(file.name.replace("_input", "_label")))
    return f"{chip} {label or file.name.removesuffix('_input')}"


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None  # Absent, or not ours to read: there is no such source.


def _number(file: Path) -> int | None:
    try:
        return int(_text(file) or "")
    except ValueError:
        return None


def _required(file: Path) -> int:
    number = _number(file)
    if number is None:
        raise BackendError(f"{file}: can no longer be read as a number", hint="was the device removed?")
    return number

"""What Linux says of the machine at this moment: battery, heat, clocks, pressure, networks, and who else uses the GPU.

All of it is read from files below a root, so that a test can have its own. A file that is not there, cannot be read or
says nonsense is unknown (None, or not listed), never an error: on a board without a battery there is none. Of a file no
more than `MOST_BYTES` are read, of a folder no more than `MOST_ENTRIES`. Formats are the kernel's: sysfs-class-power,
sysfs-class-thermal, cpu-freq, `accounting/psi`, sysfs-class-net and `gpu/drm-usage-stats` of its documentation.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from leo_runtime.frozen import dataclass

MOST_BYTES = 4_096
MOST_ENTRIES = 256
MOST_PROCESSES = 4_096
_MOST_DIGITS = 18
ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Battery:
    """What the machine runs on; of several batteries all together."""

    percent: int
    """What is left; of several in all, by how much each holds where they tell it in one unit, else their mean."""
    is_charging: bool | None
    """True: on mains, also when full; False: it discharges; None: not known."""
    discharge_mw: int | None
    """Drawn from it now; None: not known, or not discharging."""


@dataclass(frozen=True, slots=True)
class ThermalZone:
    """A place that has a temperature."""

    name: str
    kind: str
    """What the kernel calls it, such as `cpu-thermal`."""
    millicelsius: int
    throttles_at_millicelsius: int | None
    """From here on the kernel slows something down (the lowest passive trip that has something to slow down); None: not
    known."""


@dataclass(frozen=True, slots=True)
class ClockCap:
    """How fast cores may run that share a clock."""

    name: str
    allowed_khz: int
    """Now, by heat, power or choice."""
    most_khz: int
    """By their make."""

    @property
    def allowed_ppm(self) -> int:
        """What is allowed of what they could."""
        return min(1_000_000, self.allowed_khz * 1_000_000 // self.most_khz)


@dataclass(frozen=True, slots=True)
class Network:
    """A network interface; the loopback is none."""

    name: str
    is_up: bool


@dataclass(frozen=True, slots=True)
class MachineState:
    """A machine as it is now. Nothing is known of what is None or empty."""

    battery: Battery | None = None
    zones: tuple[ThermalZone, ...] = ()
    clocks: tuple[ClockCap, ...] = ()
    cpu_pressure_ppm: int | None = None
    """For how much of the last ten seconds something that could run had to wait for a CPU (PSI `some avg10`)."""
    networks: tuple[Network, ...] = ()
    gpu_others_ns: int | None = None
    """What other processes of ours have had the GPU work so far, all engines added, where the driver tells."""

    def network(self, name: str) -> Network | None:
        """The interface of that name; None: it is not there."""
        return next((one for one in self.networks if one.name == name), None)

    @property
    def hottest(self) -> ThermalZone | None:
        """The zone that is nearest to where it throttles, or furthest above; None: no zone says where that is."""
        known = [zone for zone in self.zones if zone.throttles_at_millicelsius is not None]
        return max(known, key=lambda one: one.millicelsius - (one.throttles_at_millicelsius or 0), default=None)


def read_machine(root: Path = ROOT, *, own: Collection[int] | None = None) -> MachineState:
    """Look at the machine. Takes some ms; with `own`, the process ids that are ours, also at what others do with the
    GPU, which takes about a ms for every 50 processes. From any thread."""
    return MachineState(
        _battery(root / "sys/class/power_supply"),
        tuple(_zones(root / "sys/class/thermal")),
        tuple(_clocks(root / "sys/devices/system/cpu/cpufreq")),
        _pressure_ppm(root / "proc/pressure/cpu"),
        tuple(_networks(root / "sys/class/net")),
        None if own is None else _gpu_others_ns(root / "proc", own),
    )


def busy_ppm(before_ns: int | None, after_ns: int | None, elapsed_us: int) -> int | None:
    """How much of a time a counter of busy ns has grown, at most all of it; None: not known."""
    if before_ns is None or after_ns is None or elapsed_us <= 0:
        return None
    return min(1_000_000, max(0, after_ns - before_ns) * 1_000 // elapsed_us)


def own_processes() -> frozenset[int]:
    """This process and all that it has started, for `read_machine`."""
    import psutil

    here = psutil.Process()
    try:
        started = here.children(recursive=True)
    except psutil.Error:  # One ended as it was looked at.
        started = []
    return frozenset((here.pid, *(one.pid for one in started)))


def _battery(supplies: Path) -> Battery | None:
    found, mains = [], []
    for supply in _entries(supplies):
        kind = _text(supply / "type")
        if kind in ("Mains", "USB"):
            mains.append(_number(supply / "online") == 1)
        # A mouse's, or a headset's, is none of the machine's.
        if kind == "Battery" and _text(supply / "scope") != "Device" and _is_there(supply):
            percent = _percent(supply)
            if percent is not None:
                found.append((supply, percent))
    if not found:
        return None
    statuses = [_text(supply / "status") for supply, _ in found]
    charging: bool | None = None
    if "Discharging" in statuses:
        charging = False
    elif any(mains) or any(status in ("Charging", "Full", "Not charging") for status in statuses):
        charging = True
    known = [power for supply, _ in found if (power := _power_mw(supply)) is not None]
    shares = _shares([supply for supply, _ in found])
    percent = sum(percent * share for (_, percent), share in zip(found, shares, strict=True)) // sum(shares)
    return Battery(percent, charging, sum(known) if known and charging is False else None)


def _is_there(battery: Path) -> bool:
    """Whether a battery is in its place: some drivers go on to tell of an empty one, as of a battery that is empty."""
    if _number(battery / "present") == 0:
        return False
    holds = [_number(battery / f"{kind}_full") for kind in ("energy", "charge")]
    left = [_number(battery / name) for name in ("capacity", "energy_now", "charge_now")]
    return 0 not in holds or any(left)


def _shares(batteries: Sequence[Path]) -> list[int]:
    """How much each holds, in one unit; all alike where that is not known."""
    for kind in ("energy_full", "charge_full"):
        full = [number for battery in batteries if (number := _number(battery / kind)) is not None and number > 0]
        if len(full) == len(batteries):
            return full
    return [1] * len(batteries)


def _percent(supply: Path) -> int | None:
    percent = _number(supply / "capacity")
    if percent is None:
        for kind in ("energy", "charge"):
            now, full = _number(supply / f"{kind}_now"), _number(supply / f"{kind}_full")
            if now is not None and full:
                percent = 100 * now // full
                break
    return None if percent is None else min(100, max(0, percent))


def _power_mw(supply: Path) -> int | None:
    """From uW, or uA and uV; some drivers give what is drawn a sign."""
    power_uw = _number(supply / "power_now")
    if power_uw is not None:
        return abs(power_uw) // 1_000
    current_ua, voltage_uv = _number(supply / "current_now"), _number(supply / "voltage_now")
    if current_ua is None or voltage_uv is None:
        return None
    return abs(current_ua * voltage_uv) // 10**9


def _zones(thermal: Path) -> Iterator[ThermalZone]:
    for zone in _entries(thermal):
        temperature = _number(zone / "temp") if zone.name.startswith("thermal_zone") else None
        if temperature is None:
            continue
        trips = [
            at
            for number in _slowing_trips(zone)
            if _text(zone / f"trip_point_{number}_type") == "passive"
            and (at := _number(zone / f"trip_point_{number}_temp")) is not None
            and at > 0
        ]
        yield ThermalZone(zone.name, _text(zone / "type"), temperature, min(trips, default=None))


def _slowing_trips(zone: Path) -> set[int]:
    """The trips that a cooling device is bound to. One without is a mark at which some program wants to be told, as
    thermald sets them on x86."""
    bindings = (file for file in _entries(zone) if file.name.startswith("cdev") and file.name.endswith("_trip_point"))
    found = (_number(file) for file in bindings)
    return {number for number in found if number is not None and number >= 0}


def _clocks(cpufreq: Path) -> Iterator[ClockCap]:
    for policy in _entries(cpufreq):
        allowed, most = _number(policy / "scaling_max_freq"), _number(policy / "cpuinfo_max_freq")
        if allowed is not None and most is not None and allowed > 0 and most > 0:
            yield ClockCap(policy.name, allowed, most)


def _pressure_ppm(file: Path) -> int | None:
    for line in _text(file).splitlines():
        words = line.split()
        if words[:1] == ["some"]:
            for word in words[1:]:
                name, _, value = word.partition("=")
                if name == "avg10":
                    with suppress(ValueError, OverflowError):
                        return min(1_000_000, max(0, round(float(value) * 10_000)))
    return None


def _networks(net: Path) -> Iterator[Network]:
    for interface in _entries(net):
        state = _text(interface / "operstate")
        if interface.name == "lo" or not state:
            continue
        # What has no notion of a carrier's state, as a tunnel, is "unknown" while it is up.
        yield Network(interface.name, state == "up" or (state == "unknown" and _number(interface / "carrier") == 1))


def _gpu_others_ns(proc: Path, own: Collection[int]) -> int | None:
    """All engines of all clients that are not ours; None where no driver tells of any."""
    found: dict[tuple[str, str], int] = {}
    for process in _entries(proc, MOST_PROCESSES):
        if not process.name.isdecimal():
            continue
        for descriptor in _entries(process / "fd"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("/dev/dri/"):
                said = dict(_pairs(_text(process / "fdinfo" / descriptor.name)))
                # One client may have several descriptors, which all tell the same; of ours it is known that they do.
                client = (said.get("drm-pdev", target), said.get("drm-client-id", f"{process.name}/{descriptor.name}"))
                spent = [
                    _whole(value.removesuffix("ns").strip()) or 0
                    for key, value in said.items()
                    if key.startswith("drm-engine-") and not key.startswith("drm-engine-capacity-")
                ]
                if spent:
                    found[client] = 0 if int(process.name) in own else sum(spent)
    return sum(found.values()) if found else None


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def _entries(folder: Path, most: int = MOST_ENTRIES) -> list[Path]:
    """What is in a folder, in order; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted((Path(entry.path) for entry in islice(found, most)), key=_in_order)
    except OSError:
        return []


def _in_order(path: Path) -> tuple[str, int, str]:
    """By the number at the end of a name: `thermal_zone2` is before `thermal_zone10`."""
    name = path.name.rstrip("0123456789")
    digits = path.name[len(name) :][:_MOST_DIGITS]
    return name, int(digits) if digits else -1, path.name


def _text(file: Path) -> str:
    """What a file says, without space around it; empty where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> int | None:
    return _whole(_text(file))


def _whole(text: str) -> int | None:
    """A whole number of ASCII digits, perhaps with a sign; None for anything else."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits or len(digits) > _MOST_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    return int(text)

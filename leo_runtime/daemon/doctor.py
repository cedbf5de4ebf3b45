"""What is here and what is missing: of Python, extras, processors, sound, sensors, cameras, permissions and folders.

Every check is a function that gives its findings, and what goes wrong in one is a finding itself. Files are looked for
below a root, which a test can have of its own. Nothing is opened that would change anything: no device, no socket.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from leo_runtime.daemon.machine_state import read_machine
from leo_runtime.daemon.places import cache_dir, runtime_dir, state_dir
from leo_runtime.errors import LeoError, installing, printable, words
from leo_runtime.frozen import dataclass

State = Literal["ok", "absent", "wrong"]
"""`absent`: it is not here, and nothing that was asked about needs it. `wrong`: something that is needed."""
OF_DEVELOPERS = (
    "test",
    "lint",
    "browser",
    "oclgrind",
    "oracle",
    "tables-readers",
    "peers",
    "demo-sources",
    "demo",
    "tflite-legacy",
)
"""Extras that nobody needs to run anything."""
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[([^]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_GROUPS = {"/dev/snd": "audio", "/dev/video": "video", "/dev/dri": "render", "/dev/iio": "plugdev"}
"""Who may usually read such devices, where a file's own group may not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    what: str
    state: State
    says: str
    hint: str = ""
    """The way out; empty where there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    root: Path
    environment: Mapping[str, str]
    config: Path | None = None


def examine(patient: Patient) -> tuple[Finding, ...]:
    """Everything, in order."""
    found: list[Finding] = []
    for area, check in CHECKS.items():
        try:
            found += check(patient)
        except Exception as error:  # A doctor that faints helps nobody: what cannot be looked at is told.
            hint = error.hint if isinstance(error, LeoError) else "please report it"
            found.append(Finding(area, "check", "wrong", printable(words(error)), hint))
    return tuple(found)


def _python(_: Patient) -> Iterator[Finding]:
    yield Finding("core", "python", "ok", f"{platform.python_version()} on {platform.machine()}")
    for name in ("numpy", "pydantic", "psutil"):
        yield _installed("core", name)
    from leo_runtime.solver.compiled import COMPILED

    if COMPILED:
        yield Finding("core", "solver", "ok", "compiled")
    else:
        hint = "install a C compiler, then: pip install --force-reinstall --no-binary leo-runtime leo-runtime"
        yield Finding("core", "solver", "absent", "interpreted: plans take many times as long", hint)
    if not sys.executable:
        says = "this Python does not say where it is: no isolated stage and no `tflite` model can be started"
        hint = "multiprocessing.set_executable(path) names one; a processor's `isolate_or_here` runs stages here"
        yield Finding("core", "workers", "absent", says, hint)


def _installed(area: str, name: str) -> Finding:
    try:
        return Finding(area, name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(area, name, "wrong", "not installed", f"pip install {name}")


def _extras(_: Patient) -> Iterator[Finding]:
    try:
        wanted = requires("leo-runtime") or []
    except PackageNotFoundError:
        yield Finding("extras", "leo-runtime", "wrong", "not installed, only on the path", "pip install leo-runtime")
        return
    extras: dict[str, list[tuple[str, str]]] = {}
    for line in wanted:
        name, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if name is not None and extra is not None and _is_for_here(line):
            extras.setdefault(extra[1], []).append((name[1], name[2] or ""))
    for called in sorted(extras.keys() - set(OF_DEVELOPERS)):
        names = list(_packages(called, extras))
        missing = [name for name in names if not _is_there(name)]
        if missing:
            yield Finding("extras", called, "absent", f"without {', '.join(missing)}", installing(called))
        else:
            yield Finding("extras", called, "ok", ", ".join(f"{name} {version(name)}" for name in names))


def _packages(extra: str, extras: Mapping[str, list[tuple[str, str]]]) -> Iterator[str]:
    """What an extra brings, of packages and their own extras; also what it brings by another one of ours."""
    for name, others in extras.get(extra, ()):
        if name == "leo-runtime":
            for other in others.split(","):
                yield from _packages(other.strip(), extras)
        else:
            yield name


def _is_for_here(requirement: str) -> bool:
    """Whether its marker names another kind of machine; of the markers that ours have."""
    machine = re.search(r"""platform_machine\s*==\s*["']([^"']+)["']""", requirement)
    return machine is None or machine[1] == platform.machine()


def _is_there(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _processors(patient: Patient) -> Iterator[Finding]:
    from leo_runtime.backend.registry import available

    for one in available():
        state: State = "ok" if one.available else "absent"
        says = one.missing or "here"
        yield Finding("processors", one.name, state, printable(says), one.hint)
    if _is_there("pyopencl"):
        yield from _opencl()
    yield _devices(patient, "processors", "GPU nodes", "dev/dri", "renderD*", "/dev/dri")


def _opencl() -> Iterator[Finding]:
    try:
        import pyopencl

        devices = [
            f"{device.name.strip()} ({platform.name})"
            for platform in pyopencl.get_platforms()
            for device in platform.get_devices()
        ]
    except Exception as error:  # A driver's own code: whatever it raises, there is no device.
        yield Finding("processors", "OpenCL devices", "absent", printable(words(error)), _OPENCL)
        return
    if devices:
        yield Finding("processors", "OpenCL devices", "ok", printable("; ".join(devices)))
    else:
        yield Finding("processors", "OpenCL devices", "absent", "none", _OPENCL)
    if any("pocl" in device.lower() or "portable computing" in device.lower() for device in devices):
        linker = shutil.which("ld")
        says = linker or "PoCL links kernels with `ld`, which is not here"
        yield Finding("processors", "linker", "ok" if linker else "absent", says, "" if linker else "install binutils")


_OPENCL = "install the driver of the GPU, or pip install 'leo-runtime[opencl]' on x86_64 for the CPU"


def _sound(patient: Patient) -> Iterator[Finding]:
    from ctypes.util import find_library

    path = patient.environment.get("PATH")
    recorders = [name for name in ("arecord", "parec", "pw-record") if shutil.which(name, path=path)]
    hint = "install alsa-utils, pulseaudio-utils or pipewire-bin"
    yield _of("sound", "recorders", recorders, "none of arecord, parec, pw-record", hint)
    library = find_library("portaudio")
    yield _of("sound", "portaudio", [library] if library else [], "not installed", "install libportaudio2")
    run = patient.environment.get("XDG_RUNTIME_DIR")
    servers = []
    if run:
        folder = patient.root / run.lstrip("/")
        servers = [name for name, file in _SERVERS.items() if (folder / file).exists()]
    yield _of("sound", "servers", servers, "none for this user", "not needed with a sound card of one's own")
    yield _devices(patient, "sound", "sound cards", "dev/snd", "pcmC*c", "/dev/snd")


_SERVERS = {"PulseAudio": "pulse/native", "PipeWire": "pipewire-0"}


def _sensors(patient: Patient) -> Iterator[Finding]:
    iio = patient.root / "sys/bus/iio/devices"
    names = [
        f"{_line(device / 'label') or _line(device / 'name') or '?'} ({device.name})"
        for device in sorted(iio.glob("iio:device*"))  # Of a folder that is not there: none.
    ]
    yield _of("sensors", "IIO", names, "none", "only boards and some laptops have accelerometers there")
    if names:
        yield _devices(patient, "sensors", "IIO buffers", "dev", "iio:device*", "/dev/iio")
    yield _devices(patient, "sensors", "cameras", "dev", "video[0-9]*", "/dev/video")


def _devices(patient: Patient, area: str, what: str, folder: str, pattern: str, kind: str) -> Finding:
    """Device files of a kind, and whether this user may read them."""
    files = sorted((patient.root / folder).glob(pattern))
    if not files:
        return Finding(area, what, "absent", "none")
    closed = [file for file in files if not os.access(file, os.R_OK)]
    shown = ", ".join(printable(file.name) for file in files[:8]) + (" and more" if len(files) > 8 else "")
    if not closed:
        return Finding(area, what, "ok", shown)
    group = _group_of(closed[0]) or _GROUPS[kind]
    hint = f"sudo usermod -aG {group} $USER, and log in again; of a unit: SupplementaryGroups={group}"
    return Finding(area, what, "absent", f"{printable(closed[0].name)} may not be read", hint)


def _group_of(file: Path) -> str | None:
    """The group that may read it."""
    try:
        found = file.stat()
        return file.group() if found.st_mode & stat.S_IRGRP else None
    except (OSError, KeyError):
        return None


def _machine(patient: Patient) -> Iterator[Finding]:
    state = read_machine(patient.root)
    battery = state.battery
    shown = [] if battery is None else [f"{battery.percent} %"]
    yield _of("machine", "battery", shown, "none: nothing is saved for it", "")
    hottest = state.hottest
    zones = [f"{one.kind or one.name} {one.millicelsius / 1000:.0f} C" for one in state.zones[:6]]
    says = "no zone says its temperature" if not zones else "no zone says where it throttles"
    yield _of("machine", "heat", zones if hottest else [], says, "")
    caps = [f"{one.name} {one.allowed_ppm / 10_000:.0f} %" for one in state.clocks[:6]]
    yield _of("machine", "clocks", caps, "not told: a virtual machine?", "")
    pressure = [] if state.cpu_pressure_ppm is None else [f"{state.cpu_pressure_ppm / 10_000:.0f} % of the time"]
    yield _of("machine", "CPU pressure", pressure, "not told", "boot the kernel with psi=1")
    networks = [f"{one.name} {'up' if one.is_up else 'down'}" for one in state.networks[:8]]
    yield _of("machine", "networks", networks, "none", "")


def _systemd(patient: Patient) -> Iterator[Finding]:
    runs = (patient.root / "run/systemd/system").is_dir()
    hint = "run `leo-runtime daemon CONFIG` under any other supervisor"
    yield _of("service", "systemd", ["runs"] if runs else [], "does not run here", hint)


def _folders(patient: Patient) -> Iterator[Finding]:
    places: dict[str, tuple[Callable[[Mapping[str, str]], Path], str]] = {
        "state": (state_dir, "XDG_STATE_HOME"),
        "cache": (cache_dir, "XDG_CACHE_HOME"),
        "sockets": (runtime_dir, "XDG_RUNTIME_DIR"),
    }
    for what, (place, variable) in places.items():
        folder = place(patient.environment)
        if _is_writable(folder):
            yield Finding("folders", what, "ok", str(folder))
        else:
            hint = f"set {variable} to a folder that this user may write to"
            yield Finding("folders", what, "wrong", f"{folder} cannot be written", hint)


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or it could be made itself."""
    for place in (folder, *folder.parents):
        if place.exists():
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


def _config(patient: Patient) -> Iterator[Finding]:
    """What a config names, all of it needed."""
    if patient.config is None:
        return
    from leo_runtime.daemon.config import DaemonConfig
    from leo_runtime.daemon.counts import Counts
    from leo_runtime.daemon.kinds import Site
    from leo_runtime.daemon.loading import load, wrong_parts

    folder = patient.config.absolute().parent
    try:
        config = DaemonConfig.from_file(patient.config)
        yield Finding("config", "file", "ok", str(patient.config))
        loaded = load(config, folder)
    except LeoError as error:
        yield Finding("config", "what it names", "wrong", str(error), error.hint)
        return
    graphs = ", ".join(graph.name for graph in loaded.workload.graphs)
    yield Finding("config", "workload", "ok", f"{loaded.workload.name}: {graphs}")
    yield Finding("config", "machine", "ok", f"{loaded.hardware.name}, profile {loaded.profile.name}")
    hashed = sum(len(one.sha256) for one in config.trusted)
    if config.trusted:
        says = f"{len(config.trusted)} folders, {hashed} files by their hash"
        yield Finding("config", "trusted", "ok", says)
    site = Site(
        folder=folder,
        state_dir=state_dir(patient.environment),
        runtime_dir=runtime_dir(patient.environment),
        workload=loaded.workload,
        sockets={},
        counts=Counts(),
        restart=lambda _: None,
    )
    wrong = wrong_parts(loaded, site)
    for name, (source, streams) in loaded.sources.items():
        of = f" for {', '.join(stream.name for stream in streams)}"
        yield _of_part(f"source {name}", source.kind, of, wrong)
    for name, sink in loaded.sinks.items():
        yield _of_part(f"sink {name}", sink.kind, "", wrong)
    if config.metrics is not None:
        yield _of_part("metrics", "metrics", "", wrong)


def _of_part(what: str, kind: str, more: str, wrong: Mapping[str, LeoError]) -> Finding:
    """Whether a part of the config has what it needs, and where."""
    if what in wrong:
        return Finding("config", what, "wrong", str(wrong[what]), wrong[what].hint)
    return Finding("config", what, "ok", kind + more)


def _of(area: str, what: str, found: list[str], otherwise: str, hint: str) -> Finding:
    if found:
        return Finding(area, what, "ok", printable(", ".join(found)))
    return Finding(area, what, "absent", otherwise, hint)


def _line(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return printable(opened.read(256).decode(errors="replace").strip())
    except OSError:
        return ""


CHECKS: Mapping[str, Callable[[Patient], Iterator[Finding]]] = {
    "core": _python,
    "extras": _extras,
    "processors": _processors,
    "sound": _sound,
    "sensors": _sensors,
    "machine": _machine,
    "service": _systemd,
    "folders": _folders,
    "config": _config,
}
"""By area."""

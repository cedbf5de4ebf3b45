"""Measures what every stage costs on every processor that is here, and writes it down as a profile.

A stage is given real inputs: a window of a recording, and what the stages before it made of that. Its cold start
(loading and the first run) is kept apart from warm runs, which are repeated until their median is steady. It is then
measured on several times its input, which gives a fixed and a growing part, on all lanes of a processor at once, and
beside busy neighbours. Energy is read where the machine offers it. A machine that was busy before is reported.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

from leo_runtime import registry
from leo_runtime.backend import Backend
from leo_runtime.clock import Clock, WallClock
from leo_runtime.energy import Source
from leo_runtime.errors import LeoError, ProfileError
from leo_runtime.graph import BoundStage, Workload
from leo_runtime.hardware import Hardware
from leo_runtime.lower import MergedStage, merge
from leo_runtime.measure import (
    FULL,
    BusyNeighbours,
    Effort,
    Energy,
    Loaded,
    fit_line,
    load,
    over_batches,
    over_lanes,
    run_warm,
    summed_up,
)
from leo_runtime.profiles import ClockMhz, Cost, Device, Measurement, Profile
from leo_runtime.progress import Progress
from leo_runtime.replay import check_streams
from leo_runtime.traces import Recording

MEASURED = "measured"

BUSY_PERCENT = 30
"""Where the CPU is busier than this before measuring begins, times are not to be trusted."""

WATCHED_US = 500_000
"""How long a machine is watched to see how busy it is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One stage's variant on one processor."""

    stage: BoundStage
    variant: str
    processor: str
    measurement: Measurement
    power_mw: int | None
    """What it drew above idle; None: nothing says."""
    measured_power: bool = False
    """Whether the machine's own counters say so; otherwise it is a device's model."""
    batch_points: tuple[tuple[int, int], ...] = ()
    """(MACs, median us) of runs on several times the input."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A profile, the readings behind it, and what could not be measured, or not well (what, and why)."""

    profile: Profile
    readings: tuple[Reading, ...]
    missing: tuple[tuple[str, LeoError], ...]


def calibrate(
    workload: Workload,
    hardware: Hardware,
    recording: Recording,
    *,
    effort: Effort = FULL,
    backends: Mapping[str, Backend] | None = None,
    clock: Clock | None = None,
    sources: tuple[Source, ...] = (),
    progress: Progress = lambda *_: None,
) -> Calibration:
    """Measure a workload's stages on the machine at hand. `backends` by processor; None: those installed.

    `sources` are where energy is read (`energy.whole_machine()`); with none it is modelled from the hardware's powers.

    Raises `GraphError` for the workload and `RecordingError` when a stream is not in the recording, or of another rate.
    """
    check_streams(workload, recording)
    clock = clock or WallClock()
    busy = _busy(busy_percent(clock))
    opened, missing = open_backends(hardware) if backends is None else (dict(backends), [])
    missing = [*busy, *missing]
    lanes = {processor.name: processor.lanes for processor in hardware.processors}
    try:
        energy = Energy.read(sources, clock)
        readings: list[Reading] = []
        kept: list[Loaded] = []
        values: dict[str, np.ndarray] = {}
        merged = merge(workload)
        for done, stage in enumerate(merged.stages):
            progress(stage.name, done, len(merged.stages))
            inputs = _inputs(stage, values, recording)
            for variant in stage.bound.params:
                for processor, backend in opened.items():
                    if not backend.supports(stage.bound, variant):
                        continue
                    try:
                        loaded, output, cold_us = load(stage.bound, variant, processor, backend, inputs, clock)
                        runs = run_warm(loaded, effort, clock, energy)
                        points = over_batches(loaded, backend, effort, clock, energy)
                        lanes_us = over_lanes(loaded, backend, lanes.get(processor, 1), effort, clock, energy)
                    except LeoError as error:
                        missing.append((f"{stage.name} on {processor}", error))
                        continue
                    measured = summed_up(runs, cold_us).model_copy(update={"lanes_us": lanes_us})
                    readings.append(
                        Reading(stage.bound, variant, processor, measured, runs.power_mw, runs.measured_power, points)
                    )
                    kept.append(loaded)
                    values.setdefault(stage.name, output)
            values.setdefault(stage.name, np.zeros(stage.bound.output_shape, np.float32))
        if effort.neighbours:
            progress("beside busy neighbours", len(merged.stages), len(merged.stages))
            readings = _beside_neighbours(kept, readings, effort, clock, energy)
        progress("", len(merged.stages), len(merged.stages))
        profile = Profile(
            format="leo-profile/1",
            name=hardware.name,
            hardware=hardware.name,
            device=this_device(opened),
            costs=_costs(readings),
        )
    finally:
        if backends is None:
            for backend in opened.values():
                backend.close()
    return Calibration(profile, tuple(readings), tuple(missing))


def open_backends(hardware: Hardware) -> tuple[dict[str, Backend], list[tuple[str, LeoError]]]:
    """The backends of a machine's processors that are here, by processor, and why the others are not."""
    opened: dict[str, Backend] = {}
    missing: list[tuple[str, LeoError]] = []
    for processor in hardware.processors:
        try:
            opened[processor.name] = registry.create(processor)
        except LeoError as error:
            missing.append((processor.name, error))
    return opened, missing


def this_device(backends: Mapping[str, Backend] | None = None) -> Device:
    """The fingerprint of the machine at hand; a backend's own is its attribute `driver`, where it has one."""
    import psutil

    drivers = {name: str(getattr(backend, "driver", "")) for name, backend in (backends or {}).items()}
    return Device(
        machine=platform.machine() or "unknown",
        cpu=_cpu_name(),
        cores=psutil.cpu_count() or 1,
        blas=_blas(),
        drivers={name: driver for name, driver in drivers.items() if driver},
        clock_mhz=_clock_mhz(),
    )


def busy_percent(clock: Clock) -> float:
    """How busy all cores together are, in percent, watched for `WATCHED_US`."""
    import psutil

    psutil.cpu_percent()
    clock.wait_until_us(clock.now_us() + WATCHED_US)
    return float(psutil.cpu_percent())


def require_device(profile: Profile, device: Device) -> None:
    """Raise `ProfileError` when a profile was measured on another device than this one, or on none.

    `device` is to name the drivers of every backend here: `this_device(backends)`.
    """
    if profile.device is None:
        raise ProfileError(
            f"profile `{profile.name}` was made from figures, not measured on this machine",
            hint="measure this machine with `leo-runtime calibrate`",
        )
    fields = ("machine", "cpu", "cores", "blas")
    compared = [(what, getattr(profile.device, what), getattr(device, what)) for what in fields]
    drivers, here = profile.device.drivers, device.drivers
    compared += [(f"driver of {name}", drivers.get(name, ""), here.get(name, "")) for name in {**drivers, **here}]
    for what, then, now in compared:
        if then != now:
            raise ProfileError(
                f'profile `{profile.name}` is of another device: its {what} is "{then}", this one\'s "{now}"',
                hint="measure this machine with `leo-runtime calibrate`, or name the profile with `--profile`",
            )


def require_measured(profile: Profile, workload: Workload, backends: Mapping[str, Backend]) -> None:
    """Raise `ProfileError` when a variant of a stage that these backends can run was measured on none of them."""
    for stage in merge(workload).stages:
        for variant in stage.bound.params:
            able = [processor for processor, backend in backends.items() if backend.supports(stage.bound, variant)]
            found = [profile.cost(stage.bound, variant, processor) for processor in able]
            if able and not any(cost is not None and cost.signature is not None for cost in found):
                raise ProfileError(
                    f"profile `{profile.name}` has no measurement of stage `{stage.name}` ({variant}) "
                    f"of workload `{workload.name}`",
                    hint="measure this workload with `leo-runtime calibrate --workload`",
                )


def _inputs(stage: MergedStage, values: Mapping[str, np.ndarray], recording: Recording) -> list[np.ndarray]:
    if not stage.bound.operator.is_source:
        return [values[name] for name in stage.inputs]
    params = next(iter(stage.bound.params.values()))
    return [recording.window(params.stream, recording.lasts_us([params.stream]) // 2, params.samples)]


def _beside_neighbours(
    loaded: Sequence[Loaded], readings: Sequence[Reading], effort: Effort, clock: Clock, energy: Energy
) -> list[Reading]:
    """The same readings, with the median of runs beside the longest stage of every other processor."""
    longest: dict[str, Loaded] = {}
    for stage, _reading in sorted(zip(loaded, readings, strict=True), key=lambda pair: pair[1].measurement.median_us):
        longest[stage.processor] = stage
    found = []
    for stage, reading in zip(loaded, readings, strict=True):
        others = [other for processor, other in longest.items() if processor != stage.processor]
        if not others:
            found.append(reading)
            continue
        with BusyNeighbours(others):
            runs = run_warm(stage, effort.briefly(), clock, energy)
        measurement = reading.measurement.model_copy(update={"beside_us": round(median(runs.times_us))})
        found.append(replace(reading, measurement=measurement))
    return found


def _cost(reading: Reading) -> Cost:
    """The entry of one stage. At its own size it gives the median; what grows with the work is known from batches."""
    macs, median_us = reading.stage.work(reading.variant).macs, reading.measurement.median_us
    fixed_us, ps_per_mac = median_us, 0
    if reading.batch_points and macs:
        ps_per_mac = min(fit_line([(macs, median_us), *reading.batch_points])[1], median_us * 1_000_000 // macs)
        fixed_us = max(0, median_us + (-macs * ps_per_mac // 1_000_000))
    return Cost(
        processor=reading.processor,
        operator=reading.stage.operator.name,
        variant=reading.variant,
        signature=reading.stage.signature(reading.variant),
        fixed_us=fixed_us,
        ps_per_mac=ps_per_mac,
        power_mw=reading.power_mw,
        energy_from="measured" if reading.measured_power else "modelled",
        measurement=reading.measurement,
        source=MEASURED,
    )


def _costs(readings: Sequence[Reading]) -> tuple[Cost, ...]:
    """An entry for each stage that was measured, and a line through those of each operator for stages that were not."""
    costs = [_cost(reading) for reading in readings]
    # The same stage may be in a workload under two names.
    entries = {(cost.processor, cost.signature, cost.variant): cost for cost in costs}
    groups: dict[tuple[str, str, str], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.processor, reading.stage.operator.name, reading.variant), []).append(reading)
    for (processor, operator, variant), group in groups.items():
        fixed_us, ps_per_mac = fit_line(
            [
                point
                for reading in group
                for point in (
                    (reading.stage.work(variant).macs, reading.measurement.median_us),
                    *reading.batch_points,
                )
            ]
        )
        powers = [reading.power_mw for reading in group if reading.power_mw is not None]
        measured = all(reading.measured_power for reading in group if reading.power_mw is not None)
        entries[processor, operator, variant] = Cost(
            processor=processor,
            operator=operator,
            variant=variant,
            fixed_us=fixed_us,
            ps_per_mac=ps_per_mac,
            power_mw=round(median(powers)) if powers else None,
            energy_from="measured" if powers and measured else "modelled",
            source=MEASURED,
        )
    return tuple(entries.values())


def _busy(percent: float) -> list[tuple[str, LeoError]]:
    """A warning where the machine does other things than being measured."""
    if percent <= BUSY_PERCENT:
        return []
    return [
        (
            "an idle machine",
            LeoError(
                f"its CPU was {percent:.0f} % busy before measuring began, so times may be too long",
                hint="end other programs, then calibrate again",
            ),
        )
    ]


def _clock_mhz() -> ClockMhz | None:
    """The CPU's clock; None where the operating system does not tell."""
    import psutil

    try:
        frequency = psutil.cpu_freq()
    except (AttributeError, NotImplementedError, OSError):
        return None  # Not offered on every platform, nor in every container.
    if frequency is None:
        return None
    # Unknown limits are given as 0.
    known = {"least": frequency.min, "now": frequency.current, "most": frequency.max}
    found = {name: round(mhz) for name, mhz in known.items() if mhz and round(mhz) > 0}
    return ClockMhz(**found) if found else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    for key in ("model name", "Hardware", "Model"):
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return platform.processor()


def _blas() -> str:
    """Which BLAS numpy uses and the core it chose, where threadpoolctl is there to say so."""
    if find_spec("threadpoolctl") is None:
        return ""
    for pool in import_module("threadpoolctl").threadpool_info():
        if pool.get("user_api") == "blas":
            return f"{pool.get('internal_api', '')} {pool.get('architecture', '')}".strip()
    return ""

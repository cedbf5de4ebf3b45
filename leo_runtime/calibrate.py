"""Measures what every stage costs on every processor that is here, and writes it down as a profile.

A stage is given real inputs: a window of a recording, and what the stages before it made of that. Its cold start
(loading and the first run) is kept apart from warm runs, which are repeated until their median is steady. A device that
times itself (an OpenCL event, the simulated DSP) is believed where it says more than the clock on the wall: the DSP
computes here faster than it would there.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from leo_runtime import registry
from leo_runtime.backend import Backend, Kernel, TimedKernel
from leo_runtime.clock import Clock, WallClock
from leo_runtime.errors import LeoError, ProfileError
from leo_runtime.graph import BoundStage, Workload
from leo_runtime.hardware import Hardware
from leo_runtime.lower import MergedStage, merge
from leo_runtime.profiles import Cost, Device, Measurement, Profile
from leo_runtime.traces import Recording

MEASURED = "measured"

Progress = Callable[[str, int, int], None]
"""Told what comes next, how much is done, and how much there is to do."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a stage is measured on one processor."""

    warm_up_runs: int = 3
    least_runs: int = 20
    most_us: int = 1_000_000
    """After so long a stage is done with, steady or not."""
    steady_percent: int = 2
    """Steady: the medians of the first and second half of the runs differ by no more."""


FULL = Effort()
QUICK = Effort(warm_up_runs=1, least_runs=5, most_us=100_000, steady_percent=10)


@dataclass(frozen=True, slots=True)
class Reading:
    """One stage's variant on one processor."""

    stage: BoundStage
    variant: str
    processor: str
    measurement: Measurement
    power_mw: int | None
    """What the device itself says it drew; None: it says nothing."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A profile, the readings behind it, and what could not be measured (processor or stage, and why)."""

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
    progress: Progress = lambda *_: None,
) -> Calibration:
    """Measure a workload's stages on the machine at hand. `backends` by processor; None: those installed.

    Raises `GraphError` for the workload and `RecordingError` when a stream is not in the recording.
    """
    opened, missing = open_backends(hardware) if backends is None else (dict(backends), [])
    try:
        readings: list[Reading] = []
        values: dict[str, np.ndarray] = {}
        merged = merge(workload)
        for done, stage in enumerate(merged.stages):
            progress(stage.name, done, len(merged.stages))
            inputs = _inputs(stage, values, recording)
            values[stage.name] = np.zeros(stage.bound.output_shape, np.float32)
            measured = False
            for variant in stage.bound.params:
                for processor, backend in opened.items():
                    if not backend.supports(stage.bound, variant):
                        continue
                    try:
                        reading, output = _measure(
                            stage.bound, variant, processor, backend, inputs, effort, clock or WallClock()
                        )
                    except LeoError as error:
                        missing.append((f"{stage.name} on {processor}", error))
                        continue
                    readings.append(reading)
                    if not measured:
                        values[stage.name], measured = output, True
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
    drivers = {name: str(getattr(backend, "driver", "")) for name, backend in (backends or {}).items()}
    return Device(
        machine=platform.machine() or "unknown",
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        blas=_blas(),
        drivers={name: driver for name, driver in drivers.items() if driver},
    )


def require_device(profile: Profile, device: Device) -> None:
    """Raise `ProfileError` when a profile was measured on another device than this one, or on none."""
    if profile.device is None:
        raise ProfileError(
            f"profile `{profile.name}` was made from figures, not measured on this machine",
            hint="measure this machine with `leo-runtime calibrate`",
        )
    for what in ("machine", "cpu", "cores", "blas"):
        then, now = getattr(profile.device, what), getattr(device, what)
        if then != now:
            raise ProfileError(
                f'profile `{profile.name}` is of another device: its {what} is "{then}", this one\'s "{now}"',
                hint="measure this machine with `leo-runtime calibrate`, or name the profile with `--profile`",
            )


def _inputs(stage: MergedStage, values: Mapping[str, np.ndarray], recording: Recording) -> list[np.ndarray]:
    if not stage.bound.operator.is_source:
        return [values[name] for name in stage.inputs]
    params = next(iter(stage.bound.params.values()))
    return [recording.window(params.stream, recording.duration_us // 2, params.samples)]


def _measure(
    stage: BoundStage,
    variant: str,
    processor: str,
    backend: Backend,
    inputs: Sequence[np.ndarray],
    effort: Effort,
    clock: Clock,
) -> tuple[Reading, np.ndarray]:
    began_us = clock.now_us()
    kernel = backend.load(stage, variant)
    output = kernel(inputs)
    cold_us = clock.now_us() - began_us
    for _ in range(effort.warm_up_runs):
        _run(kernel, inputs, clock)
    times_us: list[int] = []
    device_us = device_nj = 0
    began_us = clock.now_us()
    while not times_us or not (_is_steady(times_us, effort) or clock.now_us() - began_us >= effort.most_us):
        took_us, own_us, own_nj = _run(kernel, inputs, clock)
        times_us.append(took_us)
        device_us, device_nj = device_us + own_us, device_nj + own_nj
    p95_us = quantiles(times_us, n=20, method="inclusive")[-1] if len(times_us) > 1 else times_us[0]
    measurement = Measurement(
        runs=len(times_us), median_us=round(median(times_us)), p95_us=round(p95_us), cold_us=cold_us
    )
    power_mw = round(device_nj / device_us) if device_us and device_nj else None
    return Reading(stage, variant, processor, measurement, power_mw), output


def _run(kernel: Kernel, inputs: Sequence[np.ndarray], clock: Clock) -> tuple[int, int, int]:
    """How long a run took, and what the device says of its own time and energy (0 where it says nothing)."""
    began_us = clock.now_us()
    if not isinstance(kernel, TimedKernel):
        kernel(inputs)
        return clock.now_us() - began_us, 0, 0
    run = kernel.timed(inputs)
    return max(clock.now_us() - began_us, run.device_us), run.device_us, run.device_nj or 0


def _is_steady(times_us: Sequence[int], effort: Effort) -> bool:
    if len(times_us) < effort.least_runs:
        return False
    half = len(times_us) // 2
    first, second = median(times_us[:half]), median(times_us[half:])
    return abs(first - second) * 100 <= effort.steady_percent * max(first, second)


def _costs(readings: Sequence[Reading]) -> tuple[Cost, ...]:
    """An entry for each stage that was measured, and a line through those of each operator for stages that were not."""
    costs = [
        Cost(
            processor=reading.processor,
            operator=reading.stage.operator.name,
            variant=reading.variant,
            signature=reading.stage.signature(reading.variant),
            fixed_us=reading.measurement.median_us,
            power_mw=reading.power_mw,
            measurement=reading.measurement,
            source=MEASURED,
        )
        for reading in readings
    ]
    # The same stage may be in a workload under two names.
    entries = {(cost.processor, cost.signature, cost.variant): cost for cost in costs}
    groups: dict[tuple[str, str, str], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.processor, reading.stage.operator.name, reading.variant), []).append(reading)
    for (processor, operator, variant), group in groups.items():
        fixed_us, ps_per_mac = fit_line(
            [(reading.stage.work(variant).macs, reading.measurement.median_us) for reading in group]
        )
        powers = [reading.power_mw for reading in group if reading.power_mw is not None]
        entries[processor, operator, variant] = Cost(
            processor=processor,
            operator=operator,
            variant=variant,
            fixed_us=fixed_us,
            ps_per_mac=ps_per_mac,
            power_mw=round(median(powers)) if powers else None,
            source=MEASURED,
        )
    return tuple(entries.values())


def fit_line(points: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(fixed_us, ps_per_mac) of a line through (MACs, us), neither negative.

    The slope is the median over all pairs of points (Theil 1950, Sen 1968), so one bad reading does not turn the line;
    through points of one size goes a line from the origin, unless they have no MACs.
    """
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if a[0] != b[0]]
    if not slopes:
        macs, took_us = points[0][0], median(us for _, us in points)
        return (round(took_us), 0) if macs == 0 else (0, round(took_us * 1e6 / macs))
    slope = max(0.0, median(slopes))
    fixed_us = max(0.0, median(us - slope * macs for macs, us in points))
    return round(fixed_us), round(slope * 1e6)


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

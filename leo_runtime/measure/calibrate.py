"""Measures what every stage costs on every processor that is here, and writes it down as a profile.

A stage is given real inputs: a window of a recording, and what the stages before it made of that. Its cold start
(loading and the first run) is kept apart from warm runs, which are repeated until their median is steady. It is then
measured on several times its input, which gives a fixed and a growing part, on half and twice its input in turns with
its own, which foretells what other lengths take, on all lanes of a processor at once, and beside busy neighbours: all
of them, and one at a time, which gives how much processors slow each other. Energy is read where the machine offers it.
A machine that was busy before is reported.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from typing import TypedDict

import numpy as np

from leo_runtime.backend import Backend, driver_of
from leo_runtime.backend.machine import open_backends
from leo_runtime.clock import Clock, WallClock
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.contention import Contention, Slowdown, SlowdownMeasured
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import ClockMhz, Cost, Device, Measurement, Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import BackendError, DeviceUnavailableError, KernelError, LeoError, ProfileError
from leo_runtime.frame.lower import MergedStage, MergedWorkload, merge, require_computed
from leo_runtime.frame.positions import Readings
from leo_runtime.measure.energy import Source
from leo_runtime.measure.far import LinkMeasured, apart, over_links
from leo_runtime.measure.measure import (
    FULL,
    Effort,
    Energy,
    Loaded,
    Runs,
    beside,
    fit_line,
    load,
    over_batches,
    over_lanes,
    over_nearby,
    over_steps,
    run_warm,
    slowed_by,
    summed_up,
)
from leo_runtime.measure.model_inputs import given_to
from leo_runtime.operators.outputs import filled
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording, check_streams

MEASURED = "measured"

BUSY_PERCENT = 30
"""Where the CPU is busier than this before measuring begins, times are not to be trusted."""

LEAST_SLOWED_US = 100
"""Shorter stages say nothing of how much a neighbour slows them."""
STAGES_SLOWED = 6
"""How many stages of a processor are measured beside each other one, at the most."""
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
    nearby_points: tuple[tuple[int, int], ...] = ()
    """(MACs, us) of runs on half and twice the input, in turns with its own."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A profile, the readings behind it, and what could not be measured, or not well (what, and why)."""

    profile: Profile
    readings: tuple[Reading, ...]
    missing: tuple[tuple[str, LeoError], ...]
    unmeasured: tuple[str, ...] = ()
    """Stages that were measured nowhere: with this profile the workload cannot run."""
    links: tuple[LinkMeasured, ...] = ()
    """Those to and from servers, where they were to be measured."""


def calibrate(
    workload: Workload,
    hardware: Hardware,
    recording: Recording,
    *,
    effort: Effort = FULL,
    backends: Mapping[str, Backend] | None = None,
    clock: Clock | None = None,
    sources: tuple[Source, ...] = (),
    links: bool = False,
    progress: Progress = lambda *_: None,
) -> Calibration:
    """Measure a workload's stages on the machine at hand. `backends` by processor; None: those installed.

    With `links` those to and from servers that keep values are measured as well (`measure.far`). Where links have a
    time of their own, as then, what stages take on such a server is without what crosses; else it is with all of it.

    `sources` are where energy is read (`energy.whole_machine()`); with none it is modelled from the hardware's powers.

    What fails is listed under `missing`, and what could be measured is kept.

    Raises `GraphError` for the workload and `RecordingError` when a stream is not in the recording, or of another rate.
    """
    check_streams(workload, recording)
    merged = merge(workload)
    require_computed(merged)
    clock = clock or WallClock()
    missing = _busy(busy_percent(clock))
    with open_backends(hardware, backends) as machine:
        if backends is None:
            missing += machine.missing.items()
        energy = _energy(sources, clock, missing)
        ways = over_links(hardware, machine.backends, missing) if links else ()
        measured_on = apart(hardware, machine.backends, measures_links=bool(ways))
        measuring = _Measuring(hardware, measured_on, effort, clock, energy, missing, Readings(merged))
        values: dict[str, np.ndarray] = {}
        pairs: tuple[Slowdown, ...] = ()
        for done, stage in enumerate(merged.stages):
            progress(stage.name, done, len(merged.stages))
            inputs = stage_inputs(stage, merged, values, recording)
            output = measuring.stage(stage.name, stage.bound, inputs)
            values[stage.name] = _zeros(stage.bound) if output is None else output
        if effort.neighbours:
            progress("beside busy neighbours", len(merged.stages), len(merged.stages))
            measuring.beside_neighbours()
            pairs = measuring.slowdowns()
        progress("", len(merged.stages), len(merged.stages))
        profile = Profile(
            format="leo-profile/1",
            name=hardware.name,
            hardware=hardware.name,
            device=this_device(machine.backends),
            costs=_costs(measuring.readings),
            contention=Contention(pairs=pairs),
        )
    measured = {reading.stage.name for reading in measuring.readings}
    unmeasured = tuple(stage.name for stage in merged.stages if stage.bound.name not in measured)
    return Calibration(profile, tuple(measuring.readings), tuple(missing), unmeasured, ways)


class _Measuring:
    """What has been measured so far. Whatever fails is added to `missing`, and the rest is kept."""

    def __init__(
        self,
        hardware: Hardware,
        backends: Mapping[str, Backend],
        effort: Effort,
        clock: Clock,
        energy: Energy,
        missing: list[tuple[str, LeoError]],
        readings: Readings,
    ) -> None:
        """`readings` say how much a period brings to stages that keep state."""
        self.readings: list[Reading] = []
        self._loaded: list[Loaded] = []
        """Of each reading."""
        self._lanes = {processor.name: processor.lanes for processor in hardware.processors}
        self._backends = backends
        self._effort = effort
        self._clock = clock
        self._energy = energy
        self._missing = missing
        self._readings = readings

    def stage(self, name: str, stage: BoundStage, inputs: list[np.ndarray]) -> np.ndarray | None:
        """Measure a merged stage wherever it can run. Returns the first output there was; None: none."""
        first: np.ndarray | None = None
        for variant in _in_order(stage):
            for processor, backend in self._backends.items():
                output = None
                with self._kept(f"{stage.name} on {processor}"):
                    if backend.supports(stage, variant):
                        output = self._alone(stage, variant, processor, backend, inputs)
                        self._more(backend, name)
                first = output if first is None else first
        return first

    def beside_neighbours(self) -> None:
        """Measure every stage again beside the longest stage of every other processor."""
        longest = self._longest()
        for i, loaded in enumerate(self._loaded):
            others = [other for processor, other in longest.items() if processor != loaded.processor]
            if others:
                with self._kept(f"{loaded.stage.name} on {loaded.processor}, beside busy neighbours"):
                    beside_us = beside(others, loaded, self._effort, self._clock, self._energy)
                    self._note(i, beside_us=beside_us)

    def slowdowns(self) -> tuple[Slowdown, ...]:
        """By how much each processor slows each other one: the median over some stages of it."""
        found: list[Slowdown] = []
        longest = self._longest()
        for victim in longest:
            stages = self._to_be_slowed(victim)
            for name, aggressor in longest.items():
                if name == victim or not stages:
                    continue
                with self._kept(f"how much `{name}` slows `{victim}`"):
                    found.append(_slowdown(victim, name, [self._slowed(aggressor, stage) for stage in stages]))
        return tuple(found)

    def _slowed(self, aggressor: Loaded, victim: Loaded) -> tuple[float, int]:
        return slowed_by(aggressor, victim, self._effort, self._clock)

    def _longest(self) -> dict[str, Loaded]:
        """The longest stage of each processor."""
        by_time = sorted(range(len(self.readings)), key=lambda i: self.readings[i].measurement.median_us)
        return {self._loaded[i].processor: self._loaded[i] for i in by_time}

    def _to_be_slowed(self, processor: str) -> list[Loaded]:
        """Some stages of a processor, from the shortest of a length that tells to the longest."""
        there = [
            (reading.measurement.median_us, i)
            for i, reading in enumerate(self.readings)
            if reading.processor == processor and reading.measurement.median_us >= LEAST_SLOWED_US
        ]
        ranked = [self._loaded[i] for _, i in sorted(there)]
        step = max(1, -(-len(ranked) // STAGES_SLOWED))
        return ranked[::step]

    def _alone(
        self, stage: BoundStage, variant: str, processor: str, backend: Backend, inputs: list[np.ndarray]
    ) -> np.ndarray:
        loaded, output, cold_us = load(stage, variant, processor, backend, inputs, self._clock)
        runs = self._warm(loaded)
        self.readings.append(
            Reading(stage, variant, processor, summed_up(runs, cold_us), runs.power_mw, runs.measured_power)
        )
        self._loaded.append(loaded)
        return output

    def _warm(self, loaded: Loaded) -> Runs:
        try:
            return run_warm(loaded, self._effort, self._clock, self._energy)
        except (KernelError, DeviceUnavailableError):
            raise
        except BackendError as error:  # Energy can no longer be read; times still can.
            self._missing.append(("energy", error))
            self._energy = Energy()
            return run_warm(loaded, self._effort, self._clock, self._energy)

    def _more(self, backend: Backend, name: str) -> None:
        """What is known of the last stage besides its time alone; `name` is that of the merged stage."""
        loaded, where = self._loaded[-1], f"{self._loaded[-1].stage.name} on {self._loaded[-1].processor}"
        if name in self._readings.of:
            with self._kept(f"{where}, going on from what it kept"):
                entries = self._readings.steady(name)
                step_us = over_steps(loaded, entries, self._effort, self._clock)
                if step_us is not None:
                    self._note(-1, step_us=step_us, step_entries=entries)
        with self._kept(f"{where}, with more input"):
            points = over_batches(loaded, backend, self._effort, self._clock, self._energy)
            self.readings[-1] = replace(self.readings[-1], batch_points=points)
        with self._kept(f"{where}, with half and twice the input"):
            median_us = self.readings[-1].measurement.median_us
            nearby = over_nearby(loaded, backend, median_us, self._effort, self._clock)
            self.readings[-1] = replace(self.readings[-1], nearby_points=nearby)
        with self._kept(f"{where}, on all lanes at once"):
            lanes = self._lanes.get(loaded.processor, 1)
            self._note(-1, lanes_us=over_lanes(loaded, backend, lanes, self._effort, self._clock, self._energy))

    def _note(self, i: int, **changed: int | None) -> None:
        measurement = self.readings[i].measurement.model_copy(update=changed)
        self.readings[i] = replace(self.readings[i], measurement=measurement)

    @contextmanager
    def _kept(self, what: str) -> Iterator[None]:
        """What fails inside is missing, and no more than that."""
        try:
            yield
        except LeoError as error:
            self._missing.append((what, error))


def _in_order(stage: BoundStage) -> list[str]:
    """The variants, of which the first one's output is what readers are measured on: what unpacks, on the form that is
    most work, since it takes any."""
    if stage.operator.sent_bytes is None:
        return list(stage.params)
    return sorted(stage.params, key=lambda variant: -stage.work(variant).macs)


def _energy(sources: tuple[Source, ...], clock: Clock, missing: list[tuple[str, LeoError]]) -> Energy:
    """Where energy is read; where that fails, nowhere, and it is missing."""
    try:
        return Energy.read(sources, clock)
    except LeoError as error:
        missing.append(("energy", error))
        return Energy()


def this_device(backends: Mapping[str, Backend] | None = None) -> Device:
    """The fingerprint of the machine at hand, with the drivers that backends name."""
    import psutil

    drivers = {name: driver_of(backend) for name, backend in (backends or {}).items()}
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


def _zeros(stage: BoundStage) -> np.ndarray:
    """In the place of what nothing here computes."""
    return filled(stage.several) if stage.several else np.zeros(stage.output_shape, np.float32)


def stage_inputs(
    stage: MergedStage, merged: MergedWorkload, values: Mapping[str, np.ndarray], recording: Recording
) -> list[np.ndarray]:
    """What a stage is given: a window from the middle of a recording, or what the stages before it gave, by name."""
    if stage.bound.operator.is_source:
        params = next(iter(stage.bound.params.values()))
        return [recording.window(params.stream, recording.lasts_us([params.stream]) // 2, params.samples)]
    return given_to(stage, merged, values)


def _slowdown(victim: str, aggressor: str, slowed: Sequence[tuple[float, int]]) -> Slowdown:
    """A pair's, of how many times as long each stage took and of how many runs."""
    more_ppm = [round((times - 1) * 1_000_000) for times, _ in slowed]
    low, _, high = quantiles(more_ppm, n=4, method="inclusive") if len(more_ppm) > 1 else more_ppm * 3
    return Slowdown(
        victim=victim,
        aggressor=aggressor,
        slowdown_ppm=max(0, round(median(more_ppm))),
        measurement=SlowdownMeasured(
            stages=len(slowed), runs=sum(runs for _, runs in slowed), low_ppm=round(low), high_ppm=round(high)
        ),
        source=MEASURED,
    )


def _cost(reading: Reading) -> Cost:
    """The entry of one stage. At its own size it gives the median; what grows with the work is known from batches."""
    return _entry(
        reading,
        _line(reading, reading.batch_points),
        signature=reading.stage.signature(reading.variant),
        power_mw=reading.power_mw,
        measurement=reading.measurement,
    )


def _line(reading: Reading, points: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(fixed_us, ps_per_mac) of a line through the median at the stage's own size, as steep as these points are."""
    macs, median_us = reading.stage.work(reading.variant).macs, reading.measurement.median_us
    if not points or not macs:
        return median_us, 0
    ps_per_mac = min(fit_line([(macs, median_us), *points])[1], median_us * 1_000_000 // macs)
    return max(0, median_us + (-macs * ps_per_mac // 1_000_000)), ps_per_mac


def _entry(
    reading: Reading,
    line: tuple[int, int],
    *,
    power_mw: int | None,
    signature: str | None = None,
    family: str | None = None,
    measurement: Measurement | None = None,
    measured_power: bool | None = None,
) -> Cost:
    """An entry for the reading's processor, operator and variant, narrowed by what else is given."""
    is_measured = reading.measured_power if measured_power is None else measured_power
    return Cost(
        processor=reading.processor,
        operator=reading.stage.operator.name,
        variant=reading.variant,
        signature=signature,
        family=family,
        fixed_us=line[0],
        ps_per_mac=line[1],
        power_mw=power_mw,
        energy_from="measured" if is_measured else "modelled",
        measurement=measurement,
        source=MEASURED,
    )


def _families(readings: Sequence[Reading]) -> Iterator[Cost]:
    """For stages that were measured at another length: a line for each family, near the lengths that it was."""
    groups: dict[tuple[str, str, str], list[Reading]] = {}
    for reading in readings:
        if reading.nearby_points:
            family = reading.stage.family(reading.variant)
            groups.setdefault((reading.processor, family, reading.variant), []).append(reading)
    for (_, family, _), group in groups.items():
        own = {one.stage.work(one.variant).macs: one.measurement.median_us for one in group}
        if len(own) == 1:
            line = _line(group[0], group[0].nearby_points)
        else:
            line = fit_line([*own.items(), *(point for one in group for point in one.nearby_points)])
        yield _entry(group[0], line, family=family, **_power(group))


def _power(group: Sequence[Reading]) -> _Power:
    """What several readings draw."""
    powers = [reading.power_mw for reading in group if reading.power_mw is not None]
    measured = all(reading.measured_power for reading in group if reading.power_mw is not None)
    return {"power_mw": round(median(powers)) if powers else None, "measured_power": bool(powers) and measured}


class _Power(TypedDict):
    power_mw: int | None
    measured_power: bool


def _costs(readings: Sequence[Reading]) -> tuple[Cost, ...]:
    """An entry for each stage that was measured, a line for each family of stages, and one for each operator."""
    costs = [_cost(reading) for reading in readings]
    # The same stage may be in a workload under two names.
    entries = {(cost.processor, cost.signature, cost.variant): cost for cost in costs}
    entries |= {(cost.processor, cost.family, cost.variant): cost for cost in _families(readings)}
    groups: dict[tuple[str, str, str], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.processor, reading.stage.operator.name, reading.variant), []).append(reading)
    for (processor, operator, variant), group in groups.items():
        line = fit_line(
            [
                point
                for reading in group
                for point in (
                    (reading.stage.work(variant).macs, reading.measurement.median_us),
                    *reading.batch_points,
                )
            ]
        )
        entries[processor, operator, variant] = _entry(group[0], line, **_power(group))
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

"""Times one stage on one processor: cold and warm, over batch sizes, beside busy neighbours, with its energy.

A device that times itself (an OpenCL event, the simulated DSP) is believed where it says more than the clock on the
wall: the DSP computes here faster than it would there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from statistics import median, quantiles
from types import TracebackType
from typing import Self

import numpy as np

from leo_runtime.backend import Backend, Kernel, News, StatefulKernel, TimedKernel
from leo_runtime.clock import Clock
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.profile import Measurement
from leo_runtime.errors import KernelError, LeoError, in_words
from leo_runtime.measure.energy import Meter, Source
from leo_runtime.operators.outputs import as_value


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a stage is measured on one processor, and how much of it."""

    warm_up_runs: int = 3
    least_runs: int = 20
    most_us: int = 1_000_000
    """After so long a stage is done with, steady or not."""
    steady_percent: int = 2
    """Steady: the medians of the first and second half of the runs differ by no more."""
    batches: tuple[int, ...] = (2, 4, 8)
    """How many times the stage's own input a run is also measured with."""
    nearby: tuple[Fraction, ...] = (Fraction(1, 2), Fraction(2))
    """Of how many times its input a run is measured in turns with the stage's own, for shapes that nobody measures."""
    neighbours: bool = True
    """Whether stages are measured again while other processors are busy: all of them, and each by itself."""
    lanes: bool = True
    """Whether stages are measured again while the processor's other lanes run the same."""

    def briefly(self) -> Effort:
        """The same for a second figure of a stage that is already known: fewer runs, a fifth of the time."""
        runs = max(3, self.least_runs // 4)
        return Effort(
            self.warm_up_runs, runs, self.most_us // 5, self.steady_percent, (), (), neighbours=False, lanes=False
        )


MOST_TURNS = 200
"""Of runs in turns: more make nothing surer."""
BESIDE_TURNS = 3
"""How often a stage is measured alone and beside another."""

FULL = Effort()
QUICK = Effort(
    warm_up_runs=1,
    least_runs=5,
    most_us=100_000,
    steady_percent=10,
    batches=(),
    nearby=(),
    neighbours=False,
    lanes=False,
)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A stage's variant made ready on a processor, and what it is given."""

    stage: BoundStage
    variant: str
    processor: str
    kernel: Kernel
    inputs: Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class Energy:
    """Where energy is read, and what the machine draws when it does nothing."""

    sources: tuple[Source, ...] = ()
    idle_mw: int = 0

    @classmethod
    def read(cls, sources: tuple[Source, ...], clock: Clock, for_us: int = 500_000) -> Self:
        """Measure the idle draw over `for_us` of doing nothing."""
        if not sources:
            return cls()
        meter = Meter(sources)
        began_us = clock.now_us()
        meter.start(began_us)
        clock.wait_until_us(began_us + for_us)
        used_nj = sum(meter.stop(clock.now_us()).values())
        return cls(sources, used_nj // max(1, clock.now_us() - began_us))


@dataclass(frozen=True, slots=True)
class Runs:
    """Warm runs of one stage."""

    times_us: tuple[int, ...]
    power_mw: int | None
    """What it drew above idle, by the device's own account or the machine's; None: neither says."""
    measured_power: bool
    """Whether that was read from the machine, not given by a device's model."""


def load(
    stage: BoundStage, variant: str, processor: str, backend: Backend, inputs: Sequence[np.ndarray], clock: Clock
) -> tuple[Loaded, np.ndarray, int]:
    """Load a stage and run it for the first time: (loaded, its output, microseconds both took).

    Raises what loading raises, and `KernelError` for whatever the kernel raises.
    """
    began_us = clock.now_us()
    kernel = backend.load(stage, variant)
    with _in_words(stage, processor):
        output = as_value(kernel(inputs))
    return Loaded(stage, variant, processor, kernel, inputs), output, clock.now_us() - began_us


def run_warm(loaded: Loaded, effort: Effort, clock: Clock, energy: Energy) -> Runs:
    """Run a stage until the median of its times is steady. Raises `KernelError` for whatever the kernel raises."""
    for _ in range(effort.warm_up_runs):
        _run(loaded, clock)
    meter = Meter(energy.sources)
    times_us: list[int] = []
    device_us = device_nj = 0
    began_us = clock.now_us()
    meter.start(began_us)
    while not times_us or not (_is_steady(times_us, effort) or clock.now_us() - began_us >= effort.most_us):
        took_us, own_us, own_nj = _run(loaded, clock)
        times_us.append(took_us)
        device_us, device_nj = device_us + own_us, device_nj + own_nj
        meter.sample(clock.now_us())
    ended_us = clock.now_us()
    used_nj = sum(meter.stop(ended_us).values())
    if device_us and device_nj:
        return Runs(tuple(times_us), round(device_nj / device_us), measured_power=False)
    if used_nj and ended_us > began_us:
        above_idle_mw = used_nj // (ended_us - began_us) - energy.idle_mw
        return Runs(tuple(times_us), max(0, above_idle_mw), measured_power=True)
    return Runs(tuple(times_us), None, measured_power=False)


def over_steps(loaded: Loaded, entries: int, effort: Effort, clock: Clock) -> int | None:
    """The median, in us, of runs that go on from what the stage kept, so many entries being new; None: it keeps none.

    Raises `KernelError` for whatever the kernel raises.
    """
    kernel = loaded.kernel
    if not isinstance(kernel, StatefulKernel) or loaded.stage.keeping(loaded.variant) is None:
        return None
    times_us: list[int] = []
    with _in_words(loaded.stage, loaded.processor):
        state = kernel.step(loaded.inputs, kernel.start(), News(None, 0)).state
        began_us = clock.now_us()
        while not times_us or not (_is_steady(times_us, effort) or clock.now_us() - began_us >= effort.most_us):
            run_us = clock.now_us()
            stepped = kernel.step(loaded.inputs, state, News(entries, 0))
            times_us.append(max(clock.now_us() - run_us, stepped.device_us or 0))
            state = stepped.state
    return round(median(times_us))


def summed_up(runs: Runs, cold_us: int, beside_us: int | None = None) -> Measurement:
    """Runs as a profile keeps them."""
    times_us = runs.times_us
    p95_us = quantiles(times_us, n=20, method="inclusive")[-1] if len(times_us) > 1 else times_us[0]
    return Measurement(
        runs=len(times_us),
        median_us=round(median(times_us)),
        p95_us=round(p95_us),
        cold_us=cold_us,
        beside_us=beside_us,
    )


def over_batches(
    loaded: Loaded, backend: Backend, effort: Effort, clock: Clock, energy: Energy
) -> tuple[tuple[int, int], ...]:
    """(MACs, median us) with each of `effort.batches` times the input; empty where the stage takes no other size."""
    points = []
    for times in effort.batches:
        bigger = _enlarged(loaded, times)
        if bigger is None:
            return ()
        stage, inputs = bigger
        try:
            again, _, _ = load(stage, loaded.variant, loaded.processor, backend, inputs, clock)
        except LeoError:
            return ()  # Its model is made for one size.
        runs = run_warm(again, effort.briefly(), clock, energy)
        points.append((stage.work(loaded.variant).macs, round(median(runs.times_us))))
    return tuple(points)


def over_nearby(
    loaded: Loaded, backend: Backend, median_us: int, effort: Effort, clock: Clock
) -> tuple[tuple[int, int], ...]:
    """(MACs, us) with `effort.nearby` times the input; sizes that the stage does not take are left out.

    Each is measured in turns with the stage's own size, and told as so many times its median: what else the machine
    did meanwhile falls out. Raises `KernelError` for whatever the stage's own kernel raises.
    """
    points = []
    for times in effort.nearby:
        other = _enlarged(loaded, times)
        if other is None:
            continue
        stage, inputs = other
        try:
            again, _, _ = load(stage, loaded.variant, loaded.processor, backend, inputs, clock)
        except LeoError:
            continue
        ratio = in_turns(loaded, again, effort.briefly(), clock)
        points.append((stage.work(loaded.variant).macs, round(ratio * median_us)))
    return tuple(points)


def in_turns(one: Loaded, other: Loaded, effort: Effort, clock: Clock) -> float:
    """How many times as long the other takes, of runs in turns: the least of each, which others disturbed least.

    Raises `KernelError` for whatever either raises.
    """
    both = (one, other)
    for loaded in both:
        for _ in range(effort.warm_up_runs):
            _run(loaded, clock)
    times_us: tuple[list[int], list[int]] = ([], [])
    began_us = clock.now_us()
    while not times_us[0] or (len(times_us[0]) < MOST_TURNS and clock.now_us() - began_us < effort.most_us):
        for loaded, times in zip(both, times_us, strict=True):
            times.append(_run(loaded, clock)[0])
    return min(times_us[1]) / max(1, min(times_us[0]))


def slowed_by(aggressor: Loaded, victim: Loaded, effort: Effort, clock: Clock) -> tuple[float, int]:
    """How many times as long the victim takes while the aggressor runs again and again, and of how many such runs.

    It is measured alone and beside it by turns. Raises the `KernelError` of whichever failed.
    """
    alone_us: list[int] = []
    beside_us: list[int] = []
    for _ in range(BESIDE_TURNS):
        alone_us += _some_runs(victim, effort, clock)
        neighbours = BusyNeighbours([aggressor])
        with neighbours:
            beside_us += _some_runs(victim, effort, clock)
        if neighbours.errors:
            raise neighbours.errors[0]
    return median(beside_us) / max(1, median(alone_us)), len(beside_us)


def _some_runs(loaded: Loaded, effort: Effort, clock: Clock) -> list[int]:
    times_us: list[int] = []
    began_us = clock.now_us()
    least, most_us = max(1, effort.least_runs // 5), effort.most_us // (5 * BESIDE_TURNS)
    while len(times_us) < least or (len(times_us) < MOST_TURNS and clock.now_us() - began_us < most_us):
        times_us.append(_run(loaded, clock)[0])
    return times_us


def over_lanes(
    loaded: Loaded, backend: Backend, lanes: int, effort: Effort, clock: Clock, energy: Energy
) -> int | None:
    """The median, in us, while `lanes` - 1 more kernels run the same stage; None for one lane, or where loading fails.

    Every lane loads its own kernel, as when the runtime serves them. Raises as `beside` does.
    """
    if not effort.lanes or lanes < 2:
        return None
    try:
        others = [
            load(loaded.stage, loaded.variant, loaded.processor, backend, loaded.inputs, clock)[0]
            for _ in range(lanes - 1)
        ]
    except LeoError:
        return None  # There is room for one of it only.
    return beside(others, loaded, effort, clock, energy)


def beside(others: Sequence[Loaded], loaded: Loaded, effort: Effort, clock: Clock, energy: Energy) -> int:
    """The stage's median, in us, while the others run. Raises the `KernelError` of whichever failed, it or another."""
    neighbours = BusyNeighbours(others)
    with neighbours:
        runs = run_warm(loaded, effort.briefly(), clock, energy)
    if neighbours.errors:
        raise neighbours.errors[0]
    return round(median(runs.times_us))


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


class BusyNeighbours:
    """While it is entered, each of these stages runs again and again on a thread of its own, until it fails."""

    def __init__(self, stages: Sequence[Loaded]) -> None:
        self.errors: list[LeoError] = []
        """Why some were not busy to the end; complete when it is left."""
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._keep_busy, args=(stage,), daemon=True) for stage in stages]

    def _keep_busy(self, stage: Loaded) -> None:
        try:
            while not self._stop.is_set():
                with _in_words(stage.stage, stage.processor):
                    stage.kernel(stage.inputs)
        except LeoError as error:
            self.errors.append(error)

    def __enter__(self) -> Self:
        """Start them."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let each end the run it is at."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def _run(loaded: Loaded, clock: Clock) -> tuple[int, int, int]:
    """How long a run took, and what the device says of its own time and energy (0 where it says nothing)."""
    with _in_words(loaded.stage, loaded.processor):
        began_us = clock.now_us()
        if not isinstance(loaded.kernel, TimedKernel):
            loaded.kernel(loaded.inputs)
            return clock.now_us() - began_us, 0, 0
        run = loaded.kernel.timed(loaded.inputs)
    return max(clock.now_us() - began_us, run.device_us), run.device_us, run.device_nj or 0


def _in_words(stage: BoundStage, processor: str) -> AbstractContextManager[None]:
    """Around a kernel's run."""
    return in_words(f"stage `{stage.name}` failed on `{processor}`", KernelError)


def _is_steady(times_us: Sequence[int], effort: Effort) -> bool:
    if len(times_us) < effort.least_runs:
        return False
    half = len(times_us) // 2
    first, second = median(times_us[:half]), median(times_us[half:])
    return abs(first - second) * 100 <= effort.steady_percent * max(first, second)


def _enlarged(loaded: Loaded, times: Fraction | int) -> tuple[BoundStage, list[np.ndarray]] | None:
    """The same stage on so many times its input, which is repeated or cut; None where it takes no other size."""
    stage = loaded.stage
    if stage.operator.is_source or stage.work(loaded.variant).macs == 0:
        return None
    whole = -(-times.numerator // times.denominator)
    inputs = [np.concatenate([array] * whole)[: int(len(array) * times)] for array in loaded.inputs]
    if any(len(array) == 0 for array in inputs):
        return None
    shapes = tuple(array.shape for array in inputs)
    params = stage.params[loaded.variant]
    try:
        output_shape = stage.operator.output_shape(params, shapes)
    except Exception:  # An operator may be anyone's, and says in its own way that it takes no such size.
        return None
    return (
        BoundStage(
            stage.name,
            stage.operator,
            {loaded.variant: params},
            shapes,
            output_shape,
            {loaded.variant: stage.accuracy_loss_ppm[loaded.variant]},
            several=() if stage.operator.outputs is None else stage.operator.outputs(params, shapes),
        ),
        inputs,
    )

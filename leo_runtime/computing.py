"""Kernels, each loaded once, and the arrays of the frames in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from leo_runtime.backend import Backend, Kernel, TimedKernel
from leo_runtime.batch import FramePrices, Job
from leo_runtime.errors import DeviceUnavailableError, KernelError
from leo_runtime.events import FrameDone, RunStage
from leo_runtime.lower import MergedStage, MergedWorkload


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of a stage told, besides its output."""

    opened: bool = True
    """The decision of a gate; True of any other stage."""
    device_us: int | None = None
    device_nj: int | None = None
    frames: int | None = None
    """Of how many frames of its batch it was, where those are fewer than planned."""
    expected_us: int | None = None
    """How long it should have taken then."""
    absent_for: frozenset[str] = frozenset()
    """Stages of the batch for which it computed nothing."""
    error: str = ""
    """Why it failed for some frames of a batch."""


Compute = Callable[[RunStage], Ran]
"""Runs a stage. Whatever it raises is the stage's failure."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A frame that ended, with what each run told, by stage and attempt."""

    done: FrameDone
    ran: Mapping[tuple[str, int], Ran]


@dataclass(frozen=True, slots=True)
class _Loaded:
    kernel: Kernel
    timed: TimedKernel | None
    """The same kernel, where it knows its device's time."""
    turn: threading.Lock


@dataclass(frozen=True, slots=True)
class _Flight:
    """The arrays of a frame, or of the frames of a batch, by stage and number in the batch."""

    windows: Sequence[Mapping[str, np.ndarray]]
    graphs: tuple[str, ...]
    jobs: Mapping[str, Job]
    values: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    copies: dict[tuple[str, int, str], np.ndarray] = field(default_factory=dict)
    """Outputs that were handed over, also by target."""


class Computing:
    """Runs the stages of a merged workload on backends, given by the name of the processor they serve.

    Stages may run at the same time in several threads. A kernel does not: its weights are on the processor once, and
    two frames that need it on two lanes take turns.
    """

    def __init__(self, merged: MergedWorkload, backends: Mapping[str, Backend], prices: FramePrices) -> None:
        """`prices` say how long a stage of a batch should take that had fewer frames to compute than planned."""
        self._stages = {stage.name: stage for stage in merged.stages}
        self._streams = {stream.name: stream for stream in merged.workload.streams}
        self._backends = backends
        self._prices = prices
        self._kernels: dict[tuple[str, str, str], _Loaded] = {}
        self._loading = threading.Lock()
        self._flights: dict[int, _Flight] = {}

    def begin(
        self,
        frame: int,
        windows: Sequence[Mapping[str, np.ndarray]],
        graphs: tuple[str, ...],
        jobs: Mapping[str, Job],
    ) -> None:
        """Take the raw samples of a frame, or of every frame of a batch, by source stage.

        `graphs` are triggered; `jobs` say what each stage of the plan computes.
        """
        self._flights[frame] = _Flight(windows, graphs, jobs)

    def run(self, order: RunStage) -> Ran:
        """Compute a stage and keep its output until the frame ends.

        What runs for all frames of a batch leaves out those whose gates are closed, and those for which it fails unless
        it fails for all. Raises `KernelError` on an output of another shape than the operator's, and whatever the
        kernel raises.
        """
        flight = self._flights.get(order.frame)
        if flight is None:  # The frame has ended without it.
            return Ran()
        job = flight.jobs[order.stage]
        stage = self._stages[job.stage]
        loaded = self._load(stage.name, order.resource, order.variant)
        wanted = [number for number in job.frames if len(job.frames) == 1 or _is_wanted(flight, stage, number)]
        runs, errors = [], []
        for number in wanted:
            try:
                runs.append(self._run_one(flight, loaded, stage, number, order.resource))
            except DeviceUnavailableError:
                raise
            except Exception as error:  # Whatever a kernel raises is the failure of its frame; for all, of the stage.
                errors.append(f"{type(error).__name__}: {error}")
                if len(errors) == len(wanted):
                    raise
        ran = Ran(
            opened=not stage.bound.operator.is_gate or _is_open(flight, stage.name, job.frames[0]),
            device_us=_sum([device_us for device_us, _ in runs]),
            device_nj=_sum([device_nj for _, device_nj in runs]),
            error=_each_once(errors),
        )
        absent = {number for number in job.frames if (stage.name, number) not in flight.values}
        if not absent:
            return ran
        expected_us = 1
        if wanted:
            expected_us = self._prices.mode(stage.name, order.variant, order.resource, len(wanted)).duration_us
        return replace(
            ran,
            frames=len(wanted),
            expected_us=expected_us,
            absent_for=frozenset(name for name, other in flight.jobs.items() if absent.issuperset(other.frames)),
        )

    def _run_one(
        self, flight: _Flight, loaded: _Loaded, stage: MergedStage, number: int, resource: str
    ) -> tuple[int | None, int | None]:
        """Compute a stage for one frame. Returns what the device measured of it: us and nJ."""
        inputs = _inputs(flight, stage, number, resource)
        with loaded.turn:
            if loaded.timed is None:
                output, device_us, device_nj = loaded.kernel(inputs), None, None
            else:
                run = loaded.timed.timed(inputs)
                output, device_us, device_nj = run.output, run.device_us, run.device_nj
        if output.shape != stage.bound.output_shape:
            raise KernelError(
                f"stage `{stage.name}` gave shape {output.shape} on `{resource}`, expected {stage.bound.output_shape}"
            )
        flight.values[stage.name, number] = output
        return device_us, device_nj

    def hand_over(self, frame: int, stage: str, target: str) -> None:
        """Copy an output to where `target` reads it."""
        flight = self._flights[frame]
        job = flight.jobs[stage]
        for number in job.frames:
            if (job.stage, number) in flight.values:
                flight.copies[job.stage, number, target] = flight.values[job.stage, number].copy()

    def end(self, frame: int) -> tuple[dict[str, np.ndarray], ...]:
        """Forget a frame. Returns the outputs of the stages that ran, by stage, for each frame of a batch."""
        flight = self._flights.pop(frame)
        found: tuple[dict[str, np.ndarray], ...] = tuple({} for _ in flight.windows)
        for (stage, number), value in flight.values.items():
            found[number][stage] = value
        return found

    def warm(self, stage: str, resource: str, variant: str) -> None:
        """Load a kernel and run it once on zeros: first runs are slow. Raises whatever loading or running it raises."""
        bound = self._stages[stage].bound
        source = bound.operator.is_source
        audio = source and self._streams[bound.params[variant].stream].kind == "audio"
        loaded = self._load(stage, resource, variant)
        loaded.kernel([np.zeros(shape, np.int16 if audio else np.float32) for shape in bound.input_shapes])

    def ready(self, stage: str, resource: str, variant: str) -> None:
        """Load a kernel, and run nothing. Raises whatever loading it raises."""
        self._load(stage, resource, variant)

    def _load(self, stage: str, resource: str, variant: str) -> _Loaded:
        key = (stage, resource, variant)
        with self._loading:
            found = self._kernels.get(key)
            if found is None:
                kernel = self._backends[resource].load(self._stages[stage].bound, variant)
                timed = kernel if isinstance(kernel, TimedKernel) else None
                found = self._kernels[key] = _Loaded(kernel, timed, threading.Lock())
        return found


def _inputs(flight: _Flight, stage: MergedStage, number: int, resource: str) -> list[np.ndarray]:
    """What a stage reads in one frame, on one processor."""
    if stage.bound.operator.is_source:
        return [flight.windows[number][stage.name]]
    inputs = []
    for name, shape in zip(stage.inputs, stage.bound.input_shapes, strict=True):
        value = flight.copies.get((name, number, resource))
        value = flight.values.get((name, number)) if value is None else value
        # A closed gate removed this input; only operators that take absent inputs come so far.
        inputs.append(np.zeros(shape, np.float32) if value is None else value)
    return inputs


def _is_wanted(flight: _Flight, stage: MergedStage, number: int) -> bool:
    """Whether a stage that runs for a whole batch has anything to compute for one of its frames."""
    gates = stage.gates(flight.graphs)
    if gates and not any(_is_open(flight, gate, number) for gate in gates):
        return False
    there = [(name, number) in flight.values for name in stage.inputs]
    return any(there) if stage.bound.operator.takes_absent else all(there)


def _is_open(flight: _Flight, gate: str, number: int) -> bool:
    value = flight.values.get((gate, number))
    return value is not None and bool(value.reshape(-1)[0] > 0)


def _each_once(errors: Sequence[str]) -> str:
    """Why a run failed for some frames of a batch: what repeats is said once, and of many reasons the first three."""
    reasons = list(dict.fromkeys(errors))
    more = f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def _sum(parts: Sequence[int | None]) -> int | None:
    """The sum of what was measured; None where something was not."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None

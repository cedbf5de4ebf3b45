"""Kernels, one a lane, the arrays of the frames in flight, and what stages keep from one frame to the next.

**Arrays.** What a run gives is published as the dispatcher accepts its end, never by the thread that ran it: a run that
was given up, or whose frame has ended, leaves nothing. Every array is the runtime's own and read-only, since stages,
lanes and results share it: outputs are copied as they are taken from a kernel, windows as they are submitted.

**State.** What a stage keeps is held here (`states`), never by a kernel. A run is given the newest state that is not
beyond its frame and leaves another, which counts as its outputs do: once the dispatcher accepts its end. So a warm-up
run changes nothing, and a retry feeds nothing twice.

**Far away.** Where a backend keeps values, what its stages give each other stays there (`crossings`).

**Foreign code.** Kernels are not ours: whatever one raises, also what is no `Exception`, is the failure of its stage.
One that hangs is not called again unless it returns; others are loaded in its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from leo_runtime.backend import (
    Abandonable,
    Askable,
    Backend,
    Kernel,
    News,
    Restarting,
    State,
    StatefulKernel,
    Stepped,
    TimedKernel,
)
from leo_runtime.backend.keeping import (
    KeepingKernel,
    There,
    keeping_kernel,
    keeping_of,
)
from leo_runtime.backend.transfers import TransferHeard
from leo_runtime.clock import WallClock
from leo_runtime.dispatch.driver import Broken, Computed, Outputs
from leo_runtime.dispatch.events import RunReport, RunStage, SendOutput
from leo_runtime.errors import (
    DeviceUnavailableError,
    InputError,
    KernelError,
    failure_text,
    is_users_interrupt,
)
from leo_runtime.frame.batch import FramePrices, Job
from leo_runtime.frame.conditions import StateFound
from leo_runtime.frame.lower import MergedStage, MergedWorkload
from leo_runtime.frame.positions import Point, WindowEnd
from leo_runtime.frame.records import StateUse
from leo_runtime.frame.steps import StepPrices
from leo_runtime.frozen import dataclass, maker
from leo_runtime.operators import Output
from leo_runtime.operators.outputs import Given, filled, inputs_of, packed, reals_of
from leo_runtime.operators.outputs import arrays_of as arrays_in
from leo_runtime.operators.packing import packed_zeros
from leo_runtime.runtime.arguments import all_finite
from leo_runtime.runtime.crossings import Crossings
from leo_runtime.runtime.flight_arrays import FlightArrays, Value
from leo_runtime.runtime.states import Kept, Start, StateNow, States, arrays_of
from leo_runtime.schema import MAX_QUANTITY
from leo_runtime.values import whole

if TYPE_CHECKING:
    from leo_runtime.dispatch.plan import Plan

_OPEN, _CLOSED = RunReport(), RunReport(opened=False)
"""What a run tells that nothing computes."""

_Call = Callable[[list[np.ndarray]], tuple[Given, int | None, int | None]]
"""A kernel: its output, and what the device measured of it, in us and nJ."""

_Key = tuple[str, str, str, int]
"""A kernel's stage, processor, variant and lane."""

Told = Callable[[int, str], bool | None]
"""By frame and stage: whether a gate is known to open, and True for any other stage that is known to run well, which is
then not computed; None where that is not known."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A kernel, and the same as one that keeps state, where it is and its stage does, and that may have to start."""

    kernel: Kernel
    call: _Call
    steps: StatefulKernel | None = None
    restarting: Restarting | None = None
    """None also in virtual time, which waits for it."""
    far: KeepingKernel | None = None
    """None also in virtual time, in which all is computed in the order of the events."""


class _Outputs(dict[int, Value]):
    """The outputs of a run of a stage that keeps state, by number in the batch, with what it leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Kept | None = None
        self.starts: dict[int, Start] = {}


_NONE: frozenset[str] = frozenset()

_flight = maker(FlightArrays)


class Kernels:
    """Runs the stages of a merged workload on backends, given by the name of the processor they serve.

    Stages may run at the same time in several threads, each on a lane of its own: every lane has its own kernel.
    """

    def __init__(
        self,
        merged: MergedWorkload,
        backends: Mapping[str, Backend],
        prices: FramePrices,
        *,
        lanes: Mapping[str, int] | None = None,
        allow_nonfinite: bool = False,
        computes: bool = True,
        seed: int = 0,
        told: Told | None = None,
        steps: StepPrices | None = None,
        heard: TransferHeard | None = None,
    ) -> None:
        """`prices` say how long a stage of a batch should take that had fewer frames to compute than planned.

        `lanes` of every processor; None where one thing is computed after the other, so that one kernel is enough for
        all lanes. An output that is not finite fails its stage, unless `allow_nonfinite` lets it pass.

        Stages that only cost, and without `computes` all stages, have no kernel: they give zeros, and of a gate ones
        where it opens, which is drawn from `seed` by its stated chance. What `told` knows of gives no output.

        `steps` say how long a run of a stage that keeps state should take. `heard` is told what each crossing took.
        """
        self._steps = steps
        self.computes = computes
        self._told = told
        self._seed = seed
        self._stages = {stage.name: stage for stage in merged.stages}
        self._several = {stage.name: stage.bound.several for stage in merged.stages if stage.bound.several}
        """What stages give that are models."""
        self._only_cost = frozenset(
            stage.name for stage in merged.stages if not computes or stage.bound.operator.only_costs
        )
        self._gates = frozenset(stage.name for stage in merged.stages if stage.bound.is_gate)
        self._stand_ins: dict[tuple[str, bool], np.ndarray] = {}
        """Their outputs, by whether they open."""
        self._stood_in: dict[tuple[str, bool, int], Computed] = {}
        """What comes of a run of one frame, by its number in its batch."""
        self._streams = {stream.name: stream for stream in merged.workload.streams}
        self._backends = backends
        self._prices = prices
        self._lanes = lanes
        self._allow_nonfinite = allow_nonfinite
        far = {} if lanes is None else {name: keeping_of(backend) for name, backend in backends.items()}
        keeping = {name: one for name, one in far.items() if one is not None}
        self._crossings = Crossings(merged, keeping, heard)
        self._kernels: dict[_Key, _Loaded] = {}
        self._hung: list[tuple[_Key, Kernel]] = []
        """Those that are not called again, unless they return."""
        self.warmed_us: dict[tuple[str, str, str], int] = {}
        """How long the first run of each mode took, by stage, processor and variant."""
        self._taken_over: dict[_Key, _Key] = {}
        """Kernels that another had loaded, by their names here and there."""
        self._loading = {name: threading.Lock() for name in backends}
        self._flights: dict[int, FlightArrays] = {}
        # No method of this: each would hold the other, and be there until the garbage collector comes by.
        self._states = States(merged, partial(_can_move, backends, steps))
        self._keeps = frozenset(self._states.readings.of)
        # What is kept is changed and read behind this lock, which is held for nothing else.
        self._keeping = threading.Lock()
        self._sharing: WeakSet[Kernels] = WeakSet((self,))
        """Those whose frames go on from the same states."""
        if self._keeps:  # What a run leaves is in no log.
            self._told = None

    def take_over(self, before: Kernels, alike: Mapping[str, str], same: Collection[str]) -> None:
        """Use what another has loaded, and go on from what stages keep there.

        Kernels are those of stages that compute `alike`, by their names here and there, whatever they read. States are
        those of the stages that are the `same` with all that they read. Before anything is loaded here. The other may
        run on: what both use is called from the lane that it is for.
        """
        here: dict[str, list[str]] = {}
        for own, there in alike.items():
            here.setdefault(there, []).append(own)
        for key, kernel in tuple(before._kernels.items()):
            there, resource, variant, lane = key
            for own in here.get(there, ()):
                self._kernels[own, resource, variant, lane] = kernel
                self._taken_over[own, resource, variant, lane] = key
        self._hung = before._hung
        self._keeping, self._sharing = before._keeping, before._sharing
        with self._keeping:
            self._states.take_over(before._states, same)
            self._sharing.add(self)

    def take_place(self, before: Kernels) -> None:
        """Have no kernel of another that has been abandoned there since it was taken over, but what it has now.

        As this takes its place, while nothing else happens.
        """
        for key, there in self._taken_over.items():
            kernel = before._kernels.get(there)
            if kernel is None:
                self._kernels.pop(key, None)
            else:
                self._kernels[key] = kernel

    @property
    def only_draws(self) -> bool:
        """Whether all that becomes of a run by it is what gates draw."""
        return not self.computes and not self._keeps and self._told is None

    def drawn_gates(self, stages: Iterable[str]) -> tuple[str, ...]:
        """The gates among these that may not open, where it `only_draws`."""
        gates = self._gates
        return tuple([name for name in stages if name in gates and self._stages[name].bound.chance_ppm is not None])

    def all_open(self, gates: Iterable[str], release_us: int) -> bool:
        """Whether all of these `drawn_gates` open at a release."""
        return all(drawn(self._seed, self._stages[name], release_us) for name in gates)

    def begin(
        self,
        frame: int,
        windows: Sequence[Mapping[str, np.ndarray]],
        graphs: tuple[str, ...],
        jobs: Mapping[str, Job],
        releases_us: Sequence[int] = (),
        ends: Sequence[Mapping[str, WindowEnd]] = (),
        plan: Plan | None = None,
    ) -> None:
        """Take the raw samples of a frame, or of every frame of a batch, by source stage: nobody may change them.

        `graphs` are triggered; `jobs` say what each stage of the plan computes. `releases_us`, of every frame, are for
        gates that nothing computes, and for stages that keep state: these go by where the windows end in their streams,
        which `ends` says, of every frame or of none; else its release does. `plan` tells who reads what where.
        """
        points: Sequence[Mapping[str, Point]] = ()
        if self._keeps:
            told = ends or (MappingProxyType({}),) * len(releases_us)
            points = [self._states.readings.points(at_us, of) for at_us, of in zip(releases_us, told, strict=True)]
        self._flights[frame] = _flight(windows, graphs, jobs, tuple(releases_us), plan, points=tuple(points))

    def found(self, release_us: int, ends: Mapping[str, WindowEnd]) -> tuple[StateFound, ...]:
        """From what the stages of a frame would go on now, each where its state is. From any thread."""
        if not self._keeps:
            return ()
        points = self._states.readings.points(release_us, ends)
        with self._keeping:
            found = self._states.found(points)
        return tuple(found if self._steps is None else map(self._steps.found, found))

    def states(self) -> tuple[StateNow, ...]:
        """What each stage that keeps state keeps now. From any thread."""
        with self._keeping:
            return self._states.now()

    def run(self, order: RunStage, now_us: Callable[[], int] | None = None) -> Computed:
        """Compute a stage. `now_us` tells the time at which its kernel starts.

        What runs for all frames of a batch leaves out those whose gates are closed, and those for which it fails unless
        it fails for all. Raises `KernelError` on an output of another shape than the operator's or with numbers that
        are not finite, and whatever the kernel raises.
        """
        flight = self._flights.get(order.frame)
        if flight is None:  # The frame has ended without it.
            return Computed()
        if self._told is not None and (opened := self._told(order.frame, order.stage)) is not None:
            return Computed(RunReport(opened))
        job = flight.jobs[order.stage]
        only_costs, keeps = job.stage in self._only_cost, job.stage in self._keeps
        if len(job.frames) == 1 and not keeps:
            if only_costs:
                return self._stands_in(flight, job.stage, job.frames[0])
            return self._run_once(flight, order, job.stage, job.frames[0], now_us)
        stage = self._stages[job.stage]
        kernel = None if only_costs else self._load(stage.name, order.resource, order.variant, order.lane)
        if kernel is not None and kernel.restarting is not None:
            kernel.restarting.fail_while_starting()
        wanted: Sequence[int] = job.frames
        if len(wanted) > 1:
            wanted = [number for number in wanted if _is_wanted(flight, stage, number)]
        outputs: dict[int, Value] = _Outputs() if keeps else {}
        devices: list[tuple[int | None, int | None]] = []
        errors: list[str] = []
        started_us: int | None = None
        for number in wanted:
            if kernel is None:
                if isinstance(outputs, _Outputs):
                    self._step(flight, stage, order, number, outputs, None, [])
                outputs.update(self._stands_in(flight, stage.name, number).outputs)
                continue
            try:
                inputs = [] if kernel.far is not None else self._inputs(flight, stage, number, order.resource)
                if started_us is None and now_us is not None:
                    started_us = now_us()
                if isinstance(outputs, _Outputs) and kernel.steps is not None:
                    devices.append(self._step(flight, stage, order, number, outputs, kernel.steps, inputs))
                    continue
                if kernel.far is not None:
                    outputs[number], far_us = self._run_far(flight, order, stage, number, kernel.far, now_us)
                    devices.append((far_us, None))
                    continue
                output, device_us, device_nj = kernel.call(inputs)
                outputs[number] = self._taken(output, stage, order.resource)
                devices.append((device_us, device_nj))
            except DeviceUnavailableError:
                raise
            except BaseException as error:  # For one frame; where it is for all, the stage's.
                errors.append(failure_text(error))
                if is_users_interrupt(error) or len(errors) == len(wanted):
                    raise
        device_us, device_nj = devices[0] if len(devices) == 1 else _sums(devices)
        opened = stage.name not in self._gates or _is_positive(outputs.get(job.frames[0]))
        said = _each_once(errors) if errors else ""
        report = RunReport(opened, _NONE, started_us, device_us, device_nj, error=said)
        if isinstance(outputs, _Outputs):
            report = replace(report, **self._used(order, stage, outputs, wanted))
        if len(outputs) == len(job.frames):
            return Computed(report, outputs)
        absent = {number for number in job.frames if number not in outputs}
        expected_us = report.expected_us or 1
        if wanted and report.expected_us is None:
            expected_us = self._prices.mode(stage.name, order.variant, order.resource, len(wanted)).duration_us
        absent_for = frozenset(name for name, other in flight.jobs.items() if absent.issuperset(other.frames))
        report = replace(report, frames=len(wanted), expected_us=expected_us, absent_for=absent_for)
        return Computed(report, outputs)

    def _run_once(
        self, flight: FlightArrays, order: RunStage, name: str, number: int, now_us: Callable[[], int] | None
    ) -> Computed:
        """Compute a stage for one frame, as nearly all runs do: it keeps no state."""
        stage, kernel = self._stages[name], self._load(name, order.resource, order.variant, order.lane)
        if kernel.restarting is not None:
            kernel.restarting.fail_while_starting()
        if kernel.far is not None:
            started_us = None if now_us is None else now_us()
            value, far_us = self._run_far(flight, order, stage, number, kernel.far, now_us)
            opened = name not in self._gates or _is_positive(value)
            return Computed(RunReport(opened, _NONE, started_us, far_us), {number: value})
        inputs = self._inputs(flight, stage, number, order.resource)
        started_us = None if now_us is None else now_us()
        output, device_us, device_nj = kernel.call(inputs)
        own = self._taken(output, stage, order.resource)
        opened = name not in self._gates or _is_positive(own)
        return Computed(RunReport(opened, _NONE, started_us, device_us, device_nj), {number: own})

    def _run_far(
        self,
        flight: FlightArrays,
        order: RunStage,
        stage: MergedStage,
        number: int,
        kernel: KeepingKernel,
        now_us: Callable[[], int] | None,
    ) -> tuple[Value, int]:
        """As `Crossings.run`; what is left there behind the end of the frame is forgotten."""
        try:
            return self._crossings.run(flight, order, stage, number, kernel, now_us, self._taken)
        finally:
            if self._flights.get(order.frame) is not flight:  # It ended meanwhile.
                self._crossings.forget(flight)

    def publish(self, order: RunStage, outputs: Outputs) -> None:
        """Keep the outputs of a run whose end was accepted, until the frame ends."""
        flight = self._flights.get(order.frame)
        if flight is not None:
            stage = flight.jobs[order.stage].stage
            for number, output in outputs.items():
                flight.values[stage, number] = output
                if isinstance(output, There):
                    flight.kept[stage, number, output.resource] = output.kept
                    if output.value is not None:
                        flight.values[stage, number] = output.value
            if isinstance(outputs, _Outputs):
                flight.begun.update({(stage, number): start.begun for number, start in outputs.starts.items()})
                with self._keeping:
                    self._states.commit(stage, outputs.kept, outputs.starts.values(), self._waiting(stage))

    def hand_over(self, frame: int, stage: str, target: str) -> None:
        """Copy an output to where `target` reads it. What fails is told to the stages that read it there."""
        flight = self._flights.get(frame)
        if flight is None:  # It has ended.
            return
        job = flight.jobs[stage]
        for number in job.frames:
            value = flight.values.get((job.stage, number))
            if isinstance(value, np.ndarray) and target not in self._crossings.far:
                try:
                    flight.copies[job.stage, number, target] = frozen_copy(value)
                except BaseException as error:
                    if is_users_interrupt(error):
                        raise
                    # Without the calls it came through, which hold what will hold it.
                    flight.copies[job.stage, number, target] = error.with_traceback(None)

    def goes_far(self, order: SendOutput) -> bool:
        """Whether handing an output over takes a transfer: it is far away, or is to be, and does not go along."""
        flight = self._flights.get(order.frame)
        return flight is not None and self._crossings.goes_far(flight, order)

    def cross(self, order: SendOutput, now_us: Callable[[], int]) -> Broken | None:
        """Send an output to where it is read, or fetch it from there: it waits for that.

        Returns which processor turned out not to be there, and why.
        """
        flight = self._flights.get(order.frame)
        if flight is None:  # It has ended.
            return None
        broken = self._crossings.cross(flight, order, now_us, self._taken)
        if self._flights.get(order.frame) is not flight:  # It ended meanwhile.
            self._crossings.forget(flight)
        return broken

    def end(self, frame: int) -> None:
        """Forget a frame."""
        flight = self._flights.pop(frame)
        if flight.to_forget:
            self._crossings.forget(flight)

    def outputs(self, frame: int) -> tuple[dict[str, np.ndarray], ...]:
        """The outputs of the stages that ran, by stage, for each frame of a batch: those of models in float32."""
        flight = self._flights[frame]
        found: tuple[dict[str, np.ndarray], ...] = tuple({} for _ in flight.windows)
        for (stage, number), value in flight.values.items():
            if isinstance(value, There):  # It is part of no answer.
                continue
            several = self._several.get(stage)
            found[number][stage] = value if several is None else frozen_view(reals_of(value, several))
        return found

    def load(self, stage: str, resource: str, variant: str) -> None:
        """Load a kernel, which is then there when a frame needs it. Raises whatever loading it raises."""
        if stage not in self._only_cost:
            self._load(stage, resource, variant, 0)

    def warm(self, stage: str, resource: str, variant: str) -> None:
        """Load a kernel for every lane and run it once on zeros: first runs are slow.

        Raises whatever loading or running it raises, what is no `Exception` as `KernelError`.
        """
        for lane in self._lanes_of(resource):
            kernel, watch = self._load(stage, resource, variant, lane), WallClock()
            if (stage, resource, variant, lane) in self._taken_over:  # It has run, and may be running now.
                continue
            if lane and isinstance(kernel.kernel, Askable):  # There is nothing of its own that could be slow at first.
                continue
            self._warm(stage, variant, kernel)
            self.warmed_us[stage, resource, variant] = watch.now_us()

    def abandon(self, stage: str, resource: str, variant: str, lane: int) -> Kernel | None:
        """A kernel hangs: end its run, where that can be; None: it is not known. From any thread; waits for nothing."""
        key = (stage, resource, variant, 0 if self._lanes is None else lane)
        loaded = self._kernels.get(key)
        if loaded is None:  # It may hang as it is loaded, and others wait for that.
            self._loading[resource] = threading.Lock()
            return None
        kernel = loaded.kernel
        if any(kernel is hung for _, hung in self._hung):  # Another deployment uses it as well.
            return kernel
        self._hung.append((key, kernel))
        if isinstance(kernel, Abandonable):
            with suppress(Exception):  # Then it hangs on, and its thread is counted.
                kernel.abandon()
        return kernel

    def give_up(self, stage: str, resource: str, variant: str) -> None:
        """A mode hangs as it is made ready: its kernels are not called again. From any thread; waits for nothing."""
        for lane in self._lanes_of(resource):
            kernel = self.abandon(stage, resource, variant, lane)
            if kernel is not None:
                self.forget(kernel)

    def came_back(self, stage: str, resource: str, variant: str) -> None:
        """It was made ready after all, or failed to be, when nobody waited any more. From any thread."""
        for lane in self._lanes_of(resource):
            self.returned(stage, resource, variant, lane)
            self._kernels.pop((stage, resource, variant, lane), None)

    def forget(self, kernel: Kernel) -> None:
        """Load another in the place of a kernel when one is needed, whatever it is used for. From any thread."""
        for key in [key for key, other in tuple(self._kernels.items()) if other.kernel is kernel]:
            self._kernels.pop(key, None)

    def returned(self, stage: str, resource: str, variant: str, lane: int) -> bool:
        """A kernel that hung has returned; whether it was known here to hang. From any thread."""
        key = (stage, resource, variant, 0 if self._lanes is None else lane)
        for entry in self._hung:
            if entry[0] == key:
                self._hung.remove(entry)
                return True
        return False

    def probe(self, resource: str, stage: str = "", variant: str = "") -> None:
        """Try a mode of a processor with fresh kernels, which are then used; without a stage, the processor.

        A processor works where one of its modes does, of those that do not hang; the kernels of all the others are
        loaded anew as well, since its device may be another. One that can be asked (`Askable`) is. Raises what asking,
        loading and running a kernel does.
        """
        if stage:
            self._renew(stage, resource, variant)
            return
        hung = {key[:3] for key, _ in tuple(self._hung)}
        there = (one.kernel for key, one in tuple(self._kernels.items()) if key[1] == resource and key[:3] not in hung)
        askable = next((kernel for kernel in there if isinstance(kernel, Askable)), None)
        if askable is not None:
            askable.ask()
            return
        modes = dict.fromkeys(key[:3] for key in tuple(self._kernels) if key[1] == resource and key[:3] not in hung)
        for number, (name, _, known) in enumerate(modes):
            try:
                self._renew(name, resource, known)
            except DeviceUnavailableError:
                raise
            except Exception:
                if not number:
                    raise
                # The processor works; a frame that needs this kernel finds out whether that does.
                for lane in self._lanes_of(resource):
                    self._kernels.pop((name, resource, known, lane), None)

    def _renew(self, stage: str, resource: str, variant: str) -> None:
        """Have fresh kernels of a mode for all lanes, once all of them have run on zeros; of those that can be asked
        one: what is sent for the others would keep everything else waiting.
        """
        if stage in self._only_cost or stage not in self._stages:
            return
        fresh: dict[_Key, _Loaded] = {}
        for lane in self._lanes_of(resource):
            kernel = fresh[stage, resource, variant, lane] = self._fresh(stage, resource, variant)
            if not (lane and isinstance(kernel.kernel, Askable)):
                self._warm(stage, variant, kernel)
        self._kernels.update(fresh)

    def _lanes_of(self, resource: str) -> range:
        """The lanes that have kernels of their own."""
        return range(1 if self._lanes is None else self._lanes[resource])

    def _warm(self, stage: str, variant: str, kernel: _Loaded) -> None:
        """Run a kernel on zeros. Raises what that does, what is no `Exception` as `KernelError`."""
        bound = self._stages[stage].bound
        source = bound.operator.is_source
        audio = source and self._streams[bound.params[variant].stream].kind == "audio"
        takes = bound.takes
        zeros = [
            packed_zeros(shape[0])
            if place < len(takes) and takes[place].is_packed
            else _zeros(shape, np.int16 if audio else np.float32)
            for place, shape in enumerate(bound.input_shapes)
        ]
        with _exceptions_only():
            if kernel.steps is None:
                kernel.call(zeros)
            else:
                kernel.steps.step(zeros, kernel.steps.start(), News(None, 0))

    def _step(
        self,
        flight: FlightArrays,
        stage: MergedStage,
        order: RunStage,
        number: int,
        outputs: _Outputs,
        kernel: StatefulKernel | None,
        inputs: Sequence[np.ndarray],
    ) -> tuple[int | None, int | None]:
        """Run a stage that keeps state for one frame, on from where it is; what the device measured, in us and nJ.

        Without a kernel nothing is computed, and it only comes to be where it would.
        """
        name, point, begun = stage.name, flight.points[number][stage.name], flight.begun
        above = tuple([begun.get((up, number)) for up in self._states.readings.of[name].above])
        asked = (name, order.variant, order.resource, point, above)
        before = outputs.kept
        with self._keeping:
            start = self._states.start(*asked) if before is None else self._states.follow(before, *asked)
        state: State | None = None
        spent = False
        measured: tuple[int | None, int | None] = None, None
        if kernel is not None:
            if before is not None and before.spends:  # If this comes to nothing, it is there no more.
                outputs.kept = None
            try:
                stepped = kernel.step(inputs, kernel.start() if start.kept is None else start.kept.state, start.news)
            except DeviceUnavailableError:
                raise
            except BaseException:  # Whatever a kernel raises.
                if start.kept is not None and start.news.missed:
                    outputs.kept = None
                    with self._keeping:
                        self._states.fail(name, start.kept)
                raise
            if not isinstance(stepped, Stepped):
                raise KernelError(
                    f"stage `{name}` gave a {type(stepped).__name__} on `{order.resource}`, expected a `Stepped`",
                    hint="`step` of a kernel that keeps state gives its output and what it keeps from here on",
                )
            spent = stepped.spent
            if spent and start.kept is not None:
                with self._keeping:
                    self._states.spend(name, start.kept)
            outputs[number] = self._taken(stepped.output, stage, order.resource)
            state = _own_state(stepped.state)
            measured = _measured(stepped.device_us, "device_us"), _measured(stepped.device_nj, "device_nj")
        outputs.starts[number] = start
        outputs.kept = Kept(point, start.begun, above, order.resource, order.variant, state, spent)
        return measured

    def _used(self, order: RunStage, stage: MergedStage, outputs: _Outputs, wanted: Sequence[int]) -> dict[str, Any]:
        """What the report says of the state of a run, and how long the run should have taken."""
        name, starts = stage.name, outputs.starts.values()
        use = None
        if starts:
            length = self._states.readings.of[name].length
            fresh = sum(length if start.news.fresh is None else start.news.fresh for start in starts)
            anew = next((start.anew for start in starts if start.anew), "")
            home = next((start.kept.home for start in starts if start.kept is not None), None)
            moved_nj = 0
            if self._steps is not None and home is not None and home != order.resource:
                moved_nj = self._steps.moving_nj(name, order.variant, home, order.resource)
            use = StateUse(fresh, anew, home, moved_nj)
        if self._steps is None or not wanted:
            return {"state": use}
        whole = self._prices.mode(name, order.variant, order.resource, 1)
        expected_us = 0
        for number in wanted:
            start, mode = outputs.starts.get(number), whole
            if start is not None and start.kept is not None and start.news.fresh is not None:
                # In real time what is moved is in memory, and takes no time.
                home = start.kept.home if self._lanes is None else order.resource
                found = StateFound(name, home, order.variant, start.news.fresh)
                mode = self._steps.mode(whole, found, self._steps.links)
            expected_us += mode.duration_us
        return {"state": use, "expected_us": expected_us}

    def _waiting(self, stage: str) -> list[Point]:
        """How far a stage that keeps state has come in the frames in flight in which it has not come to its end.

        Also of frames of workloads that another has taken the place of: they go on from the same states.
        """
        return [
            points[stage]
            for kernels in self._sharing
            for flight in tuple(kernels._flights.values())
            if any(job.stage == stage for job in flight.jobs.values())
            for number, points in enumerate(flight.points)
            if stage in points and (stage, number) not in flight.values
        ]

    def _stands_in(self, flight: FlightArrays, name: str, number: int) -> Computed:
        """What a stage that nothing computes gives in one frame: the same again and again, which nobody changes."""
        is_gate = name in self._gates
        opens = is_gate and drawn(self._seed, self._stages[name], flight.releases_us[number])
        found = self._stood_in.get((name, opens, number))
        if found is None:
            output = self._stand_in(self._stages[name], opens)
            found = Computed(_CLOSED if is_gate and not opens else _OPEN, {number: output})
            self._stood_in[name, opens, number] = found
        return found

    def _stand_in(self, stage: MergedStage, opens: bool) -> np.ndarray:
        """The output of a stage that nothing computes."""
        output = self._stand_ins.get((stage.name, opens))
        if output is None:
            several, number = stage.bound.several, 1.0 if opens else 0.0
            output = frozen_view(filled(several)) if several else _full(stage.bound.output_shape, number)
            self._stand_ins[stage.name, opens] = output
        return output

    def _load(self, stage: str, resource: str, variant: str, lane: int) -> _Loaded:
        key = (stage, resource, variant, 0 if self._lanes is None else lane)
        loaded = self._kernels.get(key)
        if loaded is not None:
            return loaded
        with self._loading[resource]:
            loaded = self._kernels.get(key)
            if loaded is None:
                loaded = self._kernels[key] = self._fresh(stage, resource, variant)
        return loaded

    def _fresh(self, stage: str, resource: str, variant: str) -> _Loaded:
        """A new kernel. Raises what loading it does, and `KernelError` where that gives one that hangs."""
        bound = self._stages[stage].bound
        with _exceptions_only():
            kernel = self._backends[resource].load(bound, variant)
        if any(kernel is hung for _, hung in tuple(self._hung)):
            raise KernelError(
                f"stage `{stage}` hangs on `{resource}`, and its backend gives the same kernel again",
                hint="`load` makes a new kernel each time it is called",
            )
        steps = kernel if isinstance(kernel, StatefulKernel) and bound.keeping(variant) is not None else None
        restarting = kernel if self._lanes is not None and isinstance(kernel, Restarting) else None
        far = keeping_kernel(kernel) if resource in self._crossings.far else None
        return _Loaded(kernel, _call(kernel), steps, restarting, far)

    def _taken(self, output: Given, stage: MergedStage, resource: str) -> np.ndarray:
        """A kernel's output as the runtime's own. Raises `KernelError` where it is not as the operator promises."""
        several = stage.bound.several
        if several:
            return self._several_taken(output, several, stage, resource)
        if isinstance(output, tuple) and len(output) == 1:
            (output,) = output
        shape = getattr(output, "shape", None)
        if shape != stage.bound.output_shape:
            other = "nothing (None)" if output is None else f"a {type(output).__name__}"
            gave = other if shape is None else f"shape {shape}"
            raise KernelError(f"stage `{stage.name}` gave {gave} on `{resource}`, expected {stage.bound.output_shape}")
        if type(output) is not np.ndarray and np.ma.is_masked(output):  # Naming `np.ma` imports it.
            raise KernelError(
                f"stage `{stage.name}` gave an array with masked numbers on `{resource}`",
                hint="fill them: output.filled(0)",
            )
        assert not isinstance(output, tuple), "that has no shape"
        # The kernel may write there again, or has given its input.
        own = frozen_copy(output)
        if own.shape != shape or own.dtype.kind not in "biuf":
            raise KernelError(
                f"stage `{stage.name}` gave an array of {own.dtype} on `{resource}`, expected real numbers",
                hint="a kernel gives float32",
            )
        self._require_finite(own, stage, resource)
        return own

    def _several_taken(self, output: Given, outputs: Sequence[Output], stage: MergedStage, resource: str) -> np.ndarray:
        """The same of arrays in types of their own, as one value."""
        # A kernel is anyone's, and may give anything.
        arrays: Sequence[Any] = arrays_in(output) if isinstance(output, np.ndarray) else _as_sequence(output)
        found = [(getattr(one, "shape", None), str(getattr(one, "dtype", type(one).__name__))) for one in arrays]
        expected = [(one.shape, one.data_type) for one in outputs]
        if found != expected and not _are_packed(found, outputs):
            raise KernelError(
                f"stage `{stage.name}` gave {_listed(found)} on `{resource}`, expected {_listed(expected)}",
                hint="a kernel of a model gives its outputs in their own types, several as a tuple",
            )
        for array in arrays:
            if array.dtype.kind == "f":
                self._require_finite(array, stage, resource)
        if len(outputs) == 1:
            return frozen_copy(arrays[0])
        return frozen_view(packed(arrays, [one.name for one in outputs]))

    def _require_finite(self, own: np.ndarray, stage: MergedStage, resource: str) -> None:
        if not self._allow_nonfinite and not all_finite(own):
            where = np.argwhere(~np.isfinite(own))[0].tolist()
            raise KernelError(
                f"stage `{stage.name}` gave {own[tuple(where)]} on `{resource}`, at {where} of its output",
                hint="`allow_nonfinite=True` lets it pass",
            )

    def _inputs(self, flight: FlightArrays, stage: MergedStage, number: int, resource: str) -> list[np.ndarray]:
        """What a stage reads in one frame, on one processor. Raises `KernelError` where that could not be handed over.

        An input that gives several arrays is as many; only who takes them as stored is given other types than float32.
        """
        if stage.bound.operator.is_source:
            return [flight.windows[number][stage.name]]
        inputs: list[np.ndarray] = []
        copies = flight.copies
        for name in stage.inputs:
            value = copies.get((name, number, resource)) if copies else None
            if isinstance(value, BaseException):
                raise KernelError(f"input `{name}` could not be handed over to `{resource}` ({failure_text(value)})")
            here = flight.values.get((name, number)) if value is None else value
            if isinstance(here, There):
                raise KernelError(f"input `{name}` is on `{here.resource}`, and did not come to `{resource}`")
            value, several = here, self._several.get(name)
            if value is None:
                # A closed gate removed this input; only operators that take absent inputs come so far.
                inputs += [_zeros(output.shape, np.float32) for output in self._stages[name].bound.outputs]
            elif several is not None:
                inputs += inputs_of(value, several, stage.bound.takes[len(inputs) :])
            else:
                inputs.append(value)
        return inputs


def _are_packed(found: Sequence[tuple[Any, str]], outputs: Sequence[Output]) -> bool:
    """Whether it is packed bytes, of which there may be fewer than their shape says."""
    if len(found) != 1 or len(outputs) != 1 or not outputs[0].is_packed:
        return False
    shape, kind = found[0]
    return kind == outputs[0].data_type and isinstance(shape, tuple) and outputs[0].allows(shape)


def drawn(seed: int, stage: MergedStage, release_us: int) -> bool:
    """Whether a gate that nothing computes opens in a frame, by its stated chance; it does where none is stated.

    It depends on seed, stage and release alone: every policy meets the same gates, frame by frame and in batches.
    """
    chance_ppm = stage.bound.chance_ppm
    return chance_ppm is None or Random(f"{seed}/{release_us}/{stage.name}").randrange(1_000_000) < chance_ppm


def frozen_copy(array: np.ndarray) -> np.ndarray:
    """A copy that nobody can write into."""
    own = np.array(array)
    own.setflags(write=False)
    return own


def frozen_view(array: np.ndarray) -> np.ndarray:
    """The same array, through which nobody can write."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@contextmanager
def _exceptions_only() -> Iterator[None]:
    """Raise what is no `Exception` as a `KernelError`, so that it ends no thread and no program."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if is_users_interrupt(error):
            raise
        raise KernelError(failure_text(error)) from error


def _call(kernel: Kernel) -> _Call:
    if not isinstance(kernel, TimedKernel):
        return lambda inputs: (kernel(inputs), None, None)

    def timed(inputs: list[np.ndarray]) -> tuple[Given, int | None, int | None]:
        run = kernel.timed(inputs)
        return run.output, _measured(run.device_us, "device_us"), _measured(run.device_nj, "device_nj")

    return timed


def _can_move(backends: Mapping[str, Backend], steps: StepPrices | None, home: str, resource: str, kept: Kept) -> bool:
    """Whether a state can be taken to another processor: over a link; what is no arrays, to one of its backend."""
    if steps is not None and (home, resource) not in steps.links:
        return False
    if kept.state is None or arrays_of(kept.state) is not None:
        return True
    return backends[home].name == backends[resource].name


def _own_state(state: State) -> State:
    """What a kernel keeps, as nobody else writes into: arrays are copied, unless nobody can."""
    arrays = arrays_of(state)
    if arrays is None:
        return state
    return tuple([frozen_copy(one) if one.flags.writeable or one.base is not None else one for one in arrays])


def _measured(value: object, name: str) -> int | None:
    """What a kernel says that its device measured, as a plain int. Raises `KernelError` for what is no quantity."""
    try:
        return None if value is None else whole(value, name, most=MAX_QUANTITY)
    except InputError as error:
        raise KernelError(f"its kernel told a wrong measurement ({error})", hint=error.hint) from None


def _full(shape: tuple[int, ...], value: float) -> np.ndarray:
    full = np.full(shape, value, np.float32) if value else np.zeros(shape, np.float32)
    full.flags.writeable = False
    return full


def _zeros(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    zeros: np.ndarray = np.zeros(shape, dtype)
    zeros.flags.writeable = False
    return zeros


def _as_sequence(output: object) -> Sequence[Any]:
    return output if isinstance(output, tuple | list) else () if output is None else (output,)


def _listed(arrays: Sequence[tuple[object, str]]) -> str:
    return ", ".join(f"{data_type} of shape {shape}" for shape, data_type in arrays) or "nothing"


def _is_wanted(flight: FlightArrays, stage: MergedStage, number: int) -> bool:
    """Whether a stage that runs for a whole batch has anything to compute for one of its frames."""
    gates = stage.gates(flight.graphs)
    if gates and not any(_is_positive(flight.values.get((gate, number))) for gate in gates):
        return False
    there = [(name, number) in flight.values for name in stage.inputs]
    return any(there) if stage.bound.operator.takes_absent else all(there)


def _is_positive(decision: Value | None) -> bool:
    """Whether a gate that gave this is open."""
    value = decision.value if isinstance(decision, There) else decision
    return value is not None and bool(value.reshape(-1)[0] > 0)


def _each_once(errors: Sequence[str]) -> str:
    """Why a run failed for some frames of a batch: what repeats is said once, and of many reasons the first three."""
    reasons = list(dict.fromkeys(errors))
    more = f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def _sums(devices: Sequence[tuple[int | None, int | None]]) -> tuple[int | None, int | None]:
    """What devices measured in all, in us and nJ."""
    return _sum([us for us, _ in devices]), _sum([nj for _, nj in devices])


def _sum(parts: Sequence[int | None]) -> int | None:
    """The sum of what was measured; None where something was not."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None

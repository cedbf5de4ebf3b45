"""The object a daemon embeds: frames go in; where, when and at what cost each stage ran, and what was found, come out.

    with Runtime.simulated(workload, hardware, profile) as runtime:
        runtime.submit(release_us, {"sound": samples})
        for result in runtime.drain():
            ...

A frame is lowered to a problem, the problem is solved (`planner`), the answer is dispatched. Frames that can wait are
collected, and placed as one by `submit_batch`.

**Overload.** A frame is skipped, and counted in `skipped`, when `max_in_flight` frames have not ended yet, or when
nothing of it has started by the last of its deadlines. Its graphs are then `failed`, and say why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from leo_runtime.answers import answer, check_decision, due_us
from leo_runtime.backend import is_simulated
from leo_runtime.batch import FramePrices, Modes, require_candidates
from leo_runtime.clock import Clock, WallClock
from leo_runtime.computing import Computing, Finished, Ran
from leo_runtime.dispatch import Dispatcher
from leo_runtime.drift import ONE, Drift, Estimate
from leo_runtime.errors import InputError
from leo_runtime.events import Event, FrameAdmitted, FrameDone, ProcessorFound, ProcessorLost, RunStage, StageRecord
from leo_runtime.executor import Executor
from leo_runtime.graph import TaskGraph, Workload, in_order
from leo_runtime.hardware import Hardware
from leo_runtime.ledger import linger_us
from leo_runtime.lower import MergedStage, MergedWorkload, merge, price
from leo_runtime.observations import (
    FrameResult,
    GraphResult,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.plan import Plan
from leo_runtime.planner import Asked, LinksNow, Planner, Solver, answering, no_placement
from leo_runtime.problem import Mode, Placement
from leo_runtime.profiles import Profile
from leo_runtime.serving import Machine, anything, open_backends, require_served, usable
from leo_runtime.simulator import Noise, Simulator, seeded_noise

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.backend import Backend


class Driver(Protocol):
    """What lets a dispatcher's instructions happen: the simulator or the executor."""

    dispatcher: Dispatcher

    @property
    def clock(self) -> Clock:
        """The run's time."""
        ...

    def post(self, event: Event) -> None:
        """Something happens from outside."""
        ...

    def held(self) -> AbstractContextManager[object]:
        """While it is held, nothing happens."""
        ...

    def reach(self, at_us: int) -> None:
        """Go on until that time."""
        ...

    def drain(self) -> None:
        """Go on until no frame is in flight."""
        ...

    def finished(self) -> tuple[Finished, ...]:
        """The frames that ended since this was last asked."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


@dataclass(frozen=True, slots=True)
class SourceWindow:
    """What a source stage reads: the last `samples` samples of a stream before a frame's release."""

    stage: str
    """The merged stage: the key of its array in `Runtime.submit`."""
    stream: str
    samples: int
    shape: tuple[int, ...]
    """Of its array: (samples,), or (samples, channels)."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A submitted frame, or batch."""

    releases_us: tuple[int, ...]
    """Of each frame of a batch."""
    graphs: tuple[TaskGraph, ...]
    plan: Plan


class Runtime:
    """A workload on a machine. Made by `simulated` or `live`; closing it lets go of the backends it made."""

    merged: MergedWorkload
    hardware: Hardware
    profile: Profile
    modes: Mapping[str, tuple[Mode, ...]]
    """Every way to run each merged stage, as the profile has it."""
    missing: Mapping[str, str]
    """Processors that no backend serves here, with the reason. In virtual time the CPU's backend computes in their
    place; in real time they are not used."""
    left_out: Mapping[tuple[str, str, str], str]
    """Modes whose kernels cannot be used, by stage, processor and variant, with the reason; no frame is planned on
    them."""
    skipped: int
    """Frames that were skipped for overload."""

    def __init__(
        self,
        merged: MergedWorkload,
        hardware: Hardware,
        profile: Profile,
        prices: FramePrices,
        planner: Planner,
        start: Callable[[int], Driver],
        *,
        computing: Computing | None = None,
        machine: Machine | None = None,
        left_out: Mapping[tuple[str, str, str], str] | None = None,
        simulated: Collection[str] = (),
        missing: Mapping[str, str] | None = None,
        lost: Collection[str] = (),
        device_clocks: Collection[str] | None = None,
        adapt: bool = False,
        max_in_flight: int = 16,
    ) -> None:
        """For `simulated` and `live`.

        `start` makes the driver, at the release of the first frame. `simulated` are processors whose energy is not
        measured whatever their kernels say; `device_clocks` those whose kernels' own times mean anything (None: all).
        """
        self.merged = merged
        self.hardware = hardware
        self.profile = profile
        self.modes = prices.of(1)
        self.missing = dict(missing or {})
        self.left_out = dict(left_out or {})
        self.skipped = 0
        self._prices = prices
        self._planner = planner
        self._start = start
        self._driver: Driver | None = None
        self._computing = computing
        self._machine = machine
        self._simulated = frozenset(simulated)
        self._device_clocks = None if device_clocks is None else frozenset(device_clocks)
        self._lost_before = tuple(lost)
        self._closed = False
        self._adapt = adapt
        self._max_in_flight = max_in_flight
        self._drift = Drift()
        self._stages = {stage.name: stage for stage in merged.stages}
        self._graphs = {graph.name: graph for graph in merged.workload.graphs}
        self._in_order = {graph.name: in_order(graph) for graph in merged.workload.graphs}
        self._linger_us = linger_us(hardware)
        self._links: LinksNow = {}
        self._sources: dict[tuple[str, ...], tuple[SourceWindow, ...]] = {}
        self._in_flight: dict[int, _InFlight] = {}
        self._over: list[FrameResult] = []
        self._count = 0
        self._last_release_us = 0
        for graph in merged.workload.graphs:
            check_decision(graph, merged)

    @classmethod
    def simulated(
        cls,
        workload: Workload,
        hardware: Hardware,
        profile: Profile,
        *,
        solver: str | Solver = "exact",
        limit_ms: int | None = None,
        limit_nodes: int | None = None,
        switching_nj: int = 0,
        backends: Mapping[str, Backend] | None = None,
        compute: bool = True,
        noise: Noise | int | None = None,
        device_times: Collection[str] = (),
        adapt: bool = False,
        max_in_flight: int = 16,
        seed: int = 0,
    ) -> Self:
        """A runtime in virtual time: durations are the profile's, values are computed on this machine.

        `limit_ms` and `limit_nodes` are the named solver's. `switching_nj` is what moving a stage costs from one frame
        to the next: the exact solver, without `limit_ms`, then stays with its last answer where a better one saves less
        (`solver.replan.Replanner`). `backends` by processor; None: those installed, and the
        CPU's for processors that none of them serves. Without `compute` nothing is computed, every gate opens, and any
        stage runs wherever the profile knows its cost. `noise` gives durations, or is the spread of a seeded log-normal
        noise in ppm. `device_times` names processors whose kernels' own time is taken instead of the profile's. Raises
        `GraphError`, `ProfileError`, `SolverError`, and what making a backend raises.
        """
        answers = answering(solver, limit_ms, limit_nodes, switching_nj, seed)
        merged = merge(workload)
        with ExitStack() as undo:
            machine = undo.enter_context(open_backends(hardware, backends if compute else {}, stand_in=True))
            if compute:
                require_served(machine, hardware)
            supports = machine.supports if compute else anything
            prices = FramePrices(partial(price, merged, hardware, profile, supports), one_by_one=device_times)
            computing = Computing(merged, machine.backends, prices) if compute else None
            loads = usable(prices.of(1), computing.ready) if computing else None
            if loads:
                prices.keep(loads.modes)
            noise = seeded_noise(seed, noise) if isinstance(noise, int) else noise

            def start(_now_us: int) -> Driver:
                run = computing.run if computing else None
                return Simulator(
                    Dispatcher(_lanes(hardware)),
                    compute=run,
                    noise=noise,
                    device_times=device_times,
                    # Plans then go by what was seen; what happens is still the profile's.
                    lasts_us=runtime._profiled_us if adapt else None,
                )

            runtime = cls(
                merged,
                hardware,
                profile,
                prices,
                Planner(merged, hardware, prices.of(1), answers),
                start,
                computing=computing,
                machine=machine,
                left_out=loads.left_out if loads else {},
                simulated=tuple(machine.backends),
                device_clocks=device_times,
                missing=machine.reasons() if compute else {},
                adapt=adapt,
                max_in_flight=max_in_flight,
            )
            undo.pop_all()
            return runtime

    @classmethod
    def live(
        cls,
        workload: Workload,
        hardware: Hardware,
        profile: Profile,
        *,
        solver: str | Solver = "exact",
        limit_ms: int | None = None,
        limit_nodes: int | None = None,
        switching_nj: int = 0,
        backends: Mapping[str, Backend] | None = None,
        clock: Clock | None = None,
        modelled_delays: bool = False,
        adapt: bool = False,
        max_in_flight: int = 16,
        seed: int = 0,
    ) -> Self:
        """A runtime in real time, on the machine it runs on.

        Its clock starts with the release of the first frame, or of the last one where a batch comes first.

        `limit_ms` and `limit_nodes` are the named solver's. `switching_nj` is what moving a stage costs from one frame
        to the next: the exact solver, without `limit_ms`, then stays with its last answer where a better one saves less
        (`solver.replan.Replanner`). `backends` by processor; None: those installed. Every
        kernel is loaded and run once beforehand; a mode whose kernel fails then is left out. `modelled_delays` waits as
        long as links and wake-ups take by the hardware document. Raises `GraphError`, `ProfileError`, `SolverError`,
        `BackendError` where no processor is served, and what making a backend raises.
        """
        answers = answering(solver, limit_ms, limit_nodes, switching_nj, seed)
        merged = merge(workload)
        with ExitStack() as undo:
            machine = undo.enter_context(open_backends(hardware, backends))
            require_served(machine, hardware)
            everywhere = tuple(processor.name for processor in hardware.processors)
            prices = FramePrices(partial(price, merged, hardware, profile, machine.supports), one_by_one=everywhere)
            computing = Computing(merged, machine.backends, prices)
            lanes = _lanes(hardware)
            runs = usable(prices.of(1), computing.warm)
            prices.keep(runs.modes)
            simulated = [name for name, backend in machine.backends.items() if is_simulated(backend)]

            def start(now_us: int) -> Driver:
                return Executor(
                    Dispatcher(lanes),
                    {processor.name: processor.lanes for processor in hardware.processors},
                    computing.run,
                    hand_over=computing.hand_over,
                    clock=WallClock(now_us) if clock is None else clock,
                    modelled_delays=modelled_delays,
                    device_times=simulated,
                )

            runtime = cls(
                merged,
                hardware,
                profile,
                prices,
                Planner(merged, hardware, prices.of(1), answers),
                start,
                computing=computing,
                machine=machine,
                left_out=runs.left_out,
                simulated=simulated,
                missing=machine.reasons(),
                lost=tuple(machine.missing),
                adapt=adapt,
                max_in_flight=max_in_flight,
            )
            undo.pop_all()
            return runtime

    def triggered(self, release_us: int) -> tuple[str, ...]:
        """The graphs whose period and offset make them run at that time."""
        return tuple(
            graph.name
            for graph in self.merged.workload.graphs
            if release_us >= graph.offset_us and (release_us - graph.offset_us) % graph.period_us == 0
        )

    def sources(self, graphs: Collection[str]) -> tuple[SourceWindow, ...]:
        """The windows that a frame of these graphs needs."""
        key = tuple(name for name in self._graphs if name in graphs)
        if key not in self._sources:
            self._sources[key] = tuple(
                _window(stage)
                for stage in self.merged.stages
                if stage.bound.operator.is_source and any(graph in key for graph in stage.graphs)
            )
        return self._sources[key]

    @property
    def now_us(self) -> int:
        """The run's time."""
        return 0 if self._driver is None else self._driver.clock.now_us()

    @property
    def lost(self) -> tuple[str, ...]:
        """The processors that cannot be used now."""
        gone = self._driver.dispatcher.lost if self._driver else frozenset(self._lost_before)
        return tuple(processor.name for processor in self.hardware.processors if processor.name in gone)

    def drift(self) -> tuple[Estimate, ...]:
        """How far each mode that has run is from its profile."""
        return self._drift.estimates()

    def submit(
        self,
        release_us: int,
        windows: Mapping[str, np.ndarray],
        *,
        graphs: Collection[str] | None = None,
        links: LinksNow | None = None,
    ) -> int:
        """Take a frame, place it and start it; returns its number. Waits for its release where that is to come.

        `windows`: raw samples by source stage, as `sources` names them. `graphs` None: those that `triggered` names.
        `links` holds from now on; None: as before. Raises `InputError` for a release before the last one, a graph
        that is not there, a window that is missing or of another shape, or a closed runtime; `SolverError` when the
        solver has no answer and never had one: later, that fails the frame and not the run.
        """
        return self._take((release_us,), (windows,), graphs, links, None)

    def submit_batch(
        self,
        frames: Sequence[tuple[int, Mapping[str, np.ndarray]]],
        *,
        graphs: Collection[str] | None = None,
        links: LinksNow | None = None,
        together: Collection[str] | None = None,
    ) -> int:
        """Take frames that were collected, place them as one and start them; returns the number they have as one.

        `frames` are pairs of release and windows, in order, all of the same graphs. They are placed at the release of
        the last, and from there have N times a graph's deadline, N being how many they are: whoever collects N frames
        can wait as many times as long. A stage runs its frames one by one or all together, whichever is better
        (`docs/solver.md`): that is tried of the merged stages in `together`, of which there are at most
        `batch.MAX_CANDIDATES`; None: of those that could save most. A limit given for the solver is for all choices.

        Their results come as one `FrameResult` with a graph result for each frame. Waits and raises as `submit` does;
        also raises `InputError` for no frames at all, and for stages that cannot run their frames together.
        """
        if not frames:
            raise InputError("a batch of no frames", hint="collect one at least")
        for one in frames:
            if not isinstance(one, tuple) or len(one) != 2:
                raise InputError(
                    f"a frame of a batch is a release with its windows, got {type(one).__name__}",
                    hint="submit_batch([(release_us, {source: samples}), ...])",
                )
        releases_us = tuple(release_us for release_us, _ in frames)
        if list(releases_us) != sorted(set(releases_us)):
            raise InputError(
                f"the frames of a batch are released one after the other, got {', '.join(map(str, releases_us))} us",
                hint="submit them in the order in which they were recorded, each once",
            )
        may = None if together is None else require_candidates(self.merged, together, self.modes)
        return self._take(releases_us, tuple(windows for _, windows in frames), graphs, links, may)

    def _take(
        self,
        releases_us: tuple[int, ...],
        windows: tuple[Mapping[str, np.ndarray], ...],
        graphs: Collection[str] | None,
        links: LinksNow | None,
        together: tuple[str, ...] | None,
    ) -> int:
        """Place one frame, or several as a batch, and start them."""
        if self._closed:
            raise InputError("the runtime is closed", hint="submit frames before close(), inside its `with` block")
        release_us = releases_us[-1]
        names = self._triggered_by_all(releases_us) if graphs is None else self._known(graphs)
        if release_us < self._last_release_us:
            raise InputError(
                f"a frame is released at {release_us} us, and the last one was at {self._last_release_us} us",
                hint="submit frames in the order of their releases; a batch counts as its last frame",
            )
        for one in windows:
            self._check_windows(names, one)
        driver = self._driver or self._begin(release_us)
        driver.reach(release_us)
        self._collect(driver)
        self._links = self._links if links is None else links
        frame, self._count = self._count, self._count + 1
        self._last_release_us = release_us
        wanted = tuple(self._graphs[name] for name in names)
        if not names:
            self._give_up(frame, releases_us, (), no_placement("no graph is triggered"))
            return frame
        if len(driver.dispatcher.frames) >= self._max_in_flight:
            self.skipped += len(releases_us)
            why = f"skipped: {self._max_in_flight} frames are in flight"
            self._give_up(frame, releases_us, wanted, no_placement(why))
            return frame
        with driver.held():
            asked = self._ask(driver.dispatcher, release_us, names)
        if len(releases_us) > 1:
            asked = replace(asked, frames=len(releases_us), together=together)
        if self._adapt and self._drift.settle():
            self._planner.use(self._adapted(self.modes))
        batched = self._adapted(self._prices.of(asked.frames)) if asked.frames > 1 else None
        found = self._planner.plan(asked, batched)
        if isinstance(found, Placement):
            self._give_up(frame, releases_us, wanted, found)
            return frame
        self._in_flight[frame] = _InFlight(releases_us, wanted, found)
        if self._computing is not None:
            self._computing.begin(frame, windows, names, found.jobs)
        give_up_us = max(due_us(graph, releases_us) for graph in wanted)
        driver.post(
            FrameAdmitted(max(release_us, driver.clock.now_us()), frame, release_us, found, asked.asleep, give_up_us)
        )
        return frame

    def results(self) -> tuple[FrameResult, ...]:
        """The frames that ended since this was last asked, by number."""
        if self._driver is not None:
            self._collect(self._driver)
        found = tuple(sorted(self._over, key=lambda result: result.frame))
        self._over.clear()
        return found

    def drain(self) -> tuple[FrameResult, ...]:
        """Wait until every submitted frame has ended, then `results`."""
        if self._driver is not None:
            self._driver.drain()
        return self.results()

    def lose(self, processor: str) -> None:
        """A processor is gone: what it has to do goes elsewhere. Raises `KeyError` for an unknown one."""
        self.hardware.processor(processor)
        if self._driver is None:
            self._lost_before = (*self._lost_before, processor)
        else:
            self._driver.post(ProcessorLost(self._driver.clock.now_us(), processor, "as was said"))

    def restore(self, processor: str) -> None:
        """A lost processor is back. Raises `KeyError` for an unknown one."""
        self.hardware.processor(processor)
        if self._driver is None:
            self._lost_before = tuple(name for name in self._lost_before if name != processor)
        else:
            self._driver.post(ProcessorFound(self._driver.clock.now_us(), processor))

    def story(self, frame: int) -> tuple[tuple[int, object], ...]:
        """What happened to a frame, as far as it is remembered: times with events and instructions, for debugging."""
        return () if self._driver is None else self._driver.dispatcher.story(frame)

    def close(self) -> None:
        """Stop, and let go of the backends the runtime has made. Closing twice is fine."""
        self._closed = True
        try:
            if self._driver is not None:
                self._driver.close()
        finally:
            if self._machine is not None:
                self._machine.close()

    def __enter__(self) -> Self:
        """The runtime itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # A frame's question and its answer.

    def _begin(self, now_us: int) -> Driver:
        driver = self._driver = self._start(now_us)
        for processor in self._lost_before:
            driver.post(ProcessorLost(now_us, processor))
        return driver

    def _triggered_by_all(self, releases_us: tuple[int, ...]) -> tuple[str, ...]:
        names = self.triggered(releases_us[0])
        for release_us in releases_us[1:]:
            if (others := self.triggered(release_us)) != names:
                raise InputError(
                    f"the frames of a batch are of the same graphs, got {', '.join(names) or 'none'} at "
                    f"{releases_us[0]} us and {', '.join(others) or 'none'} at {release_us} us",
                    hint="say which with `graphs`",
                )
        return names

    def _known(self, graphs: Collection[str]) -> tuple[str, ...]:
        if isinstance(graphs, str):
            raise InputError(f"`graphs` are several names, got the text `{graphs}`", hint=f'write ["{graphs}"]')
        for name in graphs:
            if name not in self._graphs:
                raise InputError(
                    f"no graph of workload `{self.merged.workload.name}` is called `{name}`",
                    hint=f"it has {', '.join(self._graphs)}",
                )
        return tuple(name for name in self._graphs if name in graphs)

    def _check_windows(self, graphs: tuple[str, ...], windows: Mapping[str, np.ndarray]) -> None:
        if self._computing is None:
            return
        for source in self.sources(graphs):
            given = windows.get(source.stage)
            shape = getattr(given, "shape", None)
            if shape != source.shape:
                other = "nothing" if given is None else f"a {type(given).__name__}"
                raise InputError(
                    f"source `{source.stage}` needs {source.samples} samples of stream `{source.stream}` as an array "
                    f"of shape {source.shape}, got {other if shape is None else f'shape {shape}'}",
                    hint="they are the last samples before the frame's release; `sources` says what a frame needs",
                )
        known = [source.stage for source in self.sources(self._graphs)]
        for name in windows:
            if name not in known:
                raise InputError(f"no source is called `{name}`", hint=f"windows are given for {', '.join(known)}")

    def _ask(self, dispatcher: Dispatcher, release_us: int, graphs: tuple[str, ...]) -> Asked:
        """What the frame finds. A lane that is free now is free at 0: a frame that comes late is not planned late."""
        now_us = max(release_us, self.now_us)
        ready: list[tuple[str, tuple[int, ...]]] = []
        asleep: list[str] = []
        for resource, linger in self._linger_us.items():
            lanes = dispatcher.lanes_ready_us(resource, now_us)
            if any(at_us > now_us for at_us in lanes):
                ready.append((resource, tuple(at_us - release_us if at_us > now_us else 0 for at_us in lanes)))
            if linger is not None and _is_asleep(dispatcher, resource, linger, release_us):
                asleep.append(resource)
        return Asked(graphs, tuple(ready), tuple(asleep), tuple(self._links.items()), self.lost)

    def _profiled_us(self, order: RunStage) -> int:
        """How long a run takes by the profile."""
        job = self._in_flight[order.frame].plan.jobs[order.stage]
        return self._prices.mode(job.stage, order.variant, order.resource, len(job.frames)).duration_us

    def _adapted(self, modes: Modes) -> Modes:
        """Modes as long as they have turned out to be, at the power the profile gives them."""
        return {name: tuple(self._adapted_mode(name, mode) for mode in found) for name, found in modes.items()}

    def _adapted_mode(self, stage: str, mode: Mode) -> Mode:
        factor = self._drift.factor_ppm((stage, mode.variant, mode.resource))
        if factor == ONE:
            return mode
        duration_us = max(1, mode.duration_us * factor // ONE)
        return mode.model_copy(update={"duration_us": duration_us, "energy_nj": _nj(mode, duration_us)})

    # A frame's end.

    def _collect(self, driver: Driver) -> None:
        for finished in driver.finished():
            done = finished.done
            flight = self._in_flight.pop(done.frame)
            values = None if self._computing is None else self._computing.end(done.frame)
            self.skipped += len(flight.releases_us) if done.skipped else 0
            stages = tuple(
                self._observed(flight, done.frame, record, finished.ran.get((record.stage, record.attempt)))
                for record in done.stages
            )
            graphs = tuple(
                answer(
                    graph,
                    self._in_order[graph.name],
                    self.merged,
                    flight.releases_us,
                    number,
                    done,
                    flight.plan.jobs,
                    None if values is None else values[number],
                )
                for number in range(len(flight.releases_us))
                for graph in flight.graphs
            )
            self._over.append(
                FrameResult(
                    frame=done.frame,
                    release_us=flight.releases_us[-1],
                    placement=flight.plan.placement,
                    stages=stages,
                    transfers=_transfers(done),
                    graphs=graphs,
                    wakes=tuple(WakeObservation(done.frame, resource, at_us) for resource, at_us in done.wakes),
                    jobs=flight.plan.jobs,
                )
            )

    def _observed(self, flight: _InFlight, frame: int, record: StageRecord, ran: Ran | None) -> StageObservation:
        lasted_us = record.end_us - record.start_us
        clocked = ran is not None and (self._device_clocks is None or record.resource in self._device_clocks)
        device_us = ran.device_us if ran is not None and clocked else None
        device_nj = ran.device_nj if ran is not None and record.resource not in self._simulated else None
        job = flight.plan.jobs[record.stage]
        frames = len(job.frames) if ran is None or ran.frames is None else ran.frames
        mode = (job.stage, record.variant, record.resource)
        base = self._prices.mode(*mode, max(1, frames))
        if record.outcome == "done" and frames:
            self._drift.observe(mode, base.duration_us, lasted_us)
        return StageObservation(
            frame=frame,
            stage=record.stage,
            resource=record.resource,
            variant=record.variant,
            lane=record.lane,
            outcome=record.outcome,
            planned_start_us=record.planned_start_us,
            planned_end_us=record.planned_end_us,
            start_us=record.start_us,
            end_us=record.end_us,
            expected_us=record.mode.duration_us,
            expected_nj=record.mode.energy_nj,
            device_us=device_us,
            nj=_nj(base, lasted_us if device_us is None else device_us) if device_nj is None else device_nj,
            energy_from="modelled" if device_nj is None else "measured",
            error=record.error or ("" if ran is None else ran.error),
        )

    def _give_up(
        self, frame: int, releases_us: tuple[int, ...], graphs: tuple[TaskGraph, ...], placement: Placement
    ) -> None:
        """A frame, or batch, that is not even started."""
        last_us = releases_us[-1]
        now_us = max(last_us, self.now_us)
        results = tuple(
            GraphResult(graph.name, frame, release_us, due_us(graph, releases_us), now_us, "failed", None, {}, number)
            for number, release_us in enumerate(releases_us)
            for graph in graphs
        )
        self._over.append(FrameResult(frame, last_us, placement, (), (), results))


def _lanes(hardware: Hardware) -> dict[str, int]:
    return {p.name: p.lanes for p in hardware.processors} | {r.name: r.lanes for r in hardware.radios}


def _is_asleep(dispatcher: Dispatcher, resource: str, linger_us: int, now_us: int) -> bool:
    """Whether it has gone to sleep since its last use (`ledger.run_ledger` has the same rule)."""
    used_us = dispatcher.used_until_us(resource)
    idle = not dispatcher.in_use(resource) and (used_us is None or used_us + linger_us <= now_us)
    return dispatcher.sleeps(resource) or idle


def _window(stage: MergedStage) -> SourceWindow:
    params = next(iter(stage.bound.params.values()))
    return SourceWindow(stage.name, params.stream, params.samples, stage.bound.input_shapes[0])


def _nj(mode: Mode, lasted_us: int) -> int:
    """What a run of that long takes at the mode's power."""
    return mode.energy_nj * lasted_us // mode.duration_us


def _transfers(done: FrameDone) -> tuple[TransferObservation, ...]:
    return tuple(
        TransferObservation(
            frame=done.frame,
            stage=send.stage,
            source=send.source,
            target=send.target,
            lane=send.lane,
            planned_start_us=send.planned_start_us,
            start_us=send.start_us,
            arrive_us=send.arrive_us,
            nj=send.nj,
            resource=send.resource,
            sent_us=send.sent_us,
        )
        for send in done.sends
    )

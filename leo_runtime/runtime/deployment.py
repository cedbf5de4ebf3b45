"""A workload on a machine, ready to run, as one value; and the machine that it is made for.

A runtime has one deployment at a time. What is asked of its workload is asked of that; a frame keeps the one with which
it was submitted until it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any

from leo_runtime.backend import is_simulated
from leo_runtime.backend.machine import Machine, Usable, usable
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import FrameDone
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Mode
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.batch import FramePrices, Modes, require_candidates
from leo_runtime.frame.changed import Keys, called_as_before, same_graphs, same_stages, stage_keys
from leo_runtime.frame.due import runs_at
from leo_runtime.frame.lower import MergedWorkload, Supports, price, require_computed
from leo_runtime.frame.positions import WindowEnd, end_at
from leo_runtime.frame.records import FrameResult
from leo_runtime.frame.steps import StepPrices
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.admission import Admission
from leo_runtime.runtime.answers import check_decision
from leo_runtime.runtime.arguments import SourceWindow, known_unbroken, named_graphs, require_windows, source_window
from leo_runtime.runtime.drift import ONE, Drift, Key
from leo_runtime.runtime.horizon import Horizon
from leo_runtime.runtime.kernels import Kernels, Told, frozen_copy, frozen_view
from leo_runtime.runtime.options import RuntimeOptions
from leo_runtime.runtime.placing import Placer
from leo_runtime.runtime.planner import FrameSolver, no_placement
from leo_runtime.runtime.planners import planners
from leo_runtime.runtime.results import Lasted, Results, Submitted, energy_nj, not_done
from leo_runtime.runtime.warming import warm_within
from leo_runtime.values import several_names

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.backend.transfers import TransferHeard

    Windows = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """A workload on a machine: its stages and what they cost, the kernels, and who plans and answers its frames."""

    merged: MergedWorkload
    profile: Profile
    prices: FramePrices
    kernels: Kernels | None
    """None: nothing is computed, and no gate is drawn."""
    left_out: Mapping[tuple[str, str, str], str]
    results: Results
    horizon: Horizon | None
    """What there is to know of later releases, where frames are not placed each as if it were alone."""
    placer: Placer
    admission: Admission
    graphs: Mapping[str, TaskGraph]
    keys: Keys
    _source_names: tuple[str, ...]
    """All that windows may be given for."""
    _runs_at: tuple[tuple[str, Callable[[int], bool]], ...]
    """Of every graph."""
    _sources: dict[tuple[str, ...], tuple[SourceWindow, ...]] = field(default_factory=dict)
    _wanted: dict[tuple[str, ...], tuple[TaskGraph, ...]] = field(default_factory=dict)

    @property
    def modes(self) -> Mapping[str, tuple[Mode, ...]]:
        """Every way to run each merged stage, as the profile has it."""
        return self.prices.of(1)

    @property
    def computes(self) -> bool:
        """Whether values are computed: otherwise zeros stand in for outputs, and windows are not looked at."""
        return self.kernels is not None and self.kernels.computes

    def warmed(self) -> tuple[tuple[tuple[str, str, str], int, int], ...]:
        """Modes, by processor, stage and variant, with how long by the profile and really their first runs took."""
        times = {} if self.kernels is None else self.kernels.warmed_us
        return tuple(
            [
                ((mode.resource, stage, mode.variant), mode.duration_us, lasted_us)
                for stage, modes in self.modes.items()
                for mode in modes
                if (lasted_us := times.get((stage, mode.resource, mode.variant))) is not None
            ]
        )

    def has(self, stage: str, before: Deployment) -> bool:
        """Whether a stage of another deployment computes here what it does there."""
        return before is self or (stage in self.keys and self.keys[stage] == before.keys.get(stage))

    def has_mode(self, key: Key, before: Deployment) -> bool:
        """The same of a mode of another, which also costs what it does there."""
        stage, variant, resource = key
        here, there = [
            next((m for m in one.modes.get(stage, ()) if (m.variant, m.resource) == (variant, resource)), None)
            for one in (self, before)
        ]
        return here == there and self.has(stage, before)

    def own_windows(self, graphs: tuple[str, ...], windows: tuple[Windows, ...], copy: bool) -> tuple[Windows, ...]:
        """The windows that frames of these graphs read, as nobody can change them. From any thread.

        Raises `InputError` for what is missing, or is not as `sources` says, where values are computed.
        """
        if not self.computes:
            return windows
        wanted = self.sources_of(graphs)
        for one in windows:
            require_windows(wanted, self._source_names, one)
        own = frozen_copy if copy else frozen_view
        return tuple([{read.stage: own(read.at_its_value(one[read.stage])) for read in wanted} for one in windows])

    def ends(
        self, releases_us: tuple[int, ...], unbroken: Sequence[Mapping[str, int]]
    ) -> tuple[Mapping[str, WindowEnd], ...]:
        """Where the windows of each frame end that have lost samples. From any thread.

        Raises `InputError` for what `Runtime.submit_batch` does not take as `unbroken`.
        """
        sources = self.sources_of(tuple(self.graphs))
        found = known_unbroken(sources, unbroken, len(releases_us))
        # Of events, which come at no rate, nobody counts any.
        streams = {one.stage: self.merged.workload.stream(one.stream) for one in sources}
        rates_hz = {name: stream.rate_hz for name, stream in streams.items() if stream.rate_hz}
        return tuple(
            [
                {name: end_at(rates_hz[name], at_us, many) for name, many in told.items() if name in rates_hz}
                for at_us, told in zip(releases_us, found, strict=True)
            ]
        )

    def result(self, submitted: Submitted, done: FrameDone) -> tuple[FrameResult, tuple[Lasted, ...]]:
        """The result of a frame that ended, and how long its runs lasted."""
        try:
            # Zeros that stand in for outputs are nobody's answer.
            values = self.kernels.outputs(done.frame) if self.kernels is not None and self.computes else None
            return self.results.of(submitted, done, values)
        except Exception as error:  # A mistake of ours: it is told in its place, and the others have their results.
            why = no_placement(f"the runtime failed ({type(error).__name__}: {error})")
            return not_done(submitted, done.at_us, why), ()

    def stages_of(self, before: Deployment) -> Collection[str] | None:
        """The stages of another deployment that are the same here; None: all."""
        return None if before is self else [name for name in before.keys if self.has(name, before)]

    def adapted(self, drift: Drift, frames: int = 1) -> Modes:
        """Modes, for so many frames, as long as they have turned out to be, at the power the profile gives them."""

        def adapted(stage: str, mode: Mode) -> Mode:
            factor = drift.factor_ppm((stage, mode.variant, mode.resource))
            if factor == ONE:
                return mode
            duration_us = max(1, mode.duration_us * factor // ONE)
            nj = energy_nj((mode.duration_us, mode.energy_nj), duration_us)
            return mode.model_copy(update={"duration_us": duration_us, "energy_nj": nj})

        return {name: tuple([adapted(name, mode) for mode in found]) for name, found in self.prices.of(frames).items()}

    def take_place(self, before: Deployment, dispatcher: Dispatcher) -> None:
        """Another gives way, while nothing happens: what hung there, or was slow, is so here where it is the same.

        Kernels that were abandoned since they were taken over are used no more. Limits of runs go by what was seen of
        modes that are the same, and by how long new ones took; new ones are in service, whatever had their names.
        """

        def known(mode: Any) -> bool:
            resource, stage, variant = mode
            return self.has_mode((stage, variant, resource), before)

        if self.kernels is not None and before.kernels is not None:
            self.kernels.take_place(before.kernels)
        if dispatcher.limits is not None:
            dispatcher.limits.change(known, self.warmed())
        dispatcher.health.change(known)
        if dispatcher.asking is not None:
            dispatcher.asking.keep(known)

    def give_way(self, after: Deployment) -> None:
        """Another has taken over: it is used for the frames that it has, and for no others."""
        if self.horizon is not None and after.horizon is not None:
            self.horizon.give_way(after.horizon)

    def take_over(self, before: Deployment) -> None:
        """Go on with what another has learned of what is the same here."""
        same = same_stages(before.merged, before.keys, self.merged, self.keys)
        # They are called the same (`called_as_before`).
        self.placer.take_over(before.placer, same_graphs(before.merged, self.merged, same), tuple(same))
        self.admission.take_over(before.admission)

    def wanted(self, graphs: tuple[str, ...]) -> tuple[TaskGraph, ...]:
        """The graphs of these names. From any thread."""
        found = self._wanted.get(graphs)
        if found is None:
            found = self._wanted[graphs] = tuple([self.graphs[name] for name in graphs])
        return found

    def has_had(self, graphs: tuple[object, ...]) -> bool:
        """Whether these are names of graphs that a frame had before, as `named_graphs` gives them. From any thread."""
        return {type(name) for name in graphs} == {str} and graphs in self._wanted

    def triggered(self, release_us: int) -> tuple[str, ...]:
        """The graphs whose period and offset alone make them run at that time. From any thread."""
        return tuple([name for name, runs_at in self._runs_at if runs_at(release_us)])

    def sources(self, graphs: Collection[str]) -> tuple[SourceWindow, ...]:
        """The windows that a frame of these graphs needs. From any thread.

        Raises `InputError` for a graph that is not there.
        """
        names = several_names(graphs, "graphs")
        return self.sources_of(named_graphs(self.merged.workload, names) if names else ())

    def candidates(self, together: Collection[str]) -> tuple[str, ...]:
        """The stages of these names, each once. Raises `InputError` where one of them may not be batched."""
        return require_candidates(self.merged, together, self.modes)

    def sources_of(self, graphs: tuple[str, ...]) -> tuple[SourceWindow, ...]:
        """As `sources`, of graphs that are there, each once and in the workload's order. From any thread."""
        found = self._sources.get(graphs)
        if found is None:
            found = self._sources[graphs] = tuple(
                source_window(stage, self.merged.workload)
                for stage in self.merged.stages
                if stage.bound.operator.is_source and any(graph in graphs for graph in stage.graphs)
            )
        return found


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Site:
    """A machine on which workloads are deployed, and how."""

    hardware: Hardware
    machine: Machine
    options: RuntimeOptions
    solver: FrameSolver
    lanes: Mapping[str, int] | None
    """Of every processor, in real time; None: time is virtual."""
    computes: bool = True
    """Whether values are computed; in real time they are."""
    device_times: tuple[str, ...] = ()
    """In virtual time, the processors whose kernels' own time is taken."""
    told: Told | None = None
    heard: TransferHeard | None = None
    """Is told what each transfer took that really went elsewhere."""

    @property
    def simulated(self) -> tuple[str, ...]:
        """The processors whose times and energies are a model's."""
        backends = self.machine.backends
        return tuple([name for name, one in backends.items() if self.lanes is None or is_simulated(one)])

    def deploy(self, merged: MergedWorkload, profile: Profile, before: Deployment | None = None) -> Deployment:
        """Make a workload ready to run: slow where there are kernels to load.

        Every kernel is loaded, and in real time run once for each lane; modes whose kernel fails then are left out. Of
        stages that are the same as `before`, which may run meanwhile, kernels and names are those of that. Raises
        `GraphError`, `ProfileError`, `DocumentError` for the file of its gates, and `KernelError` where a stage has no
        kernel that loads.
        """
        if self.lanes is not None:
            require_computed(merged)
        for graph in merged.workload.graphs:
            check_decision(graph, merged)
        options, hardware = self.options, self.hardware
        profile.contention.require([one.name for one in hardware.processors], profile.name, hardware.name)
        keys = stage_keys(merged)
        same: Mapping[str, str] = {}
        if before is not None:
            same = same_stages(before.merged, before.keys, merged, keys)
            named = called_as_before(before.merged, merged, same)
            keys = {new.name: keys[old.name] for old, new in zip(merged.stages, named.stages, strict=True)}
            merged = named
        supports = _asked_once(self._can_run)
        unbatched = self.device_times if self.lanes is None else tuple(self.lanes)
        prices = FramePrices(partial(price, merged, hardware, profile, supports), unbatched=unbatched)
        keeps = any(stage.bound.keeps_state for stage in merged.stages)
        steps = StepPrices(merged, hardware, profile) if keeps else None
        kernels = self._kernels(merged, prices, steps)
        loads = Usable({}, {})
        if kernels is not None and before is not None and before.kernels is not None:
            there = {key: name for name, key in before.keys.items()}
            alike = {name: there[key] for name, key in keys.items() if key in there}
            kernels.take_over(before.kernels, alike, tuple(same.values()))
        if kernels is not None and self.computes:
            loads = usable(prices.of(1), self._made_ready(kernels))
            prices.keep(loads.modes)
        modes, hurries = prices.of(1), self.lanes is not None
        planner, horizon = planners(
            merged, hardware, modes, self.solver, options, hurries, steps=steps, reads_gates=before is None
        )
        placer = Placer(
            hardware,
            planner,
            horizon,
            most_in_flight=options.max_in_flight,
            most_stages=options.stages_of_windows(),
        )
        if before is not None:
            placer.follow(before.placer)
        device_clocks = self.device_times if self.lanes is None else None
        return Deployment(
            merged,
            profile,
            prices,
            kernels,
            loads.left_out,
            Results(merged, prices, simulated=self.simulated, device_clocks=device_clocks),
            horizon,
            placer,
            Admission(merged, modes, placer),
            {graph.name: graph for graph in merged.workload.graphs},
            keys,
            tuple([stage.name for stage in merged.stages if stage.bound.operator.is_source]),
            tuple([(graph.name, runs_at(graph)) for graph in merged.workload.graphs if not graph.trigger.is_drawn]),
        )

    def _can_run(self, processor: str, stage: BoundStage, variant: str) -> bool:
        if self.lanes is None and (not self.computes or stage.operator.only_costs):
            return True
        return self.machine.supports(processor, stage, variant)

    def _made_ready(self, kernels: Kernels) -> Callable[[str, str, str], None]:
        """What makes a stage ready on a processor, by its name, that of the processor and the variant."""
        limit = self.options.run_limit
        if self.lanes is None:
            return kernels.load
        return kernels.warm if limit is None else partial(warm_within, kernels, limit.load_us)

    def _kernels(self, merged: MergedWorkload, prices: FramePrices, steps: StepPrices | None) -> Kernels | None:
        """In virtual time also what stands in for kernels, where gates are drawn or states are kept."""
        if not self.computes and not any(_goes_by_kernels(stage.bound) for stage in merged.stages):
            return None
        return Kernels(
            merged,
            self.machine.backends,
            prices,
            lanes=self.lanes,
            allow_nonfinite=self.options.allow_nonfinite,
            computes=self.computes,
            seed=self.options.seed,
            told=self.told,
            steps=steps,
            heard=self.heard,
        )


def _goes_by_kernels(stage: BoundStage) -> bool:
    """Whether what becomes of a run depends on it also where nothing is computed."""
    return stage.chance_ppm is not None or stage.keeps_state


def _asked_once(supports: Supports) -> Supports:
    """The first answers: prices of more frames are made later, behind the lock, and backends are not ours.

    For the stages of one merged workload, which outlives it.
    """
    answers: dict[tuple[str, int, str], bool] = {}

    def answer(processor: str, stage: BoundStage, variant: str) -> bool:
        key = (processor, id(stage), variant)
        if key not in answers:
            answers[key] = supports(processor, stage, variant)
        return answers[key]

    return answer

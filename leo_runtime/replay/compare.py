"""One recording on one machine, under one way of placing and then under others, in virtual and in real time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial

from leo_runtime import solver
from leo_runtime.backend import Backend
from leo_runtime.documents.faults import faults_of
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.profile import ONLY_COSTS, Profile
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.earlier_part import EarlierPart
from leo_runtime.replay.figures import Total
from leo_runtime.replay.known_frames import KnownFrames
from leo_runtime.replay.network import NetworkKnown, network_of
from leo_runtime.replay.replay import FrameSink, Replay, Span, Time, replay
from leo_runtime.replay.shared_kernels import SharedKernels
from leo_runtime.runtime.options import RuntimeOptions
from leo_runtime.runtime.planner import BATCH_NODES, Solver
from leo_runtime.runtime.planners import require_loading
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.windows import Planning
from leo_runtime.solver.event_policies import EVENT_POLICIES
from leo_runtime.solver.memory import MEMORY_NODES, solve_memory
from leo_runtime.solver.preferences import require_there
from leo_runtime.solver.reserve import memory_with_reserve, solve_with_reserve, window_with_reserve
from leo_runtime.solver.window import solve_window

POLICIES = ("cpu-only", "dsp-first", "gpu-first", "greedy")
"""The simpler policies that are set beside the solver's."""

LIVE_RESERVE_PERCENT = 50
"""Of every deadline, in real time: other programs run on this machine, too."""
MAX_NODES = 20_000
"""How long the exact solver may search for one frame: a bound in nodes gives the same answer at every run."""

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Shows how far something is, under that title; `ProgressBar` is one."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is replayed, on what."""

    workload: Workload
    hardware: Hardware
    profile: Profile
    recording: Recording
    span: Span
    changes: tuple[str, ...] = ()
    """What was changed of the documents before, in order: they are changed already."""


@dataclass(frozen=True, slots=True)
class Placing:
    """How frames are placed, and how long they then take in virtual time."""

    policy: str = "exact"
    reserve_percent: int | None = None
    """Of every deadline, kept free in plans; None: none in virtual time, `LIVE_RESERVE_PERCENT` in real time."""
    batch: int = 1
    solver_on: str | None = None
    """The processor that solving is charged to."""
    noise_ppm: int | None = None
    """The spread of durations in virtual time."""
    seed: int = 0
    window_stages: int | None = None
    """How many stages a window has at most; 0: each frame is placed as if it were alone, as batches are. None:
    `WINDOW_STAGES` with the policy `exact`, else 0."""
    network_known: NetworkKnown = "estimated"
    """What plans know in virtual time of links of which the recording tells: what was seen of them, or what they do."""
    limit_nodes: int | None = None
    """How far a named solver may search for a question; None: `MAX_NODES`, and `BATCH_NODES` of a batch."""

    @property
    def stages_of_windows(self) -> int:
        """How many stages a window has at most; 0: there are none."""
        if self.batch > 1:
            return 0
        return RuntimeOptions(solver=self.policy, window_stages=self.window_stages).stages_of_windows()

    def reserve_in(self, time: Time) -> int:
        """How much of every deadline is kept free in plans, in percent."""
        if self.reserve_percent is not None:
            return self.reserve_percent
        return LIVE_RESERVE_PERCENT if time == "real" else 0

    def solver(self, time: Time) -> Solver:
        """What answers a frame's question, or a window's; or the event-driven policy of that name."""
        if self.policy in EVENT_POLICIES:
            return EVENT_POLICIES[self.policy]
        reserve_percent = self.reserve_in(time)
        limit_nodes = self.limit_nodes
        if limit_nodes is None:
            limit_nodes = MAX_NODES if self.batch == 1 else BATCH_NODES
        policy, seed = self.policy, self.seed

        def answer(
            problem: Problem | WindowProblem | MemoryProblem, *, limit_ms: int | None = None
        ) -> Placement | WindowPlacement | MemoryPlacement:
            if isinstance(problem, WindowProblem):
                window = partial(solve_window, solver=policy, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)
                return window_with_reserve(problem, reserve_percent, window)
            if isinstance(problem, MemoryProblem):
                nodes = min(limit_nodes, MEMORY_NODES) if policy == "exact" else limit_nodes
                memory = partial(solve_memory, solver=policy, limit_nodes=nodes, seed=seed)
                return memory_with_reserve(problem, reserve_percent, memory)
            frame = partial(solver.solve, solver=policy, limit_nodes=limit_nodes, seed=seed)
            return solve_with_reserve(problem, reserve_percent, frame)

        return answer


def placing_on(placing: Placing, hardware: Hardware) -> Placing:
    """The same on a machine: without windows where weights are loaded, of which these know nothing.

    Raises `InputError` for windows or batches that were asked for there.
    """
    if not hardware.loaders:
        return placing
    for asked, what in ((placing.window_stages, "windows of"), (placing.batch > 1 and placing.batch, "batches of")):
        if asked:
            raise InputError(
                f"{what} {asked} know nothing of weights, which are loaded on `{hardware.name}`",
                hint="leave it out: frames are placed one by one there",
            )
    return replace(placing, window_stages=0)


def require_placing(placing: Placing, hardware: Hardware) -> None:
    """Raise `SolverError` for a policy that is not there, prefers what the machine has not, or answers no questions
    with weights where those are loaded, and `InputError` for what it has no use for."""
    name = placing.policy
    require_loading(name, hardware)
    if name in EVENT_POLICIES:
        require_as_it_runs(name, placing)
        return
    solver.named(name)
    require_there(name, hardware.name, [processor.name for processor in hardware.processors])
    if placing.limit_nodes is not None and name not in solver.COUNT_NODES:
        raise InputError(
            f"the solver `{name}` searches no nodes that could be limited, got a limit of {placing.limit_nodes}",
            hint=f"these do: {', '.join(solver.COUNT_NODES)}; give the limit with them alone"
            " (in a study: by an axis of choices)",
        )


def require_as_it_runs(name: str, placing: Placing) -> None:
    """Raise `InputError` for what an event-driven policy, which plans nothing, has no use for."""
    for what, given in (
        (f"a window of {placing.window_stages} stages", placing.window_stages),
        (f"a batch of {placing.batch}", placing.batch > 1),
        (f"a reserve of {placing.reserve_percent} %", placing.reserve_percent),
        (f"a limit of {placing.limit_nodes} nodes", placing.limit_nodes is not None),
    ):
        if given:
            raise InputError(
                f"{what} does nothing with the event-driven policy `{name}`",
                hint="it decides about each stage as that becomes ready, and plans and searches nothing: leave it out"
                " (in a study, give it to those that it is for: by an axis of choices)",
            )


def _computes(case: Case) -> bool:
    """Whether there is any stage that does more than cost: of others nothing is amiss where a backend is missing."""
    return any(stage.operator != ONLY_COSTS for graph in case.workload.graphs for stage in graph.stages)


@dataclass(frozen=True, slots=True)
class Compared:
    """A replay, what of its machine could not be used and why, and the totals of it and of other policies."""

    replayed: Replay
    missing: Mapping[str, str]
    """Processors that are not here."""
    left_out: Mapping[str, str]
    """Kernels that cannot be loaded, as "stage (variant) on processor"."""
    totals: tuple[Total, ...]
    not_held: Mapping[str, str] = field(default_factory=dict)
    """Processors that were to be kept awake, and what their backends said instead."""
    planning: Planning | None = None
    """How releases came to their plans; None: each was placed as if it were alone."""


def compare(
    case: Case,
    time: Time,
    placing: Placing,
    *,
    others: Sequence[str] | None = None,
    bar: Bar,
    sinks: Sequence[FrameSink] = (),
    known: KnownFrames | None = None,
    earlier: EarlierPart | None = None,
) -> Compared:
    """Replay a case, and other policies beside it: `others`, in the words of `beside`; none where that is empty.

    `known` tells of frames of an interrupted run, which is done again in virtual time: they are not computed. In real
    time it goes on after its `earlier` part. Raises what making a runtime raises.
    """
    placing = placing_on(placing, case.hardware)
    with bar(f"in {time} time") as progress, _runtime(case, time, placing, known) as runtime:
        replayed = _replay(runtime, case, time, placing, progress, sinks, known, earlier)
        missing = dict(runtime.missing) if _computes(case) else {}
        left_out = {
            f"{stage} ({variant}) on {resource}": why for (stage, resource, variant), why in runtime.left_out.items()
        }
        planning = runtime.planning if placing.stages_of_windows else None
        not_held = {name: f"{failed.last}, {failed.count} times" for name, failed in runtime.hold_failures.items()}
    totals = (replayed.total, *beside(case, time, placing, others, bar))
    return Compared(replayed, missing, left_out, totals, not_held, planning)


def beside(case: Case, time: Time, placing: Placing, policies: Sequence[str] | None, bar: Bar) -> tuple[Total, ...]:
    """These policies in virtual time, planned as in the time given; None: `POLICIES`, and the one that was replayed.

    The one that was replayed is set beside itself where that is something else: in virtual time beside real time, and
    frame by frame beside batches and windows. All others place frame by frame.
    """
    alone = replace(placing, window_stages=0)
    wanted = (placing.policy, *POLICIES) if policies is None else policies
    others = [replace(alone, policy=policy) for policy in dict.fromkeys(wanted) if policy != placing.policy]
    if placing.policy in wanted:
        ways = ((time == "real", placing), (placing.batch > 1, replace(placing, batch=1)))
        own = (*ways, (placing.stages_of_windows > 0, alone))
        others = [*(way for is_other, way in own if is_other), *others]
    if not others:
        return ()
    totals = []
    once = SharedKernels(case.hardware)
    try:
        for other in others:
            alike = other.policy != placing.policy or other == placing
            called = other.policy if alike else f"{other.policy}, frame by frame"
            with (
                bar(f"beside it, {called}") as progress,
                _simulated(case, other, other.solver(time), once.backends) as runtime,
            ):
                totals.append(replace(_replay(runtime, case, "virtual", other, progress).total, policy=called))
    finally:
        once.close()
    return tuple(totals)


def _runtime(case: Case, time: Time, placing: Placing, known: KnownFrames | None) -> Runtime:
    if time == "virtual":
        return _simulated(case, placing, placing.solver(time), None, known)
    return Runtime.live(
        case.workload,
        case.hardware,
        case.profile,
        solver=placing.solver(time),
        window_stages=placing.stages_of_windows,
        seed=placing.seed,
    )


def _simulated(
    case: Case,
    placing: Placing,
    solve: Solver,
    backends: Mapping[str, Backend] | None,
    known: KnownFrames | None = None,
) -> Runtime:
    return Runtime.simulated(
        case.workload,
        case.hardware,
        case.profile,
        solver=solve,
        window_stages=placing.stages_of_windows,
        backends=backends,
        noise=placing.noise_ppm,
        seed=placing.seed,
        told=None if known is None else known.told,
        faults=faults_of(case.changes, case.hardware, case.span.end_us - case.span.start_us, placing.seed),
        network=network_of(case.recording, case.hardware, case.span, placing.network_known),
    )


def _replay(
    runtime: Runtime,
    case: Case,
    time: Time,
    placing: Placing,
    progress: Progress,
    sinks: Sequence[FrameSink] = (),
    known: KnownFrames | None = None,
    earlier: EarlierPart | None = None,
) -> Replay:
    amended = known.amended if known is not None else earlier.renumbered if earlier is not None else None
    return replay(
        runtime,
        case.recording,
        case.span,
        policy=placing.policy,
        time=time,
        solver_on=placing.solver_on,
        batch=placing.batch,
        changes=case.changes,
        progress=progress,
        sinks=sinks,
        amended=amended,
        earlier=earlier,
    )

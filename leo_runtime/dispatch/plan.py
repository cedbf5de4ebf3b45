"""A placement made ready to be dispatched: what each stage waits for, who reads it, and where else it could run.

`leo_runtime.dispatch.window_plan` makes the plan of a window; all values here are of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from leo_runtime.documents.memory import MemoryProblem
from leo_runtime.documents.problem import AccuracyBudget, Link, Mode, Placement, Problem, Question, StageModes, StageRun
from leo_runtime.frame.batch import Job
from leo_runtime.frozen import dataclass

Use = tuple[str, str | None]
"""What occupies a resource: a stage's run, the sending of its output to a target, or a load (`load_use`)."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stage waits for: the outputs it reads, and gates of which one has to open."""

    reads: tuple[str, ...]
    gates: tuple[str, ...] = ()
    takes_absent: bool = False
    """It runs as long as one of its `reads` is there; otherwise it needs all."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every stage waited for, each once."""
        return tuple(dict.fromkeys((*self.reads, *self.gates)))


@dataclass(frozen=True, slots=True, eq=False)
class PlannedStage:
    """A stage of a plan with all that dispatching it takes."""

    run: StageRun
    mode: Mode
    needs: Needs
    waits: tuple[str, ...]
    """`needs.all`."""
    readers: tuple[str, ...]
    """The stages that wait for it."""
    release_us: int
    others: tuple[Mode, ...]
    """Its modes on other processors, the fastest first."""
    resource: str = field(init=False)
    """Of `run` and `mode`, as what follows: every frame reads it, and a document's own attributes take far longer."""
    lane: int = field(init=False)
    start_us: int = field(init=False)
    end_us: int = field(init=False)
    variant: str = field(init=False)
    duration_us: int = field(init=False)
    use: Use = field(init=False)

    def __post_init__(self) -> None:
        """Read what every frame reads."""
        object.__setattr__(self, "use", (self.run.stage, None))
        for of, names in (
            (self.run, ("resource", "lane", "start_us", "end_us")),
            (self.mode, ("variant", "duration_us")),
        ):
            for name in names:
                object.__setattr__(self, name, getattr(of, name))


@dataclass(frozen=True, slots=True)
class Wait:
    """Gates that something waits for, and how long it can afford to (`leo_runtime.dispatch.waits`)."""

    gates: tuple[str, ...]
    """It goes on as soon as one of them has opened, and is given up when all have closed."""
    due_us: int
    """When all of them are planned to have decided."""
    latest_us: int | None
    """When it has to go on without them, lest what hangs on it is late; None: no deadline hangs on it."""


@dataclass(frozen=True, slots=True)
class PlannedSend:
    """A transfer: when its sending is planned to start, and the gates it waits for."""

    stage: str
    target: str
    lane: int | None
    start_us: int
    wait: Wait | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PlannedSpan:
    """A time in which a resource is to be awake for the uses in it; it does not sleep between them."""

    resource: str
    from_us: int
    """When it begins: no earlier does its waking."""
    wakes: bool
    """It begins with waking, just in time for its first use; otherwise it is awake at 0."""
    uses: Mapping[Use, int]
    """What uses it, and when that is planned to start, in this order."""
    waits: Mapping[Use, Wait] = field(default_factory=dict)
    """For each use, the gates of which one must open before it is woken for it, and until when to *begin to wake*
    without; empty: it is woken whatever gates do."""
    held_until_us: int | None = None
    """The planned start of the use after these, where that is of a later release: it is held until then, or until the
    next question."""


@dataclass(frozen=True, slots=True)
class PlannedHold:
    """A resource that only later releases use, and that has to be awake, or woken, before the next question."""

    resource: str
    until_us: int
    """When it is first planned to be used: it is held until then, or until the next question."""
    wakes: bool = False
    """It sleeps and is woken at once: at the next question it would be too late."""


@dataclass(frozen=True, slots=True)
class PlannedStay:
    """Something that is in a memory for some stages, from when to when that is planned."""

    label: str
    """Of weights; empty: it is what all stages there work with."""
    target: str
    bytes: int
    from_us: int
    until_us: int
    stages: tuple[str, ...]
    lane: int | None = None
    """On which lane of its loader's resource it is loaded, from `from_us` on; None: it is not."""


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """What a plan has in memory."""

    stays: tuple[PlannedStay, ...]
    """Loads by their starts, then what is resident, then what stages work with."""
    bytes: Mapping[str, int]
    """Of every label of the question."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """What an event-driven policy may decide about a stage, and what hangs on it. Times are from the frame's release.

    What hangs on it goes by the fastest mode of each stage, and by no transfers.
    """

    modes: tuple[Mode, ...]
    due_us: int | None
    """The first deadline of it, and of all that needs it."""
    end_by_us: int | None
    """When it has to end for all of these deadlines to be met."""
    after_us: int
    """How long the longest path from its end to the end of the frame is."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A placement made ready to be dispatched, for any number of frames. Times are from the release of the frame."""

    placement: Placement
    stages: Mapping[str, PlannedStage]
    """Inputs before their readers."""
    sends: tuple[PlannedSend, ...]
    links: Mapping[tuple[str, str], Link]
    wake_us: Mapping[str, int]
    """How long each resource takes to wake up."""
    caps: Mapping[str, int]
    """Memory caps, by resource."""
    budgets: tuple[AccuracyBudget, ...]
    spans: tuple[PlannedSpan, ...]
    """In order, each resource's by their starts."""
    jobs: Mapping[str, Job]
    """What each of its stages computes, of one frame or of a batch."""
    holds: tuple[PlannedHold, ...] = ()
    linger_us: Mapping[str, int | None] = field(default_factory=dict)
    """How long each resource stays awake after its last use (None: it never sleeps), where the question says so."""
    memory: PlannedMemory | None = None
    """What it has in memory, where weights are loaded; None: the machine has no loaders."""
    undecided: Mapping[str, Undecided] = field(default_factory=dict)
    """Its stages, where an event-driven policy decides about each as it becomes ready: then nothing else is planned."""

    @property
    def uses(self) -> tuple[str, ...]:
        """The resources that something runs on or is sent over, each once."""
        return tuple(dict.fromkeys(span.resource for span in self.spans))


def load_use(number: int) -> Use:
    """A load of a frame as a use: no stage has an empty name."""
    return "", str(number)


def make_plan(
    problem: Problem | MemoryProblem,
    placement: Placement,
    needs: Mapping[str, Needs] | None = None,
    jobs: Mapping[str, Job] | None = None,
) -> Plan:
    """Make a placement ready: every resource it uses has one span, from 0 to its last use.

    `needs` of a stage says which of its inputs are gates; without, all are read. The placement must be valid for the
    problem (`leo_runtime.check`). Raises `KeyError` where a stage is not placed.
    """
    runs = {run.stage: run for run in placement.stages}
    links = {(link.source, link.target): link for link in problem.links}
    stages = planned_stages(problem.stages, runs, {s.name: (needs or {}).get(s.name) for s in problem.stages})
    starts: dict[str, dict[Use, int]] = {}
    for run in placement.stages:
        starts.setdefault(run.resource, {})[run.stage, None] = run.start_us
    for send in placement.transfers:
        if (radio := links[send.source, send.target].resource) is not None:
            starts.setdefault(radio, {})[send.stage, send.target] = send.start_us
    spans = tuple(
        PlannedSpan(r.name, 0, wakes=False, uses=in_time(starts[r.name])) for r in problem.resources if r.name in starts
    )
    return Plan(
        placement=placement,
        stages=stages,
        sends=tuple(PlannedSend(send.stage, send.target, send.lane, send.start_us) for send in placement.transfers),
        links=links,
        wake_us=wake_latencies_us(problem),
        caps=memory_caps(problem),
        budgets=problem.accuracy_budgets,
        spans=spans,
        jobs={name: Job(name, (0,)) for name in stages} if jobs is None else jobs,
    )


def planned_stages(
    stages: Iterable[StageModes], runs: Mapping[str, StageRun], needs: Mapping[str, Needs | None]
) -> dict[str, PlannedStage]:
    """What dispatching each stage takes, in the order of their planned starts; `needs` None: all inputs are read."""
    stages = tuple(stages)
    readers: dict[str, list[str]] = {stage.name: [] for stage in stages}
    for stage in stages:
        for name in stage.inputs:
            if name in readers:
                readers[name].append(stage.name)
    planned: dict[str, PlannedStage] = {}
    for stage in sorted(stages, key=lambda stage: runs[stage.name].start_us):
        run = runs[stage.name]
        known = needs[stage.name] or Needs(stage.inputs)
        others = sorted(
            (mode for mode in stage.modes if mode.resource != run.resource),
            key=lambda mode: (mode.duration_us, mode.energy_nj, mode.accuracy_loss_ppm, mode.resource, mode.variant),
        )
        planned[stage.name] = PlannedStage(
            run=run,
            mode=next(mode for mode in stage.modes if (mode.resource, mode.variant) == (run.resource, run.variant)),
            needs=known,
            waits=known.all,
            readers=tuple(readers[stage.name]),
            release_us=stage.release_us,
            others=tuple(others),
        )
    return planned


def wake_latencies_us(problem: Question) -> dict[str, int]:
    """How long each resource takes to wake up."""
    return {resource.name: resource.wake_latency_us for resource in problem.resources}


def memory_caps(problem: Question) -> dict[str, int]:
    """The bytes that each resource can hold, where that is limited."""
    return {r.name: r.memory_bytes for r in problem.resources if r.memory_bytes is not None}


def in_time(starts: Mapping[Use, int]) -> dict[Use, int]:
    """Uses in the order of their starts."""
    return dict(sorted(starts.items(), key=lambda item: item[1]))

"""What really happened to a frame, beside what was expected of it. Times are microseconds since the run began."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
    from leo_runtime.documents.problem import Placement, Problem
    from leo_runtime.documents.window import WindowPlacement, WindowProblem
    from leo_runtime.frame.batch import Job

Outcome = Literal["done", "cancelled", "failed"]
"""`cancelled`: a gate closed, so there was nothing to do."""


@dataclass(frozen=True, slots=True)
class StateUse:
    """How a run of a stage that keeps state came to it; of a batch, all its frames together."""

    fresh: int
    """How many entries of its first input were new to it; all that it sees, where it started anew."""
    anew: str = ""
    """Why it started anew (`leo_runtime.runtime.states.Anew`); empty: it went on from what it had kept."""
    home: str | None = None
    """The processor where that was; None: there was nothing to go on from."""
    moved_nj: int = 0
    """What it takes to have it from there."""


@dataclass(frozen=True, slots=True)
class StageObservation:
    """One stage of one frame."""

    frame: int
    stage: str
    resource: str
    variant: str
    lane: int
    outcome: Outcome
    planned_start_us: int
    planned_end_us: int
    start_us: int
    end_us: int
    expected_us: int
    expected_nj: int
    device_us: int | None
    """What the device itself measured, where it has a clock of its own."""
    nj: int
    energy_from: Literal["measured", "modelled"]
    error: str = ""
    """Why it failed; of a run of a whole batch also where it failed for some of its frames alone."""
    opened: bool | None = None
    """Of a gate that has run: what it decided."""
    state: StateUse | None = None
    """Of a stage that keeps state, where it ran to its end."""


@dataclass(frozen=True, slots=True)
class TransferObservation:
    """One sending of a stage's output to another processor."""

    frame: int
    stage: str
    source: str
    target: str
    lane: int | None
    planned_start_us: int
    start_us: int
    arrive_us: int
    nj: int
    resource: str | None = None
    """The radio (or what else the link names) that sent it, until `sent_us`."""
    sent_us: int = 0
    error: str = ""
    """Why it was lost, and never there; `arrive_us` is then when that was known, `nj` what of it was sent."""


@dataclass(frozen=True, slots=True)
class LoadObservation:
    """One loading of weights into the memory of a processor."""

    frame: int
    label: str
    target: str
    resource: str
    """What they were loaded from, of which a lane was occupied until `loaded_us`."""
    lane: int
    bytes: int
    planned_start_us: int
    start_us: int
    loaded_us: int
    arrive_us: int
    nj: int
    stages: tuple[str, ...]
    """Those of the frame that it was meant to serve."""


@dataclass(frozen=True, slots=True)
class EvictionObservation:
    """Weights that nobody needed then made room in a memory for something of the frame."""

    frame: int
    resource: str
    label: str
    at_us: int


@dataclass(frozen=True, slots=True)
class WakeObservation:
    """A sleeping processor or radio was woken for a frame."""

    frame: int
    resource: str
    at_us: int


@dataclass(frozen=True, slots=True)
class SpanObservation:
    """A time in which a processor or radio was kept awake for a frame of a window."""

    frame: int
    resource: str
    from_us: int
    until_us: int
    used_us: int
    """When its last use ended, which may be before: lingering counts from there. What has lingered sleeps at once."""
    held_until_us: int | None = None
    """It is held until then, or until another frame is admitted, whichever is first."""


@dataclass(frozen=True, slots=True)
class GraphResult:
    """What one task graph answered in one frame."""

    graph: str
    frame: int
    release_us: int
    deadline_us: int
    """On the run's clock, not relative to the release."""
    end_us: int
    """When its last output was there, or when the last gate that closed had decided."""
    outcome: Outcome
    label: str | None
    """The decision, None where there is none to take or nothing was found."""
    outputs: Mapping[str, np.ndarray] = field(compare=False)
    """By stage, of those that no other reads or has as its gate, of the one that decides, and of exits. They are
    read-only, since results share them: copy what is to be changed."""
    number: int = 0
    """Of the frame in its batch, from 0."""
    gap_us: int = 0
    """For how long of a window that it read nothing was recorded, and zeros stood there: of the worst of its windows. A
    replay knows, by its recording, and a runtime that is fed; who submits frames to a runtime knows himself."""
    exit: str = ""
    """The stage that answered in place of those that come after it (`TaskGraph.exits`); empty: all that is due did."""

    @property
    def missed(self) -> bool:
        """Whether the answer came after its deadline, or never."""
        return self.outcome == "failed" or self.end_us > self.deadline_us

    @property
    def latency_us(self) -> int:
        """From the release of the frame to the answer."""
        return self.end_us - self.release_us


@dataclass(frozen=True, slots=True)
class Solved:
    """A question, and its answer, which keeps the question's rules. Times are from the release at hand."""

    question: Problem | WindowProblem | MemoryProblem
    answer: Placement | WindowPlacement | MemoryPlacement
    """Its `solve_us` is 0."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """One frame, or one batch of frames: what was planned, and what became of it.

    A batch is released with the last of its frames, and has the results of each frame's graphs.
    """

    frame: int
    release_us: int
    placement: Placement
    stages: tuple[StageObservation, ...]
    transfers: tuple[TransferObservation, ...]
    graphs: tuple[GraphResult, ...]
    wakes: tuple[WakeObservation, ...] = ()
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """What each run computes, by the name it has in `placement` and `stages`; in a batch that says of which frames."""
    skipped: bool = False
    """Whether nothing of it ran because there was too much to do."""
    spans: tuple[SpanObservation, ...] | None = None
    """Who was kept awake for it, in the order in which that ended; None: it was never placed in a window,
    neither at first nor again with a later frame."""
    waits_given_up: int = 0
    """Transfers and wake-ups that were planned to wait for a gate, and could not without being late."""
    admitted_us: int | None = None
    """When it began, where it was submitted after its release; None: with that."""
    solved: Solved | None = field(default=None, compare=False)
    """What was asked for it, and answered: the frame, the batch, or the window of which `placement` is a part. Frames
    of one plan have the same object. None: it was not placed, or an event-driven policy decided as it ran. What waited
    of it may have been placed again since, with a later frame's window."""

    shed: tuple[str, ...] = ()
    """The graphs of it that were left out for what weighs more, since not everything fitted; the others ran. All of
    them where it is `skipped` for that."""
    loads: tuple[LoadObservation, ...] = ()
    """Weights that were loaded for it; none where they were there still, or the machine has no loaders."""
    evicted: tuple[EvictionObservation, ...] = ()
    unplaced: Mapping[str, str] = field(default_factory=dict)
    """The graphs of it that could run on nothing that was left, each with the reason; the others were placed."""

    @property
    def let_in(self) -> tuple[str, ...]:
        """The graphs of it that were not left out, for whatever reason."""
        out = (*self.shed, *self.unplaced)
        return tuple(dict.fromkeys([one.graph for one in self.graphs if one.graph not in out]))

    def with_gaps(self, gaps_us: Mapping[str, int]) -> FrameResult:
        """The same, with how much of each graph's windows was not recorded."""
        if not gaps_us:
            return self
        return replace(self, graphs=tuple([replace(one, gap_us=gaps_us.get(one.graph, 0)) for one in self.graphs]))

    @property
    def reason(self) -> str:
        """Why a graph of it failed: it was not placed, or else the first stage that failed says so. Empty if none.

        Of one graph `reason_of` says it.
        """
        if all(graph.outcome != "failed" for graph in self.graphs):
            return ""
        failed = next((run.error for run in self.stages if run.outcome == "failed"), "")
        left_out = [*self.unplaced.values(), *([shed_reason(self.shed)] if self.shed else ())]
        return self.placement.reason or failed or "; ".join(left_out)


class Told(Protocol):
    """A frame, or what a log has of it."""

    @property
    def shed(self) -> tuple[str, ...]:
        """The graphs that were left out for what weighs more."""
        ...

    @property
    def unplaced(self) -> Mapping[str, str]:
        """The graphs that could run on nothing that was left, each with the reason."""
        ...

    @property
    def reason(self) -> str:
        """Why a graph failed."""
        ...


def reason_of(frame: Told, graph: str) -> str:
    """Why this graph of a frame failed: who was left out has a reason of its own, whatever became of the others."""
    if graph in frame.shed:
        return shed_reason(frame.shed)
    return frame.unplaced.get(graph, frame.reason)


def shed_reason(graphs: Collection[str]) -> str:
    """Why these graphs were left out; empty where there are none."""
    named = ", ".join([f"`{name}`" for name in graphs])
    return f"shed: {named} made room for what weighs more" if graphs else ""

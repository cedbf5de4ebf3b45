"""What the dispatcher is told (events) and what it says (instructions). Times are on the run's clock."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leo_runtime.dispatch.plan import Plan
    from leo_runtime.documents.problem import Mode
    from leo_runtime.frame.records import Outcome, StateUse

Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True)
def value(kind: type[Kind]) -> type[Kind]:
    """A dataclass with slots that nobody changes. Type checkers hold it to that, not Python.

    A run makes millions of these, and Python would take six times as long for each.
    """
    return dataclass(slots=True)(kind)


# Events: what happened. `at_us` is on the run's clock.


@value
class Exit:
    """From then on nobody waits for stages of a frame, if another one has answered in their place."""

    at_us: int
    answers: tuple[str, ...]
    gives_up: tuple[str, ...]


@value
class FrameAdmitted:
    """A frame is to run by a plan whose time 0 is `release_us`."""

    at_us: int
    frame: int
    release_us: int
    plan: Plan
    asleep: tuple[str, ...] = ()
    """Resources that sleep now; those the plan uses are woken just in time."""
    give_up_us: int | None = None
    """Where nothing of it has started by then, it is dropped: too late to be of use."""
    again: tuple[tuple[int, Plan], ...] = ()
    """Earlier frames, by number, whose waiting stages are placed again: plans of these stages under the names and in
    the time of their frame. What is not in such a plan, or has started, goes on as before."""
    exits: tuple[Exit, ...] = ()
    due_us: Mapping[str, int] = field(default_factory=dict)
    """When stages are due, from the release: until then servers are waited for, and not beyond."""


@value
class RunReport:
    """What a run of a stage told of itself, besides its output."""

    opened: bool = True
    """The decision of a gate; True of any other stage."""
    absent_for: frozenset[str] = frozenset()
    """In a batch: stages that find none of its output, as the gates of their frames are closed."""
    started_us: int | None = None
    """When its kernel began, where that is known better than by its instruction."""
    device_us: int | None = None
    """What the device itself measured, where it has a clock of its own."""
    device_nj: int | None = None
    frames: int | None = None
    """Of how many frames of its batch it was, where those are fewer than planned."""
    expected_us: int | None = None
    """How long it should have taken then."""
    error: str = ""
    """Why it failed for some frames of a batch."""
    state: StateUse | None = None
    """Of a stage that keeps state, how it came to that."""


@value
class StageEnded:
    """A stage ran to its end."""

    at_us: int
    frame: int
    stage: str
    attempt: int
    report: RunReport = field(default_factory=RunReport)


@value
class StageFailed:
    """A stage stopped with an error."""

    at_us: int
    frame: int
    stage: str
    attempt: int
    error: str
    started_us: int | None = None


@value
class SendEnded:
    """The sending of an output is over: its lane is free."""

    at_us: int
    frame: int
    stage: str
    target: str
    number: int | None = None
    """That of its instruction; None: of the last one of that output to that target, as of what follows."""


@value
class Arrived:
    """An output is there, on `target`."""

    at_us: int
    frame: int
    stage: str
    target: str
    number: int | None = None


@value
class SendFailed:
    """An output will not be there: its sending broke off, or what it was sent to did not take it."""

    at_us: int
    frame: int
    stage: str
    target: str
    error: str
    number: int | None = None


@value
class LoadEnded:
    """Weights have left what they are loaded from: its lane is free."""

    at_us: int
    frame: int
    load: int
    """Its number in the frame."""


@value
class LoadArrived:
    """Weights are there."""

    at_us: int
    frame: int
    load: int


@value
class ResourceWoken:
    """A resource is awake."""

    at_us: int
    resource: str


@value
class ProcessorLost:
    """A processor is gone, with what it is running."""

    at_us: int
    resource: str
    error: str = ""
    """How that was noticed."""
    by_itself: bool = False
    """Nobody said so: it is probed until it is back."""


@value
class ProcessorFound:
    """A lost processor is back."""

    at_us: int
    resource: str


@value
class LinkLost:
    """A link is down, and what is under way over it is lost."""

    at_us: int
    source: str
    target: str
    error: str = ""
    """How that was noticed."""


@value
class LinkFound:
    """A link is back. One that was down several times is not used again at once (`links`)."""

    at_us: int
    source: str
    target: str


@value
class StageOverdue:
    """A run has not ended within its limit."""

    at_us: int
    frame: int
    stage: str
    attempt: int
    limit_us: int


@value
class LaneRenewed:
    """A lane whose run is abandoned can run others again."""

    at_us: int
    resource: str
    lane: int


@value
class ProbeEnded:
    """What was out of service was tried."""

    at_us: int
    resource: str
    stage: str
    variant: str
    number: int
    """Of the probe."""
    error: str = ""
    """Why it is not back; empty: it is."""


@value
class FrameDropped:
    """A frame is given up: what of it is not over fails."""

    at_us: int
    frame: int
    error: str
    """Why."""


@value
class TimePassed:
    """It is now `at_us`: the answer to `Remind`."""

    at_us: int


Event = (
    FrameAdmitted
    | StageEnded
    | StageFailed
    | SendEnded
    | Arrived
    | SendFailed
    | LoadEnded
    | LoadArrived
    | ResourceWoken
    | ProcessorLost
    | ProcessorFound
    | LinkLost
    | LinkFound
    | StageOverdue
    | LaneRenewed
    | ProbeEnded
    | FrameDropped
    | TimePassed
)

# Instructions: what the driver has to do.


@value
class RunStage:
    """Run a stage now; answer with `StageEnded` or `StageFailed` of the same attempt.

    Where that takes longer than `limit_us`, answer before with `StageOverdue`.
    """

    frame: int
    stage: str
    resource: str
    variant: str
    lane: int
    attempt: int
    expected_us: int
    limit_us: int | None = None
    """None: it may take as long as it does."""


@value
class SendOutput:
    """Send an output now; answer with `SendEnded`, then `Arrived`, or with `SendFailed`, of the same number."""

    frame: int
    stage: str
    source: str
    target: str
    resource: str | None
    lane: int | None
    sending_us: int
    latency_us: int
    bytes: int = 0
    number: int = 0
    """Of this sending, in its frame: an output may be sent again."""
    limit_us: int | None = None
    """None: it may take as long as it does."""


@value
class LoadWeights:
    """Load weights now, in place of those that are `evicted`; answer with `LoadEnded`, then `LoadArrived`."""

    frame: int
    load: int
    label: str
    target: str
    resource: str
    lane: int
    bytes: int
    loading_us: int
    latency_us: int
    evicted: tuple[str, ...]


@value
class Wake:
    """Wake a resource; answer with `ResourceWoken`."""

    frame: int
    resource: str
    latency_us: int


@value
class Hold:
    """Keep a resource awake until `Release`, also past its idle timeout."""

    resource: str


@value
class Release:
    """A resource that was held may sleep when it has nothing to do."""

    resource: str


@value
class Remind:
    """Answer with `TimePassed` at that time."""

    at_us: int


@value
class CancelStage:
    """Stop a running stage if that is possible. Its end is still to be told: its lane is occupied until then, or until
    it is overdue.
    """

    frame: int
    stage: str
    resource: str
    lane: int
    attempt: int


@value
class CancelSend:
    """Break off a transfer if that is possible. Its end is still to be told: its lane is occupied until then."""

    frame: int
    stage: str
    target: str
    number: int


@value
class RenewLane:
    """Let a lane run others although a kernel hangs there, and never call that kernel again; answer with `LaneRenewed`.

    The end of what hangs is still to be told, should it come.
    """

    resource: str
    lane: int
    stage: str
    """Whose kernel it is: a stage of the workload, not of a batch."""
    variant: str


@value
class Probe:
    """Try at that time what is out of service: a mode, or, without a stage, a processor; answer with `ProbeEnded`."""

    at_us: int
    resource: str
    stage: str
    variant: str
    number: int


@value
class StageRecord:
    """What became of a stage, or of one attempt at it."""

    stage: str
    resource: str
    variant: str
    lane: int
    attempt: int
    outcome: Outcome
    mode: Mode
    planned_start_us: int
    planned_end_us: int
    start_us: int
    end_us: int
    error: str
    report: RunReport | None
    """What the run told; None where it did not come to its end."""


@value
class SendRecord:
    """What became of a transfer."""

    stage: str
    source: str
    target: str
    resource: str | None
    lane: int | None
    planned_start_us: int
    start_us: int
    sent_us: int
    arrive_us: int
    """When it was there, or was lost."""
    nj: int
    error: str = ""
    """Why it was lost; empty: it was not."""


@value
class LoadRecord:
    """What became of a load that began."""

    label: str
    target: str
    resource: str
    lane: int
    bytes: int
    planned_start_us: int
    start_us: int
    loaded_us: int
    """When it left the resource, or would have."""
    arrive_us: int
    nj: int
    stages: tuple[str, ...]
    """Those that it was meant to serve."""


@value
class EvictionRecord:
    """A label that made room for something of the frame."""

    resource: str
    label: str
    at_us: int


@value
class SpanRecord:
    """A time in which a resource was kept awake for a frame."""

    resource: str
    from_us: int
    until_us: int
    used_us: int
    """When its last use ended, which may be before: lingering counts from there. What has lingered sleeps at once."""
    held_until_us: int | None = None
    """It is held until then, or until another frame is admitted, whichever is first."""


@value
class FrameDone:
    """Nothing of the frame is left to do."""

    frame: int
    at_us: int
    skipped: bool
    """It was dropped before anything of it had started."""
    stages: tuple[StageRecord, ...]
    sends: tuple[SendRecord, ...]
    wakes: tuple[tuple[str, int], ...]
    """The resources that were woken for it, and when."""
    spans: tuple[SpanRecord, ...] | None = None
    """Of the plan of a window, who was kept awake for it, in the order of their ends; None: it never had one."""
    waits_given_up: int = 0
    """Transfers and wake-ups that could wait for their gates no longer."""
    admitted_us: int | None = None
    """When it was admitted, which ended the holds of frames before it."""
    loads: tuple[LoadRecord, ...] = ()
    evicted: tuple[EvictionRecord, ...] = ()


Instruction = (
    RunStage
    | SendOutput
    | LoadWeights
    | Wake
    | Hold
    | Release
    | Remind
    | CancelStage
    | CancelSend
    | RenewLane
    | Probe
    | FrameDone
)

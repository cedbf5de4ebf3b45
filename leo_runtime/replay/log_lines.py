"""The lines of a run's log, `leo-log/2`: one JSON object a line, of which `kind` says what it is.

The first is the run, the last the end of a run that is whole. Times are microseconds since the run began (its
`start_us` in the recording), energy is in nanojoules. What each frame says its runs, transfers and loads cost
(`nj`), and what the lines of kind `energy` say, are together all that the run used, each nanojoule once.

`leo-log/1`, as earlier versions wrote it, has models of its own at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, RootModel

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Criteria, Placement, Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.entries import Cause
from leo_runtime.frame.records import Outcome
from leo_runtime.replay.network import NetworkKnown
from leo_runtime.runtime.link_watch import LinkKnown
from leo_runtime.schema import Document, Name, Positive, Quantity, Value

Count = Annotated[int, Field(ge=0, le=4 * 10**18)]
"""Of anything: it also fits into 64 bits when two are taken from each other."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""The first 16 hexadecimal digits of the SHA-256 of what it stands for."""


class RecordingGiven(Value):
    """The recording that was replayed."""

    name: str
    """As its manifest calls it."""
    given: str
    """As it was named on the command line, or to the library."""
    digest: Digest
    """Of its manifest: streams, links, labels."""
    samples: Digest | None = None
    """Of what was recorded of the workload's streams: of long ones, of parts of it."""


class RunLine(Document):
    """The first line: what was run. Whoever has the recording and the models can run it again."""

    format: Literal["leo-log/2"]
    kind: Literal["run"]
    version: str
    """Of leo-runtime."""
    policy: Name
    """Who placed the frames."""
    time: Literal["virtual", "real"]
    seed: int
    noise_ppm: Quantity | None
    """The spread of durations in virtual time."""
    reserve_percent: Quantity | None
    """Of every deadline, kept free in plans; null: none in virtual time, and what replays have in real time."""
    window_stages: Quantity
    """How many stages a window has at most; 0: every frame was placed as if it were alone."""
    batch: Positive
    """How many frames were collected and placed as one."""
    charge_solver: Name | None = None
    """The processor whose power is charged for solving."""
    questions: bool = True
    """Whether the questions of frames are in the log."""
    network_known: NetworkKnown | None = None
    """In virtual time, what plans know of links of which the recording tells; null: it tells of none, or plans were
    told of what they did as each frame was released, and that was charged, as by earlier versions."""
    changes: tuple[str, ...] = ()
    """To the machine and the workload, as they were given: the documents below have them already."""
    recording: RecordingGiven
    models: Mapping[Name, Digest] = {}
    """Of the files that stages read, by path."""
    start_us: Quantity
    """Where in the recording the run begins: 0 on the run's clock."""
    end_us: Quantity
    """Where in the recording it ends."""
    workload: Workload
    hardware: Hardware
    profile: Profile


class QuestionLine(Document):
    """What was asked for one or more frames, and what was answered, before the first frame that uses it.

    Times in it are relative to the frame's release. One of a digest may come again: it is the same.
    """

    kind: Literal["question"]
    question: Digest
    """Of the question and its answer."""
    problem: Annotated[Problem | WindowProblem | MemoryProblem, Field(discriminator="format")]
    placement: Annotated[Placement | WindowPlacement | MemoryPlacement, Field(discriminator="format")]


class GraphSeen(Value):
    """What one task graph answered in one frame."""

    graph: Name
    release_us: Count
    outcome: Outcome
    """`cancelled`: a gate closed, so there was nothing to do."""
    label: str | None
    """The decision; null where there is none to take or nothing was found."""
    end_us: Count
    deadline_us: int
    """On the run's clock, not relative to the release."""
    gap_us: Count = 0
    """Of the worst of the windows that it read, how much was not recorded."""
    exit: str = ""
    """The stage that answered in place of those that come after it; empty: all that is due did."""


class GraphLine(GraphSeen):
    """The same, with its place in a batch."""

    number: Count = 0
    """Of the frame in its batch, from 0."""


class StateUsed(Value):
    """How a run of a stage that keeps state came to it."""

    fresh: Count
    """How many entries of its first input were new to it; all that it sees, where it started anew."""
    anew: str = ""
    """Why it started anew, in a word; empty: it went on from what it had kept."""
    home: Name | None = None
    """The processor where that was; null: there was nothing to go on from."""
    moved_nj: Count = 0
    """What it took to have it from there, which is in the run's energy."""


class StageSeen(Value):
    """One run of a stage: what was planned, and what came of it."""

    stage: Name
    resource: Name
    variant: Name
    lane: Count
    outcome: Outcome
    planned_start_us: int
    planned_end_us: int
    start_us: Count
    end_us: Count
    expected_us: Count
    """By the profile."""
    expected_nj: Count
    device_us: Count | None = None
    """What the device itself measured, where it has a clock of its own."""
    nj: Count
    energy_from: Literal["measured", "modelled"]
    error: str = ""
    """Why it failed; of a run of a whole batch also where it failed for some of its frames alone."""


class StageLine(StageSeen):
    """The same, with who asked for it."""

    of: Name | None = None
    """In a batch: the stage of the workload that it is. Else it has that name itself."""
    graphs: tuple[Name, ...]
    """Those of the frame that asked for it: its energy is shared out among them."""
    opened: bool | None = None
    """Of a gate that has run: what it decided."""
    state: StateUsed | None = None
    """Of a stage that keeps state, where it ran to its end."""


class TransferSeen(Value):
    """One sending of a stage's output to another processor."""

    stage: Name
    source: Name
    target: Name
    resource: Name | None = None
    """The radio (or what else the link names) that sent it, until `sent_us`."""
    lane: Count | None = None
    planned_start_us: int
    start_us: Count
    sent_us: Count
    arrive_us: Count
    nj: Count
    error: str = ""
    """Why it was lost: it was never there, and `arrive_us` is when that was known."""


class TransferLine(TransferSeen):
    """The same, with who asked for it."""

    of: Name | None = None
    """As of a stage's run."""
    graphs: tuple[Name, ...]


class LoadLine(Value):
    """One loading of weights into the memory of a processor."""

    label: Name
    target: Name
    resource: Name
    """What they were loaded from, of which a lane was occupied until `loaded_us`."""
    lane: Count
    bytes: Count
    planned_start_us: int
    start_us: Count
    loaded_us: Count
    arrive_us: Count
    nj: Count
    stages: tuple[Name, ...]
    """Those of the frame that it was meant to serve."""
    graphs: tuple[Name, ...]
    """Those that asked for these."""


class EvictionLine(Value):
    """Weights that nobody needed then made room in a memory for something of the frame."""

    resource: Name
    label: Name
    at_us: Count


class WakeLine(Value):
    """A sleeping processor or radio was woken."""

    resource: Name
    at_us: Count


class SpanLine(Value):
    """A time in which a processor or radio was kept awake for a frame of a window."""

    resource: Name
    from_us: int
    until_us: int
    used_us: int
    """When its last use ended."""
    held_until_us: int | None = None
    """It is held until then, or until another frame is admitted, whichever is first."""


class FrameLine(Document):
    """One frame, or one batch of frames, that has ended."""

    kind: Literal["frame"]
    frame: Count
    release_us: Count
    admitted_us: Count | None = None
    """When it began, where it was submitted after its release."""
    question: Digest | None = None
    """The line that holds what was asked; none where nothing was, or questions were left out."""
    status: Literal["optimal", "feasible", "infeasible", "unplaced"]
    """`unplaced`: there was no answer to it. `infeasible`: it was proved that there is none."""
    skipped: bool = False
    """Nothing of it ran, since there was too much to do."""
    shed: tuple[str, ...] = ()
    """The graphs of it that were left out for what weighs more; left out where there are none."""
    unplaced: Mapping[Name, str] = {}
    """The graphs of it that could run on nothing that was left, each with the reason; left out where there are none."""
    reason: str = ""
    """Why something of it failed."""
    criteria: Criteria | None
    """What its placement was worth."""
    waits_given_up: Count = 0
    """Transfers and wake-ups that were planned to wait for a gate, and could not without being late."""
    graphs: tuple[GraphLine, ...]
    stages: tuple[StageLine, ...]
    transfers: tuple[TransferLine, ...]
    loads: tuple[LoadLine, ...] = ()
    """Weights that were loaded for it; left out where there are none."""
    evicted: tuple[EvictionLine, ...] = ()
    wakes: tuple[WakeLine, ...]
    spans: tuple[SpanLine, ...] | None = None
    """Who was kept awake for it; left out where it was planned as if it were alone."""
    settled_us: Count | None = None
    """In real time: no frame with a line below was released before. It says what of the energy was final by then."""


class EntryLine(Value):
    """Some energy, drawn evenly from `at_us` to `until_us`; where they are equal, at once."""

    cause: Cause
    resource: Name
    at_us: int
    until_us: int
    nj: Count
    frame: int | None = None
    """Left out where it belongs to none."""
    graphs: tuple[Name, ...]
    """It is shared out evenly among them, and what does not divide goes to the first; none: it belongs to no graph."""


class EnergyLine(Document):
    """Energy that is now final: all but runs and transfers, which their frames tell of."""

    kind: Literal["energy"]
    entries: tuple[EntryLine, ...]


class ResumedLine(Document):
    """In real time: the run was interrupted, and went on here."""

    kind: Literal["resumed"]
    version: str
    at_us: Count
    """Where on the run's clock it goes on."""
    lost: Count = 0
    """How many of the frames that were released before, from the run's beginning on, have no line."""


class EndLine(Document):
    """The last line of a run that is whole: without it the run was interrupted."""

    kind: Literal["end"]
    frames: Count
    end_us: Count
    """When the last of it was over: at the earliest the end of the recording's part."""
    nj: Count
    """All that it used."""
    links: tuple[LinkKnown, ...] = ()
    """What was known of each link that was watched and used, and how good that was."""


Line = RunLine | QuestionLine | FrameLine | EnergyLine | ResumedLine | EndLine


class LogLine(RootModel[Annotated[Line, Field(discriminator="kind")]]):
    """Any line of a log, `leo-log/2`."""


class RunLine1(Document):
    """The first line of `leo-log/1`."""

    format: Literal["leo-log/1"]
    policy: Name
    time: Literal["virtual", "real"]
    workload: Name
    """These are names: the documents were not written down."""
    hardware: Name
    profile: Name
    recording: str
    start_us: Quantity
    end_us: Quantity
    solver_on: Name | None = None
    batch: Positive = 1


class FrameLine1(Document):
    """Any other line of `leo-log/1`: a frame that has ended."""

    frame: Count
    release_us: Count
    status: Literal["optimal", "feasible", "infeasible", "unplaced"]
    reason: str = ""
    criteria: Criteria | None
    solve_us: Count = 0
    """Where solving was charged."""
    solver_nj: Count = 0
    graphs: tuple[GraphSeen, ...]
    stages: tuple[StageSeen, ...]
    transfers: tuple[TransferSeen, ...]

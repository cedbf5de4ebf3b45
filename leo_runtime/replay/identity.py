"""Which run a replay is: what of which recording was run through what, on what, and how; and what it came to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.errors import RecordingError
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.figures import Summary, Time, Total
from leo_runtime.values import lasting_us


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a recording that is replayed. The run's clock starts at its start."""

    start_us: int
    end_us: int

    @classmethod
    def of(
        cls,
        recording: Recording,
        start_us: int = 0,
        length_us: int | None = None,
        streams: Collection[str] | None = None,
    ) -> Span:
        """So much of a recording from `start_us` on, as far as these streams go; None: all that is left, all streams.

        Raises `RecordingError` for nothing.
        """
        lasts_us = recording.lasts_us(streams) if streams else recording.duration_us
        end_us = lasts_us if length_us is None else min(lasts_us, start_us + length_us)
        if end_us <= start_us:
            raise RecordingError(
                f"recording `{recording.manifest.name}` lasts {lasts_us} us, nothing is left at {start_us}",
                hint="events alone last up to the last of them: read a stream with a rate, too"
                if streams and all(recording.stream(name).kind == "events" for name in streams)
                else f"begin before {lasts_us / 1e6:g} s",
            )
        return cls(start_us, end_us)


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording run through a workload on a machine under one policy: its identity, without its frames.

    Those are told of as they end (`FrameSink`), and let go of.
    """

    policy: str
    time: Time
    workload: Workload
    hardware: Hardware
    profile: Profile
    recording: Recording
    span: Span
    merged: MergedWorkload
    solver_on: str | None = None
    """The processor whose power is charged for the time that placing each frame took; None: it is not charged."""
    batch: int = 1
    """How many frames were collected before they were placed as one."""
    changes: tuple[str, ...] = ()
    """What was changed of the documents before they were run, in order, as `changed` takes it."""
    summary: Summary = field(default_factory=Summary)
    """What it came to; nothing before it has ended."""

    @property
    def length_us(self) -> int:
        """How long a part of the recording is run: the run's clock goes from 0 to there, and on until all has ended."""
        return self.span.end_us - self.span.start_us

    @property
    def total(self) -> Total:
        """What it came to in one line."""
        return self.summary.total(self.policy, self.time)


def window_lengths(replayed: Replay, graph: TaskGraph) -> dict[str, int]:
    """How long the window of each stream that a graph reads is, in us."""
    rates = {stream.name: stream.rate_hz for stream in replayed.workload.streams}
    # The last events may be of any time: what is decided about them is decided once a period.
    return {
        name: lasting_us(rates[name], samples) if rates[name] else graph.period_us
        for name, samples in window_samples(replayed, graph).items()
    }


def window_samples(replayed: Replay, graph: TaskGraph) -> dict[str, int]:
    """How many samples the longest window of each stream has that a graph reads."""
    found: dict[str, int] = {}
    for stage in graph.stages:
        bound = replayed.merged.stage(replayed.merged.names[graph.name, stage.name]).bound
        if bound.operator.is_source:
            params = next(iter(bound.params.values()))
            found[params.stream] = max(found.get(params.stream, 0), params.samples)
    return found

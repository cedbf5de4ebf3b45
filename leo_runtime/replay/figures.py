"""What a replay comes to, as plain values: of the same size, however long it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from leo_runtime.frame.records import StageObservation
from leo_runtime.runtime.link_watch import LinkKnown

Time = Literal["virtual", "real"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What one task graph did in a replay. Times in us, over the frames that it answered (done, not cancelled)."""

    graph: str
    frames: int
    answered: int
    """The others were cancelled by a gate, or failed."""
    failed: int
    """Those that never had an answer."""
    detections: int
    right: int | None
    """Detections whose window holds that label; None where the recording has no labels of what the graph reads."""
    false: int | None
    """The other detections; None as above."""
    labels: int
    """Labels in the part replayed that this graph could have found."""
    missed: int
    """Those that no detection found."""
    latency_median_us: int
    latency_p95_us: int
    latency_p99_us: int
    latency_within_ppm: int
    """By how much these three are too high at most; 0: they are exact."""
    late: int
    """Answers that came after the deadline."""
    deadline_misses: int
    """Late or failed."""
    over_gaps: int
    """Frames that read a window of which something was not recorded."""


@dataclass(frozen=True, slots=True)
class ProcessorUse:
    """What one processor or radio did in a replay."""

    name: str
    runs: int
    """Stages that ran, or sendings of a radio."""
    busy_us: int
    """Summed over its lanes."""
    wake_ups: int
    nj: Mapping[str, int]
    """Nanojoules by cause."""

    @property
    def total_nj(self) -> int:
        """All causes together."""
        return sum(self.nj.values())


@dataclass(frozen=True, slots=True)
class Energy:
    """What energy was used for. Both are all of it: each in the order in which it was first used, in nanojoules."""

    by_resource: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By processor, radio, or link that names neither ("a -> b"), then by cause."""
    by_graph: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By graph, then by cause; "" is what belongs to none."""

    @property
    def total_nj(self) -> int:
        """All of it."""
        return sum(sum(causes.values()) for causes in self.by_resource.values())

    @property
    def by_cause(self) -> dict[str, int]:
        """By cause, the greatest first."""
        sums: dict[str, int] = {}
        for causes in self.by_resource.values():
            for cause, nj in causes.items():
                sums[cause] = sums.get(cause, 0) + nj
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Total:
    """A replay in one line."""

    policy: str
    time: Time
    nj: int
    late: int
    """Answers that came after their deadlines."""
    deadline_misses: int
    """Late or failed."""
    failed: int
    """Answers that never came."""
    answers: int
    """How many answers were due: graphs times frames."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that failed, and how often: a stage on a processor, or a whole frame."""

    what: str
    """ "stage on processor", or "frame"."""
    why: str
    """What the first of them said: the others differ from it in numbers alone."""
    count: int
    is_overload: bool = False
    """Whether nothing is broken: the frames were skipped, since there was too much to do."""


@dataclass(frozen=True, slots=True)
class Solving:
    """What placing the frames took on this machine, and was charged for."""

    measured_us: int = 0
    placed_anew: int = 0
    """How many frames; the others took an earlier frame's plan."""
    nj: int = 0
    """0 where it is not charged."""


@dataclass(frozen=True, slots=True)
class Part:
    """What ran in a part of a replay, on the run's clock."""

    from_us: int
    until_us: int
    runs: tuple[tuple[str, StageObservation], ...] = ()
    """What ran at some time in it, each with the stage of the workload that it is of, by frame."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay comes to."""

    frames: int = 0
    """How many ended, each batch as one."""
    end_us: int = 0
    """When it was over, on the run's clock: with the part of the recording, or when the last thing then fell asleep."""
    pipelines: tuple[Pipeline, ...] = ()
    """A line a task graph, as in the workload."""
    processors: tuple[ProcessorUse, ...] = ()
    """A line a processor, a radio, and a link that costs something and uses neither ("a -> b")."""
    energy: Energy = Energy()
    failures: tuple[Failure, ...] = ()
    """Every kind of failure once, the most frequent first; of too many kinds, the rest as `others`."""
    ran_together: Mapping[str, int] = field(default_factory=dict)
    """How often a stage ran for all frames of a batch, by "stage on processor", the most frequent first."""
    waits_given_up: int = 0
    """How many transfers and wake-ups were planned to wait for a gate, and went on without it so as not to be late."""
    exits: Mapping[str, int] = field(default_factory=dict)
    """How often an early exit answered in place of the rest, as "pipeline by stage", the most frequent first."""
    transfers_lost: int = 0
    """Sendings that were never there, since their link fell or their server was gone."""
    links: tuple[LinkKnown, ...] = ()
    """What was known of each link that was watched and used, and how good that was."""
    solving: Solving = Solving()
    busiest: Part = Part(0, 0)
    """The quarter of a second, for every frame of a batch, in which most was computed."""

    def total(self, policy: str, time: Time) -> Total:
        """All in one line, to be set beside another policy's."""
        return Total(
            policy,
            time,
            self.energy.total_nj,
            late=sum(line.late for line in self.pipelines),
            deadline_misses=sum(line.deadline_misses for line in self.pipelines),
            failed=sum(line.failed for line in self.pipelines),
            answers=sum(line.frames for line in self.pipelines),
        )

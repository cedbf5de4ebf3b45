"""Frames that are all known beforehand, in virtual time where nothing is computed: those alone take the short way.

A frame that has the machine to itself from its release to the next one's is over as soon as it is placed
(`leo_runtime.dispatch.alone`): nobody waits for it, nothing of it is in flight, and who is told of it gets the times of
its work and no result made of them. Every other frame goes the way of all frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from leo_runtime.dispatch.alone import AlonePlan, AloneTimes, Turn, alone_plan
from leo_runtime.frame.due import collected_deadline_us
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.kept_answers import KeptAnswer
from leo_runtime.runtime.planned import Planned

if TYPE_CHECKING:
    from leo_runtime.documents.problem import Placement
    from leo_runtime.frame.batch import Job
    from leo_runtime.frame.records import FrameResult
    from leo_runtime.runtime.deployment import Deployment
    from leo_runtime.runtime.planner import LinksNow
    from leo_runtime.runtime.results import Cost

KnownFrame = tuple[int, tuple[str, ...], "LinksNow | None"]
"""A release, its graphs, and links from then on (None: as before)."""

MOST_PLANS = 512
"""Of how many plans it is kept how frames go by them that are alone."""


@dataclass(frozen=True, slots=True, eq=False)
class StraightGraph:
    """What one task graph answers in such a frame."""

    name: str
    outputs: tuple[int, ...]
    """The pieces of work that give it."""
    deadline_us: int
    """From the release."""


@dataclass(frozen=True, slots=True, eq=False)
class StraightPlan:
    """A plan for frames of some graphs that are alone."""

    placement: Placement
    jobs: dict[str, Job]
    alone: AlonePlan
    costs: tuple[Cost, ...]
    """What each run costs by the profile."""
    graphs: tuple[StraightGraph, ...]
    deadline_us: int
    """The longest of theirs."""
    gates: tuple[str, ...]
    """Its gates that may not open, and have to."""
    exits_us: int | None = None
    """When the first early exit answers for what is not there by then, from the release; None: none does."""
    turns: tuple[Turn, ...] = ()

    def over_us(self, release_us: int, next_us: int | None) -> int | None:
        """By when such a frame has to be over; None: at any time."""
        if self.exits_us is None:
            return next_us
        before_us = release_us + self.exits_us - 1
        return before_us if next_us is None else min(before_us, next_us)


class StraightTold(Protocol):
    """Who is told of frames as they end."""

    def alone(self, frame: int, release_us: int, plan: StraightPlan, times: AloneTimes, /) -> None:
        """A frame had the machine to itself, all before it have ended: when everything of it happened."""
        ...

    def submitted(self, frame: int, release_us: int, /) -> None:
        """Another one is in flight."""
        ...

    def ended(self, results: Sequence[FrameResult], /) -> None:
        """These of those have ended."""
        ...


class StraightPlans:
    """How frames of one deployment go by plans that are asked for again and again."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._known: dict[tuple[int, tuple[str, ...]], tuple[Planned, StraightPlan | None]] = {}
        """By the identity of what was planned, which is kept for that, and the graphs."""
        self._again: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[KeptAnswer[Planned | Placement], StraightPlan]]
        self._again = {}
        """By graphs and who sleeps, as long as links are the same: what is planned for these if nobody has to go."""

    def of(self, planned: Planned, names: tuple[str, ...]) -> StraightPlan | None:
        """For frames of these graphs; None where none of that plan can be alone."""
        known = self._known.get((id(planned), names))
        if known is None:
            if len(self._known) >= MOST_PLANS:
                self._known.clear()
            known = self._known[id(planned), names] = planned, self._made(planned, names)
        return known[1]

    def again(self, names: tuple[str, ...], asleep: tuple[str, ...]) -> StraightPlan | None:
        """That of an earlier frame of these graphs that found these asleep; None where it has to be placed."""
        known = self._again.get((names, asleep))
        if known is None or not known[0].is_kept:
            return None
        known[0].ask()
        return known[1]

    def remember(self, names: tuple[str, ...], asleep: tuple[str, ...], planned: Planned, plan: StraightPlan) -> None:
        """A frame of these graphs that found these asleep is placed so, and so are others unless `forget`."""
        now = self._deployment
        kept = now.placer.kept_alone(names, asleep)
        if kept is not None and kept.answer is planned and now.admission.is_in_time(planned, names):
            if len(self._again) >= MOST_PLANS:
                self._again.clear()
            self._again[names, asleep] = kept, plan

    def forget(self) -> None:
        """Links have changed."""
        self._again.clear()

    def _made(self, planned: Planned, names: tuple[str, ...]) -> StraightPlan | None:
        plan, now = planned.plan, self._deployment
        alone = alone_plan(plan)
        if alone is None or any(job.stage != name for name, job in plan.jobs.items()):
            return None
        place = {name: at for at, name, _, _ in alone.runs}
        costs = []
        for _, name, resource, _ in alone.runs:
            mode = now.prices.mode(name, plan.stages[name].variant, resource, 1)
            costs.append((mode.duration_us, mode.energy_nj))
        graphs = tuple(
            StraightGraph(
                graph.name,
                tuple([place[stage] for stage in now.results.outputs_of(graph.name)]),
                collected_deadline_us(graph, 1),
            )
            for graph in now.wanted(names)
        )
        deadline_us = max([graph.deadline_us for graph in graphs])
        turns = [(place[name], *turn) for name, turn in now.placer.turns_us(names, plan).items()]
        return StraightPlan(
            plan.placement,
            dict(plan.jobs),
            alone,
            tuple(costs),
            graphs,
            deadline_us,
            () if now.kernels is None else now.kernels.drawn_gates(place),
            min([one.at_us for one in now.placer.exits(names, (0,))], default=None),
            tuple(turns),
        )


def with_next(frames: Iterable[KnownFrame]) -> Iterator[tuple[KnownFrame, int | None]]:
    """Each frame with the release of the one after it; None: it is the last."""
    before: KnownFrame | None = None
    for frame in frames:
        if before is not None:
            yield before, frame[0]
        before = frame
    if before is not None:
        yield before, None

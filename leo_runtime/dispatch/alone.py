"""A frame that has the machine to itself from its release to its end: when everything of it happens, without events.

Where nothing else is in flight, sleeps that it needs, hangs or is lost, all that the dispatcher decides about a frame
is known from its plan and from how long its runs last: a lane takes its work in the order in which that is planned, and
each piece starts as soon as its lane is free and what it waits for is there. In virtual time most frames of most runs
are of that kind, and to go through a dozen events for each takes ten times as long. `tests/test_straight.py` holds it
to what the dispatcher does with the same frames.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from leo_runtime.dispatch.plan import Plan, PlannedSend, PlannedStage
from leo_runtime.documents.problem import Link
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class AloneSend:
    """A transfer of such a frame."""

    at: int
    """Its place among all pieces of work."""
    stage: str
    link: Link
    nj: int


@dataclass(frozen=True, slots=True, eq=False)
class AlonePlan:
    """A plan, as far as frames go by it that are alone and of which every gate opens.

    Pieces of work are in the order in which all of them are planned, so that each comes after what it waits for.
    """

    runs: tuple[tuple[int, str, str, int], ...]
    """Of each stage, in the order of the plan's, its place among all pieces of work, its name, its processor and how
    long it is planned to take."""
    sends: tuple[AloneSend, ...]
    uses: tuple[tuple[str, tuple[int, ...]], ...]
    """By resource, the pieces of work that use it."""
    steps: tuple[tuple[int, tuple[int, ...], int], ...]
    """Of each piece its lane (-1: none), the pieces that it waits for, and how long its result then travels."""
    lanes: int
    lasts_us: tuple[int, ...]
    """How long each piece is planned to take."""

    def needs(self, resources: Collection[str]) -> bool:
        """Whether something of it runs on one of these, or is sent over it."""
        return any(resource in resources for resource, _ in self.uses)

    def times(self, release_us: int, lasts_us: Sequence[int]) -> tuple[list[int], list[int], int]:
        """When each piece of work starts and is over, and when all is there, if they last so long."""
        free_us, last_us = [release_us] * self.lanes, release_us
        starts_us: list[int] = []
        ends_us: list[int] = []
        there_us: list[int] = []
        for (lane, waits, travels_us), lasting_us in zip(self.steps, lasts_us, strict=True):
            start_us = free_us[lane] if lane >= 0 else release_us
            for before in waits:
                if there_us[before] > start_us:
                    start_us = there_us[before]
            end_us = start_us + lasting_us
            if lane >= 0:
                free_us[lane] = end_us
            starts_us.append(start_us)
            ends_us.append(end_us)
            end_us += travels_us
            there_us.append(end_us)
            if end_us > last_us:
                last_us = end_us
        return starts_us, ends_us, last_us

    def used_until_us(self, ends_us: Sequence[int]) -> list[tuple[str, int]]:
        """Until when each resource is used, where pieces of work are over then."""
        return [
            (resource, ends_us[pieces[0]] if len(pieces) == 1 else max([ends_us[piece] for piece in pieces]))
            for resource, pieces in self.uses
        ]


def alone_plan(plan: Plan) -> AlonePlan | None:
    """The plan for frames that are alone; None where a frame of it may wait for more than its lanes and inputs."""
    if not _is_plain(plan):
        return None
    # As the dispatcher sorts the queues of lanes: transfers before stages that are planned for the same time.
    order: list[tuple[tuple[int, int, int], PlannedStage | PlannedSend]] = [
        ((send.start_us, 0, index), send) for index, send in enumerate(plan.sends)
    ]
    order += [((stage.start_us, 1, index), stage) for index, stage in enumerate(plan.stages.values())]
    lanes: dict[tuple[str, int], int] = {}
    stages: dict[str, int] = {}
    sends: dict[tuple[str, str], AloneSend] = {}
    uses: dict[str, list[int]] = {}
    steps: list[tuple[int, tuple[int, ...], int]] = []
    lasts_us: list[int] = []
    used: str | None
    index: int | None
    for at, (_, piece) in enumerate(sorted(order, key=lambda one: one[0])):
        if isinstance(piece, PlannedStage):
            waits = _waits(piece, plan, stages, sends)
            stages[piece.use[0]] = at
            used, index, lasting_us, travels_us = piece.resource, piece.lane, piece.duration_us, 0
        else:
            source = plan.stages[piece.stage]
            waits = (stages[piece.stage],) if piece.stage in stages else None
            link, size = plan.links[source.resource, piece.target], source.mode.output_bytes
            lasting_us, travels_us = link.sending_us(size), link.latency_us
            sends[piece.stage, piece.target] = AloneSend(at, piece.stage, link, link.sending_nj(size))
            # What sends for no time occupies nothing.
            used, index = link.resource, piece.lane if lasting_us else None
        if waits is None or (used is not None and lasting_us and index is None):
            return None
        lane = -1 if used is None or index is None else lanes.setdefault((used, index), len(lanes))
        if used is not None:
            uses.setdefault(used, []).append(at)
        steps.append((lane, waits, travels_us))
        lasts_us.append(lasting_us)
    return AlonePlan(
        tuple([(stages[name], name, one.resource, one.duration_us) for name, one in plan.stages.items()]),
        tuple(sends.values()),
        tuple([(resource, tuple(pieces)) for resource, pieces in uses.items()]),
        tuple(steps),
        len(lanes),
        tuple(lasts_us),
    )


def _is_plain(plan: Plan) -> bool:
    """Whether all that it says is what runs and is sent where, one frame at a time, on what is awake."""
    return not (
        plan.undecided
        or plan.linger_us
        or plan.holds
        or plan.memory is not None
        or any(len(job.frames) != 1 for job in plan.jobs.values())
        or any(stage.release_us for stage in plan.stages.values())
        or any(send.wait is not None for send in plan.sends)
        or any(span.wakes or span.from_us or span.waits or span.held_until_us is not None for span in plan.spans)
    )


def _waits(
    stage: PlannedStage, plan: Plan, stages: Mapping[str, int], sends: Mapping[tuple[str, str], AloneSend]
) -> tuple[int, ...] | None:
    """The pieces of work that a stage waits for; None where one of them is not planned before it."""
    found = []
    for name in stage.waits:
        if name not in stages:
            return None
        if plan.stages[name].resource == stage.resource:
            found.append(stages[name])
        elif (name, stage.resource) in sends:
            found.append(sends[name, stage.resource].at)
        else:
            return None
    return tuple(found)

"""A frame that has the machine to itself from its release to its end: when everything of it happens, without events.

Where nothing else is in flight, hangs or is lost, all that the dispatcher decides about a frame is known from its plan
and from how long its runs last: a lane takes its work in the order in which that is planned, and each piece starts as
soon as its lane is free, what it waits for is there, and what it runs on is awake. In virtual time most frames of most
runs are of that kind, and to go through a dozen events for each takes ten times as long. `tests/test_straight.py` holds
it to what the dispatcher does with the same frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from leo_runtime.dispatch.limits import Limits
from leo_runtime.dispatch.plan import Plan, PlannedSend, PlannedSpan, PlannedStage
from leo_runtime.documents.problem import Link
from leo_runtime.frozen import dataclass
from leo_runtime.values import whole

Woken = tuple[str, int]
"""A resource that is woken, and when that begins."""

Turn = tuple[int, int, bool]
"""A stage's place among all pieces of work, and when what it needs from servers is waited for no longer, from the
release (`turning_back`); whether it runs on one itself. Where it has then ended there, or begun here, nothing is."""


@dataclass(frozen=True, slots=True, eq=False)
class AloneSend:
    """A transfer of such a frame."""

    at: int
    """Its place among all pieces of work."""
    stage: str
    link: Link
    nj: int


class AloneTimes:
    """When everything of such a frame happens."""

    # No dataclass, as in `inflight`.

    def __init__(
        self,
        lasts_us: Sequence[int],
        starts_us: list[int],
        ends_us: list[int],
        last_us: int,
        used_until_us: list[int],
        woken: list[Woken],
    ) -> None:
        """Of each piece of work how long it lasts, when it starts and when it is over; when all is there; until when
        each of `AlonePlan.uses` is used; and who is woken."""
        self.lasts_us = lasts_us
        self.starts_us = starts_us
        self.ends_us = ends_us
        self.last_us = last_us
        self.used_until_us = used_until_us
        self.woken = woken


class AlonePlan:
    """A plan, as far as frames go by it that are alone and of which every gate opens.

    Pieces of work are in the order in which all of them are planned, so that each comes after what it waits for.
    """

    def __init__(
        self,
        runs: tuple[tuple[int, str, str, int], ...],
        modes: tuple[tuple[str, str, str], ...],
        sends: tuple[AloneSend, ...],
        uses: tuple[tuple[str, tuple[int, ...]], ...],
        wakes: tuple[tuple[int, int], ...],
        steps: tuple[tuple[int, tuple[int, ...], int, int], ...],
        lanes: int,
        lasts_us: tuple[int, ...],
    ) -> None:
        """For `alone_plan`."""
        self.runs = runs
        """Of each stage, in the order of the plan's, its place among all pieces of work, its name, its processor and
        how long it is planned to take."""
        self.modes = modes
        """Of each the mode, as `limits` know it: processor, stage of the workload and variant."""
        self.sends = sends
        self.uses = uses
        """By resource, the pieces of work that use it."""
        self.wakes = wakes
        """Of each of these, where it sleeps: when it is woken at the latest, from the release, and how long that
        takes."""
        self.steps = steps
        """Of each piece its lane (-1: none), the pieces that it waits for, how long its result then travels, and which
        of the resources it uses (-1: none)."""
        self.lanes = lanes
        self.lasts_us = lasts_us
        """How long each piece is planned to take."""

    def noisy_us(self, noise: Callable[[int, str, str, int], int], frame: int) -> list[int]:
        """How long each piece of work of a frame lasts by a noise as `Simulator` takes it."""
        lasts_us = list(self.lasts_us)
        for at, name, resource, planned_us in self.runs:
            lasts_us[at] = whole(noise(frame, name, resource, planned_us), "noise")
        return lasts_us

    def times(self, release_us: int, lasts_us: Sequence[int], asleep: Collection[str]) -> AloneTimes | None:
        """When all happens if the pieces of work last so long.

        None where somebody would have to be woken for another piece than the one that is planned first.
        """
        free_us, last_us = [release_us] * self.lanes, release_us
        starts_us: list[int] = []
        ends_us: list[int] = []
        there_us: list[int] = []
        sleeping = [at for at, (name, _) in enumerate(self.uses) if name in asleep] if asleep else []
        woken: dict[int, int] = {}
        for at, (lane, waits, travels_us, used) in enumerate(self.steps):
            start_us = free_us[lane] if lane >= 0 else release_us
            for before in waits:
                ready_us = there_us[before]
                if ready_us > start_us:
                    start_us = ready_us
            if sleeping and used in sleeping:
                due_us, latency_us = self.wakes[used]
                if used not in woken:  # In time for what is planned, or as soon as something could start.
                    woken[used] = min(release_us + due_us, start_us)
                elif start_us < woken[used]:
                    return None
                start_us = max(start_us, woken[used] + latency_us)
            end_us = start_us + lasts_us[at]
            if lane >= 0:
                free_us[lane] = end_us
            starts_us.append(start_us)
            ends_us.append(end_us)
            if travels_us:
                end_us += travels_us
            there_us.append(end_us)
            if end_us > last_us:
                last_us = end_us
        used_until_us = [_latest_us(pieces, ends_us) for _, pieces in self.uses]
        names = [(self.uses[used][0], at_us) for used, at_us in woken.items()]
        return AloneTimes(lasts_us, starts_us, ends_us, last_us, used_until_us, names)

    def waits_for_all(self, turns: Sequence[Turn], release_us: int, times: AloneTimes) -> bool:
        """Whether no server is turned back from, where the pieces of work start and are over then."""
        starts_us, ends_us = times.starts_us, times.ends_us
        return all((ends_us[at] if is_there else starts_us[at]) < release_us + at_us for at, at_us, is_there in turns)

    def noted(self, limits: Limits, lasts_us: Sequence[int]) -> bool:
        """Whether limits have anything to say of runs that last so long, or take note of them."""
        return bool(limits.slower) or max(lasts_us) > limits.noted_us

    def keeps(self, limits: Limits, deadline_us: int, lasts_us: Sequence[int]) -> bool:
        """Whether no run is given up, where they last so long and that is the frame's longest deadline."""
        least_us = limits.of_frame_us(deadline_us)
        for (at, _, _, planned_us), mode in zip(self.runs, self.modes, strict=True):
            if lasts_us[at] > max(least_us, limits.rule.factor * limits.expected_us(mode, planned_us)):
                return False
        return True

    def note(self, limits: Limits, lasts_us: Sequence[int]) -> None:
        """Let limits know of runs that lasted so long."""
        for (at, _, _, planned_us), mode in zip(self.runs, self.modes, strict=True):
            limits.observe(mode, planned_us, lasts_us[at])


def _latest_us(pieces: tuple[int, ...], ends_us: list[int]) -> int:
    """When the last of these pieces of work is over."""
    latest_us = ends_us[pieces[0]]
    for piece in pieces:
        if ends_us[piece] > latest_us:
            latest_us = ends_us[piece]
    return latest_us


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
    uses: dict[str, list[int]] = {span.resource: [] for span in plan.spans}
    places = {span.resource: at for at, span in enumerate(plan.spans)}
    steps: list[tuple[int, tuple[int, ...], int, int]] = []
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
        if waits is None or (used is not None and (used not in places or (lasting_us and index is None))):
            return None
        lane = -1 if used is None or index is None else lanes.setdefault((used, index), len(lanes))
        if used is not None:
            uses[used].append(at)
        steps.append((lane, waits, travels_us, -1 if used is None else places[used]))
        lasts_us.append(lasting_us)
    return AlonePlan(
        tuple([(stages[name], name, one.resource, one.duration_us) for name, one in plan.stages.items()]),
        tuple([(one.resource, plan.jobs[name].stage, one.variant) for name, one in plan.stages.items()]),
        tuple(sends.values()),
        tuple([(resource, tuple(pieces)) for resource, pieces in uses.items()]),
        tuple([_wakes(span, plan.wake_us[span.resource]) for span in plan.spans]),
        tuple(steps),
        len(lanes),
        tuple(lasts_us),
    )


def _wakes(span: PlannedSpan, latency_us: int) -> tuple[int, int]:
    """As `AlonePlan.wakes` has it."""
    return max(0, next(iter(span.uses.values())) - latency_us), latency_us


def _is_plain(plan: Plan) -> bool:
    """Whether all that it says is what runs and is sent where, one frame at a time."""
    return not (
        plan.undecided
        or plan.linger_us
        or plan.holds
        or plan.memory is not None
        or any(len(job.frames) != 1 for job in plan.jobs.values())
        or any(stage.release_us for stage in plan.stages.values())
        or any(send.wait is not None for send in plan.sends)
        or len({span.resource for span in plan.spans}) < len(plan.spans)
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

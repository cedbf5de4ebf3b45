"""The plan of a frame that an event-driven policy decides about, where nothing is placed yet; and what came of it."""

from __future__ import annotations

from collections.abc import Mapping

from leo_runtime.dispatch.events import FrameDone
from leo_runtime.dispatch.plan import (
    Needs,
    Plan,
    PlannedStage,
    Undecided,
    memory_caps,
    planned_stages,
    wake_latencies_us,
)
from leo_runtime.documents.problem import Mode, Placement, Problem, StageModes, StageRun, TransferRun
from leo_runtime.frame.batch import Job


def open_plan(
    problem: Problem, policy: str, linger_us: Mapping[str, int | None], needs: Mapping[str, Needs] | None = None
) -> Plan:
    """All that a frame of this question may come to. `linger_us` of every processor and radio; `needs` as `make_plan`.

    Until a stage is decided about it counts with the mode that loses the least accuracy, so that budgets can be held.
    """
    runs = {stage.name: _unplaced(stage.name, _least_loss(stage.modes)) for stage in problem.stages}
    stages = planned_stages(problem.stages, runs, {s.name: (needs or {}).get(s.name) for s in problem.stages})
    stages = {name: stages[name] for name in _inputs_first(problem.stages)}  # All start at 0.
    return Plan(
        placement=Placement(format="leo-placement/1", problem=problem.name, solver=policy, status="feasible"),
        stages=stages,
        sends=(),
        links={(link.source, link.target): link for link in problem.links},
        wake_us=wake_latencies_us(problem),
        caps=memory_caps(problem),
        budgets=problem.accuracy_budgets,
        spans=(),
        jobs={name: Job(name, (0,)) for name in stages},
        linger_us=linger_us,
        undecided=_outlook(problem, tuple(stages)),
    )


def decided(planned: PlannedStage, modes: tuple[Mode, ...], mode: Mode, lane: int, start_us: int) -> PlannedStage:
    """A stage of which it has been decided that it runs so, and, from its frame's release on, when that should be."""
    run = StageRun(
        stage=planned.run.stage,
        resource=mode.resource,
        variant=mode.variant,
        lane=lane,
        start_us=start_us,
        end_us=start_us + mode.duration_us,
    )
    others = sorted((one for one in modes if one.resource != mode.resource), key=_fastest)
    return PlannedStage(run, mode, planned.needs, planned.waits, planned.readers, planned.release_us, tuple(others))


def as_run(placement: Placement, done: FrameDone, release_us: int) -> Placement:
    """The placement of a frame about which was decided as it ran: where and when its stages ran. Times are from its
    release; what did not run to its end is not in it.
    """
    runs = [
        StageRun(
            stage=run.stage,
            resource=run.resource,
            variant=run.variant,
            lane=run.lane,
            start_us=run.start_us - release_us,
            end_us=run.end_us - release_us,
        )
        for run in done.stages
        if run.outcome == "done"
    ]
    sends = [
        TransferRun(
            stage=send.stage,
            source=send.source,
            target=send.target,
            lane=send.lane,
            start_us=send.start_us - release_us,
            arrive_us=send.arrive_us - release_us,
        )
        for send in done.sends
    ]
    return placement.model_copy(update={"stages": tuple(runs), "transfers": tuple(sends)})


def _unplaced(stage: str, mode: Mode) -> StageRun:
    return StageRun(stage=stage, resource=mode.resource, variant=mode.variant, lane=0, start_us=0, end_us=0)


def _least_loss(modes: tuple[Mode, ...]) -> Mode:
    return min(modes, key=lambda mode: (mode.accuracy_loss_ppm, *_fastest(mode)))


def _fastest(mode: Mode) -> tuple[int, int, int, str, str]:
    return mode.duration_us, mode.energy_nj, mode.accuracy_loss_ppm, mode.resource, mode.variant


def _inputs_first(stages: tuple[StageModes, ...]) -> list[str]:
    """The names of stages, each after all that it reads; otherwise in their order."""
    left = {stage.name: set(stage.inputs) for stage in stages}
    found: dict[str, None] = {}
    while left:
        for name in [name for name, inputs in left.items() if inputs <= found.keys()]:
            found[name] = None
            del left[name]
    return list(found)


def _outlook(problem: Problem, names: tuple[str, ...]) -> dict[str, Undecided]:
    """What hangs on each stage, from the last to the first."""
    stages = {stage.name: stage for stage in problem.stages}
    readers: dict[str, list[str]] = {name: [] for name in names}
    for stage in problem.stages:
        for name in stage.inputs:
            readers[name].append(stage.name)
    due: dict[str, list[int]] = {name: [] for name in names}
    for deadline in problem.deadlines:
        due[deadline.stage].append(deadline.deadline_us)
    fastest_us = {stage.name: min(mode.duration_us for mode in stage.modes) for stage in problem.stages}
    found: dict[str, Undecided] = {}
    for name in reversed(names):
        after = {reader: found[reader] for reader in readers[name]}
        found[name] = Undecided(
            modes=stages[name].modes,
            due_us=min(due[name] + [one.due_us for one in after.values() if one.due_us is not None], default=None),
            end_by_us=min(
                due[name] + [one.end_by_us - fastest_us[r] for r, one in after.items() if one.end_by_us is not None],
                default=None,
            ),
            after_us=max((fastest_us[reader] + one.after_us for reader, one in after.items()), default=0),
        )
    return found

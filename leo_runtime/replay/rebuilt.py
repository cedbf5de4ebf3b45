"""Frames as they were, from the lines that a log has of them: writing them again gives the same lines."""

from __future__ import annotations

from leo_runtime.documents.problem import Placement, StageRun, TransferRun
from leo_runtime.frame.batch import Job
from leo_runtime.frame.records import (
    EvictionObservation,
    FrameResult,
    GraphResult,
    LoadObservation,
    Solved,
    SpanObservation,
    StageObservation,
    StateUse,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.replay.log_lines import FrameLine
from leo_runtime.runtime.planner import UNPLACED_BY


def rebuilt(line: FrameLine, solved: Solved | None, *, policy: str, solve_us: int = 0) -> FrameResult:
    """The frame of that line, but for what its stages computed. `solved`: what was asked for it, by its digest."""
    number = line.frame
    return FrameResult(
        frame=number,
        release_us=line.release_us,
        placement=_placement(line, solved, policy, solve_us),
        stages=tuple(
            StageObservation(
                frame=number,
                stage=run.stage,
                resource=run.resource,
                variant=run.variant,
                lane=run.lane,
                outcome=run.outcome,
                planned_start_us=run.planned_start_us,
                planned_end_us=run.planned_end_us,
                start_us=run.start_us,
                end_us=run.end_us,
                expected_us=run.expected_us,
                expected_nj=run.expected_nj,
                device_us=run.device_us,
                nj=run.nj,
                energy_from=run.energy_from,
                error=run.error,
                opened=run.opened,
                state=None
                if run.state is None
                else StateUse(run.state.fresh, run.state.anew, run.state.home, run.state.moved_nj),
            )
            for run in line.stages
        ),
        transfers=tuple(
            TransferObservation(
                frame=number,
                stage=send.stage,
                source=send.source,
                target=send.target,
                lane=send.lane,
                planned_start_us=send.planned_start_us,
                start_us=send.start_us,
                arrive_us=send.arrive_us,
                nj=send.nj,
                resource=send.resource,
                sent_us=send.sent_us,
                error=send.error,
            )
            for send in line.transfers
        ),
        loads=tuple(
            LoadObservation(number, **{name: value for name, value in load if name != "graphs"}) for load in line.loads
        ),
        evicted=tuple(EvictionObservation(number, one.resource, one.label, one.at_us) for one in line.evicted),
        graphs=tuple(
            GraphResult(
                graph=one.graph,
                frame=number,
                release_us=one.release_us,
                deadline_us=one.deadline_us,
                end_us=one.end_us,
                outcome=one.outcome,
                label=one.label,
                outputs={},
                number=one.number,
                gap_us=one.gap_us,
                exit=one.exit,
            )
            for one in line.graphs
        ),
        wakes=tuple(WakeObservation(number, wake.resource, wake.at_us) for wake in line.wakes),
        jobs=_jobs(line),
        skipped=line.skipped,
        shed=line.shed,
        unplaced=line.unplaced,
        spans=None
        if line.spans is None
        else tuple(
            SpanObservation(number, one.resource, one.from_us, one.until_us, one.used_us, one.held_until_us)
            for one in line.spans
        ),
        waits_given_up=line.waits_given_up,
        admitted_us=line.admitted_us,
        solved=solved,
    )


def _placement(line: FrameLine, solved: Solved | None, policy: str, solve_us: int) -> Placement:
    """How it was placed: as was answered where it was asked for alone, else what became of its plan."""
    answer = solved.answer if solved is not None and line.spans is None else None
    stages = tuple(
        StageRun(
            stage=run.stage,
            resource=run.resource,
            variant=run.variant,
            lane=run.lane,
            start_us=run.planned_start_us - line.release_us,
            end_us=run.planned_end_us - line.release_us,
        )
        for run in line.stages
    )
    sends: tuple[TransferRun, ...] = ()
    if answer is not None:
        stages = answer.stages
        sends = tuple(
            TransferRun(
                stage=send.stage,
                source=send.source,
                target=send.target,
                lane=send.lane,
                start_us=send.start_us,
                arrive_us=send.arrive_us,
            )
            for send in answer.transfers
        )
    unplaced = line.status == "unplaced"
    return Placement(
        format="leo-placement/1",
        problem="frame" if solved is None else solved.question.name,
        solver=UNPLACED_BY if unplaced else policy,
        status="infeasible" if line.status == "unplaced" else line.status,
        criteria=line.criteria,
        stages=() if unplaced else stages,
        transfers=() if unplaced else sends,
        solve_us=solve_us,
        reason=line.reason or None,
    )


def _jobs(line: FrameLine) -> dict[str, Job]:
    """What each run computes, by its name: of a batch `stage#number`, or `stage#all`."""
    numbers = tuple(sorted({one.number for one in line.graphs}))
    jobs = {}
    named = [(run.stage, run.of) for run in line.stages] + [(send.stage, send.of) for send in line.transfers]
    for name, of in named:
        number = "0" if of is None else name.rpartition("#")[2]
        jobs[name] = Job(of or name, (int(number),) if number.isdecimal() else numbers)
    return jobs

"""A frame's result, from what its dispatcher says of its end and what its kernels told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from leo_runtime.frame.due import due_us
from leo_runtime.frame.records import (
    EvictionObservation,
    FrameResult,
    GraphResult,
    LoadObservation,
    Solved,
    SpanObservation,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.frozen import dataclass, maker
from leo_runtime.runtime.answers import Asked, graph_result
from leo_runtime.runtime.drift import Key

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.dispatch.events import FrameDone, LoadRecord, SendRecord, SpanRecord, StageRecord
    from leo_runtime.dispatch.plan import Plan
    from leo_runtime.documents.problem import Placement
    from leo_runtime.documents.workload import TaskGraph
    from leo_runtime.frame.batch import FramePrices
    from leo_runtime.frame.lower import MergedWorkload

    Values = Sequence[Mapping[str, np.ndarray]]
    """Outputs by merged stage, for each frame of a batch."""


Cost = tuple[int, int]
"""How long a run takes, in us, and what energy, in nJ."""

Lasted = tuple[Key, int, int]
"""A run that computed something: its mode, and how long it takes by the profile and really took, in us."""

# A result is many values, and there are many results.
_frame_result = maker(FrameResult)
_stage = maker(StageObservation)
_transfer = maker(TransferObservation)
_span = maker(SpanObservation)
_wake = maker(WakeObservation)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A frame, or batch, as it was submitted, and its plan."""

    frame: int
    releases_us: tuple[int, ...]
    """Of each frame of a batch."""
    graphs: tuple[TaskGraph, ...]
    plan: Plan
    solved: Solved | None
    left_out: tuple[TaskGraph, ...] = ()
    """Further graphs that were due, and were left out..."""
    unplaced: Mapping[str, str] = field(default_factory=dict)
    """...those of them that could run nowhere, each with the reason: the others were shed."""

    @property
    def shed(self) -> tuple[str, ...]:
        """The graphs that were left out for what weighs more."""
        return tuple([graph.name for graph in self.left_out if graph.name not in self.unplaced])


class Results:
    """Makes the results of one workload on one machine. It keeps nothing of them."""

    def __init__(
        self,
        merged: MergedWorkload,
        prices: FramePrices,
        *,
        simulated: Collection[str] = (),
        device_clocks: Collection[str] | None = None,
    ) -> None:
        """`simulated` are processors whose energy is not measured whatever their kernels say.

        `device_clocks` are those whose kernels' own times mean anything; None: all.
        """
        self._prices = prices
        self._simulated = frozenset(simulated)
        self._device_clocks = None if device_clocks is None else frozenset(device_clocks)
        self._alone: dict[Key, Cost] = {}
        self._asked = {graph.name: Asked.of(graph, merged) for graph in merged.workload.graphs}
        self._gates = frozenset(stage.name for stage in merged.stages if stage.bound.is_gate)

    def outputs_of(self, graph: str) -> tuple[str, ...]:
        """The merged stages that give what is due of a graph."""
        return self._asked[graph].merged_outputs

    def of(
        self, submitted: Submitted, done: FrameDone, values: Values | None
    ) -> tuple[FrameResult, tuple[Lasted, ...]]:
        """The result of a frame that ended, and how long its runs lasted; `values` are None where nothing is computed.

        What failed has no say in how long a mode takes, nor has what had nothing to do.
        """
        jobs, frame, release_us = submitted.plan.jobs, done.frame, submitted.releases_us[-1]
        stages: list[StageObservation] = []
        lasted: list[Lasted] = []
        # Of several attempts at a stage the last one, in each frame.
        last: list[dict[str, StageRecord]] = [{} for _ in submitted.releases_us]
        for record in done.stages:
            job, report = jobs[record.stage], record.report
            frames = len(job.frames) if report is None or report.frames is None else report.frames
            key = (job.stage, record.variant, record.resource)
            profiled = self._profiled(key, frames or 1)
            opened = report.opened if report is not None and job.stage in self._gates else None
            stages.append(self._observed(frame, record, profiled, opened))
            if frames and record.outcome == "done":
                expected_us, _ = profiled
                if report is not None and report.state is not None and report.expected_us is not None:
                    expected_us = report.expected_us  # By what was new to it.
                lasted.append((key, expected_us, record.end_us - record.start_us))
            for number in job.frames:
                last[number][job.stage] = record
        result = _frame_result(
            frame=frame,
            release_us=release_us,
            placement=_placement(submitted.plan, done, release_us),
            stages=tuple(stages),
            transfers=tuple([_sent(frame, send) for send in done.sends]),
            skipped=done.skipped,
            graphs=tuple(
                [
                    graph_result(
                        self._asked[graph.name],
                        records,
                        submitted.releases_us,
                        number,
                        frame,
                        None if values is None else values[number],
                    )
                    for number, records in enumerate(last)
                    for graph in submitted.graphs
                ]
            )
            + failed_graphs(submitted.left_out, frame, submitted.releases_us, release_us),
            wakes=tuple([_wake(frame, resource, at_us) for resource, at_us in done.wakes]),
            jobs=jobs,
            spans=None if done.spans is None else tuple([_kept_awake(frame, span) for span in done.spans]),
            waits_given_up=done.waits_given_up,
            admitted_us=None if done.admitted_us == release_us else done.admitted_us,
            solved=submitted.solved,
            shed=submitted.shed,
            unplaced=submitted.unplaced,
            loads=tuple([_loaded(frame, load) for load in done.loads]) if done.loads else (),
            evicted=tuple([EvictionObservation(frame, one.resource, one.label, one.at_us) for one in done.evicted]),
        )
        return result, tuple(lasted)

    def _profiled(self, key: Key, frames: int) -> Cost:
        """What a mode costs by the profile, for so many frames."""
        cost = self._alone.get(key) if frames == 1 else None
        if cost is None:
            mode = self._prices.mode(*key, frames)
            cost = mode.duration_us, mode.energy_nj
            if frames == 1:
                self._alone[key] = cost
        return cost

    def _observed(self, frame: int, record: StageRecord, profiled: Cost, opened: bool | None) -> StageObservation:
        """`profiled` is what the mode of the run costs by the profile, for as many frames as it was of."""
        report, resource = record.report, record.resource
        lasted_us, device_us, device_nj, error = record.end_us - record.start_us, None, None, record.error
        if report is not None:
            if self._device_clocks is None or resource in self._device_clocks:
                device_us = report.device_us
            if resource not in self._simulated:
                device_nj = report.device_nj
            error = error or report.error
        mode, state = record.mode, None if report is None else report.state
        nj = energy_nj(profiled, lasted_us if device_us is None else device_us) if device_nj is None else device_nj
        return _stage(
            frame,
            record.stage,
            resource,
            record.variant,
            record.lane,
            record.outcome,
            record.planned_start_us,
            record.planned_end_us,
            record.start_us,
            record.end_us,
            mode.duration_us,
            mode.energy_nj,
            device_us,
            nj if state is None else nj + state.moved_nj,
            "modelled" if device_nj is None else "measured",
            error,
            opened,
            state,
        )


def _placement(plan: Plan, done: FrameDone, release_us: int) -> Placement:
    """What was planned; where that was decided as the frame ran, what came of it."""
    if not plan.undecided:
        return plan.placement
    from leo_runtime.dispatch.open_plan import as_run  # It is there: it has made the plan.

    return as_run(plan.placement, done, release_us)


def unplaced_result(
    frame: int,
    releases_us: tuple[int, ...],
    graphs: tuple[TaskGraph, ...],
    now_us: int,
    placement: Placement,
    *,
    skipped: bool = False,
    shed: Collection[str] = (),
    unplaced: Mapping[str, str] | None = None,
) -> FrameResult:
    """The result of a frame, or batch, of which nothing is known to have run; `placement` says why."""
    last_us = releases_us[-1]
    end_us = max(last_us, now_us)
    found = failed_graphs(graphs, frame, releases_us, end_us)
    return FrameResult(
        frame, last_us, placement, (), (), found, skipped=skipped, shed=tuple(shed), unplaced=unplaced or {}
    )


def not_done(submitted: Submitted, now_us: int, why: Placement) -> FrameResult:
    """The result of a frame in flight of which nothing more is to be known."""
    one, graphs = submitted, (*submitted.graphs, *submitted.left_out)
    return unplaced_result(one.frame, one.releases_us, graphs, now_us, why, shed=one.shed, unplaced=one.unplaced)


def failed_graphs(
    graphs: tuple[TaskGraph, ...], frame: int, releases_us: tuple[int, ...], end_us: int
) -> tuple[GraphResult, ...]:
    """The results of graphs that did not run, known at `end_us`."""
    return tuple(
        [
            GraphResult(graph.name, frame, release_us, due_us(graph, releases_us), end_us, "failed", None, {}, number)
            for number, release_us in enumerate(releases_us)
            for graph in graphs
        ]
    )


def energy_nj(cost: Cost, lasted_us: int) -> int:
    """What a run of that long takes at the power of one that costs so much."""
    duration_us, nj = cost
    return nj * lasted_us // duration_us


def _kept_awake(frame: int, span: SpanRecord) -> SpanObservation:
    return _span(frame, span.resource, span.from_us, span.until_us, span.used_us, span.held_until_us)


def _loaded(frame: int, load: LoadRecord) -> LoadObservation:
    return LoadObservation(
        frame=frame,
        label=load.label,
        target=load.target,
        resource=load.resource,
        lane=load.lane,
        bytes=load.bytes,
        planned_start_us=load.planned_start_us,
        start_us=load.start_us,
        loaded_us=load.loaded_us,
        arrive_us=load.arrive_us,
        nj=load.nj,
        stages=load.stages,
    )


def _sent(frame: int, send: SendRecord) -> TransferObservation:
    return _transfer(
        frame,
        send.stage,
        send.source,
        send.target,
        send.lane,
        send.planned_start_us,
        send.start_us,
        send.arrive_us,
        send.nj,
        send.resource,
        send.sent_us,
        send.error,
    )

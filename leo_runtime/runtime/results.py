"""A frame's result, from what its dispatcher says of its end and what its kernels told."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leo_runtime.dispatch.events import FrameDone, SpanRecord, StageRecord
from leo_runtime.dispatch.plan import Plan
from leo_runtime.documents.problem import Mode, Placement
from leo_runtime.documents.workload import TaskGraph, in_order
from leo_runtime.frame.batch import FramePrices, Job
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.records import (
    FrameResult,
    GraphResult,
    Solved,
    SpanObservation,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.runtime.answers import due_us, graph_result
from leo_runtime.runtime.drift import Key

if TYPE_CHECKING:
    import numpy as np

    Values = Sequence[Mapping[str, np.ndarray]]
    """Outputs by merged stage, for each frame of a batch."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A frame, or batch, as it was submitted, and its plan."""

    frame: int
    releases_us: tuple[int, ...]
    """Of each frame of a batch."""
    graphs: tuple[TaskGraph, ...]
    plan: Plan
    solved: Solved

    def job(self, record: StageRecord) -> Job:
        """What a run of it computes."""
        return self.plan.jobs[record.stage]


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
        self._merged = merged
        self._prices = prices
        self._simulated = frozenset(simulated)
        self._device_clocks = None if device_clocks is None else frozenset(device_clocks)
        self._in_order = {graph.name: in_order(graph) for graph in merged.workload.graphs}
        self._gates = frozenset(stage.name for stage in merged.stages if stage.bound.is_gate)

    def of(self, submitted: Submitted, done: FrameDone, values: Values | None) -> FrameResult:
        """The result of a frame that ended; `values` are None where nothing is computed."""
        releases_us, plan = submitted.releases_us, submitted.plan
        return FrameResult(
            frame=done.frame,
            release_us=releases_us[-1],
            placement=plan.placement,
            stages=tuple(self._observed(submitted, record) for record in done.stages),
            transfers=_transfers(done),
            skipped=done.skipped,
            graphs=tuple(
                graph_result(
                    graph,
                    self._in_order[graph.name],
                    self._merged,
                    releases_us,
                    number,
                    done,
                    plan.jobs,
                    None if values is None else values[number],
                )
                for number in range(len(releases_us))
                for graph in submitted.graphs
            ),
            wakes=tuple(WakeObservation(done.frame, resource, at_us) for resource, at_us in done.wakes),
            jobs=plan.jobs,
            spans=None if done.spans is None else tuple(_span(done.frame, span) for span in done.spans),
            waits_given_up=done.waits_given_up,
            admitted_us=None if done.admitted_us == releases_us[-1] else done.admitted_us,
            solved=submitted.solved,
        )

    def lasted(self, submitted: Submitted, done: FrameDone) -> Iterator[tuple[Key, int, int]]:
        """Of every run that computed something: its mode, and how long it takes by the profile and really took, in us.

        A mode is its stage, variant and resource.
        """
        for record in done.stages:
            if record.outcome == "done" and self._frames(submitted, record):
                key = (submitted.job(record).stage, record.variant, record.resource)
                yield key, self._profiled(submitted, record).duration_us, _lasted_us(record)

    def _observed(self, submitted: Submitted, record: StageRecord) -> StageObservation:
        report = record.report
        clocked = report is not None and (self._device_clocks is None or record.resource in self._device_clocks)
        device_us = report.device_us if report is not None and clocked else None
        device_nj = report.device_nj if report is not None and record.resource not in self._simulated else None
        lasted_us = _lasted_us(record) if device_us is None else device_us
        return StageObservation(
            frame=submitted.frame,
            stage=record.stage,
            resource=record.resource,
            variant=record.variant,
            lane=record.lane,
            outcome=record.outcome,
            planned_start_us=record.planned_start_us,
            planned_end_us=record.planned_end_us,
            start_us=record.start_us,
            end_us=record.end_us,
            expected_us=record.mode.duration_us,
            expected_nj=record.mode.energy_nj,
            device_us=device_us,
            nj=energy_nj(self._profiled(submitted, record), lasted_us) if device_nj is None else device_nj,
            energy_from="modelled" if device_nj is None else "measured",
            error=record.error or ("" if report is None else report.error),
            opened=None if report is None or submitted.job(record).stage not in self._gates else report.opened,
        )

    def _frames(self, submitted: Submitted, record: StageRecord) -> int:
        """Of how many frames of its batch a run was."""
        report = record.report
        planned = len(submitted.job(record).frames)
        return planned if report is None or report.frames is None else report.frames

    def _profiled(self, submitted: Submitted, record: StageRecord) -> Mode:
        """The mode of a run as the profile has it, for as many frames as it was of."""
        frames = max(1, self._frames(submitted, record))
        return self._prices.mode(submitted.job(record).stage, record.variant, record.resource, frames)


def unplaced_result(
    frame: int,
    releases_us: tuple[int, ...],
    graphs: tuple[TaskGraph, ...],
    now_us: int,
    placement: Placement,
    *,
    skipped: bool = False,
) -> FrameResult:
    """The result of a frame, or batch, of which nothing is known to have run; `placement` says why."""
    last_us = releases_us[-1]
    end_us = max(last_us, now_us)
    found = tuple(
        GraphResult(graph.name, frame, release_us, due_us(graph, releases_us), end_us, "failed", None, {}, number)
        for number, release_us in enumerate(releases_us)
        for graph in graphs
    )
    return FrameResult(frame, last_us, placement, (), (), found, skipped=skipped)


def energy_nj(mode: Mode, lasted_us: int) -> int:
    """What a run of that long takes at the mode's power."""
    return mode.energy_nj * lasted_us // mode.duration_us


def _lasted_us(record: StageRecord) -> int:
    return record.end_us - record.start_us


def _span(frame: int, span: SpanRecord) -> SpanObservation:
    return SpanObservation(frame, span.resource, span.from_us, span.until_us, span.used_us, span.held_until_us)


def _transfers(done: FrameDone) -> tuple[TransferObservation, ...]:
    return tuple(
        TransferObservation(
            frame=done.frame,
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
        )
        for send in done.sends
    )

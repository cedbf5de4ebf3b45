"""The plan of an answer with loads: that of a frame, what it has in memory, and its loads as uses of their stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from leo_runtime.dispatch.plan import (
    Needs,
    Plan,
    PlannedMemory,
    PlannedSpan,
    PlannedStay,
    Use,
    in_time,
    load_use,
    make_plan,
)
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem, stays
from leo_runtime.documents.problem import Placement


def make_memory_plan(
    problem: MemoryProblem, answer: MemoryPlacement, placement: Placement, needs: Mapping[str, Needs] | None = None
) -> Plan:
    """Make an answer ready to be dispatched; `placement` is all of it but its loads.

    Times are from the frame's release. The answer must be valid for the problem (`leo_runtime.check_memory`).
    """
    plan = make_plan(problem, placement, needs)
    sizes = {weights.label: weights.bytes for weights in problem.weights}
    loaders = {loader.target: loader for loader in problem.loaders}
    ends = {run.stage: run.end_us for run in answer.stages}
    found = []
    uses: dict[str, dict[Use, int]] = {}
    loads = sorted(answer.loads, key=lambda load: load.start_us)
    for number, stay in enumerate(stays(problem, answer.stages, loads)):
        from_us, lane = (0, None) if stay.load is None else (stay.load.start_us, stay.load.lane)
        until_us = max(ends[name] for name in stay.stages)
        found.append(PlannedStay(stay.label, stay.target, sizes[stay.label], from_us, until_us, stay.stages, lane))
        if stay.load is not None:
            uses.setdefault(loaders[stay.target].resource, {})[load_use(number)] = from_us
    for target in loaders:
        here = [run for run in answer.stages if run.resource == target]
        if here:
            begins = [run.start_us for run in here] + [load.start_us for load in loads if load.target == target]
            held = sum(plan.stages[run.stage].mode.memory_bytes for run in here)
            names = tuple(run.stage for run in here)
            found.append(PlannedStay("", target, held, min(begins), max(run.end_us for run in here), names))
    spans = [
        PlannedSpan(r.name, 0, wakes=False, uses=in_time(uses[r.name])) for r in problem.resources if r.name in uses
    ]
    return replace(plan, spans=(*plan.spans, *spans), memory=PlannedMemory(tuple(found), sizes))

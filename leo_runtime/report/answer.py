"""What there is to draw of one answer, of a frame or of a window: who uses what when, who waits, what is awake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Answer, Question
from leo_runtime.documents.window import CERTAIN, WindowPlacement, WindowProblem, WindowResource
from leo_runtime.solver.gates import Gates

BarKind = Literal["stage", "transfer", "load", "wait", "waking", "awake", "lingering"]


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasts. `row` is a lane, a link, or a resource where it is about being awake."""

    row: str
    kind: BarKind
    name: str
    start_us: int
    end_us: int
    chance_ppm: int
    """How likely it is to happen."""


def bars(problem: Question, placement: Answer) -> list[Bar]:
    """All bars of a valid answer, row by row: of each resource when it is awake, then its lanes; links last."""
    chances = {stage.name: getattr(stage, "chance_ppm", CERTAIN) for stage in problem.stages}
    gates = Gates.of(problem) if isinstance(problem, WindowProblem) else None
    found: list[Bar] = []
    for resource in problem.resources:
        if isinstance(placement, WindowPlacement) and isinstance(resource, WindowResource):
            assert isinstance(problem, WindowProblem) and gates is not None, "a window is answered by a window's answer"
            found += _awake(problem, placement, resource, gates)
        found += [
            Bar(_lane(run.resource, run.lane), "stage", run.stage, run.start_us, run.end_us, chances[run.stage])
            for run in placement.stages
            if run.resource == resource.name
        ]
        found += _loads(problem, placement, resource.name)
    ends = {run.stage: run for run in placement.stages}
    links = {(link.source, link.target): link for link in problem.links}
    modes = {(stage.name, mode.resource, mode.variant): mode for stage in problem.stages for mode in stage.modes}
    for row in placement.transfers:
        run, link = ends[row.stage], links[row.source, row.target]
        after = getattr(row, "after", ())
        chance = gates.likelihood_ppm(after) if gates and after else chances[row.stage]
        name, where = f"output of {row.stage}", f"{row.source} -> {row.target}"
        if row.start_us > run.end_us:
            waits = f"{name} waits for {' or '.join(after)}" if after else f"{name} waits"
            found.append(Bar(where, "wait", waits, run.end_us, row.start_us, chance))
        found.append(Bar(where, "transfer", name, row.start_us, row.arrive_us, chance))
        if link.resource is not None and row.lane is not None:
            sent_us = row.start_us + link.sending_us(modes[row.stage, run.resource, run.variant].output_bytes)
            found.append(Bar(_lane(link.resource, row.lane), "transfer", name, row.start_us, sent_us, chance))
    return found


def _loads(problem: Question, placement: Answer, store: str) -> Iterator[Bar]:
    """What is loaded from a store."""
    if not isinstance(problem, MemoryProblem) or not isinstance(placement, MemoryPlacement):
        return
    loaders = {loader.target: loader for loader in problem.loaders}
    sizes = {one.label: one.bytes for one in problem.weights}
    for load in placement.loads:
        loader = loaders[load.target]
        if loader.resource == store:
            until_us = load.start_us + loader.loading_us(sizes[load.label])
            name = f"{load.label} to {load.target}"
            yield Bar(_lane(store, load.lane), "load", name, load.start_us, until_us, CERTAIN)


def _awake(problem: WindowProblem, placement: WindowPlacement, resource: WindowResource, gates: Gates) -> Iterator[Bar]:
    """When a resource wakes, is awake, and lingers."""
    row = f"{resource.name} awake"
    if resource.linger_us is None:
        yield Bar(row, "awake", "never sleeps", 0, problem.horizon_us, CERTAIN)
        return
    for i, span in enumerate(span for span in placement.spans if span.resource == resource.name):
        first = resource.awake and i == 0
        chance = gates.likelihood_ppm(span.after) if span.after else CERTAIN
        after = f" after {' or '.join(span.after)}" if span.after else ""
        woken_us = span.from_us
        if not first:
            woken_us = min(span.until_us, span.from_us + resource.wake_latency_us)
            yield Bar(row, "waking", f"wakes{after}", span.from_us, woken_us, chance)
        yield Bar(row, "awake", f"awake{after}", woken_us, span.until_us, chance)
        over_us = span.until_us + resource.linger_us if span.until_us or not first else 0
        over_us = min(max(over_us, resource.awake_until_us if first else 0), problem.horizon_us)
        if over_us > span.until_us:
            yield Bar(row, "lingering", "lingers", span.until_us, over_us, chance)


def _lane(resource: str, lane: int) -> str:
    return f"{resource} {lane}"

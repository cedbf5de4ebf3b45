"""A placement made ready to be dispatched: what each stage waits for, who reads it, and where else it could run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leo_runtime.documents.problem import Link, Mode, Placement, Problem, StageRun
from leo_runtime.frame.batch import Job


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stage waits for: the outputs it reads, and gates of which one has to open."""

    reads: tuple[str, ...]
    gates: tuple[str, ...] = ()
    takes_absent: bool = False
    """It runs as long as one of its `reads` is there; otherwise it needs all."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every stage waited for, each once."""
        return tuple(dict.fromkeys((*self.reads, *self.gates)))


@dataclass(frozen=True, slots=True, eq=False)
class PlannedStage:
    """A stage of a plan with all that dispatching it takes."""

    run: StageRun
    mode: Mode
    needs: Needs
    waits: tuple[str, ...]
    """`needs.all`."""
    readers: tuple[str, ...]
    """The stages that wait for it."""
    release_us: int
    others: tuple[Mode, ...]
    """Its modes on other processors, the fastest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A placement made ready to be dispatched, for any number of frames."""

    problem: Problem
    placement: Placement
    stages: Mapping[str, PlannedStage]
    """Inputs before their readers."""
    sends: tuple[tuple[str, str, int | None, int], ...]
    """(stage, target, lane, planned start) of every transfer."""
    links: Mapping[tuple[str, str], Link]
    wake_us: Mapping[str, int]
    """How long each resource takes to wake up."""
    caps: Mapping[str, int]
    """Memory caps, by resource."""
    uses: tuple[str, ...]
    """The resources that something runs on or is sent over."""
    first_use_us: Mapping[str, int]
    """When each of them is first needed."""
    jobs: Mapping[str, Job]
    """What each of its stages computes, of one frame or of a batch."""


def make_plan(
    problem: Problem,
    placement: Placement,
    needs: Mapping[str, Needs] | None = None,
    jobs: Mapping[str, Job] | None = None,
) -> Plan:
    """Make a placement ready. `needs` of a stage says which of its inputs are gates; without, all are read.

    The placement must be valid for the problem (`leo_runtime.check`). Raises `KeyError` where a stage is not placed.
    """
    runs = {run.stage: run for run in placement.stages}
    readers: dict[str, list[str]] = {stage.name: [] for stage in problem.stages}
    for stage in problem.stages:
        for name in stage.inputs:
            readers[name].append(stage.name)
    links = {(link.source, link.target): link for link in problem.links}
    stages: dict[str, PlannedStage] = {}
    for stage in sorted(problem.stages, key=lambda stage: runs[stage.name].start_us):
        run = runs[stage.name]
        known = (needs or {}).get(stage.name) or Needs(stage.inputs)
        others = sorted(
            (mode for mode in stage.modes if mode.resource != run.resource),
            key=lambda mode: (mode.duration_us, mode.energy_nj, mode.accuracy_loss_ppm, mode.resource, mode.variant),
        )
        stages[stage.name] = PlannedStage(
            run=run,
            mode=next(mode for mode in stage.modes if (mode.resource, mode.variant) == (run.resource, run.variant)),
            needs=known,
            waits=known.all,
            readers=tuple(readers[stage.name]),
            release_us=stage.release_us,
            others=tuple(others),
        )
    first: dict[str, int] = {}
    for run in placement.stages:
        first[run.resource] = min(run.start_us, first.get(run.resource, run.start_us))
    for send in placement.transfers:
        if (radio := links[send.source, send.target].resource) is not None:
            first[radio] = min(send.start_us, first.get(radio, send.start_us))
    return Plan(
        problem=problem,
        placement=placement,
        stages=stages,
        sends=tuple((send.stage, send.target, send.lane, send.start_us) for send in placement.transfers),
        links=links,
        wake_us={resource.name: resource.wake_latency_us for resource in problem.resources},
        caps={r.name: r.memory_bytes for r in problem.resources if r.memory_bytes is not None},
        uses=tuple(resource.name for resource in problem.resources if resource.name in first),
        first_use_us=first,
        jobs={name: Job(name, (0,)) for name in stages} if jobs is None else jobs,
    )

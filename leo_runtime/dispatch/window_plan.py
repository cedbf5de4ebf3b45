"""The plan of a window: what of it is carried out now, when each resource is awake for that, and how long to wait."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from leo_runtime.dispatch.plan import (
    Needs,
    Plan,
    PlannedSend,
    PlannedSpan,
    Use,
    Wait,
    in_time,
    memory_caps,
    planned_stages,
    wake_latencies_us,
)
from leo_runtime.documents.problem import AccuracyBudget, Link, Placement, StageRun, TransferRun
from leo_runtime.documents.window import Span, WindowPlacement, WindowProblem, WindowStage
from leo_runtime.frame.batch import Job
from leo_runtime.solver.gates import Gates

RESERVE_PERCENT = 50
"""Where runs last otherwise than planned, all that hangs on a wait is taken to last longer by so much."""

_Timed = tuple[int, int]
"""When a use is planned to start, and when it ends."""


def make_window_plan(
    problem: WindowProblem,
    placement: WindowPlacement,
    needs: Mapping[str, Needs] | None = None,
    jobs: Mapping[str, Job] | None = None,
    *,
    at_hand: Collection[str] | None = None,
) -> Plan:
    """Make the part of a window's answer that is carried out ready; time 0 of the plan is time 0 of the window.

    `at_hand` are the stages that are carried out, all where it is None: those of the release at hand, of which none
    reads what is not at hand. The plan has these stages, and the transfers that one of them sends and another reads;
    the rest is forecast, and says only how long a resource is held after its last use here. `needs` and `jobs` of
    these stages are as `make_plan` takes them; without needs, a stage runs as the window's rules say: if one of its
    gates opened and one of its other inputs, if it has any, is there.

    `plan.placement` is the part that is carried out in the form of `leo-placement/1`, with the status, criteria and
    bounds of the whole window. The answer must be valid for the question (`leo_runtime.judge.window.check_window`).
    Raises `KeyError` where a stage is not placed, and `ValueError` where a use lies in no span.
    """
    named = {stage.name for stage in problem.stages} if at_hand is None else set(at_hand)
    stages = [stage for stage in problem.stages if stage.name in named]
    window = _Window.of(problem, placement, slack=True)
    runs = {name: run for name, run in window.runs.items() if name in named}
    transfers = [
        row
        for row in placement.transfers
        if row.stage in named and any(name in named for name in window.readers(row.stage, row.target))
    ]
    carried = {(name, None) for name in runs} | {(row.stage, row.target) for row in transfers}
    made = planned_stages(stages, runs, {s.name: (needs or {}).get(s.name) or _own_needs(s) for s in stages})
    return Plan(
        placement=_at_hand(placement, tuple(runs.values()), transfers),
        stages=made,
        sends=tuple(
            PlannedSend(row.stage, row.target, row.lane, row.start_us, window.wait((row.stage, row.target), row.after))
            for row in transfers
        ),
        links=window.links,
        wake_us=wake_latencies_us(problem),
        caps=memory_caps(problem),
        budgets=tuple(_budget(budget, window, named) for budget in problem.accuracy_budgets),
        spans=tuple(span for r in problem.resources for span in window.spans(r.name, carried)),
        jobs={name: Job(name, (0,)) for name in made} if jobs is None else jobs,
        linger_us={resource.name: resource.linger_us for resource in problem.resources},
    )


def latest_starts_us(
    problem: WindowProblem, placement: WindowPlacement, reserve_percent: int = 0
) -> dict[Use, int | None]:
    """When each stage and each sending must start, so that no deadline is missed by more than the plan misses it.

    From the last use to the first: a use ends before what reads it starts, before what follows it on its lane starts,
    and before its deadline, or its planned end where that is later. Durations are the planned ones, and
    `reserve_percent` more. None: no deadline hangs on it.
    """
    return _latest(_Window.of(problem, placement), reserve_percent)


def _latest(window: _Window, reserve_percent: int) -> dict[Use, int | None]:
    followers = window.followers()
    latest: dict[Use, int | None] = {}
    for use in sorted(window.times, key=lambda use: (window.times[use][0], use[1] is None), reverse=True):
        start_us, end_us = window.times[use]
        limits = [max(d.deadline_us, end_us) for d in window.problem.deadlines if use == (d.stage, None)]
        for follower, lag_us in followers[use]:
            if (at_us := latest[follower]) is not None:
                limits.append(at_us - lag_us)
        lasts_us = -(-(end_us - start_us) * (100 + reserve_percent) // 100)
        latest[use] = min(limits) - lasts_us if limits else None
    return latest


@dataclass(frozen=True, slots=True)
class _Window:
    """A question and its answer, by name."""

    problem: WindowProblem
    placement: WindowPlacement
    runs: Mapping[str, StageRun]
    links: Mapping[tuple[str, str], Link]
    times: Mapping[Use, _Timed]
    gates: Gates
    latest: Mapping[Use, int | None] = field(default_factory=dict)
    careful: Mapping[Use, int | None] = field(default_factory=dict)
    """When each use must start, as planned and with the reserve; empty where nothing waits."""

    @staticmethod
    def of(problem: WindowProblem, placement: WindowPlacement, *, slack: bool = False) -> _Window:
        """`slack`: also when each use must start, if anything waits."""
        runs = {run.stage: run for run in placement.stages}
        links = {(link.source, link.target): link for link in problem.links}
        sizes = {(s.name, m.resource, m.variant): m.output_bytes for s in problem.stages for m in s.modes}
        times: dict[Use, _Timed] = {(run.stage, None): (run.start_us, run.end_us) for run in placement.stages}
        for row in placement.transfers:
            run = runs[row.stage]
            sending_us = links[row.source, row.target].sending_us(sizes[row.stage, run.resource, run.variant])
            times[row.stage, row.target] = (row.start_us, row.start_us + sending_us)
        made = _Window(problem, placement, runs, links, times, Gates.of(problem))
        if slack and (any(row.after for row in placement.transfers) or any(span.after for span in placement.spans)):
            return replace(made, latest=_latest(made, 0), careful=_latest(made, RESERVE_PERCENT))
        return made

    def readers(self, stage: str, target: str) -> list[str]:
        """The stages that read an output at a target."""
        return [s.name for s in self.problem.stages if stage in s.inputs and self.runs[s.name].resource == target]

    def resource(self, use: Use) -> str | None:
        """What a use occupies."""
        stage, target = use
        here = self.runs[stage].resource
        return here if target is None else self.links[here, target].resource

    def followers(self) -> dict[Use, list[tuple[Use, int]]]:
        """What starts after each use, and how long after its end at least: its readers, and the next on its lane."""
        found: dict[Use, list[tuple[Use, int]]] = {use: [] for use in self.times}
        lanes: dict[tuple[str, int], list[Use]] = {}
        sent = {(row.stage, row.target) for row in self.placement.transfers}
        for stage in self.problem.stages:
            here = self.runs[stage.name].resource
            for name in stage.inputs:
                if (name, here) not in sent:
                    found[name, None].append(((stage.name, None), 0))
                    continue
                found[name, None].append(((name, here), 0))
                latency_us = self.links[self.runs[name].resource, here].latency_us
                found[name, here].append(((stage.name, None), latency_us))
        for run in self.placement.stages:
            lanes.setdefault((run.resource, run.lane), []).append((run.stage, None))
        for row in self.placement.transfers:
            radio = self.links[row.source, row.target].resource
            if radio is not None and row.lane is not None:
                lanes.setdefault((radio, row.lane), []).append((row.stage, row.target))
        for lane in lanes.values():
            for use, follower in pairwise(
                sorted((u for u in lane if _lasts(self.times[u])), key=self.times.__getitem__)
            ):
                found[use].append((follower, 0))
        return found

    def wait(self, use: Use, gates: tuple[str, ...], before_us: int = 0) -> Wait | None:
        """For how long a use can wait for gates, where something else takes `before_us` until it can start."""
        if not gates:
            return None
        latest_us, careful_us = self.latest[use], self.careful[use]
        return Wait(
            gates,
            None if latest_us is None else latest_us - before_us,
            None if careful_us is None else careful_us - before_us,
        )

    def spans(self, name: str, carried: Collection[Use]) -> list[PlannedSpan]:
        """The spans of a resource that something of what is carried out uses."""
        resource = next(r for r in self.problem.resources if r.name == name)
        spans = [span for span in self.placement.spans if span.resource == name]
        inside: list[dict[Use, int]] = [{} for _ in spans]
        for use, (start_us, _) in self.times.items():
            if self.resource(use) == name:
                inside[self._span_of(use, spans, resource.awake, resource.wake_latency_us)][use] = start_us
        found = []
        for number, (span, uses) in enumerate(zip(spans, inside, strict=True)):
            here = in_time({use: start_us for use, start_us in uses.items() if use in carried})
            if not here:
                continue
            last_us = max(here.values())
            later = [start_us for use, start_us in uses.items() if use not in carried and start_us >= last_us]
            waits = {use: self.wait(use, self._opener(use, span), resource.wake_latency_us) for use in here}
            found.append(
                PlannedSpan(
                    name,
                    span.from_us,
                    wakes=number > 0 or not resource.awake,
                    uses=here,
                    waits={use: wait for use, wait in waits.items() if wait is not None},
                    held_until_us=min(later, default=None),
                )
            )
        return found

    def _span_of(self, use: Use, spans: list[Span], awake: bool, latency_us: int) -> int:
        """The number of the span that a use lies in; a sending of 0 us may fit two, of which it needs one."""
        start_us, end_us = self.times[use]
        for number, span in enumerate(spans):
            if not span.from_us <= start_us or not end_us <= span.until_us:
                continue
            if number == 0 and awake:
                return number
            if start_us >= span.from_us + latency_us and (not span.after or self._opener(use, span)):
                return number
        raise ValueError(f"{use[0]} lies in no span of {self.resource(use)}")

    def _opener(self, use: Use, span: Span) -> tuple[str, ...]:
        """The gates for which a use in a span that waits has to wait: the first it is behind, or a transfer's own."""
        stage, target = use
        own = next((row.after for row in self.placement.transfers if (row.stage, row.target) == (stage, target)), ())
        behind = self.gates.behind
        if not span.after:
            return ()
        if own:
            listed = all(gate in span.after or not behind[gate].isdisjoint(span.after) for gate in own)
            return own if listed else ()
        return tuple(gate for gate in span.after if gate in behind[stage])[:1]


def _own_needs(stage: WindowStage) -> Needs:
    """What a stage waits for by the rules of a window: its inputs that are no gates may be absent."""
    return Needs(tuple(name for name in stage.inputs if name not in stage.gates), stage.gates, takes_absent=True)


def _at_hand(placement: WindowPlacement, runs: tuple[StageRun, ...], rows: Collection[TransferRun]) -> Placement:
    return Placement(
        format="leo-placement/1",
        problem=placement.problem,
        solver=placement.solver,
        status=placement.status,
        criteria=placement.criteria,
        bounds=placement.bounds,
        stages=runs,
        transfers=tuple(TransferRun(**row.model_dump(exclude={"after"})) for row in rows),
        solve_us=placement.solve_us,
        reason=placement.reason,
    )


def _budget(budget: AccuracyBudget, window: _Window, named: Collection[str]) -> AccuracyBudget:
    """What is left of a budget for the stages that are carried out, if the others lose what they are planned to."""
    losses = {(s.name, m.resource, m.variant): m.accuracy_loss_ppm for s in window.problem.stages for m in s.modes}
    rest = [window.runs[name] for name in budget.stages if name not in named]
    lost_ppm = sum(losses[run.stage, run.resource, run.variant] for run in rest)
    return AccuracyBudget(
        stages=tuple(name for name in budget.stages if name in named), loss_ppm_max=budget.loss_ppm_max - lost_ppm
    )


def _lasts(times: _Timed) -> bool:
    return times[1] > times[0]

"""The plan of a window: what of it is carried out now, when each resource is awake for that, and how long to wait."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from itertools import pairwise

from leo_runtime.dispatch.plan import (
    Needs,
    Plan,
    PlannedHold,
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
from leo_runtime.documents.window import (
    Span,
    WindowPlacement,
    WindowProblem,
    WindowResource,
    WindowStage,
    WindowTransfer,
)
from leo_runtime.frame.batch import Job
from leo_runtime.frozen import dataclass
from leo_runtime.solver.gates import Gates

RESERVE_PERCENT = 25
"""All that hangs on a wait is taken to last longer than planned by so much: who waits uses up the slack of what comes.
With 20, of 1,500 windows of either kind in `leo_runtime.testing` whose durations spread by 30 percent none missed more
deadlines than without lists; with 10 and with 0 some did. More than needed would only wait less."""

_Timed = tuple[int, int]
"""When a use is planned to start, and when it ends."""


def make_window_plan(
    problem: WindowProblem,
    placement: WindowPlacement,
    needs: Mapping[str, Needs] | None = None,
    jobs: Mapping[str, Job] | None = None,
    *,
    at_hand: Collection[str] | Mapping[str, str] | None = None,
    there: Mapping[str, str] | None = None,
    after_us: int = 0,
    elsewhere: Collection[str] = (),
    asked_again_us: int | None = None,
) -> Plan:
    """Make the part of a window's answer that one frame carries out ready, for `FrameAdmitted`.

    `at_hand` are the stages that are carried out, all where it is None: those of the release at hand. The plan has
    these stages, and the transfers of their outputs to others of them; the rest is forecast, and says only how long a
    resource is held after its last use here. `needs` and `jobs` of these stages are as `make_plan` takes them; without
    needs, a stage runs as the window's rules say: if one of its gates opened, and one of its other inputs is there.

    Of an earlier frame whose waiting stages are placed again (`FrameAdmitted.again`), `at_hand` maps their names in the
    question to their names in the frame, and `there` the names of what is there already, such as the stages on
    `at:...`; the window begins `after_us` after that frame's release. `needs` and `jobs` then go by the frame's names,
    as does all of the plan, whose times are from the frame's release.

    With `asked_again_us`, the time of the next question, the plan also has resources be awake for stages that only
    later releases have: it holds what is awake already, and wakes what could not be awake in time if that began with
    the next question. `elsewhere` are stages that other plans of the same answer carry out, those of earlier frames.

    `plan.placement` is the part that is carried out in the form of `leo-placement/1`, with the status, criteria and
    bounds of the whole window. The answer must be valid for the question (`leo_runtime.check_window`).
    Raises `KeyError` where a stage is not placed, and `ValueError` where a use lies in no span.
    """
    window = _Window.of(problem, placement, slack=True)
    at_hand = [stage.name for stage in problem.stages] if at_hand is None else at_hand
    renamed = dict(at_hand) if isinstance(at_hand, Mapping) else {name: name for name in at_hand}
    part = _Part(window, {**(there or {}), **renamed}, frozenset(renamed), after_us)
    stages, runs = part.stages(), part.runs()
    made = planned_stages(stages, runs, {s.name: (needs or {}).get(s.name) or _own_needs(s) for s in stages})
    return Plan(
        placement=part.placement(tuple(runs.values())),
        stages=made,
        sends=part.sends(),
        links=window.links,
        wake_us=wake_latencies_us(problem),
        caps=memory_caps(problem),
        budgets=tuple(part.budget(budget) for budget in problem.accuracy_budgets),
        spans=part.spans(),
        jobs={name: Job(name, (0,)) for name in made} if jobs is None else jobs,
        linger_us={resource.name: resource.linger_us for resource in problem.resources},
        holds=() if asked_again_us is None else part.holds(elsewhere, asked_again_us),
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
    """When each use must start, with the reserve; empty where nothing waits."""

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
            return replace(made, latest=_latest(made, RESERVE_PERCENT))
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

    def inside(self, name: str) -> list[tuple[Span, Mapping[Use, int]]]:
        """Each span of a resource, and the planned starts of what uses it in that span."""
        resource = next(r for r in self.problem.resources if r.name == name)
        spans = [span for span in self.placement.spans if span.resource == name]
        inside: list[dict[Use, int]] = [{} for _ in spans]
        for use, (start_us, _) in self.times.items():
            if self.resource(use) == name:
                inside[self._span_of(use, spans, resource)][use] = start_us
        return [(span, in_time(uses)) for span, uses in zip(spans, inside, strict=True)]

    def _span_of(self, use: Use, spans: list[Span], resource: WindowResource) -> int:
        """The number of the span that a use lies in; a sending of 0 us may fit two, of which it needs one."""
        start_us, end_us = self.times[use]
        for number, span in enumerate(spans):
            if not span.from_us <= start_us or not end_us <= span.until_us:
                continue
            if number == 0 and resource.awake:
                return number
            if start_us >= span.from_us + resource.wake_latency_us and (not span.after or self.openers(use, span)):
                return number
        raise ValueError(f"{use[0]} lies in no span of {self.resource(use)}")

    def openers(self, use: Use, span: Span) -> tuple[str, ...]:
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


@dataclass(frozen=True, slots=True)
class _Part:
    """What one frame carries out of a window, under the names and in the time of that frame."""

    window: _Window
    names: Mapping[str, str]
    """Of the question's stages that the frame knows, their names in it."""
    carried: Collection[str]
    """Those of them that run, by their names in the question."""
    after_us: int

    def stages(self) -> list[WindowStage]:
        return [self._stage(stage) for stage in self.window.problem.stages if stage.name in self.carried]

    def _stage(self, stage: WindowStage) -> WindowStage:
        name, inputs, gates = self.names[stage.name], self._known(stage.inputs), self._known(stage.gates)
        if not self.after_us and (name, inputs, gates) == (stage.name, stage.inputs, stage.gates):
            return stage
        release_us = self.after_us + stage.release_us
        return stage.model_copy(update={"name": name, "release_us": release_us, "inputs": inputs, "gates": gates})

    def runs(self) -> dict[str, StageRun]:
        return {self.names[r.stage]: self._run(r) for r in self.window.placement.stages if r.stage in self.carried}

    def _run(self, run: StageRun) -> StageRun:
        name = self.names[run.stage]
        if not self.after_us and name == run.stage:
            return run
        times = {"start_us": self.after_us + run.start_us, "end_us": self.after_us + run.end_us}
        return run.model_copy(update={"stage": name, **times})

    def transfers(self) -> list[WindowTransfer]:
        """As the question has them."""
        return [
            row
            for row in self.window.placement.transfers
            if row.stage in self.names
            and any(name in self.carried for name in self.window.readers(row.stage, row.target))
        ]

    def sends(self) -> tuple[PlannedSend, ...]:
        return tuple(
            PlannedSend(
                self.names[row.stage],
                row.target,
                row.lane,
                self.after_us + row.start_us,
                self._wait((row.stage, row.target), row.after),
            )
            for row in self.transfers()
        )

    def spans(self) -> tuple[PlannedSpan, ...]:
        """The spans that something of what is carried out uses."""
        uses = {(name, None) for name in self.carried} | {(row.stage, row.target) for row in self.transfers()}
        found = []
        for resource in self.window.problem.resources:
            for number, (span, starts) in enumerate(self.window.inside(resource.name)):
                here = {use: start_us for use, start_us in starts.items() if use in uses}
                if not here:
                    continue
                last_us = max(here.values())
                later = [start_us for use, start_us in starts.items() if use not in uses and start_us >= last_us]
                waits = {use: self._wait(use, self.window.openers(use, span), resource.wake_latency_us) for use in here}
                found.append(
                    PlannedSpan(
                        resource.name,
                        self.after_us + span.from_us,
                        wakes=number > 0 or not resource.awake,
                        uses={self._named(use): self.after_us + start_us for use, start_us in here.items()},
                        waits={self._named(use): wait for use, wait in waits.items() if wait is not None},
                        held_until_us=self.after_us + min(later) if later else None,
                    )
                )
        return tuple(found)

    def holds(self, elsewhere: Collection[str], asked_again_us: int) -> tuple[PlannedHold, ...]:
        """The resources that only later releases use, and that have to be awake or woken before the next question."""
        found = []
        for resource in self.window.problem.resources:
            if resource.linger_us is None:
                continue
            for number, (span, starts) in enumerate(self.window.inside(resource.name)):
                if not starts or any(stage in self.carried or stage in elsewhere for stage, _ in starts):
                    continue
                wakes, first_us = number > 0 or not resource.awake, min(starts.values())
                now = span.from_us == 0 and not span.after and first_us - resource.wake_latency_us < asked_again_us
                if now or not wakes:
                    found.append(PlannedHold(resource.name, first_us, wakes))
        return tuple(found)

    def placement(self, runs: tuple[StageRun, ...]) -> Placement:
        whole = self.window.placement
        return Placement(
            format="leo-placement/1",
            problem=whole.problem,
            solver=whole.solver,
            status=whole.status,
            criteria=whole.criteria,
            bounds=whole.bounds,
            stages=runs,
            transfers=tuple(
                TransferRun(
                    stage=self.names[row.stage],
                    source=row.source,
                    target=row.target,
                    lane=row.lane,
                    start_us=self.after_us + row.start_us,
                    arrive_us=self.after_us + row.arrive_us,
                )
                for row in self.transfers()
            ),
            solve_us=whole.solve_us,
            reason=whole.reason,
        )

    def budget(self, budget: AccuracyBudget) -> AccuracyBudget:
        """What is left of it for what is carried out, if the other stages lose what they are planned to."""
        losses = {
            (s.name, m.resource, m.variant): m.accuracy_loss_ppm for s in self.window.problem.stages for m in s.modes
        }
        rest = [self.window.runs[name] for name in budget.stages if name not in self.carried]
        lost_ppm = sum(losses[run.stage, run.resource, run.variant] for run in rest)
        return AccuracyBudget(
            stages=tuple(self.names[name] for name in budget.stages if name in self.carried),
            loss_ppm_max=budget.loss_ppm_max - lost_ppm,
        )

    def _known(self, names: Collection[str]) -> tuple[str, ...]:
        return tuple(self.names[name] for name in names if name in self.names)

    def _named(self, use: Use) -> Use:
        return self.names[use[0]], use[1]

    def _wait(self, use: Use, gates: tuple[str, ...], before_us: int = 0) -> Wait | None:
        """For how long a use can wait for gates, where something else takes `before_us` until it can start."""
        if not (known := self._known(gates)):
            return None
        due_us = max(self.window.runs[gate].end_us for gate in gates if gate in self.names)
        latest_us = self.window.latest[use]
        return Wait(known, self.after_us + due_us, None if latest_us is None else self.after_us + latest_us - before_us)


def _own_needs(stage: WindowStage) -> Needs:
    """What a stage waits for by the rules of a window: its inputs that are no gates may be absent."""
    return Needs(tuple(name for name in stage.inputs if name not in stage.gates), stage.gates, takes_absent=True)


def _lasts(times: _Timed) -> bool:
    return times[1] > times[0]

"""Why every stage is where it is: what each other mode would cost, and which rule stands in its way.

For each other mode of a stage the whole frame is solved again, exactly, with that mode forced and everything else free
to change. So the difference is what the mode really costs, not what moving one stage in a frozen schedule would cost.
Where the search stops at its limit, the difference is bounded, and said so.

A rule *binds* a mode if without that rule the mode would be as good as any: the frame is solved with the rule lifted,
once freely and once with the mode forced, and both come out the same. An impossible mode is bound by each rule without
which it is possible. If no rule binds alone, the mode itself is dearer, or several rules stand in its way together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from leo_runtime.documents.problem import (
    CRITERIA,
    Criteria,
    Criterion,
    Link,
    Mode,
    Placement,
    Problem,
    Resource,
    StageModes,
    StageRun,
    TransferRun,
)
from leo_runtime.errors import InputError, SolverError
from leo_runtime.judge import check
from leo_runtime.solver import solve
from leo_runtime.values import whole

LIMIT_NODES = 10_000
"""How far each forced mode is searched unless the caller says otherwise."""

Rule = Literal["deadline", "lane", "link", "memory", "wake-up", "budget", "limit"]
Verdict = Literal["worse", "equal", "better", "impossible", "open"]
WaitKind = Literal["release", "input", "link", "lane", "wake-up", "nothing"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another mode of a stage.

    `verdict` compares the frame with this mode forced to the placement, criterion by criterion in the objective's
    order; `open` where the search stopped before that was known. `proved` says whether `criteria` are the best there
    are under this mode. `bounds` are proved lower bounds, as in a placement. `differences` are `criteria` minus
    the placement's, for every criterion; empty where none were found. `binds` are the rules that bind; `reason` says
    why the mode is impossible.
    """

    resource: str
    variant: str
    verdict: Verdict
    proved: bool
    criteria: Criteria | None
    bounds: tuple[int, ...]
    differences: tuple[tuple[Criterion, int], ...]
    binds: tuple[Rule, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that ends exactly when the stage starts, so that it could not start earlier where it is."""

    kind: WaitKind
    text: str


@dataclass(frozen=True, slots=True)
class StageExplanation:
    """One stage: where and when it runs, what its start waits for, and what its other modes would cost."""

    run: StageRun
    waits: tuple[Wait, ...]
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The stages asked for, in the problem's order. `reason` is why there is no placement, where there is none."""

    problem: str
    criteria: Criteria | None
    objective: tuple[Criterion, ...]
    stages: tuple[StageExplanation, ...]
    reason: str = ""

    def __str__(self) -> str:
        """The explanation as text, for a terminal: one paragraph a stage."""
        return render(self)


def explain(
    problem: Problem, placement: Placement, stage: str | None = None, *, limit_nodes: int = LIMIT_NODES
) -> Explanation:
    """Explain every stage of a placement, or one.

    Raises `InputError` where the placement breaks a rule, there is no such stage, or a number is none.
    """
    report = check(problem, placement)
    limit_nodes = whole(limit_nodes, "limit_nodes")
    if stage is not None and all(stage != known.name for known in problem.stages):
        names = ", ".join(known.name for known in problem.stages)
        raise InputError(f'`{problem.name}` has no stage "{stage}"', hint=f"its stages are {names}")
    if report.violations:
        raise InputError(
            f"`{problem.name}`: the placement breaks a rule ({report.violations[0]})",
            hint="`leo-runtime check` names every broken rule",
        )
    if report.criteria is None:
        return Explanation(problem.name, None, problem.objective, (), placement.reason or "no reason is given")
    case = _Case(problem, report.criteria, limit_nodes, {})
    explained = []
    for wanted in problem.stages:
        if stage in (None, wanted.name):
            run = next(run for run in placement.stages if run.stage == wanted.name)
            others = [mode for mode in wanted.modes if (mode.resource, mode.variant) != (run.resource, run.variant)]
            alternatives = tuple(_alternative(case, wanted, mode) for mode in others)
            waits = tuple(_waits(problem, placement, wanted, run))
            explained.append(StageExplanation(run, waits, alternatives))
    return Explanation(problem.name, report.criteria, problem.objective, tuple(explained))


@dataclass(frozen=True, slots=True)
class _Case:
    """What stays the same while the modes of one placement are tried."""

    problem: Problem
    criteria: Criteria
    limit_nodes: int
    lifted: dict[tuple[Rule, str], Placement | None]
    """The free problem's answer with a rule lifted for a resource, once it is known."""

    def solved(self, problem: Problem) -> Placement | None:
        """The exact answer, proved or not; None where the search stopped before it found any."""
        try:
            return solve(problem, "exact", limit_nodes=self.limit_nodes)
        except SolverError:
            return None

    def value(self, criteria: Criteria) -> tuple[int, ...]:
        """What is minimised, in order."""
        return tuple(getattr(criteria, name) for name in self.problem.objective)


def _alternative(case: _Case, stage: StageModes, mode: Mode) -> Alternative:
    forced = _forced(case.problem, stage, mode)
    answer = case.solved(forced)
    if answer is None:
        return Alternative(mode.resource, mode.variant, "open", False, None, (), (), ())
    verdict = _verdict(case, answer)
    differences: tuple[tuple[Criterion, int], ...] = ()
    if answer.criteria is not None:
        differences = tuple((name, getattr(answer.criteria, name) - getattr(case.criteria, name)) for name in CRITERIA)
    return Alternative(
        mode.resource,
        mode.variant,
        verdict,
        answer.status != "feasible",
        answer.criteria,
        answer.bounds,
        differences,
        tuple(_binding(case, forced, mode, verdict)) if verdict in ("worse", "impossible") else (),
        answer.reason or "",
    )


def _verdict(case: _Case, answer: Placement) -> Verdict:
    """How the frame with a mode forced compares with the placement."""
    if answer.criteria is None:
        return "impossible"
    have, forced = case.value(case.criteria), case.value(answer.criteria)
    if forced < have:
        return "better"
    if answer.status == "optimal":
        return "equal" if forced == have else "worse"
    return "worse" if answer.bounds[0] > have[0] else "open"


def _forced(problem: Problem, stage: StageModes, mode: Mode) -> Problem:
    """The problem in which a stage has this mode only."""
    only = stage.model_copy(update={"modes": (mode,)})
    stages = tuple(only if other.name == stage.name else other for other in problem.stages)
    return problem.model_copy(update={"stages": stages})


def _binding(case: _Case, forced: Problem, mode: Mode, verdict: Verdict) -> Iterator[Rule]:
    """The rules any one of which stands in the way of the forced mode."""
    for rule, lift in _LIFTS.items():
        lifted = lift(forced, mode.resource)
        if lifted == forced:
            continue
        answer = case.solved(lifted)
        if answer is None or answer.criteria is None:
            continue
        if verdict == "impossible":
            yield rule
            continue
        if (rule, mode.resource) not in case.lifted:
            case.lifted[rule, mode.resource] = case.solved(lift(case.problem, mode.resource))
        free = case.lifted[rule, mode.resource]
        if free is not None and free.criteria is not None and case.value(answer.criteria) <= case.value(free.criteria):
            yield rule


def _without_deadlines(problem: Problem, _: str) -> Problem:
    return problem.model_copy(update={"deadlines": ()})


def _with_free_lanes(problem: Problem, name: str) -> Problem:
    """So many lanes, free at once, that nothing waits for one on that resource."""
    enough = len(problem.stages)
    return _changed(problem, name, lambda resource: {"lanes": max(resource.lanes, enough), "ready_us": ()})


def _with_free_links(problem: Problem, name: str) -> Problem:
    """Everything reaches that resource, and leaves it, at once and for nothing."""
    links = [link for link in problem.links if name not in (link.source, link.target)]
    for other in problem.resources:
        if other.name != name:
            links += [Link(source=other.name, target=name), Link(source=name, target=other.name)]
    return problem.model_copy(update={"links": tuple(links)})


def _without_memory_caps(problem: Problem, _: str) -> Problem:
    resources = tuple(resource.model_copy(update={"memory_bytes": None}) for resource in problem.resources)
    return problem.model_copy(update={"resources": resources})


def _awake(problem: Problem, name: str) -> Problem:
    return _changed(problem, name, lambda _: {"awake": True, "awake_mw": 0})


def _without_budgets(problem: Problem, _: str) -> Problem:
    return problem.model_copy(update={"accuracy_budgets": ()})


def _without_limits(problem: Problem, _: str) -> Problem:
    return problem.model_copy(update={"limits": {}})


_LIFTS: dict[Rule, Callable[[Problem, str], Problem]] = {
    "deadline": _without_deadlines,
    "lane": _with_free_lanes,
    "link": _with_free_links,
    "memory": _without_memory_caps,
    "wake-up": _awake,
    "budget": _without_budgets,
    "limit": _without_limits,
}
"""How each rule is lifted, given the problem and the mode's resource."""


def _changed(problem: Problem, name: str, change: Callable[[Resource], dict[str, object]]) -> Problem:
    resources = tuple(
        resource.model_copy(update=change(resource)) if resource.name == name else resource
        for resource in problem.resources
    )
    return problem.model_copy(update={"resources": resources})


def _waits(problem: Problem, placement: Placement, stage: StageModes, run: StageRun) -> Iterator[Wait]:
    """Everything that ends just as the stage starts; `nothing` where it could start earlier."""
    resource = next(resource for resource in problem.resources if resource.name == run.resource)
    found = [
        *_waits_for_inputs(problem, placement, stage, run),
        *_waits_for_lane(problem, placement, stage, run),
    ]
    if stage.release_us == run.start_us and run.start_us > 0:
        found.append(Wait("release", f"it is released at {run.start_us} us"))
    if resource.ready_us and resource.ready_us[run.lane] == run.start_us > 0:
        found.append(Wait("lane", f"{run.resource}[{run.lane}] becomes free at {run.start_us} us"))
    if not resource.awake and resource.wake_latency_us == run.start_us > 0:
        found.append(Wait("wake-up", f"{run.resource} wakes up until {run.start_us} us"))
    if found or run.start_us == 0:
        yield from found
    else:
        yield Wait("nothing", "it could start earlier without changing anything else")


def _waits_for_inputs(problem: Problem, placement: Placement, stage: StageModes, run: StageRun) -> Iterator[Wait]:
    for name in stage.inputs:
        producer = next(other for other in placement.stages if other.stage == name)
        if producer.resource == run.resource:
            if producer.end_us == run.start_us:
                yield Wait("input", f"{name} ends at {run.start_us} us")
            continue
        send = next(send for send in placement.transfers if (send.stage, send.target) == (name, run.resource))
        if send.arrive_us == run.start_us:
            size = _mode(problem, producer).output_bytes
            yield Wait("link", f"{name} ({size:,} bytes) arrives from {send.source} at {run.start_us} us")


def _waits_for_lane(problem: Problem, placement: Placement, stage: StageModes, run: StageRun) -> Iterator[Wait]:
    here = f"{run.resource}[{run.lane}]"
    for other in placement.stages:
        just_before = (other.resource, other.lane, other.end_us) == (run.resource, run.lane, run.start_us)
        if just_before and other.stage not in stage.inputs:
            yield Wait("lane", f"{other.stage} ends on {here} at {run.start_us} us")
    for send in placement.transfers:
        link = next(link for link in problem.links if (link.source, link.target) == (send.source, send.target))
        occupied = (link.resource, send.lane, _sent_us(problem, placement, send, link))
        if occupied == (run.resource, run.lane, run.start_us):
            yield Wait("lane", f"{send.stage} is sent to {send.target} over {here} until {run.start_us} us")


def _sent_us(problem: Problem, placement: Placement, send: TransferRun, link: Link) -> int:
    run = next(run for run in placement.stages if run.stage == send.stage)
    return send.start_us + link.sending_us(_mode(problem, run).output_bytes)


def _mode(problem: Problem, run: StageRun) -> Mode:
    """The mode that a stage runs in."""
    stage = next(stage for stage in problem.stages if stage.name == run.stage)
    return next(m for m in stage.modes if (m.resource, m.variant) == (run.resource, run.variant))


def render(explanation: Explanation) -> str:
    """The explanation as text, for a terminal: one paragraph a stage."""
    if explanation.criteria is None:
        return f"{explanation.problem} is infeasible: {explanation.reason}\n"
    lines = [f"{explanation.problem}: {_shown(explanation.criteria, explanation.objective)}"]
    for stage in explanation.stages:
        run = stage.run
        lines.append("")
        lines.append(
            f"{run.stage} runs on {run.resource}[{run.lane}] as {run.variant}, {run.start_us} to {run.end_us} us"
        )
        lines += [f"  starts then because {wait.text}" for wait in stage.waits if wait.kind != "nothing"]
        lines += [f"  {wait.text}" for wait in stage.waits if wait.kind == "nothing"]
        if not stage.alternatives:
            lines.append("  it has no other mode")
        lines += [f"  {_line(alternative, explanation)}" for alternative in stage.alternatives]
    return "\n".join(lines) + "\n"


def _line(alternative: Alternative, explanation: Explanation) -> str:
    what = f"on {alternative.resource} as {alternative.variant}"
    binds = ""
    if alternative.binds:
        binds = f"; {' and '.join(alternative.binds)} {'binds' if len(alternative.binds) == 1 else 'bind'}"
    if alternative.verdict == "impossible":
        return f"{what}: impossible ({alternative.reason}){binds}"
    if alternative.criteria is None:
        return f"{what}: not known, the search stopped at its limit"
    changes = [f"{name} {difference:+d}{_UNITS[name]}" for name, difference in alternative.differences if difference]
    text = ", ".join(changes) or "no difference"
    if alternative.proved:
        return f"{what}: {alternative.verdict} ({text}){binds}"
    bounds = ", ".join(
        f"{name} at least {bound}{_UNITS[name]}"
        for name, bound in zip(explanation.objective, alternative.bounds, strict=True)
    )
    return f"{what}: {alternative.verdict} (at most {text}; {bounds}, not proved further){binds}"


_UNITS: dict[Criterion, str] = {"tardiness": " us", "energy": " nJ", "makespan": " us", "accuracy_loss": " ppm"}


def _shown(criteria: Criteria, objective: tuple[Criterion, ...]) -> str:
    order = [*objective, *(name for name in CRITERIA if name not in objective)]
    return ", ".join(f"{name} {getattr(criteria, name)}{_UNITS[name]}" for name in order)

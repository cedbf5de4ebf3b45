"""Why every stage is where it is: what each other mode would cost, and which rule stands in its way.

For each other mode of a stage the whole frame is solved again, exactly, with that mode forced and everything else free
to change. So the difference is what the mode really costs, not what moving one stage in a frozen schedule would cost.
Where the search stops at its limit, the difference is bounded, and said so.

A rule *binds* a mode if without that rule the mode would be as good as any: the frame is solved with the rule lifted,
once freely and once with the mode forced, and both come out the same. An impossible mode is bound by each rule without
which it is possible. If no rule binds alone, the mode itself is dearer, or several rules stand in its way together.

Of a window it also says what its gates, transfers, spans, holds and tails do to the bill (`window_choices`). Of a
question with weights the rule `load` is lifted by having all that a resource needs there from the start, in no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
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
from leo_runtime.documents.window import CERTAIN, WindowPlacement, WindowProblem
from leo_runtime.errors import InputError, SolverError, did_you_mean
from leo_runtime.judge import CheckReport, check
from leo_runtime.judge.memory import check_memory
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.solver.gates import Gates
from leo_runtime.solver.memory import MEMORY_NODES
from leo_runtime.solver.window_choices import Worth, choices
from leo_runtime.values import whole

LIMIT_NODES = 10_000
"""How far each forced mode is searched unless the caller says otherwise."""

Rule = Literal["deadline", "lane", "link", "memory", "wake-up", "budget", "limit", "load"]
Verdict = Literal["worse", "equal", "better", "impossible", "open"]
WaitKind = Literal["release", "input", "link", "lane", "wake-up", "gate", "load", "nothing"]
AnyProblem = Problem | WindowProblem | MemoryProblem
AnyPlacement = Placement | WindowPlacement | MemoryPlacement


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
    chance_ppm: int = CERTAIN
    """How likely it is to run."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The stages asked for, in the problem's order. `reason` is why there is no placement, where there is none.

    `choices` are those of a window: of all of it, or those that a stage asked for has to do with.
    """

    problem: str
    criteria: Criteria | None
    objective: tuple[Criterion, ...]
    stages: tuple[StageExplanation, ...]
    reason: str = ""
    choices: tuple[Worth, ...] = ()

    def __str__(self) -> str:
        """The explanation as text, for a terminal: one paragraph a stage."""
        return render(self)


def explain(
    problem: AnyProblem,
    placement: AnyPlacement,
    stage: str | Collection[str] | None = None,
    *,
    limit_nodes: int = LIMIT_NODES,
) -> Explanation:
    """Explain every stage of a placement, or one, or several; of a window its choices as well.

    Of a question with weights at most `MEMORY_NODES` questions of frames are asked for each mode.

    Raises `InputError` where the placement breaks a rule, there is no such stage, or a number is none.
    """
    report = _judged(problem, placement)
    limit_nodes = whole(limit_nodes, "limit_nodes")
    known = [stage.name for stage in problem.stages]
    # Whatever else it is, it is no stage's name: that is told below.
    several = not isinstance(stage, str) and isinstance(stage, Collection)
    wanted_names = known if stage is None else list(stage) if several else [stage]
    for name in wanted_names:
        if name not in known:
            raise InputError(
                f'`{problem.name}` has no stage "{name}"', hint=did_you_mean(str(name), known, "its stages are")
            )
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
        if wanted.name in wanted_names:
            run = next(run for run in placement.stages if run.stage == wanted.name)
            others = [mode for mode in wanted.modes if (mode.resource, mode.variant) != (run.resource, run.variant)]
            alternatives = tuple(_alternative(case, wanted, mode) for mode in others)
            waits = tuple(_waits(problem, placement, wanted, run))
            explained.append(StageExplanation(run, waits, alternatives, getattr(wanted, "chance_ppm", CERTAIN)))
    found: tuple[Worth, ...] = ()
    if isinstance(problem, WindowProblem) and isinstance(placement, WindowPlacement):
        about = frozenset(wanted_names)
        found = tuple(worth for worth in choices(problem, placement) if stage is None or about & set(worth.stages))
    return Explanation(problem.name, report.criteria, problem.objective, tuple(explained), choices=found)


def _judged(problem: AnyProblem, placement: AnyPlacement) -> CheckReport:
    """The judge's report. Raises `InputError` for what is no question."""
    if isinstance(problem, WindowProblem):
        return check_window(problem, placement)  # type: ignore[arg-type]  # it says what is no answer to it
    if isinstance(problem, MemoryProblem):
        return check_memory(problem, placement)  # type: ignore[arg-type]  # as above
    return check(problem, placement)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Case:
    """What stays the same while the modes of one placement are tried."""

    problem: AnyProblem
    criteria: Criteria
    limit_nodes: int
    lifted: dict[tuple[Rule, str], AnyPlacement | None]
    """The free problem's answer with a rule lifted for a resource, once it is known."""

    def solved(self, problem: AnyProblem) -> AnyPlacement | None:
        """The exact answer, proved or not; None where the search stopped before it found any."""
        nodes = min(self.limit_nodes, MEMORY_NODES) if isinstance(problem, MemoryProblem) else self.limit_nodes
        try:
            return solve(problem, "exact", limit_nodes=nodes)
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


def _verdict(case: _Case, answer: AnyPlacement) -> Verdict:
    """How the frame with a mode forced compares with the placement."""
    if answer.criteria is None:
        return "impossible"
    have, forced = case.value(case.criteria), case.value(answer.criteria)
    if forced < have:
        return "better"
    if answer.status == "optimal":
        return "equal" if forced == have else "worse"
    return "worse" if answer.bounds[0] > have[0] else "open"


def _forced(problem: AnyProblem, stage: StageModes, mode: Mode) -> AnyProblem:
    """The problem in which a stage has this mode only."""
    only = stage.model_copy(update={"modes": (mode,)})
    stages = tuple(only if other.name == stage.name else other for other in problem.stages)
    return problem.model_copy(update={"stages": stages})


def _binding(case: _Case, forced: AnyProblem, mode: Mode, verdict: Verdict) -> Iterator[Rule]:
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


def _without_deadlines(problem: AnyProblem, _: str) -> AnyProblem:
    return problem.model_copy(update={"deadlines": ()})


def _with_free_lanes(problem: AnyProblem, name: str) -> AnyProblem:
    """So many lanes, free at once, that nothing waits for one on that resource."""

    def free(resource: Resource) -> dict[str, object]:
        if resource.lanes >= len(problem.stages) and not any(resource.ready_us):
            return {}  # It has them already, or more than anybody could list.
        lanes = max(resource.lanes, len(problem.stages))
        return {"lanes": lanes, "ready_us": (0,) * lanes}

    return _changed(problem, name, free)


def _with_free_links(problem: AnyProblem, name: str) -> AnyProblem:
    """Everything reaches that resource, and leaves it, at once and for nothing."""
    links = [link for link in problem.links if name not in (link.source, link.target)]
    stores = {loader.resource for loader in problem.loaders} if isinstance(problem, MemoryProblem) else ()
    for other in problem.resources:
        if other.name != name and other.name not in stores:
            links += [Link(source=other.name, target=name), Link(source=name, target=other.name)]
    return problem.model_copy(update={"links": tuple(links)})


def _without_memory_caps(problem: AnyProblem, _: str) -> AnyProblem:
    resources = tuple(resource.model_copy(update={"memory_bytes": None}) for resource in problem.resources)
    return problem.model_copy(update={"resources": resources})


def _awake(problem: AnyProblem, name: str) -> AnyProblem:
    always: dict[str, object] = {"awake": True, "awake_mw": 0}
    if isinstance(problem, WindowProblem):
        always |= {"linger_us": None, "linger_mw": None, "awake_until_us": 0}
    return _changed(problem, name, lambda _: always)


def _without_budgets(problem: AnyProblem, _: str) -> AnyProblem:
    return problem.model_copy(update={"accuracy_budgets": ()})


def _without_limits(problem: AnyProblem, _: str) -> AnyProblem:
    return problem.model_copy(update={"limits": {}})


def _without_loads(problem: AnyProblem, name: str) -> AnyProblem:
    """What runs there needs no weights."""
    if not isinstance(problem, MemoryProblem):
        return problem
    stages = []
    for stage in problem.stages:
        modes = [mode.model_copy(update={"weights": ()}) if mode.resource == name else mode for mode in stage.modes]
        stages.append(stage.model_copy(update={"modes": tuple(modes)}))
    return problem.model_copy(update={"stages": tuple(stages)})


_LIFTS: dict[Rule, Callable[[AnyProblem, str], AnyProblem]] = {
    "deadline": _without_deadlines,
    "lane": _with_free_lanes,
    "link": _with_free_links,
    "memory": _without_memory_caps,
    "wake-up": _awake,
    "budget": _without_budgets,
    "limit": _without_limits,
    "load": _without_loads,
}
"""How each rule is lifted, given the problem and the mode's resource."""


def _changed(problem: AnyProblem, name: str, change: Callable[[Resource], dict[str, object]]) -> AnyProblem:
    resources = tuple(
        resource.model_copy(update=change(resource)) if resource.name == name else resource
        for resource in problem.resources
    )
    return problem.model_copy(update={"resources": resources})


def _waits(problem: AnyProblem, placement: AnyPlacement, stage: StageModes, run: StageRun) -> Iterator[Wait]:
    """Everything that ends just as the stage starts; `nothing` where it could start earlier."""
    resource = next(resource for resource in problem.resources if resource.name == run.resource)
    found = [
        *_waits_for_inputs(problem, placement, stage, run),
        *_waits_for_lane(problem, placement, stage, run),
        *_waits_for_loads(problem, placement, run),
    ]
    if stage.release_us == run.start_us and run.start_us > 0:
        found.append(Wait("release", f"it is released at {run.start_us} us"))
    if resource.ready_us and resource.ready_us[run.lane] == run.start_us > 0:
        found.append(Wait("lane", f"{run.resource}[{run.lane}] becomes free at {run.start_us} us"))
    if isinstance(placement, WindowPlacement):
        found += _waits_for_waking(problem, placement, resource, run)
    elif not resource.awake and resource.wake_latency_us == run.start_us > 0:
        found.append(Wait("wake-up", f"{run.resource} wakes up until {run.start_us} us"))
    if found or run.start_us == 0:
        yield from found
    else:
        yield Wait("nothing", "it could start earlier without changing anything else")


def _waits_for_inputs(problem: AnyProblem, placement: AnyPlacement, stage: StageModes, run: StageRun) -> Iterator[Wait]:
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


def _waits_for_lane(problem: AnyProblem, placement: AnyPlacement, stage: StageModes, run: StageRun) -> Iterator[Wait]:
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


def _waits_for_loads(problem: AnyProblem, placement: AnyPlacement, run: StageRun) -> Iterator[Wait]:
    """The weights of a stage that arrive just as it starts."""
    if not isinstance(problem, MemoryProblem) or not isinstance(placement, MemoryPlacement):
        return
    stage = next(stage for stage in problem.stages if stage.name == run.stage)
    mode = next(mode for mode in stage.modes if (mode.resource, mode.variant) == (run.resource, run.variant))
    sizes = {one.label: one.bytes for one in problem.weights}
    for load in placement.loads:
        if load.label in mode.weights and (load.target, load.arrive_us) == (run.resource, run.start_us):
            yield Wait("load", f"its weights {load.label} ({sizes[load.label]:,} bytes) are there at {run.start_us} us")


def _waits_for_waking(
    problem: AnyProblem, placement: WindowPlacement, resource: Resource, run: StageRun
) -> Iterator[Wait]:
    """The waking of the span that a run lies in, after a release or after a gate."""
    spans = [span for span in placement.spans if span.resource == run.resource]
    ends = {other.stage: other.end_us for other in placement.stages}
    behind = _gates_of(problem, run.stage)
    for i, span in enumerate(spans):
        if not span.from_us <= run.start_us <= span.until_us or (resource.awake and i == 0):
            continue
        if span.from_us + resource.wake_latency_us == run.start_us > 0:
            since = f" from the release at {span.from_us} us" if span.from_us else ""
            yield Wait("wake-up", f"{run.resource} wakes up{since} until {run.start_us} us")
        for gate in span.after:
            if gate in behind and ends[gate] + resource.wake_latency_us == run.start_us:
                yield Wait("gate", f"{run.resource} wakes up only when {gate} has opened, until {run.start_us} us")


def _gates_of(problem: AnyProblem, stage: str) -> frozenset[str]:
    """The gates that a stage is behind."""
    return Gates.of(problem).behind[stage] if isinstance(problem, WindowProblem) else frozenset()


def _sent_us(problem: AnyProblem, placement: AnyPlacement, send: TransferRun, link: Link) -> int:
    run = next(run for run in placement.stages if run.stage == send.stage)
    return send.start_us + link.sending_us(_mode(problem, run).output_bytes)


def _mode(problem: AnyProblem, run: StageRun) -> Mode:
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
        chance = f", in {stage.chance_ppm / 10_000:g} % of runs" if stage.chance_ppm < CERTAIN else ""
        where = f"{run.resource}[{run.lane}] as {run.variant}"
        lines.append(f"{run.stage} runs on {where}, {run.start_us} to {run.end_us} us{chance}")
        lines += [f"  starts then because {wait.text}" for wait in stage.waits if wait.kind != "nothing"]
        lines += [f"  {wait.text}" for wait in stage.waits if wait.kind == "nothing"]
        if not stage.alternatives:
            lines.append("  it has no other mode")
        lines += [f"  {_line(alternative, explanation)}" for alternative in stage.alternatives]
    if explanation.choices:
        lines += ["", "what is paid on average, and what it would be otherwise with all else as it is:"]
        lines += [f"  {worth.text}" for worth in explanation.choices]
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

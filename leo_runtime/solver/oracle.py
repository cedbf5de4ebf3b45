"""OR-Tools CP-SAT as one more solver: an outside opinion for tests and studies, behind the extra `oracle`.

One interval for every mode of a stage and for every transfer a mode can cause. Lanes are not modelled one by one: as
many things at once as there are lanes can always be spread over the lanes, also where lanes become free at different
times (a busy lane is an interval from 0), so a cumulative constraint a resource is enough, and lanes are given out
afterwards in the order of starts. The criteria are minimised one after the other, each fixed at its optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ulp
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal

from leo_runtime.documents.problem import (
    CRITERIA,
    Criterion,
    Link,
    Mode,
    Placement,
    Problem,
    Question,
    Resource,
    StageRun,
    TransferRun,
)
from leo_runtime.errors import MissingExtraError, SolverError
from leo_runtime.judge import check
from leo_runtime.solver.lanes import Use, on_lanes

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, CpSolver, IntVar

NAME = "oracle"
_LARGEST = 1 << 60
"""CP-SAT counts in 64 bits."""


@dataclass(slots=True)
class _Sending:
    """The transfer of a stage's output to one target: present if anything there reads it."""

    stage: str
    target: str
    present: IntVar
    start: IntVar
    arrive: IntVar
    by_mode: list[tuple[IntVar, Mode, Link]] = field(default_factory=list)
    """A literal for each mode of the producer that sends over a link, true when present and in that mode."""


@dataclass(slots=True)
class Model:
    """A question as CP-SAT is given it."""

    problem: Question
    cp: CpModel
    horizon_us: int
    assumptions: dict[str, IntVar] | None
    """Text of a rule -> the literal it holds under; None where rules hold without one."""
    starts: dict[str, IntVar] = field(default_factory=dict)
    ends: dict[str, IntVar] = field(default_factory=dict)
    modes: dict[str, list[tuple[IntVar, Mode]]] = field(default_factory=dict)
    sendings: dict[tuple[str, str], _Sending] = field(default_factory=dict)
    intervals: dict[str, list[Any]] = field(default_factory=dict)
    """Resource -> what occupies it; ortools does not export the type of an interval."""
    uses: dict[str, list[tuple[IntVar, IntVar | int, Any]]] = field(default_factory=dict)
    """Resource -> (literal, start, end) of everything that could use it."""
    charges: list[tuple[int, IntVar]] = field(default_factory=list)
    """Energies in nJ of what is neither a mode, a transfer nor of a resource, each with the literal it is due under."""
    criteria: dict[Criterion, IntVar] = field(default_factory=dict)

    def rule(self, constraint: Any, text: str) -> None:
        """Let a constraint hold, or hold under its rule's literal when a reason is being looked for."""
        if self.assumptions is not None:
            if text not in self.assumptions:
                self.assumptions[text] = self.cp.new_bool_var(text)
            constraint.only_enforce_if(self.assumptions[text])


@dataclass(frozen=True, slots=True)
class Minimised:
    """A model that CP-SAT has found an answer of."""

    model: Model
    solver: CpSolver
    bounds: tuple[int, ...]
    proved: bool

    @property
    def status(self) -> Literal["optimal", "feasible"]:
        """Whether the answer was proved for every criterion."""
        return "optimal" if self.proved else "feasible"

    def placed(self, more: Sequence[Use]) -> tuple[tuple[StageRun, ...], tuple[TransferRun, ...], list[int | None]]:
        """The runs, the transfers that they need, and a lane for all else that uses resources."""
        problem = self.model.problem
        chosen = {
            name: next(mode for literal, mode in modes if self.solver.boolean_value(literal))
            for name, modes in self.model.modes.items()
        }
        starts = {name: self.solver.value(start) for name, start in self.model.starts.items()}
        links = {(link.source, link.target): link for link in problem.links}
        needed = dict.fromkeys(
            (source, chosen[stage.name].resource)
            for stage in problem.stages
            for source in stage.inputs
            if chosen[source].resource != chosen[stage.name].resource
        )
        uses: list[Use] = [
            (mode.resource, starts[name], starts[name] + mode.duration_us) for name, mode in chosen.items()
        ]
        for name, target in needed:
            link = links[chosen[name].resource, target]
            start = self.solver.value(self.model.sendings[name, target].start)
            uses.append((link.resource, start, start + link.sending_us(chosen[name].output_bytes)))
        lanes = on_lanes(problem.resources, [*uses, *more])
        runs = []
        for (name, mode), lane in zip(chosen.items(), lanes, strict=False):
            assert lane is not None, "a stage has a lane"
            start = starts[name]
            runs.append(
                StageRun(
                    stage=name,
                    resource=mode.resource,
                    variant=mode.variant,
                    lane=lane,
                    start_us=start,
                    end_us=start + mode.duration_us,
                )
            )
        transfers = []
        sent = zip(needed, uses[len(runs) :], lanes[len(runs) :], strict=False)
        for (name, target), (_, start, end), lane in sent:
            source = chosen[name].resource
            arrive = end + links[source, target].latency_us
            transfers.append(
                TransferRun(stage=name, source=source, target=target, lane=lane, start_us=start, arrive_us=arrive)
            )
        return tuple(runs), tuple(transfers), lanes[len(uses) :]


def solve(
    problem: Problem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
    workers: int = 1,
    hint: Placement | None = None,
) -> Placement:
    """The optimum as CP-SAT proves it, criterion by criterion; `hint` is an answer to start from.

    `limit_nodes` counts CP-SAT's conflicts in each criterion. Where a limit bites the answer is `feasible`, with the
    bounds proved so far. Raises `MissingExtraError` without OR-Tools; `SolverError` where nothing was found within the
    limit, and where the numbers are too large for it.
    """

    def build(cp: CpModel, explain: bool) -> Model:
        model = begin(problem, cp, horizon_us(problem), explain=explain)
        finish(model)
        return model

    begun = perf_counter_ns()
    found = minimised(problem, build, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed, workers=workers, hint=hint)
    spent_us = (perf_counter_ns() - begun) // 1000
    if isinstance(found, str):
        return Placement(
            format="leo-placement/1",
            problem=problem.name,
            solver=NAME,
            status="infeasible",
            reason=found,
            solve_us=spent_us,
        )
    runs, transfers, _ = found.placed(())
    answer = Placement(
        format="leo-placement/1",
        problem=problem.name,
        solver=NAME,
        status=found.status,
        bounds=found.bounds,
        stages=runs,
        transfers=transfers,
        solve_us=spent_us,
    )
    return answer.model_copy(update={"criteria": check(problem, answer).criteria})


def minimised(
    problem: Question,
    build: Callable[[CpModel, bool], Model],
    *,
    limit_ms: int | None,
    limit_nodes: int | None,
    seed: int,
    workers: int = 1,
    hint: Placement | None = None,
    presolve: bool = True,
) -> Minimised | str:
    """What CP-SAT makes of a model, criterion by criterion; where it has no answer, the rules that clash.

    `build` makes the model, or (if it is told so) one with a literal for each rule. Raises as `solve` does.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise MissingExtraError("the solver `oracle` (OR-Tools)", "oracle") from None
    begun = perf_counter_ns()
    model = build(cp_model.CpModel(), False)
    if hint is not None:
        _hint(model, hint)
    bounds: list[int] = []
    solver: CpSolver | None = None
    proved = True
    for name in problem.objective:
        model.cp.minimize(model.criteria[name])
        step = _solver(cp_model, limit_ms, limit_nodes, seed, workers, begun)
        step.parameters.cp_model_presolve = presolve
        status = step.solve(model.cp)
        if status == cp_model.INFEASIBLE and solver is None:
            return _reason(build(cp_model.CpModel(), True), cp_model, seed, limit_ms, limit_nodes, begun)
        if status == cp_model.MODEL_INVALID:
            raise SolverError(f"{problem.name}: its numbers are too large for CP-SAT", hint="use the solver `exact`")
        bounds.append(_proved(step.best_objective_bound))
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            proved = False
            break
        solver = step
        value = step.value(model.criteria[name])
        if status == cp_model.FEASIBLE:
            proved = False
            break
        bounds[-1] = value
        model.cp.add(model.criteria[name] == value)
        _rehint(model, step)
    if solver is None:
        raise SolverError(f"{problem.name}: CP-SAT found no answer within the limit", hint="give it more time")
    bounds += [0] * (len(problem.objective) - len(bounds))
    return Minimised(model, solver, tuple(bounds), proved)


def _proved(bound: float) -> int:
    """The bound as an integer that is surely proved: CP-SAT gives a float, which is not exact when large."""
    return max(0, int(bound - ulp(bound)) if abs(bound) >= 1 << 53 else int(bound))


def _solver(
    cp_model: Any, limit_ms: int | None, limit_nodes: int | None, seed: int, workers: int, begun: int
) -> CpSolver:
    """A CP-SAT solver with what is left of the limits (its module is untyped until it is imported)."""
    solver: CpSolver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed % (1 << 31)
    if limit_ms is not None:
        spent_s = (perf_counter_ns() - begun) / 1e9
        solver.parameters.max_time_in_seconds = max(0.001, limit_ms / 1000 - spent_s)
    if limit_nodes is not None:
        solver.parameters.max_number_of_conflicts = limit_nodes
    return solver


def begin(problem: Question, cp: CpModel, horizon_us: int, *, explain: bool) -> Model:
    """A model with its stages and transfers, to which what else uses resources may be added before `finish`."""
    model = Model(problem, cp, horizon_us, {} if explain else None)
    for stage in problem.stages:
        model.starts[stage.name] = cp.new_int_var(stage.release_us, model.horizon_us, "")
        model.ends[stage.name] = cp.new_int_var(0, model.horizon_us, "")
        literals = [(cp.new_bool_var(""), mode) for mode in stage.modes]
        model.modes[stage.name] = literals
        cp.add_exactly_one(literal for literal, _ in literals)
    _add_sendings(model)
    for stage in problem.stages:
        _add_runs(model, stage.name)
        for source in stage.inputs:
            _add_arrival(model, source, stage.name)
    return model


def finish(model: Model) -> None:
    """Add the rules of resources, memory and budgets, and the criteria."""
    for resource in model.problem.resources:
        _add_resource(model, resource)
    _add_memory_and_budgets(model)
    _add_criteria(model)


def horizon_us(problem: Question, loads_us: int = 0) -> int:
    """No earliest-start schedule ends later than everything one after the other, loads (that long in all) included.

    Raises `SolverError` where CP-SAT cannot count as far.
    """
    start = max(
        [0, *(stage.release_us for stage in problem.stages)]
        + [max([r.wake_latency_us, *r.ready_us]) for r in problem.resources]
    )
    size = max((mode.output_bytes for stage in problem.stages for mode in stage.modes), default=0)
    hop = max((link.sending_us(size) + link.latency_us for link in problem.links), default=0)
    sends = len(problem.stages) * max(0, len(problem.resources) - 1)
    horizon = start + sum(max(mode.duration_us for mode in stage.modes) for stage in problem.stages) + hop * sends
    horizon += loads_us
    worst = horizon * max(1, *(r.awake_mw for r in problem.resources), *(d.weight for d in problem.deadlines), 1)
    if worst * max(1, len(problem.resources), len(problem.deadlines)) > _LARGEST:
        raise SolverError(f"{problem.name}: its numbers are too large for CP-SAT", hint="use the solver `exact`")
    return horizon


def _add_sendings(model: Model) -> None:
    """Rule 4: a transfer for every (stage, target) that some choice of modes needs."""
    problem, cp = model.problem, model.cp
    links = {(link.source, link.target): link for link in problem.links}
    for consumer in problem.stages:
        targets = dict.fromkeys(mode.resource for mode in consumer.modes)
        for source in consumer.inputs:
            for target in targets:
                _add_sending(model, links, source, consumer.name, target)
    for sending in model.sendings.values():
        cp.add(sum(literal for literal, _, _ in sending.by_mode) == sending.present)
        for literal, mode, link in sending.by_mode:
            sending_us = link.sending_us(mode.output_bytes)
            cp.add(sending.start >= model.ends[sending.stage]).only_enforce_if(literal)
            cp.add(sending.arrive == sending.start + sending_us + link.latency_us).only_enforce_if(literal)
            if link.resource is not None:
                end = sending.start + sending_us
                model.uses.setdefault(link.resource, []).append((literal, sending.start, end))
                if sending_us > 0:
                    interval = cp.new_optional_fixed_size_interval_var(sending.start, sending_us, literal, "")
                    model.intervals.setdefault(link.resource, []).append(interval)


def _add_sending(model: Model, links: dict[tuple[str, str], Link], source: str, consumer: str, target: str) -> None:
    """What it takes that `consumer` runs on `target` while `source` runs elsewhere."""
    cp = model.cp
    there = [literal for literal, mode in model.modes[consumer] if mode.resource == target]
    for literal, mode in model.modes[source]:
        if mode.resource == target:
            continue
        link = links.get((mode.resource, target))
        if link is None:
            for reader in there:
                text = f"rule 4: no link {mode.resource} -> {target} for {source} -> {consumer}"
                model.rule(cp.add_bool_or(literal.negated(), reader.negated()), text)
            continue
        sending = model.sendings.get((source, target))
        if sending is None:
            start, arrive = (cp.new_int_var(0, model.horizon_us, "") for _ in range(2))
            sending = _Sending(source, target, cp.new_bool_var(""), start, arrive)
            model.sendings[source, target] = sending
        if all(mode is not known for _, known, _ in sending.by_mode):
            both = cp.new_bool_var("")
            cp.add_implication(both, literal)
            sending.by_mode.append((both, mode, link))
        both = next(both for both, known, _ in sending.by_mode if known is mode)
        for reader in there:
            cp.add_bool_or(literal.negated(), reader.negated(), both)


def _add_runs(model: Model, name: str) -> None:
    """Rule 1: the end of a stage under each of its modes, and what it occupies."""
    cp, start, end = model.cp, model.starts[name], model.ends[name]
    for literal, mode in model.modes[name]:
        interval = cp.new_optional_fixed_size_interval_var(start, mode.duration_us, literal, "")
        model.intervals.setdefault(mode.resource, []).append(interval)
        model.uses.setdefault(mode.resource, []).append((literal, start, start + mode.duration_us))
        cp.add(end == start + mode.duration_us).only_enforce_if(literal)


def _add_arrival(model: Model, source: str, consumer: str) -> None:
    """Rule 3: a stage starts after each input ends, and after its arrival where it is sent."""
    cp = model.cp
    cp.add(model.starts[consumer] >= model.ends[source])
    for literal, mode in model.modes[consumer]:
        sending = model.sendings.get((source, mode.resource))
        if sending is not None:
            cp.add(model.starts[consumer] >= sending.arrive).only_enforce_if(literal, sending.present)


def _add_resource(model: Model, resource: Resource) -> None:
    """Rules 1 and 2 for everything that could use a resource."""
    cp = model.cp
    uses = model.uses.get(resource.name, [])
    ready = min(resource.ready_us, default=0)
    earliest = max(ready, 0 if resource.awake else resource.wake_latency_us)
    for literal, start, _ in uses:
        cp.add(start >= earliest).only_enforce_if(literal)
    intervals = list(model.intervals.get(resource.name, []))
    if len(intervals) == 0:
        return
    intervals += [cp.new_fixed_size_interval_var(0, time, "") for time in resource.ready_us if time > 0]
    if resource.lanes == 1:
        cp.add_no_overlap(intervals)
    elif resource.lanes < len(intervals):
        cp.add_cumulative(intervals, [1] * len(intervals), resource.lanes)


def _add_memory_and_budgets(model: Model) -> None:
    """Rules 5 and 7."""
    cp, problem = model.cp, model.problem
    for resource in problem.resources:
        if resource.memory_bytes is not None:
            held = [
                mode.memory_bytes * literal
                for modes in model.modes.values()
                for literal, mode in modes
                if mode.resource == resource.name and mode.memory_bytes > 0
            ]
            if held:
                model.rule(cp.add(sum(held) <= resource.memory_bytes), f"rule 5: memory of {resource.name}")
    for budget in problem.accuracy_budgets:
        lost = [m.accuracy_loss_ppm * x for s in budget.stages for x, m in model.modes[s] if m.accuracy_loss_ppm > 0]
        if lost:
            text = f"rule 7: accuracy budget over {', '.join(budget.stages)}"
            model.rule(cp.add(sum(lost) <= budget.loss_ppm_max), text)


def _add_criteria(model: Model) -> None:
    """The criteria that are minimised or limited, each as one variable."""
    cp, problem = model.cp, model.problem
    for name in CRITERIA:
        if name not in problem.objective and name not in problem.limits:
            continue
        model.criteria[name] = value = cp.new_int_var(0, _LARGEST, name)
        match name:
            case "tardiness":
                cp.add(value == sum([d.weight * _lateness(model, d.stage, d.deadline_us) for d in problem.deadlines]))
            case "energy":
                cp.add(value == _energy(model))
            case "makespan":
                cp.add_max_equality(value, [*model.ends.values(), 0])
            case "accuracy_loss":
                cp.add(value == sum([m.accuracy_loss_ppm * x for ms in model.modes.values() for x, m in ms]))
        if name in problem.limits:
            model.rule(cp.add(value <= problem.limits[name]), f"rule 7: limit on {name}")


def _lateness(model: Model, stage: str, deadline_us: int) -> IntVar:
    late = model.cp.new_int_var(0, model.horizon_us, "")
    model.cp.add_max_equality(late, [model.ends[stage] - deadline_us, 0])
    return late


def _energy(model: Model) -> Any:
    """A linear expression (of a type ortools does not export): modes, transfers, wake-ups and staying awake."""
    cp = model.cp
    terms: list[Any] = [mode.energy_nj * literal for modes in model.modes.values() for literal, mode in modes]
    terms += [energy_nj * literal for energy_nj, literal in model.charges]
    for sending in model.sendings.values():
        terms += [link.sending_nj(mode.output_bytes) * literal for literal, mode, link in sending.by_mode]
    for resource in model.problem.resources:
        uses = model.uses.get(resource.name, [])
        if not uses:
            continue
        if not resource.awake and resource.wake_energy_nj > 0:
            used = cp.new_bool_var("")
            cp.add_max_equality(used, [literal for literal, _, _ in uses])
            terms.append(resource.wake_energy_nj * used)
        if resource.awake_mw > 0:
            last = cp.new_int_var(0, 2 * model.horizon_us, "")
            for literal, _, end in uses:
                cp.add(last >= end).only_enforce_if(literal)
            terms.append(resource.awake_mw * last)
    return sum(terms)


def _hint(model: Model, placement: Placement) -> None:
    for run in placement.stages:
        model.cp.add_hint(model.starts[run.stage], run.start_us)
        for literal, mode in model.modes[run.stage]:
            model.cp.add_hint(literal, (mode.resource, mode.variant) == (run.resource, run.variant))


def _rehint(model: Model, solver: CpSolver) -> None:
    """Start the next criterion from the answer that is best in the ones before."""
    model.cp.clear_hints()  # type: ignore[no-untyped-call]  # ortools gives it no annotation
    for start in model.starts.values():
        model.cp.add_hint(start, solver.value(start))
    for modes in model.modes.values():
        for literal, _ in modes:
            model.cp.add_hint(literal, solver.boolean_value(literal))
    for sending in model.sendings.values():
        model.cp.add_hint(sending.start, solver.value(sending.start))


def _reason(model: Model, cp_model: Any, seed: int, limit_ms: int | None, limit_nodes: int | None, begun: int) -> str:
    """The rules that cannot be kept together: a set that CP-SAT finds sufficient, thinned out one by one.

    Where a limit bites the set is larger than it need be, and still sufficient.
    """
    assert model.assumptions is not None, "it was built to explain"
    needed = list(model.assumptions.values())
    texts = {literal.index: text for text, literal in model.assumptions.items()}
    for literal in list(needed):
        without = [other for other in needed if other is not literal]
        model.cp.clear_assumptions()
        model.cp.add_assumptions(without)
        if _solver(cp_model, limit_ms, limit_nodes, seed, 1, begun).solve(model.cp) == cp_model.INFEASIBLE:
            needed = without
    return "; with ".join(texts[literal.index] for literal in needed)

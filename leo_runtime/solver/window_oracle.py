"""OR-Tools CP-SAT as a solver of windows: an outside opinion for tests and studies, behind the extra `oracle`.

Modes, transfers and lanes are modelled as in `leo_runtime.solver.oracle`. Each use of a resource lies in one of its
openings: the span that it begins with, where it is awake, and one for each release at which it could wake. Each opening
and each transfer waits for one of the lists that can be worth it, chosen as a whole, so that the likelihoods are
constants. The criteria are minimised one after the other, each fixed at its optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, islice
from math import gcd, ulp
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from leo_runtime.documents.problem import CRITERIA, Criterion, Link, Mode, StageRun
from leo_runtime.documents.window import CERTAIN, Span, WindowPlacement, WindowProblem, WindowResource, WindowTransfer
from leo_runtime.errors import MissingExtraError, SolverError
from leo_runtime.judge.window import check_window
from leo_runtime.solver.gates import Gates, share
from leo_runtime.solver.lanes import on_lanes
from leo_runtime.solver.window_bounds import last_us

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, CpSolver, IntVar

NAME = "oracle"
_LARGEST = 1 << 60
"""CP-SAT counts in 64 bits."""
_MOST_LISTS = 4096
"""Of more lists a model would be too large to be of use."""
_OTHER = "use the solver `exhaustive`"

Key = tuple[str, str | None]
"""A stage, and the target its output is sent to; None for its run."""


@dataclass(slots=True)
class _Sending:
    """The transfer of a stage's output to one target: present if anything there reads it."""

    stage: str
    target: str
    present: IntVar
    start: IntVar
    sent: IntVar
    arrive: IntVar
    readers: list[str] = field(default_factory=list)
    by_mode: list[tuple[IntVar, Mode, Link]] = field(default_factory=list)
    """A literal for each mode of the producer that sends over a link, true when present and in that mode."""
    lists: list[tuple[IntVar, tuple[str, ...]]] = field(default_factory=list)
    """A literal for each list that it may wait for, one of which is true when present."""


@dataclass(slots=True)
class _Use:
    """A stage or the sending of a transfer on a resource, if `literal`."""

    key: Key
    literal: IntVar
    start: IntVar
    end: IntVar
    lists: list[tuple[IntVar, tuple[str, ...]]]
    """Of a transfer: the lists it may wait for itself."""


@dataclass(slots=True)
class _Opening:
    """Where a span can begin."""

    from_us: int
    wakes: bool
    used: IntVar
    until: IntVar
    lists: list[tuple[IntVar, tuple[str, ...]]] = field(default_factory=list)
    """A literal for each list it may wait for, one of which is true when used."""
    uses: list[tuple[IntVar, _Use]] = field(default_factory=list)
    """A literal for each use that can lie in it, true when it does."""


@dataclass(slots=True)
class _Model:
    problem: WindowProblem
    cp: CpModel
    gates: Gates
    last_us: int
    """No schedule that is worth it ends later."""
    assumptions: dict[str, IntVar] | None
    """Text of a rule -> the literal it holds under; None where rules hold without one."""
    starts: dict[str, IntVar] = field(default_factory=dict)
    ends: dict[str, IntVar] = field(default_factory=dict)
    modes: dict[str, list[tuple[IntVar, Mode]]] = field(default_factory=dict)
    sendings: dict[tuple[str, str], _Sending] = field(default_factory=dict)
    intervals: dict[str, list[Any]] = field(default_factory=dict)
    """Resource -> what occupies it; ortools does not export the type of an interval."""
    uses: dict[str, list[_Use]] = field(default_factory=dict)
    openings: dict[str, list[_Opening]] = field(default_factory=dict)
    criteria: dict[Criterion, IntVar] = field(default_factory=dict)

    def rule(self, constraint: Any, text: str) -> None:
        """Let a constraint hold, or hold under its rule's literal when a reason is being looked for."""
        if self.assumptions is not None:
            if text not in self.assumptions:
                self.assumptions[text] = self.cp.new_bool_var(text)
            constraint.only_enforce_if(self.assumptions[text])

    def time(self, earliest: int = 0) -> IntVar:
        """A variable in microseconds."""
        return self.cp.new_int_var(earliest, max(earliest, self.last_us), "")

    def literal(self) -> IntVar:
        return self.cp.new_bool_var("")


@dataclass(frozen=True, slots=True)
class _Limits:
    """What bounds the search, and how it is run."""

    ms: int | None
    nodes: int | None
    seed: int
    workers: int
    presolve: bool
    begun: int

    def solver(self, cp_model: Any) -> CpSolver:
        """A CP-SAT solver with what is left of the limits (its module is untyped until it is imported)."""
        solver: CpSolver = cp_model.CpSolver()
        solver.parameters.num_workers = self.workers
        solver.parameters.random_seed = self.seed % (1 << 31)
        solver.parameters.cp_model_presolve = self.presolve
        if self.ms is not None:
            spent_s = (perf_counter_ns() - self.begun) / 1e9
            solver.parameters.max_time_in_seconds = max(0.001, self.ms / 1000 - spent_s)
        if self.nodes is not None:
            solver.parameters.max_number_of_conflicts = self.nodes
        return solver


def solve(
    problem: WindowProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
    workers: int = 1,
    presolve: bool = True,
) -> WindowPlacement:
    """The optimum as CP-SAT proves it, criterion by criterion.

    `limit_nodes` counts CP-SAT's conflicts in each criterion. Where a limit bites the answer is `feasible`, with the
    bounds proved so far. Who doubts a proof asks again without CP-SAT's own `presolve`. Raises `MissingExtraError`
    without OR-Tools; `SolverError` where nothing was found within the limit, and where the numbers or the number of
    possible lists are too large for it.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise MissingExtraError("the solver `oracle` (OR-Tools)", "oracle") from None
    limits = _Limits(limit_ms, limit_nodes, seed, workers, presolve, perf_counter_ns())
    model = _build(problem, cp_model.CpModel(), explain=False)
    bounds: list[int] = []
    solver: CpSolver | None = None
    proved = True
    for name in problem.objective:
        model.cp.minimize(model.criteria[name])
        step = limits.solver(cp_model)
        status = step.solve(model.cp)
        if status == cp_model.INFEASIBLE and solver is None:
            return _infeasible(problem, _reason(problem, cp_model, limits), limits.begun)
        if status == cp_model.MODEL_INVALID:
            raise SolverError(f"{problem.name}: its numbers are too large for CP-SAT", hint=_OTHER)
        bounds.append(_proved(step.best_objective_bound))
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            proved = False
            break
        solver = step
        if status == cp_model.FEASIBLE:
            proved = False
            break
        bounds[-1] = step.value(model.criteria[name])
        model.cp.add(model.criteria[name] == bounds[-1])
        _hint(model, step)
    if solver is None:
        raise SolverError(f"{problem.name}: CP-SAT found no answer within the limit", hint="give it more time")
    bounds += [0] * (len(problem.objective) - len(bounds))
    return _placement(model, solver, tuple(bounds), proved, limits.begun)


def _proved(bound: float) -> int:
    """The bound as an integer that is surely proved: CP-SAT gives a float, which is not exact when large."""
    return max(0, int(bound - ulp(bound)) if abs(bound) >= 1 << 53 else int(bound))


def _build(problem: WindowProblem, cp: CpModel, *, explain: bool) -> _Model:
    model = _Model(problem, cp, Gates.of(problem), _fitting_last_us(problem), {} if explain else None)
    for stage in problem.stages:
        model.starts[stage.name] = model.time(stage.release_us)
        model.ends[stage.name] = model.time()
        model.modes[stage.name] = [(model.literal(), mode) for mode in stage.modes]
        cp.add_exactly_one(literal for literal, _ in model.modes[stage.name])
    _add_sendings(model)
    for stage in problem.stages:
        _add_runs(model, stage.name)
        for source in stage.inputs:
            _add_arrival(model, source, stage.name)
    for resource in problem.resources:
        _add_lanes(model, resource)
        if resource.linger_us is not None:
            _add_openings(model, resource)
    _add_memory_and_budgets(model)
    _add_criteria(model)
    return model


def _fitting_last_us(problem: WindowProblem) -> int:
    """When everything has ended in any schedule that is worth it. Raises `SolverError` where CP-SAT cannot count it."""
    last = last_us(problem)
    costs = [r.wake_energy_nj + r.awake_mw * (last + problem.horizon_us) for r in problem.resources]
    spans = max(costs, default=0) * CERTAIN
    late = last * sum(deadline.weight for deadline in problem.deadlines)
    total = sum(costs) * (1 + len(problem.releases_us))
    if max(spans, late, total, last) > _LARGEST:
        raise SolverError(f"{problem.name}: its numbers are too large for CP-SAT", hint=_OTHER)
    return last


def _add_sendings(model: _Model) -> None:
    """Rule 4: a transfer for every (stage, target) that some choice of modes needs, and the lists it may wait for."""
    problem, cp = model.problem, model.cp
    links = {(link.source, link.target): link for link in problem.links}
    for consumer in problem.stages:
        targets = dict.fromkeys(mode.resource for mode in consumer.modes)
        for source in consumer.inputs:
            for target in targets:
                _add_sending(model, links, source, consumer.name, target)
    for sending in model.sendings.values():
        cp.add(sum(literal for literal, _, _ in sending.by_mode) == sending.present)
        cp.add(sending.start >= model.ends[sending.stage]).only_enforce_if(sending.present)
        _add_lists(model, sending)
        radios: dict[str, list[IntVar]] = {}
        for literal, mode, link in sending.by_mode:
            sending_us = link.sending_us(mode.output_bytes)
            cp.add(sending.sent == sending.start + sending_us).only_enforce_if(literal)
            cp.add(sending.arrive == sending.sent + link.latency_us).only_enforce_if(literal)
            if link.resource is not None:
                radios.setdefault(link.resource, []).append(literal)
                if sending_us > 0:
                    interval = cp.new_optional_fixed_size_interval_var(sending.start, sending_us, literal, "")
                    model.intervals.setdefault(link.resource, []).append(interval)
        for radio, literals in radios.items():
            use = _Use((sending.stage, sending.target), model.literal(), sending.start, sending.sent, sending.lists)
            cp.add(sum(literals) == use.literal)
            model.uses.setdefault(radio, []).append(use)


def _add_sending(model: _Model, links: dict[tuple[str, str], Link], source: str, consumer: str, target: str) -> None:
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
            sending = _Sending(source, target, model.literal(), model.time(), model.time(), model.time())
            model.sendings[source, target] = sending
        if consumer not in sending.readers:
            sending.readers.append(consumer)
        both = next((both for both, known, _ in sending.by_mode if known is mode), None)
        if both is None:
            both = model.literal()
            cp.add_implication(both, literal)
            sending.by_mode.append((both, mode, link))
        for reader in there:
            cp.add_bool_or(literal.negated(), reader.negated(), both)


def _add_lists(model: _Model, sending: _Sending) -> None:
    """Rule 4: the gates that a transfer waits for; whoever reads it is behind one of them."""
    cp, gates = model.cp, model.gates
    for after in _lists(gates, frozenset[str]().union(*(gates.behind[reader] for reader in sending.readers))):
        chosen = model.literal()
        sending.lists.append((chosen, after))
        for gate in after:
            cp.add(sending.start >= model.ends[gate]).only_enforce_if(chosen)
        for reader in sending.readers if after else ():
            if not gates.covers(after, reader):
                for literal, mode in model.modes[reader]:
                    if mode.resource == sending.target:
                        # It reads it only where its producer runs elsewhere, which is when the transfer is present.
                        cp.add_bool_or(chosen.negated(), literal.negated())
    cp.add(sum(chosen for chosen, _ in sending.lists) == sending.present)


def _lists(gates: Gates, known: frozenset[str]) -> list[tuple[str, ...]]:
    """The lists of these gates that can be worth it; the first is empty. Raises `SolverError` where there are many."""
    found = list(islice(gates.lists(known), _MOST_LISTS + 1))
    if len(found) > _MOST_LISTS:
        raise SolverError(f"more than {_MOST_LISTS} lists of gates are too many for CP-SAT", hint=_OTHER)
    return found


def _add_runs(model: _Model, name: str) -> None:
    """Rule 1: the end of a stage under each of its modes, and what it occupies."""
    cp, start, end = model.cp, model.starts[name], model.ends[name]
    here: dict[str, list[IntVar]] = {}
    for literal, mode in model.modes[name]:
        interval = cp.new_optional_fixed_size_interval_var(start, mode.duration_us, literal, "")
        model.intervals.setdefault(mode.resource, []).append(interval)
        here.setdefault(mode.resource, []).append(literal)
        cp.add(end == start + mode.duration_us).only_enforce_if(literal)
    for resource, literals in here.items():
        use = _Use((name, None), model.literal(), start, end, [])
        cp.add(sum(literals) == use.literal)
        model.uses.setdefault(resource, []).append(use)


def _add_arrival(model: _Model, source: str, consumer: str) -> None:
    """Rule 3: a stage starts after each input ends, and after its arrival where it is sent."""
    cp = model.cp
    cp.add(model.starts[consumer] >= model.ends[source])
    for literal, mode in model.modes[consumer]:
        sending = model.sendings.get((source, mode.resource))
        if sending is not None:
            cp.add(model.starts[consumer] >= sending.arrive).only_enforce_if(literal, sending.present)


def _add_lanes(model: _Model, resource: WindowResource) -> None:
    """Rule 1 for everything that could use a resource."""
    cp = model.cp
    uses = model.uses.get(resource.name, [])
    ready = min(resource.ready_us, default=0)
    for use in uses:
        cp.add(use.start >= ready).only_enforce_if(use.literal)
    intervals = list(model.intervals.get(resource.name, []))
    if not intervals:
        return
    intervals += [cp.new_fixed_size_interval_var(0, time, "") for time in resource.ready_us if time > 0]
    if resource.lanes == 1:
        cp.add_no_overlap(intervals)
    elif resource.lanes < len(intervals):
        cp.add_cumulative(intervals, [1] * len(intervals), resource.lanes)


def _add_openings(model: _Model, resource: WindowResource) -> None:
    """Rule 2: each use lies in one opening, and each span begins only when the ones before it have lingered."""
    cp = model.cp
    uses = model.uses.get(resource.name, [])
    openings = [_Opening(0, False, model.literal(), model.time())] if resource.awake else []
    openings += [
        _Opening(time, True, model.literal(), model.time(time))
        for time in model.problem.releases_us
        if time >= resource.awake_until_us
    ]
    model.openings[resource.name] = openings
    for opening in openings:
        opening.uses = [(model.literal(), use) for use in uses]
        cp.add_max_equality(opening.used, [0, *(within for within, _ in opening.uses)])
        for within, use in opening.uses:
            cp.add(opening.until >= use.end).only_enforce_if(within)
            if opening.wakes:
                cp.add(use.start >= opening.from_us + resource.wake_latency_us).only_enforce_if(within)
        if opening.wakes:
            _add_waits(model, resource, opening)
    for u, use in enumerate(uses):
        cp.add(sum(opening.uses[u][0] for opening in openings) == use.literal)
    for before, after in combinations(openings, 2):
        over = before.until + (resource.linger_us or 0)
        cp.add(over <= after.from_us).only_enforce_if(before.used, after.used)


def _add_waits(model: _Model, resource: WindowResource, opening: _Opening) -> None:
    """Rule 2: the gates that a span waits for, and what that means for the uses in it."""
    cp, gates, ends, latency_us = model.cp, model.gates, model.ends, resource.wake_latency_us
    own = frozenset(gate for _, use in opening.uses for _, after in use.lists for gate in after)
    known = own.union(*(gates.behind[stage] for stage in (*own, *(use.key[0] for _, use in opening.uses))))
    opening.lists = [(model.literal(), after) for after in _lists(gates, known)]
    cp.add(sum(chosen for chosen, _ in opening.lists) == opening.used)
    at_once = opening.lists[0][0]
    listed = {gate: model.literal() for gate in gates.opens_ppm}
    for gate, literal in listed.items():
        cp.add(sum(chosen for chosen, after in opening.lists if gate in after) == literal)
    for within, use in opening.uses:
        behind = gates.behind[use.key[0]]
        # A transfer that waits for nothing itself is in the place of its sender.
        plain = [within] + [chosen for chosen, after in use.lists if not after]
        cp.add_bool_or(*(literal.negated() for literal in plain), at_once, *(listed[gate] for gate in behind))
        for gate in behind:
            cp.add(use.start >= ends[gate] + latency_us).only_enforce_if(*plain, listed[gate])
        for chosen, after in use.lists:
            for gate in after:
                covers = [listed[other] for other in (gate, *gates.behind[gate])]
                cp.add_bool_or(within.negated(), chosen.negated(), at_once, *covers)
                cp.add(use.start >= ends[gate] + latency_us).only_enforce_if(within, chosen, at_once.negated())


def _add_memory_and_budgets(model: _Model) -> None:
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


def _add_criteria(model: _Model) -> None:
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


def _lateness(model: _Model, stage: str, deadline_us: int) -> IntVar:
    late = model.time()
    model.cp.add_max_equality(late, [model.ends[stage] - deadline_us, 0])
    return late


def _energy(model: _Model) -> Any:
    """A linear expression (of a type ortools does not export): modes, transfers and spans."""
    problem = model.problem
    chances = {stage.name: stage.chance_ppm for stage in problem.stages}
    terms: list[Any] = [
        share(mode.energy_nj, chances[name]) * literal for name, modes in model.modes.items() for literal, mode in modes
    ]
    for sending in model.sendings.values():
        for literal, mode, link in sending.by_mode:
            for chosen, after in sending.lists:
                both = model.literal()
                model.cp.add_bool_or(literal.negated(), chosen.negated(), both)
                likely = model.gates.likelihood_ppm(after) if after else chances[sending.stage]
                terms.append(share(link.sending_nj(mode.output_bytes), likely) * both)
    for resource in problem.resources:
        if resource.linger_us is None:
            terms.append(resource.awake_mw * problem.horizon_us)
        terms += [_awake_nj(model, resource, opening) for opening in model.openings.get(resource.name, ())]
    return sum(terms)


def _awake_nj(model: _Model, resource: WindowResource, opening: _Opening) -> IntVar:
    """What a span costs, if there is one: waking, staying awake and lingering, by its likelihood."""
    cp, horizon_us, linger_us = model.cp, model.problem.horizon_us, resource.linger_us or 0
    # When it has lingered, or the window ends, or its last use does. All that is charged grows with it and `until`, so
    # that a bound on their sum follows from bounds on both.
    over = cp.new_int_var(0, max(horizon_us, model.last_us), "")
    cp.add(over >= opening.until)
    if linger_us >= horizon_us:
        cp.add(over >= horizon_us).only_enforce_if(opening.used)
    elif linger_us > 0:
        cut = model.literal()
        cp.add(over >= horizon_us).only_enforce_if(opening.used, cut)
        cp.add(over >= opening.until + linger_us).only_enforce_if(opening.used, cut.negated())
    if not opening.wakes:
        cp.add(over >= min(resource.awake_until_us, horizon_us))
    wake_nj = resource.wake_energy_nj if opening.wakes else 0
    most = wake_nj + resource.awake_mw * (model.last_us + horizon_us)
    cost = cp.new_int_var(0, most, "")
    held_mw = resource.awake_mw - resource.lingering_mw
    whole_nj = wake_nj - resource.awake_mw * opening.from_us + held_mw * opening.until + resource.lingering_mw * over
    if not opening.wakes:
        cp.add(cost >= whole_nj)
        return cost
    least = wake_nj + resource.awake_mw * resource.wake_latency_us
    for chosen, after in opening.lists:
        likely = model.gates.likelihood_ppm(after) if after else CERTAIN
        common = gcd(likely, CERTAIN)
        cp.add(cost * (CERTAIN // common) >= whole_nj * (likely // common)).only_enforce_if(chosen)
    # It follows from the lines above, and lets a linear relaxation see what waking costs at least.
    cp.add(
        cost
        >= sum(
            share(least, model.gates.likelihood_ppm(after) if after else CERTAIN) * chosen
            for chosen, after in opening.lists
        )
    )
    return cost


def _hint(model: _Model, solver: CpSolver) -> None:
    """Start the next criterion from the answer that is best in the ones before."""
    cp = model.cp
    cp.clear_hints()  # type: ignore[no-untyped-call]  # ortools gives it no annotation
    for start in model.starts.values():
        cp.add_hint(start, solver.value(start))
    literals = [literal for modes in model.modes.values() for literal, _ in modes]
    for sending in model.sendings.values():
        cp.add_hint(sending.start, solver.value(sending.start))
        literals += [chosen for chosen, _ in sending.lists]
    for openings in model.openings.values():
        for opening in openings:
            literals += [chosen for chosen, _ in (*opening.lists, *opening.uses)]
    for literal in literals:
        cp.add_hint(literal, solver.boolean_value(literal))


def _reason(problem: WindowProblem, cp_model: Any, limits: _Limits) -> str:
    """The rules that cannot be kept together: a set that CP-SAT finds sufficient, thinned out one by one.

    Where a limit bites the set is larger than it need be, and still sufficient.
    """
    model = _build(problem, cp_model.CpModel(), explain=True)
    assert model.assumptions is not None, "it was built to explain"
    needed = list(model.assumptions.values())
    texts = {literal.index: text for text, literal in model.assumptions.items()}
    for literal in list(needed):
        without = [other for other in needed if other is not literal]
        model.cp.clear_assumptions()
        model.cp.add_assumptions(without)
        solver = limits.solver(cp_model)
        solver.parameters.num_workers = 1
        if solver.solve(model.cp) == cp_model.INFEASIBLE:
            needed = without
    return "; with ".join(texts[literal.index] for literal in needed)


def _infeasible(problem: WindowProblem, reason: str, begun: int) -> WindowPlacement:
    return WindowPlacement(
        format="leo-placement/2",
        problem=problem.name,
        solver=NAME,
        status="infeasible",
        reason=reason,
        solve_us=(perf_counter_ns() - begun) // 1000,
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """A stage or a transfer of the answer, and the resource it occupies."""

    resource: str | None
    start: int
    end: int


def _placement(model: _Model, solver: CpSolver, bounds: tuple[int, ...], proved: bool, begun: int) -> WindowPlacement:
    problem = model.problem
    modes = {
        name: next(mode for literal, mode in modes if solver.boolean_value(literal))
        for name, modes in model.modes.items()
    }
    links = {(link.source, link.target): link for link in problem.links}
    jobs: dict[Key, _Job] = {}
    for stage in problem.stages:
        start, mode = solver.value(model.starts[stage.name]), modes[stage.name]
        jobs[stage.name, None] = _Job(mode.resource, start, start + mode.duration_us)
        for source in stage.inputs:
            if modes[source].resource != mode.resource:
                link = links[modes[source].resource, mode.resource]
                start = solver.value(model.sendings[source, mode.resource].start)
                sent = start + link.sending_us(modes[source].output_bytes)
                jobs[source, mode.resource] = _Job(link.resource, start, sent)
    given_out = on_lanes(problem.resources, [(job.resource, job.start, job.end) for job in jobs.values()])
    lanes = dict(zip(jobs, given_out, strict=True))
    runs: list[StageRun] = []
    transfers: list[WindowTransfer] = []
    for (name, target), job in jobs.items():
        lane, mode = lanes[name, target], modes[name]
        if target is None:
            assert lane is not None, "a stage has a lane"
            runs.append(
                StageRun(
                    stage=name,
                    resource=mode.resource,
                    variant=mode.variant,
                    lane=lane,
                    start_us=job.start,
                    end_us=job.end,
                )
            )
        else:
            transfers.append(
                WindowTransfer(
                    stage=name,
                    source=mode.resource,
                    target=target,
                    lane=lane,
                    start_us=job.start,
                    arrive_us=job.end + links[mode.resource, target].latency_us,
                    after=_chosen(solver, model.sendings[name, target].lists),
                )
            )
    answer = WindowPlacement(
        format="leo-placement/2",
        problem=problem.name,
        solver=NAME,
        status="optimal" if proved else "feasible",
        bounds=bounds,
        stages=tuple(runs),
        transfers=tuple(transfers),
        spans=tuple(span for resource in problem.resources for span in _spans(model, solver, resource, jobs)),
        solve_us=(perf_counter_ns() - begun) // 1000,
    )
    return answer.model_copy(update={"criteria": check_window(problem, answer).criteria})


def _chosen(solver: CpSolver, lists: list[tuple[IntVar, tuple[str, ...]]]) -> tuple[str, ...]:
    return next((after for literal, after in lists if solver.boolean_value(literal)), ())


def _spans(model: _Model, solver: CpSolver, resource: WindowResource, jobs: dict[Key, _Job]) -> list[Span]:
    """The spans of a resource, of what really uses it: a model may send what nobody reads where that costs nothing."""
    if resource.linger_us is None:
        until = max((job.end for job in jobs.values() if job.resource == resource.name), default=0)
        return [Span(resource=resource.name, from_us=0, until_us=until, after=())]
    spans = []
    for opening in model.openings[resource.name]:
        within = [use.key for literal, use in opening.uses if solver.boolean_value(literal) and use.key in jobs]
        if within or not opening.wakes:
            until = max((jobs[key].end for key in within), default=0)
            after = _chosen(solver, opening.lists)
            spans.append(Span(resource=resource.name, from_us=opening.from_us, until_us=until, after=after))
    return spans

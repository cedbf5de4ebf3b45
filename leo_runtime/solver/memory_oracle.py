"""OR-Tools CP-SAT as one more solver of questions with loads, for tests; the frame is modelled as in `oracle`.

A load is an optional interval of fixed length: for each label, target and run that may need it, one that the run would
be the first of the question's order to be served by. What is held changes only as loads start, so rule 5 is a sum at
each load's start (and at the frame's) over what is held then, by literals that compare times. There is no interval
whose length is a variable: CP-SAT's presolve was seen to lose optimal answers with those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from leo_runtime.documents.memory import Loader, LoadRun, MemoryPlacement, MemoryProblem
from leo_runtime.judge.memory import check_memory
from leo_runtime.solver.memory_answers import infeasible
from leo_runtime.solver.oracle import Model, begin, finish, horizon_us, minimised

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, IntVar

NAME = "oracle"


@dataclass(slots=True)
class _Stay:
    """A label on a resource for some runs: from a load, or (`loader` is None) from the frame's start."""

    label: str
    resource: str
    loader: Loader | None
    present: IntVar
    start: IntVar | int
    until: IntVar
    """At least when the last run that it serves ends."""
    serves: list[IntVar] = field(default_factory=list)


def solve(
    problem: MemoryProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
    workers: int = 1,
    presolve: bool = True,
) -> MemoryPlacement:
    """The optimum as CP-SAT proves it; limits and errors are those of `leo_runtime.solver.oracle.solve`."""
    begun = perf_counter_ns()
    sizes = {weights.label: weights.bytes for weights in problem.weights}
    stays: list[_Stay] = []

    def build(cp: CpModel, explain: bool) -> Model:
        model = begin(problem, cp, horizon_us(problem, _loads_us(problem, sizes)), explain=explain)
        stays[:] = _add_stays(model, problem, sizes)
        _add_room(model, problem, stays, sizes)
        finish(model)
        return model

    found = minimised(
        problem, build, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed, workers=workers, presolve=presolve
    )
    if isinstance(found, str):
        return infeasible(problem, NAME, found, begun)
    begun_loads = [
        (found.solver.value(stay.start), stay.loader, stay.label)
        for stay in stays
        if stay.loader is not None and found.solver.boolean_value(stay.present)
    ]
    runs, transfers, lanes = found.placed(
        [(loader.resource, start, start + loader.loading_us(sizes[label])) for start, loader, label in begun_loads]
    )
    loads = []
    for (start, loader, label), lane in zip(begun_loads, lanes, strict=True):
        assert lane is not None, "a load has a lane"
        arrive = start + loader.loading_us(sizes[label]) + loader.latency_us
        loads.append(LoadRun(label=label, target=loader.target, lane=lane, start_us=start, arrive_us=arrive))
    answer = MemoryPlacement(
        format="leo-placement/3",
        problem=problem.name,
        solver=NAME,
        status=found.status,
        bounds=found.bounds,
        stages=runs,
        transfers=transfers,
        loads=tuple(sorted(loads, key=lambda load: load.start_us)),
        solve_us=(perf_counter_ns() - begun) // 1000,
    )
    return answer.model_copy(update={"criteria": check_memory(problem, answer).criteria})


def _loads_us(problem: MemoryProblem, sizes: dict[str, int]) -> int:
    """How long it takes at most to load anew for every run, one load after the other."""
    loaders = {loader.target: loader for loader in problem.loaders}
    longest = 0
    for stage in problem.stages:
        each = [0]
        for mode in stage.modes:
            loader = loaders.get(mode.resource)
            if loader is not None:
                each.append(sum(loader.loading_us(sizes[label]) + loader.latency_us for label in mode.weights))
        longest += max(each)
    return longest


def _add_stays(model: Model, problem: MemoryProblem, sizes: dict[str, int]) -> list[_Stay]:
    """Rules 3 and 8: every stay that may be, and that each run is served by one of them."""
    loaders = {loader.target: loader for loader in problem.loaders}
    stays: list[_Stay] = []
    for resource in problem.resources:
        for weights in problem.weights:
            needs = _needs(model, problem, weights.label, resource.name)
            here: list[_Stay] = []
            if weights.label in resource.resident:
                here.append(_stay(model, weights.label, resource.name, None, sizes))
            loader = loaders.get(resource.name)
            opened = [_stay(model, weights.label, resource.name, loader, sizes) for _ in needs if loader is not None]
            for j, (name, need) in enumerate(needs):
                _serve(model, name, need, [*here, *opened[: j + 1]], f"{weights.label} on {resource.name}", sizes)
            # The load that a run opens is there if and only if it serves that run.
            for j, stay in enumerate(opened):
                model.cp.add_implication(stay.present, stay.serves[0])
                for other in opened[:j]:
                    _keep_apart(model, other, stay)
                for resident in here:
                    model.cp.add(resident.until <= stay.start).only_enforce_if(stay.present)
            stays += [stay for stay in (*here, *opened) if stay.serves]
    return stays


def _needs(model: Model, problem: MemoryProblem, label: str, resource: str) -> list[tuple[str, IntVar]]:
    """The stages that may need a label on a resource, each with a literal that says whether it does."""
    cp = model.cp
    needs = []
    for stage in problem.stages:
        modes = zip(model.modes[stage.name], stage.modes, strict=True)
        literals = [literal for (literal, _), mode in modes if mode.resource == resource and label in mode.weights]
        if literals:
            need = cp.new_bool_var("")
            cp.add(sum(literals) == need)
            needs.append((stage.name, need))
    return needs


def _stay(model: Model, label: str, resource: str, loader: Loader | None, sizes: dict[str, int]) -> _Stay:
    cp, horizon = model.cp, model.horizon_us
    present, until = cp.new_bool_var(""), cp.new_int_var(0, horizon, "")
    if loader is None:
        return _Stay(label, resource, None, present, 0, until)
    start, lasts = cp.new_int_var(0, horizon, ""), loader.loading_us(sizes[label])
    interval = cp.new_optional_fixed_size_interval_var(start, lasts, present, "")
    model.intervals.setdefault(loader.resource, []).append(interval)
    model.uses.setdefault(loader.resource, []).append((present, start, start + lasts))
    model.charges.append((loader.loading_nj(sizes[label]), present))
    return _Stay(label, resource, loader, present, start, until)


def _serve(model: Model, name: str, need: IntVar, stays: list[_Stay], what: str, sizes: dict[str, int]) -> None:
    """One of the stays serves the run of a stage that needs it. The last of them is the one that the stage opens."""
    cp = model.cp
    serving = []
    for stay in stays:
        by = cp.new_bool_var("")
        cp.add_implication(by, stay.present)
        arrives: Any = stay.start
        if stay.loader is not None:
            arrives = stay.start + stay.loader.loading_us(sizes[stay.label]) + stay.loader.latency_us
        cp.add(model.starts[name] >= arrives).only_enforce_if(by)
        cp.add(stay.until >= model.ends[name]).only_enforce_if(by)
        stay.serves.append(by)
        serving.append(by)
    if serving:
        cp.add(sum(serving) == need)
    else:
        model.rule(cp.add(need == 0), f"rule 8: no loader brings {what}")


def _keep_apart(model: Model, one: _Stay, other: _Stay) -> None:
    """Rule 8: a label is never held twice in one place."""
    cp, first = model.cp, model.cp.new_bool_var("")
    cp.add(one.until <= other.start).only_enforce_if(one.present, other.present, first)
    cp.add(other.until <= one.start).only_enforce_if(one.present, other.present, first.negated())


def _add_room(model: Model, problem: MemoryProblem, stays: list[_Stay], sizes: dict[str, int]) -> None:
    """Rule 5: what is held as the frame starts, and as each load does, fits beside the working memory."""
    cp = model.cp
    for resource in problem.resources:
        if resource.memory_bytes is None:
            continue
        here = [stay for stay in stays if stay.resource == resource.name]
        working = [
            mode.memory_bytes * literal
            for modes in model.modes.values()
            for literal, mode in modes
            if mode.resource == resource.name
        ]
        text = f"rule 5: memory of {resource.name}"
        residents = [sizes[stay.label] * stay.present for stay in here if stay.loader is None]
        if residents:
            model.rule(cp.add(sum(residents) + sum(working) <= resource.memory_bytes), text)
        for k, stay in enumerate(here):
            if stay.loader is None:
                continue
            held = [sizes[other.label] * _holds(model, here, o, k) for o, other in enumerate(here) if o != k]
            # Where the load is not there, it and what would be held beside it count for nothing.
            most = sum(sizes[other.label] for other in here)
            room = resource.memory_bytes + most * (1 - stay.present)
            model.rule(cp.add(sum(held) + sizes[stay.label] * stay.present + sum(working) <= room), text)


def _holds(model: Model, here: list[_Stay], o: int, k: int) -> IntVar:
    """Whether stay o is held as stay k begins, both being there; of two that begin together the earlier one is."""
    cp, other, stay = model.cp, here[o], here[k]
    held, before = cp.new_bool_var(""), cp.new_bool_var("")
    cp.add(other.until <= stay.start).only_enforce_if(before)
    ways = [held, before, stay.present.negated(), other.present.negated()]
    if other.loader is not None:
        after = cp.new_bool_var("")
        cp.add(other.start >= stay.start + (1 if o < k else 0)).only_enforce_if(after)
        ways.append(after)
    cp.add_bool_or(ways)
    return held

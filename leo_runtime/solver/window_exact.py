"""The exact solver of windows: the frame's bounds, then the search that learns, with spans and lists.

What costs come to whatever is done, and how little a use can cost, is written into a frame of its own, which costs no
more than the window: what is ruled out there is ruled out here (`docs/solver.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns

from leo_runtime.documents.problem import CRITERIA, Criteria, StageRun
from leo_runtime.documents.window import CERTAIN, Span, WindowPlacement, WindowProblem, WindowResource, WindowTransfer
from leo_runtime.errors import SolverError
from leo_runtime.frozen import dataclass
from leo_runtime.solver.compiled import Compiled, flattened, window_search
from leo_runtime.solver.effort import spent
from leo_runtime.solver.exact import answer
from leo_runtime.solver.gates import Gates, share
from leo_runtime.solver.infeasible import NODES_EACH, reason
from leo_runtime.solver.lanes import on_lanes
from leo_runtime.solver.limits import Stop, limited
from leo_runtime.solver.search.flatten import Flat
from leo_runtime.solver.window_bounds import last_us
from leo_runtime.solver.window_lists import WindowLists

NAME = "exact"
CLIMB_MOVES_PER_STAGE = 12
"""Random changes of the frame tried before the search, for modes and orders to try first."""
FEW_STAGES = 20
"""Beyond, an answer in time depends more on what is tried first."""
CLIMB_MOVES_PER_STAGE_OF_MANY = 40
UNLIMITED = 1 << 60
LARGEST_NJ = 10**18 // 64
"""Where a window could cost more, 64 bits are too few: the search counts in 1/64 nJ, and adds several of these up."""


def solve(
    problem: WindowProblem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0
) -> WindowPlacement:
    """The best placement of a window, proved; or the best one found within the limits, with proved bounds.

    `limit_nodes` counts search nodes and gives the same answer every time; `limit_ms` does not. Stopped by the former,
    the answer is no worse than a few simple ones, such as everything on one processor. Raises `SolverError` when a
    limit bites before any answer is found or ruled out.
    """
    began_ns = perf_counter_ns()
    if not problem.stages:
        return _nothing_to_do(problem, began_ns)
    if _is_a_frame(problem):
        return _as_a_frame(problem, began_ns, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)
    flat = flattened(problem)
    window = _Window.of(problem, flat)
    frame = _frame(flat, window)
    wide = flat.wide or window.worst_nj(problem) >= LARGEST_NJ
    with limited(limit_ms, began_ns) as stop:
        kernel, search = window_search(frame, window.page(problem, flat), wide=wide)
        stop.watch(kernel)
        if not search.too_large:  # Else it has no variables that could prefer anything.
            stages = len(problem.stages)
            each = CLIMB_MOVES_PER_STAGE if stages <= FEW_STAGES else CLIMB_MOVES_PER_STAGE_OF_MANY
            kernel.climb(stages * each, seed)
            search.prefer()
        ended = kernel.root()
        if ended != 2 and not kernel.halting and not search.too_large:
            ended = search.search(UNLIMITED if limit_nodes is None else limit_nodes)
            spent(search.nodes)
        bounds = tuple(kernel.bounds)
        found = _written(problem, flat, search.kept(), ended == 2, bounds, began_ns) if kernel.found else None
        if ended != 2:
            return _no_worse_than_simple(problem, found, stop, bounds, began_ns)
        if found is not None:
            return found
        return WindowPlacement(
            format="leo-placement/2",
            problem=problem.name,
            solver=NAME,
            status="infeasible",
            reason=_reason(problem, stop),
            solve_us=(perf_counter_ns() - began_ns) // 1000,
        )


@dataclass(frozen=True, slots=True)
class _Window:
    """What a window has that a frame has not, by the numbers of stages, modes and resources."""

    gates: Gates
    gate_names: tuple[str, ...]
    chances: tuple[int, ...]
    """Of each stage, in parts per million."""
    energies: tuple[int, ...]
    """Of each mode, by its stage's chance."""
    always_nj: int
    """What those resources draw that never sleep."""
    lingering_nj: tuple[int, ...]
    """Of each resource that is awake: what it draws until it falls asleep, if nothing uses it."""
    busy_mw: tuple[int, ...]
    """What a span of each resource costs at least for every microsecond that all its lanes are used."""
    waking_nj: tuple[int, ...]
    """What using a resource that sleeps costs at least, besides."""
    last_us: int
    """Nothing that starts as early as it can ends later."""

    @staticmethod
    def of(problem: WindowProblem, flat: Flat) -> _Window:
        """What is to be said of the resources and stages of a question."""
        gates = Gates.of(problem)
        chances = {stage.name: stage.chance_ppm for stage in problem.stages}
        numbered = tuple(chances[name] for name in flat.stages.names)
        energies = tuple(
            share(mode.energy_nj, chances[stage.name]) for stage in flat.stages.documents for mode in stage.modes
        )
        rarest = {resource.name: CERTAIN for resource in problem.resources}
        for stage in problem.stages:
            for mode in stage.modes:
                rarest[mode.resource] = min(rarest[mode.resource], stage.chance_ppm)
        least = min(numbered)
        for link in problem.links:
            if link.resource is not None:
                rarest[link.resource] = min(rarest[link.resource], least)
        busy, waking = zip(*(_least_costs(problem, each, rarest[each.name]) for each in problem.resources), strict=True)
        return _Window(
            gates,
            tuple(gates.opens_ppm),
            numbered,
            energies,
            sum(each.awake_mw * problem.horizon_us for each in problem.resources if each.linger_us is None),
            tuple(
                each.lingering_mw * min(each.awake_until_us, problem.horizon_us) if each.linger_us is not None else 0
                for each in problem.resources
            ),
            busy,
            waking,
            last_us(problem),
        )

    def worst_nj(self, problem: WindowProblem) -> int:
        """No window costs more."""
        spans = sum(
            (1 + len(problem.releases_us)) * (each.wake_energy_nj + each.awake_mw * (self.last_us + problem.horizon_us))
            for each in problem.resources
        )
        late = self.last_us * sum(deadline.weight for deadline in problem.deadlines)
        return max(spans + self.always_nj + sum(self.energies), late, self.last_us)

    def page(self, problem: WindowProblem, flat: Flat) -> list[int]:
        """What `WindowSearch` reads, in its order."""
        names = flat.stages.names
        position = {name: i for i, name in enumerate(names)}
        first = [0]
        openings: list[tuple[int, int]] = []
        for each in problem.resources:
            openings += _openings(problem, each, bool(self.gate_names))
            first.append(len(openings))
        gates = self.gate_names
        return [
            *(problem.horizon_us, len(gates), len(openings), self.always_nj, self.last_us),
            *self.chances,
            *(position[gate] for gate in gates),
            *(self.gates.opens_ppm[gate] for gate in gates),
            *(int(gate in self.gates.behind[name]) for name in names for gate in gates),
            *self.energies,
            *(each.wake_latency_us for each in problem.resources),
            *(each.wake_energy_nj for each in problem.resources),
            *(each.awake_mw for each in problem.resources),
            *(each.linger_us or 0 for each in problem.resources),
            *(each.lingering_mw for each in problem.resources),
            *(each.awake_until_us for each in problem.resources),
            *self.busy_mw,
            *first,
            *(from_us for from_us, _ in openings),
            *(wakes for _, wakes in openings),
        ]


def _openings(problem: WindowProblem, resource: WindowResource, has_gates: bool) -> list[tuple[int, int]]:
    """From when each span of a resource may be, and whether it begins with waking.

    What is awake has no reason to wake again at once but to wait for gates.
    """
    if resource.linger_us is None:
        return []
    waking = [(release_us, 1) for release_us in problem.releases_us if not resource.awake or release_us or has_gates]
    return [(0, 0), *waking] if resource.awake else waking


def _least_costs(problem: WindowProblem, resource: WindowResource, rarest_ppm: int) -> tuple[int, int]:
    """What a microsecond in which all lanes of a resource are used costs at least, and using it at all, in mW and nJ.

    A span costs `awake_mw` while it lasts, and its lingering. Of the two the lingering can be counted at its shortest,
    and the whole power for the work; or at its longest, and then only the difference for the work: as the span gets
    longer, the horizon cuts off what lingers.
    """
    if resource.linger_us is None:
        return 0, 0
    more = resource.awake_mw - resource.lingering_mw
    if resource.awake:
        return (more if resource.awake_until_us else resource.awake_mw), 0
    woken = resource.wake_energy_nj + resource.awake_mw * resource.wake_latency_us
    left_us = problem.horizon_us - problem.releases_us[-1] - resource.wake_latency_us
    lingers_us = max(0, min(resource.linger_us, left_us))
    work_us = sum(
        min((mode.duration_us for mode in stage.modes if mode.resource == resource.name), default=0)
        for stage in problem.stages
    )
    rate, base = resource.awake_mw, woken
    if lingers_us > work_us:
        rate, base = more, woken + resource.lingering_mw * lingers_us
    return rate, base * rarest_ppm // CERTAIN


def _frame(flat: Flat, window: _Window) -> Sequence[int]:
    """The window's frame: its problem with every cost at its least, as a kernel reads it (`Schedule._read`)."""
    data = list(flat.page.data)
    stages = flat.stages.documents
    n, r = len(stages), len(flat.resources)
    lane_first = data[8 : 9 + r]
    modes, inputs = sum(len(stage.modes) for stage in stages), sum(len(stage.inputs) for stage in stages)
    after_lanes = 9 + r
    wake_nj, awake_mw = after_lanes + 2 * r, after_lanes + 3 * r
    for t in range(r):
        data[wake_nj + t] = window.waking_nj[t]
        data[awake_mw + t] = 0
    energy = after_lanes + 5 * r + lane_first[-1] + 6 * r * r + 3 * n + 2 + inputs + 2 * modes
    always = window.always_nj + sum(window.lingering_nj)
    number = {name: t for t, name in enumerate(flat.resources)}
    g = 0
    for i, stage in enumerate(stages):
        for mode in stage.modes:
            t = number[mode.resource]
            count = lane_first[t + 1] - lane_first[t]
            busy = window.busy_mw[t] * mode.duration_us * window.chances[i] // CERTAIN // max(count, 1)
            data[energy + g] = window.energies[g] + busy + (always if i == 0 else 0)
            g += 1
    return data


def _is_a_frame(problem: WindowProblem) -> bool:
    """Whether a window asks no more than a frame: one release, all certain, and what is not used sleeps at once."""
    return (
        problem.releases_us == (0,)
        and not any(stage.gates for stage in problem.stages)
        and all(_sleeps_at_once(resource) for resource in problem.resources)
    )


def _sleeps_at_once(resource: WindowResource) -> bool:
    """Whether a resource draws nothing but while it is used."""
    if resource.awake_mw == 0:
        return True
    if resource.linger_us is None:
        return False
    return resource.lingering_mw == 0 or (resource.linger_us == 0 and resource.awake_until_us == 0)


def _as_a_frame(
    problem: WindowProblem, began_ns: int, *, limit_ms: int | None, limit_nodes: int | None, seed: int
) -> WindowPlacement:
    """The answer of a window that is a frame: what the solver of frames says, in the form of a window's."""
    compiled = Compiled(problem)
    frame = answer(compiled, compiled.kernel(), began_ns, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)
    until = {resource.name: 0 for resource in problem.resources if resource.awake}
    for run in frame.stages:
        until[run.resource] = max(until.get(run.resource, 0), run.end_us)
    links = {(link.source, link.target): link for link in problem.links}
    for send in frame.transfers:
        link = links[send.source, send.target]
        if link.resource is not None:
            sent_us = send.arrive_us - link.latency_us
            until[link.resource] = max(until.get(link.resource, 0), sent_us)
    return WindowPlacement(
        format="leo-placement/2",
        problem=frame.problem,
        solver=frame.solver,
        status=frame.status,
        criteria=frame.criteria,
        bounds=frame.bounds,
        stages=frame.stages,
        transfers=tuple(WindowTransfer(**dict(send), after=()) for send in frame.transfers),
        spans=tuple(
            Span(resource=resource.name, from_us=0, until_us=until[resource.name], after=())
            for resource in problem.resources
            if resource.name in until and frame.status != "infeasible"
        ),
        solve_us=(perf_counter_ns() - began_ns) // 1000,
        reason=frame.reason,
    )


def _no_worse_than_simple(
    problem: WindowProblem, found: WindowPlacement | None, stop: Stop, bounds: tuple[int, ...], began_ns: int
) -> WindowPlacement:
    """The better one of what was found and a few simple answers, unless there is no time left for them.

    Raises `SolverError` where nothing was found and no simple answer keeps the rules.
    """
    if found is not None and stop.passed:
        return found
    lists = WindowLists(problem, stop)
    lists.begin()
    try:
        simple = lists.placement(NAME, began_ns)
    except SolverError:
        if found is not None:
            return found
        raise SolverError(
            f"`{problem.name}`: no answer was found within the limit, and none was ruled out",
            hint="raise limit_ms or limit_nodes",
        ) from None
    if found is not None and _values(problem, found) <= _values(problem, simple):
        return found
    # Bounds after the first are for its value in the answer that they were proved beside.
    later = (0,) * (len(bounds) - 1) if found is not None else bounds[1:]
    return simple.model_copy(update={"bounds": tuple(map(max, (bounds[0], *later), simple.bounds))})


def _values(problem: WindowProblem, placement: WindowPlacement) -> list[int]:
    """The criteria of the objective, in its order."""
    return [getattr(placement.criteria, name) for name in problem.objective]


def _reason(problem: WindowProblem, stop: Stop) -> str:
    """Why there is no answer: the limit on energy, which knows chances and spans, else what a frame would say."""
    limit = problem.limits.get("energy")
    if limit is None:
        return reason(problem, stop)
    others = {name: value for name, value in problem.limits.items() if name != "energy"}
    unlimited = solve(problem.model_copy(update={"limits": others}), limit_nodes=NODES_EACH)
    return unlimited.reason or f"rule 7: energy cannot be as low as its limit of {limit}"


def _nothing_to_do(problem: WindowProblem, began_ns: int) -> WindowPlacement:
    """The answer of a window without stages: what is awake lingers."""
    from leo_runtime.solver.window_exhaustive import solve as try_everything

    tried = try_everything(problem)
    return tried.model_copy(update={"solver": NAME, "solve_us": (perf_counter_ns() - began_ns) // 1000})


def _written(
    problem: WindowProblem, flat: Flat, kept: list[int], proved: bool, bounds: tuple[int, ...], began_ns: int
) -> WindowPlacement:
    """The document of an answer as `WindowSearch.kept` gives it."""
    values = iter(kept)
    criteria = dict(zip(CRITERIA, (next(values) for _ in CRITERIA), strict=True))
    names, resources = flat.stages.names, flat.resources
    modes = [mode for stage in flat.stages.documents for mode in stage.modes]
    links = {(link.source, link.target): link for link in problem.links}
    runs = [(modes[next(values)], next(values)) for _ in names]
    uses: list[tuple[str | None, int, int]] = [
        (mode.resource, start_us, start_us + mode.duration_us) for mode, start_us in runs
    ]
    sends: list[tuple[int, str, int, tuple[str, ...]]] = []
    for _ in range(next(values)):
        i, target, start_us = next(values), resources[next(values)], next(values)
        sends.append((i, target, start_us, tuple(names[next(values)] for _ in range(next(values)))))
        link = links[runs[i][0].resource, target]
        uses.append((link.resource, start_us, start_us + link.sending_us(runs[i][0].output_bytes)))
    spans = [
        Span(
            resource=resources[next(values)],
            from_us=next(values),
            until_us=next(values),
            after=tuple(names[next(values)] for _ in range(next(values))),
        )
        for _ in range(next(values))
    ]
    for resource in problem.resources:
        if resource.linger_us is None:
            last = max((end_us for where, _, end_us in uses if where == resource.name), default=0)
            spans.append(Span(resource=resource.name, from_us=0, until_us=last, after=()))
    lanes = on_lanes(problem.resources, uses)
    return WindowPlacement(
        format="leo-placement/2",
        problem=problem.name,
        solver=NAME,
        status="optimal" if proved else "feasible",
        criteria=Criteria(**criteria),
        bounds=bounds,
        stages=tuple(
            StageRun(
                stage=name,
                resource=mode.resource,
                variant=mode.variant,
                lane=lanes[i] or 0,
                start_us=start_us,
                end_us=start_us + mode.duration_us,
            )
            for i, (name, (mode, start_us)) in enumerate(zip(names, runs, strict=True))
        ),
        transfers=tuple(
            WindowTransfer(
                stage=names[i],
                source=runs[i][0].resource,
                target=target,
                lane=lanes[len(names) + s],
                start_us=start_us,
                arrive_us=uses[len(names) + s][2] + links[runs[i][0].resource, target].latency_us,
                after=after,
            )
            for s, (i, target, start_us, after) in enumerate(sends)
        ),
        spans=tuple(spans),
        solve_us=(perf_counter_ns() - began_ns) // 1000,
    )

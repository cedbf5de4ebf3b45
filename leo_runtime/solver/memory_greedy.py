"""Greedy for questions with loads: the modes of the answer without memory, and simple ones, improved stage by stage.

Every choice of modes is scheduled with memory (`memory_lists`). Each stage is tried in each of its modes, alone and
with those that read it, and earlier in the order; the best schedule so far is kept and moved on from, until no move
improves it.
"""

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns

from leo_runtime.documents.memory import MemoryMode, MemoryPlacement, MemoryProblem, MemoryStage
from leo_runtime.documents.problem import Placement
from leo_runtime.errors import SolverError
from leo_runtime.solver import greedy
from leo_runtime.solver.limits import Stop, limited
from leo_runtime.solver.memory_answers import bounds_of, infeasible, least_values, placement, reason
from leo_runtime.solver.memory_frames import Memory, lowered
from leo_runtime.solver.memory_lists import Lists

NAME = "greedy"
PLACES = 8
"""How many places earlier in the order each stage is tried."""


def solve(
    problem: MemoryProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
) -> MemoryPlacement:
    """A local optimum; `limit_nodes` counts schedules made.

    Raises `SolverError` where it finds no placement that keeps every rule.
    """
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        memory = Memory(problem)
        left_ms = None if limit_ms is None else max(limit_ms - (perf_counter_ns() - began) // 1_000_000, 0)
        frame = without_memory(memory, left_ms, limit_nodes, seed)
        if frame is not None and frame.status == "infeasible":
            return infeasible(problem, NAME, reason(memory, frame.reason), began)
        lists = Lists(memory)
        improve(lists, stop, limit_nodes, frame)
    if lists.best is None or lists.best[0] > 0:
        raise SolverError(
            f"{problem.name}: the solver `{NAME}` found no placement that keeps every rule",
            hint="the solver `exact` finds one, or proves that there is none",
        )
    # What is proved without memory holds with it.
    least = None if frame is None else least_values(frame, problem.objective)
    bounds = bounds_of(lists.best[1:], least)
    found, criteria = lists.schedule(lists.best_modes, lists.best_order)[1:]
    return placement(problem, NAME, found, criteria, bounds, began)


def without_memory(memory: Memory, limit_ms: int | None, limit_nodes: int | None, seed: int) -> Placement | None:
    """What the solver `greedy` says of the question with room for all weights; None where it finds nothing."""
    whole = memory.whole()
    if whole is None:
        return Placement(format="leo-placement/1", problem=memory.problem.name, solver=NAME, status="infeasible")
    lower = lowered(memory, whole)
    assert lower is not None, "nothing is decided yet that stages could wait for"
    try:
        return greedy.solve(lower.question, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed)
    except SolverError:
        return None


def improve(lists: Lists, stop: Stop, limit_moves: int | None, frame: Placement | None) -> None:
    """From the modes of `frame` and simple ones, move stages until no move improves the best, or a limit bites."""
    orders = lists.orders()

    def within() -> bool:
        return not stop.passed and (limit_moves is None or lists.moves < limit_moves)

    for modes in _simple(lists, frame):
        for order in orders:
            if lists.best is None or within():
                lists.consider(modes, order)
    before = None
    while lists.best != before:
        before = lists.best
        for move in _moves(lists, orders):
            if not within():
                return
            lists.consider(*move)


def _simple(lists: Lists, frame: Placement | None) -> Iterator[list[int]]:
    """Modes to start from: those of an answer, then of all possible modes the fastest, the cheapest and so on."""
    stages, memory = lists.stages, lists.memory
    if frame is not None:
        runs = {run.stage: (run.resource, run.variant) for run in frame.stages}
        yield [[(m.resource, m.variant) for m in stage.modes].index(runs[stage.name]) for stage in stages]
    tried: list[list[int]] = []
    for here in (None, *(resource.name for resource in memory.problem.resources)):
        for cost in _COSTS:
            modes = [_least(memory, stage, here, cost) for stage in stages]
            if modes not in tried:
                tried.append(modes)
                yield modes


def _least(memory: Memory, stage: MemoryStage, here: str | None, cost: Callable[[MemoryMode], int]) -> int:
    """The mode of a stage that costs least: one that is possible, if any is, and on a resource, if it can be there."""

    def rated(g: int) -> tuple[bool, bool, int]:
        mode = stage.modes[g]
        return not memory.possible(mode), here is not None and mode.resource != here, cost(mode)

    return min(range(len(stage.modes)), key=rated)


def _moves(lists: Lists, orders: list[list[int]]) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Each stage in every mode, alone and with its readers on the same resource; then each next to another in order."""
    stages = lists.stages
    for i, stage in enumerate(stages):
        for g, mode in enumerate(stage.modes):
            if g == lists.best_modes[i]:
                continue
            alone = list(lists.best_modes)
            alone[i] = g
            together = list(alone)
            for j, reader in enumerate(stages):
                there = [k for k, other in enumerate(reader.modes) if other.resource == mode.resource]
                if stage.name in reader.inputs and there:
                    together[j] = there[0]
            for modes in (alone, together) if together != alone else (alone,):
                yield from ((modes, order) for order in (*orders, lists.best_order))
    yield from ((lists.best_modes, order) for order in _earlier(lists))


def _earlier(lists: Lists) -> Iterator[list[int]]:
    """The order of the best schedule with a stage earlier: some places, or just behind one that needs a label it needs.

    The latter are nothing new where they are near.
    """
    modes = [stage.modes[g] for stage, g in zip(lists.stages, lists.best_modes, strict=True)]
    best = lists.best_order
    for at, i in enumerate(best):
        inputs = {*lists.stages[i].inputs}
        for place in range(at - 1, -1, -1):
            j = best[place]
            if lists.stages[j].name in inputs:
                break
            behind = modes[best[place - 1]] if place else None
            shared = behind is not None and modes[i].resource == behind.resource
            if at - place <= PLACES or (shared and behind is not None and {*modes[i].weights} & {*behind.weights}):
                yield [*best[:place], i, *best[place:at], *best[at + 1 :]]


_COSTS: tuple[Callable[[MemoryMode], int], ...] = (
    lambda mode: mode.duration_us,
    lambda mode: mode.energy_nj,
    lambda mode: mode.memory_bytes,
    lambda mode: mode.accuracy_loss_ppm,
)
"""By what simple modes are chosen."""

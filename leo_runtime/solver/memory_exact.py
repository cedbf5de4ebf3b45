"""The exact solver of questions with loads: frames without memory, and parts of them where what is held does not fit.

`docs/memory-problem.md` says why this leaves no answer out. The part with the least bound is next, so the first one
whose answer keeps all rules is the best; an answer found on the way ends what cannot be better.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from time import perf_counter_ns

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Criteria, Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.exact import CLIMB_MOVES_PER_STAGE
from leo_runtime.solver.infeasible import reason as frame_reason
from leo_runtime.solver.limits import Stop, limited
from leo_runtime.solver.memory_answers import Least, bounds_of, infeasible, least_values, placement, reason
from leo_runtime.solver.memory_frames import Found, Memory, Part, found, lowered, parts_without_trouble
from leo_runtime.solver.memory_greedy import improve
from leo_runtime.solver.memory_lists import Lists
from leo_runtime.solver.prove import UNLIMITED, prove

NAME = "exact"


@dataclass(slots=True)
class _Search:
    memory: Memory
    lists: Lists
    stop: Stop
    limit_nodes: int | None
    seed: int
    asked: int = 0
    """How many questions of frames were asked."""
    best: tuple[Least, Found, Criteria] | None = None
    """The best answer that keeps all rules, with its values."""
    given_up: Least | None = None
    """The least that a part may have of which no more is known."""

    @property
    def over(self) -> bool:
        return self.stop.passed or (self.limit_nodes is not None and self.asked >= self.limit_nodes)

    def ruled_out(self, least: Least) -> bool:
        """Whether nothing that costs at least so much is better than the best answer."""
        return self.best is not None and least >= self.best[0]

    def give_up(self, least: Least) -> None:
        self.given_up = least if self.given_up is None else min(self.given_up, least)

    def take(self, values: Least, answer: Found, criteria: Criteria) -> None:
        """An answer that keeps all rules."""
        if self.best is None or values < self.best[0]:
            self.best = values, answer, criteria


@dataclass(frozen=True, slots=True)
class _Asked:
    """A part whose question was answered by what breaks a rule: the parts in which that is decided."""

    least: Least
    parts: list[Part]


def solve(
    problem: MemoryProblem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0
) -> MemoryPlacement:
    """The best placement, proved; or the best one found within the limits, with proved bounds.

    `limit_nodes` counts questions of frames, each of which is searched for as many nodes at most: the same limit gives
    the same answer. Raises `SolverError` when a limit bites before any answer is found or ruled out.
    """
    began = perf_counter_ns()
    memory = Memory(problem)
    whole = memory.whole()
    if whole is None:
        return infeasible(problem, NAME, reason(memory, None), began)
    with limited(limit_ms, began) as stop:
        search = _Search(memory, Lists(memory), stop, limit_nodes, seed)
        said = _search(search, whole)
    values = None if search.best is None else search.best[0]
    if search.best is not None and values is not None:
        least = values if search.given_up is None else min(search.given_up, values)
        return placement(problem, NAME, *search.best[1:], bounds_of(values, least), began)
    if search.given_up is None:
        return infeasible(problem, NAME, reason(memory, said), began)
    raise SolverError(
        f"`{problem.name}`: no answer was found within the limit, and none was ruled out",
        hint="raise limit_ms or limit_nodes",
    )


def _search(search: _Search, whole: Part) -> str | None:
    """Search all parts, the least bound first. Says why there is no answer where one without memory has none either."""
    first = _ask(search, whole)
    if isinstance(first, str):
        return first
    if first is not None or search.best is None:
        _improve(search)
    # Of those that are equally good the one that was asked first.
    waiting: list[tuple[Least, int, _Asked]] = [] if first is None else [(first.least, 0, first)]
    number = 0
    while waiting:
        least, _, asked = heappop(waiting)
        if search.ruled_out(least):
            break
        for part in asked.parts:
            if search.over:
                search.give_up(least)
                return None
            found_part = _ask(search, part)
            if isinstance(found_part, _Asked) and not search.ruled_out(found_part.least):
                number += 1
                heappush(waiting, (max(least, found_part.least), number, found_part))
    return None


def _improve(search: _Search) -> None:
    """The answer of local search, so that parts can be ruled out."""
    lists = search.lists
    improve(lists, search.stop, search.limit_nodes, None)
    if lists.best is not None and lists.best[0] == 0:
        _, answer, criteria = lists.schedule(lists.best_modes, lists.best_order)
        search.take(lists.best[1:], answer, criteria)


def _ask(search: _Search, part: Part) -> _Asked | str | None:
    """What the answer to a part's question leaves to be decided; None: nothing. A text: there is no answer, and why.

    The text is of the first question alone.
    """
    search.asked += 1
    problem, memory = search.memory.problem, search.memory
    lower = lowered(memory, part)
    if lower is None:
        return None
    answer = _answer(search, lower.question)
    if answer is None:
        search.give_up((0,) * len(problem.objective))
        return None
    if answer.status == "infeasible":
        return answer.reason
    least = least_values(answer, problem.objective)
    if search.ruled_out(least):
        return None
    here = found(memory, lower, answer)
    parts = parts_without_trouble(memory, part, here)
    if parts is None:
        assert answer.criteria is not None, "it is an answer"
        values = tuple(getattr(answer.criteria, name) for name in problem.objective)
        search.take(values, here, answer.criteria)
        if answer.status != "optimal":
            search.give_up(least)
        return None
    _schedule(search, here)
    return _Asked(least, parts)


def _answer(search: _Search, question: Problem) -> Placement | None:
    """The answer to a frame's question, proved if the limits allow; None: there may be one, and none was found."""
    began = perf_counter_ns()
    compiled = Compiled(question)
    kernel = compiled.kernel()
    search.stop.watch(kernel)
    kernel.climb(len(compiled.stages) * CLIMB_MOVES_PER_STAGE, search.seed)
    proved, _ = prove(kernel, UNLIMITED if search.limit_nodes is None else search.limit_nodes)
    if kernel.found:
        return compiled.placement(kernel.best(), NAME, "optimal" if proved else "feasible", tuple(kernel.bounds), began)
    if not proved:
        return None
    said = frame_reason(question, search.stop) if search.asked == 1 else "there is none"
    return compiled.infeasible(NAME, said, began)


def _schedule(search: _Search, here: Found) -> None:
    """The modes and the order of an answer that breaks a rule, scheduled so that none is broken."""
    lists = search.lists
    runs = {run.stage: run for run in here.runs}
    modes = []
    for stage in lists.stages:
        run = runs[stage.name]
        modes.append([(mode.resource, mode.variant) for mode in stage.modes].index((run.resource, run.variant)))
    order = sorted(range(len(modes)), key=lambda i: runs[lists.stages[i].name].start_us)
    value, answer, criteria = lists.schedule(modes, order)
    if value[0] == 0:
        search.take(value[1:], answer, criteria)

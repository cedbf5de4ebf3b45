"""For problems beyond a few dozen stages, of which the proof is out of reach: the best answer that time allows.

Local search, then the search that learns, in which each stage has the mode of the best answer so far unless a dead end
speaks against it (`docs/solver.md`). Beyond `FEW_STAGES` stages two threads do that: one after little local search, as
the search that learns finds what takes many stages to change at once, and one after much of it, which gets further in
large problems. The better answer counts, and the bounds say how far off it can be.
"""

from dataclasses import dataclass
from math import inf
from time import perf_counter_ns

from leo_runtime.documents.problem import CRITERIA, Placement, Problem
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.exact import FEW_STAGES, finished
from leo_runtime.solver.limits import limited
from leo_runtime.solver.protocols import SearchKernel
from leo_runtime.solver.prove import UNLIMITED, prove

CLIMBS = ((150, 40), (1000, 70))
"""The local searches, each in its thread: how many moves a stage, and at most what percentage of the time there is. Up
to `FEW_STAGES` only the first is made."""
TRIAL_MOVES_PER_STAGE = 5
"""By how many moves it is found out how long one takes."""
TRIAL_PERCENT = 70
"""How long a move takes in the end, of what the trial says, in which there are the simple answers too."""
NODES = 6_000
"""How far each thread searches where no limit is given."""


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """A good placement with a proved bound for each criterion; `optimal` where they meet.

    `limit_nodes` is how many nodes each search may take after its local search (`NODES` without any limit); with
    `limit_ms` alone it searches until then. Raises `SolverError` when no answer is found within the limits.
    """
    began_ns = perf_counter_ns()
    compiled = Compiled(problem)
    if limit_nodes is None:
        limit_nodes = NODES if limit_ms is None else UNLIMITED
    climbs = CLIMBS if len(compiled.stages) > FEW_STAGES else CLIMBS[:1]
    with limited(limit_ms, began_ns) as stop:
        attempts = [Attempt(compiled.kernel(), seed * len(CLIMBS) + number) for number in range(len(climbs))]
        for attempt in attempts:
            stop.watch(attempt.kernel)

        def search(number: int) -> None:
            attempt, (moves, percent) = attempts[number], climbs[number]
            moves *= len(compiled.stages)
            if limit_ms is None:
                attempt.kernel.climb(moves, attempt.seed)
            else:
                attempt.climb_until(began_ns + limit_ms * 1_000_000 * percent // 100, moves)
            attempt.proved, _ = prove(attempt.kernel, limit_nodes)
            if attempt.proved and limit_ms is not None:
                # Without a time limit the others go on: which one is first is not the same every time.
                for other in attempts:
                    if other is not attempt:
                        other.kernel.halt()

        if len(attempts) == 1:
            search(0)
        else:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(len(attempts)) as pool:
                try:
                    list(pool.map(search, range(len(attempts))))
                except BaseException:
                    # The pool waits for its threads, which an interrupt is not to.
                    stop.halt()
                    raise
        best = min(attempts, key=lambda attempt: (not attempt.proved, *attempt.values(problem)))
        bounds = _bounds(problem, best, attempts)
        proved = best.proved or bounds == best.values(problem)
        return finished(compiled, best.kernel, proved, bounds, stop, began_ns, "lns")


@dataclass(slots=True)
class Attempt:
    """One local search with the search after it."""

    kernel: SearchKernel
    seed: int
    proved: bool = False

    def climb_until(self, end_ns: int, most_moves: int) -> None:
        """Local search until then or for so many moves: it cools down in them, so it must know how many fit."""
        kernel = self.kernel
        began_ns = perf_counter_ns()
        few = TRIAL_MOVES_PER_STAGE * kernel.stages
        kernel.climb_once(few, self.seed)
        tried_ns = perf_counter_ns()
        move_ns = max(tried_ns - began_ns, 1) * TRIAL_PERCENT // 100
        half = min(most_moves, few * max(end_ns - tried_ns, 0) // max(move_ns, 1)) // 2
        kernel.climb_once(half, self.seed)
        halfway_ns = perf_counter_ns()
        left_ns = max(end_ns - halfway_ns, 0)
        kernel.climb_again(min(most_moves - half, half * left_ns // max(halfway_ns - tried_ns, 1)))

    def values(self, problem: Problem) -> tuple[float, ...]:
        """The criteria of its answer in the objective's order; infinite where it has none."""
        if not self.kernel.found:
            return tuple(inf for _ in problem.objective)
        best = self.kernel.best()
        return tuple(best[CRITERIA.index(name)] for name in problem.objective)


def _bounds(problem: Problem, best: Attempt, attempts: list[Attempt]) -> tuple[int, ...]:
    """The best's bounds, or better ones of others: one holds for answers as good as its own in the criteria before."""
    bounds = list(best.kernel.bounds)
    values = best.values(problem)
    for other in attempts:
        for k, bound in enumerate(other.kernel.bounds):
            if other.values(problem)[:k] == values[:k]:
                bounds[k] = max(bounds[k], bound)
    return tuple(bounds)

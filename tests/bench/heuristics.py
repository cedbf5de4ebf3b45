"""How far the heuristics fall short of the optimum, on problems that the exact solver proves.

    python tests/bench/heuristics.py [--problems N] [--stages N]

Problems have features and deadlines of every kind; the objective is tardiness, then energy.
"""

import argparse
import statistics
from time import perf_counter

from agreement import machine

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.solver import solve
from leo_runtime.testing import random_problem

SOLVERS = ("exact", "lns", "memetic", "greedy", "heft")
LIMIT_MS = 1500
"""A problem that takes `exact` longer is left out."""


def timed(problem: Problem, solver: str) -> tuple[Placement | None, float]:
    begun = perf_counter()
    try:
        answer = solve(problem, solver, limit_ms=LIMIT_MS if solver == "exact" else None)
    except SolverError:
        return None, perf_counter() - begun
    return answer, perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--stages", type=int, default=16)
    chosen = parser.parse_args()
    objective = ("tardiness", "energy")
    problems = [random_problem(seed, stages=chosen.stages, objective=objective) for seed in range(chosen.problems)]
    best = [solve(problem, limit_ms=LIMIT_MS) for problem in problems]
    proved = [(problem, least) for problem, least in zip(problems, best, strict=True) if least.status == "optimal"]
    print(machine())
    print(
        f"{chosen.problems} problems of {chosen.stages} stages: {len(proved)} with an optimum proved in {LIMIT_MS} ms, "
        f"{sum(least.status == 'infeasible' for least in best)} proved infeasible"
    )
    for solver in SOLVERS:
        answers = [(timed(problem, solver), least.criteria) for problem, least in proved]
        found = [(a.criteria, b) for (a, _), b in answers if a is not None and a.criteria is not None and b is not None]
        timely = [(ours, least) for ours, least in found if ours.tardiness == least.tardiness]
        over = [100 * (ours.energy / least.energy - 1) for ours, least in timely]
        times = [1e3 * took for (_, took), _ in answers]
        print(
            f"{solver}: answers {len(found)}, optimal {sum(more == 0 for more in over)}, as little late as possible "
            f"{len(timely)}; energy over the optimum then: mean {statistics.mean(over):.1f} %, "
            f"largest {max(over):.1f} %; median {statistics.median(times):.2f} ms, largest {max(times):.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""How far the heuristics fall short of the optimum, on problems that the exact solver proves.

    python tests/bench/heuristics.py [--problems N] [--stages N] [--star]

Problems have features and deadlines of every kind; the objective is tardiness, then energy. With `--star` they are
those of `tests/stars.py`: one processor alone has a link to the cloud. Times are of the CPU, the best of `RUNS` runs.
"""

import argparse
import statistics
import sys
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).parent.parent))
from agreement import machine

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.solver import solve
from leo_runtime.testing import random_problem
from stars import star_problem

SOLVERS = ("exact", "lns", "memetic", "greedy", "heft")
LIMIT_MS = 1500
"""A problem that takes `exact` longer is left out."""
RUNS = 3


def drawn(seed: int, stages: int, *, star: bool) -> Problem:
    """The problem of a seed."""
    if star:
        return star_problem(seed, stages=stages)
    return random_problem(seed, stages=stages, objective=("tardiness", "energy"))


def timed(problem: Problem, solver: str) -> tuple[Placement | None, float]:
    begun = process_time()
    try:
        answer = solve(problem, solver, limit_ms=LIMIT_MS if solver == "exact" else None)
    except SolverError:
        return None, process_time() - begun
    return answer, process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--stages", type=int, default=16)
    parser.add_argument("--star", action="store_true")
    chosen = parser.parse_args()
    problems = [drawn(seed, chosen.stages, star=chosen.star) for seed in range(chosen.problems)]
    best = [solve(problem, limit_ms=LIMIT_MS) for problem in problems]
    proved = [(problem, least) for problem, least in zip(problems, best, strict=True) if least.status == "optimal"]
    print(machine())
    print(
        f"{chosen.problems} problems of {chosen.stages} stages: {len(proved)} with an optimum proved in {LIMIT_MS} ms, "
        f"{sum(least.status == 'infeasible' for least in best)} proved infeasible"
    )
    for solver in SOLVERS:
        answers = [
            (min((timed(problem, solver) for _ in range(RUNS)), key=lambda run: run[1]), least.criteria)
            for problem, least in proved
        ]
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

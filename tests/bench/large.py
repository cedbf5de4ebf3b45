"""Large problems: `lns` within 0.1 s against CP-SAT (2 workers) after much longer.

python tests/bench/large.py [--sizes 40,60,100] [--problems N] [--first 0] [--oracle-s 60]
"""

import argparse
from time import perf_counter

from agreement import machine

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.solver import oracle, solve
from leo_runtime.testing import random_problem

KINDS = (("lanes", "wake"), ("wake", "variants", "cloud"), ("lanes", "wake", "power"))


def shown(problem: Problem, placement: Placement) -> str:
    """Values of the objective with their proved bounds."""
    assert placement.criteria is not None
    rows = zip(problem.objective, placement.bounds, strict=True)
    return ", ".join(f"{name} {getattr(placement.criteria, name)} (at least {bound})" for name, bound in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="40,60,100")
    parser.add_argument("--problems", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the number of the first problem")
    parser.add_argument("--oracle-s", type=int, default=60)
    chosen = parser.parse_args()
    print(machine())
    for size in [int(text) for text in chosen.sizes.split(",")]:
        for number in range(chosen.first, chosen.first + chosen.problems):
            problem = random_problem(
                number, stages=size, features=KINDS[number % 3], urgency="medium", objective=("tardiness", "energy")
            )
            begun = perf_counter()
            ours = solve(problem, "lns", limit_ms=100)
            took = perf_counter() - begun
            theirs = oracle.solve(problem, limit_ms=chosen.oracle_s * 1000, workers=2)
            print(f"{problem.name}: lns in {took * 1e3:.0f} ms: {shown(problem, ours)}")
            print(f"    CP-SAT in {theirs.solve_us / 1e6:.0f} s: {shown(problem, theirs)}", flush=True)


if __name__ == "__main__":
    main()

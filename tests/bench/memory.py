"""Exact against CP-SAT and against trying everything, on questions with weights drawn at random; greedy beside them.

    python tests/bench/memory.py [--problems N] [--stages N] [--seed N]

Every criterion of the objective is compared, and the judge checks every answer: that no cap is broken, too. In every
other problem caps leave no more room than is needed. CP-SAT is asked with and without its presolve. Trying everything
stops after `STEPS` steps; how many problems it finished is printed. Each question is asked for its least makespan, too,
which is held against its bound and against everything in turn. Times are medians with quartiles, of one run each.
"""

import argparse
import sys
from collections import Counter
from functools import partial
from time import perf_counter

from agreement import machine, spread

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.errors import SolverError
from leo_runtime.judge.memory import check_memory
from leo_runtime.solver import memory_oracle, solve
from leo_runtime.testing.memories import random_memory_problem, serial_us

STEPS = 15_000


def value(problem: MemoryProblem, answer: MemoryPlacement) -> tuple[int, ...]:
    assert answer.criteria is not None
    return tuple(getattr(answer.criteria, name) for name in problem.objective)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--stages", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    times: dict[str, list[float]] = {}
    counts: Counter[str] = Counter()
    wrong = outside = 0
    for i in range(wanted.problems):
        problem = random_memory_problem(wanted.seed + i, stages=1 + i % wanted.stages, tight=i % 2 == 1)
        solvers = {
            "exact": partial(solve, problem),
            "oracle": partial(memory_oracle.solve, problem),
            "oracle without presolve": partial(memory_oracle.solve, problem, presolve=False),
            "exhaustive": partial(solve, problem, "exhaustive", limit_nodes=STEPS),
            "greedy": partial(solve, problem, "greedy"),
        }
        answers: dict[str, MemoryPlacement] = {}
        for name, ask in solvers.items():
            begun = perf_counter()
            try:
                answers[name] = ask()
            except SolverError as error:
                counts[f"{name} without an answer"] += 1
                if name not in ("exhaustive", "greedy"):
                    wrong += 1
                    print(f"WRONG {wanted.seed + i}: {name}: {error}")
                continue
            if name == "exhaustive" and answers[name].status == "feasible":
                del answers[name]
                counts["exhaustive without an answer"] += 1
                continue
            times.setdefault(name, []).append(perf_counter() - begun)
        exact = answers["exact"]
        counts[exact.status] += 1
        counts["with loads"] += bool(exact.loads)
        counts["with a label loaded twice"] += len({(row.label, row.target) for row in exact.loads}) < len(exact.loads)
        for name, answer in answers.items():
            said = (answer.status, answer.bounds) == (exact.status, exact.bounds)
            if name == "greedy":
                said = "infeasible" not in (answer.status, exact.status) or answer.status == exact.status
                if said and exact.status == "optimal":
                    said = value(problem, answer) >= exact.bounds
                    counts["greedy as good"] += value(problem, answer) == exact.bounds
            if not said or not check_memory(problem, answer).ok:
                wrong += 1
                print(f"WRONG {wanted.seed + i}: exact {exact.status} {exact.bounds}, {name} {answer.status}")
        shortest = solve(problem.model_copy(update={"objective": ("makespan",)}))
        if shortest.criteria is not None:
            counts["makespans compared"] += 1
            longest = serial_us(problem, shortest)
            outside += not shortest.bounds[0] <= shortest.criteria.makespan <= longest
            counts["shorter than in turn"] += shortest.criteria.makespan < longest
    print(f"machine: {machine()}")
    print(f"{wanted.problems} problems of up to {wanted.stages} stages, {dict(counts)}")
    print(f"differences in any criterion, or answers that break a rule: {wrong}")
    print(f"least makespans below their bound, or above everything in turn: {outside}")
    for name, spent in times.items():
        print(f"{name}: {len(spent)} compared, {spread(spent)}")
    return 1 if wrong or outside else 0


if __name__ == "__main__":
    sys.exit(main())

"""Exact against CP-SAT and against trying everything, on problems drawn at random and on files.

    python tests/bench/agreement.py [--problems N] [--stages N] [--seed N] [FILE ...]

Every criterion of the objective is compared, and the judge checks every answer. Trying everything stops after
`STEPS` steps; how many problems it finished is printed. Times are medians with quartiles, of one run of each
reference and the best of `RUNS` runs of the exact solver, whose times are so short that a busy machine's pauses show.
"""

import argparse
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.judge import check
from leo_runtime.solver import solve
from leo_runtime.testing import random_problem

STEPS = 15_000
RUNS = 3
REFERENCES = ("oracle", "exhaustive")


def machine() -> str:
    """What the figures were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def spread(values: list[float]) -> str:
    """Median, quartiles and largest, in milliseconds."""
    if len(values) < 2:
        return "-"
    low, mid, high = statistics.quantiles(values, n=4)
    return f"median {mid * 1e3:.2f} ms (quartiles {low * 1e3:.2f}, {high * 1e3:.2f}; largest {max(values) * 1e3:.1f})"


def timed(call: Callable[[], Placement]) -> tuple[Placement, float]:
    begun = perf_counter()
    return call(), perf_counter() - begun


def answers(problem: Problem) -> dict[str, tuple[Placement, float]]:
    """The proved answers of each solver that proves, with its time."""
    runs = [timed(lambda: solve(problem, "exact")) for _ in range(RUNS)]
    found = {"exact": min(runs, key=lambda run: run[1]), "oracle": timed(lambda: solve(problem, "oracle"))}
    try:
        tried = timed(lambda: solve(problem, "exhaustive", limit_nodes=STEPS))
    except SolverError:
        return found
    return found if tried[0].status == "feasible" else found | {"exhaustive": tried}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--stages", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("files", nargs="*", type=Path)
    wanted = parser.parse_args()
    problems = [Problem.from_file(path) for path in wanted.files] or [
        random_problem(wanted.seed + i, stages=1 + i % wanted.stages) for i in range(wanted.problems)
    ]
    times: dict[str, list[float]] = {name: [] for name in ("exact", *REFERENCES)}
    ratios: list[tuple[float, str]] = []
    counts: Counter[str] = Counter()
    wrong = 0
    for problem in problems:
        found = answers(problem)
        exact, exact_s = found["exact"]
        counts[exact.status] += 1
        ratios.append((found["oracle"][1] / exact_s, problem.name))
        for name, (answer, seconds) in found.items():
            times[name].append(seconds)
            agrees = (answer.status, answer.bounds) == (exact.status, exact.bounds)
            if not agrees or not check(problem, answer).ok:
                wrong += 1
                print(
                    f"WRONG {problem.name}: exact {exact.status} {exact.bounds}, {name} {answer.status} {answer.bounds}"
                )
    print(f"machine: {machine()}")
    print(
        f"{len(problems)} problems of up to {max(len(problem.stages) for problem in problems)} stages, {dict(counts)}"
    )
    print(f"differences in any criterion, or answers that break a rule: {wrong}")
    for name, values in times.items():
        print(f"{name}: {len(values)} compared, {spread(values)}")
    least, where = min(ratios)
    print(
        f"CP-SAT / exact: median {statistics.median(ratio for ratio, _ in ratios):.0f}x, least {least:.1f}x on {where}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

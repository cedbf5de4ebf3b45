"""Exact against CP-SAT (2 workers): times of the whole call, model building included, and the ratio problem by problem.

    python tests/bench/exact.py [--sizes 8,12,16,20,24] [--problems N] [--limit-s N] [FILE ...]

Problems are drawn with lanes, wake-ups, variants and a radio, in turn tight, medium, late and impossible; files are
problems of your own. CP-SAT gets one run with a limit, the exact solver the best of three with the same limit. A
problem that only one of them proves counts with the other's time at its limit (a lower bound on the ratio).
"""

import argparse
import statistics
from pathlib import Path
from time import perf_counter

from agreement import machine

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.judge import check
from leo_runtime.solver import oracle, solve
from leo_runtime.solver.compiled import Compiled
from leo_runtime.testing import random_problem

URGENCIES = ("tight", "medium", "late", "impossible")
FEATURES = (("lanes", "wake", "variants"), ("wake", "cloud", "variants"), ("lanes", "wake", "power", "cloud"))


def drawn(size: int, number: int) -> Problem:
    """One problem of the bench."""
    features, urgency = FEATURES[number % 3], URGENCIES[number % 4]
    return random_problem(number, stages=size, features=features, urgency=urgency, objective=("tardiness", "energy"))


def timed(problem: Problem, limit_ms: int) -> tuple[Placement, float]:
    """The exact answer and the best time of three calls (one call where it is long)."""
    times = []
    for _ in range(3):
        begun = perf_counter()
        answer = solve(problem, limit_ms=limit_ms)
        times.append(perf_counter() - begun)
        if times[-1] > 1:
            break
    return answer, min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--sizes", default="8,12,16,20,24")
    parser.add_argument("--problems", type=int, default=12)
    parser.add_argument("--limit-s", type=int, default=20)
    chosen = parser.parse_args()
    print(
        machine(),
        "; kernel compiled:",
        type(Compiled(drawn(2, 0)).kernel()).__module__ == "leo_runtime.solver.search.kernel",
    )
    groups = {f"{size} stages": [drawn(size, n) for n in range(chosen.problems)] for size in _sizes(chosen.sizes)}
    if chosen.files:
        groups = {"files": [Problem.from_file(path) for path in chosen.files]}
    for name, problems in groups.items():
        rows = []
        for problem in problems:
            answer, took = timed(problem, chosen.limit_s * 1000)
            begun = perf_counter()
            other = oracle.solve(problem, limit_ms=chosen.limit_s * 1000, workers=2)
            other_took = perf_counter() - begun
            if answer.status != "feasible" and other.status != "feasible" and answer.bounds != other.bounds:
                # It has happened, rarely and with several workers, that CP-SAT calls an answer optimal which is not.
                assert answer.bounds < other.bounds and not check(problem, answer).violations, (answer, other)
                print(f"{problem.name}: CP-SAT calls {other.bounds} optimal, but there is {answer.bounds}")
            rows.append((took, other_took, answer.status != "feasible", other.status != "feasible"))
        ours, theirs = [row[0] for row in rows], [row[1] for row in rows]
        ratios = sorted(row[1] / row[0] for row in rows)
        print(
            f"{name}: exact median {statistics.median(ours) * 1e3:.2f} ms, largest {max(ours) * 1e3:.1f}, "
            f"proved {sum(row[2] for row in rows)}/{len(rows)}; "
            f"CP-SAT median {statistics.median(theirs) * 1e3:.0f} ms, "
            f"largest {max(theirs) * 1e3:.0f}, proved {sum(row[3] for row in rows)}/{len(rows)}; "
            f"ratio median {statistics.median(ratios):.0f}, smallest {ratios[0]:.1f}, largest {ratios[-1]:.0f}",
            flush=True,
        )


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


if __name__ == "__main__":
    main()

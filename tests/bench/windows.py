"""Small windows answered by trying everything and by CP-SAT; then the examples by CP-SAT alone.

    python tests/bench/windows.py [--problems N] [--seed N]

Windows of one to five stages with every feature are drawn at random, then ones of four and five stages like a phone's.
Status and every criterion of the objective are compared, and the judge checks every answer. Trying everything stops
after `STEPS` steps; how many windows it finished is printed. Where the two differ, CP-SAT is asked again without its
presolve, which has lost optima elsewhere.
"""

import argparse
import statistics
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter

from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.judge.window import check_window
from leo_runtime.solver import window_exhaustive, window_oracle
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window

STEPS = 500_000
EXAMPLES = Path(__file__).parent.parent / "problems" / "window"


def tried(problem: WindowProblem) -> WindowPlacement | None:
    """The optimum by trying everything; None where that takes too many steps."""
    try:
        answer = window_exhaustive.solve(problem, limit_nodes=STEPS)
    except SolverError:
        return None
    return None if answer.status == "feasible" else answer


def differences(problem: WindowProblem, answer: WindowPlacement, other: WindowPlacement) -> list[str]:
    """What is wrong with either answer, or between them."""
    wrong = [str(check_window(problem, each)) for each in (answer, other) if not check_window(problem, each).ok]
    if (answer.status, answer.bounds) != (other.status, other.bounds):
        wrong.append(f"{answer.solver} {answer.status} {answer.bounds}, {other.solver} {other.status} {other.bounds}")
    return wrong


def compare(problems: list[WindowProblem]) -> int:
    """How many windows the two do not agree on."""
    counts: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {"exhaustive": [], "oracle": []}
    wrong = 0
    for problem in problems:
        begun = perf_counter()
        answer = tried(problem)
        seconds["exhaustive"].append(perf_counter() - begun)
        if answer is None:
            counts["not finished"] += 1
            continue
        begun = perf_counter()
        oracle = window_oracle.solve(problem, workers=2)
        seconds["oracle"].append(perf_counter() - begun)
        counts[answer.status] += 1
        counts["a transfer waits"] += any(transfer.after for transfer in answer.transfers)
        counts["a span waits"] += any(span.after for span in answer.spans)
        counts["a list of several"] += any(len(row.after) > 1 for row in (*answer.transfers, *answer.spans))
        counts["a span begins late"] += any(span.from_us for span in answer.spans)
        if found := differences(problem, answer, oracle):
            wrong += 1
            again = window_oracle.solve(problem, presolve=False)
            print(f"WRONG {problem.name}: {found}; without presolve {again.status} {again.bounds}", flush=True)
    print(f"{len(problems)} windows of up to {max(len(problem.stages) for problem in problems)} stages: {dict(counts)}")
    print(f"differences in any criterion, or answers that break a rule: {wrong}")
    for name, values in seconds.items():
        print(f"{name}: median {statistics.median(values) * 1e3:.1f} ms, largest {max(values):.2f} s")
    return wrong


def examples() -> int:
    """How many examples' optima CP-SAT does not prove, with or without its presolve."""
    wrong = 0
    for path in sorted(EXAMPLES.glob("*.placement.json")):
        problem = WindowProblem.from_file(path.with_name(path.name.replace(".placement", "")))
        known = WindowPlacement.from_file(path)
        for presolve in (True, False):
            begun = perf_counter()
            answer = window_oracle.solve(problem, workers=2, presolve=presolve, limit_ms=60_000)
            found = differences(problem, known, answer)
            wrong += bool(found)
            how = "with" if presolve else "without"
            print(f"{problem.name}, {how} presolve: {perf_counter() - begun:.2f} s {found or 'agreed'}", flush=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    seeds = range(wanted.seed, wanted.seed + wanted.problems)
    wrong = compare([random_window(seed, stages=1 + seed % 5) for seed in seeds])
    wrong += compare([sensing_window(seed, stages=4 + seed % 2) for seed in seeds])
    wrong += examples()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

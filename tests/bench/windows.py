"""Windows: does `exact` agree with trying everything and with CP-SAT, and how long does it take?

    python tests/bench/windows.py [--problems N] [--seed N] [--only agreement|times|frames]

*Agreement*: windows of one to five stages with every feature are drawn at random, then ones of four and five stages
like a phone's. Status and every criterion of the objective are compared, and the judge checks every answer. Trying
everything stops after `STEPS` steps; how many windows it finished is printed. Where two differ, CP-SAT is asked again
without its presolve, which has lost optima elsewhere. Then the examples, by `exact` and by CP-SAT.

*Times*: windows like a phone's of every kind, with features drawn evenly (`sensing_window`), by `exact` until proved or
for `LIMIT_MS`. Processor time; what was not proved in time is named.

*Frames*: frames asked as they are, and as windows of one release (`as_window`), one after the other in one process; the
ratio of their processor times.
"""

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

from leo_runtime.documents.window import WindowPlacement, WindowProblem, as_window
from leo_runtime.errors import SolverError
from leo_runtime.judge.window import check_window
from leo_runtime.solver import exact, window_exact, window_exhaustive, window_oracle
from leo_runtime.testing.problems import random_problem
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window

STEPS = 500_000
LIMIT_MS = 10_000
AIM_MS, LARGE_AIM_MS = 5, 2_000
"""What `exact` should take: in the median up to `SMALL` stages, and in 99 of 100 windows of `LARGE`."""
SMALL, LARGE = 16, 20
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
    """How many windows the three do not agree on."""
    counts: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {"exhaustive": [], "oracle": [], "exact": []}
    wrong = 0

    def timed(name: str, solve: Callable[[], WindowPlacement | None]) -> WindowPlacement | None:
        begun = perf_counter()
        answer = solve()
        seconds[name].append(perf_counter() - begun)
        return answer

    for problem in problems:
        answer = timed("exhaustive", lambda problem=problem: tried(problem))
        if answer is None:
            counts["not finished"] += 1
            continue
        oracle = timed("oracle", lambda problem=problem: window_oracle.solve(problem, workers=2))
        mine = timed("exact", lambda problem=problem: window_exact.solve(problem))
        assert oracle is not None
        assert mine is not None
        counts[answer.status] += 1
        counts["a transfer waits"] += any(transfer.after for transfer in answer.transfers)
        counts["a span waits"] += any(span.after for span in answer.spans)
        counts["a list of several"] += any(len(row.after) > 1 for row in (*answer.transfers, *answer.spans))
        counts["a span begins late"] += any(span.from_us for span in answer.spans)
        if found := differences(problem, answer, oracle) + differences(problem, answer, mine):
            wrong += 1
            again = window_oracle.solve(problem, presolve=False)
            print(f"WRONG {problem.name}: {found}; without presolve {again.status} {again.bounds}", flush=True)
    print(f"{len(problems)} windows of up to {max(len(problem.stages) for problem in problems)} stages: {dict(counts)}")
    print(f"differences in any criterion, or answers that break a rule: {wrong}")
    for name, values in seconds.items():
        print(f"{name}: median {statistics.median(values) * 1e3:.1f} ms, largest {max(values):.2f} s")
    return wrong


def examples() -> int:
    """How many examples' optima are not proved: by `exact`, and by CP-SAT with and without its presolve."""
    solvers: dict[str, Callable[[WindowProblem], WindowPlacement]] = {
        "exact": window_exact.solve,
        "CP-SAT": lambda problem: window_oracle.solve(problem, workers=2, limit_ms=60_000),
        "CP-SAT without presolve": lambda problem: window_oracle.solve(
            problem, workers=2, presolve=False, limit_ms=60_000
        ),
    }
    wrong = 0
    for path in sorted(EXAMPLES.glob("*.placement.json")):
        problem = WindowProblem.from_file(path.with_name(path.name.replace(".placement", "")))
        known = WindowPlacement.from_file(path)
        for how, solve in solvers.items():
            begun = perf_counter()
            found = differences(problem, known, solve(problem))
            wrong += bool(found)
            print(f"{problem.name}, {how}: {(perf_counter() - begun) * 1e3:.1f} ms {found or 'agreed'}", flush=True)
    return wrong


def times(seeds: range) -> int:
    """How many of the two aims are missed."""
    spent: dict[int, list[float]] = {}
    for seed in seeds:
        problem = sensing_window(seed)
        begun = process_time()
        answer = window_exact.solve(problem, limit_ms=LIMIT_MS)
        took = process_time() - begun
        spent.setdefault(len(problem.stages), []).append(took)
        assert check_window(problem, answer).ok
        if answer.status != "optimal" or took > LARGE_AIM_MS / 1e3:
            print(f"seed {seed}, {problem.name}: {answer.status} after {took:.2f} s", flush=True)
    small = sorted(value for stages, values in spent.items() if stages <= SMALL for value in values)
    large = [seconds for seed in seeds for seconds in [_seconds(sensing_window(seed, stages=LARGE))]]
    median_ms, within = statistics.median(small) * 1e3, sum(value <= LARGE_AIM_MS / 1e3 for value in large)
    print(f"up to {SMALL} stages ({len(small)} windows): median {median_ms:.2f} ms, most {small[-1] * 1e3:.1f} ms")
    print(f"{LARGE} stages ({len(large)} windows): median {statistics.median(large) * 1e3:.2f} ms, ", end="")
    print(f"{within} within {LARGE_AIM_MS} ms, most {max(large):.1f} s")
    return (median_ms >= AIM_MS) + (within < 0.99 * len(large))


def _seconds(problem: WindowProblem) -> float:
    """Until it is proved; infinite where it is not in time."""
    begun = process_time()
    answer = window_exact.solve(problem, limit_ms=LIMIT_MS)
    if answer.status != "optimal":
        print(f"{problem.name} of {len(problem.stages)} stages: not proved in {LIMIT_MS} ms", flush=True)
        return float("inf")
    return process_time() - begun


def frames(seeds: range) -> int:
    """Whether windows that are frames take more than 1.5 times what the frames do."""
    slow = 0
    for stages in (8, 12, 16, 20):
        ratios = []
        for seed in seeds:
            problem = random_problem(seed, stages=stages)
            window = as_window(problem)
            begun = process_time()
            exact.solve(problem)
            between = process_time()
            window_exact.solve(window)
            ratios.append((process_time() - between) / (between - begun))
        low, median, high = statistics.quantiles(ratios, n=4)
        print(f"{stages} stages as a window, to the frame: median {median:.2f}, quartiles {low:.2f} and {high:.2f}")
        slow += median > 1.5
    return slow


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("agreement", "times", "frames"))
    wanted = parser.parse_args()
    seeds = range(wanted.seed, wanted.seed + wanted.problems)
    wrong = 0
    if wanted.only in (None, "agreement"):
        wrong += compare([random_window(seed, stages=1 + seed % 5) for seed in seeds])
        wrong += compare([sensing_window(seed, stages=4 + seed % 2) for seed in seeds])
        wrong += examples()
    if wanted.only in (None, "times"):
        wrong += times(seeds)
    if wanted.only in (None, "frames"):
        wrong += frames(seeds[:40])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Solve time and gap against stages, processors and lanes, and how much slower the interpreted kernel is.

    python tests/bench/scaling.py [--sizes 5,10,20,40,60,100,200] [--problems N] [--plot FILE.png]

`lns` with a limit of `NODES` nodes a criterion; the gap is that of energy (bound against value) where tardiness is
proved, else of tardiness. The plot needs matplotlib.
"""

import argparse
import statistics
from time import perf_counter

from agreement import machine

from leo_runtime.problem import Placement, Problem
from leo_runtime.solver import solve
from leo_runtime.solver.compiled import Compiled
from leo_runtime.testing import random_problem

NODES = 1200


def gap(problem: Problem, placement: Placement) -> float:
    """Per cent between the first bound that is not reached and its value."""
    assert placement.criteria is not None
    for name, bound in zip(problem.objective, placement.bounds, strict=True):
        value = getattr(placement.criteria, name)
        if value != bound:
            return 100 * (value - bound) / value
    return 0.0


def measure(size: int, problems: int, features: tuple[str, ...]) -> tuple[float, float, int]:
    """Median seconds, median gap in per cent, and how many were proved optimal."""
    times, gaps = [], []
    for seed in range(problems):
        problem = random_problem(
            seed, stages=size, features=features, urgency="medium", objective=("tardiness", "energy")
        )
        begun = perf_counter()
        placement = solve(problem, "lns", limit_nodes=NODES)
        times.append(perf_counter() - begun)
        gaps.append(gap(problem, placement))
    return statistics.median(times), statistics.median(gaps), sum(value == 0 for value in gaps)


def interpreted_slowdown(size: int) -> float:
    """How many times slower the interpreted kernel makes the same local search."""
    compiled = Compiled(random_problem(1, stages=size, features=("lanes", "wake"), urgency="medium"))
    taken = []
    for interpreted in (False, True):
        kernel = compiled.kernel(interpreted=interpreted)
        begun = perf_counter()
        kernel.climb(2000, 0)
        taken.append(perf_counter() - begun)
    return taken[1] / taken[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="5,10,20,40,60,100,200")
    parser.add_argument("--problems", type=int, default=5)
    parser.add_argument("--plot")
    chosen = parser.parse_args()
    print(machine())
    kinds = {
        "one lane each": ("wake",),
        "several lanes": ("wake", "lanes"),
        "cloud behind a radio": ("wake", "lanes", "cloud"),
    }
    sizes = [int(size) for size in chosen.sizes.split(",")]
    results = {}
    for name, features in kinds.items():
        results[name] = [measure(size, chosen.problems, features) for size in sizes]
        for size, (seconds, share, proved) in zip(sizes, results[name], strict=True):
            print(
                f"{name}, {size} stages: median {seconds * 1e3:.1f} ms, gap {share:.2f} %, "
                f"proved {proved}/{chosen.problems}",
                flush=True,
            )
    print(f"interpreted kernel: {interpreted_slowdown(20):.0f} times slower (local search, 20 stages)")
    if chosen.plot:
        _plot(chosen.plot, sizes, results)


def _plot(path: str, sizes: list[int], results: dict[str, list[tuple[float, float, int]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6))
    for name, rows in results.items():
        above.plot(sizes, [row[0] * 1e3 for row in rows], marker="o", label=name)
        below.plot(sizes, [row[1] for row in rows], marker="o", label=name)
    above.set(
        ylabel="solve time (ms, median)", yscale="log", title=f"Large-neighbourhood search, {NODES} nodes a criterion"
    )
    below.set(xlabel="stages", ylabel="gap to the proved bound (%)", xscale="log")
    above.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()

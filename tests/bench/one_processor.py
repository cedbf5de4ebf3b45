"""How often a solver's answer is worse than the best that a long search finds on a single processor.

    python tests/bench/one_processor.py [--sizes 16,24,40,80] [--problems N] [--reference-ms 500]

Problems have features and deadlines of every kind, and every stage a mode on every processor.
"""

import argparse
from collections.abc import Iterator
from random import Random

from agreement import machine

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import SolverError
from leo_runtime.solver import solve
from leo_runtime.testing import URGENCIES, random_problem

KINDS = (
    ("lanes", "wake"),
    ("wake", "variants", "cloud"),
    ("lanes", "wake", "power"),
    ("lanes", "wake", "variants"),
    ("lanes", "power", "variants", "cloud"),
)
LIMIT_MS = 100
"""For `exact` and `lns`; the others end by themselves."""
SOLVERS = {"exact": LIMIT_MS, "lns": LIMIT_MS, "memetic": None, "greedy": None, "heft": None, "single": None}


def everywhere(problem: Problem, seed: int) -> Problem:
    """The problem with a mode of every stage on every processor: faster and thriftier on one than on another."""
    rng = Random(seed)
    names = sorted({mode.resource for stage in problem.stages for mode in stage.modes})
    factors = {name: (rng.uniform(0.5, 2), rng.uniform(0.5, 2)) for name in names}
    stages = []
    for stage in problem.stages:
        modes = list(stage.modes)
        for name in names:
            if all(mode.resource != name for mode in stage.modes):
                slower, dearer = (factor * rng.uniform(0.8, 1.25) for factor in factors[name])
                cost = {
                    "duration_us": max(1, round(modes[0].duration_us * slower)),
                    "energy_nj": round(modes[0].energy_nj * dearer),
                }
                modes.append(modes[0].model_copy(update={"resource": name, **cost}))
        stages.append(stage.model_copy(update={"modes": tuple(modes)}))
    return problem.model_copy(update={"stages": tuple(stages)})


def confined(problem: Problem) -> Iterator[Problem]:
    """The problem on each processor by itself."""
    for name in sorted({mode.resource for stage in problem.stages for mode in stage.modes}):
        yield problem.model_copy(
            update={
                "stages": tuple(
                    stage.model_copy(update={"modes": tuple(mode for mode in stage.modes if mode.resource == name)})
                    for stage in problem.stages
                )
            }
        )


def value(problem: Problem, answer: Placement) -> tuple[int, ...]:
    return tuple(getattr(answer.criteria, name) for name in problem.objective)


def best_alone(problem: Problem, limit_ms: int) -> tuple[int, ...] | None:
    """The best found on a single processor; None where there is none."""
    found = []
    for alone in confined(problem):
        try:
            answer = solve(alone, "lns" if len(alone.stages) > 30 else "exact", limit_ms=limit_ms)
        except SolverError:
            continue
        if answer.criteria is not None:
            found.append(value(problem, answer))
    return min(found, default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="16,24,40,80")
    parser.add_argument("--problems", type=int, default=25)
    parser.add_argument("--reference-ms", type=int, default=500)
    chosen = parser.parse_args()
    print(machine())
    for size in [int(text) for text in chosen.sizes.split(",")]:
        compared = 0
        worse: dict[str, list[str]] = {solver: [] for solver in SOLVERS}
        for number in range(chosen.problems):
            features, urgency = KINDS[number % len(KINDS)], URGENCIES[number // len(KINDS) % len(URGENCIES)]
            objective = ("tardiness", "energy")
            drawn = random_problem(number, stages=size, features=features, urgency=urgency, objective=objective)
            problem = everywhere(drawn, number)
            alone = best_alone(problem, chosen.reference_ms)
            if alone is None:
                continue
            compared += 1
            for solver, limit_ms in SOLVERS.items():
                answer = solve(problem, solver, limit_ms=limit_ms)
                if value(problem, answer) > alone:
                    worse[solver].append(f"{problem.name}: {value(problem, answer)} for {alone}")
        counts = ", ".join(f"{solver} {len(found)}" for solver, found in worse.items())
        print(f"{compared} problems of {size} stages; worse than a single processor: {counts}")
        for solver, found in worse.items():
            for text in found:
                print(f"    {solver}: {text}", flush=True)


if __name__ == "__main__":
    main()

"""Frame after frame of one workload from Python: what re-solving takes, and what the plan table takes.

    python tests/bench/replan.py [--stages N] [--workloads N] [--frames N]

Each frame has other lane ready times, a processor asleep in every third, and slower links in every fifth.
"""

import argparse
import random
import statistics
from time import perf_counter

from agreement import machine

from leo_runtime.problem import Problem
from leo_runtime.solver.replan import Conditions, Replanner
from leo_runtime.testing import random_problem

NODES = 1000
"""The limit of a frame: what bounds the slowest of them."""


def frames(problem: Problem, count: int, seed: int) -> list[Conditions]:
    """Conditions that wander."""
    rng = random.Random(seed)
    made = []
    for frame in range(count):
        ready = tuple(
            (resource.name, tuple(rng.randrange(0, 3000) for _ in range(resource.lanes)))
            for resource in problem.resources
        )
        asleep = (rng.choice(problem.resources[1:] or problem.resources).name,) if frame % 3 == 0 else ()
        links = problem.links if frame % 5 == 0 else ()
        slower = tuple(link.model_copy(update={"latency_us": link.latency_us * 2}) for link in links)
        made.append(Conditions(ready_us=ready, asleep=asleep, links=slower))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=20)
    parser.add_argument("--workloads", type=int, default=10)
    parser.add_argument("--frames", type=int, default=60)
    chosen = parser.parse_args()
    print(machine())
    times, table, proved, count = [], [], 0, 0
    for seed in range(chosen.workloads):
        features = ("wake", "variants", "cloud") if seed % 2 else ("lanes", "wake", "variants")
        problem = random_problem(
            seed, stages=chosen.stages, features=features, urgency="medium", objective=("tardiness", "energy")
        )
        replanner = Replanner(problem, limit_nodes=NODES)
        wander = frames(problem, chosen.frames, seed)
        for conditions in wander:
            begun = perf_counter()
            placement = replanner.frame(conditions)
            times.append(perf_counter() - begun)
            proved += placement.status == "optimal"
            count += 1
        known = Replanner(problem, limit_nodes=NODES)
        known.precompute(wander[:5])
        for conditions in wander[:5] * 20:
            begun = perf_counter()
            known.frame(conditions)
            table.append(perf_counter() - begun)
    for name, taken in (("re-solved", times), ("from the plan table", table)):
        cuts = statistics.quantiles(taken, n=100)
        low, high, top = (cuts[n] * 1e3 for n in (49, 94, 98))
        print(f"{name}: median {low:.3f} ms, p95 {high:.3f}, p99 {top:.3f} ({len(taken)} frames)")
    print(f"proved optimal within the limit of {NODES} nodes: {proved} of {count}")


if __name__ == "__main__":
    main()

"""Frame after frame of one workload from Python: what re-solving takes, and what the plan table takes.

    python tests/bench/replan.py [--stages N] [--workloads N] [--frames N] [--limit-ms N]

Workloads have loose, medium and tight deadlines. Each frame has other lane ready times and a processor asleep in every
third; links are slower in every fifth, or (`links wander`) take and carry otherwise in every frame. Everything is
solved to the proof, and once more with a limit for each frame. A workload's first frame, which has nothing to start
from, is counted apart from those that are solved again.
"""

import argparse
import random
import statistics
from time import perf_counter

from agreement import machine

from leo_runtime.documents.problem import Link, Problem
from leo_runtime.frame.conditions import Conditions
from leo_runtime.solver.replan import Replanner
from leo_runtime.testing import Urgency, random_problem

URGENCIES: tuple[Urgency, ...] = ("loose", "medium", "tight")


def frames(problem: Problem, count: int, seed: int, *, links_wander: bool = False) -> list[Conditions]:
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
        slower = tuple(((link.source, link.target), (link.latency_us * 2, link.bytes_per_s)) for link in links)
        if links_wander:
            slower = tuple(wandered(link, rng) for link in problem.links)
        made.append(Conditions(ready_us=ready, asleep=asleep, links=slower))
    return made


def wandered(link: Link, rng: random.Random) -> tuple[tuple[str, str], tuple[int, int | None]]:
    """A link up to three times as slow to begin and two and a half times as slow to send."""
    rate = link.bytes_per_s and int(link.bytes_per_s * rng.uniform(0.4, 1))
    return (link.source, link.target), (int(link.latency_us * rng.uniform(1, 3)), rate)


def workloads(stages: int, count: int, urgency: Urgency) -> list[Problem]:
    """Random ones, every second with variants and a cloud behind a radio, the others with several lanes."""
    features = (("lanes", "wake", "variants"), ("wake", "variants", "cloud"))
    objective = ("tardiness", "energy")
    return [
        random_problem(seed, stages=stages, features=features[seed % 2], urgency=urgency, objective=objective)
        for seed in range(count)
    ]


def shown(name: str, taken: list[float]) -> str:
    """Quantiles in ms."""
    cuts = statistics.quantiles(taken, n=100)
    low, high, top = (cuts[n] * 1e3 for n in (49, 94, 98))
    return f"{name}: median {low:.3f} ms, p95 {high:.3f}, p99 {top:.3f} ({len(taken)} frames)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=20)
    parser.add_argument("--workloads", type=int, default=10)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--limit-ms", type=int, default=4)
    chosen = parser.parse_args()
    print(machine())
    table: list[float] = []
    for links_wander in (False, True):
        for urgency in URGENCIES:
            for limit in (None, chosen.limit_ms):
                name = f"{urgency}{', links wander' * links_wander}, "
                name += "to the proof" if limit is None else f"limit {limit} ms"
                first, again, proved = [], [], 0
                for seed, problem in enumerate(workloads(chosen.stages, chosen.workloads, urgency)):
                    replanner = Replanner(problem, limit_ms=limit)
                    for frame, conditions in enumerate(frames(problem, chosen.frames, seed, links_wander=links_wander)):
                        begun = perf_counter()
                        placement = replanner.frame(conditions)
                        (again if frame else first).append(perf_counter() - begun)
                        proved += placement.status == "optimal"
                begins = f"first frame {statistics.median(first) * 1e3:.2f} ms (most {max(first) * 1e3:.1f})"
                print(f"{shown(name, again)}, {begins}, {proved} proved", flush=True)
    for seed, problem in enumerate(workloads(chosen.stages, chosen.workloads, "medium")):
        wander = frames(problem, 5, seed)
        known = Replanner(problem)
        known.precompute(wander)
        for conditions in wander * 20:
            begun = perf_counter()
            known.frame(conditions)
            table.append(perf_counter() - begun)
    print(shown("from the plan table", table))


if __name__ == "__main__":
    main()

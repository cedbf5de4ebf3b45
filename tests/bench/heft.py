"""HEFT against the HEFT of `anrg-saga` on the same graphs in the same run: time and makespan.

    python tests/bench/heft.py [GRAPHS] [SEED]

Costs, speeds and bandwidths are whole and divide evenly, so that both count the same times exactly. Both have their
graph built before the clock starts. The reference keeps the ranks of graphs it has seen, so it is timed twice: on a
graph it has not seen, and on one it has. So is ours: from the `Problem`, and from one that was compiled and ranked
before (`Lists.of`), each to the finished `Placement`, bounds included.

Where makespans differ, the ranks or the ends on two processors are equal somewhere, and the two break the tie
differently: the reference's order is that of a set, which differs from run to run. To show how much ties explain, our
HEFT is run with the processors and stages of the problem in `ORDERS` other orders.
"""

import logging
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from time import perf_counter

from agreement import machine
from saga import Network, TaskGraph
from saga.schedulers.cpop import upward_rank
from saga.schedulers.heft import HeftScheduler

from leo_runtime.documents.problem import Link, Mode, Problem, Resource, StageModes
from leo_runtime.judge import check
from leo_runtime.solver import heft
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.lists import Lists
from leo_runtime.testing import random_problem

SPEEDS = {"p0": 1, "p1": 2, "p2": 4, "p3": 5}
STAGES = (10, 20, 30, 50, 100)
ORDERS = 20
RUNS = 5


def draw(rng: Random, stages: int) -> tuple[Problem, Network, TaskGraph]:
    """The same graph twice. Work is a multiple of 20 and divides by every speed; sizes divide by every bandwidth."""
    graph = random_problem(rng, stages=stages, features=(), urgency="none").stages
    work = {stage.name: 20 * rng.randint(1, 40) for stage in graph}
    size = {stage.name: 4 * rng.randint(0, 100) for stage in graph}
    names = list(SPEEDS)
    rate = {(a, b): rng.choice((1, 2, 4)) for i, a in enumerate(names) for b in names[i + 1 :]}
    problem = Problem(
        format="leo-problem/1",
        name="heft",
        resources=tuple(Resource(name=name) for name in names),
        links=tuple(
            Link(source=source, target=target, bytes_per_s=1_000_000 * mbps)
            for (a, b), mbps in rate.items()
            for source, target in ((a, b), (b, a))
        ),
        stages=tuple(
            StageModes(
                name=stage.name,
                inputs=stage.inputs,
                modes=tuple(
                    Mode(
                        resource=name, duration_us=work[stage.name] // speed, energy_nj=0, output_bytes=size[stage.name]
                    )
                    for name, speed in SPEEDS.items()
                ),
            )
            for stage in graph
        ),
        objective=("makespan",),
    )
    network = Network.create(
        nodes=[(name, float(speed)) for name, speed in SPEEDS.items()],
        edges=[(a, b, float(mbps)) for (a, b), mbps in rate.items()],
    )
    tasks = TaskGraph.create(
        tasks=[(name, float(cost)) for name, cost in work.items()],
        dependencies=[(source, stage.name, float(size[source])) for stage in graph for source in stage.inputs],
    )
    return problem, network, tasks


def best_of(call: Callable[[], object]) -> float:
    """The least of a few runs, in seconds: what the machine can do when nothing else disturbs it."""
    times = []
    for _ in range(RUNS):
        begun = perf_counter()
        call()
        times.append(perf_counter() - begun)
    return min(times)


def shuffled(rng: Random, problem: Problem) -> Problem:
    """The same problem, its ties broken by another order of processors and stages."""
    order = rng.sample(range(len(SPEEDS)), len(SPEEDS))
    stages = [
        stage.model_copy(update={"modes": tuple(stage.modes[k] for k in order)})
        for stage in rng.sample(problem.stages, len(problem.stages))
    ]
    return problem.model_copy(update={"stages": tuple(stages)})


def plain(problem: Problem) -> int:
    """The makespan of HEFT's own schedule, without what our solver compares it with."""
    lists = Lists.of(Compiled(problem))
    return lists.value([-1] * len(problem.stages), lists.by_rank)[1]


def main() -> int:
    logging.disable(logging.WARNING)
    graphs, seed = (int(text) for text in (sys.argv[1:3] + ["40", "0"][len(sys.argv) - 1 :]))
    print(f"machine: {machine()}; {graphs} graphs a size, four processors, best of {RUNS} runs each")
    print("stages: saga unseen, seen; ours unseen, seen; ratio unseen, seen; ours longer, equal, shorter")
    longer = 0
    for stages in STAGES:
        rng = Random(seed + stages)
        columns: list[list[float]] = [[], [], [], []]
        lengths: Counter[str] = Counter()
        for _ in range(graphs):
            problem, network, tasks = draw(rng, stages)
            prepared, scheduler = Lists.of(Compiled(problem)), HeftScheduler()

            def unseen(scheduler=scheduler, network=network, tasks=tasks) -> object:
                upward_rank.cache_clear()
                return scheduler.schedule(network, tasks)

            columns[0].append(best_of(unseen))
            columns[1].append(best_of(lambda s=scheduler, n=network, t=tasks: s.schedule(n, t)))
            columns[2].append(best_of(lambda p=problem: heft.solve(p)))
            columns[3].append(best_of(lambda p=prepared: heft.solve_prepared(p, 0)))
            answer = heft.solve(problem)
            theirs = round(scheduler.schedule(network, tasks).makespan)
            assert check(problem, answer).ok
            ours = answer.criteria.makespan
            lengths["longer" if ours > theirs else "equal" if ours == theirs else "shorter"] += 1
            if ours > theirs:
                ties = sorted({plain(shuffled(rng, problem)) for _ in range(ORDERS)})
                explained = ties[0] <= theirs
                longer += not explained
                print(f"  {stages} stages: ours {ours}, theirs {theirs}, ours in other orders {ties}")
        unseen_s, seen_s, problem_s, compiled_s = (statistics.median(column) for column in columns)
        first = sorted(a / b for a, b in zip(columns[0], columns[2], strict=True))
        second = sorted(a / b for a, b in zip(columns[1], columns[3], strict=True))
        counts = "  ".join(str(lengths[name]) for name in ("longer", "equal", "shorter"))
        print(
            f"{stages:6}  {unseen_s * 1e3:8.2f} ms  {seen_s * 1e3:6.2f} ms  {problem_s * 1e6:14.0f} us"
            f"  {compiled_s * 1e6:5.0f} us  {statistics.median(first):6.0f}x (least {first[0]:.0f}x)"
            f"  {statistics.median(second):5.0f}x (least {second[0]:.0f}x)  {counts}"
        )
    print(f"longer by more than ties explain: {longer}")
    return 1 if longer else 0


if __name__ == "__main__":
    sys.exit(main())

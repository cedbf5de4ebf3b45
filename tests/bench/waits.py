"""Deadlines that noisy windows miss with the lists of their answers, and without.

    python tests/bench/waits.py [--windows N] [--seed N] [--spread PERCENT]

Windows like those of a phone that senses, and small ones with every corner of the format, one in two; only such whose
answers have lists. Each is played twice with the same durations and the same gates closed, a third of them. With lists
no more deadlines may be missed. What waiting saves is printed, too.
"""

import argparse
import sys
from random import Random

from leo_runtime.dispatch.simulator import seeded_noise
from leo_runtime.errors import SolverError
from leo_runtime.solver.window import solve_window
from leo_runtime.testing.playing import has_lists, play_window, without_lists
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window

NODES = 3_000
CORNERS = ("gates", "linger", "releases", "wake", "power", "cloud")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spread", type=int, default=25)
    wanted = parser.parse_args()
    played = deadlines = given_up = 0
    missed, costs = [0, 0], [0, 0]
    seed = wanted.seed
    while played < wanted.windows:
        seed += 1
        if seed % 2:
            problem = sensing_window(seed, stages=4 + seed // 2 % 6)
        else:
            problem = random_window(seed, stages=2 + seed // 2 % 5, processors=1 + seed // 2 % 3, features=CORNERS)
        try:
            answer = solve_window(problem, "exact", limit_nodes=NODES)
        except SolverError:
            continue
        if not has_lists(answer):
            continue
        played += 1
        deadlines += len(problem.deadlines)
        rng = Random(seed)
        closed = frozenset(gate for stage in problem.stages for gate in stage.gates if rng.randrange(3) == 0)
        noise = seeded_noise(seed, wanted.spread * 10_000)
        for k, placement in enumerate((answer, without_lists(answer))):
            found = play_window(problem, placement, closed=closed, noise=noise)
            missed[k] += found.missed(problem)
            costs[k] += found.bill.total_nj
            given_up += found.result.waits_given_up
    saved = 100 - 100 * costs[0] / costs[1]
    print(f"{played} windows with lists, {deadlines} deadlines, durations spread by {wanted.spread} %")
    print(
        f"missed with lists {missed[0]}, without {missed[1]}; {given_up} waits were given up; {saved:.1f} % less energy"
    )
    return 1 if missed[0] > missed[1] else 0


if __name__ == "__main__":
    sys.exit(main())

"""What windows promise and what they are charged, played in virtual time without noise.

    python tests/bench/promise.py [--windows N] [--seed N]

So many windows in which all is certain, then as many with gates, whose bill is averaged over all outcomes of the gates;
half are small ones with every corner of the format, half like those of a phone that senses. No bill may be above its
promise. Both are without what sleep draws and what comes after the horizon. Where they differ is printed by cause, in
percent of the promise: what is woken just in time instead of at its release, for the rest the causes of the ledger.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from statistics import median, quantiles

from leo_runtime.documents.window import CERTAIN, WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.frame.ledger import ledger
from leo_runtime.solver.window import solve_window
from leo_runtime.testing.playing import Played, has_lists, opening_chances, outcomes, with_true_chances
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window

NODES = 3_000
MOST_GATES = 8
CORNERS = ("gates", "releases", "linger", "tail", "rest", "never", "wake", "power", "cloud", "lanes", "busy")

Opens = Mapping[str, Fraction]


def drawn(seed: int) -> WindowProblem:
    """One in two of either kind."""
    if seed % 2:
        return sensing_window(seed, stages=4 + seed // 2 % 5)
    wanted = [feature for k, feature in enumerate(CORNERS) if k == 0 or seed * 7919 // (k + 1) % 3]
    return random_window(seed, stages=2 + seed // 2 % 4, processors=1 + seed // 2 % 3, features=wanted)


def certain(seed: int) -> tuple[WindowProblem, Opens]:
    problem = drawn(seed)
    stages = tuple(stage.model_copy(update={"chance_ppm": CERTAIN}) for stage in problem.stages)
    return problem.model_copy(update={"stages": stages}), {}


def gated(seed: int) -> tuple[WindowProblem, Opens] | None:
    """With chances that gates can have; None without gates or with too many."""
    problem = drawn(seed)
    opens = opening_chances(problem)
    return (with_true_chances(problem, opens), opens) if 0 < len(opens) <= MOST_GATES else None


def answered(
    draw: Callable[[int], tuple[WindowProblem, Opens] | None], count: int, seed: int
) -> Iterator[tuple[int, WindowProblem, Opens, WindowPlacement]]:
    """So many windows that have an answer, from that seed on."""
    while count:
        found, number = draw(seed), seed
        seed += 1
        if found is None:
            continue
        try:
            answer = solve_window(found[0], "exact", limit_nodes=NODES)
        except SolverError:
            continue
        if answer.stages and answer.criteria is not None and answer.criteria.energy:
            count -= 1
            yield number, *found, answer


def saved_by_waking_late_nj(problem: WindowProblem, answer: WindowPlacement, played: Played) -> int:
    """What is saved of the spans that began with waking, by waking just in time."""
    awake_mw = {resource.name: resource.awake_mw for resource in problem.resources}
    saved_nj = 0
    for wake in played.result.wakes:
        begins = [s.from_us for s in answer.spans if s.resource == wake.resource and s.from_us <= wake.at_us]
        saved_nj += awake_mw[wake.resource] * (wake.at_us - max(begins))
    return saved_nj


def compare(title: str, draw: Callable[[int], tuple[WindowProblem, Opens] | None], count: int, seed: int) -> int:
    """Print how far bills are below their promises; returns how many are above."""
    below: list[float] = []
    causes: Counter[str] = Counter()
    above = waiting = late = 0
    for number, problem, opens, answer in answered(draw, count, seed):
        assert answer.criteria is not None
        promised = answer.criteria.energy
        plan, bill = Counter(ledger(problem, answer).by_cause()), Counter[str]()
        in_time = Fraction(0)
        for likely, played in outcomes(problem, answer, opens):
            for cause, nj in played.bill.by_cause().items():
                bill[cause] += likely * nj  # type: ignore[assignment]
            in_time += likely * saved_by_waking_late_nj(problem, answer, played)
            late += played.tardiness(problem) > answer.criteria.tardiness
        charged = sum(bill.values())
        if charged > promised:
            above += 1
            print(f"seed {number}: promised {promised} nJ, charged {float(charged):.1f}")
        below.append(float(1 - charged / promised))
        waiting += has_lists(answer)
        causes["woken just in time"] += 100 * in_time / promised / count
        for cause in plan | bill:
            saved = plan[cause] - bill[cause] - (in_time if cause == "awake" else 0)
            causes[cause] += 100 * saved / promised / count
    low, mid, high = quantiles(below, n=4)
    print(
        f"{title}: {count} windows, {waiting} with lists; {above} above the promise, {late} outcomes later than planned"
    )
    print(f"  below it by {100 * mid:.2f} % in the median (quartiles {100 * low:.2f}, {100 * high:.2f})", end="")
    some = [share for share in below if share]
    print(f"; of the {len(some)} below it, {100 * median(some):.2f} %" if some else "")
    shown = ", ".join(f"{name} {float(share):.2f}" for name, share in causes.most_common() if abs(share) >= 0.005)
    print(f"  in the mean by {100 * sum(below) / count:.2f} %: {shown}")
    return above + late


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    wrong = compare("all certain", certain, wanted.windows, wanted.seed)
    wrong += compare("with gates", gated, wanted.windows, wanted.seed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

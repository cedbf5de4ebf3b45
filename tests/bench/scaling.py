"""Solve time and gap against stages, processors and lanes; where the time of a solve goes; the interpreted kernel.

    python tests/bench/scaling.py --plot docs/solver-scaling.png

draws the figure of `docs/performance.md` again; without `--plot` the numbers are printed alone. It takes about a minute
on a machine that does nothing else. `--help` lists what can be chosen: sizes, and how many problems a point.

Against stages, processors and lanes it is `lns` with a limit of `NODES` nodes. The gap is that of energy
(bound against value) where tardiness is proved, else of tardiness. Where the time goes is asked of `exact` with a limit
of `EXACT_NODES`, by a clock around the functions that do the work. Every time is the best of up to `RUNS` runs, so that
a busy machine's pauses do not show; every problem is a dot or a bar of its own. The plot needs matplotlib.
"""

import argparse
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from agreement import machine

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.report.plots import pyplot, save
from leo_runtime.solver import prove, solve
from leo_runtime.solver.compiled import Compiled, clause_search
from leo_runtime.testing import Feature, random_problem

NODES = 1200
EXACT_NODES = 20_000
RUNS = 3
ENOUGH_S = 0.3
"""A problem that took this long in all is not run again."""
STAGES = 20
"""Of the problems whose processors or lanes are varied."""

ONE_LANE, LANES, CLOUD = "one lane a processor", "several lanes", "several lanes and a cloud behind a radio"
MACHINES: dict[str, tuple[Feature, ...]] = {
    ONE_LANE: ("wake",),
    LANES: ("wake", "lanes"),
    CLOUD: ("wake", "lanes", "cloud"),
}
COLOURS = {ONE_LANE: "#4c72b0", LANES: "#dd8452", CLOUD: "#55a868"}

FLATTEN, KERNEL, FIRST, SEARCH, WRITE, REST = PARTS = (
    "flattening the problem",
    "making the kernel",
    "first answers",
    "search and proof",
    "writing the answer",
    "the rest",
)
PART_COLOURS = dict(zip(PARTS, ("#8172b3", "#937860", "#ccb974", "#4c72b0", "#c44e52", "#d0d0d0"), strict=True))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """What several problems took at one place of an axis, and how far their answers are from what is proved."""

    at: int
    ms: tuple[float, ...]
    gaps: tuple[float, ...]


Curves = dict[str, list[Point]]
"""Points along an axis, by machine."""


def drawn(seed: int, name: str, **sizes: int) -> Problem:
    """A problem of one of the machines."""
    features = MACHINES[name]
    return random_problem(seed, features=features, urgency="medium", objective=("tardiness", "energy"), **sizes)


def fastest(run: Callable[[], tuple[float, T]]) -> tuple[float, T]:
    """Of a few runs, each with its seconds, the one that took least."""
    runs = [run()]
    while len(runs) < RUNS and sum(seconds for seconds, _ in runs) < ENOUGH_S:
        runs.append(run())
    return min(runs, key=lambda found: found[0])


def gap(problem: Problem, placement: Placement) -> float:
    """Per cent between the first bound that is not reached and its value."""
    assert placement.criteria is not None
    for name, bound in zip(problem.objective, placement.bounds, strict=True):
        value = getattr(placement.criteria, name)
        if value != bound:
            return 100 * (value - bound) / value
    return 0.0


def measure(at: int, problems: Iterable[Problem]) -> Point:
    times, gaps = [], []
    for problem in problems:

        def run(problem: Problem = problem) -> tuple[float, Placement]:
            begun = perf_counter()
            placement = solve(problem, "lns", limit_nodes=NODES)
            return perf_counter() - begun, placement

        seconds, placement = fastest(run)
        times.append(seconds * 1e3)
        gaps.append(gap(problem, placement))
    return Point(at, tuple(times), tuple(gaps))


def sweep(axis: str, places: Sequence[int], machines: Sequence[str], problems: int) -> Curves:
    """Measure along one axis (an argument of `random_problem`), with `STAGES` stages where it is another."""
    curves: Curves = {}
    for name in machines:
        curves[name] = []
        for at in places:
            sizes = {"stages": STAGES} | {axis: at}
            point = measure(at, [drawn(seed, name, **sizes) for seed in range(problems)])
            curves[name].append(point)
            print(
                f"{name}, {axis} {at}: {spread(point.ms)} ms, gap {spread(point.gaps)} %, "
                f"proved {point.gaps.count(0)} of {problems}",
                flush=True,
            )
    return curves


def spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    return "{} ({} to {})".format(*map(figures, (statistics.median(values), min(values), max(values))))


def figures(value: float) -> str:
    """Two figures, or all of a whole number that has more."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


class Watch:
    """Adds up the seconds spent in functions, by part; in one that calls another only the outer one counts."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inside = False

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if self._inside:
                return function(*arguments, **more)
            self._inside = True
            begun = perf_counter()
            try:
                return function(*arguments, **more)
            finally:
                self.seconds[part] += perf_counter() - begun
                self._inside = False

        return call


class Watched:
    """A kernel, or its search that learns, with a clock around all that it is asked."""

    def __init__(self, watched: Any, watch: Watch) -> None:
        self.watched = watched
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.watched, name)
        return self._watch.timed(FIRST if name == "climb" else SEARCH, found) if callable(found) else found


def where_time_goes(problem: Problem) -> tuple[float, dict[str, float]]:
    """Seconds of one solve by `exact`, and what of them each part took."""
    watch = Watch()
    own = {name: getattr(Compiled, name) for name in ("__init__", "kernel", "placement")}
    make = watch.timed(KERNEL, own["kernel"])
    watched = {
        "__init__": watch.timed(FLATTEN, own["__init__"]),
        "kernel": lambda *arguments, **more: Watched(make(*arguments, **more), watch),
        "placement": watch.timed(WRITE, own["placement"]),
    }
    learn = watch.timed(KERNEL, clause_search)
    try:
        prove.clause_search = lambda kernel: Watched(learn(kernel.watched), watch)
        for name, function in watched.items():
            setattr(Compiled, name, function)
        begun = perf_counter()
        solve(problem, limit_nodes=EXACT_NODES)
        total = perf_counter() - begun
    finally:
        prove.clause_search = clause_search
        for name, function in own.items():
            setattr(Compiled, name, function)
    watch.seconds[REST] = max(total - sum(watch.seconds.values()), 0.0)
    return total, watch.seconds


Split = list[tuple[float, dict[str, float]]]
"""Of each problem of one size, the fastest first: its seconds, and those of each part."""


def split_by_size(sizes: Sequence[int], problems: int) -> dict[int, Split]:
    found: dict[int, Split] = {}
    for size in sizes:
        solved = [drawn(seed, LANES, stages=size) for seed in range(problems)]
        runs = [fastest(lambda problem=problem: where_time_goes(problem)) for problem in solved]
        found[size] = sorted(runs, key=lambda run: run[0])
        shares = {part: [100 * seconds[part] / total for total, seconds in runs] for part in PARTS}
        print(f"exact, {size} stages: {spread([total * 1e3 for total, _ in runs])} ms; of that, in per cent:")
        print("   ", ", ".join(f"{part} {spread(values)}" for part, values in shares.items()), flush=True)
    return found


def interpreted_slowdown(size: int) -> tuple[float, float]:
    """How many times slower the interpreter makes the same local search, and the same search that learns."""
    climbing, learning = [], []
    compiled = Compiled(random_problem(1, stages=size, features=("lanes", "wake"), urgency="medium"))
    late = Compiled(random_problem(2, stages=size, features=("lanes", "wake"), urgency="late"))
    for interpreted in (False, True):
        kernel = compiled.kernel(by_interpreter=interpreted)
        begun = perf_counter()
        kernel.climb(2000, 0)
        climbing.append(perf_counter() - begun)
        kernel = late.kernel(by_interpreter=interpreted)
        kernel.climb(0, 0)
        learner = clause_search(kernel)
        begun = perf_counter()
        learner.search(400)
        learning.append(perf_counter() - begun)
    return climbing[1] / climbing[0], learning[1] / learning[0]


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=numbers, default="5,10,20,40,80,120,200", help="stages, for `lns`")
    parser.add_argument("--processors", type=numbers, default="1,2,3,4,5,6,7,8")
    parser.add_argument("--lanes", type=numbers, default="1,2,3,4,5,6,7,8", help="of each processor")
    parser.add_argument("--exact-sizes", type=numbers, default="5,10,15,20,30,40", help="stages, for where time goes")
    parser.add_argument("--problems", type=int, default=9, help="at each point")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    chosen = parser.parse_args()
    print(machine())
    solve(drawn(0, CLOUD, stages=5), "lns")  # What is imported and made once is not part of any time.
    sweeps = {
        "stages": sweep("stages", chosen.sizes, list(MACHINES), chosen.problems),
        "processors": sweep("processors", chosen.processors, list(MACHINES), chosen.problems),
        "lanes": sweep("lanes", chosen.lanes, [LANES, CLOUD], chosen.problems),
    }
    split = split_by_size(chosen.exact_sizes, chosen.problems)
    climbing, learning = interpreted_slowdown(20)
    print(
        f"interpreted, 20 stages: local search {climbing:.0f} times slower, the search that learns {learning:.0f} times"
    )
    if chosen.plot:
        plot(chosen.plot, sweeps, split)


def plot(path: Path, sweeps: dict[str, Curves], split: dict[int, Split]) -> None:
    plt = pyplot()
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(11, 9.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2), hspace=0.04)
    draw_sweeps(above, sweeps)
    draw_split(below, split)
    save(figure, path)


def draw_sweeps(figure: Any, sweeps: dict[str, Curves]) -> None:
    """Time above, gap below, a column an axis."""
    labels = {
        "stages": "stages",
        "processors": f"processors, {STAGES} stages",
        "lanes": f"lanes of each processor, {STAGES} stages",
    }
    times, gaps = figure.subplots(2, len(sweeps), sharex="col", sharey="row", height_ratios=(4, 3))
    for (axis, curves), time, share in zip(sweeps.items(), times, gaps, strict=True):
        growing = axis == "stages"
        for name, points in curves.items():
            draw_curve(time, name, points, [point.ms for point in points], growing)
            draw_curve(share, name, points, [point.gaps for point in points], growing)
        places = [point.at for point in next(iter(curves.values()))]
        share.set(xlabel=labels[axis], xscale="log" if growing else "linear")
        share.set_xticks(places, [str(place) for place in places])
        share.minorticks_off()
        for panel in (time, share):
            panel.grid(True, alpha=0.25)
    times[0].set(ylabel="solve time (ms)", yscale="log")
    times[0].yaxis.set_major_formatter("{x:g}")
    gaps[0].set(ylabel="gap to the proved bound (%)", ylim=(-4, 104))
    figure.suptitle(f"Solve time and gap of lns, {NODES} nodes. A dot is a problem; lines join the medians")
    # Lanes change the time least, so that there is room above them.
    times[-1].legend(*times[0].get_legend_handles_labels(), loc="upper right", frameon=False)


def draw_curve(panel: Any, name: str, points: list[Point], values: list[tuple[float, ...]], growing: bool) -> None:
    """The median as a line, every problem as a dot; the dots of the machines stand side by side."""
    beside = list(MACHINES).index(name) - 1
    places = [point.at * 1.05**beside if growing else point.at + 0.16 * beside for point in points]
    colour = COLOURS[name]
    for place, found in zip(places, values, strict=True):
        panel.plot([place] * len(found), found, "o", color=colour, markersize=3.5, alpha=0.4, markeredgewidth=0)
    panel.plot(places, [statistics.median(found) for found in values], "-", color=colour, linewidth=1.8, label=name)


def draw_split(figure: Any, split: dict[int, Split]) -> None:
    """A bar a problem, in groups of one size: what of its time each part took."""
    panel = figure.subplots()
    left, ticks, labels = 0.0, [], []
    for size, runs in split.items():
        places = [left + k for k in range(len(runs))]
        foot = [0.0] * len(runs)
        for part in PARTS:
            heights = [100 * seconds[part] / total for total, seconds in runs]
            panel.bar(places, heights, 0.9, bottom=foot, color=PART_COLOURS[part], label=None if left else part)
            foot = [low + height for low, height in zip(foot, heights, strict=True)]
        ticks.append((places[0] + places[-1]) / 2)
        ms = [total * 1e3 for total, _ in runs]
        labels.append(f"{size} stages\n{spread(ms)} ms")
        left += len(runs) + 1.5
    panel.set(ylabel="of the solve time (%)", ylim=(0, 100), xlim=(-1, left - 1.5))
    panel.set_xticks(ticks, labels)
    panel.tick_params(axis="x", length=0)
    figure.suptitle(f"Where the time of exact goes, {EXACT_NODES} nodes at most. A bar is a problem, the fastest first")
    figure.legend(*panel.get_legend_handles_labels(), ncols=len(PARTS), loc="outside lower center", frameon=False)


if __name__ == "__main__":
    main()

"""How far off are placements that ignore that busy processors slow each other down?

    python tests/bench/neighbours.py [PROFILE.json]

Measures every stage of the demo on this machine alone and beside busy neighbours (or takes a profile in which
`leo-runtime calibrate` did), places each of the demo's frames with the one and with the other, and compares: what the
placement promised, what it comes to when stages are as slow as beside neighbours, and the best that was to be had then.
"""

import sys
from pathlib import Path
from statistics import median

from leo_runtime import shipped
from leo_runtime.documents.problem import Mode, Placement, Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import frame_problem, merge, price
from leo_runtime.measure.calibrate import calibrate
from leo_runtime.measure.measure import Effort
from leo_runtime.solver import solve

EFFORT = Effort(least_runs=10, most_us=500_000, batches=())


def measured(arguments: list[str]) -> Profile:
    if arguments:
        return Profile.from_file(Path(arguments[0]))
    found = calibrate(shipped.workload(), shipped.hardware("host"), shipped.recording("demo"), effort=EFFORT)
    return found.profile


def with_modes(problem: Problem, placement: Placement) -> Problem:
    """The problem with each stage left where the placement has it."""
    chosen = {run.stage: (run.resource, run.variant) for run in placement.stages}

    def left(modes: tuple[Mode, ...], stage: str) -> tuple[Mode, ...]:
        return tuple(mode for mode in modes if (mode.resource, mode.variant) == chosen[stage])

    stages = tuple(s.model_copy(update={"modes": left(s.modes, s.name)}) for s in problem.stages)
    return problem.model_copy(update={"stages": stages})


def main() -> None:
    profile = measured(sys.argv[1:])
    print(f"machine: {profile.device.cpu if profile.device else 'unknown'}; profile `{profile.name}`\n")
    slowdowns: dict[str, list[float]] = {}
    for cost in profile.costs:
        m = cost.measurement
        if m is not None and m.beside_us is not None and m.median_us >= 100:
            slowdowns.setdefault(cost.processor, []).append(m.beside_us / m.median_us)
    print("processor  stages  slowdown beside busy neighbours: least, median, most (stages of 0.1 ms and more)")
    for processor, found in slowdowns.items():
        print(f"{processor:9}  {len(found):6}  {min(found):.2f}  {median(found):.2f}  {max(found):.2f}")

    merged, hardware = merge(shipped.workload()), shipped.hardware("host")
    known = {(cost.processor, cost.operator) for cost in profile.costs}
    alone, beside = (
        price(merged, hardware, costs, lambda processor, stage, _: (processor, stage.operator.name) in known)
        for costs in (profile, profile.beside_neighbours())
    )
    frames = {
        "every half second": ("wake_word",),
        "every second": ("wake_word", "speech", "speaker", "activity"),
        "every two seconds": tuple(graph.name for graph in merged.workload.graphs),
    }
    print("\nEach as makespan ms, energy mJ, lateness ms\n")
    print(
        "frame              promised                   comes to                   best then                  longer by"
    )
    for name, graphs in frames.items():
        promised_problem = frame_problem(merged, alone, hardware, Conditions(graphs), name)
        true_problem = frame_problem(merged, beside, hardware, Conditions(graphs), name)
        promised = solve(promised_problem)
        comes_to = solve(with_modes(true_problem, promised))
        best = solve(true_problem)
        assert promised.criteria and comes_to.criteria and best.criteria
        shown = [
            f"{a.criteria.makespan / 1e3:7.1f} {a.criteria.energy / 1e6:7.1f} {a.criteria.tardiness / 1e3:7.1f}"
            for a in (promised, comes_to, best)
        ]
        print(
            f"{name:17}  " + "   ".join(shown) + f"   {comes_to.criteria.makespan / promised.criteria.makespan:6.2f}x"
        )


if __name__ == "__main__":
    main()

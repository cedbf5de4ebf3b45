"""Writes `tests/problems/`: problems with, beside each, an answer that CP-SAT proved optimal (or infeasible).

    python tests/bench/make_problems.py [DIRECTORY]

All but two are drawn by `leo_runtime.testing.random_problem`. `three-stages-must-move` is kept as it is and answered
anew: eye tracking on a machine of which one processor has links to a cloud. The other is public: GoogLeNet and AlexNet
on the GPU and DLA of an NVIDIA Xavier, from HaX-CoNN (Dagli and Belviranli, PPoPP 2024): times of groups of layers and
what changing the processor before a group costs (those its authors mark as placeholders). Known for it: 3.51 ms on the
GPU alone, 2.50 ms at the optimum, 2.42 ms if changing cost nothing.
"""

import sys
from pathlib import Path

from leo_runtime.documents.problem import Criterion, Link, Mode, Problem, Resource, StageModes
from leo_runtime.judge import check
from leo_runtime.solver import solve
from leo_runtime.testing import Feature, Shape, Urgency, random_problem

DRAWN: list[tuple[int, int, Shape, tuple[Feature, ...], Urgency, tuple[Criterion, ...]]] = [
    (1, 5, "sensing", (), "loose", ("tardiness", "energy")),
    (2, 8, "layered", ("wake", "power"), "tight", ("tardiness", "energy")),
    (3, 9, "forkjoin", ("lanes", "busy"), "medium", ("energy", "makespan")),
    (4, 10, "layered", ("memory", "variants"), "tight", ("tardiness", "energy", "accuracy_loss")),
    (5, 10, "sensing", ("cloud", "wake", "lanes"), "late", ("tardiness", "energy")),
    (20, 11, "forkjoin", ("variants", "budget", "limit"), "medium", ("tardiness", "energy")),
    (7, 12, "sensing", ("lanes", "power", "wake", "variants", "cloud"), "impossible", ("tardiness", "energy")),
    (8, 12, "layered", ("small", "lanes", "release", "gaps"), "tight", ("makespan", "tardiness", "energy")),
    (9, 14, "sensing", ("release", "busy", "memory"), "medium", ("tardiness", "energy")),
    (10, 16, "forkjoin", ("wake", "lanes", "variants"), "tight", ("tardiness", "energy")),
    (11, 20, "sensing", ("lanes", "wake"), "medium", ("tardiness", "energy")),
    (24, 7, "layered", ("memory", "gaps"), "none", ("energy",)),
    (5, 6, "forkjoin", ("limit", "small"), "tight", ("tardiness", "energy")),
]
"""Seed, stages, shape, features, urgency, objective."""

# Microseconds a group on GPU and DLA, and what changing before the next group costs.
XAVIER = {
    "googlenet": (
        (350, 150, 200, 110, 120, 130, 150, 190, 120, 200),
        (750, 340, 450, 370, 310, 330, 310, 350, 270, 360),
        (50, 70, 60, 10, 50, 20, 60, 30, 20, 0),
    ),
    "alexnet": (
        (150, 60, 220, 80, 160, 700, 320, 100),
        (410, 200, 450, 220, 410, 1910, 680, 130),
        (30, 110, 80, 30, 90, 80, 70, 0),
    ),
}


def xavier() -> Problem:
    """The public problem. A megabyte a second turns bytes into microseconds."""
    stages = []
    for net, (gpu, dla, changes) in XAVIER.items():
        for i, (on_gpu, on_dla, change) in enumerate(zip(gpu, dla, changes, strict=True)):
            modes = (
                Mode(resource="gpu", duration_us=on_gpu, energy_nj=0, output_bytes=change),
                Mode(resource="dla", duration_us=on_dla, energy_nj=0, output_bytes=change),
            )
            stages.append(StageModes(name=f"{net}{i + 1}", inputs=(f"{net}{i}",) if i else (), modes=modes))
    return Problem(
        format="leo-problem/1",
        name="haxconn-googlenet-alexnet",
        resources=(Resource(name="gpu"), Resource(name="dla")),
        links=(
            Link(source="gpu", target="dla", bytes_per_s=1_000_000),
            Link(source="dla", target="gpu", bytes_per_s=1_000_000),
        ),
        stages=tuple(stages),
        objective=("makespan",),
    )


def main() -> None:
    ours = Path(__file__).parent.parent / "problems"
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ours
    drawn = [
        random_problem(seed, stages=stages, shape=shape, features=features, urgency=urgency, objective=objective)
        for seed, stages, shape, features, urgency, objective in DRAWN
    ]
    kept = Problem.from_file(ours / "three-stages-must-move.json")
    for problem in [*drawn, xavier(), kept]:
        answer = solve(problem, "oracle").model_copy(update={"solve_us": 0})
        report = check(problem, answer)
        if answer.status == "feasible" or not report.ok:
            sys.exit(f"{problem.name}: {answer.status}, {report}")
        problem.to_file(directory / f"{problem.name}.json")
        answer.to_file(directory / f"{problem.name}.placement.json")
        print(f"{problem.name}: {answer.status} {answer.criteria or answer.reason}")


if __name__ == "__main__":
    main()

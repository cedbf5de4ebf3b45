"""Bounds that cost next to nothing: what no answer of a window is below, and when all has ended at the latest.

The lower ones know of no contention for lanes, and each criterion is alone. A proof needs better ones
(`leo_runtime.solver.search`); these say how far off a heuristic's answer can be at most.
"""

from __future__ import annotations

from leo_runtime.documents.window import WindowProblem
from leo_runtime.solver.gates import share
from leo_runtime.solver.window_schedule import Window


def least(window: Window) -> tuple[int, ...]:
    """For each criterion of the objective a value that no answer is below."""
    problem = window.problem
    ends = _earliest_ends_us(window)
    late = (d.weight * (ends[window.position[d.stage]] - d.deadline_us) for d in problem.deadlines)
    values = {
        "tardiness": sum(over for over in late if over > 0),
        "energy": _least_nj(window),
        "makespan": max(ends, default=0),
        "accuracy_loss": sum(min(mode.accuracy_loss_ppm for mode in stage.modes) for stage in problem.stages),
    }
    return tuple(values[name] for name in problem.objective)


def _earliest_ends_us(window: Window) -> list[int]:
    """When each stage ends at the earliest in any mode, every lane being free as soon as one is."""
    ready = [
        max(min(resource.ready_us, default=0), 0 if resource.awake else resource.wake_latency_us)
        for resource in window.resources
    ]
    ends: list[list[int]] = []
    for i, stage in enumerate(window.stages):
        here = []
        for g, mode in enumerate(stage.modes):
            start = max(stage.release_us, ready[window.places[i][g]])
            for j in window.inputs[i]:
                start = max(
                    start, min(_arrives_us(window, ends, j, h, window.places[i][g]) for h in range(len(ends[j])))
                )
            here.append(start + mode.duration_us)
        ends.append(here)
    return [min(here) for here in ends]


def _arrives_us(window: Window, ends: list[list[int]], j: int, h: int, target: int) -> int:
    """When the output of stage j in its mode h is at a resource at the earliest."""
    end, source = ends[j][h], window.places[j][h]
    found = window.links.get((source, target))
    if source == target or found is None:  # Without a link the two modes do not go together; that is left to others.
        return end
    link, _ = found
    return end + link.sending_us(window.stages[j].modes[h].output_bytes) + link.latency_us


def _least_nj(window: Window) -> int:
    """Every stage in its cheapest mode, what never sleeps, what still lingers, and one waking that some stage needs."""
    horizon_us = window.problem.horizon_us
    known = 0
    for resource in window.resources:
        if resource.linger_us is None:
            known += resource.awake_mw * horizon_us
        elif resource.awake:
            known += resource.lingering_mw * min(resource.awake_until_us, horizon_us)
    most = 0
    for i, stage in enumerate(window.stages):
        cheapest = min(window.costs_nj[i])
        known += cheapest
        most = max(most, min(_with_waking_nj(window, i, g) for g in range(len(stage.modes))) - cheapest)
    return known + most


def _with_waking_nj(window: Window, i: int, g: int) -> int:
    """What stage i costs in its mode g with the waking of its resource, where that sleeps, for it alone."""
    resource, mode = window.resources[window.places[i][g]], window.stages[i].modes[g]
    cost = window.costs_nj[i][g]
    if resource.awake:
        return cost
    awake_us = resource.wake_latency_us + mode.duration_us
    return cost + share(resource.wake_energy_nj + resource.awake_mw * awake_us, window.chances[i])


def last_us(problem: WindowProblem) -> int:
    """No schedule in which everything starts as early as it can ends later: one after the other, each woken for."""
    begin = max(
        [problem.releases_us[-1], *(stage.release_us for stage in problem.stages)]
        + [max([0, *resource.ready_us]) for resource in problem.resources]
    )
    wake = max((resource.wake_latency_us for resource in problem.resources), default=0)
    size = max((mode.output_bytes for stage in problem.stages for mode in stage.modes), default=0)
    hop = max((link.sending_us(size) + link.latency_us for link in problem.links), default=0) + wake
    runs = sum(wake + max(mode.duration_us for mode in stage.modes) for stage in problem.stages)
    return begin + wake + runs + hop * len(problem.stages) * max(0, len(problem.resources) - 1)

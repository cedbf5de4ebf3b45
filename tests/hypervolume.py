"""How much a front is worth: the volume that it beats."""

from __future__ import annotations

from collections.abc import Sequence


def hypervolume(costs: Sequence[Sequence[float]], worst: Sequence[float]) -> float:
    """The volume of what is no better than one of the costs, and better than `worst`. Less is better in all.

    By slices along the last objective (Fleischer, 2003, in its simplest form): exact, for some hundred points of few
    objectives.
    """
    inside = sorted(
        (one for one in costs if all(a < b for a, b in zip(one, worst, strict=True))), key=lambda one: one[-1]
    )
    if len(worst) == 1:
        return worst[0] - inside[0][0] if inside else 0.0
    total, floor, slices = 0.0, [], [*(one[-1] for one in inside[1:]), worst[-1]]
    for one, until in zip(inside, slices, strict=True):
        floor.append(one[:-1])
        if until > one[-1]:
            total += (until - one[-1]) * hypervolume(floor, worst[:-1])
    return total

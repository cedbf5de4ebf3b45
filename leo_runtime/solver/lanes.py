"""Lanes for what has its times already, for solvers that do not choose lanes one by one."""

from collections.abc import Sequence

from leo_runtime.documents.problem import Resource

Use = tuple[str | None, int, int]
"""The resource that is used, if one is, and from when until when in us."""


def on_lanes(resources: Sequence[Resource], uses: Sequence[Use]) -> list[int | None]:
    """A lane for each use, given out in the order of starts; None where it occupies nothing.

    No more uses overlap than there are lanes, so there is always one; what takes no time overlaps nothing.
    """
    free = {r.name: list(r.ready_us) or [0] * min(r.lanes, len(uses)) for r in resources}
    ready = {name: times.index(min(times)) for name, times in free.items() if times}
    lanes: list[int | None] = [None] * len(uses)
    for u in sorted(range(len(uses)), key=lambda u: uses[u][1:]):
        resource, start_us, end_us = uses[u]
        if resource is None:
            continue
        lane = ready[resource]
        if start_us < end_us:
            lane = next(lane for lane, time in enumerate(free[resource]) if time <= start_us)
            free[resource][lane] = end_us
        lanes[u] = lane
    return lanes

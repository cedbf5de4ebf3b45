"""Cells of which none is better in all objectives: the front of a study.

Less is better in all: of what is better the more there is, the negative is a cost. A cell is on the front if no other
is as good in all of them and better in one (Pareto).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from leo_runtime.study.document import Search, Study
from leo_runtime.study.rows import Row


def front(costs: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """The indices of those on the front, by their first costs, then the second and so on. Of equal ones all are there.

    All have as many costs, all of them finite.
    """
    order = sorted(range(len(costs)), key=lambda k: (*costs[k], k))
    # In this order, none is worse than one that follows it.
    best = np.empty((len(order), len(costs[0]) if order else 0))
    found: list[int] = []
    for k in order:
        one = np.asarray(costs[k], float)
        before = best[: len(found)]
        if not bool(((before <= one).all(axis=1) & (before < one).any(axis=1)).any()):
            best[len(found)] = one
            found.append(k)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Judged:
    """A point of a grid with rows for all its repetitions, as a search sees it."""

    point: int
    """The number of its cell in the first repetition."""
    means: Mapping[str, float]
    """Of objectives and of what is bounded, by column."""
    costs: tuple[float, ...]
    """Of each objective."""
    over: tuple[float, ...]
    """By how much it is above each bound; 0 or less: it is not."""

    @property
    def is_allowed(self) -> bool:
        """Whether it is within all bounds."""
        return all(over <= 0 for over in self.over)


def judged(study: Study, search: Search, rows: Sequence[Row]) -> tuple[Judged, ...]:
    """The points that have rows for all repetitions, and a figure for all that is searched by, in their order."""
    of_points: dict[int, list[Row]] = {}
    for row in rows:
        of_points.setdefault(int(row["cell"]) % study.points, []).append(row)
    found = [_judged(search, point, of) for point, of in sorted(of_points.items()) if len(of) == study.repetitions]
    return tuple(one for one in found if one is not None)


def _judged(search: Search, point: int, rows: Sequence[Row]) -> Judged | None:
    means: dict[str, float] = {}
    for column in (*search.objectives, *search.at_most):
        values = [row.get(column) for row in rows]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) < len(values):
            return None
        means[column] = fmean(numbers)
    costs = (*(means[column] for column in search.minimise), *(-means[column] for column in search.maximise))
    return Judged(point, means, costs, tuple(means[column] - most for column, most in search.at_most.items()))


def on_front(found: Sequence[Judged]) -> tuple[Judged, ...]:
    """Those on the front of what is within all bounds, by their first objective."""
    allowed = [one for one in found if one.is_allowed]
    return tuple(allowed[k] for k in front([one.costs for one in allowed]))

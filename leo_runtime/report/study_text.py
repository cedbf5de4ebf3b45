"""What is told of a study on a terminal: its front, and of cells that were drawn what goes with what."""

from __future__ import annotations

from collections.abc import Sequence

from leo_runtime.report.layout import table
from leo_runtime.study.cells import Cell
from leo_runtime.study.document import Search
from leo_runtime.study.fronts import Judged, on_front
from leo_runtime.terminal import Look

MOST_ON_FRONT = 40
"""How many points of a front are told of one by one."""


def front_text(search: Search, found: Sequence[Judged], cells: Sequence[Cell], points: int, look: Look) -> str:
    """The front of what is judged, a line a point with the values of its axes. `points` are those of the whole grid."""
    best = on_front(found)
    allowed = sum(one.is_allowed for one in found)
    of = f"{allowed} that are within bounds, of " if search.at_most else ""
    said = f"on the front: {len(best)} of {of}{len(found)} points that have rows, of {points} in all\n"
    if not best:
        return said
    shown = _thinned(best, MOST_ON_FRONT)
    bounded = [column for column in search.at_most if len({one.means[column] for one in best}) > 1]
    columns = dict.fromkeys((*search.objectives, *bounded))
    axes = list(cells[best[0].point].values)
    rows = [
        (one.point, *cells[one.point].values.values(), *(figure_text(column, one.means[column]) for column in columns))
        for one in shown
    ]
    less = f"\n{len(shown)} of them, from end to end\n" if len(shown) < len(best) else ""
    return f"{said}\n{table(('cell', *axes, *map(_head, columns)), rows, look)}{less}"


def _thinned(best: Sequence[Judged], most: int) -> list[Judged]:
    """At most so many, as far apart in their order as can be, the first and the last among them."""
    if len(best) <= most:
        return list(best)
    return [best[round(k * (len(best) - 1) / (most - 1))] for k in range(most)]


def _head(column: str) -> str:
    unit, _ = unit_of(column)
    return f"{column}, {unit}" if unit else column


def unit_of(column: str) -> tuple[str, float]:
    """In what a column is told, where that is not its own unit, and how many of its own make one."""
    return ("mJ", 1e6) if column.partition(".")[0].endswith("_nj") else ("", 1.0)


def figure_text(column: str, value: float) -> str:
    """A figure of a column as it is told: six digits at least, and no power of ten."""
    value /= unit_of(column)[1]
    return f"{value:.0f}" if abs(value) >= 100_000 else f"{value:.6g}"

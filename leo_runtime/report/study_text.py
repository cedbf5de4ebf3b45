"""What is told of a study on a terminal: its front, and of cells that were drawn what goes with what."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.report.layout import table
from leo_runtime.report.page.study_points import points, value_text
from leo_runtime.study.cells import Cell
from leo_runtime.study.document import Search, Study
from leo_runtime.study.effects import effects
from leo_runtime.study.fronts import Judged, on_front
from leo_runtime.study.rows import Row, better, columns_of
from leo_runtime.terminal import Look

MOST_ON_FRONT = 40
"""How many points of a front are told of one by one."""
BEST = 5
"""Of how many cells that were drawn the best are told."""
MOST_MEANS = 10
"""Of how many values of an axis of names."""


def front_text(search: Search, found: Sequence[Judged], cells: Sequence[Cell], of: int, look: Look) -> str:
    """The front of what is judged, a line a point with the values of its axes. The grid has `of` points."""
    best = on_front(found)
    allowed = sum(one.is_allowed for one in found)
    within = f"{allowed} that are within bounds, of " if search.at_most else ""
    said = f"on the front: {len(best)} of {within}{len(found)} points that have rows, of {of} in all\n"
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


def beside_text(asked: Sequence[Judged], found: Sequence[Judged]) -> str:
    """How much of the front a search has found, where there are rows that it did not ask for; else nothing."""
    if len(found) <= len(asked):
        return ""
    best, points_asked = on_front(found), {one.point for one in asked}
    met = sum(one.point in points_asked for one in best)
    said = f"on the front of all {len(found)} points that have rows: {len(best)}"
    return f"\n{said}; the search asked for {met} of them\n"


def drawn_text(study: Study, rows: Sequence[Row], column: str, look: Look) -> str:
    """A column of cells that were drawn: what it goes with, and the cells of its best figures, or of its least."""
    axes = [axis.column for axis in study.axes]
    found = [(point.means[column], point.values) for point in points(rows, axes) if column in point.means]
    if not found:
        raise InputError(f"no row has a number of `{column}`", hint=did_you_mean(column, columns_of(rows)))
    values = [value for value, _ in found]
    low, middle, high = (figure_text(column, value) for value in (min(values), median(values), max(values)))
    told = [
        (one.axis, "-" if one.correlation is None else f"{one.correlation:+.2f}", _means(column, one.means))
        for one in effects(rows, column, axes)
    ]
    way = better(column, study)
    order = sorted(found, key=lambda one: -one[0] if way == "higher" else one[0])
    cells = [(figure_text(column, value), *map(value_text, of)) for value, of in order[:BEST]]
    head = f"{'best' if way else 'least'} {_head(column)}"
    said = f"{_head(column)}, of {len(found)} cells that were drawn: {low} to {high}, median {middle}\n"
    with_axes = table(("axis", "correlation", "means over it"), told, look, wrapped=True)
    return f"{said}\n{with_axes}\n{table((head, *axes), cells, look)}"


def _means(column: str, means: Sequence[tuple[str, float]]) -> str:
    return "; ".join(f"{name}: {figure_text(column, mean)}" for name, mean in means[:MOST_MEANS]) + "; ..." * (
        len(means) > MOST_MEANS
    )


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

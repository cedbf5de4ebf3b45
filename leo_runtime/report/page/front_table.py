"""The front of a study that searches: the points than which no other is better in all objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leo_runtime.report.page.study_points import Measure, Point, figure, short, value_text
from leo_runtime.report.page.tables import Cell, Table, table
from leo_runtime.study.document import Search, Study
from leo_runtime.study.fronts import Judged, judged, on_front
from leo_runtime.study.rows import Row

MOST = 500
"""How many points of it a page has."""


@dataclass(frozen=True, slots=True)
class Front:
    """What a search has found."""

    search: Search
    judged: tuple[Judged, ...]
    best: tuple[Judged, ...]
    values: frozenset[str]
    """Of each of the best, those of its axes, as text."""
    allowed: frozenset[str]
    """Of each that is within bounds."""

    def has(self, point: Point) -> bool:
        """Whether a point is on it."""
        return repr(point.values) in self.values

    def allows(self, point: Point) -> bool:
        """Whether a point is within all bounds."""
        return repr(point.values) in self.allowed


def front_of_rows(study: Study, rows: Sequence[Row], axes: Sequence[str]) -> Front | None:
    """The front of what there is; None of a study that searches for nothing."""
    if study.search is None:
        return None
    found = judged(study, study.search, rows)
    best = on_front(found)
    values = _values(study, rows, axes)
    told, allowed = (
        frozenset(repr(values[one.point]) for one in those)
        for those in (best, [one for one in found if one.is_allowed])
    )
    return Front(study.search, found, best, told, allowed)


def _values(study: Study, rows: Sequence[Row], axes: Sequence[str]) -> dict[int, tuple[object, ...]]:
    """By point, the values of its axes."""
    return {int(row["cell"]) % study.points: tuple(row[f"axis.{axis}"] for axis in axes) for row in rows}


def front_table(of: Front, study: Study, rows: Sequence[Row], axes: Sequence[str], told: Sequence[Measure]) -> Table:
    """A row a point, by the first objective, with its axes, objectives, and what is bounded."""
    known = {measure.column: measure for measure in told}
    columns = [
        known[column] for column in dict.fromkeys((*of.search.objectives, *of.search.at_most)) if column in known
    ]
    values = _values(study, rows, axes)
    shown = [
        [
            *(Cell(value_text(value), figure(value)) for value in values[one.point]),
            *(Cell(as_.text(one.means[as_.column]), one.means[as_.column] / as_.per) for as_ in columns),
        ]
        for one in of.best[:MOST]
    ]
    allowed = sum(one.is_allowed for one in of.judged)
    bounds = " and ".join(_bound(column, most, known) for column, most in of.search.at_most.items())
    more = f" The first {MOST} are here." if len(of.best) > MOST else ""
    note = (
        f"{len(of.best):,} of {allowed:,} points{f' with {bounds}' if bounds else ''}; {len(of.judged):,} of "
        f"{study.points:,} have rows.{more}"
    )
    return table("front-table", "The front", (*axes, *(one.label for one in columns)), shown, note=note)


def _bound(column: str, most: float, known: dict[str, Measure]) -> str:
    if column in known:
        return f"{known[column].name} at most {known[column].with_unit(most)}"
    return f"{column} at most {short(most)}"

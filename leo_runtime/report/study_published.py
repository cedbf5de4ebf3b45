"""What a study's document says is known from elsewhere, as lines of a name and a text, its figures with their units.

A part of `published` with a `column` has figures of that column, in its own unit, by the values of the axes that they
are of (`"no gpu, 20" = 3_510`): they are told in the unit that pages have, beside what came of it here. One with a
`unit` has all numbers in that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from leo_runtime.report.page.study_points import Measure, Point, figure, measure_of, short, value_text
from leo_runtime.study.document import Study

COLUMN, UNIT = "column", "unit"
Lines = tuple[tuple[str, str], ...]


def published(study: Study, found: Sequence[Point]) -> Lines:
    """A line for each value of the document, in its order."""
    return _part(study.published, "", "", None, study, found)


def _part(said: Any, path: str, unit: str, measure: Measure | None, study: Study, found: Sequence[Point]) -> Lines:
    if isinstance(said, Mapping):
        unit = said[UNIT] if isinstance(said.get(UNIT), str) else unit
        column = said.get(COLUMN)
        if isinstance(column, str) and any(column in point.means for point in found):
            measure = measure_of(column, found, study)
        return tuple(
            line
            for key, part in said.items()
            if not (key == UNIT and part is unit) and not (key == COLUMN and measure is not None)
            for line in _part(part, f"{path} {key}".strip().replace("_", " "), unit, measure, study, found)
        )
    if isinstance(said, list | tuple) and all(isinstance(part, str | int | float | bool) for part in said):
        return ((path, f"{', '.join(map(value_text, said))} {unit if _numbers(said) else ''}".rstrip()),)
    if isinstance(said, list | tuple):
        return tuple(
            line for k, part in enumerate(said, 1) for line in _part(part, f"{path} {k}", unit, measure, study, found)
        )
    number = figure(said)
    if number is not None and measure is not None:
        return ((path, measure.with_unit(number) + _here(path, measure, found)),)
    if number is not None:
        return ((path, f"{short(number) if isinstance(said, float) else number} {unit}".rstrip()),)
    return ((path, said if isinstance(said, str) else json.dumps(said)),)


def _numbers(said: Sequence[object]) -> bool:
    return all(figure(part) is not None for part in said)


def _here(path: str, measure: Measure, found: Sequence[Point]) -> str:
    """What came of that point, where there is one that a figure's name ends with."""
    for point in found:
        named = ", ".join(map(value_text, point.values))
        if measure.column in point.means and path.endswith(f" {named}".replace("_", " ")):
            return f"; here {measure.with_unit(point.means[measure.column])}"
    return ""

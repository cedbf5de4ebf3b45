"""A column of a study over two of its axes: the mean of what there is, a line a value of one, a column a value of the
other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.study.effects import in_parts
from leo_runtime.study.rows import Row, columns_of


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Means over all rows of the same two values."""

    column: str
    down: str
    across: str | None
    """None: over one axis alone."""
    downs: tuple[Any, ...]
    acrosses: tuple[Any, ...]
    """Of one axis alone: one nameless value."""
    means: tuple[tuple[float | None, ...], ...]
    """By line and column; None where there is no row."""
    failed: tuple[tuple[int, ...], ...]
    """How many cells have failed there."""


def heat_map(
    rows: Sequence[Row], column: str, axes: Sequence[str], failed: Sequence[Row] = (), *, is_drawn: bool = False
) -> HeatMap:
    """The map of a column over one or two axes; `failed` are the cells that have no row, and a place in it.

    Of cells that are `is_drawn`, an axis of many numbers is cut into parts.

    Raises `InputError` for a column that is none, or holds no numbers."""
    known = columns_of(rows)
    if column not in known:
        raise InputError(f"no column is called `{column}`", hint=did_you_mean(column, known))
    every = sorted([*rows, *failed], key=lambda one: int(one["cell"]))
    orders: dict[str, list[str]] = {}
    if is_drawn:
        for axis in axes[:2]:
            told, orders[axis] = in_parts([row[f"axis.{axis}"] for row in every])
            every = [{**row, f"axis.{axis}": part} for row, part in zip(every, told, strict=True)]
        of_cells = {row["cell"]: row for row in every}
        rows, failed = ([of_cells[row["cell"]] for row in those] for those in (rows, failed))
    found: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        value = row.get(column)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"column `{column}` holds no numbers: {value!r}", hint="such as energy_nj or misses")
        found.setdefault(_place(row, axes), []).append(value)
    counts = Counter(_place(cell, axes) for cell in failed)
    places = [_place(one, axes) for one in every]
    downs = tuple(orders.get(axes[0], dict.fromkeys(down for down, _ in places)))
    acrosses = tuple(orders.get(axes[1] if len(axes) > 1 else "", dict.fromkeys(across for _, across in places)))
    means = tuple(tuple(_mean(found.get((down, across))) for across in acrosses) for down in downs)
    none = tuple(tuple(counts[down, across] for across in acrosses) for down in downs)
    return HeatMap(column, axes[0], axes[1] if len(axes) > 1 else None, downs, acrosses, means, none)


def kind_map(
    rows: Sequence[Row],
    kind: str,
    members: Sequence[str],
    axis: str,
    failed: Sequence[Row] = (),
    *,
    is_drawn: bool = False,
) -> HeatMap:
    """The map of all `members` of a kind of columns over one axis: a line a member, a column a value of the axis.

    Lines are called by what stands behind the dot (`nobody`: nothing does, as of `graph_nj.`); else as `heat_map`."""
    maps = [heat_map(rows, column, (axis,), failed, is_drawn=is_drawn) for column in members]
    downs = tuple(column.partition(".")[2] or "nobody" for column in members)
    means = tuple(tuple(mean for (mean,) in one.means) for one in maps)
    none = tuple(tuple(count for (count,) in one.failed) for one in maps)
    return HeatMap(kind, kind, axis, downs, maps[0].downs, means, none)


def _place(row: Row, axes: Sequence[str]) -> tuple[Any, Any]:
    return row[f"axis.{axes[0]}"], row[f"axis.{axes[1]}"] if len(axes) > 1 else ""


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None

"""What goes with what in cells that were drawn: they are no grid, so that a table over two axes says little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from leo_runtime.study.rows import Row

PARTS = 5
"""Into so many parts an axis of numbers is cut that has more different ones than twice that."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How a column goes with an axis."""

    axis: str
    correlation: float | None
    """Of ranks (Spearman's rho), from -1 to 1; None: of names, or where one of both is the same everywhere."""
    means: tuple[tuple[str, float], ...]
    """The column's mean by value, or by part of an axis of many numbers."""


def effects(rows: Sequence[Row], column: str, axes: Sequence[str]) -> tuple[Effect, ...]:
    """How a column goes with each axis, of the rows that have a figure of it."""
    known = [row for row in rows if _is_number(row.get(column))]
    return tuple(_effect(known, column, axis) for axis in axes)


def _effect(rows: Sequence[Row], column: str, axis: str) -> Effect:
    values = [row[f"axis.{axis}"] for row in rows]
    figures = [float(row[column]) for row in rows]
    told, names = in_parts(values)
    means = [
        (name, fmean(figure for figure, part in zip(figures, told, strict=True) if part == name)) for name in names
    ]
    return Effect(axis, _rank_correlation(values, figures) if all(map(_is_number, values)) else None, tuple(means))


def in_parts(values: Sequence[Any]) -> tuple[list[str], list[str]]:
    """What each value is called, and all names in their order: of many numbers the parts that they are cut into.

    Parts hold as many values each, as near as can be. Numbers are in their order, all else as it comes first.
    """
    numbers = all(map(_is_number, values))
    different = sorted(set(values)) if numbers else list(dict.fromkeys(values))
    if not numbers or len(different) <= 2 * PARTS:
        return [_text(value) for value in values], [_text(value) for value in different]
    ends = [different[math.ceil(len(different) * k / PARTS) - 1] for k in range(1, PARTS + 1)]
    starts = [different[0], *(different[math.ceil(len(different) * k / PARTS)] for k in range(1, PARTS))]
    names = [f"{_text(a)} to {_text(b)}" for a, b in zip(starts, ends, strict=True)]
    return [next(name for name, end in zip(names, ends, strict=True) if value <= end) for value in values], names


def _rank_correlation(values: Sequence[float], figures: Sequence[float]) -> float | None:
    """Spearman's rho: the correlation of ranks, equal values having the mean of theirs."""
    if len(set(values)) < 2 or len(set(figures)) < 2:
        return None
    return float(np.corrcoef(_ranks(values), _ranks(figures))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    ordered = np.sort(np.asarray(values, float))
    return np.asarray(
        (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2, float
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

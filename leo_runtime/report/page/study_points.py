"""The rows of a study as points: the mean of what the repetitions of one cell came to, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leo_runtime.report.layout import Energies
from leo_runtime.study.document import DERIVED, Study
from leo_runtime.study.rows import COLUMNS, Better, Row, better, columns_of, kind_of

FIRST = (
    "energy_nj",
    "misses",
    "late",
    "failed",
    "graph_p95_us",
    "regret_ppm",
    "gap_ppm",
    "battery_s",
    "solver_nodes",
    "graph_misses",
    "graph_p50_us",
    "graph_p99_us",
    "cause_nj",
    "resource_nj",
    "graph_nj",
)
"""Kinds of columns that a reader asks for first; then all others of numbers."""
_NO_MEASURES = {"study", "cell", "repetition", "axis", "inputs", "version", "length_us", "window_stages", "batch"}
_NO_MEASURES |= {"reserve_percent", "noise_ppm", "seed", "regret_best_nj", "gap_frames"}
"""Kinds of numbers that say what was asked, or mean nothing without another."""


@dataclass(frozen=True, slots=True)
class Point:
    """One cell, all its repetitions together."""

    values: tuple[Any, ...]
    """Of each axis."""
    repetitions: int
    means: Mapping[str, float]
    """By column; one that no repetition has is left out."""
    spread: Mapping[str, tuple[float, float]]
    """By column the least and the greatest."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of numbers, as it is written."""

    column: str
    name: str
    unit: str
    per: float
    """How many of the column's own unit one of `unit` is."""
    better: Better | None
    """None: nobody can say which figures of it are the better ones."""

    def text(self, value: float) -> str:
        """A value of the column without its unit, four digits."""
        return short(value / self.per)

    def with_unit(self, value: float) -> str:
        """The same with its unit."""
        return f"{self.text(value)} {self.unit}".rstrip()

    def cost(self, value: float) -> float:
        """What is less the better the value is."""
        return -value if self.better == "higher" else value

    @property
    def label(self) -> str:
        """Its name with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


def points(rows: Sequence[Row], axes: Sequence[str]) -> tuple[Point, ...]:
    """A point for every combination of the axes' values that has a row, in the order of the rows."""
    together: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        together.setdefault(tuple(repr(row.get(f"axis.{axis}")) for axis in axes), []).append(row)
    columns = [column for column in columns_of(rows) if kind_of(column) not in _NO_MEASURES]
    return tuple(_point(of, axes, columns) for of in together.values())


def _point(rows: Sequence[Row], axes: Sequence[str], columns: Sequence[str]) -> Point:
    means: dict[str, float] = {}
    spread: dict[str, tuple[float, float]] = {}
    for column in columns:
        found = [number for row in rows if (number := figure(row.get(column))) is not None]
        if found:
            means[column] = sum(found) / len(found)
            spread[column] = min(found), max(found)
    return Point(tuple(rows[0].get(f"axis.{axis}") for axis in axes), len(rows), means, spread)


def figure(value: object) -> float | None:
    """A value that is a number that can be drawn; None: it is something else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_MOST < value < _MOST else None


_MOST = 1e300
"""What is beyond is no figure of a run, and could not be drawn."""


def measures(
    found: Sequence[Point], most: int, first: Sequence[str] = (), study: Study | None = None
) -> tuple[Measure, ...]:
    """The columns of numbers, `first` those of that name, then those that a reader asks for first.

    `study` says which figures are the better ones of what it derives. Of other columns than these, those that are the
    same everywhere are left out; energy is where there is none.
    """
    columns = dict.fromkeys(column for point in found for column in point.means)
    wanted = [column for column in dict.fromkeys(first) if column in columns]
    rank = {kind: at for at, kind in enumerate(dict.fromkeys((*FIRST, *map(kind_of, COLUMNS))))}
    ordered = sorted(columns, key=lambda column: rank.get(kind_of(column), len(rank)))
    told = [
        column for column in ordered if _varies(column, found) or (column == "energy_nj" and _is_told(column, found))
    ]
    return tuple(measure_of(column, found, study) for column in list(dict.fromkeys([*wanted, *told]))[:most])


def _is_told(column: str, found: Sequence[Point]) -> bool:
    return any(point.means.get(column) for point in found)


def _varies(column: str, found: Sequence[Point]) -> bool:
    return len({point.means.get(column) for point in found}) > 1


def measure_of(column: str, found: Sequence[Point], study: Study | None) -> Measure:
    """A column as it is written, in a unit in which the greatest of its figures is well read."""
    kind, _, of = column.partition(".")
    if kind == DERIVED:  # It is known by the name that it was given.
        kind, of = of, ""
    greatest = max((abs(point.means[column]) for point in found if column in point.means), default=0.0)
    unit, per = "", 1.0
    if kind.endswith("_nj"):
        energies = Energies.up_to(int(greatest))
        unit, per = energies.unit, float(energies.unit_nj)
    elif kind.endswith("_us"):
        unit, per = ("s", 1e6) if greatest >= 1e7 else ("ms", 1e3)
    elif kind.endswith("_ppm"):
        unit, per = "%", 1e4
    elif kind.endswith("_s"):
        unit, per = ("h", 3600.0) if greatest >= 7200 else ("s", 1.0)
    elif kind.endswith("_um2"):
        unit, per = "mm²", 1e6
    elif kind.endswith("_bytes"):
        unit, per = ("MB", 1e6) if greatest >= 1e6 else ("kB", 1e3)
    words = _WORDS.get(kind) or _without_unit(kind).replace("_", " ")
    name = f"{words} of {of or 'no pipeline'}" if "." in column and not column.startswith(f"{DERIVED}.") else words
    return Measure(column, name, unit, per, better(column, study))


_UNITS = ("_nj", "_us", "_ppm", "_s", "_um2", "_bytes")

_WORDS: Mapping[str, str] = {
    "energy_nj": "energy",
    "cause_nj": "energy",
    "graph_nj": "energy",
    "resource_nj": "energy",
    "graph_p50_us": "median latency",
    "graph_p95_us": "95 % latency",
    "graph_p99_us": "99 % latency",
    "misses": "answers missed",
    "battery_s": "battery life",
    "gap_ppm": "gap to exact",
    "xrbench_ppm": "XRBench score",
    "graph_xrbench_ppm": "XRBench score",
}
"""What kinds of columns are called, where that is not their name."""


def _without_unit(kind: str) -> str:
    return next((kind.removesuffix(unit) for unit in _UNITS if kind.endswith(unit)), kind)


def short(value: float) -> str:
    """A number in four digits, without an exponent where that is not needed."""
    if value and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}"
    text = f"{value:,.{max(0, 4 - len(str(int(abs(value)))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def value_text(value: object) -> str:
    """The value of an axis."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)

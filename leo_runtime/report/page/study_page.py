"""The page of a study, made of its document and its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leo_runtime.report.page.asked import Pairs
from leo_runtime.report.page.front_table import Front, front_of_rows, front_table
from leo_runtime.report.page.heat import heat_maps
from leo_runtime.report.page.pareto import front_of, pareto_chart
from leo_runtime.report.page.render import page
from leo_runtime.report.page.run_page import HUES, Tile
from leo_runtime.report.page.scales import seconds
from leo_runtime.report.page.study_points import Measure, Point, figure, measures, points, short, value_text
from leo_runtime.report.page.tables import Cell, Table, table
from leo_runtime.report.study_published import published
from leo_runtime.study.document import Axis, Study
from leo_runtime.study.rows import Row, is_of_energy, windows_text
from leo_runtime.study.slices import Held, held_text

MEASURES = 16
"""How many measures the table of points has, and the chart can be drawn of."""
MAPPED = 6
"""Of how many measures there are heat maps."""
TABLE_CELLS = 8_000
"""How many cells the table of points has at most. Of more points those on the front are there, and every n-th."""
FAILURES = 50
"""How many cells that failed are told of."""


@dataclass(frozen=True, slots=True)
class StudyRows:
    """What there is of a study."""

    study: Study
    rows: Sequence[Row]
    cells: int
    """How many there are to be."""
    failed: Mapping[str, str]
    """Why cells have no row, by what they are called."""
    held: Held = field(default_factory=dict)
    """Axes that are held at some of their values: all else here is of these cells alone."""


def study_page(of: StudyRows, name: str) -> str:
    """The page of a study whose file is called `name`. Raises `MissingExtraError`."""
    study = of.study
    # An axis that is held at one value is no axis any more.
    names = [axis.column for axis in study.axes]
    axes = [name for name in names if len(of.held.get(name, ())) != 1] or names
    every = points(of.rows, axes)
    told = measures(every, MEASURES, first_columns(study), study)
    front = front_of_rows(study, of.rows, axes)
    shown = _bounded(every, told, front, TABLE_CELLS // (len(axes) + len(told) + 2))
    across, up = _first_two(told, every)
    colours, of_points = hues(shown, axes)
    on_all = set() if front is None else {k for k, point in enumerate(shown) if front.has(point)}
    return page(
        "study.html",
        name=name,
        title=study.title or study.name,
        subtitle=_subtitle(of),
        warnings=_warnings(of),
        tiles=_tiles(of, every, told, axes, front),
        pairs=_asked(of),
        origins=(*_origins(of), *_derived(study)),
        published=published(study, every),
        heats=heat_maps(every, axes, told[:MAPPED], is_drawn=study.sampling.cells is not None),
        axis_count=len(axes),
        measures=told,
        across=across,
        up=up,
        pareto=None
        if across is None or up is None
        else pareto_chart("pareto", shown, across, up, axes, of_points, on_all),
        colours=colours,
        front=None if front is None else front_table(front, study, of.rows, axes, told),
        points=_points_table(shown, told, axes),
        point_count=len(every),
        failures=_failures_table(of),
    )


def first_columns(study: Study) -> tuple[str, ...]:
    """What a study is about: its objectives, where it searches, and the columns that it shows."""
    return (*(study.search.objectives if study.search is not None else ()), *study.show)


def _subtitle(of: StudyRows) -> str:
    study = of.study
    axes = " by ".join(f"{axis.column} ({_length(axis)})" for axis in study.axes) or "one cell"
    repeated = f", {study.repetitions} repetitions" if study.repetitions > 1 else ""
    return f"Study {study.name}: {axes}{repeated}{held_text(of.held)}"


def _length(axis: Axis) -> str:
    return "a range" if axis.range is not None else str(len(axis.called))


def _warnings(of: StudyRows) -> list[str]:
    missing = of.cells - len(of.rows) - len(of.failed)
    found = []
    if missing:
        why = "were not asked for, or have not been run yet" if of.study.search is not None else "have not been run yet"
        found.append(f"{missing:,} of {of.cells:,} cells {why}: all figures are of what there is.")
    if of.failed:
        found.append(f"{len(of.failed):,} cells failed, and have no row: why is at the end.")
    return found


def _first_two(told: Sequence[Measure], every: Sequence[Point]) -> tuple[Measure | None, Measure | None]:
    """The measures that the chart begins with, if it can be known which of them are better; rather not two of one size
    everywhere, such as the median and the 95 % of one answer.
    """
    first = sorted(told, key=lambda measure: measure.better is None)[:1]
    others = [one for one in told if one not in first]
    others.sort(key=lambda one: (one.better is None, all(_same(first[0], one, point) for point in every)))
    return (first[0], others[0]) if others else (None, None)


def _same(one: Measure, other: Measure, point: Point) -> bool:
    return point.means.get(one.column) == point.means.get(other.column)


def _bounded(every: Sequence[Point], told: Sequence[Measure], front: Front | None, most: int) -> list[Point]:
    """At most so many of them, in their order."""
    if len(every) <= most:
        return list(every)
    keep: set[int] = set()
    across, up = _first_two(told, every)
    if across is not None and up is not None:
        keep = set(front_of(every, across, up)[1][: most // 4])
    if front is not None:
        keep |= set([k for k, one in enumerate(every) if front.has(one)][: most // 2])
    apart = -(-len(every) // (most - len(keep)))
    return [one for k, one in enumerate(every) if k in keep or k % apart == 0][:most]


def hues(shown: Sequence[Point], axes: Sequence[str]) -> tuple[list[tuple[str, int]], list[int]]:
    """The colours of points, by the first axis of names, or else the first of few values: what is told, and of each."""
    for wants_names in (True, False):
        for k, axis in enumerate(axes):
            values = list(dict.fromkeys(value_text(point.values[k]) for point in shown))
            names = any(isinstance(point.values[k], str) for point in shown)
            if 1 < len(values) <= HUES and (names or not wants_names):
                numbers = {value: at for at, value in enumerate(values)}
                told = [(f"{axis} {value}", hue) for value, hue in numbers.items()]
                return told, [numbers[value_text(point.values[k])] for point in shown]
    return [], [0] * len(shown)


def _tiles(
    of: StudyRows, every: Sequence[Point], told: Sequence[Measure], axes: Sequence[str], front: Front | None
) -> list[Tile]:
    repeated = f"{len(every):,} points, each up to {of.study.repetitions} times" if of.study.repetitions > 1 else ""
    rest = f"{len(of.failed):,} failed" if of.failed else repeated
    tiles = [Tile("cells run", f"{len(of.rows):,}", f"of {of.cells:,}", rest, bool(of.failed))]
    if front is not None:
        of_all = (
            f"of {sum(one.is_allowed for one in front.judged):,} points{' within bounds' * bool(front.search.at_most)}"
        )
        tiles.append(Tile("on the front", f"{len(front.best):,}", "", of_all))
        every = [point for point in every if front.allows(point)] or every
    for measure in told[:3]:
        known = [point for point in every if measure.column in point.means]
        if known:
            tiles.append(_tile(measure, known, axes))
    return tiles


def _tile(measure: Measure, known: Sequence[Point], axes: Sequence[str]) -> Tile:
    """The best of a measure, where it is, and the worst. `known` are the points that have it, one at least.

    Who answers nothing in time takes the least energy: of energy the best is among those that miss least.
    """
    values = [point.means[measure.column] for point in known]
    low, high = min(values), max(values)
    if measure.better is None:
        to = f"to {measure.with_unit(high)}" if high != low else "in all cells"
        return Tile(measure.name, measure.text(low), measure.unit, to)
    among, told = _missing_least(known) if is_of_energy(measure.column) else (list(known), "")
    least_cost = min(measure.cost(point.means[measure.column]) for point in among)
    best = [point for point in among if measure.cost(point.means[measure.column]) == least_cost]
    value = measure.text(best[0].means[measure.column])
    if high == low:
        return Tile(measure.name, value, measure.unit, f"in all cells{told}")
    where = (
        f"best at {_place(best[0], axes)}" if len(best) == 1 else f"best, {len(best):,} of {len(known):,} points tie"
    )
    worst = high if measure.better == "lower" else low
    also = "" if len(among) == len(known) else f"; of all, {measure.text(low)} to {measure.with_unit(high)}"
    last = also or f"; worst {measure.with_unit(worst)}"
    return Tile(measure.name, value, measure.unit, f"{where if axes else 'best'}{told}{last}")


def _missing_least(known: Sequence[Point]) -> tuple[list[Point], str]:
    """The points at which the fewest answers are missed, and how many that is."""
    least = min((point.means["misses"] for point in known if "misses" in point.means), default=None)
    if least is None:
        return list(known), ""
    found = [point for point in known if point.means.get("misses") == least]
    those = "" if len(found) == len(known) else ", of those that miss least"
    return found, f"{those} ({short(least)} answers missed)"


def _place(point: Point, axes: Sequence[str]) -> str:
    return ", ".join(f"{axis} {value_text(value)}" for axis, value in zip(axes, point.values, strict=True))


def _points_table(shown: Sequence[Point], told: Sequence[Measure], axes: Sequence[str]) -> Table:
    repeated = any(point.repetitions > 1 for point in shown)
    rows = []
    for point in shown:
        row: list[Cell] = [_axis_cell(value) for value in point.values]
        row += [
            Cell("-", float("-inf")) if (mean := point.means.get(measure.column)) is None
            else Cell(measure.text(mean), mean / measure.per)
            for measure in told
        ]  # fmt: skip
        if repeated:
            low, high = point.spread.get("energy_nj", (0.0, 0.0))
            half = (high - low) / 2 / point.means["energy_nj"] if point.means.get("energy_nj") else 0.0
            row += [Cell(f"{point.repetitions}", point.repetitions), Cell(f"± {100 * half:.2g} %", half)]
        rows.append(row)
    more = ("repetitions", "energy's spread") if repeated else ()
    header = (*axes, *(measure.label for measure in told), *more)
    note = "Each is the mean of its repetitions; the spread is half of what lies between the least and the most."
    return table("points-table", "Cells", header, rows, note=note if repeated else "")


def _axis_cell(value: object) -> Cell:
    return Cell(value_text(value), figure(value))


def _failures_table(of: StudyRows) -> Table:
    rows = [(name, why[:300]) for name, why in list(of.failed.items())[:FAILURES]]
    note = f"and {len(of.failed) - FAILURES:,} more" if len(of.failed) > FAILURES else ""
    return table("failures-table", "Cells that failed", ("cell", "why"), rows, note=note)


def _asked(of: StudyRows) -> Pairs:
    study = of.study
    given = study.base.model_dump(exclude_none=True)
    changes = given.pop("changes", ())
    found = [(name.replace("_", " "), value_text(value)) for name, value in given.items()]
    found += [(f"axis {axis.column}", _axis(axis)) for axis in study.axes]
    found.append(("changed in all cells", ", ".join(changes) or "nothing"))
    sampling = study.sampling
    drawn = f", {sampling.cells} cells from seed {sampling.seed}" if sampling.cells is not None else ""
    found.append(("cells", f"{sampling.kind}{drawn}"))
    found.append(("repetitions", f"{study.repetitions}, of which each meets the same noise and gates in all cells"))
    if study.measure:
        found.append(("also measured", ", ".join(study.measure)))
    for column in ("workload", "hardware", "profile", "recording", "solver"):
        if values := list(dict.fromkeys(str(row[column]) for row in of.rows if row.get(column) is not None)):
            found.append((f"{column} as run", ", ".join(values[:20])))
    if of.rows:
        found.append(("windows, in stages at most", windows_text(of.rows)))
    lengths = sorted({row["length_us"] for row in of.rows if isinstance(row.get("length_us"), int)})
    if lengths:
        found.append(("length of each run", f"{' to '.join(dict.fromkeys(map(seconds, (lengths[0], lengths[-1]))))} s"))
    versions: dict[str, dict[str, None]] = {}
    for row in of.rows:
        for column, value in row.items():
            if column.startswith("version."):
                versions.setdefault(column.removeprefix("version."), {})[str(value)] = None
    found += [(f"version of {name}", ", ".join(seen)) for name, seen in versions.items()]
    return tuple(found)


def _axis(axis: Axis) -> str:
    varied = f"{axis.vary}: " if axis.vary and axis.vary != axis.column else ""
    if axis.range is not None:
        kind = " logarithmic" if axis.range.logarithmic else ""
        return f"{varied}{axis.range.low:g} to {axis.range.high:g}{kind}"
    if axis.choices is not None:
        return ", ".join(choice.name for choice in axis.choices)
    return varied + ", ".join(value_text(value) for value in axis.values or ())


def _origins(of: StudyRows) -> Pairs:
    """What was modelled, and what measured."""
    computed = (
        "as the kernels decided, which were run" if of.study.compute else "open, or drawn where a chance is given"
    )
    return (
        ("how long runs took", "modelled: as the profiles say, spread by noise where that was asked for"),
        ("energy", "modelled: by the figures of machines and profiles"),
        ("gates", computed),
        ("times on this machine", "none: they are in the study's table of times, and in no row"),
    )


def _derived(study: Study) -> Pairs:
    """What figures are reckoned from."""
    return tuple((f"{one.name} is derived", one.source) for one in study.derived)

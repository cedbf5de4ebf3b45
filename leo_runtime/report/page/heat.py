"""Heat maps of a study: the mean of a measure over two axes, and beside each other for each value of a third."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from leo_runtime.report.page.study_points import Measure, Point, figure, value_text
from leo_runtime.study.effects import in_parts

LEVELS, PARTS = 40, 16
"""An axis of more different numbers is cut into so many parts of equal width; of texts so many are there."""
PANELS = 6
"""How many maps stand beside each other at most."""
CELLS = 3_000
"""How many cells all maps of a page have together, but for the first one."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A cell of a map."""

    mean: float | None
    """As the column has it; None: there is no point there."""
    heat: float
    """From 0, the best, to 1; where nobody can say what is better, from the least to the most."""
    title: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One map of those that stand beside each other, with colours that mean the same."""

    name: str
    """Which value of the third axis it is for; empty: there is none."""
    spots: tuple[tuple[Spot, ...], ...]
    """By line."""


@dataclass(frozen=True, slots=True)
class Heat:
    """A measure over one or two axes."""

    id: str
    name: str
    measure: Measure
    down: str
    across: str
    """Empty: over one axis alone."""
    downs: tuple[str, ...]
    acrosses: tuple[str, ...]
    panels: tuple[Panel, ...]
    least: str
    most: str
    note: str
    """Over what each is the mean; empty where it is none."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The values of an axis that a map tells apart."""

    axis: str
    names: tuple[str, ...]
    of: tuple[int | None, ...]
    """Of each point; None: it is left out, since there are too many."""
    is_number: bool


def levels(axis: str, values: Sequence[Any], *, is_drawn: bool = False) -> Levels:
    """The levels of an axis. Numbers come in their order, others as they are first met.

    Of cells that were drawn, hardly two have a number in common: it is cut into fewer parts, of as many cells each.
    """
    told = [value if isinstance(value, int | float | str) else str(value) for value in values]
    different = list(dict.fromkeys(told))
    is_number = all(figure(value) is not None for value in different)
    if is_number and is_drawn:
        parts, names_of_parts = in_parts(told)
        return Levels(axis, tuple(names_of_parts), tuple(map(names_of_parts.index, parts)), is_number)
    if is_number:
        different.sort()
    if len(different) <= LEVELS or not is_number:
        ranks = {value: k for k, value in enumerate(different[:LEVELS])}
        return Levels(axis, tuple(map(value_text, ranks)), tuple(map(ranks.get, told)), is_number)
    low, width = float(different[0]), (float(different[-1]) - float(different[0])) / PARTS
    names = tuple(f"{low + k * width:.4g} to {low + (k + 1) * width:.4g}" for k in range(PARTS))
    return Levels(axis, names, tuple(min(PARTS - 1, int((float(value) - low) / width)) for value in told), is_number)


def heat_maps(
    found: Sequence[Point], axes: Sequence[str], told: Sequence[Measure], *, is_drawn: bool = False
) -> tuple[Heat, ...]:
    """Maps of each measure over the axes of numbers first, then over other pairs, as long as there is room."""
    if not axes or not found:
        return ()
    every = [levels(axis, [point.values[k] for point in found], is_drawn=is_drawn) for k, axis in enumerate(axes)]
    maps: list[Heat] = []
    cells = 0
    for down, across in _pairs(every):
        third = _third(every, (down, across))
        for measure in told:
            drawn = _heat(f"heat-{len(maps)}", found, every, (down, across, third), measure)
            cells += sum(len(panel.spots) * len(panel.spots[0]) for panel in drawn.panels) if drawn else 0
            if maps and cells > CELLS:
                return tuple(maps)
            if drawn is not None:
                maps.append(drawn)
    return tuple(maps)


def _pairs(every: Sequence[Levels]) -> Iterator[tuple[Levels, Levels | None]]:
    """Those with more axes of numbers first."""
    if len(every) == 1:
        yield every[0], None
        return
    yield from sorted(combinations(every, 2), key=lambda pair: -pair[0].is_number - pair[1].is_number)


def _third(every: Sequence[Levels], pair: tuple[Levels, Levels | None]) -> Levels | None:
    """The axis of which each value has a map of its own: the first other one of few values, rather one of names."""
    others = [one for one in every if one not in pair and 1 < len(one.names) <= PANELS]
    return min(others, key=lambda one: one.is_number, default=None)


def _heat(
    heat_id: str,
    found: Sequence[Point],
    every: Sequence[Levels],
    over: tuple[Levels, Levels | None, Levels | None],
    measure: Measure,
) -> Heat | None:
    down, across, third = over
    values: dict[tuple[int, int, int], list[float]] = {}
    for k, point in enumerate(found):
        place = (0 if third is None else third.of[k], down.of[k], 0 if across is None else across.of[k])
        panel, line, column = place
        if panel is not None and line is not None and column is not None and measure.column in point.means:
            values.setdefault((panel, line, column), []).append(point.means[measure.column])
    if not values:
        return None
    means = {place: sum(of) / len(of) for place, of in values.items()}
    low, high = min(means.values()), max(means.values())

    def spot(place: tuple[int, int, int]) -> Spot:
        mean = means.get(place)
        if mean is None:
            return Spot(None, 0, "no figure")
        heat = (mean - low) / (high - low) if high > low else 0.0
        of = values[place]
        title = measure.with_unit(mean)
        if len(of) > 1:
            title += f", the mean of {len(of)}: {measure.text(min(of))} to {measure.text(max(of))}"
        return Spot(mean, 1 - heat if measure.better == "higher" else heat, title)

    columns = ("",) if across is None else across.names
    panels = [
        Panel(
            f"{third.axis} {name}" if third is not None else "",
            tuple(tuple(spot((p, line, column)) for column in range(len(columns))) for line in range(len(down.names))),
        )
        for p, name in enumerate(third.names if third is not None else ("",))
    ]
    others = [one.axis for one in every if one not in over]
    return Heat(
        id=heat_id,
        name=f"{measure.label} over {down.axis}{f' and {across.axis}' if across is not None else ''}",
        measure=measure,
        down=down.axis,
        across="" if across is None else across.axis,
        downs=down.names,
        acrosses=columns,
        panels=tuple(panels),
        least=measure.with_unit(low),
        most=measure.with_unit(high),
        note=f"Each is the mean over {' and '.join(others)}." if others else "",
    )

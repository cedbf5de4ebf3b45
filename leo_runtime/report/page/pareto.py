"""Points of two measures, of which none is better than those on the front in both.

Of a measure of which nobody can say what is better, there is no front.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from leo_runtime.report.page.elements import Markup, chart, element, fixed, percent
from leo_runtime.report.page.scales import span_ticks
from leo_runtime.report.page.study_points import Measure, Point, short, value_text

HEIGHT, TOP, LEFT, BOTTOM = 320, 12, 8, 24
EDGE = 0.04
"""How much room there is around the points, as a part of their span."""


def front(pairs: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """The indices of those that no other is as good as in both and better in one, by their first numbers.

    Less is better in both. Of equal pairs all are there.
    """
    order = sorted(range(len(pairs)), key=lambda k: (pairs[k], k))
    found: list[int] = []
    for k in order:
        if not found or pairs[k][1] < pairs[found[-1]][1] or pairs[k] == pairs[found[-1]]:
            found.append(k)
    return tuple(found)


def front_of(found: Sequence[Point], across: Measure, up: Measure) -> tuple[list[int], list[int]]:
    """The indices of the points that have both measures, and of those of them that are on the front."""
    known = [k for k, point in enumerate(found) if across.column in point.means and up.column in point.means]
    if across.better is None or up.better is None:
        return known, []
    costs = [(across.cost(found[k].means[across.column]), up.cost(found[k].means[up.column])) for k in known]
    return known, [known[k] for k in front(costs)]


def pareto_chart(
    chart_id: str,
    found: Sequence[Point],
    across: Measure,
    up: Measure,
    axes: Sequence[str],
    hues: Sequence[int],
    on_all: Collection[int] = (),
) -> Markup:
    """The points with their front. `hues` has a colour's number for each point; `on_all` are the indices of those that
    are on the front of more objectives than these two.

    Points without one of the measures are not drawn, but are there for the page's script, which may draw others.
    """
    known, best = front_of(found, across, up)
    pairs = [(found[k].means[across.column] / across.per, found[k].means[up.column] / up.per) for k in known]
    low_x, high_x = _span([x for x, _ in pairs])
    low_y, high_y = _span([y for _, y in pairs])

    def at(pair: tuple[float, float]) -> tuple[str, str]:
        y = TOP + HEIGHT * (1 - (pair[1] - low_y) / (high_y - low_y))
        return percent(pair[0] - low_x, high_x - low_x), fixed(y)

    grid: list[Markup] = []
    for value in span_ticks(low_x, high_x):
        x, _ = at((value, low_y))
        grid.append(element("line", x1=x, x2=x, y1=TOP, y2=TOP + HEIGHT))
        grid.append(element("text", short(value), x=x, y=TOP + HEIGHT + 16, text_anchor="middle"))
    for value in span_ticks(low_y, high_y):
        _, y = at((low_x, value))
        grid.append(element("line", x1="0%", x2="100%", y1=y, y2=y))
        grid.append(element("text", short(value), x="0%", y=y, dx=2, dy=-3))
    places = dict(zip(known, pairs, strict=True))
    steps: list[Markup] = []
    for one, other in pairwise(best):
        (x1, y1), (x2, y2) = at(places[one]), at(places[other])
        steps.append(element("line", x1=x1, x2=x2, y1=y1, y2=y1))
        steps.append(element("line", x1=x2, x2=x2, y1=y1, y2=y2))
    marks = []
    for k, point in enumerate(found):
        x, y = at(places[k]) if k in places else ("0%", "0")
        classes = [
            f"h{hues[k]}",
            *(["all"] if k in on_all else []),
            *(["best"] if k in best else []),
            *(["hidden"] if k not in places else []),
        ]
        title = ", ".join(f"{axis} {value_text(value)}" for axis, value in zip(axes, point.values, strict=True))
        said = element("title", title or "the only cell")
        marks.append(element("circle", said, cx=x, cy=y, r=5 if k in best else 4, class_=" ".join(classes)))
    told = f"{len(known)} points of {across.label} and {up.label}; {len(best)} of them are on the front"
    return chart(
        chart_id,
        f"{up.label} against {across.label}",
        told,
        element("g", *grid, class_="grid") if grid else Markup(),
        element("g", *steps, class_="front"),
        element("g", *marks, class_="points"),
        height=TOP + HEIGHT + BOTTOM,
        class_="pareto",
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From where to where is drawn: with some room around."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * EDGE or abs(high) * EDGE or 1.0
    return low - room, high + room

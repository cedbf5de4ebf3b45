"""Figures of a study for papers: each as PNG and SVG, with what is drawn beside it as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from leo_runtime.errors import InputError
from leo_runtime.report.page.heat import Heat, heat_maps
from leo_runtime.report.page.pareto import front_of
from leo_runtime.report.page.study_page import MAPPED, MEASURES, first_columns, hues
from leo_runtime.report.page.study_points import Measure, Point, measures, points, value_text
from leo_runtime.report.plots import pyplot
from leo_runtime.schema import require_writable
from leo_runtime.study.document import Study
from leo_runtime.study.rows import Row

_LOOK = {"svg.hashsalt": "leo-runtime", "svg.fonttype": "none", "font.size": 9}
"""Ids in an SVG are drawn from the salt: the same figure has the same bytes. Its letters stay letters."""
_COLOURS = {"lower": "viridis_r", "higher": "viridis", None: "Greys"}
"""The better, the brighter; grey where nobody can say what is better."""


HUES = ("#3b74d9", "#d97a1c", "#2a9d62", "#b8489e", "#8a6fe0", "#178fa3", "#b08a00", "#c8505a")
"""The colours of pages, by their numbers."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Beside each, for print without colours."""
GREY, INK = "#8899aa", "#1b2430"


def write_figures(study: Study, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the heat maps of the first measures over the first axes, and the front of the first two measures.

    Returns what was written, which is the same bytes for the same rows with the same matplotlib. Raises
    `MissingExtraError` without the extra `report`, and `InputError` where nothing can be written.
    """
    plt = pyplot()
    axes = [axis.column for axis in study.axes]
    found = points(rows, axes)
    told = measures(found, MEASURES, first_columns(study), study)
    written: list[Path] = []
    with plt.rc_context(_LOOK):
        every = heat_maps(found, axes, told[:MAPPED], is_drawn=study.sampling.cells is not None)
        for heat in every:
            if (heat.down, heat.across) == (every[0].down, every[0].across):
                name = f"{heat.id}-{_slug(heat.measure.column)}"
                written += _write(folder / name, partial(_draw_heat, plt, heat), _heat_rows(heat))
        if len(told) > 1:
            name = f"front-{_slug(told[0].column)}-{_slug(told[1].column)}"
            drawn = _front_rows(found, axes, told[0], told[1])
            colours = hues(found, axes)
            written += _write(folder / name, partial(_draw_front, plt, found, told[0], told[1], colours), drawn)
    return written


def _slug(column: str) -> str:
    """A column's name as the name of a file can have it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", column)[:60]


def _write(base: Path, draw: Callable[[], Any], table: Sequence[Sequence[object]]) -> Iterator[Path]:
    paths = [base.with_name(f"{base.name}{suffix}") for suffix in (".png", ".svg", ".csv")]
    for path in paths:
        require_writable(path)
    figure = draw()
    try:
        figure.savefig(paths[0], dpi=200, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": "leo-runtime"})
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        paths[2].write_text(text.getvalue(), encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{base}: the figure cannot be written ({error})", hint="name another folder") from None
    finally:
        pyplot().close(figure)
    yield from paths


def _draw_heat(plt: Any, heat: Heat) -> Any:
    wide = 1.2 + 0.62 * len(heat.acrosses)
    figure, axes = plt.subplots(
        1,
        len(heat.panels),
        figsize=(wide * len(heat.panels) + 1.2, 1.4 + 0.36 * len(heat.downs)),
        squeeze=False,
        layout="constrained",
    )
    known = [
        spot.mean / heat.measure.per for p in heat.panels for row in p.spots for spot in row if spot.mean is not None
    ]
    image = None
    for axis, panel in zip(axes.flat, heat.panels, strict=True):
        means = [[float("nan") if s.mean is None else s.mean / heat.measure.per for s in row] for row in panel.spots]
        colours = _COLOURS[heat.measure.better]
        image = axis.imshow(means, cmap=colours, vmin=min(known), vmax=max(known), aspect="auto")
        axis.set_xticks(range(len(heat.acrosses)), heat.acrosses)
        axis.set_yticks(range(len(heat.downs)), heat.downs)
        axis.set(xlabel=heat.across, ylabel=heat.down, title=panel.name)
        if len(heat.acrosses) <= 12 and len(heat.downs) <= 24:
            middle = (min(known) + max(known)) / 2
            for y, row in enumerate(panel.spots):
                for x, spot in enumerate(row):
                    if spot.mean is not None:
                        is_dark = (spot.mean / heat.measure.per > middle) != (heat.measure.better == "higher")
                        text = heat.measure.text(spot.mean)
                        axis.text(x, y, text, ha="center", va="center", color="w" if is_dark else "k", fontsize=7)
    figure.colorbar(image, ax=list(axes.flat), label=heat.measure.label)
    return figure


def _heat_rows(heat: Heat) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [("panel", heat.down, heat.across, heat.measure.column)]
    for panel in heat.panels:
        for down, spots in zip(heat.downs, panel.spots, strict=True):
            for across, spot in zip(heat.acrosses, spots, strict=True):
                rows.append((panel.name, down, across, "" if spot.mean is None else spot.mean))
    return rows


def _draw_front(
    plt: Any, found: Sequence[Point], across: Measure, up: Measure, colours: tuple[list[tuple[str, int]], list[int]]
) -> Any:
    known, best = front_of(found, across, up)
    figure, axis = plt.subplots(figsize=(4.2, 3.2), layout="constrained")
    xs = {k: found[k].means[across.column] / across.per for k in known}
    ys = {k: found[k].means[up.column] / up.per for k in known}
    told, of = colours
    for text, hue in told or [("cells", 0)]:
        those = [k for k in known if of[k] == hue]
        marker, colour = MARKERS[hue], HUES[hue] if told else GREY
        axis.plot([xs[k] for k in those], [ys[k] for k in those], marker, markersize=3.5, color=colour, label=text)
    if best:
        axis.plot(
            [xs[k] for k in best], [ys[k] for k in best], "o-", drawstyle="steps-post", markersize=6, color=INK,
            fillstyle="none", linewidth=1, label="none is better in both",
        )  # fmt: skip
    axis.set(xlabel=across.label, ylabel=up.label)
    axis.grid(True, alpha=0.3)
    axis.legend(fontsize=7)
    return figure


def _front_rows(found: Sequence[Point], axes: Sequence[str], across: Measure, up: Measure) -> list[tuple[object, ...]]:
    known, best = front_of(found, across, up)
    on_front = set(best)
    rows: list[tuple[object, ...]] = [(*axes, across.column, up.column, "on the front")]
    rows += [
        (*map(value_text, found[k].values), found[k].means[across.column], found[k].means[up.column], k in on_front)
        for k in known
    ]
    return rows

"""The chart of a frame as SVG: two drawings beside each other, names and bars, so that bars can be drawn wider."""

from __future__ import annotations

from collections.abc import Mapping

from leo_runtime.report.page.elements import Markup, chart, element, fixed, percent
from leo_runtime.report.page.gantt import Bar, BarKind, Chart, Due, Row
from leo_runtime.report.page.scales import milliseconds, ticks

STATE_HEIGHT, LANE_HEIGHT, TOP, BOTTOM = 22, 26, 22, 22
NAMES_WIDTH = 96
LETTER_WIDTH, USUAL_WIDTH = 6.2, 860
"""How wide a letter is, and how wide a chart, in pixels: where they are others, the page's script looks again."""
_LONGEST_NAME = 14


def gantt_svg(drawn: Chart, chart_id: str, hues: Mapping[str, int]) -> Markup:
    """Names of rows, and beside them the bars. `hues` are the numbers of the pipelines' colours."""
    tops, height = _tops(drawn.rows)
    names = element(
        "svg",
        *(_row_name(row, tops[row]) for row in drawn.rows),
        class_="names",
        width=NAMES_WIDTH,
        height=height,
        aria_hidden="true",
    )
    lasts_us = drawn.until_us - drawn.from_us
    children = [
        element("g", *_grid(drawn, height), class_="grid"),
        *(
            element("rect", class_="row", x=0, y=tops[row], width="100%", height=LANE_HEIGHT - 2, rx=3)
            for row in drawn.rows
            if row.kind != "state"
        ),
        *(_due(one, drawn, height) for one in drawn.due if one.at_us <= drawn.until_us),
        *(_bar(bar, drawn, tops[bar.row], hues) for bar in drawn.bars),
    ]
    frame = drawn.frame
    svg = chart(
        chart_id,
        f"Frame {frame.frame}",
        f"What ran where in frame {frame.frame}, from its release on, over {milliseconds(lasts_us)} ms. "
        "The table below has the same in figures.",
        *children,
        height=height,
        class_="bars",
    )
    scroller = element(
        "div", svg, class_="scroll", tabindex=0, role="region", aria_label=f"Chart of frame {frame.frame}, can be wide",
        data_us=lasts_us,
    )  # fmt: skip
    return element("div", names, scroller, class_="gantt")


def _tops(rows: tuple[Row, ...]) -> tuple[dict[Row, float], float]:
    tops: dict[Row, float] = {}
    y: float = TOP
    for k, row in enumerate(rows):
        if row.kind == "state" or (row.kind == "link" and (k == 0 or rows[k - 1].kind != "link")):
            y += 6
        tops[row] = y
        y += STATE_HEIGHT if row.kind == "state" else LANE_HEIGHT
    return tops, y + BOTTOM


def _row_name(row: Row, top: float) -> Markup:
    if row.kind == "lane":
        return element("text", f"lane {row.name}", class_="lane", x=NAMES_WIDTH - 10, y=top + 16, text_anchor="end")
    name = row.name.replace("->", "→")
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    title = [element("title", name)] if short != name else []
    return element("text", *title, short, class_=row.kind, x=0, y=top + 16)


def _grid(drawn: Chart, height: float) -> list[Markup]:
    lasts_us = drawn.until_us - drawn.from_us
    found = []
    for at_ms in ticks(lasts_us / 1000):
        x = percent(at_ms * 1000, lasts_us)
        found.append(element("line", x1=x, x2=x, y1=TOP, y2=height - BOTTOM))
        found.append(
            element(
                "text",
                f"{milliseconds(at_ms * 1000)} ms",
                x=x,
                y=height - 6,
                text_anchor=_anchor(at_ms * 1000 / lasts_us),
            )
        )
    return found


def _anchor(part: float) -> str:
    """Where a text is held that stands at this part of the width: within it at both ends."""
    return "start" if not part else "end" if part > 0.97 else "middle"


def _due(due: Due, drawn: Chart, height: float) -> Markup:
    x = percent(due.at_us - drawn.from_us, drawn.until_us - drawn.from_us)
    near_end = due.at_us - drawn.from_us > 0.75 * (drawn.until_us - drawn.from_us)
    names = ", ".join(due.graphs)
    return element(
        "g",
        element("title", f"deadline of {names}{', missed' if due.is_missed else ''}"),
        element("line", x1=x, x2=x, y1=TOP - 6, y2=height - BOTTOM),
        element(
            "text", f"{names} due", x=x, y=12, dx=-3 if near_end else 3, text_anchor="end" if near_end else "start"
        ),
        class_="due missed" if due.is_missed else "due",
    )


def _bar(bar: Bar, drawn: Chart, top: float, hues: Mapping[str, int]) -> Markup:
    lasts_us = drawn.until_us - drawn.from_us
    from_us = max(bar.from_us, drawn.from_us)
    until_us = min(bar.until_us, drawn.until_us)
    x, width = percent(from_us - drawn.from_us, lasts_us), percent(until_us - from_us, lasts_us)
    if bar.row.kind == "state":
        return element(
            "g",
            element("title", f"{bar.row.name} {bar.name}: {_times(bar, drawn)}"),
            element("rect", x=x, y=fixed(top + 9), width=width, height=8),
            class_=f"s {bar.kind}",
        )
    if bar.kind == "planned":
        return element(
            "g",
            element("title", f"{bar.name} as planned: {_times(bar, drawn)}"),
            element("rect", x=x, y=fixed(top + 1), width=width, height=LANE_HEIGHT - 4, rx=3),
            class_="b planned",
        )
    more = f" · {bar.told}" if bar.told else ""
    whose = f" · for {', '.join(bar.graphs)}" if bar.graphs else ""
    fits = len(bar.name) * LETTER_WIDTH + 6 < (until_us - from_us) / lasts_us * USUAL_WIDTH
    return element(
        "g",
        element("title", f"{bar.name}: {_times(bar, drawn)}{more}{whose}"),
        element("rect", x=x, y=fixed(top + 2), width=width, height=LANE_HEIGHT - 6, rx=3),
        element("text", bar.name, x=x, y=fixed(top + 16), dx=5, class_=None if fits else "hidden"),
        class_=f"b {_class(bar.kind, bar, hues)}",
    )


def _class(kind: BarKind, bar: Bar, hues: Mapping[str, int]) -> str:
    if kind != "run":
        return kind
    numbers = {hues[graph] for graph in bar.graphs if graph in hues}
    return f"h{numbers.pop()}" if len(numbers) == 1 else "shared"


def _times(bar: Bar, drawn: Chart) -> str:
    release_us = drawn.frame.release_us
    return (
        f"{milliseconds(bar.from_us - release_us)} to {milliseconds(bar.until_us - release_us)} ms "
        f"({milliseconds(bar.until_us - bar.from_us)} ms)"
    )

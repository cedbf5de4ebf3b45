"""Energy as bars that are divided by cause, and as power over the time of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leo_runtime.report.layout import Energies
from leo_runtime.report.page.elements import Markup, chart, element, fixed, percent
from leo_runtime.report.page.scales import seconds, ticks

ROW_HEIGHT, BAR_HEIGHT = 44, 14
POWER_HEIGHT, MARKS_HEIGHT, AXIS_HEIGHT = 180, 14, 20
MOST_ROWS = 24
"""Of more names, those that used least are drawn as one."""


def stacked_bars(
    chart_id: str, title: str, parts: Mapping[str, Mapping[str, int]], energies: Energies, total_nj: int
) -> Markup:
    """A bar for each name, of the causes of its energy; the widest is as wide as the chart."""
    sums = {name: sum(causes.values()) for name, causes in parts.items()}
    ordered = sorted(sums, key=lambda name: (-sums[name], name))
    rows = [(name, parts[name]) for name in ordered[:MOST_ROWS]]
    if left := ordered[MOST_ROWS:]:
        together: dict[str, int] = {}
        for name in left:
            for cause, nj in parts[name].items():
                together[cause] = together.get(cause, 0) + nj
        rows.append((f"{len(left)} others", together))
    widest = max((sum(causes.values()) for _, causes in rows), default=0)
    children: list[Markup] = []
    for k, (name, causes) in enumerate(rows):
        children += _bar(name or "no pipeline", causes, k * ROW_HEIGHT, widest, energies, total_nj)
    told = "; ".join(f"{name or 'no pipeline'} {energies.text(sum(c.values()))} {energies.unit}" for name, c in rows)
    return chart(chart_id, title, told or "no energy was used", *children, height=max(1, len(rows)) * ROW_HEIGHT)


def _bar(
    name: str, causes: Mapping[str, int], y: float, widest: int, energies: Energies, total_nj: int
) -> Sequence[Markup]:
    nj = sum(causes.values())
    share = _share(nj, total_nj)
    found = [
        element("text", name.replace("->", "→"), class_="name", x=0, y=fixed(y + 16)),
        element(
            "text",
            f"{energies.text(nj)} {energies.unit}",
            element("tspan", f"  {share}", class_="dim"),
            class_="figure",
            x="100%",
            y=fixed(y + 16),
            text_anchor="end",
        ),
        element("rect", class_="row", x=0, y=fixed(y + 22), width="100%", height=BAR_HEIGHT, rx=3),
    ]
    before = 0
    for cause, part_nj in causes.items():
        if part_nj:
            found.append(
                element(
                    "rect",
                    element("title", f"{name}, {cause}: {energies.text(part_nj)} {energies.unit}"),
                    class_=cause_class(cause),
                    x=percent(before, widest),
                    y=fixed(y + 22),
                    width=percent(part_nj, widest),
                    height=BAR_HEIGHT,
                )
            )
        before += part_nj
    return found


def _share(nj: int, total_nj: int) -> str:
    if not nj or not total_nj:
        return ""
    return f"{100 * nj / total_nj:.1f} %" if 1000 * nj >= total_nj else "< 0.1 %"


def cause_class(cause: str) -> str:
    """The class of a cause's colour: causes are a fixed set of words."""
    return f"c-{cause.replace(' ', '-')}"


def power_chart(
    chart_id: str, power_nj: Mapping[str, Sequence[float]], causes: Sequence[str], end_us: int, missed: Sequence[int]
) -> Markup:
    """What was drawn over time on average, cause upon cause in their given order, and where answers were missed."""
    buckets = len(missed)
    bucket_us = end_us / buckets
    drawn = [cause for cause in causes if any(power_nj.get(cause, ()))]
    tops_mw = [sum(power_nj[cause][k] for cause in drawn) / bucket_us for k in range(buckets)]
    most_mw = max(tops_mw, default=0.0) or 1.0
    children: list[Markup] = []
    for mw in ticks(most_mw, 4):
        y = MARKS_HEIGHT + POWER_HEIGHT * (1 - mw / most_mw)
        children.append(element("line", class_="grid", x1=0, x2="100%", y1=fixed(y), y2=fixed(y)))
    base = [0.0] * buckets
    areas: list[Markup] = []
    for cause in drawn:
        top = [low + nj / bucket_us for low, nj in zip(base, power_nj[cause], strict=True)]
        areas.append(element("path", element("title", cause), class_=cause_class(cause), d=_area(base, top, most_mw)))
        base = top
    children.append(
        element(
            "svg",
            *areas,
            class_="area",
            x=0,
            y=MARKS_HEIGHT,
            width="100%",
            height=POWER_HEIGHT,
            viewBox=f"0 0 {buckets} {POWER_HEIGHT}",
            preserveAspectRatio="none",
        )
    )
    for mw in ticks(most_mw, 4)[1:]:
        y = MARKS_HEIGHT + POWER_HEIGHT * (1 - mw / most_mw)
        children.append(element("text", f"{mw:,.4g} mW", class_="axis", x=2, y=fixed(y - 3)))
    for at_s in ticks(end_us / 1e6, 8):
        x = percent(at_s * 1e6, end_us)
        anchor = "middle" if 0 < at_s * 1e6 < 0.97 * end_us else "start" if not at_s else "end"
        y = POWER_HEIGHT + MARKS_HEIGHT + 15
        children.append(element("text", f"{seconds(at_s * 1e6)} s", class_="axis", x=x, y=y, text_anchor=anchor))
    for k, number in enumerate(missed):
        if number:
            mark = element("title", f"{number} late or failed, at {seconds(k * bucket_us)} s")
            children.append(
                element("text", mark, "▼", class_="miss", x=percent(k + 0.5, buckets), y=10, text_anchor="middle")
            )
    average_mw = sum(tops_mw) / buckets
    told = f"{average_mw:,.4g} mW on average, {most_mw:,.4g} mW at most over {seconds(bucket_us)} s"
    height = MARKS_HEIGHT + POWER_HEIGHT + AXIS_HEIGHT
    return chart(chart_id, "Power over the time of the run", told, *children, height=height)


def _area(low: Sequence[float], high: Sequence[float], most: float) -> str:
    """Steps from left to right along the top, and back along the bottom."""

    def y(value: float) -> str:
        return fixed(POWER_HEIGHT * (1 - value / most), 1)

    forth = "".join(f"V{y(value)}H{k + 1}" for k, value in enumerate(high))
    back = "".join(f"V{y(value)}H{len(low) - 1 - k}" for k, value in enumerate(reversed(low)))
    return f"M0 {y(high[0])}{forth}{back}Z"

"""How long answers of a pipeline took, as a histogram with the deadline in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leo_runtime.report.page.elements import Markup, chart, element, fixed, percent
from leo_runtime.report.page.scales import milliseconds, step, ticks

BINS = 48
"""About how many bins there are; each is 1, 2 or 5 times a power of ten microseconds wide."""
HEIGHT, TOP, BOTTOM = 84, 26, 20


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bin: the k-th one is of what took from `k * bin_us` to below `(k + 1) * bin_us`."""

    bin_us: int
    done: tuple[int, ...]
    closed: tuple[int, ...]
    """A gate had decided that there was nothing to answer."""

    @property
    def until_us(self) -> int:
        """Where the last bin ends."""
        return self.bin_us * len(self.done)


def histogram(done_us: Sequence[int], closed_us: Sequence[int], deadline_us: int) -> Histogram:
    """Of times from release, with the deadline on it unless that is more than four times the longest of them."""
    longest = max([0, *done_us, *closed_us])
    shown = max(longest, deadline_us if deadline_us <= 4 * max(1, longest) else 0, 1)
    bin_us = max(1, round(step(shown / BINS)))
    number = shown // bin_us + 1
    found = []
    for times_us in (done_us, closed_us):
        counts = [0] * number
        for us in times_us:
            counts[max(0, us) // bin_us] += 1
        found.append(tuple(counts))
    return Histogram(bin_us, *found)


def latency_chart(chart_id: str, graph: str, counted: Histogram, deadline_us: int, hue: int) -> Markup:
    """Bars, of which those after the deadline stand out; what a gate ended is paler."""
    until_us, most = counted.until_us, max(map(sum, zip(counted.done, counted.closed, strict=True)), default=0) or 1
    base = TOP + HEIGHT
    children = [element("line", class_="base", x1=0, x2="100%", y1=base, y2=base)]
    for k, (done, closed) in enumerate(zip(counted.done, counted.closed, strict=True)):
        from_us = k * counted.bin_us
        late = " late" if from_us >= deadline_us else ""
        low: float = base
        for number, kind, what in ((done, "done", "answered"), (closed, "closed", "ended by a gate")):
            if not number:
                continue
            height = max(1.5, HEIGHT * number / most)
            low = low - height
            title = f"{number} {what} after {milliseconds(from_us)} to {milliseconds(from_us + counted.bin_us)} ms"
            children.append(
                element(
                    "rect",
                    element("title", title),
                    class_=f"{kind}{late} h{hue}",
                    x=percent(from_us + 0.06 * counted.bin_us, until_us),
                    y=fixed(low),
                    width=percent(0.88 * counted.bin_us, until_us),
                    height=fixed(height),
                )
            )
    for at_ms in ticks(until_us / 1000, 5):
        x = percent(at_ms * 1000, until_us)
        anchor = "start" if not at_ms else "end" if at_ms * 1000 > 0.94 * until_us else "middle"
        text = f"{milliseconds(at_ms * 1000)} ms"
        children.append(element("text", text, class_="axis", x=x, y=base + 15, text_anchor=anchor))
    if deadline_us <= until_us:
        x = percent(deadline_us, until_us)
        right = deadline_us > 0.6 * until_us
        text = f"deadline {milliseconds(deadline_us)} ms"
        children.append(element("line", class_="deadline", x1=x, x2=x, y1=6, y2=base))
        children.append(
            element(
                "text", text, class_="deadline", x=x, y=12, dx=-5 if right else 5, text_anchor="end" if right else None
            )
        )
    else:
        text = f"deadline {milliseconds(deadline_us)} ms, far to the right"
        children.append(element("text", text, class_="deadline", x="100%", y=12, text_anchor="end"))
    answered, closed = sum(counted.done), sum(counted.closed)
    told = f"{answered} answers and {closed} that a gate ended, nine of ten within {_most(counted)} ms"
    return chart(chart_id, f"How long {graph} took", told, *children, height=TOP + HEIGHT + BOTTOM)


def _most(counted: Histogram) -> str:
    """A time that nine of ten were not above, to a bin."""
    counts = list(map(sum, zip(counted.done, counted.closed, strict=True)))
    below = 0
    for k, number in enumerate(counts):
        below += number
        if below * 10 >= sum(counts) * 9:
            return milliseconds((k + 1) * counted.bin_us)
    return milliseconds(counted.until_us)

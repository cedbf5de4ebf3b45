"""The tables of a replay: what pipelines answered and found, what resources did, energy by cause, and policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leo_runtime.replay.figures import Pipeline, ProcessorUse, Total
from leo_runtime.report.layout import NO_PIPELINE, Energies, number, table
from leo_runtime.runtime.link_watch import LinkKnown
from leo_runtime.terminal import WIDE, Look

TOTAL = "total"
LINKS = "links"


def answers_table(lines: Sequence[Pipeline], look: Look = WIDE) -> str:
    """How often each pipeline was asked and answered, and how late."""
    header = ("pipeline", "frames", "answered", "failed", "late", "median ms", "p95 ms", "p99 ms")
    counts = [(one.frames, one.answered, one.failed, one.late) for one in lines]
    rows = [(one.graph, *counted, *_latencies(one)) for one, counted in zip(lines, counts, strict=True)]
    totals = (TOTAL, *(sum(column) for column in zip(*counts, strict=True)), "", "", "")
    return table(header, rows, look, totals=totals if len(rows) > 1 else None, red=("failed", "late"))


def _latencies(one: Pipeline) -> list[str]:
    latencies_us = (one.latency_median_us, one.latency_p95_us, one.latency_p99_us)
    return [number(us / 1000, 2) if one.answered else "-" for us in latencies_us]


def found_table(lines: Sequence[Pipeline], look: Look = WIDE) -> str:
    """What each pipeline found, beside the recording's labels; empty where there is nothing that could be found."""
    if not any(one.detections or one.labels or one.over_gaps for one in lines):
        return ""
    # Of most recordings there is nothing to say of gaps.
    has_gaps = any(one.over_gaps for one in lines)
    header = ("pipeline", "detections", "right", "false", "labels", "missed", *(["over gaps"] if has_gaps else []))

    def row(one: Pipeline) -> tuple[object, ...]:
        judged = ("-", "-") if one.right is None else (one.right, one.false)
        return one.graph, one.detections, *judged, one.labels, one.missed, *([one.over_gaps] if has_gaps else [])

    rows = [row(one) for one in lines]
    columns = list(zip(*rows, strict=True))[1:]
    totals = (TOTAL, *(_sum_of(cells) for cells in columns))
    return table(header, rows, look, totals=totals if len(rows) > 1 else None)


def _sum_of(cells: Sequence[object]) -> object:
    figures = [cell for cell in cells if isinstance(cell, int)]
    return sum(figures) if figures else "-"


LINK_HEADER = (
    "link",
    "sent",
    "lost",
    "loss %",
    "at most",
    "Mbit/s",
    "four of five",
    "ms",
    "rate off %",
    "90 %",
    "time off %",
    "90 % ",
)


def link_row(one: LinkKnown) -> tuple[str, ...]:
    """What was thought of a link in the end, and how far off that was, as `LINK_HEADER` says."""
    rates = [number(rate * 8 / 1e6, 2) for rate in (one.bytes_per_s, one.least_bytes_per_s, one.most_bytes_per_s)]
    both = (one.rate_off_ppm, one.time_off_ppm)
    off = [("-", "-") if parts is None else tuple([str(part // 10_000) for part in parts]) for parts in both]
    return (
        f"{one.source} -> {one.target}",
        str(one.transfers),
        str(one.failed),
        number(one.loss_ppm / 10_000, 1),
        number(one.most_loss_ppm / 10_000, 1),
        rates[0],
        f"{rates[1]} to {rates[2]}",
        number(one.latency_us / 1000, 1),
        *off[0],
        *off[1],
    )


def links_table(lines: Sequence[LinkKnown], look: Look = WIDE) -> str:
    """What was thought of links, in the end, and how far off that was; empty where nothing was sent over any."""
    return table(LINK_HEADER, [link_row(one) for one in lines], look, red=("lost",)) if lines else ""


def uses_table(lines: Sequence[ProcessorUse], energies: Energies, look: Look = WIDE) -> str:
    """What each processor, radio and link did, and the energy that took."""
    header = ("processor", "runs", "busy s", "wake-ups", f"energy {energies.unit}")

    def row(name: str, runs: int, busy_us: int, wake_ups: int, nj: int) -> tuple[object, ...]:
        return name, runs, number(busy_us / 1e6, 2), wake_ups, energies.text(nj)

    rows = [row(one.name, one.runs, one.busy_us, one.wake_ups, one.total_nj) for one in lines]
    sums = (sum(one.runs for one in lines), sum(one.busy_us for one in lines), sum(one.wake_ups for one in lines))
    totals = row(TOTAL, *sums, sum(one.total_nj for one in lines))
    return table(header, rows, look, totals=totals if len(rows) > 1 else None)


def causes_table(lines: Sequence[ProcessorUse], processors: Sequence[str], energies: Energies, look: Look) -> str:
    """Energy by cause, the greatest first, and by resource: a column each of the `processors`, one of all links.

    A link has one cause only, so the table of uses has it whole.
    """
    columns: dict[str, Mapping[str, int]] = {one.name: one.nj for one in lines if one.name in processors}
    links: dict[str, int] = {}
    for one in lines:
        if one.name not in processors:
            _add(links, one.nj)
    names = [*columns, *([LINKS] if links else [])]
    by_column = [*columns.values(), *([links] if links else [])]
    sums: dict[str, int] = {}
    for nj in by_column:
        _add(sums, nj)
    causes = sorted((cause for cause, nj in sums.items() if nj), key=lambda cause: (-sums[cause], cause))
    rows = [(cause, *(energies.text(nj.get(cause, 0)) for nj in (*by_column, sums))) for cause in causes]
    totals = (TOTAL, *(energies.text(sum(nj.values())) for nj in (*by_column, sums)))
    return table((f"energy {energies.unit}", *names, TOTAL), rows, look, totals=totals, named=True)


def shares_table(
    by_graph: Mapping[str, Mapping[str, int]], graphs: Sequence[str], energies: Energies, look: Look
) -> str:
    """Energy by pipeline, and by cause, the greatest first."""
    sums: dict[str, int] = {}
    for nj in by_graph.values():
        _add(sums, nj)
    causes = sorted((cause for cause, nj in sums.items() if nj), key=lambda cause: (-sums[cause], cause))
    shares = [(graph, by_graph.get(graph, {})) for graph in graphs]
    shares += [(NO_PIPELINE, by_graph[""])] if "" in by_graph else []

    def row(name: str, nj: Mapping[str, int]) -> tuple[str, ...]:
        return name, *(energies.text(nj.get(cause, 0)) for cause in causes), energies.text(sum(nj.values()))

    rows = [row(name, nj) for name, nj in shares]
    return table((f"energy {energies.unit}", *causes, TOTAL), rows, look, totals=row(TOTAL, sums))


def _add(sums: dict[str, int], nj: Mapping[str, int]) -> None:
    for cause, more_nj in nj.items():
        sums[cause] = sums.get(cause, 0) + more_nj


def policies_table(lines: Sequence[Total], energies: Energies, look: Look = WIDE) -> str:
    """Policies side by side: energy, and what it is of the first one's; answers that came late, and that never came."""
    first_nj = next((one.nj for one in lines if one.nj), 0)
    header = ("policy", "time", f"energy {energies.unit}", "ratio", "late", "failed", "answers due")
    rows = [
        (
            one.policy,
            one.time,
            energies.text(one.nj),
            f"{number(one.nj / first_nj, 2)}x" if first_nj else "",
            one.late,
            one.failed,
            one.answers,
        )
        for one in lines
    ]
    return table(header, rows, look, red=("late", "failed"))

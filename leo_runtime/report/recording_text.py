"""What is in a recording, as text for people."""

from __future__ import annotations

from leo_runtime.errors import printable
from leo_runtime.recordings.clocks import shown
from leo_runtime.recordings.figures import Figures, StreamFigures
from leo_runtime.report.layout import number, table
from leo_runtime.terminal import WIDE, Look, fill


def text(found: Figures, look: Look = WIDE) -> str:
    """A line of the whole, a table of its streams, those of its labels and links if it has any, and what was mended."""
    said = f"{found.name}, {found.lasts_us / 1e6:.6g} s; source: {found.source}, licence: {found.licence}"
    if found.start_epoch_us is not None:
        zone = "" if found.time_zone is None else f", where the clock is that of {found.time_zone}"
        said += f"; began {shown(found.start_epoch_us)}{zone}"
    parts = [fill(printable(said), look.columns) + "\n"]
    header = ("stream", "kind", "ch", "Hz", "measured", "jitter ms", "s")
    parts.append(table(header, [_row(one) for one in found.streams], look))
    header = ("stream", "least", "most", "clipped", "silent s", "gaps", "gap s")
    parts.append(table(header, [_values(one) for one in found.streams], look))
    if found.labels:
        labels = [(one.label, one.stream or "all", one.count, f"{one.us / 1e6:.6g}") for one in found.labels]
        totals = (
            "total",
            "",
            sum(one.count for one in found.labels),
            f"{sum(one.us for one in found.labels) / 1e6:.6g}",
        )
        parts.append(table(("label", "stream", "times", "s"), labels, look, totals=totals if len(labels) > 1 else None))
    if found.links:
        links = [
            (
                f"{one.source} -> {one.target}",
                one.samples,
                _mbit(one.least_bytes_per_s),
                _mbit(one.greatest_bytes_per_s),
                one.down,
            )
            for one in found.links
        ]
        parts.append(table(("link", "samples", "least Mbit/s", "most Mbit/s", "down"), links, look))
    mended = "".join(fill(printable(f"mended: {repair}"), look.columns, "  ") + "\n" for repair in found.repairs)
    return "\n".join(parts) + (f"\n{mended}" if mended else "")


def _row(one: StreamFigures) -> tuple[object, ...]:
    size = "" if one.width_px is None else f" {one.width_px}x{one.height_px}"
    return (
        one.name,
        f"{one.kind}{size}",
        one.channels,
        f"{one.rate_hz:.6g}" if one.rate_hz else "-",
        "-" if one.measured_hz is None else f"{one.measured_hz:.6g}",
        "-" if one.jitter_us is None else number(one.jitter_us / 1e3, 2),
        f"{one.lasts_us / 1e6:.1f}",
    )


def _values(one: StreamFigures) -> tuple[object, ...]:
    return (
        one.name,
        f"{one.least:.6g}",
        f"{one.greatest:.6g}",
        "-" if one.clipped is None else one.clipped,
        "-" if one.silent_us is None else f"{one.silent_us / 1e6:.1f}",
        one.gaps,
        f"{one.gap_us / 1e6:.1f}",
    )


def _mbit(bytes_per_s: int | None) -> str:
    return "-" if bytes_per_s is None else f"{bytes_per_s * 8 / 1e6:.4g}"

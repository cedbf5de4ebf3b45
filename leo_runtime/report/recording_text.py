"""What is in a recording, as text for people."""

from __future__ import annotations

from textwrap import fill

from leo_runtime.errors import printable
from leo_runtime.recordings.clocks import shown
from leo_runtime.recordings.figures import Figures, StreamFigures
from leo_runtime.report.tables import table

_NAME_LENGTH = 14
"""How much of a name a row shows, so that it stays within 80 columns."""


def text(found: Figures) -> str:
    """A line of the whole, a table of its streams, those of its labels and links if it has any, and what was mended."""
    said = f"{found.name}, {found.lasts_us / 1e6:.6g} s: {found.source} (licence: {found.licence})"
    if found.start_epoch_us is not None:
        zone = "" if found.time_zone is None else f", where the clock is that of {found.time_zone}"
        said += f"; began {shown(found.start_epoch_us)}{zone}"
    parts = [fill(printable(said), 80) + "\n"]
    parts.append(
        table(("stream", "kind", "ch", "Hz", "measured", "jitter ms", "s"), [_row(one) for one in found.streams])
    )
    header = ("stream", "least", "most", "clipped", "silent s", "gaps", "gap s")
    parts.append(table(header, [_values(one) for one in found.streams]))
    if found.labels:
        labels = [
            (_name(one.label), _name(one.stream or "all"), one.count, f"{one.us / 1e6:.6g}") for one in found.labels
        ]
        parts.append(table(("label", "stream", "times", "s"), labels))
    if found.links:
        links = [
            (
                _name(f"{one.source} -> {one.target}"),
                one.samples,
                _mbit(one.least_bytes_per_s),
                _mbit(one.greatest_bytes_per_s),
                one.down,
            )
            for one in found.links
        ]
        parts.append(table(("link", "samples", "least Mbit/s", "most Mbit/s", "down"), links))
    mended = "".join(f"mended: {repair}\n" for repair in found.repairs)
    return "\n".join(parts) + (f"\n{mended}" if mended else "")


def _row(one: StreamFigures) -> tuple[object, ...]:
    size = "" if one.width_px is None else f" {one.width_px}x{one.height_px}"
    return (
        _name(one.name),
        f"{one.kind}{size}",
        one.channels,
        f"{one.rate_hz:.6g}" if one.rate_hz else "-",
        "-" if one.measured_hz is None else f"{one.measured_hz:.6g}",
        "-" if one.jitter_us is None else f"{one.jitter_us / 1e3:.2f}",
        f"{one.lasts_us / 1e6:.1f}",
    )


def _values(one: StreamFigures) -> tuple[object, ...]:
    return (
        _name(one.name),
        f"{one.least:.6g}",
        f"{one.greatest:.6g}",
        "-" if one.clipped is None else one.clipped,
        "-" if one.silent_us is None else f"{one.silent_us / 1e6:.1f}",
        one.gaps,
        f"{one.gap_us / 1e6:.1f}",
    )


def _name(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 3]}..."


def _mbit(bytes_per_s: int | None) -> str:
    return "-" if bytes_per_s is None else f"{bytes_per_s * 8 / 1e6:.4g}"

"""Text for people: tables of plain characters, and figures with their units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leo_runtime.profiles import Profile


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns under their names, numbers to the right, texts to the left; one trailing newline."""
    cells = [[str(cell) for cell in row] for row in rows]
    right = [bool(rows) and all(_is_figure(row[c]) for row in cells) for c in range(len(header))]
    widths = [max(len(line[c]) for line in [list(header), *cells]) for c in range(len(header))]
    lines = []
    for line in [list(header), ["-" * width for width in widths], *cells]:
        padded = [text.rjust(w) if r else text.ljust(w) for text, w, r in zip(line, widths, right, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def profile_table(profile: Profile) -> str:
    """What a profile knows: an entry a line, with where it comes from."""
    device = profile.device
    where = f"{device.cpu or device.machine}, {device.cores} cores" if device else "no device: published or modelled"
    header = ("processor", "operator", "variant", "stage", "fixed us", "ns / MAC", "ns / byte", "source")
    rows = [
        (
            cost.processor,
            cost.operator,
            cost.variant,
            cost.signature or "any",
            cost.fixed_us,
            cost.ps_per_mac / 1000,
            cost.ps_per_byte / 1000,
            cost.source,
        )
        for cost in profile.costs
    ]
    return f"{profile.name}, of hardware {profile.hardware} ({where})\n\n" + table(header, rows)


def duration(microseconds: float) -> str:
    """A time with the unit that suits it, three figures."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.3g} us"


def millijoules(nanojoules: float) -> str:
    """An energy in mJ, to a hundredth."""
    return f"{nanojoules / 1e6:.2f}"


def _is_figure(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "+-" or text == ""

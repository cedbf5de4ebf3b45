"""Text for people: tables of plain characters, and figures with their units."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from leo_runtime.operators import Work
from leo_runtime.report.layout import duration as duration
from leo_runtime.report.layout import number
from leo_runtime.report.layout import table as table
from leo_runtime.terminal import WIDE, Look, fill, room

if TYPE_CHECKING:
    from leo_runtime.documents.contention import SlowdownMeasured
    from leo_runtime.documents.profile import Cost, Measurement, Profile
    from leo_runtime.measure.bench_audio import Cell, Row


def profile_table(profile: Profile, look: Look = WIDE) -> str:
    """What a profile knows: an entry a line, with where it comes from.

    Where that has no room beside it, sources have numbers, and stand below.
    """
    device = profile.device
    where = f"{device.cpu or device.machine}, {device.cores} cores" if device else "no device: published or modelled"
    steps = any(cost.measurement is not None and cost.measurement.step_us is not None for cost in profile.costs)
    costs = ("fixed us", "ns / MAC", "ns / byte", *(["step us"] if steps else []))
    header = ("processor", "operator", "variant", "stage", *costs)

    def rows(sources: Mapping[str, object]) -> list[tuple[object, ...]]:
        return [
            (
                cost.processor,
                cost.operator,
                cost.variant,
                cost.holds_for or cost.family or "any",
                cost.fixed_us,
                f"{cost.ps_per_mac / 1000:.3f}",
                f"{cost.ps_per_byte / 1000:.3f}",
                *([_step(cost.measurement)] if steps else []),
                sources[cost.source],
            )
            for cost in profile.costs
        ]

    title = fill(f"{profile.name}, of hardware {profile.hardware} ({where})", look.columns, "  ")
    sources = list(dict.fromkeys(cost.source for cost in profile.costs))
    whole = table((*header, "source"), rows({source: source for source in sources}))
    slowdowns = contention(profile, look)
    if look.columns is None or max(map(room, whole.splitlines())) <= look.columns:
        return f"{title}\n\n{whole}{slowdowns}"
    numbers = {source: number for number, source in enumerate(sources, 1)}
    notes = table(("note", "source"), [(number, source) for source, number in numbers.items()], look, wrapped=True)
    return f"{title}\n\n{table((*header, 'note'), rows(numbers), look, keys=4)}\n{notes}{slowdowns}"


def contention(profile: Profile, look: Look = WIDE) -> str:
    """By how much processors slow each other, a pair a line, below an empty one; nothing where nothing is known."""
    known = profile.contention
    if not known.pairs:
        return ""
    rows = [
        (
            pair.victim,
            pair.aggressor,
            f"{pair.slowdown_ppm / 10_000:.1f} %",
            "" if pair.measurement is None else pair.measurement.stages,
            "" if pair.measurement is None else _percents(pair.measurement),
            pair.source,
        )
        for pair in known.pairs
    ]
    header = ("processor", "beside", "longer by", "stages", "half of them", "source")
    reckoned = f"\nplans reckon with {known.expected_percent} % of it\n" if known.expected_percent else ""
    return f"\n{table(header, rows, look, keys=2)}{reckoned}"


def _percents(measured: SlowdownMeasured) -> str:
    return f"{measured.low_ppm / 10_000:.1f} to {measured.high_ppm / 10_000:.1f} %"


def _step(measurement: Measurement | None) -> str:
    """How long a run takes that goes on from what a stage kept, and by how many new entries."""
    if measurement is None or measurement.step_us is None:
        return ""
    return f"{measurement.step_us} by {measurement.step_entries}"


def differences(before: Profile, after: Profile, look: Look = WIDE, *, as_json: bool = False) -> str:
    """What is not the same in two profiles: an entry a line, with how much longer it takes on work like its own."""
    header = ("processor", "operator", "variant", "stage", "before", "after", "ratio")
    rows = []
    for difference in before.differences(after):
        cost = difference.after or difference.before
        assert cost is not None
        # A stage's own entry is compared at its own size, an operator's at a million multiply-accumulates.
        macs = 0 if cost.holds_for else 1_000_000
        sizes = [_line(side, macs) for side in (difference.before, difference.after)]
        ratio = sizes[1] / sizes[0] if sizes[0] and sizes[1] else None
        rows.append((cost.processor, cost.operator, cost.variant, cost.holds_for or cost.family, *sizes, ratio))
    if as_json:
        return json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=1) + "\n"
    shown = [
        (
            *row[:3],
            row[3] or "any",
            *("none" if size is None else f"{size:.0f} us" for size in row[4:6]),
            "" if row[6] is None else f"{row[6]:.2f}x",
        )
        for row in rows
    ]
    entries = table(header, shown, look, keys=4) if shown else "no entry differs\n"
    pairs = _other_slowdowns(before, after)
    return f"{entries}\n{table(('processor', 'beside', 'before', 'after'), pairs, look, keys=2)}" if pairs else entries


def _other_slowdowns(before: Profile, after: Profile) -> list[tuple[str, ...]]:
    """The pairs of processors that slow each other by something else, each with by how much."""
    known = [profile.contention.slowdowns_ppm() for profile in (before, after)]
    return [
        (*pair, *(f"{slowdowns.get(pair, 0) / 10_000:.1f} %" for slowdowns in known))
        for pair in dict.fromkeys((*known[0], *known[1]))
        if known[0].get(pair) != known[1].get(pair)
    ]


def _line(cost: Cost | None, macs: int) -> float | None:
    """An entry's microseconds: as measured, else for so many multiply-accumulates."""
    if cost is None:
        return None
    return float(cost.measurement.median_us if cost.measurement else cost.duration_us(Work(macs, 0)))


def measurements(profile: Profile, look: Look = WIDE, *, as_json: bool = False) -> str:
    """What was measured: a stage on a processor a line, warm runs and the cold start apart; as JSON in us."""
    if as_json:
        plain = [
            {
                "processor": cost.processor,
                "stage": cost.holds_for,
                "variant": cost.variant,
                **cost.measurement.model_dump(),
            }
            for cost in profile.costs
            if cost.measurement is not None
        ]
        return json.dumps(plain, indent=1) + "\n"
    header = (
        "processor",
        "stage",
        "variant",
        "runs",
        "median ms",
        "p95 ms",
        "cold ms",
        "on all lanes",
        "beside neighbours",
    )
    rows = [
        (
            cost.processor,
            cost.holds_for,
            cost.variant,
            cost.measurement.runs,
            _ms(cost.measurement.median_us),
            _ms(cost.measurement.p95_us),
            _ms(cost.measurement.cold_us or 0),
            _slowdown(cost.measurement, cost.measurement.lanes_us),
            _slowdown(cost.measurement, cost.measurement.beside_us),
        )
        for cost in profile.costs
        if cost.measurement is not None
    ]
    # What is not measured in haste has no columns.
    columns = [n for n in range(len(header)) if not rows or any(row[n] != "" for row in rows)]
    shown = [[row[n] for n in columns] for row in rows]
    return table([header[n] for n in columns], shown, look, keys=3) + contention(profile, look)


def tuned(rows: Sequence[tuple[str, int, int]], look: Look = WIDE, *, as_json: bool = False) -> str:
    """What a kernel and shape took before and after tuning, given in nanoseconds."""
    if as_json:
        names = ("kernel and shape", "rule_ns", "tuned_ns")
        return json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1) + "\n"
    shown = [
        (what, f"{before_ns / 1000:.1f}", f"{after_ns / 1000:.1f}", f"{before_ns / after_ns:.2f}")
        for what, before_ns, after_ns in rows
    ]
    return table(("kernel and shape", "rule us", "tuned us", "times as fast"), shown, look)


def _slowdown(measured: Measurement, then_us: int | None) -> str:
    return "" if then_us is None or measured.median_us == 0 else f"{then_us / measured.median_us:.2f}x"


def _ms(microseconds: float) -> str:
    return number(microseconds / 1000, 2)


def audio_bench(rows: tuple[Row, ...], published: Mapping[str, tuple[float, ...]], look: Look = WIDE) -> str:
    """The rows for reading: time and spread, then how many times as fast as one CPU thread, here and as published."""
    base = next(row for row in rows if row.processor == "CPU").cells
    lines = []
    for row in rows:
        cells = [_cell_text(*column, simulated=not row.measured) for column in zip(row.cells, base, strict=True)]
        factors = published[row.processor]
        lines.append(
            (row.processor, *(f"{text} [{factor:+.1f}x]" for text, factor in zip(cells, factors, strict=True)))
        )
    header = ("processor", "GMM full pipeline", "GMM model only", "DNN full pipeline", "DNN model only")
    runs = max((cell.runs for row in rows for cell in row.cells if cell is not None), default=0)
    notes = (
        f"Median of {runs} runs, half the distance between quartiles, times as fast as one CPU thread here (negative: "
        "as slow), and in brackets the same as published for a Snapdragon 800 (Georgiev et al., MobiSys 2017).",
        "~ simulated: a model's time, not this machine's; it is not comparable with the measured rows.",
    )
    return "\n".join([table(header, lines, look), *(fill(note, look.columns) for note in notes)]) + "\n"


def _cell_text(cell: Cell | None, base: Cell | None, *, simulated: bool) -> str:
    if cell is None:
        return "-"
    mark, spread = ("~", "") if simulated else ("", f" ±{cell.spread_percent}%")
    if base is None:
        return f"{mark}{duration(cell.median_us)}{spread}"
    factor = base.median_us / cell.median_us
    return f"{mark}{duration(cell.median_us)}{spread} {factor if factor >= 1 else -1 / factor:+.1f}x"

"""What differs between two runs, as text for a terminal and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from leo_runtime.errors import printable
from leo_runtime.replay.differences import KINDS, Answer, Change, Differences, Setting
from leo_runtime.replay.log_reader import RunLog
from leo_runtime.replay.tally import PipelineTally
from leo_runtime.report.frame_text import tally_figures
from leo_runtime.report.layout import NO_PIPELINE, duration, millijoules, table
from leo_runtime.terminal import WIDE, Look, fill

SETTINGS_SHOWN = 20


def differences_text(found: Differences, names: tuple[str, str], look: Look = WIDE, notes: Sequence[str] = ()) -> str:
    """What differs in set-up, in sum and frame by frame. `names`: of the two runs; `notes`: of what is not known."""
    columns = look.columns
    parts = [
        fill(printable(f"before: {names[0]}"), columns) + "\n",
        fill(printable(f"after:  {names[1]}"), columns) + "\n",
    ]
    parts += [fill(printable(note), columns, "  ") + "\n" for note in notes]
    if found.are_equal:
        return "".join(
            [*parts, f"nothing differs: {found.compared} answers, {millijoules(found.before.total_nj)} mJ\n"]
        )
    parts += ["\n", _settings(found.settings, look)]
    parts += ["\n", _pipelines(found, look), "\n", _energy(found, look), "\n", _counts(found, look)]
    if found.worst:
        parts += ["\n", _changes(found, look)]
    return "".join(parts)


def notes_on(runs: Sequence[RunLog]) -> list[str]:
    """What of each run is not known, where that is so."""
    found = []
    for log in runs:
        if log.cut:
            found.append(f"{log.path}: read up to here: {log.cut}")
        if log.missing:
            found.append(f"{log.path}: does not hold {'; '.join(log.missing)}")
    return found


def _settings(settings: Sequence[Setting], look: Look) -> str:
    if not settings:
        return "set up alike\n"
    rows = [(one.what, one.before, one.after) for one in settings[:SETTINGS_SHOWN]]
    text = table(("set up", "before", "after"), rows, look, wrapped=True)
    more = len(settings) - SETTINGS_SHOWN
    return text + (f"and {more} more: see --json\n" if more > 0 else "")


def _pipelines(found: Differences, look: Look) -> str:
    rows = []
    for name in dict.fromkeys((*found.before.pipelines, *found.after.pipelines)):
        one, other = (tally.pipelines.get(name, PipelineTally()) for tally in (found.before, found.after))
        rows.append(
            (
                name,
                *(_both(a, b) for a, b in ((one.frames, other.frames), (one.late, other.late))),
                *(_both(a, b) for a, b in ((one.failed, other.failed), (one.detections, other.detections))),
                *(_both_ms(one, other, percent) for percent in (50, 95, 99)),
                *_change(found.before.graphs_nj.get(name, 0), found.after.graphs_nj.get(name, 0))[2:],
            )
        )
    header = ("pipeline", "frames", "late", "failed", "detections", "median ms", "p95 ms", "p99 ms", "mJ")
    return table(header, rows, look)


def _energy(found: Differences, look: Look) -> str:
    sides = (found.before, found.after)
    parts = []
    for what, sums in (
        ("energy by cause", [side.by_cause() for side in sides]),
        ("energy by pipeline", [{name or NO_PIPELINE: nj for name, nj in side.by_graph().items()} for side in sides]),
        ("energy by resource", [side.by_resource() for side in sides]),
    ):
        names = dict.fromkeys((*sums[0], *sums[1]))
        rows = [(name, *_change(sums[0].get(name, 0), sums[1].get(name, 0))) for name in names]
        totals = ("total", *_change(found.before.total_nj, found.after.total_nj))
        parts.append(table((what, "before mJ", "after mJ", "change"), rows, look, totals=totals))
    return "\n".join(parts)


def _change(before_nj: int, after_nj: int) -> tuple[str, str, str]:
    return millijoules(before_nj), millijoules(after_nj), _signed_mj(after_nj - before_nj)


def _counts(found: Differences, look: Look) -> str:
    graphs = list(dict.fromkeys(graph for _, graph in found.counts))
    one_has = sum(n for (kind, _), n in found.counts.items() if kind in ("only before", "only after"))
    alone = f"; {one_has} more are in one of the runs only" if one_has else ""
    text = f"{found.changed - one_has} of {found.compared} answers differ{alone}\n"
    if not found.changed:
        return text
    rows = [
        (
            kind,
            sum(found.counts.get((kind, graph), 0) for graph in graphs),
            *(found.counts.get((kind, g), 0) for g in graphs),
        )
        for kind in KINDS
        if any((kind, graph) in found.counts for graph in graphs)
    ]
    return text + "\n" + table(("differs in", "answers", *graphs), rows, look, named=True)


def _changes(found: Differences, look: Look) -> str:
    header = ("at s", "frame", "pipeline", "what changed")
    rows = [(f"{one.release_us / 1e6:g}", _frames(one), one.graph, _told(one)) for one in found.worst]
    left = found.changed - len(rows)
    more = f"the other {left}: --frames {found.changed}\n" if left else ""
    return table(header, rows, look, wrapped=True) + more


def _frames(change: Change) -> str:
    numbers = [str(side.frame) for side in (change.before, change.after) if side is not None]
    return "/".join(dict.fromkeys(numbers))


def _told(change: Change) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        return "only before" if after is None else "only after"
    texts = []
    if before.outcome != after.outcome:
        texts.append(f"{before.outcome} -> {after.outcome}")
    if before.late_us != after.late_us:
        texts.append(f"{_lateness(before)} -> {_lateness(after)}")
    elif before.latency_us != after.latency_us:
        texts.append(f"{_signed(after.latency_us - before.latency_us)} until it came")
    if before.label != after.label:
        texts.append(f"{before.label or 'no label'} -> {after.label or 'no label'}")
    if before.nj != after.nj:
        texts.append(f"{_signed_mj(after.nj - before.nj)} mJ")
    moves: dict[str, list[str]] = {}
    for stage, one, other in change.moved:
        one, other = (mode.removesuffix(" as default") for mode in (one, other))
        moves.setdefault(f"{one} -> {other}", []).append(stage)
    texts += [f"{', '.join(stages)}: {move}" for move, stages in moves.items()]
    return "; ".join(texts)


def _lateness(answer: Answer) -> str:
    return f"{duration(answer.late_us)} late" if answer.late_us else "in time"


def _both(before: int, after: int) -> str:
    return str(before) if before == after else f"{before}->{after}"


def _both_ms(before: PipelineTally, after: PipelineTally, percent: int) -> str:
    one, other = (f"{side.latency_us(percent) / 1000:.1f}" if side.answered else "-" for side in (before, after))
    arrow = " -> " if "-" in (one, other) else "->"
    return one if one == other else f"{one}{arrow}{other}"


def _signed(us: int) -> str:
    return f"{'+' if us > 0 else '-'}{duration(abs(us))}"


def _signed_mj(nj: int) -> str:
    return f"{'+' if nj > 0 else '-' if nj < 0 else ''}{millijoules(abs(nj))}"


def differences_figures(found: Differences, names: tuple[str, str], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that `differences_text` tells, as plain values."""
    return {
        "runs": list(names),
        "notes": list(notes),
        "equal": found.are_equal,
        "settings": [asdict(one) for one in found.settings],
        "before": tally_figures(found.before),
        "after": tally_figures(found.after),
        "compared": found.compared,
        "changed": found.changed,
        "counts": [{"kind": kind, "graph": graph, "answers": n} for (kind, graph), n in found.counts.items()],
        "changes": [
            {
                "graph": one.graph,
                "kinds": list(one.kinds),
                "before": _answer(one.before),
                "after": _answer(one.after),
                "moved": [{"stage": stage, "before": a, "after": b} for stage, a, b in one.moved],
            }
            for one in found.worst
        ],
    }


def _answer(answer: Answer | None) -> Mapping[str, Any] | None:
    return None if answer is None else asdict(answer)

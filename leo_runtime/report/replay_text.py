"""What a compared replay is shown as: text for people, or plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leo_runtime.errors import printable
from leo_runtime.replay.compare import Compared
from leo_runtime.replay.figures import Failure, Solving
from leo_runtime.replay.identity import Replay
from leo_runtime.report import tables as report
from leo_runtime.runtime.windows import Planning

FAILURES_SHOWN = 10
LONGEST_REASON = 300
"""How many ways to fail are shown, and how many characters of why; the log and JSON hold them whole."""

OTHERS_ALONE = "other policies placed each frame as if alone; see `--solver NAME --window 30`\n"
"""Said below the policies where the first one is placed in windows."""


def figures(compared: Compared) -> dict[str, Any]:
    """All figures as plain values: everything that `text` tells, but where files were written."""
    replayed, summary = compared.replayed, compared.replayed.summary
    return {
        "time": replayed.time,
        "policy": replayed.policy,
        "workload": replayed.workload.name,
        "hardware": replayed.hardware.name,
        "profile": replayed.profile.name,
        "recording": replayed.recording.manifest.name,
        "repairs": list(replayed.recording.repairs),
        "start_us": replayed.span.start_us,
        "end_us": replayed.span.end_us,
        "solver_on": replayed.solver_on,
        "solving": None if replayed.solver_on is None else asdict(summary.solving),
        "batch": replayed.batch,
        "ran_together": dict(summary.ran_together),
        "missing": dict(compared.missing),
        "left_out": dict(compared.left_out),
        "not_held": dict(compared.not_held),
        "planning": None if compared.planning is None else asdict(compared.planning),
        "waits_given_up": summary.waits_given_up,
        "failures": [asdict(failure) for failure in summary.failures],
        "pipelines": [asdict(line) for line in summary.pipelines],
        "processors": [{**asdict(line), "total_nj": line.total_nj} for line in summary.processors],
        "policies": [asdict(line) for line in compared.totals],
    }


def text(compared: Compared, written: Sequence[Path] = ()) -> str:
    """The tables, what failed, and where files were written."""
    replayed, summary = compared.replayed, compared.replayed.summary
    instead = "; the CPU computes what it would" if replayed.time == "virtual" else ""
    parts = [
        _title(replayed),
        *(f"not here: {name} ({why}){instead}\n" for name, why in compared.missing.items()),
        *(f"not used: {what} ({_short(why)})\n" for what, why in compared.left_out.items()),
        "\n",
        report.pipelines_table(summary.pipelines),
        "\n",
        report.processors_table(summary.processors),
    ]
    if summary.ran_together:
        ran = (f"{name} ({times} times)" for name, times in summary.ran_together.items())
        parts.append(f"ran together: {', '.join(ran)}\n")
    if compared.planning is not None:
        parts.append(_planned(compared.planning))
    if summary.waits_given_up:
        parts.append(f"gates that could not be waited for: {summary.waits_given_up}\n")
    parts += [f"not kept awake: {name} ({why})\n" for name, why in compared.not_held.items()]
    if replayed.solver_on is not None:
        parts.append(_charged(replayed.solver_on, summary.solving))
    parts += [f"mended: {repair}\n" for repair in replayed.recording.repairs]
    parts.append(_failed(summary.failures))
    if len(compared.totals) > 1:
        parts += ["\n", report.policies_table(compared.totals)]
        if compared.planning is not None:
            parts.append(OTHERS_ALONE)
    parts += ["\n", *(f"written: {path}\n" for path in written), "\n"]
    return "".join(parts)


def _planned(planning: Planning) -> str:
    """How releases came to their plans; what did not happen is left out."""
    ways = (
        (planning.looked_up, "looked up"),
        (planning.proved, "proved"),
        (planning.unproved, "the best that was found"),
        (planning.shortened, "of a shorter window"),
        (planning.alone, "placed as if alone"),
    )
    later = (
        (planning.proved_later, "proved in the background"),
        (planning.proofs_failed, "proofs in the background failed"),
    )
    parts = [f"{count} {way}" for count, way in ways if count]
    beside = [f"{count} {way}" for count, way in later if count]
    return f"plans of windows: {', '.join(parts) or 'none'}{'; ' if beside else ''}{', '.join(beside)}\n"


def _title(replayed: Replay) -> str:
    seconds = (replayed.span.end_us - replayed.span.start_us) / 1e6
    collected = f", {replayed.batch} frames at a time" if replayed.batch > 1 else ""
    where = "in virtual time" if replayed.time == "virtual" else "in real time, here"
    return (
        f"== {replayed.recording.manifest.name}, {seconds:g} s, on {replayed.hardware.name}, {where}; "
        f"profile {replayed.profile.name}, placed by {replayed.policy}{collected}\n"
    )


def _failed(failures: Sequence[Failure]) -> str:
    """What failed, a kind of failure a line; of many the most frequent."""
    lines = [f"failed {_times(one.count)}: {one.what}: {_short(one.why)}\n" for one in failures[:FAILURES_SHOWN]]
    if left := failures[FAILURES_SHOWN:]:
        lines.append(f"failed {_times(sum(one.count for one in left))} in {len(left)} other ways: see the log\n")
    return "".join(lines)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _short(text: str) -> str:
    """A text on one line, cut where it is too long to be read in a table, and with nothing that a terminal obeys."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def _charged(solver_on: str, solving: Solving) -> str:
    return (
        f"solver: {report.duration(solving.measured_us)} measured here, frames placed anew: {solving.placed_anew}, "
        f"charged to {solver_on}: {report.millijoules(solving.nj)} mJ\n"
    )

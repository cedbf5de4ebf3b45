"""What a compared replay is shown as: text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote

from leo_runtime.errors import printable
from leo_runtime.replay.compare import Compared
from leo_runtime.replay.figures import Failure, Solving
from leo_runtime.replay.identity import Replay
from leo_runtime.report import replay_tables as tables
from leo_runtime.report.layout import Energies, duration
from leo_runtime.runtime.windows import Planning
from leo_runtime.terminal import WIDE, Look, fill

FAILURES_SHOWN = 10
LONGEST_REASON = 300
"""How many ways to fail are shown, and how many characters of why; the log and JSON hold them whole."""

OTHERS_ALONE = "other policies placed each frame as if alone; see `--solver NAME --window 30`"
"""Said below the policies where the first one is placed in windows."""


def text(compared: Compared, look: Look = WIDE, written: Sequence[Path] = ()) -> str:
    """The tables, what failed, where files were written, and what to ask about them: lines never broken, to be copied.

    `written` is the files of one run's folder.
    """
    summary = compared.replayed.summary
    blocks = [
        _said(_before(compared), look),
        tables.answers_table(summary.pipelines, look),
        tables.found_table(summary.pipelines, look),
        *_energy(compared.replayed, look),
        tables.links_table(summary.links, look),
        _said(_after(compared), look),
        _policies(compared, look),
        "".join(f"written: {path}\n" for path in written)
        + "".join(f"ask: leo-runtime explain {quote(str(path.parent))}\n" for path in written[:1]),
    ]
    return "\n".join(block for block in blocks if block) + "\n"


def _of_weights(replayed: Replay) -> list[str]:
    """What is to be known of a run on a machine that loads weights."""
    if not replayed.hardware.loaders:
        return []
    where = ", ".join(loader.target for loader in replayed.hardware.loaders)
    told = "" if replayed.time == "virtual" else "; kernels have theirs from the start, so that loads are modelled"
    return [f"weights are loaded to {where}: frames are placed one by one{told}"]


def _said(lines: Iterable[str], look: Look) -> str:
    return "".join(fill(printable(line), look.columns, "  ") + "\n" for line in lines)


def _before(compared: Compared) -> list[str]:
    """What was run, and what of the machine could not be used."""
    replayed = compared.replayed
    instead = "; the CPU computes what it would" if replayed.time == "virtual" else ""
    return [
        _title(replayed),
        *([f"changed: {', '.join(replayed.changes)}"] if replayed.changes else []),
        *_of_weights(replayed),
        *(f"not here: {name} ({why}){instead}" for name, why in compared.missing.items()),
        *(f"not used: {what} ({_short(why)})" for what, why in compared.left_out.items()),
    ]


def _energies(replayed: Replay) -> Energies:
    return Energies.up_to(replayed.summary.energy.total_nj)


def _energy(replayed: Replay, look: Look) -> list[str]:
    """What resources did, and what energy was used for; where nothing costs anything, there is no more to say."""
    summary, hardware, energies = replayed.summary, replayed.hardware, _energies(replayed)
    uses = tables.uses_table(summary.processors, energies, look)
    if not summary.energy.total_nj:
        return [uses]
    processors = [one.name for one in hardware.resources]
    graphs = [graph.name for graph in replayed.workload.graphs]
    return [
        uses,
        tables.causes_table(summary.processors, processors, energies, look),
        tables.shares_table(summary.energy.by_graph, graphs, energies, look),
    ]


def _after(compared: Compared) -> list[str]:
    """How it went, and what went wrong."""
    replayed, summary = compared.replayed, compared.replayed.summary
    lines = []
    if summary.ran_together:
        ran = (f"{name} ({times} times)" for name, times in summary.ran_together.items())
        lines.append(f"ran together: {', '.join(ran)}")
    if compared.planning is not None:
        lines.append(_planned(compared.planning))
    if summary.waits_given_up:
        lines.append(f"gates that could not be waited for: {summary.waits_given_up}")
    if summary.exits:
        early = ", ".join(f"{by} ({times} times)" for by, times in summary.exits.items())
        lines.append(f"done by an exit: {early}")
    if summary.transfers_lost:
        lines.append(f"lost on the way, as a link fell or a server was gone: {summary.transfers_lost}")
    lines += [f"not kept awake: {name} ({why})" for name, why in compared.not_held.items()]
    if replayed.solver_on is not None:
        lines.append(_charged(replayed.solver_on, summary.solving, _energies(replayed)))
    lines += [f"mended: {repair}" for repair in replayed.recording.repairs]
    return [*lines, *_failed(summary.failures)]


def _policies(compared: Compared, look: Look) -> str:
    if len(compared.totals) < 2:
        return ""
    shown = tables.policies_table(compared.totals, _energies(compared.replayed), look)
    return shown if compared.planning is None else shown + _said([OTHERS_ALONE], look)


def _planned(planning: Planning) -> str:
    """How releases came to their plans; what did not happen is left out."""
    ways = (
        (planning.looked_up, "looked up"),
        (planning.proved, "proved"),
        (planning.unproved, "the best that was found"),
        (planning.shortened, "of a shorter window"),
        (planning.alone, "placed as if alone"),
        (planning.at_once, "placed by a heuristic at once"),
    )
    later = (
        (planning.proved_later, "proved in the background"),
        (planning.proofs_failed, "proofs in the background failed"),
    )
    parts = [f"{count} {way}" for count, way in ways if count]
    beside = [f"{count} {way}" for count, way in later if count]
    return f"plans of windows: {', '.join(parts) or 'none'}{'; ' if beside else ''}{', '.join(beside)}"


def _title(replayed: Replay) -> str:
    seconds = (replayed.span.end_us - replayed.span.start_us) / 1e6
    collected = f", {replayed.batch} frames at a time" if replayed.batch > 1 else ""
    where = "in virtual time" if replayed.time == "virtual" else "in real time, here"
    return (
        f"== {replayed.recording.manifest.name}, {seconds:g} s, on {replayed.hardware.name}, {where}; "
        f"profile {replayed.profile.name}, placed by {replayed.policy}{collected}"
    )


def _failed(failures: Sequence[Failure]) -> list[str]:
    """What failed, a kind of failure a line; of many the most frequent."""
    lines = [f"failed {_times(one.count)}: {one.what}: {_short(one.why)}" for one in failures[:FAILURES_SHOWN]]
    if left := failures[FAILURES_SHOWN:]:
        lines.append(f"failed {_times(sum(one.count for one in left))} in {len(left)} other ways: see the log")
    return lines


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _short(text: str) -> str:
    """A text on one line, cut where it is too long to be read in a table, and with nothing that a terminal obeys."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def _charged(solver_on: str, solving: Solving, energies: Energies) -> str:
    return (
        f"solver: {duration(solving.measured_us)} measured here, frames placed anew: {solving.placed_anew}, "
        f"charged to {solver_on}: {energies.text(solving.nj)} {energies.unit}"
    )

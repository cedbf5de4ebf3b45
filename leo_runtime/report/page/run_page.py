"""The page of one run, made of its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

from leo_runtime.documents.hardware import Hardware
from leo_runtime.frame.entries import Cause, Entry
from leo_runtime.replay.log_lines import FrameLine, RunLine
from leo_runtime.replay.log_reader import RunLog
from leo_runtime.report.layout import Energies, duration
from leo_runtime.report.page.asked import asked, origins
from leo_runtime.report.page.chosen import RULE, Chosen, chosen
from leo_runtime.report.page.elements import Markup
from leo_runtime.report.page.energy_svg import power_chart, stacked_bars
from leo_runtime.report.page.gantt import Chart, chart, run_told, span
from leo_runtime.report.page.gantt_svg import gantt_svg
from leo_runtime.report.page.latency_svg import histogram, latency_chart
from leo_runtime.report.page.render import page
from leo_runtime.report.page.run_sums import BUCKETS, NOTHING, RunSums
from leo_runtime.report.page.scales import milliseconds, seconds
from leo_runtime.report.page.tables import Cell, Table, count, table
from leo_runtime.report.replay_tables import LINK_HEADER, link_row

ALL_BARS = 1_000
"""How many bars the charts of all frames have together, but for the first one."""
MEANWHILE = 12
"""Of how many other frames that were worked on meanwhile a chart shows what they did: the nearest ones."""
ROWS = 200
"""How many rows the tables of frames and of stages have at most."""
POWER_ROWS = 40
"""In how many parts of the run the table of power tells it: a divisor of `BUCKETS`."""
HUES = 8
"""How many colours pipelines have."""


class Tile(NamedTuple):
    """One figure of the headline."""

    name: str
    figure: str
    unit: str
    says: str
    is_bad: bool = False


class FrameShown(NamedTuple):
    """A frame with its chart."""

    id: str
    option: str
    """In the list to choose from."""
    title: str
    facts: str
    svg: Markup
    answers: Table
    work: Table
    left_out: int


class LatencyShown(NamedTuple):
    """A pipeline with its histogram."""

    graph: str
    says: str
    is_bad: bool
    svg: Markup


def run_page(log: RunLog, name: str, frames: Sequence[int] = ()) -> str:
    """The page of a run that is called `name`, with charts of these `frames`, by number; of none: of those chosen.

    Raises `InputError` for a frame that is not in the log, `DocumentError` where it is damaged, and
    `MissingExtraError`.
    """
    sums = RunSums(log)
    head = log.head
    hardware = head.hardware if isinstance(head, RunLine) else None
    energies = Energies.up_to(sums.tally.total_nj)
    hues = _hues(log, sums)
    charts = _charts(log, sums, [log.position(number) for number in frames], hardware)
    shown = [_frame_shown(one, sums, log, hues) for one in charts]
    rows, left_out = _frame_rows(log, sums, {log.position(one.frame.frame) for one in charts})
    causes = [cause for cause in _CAUSES if any(cause in parts for parts in sums.by_resource.values())]
    return page(
        "run.html",
        name=name,
        title=_title(log),
        subtitle=_subtitle(log),
        warnings=_warnings(log, sums),
        tiles=_tiles(log, sums, energies),
        pairs=asked(head),
        origins=origins(head, sums, energies),
        rule=RULE,
        frame_count=len(log.numbers),
        frames=shown,
        first=_first(charts),
        has_planned=any(bar.kind == "planned" for drawn in charts for bar in drawn.bars),
        asked_for=bool(frames),
        hues=hues,
        causes=causes,
        power=power_chart("power", sums.power_nj, causes, sums.end_us, sums.missed),
        energy_by_resource=stacked_bars(
            "by-resource", "Energy by resource and cause", sums.by_resource, energies, sums.tally.total_nj
        ),
        energy_by_graph=stacked_bars(
            "by-pipeline", "Energy by pipeline and cause", sums.by_graph, energies, sums.tally.total_nj
        ),
        energy_by_cause=stacked_bars(
            "by-cause",
            "Energy by cause",
            {cause: {cause: nj} for cause, nj in sums.tally.by_cause().items()},
            energies,
            sums.tally.total_nj,
        ),
        energy_tables=(
            _energy_table("energy-resources", "Energy by resource and cause", sums.by_resource, causes, energies),
            _energy_table("energy-pipelines", "Energy by pipeline and cause", sums.by_graph, causes, energies),
            _power_table(sums, causes),
        ),
        latencies=_latencies(sums, hues),
        pipelines=_pipelines_table(sums, hues, energies),
        stages=_stages_table(sums, energies),
        failures=_failures_table(log, sums),
        links=_links_table(log),
        frame_rows=rows,
        frame_rows_left_out=left_out,
    )


_CAUSES: tuple[str, ...] = get_args(Cause)


def _title(log: RunLog) -> str:
    head = log.head
    if isinstance(head, RunLine):
        return f"{head.workload.name} on {head.hardware.name}"
    return f"{head.workload} on {head.hardware}"


def _subtitle(log: RunLog) -> str:
    head = log.head
    when = "in virtual time" if head.time == "virtual" else "in real time"
    recording = head.recording.name if isinstance(head, RunLine) else head.recording
    return f"{seconds(head.end_us - head.start_us)} s of {recording}, {when}, placed by {head.policy}"


def _warnings(log: RunLog, sums: RunSums) -> list[str]:
    """What a reader must know before any figure."""
    found = []
    if log.cut:
        found.append(f"The run is not whole: {log.cut}. All figures are of what is there.")
    if log.missing:
        found.append(f"The log does not hold {'; '.join(log.missing)}.")
    found += [
        f"The run was interrupted, and went on at {seconds(one.at_us)} s; {one.lost} frames were lost."
        for one in log.resumed
    ]
    if sums.waits_given_up:
        found.append(f"{sums.waits_given_up} gates were not waited for as planned.")
    return found


def _hues(log: RunLog, sums: RunSums) -> dict[str, int]:
    """The number of each pipeline's colour."""
    named = [graph.name for graph in log.head.workload.graphs] if isinstance(log.head, RunLine) else []
    return {graph: k % HUES for k, graph in enumerate(dict.fromkeys([*named, *sums.answers]))}


def _tiles(log: RunLog, sums: RunSums, energies: Energies) -> list[Tile]:
    tally = sums.tally
    due = sum(line.frames for line in tally.pipelines.values())
    answered = sum(line.answered for line in tally.pipelines.values())
    closed = due - answered - tally.failed
    power_mw = tally.total_nj / sums.end_us
    worst_us = max((us for us in sums.late_us if us != NOTHING), default=0)
    proved = sums.statuses.get("optimal", 0)
    if worst_us > 0:
        nearest = f"the worst by {duration(worst_us)}"
    else:
        nearest = f"the nearest {duration(-worst_us)} before its deadline" if due > tally.failed else ""
    power = f"{power_mw:,.4g} mW on average{_battery(log, power_mw)}"
    skipped = f"{tally.skipped:,} frames skipped"
    return [
        Tile("energy", energies.text(tally.total_nj), energies.unit, power),
        Tile("answered", f"{answered:,}", f"of {due:,}", f"{closed:,} ended by a gate: nothing to answer"),
        Tile("late", f"{tally.late:,}", _share(tally.late, due), nearest, tally.late > 0),
        Tile("failed", f"{tally.failed:,}", _share(tally.failed, due), skipped, tally.failed > 0),
        Tile("frames", f"{tally.frames:,}", "", f"{proved:,} placed with proof that nothing is better"),
    ]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if part and whole else ""


def _battery(log: RunLog, power_mw: float) -> str:
    if not isinstance(log.head, RunLine) or not log.head.hardware.battery_nj or not power_mw:
        return ""
    return f": a full battery for {log.head.hardware.battery_nj / power_mw / 3.6e9:,.1f} h"


def _charts(log: RunLog, sums: RunSums, asked_for: Sequence[int], hardware: Hardware | None) -> list[Chart]:
    """The charts of the frames that are chosen, in the order of their releases, as many as there is room for."""
    wanted = chosen(sums, asked_for)
    spans = {one.position: span(log.at(one.position)) for one in wanted}
    entries = _entries_within(log, spans)
    found: list[Chart] = []
    bars = 0
    for rank, one in enumerate(wanted):
        others = [log.at(position) for position in _meanwhile(sums, one, *spans[one.position])]
        drawn = chart(log.at(one.position), rank, one.why, others, entries[one.position], hardware)
        if found and bars + len(drawn.bars) > ALL_BARS and not asked_for:
            break
        bars += len(drawn.bars)
        found.append(drawn)
    return sorted(found, key=lambda drawn: (drawn.frame.release_us, drawn.frame.frame))


def _first(charts: Sequence[Chart]) -> str:
    """The id of the frame that is shown first: the one that was chosen first."""
    best = min(charts, key=lambda drawn: drawn.rank, default=None)
    return "" if best is None else f"frame-{best.frame.frame}"


def _entries_within(log: RunLog, spans: Mapping[int, tuple[int, int]]) -> dict[int, list[Entry]]:
    """Of each span by its key, the entries of energy that are drawn in it, found in one reading."""
    found: dict[int, list[Entry]] = {key: [] for key in spans}
    for entry in log.standing_entries():
        ends_us = max(entry.until_us, entry.at_us + 1)
        for key, (from_us, until_us) in spans.items():
            if entry.at_us < until_us and ends_us > from_us:
                found[key].append(entry)
    return found


def _meanwhile(sums: RunSums, one: Chosen, from_us: int, until_us: int) -> list[int]:
    """The positions of other frames that were worked on in that time, the nearest ones."""
    found = [
        at
        for at in range(len(sums.nj))
        if at != one.position and sums.from_us[at] < until_us and sums.until_us[at] > from_us
    ]
    return sorted(sorted(found, key=lambda at: (abs(at - one.position), at))[:MEANWHILE])


def _frame_shown(drawn: Chart, sums: RunSums, log: RunLog, hues: Mapping[str, int]) -> FrameShown:
    frame = drawn.frame
    frame_id = f"frame-{frame.frame}"
    at = f"{seconds(frame.release_us)} s"
    proof = {
        "optimal": "proved the best",
        "feasible": "not proved the best",
        "infeasible": "proved that nothing keeps the rules",
        "unplaced": "not placed",
    }[frame.status]
    nj = sums.nj[log.position(frame.frame)]
    facts = [f"chosen: {drawn.why}", proof, f"{_millijoules(nj)} mJ for its runs and transfers"]
    if frame.admitted_us is not None and frame.admitted_us > frame.release_us:
        facts.append(f"began {milliseconds(frame.admitted_us - frame.release_us)} ms after its release")
    if frame.reason:
        facts.append(frame.reason[:300])
    return FrameShown(
        id=frame_id,
        option=f"frame {frame.frame}, {at}: {drawn.why}",
        title=f"Frame {frame.frame}, released at {at}",
        facts="; ".join(facts),
        svg=gantt_svg(drawn, f"{frame_id}-chart", hues),
        answers=_answers_table(frame, frame_id),
        work=_work_table(frame, frame_id),
        left_out=drawn.left_out,
    )


def _answers_table(frame: FrameLine, frame_id: str) -> Table:
    rows = []
    for seen in frame.graphs:
        late_us = seen.end_us - seen.deadline_us
        failed = seen.outcome == "failed"
        rows.append(
            (
                f"{seen.graph} #{seen.number}" if seen.number else seen.graph,
                Cell({"done": "answered", "cancelled": "ended by a gate"}.get(seen.outcome, "failed"), None,
                     "bad" if failed else ""),
                "" if seen.label is None else seen.label,
                Cell("never" if failed else milliseconds(seen.end_us - seen.release_us), seen.end_us - seen.release_us),
                Cell(milliseconds(seen.deadline_us - seen.release_us), seen.deadline_us - seen.release_us),
                Cell("never" if failed else milliseconds(-late_us), -late_us, "bad" if failed or late_us > 0 else ""),
            )
        )  # fmt: skip
    header = ("pipeline", "outcome", "label", "after ms", "allowed ms", "to spare ms")
    return table(f"{frame_id}-answers", "Its answers", header, rows[:ROWS], note=_more(rows))


def _work_table(frame: FrameLine, frame_id: str) -> Table:
    """The same as the chart of a frame: its stages and transfers, in the order in which they began."""
    found: list[tuple[int, tuple[Cell | str, ...]]] = []
    for run in frame.stages:
        ran = run.end_us > run.start_us or run.outcome == "done"
        times = (run.start_us, run.end_us) if ran else (run.planned_start_us, run.planned_end_us)
        outcome = Cell(run.outcome, None, "bad" if run.outcome == "failed" else "")
        told: tuple[Cell | str, ...]
        told = (run.stage, run_told(run), outcome, *_when(times, frame), _energy(run.nj), ", ".join(run.graphs))
        found.append((times[0], told))
    for send in frame.transfers:
        times = (send.start_us, send.arrive_us)
        where = f"{send.source} → {send.target}" + (f" by {send.resource}" if send.resource else "")
        whose = ", ".join(send.graphs)
        told = (f"output of {send.stage}", where, "sent", *_when(times, frame), _energy(send.nj), whose)
        found.append((times[0], told))
    rows = [row for _, row in sorted(found, key=lambda one: one[0])]
    header = ("what", "where", "outcome", "from ms", "until ms", "took ms", "mJ", "for")
    return table(f"{frame_id}-work", "What ran and was sent", header, rows[:ROWS], note=_more(rows))


def _more(rows: Sequence[object]) -> str:
    return f"and {len(rows) - ROWS:,} more" if len(rows) > ROWS else ""


def _when(times: tuple[int, int], frame: FrameLine) -> tuple[Cell, ...]:
    us = (times[0] - frame.release_us, times[1] - frame.release_us, times[1] - times[0])
    return tuple(Cell(milliseconds(one), one) for one in us)


def _millijoules(nj: int) -> str:
    return f"{nj / 1e6:,.4g}"


def _energy(nj: int) -> Cell:
    return Cell(_millijoules(nj), nj)


def _energy_table(
    table_id: str, caption: str, parts: Mapping[str, Mapping[str, int]], causes: Sequence[str], energies: Energies
) -> Table:
    def row(name: str, of: Mapping[str, int]) -> tuple[Cell | str, ...]:
        total = sum(of.values())
        cells = [Cell(energies.text(of.get(cause, 0)), of.get(cause, 0)) for cause in causes]
        return (name, *cells, Cell(energies.text(total), total))

    ordered = sorted(parts, key=lambda name: (-sum(parts[name].values()), name))
    sums = {cause: sum(of.get(cause, 0) for of in parts.values()) for cause in causes}
    rows = [row(name or "no pipeline", parts[name]) for name in ordered[:ROWS]]
    header = (f"energy {energies.unit}", *causes, "total")
    return table(table_id, caption, header, rows, row("total", sums), _more(ordered))


def _power_table(sums: RunSums, causes: Sequence[str]) -> Table:
    """The same as the chart of power, in fewer parts."""
    together = BUCKETS // POWER_ROWS
    part_us = sums.end_us / POWER_ROWS
    rows = []
    for k in range(POWER_ROWS):
        parts = slice(k * together, (k + 1) * together)
        powers_mw = [sum(sums.power_nj.get(cause, ())[parts]) / part_us for cause in causes]
        cells = [Cell(f"{mw:,.4g}", mw) for mw in (*powers_mw, sum(powers_mw))]
        missed = count(sum(sums.missed[parts]), is_bad=True)
        rows.append((Cell(seconds(k * part_us), k * part_us), *cells, missed))
    header = ("from s", *(f"{cause} mW" for cause in causes), "total mW", "late or failed")
    return table("power-table", "Power over time", header, rows)


def _latencies(sums: RunSums, hues: Mapping[str, int]) -> list[LatencyShown]:
    found = []
    for k, graph in enumerate([graph for graph in hues if graph in sums.answers][:ROWS]):
        answers = sums.answers[graph]
        line = sums.tally.pipelines[graph]
        counted = histogram(answers.done_us, answers.closed_us, answers.deadline_us)
        p50, p99 = line.latency_us(50), line.latency_us(99)
        says = f"{line.answered:,} answers" + (
            f", half within {milliseconds(p50)} ms, 99 % within {milliseconds(p99)} ms" if line.answered else ""
        )
        if line.late or line.failed:
            says += f"; {line.late:,} late, {line.failed:,} failed"
        svg = latency_chart(f"latency-{k}", graph, counted, answers.deadline_us, hues[graph])
        found.append(LatencyShown(graph, says, bool(line.late or line.failed), svg))
    return found


def _pipelines_table(sums: RunSums, hues: Mapping[str, int], energies: Energies) -> Table:
    rows: list[tuple[Cell | str, ...]] = []
    for graph in [graph for graph in hues if graph in sums.answers][:ROWS]:
        line = sums.tally.pipelines[graph]
        nj = sums.tally.graphs_nj.get(graph, 0)
        times = [line.latency_us(part) for part in (50, 95, 99, 100)]
        deadline_us = sums.answers[graph].deadline_us
        rows.append(
            (
                graph,
                count(line.frames),
                count(line.answered),
                count(line.late, is_bad=True),
                count(line.failed, is_bad=True),
                count(line.detections),
                *(Cell(milliseconds(us) if line.answered else "", us) for us in times),
                Cell(milliseconds(deadline_us), deadline_us),
                Cell(energies.text(nj), nj),
            )
        )
    counted = ("pipeline", "due", "answered", "late", "failed", "with a label")
    header = (*counted, "median ms", "95 % ms", "99 % ms", "worst ms", "allowed ms", f"energy {energies.unit}")
    return table("pipelines-table", "What pipelines answered", header, rows)


def _stages_table(sums: RunSums, energies: Energies) -> Table:
    rows = []
    for (stage, resource, variant), runs in sorted(sums.runs.items(), key=lambda item: (-item[1].nj, item[0])):
        mean_us = runs.us / runs.done if runs.done else 0
        factor = runs.us / runs.expected_us if runs.expected_us else 1
        rows.append(
            (
                stage,
                resource,
                variant,
                count(runs.done),
                count(runs.cancelled),
                count(runs.failed, is_bad=True),
                Cell(milliseconds(mean_us) if runs.done else "", mean_us),
                Cell(f"{factor:.2f}" if runs.done else "", factor),
                Cell(energies.text(runs.nj), runs.nj),
            )
        )
    header = (
        "stage",
        "on",
        "variant",
        "done",
        "cancelled",
        "failed",
        "mean ms",
        "times expected",
        f"energy {energies.unit}",
    )
    return table("stages-table", "Where stages ran, and what they took", header, rows[:ROWS], note=_more(rows))


def _failures_table(log: RunLog, sums: RunSums) -> Table:
    failures = sorted(sums.failures.values(), key=lambda one: (-one.count, one.position))[:20]
    rows = [
        (count(one.count), Cell(str(number := log.numbers[one.position]), number), one.why[:300]) for one in failures
    ]
    return table("failures-table", "Why answers failed", ("answers", "first in frame", "why"), rows)


def _links_table(log: RunLog) -> Table:
    """What was thought of links, and how far off that was; without rows where nothing was sent over any."""
    known = () if log.end is None else log.end.links
    return table("links-table", "What was known of links", LINK_HEADER, [link_row(one) for one in known[:ROWS]])


def _frame_rows(log: RunLog, sums: RunSums, charted: set[int]) -> tuple[Table, int]:
    """Frames that have charts, then those that were late or failed, the worst first, then the others."""
    every = range(len(sums.nj))
    order = sorted(every, key=lambda at: (at not in charted, -sums.failed[at], -sums.late_us[at], at))[:ROWS]
    rows = []
    for at in sorted(order, key=lambda at: (log.releases_us[at], log.numbers[at])):
        number, late_us = log.numbers[at], sums.late_us[at]
        spare = Cell("", -(1 << 62)) if late_us == NOTHING else Cell(milliseconds(-late_us), -late_us)
        rows.append(
            (
                Cell(str(number), number, "", f"frame-{number}" if at in charted else ""),
                Cell(seconds(log.releases_us[at]), log.releases_us[at]),
                spare._replace(mark="bad" if late_us > 0 else ""),
                count(sums.failed[at], is_bad=True),
                Cell(milliseconds(sums.until_us[at] - log.releases_us[at]), sums.until_us[at] - log.releases_us[at]),
                _energy(sums.nj[at]),
            )
        )
    header = ("frame", "released s", "to spare ms", "failed", "over after ms", "mJ")
    return table("frames-table", "Frames", header, rows), len(every) - len(order)

"""What a placement is expected to cost, entry by entry.

**Of a frame**: what the rules 2, 4 and 6 of `docs/placement-problem.md` charge. **Of a window**: rule 6 of
`docs/window-problem.md`, each cost times its likelihood, rounded up as a whole: the parts of a span (waking, being
awake, lingering) are rounded so that they add up to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from leo_runtime.documents.problem import Placement, Problem, Question
from leo_runtime.documents.window import CERTAIN, Span, WindowPlacement, WindowProblem, WindowResource
from leo_runtime.errors import InputError
from leo_runtime.frame.entries import Cause, Entry, Ledger, all_graphs, in_order
from leo_runtime.judge import check
from leo_runtime.judge.frame import CheckReport
from leo_runtime.judge.window import check_window, gates_of


def ledger(
    problem: Problem | WindowProblem,
    placement: Placement | WindowPlacement,
    graphs: Mapping[str, Sequence[str]] | None = None,
) -> Ledger:
    """What a placement is expected to cost, of a frame or of a window: the total is exactly its `energy`.

    `graphs` of each stage; without, nothing belongs to a graph. Raises `InputError` where the placement breaks a rule
    of the problem, or is of the other format.
    """
    if isinstance(problem, WindowProblem):
        window = cast("WindowPlacement", placement)  # Its judge says what it is if it is none.
        _require_valid(problem, check_window(problem, window), "leo_runtime.check_window")
        return in_order(_window_entries(problem, window, graphs or {}))
    frame = cast("Placement", placement)
    _require_valid(problem, check(problem, frame), "leo_runtime.check")
    return in_order(_frame_entries(problem, frame, graphs or {}))


def _require_valid(problem: Question, report: CheckReport, judge: str) -> None:
    if report.violations:
        raise InputError(
            f"`{problem.name}`: the placement breaks a rule ({report.violations[0]})",
            hint=f"`{judge}(problem, placement)` names every broken rule",
        )


def _frame_entries(problem: Problem, placement: Placement, graphs: Mapping[str, Sequence[str]]) -> list[Entry]:
    modes = {(s.name, m.resource, m.variant): m for s in problem.stages for m in s.modes}
    links = {(link.source, link.target): link for link in problem.links}
    of = {stage: tuple(names) for stage, names in graphs.items()}
    runs = {run.stage: modes[run.stage, run.resource, run.variant] for run in placement.stages}
    entries: list[Entry] = []
    uses: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for run in placement.stages:
        shared = of.get(run.stage, ())
        nj = runs[run.stage].energy_nj
        entries.append(Entry(run.start_us, run.end_us, nj, "run", run.resource, 0, run.stage, shared))
        uses.setdefault(run.resource, []).append((run.end_us, shared))
    for send in placement.transfers:
        link, shared, size = links[send.source, send.target], of.get(send.stage, ()), runs[send.stage].output_bytes
        where = link.resource or f"{send.source} -> {send.target}"
        sent_us = send.start_us + link.sending_us(size)
        entries.append(Entry(send.start_us, sent_us, link.sending_nj(size), "transfer", where, 0, send.stage, shared))
        if link.resource is not None:
            uses.setdefault(link.resource, []).append((sent_us, shared))
    for resource in problem.resources:
        if resource.name not in uses:
            continue
        users = all_graphs(shared for _, shared in uses[resource.name])
        last_us = max(end_us for end_us, _ in uses[resource.name])
        if not resource.awake:
            entries.append(Entry(0, 0, resource.wake_energy_nj, "wake-up", resource.name, 0, "", users))
        entries.append(Entry(0, last_us, resource.awake_mw * last_us, "awake", resource.name, 0, "", users))
    return entries


def _window_entries(
    problem: WindowProblem, placement: WindowPlacement, graphs: Mapping[str, Sequence[str]]
) -> Iterator[Entry]:
    stages = {stage.name: stage for stage in problem.stages}
    modes = {(s.name, m.resource, m.variant): m for s in problem.stages for m in s.modes}
    runs = {run.stage: modes[run.stage, run.resource, run.variant] for run in placement.stages}
    links = {(link.source, link.target): link for link in problem.links}
    of = {stage: tuple(names) for stage, names in graphs.items()}
    gates = gates_of(problem)
    uses: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for run in placement.stages:
        shared, likely_ppm = of.get(run.stage, ()), stages[run.stage].chance_ppm
        nj = _likely(runs[run.stage].energy_nj, likely_ppm)
        yield Entry(run.start_us, run.end_us, nj, "run", run.resource, 0, run.stage, shared)
        uses.setdefault(run.resource, []).append((run.start_us, shared))
    for row in placement.transfers:
        link, shared = links[row.source, row.target], of.get(row.stage, ())
        likely_ppm = gates.likelihood_ppm(row.after) if row.after else stages[row.stage].chance_ppm
        where = link.resource or f"{row.source} -> {row.target}"
        size = runs[row.stage].output_bytes
        nj, sent_us = _likely(link.sending_nj(size), likely_ppm), row.start_us + link.sending_us(size)
        yield Entry(row.start_us, sent_us, nj, "transfer", where, 0, row.stage, shared)
        uses.setdefault(where, []).append((row.start_us, shared))
    radios = {link.resource for link in problem.links}
    for resource in problem.resources:
        tail: Cause = "radio tail" if resource.name in radios else "idle tail"
        spans = [span for span in placement.spans if span.resource == resource.name]
        for number, span in enumerate(spans):
            inside = (g for at_us, g in uses.get(resource.name, ()) if span.from_us <= at_us <= span.until_us)
            begins_awake = number == 0 and resource.awake
            likely_ppm = gates.likelihood_ppm(span.after) if span.after else CERTAIN
            parts = _span_parts(problem, resource, span, tail, begins_awake=begins_awake)
            yield from _rounded(parts, likely_ppm, resource.name, all_graphs(inside))


def _span_parts(
    problem: WindowProblem, resource: WindowResource, span: Span, tail: Cause, *, begins_awake: bool
) -> list[tuple[int, int, Cause, int]]:
    """What a span costs if it happens: from when to when, why and how much."""
    if resource.linger_us is None:
        return [(0, problem.horizon_us, "awake", resource.awake_mw * problem.horizon_us)]
    over_us = span.until_us + resource.linger_us
    if begins_awake:
        over_us = max(over_us if span.until_us else 0, resource.awake_until_us)
    tail_us = max(0, min(over_us, problem.horizon_us) - span.until_us)
    return [
        (span.from_us, span.from_us, "wake-up", 0 if begins_awake else resource.wake_energy_nj),
        (span.from_us, span.until_us, "awake", resource.awake_mw * (span.until_us - span.from_us)),
        (span.until_us, span.until_us + tail_us, tail, resource.lingering_mw * tail_us),
    ]


def _rounded(
    parts: Sequence[tuple[int, int, Cause, int]], likely_ppm: int, resource: str, graphs: tuple[str, ...]
) -> Iterator[Entry]:
    """Costs times one likelihood, so that their sum is that of all of them, rounded up."""
    whole_nj = charged_nj = 0
    for at_us, until_us, cause, nj in parts:
        whole_nj += nj
        due_nj = _likely(whole_nj, likely_ppm)
        yield Entry(at_us, until_us, due_nj - charged_nj, cause, resource, 0, "", graphs)
        charged_nj = due_nj


def _likely(nj: int, likely_ppm: int) -> int:
    return -(-nj * likely_ppm // CERTAIN)

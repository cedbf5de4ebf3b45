"""What the choices of a window's answer do to its bill: gates, transfers that wait, spans, holding, tails.

Each is compared with its alternative while everything else stays as it is: the same modes, times and other spans. So
the differences say what one choice is worth in this answer, in energy as the judge counts it; they do not add up, and a
better answer may change several at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from leo_runtime.documents.problem import Link, Mode, StageRun
from leo_runtime.documents.window import (
    CERTAIN,
    Span,
    WindowPlacement,
    WindowProblem,
    WindowResource,
    WindowTransfer,
)
from leo_runtime.solver.gates import Gates, share

ChoiceKind = Literal["gate", "transfer", "span", "hold", "tail", "rest", "always"]
"""`hold` and `tail` are parts of the `span` before them, where that begins with waking. `rest` is lingering that the
window finds, and `always` what never sleeps: no choice of the answer's, but of its bill."""


@dataclass(frozen=True, slots=True)
class Worth:
    """A choice and its alternative. `what` is the stage, the transfer or the resource it is about.

    `energy_nj` is what it costs as placed, and `other_nj` what it would cost otherwise, both on average; None where
    there is no other way. Of a gate they are what is behind it, and the same if the gate always opened.
    """

    kind: ChoiceKind
    what: str
    energy_nj: int
    other_nj: int | None
    text: str
    stages: tuple[str, ...] = ()
    """The stages that have to do with it."""


@dataclass(frozen=True, slots=True)
class _Use:
    """Something that uses a resource."""

    start_us: int
    end_us: int
    stage: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """A question and a valid answer with everything looked up once."""

    problem: WindowProblem
    placement: WindowPlacement
    gates: Gates
    chances: dict[str, int]
    runs: dict[str, StageRun]
    modes: dict[str, Mode]
    links: dict[tuple[str, str], Link]

    @staticmethod
    def of(problem: WindowProblem, placement: WindowPlacement) -> _Answer:
        runs = {run.stage: run for run in placement.stages}
        return _Answer(
            problem,
            placement,
            Gates.of(problem),
            {stage.name: stage.chance_ppm for stage in problem.stages},
            runs,
            {
                stage.name: next(
                    mode
                    for mode in stage.modes
                    if (mode.resource, mode.variant) == (runs[stage.name].resource, runs[stage.name].variant)
                )
                for stage in problem.stages
            },
            {(link.source, link.target): link for link in problem.links},
        )

    def spans(self, resource: WindowResource) -> list[Span]:
        return [span for span in self.placement.spans if span.resource == resource.name]

    def uses(self, resource: WindowResource) -> list[_Use]:
        """What uses a resource, by start."""
        found = [
            _Use(run.start_us, run.end_us, run.stage) for run in self.placement.stages if run.resource == resource.name
        ]
        for row in self.placement.transfers:
            link = self.links[row.source, row.target]
            if link.resource == resource.name:
                sent_us = row.start_us + link.sending_us(self.modes[row.stage].output_bytes)
                found.append(_Use(row.start_us, sent_us, row.stage))
        return sorted(found, key=lambda use: (use.start_us, use.end_us))

    def chance_ppm(self, after: tuple[str, ...]) -> int:
        return self.gates.likelihood_ppm(after) if after else CERTAIN


def choices(problem: WindowProblem, placement: WindowPlacement) -> tuple[Worth, ...]:
    """What each choice of a valid answer is worth: gates, then transfers, then the spans of each resource."""
    answer = _Answer.of(problem, placement)
    found = [*_gates(answer), *_transfers(answer)]
    for resource in problem.resources:
        if resource.linger_us is not None:
            found += _spans(answer, resource)
        elif resource.awake_mw:
            nj = resource.awake_mw * problem.horizon_us
            found.append(Worth("always", resource.name, nj, None, f"{resource.name} never sleeps: {nj} nJ"))
    return tuple(found)


def _gates(answer: _Answer) -> Iterator[Worth]:
    for gate, opens_ppm in answer.gates.opens_ppm.items():
        behind = [name for name, gates in answer.gates.behind.items() if gate in gates]
        full = sum(answer.modes[name].energy_nj for name in behind)
        counted = sum(share(answer.modes[name].energy_nj, answer.chances[name]) for name in behind)
        some = ", ".join(behind) if behind else "nothing alone"
        text = f"{gate} opens {_times(opens_ppm)}; behind it: {some}, counted as {counted} of {full} nJ"
        yield Worth("gate", gate, counted, full, text, (gate, *behind))


def _transfers(answer: _Answer) -> Iterator[Worth]:
    for row in answer.placement.transfers:
        nj = answer.links[row.source, row.target].sending_nj(answer.modes[row.stage].output_bytes)
        at_once = share(nj, answer.chances[row.stage])
        ready_us = answer.runs[row.stage].end_us
        readers = _readers(answer, row)
        stages = (row.stage, *readers)
        sent = f"the output of {row.stage} is sent from {row.source} to {row.target}"
        if row.after:
            cost = share(nj, answer.chance_ppm(row.after))
            waited = f"{row.start_us - ready_us} us after it is there"
            text = f"{sent} only after {_listed(row.after)}, {waited}: {cost} nJ, {at_once} nJ at once"
            yield Worth("transfer", f"{row.stage} -> {row.target}", cost, at_once, text, stages)
            continue
        others = [after for after in _lists(answer, readers) if after]
        if not others:
            continue
        best = min(others, key=lambda after: (answer.chance_ppm(after), after))
        cost = share(nj, answer.chance_ppm(best))
        open_us = max(answer.runs[gate].end_us for gate in best)
        text = (
            f"{sent} at once, at {row.start_us} us: {at_once} nJ; after {_listed(best)}, not before {open_us} us, "
            f"{cost} nJ"
        )
        yield Worth("transfer", f"{row.stage} -> {row.target}", at_once, cost, text, stages)


def _readers(answer: _Answer, row: WindowTransfer) -> list[str]:
    """The stages that read a transfer at its target."""
    return [
        stage.name
        for stage in answer.problem.stages
        if row.stage in stage.inputs and answer.runs[stage.name].resource == row.target
    ]


def _lists(answer: _Answer, readers: list[str]) -> Iterator[tuple[str, ...]]:
    """The lists that a transfer to these readers could wait for: of each depth, the gates that each is behind."""
    chains = [
        sorted(answer.gates.behind[reader], key=lambda gate: len(answer.gates.behind[gate])) for reader in readers
    ]
    if all(chains):
        for depth in range(max(len(chain) for chain in chains)):
            yield tuple(dict.fromkeys(chain[min(depth, len(chain) - 1)] for chain in chains))


def _spans(answer: _Answer, resource: WindowResource) -> Iterator[Worth]:
    uses = answer.uses(resource)
    for i, span in enumerate(answer.spans(resource)):
        first = resource.awake and i == 0
        inside = [use for use in uses if span.from_us <= use.start_us and use.end_us <= span.until_us]
        found = [] if first else [_waking(answer, resource, span, inside)]
        found += _holds(answer, resource, span, inside, first=first)
        found += _tail(answer, resource, span, first=first, used=bool(inside))
        stages = tuple(dict.fromkeys(use.stage for use in inside))
        yield from (replace(worth, stages=stages) for worth in found)


def _counted(nj: int, *, first: bool) -> str:
    """What a part of a span costs: of one that begins with waking, the span's own line has it too."""
    return f"{nj} nJ" if first else f"{nj} nJ, counted above"


def _waking(answer: _Answer, resource: WindowResource, span: Span, inside: list[_Use]) -> Worth:
    """A span that begins with waking: as likely as its list, or certain."""
    full = _span_nj(answer, resource, span)
    waking = f"{resource.name} wakes for {span.from_us} to {span.until_us} us"
    if not span.after:
        could = list(_lists(answer, [use.stage for use in inside]))
        if not could:
            return Worth("span", resource.name, full, None, f"{waking} in any case: {full} nJ")
        best = min(could, key=lambda after: (answer.chance_ppm(after), after))
        cost = share(full, answer.chance_ppm(best))
        awake_us = min(answer.runs[gate].end_us for gate in best) + resource.wake_latency_us
        text = f"{waking} in any case: {full} nJ; only after {_listed(best)}, not before {awake_us} us, {cost} nJ"
        return Worth("span", resource.name, full, cost, text)
    likely = _times(answer.chance_ppm(span.after))
    cost = share(full, answer.chance_ppm(span.after))
    text = f"{waking} only after {_listed(span.after)}, {likely}: {cost} nJ, {full} nJ in any case"
    return Worth("span", resource.name, cost, full, text)


def _span_nj(answer: _Answer, resource: WindowResource, span: Span) -> int:
    """What a span that begins with waking costs if it happens."""
    over_us = min(span.until_us + (resource.linger_us or 0), answer.problem.horizon_us)
    cost = resource.wake_energy_nj + resource.awake_mw * (span.until_us - span.from_us)
    return cost + resource.lingering_mw * max(0, over_us - span.until_us)


def _holds(
    answer: _Answer, resource: WindowResource, span: Span, inside: list[_Use], *, first: bool
) -> Iterator[Worth]:
    """Gaps within a span in which the resource would have fallen asleep, and what sleeping there would cost instead."""
    releases, linger_us = answer.problem.releases_us, resource.linger_us or 0
    chance = answer.chance_ppm(span.after)
    until_us = 0
    for before, use in pairwise(inside):
        until_us = max(until_us, before.end_us)
        gap_us = use.start_us - until_us
        if gap_us <= linger_us:
            continue
        cost = share(resource.awake_mw * gap_us, chance)
        held = f"{resource.name} is held awake from {until_us} to {use.start_us} us: {_counted(cost, first=first)}"
        k = bisect_right(releases, use.start_us - resource.wake_latency_us) - 1
        if releases[k] < until_us + linger_us or use.start_us < resource.wake_latency_us:
            yield Worth("hold", resource.name, cost, None, f"{held}; no release comes in time to wake it again")
            continue
        other = resource.lingering_mw * linger_us + resource.wake_energy_nj
        other = share(other + resource.awake_mw * (use.start_us - releases[k]), chance)
        yield Worth(
            "hold", resource.name, cost, other, f"{held}; asleep until the release at {releases[k]} us {other} nJ"
        )


def _tail(answer: _Answer, resource: WindowResource, span: Span, *, first: bool, used: bool) -> Iterator[Worth]:
    """The lingering after a span; of one that begins awake, what an earlier one left."""
    horizon_us = answer.problem.horizon_us
    over_us = span.until_us + (resource.linger_us or 0) if used or not first else 0
    kind: ChoiceKind = "tail"
    if first and resource.awake_until_us >= over_us:
        over_us, kind = resource.awake_until_us, "rest"
    lasts_us = min(over_us, horizon_us) - span.until_us
    if lasts_us <= 0 or resource.lingering_mw == 0:
        return
    cost = share(resource.lingering_mw * lasts_us, answer.chance_ppm(span.after))
    why = "from an earlier use" if kind == "rest" else "after its last use"
    text = f"{resource.name} lingers {why}, from {span.until_us} us for {lasts_us} us: {_counted(cost, first=first)}"
    if over_us > horizon_us:
        text += f"; the {over_us - horizon_us} us after the horizon are not charged"
    yield Worth(kind, resource.name, cost, None, text)


def _listed(gates: tuple[str, ...]) -> str:
    return f"{' or '.join(gates)} opens"


def _times(chance_ppm: int) -> str:
    return f"in {chance_ppm / 10_000:g} % of runs"

"""The independent judge of a window's answer: recomputes every criterion from `docs/window-problem.md` alone.

Like the judge of a frame's answer it shares no code with any solver, and no answer can make it fail. Rules have the
numbers of that page; rule 2 is the one of spans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from leo_runtime.documents.problem import Criteria, Link, Mode, StageRun
from leo_runtime.documents.window import (
    CERTAIN,
    Span,
    WindowPlacement,
    WindowProblem,
    WindowResource,
    WindowTransfer,
)
from leo_runtime.judge.frame import CheckReport, Rule, Violation, broken_format, no_question


@dataclass(frozen=True, slots=True)
class _Use:
    """Something that occupies a lane of a resource from `start` to `end`."""

    what: str
    resource: str
    lane: int | None
    start: int
    end: int
    stage: str
    """The stage that runs; of a transfer, the one that sends."""
    after: tuple[str, ...] = ()
    """The gates that a transfer waits for itself."""


@dataclass(frozen=True, slots=True)
class _Send:
    """A transfer that is needed and listed, with the link it takes, its bytes and the stages that read it."""

    row: WindowTransfer
    link: Link
    output_bytes: int
    readers: tuple[str, ...]

    @property
    def what(self) -> str:
        return f"the transfer {self.row.stage} -> {self.row.target}"

    @property
    def sent_us(self) -> int:
        return self.row.start_us + self.link.sending_us(self.output_bytes)


@dataclass(frozen=True, slots=True)
class Gates:
    """What the gates of a question mean: who is behind which, and how likely each is to open."""

    behind: dict[str, frozenset[str]]
    """Stage -> every gate it is behind."""
    opens_ppm: dict[str, int]
    """Gate -> how likely it is to open. Its keys are the gates."""

    def likelihood_ppm(self, after: Sequence[str]) -> int:
        """How likely one of a list's gates is to open, never too low."""
        return min(CERTAIN, sum(self.opens_ppm.get(gate, 0) for gate in after))


def check_window(problem: WindowProblem, placement: WindowPlacement) -> CheckReport:
    """Judge an answer. Times in us, energies in nJ; every comparison is exact.

    No answer makes it raise, whatever it is; a `problem` that is no `WindowProblem` is an `InputError`. `criteria` of
    the report are None where a rule is broken.
    """
    if not isinstance(problem, WindowProblem):
        raise no_question(problem, WindowProblem)
    if broken := broken_format(placement, WindowPlacement):
        return CheckReport(None, (broken,))
    if placement.status == "infeasible":
        return CheckReport(None, (), tuple(_false_claims(problem, placement, None)))
    criteria, violations = _judge(problem, placement)
    if violations:
        criteria = None
    else:
        assert criteria is not None, "no rule is broken"
        violations += _wrong_criteria(placement, criteria)
    return CheckReport(criteria, tuple(violations), tuple(_false_claims(problem, placement, criteria)))


def _judge(problem: WindowProblem, placement: WindowPlacement) -> tuple[Criteria | None, list[Violation]]:
    if broken := [*_missing_or_foreign(problem, placement)]:
        return None, broken
    runs = {run.stage: run for run in placement.stages}
    modes, broken = _modes(problem, runs)
    gates = gates_of(problem)
    broken += _wrong_lists(placement, gates)
    if broken:
        return None, broken
    sends, broken = _sends(problem, placement, runs, modes)
    for send in sends:
        broken += _wrong_send(send, runs, gates)
    uses = [_Use(run.stage, run.resource, run.lane, run.start_us, run.end_us, run.stage) for run in runs.values()]
    uses += [
        _Use(
            send.what,
            send.link.resource,
            send.row.lane,
            send.row.start_us,
            send.sent_us,
            send.row.stage,
            send.row.after,
        )
        for send in sends
        if send.link.resource is not None
    ]
    broken += _wrong_runs(problem, runs, modes)
    broken += _wrong_lanes(problem, uses)
    for resource in problem.resources:
        here = [use for use in uses if use.resource == resource.name]
        spans = [span for span in placement.spans if span.resource == resource.name]
        broken += _wrong_spans(problem, resource, spans, here, gates, runs)
    broken += _memory_and_budgets(problem, runs, modes)
    if broken:
        return None, broken
    criteria = _criteria(problem, placement, runs, modes, sends, gates)
    broken += _over_limits(problem, criteria)
    return criteria, broken


def _missing_or_foreign(problem: WindowProblem, placement: WindowPlacement) -> Iterator[Violation]:
    """Rule 1: every stage once, and nothing else; spans are of resources that there are."""
    names = {stage.name for stage in problem.stages}
    seen: set[str] = set()
    for run in placement.stages:
        if run.stage not in names:
            yield Violation(1, f"{run.stage} is no stage of the problem")
        elif run.stage in seen:
            yield Violation(1, f"{run.stage} is placed twice")
        seen.add(run.stage)
    for stage in problem.stages:
        if stage.name not in seen:
            yield Violation(1, f"{stage.name} is not placed")
    resources = {resource.name for resource in problem.resources}
    for span in placement.spans:
        if span.resource not in resources:
            yield Violation(2, f"{_text(span)} is of no resource of the problem")


def _modes(problem: WindowProblem, runs: dict[str, StageRun]) -> tuple[dict[str, Mode], list[Violation]]:
    """The mode each stage runs in, by stage name; a violation where there is no such mode."""
    chosen: dict[str, Mode] = {}
    broken: list[Violation] = []
    for stage in problem.stages:
        run = runs[stage.name]
        for mode in stage.modes:
            if (mode.resource, mode.variant) == (run.resource, run.variant):
                chosen[stage.name] = mode
        if stage.name not in chosen:
            broken.append(Violation(1, f"{stage.name} has no mode {run.resource}/{run.variant}"))
    return chosen, broken


def gates_of(problem: WindowProblem) -> Gates:
    """What the gates of a question mean."""
    gates = {stage.name: stage.gates for stage in problem.stages}
    behind: dict[str, frozenset[str]] = {}
    # Gates are inputs, so they wait for nothing that waits for them; a list of names keeps the recursion flat.
    waiting = list(gates)
    while waiting:
        name = waiting[-1]
        unknown = [gate for gate in gates[name] if gate not in behind]
        if unknown:
            waiting += unknown
            continue
        waiting.pop()
        each = [behind[gate] | {gate} for gate in gates[name]]
        behind[name] = frozenset.intersection(*each) if each else frozenset()
    opens = {gate: 0 for stage in problem.stages for gate in stage.gates}
    for stage in problem.stages:
        for gate in behind[stage.name]:
            opens[gate] = max(opens[gate], stage.chance_ppm)
    return Gates(behind, opens)


def _wrong_lists(placement: WindowPlacement, gates: Gates) -> Iterator[Violation]:
    """Rules 2 and 4: lists name gates, each once."""
    lists: list[tuple[Rule, str, tuple[str, ...]]] = [
        *((2, _text(span), span.after) for span in placement.spans),
        *((4, f"the transfer {row.stage} -> {row.target}", row.after) for row in placement.transfers),
    ]
    for rule, what, after in lists:
        for i, gate in enumerate(after):
            if gate not in gates.opens_ppm:
                yield Violation(rule, f"{what} waits for {gate}, which is no gate of the problem")
            elif gate in after[:i]:
                yield Violation(rule, f"{what} waits for {gate} twice")


def _sends(
    problem: WindowProblem, placement: WindowPlacement, runs: dict[str, StageRun], modes: dict[str, Mode]
) -> tuple[list[_Send], list[Violation]]:
    """Rules 3 and 4: the transfers that are needed and listed, and all that is wrong with who is sent what."""
    links = {(link.source, link.target): link for link in problem.links}
    rows: dict[tuple[str, str], WindowTransfer] = {}
    broken: list[Violation] = []
    for row in placement.transfers:
        if (row.stage, row.target) in rows:
            broken.append(Violation(4, f"the output of {row.stage} is sent to {row.target} twice"))
        rows[row.stage, row.target] = row
    readers: dict[tuple[str, str], list[str]] = {}
    for stage in problem.stages:
        run = runs[stage.name]
        for name in stage.inputs:
            producer = runs[name]
            if producer.resource == run.resource:
                if run.start_us < producer.end_us:
                    broken.append(Violation(3, f"{stage.name} starts before its input {name} ends"))
                continue
            if (producer.resource, run.resource) not in links:
                text = f"no link {producer.resource} -> {run.resource} for {name} -> {stage.name}"
                broken.append(Violation(4, text))
                continue
            readers.setdefault((name, run.resource), []).append(stage.name)
            row_here = rows.get((name, run.resource))
            if row_here is None:
                broken.append(Violation(4, f"the output of {name} is never sent to {run.resource}"))
            elif run.start_us < row_here.arrive_us:
                broken.append(Violation(3, f"{stage.name} starts before {name} arrives at {run.resource}"))
    broken += [
        Violation(4, f"the output of {name} is sent to {target}, where nothing reads it")
        for name, target in rows
        if (name, target) not in readers
    ]
    sends = [
        _Send(rows[key], links[runs[key[0]].resource, key[1]], modes[key[0]].output_bytes, tuple(names))
        for key, names in readers.items()
        if key in rows
    ]
    return sends, broken


def _wrong_send(send: _Send, runs: dict[str, StageRun], gates: Gates) -> Iterator[Violation]:
    """Rule 4 for one transfer: where and when it starts, when it arrives, and what it waits for."""
    row, producer = send.row, runs[send.row.stage]
    if row.source != producer.resource:
        yield Violation(4, f"{send.what} starts from {row.source}, its producer runs on {producer.resource}")
    if row.start_us < producer.end_us:
        yield Violation(4, f"{send.what} starts before its producer ends")
    arrive = send.sent_us + send.link.latency_us
    if row.arrive_us != arrive:
        yield Violation(4, f"{send.what} arrives at {row.arrive_us}, the rule makes it {arrive}")
    if send.link.resource is None and row.lane is not None:
        yield Violation(4, f"{send.what} is on lane {row.lane}, its link occupies nothing")
    for gate in row.after:
        if row.start_us < runs[gate].end_us:
            yield Violation(4, f"{send.what} waits for {gate} and starts before that ends")
    for reader in send.readers if row.after else ():
        if gates.behind[reader].isdisjoint(row.after):
            yield Violation(
                4, f"{send.what} waits for {_listed(row.after)}, its reader {reader} is behind none of them"
            )


def _wrong_runs(problem: WindowProblem, runs: dict[str, StageRun], modes: dict[str, Mode]) -> Iterator[Violation]:
    """Rules 1 and 3 for one stage at a time: its duration and its release."""
    for stage in problem.stages:
        run = runs[stage.name]
        lasts, wanted = run.end_us - run.start_us, modes[stage.name].duration_us
        if lasts != wanted:
            yield Violation(1, f"{stage.name} runs {lasts} us, its mode {run.resource}/{run.variant} {wanted}")
        if run.start_us < stage.release_us:
            yield Violation(3, f"{stage.name} starts at {run.start_us}, before its release at {stage.release_us}")


def _wrong_lanes(problem: WindowProblem, uses: list[_Use]) -> Iterator[Violation]:
    """Rule 1: lanes exist, are ready, and run one thing at a time."""
    resources = {resource.name: resource for resource in problem.resources}
    busy: dict[tuple[str, int], list[_Use]] = {}
    for use in uses:
        resource = resources[use.resource]
        if use.lane is None or not 0 <= use.lane < resource.lanes:
            yield Violation(1, f"{use.what} is on lane {use.lane} of {use.resource}, which has {resource.lanes}")
            continue
        ready = resource.ready_us[use.lane] if resource.ready_us else 0
        if use.start < ready:
            yield Violation(1, f"{use.what} starts at {use.start} on {use.resource}[{use.lane}], ready at {ready}")
        if use.end > use.start:
            busy.setdefault((use.resource, use.lane), []).append(use)
    for (name, lane), queue in busy.items():
        queue.sort(key=lambda use: (use.start, use.end))
        for first, second in pairwise(queue):
            if second.start < first.end:
                yield Violation(1, f"{first.what} and {second.what} overlap on {name}[{lane}]")


def _wrong_spans(
    problem: WindowProblem,
    resource: WindowResource,
    spans: list[Span],
    uses: list[_Use],
    gates: Gates,
    runs: dict[str, StageRun],
) -> Iterator[Violation]:
    """Rule 2 for one resource: its spans follow each other, and each use lies within one that is awake for it."""
    broken = list(_wrong_sequence(problem, resource, spans))
    yield from broken
    if broken:
        return
    if resource.linger_us is None:
        last = max((use.end for use in uses), default=0)
        if spans[0].until_us != last:
            yield Violation(2, f"{_text(spans[0])}: its last use ends at {last}")
        return
    homes: list[list[int]] = []
    for use in uses:
        around = [i for i, span in enumerate(spans) if span.from_us <= use.start and use.end <= span.until_us]
        if not around:
            text = f"{use.what} uses {resource.name} from {use.start} to {use.end}, outside all its spans"
            broken.append(Violation(2, text))
            continue
        wrong = {i: _not_awake(resource, spans[i], resource.awake and i == 0, use, gates, runs) for i in around}
        homes.append([i for i in around if wrong[i] is None])
        if not homes[-1]:
            broken += [Violation(2, text) for text in wrong.values() if text is not None]
    yield from broken
    if not broken:
        yield from _wrong_ends(resource, spans, uses, homes)


def _wrong_sequence(problem: WindowProblem, resource: WindowResource, spans: list[Span]) -> Iterator[Violation]:
    """Rule 2: where spans begin, and that each begins only when the one before it has lingered."""
    if resource.awake and not (spans and spans[0].from_us == 0):
        yield Violation(2, f"{resource.name} is awake at the start, its first span from 0 is missing")
        return
    if resource.awake and spans[0].after:
        yield Violation(2, f"{_text(spans[0])} begins awake, it cannot wait for {_listed(spans[0].after)}")
    if resource.linger_us is None:
        if len(spans) > 1:
            yield Violation(2, f"{resource.name} never sleeps, it has {len(spans)} spans instead of one")
        return
    begun: set[int] = set()
    for i, span in enumerate(spans):
        if span.until_us < span.from_us:
            yield Violation(2, f"{_text(span)} ends before it begins")
        if i:
            over = _lingers_until(resource, spans[i - 1], first=resource.awake and i == 1)
            if span.from_us < over:
                yield Violation(2, f"{_text(span)} begins before the one before it has lingered, at {over}")
        if resource.awake and i == 0:
            continue
        if span.from_us not in problem.releases_us:
            yield Violation(2, f"{_text(span)} begins with waking, and not at a release")
        if span.from_us in begun:
            yield Violation(2, f"{_text(span)} begins at a release at which another one does")
        begun.add(span.from_us)


def _not_awake(
    resource: WindowResource, span: Span, first: bool, use: _Use, gates: Gates, runs: dict[str, StageRun]
) -> str | None:
    """Why a resource may not be awake for a use within a span; None where it is. `first`: the span begins awake."""
    if first:
        return None
    awake = span.from_us + resource.wake_latency_us
    if use.start < awake:
        return f"{use.what} starts at {use.start} in {_text(span)}, which wakes until {awake}"
    if not span.after:
        return None
    listed = set(span.after)
    if use.after:
        waits = list(use.after)
        apart = any(gate not in listed and gates.behind[gate].isdisjoint(listed) for gate in waits)
    else:
        waits = [gate for gate in span.after if gate in gates.behind[use.stage]][:1]
        apart = not waits
    if apart:
        return f"{_text(span)} waits for {_listed(span.after)}, {use.what} in it does not"
    for gate in waits:
        awake = runs[gate].end_us + resource.wake_latency_us
        if use.start < awake:
            return f"{use.what} starts at {use.start} in {_text(span)}, which wakes after {gate} until {awake}"
    return None


def _wrong_ends(
    resource: WindowResource, spans: list[Span], uses: list[_Use], homes: list[list[int]]
) -> Iterator[Violation]:
    """Rule 2: every span ends with its last use.

    Only a sending of 0 us can lie in two spans, where one has lingered just when the next one begins. It is counted to
    whichever needs it: each span takes a last use of its own, in the way of a bipartite matching.
    """
    taken: dict[int, int] = {}
    """Use -> the span that it ends."""

    def take(span: int, tried: set[int]) -> bool:
        for u, use in enumerate(uses):
            if use.end == spans[span].until_us and span in homes[u] and u not in tried:
                tried.add(u)
                if u not in taken or take(taken[u], tried):
                    taken[u] = span
                    return True
        return False

    for i, span in enumerate(spans):
        if resource.awake and i == 0 and span.until_us == 0:
            continue  # nothing need use it
        if not take(i, set()):
            last = max((use.end for use, home in zip(uses, homes, strict=True) if i in home), default=None)
            says = "it has no use" if last is None or last == span.until_us else f"its last use ends at {last}"
            yield Violation(2, f"{_text(span)}: {says}")


def _lingers_until(resource: WindowResource, span: Span, *, first: bool) -> int:
    """When a span has lingered. `first`: it begins awake, and what is left of an earlier lingering counts."""
    over = span.until_us + (resource.linger_us or 0)
    if not first:
        return over
    return max(over if span.until_us else 0, resource.awake_until_us)


def _memory_and_budgets(
    problem: WindowProblem, runs: dict[str, StageRun], modes: dict[str, Mode]
) -> Iterator[Violation]:
    """Rules 5 and 7, without the limits on criteria."""
    for resource in problem.resources:
        held = sum(modes[name].memory_bytes for name, run in runs.items() if run.resource == resource.name)
        if resource.memory_bytes is not None and held > resource.memory_bytes:
            yield Violation(5, f"{held} bytes on {resource.name}, which has {resource.memory_bytes}")
    for budget in problem.accuracy_budgets:
        lost = sum(modes[name].accuracy_loss_ppm for name in budget.stages)
        if lost > budget.loss_ppm_max:
            over = ", ".join(budget.stages)
            yield Violation(7, f"{lost} ppm lost over {over}, at most {budget.loss_ppm_max}")


def _criteria(
    problem: WindowProblem,
    placement: WindowPlacement,
    runs: dict[str, StageRun],
    modes: dict[str, Mode],
    sends: list[_Send],
    gates: Gates,
) -> Criteria:
    """The four criteria as the rules make them, of an answer that breaks none."""
    chances = {stage.name: stage.chance_ppm for stage in problem.stages}
    energy = sum(_share(mode.energy_nj, chances[name]) for name, mode in modes.items())
    for send in sends:
        after = send.row.after
        likely = gates.likelihood_ppm(after) if after else chances[send.row.stage]
        energy += _share(send.link.sending_nj(send.output_bytes), likely)
    for resource in problem.resources:
        spans = [span for span in placement.spans if span.resource == resource.name]
        energy += _awake_nj(problem, resource, spans, gates)
    late = (d.weight * max(0, runs[d.stage].end_us - d.deadline_us) for d in problem.deadlines)
    return Criteria(
        tardiness=sum(late),
        energy=energy,
        makespan=max((run.end_us for run in runs.values()), default=0),
        accuracy_loss=sum(mode.accuracy_loss_ppm for mode in modes.values()),
    )


def _awake_nj(problem: WindowProblem, resource: WindowResource, spans: list[Span], gates: Gates) -> int:
    """What the spans of a resource cost: waking, staying awake and lingering."""
    if resource.linger_us is None:
        return resource.awake_mw * problem.horizon_us
    energy = 0
    for i, span in enumerate(spans):
        first = resource.awake and i == 0
        over = min(_lingers_until(resource, span, first=first), problem.horizon_us)
        cost = 0 if first else resource.wake_energy_nj
        cost += resource.awake_mw * (span.until_us - span.from_us)
        cost += resource.lingering_mw * max(0, over - span.until_us)
        energy += _share(cost, gates.likelihood_ppm(span.after) if span.after else CERTAIN)
    return energy


def _over_limits(problem: WindowProblem, criteria: Criteria) -> Iterator[Violation]:
    """Rule 7: the limits on criteria."""
    for name, limit in problem.limits.items():
        if (value := getattr(criteria, name)) > limit:
            yield Violation(7, f"{name} is {value}, limited to {limit}")


def _wrong_criteria(placement: WindowPlacement, criteria: Criteria) -> Iterator[Violation]:
    if placement.criteria is not None:
        for criterion, given in placement.criteria:
            if given != getattr(criteria, criterion):
                yield Violation(0, f"{criterion} is given as {given}, the rules make it {getattr(criteria, criterion)}")


def _false_claims(problem: WindowProblem, placement: WindowPlacement, criteria: Criteria | None) -> Iterator[Violation]:
    """What the answer says about itself and cannot be. `criteria` is None where a rule is broken."""
    if placement.problem != problem.name:
        yield Violation(0, f'it answers "{placement.problem}", the question is "{problem.name}"')
    if placement.status == "infeasible":
        if placement.stages or placement.transfers or placement.spans or placement.criteria is not None:
            yield Violation(0, "the status is infeasible, yet it places something")
        if not placement.reason:
            yield Violation(0, "the status is infeasible, and no reason is given")
        return
    if placement.reason:
        yield Violation(0, f"a {placement.status} answer gives a reason why there is none")
    if placement.criteria is None:
        yield Violation(0, "it gives no criteria")
    if len(placement.bounds) != len(problem.objective):
        yield Violation(0, f"{len(placement.bounds)} bounds for {len(problem.objective)} criteria of the objective")
    if criteria is None:
        return
    reached = [getattr(criteria, name) for name in problem.objective]
    for name, bound, value in zip(problem.objective, placement.bounds, reached, strict=False):
        if bound > value:
            yield Violation(0, f"the bound of {name} is {bound}, the answer reaches {value}")
    if placement.status == "optimal" and list(placement.bounds) != reached:
        yield Violation(0, "the status is optimal, the bounds do not prove it")


def _share(energy_nj: int, chance_ppm: int) -> int:
    """An energy times its likelihood, rounded up."""
    return -(-energy_nj * chance_ppm // CERTAIN)


def _text(span: Span) -> str:
    return f"the span {span.from_us}..{span.until_us} of {span.resource}"


def _listed(names: Collection[str]) -> str:
    return " or ".join(names)

"""The independent judge of a placement: recomputes every criterion from the rules of `docs/placement-problem.md` alone.

It shares no code with any solver, and no answer can make it fail: unknown names, lanes that do not exist, negative
times, answers to another question and what is no placement at all are violations like any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import ValidationError

from leo_runtime.documents.problem import (
    Answer,
    Criteria,
    Link,
    Mode,
    Placement,
    Problem,
    Question,
    Resource,
    StageRun,
    TransferRun,
)
from leo_runtime.errors import InputError
from leo_runtime.schema import document_error

Rule = Literal[0, 1, 2, 3, 4, 5, 6, 7, 8]
_JUDGES = {"leo-problem/1": "check", "leo-problem/2": "check_window", "leo-problem/3": "check_memory"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule. `rule` is its number; 0 is for what the answer says about itself (criteria, status, bounds)."""

    rule: Rule
    text: str

    def __str__(self) -> str:
        """The rule's number and the text, as one line."""
        return f"rule {self.rule}: {self.text}" if self.rule else self.text


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the judge found.

    `criteria` are recomputed; None where too much is broken to compute them, and for `infeasible`. `violations` are
    broken rules and criteria that are not what the rules make them. `false_claims` are what the answer's problem name,
    status, bounds or reason cannot be, given the criteria; a placement can obey every rule and still claim too much.
    """

    criteria: Criteria | None
    violations: tuple[Violation, ...] = ()
    false_claims: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        """No rule is broken and no claim is false."""
        return not self.violations and not self.false_claims


@dataclass(frozen=True, slots=True)
class Use:
    """Something that occupies a lane of a resource from `start` to `end`."""

    what: str
    resource: str
    lane: int | None
    start: int
    end: int
    energy_nj: int = 0
    """What it costs, of what is neither a stage nor a transfer."""


@dataclass(frozen=True, slots=True)
class _Send:
    """A transfer that is needed and listed, with the link it takes and the bytes it carries."""

    row: TransferRun
    link: Link
    output_bytes: int

    @property
    def what(self) -> str:
        return f"the transfer {self.row.stage} -> {self.row.target}"

    @property
    def sent_us(self) -> int:
        return self.row.start_us + self.link.sending_us(self.output_bytes)


def check(problem: Problem, placement: Placement) -> CheckReport:
    """Judge an answer. Times in us, energies in nJ; every comparison is exact.

    No answer makes it raise, whatever it is; a `problem` that is no `Problem` is an `InputError`.
    """
    if not isinstance(problem, Problem):
        raise no_question(problem, Problem)
    if broken := broken_format(placement, Placement):
        return CheckReport(None, (broken,))
    if placement.status == "infeasible" and not placement.stages:
        return report(problem, placement, None, [])
    criteria, violations = judged(problem, placement)
    return report(problem, placement, criteria, violations)


def report(problem: Question, placement: Answer, criteria: Criteria | None, violations: list[Violation]) -> CheckReport:
    """What was found, with what the answer says about itself and cannot be."""
    known = None if any(violation.rule for violation in violations) else criteria
    return CheckReport(criteria, tuple(violations), tuple(_false_claims(problem, placement, known)))


def no_question(problem: object, kind: type[Question]) -> InputError:
    """The error where a judge of this kind of question is given another, or none at all."""
    judge = _JUDGES.get(problem.format) if isinstance(problem, Question) else None
    hint = f"read it with {kind.__name__}.from_file(path)" if judge is None else f"judge it with `{judge}`"
    return InputError(f"the question is a {kind.__name__}, got {type(problem).__name__}", hint=hint)


def broken_format(placement: object, kind: type[Answer]) -> Violation | None:
    """What keeps an answer from being a placement: one that was built past its checks may hold anything."""
    if not isinstance(placement, kind):
        return Violation(0, f"the answer is no {kind.__name__}, but of type {type(placement).__name__}")
    try:
        kind.model_validate(placement.model_dump(warnings=False))
    except ValidationError as error:
        return Violation(0, str(document_error("the answer is no placement", error)))
    except Exception as error:  # It is held together by nothing: reading it may raise anything.
        return Violation(0, f"the answer is no placement: it cannot be read ({type(error).__name__}: {error})")
    return None


def judged(problem: Question, placement: Answer, more: Sequence[Use] = ()) -> tuple[Criteria | None, list[Violation]]:
    """The criteria of an answer, and what it breaks of the rules of a frame. `more` is what uses resources besides."""
    if broken := list(_missing_or_foreign(problem, placement)):
        return None, broken
    runs = {run.stage: run for run in placement.stages}
    modes, broken = _modes(problem, runs)
    if broken:
        return None, broken
    sends, broken = _sends(problem, placement, runs, modes)
    uses = [Use(run.stage, run.resource, run.lane, run.start_us, run.end_us) for run in runs.values()]
    uses += [
        Use(send.what, send.link.resource, send.row.lane, send.row.start_us, send.sent_us)
        for send in sends
        if send.link.resource is not None
    ]
    uses += more
    broken += _wrong_runs(problem, runs, modes)
    broken += _wrong_uses(problem, uses)
    broken += _memory_and_budgets(problem, runs, modes)
    criteria = _criteria(problem, runs, modes, sends, uses)
    broken += _wrong_criteria(problem, placement, criteria)
    return criteria, broken


def _missing_or_foreign(problem: Question, placement: Answer) -> Iterator[Violation]:
    """Rule 1: every stage once, and nothing else."""
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


def _modes(problem: Question, runs: dict[str, StageRun]) -> tuple[dict[str, Mode], list[Violation]]:
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


def _wrong_runs(problem: Question, runs: dict[str, StageRun], modes: dict[str, Mode]) -> Iterator[Violation]:
    """Rules 1 and 3 for one stage at a time: its duration and its release."""
    for stage in problem.stages:
        run = runs[stage.name]
        lasts, wanted = run.end_us - run.start_us, modes[stage.name].duration_us
        if lasts != wanted:
            yield Violation(1, f"{stage.name} runs {lasts} us, its mode {run.resource}/{run.variant} {wanted}")
        if run.start_us < stage.release_us:
            yield Violation(3, f"{stage.name} starts at {run.start_us}, before its release at {stage.release_us}")


def _sends(
    problem: Question, placement: Answer, runs: dict[str, StageRun], modes: dict[str, Mode]
) -> tuple[list[_Send], list[Violation]]:
    """Rules 3 and 4: the transfers that are needed and listed, and all that is wrong with arrivals and transfers."""
    links = {(link.source, link.target): link for link in problem.links}
    rows: dict[tuple[str, str], TransferRun] = {}
    broken: list[Violation] = []
    for row in placement.transfers:
        if (row.stage, row.target) in rows:
            broken.append(Violation(4, f"the output of {row.stage} is sent to {row.target} twice"))
        rows[row.stage, row.target] = row
    sends: dict[tuple[str, str], _Send] = {}
    for stage in problem.stages:
        run = runs[stage.name]
        for name in stage.inputs:
            producer = runs[name]
            if producer.resource == run.resource:
                if run.start_us < producer.end_us:
                    broken.append(Violation(3, f"{stage.name} starts before its input {name} ends"))
                continue
            link = links.get((producer.resource, run.resource))
            if link is None:
                text = f"no link {producer.resource} -> {run.resource} for {name} -> {stage.name}"
                broken.append(Violation(4, text))
                continue
            needed = rows.get((name, run.resource))
            if needed is None:
                broken.append(Violation(4, f"the output of {name} is never sent to {run.resource}"))
                continue
            sends[name, run.resource] = _Send(needed, link, modes[name].output_bytes)
            if run.start_us < needed.arrive_us:
                broken.append(Violation(3, f"{stage.name} starts before {name} arrives at {run.resource}"))
    broken += [
        Violation(4, f"the output of {name} is sent to {target}, where nothing reads it")
        for name, target in rows
        if (name, target) not in sends
    ]
    for send in sends.values():
        broken += _wrong_send(send, runs[send.row.stage])
    return list(sends.values()), broken


def _wrong_send(send: _Send, producer: StageRun) -> Iterator[Violation]:
    """Rule 4 for one transfer: where it starts, when it starts and when it arrives."""
    if send.row.source != producer.resource:
        yield Violation(4, f"{send.what} starts from {send.row.source}, its producer runs on {producer.resource}")
    if send.row.start_us < producer.end_us:
        yield Violation(4, f"{send.what} starts before its producer ends")
    earliest = send.sent_us + send.link.latency_us
    if send.row.arrive_us < earliest:
        yield Violation(4, f"{send.what} arrives at {send.row.arrive_us}, it takes until {earliest}")


def _wrong_uses(problem: Question, uses: list[Use]) -> Iterator[Violation]:
    """Rules 1 and 2: lanes exist, are free and are awake."""
    resources = {resource.name: resource for resource in problem.resources}
    busy: dict[tuple[str, int], list[Use]] = {}
    for use in uses:
        resource = resources[use.resource]
        if use.lane is None or not 0 <= use.lane < resource.lanes:
            yield Violation(1, f"{use.what} is on lane {use.lane} of {use.resource}, which has {resource.lanes}")
            continue
        yield from _too_early(resource, use, use.lane)
        if use.end > use.start:
            busy.setdefault((use.resource, use.lane), []).append(use)
    for (name, lane), queue in busy.items():
        queue.sort(key=lambda use: (use.start, use.end))
        for first, second in pairwise(queue):
            if second.start < first.end:
                yield Violation(1, f"{first.what} and {second.what} overlap on {name}[{lane}]")


def _too_early(resource: Resource, use: Use, lane: int) -> Iterator[Violation]:
    ready = resource.ready_us[lane] if resource.ready_us else 0
    if use.start < ready:
        yield Violation(1, f"{use.what} starts at {use.start} on {use.resource}[{lane}], ready at {ready}")
    if not resource.awake and use.start < resource.wake_latency_us:
        text = f"{use.what} starts at {use.start} on {use.resource}, which wakes until {resource.wake_latency_us}"
        yield Violation(2, text)


def _memory_and_budgets(problem: Question, runs: dict[str, StageRun], modes: dict[str, Mode]) -> Iterator[Violation]:
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
    problem: Question, runs: dict[str, StageRun], modes: dict[str, Mode], sends: list[_Send], uses: list[Use]
) -> Criteria:
    """The four criteria as the rules make them (rules 2, 4 and 6 for energy)."""
    energy = sum(mode.energy_nj for mode in modes.values())
    energy += sum(send.link.sending_nj(send.output_bytes) for send in sends) + sum(use.energy_nj for use in uses)
    for resource in problem.resources:
        ends = [use.end for use in uses if use.resource == resource.name]
        if ends:
            energy += resource.awake_mw * max(0, *ends) + (0 if resource.awake else resource.wake_energy_nj)
    late = (d.weight * max(0, runs[d.stage].end_us - d.deadline_us) for d in problem.deadlines)
    return Criteria(
        tardiness=sum(late),
        energy=energy,
        makespan=max((run.end_us for run in runs.values()), default=0),
        accuracy_loss=sum(mode.accuracy_loss_ppm for mode in modes.values()),
    )


def _wrong_criteria(problem: Question, placement: Answer, criteria: Criteria) -> Iterator[Violation]:
    for name, limit in problem.limits.items():
        if (value := getattr(criteria, name)) > limit:
            yield Violation(7, f"{name} is {value}, limited to {limit}")
    if placement.criteria is not None:
        for criterion, given in placement.criteria:
            if given != getattr(criteria, criterion):
                yield Violation(0, f"{criterion} is given as {given}, the rules make it {getattr(criteria, criterion)}")


def _false_claims(problem: Question, placement: Answer, criteria: Criteria | None) -> Iterator[Violation]:
    """What the answer says about itself and cannot be. `criteria` is None where a rule is broken."""
    if placement.problem != problem.name:
        yield Violation(0, f'it answers "{placement.problem}", the question is "{problem.name}"')
    if placement.status == "infeasible":
        yield from _false_infeasible(placement)
        return
    if placement.reason:
        yield Violation(0, f"a {placement.status} answer gives a reason why there is none")
    if criteria is None:
        return
    values = criteria.model_dump()
    if placement.bounds and len(placement.bounds) != len(problem.objective):
        text = f"{len(placement.bounds)} bounds for {len(problem.objective)} criteria of the objective"
        yield Violation(0, text)
    for name, bound in zip(problem.objective, placement.bounds, strict=False):
        if bound > values[name]:
            yield Violation(0, f"the bound of {name} is {bound}, the answer reaches {values[name]}")
    proved = placement.bounds == tuple(values[name] for name in problem.objective)
    if placement.status == "optimal" and not proved:
        yield Violation(0, "the status is optimal, the bounds do not prove it")


def _false_infeasible(placement: Answer) -> Iterator[Violation]:
    if placement.stages or placement.transfers or placement.criteria is not None:
        yield Violation(0, "the status is infeasible, yet it places something")
    if not placement.reason:
        yield Violation(0, "the status is infeasible, and no reason is given")

"""The independent judge of an answer with loads: recomputes every criterion from `docs/memory-problem.md` alone.

Like the judge of a frame's answer, whose rules it holds an answer to as well, it shares no code with any solver, and no
answer can make it fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from leo_runtime.documents.memory import LoadRun, MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import StageRun
from leo_runtime.errors import InputError
from leo_runtime.judge.frame import CheckReport, Use, Violation, broken_format, judged, no_question, report


@dataclass(slots=True)
class _Stay:
    """A label on a resource: from its load on, or (`load` is None) resident from the frame's start."""

    label: str
    resource: str
    load: LoadRun | None
    served: list[StageRun] = field(default_factory=list)

    @property
    def start(self) -> int:
        return 0 if self.load is None else self.load.start_us

    @property
    def arrive(self) -> int:
        return 0 if self.load is None else self.load.arrive_us

    @property
    def end(self) -> int:
        """When it is held no longer: its start, if it serves nothing."""
        return max((run.end_us for run in self.served), default=self.start)

    @property
    def what(self) -> str:
        return f"the load of {self.label} to {self.resource} at {self.start}"


def check_memory(problem: MemoryProblem, placement: MemoryPlacement) -> CheckReport:
    """Judge an answer. Times in us, energies in nJ; every comparison is exact.

    No answer makes it raise, whatever it is; a `problem` that is no `MemoryProblem` is an `InputError`.
    """
    if not isinstance(problem, MemoryProblem):
        raise no_question(problem, MemoryProblem)
    if broken := broken_format(placement, MemoryPlacement):
        return CheckReport(None, (broken,))
    if placement.status == "infeasible" and not placement.stages:
        found = report(problem, placement, None, [])
        if not placement.loads:
            return found
        said = Violation(0, "the status is infeasible, yet it loads something")
        return CheckReport(None, (), (*found.false_claims, said))
    broken_loads = [*_wrong_rows(problem, placement)]
    # What is no load at all occupies nothing.
    uses = [] if broken_loads else _uses(problem, placement)
    criteria, violations = judged(problem, placement, uses)
    violations += broken_loads
    if criteria is not None and not broken_loads:
        violations += _wrong_memory(problem, placement, _stays(problem, placement))
    return report(problem, placement, criteria, violations)


def resident_after(problem: MemoryProblem, placement: MemoryPlacement) -> dict[str, tuple[str, ...]]:
    """Rule 9: for each resource the labels that are in its memory after the frame, in the order of `weights`.

    After an answer that places nothing they are those from before. Raises `InputError` where it breaks a rule.
    """
    if not (found := check_memory(problem, placement)).ok:
        wrong = (*found.violations, *found.false_claims)[0]
        raise InputError(
            f"the answer to `{problem.name}` is none: {wrong}", hint="docs/memory-problem.md has the rules"
        )
    if not placement.stages:
        return {resource.name: resource.resident for resource in problem.resources}
    stays = _stays(problem, placement)
    return {resource.name: _kept(problem, placement, resource.name, stays) for resource in problem.resources}


def _wrong_rows(problem: MemoryProblem, placement: MemoryPlacement) -> Iterator[Violation]:
    """Rule 8 for one load at a time: there is such a label, a way for it, and it takes as long as it has to."""
    sizes = {weights.label: weights.bytes for weights in problem.weights}
    loaders = {loader.target: loader for loader in problem.loaders}
    for row in placement.loads:
        if row.label not in sizes:
            yield Violation(8, f"no weights are called {row.label}")
        elif row.target not in loaders:
            yield Violation(8, f"{row.label} is loaded to {row.target}, where no loader leads")
        else:
            loader = loaders[row.target]
            takes, wanted = row.arrive_us - row.start_us, loader.loading_us(sizes[row.label]) + loader.latency_us
            if takes != wanted:
                what = f"the load of {row.label} to {row.target}"
                yield Violation(8, f"{what} arrives {takes} us after its start, it takes {wanted}")


def _uses(problem: MemoryProblem, placement: MemoryPlacement) -> list[Use]:
    """What each load occupies and costs."""
    sizes = {weights.label: weights.bytes for weights in problem.weights}
    loaders = {loader.target: loader for loader in problem.loaders}
    uses = []
    for row in placement.loads:
        loader, size = loaders[row.target], sizes[row.label]
        end = row.start_us + loader.loading_us(size)
        what = f"the load of {row.label} to {row.target}"
        uses.append(Use(what, loader.resource, row.lane, row.start_us, end, loader.loading_nj(size)))
    return uses


def _stays(problem: MemoryProblem, placement: MemoryPlacement) -> list[_Stay]:
    """Every label wherever it is at some time, each with the runs that it serves. A run that nothing serves is in none.

    Of each label and resource they are in the order in which they arrive.
    """
    stays = [_Stay(label, resource.name, None) for resource in problem.resources for label in resource.resident]
    stays += [_Stay(row.label, row.target, row) for row in sorted(placement.loads, key=lambda row: row.arrive_us)]
    for run, label in _needs(problem, placement):
        here = [stay for stay in stays if (stay.label, stay.resource) == (label, run.resource)]
        there = [stay for stay in here if stay.arrive <= run.start_us]
        if there:
            there[-1].served.append(run)
    return stays


def _needs(problem: MemoryProblem, placement: MemoryPlacement) -> Iterator[tuple[StageRun, str]]:
    """Every run with each label that its mode names."""
    modes = {
        (stage.name, mode.resource, mode.variant): mode.weights for stage in problem.stages for mode in stage.modes
    }
    for run in placement.stages:
        for label in modes[run.stage, run.resource, run.variant]:
            yield run, label


def _wrong_memory(problem: MemoryProblem, placement: MemoryPlacement, stays: list[_Stay]) -> Iterator[Violation]:
    """Rules 3, 5 and 8 of what is in memory."""
    for run, label in _needs(problem, placement):
        if not any(stay.label == label and run in stay.served for stay in stays if stay.resource == run.resource):
            yield Violation(3, f"{run.stage} starts at {run.start_us}, {label} is not on {run.resource} by then")
    last: dict[tuple[str, str], _Stay] = {}
    for stay in stays:
        before = last.get((stay.label, stay.resource))
        if stay.load is not None and not stay.served:
            yield Violation(8, f"{stay.what} serves nothing")
        if before is not None and stay.start < before.end:
            yield Violation(8, f"{stay.what} starts before what it is there for already has ended, at {before.end}")
        last[stay.label, stay.resource] = stay
    for resource in problem.resources:
        if resource.memory_bytes is None:
            continue
        working = _working_bytes(problem, placement, resource.name)
        here = [stay for stay in stays if stay.resource == resource.name and stay.served]
        for time in sorted({stay.start for stay in here}):
            held = [stay.label for stay in here if stay.start <= time < stay.end]
            bytes_held = sum(_bytes(problem, label) for label in held)
            if held and working + bytes_held > resource.memory_bytes:
                text = f"{working} bytes and {bytes_held} of weights ({', '.join(held)}) on {resource.name} at {time}"
                yield Violation(5, f"{text}, which has {resource.memory_bytes}")


def _working_bytes(problem: MemoryProblem, placement: MemoryPlacement, resource: str) -> int:
    """The `memory_bytes` of all modes placed on a resource."""
    modes = {(stage.name, mode.resource, mode.variant): mode for stage in problem.stages for mode in stage.modes}
    runs = (modes[run.stage, run.resource, run.variant] for run in placement.stages if run.resource == resource)
    return sum(mode.memory_bytes for mode in runs)


def _bytes(problem: MemoryProblem, label: str) -> int:
    return next(weights.bytes for weights in problem.weights if weights.label == label)


def _kept(problem: MemoryProblem, placement: MemoryPlacement, resource: str, stays: list[_Stay]) -> tuple[str, ...]:
    """Rule 9 on one resource: label by label, whatever has to make room goes."""
    cap = next(one.memory_bytes for one in problem.resources if one.name == resource)
    working = _working_bytes(problem, placement, resource)
    position = {weights.label: i for i, weights in enumerate(problem.weights)}
    here = [stay for stay in stays if stay.resource == resource]
    there = {stay.label: stay for stay in here if stay.load is None}

    def make_room(time: int) -> None:
        while cap is not None and working + sum(_bytes(problem, label) for label in there) > cap:
            free = [label for label, stay in there.items() if stay.end <= time]
            del there[min(free, key=lambda label: _worth(problem, resource, label))]

    make_room(0)
    for stay in sorted(here, key=lambda stay: (stay.start, position[stay.label])):
        if stay.load is not None:
            there[stay.label] = stay
            make_room(stay.start)
    return tuple(sorted(there, key=position.__getitem__))


def _worth(problem: MemoryProblem, resource: str, label: str) -> tuple[bool, Fraction, Fraction, int]:
    """What loading a label again would cost for each byte; the least is the first to go."""
    size = _bytes(problem, label)
    last = -[weights.label for weights in problem.weights].index(label)
    loader = next((loader for loader in problem.loaders if loader.target == resource), None)
    if loader is None:
        return True, Fraction(0), Fraction(0), last
    again_us = loader.loading_us(size) + loader.latency_us
    return False, Fraction(loader.loading_nj(size), size), Fraction(again_us, size), last

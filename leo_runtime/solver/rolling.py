"""A long window answered part by part, by whoever answers windows of some size.

A part holds as many releases as fit into a number of stages. Of its answer the first half of the releases is kept, and
the next part begins after these with what they left: lanes that are busy, resources that are awake. In the end all
choices make one schedule of the whole window, whose criteria are those of the answer. So it is an answer as any other:
it can be played, and no bound is proved for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from leo_runtime.documents.problem import Deadline
from leo_runtime.documents.window import WindowPlacement, WindowProblem, WindowResource, WindowStage
from leo_runtime.errors import InputError
from leo_runtime.solver.window_schedule import Choice, Schedule, Send, Window, arranged, chosen

KEPT_PERCENT = 50
"""Of the releases of a part, how many are kept of its answer."""

Ask = Callable[[WindowProblem], WindowPlacement]


@dataclass(frozen=True, slots=True)
class Rolled:
    """A schedule of the whole window, and what it took."""

    schedule: Schedule
    parts: int
    """How many parts were answered; equal ones were asked once."""
    asked: int
    largest: WindowPlacement
    """The answer to the part with the most stages, with its proved bounds."""
    solve_us: int
    """What the answers took together."""


def roll(problem: WindowProblem, ask: Ask, *, most_stages: int, beyond_us: int = 0) -> Rolled:
    """Answer a window in parts of at most so many stages, or of one release where that has more.

    The horizon of a part is the next release that is not in it, and `beyond_us` later: at the release, what lingers on
    costs a part nothing, and uses late in it look cheap; long after it, what the next part will share looks dear.

    Every stage must read stages of its own release alone; `InputError` says where one does not. Raises what `ask`
    raises, and `InputError` for a window without stages.
    """
    window = Window(problem)
    groups = _by_release(window)
    if not groups:
        raise InputError(f"`{problem.name}` has no stages")
    left = _Left.of(problem)
    known: dict[str, WindowPlacement] = {}
    made = _Made({}, {}, {}, set(), {})
    parts, at = 0, 0
    largest: WindowPlacement | None = None
    while at < len(groups):
        sizes = list(_sums(len(stages) for _, stages in groups[at:]))
        count = max(1, len(list(takewhile(lambda size: size <= most_stages, sizes))))
        last = at + count == len(groups)
        kept = count if last else -(-count * KEPT_PERCENT // 100)
        part = _Part.of(
            window, groups[at : at + count], groups[at + count][0] + beyond_us if not last else problem.horizon_us, left
        )
        key = part.problem.to_json()
        if key not in known:
            known[key] = ask(part.problem)
        answer = known[key]
        if answer.status == "infeasible":
            raise InputError(f"a part of `{problem.name}` has no answer: {answer.reason}")
        if largest is None or len(answer.stages) > len(largest.stages):
            largest = answer
        keep = [i for _, stages in groups[at : at + kept] for i in stages]
        part.take(answer, set(keep), made)
        at += kept
        parts += 1
        if at < len(groups):
            left = part.left(answer, set(keep), groups[at][0], left)
    count = len(window.stages)
    by_start = sorted(range(count), key=lambda i: (made.starts[i], i))
    choice = Choice(
        tuple(made.modes[i] for i in range(count)),
        tuple(arranged(by_start, window.inputs)),
        made.lists,
        frozenset(made.wakes_after),
        made.holds_back,
    )
    schedule = window.schedule(choice)
    assert schedule is not None and largest is not None, "what is linked in each part is linked"
    return Rolled(schedule, parts, len(known), largest, sum(answer.solve_us for answer in known.values()))


def _sums(sizes: Iterator[int]) -> Iterator[int]:
    total = 0
    for size in sizes:
        total += size
        yield total


def _by_release(window: Window) -> list[tuple[int, list[int]]]:
    """The releases with stages, in order, and the stages that come with each."""
    releases = window.problem.releases_us
    of = [bisect_right(releases, stage.release_us) - 1 for stage in window.stages]
    groups: dict[int, list[int]] = {}
    for i, k in enumerate(of):
        groups.setdefault(k, []).append(i)
        for j in window.inputs[i]:
            if of[j] != k:
                name, other = window.stages[i].name, window.stages[j].name
                raise InputError(f"`{name}` of `{window.problem.name}` reads `{other}`, which is of another release")
    return [(releases[k], groups[k]) for k in sorted(groups)]


@dataclass(slots=True)
class _Made:
    """What was chosen so far, by the numbers of the whole window."""

    modes: dict[int, int]
    starts: dict[int, int]
    lists: dict[Send, tuple[int, ...]]
    wakes_after: set[tuple[int, int]]
    holds_back: dict[Send, int]


@dataclass(frozen=True, slots=True)
class _Left:
    """What earlier parts left. Times are those of the whole window."""

    lanes_us: dict[str, tuple[int, ...]]
    awake_until_us: dict[str, int]
    """Of what is awake: until when, if nothing uses it; 0: held."""

    @staticmethod
    def of(problem: WindowProblem) -> _Left:
        """What the window begins with."""
        return _Left(
            {resource.name: resource.ready_us for resource in problem.resources if resource.ready_us},
            {resource.name: resource.awake_until_us for resource in problem.resources if resource.awake},
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a window as a question of its own: its time 0 is `from_us`, its stages are called by numbers."""

    whole: Window
    problem: WindowProblem
    from_us: int
    stages: tuple[int, ...]
    """The whole window's number of each stage."""
    numbers: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(window: Window, groups: Sequence[tuple[int, list[int]]], until_us: int, left: _Left) -> _Part:
        """The question of some releases, after which the next comes at `until_us`."""
        from_us = groups[0][0]
        stages = tuple(i for _, some in groups for i in some)
        names = {window.stages[i].name: str(k) for k, i in enumerate(stages)}
        whole = window.problem
        problem = whole.model_copy(
            update={
                "name": "part",
                "horizon_us": max(1, until_us - from_us),
                "releases_us": tuple(time - from_us for time in whole.releases_us if from_us <= time <= groups[-1][0]),
                "resources": tuple(
                    _resource(resource, window.lanes(r), from_us, left) for r, resource in enumerate(whole.resources)
                ),
                "stages": tuple(_stage(window.stages[i], from_us, names) for i in stages),
                "deadlines": tuple(
                    Deadline(stage=names[due.stage], deadline_us=max(0, due.deadline_us - from_us), weight=due.weight)
                    for due in whole.deadlines
                    if due.stage in names
                ),
                "accuracy_budgets": tuple(
                    budget.model_copy(update={"stages": tuple(names[name] for name in budget.stages if name in names)})
                    for budget in whole.accuracy_budgets
                    if any(name in names for name in budget.stages)
                ),
                "limits": {},
            }
        )
        return _Part(window, problem, from_us, stages, {number: stages[int(number)] for number in names.values()})

    def take(self, answer: WindowPlacement, keep: set[int], made: _Made) -> None:
        """Add what the answer chooses for the stages that are kept."""
        part = Window(self.problem)
        choice = chosen(part, answer)
        number = [self.numbers[stage.name] for stage in part.stages]
        starts = {self.numbers[run.stage]: run.start_us for run in answer.stages}
        first = bisect_right(self.whole.problem.releases_us, self.from_us) - 1
        for k, i in enumerate(number):
            if i in keep:
                made.modes[i] = choice.modes[k]
                made.starts[i] = starts[i] + self.from_us
        for (k, target), gates in choice.lists.items():
            if number[k] in keep:
                made.lists[number[k], target] = tuple(number[gate] for gate in gates)
        made.wakes_after.update((r, number[gate]) for r, gate in choice.wakes_after if number[gate] in keep)
        for (k, r), release in choice.holds_back.items():
            if number[k] in keep:
                made.holds_back[number[k], r] = first + release

    def left(self, answer: WindowPlacement, keep: set[int], next_us: int, before: _Left) -> _Left:
        """What the stages that are kept leave for the next part, which begins at `next_us`."""
        lanes = {
            resource.name: list(before.lanes_us.get(resource.name, (0,) * self.whole.lanes(r)))
            for r, resource in enumerate(self.whole.resources)
        }
        used = {
            name: until_us - (self._resource(name).linger_us or 0) for name, until_us in before.awake_until_us.items()
        }

        def use(name: str, lane: int, end_us: int) -> None:
            lanes[name][lane] = max(lanes[name][lane], end_us + self.from_us)
            used[name] = max(used.get(name, 0), end_us + self.from_us)

        modes = {run.stage: (run.resource, run.variant) for run in answer.stages}
        for run in answer.stages:
            if self.numbers[run.stage] in keep:
                use(run.resource, run.lane, run.end_us)
        for row in answer.transfers:
            i = self.numbers[row.stage]
            link, radio = self.whole.links[self.whole.number[row.source], self.whole.number[row.target]]
            if i in keep and radio >= 0 and row.lane is not None and link.resource is not None:
                mode = next(m for m in self.whole.stages[i].modes if (m.resource, m.variant) == modes[row.stage])
                use(link.resource, row.lane, row.start_us + link.sending_us(mode.output_bytes))
        awake: dict[str, int] = {}
        for resource in self.whole.resources:
            if resource.linger_us is None:
                awake[resource.name] = 0
                continue
            until_us = used[resource.name] + resource.linger_us if resource.name in used else 0
            held = any(
                span.resource == resource.name and span.from_us + self.from_us < next_us < span.until_us + self.from_us
                for span in answer.spans
            )
            if until_us > next_us or held:
                awake[resource.name] = until_us if until_us > next_us else 0
        return _Left({name: tuple(times) for name, times in lanes.items() if any(times)}, awake)

    def _resource(self, name: str) -> WindowResource:
        return self.whole.resources[self.whole.number[name]]


def _resource(resource: WindowResource, lanes: int, from_us: int, left: _Left) -> WindowResource:
    """A resource as a part finds it, with as many lanes as are told apart."""
    data: dict[str, object] = {name: getattr(resource, name) for name in resource.model_fields_set}
    for key in ("ready_us", "awake", "awake_until_us"):
        data.pop(key, None)
    data["lanes"] = lanes
    ready = tuple(max(0, time - from_us) for time in left.lanes_us.get(resource.name, ()))
    if any(ready):
        data["ready_us"] = ready
    if resource.linger_us is not None:
        data["awake"] = resource.name in left.awake_until_us
        until_us = left.awake_until_us.get(resource.name, 0) - from_us
        if until_us > 0:
            data["awake_until_us"] = until_us
    return WindowResource.model_validate(data)


def _stage(stage: WindowStage, from_us: int, names: dict[str, str]) -> WindowStage:
    return stage.model_copy(
        update={
            "name": names[stage.name],
            "release_us": stage.release_us - from_us,
            "inputs": tuple(names[name] for name in stage.inputs),
            "gates": tuple(names[name] for name in stage.gates),
        }
    )

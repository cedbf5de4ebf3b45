"""What a frame finds: the one value from which its question is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import TypeVar

from leo_runtime.documents.memory import MemoryProblem
from leo_runtime.documents.problem import Link, Problem, Question, Resource
from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

FrameQuestion = TypeVar("FrameQuestion", Problem, MemoryProblem)

LinkNow = tuple[int, int | None] | None
"""A link as it is now: (latency_us, bytes_per_s); None: it is down. `bytes_per_s` None: the size does not matter."""


@dataclass(frozen=True, slots=True)
class StateFound:
    """What a stage has kept, from which a run of it can go on."""

    stage: str
    home: str
    """The processor where it is."""
    variant: str
    """That it is of; another one starts anew."""
    fresh: int
    """How many entries of its first input are new to it."""


@dataclass(frozen=True, slots=True)
class MemoryFound:
    """What a frame finds in the memory of a processor that weights are loaded to."""

    resource: str
    bytes: int | None
    """What of it is left to the frame: all but what other frames may need at one time; None: there is no limit."""
    resident: tuple[str, ...]
    """The labels that are there, as far as they fit into that."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Who is triggered, and what is not as the hardware (or a problem that is kept) says. Times are from the frame's
    start.

    Can be looked up in a table: all that has no order of its own is sorted, so that equal conditions are found equal.
    """

    graphs: tuple[str, ...] = ()
    """The task graphs that are triggered."""
    ready_us: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Processors and radios with the time when each of their lanes becomes free."""
    asleep: tuple[str, ...] = ()
    """Processors and radios that would have to wake up."""
    links: tuple[tuple[tuple[str, str], LinkNow], ...] = ()
    """Links by (source, target)."""
    lost: tuple[str, ...] = ()
    """Processors that are gone."""
    closed_gates: tuple[str, ...] = ()
    """Merged stages known beforehand to close: what hangs on them is left out."""
    stages: tuple[str, ...] | None = None
    """Of a problem that is kept: those of its stages that run at all. None: all of them."""
    states: tuple[StateFound, ...] = ()
    """What stages keep; any other that keeps state starts anew."""
    aside: tuple[tuple[str, str, str], ...] = ()
    """Modes that are out of service, by stage, processor and variant: not for a stage that has another."""
    memory: tuple[MemoryFound, ...] = ()
    """What there is in memory where weights are loaded; others have their whole memory free, and nothing in it."""

    def __post_init__(self) -> None:
        """Sort what has no order of its own."""
        put = object.__setattr__
        if self.ready_us != ():
            put(self, "ready_us", tuple(sorted(self.ready_us)))
        if self.asleep != ():
            put(self, "asleep", tuple(sorted(self.asleep)))
        if self.links != ():
            put(self, "links", tuple(sorted(self.links, key=itemgetter(0))))
        if self.lost != ():
            put(self, "lost", tuple(sorted(self.lost)))
        if self.states != ():
            put(self, "states", tuple(sorted(self.states, key=attrgetter("stage"))))
        if self.aside != ():
            put(self, "aside", tuple(sorted(self.aside)))
        if self.memory != ():
            put(self, "memory", tuple(sorted(self.memory, key=attrgetter("resource"))))

    @property
    def down(self) -> tuple[tuple[str, str], ...]:
        """The links that are down."""
        return tuple([pair for pair, now in self.links if now is None])

    def kind(self) -> Conditions:
        """What decides which stages, resources and links a question has at all; the rest changes their numbers.

        Also what stages keep, with the links over which that would move: by these their modes differ.
        """
        homes = {one.home for one in self.states}
        return Conditions(
            self.graphs,
            links=tuple([(pair, now) for pair, now in self.links if now is None or pair[0] in homes]),
            lost=self.lost,
            closed_gates=self.closed_gates,
            stages=self.stages,
            states=self.states,
            aside=self.aside,
        )

    def applied(self, problem: FrameQuestion) -> FrameQuestion:
        """The question, from one of these graphs and states without the lost processors, else as usual.

        Raises `InputError` on a name that is not in it, or a stage without its input.
        """
        changes: dict[str, object] = {}
        if self.ready_us or self.asleep or self.memory:
            changes["resources"] = self._resources(problem)
        if self.links:
            changes["links"] = self._links(problem)
        changed = problem.model_copy(update=changes) if changes else problem
        return changed if self.stages is None else _only(changed, self.stages)

    def _resources(self, problem: Question) -> tuple[Resource, ...]:
        usual = {resource.name: resource for resource in problem.resources}
        changes: dict[str, dict[str, object]] = {}
        for name, times in self.ready_us:
            if name in usual and len(times) != usual[name].lanes:
                lanes = usual[name].lanes
                raise InputError(f"`{name}` has {lanes} lanes, not the {len(times)} of the frame's ready_us")
            changes[name] = {"ready_us": times}
        for name in self.asleep:
            changes.setdefault(name, {})["awake"] = False
        for found in self.memory:
            changes.setdefault(found.resource, {}).update(memory_bytes=found.bytes, resident=found.resident)
        for name in changes:
            if name not in usual and name not in self.lost:
                raise InputError(f"`{problem.name}` has no resource `{name}` to change")
        return tuple(
            [
                resource.model_copy(update=changes[name]) if name in changes else resource
                for name, resource in usual.items()
            ]
        )

    def _links(self, problem: Question) -> tuple[Link, ...]:
        usual = {(link.source, link.target): link for link in problem.links}
        for pair, now in self.links:
            if now is not None and pair not in usual and pair[0] not in self.lost and pair[1] not in self.lost:
                raise InputError(f"`{problem.name}` has no link `{pair[0]}` -> `{pair[1]}` to change")
        return tuple(links_now(usual, self.links).values())


def links_now(
    usual: Mapping[tuple[str, str], Link], links: Iterable[tuple[tuple[str, str], LinkNow]]
) -> dict[tuple[str, str], Link]:
    """The usual links by (source, target), as they are now, without those that are down."""
    found = dict(usual)
    for pair, now in links:
        if now is None:
            found.pop(pair, None)
        elif pair in found:
            found[pair] = found[pair].model_copy(update={"latency_us": now[0], "bytes_per_s": now[1]})
    return found


def _only(problem: FrameQuestion, names: tuple[str, ...]) -> FrameQuestion:
    """The problem with no stages but these."""
    kept = set(names)
    stages = tuple(stage for stage in problem.stages if stage.name in kept)
    for name in sorted(kept - {stage.name for stage in stages}):
        raise InputError(f"`{problem.name}` has no stage `{name}` to run")
    for stage in stages:
        for name in stage.inputs:
            if name not in kept:
                raise InputError(f"`{stage.name}` runs but its input `{name}` does not")
    budgets = tuple(
        budget.model_copy(update={"stages": tuple(name for name in budget.stages if name in kept)})
        for budget in problem.accuracy_budgets
    )
    deadlines = tuple(deadline for deadline in problem.deadlines if deadline.stage in kept)
    return problem.model_copy(update={"stages": stages, "deadlines": deadlines, "accuracy_budgets": budgets})

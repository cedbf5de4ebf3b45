"""Questions with loads as questions of one frame: what `leo_runtime.solver.memory_exact` searches.

A `Part` is a part of all answers: which modes each stage may have, which runs each load of some labels serves, and what
has to be done with before a load begins. `lowered` makes it a `leo-problem/1` whose answers cost no more than those of
the part: loads cost what they cost and are waited for, but where it is not decided yet who is served by which load
there is one for all, and room is made only where it is said. `docs/memory-problem.md` tells it at length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from leo_runtime.documents.memory import Loader, LoadRun, MemoryMode, MemoryProblem
from leo_runtime.documents.problem import Answer, Link, Mode, Problem, Resource, StageModes, StageRun, TransferRun
from leo_runtime.schema import find_cycle

Place = tuple[str, str]
"""A label and the resource that it is on."""
Spot = tuple[str, str, str]
"""A label, a resource, and the first of the users of a stay there, by which it is known."""


@dataclass(frozen=True, slots=True)
class Stay:
    """The stages whose runs one load of a label serves, or what is resident. It has one at least."""

    resident: bool
    users: tuple[str, ...]

    def spot(self, place: Place) -> Spot:
        """What it is known by, of the stays in a place."""
        return (*place, self.users[0])


@dataclass(frozen=True, slots=True)
class Part:
    """A part of all answers."""

    modes: dict[str, tuple[MemoryMode, ...]]
    """For each stage the modes that it may have."""
    stays: dict[Place, tuple[Stay, ...]] = field(default_factory=dict)
    """What is decided of stays, in the order in which they follow each other: who needs the label there is certain
    then, and further users may join them or have stays of their own."""
    before: tuple[tuple[Spot, Spot], ...] = ()
    """Pairs: all runs that the first serves end before the load of the second begins."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """The question of a part, and which of its stages and resources stand for weights."""

    question: Problem
    sent: dict[str, Place]
    """Stages that send weights: each transfer to its label's resource is a load."""
    loaded: dict[str, Place]
    """Stages that are loads."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to the question of a part, in the words of `leo-placement/3`."""

    runs: tuple[StageRun, ...]
    transfers: tuple[TransferRun, ...]
    loads: tuple[LoadRun, ...]


class Memory:
    """A question with what is looked up of it. Nothing in it changes after it was made."""

    def __init__(self, problem: MemoryProblem) -> None:
        """Look everything up once."""
        self.problem = problem
        self.sizes = {weights.label: weights.bytes for weights in problem.weights}
        self.loaders: dict[str, Loader] = {loader.target: loader for loader in problem.loaders}
        self.caps = {resource.name: resource.memory_bytes for resource in problem.resources}
        self.resident = {resource.name: resource.resident for resource in problem.resources}
        self.modes = {
            (stage.name, mode.resource, mode.variant): mode for stage in problem.stages for mode in stage.modes
        }

    def mode(self, run: StageRun) -> MemoryMode:
        """The mode in which a stage runs."""
        return self.modes[run.stage, run.resource, run.variant]

    def possible(self, mode: MemoryMode) -> bool:
        """Whether a mode's weights can be where it runs, and fit there beside its own memory."""
        cap = self.caps[mode.resource]
        return self.reachable(mode) and (cap is None or self.needed_bytes(mode) <= cap)

    def needed_bytes(self, mode: MemoryMode) -> int:
        """A mode's own memory, and its weights."""
        return mode.memory_bytes + sum(self.sizes[label] for label in mode.weights)

    def reachable(self, mode: MemoryMode) -> bool:
        """Whether a mode's weights can be where it runs."""
        return mode.resource in self.loaders or all(label in self.resident[mode.resource] for label in mode.weights)

    def whole(self) -> Part | None:
        """The part of all answers; None where a stage has no mode that is possible."""
        modes = {stage.name: tuple(filter(self.possible, stage.modes)) for stage in self.problem.stages}
        return Part(modes) if all(modes.values()) else None


def lowered(memory: Memory, part: Part) -> Lowered | None:
    """The question of a part; None where it has no answer, since stages would wait for each other."""
    problem = memory.problem
    names = _Names([*(stage.name for stage in problem.stages), *(resource.name for resource in problem.resources)])
    reads: dict[str, list[str]] = {stage.name: list(stage.inputs) for stage in problem.stages}
    resources = [
        Resource(**resource.model_dump(exclude={"resident"}, exclude_unset=True)) for resource in problem.resources
    ]
    links = list(problem.links)
    stages: list[StageModes] = []
    sent: dict[str, Place] = {}
    loaded: dict[str, Place] = {}
    spots: dict[Spot, str] = {}
    for place in _places(part):
        label, target = place
        loader = memory.loaders.get(target)
        if place in part.stays:
            for stay in part.stays[place]:
                if not stay.resident:
                    name = names.new(f"load of {label} to {target}")
                    spots[stay.spot(place)] = name
                    loaded[name] = place
                    for user in stay.users:
                        reads[user].append(name)
        elif loader is not None and label not in memory.resident[target]:
            readers = [name for name, modes in part.modes.items() if _certain(modes, place)]
            if readers:
                name = names.new(f"weights of {label} for {target}")
                sent[name] = place
                resources.append(Resource(name=name))
                stages.append(StageModes(name=name, modes=(_mode(name, 0, 0, memory.sizes[label]),)))
                links.append(_loading(loader, name))
                elsewhere = dict.fromkeys(mode.resource for reader in readers for mode in part.modes[reader])
                links += [Link(source=name, target=other) for other in elsewhere if other != target]
                for reader in readers:
                    reads[reader].append(name)
    waits = _waits(part, spots)
    for target in dict.fromkeys(target for _, target in loaded.values()):
        loader = memory.loaders[target]
        links.append(Link(source=loader.resource, target=target, latency_us=loader.latency_us))
        links.append(Link(source=target, target=loader.resource))
    for name, (label, target) in loaded.items():
        loader, size = memory.loaders[target], memory.sizes[label]
        mode = _mode(loader.resource, loader.loading_us(size), loader.loading_nj(size))
        stages.append(StageModes(name=name, inputs=tuple(waits[name]), modes=(mode,)))
    if find_cycle({**reads, **waits, **{name: [] for name in sent}}):
        return None
    own = [
        StageModes(
            name=stage.name,
            release_us=stage.release_us,
            inputs=tuple(reads[stage.name]),
            modes=tuple(Mode(**mode.model_dump(exclude={"weights"})) for mode in part.modes[stage.name]),
        )
        for stage in problem.stages
    ]
    question = Problem(
        format="leo-problem/1",
        name=problem.name,
        resources=tuple(resources),
        links=tuple(links),
        stages=(*own, *stages),
        deadlines=problem.deadlines,
        accuracy_budgets=problem.accuracy_budgets,
        limits=problem.limits,
        objective=problem.objective,
    )
    return Lowered(question, sent, loaded)


class _Names:
    """Names that nothing else has."""

    def __init__(self, taken: Sequence[str]) -> None:
        self._taken = set(taken)

    def new(self, name: str) -> str:
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name


def _mode(resource: str, duration_us: int, energy_nj: int, output_bytes: int = 0) -> Mode:
    """A mode of what stands for weights: it may take no time, or more than any that a document can have.

    The search knows how to deal with what takes no time where it waits for nothing.
    """
    return Mode.model_construct(
        resource=resource,
        variant="default",
        duration_us=duration_us,
        energy_nj=energy_nj,
        output_bytes=output_bytes,
        memory_bytes=0,
        accuracy_loss_ppm=0,
    )


def _loading(loader: Loader, source: str) -> Link:
    return Link(
        source=source,
        target=loader.target,
        latency_us=loader.latency_us,
        bytes_per_s=loader.bytes_per_s,
        energy_nj=loader.energy_nj,
        energy_pj_per_byte=loader.energy_pj_per_byte,
        resource=loader.resource,
    )


def _places(part: Part) -> list[Place]:
    """Where labels may be needed, in the order of stages and modes."""
    return list(
        dict.fromkeys(
            (label, mode.resource) for modes in part.modes.values() for mode in modes for label in mode.weights
        )
    )


def _certain(modes: Sequence[MemoryMode], place: Place) -> bool:
    """Whether a stage needs the label of a place whenever it runs there, as it may."""
    there = [mode for mode in modes if mode.resource == place[1]]
    return bool(there) and all(place[0] in mode.weights for mode in there)


def _waits(part: Part, spots: dict[Spot, str]) -> dict[str, list[str]]:
    """For each load that is a stage the stages that it waits for."""
    waits: dict[str, list[str]] = {name: [] for name in spots.values()}
    users = {stay.spot(place): stay.users for place, stays in part.stays.items() for stay in stays}
    pairs = [
        (first.spot(place), second.spot(place))
        for place, stays in part.stays.items()
        for first, second in pairwise(stays)
    ]
    for first, second in (*pairs, *part.before):
        before = waits[spots[second]]
        before += [user for user in users[first] if user not in before]
    return waits


def found(memory: Memory, lower: Lowered, answer: Answer) -> Found:
    """What an answer to the question of a part says of stages, transfers and loads."""
    own = {stage.name for stage in memory.problem.stages}
    runs = tuple(run for run in answer.stages if run.stage in own)
    # What a load that is a stage waits for is sent, for nothing, to where weights are loaded from.
    stores = {loader.resource for loader in memory.loaders.values()}
    transfers = tuple(row for row in answer.transfers if row.stage in own and row.target not in stores)
    loads = []
    for row in answer.transfers:
        if row.stage in lower.sent and row.target == lower.sent[row.stage][1]:
            assert row.lane is not None, "a load occupies a lane"
            loads.append(_load(lower.sent[row.stage], row.lane, row.start_us, row.arrive_us))
    for run in answer.stages:
        if run.stage in lower.loaded:
            place = lower.loaded[run.stage]
            arrive = run.end_us + memory.loaders[place[1]].latency_us
            loads.append(_load(place, run.lane, run.start_us, arrive))
    return Found(runs, transfers, tuple(sorted(loads, key=lambda load: load.start_us)))


def _load(place: Place, lane: int, start_us: int, arrive_us: int) -> LoadRun:
    return LoadRun(label=place[0], target=place[1], lane=lane, start_us=start_us, arrive_us=arrive_us)


@dataclass(slots=True)
class _Held:
    """A label that is held on a resource from `start` on, and the runs that it serves."""

    label: str
    resource: str
    start: int
    arrive: int
    resident: bool
    users: list[StageRun] = field(default_factory=list)

    @property
    def end(self) -> int:
        return max(run.end_us for run in self.users)

    @property
    def place(self) -> Place:
        return self.label, self.resource


def parts_without_trouble(memory: Memory, part: Part, answer: Found) -> list[Part] | None:
    """The parts of a part in which what is wrong with an answer to its question is decided; None: nothing is wrong.

    Together they have every answer of the part that keeps the rules.
    """
    held, unserved = _stays(memory, answer)
    for run, place in unserved:
        # Where who needs the label is certain, the stage waits for its load, unless which one it is is left open.
        return _with(memory, part, place, [run]) if place in part.stays else _by_mode(memory, part, run)
    for first, second in pairwise(held):
        if first.place == second.place and first.end > second.start:
            return _with(memory, part, first.place, first.users)
    for resource in memory.problem.resources:
        if resource.memory_bytes is None:
            continue
        working = [run for run in answer.runs if run.resource == resource.name and memory.mode(run).memory_bytes]
        room = resource.memory_bytes - sum(memory.mode(run).memory_bytes for run in working)
        here = [one for one in held if one.resource == resource.name]
        for time in sorted({one.start for one in here}):
            together = [one for one in here if one.start <= time < one.end]
            if sum(memory.sizes[one.label] for one in together) > room:
                return _parts(memory, part, answer, together, working, room)
    return None


def _stays(memory: Memory, answer: Found) -> tuple[list[_Held], list[tuple[StageRun, Place]]]:
    """What is held, place by place in the order of arrival, and the runs that start before what they need is there."""
    there: dict[Place, list[_Held]] = {}
    for name, labels in memory.resident.items():
        for label in labels:
            there[label, name] = [_Held(label, name, 0, 0, resident=True)]
    for load in sorted(answer.loads, key=lambda load: load.arrive_us):
        stays = there.setdefault((load.label, load.target), [])
        stays.append(_Held(load.label, load.target, load.start_us, load.arrive_us, resident=False))
    unserved: list[tuple[StageRun, Place]] = []
    for run in answer.runs:
        for label in memory.mode(run).weights:
            place = (label, run.resource)
            arrived = [one for one in there.get(place, []) if one.arrive <= run.start_us]
            if arrived:
                arrived[-1].users.append(run)
            else:
                unserved.append((run, place))
    return [one for stays in there.values() for one in stays if one.users], unserved


def _by_mode(memory: Memory, part: Part, run: StageRun) -> list[Part]:
    """The stage in a mode that is like the one it runs in (in the same place, with the same needs), or in another."""
    kind = _needs(memory.mode(run))
    alike = [mode for mode in part.modes[run.stage] if _needs(mode) == kind]
    return _divided(part, run.stage, alike)


def _needs(mode: MemoryMode) -> tuple[str, frozenset[str], int]:
    return mode.resource, frozenset(mode.weights), mode.memory_bytes


def _divided(part: Part, stage: str, some: list[MemoryMode]) -> list[Part]:
    """The part with these modes of a stage, and that with its others."""
    others = tuple(mode for mode in part.modes[stage] if mode not in some)
    return [replace(part, modes={**part.modes, stage: modes}) for modes in (tuple(some), others) if modes]


def _parts(
    memory: Memory, part: Part, answer: Found, together: list[_Held], working: list[StageRun], room: int
) -> list[Part]:
    """What to decide where weights that are held at one time do not fit into the room there is for them."""
    runs = {run.stage: run for run in answer.runs}
    concerned = [run.stage for one in together for run in one.users] + [run.stage for run in working]
    for stage in dict.fromkeys(concerned):
        if len({_needs(mode) for mode in part.modes[stage]}) > 1:
            return _by_mode(memory, part, runs[stage])
    for one in together:
        for stage, modes in part.modes.items():
            needing = [mode for mode in modes if mode.resource == one.resource and one.label in mode.weights]
            if needing and len(needing) < len(modes):
                return _divided(part, stage, needing)
    for one in together:
        users = [name for name, modes in part.modes.items() if _certain(modes, one.place)]
        missing = [runs[name] for name in users if name not in _joined(part, one.place)]
        for run in missing:
            ways = _with(memory, part, one.place, [run])
            if len(ways) > 1:
                return ways
            (part,) = ways
    for one in sorted(together, key=lambda one: memory.sizes[one.label]):
        rest = [other for other in together if other is not one]
        if sum(memory.sizes[other.label] for other in rest) > room:
            together = rest
    stays = [(one, _spot(part, one)) for one in together]
    return [
        replace(part, before=(*part.before, (first, second)))
        for one, first in stays
        for other, second in stays
        if one is not other and not other.resident
    ]


def _joined(part: Part, place: Place) -> list[str]:
    """The users of a place of which it is decided what serves them."""
    return [user for stay in part.stays.get(place, ()) for user in stay.users]


def _spot(part: Part, one: _Held) -> Spot:
    """What is known of a stay whose users are all decided."""
    user = one.users[0].stage
    return next(stay for stay in part.stays[one.place] if user in stay.users).spot(one.place)


def _with(memory: Memory, part: Part, place: Place, runs: list[StageRun]) -> list[Part]:
    """The parts in which the first of these runs of which it is not decided is served by this stay or that."""
    user = next(run.stage for run in runs if run.stage not in _joined(part, place))
    label, resource = place
    ways = _ways(part.stays.get(place, ()), user, label in memory.resident[resource], resource in memory.loaders)
    return [replace(part, stays={**part.stays, place: way}) for way in ways]


def _ways(stays: tuple[Stay, ...], user: str, resident: bool, loader: bool) -> Iterator[tuple[Stay, ...]]:
    """Every way for one user more: to join a stay, or to have one of its own, a load or what is resident."""
    for k, stay in enumerate(stays):
        yield (*stays[:k], replace(stay, users=(*stay.users, user)), *stays[k + 1 :])
    begins = bool(stays) and stays[0].resident
    if loader:
        for k in range(begins, len(stays) + 1):
            yield (*stays[:k], Stay(False, (user,)), *stays[k:])
    if resident and not begins:
        yield (Stay(True, (user,)), *stays)

"""From what a release finds, and what is known to follow, to the question of a window.

`window_problem` writes down what `docs/window-problem.md` asks for: the stages of the release at hand as
`frame_problem` has them, those of the later ones under names of their own, what earlier releases have left, how likely
gated stages are to run, and how long everything stays awake. `round_safely` makes equal questions of such as differ by
little.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

from leo_runtime.documents.hardware import Hardware, Processor, Radio
from leo_runtime.documents.problem import AccuracyBudget, Deadline, Link, Mode, Problem, Resource
from leo_runtime.documents.window import CERTAIN, WindowProblem, WindowResource, WindowStage
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.chances import Chance, Chances
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.foresight import NOTHING_KNOWN, Outlook
from leo_runtime.frame.lower import MergedStage, MergedWorkload, active_stages, share_weights
from leo_runtime.frozen import dataclass, maker

GRID = 100
"""Times that are found are rounded to so small a part of the shortest period or deadline."""

Modes = Mapping[str, tuple[Mode, ...]]


@dataclass(frozen=True, slots=True)
class There:
    """An output of an earlier frame that is there, or will be without anybody deciding it any more.

    It was computed, is just computed or is being sent. Times are from the release at hand.
    """

    stage: str
    resources: tuple[str, ...]
    """Where it is: first where it was computed, from where it can be sent on."""
    at_us: int
    """When it is on all of them; 0: now."""
    output_bytes: int
    decides: bool = True
    """Of a gate: whether it has not decided yet."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier frame of which some stages wait: they are placed again."""

    release_us: int
    """From the release at hand, so at most 0."""
    graphs: tuple[str, ...]
    waiting: tuple[str, ...]
    """Merged stages that have not started."""
    there: tuple[There, ...] = ()
    """What they read, and the gates that they wait for."""
    closed: tuple[str, ...] = ()
    """Of these gates those that have closed: others may still open."""
    lost_ppm: tuple[tuple[str, int], ...] = ()
    """The accuracy that each graph has lost already, of those with a budget."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a release finds and foresees: the one value from which the question of its window is made.

    Can be looked up in a table: equal values are equal questions. Times are from the release at hand.
    """

    now: Conditions
    """Who is triggered, and what is not as the hardware says."""
    outlook: Outlook = NOTHING_KNOWN
    awake_until_us: tuple[tuple[str, int], ...] = ()
    """Until when what is awake, and may sleep, stays so if nothing uses it; 0 where it is left out."""
    chances: Chances | None = None
    """How likely gates are to open; None: everything runs, and nothing waits for gates."""
    earlier: tuple[Earlier, ...] = ()
    """Earlier frames of which something waits, the latest first."""


_found = maker(Found)


@dataclass(frozen=True, slots=True)
class Window:
    """A question, and what its stages are."""

    problem: WindowProblem
    at_hand: tuple[str, ...]
    """The stages of the release at hand: they are called as in its frame."""
    earlier: tuple[Left, ...]
    """What each of `Found.earlier` has left."""


@dataclass(frozen=True, slots=True)
class Left:
    """The stages of an earlier frame: merged stages by their names in the question."""

    waiting: Mapping[str, str]
    there: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Releases:
    """What a question has of the release at hand, and of those that follow: the same however the machine is found."""

    at_hand: tuple[str, ...]
    stages: tuple[WindowStage, ...]
    deadlines: tuple[Deadline, ...]
    budgets: tuple[AccuracyBudget, ...]
    counted: Mapping[str, tuple[Mode, ...]]
    """The modes of all stages, as those of earlier frames have them."""

    @staticmethod
    def key(found: Found) -> Hashable:
        """What they depend on, beside the modes."""
        now = found.now
        waiting = tuple([earlier.waiting for earlier in found.earlier])
        links = now.kind().links if now.states else ()
        return (
            *(now.graphs, now.lost, now.aside, now.closed_gates, now.states),
            *(found.outlook, found.chances, waiting, links),
        )


def window_releases(
    merged: MergedWorkload,
    modes: Modes,
    hardware: Hardware,
    found: Found,
    usual: Problem,
    later: Modes | None = None,
) -> Releases:
    """The part of `window_problem` that `Releases.key` decides, with equal arguments.

    `later` are the modes of releases that follow, where they are others.
    """
    mark = _mark("@", [stage.name for stage in merged.stages])
    releases = [(0, found.now), *((r.after_us, _later(found.now, r.graphs)) for r in found.outlook.later)]
    active = [active_stages(merged, conditions) for _, conditions in releases]
    counted = _counted_once(active, [earlier.waiting for earlier in found.earlier], merged, modes, hardware)
    opens = _Opening(found.chances)
    stages: list[WindowStage] = []
    deadlines: list[Deadline] = []
    budgets: list[AccuracyBudget] = []
    for number, (after_us, conditions) in enumerate(releases):
        names = {
            stage.name: stage.name if number == 0 else f"{stage.name}{mark}{number + 1}" for stage in active[number]
        }
        priced = counted if number == 0 or later is None else _priced(counted, later, active[number])
        gated = _gated(
            active[number], conditions.graphs, conditions.closed_gates, opens.next(active[number], conditions)
        )
        stages += [
            _stage(stage, names[stage.name], after_us, names, gated.get(stage.name), conditions.graphs, priced)
            for stage in active[number]
        ]
        if number + 1 < len(releases) or found.earlier:
            counted = _without_weights(counted, active[number])
        if number == 0:
            deadlines += usual.deadlines
            budgets += usual.accuracy_budgets
        else:
            due, kept = _due(merged, conditions.graphs, names, after_us)
            deadlines += due
            budgets += kept
    at_hand = tuple(stage.name for stage in active[0])
    return Releases(at_hand, tuple(stages), tuple(deadlines), tuple(budgets), counted)


def window_problem(
    merged: MergedWorkload,
    modes: Modes,
    hardware: Hardware,
    found: Found,
    usual: Problem,
    name: str,
    releases: Releases | None = None,
) -> Window:
    """The question of a window; `usual` is the one of the release at hand alone (`frame_problem` of `found.now`).

    `modes` are those on processors that are there. A stage `s` of the k-th later release is called `s@k+1`, one of the
    k-th earlier frame `s@-k`, and what is there is on a resource `at:...`; where the workload or the machine has such
    names already, the sign is repeated. Of a stage that comes several times the memory counts once. Nothing is known to
    follow where `found.outlook.next_us` is None: the horizon is then after all that could still be awake in time.
    `releases` are those of an equal `Releases.key`, where they are known.
    """
    if releases is None:
        releases = window_releases(merged, modes, hardware, found, usual)
    mark = _mark("@", [stage.name for stage in merged.stages])
    at_mark = _mark("at:", [resource.name for resource in usual.resources])
    stages, deadlines, budgets = [*releases.stages], [*releases.deadlines], [*releases.budgets]
    links = tuple(_links(usual.links, hardware))
    there = _There(usual, links, at_mark)
    opens = _Opening(found.chances)
    left: list[Left] = []
    for number, earlier in enumerate(found.earlier, 1):
        placed = _earlier(merged, earlier, f"{mark}-{number}", releases.counted, opens, there)
        stages += placed.stages
        deadlines += placed.deadlines
        budgets += placed.budgets
        left.append(placed.left)
    resources = _resources(usual.resources, hardware, dict(found.awake_until_us))
    problem = WindowProblem(
        format="leo-problem/2",
        name=name,
        horizon_us=_horizon_us(found, resources, deadlines),
        releases_us=_releases_us(found, resources),
        resources=(*resources, *there.resources()),
        links=(*links, *there.links()),
        stages=tuple(stages),
        deadlines=tuple(deadlines),
        accuracy_budgets=tuple(budgets),
        objective=usual.objective,
    )
    return Window(problem, releases.at_hand, tuple(left))


def grid_us(workload: Workload) -> int:
    """What times are rounded to: at most one percent of the shortest period, and of the shortest deadline."""
    return max(1, min(min(graph.period_us, graph.deadline_us) for graph in workload.graphs) // GRID)


def round_safely(found: Found, grid_us: int) -> Found:
    """Times rounded so that an answer can be played: lanes are free no earlier, and nothing stays awake longer.

    What that costs at most: a lane that waits for a grid's length, and lingering of that length that is charged twice,
    once as what is left of it and once as a held span. Beyond the horizon all lingering is the same.
    """
    if not (found.now.ready_us or found.awake_until_us or found.earlier):
        return found
    ready = tuple(
        [(name, tuple([-(-at_us // grid_us) * grid_us for at_us in lanes])) for name, lanes in found.now.ready_us]
    )
    most_us = found.outlook.next_us

    def awake_us(until_us: int) -> int:
        return until_us // grid_us * grid_us if most_us is None or until_us < most_us else most_us

    awake = tuple((name, awake_us(until_us)) for name, until_us in found.awake_until_us)
    earlier = tuple(
        replace(
            one,
            there=tuple(replace(output, at_us=-(-output.at_us // grid_us) * grid_us) for output in one.there),
        )
        for one in found.earlier
    )
    return _found(
        replace(found.now, ready_us=ready) if ready else found.now,
        found.outlook,
        tuple(sorted([entry for entry in awake if entry[1]])),
        found.chances,
        earlier,
    )


# Names.


def _mark(sign: str, names: Collection[str]) -> str:
    """The sign, repeated until no name has it."""
    mark = sign
    while any(mark in name for name in names):
        mark += sign
    return mark


# Stages.


def _later(now: Conditions, graphs: tuple[str, ...]) -> Conditions:
    """What a later release finds, as far as it decides which stages there are."""
    return Conditions(graphs, lost=now.lost)


def _counted_once(
    active: Sequence[tuple[MergedStage, ...]],
    waiting: Sequence[tuple[str, ...]],
    merged: MergedWorkload,
    modes: Modes,
    hardware: Hardware,
) -> dict[str, tuple[Mode, ...]]:
    """The modes of all stages of a window, with equal weights counted once."""
    names = [stage.name for stages in active for stage in stages] + [name for names in waiting for name in names]
    of = {stage.name: stage for stage in merged.stages}
    return share_weights([of[name] for name in dict.fromkeys(names)], modes, hardware)


def _without_weights(
    counted: Mapping[str, tuple[Mode, ...]], stages: Sequence[MergedStage]
) -> dict[str, tuple[Mode, ...]]:
    """The modes of all stages, where these were counted already."""
    weightless = {
        stage.name: tuple(
            mode.model_copy(update={"memory_bytes": 0}) if mode.memory_bytes else mode for mode in counted[stage.name]
        )
        for stage in stages
    }
    return {**counted, **weightless}


def _priced(counted: Mapping[str, tuple[Mode, ...]], costs: Modes, stages: Sequence[MergedStage]) -> Modes:
    """The modes of these stages with other costs, and their memory as it is counted."""
    return {
        stage.name: tuple(
            cost.model_copy(update={"memory_bytes": mode.memory_bytes})
            if cost.memory_bytes != mode.memory_bytes
            else cost
            for mode, cost in zip(counted[stage.name], costs[stage.name], strict=True)
        )
        for stage in stages
    }


def _stage(
    stage: MergedStage,
    name: str,
    release_us: int,
    names: Mapping[str, str],
    gated: tuple[tuple[str, ...], int] | None,
    graphs: Collection[str],
    modes: Modes,
) -> WindowStage:
    """A stage under its name in the question; `names` are those of what it may read."""
    gates, chance_ppm = ((), CERTAIN) if gated is None else gated
    reads = dict.fromkeys((*stage.inputs, *stage.gates(graphs)))
    return WindowStage(
        name=name,
        release_us=release_us,
        inputs=tuple(names[read] for read in reads if read in names),
        modes=modes[stage.name],
        gates=tuple(names[gate] for gate in gates),
        chance_ppm=chance_ppm,
    )


def _due(
    merged: MergedWorkload,
    graphs: Collection[str],
    names: Mapping[str, str],
    release_us: int,
    lost_ppm: Mapping[str, int] | None = None,
) -> tuple[list[Deadline], list[AccuracyBudget]]:
    """Deadlines and budgets of a release's stages, by their names in the question."""
    deadlines: list[Deadline] = []
    budgets: list[AccuracyBudget] = []
    for graph in merged.workload.graphs:
        if graph.name not in graphs:
            continue
        due_us = max(0, release_us + graph.deadline_us)
        deadlines += [
            Deadline(stage=names[stage], deadline_us=due_us, weight=graph.weight)
            for stage in merged.outputs(graph)
            if stage in names
        ]
        if graph.accuracy_loss_ppm_max is not None:
            kept = tuple(names[stage] for stage in merged.stages_of(graph) if stage in names)
            left_ppm = max(0, graph.accuracy_loss_ppm_max - (lost_ppm or {}).get(graph.name, 0))
            budgets.append(AccuracyBudget(stages=kept, loss_ppm_max=left_ppm))
    return deadlines, budgets


# How likely stages are to run.


class _Opening:
    """How likely each gate is to open in one release after the other."""

    def __init__(self, chances: Chances | None) -> None:
        self._chances: dict[str, Chance] | None = None if chances is None else dict(chances)
        self._last_ppm: dict[str, int] = {}

    def next(self, active: Sequence[MergedStage], conditions: Conditions) -> Mapping[str, int] | None:
        """Of the gates of the next release, given that they run; None: chances are not asked about."""
        if self._chances is None:
            return None
        ppm: dict[str, int] = {}
        for gate in dict.fromkeys(gate for stage in active for gate in stage.gates(conditions.graphs)):
            chance, last_ppm = self._chances[gate], self._last_ppm.get(gate)
            ppm[gate] = chance.next_ppm if last_ppm is None else chance.following(last_ppm)
        self._last_ppm.update(ppm)
        return ppm

    def before(self, gates: Collection[str]) -> Mapping[str, int] | None:
        """Of gates of an earlier frame, which have not decided either."""
        return None if self._chances is None else {gate: self._chances[gate].next_ppm for gate in gates}


def _gated(
    active: Sequence[MergedStage],
    graphs: Collection[str],
    closed: Collection[str],
    opens_ppm: Mapping[str, int] | None,
    there: Mapping[str, There] | None = None,
) -> dict[str, tuple[tuple[str, ...], int]]:
    """Of the stages that may not run: gates of which one must open, or run, and how likely they are to, in ppm.

    A stage that reads the output of one that may not run cannot run without it. Of several reasons the least likely one
    is taken. `active` has gates and inputs before their readers; `there` are outputs that are there, among them gates.
    """
    if opens_ppm is None:
        return {}
    there = there or {}
    may_run = {stage.name for stage in active} | there.keys()
    found: dict[str, tuple[tuple[str, ...], int]] = {}
    for stage in active:
        gates = tuple(gate for gate in stage.gates(graphs) if gate in may_run and gate not in closed)
        likely = [_share(found[gate][1] if gate in found else CERTAIN, opens_ppm[gate]) for gate in gates]
        reasons = [(gates, min(CERTAIN, sum(likely)))] if gates else []
        if any(gate in there and not there[gate].decides for gate in gates):
            reasons = []  # One of them is open.
        reads = [read for read in stage.inputs if read in may_run]
        uncertain = [read for read in reads if read in found]
        if not stage.bound.operator.takes_absent:
            reasons += [((read,), found[read][1]) for read in uncertain]
        elif uncertain and len(uncertain) == len(reads):
            reasons.append((tuple(uncertain), min(CERTAIN, sum(found[read][1] for read in uncertain))))
        if reasons:
            found[stage.name] = min(reasons, key=lambda reason: reason[1])
    return found


def _share(ppm: int, of_ppm: int) -> int:
    """So much of so much, rounded up."""
    return -(-ppm * of_ppm // CERTAIN)


# What earlier frames have left.


@dataclass(frozen=True, slots=True)
class _Placed:
    """The part of the question that is of an earlier frame."""

    stages: list[WindowStage]
    deadlines: list[Deadline]
    budgets: list[AccuracyBudget]
    left: Left


class _There:
    """The resources on which outputs of earlier frames are, one for each set of places, and their links."""

    def __init__(self, usual: Problem, links: Sequence[Link], mark: str) -> None:
        self._links = links
        self._here = [resource.name for resource in usual.resources]
        self._mark = mark
        self._held: dict[str, tuple[tuple[str, ...], int]] = {}

    def stage(self, output: There, name: str) -> WindowStage:
        """The stage that stands for an output."""
        resource = self._mark + ",".join(output.resources)
        self._held[resource] = (output.resources, self._held.get(resource, ((), 0))[1] + 1)
        mode = Mode(resource=resource, duration_us=1, energy_nj=0, output_bytes=output.output_bytes)
        return WindowStage(name=name, release_us=max(0, output.at_us - 1), modes=(mode,))

    def resources(self) -> Iterator[WindowResource]:
        """As many lanes as there are outputs: each is there by itself."""
        for name, (_, count) in self._held.items():
            yield WindowResource(name=name, lanes=count, linger_us=None)

    def links(self) -> Iterator[Link]:
        """To where the outputs are for nothing, elsewhere as from where they were computed."""
        for name, (places, _) in self._held.items():
            yield from (Link(source=name, target=place) for place in places if place in self._here)
            for link in self._links:
                if link.source == places[0] and link.target not in places:
                    yield link.model_copy(update={"source": name})


def _earlier(
    merged: MergedWorkload, earlier: Earlier, mark: str, modes: Modes, opens: _Opening, held: _There
) -> _Placed:
    there = {output.stage: output for output in earlier.there}
    waiting = [stage for stage in merged.stages if stage.name in earlier.waiting]
    names = {name: name + mark for name in (*there, *(stage.name for stage in waiting))}
    gates = dict.fromkeys(gate for stage in waiting for gate in stage.gates(earlier.graphs))
    gated = _gated(waiting, earlier.graphs, earlier.closed, opens.before(gates), there)
    stages = [held.stage(output, names[output.stage]) for output in earlier.there]
    stages += [
        _stage(stage, names[stage.name], 0, names, gated.get(stage.name), earlier.graphs, modes) for stage in waiting
    ]
    again = {stage.name: names[stage.name] for stage in waiting}
    deadlines, budgets = _due(merged, earlier.graphs, again, earlier.release_us, dict(earlier.lost_ppm))
    known = {names[name]: name for name in there}
    return _Placed(stages, deadlines, budgets, Left({name: stage for stage, name in again.items()}, known))


# The machine, and times.


def _resources(
    usual: Sequence[Resource], hardware: Hardware, awake_until_us: Mapping[str, int]
) -> tuple[WindowResource, ...]:
    """The resources with their lingering, above what they draw asleep."""
    processors: dict[str, Processor | Radio] = {part.name: part for part in hardware.processors}
    parts = processors | {radio.name: radio for radio in hardware.radios}
    made = []
    for resource in usual:
        data = {name: getattr(resource, name) for name in resource.model_fields_set}
        until_us = awake_until_us.get(resource.name, 0)
        made.append(WindowResource(**{**data, **_lingering(parts[resource.name]), **_rest(resource, until_us)}))
    return tuple(made)


def _rest(resource: Resource, until_us: int) -> dict[str, int]:
    return {"awake_until_us": until_us} if resource.awake and until_us else {}


def _lingering(part: Processor | Radio) -> Mapping[str, int | None]:
    """How long something stays awake, and what it then draws."""
    if isinstance(part, Radio):
        lingering = {"awake_mw": max(part.awake_mw, part.tail_mw), "linger_us": part.tail_us}
        return lingering | ({"linger_mw": part.tail_mw} if part.tail_us else {})
    if part.idle_timeout_us is None:
        return {"linger_us": None}
    return {"awake_mw": max(0, part.awake_mw - part.asleep_mw), "linger_us": part.idle_timeout_us}


def _links(links: Sequence[Link], hardware: Hardware) -> Iterator[Link]:
    """The links, of which sending takes less where its radio's tail draws more than the radio awake.

    Such a radio is given its tail's power as `awake_mw`; a link's energy is above that. Rounded so that it is never too
    low.
    """
    more_mw = {
        radio.name: radio.tail_mw - radio.awake_mw for radio in hardware.radios if radio.tail_mw > radio.awake_mw
    }
    for link in links:
        if link.resource in more_mw and link.bytes_per_s is not None:
            counted_pj = more_mw[link.resource] * 1_000_000_000 // link.bytes_per_s
            link = link.model_copy(update={"energy_pj_per_byte": max(0, link.energy_pj_per_byte - counted_pj)})
        yield link


def _releases_us(found: Found, resources: Sequence[WindowResource]) -> tuple[int, ...]:
    """When something may begin to wake: at each release, and when a lingering that is not used is over."""
    times = {0, *(release.after_us for release in found.outlook.later)}
    times |= {resource.awake_until_us for resource in resources if resource.awake_until_us}
    next_us = found.outlook.next_us
    return tuple(sorted(time for time in times if next_us is None or time < next_us))


def _horizon_us(found: Found, resources: Sequence[WindowResource], deadlines: Sequence[Deadline]) -> int:
    """The next release that is not in the window; without one, after all that would still be awake in time."""
    if found.outlook.next_us is not None:
        return found.outlook.next_us
    last_us = max(
        (
            *(due.deadline_us for due in deadlines),
            *(release.after_us for release in found.outlook.later),
            *(resource.awake_until_us for resource in resources),
            0,
        )
    )
    return 1 + last_us + max((resource.linger_us or 0 for resource in resources), default=0)

"""From a release to its plan: what it finds on the machine and foresees, and the answer to the question of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from leo_runtime.dispatch.driver import Driver
from leo_runtime.dispatch.events import Exit
from leo_runtime.dispatch.left import LeftOver, latest
from leo_runtime.dispatch.plan import Plan
from leo_runtime.dispatch.turning_back import latest_us
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Placement
from leo_runtime.frame.batch import Modes
from leo_runtime.frame.chances import Chances
from leo_runtime.frame.conditions import Conditions, LinkNow, StateFound
from leo_runtime.frame.nowhere import Pair, nowhere
from leo_runtime.frame.running_ledger import linger_us
from leo_runtime.frame.window import Found
from leo_runtime.frozen import maker
from leo_runtime.runtime.exits import Exits
from leo_runtime.runtime.horizon import Horizon
from leo_runtime.runtime.kept_answers import KeptAnswer
from leo_runtime.runtime.machine_now import machine_now
from leo_runtime.runtime.memory_now import NOTHING_THERE, MemoryNow, memory_now
from leo_runtime.runtime.planned import Placed, Planned, Skipped
from leo_runtime.runtime.planner import Planner, no_placement

if TYPE_CHECKING:
    from leo_runtime.dispatch.dispatcher import Dispatcher

Due = Mapping[str, tuple[tuple[str, int], ...]]
"""Of each graph, the merged stages that are due, and when from its release, in us."""


MOST_ALONE = 256
"""How many different things are kept that frames may find which have the machine to themselves."""

TRIED_AGAIN = 16
"""Every so many frames what was too late by what runs took is tried all the same: it may have become faster."""

_Asked = tuple[Conditions, Found | None]
"""What a release asks, with one choice of processors that are not used: as a frame by itself, and with what follows;
None: it is placed alone."""

_placed = maker(Placed)


class Placer:
    """Places the frames of one runtime, one at a time."""

    def __init__(
        self, hardware: Hardware, planner: Planner, horizon: Horizon | None, *, most_in_flight: int, most_stages: int
    ) -> None:
        """Frames are skipped while so many others are in flight that have a graph in common with them.

        `horizon` is what there is to know of later releases, where frames are not placed each as if it were alone; of
        earlier ones at most so many stages are placed again.
        """
        self._planner = planner
        self._merged_stages = planner.merged.stages
        self._exits = Exits(planner.merged)
        self._given_up = 0
        """How many frames in a row went no further than exits, as more would have been late..."""
        self._has_moved = False
        """...where plans have gone by what runs took, which nothing tells of what does not run."""
        self._servers = frozenset(processor.name for processor in hardware.processors if processor.remote)
        self._horizon = horizon
        self._most_in_flight = most_in_flight
        self._most_stages = most_stages
        self._linger_us = linger_us(hardware)
        self._linked = frozenset((link.source, link.target) for link in hardware.links)
        self._all = tuple(graph.name for graph in planner.merged.workload.graphs)
        self._nowhere: dict[tuple[tuple[str, ...], frozenset[str], frozenset[Pair], bool], Mapping[str, str]] = {}
        """Which graphs cannot be placed, by those of the frame, who is lost, which links are down, and whether exits
        may answer."""
        self._processors = tuple(processor.name for processor in hardware.processors)
        self._lanes = {one.name: one.lanes for one in hardware.resources}
        self._caps = {processor.name: processor.memory_bytes for processor in hardware.processors}
        self._stores = {loader.target: loader.store for loader in hardware.loaders}
        self._lingers_us = tuple(self._linger_us.items())
        self._alone: dict[tuple[tuple[str, ...], tuple[str, ...]], Conditions] = {}
        """What frames find that have the machine to themselves, by their graphs and who sleeps, while links are..."""
        self._alone_links: Mapping[tuple[str, str], LinkNow] = {}
        """...these."""

    def follow(self, before: Placer) -> None:
        """As `Planner.follow`."""
        self._planner.follow(before._planner)

    def take_over(self, before: Placer, graphs: frozenset[str], stages: Collection[str]) -> None:
        """Go on with what another knows: of these graphs, which ask the same there, and of these same stages."""
        modes, theirs = self._planner.modes, before._planner.modes
        merged = self._planner.merged
        alike = [name for name in stages if name in modes and modes[name] == theirs.get(name)]
        graphs = frozenset(
            [g.name for g in merged.workload.graphs if g.name in graphs and set(alike).issuperset(merged.stages_of(g))]
        )
        self._planner.take_over(before._planner, graphs)
        if self._horizon is not None and before._horizon is not None:
            self._horizon.take_over(before._horizon, graphs, stages)

    def use(self, modes: Modes) -> None:
        """Plan with these modes from now on."""
        self._planner.use(modes)
        self._nowhere.clear()
        self._has_moved = True
        if self._horizon is not None:
            self._horizon.use()

    def exits(self, graphs: tuple[str, ...], releases_us: tuple[int, ...]) -> tuple[Exit, ...]:
        """Those of a frame of these graphs; of a batch none, whose frames wait for each other."""
        return self._exits.of(graphs, releases_us[0]) if len(releases_us) == 1 else ()

    def due_us(self, graphs: tuple[str, ...], releases_us: tuple[int, ...]) -> Mapping[str, int]:
        """When stages of a frame of these graphs are due, from its release; of a batch it is not said."""
        return self._exits.due_us(graphs) if self._servers and len(releases_us) == 1 else {}

    def place(
        self,
        driver: Driver,
        releases_us: tuple[int, ...],
        graphs: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
        *,
        in_flight: Mapping[int, tuple[str, ...]],
        chances: Chances = (),
        together: tuple[str, ...] | None = None,
        batched: Modes | None = None,
        states: tuple[StateFound, ...] = (),
    ) -> Placed | Placement | Skipped:
        """The plan of a frame or batch, or a placement that says why there is none.

        `in_flight` are the graphs of each frame that may be placed again, `chances` those of the horizon; `together`
        and `batched` are as `Planner.plan` takes them; `states` are what stages keep, of a batch as its first frame
        finds them. Raises what that does.
        """
        release_us, frames = releases_us[-1], len(releases_us)
        if self._horizon is not None:
            self._horizon.note(release_us, graphs, frames)
        horizon = self._horizon if batched is None else None
        with driver.locked():
            flying = driver.dispatcher.frames
            if len(flying) >= self._most_in_flight and self._is_too_much(flying, in_flight, graphs):
                return Skipped(no_placement(f"skipped: {self._most_in_flight} frames are in flight"))
            asked, left = self._questions(driver, release_us, graphs, links, horizon, in_flight, chances, states)
        for alone, window in asked:
            planned: Planned | Placement
            if horizon is not None and window is not None:
                planned = horizon.plan(window, alone, release_us)
            else:
                context = self._planner.context(release_us)
                planned = self._planner.plan(alone, frames=frames, together=together, batched=batched, context=context)
            if isinstance(planned, Planned):
                now = alone if window is None else window.now
                again: tuple[tuple[int, Plan], ...] = ()
                if left:
                    again = tuple([(earlier.frame, plan) for earlier, plan in zip(left, planned.again, strict=False)])
                placed = _placed(planned, now.asleep, again)
                return placed if batched is not None else self._without_vain(placed, alone, graphs)
            why = planned
        if batched is None:  # What comes after the exits can run nowhere now.
            return self._to_exits(asked[-1][0], graphs, self._exits.early(graphs)) or why
        return why

    def nowhere(
        self,
        driver: Driver,
        releases_us: tuple[int, ...],
        graphs: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
    ) -> Mapping[str, str]:
        """Of the graphs of a frame or batch those that can run on nothing that is left, each with the reason, where the
        others may; none where that is all of them."""
        if len(graphs) < 2:
            return {}
        found = self._nowhere_now(driver, releases_us[-1], graphs, links, answers=len(releases_us) == 1)
        return found if len(found) < len(graphs) else {}

    def out(self, driver: Driver, release_us: int, links: Mapping[tuple[str, str], LinkNow]) -> Collection[str]:
        """All graphs that can run on nothing that is left, also those that are not released now."""
        return self._nowhere_now(driver, release_us, self._all, links, answers=True)

    def _nowhere_now(
        self,
        driver: Driver,
        release_us: int,
        graphs: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
        *,
        answers: bool,
    ) -> Mapping[str, str]:
        with driver.locked():
            lost = driver.dispatcher.lost
            links = _usable(driver.dispatcher, links, max(release_us, driver.clock.now_us()))
        return self._without(graphs, lost, links, answers=answers)

    def _without(
        self,
        graphs: tuple[str, ...],
        lost: frozenset[str],
        links: Mapping[tuple[str, str], LinkNow],
        *,
        answers: bool,
    ) -> Mapping[str, str]:
        """Which of these graphs can run on nothing but the lost, each with the reason; `answers`: exits may answer."""
        if not lost and None not in links.values():
            return {}
        down = frozenset([pair for pair, now in links.items() if now is None])
        known = self._nowhere.get((graphs, lost, down, answers))
        if known is None:
            planner = self._planner
            up = self._linked - down if planner.plans_ahead else None
            closing = self._closing if answers else _nothing
            if len(self._nowhere) >= MOST_ALONE:
                self._nowhere.clear()
            known = nowhere(planner.merged, planner.modes, graphs, lost, up, closing)
            self._nowhere[graphs, lost, down, answers] = known
        return known

    def _closing(self, graphs: tuple[str, ...]) -> tuple[str, ...]:
        """The gates that may be closed in a frame of these graphs, as exits answer."""
        return self._exits.closing(graphs, self._exits.early(graphs))

    def turns_us(self, graphs: tuple[str, ...], plan: Plan) -> dict[str, tuple[int, bool]]:
        """Of a frame by itself, by stage, when it waits for servers no longer, and whether it is on one itself."""
        latest = latest_us(plan, self.due_us(graphs, (0,)), self._servers) if self._servers else {}
        return {name: (at_us, plan.stages[name].resource in self._servers) for name, at_us in latest.items()}

    def sleepers(self, dispatcher: Dispatcher, release_us: int) -> tuple[str, ...] | None:
        """Who sleeps at a release that has the machine to itself; None: it has not."""
        return dispatcher.sleepers(self._lingers_us, release_us)

    def kept_alone(self, graphs: tuple[str, ...], asleep: tuple[str, ...]) -> KeptAnswer[Planned | Placement] | None:
        """What `place_alone` has answered last for frames of these graphs that find these asleep, if it is kept."""
        conditions = self._alone.get((graphs, asleep))
        return None if conditions is None else self._planner.kept(conditions)

    def place_alone(
        self,
        dispatcher: Dispatcher,
        release_us: int,
        graphs: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
    ) -> Placed | Placement | None:
        """As `place` answers for a frame that has the machine to itself; None where it has not.

        Only where frames are placed each as if it were alone, and keep no state; None as well where exits may answer.
        Nobody else uses the dispatcher; who changes `links` gives another mapping.
        """
        apart = self._stores or self._exits.early(graphs)
        asleep = None if apart else self.sleepers(dispatcher, release_us)
        if asleep is None:
            return None
        if links is not self._alone_links:
            self._alone_links = links
            self._alone.clear()
        conditions = self._alone.get((graphs, asleep))
        if conditions is None:
            if len(self._alone) >= MOST_ALONE:
                self._alone.clear()
            conditions = self._alone[graphs, asleep] = Conditions(graphs, (), asleep, tuple(links.items()))
        planned = self._planner.plan(conditions, context=self._planner.context(release_us))
        return _placed(planned, conditions.asleep) if isinstance(planned, Planned) else planned

    def _without_vain(self, placed: Placed, alone: Conditions, graphs: tuple[str, ...]) -> Placed:
        """This plan, or one that stops at exits where what comes after them would be too late: an exit answers then,
        and what ran in vain would only cost energy, and make others late."""
        if not self._exits.early(graphs) or placed.planned.solved is None:
            return placed
        late = self._exits.late(graphs, _ends_us(placed))
        if not late:
            self._given_up = 0
            return placed
        self._given_up += 1
        if self._has_moved and self._given_up % TRIED_AGAIN == 0:
            return placed
        return self._to_exits(alone, graphs, late) or placed

    def _to_exits(self, alone: Conditions, graphs: tuple[str, ...], given_up: tuple[str, ...]) -> Placed | None:
        """The plan that goes no further than the exits of those given up, where there is one."""
        gates = self._exits.closing(graphs, given_up)
        planned = self._planner.plan(replace(alone, closed_gates=gates)) if gates else None
        return _placed(planned, alone.asleep, ()) if isinstance(planned, Planned) else None

    def _is_too_much(
        self, flying: Collection[int], graphs_of: Mapping[int, Collection[str]], graphs: Collection[str]
    ) -> bool:
        """Whether too many frames are in flight that have a graph of this one: what hangs in others is none of its."""
        own = frozenset(graphs)
        alike = sum(frame not in graphs_of or not own.isdisjoint(graphs_of[frame]) for frame in flying)
        return alike >= self._most_in_flight

    def late(
        self,
        driver: Driver,
        release_us: int,
        names: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
        due: Due,
        states: tuple[StateFound, ...] = (),
    ) -> tuple[str, ...]:
        """The graphs of a frame that would be late, of those that would not be on a free machine.

        As a frame by itself, without what hangs on gates, which may have nothing to do. Raises what `Planner.plan`
        does.
        """
        with driver.locked():
            now_us = max(release_us, driver.clock.now_us())
            machine = machine_now(driver.dispatcher, self._linger_us, release_us, now_us)
            lost, aside = driver.dispatcher.lost, _aside(driver.dispatcher)
            links = _usable(driver.dispatcher, links, now_us)
            memory = NOTHING_THERE
            if self._stores:
                memory = self._memory_now(driver.dispatcher, names, release_us, now_us)
        gone = self._gone(lost)
        gates = tuple(dict.fromkeys(gate for stage in self._merged_stages for gate in stage.gates(names)))
        kept = self._states_of(names, states)
        found = replace(machine.conditions(names, links, lost, gone, kept, aside, memory.beside), closed_gates=gates)
        late = self._late(found, release_us, due)
        free = (
            replace(found, graphs=(name,), ready_us=(), asleep=(), states=self._states_of((name,), kept))
            for name in late
        )
        return tuple([name for name, alone in zip(late, free, strict=True) if not self._late(alone, release_us, due)])

    def _late(self, found: Conditions, release_us: int, due: Due) -> tuple[str, ...]:
        planned = self._planner.plan(found, context=self._planner.context(release_us))
        return late_graphs(planned, found.graphs, due) if isinstance(planned, Planned) else ()

    def _questions(
        self,
        driver: Driver,
        release_us: int,
        graphs: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
        horizon: Horizon | None,
        in_flight: Mapping[int, tuple[str, ...]],
        chances: Chances,
        states: tuple[StateFound, ...],
    ) -> tuple[list[_Asked], tuple[LeftOver, ...]]:
        """What may be asked, the first choice first, and what earlier frames have left. The driver is locked."""
        dispatcher, now_us = driver.dispatcher, max(release_us, driver.clock.now_us())
        left: tuple[LeftOver, ...] = ()
        if horizon is not None and dispatcher.frames:
            known = [one for one in dispatcher.left_over(release_us, now_us) if one.frame in in_flight]
            left = latest(known, self._most_stages)
        waits = self._horizon is not None
        alone = machine_now(dispatcher, self._linger_us, release_us, now_us, waits_for_waking=waits)
        now = alone
        if left:
            again = [one.frame for one in left]
            now = machine_now(dispatcher, self._linger_us, release_us, now_us, again=again, waits_for_waking=waits)
        asked: list[_Asked] = []
        kept = self._states_of(graphs, states) if states else ()
        links = _usable(dispatcher, links, now_us)
        memory = self._memory_now(dispatcher, graphs, release_us, now_us) if self._stores else NOTHING_THERE
        lost, hanging = dispatcher.lost, dispatcher.suspects(now_us)
        # What hangs, or did not long ago, is not offered as long as there are others.
        choices: Collection[tuple[frozenset[str], tuple[tuple[str, str, str], ...]]] = ((lost, ()),)
        if hanging or dispatcher.health.aside:
            aside = _aside(dispatcher)
            choices = dict.fromkeys(((lost.union(hanging), aside), (lost, aside), (lost, ())))
        for without, aside in choices:
            gone = self._gone(without) if without else ()
            conditions = alone.conditions(graphs, links, without, gone, kept, aside, memory.beside)
            window = None
            if horizon is not None:
                here = now.conditions(graphs, links, without, gone, kept, aside) if left else conditions
                # One that can run nowhere would leave the window without an answer; no exit answers there.
                out = self._without(self._all, without, links, answers=False)
                window = horizon.found(here, now.awake_until_us, left, in_flight, release_us, chances, out)
            asked.append((conditions, window))
            if memory.over_us is not None:
                later = alone.after(memory.over_us, self._lanes)
                asked.append((later.conditions(graphs, links, without, gone, kept, aside, memory.after), None))
        return asked, left

    def _memory_now(self, dispatcher: Dispatcher, graphs: tuple[str, ...], release_us: int, now_us: int) -> MemoryNow:
        """What a frame of these graphs finds in memory. The driver is locked."""
        found = dispatcher.memory_found(now_us)
        wanted, sizes = self._planner.labels(graphs), self._planner.label_bytes
        return memory_now(found, wanted, sizes, self._caps, self._stores, release_us)

    def _states_of(self, graphs: Collection[str], states: tuple[StateFound, ...]) -> tuple[StateFound, ...]:
        """Of these states those of the graphs' stages."""
        wanted = {stage.name for stage in self._merged_stages if any(graph in graphs for graph in stage.graphs)}
        return tuple([one for one in states if one.stage in wanted])

    def _gone(self, without: Collection[str]) -> tuple[str, ...]:
        """The processors among these, in their order."""
        return tuple([name for name in self._processors if name in without])


def _nothing(_graphs: tuple[str, ...]) -> tuple[str, ...]:
    return ()


def _ends_us(placed: Placed) -> Mapping[str, int]:
    """When each stage of a plan ends, from the release."""
    return {name: stage.end_us for name, stage in placed.planned.plan.stages.items()}


def _aside(dispatcher: Dispatcher) -> tuple[tuple[str, str, str], ...]:
    """The modes that are out of service, as `Conditions.aside` has them. The driver is locked."""
    return tuple([(stage, resource, variant) for resource, stage, variant in dispatcher.health.aside if stage])


def _usable(
    dispatcher: Dispatcher, links: Mapping[tuple[str, str], LinkNow], now_us: int
) -> Mapping[tuple[str, str], LinkNow]:
    """Links as they are, without those that have fallen, or came back just now. The driver is locked."""
    out = dispatcher.links.out(now_us)
    return {**links, **dict.fromkeys(out)} if out else links


def late_graphs(planned: Planned, graphs: tuple[str, ...], due: Due) -> tuple[str, ...]:
    """The graphs of which something is planned to end after it is due."""
    criteria = planned.plan.placement.criteria
    if criteria is not None and criteria.tardiness == 0:  # Of a window it is that of later releases, too.
        return ()
    stages = planned.plan.stages
    return tuple(
        [
            name
            for name in graphs
            if any(stage in stages and stages[stage].end_us > deadline_us for stage, deadline_us in due[name])
        ]
    )

"""Which graphs of a frame are placed: all of them, unless one can run nowhere now (`Placer.nowhere`), or not everything
fits (`overload` has the rule)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from leo_runtime.dispatch.driver import Driver
from leo_runtime.documents.problem import Placement
from leo_runtime.frame.batch import Modes
from leo_runtime.frame.conditions import LinkNow, StateFound
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.records import shed_reason
from leo_runtime.runtime.overload import Overload
from leo_runtime.runtime.placing import Due, Placer, late_graphs
from leo_runtime.runtime.planned import Placed, Planned, Skipped
from leo_runtime.runtime.planner import no_placement

Answer = Placed | Placement | Skipped


Admitted = tuple[tuple[str, ...], Answer, Mapping[str, str]]
"""The graphs that are let in, how they are placed, and which can run nowhere, each with the reason."""


class Admission:
    """Admits the frames of one runtime, one at a time. Of batches, which could wait, all that can run is let in."""

    def __init__(self, merged: MergedWorkload, modes: Modes, placer: Placer) -> None:
        """`modes` are all ways to run each merged stage."""
        graphs = merged.workload.graphs
        self._placer = placer
        self._due: Due = {
            graph.name: tuple((merged.names[graph.name, stage], graph.deadline_us) for stage in graph.outputs())
            for graph in graphs
        }
        self._overload = Overload(
            {graph.name: graph.weight for graph in graphs},
            {graph.name: {m.resource for stage in merged.stages_of(graph) for m in modes[stage]} for graph in graphs},
        )

    def take_over(self, before: Admission) -> None:
        """Go on with what another knows of graphs of the same names."""
        self._overload.take_over(before._overload)

    @property
    def is_calm(self) -> bool:
        """Whether all graphs are let in of frames of which none is late by its plan (`is_in_time`)."""
        return self._overload.is_calm

    def is_in_time(self, planned: Planned, names: tuple[str, ...]) -> bool:
        """Whether nobody needs to go for a frame of these graphs that goes by that plan."""
        return not self._overload.matters or not late_graphs(planned, names, self._due)

    def admit(
        self,
        driver: Driver,
        releases_us: tuple[int, ...],
        names: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
        place: Callable[[tuple[str, ...]], Answer],
        states: tuple[StateFound, ...] = (),
        paused: Collection[str] = (),
    ) -> Admitted:
        """The graphs that are let in, and how they are placed by `place`, which raises what this does.

        `states` are what stages keep. Who is `paused` is not let in.
        """
        is_batch = len(releases_us) > 1
        if paused and not is_batch:
            wanted, names = names, tuple([name for name in names if name not in paused])
            if not names:
                return (), Skipped(no_placement(shed_reason(wanted))), {}
        unplaced = self._placer.nowhere(driver, releases_us, names, links)
        if unplaced:
            names = tuple([name for name in names if name not in unplaced])
        if is_batch or not self._overload.matters:
            return names, place(names), unplaced
        return *self._fitting(driver, releases_us, names, links, place, states, unplaced), unplaced

    def _fitting(
        self,
        driver: Driver,
        releases_us: tuple[int, ...],
        names: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
        place: Callable[[tuple[str, ...]], Answer],
        states: tuple[StateFound, ...],
        unplaced: Collection[str],
    ) -> tuple[tuple[str, ...], Answer]:
        """As `admit`, of graphs that can run and are not paused; `unplaced` are those that cannot run."""
        overload = self._overload

        def late(of: tuple[str, ...]) -> tuple[str, ...]:
            return self._placer.late(driver, releases_us[0], of, links, self._due, states)

        def out() -> Collection[str]:
            # Also of those that come at other times.
            return {*unplaced, *self._placer.out(driver, releases_us[0], links)}.difference(names)

        admitted = overload.let_in(names)
        back = overload.may_return(names) if len(admitted) < len(names) else None
        if back is not None:
            tried = tuple([name for name in names if name in admitted or name == back])
            if overload.tried(back, not late(tried)):
                admitted = tried
        while admitted:
            placed = place(admitted)
            goes = None
            if isinstance(placed, Skipped):
                overload.goes(admitted, (), out())
            elif isinstance(placed, Placed) and late_graphs(placed.planned, admitted, self._due):
                found = late(admitted)
                goes = overload.goes(found, admitted, out()) if found else None
            if goes is None or goes not in admitted:
                overload.count_in(admitted)
                return admitted, placed
            admitted = tuple([name for name in admitted if name != goes])
        return (), Skipped(no_placement(shed_reason(names)))

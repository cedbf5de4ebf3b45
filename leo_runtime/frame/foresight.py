"""Which releases are known to follow the one at hand, as long as graphs keep to their periods."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import gcd, lcm

from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import MergedWorkload, active_stages
from leo_runtime.frozen import dataclass

KEPT = 512
"""How many windows are kept, to be found again a hyperperiod later."""
NOT_FORESEEN_US = -1


@dataclass(frozen=True, slots=True)
class Release:
    """A release that is to come: how long after the one at hand, and the graphs that run then."""

    after_us: int
    graphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The later releases of a window, and when the first one comes that is not in it; None: none is known."""

    later: tuple[Release, ...] = ()
    next_us: int | None = None


NOTHING_KNOWN = Outlook()


class Foresight:
    """What is to be expected after a release. One thread at a time may use it.

    A graph is foreseen as long as it comes when it should: one that was left out at its last time, or came at another,
    is not until it has kept to its period again. One whose releases are drawn never is.
    """

    def __init__(self, merged: MergedWorkload, most_stages: int) -> None:
        """A window has at most so many stages, unless the release at hand alone has more."""
        self._merged = merged
        self._most_stages = most_stages
        self._graphs = {graph.name: graph for graph in merged.workload.graphs}
        self._drawn = frozenset(name for name, graph in self._graphs.items() if graph.trigger.is_drawn)
        self._shifts_us: dict[str, int] = {}
        self._latest_offset_us = max(graph.offset_us for graph in merged.workload.graphs)
        self._repeats_us = lcm(*(repeats_us(graph) for graph in merged.workload.graphs))
        self._foreseen_until_us: dict[str, int] = {}
        """Of every graph, from the first release on: when it would have to come again."""
        self._stages: dict[tuple[str, ...], int] = {}
        self._outlooks: dict[tuple[int, tuple[str, ...], tuple[str, ...]], Outlook] = {}
        self._known: tuple[str, ...] | None = None
        self._steady_since_us = 0

    def shift(self, shifts_us: Mapping[str, int]) -> None:
        """From now on graphs are released so far from their periods' grids, by name; for devices with own clocks."""
        graphs = {graph.name: graph for graph in self._merged.workload.graphs}
        changed = {name: us for name, us in shifts_us.items() if us != self._shifts_us.get(name, 0)}
        for name, shift_us in changed.items():
            if name in self._foreseen_until_us and self._foreseen_until_us[name] != NOT_FORESEEN_US:
                self._foreseen_until_us[name] += shift_us - self._shifts_us.get(name, 0)
            graph = graphs[name]
            offset_us = graph.offset_us if shift_us == 0 else (graph.offset_us + shift_us) % repeats_us(graph)
            self._graphs[name] = graph.model_copy(update={"offset_us": offset_us})
            self._shifts_us[name] = shift_us
        if changed:
            self._latest_offset_us = max(graph.offset_us for graph in self._graphs.values())
            self._outlooks.clear()

    def take_over(self, before: Foresight) -> None:
        """Go on with what another knows of graphs that run at the same times: whether they keep to their periods."""
        theirs = {graph.name: graph for graph in before._merged.workload.graphs}
        same = [g.name for g in self._merged.workload.graphs if g.name in theirs and g.timing == theirs[g.name].timing]
        self.shift({name: us for name, us in before._shifts_us.items() if name in same})
        self._foreseen_until_us = {
            name: NOT_FORESEEN_US if name in self._drawn else us
            for name, us in before._foreseen_until_us.items()
            if name in same
        }

    def note(self, release_us: int, graphs: Collection[str], *, frames: int = 1) -> None:
        """Take note of a release. Batches, of more than one of the frames, say nothing of when the next one comes."""
        if len(self._foreseen_until_us) < len(self._graphs):
            # What has not come yet is foreseen as long as it did not have to.
            first = {
                name: NOT_FORESEEN_US if name in self._drawn else graph.next_release_us(release_us)
                for name, graph in self._graphs.items()
            }
            self._foreseen_until_us = first | self._foreseen_until_us
        for name in graphs:
            is_foreseen = frames == 1 and name not in self._drawn
            due_us = next_due_us(self._graphs[name], release_us) if is_foreseen else None
            self._foreseen_until_us[name] = NOT_FORESEEN_US if due_us is None else due_us

    def outlook(self, release_us: int, graphs: tuple[str, ...], out: Collection[str] = ()) -> Outlook:
        """What follows a release of these graphs, after it was noted, without those that are `out`."""
        foreseen = self._foreseen_until_us.items()
        known = tuple([name for name, until_us in foreseen if release_us < until_us and name not in out])
        if known != self._known:
            self._known, self._steady_since_us = known, release_us
        key = (release_us % self._repeats_us, graphs, known)
        found = self._outlooks.get(key) if release_us >= self._latest_offset_us else None
        if found is None:
            found = self._look(release_us, graphs, known)
            if release_us >= self._latest_offset_us:
                if len(self._outlooks) == KEPT:
                    del self._outlooks[next(iter(self._outlooks))]
                self._outlooks[key] = found
        return found

    @property
    def steady_since_us(self) -> int:
        """Since which release the same graphs are foreseen; on the run's clock."""
        return self._steady_since_us

    def _look(self, release_us: int, graphs: tuple[str, ...], known: tuple[str, ...]) -> Outlook:
        """Whole hyperperiods where one fits, else as many releases as do."""
        left = self._most_stages - self._count(graphs)
        fitting: list[Release] = []
        next_us: int | None = None
        for release in later_releases([self._graphs[name] for name in known], release_us):
            next_us = release.after_us
            left -= self._count(release.graphs)
            if left < 0:
                break
            fitting.append(release)
        repeat_us = lcm(*(repeats_us(self._graphs[name]) for name in known))
        whole_us = 0 if next_us is None else next_us // repeat_us * repeat_us
        if whole_us and (cut := [release for release in fitting if release.after_us >= whole_us]):
            return Outlook(tuple(fitting[: -len(cut)]), cut[0].after_us)
        return Outlook(tuple(fitting), next_us)

    def _count(self, graphs: tuple[str, ...]) -> int:
        if graphs not in self._stages:
            self._stages[graphs] = len(active_stages(self._merged, Conditions(graphs)))
        return self._stages[graphs]


def later_releases(graphs: Collection[TaskGraph], at_us: int) -> Iterator[Release]:
    """All releases of these graphs after that time, in order, without end; none where there are no graphs."""
    now_us = at_us
    while graphs:
        times = [(graph.next_release_us(now_us + 1), graph.name) for graph in graphs]
        now_us = min(times)[0]
        yield Release(now_us - at_us, tuple(name for time_us, name in times if time_us == now_us))


def next_due_us(graph: TaskGraph, at_us: int) -> int | None:
    """When the graph's period makes it run next after that time, if it does then; None: it does not run then."""
    if not graph.runs_at(at_us):
        return None
    return at_us + graph.period_us if graph.rate_hz is None else graph.next_release_us(at_us + 1)


def repeats_us(graph: TaskGraph) -> int:
    """After how long the releases of a graph are the same again: its period, or several of a rate that is rounded."""
    return graph.period_us if graph.rate_hz is None else 1_000_000 // gcd(1_000_000, graph.rate_hz)

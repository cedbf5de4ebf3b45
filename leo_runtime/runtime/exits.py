"""Until when a frame waits for what: its deadlines, and early exits, after which it does without the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from leo_runtime.dispatch.events import Exit

if TYPE_CHECKING:
    from leo_runtime.documents.workload import TaskGraph
    from leo_runtime.frame.lower import MergedWorkload

_Early = tuple[tuple[int, tuple[str, ...], tuple[str, ...]], ...]


class Exits:
    """Of one workload. All stages are merged ones."""

    def __init__(self, merged: MergedWorkload) -> None:
        self._merged = merged
        self._early = {graph.name: graph for graph in merged.workload.graphs if graph.exits}
        self._known: dict[tuple[str, ...], _Early] = {}
        self._gates: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[str, ...]] = {}
        self._due_us: dict[tuple[str, ...], dict[str, int]] = {}

    def of(self, graphs: tuple[str, ...], release_us: int) -> tuple[Exit, ...]:
        """Those of a frame of these graphs."""
        if not self._early:
            return ()
        known = self._known.get(graphs)
        if known is None:
            known = self._known[graphs] = tuple(
                (graph.deadline_us, self._answers(graph), self._own(graph, graphs))
                for name in graphs
                if (graph := self._early.get(name)) is not None
            )
        return tuple([Exit(release_us + due_us, answers, gives_up) for due_us, answers, gives_up in known])

    def due_us(self, graphs: tuple[str, ...]) -> Mapping[str, int]:
        """When each stage is due that gives an output of these graphs, from the release: one value for each of them."""
        known = self._due_us.get(graphs)
        if known is None:
            known = self._due_us[graphs] = {}
            for graph in self._merged.workload.graphs:
                for stage in graph.outputs() if graph.name in graphs else ():
                    name = self._merged.names[graph.name, stage]
                    known[name] = min(graph.deadline_us, known.get(name, graph.deadline_us))
        return known

    def early(self, graphs: tuple[str, ...]) -> tuple[str, ...]:
        """Those of these graphs that have exits."""
        return tuple([name for name in graphs if name in self._early]) if self._early else ()

    def late(self, graphs: tuple[str, ...], ends_us: Mapping[str, int]) -> tuple[str, ...]:
        """Those of these graphs with exits of which an output is late where stages end then, from the release."""
        found: list[str] = []
        for name in self.early(graphs):
            graph = self._early[name]
            outputs = [self._merged.names[name, stage] for stage in graph.outputs()]
            if any(ends_us.get(output, 0) > graph.deadline_us for output in outputs):
                found.append(name)
        return tuple(found)

    def closing(self, graphs: tuple[str, ...], given_up: tuple[str, ...]) -> tuple[str, ...]:
        """The gates of a frame of these graphs that may as well be closed where some of them, which have exits, get no
        further than these: nothing hangs on them that an exit or another graph needs."""
        if not given_up:
            return ()
        known = self._gates.get((graphs, given_up))
        if known is None:
            needed = {stage for name in given_up for stage in self._needed(self._early[name])}
            others = set(graphs).difference(given_up)
            needed.update(one.name for one in self._merged.stages if not others.isdisjoint(one.graphs))
            gates = dict.fromkeys(gate for stage in self._merged.stages for gate in stage.gates(graphs))
            hangs = {gate: [s.name for s in self._merged.stages if gate in s.gates(graphs)] for gate in gates}
            known = tuple([gate for gate, stages in hangs.items() if needed.isdisjoint(stages)])
            self._gates[graphs, given_up] = known
        return known

    def _answers(self, graph: TaskGraph) -> tuple[str, ...]:
        return tuple([self._merged.names[graph.name, stage] for stage in graph.exits])

    def _own(self, graph: TaskGraph, graphs: tuple[str, ...]) -> tuple[str, ...]:
        """The stages that no other of these graphs waits for."""
        others = set(graphs) - {graph.name}
        names = [self._merged.names[graph.name, stage.name] for stage in graph.stages]
        return tuple([name for name in dict.fromkeys(names) if others.isdisjoint(self._merged.stage(name).graphs)])

    def _needed(self, graph: TaskGraph) -> set[str]:
        """Its exits, and all that they need."""
        stages = {stage.name: stage for stage in graph.stages}
        found: set[str] = set()
        left = list(graph.exits)
        while left:
            stage = stages[left.pop()]
            if stage.name not in found:
                found.add(stage.name)
                left += [*stage.inputs, *([stage.gate] if stage.gate else [])]
        return {self._merged.names[graph.name, name] for name in found}

"""What comes of a replay, counted as it goes on: what each pipeline found and how late, what each processor did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.energy_sums import EnergySums, Key
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult, GraphResult
from leo_runtime.replay.busiest import Busiest
from leo_runtime.replay.failures import Failures
from leo_runtime.replay.figures import Energy, Pipeline, ProcessorUse, Solving, Summary
from leo_runtime.replay.identity import Replay
from leo_runtime.replay.latencies import Latencies
from leo_runtime.replay.truths import Detections, Truth, truths_of

QUARTER_US = 250_000
"""How long the part of a run is that is drawn, for every frame of a batch."""


class RunningSummary:
    """Counts what it is told of a replay, frame by frame: its memory does not grow with the run."""

    def __init__(self, begun: Replay) -> None:
        """Nothing has ended yet."""
        truths = truths_of(begun)
        self._begun = begun
        self._pipelines = {graph.name: RunningPipeline(begun, graph, truths) for graph in begun.workload.graphs}
        self._uses: dict[str, list[int]] = {}
        """Of each resource: how many runs or sendings, and how long they lasted together."""
        self._wakes: dict[str, int] = {}
        """How often each was woken."""
        self._sums = EnergySums()
        self._failures = Failures()
        self._together: dict[str, int] = {}
        self._exits: dict[str, int] = {}
        self._busiest = Busiest(QUARTER_US * begun.batch)
        self._frames = self._waits_given_up = self._solve_us = self._placed_anew = self._lost = 0

    def frame(self, ended: FrameResult, settled_us: int) -> None:
        """Count a frame that has ended; nothing of later ones begins before `settled_us`."""
        self._frames += 1
        self._waits_given_up += ended.waits_given_up
        if ended.placement.solve_us:
            self._solve_us += ended.placement.solve_us
            self._placed_anew += 1
        for result in ended.graphs:
            self._pipelines[result.graph].add(result)
            if result.exit:
                by = f"{result.graph} by {result.exit}"
                self._exits[by] = self._exits.get(by, 0) + 1
        self._use(ended)
        self._failures.add(ended)
        if self._begun.batch > 1:
            self._count_together(ended)
        self._busiest.add(ended, settled_us)

    def energy(self, entries: Sequence[Entry]) -> None:
        """Count entries of the ledger."""
        self._sums.add(entries)

    def alone(self, solve_us: int) -> None:
        """Count a frame whose parts are counted by who has asked for `use` and `pipeline`, and told as `energy_sums`.

        What is drawn of a run as its busiest part is without those.
        """
        self._frames += 1
        if solve_us:
            self._solve_us += solve_us
            self._placed_anew += 1

    def use(self, resource: str) -> list[int]:
        """What a resource is used for, to be counted on: how many runs or sendings, and how long they lasted."""
        return self._uses.setdefault(resource, [0, 0])

    def woken(self, resource: str) -> None:
        """Count that it was woken once."""
        self._wakes[resource] = self._wakes.get(resource, 0) + 1

    def pipeline(self, graph: str) -> RunningPipeline:
        """That of a task graph, to be counted on."""
        return self._pipelines[graph]

    def energy_sums(self, sums: Mapping[Key, Sequence[int]]) -> None:
        """Count energy that was summed elsewhere, as `EnergySums.add_sums` takes it."""
        self._sums.add_sums(sums)

    def whole(self, end_us: int) -> Summary:
        """All that it came to; it was over at `end_us`."""
        graphs = self._sums.by_graph()
        rank = {name: at for at, name in enumerate(self._pipelines)}
        energy = Energy(self._sums.by_resource(), dict(sorted(graphs.items(), key=lambda item: _at(rank, item[0]))))
        solver_nj = energy.by_cause.get("solver", 0)
        return Summary(
            frames=self._frames,
            end_us=end_us,
            pipelines=tuple(pipeline.whole() for pipeline in self._pipelines.values()),
            processors=self._processors(energy.by_resource),
            energy=energy,
            failures=self._failures.most_frequent(),
            ran_together=dict(sorted(self._together.items(), key=lambda item: (-item[1], item[0]))),
            waits_given_up=self._waits_given_up,
            exits=dict(sorted(self._exits.items(), key=lambda item: (-item[1], item[0]))),
            transfers_lost=self._lost,
            solving=Solving(self._solve_us, self._placed_anew, solver_nj),
            busiest=self._busiest.best(),
        )

    def _use(self, frame: FrameResult) -> None:
        uses = self._uses
        for run in frame.stages:
            use = uses.get(run.resource)
            if use is None:
                use = uses[run.resource] = [0, 0]
            # What a gate ended, or a backlog kept from starting, was planned there and never ran.
            use[0] += run.outcome == "done" or run.end_us > run.start_us
            use[1] += run.end_us - run.start_us
        for send in frame.transfers:
            use = uses.setdefault(send.resource or f"{send.source} -> {send.target}", [0, 0])
            use[0] += 1
            use[1] += send.sent_us - send.start_us
            self._lost += bool(send.error)
        for load in frame.loads:
            use = uses.setdefault(load.resource, [0, 0])
            use[0] += 1
            use[1] += load.loaded_us - load.start_us
        for wake in frame.wakes:
            self.woken(wake.resource)

    def _count_together(self, frame: FrameResult) -> None:
        for run in frame.stages:
            job = frame.jobs[run.stage]
            if run.outcome == "done" and len(job.frames) > 1:
                where = f"{job.stage} on {run.resource}"
                self._together[where] = self._together.get(where, 0) + 1

    def _processors(self, by_resource: Mapping[str, Mapping[str, int]]) -> tuple[ProcessorUse, ...]:
        hardware = self._begun.hardware
        names = [one.name for one in hardware.resources]
        names += [name for name in sorted(by_resource) if name not in names]
        found = []
        for name in names:
            runs, busy_us = self._uses.get(name, (0, 0))
            found.append(ProcessorUse(name, runs, busy_us, self._wakes.get(name, 0), by_resource.get(name, {})))
        return tuple(found)


class RunningPipeline:
    """Counts the answers of one task graph."""

    def __init__(self, begun: Replay, graph: TaskGraph, truths: Sequence[Truth]) -> None:
        """It has answered nothing yet."""
        self._graph = graph.name
        self._latencies = Latencies()
        self._detections = Detections(begun, graph, truths)
        self._frames = self._failed = self._late = self._over_gaps = 0

    def add(self, result: GraphResult) -> None:
        """Count what it answered in a frame."""
        self._frames += 1
        if result.outcome == "done":
            self._latencies.add(result.end_us - result.release_us)
        if result.outcome == "failed":
            self._failed += 1
        elif result.end_us > result.deadline_us:
            self._late += 1
        if result.label is not None:
            self._detections.add(result)
        if result.gap_us:
            self._over_gaps += 1

    def answered(self, latency_us: int, is_late: bool) -> None:
        """Count an answer without a label, of which nothing was missing."""
        self._frames += 1
        self._latencies.add(latency_us)
        self._late += is_late

    def whole(self) -> Pipeline:
        """All that it answered."""
        latencies, detections = self._latencies, self._detections
        median_us, p95_us, p99_us = latencies.quantiles((50, 95, 99))
        right = detections.right
        return Pipeline(
            graph=self._graph,
            frames=self._frames,
            answered=latencies.count,
            failed=self._failed,
            detections=detections.count,
            right=right,
            false=None if right is None else detections.count - right,
            labels=detections.labels,
            missed=detections.missed,
            latency_median_us=median_us,
            latency_p95_us=p95_us,
            latency_p99_us=p99_us,
            latency_within_ppm=latencies.within_ppm,
            late=self._late,
            deadline_misses=self._late + self._failed,
            over_gaps=self._over_gaps,
        )


def _at(rank: Mapping[str, int], graph: str) -> int:
    """Where a graph comes; what belongs to none comes last."""
    return rank.get(graph, len(rank))

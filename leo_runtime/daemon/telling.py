"""What a frame's result means to whoever listens: an answer a graph, with what it cost and whether it fires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from leo_runtime.daemon.answer import Answer, AnswerOutcome
from leo_runtime.daemon.decisions import Decision, DecisionConfig
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.records import reason_of
from leo_runtime.frame.running_ledger import observed
from leo_runtime.operators.outputs import flat

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.frame.records import FrameResult, GraphResult

MOST_VALUES = 64
"""An output of more is not told."""


class Teller:
    """Makes answers of results, for one workload. For one thread."""

    def __init__(self, merged: MergedWorkload, decisions: Sequence[DecisionConfig]) -> None:
        """Raises `InputError` for a decision of a graph, or a label, that is not there."""
        self._asks = {stage.name: stage.graphs for stage in merged.stages}
        self._graphs = {graph.name: graph for graph in merged.workload.graphs}
        self._streams = {name: _first_stream(merged, graph) for name, graph in self._graphs.items()}
        self.decisions = {config.graph: config for config in decisions}
        for index, config in enumerate(decisions):
            self._check(config, f"$.decisions[{index}]")
        self._decide = {name: Decision(config) for name, config in self.decisions.items()}

    def take_over(self, before: Teller) -> None:
        """Decisions that are the same go on with what they have seen."""
        for name, config in self.decisions.items():
            if before.decisions.get(name) == config:
                self._decide[name] = before._decide[name]

    def _check(self, config: DecisionConfig, place: str) -> None:
        graph = self._graphs.get(config.graph)
        if graph is None:
            raise InputError(
                f"no graph of the workload is called `{config.graph}`, at {place}.graph",
                hint=did_you_mean(config.graph, self._graphs),
            )
        if graph.decision is None:
            raise InputError(
                f"graph `{config.graph}` decides nothing, at {place}.graph", hint="give it a decision in the workload"
            )
        if config.label is not None and config.label not in graph.decision.labels:
            raise InputError(
                f"graph `{config.graph}` has no label `{config.label}`, at {place}.label",
                hint=did_you_mean(config.label, graph.decision.labels),
            )

    def answers(self, result: FrameResult, unix_minus_monotonic_ns: int) -> list[Answer]:
        """An answer for each graph of a frame."""
        nj = _energy(result, self._asks)
        return [self._answer(result, one, nj.get(one.graph, 0), unix_minus_monotonic_ns) for one in result.graphs]

    def _answer(self, result: FrameResult, one: GraphResult, nj: int, unix_minus_monotonic_ns: int) -> Answer:
        graph = self._graphs.get(one.graph)  # None where it ended after its workload was changed.
        config = self.decisions.get(one.graph)
        values = None if graph is None else _values(graph, one)
        label, score = _found(graph, config, one, values)
        fired = False
        if config is not None and one.graph in self._decide:
            fired = self._decide[one.graph].fires(label is not None, one.release_us)
        elif label is not None:
            fired = True
        outcome = _outcome(result, one)
        return Answer(
            graph=one.graph,
            stream=self._streams.get(one.graph, ""),
            release_us=one.release_us,
            at_unix_ns=one.release_us * 1000 + unix_minus_monotonic_ns,
            outcome=outcome,
            late=one.missed,
            latency_us=one.latency_us,
            label=label,
            score=score,
            fired=fired,
            values=None if values is None or values.size > MOST_VALUES else tuple(map(float, values)),
            energy_nj=nj,
            frame=result.frame,
            gap_us=one.gap_us,
            reason=reason_of(result, one.graph) if one.outcome == "failed" else "",
        )


def _first_stream(merged: MergedWorkload, graph: TaskGraph) -> str:
    """The first stream that a graph reads; empty where there is none."""
    for name in merged.stages_of(graph):
        bound = merged.stage(name).bound
        if bound.operator.is_source:
            return str(next(iter(bound.params.values())).stream)
    return ""


def _outcome(result: FrameResult, one: GraphResult) -> AnswerOutcome:
    if one.graph in result.shed:
        return "shed"
    if one.graph in result.unplaced:
        return "failed"
    return "skipped" if result.skipped else one.outcome


def frame_outcome(result: FrameResult) -> str:
    """What became of a frame as a whole: `skipped`, `failed` where any of its graphs is, else `done`."""
    if result.skipped:
        return "skipped"
    return "failed" if any(one.outcome == "failed" for one in result.graphs) else "done"


def _values(graph: TaskGraph, one: GraphResult) -> np.ndarray | None:
    """The output that is decided by, or of the last stage, or of the exit that answered; None where there is none.

    Of a model that gives several arrays all of them, one behind the other.
    """
    stage = graph.decision.stage if graph.decision is not None else graph.outputs()[-1]
    found = one.outputs.get(one.exit or stage)
    return None if found is None else flat(found)


def _found(
    graph: TaskGraph | None, config: DecisionConfig | None, one: GraphResult, values: np.ndarray | None
) -> tuple[str | None, float | None]:
    """The label that was found, and its score; else the greatest score of what might have been."""
    decision = None if graph is None else graph.decision
    if decision is None or values is None or len(values) != len(decision.labels):
        return one.label, None
    wanted = [
        index
        for index, label in enumerate(decision.labels)
        if label != decision.background and (config is None or config.label in (None, label))
    ]
    if not wanted:
        return one.label, None
    best = max(wanted, key=lambda index: (values[index], -index))
    score = float(values[best])
    if config is None or config.threshold is None:
        return (one.label if one.label in {decision.labels[index] for index in wanted} else None), score
    return (decision.labels[best] if score >= config.threshold else None), score


def _energy(result: FrameResult, asks: Mapping[str, Sequence[str]]) -> Counter[str]:
    """What each graph of a frame is charged of its runs, transfers and loads, in nJ."""
    triggered = result.let_in
    of = {name: tuple(g for g in triggered if g in asks.get(job.stage, ())) for name, job in result.jobs.items()}
    for stage, graphs in asks.items():
        of.setdefault(stage, tuple(g for g in triggered if g in graphs))
    entries, _ = observed(result, of, {})
    charged: Counter[str] = Counter()
    for entry in entries:
        for graph, nj in entry.shares():
            charged[graph] += nj
    return charged

"""What a task graph answered, from what became of its stages and from what they computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from leo_runtime.errors import GraphError
from leo_runtime.frame.due import due_us
from leo_runtime.frame.records import GraphResult, Outcome
from leo_runtime.frozen import dataclass, maker

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.dispatch.events import StageRecord
    from leo_runtime.documents.workload import Decision, Stage, TaskGraph
    from leo_runtime.frame.lower import MergedWorkload

    Values = Mapping[str, np.ndarray]
    """Outputs of one frame, by merged stage."""


_graph_result = maker(GraphResult)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is the same of a graph in every frame."""

    graph: TaskGraph
    in_order: tuple[Stage, ...]
    """Its stages, each after what it reads and waits for."""
    names: Mapping[str, str]
    """The merged stage of each."""
    outputs: tuple[str, ...]
    """What is due."""
    merged_outputs: tuple[str, ...]
    """The merged stages that give it."""
    wanted: tuple[str, ...]
    """Whose outputs a result has: those, and what decides."""
    takes_absent: frozenset[str]
    """The stages that run where some of their inputs are absent."""
    exits: tuple[str, ...] = ()
    """The stages that may answer in place of what is due, each later one before those before it."""

    @staticmethod
    def of(graph: TaskGraph, merged: MergedWorkload) -> Asked:
        """Of a graph of the workload."""
        from leo_runtime.documents.binding import in_order  # Loaded with the workload: `Runtime` itself needs it not.

        names = {stage.name: merged.names[graph.name, stage.name] for stage in graph.stages}
        outputs = graph.outputs()
        wanted = dict.fromkeys((*outputs, *([graph.decision.stage] if graph.decision else []), *graph.exits))
        absent = [own for own, name in names.items() if merged.stage(name).bound.operator.takes_absent]
        return Asked(
            graph,
            tuple(in_order(graph)),
            names,
            outputs,
            tuple([names[stage] for stage in outputs]),
            tuple(wanted),
            frozenset(absent),
            graph.exits,
        )


def graph_result(
    asked: Asked,
    last: Mapping[str, StageRecord],
    releases_us: tuple[int, ...],
    number: int,
    frame: int,
    values: Values | None,
) -> GraphResult:
    """What a graph found in the frame of that number in its batch; `values` are None where nothing is computed.

    `last` is what became of the last attempt at each of that frame's merged stages.
    """
    graph, names = asked.graph, asked.names
    deadline_us = due_us(graph, releases_us)
    if asked.exits and any(name not in last for name in names.values()):
        # What comes after an exit could not be placed.
        names = {stage: name for stage, name in names.items() if name in last}
    all_ran = len(names) == len(asked.names) and _all_ran([last[name] for name in names.values()])
    if all_ran and values is None:
        end_us = max([last[name].end_us for name in asked.merged_outputs])
        if not asked.exits or end_us <= deadline_us:
            return _graph_result(graph.name, frame, releases_us[number], deadline_us, end_us, "done", None, {}, number)
    own = {stage: last[name] for stage, name in names.items()}
    removed = {} if all_ran else _removed(asked, own)

    def outcome_of(stage: str) -> Outcome:
        if stage in removed:
            return "cancelled"
        if stage not in own:
            return "failed"
        if len(releases_us) == 1 or values is None or own[stage].outcome == "failed":
            return own[stage].outcome
        # What failed for one frame of a batch has no output there, and what reads that was cancelled.
        return "done" if names[stage] in values else "failed"

    outcomes = [outcome_of(stage) for stage in asked.outputs]
    found: dict[str, np.ndarray] = {}
    if values is not None:
        found = {
            stage: values[names[stage]]
            for stage in asked.wanted
            if stage in own and stage not in removed and own[stage].outcome == "done" and names[stage] in values
        }
    known_us = max([record.end_us for record in own.values()])
    end_us = max(
        [removed[one] if one in removed else own[one].end_us if one in own else known_us for one in asked.outputs]
    )
    outcome: Outcome = "failed" if "failed" in outcomes else "done" if "done" in outcomes else "cancelled"
    early = ""
    if asked.exits and (end_us > deadline_us or any(one != "done" for one in outcomes)):
        done = [(stage, own[stage].end_us) for stage in asked.exits if stage in own and outcome_of(stage) == "done"]
        early, outcome, end_us = _answered_early(done, deadline_us, outcome, end_us)
    return _graph_result(
        graph.name,
        frame,
        releases_us[number],
        deadline_us,
        end_us,
        outcome,
        _label(graph, found, early),
        found,
        number,
        exit=early,
    )


def _answered_early(
    done: Sequence[tuple[str, int]], deadline_us: int, outcome: Outcome, end_us: int
) -> tuple[str, Outcome, int]:
    """Which exit answers, of those that were computed, with when they were; what comes of that, and when it is known.

    None does where the rest has answered, if late, and no exit was there by the deadline.
    """
    in_time = [stage for stage in done if stage[1] <= deadline_us]
    if not in_time and (outcome == "done" or not done):
        return "", outcome, end_us
    stage, at_us = (in_time or done)[-1]
    # At its deadline nobody waits any longer.
    return stage, "done", max(at_us, min(end_us, deadline_us))


def _all_ran(records: Collection[StageRecord]) -> bool:
    """Whether all came to their end, and no gate closed."""
    for record in records:
        if record.outcome != "done" or (record.report is not None and not record.report.opened):
            return False
    return True


def check_decision(graph: TaskGraph, merged: MergedWorkload) -> None:
    """Raise `GraphError` where a decision does not have a label for every entry of its output, or reads several."""
    if graph.decision is None:
        return
    _check_exits(graph, graph.decision, merged)
    bound = merged.stage(merged.names[graph.name, graph.decision.stage]).bound
    if len(bound.outputs) > 1:
        raise GraphError(
            f"graph `{graph.name}` reads its labels from stage `{graph.decision.stage}`, which gives "
            f"{len(bound.outputs)} arrays",
            hint="put an operator of your own behind it that gives one",
        )
    shape = bound.output_shape
    entries = 1
    for length in shape:
        entries *= length
    if entries != len(graph.decision.labels):
        raise GraphError(
            f"graph `{graph.name}` reads {len(graph.decision.labels)} labels from stage `{graph.decision.stage}`, "
            f"whose output has {entries} entries",
            hint="give one label for every entry",
        )


def _check_exits(graph: TaskGraph, decision: Decision, merged: MergedWorkload) -> None:
    """Raise `GraphError` where an exit has no score for every label."""
    for stage in graph.exits:
        bound = merged.stage(merged.names[graph.name, stage]).bound
        entries = prod(bound.output_shape) if len(bound.outputs) == 1 else 0
        if entries != len(decision.labels):
            raise GraphError(
                f"graph `{graph.name}` decides among {len(decision.labels)} labels, and its exit `{stage}` gives "
                + (f"{entries} entries" if entries else f"{len(bound.outputs)} arrays"),
                hint="name a stage that has one score for every label",
            )


def _removed(asked: Asked, records: Mapping[str, StageRecord]) -> dict[str, int]:
    """The stages of a graph that its own closed gates remove, and when that was known.

    Such a stage may have run all the same, for another graph that shares it.
    """
    removed: dict[str, int] = {}
    for stage in asked.in_order:
        gate = None if stage.gate is None else records.get(stage.gate)
        if stage.name not in records:
            continue
        absent = [removed[name] for name in stage.inputs if name in removed]
        if stage.gate in removed:
            removed[stage.name] = removed[stage.gate]
        elif gate is not None and gate.report is not None and not gate.report.opened:
            removed[stage.name] = gate.end_us
        elif absent and (stage.name not in asked.takes_absent or len(absent) == len(stage.inputs)):
            removed[stage.name] = max(absent)
    return removed


def _label(graph: TaskGraph, outputs: Values, early: str) -> str | None:
    """The decision, by what the exit `early` gave where that answers."""
    decision = graph.decision
    if decision is None or (early or decision.stage) not in outputs:
        return None
    scores = outputs[early or decision.stage].reshape(-1)
    best = int(scores.argmax())
    label = decision.labels[best]
    return label if scores[best] >= decision.threshold and label != decision.background else None

"""Who is at which end of what was sent in a frame, and what its gates decided: from what ran, and what reads what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.records import FrameResult, StageObservation, TransferObservation


class Flows:
    """The flows of a frame: who is at which end of what was sent."""

    def __init__(self, ended: FrameResult, readers: Mapping[str, Sequence[str]], last: int) -> None:
        """`last` is the number that was given last."""
        self.last = last
        self.through: dict[int, list[int]] = {}
        """By run, counted in the frame's order: the flows that go on from it."""
        self.to: dict[int, list[int]] = {}
        """The flows that end with it."""
        self.sends: dict[int, list[tuple[TransferObservation, int, bool]]] = {}
        """What is sent of a run's output, with its flow, and whether anybody reads it."""
        self.others: list[TransferObservation] = []
        """What was sent of runs that nothing is known of."""
        if not ended.transfers:
            return
        runs: dict[str, list[int]] = {}
        for i, run in enumerate(ended.stages):
            runs.setdefault(ended.jobs[run.stage].stage, []).append(i)
        for send in ended.transfers:
            self._send(ended, runs, send, readers)

    def _send(
        self,
        ended: FrameResult,
        runs: Mapping[str, Sequence[int]],
        send: TransferObservation,
        readers: Mapping[str, Sequence[str]],
    ) -> None:
        """Give a transfer its flow. `runs`: of each stage, wherever and however often it ran."""
        stages, job = ended.stages, ended.jobs[send.stage]
        made = [i for i in runs.get(job.stage, ()) if _sent_by(stages[i], send)]
        if not made:
            self.others.append(send)
            return
        self.last += 1
        self.through.setdefault(made[-1], []).append(self.last)
        read = sorted(
            (stages[i].start_us, i)
            for reader in readers.get(job.stage, ())
            for i in runs.get(reader, ())
            if stages[i].resource == send.target
            and stages[i].outcome != "cancelled"
            and stages[i].start_us >= send.arrive_us
            and not set(job.frames).isdisjoint(ended.jobs[stages[i].stage].frames)
        )
        self.sends.setdefault(made[-1], []).append((send, self.last, bool(read)))
        for n, (_, i) in enumerate(read, start=1):
            (self.to if n == len(read) else self.through).setdefault(i, []).append(self.last)


def _sent_by(run: StageObservation, send: TransferObservation) -> bool:
    return run.stage == send.stage and run.resource == send.source and run.outcome == "done"


def readers_of(merged: MergedWorkload) -> dict[str, tuple[str, ...]]:
    """Of every stage, the stages that read its output, or that it is a gate of."""
    found: dict[str, list[str]] = {}
    for stage in merged.stages:
        for name in dict.fromkeys((*stage.inputs, *(gate for _, gate in stage.asked if gate is not None))):
            found.setdefault(name, []).append(stage.name)
    return {name: tuple(readers) for name, readers in found.items()}


class GateDecisions:
    """Tells from what ran behind a gate whether it was open."""

    def __init__(self, merged: MergedWorkload) -> None:
        """`merged` is what runs."""
        self._merged = merged
        # By graphs: of each stage behind gates its name, the gates and its inputs.
        self._behind: dict[tuple[str, ...], list[tuple[str, tuple[str, ...], tuple[str, ...]]]] = {}

    def of(self, ended: FrameResult) -> dict[str, str]:
        """The gates of a frame that are known to have opened or closed. What any of several lets run tells of none."""
        graphs = tuple(graph.graph for graph in ended.graphs)
        if graphs not in self._behind:
            stages = [(stage.name, stage.gates(graphs), stage.inputs) for stage in self._merged.stages]
            self._behind[graphs] = [one for one in stages if one[1]]
        found: dict[str, str] = {}
        if not (behind := self._behind[graphs]):
            return found
        outcomes = {run.stage: run.outcome for run in ended.stages}
        for stage, gates, inputs in behind:
            outcome = outcomes.get(stage)
            if outcome == "done" and len(gates) == 1:
                found[gates[0]] = "open"
            elif outcome == "cancelled" and all(outcomes.get(name) != "cancelled" for name in inputs):
                found |= {gate: "closed" for gate in gates if outcomes.get(gate) == "done"}
        return found

"""Who is at which end of what was sent in a frame, and what its gates decided: from what ran, and what reads what."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from leo_runtime.frame.batch import Job
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.records import FrameResult, StageObservation, TransferObservation


class Flows:
    """The flows of a frame: who is at which end of what was sent."""

    def __init__(self, ended: FrameResult, readers: Mapping[str, Collection[str]], last: int) -> None:
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
        for send in ended.transfers:
            made = [i for i, run in enumerate(ended.stages) if _sent_by(run, send)]
            if not made:
                self.others.append(send)
                continue
            self.last += 1
            self.through.setdefault(made[-1], []).append(self.last)
            read = [
                (run.start_us, i)
                for i, run in enumerate(ended.stages)
                if run.resource == send.target
                and run.outcome != "cancelled"
                and run.start_us >= send.arrive_us
                and i > made[-1]
                and _reads(ended.jobs, run.stage, send.stage, readers)
            ]
            self.sends.setdefault(made[-1], []).append((send, self.last, bool(read)))
            for n, (_, i) in enumerate(sorted(read), start=1):
                (self.to if n == len(read) else self.through).setdefault(i, []).append(self.last)


def _sent_by(run: StageObservation, send: TransferObservation) -> bool:
    return run.stage == send.stage and run.resource == send.source and run.outcome == "done"


def _reads(jobs: Mapping[str, Job], run: str, sent: str, readers: Mapping[str, Collection[str]]) -> bool:
    """Whether a run reads the output of another."""
    reads, made = jobs[run], jobs[sent]
    return reads.stage in readers.get(made.stage, ()) and not set(made.frames).isdisjoint(reads.frames)


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

"""XRBench's score of a run (Kwon et al., MLSys 2023): is each answer in time, and does it take little energy?

Of one answer it is RT x EN: RT = 1 / (1 + exp(15 delay)), the delay after the deadline in ms (below 0 before it), and
EN = (1500 - E) / 1500 of its energy E. Of a pipeline it is their mean, times the part of its frames that were answered;
of a run the mean of its pipelines. The formula of an answer, its constants and the ms are those of the benchmark's own
code (github.com/XRBench/XRBench-MLSys2023, `HET_scoring-module.hpp` and its callers). Figures are not to be compared
with published ones, since this is decided here:

- E is taken to be in mJ, since that code names no unit where it scores; EN is at least 0.
- A frame without an answer counts once. That code divides the sum by all frames before it takes the part answered.
- A late answer is waited for, and scores next to nothing. That code drops what has not begun by its deadline.
- What a gate ended was not asked for. Energy is that of runs, split evenly among pipelines, and frames of a batch, that
  share one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.identity import Replay

STEEPNESS_PER_MS = 15
MOST_MJ = 1_500


def answer_score(delay_us: int, energy_nj: float) -> float:
    """Of one answer, from 0 to 1: `delay_us` after its deadline, below 0 before it."""
    steep = STEEPNESS_PER_MS * delay_us / 1_000
    in_time = 1 / (1 + math.exp(min(steep, 700)))
    return in_time * max(0.0, (MOST_MJ - energy_nj / 1e6) / MOST_MJ)


class XrScore:
    """A sink of a replay that counts scores."""

    def __init__(self) -> None:
        """Nothing has ended yet."""
        self._stages: dict[str, tuple[str, ...]] = {}
        self._sums: dict[str, float] = {}
        self._answered: dict[str, int] = {}
        self._dropped: dict[str, int] = {}

    def begin(self, begun: Replay, /) -> None:
        """Which pipelines there are."""
        names = [graph.name for graph in begun.workload.graphs]
        self._stages = {stage.name: stage.graphs for stage in begun.merged.stages}
        self._sums = dict.fromkeys(names, 0.0)
        self._answered, self._dropped = dict.fromkeys(names, 0), dict.fromkeys(names, 0)

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        """Score its answers."""
        energies = {(one.graph, one.number): 0.0 for one in ended.graphs}
        for run in ended.stages:
            job = ended.jobs[run.stage]
            readers = [(graph, number) for graph in self._stages[job.stage] for number in job.frames]
            shared = [reader for reader in readers if reader in energies]
            for reader in shared:
                energies[reader] += run.nj / len(shared)
        for one in ended.graphs:
            if one.outcome == "done":
                self._answered[one.graph] += 1
                self._sums[one.graph] += answer_score(one.end_us - one.deadline_us, energies[one.graph, one.number])
            elif one.outcome == "failed":
                self._dropped[one.graph] += 1

    def energy(self, _entries: Sequence[Entry], _settled_us: int, /) -> None:
        """What nobody's run took does not count."""

    def end(self, _ended: Replay, /) -> None:
        """Nothing to do."""

    def columns(self) -> dict[str, Any]:
        """What a row says of it; a pipeline that was never asked for has none, and a run without any None."""
        scores = {
            graph: self._sums[graph] / (answered + self._dropped[graph])
            for graph, answered in self._answered.items()
            if answered + self._dropped[graph]
        }
        mean_ppm = round(1e6 * sum(scores.values()) / len(scores)) if scores else None
        return {"xrbench_ppm": mean_ppm} | {
            f"graph_xrbench_ppm.{graph}": round(1e6 * score) for graph, score in scores.items()
        }

"""Long runs on a device and a server over two radios, whose links fall and flap, and whose server dies, or is slow.

Everything could be computed on the device in time, so that no frame may fail or be late for any of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random

from leo_runtime import Runtime
from leo_runtime.documents.faults import faults_of
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult
from reference_ledger import reference_ledger
from split_machine import PERIOD_US, hardware, profile, workload

PLACES = ("radio-cloud", "radio-cloud1", "cpu->cloud", "cloud->cpu", "cloud", "cloud1", "cloud", "cloud1")
HOW = ("", "", ",silent", ",slow=6", ",slow=100")
UNDER_WAY_US = 11_000
"""So long after its release a frame is mostly under way."""


def drawn(seed: int, frames: int) -> list[str]:
    """A fault every few frames, while one is under way, for up to some frames more; and a radio that flaps."""
    rng, found, number = Random(seed), ["fault radio-cloud@0.3/0.1"], 0
    while (number := number + rng.randrange(1, 25)) < frames:
        begin_us = number * PERIOD_US + rng.randrange(UNDER_WAY_US)
        end_us = begin_us + rng.choice((1_000, 50_000, 400_000, 1_500_000))
        place = rng.choice(PLACES)
        how = rng.choice(HOW) if place in ("cloud", "cloud1") else ""
        found.append(f"fault {place}@{begin_us / 1e6:.6f}-{end_us / 1e6:.6f}{how}")
    return found


GRAPHS = dict.fromkeys(("sound", "mel", "net", "say"), ("ears",))


class CutRun:
    """Frames through all of these faults, drawn from a seed, and what is not as it should be."""

    def __init__(self, seed: int, frames: int) -> None:
        machine = hardware(radios=2)
        faults = faults_of(drawn(seed, frames), machine, frames * PERIOD_US, seed)
        self.faults = len(faults)
        with Runtime.simulated(
            workload(),
            machine,
            profile(radios=2),
            compute=False,
            solver="greedy",
            seed=seed,
            faults=faults,
            max_results=frames,
        ) as runtime:
            for number in range(1, frames + 1):
                runtime.submit(number * PERIOD_US, {})
            self.results = runtime.drain()
        self.outcomes = Counter(graph.outcome for result in self.results for graph in result.graphs)
        self.lost = sum(bool(send.error) for result in self.results for send in result.transfers)
        self.again = sum(one.outcome == "failed" for result in self.results for one in result.stages)
        self.placed_there = sum(
            any(one.resource != "cpu" and one.outcome == "done" for one in result.stages) for result in self.results
        )
        self.problems = list(self._problems(frames))

    def _problems(self, frames: int) -> list[str]:
        found = []
        if [result.frame for result in self.results] != list(range(frames)):
            found.append(f"{len(self.results)} results of {frames} frames")
        found += [
            f"frame {result.frame} is {graph.outcome}, after {graph.latency_us} us: {result.reason}"
            for result in self.results
            for graph in result.graphs
            if graph.missed
        ]
        found += overlaps(self.results)
        machine = hardware(radios=2)
        whole, reference = (make(self.results, machine, GRAPHS) for make in (run_ledger, reference_ledger))
        if sorted(whole.entries, key=str) != sorted(reference.entries, key=str):
            found.append(f"the ledger says {whole.total_nj} nJ, and the plain one {reference.total_nj}")
        return found


def overlaps(results: Sequence[FrameResult]) -> list[str]:
    """What ran or was sent beside something else on its lane. A server may still be at what nobody waits for."""
    busy: dict[tuple[str, int | None], list[tuple[int, int]]] = {}
    for result in results:
        for sent in result.transfers:
            if sent.resource is not None and sent.sent_us > sent.start_us:
                busy.setdefault((sent.resource, sent.lane), []).append((sent.start_us, sent.sent_us))
        for one in result.stages:
            if one.end_us > one.start_us:
                busy.setdefault((one.resource, one.lane), []).append((one.start_us, one.end_us))
    return [
        f"{where} has two things to do at {after[0]} us"
        for where, spans in busy.items()
        for before, after in pairwise(sorted(spans))
        if before[1] > after[0]
    ]

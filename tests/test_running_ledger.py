"""The ledger of a run, told as it goes on, against the same written down plainly from all frames at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from cost_workloads import PROCESSORS, random_machine
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Placement, StageRun, TransferRun
from leo_runtime.frame.batch import Job
from leo_runtime.frame.energy_sums import EnergySums
from leo_runtime.frame.entries import Entry, Ledger
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import (
    FrameResult,
    GraphResult,
    SpanObservation,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.frame.running_ledger import RunningLedger
from leo_runtime.frame.standby import LONGEST_IDLE_US
from reference_ledger import reference_ledger

GRAPHS = {"a": ("g",), "b": ("g", "h"), "c": ("h", "k", "g"), "d": ()}


def random_frame(rng: Random, number: int, release_us: int, hardware: Hardware) -> FrameResult:
    """Anything that may be said of a frame: nothing of it begins before its release."""
    admitted_us = release_us + rng.choice((0, 0, rng.randrange(30_000)))

    def later() -> int:
        return admitted_us + rng.choice((0, rng.randrange(40_000), rng.randrange(40_000), rng.randrange(30_000_000)))

    jobs = {f"{stage}{rng.choice(('', '#0', '#all'))}": Job(stage, (0,)) for stage in GRAPHS if rng.randrange(4)}
    stages = []
    for name in jobs:
        start_us, where = later(), rng.choice(PROCESSORS)
        lasts_us, nj = rng.choice((0, rng.randrange(9_000))), rng.choice((0, rng.randrange(99)))
        outcome = rng.choice(("done", "done", "cancelled", "failed"))
        times = (start_us, start_us + lasts_us) * 2
        seen = StageObservation(number, name, where, "default", 0, outcome, *times, 1, 1, None, nj, "modelled")
        stages.append(seen)
    transfers = []
    for name in jobs:
        if rng.randrange(3) == 0:
            radio, start_us = rng.choice((None, "wifi")), later()
            sent_us, nj = start_us + rng.randrange(9_000), rng.choice((0, rng.randrange(99)))
            ends = rng.sample(PROCESSORS, 2)
            sent = TransferObservation(number, name, *ends, None, 0, start_us, sent_us + 9, nj, radio, sent_us)
            transfers.append(sent)
    resources = (*PROCESSORS, "wifi")
    wakes = tuple(WakeObservation(number, rng.choice(resources), later()) for _ in range(rng.randrange(4)))
    spans: tuple[SpanObservation, ...] | None = None
    if rng.randrange(2):
        found = []
        for _ in range(rng.randrange(5)):
            from_us = later()
            until_us = from_us + rng.choice((0, rng.randrange(50_000)))
            held_us = until_us + rng.randrange(20_000_000) if rng.randrange(3) == 0 else None
            used_us = rng.randint(from_us, until_us)
            found.append(SpanObservation(number, rng.choice(resources), from_us, until_us, used_us, held_us))
        spans = tuple(found)
    links = [link for link in hardware.links if link.radio] if rng.randrange(2) else []
    planned = Placement(
        format="leo-placement/1",
        problem="p",
        solver="s",
        status="feasible" if stages else "infeasible",
        stages=tuple(
            StageRun(stage=run.stage, resource=rng.choice(PROCESSORS), lane=0, start_us=0, end_us=1) for run in stages
        ),
        transfers=tuple(
            TransferRun(stage=name, source=link.source, target=link.target, lane=0, start_us=0, arrive_us=1)
            for link in links
            for name in list(jobs)[:1]
        ),
        solve_us=rng.choice((0, rng.randrange(5_000))),
    )
    graphs = tuple(
        GraphResult(graph, number, release_us, release_us + 9, release_us + 9, "done", None, {})
        for graph in ("g", "h", "k")
        if rng.randrange(3)
    )
    return FrameResult(
        number,
        release_us,
        planned,
        tuple(stages),
        tuple(transfers),
        graphs,
        wakes,
        jobs,
        spans=spans,
        admitted_us=rng.choice((admitted_us, None if admitted_us == release_us else admitted_us)),
    )


def random_frames(rng: Random, hardware: Hardware, count: int) -> list[FrameResult]:
    release_us, frames = 0, []
    for number in range(count):
        release_us += rng.choice((0, rng.randrange(9_000), rng.randrange(90_000), rng.randrange(60_000_000)))
        frames.append(random_frame(rng, number, release_us, hardware))
    return frames


def as_they_end(rng: Random, frames: Sequence[FrameResult]) -> Iterator[tuple[FrameResult, int]]:
    """The frames in some order, each with a time before which nothing of those that follow begins."""
    left, settled_us = list(frames), 0
    while left:
        # Mostly the first ones end first.
        frame = left.pop(min(rng.randrange(len(left)), rng.randrange(4)))
        known_us = min((one.release_us for one in left), default=frames[-1].release_us)
        settled_us = max(settled_us, known_us - rng.choice((0, 0, rng.randrange(100_000))))
        yield frame, settled_us


def in_one_piece(entries: Sequence[Entry]) -> list[Entry]:
    """What is charged for one moment after the other, as one entry."""
    found: list[Entry] = []
    open_at: dict[tuple[object, ...], int] = {}
    for entry in sorted(entries, key=lambda entry: (entry.at_us, entry.until_us)):
        of = (entry.cause, entry.resource, entry.frame, entry.stage, entry.graphs)
        at = open_at.get(of)
        goes_on = entry.cause in ("asleep", "idle tail", "radio tail")
        if goes_on and at is not None and found[at].until_us == entry.at_us:
            found[at] = found[at]._replace(until_us=entry.until_us, nj=found[at].nj + entry.nj)
        else:
            open_at[of] = len(found)
            found.append(entry)
    return sorted(found, key=str)


def sums_of(parts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(causes.values()) for name, causes in parts.items()}


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 12))
def test_a_ledger_told_as_the_run_goes_is_that_of_all_its_frames(seed: int, count: int) -> None:
    rng = Random(seed)
    hardware = random_machine(rng)
    frames = random_frames(rng, hardware, count)
    last_release_us = max((frame.release_us for frame in frames), default=0)
    end_us = last_release_us + rng.choice((0, rng.randrange(100_000_000)))
    begin_us = rng.choice((0, 0, rng.randrange(100_000)))
    solver = rng.choice((None, *PROCESSORS))
    if solver is not None:
        powered = [part.model_copy(update={"active_mw": 7}) for part in hardware.processors]
        hardware = hardware.model_copy(update={"processors": tuple(powered)})
    running = RunningLedger(hardware, GRAPHS, begin_us=begin_us, solver=solver)
    told: list[Entry] = []
    drawn_us = begin_us
    for frame, settled_us in as_they_end(rng, frames):
        entries = running.add(frame) + running.settle(settled_us)
        assert all(entry.at_us >= drawn_us for entry in entries if entry.at_us >= begin_us)
        drawn_us = running.settled_us
        told += entries
    left, last_us = running.end(end_us)
    assert all(entry.at_us >= drawn_us for entry in left if entry.at_us >= begin_us)
    told += left
    reference = reference_ledger(frames, hardware, GRAPHS, begin_us=begin_us, end_us=end_us, solver=solver)
    assert in_one_piece(told) == in_one_piece(reference.entries)
    whole = run_ledger(frames, hardware, GRAPHS, begin_us=begin_us, end_us=end_us, solver=solver)
    assert sorted(whole.entries, key=str) == sorted(reference.entries, key=str)
    assert all(entry.at_us <= entry.until_us and entry.nj > 0 for entry in told)
    slept = [entry.until_us for entry in told if entry.cause in ("asleep", "idle tail", "radio tail")]
    assert max(slept, default=0) <= last_us
    # Also each graph's share, where an entry came in several pieces.
    sums = EnergySums()
    sums.add(told)
    in_pieces = Ledger(tuple(told))
    assert in_pieces.by_cause() == reference.by_cause()
    assert (
        in_pieces.by_resource()
        == reference.by_resource()
        == dict(sorted(sums_of(sums.by_resource()).items(), key=lambda item: (-item[1], item[0])))
    )
    assert in_pieces.by_graph() == reference.by_graph()
    assert {name: nj for name, nj in sums_of(sums.by_graph()).items() if nj} == {
        name: nj for name, nj in reference.by_graph().items() if nj
    }


def test_what_sleeps_for_long_is_told_of_before_it_wakes() -> None:
    """So that what draws power over time is never told of something that began long ago."""
    rng = Random(1)
    hardware = random_machine(rng)
    running = RunningLedger(hardware, GRAPHS)
    told: list[Entry] = []
    for second in range(1, 100):
        told += running.settle(second * 1_000_000)
        assert second * 1_000_000 - running.settled_us <= LONGEST_IDLE_US
    assert told


def test_the_ledger_keeps_nothing_of_what_has_settled() -> None:
    rng = Random(2)
    hardware = random_machine(rng)
    running = RunningLedger(hardware, GRAPHS)
    frames = [random_frame(rng, number, 40_000_000 * number, hardware) for number in range(400)]
    sizes = []
    for frame in frames:
        running.add(frame)
        running.settle(frame.release_us)
        sizes.append(_held(running))
    assert max(sizes[200:]) <= max(sizes[:200])


def _held(running: RunningLedger) -> int:
    meters = running._meters.values()
    return (
        len(running._holds) + len(running._admitted) + sum(len(meter._kept) + len(meter._wakes_us) for meter in meters)
    )


def test_stages_of_a_workload_that_takes_over_are_charged_to_who_asks_for_them_there() -> None:
    rng = Random(3)
    hardware = random_machine(rng)
    frames = random_frames(rng, hardware, 40)
    known, told = RunningLedger(hardware, GRAPHS), RunningLedger(hardware, {"a": ("k",), "d": ("g",)})
    before = told.add(frames[0])
    assert [one.graphs for one in before] != [one.graphs for one in known.add(frames[0])]
    told.change({name: graphs for name, graphs in GRAPHS.items() if name != "d"})
    told.change({"d": ()})
    for frame in frames[1:]:
        assert told.add(frame) == known.add(frame)

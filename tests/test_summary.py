"""What a replay comes to, counted as it goes on: latencies, failures, the busiest part, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Placement
from leo_runtime.frame.batch import Job
from leo_runtime.frame.energy_sums import EnergySums
from leo_runtime.frame.entries import Entry, Ledger
from leo_runtime.frame.records import FrameResult, GraphResult, StageObservation
from leo_runtime.replay import failures, latencies
from leo_runtime.replay.busiest import Busiest
from leo_runtime.replay.failures import Failures
from leo_runtime.replay.figures import Part
from leo_runtime.replay.latencies import Latencies
from leo_runtime.replay.truths import Truth, _agree, _OfLabel

PLACED = Placement(format="leo-placement/1", problem="p", solver="s", status="feasible")


def quantile(ordered: Sequence[int], percent: int) -> int:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0


@given(values=st.lists(st.integers(0, 10**9)))
def test_quantiles_are_exact_as_long_as_latencies_repeat(values: list[int]) -> None:
    counted = Latencies()
    for value in values:
        counted.add(value)
    assert counted.quantiles((50, 95, 99)) == tuple(quantile(sorted(values), percent) for percent in (50, 95, 99))
    assert (counted.within_ppm, counted.count) == (0, len(values))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), most=st.integers(70, 200), count=st.integers(1, 900))
def test_too_many_latencies_are_rounded_up_and_it_is_said_by_how_much(seed: int, most: int, count: int) -> None:
    rng = Random(seed)
    values = [rng.randrange(10 ** rng.randint(1, 9)) for _ in range(count)]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latencies, "MOST_VALUES", most)
        for _ in range(2):
            counted = Latencies()
            for value in values:
                counted.add(value)
                assert len(counted._counts) <= most
            found.append((counted.quantiles((50, 95, 99)), counted.within_ppm))
            rng.shuffle(values)
    assert found[0] == found[1], "they came in another order"
    quantiles, within_ppm = found[0]
    for percent, shown in zip((50, 95, 99), quantiles, strict=True):
        exact = quantile(sorted(values), percent)
        assert exact <= shown <= exact + exact * within_ppm / 1_000_000


def seen(number: int, start_us: int, end_us: int, *, error: str = "") -> StageObservation:
    outcome = "failed" if error else "done"
    times = (start_us, end_us) * 2
    return StageObservation(number, "s", "cpu", "default", 0, outcome, *times, 1, 1, None, 1, "modelled", error)


def frame(number: int, runs: Sequence[StageObservation], *, skipped: bool = False) -> FrameResult:
    graphs = (GraphResult("g", number, 0, 9, 9, "failed" if skipped else "done", None, {}),)
    return FrameResult(number, 0, PLACED, tuple(runs), (), graphs, jobs={"s": Job("s", (0,))}, skipped=skipped)


def test_kinds_of_failures_are_bounded_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MOST_KINDS", 3)
    found = Failures()
    for number in range(50):
        letter = "abcdefghij"[number % 10]
        found.add(frame(number, [seen(number, 0, 1, error=f"KernelError: {letter} after {number} runs")]))
    late = frame(50, [], skipped=True)
    found.add(replace(late, placement=PLACED.model_copy(update={"reason": "skipped: too late"})))
    *kinds, broken, overload = found.most_frequent()
    assert [(one.what, one.why, one.count) for one in kinds] == [
        ("s on cpu", f"KernelError: {letter} after {n} runs", 5) for n, letter in enumerate("abc")
    ]
    assert (broken.what, broken.count, broken.is_overload) == ("others", 35, False)
    assert (overload.what, overload.count, overload.is_overload) == ("others", 1, True)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 20))
def test_the_busiest_part_is_that_of_all_frames_at_once(seed: int, count: int) -> None:
    rng = Random(seed)
    frames, release_us = [], 0
    for number in range(count):
        release_us += rng.choice((0, rng.randrange(900)))
        starts = [release_us + rng.randrange(1_500) for _ in range(rng.randrange(4))]
        frames.append((release_us, frame(number, [seen(number, at, at + rng.randrange(700)) for at in starts])))
    busiest, left = Busiest(250), list(frames)
    while left:
        _, ended = left.pop(rng.randrange(min(3, len(left))))
        busiest.add(ended, min((release for release, _ in left), default=release_us))
    assert busiest.best() == plain_busiest([one for _, one in frames])


def plain_busiest(frames: Sequence[FrameResult]) -> Part:
    busy_us: dict[int, int] = {}
    runs = [run for one in frames for run in one.stages]
    for run in runs:
        busy_us[run.start_us // 250] = busy_us.get(run.start_us // 250, 0) + run.end_us - run.start_us
    most = max(busy_us, key=lambda at: (busy_us[at], -at), default=0)
    if not any(busy_us.values()):
        return Part(0, 250)
    from_us, until_us = most * 250, (most + 1) * 250
    shown = [run for run in runs if run.end_us > run.start_us and run.start_us < until_us and run.end_us > from_us]
    return Part(from_us, until_us, tuple(("s", run) for run in shown))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30))
def test_labels_that_are_looked_up_by_time_are_all_that_agree(seed: int, count: int) -> None:
    rng = Random(seed)
    starts = [rng.randrange(-900, 3_000) for _ in range(count)]
    truths = [
        Truth(k, None, "x", start, start + rng.choice((0, rng.randrange(400), rng.randrange(-90, 3_000))))
        for k, start in enumerate(starts)
    ]
    known = _OfLabel()
    for truth in sorted(truths, key=lambda truth: truth.start_us):
        known.append(truth)
    release_us, length_us = rng.randrange(4_000), rng.choice((0, rng.randrange(1_000)))
    result = GraphResult("g", 0, release_us, 0, 0, "done", "x", {})
    looked_up = [t.index for t in known.within(release_us - length_us, release_us) if _agree(result, t, length_us)]
    assert sorted(looked_up) == [t.index for t in truths if _agree(result, t, length_us)]


@given(
    st.lists(
        st.builds(
            Entry,
            at_us=st.just(0),
            until_us=st.just(1),
            nj=st.integers(1, 10**12),
            cause=st.sampled_from(("run", "awake")),
            resource=st.sampled_from(("cpu", "gpu")),
            graphs=st.sampled_from(((), ("g",), ("g", "h"), ("h", "g"), ("g", "h", "k"))),
        )
    )
)
def test_sums_that_run_are_those_of_the_ledger(entries: list[Entry]) -> None:
    sums, ledger = EnergySums(), Ledger(tuple(entries))
    for entry in entries:
        sums.add([entry])
        assert sum(nj for _, nj in entry.shares()) == entry.nj
    by_graph = {graph: sum(causes.values()) for graph, causes in sums.by_graph().items()}
    by_resource = {name: sum(causes.values()) for name, causes in sums.by_resource().items()}
    assert {graph: nj for graph, nj in by_graph.items() if nj} == {g: nj for g, nj in ledger.by_graph().items() if nj}
    assert by_resource == ledger.by_resource()

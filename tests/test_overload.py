"""What goes when not everything fits: the rule by itself, and in a run."""

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_workloads import profile_of, workload_of
from leo_runtime import Runtime
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.log_reader import read_log
from leo_runtime.replay.rebuilt import rebuilt
from leo_runtime.replay.why import whys
from leo_runtime.runtime.overload import FIRST_ROOM, MOST_ROOM, Overload
from run_logs import replayed_into

PERIOD_US = 100_000
ONE_LANE = Hardware.from_dict(
    {"format": "leo-hardware/1", "name": "m", "processors": [{"name": "cpu", "backend": "none", "lanes": 1}]}
)


def pipeline(
    name: str, weight: int, *stages: str, period_us: int = PERIOD_US, deadline_us: int | None = None
) -> TaskGraph:
    builder = GraphBuilder(name, period_us=period_us, deadline_us=deadline_us or period_us, weight=weight)
    before: tuple[str, ...] = ()
    for stage in stages:
        builder.stage(stage, "cost", *before, output_bytes=4)
        before = (stage,)
    return builder.build()


def played(
    costs_us: dict[str, int],
    *graphs: TaskGraph,
    frames: int = 120,
    window_stages: int | None = None,
    max_in_flight: int = 16,
) -> tuple[list[FrameResult], Runtime]:
    """The results of a run over so many releases of a period of `PERIOD_US`."""
    profile = profile_of({(stage, "cpu"): (us, 1000) for stage, us in costs_us.items()})
    step_us = math.gcd(*(graph.period_us for graph in graphs))
    results: list[FrameResult] = []
    with Runtime.simulated(
        workload_of(*graphs),
        ONE_LANE,
        profile,
        compute=False,
        window_stages=window_stages,
        max_in_flight=max_in_flight,
    ) as runtime:
        for release_us in range(0, frames * PERIOD_US, step_us):
            if runtime.triggered(release_us):
                runtime.submit(release_us, {})
            results += runtime.results()
        results += runtime.drain()
    return results, runtime


def in_time(results: list[FrameResult]) -> Counter[str]:
    return Counter(graph.graph for frame in results for graph in frame.graphs if not graph.missed)


WAYS = [{}, {"window_stages": 0}, {"window_stages": 0, "max_in_flight": 2}]
HEAVY = pipeline("heavy", 4, "h")
CASES = {
    "one period": ({"h": 60_000, "l": 70_000}, HEAVY, pipeline("light", 1, "l")),
    "the light one written first": ({"h": 60_000, "l": 70_000}, pipeline("light", 1, "l"), HEAVY),
    "deadlines of two periods": (
        {"h": 60_000, "l": 70_000},
        pipeline("heavy", 4, "h", deadline_us=2 * PERIOD_US),
        pipeline("light", 1, "l", deadline_us=2 * PERIOD_US),
    ),
    "light and urgent": ({"h": 80_000, "l": 30_000}, HEAVY, pipeline("light", 1, "l", deadline_us=40_000)),
    "light and often": ({"h": 80_000, "l": 15_000}, HEAVY, pipeline("light", 1, "l", period_us=25_000)),
    "light and long": ({"h": 50_000, "l": 300_000}, HEAVY, pipeline("light", 1, "l", period_us=400_000)),
    "three": (
        {"h": 50_000, "m": 40_000, "l": 20_000},
        HEAVY,
        pipeline("middle", 2, "m"),
        pipeline("light", 1, "l", period_us=50_000),
    ),
    "a stage of both": (
        {"f": 30_000, "h": 40_000, "l": 50_000},
        pipeline("heavy", 4, "f", "h"),
        pipeline("light", 1, "f", "l"),
    ),
}


@pytest.mark.once
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_the_weightiest_answers_as_if_it_were_alone(case: str, way: dict[str, int]) -> None:
    costs_us, *graphs = CASES[case]
    results, runtime = played(costs_us, *graphs, **way)
    assert in_time(results)["heavy"] >= 114  # 95 % of the 120 that it answers alone.
    assert runtime.shed["heavy"] == 0 < runtime.shed["light"]
    left_out = Counter(name for frame in results for name in frame.shed)
    assert left_out == {name: count for name, count in runtime.shed.items() if count}
    for frame in results:
        outcomes = {graph.graph: graph.outcome for graph in frame.graphs}
        assert all(outcomes[name] == "failed" for name in frame.shed)
        assert not frame.shed or "shed: `" in frame.reason


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_nothing_is_left_out_where_all_fits(way: dict[str, int]) -> None:
    results, runtime = played({"h": 50_000, "l": 40_000}, HEAVY, pipeline("light", 1, "l"), **way)
    assert in_time(results) == {"heavy": 120, "light": 120}
    assert not any(runtime.shed.values())


def test_equal_weights_are_as_they_were() -> None:
    _, runtime = played({"h": 60_000, "l": 70_000}, HEAVY, pipeline("other", 4, "l"), frames=30, window_stages=0)
    assert not any(runtime.shed.values())
    assert runtime.skipped


def test_who_is_late_alone_too_pushes_nobody_out() -> None:
    hopeless = pipeline("heavy", 4, "h", deadline_us=40_000)
    results, runtime = played({"h": 50_000, "l": 40_000}, hopeless, pipeline("light", 1, "l"), window_stages=0)
    assert not any(runtime.shed.values())
    assert in_time(results)["light"] == 120


def test_what_hangs_on_a_gate_pushes_nobody_out() -> None:
    builder = GraphBuilder("heavy", period_us=PERIOD_US, deadline_us=PERIOD_US, weight=4)
    builder.stage("g", "cost", output_bytes=4, chance_ppm=1)
    builder.stage("h", "cost", "g", gate="g", output_bytes=4)
    costs_us = {"g": 10_000, "h": 80_000, "l": 40_000}
    results, runtime = played(costs_us, builder.build(), pipeline("light", 1, "l"), window_stages=0)
    assert not any(runtime.shed.values())
    assert in_time(results)["light"] == 120


def test_a_log_says_who_was_left_out(tmp_path: Path) -> None:
    costs_us, *graphs = CASES["a stage of both"]
    profile = profile_of({(stage, "cpu"): (us, 1000) for stage, us in costs_us.items()})
    folder, replayed = replayed_into(tmp_path, workload_of(*graphs), ONE_LANE, profile, length_us=1_000_000)
    (failure,) = replayed.summary.failures
    assert (failure.what, failure.count, failure.is_overload) == ("frame", 10, True)
    with read_log(folder) as log:
        frames = list(log.frames())
        assert all(frame.shed == ("light",) and not frame.skipped for frame in frames)
        assert all(run.graphs == ("heavy",) for frame in frames for run in frame.stages)
        (why,) = whys(log, 3)
    assert (why.graph, why.reason) == ("light", "shed: `light` made room for what weighs more")
    assert [rebuilt(frame, None, policy="exact").shed for frame in frames] == [("light",)] * 10


# The rule by itself.

GRAPHS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(1, 4), st.frozensets(st.sampled_from(("cpu", "gpu", "dsp")), min_size=1)),
    min_size=1,
)


@given(GRAPHS, st.data())
def test_nobody_stays_away_while_a_lighter_one_is_let_in(
    graphs: dict[str, tuple[int, frozenset[str]]], data: st.DataObject
) -> None:
    weights = {name: weight for name, (weight, _) in graphs.items()}
    overload = Overload(weights, {name: places for name, (_, places) in graphs.items()})
    names = st.lists(st.sampled_from(sorted(graphs)), min_size=1, unique=True).map(tuple)
    room = Counter[str]()
    for _ in range(data.draw(st.integers(1, 60))):
        due = data.draw(names)
        here = overload.let_in(due)
        back = overload.may_return(due)
        if back is not None:
            has_room = data.draw(st.booleans())
            room[back] = room[back] + 1 if has_room else 0
            if overload.tried(back, has_room):
                assert room[back] >= FIRST_ROOM  # No flapping.
        elif here:
            before = set(overload.away)
            late = data.draw(st.lists(st.sampled_from(here), min_size=1, unique=True))
            goes = overload.goes(late, here)
            if goes is not None:
                assert weights[goes] <= max(weights[name] for name in late)
                assert weights[goes] < max(weights.values())
            for name in set(overload.away) - before:
                room[name] = 0
        for away in overload.away:
            for name in graphs:
                if name not in overload.away and graphs[name][1] & graphs[away][1]:
                    assert weights[name] >= weights[away]


def test_who_has_to_go_again_soon_waits_twice_as_long() -> None:
    overload = Overload({"heavy": 4, "light": 1}, {"heavy": ["cpu"], "light": ["cpu"]})
    waited = []
    for _ in range(10):
        assert overload.goes(("heavy",), ("heavy", "light")) == "light"
        waited.append(next(count for count in range(1, 2 * MOST_ROOM) if overload.tried("light", True)))
    assert waited == [min(FIRST_ROOM << n, MOST_ROOM) for n in range(10)]
    overload.count_in(["light"] * MOST_ROOM)
    overload.goes(("heavy",), ("heavy", "light"))
    assert sum(overload.tried("light", True) for _ in range(FIRST_ROOM)) == 1


def test_of_equal_weight_they_go_in_turn() -> None:
    overload = Overload({"heavy": 4, "a": 1, "b": 1}, {name: ["cpu"] for name in ("heavy", "a", "b")})
    assert [overload.goes(("a", "b"), ("heavy", "a", "b")) for _ in range(4)] == ["b", "a", "b", "a"]
    assert overload.away == ()


def test_other_processors_are_none_of_its_business() -> None:
    overload = Overload({"heavy": 4, "light": 1}, {"heavy": ["cpu"], "light": ["dsp"]})
    assert not overload.matters
    assert overload.goes(("heavy",), ("heavy", "light")) is None
